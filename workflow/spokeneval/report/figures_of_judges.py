"""The figures about judges: models between floor and ceiling, and evaluators against the judge."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from spokeneval.report.figures import PERCENT, facets, layered, model_colour, model_shape
from spokeneval.report.heard import CEILING_PROMPT, CEILING_SELF, CEILING_THIRD, FLOOR


def evaluator_against_judge(
    accuracy: pl.DataFrame, judging: pl.DataFrame, judges: dict[str, str], models: list[str]
) -> alt.FacetChart | None:
    """One panel a task: accuracy under the headline evaluator against the judge's share, both with intervals.

    judges: task -> the judge that ranks its models; models that it does not rank are left out.
    """
    judged = pl.concat(
        [
            judging.filter((pl.col("task") == task) & (pl.col("judge") == judge) & pl.col("ranked").fill_null(False))
            for task, judge in judges.items()
        ]
        or [judging.clear()]
    ).select("task", pl.col("name").alias("model"), "judge", "share", judge_low="low", judge_high="high")
    rows = accuracy.filter(pl.col("headline") & pl.col("accuracy").is_not_null()).join(judged, on=["task", "model"])
    rows = rows.filter(pl.col("share").is_not_null()).sort("task", "model")
    if rows.is_empty():
        return None
    data = rows.select(
        "task",
        "model",
        "accuracy",
        "low",
        "high",
        "share",
        "judge_low",
        "judge_high",
        panel=pl.col("task") + " (judge: " + pl.col("judge") + ")",
    )
    x = alt.X(
        "accuracy:Q",
        title="accuracy under the evaluator",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=PERCENT, tickCount=5),
    )
    y = alt.Y(
        "share:Q",
        title="nearer to the right one, by the judge",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=PERCENT, tickCount=5),
    )
    base = alt.Chart()
    layers = [
        base.mark_rule(opacity=0.5).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=model_colour(models)),
        base.mark_rule(opacity=0.5).encode(x=x, y=alt.Y("judge_low:Q"), y2="judge_high:Q", color=model_colour(models)),
        base.mark_point(size=90, filled=True, opacity=1).encode(
            x=x, y=y, color=model_colour(models), shape=model_shape(models)
        ),
    ]
    return facets(alt.LayerChart(layer=layers), data, "panel")


_WHAT = {
    FLOOR: ("floor: other items", "triangle-right", "#7F7F7F"),
    "copy": ("baseline: the prompt's end again", "cross", "#8C6D31"),
    "noise_matched": ("baseline: noise at the prompt's level", "triangle-down", "#56B4E9"),
    CEILING_PROMPT: ("ceiling: prompt through the codec", "square", "#D55E00"),
    CEILING_THIRD: ("ceiling: third clip through the codec", "triangle-up", "#009E73"),
    CEILING_SELF: ("ceiling: right clip through the codec", "diamond", "#CC79A7"),
    "model": ("the model", "circle", "#0072B2"),
}
"""source -> what it is, shape, colour"""
NOT_RANKED = " (not ranked)"


def between_floor_and_ceiling(
    judging: pl.DataFrame, chosen: dict[str, str], codecs: dict[str, str], models: list[str]
) -> alt.FacetChart | None:
    """One panel a task: each model between its floor and the ceilings of its codec, and the baselines beside it.

    Under the chosen judge of the task; models that it does not rank are named so.
    """
    of_judge = pl.lit(False)
    for task, judge in chosen.items():
        of_judge = of_judge | ((pl.col("task") == task) & (pl.col("judge") == judge))
    shown = judging.filter(of_judge & pl.col("source").is_in(list(_WHAT)) & pl.col("share").is_not_null())
    said = shown.filter(pl.col("source") == "model")
    ranked = {(task, name): bool(r) for task, name, r in said.select("task", "name", "ranked").iter_rows()}
    rows: list[dict[str, Any]] = []
    for row in shown.iter_rows(named=True):
        if row["source"] in (CEILING_PROMPT, CEILING_THIRD, CEILING_SELF):
            names = [model for model, codec in codecs.items() if codec == row["name"]]
        elif row["source"] in ("copy", "noise_matched"):
            names = [model for task, model in ranked if task == row["task"]]
        else:
            names = [row["name"]]
        rows += [
            {
                "panel": f"{row['task']} (judge: {row['judge']})",
                "model": model + ("" if ranked.get((row["task"], model), True) else NOT_RANKED),
                "what": _WHAT[row["source"]][0],
                "share": row["share"],
                "low": row["low"] if row["source"] == "model" else None,
                "high": row["high"] if row["source"] == "model" else None,
            }
            for model in names
        ]
    if not rows:
        return None
    there = {row["what"] for row in rows}
    what, shapes, colours = zip(*(entry for entry in _WHAT.values() if entry[0] in there), strict=True)
    order = [name for model in models for name in (model, model + NOT_RANKED)]
    y = alt.Y("model:N", sort=order, title=None, axis=alt.Axis(labelLimit=200))
    x = alt.X(
        "share:Q",
        title="nearer to the right one, by the judge",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=PERCENT, tickCount=5),
    )
    legend = alt.Legend(columns=1, labelLimit=260)
    base = alt.Chart().encode(y=y)
    layers = layered(
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(size=80, filled=True, opacity=1).encode(
            x=x,
            shape=alt.Shape("what:N", sort=what, scale=alt.Scale(domain=what, range=shapes), title=None, legend=legend),
            color=alt.Color(
                "what:N", sort=what, scale=alt.Scale(domain=what, range=colours), title=None, legend=legend
            ),
        ),
    )
    panels: dict[str, set[str]] = {}
    for row in rows:
        panels.setdefault(row["panel"], set()).add(row["model"])
    height = max(24 * max(map(len, panels.values())), 70)
    chart = facets(layers, pl.DataFrame(rows, infer_schema_length=None), "panel", height=height)
    # A model may be ranked in one panel and not in another.
    own_axes: alt.FacetChart = chart.resolve_scale(y="independent")
    return own_axes
