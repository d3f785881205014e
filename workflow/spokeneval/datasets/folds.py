"""Splitting recordings: which may be in items, which screen voices, and the two folds.

Conventions
-----------
- With a list of evaluation groups, recordings of those groups may be in items and all others screen voices. Without
  one, up to a third of each speaker's recordings (at most 8) are set aside for the screening, by a draw.
- Folds 'a' and 'b' share no recording, and no group where the recordings in items have at least 8 groups. With fewer,
  whole groups would leave one fold nearly empty: then recordings are dealt, those with the same words together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from spokeneval.datasets.recordings import Line, listed
from spokeneval.datasets.screening import MAX_RECORDINGS
from spokeneval.errors import ConfigError

MIN_GROUPS = 8


def read_groups(path: Path) -> list[str]:
    """One group a line; '#' begins a comment. Raises ConfigError where there is no such file or no group in it."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected the groups whose recordings may be in items, one a line")
    groups = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    groups = [group for group in groups if group]
    if not groups:
        raise ConfigError(f"{path}: names no group; expected one a line ('#' begins a comment)")
    return groups


def split_by_groups(lines: tuple[Line, ...], groups_file: Path) -> tuple[list[Line], list[Line]]:
    """(lines that may be in items, lines that screen voices). Raises ConfigError for groups that no recording has."""
    if all(line.group is None for line in lines):
        raise ConfigError(f"{groups_file}: names groups, but the table of recordings has no column 'group'")
    groups = set(read_groups(groups_file))
    unknown = sorted(groups - {line.group for line in lines})
    if unknown:
        raise ConfigError(f"{groups_file}: no recording has the group(s) {listed(unknown)}")
    return [x for x in lines if x.group in groups], [x for x in lines if x.group not in groups]


def set_aside(lines: tuple[Line, ...], rng: np.random.Generator) -> tuple[list[Line], list[Line]]:
    """(lines that may be in items, lines that screen voices), where no groups are given."""
    by_speaker: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_speaker[line.speaker].append(line)
    aside: set[str] = set()
    for _, own in sorted(by_speaker.items()):
        n_aside = min(MAX_RECORDINGS, len(own) // 3)
        aside.update(own[int(i)].path for i in rng.permutation(len(own))[:n_aside])
    return [x for x in lines if x.path not in aside], [x for x in lines if x.path in aside]


def assign_folds(lines: list[Line], rng: np.random.Generator) -> dict[str, str]:
    """path -> 'a' or 'b'. Large units first, each to the fold where its speakers have fewer lines so far."""
    groups = {line.group for line in lines}
    by_group = None not in groups and len(groups) >= MIN_GROUPS
    units: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        units[str(line.group) if by_group else line.words or line.path].append(line)
    names = sorted(units)
    order = [names[int(i)] for i in rng.permutation(len(names))]
    order.sort(key=lambda name: -len(units[name]))
    total = Counter(line.speaker for line in lines)
    held: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
    size = {"a": 0, "b": 0}
    folds: dict[str, str] = {}

    def crowding(fold: str, unit: list[Line]) -> tuple[float, int]:
        return sum(held[fold][line.speaker] / total[line.speaker] for line in unit), size[fold]

    for name in order:
        fold = min(held, key=lambda f: crowding(f, units[name]))
        held[fold].update(line.speaker for line in units[name])
        size[fold] += len(units[name])
        folds.update((line.path, fold) for line in units[name])
    return folds
