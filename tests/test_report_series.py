"""Series of checkpoints: learning curves, the best step and how sure it is; nothing where there is no series."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_simulation import Verdicts, read_pairs, simulate, simulate_verdicts, with_series

from spokeneval.errors import ConfigError
from spokeneval.report import make_report
from spokeneval.report.accuracy import read_scores
from spokeneval.report.inputs import ModelEntry, ReportInputs
from spokeneval.report.learning import bootstrap_p, learning_tables
from spokeneval.report.schemas import BEST_STEPS, LEARNING
from spokeneval.tables import read_table

N = 60


def _run(folder: Path, steps: dict[int, list[float | None]], task: str = "speaker") -> ReportInputs:
    """Checkpoints in an order that is not that of their steps."""
    verdicts: Verdicts = {f"m{step}": {(task, "global"): steps[step]} for step in sorted(steps, reverse=True)}
    models = {f"m{step}": ModelEntry(f"m{step}", "f", "t", series="run", step=step) for step in steps}
    return simulate_verdicts(folder, verdicts, clusters=[f"c{k}" for k in range(N)], models=models)


def _learning(inputs: ReportInputs) -> tuple[dict[int, dict[str, object]], dict[str, object]]:
    curve, best = learning_tables(inputs, read_pairs(inputs), read_scores(inputs))
    assert curve["step"].to_list() == sorted(curve["step"])
    return {row["step"]: row for row in curve.iter_rows(named=True)}, best.row(0, named=True)


def _right(n: int, seed: int | None = None) -> list[float | None]:
    found = [float(k < n) for k in range(N)]
    return found if seed is None else [float(v) for v in np.random.default_rng(seed).permutation(found)]


def test_a_clear_best_step_is_sure(tmp_path: Path) -> None:
    curve, best = _learning(_run(tmp_path, {100: _right(20), 2000: _right(55), 300: _right(30)}))
    assert [curve[step]["accuracy"] for step in (100, 300, 2000)] == pytest.approx([1 / 3, 1 / 2, 11 / 12])
    assert best["best_step"] == best["step_low"] == best["step_high"] == 2000
    assert best["may_be_best"] == "2000"
    assert best["share_best"] == pytest.approx(1.0)
    assert curve[300]["difference"] == pytest.approx(25 / 60)
    assert curve[300]["p_holm"] == pytest.approx(2 * 2 / 1001)  # no draw of 1000 on the far side, two tests
    assert curve[2000]["best"]
    assert curve[2000]["p_holm"] is None


def test_a_best_step_by_a_hair_is_not_told_from_the_others(tmp_path: Path) -> None:
    steps = {1: _right(10, 1), 2: _right(40, 2), 3: _right(41, 3), 4: _right(39, 4)}
    curve, best = _learning(_run(tmp_path, steps))
    assert best["best_step"] == 3
    assert best["may_be_best"] == "2, 3, 4"
    assert best["share_best"] < 0.8  # type: ignore[operator]
    assert (best["step_low"], best["step_high"]) == (2, 4)
    assert not curve[1]["may_be_best"]
    assert sum(float(str(row["share_best"])) for row in curve.values()) == pytest.approx(1.0)


def test_equal_steps_share_and_the_earliest_is_named(tmp_path: Path) -> None:
    curve, best = _learning(_run(tmp_path, {1: _right(30), 2: _right(30)}))
    assert best["best_step"] == 1
    assert [curve[step]["share_best"] for step in (1, 2)] == [0.5, 0.5]
    assert curve[2]["p_holm"] == 1.0
    assert best["may_be_best"] == "1, 2"


def test_differences_are_on_items_that_both_steps_scored(tmp_path: Path) -> None:
    late: list[float | None] = [*([None] * 30), *([1.0] * 30)]
    curve, best = _learning(_run(tmp_path, {1: _right(30), 2: late}))
    assert best["best_step"] == 2
    assert curve[2]["n_scored"] == 30
    # step 1 is right on the first half only, which step 2 has not
    assert curve[1]["accuracy"] == 0.5
    assert curve[1]["difference"] == 1.0


def test_the_p_value_of_a_bootstrap_is_never_0() -> None:
    assert bootstrap_p(np.full(999, 0.2)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
    assert bootstrap_p(np.array([0.1] * 900 + [-0.1] * 99)) == pytest.approx(2 * 100 / 1000)


def test_under_no_difference_few_steps_are_told_from_the_best_of_two(tmp_path: Path) -> None:
    told = 0
    for seed in range(40):
        inputs = _run(tmp_path / str(seed), {1: _right(36, 2 * seed), 2: _right(36, 2 * seed + 1)})
        curve, _ = _learning(inputs)
        told += sum(not row["may_be_best"] for row in curve.values())
    assert told <= 5


def test_a_failed_checkpoint_is_on_the_curve_without_a_number(tmp_path: Path) -> None:
    curve, best = _learning(_run(tmp_path, {1: _right(30), 2: [None] * N}))
    assert curve[2]["accuracy"] is None
    assert best["n_steps"] == 1
    assert best["may_be_best"] == "1"


def test_items_of_one_cluster_give_no_certainty(tmp_path: Path) -> None:
    verdicts: Verdicts = {f"m{step}": {("speaker", "global"): _right(10 * step)} for step in (1, 2)}
    models = {f"m{step}": ModelEntry(f"m{step}", "f", "t", series="run", step=step) for step in (1, 2)}
    inputs = simulate_verdicts(tmp_path, verdicts, clusters=["one"] * N, models=models)
    curve, best = _learning(inputs)
    assert best["share_best"] is None
    assert best["step_low"] is None
    assert curve[1]["may_be_best"] is None
    assert "fewer than two clusters" in str(best["note"])


def test_a_series_has_a_section_curves_and_tables(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", n_models=4, n_items=12, tasks=("speaker", "room"))
    make_report(with_series(inputs, ["sim-a", "sim-b", "sim-c"]), tmp_path / "report", "x")
    folder = tmp_path / "report"
    text = (folder / "report.html").read_text()
    assert '<section id="series"' in text
    assert "each checkpoint counts as a model of its own" in text
    assert '<a href="#series">series</a> (sim-run) are ranked as models' in text
    drawn = {path.name.partition(".")[0] for path in (folder / "figures").glob("learning_*")}
    assert drawn == {f"learning_{name}" for name in inputs.settings.primary_evaluators}
    curve = read_table(folder / "tables" / "learning.parquet", LEARNING)
    assert set(curve["model"]) == {"sim-a", "sim-b", "sim-c"}
    best = read_table(folder / "tables" / "best_steps.parquet", BEST_STEPS)
    assert len(best) == 2 * 6
    results = json.loads((folder / "results.json").read_text())
    assert results["models"]["sim-b"]["step"] == 2000
    assert len(results["best_steps"]) == len(best)


def test_without_a_series_nothing_is_shown(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", n_models=2, n_items=6, tasks=("speaker",))
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text().lower()
    assert "series" not in text[text.index("<body") :].replace("sans-serif", "")
    assert not list((tmp_path / "report" / "figures").glob("learning_*"))
    assert pl.read_parquet(tmp_path / "report" / "tables" / "learning.parquet").is_empty()


def test_a_step_without_its_series_is_refused(tmp_path: Path) -> None:
    inputs = _run(tmp_path, {1: _right(3)})
    with pytest.raises(ConfigError, match="model 'm' has one of series and step"):
        ReportInputs("d", inputs.pairs, inputs.clips, {"m": ModelEntry("m", "f", "t", step=3)})
