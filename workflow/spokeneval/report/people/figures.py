"""The figures about people: evaluators against MOS, and their correlation over the length of the window.

Conventions: as `report.figures`. A study whose listeners are a model says SIMULATED in the title of its panels, one
whose audio is not here says external audio.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from spokeneval.report.figures import PALETTE, SHAPES, facets, layered, model_colour, model_shape
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.people.differences import name_of
from spokeneval.report.people.levels import SYSTEM_LEVEL, TASK_LEVEL, WITHIN
from spokeneval.report.people.tables import PeopleTables
from spokeneval.report.schemas_people import QUESTION

MOST_PANELS = 12
_BOTH = "lines are 95 % intervals: over items for the evaluator, over items and listeners for the MOS"

Drawings = dict[str, tuple[alt.TopLevelMixin | None, str]]


def marks(row: dict[str, Any]) -> str:
    """', SIMULATED', ', external audio', both or nothing: what must stand wherever a study is named."""
    simulated = ", SIMULATED" if row["simulated"] else ""
    return simulated + (", external audio" if row["audio"] == "external" else "")


def question_name(row: dict[str, Any]) -> str:
    return f"{row['test_id']}: {row['dimension']}{marks(row)}"


def people_figures(inputs: ReportInputs, found: PeopleTables, models: list[str]) -> Drawings:
    """name -> chart and its description; nothing where there is no study."""
    if not found:
        return {}
    simulated = " No person voted: listeners are simulated." if found.mos["simulated"].any() else ""
    return {
        "people_systems": (
            evaluator_against_mos(found, SYSTEM_LEVEL, models),
            f"Scatter of each primary evaluator against MOS over all tasks, {_BOTH}.{simulated}",
        ),
        "people_tasks": (
            evaluator_against_mos(found, TASK_LEVEL, models),
            f"Scatter of the evaluator that agrees best against MOS, one panel a task, {_BOTH}.{simulated}",
        ),
        "people_window": (
            correlation_over_window(inputs, found),
            f"Pearson's r with MOS, mean within tasks, over the length of the window.{simulated}",
        ),
    }


def best_evaluators(found: PeopleTables) -> dict[tuple[str, str], str]:
    """(test_id, dimension) -> the primary evaluator with the highest r within tasks."""
    rows = found.people.filter((pl.col("level") == WITHIN) & pl.col("primary") & pl.col("pearson").is_not_null())
    best: dict[tuple[str, str], str] = {}
    for row in rows.sort("pearson", descending=True, maintain_order=True).iter_rows(named=True):
        best.setdefault((row["test_id"], row["dimension"]), name_of(row))
    return best


def evaluator_against_mos(found: PeopleTables, level: str, models: list[str]) -> alt.FacetChart | None:
    """System level: a panel for each primary evaluator. Task level: the best one of each question, a panel a task."""
    best = best_evaluators(found)
    rows = []
    for row in found.points.filter(pl.col("level") == level).iter_rows(named=True):
        name = name_of(row)
        if level == TASK_LEVEL and best.get((row["test_id"], row["dimension"])) != name:
            continue
        over = f" on {row['task']}" if level == TASK_LEVEL else ""
        rows.append(
            {
                "panel": f"{name}{over} | {question_name(row)}",
                "model": row["system_id"],
                **{key: row[key] for key in ("x", "x_low", "x_high", "mos", "mos_low", "mos_high")},
            }
        )
    shown = list(dict.fromkeys(row["panel"] for row in rows))[:MOST_PANELS]
    rows = [row for row in rows if row["panel"] in shown]
    if not rows:
        return None
    named = [name for name in models if name in {row["model"] for row in rows}]
    x = alt.X("x:Q", title="evaluator", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    y = alt.Y("mos:Q", title="MOS", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart()
    colour = model_colour(named)
    layers = [
        base.mark_rule(opacity=0.45).encode(x=alt.X("x_low:Q"), x2="x_high:Q", y=y, color=colour),
        base.mark_rule(opacity=0.45).encode(x=x, y=alt.Y("mos_low:Q"), y2="mos_high:Q", color=colour),
        base.mark_point(size=80, filled=True, opacity=1).encode(x=x, y=y, color=colour, shape=model_shape(named)),
    ]
    chart = facets(alt.LayerChart(layer=layers), pl.DataFrame(rows, infer_schema_length=None), "panel")
    # a share and a naturalness score have no common axis
    own_axes: alt.FacetChart = chart.resolve_scale(x="independent")
    return own_axes


def correlation_over_window(inputs: ReportInputs, found: PeopleTables) -> alt.FacetChart | None:
    """A panel a question: r within tasks over the window, with what the best of all tried would reach by chance."""
    settings = inputs.settings
    rows = found.people.filter(
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
    kept = [
        {
            "panel": question_name(row),
            "evaluator": row["evaluator"],
            **{key: row[key] for key in ("window_s", "pearson", "r_by_chance")},
        }
        for row in rows.sort(*QUESTION, "evaluator", "window_s").iter_rows(named=True)
    ]
    names = list(dict.fromkeys(row["evaluator"] for row in kept))
    colour = alt.Color(
        "evaluator:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[PALETTE[k % len(PALETTE)] for k in range(len(names))]),
        legend=alt.Legend(symbolOpacity=1, symbolStrokeWidth=2),
    )
    shape = alt.Shape(
        "evaluator:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[SHAPES[k % len(SHAPES)] for k in range(len(names))]),
    )
    base = alt.Chart().encode(x=alt.X("window_s:Q", title="window after the transition (s)"))
    y = alt.Y("pearson:Q", title="Pearson's r with MOS", scale=alt.Scale(domainMax=1))
    layers = layered(
        base.mark_line(strokeDash=[5, 3], strokeWidth=1).encode(y=alt.Y("r_by_chance:Q"), color=alt.value("#7F7F7F")),
        base.mark_line(strokeWidth=1.5).encode(y=y, color=colour),
        base.mark_point(size=60, filled=True, opacity=1).encode(y=y, color=colour, shape=shape),
    )
    return facets(layers, pl.DataFrame(kept, infer_schema_length=None), "panel")
