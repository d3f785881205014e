"""Baselines of judging: what could be said without a model, so that a high cosine is not mistaken for skill.

Conventions
-----------
- `copy`: the last COPY_S seconds of the prompt (all of a shorter one), repeated to the length of the right
  continuation. It has the speaker, the room and the noise of the prompt, and says nothing new.
- `noise_matched`: the right background without speech. Where the item knows its noise, the clip `noise_only` of the
  pairs, as it was mixed under the right continuation; else noise made to the noise floor of the prompt
  (`spokeneval.noise_floor`), as long as the right continuation and named by the prompt's clip_id.
- A prompt without a noise floor (digital silence, too short) has no `noise_matched`: its row has the reason.
- Both are judged as a continuation is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from spokeneval.audio import decode_flac, make_clip
from spokeneval.embeddings import rows_of
from spokeneval.errors import ItemError
from spokeneval.noise_floor import matched_noise
from spokeneval.tables import OK

COPY_S = 1.0
"""The baseline `copy` repeats this many seconds from the prompt's end."""
COPY, NOISE_MATCHED = "copy", "noise_matched"


class Baseline(NamedTuple):
    """One baseline of one item."""

    source: str
    task: str
    item_id: str
    audio: tuple[str, bytes] | ItemError
    """audio_id and FLAC, or why there is none."""


def baselines(pairs: pl.DataFrame, clips: Iterable[pl.DataFrame], n_samples: Mapping[str, int]) -> Iterator[Baseline]:
    """Both baselines of every usable item with a prompt and members, in the order of the clips.

    clips: batches with clip_id and audio; n_samples: of every clip, by clip_id.
    """
    items: dict[str, list[dict[str, Any]]] = {}
    own_noise: dict[str, list[dict[str, Any]]] = {}
    usable = pairs.filter(pl.col("status") == OK).drop_nulls(["prompt", "continuation_positive"])
    for item in usable.iter_rows(named=True):
        items.setdefault(item["prompt"], []).append(item)
        if item["noise_only"] is not None:
            own_noise.setdefault(item["noise_only"], []).append(item)
    for row in rows_of(clips, items.keys() | own_noise.keys()):
        clip_id, flac = row["clip_id"], row["audio"]["bytes"]
        for item in own_noise.get(clip_id, ()):
            yield Baseline(NOISE_MATCHED, item["task"], item["item_id"], (clip_id, flac))
        if clip_id not in items:
            continue
        prompt, rate = decode_flac(flac)
        for item in items[clip_id]:
            n = n_samples[item["continuation_positive"]]
            clip = make_clip(np.resize(prompt[-round(COPY_S * rate) :], n), rate, "PCM_24")
            yield Baseline(COPY, item["task"], item["item_id"], (clip.clip_id, clip.flac))
            if item["noise_only"] is None:
                yield Baseline(NOISE_MATCHED, item["task"], item["item_id"], _noise(prompt, rate, n, clip_id))


def _noise(prompt: Any, rate: int, n_samples: int, key: str) -> tuple[str, bytes] | ItemError:
    try:
        clip = make_clip(matched_noise(prompt, rate, n_samples, key), rate, "PCM_24")
    except ItemError as error:
        return error
    return clip.clip_id, clip.flac
