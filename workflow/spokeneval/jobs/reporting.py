"""Jobs of the report: what is there goes in, what is missing is named, and failed rows fail the run at the end."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl

from spokeneval import __version__
from spokeneval.config import Config
from spokeneval.config.blocks import DatasetBlock, TrivialJudge
from spokeneval.errors import ArtefactError, ConfigError, SpokenevalError
from spokeneval.fingerprint import Fingerprints
from spokeneval.jobs.model_conventions import model_conventions
from spokeneval.jobs.origins import provenance_of, tasks_of
from spokeneval.jobs.tables_in import note, pairs_heard, pairs_of
from spokeneval.layout import Layout
from spokeneval.ratings.schemas import RATINGS_SCHEMAS
from spokeneval.report import console_summary, make_report
from spokeneval.report import index as write_index
from spokeneval.report.failures import most_frequent_reason
from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportInputs, ReportSettings, StudyTables, Timing, Topline
from spokeneval.report.resampling import Averaging
from spokeneval.report.schemas import ACCURACY, FAILURES
from spokeneval.report.text import count
from spokeneval.stages import Stages
from spokeneval.table_schema import TableSchema
from spokeneval.tables import (
    CLIPS,
    CONTINUATIONS,
    EMBEDDINGS,
    EVALUATORS,
    JUDGING,
    LIKELIHOOD,
    OK,
    PAIRS,
    atomic_path,
    read_metadata,
    read_table,
)

LOCK = Path("models.lock.json")


def report(config: Config, *, dataset: str, identity: str, threads: int) -> None:
    """All tables of a dataset -> its report."""
    summary = make_report(report_inputs(config, dataset), Path(Layout(config).report(dataset)), identity)
    note(f"{summary.html}: {summary.html_bytes / 1e6:.1f} MB, {summary.n_players} players")


def partial_report(config: Config, *, dataset: str) -> None:
    """Whatever tables of this configuration there are -> a report marked INCOMPLETE, beside the report.

    Where all of them are there, the report itself is printed.
    """
    remove_partial_report(config, dataset)
    layout, stages = Layout(config), Stages(config, Fingerprints(LOCK))
    for path, schema in ((layout.pairs(dataset), PAIRS), (layout.clips(dataset), CLIPS)):
        wrong = _not_current(path, schema, stages.clips, dataset)
        if wrong is not None:
            why = f"{path} is {wrong} and was not made again" if wrong else f"there is no {path}"
            note(f"{dataset}: nothing to report yet, {why}")
            return
    inputs = report_inputs(config, dataset, partial=True)
    if inputs.missing:
        folder = Path(layout.report(dataset, partial=True))
        make_report(inputs, folder, _expected(stages.report, dataset) or "unknown")
        print(console_summary(folder), flush=True)
    elif (Path(layout.report(dataset)) / "results.json").exists():
        print(last_report(config, dataset), flush=True)
    else:
        note(f"{dataset}: every table is there, the report is not; see {layout.log(dataset, 'report')}")


def remove_partial_report(config: Config, dataset: str) -> None:
    """An earlier run's partial report says nothing of this one."""
    shutil.rmtree(Layout(config).report(dataset, partial=True), ignore_errors=True)


def last_report(config: Config, dataset: str) -> str:
    """The tables of the last report as plain text, after a line that says so where it is older than the configuration.

    Raises ArtefactError where there is no report.
    """
    layout, stages = Layout(config), Stages(config, Fingerprints(LOCK))
    folder, unfinished = Path(layout.report(dataset)), Path(layout.report(dataset, partial=True)) / "report.html"
    there_is = f"; what the last run left of it: {unfinished}" if unfinished.exists() else ""
    if not (folder / "results.json").exists():
        raise ArtefactError(f"{folder}: there is no report here; run the workflow first{there_is}")
    shown = console_summary(folder)
    of_items = _not_current(layout.pairs(dataset), PAIRS, stages.clips, dataset)
    of_report = _not_current(str(folder / "tables/accuracy.parquet"), ACCURACY, stages.report, dataset)
    if of_items is None and of_report is None:
        return shown
    return f"{dataset}: this report is older than the configuration, run the workflow again{there_is}\n{shown}"


def index(config: Config, *, threads: int) -> None:
    """Reports -> one page that links them. All are complete now, so that none of the partial ones is linked."""
    for dataset in config.datasets:
        remove_partial_report(config, dataset)
    write_index(Path(config.results), list(config.datasets))


def verdict(config: Config, *, dataset: str, threads: int) -> None:
    """Fail where rows of the report failed, with their items and the reason of most; else say that none did."""
    layout = Layout(config)
    folder = Path(layout.report(dataset))
    results = json.loads((folder / "results.json").read_text())
    failed = int(results["n_failed_rows"])
    if failed:
        most = most_frequent_reason(read_table(folder / "tables/failures.parquet", FAILURES))
        reason = "" if most is None else f'; most frequent: "{most[0]}" ({count(most[1], "row")})'
        raise SpokenevalError(
            f"{dataset}: {results['n_failed_items']} of {count(results['n_items'], 'item')} failed "
            f"({count(failed, 'row')}){reason}. The report is complete without them: {folder}/report.html"
        )
    with atomic_path(Path(layout.verdict(dataset))) as temporary:
        temporary.write_text("no row failed\n")


