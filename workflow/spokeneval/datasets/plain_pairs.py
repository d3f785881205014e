"""Pairs that come without ids: parquet files with the columns `positive` and `negative`, or numbered WAV files.

Conventions
-----------
- Parquet: each row is an item, in the order of the files and rows (see `audio_parquet`).
- WAV files: see `numbered_wavs`. Where they lie in subfolders, the subfolder's name is the label `folder`.
- No speaker, sentence or voice is known: each item is its own cluster, and items go to folds 'a' and 'b' in turn.
- Members are whole clips and share no prompt: there is no transition.
- An item whose members cannot be used fails alone; a folder in neither layout is a ConfigError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spokeneval.datasets.audio_pair import Member, read_pair, with_audio, without_audio
from spokeneval.datasets.audio_parquet import AudioParquet, parquet_places
from spokeneval.datasets.base import Item
from spokeneval.datasets.numbered_wavs import NumberedPair, numbered_pairs
from spokeneval.errors import ConfigError, ItemError

COLUMNS = ("positive", "negative")


class PlainPairs:
    """The items of one task."""

    def __init__(
        self, folder: Path, task: str, separator: str, labels: dict[str, str] | None = None, or_else: str = ""
    ) -> None:
        """separator: what follows the number in the names of WAV files. labels: of every item. or_else: what else the
        folder could have held, for the message.

        Raises ConfigError where the folder is in neither layout.
        """
        self._folder = folder
        self._task = task
        self._labels = labels or {}
        self._parquet = _parquet(folder)
        self._wavs = [] if self._parquet else numbered_pairs(folder, separator)
        if len(self) == 0:
            raise ConfigError(
                f"{folder}: holds neither parquet files with the columns positive and negative, nor WAV files named "
                f"<number>{separator}<anything>.wav, two an item, in it or in its subfolders{or_else}"
            )

    def __len__(self) -> int:
        return len(self._wavs) or sum(file.n_rows for file in self._parquet)

    def items(self, limit: int | None = None) -> Iterator[Item]:
        """The first `limit` items, or all."""
        n_items = len(self) if limit is None else min(limit, len(self))
        for index, found in enumerate(self._found(n_items)):
            name = f"{self._task}-{index:04d}"
            item = replace(
                without_audio(name, self._task, index, name, "ab"[index % 2]),
                labels={**self._labels, **found.labels},
                sources={"positive": found.positive.name, "negative": found.negative.name},
            )
            yield paired(item, found.positive, found.negative)

    def _found(self, n_items: int) -> Iterator[_Found]:
        for pair in self._wavs[:n_items]:
            labels = {"folder": pair.folder} if pair.folder else {}
            yield _Found(self._wav(pair, pair.positive), self._wav(pair, pair.negative), labels)
        left = 0 if self._wavs else n_items
        for file in self._parquet:
            for positive, negative in file.members(range(min(left, file.n_rows))):
                yield _Found(positive, negative, {})
            left -= min(left, file.n_rows)

    def _wav(self, pair: NumberedPair, path: Path) -> Member:
        return Member(f"{pair.folder}/{path.name}" if pair.folder else path.name, path)


@dataclass(frozen=True)
class _Found:
    positive: Member
    negative: Member
    labels: dict[str, str]


def paired(item: Item, positive: Member, negative: Member) -> Item:
    """The item with its audio and no transition, or failed with its reason."""
    try:
        return with_audio(item, read_pair(positive, negative, equal_may_stand=True), None)
    except ItemError as error:
        return replace(item, reason=str(error))


def _parquet(folder: Path) -> list[AudioParquet]:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    places = parquet_places(folder)
    configs = sorted({place.config or "data" for place in places})
    if len(configs) > 1:
        raise ConfigError(f"{folder}: holds the configs {', '.join(configs)}; give the folder of one of them")
    return [AudioParquet(place, COLUMNS) for place in places]
