"""The first screen: models ranked per task, what stands in the way of believing it, and what this cannot tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from spokeneval.qualification import QUALIFIES
from spokeneval.report.accuracy import is_shown_control
from spokeneval.report.drawings import interval_bar
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import BASELINES
from spokeneval.report.strata import flagged_kinds
from spokeneval.report.text import count, evaluator_name, interval, listed, percent

if TYPE_CHECKING:
    from spokeneval.report.report_tables import ReportTables

FEW_CLUSTERS = 10
FEWEST_SYSTEMS = 5
MOST_FLAGGED = 0.1
"""Share of continuations that may loop or repeat their prompt before the first screen says so."""


@dataclass
class TaskAnswer:
    """One task as the first screen shows it."""

    task: str
    is_control: bool
    evaluator: str
    rows: list[dict[str, Any]]
    judge: dict[str, Any] | None
    topline: str | None
    no_judge: str
    """Why none was chosen, where none was."""
    heard_only: list[dict[str, Any]] = field(default_factory=list)
    """Rows of models that were heard by the judge and have no accuracy, the best first."""
    is_free: bool = False
    """True where items are prompts alone, which nothing can be right or wrong about."""
    series: str | None = None
    """The training run that all rows are steps of, in whose order they then are; None where they are ranked."""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def task_answers(inputs: ReportInputs, pairs: pl.DataFrame, found: ReportTables) -> list[TaskAnswer]:
    """Every task of the dataset, in its order, control tasks last."""
    order = pairs["task"].unique(maintain_order=True).to_list()
    order.sort(key=lambda task: task in inputs.settings.control_tasks)
    answers = [_answer(inputs, task, found) for task in order]
    pairs_of = set(pairs.filter(pl.col("prompt").is_null() | pl.col("positive").is_not_null())["task"])
    for answer in answers:
        if answer.task not in pairs_of:
            answer.is_free = True
            answer.warnings = []
            answer.notes = [
                "Free prompts: nothing to be right or wrong about. What was said is under Judges and Listen."
            ]
    return answers


def _answer(inputs: ReportInputs, task: str, found: ReportTables) -> TaskAnswer:
    of_task = found.accuracy.filter(pl.col("task") == task)
    headline = of_task.filter("headline").sort(["accuracy", "model"], descending=[True, False], nulls_last=True)
    series = _one_series(inputs, headline["model"].to_list())
    if series is not None:
        order = {entry.name: k for k, entry in enumerate(inputs.series()[series])}
        headline = headline.sort(pl.col("model").replace_strict(order, return_dtype=pl.Int64))
    judge = next(found.judges.filter((pl.col("task") == task) & pl.col("chosen")).iter_rows(named=True), None)
    topline = inputs.topline(task)
    heard: dict[str, dict[str, Any]] = {}
    if judge is not None:
        of_judge = found.model_judging.filter(
            (pl.col("task") == task) & (pl.col("judge") == judge["judge"]) & (pl.col("source") == "model")
        )
        heard = {row["name"]: row for row in of_judge.iter_rows(named=True)}
    rows = [
        row
        | {
            "bar": interval_bar(row["accuracy"], row["low"], row["high"], topline),
            "heard": heard.get(row["model"]),
        }
        for row in headline.iter_rows(named=True)
    ]
    answer = TaskAnswer(
        task,
        task in inputs.settings.control_tasks,
        evaluator_name(rows[0]) if rows else "none",
        rows,
        judge,
        "; ".join(f"{entry.value:.1f} ({entry.source})" for entry in inputs.human_topline.get(task, ())) or None,
        found.no_judge.get(task, "none was tried that compares"),
        [row for name, row in sorted(heard.items(), key=_by_share) if name not in {row["model"] for row in rows}],
        series=series,
    )
    _notes(answer, inputs, of_task, found)
    _notes_of_judge(answer, found)
    return answer


def _by_share(entry: tuple[str, dict[str, Any]]) -> tuple[float, str]:
    name, row = entry
    return (2.0 if row["share"] is None else -row["share"], name)


def _one_series(inputs: ReportInputs, names: list[str]) -> str | None:
    """The series that all of these models are steps of; None where there is none, or only one step."""
    series = {inputs.models[name].series for name in names}
    return series.pop() if len(names) > 1 and len(series) == 1 else None


def answer_curves(answers: list[TaskAnswer], drawn: Collection[str]) -> list[str]:
    """Evaluators whose learning curves belong to the answer: those that rank the steps of a series."""
    ranking = [answer.rows[0]["evaluator"] for answer in answers if answer.series is not None]
    return [name for name in dict.fromkeys(ranking) if f"learning_{name}" in drawn]


def _notes(answer: TaskAnswer, inputs: ReportInputs, of_task: pl.DataFrame, found: ReportTables) -> None:
    rows = answer.rows
    if not rows:
        answer.warnings.append("No model has a score on this task.")
        return
    mdd = next((row["mdd"] for row in rows if row["mdd"] is not None), None)
    if mdd is not None:
        answer.notes.append(f"Differences below about {100 * mdd:.0f} points would mostly not be seen here.")
    failed = sum(row["n_failed"] for row in rows)
    if failed:
        answer.notes.append(f"{count(failed, 'failed row')} of {sum(row['n_items'] for row in rows):,} left out.")
    clusters = min(row["n_clusters"] for row in rows)
    if 2 <= clusters < FEW_CLUSTERS:
        answer.warnings.append(f"Only {clusters} clusters of items: intervals are too narrow.")
    shown = of_task.filter(is_shown_control(inputs.settings)).sort("evaluator", "window_s", "model")
    cues = shown.filter((pl.col("low") > 0.5) | (pl.col("high") < 0.5))
    placebos = [
        f"{evaluator_name(row)} of {row['model']} {percent(row['accuracy'])} {interval(row['low'], row['high'])}"
        for row in cues.filter(pl.col("role") == "control").iter_rows(named=True)
    ]
    if placebos:
        answer.warnings.append(f"Placebo (before the change) is off chance: {listed(placebos, 3)}.")
    for row in _baselines_off_chance(cues):
        source = "" if row["model"] == "audio" else f" of {row['model']}"
        answer.warnings.append(
            f"Without any model, '{row['evaluator']}'{source} gets {percent(row['accuracy'])} "
            f"{interval(row['low'], row['high'])}."
        )
    joins = [row for row in rows if _off_chance(row["low"], row["high"])] if answer.is_control else []
    if joins:
        heard = [f"{row['model']} {percent(row['accuracy'])} {interval(row['low'], row['high'])}" for row in joins]
        answer.warnings.append(
            f"The join alone is off chance for {listed(heard)}: it explains part of the other tasks."
        )
    for flagged in flagged_kinds(found.strata, answer.task):
        high, low = (f"{percent(row['accuracy'])} where {row['stratum']}" for row in (flagged.high, flagged.low))
        answer.warnings.append(
            f"Accuracy under {flagged.evaluator} depends on {flagged.kind} by more than chance for "
            f"{listed(flagged.models, 3)}: {flagged.models[0]} gets {high}, {low} (see Strata)."
        )


def _off_chance(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and (low > 0.5 or high < 0.5)


def _baselines_off_chance(cues: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of baselines among the controls that are off chance, without the mirror image of another."""
    rows = cues.filter(pl.col("role") == "baseline").to_dicts()
    names = {row["evaluator"] for row in rows}
    return [
        row
        for row in rows
        # `longer` and `shorter` are one cue: the one that is right is said.
        if row["evaluator"] not in ("longer", "shorter") or row["accuracy"] > 0.5 or not {"longer", "shorter"} <= names
    ]


