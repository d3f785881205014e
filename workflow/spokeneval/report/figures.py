"""The figures of a report: altair charts made from the report's own tables, rendered without network.

Conventions: shares are drawn as percent; models differ by colour and by shape, systems are never told apart by
colour alone; every interval that the table has is drawn. A figure that has nothing to show is None. Groups and series
of models are in `figures_of_groups`, judges in `figures_of_judges`.
"""

from __future__ import annotations

import altair as alt
import polars as pl

from spokeneval.report.inputs import ReportSettings

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#7F7F7F"]
"""Okabe and Ito's colours, yellow and black left out (they vanish on white or in dark mode)."""

SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
PERCENT = ".0%"
PANEL_WIDTH, PANEL_HEIGHT = 250, 190


def model_colour(models: list[str]) -> alt.Color:
    scale = alt.Scale(domain=models, range=cycle(PALETTE, models))
    # The legend would take over the faintness of intervals and bands.
    legend = alt.Legend(symbolOpacity=1, symbolStrokeWidth=2)
    return alt.Color("model:N", sort=models, scale=scale, title="model", legend=legend)


def model_shape(models: list[str]) -> alt.Shape:
    # One step further in each round of colours, so that no two of 64 models are drawn alike.
    shapes = [SHAPES[(i + i // len(PALETTE)) % len(SHAPES)] for i in range(len(models))]
    return alt.Shape("model:N", sort=models, scale=alt.Scale(domain=models, range=shapes), title="model")


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
        color=model_colour(models),
    )
    layers = layered(
        base.mark_area(fillOpacity=0.1).encode(y=alt.Y("low:Q", title="accuracy"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5),
        base.mark_point(size=60, filled=True, opacity=1).encode(shape=model_shape(models)),
    )
    return facets(layers, rows.select("task", "model", "window_s", "accuracy", "low", "high"), "task")


def transition_profile(profile: pl.DataFrame, settings: ReportSettings, models: list[str]) -> alt.FacetChart | None:
    """One panel a task: mean NLL of the wrong clip minus the right one, over time from the transition."""
    rows = profile.filter(pl.col("difference").is_not_null())
    if rows.is_empty():
        return None
    x = alt.X("time_s:Q", title="seconds from the transition")
    base = alt.Chart().encode(x=x, color=model_colour(models))
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
    scale = alt.Scale(domain=models, range=cycle_dashes(models))
    return alt.StrokeDash("model:N", sort=models, scale=scale, title="model")


def cycle_dashes(models: list[str]) -> list[list[int]]:
    """A dash pattern a model."""
    dashes = [[1, 0], [6, 2], [2, 2], [8, 3, 2, 3]]
    return [dashes[i % len(dashes)] for i in range(len(models))]


def layered(*charts: alt.Chart) -> alt.LayerChart:
    return alt.LayerChart(layer=list(charts))


def facets(layers: alt.LayerChart, data: pl.DataFrame, by: str, height: int = PANEL_HEIGHT) -> alt.FacetChart:
    panels = layers.properties(width=PANEL_WIDTH, height=height)
    header = alt.Header(title=None, labelFontSize=13, labelFontWeight="bold", labelLimit=300, labelAnchor="start")
    columns = 2 if data[by].n_unique() != 3 else 3
    return panels.facet(facet=alt.Facet(f"{by}:N", sort=None, header=header), data=_data(data), columns=columns)
