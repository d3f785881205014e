"""The JSON schema of results.json: what each key holds, so that another program can rely on it.

Tables keep the columns of their schemas, with their meanings; any column may be null. The version counts the layout: a
key or column that goes, comes or changes its meaning raises it.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportSettings, Topline
from spokeneval.report.provenance import Provenance
from spokeneval.report.results_json import RESULTS_VERSION
from spokeneval.report.schemas import ACCURACY, AGREEMENT, BEST_STEPS, GAP
from spokeneval.report.schemas_content import CONTENT
from spokeneval.report.schemas_judges import JUDGES, JUDGES_BY_CODEC, MODEL_JUDGING
from spokeneval.report.schemas_people import (
    EVALUATOR_CHOICE,
    EVALUATOR_DIFFERENCES,
    PEOPLE,
    PEOPLE_LISTENERS,
    PEOPLE_MOS,
)
from spokeneval.report.schemas_provenance import PROVENANCE
from spokeneval.report.schemas_time import LATENCY
from spokeneval.table_schema import TableSchema

_JSON = {
    pa.string(): "string",
    pa.float64(): "number",
    pa.int16(): "integer",
    pa.int32(): "integer",
    pa.int64(): "integer",
    pa.bool_(): "boolean",
}
_TEXT: dict[str, Any] = {"type": "string"}


def results_schema() -> str:
    """The schema as JSON, with one definition a table and kind of entry."""
    definitions: dict[str, Any] = {}

    def entry(kind: Any) -> dict[str, Any]:
        own = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}", mode="serialization")
        definitions.update(own.pop("$defs", {}))
        definitions[kind.__name__] = own
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def rows(table: TableSchema, what: str) -> dict[str, Any]:
        definitions[table.name] = row_schema(table)
        return {"type": "array", "items": {"$ref": f"#/$defs/{table.name}"}, "description": what}

    def by_name(inner: dict[str, Any], what: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": inner, "description": what}

    def count(what: str) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0, "description": what}

    properties = {
        "version": {"const": RESULTS_VERSION, "description": "version of this layout"},
        "dataset": {**_TEXT, "description": "name of the dataset"},
        "signature": {"type": "object", "description": "version of spokeneval, data with identity, and more as text"},
        "settings": {**entry(ReportSettings), "description": "settings of the report"},
        "conventions": {"type": "object", "description": "reduction convention -> its settings"},
        "incomplete": {"type": "boolean", "description": "made without some tables"},
        "missing": {"type": "array", "items": _TEXT, "description": "which"},
        "n_failed_rows": count("rows without a number"),
        "n_failed_items": count("items with such a row"),
        "n_items": count("items of the dataset"),
        "models": by_name(entry(ModelEntry), "model -> how it is described and grouped, with its conventions"),
        "judges": by_name(entry(JudgeEntry), "judge -> how it is described"),
        "chosen_judges": by_name(_TEXT, "task -> its judge"),
        "ranking_judges": by_name(_TEXT, "task -> its judge, where that qualifies"),
        "judge_standings": rows(JUDGES, "tables/judges"),
        "judges_by_codec": rows(JUDGES_BY_CODEC, "tables/judges_by_codec"),
        "human_topline": by_name(
            {"type": "array", "items": entry(Topline)}, "task -> toplines in percent; the first is compared with"
        ),
        "published_source": {"type": ["string", "null"], "description": "where published rows are printed"},
        "accuracy": rows(ACCURACY, "tables/accuracy, the primary evaluators"),
        "judging": rows(MODEL_JUDGING, "tables/model_judging, the models' own rows"),
        "content": rows(CONTENT, "tables/content"),
        "gap": rows(GAP, "tables/gap"),
        "best_steps": rows(BEST_STEPS, "tables/best_steps"),
        "agreement": rows(AGREEMENT, "tables/agreement, primary evaluators under the chosen judges"),
        "latency": rows(LATENCY, "tables/latency"),
        "trained_on": rows(PROVENANCE, "tables/provenance"),
        "people": rows(PEOPLE, "tables/people, the primary evaluators; empty without a listening test"),
        "people_mos": rows(PEOPLE_MOS, "tables/people_mos"),
        "people_listeners": rows(PEOPLE_LISTENERS, "tables/people_listeners"),
        "people_differences": rows(EVALUATOR_DIFFERENCES, "tables/people_differences"),
        "people_choice": rows(EVALUATOR_CHOICE, "tables/people_choice"),
        "provenance": {**entry(Provenance), "description": "what is said of training, licences and versions"},
    }
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"results.json of a spokeneval report, version {RESULTS_VERSION}",
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def row_schema(table: TableSchema) -> dict[str, Any]:
    """One row of a table as an object."""
    return {
        "type": "object",
        "description": f"{table.name}, version {table.version}: {table.doc}",
        "properties": {c.name: {"type": [_JSON[c.type], "null"], "description": c.doc} for c in table.columns},
        "required": [column.name for column in table.columns],
        "additionalProperties": False,
    }
