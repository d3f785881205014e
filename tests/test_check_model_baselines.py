"""What counting is worth, when one convention is better than another, and what random weights can tell."""

import numpy as np
import pytest
import torch
from tiny_models import CODEBOOKS, UNITS, bigram_model, random_codes, random_model, save

from spokeneval.check_model.alternatives import alternatives, identity
from spokeneval.check_model.baselines import repeat, uniform, unigram
from spokeneval.check_model.comparison import Comparison
from spokeneval.check_model.probes import CONVENTIONS, KNOWS, RATE, probe
from spokeneval.check_model.scored import score_clips
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate

TWO = TokenizerInfo(1000, 100, (2,), deduplicated=False, causal=True)
SIX = TokenizerInfo(1000, 100, (6,), deduplicated=False, causal=True)

torch.set_num_threads(1)


def codes(*units):
    return Codes(np.array(units, np.int32)[:, None], None)


# ------------------------------------------------------------ baselines


def test_golden_values_of_counting():
    clips = [codes(0, 0, 1), codes(0, 0, 0, 1)]
    assert uniform(CODEBOOKS) == pytest.approx((np.log(7) + np.log(5)) / 2)
    # The first from the second: counts 3 and 1, with a half each 3.5 / 5 and 1.5 / 5.
    first = -(2 * np.log(0.7) + np.log(0.3)) / 3
    second = -(3 * np.log(2.5 / 4) + np.log(1.5 / 4)) / 4
    assert unigram(clips, TWO) == pytest.approx([first, second])
    # Repeats: 2 of 3 in the second; another code than 0 is 1 for certain.
    assert repeat(clips, TWO)[0] == pytest.approx(-(np.log(0.7) + np.log(2 / 3) + np.log(1 / 3)) / 3)


def test_codebooks_are_counted_on_their_own():
    clips = [random_codes(CODEBOOKS, 30, seed) for seed in range(3)]
    alone = [TokenizerInfo(1000, 100, (n,), False, True) for n in CODEBOOKS.codebook_sizes]
    of_one = [unigram([c.of_codebook(q) for c in clips], info) for q, info in enumerate(alone)]
    assert unigram(clips, CODEBOOKS) == pytest.approx(np.mean(of_one, axis=0))


# ------------------------------------------------------------ what counts as better


@pytest.mark.parametrize(
    ("gains", "better"),
    [
        ([0.2, 0.3, 0.1, 0.2, 0.3], True),
        ([0.2, 0.3, -0.1, 0.3, 0.4], True),  # all but one
        ([0.9, 0.9, -0.1, 0.9, -0.1], False),  # two are worse
        ([0.04, 0.05, 0.04, 0.05, 0.04], False),  # always, but by less than the margin
        ([0.0, 0.0, 0.0, 0.0, 3.0], False),  # one clip alone
        ([0.01, 0.01, 0.01, 0.01, 1.0], False),  # within the standard error
        ([0.5, 0.5], False),  # too few clips
        ([0.2, 0.3, np.nan, 0.2, 0.3], True),
    ],
)
def test_better_is_by_a_margin_on_nearly_all_clips_and_beyond_chance(gains, better):
    assert Comparison(np.array(gains)).better is better


# ------------------------------------------------------------ constructed models


def test_random_weights_can_tell_nothing_and_are_said_to_know_nothing(tmp_path):
    lm = CausalUnitLM(save(random_model("gpt2"), tmp_path), CODEBOOKS)
    result = probe(lm, None, CODEBOOKS, [None] * 5, [random_codes(CODEBOOKS, 25, seed) for seed in range(5)], 8192)
    outcomes = {finding.name: finding.outcome for finding in result.findings}
    assert outcomes == {CONVENTIONS: "cannot tell", RATE: "not checked", KNOWS: "wrong"}


def chain(n, seed, stay=0.0):
    """Units of which the next is nearly always the last one plus one, after a while in which it stays."""
    rng, units = np.random.default_rng(seed), [0]
    while len(units) < n:
        units.append(units[-1] if rng.random() < stay else (units[-1] + (1 if rng.random() < 0.9 else 2)) % 6)
    return codes(*units)


