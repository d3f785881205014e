"""Votes in the workflow: what they cost and move, and what happens when audio is superseded. Raters are drawn."""

from __future__ import annotations

import polars as pl
import pytest
from exported_test import manifest_of, write_answers, write_own_study
from ratings_simulation import write_study
from workflow_project import Project

from spokeneval.ratings.schemas import RATINGS
from spokeneval.tables import read_metadata

pytestmark = pytest.mark.workflow

REPORTS = {"demo/report", "index.html", "demo/verdict.txt"}
TABLES = {f"demo/ratings/first/{name}.parquet" for name in ("ratings", "mos", "agreement", "screening")}
MODELS = ["acoustic-s", "acoustic-xs"]


@pytest.fixture
def rated(project: Project) -> Project:
    """A finished run whose continuations people were asked about."""
    write_own_study(project.folder / "test", manifest_of(project.folder / "results/demo", MODELS))
    project.change("ratings", "first", value={"dataset": "demo", "study": "test/study.yaml"})
    return project


def make(project: Project) -> str:
    return project.run("results/demo/ratings/first/ratings.parquet").output


def screened(project: Project, rule: str) -> dict[str, object]:
    table = pl.read_parquet(project.folder / "results/demo/ratings/first/screening.parquet")
    return table.row(by_predicate=pl.col("rule") == rule, named=True)


def test_new_ratings_cost_their_job_and_the_report(rated):
    assert rated.plan() == TABLES | REPORTS
    before = rated.times()
    make(rated)
    votes = pl.read_parquet(rated.folder / "results/demo/ratings/first/ratings.parquet")
    assert votes["role"].unique().sort().to_list() == ["anchor", "system"]
    assert set(votes["audio"]) == {"own"}
    assert len(votes) == 3 * (2 * 6 + 12)
    assert set(votes.filter(role="system")["system_id"]) == set(MODELS)
    assert (screened(rated, "stale")["on"], screened(rated, "stale")["n_excluded"]) == (True, 0)
    assert rated.plan() == REPORTS
    assert {name: when for name, when in rated.times().items() if name in before} == before

    # one more rater
    names = votes["blinded_name"].unique().sort().to_list()
    write_answers(rated.folder / "test/answers/late.csv", names, "late", 9)
    assert rated.plan() == TABLES | REPORTS
    make(rated)
    assert len(pl.read_parquet(rated.folder / "results/demo/ratings/first/ratings.parquet")) == 4 * 24


def test_votes_on_superseded_audio_stay_and_count_no_more(rated):
    """Another seed for one model; the other one is taken out of the configuration."""
    make(rated)
    rated.change("models", "acoustic-s", "decoding", "temperature", value=0.7)
    said = {"demo/continuations/acoustic-s.parquet"}
    said |= {f"demo/judging/acoustic-s/{judge}.parquet" for judge in ("resemblyzer", "level")}
    assert rated.plan() == TABLES | REPORTS | said
    rated.change("models", "acoustic-xs", value=None)
    output = make(rated)
    votes = pl.read_parquet(rated.folder / "results/demo/ratings/first/ratings.parquet")
    reasons = votes.group_by("system_id").agg(pl.col("excluded_reason").unique())
    assert dict(reasons.iter_rows()) == {
        "acoustic-s": ["stale"],
        "acoustic-xs": ["stale"],
        "true_continuation": [None],
        "mismatched_continuation": [None],
    }
    assert screened(rated, "stale")["n_excluded"] == screened(rated, "stale")["n_votes"] == 3 * 12
    assert "the system says something else now" in output
    assert "the system is no longer in the configuration" in output
    extra = read_metadata(rated.folder / "results/demo/ratings/first/ratings.parquet", RATINGS).extra
    assert len(extra["stale"]) == 12
    assert extra["no_models"] == ["acoustic-xs"]
    mos = pl.read_parquet(rated.folder / "results/demo/ratings/first/mos.parquet").filter(level="system")
    assert mos.filter(pl.col("mos").is_null())["system_id"].sort().to_list() == MODELS


def test_a_study_from_elsewhere_reads_no_table_of_ours(project):
    """Its systems are named as models where they are; the others are kept and listed."""
    (project.folder / "theirs").mkdir()
    votes = "system,item,listener,score\nbig,1,v,4\nbig,2,w,5\nsmall,1,v,2\nsmall,2,w,1\nfish,1,v,2\n"
    write_study(project.folder / "theirs", votes, models={"big": "acoustic-s", "small": "acoustic-xs"})
    project.change("ratings", "first", value={"dataset": "demo", "study": "theirs/study.yaml"})
    assert project.plan() == TABLES | REPORTS
    output = make(project)
    assert "no model of the configuration, so shown and never correlated: fish" in output
    mos = pl.read_parquet(project.folder / "results/demo/ratings/first/mos.parquet")
    assert set(mos["system_id"]) == {"acoustic-s", "acoustic-xs", "fish"}
    assert set(mos["audio"]) == {"external"}
    project.change("models", "acoustic-s", "decoding", "temperature", value=0.7)
    assert not TABLES & project.plan()


def test_what_a_study_lacks_is_said_before_anything_runs(rated):
    rated.change("ratings", "first", "dataset", value="dmeo")
    assert "ratings.first.dataset: there is no dataset 'dmeo'; did you mean 'demo'?" in rated.snakemake("-n").output
    rated.change("ratings", "first", value={"dataset": "demo", "study": "nowhere/study.yaml"})
    assert "ratings.first.study: nowhere/study.yaml is not there" in rated.snakemake("-n").output
    rated.change("ratings", "first", "study", value="test/study.yaml")
    (rated.folder / "test/manifest.parquet").unlink()
    told = "ratings.first: test/manifest.parquet, the manifest of test/study.yaml, is not there"
    assert told in rated.snakemake("-n").output


def test_a_partial_report_names_the_votes_that_it_lacks(rated):
    """The answers hold a vote on unknown audio: the job fails, the rest is reported."""
    write_answers(rated.folder / "test/answers/other.csv", ["y000"], "rater 9", 0)
    done = rated.snakemake("--cores", "2")
    assert done.returncode != 0
    assert "answers/other.csv, row 2: the manifest knows no audio 'y000'" in done.output
    assert "ratings/first/mos.parquet" in done.output
    assert (rated.folder / "results/demo/report_partial/report.html").exists()
