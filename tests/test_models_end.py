"""Speech that ends by itself: not before min_new_s, at the end mark, and without a trace in other continuations."""

import numpy as np
import pytest
import torch
import yaml
from frame_models import CODEC, N_CODEBOOKS, clip, random_csm, random_moshi, save_csm
from test_config import changed
from test_continuations import Tokenizer, Tones
from test_likelihood import dataset
from tiny_models import ARCHITECTURES, CODEBOOKS, UNITS, bigram_model, random_codes, random_model, save

from spokeneval.config import load_config
from spokeneval.continuations import continue_dataset, n_least_frames
from spokeneval.errors import ConfigError
from spokeneval.factory import make_model
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.csm import CSM
from spokeneval.models.moshi import Moshi
from spokeneval.sampling import GumbelNoise
from spokeneval.store import PartStore
from spokeneval.tables import CONTINUATIONS
from spokeneval.tokenizers.base import Codes, TokenizerInfo

torch.set_num_threads(1)

EOS = 13
N, LEAST = 12, 3
"""Frames at most and at least."""
PROMPTS = [Prompt(f"clip{n}", random_codes(CODEBOOKS, 1 + n % 9, n)) for n in range(12)]
SAMPLING = Decoding(temperature=2.0)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def lm(request, tmp_path_factory):
    path = save(random_model(request.param, n_ids=14), tmp_path_factory.mktemp(request.param))
    return CausalUnitLM(path, CODEBOOKS, eos=EOS)


def lengths(said):
    return [len(codes.codes) for codes in said]


def same(a, b):
    return all(np.array_equal(x.codes, y.codes) for x, y in zip(a, b, strict=True))


def test_rows_that_ended_leave_all_others_as_they_are(lm):
    whole = lm.continue_(PROMPTS, N, SAMPLING, 0)
    said = lm.continue_(PROMPTS, N, SAMPLING, 0, LEAST)
    assert lengths(whole) == [N] * len(PROMPTS)
    assert min(lengths(said)) < N
    assert min(lengths(said)) >= LEAST
    # Bit by bit what it says without an end, up to where it ended; so also what others say who did not end.
    assert same(said, [Codes(codes.codes[: len(own.codes)], None) for codes, own in zip(whole, said, strict=True)])


@pytest.mark.parametrize(
    "decoding",
    [
        SAMPLING,
        Decoding(greedy=True),
        Decoding(temperature=3.0, top_k=5, top_p=0.95, repetition_penalty=1.3),
        Decoding(temperature=2.0, constrained=False),
    ],
)
def test_batch_and_order_do_not_matter(lm, decoding):
    together = lm.continue_(PROMPTS, N, decoding, 0, LEAST)
    assert same(together, [lm.continue_([prompt], N, decoding, 0, LEAST)[0] for prompt in PROMPTS])
    assert same(together[::-1], lm.continue_(PROMPTS[::-1], N, decoding, 0, LEAST))
    assert same(
        [Codes(codes.codes[:7], None) for codes in together],
        lm.continue_(PROMPTS, 7, decoding, 0, LEAST),
    )


def test_other_samples_end_elsewhere(lm):
    said = [lengths(lm.continue_(PROMPTS, N, SAMPLING, sample, 0)) for sample in (0, 1)]
    assert said[0] != said[1]


def by_hand(lm, prompt, noise, end_noise):
    """Codes and the end, one id after another, from the logits alone."""
    ids = [0, *lm.vocabulary.ids(prompt.codes.codes).tolist()]
    n_prompt = len(ids)
    for step in range(2 * N):
        with torch.inference_mode():
            logits = lm.model(input_ids=torch.tensor([ids])).logits[0, -1].double().numpy()
        legal = lm.vocabulary.legal(step % 2)
        scores = logits[legal] / 2.0 + noise.next_step()[: len(legal)]
        if step % 2 == 0:
            end = logits[EOS] / 2.0 + end_noise.next_step()[0]
            if step >= 2 * LEAST and end > scores.max():
                break
        ids.append(int(legal[scores.argmax()]))
    return lm.vocabulary.codes(np.array(ids[n_prompt:], np.int64))


