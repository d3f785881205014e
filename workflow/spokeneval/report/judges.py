"""Can the judges hear it: qualification per task and per codec, and the judge that is chosen to score models.

Conventions
-----------
- The rules are those of `spokeneval.qualification`: shares on real audio, held by interval against the human topline of
  the task or the threshold of the settings.
- The choice is cross-fitted: each half of the items is scored by the judge that was best on the other half. Where both
  halves choose the same judge it is that judge; otherwise a combined judge "a / b" stands in all tables, made of the
  rows of `a` for one half and of `b` for the other. 'paper' in the settings chooses and compares on all items.
- A judge ranks models only where it qualifies. A choice that cannot tell is shown, marked, and ranks nothing; one that
  fails is no choice. Level and spectrum judges are never chosen, and control tasks have no judge: there is no attribute
  to hear.
- A second time with the prompt's round trip in place of the prompt, for every codec, against the same bar: a judge that
  fails there ranks no model of that codec. One that cannot tell there ranks them, and is marked; so is one whose models
  speak through no codec that could be tried.
- Where a third clip of the same attribute is known, it is judged in the prompt's place as well and shown beside; the
  verdict is the prompt's.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from spokeneval.qualification import (
    CANNOT_TELL,
    FAILS,
    NO_DATA,
    QUALIFIES,
    Choice,
    Standing,
    bar_of,
    choose,
    standings,
)
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.schemas_judges import JUDGES, JUDGES_BY_CODEC
from spokeneval.report.text import interval, percent

BASELINES = ("copy", "noise_matched")
"""Sources that need no model."""


class Panel:
    """All judges that compare, on one dataset: how each stands, and which is chosen for each task."""

    def __init__(self, inputs: ReportInputs, pairs: pl.DataFrame, judging: pl.DataFrame) -> None:
        settings = inputs.settings
        self._inputs, self._pairs = inputs, pairs
        self._comparing = [name for name in inputs.qualification if inputs.judges[name].compares]
        self._trivial = [name for name in self._comparing if inputs.judges[name].trivial]
        topline = {
            task: (entries[0].value, entries[0].source) for task, entries in inputs.human_topline.items() if entries
        }
        self._bars = {task: bar_of(task, topline, settings.qualification_threshold) for task in pairs["task"].unique()}
        self.standings = self._stand(judging, "", "prompt")
        self._third = self._stand(judging, "", "same_attribute")
        own = judging.filter((pl.col("source") == "prompt") & (pl.col("name") == ""))
        self._all = [
            choice
            for choice in choose(
                {name: own.filter(pl.col("judge") == name) for name in self._comparing},
                pairs,
                self._bars,
                way=settings.judge_choice,
                trivial=self._trivial,
                n_draws=settings.n_draws,
                seed=settings.seed,
            )
            if self._comparing and choice.task not in settings.control_tasks
        ]
        self.choices = {
            choice.task: choice
            for choice in self._all
            if choice.standing is not None and choice.standing.verdict in (QUALIFIES, CANNOT_TELL)
        }
        """task -> the choice that scores models; tasks without one are absent."""
        self.notes = {choice.task: _why_none(choice) for choice in self._all if choice.task not in self.choices}
        """task -> why no judge was chosen."""
        everything = self.with_combined(judging)
        self.by_codec = {codec: self._stand(everything, codec, "prompt_round_trip") for codec in inputs.ceilings}

    def _stand(self, judging: pl.DataFrame, name: str, source: str) -> list[Standing]:
        """Standings on one source; a judge that was not asked to listen to a task has not failed there."""
        rows = judging.filter((pl.col("source") == source) & (pl.col("name") == name))
        asked = set(rows.select("task", "judge").unique().iter_rows())
        combined = sorted({judge for _, judge in asked} - set(self._inputs.judges))
        found = standings(
            {judge: rows.filter(pl.col("judge") == judge) for judge in [*self._comparing, *combined]},
            self._pairs,
            self._bars,
            trivial=self._trivial,
            source=source,
            n_draws=self._inputs.settings.n_draws,
            seed=self._inputs.settings.seed,
        )
        return [standing for standing in found if (standing.task, standing.judge) in asked]

    def table(self) -> pl.DataFrame:
        """One row per task and judge, and one per combined judge, in the schema JUDGES."""
        rows = {(standing.task, standing.judge): self._row(standing) for standing in self.standings}
        for task, choice in self.choices.items():
            assert choice.standing is not None
            row = self._row(choice.standing)
            row["note"] = "; ".join(filter(None, [choice.note, row["note"]]))
            rows[task, choice.standing.judge] = row
        return pl.DataFrame(pl.from_arrow(JUDGES.from_rows(list(rows.values())))).sort(JUDGES.key)

    def _row(self, standing: Standing) -> dict[str, Any]:
        chosen = self._chosen(standing)
        third = next((s for s in self._third if (s.task, s.judge) == (standing.task, standing.judge)), None)
        return _held(standing) | {
            "attribute": " / ".join(sorted({self._inputs.judges[j].attribute for j in standing.judge.split(" / ")})),
            "third_n": None if third is None else third.n_scored,
            "third_share": None if third is None else _or_none(third.share),
            "third_low": None if third is None else _or_none(third.low),
            "third_high": None if third is None else _or_none(third.high),
            "chosen": chosen,
            "ranks": chosen and standing.verdict == QUALIFIES,
            "way": self._inputs.settings.judge_choice,
        }

    def _chosen(self, standing: Standing) -> bool:
        choice = self.choices.get(standing.task)
        return choice is not None and choice.standing is not None and choice.standing.judge == standing.judge

    def codec_table(self) -> pl.DataFrame:
        """One row per task, judge and codec, in the schema JUDGES_BY_CODEC."""
        rows = [
            _held(standing)
            | {
                "codec": codec,
                "chosen": self._chosen(standing),
                "ranks": self._chosen(standing)
                and self._real(standing.task, standing.judge) == QUALIFIES
                and standing.verdict not in (FAILS, NO_DATA),
            }
            for codec, found in self.by_codec.items()
            for standing in found
        ]
        return pl.DataFrame(pl.from_arrow(JUDGES_BY_CODEC.from_rows(rows))).sort(JUDGES_BY_CODEC.key)

    def _real(self, task: str, judge: str) -> str:
        """The verdict on real audio; for the chosen judge that of the choice."""
        choice = self.choices.get(task)
        if choice is not None and choice.standing is not None and choice.standing.judge == judge:
            return choice.standing.verdict
        return next((s.verdict for s in self.standings if (s.task, s.judge) == (task, judge)), NO_DATA)

    def ranking_of(self, task: str, judge: str, model: str) -> tuple[bool, str | None]:
        """Does the judge rank this model on this task? With why not, or what is not certain about it."""
        verdict = self._real(task, judge)
        if task in self._inputs.settings.control_tasks:
            return False, "not ranked: a control task has no attribute to hear"
        if judge in self._trivial:
            return False, "not ranked: the judge hears level or spectrum only"
        if verdict != QUALIFIES:
            return False, f"not ranked: {verdict} on real audio"
        codec = self._inputs.codec(model)
        if codec is None:
            return True, "its audio comes from no codec that could be tried"
        found = next((s for s in self.by_codec.get(codec, []) if (s.task, s.judge) == (task, judge)), None)
        if found is None:
            return True, f"not tried through {codec}"
        if found.verdict == FAILS:
            return False, f"not ranked: the judge does not hear the attribute through {codec}"
        if found.verdict == NO_DATA:
            return False, f"not ranked: no round trip through {codec} could be judged"
        if found.verdict == CANNOT_TELL:
            return True, f"it is not certain that the judge hears the attribute through {codec}"
        return True, None

    def with_combined(self, judging: pl.DataFrame) -> pl.DataFrame:
        """The judging rows, and those of the combined judges (models, ceilings and baselines)."""
        folds = self._pairs.select("task", "item_id", "fold")
        parts = [judging]
        for task, choice in self.choices.items():
            assert choice.standing is not None
            if len(set(choice.judge_of_fold.values())) == 1:
                continue
            for fold, judge in choice.judge_of_fold.items():
                items = folds.filter((pl.col("task") == task) & (pl.col("fold") == fold))
                heard = (pl.col("name") != "") | pl.col("source").is_in(BASELINES)
                rows = judging.filter((pl.col("judge") == judge) & heard)
                kept = rows.join(items.select("task", "item_id"), on=["task", "item_id"], how="semi")
                parts.append(kept.with_columns(judge=pl.lit(choice.standing.judge)))
        return pl.concat(parts)


def _why_none(choice: Choice) -> str:
    """Why nothing scores models on a task."""
    found = choice.standing
    if found is None:
        return choice.note
    bounds = interval(_or_none(found.low), _or_none(found.high))
    if math.isnan(found.share):
        return f"{found.judge} has no verdict"
    return (
        f"the best, {found.judge}, {found.verdict} with {percent(found.share)} {bounds} "
        f"against {percent(found.bar.value)} ({found.bar.source})"
    )


def _held(standing: Standing) -> dict[str, Any]:
    """What both tables of judges say of a standing."""
    return {
        "task": standing.task,
        "judge": standing.judge,
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
        "note": standing.bootstrap.reason,
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def chosen_judges(judges: pl.DataFrame) -> dict[str, str]:
    """Task -> its chosen judge; tasks without one are absent."""
    return dict(judges.filter(pl.col("chosen")).select("task", "judge").iter_rows())


def ranking_judges(judges: pl.DataFrame) -> dict[str, str]:
    """Task -> the chosen judge that qualifies, by which models are ranked; tasks without one are absent."""
    return dict(judges.filter(pl.col("ranks")).select("task", "judge").iter_rows())
