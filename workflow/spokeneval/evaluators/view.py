"""What a reduction counts of one pass: the tokens, in order of time.

Conventions
-----------
- Tokens are sorted by the frame that they decode to, not by the step that predicted them, and stably: within a frame
  they keep the model's order.
- Marks have no time span. They are given the place where the units before them end, with no length, so that they keep
  their order; only reductions that count marks use them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ArtefactError
from spokeneval.evaluators.positions import Bools, Floats, Ints, Objects, Positions
from spokeneval.tables import KIND_EOS, KIND_MARK, KIND_UNIT
from spokeneval.tokenizers.base import TokenizerInfo

_KINDS = {"eos": KIND_EOS, "mark": KIND_MARK}


@dataclass(frozen=True)
class View:
    """The positions of one pass that a reduction counts, in order of time. Arrays are (n_tokens,) unless said."""

    n_rows: int
    row: Ints
    nll: Floats
    """Nats."""
    slot: Ints
    """The codebook; `n_slots - 1` for marks."""
    n_slots: int
    unit: Bools
    """False for marks."""
    start: Ints
    """First frame."""
    end: Ints
    """First frame after it."""
    start_ticks: Ints
    end_ticks: Ints
    index: Ints
    """Place in the stored row, marks included."""
    step: Ints
    stream: Ints
    target: Ints
    reason: Objects
    """(n_rows,)"""

    def take(self, chosen: NDArray[Any], nll: Floats | None = None) -> View:
        """The tokens at these places, or where a mask is set; with other values where given."""
        arrays = {
            name: getattr(self, name)[chosen]
            for name in (
                "row",
                "slot",
                "unit",
                "start",
                "end",
                "start_ticks",
                "end_ticks",
                "index",
                "step",
                "stream",
                "target",
            )
        }
        values = self.nll[chosen] if nll is None else nll
        return View(self.n_rows, nll=values, n_slots=self.n_slots, reason=self.reason, **arrays)


def view_of(
    positions: Positions,
    rate: Ints,
    info: TokenizerInfo,
    *,
    vocabulary: str,
    codebooks: tuple[int, ...] | None,
    first_unit: bool,
    mark_kinds: tuple[str, ...] | None = None,
    places: str = "all",
) -> View:
    """The tokens of a pass that a reduction counts.

    rate: (n_rows,) Hz of the clips. mark_kinds: 'eos', 'mark'; None for both where all codebooks are counted, else for
    neither. Raises ArtefactError where a codebook is none of the tokenizer's.
    """
    column = positions.columns
    row, unit = positions.row, column["kind"] == KIND_UNIT
    if unit.any() and column["codebook"][unit].max() >= info.n_codebooks:
        raise ArtefactError(
            f"likelihood: codebook {column['codebook'][unit].max()} is scored, but the tokenizer has {info.n_codebooks}"
        )
    # A running maximum that starts anew in every row: rows are kept apart by more than any frame number.
    ends = np.where(unit, column["frame"] + column["n_frames"], 0)
    apart = int(ends.max(initial=0)) + 1
    before = np.maximum.accumulate(ends + row * apart) - row * apart if len(row) else ends
    start = np.where(unit, column["frame"], before)
    end = np.where(unit, ends, before)
    ticks = (info.hop_samples * rate)[row]
    codebook = column["codebook"]
    view = View(
        len(positions.counts),
        row,
        -column["logprob" if vocabulary == "full" else "logprob_legal"],
        np.where(unit, codebook, info.n_codebooks),
        info.n_codebooks + 1,
        unit,
        start,
        end,
        start * ticks,
        end * ticks,
        positions.place,
        column["step"],
        column["stream"],
        column["target"],
        positions.reason,
    )
    counted = np.ones(len(row), dtype=bool)
    if codebooks is not None:
        counted &= ~unit | np.isin(codebook, codebooks)
    if mark_kinds is None:
        mark_kinds = ("eos", "mark") if codebooks is None else ()
    counted &= unit | np.isin(column["kind"], [_KINDS[name] for name in mark_kinds])
    if places == "from_second_by_frame":
        place = column["step"] + 1  # step i predicts the id at place i + 1
        counted &= (place >= 2) & ((place - 2) % info.n_codebooks == 0)
    if not first_unit:
        first = np.full(view.n_rows, np.iinfo(np.int64).max)
        np.minimum.at(first, row[unit], positions.place[unit])
        counted &= positions.place != first[row]
    order = np.argsort(row * apart + start, kind="stable")
    return view.take(order[counted[order]])


def in_both(full: View, kept: View) -> tuple[View, View]:
    """The units that two passes of the same clips both score, in the same order; they are told by stream, codebook and
    first frame. Raises ArtefactError where such a unit is another id in the second pass.
    """
    full, kept = full.take(full.unit), kept.take(kept.unit)
    n_frames = 1 + max(int(v.start.max(initial=0)) for v in (full, kept))
    n_streams = 1 + max(int(v.stream.max(initial=0)) for v in (full, kept))
    first, second = (((v.row * n_frames + v.start) * n_streams + v.stream) * v.n_slots + v.slot for v in (full, kept))
    _, of_full, of_kept = np.intersect1d(first, second, return_indices=True)
    full, kept = full.take(of_full), kept.take(of_kept)
    other = full.target != kept.target
    if other.any():
        raise ArtefactError(
            f"likelihood: {int(other.sum())} units are other ids with the context dropped than in the whole clip; "
            "the table mixes two tokenizers: remove it and run again"
        )
    return full, kept
