"""Checkpoints of slamkit: a causal LM of transformers wrapped in a class of their own.

Conventions
-----------
- config.json has model_type `speech_language_model`, the inner model's config under `base_config` (with its own
  model_type) and `vocab_size`, to which the inner model's embeddings were resized; the weights' names begin with `lm.`.
- The inner model alone is loaded, from what is on disk: the wrapper's class would ask the hub for the config of the
  base model, even for a checkpoint in a folder. What `base_config` does not say is transformers' default, as
  slamkit leaves out only what equals it.
- Weights are *.safetensors (one file, or those of its index) or pytorch_model*.bin, read without running anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

from spokeneval.errors import ConfigError

MODEL_TYPE = "speech_language_model"
VOCAB_SIZE = 502
"""slamkit's own default: 500 units, <PAD>, <S>."""
PREFIX = "lm."

_NOT_OURS = ("torch_dtype", "dtype", "_name_or_path", "architectures", "transformers_version")
"""Keys of base_config that do not describe the network: dtype is the configuration's."""


def is_unit_lm(path: Path) -> bool:
    """True where a folder's config.json is of slamkit's model_type."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # transformers says what is wrong with it
    return isinstance(config, dict) and config.get("model_type") == MODEL_TYPE


def load_unit_lm(path: Path, arguments: dict[str, Any]) -> tuple[Any, list[str]]:
    """The inner model with its weights, and the names of tensors that the weights lack.

    arguments: of `from_pretrained` (dtype, attention ...). Raises ConfigError where config.json is not of this kind or
    the weights are another model's; what reading damaged files raises.
    """
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    base = config.get("base_config")
    if not isinstance(base, dict) or "model_type" not in base:
        raise ConfigError(
            f"{path}/config.json: a {MODEL_TYPE} without `base_config` and its model_type; expected a checkpoint as "
            "slamkit saves it"
        )
    base = {key: value for key, value in base.items() if key not in _NOT_OURS}
    base["vocab_size"] = config.get("vocab_size") or VOCAB_SIZE
    factory: Any = AutoConfig
    inner = factory.for_model(**base)
    models: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    if type(inner) not in models:
        raise ConfigError(
            f"{path}/config.json: base_config is a {base['model_type']}; expected a causal language model"
        )
    weights = {}
    for name, tensor in _read(path).items():
        if not name.startswith(PREFIX):
            raise ConfigError(f"{path}: the weights hold '{name}'; expected names that begin with '{PREFIX}'")
        weights[name.removeprefix(PREFIX)] = tensor
    # AutoModelForCausalLM wants a folder; the class that it would choose takes tensors, too.
    model, info = models[type(inner)].from_pretrained(
        None, config=inner, state_dict=weights, output_loading_info=True, **arguments
    )
    return model, sorted(info["missing_keys"])


def _read(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder. Raises ConfigError where a file of an index is not there."""
    found: dict[str, torch.Tensor] = {}
    for kind, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        for file in _files(path, kind, suffix):
            if suffix == ".safetensors":
                found |= load_file(file)
            else:
                found |= torch.load(file, map_location="cpu", weights_only=True)
        if found:
            break
    return found


def _files(path: Path, kind: str, suffix: str) -> list[Path]:
    """The weight files of one kind: those that an index names, or all that there are."""
    index = path / f"{kind}{suffix}.index.json"
    if not index.is_file():
        return sorted(path.glob(f"{kind if suffix == '.bin' else ''}*{suffix}"))
    names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    for name in names:
        if not (path / name).is_file():
            raise ConfigError(f"{path}: {index.name} names {name}, which is not there; copy it again")
    return [path / name for name in names]
