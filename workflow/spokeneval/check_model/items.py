"""The few real clips that a model is checked on.

Conventions
-----------
- The first usable items of the configuration's first dataset that has pairs: from its tables where they are made, else
  made now by the dataset's class with `limit`. Nothing is written.
- Of each item the positive: a whole, right clip. The cut is its item's transition; the middle where it has none.
- Codes are as long as the model's context allows: whole steps from the beginning. The rest is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from spokeneval.audio import Waveform, decode_flac, resample
from spokeneval.config import Config
from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.errors import ConfigError, ItemError
from spokeneval.factory import make_dataset
from spokeneval.layout import Layout
from spokeneval.models.base import SpokenLM
from spokeneval.tables import CLIPS, OK, PAIRS, read_table
from spokeneval.tokenizers.base import Codes, TokenizerInfo

N_ITEMS = 5
_LOOKED_AT = 20
"""Items of a task that are made at most until enough of them are usable."""


@dataclass(frozen=True)
class CheckedClip:
    """One clip at its native rate."""

    clip_id: str
    name: str
    """item_id and role, for messages."""
    waveform: Waveform
    """(n_samples,)"""
    sample_rate: int
    transition: int
    """Samples at sample_rate; the middle of the clip where its item has no prompt."""

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate

    def for_tokenizer(self, info: TokenizerInfo) -> Waveform:
        """(n_samples,) at the tokenizer's rate, resampled once, as the workflow does."""
        return resample(self.waveform, self.sample_rate, info.sample_rate, info.resampler)


@dataclass(frozen=True)
class CheckedItems:
    clips: list[CheckedClip]
    pairs: pl.DataFrame
    """Their items, rows of the table `pairs`."""
    source: str
    """Where they came from."""


def first_items(config: Config, dataset: str, n_items: int = N_ITEMS) -> CheckedItems:
    """The positives of the first usable items, each clip once.

    Raises ConfigError where no item of the dataset is usable or has audio.
    """
    paths = _tables(config, dataset)
    if are_made(config, dataset):
        clips, pairs = (read_table(path, schema) for path, schema in zip(paths, (CLIPS, PAIRS), strict=True))
        source = str(paths[0].parent)
    else:
        clips, pairs = (_frame(table) for table in clips_and_pairs(_made(config, dataset, n_items)))
        source = "made now, not kept"
    audio = {row["clip_id"]: row["audio"] for row in clips.iter_rows(named=True)}
    usable = pairs.filter((pl.col("status") == OK) & pl.col("positive").is_in(list(audio)))
    usable = usable.unique("positive", keep="first", maintain_order=True).head(n_items)
    if usable.is_empty():
        reasons = pairs["reason"].drop_nulls().unique(maintain_order=True).to_list()
        raise ConfigError(
            f"datasets.{dataset}: no item with audio among the first {len(pairs)}"
            + (f", e.g. {reasons[0]}" if reasons else "")
            + "; a model is checked on real clips: name a dataset with audio first"
        )
    return CheckedItems([_clip(pair, audio) for pair in usable.iter_rows(named=True)], usable, source)


def are_made(config: Config, dataset: str) -> bool:
    """Whether the dataset's tables are there, so that its recordings are not needed."""
    return all(path.is_file() for path in _tables(config, dataset))


def _tables(config: Config, dataset: str) -> list[Path]:
    layout = Layout(config)
    return [Path(layout.clips(dataset)), Path(layout.pairs(dataset))]


def _clip(pair: Mapping[str, object], audio: Mapping[str, Mapping[str, bytes]]) -> CheckedClip:
    clip_id = str(pair["positive"])
    waveform, rate = decode_flac(audio[clip_id]["bytes"])
    transition = pair["transition"]
    cut = transition if isinstance(transition, int) else len(waveform) // 2
    return CheckedClip(clip_id, f"{pair['item_id']} (positive)", waveform, rate, cut)


def _made(config: Config, dataset: str, n_items: int) -> Iterator[Item]:
    """Items until enough of them can be used; no more of them are made than are looked at."""
    limited = config.datasets[dataset].model_copy(update={"limit": _LOOKED_AT})
    with_limit = config.model_copy(update={"datasets": {**config.datasets, dataset: limited}})
    n_usable = 0
    for item in islice(make_dataset(with_limit, dataset).items(), _LOOKED_AT):
        yield item
        n_usable += item.reason is None
        if n_usable == n_items:
            return


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def fitting(model: SpokenLM, codes: Codes, room: float = 1.0) -> Codes:
    """As many first steps as the model takes without dropping any; of those the share `room`.

    Raises ItemError where not even two fit.
    """
    n_steps = len(codes.codes)
    while True:
        shorter = codes if n_steps == len(codes.codes) else codes.take(np.arange(n_steps))
        try:
            if model.sequence(shorter).n_dropped_frames == 0:
                break
        except ItemError:
            if n_steps <= 2:
                raise
        n_steps = max(2, n_steps * 4 // 5)
    if room < 1:
        return codes.take(np.arange(max(1, int(len(shorter.codes) * room))))
    return shorter
