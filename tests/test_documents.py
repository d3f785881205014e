"""What is generated from code is committed as it would be generated now, and describes what it says."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from spokeneval.document import DOCUMENTS, config_page, config_schema

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_generated_documents_are_up_to_date(name):
    assert (ROOT / name).read_text() == DOCUMENTS[name](), "run `make docs`"


def test_the_schema_accepts_the_embedded_default_and_refuses_a_misspelt_key():
    schema = json.loads(config_schema())
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    jsonschema.validate(config, schema)
    config["resluts"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, schema)


def test_series_and_tables_of_models_are_in_the_schema_and_among_the_keys():
    schema = json.loads(config_schema())
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    series = {"path": "runs/a/step_{step}", "tokenizer": "rvq", "steps": [100, 200]}
    jsonschema.validate({**config, "models": {"mine": series}, "models_table": ["a.csv", "b.csv"]}, schema)
    of_table = {key: value for key, value in config.items() if key != "models"}
    jsonschema.validate({**of_table, "models_table": "a.csv"}, schema)
    for wrong in (of_table, {**config, "models": {"mine": {**series, "steps": "all"}}}, {**config, "models_table": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    page = config_page()
    assert page.count("| `models_table` | str or list of str |") == 1
    of_causal_lm = page[page.index("### kind: `causal_lm`") : page.index("#### `sequence` of causal_lm")]
    assert "| `steps` | list of int or null |" in of_causal_lm
    assert "`steps`" not in page[page.index("### kind: `external`") :].partition("\n## ")[0]
