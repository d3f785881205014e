"""Continuations of causal LMs: of the length asked for, legal, and the same for any batch."""

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, CODEBOOKS, UNITS, bigram_model, random_codes, random_model, save

from spokeneval.errors import ItemError
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.sampling import GumbelNoise
from spokeneval.tokenizers.base import Codes, TokenizerInfo

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: CausalUnitLM(save(random_model(name), folder / name), CODEBOOKS) for name in ARCHITECTURES}


@pytest.fixture(params=ARCHITECTURES)
def lm(request, models):
    return models[request.param]


PROMPTS = [Prompt(f"clip{n}", random_codes(CODEBOOKS, n, n)) for n in (9, 2, 14, 5)]


def same(a, b):
    return all(np.array_equal(x.codes, y.codes) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    "decoding",
    [Decoding(), Decoding(greedy=True), Decoding(temperature=0.7, top_k=4, top_p=0.8, repetition_penalty=1.3)],
)
def test_batch_and_order_do_not_matter(lm, decoding):
    together = lm.continue_(PROMPTS, 12, decoding, 0)
    assert same(together, [lm.continue_([prompt], 12, decoding, 0)[0] for prompt in PROMPTS])
    assert same(together[::-1], lm.continue_(PROMPTS[::-1], 12, decoding, 0))
    for codes in together:
        assert codes.codes.shape == (12, 2)
        assert codes.durations is None
        assert (codes.codes >= 0).all()
        assert (codes.codes < [7, 5]).all()


def test_a_longer_continuation_begins_with_the_shorter_one(lm):
    short, long = (lm.continue_(PROMPTS, n, Decoding(), 0) for n in (4, 9))
    assert same(short, [Codes(codes.codes[:4], None) for codes in long])


def test_seed_sample_and_clip_each_change_the_noise(models):
    lm = models["llama"]
    here = lm.continue_(PROMPTS[:1], 12, Decoding(), 0)
    assert same(here, lm.continue_(PROMPTS[:1], 12, Decoding(), 0))
    renamed = [PROMPTS[0]._replace(clip_id="other")]
    for other in (
        lm.continue_(PROMPTS[:1], 12, Decoding(seed=1), 0),
        lm.continue_(PROMPTS[:1], 12, Decoding(), 1),
        lm.continue_(renamed, 12, Decoding(), 0),
    ):
        assert not same(here, other)


def by_hand(lm, prompt, n_ids, choose):
    """One id after another, without a cache, a batch or generate()."""
    ids = [0, *lm.vocabulary.ids(prompt.codes.codes).tolist()]
    n_prompt = len(ids)
    for step in range(n_ids):
        with torch.inference_mode():
            logits = lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
        legal = lm.vocabulary.legal(step % lm.vocabulary.n_codebooks)
        start, end = int(legal[0]), int(legal[-1]) + 1
        ids.append(start + choose(logits, start, end, ids, step))
    return lm.vocabulary.codes(np.array(ids[n_prompt:]))


def test_greedy_takes_the_likeliest_legal_code(lm):
    expected = by_hand(lm, PROMPTS[0], 16, lambda logits, start, end, ids, step: logits[start:end].argmax())
    np.testing.assert_array_equal(lm.continue_(PROMPTS[:1], 8, Decoding(greedy=True), 0)[0].codes, expected)
    top_1 = lm.continue_(PROMPTS[:1], 8, Decoding(top_k=1, temperature=2.0), 0)[0]
    np.testing.assert_array_equal(top_1.codes, expected)


def test_sampling_adds_the_clips_own_noise_to_logits_over_temperature(lm):
    noise = GumbelNoise(5, PROMPTS[0].clip_id, 3, 7)

    def choose(logits, start, end, ids, step):
        return (logits[start:end] / 1.5 + noise.next_step()[: end - start]).argmax()

    decoding = Decoding(seed=5, temperature=1.5)
    expected = by_hand(lm, PROMPTS[0], 16, choose)
    np.testing.assert_array_equal(lm.continue_(PROMPTS[:1], 8, decoding, 3)[0].codes, expected)


def test_the_repetition_penalty_counts_prompt_and_new_ids_but_no_padding(models):
    def choose(logits, start, end, ids, step):
        for seen in set(ids):
            logits[seen] *= 1.8 if logits[seen] < 0 else 1 / 1.8
        return logits[start:end].argmax()

    lm, decoding = models["gpt2"], Decoding(greedy=True, repetition_penalty=1.8)
    # Prompts of one frame, so that nearly all of what counts is new; and a long one, so that they are padded.
    prompts = [*(Prompt(f"short{n}", random_codes(CODEBOOKS, 1, n)) for n in range(6)), PROMPTS[2]]
    expected = [by_hand(lm, prompt, 16, choose) for prompt in prompts]
    for codes, hand in zip(lm.continue_(prompts, 8, decoding, 0), expected, strict=True):
        np.testing.assert_array_equal(codes.codes, hand)


