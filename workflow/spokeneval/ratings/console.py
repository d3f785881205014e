"""The tables of a listening test as plain text, at most 120 columns wide."""

from __future__ import annotations

import textwrap
from typing import Any

import polars as pl

from spokeneval.ratings.schemas import SYSTEM

WIDTH = 120
SHOWN_TASKS = 60
"""Rows of systems within tasks beyond which the file is named instead."""


SHOWN_STALE = 20
"""Superseded audio that is listed; of the rest it is said how much there is."""


def console_text(votes: pl.DataFrame, mos: pl.DataFrame, agreement: pl.DataFrame, screening: pl.DataFrame) -> str:
    """What was read, what was screened out, MOS per system and within tasks, agreement."""
    simulated = bool(votes["simulated"][0])
    blocks = [_head(votes, simulated), _screening(screening)]
    mark = "SIMULATED listeners: " if simulated else ""
    for (dimension,), of_dimension in mos.group_by("dimension", maintain_order=True):
        scale = f"{of_dimension['scale_low'][0]:g} to {of_dimension['scale_high'][0]:g}"
        title = f"{mark}{dimension}, {scale}: MOS with 95 % interval over items and listeners"
        blocks.append(f"{title}\n{_mos(of_dimension.filter(pl.col('level') == 'system'))}")
        within = of_dimension.filter(pl.col("level") == "system_task")
        if within["system_id"].is_duplicated().any():  # else it is the same table again
            text = _mos(within) if len(within) <= SHOWN_TASKS else f"{len(within)} rows: mos.csv, level system_task"
            blocks.append(f"{mark}{dimension}, within tasks\n{text}")
    blocks.append(f"{mark}agreement of listeners\n{_agreement(agreement)}")
    return "\n\n".join(blocks)


def _head(votes: pl.DataFrame, simulated: bool) -> str:
    n = {name: votes[name].drop_nulls().n_unique() for name in ("listener_id", "system_id", "dimension")}
    dimensions = f"{n['dimension']} dimension{'' if n['dimension'] == 1 else 's'}"
    of = f"{n['listener_id']:,} listeners, {n['system_id']:,} systems, {dimensions}"
    lines = [f"=== {votes['test_id'][0]} ===", f"{len(votes):,} votes, {of}, audio {votes['audio'][0]}"]
    return "\n".join(lines + (["SIMULATED: no person voted here"] if simulated else []))


def _screening(screening: pl.DataFrame) -> str:
    counts = ("n_listeners", "n_votes", "n_excluded", "n_untested")
    rows = [
        [row["rule"], "on" if row["on"] else "off", *(f"{row[c]:,}" if row["on"] else "-" for c in counts)]
        for row in screening.iter_rows(named=True)
    ]
    header = ["screening", "", "listeners found", "votes found", "excluded by it", "listeners not tested"]
    return columns(header, rows)


def stale_lines(stale: pl.DataFrame) -> list[str]:
    """Superseded audio of a test, in the columns of `ratings.stale`."""
    lines = [
        f"stale: {name} (system {system}, task {task}, item {item}, sample {sample}): {why}"
        for name, system, task, item, sample, why in stale.select(
            "blinded_name", "system_id", "task", "item_id", "sample_index", "why"
        )
        .head(SHOWN_STALE)
        .iter_rows()
    ]
    more = len(stale) - len(lines)
    return [*lines, *([f"stale: {more:,} more audios; all are in the metadata of ratings.parquet"] if more > 0 else [])]


def _mos(mos: pl.DataFrame) -> str:
    ordered = mos.sort("task", pl.col("role") != SYSTEM, -pl.col("mos"), "system_id", nulls_last=True)
    tasks = mos["task"].drop_nulls().len() > 0
    header = ["system", *(["task"] if tasks else []), "MOS", "interval", "votes", "items", "listeners", "excluded"]
    rows = []
    for row in ordered.iter_rows(named=True):
        name = row["system_id"] + ("" if row["role"] == SYSTEM else f" ({row['role']})")
        counts = (row[c] for c in ("n_votes", "n_items", "n_listeners", "n_excluded"))
        numbers = ["-" if count is None else f"{count:,}" for count in counts]
        bounds = row["note"] or "" if row["low"] is None else f"[{row['low']:.2f}, {row['high']:.2f}]"
        rows.append([name, *([row["task"]] if tasks else []), _number(row["mos"]), bounds, *numbers])
    return columns(header, rows, n_left=2 if tasks else 1)


def _agreement(agreement: pl.DataFrame) -> str:
    shown = {
        "alpha": "alpha",
        "icc_single": "ICC, a vote",
        "icc_mean": "ICC, mean",
        "reliability": "reliability",
        "r_halves": "r of halves",
        "split_half": "split half",
        "max_r": "max r",
    }
    rows = [
        [row["dimension"], row["over"], f"{row['n_systems']:,}", *(_number(row[c], 3) for c in shown)]
        for row in agreement.iter_rows(named=True)
    ]
    notes = [f"{r['dimension']}, {r['over']}: {r['note']}" for r in agreement.iter_rows(named=True) if r["note"]]
    wrapped = [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]
    return "\n".join([columns(["dimension", "over", "systems", *shown.values()], rows, n_left=2), *wrapped])


def _number(value: Any, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def columns(header: list[str], rows: list[list[str]], n_left: int = 2) -> str:
    """Columns two spaces apart, the first `n_left` aligned left, the others right, with a rule under the header."""
    table = [header, *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(w) if k < n_left else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), "-" * min(WIDTH, sum(widths) + 2 * len(widths) - 2), *map(line, rows)])
