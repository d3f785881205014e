"""What every model was run with is printed, and rows under other conventions have a table of their own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_simulation import (
    evaluator_row,
    read_pairs,
    simulate,
    simulate_pairs,
    simulate_verdicts,
    write_evaluators,
)

from spokeneval.config import load_config
from spokeneval.fingerprint import Fingerprints
from spokeneval.jobs.model_conventions import model_conventions, plain
from spokeneval.jobs.reporting import report_inputs
from spokeneval.report import make_report
from spokeneval.report.accuracy import accuracy_table, headlines, read_scores
from spokeneval.report.panels import other_conventions
from spokeneval.report.schemas import ACCURACY
from spokeneval.tables import read_table

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _conventions(folder: Path, model: dict[str, Any], **sections: Any) -> dict[str, str]:
    config = load_config(
        {
            "datasets": {"demo": {"kind": "pairs", "table": "t.csv"}},
            "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": "c.safetensors"}},
            "vocoders": {"gl": {"kind": "griffin_lim"}},
            "models": {"m": {"tokenizer": "rvq", **model}},
            **sections,
        }
    )
    return model_conventions(config, "m", Fingerprints(folder / "lock.json"))


def test_a_sequence_convention_is_printed_in_full_with_reductions_dtype_and_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    found = _conventions(
        tmp_path,
        {"path": str(tmp_path), "sequence": {"offset": 5, "bos": None}, "reductions": ["sum"], "dtype": "bfloat16"},
    )
    assert found["kind"] == "causal_lm"
    assert found["sequence convention"] == "none by name"
    assert found["sequence"].startswith("offset 5; bos none; eos none; ")
    assert "truncate refuse" in found["sequence"]
    assert found["reductions"] == "default, sum"
    assert found["dtype"] == "bfloat16"
    digest = Fingerprints(tmp_path / "none.json").digest(tmp_path)
    assert found["path"] == f"{tmp_path}, content {digest[:12]}"
    assert "decoding" not in found


def test_a_named_convention_a_commit_and_the_decoding_are_printed(tmp_path: Path) -> None:
    found = _conventions(
        tmp_path,
        {"path": "org/model", "revision": COMMIT, "convention": "salmon-twist", "vocoder": "gl"},
    )
    assert found["sequence convention"] == "salmon-twist"
    assert "salmon-twist" in found["reductions"].split(", ")
    assert found["path"] == f"org/model, revision {COMMIT}"
    assert "new_s 2.0; min_new_s none; temperature 1.0" in found["decoding"]


def test_other_kinds_print_their_options_and_no_device(tmp_path: Path) -> None:
    found = _conventions(tmp_path, {"kind": "csm", "path": str(tmp_path / "none"), "speaker": 3, "device": "cuda:1"})
    assert "speaker 3" in found["options"]
    assert "cuda" not in json.dumps(found)
    assert "sequence" not in found
    assert found["path"].startswith(f"{tmp_path}/none, content unknown (")


def test_nested_values_are_plain_text() -> None:
    assert plain({"a": None, "b": True, "c": [1, 2], "d": {"e": 1}}) == "a none; b yes; c 1, 2; d (e 1)"


def test_page_and_results_list_the_conventions_of_each_model(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", n_models=2, n_items=6, tasks=("speaker",))
    said = {"sequence convention": "salmon-twist", "sequence": "offset 7; bos <s>"}
    inputs = replace(inputs, models={n: replace(m, conventions=said) for n, m in inputs.models.items()})
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert text[text.index('<section id="run"') :].count("sequence: offset 7; bos &lt;s&gt;") == 2
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["models"]["sim-a"]["conventions"] == said


def test_what_the_configuration_says_reaches_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    simulate_pairs(tmp_path, np.random.default_rng(0), 4, ("speaker",))
    (tmp_path / "results" / "demo").mkdir(parents=True)
    for name in ("pairs", "clips"):
        (tmp_path / f"{name}.parquet").rename(tmp_path / "results" / "demo" / f"{name}.parquet")
    (tmp_path / "published.csv").write_text("model,task,evaluator,window_ms,accuracy_percent\np,speaker,global,,60\n")
    for step in (10, 200):
        (tmp_path / "run" / f"step_{step}").mkdir(parents=True)
        (tmp_path / "run" / f"step_{step}" / "config.json").write_text("{}")
    people = [{"value": 91.2, "source": "one"}, {"value": 91.5, "source": "two"}]
    dataset = {
        "kind": "pairs",
        "table": "t.csv",
        "published": "published.csv",
        "published_source": "a paper",
        "human_topline": {"speaker": people, "room": people[0]},
    }
    config = load_config(
        {
            "datasets": {"demo": dataset},
            "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": "c.safetensors"}},
            "models": {"mine": {"path": "run/step_{step}", "tokenizer": "rvq"}},
        }
    )
    inputs = report_inputs(config, "demo", partial=True)
    assert [(e.name, e.step) for e in inputs.series()["mine"]] == [("mine-step10", 10), ("mine-step200", 200)]
    assert inputs.models["mine-step10"].conventions["path"].startswith("run/step_10, content ")
    assert [entry.source for entry in inputs.human_topline["speaker"]] == ["one", "two"]
    assert inputs.topline("room") == 0.912
    assert inputs.published_source == "a paper"
    make_report(inputs, tmp_path / "report", "x")
    accuracy = read_table(tmp_path / "report" / "tables" / "accuracy.parquet", ACCURACY)
    assert accuracy.select("model", "role", "source").rows() == [("p", "published", "a paper")]


def test_rows_of_other_conventions_have_their_own_table_and_rank_nothing(tmp_path: Path) -> None:
    inputs = simulate_verdicts(tmp_path, {"m": {("speaker", "global"): [1.0, 0.0, 1.0, 1.0]}})
    pairs = read_pairs(inputs).to_dicts()
    rows = pl.read_parquet(inputs.evaluators["m"]).to_dicts()
    rows += [evaluator_row(p, "global", None, positive=1.0, negative=0.5, convention="salmon-twist") for p in pairs]
    write_evaluators(inputs.evaluators["m"], rows)
    accuracy = accuracy_table(inputs, read_pairs(inputs), read_scores(inputs))
    assert headlines(read_scores(inputs), inputs.settings) == {"speaker": "global"}
    assert accuracy.filter("headline")["accuracy"].to_list() == [0.75]
    found = other_conventions(inputs, accuracy)
    assert [(e["convention"], e["name"], e["model"]) for e in found] == [("salmon-twist", "global", "m")]
    assert found[0]["tasks"]["speaker"]["accuracy"] == 0.0
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    assert "Under the publishers' and other conventions (1 row)" in text.replace("&#39;", "'")
