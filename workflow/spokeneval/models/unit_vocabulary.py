"""The ids of a language model over units: which id is which code, and which sequence stands for a clip.

Conventions
-----------
- Code c of codebook q has the id `offset + (sizes of the codebooks before q) + c`. Steps are laid out one after
  another, all codebooks of a step in order: [BOS] c(0,0) c(0,1) ... c(1,0) c(1,1) ... [EOS].
- Every id but the first of the string is scored: without a BOS the first unit is given and not scored. An EOS is
  scored; it has no codebook and no time span.
- `step` counts predictions within the string that is fed: the id at place i is predicted by step i - 1. `frame` counts
  in the whole clip, whatever was dropped before it.
- Legal at the place of a codebook are the ids of that codebook; at the place of an EOS, EOS and the first codebook.
- A string longer than the context is refused, or loses its oldest steps (whole ones; the BOS stays).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.base import ScoredSequence
from spokeneval.tables import KIND_EOS, KIND_UNIT
from spokeneval.tokenizers.base import Codes

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class UnitVocabulary:
    """Ids and strings under one sequence convention. Raises ConfigError where a mark takes the id of a code."""

    codebook_sizes: tuple[int, ...]
    offset: int
    bos: int | None
    eos: int | None

    def __post_init__(self) -> None:
        if self.offset < 0:
            raise ConfigError(f"sequence.offset is {self.offset}; expected 0 or more")
        for name, mark in (("bos", self.bos), ("eos", self.eos)):
            if mark is not None and mark < 0:
                raise ConfigError(f"sequence.{name} is {mark}; expected an id, or null for none")
            if mark is not None and self.offset <= mark < self.end:
                raise ConfigError(
                    f"sequence.{name} is {mark}, which is the id of a code (codes have {self.offset} to "
                    f"{self.end - 1}); change sequence.{name} or sequence.offset"
                )

    @property
    def n_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @cached_property
    def starts(self) -> Ids:
        """(n_codebooks,) id of code 0 of each codebook."""
        before = np.cumsum((0, *self.codebook_sizes[:-1]))
        return (self.offset + before).astype(np.int64)

    @property
    def end(self) -> int:
        """One past the last id of a code."""
        return self.offset + sum(self.codebook_sizes)

    @property
    def n_ids(self) -> int:
        """Size of the smallest vocabulary that holds codes and marks."""
        return max(self.end, *(mark + 1 for mark in (self.bos, self.eos) if mark is not None), 0)

    def span(self, codebook: int) -> tuple[int, int]:
        """First and one past the last id of a codebook."""
        start = int(self.starts[codebook])
        return start, start + self.codebook_sizes[codebook]

    def ids(self, codes: NDArray[np.int32]) -> Ids:
        """(n_steps, n_codebooks) codes -> (n_steps * n_codebooks,) ids. Raises ItemError for a code out of range."""
        if codes.ndim != 2 or codes.shape[1] != self.n_codebooks:
            raise ValueError(f"codes of shape {codes.shape}; expected (n_steps, {self.n_codebooks})")
        sizes = np.array(self.codebook_sizes)
        if codes.size and ((codes < 0) | (codes >= sizes)).any():
            raise ItemError(f"codes up to {codes.max(axis=0).tolist()}; the codebooks have {sizes.tolist()} entries")
        return (codes.astype(np.int64) + self.starts).reshape(-1)

    def codes(self, ids: Ids) -> NDArray[np.int32]:
        """Ids -> (n_steps, n_codebooks) codes, up to the first id that is not legal at its place; whole steps only."""
        places = np.arange(len(ids)) % self.n_codebooks
        codes = ids - self.starts[places]
        illegal = np.flatnonzero((codes < 0) | (codes >= np.array(self.codebook_sizes)[places]))
        n_steps = (int(illegal[0]) if len(illegal) else len(ids)) // self.n_codebooks
        return codes[: n_steps * self.n_codebooks].reshape(n_steps, self.n_codebooks).astype(np.int32)

    def prompt(self, codes: NDArray[np.int32], max_ids: int | None, truncate: Literal["refuse", "left"]) -> Ids:
        """What is fed before the first new id: [BOS] and the codes, in at most max_ids.

        Raises ItemError where there is nothing to feed, or it is too long and may not be truncated.
        """
        first = self._first_step(len(codes), max_ids, truncate, marks=(self.bos,))
        fed = np.concatenate([_mark(self.bos), self.ids(codes[first:])])
        if len(fed) == 0:
            raise ItemError("the prompt has no codes and the model no BOS: there is nothing to continue")
        return fed

    def sequence(
        self, codes: Codes, first_step: int, max_ids: int | None, truncate: Literal["refuse", "left"]
    ) -> ScoredSequence:
        """The steps from first_step on as a string of their own, with nothing before them but the BOS.

        Raises ItemError where no position would be scored, or the string is too long and may not be truncated.
        """
        steps = codes.codes[first_step:]
        if len(steps) == 0:
            raise ItemError("no codes to score")
        dropped = self._first_step(len(steps), max_ids, truncate, marks=(self.bos, self.eos))
        steps = steps[dropped:]
        first_step += dropped
        n_steps, n_codebooks = steps.shape
        input_ids = np.concatenate([_mark(self.bos), self.ids(steps), _mark(self.eos)])
        n_units, n_eos = n_steps * n_codebooks, int(self.eos is not None)
        frame = np.repeat(codes.frame_starts()[first_step:], n_codebooks)
        n_frames = np.repeat(codes.frame_counts()[first_step:], n_codebooks)
        given = 0 if self.bos is not None else 1
        n_scored = n_units + n_eos - given
        if n_scored == 0:
            raise ItemError("one unit alone, and no BOS before it: nothing can be scored")
        index = np.arange(1, n_scored + 1, dtype=np.int32)

        def scored(units: NDArray[Any], eos: int, dtype: type[np.int8] | type[np.int32]) -> NDArray[Any]:
            return np.concatenate([units, np.full(n_eos, eos)])[given:].astype(dtype)

        return ScoredSequence(
            input_ids=input_ids,
            index=index,
            kind=scored(np.full(n_units, KIND_UNIT), KIND_EOS, np.int8),
            stream=np.zeros(n_scored, np.int8),
            codebook=scored(np.tile(np.arange(n_codebooks), n_steps), -1, np.int8),
            frame=scored(frame, -1, np.int32),
            n_frames=scored(n_frames, 0, np.int32),
            step=index - np.int32(1),
            n_dropped_frames=int(codes.frame_counts()[first_step - dropped : first_step].sum()),
        )

    def _first_step(
        self, n_steps: int, max_ids: int | None, truncate: Literal["refuse", "left"], marks: tuple[int | None, ...]
    ) -> int:
        """How many of the oldest steps do not fit."""
        n_marks = sum(mark is not None for mark in marks)
        n_ids = n_steps * self.n_codebooks + n_marks
        if max_ids is None or n_ids <= max_ids:
            return 0
        fits = max(0, max_ids - n_marks) // self.n_codebooks
        if truncate == "refuse" or fits == 0:
            raise ItemError(
                f"{n_ids} ids, but the context has room for {max_ids}"
                + ("; `sequence.truncate: left` would drop the oldest frames" if fits else "")
            )
        return n_steps - fits


def _mark(mark: int | None) -> Ids:
    return np.array([] if mark is None else [mark], np.int64)
