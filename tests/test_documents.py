"""What is generated from code is committed as it would be generated now, and describes what it says."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from spokeneval.document import DOCUMENTS, config_schema

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
