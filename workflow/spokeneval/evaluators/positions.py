"""Stored log-probabilities as flat arrays: the scored positions of both members of every item.

Conventions
-----------
- Row 2 i is the positive of item i, row 2 i + 1 its negative. A pass is one of: the members' whole clips ('full'), the
  continuation clips as files of their own ('full' too), the members from the cut on ('kept').
- Time is counted in ticks of 1 / (clip rate x tokenizer rate) seconds, as integers: frame f of a tokenizer begins at
  f * hop * clip_rate, sample n of a clip lies at n * tokenizer_rate. No float second is ever compared.
- Identical ids in identical contexts have one log-probability. Batches of different shape differ in the last bits, so
  in the pass over whole clips both members of a pair take one value up to the first target that differs: the one
  stored for the member whose clip_id sorts first. Targets below 0 are not known, and never equal. Where the first unit
  is not scored (no BOS) the table does not tell whether it is the same, and values are shared only as far as they also
  agree to SAME_LOGPROB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.errors import ArtefactError
from spokeneval.tables import KIND_UNIT, OK
from spokeneval.tokenizers.base import TokenizerInfo

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]

_FLAT = {
    "logprob": np.float64,
    "logprob_legal": np.float64,
    "target": np.int64,
    "kind": np.int64,
    "stream": np.int64,
    "codebook": np.int64,
    "frame": np.int64,
    "n_frames": np.int64,
    "step": np.int64,
}
_KEY = ["clip_id", "context", "cut_frame"]

SAME_LOGPROB = 1e-3
"""Nats by which batches of different shape may change a log-probability; ten times the tolerance of the models."""


def cut_frame(transition: int, sample_rate: int, info: TokenizerInfo) -> int:
    """The frame that holds the first sample after the prompt: units that end after its start are the continuation."""
    return transition * info.sample_rate // (sample_rate * info.hop_samples)


@dataclass(frozen=True)
class Items:
    """The items of a pairs table, in its order."""

    frame: pl.DataFrame
    rate: Ints
    """(n_items,) Hz of the clips"""
    transition: Ints
    """(n_items,) samples; -1 where there is none"""
    reason: Objects
    """(n_items,) why the item failed before it came here; None where it did not"""

    @classmethod
    def of(cls, pairs: pl.DataFrame) -> Items:
        reason = pairs.select(
            pl.when(pl.col("status") == OK).then(None).otherwise(pl.col("reason").fill_null("failed, no reason given"))
        ).to_series()
        return cls(
            pairs,
            pairs["sample_rate"].to_numpy().astype(np.int64),
            pairs["transition"].fill_null(-1).to_numpy().astype(np.int64),
            np.array(reason.to_list(), dtype=object),
        )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def has_prompt(self) -> Bools:
        """(n_items,)"""
        return self.transition >= 0

    @property
    def task_has_prompt(self) -> Bools:
        """(n_items,) True where an item of the task has a transition (a failed one may lack it), or all have failed."""
        by_task = pl.col("transition").is_not_null().any() | (pl.col("status") != OK).all()
        return self.frame.select(by_task.over("task")).to_series().to_numpy().astype(bool)

    def cut_frames(self, info: TokenizerInfo) -> Ints:
        """(n_items,) `cut_frame` of each item; -1 where there is no transition."""
        rate = np.where(self.has_prompt, self.rate, 1)  # a failed item has none
        frames = self.transition * info.sample_rate // (rate * info.hop_samples)
        return np.where(self.has_prompt, frames, -1)

    def clips(self, positive: str, negative: str) -> list[str | None]:
        """(2 n_items) clip ids of two roles in row order; None for failed items."""
        both = np.empty(2 * len(self), dtype=object)
        both[0::2], both[1::2] = self.frame[positive].to_list(), self.frame[negative].to_list()
        return [clip if why is None else None for clip, why in zip(both, np.repeat(self.reason, 2), strict=True)]


class Positions(NamedTuple):
    """Scored positions of one pass, row after row. Arrays are (n_positions,) unless said."""

    row: Ints
    place: Ints
    """Place in the stored row, from 0."""
    columns: dict[str, NDArray[Any]]
    """The list columns of the likelihood table."""
    counts: Ints
    """(n_rows,) positions of each row; 0 where there are none"""
    reason: Objects
    """(n_rows,) why a row has no positions; None where it has"""


class StoredPositions:
    """A likelihood table, ready to give the positions of any list of clips."""

    def __init__(self, likelihood: pl.DataFrame) -> None:
        """Raises ArtefactError where a key occurs twice, or the lists of a row differ in length."""
        keys = likelihood.select(_KEY)
        if keys.is_duplicated().any():
            raise ArtefactError(f"likelihood: {keys.row(int(keys.is_duplicated().arg_true()[0]))} occurs twice")
        good = likelihood.filter(pl.col("status") == OK)
        lengths = good.select(pl.col(name).list.len() for name in _FLAT)
        uneven = lengths.select(pl.any_horizontal(pl.all() != pl.col("logprob"))).to_series().fill_null(True)
        if uneven.any():
            raise ArtefactError(
                f"likelihood: clip {good['clip_id'][int(uneven.arg_true()[0])]} has lists of different lengths; "
                "remove the table and run again"
            )
        self._counts = lengths["logprob"].to_numpy().astype(np.int64)
        self._starts = np.cumsum(self._counts) - self._counts
        # Arrow's flatten skips empty lists, where `explode` would give a null for each.
        self._flat = {
            name: good[name].rechunk().to_arrow().flatten().to_numpy(zero_copy_only=False).astype(dtype)
            for name, dtype in _FLAT.items()
        }
        self._rows = pl.concat(
            [
                good.select(_KEY).with_row_index("place").with_columns(pl.lit(None, pl.String).alias("reason")),
                likelihood.filter(pl.col("status") != OK).select(
                    pl.lit(None, pl.UInt32).alias("place"), *_KEY, pl.col("reason").fill_null("failed, no reason given")
                ),
            ]
        )

    def of(
        self, clips: list[str | None], context: str, cut_frames: Ints | None = None, share: bool = False
    ) -> Positions:
        """The positions of these clips, one row each.

        clips: (n_rows) clip ids, None where there is none. cut_frames: (n_rows,) for context 'kept'.
        share: give rows 2 i and 2 i + 1 one value where ids and contexts are identical.
        """
        asked = pl.DataFrame(
            {
                "clip_id": pl.Series(clips, dtype=pl.String),
                "context": pl.Series([context] * len(clips), dtype=pl.String),
                "cut_frame": pl.Series(np.full(len(clips), -1) if cut_frames is None else cut_frames, dtype=pl.Int32),
            }
        )
        found = asked.join(self._rows, on=_KEY, how="left", maintain_order="left")
        place = found["place"].cast(pl.Int64).fill_null(-1).to_numpy()
        counts = np.where(place >= 0, np.append(self._counts, 0)[place], 0)
        row = np.repeat(np.arange(len(clips)), counts)
        index = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        source = np.append(self._starts, 0)[place][row] + index
        columns = {name: values[source] for name, values in self._flat.items()}
        reason = np.empty(len(clips), dtype=object)
        for r in np.flatnonzero(counts == 0):
            reason[r] = _why_nothing(found.row(int(r), named=True))
        positions = Positions(row, index, columns, counts, reason)
        if share:
            _share_prefixes(positions, clips)
        return positions


def _why_nothing(row: dict[str, Any]) -> str:
    if row["clip_id"] is None:
        return "there is no such clip"
    if row["reason"] is not None:
        return str(row["reason"])
    if row["place"] is not None:
        return "no position of the clip is scored"
    at = f" from frame {row['cut_frame']} on" if row["context"] == "kept" else ""
    return f"clip {row['clip_id'][:12]} has no log-probabilities in context '{row['context']}'{at}"


def _share_prefixes(positions: Positions, clips: list[str | None]) -> None:
    """Up to the first target that differs, both members take the values of the clip whose id sorts first."""
    item, index, left, right = _side_by_side(positions)
    column = positions.columns
    differs = (column["target"][left] != column["target"][right]) | (column["target"][left] < 0)
    from_start = _first_unit_scored(positions)
    close = np.abs(column["logprob"][left] - column["logprob"][right]) <= SAME_LOGPROB
    differs |= ~(from_start[0::2] & from_start[1::2])[item] & ~close
    common = np.minimum(positions.counts[0::2], positions.counts[1::2])
    shared = index < first_true(item, index, differs, common)[item]
    members = zip(clips[0::2], clips[1::2], strict=True)
    right_first = np.array([a is not None and b is not None and b < a for a, b in members], dtype=np.bool_)
    to_left, to_right = left[shared], right[shared]
    chosen = np.where(right_first[item[shared]], to_right, to_left)
    for name in ("logprob", "logprob_legal"):
        values = positions.columns[name]
        values[to_left] = values[to_right] = values[chosen]


def _side_by_side(positions: Positions) -> tuple[Ints, Ints, Ints, Ints]:
    """Item, place, and where the positions of either member lie, for the places that both members have."""
    counts = positions.counts
    starts = np.cumsum(counts) - counts
    common = np.minimum(counts[0::2], counts[1::2])
    item = np.repeat(np.arange(len(common)), common)
    index = np.arange(len(item)) - np.repeat(np.cumsum(common) - common, common)
    return item, index, starts[0::2][item] + index, starts[1::2][item] + index


def _first_unit_scored(positions: Positions) -> Bools:
    """(n_rows,) True where the first scored unit is the first code of the clip: nothing but marks stood before it."""
    column, row = positions.columns, positions.row
    units = np.flatnonzero(column["kind"] == KIND_UNIT)
    _, first = np.unique(row[units], return_index=True)
    first = units[first]
    found = np.zeros(len(positions.counts), dtype=bool)
    found[row[first]] = (column["frame"][first] == 0) & (column["codebook"][first] == 0)
    return found


def first_true(item: Ints, index: Ints, flags: Bools, default: Ints) -> Ints:
    """(n_items,) the smallest index at which a flag of the item is set; `default` where none is."""
    first = default.copy()
    np.minimum.at(first, item[flags], index[flags])
    return first


def first_difference(full: Positions) -> Ints:
    """(n_items,) first index at which the stored log-probabilities of two members differ; -1 where none does.

    Where one is a prefix of the other, the first index that only one of them has.
    """
    item, index, left, right = _side_by_side(full)
    counts, values = full.counts, full.columns["logprob"]
    common = np.minimum(counts[0::2], counts[1::2])
    differs = values[left] != values[right]
    first = first_true(item, index, differs, common)
    return np.where((first == common) & (counts[0::2] == counts[1::2]), -1, first)
