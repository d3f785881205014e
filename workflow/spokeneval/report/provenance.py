"""Was a model, its tokenizer, its vocoder or a judge trained on what the items were made from?

Conventions
-----------
- A source is the name of a corpus. Names are compared without case, spaces and punctuation, and without a remark in
  parentheses: "VCTK (texts 24 and later)" is VCTK, since its voices and rooms were heard.
- *yes*: a source of the items is among those that it was trained on. *no*: all that it was trained on is said, and the
  source is not among it. *unknown*: anything else. Nothing is guessed from names or from sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from spokeneval.report.schemas_provenance import PROVENANCE
from spokeneval.report.text import listed

Role = Literal["model", "tokenizer", "vocoder", "judge"]
Trained = Literal["yes", "no", "unknown"]
UNKNOWN_SOURCE = "unknown"
ROLES: tuple[Role, ...] = ("model", "tokenizer", "vocoder", "judge")


@dataclass(frozen=True)
class Origin:
    """What is said of the training of one thing that numbers depend on."""

    role: Role
    name: str
    trained_on: tuple[str, ...] | None = None
    """Corpora; none where nothing is said."""
    complete: bool = True
    """False where it was trained on these and maybe on others."""
    said_by: str = ""
    """Who says so; empty where nothing is said."""
    licence: str | None = None
    identity: str | None = None
    """Of what it made."""


@dataclass(frozen=True)
class Provenance:
    """Where everything comes from that a report's numbers depend on, and what wrote the report."""

    origins: tuple[Origin, ...] = ()
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Task -> corpora that its items were made from; tasks of which nothing is known are absent."""
    sources_said_by: str = ""
    licence: str | None = None
    """Of the dataset."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package -> version under which the tables were made; they are part of their identities."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """What wrote the report (Python, Snakemake, commit): the only text of it that depends on where it was written."""


def same_source(one: str, other: str) -> bool:
    """Whether two names mean one corpus."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    bare = re.sub(r"[\W_]+", "", re.sub(r"\(.*?\)", "", name).casefold())
    return bare or name.casefold()


def trained_on(origin: Origin, source: str) -> tuple[Trained, str]:
    """The answer and what it rests on."""
    if origin.trained_on is None:
        return "unknown", "nothing is said of its training"
    by = f" ({origin.said_by})" if origin.said_by else ""
    hits = [name for name in origin.trained_on if same_source(name, source)]
    if source != UNKNOWN_SOURCE and hits:
        return "yes", f"trained on {listed(hits)}{by}"
    if not origin.trained_on:
        return "no", f"not trained{by}"
    among = "trained on" if origin.complete else "trained on, among others,"
    known = f"{among} {listed(list(origin.trained_on))}{by}"
    if not origin.complete or source == UNKNOWN_SOURCE:
        return "unknown", known
    return "no", known


def provenance_table(found: Provenance, tasks: list[str]) -> pl.DataFrame:
    """One row per thing and source, in the schema PROVENANCE; tasks: in the order of the dataset."""
    of_source: dict[str, list[str]] = {}
    for task in tasks:
        for source in found.sources.get(task, (UNKNOWN_SOURCE,)):
            of_source.setdefault(source, []).append(task)
    rows: list[dict[str, Any]] = []
    for origin in found.origins:
        for source, of_tasks in of_source.items():
            answer, why = trained_on(origin, source)
            rows.append(
                {
                    "role": origin.role,
                    "name": origin.name,
                    "source": source,
                    "tasks": ", ".join(of_tasks),
                    "trained": answer,
                    "why": why,
                    "licence": origin.licence,
                    "identity": None if origin.identity is None else origin.identity[:12],
                }
            )
    return pl.DataFrame(pl.from_arrow(PROVENANCE.from_rows(rows)))


def provenance_view(table: pl.DataFrame) -> dict[str, Any]:
    """What the page shows: the sources with their tasks, and a row for each thing in the order of ROLES."""
    things: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.iter_rows(named=True):
        entry = things.setdefault((row["role"], row["name"]), {"row": row, "sources": {}})
        entry["sources"][row["source"]] = row
    order = {role: k for k, role in enumerate(ROLES)}
    heard: dict[str, list[str]] = {}
    for row in table.filter(pl.col("trained") == "yes").iter_rows(named=True):
        heard.setdefault(row["source"], []).append(f"{row['role']} {row['name']}")
    return {
        "sources": dict(table.select("source", "tasks").unique(maintain_order=True).iter_rows()),
        "things": sorted(things.values(), key=lambda entry: order[entry["row"]["role"]]),
        "heard": heard,
    }
