"""SALMon: pairs of clips of which the wrong one changes its speaker, sentiment, background or room, or does not fit its
text.

Conventions
-----------
- Layouts: the unpacked zip, the hub's parquet files, and those with published transitions; see `salmon_layouts`. Tasks
  keep SALMon's names; an item's index is SALMon's own number, so that indices may have gaps.
- Consistency tasks share a prompt. The transition is the one that is given, else the first sample that differs, else
  (in `rir_consistency`, whose members may be equal only up to a gain) half of the positive, where the generator cuts.
  Alignment tasks have none.
- What is found in the samples is a check on a transition that was had otherwise: the first difference, or in rooms the
  sample where a fitted gain no longer holds. Labels: `transition` (given, first difference, half), `transition_gap`
  (none, within 10 ms, above 10 ms, not found); the samples themselves are in `sources`. A gap is no error.
- The label `prefix` says how far members agree before the transition: equal, up to a gain, differs, or none.
- A consistency item whose members share no prompt (no first sample; in rooms less than half of the energy up to a
  gain), and for which none is given, has no transition (label `transition`: none found): `global` and `windowed` score
  it, all that needs a prompt fails with that reason.
- An item whose given transition lies outside a clip fails, as does one with a member that is missing or unreadable.
- Clusters and labels from the generator's metadata where it is there (see `salmon_metadata`); else each item is its own
  cluster. Clusters go to folds 'a' and 'b' in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spokeneval.datasets.audio_pair import AudioPair, read_pair, with_audio, without_audio
from spokeneval.datasets.base import Item
from spokeneval.datasets.salmon_layouts import (
    ALIGNMENT,
    GIVEN,
    GIVEN_RATE_HZ,
    ROOM,
    TASKS,
    Sample,
    salmon_layout,
)
from spokeneval.datasets.salmon_metadata import MadeOf
from spokeneval.datasets.transitions import first_difference, fit_gain_prefix, gap_label
from spokeneval.errors import ConfigError, ItemError

MIN_EXPLAINED = 0.5
"""Rooms that explain less than this share of each other's energy, up to a gain, share no prompt."""


class Salmon:
    """Dataset kind `salmon`."""

    def __init__(self, path: str | Path, tasks: Sequence[str] | None = None, limit: int | None = None) -> None:
        """path: folder. tasks: by SALMon's names; all that are there if None. limit: the first items of each task.

        Raises ConfigError where the folder is in no layout that is known, or a task is unknown or not there.
        """
        if tasks is not None and not tasks:
            raise ConfigError("tasks: names no task; leave it out for all that are there")
        self._layout = salmon_layout(Path(path))
        there = self._layout.indices
        for task in tasks or ():
            if task not in TASKS:
                raise ConfigError(f"tasks: '{task}' is not a task of SALMon; known: {', '.join(TASKS)}")
            if task not in there:
                raise ConfigError(f"{path}: has no items of '{task}'; it has {', '.join(there)}")
        self.tasks = tuple(there if tasks is None else dict.fromkeys(tasks))
        self._limit = limit

    def items(self) -> Iterator[Item]:
        """All items, task by task, in the order of SALMon's numbers."""
        for task in self.tasks:
            indices = self._layout.indices[task]
            known = self._layout.made_of(task)
            clusters = {index: known.get(index, MadeOf()).cluster or _item_id(task, index) for index in indices}
            folds = {cluster: "ab"[n % 2] for n, cluster in enumerate(dict.fromkeys(clusters.values()))}
            for sample in self._layout.samples(task, indices[: self._limit]):
                cluster = clusters[sample.index]
                made_of = known.get(sample.index, MadeOf())
                item = replace(
                    without_audio(_item_id(task, sample.index), task, sample.index, cluster, folds[cluster]),
                    labels={"family": "alignment" if task in ALIGNMENT else "consistency", **made_of.labels},
                    sources={"positive": sample.positive.name, "negative": sample.negative.name},
                )
                yield _item(item, sample)


