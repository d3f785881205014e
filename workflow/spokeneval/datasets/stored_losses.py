"""Items of published per-token losses whose audio is not here.

Conventions
-----------
- The layout is that of `evaluators.stored_losses`: a folder of JSON lines or parquet files, or one file. Only what an
  item is made of is read here (task, index, transition); a model of kind `external` reads the losses.
- Clips are names, `{task}/{index}/{role}`: there is a pairs table and no clip, so nothing is encoded, continued or
  heard, and no control is measured from audio.
- Every item is its own cluster; folds are even and odd indices. `limit` keeps the lowest indices of each task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spokeneval.datasets.base import Item
from spokeneval.errors import ConfigError
from spokeneval.evaluators.stored_losses import SALMON_TRANSITIONS, Record, Transition, pair_of, read_records

ROLES = ("prompt", "positive", "negative", "continuation_positive", "continuation_negative")


class StoredLossesItems:
    """Dataset kind `stored_losses`."""

    def __init__(
        self,
        path: str | Path,
        tasks: Sequence[str] | None = None,
        limit: int | None = None,
        transitions: Mapping[str, Transition] | None = None,
    ) -> None:
        """path: folder or file. tasks: all that are there if None. limit: only the first items of each task.
        transitions: task -> how its transition is known, beside those of SALMon.

        Raises ConfigError where a task or an item is not there once; SpokenevalError where a row is not of the layout.
        """
        self._transitions = {**SALMON_TRANSITIONS, **(transitions or {})}
        by_task: dict[str, dict[int, Record]] = {}
        for record in read_records([Path(path)]):
            of_task = by_task.setdefault(record.task, {})
            if record.index in of_task:
                raise ConfigError(
                    f"{record.where}: {record.task}/{record.index} is there twice, first in "
                    f"{of_task[record.index].where}; expected one row an item"
                )
            of_task[record.index] = record
        if absent := [task for task in tasks or () if task not in by_task]:
            raise ConfigError(f"{path}: has no task '{absent[0]}'; it has {', '.join(sorted(by_task))}")
        self.tasks = tuple(tasks) if tasks is not None else tuple(by_task)
        self._records = {task: [by_task[task][index] for index in sorted(by_task[task])][:limit] for task in self.tasks}

    def items(self) -> Iterator[Item]:
        """All items, task by task, in the order of their index."""
        for task in self.tasks:
            for record in self._records[task]:
                yield self._item(record)

    def _item(self, record: Record) -> Item:
        pair = pair_of(record, self._transitions)
        return Item(
            item_id=pair["item_id"],
            task=pair["task"],
            index=pair["index"],
            cluster=pair["cluster"],
            fold=pair["fold"],
            sample_rate=pair["sample_rate"],
            positive=None,
            negative=None,
            transition=pair["transition"],
            reason=pair["reason"],
            clips={role: pair[role] for role in ROLES if pair[role] is not None},
        )
