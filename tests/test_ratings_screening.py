"""Screening rules: declared, applied, counted, and off where the study does not ask."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from ratings_simulation import STUDY, write_study

from spokeneval.ratings.intake import read_votes
from spokeneval.ratings.mos import mos_table
from spokeneval.ratings.screening import RULES, screen
from spokeneval.ratings.study import Screening, read_study

HEADER = "system,item,listener,score,s\n"
VOTES = HEADER + (
    # v hears the anchors; w gives 3 throughout; x is fast in two of four; y has two votes; z takes low for high
    "a,1,v,4,5\nb,1,v,3,5\nhi,1,v,5,5\nlo,1,v,1,5\n"
    "a,1,w,3,5\nb,1,w,3,5\nhi,1,w,3,5\nlo,1,w,3,5\n"
    "a,1,x,2,0.2\nb,1,x,1,0.2\nhi,1,x,5,5\nlo,1,x,1,5\n"
    "a,1,y,5,5\nb,1,y,4,5\n"
    "a,1,z,4,5\nb,1,z,5,5\nhi,1,z,1,5\nlo,1,z,4,5\n"
)
COLUMNS = {**STUDY["columns"], "seconds": "s"}
ROLES = {"anchor": ["lo"], "human": ["hi"]}
CONSTANT = {"constant_answers": {"min_votes": 4}}
FAST = {"too_fast": {"min_seconds": 1.0}}
TOP = {"systems": ["hi"], "mean": 3.5}
BOTTOM = {"systems": ["lo"], "mean": 2.5}
ANCHORS = {"anchors_failed": {"top": TOP, "bottom": BOTTOM}}
FEW = {"too_few_votes": {"min_votes": 3}}


def screened(tmp_path: Any, rules: dict[str, Any], votes: str = VOTES) -> tuple[pl.DataFrame, dict[str, Any]]:
    study = read_study(write_study(tmp_path, votes, columns=COLUMNS, roles=ROLES, screening=rules))
    table, told = screen(read_votes(study).table, study.screening)
    return table, {row["rule"]: row for row in told.iter_rows(named=True)}


def excluded(table: pl.DataFrame) -> dict[tuple[str, str], str]:
    found = table.filter(pl.col("excluded_reason").is_not_null())
    return {(row["listener_id"], row["system_id"]): row["excluded_reason"] for row in found.iter_rows(named=True)}


def whole(listener: str, rule: str, systems: str = "a b hi lo") -> dict[tuple[str, str], str]:
    return {(listener, system): rule for system in systems.split()}


@pytest.mark.parametrize(
    ("rules", "expected", "n_untested"),
    [
        (CONSTANT, whole("w", "constant_answers"), 0),
        ({"constant_answers": {"min_votes": 5}}, {}, 0),
        (FAST, whole("x", "too_fast", "a b"), 0),
        ({"too_fast": {"min_seconds": 1.0, "max_share": 0.5}}, whole("x", "too_fast", "a b"), 0),
        ({"too_fast": {"min_seconds": 1.0, "max_share": 0.49}}, whole("x", "too_fast"), 0),
        ({"too_fast": {"min_seconds": 0.2}}, {}, 0),
        (ANCHORS, whole("w", "anchors_failed") | whole("z", "anchors_failed"), 1),
        ({"anchors_failed": {"bottom": {**BOTTOM, "mean": 3}}}, whole("z", "anchors_failed"), 1),
        ({"anchors_failed": {"top": {**TOP, "mean": 1}}}, {}, 1),
        ({"anchors_failed": {"top": TOP, "min_votes": 2}}, {}, 5),
        (FEW, whole("y", "too_few_votes", "a b"), 0),
    ],
)
def test_each_rule_takes_out_what_it_says_and_nothing_else(tmp_path, rules, expected, n_untested):
    table, told = screened(tmp_path, rules)
    assert excluded(table) == expected
    (rule,) = rules
    assert (told[rule]["n_votes"], told[rule]["n_excluded"]) == (len(expected), len(expected))
    assert told[rule]["n_listeners"] == len({listener for listener, _ in expected})
    assert told[rule]["n_untested"] == n_untested


def test_a_study_without_rules_excludes_nobody_and_says_that_they_are_off(tmp_path):
    for rules in ({}, dict.fromkeys(Screening.model_fields)):
        table, told = screened(tmp_path, rules)
        assert excluded(table) == {}
        assert list(told) == list(RULES)
        assert {(row["on"], row["settings"], row["n_votes"], row["n_excluded"]) for row in told.values()} == {
            (False, None, None, 0)
        }


def test_a_vote_that_several_rules_find_is_excluded_once_under_the_first(tmp_path):
    table, told = screened(tmp_path, CONSTANT | FAST | ANCHORS | FEW)
    assert excluded(table) == (
        whole("w", "constant_answers")
        | whole("x", "too_fast", "a b")
        | whole("z", "anchors_failed")
        | whole("y", "too_few_votes", "a b")
    )
    assert (told["anchors_failed"]["n_votes"], told["anchors_failed"]["n_excluded"]) == (8, 4)
    assert sum(row["n_excluded"] for row in told.values()) == len(excluded(table)) == 12
    assert len(table) == 18, "excluded votes stay"


def test_rules_look_at_the_votes_as_imported(tmp_path):
    """Listener x keeps 2 votes after too_fast, and is not taken for one with too few."""
    table, _ = screened(tmp_path, FAST | FEW)
    assert ("x", "hi") not in excluded(table)


def test_listeners_are_judged_within_a_dimension(tmp_path):
    rows = ["system,item,listener,score,what"]
    rows += [f"{s},1,{v},{3 if v == 'w' else k + 1},same" for v in "vw" for k, s in enumerate("abc")]
    rows += [f"{s},1,w,{k + 1},natural" for k, s in enumerate("abc")]
    columns = {**STUDY["columns"], "dimension": "what"}
    rules = {"constant_answers": {"min_votes": 3}}
    path = write_study(tmp_path, "\n".join(rows), columns=columns, constants={"task": "t"}, screening=rules)
    study = read_study(path)
    table, _ = screen(read_votes(study).table, study.screening)
    found = table.filter(pl.col("excluded_reason").is_not_null())
    assert set(found.select("listener_id", "dimension").rows()) == {("w", "same")}


def test_excluded_votes_are_never_averaged(tmp_path):
    study = read_study(write_study(tmp_path, VOTES, columns=COLUMNS, roles=ROLES, screening=CONSTANT | FAST))
    table, _ = screen(read_votes(study).table, study.screening)
    rows = {r["system_id"]: r for r in mos_table(table, study).filter(level="system").iter_rows(named=True)}
    assert rows["a"]["mos"] == pytest.approx((4 + 5 + 4) / 3), "without w's 3 and x's 2"
    assert (rows["a"]["n_votes"], rows["a"]["n_excluded"]) == (3, 2)
    assert rows["hi"]["mos"] == pytest.approx((5 + 5 + 1) / 3)


def test_a_system_whose_votes_are_all_excluded_keeps_its_row_without_a_mean(tmp_path):
    votes = HEADER + "a,1,v,4,5\na,1,w,4,5\nb,1,v,3,0.1\nb,1,w,3,0.1\n"
    study = read_study(write_study(tmp_path, votes, columns=COLUMNS, screening=FAST))
    table, _ = screen(read_votes(study).table, study.screening)
    row = mos_table(table, study).filter(level="system", system_id="b").to_dicts()[0]
    assert (row["mos"], row["low"], row["n_votes"], row["n_excluded"]) == (None, None, 0, 2)
    assert row["note"] == "all 2 votes are excluded"
