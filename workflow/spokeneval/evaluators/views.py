"""Scores and verdicts of every item under every evaluator, window and convention.

Conventions
-----------
- Scores are negative log-likelihoods (nats), lower is better; an item is right where the positive's is lower, and a tie
  counts as the reduction says. Means over tokens, or nats per real second.
- For a clip x_1..x_T and the transition t (first sample after the prompt), the continuation are the tokens of
  [t, end) by the edge rule, a window is [t, t + delta) or the same length elsewhere:
    global            all scored tokens, and marks where the model's convention scores them
    continuation      the continuation, given the prompt
    unconditional     the continuation, not given the prompt
    localized         the window after the transition, given the prompt
    global_norm       continuation - unconditional
    localized_norm    the same over the window
    windowed          maximum over sliding windows of the continuation; of the whole clip where there is no prompt
    windowed_matched  the same after both members are cut to the shorter span
    placebo           tokens that end no later than the transition
    placebo_window    those of them in [t - delta, t)
- The unconditional term, two conventions. `retokenise`: the continuation encoded as a file of its own, so each term is
  a mean over its own tokens, and the window is [0, delta) of that file. `keep`: tokens of the whole clip with the
  prompt dropped from the context, so the difference is taken token by token over those scored in both passes.
- A placebo leaves out prompt tokens that a step predicted when a code of the continuation was already known or
  predicted beside it (delayed codebooks): they are `straddling`. Its ties count 0.5 under any reduction, for a tie is
  what it should give.
- Where codebooks are events of their own rates, a long event that covers the cut is read before the prompt ends: a
  placebo may have no token left. Its row says so, and the report counts it as absent, not as failed.
- Every item has a row for all that its task has. What cannot be computed is a failed row with its reason; n_scored and
  seconds of the norms are those of the conditional term.
- Sources: arXiv 2601.06329 (localized, normalised, windowed), arXiv 2409.07437 (global, ties).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.evaluators.positions import Bools, Ints, Items, Objects, Positions, StoredPositions, first_difference
from spokeneval.evaluators.reduction import CONTROL_NAMES, NO_CLEAN_PROMPT, EvaluatorSettings, Reduction, exact_seconds
from spokeneval.evaluators.view import View, in_both, view_of
from spokeneval.evaluators.windows import Scores, first_tokens, from_bound, score, sliding_maximum, within
from spokeneval.tables import EVALUATORS, FAILED, OK
from spokeneval.tokenizers.base import TokenizerInfo

_FAR = np.iinfo(np.int64).max


class _Cell(NamedTuple):
    """One evaluator under one window and convention."""

    evaluator: str
    window_s: float | None
    unconditional: str | None
    codebooks: str


def evaluate(
    pairs: pl.DataFrame, likelihood: pl.DataFrame, info: TokenizerInfo, settings: EvaluatorSettings
) -> pl.DataFrame:
    """All scores and verdicts, in the schema EVALUATORS, sorted by its key.

    pairs, likelihood: tables of those schemas (columns beyond those used may lack). info: the tokenizer of the model.
    Raises ArtefactError where the likelihood table contradicts itself or the tokenizer.
    """
    pairs = pairs.sort("task", "item_id")
    items = Items.of(pairs)
    stored = StoredPositions(likelihood)
    passes = _Passes.of(items, stored, info, settings)
    table = _Table(items, info)
    for reduction in settings.reductions:
        for cell, scores, reason in _Evaluation(items, passes, info, settings, reduction).cells():
            table.add(cell, scores, reason, reduction)
    return table.frame()


class _Passes(NamedTuple):
    """The stored positions of all passes that the settings ask for."""

    full: Positions
    apart: Positions | None
    """The same with no value shared between the members of a pair."""
    alone: Positions | None
    """Continuations as files of their own."""
    kept: Positions | None

    @classmethod
    def of(cls, items: Items, stored: StoredPositions, info: TokenizerInfo, settings: EvaluatorSettings) -> _Passes:
        members = items.clips("positive", "negative")
        cuts = np.repeat(items.cut_frames(info), 2)
        alone = items.clips("continuation_positive", "continuation_negative")
        return cls(
            stored.of(members, "full", share=True),
            None if all(r.share_prefix for r in settings.reductions) else stored.of(members, "full"),
            stored.of(alone, "full") if "retokenise" in settings.unconditional else None,
            stored.of(members, "kept", cuts) if "keep" in settings.unconditional else None,
        )


class _Evaluation:
    """All cells of one reduction."""

    def __init__(
        self, items: Items, passes: _Passes, info: TokenizerInfo, settings: EvaluatorSettings, reduction: Reduction
    ) -> None:
        self.items, self.passes, self.info, self.settings, self.reduction = items, passes, info, settings, reduction
        self.frames_per_s = info.frame_rate
        self.rate = np.repeat(items.rate, 2)
        self.full = self._view(passes.full if reduction.share_prefix or passes.apart is None else passes.apart)
        prompted = np.repeat(items.has_prompt, 2)
        self.transition = np.where(prompted, np.repeat(items.transition, 2) * info.sample_rate, _FAR)
        """(n_rows,) ticks"""
        self.difference = first_difference(passes.full) if reduction.pin == "first_difference" else None
        self.counted = self.full.unit | (reduction.marks == "everywhere")
        after = self._after(self.full)
        self.continuation = self.counted & after
        whole = np.repeat(~items.has_prompt, 2)[self.full.row] & (reduction.pin == "time")
        self.slid_over = self.counted & (after | whole)

    def _view(self, positions: Positions) -> View:
        r = self.reduction
        return view_of(
            positions,
            self.rate,
            self.info,
            vocabulary=r.vocabulary,
            codebooks=r.codebooks,
            first_unit=r.first_unit,
            mark_kinds=r.mark_kinds,
            places=r.places,
        )

    def _after(self, view: View) -> Bools:
        """(n_tokens,) what comes after the prompt."""
        if self.difference is not None:
            pinned = np.repeat(np.where(self.difference < 0, _FAR, self.difference), 2)
            return view.index >= pinned[view.row]
        return from_bound(view, self.transition, self.reduction)

    def _ticks(self, window_s: float) -> Ints:
        """(n_rows,) a length in ticks, rounded to the nearest where the clock has no such tick."""
        per_clip = {
            int(r): round(exact_seconds(window_s) * self.info.sample_rate * int(r)) for r in np.unique(self.rate)
        }
        return np.array([per_clip[int(r)] for r in self.rate], dtype=np.int64)

    def _window(self, view: View, mask: Bools, begin: Ints, window_s: float) -> Bools:
        """(n_tokens,) the masked tokens of the window from `begin` (ticks by row) or from the first of them on."""
        if self.reduction.window_length == "tokens":
            return first_tokens(view, mask, np.full(view.n_rows, self.reduction.window_tokens(window_s, self.info)))
        end = np.where(begin == _FAR, _FAR, begin + np.where(begin == _FAR, 0, self._ticks(window_s)))
        return mask & within(view, begin, end, self.reduction)

    def _score(self, view: View, mask: Bools) -> tuple[Scores, dict[int, Scores]]:
        return score(view, mask, self.reduction, self.frames_per_s)

    def cells(self) -> Iterator[tuple[_Cell, Scores, Objects]]:
        """Every cell with its scores by row, and why a row has none where that is known."""
        names, reason = self.settings.names, self.full.reason
        windows = self.settings.windows_s
        if "global" in names:
            marks = self.reduction.marks != "nowhere"
            yield from self._with_codebooks("global", None, self.full.unit | marks, self.full.unit)
        if "continuation" in names:
            yield (
                _Cell("continuation", None, None, self._codebooks),
                self._score(self.full, self.continuation)[0],
                reason,
            )
        for window_s in windows if "localized" in names else ():
            mask = self._localized(window_s)
            yield from self._with_codebooks("localized", window_s, mask, mask & self.full.unit)
        for matched in (False, True):
            name = "windowed_matched" if matched else "windowed"
            for window_s in windows if name in names else ():
                yield _Cell(name, window_s, None, self._codebooks), self._windowed(window_s, matched), reason
        if "retokenise" in self.settings.unconditional:
            yield from self._retokenised()
        if "keep" in self.settings.unconditional:
            yield from self._kept()
        yield from self._placebos()

    @property
    def _codebooks(self) -> str:
        chosen = self.reduction.codebooks
        return "all" if chosen is None else ",".join(map(str, chosen))

    def _with_codebooks(
        self, name: str, window_s: float | None, mask: Bools, units: Bools
    ) -> Iterator[tuple[_Cell, Scores, Objects]]:
        scores, _ = self._score(self.full, mask)
        yield _Cell(name, window_s, None, self._codebooks), scores, self.full.reason
        chosen = self.reduction.codebooks or tuple(range(self.info.n_codebooks))
        if self.settings.per_codebook and len(chosen) > 1 and self.reduction.places == "all":
            _, by_codebook = self._score(self.full, units)
            for codebook in chosen:
                yield _Cell(name, window_s, None, str(codebook)), by_codebook[codebook], self.full.reason

    def _localized(self, window_s: float) -> Bools:
        return self._window(self.full, self.continuation, self.transition, window_s)

    def _windowed(self, window_s: float, matched: bool) -> Scores:
        return sliding_maximum(
            self.full,
            self.slid_over,
            self.reduction,
            self.frames_per_s,
            window_ticks=self._ticks(window_s),
            window_tokens=self.reduction.window_tokens(window_s, self.info),
            matched=matched,
        )

    def _retokenised(self) -> Iterator[tuple[_Cell, Scores, Objects]]:
        assert self.passes.alone is not None
        alone = self._view(self.passes.alone)
        counted = alone.unit | (self.reduction.marks == "everywhere")
        reason = _first_reason(self.full.reason, alone.reason, "the continuation as a file of its own: ")
        names = self.settings.names
        if {"unconditional", "global_norm"} & set(names):
            whole, _ = self._score(alone, counted)
            if "unconditional" in names:
                yield _Cell("unconditional", None, "retokenise", self._codebooks), whole, reason
            if "global_norm" in names:
                given, _ = self._score(self.full, self.continuation)
                yield _Cell("global_norm", None, "retokenise", self._codebooks), _minus(given, whole), reason
        for window_s in self.settings.windows_s if "localized_norm" in names else ():
            given, _ = self._score(self.full, self._localized(window_s))
            begin = np.zeros(alone.n_rows, np.int64)
            without, _ = self._score(alone, self._window(alone, counted, begin, window_s))
            yield _Cell("localized_norm", window_s, "retokenise", self._codebooks), _minus(given, without), reason

    def _kept(self) -> Iterator[tuple[_Cell, Scores, Objects]]:
        assert self.passes.kept is not None
        kept = self._view(self.passes.kept)
        reason = _first_reason(self.full.reason, kept.reason, "with the prompt dropped: ")
        full, kept = in_both(self.full, kept)
        difference = full.take(np.arange(len(full.nll)), full.nll - kept.nll)
        after = self._after(full)
        names = self.settings.names
        if "unconditional" in names:
            without = full.take(np.arange(len(full.nll)), kept.nll)
            yield _Cell("unconditional", None, "keep", self._codebooks), self._score(without, after)[0], reason
        if "global_norm" in names:
            yield _Cell("global_norm", None, "keep", self._codebooks), self._score(difference, after)[0], reason
        for window_s in self.settings.windows_s if "localized_norm" in names else ():
            mask = self._window(difference, after, self.transition, window_s)
            yield _Cell("localized_norm", window_s, "keep", self._codebooks), self._score(difference, mask)[0], reason

    def _placebos(self) -> Iterator[tuple[_Cell, Scores, Objects]]:
        view, r = self._view(self.passes.full), self.reduction
        # Of all codebooks: a code that is not counted was known to later predictions all the same.
        every = view_of(
            self.passes.full, self.rate, self.info, vocabulary=r.vocabulary, codebooks=None, first_unit=True
        )
        first_step = np.full(view.n_rows, _FAR)
        after = every.unit & (every.end_ticks > self.transition[every.row])
        np.minimum.at(first_step, every.row[after], every.step[after])
        prompted = (self.transition != _FAR)[view.row]
        before = view.unit & prompted & (view.end_ticks <= self.transition[view.row])
        before &= view.step < first_step[view.row]
        yield _Cell("placebo", None, None, self._codebooks), self._score(view, before)[0], view.reason
        for window_s in self.settings.windows_s:
            begin = self.transition - np.where(self.transition == _FAR, 0, self._ticks(window_s))
            mask = before & from_bound(view, begin, self.reduction)
            yield _Cell("placebo_window", window_s, None, self._codebooks), self._score(view, mask)[0], view.reason


def _minus(given: Scores, without: Scores) -> Scores:
    """The difference of two scores; NaN, with no token, where either counted none."""
    both = (given.n_scored > 0) & (without.n_scored > 0)
    return Scores(given.score - without.score, np.where(both, given.n_scored, 0), np.where(both, given.frames, 0))


def _first_reason(first: Objects, second: Objects, prefix: str) -> Objects:
    """(n_rows,) the first reason where there is one, else the second, led by what it is about."""
    reason = first.copy()
    for row in range(len(first)):
        if first[row] is None and second[row] is not None:
            reason[row] = prefix + str(second[row])
    return reason


def _needs_prompt(cell: _Cell, reduction: Reduction) -> bool:
    if cell.evaluator == "localized" and reduction.pin == "first_difference":
        return False
    return cell.evaluator not in {"global", "windowed", "windowed_matched"}


class _Table:
    """The rows of all cells, collected as arrays: one row for each item whose task has the evaluator."""

    def __init__(self, items: Items, info: TokenizerInfo) -> None:
        self.items, self.frame_s = items, info.hop_samples / info.sample_rate
        self.prompted = items.task_has_prompt
        self.usable = np.array([reason is None for reason in items.reason], dtype=np.bool_)
        self.names: list[tuple[_Cell, str]] = []
        self.columns: dict[str, list[NDArray[Any]]] = {}
        self.reasons: list[str | None] = []

    def add(self, cell: _Cell, scores: Scores, reason: Objects, reduction: Reduction) -> None:
        needs_prompt = _needs_prompt(cell, reduction)
        exists = np.flatnonzero(self.prompted if needs_prompt else np.ones(len(self.items), dtype=bool))
        scored = (
            np.isfinite(scores.score) & (scores.n_scored > 0) & np.array([r is None for r in reason], dtype=np.bool_)
        )
        ok = self.usable & scored[0::2] & scored[1::2] & (self.items.has_prompt | (not needs_prompt))
        positive, negative = scores.score[0::2], scores.score[1::2]
        tie = 0.5 if cell.evaluator in CONTROL_NAMES else reduction.tie
        values = {
            "cell": np.full(len(self.items), len(self.names)),
            "item": np.arange(len(self.items)),
            "ok": ok,
            "score_positive": positive,
            "score_negative": negative,
            "n_scored_positive": scores.n_scored[0::2],
            "n_scored_negative": scores.n_scored[1::2],
            "seconds_positive": scores.frames[0::2] * self.frame_s,
            "seconds_negative": scores.frames[1::2] * self.frame_s,
            "verdict": np.where(positive < negative, 1.0, np.where(positive == negative, tie, 0.0)),
        }
        for name, array in values.items():
            self.columns.setdefault(name, []).append(array[exists])
        self.names.append((cell, reduction.name))
        self.reasons += [
            None if ok[i] else _why_failed(int(i), self.items, cell, scores, reason, reduction) for i in exists
        ]

    def frame(self) -> pl.DataFrame:
        """In the schema EVALUATORS, sorted by its key."""
        empty = pl.from_arrow(EVALUATORS.empty())
        assert isinstance(empty, pl.DataFrame)
        if not self.names:
            return empty
        columns = {name: np.concatenate(arrays) for name, arrays in self.columns.items()}
        cells = pl.DataFrame(
            [(*cell, convention) for cell, convention in self.names],
            schema={"evaluator": pl.String, "window_s": pl.Float64, "unconditional": pl.String}
            | {"codebooks": pl.String, "convention": pl.String},
            orient="row",
        )[columns.pop("cell")]
        of_items = self.items.frame.select("task", "item_id")[columns.pop("item")]
        ok = pl.col("ok")
        known = [name for name in columns if name != "ok"]
        return (
            pl.concat([of_items, cells, pl.DataFrame(columns)], how="horizontal")
            .with_columns(
                *(pl.when(ok).then(pl.col(name)) for name in known),
                pl.when(ok).then(pl.lit(OK)).otherwise(pl.lit(FAILED)).alias("status"),
                pl.Series("reason", self.reasons, dtype=pl.String),
            )
            .cast(empty.schema | {"ok": pl.Boolean()})
            .select(empty.columns)
            .sort(list(EVALUATORS.key))
        )


def _why_failed(i: int, items: Items, cell: _Cell, scores: Scores, reason: Objects, reduction: Reduction) -> str:
    """Why an item has no score in a cell."""
    if items.reason[i] is not None:
        return str(items.reason[i])
    if _needs_prompt(cell, reduction) and not items.has_prompt[i]:
        return "the item has no prompt, so there is no transition to measure from"
    for row, member in ((2 * i, "positive"), (2 * i + 1, "negative")):
        if reason[row] is not None:
            return f"{member}: {reason[row]}"
    for row, member in ((2 * i, "positive"), (2 * i + 1, "negative")):
        if scores.n_scored[row] == 0:
            if cell.evaluator in CONTROL_NAMES:
                return f"{member}: {NO_CLEAN_PROMPT}{'' if cell.window_s is None else f' (last {cell.window_s:g} s)'}"
            where = "" if cell.window_s is None else f" in the window of {cell.window_s:g} s"
            return f"{member}: no token is counted{where}"
    row = 2 * i if not np.isfinite(scores.score[2 * i]) else 2 * i + 1
    return f"{('positive', 'negative')[row % 2]}: the score is {scores.score[row]}, not a finite number"
