"""The ids of a language model over units: which id is which code, and which string of ids stands for a clip.

Conventions
-----------
- `tables[q][c]` is the id of code c of codebook q. `by_offset` lays codebooks out one after another from an offset;
  `token_lookup` and `gslm` read the ids off a tokenizer's or a dictionary's own list.
- A string is: prefix, codes, suffix. Steps follow one another, all codebooks of a step in order: c(0,0) c(0,1) ...
  c(1,0) c(1,1) ...; events of asynchronous codebooks come in their own order.
- Every id but the first of the string is scored: with an empty prefix the first unit is given and not scored; with
  <bos><audio>, <audio> is scored as a mark. The suffix is scored as EOS. Neither has a codebook or a time span.
  Ids in `unscored` are fed and never scored (a padding id that a published script masks wherever it stands).
- `step` counts predictions within the string that is fed: the id at place i is predicted by step i - 1. `frame` counts
  in the whole clip, whatever was dropped before it.
- Legal at the place of a code are the ids of its codebook (of asynchronous codebooks: of all); at the place of the
  first id of the suffix, that id and the ids that may begin a step; other marks have no alternative.
- A string longer than the context is refused, or loses its oldest steps (whole ones; the prefix stays).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.base import ScoredSequence
from spokeneval.tables import KIND_EOS, KIND_MARK, KIND_UNIT
from spokeneval.tokenizers.base import Codes

Ids = NDArray[np.int64]
Truncate = Literal["refuse", "left"]


@dataclass(frozen=True, eq=False)
class UnitVocabulary:
    """Ids and strings under one sequence convention.

    Raises ConfigError where two codes share an id, or a mark takes the id of a code.
    """

    tables: tuple[Ids, ...]
    """One a codebook: (n_codes,) the id of each code."""
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    unscored: frozenset[int] = frozenset()
    asynchronous: bool = False

    def __post_init__(self) -> None:
        ids = np.concatenate(self.tables)
        if ids.min() < 0 or min((*self.prefix, *self.suffix, 0)) < 0:
            raise ConfigError("an id is below 0; expected ids of the model's vocabulary")
        unique, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            raise ConfigError(f"the id {unique[counts > 1][0]} stands for two codes; expected one id a code")
        for name, marks in (("prefix (BOS)", self.prefix), ("suffix (EOS)", self.suffix)):
            taken = sorted(set(marks) & set(ids.tolist()))
            if taken:
                raise ConfigError(f"the {name} holds {taken[0]}, which is the id of a code")

    @classmethod
    def by_offset(
        cls, codebook_sizes: Sequence[int], offset: int, bos: int | None = None, eos: int | None = None, **more: Any
    ) -> UnitVocabulary:
        """Code c of codebook q has the id offset + (sizes of the codebooks before q) + c."""
        if offset < 0:
            raise ConfigError(f"sequence.offset is {offset}; expected 0 or more")
        for name, mark in (("bos", bos), ("eos", eos)):
            if mark is not None and mark < 0:
                raise ConfigError(f"sequence.{name} is {mark}; expected an id, or null for none")
            if mark is not None and offset <= mark < offset + sum(codebook_sizes):
                raise ConfigError(
                    f"sequence.{name} is {mark}, which is the id of a code (codes have {offset} to "
                    f"{offset + sum(codebook_sizes) - 1}); change sequence.{name} or sequence.offset"
                )
        starts = offset + np.cumsum((0, *codebook_sizes[:-1]))
        tables = tuple(np.arange(start, start + n) for start, n in zip(starts, codebook_sizes, strict=True))
        marks = [() if mark is None else (mark,) for mark in (bos, eos)]
        return cls(tables, marks[0], marks[1], **more)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(len(table) for table in self.tables)

    @property
    def n_codebooks(self) -> int:
        return len(self.tables)

    @property
    def n_ids(self) -> int:
        """Size of the smallest vocabulary that holds codes and marks."""
        return 1 + max(max(int(table.max()) for table in self.tables), *self.prefix, *self.suffix, 0)

    @cached_property
    def unit_ids(self) -> Ids:
        """The ids of all codes of all codebooks, ascending."""
        return np.sort(np.concatenate(self.tables))

    def legal(self, codebook: int) -> Ids:
        """The ids that may stand at the place of a codebook, in the order of their codes."""
        return self.unit_ids if self.asynchronous else self.tables[codebook]

    @cached_property
    def _codes_of_ids(self) -> NDArray[np.int32]:
        """(n_codebooks, n_ids) the code that an id stands for at a codebook's place; -1 where it is none."""
        inverse = np.full((self.n_codebooks, self.n_ids), -1, np.int32)
        for q, table in enumerate(self.tables):
            inverse[q, table] = np.arange(len(table))
        return inverse

    def ids(self, codes: NDArray[np.int32], codebooks: NDArray[np.int8] | None = None) -> Ids:
        """(n_steps, n_codebooks) codes -> (n_steps * n_codebooks,) ids; (n_events, 1) with the codebooks of events.

        Raises ItemError for a code out of range.
        """
        width = 1 if self.asynchronous else self.n_codebooks
        if codes.ndim != 2 or codes.shape[1] != width or (codebooks is not None) != self.asynchronous:
            raise ValueError(f"codes of shape {codes.shape}; expected (n_steps, {width})")
        sizes = np.array(self.codebook_sizes)
        places = np.arange(self.n_codebooks)[None, :] if codebooks is None else codebooks[:, None].astype(np.int64)
        if codes.size and ((codes < 0) | (codes >= sizes[places])).any():
            raise ItemError(f"codes up to {codes.max(axis=0).tolist()}; the codebooks have {sizes.tolist()} entries")
        starts = np.cumsum(sizes) - sizes
        found: Ids = np.concatenate(self.tables)[codes + starts[places]].reshape(-1)
        return found

    def codes(self, ids: Ids) -> NDArray[np.int32]:
        """Ids -> (n_steps, n_codebooks) codes, up to the first id that is not legal at its place; whole steps only."""
        places = np.arange(len(ids)) % self.n_codebooks
        known = (ids >= 0) & (ids < self.n_ids)
        codes = np.where(known, self._codes_of_ids[places, np.where(known, ids, 0)], -1)
        illegal = np.flatnonzero(codes < 0)
        n_steps = (int(illegal[0]) if len(illegal) else len(ids)) // self.n_codebooks
        return codes[: n_steps * self.n_codebooks].reshape(n_steps, self.n_codebooks).astype(np.int32)

    def prompt(self, codes: Codes, max_ids: int | None, truncate: Truncate) -> Ids:
        """What is fed before the first new id: prefix and codes, in at most max_ids.

        Raises ItemError where there is nothing to feed, or it is too long and may not be truncated.
        """
        first = self._n_dropped(codes.codes, max_ids, truncate, len(self.prefix))
        steps = codes.take(np.arange(first, len(codes.codes)))
        fed = np.concatenate([np.array(self.prefix, np.int64), self.ids(steps.codes, steps.codebooks)])
        if len(fed) == 0:
            raise ItemError("the prompt has no codes and the model no BOS: there is nothing to continue")
        return fed

    def sequence(
        self, codes: Codes, steps: NDArray[Any] | None, max_ids: int | None, truncate: Truncate
    ) -> ScoredSequence:
        """These steps (places in ascending order; None for all) as a string of their own, after nothing but the prefix.

        Frames keep their place in the whole clip. Raises ItemError where no position would be scored, or the string is
        too long and may not be truncated.
        """
        starts, counts = codes.frame_starts(), codes.frame_counts()
        chosen = np.arange(len(codes.codes)) if steps is None else steps
        if len(chosen) == 0:
            raise ItemError("no codes to score")
        n_dropped = self._n_dropped(codes.codes[chosen], max_ids, truncate, len(self.prefix) + len(self.suffix))
        dropped, chosen = chosen[:n_dropped], chosen[n_dropped:]
        books = None if codes.codebooks is None else codes.codebooks[chosen]
        units = self.ids(codes.codes[chosen], books)
        width = codes.codes.shape[1]
        n_prefix, n_suffix = len(self.prefix), len(self.suffix)
        input_ids = np.concatenate([np.array(self.prefix, np.int64), units, np.array(self.suffix, np.int64)])
        index = np.arange(1, len(input_ids), dtype=np.int32)
        if self.unscored:
            index = index[~np.isin(input_ids[index], list(self.unscored))]
        if len(index) == 0:
            raise ItemError("one unit alone, and no BOS before it: nothing can be scored")

        def column(of_units: NDArray[Any], prefix: int, suffix: int, dtype: Any) -> NDArray[Any]:
            whole = np.concatenate([np.full(n_prefix, prefix), of_units, np.full(n_suffix, suffix)])
            return whole[index].astype(dtype)

        codebook = np.tile(np.arange(width), len(chosen)) if books is None else books
        return ScoredSequence(
            input_ids=input_ids,
            index=index,
            kind=column(np.full(len(units), KIND_UNIT), KIND_MARK, KIND_EOS, np.int8),
            stream=np.zeros(len(index), np.int8),
            codebook=column(codebook, -1, -1, np.int8),
            frame=column(np.repeat(starts[chosen], width), -1, -1, np.int32),
            n_frames=column(np.repeat(counts[chosen], width), 0, 0, np.int32),
            step=index - np.int32(1),
            n_dropped_frames=int(counts[dropped].sum()),
        )

    def _n_dropped(self, codes: NDArray[np.int32], max_ids: int | None, truncate: Truncate, n_marks: int) -> int:
        """How many of the oldest steps do not fit."""
        n_steps, width = len(codes), int(codes.shape[1])
        n_ids = n_steps * width + n_marks
        if max_ids is None or n_ids <= max_ids:
            return 0
        fits = max(0, max_ids - n_marks) // width
        if truncate == "refuse" or fits == 0:
            raise ItemError(
                f"{n_ids} ids, but the context has room for {max_ids}"
                + ("; `sequence.truncate: left` would drop the oldest frames" if fits else "")
            )
        return n_steps - fits
