"""Lines that can be used, found as they are asked for.

A task takes lines speaker by speaker; each is decoded and cut only when its turn comes, and none is taken twice. Every
task has its own queues, so that tasks do not depend on each other. Lengths are in samples at the dataset's rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from spokeneval.audio import Waveform
from spokeneval.datasets.recordings import Line, Recordings
from spokeneval.datasets.splicing import Halves, halves


@dataclass(frozen=True)
class Lengths:
    """How much of a line is used."""

    shortest: int
    """Of a prompt or a continuation."""
    prompt: int
    """Longest prompt: the last ones before the cut are kept."""
    continuation: int
    """Longest continuation."""
    fade: int
    """Of every cross-fade."""


@dataclass(frozen=True)
class CutLine:
    """A line that is long enough on both sides of its cut."""

    line: Line
    halves: Halves

    @property
    def n_after(self) -> int:
        return self.halves.end - self.halves.cut


class Cuts:
    """Cut lines of a table; each recording is measured once."""

    def __init__(self, recordings: Recordings, lengths: Lengths) -> None:
        self.recordings = recordings
        self.lengths = lengths
        self._known: dict[str, CutLine | None] = {}

    def cut(self, line: Line) -> CutLine | None:
        """The line with its cut, or None where a half is shorter than the shortest allowed."""
        if line.path not in self._known:
            self._known[line.path] = self._cut(line)
        return self._known[line.path]

    def _cut(self, line: Line) -> CutLine | None:
        # Twice the shortest half cannot fit; a tenth of a second for what a header may be wrong by.
        if self.recordings.seconds(line) + 0.1 < 2 * self.lengths.shortest / self.recordings.sample_rate:
            return None
        found = halves(self.recordings.waveform(line), self.recordings.sample_rate)
        return self.at(line, found)

    def at(self, line: Line, found: Halves) -> CutLine | None:
        """The line with a cut that was found otherwise, or None where a half is too short."""
        shortest = self.lengths.shortest
        long_enough = found.cut - found.start >= shortest and found.end - found.cut >= shortest
        return CutLine(line, found) if long_enough else None

    def prompt(self, piece: CutLine) -> Waveform:
        """(n_prompt,) the last samples before the cut."""
        start = max(piece.halves.start, piece.halves.cut - self.lengths.prompt)
        return self.recordings.waveform(piece.line)[start : piece.halves.cut]

    def continuation(self, piece: CutLine, n_samples: int) -> Waveform:
        """(n_samples,) from the cut on."""
        return self.recordings.waveform(piece.line)[piece.halves.cut : piece.halves.cut + n_samples]

    def tail(self, piece: CutLine) -> Waveform:
        """(n_fade,) what follows the prompt in its own recording."""
        return self.continuation(piece, self.lengths.fade)


class LineQueue:
    """Lines of one speaker in a drawn order."""

    def __init__(self, lines: Iterable[Line], cut: Callable[[Line], CutLine | None], rng: np.random.Generator) -> None:
        ordered = list(lines)
        self._waiting = [ordered[int(i)] for i in rng.permutation(len(ordered))]
        self._cut = cut

    @property
    def waiting(self) -> tuple[Line, ...]:
        """Lines that were not taken yet, unusable ones among them perhaps."""
        return tuple(self._waiting)

    def first(self, n_lines: int, not_saying: Iterable[str | None] = ()) -> list[CutLine]:
        """The first usable lines with different words, none of them in `not_saying`; fewer where there are no more.

        Lines whose text is unknown are taken to differ. Nothing is taken off the queue, but unusable lines are dropped.
        """
        found: list[CutLine] = []
        said = {words for words in not_saying if words is not None}
        unusable: set[str] = set()
        for line in self._waiting:
            if len(found) == n_lines:
                break
            if line.words in said:
                continue
            piece = self._cut(line)
            if piece is None:
                unusable.add(line.path)
                continue
            found.append(piece)
            if line.words is not None:
                said.add(line.words)
        if unusable:
            self._waiting = [line for line in self._waiting if line.path not in unusable]
        return found

    def take(self, lines: Iterable[Line]) -> None:
        """Take lines off the queue."""
        taken = {line.path for line in lines}
        self._waiting = [line for line in self._waiting if line.path not in taken]


def queues_by_speaker(lines: Iterable[Line], cuts: Cuts, rng: np.random.Generator) -> dict[tuple[str, str], LineQueue]:
    """(speaker, language) -> queue, in sorted order."""
    sorted_lines: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        sorted_lines.setdefault((line.speaker, line.language), []).append(line)
    return {key: LineQueue(own, cuts.cut, rng) for key, own in sorted(sorted_lines.items())}


class LineRounds:
    """Lines of all speakers, one a speaker and round, speakers in a drawn order in each round."""

    def __init__(self, lines: Iterable[Line], cuts: Cuts, rng: np.random.Generator) -> None:
        self._queues = list(queues_by_speaker(lines, cuts, rng).values())
        self._rng = rng
        self._round: list[LineQueue] = []

    def next(self, n_lines: int = 1) -> list[CutLine] | None:
        """The next n usable lines of one speaker, in one language and with different words; None at the end."""
        while self._queues:
            if not self._round:
                self._round = [self._queues[int(i)] for i in self._rng.permutation(len(self._queues))]
            queue = self._round.pop()
            found = queue.first(n_lines)
            if len(found) == n_lines:
                queue.take(piece.line for piece in found)
                return found
            self._queues.remove(queue)
        return None
