"""Causal LMs over units: exact log-probabilities, whatever the batch, and clear answers to unusable checkpoints."""

import json
import shutil

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, CODEBOOKS, UNITS, bigram_model, random_codes, random_model, save
from transformers import BertConfig, BertLMHeadModel, GPT2LMHeadModel

from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.tokenizers.base import Codes, TokenizerInfo

TOLERANCE = 1e-4
"""Nats a token between batches, as the contract says."""

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {name: save(random_model(name), folder / name) for name in ARCHITECTURES}


@pytest.fixture(params=ARCHITECTURES)
def lm(request, checkpoints):
    return CausalUnitLM(checkpoints[request.param], CODEBOOKS)


@pytest.fixture
def gpt2(checkpoints):
    return checkpoints["gpt2"]


def bigram(folder, probabilities, **options):
    """Over six codes with ids 1-6, or as many as there are probabilities but one."""
    info = TokenizerInfo(1000, 100, (len(probabilities) - 1,), deduplicated=False, causal=True)
    return CausalUnitLM(save(bigram_model(probabilities), folder), info, **options)


def codes(*units):
    return Codes(np.array(units, np.int32)[:, None], None)


STEPS = [0.05, 0.6, 0.2, 0.05, 0.05, 0.05]  # the next id is most likely the last one plus one


# ------------------------------------------------------------ exact values


def test_golden_values_of_a_bigram_model(tmp_path):
    lm = bigram(tmp_path, STEPS)
    scored = lm.logprobs([lm.sequence(codes(0, 1, 3, 3))])[0]  # ids 0 | 1 2 4 4: +1, +1, +2, +0
    np.testing.assert_allclose(scored.logprob, np.log([0.6, 0.6, 0.2, 0.05]), atol=1e-5)
    legal = 1 - np.array([STEPS[-0 % 6], STEPS[-1 % 6], STEPS[-2 % 6], STEPS[-4 % 6]])  # all but the mark, id 0
    np.testing.assert_allclose(scored.legal, np.log([0.6, 0.6, 0.2, 0.05] / legal), atol=1e-5)


def test_a_shift_by_one_would_be_seen(tmp_path):
    lm = bigram(tmp_path, [1e-6, 1 - 5e-6, 1e-6, 1e-6, 1e-6, 1e-6])
    scored = lm.logprobs([lm.sequence(codes(0, 1, 2, 3, 4))])[0]
    assert scored.logprob.sum() > -0.001  # each follows from the one before; from itself it would cost 13 nats


def test_weights_of_zero_give_the_uniform_distribution(tmp_path):
    model = random_model("gpt2")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    lm = CausalUnitLM(save(model, tmp_path), CODEBOOKS)
    scored = lm.logprobs([lm.sequence(random_codes(CODEBOOKS, 5, 0))])[0]
    np.testing.assert_allclose(scored.logprob, -np.log(13), rtol=1e-6)
    np.testing.assert_allclose(scored.legal, np.tile([-np.log(7), -np.log(5)], 5), rtol=1e-6)


def test_sums_equal_a_plain_float64_softmax(lm):
    for seed in range(3):
        sequence = lm.sequence(random_codes(CODEBOOKS, 20, seed))
        scored = lm.logprobs([sequence])[0]
        with torch.inference_mode():
            logits = lm.model(input_ids=torch.from_numpy(sequence.input_ids)[None]).logits[0].double().numpy()
        p = np.exp(logits - logits.max(-1, keepdims=True))
        expected = np.log(p / p.sum(-1, keepdims=True))[sequence.index - 1, sequence.target]
        total = scored.logprob.astype(np.float64).sum()
        assert total == pytest.approx(expected.sum(), rel=1e-6)
        assert total / len(expected) == pytest.approx(expected.mean(), abs=1e-4)


# ------------------------------------------------------------ what must not matter


def test_batch_order_and_padding_do_not_matter(lm):
    batch = [lm.sequence(random_codes(CODEBOOKS, n, n)) for n in (3, 20, 1, 31, 11)]
    alone = [lm.logprobs([sequence])[0] for sequence in batch]
    for together in (lm.logprobs(batch), lm.logprobs(batch[::-1])[::-1]):
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.logprob, other.logprob, atol=TOLERANCE)
            np.testing.assert_allclose(one.legal, other.legal, atol=TOLERANCE)
            assert (other.legal >= other.logprob).all()


