"""Which tokens are counted, and how they become one score per row.

Conventions
-----------
- A mask chooses tokens of a view; `score` reduces them to one number a row. Rows without a token score NaN with n = 0.
- The window [a, b) holds tokens by the edge rule (`reduction.Reduction.edge`), compared in integer ticks.
- Sums are taken token by token within a row, in float64: rows with equal values have equal sums.
- A sliding window counts only where it is complete (it ends no later than the last token); where the span is shorter
  than the window, the whole span is one window. The score is the maximum over the windows.
- Sources: arXiv 2601.06329 (localized, windowed); evaluators global and verdicts as SALMon, arXiv 2409.07437.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spokeneval.evaluators.positions import Bools, Floats, Ints
from spokeneval.evaluators.reduction import Reduction
from spokeneval.evaluators.view import View

_CELLS = 2**24
"""Largest padded block of a row-wise cumulative sum."""


class Scores(NamedTuple):
    """One score a row; arrays are (n_rows,)."""

    score: Floats
    """Nats a token, nats a second, or nats; NaN where no token is counted."""
    n_scored: Ints
    frames: Ints
    """Frames from the start of the first to the end of the last token counted."""


def from_bound(view: View, begin: Ints, reduction: Reduction) -> Bools:
    """(n_tokens,) tokens of [begin, end of the clip). begin: (n_rows,) ticks."""
    if reduction.edge == "overlap":
        return view.end_ticks > begin[view.row]
    return view.start_ticks >= begin[view.row]


def within(view: View, begin: Ints, end: Ints, reduction: Reduction) -> Bools:
    """(n_tokens,) tokens of the window [begin, end), in ticks by row."""
    inside = from_bound(view, begin, reduction)
    if reduction.edge == "inside":
        return inside & (view.end_ticks <= end[view.row])
    return inside & (view.start_ticks < end[view.row])


def first_tokens(view: View, mask: Bools, n_tokens: Ints) -> Bools:
    """(n_tokens,) the first of the masked tokens of each row. n_tokens: (n_rows,)"""
    chosen = np.flatnonzero(mask)
    row = view.row[chosen]
    place, _ = _places(row, view.n_rows)
    first = np.zeros(len(mask), dtype=bool)
    first[chosen[place < n_tokens[row]]] = True
    return first


def _places(row: Ints, n_rows: int) -> tuple[Ints, Ints]:
    """Place of each token in its row, and the tokens of each row; `row` is sorted."""
    counts = np.bincount(row, minlength=n_rows)
    return np.arange(len(row)) - (np.cumsum(counts) - counts)[row], counts


def span(view: View, mask: Bools) -> tuple[Ints, Ints]:
    """(n_rows,) first frame and the frame after the last of the masked tokens; 0, 0 where there are none."""
    chosen = np.flatnonzero(mask)
    row = view.row[chosen]
    begin, end = np.zeros(view.n_rows, np.int64), np.zeros(view.n_rows, np.int64)
    if len(row):
        first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        begin[row[first]] = np.minimum.reduceat(view.start[chosen], first)
        end[row[first]] = np.maximum.reduceat(view.end[chosen], first)
    return begin, end


def _mean(total: Floats, count: Floats | Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, np.nan))


def score(view: View, mask: Bools, reduction: Reduction, frames_per_s: float) -> tuple[Scores, dict[int, Scores]]:
    """The masked tokens of each row as one score, and as one by codebook (marks are in no codebook)."""
    cell = view.row[mask] * view.n_slots + view.slot[mask]
    shape = (view.n_rows, view.n_slots)
    count = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)
    nats = np.bincount(cell, weights=view.nll[mask], minlength=shape[0] * shape[1])
    total = nats.reshape(shape).astype(np.float64)
    begin, end = span(view, mask)
    frames = end - begin
    by_codebook = {}
    for codebook in range(view.n_slots - 1):
        value = _reduced(total[:, [codebook]], count[:, [codebook]], frames, reduction, frames_per_s)
        by_codebook[codebook] = Scores(value, count[:, codebook], np.where(count[:, codebook] > 0, frames, 0))
    return Scores(_reduced(total, count, frames, reduction, frames_per_s), count.sum(axis=1), frames), by_codebook


def _reduced(total: Floats, count: Ints, frames: Ints, reduction: Reduction, frames_per_s: float) -> Floats:
    """Sums and counts (n, n_slots), and frames (n,) to scores (n,); NaN where nothing was counted."""
    if reduction.codebook_mean == "per_codebook":
        means, some = _mean(total, count), count > 0
        return _mean(np.where(some, means, 0.0).sum(axis=1), some.sum(axis=1))
    n, nats = count.sum(axis=1), total.sum(axis=1)
    if reduction.unit == "second":
        return np.where(n > 0, _mean(nats, frames / frames_per_s), np.nan)
    return np.where(n > 0, nats, np.nan) if reduction.reduce == "sum" else _mean(nats, n)


def _row_sums(values: Floats, row: Ints, place: Ints, counts: Ints) -> tuple[Floats, Ints]:
    """Cumulative sums within each row, each led by a zero, one row after the other; and where each row's zero lies.

    A cumulative sum over all rows would make a row's sums depend on the rows before it, in the last bits.
    values: (n_tokens, n_columns)
    """
    base = np.cumsum(counts + 1) - (counts + 1)
    sums = np.zeros((len(values) + len(counts), values.shape[1]))
    rows_at_once = max(1, _CELLS // ((int(counts.max(initial=0)) + 1) * values.shape[1]))
    tokens = np.r_[0, np.cumsum(counts)]
    for lo in range(0, len(counts), rows_at_once):
        hi = min(lo + rows_at_once, len(counts))
        these = slice(tokens[lo], tokens[hi])
        block = np.zeros((hi - lo, int(counts[lo:hi].max(initial=0)) + 1, values.shape[1]))
        block[row[these] - lo, place[these] + 1] = values[these]
        np.cumsum(block, axis=1, out=block)
        sums[base[row[these]] + place[these] + 1] = block[row[these] - lo, place[these] + 1]
    return sums, base


class _Windows(NamedTuple):
    """Candidate windows in order of row: tokens [lo, hi) of the row's span."""

    row: Ints
    lo: Ints
    hi: Ints
    complete: Bools

    def take(self, chosen: Bools) -> _Windows:
        return _Windows(self.row[chosen], self.lo[chosen], self.hi[chosen], self.complete[chosen])