def _expected(identity: Callable[..., str], *names: str) -> str | None:
    """What a table must carry; None where that cannot be said, since weights are neither there nor archived."""
    try:
        return identity(*names)
    except ConfigError:
        return None


def _not_current(path: str, schema: TableSchema, identity: Callable[..., str], *names: str) -> str | None:
    """None for a table that this configuration would make; '' where there is none, else what is wrong with it.

    A failed job loses its own table, while those that were made from an earlier one are still there.
    """
    if not Path(path).exists():
        return ""
    try:
        found = read_metadata(Path(path), schema).identity
    except ArtefactError:
        return "damaged"
    return None if found == _expected(identity, *names) else "made under another configuration"


def _of_other_items(path: str, schema: TableSchema, items: pl.DataFrame) -> bool:
    """True where the tasks of a table have more or fewer items than are asked for.

    An identity does not say so: it is that of a model or judge, whatever the dataset.
    """
    key = ["task", "item_id"]
    found = read_table(Path(path), schema, columns=key).unique()
    asked = items.select(key).join(found, on="task", how="semi")
    return len(found) != len(asked) or not found.join(asked, on=key, how="anti").is_empty()


def _items_heard(config: Config, dataset: str, judge: str) -> pl.DataFrame:
    """The items that a judging table has rows of."""
    return pairs_heard(config, dataset, judge).filter((pl.col("status") == OK) & pl.col("prompt").is_not_null())


def report_inputs(config: Config, dataset: str, partial: bool = False) -> ReportInputs:
    """The tables of a dataset as the report wants them; with `partial`, those of this configuration that there are."""
    layout, fingerprints = Layout(config), Fingerprints(LOCK)
    stages = Stages(config, fingerprints)
    missing: list[str] = []

    def present(
        path: str, schema: TableSchema, identity: Callable[..., str], *names: str, items: pl.DataFrame | None = None
    ) -> bool:
        if not partial:
            return True
        wrong = _not_current(path, schema, identity, *names)
        if wrong is None and items is not None and _of_other_items(path, schema, items):
            wrong = "made of other items"
        if wrong is not None:
            missing.append(path.removeprefix(f"{config.results}/") + (wrong and f" ({wrong})"))
        return wrong is None

    everything = pairs_of(config, dataset) if partial else None
    judges, audible, scored = config.judges_of(dataset), config.audible(), config.scored_on(dataset)
    likelihood = {
        name: Path(path)
        for name in scored
        if present(path := layout.likelihood(dataset, name), LIKELIHOOD, stages.likelihood, name)
    }
    evaluators = {
        name: Path(path)
        for name in scored
        if present(path := layout.evaluators(dataset, name), EVALUATORS, stages.evaluators, name, items=everything)
    }
    continuations = {
        name: Path(path)
        for name in audible
        if present(path := layout.continuations(dataset, name), CONTINUATIONS, stages.continuations, name)
    }
    controls = {
        name: Path(path)
        for name, path in layout.controls(dataset).items()
        if (
            present(path, EVALUATORS, stages.audio_controls, items=everything)
            if path == layout.audio_controls(dataset)
            else present(path, EVALUATORS, stages.token_controls, name, items=everything)
        )
    }
    heard = {judge: _items_heard(config, dataset, judge) if partial else None for judge in judges}
    qualification = {
        judge: Path(path)
        for judge in judges
        if present(
            path := layout.qualification(dataset, judge), JUDGING, stages.qualification, judge, items=heard[judge]
        )
    }
    described = {judge: _judge_entry(config, dataset, judge) for judge in qualification}
    ceilings = {
        f"{tokenizer}-{vocoder}": {
            judge: Path(path)
            for judge in described
            if present(
                path := layout.ceilings(dataset, tokenizer, vocoder, judge),
                JUDGING,
                stages.round_trips,
                tokenizer,
                vocoder,
                judge,
                items=heard[judge],
            )
        }
        for tokenizer, vocoder in layout.codecs()
    }
    judging = {
        (model, judge): Path(path)
        for model in audible
        for judge in described
        if present(
            path := layout.judging(dataset, model, judge), JUDGING, stages.judging, model, judge, items=heard[judge]
        )
    }
    studies = {}
    for name in config.studies_of(dataset):
        paths = layout.ratings(dataset, name)
        there = [present(path, RATINGS_SCHEMAS[table], stages.ratings, name) for table, path in paths.items()]
        if all(there):
            studies[name] = StudyTables(**{table: Path(path) for table, path in paths.items()})
    settings, block = config.report, config.datasets[dataset]
    return ReportInputs(
        dataset=dataset,
        pairs=Path(layout.pairs(dataset)),
        clips=Path(layout.clips(dataset)),
        models={name: _model_entry(config, name, fingerprints) for name in config.models},
        judges=described,
        likelihood=likelihood,
        evaluators=evaluators,
        controls=controls,
        continuations=continuations,
        judging=judging,
        qualification=qualification,
        ceilings=ceilings,
        studies=studies,
        timings=_timings(layout, dataset),
        provenance=provenance_of(config, dataset, tasks_of(pairs_of(config, dataset)), stages),
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
            n_disagreed_items=settings.n_disagreed_items,
            audio_budget_mb=settings.audio_budget_mb,
            seed=settings.seed,
            primary_window_s=settings.window_s,
            n_draws=settings.n_draws,
            qualification_threshold=settings.qualification_threshold,
            judge_choice=settings.judge_choice,
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
        answer=extra["answer"],
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
