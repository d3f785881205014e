"""What differs between two runs, and which of it forbids a comparison.

Conventions
-----------
- Conditions are what a number means (the line under a table): the version of spokeneval, the settings of the reduction
  conventions that are compared, what an accuracy is averaged over, and the judges' kind, attribute, answer and crop.
  Runs that differ there are compared by force only. The data is no condition: items are matched by their sound.
- Changes are what may explain a difference: a model's weights (by content, not by path), sequence convention and
  options, the data, the report's settings.
- Stages carry identities. Where the first stage of a model whose identity differs is explained by nothing that the
  reports declare, its code, a package, or an undeclared setting or file changed: that is said ('code').
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.compare_runs.finished_run import Run

ABSENT = "-"
_CONTENT = re.compile(r"(?:content|revision) (\S+)$")
_SCORED_BY = ("kind", "sequence", "options", "dtype", "tokenizer")
_HEARD_BY = (*_SCORED_BY, "decoding", "vocoder")
"""Keys that explain another likelihood, and other continuations; so do weights."""
_SHOWN_ONLY = ("name", "family", "label", "series", "step", "parameters", "conventions")


class Change(NamedTuple):
    kind: str
    """version, data, convention, averaging, settings, weights, model, judge, code"""
    about: str
    """model, judge, convention or setting that differs; '' where it is the run"""
    a: str
    b: str

    def line(self) -> str:
        return f"{self.kind}{' ' + self.about if self.about else ''}: {self.a} in A, {self.b} in B"


def conditions(a: Run, b: Run, conventions: Iterable[str], judges: Iterable[str]) -> list[Change]:
    """What differs of what must be equal; conventions, judges: names that both runs have and that are compared."""
    found = _differing("version", "", _text(a.results["signature"].get("version")), _text(_version(b)))
    found += _differing("averaging", "", a.averaging, b.averaging)
    for name in sorted(conventions):
        of_a, of_b = (run.results["conventions"].get(name) for run in (a, b))
        found += _entries("convention", name, _settings(of_a), _settings(of_b))
    for name in sorted(judges):
        of_a, of_b = ({k: v for k, v in run.results["judges"][name].items() if k != "name"} for run in (a, b))
        found += _entries("judge", name, of_a, of_b)
    return found


def _version(run: Run) -> Any:
    return run.results["signature"].get("version")


def _settings(convention: Any) -> Mapping[str, Any]:
    """Settings of a reduction convention without the line that repeats them."""
    if not isinstance(convention, dict):
        return {"": convention}
    return {key: value for key, value in convention.items() if key not in ("name", "signature")}


def changes(a: Run, b: Run, models: list[tuple[str, str]], judges: Iterable[str]) -> list[Change]:
    """What else differs, of the run first, then of each pair of models and each judge."""
    data = [_text(run.results["signature"].get("data")) for run in (a, b)]
    found = _differing("data", "", *data)
    found += _entries("settings", "", a.settings, b.settings)
    for pair in models:
        found += _of_models(a, b, *pair)
    for judge in sorted(judges):
        identities = [_identity(run, f"references/{judge}") for run in (a, b)]
        found += _differing("code", f"or weights of judge {judge}", *_stages("references", identities))
    for run, other in ((a, b), (b, a)):
        if run.results["incomplete"] and not other.results["incomplete"]:
            found.append(Change("data", f"report of {run.name} is INCOMPLETE", *_states(a, b)))
    return found


def _states(a: Run, b: Run) -> tuple[str, str]:
    states = ["incomplete" if run.results["incomplete"] else "complete" for run in (a, b)]
    return states[0], states[1]


def _of_models(a: Run, b: Run, model_a: str, model_b: str) -> list[Change]:
    about = model_a if model_a == model_b else f"{model_a} = {model_b}"
    of_a, of_b = a.models[model_a], b.models[model_b]
    declared_a, declared_b = ({k: v for k, v in e.items() if k not in _SHOWN_ONLY} for e in (of_a, of_b))
    found = _entries("model", about, declared_a, declared_b)
    said_a, said_b = of_a["conventions"], of_b["conventions"]
    for key in dict.fromkeys([*said_a, *said_b]):
        texts = [_text(said.get(key)) for said in (said_a, said_b)]
        content = [_CONTENT.search(text) for text in texts]
        if content[0] and content[1] and content[0][1] == content[1][1]:
            continue  # the same files elsewhere
        found += _differing("weights" if any(content) else "model", f"{about}: {key}", *texts)
    return found + _of_code(a, b, (of_a["tokenizer"], of_b["tokenizer"]), (model_a, model_b), about, found)


def _of_code(
    a: Run, b: Run, tokenizers: tuple[str, str], models: tuple[str, str], about: str, declared: list[Change]
) -> list[Change]:
    """The first stage that was made under another identity, where nothing declared says why."""
    scored = (("tokens", tokenizers), ("likelihood", models), ("evaluators", models))
    for stages, keys in ((scored, _SCORED_BY), ((("continuations", models),), _HEARD_BY)):
        if any(change.kind == "weights" or change.about.rpartition(": ")[2] in keys for change in declared):
            continue
        for stage, names in stages:
            identities = [_identity(run, f"{stage}/{name}") for run, name in zip((a, b), names, strict=True)]
            found = _differing("code", f"or undeclared settings of {about}", *_stages(stage, identities))
            if found:
                return found
    return []


def _stages(stage: str, identities: list[str | None]) -> tuple[str, str]:
    """Texts of identities; equal ones, and those that are not known, give equal texts."""
    if None in identities:
        return ABSENT, ABSENT
    first, second = (f"{stage} {str(identity)[:12]}" for identity in identities)
    return first, second


def _identity(run: Run, table: str) -> str | None:
    """The identity in a table's metadata; None where the table is not here, or has none."""
    try:
        metadata = pq.read_schema(run.folder / f"{table}.parquet").metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    found = metadata.get(b"spokeneval.identity")
    return None if found is None else found.decode()


def _entries(kind: str, about: str, of_a: Mapping[str, Any], of_b: Mapping[str, Any]) -> list[Change]:
    found = []
    for key in dict.fromkeys([*of_a, *of_b]):
        name = ": ".join(filter(None, (about, key)))
        found += _differing(kind, name, *(_text(of.get(key, ABSENT)) for of in (of_a, of_b)))
    return found


def _differing(kind: str, about: str, a: str, b: str) -> list[Change]:
    return [] if a == b else [Change(kind, about, a, b)]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
