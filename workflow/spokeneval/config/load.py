"""Reading the configuration: one line of plain words for each thing that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from spokeneval.config.block import Block
from spokeneval.config.blocks import BLOCKS, DatasetBlock, JudgeBlock, ModelBlock, PluginBlock, VocoderBlock
from spokeneval.config.root import Config
from spokeneval.config.series import expand_series
from spokeneval.errors import ConfigError
from spokeneval.published import read_published
from spokeneval.registry import DATASETS, JUDGES, MODELS, TOKENIZERS, VOCODERS, Registry, closest_match

_REGISTRIES: dict[str, Registry] = {r.name: r for r in (DATASETS, TOKENIZERS, VOCODERS, MODELS, JUDGES)}
_DEFAULT_KIND = {"models": "causal_lm"}


def read_config(path: Path) -> Config:
    """Read and check a YAML file. Raises ConfigError, a line for each problem."""
    try:
        text = Path(path).read_text()
        values = yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path}: not valid YAML: {' '.join(str(error).split())}{_about_braces(error, text)}"
        ) from error
    return load_config(values, str(path))


def _about_braces(error: yaml.YAMLError, text: str) -> str:
    """What to do where `{step}` stands without quotes within { }: YAML reads a mapping there."""
    mark = getattr(error, "problem_mark", None)
    if mark is None or getattr(error, "context", None) != "while parsing a flow mapping":
        return ""
    line = "".join(text.splitlines()[mark.line : mark.line + 1])
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
    found = re.search(r"(?:[^\s,\[\]{}]*\{\w+\})+[^\s,\[\]{}]*", unquoted)
    return "" if found is None else f"; quote values that hold {{ or }}: '{found[0]}'"


def load_config(values: Any, name: str = "config.yaml") -> Config:
    """Check a configuration that was read. Raises ConfigError, a line for each problem."""
    if not isinstance(values, dict):
        raise ConfigError(f"{name}: expected keys and values at the top level, found {type(values).__name__}")
    problems: list[str] = []
    try:
        values = expand_series(values)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    typed = dict(values)
    for section, registry in _REGISTRIES.items():
        entries = values.get(section)
        if isinstance(entries, dict):
            typed[section] = {
                key: block
                for key, entry in entries.items()
                if (block := _block(section, key, entry, registry, problems)) is not None
            }
    try:
        config = Config.model_validate(typed)
    except ValidationError as error:
        problems += problem_lines(error, "", Config)
    else:
        problems += _broken_references(config)
        if not problems:
            return config
    raise ConfigError("\n".join(f"{name}: {problem}" for problem in problems[:12]))


def _block(section: str, key: Any, entry: Any, registry: Registry, problems: list[str]) -> Block | None:
    where = f"{section}.{key}"
    if not isinstance(entry, dict):
        problems.append(f"{where}: expected a block with a 'kind', found {entry!r}")
        return None
    kind = entry.get("kind", _DEFAULT_KIND.get(section))
    if kind is None:
        problems.append(f"{where}: needs a 'kind'; known: {', '.join(sorted(registry.targets))}")
        return None
    try:
        registry.target(kind)
    except ConfigError as error:
        problems.append(f"{where}: {error}")
        return None
    schema = BLOCKS[section].get(kind) or _plugin_block(section)
    try:
        return schema.model_validate(entry)
    except ValidationError as error:
        problems += problem_lines(error, where, schema)
        return None


def _plugin_block(section: str) -> type[Block]:
    common = {"models": ModelBlock, "datasets": DatasetBlock, "judges": JudgeBlock}.get(section)
    if common is None:
        return PluginBlock
    return type(f"Plugin{common.__name__}", (common,), {"model_config": PluginBlock.model_config})


def problem_lines(error: ValidationError, where: str, schema: type[Block]) -> list[str]:
    """One line for each thing that a block does not accept, with the key it stands at."""
    lines = []
    for problem in error.errors():
        place = ".".join(part for part in (where, *map(str, problem["loc"])) if part)
        if problem["type"] == "extra_forbidden":
            known = _fields_at(schema, problem["loc"][:-1])
            lines.append(f"{place}: unknown key; {closest_match(str(problem['loc'][-1]), known)}")
        elif problem["type"] == "missing":
            lines.append(f"{place}: is missing")
        elif problem["type"] == "string_pattern_mismatch" and problem["loc"][-1] == "[key]":
            lines.append(f"{place}: names may hold letters, digits, '.', '_', '+', '-' only (they become file names)")
        elif problem["type"] == "value_error":
            lines.append(": ".join(filter(None, (place, str(problem["ctx"]["error"])))))
        else:
            lines.append(f"{place}: {problem['msg']}, found {_short(problem['input'])}")
    return lines


def _fields_at(schema: type[Block], location: tuple[int | str, ...]) -> list[str]:
    """Keys that a block knows, following a location into nested blocks."""
    current: type[Block] = schema
    for part in location:
        field = current.model_fields.get(str(part))
        annotation = field.annotation if field else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, Block)), None)
        if inner is None:
            break
        current = inner
    return list(current.model_fields)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _broken_references(config: Config) -> list[str]:
    problems = []
    try:
        config.evaluators.settings()
    except ConfigError as error:
        problems.append(f"evaluators: {error}")
    for name, model in config.models.items():
        try:
            config.evaluator_settings(name)
        except ConfigError as error:
            problems.append(f"models.{name}.reductions: {error}")
        problems += _unlike_convention(config, name)
        if (model.series is None) != (model.step is None):
            problems.append(f"models.{name}: has one of `series` and `step`; they go together, give both or neither")
        if model.tokenizer not in config.tokenizers:
            problems.append(
                f"models.{name}.tokenizer: there is no tokenizer '{model.tokenizer}'; "
                f"{closest_match(model.tokenizer, config.tokenizers)}"
            )
        if model.vocoder is not None and model.vocoder not in config.vocoders:
            problems.append(
                f"models.{name}.vocoder: there is no vocoder '{model.vocoder}'; "
                f"{closest_match(model.vocoder, config.vocoders)}"
            )
        problems += _unfit_vocoder(config, name)
    for name, rated in config.ratings.items():
        if rated.dataset not in config.datasets:
            problems.append(
                f"ratings.{name}.dataset: there is no dataset '{rated.dataset}'; "
                f"{closest_match(rated.dataset, config.datasets)}"
            )
    return problems + _listening_tests(config) + _without_audio(config) + _published(config)


def _listening_tests(config: Config) -> list[str]:
    """Exported tests of datasets that there are not, or of models that cannot be heard."""
    problems = []
    for name, test in config.listening_tests.items():
        where = f"listening_tests.{name}"
        if test.dataset not in config.datasets:
            problems.append(
                f"{where}.dataset: there is no dataset '{test.dataset}'; {closest_match(test.dataset, config.datasets)}"
            )
        elif not config.datasets[test.dataset].has_audio:
            problems.append(f"{where}.dataset: '{test.dataset}' holds no audio that could be heard")
        if not config.heard_in(name):
            problems.append(f"{where}: no model can be heard; give one a `vocoder`")
        for model in test.models or ():
            if model not in config.models:
                problems.append(f"{where}.models: there is no model '{model}'; {closest_match(model, config.models)}")
            elif not config.models[model].audible:
                problems.append(f"{where}.models: '{model}' cannot be heard; give it a `vocoder`, or leave it out")
    return problems


def _unfit_vocoder(config: Config, name: str) -> list[str]:
    """Where a vocoder of this package is given codes of one of its tokenizers that it cannot decode."""
    model = config.models[name]
    vocoder, tokenizer = config.vocoders.get(model.vocoder or ""), config.tokenizers.get(model.tokenizer)
    if not isinstance(vocoder, VocoderBlock) or tokenizer is None:
        return []
    kind = tokenizer.model_dump()["kind"]
    if kind not in BLOCKS["tokenizers"] or vocoder.can_decode(tokenizer):
        return []
    return [
        f"models.{name}.vocoder: {model.vocoder} ({vocoder.model_dump()['kind']}) cannot decode tokenizer "
        f"'{model.tokenizer}' ({kind}); it takes {vocoder.takes or ', '.join(vocoder.decodes)}. Leave vocoder out to "
        "score only"
    ]


def _published(config: Config) -> list[str]:
    """Published rows without their source, or in a file that is there and cannot be used."""
    problems = []
    for name, dataset in config.datasets.items():
        if dataset.published is None:
            continue
        if not (dataset.published_source or "").strip():
            problems.append(f"datasets.{name}.published_source: is missing; say where the rows are published")
        if Path(dataset.published).is_file():
            try:
                read_published(Path(dataset.published))
            except ConfigError as error:
                problems.append(f"datasets.{name}.published: {error}")
    return problems


def _without_audio(config: Config) -> list[str]:
    """What is asked to read audio or codes that are not here."""
    problems = []
    for name, model in config.models.items():
        grid = config.tokenizers.get(model.tokenizer)
        if model.runs and grid is not None and not getattr(grid, "has_codes", True):
            problems.append(
                f"models.{name}.tokenizer: '{model.tokenizer}' only declares a time grid; a model that runs needs "
                f"`codes` in tokenizers.{model.tokenizer}"
            )
    for name, dataset in config.datasets.items():
        if not dataset.has_members and not config.audible():
            problems.append(
                f"datasets.{name}: free prompts are only continued and heard, but no model can be heard; give one a "
                "`vocoder` (or `generated_audio`), or take the dataset away"
            )
        if dataset.has_audio:
            continue
        unfit = [f"models.{m}" for m, model in config.models.items() if model.runs or model.audible]
        unfit += [f"judges.{judge}" for judge in config.judges]
        if unfit:
            problems.append(
                f"datasets.{name}: holds no audio, so only models of kind external with `losses` alone go with it; "
                f"give it a configuration without {', '.join(unfit[:3])}"
            )
    return problems


def _unlike_convention(config: Config, name: str) -> list[str]:
    """Where a convention is named after a script, what the tokenizer does otherwise than the script."""
    model = config.models[name]
    convention = getattr(model, "named_convention", None)
    tokenizer = config.tokenizers.get(model.tokenizer)
    if convention is None or tokenizer is None:
        return []
    found = tokenizer.model_dump()
    return [
        f"models.{name}.convention: '{getattr(model, 'convention', '')}' goes with `{key}: {value}` of the tokenizer, "
        f"but tokenizers.{model.tokenizer}.{key} is {found[key]}"
        for key, value in convention.tokenizer.items()
        if key in found and found[key] != value
    ]
