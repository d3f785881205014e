"""Equal contexts have equal log-probabilities, to the last bit, whatever batches they were in.

A log-probability is a function of the ids before it. Two batches compute it with different rounding (1e-6), which would
turn ties into verdicts: the two members of a pair share their prompt, and sometimes the whole clip. So the values
that were had first for a string of ids are those of every other sequence that begins with it.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np

from spokeneval.models.base import LogProbs, ScoredSequence


@dataclass
class PrefixIndex:
    """Scored sequences in the order of their ids, so that the longest shared prefix is a neighbour's."""

    share: bool = True
    """False: only whole sequences of equal ids have one value."""
    _names: list[bytes] = field(default_factory=list)
    _scored: list[tuple[ScoredSequence, LogProbs]] = field(default_factory=list)

    def find(self, sequence: ScoredSequence) -> LogProbs | None:
        """What was had for exactly these ids."""
        name = _name(sequence)
        place = bisect.bisect_left(self._names, name)
        if place < len(self._names) and self._names[place] == name:
            return self._scored[place][1]
        return None

    def add(self, sequence: ScoredSequence, result: LogProbs) -> LogProbs:
        """Keep a result, and return it with the values of the longest prefix that is known already."""
        name = _name(sequence)
        place = bisect.bisect_left(self._names, name)
        if place < len(self._names) and self._names[place] == name:
            return self._scored[place][1]
        n_shared, known = 0, result
        for neighbour, values in self._scored[max(0, place - 1) : place + 1] if self.share else ():
            n = shared_length(sequence.input_ids, neighbour.input_ids)
            if n > n_shared:
                n_shared, known = n, values
        if n_shared:
            n_scored = int(np.searchsorted(sequence.index, n_shared))
            result = LogProbs(
                *(np.concatenate([a[:n_scored], b[n_scored:]]) for a, b in zip(known, result, strict=True))
            )
        self._names.insert(place, name)
        self._scored.insert(place, (sequence, result))
        return result


def _name(sequence: ScoredSequence) -> bytes:
    """Ids as bytes whose order is that of the ids, so that shared prefixes stand side by side."""
    return sequence.input_ids.astype(">u4").tobytes()


def shared_length(a: np.ndarray[tuple[int], np.dtype[np.int64]], b: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """How many first ids are equal."""
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n
