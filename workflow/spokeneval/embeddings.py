"""Embeddings: every audio that a judge hears, heard once.

Conventions
-----------
- Audio is addressed by its content: `audio_id` is the clip_id (sha256 of PCM and rate), so that references, free clips,
  continuations and round trips share one store per judge, and a new model costs its own continuations only. Audio
  whose samples do not give its audio_id is refused: it was changed after it was stored. The declared table of round
  trips names them by the clips they come from (`round_trips`).
- Audio is resampled once, from its native rate to the judge's. The crop is the judge's own, and the same for
  whatever it hears: prompts, continuations and references.
- Audio comes and goes batch by batch; what grows with the number of items is embeddings and names.
- What a judge cannot take (silent, too short for it) is a failed row with the judge's reason, and fails no other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
import soundfile as sf
from numpy.typing import NDArray

from spokeneval.audio import pcm_digest, resample
from spokeneval.errors import ArtefactError, ItemError
from spokeneval.judges.base import EmbeddingJudge, Judge, NaturalnessJudge, Transcriber, answer_of
from spokeneval.store import PartStore
from spokeneval.tables import FAILED, OK

Row = dict[str, Any]
Waveform = NDArray[np.float32]

REFERENCE_ROLES = ("prompt", "continuation_positive", "continuation_negative", "same_attribute")
JUDGED_STATUSES = (OK, "clipped")
"""Continuations and round trips of these statuses are heard; empty, silent and too short ones are wrong unheard."""


class Counts(NamedTuple):
    n_embedded: int
    """Audios that were heard now, failures among them."""
    n_failed: int
    n_reused: int
    """Audios that the store held."""


# ---------------------------------------------------------------- which audio


def reference_ids(pairs: pl.DataFrame) -> list[str]:
    """clip_ids of the prompts, both continuations and third clips of all usable items, each once, sorted."""
    return sorted(clips_of(pairs, REFERENCE_ROLES))


def clips_of(pairs: pl.DataFrame, roles: Iterable[str]) -> set[str]:
    """The clips of usable items in these roles."""
    usable = pairs.filter(pl.col("status") == OK)
    return {clip for role in roles for clip in usable[role].drop_nulls()}


def references(pairs: pl.DataFrame, clips: Iterable[pl.DataFrame]) -> Iterator[tuple[str, bytes]]:
    """(clip_id, FLAC) of every reference; `clips`: batches with clip_id and audio."""
    wanted = set(reference_ids(pairs))
    for row in rows_of(clips, wanted):
        yield row["clip_id"], row["audio"]["bytes"]


def continuation_audio(continuations: Iterable[pl.DataFrame]) -> Iterator[tuple[str, bytes]]:
    """(pcm_sha256, FLAC) of every continuation (or round trip) that can be heard, equal ones once; comes in batches."""
    seen = set[str]()
    for batch in continuations:
        heard = batch.filter(pl.col("status").is_in(JUDGED_STATUSES)).select("pcm_sha256", "audio")
        for row in heard.iter_rows(named=True):
            if row["pcm_sha256"] not in seen:
                seen.add(row["pcm_sha256"])
                yield row["pcm_sha256"], row["audio"]["bytes"]


def judged_ids(continuations: pl.DataFrame) -> list[str]:
    """pcm_sha256 of every continuation that can be heard, each once; `continuations` needs that and `status`."""
    return (
        continuations.filter(pl.col("status").is_in(JUDGED_STATUSES))["pcm_sha256"]
        .unique(maintain_order=True)
        .to_list()
    )


def rows_of(clips: Iterable[pl.DataFrame], wanted: Container[str]) -> Iterator[Row]:
    """Rows of these clips; `clips`: batches with clip_id and audio."""
    for batch in clips:
        for row in batch.select("clip_id", "audio").iter_rows(named=True):
            if row["clip_id"] in wanted:
                yield row


# ---------------------------------------------------------------- hearing it


def checked_waveform(audio_id: str, flac: bytes) -> tuple[Waveform, int]:
    """Decode (n_samples,) and rate. Raises ArtefactError where the samples are not those that audio_id stands for."""
    try:
        samples, rate = sf.read(io.BytesIO(flac), dtype="int32")
    except sf.LibsndfileError as error:
        raise ArtefactError(
            f"audio {audio_id[:12]}: cannot be decoded ({error}); remove its table and run again"
        ) from error
    pcm = samples >> 8  # libsndfile left-aligns; 24 bit hold both stored depths
    found = pcm_digest(pcm, "PCM_24", int(rate))
    if found != audio_id:
        raise ArtefactError(
            f"audio {audio_id[:12]}: its samples have the digest {found[:12]}: it was changed after it was stored; "
            "remove its table and run again"
        )
    return (pcm / 2**23).astype(np.float32), int(rate)


def embed_audio(
    judge: Judge,
    audios: Iterable[tuple[str, bytes]],
    store: PartStore,
    batch: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Counts:
    """Hear every (audio_id, FLAC) that the store does not hold; one part per batch.

    Raises ArtefactError for audio that is not what its audio_id says.
    """

    done = {audio_id for (audio_id,) in store.done()}
    reused, fresh = set[str](), set[str]()

    def waveforms() -> Iterator[tuple[str, Waveform | ItemError, int]]:
        for audio_id, flac in audios:
            if audio_id in done:
                reused.add(audio_id)
            elif audio_id not in fresh:
                fresh.add(audio_id)
                yield audio_id, *checked_waveform(audio_id, flac)

    n_embedded, n_failed = _hear(judge, waveforms(), store, batch, progress)
    return Counts(n_embedded, n_failed, len(reused))


def _hear(
    judge: Judge,
    audios: Iterator[tuple[str, Waveform | ItemError, int]],
    store: PartStore,
    batch: int,
    progress: Callable[[int], None] | None,
) -> tuple[int, int]:
    """Embed and store in batches; how many were heard, and how many of them failed."""
    n_embedded = n_failed = 0
    pending: list[tuple[str, Waveform | ItemError]] = []

    def flush() -> None:
        nonlocal n_embedded, n_failed
        rows = _rows(judge, pending)
        store.write(rows)
        n_embedded += len(rows)
        n_failed += sum(row["status"] == FAILED for row in rows)
        if progress:
            progress(len(rows))
        pending.clear()

    for audio_id, heard, rate in audios:
        pending.append((audio_id, heard if isinstance(heard, ItemError) else resample(heard, rate, judge.sample_rate)))
        if len(pending) == batch:
            flush()
    if pending:
        flush()
    return n_embedded, n_failed


def _rows(judge: Judge, audios: list[tuple[str, Waveform | ItemError]]) -> list[Row]:
    """One row per audio; where the judge refuses one of a batch, each is heard alone to know which."""
    waveforms = [heard for _, heard in audios if not isinstance(heard, ItemError)]
    try:
        results: list[Any] = list(_listen(judge, waveforms)) if waveforms else []
    except ItemError:
        results = [_alone(judge, waveform) for waveform in waveforms]
    answers = iter(results)
    rows = []
    for audio_id, heard in audios:
        found = heard if isinstance(heard, ItemError) else next(answers)
        seconds = None if isinstance(heard, ItemError) else _seconds(judge, heard)
        rows.append(_row(judge, audio_id, found, seconds))
    return rows


def _alone(judge: Judge, waveform: Waveform) -> Any:
    try:
        return _listen(judge, [waveform])[0]
    except ItemError as error:
        return error


def _listen(judge: Judge, waveforms: list[Waveform]) -> Sequence[Any] | NDArray[np.float32]:
    """(n, dimension) embeddings, (n,) scores or n texts. Raises ItemError where a number is not finite."""
    shape: tuple[int, ...] = (len(waveforms),)
    answer = answer_of(judge)
    if answer == "transcript":
        texts = cast(Transcriber, judge).transcribe(waveforms)
        if len(texts) != len(waveforms):
            raise ValueError(f"{type(judge).__name__} wrote {len(texts)} texts; expected {len(waveforms)}")
        return texts
    if answer == "naturalness":
        answers = np.asarray(cast(NaturalnessJudge, judge).score(waveforms))
    else:
        embedder = cast(EmbeddingJudge, judge)
        answers, shape = np.asarray(embedder.embed(waveforms)), (len(waveforms), embedder.dimension)
    if answers.shape != shape:
        raise ValueError(f"{type(judge).__name__} answered with shape {answers.shape}; expected {shape}")
    if not np.isfinite(answers).all():
        raise ItemError("the judge's answer is not finite")
    if answers.ndim == 2 and not answers.any(axis=1).all():
        raise ItemError("the judge's embedding is zero: it has no direction to compare")
    return answers.astype(np.float32, copy=False)


def _seconds(judge: Judge, waveform: Waveform) -> float:
    seconds = len(waveform) / judge.sample_rate
    crop_s: float | None = getattr(judge, "crop_s", None)
    return seconds if crop_s is None else min(seconds, crop_s)


def _row(judge: Judge, audio_id: str, found: Any, seconds: float | None) -> Row:
    failed = isinstance(found, ItemError)
    answer = None if failed else answer_of(judge)
    return {
        "audio_id": audio_id,
        "embedding": found if answer == "embedding" else None,
        "score": float(found) if answer == "naturalness" else None,
        "text": str(found) if answer == "transcript" else None,
        "seconds": seconds,
        "audio_status": None,
        "status": FAILED if failed else OK,
        "reason": str(found) if failed else None,
    }
