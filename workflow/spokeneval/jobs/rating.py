"""The job of a listening test: votes in, and what there is now of the audio that they are on; tables out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.config import Config
from spokeneval.jobs.tables_in import note, pairs_of
from spokeneval.layout import Layout
from spokeneval.ratings.run import make_ratings
from spokeneval.ratings.schemas import SYSTEM
from spokeneval.ratings.stale import Current
from spokeneval.tables import CONTINUATIONS, read_table

_CLIPS = ("prompt", "positive", "negative", "continuation_positive", "continuation_negative", "same_attribute")


def ratings(config: Config, *, dataset: str, study: str, identity: str, threads: int) -> None:
    """Votes of a study -> ratings, MOS, agreement of listeners, screening."""

    def current(manifest: pl.DataFrame) -> Current:
        return current_audio(config, dataset, manifest)

    folder = Path(Layout(config).ratings(dataset, study)["ratings"]).parent
    note(make_ratings(Path(config.ratings[study].study), folder, None, identity, current, list(config.models)))


def current_audio(config: Config, dataset: str, manifest: pl.DataFrame) -> Current:
    """What a data set holds now of the systems of a manifest."""
    pairs = pairs_of(config, dataset)
    layout, audible = Layout(config), config.audible()
    systems = manifest.filter(pl.col("role") == SYSTEM)["system_id"].unique().sort()
    prompts = pairs.select("task", "item_id", pl.col("prompt").alias("clip_id")).drop_nulls()
    said = [
        read_table(
            Path(layout.continuations(dataset, model)), CONTINUATIONS, columns=["clip_id", "sample_index", "pcm_sha256"]
        )
        .join(prompts, on="clip_id")
        .select(pl.lit(model).alias("system_id"), "task", "item_id", "sample_index", "pcm_sha256")
        for model in systems
        if model in audible
    ]
    none = pl.DataFrame(
        schema={
            **dict.fromkeys(("system_id", "task", "item_id"), pl.String),
            "sample_index": pl.Int16,
            "pcm_sha256": pl.String,
        }
    )
    return Current(
        models=frozenset(config.models),
        items=pairs.select("task", "item_id"),
        clips=frozenset(clip for role in (*_CLIPS, "noise_only") for clip in pairs[role].drop_nulls()),
        continuations=pl.concat([none, *said]),
    )
