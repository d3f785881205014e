"""Round trips: recordings through a codec, decoded once, whoever listens to them.

Conventions
-----------
- The round trip of a clip is decode(codes): its codes as they are in the tokens table, through the vocoder, alone.
- Prompts, right continuations and third clips are decoded, of all usable items: what the ceilings are made of.
- It is brought to integer PCM as a continuation is, at 24 bit, so that a codec that changes nothing changes no sample
  of a stored clip: `pcm_sha256` is then the clip's own id.
- Its status is that of a continuation (`continuations.status_of`): 'empty', 'silent' and 'too_short' ones are kept and
  said, and no judge hears them. 'failed' has no sound, with the tokenizer's or the vocoder's reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from spokeneval.audio import make_clip
from spokeneval.continuations import status_of
from spokeneval.embeddings import JUDGED_STATUSES, clips_of
from spokeneval.errors import ArtefactError, ItemError
from spokeneval.store import PartStore
from spokeneval.tables import EMBEDDINGS, FAILED, ROUND_TRIPS
from spokeneval.tokenizers.base import Codes, Tokenizer
from spokeneval.tokens import iterate_codes
from spokeneval.vocoders.base import Vocoder, sample_rate_of

Row = dict[str, Any]

ROUND_TRIP_ROLES = ("prompt", "continuation_positive")
UNHEARD_COLUMNS = ("clip_id", "pcm_sha256", "status", "reason")
"""Of the table of round trips: all but the sound."""


class Decoded(NamedTuple):
    """What a run of this stage did. Nothing of it enters the table."""

    n_decoded: int
    """Clips that were decoded now, failures among them."""
    n_failed: int
    n_reused: int
    """Clips that the store held."""


def round_trip_ids(pairs: pl.DataFrame, known: Iterable[str]) -> list[str]:
    """clip_ids of the prompts, right continuations and third clips of all usable items, each once, sorted.

    Third clips only where they are among `known`, the clips that have codes: a table of codes from elsewhere may lack
    them.
    """
    third = clips_of(pairs, ("same_attribute",)) & set(known)
    return sorted(clips_of(pairs, ROUND_TRIP_ROLES) | third)


def decode_round_trips(
    tokenizer: Tokenizer,
    vocoder: Vocoder,
    pairs: pl.DataFrame,
    tokens: pl.DataFrame,
    store: PartStore,
    batch: int = 64,
    progress: Callable[[int], None] | None = None,
) -> Decoded:
    """Decode every clip that the store does not hold; one part per batch, rows of the schema ROUND_TRIPS.

    Raises ArtefactError where the tokens table lacks a clip.
    """
    wanted = set(round_trip_ids(pairs, tokens["clip_id"]))
    rows = tokens.filter(pl.col("clip_id").is_in(list(wanted)))
    lacking = wanted - set(rows["clip_id"])
    if lacking:
        raise ArtefactError(
            f"the tokens table lacks {len(lacking)} of {len(wanted)} clips, e.g. {sorted(lacking)[0][:12]}; "
            "run the stage 'tokens' again"
        )
    done = {clip_id for (clip_id,) in store.done()} & wanted
    sample_rate = sample_rate_of(vocoder, tokenizer.info)
    n_failed = 0
    pending: list[Row] = []
    for clip_id, codes in iterate_codes(rows.filter(~pl.col("clip_id").is_in(list(done))), tokenizer.info):
        pending.append(_row(clip_id, codes, tokenizer, vocoder, sample_rate))
        n_failed += pending[-1]["status"] == FAILED
        if len(pending) == batch:
            store.write(pending)
            pending = []
        if progress:
            progress(1)
    store.write(pending)
    return Decoded(len(wanted) - len(done), n_failed, len(done))


def _row(clip_id: str, codes: Codes | ItemError, tokenizer: Tokenizer, vocoder: Vocoder, sample_rate: int) -> Row:
    row: Row = {**dict.fromkeys(ROUND_TRIPS.arrow.names), "clip_id": clip_id, "status": FAILED}
    if isinstance(codes, ItemError):
        return row | {"reason": str(codes)}
    try:
        waveform = vocoder.decode(codes, tokenizer)
    except ItemError as error:
        return row | {"reason": str(error)}
    if not np.isfinite(waveform).all():
        return row | {"reason": f"the vocoder gave {int((~np.isfinite(waveform)).sum())} NaN or infinite samples"}
    status, reason = status_of(waveform, sample_rate)
    row |= {"status": status, "reason": reason}
    if len(waveform) == 0:
        return row
    clip = make_clip(waveform, sample_rate, "PCM_24")
    return row | {
        "audio": {"bytes": clip.flac, "path": f"{clip.clip_id[:16]}.flac"},
        "sample_rate": clip.sample_rate,
        "n_samples": clip.n_samples,
        "pcm_sha256": clip.clip_id,
    }


def heard_round_trips(clip_ids: Iterable[str], round_trips: pl.DataFrame, embeddings: pl.DataFrame) -> pl.DataFrame:
    """What a judge heard of the round trips of these clips, under the clips' own ids (schema EMBEDDINGS).

    round_trips: their rows (UNHEARD_COLUMNS); embeddings: of all that can be heard, by pcm_sha256. What cannot be heard
    is a failed row, with its status in `audio_status` where there is a sound that counts as wrong.
    Raises ArtefactError where the round trip of a clip, or its embedding, is missing.
    """
    made = {row["clip_id"]: row for row in round_trips.select(UNHEARD_COLUMNS).iter_rows(named=True)}
    heard = {row["audio_id"]: row for row in embeddings.iter_rows(named=True)}
    rows = []
    for clip_id in clip_ids:
        trip = made.get(clip_id)
        if trip is None:
            raise ArtefactError(
                f"the table of round trips lacks clip {clip_id[:12]}; run the stage 'round_trip_audio' again"
            )
        if trip["status"] not in JUDGED_STATUSES:
            rows.append(_unheard(clip_id, trip["status"], trip["reason"]))
        elif trip["pcm_sha256"] in heard:
            rows.append(heard[trip["pcm_sha256"]] | {"audio_id": clip_id})
        else:
            raise ArtefactError(f"the embeddings lack the round trip of clip {clip_id[:12]}; run the job again")
    table = pl.from_arrow(EMBEDDINGS.from_rows(rows))
    assert isinstance(table, pl.DataFrame)
    return table


def _unheard(clip_id: str, status: str, reason: str | None) -> Row:
    row = {**dict.fromkeys(EMBEDDINGS.arrow.names), "audio_id": clip_id, "status": FAILED, "reason": reason}
    if status == FAILED:
        return row
    return row | {"audio_status": status, "reason": f"the codec's sound is {status}: {reason}"}
