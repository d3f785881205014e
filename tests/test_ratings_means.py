"""Where only means are known, or nobody knows who voted, there is a mean and no more, and every table says why."""

from __future__ import annotations

import polars as pl
import pytest
import yaml
from ratings_simulation import STUDY, write_study

from spokeneval.errors import ConfigError
from spokeneval.ratings.run import make_ratings
from spokeneval.ratings.study import read_study

COLUMNS = {name: column for name, column in STUDY["columns"].items() if name != "listener_id"}
MEANS = "system,item,score\na,1,4.25\na,2,3.75\nb,1,2.0\nb,2,1.5\n"


def test_means_have_no_interval_and_no_agreement(tmp_path):
    printed = make_ratings(write_study(tmp_path, MEANS, columns=COLUMNS, means_only=True), tmp_path / "to")
    mos = pl.read_parquet(tmp_path / "to/mos.parquet").filter(level="system").sort("system_id")
    assert mos["mos"].to_list() == [4.0, 1.75]
    assert mos.select("low", "high", "standard_error", "n_listeners").null_count().row(0) == (2, 2, 2, 2)
    assert set(mos["note"]) == {"means only, without listeners: no interval"}
    assert mos["n_items"].to_list() == [2, 2]
    agreement = pl.read_parquet(tmp_path / "to/agreement.parquet")
    measured = ("alpha", "icc_single", "icc_mean", "reliability", "r_halves", "split_half", "max_r", "n_listeners")
    assert agreement.select(measured).null_count().row(0) == (2,) * len(measured)
    why = "means only: listeners are not known, so there is no agreement of listeners and no ceiling"
    assert set(agreement["note"]) == {why}
    assert pl.read_parquet(tmp_path / "to/ratings.parquet")["listener_id"].null_count() == 4
    assert why in printed
    assert "4 votes, 0 listeners, 2 systems" in printed


def test_means_are_checked_like_votes(tmp_path):
    """The steps of the scale are the votes', not the means'; its ends hold for both."""
    for row, message in (
        ("a,1,4.5\n", "row 6: system 'a', task 'speaker', item '1', sample 0 has a score in row 2 already"),
        ("c,1,5.5\n", "row 6: score is 5.5; expected 1, 2 ... 5"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_ratings(write_study(tmp_path, MEANS + row, columns=COLUMNS, means_only=True), tmp_path / "to")


def test_listeners_are_left_out_only_where_the_study_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"listener_id: nothing says where it comes from; .* `means_only: true`"):
        read_study(write_study(tmp_path, MEANS, columns=COLUMNS))
    with pytest.raises(ConfigError, match="means_only: listeners are known here"):
        read_study(write_study(tmp_path, MEANS, means_only=True))
    timed = {"columns": {**COLUMNS, "seconds": "s"}, "means_only": True}
    read_study(write_study(tmp_path, MEANS, **timed, screening={"too_fast": {"min_seconds": 1}}))
    with pytest.raises(ConfigError, match=r"screening\.too_fast: judges listeners"):
        read_study(write_study(tmp_path, MEANS, **timed, screening={"too_fast": {"min_seconds": 1, "max_share": 0.5}}))
    rules = {"constant_answers": {"min_votes": 3}}
    with pytest.raises(ConfigError, match=r"screening\.constant_answers: judges listeners"):
        read_study(write_study(tmp_path, MEANS, columns=COLUMNS, means_only=True, screening=rules))


def test_votes_of_nobody_are_averaged_as_votes(tmp_path):
    """P.808's votes per clip: the mean of a system is over votes, not over clips."""
    text = "file_url,n,MOS,vote_1,vote_2,vote_3\nx/a/u1.wav,3,4,5,5,2\nx/a/u2.wav,1,1,1,,\n"
    (tmp_path / "votes.csv").write_text(text)
    study = {name: STUDY[name] for name in ("test_id", "ratings", "simulated", "scale", "constants")} | {
        "format": "p808_clips",
        "names": {
            "column": "file_url",
            "pattern": r"x/(?P<s>\w)/(?P<i>\w+)\.wav",
            "fields": {"system_id": "{s}", "item_id": "{i}"},
        },
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    make_ratings(tmp_path / "study.yaml", tmp_path / "to")
    mos = pl.read_parquet(tmp_path / "to/mos.parquet").filter(level="system").row(0, named=True)
    assert (mos["mos"], mos["n_votes"], mos["n_items"], mos["n_listeners"]) == (13 / 4, 4, 2, None)
    assert mos["note"] == "it is not known who voted: no interval"
    agreement = pl.read_parquet(tmp_path / "to/agreement.parquet")
    assert set(agreement["note"]) == {"it is not known who voted, so there is no agreement of listeners and no ceiling"}
