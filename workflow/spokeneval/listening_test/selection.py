"""Which items are heard, and what is heard of each: every model's continuation, the anchors, the prompt.

Conventions
-----------
- Items are usable items with a prompt, drawn by the seed task by task, clusters (speakers, noises, rooms) in turn,
  never by what a model did with them. All models are heard on the same items.
- Anchors are continuations that people made: `true_continuation` (continuation_positive, the top) and
  `mismatched_continuation` (continuation_negative, the bottom for questions that compare). The prompt is heard beside
  them as the reference of such questions, under a blinded name too (role human).
- A continuation that is empty, silent or failed, or too short to have a loudness, cannot be heard: it is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.listening_test.questions import Question
from spokeneval.ratings.schemas import ANCHOR, HUMAN, SYSTEM
from spokeneval.registry import closest_match
from spokeneval.tables import OK

TOP, BOTTOM, PROMPT = "true_continuation", "mismatched_continuation", "prompt"
ANCHORS = {TOP: "continuation_positive", BOTTOM: "continuation_negative"}


@dataclass(frozen=True)
class Sound:
    """Something that may be heard: where its stored audio is found, and what it is."""

    system_id: str
    role: str
    task: str
    item_id: str
    sample_index: int
    prompt: str
    """clip_id of the item's prompt"""
    clip_id: str | None
    """clip_id in the table of clips; None for a continuation, which is found by prompt and sample"""


def tasks_asked(question: Question, tasks: Sequence[str], named: Sequence[str] | None, test: str) -> list[str]:
    """The tasks that a question is asked on: those that are named, else those that it fits by their names.

    Raises ConfigError for a task that there is not, or where none fits.
    """
    if named is None:
        fitting = [task for task in tasks if question.fits(task)]
        if not fitting:
            raise ConfigError(
                f"listening_tests.{test}: '{question.name}' fits none of the tasks {', '.join(tasks)} by its name; "
                "name them in `tasks`"
            )
        return fitting
    for task in named:
        if task not in tasks:
            raise ConfigError(
                f"listening_tests.{test}: tasks: there is no task '{task}' with prompts; {closest_match(task, tasks)}"
            )
    return list(named)


def choose_items(pairs: pl.DataFrame, tasks: Sequence[str], items_per_task: int, seed: int) -> pl.DataFrame:
    """Rows of `pairs`: items_per_task usable items with a prompt of each task, fewer where there are no more."""
    usable = pairs.filter(
        (pl.col("status") == OK) & pl.col("prompt").is_not_null() & pl.col("task").is_in(list(tasks))
    ).sort("task", "index")
    order = np.random.default_rng(seed).permutation(len(usable))
    shuffled = usable.with_columns(_order=pl.Series(order, dtype=pl.Int64))
    turns = shuffled.with_columns(_turn=pl.col("_order").rank("ordinal").over("task", "cluster"))
    first = turns.sort("task", "_turn", "_order").group_by("task", maintain_order=True).head(items_per_task)
    return first.sort("task", "_turn", "_order").select(pairs.columns)


def sounds(items: pl.DataFrame, models: Sequence[str], sample_index: int, anchors: bool) -> list[Sound]:
    """What would be heard of the items, prompts among it."""
    found = []
    for item in items.iter_rows(named=True):
        about = (item["task"], item["item_id"])
        found += [Sound(model, SYSTEM, *about, sample_index, item["prompt"], None) for model in models]
        if anchors:
            found += [
                Sound(name, ANCHOR, *about, 0, item["prompt"], item[role])
                for name, role in ANCHORS.items()
                if item[role] is not None
            ]
        found.append(Sound(PROMPT, HUMAN, *about, 0, item["prompt"], item["prompt"]))
    return found
