"""What holds for any votes. Drawn by hypothesis; no person voted."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from ratings_simulation import write_study

from spokeneval.errors import ConfigError
from spokeneval.ratings.agreement import agreement_table
from spokeneval.ratings.intake import read_votes
from spokeneval.ratings.mos import mos_table
from spokeneval.ratings.screening import screen
from spokeneval.ratings.study import Study, read_study

Vote = tuple[str, str, str, int]
NAMES = st.text("ab é\"',;{}é", min_size=1, max_size=4).map(str.strip).filter(bool)
VOTES = st.lists(
    st.tuples(NAMES, NAMES, NAMES, st.integers(1, 5)), min_size=1, max_size=40, unique_by=lambda vote: vote[:3]
)
RULES = {"constant_answers": {"min_votes": 2}, "too_few_votes": {"min_votes": 3}}


def study_of(folder: str, votes: list[Vote], **changes: object) -> Study:
    quoted = (",".join('"' + str(field).replace('"', '""') + '"' for field in vote) for vote in votes)
    return read_study(write_study(Path(folder), "\n".join(["system,item,listener,score", *quoted]) + "\n", **changes))


@settings(max_examples=40, deadline=None)
@given(VOTES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_but_their_numbers(votes: list[Vote], order: random.Random) -> None:
    found = []
    for shuffled in (votes, order.sample(votes, len(votes))):
        with tempfile.TemporaryDirectory() as folder:
            study = study_of(folder, shuffled, screening=RULES)
            table, told = screen(read_votes(study).table, study.screening)
            found.append((table.drop("row"), told, mos_table(table, study), agreement_table(table, study)))
    for one, other in zip(*found, strict=True):
        assert_frame_equal(one, other, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(VOTES, st.data())
def test_a_vote_that_is_there_twice_is_refused_with_both_rows(votes: list[Vote], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(votes) - 1))
    again = (*votes[at][:3], data.draw(st.integers(1, 5)))
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(folder, [*votes, again])
        with pytest.raises(ConfigError, match=rf"row {len(votes) + 2}: listener .* in row {at + 2} already"):
            read_votes(study)


@settings(max_examples=40, deadline=None)
@given(VOTES)
def test_where_nobody_is_excluded_a_mos_is_the_plain_mean(votes: list[Vote]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(folder, votes)
        table, _ = screen(read_votes(study).table, study.screening)
    assert len(table) == len(votes)
    mos = dict(mos_table(table, study).filter(level="system").select("system_id", "mos").iter_rows())
    systems = {vote[0] for vote in votes}
    assert mos == {s: pytest.approx(fmean(v[3] for v in votes if v[0] == s), abs=1e-12) for s in systems}


@settings(max_examples=40, deadline=None)
@given(VOTES)
def test_excluded_votes_and_votes_that_count_are_all_votes_and_intervals_hold_the_mean(votes: list[Vote]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(folder, votes, screening=RULES)
        table, told = screen(read_votes(study).table, study.screening)
    assert told["n_excluded"].sum() == table["excluded_reason"].count()
    for row in mos_table(table, study).iter_rows(named=True):
        assert row["n_votes"] + row["n_excluded"] > 0
        assert (row["low"] is None) == (row["note"] is not None)
        assert row["low"] is None or row["low"] < row["mos"] < row["high"]
