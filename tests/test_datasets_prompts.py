"""The kind `prompts`: recordings with nothing to compare, as items and through the workflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import yaml
from conftest import small_config
from datasets_corpus import RATE
from workflow_project import ROOT, Project

from spokeneval.config import load_config
from spokeneval.config.root import COMPARE_NOTHING, compares
from spokeneval.continuations import needed
from spokeneval.datasets.base import clips_and_pairs
from spokeneval.datasets.prompts import Prompts
from spokeneval.errors import ConfigError
from spokeneval.layout import Layout
from spokeneval.registry import JUDGES
from spokeneval.tables import CONTINUATIONS, read_metadata

MEMBERS = ("positive", "negative", "continuation_positive", "continuation_negative")


def write(path: Path, seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    sf.write(path, samples, rate, subtype=None if path.suffix == ".ogg" else "PCM_16")
    return sf.read(path, dtype="float32")[0]


def tables(dataset: Prompts) -> tuple[pl.DataFrame, pl.DataFrame]:
    clips, pairs = clips_and_pairs(dataset.items())
    return pl.DataFrame(clips), pl.DataFrame(pairs)


def test_every_file_of_a_folder_is_a_prompt_without_members(tmp_path):
    write(tmp_path / "b.wav", 1.0, 1)
    write(tmp_path / "a.flac", 0.7, 2, 2 * RATE)
    write(tmp_path / "more/c.ogg", 2.0, 3)
    (tmp_path / "notes.txt").write_text("no audio")
    clips, pairs = tables(Prompts(tmp_path))
    assert pairs["item_id"].to_list() == ["a", "b", "more/c"]
    assert pairs["task"].unique().to_list() == ["prompts"]
    assert pairs["status"].to_list() == ["ok"] * 3
    assert pairs["index"].to_list() == [0, 1, 2]
    assert pairs["fold"].to_list() == ["a", "b", "a"]
    assert pairs.select(MEMBERS).null_count().row(0) == (3,) * 4
    assert set(clips["clip_id"]) == set(pairs["prompt"])
    assert pairs["transition"].to_list() == [round(0.7 * 2 * RATE), RATE, 2 * RATE]
    assert pairs["sample_rate"].to_list() == [2 * RATE, RATE, RATE]
    assert json.loads(pairs["sources"][2]) == {"prompt": "more/c.ogg"}
    assert needed(pairs, 2) == [(clip, sample) for clip in sorted(pairs["prompt"]) for sample in (0, 1)]


def test_prompt_s_keeps_the_beginning_and_shorter_recordings_whole(tmp_path):
    long, short = write(tmp_path / "long.wav", 2.0, 1), write(tmp_path / "short.wav", 0.5, 2)
    found = {item.item_id: item for item in Prompts(tmp_path, prompt_s=0.8).items()}
    np.testing.assert_array_equal(found["long"].prompt / 2**15, long[: round(0.8 * RATE)])
    np.testing.assert_array_equal(found["short"].prompt / 2**15, short)
    whole = {item.item_id: len(item.prompt) for item in Prompts(tmp_path).items()}
    assert whole == {"long": 2 * RATE, "short": RATE // 2}


def test_a_table_says_tasks_ids_clusters_and_labels(tmp_path):
    for number in range(4):
        write(tmp_path / f"{number}.wav", 0.6, number)
    table = tmp_path / "prompts.csv"
    table.write_text(
        "path,task,item_id,cluster,accent\n0.wav,calm,one,x,scots\n1.wav,angry,two,y,\n2.wav,calm,three,y,irish\n"
        "gone.wav,calm,four,z,\n../0.wav,angry,five,z,\n"
    )
    _, pairs = tables(Prompts(table))
    assert list(pairs.select("task", "index", "item_id", "cluster", "fold").iter_rows()) == [
        ("calm", 0, "one", "x", "a"), ("calm", 1, "three", "y", "b"), ("calm", 2, "four", "z", "a"),
        ("angry", 0, "two", "y", "b"), ("angry", 1, "five", "z", "a"),
    ]  # fmt: skip
    assert [json.loads(labels) for labels in pairs["labels"][:2]] == [{"accent": "scots"}, {"accent": "irish"}]
    assert pairs["reason"].to_list() == [
        None, None, "gone.wav: no such audio file", None, "'../0.wav' is not a path inside the table's folder",
    ]  # fmt: skip
    assert [item.item_id for item in Prompts(table, limit=1).items()] == ["one", "two"]
    table.write_text("path\n0.wav\n1.wav\n")
    assert [item.item_id for item in Prompts(table).items()] == ["prompts-0000", "prompts-0001"]


@pytest.mark.parametrize(
    ("files", "table", "match"),
    [
        ([], None, "holds no audio file; expected .wav"),
        (["a.wav", "a.flac"], None, r"a\.flac and a\.wav would be one item 'a'; rename one of them"),
        (["a.wav"], "file\na.wav\n", r"lacks the column\(s\) path; it has file"),
        (["a.wav"], "path,item_id\na.wav,x\na.wav,x\n", "item_id 'x' is there 2 times"),
        (["a.wav"], "path,fold\na.wav,c\n", "row 2: fold is 'c', expected 'a' or 'b'"),
    ],
)
def test_what_cannot_be_used_as_a_whole_is_refused(tmp_path, files, table, match):
    for name in files:
        write(tmp_path / name, 0.6)
    source = tmp_path
    if table is not None:
        source = tmp_path / "t.csv"
        source.write_text(table)
    with pytest.raises(ConfigError, match=match):
        Prompts(source)


# ------------------------------------------------------------ what is asked of them


def free_config(folder: Path) -> dict:
    """Two models that can be heard and one that cannot; a judge of naturalness and two that compare."""
    config = small_config()
    everything = yaml.safe_load((ROOT / "config.yaml").read_text())["judges"]
    config["datasets"] = {"free": {"kind": "prompts", "path": str(folder), "prompt_s": 1.5}}
    dnsmos = {key: everything["dnsmos"][key] for key in ("kind", "weights")}
    config["judges"] = {"dnsmos": dnsmos, "level": everything["level"], "resemblyzer": everything["resemblyzer"]}
    return config


def test_judges_that_compare_are_known_by_their_class():
    for kind in JUDGES.builtin:
        try:
            family = JUDGES.load(kind)
        except ConfigError:
            continue  # a package that is not installed
        assert hasattr(family, "embed") == compares(kind), f"{kind}: correct COMPARE_NOTHING"
    assert {"dnsmos"} <= COMPARE_NOTHING


def test_only_continuations_and_what_compares_nothing_are_asked_for(tmp_path):
    layout = Layout(load_config(free_config(tmp_path)))
    assert sorted(path.partition("/free/")[2] for path in layout.report_inputs("free")) == [
        "ceilings/rvq/griffin_lim/dnsmos.parquet",
        "clips.parquet",
        "continuations/acoustic-s.parquet",
        "continuations/acoustic-xs.parquet",
        "judging/acoustic-s/dnsmos.parquet",
        "judging/acoustic-xs/dnsmos.parquet",
        "pairs.parquet",
        "qualification/dnsmos.parquet",
    ]


def test_beside_pairs_the_pairs_keep_everything(tmp_path):
    config = free_config(tmp_path)
    alone = Layout(load_config(config | {"datasets": small_config()["datasets"]})).report_inputs("demo")
    config["datasets"] |= small_config()["datasets"]
    assert Layout(load_config(config)).report_inputs("demo") == alone


def test_free_prompts_that_nobody_continues_are_refused(tmp_path):
    config = free_config(tmp_path)
    config["models"] = {"semantic-m": config["models"]["semantic-m"]}
    with pytest.raises(ConfigError, match=r"datasets\.free: free prompts are only continued and heard, but no model"):
        load_config(config)


# ------------------------------------------------------------ the workflow


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    source = ROOT / "resources/fetched/recordings"
    if not (source / "recordings.csv").exists():
        pytest.fail("resources/fetched is empty: run `make fetch` first")
    names = [name for name in pl.read_csv(source / "recordings.csv")["path"] if sf.info(source / name).duration > 2]
    (folder / "recordings").mkdir()
    for number, name in enumerate(names[:4]):
        shutil.copy(source / name, folder / f"recordings/{number}{Path(name).suffix}")
    config = free_config(folder / "recordings")
    # A model that ran elsewhere and says the recording again, from 0.3 s on; two files by index, two by item_id.
    for number, path in enumerate(sorted((folder / "recordings").iterdir())):
        samples, rate = sf.read(path)
        name = f"prompts/{number}.flac" if number < 2 else f"{number}.wav"
        (folder / "said/prompts").mkdir(parents=True, exist_ok=True)
        sf.write(folder / "said" / name, 0.5 * samples[round(0.3 * rate) :], rate)
    (folder / "said/readme.txt").write_text("of no item")
    config["models"]["parrot"] = {"kind": "external", "tokenizer": "rvq", "generated_audio": str(folder / "said")}
    project = Project.create(folder / "project", config)
    done = project.run()
    return project, done.output


@pytest.mark.workflow
def test_four_recordings_are_continued_and_their_naturalness_is_reported(free):
    project, output = free
    results = project.folder / "results/free"
    said = pl.read_parquet(results / "continuations/acoustic-s.parquet")
    assert said["status"].to_list() == ["ok"] * 4
    assert (said["seconds"] > 0.7).all()
    report = results / "report"
    judged = pl.read_parquet(report / "tables/model_judging.parquet").filter(pl.col("judge") == "dnsmos")
    models = judged.filter(pl.col("source") == "model")
    assert sorted(models["name"]) == ["acoustic-s", "acoustic-xs", "parrot"]
    assert models["n_scored"].to_list() == [4, 4, 4]
    assert models["mean_score"].is_between(0.5, 5).all()
    assert pl.read_parquet(report / "tables/accuracy.parquet").is_empty()
    assert json.loads((report / "results.json").read_text())["n_failed_rows"] == 0
    assert not (results / "likelihood").exists()
    assert not (results / "controls").exists()
    page = (report / "report.html").read_text()
    assert "Free prompts: nothing to be right or wrong about" in page
    assert "No judge is known to hear" not in page
    assert page.count("data:audio/flac") == 2 * 4  # two items: the prompt and what three models say
    assert "failed rows: 0" in output


@pytest.mark.workflow
def test_a_folder_of_generated_audio_goes_through_the_workflow_and_is_flagged_by_its_sound(free):
    project, _ = free
    path = project.folder / "results/free/continuations/parrot.parquet"
    assert read_metadata(path, CONTINUATIONS).extra["flags"] == "sound"
    assert read_metadata(path.with_stem("acoustic-s"), CONTINUATIONS).extra["flags"] == "codes"
    said = pl.read_parquet(path)
    assert said["flags"].to_list() == [["repeats_prompt"]] * 4
    log = (project.folder / "results/free/logs/continuations/parrot.log").read_text()
    assert "files that belong to no item: readme.txt" in log


@pytest.mark.workflow
def test_nothing_is_left_to_do_after_a_run(free):
    project, _ = free
    assert project.plan() == set()
