"""sWUGGY and sBLIMP, the lexical and syntactic parts of ZeroSpeech 2021: a word against a non-word, a sentence against
an ungrammatical one.

Conventions
-----------
- Layouts: (a) the archive's `gold.csv` with its WAV files (see `gold`); (b) the hub's copies, parquet with the columns
  positive and negative; (c) WAV files in slamkit's arrangement, '_' after the number for sWUGGY, '+' for sBLIMP (for b
  and c see `plain_pairs`).
- Members share no prompt: there is no transition, and only evaluators of whole clips apply.
- Layout (a): the cluster of an item is its id, of which there is one item a voice. The official score, the mean over
  voices within an id and then over ids, is so the mean over clusters of the mean within. Ids go to folds in turn.
- Layouts (b) and (c) have no ids: each item is its own, the official score is then the mean over all pairs, and the
  label `ids` is 'none'; in (a) it is 'gold.csv'.
- A recording that is missing or unreadable fails its item alone; a gold.csv that is not by pairs is a ConfigError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from spokeneval.datasets.audio_pair import Member, without_audio
from spokeneval.datasets.base import Item
from spokeneval.datasets.gold import TABLE, GoldPair, find_gold, read_gold
from spokeneval.datasets.plain_pairs import PlainPairs, paired
from spokeneval.datasets.recordings import listed
from spokeneval.errors import ConfigError

TASKS = {"lexical": "sWUGGY", "syntactic": "sBLIMP"}
SEPARATORS = {"lexical": "_", "syntactic": "+"}
IDS = "ids"
"""Label: where the ids come from that the official score is averaged by."""


class ZeroSpeech:
    """Dataset kind `zerospeech`."""

    def __init__(self, path: str | Path, part: str, limit: int | None = None) -> None:
        """path: folder. part: 'lexical' or 'syntactic'. limit: only the first items.

        Raises ConfigError where the folder is in no layout that is known, or what it holds is not by pairs.
        """
        if part not in TASKS:
            raise ConfigError(f"part: expected {' or '.join(TASKS)}, found '{part}'")
        self._task = TASKS[part]
        self.tasks = (self._task,)
        self._limit = limit
        folder = Path(path)
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        gold = find_gold(folder, part)
        self._folder = folder
        self._audio: dict[str, Path] = {}
        self._gold: list[GoldPair] = []
        self._plain: PlainPairs | None = None
        if gold is not None:
            self._gold = read_gold(gold, part)
            self._folder = gold.parent
            self._audio = _wavs_below(gold.parent)
        else:
            others = f", nor {TABLE} in it, in {part}/, or in dev/ or test/ of either"
            self._plain = PlainPairs(folder, self._task, SEPARATORS[part], {IDS: "none"}, others)

    def items(self) -> Iterator[Item]:
        """All items, in the order of gold.csv or of the files."""
        if self._plain is not None:
            return self._plain.items(self._limit)
        return self._gold_items()

    def _gold_items(self) -> Iterator[Item]:
        folds = {name: "ab"[n % 2] for n, name in enumerate(dict.fromkeys(pair.id for pair in self._gold))}
        for index, pair in enumerate(self._gold[: self._limit]):
            item = replace(
                without_audio(f"{self._task}-{index:04d}", self._task, index, pair.id, folds[pair.id]),
                labels={IDS: "gold.csv", **pair.labels},
                sources={"positive": pair.positive, "negative": pair.negative, **pair.texts},
            )
            yield paired(item, self._member(pair.positive), self._member(pair.negative))

    def _member(self, filename: str) -> Member:
        stem = filename.removesuffix(".wav")
        return Member(f"{stem}.wav", self._audio.get(stem, self._folder / f"{stem}.wav"))


def _wavs_below(folder: Path) -> dict[str, Path]:
    """Name without suffix -> file. Raises ConfigError where a name comes twice."""
    paths = sorted(path for path in folder.rglob("*.wav") if not path.name.startswith("."))
    twice = [f"{name}.wav" for name, n in Counter(path.stem for path in paths).items() if n > 1]
    if twice:
        raise ConfigError(f"{folder}: {listed(twice)}: there in several subfolders; expected each recording once")
    return {path.stem: path for path in paths}
