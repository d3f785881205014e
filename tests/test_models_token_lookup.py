"""Codes that are tokens of a text tokenizer: looked up by name, fed as the tokenizer really encodes them."""

import importlib.util

import numpy as np
import pytest
import torch
from text_tokenizers import WORDS, sentencepiece_like, with_codes
from tiny_models import random_codes, random_model, save
from transformers import AutoTokenizer

from spokeneval.errors import ConfigError
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.conventions import find_convention
from spokeneval.tables import KIND_EOS, KIND_MARK, KIND_UNIT
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokenizers.streams import merge_streams

torch.set_num_threads(1)

CODEC = TokenizerInfo(24_000, 1920, (6, 6, 6), deduplicated=False, causal=True)
UNITS = TokenizerInfo(16_000, 640, (8,), deduplicated=True, causal=False)
EXPRESSIVE = TokenizerInfo(
    16_000, 640, (8, 4, 3), deduplicated=True, causal=False, asynchronous=True,
    codebook_names=("hubert", "pitch", "style"),
)  # fmt: skip

CODEC_NAMES = [*(f"<{code}_{q}>" for code in range(6) for q in range(3)), "<audio>", "</audio>"]
UNIT_NAMES = [*(f"<Un{code}>" for code in range(8)), "<speech>", "<text>"]
SPIRIT_NAMES = ["[Text]", "[Speech]", *(f"[Hu{i}]" for i in range(8)), *(f"[Pi{i}]" for i in range(4)),
                *(f"[St{i}]" for i in range(3))]  # fmt: skip


def checkpoint(folder, architecture="llama", n_spare=3, **options):
    """A model beside the tokenizer that the folder holds, with some ids more than tokens, as published ones have."""
    n_ids = len(AutoTokenizer.from_pretrained(folder)) + n_spare
    return save(random_model(architecture, n_ids, n_positions=128, **options), folder)


def load(folder, info, convention, **more):
    return CausalUnitLM(folder, info, **{"offset": None, "bos": None, **find_convention(convention).sequence, **more})


def encoded(folder, string):
    return AutoTokenizer.from_pretrained(folder)(string)["input_ids"]


def plain_log_probs(lm, ids):
    """(n, n_ids) float64 log-probabilities after each of the ids, computed without padding or chunks."""
    with torch.inference_mode():
        return torch.log_softmax(lm.model(input_ids=torch.tensor([ids])).logits[0].double(), -1).numpy()


def check_scores(lm, codes, string, folder):
    """Fed is what the tokenizer makes of the string; scored is all of it but the first id, at full softmax."""
    sequence = lm.sequence(codes)
    ids = encoded(folder, string)
    assert sequence.input_ids.tolist() == ids
    assert sequence.index.tolist() == list(range(1, len(ids)))
    scored = lm.logprobs([sequence])[0]
    np.testing.assert_allclose(scored.logprob, plain_log_probs(lm, ids)[range(len(ids) - 1), ids[1:]], atol=1e-5)
    assert (scored.legal >= scored.logprob).all()
    return sequence, scored


# ------------------------------------------------------------ Llama-Mimi


def mimi_string(codes):
    frames = "".join(f"<{code}_{q}>" for frame in codes.codes for q, code in enumerate(frame))
    return f"<audio>{frames}</audio>"


def test_llama_mimi_is_fed_and_scored_as_its_tokenizer_encodes_the_string(tmp_path):
    folder = checkpoint(with_codes(tmp_path, CODEC_NAMES), num_quantizers=3)
    lm = load(folder, CODEC, "llama-mimi")
    codes = random_codes(CODEC, 7, 0)
    sequence, _ = check_scores(lm, codes, mimi_string(codes), folder)
    assert sequence.input_ids[0] == WORDS["<s>"]
    assert sequence.kind.tolist() == [KIND_MARK, *[KIND_UNIT] * 21, KIND_EOS]
    assert sequence.codebook.tolist() == [-1, *[0, 1, 2] * 7, -1]
    assert sequence.frame.tolist() == [-1, *np.repeat(range(7), 3), -1]


def test_a_codec_of_another_number_of_codebooks_is_refused(tmp_path):
    folder = checkpoint(with_codes(tmp_path, CODEC_NAMES), num_quantizers=3)
    two = TokenizerInfo(24_000, 1920, (6, 6), False, True)
    with pytest.raises(
        ConfigError, match=r"num_quantizers 3, but the tokenizer gives 2 codebooks; set `n_codebooks: 3`"
    ):
        load(folder, two, "llama-mimi")
    four = TokenizerInfo(24_000, 1920, (6, 6, 6, 6), False, True)
    with pytest.raises(ConfigError, match=r"lacks 6 of 6 tokens of codes, e.g. '<0_3>'"):
        load(folder, four, "llama-mimi")


