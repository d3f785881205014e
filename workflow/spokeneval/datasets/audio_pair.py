"""The two members of a pair as integer PCM, whatever they come from.

Conventions
-----------
- A member is a file or the bytes of one. It keeps its rate and its level; channels are averaged, which `note` says.
- Both members have one rate, one depth (16 bit where both sources have 16, else 24) and, where one of them exceeds full
  scale, one gain.
- Members that cannot be read or have different rates are an ItemError: the item fails, alone. So do members that hold
  the same samples, but in published benchmarks, whose own scoring counts them as ties: there they stand, with a label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.audio import Recording, fit_gain, read_recording, to_pcm
from spokeneval.datasets.base import Item
from spokeneval.errors import ItemError

NO_RATE = 0
"""`sample_rate` of a failed item: it has no audio and so no rate of its own."""


@dataclass(frozen=True)
class Member:
    """Where the audio of one member is."""

    name: str
    """As messages and sources call it; never an absolute path."""
    audio: Path | bytes | None
    """None where its place in a table is empty."""

    def read(self) -> Recording:
        """Raises ItemError naming the member where there is no audio or it cannot be read."""
        if self.audio is None:
            raise ItemError(f"{self.name}: holds no audio; expected the bytes of an audio file")
        return read_recording(self.audio, self.name)


@dataclass(frozen=True)
class AudioPair:
    sample_rate: int
    positive: NDArray[np.int32]
    negative: NDArray[np.int32]
    subtype: str
    """'PCM_16' or 'PCM_24': what the integers are."""
    gain: float
    note: str

    @property
    def labels(self) -> dict[str, str]:
        """`members: equal` where both hold the same samples."""
        return {"members": "equal"} if np.array_equal(self.positive, self.negative) else {}


def read_pair(positive: Member, negative: Member, equal_may_stand: bool = False) -> AudioPair:
    """Raises ItemError where a member cannot be read, rates differ, or, unless they may, both hold the same samples."""
    right, wrong = positive.read(), negative.read()
    rate = right.sample_rate
    if rate != wrong.sample_rate:
        raise ItemError(
            f"{positive.name} has {rate} Hz, {negative.name} {wrong.sample_rate} Hz; expected one rate for both"
        )
    subtype = "PCM_16" if right.subtype == wrong.subtype == "PCM_16" else "PCM_24"
    gain = min(fit_gain(right.waveform, subtype), fit_gain(wrong.waveform, subtype))
    pcm_right, pcm_wrong = (to_pcm(r.waveform * np.float32(gain), subtype) for r in (right, wrong))
    if not equal_may_stand and np.array_equal(pcm_right, pcm_wrong):
        raise ItemError(f"{positive.name} and {negative.name} hold the same samples; expected two different clips")
    note = "; ".join(sorted({note for note in (right.note, wrong.note) if note}))
    return AudioPair(rate, pcm_right, pcm_wrong, subtype, gain, note)


def without_audio(item_id: str, task: str, index: int, cluster: str, fold: str) -> Item:
    """An item before its audio was read; it stays so where it fails."""
    return Item(item_id, task, index, cluster, fold, NO_RATE, positive=None, negative=None, transition=None)


def with_audio(item: Item, pair: AudioPair, transition: int | None) -> Item:
    return replace(
        item,
        sample_rate=pair.sample_rate,
        positive=pair.positive,
        negative=pair.negative,
        transition=transition,
        subtype=pair.subtype,
        gain=pair.gain,
        note=pair.note,
        labels={**item.labels, **pair.labels},
    )
