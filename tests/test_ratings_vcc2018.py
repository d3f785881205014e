"""Real votes: the Voice Conversion Challenge 2018 through the example's study, as docs/listening-tests.md tells."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import correlation, fmean, stdev
from typing import Any

import polars as pl
import pytest
from evaluator_tables import shared_data
from workflow_project import ROOT

from spokeneval.ratings.run import make_ratings
from spokeneval.ratings.schemas import RATINGS_SCHEMAS
from spokeneval.tables import read_table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("vcc2018")
    make_ratings(ROOT / "examples/ratings/study.yaml", folder, shared_data("vcc2018") / "ratings.csv")
    return {name: read_table(folder / f"{name}.parquet", schema) for name, schema in RATINGS_SCHEMAS.items()}


def by_system() -> dict[str, list[int]]:
    """Votes of each system by plain Python: task suffix and first field of the file name."""
    votes: dict[str, list[int]] = defaultdict(list)
    with open(shared_data("vcc2018") / "ratings.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            fields = row["WAV_PATH"].removesuffix(".wav").split("_")
            votes[f"{fields[-1]}_{fields[0]}"].append(int(row["MOS"]))
    return votes


def systems(made: dict[str, pl.DataFrame]) -> dict[str, dict[str, Any]]:
    return {row["system_id"]: row for row in made["mos"].filter(level="system").iter_rows(named=True)}


def test_all_votes_come_in(made):
    votes = made["ratings"]
    assert len(votes) == 54_040
    assert votes["listener_id"].n_unique() == 267, "270 as written; three are written with and without a blank"
    assert votes["blinded_name"].n_unique() == 13_580
    assert votes["excluded_reason"].is_null().all()
    assert set(votes["audio"]) == {"external"}
    assert not votes["simulated"].any()


def test_mos_are_the_plain_means(made):
    plain = by_system()
    found = systems(made)
    assert {name: (row["mos"], row["n_votes"]) for name, row in found.items()} == {
        name: (pytest.approx(fmean(votes), abs=1e-12), len(votes)) for name, votes in plain.items()
    }


def test_mos_agree_with_the_means_that_the_organisers_published(made):
    with open(shared_data("vcc2018") / "published_system_mos.csv", encoding="utf-8", newline="") as file:
        published = {row["system_ID"]: float(row["mean"]) for row in csv.DictReader(file)}
    found = systems(made)
    assert set(found) == set(published)
    pairs = [(published[name], row["mos"]) for name, row in found.items()]
    assert correlation(*zip(*pairs, strict=True)) == pytest.approx(0.99944, abs=5e-6)
    assert max(abs(theirs - ours) for theirs, ours in pairs) == pytest.approx(0.0590, abs=5e-5)
    assert all(row["low"] <= published[name] <= row["high"] for name, row in found.items())


def test_intervals_are_as_wide_as_the_docs_say_and_wider_than_votes_alone_would_have_them(made):
    found = systems(made)
    tested = {name: row for name, row in found.items() if row["role"] == "system"}
    assert (len(tested), len(found)) == (36, 38)
    half = [(row["high"] - row["low"]) / 2 for row in tested.values()]
    assert (min(half), fmean(half), max(half)) == pytest.approx((0.110, 0.147, 0.170), abs=1e-3)
    plain = by_system()
    alone = [1.96 * stdev(plain[name]) / len(plain[name]) ** 0.5 for name in tested]
    assert fmean(alone) == pytest.approx(0.060, abs=1e-3)


def test_agreement_is_as_the_docs_say(made):
    found = {row["over"]: row for row in made["agreement"].iter_rows(named=True)}
    names = ("alpha", "icc_single", "icc_mean", "reliability", "r_halves", "split_half", "max_r")
    expected = {
        "all": (0.279, 0.282, 0.609, 0.991, 0.985, 0.992, 0.996),
        "systems": (0.255, 0.256, 0.578, 0.986, 0.976, 0.988, 0.994),
    }
    for over, values in expected.items():
        assert [found[over][name] for name in names] == pytest.approx(values, abs=1e-3)


def test_the_docs_hold_these_figures():
    text = (Path(ROOT) / "docs/listening-tests.md").read_text()
    for figure in ("54,040", "267", ".99944", "0.059", "0.147", "0.060", "0.255", "0.976", "0.988", "0.994"):
        assert figure in text
