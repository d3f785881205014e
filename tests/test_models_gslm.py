"""GSLM's checkpoints: fairseq's layout, dictionary and network, without fairseq and without running a pickle."""

import argparse
import math
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import random_codes

from spokeneval.config.blocks.models import GSLMBlock
from spokeneval.errors import ConfigError, ItemError
from spokeneval.factory import make_model
from spokeneval.models.base import Decoding, Prompt
from spokeneval.models.gslm import GSLM, read_dictionary
from spokeneval.tables import KIND_EOS, KIND_UNIT
from spokeneval.tokenizers.base import Codes, TokenizerInfo

torch.set_num_threads(1)

UNITS = TokenizerInfo(16_000, 320, (12,), deduplicated=True, causal=False)
SHUFFLED = [7, 3, 11, 0, 5, 9, 1, 10, 2, 8, 4, 6]
"""Units in the order of dict.txt: by frequency, not by number."""
WIDTH, HEADS, LAYERS, INNER = 16, 2, 2, 24

SETTINGS = {
    "arch": "transformer_lm_big", "activation_fn": "relu", "decoder_embed_dim": WIDTH, "decoder_input_dim": WIDTH,
    "decoder_output_dim": WIDTH, "decoder_ffn_embed_dim": INNER, "decoder_layers": LAYERS,
    "decoder_attention_heads": HEADS, "decoder_normalize_before": True, "no_decoder_final_norm": False,
    "decoder_learned_pos": False, "no_token_positional_embeddings": False, "share_decoder_input_output_embed": True,
    "adaptive_input": False, "adaptive_softmax_cutoff": None, "add_bos_token": False, "tokens_per_sample": 40,
    "max_target_positions": None, "dropout": 0.1, "sample_break_mode": "eos", "data": "/somewhere",
}  # fmt: skip


