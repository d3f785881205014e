"""The kind `pairs`: any table of pairs of audio files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from datasets_corpus import RATE

from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.datasets.pairs import Pairs
from spokeneval.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    prefix, one, two = (0.1 * rng.standard_normal(RATE) for _ in range(3))
    sf.write(tmp_path / "pos.wav", np.r_[prefix, one], RATE)
    sf.write(tmp_path / "neg.wav", np.r_[prefix, two[: RATE // 2]], RATE)
    sf.write(tmp_path / "other.wav", np.r_[two, one], RATE)
    sf.write(tmp_path / "rate.wav", np.r_[prefix, two], 2 * RATE)
    sf.write(tmp_path / "stereo.wav", np.stack([np.r_[prefix, one], np.r_[prefix, two]], axis=1), RATE)
    sf.write(tmp_path / "loud.wav", 3 * np.r_[prefix, one] / np.abs(one).max(), RATE, subtype="FLOAT")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "folder.wav").mkdir()
    sf.write(tmp_path / "nan.wav", np.r_[prefix, np.nan, one], RATE, subtype="FLOAT")
    sf.write(tmp_path / "nothing.wav", np.zeros(0), RATE)
    return tmp_path


def items(folder: Path, table: str, **options: int) -> list[Item]:
    (folder / "t.csv").write_text(table)
    return list(Pairs(folder / "t.csv", **options).items())


def test_a_pair_is_read_at_its_own_rate(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative,transition_s,accent\nspeaker,pos.wav,neg.wav,1.0,scots\n")
    assert item.reason is None
    assert (item.item_id, item.task, item.index, item.transition, item.sample_rate) == (
        "speaker-0000", "speaker", 0, RATE, RATE)  # fmt: skip
    np.testing.assert_array_equal(item.positive, sf.read(folder / "pos.wav", dtype="int16")[0])
    assert len(item.negative) == 1.5 * RATE
    assert item.labels == {"accent": "scots", "prefix": "equal"}
    clips, pairs = clips_and_pairs(iter([item]))
    assert len(clips) == 5
    assert json.loads(pairs["sources"][0].as_py()) == {"positive": "pos.wav", "negative": "neg.wav"}


def test_the_transition_is_rounded_to_the_nearest_sample(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative,transition_s\nt,pos.wav,neg.wav,0.50009\n")
    assert item.transition == 4001  # 4000.72


def test_no_transition_no_prompt(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative\nalignment,pos.wav,other.wav\n")
    assert item.transition is None
    assert item.labels == {"prefix": "none"}


def test_prefixes_that_differ_are_noted(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative,transition_s\nroom,pos.wav,other.wav,1\n")
    assert item.reason is None
    assert item.labels["prefix"] == "differs"


def test_channels_are_averaged_and_noted(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative,transition_s\nt,pos.wav,stereo.wav,1\n")
    assert item.note == "2 channels averaged"
    assert item.subtype == "PCM_24"
    assert item.labels["prefix"] == "equal"


def test_a_loud_pair_is_scaled_by_one_gain(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative,transition_s\nt,loud.wav,pos.wav,1\n")
    assert item.reason is None
    assert item.gain < 1
    quiet = sf.read(folder / "pos.wav")[0]
    np.testing.assert_allclose(item.negative / 2**23, item.gain * quiet, atol=1e-6)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("gone.wav,neg.wav,1", "gone.wav: no such audio file"),
        ("pos.wav,empty.wav,1", r"empty.wav: the file is empty \(0 bytes\)"),
        ("pos.wav,rate.wav,1", "pos.wav has 8000 Hz, rate.wav 16000 Hz; expected one rate"),
        ("pos.wav,neg.wav,1.5", "transition_s is 1.5 s; expected a time inside both clips, .* 1.500 s"),
        ("pos.wav,neg.wav,-1", "transition_s is -1 s"),
        ("pos.wav,neg.wav,nan", "transition_s is nan s"),
        ("pos.wav,neg.wav,soon", "transition_s is 'soon'; expected seconds"),
        ("pos.wav,pos.wav,1", "hold the same samples"),
        ("pos.wav,text.wav,1", "text.wav: cannot be read as audio"),
        ("folder.wav,neg.wav,1", "folder.wav: no such audio file"),
        ("nan.wav,neg.wav,1", "nan.wav: holds 1 NaN or infinite samples"),
        ("pos.wav,nothing.wav,1", "nothing.wav: holds no samples"),
        ("pos.wav,neg.wav,0", "transition_s is 0 s; expected a time inside both clips"),
        ("pos.wav,,1", "'negative' is empty"),
        ("pos.wav,../neg.wav,1", "not a path inside the table's folder"),
    ],
)
def test_an_item_that_cannot_be_used_fails_alone(folder: Path, row: str, reason: str) -> None:
    found = items(folder, f"task,positive,negative,transition_s\nt,{row}\nt,pos.wav,neg.wav,1\n")
    assert [item.reason is None for item in found] == [False, True]
    assert re.search(reason, str(found[0].reason)), found[0].reason
    _, pairs = clips_and_pairs(iter(found))
    assert pairs["status"].to_pylist() == ["failed", "ok"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("task,positive\nt,pos.wav\n", r"lacks the column\(s\) negative"),
        ("task,positive,negative\n,pos.wav,neg.wav\n", "row 2: task is empty"),
        ("task,positive,negative,fold\nt,pos.wav,neg.wav,c\n", "row 2: fold is 'c', expected 'a' or 'b'"),
        ("task,positive,negative,item_id\nt,pos.wav,neg.wav,x\nt,pos.wav,neg.wav,x\n", "item_id 'x' is there 2 times"),
        ("task,positive,negative,item_id\nt,pos.wav,neg.wav,t-0001\nt,pos.wav,neg.wav,\n", "give all or none"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(folder: Path, table: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        items(folder, table)


def test_a_parquet_table_with_numbers_is_read_as_a_csv_is(folder: Path) -> None:
    frame = pl.DataFrame({"task": ["t", "t"], "positive": "pos.wav", "negative": ["neg.wav", "other.wav"],
                          "transition_s": [1.0, None], "snr_db": [5, 10]})  # fmt: skip
    frame.write_parquet(folder / "t.parquet")
    found = list(Pairs(folder / "t.parquet").items())
    assert [item.transition for item in found] == [RATE, None]
    assert [item.labels["snr_db"] for item in found] == ["5", "10"]


def test_a_table_that_is_not_there_or_is_none_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.csv: no such table; expected a CSV or parquet file with task"):
        Pairs(folder / "gone.csv")
    (folder / "t.parquet").write_text("no parquet")
    with pytest.raises(ConfigError, match=r"t\.parquet: cannot be read as a table"):
        Pairs(folder / "t.parquet")


def test_items_that_share_a_file_or_a_cluster_are_in_one_fold(folder: Path) -> None:
    found = items(
        folder,
        "task,positive,negative,cluster\n"
        "t,a.wav,b.wav,one\nt,c.wav,d.wav,two\nt,e.wav,b.wav,three\nt,f.wav,g.wav,two\nt,h.wav,i.wav,\n",
    )
    assert [item.fold for item in found] == ["a", "b", "a", "b", "a"]
    assert [item.cluster for item in found] == ["one", "two", "three", "two", "group-0002"]


def test_folds_clusters_and_ids_of_the_table_are_kept(folder: Path) -> None:
    (item,) = items(folder, "task,positive,negative,item_id,cluster,fold\nt,pos.wav,neg.wav,x7,anna,b\n")
    assert (item.item_id, item.cluster, item.fold) == ("x7", "anna", "b")


def test_a_limited_run_gives_the_first_items_of_each_task(folder: Path) -> None:
    table = "task,positive,negative\n" + "".join(f"{t},{n}.wav,pos.wav\n" for n in range(5) for t in "ts")
    full, part = items(folder, table), items(folder, table, limit=2)
    assert [item.task for item in full] == ["t"] * 5 + ["s"] * 5
    assert part == [item for item in full if item.index < 2]
