"""examples/salmon/config.yaml as it stands: pinned, fetched and run, on small weights in the published formats.

SpiritLM (codes made elsewhere) and a model over EnCodec are added to it. A hub on this machine serves what the file
names; two cores take the place of the GPUs.
"""

import json
import os
import re
import subprocess
import sys

import polars as pl
import pytest
import yaml
from fake_hub import COMMIT, FakeHub, serve
from published_checkpoints import HUB, TASKS, salmon, write_beyond_the_example, write_local
from workflow_project import ROOT, Project

from spokeneval.evaluators.reduction import NO_CLEAN_PROMPT

pytestmark = pytest.mark.workflow
N_ITEMS = 2
HEARD = ("twist-350m", "llama-mimi-1.3b", "moshi", "csm-1b", "encodec-lm")
"""One model of each way to be heard; the others are scored only, to save time."""


def adapted(text: str) -> str:
    """The example for this machine: no GPU, little data, one judge."""
    text = text.replace("device: cuda", "device: cpu").replace("9aea707934240138d01cfc1b6f9ed7cb608d99d5", COMMIT)
    return re.sub(r"new_s: [\d.]+", "new_s: 0.6", text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    repositories = {"datasets/slprl/SALMon": salmon(N_ITEMS)}
    for name, make in HUB.items():
        made = make(folder / "made" / name)
        repositories[f"models/{name}"] = {path.name: path.read_bytes() for path in made.iterdir()}
    project = Project.create(folder / "project", {})
    write_local(project.folder / "checkpoints")
    path = project.folder / "config.yaml"
    path.write_text(adapted((ROOT / "examples/salmon/config.yaml").read_text()))
    with serve(FakeHub(repositories)) as hub:
        for command in ("pin", "fetch"):
            done = command_line(project, command, HF_ENDPOINT=hub.endpoint)
            assert done.returncode == 0, done.stdout + done.stderr
    config = yaml.safe_load(path.read_text())
    for section, blocks in write_beyond_the_example(project.folder / "checkpoints", N_ITEMS).items():
        config[section] |= blocks
    for name, block in config["models"].items():
        if name not in HEARD:
            block.pop("vocoder", None)
    config["judges"] = {"resemblyzer": config["judges"]["resemblyzer"] | {"tasks": ["speaker_consistency"]}}
    config["evaluators"]["windows_s"] = [0.5]
    config["report"] |= {"n_draws": 200}
    config["results"] = "results"
    project.configure(config)
    os.environ["HF_HOME"] = str(project.folder / "hub")
    try:
        project.run(timeout=1500)
    finally:
        del os.environ["HF_HOME"]
    return project


def command_line(project, command, **environment):
    settings = {"HF_HOME": str(project.folder / "hub"), "HF_HUB_DISABLE_XET": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "spokeneval", command],
        cwd=project.folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_family_is_scored_on_every_item_of_every_task(finished):
    names = list(finished.config["models"])
    assert len(names) == 13
    for name in names:
        scores = pl.read_parquet(finished.folder / f"results/salmon/evaluators/{name}.parquet")
        found = scores.filter((pl.col("evaluator") == "global") & (pl.col("convention") == "default"))
        found = found.filter(pl.col("codebooks") == "all")
        assert found.group_by("task").len().sort("task").rows() == [(task, N_ITEMS) for task in sorted(TASKS)], name
        failed = scores.filter(pl.col("status") != "ok")
        # Styles last a second, and one that covers the cut is read before the prompt ends.
        absent = failed.filter(pl.col("reason").str.contains(NO_CLEAN_PROMPT))
        assert len(failed) == len(absent), (name, failed["reason"].unique())
        assert len(absent) == 0 or name == "spiritlm-expressive"


def test_conventions_named_after_scripts_have_rows_of_their_own(finished):
    expected = {
        "twist-350m": {"default", "salmon-twist", "salmon-twist-sum"},
        "slam": {"default", "slamkit", "slamkit-sum"},
        "llama-mimi-1.3b": {"default", "llama-mimi-salmon"},
        "moshi": {"default"},
        "spiritlm-expressive": {"default", "sum", "legal"},
    }
    for name, conventions in expected.items():
        scores = pl.read_parquet(finished.folder / f"results/salmon/evaluators/{name}.parquet")
        assert set(scores["convention"]) == conventions


def test_causal_codecs_tie_before_the_transition(finished):
    """Mimi's codes of equal prompts are equal, and so are their scores, for flat and for delayed strings."""
    for name in ("llama-mimi-1.3b", "moshi", "csm-1b"):
        scores = pl.read_parquet(finished.folder / f"results/salmon/evaluators/{name}.parquet")
        placebo = scores.filter(pl.col("evaluator").str.starts_with("placebo") & (pl.col("convention") == "default"))
        assert set(placebo["verdict"]) == {0.5}, name


def test_models_are_heard_through_codecs_and_through_the_unit_vocoder(finished):
    for name in HEARD:
        said = pl.read_parquet(finished.folder / f"results/salmon/continuations/{name}.parquet")
        assert "failed" not in set(said["status"]), said.filter(pl.col("status") == "failed")["reason"].to_list()
        if name != "twist-350m":  # whose vocoder predicts how long its units last
            seconds = (said["n_samples"] / said["sample_rate"]).to_list()
            assert all(0.6 <= length < 0.7 for length in seconds), (name, seconds)
        judged = pl.read_parquet(finished.folder / f"results/salmon/judging/{name}/resemblyzer.parquet")
        assert judged.filter(pl.col("source") == "model").height == N_ITEMS


def test_streams_of_different_rates_are_scored_as_codebooks_of_their_own(finished):
    scores = pl.read_parquet(finished.folder / "results/salmon/evaluators/spiritlm-expressive.parquet")
    found = scores.filter(pl.col("evaluator") == "global", pl.col("convention") == "default")
    counts = {book: part["n_scored_positive"].sum() for (book,), part in found.group_by("codebooks")}
    assert counts["all"] == counts["0"] + counts["1"] + counts["2"] + len(TASKS) * N_ITEMS  # and [Speech], once a clip
    assert counts["0"] > counts["1"] > counts["2"] == len(TASKS) * N_ITEMS * 3  # one style a second


def test_models_with_one_tokenizer_share_its_codes(finished):
    tokens = {path.name for path in (finished.folder / "results/salmon/tokens").iterdir()}
    assert tokens == {f"{name}.parquet" for name in finished.config["tokenizers"]}


def test_the_report_groups_by_tokenizer_and_names_conventions_and_toplines(finished):
    report = finished.folder / "results/salmon/report"
    page, results = (report / "report.html").read_text(), json.loads((report / "results.json").read_text())
    for text in ("llama-mimi-salmon", "salmon-twist", "91.2", "91.5", "mhubert-slamkit"):
        assert text in page
    assert [entry["value"] for entry in results["human_topline"]["speaker_consistency"]] == [91.2, 91.5]
    groups = pl.read_parquet(report / "tables/groups.parquet")
    assert {"mhubert", "mhubert-slamkit", "mimi-4"} <= set(groups["group"])


def test_nothing_runs_again_and_one_more_checkpoint_is_its_own_jobs_and_the_reports(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(finished.folder / "hub"))
    assert finished.plan() == set()
    copy = finished.copy(tmp_path / "copy")
    copy.change("models", "twist-new", value={**copy.config["models"]["twist-1.3b"], "vocoder": None})
    expected = {f"salmon/{stage}/twist-new.parquet" for stage in ("likelihood", "evaluators")}
    assert copy.plan() == expected | {"salmon/report", "salmon/verdict.txt", "index.html"}
