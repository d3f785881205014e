"""Items of the tasks `speaker`, `gender` and `splice_control`: halves of different lines.

Conventions
-----------
- `spliced`: positive = line 1 of A joined to line 2 of A, negative = line 1 of A joined to line 3 of B. Both members
  have a join, with the same fade; prompt and both continuations have -26 dB RMS.
- `same_text`: positive = a line of A as it is, negative = its first half joined to B's second half of the same words.
- `splice_control`: positive = a line of A as it is, negative = its first half joined to the second half of another line
  of A: what a join alone explains.
- Where the positive is a line as it is, the negative's continuation is brought to the level of the positive's.
- Third clip: another line of the right speaker, at the level of the right continuation; none for the control.
- Clusters: the unordered pair of speakers; for the control the speaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spokeneval.datasets.further_lines import FurtherLines, with_third_clip
from spokeneval.datasets.lines import CutLine, Cuts
from spokeneval.datasets.members import SPEECH_RMS, FoldRounds, Members, rounded, unordered
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.speaker_pairs import SPLICED, VoiceCouple
from spokeneval.datasets.splicing import join, root_mean_square


def spliced_members(prompt: CutLine, right: CutLine, wrong: CutLine, n_samples: int, cuts: Cuts) -> Members:
    """Both members joined; n_samples of either continuation."""
    first = cuts.prompt(prompt).astype(np.float64)
    gain = SPEECH_RMS / root_mean_square(first)
    tail = cuts.tail(prompt) * gain
    positive, gain_right = join(tail, cuts.continuation(right, n_samples), SPEECH_RMS)
    negative, gain_wrong = join(tail, cuts.continuation(wrong, n_samples), SPEECH_RMS)
    return _members(prompt, right, wrong, first * gain, positive, negative, (gain, gain_right, gain_wrong), cuts)


def unspliced_members(prompt: CutLine, wrong: CutLine, n_samples: int, cuts: Cuts) -> Members:
    """The positive as it was recorded, the negative joined; n_samples of either continuation."""
    first = cuts.prompt(prompt).astype(np.float64)
    own = cuts.continuation(prompt, n_samples).astype(np.float64)
    gain = SPEECH_RMS / root_mean_square(np.concatenate([first, own]))
    tail = cuts.tail(prompt) * gain
    negative, gain_wrong = join(tail, cuts.continuation(wrong, n_samples), root_mean_square(own) * gain)
    return _members(prompt, prompt, wrong, first * gain, own * gain, negative, (gain, gain, gain_wrong), cuts)


def _members(
    prompt: CutLine,
    right: CutLine,
    wrong: CutLine,
    prefix: np.ndarray[tuple[int], np.dtype[np.float64]],
    positive: np.ndarray[tuple[int], np.dtype[np.float64]],
    negative: np.ndarray[tuple[int], np.dtype[np.float64]],
    gains: tuple[float, float, float],
    cuts: Cuts,
) -> Members:
    sources = {
        "prompt": {
            "recording": prompt.line.path,
            "start": prompt.halves.cut - len(prefix),
            "end": prompt.halves.cut,
            "gain": rounded(gains[0]),
        },
        "crossfade_samples": cuts.lengths.fade,
    }
    for role, piece, gain in (("positive", right, gains[1]), ("negative", wrong, gains[2])):
        cut = piece.halves.cut
        sources[role] = {
            "recording": piece.line.path,
            "start": cut,
            "end": cut + len(positive),
            "gain": rounded(gain),
        }
    return Members(np.concatenate([prefix, positive]), np.concatenate([prefix, negative]), len(prefix), sources)


@dataclass(frozen=True)
class VoiceItems:
    """Two items of the task `speaker` or `gender`."""

    couple: VoiceCouple
    cuts: Cuts
    further: FurtherLines

    @property
    def fold(self) -> str:
        return self.couple.fold

    @property
    def cluster(self) -> str:
        return unordered(*(piece.line.speaker for piece in self.couple.prompts))

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(dict.fromkeys(piece.line for piece in self.couple.prompts + self.couple.continuations))

    def labels(self, which: int) -> dict[str, str]:
        right, wrong = (self.couple.prompts[i].line for i in (which, 1 - which))
        labels = {
            "speaker_positive": right.speaker,
            "speaker_negative": wrong.speaker,
            "language": right.language,
            "construction": self.couple.construction,
        }
        if right.gender and wrong.gender:
            labels |= {"gender_positive": right.gender, "gender_negative": wrong.gender}
        return labels

    def members(self, which: int, rng: np.random.Generator) -> Members:
        couple, cuts = self.couple, self.cuts
        n_samples = min(*(piece.n_after for piece in couple.continuations), cuts.lengths.continuation)
        prompt, right, wrong = couple.prompts[which], couple.continuations[which], couple.continuations[1 - which]
        if couple.construction == SPLICED:
            members = spliced_members(prompt, right, wrong, n_samples, cuts)
        else:
            members = unspliced_members(prompt, wrong, n_samples, cuts)
        if couple.separation is not None:
            members.sources["separation"] = rounded(couple.separation)
        level = root_mean_square(members.positive[members.transition :])
        speaker = prompt.line.speaker
        return with_third_clip(
            members, lambda: self.further.draw(self.fold, speaker, self.lines, n_samples, rng).at(level)
        )


@dataclass(frozen=True)
class SpliceItems:
    """Two items of the task `splice_control`."""

    pieces: tuple[CutLine, CutLine]
    fold: str
    cuts: Cuts

    @property
    def cluster(self) -> str:
        return self.pieces[0].line.speaker

    @property
    def lines(self) -> tuple[Line, ...]:
        return tuple(piece.line for piece in self.pieces)

    def labels(self, which: int) -> dict[str, str]:
        line = self.pieces[which].line
        return {"speaker": line.speaker, "language": line.language}

    def members(self, which: int, rng: np.random.Generator) -> Members:
        n_samples = min(*(piece.n_after for piece in self.pieces), self.cuts.lengths.continuation)
        return unspliced_members(self.pieces[which], self.pieces[1 - which], n_samples, self.cuts)


def splice_couples(rounds: FoldRounds, cuts: Cuts) -> Iterator[SpliceItems]:
    """Two lines of one speaker at a time, folds and speakers in turn, until no speaker has two left."""
    folds = ["a", "b"]
    while folds:
        for fold in list(folds):
            found = rounds.next(fold, 2)
            if found is None:
                folds.remove(fold)
            else:
                yield SpliceItems((found[0], found[1]), fold, cuts)
