"""The answer files of every tool, small and written by hand, become the votes that are written beside them here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from ratings_simulation import write_study

from spokeneval.errors import ConfigError
from spokeneval.ratings.formats import FORMATS
from spokeneval.ratings.intake import Votes, read_votes
from spokeneval.ratings.study import FormatName, read_study

ONE = ("listener_id", "dimension", "system_id", "task", "item_id", "score")
CONSTANTS = {"dimension": "naturalness", "task": "speaker"}


def read(folder: Path, name: str, text: str, form: str, **changes: Any) -> Votes:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    study = {
        "test_id": "t",
        "format": form,
        "ratings": name,
        "simulated": True,
        "scale": {"low": 1, "high": 5},
        "constants": CONSTANTS,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study | changes), encoding="utf-8")
    return read_votes(read_study(folder / "study.yaml"))


def rows(found: Votes, *columns: str) -> list[tuple[Any, ...]]:
    return found.table.sort("file", "row", "dimension", "system_id").select(columns or ONE).rows()


def test_every_format_can_be_asked_for():
    assert {"table", *FORMATS} == set(get_args(FormatName))


def test_answers_of_our_page_are_one_file_a_rater(tmp_path):
    """Names come without a manifest here, so that the study takes them apart; the comment is kept as it is written."""
    header = "test_id,dimension,listener_id,blinded_name,score,seconds,plays,comment\n"
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers/ann.csv").write_text(
        "\ufeff" + header + 't,naturalness,ann,a_1,4,7.5,2,"<script>alert(1)</script>, ""so so"""\n', encoding="utf-8"
    )
    (tmp_path / "answers/README.md").write_text("no answers")
    (tmp_path / "answers/.bob.csv.part").write_text("half")
    names = {
        "column": "blinded_name",
        "pattern": r"(?P<s>\w)_(?P<i>\d)",
        "fields": {"system_id": "{s}", "item_id": "{i}"},
    }
    text = header + "t,speaker,bob,b_1,2,,1,\nt,naturalness,bob,a_1,3,6,1,\n"
    found = read(
        tmp_path, "answers/bob.csv", text, "spokeneval", ratings="answers", names=names, constants={"task": "x"}
    )
    assert rows(found, *ONE, "seconds", "file", "row", "comment") == [
        ("ann", "naturalness", "a", "x", "1", 4.0, 7.5, "ann.csv", 2, '<script>alert(1)</script>, "so so"'),
        ("bob", "speaker", "b", "x", "1", 2.0, None, "bob.csv", 2, None),
        ("bob", "naturalness", "a", "x", "1", 3.0, 6.0, "bob.csv", 3, None),
    ]


def test_answers_to_another_test_of_our_page_are_refused_by_row(tmp_path):
    header = "test_id,dimension,listener_id,blinded_name,score,seconds,plays,comment\n"
    names = {
        "column": "blinded_name",
        "pattern": r"(?P<s>\w)_(?P<i>\d)",
        "fields": {"system_id": "{s}", "item_id": "{i}"},
    }
    with pytest.raises(ConfigError, match=r"a\.csv, row 3: test_id is 'u'; this study is 't'"):
        read(
            tmp_path,
            "a.csv",
            header + "t,n,ann,a_1,4,7,1,\nu,n,ann,a_2,4,7,1,\n",
            "spokeneval",
            names=names,
            constants={"task": "x"},
        )


MUSHRA = """\
session_test_id,email,age,trial_id,rating_stimulus,rating_score,rating_time,rating_comment
mushra_test,a@b.c,30,item1,reference,100,12000,
mushra_test,a@b.c,30,item1,C1,60,12000,"noisy, <b>"
mushra_test,a@b.c,30,item1,anchor35,20,12000,
"""


def test_webmushra_mushra(tmp_path):
    found = read(
        tmp_path,
        "mushra.csv",
        MUSHRA,
        "webmushra",
        columns={"listener_id": "email"},
        scale={"low": 0, "high": 100},
        roles={"human": ["reference"], "anchor": ["anchor35"]},
    )
    assert rows(found, *ONE, "seconds", "role", "comment", "row") == [
        ("a@b.c", "naturalness", "reference", "speaker", "item1", 100.0, 12.0, "human", None, 2),
        ("a@b.c", "naturalness", "C1", "speaker", "item1", 60.0, 12.0, "system", "noisy, <b>", 3),
        ("a@b.c", "naturalness", "anchor35", "speaker", "item1", 20.0, 12.0, "anchor", None, 4),
    ]


