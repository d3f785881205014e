"""Groups of models by tokenizer and family: means of models, differences, intervals over items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_simulation import Verdicts, read_pairs, simulate_verdicts

from spokeneval.report import make_report
from spokeneval.report.accuracy import accuracy_table, read_scores
from spokeneval.report.figures_of_groups import models_by_tokenizer
from spokeneval.report.groups import group_rows, groups_table
from spokeneval.report.inputs import ModelEntry, ReportInputs

N = 40
TOKENIZERS = {"a": "hubert", "b": "hubert", "c": "mimi", "d": "mimi", "e": "encodec"}


def _right(n: int) -> list[float | None]:
    return [float(k < n) for k in range(N)]


def _inputs(folder: Path, verdicts: Verdicts) -> ReportInputs:
    models = {n: ModelEntry(n, "big" if n in "ac" else "small", TOKENIZERS[n]) for n in verdicts}
    return simulate_verdicts(folder, verdicts, clusters=[f"c{k}" for k in range(N)], models=models)


def _groups(inputs: ReportInputs) -> pl.DataFrame:
    return groups_table(inputs, read_pairs(inputs), read_scores(inputs))


def _five(folder: Path) -> ReportInputs:
    right = {"a": 10, "b": 14, "c": 30, "d": 34, "e": 20}
    return _inputs(folder, {name: {("speaker", "global"): _right(n)} for name, n in right.items()})


def test_group_means_and_the_difference_by_hand(tmp_path: Path) -> None:
    table = _groups(_five(tmp_path))
    means = {(r["key"], r["group"]): r for r in table.filter(pl.col("against").is_null()).iter_rows(named=True)}
    assert means["tokenizer", "hubert"]["accuracy"] == pytest.approx(0.3)
    assert means["tokenizer", "mimi"]["accuracy"] == pytest.approx(0.8)
    assert means["tokenizer", "encodec"]["n_models"] == 1
    assert means["family", "big"]["accuracy"] == pytest.approx((0.25 + 0.75) / 2)
    assert means["family", "small"]["n_models"] == 3
    difference = table.filter(pl.col("against").is_not_null()).row(0, named=True)
    # the two largest tokenizer groups; equals by name
    assert (difference["key"], difference["group"], difference["against"]) == ("tokenizer", "hubert", "mimi")
    assert difference["difference"] == pytest.approx(-0.5)
    assert difference["low"] < -0.5 < difference["high"] < 0
    assert table.filter(pl.col("against").is_not_null()).height == 1


def test_models_count_alike_whatever_failed(tmp_path: Path) -> None:
    half: list[float | None] = [1.0 if k < 20 else None for k in range(N)]
    inputs = _inputs(tmp_path, {"a": {("speaker", "global"): half}, "b": {("speaker", "global"): _right(20)}})
    row = _groups(inputs).filter(key="tokenizer").row(0, named=True)
    assert row["accuracy"] == pytest.approx((1.0 + 0.5) / 2)


def test_a_model_without_any_score_is_in_no_group(tmp_path: Path) -> None:
    nothing: list[float | None] = [None] * N
    inputs = _inputs(tmp_path, {"a": {("speaker", "global"): nothing}, "b": {("speaker", "global"): _right(20)}})
    assert _groups(inputs).filter(key="tokenizer")["n_models"].to_list() == [1]


def test_the_difference_is_paired_over_items(tmp_path: Path) -> None:
    # Hard and easy items for all: the groups differ by 4 items of 40, always the same way.
    rng = np.random.default_rng(0)
    base = [float(v) for v in rng.permutation([1.0] * 20 + [0.0] * 20)]
    more = list(base)
    for k in [k for k, v in enumerate(base) if v == 0][:6]:
        more[k] = 1.0
    inputs = _inputs(tmp_path, {"a": {("speaker", "global"): base}, "c": {("speaker", "global"): more}})
    row = _groups(inputs).filter(pl.col("against").is_not_null()).row(0, named=True)
    assert row["difference"] == pytest.approx(-0.15)
    # paired: sd of one difference .36, so about -.15 -+ .11; unpaired it would be -+ .22
    assert -0.28 < row["low"] < -0.2
    assert -0.08 < row["high"] < 0


def test_one_tokenizer_has_no_difference_and_no_section(tmp_path: Path) -> None:
    inputs = _inputs(tmp_path, {n: {("speaker", "global"): _right(20)} for n in "ab"})
    inputs = replace(inputs, models={n: replace(m, family="f") for n, m in inputs.models.items()})
    table = _groups(inputs)
    assert table["against"].null_count() == len(table) == 2
    assert group_rows(table) == []
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert 'id="groups"' not in text
    assert not (tmp_path / "report" / "figures" / "models_by_tokenizer.png").exists()


def test_the_figure_tells_tokenizers_apart_by_colour_and_shape(tmp_path: Path) -> None:
    inputs = _five(tmp_path)
    chart = models_by_tokenizer(inputs, accuracy_table(inputs, read_pairs(inputs), read_scores(inputs)))
    assert chart is not None
    encoding = chart.to_dict()["spec"]["layer"][1]["encoding"]
    for channel in ("color", "shape"):
        scale = encoding[channel]["scale"]
        assert scale["domain"] == ["encodec", "hubert", "mimi"]
        assert len(set(scale["range"])) == 3


def test_differences_follow_their_groups_on_the_page(tmp_path: Path) -> None:
    entries = group_rows(_groups(_five(tmp_path)))
    shown = [(e["row"]["key"], e["row"]["group"], e["row"]["against"]) for e in entries]
    assert shown == [
        ("tokenizer", "encodec", None),
        ("tokenizer", "hubert", None),
        ("tokenizer", "mimi", None),
        ("tokenizer", "hubert", "mimi"),
        ("family", "big", None),
        ("family", "small", None),
    ]