def test_the_end_stands_beside_the_first_codebook_with_noise_of_its_own(lm):
    for prompt, said in zip(PROMPTS[:6], lm.continue_(PROMPTS[:6], N, SAMPLING, 2, LEAST), strict=True):
        noise, end_noise = (GumbelNoise(0, prompt.clip_id, 2, n, name) for n, name in ((7, ""), (1, "end/")))
        np.testing.assert_array_equal(said.codes, by_hand(lm, prompt, noise, end_noise))


def test_greedy_speech_ends_at_the_first_allowed_end_mark(tmp_path):
    # Ids 0 (end) and 1 to 4; after id x mostly comes x + 1, so that after 4 comes the end.
    info = TokenizerInfo(1000, 100, (4,), False, True)
    lm = CausalUnitLM(save(bigram_model([0.01, 0.96, 0.01, 0.01, 0.01]), tmp_path), info, bos=None, eos=0)
    prompt = Prompt("clip", Codes(np.array([[0]], np.int32), None))
    for constrained in (True, False):
        greedy = Decoding(greedy=True, constrained=constrained)
        assert lm.continue_([prompt], 9, greedy, 0, 2)[0].codes[:, 0].tolist() == [1, 2, 3]
        # Masked at step 3, the likeliest other id is chosen; the next end is allowed.
        held = lm.continue_([prompt], 9, greedy, 0, 4)[0].codes[:, 0].tolist()
        assert held[:3] == [1, 2, 3]
        assert 4 <= len(held) < 9
    at_once = Prompt("clip", Codes(np.array([[3]], np.int32), None))
    assert lengths(lm.continue_([at_once, prompt], 9, Decoding(greedy=True), 0, 0)) == [0, 3]


def test_units_end_after_their_own_share_of_the_least_length(tmp_path):
    lm = CausalUnitLM(save(random_model("llama", n_ids=14), tmp_path), UNITS, eos=EOS)
    with torch.no_grad():
        lm.model.lm_head.weight[EOS] = 0  # an end that is as likely as an average unit
    prompts = [
        Prompt("slow", Codes(np.array([[1], [2]], np.int32), np.array([4, 4], np.int32))),
        Prompt("fast", Codes(np.array([[3], [4], [5]], np.int32), np.array([1, 1, 1], np.int32))),
    ]
    said = [lm.continue_(prompts, 16, Decoding(temperature=50.0), sample, 8) for sample in range(30)]
    assert min(len(codes[0].codes) for codes in said) == 2  # 8 frames of 4
    assert max(len(codes[0].codes) for codes in said) == 4
    assert 8 <= min(len(codes[1].codes) for codes in said) < 16
    assert same(said[3], [lm.continue_([prompt], 16, Decoding(temperature=50.0), 3, 8)[0] for prompt in prompts])


# ------------------------------------------------------------ frames


def test_a_frame_of_zeros_ends_csm_and_is_no_part_of_what_it_said(tmp_path):
    model = random_csm()
    with torch.no_grad():
        # Code 0 of every codebook is likelier than others, so that frames of zeros are frequent.
        model.lm_head.weight[0] *= 0
        model.depth_decoder.codebooks_head.weight[:, :, 0] *= 0
    lm = CSM(save_csm(model, tmp_path), CODEC)
    prompts = [Prompt(f"clip{n}", clip(2 + n % 5, n)) for n in range(24)]
    whole = lm.continue_(prompts, N, Decoding(temperature=3.0), 0)
    said = lm.continue_(prompts, N, Decoding(temperature=3.0), 0, LEAST)
    assert lengths(whole) == [N] * 24
    expected = []
    for codes in whole:
        zeros = [t for t in range(LEAST, N) if not codes.codes[t].any()]
        expected.append(Codes(codes.codes[: zeros[0] if zeros else None], None))
    assert same(said, expected)
    assert LEAST <= min(lengths(said)) < N
    assert same(said, [lm.continue_([p], N, Decoding(temperature=3.0), 0, LEAST)[0] for p in prompts])


