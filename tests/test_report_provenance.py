"""Trained on what the items were made from? Yes, no and unknown are told apart, and nothing is guessed."""

from __future__ import annotations

import copy
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from report_simulation import simulate

from spokeneval.config import load_config
from spokeneval.config.block import OF_THE_ORIGIN
from spokeneval.factory import make_judge, make_vocoder
from spokeneval.fingerprint import Fingerprints
from spokeneval.identity import package_version
from spokeneval.jobs.origins import made_with, origin, provenance_of, workflow_commit
from spokeneval.known_origins import KNOWN, SALMON_SOURCES
from spokeneval.report import make_report
from spokeneval.report.provenance import Origin, Provenance, provenance_table, same_source, trained_on
from spokeneval.report.schemas_provenance import PROVENANCE
from spokeneval.stages import Stages
from spokeneval.tables import read_table

CONFIG = """
datasets:
  demo:
    kind: consistency
    recordings: data/r.csv
    tasks: {speaker: 3}
    screen: {kind: voicefilter_lite, weights: judge.pt}
tokenizers: {rvq: {kind: mel_rvq, codebook: books/rvq.safetensors}}
vocoders: {gl: {kind: griffin_lim}}
models:
  a: {path: models/a, tokenizer: rvq, vocoder: gl}
judges: {level: {kind: rms_level}, speaker: {kind: resemblyzer, weights: judge.pt}}
"""
SALMON = """
datasets: {salmon: {kind: salmon, path: slprl/SALMon, revision: 9aea707934240138d01cfc1b6f9ed7cb608d99d5}}
tokenizers: {mimi: {kind: mimi, path: kyutai/mimi, n_codebooks: 4, revision: 9aea707934240138d01cfc1b6f9ed7cb608d99d5}}
vocoders: {own: {kind: codec}}
models:
  a: {path: models/a, tokenizer: mimi, vocoder: own, trained_on: [Libri-Light, VCTK (all voices)], licence: MIT}
  b: {path: models/b, tokenizer: mimi}
judges:
  scene:
    kind: ssl_audioset
    path: ALM/hubert-large-audioset
    revision: 9aea707934240138d01cfc1b6f9ed7cb608d99d5
"""
TASKS = ["speaker_consistency", "bg_all_consistency", "sentiment_consistency"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("data/r.csv", "books/rvq.safetensors", "judge.pt", "models/a/m.safetensors", "models/b/m.safetensors"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _stages(config: dict[str, Any]) -> Stages:
    return Stages(load_config(config), Fingerprints(Path("lock.json")))


def test_names_of_corpora_are_compared_without_case_punctuation_and_remarks() -> None:
    assert same_source("FSD50K", "fsd-50k")
    assert same_source("VCTK (texts 24 and later)", "VCTK")
    assert same_source("LJ Speech", "LJSpeech")
    assert not same_source("LibriSpeech", "LibriTTS")
    assert not same_source("VCTK", "")


@pytest.mark.parametrize(
    ("said", "complete", "answer"),
    [
        (("VCTK", "LibriTTS"), True, "yes"),
        (("VCTK",), False, "yes"),
        (("LibriTTS",), True, "no"),
        ((), True, "no"),
        (("LibriTTS",), False, "unknown"),
        (None, True, "unknown"),
    ],
)
def test_yes_no_and_unknown(said: tuple[str, ...] | None, complete: bool, answer: str) -> None:
    found, why = trained_on(Origin("model", "m", said, complete), "VCTK")
    assert found == answer
    assert why


def test_of_unknown_sources_nothing_is_known_but_of_what_was_never_trained() -> None:
    assert trained_on(Origin("model", "m", ("unknown",), True), "unknown")[0] == "unknown"
    assert trained_on(Origin("judge", "level", (), True), "unknown")[0] == "no"


def test_the_table_has_a_row_for_each_thing_and_source() -> None:
    found = Provenance(
        (Origin("model", "m", ("VCTK",), identity="0123456789abcdef"), Origin("judge", "j", None, licence="MIT")),
        {"speaker": ("VCTK",), "background": ("LJSpeech", "FSD50K"), "gender": ("VCTK",)},
    )
    table = provenance_table(found, ["speaker", "background", "gender", "other"])
    rows = {(row["name"], row["source"]): row for row in table.iter_rows(named=True)}
    assert len(rows) == len(table) == 8
    assert {source for _, source in rows} == {"VCTK", "LJSpeech", "FSD50K", "unknown"}
    assert rows["m", "VCTK"]["tasks"] == "speaker, gender"
    assert rows["m", "unknown"]["tasks"] == "other"
    assert [rows["m", s]["trained"] for s in ("VCTK", "LJSpeech", "unknown")] == ["yes", "no", "unknown"]
    assert (rows["m", "VCTK"]["identity"], rows["j", "VCTK"]["licence"]) == ("0123456789ab", "MIT")


def test_salmon_names_its_sources_and_published_checkpoints_what_is_published(folder: Path) -> None:
    config = load_config(yaml.safe_load(SALMON))
    found = provenance_of(config, "salmon", TASKS, Stages(config, Fingerprints(Path("lock.json"))))
    assert found.sources == {task: SALMON_SOURCES[task] for task in TASKS}
    assert (found.sources_said_by, found.licence) == ("as published", "CC-BY-NC-4.0")
    origins = {(entry.role, entry.name): entry for entry in found.origins}
    assert origins["model", "a"].licence == "MIT"
    assert origins["tokenizer", "mimi"].licence == "CC-BY-4.0"
    # A codec's decoder is trained with it.
    assert origins["vocoder", "own"].licence == "CC-BY-4.0"
    table = provenance_table(found, TASKS)
    said = {(row["name"], row["source"]): row["trained"] for row in table.iter_rows(named=True)}
    assert said["a", "VCTK"] == "yes"
    assert said["a", "FSD50K"] == "no"
    assert said["b", "VCTK"] == "unknown"
    # AudioSet is published, and maybe not all: it is never *no*.
    assert said["scene", "FSD50K"] == "unknown"
    assert "AudioSet" in next(row["why"] for row in table.iter_rows(named=True) if row["name"] == "scene")


def test_what_is_published_of_a_checkpoint_is_never_taken_as_complete() -> None:
    block = load_config(yaml.safe_load(SALMON)).judges["scene"]
    assert all(not origin("judge", "x", block.model_copy(update={"path": name}), None).complete for name in KNOWN)


def test_sources_by_task_are_those_of_the_configuration(folder: Path) -> None:
    config = yaml.safe_load(CONFIG)
    config["datasets"]["demo"]["sources"] = {"speaker": ["A game"]}
    loaded = load_config(config)
    found = provenance_of(loaded, "demo", ["speaker", "room"], Stages(loaded, Fingerprints(Path("lock.json"))))
    assert found.sources == {"speaker": ("A game",)}
    config["datasets"]["demo"]["sources"] = ["A game"]
    loaded = load_config(config)
    found = provenance_of(loaded, "demo", ["speaker", "room"], Stages(loaded, Fingerprints(Path("lock.json"))))
    assert set(found.sources) == {"speaker", "room"}


@pytest.mark.parametrize("section", ["tokenizers", "vocoders", "models", "judges"])
@pytest.mark.parametrize("key", sorted(OF_THE_ORIGIN))
def test_what_is_said_of_training_moves_the_report_and_nothing_else(folder: Path, section: str, key: str) -> None:
    config = yaml.safe_load(CONFIG)
    edited = copy.deepcopy(config)
    for block in edited[section].values():
        block[key] = ["VCTK"] if key == "trained_on" else "MIT"
    edited["datasets"]["demo"]["screen"]["licence"] = "MIT"
    before, after = _stages(config).all(), _stages(edited).all()
    assert {name for name in before if before[name] != after[name]} == {("report", "demo")}


def test_what_is_said_of_the_items_moves_the_report_and_nothing_else(folder: Path) -> None:
    config = yaml.safe_load(CONFIG)
    edited = copy.deepcopy(config)
    edited["datasets"]["demo"] |= {"sources": ["A game"], "licence": "CC0"}
    before, after = _stages(config).all(), _stages(edited).all()
    assert {name for name in before if before[name] != after[name]} == {("report", "demo")}


def test_families_are_built_without_what_is_said_of_their_training(folder: Path) -> None:
    config = yaml.safe_load(CONFIG)
    config["vocoders"]["gl"] |= {"trained_on": [], "licence": "none"}
    config["judges"]["level"] |= {"trained_on": []}
    loaded = load_config(config)
    assert make_vocoder(loaded, "gl") is not None
    assert make_judge(loaded, "level") is not None


def test_the_page_and_the_table_say_it(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", n_models=2, n_items=6, tasks=("speaker",))
    provenance = Provenance(
        (Origin("model", "sim-a", ("Sim corpus",), said_by="by the configuration", licence="CC0", identity="f" * 64),),
        {"speaker": ("Sim corpus",)},
        versions={"torch": "2.99.0"},
        made_with={"commit": "abc123"},
    )
    make_report(replace(inputs, provenance=provenance), tmp_path / "report", "x")
    text = (tmp_path / "report/report.html").read_text()
    assert "Trained on Sim corpus, which items of speaker were made from: model sim-a." in text
    for said in ("torch 2.99.0", "commit abc123", "CC0", "f" * 12):
        assert said in text
    table = read_table(tmp_path / "report/tables/provenance.parquet", PROVENANCE)
    assert table.select("name", "source", "trained").rows() == [("sim-a", "Sim corpus", "yes")]


def test_only_what_wrote_the_report_depends_on_where_it_was_written(tmp_path: Path) -> None:
    """Another Python or commit changes these words on the page and in results.json, and no table, figure or card."""
    inputs = replace(simulate(tmp_path / "in", n_models=2, n_items=6, tasks=("speaker",)), timings=[])
    for name in ("machine-1", "machine-2"):
        provenance = Provenance(made_with={"python": name})
        make_report(replace(inputs, provenance=provenance), tmp_path / name, "x")
    for path in sorted(p for p in (tmp_path / "machine-1").rglob("*") if p.is_file()):
        other = tmp_path / "machine-2" / path.relative_to(tmp_path / "machine-1")
        if path.name in ("report.html", "results.json"):
            assert path.read_text() != other.read_text()
            assert path.read_text().replace("machine-1", "machine-2") == other.read_text()
        else:
            assert path.read_bytes() == other.read_bytes(), path


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_says_where_files_differ(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert workflow_commit(package) is None
    _git(tmp_path, "init", "-q")
    (tmp_path / "x").write_text("1")
    _git(tmp_path, "add", "x")
    _git(tmp_path, "commit", "-qm", "x")
    # Installed inside somebody else's repository: not its checkout.
    assert workflow_commit(package) is None
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "package")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert workflow_commit(package) == commit
    (package / "__init__.py").write_text("changed")
    assert workflow_commit(package) == f"{commit} and changes that are not committed"


def test_versions_are_of_the_tables_and_of_what_writes() -> None:
    config = load_config(yaml.safe_load(SALMON) | {"accept_versions": {"torch": "1.2.3"}})
    versions = Stages(config, Fingerprints(Path("lock.json"))).versions_of_all()
    assert versions["torch"] == "1.2.3"
    assert versions["soxr"] == package_version("soxr")
    assert "absent" not in versions.values()
    assert {"python", "snakemake"} <= set(made_with())


def test_a_report_without_anything_said_still_has_its_section(tmp_path: Path) -> None:
    make_report(simulate(tmp_path / "in", n_models=1, n_items=3, tasks=("speaker",)), tmp_path / "report", "x")
    assert "Nothing is said of where models and judges come from." in (tmp_path / "report/report.html").read_text()
    assert pl.read_parquet(tmp_path / "report/tables/provenance.parquet").is_empty()