def _item_id(task: str, index: int) -> str:
    return f"{task}-{index:04d}"


def _item(item: Item, sample: Sample) -> Item:
    try:
        pair = read_pair(sample.positive, sample.negative, equal_may_stand=True)
        item = replace(item, labels={**item.labels, **pair.labels})
        if item.task in ALIGNMENT:
            return replace(with_audio(item, pair, None), labels={**item.labels, "prefix": "none"})
        cut = (_room_cut if item.task == ROOM else _exact_cut)(sample, pair)
        if cut is None:
            labels = {"transition": "none found", "prefix": "none"}
            return replace(with_audio(item, pair, None), labels={**item.labels, **labels})
        return replace(
            with_audio(item, pair, cut.transition),
            labels={**item.labels, **cut.labels},
            sources={**item.sources, "transition": cut.sources},
        )
    except ItemError as error:
        return replace(item, reason=str(error))


@dataclass(frozen=True)
class _Cut:
    transition: int
    labels: dict[str, str]
    sources: dict[str, Any]


def _exact_cut(sample: Sample, pair: AudioPair) -> _Cut | None:
    """None where the members share no sample, or one is the beginning of the other."""
    found = first_difference(pair.positive, pair.negative)
    given = _given(sample, pair)
    if given is None:
        if not found:
            return None
        return _Cut(found, {"transition": "first difference", "prefix": "equal"}, {"samples": found})
    return _checked(given, "given", found, "equal" if found is None or found >= given else "differs", pair)


def _room_cut(sample: Sample, pair: AudioPair) -> _Cut | None:
    """None where one gain explains too little of the wrong member's first quarter."""
    fit = fit_gain_prefix(pair.positive, pair.negative, pair.subtype)
    given = _given(sample, pair)
    if given is None and fit.explained < MIN_EXPLAINED:
        return None
    transition, how = (len(pair.positive) // 2, "half") if given is None else (given, "given")
    if np.array_equal(pair.positive[:transition], pair.negative[:transition]):
        prefix = "equal"
    else:
        prefix = "up to a gain" if fit.departure is None or fit.departure >= transition else "differs"
    cut = _checked(transition, how, fit.departure, prefix, pair)
    return replace(cut, sources={**cut.sources, "gain": float(f"{fit.gain:.6g}")})


def _checked(transition: int, how: str, found: int | None, prefix: str, pair: AudioPair) -> _Cut:
    """A transition that was had otherwise, beside the one that is found in the samples."""
    gap = gap_label(transition, found, pair.sample_rate)
    labels = {"transition": how, "transition_gap": gap, "prefix": prefix}
    gap_samples = None if found is None else found - transition
    return _Cut(transition, labels, {"samples": transition, "found_samples": found, "gap_samples": gap_samples})


def _given(sample: Sample, pair: AudioPair) -> int | None:
    """The given transition in samples of the clip. Raises ItemError where it does not lie inside both members."""
    if sample.given is None:
        return None
    try:
        at_16_khz = float(sample.given)
    except (TypeError, ValueError):
        raise ItemError(f"{GIVEN} is '{sample.given}'; expected a number of samples") from None
    if not at_16_khz.is_integer():
        raise ItemError(
            f"{GIVEN} is {at_16_khz:g}; despite its name the column holds whole samples at {GIVEN_RATE_HZ} Hz"
        )
    transition = round(at_16_khz * pair.sample_rate / GIVEN_RATE_HZ)
    shortest = min(len(pair.positive), len(pair.negative))
    if not 0 < transition < shortest:
        raise ItemError(
            f"the given transition ({at_16_khz:g} samples at {GIVEN_RATE_HZ} Hz) lies outside the clips, of which the "
            f"shorter has {shortest} samples at {pair.sample_rate} Hz"
        )
    return transition
