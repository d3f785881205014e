"""What a report is made from: paths of tables, and a plain description of what made them.

Conventions
-----------
- A report reads tables and descriptions only: no model, no configuration, no network.
- Shares (accuracies) are in [0, 1] in every table; pages and consoles print percent. Human toplines come in percent,
  as they are published.
- A table that a run could not make is absent from the dictionaries here, and named in `missing`: the report is then
  marked INCOMPLETE. A table that does not apply (a model without a vocoder has no continuations) is simply absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spokeneval.errors import ConfigError
from spokeneval.judges.base import Answer
from spokeneval.qualification import Way
from spokeneval.report.provenance import Provenance
from spokeneval.report.resampling import Averaging


@dataclass(frozen=True)
class ModelEntry:
    """A model as the report names and groups it."""

    name: str
    family: str
    tokenizer: str
    vocoder: str | None = None
    """None where the model cannot be heard."""
    parameters: int | None = None
    label: str = ""
    """One line about it (training, size); may be empty."""
    series: str | None = None
    """The training run that it is a checkpoint of."""
    step: int | None = None
    """Its step within the series."""
    conventions: dict[str, str] = field(default_factory=dict)
    """What a number of it depends on (sequence convention, reductions, dtype, weights ...), as plain text by name."""


@dataclass(frozen=True)
class JudgeEntry:
    name: str
    kind: str
    attribute: str
    """What it hears: speaker, scene, level, naturalness ..."""
    answer: Answer = "embedding"
    """What it answers with: embeddings that are compared, a number on its own scale, or a text."""
    trivial: bool = False
    """True where it hears level or spectrum only: if it qualifies, channel cues solve the task."""
    crop_s: float | None = None
    higher_is_better: bool = True
    """False: the numbers of a naturalness judge count the other way, and are turned round where they are correlated."""

    @property
    def compares(self) -> bool:
        return self.answer == "embedding"

    @property
    def naturalness(self) -> bool:
        return self.answer == "naturalness"

    @property
    def transcribes(self) -> bool:
        return self.answer == "transcript"


@dataclass(frozen=True)
class Topline:
    value: float
    """Human accuracy in percent."""
    source: str


@dataclass(frozen=True)
class Timing:
    """What one job cost."""

    stage: str
    name: str
    seconds: float
    max_rss_mb: float | None = None
    cpu_s: float | None = None


@dataclass(frozen=True)
class StudyTables:
    """What people said in one listening test of this dataset, in the schemas of `ratings.schemas`."""

    ratings: Path
    mos: Path
    agreement: Path
    screening: Path


@dataclass(frozen=True)
class ReportSettings:
    n_listen_items: int = 4
    n_disagreed_items: int = 4
    """Items with players because judge, models and evaluators disagree on them most."""
    audio_budget_mb: float = 10.0
    """Megabytes (1e6 bytes, as embedded) of audio in the page; what does not fit is left out, and counted."""
    seed: int = 0
    primary_window_s: float = 0.5
    confidence: float = 0.95
    n_draws: int = 10_000
    primary_evaluators: tuple[str, ...] = (
        "localized",
        "global",
        "continuation",
        "global_norm",
        "localized_norm",
        "windowed_matched",
    )
    """The primary family, fixed beforehand; the first one that a task has ranks the models."""
    primary_unconditional: str = "retokenise"
    primary_convention: str = "default"
    control_tasks: tuple[str, ...] = ("splice_control",)
    """Tasks that measure a cue and no attribute: shown, left out of means and of agreement."""
    qualification_threshold: float = 0.75
    """What a judge's interval is held against where a task has no human topline; a share."""
    judge_choice: Way = "cross_fitted"
    """How the judge of a task is chosen, see `spokeneval.qualification`."""


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report reads. Dictionaries are keyed by the names of models, judges, tokenizers."""

    dataset: str
    pairs: Path
    clips: Path
    models: dict[str, ModelEntry]
    judges: dict[str, JudgeEntry] = field(default_factory=dict)
    likelihood: dict[str, Path] = field(default_factory=dict)
    evaluators: dict[str, Path] = field(default_factory=dict)
    controls: dict[str, Path] = field(default_factory=dict)
    """"audio", and one entry a tokenizer: baseline rows in the schema of evaluators."""
    continuations: dict[str, Path] = field(default_factory=dict)
    judging: dict[tuple[str, str], Path] = field(default_factory=dict)
    """(model, judge) -> its judging table (sources model, other_item)."""
    qualification: dict[str, Path] = field(default_factory=dict)
    """judge -> judging table of the recordings themselves and the baselines (sources prompt, copy, ...)."""
    ceilings: dict[str, dict[str, Path]] = field(default_factory=dict)
    """"tokenizer-vocoder" -> judge -> judging table with the round trips."""
    studies: dict[str, StudyTables] = field(default_factory=dict)
    """Listening test -> what people said of systems that bear the names of models."""
    timings: list[Timing] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What a complete report would hold and this one does not; not empty marks it INCOMPLETE."""
    human_topline: dict[str, tuple[Topline, ...]] = field(default_factory=dict)
    """task -> its toplines: the first is compared with, all are shown."""
    published: Path | None = None
    """CSV of published accuracies (see `spokeneval.published`) that stand beside own ones."""
    published_source: str | None = None
    averaging: Averaging = "items"
    """What the headline accuracy is a mean over: 'items', or 'clusters' (the mean over clusters of the mean within)."""
    settings: ReportSettings = field(default_factory=ReportSettings)
    signature: dict[str, Any] = field(default_factory=dict)
    """version, data (name and identity), and whatever else was run, as text."""
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        for kind, names in (
            ("likelihood", self.likelihood),
            ("evaluators", self.evaluators),
            ("continuations", self.continuations),
            ("judging", {model for model, _ in self.judging}),
        ):
            unknown = sorted(set(names) - set(self.models))
            if unknown:
                raise ConfigError(f"report: '{kind}' names {unknown}, which are not among the models")
        judges = {judge for _, judge in self.judging} | set(self.qualification)
        judges |= {judge for by_judge in self.ceilings.values() for judge in by_judge}
        if judges - set(self.judges):
            raise ConfigError(f"report: tables of the judges {sorted(judges - set(self.judges))} have no judge entry")
        if self.published is not None and not self.published_source:
            raise ConfigError(f"report: {self.published}: published rows need the source that they are printed in")
        for name, entry in self.models.items():
            if (entry.series is None) != (entry.step is None):
                raise ConfigError(f"report: model '{name}' has one of series and step; expected both or neither")

    @property
    def incomplete(self) -> bool:
        return bool(self.missing)

    def topline(self, task: str) -> float | None:
        """Human accuracy of a task as a share, or None."""
        entries = self.human_topline.get(task)
        return entries[0].value / 100 if entries else None

    def series(self) -> dict[str, list[ModelEntry]]:
        """Series -> its checkpoints in the order of their steps."""
        found: dict[str, list[ModelEntry]] = {}
        for entry in self.models.values():
            if entry.series is not None:
                found.setdefault(entry.series, []).append(entry)
        return {name: sorted(found[name], key=lambda entry: entry.step or 0) for name in sorted(found)}

    def codec(self, model: str) -> str | None:
        """The key of `ceilings` that a model belongs to; None where it cannot be heard."""
        entry = self.models[model]
        return None if entry.vocoder is None else f"{entry.tokenizer}-{entry.vocoder}"
