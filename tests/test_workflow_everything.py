"""The example with everything, through snakemake as its first lines say, on fewer items and models."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from workflow_project import ROOT, Project

pytestmark = pytest.mark.workflow
MODELS = ("acoustic-llama-greedy", "acoustic-llama-hifigan", "semantic-m")
JUDGES = ("resemblyzer", "aisfx", "level", "distillmos", "words")
CODECS = {"rvq-griffin_lim", "rvq-hifigan", "whisper-one_voice"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = yaml.safe_load((ROOT / "examples/everything/config.yaml").read_text())
    config["datasets"]["demo"]["tasks"] = {"speaker": 6, "background_random": 6}
    config["datasets"]["free"]["limit"] = 2
    config["models"] = {name: config["models"][name] for name in MODELS}
    config["models"]["semantic-m"]["decoding"]["samples_per_item"] = 2
    config["judges"] = {name: config["judges"][name] for name in JUDGES}
    config["judges"]["words"]["max_items"] = 2
    config["report"]["n_draws"] = 200
    project = Project.create(tmp_path_factory.mktemp("everything") / "project", config)
    project.run(timeout=900)
    return project.folder / "results/everything"


def table(results: Path, name: str, dataset: str = "demo") -> pl.DataFrame:
    return pl.read_parquet(results / dataset / f"report/tables/{name}.parquet")


def test_models_are_heard_through_three_codecs_between_floor_and_ceilings_beside_the_baselines(results: Path) -> None:
    judged = table(results, "model_judging").filter(pl.col("judge") == "resemblyzer")
    assert set(judged.filter(pl.col("source") == "model")["name"]) == set(MODELS)
    by_source = {source: set(rows["name"]) for (source,), rows in judged.group_by("source")}
    for ceiling in ("prompt_round_trip", "positive_round_trip", "same_attribute_round_trip"):
        assert by_source[ceiling] == CODECS
    assert by_source["other_item"] == set(MODELS)
    assert {"copy", "noise_matched"} <= set(by_source)
    of_codecs = table(results, "judges_by_codec")
    assert set(of_codecs["codec"]) == CODECS


def test_every_sample_has_its_own_share(results: Path) -> None:
    samples = table(results, "model_judging_samples").filter(pl.col("name") == "semantic-m")
    assert set(samples["sample_index"]) == {0, 1}


def test_what_a_codec_leaves_of_the_words_is_counted(results: Path) -> None:
    content = table(results, "content")
    assert set(content["name"]) == CODECS
    assert content["n_words"].sum() > 0


def test_continuations_are_marked_by_their_codes_and_last_as_long_as_asked(results: Path) -> None:
    for model in MODELS:
        said = pl.read_parquet(results / f"demo/continuations/{model}.parquet")
        heard = said.filter(pl.col("status").is_in(["ok", "clipped"]))
        assert heard["flags"].null_count() == 0
        assert (heard["seconds"] - heard["n_samples"] / heard["sample_rate"]).abs().max() < 1e-9
        if model != "semantic-m":  # whose vocoder decides how long a unit lasts
            assert heard["seconds"].is_between(1.2, 1.23).all()


def test_free_prompts_are_heard_and_compared_with_nothing(results: Path) -> None:
    judged = table(results, "model_judging", "free")
    assert set(judged.filter(pl.col("source") == "model")["judge"]) == {"distillmos"}
    assert judged["share"].null_count() == len(judged)
    assert table(results, "accuracy", "free").is_empty()


def test_no_row_failed_and_the_page_says_what_was_run(results: Path) -> None:
    for dataset in ("demo", "free"):
        found = json.loads((results / dataset / "report/results.json").read_text())
        assert (found["n_failed_rows"], found["incomplete"]) == (0, False)
        page = (results / dataset / "report/report.html").read_text()
        for model in MODELS:
            assert model in page
    assert (results / "index.html").exists()
