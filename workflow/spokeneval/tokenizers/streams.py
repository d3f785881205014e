"""Codebooks of different rates as the one string of events that a model reads.

Conventions
-----------
- All streams count frames of one common grid, the tokenizer's: a pitch code that lasts two unit frames has duration 2.
  A stream is one codebook with its durations and begins at frame 0; streams may end at different frames.
- Events are sorted by their first frame, and stably: events of one stream keep their order. Where several streams have
  an event at the same frame, `order` says whose comes first.
- Nothing is merged or de-duplicated here: a stream that is de-duplicated comes so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spokeneval.tokenizers.base import Codes


def merge_streams(streams: Sequence[Codes], order: Sequence[int] | None = None) -> Codes:
    """Streams, by codebook -> events: codes (n_events, 1) with their codebooks, starts and durations.

    order: the codebooks, first of a tie first; as they are numbered by default. SpiritLM numbers units, pitch, style
    and reads (2, 1, 0).
    Raises ValueError where a stream is no single codebook, a step lasts no frame, or `order` does not name all streams.
    """
    places = list(range(len(streams)) if order is None else order)
    if sorted(places) != list(range(len(streams))):
        raise ValueError(f"order {places}; expected each of the {len(streams)} codebooks once")
    for codebook, stream in enumerate(streams):
        if stream.codes.ndim != 2 or stream.codes.shape[1] != 1 or stream.codebooks is not None:
            raise ValueError(f"stream {codebook}: codes of shape {stream.codes.shape}; expected (n_steps, 1)")
        if len(stream.frame_counts()) != len(stream.codes) or (stream.frame_counts() < 1).any():
            raise ValueError(f"stream {codebook}: expected a duration of at least one frame for each code")
    chosen = [streams[codebook] for codebook in places]
    starts = np.concatenate([stream.frame_starts() for stream in chosen])
    codebooks = np.repeat(np.array(places, np.int8), [len(stream.codes) for stream in chosen])
    events = Codes(
        np.concatenate([stream.codes for stream in chosen]).astype(np.int32),
        np.concatenate([stream.frame_counts() for stream in chosen]).astype(np.int32),
        codebooks,
        starts.astype(np.int32),
    )
    return events.take(np.argsort(starts, kind="stable"))
