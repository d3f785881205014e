"""Qualification: which judge can hear a task's attribute, and which one scores the models.

Conventions
-----------
- A judge is tried on real audio, rows 'prompt' of its judging table: the share of items whose prompt is nearer to the
  right continuation than to the wrong one, ties one half, failed items counted and left out. The same with rows
  'prompt_round_trip' tells whether it still hears it through a codec; one that does not ranks no model of that codec.
- The share is held against a bar: the human topline of the task, or a threshold where there is none. The verdict is by
  interval: 'qualifies' where the lower bound is above the bar, 'fails' where the upper bound is below, else
  'cannot tell'.
- The bounds are the wider of cluster bootstrap and Wilson: the bootstrap knows that items share clusters and is too
  narrow near 0 and 1, Wilson the reverse. Where all clusters have one mean (a perfect judge) the bootstrap is nothing,
  and Wilson counts clusters in place of items. One cluster: no interval, 'cannot tell'.
- Choosing the best of several judges on the items that it then scores is optimistic: of five judges of true accuracy
  .80 against a bar of .831, one passes by point estimate in about half of all runs. 'cross_fitted' (default) chooses
  on fold a for the items of fold b and the reverse, and gives the share on the items that had no part in the choice.
  'paper' (arXiv 2601.06329) takes the best of all items and compares its point estimate with the bar.
- Trivial judges (level, spectrum) are tried like the others and never chosen; where one qualifies, channel cues solve
  the task.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.statistics.intervals import Interval, cluster_bootstrap, wilson

QUALIFIES, CANNOT_TELL, FAILS, NO_DATA = "qualifies", "cannot tell", "fails", "no data"
Way = Literal["cross_fitted", "paper"]


@dataclass(frozen=True)
class Bar:
    """What a share is held against."""

    value: float
    """A share in (0, 1)."""
    source: str


def bar_of(task: str, topline_percent: Mapping[str, tuple[float, str]], threshold: float = 0.75) -> Bar:
    """The human topline of a task, task -> (percent, source), or the threshold (a share) where it has none."""
    if task in topline_percent:
        percent, source = topline_percent[task]
        return Bar(percent / 100, source)
    return Bar(threshold, "threshold")


@dataclass(frozen=True)
class Standing:
    """How one judge, or the chosen ones together, stand on one task."""

    task: str
    judge: str
    trivial: bool
    n_items: int
    n_failed: int
    """Items without a verdict."""
    n_ties: int
    bootstrap: Interval
    wilson: Interval
    low: float
    """The bounds that decide; NaN where there are none."""
    high: float
    bar: Bar
    verdict: str

    @property
    def share(self) -> float:
        """NaN where nothing was scored."""
        return self.wilson.value

    @property
    def n_scored(self) -> int:
        return self.wilson.n


@dataclass(frozen=True)
class Choice:
    """Which judge scores the items of each fold of a task."""

    task: str
    way: Way
    judge_of_fold: dict[str, str]
    """fold of the item -> judge; empty where none could be chosen."""
    standing: Standing | None
    """Of the choice: on items that had no part in it ('cross_fitted'), or on all ('paper')."""
    note: str
    """How the choice came about, or why there is none."""


def decide(low: float, high: float, bar: float) -> str:
    """The verdict of an interval; NaN bounds cannot tell."""
    return QUALIFIES if low > bar else FAILS if high < bar else CANNOT_TELL


def stand(
    task: str,
    judge: str,
    verdicts: Sequence[float | None],
    clusters: Sequence[str],
    bar: Bar,
    *,
    trivial: bool = False,
    n_draws: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Standing:
    """The standing of one judge: verdicts 1, 0.5, 0 or None where it failed, one per item, with the items' clusters."""
    scored = [(v, c) for v, c in zip(verdicts, clusters, strict=True) if v is not None]
    values: NDArray[np.float64] = np.array([v for v, _ in scored], np.float64)
    labels = [c for _, c in scored]
    by_cluster = cluster_bootstrap(values, labels, n_draws, seed, confidence)
    by_item = wilson(float(values.sum()), len(values), confidence)
    low, high = _bounds(by_cluster, by_item, confidence)
    verdict = decide(low, high, bar.value) if scored else NO_DATA
    return Standing(
        task=task,
        judge=judge,
        trivial=trivial,
        n_items=len(verdicts),
        n_failed=len(verdicts) - len(scored),
        n_ties=int((values == 0.5).sum()),
        bootstrap=by_cluster,
        wilson=by_item,
        low=low,
        high=high,
        bar=bar,
        verdict=verdict,
    )


