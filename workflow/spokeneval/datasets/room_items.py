"""Items of the task `room`: one line of speech, two rooms.

Conventions
-----------
- Positive: the line in room A throughout. Negative: in room A up to the transition, in room B after it, where A and B
  are clearly different (see `rooms`). Either is the whole line in that room, so that reverberation is there from the
  transition on; A fades into B over the cross-fade.
- transition = int(0.5 * n_samples), as SALMon's. After it, both members have the same RMS.
- Mirrored: the second item of a couple has the same line, B in the prompt and the same two continuations.
- Third clip: the end of another line in room A, reverberation of what comes before it included.
- Clusters: the unordered pair of rooms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from spokeneval.datasets.further_lines import FurtherLines, ThirdClip, with_third_clip
from spokeneval.datasets.lines import CutLine, Cuts
from spokeneval.datasets.members import FoldRounds, Members, rounded, unordered, whole_line
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.rooms import Room, different_pairs, draw_rooms, impulse_response, reverberate
from spokeneval.datasets.splicing import Float, join, root_mean_square


class Responses:
    """Impulse responses of rooms, each computed once."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._known: dict[str, Float] = {}

    def of(self, room: Room) -> Float:
        if room.name not in self._known:
            self._known[room.name] = impulse_response(room, self._sample_rate)
        return self._known[room.name]


@dataclass(frozen=True)
class RoomItems:
    piece: CutLine
    rooms: tuple[Room, Room]
    fold: str
    cuts: Cuts
    responses: Responses
    further: FurtherLines

    @property
    def cluster(self) -> str:
        return unordered(*(room.name for room in self.rooms))

    @property
    def lines(self) -> tuple[Line, ...]:
        return (self.piece.line,)

    def labels(self, which: int) -> dict[str, str]:
        return {
            "room_positive": self.rooms[which].kind,
            "room_negative": self.rooms[1 - which].kind,
            "speaker": self.piece.line.speaker,
            "language": self.piece.line.language,
        }

    def members(self, which: int, rng: np.random.Generator) -> Members:
        speech = whole_line(self.piece, self.cuts)
        cut, n_fade = speech.transition, self.cuts.lengths.fade
        right, wrong = self.rooms[which], self.rooms[1 - which]
        positive = reverberate(speech.samples, self.responses.of(right))
        other = reverberate(speech.samples, self.responses.of(wrong))
        after, gain = join(positive[cut : cut + n_fade], other[cut:], root_mean_square(positive[cut:]))
        sources = {
            "speech": speech.source,
            "room_positive": _described(right, 1.0),
            "room_negative": _described(wrong, gain),
            "crossfade_samples": n_fade,
        }
        level, n_after = root_mean_square(positive[cut:]), len(positive) - cut

        def third() -> ThirdClip:
            line = self.piece.line
            in_room = partial(reverberate, response=self.responses.of(right))
            clip = self.further.draw(self.fold, line.speaker, self.lines, n_after, rng, anyone=True, treat=in_room)
            return clip.at(level).naming(room=right.name)

        members = Members(positive, np.concatenate([positive[:cut], after]), cut, sources)
        return with_third_clip(members, third)


def _described(room: Room, gain: float) -> dict[str, object]:
    return {
        "name": room.name,
        "size_m": list(room.size_m),
        "rt60_s": room.rt60_s,
        "speaker_m": list(room.speaker_m),
        "microphone_m": list(room.microphone_m),
        "gain": rounded(gain),
    }


def room_couples(
    rounds: FoldRounds, cuts: Cuts, further: FurtherLines, rng: np.random.Generator
) -> Iterator[RoomItems]:
    """Folds, speakers and pairs of rooms in turn, until the lines are used up."""
    rooms = draw_rooms(rng)
    responses = Responses(cuts.recordings.sample_rate)
    pairs = {fold: different_pairs(rooms, fold) for fold in "ab"}
    order = {fold: [found[int(i)] for i in rng.permutation(len(found))] for fold, found in pairs.items()}
    folds, n_made = ["a", "b"], {"a": 0, "b": 0}
    while folds:
        for fold in list(folds):
            found = rounds.next(fold)
            if found is None:
                folds.remove(fold)
                continue
            pair = order[fold][n_made[fold] % len(order[fold])]
            n_made[fold] += 1
            yield RoomItems(found[0], pair, fold, cuts, responses, further)
