"""Checkpoints of slamkit are the causal LM that they wrap, from files alone."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from slamkit_layout import slamkit_checkpoint
from tiny_models import random_codes, random_model

from spokeneval.errors import ConfigError
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.tables import KIND_EOS, KIND_UNIT
from spokeneval.tokenizers.base import TokenizerInfo

torch.set_num_threads(1)

UNITS = TokenizerInfo(16_000, 640, (12,), deduplicated=True, causal=False)
SLAM = {"offset": 2, "bos": 1, "eos": 1}
N_IDS = 14  # <PAD>, <S>, twelve units


def inner_model(architecture, tied=True, **options):
    if architecture == "qwen2":
        options["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6}
    return random_model(
        architecture, N_IDS, tie_word_embeddings=tied, pad_token_id=0, bos_token_id=1, eos_token_id=1, **options
    )


def scored(lm, codes):
    sequence = lm.sequence(codes)
    return sequence, lm.logprobs([sequence])[0].logprob


def expected(inner, sequence):
    with torch.inference_mode():
        logits = inner.eval()(input_ids=torch.from_numpy(sequence.input_ids)[None]).logits[0].float()
    return torch.log_softmax(logits, -1)[sequence.index - 1, sequence.target].numpy()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("architecture", ["opt", "qwen2", "llama"])
def test_log_probabilities_are_those_of_the_inner_model(tmp_path, architecture, tied):
    inner = inner_model(architecture, tied)
    folder = slamkit_checkpoint(tmp_path / "slam", inner)
    names = set(load_file(folder / "model.safetensors"))
    assert all(name.startswith("lm.") for name in names)
    assert ("lm.lm_head.weight" in names) != tied
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "speech_language_model"
    assert config["base_config"]["model_type"] == architecture
    lm = CausalUnitLM(folder, UNITS, **SLAM)
    assert type(lm.model) is type(inner)
    for n in (1, 7, 20):
        sequence, values = scored(lm, random_codes(UNITS, n, n))
        assert sequence.input_ids[[0, -1]].tolist() == [1, 1]
        assert sequence.kind.tolist() == [KIND_UNIT] * n + [KIND_EOS]
        np.testing.assert_allclose(values, expected(inner, sequence), atol=1e-5)


def test_the_inner_config_of_older_transformers_is_understood(tmp_path):
    folder = slamkit_checkpoint(tmp_path / "slam", inner_model("qwen2"))
    sequence, values = scored(CausalUnitLM(folder, UNITS, **SLAM), random_codes(UNITS, 9, 0))
    config = json.loads((folder / "config.json").read_text())
    base = config["base_config"]
    base |= {"rope_theta": base.pop("rope_parameters")["rope_theta"], "rope_scaling": None, "torch_dtype": "bfloat16"}
    base |= {"_name_or_path": "Qwen/Qwen2.5-0.5B", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936}
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": "bfloat16"}))
    lm = CausalUnitLM(folder, UNITS, **SLAM)
    assert lm.model.dtype == torch.float32
    np.testing.assert_array_equal(lm.logprobs([sequence])[0].logprob, values)
    base["rope_theta"] = 10.0
    (folder / "config.json").write_text(json.dumps(config))
    other = CausalUnitLM(folder, UNITS, **SLAM).logprobs([sequence])[0].logprob
    assert np.abs(other - values).max() > 1e-3  # it is read, not left at its default


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_several_files_or_torchs_own_are_the_same(tmp_path, kind):
    whole = slamkit_checkpoint(tmp_path / "slam", inner_model("opt"))
    sequence, values = scored(CausalUnitLM(whole, UNITS, **SLAM), random_codes(UNITS, 9, 0))
    other = tmp_path / "other"
    if kind == "safetensors":
        slamkit_checkpoint(other, inner_model("opt"), max_shard_size="8KB")
        assert len(list(other.glob("*.safetensors"))) > 1
        assert (other / "model.safetensors.index.json").is_file()
        save_file({"lm.stray": torch.zeros(1)}, other / "stray.safetensors")  # not in the index
    else:
        other.mkdir()
        shutil.copy(whole / "config.json", other)
        torch.save(load_file(whole / "model.safetensors"), other / "pytorch_model.bin")
    np.testing.assert_array_equal(CausalUnitLM(other, UNITS, **SLAM).logprobs([sequence])[0].logprob, values)


def refused(match, folder):
    with pytest.raises(ConfigError, match=match) as caught:
        CausalUnitLM(folder, UNITS, **SLAM)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_wrapper_without_its_inner_config_is_refused(tmp_path):
    folder = slamkit_checkpoint(tmp_path / "slam", inner_model("opt"))
    config = json.loads((folder / "config.json").read_text())
    for base, match in (
        (None, "without `base_config` and its model_type"),
        ({"model_type": "no_such_model"}, "cannot be loaded.*no_such_model"),
        ({"model_type": "hubert"}, "base_config is a hubert; expected a causal language model"),
        ({**config["base_config"], "hidden_size": 32, "word_embed_proj_dim": 32}, "shapes"),
        ({**config["base_config"], "num_hidden_layers": 3}, "the weights lack 16 tensors of the opt"),
    ):
        (folder / "config.json").write_text(json.dumps(config | {"base_config": base}))
        refused(match, folder)


def tripwire():
    raise AssertionError("code of a checkpoint was run")


class Hostile:
    def __reduce__(self):
        return (tripwire, ())


def test_weights_that_are_damaged_or_of_another_kind_are_refused(tmp_path):
    folder = slamkit_checkpoint(tmp_path / "slam", inner_model("opt"))
    weights = load_file(folder / "model.safetensors")
    save_file({name.removeprefix("lm."): tensor for name, tensor in weights.items()}, folder / "model.safetensors")
    refused("the weights hold '.*'; expected names that begin with 'lm.'", folder)
    (folder / "model.safetensors").write_bytes(b"no tensors")
    refused("damaged or cut short", folder)
    (folder / "model.safetensors").unlink()
    refused("no \\*.safetensors and no pytorch_model", folder)
    torch.save({"lm.x": Hostile()}, folder / "pytorch_model.bin")
    refused("holds more than tensors and is not read|cannot be loaded", folder)
    sharded = slamkit_checkpoint(tmp_path / "sharded", inner_model("opt"), max_shard_size="8KB")
    next(sharded.glob("model-00002*")).unlink()
    refused("model.safetensors.index.json names model-00002.*which is not there", sharded)


def test_the_vocabulary_is_that_of_the_wrapper(tmp_path):
    folder = slamkit_checkpoint(tmp_path / "slam", inner_model("opt"))
    with pytest.raises(ConfigError, match="the model has 14 ids, but the tokenizer needs 502"):
        CausalUnitLM(folder, TokenizerInfo(16_000, 640, (500,), True, False), **SLAM)


def test_the_padding_id_of_the_inner_config_is_what_the_published_script_masks(tmp_path):
    lm = CausalUnitLM(slamkit_checkpoint(tmp_path / "slam", inner_model("opt")), UNITS, **SLAM, unscored="config_pad")
    assert lm.vocabulary.unscored == frozenset({0})
