"""Votes on audio that has been superseded: another continuation stands in its place now, or none.

Conventions: what was rated is known by the digest of the stored audio that it was made from (`source_sha256`). It is
compared with what the tables of the data set hold now; loudness and format of the exported copy do not matter. A stale
vote stays in the table of ratings and enters no mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from spokeneval.ratings.schemas import HEARD, SYSTEM

STALE_AUDIO = ("blinded_name", *HEARD, "role", "why")


@dataclass(frozen=True)
class Current:
    """What a data set holds now."""

    models: frozenset[str]
    """Models of the configuration."""
    items: pl.DataFrame
    """task, item_id"""
    clips: frozenset[str]
    """clip_id of everything that items are made of."""
    continuations: pl.DataFrame
    """system_id, task, item_id, sample_index, pcm_sha256 (null where nothing can be heard)"""


def stale_audio(manifest: pl.DataFrame, current: Current) -> pl.DataFrame:
    """The superseded audio of a test, with the reason `why`: columns STALE_AUDIO.

    manifest: in the schema MANIFEST, systems under the names of models.
    """
    key = list(HEARD)
    now = current.continuations.select(*key, pl.col("pcm_sha256").alias("_now"), pl.lit(True).alias("_made"))
    items = current.items.select("task", "item_id", pl.lit(True).alias("_item")).unique()
    both = manifest.join(items, on=["task", "item_id"], how="left", maintain_order="left")
    both = both.join(now, on=key, how="left", maintain_order="left")
    of_system, source = pl.col("role") == SYSTEM, pl.col("source_sha256")
    why = (
        pl.when(of_system & ~pl.col("system_id").is_in(sorted(current.models)))
        .then(pl.lit("the system is no longer in the configuration"))
        .when(pl.col("_item").is_null())
        .then(pl.lit("the item is no longer in the data set"))
        .when(of_system & pl.col("_now").is_null())
        .then(pl.lit("the system has no such continuation now"))
        .when(of_system & (pl.col("_now") != source))
        .then(pl.lit("the system says something else now"))
        .when(~of_system & ~source.is_in(sorted(current.clips)))
        .then(pl.lit("the clip is no longer in the data set"))
    )
    return both.with_columns(why.alias("why")).filter(pl.col("why").is_not_null()).select(STALE_AUDIO)
