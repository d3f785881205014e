"""The figures about people: evaluators against MOS, and their correlation over the length of the window.

Conventions: as `report.figures`. A study whose listeners are a model says SIMULATED in the title of its figures, one
whose audio is not here says external audio.
"""

from __future__ import annotations

import altair as alt
import polars as pl

from spokeneval.report.figures import PALETTE, PERCENT, SHAPES, cycle, facets, layered, model_colour, model_shape
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.people.naming import SYSTEM_LEVEL, TASK_LEVEL, WITHIN, name_of, question_name
from spokeneval.report.people.tables import PeopleTables
from spokeneval.report.people.votes import Question, of_question

MOST_PANELS = 12
_BOTH = "lines are 95 % intervals: over items for the evaluator, over items and listeners for the MOS"

Drawings = dict[str, tuple[alt.TopLevelMixin | None, str]]


def figure_names(k: int) -> dict[str, str]:
    """Which figure is which, of question k (from 0)."""
    return {name: f"people_{name}_{k + 1}" for name in ("systems", "tasks", "window")}


def people_figures(inputs: ReportInputs, found: PeopleTables, models: list[str]) -> Drawings:
    """name -> chart and its description, three for each question; nothing where there is no study."""
    drawings: Drawings = {}
    for k, question in enumerate(found.questions):
        row = dict(question.key)
        of = f" {question_name(row)}." + (" No person voted: listeners are simulated." if row["simulated"] else "")
        names = figure_names(k)
        drawings |= {
            names["systems"]: (
                evaluator_against_mos(found, question, SYSTEM_LEVEL, models),
                f"Scatter of each primary evaluator against MOS over all tasks, {_BOTH}.{of}",
            ),
            names["tasks"]: (
                evaluator_against_mos(found, question, TASK_LEVEL, models),
                f"Scatter of the evaluator that agrees best against MOS, one panel a task, {_BOTH}.{of}",
            ),
            names["window"]: (
                correlation_over_window(inputs, found, question),
                f"Pearson's r with MOS, mean within tasks, over the length of the window.{of}",
            ),
        }
    return drawings


def by_agreement(found: PeopleTables, question: Question) -> list[str]:
    """The primary evaluators, the highest r within tasks first; those without one last."""
    rows = of_question(found.people, question).filter((pl.col("level") == WITHIN) & pl.col("primary"))
    ordered = rows.sort("pearson", descending=True, nulls_last=True, maintain_order=True)
    return [name_of(row) for row in ordered.iter_rows(named=True)]


def evaluator_against_mos(
    found: PeopleTables, question: Question, level: str, models: list[str]
) -> alt.FacetChart | None:
    """System level: a panel for each primary evaluator. Task level: the best one, a panel a task."""
    order = by_agreement(found, question)
    rows = []
    for row in of_question(found.points, question).filter(pl.col("level") == level).iter_rows(named=True):
        name = name_of(row)
        if level == TASK_LEVEL and name != order[0]:
            continue
        panel = row["task"] if level == TASK_LEVEL else name
        numbers = {key: row[key] for key in ("x", "x_low", "x_high", "mos", "mos_low", "mos_high")}
        rows.append({"panel": panel, "model": row["system_id"], "_order": order.index(name), **numbers})
    if not rows:
        return None
    rows.sort(key=lambda row: row["_order"])
    shown = list(dict.fromkeys(row["panel"] for row in rows))[:MOST_PANELS]
    data = pl.DataFrame(rows, infer_schema_length=None).filter(pl.col("panel").is_in(shown)).drop("_order")
    named = [name for name in models if name in set(data["model"])]
    x = alt.X(
        "x:Q", title="right by the evaluator", scale=alt.Scale(zero=False), axis=alt.Axis(format=PERCENT, tickCount=5)
    )
    y = alt.Y("mos:Q", title=_mos_title(question), scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart()
    colour = model_colour(named)
    layers = [
        base.mark_rule(opacity=0.45).encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y, color=colour),
        base.mark_rule(opacity=0.45).encode(x=x, y=alt.Y("mos_low:Q"), y2="mos_high:Q", color=colour),
        base.mark_point(size=80, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=model_shape(named)),
    ]
    chart = facets(alt.LayerChart(layer=layers), data, "panel")
    chart["facet"]["sort"] = shown
    chart["columns"] = 3 if len(shown) > 4 else chart["columns"]
    over = f", by {order[0]}" if level == TASK_LEVEL else ""
    return _titled(chart.resolve_scale(x="independent"), question_name(dict(question.key)) + over)


def _mos_title(question: Question) -> str:
    return "MOS (simulated)" if question.simulated else "MOS"


def _titled(chart: alt.FacetChart, title: str) -> alt.FacetChart:
    titled: alt.FacetChart = chart.properties(title=alt.TitleParams(title, anchor="start", fontSize=13))
    return titled


def correlation_over_window(inputs: ReportInputs, found: PeopleTables, question: Question) -> alt.FacetChart | None:
    """r within tasks over the window, with what the best of all tried would reach by chance."""
    settings = inputs.settings
    rows = of_question(found.people, question).filter(
        (pl.col("level") == WITHIN)
        & (pl.col("kind") == "likelihood")
        & pl.col("window_s").is_not_null()
        & (pl.col("convention") == settings.primary_convention)
        & (pl.col("codebooks") == "all")
        & (pl.col("unconditional").is_null() | (pl.col("unconditional") == settings.primary_unconditional))
        & pl.col("pearson").is_not_null()
    )
    if rows["window_s"].n_unique() < 2:
        return None
    data = rows.sort("evaluator", "window_s").select(
        "evaluator", "window_s", "pearson", "r_by_chance", panel=pl.lit("r within tasks, mean over tasks")
    )
    names = data["evaluator"].unique(maintain_order=True).to_list()
    colour = alt.Color(
        "evaluator:N",
        sort=names,
        scale=alt.Scale(domain=names, range=cycle(PALETTE, names)),
        legend=alt.Legend(symbolOpacity=1, symbolStrokeWidth=2),
    )
    shape = alt.Shape("evaluator:N", sort=names, scale=alt.Scale(domain=names, range=cycle(SHAPES, names)))
    base = alt.Chart().encode(x=alt.X("window_s:Q", title="window after the transition (s)"))
    y_title = "r with MOS (simulated)" if question.simulated else "r with MOS"
    y = alt.Y("pearson:Q", title=y_title, scale=alt.Scale(domainMax=1))
    layers = layered(
        base.mark_line(strokeDash=[5, 3], strokeWidth=1).encode(y=alt.Y("r_by_chance:Q"), color=alt.value("#7F7F7F")),
        base.mark_line(strokeWidth=1.5).encode(y=y, color=colour),
        base.mark_point(size=60, filled=True, opacity=1).encode(y=y, color=colour, shape=shape),
    )
    return _titled(facets(layers, data, "panel"), question_name(dict(question.key)))
