"""One line that says what a table was made with, so that two tables can be compared or kept apart."""

from __future__ import annotations

from typing import Any

import polars as pl

from spokeneval import tables
from spokeneval.report.inputs import ReportInputs

_NONE = "-"


def conventions(inputs: ReportInputs) -> dict[str, Any]:
    """Name -> settings of the reduction conventions, from the metadata of the evaluators tables."""
    found: dict[str, Any] = {}
    for path in inputs.evaluators.values():
        found |= tables.read_metadata(path, tables.EVALUATORS).extra.get("conventions", {})
    return found


def _plain(value: Any) -> str:
    if value is None or value == "":
        return _NONE
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{k}={_plain(v)}" for k, v in value.items())
    return str(value)


def signature(
    inputs: ReportInputs, reductions: dict[str, Any], cell: dict[str, Any] | None = None, /, **more: str | None
) -> str:
    """The line under a table.

    cell: the columns that name an evaluator, where the table is about one; `more` adds judge, crop and the like.
    """
    cell = cell or {}
    name = cell.get("convention", inputs.settings.primary_convention)
    settings = reductions.get(name)
    read = settings if isinstance(settings, dict) else {}
    fields = {
        "spokeneval": inputs.signature.get("version"),
        "data": inputs.signature.get("data", inputs.dataset),
        "evaluator": cell.get("evaluator", more.pop("evaluator", None)),
        "delta": more.pop("delta", f"{cell['window_s']:g} s" if cell.get("window_s") is not None else None),
        "edge": read.get("edge"),
        "stride": read.get("stride"),
        "unconditional term": cell.get("unconditional", more.pop("unconditional", None)),
        "codebooks": cell.get("codebooks", more.pop("codebooks", None)),
        "convention": f"{name} ({settings})" if isinstance(settings, str) else name,
        "tie": read.get("tie", 0.5),
        "crop": more.pop("crop", None),
        "judge": more.pop("judge", None),
    }
    return "; ".join(f"{key} {_plain(value)}" for key, value in (fields | more).items())


def judge_fields(inputs: ReportInputs, judges: dict[str, str]) -> dict[str, str]:
    """`judge` and `crop` of a signature, for the judges of several tasks."""
    names = sorted({name for judge in judges.values() for name in judge.split(" / ")})
    crops = [inputs.judges[name].crop_s for name in names]
    return {
        "judge": ", ".join(names),
        "crop": ", ".join("whole" if crop is None else f"{crop:g} s" for crop in crops),
    }


def headline_cells(accuracy: pl.DataFrame) -> list[dict[str, Any]]:
    """The evaluators that rank models, each once."""
    columns = ["evaluator", "window_s", "unconditional", "codebooks", "convention"]
    return accuracy.filter(pl.col("headline")).select(columns).unique(maintain_order=True).to_dicts()


def judges_signature(inputs: ReportInputs, reductions: dict[str, Any]) -> str:
    """Of a table over all judges that give no text."""
    compared = {name: name for name, entry in inputs.judges.items() if not entry.transcribes}
    return signature(inputs, reductions, **judge_fields(inputs, compared))


def agreement_signature(inputs: ReportInputs, reductions: dict[str, Any], ranking: dict[str, str]) -> str:
    """Of the agreement with judges. ranking: task -> the judge that ranks its models."""
    named = dict.fromkeys(("evaluator", "delta", "unconditional"), "as named")
    chosen = {"judge": "chosen per task: " + ", ".join(f"{t} {j}" for t, j in ranking.items())} if ranking else {}
    return signature(inputs, reductions, codebooks="all", **{**named, **judge_fields(inputs, ranking), **chosen})
