"""Small random models of two levels (temporal and depth transformer), written as checkpoints, for their tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    CsmConfig,
    CsmForConditionalGeneration,
    MimiConfig,
    MoshiConfig,
    MoshiForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from spokeneval.tokenizers.base import Codes, TokenizerInfo

N_CODEBOOKS, N_CODES = 3, 8
CODEC = TokenizerInfo(1000, 100, (N_CODES,) * N_CODEBOOKS, deduplicated=False, causal=True)
"""Ten frames a second, three codebooks."""


def mimi_config(n_quantizers: int = N_CODEBOOKS + 1) -> dict:
    return MimiConfig(
        sampling_rate=1000, hidden_size=8, num_filters=2, upsampling_ratios=[5, 5, 2], codebook_size=N_CODES,
        codebook_dim=4, vector_quantization_hidden_dimension=4, num_quantizers=n_quantizers, num_semantic_quantizers=1,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, intermediate_size=8, upsample_groups=8,
        head_dim=4,
    ).to_dict()  # fmt: skip


def draw_codebooks(codec) -> None:
    """Random entries, where transformers has zeros, so that not all codes of the codec are 0."""
    with torch.no_grad():
        for name, buffer in codec.named_buffers():
            if name.endswith("embed_sum"):
                buffer.normal_()


def random_moshi(seed: int = 0, **options) -> MoshiForConditionalGeneration:
    torch.manual_seed(seed)
    depth = {
        "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24, "initializer_range": 0.5,
        "max_position_embeddings": N_CODEBOOKS + 1, "sliding_window": N_CODEBOOKS,
    }  # fmt: skip
    config = MoshiConfig(**{
        "vocab_size": 11, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 32,
        "max_position_embeddings": 64, "sliding_window": 64, "num_codebooks": N_CODEBOOKS, "initializer_range": 0.5,
        "audio_encoder_config": mimi_config(), "depth_decoder_config": depth, **options,
    })  # fmt: skip
    model = MoshiForConditionalGeneration(config).eval()
    draw_codebooks(model.audio_encoder)
    with torch.no_grad():
        for name, parameter in model.depth_decoder.named_parameters():
            if name.endswith("weight") and parameter.dim() == 3:
                parameter.mul_(0.4)  # flexible linears are drawn with a scale of 1
        for layer in model.decoder.model.layers:
            # So that what came before matters as much as the last step.
            layer.self_attn.o_proj.linear.weight.mul_(3)
    return model


def random_csm(seed: int = 0, **options) -> CsmForConditionalGeneration:
    torch.manual_seed(seed)
    wide = {
        "vocab_size": N_CODES + 3, "num_codebooks": N_CODEBOOKS, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 32, "initializer_range": 0.5,
    }  # fmt: skip
    config = CsmConfig(**{
        **wide, "hidden_size": 16, "text_vocab_size": 20, "max_position_embeddings": 64, "pad_token_id": 2,
        "bos_token_id": 0, "audio_token_id": 14, "audio_eos_token_id": 15, "codebook_pad_token_id": N_CODES + 2,
        "codec_config": mimi_config(N_CODEBOOKS),
        "depth_decoder_config": {
            **wide, "backbone_hidden_size": 16, "hidden_size": 12, "max_position_embeddings": N_CODEBOOKS + 1
        },
        **options,
    })  # fmt: skip
    model = CsmForConditionalGeneration(config).eval()
    draw_codebooks(model.codec_model)
    return model


def save_csm(model: CsmForConditionalGeneration, folder: Path) -> Path:
    """The checkpoint with a text tokenizer of single characters beside it."""
    model.save_pretrained(folder)
    names = ["<bos>", "<eos>", "<pad>", *"[]0123456789"]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    ).save_pretrained(folder)
    return folder


def clip(n_frames: int, seed: int) -> Codes:
    rng = np.random.default_rng(seed)
    return Codes(rng.integers(0, N_CODES, (n_frames, N_CODEBOOKS)).astype(np.int32), None)