def _notes_of_judge(answer: TaskAnswer, found: ReportTables) -> None:
    """What would let a share of the task's judge be mistaken for skill, or its ranking for one of all models."""
    level = found.judges.filter((pl.col("task") == answer.task) & pl.col("trivial") & (pl.col("verdict") == QUALIFIES))
    if not level.is_empty():
        answer.warnings.append(f"{listed(level['judge'].to_list())} qualifies: channel cues solve this task.")
    if answer.judge is None:
        return
    heard = found.model_judging.filter((pl.col("task") == answer.task) & (pl.col("judge") == answer.judge["judge"]))
    models = heard.filter((pl.col("source") == "model") & pl.col("share").is_not_null()).sort("name")
    if answer.judge["way"] == "paper":
        answer.warnings.append("The judge was chosen and compared on the items that it scores: optimistic.")
    if answer.judge["ranks"]:
        noted = models.filter(pl.col("ranking_note").is_not_null()).group_by(
            "ranked", "ranking_note", maintain_order=True
        )
        for ranked, why, names in noted.agg(pl.col("name")).iter_rows():
            (answer.notes if ranked else answer.warnings).append(f"Judge, {listed(names, 3)}: {why}.")
    reached: dict[tuple[str, ...], list[str]] = {}
    for row in heard.filter(pl.col("source").is_in(BASELINES) & pl.col("share").is_not_null()).iter_rows(named=True):
        top = row["share"] if row["high"] is None else row["high"]
        names = tuple(models.filter(pl.coalesce("low", "share") <= top)["name"])
        got = f"'{row['source']}' {percent(row['share'])} {interval(row['low'], row['high'])}".rstrip()
        if names or _off_chance(row["low"], row["high"]):
            reached.setdefault(names, []).append(got)
    for names, baselines in reached.items():
        told = f"{listed(list(names), 3)} cannot be told to do better" if names else "off chance"
        answer.warnings.append(f"Without any model, the judge gives {listed(baselines)}: {told}.")
    for row in models.filter(pl.col("n_flagged") > MOST_FLAGGED * pl.col("n_continuations")).iter_rows(named=True):
        kinds = [f"{row[f'n_{kind}']} {what}" for kind, what in _FLAGGED.items() if row[f"n_{kind}"]]
        answer.warnings.append(
            f"Of {row['n_continuations']} continuations of {row['name']}, {listed(kinds)}: the judge gives "
            f"{percent(row['share_unflagged'])} without them."
        )


