"""What jobs share: reading the tables they start from, and the store they write to."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from spokeneval.config import Config
from spokeneval.item_table import Asked
from spokeneval.layout import Layout
from spokeneval.store import PartStore
from spokeneval.table_schema import TableSchema
from spokeneval.tables import CLIPS, OK, PAIRS, TOKENS, read_batches, read_metadata, read_table
from spokeneval.tokenizers.base import TokenizerInfo
from spokeneval.tokenizers.codes_source import Length

ENCODED_ROLES = (
    *("prompt", "positive", "negative", "continuation_positive", "continuation_negative"),
    "same_attribute",
)
"""What goes through a tokenizer; a background without speech is only heard."""


def note(text: str) -> None:
    """One line to the job's log."""
    print(text, file=sys.stderr, flush=True)


def store_of(config: Config, stage: str, identity: str, schema: TableSchema) -> PartStore:
    return PartStore(Path(config.store_root), stage, identity, schema)


def pairs_of(config: Config, dataset: str) -> pl.DataFrame:
    return read_table(Path(Layout(config).pairs(dataset)), PAIRS)


def pairs_heard(config: Config, dataset: str, judge: str) -> pl.DataFrame:
    """The items that a judge listens to."""
    block, pairs = config.judges[judge], pairs_of(config, dataset)
    if block.tasks is not None:
        pairs = pairs.filter(pl.col("task").is_in(block.tasks))
    if block.max_items is not None:
        pairs = pairs.filter(pl.col("index") < block.max_items)
    return pairs


def asked_of(config: Config, dataset: str) -> Asked:
    """Whose rows a table from elsewhere is asked for."""
    return Asked(dataset, alone=len(config.datasets) == 1, whole=config.datasets[dataset].whole)


def lengths_of(config: Config, dataset: str) -> dict[str, Length]:
    """clip_id -> length of every clip whose audio is here."""
    frame = read_table(Path(Layout(config).clips(dataset)), CLIPS, columns=["clip_id", "n_samples", "sample_rate"])
    return {clip: Length(n_samples, rate) for clip, n_samples, rate in frame.iter_rows()}


def clips_of(pairs: pl.DataFrame, roles: Sequence[str] = ENCODED_ROLES) -> list[str]:
    """The clips that usable items need in these roles, each once, in a fixed order."""
    usable = pairs.filter(pl.col("status") == OK)
    return sorted({clip for role in roles for clip in usable[role].drop_nulls()})


def audio_of(config: Config, dataset: str, clip_ids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """(clip_id, FLAC bytes) of these clips."""
    wanted = set(clip_ids)
    for batch in read_batches(Path(Layout(config).clips(dataset)), CLIPS, columns=["clip_id", "audio"]):
        for row in batch.iter_rows(named=True):
            if row["clip_id"] in wanted:
                yield row["clip_id"], row["audio"]["bytes"]


def tokens_of(config: Config, dataset: str, tokenizer: str, identity: str) -> tuple[pl.DataFrame, TokenizerInfo]:
    """The tokens table, which must carry this identity, and what it says of its tokenizer."""
    frame = read_table(Path(Layout(config).tokens(dataset, tokenizer)), TOKENS, identity)
    return frame, tokenizer_info(config, dataset, tokenizer)


def tokenizer_info(config: Config, dataset: str, tokenizer: str) -> TokenizerInfo:
    """What the tokens table says of its tokenizer; nothing is loaded."""
    metadata = read_metadata(Path(Layout(config).tokens(dataset, tokenizer)), TOKENS)
    return TokenizerInfo.from_dict(metadata.extra["tokenizer"])
