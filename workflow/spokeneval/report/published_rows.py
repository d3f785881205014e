"""Published rows as rows of the accuracy table: marked, sourced, and beside own rows where there are such.

Conventions
-----------
- A published row has role 'published', the convention `published` (whatever its authors did) and its source; it has no
  family, tokenizer or items, so no bootstrap: its interval is Wilson's, and only where the number of items is known.
- It stands beside own rows of the same task, evaluator and window, at the primary convention; where there are none, its
  `note` says why.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from spokeneval.published import CONVENTION, read_published, unknown_evaluators
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.text import count
from spokeneval.statistics.intervals import wilson

ROLE = "published"
AFTER_A_PROMPT = frozenset({"continuation", "unconditional", "localized", "global_norm", "localized_norm"})
"""Evaluators that need a transition: alignment tasks have none."""


def published_rows(inputs: ReportInputs, pairs: pl.DataFrame, own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a published accuracy, without letters and detectable differences; none where nothing is published.

    own: the rows of the accuracy table that were made here.
    """
    if inputs.published is None:
        return []
    frame = read_published(inputs.published)
    unknown = set(unknown_evaluators(frame))
    tasks = set(pairs["task"])
    prompted = set(pairs.filter(pl.col("transition").is_not_null())["task"])
    beside = {(row["task"], row["evaluator"], row["window_s"]) for row in own if row["role"] == "evaluator"}
    rows = []
    for row in frame.iter_rows(named=True):
        n, share = row["n_items"], row["accuracy"]
        bounds = None if n is None else wilson(share * n, n, inputs.settings.confidence)
        low, high = (None, None) if bounds is None else (bounds.low, bounds.high)
        rows.append(
            {name: row[name] for name in ("task", "model", "evaluator", "window_s", "accuracy")}
            | dict.fromkeys(("family", "tokenizer", "unconditional", "n_failed", "n_ties", "n_clusters", "averaging"))
            | {"role": ROLE, "source": inputs.published_source, "convention": CONVENTION, "codebooks": "all"}
            | {"primary": False, "headline": False, "accuracy_items": None}
            | {"n_items": n, "n_scored": n, "low": low, "high": high, "wilson_low": low, "wilson_high": high}
            | {"note": _note(row, tasks, prompted, beside, unknown)}
        )
    return rows


def _note(
    row: dict[str, Any],
    tasks: set[str],
    prompted: set[str],
    beside: set[tuple[str, str, float | None]],
    unknown: set[str],
) -> str | None:
    """Why no own row stands beside, and why there is no interval."""
    why = None
    if row["task"] not in tasks:
        why = "no own rows: the task is not in this dataset"
    elif row["evaluator"] in unknown:
        why = f"no own rows: '{row['evaluator']}' is no evaluator of spokeneval"
    elif row["evaluator"] in AFTER_A_PROMPT and row["task"] not in prompted:
        why = "no own rows: the task has no prompt, so nothing is localized or conditional here"
    elif (row["task"], row["evaluator"], row["window_s"]) not in beside:
        why = "no own rows: none were made with this evaluator and window"
    interval = "number of items not published: no interval" if row["n_items"] is None else None
    return "; ".join(filter(None, [why, interval])) or None


def published_notes(accuracy: pl.DataFrame) -> list[str]:
    """Sentences about what was published and has no counterpart, for the page."""
    rows = accuracy.filter(pl.col("role") == ROLE)
    said = []
    alone = rows.filter(pl.col("note").str.starts_with("no own rows"))
    for (note,), of_note in alone.with_columns(
        why=pl.col("note").str.strip_prefix("no own rows: ").str.split(";").list.first()
    ).group_by("why", maintain_order=True):
        cells = of_note.select("evaluator", "task").unique().sort("evaluator", "task")
        names = ", ".join(cells["evaluator"].unique().sort())
        where = ", ".join(cells["task"].unique().sort())
        said.append(f"{count(len(of_note), 'published row')} without own ones ({names} on {where}): {note}.")
    if rows["n_items"].null_count():
        said.append("The number of items is not published for all rows; those have no interval.")
    return said
