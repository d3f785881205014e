"""What other programs read stays what it is: columns by version, and the schema of results.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from freeze_report_schemas import described, frozen, with_new_versions
from hostile_report import hostile_inputs
from report_simulation import simulate

from spokeneval.report import make_report
from spokeneval.report.results_json import RESULTS_VERSION
from spokeneval.report.results_schema import results_schema
from spokeneval.report.schemas import REPORT_SCHEMAS
from spokeneval.table_schema import text

HOW = "raise the version in its schema, then run `python tests/freeze_report_schemas.py`"


@pytest.mark.parametrize("name", sorted(REPORT_SCHEMAS))
def test_columns_change_with_the_version_only(name: str) -> None:
    schema = REPORT_SCHEMAS[name]
    versions = frozen().get(name, {})
    assert str(schema.version) in versions, f"{name} version {schema.version} is not written down: {HOW}"
    assert described(schema) == versions[str(schema.version)], f"{name}: columns changed; {HOW}"


def test_no_table_is_frozen_that_there_is_not() -> None:
    assert set(frozen()) == set(REPORT_SCHEMAS)


def test_a_changed_column_is_not_written_over_its_version() -> None:
    schema = REPORT_SCHEMAS["items_long"]
    more = replace(schema, columns=(*schema.columns, text("more", "x")))
    with pytest.raises(SystemExit, match="raise its version"):
        with_new_versions(frozen(), {"items_long": more})
    raised = replace(more, version=schema.version + 1)
    assert str(raised.version) in with_new_versions(frozen(), {"items_long": raised})["items_long"]


def _results(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return loaded


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(results_schema())
    jsonschema.Draft202012Validator.check_schema(loaded)
    return loaded


def test_results_json_is_what_its_schema_says(schema: dict[str, Any], tmp_path: Path) -> None:
    make_report(simulate(tmp_path / "in", n_models=3, n_items=12, hearing=5.0), tmp_path / "report", "x")
    make_report(hostile_inputs(tmp_path), tmp_path / "hostile", "x")
    make_report(simulate(tmp_path / "none", n_models=1, n_items=1, tasks=()), tmp_path / "empty", "x")
    for name in ("report", "hostile", "empty"):
        jsonschema.validate(_results(tmp_path / name), schema)
    results = _results(tmp_path / "report")
    assert results["version"] == RESULTS_VERSION
    assert set(results) == set(schema["properties"])
    assert all(entry.get("description") for entry in schema["properties"].values())


def test_the_schema_refuses_another_layout(schema: dict[str, Any], tmp_path: Path) -> None:
    make_report(simulate(tmp_path / "in", n_models=2, n_items=6, tasks=("speaker",)), tmp_path / "report", "x")
    results = _results(tmp_path / "report")
    lacking = {key: value for key, value in results.items() if key != "accuracy"}
    row = results["accuracy"][0]
    for wrong in (
        lacking,
        results | {"more": 1},
        results | {"version": RESULTS_VERSION - 1},
        results | {"accuracy": [row | {"accuracy": "71 %"}]},
        results | {"accuracy": [{key: value for key, value in row.items() if key != "low"}]},
        results | {"accuracy": [row | {"another": 1}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
