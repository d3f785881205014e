"""Accuracy averaged as a benchmark does: over items, or over ids after the voices within each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_simulation import Verdicts, read_pairs, simulate_verdicts

from spokeneval.config import load_config
from spokeneval.jobs.reporting import _averaging
from spokeneval.report import make_report
from spokeneval.report.accuracy import accuracy_table, read_scores
from spokeneval.report.comparisons import comparisons_table, item_weights
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.resampling import cluster_means, draw_means
from spokeneval.statistics.intervals import wilson

IDS = ["w1", "w1", "w1", "w1", "w2", "w2", "w3"]
VERDICTS: list[float | None] = [1, 1, 1, 0, 0.5, None, 0]


def _row(inputs: ReportInputs) -> dict[str, object]:
    return accuracy_table(inputs, read_pairs(inputs), read_scores(inputs)).row(0, named=True)


def _inputs(folder: Path, **values: object) -> ReportInputs:
    return simulate_verdicts(folder, {"m": {("lexical", "global"): VERDICTS}}, clusters=IDS, **values)


def test_official_and_micro_by_hand(tmp_path: Path) -> None:
    micro, official = _row(_inputs(tmp_path / "a")), _row(_inputs(tmp_path / "b", averaging="clusters"))
    # micro: 3.5 of 6; official: w1 .75, w2 .5 (one voice failed), w3 0
    assert micro["accuracy"] == micro["accuracy_items"] == pytest.approx(3.5 / 6)
    assert official["accuracy"] == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert official["accuracy_items"] == pytest.approx(3.5 / 6)
    assert (micro["averaging"], official["averaging"]) == ("items", "clusters")
    assert official["n_scored"] == 6
    bounds = wilson(3.5, 6)
    assert (official["wilson_low"], official["wilson_high"]) == pytest.approx((bounds.low, bounds.high))


def test_equal_clusters_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.integers(0, 2, (40, 3)).astype(float), np.repeat(np.arange(10), 4)
    both = [cluster_means(values, clusters, n_draws=300, seed=1, averaging=a) for a in ("items", "clusters")]  # type: ignore[arg-type]
    for left, right in zip(both[0][:5], both[1][:5], strict=True):
        np.testing.assert_allclose(left, right)


def test_the_interval_resamples_ids_whatever_their_number_of_voices() -> None:
    # One id of 100 right voices and nine of one wrong voice: micro is ruled by the one, official is not.
    values = np.array([1.0] * 100 + [0.0] * 9)[:, None]
    clusters = np.array([0] * 100 + list(range(1, 10)))
    official = cluster_means(values, clusters, n_draws=2000, seed=0, averaging="clusters")
    micro = cluster_means(values, clusters, n_draws=2000, seed=0)
    assert official.mean[0] == pytest.approx(0.1)
    assert (official.low[0], official.high[0]) == (0.0, pytest.approx(0.3))
    assert micro.mean[0] == pytest.approx(100 / 109)
    assert micro.high[0] > 0.97


def test_draws_beyond_what_is_held_at_once_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    values, clusters = rng.integers(0, 2, (60, 2)).astype(float), np.arange(60)
    whole = draw_means(values, clusters, n_draws=500, seed=9)
    monkeypatch.setattr("spokeneval.report.resampling._WEIGHTS_AT_ONCE", 60 * 70)
    np.testing.assert_allclose(draw_means(values, clusters, n_draws=500, seed=9), whole)


def test_comparisons_are_averaged_as_the_accuracies_are(tmp_path: Path) -> None:
    verdicts: Verdicts = {
        "a": {("lexical", "global"): [1, 1, 1, 1, 0, 0, 0]},
        "b": {("lexical", "global"): [0, 0, 0, 0, 1, 1, 0]},
    }
    for averaging, expected in (("items", (4 - 2) / 7), ("clusters", (1 - 1 + 0) / 3)):
        inputs = simulate_verdicts(tmp_path / averaging, verdicts, clusters=IDS, averaging=averaging)
        row = comparisons_table(inputs, read_pairs(inputs), read_scores(inputs)).row(0, named=True)
        assert row["difference"] == pytest.approx(expected)
    codes = np.array([0, 0, 0, 0, 1, 1, 2])
    assert item_weights(codes, "clusters").mean() == pytest.approx(1.0)
    assert (item_weights(codes, "items") == 1).all()


def test_the_configuration_decides_and_the_page_says_so(tmp_path: Path) -> None:
    for averaging, expected in (("official", "clusters"), ("micro", "items")):
        dataset = {"kind": "zerospeech", "path": "x", "part": "lexical", "averaging": averaging}
        config = load_config(
            {
                "datasets": {"swuggy": dataset, "demo": {"kind": "pairs", "table": "t.csv"}},
                "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": "c.safetensors"}},
                "models": {"small": {"path": "models/small", "tokenizer": "rvq"}},
            }
        )
        assert _averaging(config.datasets["swuggy"]) == expected
        assert _averaging(config.datasets["demo"]) == "items"
    make_report(_inputs(tmp_path, averaging="clusters"), tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert "averaged within each cluster" in text
    assert "over items 58.3" in text
    assert pl.read_csv(tmp_path / "report" / "tables" / "accuracy.csv")["averaging"].to_list() == ["clusters"]
