"""From blocks of the configuration to the objects that they describe."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from spokeneval.config import Config
from spokeneval.config.block import OF_THE_ORIGIN, Block
from spokeneval.config.blocks import ModelBlock
from spokeneval.datasets.base import Dataset
from spokeneval.errors import ConfigError
from spokeneval.hub import need_snapshot
from spokeneval.judges.base import Judge
from spokeneval.models.base import Decoding, SpokenLM
from spokeneval.models.external import External
from spokeneval.registry import DATASETS, JUDGES, MODELS, TOKENIZERS, VOCODERS, Registry
from spokeneval.stages import NOT_OF_THE_ITEMS
from spokeneval.tokenizers.base import Tokenizer, TokenizerInfo
from spokeneval.vocoders.base import Vocoder

_LISTENING = ("tasks", "max_items")
"""Keys of a judge that say what it is given to hear, and are none of its own."""


def _build(registry: Registry, name: str, block: Block, leave_out: tuple[str, ...] = (), **others: Any) -> Any:
    """Construct the family of a block; paths whose content counts are given as Path, names on the hub as the folder in
    its cache."""
    options = {
        key: value for key, value in block.options().items() if key not in (*leave_out, *OF_THE_ORIGIN, "revision")
    }
    on_hub = block.hub_sources()
    for key in block.content_paths():
        if options.get(key) is not None:
            options[key] = need_snapshot(on_hub[key]) if key in on_hub else Path(options[key])
    family = registry.load(str(block.model_dump()["kind"]))
    try:
        inspect.signature(family).bind(**options, **others)
    except TypeError as error:
        raise ConfigError(f"{registry.name}.{name}: {error}") from error
    return family(**options, **others)


def make_dataset(config: Config, name: str) -> Dataset:
    block = config.datasets[name]
    others: dict[str, Any] = {}
    if "screen" in type(block).model_fields:
        screen: Block | None = getattr(block, "screen", None)
        others["screen"] = None if screen is None else _build(JUDGES, f"{name}.screen", screen, _LISTENING)
    dataset: Dataset = _build(DATASETS, name, block, (*NOT_OF_THE_ITEMS, "screen"), **others)
    return dataset


def make_tokenizer(config: Config, name: str) -> Tokenizer:
    tokenizer: Tokenizer = _build(TOKENIZERS, name, config.tokenizers[name])
    return tokenizer


def make_vocoder(config: Config, name: str) -> Vocoder:
    vocoder: Vocoder = _build(VOCODERS, name, config.vocoders[name])
    return vocoder


def make_judge(config: Config, name: str) -> Judge:
    judge: Judge = _build(JUDGES, name, config.judges[name], _LISTENING)
    return judge


def make_model(config: Config, name: str, info: TokenizerInfo) -> SpokenLM:
    """The model, and its sequence convention as arguments of its own."""
    block = config.models[name]
    sequence = block.model_dump().get("sequence") or {}
    left_out = (*ModelBlock.model_fields, "sequence", "convention")
    model: SpokenLM = _build(MODELS, name, block, left_out, tokenizer=info, **sequence)
    if block.decoding.may_end and not getattr(model, "can_end", False):
        raise ConfigError(
            f"models.{name}: decoding.min_new_s is below new_s, but the model has no mark that ends speech (`can_end`)"
            "; take min_new_s away, or name a sequence convention with an end"
        )
    return model


def make_external(config: Config, name: str, info: TokenizerInfo) -> External:
    """A model that ran elsewhere."""
    external: External = _build(MODELS, name, config.models[name], tuple(ModelBlock.model_fields), tokenizer=info)
    return external


def decoding_of(config: Config, name: str) -> Decoding:
    return Decoding(**config.models[name].decoding.model_dump())
