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

from spokeneval.html_text import json_in_html
from spokeneval.report import text
from spokeneval.report.agreement import TITLE as AGREEMENT_TITLE
from spokeneval.report.answers import answer_curves, failed_lines, limits, task_answers
from spokeneval.report.content import content_view
from spokeneval.report.gap import gap_rows
from spokeneval.report.groups import group_rows
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.inspector import Inspector
from spokeneval.report.judge_view import judge_values
from spokeneval.report.judges import chosen_judges, ranking_judges
from spokeneval.report.latency import latency_rows
from spokeneval.report.listening import Listening
from spokeneval.report.panels import controls, other_conventions, published_panels, switched_panels
from spokeneval.report.people.view import people_view
from spokeneval.report.provenance import provenance_view
from spokeneval.report.published_rows import published_notes
from spokeneval.report.rendering import Figure
from spokeneval.report.signature import headline_cells, judge_fields, signature
from spokeneval.report.strata import kind_name, stratum_tests

if TYPE_CHECKING:
    from spokeneval.report.report_tables import ReportTables

TEMPLATES = Path(__file__).parent / "templates"

MOST_TESTS, MOST_COMPARISONS = 200, 600
"""Rows of the page's tables of strata and of pairs of models; all of them are in tables/."""


def render_template(name: str, folder: Path = TEMPLATES, /, **values: Any) -> str:
    """Fill a template of the report, or of another folder; text is escaped."""
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": text.percent,
        "seconds": text.seconds,
        "evaluator_name": text.evaluator_name,
        "kind_name": kind_name,
        "listed": text.listed,
        "p_value": text.p_value,
        "points": text.points,
        "heat": text.heat,
        "latency": text.latency,
    }
    environment.globals |= {
        "interval": text.interval,
        "coefficient": text.coefficient,
        "count": text.count,
        "published_mark": text.PUBLISHED_MARK,
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
    inspected: Inspector,
    reductions: dict[str, Any],
) -> str:
    """The whole report.html."""
    answers = task_answers(inputs, pairs, found)
    judges = chosen_judges(found.judges)
    cells = headline_cells(found.accuracy)
    tasks = [answer.task for answer in answers]
    ranking = ranking_judges(found.judges)
    agreement_judge = (
        {"judge": "chosen per task: " + ", ".join(f"{t} {j}" for t, j in ranking.items())} if ranking else {}
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
        switched=switched_panels(inputs, found.accuracy, reductions),
        controls=controls(inputs, found.accuracy),
        published=published_panels(inputs, found.accuracy),
        published_notes=published_notes(found.accuracy),
        other_conventions=other_conventions(inputs, found.accuracy),
        gap=gap_rows(found.gap),
        stratum_tests=stratum_tests(found.strata),
        most_tests=MOST_TESTS,
        groups=group_rows(found.groups),
        series=inputs.series(),
        best_steps=found.best_steps.sort("series", "task", "evaluator").to_dicts(),
        answer_curves=answer_curves(answers, figures),
        curves=[name for name in inputs.settings.primary_evaluators if f"learning_{name}" in figures],
        comparisons=_first_comparisons(found.comparisons),
        n_comparisons=len(found.comparisons),
        content=content_view(inputs, found.content),
        chosen=sorted(set(judges.values())),
        ranking=ranking,
        **judge_values(inputs, found, tasks),
        agreement_title=AGREEMENT_TITLE,
        agreement=_agreement(found.agreement),
        people=people_view(inputs, found.people, found.judges, reductions),
        failures=found.failures.to_dicts(),
        timings=_timings(found.timings),
        latencies=latency_rows(found.latency),
        profile_signature=signature(inputs, reductions, evaluator="NLL by time from the transition", delta=None),
        provenance=provenance_view(found.provenance),
        figures=figures,
        listening=heard,
        inspector=inspected,
        inspector_json=json_in_html(inspected.data),
        inspector_script=Markup((TEMPLATES / "inspector.js").read_text(encoding="utf-8")),
        reductions=reductions,
        headline_signature=" | ".join(signature(inputs, reductions, cell) for cell in cells),
        control_signature=signature(
            inputs, reductions, evaluator="controls", delta=f"{inputs.settings.primary_window_s:g} s"
        ),
        judge_signature=signature(
            inputs,
            reductions,
            **judge_fields(inputs, {j: j for j, entry in inputs.judges.items() if not entry.transcribes}),
        ),
        agreement_signature=signature(
            inputs,
            reductions,
            evaluator="as named",
            delta="as named",
            unconditional="as named",
            codebooks="all",
            **{**judge_fields(inputs, ranking), **agreement_judge},
        ),
    )


def _first_comparisons(comparisons: pl.DataFrame) -> list[dict[str, Any]]:
    """The pairs by p within each task; with many models only the clearest, as many of each task."""
    by_p = comparisons.sort(["task", "p_holm"], nulls_last=True)
    per_task = max(1, MOST_COMPARISONS // max(1, comparisons["task"].n_unique()))
    return by_p.filter(pl.int_range(pl.len()).over("task") < per_task).to_dicts()


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