def test_the_whole_is_the_prompt_and_the_continuation_given_the_prompt(lm):
    whole = random_codes(CODEBOOKS, 20, 0)
    prompt = Codes(whole.codes[:12], None)
    of_whole, of_prompt = (lm.logprobs([lm.sequence(c)])[0].logprob for c in (whole, prompt))
    np.testing.assert_allclose(of_whole[: len(of_prompt)], of_prompt, atol=TOLERANCE)
    continuation = lm.sequence(whole).frame >= 12
    assert of_whole.sum() == pytest.approx(of_prompt.sum() + of_whole[continuation].sum(), abs=TOLERANCE)


def test_kept_tokens_stand_alone_and_stay_in_their_place(lm):
    whole = random_codes(CODEBOOKS, 20, 0)
    kept, alone = lm.kept(whole, 12), lm.sequence(Codes(whole.codes[12:], None))
    np.testing.assert_array_equal(kept.input_ids, alone.input_ids)
    np.testing.assert_array_equal(kept.frame, alone.frame + 12)
    np.testing.assert_array_equal(kept.step, alone.step)


def test_the_run_that_covers_the_cut_is_kept(tmp_path):
    lm = CausalUnitLM(save(random_model("gpt2"), tmp_path), UNITS)
    runs = Codes(np.array([[1], [2], [3]], np.int32), np.array([4, 3, 2], np.int32))
    assert [lm.kept(runs, cut).frame.tolist() for cut in (0, 3, 4, 6, 7, 8)] == [
        [0, 4, 7], [0, 4, 7], [4, 7], [4, 7], [7], [7],
    ]  # fmt: skip
    with pytest.raises(ItemError, match="no codes"):
        lm.kept(runs, 9)


def test_an_order_one_model_needs_no_context(tmp_path):
    units = codes(0, 1, 3, 3, 2, 4)
    without = bigram(tmp_path / "a", STEPS, bos=None)
    full, kept = without.sequence(units), without.kept(units, 2)
    conditional = without.logprobs([full])[0].logprob[full.frame >= 3]  # the first kept unit is given, not scored
    np.testing.assert_allclose(conditional, without.logprobs([kept])[0].logprob, atol=1e-5)
    with_bos = bigram(tmp_path / "b", STEPS)
    full, kept = with_bos.sequence(units), with_bos.kept(units, 2)
    difference = with_bos.logprobs([kept])[0].logprob - with_bos.logprobs([full])[0].logprob[full.frame >= 2]
    # Only the first differs: log p(4 | BOS) - log p(4 | 2), steps of 4 and of 2.
    np.testing.assert_allclose(difference, [np.log(0.05 / 0.2), 0, 0, 0], atol=1e-5)


def test_truncation_changes_the_context_and_nothing_else(gpt2):
    lm = CausalUnitLM(gpt2, CODEBOOKS, max_context=11, truncate="left")
    whole = random_codes(CODEBOOKS, 9, 0)
    sequence = lm.sequence(whole)
    assert sequence.n_dropped_frames == 4
    np.testing.assert_array_equal(sequence.frame, lm.kept(whole, 4).frame)
    with pytest.raises(ItemError, match="19 ids, but the context has room for 11"):
        CausalUnitLM(gpt2, CODEBOOKS, max_context=11).sequence(whole)


def test_eos_is_scored_by_the_model(tmp_path):
    lm = bigram(tmp_path, [*STEPS[:5], 0.03, 0.02], eos=0)
    scored = lm.logprobs([lm.sequence(codes(0, 1))])[0]  # 0 | 1 2 0: +1, +1, +5
    np.testing.assert_allclose(scored.logprob, np.log([0.6, 0.6, 0.03]), atol=1e-5)


def test_low_precision_weights_still_give_float32_log_probabilities(gpt2):
    exact, rough = CausalUnitLM(gpt2, CODEBOOKS), CausalUnitLM(gpt2, CODEBOOKS, dtype="bfloat16")
    sequence = exact.sequence(random_codes(CODEBOOKS, 20, 0))
    a, b = exact.logprobs([sequence])[0].logprob, rough.logprobs([sequence])[0].logprob
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 1
    assert len(np.unique(b)) == len(np.unique(a))  # bfloat16 log-probabilities would collapse


def test_nan_is_an_items_failure_that_names_the_place(gpt2):
    lm = CausalUnitLM(gpt2, CODEBOOKS)
    with torch.no_grad():
        lm.model.transformer.wte.weight[3] = torch.nan
    with pytest.raises(ItemError, match="the log-probability of id 1 at place 1 is nan"):
        lm.logprobs([lm.sequence(random_codes(CODEBOOKS, 5, 0)._replace(codes=np.zeros((5, 2), np.int32)))])


