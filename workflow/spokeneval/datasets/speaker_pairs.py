"""Which lines of which speakers make the items of a `speaker` or `gender` task.

Conventions
-----------
- Items come as **mirrored couples** with the same two continuations: A's prompt with A's continuation against B's, then
  B's prompt with B's continuation against A's. What is right in one item is wrong in the other, so a scorer that knows
  nothing of the prompt gets exactly 50 %, whatever it prefers.
- Where both speakers say the same words in a line that is left (`same_text`), a couple takes one line of each, cut at
  the same place: SALMon's way, the positive is the recording as it is. Otherwise (`spliced`) it takes two lines of
  each, all with different words, and both members are spliced.
- The speakers of a couple share language and fold, and can be told apart. The pair that was used least comes next, of
  those the speakers that were used least; no speaker is in more than twice its fair share of couples, and one more.
- The couples of a short list are the first ones of a long one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from spokeneval.datasets.alignment import aligned_sample
from spokeneval.datasets.lines import CutLine, Cuts, LineQueue, queues_by_speaker
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.screening import Separations
from spokeneval.datasets.splicing import Halves, nearest_minimum

SAME_TEXT = "same_text"
SPLICED = "spliced"

Voice = tuple[str, str]
"""(speaker, language)"""


@dataclass(frozen=True)
class VoiceCouple:
    """Two mirrored items. Where the text is the same, prompt and continuation of a speaker are one line."""

    construction: str
    fold: str
    prompts: tuple[CutLine, CutLine]
    """Of speaker A and of speaker B."""
    continuations: tuple[CutLine, CutLine]
    separation: float | None


@dataclass(frozen=True)
class Partners:
    """Who may be whose other speaker."""

    separations: Separations | None
    """None where voices were not screened: then all are taken to differ."""
    min_separation: float
    genders: dict[str, str] | None = None
    """speaker -> gender, where the other speaker must be of another one."""

    def allowed(self, one: Voice, other: Voice) -> bool:
        if one[0] == other[0] or one[1] != other[1]:
            return False
        if self.genders is not None:
            pair = self.genders.get(one[0]), self.genders.get(other[0])
            if None in pair or pair[0] == pair[1]:
                return False
        apart = self.separation(one, other)
        return self.separations is None or (apart is not None and apart >= self.min_separation)

    def separation(self, one: Voice, other: Voice) -> float | None:
        return None if self.separations is None else self.separations.get(frozenset((one[0], other[0])))


class _Fold:
    """The couples of one fold."""

    def __init__(self, name: str, lines: list[Line], cuts: Cuts, partners: Partners, rng: np.random.Generator) -> None:
        self.name = name
        self._cuts = cuts
        self._partners = partners
        self._queues = queues_by_speaker(lines, cuts, rng)
        self._uses: Counter[Voice] = Counter()
        self._pair_uses: Counter[frozenset[Voice]] = Counter()
        self._n_made = 0
        candidates = [voice for voice, queue in self._queues.items() if queue.first(1)]
        pairs = [pair for pair in combinations(candidates, 2) if partners.allowed(*pair)]
        # The sort below is stable: where uses are equal, this drawn order decides.
        self._pairs = [pairs[int(i)] for i in rng.permutation(len(pairs))]
        self._n_voices = len({voice for pair in self._pairs for voice in pair})

    def next(self) -> VoiceCouple | None:
        """The next couple, or None where no pair of speakers has lines left."""
        fair_share = 2 * (self._n_made + 1) / max(1, self._n_voices)
        for one, two in sorted(self._pairs, key=self._priority):
            if max(self._uses[one], self._uses[two]) + 1 > 2 * fair_share + 1:
                continue
            couple = self._same_text(one, two) or self._spliced(one, two)
            if couple is not None:
                self._uses.update((one, two))
                self._pair_uses[frozenset((one, two))] += 1
                self._n_made += 1
                for voice, prompt, continuation in zip((one, two), couple.prompts, couple.continuations, strict=True):
                    self._queues[voice].take((prompt.line, continuation.line))
                return couple
        return None

    def _priority(self, pair: tuple[Voice, Voice]) -> tuple[int, int, int]:
        low, high = sorted((self._uses[pair[0]], self._uses[pair[1]]))
        return self._pair_uses[frozenset(pair)], high, low

    def _couple(
        self, construction: str, pieces: tuple[tuple[CutLine, CutLine], tuple[CutLine, CutLine]]
    ) -> VoiceCouple:
        (prompt_a, continuation_a), (prompt_b, continuation_b) = pieces
        voices = [(piece.line.speaker, piece.line.language) for piece in (prompt_a, prompt_b)]
        return VoiceCouple(
            construction,
            self.name,
            (prompt_a, prompt_b),
            (continuation_a, continuation_b),
            self._partners.separation(voices[0], voices[1]),
        )

    def _same_text(self, one: Voice, two: Voice) -> VoiceCouple | None:
        said = _by_words(self._queues[two])
        for line in self._queues[one].waiting:
            other = said.get(line.words or "")
            if other is None:
                continue
            piece = self._cuts.cut(line)
            copy = piece and self._cut_alike(piece, other)
            if piece and copy:
                return self._couple(SAME_TEXT, ((piece, piece), (copy, copy)))
        return None

    def _cut_alike(self, piece: CutLine, other: Line) -> CutLine | None:
        """The other speaker's line, cut where the same words end."""
        own = self._cuts.cut(other)
        if own is None:
            return None
        recordings = self._cuts.recordings
        waveform, rate = recordings.waveform(other), recordings.sample_rate
        start, end = own.halves.start, own.halves.end
        source = recordings.waveform(piece.line)[piece.halves.start : piece.halves.end]
        cut = aligned_sample(source, piece.halves.cut - piece.halves.start, waveform[start:end], rate)
        return self._cuts.at(other, Halves(start, nearest_minimum(waveform, rate, start + cut), end))

    def _spliced(self, one: Voice, two: Voice) -> VoiceCouple | None:
        first = self._queues[one].first(2)
        second = self._queues[two].first(2, not_saying=[piece.line.words for piece in first])
        if len(first) < 2 or len(second) < 2:
            return None
        return self._couple(SPLICED, ((first[0], first[1]), (second[0], second[1])))


def _by_words(queue: LineQueue) -> dict[str, Line]:
    return {line.words: line for line in reversed(queue.waiting) if line.words is not None}


def speaker_couples(
    lines: list[Line], folds: dict[str, str], cuts: Cuts, partners: Partners, rng: np.random.Generator
) -> Iterator[VoiceCouple]:
    """Couples of both folds in turn, until neither has any left."""
    sides = [_Fold(name, [x for x in lines if folds[x.path] == name], cuts, partners, rng) for name in "ab"]
    while sides:
        for side in list(sides):
            couple = side.next()
            if couple is None:
                sides.remove(side)
            else:
                yield couple
