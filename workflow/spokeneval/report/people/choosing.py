"""Would choosing a window, or combining evaluators, agree better with people on systems that were not chosen on?

Conventions
-----------
- `statistics.choice`: pairs of systems are left out in turn (or all systems of their families or codecs), everything is
  chosen and fitted on the others, and the share of left-out pairs ordered as people order them is taken, within task.
- Two sets: the primary family; and every likelihood evaluator of the primary convention with all its windows.
- Systems and tasks are those that all evaluators of the set have: an evaluator that lacks a task takes the task away,
  and `note` says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.people.best_of_many import Tried
from spokeneval.report.people.levels import joined, or_none
from spokeneval.report.people.naming import name_of
from spokeneval.report.people.votes import Question
from spokeneval.report.schemas_people import EVALUATOR
from spokeneval.report.text import count
from spokeneval.statistics.choice import BAR, choose_out_of_fold

MAX_PAIRS = 500
PRIMARY_FAMILY, ALL_WINDOWS = "primary family", "all windows"
DIFFERS, NOT_TOLD = "differs from choosing the best", "cannot be told from choosing the best"

Row = dict[str, Any]


def choice_rows(inputs: ReportInputs, question: Question, all_tried: list[Tried]) -> list[Row]:
    """Both sets, each with systems, families and codecs left out, one row a method."""
    settings = inputs.settings
    primary = [entry for entry in all_tried if entry.primary]
    windows = [
        entry
        for entry in all_tried
        if entry.kind == "likelihood"
        and entry.name[EVALUATOR.index("convention")] == settings.primary_convention
        and entry.name[EVALUATOR.index("codebooks")] == "all"
        and entry.name[EVALUATOR.index("unconditional")] in (None, settings.primary_unconditional)
    ]
    rows = _of_set(inputs, question, PRIMARY_FAMILY, primary)
    return rows + (_of_set(inputs, question, ALL_WINDOWS, windows) if len(windows) > len(primary) else [])


def _of_set(inputs: ReportInputs, question: Question, among: str, entries: list[Tried]) -> list[Row]:
    if len(entries) < 2:
        return []
    tasks = sorted(set.intersection(*(set(entry.tasks) for entry in entries)))
    systems = sorted(set.intersection(*(set(entry.systems) for entry in entries)))
    cells = question.cells[np.ix_(systems, tasks)]
    systems = [system for system, of_tasks in zip(systems, cells, strict=True) if np.isfinite(of_tasks).all()]
    reasons = []
    if len(tasks) < len(question.tasks):
        reasons.append(f"{count(len(question.tasks) - len(tasks), 'task')} that not all evaluators have left out")
    if len(systems) < len(question.systems):
        reasons.append(f"{count(len(question.systems) - len(systems), 'system')} without all values left out")
    if not tasks or not systems:
        return []
    x = np.stack([entry.over(systems, tasks) for entry in entries])
    y = question.cells[np.ix_(systems, tasks)]
    names = [name_of(dict(zip(EVALUATOR, entry.name, strict=True))) for entry in entries]
    models = [inputs.models[question.systems[system]] for system in systems]
    groups_of = {
        "family": [entry.family for entry in models],
        "codec": [f"{entry.tokenizer}\x1f{entry.vocoder}" for entry in models],
    }
    left_out: dict[str, Sequence[str] | None] = {"system": None}
    left_out |= {kind: groups for kind, groups in groups_of.items() if len(set(groups)) > 1}
    rows = []
    for kind, groups in left_out.items():
        found = choose_out_of_fold(x, y, names, groups, inputs.settings.seed, MAX_PAIRS)
        for chosen in found.methods:
            p = or_none(chosen.p)
            rows.append(
                {
                    **question.key,
                    "among": among,
                    "left_out": kind,
                    "method": chosen.method,
                    "n_evaluators": len(entries),
                    "n_systems": found.n_systems,
                    "n_tasks": len(tasks),
                    "n_pairs": found.n_pairs,
                    "n_pairs_without": found.n_pairs_without,
                    "n_pairs_not_drawn": found.n_pairs_not_drawn,
                    "accuracy": or_none(chosen.accuracy),
                    "difference": or_none(chosen.difference),
                    "p": p,
                    "verdict": None if chosen.method == "best" else DIFFERS if p is not None and p < BAR else NOT_TOLD,
                    "weights": json.dumps(chosen.weights, sort_keys=True),
                    "note": joined([*reasons, *([found.reason] if found.reason else [])]),
                }
            )
    return rows