def test_webmushra_single_stimulus_with_its_padded_ratings(tmp_path):
    header = "session_test_id,name,trial_id,stimuli_rating,stimuli,rating_time\n"
    text = header + 't,ann,trial1," 4 ",s_1,3100\nt,bob,trial1," 2 ",s_1,2000\n'
    names = {"column": "stimulus", "pattern": r"(?P<s>\w)_(?P<i>\d)", "fields": {"system_id": "{s}", "item_id": "{i}"}}
    found = read(tmp_path, "lss.csv", text, "webmushra", columns={"listener_id": "name"}, names=names)
    assert rows(found, *ONE, "seconds") == [
        ("ann", "naturalness", "s", "speaker", "1", 4.0, 3.1),
        ("bob", "naturalness", "s", "speaker", "1", 2.0, 2.0),
    ]


def test_webmushra_says_nothing_of_who_voted_but_in_a_field_of_its_form(tmp_path):
    with pytest.raises(ConfigError, match="listener_id: nothing says where it comes from; name its column"):
        read(tmp_path, "mushra.csv", MUSHRA, "webmushra")
    with pytest.raises(ConfigError, match=r"lacks the column 'mail', which webmushra names; did you mean 'email'"):
        read(
            tmp_path, "mushra.csv", MUSHRA, "webmushra", columns={"listener_id": "mail"}, scale={"low": 0, "high": 100}
        )
    with pytest.raises(ConfigError, match=r"not a file of webMUSHRA \(mushra.csv or lss.csv\): lacks stimuli, "):
        read(
            tmp_path,
            "paired_comparison.csv",
            "session_test_id,name,trial_id,choice_answer,rating_time\nt,a,b,c,1\n",
            "webmushra",
            columns={"listener_id": "name"},
        )


def test_beaqlejs(tmp_path):
    """The second trial was not shown; the last entry is the participant's."""
    entries = [
        {
            "TestID": "item1",
            "Runtime": 4200,
            "rating": {"A": 4, "B": 2},
            "filename": {"A": "audio/a_1.wav", "B": "audio/b_1.wav"},
        },
        {"TestID": "item2"},
        {"TestID": "item3", "Runtime": 1000, "rating": {"A": "5"}},
        {"UserName": "Ann", "UserEmail": "", "UserComment": "fine </script>"},
    ]
    found = read(tmp_path, "answers/2026_Ann.txt", json.dumps(entries), "beaqlejs", ratings="answers/*.txt")
    assert rows(found, *ONE, "seconds", "row", "file", "comment") == [
        ("2026_Ann", "naturalness", "A", "speaker", "item1", 4.0, 4.2, 1, "2026_Ann.txt", "fine </script>"),
        ("2026_Ann", "naturalness", "B", "speaker", "item1", 2.0, 4.2, 1, "2026_Ann.txt", "fine </script>"),
        ("2026_Ann", "naturalness", "A", "speaker", "item3", 5.0, 1.0, 3, "2026_Ann.txt", "fine </script>"),
    ]
    assert found.left_out == {"trials that were not shown": 1}
    by_name = read(tmp_path, "b.txt", json.dumps(entries), "beaqlejs", columns={"listener_id": "user_name"})
    assert set(by_name.table["listener_id"]) == {"Ann"}


def test_a_file_that_is_no_beaqlejs_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"b\.txt: cannot be read \(Expecting value"):
        read(tmp_path, "b.txt", "TestID", "beaqlejs")
    with pytest.raises(ConfigError, match="not a file of BeaqleJS with ratings"):
        read(tmp_path, "b.txt", "[true, false]", "beaqlejs")
    entries = json.dumps([{"TestID": "x", "Runtime": 1, "rating": {"A": None, "B": 9}}])
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, "b.txt", entries, "beaqlejs")
    assert [line.partition("b.txt, ")[2] for line in str(refused.value).splitlines()] == [
        "row 1: score is empty",
        "row 1: score is 9.0; expected 1, 2 ... 5",
    ]


def test_reseval(tmp_path):
    text = "Stem,Participant,OrderAsked,Response\nbase/utt1,p1,0,4\nours/sub/utt1,p1,1,5\nbase/utt1,p2,0,3\n"
    assert rows(read(tmp_path, "responses.csv", text, "reseval")) == [
        ("p1", "naturalness", "base", "speaker", "utt1", 4.0),
        ("p1", "naturalness", "ours", "speaker", "sub/utt1", 5.0),
        ("p2", "naturalness", "base", "speaker", "utt1", 3.0),
    ]
    with pytest.raises(ConfigError, match=r"responses\.csv, row 2: system_id is empty"):
        read(tmp_path, "responses.csv", "Stem,Participant,OrderAsked,Response\nutt1,p1,0,4\n", "reseval")