def sliding_maximum(
    view: View,
    mask: Bools,
    reduction: Reduction,
    frames_per_s: float,
    *,
    window_ticks: Ints,
    window_tokens: int,
    matched: bool,
) -> Scores:
    """The largest score of a window that slides over the masked tokens of each row.

    window_ticks: (n_rows,) its length in time; window_tokens: its length where the reduction counts tokens.
    matched: rows 2 i and 2 i + 1 are cut to the shorter of their spans first, and have equally many windows.
    n_scored and frames are those of the span over which the window slid.
    """
    by_time = reduction.window_length == "edge"
    last = np.zeros(view.n_rows, np.int64)
    np.maximum.at(last, view.row[mask], view.end_ticks[mask])
    if matched and by_time:
        last = _of_both(last, np.minimum)
        mask = mask & (view.start_ticks < last[view.row])
    elif matched:
        n_tokens = np.bincount(view.row[mask], minlength=view.n_rows)
        mask = first_tokens(view, mask, _of_both(n_tokens, np.minimum))
    tokens = view.take(mask)
    place, counts = _places(tokens.row, view.n_rows)
    if by_time:
        windows = _windows_in_time(tokens, place, counts, window_ticks, last, reduction)
    else:
        windows = _windows_of_tokens(tokens, place, counts, window_tokens, reduction)
    windows = _complete(windows, view.n_rows)
    if matched:
        rank, n_windows = _places(windows.row, view.n_rows)
        chosen = rank < _of_both(n_windows, np.minimum)[windows.row]
        windows = windows.take(chosen)
    begin, end = span(view, mask)
    best = _maximum(tokens, place, counts, windows, reduction, frames_per_s)
    some = np.bincount(windows.row, minlength=view.n_rows) > 0
    return Scores(best, np.where(some, counts, 0), end - begin)


def _of_both(values: Ints, rule: np.ufunc) -> Ints:
    """(n_rows,) one value for both rows of an item."""
    return np.asarray(np.repeat(rule(values[0::2], values[1::2]), 2))


