"""Qualification of judges: verdicts by interval, honest choices, trivial judges flagged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from spokeneval.errors import ConfigError
from spokeneval.qualification import (
    CANNOT_TELL,
    FAILS,
    NO_DATA,
    QUALIFIES,
    Bar,
    bar_of,
    choose,
    decide,
    solved_by_channel_cues,
    stand,
    standings,
    under_choice,
)
from spokeneval.tables import JUDGING, PAIRS

BAR = Bar(0.75, "threshold")


def pairs(n: int, task: str = "speaker", n_clusters: int | None = None, folds: str = "ab") -> pl.DataFrame:
    rows = [
        dict.fromkeys(PAIRS.arrow.names)
        | {"item_id": f"{task}-{k:04d}", "task": task, "index": k, "status": "ok", "prompt": f"s{k}"}
        | {"cluster": f"c{k % (n_clusters or n)}", "fold": folds[k % len(folds)]}
        for k in range(n)
    ]
    return pl.DataFrame(pl.from_arrow(PAIRS.from_rows(rows)))


def judging(items: pl.DataFrame, verdicts: Any, source: str = "prompt") -> pl.DataFrame:
    rows: list[dict[str, Any]] = [
        dict.fromkeys(JUDGING.arrow.names)
        | {"task": item["task"], "item_id": item["item_id"], "source": source, "sample_index": 0}
        | {"verdict": None if verdict is None else float(verdict), "audio_status": "ok"}
        | {"status": "failed" if verdict is None else "ok", "reason": "x" if verdict is None else None}
        for item, verdict in zip(items.iter_rows(named=True), verdicts, strict=True)
    ]
    return pl.DataFrame(pl.from_arrow(JUDGING.from_rows(rows)))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.76, 0.9, QUALIFIES), (0.75, 0.9, CANNOT_TELL), (0.5, 0.74, FAILS), (0.5, 0.75, CANNOT_TELL)],
)
def test_the_verdict_is_by_interval(low: float, high: float, verdict: str) -> None:
    assert decide(low, high, 0.75) == verdict
    assert decide(math.nan, math.nan, 0.75) == CANNOT_TELL


def test_counts_and_share_of_a_small_case_by_hand() -> None:
    found = stand("t", "j", [1.0, 1.0, 0.5, 0.0, None], list("abcde"), BAR)
    assert (found.n_items, found.n_scored, found.n_failed, found.n_ties) == (5, 4, 1, 1)
    assert found.share == 0.625
    assert found.verdict == CANNOT_TELL
    assert found.low == min(found.bootstrap.low, found.wilson.low)


def test_a_perfect_judge_is_held_to_the_number_of_its_clusters() -> None:
    """60 items of 60 speakers, and of 6: Wilson's lower bound of 60 / 60 is .940, of 6 / 6 .610."""
    many = stand("t", "j", [1.0] * 60, [f"c{k}" for k in range(60)], BAR)
    few = stand("t", "j", [1.0] * 60, [f"c{k % 6}" for k in range(60)], BAR)
    assert (many.verdict, round(many.low, 3)) == (QUALIFIES, 0.940)
    assert (few.verdict, round(few.low, 3)) == (CANNOT_TELL, 0.610)


def test_one_cluster_or_nothing_scored_cannot_tell() -> None:
    one = stand("t", "j", [1.0] * 50, ["c"] * 50, BAR)
    assert one.verdict == CANNOT_TELL
    assert math.isnan(one.low)
    none = stand("t", "j", [None, None], ["a", "b"], BAR)
    assert (none.verdict, none.n_failed) == (NO_DATA, 2)
    assert math.isnan(none.share)


def test_the_bar_is_the_human_topline_where_there_is_one() -> None:
    topline = {"speaker": (91.2, "SALMon")}
    assert bar_of("speaker", topline) == Bar(0.912, "SALMon")
    assert bar_of("room", topline, 0.8) == Bar(0.8, "threshold")


def test_the_matrix_flags_tasks_that_a_trivial_judge_solves() -> None:
    items = pl.concat([pairs(60), pairs(60, "room")])
    rng = np.random.default_rng(0)
    level = [*(rng.random(60) < 0.95), *(rng.random(60) < 0.5)]
    voice = [*([1] * 60), *(rng.random(60) < 0.5)]
    tables = {"level": judging(items, level), "voice": judging(items, voice)}
    bars = {"speaker": BAR, "room": BAR}
    matrix = standings(tables, items, bars, trivial={"level"})
    assert [(s.task, s.judge, s.trivial) for s in matrix] == [
        ("room", "level", True),
        ("room", "voice", False),
        ("speaker", "level", True),
        ("speaker", "voice", False),
    ]
    assert [s.verdict for s in matrix] == [FAILS, FAILS, QUALIFIES, QUALIFIES]
    assert solved_by_channel_cues(matrix) == {"speaker": ["level"]}
    chosen = {c.task: c for c in choose(tables, items, bars, trivial={"level"})}
    assert chosen["speaker"].judge_of_fold == {"a": "voice", "b": "voice"}