# ------------------------------------------------------------ checkpoints that cannot be used


def refused(match, path, info=CODEBOOKS, **options):
    with pytest.raises(ConfigError, match=match) as caught:
        CausalUnitLM(path, info, **options)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_config_says_what_it_holds(gpt2, tmp_path):
    shutil.copy(gpt2 / "model.safetensors", tmp_path)
    refused(r"no config.json; the folder holds model.safetensors", tmp_path)
    (tmp_path / "empty").mkdir()
    refused(r"no config.json; the folder holds nothing", tmp_path / "empty")
    refused(r"does not exist; expected a folder", tmp_path / "absent")
    refused(r"does not exist; expected a folder", str(tmp_path / "absent"))


def test_weights_in_torchs_own_files_are_read_without_running_what_they_hold(gpt2, tmp_path):
    shutil.copy(gpt2 / "config.json", tmp_path)
    refused(r"no \*.safetensors .* holds config.json", tmp_path)
    tensors = GPT2LMHeadModel.from_pretrained(gpt2).state_dict()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    codes = random_codes(CODEBOOKS, 6, 0)
    scored = [model.logprobs([model.sequence(codes)])[0] for model in map(load, (gpt2, tmp_path))]
    np.testing.assert_array_equal(scored[0].logprob, scored[1].logprob)
    torch.save({"model": Shout()}, tmp_path / "pytorch_model.bin")
    refused("cannot be loaded|more than tensors", tmp_path)


class Shout:
    """What a hostile checkpoint may hold."""

    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def load(path):
    return CausalUnitLM(path, CODEBOOKS)


@pytest.mark.parametrize("n_bytes", [0, 5, 400, -100])
def test_weights_cut_short_are_refused(gpt2, tmp_path, n_bytes):
    shutil.copytree(gpt2, tmp_path / "cut")
    weights = tmp_path / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:n_bytes])
    refused(r"cut.*(damaged or cut short|is empty)", tmp_path / "cut")


def test_a_config_that_is_not_json_or_of_no_known_type_is_refused(gpt2, tmp_path):
    shutil.copytree(gpt2, tmp_path / "a")
    (tmp_path / "a/config.json").write_text("{")
    refused("cannot be loaded", tmp_path / "a")
    (tmp_path / "a/config.json").write_text('{"model_type": "no_such_model"}')
    refused("cannot be loaded.*no_such_model", tmp_path / "a")


def test_a_config_of_other_shapes_than_the_weights_is_refused(gpt2, tmp_path):
    shutil.copytree(gpt2, tmp_path / "a")
    config = json.loads((gpt2 / "config.json").read_text())
    (tmp_path / "a/config.json").write_text(json.dumps(config | {"n_embd": 32}))
    refused("shapes of config.json", tmp_path / "a")
    (tmp_path / "a/config.json").write_text(json.dumps(config | {"n_layer": 3}))
    refused("the weights lack 12 tensors of the gpt2", tmp_path / "a")


def test_a_vocabulary_that_does_not_fit_the_tokenizer_is_refused(gpt2):
    large = TokenizerInfo(1000, 100, (256, 256), False, True)
    refused(r"the model has 13 ids, but the tokenizer needs 513 \(code 0 is id 1, codebooks of 256 \+ 256", gpt2, large)
    refused("tokenizer needs 14", gpt2, offset=2)
    refused("sequence.bos is 1, which is the id of a code", gpt2, bos=1)


def test_an_offset_may_come_from_the_models_own_config(gpt2, tmp_path):
    refused("no integer 'offset'", gpt2, offset="config")
    lm = CausalUnitLM(save(random_model("gpt2", n_ids=15, offset=3), tmp_path), CODEBOOKS, offset="config")
    assert lm.vocabulary.tables[0].tolist() == list(range(3, 10))


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    config = BertConfig(
        vocab_size=13, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=64, initializer_range=0.6, is_decoder=False,
    )  # fmt: skip
    save(BertLMHeadModel(config), tmp_path)
    refused("a later id changes earlier predictions", tmp_path)


def test_settings_that_cannot_be_are_refused(gpt2, monkeypatch):
    refused("unknown dtype 'float8'; expected one of float32, bfloat16, float16", gpt2, dtype="float8")
    refused("unknown device 'gpu'", gpt2, device="gpu")
    refused("max_context 65 is more than the model's 64 positions", gpt2, max_context=65)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused("device 'cuda' is asked for, but torch finds no CUDA device", gpt2, device="cuda")