def test_moshi_has_no_end(tmp_path):
    lm = Moshi(save(random_moshi(), tmp_path), CODEC)
    assert not lm.can_end
    with pytest.raises(ConfigError, match="the model has no end mark: `min_new_s` cannot be kept"):
        lm.continue_([Prompt("clip", clip(3, 0))], 4, Decoding(), 0, 2)
    assert lm.continue_([Prompt("clip", clip(3, 0))], 4, Decoding(), 0)[0].codes.shape == (4, N_CODEBOOKS)


# ------------------------------------------------------------ stage and configuration


def test_seconds_become_frames_and_rows_have_their_own_length(tmp_path):
    lm = CausalUnitLM(save(random_model("opt", n_ids=14), tmp_path / "lm"), CODEBOOKS, eos=EOS)
    decoding = Decoding(new_s=1.2, min_new_s=0.55, temperature=2.0, samples_per_item=2)
    assert n_least_frames(decoding, CODEBOOKS) == 6
    assert n_least_frames(Decoding(new_s=1.2), CODEBOOKS) is n_least_frames(Decoding(1.2, 1.2), CODEBOOKS) is None
    pairs, tokens = dataset(8)
    said = []
    for batch_size in (1, 5):
        store = PartStore(tmp_path / str(batch_size), "continuations", "identity", CONTINUATIONS)
        done = continue_dataset(lm, Tokenizer(), Tones(), pairs, tokens, store, decoding, batch_size=batch_size)
        said.append(store.collect(done.keys).sort_by([(name, "ascending") for name in CONTINUATIONS.key]))
    assert said[0] == said[1]
    n_frames = {len(codes) // 2 for codes in said[0]["codes"].to_pylist()}
    assert len(n_frames) > 1
    assert 6 <= min(n_frames) < max(n_frames) <= 12
    assert said[0]["n_samples"].to_pylist() == [50 * len(codes) for codes in said[0]["codes"].to_pylist()]


@pytest.mark.parametrize(
    ("block", "match"),
    [
        ({"decoding": {"new_s": 1.0, "min_new_s": 1.5}}, r"small\.decoding: min_new_s is 1\.5, more than new_s 1\.0"),
        ({"decoding": {"min_new_s": -1}}, "min_new_s: .* found -1"),
        ({"decoding": {"min_new_s": 0.5}}, r"no mark that ends speech \(`sequence\.eos` is null\); take min_new_s"),
        ({"decoding": {"min_new_s": 0.5}, "convention": "twist"}, "no mark that ends speech"),
        ({"decoding": {"min_new_s": 0.5}, "kind": "moshi"}, "no mark that ends speech; take min_new_s away"),
    ],
)
def test_a_least_length_that_cannot_be_kept_is_refused_when_the_configuration_is_read(block, match):
    with pytest.raises(ConfigError, match=match):
        load_config(changed("models", "small", value={"path": "m", "tokenizer": "rvq", "vocoder": "gl", **block}))


def test_a_least_length_that_changes_nothing_or_has_an_end_mark_is_read(tmp_path):
    for more in ({"decoding": {"min_new_s": 2.0}}, {"decoding": {"min_new_s": 0}, "convention": "slam"}):
        load_config(changed("models", "small", value={"path": "m", "tokenizer": "rvq", "vocoder": "gl", **more}))


def test_names_of_tokens_without_an_end_are_refused_when_the_model_is_loaded(tmp_path, monkeypatch):
    block = {"path": "m", "tokenizer": "rvq", "vocoder": "gl", "decoding": {"min_new_s": 0.5}, "convention": "sims"}
    config = load_config(yaml.safe_load(yaml.safe_dump(changed("models", "small", value=block))))
    lm = CausalUnitLM(save(random_model("llama"), tmp_path), CODEBOOKS)
    assert not lm.can_end
    monkeypatch.setattr("spokeneval.factory._build", lambda *arguments, **options: lm)
    with pytest.raises(
        ConfigError, match=r"models\.small: decoding\.min_new_s is below new_s, but the model has no mark"
    ):
        make_model(config, "small", CODEBOOKS)
