"""Small random and hand-made causal LMs, written as checkpoints, for the tests of models and stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from spokeneval.tokenizers.base import Codes, TokenizerInfo

ARCHITECTURES = ("gpt2", "llama", "opt", "qwen2")

CODEBOOKS = TokenizerInfo(1000, 100, (7, 5), deduplicated=False, causal=True)
"""Ten frames a second, two codebooks."""
UNITS = TokenizerInfo(1000, 100, (12,), deduplicated=True, causal=False)
"""Ten frames a second, one codebook, de-duplicated."""


def random_model(architecture: str, n_ids: int = 13, n_positions: int = 64, seed: int = 0, **options):
    """A model of random weights, large enough in scale that its predictions differ."""
    torch.manual_seed(seed)
    width = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.6}
    wide = {**width, "intermediate_size": 32, "max_position_embeddings": n_positions, "vocab_size": n_ids}
    if architecture == "gpt2":
        config = GPT2Config(
            vocab_size=n_ids, n_positions=n_positions, n_embd=16, n_layer=2, n_head=2, initializer_range=0.6, **options
        )
        return GPT2LMHeadModel(config)
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**wide, num_key_value_heads=1, **options))
    if architecture == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**wide, num_key_value_heads=2, **options))
    config = OPTConfig(
        vocab_size=n_ids, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=n_positions, word_embed_proj_dim=16, init_std=0.6, **options,
    )  # fmt: skip
    return OPTForCausalLM(config)


def save(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def bigram_model(probabilities: list[float], n_positions: int = 64) -> GPT2LMHeadModel:
    """A GPT-2 whose next id is the last one plus k (modulo the vocabulary) with probability `probabilities[k]`."""
    n = len(probabilities)
    config = GPT2Config(vocab_size=n, n_positions=n_positions, n_embd=n, n_layer=1, n_head=1, tie_word_embeddings=False)
    model = GPT2LMHeadModel(config)
    log = np.log(np.array(probabilities))
    # The final layer norm turns the one-hot of x into a * e_x - b; rows of equal sum make b the same for every id.
    scale = 1 / np.sqrt((1 / n) * (1 - 1 / n) + config.layer_norm_epsilon)
    table = np.array([[log[(y - x) % n] for x in range(n)] for y in range(n)]) / scale
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.transformer.wte.weight.copy_(torch.eye(n))
        model.transformer.ln_f.weight.fill_(1.0)
        model.lm_head.weight.copy_(torch.from_numpy(table))
    return model


def random_codes(info: TokenizerInfo, n_frames: int, seed: int) -> Codes:
    rng = np.random.default_rng(seed)
    if info.deduplicated:
        steps = rng.integers(1, info.codebook_sizes[0], n_frames)
        units = (np.cumsum(steps) % info.codebook_sizes[0]).astype(np.int32)[:, None]
        return Codes(units, rng.integers(1, 5, n_frames).astype(np.int32))
    columns = [rng.integers(0, size, n_frames) for size in info.codebook_sizes]
    return Codes(np.stack(columns, 1).astype(np.int32), None)
