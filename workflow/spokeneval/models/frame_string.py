"""The string of a model that predicts all codebooks of a frame one after another, some of them delayed.

Conventions
-----------
- Step t holds code q of frame t - delays[q]. Where there is no such frame (before the first, after the last) it holds
  the fill id. A clip of n frames has n + max(delays) steps, so that every code of every frame is scored.
- The string is laid out by step, then by codebook, as it is fed: prefix, then all codebooks of step 0, of step 1 ...
  Fill ids are part of it. A code is predicted from everything before it in the string and from nothing else, so equal
  beginnings of two strings are equal contexts, delays or not.
- Ids are unique across codebooks: code c of codebook q is q * stride + c, its fill id q * stride + fill.
- Scored are the codes of frames; neither prefix nor fill ids. `frame` is the frame that a code decodes to, `step` the
  step that predicts it, counted within the string. There is no EOS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ItemError
from spokeneval.models.base import ScoredSequence
from spokeneval.models.vocabulary import Ids, UnitVocabulary
from spokeneval.tables import KIND_UNIT
from spokeneval.tokenizers.base import Codes


@dataclass(frozen=True, eq=False)
class FrameString:
    """Frames as a string of ids under one layout."""

    codebook_sizes: tuple[int, ...]
    stride: int
    """Ids of a codebook, special ones included."""
    fill: int
    """Stands in a codebook where no frame has a code; below stride."""
    delays: tuple[int, ...]
    """Steps by which each codebook is late."""
    prefix: tuple[int, ...]
    """Ids before step 0; at least one, so that something comes before the first code."""
    max_steps: int
    """Steps that the model's context has room for."""
    end: tuple[int, ...] | None = None
    """Codes of the frame that ends speech; None where there is none. Needs codebooks without delay."""

    @property
    def n_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def max_delay(self) -> int:
        return max(self.delays)

    @cached_property
    def starts(self) -> Ids:
        """(n_codebooks,) id of code 0 of each codebook."""
        return np.arange(self.n_codebooks, dtype=np.int64) * self.stride

    @cached_property
    def _vocabulary(self) -> UnitVocabulary:
        pairs = zip(self.starts, self.codebook_sizes, strict=True)
        return UnitVocabulary(tuple(np.arange(start, start + n) for start, n in pairs), self.prefix)

    def _frames_of_steps(self, n_frames: int) -> NDArray[np.int64]:
        """(n_frames + max_delay, n_codebooks) the frame whose code each place holds; -1 where it holds none."""
        frame = np.arange(n_frames + self.max_delay)[:, None] - np.array(self.delays)
        return np.where((frame >= 0) & (frame < n_frames), frame, -1)

    def steps(self, codes: NDArray[np.int32]) -> Ids:
        """(n_frames, n_codebooks) -> (n_frames + max_delay, n_codebooks) codes and fills, as the model knows them.

        Raises ItemError for a code out of range.
        """
        ids = self._vocabulary.ids(codes).reshape(codes.shape) - self.starts
        padded = np.concatenate([ids, np.full((1, self.n_codebooks), self.fill)])  # row -1
        found: Ids = padded[self._frames_of_steps(len(codes)), np.arange(self.n_codebooks)]
        return found

    def sequence(self, codes: Codes, first_frame: int = 0) -> ScoredSequence:
        """The frames from first_frame on as a string of their own; frames keep their place in the whole clip.

        Raises ItemError where there are none, or more than the context has room for.
        """
        own = codes.codes[first_frame:]
        if len(own) == 0:
            raise ItemError("no codes to score")
        steps = self.steps(own)
        self.check_room(len(steps))
        frame = self._frames_of_steps(len(own))
        step, codebook = np.nonzero(frame >= 0)
        return ScoredSequence(
            input_ids=np.concatenate([np.array(self.prefix, np.int64), (steps + self.starts).reshape(-1)]),
            index=(len(self.prefix) + step * self.n_codebooks + codebook).astype(np.int32),
            kind=np.full(len(step), KIND_UNIT, np.int8),
            stream=np.zeros(len(step), np.int8),
            codebook=codebook.astype(np.int8),
            frame=(first_frame + frame[step, codebook]).astype(np.int32),
            n_frames=np.ones(len(step), np.int32),
            step=step.astype(np.int32),
        )

    def check_room(self, n_steps: int) -> None:
        """Raises ItemError where the context has no room for so many steps."""
        if n_steps > self.max_steps:
            raise ItemError(f"{n_steps} steps, but the context has room for {self.max_steps}")

    def steps_of(self, sequence: ScoredSequence) -> Ids:
        """(n_steps, n_codebooks) codes and fills of a string, as the model knows them."""
        return sequence.input_ids[len(self.prefix) :].reshape(-1, self.n_codebooks) - self.starts

    def places(self, sequence: ScoredSequence) -> NDArray[np.int32]:
        """(n_scored,) what is scored, as places in the flattened `steps_of`."""
        return (sequence.index - len(self.prefix)).astype(np.int32)

    def ended(self, codes: NDArray[np.int64], min_frames: int) -> NDArray[np.bool_]:
        """(n_frames, n_codebooks) new codes -> (n_frames,) where speech may end and does."""
        ends = (codes == np.array(self.end)).all(axis=1)
        ends[:min_frames] = False
        found: NDArray[np.bool_] = ends
        return found

    def legal_frames(self, codes: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n_frames, n_codebooks) codes, up to the first frame that holds something other than a code."""
        bad = np.flatnonzero((codes >= np.array(self.codebook_sizes)).any(axis=1))
        return codes[: bad[0] if len(bad) else None].astype(np.int32)
