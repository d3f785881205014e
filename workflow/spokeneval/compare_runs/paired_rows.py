"""Both runs on the same items: one row per pair of models, task and evaluator or judge.

Conventions
-----------
- Compared are the primary evaluators of A, and every judge, where B has the same cell (evaluator, window, unconditional
  term, codebooks, convention). All samples of an item are averaged first, as in the report.
- The difference is B minus A, averaged as the report averages. The test flips the sign of the differences of whole
  clusters; the interval resamples whole clusters; both with the settings of A. Exact McNemar stands beside where all
  verdicts are 0 or 1.
- Holm is taken over one family of each kind, fixed by A: the headline evaluators of all tasks but control tasks, the
  chosen judges of all tasks. Other rows are exploratory and have no adjusted p.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from spokeneval.compare_runs.finished_run import Run
from spokeneval.compare_runs.same_items import SharedItems
from spokeneval.compare_runs.schemas import COMPARE
from spokeneval.report.accuracy import cell_matrix
from spokeneval.report.comparisons import ALPHA, tested_difference
from spokeneval.report.items import JUDGE_PREFIX
from spokeneval.report.resampling import Averaging, FloatArray, cluster_means, means_of
from spokeneval.report.schemas import CELL
from spokeneval.statistics.paired import holm, mcnemar, minimal_detectable_difference

Row = dict[str, Any]
VERDICT, SCORE = "verdict", "score_positive"


def paired_rows(a: Run, b: Run, shared: SharedItems, models: list[tuple[str, str]], forced: bool) -> pl.DataFrame:
    """The table COMPARE."""
    rows: list[Row] = []
    for kind, value in (("accuracy", VERDICT), ("judge", VERDICT), ("naturalness", SCORE)):
        rows += _adjusted(_of_kind(a, b, shared, models, kind, value))
    table = pl.from_arrow(COMPARE.from_rows([row | {"forced": forced} for row in rows]))
    assert isinstance(table, pl.DataFrame)
    return table.sort(COMPARE.key, nulls_last=False)


def _of_kind(a: Run, b: Run, shared: SharedItems, models: list[tuple[str, str]], kind: str, value: str) -> list[Row]:
    asked = _cells(a, kind)
    rows: list[Row] = []
    for (task,), items in shared.items.group_by("task", maintain_order=True):
        of_a, of_b = (_values(run, str(task), kind, value) for run in (a, b))
        cells = asked.filter(pl.col("task") == task)
        for model_a, model_b in models:
            found = cells.filter(pl.col("model") == model_a).join(
                of_b.filter(pl.col("model") == model_b).select(CELL).unique(), on=CELL, how="semi", nulls_equal=True
            )
            for cell in found.sort(CELL, nulls_last=False).iter_rows(named=True):
                head = {"kind": kind, "task": str(task), "model_a": model_a, "model_b": model_b}
                head |= {name: cell[name] for name in (*CELL, "primary")}
                left, right = _column(of_a, model_a, cell, items), _column(of_b, model_b, cell, items)
                rows.append(head | _compared(a, kind, left, right, items["cluster_code"].to_numpy()))
    return rows


def _cells(run: Run, kind: str) -> pl.DataFrame:
    """task, model, CELL and primary of what is compared of a run."""
    columns = ["task", "model", *CELL, "primary"]
    if kind == "accuracy":
        control = pl.col("task").is_in(run.settings["control_tasks"])
        return run.accuracy.filter("primary").with_columns(primary=pl.col("headline") & ~control).select(columns)
    # A task whose judge differs by fold is named by both: 'a / b'.
    named = run.judges.filter("chosen").select("task", "judge").iter_rows()
    chosen = {(task, judge) for task, judges in named for judge in judges.split(" / ")}
    cells = _of_judges(run, kind).select(columns[:-1]).unique(maintain_order=True)
    primary = [
        kind == "naturalness" or (task, evaluator.removeprefix(JUDGE_PREFIX)) in chosen
        for task, evaluator in cells.select("task", "evaluator").iter_rows()
    ]
    return cells.with_columns(primary=pl.Series(primary, dtype=pl.Boolean))


def _of_judges(run: Run, kind: str) -> pl.DataFrame:
    answer = {"judge": "embedding", "naturalness": "naturalness"}[kind]
    names = [JUDGE_PREFIX + name for name, entry in run.results["judges"].items() if entry["answer"] == answer]
    return run.items.filter(pl.col("evaluator").is_in(names))


def _values(run: Run, task: str, kind: str, value: str) -> pl.DataFrame:
    """model, CELL, item_id, value: samples of an item averaged."""
    if kind == "accuracy":
        rows = run.items.filter(~pl.col("evaluator").str.starts_with(JUDGE_PREFIX))
    else:
        rows = _of_judges(run, kind)
    of_task = rows.filter(pl.col("task") == task)
    return of_task.group_by("model", *CELL, "item_id").agg(pl.col(value).mean().alias("value"))


def _column(values: pl.DataFrame, model: str, cell: Row, items: pl.DataFrame) -> FloatArray:
    """(n_items,) numbers of one model and cell, NaN where there is none."""
    here = [pl.col(name).eq_missing(pl.lit(cell[name], dtype=values.schema[name])) for name in CELL]
    rows = values.filter(pl.col("model") == model, *here)
    if rows.is_empty():
        return np.full(len(items), np.nan)
    return cell_matrix(rows, items, ["model"], "value")[1][:, 0]


def _compared(run: Run, kind: str, a: FloatArray, b: FloatArray, clusters: np.ndarray[Any, Any]) -> Row:
    """run: whose settings are taken."""
    settings, averaging = run.settings, _averaging(run, kind)
    difference = b - a
    both = ~np.isnan(difference)
    a, b, d, codes = a[both], b[both], difference[both], clusters[both]
    row: Row = dict.fromkeys(("a", "b", "difference", "low", "high", "p", "p_holm", "p_mcnemar", "mdd"))
    row |= {"n_shared": int(both.sum()), "n_missing": int((~both).sum()), "n_clusters": len(np.unique(codes))}
    row |= {"n_only_a": None, "n_only_b": None, "note": "no item has a number in both"}
    if not len(d):
        return row
    draws = {"n_draws": settings["n_draws"], "seed": settings["seed"]}
    means = means_of(np.stack([a, b], axis=1), codes, averaging)
    bounds = cluster_means(
        d[:, None], codes, **draws, confidence=settings["confidence"], shares=False, averaging=averaging
    )
    notes = [note for note in bounds.note if note]
    row |= {"a": float(means[0]), "b": float(means[1]), "difference": float(bounds.mean[0])}
    if not np.isnan(bounds.low[0]):
        row |= {"low": float(bounds.low[0]), "high": float(bounds.high[0])}
    if kind != "naturalness":
        row |= _mcnemar(a, b)
    if row["n_clusters"] >= 2:
        test = tested_difference(d, codes, averaging, **draws)
        row["p"] = test.p
        notes.insert(0, test.note)
        if kind != "naturalness" and test.design:
            row["mdd"] = minimal_detectable_difference(
                test.discordance, len(d), alpha=ALPHA, effect_of_design=test.design
            )
    return row | {"note": "; ".join(notes)}


def _averaging(run: Run, kind: str) -> Averaging:
    """Judges are averaged over items, as in the report."""
    return "clusters" if kind == "accuracy" and run.averaging == "clusters" else "items"


def _mcnemar(a: FloatArray, b: FloatArray) -> Row:
    counts = {"n_only_a": int((a > b).sum()), "n_only_b": int((b > a).sum())}
    if np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        counts["p_mcnemar"] = mcnemar(a, b).p  # type: ignore[assignment]
    return counts


def _adjusted(rows: list[Row]) -> list[Row]:
    """Holm over the primary rows of one kind."""
    tested = [row for row in rows if row["primary"] and row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]) if tested else [], strict=True):
        row["p_holm"] = float(p)
    return rows
