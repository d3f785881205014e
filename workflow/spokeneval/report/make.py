"""Tables in, a folder with the report out.

The folder holds report.html (one file, no network), tables/ (parquet and CSV), items_long.parquet, results.json and
figures/ (SVG, PNG, Vega-Lite). Nothing in it depends on when or where it was made.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spokeneval import tables
from spokeneval.report import figures, figures_of_groups, figures_of_judges, html, positions
from spokeneval.report.accuracy import accuracy_table, read_scores
from spokeneval.report.agreement import agreement_table
from spokeneval.report.comparisons import comparisons_table, with_letters
from spokeneval.report.content import content_table, split_judging, with_transcripts
from spokeneval.report.failures import failures_table, n_failed_items, n_failed_rows
from spokeneval.report.gap import gap_table
from spokeneval.report.groups import groups_table
from spokeneval.report.heard import heard_rows, model_judging_table, samples_table
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.items import items_long, read_judging
from spokeneval.report.judges import Panel, chosen_judges, ranking_judges
from spokeneval.report.learning import learning_tables
from spokeneval.report.listening import listening
from spokeneval.report.people.figures import people_figures
from spokeneval.report.people.items_mos import with_mos
from spokeneval.report.people.tables import PeopleTables, people_tables
from spokeneval.report.ranking import with_ranking
from spokeneval.report.rendering import Figure, render
from spokeneval.report.schemas import (
    ACCURACY,
    AGREEMENT,
    BEST_STEPS,
    COMPARISONS,
    FAILURES,
    GAP,
    GROUPS,
    ITEMS_LONG,
    LEARNING,
    PROFILE,
    STRATA,
    TIMINGS,
)
from spokeneval.report.schemas_content import CONTENT
from spokeneval.report.schemas_judges import JUDGES, JUDGES_BY_CODEC, MODEL_JUDGING, MODEL_JUDGING_SAMPLES
from spokeneval.report.schemas_people import ITEMS_MOS
from spokeneval.report.signature import conventions
from spokeneval.report.strata import strata_table
from spokeneval.table_schema import TableSchema
from spokeneval.tables import atomic_path, write_table

RESULTS_VERSION = 4
"""Of the layout of results.json; see docs/reading-the-report.md."""


@dataclass(frozen=True)
class ReportSummary:
    """What was written."""

    html: Path
    html_bytes: int
    n_models: int
    n_players: int
    n_left_out: int
    """Clips that the audio budget left out of the page."""
    n_failed_rows: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class ReportTables:
    """Every table of a report, in the schemas of `report.schemas`."""

    accuracy: pl.DataFrame
    comparisons: pl.DataFrame
    judges: pl.DataFrame
    judges_by_codec: pl.DataFrame
    model_judging: pl.DataFrame
    model_judging_samples: pl.DataFrame
    content: pl.DataFrame
    said: pl.DataFrame
    """The judging rows of transcribers, one per item, source and sample."""
    agreement: pl.DataFrame
    failures: pl.DataFrame
    timings: pl.DataFrame
    profile: pl.DataFrame
    items: pl.DataFrame
    strata: pl.DataFrame
    groups: pl.DataFrame
    gap: pl.DataFrame
    learning: pl.DataFrame
    best_steps: pl.DataFrame
    no_judge: dict[str, str]
    """task -> why no judge was chosen for it"""
    heard: pl.DataFrame
    """The judging rows behind `model_judging`, one per item and sample."""
    people: PeopleTables
    """What people said in listening tests, and which evaluators agree with it."""
    n_items: int
    n_failed_items: int
    """Items with at least one failed row."""

    def named(self) -> dict[str, tuple[pl.DataFrame, TableSchema]]:
        """File name in tables/ -> table and schema."""
        return {
            "accuracy": (self.accuracy, ACCURACY),
            "comparisons": (self.comparisons, COMPARISONS),
            "judges": (self.judges, JUDGES),
            "judges_by_codec": (self.judges_by_codec, JUDGES_BY_CODEC),
            "model_judging": (self.model_judging, MODEL_JUDGING),
            "model_judging_samples": (self.model_judging_samples, MODEL_JUDGING_SAMPLES),
            "content": (self.content, CONTENT),
            "agreement": (self.agreement, AGREEMENT),
            "failures": (self.failures, FAILURES),
            "timings": (self.timings, TIMINGS),
            "profile": (self.profile, PROFILE),
            "strata": (self.strata, STRATA),
            "groups": (self.groups, GROUPS),
            "gap": (self.gap, GAP),
            "learning": (self.learning, LEARNING),
            "best_steps": (self.best_steps, BEST_STEPS),
            **self.people.named(),
        }


def make_report(inputs: ReportInputs, folder: Path, identity: str) -> ReportSummary:
    """Write the report of one dataset into `folder` and say what it holds.

    identity: of the report stage; goes into the metadata of every parquet. Models without continuations, tasks without
    items, a single model or no judge leave their place empty and say so. Raises ArtefactError for a table that is not
    what it says it is.
    """
    pairs = tables.read_table(inputs.pairs, tables.PAIRS)
    times = {name: positions.unit_times(path, pairs) for name, path in inputs.likelihood.items()}
    found = _tables(inputs, pairs, times)
    for name, (frame, schema) in found.named().items():
        write_table(folder / "tables" / f"{name}.parquet", frame, schema, identity)
        with atomic_path(folder / "tables" / f"{name}.csv") as temporary:
            frame.write_csv(temporary)
    write_table(folder / "items_long.parquet", found.items, ITEMS_LONG, identity)
    if found.people:
        write_table(folder / "items_mos.parquet", found.people.items, ITEMS_MOS, identity)
    drawn = _figures(inputs, found, folder / "figures")
    played = listening(inputs, pairs, times, found.heard, chosen_judges(found.judges))
    heard = with_transcripts(played, found.said)
    reductions = conventions(inputs)
    page = html.report_page(inputs, pairs, found, drawn, heard, reductions)
    with atomic_path(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    n_failed = n_failed_rows(found.failures)
    with atomic_path(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(_results(inputs, found, reductions, n_failed), indent=1, sort_keys=True) + "\n")
    return ReportSummary(
        folder / "report.html",
        (folder / "report.html").stat().st_size,
        len(inputs.models),
        heard.n_players,
        heard.n_left_out,
        n_failed,
        tuple(inputs.missing),
    )


def _tables(inputs: ReportInputs, pairs: pl.DataFrame, times: dict[str, pl.DataFrame]) -> ReportTables:
    scores = read_scores(inputs)
    everything = read_judging(inputs)
    judging, said = split_judging(inputs, everything)
    comparisons = comparisons_table(inputs, pairs, scores)
    accuracy = with_letters(accuracy_table(inputs, pairs, scores), comparisons)
    panel = Panel(inputs, pairs, judging)
    judges = panel.table()
    heard = heard_rows(inputs, panel.with_combined(judging))
    model_judging = with_ranking(inputs, pairs, heard, model_judging_table(inputs, pairs, heard), panel)
    people = people_tables(inputs, pairs, scores, heard, model_judging, judges)
    empty = pl.DataFrame(pl.from_arrow(PROFILE.empty()))
    profile = [positions.profile_rows(inputs, name, frame, pairs) for name, frame in times.items()]
    timings = pl.DataFrame(pl.from_arrow(TIMINGS.from_rows([asdict(timing) for timing in inputs.timings])))
    return ReportTables(
        accuracy,
        comparisons,
        judges,
        panel.codec_table(),
        model_judging,
        samples_table(heard),
        content_table(inputs, pairs, said),
        said,
        agreement_table(inputs, accuracy, model_judging, judges),
        failures_table(inputs, pairs, scores, everything),
        timings,
        pl.concat([empty, *profile]),
        with_mos(items_long(pairs, scores, judging), people.items, people.test_ids),
        strata_table(inputs, pairs, scores),
        groups_table(inputs, pairs, scores),
        gap_table(inputs, pairs, scores, accuracy),
        *learning_tables(inputs, pairs, scores),
        panel.notes,
        heard,
        people,
        len(pairs),
        n_failed_items(inputs, pairs, scores, everything),
    )


def _figures(inputs: ReportInputs, found: ReportTables, folder: Path) -> dict[str, Figure]:
    """Every figure that has something to show."""
    models = list(inputs.models)
    chosen = chosen_judges(found.judges)
    codecs = {name: codec for name in models if (codec := inputs.codec(name)) is not None}
    drawings = {
        "accuracy": (
            figures.accuracy_heat(found.accuracy, models),
            "Heat table of accuracy, models by tasks; the numbers are in the table of accuracies.",
        ),
        "between_floor_and_ceiling": (
            figures_of_judges.between_floor_and_ceiling(found.model_judging, chosen, codecs, models),
            "Each model's share by the judge, between its floor and its codec's ceilings, with the baselines, one "
            "panel a task; the numbers are in the table of what judges heard.",
        ),
        "evaluator_against_judge": (
            figures_of_judges.evaluator_against_judge(
                found.accuracy, found.model_judging, ranking_judges(found.judges), models
            ),
            "Scatter of accuracy against the judge's share, one panel a task, intervals on both axes.",
        ),
        "window_sweep": (
            figures.window_sweep(found.accuracy, inputs.settings, models),
            "Accuracy of the localized evaluator over the length of the window, one panel a task.",
        ),
        "transition_profile": (
            figures.transition_profile(found.profile, inputs.settings, models),
            "Mean difference of NLL between wrong and right clip over time from the transition, one panel a task.",
        ),
        "models_by_tokenizer": (
            figures_of_groups.models_by_tokenizer(inputs, found.accuracy),
            "Accuracy of each model with its interval, marked by tokenizer, published models hollow, one panel a task; "
            "the numbers are in the table of accuracies.",
        ),
        **{
            name: (
                chart,
                "Accuracy over the steps of each series with bands, one panel a task; see tables/learning.",
            )
            for name, chart in figures_of_groups.learning_curves(found.learning).items()
        },
        **people_figures(inputs, found.people, models),
    }
    return {
        name: render(name, chart, alt_text, folder) for name, (chart, alt_text) in drawings.items() if chart is not None
    }


def _results(inputs: ReportInputs, found: ReportTables, reductions: dict[str, Any], n_failed: int) -> dict[str, Any]:
    """results.json: what another program needs first; the tables hold the rest."""
    ranked = found.accuracy.filter(pl.col("primary"))
    return {
        "version": RESULTS_VERSION,
        "dataset": inputs.dataset,
        "signature": inputs.signature,
        "settings": asdict(inputs.settings),
        "conventions": reductions,
        "incomplete": inputs.incomplete,
        "missing": inputs.missing,
        "n_failed_rows": n_failed,
        "n_failed_items": found.n_failed_items,
        "n_items": found.n_items,
        "models": {name: asdict(entry) for name, entry in inputs.models.items()},
        "judges": {name: asdict(entry) for name, entry in inputs.judges.items()},
        "chosen_judges": chosen_judges(found.judges),
        "ranking_judges": ranking_judges(found.judges),
        "judge_standings": found.judges.to_dicts(),
        "judges_by_codec": found.judges_by_codec.to_dicts(),
        "human_topline": {task: [asdict(entry) for entry in entries] for task, entries in inputs.human_topline.items()},
        "published_source": inputs.published_source,
        "accuracy": ranked.to_dicts(),
        "judging": found.model_judging.filter(pl.col("source") == "model").to_dicts(),
        "content": found.content.to_dicts(),
        "gap": found.gap.to_dicts(),
        "best_steps": found.best_steps.to_dicts(),
        "agreement": found.agreement.filter(pl.col("primary") & pl.col("chosen")).to_dicts(),
        **found.people.results(),
    }
