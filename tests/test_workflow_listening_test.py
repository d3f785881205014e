"""From what models say to people and back: export by snakemake, a browser rates, votes come into the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from browser import browser, needs_browser, page_of
from workflow_project import Project

from spokeneval.listening_test.schemas import MANIFEST
from spokeneval.tables import read_metadata

pytestmark = pytest.mark.workflow

TEST = {"dataset": "demo", "questions": ["naturalness"], "tasks": ["speaker"], "items_per_task": 2, "raters": 4}
MANIFEST_PATH = "demo/listening_tests/first/manifest.parquet"
REPORTS = {"demo/report", "index.html", "demo/verdict.txt"}


def target(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spokeneval", "listening-test", *arguments]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)


def test_an_exported_test_costs_its_own_job_and_no_report(project: Project) -> None:
    before = project.times()
    project.change("listening_tests", "first", value=TEST)
    assert project.plan() == set()  # asked for by name only
    path = target(project, "--test", "first").stdout.strip()
    assert path == f"results/{MANIFEST_PATH}"
    assert MANIFEST_PATH in project.plan(path)
    project.run(path)
    assert {name: when for name, when in project.times().items() if name in before} == before
    first = pl.read_parquet(project.folder / path)
    identity = read_metadata(project.folder / path, MANIFEST).identity
    # other continuations: the test is another one, and what people may have heard is still on record
    project.change("models", "acoustic-s", "decoding", "temperature", value=0.7)
    assert {MANIFEST_PATH, "demo/continuations/acoustic-s.parquet"} <= project.plan(path)
    project.run(path)
    second = pl.read_parquet(project.folder / path)
    changed = first.join(second, on=["system_id", "item_id"], suffix="_now").filter(
        pl.col("blinded_name") != pl.col("blinded_name_now")
    )
    assert set(changed["system_id"]) == {"acoustic-s"}
    kept = project.folder / f"results/demo/listening_tests/first/manifests/{identity[:16]}.parquet"
    assert pl.read_parquet(kept).equals(first)


def test_what_is_wrong_with_a_test_is_said_before_anything_runs(project: Project) -> None:
    assert "has no `listening_tests`" in target(project).stderr
    project.change("listening_tests", "first", value=TEST)
    assert "no listening test 'frist'; did you mean 'first'" in target(project, "--test", "frist").stderr
    project.change("listening_tests", "first", "models", value=["acoustic"])
    assert "listening_tests.first.models: there is no model 'acoustic'" in project.snakemake("-n").output
    project.change("listening_tests", "first", value=TEST | {"dataset": "dmeo"})
    assert "there is no dataset 'dmeo'; did you mean 'demo'" in project.snakemake("-n").output
    project.change("listening_tests", "first", value=TEST | {"questions": ["beauty"]})
    assert "listening_tests.first.questions.0: Input should be 'naturalness'" in project.snakemake("-n").output


@needs_browser
def test_people_rate_in_a_browser_and_their_mos_is_in_the_report(project: Project) -> None:
    project.change("listening_tests", "first", value=TEST)
    project.run(f"results/{MANIFEST_PATH}")
    export = project.folder / "results/demo/listening_tests/first/export"
    study = project.folder / "studies/first"
    (study / "answers").mkdir(parents=True)
    for name in ("study.yaml", "manifest.parquet"):
        (study / name).write_bytes((export / "keep" / name).read_bytes())
    with browser() as chromium:
        for slot, listener in ((1, "Ann"), (2, "<script>Bob</script>")):
            with page_of(chromium, (export / "for_raters/index.html").as_uri() + f"?slot={slot}") as page:
                page.fill("#listener", listener)
                page.keyboard.press("Enter")
                page.keyboard.press("Enter")
                for k in range(2):
                    page.keyboard.press(" ")
                    page.wait_for_function("document.getElementById('state').textContent === 'heard'")
                    page.keyboard.press(str(3 + k))
                    page.keyboard.press("Enter")
                with page.expect_download() as download:
                    page.click("#save")
                (study / "answers" / f"{slot}.csv").write_bytes(Path(download.value.path()).read_bytes())
    project.change("ratings", "first", value={"dataset": "demo", "study": "studies/first/study.yaml"})
    tables = {f"demo/ratings/first/{name}.parquet" for name in ("ratings", "mos", "agreement", "screening")}
    assert project.plan() == tables | REPORTS
    project.run()
    votes = pl.read_parquet(project.folder / "results/demo/ratings/first/ratings.parquet")
    assert (len(votes), set(votes["score"]), votes["simulated"].any()) == (4, {3.0, 4.0}, False)
    mos = pl.read_parquet(project.folder / "results/demo/ratings/first/mos.parquet")
    assert mos.filter(level="system")["mos"].is_between(3, 4).all()
    told = pl.read_parquet(project.folder / "results/demo/report/tables/people_mos.parquet")
    assert set(told["simulated"]) == {False}
    assert (
        told.filter(level="system")
        .select("system_id", "mos")
        .sort("system_id")
        .equals(mos.filter(level="system").select("system_id", "mos").sort("system_id"))
    )
    page = (project.folder / "results/demo/report/report.html").read_text()
    assert 'id="people"' in page
    assert "simulated" not in page.lower()
    assert "<script>Bob" not in page
