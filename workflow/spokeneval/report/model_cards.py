"""A model card fragment for each model, in the hub's `model-index` format: what this report measured, to be pasted.

Conventions
-----------
- The front matter of each file holds `model-index` alone, so that it can be merged into a card's own; the text below
  says the same as a table.
- Values are shares in [0, 1]. A metric's name carries evaluator, interval and n, for which the format has no place;
  `args` holds them as numbers. Only the evaluators that rank models (headline) and the judges that rank them are in.
- `dataset.type` is the name in the configuration: where the dataset is on the hub, put its id there. There is no
  `source`: only the author knows where the report is published.
"""

from __future__ import annotations

import html
import re
from typing import Any

import polars as pl
import yaml

from spokeneval.report.inputs import ReportInputs
from spokeneval.report.report_tables import ReportTables
from spokeneval.report.signature import headline_cells, signature
from spokeneval.report.text import evaluator_name, interval, percent

_BARS = str.maketrans({"|": r"\|", "\n": " ", "\r": " "})


def model_cards(inputs: ReportInputs, found: ReportTables, reductions: dict[str, Any]) -> dict[str, str]:
    """File name -> card; a model without a number has none."""
    lines = [signature(inputs, reductions, cell) for cell in headline_cells(found.accuracy)]
    cards: dict[str, str] = {}
    for model in inputs.models:
        metrics = [*_accuracies(found, model), *_judged(found, model)]
        if metrics:
            cards[_file_name(model, cards)] = _card(inputs, model, metrics, lines)
    return cards


def _accuracies(found: ReportTables, model: str) -> list[tuple[str, dict[str, Any]]]:
    """(task, metric) of the evaluators that rank models."""
    rows = found.accuracy.filter(pl.col("headline") & (pl.col("model") == model) & pl.col("accuracy").is_not_null())
    return [
        (row["task"], _metric(f"accuracy by {evaluator_name(row)}", row["accuracy"], row, row["n_scored"]))
        for row in rows.iter_rows(named=True)
    ]


def _judged(found: ReportTables, model: str) -> list[tuple[str, dict[str, Any]]]:
    """(task, metric) of the judges that rank models on what they say."""
    ranked = (pl.col("source") == "model") & (pl.col("name") == model) & pl.col("ranked").fill_null(False)
    rows = found.model_judging.filter(ranked & pl.col("share").is_not_null())
    return [
        (row["task"], _metric(f"continuations nearer to the right one by {row['judge']}", row["share"], row))
        for row in rows.iter_rows(named=True)
    ]


def _metric(what: str, share: float, row: dict[str, Any], n: int | None = None) -> dict[str, Any]:
    count = row["n_scored"] if n is None else n
    bounds = interval(row["low"], row["high"])
    return {
        "type": "accuracy",
        "value": round(share, 6),
        "name": f"{what}{f' {bounds} %' if bounds else ''}, n {count}",
        "args": {
            "low": None if row["low"] is None else round(row["low"], 6),
            "high": None if row["high"] is None else round(row["high"], 6),
            "n": count,
        },
    }


def _card(inputs: ReportInputs, model: str, metrics: list[tuple[str, dict[str, Any]]], lines: list[str]) -> str:
    by_task: dict[str, list[dict[str, Any]]] = {}
    for task, metric in metrics:
        by_task.setdefault(task, []).append(metric)
    index = [
        {
            "name": model,
            "results": [
                {
                    "task": {"type": "other", "name": task},
                    "dataset": {"name": f"{inputs.dataset}: {task}", "type": inputs.dataset, "config": task},
                    "metrics": found,
                }
                for task, found in by_task.items()
            ],
        }
    ]
    front = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=10_000)
    rows = [
        f"| {_cell(task)} | {_cell(metric['name'])} | {percent(metric['value'])} |"
        for task, found in by_task.items()
        for metric in found
    ]
    incomplete = "\n**INCOMPLETE**: the report was made without some of its tables.\n" if inputs.incomplete else ""
    signatures = "\n\n".join(f"<small>{_cell(line)}</small>" for line in lines)
    return (
        f"---\n{front}---\n\n## Evaluation on {_cell(inputs.dataset)} (spokeneval)\n{incomplete}\n"
        f"| task | metric | percent |\n|---|---|---|\n" + "\n".join(rows) + f"\n\n{signatures}\n"
    )


def _cell(text: str) -> str:
    """Text in a table of Markdown: no markup, no cell of its own."""
    escaped = html.escape(str(text)).translate(_BARS)
    return re.sub(r"([\\`*_\[\]#~$])", r"\\\1", escaped.replace(r"\|", "|")).replace("|", r"\|")


def _file_name(model: str, taken: dict[str, str]) -> str:
    """The model's name as a file name; names of a configuration are already such."""
    stem = re.sub(r"[^A-Za-z0-9._+-]", "_", model)
    name, k = f"{stem}.md", 2
    while name in taken:
        name, k = f"{stem}-{k}.md", k + 1
    return name
