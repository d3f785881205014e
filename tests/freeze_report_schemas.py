"""Write down the columns of every table of the report under their version (run after raising a version).

    python tests/freeze_report_schemas.py

What is written once is never changed: columns that differ from what their version was frozen with need a new version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spokeneval.report.schemas import REPORT_SCHEMAS
from spokeneval.table_schema import TableSchema

FROZEN = Path(__file__).parent / "golden" / "report_schemas.json"


def described(schema: TableSchema) -> dict[str, Any]:
    """What a reader of the table relies on."""
    return {"key": list(schema.key), "columns": {column.name: str(column.type) for column in schema.columns}}


def frozen() -> dict[str, dict[str, Any]]:
    """Table -> version as text -> its key and columns."""
    loaded: dict[str, dict[str, Any]] = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
    return loaded


def with_new_versions(known: dict[str, dict[str, Any]], schemas: dict[str, TableSchema]) -> dict[str, dict[str, Any]]:
    """`known` and the versions that it lacks. Raises SystemExit where a known one has other columns now."""
    found = {name: dict(versions) for name, versions in known.items()}
    for name, schema in schemas.items():
        versions = found.setdefault(name, {})
        own = versions.setdefault(str(schema.version), described(schema))
        if own != described(schema):
            raise SystemExit(f"{name}: its columns changed; raise its version (now {schema.version}) first")
    return found


if __name__ == "__main__":
    FROZEN.parent.mkdir(exist_ok=True)
    FROZEN.write_text(json.dumps(with_new_versions(frozen(), REPORT_SCHEMAS), indent=1, sort_keys=True) + "\n")
