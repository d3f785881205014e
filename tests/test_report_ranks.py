"""The slope chart of ranks: ties share a rank, a panel ranks the models that every column has. All simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from report_simulation import simulate_verdicts

from spokeneval.report.accuracy import accuracy_table, read_scores
from spokeneval.report.figures_of_ranks import ranks
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.schemas_judges import MODEL_JUDGING
from spokeneval.tables import PAIRS, read_table

N = 20


def _right(n: int) -> list[float | None]:
    return [1.0] * n + [0.0] * (N - n)


def _inputs(folder: Path, scores: dict[str, tuple[int, int]]) -> ReportInputs:
    """model -> items right by global and by localized."""
    return simulate_verdicts(
        folder,
        {
            model: {("speaker", "global"): _right(overall), ("speaker", "localized"): _right(local)}
            for model, (overall, local) in scores.items()
        },
    )


def _judged(shares: dict[str, float]) -> pl.DataFrame:
    names = MODEL_JUDGING.arrow.names
    empty = dict.fromkeys(names)
    rows = [
        empty | {"task": "speaker", "judge": "j", "source": "model", "name": name, "share": share, "ranked": True}
        for name, share in shares.items()
    ]
    return pl.DataFrame(pl.from_arrow(MODEL_JUDGING.from_rows(rows)))


def _drawn(inputs: ReportInputs, judged: dict[str, float], judges: dict[str, str]) -> list[dict[str, Any]]:
    pairs = read_table(inputs.pairs, PAIRS)
    chart = ranks(inputs, accuracy_table(inputs, pairs, read_scores(inputs)), _judged(judged), judges)
    if chart is None:
        return []
    values: list[dict[str, Any]]
    (values,) = chart.to_dict(validate=False)["datasets"].values()
    return values


def _by_column(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["column"], {})[row["model"]] = row["rank"]
    return found


def test_ranks_move_from_global_to_localized_to_the_judge(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": (15, 10), "b": (12, 12), "c": (10, 16)})
    rows = _drawn(inputs, {"a": 0.5, "b": 0.9, "c": 0.7}, {"speaker": "j"})
    columns = _by_column(rows)
    assert columns == {
        "global": {"a": 1, "b": 2, "c": 3},
        "localized 0.5 s": {"a": 3, "b": 2, "c": 1},
        "judge": {"a": 3, "b": 1, "c": 2},
    }
    assert {row["panel"] for row in rows} == {"speaker: 3 models, judge j"}


def test_equal_accuracies_share_a_rank_and_the_label_says_so(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": (15, 10), "b": (15, 12), "c": (10, 16)})
    rows = _drawn(inputs, {}, {})
    assert _by_column(rows)["global"] == {"a": 1.5, "b": 1.5, "c": 3}
    labels = [row["label"] for row in rows if row["column"] == "global"]
    assert labels == ["75.0 (2 tied)", "", "50.0"]


def test_models_that_a_judge_does_not_rank_leave_the_panel(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {"a": (15, 10), "b": (12, 12), "mute": (18, 19)})
    rows = _drawn(inputs, {"a": 0.5, "b": 0.9}, {"speaker": "j"})
    assert {row["model"] for row in rows} == {"a", "b"}
    assert max(row["rank"] for row in rows) == 2
    # A judge that ranks one model alone ranks nothing.
    rows = _drawn(inputs, {"a": 0.5}, {"speaker": "j"})
    assert {row["column"] for row in rows} == {"global", "localized 0.5 s"}
    assert {row["panel"] for row in rows} == {"speaker: 3 models"}


def test_one_model_or_one_column_draws_nothing(tmp_path: Path) -> None:
    assert _drawn(_inputs(tmp_path / "one", {"a": (15, 10)}), {}, {}) == []
    inputs = _inputs(tmp_path / "two", {"a": (15, 10), "b": (12, 12)})
    only = replace(inputs, settings=replace(inputs.settings, primary_evaluators=("localized",)))
    assert _drawn(only, {}, {}) == []
