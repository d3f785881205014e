"""A file of votes is read through its study as it is meant, or refused with every problem by row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from ratings_simulation import STUDY, write_study

from spokeneval.errors import ConfigError
from spokeneval.ratings.intake import Votes, read_votes
from spokeneval.ratings.problems import SHOWN
from spokeneval.ratings.schemas import RATINGS
from spokeneval.ratings.study import read_study

HEADER = "system,item,listener,score\n"
GOOD = HEADER + "a,1,v,4\na,2,v,5\nb,1,v,2\nb,2,w,1\n"
VCC = {
    "columns": {"listener_id": "JUDGE", "score": "MOS", "blinded_name": "WAV_PATH"},
    "names": {
        "column": "WAV_PATH",
        "pattern": r"(?P<method>[A-Z]\d\d)_(?P<utterance>.+)_(?P<suite>HUB|SPO|NAT)\.wav",
        "fields": {"system_id": "{suite}_{method}", "task": "{suite}", "item_id": "{utterance}"},
    },
    "constants": {"dimension": "naturalness", "sample_index": 0},
}


def read(folder: Path, votes: str | bytes | pl.DataFrame, **changes: object) -> Votes:
    return read_votes(read_study(write_study(folder, votes, **changes)))


def refusal(folder: Path, votes: str | bytes | pl.DataFrame, **changes: object) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        read(folder, votes, **changes)
    return str(refused.value).replace(f"{folder}/votes.csv", "F").splitlines()


def test_every_vote_comes_in_with_what_it_is_about_and_where_it_stood(tmp_path):
    table = read(tmp_path, GOOD, audio="external").table
    assert table.columns == [column.name for column in RATINGS.columns]
    assert table.filter(system_id="b", item_id="2").to_dicts() == [
        {
            "test_id": "t",
            "dimension": "naturalness",
            "listener_id": "w",
            "system_id": "b",
            "task": "speaker",
            "item_id": "2",
            "sample_index": 0,
            "blinded_name": None,
            "score": 1.0,
            "seconds": None,
            "role": "system",
            "audio": "external",
            "simulated": True,
            "excluded_reason": None,
            "row": 5,
            "file": "votes.csv",
            "comment": None,
        }
    ]


def test_systems_tasks_and_items_are_read_off_file_names(tmp_path):
    text = "WAV_PATH,MEAN,MOS,JUDGE\nN11_VCC2TF2_VCC2SF4_30003_SPO.wav,3.0,2,Q\nS00_X_30005_NAT.wav,3.0,3,Q\n"
    table = read(tmp_path, text, **VCC, ignore_columns=["MEAN"], roles={"human": ["NAT_S00"]}).table.sort("row")
    assert table.select("system_id", "task", "item_id", "role", "blinded_name").rows() == [
        ("SPO_N11", "SPO", "VCC2TF2_VCC2SF4_30003", "system", "N11_VCC2TF2_VCC2SF4_30003_SPO.wav"),
        ("NAT_S00", "NAT", "X_30005", "human", "S00_X_30005_NAT.wav"),
    ]


def test_names_of_another_form_are_listed_and_never_half_matched(tmp_path):
    text = "WAV_PATH,MOS,JUDGE\nN11_u_SPO.wav,2,Q\nN11_u_SPO.wav.bak,3,Q\nxN11_u_SPO.wav,3,Q\n,3,Q\n"
    lines = refusal(tmp_path, text, **VCC)
    assert [line.split(":")[0] for line in lines] == ["F, row 3", "F, row 4", "F, row 5"]
    assert "WAV_PATH is 'N11_u_SPO.wav.bak'; expected a name like" in lines[0]
    assert lines[2] == "F, row 5: WAV_PATH is empty"


def test_a_byte_order_mark_blanks_and_quotes_change_nothing(tmp_path):
    padded = b"\xef\xbb\xbf" + b'system,item,listener,score\n"a ",1,v," 4 "\na, 2,v ,5\n\nb,1,v,\t2\nb,2,w,1.0\n'
    found, plain = read(tmp_path, padded), read(tmp_path, GOOD)
    assert found.table.drop("row").equals(plain.table.drop("row"))
    assert found.n_padded == 3, "'a ', ' 2' and 'v '"
    assert plain.n_padded == 0
    assert found.table.filter(system_id="b").sort("row")["row"].to_list() == [5, 6], "an empty line is a line"


def test_a_parquet_file_reads_as_the_csv_does(tmp_path):
    plain = read(tmp_path, GOOD).table
    frame = pl.read_csv(tmp_path / "votes.csv")
    assert frame.schema["item"] == pl.Int64
    frame.write_parquet(tmp_path / "votes.parquet")
    table = read(tmp_path, GOOD, ratings="votes.parquet").table
    assert table.drop("row", "file").equals(plain.drop("row", "file"))
    assert sorted(table["row"]) == [1, 2, 3, 4]


def test_another_separator_and_seconds_from_milliseconds(tmp_path):
    text = "system;item;listener;score;ms\na;1;v;4;1500\n"
    columns = {**STUDY["columns"], "milliseconds": "ms"}
    assert read(tmp_path, text, separator=";", columns=columns).table["seconds"].to_list() == [1.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "a,1,v,4\na,1,v,5\n",
            "F, row 3: listener 'v' has voted on system 'a', task 'speaker', item '1', sample 0 in row 2",
        ),
        ("a,1,v,6\n", "F, row 2: score is 6.0; expected 1, 2 ... 5"),
        ("a,1,v,0\n", "F, row 2: score is 0.0; expected 1, 2 ... 5"),
        ("a,1,v,3.5\n", "F, row 2: score is 3.5; expected 1, 2 ... 5"),
        ("a,1,v,good\n", "F, row 2: score is 'good'; expected a number"),
        ("a,1,v,nan\n", "F, row 2: score is 'nan'; expected a number"),
        ('a,1,v,"3,5"\n', "F, row 2: score is '3,5'; expected a number"),
        ("a,1,v,\n", "F, row 2: score is empty"),
        ("a,1, ,4\n", "F, row 2: listener_id is empty"),
        (",1,v,4\n", "F, row 2: system_id is empty"),
        ('a,"",v,4\n', "F, row 2: item_id is empty"),
    ],
)
def test_a_bad_vote_refuses_the_file_and_is_named_by_row(tmp_path, rows, message):
    lines = refusal(tmp_path, HEADER + rows)
    assert lines[0].startswith(message)
    assert len(lines) == 1


def test_all_problems_are_listed_in_the_order_of_rows(tmp_path):
    lines = refusal(tmp_path, HEADER + "a,1,v,4\nb,1,,9\na,1,v,4\nzz,1,v,x\n", systems=["a", "b"])
    assert lines == [
        "F, row 3: listener_id is empty",
        "F, row 3: score is 9.0; expected 1, 2 ... 5",
        "F, row 4: listener 'v' has voted on system 'a', task 'speaker', item '1', sample 0 in row 2 already "
        "(naturalness); keep one of the votes",
        "F, row 5: score is 'x'; expected a number",
        "F, row 5: system_id 'zz' is not among the study's",
    ]


def test_of_many_problems_the_first_are_shown_and_all_are_counted(tmp_path):
    rows = "".join(f"a,{k},v,9\n" for k in range(50)) + "a,0,v,4\n"
    lines = refusal(tmp_path, HEADER + rows)
    assert len(lines) == SHOWN + 1
    assert lines[SHOWN - 1].startswith(f"F, row {SHOWN + 1}:")
    assert lines[-1] == f"F: {51 - SHOWN} more problems; in all 50 scores off the scale, 1 duplicate votes"


def test_one_listener_may_hear_an_audio_again_in_another_dimension_or_sample_only(tmp_path):
    columns = {**STUDY["columns"], "dimension": "what", "sample_index": "k"}
    given = {"columns": columns, "constants": {"task": "speaker"}}
    head = "system,item,listener,score,what,k\n"
    good = head + "a,1,v,4,voice,0\na,1,v,4,room,0\na,1,v,4,voice,1\n"
    assert len(read(tmp_path, good, **given).table) == 3
    assert "row 5: listener 'v'" in refusal(tmp_path, good + "a,1,v,3,room,0\n", **given)[0]
    assert "sample_index is 1.5; expected a whole number" in refusal(tmp_path, head + "a,1,v,4,voice,1.5\n", **given)[0]


def test_each_dimension_has_its_own_scale(tmp_path):
    columns = {**STUDY["columns"], "dimension": "what"}
    given = {"columns": columns, "constants": {"task": "speaker"}}
    text = "system,item,listener,score,what\na,1,v,5,natural\na,1,v,4,same\n"
    scales = {"same": {"low": 1, "high": 4}}
    assert len(read(tmp_path, text, **given, scales=scales).table) == 2
    wrong = text.replace("4,same", "5,same")
    assert refusal(tmp_path, wrong, **given, scales=scales) == ["F, row 3: score is 5.0; expected 1, 2 ... 4"]
    mistaken = {"smae": {"low": 1, "high": 4}}
    assert "no vote of the dimension 'smae'" in refusal(tmp_path, text, **given, scales=mistaken)[0]
    free = {"low": 0, "high": 100, "step": None}
    assert refusal(tmp_path, text.replace("4,same", "101.5,same"), **given, scale=free) == [
        "F, row 3: score is 101.5; expected a number from 0 to 100"
    ]


def test_votes_on_systems_or_items_that_are_not_listed_are_refused(tmp_path):
    (tmp_path / "items.txt").write_text("1\n\n2 \n")
    assert len(read(tmp_path, GOOD, systems=["a", "b"], items="items.txt").table) == 4
    (tmp_path / "items.txt").write_text("1\n")
    lines = refusal(tmp_path, GOOD, systems=["a"], items="items.txt")
    assert "F, row 3: item_id '2' is not among the study's" in lines
    assert "F, row 4: system_id 'b' is not among the study's" in lines


def test_columns_that_the_study_does_not_mention_and_columns_that_lack_are_all_named(tmp_path):
    lines = refusal(tmp_path, "system,item,listner,score,note,note2\na,1,v,4,x,y\n", ignore_columns=["note"])
    assert lines[0].startswith("F: lacks the column 'listener', which the study names; did you mean 'listner'?")
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "F: has the column 'listner'",
        "F: has the column 'note2'",
    ]


def test_one_blinded_name_stands_for_one_audio(tmp_path):
    text = "system,item,listener,score,name\na,1,v,4,x.wav\nb,1,w,4,x.wav\na,1,u,4,x.wav\n"
    lines = refusal(tmp_path, text, columns={**STUDY["columns"], "blinded_name": "name"})
    assert len(lines) == 1
    assert lines[0].startswith("F, row 3: blinded name 'x.wav' is system 'b'")


def test_roles_come_from_a_column_or_from_lists_and_a_system_has_one(tmp_path):
    columns = {**STUDY["columns"], "role": "role"}
    head = "system,item,listener,score,role\n"
    table = read(tmp_path, head + "a,1,v,4,system\nb,1,v,4,anchor\n", columns=columns).table
    assert dict(table.select("system_id", "role").iter_rows()) == {"a": "system", "b": "anchor"}
    lines = refusal(tmp_path, head + "a,1,v,4,system\na,2,v,4,human\nb,1,v,4,robot\n", columns=columns)
    assert lines == [
        "F, row 3: system 'a' is human here and system before; a system has one role",
        "F, row 4: role is 'robot'; expected system, anchor, human",
    ]
    assert "has no vote on 'c', which roles of the study names" in refusal(tmp_path, GOOD, roles={"anchor": ["c"]})[0]


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (HEADER, "holds no vote"),
        (HEADER + "a,1,v,4,5\n", "cannot be read"),
        ("", "cannot be read"),
        (b"system,item,listener,score\n\xff\xfe,1,v,4\n", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_in_a_line(tmp_path, votes, message):
    lines = refusal(tmp_path, votes)
    assert len(lines) == 1
    assert message in lines[0]


def test_a_missing_file_and_one_of_unknown_kind_are_named(tmp_path):
    assert "nowhere.csv: cannot be read" in refusal(tmp_path, GOOD, ratings="nowhere.csv")[0]
    assert "nowhere.parquet: cannot be read" in refusal(tmp_path, GOOD, ratings="nowhere.parquet")[0]
    assert "of unknown kind; expected .csv" in refusal(tmp_path, GOOD, ratings="votes.xlsx")[0]
