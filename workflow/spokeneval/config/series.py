"""One entry for many models: a training run's checkpoints, or a table.

Conventions
-----------
- `path: runs/a/step_{step}` stands for every folder that is there with a whole number in the place of `{step}`: entry
  `mine` becomes the models `mine-step1000`, `mine-step2000` ..., each with `series: mine` and its step. So a new
  checkpoint is a new model, and its jobs and the reports are all that runs. `steps: [1000, 4000]` picks some.
- `models_table: models.csv` (or a list of tables) adds a model a row: column `name`, and any key of a model's block,
  with dots for nested ones (`decoding.temperature`). Values are read as YAML, so that 1 is a number and true a flag.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pydantic import Field

from spokeneval.config.block import Block
from spokeneval.errors import ConfigError

PLACE = "{step}"


class TableKeys(Block):
    """Keys of the top level that are written out here and are in no `Config`; for the documents."""

    models_table: str | tuple[str, ...] = Field(
        (), description="CSV tables with a model a row: `name` and any key of its block; `models` may be left out then"
    )


class SeriesKeys(Block):
    """Keys of a model with a `path` that are written out here and are in no block; for the documents."""

    steps: tuple[int, ...] | None = Field(
        None, description="which checkpoints of `path: .../step_{step}` are taken; all that are there if null"
    )


def expand_series(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration with every series and table of models written out; the same one where there is none.

    Raises ConfigError for a series without a checkpoint, a table that cannot be read, or a name that comes twice.
    """
    tables = values.get("models_table") or []
    models = values.get("models")
    entries = dict(models) if isinstance(models, dict) else {}
    for table in [tables] if isinstance(tables, str) else tables:
        for name, block in _rows(Path(str(table))):
            if name in entries:
                raise ConfigError(f"{table}: the model '{name}' is there twice, or in `models` already")
            entries[name] = block
    expanded: dict[str, Any] = {}
    for name, block in entries.items():
        path = block.get("path") if isinstance(block, dict) else None
        found = _checkpoints(name, block) if isinstance(path, str) and PLACE in path else {name: block}
        if twice := sorted(set(found) & (set(expanded) | set(entries) - {name})):
            raise ConfigError(f"models.{name}: makes a model '{twice[0]}', which is there already")
        expanded |= found
    others = {key: value for key, value in values.items() if key != "models_table"}
    return {**others, "models": expanded} if isinstance(models, dict) or tables else others


def _checkpoints(name: str, block: dict[str, Any]) -> dict[str, Any]:
    path = str(block["path"])
    if path.count(PLACE) != 1:
        raise ConfigError(f"models.{name}.path: '{path}' has {PLACE} more than once; expected one")
    before, after = path.split(PLACE)
    root, _, stem = before.rpartition("/")
    folder = Path(root) if root else Path("/" if before.startswith("/") else ".")
    # What follows the step within the same name, and what lies below it.
    rest, _, below = after.partition("/")
    pattern = re.compile(re.escape(stem) + r"(\d+)" + re.escape(rest))
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    steps = {}
    for entry in names:
        match = pattern.fullmatch(entry)
        checkpoint = folder / entry / below if below else folder / entry
        if match and checkpoint.exists():
            steps[int(match[1])] = str(checkpoint)
    wanted = block.get("steps")
    if wanted is not None:
        if not isinstance(wanted, list) or not all(isinstance(step, int) for step in wanted):
            raise ConfigError(f"models.{name}.steps: expected a list of whole numbers, found {wanted!r}")
        if absent := [step for step in wanted if step not in steps]:
            raise ConfigError(f"models.{name}.steps: there is no checkpoint of step {absent[0]} under {path}")
        steps = {step: steps[step] for step in wanted}
    if not steps:
        raise ConfigError(f"models.{name}.path: nothing is there like {path} with a whole number for {PLACE}")
    shared = {key: value for key, value in block.items() if key != "steps"}
    return {
        f"{name}-step{step}": {**copy.deepcopy(shared), "path": steps[step], "series": name, "step": step}
        for step in sorted(steps)
    }


def _rows(table: Path) -> list[tuple[str, dict[str, Any]]]:
    if not table.is_file():
        raise ConfigError(
            f"models_table: {table}: no such table; expected a CSV with `name` and keys of a model's block"
        )
    try:
        frame = pl.read_csv(table, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(f"models_table: {table}: cannot be read as CSV ({detail})") from error
    if "name" not in frame.columns:
        raise ConfigError(f"models_table: {table}: lacks the column name; it has {', '.join(frame.columns)}")
    found = []
    for number, row in enumerate(frame.iter_rows(named=True), start=2):
        name = (row.pop("name") or "").strip()
        if not name:
            raise ConfigError(f"models_table: {table}, row {number}: name is empty")
        block: dict[str, Any] = {}
        for key, text in row.items():
            if text is None or not text.strip():
                continue
            *parents, last = key.split(".")
            target = block
            for parent in parents:
                target = target.setdefault(parent, {})
            target[last] = _value(text, f"{table}, row {number}, {key}")
        found.append((name, block))
    return found


def _value(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"models_table: {where}: '{text}' is no YAML value") from error
