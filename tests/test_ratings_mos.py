"""MOS per system and within tasks, and the command that writes it. Listeners here are simulated or written by hand."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import numpy as np
import polars as pl
import pytest
from ratings_simulation import STUDY, expected_score, simulated_votes, write_study
from scipy.stats import t

from spokeneval.__main__ import main
from spokeneval.ratings.run import make_ratings
from spokeneval.ratings.schemas import RATINGS_SCHEMAS
from spokeneval.tables import read_metadata, read_table

CROSSED = "system,item,listener,score\n" + "".join(
    f"a,{i},{v},{score}\n"
    for i, row in enumerate([[2, 4], [3, 3], [5, 4], [4, 5]])
    for v, score in zip("vw", row, strict=True)
)
"""Four items by two listeners: mean 3.75; mean squares 3/2 of items, 0.5 of listeners, 5/6 residual."""


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    return {name: read_table(folder / f"{name}.parquet", schema) for name, schema in RATINGS_SCHEMAS.items()}


def test_mean_and_interval_by_hand(tmp_path):
    """Components: items (3/2 - 5/6) / 2, residual 5/6; listeners (1/2 - 5/6) / 4 < 0 counts as 0. Variance of the mean:
    items / 4 + residual / 8."""
    make_ratings(write_study(tmp_path, CROSSED), tmp_path / "out")
    row = tables(tmp_path / "out")["mos"].filter(level="system").to_dicts()[0]
    assert row["mos"] == pytest.approx(3.75)
    assert row["variance_items"] == pytest.approx(1 / 3)
    assert row["variance_listeners"] == pytest.approx(-1 / 12)
    assert row["variance_residual"] == pytest.approx(5 / 6)
    variance = 1 / 3 / 4 + 5 / 6 / 8
    assert row["standard_error"] == pytest.approx(math.sqrt(variance))
    half = t.ppf(0.975, row["degrees_of_freedom"]) * math.sqrt(variance)
    assert (row["low"], row["high"]) == pytest.approx((3.75 - half, 3.75 + half))
    assert (row["n_votes"], row["n_items"], row["n_listeners"], row["note"]) == (8, 4, 2, None)
    assert (row["scale_low"], row["scale_high"]) == (1, 5)


def test_means_agree_with_plain_python_over_the_csv(tmp_path):
    votes = simulated_votes(np.random.default_rng(0), np.array([2.0, 3.0, 4.0]), 12, 9, 4)
    votes = votes.with_columns(
        task=pl.when(pl.col("item") < "i5").then(pl.lit("room")).otherwise(pl.lit("speaker")),
        dimension=pl.when(pl.col("listener") < "l3").then(pl.lit("natural")).otherwise(pl.lit("same")),
    )
    columns = {**STUDY["columns"], "task": "task", "dimension": "dimension"}
    make_ratings(write_study(tmp_path, votes, columns=columns, constants={}), tmp_path / "out")
    expected: dict[tuple[str, ...], list[float]] = defaultdict(list)
    with open(tmp_path / "votes.csv", newline="") as file:
        for vote in csv.DictReader(file):
            key = (vote["dimension"], vote["system"])
            expected["system", *key, ""].append(float(vote["score"]))
            expected["system_task", *key, vote["task"]].append(float(vote["score"]))
    mos = tables(tmp_path / "out")["mos"]
    found = {
        (r["level"], r["dimension"], r["system_id"], r["task"] or ""): (r["mos"], r["n_votes"])
        for r in mos.iter_rows(named=True)
    }
    assert found == {key: (pytest.approx(fmean(v), abs=1e-12), len(v)) for key, v in expected.items()}


def test_items_of_two_tasks_with_one_name_are_two_items(tmp_path):
    text = "system,item,listener,score,task\na,1,v,4,x\na,1,v,3,y\na,1,w,4,x\n"
    columns = {**STUDY["columns"], "task": "task"}
    constants = {"dimension": "d"}
    make_ratings(write_study(tmp_path, text, columns=columns, constants=constants), tmp_path / "out")
    assert tables(tmp_path / "out")["mos"].filter(level="system")["n_items"].to_list() == [2]


def test_planted_qualities_lie_in_their_intervals_and_in_their_order(tmp_path):
    quality = np.linspace(2, 4, 9)
    votes = simulated_votes(np.random.default_rng(1), quality, 50, 60, 5)
    make_ratings(write_study(tmp_path, votes), tmp_path / "out")
    mos = tables(tmp_path / "out")["mos"].filter(level="system").sort("system_id")
    assert mos["mos"].to_list() == sorted(mos["mos"])
    true = [expected_score(q) for q in quality]
    held = [low <= x <= high for low, x, high in zip(mos["low"], true, mos["high"], strict=True)]
    assert sum(held) >= 7


def test_every_table_of_simulated_listeners_says_so_and_none_of_people_does(tmp_path):
    for simulated in (True, False):
        path = write_study(tmp_path, CROSSED, simulated=simulated)
        printed = make_ratings(path, tmp_path / "out")
        for name, table in tables(tmp_path / "out").items():
            assert table["simulated"].to_list() == [simulated] * len(table), name
            assert pl.read_csv(tmp_path / "out" / f"{name}.csv")["simulated"].to_list() == [simulated] * len(table)
        blocks = printed.split("\n\n")
        assert "SIMULATED: no person voted here" in blocks[0] or not simulated
        titles = [block.splitlines()[0] for block in blocks if "MOS with" in block or "agreement" in block]
        assert [title.startswith("SIMULATED") for title in titles] == [simulated] * 2


def test_anchors_and_humans_are_listed_and_marked(tmp_path):
    votes = simulated_votes(np.random.default_rng(2), np.array([2.0, 3.0, 4.0, 5.0, 1.0]), 6, 6, 3)
    path = write_study(tmp_path, votes, roles={"human": ["s3"], "anchor": ["s4"]})
    printed = make_ratings(path, tmp_path / "out")
    made = tables(tmp_path / "out")
    roles = dict(made["mos"].filter(level="system").select("system_id", "role").iter_rows())
    assert roles == {"s0": "system", "s1": "system", "s2": "system", "s3": "human", "s4": "anchor"}
    lines = [line.split("  ")[0] for line in printed.splitlines() if line[:2] in ("s0", "s1", "s2", "s3", "s4")]
    assert lines == ["s2", "s1", "s0", "s3 (human)", "s4 (anchor)"], "after the systems"
    assert dict(made["agreement"].select("over", "n_systems").iter_rows()) == {"systems": 3, "all": 5}


def test_the_same_votes_give_the_same_bytes_and_another_study_another_identity(tmp_path):
    path = write_study(tmp_path, CROSSED)
    for folder in ("one", "two"):
        make_ratings(path, tmp_path / folder)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    make_ratings(write_study(tmp_path, CROSSED, seed=1), tmp_path / "three")
    made = [read_metadata(tmp_path / k / "mos.parquet", RATINGS_SCHEMAS["mos"]) for k in ("one", "three")]
    assert made[0].identity != made[1].identity
    assert made[0].extra["study"]["ratings"] == "votes.csv", "no table holds where it was made"


def test_the_command_writes_four_tables_twice_and_reads_votes_that_lie_elsewhere(tmp_path, capsys):
    path = write_study(tmp_path, CROSSED)
    elsewhere = tmp_path / "elsewhere.csv"
    (tmp_path / "votes.csv").rename(elsewhere)
    main(["ratings", "--study", str(path), "--to", str(tmp_path / "out"), "--ratings", str(elsewhere)])
    printed = capsys.readouterr().out
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == sorted(f"{n}.{s}" for n in ("agreement", "mos", "ratings", "screening") for s in ("csv", "parquet"))
    assert "8 votes, 2 listeners, 1 systems, 1 dimension" in printed
    *shown, last = printed.splitlines()
    assert max(map(len, shown)) <= 120
    assert last == f"tables: {tmp_path / 'out'}"


def test_nothing_is_written_where_a_vote_is_wrong(tmp_path, capsys):
    path = write_study(tmp_path, CROSSED.replace("a,0,v,2", "a,0,v,7"))
    with pytest.raises(SystemExit) as stopped:
        main(["ratings", "--study", str(path), "--to", str(tmp_path / "out")])
    assert "error: " in str(stopped.value)
    assert "row 2: score is 7.0; expected 1, 2 ... 5" in str(stopped.value)
    assert not (tmp_path / "out").exists()
