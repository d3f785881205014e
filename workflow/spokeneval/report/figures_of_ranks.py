"""The slope chart: how the models' ranks move from the global evaluator to the localized one and to the judge.

Conventions: those of `figures`. Rank 1 is the best; models of equal accuracy share the mean of their ranks, and the
label says how many are tied. A panel ranks only the models that have a number in each of its columns, so that a rank
means the same in all of them; the judge's column is there where it ranks two or more of them.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from spokeneval.report.figures import cycle_dashes, facets, layered, model_colour, model_shape
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.text import count, evaluator_name, percent

_GLOBAL, _JUDGE = "global", "judge"


def ranks(
    inputs: ReportInputs, accuracy: pl.DataFrame, judging: pl.DataFrame, judges: dict[str, str]
) -> alt.FacetChart | None:
    """One panel a task; judges: task -> the judge that ranks its models. None where no task has two models under two
    of the columns."""
    rows: list[dict[str, Any]] = []
    for task in dict.fromkeys(accuracy.filter("headline")["task"]):
        rows += _panel(inputs, accuracy.filter(pl.col("task") == task), judging, task, judges.get(task))
    if not rows:
        return None
    models = [name for name in inputs.models if name in {row["model"] for row in rows}]
    columns = list(dict.fromkeys(row["column"] for row in sorted(rows, key=lambda row: row["place"])))
    x = alt.X("column:N", sort=columns, title=None, axis=alt.Axis(labelAngle=0, labelLimit=120))
    y = alt.Y(
        "rank:Q", scale=alt.Scale(reverse=True, zero=False, padding=14), axis=alt.Axis(tickMinStep=1), title="rank"
    )
    dashes = cycle_dashes(models)
    # Colour and shape are the legend; dashes there would break up its marks.
    dash = alt.StrokeDash("model:N", sort=models, scale=alt.Scale(domain=models, range=dashes), legend=None)
    base = alt.Chart().encode(x=x, y=y)
    drawn = layered(
        base.mark_line(strokeWidth=1.6).encode(color=model_colour(models), strokeDash=dash),
        base.mark_point(size=80, filled=True, opacity=1).encode(color=model_colour(models), shape=model_shape(models)),
        base.transform_filter("datum.label != ''")
        .mark_text(dy=-10, fontSize=10, color="#7F7F7F")
        .encode(text="label:N"),
    )
    most = max(row["rank"] for row in rows)
    chart = facets(drawn, pl.DataFrame(rows).drop("place"), "panel", height=max(90, int(30 * most)))
    own_axes: alt.FacetChart = chart.resolve_scale(x="independent", y="independent")
    return own_axes


def _panel(
    inputs: ReportInputs, accuracy: pl.DataFrame, judging: pl.DataFrame, task: str, judge: str | None
) -> list[dict[str, Any]]:
    """Rows of one task: a rank a model and column; none where there is nothing to compare."""
    primary = accuracy.filter(pl.col("primary") & pl.col("accuracy").is_not_null())
    headline = primary.filter("headline")
    shares: dict[str, dict[str, float]] = {}
    overall = primary.filter(pl.col("evaluator") == _GLOBAL)
    for rows in (overall, headline):
        if not rows.is_empty():
            shares[evaluator_name(rows.row(0, named=True))] = dict(rows.select("model", "accuracy").iter_rows())
    heard = judging.filter(
        (pl.col("task") == task)
        & (pl.col("judge") == (judge or ""))
        & (pl.col("source") == "model")
        & pl.col("ranked").fill_null(False)
        & pl.col("share").is_not_null()
    )
    said = dict(heard.select("name", "share").iter_rows())
    common = set.intersection(*map(set, shares.values())) if shares else set()
    if len(common & set(said)) >= 2:
        common &= set(said)
        shares[_JUDGE] = said
    if len(shares) < 2 or len(common) < 2:
        return []
    title = f"{task}: {count(len(common), 'model')}" + (f", judge {judge}" if _JUDGE in shares else "")
    found = []
    for place, (column, of_model) in enumerate(shares.items()):
        values = {name: of_model[name] for name in inputs.models if name in common}
        labelled: set[float] = set()
        for name, share in values.items():
            tied = sum(other == share for other in values.values())
            rank = sum(other > share for other in values.values()) + (tied + 1) / 2
            label = percent(share) + (f" ({tied} tied)" if tied > 1 else "")
            found.append(
                {
                    "panel": title,
                    "column": column,
                    "place": place,
                    "model": name,
                    "rank": rank,
                    "share": share,
                    "label": "" if rank in labelled else label,
                }
            )
            labelled.add(rank)
    return found
