"""Loading a model of two levels from a checkpoint of transformers, and whether it reads a tokenizer's codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig

from spokeneval.errors import ConfigError
from spokeneval.models.loading import (
    LoadOptions,
    check_folder,
    find_device,
    loading_errors,
    quiet,
    ready,
    refuse_missing,
)
from spokeneval.tokenizers.base import TokenizerInfo


def load_frame_model(path: Path, options: LoadOptions, family: Any) -> Any:
    """A model of this class of transformers, ready to score.

    path: a folder with config.json and weights. Raises ConfigError, see `loading`, and where the checkpoint is of
    another type.
    """
    device = find_device(options.device)
    check_folder(path)
    with loading_errors(path), quiet():
        found = AutoConfig.from_pretrained(str(path), trust_remote_code=options.trust_remote_code).model_type
    expected = family.config_class.model_type
    if found != expected:
        raise ConfigError(f"{path}: config.json says model_type '{found}'; `kind: {expected}` needs '{expected}'")
    with loading_errors(path), quiet():
        model, info = family.from_pretrained(
            str(path), output_loading_info=True, local_files_only=True, **options.arguments()
        )
    refuse_missing(sorted(info["missing_keys"]), expected, path)
    return ready(model, device, options)


def check_codebooks(path: Path, info: TokenizerInfo, n_codebooks: int, codebook_size: int) -> None:
    """Raises ConfigError where a tokenizer's codes are not what the model of this checkpoint reads."""
    if info.asynchronous or info.deduplicated:
        raise ConfigError(
            f"{path}: it reads all codebooks of every frame, but the tokenizer gives "
            f"{'events of asynchronous codebooks' if info.asynchronous else 'de-duplicated units'}; expected a codec"
        )
    if info.n_codebooks != n_codebooks:
        raise ConfigError(
            f"{path}: the model reads {n_codebooks} codebooks, but the tokenizer gives {info.n_codebooks}; "
            f"set `n_codebooks: {n_codebooks}` in the tokenizer's block"
        )
    if set(info.codebook_sizes) != {codebook_size}:
        raise ConfigError(
            f"{path}: the model's codebooks have {codebook_size} codes each, but the tokenizer's have "
            f"{' + '.join(map(str, info.codebook_sizes))}: it belongs to another tokenizer"
        )
