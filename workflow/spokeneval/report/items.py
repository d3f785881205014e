"""The long table of items: every score of every item, by model, evaluator and window."""

from __future__ import annotations

import polars as pl

from spokeneval import tables
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.schemas import ITEMS_LONG

JUDGE_PREFIX = "judge:"
"""Rows of a judge are named `judge:<name>`; their scores are cosines, higher is better."""


def read_judging(inputs: ReportInputs) -> pl.DataFrame:
    """All judging rows of the run, with the columns judge and name (model, codec, or '' for the judge's own rows)."""
    empty = pl.from_arrow(tables.JUDGING.empty())
    assert isinstance(empty, pl.DataFrame)
    frames = [empty.with_columns(judge=pl.lit("", pl.String), name=pl.lit("", pl.String)).clear()]
    sources = [((judge, ""), path) for judge, path in inputs.qualification.items()]
    sources += [((judge, model), path) for (model, judge), path in inputs.judging.items()]
    sources += [((judge, codec), p) for codec, by_judge in inputs.ceilings.items() for judge, p in by_judge.items()]
    for (judge, name), path in sources:
        frame = tables.read_table(path, tables.JUDGING)
        frames.append(frame.with_columns(judge=pl.lit(judge), name=pl.lit(name)))
    return pl.concat(frames)


def items_long(pairs: pl.DataFrame, scores: pl.DataFrame, judging: pl.DataFrame) -> pl.DataFrame:
    """Likelihood evaluators, controls and model judgements as one table in the schema ITEMS_LONG.

    The columns of votes are still null: `people.items_mos` fills them in.
    """
    clusters = pairs.select("task", "item_id", "cluster")
    likelihood = scores.with_columns(
        margin=pl.col("score_negative") - pl.col("score_positive"),
        sample_index=pl.lit(0, pl.Int16),
        flags=pl.lit(None, pl.List(pl.String)),
    )
    judged = judging.filter((pl.col("source") == "model") & (pl.col("name") != "")).select(
        pl.col("name").alias("model"),
        "task",
        "item_id",
        (pl.lit(JUDGE_PREFIX) + pl.col("judge")).alias("evaluator"),
        pl.lit(None, pl.Float64).alias("window_s"),
        pl.lit(None, pl.String).alias("unconditional"),
        pl.lit("all").alias("codebooks"),
        pl.lit("default").alias("convention"),
        "sample_index",
        # A naturalness judge has one number and no pair of cosines.
        pl.coalesce("cos_positive", "score").cast(pl.Float64).alias("score_positive"),
        pl.col("cos_negative").cast(pl.Float64).alias("score_negative"),
        *(pl.lit(None, pl.Int32).alias(f"n_scored_{role}") for role in ("positive", "negative")),
        *(pl.lit(None, pl.Float64).alias(f"seconds_{role}") for role in ("positive", "negative")),
        "verdict",
        pl.col("margin").cast(pl.Float64),
        "status",
        "reason",
        "flags",
    )
    no_votes = (
        pl.lit(None, pl.Float64).alias("mos"),
        pl.lit(None, pl.Int64).alias("n_votes"),
        *(pl.lit(None, pl.String).alias(name) for name in ("mos_test_id", "mos_dimension")),
    )
    names = ITEMS_LONG.arrow.names
    both = [
        frame.join(clusters, on=["task", "item_id"], how="left").with_columns(*no_votes).select(names)
        for frame in (likelihood, judged)
    ]
    return pl.concat(both)
