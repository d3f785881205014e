"""Every item of a report, as data that the page searches and sorts.

Conventions
-----------
- One column a model and primary evaluator (and the task's judge), with one margin an item: > 0 is right, 0 a tie.
  Columns are 16-bit integers in base64 (little-endian), scaled by the column's largest magnitude; a sign is never lost
  to rounding, and the two lowest values say 'no verdict' and 'counted as wrong, without a margin'.
- Columns are written until `MOST_VALUES` margins are spent, headline evaluators first; what is left out is counted. All
  of them are in items_long.parquet.
- Traces are the log-probabilities of `report.listening`, in 8 bits between their lowest and highest value, for the
  items of greatest disagreement first, until `TRACE_BUDGET_BYTES` are spent.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from spokeneval.report.disagreement import KEY, MEASURES, Disagreement
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.listening import TRACE_AFTER_S, TRACE_BEFORE_S, Listening
from spokeneval.tables import CONTINUATIONS, OK, read_table

NOTHING, WRONG = -32768, -32767
MOST_VALUES = 1_500_000
TRACE_BUDGET_BYTES = 2_000_000


@dataclass(frozen=True)
class Inspector:
    """What the page embeds, and what it says of what is left out."""

    data: dict[str, Any]
    n_items: int
    n_columns_left_out: int
    n_traces_left_out: int


def inspector(
    inputs: ReportInputs,
    pairs: pl.DataFrame,
    items: pl.DataFrame,
    disagreed: Disagreement,
    times: dict[str, pl.DataFrame],
    judges: dict[str, str],
    heard: Listening,
) -> Inspector:
    """The inspector of a report.

    items: items_long; disagreed: how much is disagreed on each; times: model -> `positions.unit_times`; judges: task ->
    its judge; heard: the items with players.
    """
    headline, primary, judged = disagreed.headline, disagreed.primary, disagreed.judged
    order = pairs.select(*KEY, "index", "cluster", "labels", "status", "reason").sort("task", "index")
    measured = order.join(disagreed.measures, on=KEY, how="left", maintain_order="left")
    columns, n_left_out = _columns(inputs, order, primary, judged, headline)
    tasks = order["task"].unique().sort().to_list()
    notes: dict[tuple[str, str], list[str]] = {}
    for row in order.filter(pl.col("status") != OK).iter_rows(named=True):
        notes.setdefault((row["task"], row["item_id"]), []).append(f"failed: {row['reason']}")
    for task, item_id, model, flag in flagged_continuations(inputs, pairs).iter_rows():
        notes.setdefault((task, item_id), []).append(f"{model}: {flag}")
    worst = [pl.col(name).fill_null(-1.0).round(9) for name in ("judge", "models", "evaluators")]
    ranked = measured.with_row_index("_at").sort(*worst, "_at", descending=[True, True, True, False])
    traces, n_traces_left_out = _traces(inputs, order, times, ranked["_at"].to_list())
    places = {(item.task, item.item_id): place for place, item in enumerate(heard.items)}
    data = {
        "tasks": tasks,
        "models": list(inputs.models),
        "headline": headline,
        "judges": judges,
        "windows_s": sorted(primary_windows(items)),
        "primary_window_s": inputs.settings.primary_window_s,
        "from_s": -TRACE_BEFORE_S,
        "to_s": TRACE_AFTER_S,
        "ids": order["item_id"].to_list(),
        "task": [tasks.index(task) for task in order["task"]],
        "cluster": order["cluster"].to_list(),
        "labels": [_labels(text) for text in order["labels"]],
        "failed": [int(status != OK) for status in order["status"]],
        "measures": {name: _rounded(measured[name]) for name in ("right", *MEASURES)},
        "notes": {str(k): notes[key] for k, key in enumerate(order.select(KEY).rows()) if key in notes},
        "place": {str(k): places[key] for k, key in enumerate(order.select(KEY).rows()) if key in places},
        "columns": columns,
        "traces": traces,
    }
    return Inspector(data, len(order), n_left_out, n_traces_left_out)


def primary_windows(items: pl.DataFrame) -> list[float]:
    """Windows that were evaluated, in seconds."""
    return items["window_s"].drop_nulls().unique().to_list()


def flagged_continuations(inputs: ReportInputs, pairs: pl.DataFrame) -> pl.DataFrame:
    """task, item_id, model, flag of first samples that are flagged (loops ...) or not ok (silent ...)."""
    prompts = pairs.filter(pl.col("prompt").is_not_null()).select(*KEY, pl.col("prompt").alias("clip_id"))
    found = [pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String), "model": pl.String, "flag": pl.String})]
    for model, path in inputs.continuations.items():
        said = read_table(path, CONTINUATIONS, columns=["clip_id", "sample_index", "status", "flags"])
        first = said.filter(pl.col("sample_index") == 0).join(prompts, on="clip_id")
        bad = first.filter(pl.col("status") != OK).select(*KEY, pl.col("status").alias("flag"))
        flags = first.select(*KEY, pl.col("flags").alias("flag")).explode("flag").drop_nulls("flag")
        rows = pl.concat([bad, flags]).with_columns(pl.lit(model).alias("model"))
        found.append(rows.select(*KEY, "model", "flag").sort(KEY))
    return pl.concat(found)


def _labels(text: str | None) -> str:
    return "; ".join(f"{key} {value}" for key, value in json.loads(text or "{}").items())


def _rounded(values: pl.Series) -> list[float | None]:
    return values.round(9).round(3).to_list()  # means of the same verdicts in another order round alike


def _columns(
    inputs: ReportInputs, order: pl.DataFrame, primary: pl.DataFrame, judged: pl.DataFrame, headline: dict[str, str]
) -> tuple[list[dict[str, Any]], int]:
    """The margins, and how many columns are left out."""
    n = len(order)
    at = order.select(*KEY).with_row_index("_at")
    named = pl.concat(
        [
            primary.select(*KEY, "model", "evaluator", "verdict", "margin"),
            judged.select(*KEY, "model", pl.lit("judge").alias("evaluator"), "verdict", "margin"),
        ]
    ).join(at, on=KEY)
    first = ["judge", *dict.fromkeys(headline.values())]
    names = [*first, *(name for name in inputs.settings.primary_evaluators if name not in first)]
    parts = {(e, m): frame for (m, e), frame in named.partition_by("model", "evaluator", as_dict=True).items()}
    wanted = [(name, model) for name in names for model in inputs.models if (name, model) in parts]
    kept = wanted[: MOST_VALUES // max(n, 1)]
    return [
        {"evaluator": name, "model": list(inputs.models).index(model), **_packed(parts[name, model], n)}
        for name, model in kept
    ], len(wanted) - len(kept)


def _packed(rows: pl.DataFrame, n: int) -> dict[str, Any]:
    """Scale and base64 of one column. A margin that is not 0 stays on its side of 0."""
    packed = np.full(n, NOTHING, dtype="<i2")
    at = rows["_at"].to_numpy()
    verdict = rows["verdict"].cast(pl.Float64).to_numpy()
    margin = rows["margin"].cast(pl.Float64).to_numpy()
    known = np.isfinite(margin) & np.isfinite(verdict)
    scale = float(np.abs(margin[known]).max(initial=0.0)) / 32_000 or 1.0
    value = np.rint(np.where(known, margin, 0.0) / scale)
    value = np.where((value == 0) & (margin != 0), np.sign(margin), value)
    value = np.where(verdict == 0.5, 0, value)
    packed[at] = np.where(known, value, np.where(np.isfinite(verdict), WRONG, NOTHING)).astype("<i2")
    return {"scale": scale, "values": base64.b64encode(packed.tobytes()).decode()}


def _traces(
    inputs: ReportInputs, order: pl.DataFrame, times: dict[str, pl.DataFrame], by_disagreement: list[int]
) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """Place of an item -> its traces; and how many items have none for want of room."""
    models = list(inputs.models)
    groups: dict[tuple[str, str], list[tuple[int, pl.DataFrame]]] = {}
    for model, frame in times.items():
        near = frame.filter((pl.col("end_s") > -TRACE_BEFORE_S) & (pl.col("start_s") < TRACE_AFTER_S))
        for (task, item_id), rows in near.partition_by(KEY, as_dict=True).items():
            groups.setdefault((str(task), str(item_id)), []).append((models.index(model), rows))
    found: dict[str, list[dict[str, Any]]] = {}
    left, n_left_out = TRACE_BUDGET_BYTES, 0
    keys = order.select(KEY).rows()
    for k in by_disagreement:
        of_item = groups.get(keys[k])
        if of_item is None:
            continue
        if left <= 0:
            n_left_out += 1
            continue
        found[str(k)] = [_trace(model, rows) for model, rows in of_item]
        left -= sum(len(line["p"]) + len(line["n"]) + 60 for line in found[str(k)])
    return found, n_left_out


def _trace(model: int, rows: pl.DataFrame) -> dict[str, Any]:
    """Per role the start in seconds, then (length in shortest units, value in 8 bits) of each unit."""
    low, high = -float(rows["nll"].max()), -float(rows["nll"].min())  # type: ignore[arg-type]
    unit = float((rows["end_s"] - rows["start_s"]).min())  # type: ignore[arg-type]
    trace: dict[str, Any] = {"m": model, "low": round(low, 4), "high": round(high, 4), "unit": round(unit, 6)}
    for role, key in (("positive", "p"), ("negative", "n")):
        line = rows.filter(pl.col("role") == role).sort("start_s")
        if line.is_empty():
            trace[key], trace[f"{key}0"] = "", 0.0
            continue
        lengths = np.clip(np.rint((line["end_s"] - line["start_s"]).to_numpy() / unit), 1, 255)
        values = np.rint(255 * (-line["nll"].to_numpy() - low) / max(high - low, 1e-9))
        pairs = np.stack([lengths, values], axis=1).astype(np.uint8)
        trace[key] = base64.b64encode(pairs.tobytes()).decode()
        trace[f"{key}0"] = round(float(line["start_s"][0]), 4)
    return trace
