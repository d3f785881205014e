"""Which items evaluators, models and judges disagree on.

Conventions
-----------
- Verdicts are those of `items_long` (1 right, 0.5 tie, 0 wrong; failed ones are none), of models under the primary
  evaluators at the primary convention and window, and of the judge that the task has.
- `models`: 4 p (1 - p), p the mean verdict over models under the headline evaluator: 0 where all agree, 1 where they
  are split in half. `evaluators`: the same over the primary evaluators of one model, averaged over models.
- `judge`: mean over models of |headline verdict - judge's verdict| of the first sample.
- Each is in [0, 1], null where fewer than two verdicts meet.
- `people`: mean over models of |headline verdict - what people say|, 1 where their MOS of the item (the question of
  `items_long`) lies above the middle of the scale, 0 below, 0.5 on it; models without votes are in no mean.
- `right`: mean headline verdict over models.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from spokeneval.ratings.schemas import MOS
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.items import JUDGE_PREFIX
from spokeneval.tables import read_table

KEY = ["task", "item_id"]
MEASURES = ("evaluators", "models", "judge", "people")


def primary_rows(inputs: ReportInputs, items: pl.DataFrame) -> pl.DataFrame:
    """Rows of the models' primary evaluators: one per model, item and evaluator."""
    settings = inputs.settings
    unconditional = pl.col("unconditional")
    return items.filter(
        pl.col("model").is_in(list(inputs.models))
        & pl.col("evaluator").is_in(list(settings.primary_evaluators))
        & (pl.col("convention") == settings.primary_convention)
        & (pl.col("codebooks") == "all")
        & (pl.col("window_s").is_null() | (pl.col("window_s") == settings.primary_window_s))
        & (unconditional.is_null() | (unconditional == settings.primary_unconditional))
    )


def judge_rows(inputs: ReportInputs, items: pl.DataFrame, judges: dict[str, str]) -> pl.DataFrame:
    """Rows of the judge of each task, first samples: one per model and item. judges: task -> its judge."""
    asked = pl.DataFrame(
        {"task": list(judges), "evaluator": [JUDGE_PREFIX + judge for judge in judges.values()]},
        schema={"task": pl.String, "evaluator": pl.String},
    )
    rows = items.filter(pl.col("model").is_in(list(inputs.models)) & (pl.col("sample_index") == 0))
    return rows.join(asked, on=["task", "evaluator"], how="semi")


def headlines(accuracy: pl.DataFrame) -> dict[str, str]:
    """task -> the evaluator that ranks its models."""
    rows = accuracy.filter(pl.col("headline")).select("task", "evaluator").unique()
    return dict(rows.sort("task").iter_rows())


@dataclass(frozen=True, eq=False)
class Disagreement:
    """The rows that verdicts are taken from, and how much each item is disagreed on."""

    primary: pl.DataFrame
    judged: pl.DataFrame
    headline: dict[str, str]
    """task -> the evaluator that ranks its models"""
    measures: pl.DataFrame
    """task, item_id, right, evaluators, models, judge, people"""


def item_disagreement(
    inputs: ReportInputs, items: pl.DataFrame, accuracy: pl.DataFrame, judges: dict[str, str]
) -> Disagreement:
    """How much is disagreed on each item of `items` (items_long)."""
    primary, judged, headline = primary_rows(inputs, items), judge_rows(inputs, items, judges), headlines(accuracy)
    liked = liked_rows(primary, middles(inputs))
    return Disagreement(primary, judged, headline, disagreement(primary, judged, headline, liked))


def middles(inputs: ReportInputs) -> pl.DataFrame:
    """mos_test_id, mos_dimension, middle: the middle of the scale of each question that people were asked."""
    empty = pl.DataFrame(schema={"mos_test_id": pl.String, "mos_dimension": pl.String, "middle": pl.Float64})
    named = {"mos_test_id": "test_id", "mos_dimension": "dimension"}
    return pl.concat(
        [
            empty,
            *(
                read_table(study.mos, MOS)
                .select(**named, middle=(pl.col("scale_low") + pl.col("scale_high")) / 2)
                .unique()
                for study in inputs.studies.values()
            ),
        ]
    )


def liked_rows(primary: pl.DataFrame, middle: pl.DataFrame) -> pl.DataFrame:
    """task, item_id, model, liked: 1 where people's MOS lies above the middle of its scale, 0 below, 0.5 on it."""
    rated = primary.filter(pl.col("mos").is_not_null()).unique([*KEY, "model"])
    both = rated.join(middle, on=["mos_test_id", "mos_dimension"])
    return both.select(*KEY, "model", liked=((pl.col("mos") - pl.col("middle")).sign() + 1) / 2)


def disagreement(
    primary: pl.DataFrame, judged: pl.DataFrame, headline: dict[str, str], liked: pl.DataFrame
) -> pl.DataFrame:
    """task, item_id, right, evaluators, models, judge, people of every item that has a verdict."""
    shown = pl.DataFrame(
        {"task": list(headline), "evaluator": list(headline.values())},
        schema={"task": pl.String, "evaluator": pl.String},
    )
    first = primary.join(shown, on=["task", "evaluator"], how="semi").filter(pl.col("verdict").is_not_null())
    over_models = first.group_by(KEY).agg(right=pl.col("verdict").mean(), models=_split())
    of_model = primary.filter(pl.col("verdict").is_not_null()).group_by(*KEY, "model").agg(evaluators=_split())
    over_evaluators = of_model.group_by(KEY).agg(pl.col("evaluators").mean())
    both = first.join(
        judged.filter(pl.col("verdict").is_not_null()).select(*KEY, "model", pl.col("verdict").alias("heard")),
        on=[*KEY, "model"],
    )
    over_judge = both.group_by(KEY).agg(judge=(pl.col("verdict") - pl.col("heard")).abs().mean())
    found = over_models.join(over_evaluators, on=KEY, how="full", coalesce=True)
    rated = first.join(liked, on=[*KEY, "model"])
    over_people = rated.group_by(KEY).agg(people=(pl.col("verdict") - pl.col("liked")).abs().mean())
    found = found.join(over_judge, on=KEY, how="left").join(over_people, on=KEY, how="left")
    return found.select(*KEY, "right", *MEASURES).sort(KEY)


def most_disagreed(found: pl.DataFrame, n_items: int, without: pl.DataFrame) -> pl.DataFrame:
    """task, item_id of the items that judge, then models, then evaluators disagree on most; none of `without`."""
    left = found.join(without.select(KEY), on=KEY, how="anti")
    order = [pl.col(name).fill_null(-1.0).round(9) for name in ("judge", "models", "evaluators")]
    return left.sort([*order, "task", "item_id"], descending=[True, True, True, False, False]).head(n_items).select(KEY)


def _split() -> pl.Expr:
    """4 p (1 - p) of a group's mean verdict; null for fewer than two."""
    p = pl.col("verdict").mean()
    return pl.when(pl.len() >= 2).then(4 * p * (1 - p))
