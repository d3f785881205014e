"""The demo's recordings as training material: which clips, decoded, and cut into windows of codes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.audio import Waveform, read_recording, resample
from spokeneval.demo.split import VALIDATION_SCENES, read_scenes
from spokeneval.errors import SpokenevalError
from spokeneval.tokenizers.base import Tokenizer

JOINED_SHARE = 0.5
"""Share of windows whose first clip is cut off early, so that a join comes where evaluated clips may have one."""
FIRST_PART_S = (1.0, 2.0)


@dataclass(frozen=True)
class Utterance:
    """A recording of the demo."""

    path: Path
    speaker: str
    scene: str


@dataclass(frozen=True)
class CodedClip:
    """One clip's codes, and the seconds that they stand for."""

    speaker: str
    codes: NDArray[np.int32]
    """(n_steps, n_codebooks)"""
    seconds: float


def training_utterances(recordings: Path, evaluation_scenes: Path) -> tuple[list[Utterance], list[Utterance]]:
    """(fitted on, held out for validation); nothing of an evaluated scene is in either."""
    if not recordings.is_file():
        raise SpokenevalError(f"{recordings}: no such file; run `python -m spokeneval.demo.fetch` first")
    evaluated = read_scenes(evaluation_scenes)
    with recordings.open(newline="", encoding="utf-8") as file:
        rows = [Utterance(recordings.parent / r["path"], r["speaker"], r["group"]) for r in csv.DictReader(file)]
    used = [row for row in rows if row.scene not in evaluated]
    return (
        [row for row in used if row.scene not in VALIDATION_SCENES],
        [row for row in used if row.scene in VALIDATION_SCENES],
    )


def waveforms(utterances: Sequence[Utterance], sample_rate: int) -> Iterator[Waveform]:
    """Each utterance decoded and resampled."""
    for utterance in utterances:
        recording = read_recording(utterance.path)
        yield resample(recording.waveform, recording.sample_rate, sample_rate)


def encode_all(utterances: Sequence[Utterance], tokenizer: Tokenizer) -> list[CodedClip]:
    """The codes of every utterance, without durations."""
    info = tokenizer.info
    coded = []
    for utterance, waveform in zip(utterances, waveforms(utterances, info.sample_rate), strict=True):
        codes = tokenizer.encode(waveform)
        coded.append(CodedClip(utterance.speaker, codes.codes, codes.n_frames / info.frame_rate))
    return coded


class Windows:
    """Draws windows of one voice: a clip from a random place on, then other clips of the speaker until it is full.

    Speakers are drawn in proportion to the root of their seconds, so that Joe, a third of the speech, does not crowd
    out the others.
    """

    def __init__(self, clips: Sequence[CodedClip], n_steps: int) -> None:
        self._n_steps = n_steps
        self._by_speaker: dict[str, list[CodedClip]] = {}
        for clip in clips:
            self._by_speaker.setdefault(clip.speaker, []).append(clip)
        self._speakers = sorted(self._by_speaker)
        roots = np.sqrt([sum(c.seconds for c in self._by_speaker[s]) for s in self._speakers])
        self._shares = roots / roots.sum()

    def draw(self, rng: np.random.Generator, n_windows: int) -> NDArray[np.int32]:
        """(n_windows, n_steps, n_codebooks)"""
        return np.stack([self._draw_one(rng) for _ in range(n_windows)])

    def _draw_one(self, rng: np.random.Generator) -> NDArray[np.int32]:
        clips = self._by_speaker[self._speakers[rng.choice(len(self._speakers), p=self._shares)]]
        first = clips[rng.integers(len(clips))]
        codes = first.codes[rng.integers(max(1, len(first.codes) // 2)) :]
        if rng.random() < JOINED_SHARE:
            steps_per_s = len(first.codes) / first.seconds
            codes = codes[: int(rng.uniform(*FIRST_PART_S) * steps_per_s)]
        parts, n_steps = [codes], len(codes)
        while n_steps < self._n_steps:
            parts.append(clips[rng.integers(len(clips))].codes)
            n_steps += len(parts[-1])
        return np.concatenate(parts)[: self._n_steps]
