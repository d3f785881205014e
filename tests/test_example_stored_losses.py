"""What models elsewhere scored and said, through the whole workflow as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import yaml
from published_losses import write_folder
from tiny_models import random_model, save
from workflow_project import ROOT, Project

pytestmark = pytest.mark.workflow


def failures(project: Project, dataset: str, results: str = "results") -> list[dict[str, Any]]:
    return pl.read_csv(project.folder / results / dataset / "report/tables/failures.csv").to_dicts()


def test_the_example_runs_on_any_folder_of_its_layout(tmp_path):
    example = "examples/stored_losses/config.yaml"
    project = Project.create(tmp_path / "project", {})
    shutil.copytree(ROOT / "examples", project.folder / "examples")
    write_folder(project.folder / "data/llama_mimi_salmon", 8)
    done = project.run("--configfile", example)
    assert "failed rows: 0" in done.output
    folder = project.folder / "results/stored_losses"
    tables = [path for path in (folder / "published").rglob("*.parquet") if "report" not in path.parts]
    assert {str(path.relative_to(folder)) for path in tables} == {
        "published/clips.parquet",
        "published/pairs.parquet",
        "published/tokens/mimi-4.parquet",
        "published/likelihood/llama-mimi.parquet",
        "published/evaluators/llama-mimi.parquet",
    }, "there is no audio: no controls, nothing encoded, nothing heard"
    assert {row["kind"] for row in failures(project, "published", "results/stored_losses")} == {"absent"}
    scores = pl.read_parquet(folder / "published/evaluators/llama-mimi.parquet")
    assert set(scores["status"]) == {"ok"}
    verdicts = json.loads((project.folder / "data/llama_mimi_salmon/verdicts.json").read_text())
    ours = scores.filter(convention="authors-2025-10", evaluator="global", codebooks="all")
    accuracy = dict(ours.group_by("task").agg(100 * pl.col("verdict").mean()).iter_rows())
    assert accuracy == {task: by_name["global"]["accuracy_percent"] for task, by_name in verdicts.items()}
    assert "Nothing to be done" in project.run("--configfile", example).output


RATE, HOP, N_FRAMES, N_PROMPT = 8000, 400, 40, 20


def recordings(folder: Path, n_items: int) -> None:
    """Pairs of wavs, what an elsewhere model says, its losses, and codes; all of seeded noise."""
    rng = np.random.default_rng(0)
    pairs, said, losses, codes = [], [], [], []
    for index in range(n_items):
        prompt = rng.normal(0, 0.05, N_PROMPT * HOP)
        for sign in ("positive", "negative"):
            own = rng.normal(0, 0.05, (N_FRAMES - N_PROMPT) * HOP)
            sf.write(folder / f"{index}_{sign}.wav", np.r_[prompt, own], RATE, subtype="PCM_16")
        sf.write(folder / f"{index}_said.wav", np.r_[prompt, rng.normal(0, 0.05, 16000)], RATE, subtype="PCM_16")
        item = {"task": "speaker", "index": index}
        pairs.append(
            {"task": "speaker", "positive": f"{index}_positive.wav", "negative": f"{index}_negative.wav"}
            | {"transition_s": N_PROMPT * HOP / RATE}
        )
        said.append(item | {"path": f"{index}_said.wav"})
        shared = rng.integers(0, 11, N_PROMPT).tolist()
        for sign in ("positive", "negative"):
            after = rng.integers(0, 11, N_FRAMES - N_PROMPT).tolist()
            losses.append(item | {"role": sign, "losses": rng.gamma(2, 1, N_FRAMES).tolist()})
            codes.append(item | {"role": sign, "codes": shared + after})
            codes.append(item | {"role": f"continuation_{sign}", "codes": after})
        codes.append(item | {"role": "prompt", "codes": shared})
    pl.DataFrame(pairs).write_csv(folder / "pairs.csv")
    pl.DataFrame(said).write_csv(folder / "said.csv")
    for name, rows in (("losses", losses), ("codes", codes)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_losses_audio_and_codes_from_elsewhere_stand_beside_a_model_that_runs(tmp_path):
    project = Project.create(tmp_path / "project", {})
    data = project.folder / "data"
    data.mkdir()
    recordings(data, 6)
    save(random_model("gpt2", n_ids=13), project.folder / "checkpoint")
    grid = {"kind": "precomputed", "sample_rate": RATE, "hop_samples": HOP, "codebook_sizes": [11]}
    said = {"generated_audio": "data/said.csv", "prompt_included": True}
    losses = {"losses": "data/losses.jsonl", "layout": {"n_leading": 0, "n_trailing": 0}}
    config = {
        "datasets": {"own": {"kind": "pairs", "table": "data/pairs.csv"}},
        "tokenizers": {"units": grid | {"codes": "data/codes.jsonl"}},
        "models": {
            "here": {"path": "checkpoint", "tokenizer": "units", "sequence": {"offset": 1, "bos": 0}},
            "scored": {"kind": "external", "tokenizer": "units", **losses},
            "heard": {"kind": "external", "tokenizer": "units", **said},
        },
        "judges": {"level": {"kind": "rms_level"}},
        "evaluators": {"windows_s": [0.5]},
        "report": {"n_draws": 100, "n_listen_items": 1},
    }
    project.configure(config)
    done = project.run()
    assert "failed rows: 0" in done.output, yaml.safe_dump(failures(project, "own"))
    folder = project.folder / "results/own"
    assert {p.stem for p in (folder / "evaluators").iterdir()} == {"here", "scored"}, "`heard` has no losses"
    assert {p.stem for p in (folder / "continuations").iterdir()} == {"heard"}, "`here` has no vocoder"
    assert {p.parent.name for p in (folder / "judging").rglob("*.parquet")} == {"heard"}
    assert not (folder / "ceilings").exists(), "no codec, no ceilings"
    continued = pl.read_parquet(folder / "continuations/heard.parquet")
    assert set(continued["n_samples"]) == {16000}
    assert set(continued["status"]) == {"ok"}
    assert sorted((folder / "controls").rglob("*.parquet")) == [
        folder / "controls/audio.parquet",
        folder / "controls/tokens/units.parquet",
    ]
    judged = pl.read_csv(folder / "report/tables/model_judging.csv").filter(pl.col("source") == "model")
    assert set(judged["name"]) == {"heard"}
    here = pl.read_parquet(folder / "evaluators/here.parquet").filter(pl.col("unconditional") == "keep")
    assert set(here["status"]) == {"ok"}
    project.change("models", "heard", "prompt_included", value=False)
    heard = {"own/continuations/heard.parquet", "own/judging/heard/level.parquet"}
    assert project.plan() == heard | {"own/report", "index.html", "own/verdict.txt"}
