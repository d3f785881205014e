"""Folders of WAV files whose names begin with a number: two files an item, the right one first.

Conventions
-----------
- A name is `<number><separator><anything>.wav`. slamkit sorts by the number and takes files by twos, positive first.
- Files lie in the folder itself or in its subfolders, one sequence of numbers each; not in both.
- Accepted: every file has its own number, and those of an item follow one another (0 and 1, 2 and 3, ...; items may be
  missing whole); or both files of an item share their number, and the names say which is right (`correct` and
  `incorrect`, `positive` and `negative`, `word` and `nonword` ...). Which is first among equal numbers depends on the
  file system and so is never used.
- Anything else (a number without its partner, three files of one number, no number) is a ConfigError for the folder:
  one lost file would shift all items after it, and right ones would become wrong ones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spokeneval.datasets.recordings import listed
from spokeneval.errors import ConfigError

_RIGHT = {"correct", "right", "true", "positive", "pos", "good", "word"}
_WRONG = {"incorrect", "wrong", "false", "negative", "neg", "bad", "nonword"}


@dataclass(frozen=True)
class NumberedPair:
    folder: str
    """Name of the subfolder; empty where there are none."""
    number: int
    """Number of its first file."""
    positive: Path
    negative: Path


def numbered_pairs(folder: Path, separator: str) -> list[NumberedPair]:
    """All items, subfolder by subfolder, in the order of their numbers; empty where there are no WAV files.

    Raises ConfigError naming the files whose item cannot be told.
    """
    flat = _wavs(folder)
    nested = [(sub, wavs) for sub in sorted(folder.iterdir()) if sub.is_dir() and (wavs := _wavs(sub))]
    if flat and nested:
        raise ConfigError(
            f"{folder}: holds WAV files and subfolders with WAV files ({nested[0][0].name}); expected one of the two"
        )
    if flat:
        return list(_pairs(folder, "", flat, separator))
    return [pair for sub, wavs in nested for pair in _pairs(sub, sub.name, wavs, separator)]


def _wavs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".wav" and not path.name.startswith("."))


def _pairs(folder: Path, name: str, wavs: list[Path], separator: str) -> Iterator[NumberedPair]:
    by_number: defaultdict[int, list[Path]] = defaultdict(list)
    unnumbered = []
    for path in wavs:
        matched = re.match(rf"(\d+){re.escape(separator)}", path.name)
        if matched is None:
            unnumbered.append(path.name)
        else:
            by_number[int(matched[1])].append(path)
    if unnumbered:
        raise ConfigError(
            f"{folder}: {listed(unnumbered)}: expected names of the form <number>{separator}<anything>.wav"
        )
    if all(len(paths) == 1 for paths in by_number.values()):
        yield from _consecutive(folder, name, {number: paths[0] for number, paths in by_number.items()})
        return
    for number, paths in sorted(by_number.items()):
        if len(paths) != 2:
            raise ConfigError(
                f"{folder}: {len(paths)} file(s) with the number {number} ({listed([p.name for p in paths])}); "
                "expected two of each number, or one of each"
            )
        yield _by_words(folder, name, number, paths[0], paths[1])


def _consecutive(folder: Path, name: str, files: dict[int, Path]) -> Iterator[NumberedPair]:
    first = min(files)
    for number in sorted({first + (number - first) // 2 * 2 for number in files}):
        lost = [n for n in (number, number + 1) if n not in files]
        if lost:
            there = files[number if lost[0] != number else number + 1]
            raise ConfigError(
                f"{folder}: {there.name} has no partner with the number {lost[0]}; expected files by twos, the right "
                f"one first, counted from {first}"
            )
        yield NumberedPair(name, number, files[number], files[number + 1])


def _by_words(folder: Path, name: str, number: int, one: Path, other: Path) -> NumberedPair:
    said = {path: set(re.findall(r"[a-z]+", path.stem.lower())) for path in (one, other)}
    for right, wrong in ((one, other), (other, one)):
        if said[right] & _RIGHT and said[wrong] & _WRONG and not (said[right] & _WRONG or said[wrong] & _RIGHT):
            return NumberedPair(name, number, right, wrong)
    raise ConfigError(
        f"{folder}: {one.name} and {other.name} have one number, and their names do not say which is right; "
        "number the files one by one, the right one of an item first, or put 'correct' and 'incorrect' in the names"
    )