def outcome_on(lm, info, clips):
    found = probe(lm, None, info, [None] * len(clips), clips, 8192)
    return next(finding for finding in found.findings if finding.name == CONVENTIONS)


def test_units_that_should_be_merged_or_not_are_found(tmp_path):
    runs = [chain(50, seed, stay=0.7) for seed in range(5)]
    merged = [deduplicate(clip.codes[:, 0]) for clip in runs]
    of_units = TokenizerInfo(1000, 100, (6,), deduplicated=True, causal=True)
    for name, probabilities, right, wrong, advice in (
        ("frames", [0.6, 0.3, 0.05, 0.02, 0.01, 0.01, 0.01], (SIX, runs), (of_units, merged), "`deduplicate: false`"),
        ("units", [0.001, 0.8, 0.1, 0.05, 0.02, 0.02, 0.009], (of_units, merged), (SIX, runs), "`deduplicate: true`"),
    ):
        path = save(bigram_model(probabilities), tmp_path / name)
        assert outcome_on(CausalUnitLM(path, right[0]), *right).outcome == "ok"
        finding = outcome_on(CausalUnitLM(path, wrong[0]), *wrong)
        assert finding.outcome == "wrong"
        assert advice in finding.detail


def test_an_offset_is_found_by_a_constructed_model(tmp_path):
    # Eight ids: 0 BOS, then units; under offset 2 the unit that follows 5 would be out of the cycle.
    rows = np.full((9, 9), 1e-4)
    for unit in range(6):
        rows[2 + unit, 2 + (unit + 1) % 6] = 1.0
    rows[:2, 2:8] = 1.0
    model = bigram_model([1 / 9] * 9)
    scale = 1 / np.sqrt((1 / 9) * (1 - 1 / 9) + model.config.layer_norm_epsilon)
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.from_numpy((np.log(rows / rows.sum(1, keepdims=True)) / scale).T))
    path = save(model, tmp_path)
    clips = [chain(30, seed) for seed in range(5)]
    finding = outcome_on(CausalUnitLM(path, SIX, offset=1), SIX, clips)
    assert finding.outcome == "wrong"
    assert "set `sequence.offset: 2`" in finding.detail
    assert outcome_on(CausalUnitLM(path, SIX, offset=2), SIX, clips).outcome == "ok"


def test_alternatives_are_the_same_codes_in_other_places(tmp_path):
    lm = CausalUnitLM(save(random_model("gpt2", n_ids=24), tmp_path), TokenizerInfo(1000, 100, (5, 5, 5), False, True))
    clip = random_codes(lm.tokenizer, 12, 0)
    tried = list(alternatives(lm, lm.tokenizer, [clip]))
    labels = [alternative.label for alternative in tried]
    assert len(set(labels)) == len(labels)
    assert sum(label.startswith("the tokenizer's codebooks in the order") for label in labels) == 5
    for alternative in tried:
        assert alternative.origin is not None
        taken = clip.codes.reshape(-1)[alternative.origin[0]]
        np.testing.assert_array_equal(alternative.codes[0].codes, taken)
    # The declared convention itself is among none of them.
    own = score_clips(lm, [clip])[0].full
    for alternative in tried:
        other = score_clips(alternative.model, alternative.codes)[0].full
        same_codes = alternative.origin[0].shape == own.shape and (alternative.origin[0] == identity(clip)).all()
        assert not (same_codes and np.allclose(other, own, equal_nan=True)), alternative.label


def test_a_clip_that_cannot_be_scored_is_nan_and_costs_no_other(tmp_path):
    lm = CausalUnitLM(save(random_model("gpt2"), tmp_path), UNITS, max_context=30)
    clips = [random_codes(UNITS, n, n) for n in (10, 40, 20)]
    scored = score_clips(lm, clips, max_batch_tokens=32)
    assert [bool(np.isfinite(clip.full).all()) for clip in scored] == [True, False, True]
    alone = -lm.logprobs([lm.sequence(clips[2])])[0].logprob
    np.testing.assert_allclose(scored[2].full[:, 0], alone, atol=1e-4)
