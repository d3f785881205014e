"""Tokens: every clip of a dataset under one tokenizer, shared by all its models.

Conventions
-----------
- Each clip is encoded as its own file: full clips, prompts and continuations alike. A prompt's codes therefore come
  from the prompt's audio alone and cannot know the continuation.
- Clips are resampled once, from their native rate to the tokenizer's, by the resampler that the tokenizer names, and
  encoded one at a time: the codes of a clip do not depend on what else is in the batch.
- Frame spans come from before de-duplication (`tokenizers.base`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.audio import load_at
from spokeneval.errors import ItemError
from spokeneval.tables import FAILED, OK, TOKENS
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo

Row = dict[str, Any]


def encode_clip(tokenizer: Tokenizer, clip_id: str, flac: bytes) -> Row:
    """The tokens row of one clip; a failed one with its reason where the clip cannot be encoded."""
    try:
        encoded = tokenizer.encode(load_at(flac, tokenizer.info.sample_rate, tokenizer.info.resampler))
        check_codes(encoded, tokenizer.info)
    except ItemError as error:
        return failed_row(clip_id, error)
    return row_of(clip_id, encoded)


def row_of(clip_id: str, encoded: Codes) -> Row:
    """The tokens row of a clip that has codes."""
    return {
        "clip_id": clip_id,
        "n_frames": encoded.n_frames,
        "codes": encoded.codes.reshape(-1),
        "durations": encoded.durations,
        "codebooks": encoded.codebooks,
        "starts": encoded.starts,
        "status": OK,
        "reason": None,
    }


def failed_row(clip_id: str, error: ItemError) -> Row:
    """The tokens row of a clip that has none."""
    empty = dict.fromkeys(TOKENS.arrow.names)
    return {**empty, "clip_id": clip_id, "n_frames": 0, "status": FAILED, "reason": str(error)}


def check_codes(encoded: Codes, info: TokenizerInfo) -> None:
    """Raises ItemError for a clip without codes, ValueError where codes are not what the tokenizer declares."""
    codes, books = encoded.codes, encoded.codebooks
    width = 1 if info.asynchronous else info.n_codebooks
    if codes.ndim != 2 or codes.shape[1] != width or (books is not None) != info.asynchronous:
        raise ValueError(f"codes of shape {codes.shape}; expected (n_steps, {width})")
    if len(codes) == 0:
        raise ItemError(f"too short for one frame ({info.hop_samples} samples at {info.sample_rate} Hz)")
    if books is not None and (books.min() < 0 or books.max() >= info.n_codebooks):
        raise ValueError(f"events of codebooks {books.min()} to {books.max()}; there are {info.n_codebooks}")
    sizes = np.array(info.codebook_sizes)
    largest = sizes if books is None else sizes[books][:, None]
    if codes.min() < 0 or (codes >= largest).any():
        raise ValueError(f"codes between {codes.min()} and {codes.max()}; codebooks have {info.codebook_sizes} entries")


def encode_clips(
    tokenizer: Tokenizer,
    clips: Iterable[tuple[str, bytes]],
    write: Callable[[list[Row]], None],
    batch_clips: int = 64,
    progress: Callable[[int], None] | None = None,
) -> tuple[int, int]:
    """Encode (clip_id, FLAC bytes) one by one; rows are handed to `write` in batches as they are done.

    Returns how many clips were encoded and how many of them failed.
    """
    rows: list[Row] = []
    n_encoded = n_failed = 0
    for clip_id, flac in clips:
        rows.append(encode_clip(tokenizer, clip_id, flac))
        n_encoded += 1
        n_failed += rows[-1]["status"] == FAILED
        if len(rows) == batch_clips:
            write(rows)
            rows = []
        if progress:
            progress(1)
    write(rows)
    return n_encoded, n_failed


def codes_of(row: dict[str, Any], info: TokenizerInfo) -> Codes:
    """A tokens row back to codes. Raises ItemError with the recorded reason where the clip failed."""
    if row["status"] != OK:
        raise ItemError(str(row["reason"]))

    def column(name: str, dtype: type[np.int8] | type[np.int32]) -> NDArray[Any] | None:
        return None if row[name] is None else np.asarray(row[name], dtype)

    return Codes(
        np.asarray(row["codes"], np.int32).reshape(-1, 1 if info.asynchronous else info.n_codebooks),
        column("durations", np.int32),
        column("codebooks", np.int8),
        column("starts", np.int32),
    )


def iterate_codes(tokens: pl.DataFrame, info: TokenizerInfo) -> Iterator[tuple[str, Codes | ItemError]]:
    """(clip_id, codes) of every row; the ItemError in place of codes where the clip failed."""
    for row in tokens.iter_rows(named=True):
        try:
            yield row["clip_id"], codes_of(row, info)
        except ItemError as error:
            yield row["clip_id"], error
