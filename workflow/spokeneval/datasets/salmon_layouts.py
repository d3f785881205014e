"""SALMon's items as they lie on disk: folders of WAV files, or parquet files of the hub.

Conventions
-----------
- WAV files: one folder a task, `sample_{i}_0.wav` the right clip of item i, `sample_{i}_1.wav` the wrong one; numbers
  may be missing. Hidden files are left out, other names are an error.
- Parquet: columns task, ind, positive_audio, negative_audio (`slprl/SALMon`), and maybe `audio_transition_s`
  (`SpeechPPL/SALMon_with_meta`). The configs `all_alignment`, `all_consistency` and `all` hold the items of the others
  once more: a task is read from the narrowest config that has it. The same task and ind twice there is an error.
- `audio_transition_s` is a number of samples at 16 kHz, whatever its name says.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from spokeneval.datasets.audio_pair import Member
from spokeneval.datasets.audio_parquet import AudioParquet, parquet_places
from spokeneval.datasets.recordings import listed
from spokeneval.datasets.salmon_metadata import MadeOf, read_metadata
from spokeneval.errors import ConfigError

EXACT = (
    "sentiment_consistency",
    "speaker_consistency",
    "gender_consistency",
    "bg_domain_consistency",
    "bg_all_consistency",
)
"""Tasks whose members are equal, sample for sample, up to the transition."""
ROOM = "rir_consistency"
ALIGNMENT = ("sentiment_alignment", "bg_alignment")
TASKS = (*EXACT, ROOM, *ALIGNMENT)

GIVEN = "audio_transition_s"
GIVEN_RATE_HZ = 16000

_NAME = re.compile(r"sample_(\d+)_(\d+)\.wav")
_WIDER = {"all_alignment": 1, "all_consistency": 1, "all": 2}


@dataclass(frozen=True)
class Sample:
    """One item before its audio is read."""

    index: int
    positive: Member
    negative: Member
    given: Any = None
    """What the layout says of the transition, as it is written; None where it says nothing."""


class Layout(Protocol):
    indices: dict[str, list[int]]
    """Task -> indices of its items, ascending."""

    def samples(self, task: str, indices: Sequence[int]) -> Iterator[Sample]: ...

    def made_of(self, task: str) -> dict[int, MadeOf]: ...


def salmon_layout(folder: Path) -> Layout:
    """Raises ConfigError where the folder holds neither layout, or what it holds cannot be told apart."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    folders, parquet = WavFolders(folder), ParquetFiles(folder)
    if folders.indices and parquet.indices:
        raise ConfigError(f"{folder}: holds WAV files and parquet files of SALMon; expected one of the two")
    if folders.indices or parquet.indices:
        return folders if folders.indices else parquet
    seen = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    raise ConfigError(
        f"{folder}: expected a folder for each task with sample_<i>_0.wav and sample_<i>_1.wav (the unpacked zip), or "
        f"parquet files with {', '.join(COLUMNS)} (the hub's); found {listed(seen) or 'nothing'}. "
        f"Tasks: {', '.join(TASKS)}"
    )