_FLAGGED = {"loops": "loop", "repeats_prompt": "repeat the prompt"}


def limits(inputs: ReportInputs, found: ReportTables, answers: list[TaskAnswer]) -> list[str]:
    """What this report cannot tell, in sentences."""
    said = [_listened(found)]
    mute = {name for name, entry in inputs.models.items() if entry.vocoder is None}
    silent = [name for name in inputs.models if name in mute and name not in inputs.continuations]
    n_heard = len(inputs.models) - len(silent)
    if not n_heard:
        judges = "" if inputs.judges else " and there was no judge"
        said.append(f"No model can be heard (no vocoder){judges}: what they say next was not judged, no agreement.")
    elif not inputs.judges:
        said.append("There was no judge: what the models say next was not judged.")
    else:
        if silent:
            what = "cannot be heard and have" if len(silent) > 1 else "cannot be heard and has"
            said.append(f"{listed(silent)} {what} no vocoder: no judge, no agreement.")
        if n_heard < FEWEST_SYSTEMS:
            few = f"below {FEWEST_SYSTEMS}, a correlation has no interval"
            said.append(f"{count(n_heard, 'system')} can be heard: {few}.")
    asked = [a for a in answers if not a.is_control and not a.is_free]
    unjudged = [a.task for a in asked if a.judge is None or not a.judge["ranks"]]
    if inputs.judges and unjudged:
        said.append(f"No judge is known to hear the attribute of {listed(unjudged)}: judgements there rank nothing.")
    blurred = [a.task for a in answers if len(a.rows) > 1 and {row["letters"] for row in a.rows} == {"a"}]
    if blurred:
        said.append(f"On {listed(blurred)} no two models can be told apart.")
    if inputs.published is not None:
        said.append(
            "Published rows were made elsewhere, with other code and maybe other items: nothing is tested against them."
        )
    if len(inputs.models) == 1:
        said.append("There is one model: nothing is compared.")
    return said


def _listened(found: ReportTables) -> str:
    if not found.people:
        return (
            "Nobody has listened for this report: it holds no human ratings. What is called agreement is agreement "
            "with an automatic judge. With ratings, the same tables are made against people."
        )
    if found.people.mos["simulated"].all():
        return "Nobody has listened for this report: its ratings are simulated, and say nothing about an evaluator."
    return "What people said holds for the systems, items and listeners of their tests, and for what was asked there."


def failed_lines(found: ReportTables) -> list[str]:
    """What failed, one sentence a stage."""
    lines = []
    by_stage = found.failures.group_by("stage", "kind", maintain_order=True).agg(
        pl.col("n_rows").sum(), pl.col("name").unique().sort()
    )
    for stage, kind, n_rows, names in by_stage.iter_rows():
        lines.append(f"{stage}: {count(n_rows, 'row')} {kind.replace('_', ' ')} ({listed(names, 3)})")
    return lines
