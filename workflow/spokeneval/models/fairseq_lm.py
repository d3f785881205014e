"""A transformer language model of fairseq, as the same network in transformers.

Conventions
-----------
- fairseq's `transformer_lm` is XGLM: embeddings times sqrt(width), sinusoidal positions of which the first is padding
  index + 1 = 2, layer norms before each block and after the last, one output projection (tied or not). fairseq sets
  `decoder_normalize_before` for this model whatever a checkpoint says.
- A checkpoint is what fairseq writes: `args` (argparse.Namespace) or `cfg` (nested dicts), and `model` (tensors by
  name). Settings that it does not have are fairseq's defaults. It is read without running anything in it: of all
  classes only argparse.Namespace may occur.
- A setting or a tensor under which XGLM would not be the same network is refused; nothing is approximated.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import XGLMConfig, XGLMForCausalLM

from spokeneval.errors import ConfigError
from spokeneval.models.loading import LoadOptions, find_device, loading_errors, quiet, ready, refuse_missing

Tensors = dict[str, torch.Tensor]

_ACTIVATIONS = {"relu": "relu", "gelu": "gelu"}
"""fairseq's name -> transformers'; both `gelu` are exact."""

_NOT_THERE = (
    "adaptive_input",
    "adaptive_softmax_cutoff",
    "add_bos_token",
    "base_layers",
    "character_embeddings",
    "decoder_layers_to_keep",
    "decoder_learned_pos",
    "layernorm_embedding",
    "no_decoder_final_norm",
    "no_token_positional_embeddings",
    "recurrent_stacking",
    "scale_attn",
    "scale_fc",
    "scale_heads",
    "scale_resids",
    "use_alibi",
)
"""Settings that make another network (or another string to feed) than this one where they are set."""

_FINAL_NORM_VERSION = 3
"""`decoder.version` from which fairseq applies the last layer norm."""

_IGNORED = ("decoder.version", "decoder.embed_positions._float_tensor")
"""Tensors that hold no weights."""


def load_fairseq_lm(file: Path, n_symbols: int, options: LoadOptions) -> Any:
    """An XGLMForCausalLM with the weights of a checkpoint of fairseq, ready to score.

    n_symbols: size of the dictionary, special symbols included. Raises ConfigError naming the setting, tensor or class
    for which the checkpoint cannot be used.
    """
    device = find_device(options.device)
    checkpoint = _read(file)
    config = _config(_settings(checkpoint, file), n_symbols, file)
    weights = _weights(checkpoint.get("model"), config, file)
    with loading_errors(file), quiet():
        factory: Any = XGLMForCausalLM
        model, info = factory.from_pretrained(
            None, config=config, state_dict=weights, output_loading_info=True, **options.arguments()
        )
    if info["unexpected_keys"]:
        raise _not_the_same(file, f"the tensors {', '.join(sorted(info['unexpected_keys'])[:3])}")
    refuse_missing(sorted(info["missing_keys"]), "transformer_lm", file)
    return ready(model, device, options)


def _read(file: Path) -> dict[str, Any]:
    """The checkpoint's dict. Raises ConfigError where it is not there, damaged, or holds more than data."""
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; expected the checkpoint as fairseq saved it")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise ConfigError(f"{file}: damaged, cut short or no checkpoint of torch; copy it again") from error
        raise ConfigError(
            f"{file}: holds {named[1]} beside tensors, plain data and argparse.Namespace, and is not read; where you "
            "trust it, load it with fairseq and save a dict of its `model` and of `args` or `cfg` as plain dicts"
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: holds a {type(found).__name__}; expected the dict that fairseq saves")
    return found


def _settings(checkpoint: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Model's and task's settings by name, from either layout."""
    found: dict[str, Any] = {}
    parts: list[Any] = [checkpoint.get("args")]
    cfg = checkpoint.get("cfg")
    if isinstance(cfg, Mapping):
        parts = [cfg.get("task"), cfg.get("model"), *parts]
    for part in parts:
        if isinstance(part, argparse.Namespace | Mapping):
            found |= vars(part) if isinstance(part, argparse.Namespace) else part
    if not found:
        raise ConfigError(f"{file}: no settings in `args` or `cfg`; expected a checkpoint as fairseq saves it")
    return found


def _config(settings: Mapping[str, Any], n_symbols: int, file: Path) -> XGLMConfig:
    name = settings.get("arch") or settings.get("_name") or "transformer_lm"
    if not str(name).startswith("transformer_lm") or "megatron" in str(name):
        raise ConfigError(f"{file}: the model is a '{name}' of fairseq; expected a transformer_lm")
    for key in _NOT_THERE:
        if settings.get(key):
            raise _not_the_same(file, f"the setting {key}: {settings[key]}")
    # What base_lm_architecture of fairseq makes of settings of old checkpoints.
    if "no_tie_adaptive_proj" in settings or settings.get("decoder_final_norm") is False:
        raise _not_the_same(file, "no layer norm after the last layer (decoder_final_norm)")
    activation = settings.get("activation_fn") or "relu"
    if activation not in _ACTIVATIONS:
        raise _not_the_same(file, f"activation_fn: {activation} (known: {', '.join(_ACTIVATIONS)})")
    width = int(settings.get("decoder_embed_dim") or 512)
    for key in ("decoder_input_dim", "decoder_output_dim"):
        if int(settings.get(key) or width) != width:
            raise _not_the_same(file, f"{key}: {settings[key]} where decoder_embed_dim is {width}")
    n_positions = settings.get("max_target_positions") or settings.get("tokens_per_sample") or 1024
    factory: Any = XGLMConfig
    config: XGLMConfig = factory(
        vocab_size=n_symbols,
        max_position_embeddings=int(n_positions),
        d_model=width,
        ffn_dim=int(settings.get("decoder_ffn_embed_dim") or 2048),
        num_layers=int(settings.get("decoder_layers") or 6),
        attention_heads=int(settings.get("decoder_attention_heads") or 8),
        activation_function=_ACTIVATIONS[activation],
        scale_embedding=not settings.get("no_scale_embedding"),
        tie_word_embeddings=bool(settings.get("share_decoder_input_output_embed")),
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        layerdrop=0.0,
    )
    return config


def _weights(found: Any, config: XGLMConfig, file: Path) -> Tensors:
    """fairseq's tensors under transformers' names."""
    if not isinstance(found, Mapping) or "decoder.embed_tokens.weight" not in found:
        raise ConfigError(f"{file}: no `model` with decoder.embed_tokens.weight in it; expected a transformer_lm")
    version = found.get("decoder.version")
    if version is None or float(version.reshape(-1)[0]) < _FINAL_NORM_VERSION:
        raise _not_the_same(file, "a decoder.version below 3 (no layer norm after the last layer)")
    embedding, output = found["decoder.embed_tokens.weight"], found.get("decoder.output_projection.weight")
    if len(embedding) != config.vocab_size:
        raise ConfigError(
            f"{file}: the model has {len(embedding)} symbols, but dict.txt gives {config.vocab_size} (4 special ones "
            "and one a line); it belongs to another checkpoint"
        )
    if config.tie_word_embeddings and output is not None and not torch.equal(embedding, output):
        raise _not_the_same(file, "share_decoder_input_output_embed with an output projection of its own")
    n_layers = len({name.split(".")[2] for name in found if name.startswith("decoder.layers.")})
    if n_layers != config.num_layers:
        raise ConfigError(f"{file}: has {n_layers} layers, but its settings say decoder_layers: {config.num_layers}")
    weights: Tensors = {}
    for name, tensor in found.items():
        if name == "decoder.output_projection.weight":
            if not config.tie_word_embeddings:
                weights["lm_head.weight"] = tensor
        elif name not in _IGNORED:
            weights["model." + name.removeprefix("decoder.")] = tensor
    return weights


def _not_the_same(file: Path, what: str) -> ConfigError:
    return ConfigError(
        f"{file}: has {what}, which the network that spokeneval loads it into does not have; score it with fairseq and "
        "give the losses as `kind: external`"
    )
