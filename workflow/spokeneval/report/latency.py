"""How soon the models notice: when half and nine tenths of the effect of the transition are there.

Conventions
-----------
- The effect is the transition profile (`report.positions`), NLL of the wrong clip minus that of the right one; the
  latency is that of `spokeneval.statistics.transition.effect_latency`: the time at which the effect, summed from the
  profile's beginning, first reaches a share of its sum at the profile's end. It grows linearly within a bin and
  depends on where the profile ends.
- A tokenizer's row is of the mean over its models of their effects, item by item; all read the same codes, so that
  their bins are the same.
- Intervals resample whole clusters of items, with the same draws for every bin, and take percentiles of the latency. A
  resample without an effect has no latency: it counts as later than any other, so that a bound that would fall
  among such resamples is not given. With fewer than two clusters there is no interval.
- A profile with a bin between others that no item reaches has no latency.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.positions import MOST_DRAWS, BinnedEffect
from spokeneval.report.resampling import draw_means, means_of
from spokeneval.report.schemas_time import LATENCY
from spokeneval.statistics.intervals import FloatArray
from spokeneval.statistics.transition import effect_latency

SHARES = (0.5, 0.9)


def latency_table(inputs: ReportInputs, effects: Mapping[str, list[BinnedEffect]]) -> pl.DataFrame:
    """One row per task, model or tokenizer, and share, in the schema LATENCY; effects: model -> its tasks'."""
    rows: list[dict[str, Any]] = []
    by_tokenizer: dict[tuple[str, str], list[BinnedEffect]] = {}
    for model, of_tasks in effects.items():
        tokenizer = inputs.models[model].tokenizer
        for effect in of_tasks:
            rows += _rows(inputs, effect, {"level": "model", "name": model, "tokenizer": tokenizer, "n_models": 1})
            by_tokenizer.setdefault((tokenizer, effect.task), []).append(effect)
    for (tokenizer, _), found in by_tokenizer.items():
        named = {"level": "tokenizer", "name": tokenizer, "tokenizer": tokenizer, "n_models": len(found)}
        rows += _rows(inputs, mean_effect(found), named)
    return pl.DataFrame(pl.from_arrow(LATENCY.from_rows(rows))).sort(LATENCY.key)


def mean_effect(effects: list[BinnedEffect]) -> BinnedEffect:
    """The mean over models of one task's effect: in each bin and item over those models that have a value there."""
    bins = tuple(sorted({number for effect in effects for number in effect.bins}))
    stacked = np.full((len(effects), len(effects[0].clusters), len(bins)), np.nan)
    for k, effect in enumerate(effects):
        stacked[k][:, [bins.index(number) for number in effect.bins]] = effect.differences
    n = (~np.isnan(stacked)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(n > 0, np.nansum(stacked, axis=0) / np.maximum(n, 1), np.nan)
    return BinnedEffect(effects[0].task, effects[0].bin_s, bins, mean, effects[0].clusters)


def _rows(inputs: ReportInputs, effect: BinnedEffect, named: dict[str, Any]) -> list[dict[str, Any]]:
    settings = inputs.settings
    bins = np.asarray(effect.bins)
    edges = np.append(bins, bins[-1] + 1) * effect.bin_s
    present = ~np.isnan(effect.differences)
    n_clusters = len(np.unique(effect.clusters[present.any(axis=1)]))
    common = named | {
        "task": effect.task,
        "n_items": int(present.sum(axis=0).max()),
        "n_clusters": n_clusters,
        "from_s": round(float(edges[0]), 6),
        "to_s": round(float(edges[-1]), 6),
        **dict.fromkeys(("latency_s", "low", "high", "total", "total_low", "total_high", "no_effect", "note")),
    }
    if (np.diff(bins) != 1).any():
        return [common | {"share": share, "note": "no item reaches some bin of the profile"} for share in SHARES]
    mean = means_of(effect.differences, effect.clusters, "items")
    cumulative = None
    if n_clusters >= 2:
        draws = draw_means(
            effect.differences, effect.clusters, n_draws=min(settings.n_draws, MOST_DRAWS), seed=settings.seed
        )
        cumulative = np.cumsum(draws[~np.isnan(draws).any(axis=1)] * effect.bin_s, axis=1)
    tails = [(1 - settings.confidence) / 2, (1 + settings.confidence) / 2]
    rows = []
    for share in SHARES:
        found = effect_latency(edges, mean, share)
        row = common | {"share": share, "total": found.total, "note": found.reason}
        row["latency_s"] = None if math.isnan(found.latency_s) else found.latency_s
        if cumulative is None or not len(cumulative):
            row["note"] = found.reason or "all items are of one cluster: no interval"
        else:
            row["total_low"], row["total_high"] = (float(v) for v in np.quantile(cumulative[:, -1], tails))
            latencies = drawn_latencies(cumulative, edges, share)
            row["no_effect"] = float(np.isinf(latencies).mean())
            if found.reason is None:
                row |= _interval(latencies, tails, row["no_effect"])
        rows.append(row)
    return rows


def _interval(latencies: FloatArray, tails: list[float], no_effect: float) -> dict[str, Any]:
    """The bounds, or why there are none; `higher` and `lower` keep them among the draws, which may be infinite."""
    low = float(np.quantile(latencies, tails[0], method="lower"))
    high = float(np.quantile(latencies, tails[1], method="higher"))
    if math.isinf(low) or math.isinf(high):
        return {"note": f"no interval: {100 * no_effect:.0f} % of resamples show no effect"}
    return {"low": low, "high": high}


def drawn_latencies(cumulative: FloatArray, edges: FloatArray, share: float) -> FloatArray:
    """(n_draws,) `effect_latency` of every draw; infinite where its effect adds up to nothing.

    cumulative: (n_draws, n_bins) the effect summed up to the end of each bin; edges: (n_bins + 1,) seconds.
    """
    total = cumulative[:, -1:]
    goal = share * total
    reached = cumulative >= goal - 1e-12 * np.abs(total)
    k = reached.argmax(axis=1)
    rows = np.arange(len(cumulative))
    before = np.where(k > 0, cumulative[rows, np.maximum(k - 1, 0)], 0.0)
    rise = cumulative[rows, k] - before
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        at = edges[k] + (edges[k + 1] - edges[k]) * (goal[:, 0] - before) / rise
    return np.where(total[:, 0] > 1e-12, at, np.inf)


def latency_rows(table: pl.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """What the page shows: (level, name) -> {"tasks": task -> share in percent -> row}, models first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.sort("level", "name", "task", "share").iter_rows(named=True):
        tasks = found.setdefault((row["level"], row["name"]), {"tasks": {}})["tasks"]
        tasks.setdefault(row["task"], {})[round(100 * row["share"])] = row
    return found
