"""Pairs of audio files that exist already, from a table.

Conventions
-----------
- The table is a CSV or parquet with the columns `task`, `positive`, `negative` (paths inside the table's folder). It
  may have `transition_s` (seconds; empty where members share no prompt), `item_id`, `cluster` and `fold` ('a' or 'b').
  Any other column is a label.
- Clips keep their rate and their levels; channels are averaged, which `note` says. The transition is rounded to the
  nearest sample. Where a member exceeds full scale, both are scaled by one gain.
- An item that cannot be used (a file is missing or unreadable, rates differ, the transition lies outside a clip, both
  members are the same) is a failed item with its reason.
- The label `prefix` says whether members agree before the transition, sample for sample: 'equal', 'differs' or 'none'.
- Without `fold`, items that share a cluster or a file are kept in one fold, and such groups go to 'a' and 'b' in turn.
  Without `cluster`, each such group is a cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.datasets.audio_pair import Member, read_pair, with_audio, without_audio
from spokeneval.datasets.base import Item
from spokeneval.datasets.recordings import inside, listed, read_table
from spokeneval.errors import ConfigError, ItemError

REQUIRED = ("task", "positive", "negative")
OPTIONAL = ("transition_s", "item_id", "cluster", "fold")


@dataclass(frozen=True)
class Row:
    """One row of the table, as it was written."""

    item_id: str
    task: str
    index: int
    positive: str | None
    negative: str | None
    transition_s: str | None
    cluster: str
    fold: str
    labels: dict[str, str]


class Pairs:
    """Dataset kind `pairs`."""

    def __init__(self, table: str | Path, limit: int | None = None) -> None:
        """table: see above. limit: only the first items of each task.

        Raises ConfigError for a table that cannot be used as a whole: no such file, missing columns, no task in a row,
        an item_id that comes twice, a fold other than 'a' and 'b'.
        """
        self._folder = Path(table).parent
        rows = _read_rows(Path(table))
        self.tasks = tuple(dict.fromkeys(row.task for row in rows))
        self._rows = [row for row in rows if limit is None or row.index < limit]

    def items(self) -> Iterator[Item]:
        """All items, task by task, in the order of the table."""
        for task in self.tasks:
            for row in self._rows:
                if row.task == task:
                    yield self._item(row)

    def _item(self, row: Row) -> Item:
        item = replace(
            without_audio(row.item_id, row.task, row.index, row.cluster, row.fold),
            labels=row.labels,
            sources={"positive": row.positive, "negative": row.negative},
        )
        try:
            return self._with_audio(item, row)
        except ItemError as error:
            return replace(item, reason=str(error))

    def _with_audio(self, item: Item, row: Row) -> Item:
        pair = read_pair(self._member(row.positive, "positive"), self._member(row.negative, "negative"))
        transition = _transition(row.transition_s, pair.sample_rate, pair.positive, pair.negative)
        labels = {**row.labels, "prefix": _prefix(pair.positive, pair.negative, transition)}
        return replace(with_audio(item, pair, transition), labels=labels)

    def _member(self, path: str | None, role: str) -> Member:
        if path is None:
            raise ItemError(f"the column '{role}' is empty; expected the path of an audio file")
        relative = inside(path)
        if relative is None:
            raise ItemError(f"{role}: '{path}' is not a path inside the table's folder")
        return Member(relative, self._folder / relative)


def _transition(written: str | None, rate: int, *members: NDArray[np.int32]) -> int | None:
    """The transition in samples. Raises ItemError where it is no number or lies outside a member."""
    if written is None:
        return None
    try:
        seconds = float(written)
    except ValueError:
        raise ItemError(f"transition_s is '{written}'; expected seconds") from None
    shortest = min(map(len, members))
    if not np.isfinite(seconds) or not 0 < round(seconds * rate) < shortest:
        raise ItemError(
            f"transition_s is {seconds:g} s; expected a time inside both clips, of which the shorter lasts "
            f"{shortest / rate:.3f} s"
        )
    return round(seconds * rate)


def _prefix(positive: NDArray[np.int32], negative: NDArray[np.int32], transition: int | None) -> str:
    if transition is None:
        return "none"
    return "equal" if np.array_equal(positive[:transition], negative[:transition]) else "differs"


def _read_rows(table: Path) -> list[Row]:
    frame = read_table(table, REQUIRED)
    values = list(frame.iter_rows(named=True))
    problems = [f"row {n}: task is empty" for n, row in enumerate(values, start=2) if row["task"] is None]
    problems += [
        f"row {n}: fold is '{row['fold']}', expected 'a' or 'b'"
        for n, row in enumerate(values, start=2)
        if row.get("fold") not in {None, "a", "b"}
    ]
    counts = Counter(row["item_id"] for row in values if row.get("item_id"))
    problems += [f"item_id '{name}' is there {n} times" for name, n in counts.items() if n > 1]
    if problems:
        raise ConfigError(f"{table}: {listed(problems)}")
    groups = _connected(values)
    seen: Counter[str] = Counter()
    rows: list[Row] = []
    for row, group in zip(values, groups, strict=True):
        task = row["task"]
        label_names = [name for name in row if name not in REQUIRED + OPTIONAL and row[name] is not None]
        rows.append(
            Row(
                item_id=row.get("item_id") or f"{task}-{seen[task]:04d}",
                task=task,
                index=seen[task],
                positive=row["positive"],
                negative=row["negative"],
                transition_s=row.get("transition_s"),
                cluster=row.get("cluster") or f"group-{group:04d}",
                fold=row.get("fold") or "ab"[group % 2],
                labels={name: row[name] for name in label_names},
            )
        )
        seen[task] += 1
    twice = [name for name, n in Counter(row.item_id for row in rows).items() if n > 1]
    if twice:
        raise ConfigError(f"{table}: item_id '{twice[0]}' is given to one item and made for another; give all or none")
    return rows


def _connected(values: list[dict[str, str | None]]) -> list[int]:
    """Number of each row's group, counted from 0 in the order of the table: rows that share a cluster or a file."""
    parent = list(range(len(values)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[tuple[str, str], int] = {}
    for number, row in enumerate(values):
        shared = [("file", row[role]) for role in ("positive", "negative")] + [("cluster", row.get("cluster"))]
        for kind, name in shared:
            if name is not None:
                one, other = root(first.setdefault((kind, name), number)), root(number)
                parent[max(one, other)] = min(one, other)
    roots = [root(number) for number in range(len(values))]
    numbers = {name: position for position, name in enumerate(dict.fromkeys(roots))}
    return [numbers[name] for name in roots]
