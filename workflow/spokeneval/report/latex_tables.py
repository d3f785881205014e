"""The main tables of a report as LaTeX: accuracies, comparisons, judges, what they heard, gap, agreement, latencies.

Conventions: shares in percent with intervals below and n below those; models that share a raised letter cannot be told
apart; published rows are led by a dagger and stand below a rule. Every caption ends with the table's signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judge_view import SOURCES
from spokeneval.report.judges import ranking_judges
from spokeneval.report.latex import LatexTable, escape, number, stacked_value, value
from spokeneval.report.panels import primary_panels
from spokeneval.report.people.latex import people_latex
from spokeneval.report.report_tables import ReportTables
from spokeneval.report.signature import headline_cells, judge_fields, signature
from spokeneval.report.text import PUBLISHED_MARK, coefficient, evaluator_name, p_value, points

Row = dict[str, Any]


def latex_tables(inputs: ReportInputs, found: ReportTables, reductions: dict[str, Any]) -> dict[str, str]:
    """File name in tables/ -> LaTeX; tables without rows are left out."""
    headline = " / ".join(signature(inputs, reductions, cell) for cell in headline_cells(found.accuracy))
    judges = signature(
        inputs,
        reductions,
        **judge_fields(inputs, {j: j for j, entry in inputs.judges.items() if not entry.transcribes}),
    )
    ranking = ranking_judges(found.judges)
    agreement = signature(
        inputs,
        reductions,
        evaluator="as named",
        delta="as named",
        unconditional="as named",
        codebooks="all",
        **(judge_fields(inputs, ranking) if ranking else {}),
    )
    profile = signature(inputs, reductions, evaluator="NLL by time from the transition", delta="-")
    tables = {
        **_accuracy(inputs, found, reductions),
        "comparisons": _comparisons(found.comparisons, headline),
        "judges": _judges(found.judges, judges),
        "model_judging": _heard(found.model_judging, judges),
        "gap": _gap(found.gap, headline),
        "agreement": _agreement(found.agreement, agreement),
        "latency": _latency(found.latency, profile),
        **people_latex(inputs, found.people, found.judges, reductions),
    }
    return {f"{name}.tex": table.text() for name, table in tables.items() if table is not None}


def _caption(what: str, line: str) -> str:
    return rf"{what} {{\footnotesize {escape(line)}.}}"


def _accuracy(inputs: ReportInputs, found: ReportTables, reductions: dict[str, Any]) -> dict[str, LatexTable | None]:
    """One table for each primary evaluator; letters where it ranks the models of a task."""
    tasks = list(dict.fromkeys(found.accuracy.filter("primary")["task"]))
    tables: dict[str, LatexTable | None] = {}
    for panel in primary_panels(inputs, found.accuracy, reductions):
        own = [_models_row(escape(m), cells, tasks, True) for m, cells in panel["rows"].items()]
        others = [
            _models_row(escape(PUBLISHED_MARK + m), cells, tasks, False) for m, cells in panel["published"].items()
        ]
        evaluator = next(row["evaluator"] for cells in panel["rows"].values() for row in cells.values())
        what = (
            f"Accuracy in percent by {escape(panel['name'])}, with intervals and number of items. Models that share a "
            "letter cannot be told apart."
        )
        if others:
            what += rf" \textdagger{{}} published: {escape(inputs.published_source)}."
        tables[f"accuracy_{evaluator}"] = LatexTable(
            f"accuracy-{evaluator}".replace("_", "-"),
            ["model", *map(escape, tasks)],
            [*own, *others],
            _caption(what, panel["signature"]),
            rules_before=frozenset({len(own)}) if own and others else frozenset(),
        )
    return tables


def _models_row(name: str, cells: dict[str, Row], tasks: list[str], own: bool) -> list[str]:
    def cell(row: Row | None) -> str:
        if row is None:
            return "--"
        n = row["n_scored"] if own else None
        return stacked_value(row["accuracy"], row["low"], row["high"], row["letters"], n)

    return [name, *(cell(cells.get(task)) for task in tasks)]


def _listed(
    label: str,
    frame: pl.DataFrame,
    columns: dict[str, Callable[[Row], str]],
    what: str,
    line: str,
    group: str | None = None,
) -> LatexTable | None:
    """A table with a row for each row of `frame`; a rule where `group` changes."""
    if frame.is_empty():
        return None
    found = frame.to_dicts()
    rows = [[make(row) for make in columns.values()] for row in found]
    rules = (k for k in range(1, len(found)) if group is not None and found[k][group] != found[k - 1][group])
    header = [escape(name) for name in columns]
    return LatexTable(label, header, rows, _caption(what, line), rules_before=frozenset(rules))


def _plain(name: str) -> Callable[[Row], str]:
    return lambda row: escape("-" if row[name] is None else row[name])


def _comparisons(frame: pl.DataFrame, line: str) -> LatexTable | None:
    return _listed(
        "comparisons",
        frame.sort(["task", "p_holm", "model_a", "model_b"], nulls_last=True),
        {
            "task": _plain("task"),
            "models": lambda row: escape(f"{row['model_a']} - {row['model_b']}"),
            "difference": lambda row: number(points(row["difference"])),
            "p": lambda row: escape(p_value(row["p"])),
            "p (Holm)": lambda row: escape(p_value(row["p_holm"])),
            "n": _plain("n_shared"),
            "detectable": lambda row: "--" if row["mdd_holm"] is None else f"{100 * row['mdd_holm']:.1f}",
        },
        "Differences between models in points on the items that both scored: paired tests, Holm within a task, and the "
        "least difference that four repetitions of five would show.",
        line,
        "task",
    )


def _judges(frame: pl.DataFrame, line: str) -> LatexTable | None:
    return _listed(
        "judges",
        frame.sort("task", "judge"),
        {
            "task": _plain("task"),
            "judge": lambda row: escape(row["judge"] + (" (trivial)" if row["trivial"] else "")),
            "share": lambda row: value(row["share"], row["low"], row["high"]),
            "n": lambda row: str(row["n_items"] - row["n_failed"]),
            "against": lambda row: "--" if row["against"] is None else f"{100 * row['against']:.1f}",
            "verdict": lambda row: escape(row["verdict"] + (" (chosen)" if row["chosen"] else "")),
        },
        "Share of items in which a judge hears the prompt nearer to the right continuation, in percent, on real audio.",
        line,
        "task",
    )


def _heard(frame: pl.DataFrame, line: str) -> LatexTable | None:
    order = {source: k for k, source in enumerate(SOURCES)}
    shares = frame.filter(pl.col("share").is_not_null()).with_columns(
        order=pl.col("source").replace_strict(order, default=len(order), return_dtype=pl.Int32)
    )
    return _listed(
        "model-judging",
        shares.sort("task", "judge", "order", "name"),
        {
            "task": _plain("task"),
            "judge": _plain("judge"),
            "heard": lambda row: escape(SOURCES.get(row["source"], row["source"])),
            "name": _plain("name"),
            "share": lambda row: value(row["share"], row["low"], row["high"], row["letters"]),
            "n": _plain("n_scored"),
            "ranked": lambda row: escape("-" if row["ranked"] is None else "yes" if row["ranked"] else "no"),
        },
        "Share of continuations nearer to the right one by the judges in percent, with floors, baselines and ceilings. "
        "Ranked models that share a letter cannot be told apart.",
        line,
        "task",
    )


def _gap(frame: pl.DataFrame, line: str) -> LatexTable | None:
    return _listed(
        "gap",
        frame.filter(pl.col("share").is_not_null()).sort("role", "model", "evaluator", "window_s"),
        {
            "model": lambda row: escape((PUBLISHED_MARK if row["role"] == "published" else "") + row["model"]),
            "evaluator": lambda row: escape(evaluator_name(row)),
            "share": lambda row: value(row["share"], row["low"], row["high"]),
            "global": lambda row: value(row["accuracy_global"]),
            "people": lambda row: value(row["topline"]),
            "tasks": _plain("tasks"),
        },
        "Share of the gap from global to the human topline that an evaluator closes, in percent.",
        line,
        "role",
    )


def _agreement(frame: pl.DataFrame, line: str) -> LatexTable | None:
    def of(name: str) -> Callable[[Row], str]:
        return lambda row: number(coefficient(row[name], row[f"{name}_low"], row[f"{name}_high"]))

    shown: Iterable[str] = ("pearson", "spearman", "kendall")
    return _listed(
        "agreement",
        frame.filter(pl.col("primary") & pl.col("chosen")).sort("level", "task", "evaluator", "window_s"),
        {
            "over": _plain("task"),
            "evaluator": lambda row: escape(evaluator_name(row)),
            "judge": _plain("judge"),
            "systems": _plain("n_systems"),
            **{name.capitalize(): of(name) for name in shown},
        },
        "Agreement of evaluators with the judge over systems; agreement with a judge, not with people.",
        line,
        "level",
    )


def _latency(frame: pl.DataFrame, line: str) -> LatexTable | None:
    def seconds(row: Row) -> str:
        if row["latency_s"] is None:
            return "--"
        bounds = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
        return number(f"{row['latency_s']:.2f}{bounds}")

    return _listed(
        "latency",
        frame.sort("task", "level", "name", "share"),
        {
            "task": _plain("task"),
            "of": lambda row: escape(f"{row['level']} {row['name']}"),
            "share": lambda row: escape(f"{100 * row['share']:.0f} %"),
            "seconds": seconds,
            "n": _plain("n_items"),
        },
        "Seconds from the transition until a share of its effect on the NLL is there, with intervals.",
        line,
        "task",
    )
