"""Loading a causal LM of transformers, with an answer for everything that is commonly wrong with a checkpoint.

Only safetensors are read and no code of a checkpoint is run. Weights that are not there are refused, where transformers
would go on with random ones. Every ConfigError names the checkpoint, what was expected and what came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

from spokeneval.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def find_dtype(name: str) -> torch.dtype:
    """Raises ConfigError for an unknown one."""
    if name not in DTYPES:
        raise ConfigError(f"unknown dtype '{name}'; expected one of {', '.join(DTYPES)}")
    return DTYPES[name]


def find_device(name: str) -> torch.device:
    """Raises ConfigError where this machine has no such device."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device '{name}'; expected cpu, cuda, cuda:1 ...") from error
    if device.type == "cuda":
        n = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= n:
            found = "torch finds no CUDA device" if n == 0 else f"torch finds cuda:0 to cuda:{n - 1}"
            raise ConfigError(f"device '{name}' is asked for, but {found}; set `device: cpu`")
    return device


def load_causal_lm(path: str | Path, dtype: str, device: str, revision: str | None = None) -> Any:
    """A causal LM of transformers, ready to score.

    path: a folder with config.json and *.safetensors, or the name of a model on the hub (HF_HUB_OFFLINE is respected).
    Raises ConfigError, see the module.
    """
    torch_dtype, torch_device = find_dtype(dtype), find_device(device)
    local = isinstance(path, Path) or Path(path).exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path))
    if local:
        _check_folder(Path(path))
    name = str(path)
    options = {"revision": revision, "trust_remote_code": False, "local_files_only": local}
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(name, **options)
            factory: Any = AutoModelForCausalLM
            model, info = factory.from_pretrained(
                name, config=config, dtype=torch_dtype, use_safetensors=True, output_loading_info=True, **options
            )
    except SafetensorError as error:
        raise ConfigError(f"{name}: a safetensors file is damaged or cut short ({error}); copy it again") from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        where = "" if local else " (not a folder here, so it was looked up as a name on the hub)"
        raise ConfigError(f"{name}: cannot be loaded as a causal LM{where}: {_first_line(error)}") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error) and "mismatched" not in str(error).lower():
            raise
        raise ConfigError(f"{name}: the weights do not have the shapes of config.json: {_first_line(error)}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ConfigError(
            f"{name}: the weights lack {len(missing)} tensors of the {config.model_type} that config.json describes, "
            f"e.g. {', '.join(missing[:3])}; expected a complete checkpoint"
        )
    # Sampling settings that a checkpoint carries are not ours: decoding is said in the configuration alone.
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    model.eval().requires_grad_(False).to(torch_device)
    return model


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder}: {what}; expected a folder with config.json and *.safetensors")
    names = sorted(entry.name for entry in folder.iterdir())
    holds = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
    if "config.json" not in names:
        raise ConfigError(f"{folder}: no config.json; the folder holds {holds}")
    weights = [name for name in names if name.endswith(".safetensors")]
    if not weights:
        raise ConfigError(f"{folder}: no *.safetensors (other formats are not read); the folder holds {holds}")
    for weight in weights:
        if (folder / weight).stat().st_size == 0:
            raise ConfigError(f"{folder / weight}: the file is empty; copy it again")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' own bars and reports: what is wrong is raised."""
    transformers_logging: Any = logging
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def n_input_ids(model: Any) -> int:
    """Rows of the input embedding."""
    return int(model.get_input_embeddings().weight.shape[0])


def max_positions(config: Any) -> int | None:
    """Longest string that the model's positions allow; None where the architecture sets no limit."""
    limit = getattr(config, "max_position_embeddings", None)
    return None if limit is None else int(limit)


def check_causal(model: Any, n_ids: int) -> None:
    """Raises ConfigError where a later id changes an earlier prediction (an encoder loaded as a decoder)."""
    ids = torch.arange(8, device=model.device) * 7 % n_ids
    other = ids.clone()
    other[-1] = (ids[-1] + 1) % n_ids
    with torch.inference_mode():
        logits = model(input_ids=torch.stack([ids, other])).logits[:, :-1].float()
    difference = float((logits[0] - logits[1]).abs().max())
    if difference > 1e-2 * float(logits.abs().max()):
        raise ConfigError(
            f"{model.config.model_type}: a later id changes earlier predictions (by {difference:.2g} of a logit); "
            "expected a causal language model"
        )