def tensors(n_symbols, shared=True, seed=0):
    """Random weights under fairseq's names, in its order; norms differ from one so that none may be left out."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape, around=0.0, spread=0.4):
        return around + spread * torch.randn(*shape, generator=generator)

    found = OrderedDict()
    found["decoder.version"] = torch.tensor([3.0])
    found["decoder.embed_tokens.weight"] = random(n_symbols, WIDTH)
    found["decoder.embed_positions._float_tensor"] = torch.tensor([0.0])
    for i in range(LAYERS):
        layer = f"decoder.layers.{i}."
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            found[f"{layer}self_attn.{name}.weight"] = random(WIDTH, WIDTH)
            found[f"{layer}self_attn.{name}.bias"] = random(WIDTH)
        for name, shape in (("fc1", (INNER, WIDTH)), ("fc2", (WIDTH, INNER))):
            found[f"{layer}{name}.weight"], found[f"{layer}{name}.bias"] = random(*shape), random(shape[0])
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            found[f"{layer}{name}.weight"], found[f"{layer}{name}.bias"] = random(WIDTH, around=1.0), random(WIDTH)
    found["decoder.layer_norm.weight"], found["decoder.layer_norm.bias"] = random(WIDTH, around=1.0), random(WIDTH)
    shared_weight = found["decoder.embed_tokens.weight"]
    found["decoder.output_projection.weight"] = shared_weight if shared else random(n_symbols, WIDTH)
    return found


def write(folder, settings=None, order=SHUFFLED, model=None, **changed):
    folder.mkdir(exist_ok=True)
    settings = {**SETTINGS, **(settings or {})}
    filler = ["madeupword0000 0", "madeupword0001 0"]  # fairseq fills a dictionary up to a multiple of eight
    (folder / "dict.txt").write_text("".join(f"{unit} {1000 - i}\n" for i, unit in enumerate(order)))
    with (folder / "dict.txt").open("a") as file:
        file.write("\n".join(filler) + "\n")
    model = (
        tensors(4 + len(order) + len(filler), settings["share_decoder_input_output_embed"]) if model is None else model
    )
    checkpoint = {
        "args": argparse.Namespace(**settings), "model": model, "optimizer_history": [{"num_updates": 3}],
        "extra_state": {"epoch": 1, "val_loss": 2.5}, "last_optimizer_state": {"state": {0: torch.zeros(2)}},
    }  # fmt: skip
    torch.save({**checkpoint, **changed}, folder / "checkpoint_best.pt")
    return folder


def fairseq_log_probs(model, source, settings):
    """What fairseq's decoder gives for (n,) source ids: (n, n_symbols) float64, one position at a time with a cache."""
    weight = {name: tensor.double() for name, tensor in model.items()}

    def norm(x, name):
        centred = x - x.mean()
        return (
            centred / math.sqrt(float((centred**2).mean()) + 1e-5) * weight[f"{name}.weight"] + weight[f"{name}.bias"]
        )

    def linear(x, name):
        return weight[f"{name}.weight"] @ x + weight[f"{name}.bias"]

    half, size = WIDTH // 2, WIDTH // HEADS
    keys = [[] for _ in range(LAYERS)]
    values = [[] for _ in range(LAYERS)]
    rows = []
    for place, symbol in enumerate(source):
        rates = [math.exp(-j * math.log(10000) / (half - 1)) for j in range(half)]
        position = place + 2  # padding index 1, and positions begin after it
        sinusoid = [math.sin(position * r) for r in rates] + [math.cos(position * r) for r in rates]
        scale = 1.0 if settings.get("no_scale_embedding") else math.sqrt(WIDTH)
        x = scale * weight["decoder.embed_tokens.weight"][symbol] + torch.tensor(sinusoid, dtype=torch.float64)
        for i in range(LAYERS):
            layer = f"decoder.layers.{i}."
            h = norm(x, f"{layer}self_attn_layer_norm")
            query = linear(h, f"{layer}self_attn.q_proj") / math.sqrt(size)
            keys[i].append(linear(h, f"{layer}self_attn.k_proj"))
            values[i].append(linear(h, f"{layer}self_attn.v_proj"))
            heads = []
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                scores = torch.stack([query[part] @ key[part] for key in keys[i]])
                weights = torch.softmax(scores, 0)
                heads.append(sum(w * value[part] for w, value in zip(weights, values[i], strict=True)))
            x = x + linear(torch.cat(heads), f"{layer}self_attn.out_proj")
            h = linear(norm(x, f"{layer}final_layer_norm"), f"{layer}fc1")
            if settings["activation_fn"] == "relu":
                h = torch.clamp(h, min=0)
            else:
                h = h * (1 + torch.erf(h / math.sqrt(2))) / 2
            x = x + linear(h, f"{layer}fc2")
        logits = weight["decoder.output_projection.weight"] @ norm(x, "decoder.layer_norm")
        rows.append(torch.log_softmax(logits, 0))
    return torch.stack(rows)


def expected_scores(folder, codes, settings):
    """log p of u1 .. uN </s> after </s>, with ids read off dict.txt."""
    symbols = ["<s>", "<pad>", "</s>", "<unk>"]
    symbols += [line.split(" ")[0] for line in (folder / "dict.txt").read_text().splitlines()]
    target = [symbols.index(str(unit)) for unit in codes.codes[:, 0]] + [2]
    model = torch.load(folder / "checkpoint_best.pt", weights_only=False)["model"]
    rows = fairseq_log_probs(model, [2, *target[:-1]], settings)
    return target, rows[range(len(target)), target].numpy(), rows


# ------------------------------------------------------------ the same network


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"activation_fn": "gelu"},
        {"share_decoder_input_output_embed": False},
        {"no_scale_embedding": True},
        {"decoder_normalize_before": False},  # fairseq sets it to True for this model
    ],
    ids=str,
)
def test_log_probabilities_are_those_of_fairseqs_decoder(tmp_path, changed):
    folder = write(tmp_path / "lm", changed)
    lm = GSLM(folder, UNITS)
    for seed, n in ((0, 1), (1, 5), (2, 30)):
        codes = random_codes(UNITS, n, seed)
        sequence = lm.sequence(codes)
        target, expected, _ = expected_scores(folder, codes, {**SETTINGS, **changed})
        assert sequence.input_ids.tolist() == [2, *target]
        assert sequence.kind.tolist() == [KIND_UNIT] * n + [KIND_EOS]
        np.testing.assert_allclose(lm.logprobs([sequence])[0].logprob, expected, atol=1e-5)


