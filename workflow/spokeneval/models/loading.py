"""Loading a causal LM of transformers, with an answer for everything that is commonly wrong with a checkpoint.

Weights come from safetensors, or from torch's own files read without running anything in them (`weights_only`). Code of
a checkpoint is run only where `trust_remote_code` says so. Weights that are not there are refused, where transformers
would go on with random ones. Every ConfigError names the checkpoint, what was expected and what came.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

from spokeneval.errors import ConfigError
from spokeneval.models.unit_lm import is_unit_lm, load_unit_lm

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


@dataclass(frozen=True)
class LoadOptions:
    """How weights are brought into memory; all but `device` and `device_map` may change a number."""

    dtype: str = "float32"
    device: str = "cpu"
    device_map: str | None = None
    """'auto', 'balanced' ...: spread over several devices (needs the package accelerate); `device` is not used then."""
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = None
    """Attention implementation; transformers' choice if None."""
    quantization: Literal["int8", "nf4"] | None = None
    """Weights of linear layers in 8 or 4 bits (needs the package bitsandbytes and a GPU)."""
    trust_remote_code: bool = False

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `from_pretrained`. Raises ConfigError for what this machine cannot do."""
        arguments: dict[str, Any] = {"dtype": find_dtype(self.dtype), "trust_remote_code": self.trust_remote_code}
        if self.attention is not None:
            arguments["attn_implementation"] = self.attention
        if self.device_map is not None:
            need_package("accelerate", f"`device_map: {self.device_map}`")
            arguments["device_map"] = self.device_map
        if self.quantization is not None:
            need_package("bitsandbytes", f"`quantization: {self.quantization}`")
            from transformers import BitsAndBytesConfig

            factory: Any = BitsAndBytesConfig
            arguments["quantization_config"] = (
                factory(load_in_8bit=True)
                if self.quantization == "int8"
                else factory(
                    load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=find_dtype(self.dtype)
                )
            )
            arguments.setdefault("device_map", {"": self.device})
        return arguments


def need_package(package: str, what: str) -> None:
    """Raises ConfigError where an optional package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"{what} needs the package {package}, which is not installed: pip install {package}")


def load_causal_lm(path: Path, options: LoadOptions) -> Any:
    """A causal LM of transformers, ready to score.

    path: a folder with config.json and weights. A checkpoint of slamkit (model_type speech_language_model) is loaded
    as the causal LM that it wraps. Raises ConfigError, see the module.
    """
    device = find_device(options.device)
    check_folder(path)
    if is_unit_lm(path):
        with loading_errors(path), quiet():
            model, missing = load_unit_lm(path, options.arguments())
        refuse_missing(missing, model.config.model_type, path)
        return ready(model, device, options)
    arguments = {**options.arguments(), "local_files_only": True}
    with loading_errors(path), quiet():
        config = AutoConfig.from_pretrained(str(path), trust_remote_code=options.trust_remote_code)
        factory: Any = AutoModelForCausalLM
        model, info = factory.from_pretrained(str(path), config=config, output_loading_info=True, **arguments)
    refuse_missing(sorted(info["missing_keys"]), model.config.model_type, path)
    return ready(model, device, options)


def ready(model: Any, device: torch.device, options: LoadOptions) -> Any:
    """A loaded model in the state in which it is scored: on its device, without dropout and gradients."""
    # Sampling settings that a checkpoint carries are not ours: decoding is said in the configuration alone.
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    model.eval().requires_grad_(False)
    return model if options.device_map or options.quantization else model.to(device)


def refuse_missing(missing: Sequence[str], what: str, path: Path) -> None:
    """Raises ConfigError where tensors were not in the weights."""
    if missing:
        raise ConfigError(
            f"{path}: the weights lack {len(missing)} tensors of the {what} that its settings describe, "
            f"e.g. {', '.join(missing[:3])}; expected a complete checkpoint"
        )


@contextmanager
def loading_errors(path: Path) -> Iterator[None]:
    """What goes wrong inside, said as a ConfigError about this checkpoint."""
    try:
        yield
    except SafetensorError as error:
        raise ConfigError(f"{path}: a safetensors file is damaged or cut short ({error}); copy it again") from error
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path}: a weights file holds more than tensors and is not read ({_first_line(error)}); convert it to "
            "safetensors where you trust it"
        ) from error
    except (OSError, ValueError, KeyError, ImportError, StrictDataclassError) as error:
        raise ConfigError(f"{path}: cannot be loaded: {_first_line(error)}") from error
    except RuntimeError as error:
        if "size mismatch" not in str(error) and "mismatched" not in str(error).lower():
            raise
        raise ConfigError(f"{path}: the weights do not have the shapes of config.json: {_first_line(error)}") from error


def check_folder(folder: Path) -> None:
    """Raises ConfigError where a folder holds no config.json or no weights."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ConfigError(f"{folder}: {what}; expected a folder with config.json and *.safetensors")
    names = sorted(entry.name for entry in folder.iterdir())
    holds = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
    if "config.json" not in names:
        raise ConfigError(f"{folder}: no config.json; the folder holds {holds}")
    weights = [name for name in names if name.endswith(".safetensors")]
    weights = weights or [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]
    if not weights:
        raise ConfigError(f"{folder}: no *.safetensors and no pytorch_model*.bin; the folder holds {holds}")
    for weight in weights:
        if (folder / weight).stat().st_size == 0:
            raise ConfigError(f"{folder / weight}: the file is empty; copy it again")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
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


def has_learned_positions(model: Any) -> bool:
    """True where a table holds one vector a position: there is none beyond its end."""
    names = ("embed_positions", "wpe", "position_embeddings", "pos_emb")
    return any(name.split(".")[-2] in names for name, _ in model.named_parameters() if "." in name)


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
