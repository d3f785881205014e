"""How soon models notice: planted steps are found, intervals hold them, no effect has no latency. All simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_simulation import simulate

from spokeneval.report.inputs import ModelEntry, ReportInputs, ReportSettings
from spokeneval.report.latency import drawn_latencies, latency_rows, latency_table, mean_effect
from spokeneval.report.positions import BinnedEffect, binned_effects, unit_times
from spokeneval.statistics.transition import effect_latency
from spokeneval.tables import PAIRS, read_table

BIN_S = 0.04


def _inputs(*models: str, **settings: float) -> ReportInputs:
    entries = {name: ModelEntry(name, "f", "sim-codec") for name in models}
    settings = ReportSettings(**{"n_draws": 2000, **settings})
    return ReportInputs("simulated", Path(), Path(), models=entries, settings=settings)


def _effect(step_s: float, noise: float, n_items: int = 60, seed: int = 0, nats: float = 1.0) -> BinnedEffect:
    """`nats` from 0 to step_s, and noise; 12 bins before the transition, 25 after it; clusters of two items."""
    bins = np.arange(-12, 25)
    start, end = bins * BIN_S, (bins + 1) * BIN_S
    share = np.clip((np.minimum(end, step_s) - np.maximum(start, 0)) / BIN_S, 0, 1)
    rng = np.random.default_rng(seed)
    differences = nats * share + rng.normal(0, noise, (n_items, len(bins)))
    return BinnedEffect("speaker", BIN_S, tuple(bins.tolist()), differences, np.arange(n_items) // 2)


def test_a_planted_step_has_its_latencies_and_a_bound_on_either_side() -> None:
    table = latency_table(_inputs("m"), {"m": [_effect(0.24, 0.05)]})
    for share, latency_s in ((0.5, 0.12), (0.9, 0.216)):
        row = table.filter((pl.col("level") == "model") & (pl.col("share") == share)).row(0, named=True)
        assert row["latency_s"] == pytest.approx(latency_s, abs=0.02)
        assert row["low"] <= row["latency_s"] <= row["high"]
        assert row["high"] - row["low"] < 0.1
        assert row["total"] == pytest.approx(0.24, abs=0.02)
        assert row["total_low"] < row["total"] < row["total_high"]
        assert (row["no_effect"], row["n_items"], row["n_clusters"], row["note"]) == (0.0, 60, 30, None)
        assert (row["from_s"], row["to_s"]) == (-0.48, 1.0)


def test_intervals_hold_the_planted_latency_in_most_repetitions() -> None:
    """Seeds of a simulation: the 95 % interval of the 50 % latency holds 0.2 s in 38 or more of 40."""
    held = 0
    for seed in range(40):
        table = latency_table(_inputs("m", n_draws=500), {"m": [_effect(0.4, 0.6, seed=seed)]})
        row = table.filter((pl.col("level") == "model") & (pl.col("share") == 0.5)).row(0, named=True)
        held += row["low"] <= 0.2 <= row["high"]
    assert held >= 36


def test_without_an_effect_there_is_no_interval_and_it_is_said() -> None:
    table = latency_table(_inputs("m"), {"m": [_effect(0.24, 1.0, nats=0.0, seed=3)]})
    for row in table.iter_rows(named=True):
        assert row["no_effect"] > 0.025
        assert row["low"] is None
        assert row["high"] is None
        assert "no interval" in row["note"] or "no latency" in row["note"]
    none = latency_table(_inputs("m"), {"m": [_effect(0.24, 0.01, nats=-1.0)]})
    assert none["latency_s"].null_count() == len(none)
    assert set(none["note"]) == {"the effect adds up to nothing: no latency"}


def test_one_cluster_has_no_interval() -> None:
    effect = replace(_effect(0.24, 0.05), clusters=np.zeros(60, np.int64))
    row = latency_table(_inputs("m"), {"m": [effect]}).row(0, named=True)
    assert row["latency_s"] is not None
    assert row["low"] is None
    assert row["note"] == "all items are of one cluster: no interval"


def test_a_gap_in_the_profile_has_no_latency() -> None:
    effect = _effect(0.24, 0.05)
    keep = [k for k, number in enumerate(effect.bins) if number != 3]
    torn = replace(effect, bins=tuple(effect.bins[k] for k in keep), differences=effect.differences[:, keep])
    table = latency_table(_inputs("m"), {"m": [torn]})
    assert table["latency_s"].null_count() == len(table)
    assert set(table["note"]) == {"no item reaches some bin of the profile"}


def test_a_tokenizers_row_is_the_mean_over_its_models() -> None:
    early, late = _effect(0.2, 0.0), _effect(0.6, 0.0)
    mean = mean_effect([early, late])
    np.testing.assert_allclose(mean.differences, (early.differences + late.differences) / 2)
    table = latency_table(_inputs("a", "b"), {"a": [early], "b": [late]})
    row = table.filter((pl.col("level") == "tokenizer") & (pl.col("share") == 0.5)).row(0, named=True)
    # 1 nat for .2 s and half a nat for .4 s: 0.4 in all, half of it after 0.2 s.
    assert (row["name"], row["n_models"]) == ("sim-codec", 2)
    assert row["latency_s"] == pytest.approx(0.2)


def test_a_bin_that_one_model_lacks_is_the_others_mean() -> None:
    one, other = _effect(0.2, 0.0), _effect(0.6, 0.0)
    short = replace(other, bins=other.bins[2:], differences=other.differences[:, 2:])
    mean = mean_effect([one, short])
    np.testing.assert_allclose(mean.differences[:, :2], one.differences[:, :2])
    assert mean.bins == one.bins


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.sampled_from([0.5, 0.9]))
def test_a_drawn_latency_is_the_latency_of_its_profile(effect: list[float], share: float) -> None:
    edges = np.arange(len(effect) + 1) * 0.1 - 0.2
    expected = effect_latency(edges, effect, share)
    found = drawn_latencies(np.cumsum(effect)[None, :] * 0.1, edges, share)[0]
    if expected.reason is not None:
        assert np.isinf(found) or expected.total == pytest.approx(0, abs=1e-9)
    else:
        assert found == pytest.approx(expected.latency_s, abs=1e-6)


def test_the_simulated_dip_after_the_transition_is_found(tmp_path: Path) -> None:
    """The simulation's step is 8 frames of 20 ms from the transition on: 50 % at 80 ms, 90 % at 144 ms."""
    inputs = simulate(tmp_path, n_models=2, n_items=60, tasks=("speaker",))
    pairs = read_table(inputs.pairs, PAIRS)
    effects = {n: binned_effects(path, unit_times(path, pairs), pairs) for n, path in inputs.likelihood.items()}
    table = latency_table(inputs, effects).filter(pl.col("name") == "sim-b").sort("share")
    assert table["latency_s"].to_list() == pytest.approx([0.08, 0.144], abs=0.03)
    view = latency_rows(table)
    assert set(view["model", "sim-b"]["tasks"]["speaker"]) == {50, 90}