P808 = {"column": "file_url", "pattern": r"https://x/(?P<s>\w+)/(?P<i>\w+)\.wav"} | {
    "fields": {"system_id": "{s}", "item_id": "{i}"}
}


def test_p808_answers_of_a_batch(tmp_path):
    """The trap of a row and its gold clip are no votes, and a rejected assignment is not either."""
    text = (
        "HITId,AssignmentId,AssignmentStatus,WorkerId,Input.Q1,Input.TP,Input.gold_clip,"
        "Answer.q1,Answer.q1_url,Answer.q2,Answer.q2_url,Answer.q3,Answer.q3_url,Answer.t1\n"
        "h1,a1,Approved,W1,https://x/a/u1.wav,https://x/t.wav,https://x/g.wav,"
        "4,https://x/a/u1.wav,1,https://x/t.wav,5,https://x/g.wav,3\n"
        "h1,a2,Rejected,W2,https://x/a/u1.wav,https://x/t.wav,https://x/g.wav,"
        "1,https://x/a/u1.wav,1,https://x/t.wav,1,https://x/g.wav,3\n"
        "h2,a3,Submitted,W3,https://x/b/u1.wav,https://x/t.wav,,"
        "2,https://x/b/u1.wav,3,https://x/a/u1.wav,2,https://x/t.wav,3\n"
    )
    found = read(tmp_path, "batch.csv", text, "p808_answers", names=P808)
    assert rows(found, *ONE, "row") == [
        ("W1", "naturalness", "a", "speaker", "u1", 4.0, 2),
        ("W3", "naturalness", "a", "speaker", "u1", 3.0, 4),
        ("W3", "naturalness", "b", "speaker", "u1", 2.0, 4),
    ]
    assert found.left_out == {"answers of rejected assignments": 3, "answers on control clips": 3}


def test_p808_answers_of_p835_have_three_dimensions(tmp_path):
    text = "WorkerId,Answer.q1_url,Answer.q1_sig,Answer.q1_bak,Answer.q1_ovrl\nW1,https://x/a/u1.wav,4,2,3\n"
    found = read(tmp_path, "batch.csv", text, "p808_answers", names=P808, constants={"task": "x"})
    assert rows(found) == [
        ("W1", "bak", "a", "x", "u1", 2.0),
        ("W1", "ovrl", "a", "x", "u1", 3.0),
        ("W1", "sig", "a", "x", "u1", 4.0),
    ]
    with pytest.raises(ConfigError, match=r"not a file of P\.808"):
        read(tmp_path, "batch.csv", "WorkerId,Answer.q1\nW1,3\n", "p808_answers", names=P808)


def test_p808_votes_per_worker(tmp_path):
    text = (
        "HITId,workerid,assignment_id,assignmentstatus,file,short_file_name,vote,question_type,model\n"
        "h,W1,a1,Approved,https://x/a/u1.wav,u1.wav,4,MOS,a\nh,W2,a2,Approved,https://x/a/u1.wav,u1.wav,5,MOS,a\n"
    )
    found = read(tmp_path, "votes.csv", text, "p808_workers", names=P808, constants={"task": "x"})
    assert rows(found) == [("W1", "MOS", "a", "x", "u1", 4.0), ("W2", "MOS", "a", "x", "u1", 5.0)]


CLIPS = (
    "file_url,n,MOS,std,95%CI,short_file_name,model,vote_1,vote_2,vote_3\n"
    "https://x/a/u1.wav,3,4,1,1,u1.wav,a,4,5,3\nhttps://x/b/u1.wav,1,2,,,u1.wav,b,2,,\n"
)


def test_p808_votes_per_clip_are_votes_of_nobody(tmp_path):
    found = read(tmp_path, "votes.csv", CLIPS, "p808_clips", names=P808)
    assert rows(found) == [
        ("vote_1", "naturalness", "a", "speaker", "u1", 4.0),
        ("vote_2", "naturalness", "a", "speaker", "u1", 5.0),
        ("vote_3", "naturalness", "a", "speaker", "u1", 3.0),
        ("vote_1", "naturalness", "b", "speaker", "u1", 2.0),
    ]
    with pytest.raises(ConfigError, match="too_few_votes: judges listeners, and these votes do not say who gave them"):
        read(tmp_path, "votes.csv", CLIPS, "p808_clips", names=P808, screening={"too_few_votes": {"min_votes": 2}})