def _bounds(by_cluster: Interval, by_item: Interval, confidence: float) -> tuple[float, float]:
    if by_cluster.n_clusters < 2:
        return math.nan, math.nan
    if math.isnan(by_cluster.low):
        n = by_cluster.n_clusters
        over_clusters = wilson(by_cluster.value * n, n, confidence)
        return over_clusters.low, over_clusters.high
    return min(by_cluster.low, by_item.low), max(by_cluster.high, by_item.high)


def _verdicts(judgements: Mapping[str, pl.DataFrame], pairs: pl.DataFrame, source: str) -> pl.DataFrame:
    """task, item_id, cluster, fold, and a column of verdicts per judge; by task and item_id.

    Items that failed or have no prompt cannot be judged and are not among them.
    """
    usable = pairs.filter((pl.col("status") == "ok") & pl.col("prompt").is_not_null())
    frame = usable.select("task", "item_id", "cluster", "fold")
    for judge, table in judgements.items():
        rows = table.filter((pl.col("source") == source) & (pl.col("status") == "ok"))
        frame = frame.join(
            rows.select("task", "item_id", pl.col("verdict").alias(f"judge {judge}")),
            on=["task", "item_id"],
            how="left",
            validate="1:1",
        )
    return frame.sort("task", "item_id")


def standings(
    judgements: Mapping[str, pl.DataFrame],
    pairs: pl.DataFrame,
    bars: Mapping[str, Bar],
    *,
    trivial: Collection[str] = (),
    source: str = "prompt",
    n_draws: int = 10_000,
    seed: int = 0,
) -> list[Standing]:
    """The matrix of judges and tasks, by task and then in the order of `judgements` (judge -> its judging table).

    bars: task -> bar, see `bar_of`. Naturalness judges compare nothing and do not belong here.
    """
    frame = _verdicts(judgements, pairs, source)
    return [
        stand(
            str(task),
            judge,
            rows[f"judge {judge}"].to_list(),
            rows["cluster"].to_list(),
            bars[str(task)],
            trivial=judge in trivial,
            n_draws=n_draws,
            seed=seed,
        )
        for (task,), rows in frame.group_by("task", maintain_order=True)
        for judge in judgements
    ]


def solved_by_channel_cues(matrix: Sequence[Standing]) -> dict[str, list[str]]:
    """Task -> the trivial judges that qualify on it; tasks without one are absent."""
    found: dict[str, list[str]] = {}
    for standing in matrix:
        if standing.trivial and standing.verdict == QUALIFIES:
            found.setdefault(standing.task, []).append(standing.judge)
    return found


def choose(
    judgements: Mapping[str, pl.DataFrame],
    pairs: pl.DataFrame,
    bars: Mapping[str, Bar],
    *,
    way: Way = "cross_fitted",
    trivial: Collection[str] = (),
    source: str = "prompt",
    n_draws: int = 10_000,
    seed: int = 0,
) -> list[Choice]:
    """Choose the judge of every task among those that are not trivial; by task.

    The best has the highest share; of equal ones the first in `judgements`. A choice says which judge is best, its
    standing says whether that is good enough: rank models only where its verdict is 'qualifies'.
    """
    if way not in ("cross_fitted", "paper"):
        raise ConfigError(f"way of choosing a judge: expected 'cross_fitted' or 'paper', got '{way}'")
    candidates = {judge: table for judge, table in judgements.items() if judge not in trivial}
    frame = _verdicts(candidates, pairs, source)
    chosen = []
    for (task,), rows in frame.group_by("task", maintain_order=True):
        choice = _paper if way == "paper" else _cross_fitted
        chosen.append(choice(str(task), rows, list(candidates), bars[str(task)], n_draws, seed))
    return chosen