def test_legal_ids_are_the_units_and_at_the_end_also_eos(tmp_path):
    folder = write(tmp_path / "lm")
    lm = GSLM(folder, UNITS)
    codes = random_codes(UNITS, 6, 0)
    target, _, rows = expected_scores(folder, codes, SETTINGS)
    units = list(range(4, 16))
    allowed = [units] * 6 + [[2, *units]]
    legal = [rows[i, t] - rows[i, ids].logsumexp(0) for i, (t, ids) in enumerate(zip(target, allowed, strict=True))]
    np.testing.assert_allclose(lm.logprobs([lm.sequence(codes)])[0].legal, torch.stack(legal).numpy(), atol=1e-5)


def test_the_newer_layout_of_settings_is_the_same_model(tmp_path):
    old = write(tmp_path / "old")
    model = {**SETTINGS, "_name": "transformer_lm", "tokens_per_sample": 40}
    task = {"_name": "language_modeling", "tokens_per_sample": 40, "add_bos_token": False}
    cfg = {"model": model, "task": task, "common": {"fp16": True}}
    new = write(tmp_path / "new", args=None, cfg=cfg)
    mixed = write(tmp_path / "mixed", args=None, cfg={**cfg, "model": argparse.Namespace(**model)})
    sequence = GSLM(old, UNITS).sequence(random_codes(UNITS, 9, 0))
    scores = [GSLM(folder, UNITS).logprobs([sequence])[0].logprob for folder in (old, new, mixed)]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_weights_in_half_precision_are_scored_in_float32(tmp_path):
    model = OrderedDict((name, tensor.half()) for name, tensor in tensors(18).items())
    folder = write(tmp_path / "lm", model=model)
    codes = random_codes(UNITS, 9, 0)
    _, expected, _ = expected_scores(folder, codes, SETTINGS)
    lm = GSLM(folder, UNITS)
    assert lm.model.dtype == torch.float32
    np.testing.assert_allclose(lm.logprobs([lm.sequence(codes)])[0].logprob, expected, atol=1e-5)


def test_batches_and_continuations_do_not_depend_on_the_batch(tmp_path):
    lm = GSLM(write(tmp_path / "lm"), UNITS)
    batch = [lm.sequence(random_codes(UNITS, n, n)) for n in (3, 20, 1)]
    for one, sequence in zip(lm.logprobs(batch), batch, strict=True):
        np.testing.assert_allclose(one.logprob, lm.logprobs([sequence])[0].logprob, atol=1e-4)
    prompts = [Prompt(f"clip{n}", random_codes(UNITS, n, n)) for n in (2, 7, 4)]
    together = lm.continue_(prompts, 12, Decoding(seed=1), 0)
    alone = [lm.continue_([prompt], 12, Decoding(seed=1), 0)[0] for prompt in prompts]
    assert [c.codes.tolist() for c in together] == [c.codes.tolist() for c in alone]
    assert all(set(c.codes[:, 0].tolist()) <= set(range(12)) for c in together)
    # Greedy: each new unit is the likeliest legal one after all before it.
    new = lm.continue_([prompts[1]], 12, Decoding(greedy=True), 0)[0].codes[:, 0].tolist()
    units = prompts[1].codes.codes[:, 0].tolist()
    for unit in new:
        logits = lm.model(input_ids=torch.tensor([[2, *lm.vocabulary.tables[0][units]]])).logits[0, -1]
        assert int(logits[torch.from_numpy(lm.vocabulary.tables[0])].argmax()) == unit
        units.append(unit)


