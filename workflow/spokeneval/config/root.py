"""The whole configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SerializeAsAny, StringConstraints

from spokeneval.config.block import Block, ResourcePath
from spokeneval.config.blocks import DatasetBlock, JudgeBlock, ModelBlock
from spokeneval.config.listening_tests import ListeningTest
from spokeneval.config.resources import Resources
from spokeneval.demo.assets import AssetName
from spokeneval.evaluators.reduction import EVALUATOR_NAMES, EvaluatorSettings
from spokeneval.registry import JUDGES

COMPARE_NOTHING = frozenset({"dnsmos", "distillmos", "utmos", "whisper"})
"""Kinds of judges of this package that give a number or a text, and no embedding that could be compared."""


def compares(kind: str) -> bool:
    """True where a kind of judge gives embeddings; those of other packages are asked by their class."""
    if kind in JUDGES.builtin:
        return kind not in COMPARE_NOTHING
    return hasattr(JUDGES.load(kind), "embed")


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$")]
"""Names become file names: letters, digits, '.', '_', '+', '-', at most 100 characters."""


class Likelihood(Block):
    """How clips are scored. Nothing here changes a number but `contexts`, which adds rows."""

    contexts: tuple[Literal["full", "kept"], ...] = Field(
        ("full", "kept"), description="'kept' adds continuations with their tokens kept and the prompt dropped"
    )
    max_batch_tokens: PositiveInt = Field(8192, description="padded tokens of a batch; halved when memory runs out")


class Evaluators(Block):
    """Views of the log-probabilities. Adding one costs seconds and loads no model."""

    names: tuple[str, ...] = Field(EVALUATOR_NAMES, description="evaluators, see docs/evaluators.md")
    windows_s: tuple[PositiveFloat, ...] = Field((0.25, 0.5, 1.0), description="window lengths in seconds")
    unconditional: tuple[Literal["retokenise", "keep"], ...] = Field(
        ("retokenise", "keep"), description="conventions of the unconditional term, see docs/evaluators.md"
    )
    per_codebook: bool = Field(True, description="also each codebook alone, where there are several")
    reductions: tuple[str | dict[str, Any], ...] = Field(
        ("default",), description="reduction conventions, by name or in full"
    )

    def settings(self, reductions: tuple[str | dict[str, Any], ...] | None = None) -> EvaluatorSettings:
        """What is computed, under these reductions or the section's own.

        Raises ConfigError for a name that there is not, or settings that contradict each other.
        """
        chosen = self.reductions if reductions is None else reductions
        return EvaluatorSettings.make(self.names, self.windows_s, self.unconditional, self.per_codebook, chosen)


class RatedStudy(Block):
    """What people said of a data set's continuations in a listening test."""

    dataset: str = Field(description="name of the dataset whose items were heard")
    study: ResourcePath = Field(description="study.yaml: where the answers lie and what they mean, see docs/study.md")


class Report(Block):
    """What the report shows first and how much it may weigh."""

    window_s: PositiveFloat = Field(0.5, description="window of the primary evaluators")
    qualification_threshold: float = Field(
        0.75, gt=0.5, lt=1, description="a judge qualifies where its lower bound is above it (no human topline)"
    )
    judge_choice: Literal["cross_fitted", "paper"] = Field(
        "cross_fitted",
        description="how a task's judge is chosen: on the other half of the items, or ('paper', optimistic) on all",
    )
    n_listen_items: PositiveInt = Field(6, description="items with players")
    n_disagreed_items: int = Field(4, ge=0, description="more items with players: those of greatest disagreement")
    audio_budget_mb: PositiveFloat = Field(10.0, description="at most this much audio in the page")
    n_draws: PositiveInt = Field(10_000, description="draws of every bootstrap and permutation")
    seed: int = Field(0, description="seed of those draws")


