"""The numbers of the report against hand computation. All tables here are simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_simulation import (
    CUT,
    FRAME,
    RATE,
    evaluator_row,
    judging_row,
    simulate,
    simulate_pairs,
    write_evaluators,
    write_judging,
)

from spokeneval import tables
from spokeneval.report.accuracy import accuracy_table, headlines, read_scores
from spokeneval.report.agreement import agreement_table
from spokeneval.report.comparisons import comparisons_table, with_letters
from spokeneval.report.failures import failures_table, n_failed_rows
from spokeneval.report.heard import heard_rows, model_judging_table
from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportInputs, ReportSettings, Topline
from spokeneval.report.items import items_long, read_judging
from spokeneval.report.judges import Panel, chosen_judges
from spokeneval.report.listening import choose_items
from spokeneval.report.positions import binned_effects, profile_rows, unit_times
from spokeneval.report.ranking import with_ranking
from spokeneval.report.resampling import cluster_means
from spokeneval.report.text import coefficient, evaluator_name, interval, listed, p_value, percent, points, seconds
from spokeneval.statistics.intervals import cluster_bootstrap


def _inputs(folder: Path, verdicts: dict[str, list[float | None]], **values: object) -> ReportInputs:
    """One task; verdicts by model, None for a failed item; evaluator `global`."""
    n = len(next(iter(verdicts.values())))
    pairs = simulate_pairs(folder, np.random.default_rng(0), n, ("speaker",))
    paths = {}
    for model, row in verdicts.items():
        rows = [
            evaluator_row(
                item, "global", None, positive=None if v is None else 1.0, negative=None if v is None else 0.5 + v
            )
            for item, v in zip(pairs, row, strict=True)
        ]
        paths[model] = write_evaluators(folder / f"{model}.parquet", rows)
    inputs = ReportInputs(
        dataset="simulated",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models={name: ModelEntry(name, "f", "t", "v") for name in verdicts},
        evaluators=paths,
        settings=ReportSettings(n_draws=500),
    )
    return replace(inputs, **values)  # type: ignore[arg-type]


def _pairs(inputs: ReportInputs) -> pl.DataFrame:
    return tables.read_table(inputs.pairs, tables.PAIRS)


def test_accuracy_ties_and_failures_by_hand(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1, 1, 0.5, 0, None, 1], "b": [None] * 6})
    table = accuracy_table(inputs, _pairs(inputs), read_scores(inputs))
    a, b = (table.row(by_predicate=pl.col("model") == name, named=True) for name in "ab")
    assert a["accuracy"] == pytest.approx(3.5 / 5)
    assert (a["n_items"], a["n_scored"], a["n_failed"], a["n_ties"]) == (6, 5, 1, 1)
    # Wilson for 3.5 of 5, by hand: centre (p + z2/2n) / (1 + z2/n).
    z2 = 1.959964**2
    centre = (0.7 + z2 / 10) / (1 + z2 / 5)
    assert (a["wilson_low"] + a["wilson_high"]) / 2 == pytest.approx(centre, abs=1e-6)
    assert b["accuracy"] is None
    assert b["n_failed"] == 6
    assert b["note"] == "no item has a value"


def test_items_without_a_row_count_as_failed(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1, 1, 0, 1]})
    kept = [row for row in pl.read_parquet(inputs.evaluators["a"]).to_dicts() if not row["item_id"].endswith("-3")]
    write_evaluators(inputs.evaluators["a"], kept)
    row = accuracy_table(inputs, _pairs(inputs), read_scores(inputs)).row(0, named=True)
    assert (row["n_items"], row["n_scored"], row["n_failed"]) == (4, 3, 1)


def test_first_primary_evaluator_of_a_task_ranks_it(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1, 0, 1, 1]})
    scores = read_scores(inputs)
    assert headlines(scores, inputs.settings) == {"speaker": "global"}
    local = scores.with_columns(evaluator=pl.lit("localized"), window_s=pl.lit(0.5))
    other = scores.with_columns(evaluator=pl.lit("localized"), window_s=pl.lit(0.25))
    assert headlines(pl.concat([scores, local]), inputs.settings) == {"speaker": "localized"}
    assert headlines(pl.concat([scores, other]), inputs.settings) == {"speaker": "global"}


def test_intervals_equal_those_of_the_statistics_package() -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(12), 5)
    values = rng.integers(0, 2, (60, 3)).astype(float)
    many = cluster_means(values, clusters, n_draws=1000, seed=7)
    for cell in range(3):
        one = cluster_bootstrap(values[:, cell], clusters, n_draws=1000, seed=7)
        assert many.mean[cell] == pytest.approx(one.value)
        assert (many.low[cell], many.high[cell]) == pytest.approx((one.low, one.high))


def test_interval_of_clusters_that_all_agree_is_no_point() -> None:
    clusters = np.repeat(np.arange(10), 3)
    right, tied, one = (
        cluster_means(np.full((30, 1), v), c, n_draws=100, seed=0)
        for v, c in ((1.0, clusters), (0.5, clusters), (1.0, np.zeros(30, int)))
    )
    assert right.low[0] == pytest.approx(0.7225, abs=1e-3)  # Wilson, 10 of 10
    assert right.high[0] == 1.0
    assert np.isnan(tied.low[0])
    assert np.isnan(one.low[0])
    assert one.note == ["all items are of one cluster: no interval"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, np.nan]), st.integers(0, 4)), min_size=1, max_size=30),
)
def test_interval_holds_the_mean_and_swapping_members_mirrors_it(rows: list[tuple[float, int]]) -> None:
    values, clusters = np.array([[v] for v, _ in rows]), np.array([c for _, c in rows])
    there = cluster_means(values, clusters, n_draws=200, seed=3)
    back = cluster_means(1 - values, clusters, n_draws=200, seed=3)
    assert there.n[0] == np.count_nonzero(~np.isnan(values))
    if there.n[0]:
        assert there.mean[0] == pytest.approx(1 - back.mean[0])
        assert there.mean[0] == pytest.approx(np.nanmean(values))
    if not np.isnan(there.low[0]):
        assert there.low[0] == pytest.approx(1 - back.high[0])
        assert there.low[0] <= there.high[0]


def test_differences_are_on_shared_items_and_letters_follow_them(tmp_path: Path) -> None:
    n = 45
    verdicts: dict[str, list[float | None]] = {"best": [1.0] * n, "twin": [1.0] * n, "worst": [0.0] * n}
    verdicts["twin"][0] = None
    inputs = _inputs(tmp_path, verdicts)
    pairs, scores = _pairs(inputs), read_scores(inputs)
    tests = comparisons_table(inputs, pairs, scores)
    rows = {(r["model_a"], r["model_b"]): r for r in tests.iter_rows(named=True)}
    assert rows["best", "worst"]["difference"] == 1.0
    assert rows["best", "twin"]["n_shared"] == n - 1
    assert rows["best", "twin"]["difference"] == 0.0
    assert rows["best", "worst"]["p_holm"] < 0.01 < rows["best", "twin"]["p_holm"]
    table = with_letters(accuracy_table(inputs, pairs, scores), tests)
    assert dict(table.select("model", "letters").iter_rows()) == {"best": "a", "twin": "a", "worst": "b"}


def test_failures_are_grouped_and_counted(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1, None, None, 0], "b": [1, 1, 1, 1]})
    table = failures_table(inputs, _pairs(inputs), read_scores(inputs), read_judging(inputs))
    assert table.select("stage", "name", "task", "n_rows", "n_items", "reason").row(0) == (
        "evaluators",
        "a",
        "speaker",
        2,
        2,
        "simulated failure",
    )
    assert n_failed_rows(table) == 2


def test_reasons_that_differ_in_numbers_only_are_one(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1, None, None, 0]})
    rows = pl.read_parquet(inputs.evaluators["a"]).to_dicts()
    for k, row in enumerate(rows):
        row["reason"] = row["reason"] and f"{k + 3} frames are too few"
    write_evaluators(inputs.evaluators["a"], rows)
    table = failures_table(inputs, _pairs(inputs), read_scores(inputs), read_judging(inputs))
    assert table["reason"].to_list() == ["# frames are too few"]


def _with_judge(
    inputs: ReportInputs, qualification: list[float], heard: dict[str, list[dict[str, object]]]
) -> ReportInputs:
    folder = inputs.pairs.parent
    pairs = _pairs(inputs).to_dicts()
    rows = [judging_row(item, "prompt", margin) for item, margin in zip(pairs, qualification, strict=True)]
    return replace(
        inputs,
        judges={"ear": JudgeEntry("ear", "simulated", "speaker")},
        qualification={"ear": write_judging(folder / "q.parquet", rows)},
        judging={(model, "ear"): write_judging(folder / f"j_{model}.parquet", r) for model, r in heard.items()},  # type: ignore[arg-type]
    )


def _heard(inputs: ReportInputs) -> pl.DataFrame:
    """The table of what judges heard, with what is ranked."""
    pairs, judging = _pairs(inputs), read_judging(inputs)
    panel = Panel(inputs, pairs, judging)
    rows = heard_rows(inputs, panel.with_combined(judging))
    return with_ranking(inputs, pairs, rows, model_judging_table(inputs, pairs, rows), panel)


def test_samples_of_an_item_are_averaged_first(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1, 1, 1]})
    pairs = _pairs(inputs).to_dicts()
    rows = [judging_row(pairs[0], "model", m, sample_index=k) for k, m in enumerate((0.1, 0.1, 0.1, -0.1))]
    rows.append(judging_row(pairs[1], "model", -0.1))
    rows.append(judging_row(pairs[2], "model", None))
    inputs = _with_judge(inputs, [0.1] * 3, {"a": rows})
    row = _heard(inputs).row(0, named=True)
    assert row["share"] == pytest.approx((0.75 + 0.0) / 2)
    assert (row["n_scored"], row["n_failed"]) == (2, 1)


def test_judge_qualifies_by_interval_and_not_by_point(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": [1] * 45})
    nearly = [0.1 if k % 5 else -0.1 for k in range(45)]  # .80
    for margins, topline, verdict in (
        ([0.1] * 45, None, "qualifies"),
        (nearly, None, "cannot tell"),
        ([-0.1] * 45, None, "fails"),
        ([0.1] * 45, 99.0, "cannot tell"),
    ):
        judged = _with_judge(inputs, margins, {})
        if topline is not None:
            judged = replace(judged, human_topline={"speaker": (Topline(topline, "simulated"),)})
        row = Panel(judged, _pairs(judged), read_judging(judged)).table().row(0, named=True)
        assert row["verdict"] == verdict
        assert row["chosen"] == (verdict != "fails")


def test_control_tasks_have_no_judge(tmp_path: Path) -> None:
    inputs = simulate(tmp_path, n_models=3, n_items=30)
    judges = Panel(inputs, _pairs(inputs), read_judging(inputs)).table()
    assert set(chosen_judges(judges)) == {"speaker", "background", "room"}


def test_agreement_is_one_where_the_orders_are_equal(tmp_path: Path) -> None:
    n = 60
    shares = {"a": 18, "b": 30, "c": 36, "d": 42, "e": 54}
    verdicts = {name: [float(k < right) for k in range(n)] for name, right in shares.items()}
    inputs = _inputs(tmp_path, verdicts)
    pairs = _pairs(inputs).to_dicts()
    heard = {
        name: [judging_row(item, "model", 0.1 if k < right else -0.1) for k, item in enumerate(pairs)]
        for name, right in shares.items()
    }
    inputs = _with_judge(inputs, [0.1] * n, heard)
    frame, scores, judging = _pairs(inputs), read_scores(inputs), read_judging(inputs)
    table = agreement_table(
        inputs,
        accuracy_table(inputs, frame, scores),
        _heard(inputs),
        Panel(inputs, frame, judging).table(),
    )
    for level in ("task", "system"):
        row = table.row(by_predicate=pl.col("level") == level, named=True)
        assert row["n_systems"] == 5
        assert [row["pearson"], row["spearman"], row["kendall"]] == pytest.approx([1, 1, 1])
    few = replace(
        inputs,
        evaluators={k: v for k, v in inputs.evaluators.items() if k in "abc"},
        judging={k: v for k, v in inputs.judging.items() if k[0] in "abc"},
    )
    scores, judging = read_scores(few), read_judging(few)
    table = agreement_table(
        few,
        accuracy_table(few, frame, scores),
        _heard(few),
        Panel(few, frame, judging).table(),
    )
    assert table["pearson"].null_count() == 0
    assert table["pearson_low"].null_count() == len(table)
    assert all(note for note in table["note"])


def test_items_long_has_every_score_once(tmp_path: Path) -> None:
    inputs = simulate(tmp_path, n_models=2, n_items=6)
    pairs, scores, judging = _pairs(inputs), read_scores(inputs), read_judging(inputs)
    table = items_long(pairs, scores, judging)
    assert len(table) == len(scores) + len(judging.filter((pl.col("source") == "model") & (pl.col("name") != "")))
    assert table["cluster"].null_count() == 0
    ok = table.filter((pl.col("status") == "ok") & ~pl.col("evaluator").str.starts_with("judge:"))
    assert ((ok["margin"] > 0) == (ok["verdict"] == 1)).all()


def test_profile_shows_a_planted_step_where_it_was_planted(tmp_path: Path) -> None:
    inputs = simulate(tmp_path, n_models=1, n_items=12, tasks=("speaker",))
    model = next(iter(inputs.models))
    pairs = _pairs(inputs)
    times = unit_times(inputs.likelihood[model], pairs)
    starts = times["start_s"].unique().sort().to_list()
    assert starts[0] == pytest.approx(-CUT * FRAME / RATE)
    profile = profile_rows(inputs, model, binned_effects(inputs.likelihood[model], times, pairs))
    # The step is 0.2 nats for 8 frames of 20 ms, from the transition on; noise has sd .4 / sqrt(12) a frame.
    inside = profile.filter(pl.col("time_s").is_between(0, 0.16))["difference"].mean()
    outside = profile.filter(~pl.col("time_s").is_between(0, 0.16))["difference"].mean()
    assert inside == pytest.approx(0.2, abs=0.12)
    assert outside == pytest.approx(0.0, abs=0.08)


def test_listened_items_depend_on_the_seed_only_and_take_tasks_in_turn(tmp_path: Path) -> None:
    simulate_pairs(tmp_path, np.random.default_rng(0), 5, ("a", "b", "c"))
    pairs = tables.read_table(tmp_path / "pairs.parquet", tables.PAIRS)
    chosen = choose_items(pairs, 4, 1)
    assert set(chosen["task"]) == {"a", "b", "c"}
    assert chosen["item_id"].to_list() == choose_items(pairs.reverse(), 4, 1)["item_id"].to_list()
    assert chosen["item_id"].to_list() != choose_items(pairs, 4, 2)["item_id"].to_list()


def test_numbers_are_written_plainly() -> None:
    assert percent(0.7125) == "71.2"
    assert percent(None) == "-"
    assert interval(0.64, 0.781) == "[64.0, 78.1]"
    assert coefficient(0.87, 0.53, 0.98) == ".87 [.53, .98]"
    assert coefficient(-0.04) == "-.04"
    assert coefficient(1.0) == "1.00"
    assert coefficient(0.0) == ".00"
    assert seconds(125) == "2 min 05 s"
    assert [points(v) for v in (0.052, -0.1, -0.0001, None)] == ["+5.2", "-10.0", "0.0", "-"]
    assert [p_value(v) for v in (0.02134, 0.00001, None)] == ["0.0213", "< 0.0001", "-"]
    assert listed(["a", "b", "c"]) == "a, b and c"
    cell = {
        "evaluator": "localized_norm",
        "window_s": 0.5,
        "unconditional": "keep",
        "codebooks": "0",
        "convention": "x",
    }
    assert evaluator_name(cell) == "localized_norm 0.5 s (keep, codebook 0, x)"


def test_halves_that_choose_differently_give_a_combined_judge(tmp_path: Path) -> None:
    n = 60
    inputs = _inputs(tmp_path, {"m": [1] * n})
    pairs = _pairs(inputs).to_dicts()
    # Judge a is perfect on fold a, b on fold b; the model's continuations are right by a and wrong by b.
    paths, heard = {}, {}
    for judge in "ab":
        good = [0.1 if item["fold"] == judge or k % 4 < 3 else -0.1 for k, item in enumerate(pairs)]
        rows = [judging_row(item, "prompt", margin) for item, margin in zip(pairs, good, strict=True)]
        paths[judge] = write_judging(tmp_path / f"q_{judge}.parquet", rows)
        margin = 0.1 if judge == "a" else -0.1
        rows = [judging_row(item, "model", margin) for item in pairs]
        heard["m", judge] = write_judging(tmp_path / f"j_{judge}.parquet", rows)
    judges = {name: JudgeEntry(name, "simulated", "speaker") for name in "ab"}
    inputs = replace(inputs, judges=judges, qualification=paths, judging=heard)
    judging = read_judging(inputs)
    panel = Panel(inputs, _pairs(inputs), judging)
    choice = panel.choices["speaker"]
    # Fold a is scored by the judge that was best on fold b, which is b, and the reverse.
    assert choice.judge_of_fold == {"a": "b", "b": "a"}
    chosen = panel.table().filter("chosen").row(0, named=True)
    assert chosen["judge"] == "b / a"
    table = _heard(inputs)
    shares = {row["judge"]: row["share"] for row in table.iter_rows(named=True)}
    assert shares == {"a": 1.0, "b": 0.0, "b / a": 0.5}
