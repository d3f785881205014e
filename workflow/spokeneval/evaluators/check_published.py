"""Do the evaluators repeat what the authors of published losses found in them? Any folder of their layout.

Conventions
-----------
- The folder holds `{task}.jsonl` (see `evaluators.stored_losses`) and `verdicts.json`: task -> evaluator, with its
  window as in `localized_500ms` -> `correct_items` (indices) and `accuracy_percent`. Any tasks, any number of items.
- The reduction is `authors-2025-10` on the tokens of Llama-Mimi: windows are pinned at the first position at which the
  losses of the two members differ, so no transition is needed and tasks without a prompt are compared as well.
- An item differs where one of the two finds it right and the other does not. An item that cannot be scored differs.
- Bounds: `global` is arithmetic alone, so no item may differ; nor may one of a task whose members mostly share no
  prompt, where the first difference is the beginning. Elsewhere `localized` and `windowed` depend on how the authors
  found the first difference, which they did not publish: 4 items may differ, of more than 200 2 %.
- Items are compared, not percentages; where `accuracy_percent` is not the share of `correct_items`, a line says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spokeneval.errors import SpokenevalError
from spokeneval.evaluators.reduction import NAMED, EvaluatorSettings
from spokeneval.evaluators.stored_losses import LLAMA_MIMI, read_stored_losses
from spokeneval.evaluators.views import evaluate
from spokeneval.tables import FAILED

AUTHORS = NAMED["authors-2025-10"]
VERDICTS = "verdicts.json"
MAY_DIFFER, OF_ITEMS = 4, 200
_NAME = re.compile(r"(global)|(localized|windowed)_(\d+)ms")
_SHOWN = 20


@dataclass(frozen=True)
class Compared:
    """One task under one evaluator and window."""

    task: str
    name: str
    """As it is published: global, localized_500ms ..."""
    n_items: int
    differing: dict[int, str]
    """Index -> what was found where, of the items that differ."""
    accuracy_percent: float
    """Ours."""
    published_percent: float
    n_published_right: int
    shares_prompt: bool
    """Most items of the task have members that begin alike."""

    @property
    def bound(self) -> int:
        """How many items may differ."""
        if self.name == "global" or not self.shares_prompt:
            return 0
        return max(MAY_DIFFER, self.n_items * MAY_DIFFER // OF_ITEMS)

    @property
    def within(self) -> bool:
        return len(self.differing) <= self.bound


@dataclass(frozen=True)
class _Published:
    """What the authors found."""

    evaluator: str
    window_s: float | None
    right: frozenset[int]
    accuracy_percent: float


def check_published(folder: Path) -> list[Compared]:
    """Every task, evaluator and window of the folder, in its order.

    Raises SpokenevalError naming the file and what is wrong with it.
    """
    published = _read_verdicts(folder / VERDICTS)
    files = sorted(folder.glob("*.jsonl"))
    tasks = {file.stem for file in files}
    if absent := sorted(set(published) - tasks):
        raise SpokenevalError(f"{folder}: has verdicts on '{absent[0]}', but no {absent[0]}.jsonl with its losses")
    if absent := sorted(tasks - set(published)):
        raise SpokenevalError(f"{folder / VERDICTS}: lacks the task '{absent[0]}', whose losses are there")
    return [compared for task in published for compared in _task(folder / f"{task}.jsonl", task, published[task])]


def _task(path: Path, task: str, published: dict[str, _Published]) -> Iterator[Compared]:
    # The reduction pins by the losses themselves: no transition enters.
    losses = read_stored_losses([path], LLAMA_MIMI, _NoTransitions())
    if set(losses.pairs["task"]) != {task}:
        others = sorted(set(losses.pairs["task"]) - {task})
        raise SpokenevalError(f"{path}: holds items of {', '.join(others) or 'no task'}; expected those of '{task}'")
    if losses.pairs["index"].is_duplicated().any():
        twice = losses.pairs.filter(pl.col("index").is_duplicated())["index"][0]
        raise SpokenevalError(f"{path}: has the index {twice} twice; expected one line an item")
    indices = set(losses.pairs["index"])
    windows = sorted({entry.window_s for entry in published.values() if entry.window_s is not None})
    names = tuple(dict.fromkeys(entry.evaluator for entry in published.values()))
    settings = EvaluatorSettings(names, tuple(windows), (), per_codebook=False, reductions=(AUTHORS,))
    table = evaluate(losses.pairs, losses.likelihood, LLAMA_MIMI.info, settings)
    table = table.join(losses.pairs.select("task", "item_id", "index"), on=["task", "item_id"]).sort("index")
    shares_prompt = _shares_prompt(path)
    for name, entry in published.items():
        if unknown := sorted(entry.right - indices):
            raise SpokenevalError(f"{path}: lacks the item {unknown[0]}, on which {VERDICTS} has a verdict ({name})")
        rows = table.filter((pl.col("evaluator") == entry.evaluator) & pl.col("window_s").eq_missing(entry.window_s))
        right = rows["verdict"].fill_null(0).mean()
        assert isinstance(right, float)
        differing = dict(_differing(rows, entry.right))
        yield Compared(
            task, name, len(rows), differing, 100 * right, entry.accuracy_percent, len(entry.right), shares_prompt
        )


def _shares_prompt(path: Path) -> bool:
    """By the published lengths of the samples that both members have in common; True where they are not published."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    lengths = [record.get("positive_negative_common_audio_prefix_length") for record in records]
    return 2 * sum(1 for length in lengths if length != 0) > len(lengths)


