"""Loading a published encoder or codec of transformers, for tokenizers and judges: float32, ready to be asked."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from spokeneval.errors import ConfigError
from spokeneval.models.loading import check_folder, find_device, loading_errors, quiet, refuse_missing


def load_pretrained(family: Any, path: Path, device: str, unused: Collection[str] = (), exact: bool = False) -> Any:
    """A model of one class of transformers from a folder with config.json and weights.

    family: the class, e.g. HubertModel. unused: tensors that the weights may lack. exact: refuse weights that hold
    more than the model, as those of a model with another head do.
    Raises ConfigError where the folder holds another kind of model, or not all of this one.
    """
    where = find_device(device)
    check_folder(path)
    expected = family.config_class.model_type
    found = read_json(path / "config.json").get("model_type")
    if found != expected:
        raise ConfigError(f"{path}: holds a model of type '{found}'; expected '{expected}' ({family.__name__})")
    with loading_errors(path), quiet():
        model, info = family.from_pretrained(
            str(path), dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    refuse_missing(sorted(set(info["missing_keys"]) - set(unused)), expected, path)
    more = sorted(set(info["unexpected_keys"]) - set(unused))
    if exact and more:
        raise ConfigError(
            f"{path}: the weights hold {len(more)} tensors that {family.__name__} does not have, "
            f"e.g. {', '.join(more[:3])}; expected exactly this model"
        )
    return model.eval().requires_grad_(False).to(where)


def read_json(path: Path) -> dict[str, Any]:
    """Raises ConfigError where a file is not there or holds no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content
