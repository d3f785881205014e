"""The whole workflow through its real entry point: what comes out, what runs again, what fails and how."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from conftest import small_config
from workflow_project import ROOT, Project

pytestmark = pytest.mark.workflow

REPORTS = {"demo/report", "index.html", "demo/verdict.txt"}


def model_files(name: str, heard: bool = True) -> set[str]:
    files = {f"demo/likelihood/{name}.parquet", f"demo/evaluators/{name}.parquet"}
    if heard:
        files |= {f"demo/continuations/{name}.parquet"}
        files |= {f"demo/judging/{name}/{judge}.parquet" for judge in ("resemblyzer", "level")}
    return files


def status_of(project: Project, table: str) -> dict[str, int]:
    frame = pl.read_parquet(project.folder / "results/demo" / table)
    return dict(frame["status"].value_counts().iter_rows())


# ---------------------------------------------------------------- what comes out


def test_every_stage_made_its_table_and_nothing_failed(finished):
    pairs = pl.read_parquet(finished.folder / "results/demo/pairs.parquet")
    assert dict(pairs["task"].value_counts().iter_rows()) == {"speaker": 8, "room": 8}
    for table in ("tokens/rvq", "tokens/whisper", *(f"likelihood/{m}" for m in ("acoustic-s", "semantic-m"))):
        assert set(status_of(finished, f"{table}.parquet")) == {"ok"}, table
    report = finished.folder / "results/demo/report/report.html"
    assert report.stat().st_size < 15e6
    assert "simulated" not in report.read_text().lower()


def test_a_second_run_has_nothing_to_do_and_is_quick(finished):
    begin = time.monotonic()
    done = finished.run()
    assert "Nothing to be done" in done.output
    assert time.monotonic() - begin < 15
    assert finished.plan() == set()


def test_plain_snakemake_says_that_the_default_profile_is_in_use(finished):
    assert "profiles/default" in finished.snakemake("-n").output


def test_no_table_names_a_folder_of_this_machine(finished):
    for name, content in finished.tables().items():
        assert str(finished.folder).encode() not in content, name
        assert str(ROOT).encode() not in content, name


# ---------------------------------------------------------------- what runs again, and what does not


def test_adding_a_model_runs_its_jobs_and_the_reports(project):
    added = small_config()["models"]["acoustic-xs"] | {"sequence": {"offset": 1, "bos": None}}
    project.change("models", "added", value=added)
    assert project.plan() == model_files("added") | REPORTS
    before = project.times()
    project.run()
    after = project.times()
    changed = {name for name in before if before[name] != after[name] and "/report/" not in name}
    assert changed == set()


def test_removing_a_model_runs_the_reports_only(project):
    project.change("models", "acoustic-s", value=None)
    assert project.plan() == REPORTS


def test_renaming_a_model_forwards_no_clip(project):
    config = project.config
    config["models"]["renamed"] = config["models"].pop("acoustic-s")
    project.configure(config)
    assert project.plan() == model_files("renamed") | REPORTS
    project.run("results/demo/likelihood/renamed.parquet", "--allowed-rules", "likelihood")
    log = (project.folder / "results/demo/logs/likelihood/renamed.log").read_text()
    assert "0 clips scored" in log


def test_another_window_is_a_view(project):
    project.change("evaluators", "windows_s", value=[0.5, 1.0])
    views = {f"demo/evaluators/{m}.parquet" for m in ("acoustic-s", "acoustic-xs", "semantic-m")}
    assert project.plan() == views | REPORTS


def test_another_decoding_does_not_score_again(project):
    project.change("models", "acoustic-s", "decoding", "temperature", value=0.8)
    likelihoods = {"demo/likelihood/acoustic-s.parquet", "demo/evaluators/acoustic-s.parquet"}
    assert project.plan() == model_files("acoustic-s") - likelihoods | REPORTS


def test_another_sequence_convention_scores_this_model_again(project):
    project.change("models", "semantic-m", "sequence", value={"offset": 1, "bos": None})
    assert project.plan() == model_files("semantic-m", heard=False) | REPORTS


def test_another_judge_costs_its_own_jobs(project):
    project.change("judges", "spectrum", value={"kind": "long_term_spectrum"})
    expected = {f"demo/judging/{m}/spectrum.parquet" for m in ("acoustic-s", "acoustic-xs")}
    expected |= {"demo/references/spectrum.parquet", "demo/qualification/spectrum.parquet"}
    codec = "rvq/griffin_lim"  # its round trips are there: nothing is decoded anew
    expected |= {f"demo/round_trips/{codec}/embeddings/spectrum.parquet", f"demo/ceilings/{codec}/spectrum.parquet"}
    assert project.plan() == expected | REPORTS


def test_more_items_cost_their_own_clips_only(project):
    before = {name: pl.read_parquet(project.folder / f"results/demo/{name}.parquet") for name in ("pairs", "clips")}
    project.change("datasets", "demo", "limit", value=10)
    project.run("results/demo/likelihood/semantic-m.parquet")
    pairs = pl.read_parquet(project.folder / "results/demo/pairs.parquet")
    clips = pl.read_parquet(project.folder / "results/demo/clips.parquet")
    assert pairs.join(before["pairs"], on="item_id").height == before["pairs"].height == 16
    new = clips.join(before["clips"], on="clip_id", how="anti").height
    log = (project.folder / "results/demo/logs/tokens/whisper.log").read_text()
    assert f"{new} clips encoded" in log
    assert new == clips.height - before["clips"].height


def test_touching_any_file_runs_nothing(project):
    for path in [*(project.folder / "workflow").rglob("*.py"), *(project.folder / "results").rglob("*.parquet")]:
        path.touch()
    assert project.plan() == set()


def edit(project: Project, module: str, old: str, new: str) -> None:
    path = project.folder / "workflow/spokeneval" / module
    text = path.read_text()
    assert old in text, (module, old)
    path.write_text(text.replace(old, new, 1))


def test_a_comment_or_docstring_in_a_measurement_module_runs_nothing(project):
    path = project.folder / "workflow/spokeneval/likelihood.py"
    path.write_text("# a comment\n" + path.read_text().replace('"""', '"""Another beginning. ', 1))
    assert project.plan() == set()


def test_code_of_a_tokenizer_reruns_its_own_models_only(project):
    edit(project, "tokenizers/whisper_kmeans.py", "\nclass WhisperKMeans", "\n_ADDED = 1\n\n\nclass WhisperKMeans")
    assert project.plan() == set()
    edit(project, "tokenizers/whisper_kmeans.py", "class WhisperKMeans:", "class WhisperKMeans:\n    added = _ADDED\n")
    expected = {"demo/tokens/whisper.parquet", "demo/controls/tokens/whisper.parquet"}
    assert project.plan() == expected | model_files("semantic-m", heard=False) | REPORTS


def test_another_version_of_the_package_runs_nothing(project):
    edit(project, "__init__.py", '__version__ = "', '__version__ = "9.')
    assert project.plan() == set()


def test_results_that_were_moved_stay_valid(finished, tmp_path):
    assert finished.copy(tmp_path / "elsewhere").plan() == set()


# ---------------------------------------------------------------- bad input


def complaint(project: Project, *arguments: str) -> str:
    """The output of a run that must fail: few lines, no traceback."""
    done = project.snakemake("--cores", "2", *arguments)
    assert done.returncode != 0, done.output
    assert "Traceback" not in done.output, done.output
    return done.output


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("modles",), {}, "modles: unknown key; did you mean 'models'?"),
        (("models", "acoustic-s", "tokenizer"), "rqv", "there is no tokenizer 'rqv'; did you mean 'rvq'?"),
        (("datasets", "demo", "recordings"), "nowhere/r.csv", "datasets.demo.recordings: nowhere/r.csv is not there"),
        (("models", "acoustic-s", "path"), "no/such/model", "models.acoustic-s.path: no/such/model is not there"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_line_before_any_job(project, path, value, message):
    project.change(*path, value=value)
    output = complaint(project)
    assert message in output
    assert len(output.splitlines()) <= 6, output


def test_one_broken_model_of_several_leaves_the_others_and_a_partial_report(project, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.safetensors").write_bytes(b"12345")
    project.change("models", "broken", value={"path": str(broken), "tokenizer": "rvq", "vocoder": "griffin_lim"})
    output = complaint(project)
    assert "config.json" in output
    partial = project.folder / "results/demo/report_partial/report.html"
    assert "INCOMPLETE" in partial.read_text()
    assert (project.folder / "results/demo/evaluators/acoustic-s.parquet").exists()
    project.change("models", "broken", value=None)
    project.run()


def test_weights_that_fail_are_not_reported_with_the_numbers_of_earlier_ones(project, tmp_path):
    config = project.config
    broken = tmp_path / "broken"
    shutil.copytree(project.folder / config["models"]["semantic-m"]["path"], broken)
    for weights in broken.glob("*.safetensors"):
        weights.write_bytes(weights.read_bytes()[:1000])
    before = config["models"]["semantic-m"]["path"]
    project.change("models", "semantic-m", "path", value=str(broken))
    output = complaint(project)
    partial = project.folder / "results/demo/report_partial"
    assert "demo/evaluators/semantic-m.parquet (made under another configuration)" in output
    row = next(line for line in output.splitlines() if line.startswith("semantic-m "))
    assert row.split() == ["semantic-m", "-", "-"]
    assert "semantic-m" not in set(pl.read_parquet(partial / "tables/accuracy.parquet")["model"])
    assert "older than the configuration" in summary_of(project).splitlines()[0]
    project.change("models", "semantic-m", "path", value=before)
    project.change("report", "n_draws", value=400)
    project.run()
    assert not partial.exists()
    assert summary_of(project).startswith("=== demo ===")


def summary_of(project: Project) -> str:
    command = [sys.executable, "-m", "spokeneval", "summary"]
    environment = {**os.environ, "PYTHONPATH": str(project.folder / "workflow")}
    return subprocess.run(
        command, cwd=project.folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_weights_whose_vocabulary_does_not_fit_the_tokenizer_are_refused(project):
    project.change("models", "semantic-m", "tokenizer", value="rvq")
    output = complaint(project, "results/demo/likelihood/semantic-m.parquet")
    assert "501" in output
    assert "769" in output


def own_recordings(project: Project, tmp_path) -> None:
    """A dataset of one's own: forty short recordings of two people's voices from the demo's training scenes."""
    source = ROOT / "resources/fetched/recordings"
    table = pl.read_csv(source / "recordings.csv")
    table = table.filter(pl.col("speaker").is_in(["BOB", "WITCH", "TAM", "JIM"]))
    folder = tmp_path / "own"
    (folder / "clips").mkdir(parents=True)
    for path in table["path"]:
        shutil.copy2(source / path, folder / path)
    table.write_csv(folder / "own.csv")
    block = {"kind": "consistency", "recordings": str(folder / "own.csv"), "tasks": {"speaker": 4}}
    config = project.config
    config["datasets"] = {"own": block}
    project.configure(config)