def _ranked(rows: pl.DataFrame, judges: Sequence[str]) -> list[tuple[str, float]]:
    """(judge, share) of the judges with a verdict, the best first; of equal ones in the order of `judges`."""
    shares = [(judge, rows[f"judge {judge}"].mean()) for judge in judges]
    scored = [(judge, share) for judge, share in shares if isinstance(share, float)]
    return sorted(scored, key=lambda entry: -entry[1])


def _in_words(ranked: Sequence[tuple[str, float]]) -> str:
    """'best a 91.7, then b 80.0': what a choice was made among."""
    return "best " + ", then ".join(f"{judge} {100 * share:.1f}" for judge, share in ranked[:2])


def _paper(task: str, rows: pl.DataFrame, judges: Sequence[str], bar: Bar, n_draws: int, seed: int) -> Choice:
    ranked = _ranked(rows, judges)
    if not ranked:
        return Choice(task, "paper", {}, None, "no judge has a verdict")
    best = ranked[0][0]
    values, clusters = rows[f"judge {best}"].to_list(), rows["cluster"].to_list()
    standing = stand(task, best, values, clusters, bar, n_draws=n_draws, seed=seed)
    verdict = QUALIFIES if standing.share > bar.value else FAILS
    by_point = replace(standing, verdict=verdict)
    folds = dict.fromkeys(sorted(rows["fold"].unique()), best)
    note = f"chosen and compared by point estimate on the items that it scores ({_in_words(ranked)}): optimistic"
    return Choice(task, "paper", folds, by_point, note)


def _cross_fitted(task: str, rows: pl.DataFrame, judges: Sequence[str], bar: Bar, n_draws: int, seed: int) -> Choice:
    folds = sorted(rows["fold"].unique())
    if len(folds) != 2:
        return Choice(task, "cross_fitted", {}, None, f"needs items in two folds, found {', '.join(folds)}")
    chosen: dict[str, str] = {}
    reasons = []
    for fold in folds:
        ranked = _ranked(rows.filter(pl.col("fold") != fold), judges)
        if not ranked:
            return Choice(task, "cross_fitted", {}, None, f"no judge has a verdict outside fold {fold}")
        chosen[fold] = ranked[0][0]
        reasons.append(f"fold {fold} is scored by {chosen[fold]}, chosen on the other ({_in_words(ranked)})")
    values = [row[f"judge {chosen[row['fold']]}"] for row in rows.iter_rows(named=True)]
    name = " / ".join(dict.fromkeys(chosen.values()))
    standing = stand(task, name, values, rows["cluster"].to_list(), bar, n_draws=n_draws, seed=seed)
    return Choice(task, "cross_fitted", chosen, standing, "; ".join(reasons))


def under_choice(choices: Sequence[Choice], judgings: Mapping[str, pl.DataFrame], pairs: pl.DataFrame) -> pl.DataFrame:
    """The judging rows of a model under the chosen judge of each item, with the columns `judge` and `fold` added.

    judgings: judge -> judging table of one model. Tasks without a choice have no rows.
    """
    who = pl.DataFrame(
        [(c.task, fold, judge) for c in choices for fold, judge in c.judge_of_fold.items()],
        schema={"task": pl.String, "fold": pl.String, "judge": pl.String},
        orient="row",
    )
    items = pairs.select("task", "item_id", "fold").join(who, on=["task", "fold"])
    parts = [
        table.join(items.filter(pl.col("judge") == judge), on=["task", "item_id"])
        for judge, table in sorted(judgings.items())
    ]
    return pl.concat(parts).sort("task", "item_id", "source", "sample_index")
