"""Free prompts: any recordings that models continue, with nothing to be right or wrong about.

Conventions
-----------
- A folder: every audio file in it (WAV, FLAC, OGG, MP3), in the order of their names; the item_id is the path without
  its suffix. Or a table, CSV or parquet, with the column `path` (inside the table's folder), and `task`, `item_id`,
  `cluster` and `fold` ('a' or 'b') where there are such; any other column is a label.
- An item has a prompt and no members: the whole recording, or its first `prompt_s` seconds where it is longer. Nothing
  is scored by likelihood, and no judge compares: what is said is heard, for its naturalness and by people.
- A prompt keeps its rate and its level; channels are averaged, which `note` says. One that cannot be read is a failed
  item with its reason.
- Without `cluster` every item is its own; clusters go to folds 'a' and 'b' in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spokeneval.audio import fit_gain, read_recording, to_pcm
from spokeneval.datasets.audio_pair import without_audio
from spokeneval.datasets.base import Item
from spokeneval.datasets.recordings import inside, listed, read_table
from spokeneval.errors import ConfigError, ItemError

TASK = "prompts"
"""Of all items of a folder, and of a table without a column `task`."""
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
OPTIONAL = ("task", "item_id", "cluster", "fold")


@dataclass(frozen=True)
class Row:
    """One recording, as it was listed."""

    item_id: str
    task: str
    index: int
    path: str | None
    """Inside the folder; None where the table's cell is empty."""
    cluster: str
    fold: str
    labels: dict[str, str]


class Prompts:
    """Dataset kind `prompts`."""

    def __init__(self, path: str | Path, prompt_s: float | None = None, limit: int | None = None) -> None:
        """path: the folder or the table. prompt_s: longest prompt; None for whole recordings. limit: only the first
        items of each task.

        Raises ConfigError for a folder without audio, and for a table that cannot be used as a whole: no such file, no
        column `path`, an item_id that comes twice, a fold other than 'a' and 'b'.
        """
        source = Path(path)
        self._folder = source if source.is_dir() else source.parent
        self._prompt_s = prompt_s
        rows = _rows_of_folder(source) if source.is_dir() else _rows_of_table(source)
        self.tasks = tuple(dict.fromkeys(row.task for row in rows))
        self._rows = [row for row in rows if limit is None or row.index < limit]

    def items(self) -> Iterator[Item]:
        """All items, task by task, in the order of the folder or table."""
        for task in self.tasks:
            for row in self._rows:
                if row.task == task:
                    yield self._item(row)

    def _item(self, row: Row) -> Item:
        item = replace(
            without_audio(row.item_id, row.task, row.index, row.cluster, row.fold),
            labels=row.labels,
            sources={"prompt": row.path},
        )
        try:
            return self._with_audio(item, row)
        except ItemError as error:
            return replace(item, reason=str(error))

    def _with_audio(self, item: Item, row: Row) -> Item:
        if row.path is None:
            raise ItemError("the column 'path' is empty; expected the path of an audio file")
        relative = inside(row.path)
        if relative is None:
            raise ItemError(f"'{row.path}' is not a path inside the table's folder")
        recording = read_recording(self._folder / relative, relative)
        n_samples = None if self._prompt_s is None else max(1, round(self._prompt_s * recording.sample_rate))
        waveform = recording.waveform[:n_samples]
        gain = fit_gain(waveform, recording.subtype)
        return replace(
            item,
            sample_rate=recording.sample_rate,
            prompt=to_pcm(waveform * np.float32(gain), recording.subtype),
            transition=len(waveform),
            subtype=recording.subtype,
            gain=gain,
            note=recording.note,
        )


def _rows_of_folder(folder: Path) -> list[Row]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        raise ConfigError(f"{folder}: holds no audio file; expected {', '.join(SUFFIXES)}, or name a table")
    paths = [path.relative_to(folder).as_posix() for path in files]
    names = [path.rpartition(".")[0] for path in paths]
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        first, second = [path for path, name in zip(paths, names, strict=True) if name == twice[0]][:2]
        raise ConfigError(f"{folder}: {first} and {second} would be one item '{twice[0]}'; rename one of them")
    return [
        Row(name, TASK, index, path, name, "ab"[index % 2], {})
        for index, (name, path) in enumerate(zip(names, paths, strict=True))
    ]


def _rows_of_table(table: Path) -> list[Row]:
    values = list(read_table(table, ("path",)).iter_rows(named=True))
    problems = [
        f"row {n}: fold is '{row['fold']}', expected 'a' or 'b'"
        for n, row in enumerate(values, start=2)
        if row.get("fold") not in {None, "a", "b"}
    ]
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    folds: dict[str, str] = {}
    for row in values:
        task = row.get("task") or TASK
        item_id = row.get("item_id") or f"{task}-{seen[task]:04d}"
        cluster = row.get("cluster") or item_id
        fold = row.get("fold") or folds.setdefault(cluster, "ab"[len(folds) % 2])
        labels = {name: row[name] for name in row if name not in ("path", *OPTIONAL) and row[name] is not None}
        rows.append(Row(item_id, task, seen[task], row["path"], cluster, fold, labels))
        seen[task] += 1
    counts = Counter(row.item_id for row in rows)
    problems += [f"item_id '{name}' is there {n} times" for name, n in counts.items() if n > 1]
    if problems:
        raise ConfigError(f"{table}: {listed(problems)}")
    return rows
