"""What the tasks of a consistency benchmark have in common: couples of mirrored items and their two members.

Conventions
-----------
- A couple makes two items, 0 and 1, in which prompt attributes and continuations change places.
- Members are float64 `(n_samples,)` of equal length with the same samples before the transition. Speech is brought to
  -26 dB RMS (re full scale); one gain for both members, applied later, keeps the peaks in range.
- Sources name recordings as in the table and noises as in their folder; samples are counted in the recording at the
  dataset's rate; gains are linear factors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spokeneval.datasets.lines import CutLine, Cuts, LineRounds
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.splicing import Float, root_mean_square

SPEECH_RMS = 10 ** (-26 / 20)


@dataclass(frozen=True)
class Members:
    positive: Float
    negative: Float
    transition: int
    sources: dict[str, Any]
    same_attribute: Float | None = None
    """(n_samples - transition,) a third clip with the attribute of the right continuation (see `further_lines`)."""
    noise_only: Float | None = None
    """(n_samples - transition,) the right continuation without its speech."""


class Couple(Protocol):
    """Two mirrored items, planned; their audio is made when it is asked for."""

    @property
    def fold(self) -> str: ...

    @property
    def cluster(self) -> str: ...

    @property
    def lines(self) -> tuple[Line, ...]:
        """The recordings that it uses."""
        ...

    def labels(self, which: int) -> dict[str, str]:
        """Labels of item 0 or 1."""
        ...

    def members(self, which: int, rng: np.random.Generator) -> Members:
        """The audio of item 0 or 1. The generator is in the same state for both.

        Raises ItemError where they cannot be made.
        """
        ...


def rounded(value: float) -> float:
    """Six digits, for the tables."""
    return float(f"{value:.6g}")


def unordered(one: str, two: str) -> str:
    """The name of a pair whose order does not matter."""
    return " + ".join(sorted((one, two)))


@dataclass(frozen=True)
class Speech:
    """A stretch of one line that is not joined to another one, at -26 dB RMS."""

    samples: Float
    transition: int
    """Half of its length."""
    source: dict[str, Any]


def whole_line(piece: CutLine, cuts: Cuts) -> Speech:
    """The line without silence at its ends, at most as long as the longest prompt and continuation together."""
    return speech_within(piece.line, piece.halves.start, piece.halves.end, cuts)


def speech_within(line: Line, start: int, end: int, cuts: Cuts) -> Speech:
    """The samples [start, end) of a line, at most as many as the longest prompt and continuation together."""
    end = min(end, start + cuts.lengths.prompt + cuts.lengths.continuation)
    waveform = cuts.recordings.waveform(line)[start:end].astype(np.float64)
    gain = SPEECH_RMS / root_mean_square(waveform)
    source = {"recording": line.path, "start": start, "end": end, "gain": rounded(gain)}
    return Speech(waveform * gain, int(0.5 * len(waveform)), source)


class FoldRounds:
    """Lines of both folds: one fold after the other, all speakers in turn."""

    def __init__(self, lines: Iterable[Line], folds: dict[str, str], cuts: Cuts, rng: np.random.Generator) -> None:
        lines = list(lines)
        self._rounds = {
            fold: LineRounds([line for line in lines if folds[line.path] == fold], cuts, rng) for fold in "ab"
        }

    def next(self, fold: str, n_lines: int = 1) -> list[CutLine] | None:
        """Lines of one speaker; None where the fold has none left."""
        return self._rounds[fold].next(n_lines)