def test_the_block_of_the_configuration_builds_it_and_its_context_is_the_checkpoints(tmp_path):
    folder = write(tmp_path / "lm")

    def built(**more):
        block = GSLMBlock(kind="gslm", path=str(folder), tokenizer="units", **more)
        return make_model(SimpleNamespace(models={"gslm": block}), "gslm", UNITS)

    assert built().max_context == SETTINGS["tokens_per_sample"]
    codes = random_codes(UNITS, 30, 0)
    with pytest.raises(ItemError, match="32 ids, but the context has room for 20"):
        built(max_context=20).sequence(codes)
    assert built(max_context=20, truncate="left").sequence(codes).n_dropped_frames == codes.durations[:12].sum()
    assert built(dtype="bfloat16").model.dtype == torch.bfloat16


# ------------------------------------------------------------ the dictionary


def test_ids_come_from_the_order_of_the_dictionary(tmp_path):
    codes = Codes(np.array([[7], [3], [0]], np.int32), np.ones(3, np.int32))
    shuffled, sorted_ = GSLM(write(tmp_path / "a"), UNITS), GSLM(write(tmp_path / "b", order=range(12)), UNITS)
    assert shuffled.sequence(codes).input_ids.tolist() == [2, 4, 5, 7, 2]
    assert sorted_.sequence(codes).input_ids.tolist() == [2, 11, 7, 4, 2]
    scores = [lm.logprobs([lm.sequence(codes)])[0].logprob for lm in (shuffled, sorted_)]
    assert np.abs(scores[0] - scores[1]).max() > 0.1