class Config(Block):
    """config.yaml. See docs/config.md for every key."""

    results: str = Field("results", description="folder of everything that is made")
    store: str | None = Field(None, description="folder of finished parts, may be shared; {results}/store if null")
    assets: tuple[AssetName, ...] = Field((), description="what `spokeneval fetch` brings, see docs/demo.md")
    datasets: dict[Name, SerializeAsAny[DatasetBlock]] = Field(description="name -> dataset")
    tokenizers: dict[Name, SerializeAsAny[Block]] = Field(description="name -> tokenizer")
    vocoders: dict[Name, SerializeAsAny[Block]] = Field(default_factory=dict, description="name -> vocoder")
    models: dict[Name, SerializeAsAny[ModelBlock]] = Field(description="name -> model")
    judges: dict[Name, SerializeAsAny[JudgeBlock]] = Field(default_factory=dict, description="name -> judge")
    likelihood: Likelihood = Field(default_factory=lambda: Likelihood())
    evaluators: Evaluators = Field(default_factory=lambda: Evaluators())
    listening_tests: dict[Name, ListeningTest] = Field(
        default_factory=dict, description="name -> listening test to export, see docs/listening-test-export.md"
    )
    ratings: dict[Name, RatedStudy] = Field(
        default_factory=dict, description="name -> listening test with votes, see docs/listening-tests.md"
    )
    report: Report = Field(default_factory=lambda: Report())
    resources: dict[str, Resources] = Field(default_factory=dict, description="stage -> what its jobs ask for")
    accept_versions: dict[str, str] = Field(
        default_factory=dict, description="package -> version under which results were made and are kept"
    )
    strict: bool = Field(False, description="refuse to go on where any item of a dataset failed")

    @property
    def store_root(self) -> str:
        return self.store or f"{self.results}/store"

    def resources_of(self, stage: str, model: str | None = None) -> Resources:
        """What the jobs of a stage ask for; what a model asks for wins."""
        asked = self.resources.get(stage, Resources())
        own = self.models[model].resources if model is not None else None
        return asked if own is None else asked.model_copy(update=own.model_dump(exclude_none=True))

    def audible(self) -> list[str]:
        """Models that can be heard."""
        return [name for name, model in self.models.items() if model.audible]

    def scored(self) -> list[str]:
        """Models that have log-probabilities."""
        return [name for name, model in self.models.items() if model.scored]

    def scored_on(self, dataset: str) -> list[str]:
        """Models that have log-probabilities of a dataset: none where its items have no members."""
        return self.scored() if self.datasets[dataset].has_members else []

    def judges_of(self, dataset: str) -> list[str]:
        """Judges that listen to a dataset: where its items have no members, those that compare nothing."""
        if self.datasets[dataset].has_members:
            return list(self.judges)
        return [name for name, judge in self.judges.items() if not compares(str(judge.model_dump()["kind"]))]

    def studies_of(self, dataset: str) -> list[str]:
        """Listening tests on items of a dataset."""
        return [name for name, block in self.ratings.items() if block.dataset == dataset]

    def heard_in(self, test: str) -> list[str]:
        """Models that raters of a listening test hear."""
        named = self.listening_tests[test].models
        return self.audible() if named is None else list(named)

    def tokenizers_with_codes(self) -> list[str]:
        """Tokenizers of models, but for those that only declare a time grid."""
        used = {model.tokenizer for model in self.models.values()}
        return sorted(name for name in used if getattr(self.tokenizers[name], "has_codes", True))

    def evaluator_settings(self, model: str) -> EvaluatorSettings:
        """What is computed for a model: the reductions of all, those of its named convention, its own."""
        block, shared = self.models[model], self.evaluators
        convention = getattr(block, "named_convention", None)
        own = [*(convention.reductions if convention else ()), *block.reductions]
        known = {entry if isinstance(entry, str) else entry.get("name") for entry in shared.reductions}
        added = [entry for entry in own if (entry if isinstance(entry, str) else entry.get("name")) not in known]
        return shared.settings((*shared.reductions, *added))
