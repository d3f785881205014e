"""What every dataset kind provides, and how its items become the tables `clips` and `pairs`.

Conventions
-----------
- An item is a positive and a negative clip of one rate; where they share a prompt, `transition` is the first
  sample after it, and the prompt's samples are equal in both members (room benchmarks made elsewhere excepted).
- A third clip and the background alone are optional; they have no part in the members, but share rate and depth.
- Everything cut out of a member (prompt, continuation) is a clip of its own, sliced from the member's PCM.
- Items are made independently of each other (own seed), so that a limited run gives the first items of the full one.
- A free prompt is an item without members: it has a prompt, which models continue, and nothing else.
- Of items whose audio is not here only the names of their clips are known (`Item.clips`): pairs without clips.
- What cannot be used becomes a failed row with its reason; a dataset that cannot be read at all is a ConfigError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spokeneval.audio import Clip, clip_from_pcm
from spokeneval.tables import CLIPS, FAILED, OK, PAIRS

ROLES = (
    *("prompt", "positive", "negative", "continuation_positive", "continuation_negative"),
    *("same_attribute", "noise_only"),
)
"""Columns of `pairs` that name clips."""


@dataclass(frozen=True)
class FurtherClip:
    """A clip beside the members, at their rate and depth, from other files and so with a gain and a note of its own."""

    pcm: NDArray[np.int32]
    """(n_samples,)"""
    gain: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Item:
    """One item with its audio as integer PCM (see `audio.to_pcm`), or a failed one with its reason."""

    item_id: str
    task: str
    index: int
    cluster: str
    fold: str
    """'a' or 'b'"""
    sample_rate: int
    positive: NDArray[np.int32] | None
    """(n_samples,) None where the item failed, and where its audio is not here."""
    negative: NDArray[np.int32] | None
    transition: int | None
    """Samples; None where members share no prompt. Of a free prompt, its length."""
    prompt: NDArray[np.int32] | None = None
    """(n_samples,) a free prompt, in place of members; None where there are members."""
    subtype: str = "PCM_16"
    gain: float = 1.0
    note: str = ""
    same_attribute: FurtherClip | None = None
    """A third clip with the attribute of the right continuation; None where none is known."""
    noise_only: FurtherClip | None = None
    """The right continuation's background without speech; None where it is not known."""
    labels: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    reason: str | None = None
    clips: dict[str, str] | None = None
    """Role -> clip_id of an item whose audio is not here (its losses are); None where there is audio."""


class Dataset(Protocol):
    tasks: tuple[str, ...]

    def items(self) -> Iterator[Item]:
        """All items, task by task, in the order of their index."""
        ...


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def clips_and_pairs(items: Iterator[Item]) -> tuple[pa.Table, pa.Table]:
    """The tables `clips` (each clip once) and `pairs` of a stream of items."""
    clips: dict[str, dict[str, Any]] = {}
    pairs: list[dict[str, Any]] = []

    def keep(item: Item, pcm: NDArray[np.int32], gain: float, note: str) -> str:
        clip: Clip = clip_from_pcm(pcm, item.sample_rate, item.subtype, gain, note)
        clips.setdefault(
            clip.clip_id,
            {
                "clip_id": clip.clip_id,
                "sample_rate": clip.sample_rate,
                "n_samples": clip.n_samples,
                "audio": {"bytes": clip.flac, "path": f"{clip.clip_id[:16]}.flac"},
                "subtype": clip.subtype,
                "gain": clip.gain,
                "note": clip.note,
            },
        )
        return clip.clip_id

    for item in items:
        roles: dict[str, str | None] = dict.fromkeys(ROLES)
        reason = item.reason or _unusable(item)
        if reason is None and item.clips is not None:
            roles.update(item.clips)
        elif reason is None and item.prompt is not None:
            roles["prompt"] = keep(item, item.prompt, item.gain, item.note)
        elif reason is None:
            assert item.positive is not None
            assert item.negative is not None
            parts = {"positive": item.positive, "negative": item.negative}
            if item.transition is not None:
                parts["prompt"] = item.positive[: item.transition]
                parts["continuation_positive"] = item.positive[item.transition :]
                parts["continuation_negative"] = item.negative[item.transition :]
            roles.update((role, keep(item, pcm, item.gain, item.note)) for role, pcm in parts.items())
            for role, further in _further(item):
                roles[role] = keep(item, further.pcm, further.gain, further.note)
        pairs.append(
            {
                "item_id": item.item_id,
                "task": item.task,
                "index": item.index,
                "cluster": item.cluster,
                "fold": item.fold,
                "transition": item.transition,
                "sample_rate": item.sample_rate,
                **roles,
                "labels": _json(item.labels),
                "sources": _json(item.sources),
                "seed": item.seed,
                "status": OK if reason is None else FAILED,
                "reason": reason,
            }
        )
    return CLIPS.from_rows(list(clips.values())), PAIRS.from_rows(pairs)


def _further(item: Item) -> list[tuple[str, FurtherClip]]:
    clips = (("same_attribute", item.same_attribute), ("noise_only", item.noise_only))
    return [(role, clip) for role, clip in clips if clip is not None]


def _unusable(item: Item) -> str | None:
    """Why an item cannot be scored, or None."""
    if item.clips is not None:
        return None
    if item.prompt is not None:
        return None if len(item.prompt) else "the prompt holds no samples"
    if item.positive is None or item.negative is None:
        return "a member is missing"
    for role, clip in _further(item):
        if len(clip.pcm) == 0:
            return f"the {role} holds no samples"
    for name, pcm in (("positive", item.positive), ("negative", item.negative)):
        if len(pcm) == 0:
            return f"the {name} holds no samples"
        if item.transition is not None and not 0 < item.transition < len(pcm):
            return (
                f"the transition ({item.transition} samples, {item.transition / item.sample_rate:.3f} s) lies outside "
                f"the {name} ({len(pcm)} samples, {len(pcm) / item.sample_rate:.3f} s)"
            )
    return None