@pytest.mark.parametrize(("content", "message"), [(b"", "the file is empty"), (b"noise", "cannot be read as audio")])
def test_a_corrupt_recording_is_named(project, tmp_path, content, message):
    own_recordings(project, tmp_path)
    victim = sorted((tmp_path / "own/clips").iterdir())[3]
    victim.write_bytes(content)
    output = complaint(project, "results/own/clips.parquet")
    assert victim.name in output
    assert message in output


# ---------------------------------------------------------------- killed


def test_a_killed_run_is_finished_by_the_next_with_the_same_tables(finished, tmp_path):
    project = Project.create(tmp_path / "killed", finished.config)
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    process = subprocess.Popen(
        command, cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    store = project.folder / "results/store"
    while not list(store.rglob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.snakemake("--unlock")
    project.run()
    expected, found = finished.tables(), project.tables()
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_a_full_disk_is_said_and_the_next_run_goes_on(finished, tmp_path):
    """The results lie on a file system of 600 kB, then on one with room."""
    project = Project.create(tmp_path / "full", finished.config)
    disk = project.folder / "results"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        output = complaint(project, "results/demo/clips.parquet")
        assert "No space left on device" in output
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        project.run("results/demo/clips.parquet", "results/demo/tokens/rvq.parquet")
        for name in ("clips.parquet", "tokens/rvq.parquet"):
            assert (disk / "demo" / name).read_bytes() == finished.tables()[f"demo/{name}"], name
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_damaged_artefact_is_named(project):
    table = project.folder / "results/demo/likelihood/acoustic-s.parquet"
    table.write_bytes(table.read_bytes()[:-100])
    project.change("evaluators", "windows_s", value=[0.3])
    output = complaint(project, "results/demo/evaluators/acoustic-s.parquet", "--allowed-rules", "evaluators")
    assert "likelihood/acoustic-s.parquet: not a readable parquet file" in output
    table.unlink()
    project.run("results/demo/evaluators/acoustic-s.parquet")


def test_another_tokenizer_under_existing_artefacts_remakes_them(project):
    project.change("tokenizers", "whisper", "layer", value=3)
    expected = {"demo/tokens/whisper.parquet", "demo/controls/tokens/whisper.parquet"}
    assert project.plan() == expected | model_files("semantic-m", heard=False) | REPORTS
    output = complaint(project, "results/demo/likelihood/semantic-m.parquet", "--allowed-rules", "likelihood")
    assert "made under identity" in output
