"""What failed: rows by stage, name, task and reason.

Conventions: a row that failed is counted here and nowhere averaged. Continuations that exist but cannot be judged
(empty, silent, too short) are listed too; judges count them as wrong. A reason's numbers and ids are blanked for
grouping only. Evaluators that a model cannot have, because of what its losses from files lack, are absent: one line
each of kind 'absent', which is no failed row; and so are placebos of items all of whose prompt tokens straddle, and
`noise_matched` where the prompt has no noise, or none that the judge would take for sound.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval import tables
from spokeneval.evaluators.reduction import NO_CLEAN_PROMPT
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import BASELINES
from spokeneval.report.schemas import FAILURES

RECORDED = ("prompt", "same_attribute", "positive", "negative")
"""Sources of judging rows that are real audio."""

_COLUMNS = ["stage", "name", "task", "kind", "reason", "example"]

# "clip 3fa91c: 12 frames" and "clip 77e0b1: 9 frames" are one reason.
_PLAIN_REASON = pl.col("reason").str.replace_all(r"\b(?:[0-9a-f]{12,}|\d+(?:\.\d+)?)\b", "#")


def _failed(frame: pl.DataFrame, stage: str, name: str | pl.Expr, example: str = "item_id") -> pl.DataFrame:
    task = pl.col("task") if "task" in frame.columns else pl.lit("-")
    return frame.filter(pl.col("status") != tables.OK).select(
        pl.lit(stage).alias("stage"),
        (pl.lit(name) if isinstance(name, str) else name).alias("name"),
        task.alias("task"),
        pl.col("status").alias("kind"),
        pl.col("reason").fill_null("no reason recorded"),
        pl.col(example).alias("example"),
    )


def _failed_rows(
    inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame, judging: pl.DataFrame
) -> pl.DataFrame:
    """Every row without a number, ungrouped."""
    judged = judging.filter(pl.col("status") != tables.OK)
    frames = [
        _failed(pairs, "pairs", inputs.dataset),
        _failed(scores.filter(pl.col("role") != "baseline"), "evaluators", pl.col("model")).with_columns(
            kind=pl.when(pl.col("reason").str.contains(NO_CLEAN_PROMPT, literal=True))
            .then(pl.lit("absent"))
            .otherwise(pl.col("kind"))
        ),
        _failed(scores.filter(pl.col("role") == "baseline"), "controls", pl.col("model")),
        _failed(judged.filter(pl.col("source").is_in(RECORDED)), "qualification", pl.col("judge")),
        _baselines(judged.filter(pl.col("source").is_in(BASELINES))),
        _failed(
            judged.filter(pl.col("source").str.ends_with("round_trip")),
            "round_trips",
            pl.col("name") + " / " + pl.col("judge"),
        ),
        _failed(
            judged.filter(pl.col("source").is_in(["model", "other_item"])),
            "judging",
            pl.col("name") + " / " + pl.col("judge"),
        ),
    ]
    columns = ["clip_id", "status", "reason"]
    for model, path in inputs.continuations.items():
        frame = tables.read_table(path, tables.CONTINUATIONS, columns=columns)
        frames.append(_failed(frame, "continuations", model, example="clip_id"))
    frames += [_absent(model, path) for model, path in inputs.evaluators.items()]
    return pl.concat([frame.select(_COLUMNS).cast(pl.String) for frame in frames])


def _baselines(judged: pl.DataFrame) -> pl.DataFrame:
    rows = _failed(judged, "baselines", pl.col("source") + " / " + pl.col("judge"))
    no_noise = pl.col("name").str.starts_with("noise_matched") & pl.col("reason").str.contains("no noise floor|silent")
    return rows.with_columns(kind=pl.when(no_noise).then(pl.lit("absent")).otherwise(pl.col("kind")))


def failures_table(
    inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame, judging: pl.DataFrame
) -> pl.DataFrame:
    """One row per stage, name, task and reason, most frequent first. `clipped` continuations are listed as well."""
    rows = _failed_rows(inputs, pairs, scores, judging)
    return (
        rows.with_columns(group=_PLAIN_REASON)
        .group_by("stage", "name", "task", "kind", "group")
        .agg(
            pl.len().cast(pl.Int64).alias("n_rows"),
            pl.col("example").n_unique().cast(pl.Int64).alias("n_items"),
            pl.col("example").min(),
            pl.col("reason").min().alias("_first"),
            pl.col("reason").n_unique().alias("_different"),
        )
        .with_columns(reason=pl.when(pl.col("_different") == 1).then(pl.col("_first")).otherwise(pl.col("group")))
        .select(FAILURES.arrow.names)
        .sort(
            ["n_rows", "stage", "name", "task", "kind", "reason"], descending=[True, False, False, False, False, False]
        )
    )


def _absent(model: str, path: Path) -> pl.DataFrame:
    """What was asked for and a model cannot have, by the metadata of its evaluators."""
    absent = tables.read_metadata(path, tables.EVALUATORS).extra.get("absent", {})
    rows = [("evaluators", model, "-", "absent", f"{what}: {why}", "-") for what, why in absent.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(_COLUMNS, pl.String), orient="row")


def n_failed_rows(failures: pl.DataFrame) -> int:
    """Rows with status 'failed' (a continuation that is merely silent or clipped did not fail)."""
    return int(failures.filter(pl.col("kind") == tables.FAILED)["n_rows"].sum())


def n_failed_items(inputs: ReportInputs, pairs: pl.DataFrame, scores: pl.DataFrame, judging: pl.DataFrame) -> int:
    """Items with at least one row of status 'failed', in whatever stage; a continuation's are those of its prompt."""
    failed = _failed_rows(inputs, pairs, scores, judging).filter(pl.col("kind") == tables.FAILED)
    said = pl.col("stage") == "continuations"
    of_prompts = pairs.join(failed.filter(said), left_on="prompt", right_on="example", how="semi")["item_id"]
    return len({*failed.filter(~said)["example"], *of_prompts})


def most_frequent_reason(failures: pl.DataFrame) -> tuple[str, int] | None:
    """The reason of most rows that failed, and of how many; None where nothing failed."""
    failed = failures.filter(pl.col("kind") == tables.FAILED).group_by(reason=_PLAIN_REASON).agg(pl.col("n_rows").sum())
    return next(failed.sort(["n_rows", "reason"], descending=[True, False]).iter_rows(), None)