def test_a_dictionary_that_does_not_fit_is_refused(tmp_path):
    folder = write(tmp_path / "lm")
    with pytest.raises(ConfigError, match=r"dict.txt lacks 3 of the tokenizer's 15 units, e.g. '12'"):
        GSLM(folder, TokenizerInfo(16_000, 320, (15,), True, False))
    with pytest.raises(ConfigError, match="one codebook, but the tokenizer gives 2"):
        GSLM(folder, TokenizerInfo(16_000, 320, (4, 4), False, False))
    lines = (folder / "dict.txt").read_text().splitlines()
    (folder / "dict.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(ConfigError, match=r"the model has 18 symbols, but dict.txt gives 17"):
        GSLM(folder, UNITS)
    (folder / "dict.txt").write_text("7 3\n7 2\n")
    with pytest.raises(ConfigError, match="line 2: the symbol '7' occurs twice"):
        GSLM(folder, UNITS)
    (folder / "dict.txt").write_text("7 3\n5\n")
    with pytest.raises(ConfigError, match="line 2: '5'; expected a symbol and its count"):
        GSLM(folder, UNITS)
    (folder / "dict.txt").unlink()
    with pytest.raises(ConfigError, match=r"dict.txt: cannot be read"):
        GSLM(folder, UNITS)


def test_a_dictionary_holds_the_special_symbols_first(tmp_path):
    (tmp_path / "dict.txt").write_text("41 90\n3 7\n")
    assert read_dictionary(tmp_path / "dict.txt") == {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "41": 4, "3": 5}


# ------------------------------------------------------------ what cannot be used


def refused(match, folder):
    with pytest.raises(ConfigError, match=match) as caught:
        GSLM(folder, UNITS)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"decoder_learned_pos": True}, "decoder_learned_pos: True"),
        ({"no_decoder_final_norm": True}, "no_decoder_final_norm"),
        ({"no_tie_adaptive_proj": True}, "no layer norm after the last layer"),
        ({"adaptive_softmax_cutoff": "20000,60000"}, "adaptive_softmax_cutoff"),
        ({"adaptive_input": True}, "adaptive_input"),
        ({"no_token_positional_embeddings": True}, "no_token_positional_embeddings"),
        ({"layernorm_embedding": True}, "layernorm_embedding"),
        ({"add_bos_token": True}, "add_bos_token"),
        ({"decoder_input_dim": 8}, "decoder_input_dim: 8 where decoder_embed_dim is 16"),
        ({"activation_fn": "gelu_accurate"}, "activation_fn: gelu_accurate"),
        ({"arch": "transformer_ulm_big"}, "'transformer_ulm_big' of fairseq; expected a transformer_lm"),
        ({"decoder_layers": 3}, "has 2 layers, but its settings say decoder_layers: 3"),
        ({"decoder_ffn_embed_dim": 32}, "the weights do not have the shapes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_makes_another_network_is_refused(tmp_path, changed, match):
    refused(match, write(tmp_path / "lm", changed))


def test_tensors_of_another_network_are_refused(tmp_path):
    whole = tensors(18)
    more = OrderedDict(whole, **{"decoder.quant_noise.weight": torch.ones(16, 16)})
    refused("has the tensors model.quant_noise.weight", write(tmp_path / "a", model=more))
    old = OrderedDict(whole, **{"decoder.version": torch.tensor([2.0])})
    refused("decoder.version below 3", write(tmp_path / "b", model=old))
    less = OrderedDict(whole)
    del less["decoder.layers.1.fc1.bias"]
    refused("the weights lack 1 tensors of the transformer_lm.*layers.1.fc1.bias", write(tmp_path / "c", model=less))
    other = OrderedDict(whole, **{"decoder.output_projection.weight": torch.ones(18, WIDTH)})
    refused("an output projection of its own", write(tmp_path / "d", model=other))
    refused("no `model` with decoder.embed_tokens.weight", write(tmp_path / "e", model=OrderedDict()))
    refused("no settings in `args` or `cfg`", write(tmp_path / "f", args=None))


def tripwire():
    raise AssertionError("code of a checkpoint was run")


class Hostile:
    """What a pickle from a stranger may hold: a call that is made while it is read."""

    def __reduce__(self):
        return (tripwire, ())


class Odd:
    """An object of a class that is not data."""


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path):
    match = r"holds test_models_gslm.tripwire beside tensors, plain data and argparse.Namespace, and is not read"
    folders = [write(tmp_path / "a", criterion=Hostile()), write(tmp_path / "b", {"user_dir": Hostile()})]
    for folder in folders:
        with pytest.raises(AssertionError, match="code of a checkpoint was run"):
            torch.load(folder / "checkpoint_best.pt", weights_only=False)
        refused(match, folder)
    refused(r"holds test_models_gslm.Odd beside", write(tmp_path / "c", cfg=Odd()))


def test_a_file_that_is_none_is_refused(tmp_path):
    folder = write(tmp_path / "lm")
    whole = (folder / "checkpoint_best.pt").read_bytes()
    (folder / "checkpoint_best.pt").write_bytes(whole[: len(whole) // 2])
    refused("checkpoint_best.pt: damaged, cut short or", folder)
    (folder / "checkpoint_best.pt").write_bytes(b"")
    refused("checkpoint_best.pt: damaged, cut short or", folder)
    (folder / "checkpoint_best.pt").write_bytes(b"no checkpoint at all")
    refused("checkpoint_best.pt: damaged, cut short or no checkpoint of torch", folder)
    torch.save([1, 2], folder / "checkpoint_best.pt")
    refused("holds a list; expected the dict", folder)
    (folder / "checkpoint_best.pt").unlink()
    refused("checkpoint_best.pt: no such file", folder)


def test_the_oldest_file_format_of_torch_is_read(tmp_path):
    folder = write(tmp_path / "lm")
    sequence = GSLM(folder, UNITS).sequence(random_codes(UNITS, 9, 0))
    before = GSLM(folder, UNITS).logprobs([sequence])[0].logprob
    checkpoint = torch.load(folder / "checkpoint_best.pt", weights_only=False)
    torch.save(checkpoint, folder / "checkpoint_best.pt", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(before, GSLM(folder, UNITS).logprobs([sequence])[0].logprob)