def test_continuations_are_codes_of_the_codebook_that_is_due(tmp_path):
    folder = checkpoint(with_codes(tmp_path, CODEC_NAMES), num_quantizers=3)
    lm = load(folder, CODEC, "llama-mimi")
    new = lm.continue_([Prompt("clip", random_codes(CODEC, 4, 0))], 5, Decoding(), 0)[0]
    assert new.codes.shape == (5, 3)
    assert set(new.codes.reshape(-1).tolist()) <= set(range(6))


# ------------------------------------------------------------ SIMS


@pytest.mark.parametrize("bos", [True, False], ids=["with BOS", "without BOS"])
@pytest.mark.parametrize("architecture", ["qwen2", "opt"])
def test_sims_is_scored_with_the_bos_that_its_tokenizer_has_or_without(tmp_path, bos, architecture):
    folder = checkpoint(with_codes(tmp_path, UNIT_NAMES, bos=bos), architecture)
    lm = load(folder, UNITS, "sims")
    codes = random_codes(UNITS, 9, 0)
    sequence, _ = check_scores(lm, codes, "".join(f"<Un{unit}>" for unit in codes.codes[:, 0]), folder)
    assert sequence.kind.tolist() == [KIND_UNIT] * (9 if bos else 8)
    assert sequence.frame[0] == (0 if bos else codes.durations[0])


# ------------------------------------------------------------ SpiritLM


@pytest.mark.parametrize("added", [True, False], ids=["added tokens", "pieces"])
def test_spiritlm_is_fed_what_its_tokenizer_yields_a_stray_boundary_included(tmp_path, added):
    folder = checkpoint(sentencepiece_like(tmp_path, SPIRIT_NAMES, added))
    lm = load(folder, UNITS, "spiritlm-base")
    codes = random_codes(UNITS, 9, 0)
    string = "[Speech]" + "".join(f"[Hu{unit}]" for unit in codes.codes[:, 0])
    sequence, _ = check_scores(lm, codes, string, folder)
    tokens = AutoTokenizer.from_pretrained(folder).convert_ids_to_tokens(list(lm.vocabulary.prefix))
    assert tokens == (["<s>", "[Speech]"] if added else ["<s>", "▁", "[Speech]"])
    n_marks = 1 if added else 2
    assert sequence.kind.tolist() == [KIND_MARK] * n_marks + [KIND_UNIT] * 9


def streams():
    hubert = Codes(np.array([[5], [2], [7], [2]], np.int32), np.array([2, 1, 20, 7], np.int32))
    pitch = Codes(np.array([[3], [1]], np.int32), np.array([22, 8], np.int32))
    style = Codes(np.array([[2], [2]], np.int32), np.array([25, 5], np.int32))
    return merge_streams([hubert, pitch, style], order=(2, 1, 0))


STREAM_STRING = "[Speech][St2][Pi3][Hu5][Hu2][Hu7][Pi1][Hu2][St2]"
"""Ties (frame 0) in the order style, pitch, units; the fourth unit begins at frame 23, the second style at 25."""


def test_spiritlm_expressive_reads_its_three_streams_as_one_string(tmp_path):
    folder = checkpoint(sentencepiece_like(tmp_path, SPIRIT_NAMES, added=True))
    lm = load(folder, EXPRESSIVE, "spiritlm-expressive")
    sequence, _ = check_scores(lm, streams(), STREAM_STRING, folder)
    assert sequence.codebook.tolist() == [-1, 2, 1, 0, 0, 0, 1, 0, 2]
    assert sequence.frame.tolist() == [-1, 0, 0, 0, 2, 3, 22, 23, 25]
    assert sequence.n_frames.tolist() == [0, 25, 22, 2, 1, 20, 8, 7, 5]
    kept = lm.kept(streams(), 24)
    assert kept.input_ids.tolist() == encoded(folder, "[Speech][St2][Pi1][Hu2][St2]")
    assert kept.frame.tolist() == [-1, 0, 22, 23, 25]  # the style of the first second lasts across the cut