class WavFolders:
    """The unpacked zip."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = {sub.name: _numbers(sub) for sub in sorted(folder.iterdir()) if sub.is_dir() and sub.name in TASKS}
        unknown = [
            sub.name for sub in sorted(folder.iterdir())
            if sub.is_dir() and sub.name not in TASKS and any(sub.glob("sample_*_*.wav"))
        ]  # fmt: skip
        if unknown:
            raise ConfigError(
                f"{folder}: {listed(unknown)}: not a task of SALMon; known: {', '.join(TASKS)}. Rename the folder, "
                "move it away, or list its pairs in a table for the kind 'pairs'"
            )
        self.indices = {task: found[task] for task in TASKS if found.get(task)}

    def samples(self, task: str, indices: Sequence[int]) -> Iterator[Sample]:
        for index in indices:
            names = [f"{task}/sample_{index}_{member}.wav" for member in (0, 1)]
            yield Sample(index, *(Member(name, self._folder / name) for name in names))

    def made_of(self, task: str) -> dict[int, MadeOf]:
        return read_metadata(self._folder / task, task)


def _numbers(folder: Path) -> list[int]:
    wavs = [p.name for p in folder.iterdir() if p.suffix.lower() == ".wav" and not p.name.startswith(".")]
    matched = {name: _NAME.fullmatch(name) for name in sorted(wavs)}
    strange = [name for name, match in matched.items() if match is None or match[2] not in ("0", "1")]
    if strange:
        raise ConfigError(
            f"{folder}: {listed(strange)}: expected sample_<i>_0.wav (right) and sample_<i>_1.wav (wrong)"
        )
    padded = [name for name, match in matched.items() if match is not None and str(int(match[1])) != match[1]]
    if padded:
        raise ConfigError(f"{folder}: {listed(padded)}: expected numbers without leading zeros")
    return sorted({int(match[1]) for match in matched.values() if match is not None})


AUDIO = ("positive_audio", "negative_audio")
COLUMNS = ("task", "ind", *AUDIO)


@dataclass(frozen=True)
class _Row:
    file: int
    row: int
    given: Any


class ParquetFiles:
    """The hub's files."""

    def __init__(self, folder: Path) -> None:
        places = parquet_places(folder, (*TASKS, *_WIDER))
        self._files = [AudioParquet(place, AUDIO, ("task", "ind")) for place in places]
        wideness = [_WIDER.get(place.config or "", 0) for place in places]
        by_task: defaultdict[str, defaultdict[int, list[tuple[int, _Row]]]] = defaultdict(lambda: defaultdict(list))
        for number, file in enumerate(self._files):
            for task, index, row in _rows(number, file):
                by_task[task][wideness[number]].append((index, row))
        self._rows: dict[str, dict[int, _Row]] = {}
        for task, levels in by_task.items():
            rows = levels[min(levels)]
            twice = [str(index) for index, n in Counter(index for index, _ in rows).items() if n > 1]
            if twice:
                names = sorted({self._files[row.file].place.name for index, row in rows if str(index) in twice})
                raise ConfigError(
                    f"{folder}: task {task}: ind {listed(twice)} is there more than once, in {listed(names)}; "
                    "keep one copy of each"
                )
            self._rows[task] = dict(sorted(rows, key=lambda found: found[0]))
        self.indices = {task: list(self._rows[task]) for task in TASKS if task in self._rows}

    def samples(self, task: str, indices: Sequence[int]) -> Iterator[Sample]:
        rows = self._rows[task]
        for file, group in groupby(indices, key=lambda index: rows[index].file):
            wanted = list(group)
            audio = self._files[file].members([rows[index].row for index in wanted])
            for index, (positive, negative) in zip(wanted, audio, strict=True):
                yield Sample(index, positive, negative, rows[index].given)

    def made_of(self, task: str) -> dict[int, MadeOf]:
        return {}


def _rows(number: int, file: AudioParquet) -> Iterator[tuple[str, int, _Row]]:
    """(task, ind, row) of one file, without its audio."""
    has_given = GIVEN in file.columns
    for position, row in enumerate(file.values(["task", "ind", *([GIVEN] if has_given else [])])):
        where = f"{file.place.path}, row {position}"
        if row["task"] not in TASKS:
            raise ConfigError(f"{where}: task is '{row['task']}'; expected one of {', '.join(TASKS)}")
        try:
            index = operator.index(row["ind"])
        except TypeError:
            raise ConfigError(f"{where}: ind is '{row['ind']}'; expected a whole number") from None
        given = row.get(GIVEN)
        missing = given is None or (isinstance(given, float) and math.isnan(given))
        yield row["task"], index, _Row(number, position, None if missing else given)
