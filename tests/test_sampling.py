"""The noise of a continuation is a function of its key and the step, and of nothing else."""

import hashlib

import numpy as np
from scipy import stats

from spokeneval.sampling import GumbelNoise


def first(n_steps, *key, n_ids=8):
    noise = GumbelNoise(*key, n_ids)
    return np.stack([noise.next_step() for _ in range(n_steps)])


def test_the_same_key_gives_the_same_noise_and_another_key_another():
    here = first(3, 0, "clip", 0)
    np.testing.assert_array_equal(here, first(5, 0, "clip", 0)[:3])
    for other in ((1, "clip", 0), (0, "clip", 1), (0, "clip2", 0)):
        assert not np.isclose(here, first(3, *other)).any()


def test_seed_and_sample_cannot_be_mistaken_for_each_other():
    assert not np.isclose(first(1, 1, "a", 11), first(1, 11, "a", 1)).any()


def test_step_t_is_at_its_counter():
    key = np.frombuffer(hashlib.blake2b(b"3/2/clip", digest_size=16).digest(), "<u8")
    philox = np.random.Philox(key=key)
    philox.advance(4 * 8 // 4)  # four steps of eight ids; a counter gives four numbers
    uniform = ((philox.random_raw(8) >> np.uint64(12)) + 0.5) * 2.0**-52
    np.testing.assert_allclose(first(5, 3, "clip", 2)[4], -np.log(-np.log(uniform)), rtol=1e-6)


def test_it_is_gumbel_noise_and_finite():
    noise = first(1, 0, "clip", 0, n_ids=20_000)[0]
    assert np.isfinite(noise).all()
    assert noise.dtype == np.float32
    assert stats.kstest(noise, "gumbel_r").pvalue > 0.01


def test_the_largest_of_logits_and_noise_is_a_draw_from_their_softmax():
    p = np.array([0.5, 0.3, 0.2])
    noise = first(4000, 0, "clip", 0, n_ids=3)
    drawn = np.bincount((np.log(p) + noise).argmax(1), minlength=3)
    assert stats.chisquare(drawn, 4000 * p).pvalue > 0.01
