"""What people gave each audio: the table ITEMS_MOS, and its columns in the long table of items.

Conventions: means over the votes that count; anchors, human recordings and systems that are no models of the report
have their rows. The long table has room for one question: of each task it takes the first dimension (by name) of
the first study (in the order of the configuration) with a vote on a model in it, and names both. All others are in
ITEMS_MOS.
"""

from __future__ import annotations

import polars as pl

from spokeneval.ratings.schemas import SYSTEM
from spokeneval.report.items import JUDGE_PREFIX
from spokeneval.report.people.votes import Study
from spokeneval.report.schemas_people import ITEMS_MOS, QUESTION


def items_mos_table(studies: list[Study]) -> pl.DataFrame:
    """One row per study, dimension and audio, in the schema ITEMS_MOS."""
    frames = [pl.DataFrame(pl.from_arrow(ITEMS_MOS.empty()))]
    counts = pl.col("excluded_reason").is_null()
    for study in studies:
        means = study.ratings.group_by("test_id", "dimension", "system_id", "task", "item_id", "sample_index").agg(
            pl.col("simulated", "audio", "role").first(),
            mos=pl.col("score").filter(counts).mean(),
            n_votes=counts.sum().cast(pl.Int64),
            n_excluded=(~counts).sum().cast(pl.Int64),
        )
        frames.append(means.select(ITEMS_MOS.arrow.names))
    return pl.concat(frames).sort(ITEMS_MOS.key)


def with_mos(items: pl.DataFrame, items_mos: pl.DataFrame, test_ids: list[str]) -> pl.DataFrame:
    """The long table with mos, n_votes, mos_test_id and mos_dimension filled in for models that people rated.

    test_ids: in the order of the studies. Rows of judges take the votes on their own sample where people heard this
    project's audio; all others take the votes on all samples of the item.
    """
    if items_mos.is_empty():
        return items
    rated = items_mos.filter((pl.col("role") == SYSTEM) & (pl.col("n_votes") > 0)).rename({"system_id": "model"})
    rated = rated.join(items.select("model", "task").unique(), on=["model", "task"], how="semi")
    order = pl.col("test_id").replace_strict(test_ids, range(len(test_ids)), return_dtype=pl.Int64)
    first = rated.sort(order, "dimension").unique("task", keep="first", maintain_order=True)
    chosen = rated.join(first.select("task", *QUESTION), on=["task", *QUESTION], how="semi")
    key = ["model", "task", "item_id"]
    of_sample = chosen.filter(pl.col("audio") == "own").select(*key, "sample_index", _s_mos="mos", _s_n="n_votes")
    of_item = chosen.group_by(key).agg(
        pl.col("test_id", "dimension", "audio").first().name.prefix("_"),
        _mos=(pl.col("mos") * pl.col("n_votes")).sum() / pl.col("n_votes").sum(),
        _n=pl.col("n_votes").sum(),
    )
    joined = items.join(of_item, on=key, how="left", maintain_order="left")
    joined = joined.join(of_sample, on=[*key, "sample_index"], how="left", maintain_order="left")
    by_sample = pl.col("evaluator").str.starts_with(JUDGE_PREFIX) & (pl.col("_audio") == "own")
    n_votes = pl.when(by_sample).then("_s_n").otherwise("_n")
    return joined.with_columns(
        mos=pl.when(by_sample).then("_s_mos").otherwise("_mos"),
        n_votes=n_votes,
        mos_test_id=pl.when(n_votes.is_not_null()).then("_test_id"),
        mos_dimension=pl.when(n_votes.is_not_null()).then("_dimension"),
    ).select(items.columns)
