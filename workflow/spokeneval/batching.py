"""Batches whose make-up does not depend on what is done already, and calls that survive a batch that is too large.

Conventions
-----------
- Results may differ by float rounding from batch to batch. Batches are therefore planned over all of the work, and a
  run that was killed goes on with the same batches: it ends with the same bytes.
- A batch that is too large for the memory, or that holds an item that cannot be processed, is halved until it works.
  One item alone: an ItemError is that item's result, out of memory is raised (the next run tries again).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Generic, TypeVar

from spokeneval.errors import ItemError

T = TypeVar("T")
R = TypeVar("R")


def plan(work: Sequence[T], length: Callable[[T], int], max_tokens: int) -> list[list[T]]:
    """Batches of work, longest first, each of at most max_tokens after padding (or of one item alone).

    length: tokens of an item. Items of equal length keep their order. Longest first, so that memory that does not
    suffice shows at once.
    """
    batches: list[list[T]] = []
    longest = 0
    for item in sorted(work, key=length, reverse=True):
        if batches and longest * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(item)
        else:
            batches.append([item])
            longest = length(item)
    return batches


def unfinished(work: Sequence[T], length: Callable[[T], int], max_tokens: int, missing: Set[T]) -> list[list[T]]:
    """The batches that are still to do: planned batches of which nothing is done, then what is left of others."""
    whole, rest = [], []
    for batch in plan(work, length, max_tokens):
        left = [item for item in batch if item in missing]
        if len(left) == len(batch):
            whole.append(batch)
        else:
            rest += left
    return whole + plan(rest, length, max_tokens)


def is_out_of_memory(error: BaseException) -> bool:
    """True for torch.OutOfMemoryError and its relatives, on any device; does not import torch."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(phrase in text for phrase in ("out of memory", "can't allocate memory", "not enough memory"))
    )


class Halving(Generic[T, R]):
    """Calls a function on batches; remembers the largest batch that memory allowed."""

    def __init__(self, call: Callable[[Sequence[T]], Sequence[R]], cost: Callable[[Sequence[T]], int] = len) -> None:
        self.call, self.cost = call, cost
        self.max_cost: int | None = None

    def __call__(self, batch: Sequence[T]) -> Iterator[tuple[T, R | ItemError]]:
        """Each item with its result, in order, as they are had."""
        if len(batch) > 1 and self.max_cost is not None and self.cost(batch) > self.max_cost:
            yield from self._halves(batch)
            return
        results: Sequence[R | ItemError] | None = None
        try:
            results = self.call(batch)
        except ItemError as error:
            if len(batch) == 1:
                results = [error]
        except (RuntimeError, MemoryError) as error:
            if len(batch) == 1 or not is_out_of_memory(error):
                raise
            self.max_cost = self.cost(batch) // 2
        # Outside of the handlers: while one runs, its traceback keeps the failed batch's tensors alive.
        if results is None:
            yield from self._halves(batch)
        else:
            yield from zip(batch, results, strict=True)

    def _halves(self, batch: Sequence[T]) -> Iterator[tuple[T, R | ItemError]]:
        middle = (len(batch) + 1) // 2
        yield from self(batch[:middle])
        yield from self(batch[middle:])
