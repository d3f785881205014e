"""Do listeners agree, and what can a correlation with their means reach at most?

Conventions
-----------
- Votes that count only. `over` 'systems' leaves anchors and humans out, as every correlation does; 'all' has them in,
  and is higher as anchors are easy.
- Krippendorff's alpha is of single votes (0: as by chance, 1: all alike): ordinal on a scale of steps, interval else.
- r_halves: listeners in two random halves, Pearson's r of the systems' MOS, mean over splits. split_half: Spearman-
  Brown, r with the MOS of as many other listeners on the same items. max_r: its square root, what a metric would reach
  that knows what all possible listeners say on these items. A correlation seen above max_r is luck or an error.
- reliability: also counts the items as a sample (`statistics.noise`), so it is the stricter one.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from spokeneval.errors import SpokenevalError
from spokeneval.ratings.mos import null_if_nan
from spokeneval.ratings.schemas import AGREEMENT, HEARD, SYSTEM
from spokeneval.ratings.screening import counted
from spokeneval.ratings.study import Study
from spokeneval.statistics.crossed import intraclass
from spokeneval.statistics.noise import rating_means, reliability
from spokeneval.statistics.reliability import krippendorff_alpha, split_half

N_SPLITS = 1000
_MOST_PLACES = 20_000_000
"""Splits x listeners that are drawn: 160 MB."""
_MOST_COUNTS = 100_000_000
"""Audio x different scores that alpha counts over."""


def agreement_table(votes: pl.DataFrame, study: Study) -> pl.DataFrame:
    """One row a dimension and set of systems, in the schema AGREEMENT. votes: RATINGS of one test, after screening."""
    rows: list[dict[str, Any]] = []
    for (dimension,), of_dimension in counted(votes).group_by("dimension", maintain_order=True):
        for over in ("systems", "all"):
            chosen = of_dimension if over == "all" else of_dimension.filter(pl.col("role") == SYSTEM)
            named = {"test_id": study.test_id, "dimension": dimension, "over": over}
            named |= {"audio": study.audio, "simulated": study.simulated}
            rows.append(named | _row(chosen, study, str(dimension)))
    table = pl.from_arrow(AGREEMENT.from_rows(rows))
    assert isinstance(table, pl.DataFrame)
    return table.sort(AGREEMENT.key)


def _row(votes: pl.DataFrame, study: Study, dimension: str) -> dict[str, Any]:
    if not study.knows_listeners:
        return _unknown(votes, study, dimension)
    codes = votes.select(
        pl.col("score"),
        pl.struct(HEARD).rank("dense").alias("audio"),
        pl.struct("task", "item_id").rank("dense").alias("item"),
        pl.col("system_id").rank("dense").alias("system"),
        pl.col("listener_id").rank("dense").alias("listener"),
    )
    score, audio, item, system, listener = (codes[name].to_numpy() for name in codes.columns)
    n_listeners = codes["listener"].n_unique()
    notes = []
    step = study.scale_of(dimension).step
    n_audio = codes["audio"].n_unique()
    alpha = math.nan
    if n_audio * codes["score"].n_unique() > _MOST_COUNTS:
        notes.append(f"alpha: {codes['score'].n_unique():,} different scores are too many to count")
    elif len(codes):
        alpha = krippendorff_alpha(score, audio, listener, "interval" if step is None else "ordinal")
        if math.isnan(alpha):
            notes.append("alpha: no audio has two votes, or all votes are equal")
    halves = split_half(score, system, listener, _n_splits(n_listeners), study.seed)
    if halves.reason is not None:
        notes.append(f"halves: {halves.reason}")
    reliable = math.nan
    try:
        reliable = reliability(rating_means(score, system, item, listener)).value if len(codes) else math.nan
    except SpokenevalError as error:
        notes.append(str(error))
    icc = intraclass(score, audio, listener)
    per_audio = codes.group_by("audio").len()["len"]
    return {
        "n_votes": len(codes),
        "n_systems": codes["system"].n_unique(),
        "n_audio": n_audio,
        "n_listeners": n_listeners,
        "votes_per_audio": n_audio / float((1 / per_audio).sum()) if n_audio else None,
        "alpha": null_if_nan(alpha),
        "alpha_level": "interval" if step is None else "ordinal",
        "icc_single": null_if_nan(icc.single),
        "icc_mean": null_if_nan(icc.mean),
        "reliability": null_if_nan(reliable),
        "r_halves": null_if_nan(halves.half),
        "split_half": null_if_nan(halves.value),
        "max_r": math.sqrt(halves.value) if halves.value >= 0 else None,
        "n_splits": halves.n_splits,
        "n_splits_left_out": halves.n_left_out,
        "note": "; ".join(notes) or None,
    }


def _unknown(votes: pl.DataFrame, study: Study, dimension: str) -> dict[str, Any]:
    """The row where nobody knows who voted."""
    what = "means only: listeners are not known" if study.means_only else "it is not known who voted"
    kept = {
        "n_votes": len(votes),
        "n_systems": votes["system_id"].n_unique(),
        "n_audio": votes.select(HEARD).n_unique(),
        "alpha_level": "interval" if study.scale_of(dimension).step is None else "ordinal",
        "n_splits": 0,
        "n_splits_left_out": 0,
        "note": f"{what}, so there is no agreement of listeners and no ceiling",
    }
    columns = ("n_listeners", "votes_per_audio", "alpha", "icc_single", "icc_mean", "reliability", "r_halves")
    return dict.fromkeys((*columns, "split_half", "max_r")) | kept


def _n_splits(n_listeners: int) -> int:
    return max(100, min(N_SPLITS, _MOST_PLACES // max(n_listeners, 1)))