def _windows_in_time(
    tokens: View, place: Ints, counts: Ints, window_ticks: Ints, last: Ints, reduction: Reduction
) -> _Windows:
    """A window at the start of each frame that holds a unit (of de-duplicated units: at each of them)."""
    row = tokens.row
    new = np.r_[True, (tokens.start[1:] != tokens.start[:-1]) | (row[1:] != row[:-1])][: len(row)]
    begins = np.flatnonzero(new & tokens.unit)
    of, lo, begin = row[begins], place[begins], tokens.start_ticks[begins]
    end = begin + window_ticks[of]
    apart = int(max(tokens.end_ticks.max(initial=0), end.max(initial=0))) + 1
    bound = of * apart + np.minimum(end, last[of])
    first = np.cumsum(counts) - counts
    if reduction.edge == "inside":
        hi = np.searchsorted(row * apart + tokens.end_ticks, bound, side="right") - first[of]
    else:
        hi = np.searchsorted(row * apart + tokens.start_ticks, bound, side="left") - first[of]
    return _Windows(of, lo, np.maximum(hi, lo), end <= last[of])


def _windows_of_tokens(tokens: View, place: Ints, counts: Ints, window_tokens: int, reduction: Reduction) -> _Windows:
    """A window of a number of tokens: at each unit, where the step changes, or at every n_codebooks-th unit."""
    row = tokens.row
    first_unit = np.full(len(counts), np.iinfo(np.int64).max)
    np.minimum.at(first_unit, row[tokens.unit], place[tokens.unit])
    if reduction.stride == "frame":
        n_codebooks = tokens.n_slots - 1 if reduction.codebooks is None else len(reduction.codebooks)
        may_begin = (place - first_unit[row]) % n_codebooks == 0
    elif reduction.stride == "step":
        may_begin = np.r_[True, (tokens.step[1:] != tokens.step[:-1]) | (row[1:] != row[:-1])][: len(row)]
    else:
        may_begin = np.ones(len(row), dtype=bool)
    begins = np.flatnonzero(may_begin & tokens.unit)
    of, lo = row[begins], place[begins]
    hi = lo + window_tokens
    return _Windows(of, lo, np.minimum(hi, counts[of]), hi <= counts[of])


def _complete(windows: _Windows, n_rows: int) -> _Windows:
    """The complete windows that hold a token; in a row without one, its first window, cut short."""
    rank, _ = _places(windows.row, n_rows)
    some = np.zeros(n_rows, dtype=bool)
    some[windows.row[windows.complete]] = True
    chosen = (windows.complete | (~some[windows.row] & (rank == 0))) & (windows.hi > windows.lo)
    return windows.take(chosen)


def _maximum(
    tokens: View, place: Ints, counts: Ints, windows: _Windows, reduction: Reduction, frames_per_s: float
) -> Floats:
    """(n_rows,) the largest score of a row's windows; NaN where it has none."""
    best = np.full(len(counts), np.nan)
    if not len(windows.row):
        return best
    by_slot = reduction.codebook_mean == "per_codebook"
    ones = np.ones((len(tokens.nll), 1))
    if by_slot:
        ones = (tokens.slot[:, None] == np.arange(tokens.n_slots)).astype(np.float64)
    base = (np.cumsum(counts + 1) - (counts + 1))[windows.row]
    nats, _ = _row_sums(tokens.nll[:, None] * ones, tokens.row, place, counts)
    total = nats[base + windows.hi] - nats[base + windows.lo]
    if by_slot:
        seen, _ = _row_sums(ones, tokens.row, place, counts)
        count = np.rint(seen[base + windows.hi] - seen[base + windows.lo]).astype(np.int64)
    else:
        count = (windows.hi - windows.lo)[:, None]
    first = (np.cumsum(counts) - counts)[windows.row]
    frames = tokens.end[first + windows.hi - 1] - tokens.start[first + windows.lo]
    values = _reduced(total, count, frames, reduction, frames_per_s)
    starts = np.flatnonzero(np.r_[True, windows.row[1:] != windows.row[:-1]])
    best[windows.row[starts]] = np.maximum.reduceat(values, starts)
    return best
