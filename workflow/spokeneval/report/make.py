"""Tables in, a folder with the report out.

The folder holds report.html (one file, no network), tables/ (parquet, CSV, LaTeX), items_long.parquet, results.json,
model_cards/ and figures/ (SVG, PNG, Vega-Lite). Nothing in it depends on when it was made; on where, only what the
inputs say of it: timings, and `provenance.made_with`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from spokeneval import tables
from spokeneval.report import html, positions
from spokeneval.report.accuracy import accuracy_table, read_scores
from spokeneval.report.agreement import agreement_table
from spokeneval.report.comparisons import comparisons_table, with_letters
from spokeneval.report.content import content_table, split_judging, with_transcripts
from spokeneval.report.disagreement import item_disagreement
from spokeneval.report.failures import failures_table, n_failed_items, n_failed_rows
from spokeneval.report.gap import gap_table
from spokeneval.report.groups import groups_table
from spokeneval.report.heard import heard_rows, model_judging_table, samples_table
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.inspector import inspector
from spokeneval.report.items import items_long, read_judging
from spokeneval.report.judges import Panel, chosen_judges
from spokeneval.report.latency import latency_table
from spokeneval.report.latex_tables import latex_tables
from spokeneval.report.learning import learning_tables
from spokeneval.report.listening import listening
from spokeneval.report.model_cards import model_cards
from spokeneval.report.page_figures import page_figures
from spokeneval.report.people.items_mos import with_mos
from spokeneval.report.people.tables import people_tables
from spokeneval.report.provenance import provenance_table
from spokeneval.report.ranking import with_ranking
from spokeneval.report.report_tables import ReportTables
from spokeneval.report.results_json import results
from spokeneval.report.schemas import ITEMS_LONG, TIMINGS
from spokeneval.report.schemas_people import ITEMS_MOS
from spokeneval.report.schemas_time import PROFILE
from spokeneval.report.signature import conventions
from spokeneval.report.strata import strata_table
from spokeneval.tables import atomic_path, write_table


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
    drawn = page_figures(inputs, found, folder / "figures")
    judges = chosen_judges(found.judges)
    measured = item_disagreement(inputs, found.items, found.accuracy, judges)
    played = listening(inputs, pairs, times, found.heard, judges, measured)
    heard = with_transcripts(played, found.said)
    inspected = inspector(inputs, pairs, found.items, measured, times, judges, heard)
    reductions = conventions(inputs)
    _write_texts(folder / "tables", latex_tables(inputs, found, reductions))
    _write_texts(folder / "model_cards", model_cards(inputs, found, reductions))
    page = html.report_page(inputs, pairs, found, drawn, heard, inspected, reductions)
    with atomic_path(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    n_failed = n_failed_rows(found.failures)
    essentials = json.dumps(results(inputs, found, reductions, n_failed), indent=1, sort_keys=True, allow_nan=False)
    _write_texts(folder, {"results.json": essentials + "\n"})
    return ReportSummary(
        folder / "report.html",
        (folder / "report.html").stat().st_size,
        len(inputs.models),
        heard.n_players,
        heard.n_left_out,
        n_failed,
        tuple(inputs.missing),
    )


def _write_texts(folder: Path, texts: dict[str, str]) -> None:
    """File name -> content."""
    for name, content in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")


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
    effects = {n: positions.binned_effects(inputs.likelihood[n], frame, pairs) for n, frame in times.items()}
    profile = [positions.profile_rows(inputs, name, of_tasks) for name, of_tasks in effects.items()]
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
        latency_table(inputs, effects),
        provenance_table(inputs.provenance, pairs["task"].unique(maintain_order=True).to_list()),
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
