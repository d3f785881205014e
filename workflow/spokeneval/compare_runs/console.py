"""A comparison of two runs as plain text, at most 120 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import polars as pl

from spokeneval.report.comparisons import ALPHA
from spokeneval.report.console import WIDTH, columns
from spokeneval.report.text import count, evaluator_name, listed, p_value, percent, points

if TYPE_CHECKING:
    from spokeneval.compare_runs.run import Comparison

MOST_CHANGES, MOST_ROWS = 30, 60
TITLES = {
    "accuracy": "accuracy in percent, B - A in points, on the same items",
    "judge": "share that the judge finds right in percent, B - A in points",
    "naturalness": "naturalness, on the judge's own scale",
}


def console_text(compared: Comparison) -> str:
    """What is compared, what differs, and the primary rows."""
    blocks = [f"A: {compared.a.label}\nB: {compared.b.label}"]
    if compared.forced:
        lines = [line for entry in compared.conditions for line in _wrapped(entry.line())]
        blocks.append("\n".join(["FORCED: the runs do not measure the same:", *lines]))
    blocks.append("\n".join(line for text in answer_lines(compared) for line in _wrapped(text)))
    blocks.append("\n".join(changed_lines(compared)))
    blocks.append("\n".join(item_lines(compared)))
    for kind, title in TITLES.items():
        rows = [row for row in compared.rows.iter_rows(named=True) if row["kind"] == kind and row["primary"]]
        if rows:
            mark = "FORCED: " if compared.forced else ""
            clearest = sorted(rows, key=lambda row: (row["p"] is None, row["p"] or 0.0))[:MOST_ROWS]
            few = f" (the clearest {MOST_ROWS} of {len(rows)})" if len(rows) > MOST_ROWS else ""
            blocks.append(f"{mark}{title}{few}\n{_table([row for row in rows if row in clearest])}")
    n_more = compared.rows.filter(~compared.rows["primary"]).height
    if n_more:
        blocks.append(f"{count(n_more, 'exploratory row')} more in compare.csv")
    return "\n".join(line[:WIDTH] for line in "\n\n".join(blocks).splitlines())


def answer_lines(compared: Comparison) -> list[str]:
    """Which differences hold after Holm, the largest first; one line that says so where none does."""
    rows = compared.rows.filter(pl.col("p_holm") < ALPHA).sort(pl.col("difference").abs(), descending=True)
    if rows.is_empty():
        n_tests = compared.rows["p_holm"].drop_nulls().len()
        return [f"no difference holds after Holm ({count(n_tests, 'test')})" if n_tests else "nothing was tested"]
    return [
        f"{row['task']}, {pair_name(row)}, {evaluator_name(row)}: {value(row, row['a'])} in A, "
        f"{value(row, row['b'])} in B: {difference(row)}, p {p_value(row['p_holm'])} after Holm"
        for row in rows.head(MOST_CHANGES).iter_rows(named=True)
    ]


def changed_lines(compared: Comparison) -> list[str]:
    """What changed, one line each."""
    if not compared.changes:
        return ["nothing that the reports know has changed"]
    lines = [line for entry in compared.changes[:MOST_CHANGES] for line in _wrapped(entry.line())]
    more = len(compared.changes) - MOST_CHANGES
    return ["what changed:", *lines, *([f"  and {more} more (results.json)"] if more > 0 else [])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def item_lines(compared: Comparison) -> list[str]:
    """How many items are compared, and what was left out, one line a task."""
    lines = []
    for entry in compared.shared.counts():
        reasons: Any = entry["left_out"]
        left = ", ".join(f"{n:,} {why}" for why, n in reasons.items())
        shared: Any = entry["n_shared"]
        lines.append(f"{entry['task']}: {count(shared, 'item')} compared{f'; left out: {left}' if left else ''}")
    if compared.shared.n_other_cluster:
        lines.append(f"{count(compared.shared.n_other_cluster, 'item')} in another cluster in B; those of A are used")
    for name, models in compared.unmatched.items():
        if models:
            lines.append(f"only in {name}: {listed(models)}")
    return lines


def pair_name(row: dict[str, Any]) -> str:
    return str(row["model_a"]) if row["model_a"] == row["model_b"] else f"{row['model_a']} = {row['model_b']}"


def value(row: dict[str, Any], number: float | None) -> str:
    """A share in percent, a naturalness as it is."""
    if row["kind"] == "naturalness":
        return "-" if number is None else f"{number:.2f}"
    return percent(number)


def difference(row: dict[str, Any]) -> str:
    """'+5.0 [1.2, 8.9]' in points, or on the judge's scale."""
    if row["difference"] is None:
        return "-"
    if row["kind"] == "naturalness":
        bounds = "" if row["low"] is None else f" [{row['low']:+.2f}, {row['high']:+.2f}]"
        return f"{row['difference']:+.2f}{bounds}"
    bounds = "" if row["low"] is None else f" [{points(row['low'])}, {points(row['high'])}]"
    return f"{points(row['difference'])}{bounds}"


def _table(rows: list[dict[str, Any]]) -> str:
    header = ["task", "model", "by", "n", "A", "B", "B - A", "p", "p (Holm)"]
    return columns(
        header,
        [
            [
                row["task"][:24],
                pair_name(row)[:32],
                evaluator_name(row)[:24],
                str(row["n_shared"]),
                value(row, row["a"]),
                value(row, row["b"]),
                difference(row),
                p_value(row["p"]),
                p_value(row["p_holm"]),
            ]
            for row in rows
        ],
    )
