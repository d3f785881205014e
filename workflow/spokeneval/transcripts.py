"""What a transcriber wrote down of each item, and the words that a codec changed.

Conventions
-----------
- A transcriber compares no continuations: its rows hold `text`, and neither cosines, verdict nor score.
- Sources: 'prompt', 'positive', 'negative' the prompt and both continuations as recorded; 'prompt_round_trip' and
  'positive_round_trip' the same through the codec; 'model' a continuation.
- Word errors of a round trip are counted against the same transcriber's transcript of the recording (`word_errors`):
  what the codec changed, not what the transcriber mishears anyway. `n_words` and `n_errors` are counts of the item; a
  rate is their ratio after summing. Lower is better. Where the recording has no words, n_words is 0 and what was added
  counts as errors.
- What the transcriber refused (silent, too long), before or after the codec, is a failed row with the reason.
  Continuations and round trips that are empty, silent or too short have no text, and `audio_status`; such a round trip
  has lost all words of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from spokeneval.errors import ArtefactError
from spokeneval.judging import Candidate, blank_row, continuation_candidate, judgeable, samples_by_prompt, through_codec
from spokeneval.tables import FAILED, JUDGING, OK
from spokeneval.word_errors import word_errors


class Heard(NamedTuple):
    """What was made of one audio: a text, or the reason why there is none."""

    text: str
    reason: str | None
    audio_status: str | None = None
    """'empty', 'silent', 'too_short': a round trip of which nothing can be heard; None for all else."""


def transcribed_references(pairs: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Rows 'prompt', 'positive' and 'negative' of what an item has; references: transcripts of S, P and N."""
    heard = _by_audio(references)
    roles = {"prompt": "prompt", "positive": "continuation_positive", "negative": "continuation_negative"}
    return _table(
        _said(Candidate(item, source, item[role]), heard)
        for item in judgeable(pairs)
        for source, role in roles.items()
        if item[role] is not None
    )


def transcribed_round_trips(
    pairs: pl.DataFrame, round_trips: pl.DataFrame, references: pl.DataFrame, language: str = "en"
) -> pl.DataFrame:
    """Rows 'prompt_round_trip' and 'positive_round_trip' with their word errors; an identity codec makes none.

    language: what is spoken, for the normalisation of the texts.
    """
    heard, originals = _by_audio(round_trips), _by_audio(references)
    roles = {"prompt_round_trip": "prompt", "positive_round_trip": "continuation_positive"}
    rows = []
    for item in judgeable(pairs):
        for source, role in roles.items():
            if item[role] is None:  # a free prompt has no continuations
                continue
            found = _find(heard, item[role])
            row = _said(through_codec(Candidate(item, source, item[role]), found.audio_status), heard)
            original = _find(originals, item[role])
            if row["status"] == OK and original.reason is not None:
                row |= {"status": FAILED, "reason": f"recording: {original.reason}"}
            elif row["status"] == OK:
                row |= word_errors(original.text, found.text, language)._asdict()
            rows.append(row)
    return _table(rows)


def transcribed_continuations(
    pairs: pl.DataFrame, continuations: pl.DataFrame, transcripts: pl.DataFrame
) -> pl.DataFrame:
    """Rows 'model': every sample of every item; transcripts: of the continuations, by pcm_sha256.

    Raises ArtefactError where an item has no continuation in the table.
    """
    items, heard = judgeable(pairs), _by_audio(transcripts)
    samples = samples_by_prompt(items, continuations)
    return _table(
        _said(continuation_candidate(item, "model", row), heard) for item in items for row in samples[item["prompt"]]
    )


def _by_audio(transcripts: pl.DataFrame) -> dict[str, Heard]:
    columns = transcripts.select("audio_id", "text", "status", "reason", "audio_status").iter_rows()
    return {
        audio: Heard(text or "", None if status == OK else str(why), unusable)
        for audio, text, status, why, unusable in columns
    }


def _find(heard: Mapping[str, Heard], audio_id: str) -> Heard:
    try:
        return heard[audio_id]
    except KeyError:
        raise ArtefactError(f"the transcripts lack audio {audio_id[:12]}; run the stage that makes it again") from None


def _said(candidate: Candidate, heard: Mapping[str, Heard]) -> dict[str, Any]:
    """The row of one audio, without word errors."""
    row = blank_row(candidate)
    if candidate.audio_status == FAILED:
        return row | {"status": FAILED, "reason": candidate.reason or "failed"}
    if candidate.audio_id is None:
        return row
    found = _find(heard, candidate.audio_id)
    return row | ({"text": found.text} if found.reason is None else {"status": FAILED, "reason": found.reason})


def _table(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(JUDGING.from_rows(list(rows)))).sort(JUDGING.key)
