"""People in the report: page, files, long table, console. All votes here are simulated, and every place says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from people_simulation import as_own, found_items, planted, votes_on, with_study
from report_simulation import simulate
from test_report import HOSTILE, Page

from spokeneval.report import console_summary, make_report
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.schemas import ITEMS_LONG
from spokeneval.report.schemas_people import ITEMS_MOS, PEOPLE_SCHEMAS
from spokeneval.tables import read_table


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """7 models of which 6 are heard; people heard our audio, and an anchor and a recording."""
    folder = tmp_path_factory.mktemp("rated")
    simulated = simulate(folder / "in", n_models=7, n_items=24, hearing=5.0)
    quality = {**planted(simulated), "mismatched": 1.3, "reference": 4.7}
    votes = votes_on(simulated, quality, np.random.default_rng(0), n_items=16)
    roles = {"anchor": ["mismatched"], "human": ["reference"]}
    return as_own(with_study(simulated, folder, votes, roles=roles))


@pytest.fixture(scope="module")
def made(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "simulated" / "report"
    make_report(inputs, folder, "identity-1")
    return folder


def test_every_table_is_written_with_its_schema(made: Path) -> None:
    written = {path.stem for path in (made / "tables").glob("people*.parquet")}
    assert {f"report_{stem}" for stem in written} == set(PEOPLE_SCHEMAS) - {"items_mos"}
    for stem in written:
        frame = read_table(made / "tables" / f"{stem}.parquet", PEOPLE_SCHEMAS[f"report_{stem}"], "identity-1")
        assert len(frame)
        assert len(pl.read_csv(made / "tables" / f"{stem}.csv", infer_schema_length=None)) == len(frame)
        assert frame["simulated"].all()
    assert read_table(made / "items_mos.parquet", ITEMS_MOS, "identity-1")["simulated"].all()


def section(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_the_page_says_which_evaluator_and_that_nobody_voted(made: Path) -> None:
    text = (made / "report.html").read_text()
    answer, people = (
        text.partition(f'<section id="{name}"')[2].partition("</section>")[0] for name in ("answer", "people")
    )
    assert "Which evaluator to believe" in answer
    assert "Simulated listeners: no evidence about an evaluator." in answer
    assert "Nobody has listened for this report: its ratings are simulated" in answer
    assert "SIMULATED: no person voted" in people
    captions = people.split("<caption>")[1:]
    assert len(captions) > 6
    for caption in captions:
        table = caption.partition("</table>")[0]
        assert "SIMULATED" in table, caption[:80]
    assert "mismatched (anchor)" in people
    assert "reference (human)" in people
    ids = Page(text).ids
    assert len(ids) == len(set(ids))
    assert all(value.startswith("data:") for value in Page(people).loaded)


def test_figures_say_that_listeners_are_simulated(made: Path) -> None:
    names = {path.stem.removesuffix(".vl") for path in (made / "figures").glob("people_*.vl.json")}
    assert names == {"people_systems_1", "people_tasks_1", "people_window_1"}
    for name in names:
        spec = json.loads((made / "figures" / f"{name}.vl.json").read_text())
        assert "SIMULATED" in spec["title"]["text"]
        assert "simulated" in json.dumps(spec["spec"])


def test_latex_tables_name_the_study_and_that_it_is_simulated(made: Path) -> None:
    for name, words in (("people_1", "localized 0.2 s"), ("people_mos_1", "reference (human)")):
        text = (made / "tables" / f"{name}.tex").read_text()
        assert words in text
        assert "SIMULATED" in text.partition("\\caption")[2].partition("\\label")[0]
    assert (made / "tables" / "people_mos_1.tex").read_text().count("\\midrule") == 2


def test_without_ratings_the_report_is_as_it_was(inputs: ReportInputs, tmp_path: Path) -> None:
    make_report(replace(inputs, studies={}), tmp_path, "x")
    text = (tmp_path / "report.html").read_text()
    assert 'id="people"' not in text
    assert "Which evaluator to believe" not in text
    assert "it holds no human ratings" in text
    assert not list((tmp_path / "tables").glob("people*"))
    assert not (tmp_path / "items_mos.parquet").exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["people"] == results["people_mos"] == results["people_differences"] == results["people_choice"] == []
    assert read_table(tmp_path / "items_long.parquet", ITEMS_LONG)["mos"].null_count() > 0


def test_results_json_holds_the_primary_family_and_means(made: Path) -> None:
    results = json.loads((made / "results.json").read_text())
    assert results["version"] == 4
    assert all(row["primary"] and row["simulated"] for row in results["people"])
    assert {row["level"] for row in results["people"]} >= {"system", "task", "system_task_pooled", "system_task_within"}
    assert {row["role"] for row in results["people_mos"]} == {"system", "anchor", "human"}
    assert {row["level"] for row in results["people_differences"]} == {"system", "system_task_within"}
    assert {row["method"] for row in results["people_choice"]} == {"best", "ridge", "non_negative"}


def test_console_names_the_best_first_and_fits(made: Path) -> None:
    text = console_summary(made)
    assert "evaluator against people, t: naturalness, SIMULATED" in text
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("report: "))


def test_text_of_a_study_is_escaped(tmp_path: Path) -> None:
    simulated = simulate(
        tmp_path / "in", n_models=5, n_items=8, prefix=HOSTILE, tasks=("speaker", HOSTILE), hearing=5.0
    )
    quality = {**planted(simulated), HOSTILE: 3.0}
    votes = votes_on(simulated, quality, np.random.default_rng(0), tasks=("speaker", HOSTILE), dimension=HOSTILE)
    inputs = with_study(simulated, tmp_path, votes, name="t", roles={"anchor": [HOSTILE]})
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert HOSTILE not in text
    for name in ("answer", "people"):
        assert "script" not in Page(section(text, name)).tags
        assert "&lt;script&gt;" in section(text, name)


VERSION_2 = {
    "model": pa.string(),
    "task": pa.string(),
    "item_id": pa.string(),
    "cluster": pa.string(),
    "evaluator": pa.string(),
    "window_s": pa.float64(),
    "unconditional": pa.string(),
    "codebooks": pa.string(),
    "convention": pa.string(),
    "sample_index": pa.int16(),
    "score_positive": pa.float64(),
    "score_negative": pa.float64(),
    "n_scored_positive": pa.int32(),
    "n_scored_negative": pa.int32(),
    "seconds_positive": pa.float64(),
    "seconds_negative": pa.float64(),
    "verdict": pa.float64(),
    "margin": pa.float64(),
    "status": pa.string(),
    "reason": pa.string(),
    "flags": pa.list_(pa.string()),
    "mos": pa.float64(),
    "n_votes": pa.int64(),
    "mos_test_id": pa.string(),
    "mos_dimension": pa.string(),
}


def test_the_long_table_of_items_is_frozen_by_its_version() -> None:
    """Whoever changes a column gives the schema a new version, and this test with it."""
    assert ITEMS_LONG.version == 2
    assert {column.name: column.type for column in ITEMS_LONG.columns} == VERSION_2
    cell = ("evaluator", "window_s", "unconditional", "codebooks", "convention")
    assert ITEMS_LONG.key == ("model", "task", "item_id", *cell, "sample_index")


def test_the_long_table_holds_the_votes_of_each_item(inputs: ReportInputs, made: Path) -> None:
    items = read_table(made / "items_long.parquet", ITEMS_LONG)
    expected = found_items(inputs)
    rated = items.filter(pl.col("mos").is_not_null())
    assert set(rated["model"]) == set(planted(inputs))
    assert set(rated["mos_test_id"]) == {"t"}
    assert set(rated["mos_dimension"]) == {"naturalness"}
    assert set(rated["n_votes"]) == {5}
    for model, item, mos in rated.select("model", "item_id", "mos").unique().iter_rows():
        assert mos == pytest.approx(expected[model, item])
    of_one = items.filter((pl.col("model") == "sim-a") & (pl.col("task") == "room") & (pl.col("evaluator") == "global"))
    assert of_one["mos"].null_count() == of_one["n_votes"].null_count() == len(of_one) // 24 * 8
    assert items.filter(pl.col("model") == "audio")["mos"].null_count() == len(items.filter(pl.col("model") == "audio"))


def test_where_two_studies_asked_the_first_has_the_long_table(inputs: ReportInputs, tmp_path: Path) -> None:
    first = votes_on(inputs, planted(inputs), np.random.default_rng(5), tasks=("room",), n_items=4, dimension="room")
    both = with_study(replace(inputs, studies={}), tmp_path, first, name="first")
    both = replace(both, studies={**both.studies, **inputs.studies})
    make_report(both, tmp_path / "report", "x")
    items = read_table(tmp_path / "report" / "items_long.parquet", ITEMS_LONG).filter(pl.col("mos").is_not_null())
    by_task = items.group_by("task").agg(pl.col("mos_test_id", "mos_dimension").unique()).sort("task")
    assert by_task.rows() == [
        ("background", ["t"], ["naturalness"]),
        ("room", ["first"], ["room"]),
        ("speaker", ["t"], ["naturalness"]),
    ]
    everything = read_table(tmp_path / "report" / "items_mos.parquet", ITEMS_MOS)
    assert set(everything["test_id"]) == {"first", "t"}
    assert {"anchor", "human", "system"} == set(everything["role"])
    text = (tmp_path / "report" / "report.html").read_text()
    assert "external audio" in text
