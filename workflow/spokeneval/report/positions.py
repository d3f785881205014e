"""Token log-probabilities over time, for traces and the transition profile.

Conventions
-----------
- NLL in nats. Time is in seconds from the transition: a unit of frame f lies at f * hop / rate - transition / clip
  rate.
- Units of one frame (several codebooks) are averaged, so that a trace has one value a frame; marks have no place in
  time.
- The profile bins units by the middle of their span, in bins of at least one frame, an edge at the transition.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval import tables
from spokeneval.report.accuracy import cell_matrix, cluster_codes
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.resampling import cluster_means
from spokeneval.report.schemas_time import PROFILE
from spokeneval.tokenizers.base import TokenizerInfo

PROFILE_BEFORE_S, PROFILE_AFTER_S = 0.5, 1.5
MOST_DRAWS = 2000
"""Draws behind the bands of a profile and the intervals of its latencies, at most."""
_COLUMNS = ["clip_id", "context", "logprob", "kind", "frame", "n_frames", "status"]


def read_info(path: Path) -> TokenizerInfo:
    """The tokenizer that a likelihood table was made with, from its metadata."""
    return TokenizerInfo.from_dict(tables.read_metadata(path, tables.LIKELIHOOD).extra["tokenizer"])


def unit_times(path: Path, pairs: pl.DataFrame) -> pl.DataFrame:
    """NLL by frame of both members of every usable pair with a transition, under one model.

    Returns task, item_id, role, start_s, end_s (from the transition), nll (mean over the frame's codebooks).
    """
    info = read_info(path)
    members = (
        pairs.filter((pl.col("status") == tables.OK) & pl.col("transition").is_not_null())
        .select("task", "item_id", "positive", "negative", cut_s=pl.col("transition") / pl.col("sample_rate"))
        .unpivot(
            ["positive", "negative"], index=["task", "item_id", "cut_s"], variable_name="role", value_name="clip_id"
        )
    )
    rows = tables.read_table(path, tables.LIKELIHOOD, columns=_COLUMNS).filter(
        (pl.col("context") == "full") & (pl.col("status") == tables.OK)
    )
    frame_s = info.hop_samples / info.sample_rate
    units = (
        rows.select("clip_id", "logprob", "kind", "frame", "n_frames")
        .explode("logprob", "kind", "frame", "n_frames")
        .filter(pl.col("kind") == tables.KIND_UNIT)
        .group_by("clip_id", "frame", "n_frames")
        .agg(nll=-pl.col("logprob").cast(pl.Float64).mean())
    )
    return (
        members.join(units, on="clip_id")
        .with_columns(
            start_s=pl.col("frame") * frame_s - pl.col("cut_s"),
            end_s=(pl.col("frame") + pl.col("n_frames")) * frame_s - pl.col("cut_s"),
        )
        .select("task", "item_id", "role", "start_s", "end_s", "nll")
        .sort("task", "item_id", "role", "start_s")
    )


@dataclass(frozen=True)
class BinnedEffect:
    """NLL of the wrong clip minus that of the right one, of every item of one task under one model."""

    task: str
    bin_s: float
    bins: tuple[int, ...]
    """Bins in which some item has a value, rising; bin k spans [k * bin_s, (k + 1) * bin_s) from the transition."""
    differences: NDArray[np.float64]
    """(n_items, n_bins) nats per token, mean over the bin; NaN where one member has no token in it."""
    clusters: NDArray[np.int64]
    """(n_items,)"""


def binned_effects(path: Path, times: pl.DataFrame, pairs: pl.DataFrame) -> list[BinnedEffect]:
    """The effect by item and bin, of every task; times: see `unit_times`, path: the likelihood table behind them."""
    info = read_info(path)
    bin_s = max(info.hop_samples / info.sample_rate, 0.04)
    middle = (pl.col("start_s") + pl.col("end_s")) / 2
    # The epsilon keeps a unit that begins exactly at an edge out of the bin before it.
    binned = (
        times.with_columns(bin=(middle / bin_s + 1e-9).floor().cast(pl.Int32))
        .filter(pl.col("bin").is_between(-round(PROFILE_BEFORE_S / bin_s), round(PROFILE_AFTER_S / bin_s) - 1))
        .group_by("task", "item_id", "bin", "role")
        .agg(pl.col("nll").mean())
    )
    wide = binned.filter(pl.col("role") == "positive").join(
        binned.filter(pl.col("role") == "negative"), on=["task", "item_id", "bin"], suffix="_negative"
    )
    differences = wide.with_columns(difference=pl.col("nll_negative") - pl.col("nll"))
    items = cluster_codes(pairs)
    found = []
    for (task,), of_task in differences.sort("task", "bin", "item_id").group_by("task", maintain_order=True):
        task_items = items.filter(pl.col("task") == task)
        cells, matrix = cell_matrix(of_task, task_items, ["bin"], "difference")
        order = cells["bin"].arg_sort().to_numpy()
        bins = tuple(cells["bin"].sort().to_list())
        found.append(BinnedEffect(str(task), bin_s, bins, matrix[:, order], task_items["cluster_code"].to_numpy()))
    return found


def profile_rows(inputs: ReportInputs, model: str, effects: list[BinnedEffect]) -> pl.DataFrame:
    """The transition profile of one model, in the schema PROFILE: mean NLL(negative) - NLL(positive) by bin."""
    settings = inputs.settings
    rows = []
    for effect in effects:
        means = cluster_means(
            effect.differences,
            effect.clusters,
            n_draws=min(settings.n_draws, MOST_DRAWS),
            seed=settings.seed,
            confidence=settings.confidence,
            shares=False,
        )
        for k, number in enumerate(effect.bins):
            rows.append(
                {
                    "task": effect.task,
                    "model": model,
                    "tokenizer": inputs.models[model].tokenizer,
                    "time_s": round((number + 0.5) * effect.bin_s, 6),
                    "n_items": int(means.n[k]),
                    "difference": float(means.mean[k]),
                    "low": None if np.isnan(means.low[k]) else float(means.low[k]),
                    "high": None if np.isnan(means.high[k]) else float(means.high[k]),
                }
            )
    return pl.DataFrame(pl.from_arrow(PROFILE.from_rows(rows)))
