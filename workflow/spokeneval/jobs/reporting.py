"""Jobs of the report: what is there goes in, what is missing is named, and failed rows fail the run at the end."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from spokeneval import __version__
from spokeneval.config import Config
from spokeneval.config.blocks import DatasetBlock, TrivialJudge
from spokeneval.errors import SpokenevalError
from spokeneval.fingerprint import Fingerprints
from spokeneval.jobs.model_conventions import model_conventions
from spokeneval.jobs.tables_in import note
from spokeneval.layout import Layout
from spokeneval.report import console_summary, make_report
from spokeneval.report import index as write_index
from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportInputs, ReportSettings, Timing, Topline
from spokeneval.report.resampling import Averaging
from spokeneval.stages import Stages
from spokeneval.tables import EMBEDDINGS, PAIRS, atomic_path, read_metadata

LOCK = Path("models.lock.json")


def report(config: Config, *, dataset: str, identity: str, threads: int) -> None:
    """All tables of a dataset -> its report."""
    summary = make_report(report_inputs(config, dataset), Path(Layout(config).report(dataset)), identity)
    note(f"{summary.html}: {summary.html_bytes / 1e6:.1f} MB, {summary.n_players} players")


def partial_report(config: Config, *, dataset: str) -> None:
    """Whatever tables there are -> a report marked INCOMPLETE, beside the report."""
    layout = Layout(config)
    if not Path(layout.pairs(dataset)).exists():
        note(f"{dataset}: nothing to report yet, there are no pairs")
        return
    inputs = report_inputs(config, dataset, partial=True)
    if not inputs.missing:
        note(f"{dataset}: nothing is missing, see the report itself")
        return
    folder = Path(layout.report(dataset, partial=True))
    make_report(inputs, folder, Stages(config, Fingerprints(LOCK)).report(dataset))
    print(console_summary(folder))


def index(config: Config, *, threads: int) -> None:
    """Reports -> one page that links them."""
    write_index(Path(config.results), list(config.datasets))


def verdict(config: Config, *, dataset: str, threads: int) -> None:
    """Fail where rows of the report failed, with their count; else say that none did."""
    layout = Layout(config)
    results = json.loads((Path(layout.report(dataset)) / "results.json").read_text())
    failed = int(results["n_failed_rows"])
    if failed:
        raise SpokenevalError(
            f"{dataset}: {failed} rows failed; they are counted in every table and averaged in none. "
            f"Reasons: {layout.report(dataset)}/tables/failures.csv"
        )
    with atomic_path(Path(layout.verdict(dataset))) as temporary:
        temporary.write_text("no row failed\n")


def report_inputs(config: Config, dataset: str, partial: bool = False) -> ReportInputs:
    """The tables of a dataset as the report wants them; with `partial`, those that there are."""
    layout = Layout(config)
    missing: list[str] = []

    def present(path: str) -> bool:
        if partial and not Path(path).exists():
            missing.append(path.removeprefix(f"{config.results}/"))
            return False
        return True

    def table(entries: dict[str, str]) -> dict[str, Path]:
        return {name: Path(path) for name, path in entries.items() if present(path)}

    judges, audible, scored = list(config.judges), config.audible(), config.scored()
    qualification = table({judge: layout.qualification(dataset, judge) for judge in judges})
    described = {judge: _judge_entry(config, dataset, judge) for judge in judges if judge in qualification}
    ceilings = {
        f"{tokenizer}-{vocoder}": table({j: layout.ceilings(dataset, tokenizer, vocoder, j) for j in described})
        for tokenizer, vocoder in layout.codecs()
    }
    judging = {
        (model, judge): Path(path)
        for model in audible
        for judge in described
        if present(path := layout.judging(dataset, model, judge))
    }
    settings, block = config.report, config.datasets[dataset]
    fingerprints = Fingerprints(LOCK)
    return ReportInputs(
        dataset=dataset,
        pairs=Path(layout.pairs(dataset)),
        clips=Path(layout.clips(dataset)),
        models={name: _model_entry(config, name, fingerprints) for name in config.models},
        judges=described,
        likelihood=table({name: layout.likelihood(dataset, name) for name in scored}),
        evaluators=table({name: layout.evaluators(dataset, name) for name in scored}),
        controls=table(layout.controls(dataset)),
        continuations=table({name: layout.continuations(dataset, name) for name in audible}),
        judging=judging,
        qualification=qualification,
        ceilings=ceilings,
        timings=_timings(layout, dataset),
        missing=missing,
        human_topline={
            task: tuple(
                Topline(entry.value, entry.source) for entry in (entries if isinstance(entries, tuple) else (entries,))
            )
            for task, entries in block.human_topline.items()
        },
        published=None if block.published is None else Path(block.published),
        published_source=block.published_source,
        averaging=_averaging(block),
        settings=ReportSettings(
            n_listen_items=settings.n_listen_items,
            audio_budget_mb=settings.audio_budget_mb,
            seed=settings.seed,
            primary_window_s=settings.window_s,
            n_draws=settings.n_draws,
            qualification_threshold=settings.qualification_threshold,
        ),
        signature={
            "version": __version__,
            "data": f"{dataset} {read_metadata(Path(layout.pairs(dataset)), PAIRS).identity[:12]}",
        },
    )


def _averaging(block: DatasetBlock) -> Averaging:
    """ZeroSpeech's official score averages within an id first, and an item's cluster is its id."""
    return "clusters" if getattr(block, "averaging", None) == "official" else "items"


def _model_entry(config: Config, name: str, fingerprints: Fingerprints) -> ModelEntry:
    model = config.models[name]
    return ModelEntry(
        name=name,
        family=model.family or model.kind,
        tokenizer=model.tokenizer,
        vocoder=model.vocoder,
        parameters=None,
        series=model.series,
        step=model.step,
        conventions=model_conventions(config, name, fingerprints),
    )


def _judge_entry(config: Config, dataset: str, name: str) -> JudgeEntry:
    """A judge as its references table describes it."""
    block = config.judges[name]
    extra = read_metadata(Path(Layout(config).references(dataset, name)), EMBEDDINGS).extra
    return JudgeEntry(
        name=name,
        kind=str(block.model_dump()["kind"]),
        attribute=extra["attribute"],
        naturalness=extra["naturalness"],
        trivial=isinstance(block, TrivialJudge),
        crop_s=block.model_dump().get("crop_s"),
    )


def _timings(layout: Layout, dataset: str) -> list[Timing]:
    """What jobs cost, from the benchmark files that the workflow leaves; a missing figure stays missing."""
    timings = []
    for stage, name, path in layout.timings(dataset):
        with open(path, newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                figures = {key: _number(row.get(key)) for key in ("s", "max_rss", "cpu_time")}
                if figures["s"] is not None:
                    timings.append(Timing(stage, name, figures["s"], figures["max_rss"], figures["cpu_time"]))
    return timings


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
