"""Checkpoints of slamkit: a causal LM of transformers wrapped in a class of their own.

config.json has model_type `speech_language_model`, the inner model's config under `base_config` (with its own
model_type) and `vocab_size`; the weights' names begin with `lm.`. The inner model alone is loaded: the wrapper's class
would ask the hub for the base model's config, even for a checkpoint on disk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from spokeneval.errors import ConfigError

MODEL_TYPE = "speech_language_model"
PREFIX = "lm."


def is_unit_lm(path: Path) -> bool:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False  # transformers says what is wrong with it
    return isinstance(config, dict) and config.get("model_type") == MODEL_TYPE


def load_unit_lm(path: Path, arguments: dict[str, Any]) -> tuple[Any, list[str]]:
    """The inner model with its weights, and the names of tensors that the weights lack.

    arguments: of `from_pretrained` (dtype, attention ...). Raises ConfigError where config.json is not of this kind.
    """
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    base = config.get("base_config")
    if not isinstance(base, dict) or "model_type" not in base:
        raise ConfigError(
            f"{path}/config.json: a {MODEL_TYPE} without `base_config` and its model_type; expected a checkpoint as "
            "slamkit saves it"
        )
    base = {**base, "vocab_size": config.get("vocab_size", base.get("vocab_size"))}
    for key in ("torch_dtype", "dtype", "_name_or_path", "architectures"):
        base.pop(key, None)
    factory: Any = AutoConfig
    inner = factory.for_model(**base)
    weights = {name.removeprefix(PREFIX): tensor for name, tensor in _read(path).items()}
    model_factory: Any = AutoModelForCausalLM
    # The model's class is known only from its config; from_pretrained of that class then applies dtype and the like.
    kind = model_factory._model_mapping[type(inner)]
    model, info = kind.from_pretrained(None, config=inner, state_dict=weights, output_loading_info=True, **arguments)
    return model, list(info["missing_keys"])


def _read(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, of one file or several."""
    found: dict[str, torch.Tensor] = {}
    safe = sorted(path.glob("*.safetensors"))
    for file in safe:
        found |= load_file(file)
    for file in () if safe else sorted(path.glob("pytorch_model*.bin")):
        found |= torch.load(file, map_location="cpu", weights_only=True)
    return found
