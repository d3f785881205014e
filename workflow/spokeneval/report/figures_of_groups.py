"""Figures of groups of models: by tokenizer, with published rows beside, and learning curves.

Conventions: those of `figures`. A published row is a hollow grey diamond whose label begins with a dagger: no other
mark is hollow or grey.
"""

from __future__ import annotations

import altair as alt
import polars as pl

from spokeneval.report.figures import PALETTE, PERCENT, SHAPES, cycle, facets, layered
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.published_rows import ROLE
from spokeneval.report.schemas import CELL
from spokeneval.report.text import PUBLISHED_MARK

_PUBLISHED = f"{PUBLISHED_MARK}published"


def models_by_tokenizer(inputs: ReportInputs, accuracy: pl.DataFrame) -> alt.FacetChart | None:
    """One panel a task: models under its headline evaluator, marked by tokenizer, published rows of that evaluator
    below. None where there is one tokenizer and nothing published."""
    headline = accuracy.filter(pl.col("headline") & pl.col("accuracy").is_not_null())
    cell = ["task", "evaluator", "window_s"]
    published = accuracy.filter(pl.col("role") == ROLE).join(
        headline.select(cell).unique(), on=cell, how="semi", nulls_equal=True
    )
    if headline["tokenizer"].n_unique() < 2 and published.is_empty():
        return None
    tokenizers = headline["tokenizer"].unique().sort().to_list()
    rows = pl.concat(
        [
            headline.sort("tokenizer", "model").with_columns(group=pl.col("tokenizer"), label=pl.col("model")),
            published.sort("model").with_columns(
                group=pl.lit(_PUBLISHED), label=pl.lit(PUBLISHED_MARK) + pl.col("model")
            ),
        ]
    )
    # An own model keeps its name, and a panel its rows, where a published one is named alike.
    order = rows["label"].unique(maintain_order=True).to_list()
    groups = [*tokenizers, _PUBLISHED] if not published.is_empty() else tokenizers
    colours = [*cycle(PALETTE[:-1], tokenizers), "#7F7F7F"][: len(groups)]
    shapes = [*cycle([s for s in SHAPES if s != "diamond"], tokenizers), "diamond"][: len(groups)]
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(labelLimit=170))
    x = alt.X("accuracy:Q", title="accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format=PERCENT, tickCount=5))
    colour = alt.Color("group:N", sort=groups, scale=alt.Scale(domain=groups, range=colours), title="tokenizer")
    shape = alt.Shape("group:N", sort=groups, scale=alt.Scale(domain=groups, range=shapes), title="tokenizer")
    marks = {"x": x, "y": y, "color": colour, "shape": shape}
    base = alt.Chart().encode(y=y, color=colour)
    filled = alt.Chart().transform_filter(alt.datum.group != _PUBLISHED)
    hollow = alt.Chart().transform_filter(alt.datum.group == _PUBLISHED)
    drawn = layered(
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X("low:Q"), x2="high:Q"),
        filled.mark_point(size=80, filled=True, opacity=1).encode(**marks),
        hollow.mark_point(size=80, filled=False, opacity=1, strokeWidth=1.8).encode(**marks),
    )
    data = rows.select("task", "label", "group", "accuracy", "low", "high").sort("task", maintain_order=True)
    return facets(drawn, data, "task", height=max(20 * len(order), 70))


def learning_curves(learning: pl.DataFrame) -> dict[str, alt.FacetChart]:
    """Name of the figure -> one panel a task with a curve and band a series; one figure a primary evaluator."""
    found = {}
    for key, rows in learning.filter(pl.col("accuracy").is_not_null()).group_by(*CELL, maintain_order=True):
        cell = dict(zip(CELL, key, strict=True))
        found[f"learning_{cell['evaluator']}"] = _curves(rows)
    return found


def _curves(rows: pl.DataFrame) -> alt.FacetChart:
    series = rows["series"].unique().sort().to_list()
    scale = alt.Scale(domain=series, range=cycle(PALETTE, series))
    legend = alt.Legend(symbolOpacity=1, symbolStrokeWidth=2)
    colour = alt.Color("series:N", sort=series, scale=scale, title="series", legend=legend)
    shape = alt.Shape("series:N", sort=series, scale=alt.Scale(domain=series, range=cycle(SHAPES, series)))
    base = alt.Chart().encode(x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=5, format="~s")), color=colour)
    y = alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(zero=False), axis=alt.Axis(format=PERCENT, tickCount=5))
    drawn = layered(
        base.mark_area(fillOpacity=0.15).encode(y=alt.Y("low:Q", title="accuracy"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y),
        base.mark_point(size=60, filled=True, opacity=1).encode(y=y, shape=shape),
    )
    return facets(drawn, rows.select("task", "series", "step", "accuracy", "low", "high"), "task")
