"""Votes on an exported test are about what its manifest says, or are refused by file and row. Raters are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from exported_test import TEST, write_own_study

from spokeneval.errors import ConfigError
from spokeneval.listening_test.schemas import MANIFEST
from spokeneval.ratings.intake import Votes, read_votes
from spokeneval.ratings.run import make_ratings
from spokeneval.ratings.schemas import RATINGS
from spokeneval.ratings.stale import Current, stale_audio
from spokeneval.ratings.study import read_study
from spokeneval.tables import read_metadata, write_table

AUDIO = [
    # blinded name, system, item, sample, role, source
    ("q1", "big", "i1", 0, "system", "s1"),
    ("q2", "big", "i1", 1, "system", "s2"),
    ("q3", "small", "i1", 0, "system", "s3"),
    ("q4", "true_continuation", "i1", 0, "anchor", "c1"),
]
HEADER = "test_id,dimension,listener_id,blinded_name,score,seconds,plays,comment\n"


def manifest(*further: tuple[Any, ...]) -> pl.DataFrame:
    names = ("blinded_name", "system_id", "item_id", "sample_index", "role", "source_sha256")
    rest = {"test_id": TEST, "task": "speaker", "heard_sha256": "h", "gain_db": 0.0} | {
        "loudness_lufs": -23.0,
        "seconds": 1.0,
    }
    blank = dict.fromkeys(MANIFEST.arrow.names)
    rows = [blank | dict(zip(names, audio, strict=True)) | rest for audio in (*AUDIO, *further)]
    return pl.DataFrame(pl.from_arrow(MANIFEST.from_rows(rows)))


def study(folder: Path, answers: dict[str, str], **changes: Any) -> Path:
    """A study whose answers are these files."""
    path = write_own_study(folder / "test", manifest(), 0, **changes)
    for name, text in answers.items():
        (folder / "test/answers" / name).write_text(text, encoding="utf-8")
    return path


def table_study(folder: Path, answers: str, columns: dict[str, str], **changes: Any) -> Path:
    constants = {"constants": {"dimension": "naturalness"}}
    return study(
        folder,
        {"a.csv": answers},
        **({"format": "table", "ratings": "answers", "columns": columns} | constants | changes),
    )


def read(path: Path) -> Votes:
    return read_votes(read_study(path))


def refusal(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(path)
    return str(refused.value).replace(f"{path.parent}/", "").splitlines()


def test_a_vote_by_blinded_name_is_about_what_the_manifest_says(tmp_path):
    text = HEADER + f"{TEST},naturalness,ann,q2,4,3.5,1,\n{TEST},naturalness,ann,q4,5,3.5,1,\n"
    table = read(study(tmp_path, {"ann.csv": text})).table.sort("row")
    shown = ("blinded_name", "system_id", "task", "item_id", "sample_index", "role", "audio", "simulated")
    assert table.select(shown).rows() == [
        ("q2", "big", "speaker", "i1", 1, "system", "own", True),
        ("q4", "true_continuation", "speaker", "i1", 0, "anchor", "own", True),
    ]


def test_folders_and_the_ending_of_a_file_are_no_part_of_a_blinded_name(tmp_path):
    text = "file,who,score\nhttps://x.org/a/q1.wav,v,4\nmos\\q2.FLAC,v,3\n q3 ,v,2\n"
    path = table_study(tmp_path, text, {"blinded_name": "file", "listener_id": "who", "score": "score"})
    assert read(path).table.sort("row")["blinded_name"].to_list() == ["q1", "q2", "q3"]


def test_a_vote_by_system_item_and_sample_finds_its_blinded_name(tmp_path):
    columns = {"system_id": "s", "item_id": "i", "sample_index": "k", "listener_id": "who", "score": "score"}
    constants = {"dimension": "naturalness", "task": "speaker"}
    text = "s,i,k,who,score\nbig,i1,1.0,v,4\nbig,i1,0,v,3\nbig,i2,0,v,3\nbig,i1,x,v,3\n"
    unknown = "the manifest knows no audio of system 'big', task 'speaker'"
    assert refusal(table_study(tmp_path, text, columns, constants=constants)) == [
        f"answers/a.csv, row {row}: {unknown}, item '{item}', sample {k}"
        for row, item, k in ((4, "i2", "0"), (5, "i1", "x"))
    ]
    good = table_study(tmp_path / "good", text.partition("big,i2")[0], columns, constants=constants)
    assert read(good).table.sort("row")["blinded_name"].to_list() == ["q2", "q1"]


def test_votes_on_audio_that_the_manifest_does_not_know_are_listed(tmp_path):
    text = HEADER + f"{TEST},n,ann,q1,4,3.5,1,\n{TEST},n,ann,q9,4,3.5,1,\n{TEST},n,ann,,4,3.5,1,\n"
    assert refusal(study(tmp_path, {"ann.csv": text, "bob.csv": HEADER + f"{TEST},n,bob,<b>,4,,1,\n"})) == [
        "answers/ann.csv, row 3: the manifest knows no audio 'q9'",
        "answers/ann.csv, row 4: blinded_name is empty",
        "answers/bob.csv, row 2: the manifest knows no audio '<b>'",
    ]


def test_what_contradicts_the_manifest_is_refused(tmp_path):
    columns = {
        "blinded_name": "b",
        "system_id": "s",
        "sample_index": "k",
        "role": "r",
        "listener_id": "who",
        "score": "x",
    }
    text = "b,s,k,r,who,x\nq1,big,0,system,v,4\nq2,small,1,system,v,4\nq3,small,1,anchor,v,4\n"
    assert refusal(table_study(tmp_path, text, columns)) == [
        "answers/a.csv, row 3: system_id is 'small'; the manifest says 'big' of 'q2'",
        "answers/a.csv, row 4: sample_index is '1'; the manifest says '0' of 'q3'",
        "answers/a.csv, row 4: role is 'anchor'; the manifest says 'system' of 'q3'",
    ]


def test_a_second_vote_is_named_with_both_files(tmp_path):
    first = HEADER + f"{TEST},n,ann,q1,4,3.5,1,\n{TEST},n,ann,q1,5,3.5,1,\n"
    second = HEADER + f"{TEST},n,bob,q1,4,3.5,1,\n{TEST},n,ann,q1,4,3.5,1,\n"
    said = "listener 'ann' has voted on system 'big', task 'speaker', item 'i1', sample 0 in"
    assert refusal(study(tmp_path, {"1.csv": first, "2.csv": second})) == [
        f"answers/1.csv, row 3: {said} row 2 already (n); keep one of the votes",
        f"answers/2.csv, row 3: {said} row 2 of 1.csv already (n); keep one of the votes",
    ]


def test_a_study_and_its_manifest_fit_each_other(tmp_path):
    text = HEADER + f"{TEST},n,ann,q1,4,3.5,1,\n"
    other = study(tmp_path / "1", {"a.csv": text}, test_id="fisrt")
    assert refusal(other) == [
        f"manifest.parquet: has no test 'fisrt', as the study is called; did you mean '{TEST}'? known: {TEST}"
    ]
    absent = study(tmp_path / "2", {"a.csv": text}, manifest="gone.parquet")
    assert "gone.parquet: no such file; expected the manifest" in refusal(absent)[0]
    wrong = (
        ({"roles": {"anchor": ["true_continuation"]}}, "roles: the manifest gives the role already"),
        ({"audio": "external"}, "audio: what a manifest knows is this project's"),
        ({"ratings": "answers/*.txt"}, "answers/*.txt: no file fits this pattern"),
        ({"ratings": "empty"}, "empty: a folder without answers; expected files that end in .csv"),
    )
    for k, (changes, message) in enumerate(wrong, start=3):
        path = study(tmp_path / str(k), {"a.csv": text}, **changes)
        (path.parent / "empty").mkdir()
        assert message in refusal(path)[0]


def test_systems_may_have_become_models_of_another_name(tmp_path):
    text = HEADER + f"{TEST},n,ann,q1,4,3.5,1,\n{TEST},n,ann,q3,4,3.5,1,\n"
    found = read(study(tmp_path / "1", {"a.csv": text}, models={"big": "big-2"}))
    assert set(found.table["system_id"]) == {"big-2", "small"}
    assert set(found.manifest["system_id"]) == {"big-2", "small", "true_continuation"}
    misspelt = refusal(study(tmp_path / "2", {"a.csv": text}, models={"bgi": "x"}))
    assert "has no vote on 'bgi', which models of the study names; did you mean 'big'?" in misspelt[0]
    anchor = text + f"{TEST},n,ann,q4,4,3.5,1,\n"
    renamed = refusal(study(tmp_path / "5", {"a.csv": anchor}, models={"true_continuation": "big-2"}))
    assert "'true_continuation' of models of the study is an anchor or human, and no model" in renamed[0]
    assert "so is another system" in refusal(study(tmp_path / "3", {"a.csv": text}, models={"big": "small"}))[0]
    same = refusal(study(tmp_path / "4", {"a.csv": text}, models={"big": "x", "small": "x"}))
    assert "models: 'x' is given to more than one system" in same[0]


def current(**changes: Any) -> Current:
    """The data set as it was when the test was exported, with changes."""
    now = {"big 0": "s1", "big 1": "s2", "small 0": "s3"} | changes.pop("now", {})
    rows = [(*name.split(), digest) for name, digest in now.items()]
    said = pl.DataFrame(rows, schema=["system_id", "sample_index", "pcm_sha256"], orient="row").with_columns(
        pl.col("sample_index").cast(pl.Int16), task=pl.lit("speaker"), item_id=pl.lit("i1")
    )
    told = {
        "models": frozenset({"big", "small"}),
        "items": pl.DataFrame({"task": ["speaker"], "item_id": ["i1"]}),
        "clips": frozenset({"c1", "c2"}),
        "continuations": said,
    }
    return Current(**(told | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"now": {"big 0": "other"}}, {"q1": "the system says something else now"}),
        ({"now": {"big 1": None}}, {"q2": "the system has no such continuation now"}),
        ({"models": frozenset({"big"})}, {"q3": "the system is no longer in the configuration"}),
        ({"clips": frozenset({"c2"})}, {"q4": "the clip is no longer in the data set"}),
        (
            {"items": pl.DataFrame({"task": ["room"], "item_id": ["i1"]})},
            dict.fromkeys(("q1", "q2", "q3", "q4"), "the item is no longer in the data set"),
        ),
    ],
)
def test_audio_is_stale_where_something_else_stands_in_its_place(changes, expected):
    found = stale_audio(manifest(), current(**changes))
    assert dict(found.select("blinded_name", "why").iter_rows()) == expected


def test_stale_votes_stay_and_are_counted_in_their_own_row(tmp_path):
    """Another rule that finds the same votes does not take the reason away."""
    rows = [f"{TEST},n,{who},{name},4,3.5,1," for who in ("ann", "bob") for name in ("q1", "q2", "q3", "q4")]
    path = study(
        tmp_path,
        {"a.csv": HEADER + "\n".join(rows) + "\n"},
        screening={"constant_answers": {"min_votes": 2}},
    )
    printed = make_ratings(path, tmp_path / "to", current=lambda _: current(now={"big 0": "other"}), models=["big"])
    votes = pl.read_parquet(tmp_path / "to/ratings.parquet")
    reasons = dict(votes.select("blinded_name", "excluded_reason").unique().iter_rows())
    assert reasons == {"q1": "stale", **dict.fromkeys(("q2", "q3", "q4"), "constant_answers")}
    told = pl.read_parquet(tmp_path / "to/screening.parquet").row(0, named=True)
    assert {key: told[key] for key in ("rule", "on", "n_listeners", "n_votes", "n_excluded")} == {
        "rule": "stale",
        "on": True,
        "n_listeners": 2,
        "n_votes": 2,
        "n_excluded": 2,
    }
    line = "stale: q1 (system big, task speaker, item i1, sample 0): the system says something else now"
    assert line in printed.splitlines()
    extra = read_metadata(tmp_path / "to/ratings.parquet", RATINGS).extra
    assert [audio["blinded_name"] for audio in extra["stale"]] == ["q1"]
    assert extra["no_models"] == ["small"]


def test_without_a_configuration_nothing_is_known_to_be_stale(tmp_path):
    make_ratings(study(tmp_path, {"a.csv": HEADER + f"{TEST},n,ann,q1,4,3.5,1,\n"}), tmp_path / "to")
    assert pl.read_parquet(tmp_path / "to/screening.parquet").row(0, named=True)["on"] is False
    assert pl.read_parquet(tmp_path / "to/ratings.parquet")["excluded_reason"].to_list() == [None]
    told = yaml.safe_load(str(read_metadata(tmp_path / "to/ratings.parquet", RATINGS).extra["study"]))
    assert (told["ratings"], told["manifest"]) == ("answers", "manifest.parquet")


def test_audio_that_was_played_under_two_names_can_only_be_named_by_them(tmp_path):
    columns = {"system_id": "s", "item_id": "i", "listener_id": "who", "score": "score"}
    path = table_study(
        tmp_path, "s,i,who,score\nbig,i1,v,4\n", columns, constants={"dimension": "n", "task": "speaker"}
    )
    write_table(
        path.parent / "manifest.parquet", manifest(("q5", "big", "i1", 0, "system", "s1")), MANIFEST, "identity"
    )
    assert refusal(path) == [
        "manifest.parquet: 'q1' and 'q5' are the same sample of a system; votes must name the audio by blinded_name"
    ]


def test_the_test_that_a_vote_was_given_in_is_checked_where_the_file_says_it(tmp_path):
    columns = {"test_id": "test", "blinded_name": "b", "listener_id": "who", "score": "score"}
    path = table_study(tmp_path, f"test,b,who,score\n{TEST},q1,v,4\nsecond,q2,v,3\n", columns)
    assert refusal(path) == ["answers/a.csv, row 3: test_id is 'second'; this study is 'first'"]


def test_a_test_all_of_whose_audio_is_superseded_has_votes_and_no_means(tmp_path):
    text = HEADER + "".join(f"{TEST},n,{who},{name},4,3.5,1,\n" for who in ("ann", "bob") for name in ("q1", "q3"))
    path = study(tmp_path, {"a.csv": text, "nobody.csv": HEADER})
    printed = make_ratings(path, tmp_path / "to", current=lambda _: current(models=frozenset()))
    mos = pl.read_parquet(tmp_path / "to/mos.parquet")
    assert mos["mos"].null_count() == len(mos) == 4
    assert set(mos["note"]) == {"all 2 votes are excluded"}
    assert len(pl.read_parquet(tmp_path / "to/ratings.parquet")) == 4
    assert printed.count("no longer in the configuration") == 2


def test_answers_without_a_vote_are_said(tmp_path):
    assert refusal(study(tmp_path / "1", {"a.csv": HEADER, "b.csv": HEADER})) == ["answers: holds no vote"]
    assert refusal(study(tmp_path / "2", {"a.csv": HEADER, "b.csv": ""}))[0].startswith("answers/b.csv: cannot be read")
    lacking = refusal(study(tmp_path / "3", {"a.csv": "test_id,listener_id\nfirst,v\n"}))[0]
    assert lacking.startswith("answers/a.csv: not a file of spokeneval's page: lacks dimension, blinded_name, score")
