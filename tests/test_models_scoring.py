"""Log-probabilities: natural, float32, exact for hand-made logits, whatever their size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spokeneval.models import scoring
from spokeneval.models.scoring import EOS, score_batch, score_rows
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tokenizers.base import Codes

VOCABULARY = UnitVocabulary.by_offset((3, 2), 1, bos=0, eos=6)  # codes 1-3 and 4-5, then EOS


def rows(logits, target, codebook):
    full, legal = score_rows(torch.tensor(logits), torch.tensor(target), torch.tensor(codebook), VOCABULARY)
    return full.numpy(), legal.numpy()


def test_golden_values_by_hand():
    logits = [[0.0] * 7, [0.0, np.log(2), 0, 0, 0, 0, 0], [0.0] * 7]
    full, legal = rows(logits, [4, 1, 6], [1, 0, EOS])
    np.testing.assert_allclose(full, np.log([1 / 7, 2 / 8, 1 / 7]), rtol=1e-6)
    # Codebook 1 has two ids; codebook 0 has masses 2, 1, 1; at the end: EOS or one of codebook 0.
    np.testing.assert_allclose(legal, np.log([1 / 2, 2 / 4, 1 / 4]), rtol=1e-6)


def test_large_logits_lose_no_digits():
    small = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    # Multiples of 2^-10 stay exact when 4096 is added, so that only the arithmetic of the softmax is tested.
    small = np.round(small * 1024) / 1024
    here, shifted = rows(small, [1, 2, 3, 1, 2], [0] * 5), rows(small + np.float32(4096), [1, 2, 3, 1, 2], [0] * 5)
    np.testing.assert_allclose(here[0], shifted[0], atol=1e-6)
    np.testing.assert_allclose(here[1], shifted[1], atol=1e-6)


def test_legal_ids_far_below_the_others_do_not_underflow():
    full, legal = rows([[500.0, 0, 0, 0, 0, 0, 0]], [2], [0])
    np.testing.assert_allclose(full, [-500.0])
    np.testing.assert_allclose(legal, np.log([1 / 3]), rtol=1e-6)


@given(seed=st.integers(0, 1000), scale=st.floats(0, 30))
def test_the_legal_softmax_is_never_below_the_whole_one_and_float64_agrees(seed, scale):
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(20, 7)) * scale).astype(np.float32)
    codebook = rng.integers(0, 2, 20)
    target = np.where(codebook == 0, rng.integers(1, 4, 20), rng.integers(4, 6, 20))
    full, legal = rows(logits, target, codebook)
    assert (legal >= full).all()
    assert (legal <= 0).all()
    exact = logits.astype(np.float64)
    exact -= np.log(np.exp(exact - exact.max(1, keepdims=True)).sum(1, keepdims=True)) + exact.max(1, keepdims=True)
    expected = exact[np.arange(20), target]
    np.testing.assert_allclose(full, expected, atol=1e-5)
    assert full.astype(np.float64).sum() == pytest.approx(expected.sum(), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_and_batches_do_not_matter(monkeypatch, dtype):
    torch.manual_seed(0)
    batch = [
        VOCABULARY.sequence(Codes(np.full((n, 2), n % 2, np.int32), None), None, None, "refuse") for n in (4, 1, 3)
    ]
    logits = torch.randn(3, 10, 7).to(dtype)
    together = score_batch(logits, batch, VOCABULARY)
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", 20)
    for row, (sequence, result) in enumerate(zip(batch, together, strict=True)):
        alone = score_batch(logits[row : row + 1], [sequence], VOCABULARY)[0]
        assert alone.logprob.dtype == np.float32
        assert len(result.logprob) == len(sequence.index)
        np.testing.assert_array_equal(alone.logprob, result.logprob)
        np.testing.assert_array_equal(alone.legal, result.legal)
