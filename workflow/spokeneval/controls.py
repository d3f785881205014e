"""Baselines that know nothing of the attribute, in the schema of the evaluators.

Conventions
-----------
- Scores are such that lower is better, as everywhere: `longer` scores minus the seconds, `louder` minus the level.
- From the audio: `longer`, `shorter` (seconds of the whole clip), `louder` (RMS in dB relative to full scale, of the
  whole clip), `level_jump` (largest step from one sample to the next within 10 ms of the transition, over the RMS of
  the clip: a click or a cut through a wave; tasks with a prompt only). In a negative two recordings are joined: a
  join that can be heard must not be what an evaluator rewards.
- From the tokens: `longer_tokens` (steps x codebooks of the whole clip), `unigram` and `bigram` (mean NLL in nats of
  the continuation's tokens; of the whole clip where there is no prompt). Counts are taken per codebook (the bigram's
  previous code is that of the same codebook one step before), smoothed by one count for every code, and cross-fitted:
  an item of fold a is scored by the members of fold b's items, positives and negatives alike, without clips that
  occur in fold a too; and the reverse. The first step of a clip has no previous code: its bigram is the unigram.
- The continuation are the steps that end after the transition (edge `overlap`), compared in integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.audio import Waveform, decode_flac, rms
from spokeneval.errors import ItemError
from spokeneval.tables import EVALUATORS, FAILED, OK
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokens import iterate_codes

JUMP_WINDOW_S = 0.010
SILENCE_DB = -120.0
"""Level given to digital silence."""

Row = dict[str, Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_T = TypeVar("_T")


class _Score(NamedTuple):
    value: float
    n_tokens: int | None
    seconds: float


def _row(pair: Row, evaluator: str, scores: list[_Score] | ItemError) -> Row:
    """One row from the scores of positive and negative, or from the error that fails the item."""
    row: Row = dict.fromkeys(EVALUATORS.arrow.names)
    row |= {key: pair[key] for key in ("task", "item_id")}
    row |= {"evaluator": evaluator, "codebooks": "all", "convention": "default"}
    if isinstance(scores, ItemError):
        return row | {"status": FAILED, "reason": str(scores)}
    positive, negative = scores
    for role, score in (("positive", positive), ("negative", negative)):
        row |= {f"score_{role}": score.value, f"n_scored_{role}": score.n_tokens, f"seconds_{role}": score.seconds}
    verdict = 0.5 if positive.value == negative.value else float(positive.value < negative.value)
    return row | {"verdict": verdict, "status": OK}


def _of_members(pair: Row, of_clip: Callable[[str], _T]) -> list[_T] | ItemError:
    """A measure of the positive and of the negative; the ItemError of the first that has none."""
    if pair["status"] != OK:
        return ItemError(str(pair["reason"]))
    measures = []
    for role in ("positive", "negative"):
        try:
            measures.append(of_clip(pair[role]))
        except ItemError as error:
            return ItemError(f"{role}: {error}")
    return measures


def _scores(measures: list[_T] | ItemError, score: Callable[[_T], _Score]) -> list[_Score] | ItemError:
    return measures if isinstance(measures, ItemError) else [score(measure) for measure in measures]


def _table(rows: list[Row]) -> pl.DataFrame:
    frame = pl.from_arrow(EVALUATORS.from_rows(rows))
    assert isinstance(frame, pl.DataFrame)
    return frame.sort(list(EVALUATORS.key))


# ---- from the audio


class _Heard(NamedTuple):
    """What the audio of one clip gives."""

    seconds: float
    level_db: float
    jump: float
    """At the transition; 0 where there is none."""


def level_db(waveform: Waveform) -> float:
    """RMS in dB relative to full scale; SILENCE_DB for silence."""
    level = rms(waveform)
    return SILENCE_DB if level == 0 else max(SILENCE_DB, 20 * float(np.log10(level)))


def level_jump(waveform: Waveform, transition: int, sample_rate: int) -> float:
    """Largest |x[n] - x[n - 1]| within 10 ms of the transition, over the RMS of the clip; 0.0 for silence."""
    around = round(JUMP_WINDOW_S * sample_rate)
    near = waveform[max(0, transition - around) : transition + around].astype(np.float64)
    level = rms(waveform)
    return float(np.abs(np.diff(near)).max() / level) if level > 0 and len(near) > 1 else 0.0


def audio_controls(pairs: pl.DataFrame, clips: pl.DataFrame) -> pl.DataFrame:
    """`longer`, `shorter`, `louder` and `level_jump` of every item, in the schema EVALUATORS.

    pairs, clips: tables of those schemas, clips with their audio. Failed items, and those whose clips are missing, are
    failed rows. n_scored is null: nothing is counted in tokens.
    """
    prompted = set(pairs.filter(pl.col("transition").is_not_null())["task"])
    flac = dict(zip(clips["clip_id"], clips["audio"].struct.field("bytes"), strict=True))

    def rows_of(pair: Row) -> list[Row]:
        cut: int | None = pair["transition"]

        def hear(clip_id: str) -> _Heard:
            if clip_id not in flac:
                raise ItemError(f"clip {clip_id[:12]} is not in the clips table")
            waveform, rate = decode_flac(flac[clip_id])
            jump = 0.0 if cut is None else level_jump(waveform, cut, rate)
            return _Heard(len(waveform) / rate, level_db(waveform), jump)

        heard = _of_members(pair, hear)
        rows = [
            _row(pair, "longer", _scores(heard, lambda h: _Score(-h.seconds, None, h.seconds))),
            _row(pair, "shorter", _scores(heard, lambda h: _Score(h.seconds, None, h.seconds))),
            _row(pair, "louder", _scores(heard, lambda h: _Score(-h.level_db, None, h.seconds))),
        ]
        if pair["task"] in prompted:
            if not isinstance(heard, ItemError) and cut is None:
                heard = ItemError("the item has no prompt, so there is no transition to measure at")
            jumps = _scores(heard, lambda h: _Score(h.jump, None, min(2 * JUMP_WINDOW_S, h.seconds)))
            rows.append(_row(pair, "level_jump", jumps))
        return rows

    return _table([row for pair in pairs.iter_rows(named=True) for row in rows_of(pair)])


# ---- from the tokens


@dataclass(frozen=True)
class _Counts:
    """Unigram and bigram counts of one codebook, smoothed by one count for every code."""

    size: int
    unigrams: Ints
    """(size,)"""
    bigrams: dict[int, int]
    """previous * size + code -> count; codes are too many for a table of all pairs."""
    previous: Ints
    """(size,) how often a code was followed by another"""

    @classmethod
    def of(cls, streams: list[Ints], size: int) -> _Counts:
        """streams: the codes of one codebook, one array a clip."""
        codes = np.concatenate(streams)
        pairs = np.concatenate([stream[:-1] * size + stream[1:] for stream in streams])
        keys, counts = np.unique(pairs, return_counts=True)
        previous = np.bincount(pairs // size, minlength=size)
        bigrams = dict(zip(keys.tolist(), counts.tolist(), strict=True))
        return cls(size, np.bincount(codes, minlength=size), bigrams, previous)

    def unigram_nll(self, codes: Ints) -> Floats:
        """(n_steps,) nats"""
        return np.asarray(-np.log((self.unigrams[codes] + 1) / (self.unigrams.sum() + self.size)))

    def bigram_nll(self, codes: Ints) -> Floats:
        """(n_steps,) nats; the first step by the unigram"""
        keys = (codes[:-1] * self.size + codes[1:]).tolist()
        seen = np.array([self.bigrams.get(key, 0) for key in keys], dtype=np.float64)
        rest = -np.log((seen + 1) / (self.previous[codes[:-1]] + self.size))
        return np.concatenate([self.unigram_nll(codes[:1]), rest])


def _counts_by_fold(
    pairs: pl.DataFrame, codes: Mapping[str, Codes | ItemError], info: TokenizerInfo
) -> dict[str, list[_Counts] | ItemError]:
    """Fold -> what its items are scored by, one of each codebook: counts of the clips of the other folds."""
    usable = pairs.filter(pl.col("status") == OK)
    found: dict[str, list[_Counts] | ItemError] = {}
    for fold in pairs["fold"].unique().sort().to_list():
        of_fold = pl.col("fold") == fold
        inside, outside = (
            set(part["positive"]) | set(part["negative"]) for part in (usable.filter(of_fold), usable.filter(~of_fold))
        )
        names = [codes.get(clip) for clip in sorted(outside - inside)]
        clips = [clip for clip in names if isinstance(clip, Codes)]
        if not clips:
            found[fold] = ItemError(f"there is no clip outside fold '{fold}' to count codes in")
            continue
        found[fold] = [
            _Counts.of([clip.of_codebook(q).codes[:, 0].astype(np.int64) for clip in clips], size)
            for q, size in enumerate(info.codebook_sizes)
        ]
    return found


class _Nll(NamedTuple):
    """Mean NLL of the continuation of one clip."""

    unigram: _Score
    bigram: _Score


def _nll(clip: Codes, counts: list[_Counts], pair: Row, info: TokenizerInfo) -> _Nll:
    unigram, bigram, n_tokens, last = [], [], 0, 0
    for q in range(info.n_codebooks):
        book = clip.of_codebook(q)
        codes, ends = book.codes[:, 0].astype(np.int64), book.frame_starts().astype(np.int64) + book.frame_counts()
        after = np.ones(len(codes), dtype=bool)
        if pair["transition"] is not None:
            # end * hop / tokenizer rate > transition / clip rate, in integers
            after = ends * info.hop_samples * pair["sample_rate"] > pair["transition"] * info.sample_rate
        if not after.any():
            continue
        unigram.append(float(np.mean(counts[q].unigram_nll(codes)[after])))
        bigram.append(float(np.mean(counts[q].bigram_nll(codes)[after])))
        n_tokens += int(after.sum())
        last = max(last, int(book.frame_counts()[after].sum()))
    if n_tokens == 0:
        raise ItemError("no token ends after the transition")
    seconds = last * info.hop_samples / info.sample_rate
    return _Nll(_Score(float(np.mean(unigram)), n_tokens, seconds), _Score(float(np.mean(bigram)), n_tokens, seconds))


def token_controls(pairs: pl.DataFrame, tokens: pl.DataFrame, info: TokenizerInfo) -> pl.DataFrame:
    """`longer_tokens`, `unigram` and `bigram` of every item, in the schema EVALUATORS.

    pairs, tokens: tables of those schemas. Items that failed, or whose clips have no tokens, are failed rows; where
    there is no clip outside an item's fold, the rows that need counts are.
    """
    codes = dict(iterate_codes(tokens, info))
    by_fold = _counts_by_fold(pairs, codes, info)

    def codes_of_clip(clip_id: str) -> Codes:
        clip = codes.get(clip_id)
        if clip is None:
            raise ItemError(f"clip {clip_id[:12]} is not in the tokens table")
        if isinstance(clip, ItemError):
            raise clip
        return clip

    frame_s = info.hop_samples / info.sample_rate

    def rows_of(pair: Row) -> list[Row]:
        clips = _of_members(pair, codes_of_clip)
        longer = _scores(clips, lambda c: _Score(-float(c.codes.size), c.codes.size, c.n_frames * frame_s))
        counts = by_fold[pair["fold"]]
        nll: list[_Nll] | ItemError
        if isinstance(clips, ItemError):
            nll = clips
        elif isinstance(counts, ItemError):
            nll = counts
        else:
            nll = _of_members(pair, lambda clip: _nll(codes_of_clip(clip), counts, pair, info))
        return [
            _row(pair, "longer_tokens", longer),
            _row(pair, "unigram", _scores(nll, lambda n: n.unigram)),
            _row(pair, "bigram", _scores(nll, lambda n: n.bigram)),
        ]

    return _table([row for pair in pairs.iter_rows(named=True) for row in rows_of(pair)])
