"""What people said of the models of a report, one question (study x dimension) at a time.

Conventions
-----------
- Votes that count only: screened and stale ones, anchors and human recordings never enter. Systems that are
  no models of the report, and tasks that it lacks or takes as controls, are left out and counted in `left_out`.
- A MOS is the plain mean over votes. An item is a (task, item_id); its code is its row in the table of pairs; items
  that the report does not know come after them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.ratings.schemas import AGREEMENT, MOS, RATINGS, SCREENING, SYSTEM
from spokeneval.ratings.screening import counted
from spokeneval.report.inputs import ReportInputs, StudyTables
from spokeneval.report.text import count, listed
from spokeneval.statistics.crossed import CrossedMean, crossed_mean
from spokeneval.statistics.intervals import FloatArray
from spokeneval.statistics.noise import NoisyMeans, rating_means
from spokeneval.statistics.reliability import SplitHalf, split_half
from spokeneval.tables import read_table

N_SPLITS = 1000
_MOST_PLACES = 20_000_000
"""Splits x listeners that are drawn: 160 MB."""


@dataclass(frozen=True)
class Study:
    """The tables of one listening test."""

    name: str
    ratings: pl.DataFrame
    mos: pl.DataFrame
    agreement: pl.DataFrame
    screening: pl.DataFrame


def read_studies(studies: dict[str, StudyTables]) -> list[Study]:
    """Every study of a report. Raises ArtefactError for a table that is not what it says it is."""
    return [
        Study(
            name,
            read_table(files.ratings, RATINGS),
            read_table(files.mos, MOS),
            read_table(files.agreement, AGREEMENT),
            read_table(files.screening, SCREENING),
        )
        for name, files in studies.items()
    ]


_Made = TypeVar("_Made")
_Memory = dict[tuple[bytes, bytes], _Made]
"""(systems, tasks) -> what was made of their votes: many evaluators ask for the same."""


@dataclass(frozen=True, eq=False)
class Question:
    """One question of one test: the votes that are correlated."""

    test_id: str
    dimension: str
    simulated: bool
    audio: str
    middle: float
    """of the scale"""
    half_scale: float
    systems: tuple[str, ...]
    """models with a vote, sorted"""
    tasks: tuple[str, ...]
    """of the report, in its order, with a vote"""
    votes: pl.DataFrame
    """system (code), task (code), item (code), sample_index, listener (code; null where not known), score"""
    n_items: int
    """items of the report"""
    left_out: tuple[str, ...]
    """sentences about votes that are not correlated"""
    seed: int = 0

    @property
    def key(self) -> dict[str, str | bool]:
        return {
            "test_id": self.test_id,
            "dimension": self.dimension,
            "simulated": self.simulated,
            "audio": self.audio,
        }

    @cached_property
    def cells(self) -> FloatArray:
        """(n_systems, n_tasks) MOS, NaN without a vote."""
        shape = (len(self.systems), len(self.tasks))
        return _means(self.votes, ["system", "task"], shape)

    @cached_property
    def items(self) -> FloatArray:
        """(n_systems, n_items) MOS of the items of the report, all samples together, NaN without a vote."""
        known = self.votes.filter(pl.col("item") < self.n_items)
        return _means(known, ["system", "item"], (len(self.systems), self.n_items))

    def of(self, systems: NDArray[np.int64], tasks: NDArray[np.int64]) -> pl.DataFrame:
        """The votes on some systems in some tasks."""
        key = (systems.tobytes(), tasks.tobytes())
        if key not in self._memory_votes:
            chosen = pl.col("system").is_in(systems.tolist()) & pl.col("task").is_in(tasks.tolist())
            self._memory_votes[key] = self.votes.filter(chosen)
        return self._memory_votes[key]

    def noisy(self, systems: NDArray[np.int64], tasks: NDArray[np.int64]) -> NoisyMeans | str:
        """MOS of the systems over these tasks with their noise; why there is no noise, where it cannot be told."""
        key = (systems.tobytes(), tasks.tobytes())
        if key not in self._memory_noisy:
            self._memory_noisy[key] = self._noisy(self.of(systems, tasks))
        return self._memory_noisy[key]

    def halves(self, systems: NDArray[np.int64], tasks: NDArray[np.int64]) -> SplitHalf:
        key = (systems.tobytes(), tasks.tobytes())
        if key not in self._memory_halves:
            self._memory_halves[key] = self._halves(self.of(systems, tasks))
        return self._memory_halves[key]

    def interval(self, system: int, tasks: NDArray[np.int64], confidence: float) -> CrossedMean:
        """The MOS of a system over these tasks with its interval for new items and listeners."""
        systems = np.array([system])
        key = (systems.tobytes(), tasks.tobytes())
        if key not in self._memory_intervals:
            votes = self.of(systems, tasks)
            score, item = votes["score"].to_numpy(), votes["item"].to_numpy()
            self._memory_intervals[key] = crossed_mean(score, item, _listeners(votes), confidence)
        return self._memory_intervals[key]

    @cached_property
    def _memory_votes(self) -> _Memory[pl.DataFrame]:
        return {}

    @cached_property
    def _memory_noisy(self) -> _Memory[NoisyMeans | str]:
        return {}

    @cached_property
    def _memory_intervals(self) -> _Memory[CrossedMean]:
        return {}

    @cached_property
    def _memory_halves(self) -> _Memory[SplitHalf]:
        return {}

    def _noisy(self, votes: pl.DataFrame) -> NoisyMeans | str:
        listener = None if votes["listener"].null_count() else votes["listener"].to_numpy()
        few = [
            name
            for name, column in (("items", "item"), ("listeners", "listener"))
            if (column == "item" or listener is not None) and votes[column].n_unique() < 2
        ]
        if few:
            return f"the noise of one of {' and '.join(few)} cannot be told: two are needed"
        names = np.array(self.systems)[votes["system"].to_numpy()]
        return rating_means(votes["score"].to_numpy(), names, votes["item"].to_numpy(), listener)

    def _halves(self, votes: pl.DataFrame) -> SplitHalf:
        if votes["listener"].null_count():
            return SplitHalf(np.nan, np.nan, 0, 0, "listeners are not known: no halves")
        n_splits = max(100, min(N_SPLITS, _MOST_PLACES // max(1, votes["listener"].n_unique())))
        score, system, listener = (votes[name].to_numpy() for name in ("score", "system", "listener"))
        return split_half(score, system, listener, n_splits, self.seed)


def _listeners(votes: pl.DataFrame) -> NDArray[np.int64]:
    """Where listeners are not known, each vote counts as from a listener of its own."""
    if votes["listener"].null_count():
        return np.arange(len(votes))
    return votes["listener"].to_numpy()


def _means(votes: pl.DataFrame, by: list[str], shape: tuple[int, int]) -> FloatArray:
    found = np.full(shape, np.nan)
    means = votes.group_by(by).agg(pl.col("score").mean())
    found[means[by[0]].to_numpy(), means[by[1]].to_numpy()] = means["score"].to_numpy()
    return found


def of_question(table: pl.DataFrame, question: Question) -> pl.DataFrame:
    """The rows of a table that are about one question."""
    return table.filter((pl.col("test_id") == question.test_id) & (pl.col("dimension") == question.dimension))


def questions(inputs: ReportInputs, pairs: pl.DataFrame, studies: list[Study]) -> list[Question]:
    """Every question of every study that has a vote that counts, in the order of the studies."""
    found = []
    control = inputs.settings.control_tasks
    tasks = [task for task in pairs["task"].unique(maintain_order=True).to_list() if task not in control]
    items = pairs.select("task", "item_id").with_row_index("item")
    for study in studies:
        kept = counted(study.ratings)
        for dimension in kept["dimension"].unique().sort().to_list():
            votes = kept.filter(pl.col("dimension") == dimension)
            found.append(_question(inputs, study, str(dimension), votes, tasks, items))
    return found


def _question(
    inputs: ReportInputs, study: Study, dimension: str, votes: pl.DataFrame, tasks: list[str], items: pl.DataFrame
) -> Question:
    under_test = votes.filter(pl.col("role") == SYSTEM)
    ours = under_test.filter(pl.col("system_id").is_in(list(inputs.models)))
    used = ours.filter(pl.col("task").is_in(tasks))
    left_out = []
    if strangers := sorted(set(under_test["system_id"]) - set(inputs.models)):
        left_out.append(
            f"{count(len(strangers), 'system')} not among the models of this report: {listed(strangers, 4)}"
        )
    if others := sorted(set(ours["task"]) - set(tasks)):
        left_out.append(
            f"{count(len(others), 'task')} that this report lacks or takes as a control: {listed(others, 4)}"
        )
    systems = tuple(sorted(set(used["system_id"])))
    rated = [task for task in tasks if task in set(used["task"])]
    with_items = used.join(items, on=["task", "item_id"], how="left", maintain_order="left")
    unknown = with_items["item"].null_count()
    if unknown:
        left_out.append(f"{count(unknown, 'vote')} on items that the report does not know: in means over systems only")
    beyond = pl.struct("task", "item_id").rank("dense").cast(pl.Int64) + len(items)
    codes = with_items.select(
        pl.col("system_id").replace_strict(list(systems), range(len(systems)), return_dtype=pl.Int64).alias("system"),
        pl.col("task").replace_strict(rated, range(len(rated)), return_dtype=pl.Int64),
        pl.coalesce(pl.col("item").cast(pl.Int64), beyond).alias("item"),
        "sample_index",
        pl.col("listener_id").rank("dense").cast(pl.Int64).alias("listener"),
        "score",
    )
    scale = study.mos.filter(pl.col("dimension") == dimension)
    low, high = scale["scale_low"][0], scale["scale_high"][0]
    return Question(
        str(votes["test_id"][0]),
        dimension,
        bool(votes["simulated"][0]),
        str(votes["audio"][0]),
        (low + high) / 2,
        (high - low) / 2,
        systems,
        tuple(rated),
        codes,
        len(items),
        tuple(left_out),
        inputs.settings.seed,
    )