class _NoTransitions(dict[str, Any]):
    """Every task is taken as one without a prompt."""

    def __contains__(self, task: object) -> bool:
        return True

    def __missing__(self, task: str) -> str:
        return "none"


def _differing(rows: pl.DataFrame, right: frozenset[int]) -> Iterator[tuple[int, str]]:
    for row in rows.iter_rows(named=True):
        theirs = "right" if row["index"] in right else "wrong"
        if row["status"] == FAILED:
            yield row["index"], f"published {theirs}, here failed: {row['reason']}"
        elif (row["verdict"] == 1) != (row["index"] in right):
            scores = f"{row['score_positive']:.6f} against {row['score_negative']:.6f} nats"
            yield row["index"], f"published {theirs}, here {'wrong' if theirs == 'right' else 'right'}: {scores}"


def _read_verdicts(path: Path) -> dict[str, dict[str, _Published]]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpokenevalError(f"{path}: cannot be read ({error.strerror}); expected the authors' verdicts") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SpokenevalError(f"{path}: not JSON ({error})") from error
    if not isinstance(read, dict) or not read or not all(isinstance(v, dict) and v for v in read.values()):
        raise SpokenevalError(f"{path}: expected task -> evaluator -> correct_items and accuracy_percent")
    return {
        task: {name: _entry(name, values, f"{path}: {task}, {name}") for name, values in by_name.items()}
        for task, by_name in read.items()
    }


def _entry(name: str, values: Any, where: str) -> _Published:
    match = _NAME.fullmatch(name)
    if match is None or (match[3] is not None and int(match[3]) == 0):
        raise SpokenevalError(f"{where}: unknown evaluator; expected global, localized_<n>ms or windowed_<n>ms")
    items = values.get("correct_items") if isinstance(values, dict) else None
    percent = values.get("accuracy_percent") if isinstance(values, dict) else None
    if not isinstance(items, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in items):
        raise SpokenevalError(f"{where}: correct_items is {str(items)[:40]}; expected a list of indices")
    if not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise SpokenevalError(f"{where}: accuracy_percent is {percent!r}; expected a number from 0 to 100")
    window_s = None if match[3] is None else int(match[3]) / 1000
    return _Published(match[1] or match[2], window_s, frozenset(items), float(percent))


def report_lines(compared: list[Compared]) -> list[str]:
    """What is printed: a line a task, evaluator and window; the items that differ; the verdict."""
    width = max((len(c.task) for c in compared), default=4)
    lines = [f"{'task':{width}}  {'evaluator':16}  items  published %  here %  differ  allowed"]
    lines += [
        f"{c.task:{width}}  {c.name:16}  {c.n_items:5d}  {c.published_percent:11.2f}  {c.accuracy_percent:6.2f}  "
        f"{len(c.differing):6d}  {c.bound:7d}{'' if c.within else '  TOO MANY'}"
        for c in compared
    ]
    lines += [
        f"note: {c.task}, {c.name}: accuracy_percent is {c.published_percent:g}, but correct_items are "
        f"{c.n_published_right} of {c.n_items}"
        for c in compared
        if abs(100 * c.n_published_right / c.n_items - c.published_percent) > 0.01
    ]
    if any(c.differing for c in compared):
        lines += ["", "items that differ"]
    for c in compared:
        shown = list(c.differing.items())[:_SHOWN]
        lines += [f"  {c.task}, {c.name}, item {index}: {what}" for index, what in shown]
        if len(c.differing) > _SHOWN:
            lines.append(f"  {c.task}, {c.name}: and {len(c.differing) - _SHOWN} more")
    n_verdicts, n_differ = sum(c.n_items for c in compared), sum(len(c.differing) for c in compared)
    n_beyond = sum(not c.within for c in compared)
    beyond = f"{n_beyond} of {len(compared)} comparisons are beyond their bound"
    said = beyond if n_beyond else "all within their bounds"
    lines += ["", f"{n_differ} of {n_verdicts} verdicts differ; {said}"]
    return lines