def test_unconstrained_speech_ends_where_the_model_leaves_the_codes(tmp_path):
    # Over the ids 0 (mark) and 1-4: mostly the last one plus one, so that after id 4 comes the mark.
    info = TokenizerInfo(1000, 100, (4,), False, True)
    path = save(bigram_model([0.01, 0.96, 0.01, 0.01, 0.01]), tmp_path)
    lm, prompt = CausalUnitLM(path, info), Prompt("clip", Codes(np.array([[0]], np.int32), None))
    free = lm.continue_([prompt], 6, Decoding(greedy=True, constrained=False), 0)[0]
    assert free.codes.tolist() == [[1], [2], [3]]
    held = lm.continue_([prompt], 6, Decoding(greedy=True), 0)[0]
    assert held.codes.shape == (6, 1)
    # With the mark as EOS it is never chosen: the continuation has the length that was asked for.
    ended = CausalUnitLM(path, info, bos=None, eos=0)
    assert len(ended.continue_([prompt], 6, Decoding(greedy=True, constrained=False), 0)[0].codes) == 6


def test_a_prompt_that_leaves_no_room_is_an_items_failure(models, tmp_path):
    lm = models["gpt2"]  # 64 positions: BOS, 2 * 14 of the prompt, 2 * n new ones
    assert len(lm.continue_(PROMPTS[2:3], 17, Decoding(), 0)[0].codes) == 17
    with pytest.raises(ItemError, match="29 ids, but the context has room for 28"):
        lm.continue_(PROMPTS, 18, Decoding(), 0)


def test_with_truncation_only_the_newest_frames_of_a_prompt_are_fed(tmp_path):
    path = save(random_model("opt"), tmp_path)
    lm = CausalUnitLM(path, CODEBOOKS, max_context=21, truncate="left")
    newest = PROMPTS[2]._replace(codes=Codes(PROMPTS[2].codes.codes[-5:], None))
    assert same(lm.continue_(PROMPTS[2:3], 5, Decoding(), 0), lm.continue_([newest], 5, Decoding(), 0))


def test_units_come_at_the_prompts_own_pace(tmp_path):
    lm = CausalUnitLM(save(random_model("llama"), tmp_path), UNITS)
    prompts = [
        Prompt("slow", Codes(np.array([[1], [2]], np.int32), np.array([4, 4], np.int32))),
        Prompt("fast", Codes(np.array([[3], [4], [5]], np.int32), np.array([1, 1, 1], np.int32))),
    ]
    new = lm.continue_(prompts, 10, Decoding(), 0)
    assert [codes.codes.shape for codes in new] == [(3, 1), (10, 1)]  # ceil(10 / 4), 10 / 1
    assert [codes.durations for codes in new] == [None, None]
    assert same(new, [lm.continue_([prompt], 10, Decoding(), 0)[0] for prompt in prompts])


def test_units_that_fit_only_by_themselves_are_still_continued(tmp_path):
    lm = CausalUnitLM(save(random_model("gpt2", n_positions=14), tmp_path), UNITS)
    long = Prompt("long", Codes(np.arange(10, dtype=np.int32)[:, None], np.full(10, 10, np.int32)))
    short = Prompt("short", Codes(np.array([[1]], np.int32), np.array([1], np.int32)))
    new = lm.continue_([long, short], 10, Decoding(), 0)
    assert [len(codes.codes) for codes in new] == [1, 10]


def test_nan_logits_are_an_items_failure(tmp_path):
    lm = CausalUnitLM(save(random_model("gpt2"), tmp_path), CODEBOOKS)
    with torch.no_grad():
        lm.model.transformer.wte.weight[3] = torch.nan
    with pytest.raises(ItemError, match="NaN"):
        lm.continue_(PROMPTS, 4, Decoding(), 0)


def test_decoding_settings_of_the_checkpoint_are_not_used(models, tmp_path):
    path = save(random_model("gpt2"), tmp_path)
    (path / "generation_config.json").write_text('{"repetition_penalty": 9.0, "max_new_tokens": 3, "top_k": 1}')
    assert same(
        CausalUnitLM(path, CODEBOOKS).continue_(PROMPTS, 8, Decoding(), 0),
        models["gpt2"].continue_(PROMPTS, 8, Decoding(), 0),
    )


def test_the_kind_of_cache_does_not_matter(models, monkeypatch):
    lm = models["qwen2"]
    static = lm.continue_(PROMPTS, 12, Decoding(), 0)
    monkeypatch.setattr(type(lm.model), "_can_compile_fullgraph", False)
    assert same(static, lm.continue_(PROMPTS, 12, Decoding(), 0))
