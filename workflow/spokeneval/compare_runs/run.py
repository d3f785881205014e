"""`spokeneval compare`: two folders of results in, a folder with the comparison out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from spokeneval.compare_runs.changes import Change, changes, conditions
from spokeneval.compare_runs.console import console_text
from spokeneval.compare_runs.finished_run import Run, read_run
from spokeneval.compare_runs.page import page
from spokeneval.compare_runs.paired_rows import paired_rows
from spokeneval.compare_runs.same_items import SharedItems, shared_items
from spokeneval.compare_runs.schemas import COMPARE, LEFT_OUT
from spokeneval.errors import ArtefactError, ConfigError, SpokenevalError
from spokeneval.identity import digest
from spokeneval.tables import atomic_path, write_table

RESULTS_VERSION = 1
"""Of the layout of results.json; see docs/compare-runs.md."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, compared."""

    a: Run
    b: Run
    models: list[tuple[str, str]]
    shared: SharedItems
    rows: pl.DataFrame
    """In the schema COMPARE."""
    conditions: list[Change]
    """What must be equal and is not; not empty only by force."""
    changes: list[Change]
    unmatched: dict[str, list[str]]
    """'A', 'B' -> models that are not compared."""

    @property
    def forced(self) -> bool:
        return bool(self.conditions)


def compare_runs(
    a: Path,
    b: Path,
    to: Path,
    *,
    dataset: str | None = None,
    models: Sequence[str] = (),
    force: bool = False,
) -> str:
    """Compare what lies in two folders, write compare.parquet, .csv, .html and results.json into `to`, return the text.

    a, b: folders of results, of one dataset, or reports; models: 'name' or 'name in A=name in B', all that both have
    where empty; force: go on where the runs differ in what must be equal, and mark everything.
    Nothing is written where the runs cannot be compared.
    """
    compared = compare(read_run("A", a, dataset), read_run("B", b, dataset), models, force)
    identity = digest({"a": compared.a.identity, "b": compared.b.identity, "models": compared.models})
    for name, table, schema in (
        ("compare", compared.rows, COMPARE),
        ("left_out", compared.shared.left_out, LEFT_OUT),
    ):
        write_table(to / f"{name}.parquet", table, schema, identity, {"forced": compared.forced})
        with atomic_path(to / f"{name}.csv") as temporary:
            table.write_csv(temporary)
    with atomic_path(to / "results.json") as temporary:
        temporary.write_text(json.dumps(_results(compared), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    with atomic_path(to / "compare.html") as temporary:
        temporary.write_text(page(compared), encoding="utf-8")
    return f"{console_text(compared)}\n\ncomparison: {to / 'compare.html'}"


def compare(a: Run, b: Run, models: Sequence[str] = (), force: bool = False) -> Comparison:
    """Raises ConfigError where no model is in both, ArtefactError where no item is, SpokenevalError where the runs
    differ in what must be equal and `force` is not given."""
    pairs = _pairs(a, b, models)
    judges = sorted(a.results["judges"].keys() & b.results["judges"].keys())
    conventions = set(a.accuracy.filter("primary")["convention"]) & set(b.results["conventions"])
    unequal = conditions(a, b, conventions, judges)
    if unequal and not force:
        raise SpokenevalError(
            "\n".join(
                [
                    f"A ({a.label}) and B ({b.label}) do not measure the same; a difference may come from that:",
                    *(f"  {entry.line()}" for entry in unequal),
                    "make them alike, or compare all the same by --force (make: FORCE=1), which marks every output",
                ]
            )
        )
    shared = shared_items(a, b)
    unmatched = {
        run.name: [name for name in run.models if name not in {pair[k] for pair in pairs}]
        for k, run in enumerate((a, b))
    }
    rows = paired_rows(a, b, shared, pairs, bool(unequal))
    if rows.is_empty():
        raise ArtefactError(
            f"A ({a.label}) and B ({b.label}) share {len(shared.items):,} items, but no evaluator with the same window "
            "and convention, and no judge"
        )
    return Comparison(a, b, pairs, shared, rows, unequal, changes(a, b, pairs, judges), unmatched)


def _pairs(a: Run, b: Run, asked: Sequence[str]) -> list[tuple[str, str]]:
    """(model of A, model of B)"""
    if not asked:
        both = [(name, name) for name in a.models if name in b.models]
        if not both:
            raise ConfigError(
                f"no model is in both: A has {', '.join(a.models) or 'none'}, B has {', '.join(b.models) or 'none'}; "
                "say which belong together by --model <name in A>=<name in B>"
            )
        return both
    found = []
    for text in asked:
        name_a, _, name_b = text.partition("=")
        name_b = name_b or name_a
        for run, name in ((a, name_a), (b, name_b)):
            if name not in run.models:
                raise ConfigError(f"--model {text}: {run.name} has no model '{name}'; it has {', '.join(run.models)}")
        found.append((name_a, name_b))
    if len(set(found)) < len(found):
        raise ConfigError(f"--model: a pair is named twice: {', '.join(asked)}")
    return found


def _results(compared: Comparison) -> dict[str, Any]:
    """results.json: what another program needs first."""
    return {
        "version": RESULTS_VERSION,
        "forced": compared.forced,
        "runs": {
            run.name: {
                "label": run.label,
                "dataset": run.results["dataset"],
                "signature": run.results["signature"],
                "report": run.identity,
                "incomplete": run.results["incomplete"],
            }
            for run in (compared.a, compared.b)
        },
        "models": [list(pair) for pair in compared.models],
        "not_compared": compared.unmatched,
        "conditions": [entry._asdict() for entry in compared.conditions],
        "changes": [entry._asdict() for entry in compared.changes],
        "items": compared.shared.counts(),
        "n_other_cluster": compared.shared.n_other_cluster,
        "rows": compared.rows.to_dicts(),
    }
