"""Published rows in the report: beside own rows, marked, and in nothing that ranks, tests or averages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_simulation import (
    PUBLISHED_HEADER,
    Verdicts,
    read_pairs,
    simulate,
    simulate_verdicts,
    with_published,
)

from spokeneval.errors import ConfigError
from spokeneval.report import console_summary, make_report
from spokeneval.report.accuracy import accuracy_table, headlines, read_scores
from spokeneval.report.gap import gap_table
from spokeneval.report.inputs import ReportInputs, Topline
from spokeneval.report.panels import primary_panels, published_panels
from spokeneval.report.schemas import ACCURACY, AGREEMENT, COMPARISONS, GAP
from spokeneval.tables import read_table

HALF = [1.0, 0.0] * 10


def _accuracy(inputs: ReportInputs) -> pl.DataFrame:
    return accuracy_table(inputs, read_pairs(inputs), read_scores(inputs))


def _gap(inputs: ReportInputs) -> pl.DataFrame:
    return gap_table(inputs, read_pairs(inputs), read_scores(inputs), _accuracy(inputs))


def _two_models(folder: Path, prompted: bool = True) -> ReportInputs:
    verdicts: Verdicts = {m: {("speaker", "global"): HALF, ("speaker", "localized"): HALF} for m in ("a", "b")}
    return simulate_verdicts(folder, verdicts, prompted=prompted)


def test_a_published_row_is_marked_sourced_and_without_interval(tmp_path: Path) -> None:
    inputs = with_published(_two_models(tmp_path), tmp_path / "p.csv", ["a,speaker,global,,62.5"])
    rows = _accuracy(inputs).filter(pl.col("convention") == "published")
    row = rows.row(0, named=True)
    assert len(rows) == 1
    assert (row["role"], row["source"]) == ("published", "simulated, not a publication")
    assert row["accuracy"] == 0.625
    assert not row["primary"]
    assert not row["headline"]
    empty = ("family", "tokenizer", "low", "high", "letters", "mdd", "n_items", "n_failed", "averaging")
    assert [row[name] for name in empty] == [None] * len(empty)
    assert row["note"] == "number of items not published: no interval"


def test_an_interval_is_wilsons_where_the_number_of_items_is_published(tmp_path: Path) -> None:
    lines, header = ["a,speaker,global,,70,200"], f"{PUBLISHED_HEADER},n_items"
    inputs = with_published(_two_models(tmp_path), tmp_path / "p.csv", lines, header)
    row = _accuracy(inputs).filter(pl.col("role") == "published").row(0, named=True)
    assert (row["low"], row["high"]) == pytest.approx((0.633, 0.759), abs=5e-4)
    assert row["note"] is None


@pytest.mark.parametrize(
    ("line", "prompted", "why"),
    [
        ("a,speaker,localized,500,60", True, None),
        ("a,speaker,localized,100,60", True, "none were made with this evaluator and window"),
        ("a,speaker,localized,100,60", False, "the task has no prompt"),
        ("a,speaker,global_norm,,60", False, "the task has no prompt"),
        ("a,other,global,,60", True, "the task is not in this dataset"),
        ("a,speaker,brightness,,60", True, "'brightness' is no evaluator of spokeneval"),
    ],
)
def test_a_published_row_without_an_own_one_says_why(
    tmp_path: Path, line: str, prompted: bool, why: str | None
) -> None:
    inputs = with_published(_two_models(tmp_path, prompted), tmp_path / "p.csv", [line])
    note = _accuracy(inputs).filter(pl.col("role") == "published").row(0, named=True)["note"]
    assert ("no own rows" in note) == (why is not None)
    assert why is None or why in note


def test_published_rows_stand_beside_own_rows_of_the_same_evaluator_and_window(tmp_path: Path) -> None:
    lines = ["p,speaker,localized,500,60", "p,speaker,localized,100,55", "a,speaker,global,,62.5"]
    inputs = with_published(_two_models(tmp_path), tmp_path / "p.csv", lines)
    accuracy = _accuracy(inputs)
    beside = {
        panel["name"]: (list(panel["rows"]), list(panel["published"])) for panel in published_panels(inputs, accuracy)
    }
    assert beside == {
        "global": (["a", "b"], ["a"]),
        "localized 0.1 s": ([], ["p"]),
        "localized 0.5 s": (["a", "b"], ["p"]),
    }
    panels = {panel["name"]: list(panel["published"]) for panel in primary_panels(inputs, accuracy, {})}
    assert panels == {"localized 0.5 s": ["p"], "global": ["a"]}


def test_published_rows_change_no_ranking_test_mean_or_agreement(tmp_path: Path) -> None:
    bare = simulate(tmp_path / "in", n_models=5, n_items=12, tasks=("speaker", "room"))
    lines = [
        f"{model},{task},{evaluator},{window},99"
        for model in ("sim-a", "other")
        for task in ("speaker", "room")
        for evaluator, window in (("global", ""), ("localized", "200"), ("continuation", ""))
    ]
    inputs = with_published(bare, tmp_path / "p.csv", lines)
    for name, found in (("bare", bare), ("beside", inputs)):
        make_report(found, tmp_path / name, "x")
    for name, schema in (("comparisons", COMPARISONS), ("agreement", AGREEMENT)):
        left, right = (read_table(tmp_path / f / "tables" / f"{name}.parquet", schema) for f in ("bare", "beside"))
        assert left.equals(right)
    own, all_rows = (read_table(tmp_path / f / "tables" / "accuracy.parquet", ACCURACY) for f in ("bare", "beside"))
    assert all_rows.filter(pl.col("role") != "published").equals(own)
    assert len(all_rows) == len(own) + len(lines)
    assert headlines(read_scores(inputs), inputs.settings) == headlines(read_scores(bare), bare.settings)
    for name in ("groups", "strata", "model_judging", "judges"):
        tables = [(tmp_path / f / "tables" / f"{name}.parquet").read_bytes() for f in ("bare", "beside")]
        assert tables[0] == tables[1], name
    assert (
        console_summary(tmp_path / "bare").split("report: ")[0]
        == console_summary(tmp_path / "beside").split("report: ")[0]
    )
    results = json.loads((tmp_path / "beside" / "results.json").read_text())
    assert results["published_source"] == "simulated, not a publication"
    assert {row["role"] for row in results["accuracy"]} == {"evaluator"}


def test_every_published_name_on_the_page_and_in_figures_is_marked(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", n_models=3, n_items=6, tasks=("speaker",))
    inputs = with_published(inputs, tmp_path / "p.csv", ["Foreign-7B,speaker,localized,200,61.5"])
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert text.count("Foreign-7B") == text.count("\u2020 Foreign-7B") >= 2
    assert "simulated, not a publication" in text
    drawn = (tmp_path / "report" / "figures" / "models_by_tokenizer.vl.json").read_text()
    assert drawn.count("Foreign-7B") == drawn.count("\\u2020 Foreign-7B") + drawn.count("\u2020 Foreign-7B") > 0


def test_text_of_published_rows_is_escaped(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    inputs = with_published(_two_models(tmp_path), tmp_path / "p.csv", [f"{hostile},speaker,global,,62.5"])
    make_report(replace(inputs, published_source=hostile), tmp_path / "report", "x")
    assert hostile not in (tmp_path / "report" / "report.html").read_text()


def test_published_rows_without_a_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="need the source"):
        replace(_two_models(tmp_path), published=tmp_path / "p.csv")


# ---- the gap to people


def _right(n: int, of: int = 20) -> list[float | None]:
    return [float(k < n) for k in range(of)]


def _for_the_gap(folder: Path) -> ReportInputs:
    """Two tasks with a topline, one without, and one whose items have `global` only."""
    verdicts: Verdicts = {
        "m": {
            ("speaker", "global"): _right(10),
            ("speaker", "global_norm"): _right(14),
            ("room", "global"): _right(12),
            ("room", "global_norm"): _right(16),
            ("gender", "global"): _right(2),
            ("gender", "global_norm"): _right(20),
            ("sentiment", "global"): _right(20),
        }
    }
    people = {
        "speaker": (Topline(80, "people"), Topline(99, "others")),
        "room": (Topline(90, "people"),),
        "sentiment": (Topline(99, "people"),),
    }
    return simulate_verdicts(folder, verdicts, human_topline=people)


def test_the_share_of_the_gap_by_hand(tmp_path: Path) -> None:
    inputs = _for_the_gap(tmp_path)
    lines = [
        "p,speaker,global,,50",
        "p,speaker,global_norm,,65",
        "p,room,global,,60",
        "p,room,global_norm,,60",
        "p,gender,global,,1",
        "p,gender,global_norm,,99",
    ]
    table = _gap(with_published(inputs, tmp_path / "p.csv", lines))
    own, published = (table.row(by_predicate=pl.col("role") == role, named=True) for role in ("evaluator", "published"))
    # means over speaker and room: global .55, global_norm .75, people .85 by the first source of each task
    assert own["tasks"] == published["tasks"] == "room, speaker"
    assert (own["accuracy_global"], own["accuracy"], own["topline"]) == pytest.approx((0.55, 0.75, 0.85))
    assert own["share"] == pytest.approx(2 / 3)
    assert own["low"] < own["share"] < own["high"]
    assert published["share"] == pytest.approx((0.625 - 0.55) / 0.3)
    assert published["low"] is None
    assert published["source"] == "simulated, not a publication"


def test_the_interval_of_the_gap_pairs_the_evaluators(tmp_path: Path) -> None:
    # The evaluator is right wherever global is, and on four items more: an unpaired bootstrap would reach below 0.
    rng = np.random.default_rng(3)
    base = [float(v) for v in rng.permutation([1.0] * 30 + [0.0] * 30)]
    more = list(base)
    for k in [k for k, v in enumerate(base) if v == 0][:12]:
        more[k] = 1.0
    inputs = simulate_verdicts(
        tmp_path,
        {"m": {("speaker", "global"): base, ("speaker", "global_norm"): more}},
        clusters=[f"c{k}" for k in range(60)],
        human_topline={"speaker": (Topline(90, "people"),)},
    )
    row = _gap(inputs).row(0, named=True)
    assert row["share"] == pytest.approx(0.2 / 0.4)
    assert row["low"] > 0.25
    assert row["high"] < 1


def test_without_a_gap_there_is_no_share(tmp_path: Path) -> None:
    inputs = _for_the_gap(tmp_path)
    inputs = replace(inputs, human_topline={"gender": (Topline(10, "people"),), "speaker": (Topline(50, "people"),)})
    row = _gap(inputs).row(0, named=True)
    assert row["tasks"] == "gender, speaker"
    assert row["accuracy_global"] == pytest.approx(0.3)
    assert row["share"] is None
    assert "no gap" in row["note"]


def test_a_gap_that_vanishes_in_too_many_draws_has_no_interval(tmp_path: Path) -> None:
    inputs = simulate_verdicts(
        tmp_path,
        {"m": {("speaker", "global"): HALF, ("speaker", "global_norm"): _right(14)}},
        human_topline={"speaker": (Topline(55, "people"),)},
    )
    row = _gap(inputs).row(0, named=True)
    assert row["share"] == pytest.approx(4)
    assert row["low"] is None
    assert "no interval" in row["note"]


def test_all_toplines_are_shown_and_the_first_is_compared_with(tmp_path: Path) -> None:
    inputs = _for_the_gap(tmp_path)
    assert inputs.topline("speaker") == 0.8
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert "80.0 (people); 99.0 (others)" in text
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [entry["source"] for entry in results["human_topline"]["speaker"]] == ["people", "others"]
    assert len(read_table(tmp_path / "report" / "tables" / "gap.parquet", GAP)) == 1
