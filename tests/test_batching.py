"""Batches: planned over all of the work, within their budget, and halved where they do not work."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokeneval.batching import Halving, is_out_of_memory, plan, unfinished
from spokeneval.errors import ItemError


@given(lengths=st.lists(st.integers(1, 50), max_size=40), budget=st.integers(1, 120))
def test_every_item_is_in_one_batch_and_padding_stays_within_the_budget(lengths, budget):
    work = list(enumerate(lengths))
    batches = plan(work, lambda item: item[1], budget)
    assert sorted(item for batch in batches for item in batch) == work
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(length for _, length in batch) <= budget
    longest = [max(length for _, length in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_a_run_that_goes_on_has_the_same_batches():
    work = list(range(10))
    batches = plan(work, lambda item: 1, 3)
    done = set(batches[0] + batches[1])
    assert unfinished(work, lambda item: 1, 3, set(work) - done) == batches[2:]


def test_what_is_left_of_batches_is_batched_anew():
    work = list(range(8))
    missing = {0, 2, 4, 5, 6, 7}  # one is left of each of the first two pairs
    assert unfinished(work, lambda item: 1, 2, missing) == [[4, 5], [6, 7], [0, 2]]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            True,
        ),
        (MemoryError(), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_batch_too_large_for_memory_is_halved_and_its_size_remembered():
    sizes = []

    def call(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise RuntimeError("out of memory")
        return [item * 10 for item in batch]

    halving = Halving(call)
    assert list(halving(range(8))) == [(i, i * 10) for i in range(8)]
    assert sizes == [8, 4, 2, 2, 2, 2]
    sizes.clear()
    assert list(halving(range(3))) == [(0, 0), (1, 10), (2, 20)]
    assert sizes == [2, 1]


def test_out_of_memory_for_one_item_is_raised():
    def call(batch):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(Halving(call)([1, 2]))


def test_an_item_that_fails_does_not_take_others_with_it():
    def call(batch):
        if 5 in batch:
            raise ItemError("poisoned")
        return list(batch)

    results = dict(Halving(call)(range(8)))
    assert isinstance(results.pop(5), ItemError)
    assert results == {i: i for i in range(8) if i != 5}


def test_other_errors_are_not_swallowed():
    def call(batch):
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        list(Halving(call)(np.arange(4)))
