"""Checkpoints of one run, sWUGGY's layout and published rows, through the real workflow on real speech.

Three of the demo's models, of growing size, stand for three steps of a training run; words are cut out of recordings.
"""

import csv
import json
import shutil

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from conftest import small_config
from published_checkpoints import RATE, speech
from workflow_project import ROOT, Project

pytestmark = pytest.mark.workflow

STEPS = {100: "acoustic-xs", 2000: "acoustic-s"}
NEXT = (30000, "acoustic-m")
PUBLISHED = """model,task,evaluator,window_ms,accuracy_percent
Someone-1B,speaker,global,,61.5
Someone-1B,speaker,localized,500,77.0
"""


def checkpoint(folder, step, name):
    target = folder / f"runs/mine/step_{step}"
    shutil.copytree(ROOT / "resources/demo/models" / name, target)


def words(folder, n_ids=4):
    """sWUGGY's layout: gold.csv, and for each id two voices that say a word and one that is none (played backwards)."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(n_ids):
        for voice in ("BOB", "WITCH")[: 1 + number % 2]:
            word = speech(1.2, voice, number)
            for correct, samples in ((1, word), (0, np.ascontiguousarray(word[::-1]))):
                name = f"w{number}_{voice}_{correct}"
                sf.write(folder / f"{name}.wav", samples, RATE, subtype="PCM_16")
                rows.append([name, number, voice, (0, 3, 50, 500)[number], "word", "phones", 4, correct])
    with open(folder / "gold.csv", "w", newline="") as file:
        columns = ["filename", "id", "voice", "frequency", "word", "phones", "length", "correct"]
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series") / "project"
    config = small_config()
    project = Project.create(folder, config)
    for step, name in STEPS.items():
        checkpoint(folder, step, name)
    words(folder / "data/words/lexical/dev")
    (folder / "published.csv").write_text(PUBLISHED)
    demo = config["datasets"]["demo"] | {"tasks": {"speaker": 8}, "limit": 6, "published": "published.csv"}
    demo |= {"published_source": "Someone et al.", "human_topline": {"speaker": {"value": 95.0, "source": "a test"}}}
    config["datasets"] = {
        "demo": demo,
        "words": {"kind": "zerospeech", "path": "data/words", "part": "lexical"},
    }
    config["tokenizers"] = {"rvq": config["tokenizers"]["rvq"]}
    block = {"path": "runs/mine/step_{step}", "tokenizer": "rvq", "sequence": {"offset": 1, "bos": 0}}
    config |= {"models": {"mine": block}, "vocoders": {}, "judges": {}}
    project.configure(config)
    project.run()
    return project


def table(project, dataset, name):
    return pl.read_parquet(project.folder / f"results/{dataset}/report/tables/{name}.parquet")


def test_every_checkpoint_is_a_model_with_its_step(trained):
    learning = table(trained, "demo", "learning").filter(pl.col("evaluator") == "global")
    assert learning.select("series", "step", "task").unique().sort("step").rows() == [
        ("mine", 100, "speaker"),
        ("mine", 2000, "speaker"),
    ]
    assert learning["accuracy"].is_not_null().all()
    best = table(trained, "demo", "best_steps")
    assert set(best["series"]) == {"mine"}
    assert "Learning" in (trained.folder / "results/demo/report/report.html").read_text()


def test_a_new_checkpoint_runs_its_own_jobs_and_the_reports_only(trained, tmp_path):
    project = trained.copy(tmp_path / "project")
    assert project.plan() == set()
    checkpoint(project.folder, *NEXT)
    own = {
        f"{dataset}/{stage}/mine-step30000.parquet"
        for dataset in ("demo", "words")
        for stage in ("likelihood", "evaluators")
    }
    reports = {f"{dataset}/{name}" for dataset in ("demo", "words") for name in ("report", "verdict.txt")}
    assert project.plan() == own | reports | {"index.html"}
    before = project.times()
    project.run()
    after = project.times()
    changed = {name for name in after if after[name] != before.get(name)}
    assert {name for name in changed if "report" not in name} == own
    assert set(table(project, "demo", "learning")["step"]) == {100, 2000, 30000}


def test_the_full_run_scores_none_of_the_clips_that_the_limited_one_has_scored(trained, tmp_path):
    project = trained.copy(tmp_path / "project")
    project.change("datasets", "demo", "limit", value=None)
    project.run("results/demo/likelihood/mine-step100.parquet")
    log = (project.folder / "results/demo/logs/likelihood/mine-step100.log").read_text()
    rows = pl.read_parquet(project.folder / "results/demo/likelihood/mine-step100.parquet").height
    kept = pl.read_parquet(trained.folder / "results/demo/likelihood/mine-step100.parquet").height
    assert 0 < kept < rows
    assert f"{kept} rows found in the store" in log


def test_words_are_averaged_over_voices_then_ids_and_split_by_frequency(trained):
    scores = table(trained, "words", "accuracy").filter(
        (pl.col("evaluator") == "global") & (pl.col("role") != "baseline")
    )
    row = scores.filter(pl.col("model") == "mine-step2000").row(0, named=True)
    items = pl.read_parquet(trained.folder / "results/words/evaluators/mine-step2000.parquet")
    pairs = pl.read_parquet(trained.folder / "results/words/pairs.parquet").select("item_id", "cluster")
    verdicts = items.filter((pl.col("evaluator") == "global") & (pl.col("codebooks") == "all")).join(
        pairs, on="item_id"
    )
    official = verdicts.group_by("cluster").agg(pl.col("verdict").mean())["verdict"].mean()
    assert row["averaging"] == "clusters"
    assert row["accuracy"] == pytest.approx(official)
    assert row["accuracy_items"] == pytest.approx(verdicts["verdict"].mean())
    assert row["n_items"] == 6


def test_published_rows_stand_beside_and_rank_nothing(trained):
    accuracy = table(trained, "demo", "accuracy")
    published = accuracy.filter(pl.col("role") == "published")
    assert published["accuracy"].to_list() == [0.615, 0.77]
    assert set(published["source"]) == {"Someone et al."}
    assert published["letters"].is_null().all()
    gap = table(trained, "demo", "gap").filter(pl.col("model") == "Someone-1B")
    assert gap["share"].drop_nulls().to_list() == pytest.approx([(0.77 - 0.615) / (0.95 - 0.615)])
    results = json.loads((trained.folder / "results/demo/report/results.json").read_text())
    assert "Someone-1B" not in results["models"]


def test_another_published_file_or_averaging_writes_the_report_again_and_nothing_else(trained, tmp_path):
    project = trained.copy(tmp_path / "project")
    (project.folder / "published.csv").write_text(PUBLISHED.replace("61.5", "62.0"))
    assert project.plan() == {"demo/report", "demo/verdict.txt", "index.html"}
    (project.folder / "published.csv").write_text(PUBLISHED)
    project.change("datasets", "words", "averaging", value="micro")
    assert project.plan() == {"words/report", "words/verdict.txt", "index.html"}
