"""The page: Jinja templates with autoescape on, filled from the report's tables.

Everything that comes from data is escaped by the templates; only drawings made by `report.drawings` and the style sheet
are markup. The page loads nothing: figures and audio are data: URIs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spokeneval.report import text
from spokeneval.report.agreement import TITLE as AGREEMENT_TITLE
from spokeneval.report.answers import failed_lines, limits, task_answers
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import chosen_judges
from spokeneval.report.listening import Listening
from spokeneval.report.rendering import Figure
from spokeneval.report.schemas import CELL
from spokeneval.report.signature import headline_cells, judge_fields, signature

if TYPE_CHECKING:
    from spokeneval.report.make import ReportTables

TEMPLATES = Path(__file__).parent / "templates"

_SOURCES = {
    "model": "models",
    "other_item": "floor: continuations of other items",
    "copy": "baseline: the prompt's end again",
    "noise_matched": "baseline: noise at the prompt's level",
    "prompt_round_trip": "attribute ceiling: the prompt through the codec",
    "positive_round_trip": "self ceiling: the right clip through the codec",
}


def render_template(name: str, **values: Any) -> str:
    """Fill a template of the report; text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": text.percent,
        "seconds": text.seconds,
        "evaluator_name": text.evaluator_name,
        "listed": text.listed,
    }
    environment.globals |= {
        "interval": text.interval,
        "coefficient": text.coefficient,
        "count": text.count,
        # The style sheet is the project's own file, not data.
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
    }
    return environment.get_template(name).render(**values)


def report_page(
    inputs: ReportInputs,
    pairs: pl.DataFrame,
    found: ReportTables,
    figures: dict[str, Figure],
    heard: Listening,
    reductions: dict[str, Any],
) -> str:
    """The whole report.html."""
    answers = task_answers(inputs, pairs, found)
    judges = chosen_judges(found.judges)
    cells = headline_cells(found.accuracy)
    tasks = [answer.task for answer in answers]
    agreement_judge = (
        {"judge": "chosen per task: " + ", ".join(f"{t} {j}" for t, j in judges.items())} if judges else {}
    )
    return render_template(
        "report.html.j2",
        inputs=inputs,
        settings=inputs.settings,
        confidence=f"{100 * inputs.settings.confidence:g} %",
        tasks=tasks,
        answers=answers,
        limits=limits(inputs, found, answers),
        failed=failed_lines(found),
        n_items=_counts(pairs),
        panels=_panels(inputs, found.accuracy, reductions),
        controls=_controls(inputs, found.accuracy),
        comparisons=found.comparisons.sort(["task", "p_holm"], nulls_last=True).to_dicts(),
        judges=_judge_matrix(found.judges),
        heard_by=_heard_by(found.model_judging, _SOURCES),
        chosen=sorted(set(judges.values())),
        sources=_SOURCES,
        agreement_title=AGREEMENT_TITLE,
        agreement=_agreement(found.agreement),
        failures=found.failures.to_dicts(),
        timings=_timings(found.timings),
        figures=figures,
        listening=heard,
        reductions=reductions,
        headline_signature=" | ".join(signature(inputs, reductions, cell) for cell in cells),
        control_signature=signature(
            inputs, reductions, evaluator="controls", delta=f"{inputs.settings.primary_window_s:g} s"
        ),
        judge_signature=signature(inputs, reductions, **judge_fields(inputs, {j: j for j in inputs.judges})),
        agreement_signature=signature(
            inputs,
            reductions,
            evaluator="as named",
            delta="as named",
            unconditional="as named",
            codebooks="all",
            **{**judge_fields(inputs, judges), **agreement_judge},
        ),
    )


def _counts(pairs: pl.DataFrame) -> list[dict[str, Any]]:
    return (
        pairs.group_by("task", maintain_order=True)
        .agg(
            n_items=pl.len(),
            n_clusters=pl.col("cluster").n_unique(),
            n_failed=(pl.col("status") != "ok").sum(),
        )
        .to_dicts()
    )


def _panels(inputs: ReportInputs, accuracy: pl.DataFrame, reductions: dict[str, Any]) -> list[dict[str, Any]]:
    """One table of models by tasks for each primary evaluator, headline ones first."""
    primary = accuracy.filter("primary")
    order = {name: i for i, name in enumerate(inputs.settings.primary_evaluators)}
    panels = []
    for key, rows in primary.group_by(*CELL, maintain_order=True):
        cell = dict(zip(CELL, key, strict=True))
        by_model = {
            name: {row["task"]: row for row in rows.filter(pl.col("model") == name).iter_rows(named=True)}
            for name in inputs.models
        }
        panels.append(
            {
                "name": text.evaluator_name(cell),
                "order": order[str(cell["evaluator"])],
                "rows": {name: cells for name, cells in by_model.items() if cells},
                "signature": signature(inputs, reductions, cell),
            }
        )
    return sorted(panels, key=lambda panel: int(panel["order"]))


def _controls(inputs: ReportInputs, accuracy: pl.DataFrame) -> list[dict[str, Any]]:
    """Baselines, and placebos at the primary window and convention, by task, as rows of one table."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    usual = pl.col("window_s").is_null() | ((pl.col("window_s") - inputs.settings.primary_window_s).abs() < 1e-9)
    usual &= (pl.col("convention") == inputs.settings.primary_convention) & (pl.col("codebooks") == "all")
    shown = accuracy.filter((pl.col("role") == "baseline") | ((pl.col("role") == "control") & usual))
    for row in shown.sort("role", "evaluator", "model").iter_rows(named=True):
        key = (text.evaluator_name(row), row["model"])
        entry = rows.setdefault(key, {"name": key[0], "source": key[1], "role": row["role"], "tasks": {}})
        entry["tasks"][row["task"]] = row
    return sorted(rows.values(), key=lambda entry: (entry["role"], entry["name"], entry["source"]))


def _judge_matrix(judges: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """judge -> {"entry": a row, "tasks": task -> row}"""
    matrix: dict[str, dict[str, Any]] = {}
    for row in judges.iter_rows(named=True):
        matrix.setdefault(row["judge"], {"entry": row, "tasks": {}})["tasks"][row["task"]] = row
    return matrix


def _heard_by(judging: pl.DataFrame, sources: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """judge -> rows (source, name, task -> row), models first, floor and ceilings after them."""
    order = {source: i for i, source in enumerate(sources)}
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in judging.iter_rows(named=True):
        by_name = found.setdefault(row["judge"], {})
        entry = by_name.setdefault(
            (row["source"], row["name"]), {"source": row["source"], "name": row["name"], "tasks": {}}
        )
        entry["tasks"][row["task"]] = row
    return {
        judge: sorted(rows.values(), key=lambda entry: (order.get(entry["source"], 99), entry["name"]))
        for judge, rows in sorted(found.items())
    }


def _agreement(agreement: pl.DataFrame) -> list[dict[str, Any]]:
    """The primary family under the chosen judges: system level first, then task by task."""
    shown = agreement.filter(pl.col("primary") & pl.col("chosen"))
    return shown.sort("level", "task", "evaluator", "window_s", "unconditional").to_dicts()


def _timings(timings: pl.DataFrame) -> list[dict[str, Any]]:
    """Seconds by stage, the longest first."""
    return (
        timings.group_by("stage", maintain_order=True)
        .agg(
            n_jobs=pl.len(),
            seconds=pl.col("seconds").sum(),
            cpu_s=pl.col("cpu_s").sum(),
            max_rss_mb=pl.col("max_rss_mb").max(),
        )
        .sort("seconds", descending=True)
        .to_dicts()
    )
