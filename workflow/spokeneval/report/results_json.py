"""results.json: what another program needs first; the tables hold the rest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import chosen_judges, ranking_judges
from spokeneval.report.report_tables import ReportTables

RESULTS_VERSION = 4
"""Of the layout of results.json; see workflow/schemas/results.schema.json."""


def results(inputs: ReportInputs, found: ReportTables, reductions: dict[str, Any], n_failed: int) -> dict[str, Any]:
    """The content of results.json; reductions: see `signature.conventions`."""
    ranked = found.accuracy.filter(pl.col("primary"))
    return {
        "version": RESULTS_VERSION,
        "dataset": inputs.dataset,
        "signature": inputs.signature,
        "settings": asdict(inputs.settings),
        "conventions": reductions,
        "incomplete": inputs.incomplete,
        "missing": inputs.missing,
        "n_failed_rows": n_failed,
        "n_failed_items": found.n_failed_items,
        "n_items": found.n_items,
        "models": {name: asdict(entry) for name, entry in inputs.models.items()},
        "judges": {name: asdict(entry) for name, entry in inputs.judges.items()},
        "chosen_judges": chosen_judges(found.judges),
        "ranking_judges": ranking_judges(found.judges),
        "judge_standings": found.judges.to_dicts(),
        "judges_by_codec": found.judges_by_codec.to_dicts(),
        "human_topline": {task: [asdict(entry) for entry in entries] for task, entries in inputs.human_topline.items()},
        "published_source": inputs.published_source,
        "accuracy": ranked.to_dicts(),
        "judging": found.model_judging.filter(pl.col("source") == "model").to_dicts(),
        "content": found.content.to_dicts(),
        "gap": found.gap.to_dicts(),
        "best_steps": found.best_steps.to_dicts(),
        "agreement": found.agreement.filter(pl.col("primary") & pl.col("chosen")).to_dicts(),
        "latency": found.latency.to_dicts(),
        "trained_on": found.provenance.to_dicts(),
        "provenance": asdict(inputs.provenance),
        **found.people.results(),
    }