def test_failed_rows_are_counted_and_other_sources_left_out() -> None:
    items = pairs(10)
    prompt = judging(items, [1] * 8 + [None] * 2)
    trips = judging(items, [0] * 10, "prompt_round_trip")
    both = pl.concat([prompt, trips])
    real, through = (
        standings({"j": both}, items, {"speaker": BAR}, source=s)[0] for s in ("prompt", "prompt_round_trip")
    )
    assert (real.n_failed, real.share, through.n_failed, through.share) == (2, 1.0, 0, 0.0)


def test_cross_fitting_takes_no_item_into_its_own_choice() -> None:
    """x is right on fold a only, y on fold b only: each is chosen where it is right and scores where it is not."""
    items = pairs(40)
    fold_a = [fold == "a" for fold in items["fold"]]
    tables = {"x": judging(items, fold_a), "y": judging(items, [not a for a in fold_a])}
    (choice,) = choose(tables, items, {"speaker": BAR})
    assert choice.judge_of_fold == {"a": "y", "b": "x"}
    assert choice.standing is not None
    assert (choice.standing.share, choice.standing.verdict) == (0.0, FAILS)
    (paper,) = choose(tables, items, {"speaker": BAR}, way="paper")
    assert paper.judge_of_fold == {"a": "x", "b": "x"}
    assert paper.standing is not None
    assert paper.standing.share == 0.5


def test_the_choice_says_why_there_is_none() -> None:
    items = pairs(10, folds="a")
    (choice,) = choose({"j": judging(items, [1] * 10)}, items, {"speaker": BAR})
    assert (choice.judge_of_fold, choice.standing) == ({}, None)
    assert "two folds, found a" in choice.note
    both = pairs(10)
    (nothing,) = choose({"j": judging(both, [None] * 10)}, both, {"speaker": BAR})
    assert "no judge has a verdict" in nothing.note
    with pytest.raises(ConfigError, match="'cross_fitted' or 'paper', got 'best'"):
        choose({}, both, {"speaker": BAR}, way="best")  # type: ignore[arg-type]


def test_models_are_scored_by_the_judge_of_each_items_fold() -> None:
    items = pairs(8)
    fold_a = [fold == "a" for fold in items["fold"]]
    tables = {"x": judging(items, fold_a), "y": judging(items, [not a for a in fold_a])}
    choices = choose(tables, items, {"speaker": BAR})
    models = {"x": judging(items, [1] * 8, "model"), "y": judging(items, [0] * 8, "model")}
    scored = under_choice(choices, models, items)
    assert len(scored) == 8
    assert set(scored.select("fold", "judge", "verdict").iter_rows()) == {("a", "y", 0.0), ("b", "x", 1.0)}


@pytest.mark.parametrize("n", [100, 200])
def test_five_judges_of_80_percent_rarely_qualify_against_a_topline_of_83(n: int) -> None:
    """The share of runs in which any of five qualifies; by point estimate it is .66 at n = 100 and .48 at n = 200."""
    rng = np.random.default_rng(n)
    items, bars = pairs(n), {"speaker": Bar(0.831, "human topline")}
    n_runs, alone, cross_fitted, by_point = 40, 0, 0, 0
    for run in range(n_runs):
        tables = {f"j{k}": judging(items, rng.random(n) < 0.8) for k in range(5)}
        matrix = standings(tables, items, bars, n_draws=300, seed=run)
        alone += any(s.verdict == QUALIFIES for s in matrix)
        (fitted,) = choose(tables, items, bars, n_draws=300, seed=run)
        cross_fitted += fitted.standing is not None and fitted.standing.verdict == QUALIFIES
        (paper,) = choose(tables, items, bars, way="paper", n_draws=300, seed=run)
        by_point += paper.standing is not None and paper.standing.verdict == QUALIFIES
    assert alone <= 0.05 * n_runs
    assert cross_fitted <= 0.05 * n_runs
    assert by_point > 0.3 * n_runs