def test_sheet(tmp_path):
    newer = (
        "wav_path,system_id,reference_id,score,listener_id,dimension\n/x/novel_1_015.wav,015,novel_1,4,L1,mos_overall\n"
    )
    found = read(tmp_path, "train.csv", newer, "sheet", constants={"task": "x"})
    assert rows(found) == [("L1", "mos_overall", "015", "x", "novel_1", 4.0)]
    older = "wav_path,system_id,sample_id,score,listener_name\n/x.wav,sysA,sysA-utt1,4,L1\n/y.wav,sysB,sysB-utt1,2,L1\n"
    assert rows(read(tmp_path, "train.csv", older, "sheet")) == [
        ("L1", "naturalness", "sysA", "speaker", "utt1", 4.0),
        ("L1", "naturalness", "sysB", "speaker", "utt1", 2.0),
    ]
    means = "wav_path,system_id,sample_id,avg_score\n/x.wav,sysA,sysA-utt1,4.125\n"
    assert rows(read(tmp_path, "dev.csv", means, "sheet", means_only=True)) == [
        (None, "naturalness", "sysA", "speaker", "utt1", 4.125)
    ]
    with pytest.raises(ConfigError, match=r"lacks the column 'listener', .* say `means_only: true`"):
        read(tmp_path, "dev.csv", means, "sheet")


def test_somos(tmp_path):
    header = "systemId,utteranceId,choice,listenerId\n"
    text = header + "015,novel_2007_0098_015.wav,4,KEXM\n066,novel_2007_0098_066.wav,2,KEXM\n"
    found = read(tmp_path, "somos.csv", text, "somos")
    assert rows(found, *ONE, "blinded_name") == [
        ("KEXM", "naturalness", "015", "speaker", "novel_2007_0098", 4.0, "novel_2007_0098_015.wav"),
        ("KEXM", "naturalness", "066", "speaker", "novel_2007_0098", 2.0, "novel_2007_0098_066.wav"),
    ]
    with pytest.raises(ConfigError, match="row 2: item_id is empty"):
        read(tmp_path, "somos.csv", header + "015,novel_1_016.wav,4,K\n", "somos")


def test_vmc24_begins_with_a_byte_order_mark_and_has_three_scores_a_row(tmp_path):
    text = "\ufeffsample_id,sig,bak,ovr,listener\nA-u1,4,5,3,L1\nA-u1,2,,1,L2\n"
    names = {
        "column": "sample_id",
        "pattern": r"(?P<s>\w+)-(?P<i>\w+)",
        "fields": {"system_id": "{s}", "item_id": "{i}"},
    }
    found = read(tmp_path, "track3.csv", text, "vmc24", names=names, constants={"task": "denoising"})
    assert rows(found) == [
        ("L1", "bak", "A", "denoising", "u1", 5.0),
        ("L1", "ovr", "A", "denoising", "u1", 3.0),
        ("L1", "sig", "A", "denoising", "u1", 4.0),
        ("L2", "ovr", "A", "denoising", "u1", 1.0),
        ("L2", "sig", "A", "denoising", "u1", 2.0),
    ]
    assert found.left_out == {"empty cells of scores": 1}


def test_any_table_may_be_wide(tmp_path):
    votes = "system,item,listener,nat,spk\na,1,v,4,2\na,2,v,,5\n"
    columns = {"system_id": "system", "item_id": "item", "listener_id": "listener"}
    path = write_study(
        tmp_path,
        votes,
        columns=columns,
        wide={"naturalness": "nat", "same speaker": "spk"},
        constants={"task": "x"},
    )
    found = read_votes(read_study(path))
    assert rows(found, "dimension", "item_id", "score", "row") == [
        ("naturalness", "1", 4.0, 2),
        ("same speaker", "1", 2.0, 2),
        ("same speaker", "2", 5.0, 3),
    ]
    twice = {"columns": {**columns, "score": "nat"}, "wide": {"x": "spk"}, "constants": {"task": "x"}}
    with pytest.raises(ConfigError, match="score: is given more than once among columns, constants, names and wide"):
        read_study(write_study(tmp_path, votes, **twice))
