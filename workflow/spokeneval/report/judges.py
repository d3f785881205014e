"""Can the judges hear it: qualification per task, and the judge that is chosen to score models.

Conventions
-----------
- The rules are those of `spokeneval.qualification`: shares on real audio, held by interval against the human topline of
  the task or the threshold of the settings.
- The choice is cross-fitted: each half of the items is scored by the judge that was best on the other half. Where both
  halves choose the same judge it is that judge; otherwise a combined judge "a / b" stands in all tables, made of the
  rows of `a` for one half and of `b` for the other.
- A choice that fails scores no model, one that cannot tell does and is marked. Level and spectrum judges are never
  chosen, and control tasks have no judge: there is no attribute to hear.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from spokeneval.qualification import CANNOT_TELL, QUALIFIES, Choice, Standing, bar_of, choose, standings
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.schemas import JUDGES


class Panel:
    """All judges that compare, on one dataset: how each stands, and which is chosen for each task."""

    def __init__(self, inputs: ReportInputs, pairs: pl.DataFrame, judging: pl.DataFrame) -> None:
        settings = inputs.settings
        own = judging.filter((pl.col("source") == "prompt") & (pl.col("name") == ""))
        comparing = [name for name in inputs.qualification if inputs.judges[name].compares]
        judgements = {name: own.filter(pl.col("judge") == name) for name in comparing}
        topline = {
            task: (entries[0].value, entries[0].source) for task, entries in inputs.human_topline.items() if entries
        }
        bars = {task: bar_of(task, topline, settings.qualification_threshold) for task in pairs["task"].unique()}
        trivial = [name for name in comparing if inputs.judges[name].trivial]
        n_draws, seed = settings.n_draws, settings.seed
        self._inputs = inputs
        self._pairs = pairs
        self.standings: list[Standing] = []
        choices: list[Choice] = []
        if comparing:
            asked = set(own.select("task", "judge").unique().iter_rows())
            found = standings(judgements, pairs, bars, trivial=trivial, n_draws=n_draws, seed=seed)
            # A judge that was not asked to listen to a task has not failed there.
            self.standings = [standing for standing in found if (standing.task, standing.judge) in asked]
            choices = choose(judgements, pairs, bars, trivial=trivial, n_draws=n_draws, seed=seed)
        self.choices = {
            choice.task: choice
            for choice in choices
            if choice.task not in settings.control_tasks
            and choice.standing is not None
            and choice.standing.verdict in (QUALIFIES, CANNOT_TELL)
        }
        """task -> the choice that scores models; tasks without one are absent."""
        self.notes = {choice.task: choice.note for choice in choices if choice.standing is None}
        """task -> why no judge could be chosen."""

    def table(self) -> pl.DataFrame:
        """One row per task and judge, and one per combined judge, in the schema JUDGES."""
        rows = [self._row(standing) for standing in self.standings]
        known = {(row["task"], row["judge"]) for row in rows}
        for choice in self.choices.values():
            assert choice.standing is not None
            if (choice.task, choice.standing.judge) not in known:
                rows.append(self._row(choice.standing) | {"note": choice.note})
        return pl.DataFrame(pl.from_arrow(JUDGES.from_rows(rows))).sort(JUDGES.key)

    def _row(self, standing: Standing) -> dict[str, Any]:
        choice = self.choices.get(standing.task)
        attributes = {self._inputs.judges[name].attribute for name in standing.judge.split(" / ")}
        return {
            "task": standing.task,
            "judge": standing.judge,
            "attribute": " / ".join(sorted(attributes)),
            "trivial": standing.trivial,
            "n_items": standing.n_items,
            "n_failed": standing.n_failed,
            "share": _or_none(standing.share),
            "low": _or_none(standing.low),
            "high": _or_none(standing.high),
            "wilson_low": _or_none(standing.wilson.low),
            "wilson_high": _or_none(standing.wilson.high),
            "against": standing.bar.value,
            "against_source": standing.bar.source,
            "verdict": standing.verdict,
            "chosen": choice is not None and choice.standing is not None and choice.standing.judge == standing.judge,
            "note": standing.bootstrap.reason,
        }

    def with_combined(self, judging: pl.DataFrame) -> pl.DataFrame:
        """The judging rows, and those of the combined judges."""
        folds = self._pairs.select("task", "item_id", "fold")
        parts = [judging]
        for task, choice in self.choices.items():
            assert choice.standing is not None
            if len(set(choice.judge_of_fold.values())) == 1:
                continue
            for fold, judge in choice.judge_of_fold.items():
                items = folds.filter((pl.col("task") == task) & (pl.col("fold") == fold))
                rows = judging.filter((pl.col("judge") == judge) & (pl.col("name") != ""))
                kept = rows.join(items.select("task", "item_id"), on=["task", "item_id"], how="semi")
                parts.append(kept.with_columns(judge=pl.lit(choice.standing.judge)))
        return pl.concat(parts)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def chosen_judges(judges: pl.DataFrame) -> dict[str, str]:
    """Task -> its chosen judge; tasks without one are absent."""
    return dict(judges.filter(pl.col("chosen")).select("task", "judge").iter_rows())


def qualified_tasks(judges: pl.DataFrame) -> list[str]:
    """Tasks whose chosen judge qualifies."""
    return judges.filter(pl.col("chosen") & (pl.col("verdict") == QUALIFIES))["task"].to_list()
