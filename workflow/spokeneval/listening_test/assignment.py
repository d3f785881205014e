"""Who hears what: a Latin square of systems over items, in an order of each rater's own.

Conventions
-----------
- Rater slot r hears of item k the systems (k + r m + j) mod S, j = 0 .. m - 1, of S systems (anchors among them) and m
  systems an item: every slot hears every item, each system equally often to one item's difference where all systems
  have all items, and over S / m slots every sound once.
- Where a system has nothing to hear for an item, the slot hears of that item the system that it has heard least so
  far (then: that the test has asked about least); such replacements are counted.
- The order of a slot is drawn by the seed, slot and question; the sounds of one item never follow each other where that
  can be had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spokeneval.errors import ConfigError


@dataclass(frozen=True)
class Trial:
    """One sound that one rater hears."""

    slot: int
    """1 .. n_slots"""
    position: int
    """1 .. number of trials of the slot"""
    item: int
    system: int


@dataclass(frozen=True)
class Assignment:
    trials: tuple[Trial, ...]
    n_replaced: int
    """Trials on another system than the square says, because that one has nothing to hear."""
    n_left_out: int
    """Trials that no system could fill."""


def assign(there: Sequence[Sequence[bool]], n_slots: int, systems_per_item: int, seed: Sequence[int]) -> Assignment:
    """The trials of every slot.

    there: (n_items, n_systems), whether a system has something to hear for an item. Raises ConfigError where a rater
    is to hear an item from more systems than there are.
    """
    n_items, n_systems = len(there), len(there[0]) if there else 0
    if not 1 <= systems_per_item <= max(n_systems, 1):
        raise ConfigError(f"systems_per_item: {systems_per_item}; expected 1 to {n_systems}, the number of systems")
    asked: Counter[tuple[int, int]] = Counter()
    trials: list[Trial] = []
    n_replaced = n_left_out = 0
    for slot in range(n_slots):
        heard: Counter[int] = Counter()
        rounds: list[list[tuple[int, int]]] = [[] for _ in range(systems_per_item)]
        missing: list[tuple[int, int]] = []
        taken: set[tuple[int, int]] = set()
        for j in range(systems_per_item):
            for item in range(n_items):
                system = (item + slot * systems_per_item + j) % n_systems
                if there[item][system]:
                    taken.add((item, system))
                    heard[system] += 1
                    rounds[j].append((item, system))
                else:
                    missing.append((j, item))
        for j, item in missing:
            left = [s for s in range(n_systems) if there[item][s] and (item, s) not in taken]
            if not left:
                n_left_out += 1
                continue
            system = min(left, key=lambda s, item=item: (heard[s], asked[item, s], s))  # type: ignore[misc]
            taken.add((item, system))
            heard[system] += 1
            rounds[j].append((item, system))
            n_replaced += 1
        asked.update(taken)
        for position, (item, system) in enumerate(_ordered(rounds, np.random.default_rng([*seed, slot])), 1):
            trials.append(Trial(slot + 1, position, item, system))
    return Assignment(tuple(trials), n_replaced, n_left_out)


def _ordered(rounds: list[list[tuple[int, int]]], rng: np.random.Generator) -> list[tuple[int, int]]:
    """One round after the other, each shuffled; where an item would follow itself the round is turned by one."""
    order: list[tuple[int, int]] = []
    for group in rounds:
        shuffled = [group[k] for k in rng.permutation(len(group))]
        if order and len(shuffled) > 1 and shuffled[0][0] == order[-1][0]:
            shuffled = [*shuffled[1:], shuffled[0]]
        order += shuffled
    return order