def test_of_asynchronous_codes_every_code_of_every_stream_is_legal(tmp_path):
    folder = checkpoint(sentencepiece_like(tmp_path, SPIRIT_NAMES, added=True))
    lm = load(folder, EXPRESSIVE, "spiritlm-expressive")
    sequence = lm.sequence(streams())
    scored = lm.logprobs([sequence])[0]
    ids = encoded(folder, STREAM_STRING)
    names = [name for name in SPIRIT_NAMES if name not in ("[Text]", "[Speech]")]
    codes = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(names)
    p = np.exp(plain_log_probs(lm, ids))
    by_hand = [np.log(p[i - 1, ids[i]] / sum(p[i - 1, code] for code in codes)) for i in range(2, len(ids))]
    by_hand.insert(0, 0.0)  # [Speech] has no alternative
    np.testing.assert_allclose(scored.legal, by_hand, atol=1e-5)
    with pytest.raises(ConfigError, match="codebooks of different rates cannot be continued yet"):
        lm.continue_([Prompt("clip", streams())], 5, Decoding(), 0)


# ------------------------------------------------------------ what cannot be used


def refused(match, folder, info, **sequence):
    with pytest.raises(ConfigError, match=match) as caught:
        CausalUnitLM(folder, info, **{"offset": None, "bos": None, **sequence})
    assert "\n" not in str(caught.value)


def test_names_that_are_not_there_and_strings_that_cannot_be_are_refused(tmp_path):
    folder = checkpoint(with_codes(tmp_path, UNIT_NAMES))
    ten = TokenizerInfo(16_000, 640, (10,), True, False)
    refused("lacks 2 of 10 tokens of codes, e.g. '<Un8>'", folder, ten, codes="<Un{code}>")
    refused("sequence.text is 'a'; expected a string with one {codes}", folder, UNITS, codes="<Un{code}>", text="a")
    refused("1 templates, but the tokenizer of the audio has 3 codebooks", folder, CODEC, codes=["<Un{code}>"])
    refused("`sequence` needs an `offset`, or `codes`", folder, UNITS)
    refused("stands for two codes", folder, TokenizerInfo(16_000, 640, (8, 8), False, False), codes="<Un{code}>")


def test_tokens_that_are_not_found_side_by_side_are_refused(tmp_path):
    names = dict.fromkeys(["<", "U", "n", "0", "7", ">"])
    words = WORDS | {name: len(WORDS) + i for i, name in enumerate([*names, *UNIT_NAMES])}
    folder = checkpoint(with_codes(tmp_path, [], words))  # known words, but the text is split into letters before
    refused(r"encodes '<Un0><Un7>' as \[.*not to be found side by side", folder, UNITS, codes="<Un{code}>")


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_a_checkpoint_without_a_text_tokenizer_is_refused(tmp_path, architecture):
    save(random_model(architecture, 30), tmp_path)
    refused(
        rf"{tmp_path}: holds no tokenizer.json: .*`sequence.codes`, e.g. `convention: llama-mimi`",
        tmp_path,
        UNITS,
        codes="<Un{code}>",
    )


def test_a_text_tokenizer_that_cannot_be_loaded_is_refused(tmp_path):
    save(random_model("llama", 30), tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    refused("no tokenizer can be loaded from there .*expected tokenizer.json", tmp_path, UNITS, codes="<Un{code}>")


def test_a_sentencepiece_model_names_the_package_that_reads_it(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.model").write_bytes(b"a sentencepiece model")
    save(random_model("llama", 30), tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "sentencepiece" else found(name, *a)
    )
    refused(
        r"tokenizer.model needs the package sentencepiece.*pip install sentencepiece",
        tmp_path,
        UNITS,
        codes="<Un{code}>",
    )


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path):
    folder = checkpoint(with_codes(tmp_path, UNIT_NAMES), n_spare=-4)
    refused("the model has 12 ids, but the tokenizer needs 14", folder, UNITS, codes="<Un{code}>")


# ------------------------------------------------------------ what published scripts mask


@pytest.mark.parametrize(("pad", "masked"), [(None, "</s>"), ("<unk>", "<unk>")])
def test_the_tokenizers_padding_is_its_eos_where_it_has_none(tmp_path, pad, masked):
    folder = checkpoint(with_codes(tmp_path, CODEC_NAMES, pad=pad))
    lm = load(folder, CODEC, "llama-mimi", unscored="tokenizer_pad")
    assert lm.vocabulary.unscored == frozenset({WORDS[masked]})
    assert load(folder, CODEC, "llama-mimi").vocabulary.unscored == frozenset()
