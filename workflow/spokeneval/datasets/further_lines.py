"""Third clips: speech in recordings that an item is not made of, with the attribute of its right continuation.

Conventions
-----------
- A judge holds the members' continuations against something that has the right attribute. The prompt serves, but is
  joined to the right continuation and may share its recording; a third clip shares neither words nor recording.
- It comes from a recording that may be in items, of the item's fold (so that cross-fitting keeps its halves apart), in
  the item's language, that is in neither item of the couple and says other words than they. Unknown words are taken to
  differ. `speaker` and `gender`: of the right speaker. `background_*` and `room`: of the item's speaker where there is
  one, else of another; the speech is the same in both members there, and helps neither.
- It is as long as a continuation and as loud as the right one (RMS): the last samples of the line, of which no more
  is taken than the longest prompt and continuation together. It need have no place where it can be cut. Nothing fades.
- It is drawn after all else from the couple's generator: no sample of the members depends on it. Other items may use
  the same recording.
- Where there is none the item stands without it, and `sources` says why: `same_attribute: {reason: ...}`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spokeneval.datasets.lines import Cuts
from spokeneval.datasets.members import Members, Speech, rounded, speech_within
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.splicing import Float, active_span, root_mean_square
from spokeneval.errors import ItemError


@dataclass(frozen=True)
class ThirdClip:
    samples: Float
    """(n_samples,)"""
    source: dict[str, Any]
    """Recording, first and last sample, gain, what was converted; and what was mixed in."""

    def at(self, rms: float) -> ThirdClip:
        """The same at this root mean square. Raises ItemError for digital silence."""
        factor = rms / root_mean_square(self.samples)
        return ThirdClip(self.samples * factor, self.source).naming(gain=rounded(self.source["gain"] * factor))

    def naming(self, **source: Any) -> ThirdClip:
        """The same with more, or other, entries in its source."""
        return replace(self, source={**self.source, **source})


class FurtherLines:
    """The recordings that may be in items, as seen from one item: those that it is not made of."""

    def __init__(self, lines: Collection[Line], folds: dict[str, str], cuts: Cuts) -> None:
        """folds: path -> fold of every line."""
        self._lines: dict[tuple[str, str], list[Line]] = {}
        for line in lines:
            self._lines.setdefault((folds[line.path], line.language), []).append(line)
        self._cuts = cuts

    def draw(
        self,
        fold: str,
        speaker: str,
        used: Collection[Line],
        n_samples: int,
        rng: np.random.Generator,
        anyone: bool = False,
        treat: Callable[[Float], Float] = lambda speech: speech,
    ) -> ThirdClip:
        """The last n_samples of a drawn line of this speaker; with `anyone`, of another where the speaker has none.

        used: the lines of the couple, which share a language. treat: what is done to the whole line before its end is
        taken (a room); keeps its length. Raises ItemError where no line is left that is long enough.
        """
        for line in self._candidates(fold, speaker, used, rng, anyone):
            speech = self._long_enough(line, n_samples)
            if speech is not None:
                note = self._cuts.recordings.note([line])
                source = {**speech.source, "start": speech.source["end"] - n_samples, "note": note}
                return ThirdClip(treat(speech.samples)[-n_samples:], source)
        whose = "in its language" if anyone else f"of {speaker}"
        seconds = n_samples / self._cuts.recordings.sample_rate
        raise ItemError(f"no further recording {whose} in fold {fold} that says other words and lasts {seconds:.2f} s")

    def _candidates(
        self, fold: str, speaker: str, used: Collection[Line], rng: np.random.Generator, anyone: bool
    ) -> Iterator[Line]:
        """In a drawn order, the speaker's own lines first."""
        said = {line.words for line in used} - {None}
        taken = {line.path for line in used}
        language = next(iter(used)).language
        left = [x for x in self._lines.get((fold, language), ()) if x.path not in taken and x.words not in said]
        own = [line for line in left if line.speaker == speaker]
        of_others = [line for line in left if line.speaker != speaker] if anyone else []
        for lines in (own, of_others):
            for i in rng.permutation(len(lines)):
                yield lines[int(i)]

    def _long_enough(self, line: Line, n_samples: int) -> Speech | None:
        recordings = self._cuts.recordings
        # A tenth of a second for what a header may be wrong by.
        if recordings.seconds(line) + 0.1 < n_samples / recordings.sample_rate:
            return None
        start, end = active_span(recordings.waveform(line), recordings.sample_rate)
        return speech_within(line, start, end, self._cuts) if end - start >= n_samples else None


def with_third_clip(members: Members, make: Callable[[], ThirdClip]) -> Members:
    """The members with a third clip, or with the reason why there is none."""
    try:
        third = make()
    except ItemError as error:
        return replace(members, sources={**members.sources, "same_attribute": {"reason": str(error)}})
    return replace(members, same_attribute=third.samples, sources={**members.sources, "same_attribute": third.source})
