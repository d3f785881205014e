"""Codecs of transformers, small and random, with the frames of the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import EncodecConfig, EncodecModel, MimiConfig, MimiModel

N_CODES = 64
N_MIMI = 6
N_ENCODEC = 8


def clip(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.3 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def small_mimi(n_codes: int = N_CODES, n_codebooks: int = N_MIMI, **more: Any) -> MimiModel:
    """1,920 samples a frame."""
    torch.manual_seed(0)
    widths = {"hidden_size": 32, "num_filters": 4, "intermediate_size": 32, "upsample_groups": 32}
    codebooks = {"codebook_size": n_codes, "codebook_dim": 16, "vector_quantization_hidden_dimension": 16}
    attention = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    model = MimiModel(MimiConfig(num_quantizers=n_codebooks, **widths, **codebooks, **attention, **more)).eval()
    for name, values in model.named_buffers():
        if name.endswith("embed_sum"):
            values.copy_(torch.randn_like(values))
        elif name.endswith("cluster_usage"):
            values.fill_(1.0)
    for name, values in model.named_parameters():  # scales begin at 0.01: layers would hardly count
        if "layer_scale" in name:
            values.data.fill_(0.5)
    return model


def small_encodec(**more: Any) -> EncodecModel:
    """320 samples a frame, 8 codebooks of 64: 2, 4 and 8 of them at the three bandwidths."""
    torch.manual_seed(0)
    widths = {"hidden_size": 16, "num_filters": 4, "num_lstm_layers": 1}
    config = EncodecConfig(codebook_size=N_CODES, target_bandwidths=[0.9, 1.8, 3.6], **widths, **more)
    model = EncodecModel(config).eval()
    _spread(model)
    return model


@torch.inference_mode()
def _spread(model: EncodecModel) -> None:
    """Codebooks around what the encoder gives, so that clips have many codes and not the same one everywhere."""
    channels = model.config.audio_channels
    vectors = model.encoder(torch.from_numpy(clip(32_000))[None, None].repeat(1, channels, 1))[0].T
    centre, spread = vectors.mean(dim=0), vectors.std(dim=0)
    for q, layer in enumerate(model.quantizer.layers):
        noise = torch.randn_like(layer.codebook.embed) * spread * 0.7**q
        layer.codebook.embed.copy_(noise + centre if q == 0 else noise)


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder
