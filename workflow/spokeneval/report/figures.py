"""The figures of a report: altair charts made from the report's own tables, rendered without network.

Conventions: shares are drawn as percent; models differ by colour and by shape, systems are never told apart by
colour alone; every interval that the table has is drawn. A figure that has nothing to show is None. Groups and series
of models are in `figures_of_groups`.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from spokeneval.report.heard import CEILING_ATTRIBUTE, CEILING_SELF, FLOOR
from spokeneval.report.inputs import ReportSettings

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F"]
"""Okabe and Ito's colours, yellow and black left out (they vanish on white or in dark mode)."""

SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
PERCENT = ".0%"
PANEL_WIDTH, PANEL_HEIGHT = 250, 190


def _colour(models: list[str]) -> alt.Color:
    scale = alt.Scale(domain=models, range=cycle(PALETTE, models))
    # The legend would take over the faintness of intervals and bands.
    legend = alt.Legend(symbolOpacity=1, symbolStrokeWidth=2)
    return alt.Color("model:N", sort=models, scale=scale, title="model", legend=legend)


def _shape(models: list[str]) -> alt.Shape:
    return alt.Shape("model:N", sort=models, scale=alt.Scale(domain=models, range=cycle(SHAPES, models)), title="model")


def cycle(values: list[str], models: list[str]) -> list[str]:
    return [values[i % len(values)] for i in range(len(models))]


def _data(frame: pl.DataFrame) -> alt.InlineData:
    return alt.InlineData(values=frame.to_dicts())


def accuracy_heat(accuracy: pl.DataFrame, models: list[str]) -> alt.LayerChart | None:
    """Model x task under each task's headline evaluator."""
    rows = accuracy.filter(pl.col("headline") & pl.col("accuracy").is_not_null()).sort("task", "model")
    if rows.is_empty():
        return None
    data = rows.select("task", "model", "accuracy", (pl.col("accuracy") - 0.5).abs().alias("off"))
    base = alt.Chart(_data(data)).encode(
        x=alt.X("task:N", title=None, sort=None, axis=alt.Axis(labelAngle=0, orient="top", labelLimit=160)),
        y=alt.Y("model:N", title=None, sort=models, axis=alt.Axis(labelLimit=220)),
    )
    scale = alt.Scale(domain=[0, 0.5, 1], range=["#B35806", "#F7F7F7", "#2166AC"])
    cells = base.mark_rect().encode(
        color=alt.Color("accuracy:Q", scale=scale, legend=alt.Legend(format=PERCENT), title="accuracy")
    )
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text("accuracy:Q", format=".1%"),
        color=alt.condition("datum.off > 0.42", alt.value("white"), alt.value("#1b1f24")),
    )
    width, height = max(90 * rows["task"].n_unique(), 180), max(26 * rows["model"].n_unique(), 60)
    return alt.LayerChart(layer=[cells, text]).properties(width=width, height=height)


def evaluator_against_judge(
    accuracy: pl.DataFrame, judging: pl.DataFrame, chosen: dict[str, str], models: list[str]
) -> alt.FacetChart | None:
    """One panel a task: accuracy under the headline evaluator against the chosen judge's share, both with intervals."""
    judged = pl.concat(
        [
            judging.filter((pl.col("task") == task) & (pl.col("judge") == judge) & (pl.col("source") == "model"))
            for task, judge in chosen.items()
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
        base.mark_rule(opacity=0.5).encode(x=alt.X("low:Q"), x2="high:Q", y=y, color=_colour(models)),
        base.mark_rule(opacity=0.5).encode(x=x, y=alt.Y("judge_low:Q"), y2="judge_high:Q", color=_colour(models)),
        base.mark_point(size=90, filled=True, opacity=1).encode(x=x, y=y, color=_colour(models), shape=_shape(models)),
    ]
    return facets(alt.LayerChart(layer=layers), data, "panel")


def window_sweep(accuracy: pl.DataFrame, settings: ReportSettings, models: list[str]) -> alt.FacetChart | None:
    """One panel a task: accuracy of `localized` over the length of the window."""
    rows = accuracy.filter(
        (pl.col("evaluator") == "localized")
        & (pl.col("role") == "evaluator")
        & (pl.col("convention") == settings.primary_convention)
        & (pl.col("codebooks") == "all")
        & pl.col("accuracy").is_not_null()
    )
    if rows["window_s"].n_unique() < 2:
        return None
    base = alt.Chart().encode(
        x=alt.X("window_s:Q", title="window after the transition (s)"),
        y=alt.Y(
            "accuracy:Q", title="accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format=PERCENT, tickCount=5)
        ),
        color=_colour(models),
    )
    layers = layered(
        base.mark_line(strokeWidth=1.5),
        base.mark_point(size=60, filled=True, opacity=1).encode(shape=_shape(models)),
    )
    return facets(layers, rows.select("task", "model", "window_s", "accuracy"), "task")


def transition_profile(profile: pl.DataFrame, settings: ReportSettings, models: list[str]) -> alt.FacetChart | None:
    """One panel a task: mean NLL of the wrong clip minus the right one, over time from the transition."""
    rows = profile.filter(pl.col("difference").is_not_null())
    if rows.is_empty():
        return None
    x = alt.X("time_s:Q", title="seconds from the transition")
    base = alt.Chart().encode(x=x, color=_colour(models))
    y_title = "NLL of wrong - right (nats per token)"
    window = (
        alt.Chart()
        .transform_filter("isValid(datum.from_s)")
        .mark_rect(opacity=0.18, color="#B07B00")
        .encode(x=alt.X("from_s:Q"), x2="to_s:Q")
    )
    layers = layered(
        window,
        base.mark_area(fillOpacity=0.12).encode(y=alt.Y("low:Q", title=y_title), y2="high:Q"),
        base.mark_line(strokeWidth=1.4).encode(y=alt.Y("difference:Q", title=y_title), strokeDash=_dash(models)),
    )
    # One row of each panel carries the window, so that it is drawn once.
    first = pl.int_range(pl.len()).over("task") == 0
    data = rows.select("task", "model", "time_s", "difference", "low", "high").with_columns(
        from_s=pl.when(first).then(0.0), to_s=pl.when(first).then(settings.primary_window_s)
    )
    return facets(layers, data, "task")


def _dash(models: list[str]) -> alt.StrokeDash:
    dashes = [[1, 0], [6, 2], [2, 2], [8, 3, 2, 3]]
    domain = [dashes[i % len(dashes)] for i in range(len(models))]
    return alt.StrokeDash("model:N", sort=models, scale=alt.Scale(domain=models, range=domain), title="model")


_BETWEEN = {
    FLOOR: "floor: other items",
    CEILING_ATTRIBUTE: "ceiling: prompt through the codec",
    CEILING_SELF: "ceiling: right clip through the codec",
    "model": "the model",
}


def between_floor_and_ceiling(
    judging: pl.DataFrame, chosen: dict[str, str], codecs: dict[str, str], models: list[str]
) -> alt.FacetChart | None:
    """One panel a task: each model between its floor and the ceilings of its codec, under the chosen judge."""
    rows: list[dict[str, Any]] = []
    for row in judging.filter(pl.col("source").is_in(list(_BETWEEN)) & pl.col("share").is_not_null()).iter_rows(
        named=True
    ):
        if chosen.get(row["task"]) != row["judge"]:
            continue
        ceiling = row["source"] in (CEILING_ATTRIBUTE, CEILING_SELF)
        names = [m for m, codec in codecs.items() if codec == row["name"]] if ceiling else [row["name"]]
        rows += [
            {
                "panel": f"{row['task']} (judge: {row['judge']})",
                "model": model,
                "what": _BETWEEN[row["source"]],
                "share": row["share"],
                "low": row["low"] if row["source"] == "model" else None,
                "high": row["high"] if row["source"] == "model" else None,
            }
            for model in names
        ]
    if not rows:
        return None
    what = list(_BETWEEN.values())
    y = alt.Y("model:N", sort=models, title=None, axis=alt.Axis(labelLimit=160))
    x = alt.X(
        "share:Q",
        title="nearer to the right one, by the judge",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format=PERCENT, tickCount=5),
    )
    base = alt.Chart().encode(y=y)
    layers = layered(
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(size=80, filled=True, opacity=1).encode(
            x=x,
            shape=alt.Shape(
                "what:N",
                sort=what,
                scale=alt.Scale(domain=what, range=["triangle-right", "square", "diamond", "circle"]),
                title=None,
            ),
            color=alt.Color(
                "what:N",
                sort=what,
                scale=alt.Scale(domain=what, range=["#7F7F7F", "#D55E00", "#CC79A7", "#0072B2"]),
                title=None,
            ),
        ),
    )
    height = max(24 * len({row["model"] for row in rows}), 70)
    return facets(layers, pl.DataFrame(rows, infer_schema_length=None), "panel", height=height)


def layered(*charts: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(charts))


def facets(layers: alt.LayerChart, data: pl.DataFrame, by: str, height: int = PANEL_HEIGHT) -> alt.FacetChart:
    panels = layers.properties(width=PANEL_WIDTH, height=height)
    header = alt.Header(title=None, labelFontSize=13, labelFontWeight="bold", labelLimit=300, labelAnchor="start")
    columns = 2 if data[by].n_unique() != 3 else 3
    return panels.facet(facet=alt.Facet(f"{by}:N", sort=None, header=header), data=_data(data), columns=columns)
