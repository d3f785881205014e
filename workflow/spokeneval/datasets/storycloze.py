"""Spoken StoryCloze: a story with its own last sentence against one with another.

Conventions
-----------
- Layouts: the hub's copies (parquet with the columns positive and negative), or a folder of WAV files
  `<number>_<anything>.wav` as slamkit reads it; see `plain_pairs`.
- sStoryCloze has the distractor of the text benchmark, tStoryCloze the ending of another story; `task` says which.
- Each whole story was synthesised anew, so that members are not equal before their endings: there is no transition and
  no prompt, and only evaluators of whole clips apply.
- Stories are independent of each other: each item is its own cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spokeneval.datasets.base import Item
from spokeneval.datasets.plain_pairs import PlainPairs

SEPARATOR = "_"


class StoryCloze:
    """Dataset kind `storycloze`."""

    def __init__(self, path: str | Path, task: str, limit: int | None = None) -> None:
        """path: folder. task: its name in tables. limit: only the first items.

        Raises ConfigError where the folder is in no layout that is known, or a parquet file lacks its columns.
        """
        self.tasks = (task,)
        self._pairs = PlainPairs(Path(path), task, SEPARATOR)
        self._limit = limit

    def items(self) -> Iterator[Item]:
        """All items, in the order of the files."""
        return self._pairs.items(self._limit)
