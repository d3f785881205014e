"""An evaluator and the votes of a question on common codes of systems, items and tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.people.metrics import Evaluator, Items
from spokeneval.report.people.votes import Question
from spokeneval.statistics.intervals import FloatArray
from spokeneval.statistics.noise import NoisyMeans, item_means

Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Against:
    """An evaluator against a question, on common codes of systems, items and tasks."""

    inputs: ReportInputs
    items: Items
    question: Question
    evaluator: Evaluator
    x: FloatArray
    """(n_systems, n_items) of the question's systems"""
    x_cells: FloatArray
    """(n_systems, n_tasks) means over items; NaN where there is none"""
    task_of_item: Codes
    """(n_items,) task of the question, -1 for another one"""
    ceilings: FloatArray
    """(n_systems, n_tasks) attribute ceilings; NaN where there is none"""
    by_item: dict[str, FloatArray]
    """value of level 'item' -> (n_systems, n_items)"""
    samples: pl.DataFrame | None = None
    """judges: system and item (codes), sample_index, x (null where a sample has none)"""

    def complete(self, tasks: Codes) -> Codes:
        """Systems with both sides in all of these tasks."""
        both = np.isfinite(self.x_cells) & np.isfinite(self.question.cells)
        return np.flatnonzero(both[:, tasks].all(axis=1))

    @property
    def tasks(self) -> Codes:
        """Tasks in which some system has both sides."""
        both = np.isfinite(self.x_cells) & np.isfinite(self.question.cells)
        return np.flatnonzero(both.any(axis=0))

    def items_in(self, tasks: Codes) -> Codes:
        return np.flatnonzero(np.isin(self.task_of_item, tasks))

    def means(self, systems: Codes, tasks: Codes, values: FloatArray | None = None) -> FloatArray:
        """(systems,) means over the items of these tasks; NaN where there is none."""
        x = (self.x if values is None else values)[np.ix_(systems, self.items_in(tasks))]
        return row_means(x)

    def noisy(self, systems: Codes, tasks: Codes) -> NoisyMeans | str:
        """The evaluator's means with the noise of items; why not, where it cannot be told."""
        items = self.items_in(tasks)
        x = self.x[np.ix_(systems, items)]
        there = np.isfinite(x).any(axis=0)
        clusters = self.items.cluster[items[there]]
        if len(np.unique(clusters)) < 2:
            return "the evaluator's items are of one cluster: their noise cannot be told"
        names = [self.question.systems[k] for k in systems]
        return item_means(x[:, there], names, [str(item) for item in items[there]], list(clusters))


def against(
    inputs: ReportInputs,
    items: Items,
    question: Question,
    evaluator: Evaluator,
    models: list[str],
    ceilings: dict[tuple[str, str], float],
) -> Against:
    """models: of the evaluator's rows; ceilings: (task, model) -> attribute ceiling."""
    rows = np.array([models.index(name) for name in question.systems], dtype=np.int64)
    x = evaluator.values[rows]
    code = {task: k for k, task in enumerate(question.tasks)}
    task_of_item = np.array([code.get(task, -1) for task in items.task], dtype=np.int64)
    cells = np.full((len(question.systems), len(question.tasks)), np.nan)
    for k in range(len(question.tasks)):
        cells[:, k] = row_means(x[:, task_of_item == k])
    given = [[ceilings.get((task, name), math.nan) for task in question.tasks] for name in question.systems]
    samples = evaluator.samples
    if samples is not None:
        system = pl.DataFrame({"model": rows, "system": np.arange(len(rows))})
        samples = samples.join(system, on="model").select("system", "item", "sample_index", "x")
    ceiling = np.array(given, dtype=np.float64).reshape(cells.shape)
    by_item = {value: matrix[rows] for value, matrix in evaluator.by_item.items()}
    return Against(inputs, items, question, evaluator, x, cells, task_of_item, ceiling, by_item, samples)


def rated_means(pair: Against, systems: Codes, tasks: Codes) -> tuple[FloatArray, FloatArray | None]:
    """(systems,) means over what was rated, and over the other samples of the same items (judges with several).

    Samples are matched where people heard this project's audio; else, and for likelihoods, all of a rated item counts.
    """
    votes = pair.question.of(systems, tasks)
    samples = pair.samples
    if samples is None or pair.question.audio != "own":
        rated = np.isfinite(pair.question.items)
        return pair.means(systems, tasks, np.where(rated, pair.x, np.nan)), None
    heard = votes.select("system", "item", "sample_index").unique()
    rated_samples = samples.join(heard, on=["system", "item", "sample_index"], how="semi")
    of_rated_items = samples.join(heard.select("system", "item").unique(), on=["system", "item"], how="semi")
    left = of_rated_items.join(heard, on=["system", "item", "sample_index"], how="anti")
    return _sample_means(rated_samples, systems), _sample_means(left, systems) if len(left) else None


def rated_samples_matrix(pair: Against) -> FloatArray | None:
    """(n_systems, n_items) means over the samples that people heard; None where it is not known which they are."""
    if pair.samples is None or pair.question.audio != "own":
        return None
    heard = pair.question.votes.select("system", "item", "sample_index").unique()
    rated = pair.samples.join(heard, on=["system", "item", "sample_index"], how="semi")
    means = rated.group_by("system", "item").agg(pl.col("x").mean()).drop_nulls("x")
    matrix = np.full(pair.x.shape, np.nan)
    matrix[means["system"].to_numpy(), means["item"].to_numpy()] = means["x"].to_numpy()
    return matrix


def _sample_means(samples: pl.DataFrame, systems: Codes) -> FloatArray:
    """Samples of an item averaged first."""
    by_item = samples.group_by("system", "item").agg(pl.col("x").mean()).drop_nulls("x")
    return vote_means(by_item["system"].to_numpy(), by_item["x"].to_numpy(), systems)


def vote_means(system: Codes, values: FloatArray, systems: Codes) -> FloatArray:
    """(systems,) plain means of values in long form; NaN where a system has none."""
    n = int(max(system.max(initial=-1), systems.max(initial=-1))) + 1
    sums, counts = np.bincount(system, values, n), np.bincount(system, minlength=n)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[systems], dtype=np.float64)


def row_means(x: FloatArray) -> FloatArray:
    """Means of the rows over what is there; NaN where nothing is."""
    there = np.isfinite(x)
    counts = there.sum(axis=1)
    sums = np.where(there, x, 0.0).sum(axis=1)
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), dtype=np.float64)
