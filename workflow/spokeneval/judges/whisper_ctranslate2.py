"""An English-only Whisper model from CTranslate2's format, as the model of transformers.

The folder holds model.bin (named arrays and nothing that is code), config.json (the ids that are never written) and
tokenizer.json. Weights are brought to float32; quantised ones (int8, int16) are refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import WhisperConfig, WhisperForConditionalGeneration

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.ctranslate2 import read_arrays

MODEL_FILE = "model.bin"
ENGLISH_VOCABULARY = 51_864
"""Rows of the embedding of every English-only Whisper; multilingual ones have more."""
_START, _END, _NO_TIMESTAMPS = "<|startoftranscript|>", "<|endoftext|>", "<|notimestamps|>"

Arrays = dict[str, NDArray[np.generic]]
State = dict[str, torch.Tensor]


def load_ctranslate2(folder: Path) -> tuple[Any, Tokenizer]:
    """(WhisperForConditionalGeneration, tokenizer). Raises ConfigError where the folder is not such a model."""
    settings = _settings(folder)
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises plain Exceptions
        raise ConfigError(f"{folder / 'tokenizer.json'}: is not a tokenizer ({error})") from error
    arrays = read_arrays(folder / MODEL_FILE)
    try:
        config = _config(arrays, tokenizer, folder)
        state = _state(arrays, config)
    except KeyError as error:
        raise ConfigError(f"{folder / MODEL_FILE}: has no {error}; expected a float16 or float32 Whisper") from error
    model = WhisperForConditionalGeneration(config)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = (str(error).splitlines() or [""])[-1].strip()
        raise ConfigError(f"{folder / MODEL_FILE}: is no Whisper model: {first}") from error
    generation: Any = model.generation_config
    generation.suppress_tokens = settings["suppress_ids"]
    generation.begin_suppress_tokens = settings["suppress_ids_begin"]
    generation.no_timestamps_token_id = tokenizer.token_to_id(_NO_TIMESTAMPS)
    generation.is_multilingual = False
    return model, tokenizer


def _settings(folder: Path) -> dict[str, list[int]]:
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: [int(token) for token in values[key]] for key in ("suppress_ids", "suppress_ids_begin")}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: expected lists suppress_ids and suppress_ids_begin ({error!r})") from error


def _config(arrays: Arrays, tokenizer: Tokenizer, folder: Path) -> WhisperConfig:
    """Sizes as the arrays have them."""
    n_ids, size = arrays["decoder/embeddings/weight"].shape
    if n_ids != ENGLISH_VOCABULARY:
        raise ConfigError(
            f"{folder}: a vocabulary of {n_ids} ids, expected the {ENGLISH_VOCABULARY} of an English-only Whisper; "
            "give a multilingual one in transformers' format"
        )
    start, end = tokenizer.token_to_id(_START), tokenizer.token_to_id(_END)
    if start is None or end is None or tokenizer.token_to_id(_NO_TIMESTAMPS) is None:
        raise ConfigError(f"{folder / 'tokenizer.json'}: has no {_START}, {_END}, {_NO_TIMESTAMPS}: not Whisper's")
    sides: dict[str, Any] = {
        f"{side}_{key}": value
        for side in ("encoder", "decoder")
        for key, value in (
            ("layers", sum(f"{side}/layer_{i}/ffn/layer_norm/gamma" in arrays for i in range(len(arrays)))),
            ("attention_heads", int(arrays[f"{side}/num_heads"])),
            ("ffn_dim", arrays[f"{side}/layer_0/ffn/linear_0/bias"].shape[0]),
        )
    }
    return WhisperConfig(
        vocab_size=n_ids,
        d_model=size,
        num_mel_bins=arrays["encoder/conv1/weight"].shape[1],
        max_source_positions=arrays["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=arrays["decoder/position_encodings/encodings"].shape[0],
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        **sides,
    )


def _state(arrays: Arrays, config: WhisperConfig) -> State:
    """CTranslate2's arrays under transformers' names. Raises KeyError where one is not there."""

    def tensor(name: str) -> torch.Tensor:
        if arrays[name].dtype.kind != "f":
            raise KeyError(f"{name} in floating point")
        return torch.from_numpy(arrays[name].astype(np.float32))

    state: State = {}

    def linear(target: str, source: str, parts: tuple[str, ...] = ("",)) -> None:
        """Fused projections are split; the bias of a key, which transformers' model has not, is zero."""
        weights, biases = (tensor(f"{source}/{kind}").chunk(len(parts)) for kind in ("weight", "bias"))
        for part, weight, bias in zip(parts, weights, biases, strict=True):
            state[f"{target}{part}.weight"] = weight
            if part != "k_proj":
                state[f"{target}{part}.bias"] = bias

    def norm(target: str, source: str) -> None:
        state[f"{target}.weight"], state[f"{target}.bias"] = tensor(f"{source}/gamma"), tensor(f"{source}/beta")

    for side, n_layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        model = f"model.{side}."
        norm(f"{model}layer_norm", f"{side}/layer_norm")
        state[f"{model}embed_positions.weight"] = tensor(f"{side}/position_encodings/encodings")
        for i in range(n_layers):
            target, source = f"{model}layers.{i}.", f"{side}/layer_{i}/"
            linear(f"{target}self_attn.", f"{source}self_attention/linear_0", ("q_proj", "k_proj", "v_proj"))
            linear(f"{target}self_attn.out_proj", f"{source}self_attention/linear_1")
            norm(f"{target}self_attn_layer_norm", f"{source}self_attention/layer_norm")
            linear(f"{target}fc1", f"{source}ffn/linear_0")
            linear(f"{target}fc2", f"{source}ffn/linear_1")
            norm(f"{target}final_layer_norm", f"{source}ffn/layer_norm")
            if side == "decoder":
                linear(f"{target}encoder_attn.q_proj", f"{source}attention/linear_0")
                linear(f"{target}encoder_attn.", f"{source}attention/linear_1", ("k_proj", "v_proj"))
                linear(f"{target}encoder_attn.out_proj", f"{source}attention/linear_2")
                norm(f"{target}encoder_attn_layer_norm", f"{source}attention/layer_norm")
    for name in ("conv1", "conv2"):
        linear(f"model.encoder.{name}", f"encoder/{name}")
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = tensor("decoder/embeddings/weight")
    return state
