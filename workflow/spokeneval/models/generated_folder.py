"""Audio that a model made elsewhere, as a folder of files named by item.

Conventions
-----------
- A file is named `{task}/{index}` or `{item_id}`, relative to the folder, with a suffix of audio (WAV, FLAC, OGG, MP3).
  `_s{k}` at its end says that it is sample k (0, 1, ...) of several; without it a file is sample 0.
- Where a configuration has several datasets, each has a subfolder of its name, in which these names are looked for.
- Two files for one sample of an item, and a name that stands for two items (an item_id that ends in `_s1`), are errors:
  which one is meant is not guessed. Files that belong to no item are counted and named, never used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.item_table import Asked, ItemRow

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")

_SAMPLE = re.compile(r"(.+)_s(\d{1,5})")


class NamedFiles(NamedTuple):
    rows: list[ItemRow]
    """As of a table with the columns `path` and `sample_index`."""
    root: Path
    """The folder in which the paths lie."""
    unmatched: tuple[str, ...]
    """Files of the folder that belong to no item, in order."""


def rows_of_files(folder: Path, pairs: pl.DataFrame, asked: Asked) -> NamedFiles:
    """The files of a dataset's items, in the order of their names.

    Raises ConfigError where no file belongs to an item, or it is not clear to which.
    """
    root = folder if asked.alone else folder / asked.dataset
    if not root.is_dir():
        raise ConfigError(
            f"{root}: no such folder; the configuration has several datasets, and each has a subfolder of its name in "
            f"{folder}"
        )
    names: dict[str, list[dict[str, Any]]] = {}
    for item in pairs.iter_rows(named=True):
        for name in dict.fromkeys((f"{item['task']}/{item['index']}", item["item_id"])):
            names.setdefault(name, []).append(item)
    rows: list[ItemRow] = []
    unmatched: list[str] = []
    taken: dict[tuple[str, int], str] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")):
        relative = path.relative_to(root).as_posix()
        meant = _meant(relative, names) if path.suffix.lower() in SUFFIXES else []
        if not meant:
            unmatched.append(relative)
            continue
        if len(meant) > 1:
            what = " and ".join(f"sample {sample} of {_name(item)}" for item, sample in meant)
            raise ConfigError(f"{path}: its name stands for {what}; rename it to task/index, or give a table")
        item, sample = meant[0]
        if first := taken.get((item["item_id"], sample)):
            raise ConfigError(f"{path}: sample {sample} of {_name(item)} is there twice, first in {root / first}")
        taken[item["item_id"], sample] = relative
        rows.append(ItemRow(str(path), item, {"path": relative, "sample_index": sample}))
    if not rows:
        example = next(pairs.iter_rows(named=True), None)
        expected = "" if example is None else f", e.g. {_name(example)}.wav or {example['item_id']}.wav"
        found = f"it holds {', '.join(unmatched[:3])} ..." if unmatched else "it is empty"
        raise ConfigError(f"{root}: holds no file named by an item of the dataset '{asked.dataset}'{expected}; {found}")
    return NamedFiles(rows, root, tuple(unmatched))


def _meant(relative: str, names: dict[str, list[dict[str, Any]]]) -> list[tuple[dict[str, Any], int]]:
    """Every (item, sample) that a file's name may stand for."""
    name = relative.rpartition(".")[0]
    found = [(item, 0) for item in names.get(name, ())]
    if numbered := _SAMPLE.fullmatch(name):
        found += [(item, int(numbered[2])) for item in names.get(numbered[1], ())]
    return found


def _name(item: dict[str, Any]) -> str:
    return f"{item['task']}/{item['index']}"
