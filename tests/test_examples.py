"""Examples that cannot be run without real files are dry-run on files in their places."""

import shutil

import numpy as np
import pytest
import yaml
from benchmark_layouts import write_wav
from published_checkpoints import mhubert, speech
from safetensors.numpy import save_file
from tiny_models import random_model, save
from workflow_project import ROOT, Project

pytestmark = pytest.mark.workflow
STEPS = (100, 200, 300)


def test_own_checkpoint_plans_every_checkpoint_that_is_there(tmp_path):
    project = Project.create(tmp_path / "project", {})
    example = ROOT / "examples/own_checkpoint/config.yaml"
    shutil.copy2(example, project.folder / "config.yaml")
    folder = project.folder
    for item in range(3):
        for member, speaker in enumerate(("BOB", "WITCH")):
            wav = speech(2.0, speaker, item)
            write_wav(folder / f"data/salmon/speaker_consistency/sample_{item}_{member}.wav", wav)
    mhubert(folder / "checkpoints/mhubert-base-25hz")
    centroids = np.zeros((500, 16), np.float32)
    save_file({"centroids": centroids}, folder / "checkpoints/mhubert_base_25hz_L11_km500.safetensors")
    for step in STEPS:
        save(random_model("qwen2", 502), folder / f"runs/mine/step_{step}")
    results = yaml.safe_load(example.read_text())["results"].removeprefix("results/")
    plan = {path.removeprefix(f"{results}/") for path in project.plan()}
    models = {f"salmon/{stage}/mine-step{step}.parquet" for stage in ("likelihood", "evaluators") for step in STEPS}
    assert models <= plan
    assert {"salmon/clips.parquet", "salmon/tokens/mhubert.parquet", "salmon/report", "index.html"} <= plan


def test_what_an_example_lacks_is_listed_before_any_job(tmp_path):
    project = Project.create(tmp_path / "project", {})
    shutil.copy2(ROOT / "examples/own_checkpoint/config.yaml", project.folder / "config.yaml")
    done = project.snakemake("-n")
    assert done.returncode == 1
    assert "nothing is there like ./runs/mine/step_{step}" in done.output
