"""The kind `zerospeech`: sWUGGY and sBLIMP from gold.csv, from the hub's copies, from numbered files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from benchmark_layouts import audio, noise, write_parquet, write_wav, write_with_datasets

from spokeneval.config.blocks.datasets import ZeroSpeechBlock
from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.datasets.gold import frequency_band
from spokeneval.datasets.zerospeech import ZeroSpeech
from spokeneval.errors import ConfigError

LEXICAL = "filename,id,voice,frequency,word,phones,length,correct"
SYNTACTIC = "filename,id,voice,type,subtype,transcription,correct"

WORDS = [
    ["aAx", "1", "A", "7", "brick", "B R IH K", "4", "1"],
    ["bBx", "1", "A", "", "blick", "B L IH K", "4", "0"],
    ["cCx", "2", "A", "", "florp", "F L AO P", "4", "0"],
    ["dDx", "2", "A", "0", "flop", "F L AA P", "4", "1"],
    ["eEx", "1", "B", "7", "brick", "B R IH K", "4", "1"],
    ["fFx", "1", "B", "", "blick", "B L IH K", "4", "0"],
]
SENTENCES = [
    ["s1", "1", "A", "agreement", "noun", "dogs eat meat", "1"],
    ["s2", "1", "A", "agreement", "noun", "dogs eats meat", "0"],
    ["s3", "1", "A", "island", "wh", "what does it eat", "1"],
    ["s4", "1", "A", "island", "wh", "what it does eat", "0"],
    ["s5", "1", "B", "island", "wh", "what does it eat", "1"],
    ["s6", "1", "B", "island", "wh", "what it does eat", "0"],
]


def archive(folder: Path, rows: list[list[str]] = WORDS, header: str = LEXICAL, wavs: str = "") -> Path:
    """A part of the archive: gold.csv, and each recording in the subfolder `wavs`."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "gold.csv", "w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    for number, row in enumerate(rows):
        write_wav(folder / wavs / f"{row[0]}.wav", noise(800 + number, number))
    return folder


def items(path: Path, part: str = "lexical", **options: Any) -> list[Item]:
    return list(ZeroSpeech(path, part, **options).items())


class TestGold:
    def test_a_pair_is_one_id_and_voice_with_one_correct_and_one_incorrect_row(self, tmp_path: Path) -> None:
        found = items(archive(tmp_path))
        assert [i.reason for i in found] == [None] * 3
        assert [(i.sources["positive"], i.sources["negative"]) for i in found] == [
            ("aAx", "bBx"), ("dDx", "cCx"), ("eEx", "fFx")]  # fmt: skip
        assert [(i.item_id, i.task, i.index, i.cluster, i.fold, i.transition) for i in found] == [
            ("sWUGGY-0000", "sWUGGY", 0, "1", "a", None),
            ("sWUGGY-0001", "sWUGGY", 1, "2", "b", None),
            ("sWUGGY-0002", "sWUGGY", 2, "1", "a", None),
        ]
        assert found[1].labels == {"ids": "gold.csv", "voice": "A", "frequency": "oov", "n_phones": "4"}
        assert found[0].labels["frequency"] == "6-20"
        assert found[1].sources["text_negative"] == "florp"
        np.testing.assert_array_equal(found[1].positive, noise(803, 3))

    def test_the_mean_over_clusters_of_the_mean_within_is_the_official_score(self, tmp_path: Path) -> None:
        _, pairs = clips_and_pairs(ZeroSpeech(archive(tmp_path), "lexical").items())
        verdicts = pl.DataFrame({"cluster": pairs["cluster"].to_pylist(), "verdict": [1.0, 0.0, 0.5]})
        by_id = verdicts.group_by("cluster").agg(pl.col("verdict").mean())
        assert by_id["verdict"].mean() == pytest.approx((0.75 + 0.0) / 2)  # over all pairs it would be 0.5

    @pytest.mark.parametrize("where", ["", "lexical", "dev", "lexical/dev", "lexical/test"])
    def test_the_table_is_found_in_the_archive_or_its_folders(self, tmp_path: Path, where: str) -> None:
        archive(tmp_path / where)
        assert len(items(tmp_path)) == 3

    def test_recordings_may_lie_in_a_subfolder(self, tmp_path: Path) -> None:
        assert [i.reason for i in items(archive(tmp_path, wavs="dev/wav"))] == [None] * 3

    def test_names_with_their_suffix_are_the_same_names(self, tmp_path: Path) -> None:
        archive(tmp_path)
        table = tmp_path / "gold.csv"
        table.write_text(table.read_text().replace("aAx,", "aAx.wav,"))
        assert items(tmp_path)[0].reason is None

    def test_syntactic_ids_are_counted_within_type_and_subtype(self, tmp_path: Path) -> None:
        found = items(archive(tmp_path, SENTENCES, SYNTACTIC), "syntactic")
        assert [i.cluster for i in found] == ["agreement/noun/1", "island/wh/1", "island/wh/1"]
        assert [i.fold for i in found] == ["a", "b", "b"]
        assert [i.task for i in found] == ["sBLIMP"] * 3
        assert found[2].labels == {"ids": "gold.csv", "voice": "B", "type": "island", "subtype": "wh"}

    @pytest.mark.parametrize(
        ("frequency", "band"),
        [("0", "oov"), ("1", "1-5"), ("4", "1-5"), ("5", "6-20"), ("19", "6-20"), ("20", "21-100"), ("99", "21-100"),
         ("100", ">100"), ("3e4", ">100"), ("7.0", "6-20"), (None, "unknown")],
    )  # fmt: skip
    def test_frequency_bands_are_the_toolkits_with_their_lower_edge_inside(
        self, frequency: str | None, band: str
    ) -> None:
        assert frequency_band(frequency) == band

    def test_a_limited_run_gives_the_first_items(self, tmp_path: Path) -> None:
        archive(tmp_path)
        full, part = items(tmp_path), items(tmp_path, limit=2)
        assert [(i.item_id, i.cluster, i.fold) for i in part] == [(i.item_id, i.cluster, i.fold) for i in full[:2]]

    def test_items_become_clips_and_pairs(self, tmp_path: Path) -> None:
        clips, pairs = clips_and_pairs(ZeroSpeech(archive(tmp_path), "lexical").items())
        assert len(clips) == 6
        assert pairs["prompt"].to_pylist() == [None] * 3
        assert json.loads(pairs["labels"][0].as_py())["voice"] == "A"


class TestFailedItems:
    @pytest.mark.parametrize(
        ("break_it", "reason"),
        [
            (lambda p: p.unlink(), "cCx.wav: no such audio file"),
            (lambda p: p.write_bytes(b""), r"cCx.wav: the file is empty \(0 bytes\)"),
            (lambda p: write_wav(p, noise(800, 9), 8000), "dDx.wav has 16000 Hz, cCx.wav 8000 Hz"),
        ],
    )
    def test_a_recording_that_cannot_be_used_fails_its_item_alone(
        self, tmp_path: Path, break_it: Any, reason: str
    ) -> None:
        break_it(archive(tmp_path) / "cCx.wav")
        _, pairs = clips_and_pairs(ZeroSpeech(tmp_path, "lexical").items())
        assert pairs["status"].to_pylist() == ["ok", "failed", "ok"]
        assert re.search(reason, pairs["reason"][1].as_py()), pairs["reason"][1]

    def test_equal_members_stand_as_the_benchmarks_own_scoring_counts_them(self, tmp_path: Path) -> None:
        write_wav(archive(tmp_path) / "cCx.wav", noise(803, 3))
        _, pairs = clips_and_pairs(ZeroSpeech(tmp_path, "lexical").items())
        assert pairs["status"].to_pylist() == ["ok", "ok", "ok"]
        assert pairs["positive"][1] == pairs["negative"][1]
        assert [json.loads(labels.as_py()).get("members") for labels in pairs["labels"]] == [None, "equal", None]


class TestGoldRefused:
    def refused(self, folder: Path, rows: list[list[str]], message: str, header: str = LEXICAL) -> None:
        folder.mkdir(exist_ok=True)
        with open(folder / "gold.csv", "w", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])
        with pytest.raises(ConfigError, match=message):
            ZeroSpeech(folder, "lexical")

    @pytest.mark.parametrize(
        ("row", "column", "value", "message"),
        [
            (1, 7, "1", "id 1, voice A: expected one correct and one incorrect row, found row 2: correct is 1, row 3"),
            (0, 1, "9", "id 9, voice A: .* found row 2: correct is 1; id 1, voice A: .* found row 3: correct is 0"),
            (5, 2, "A", "id 1, voice A: .* row 2: correct is 1, row 3: correct is 0, row 7: correct is 0"),
            (2, 7, "no", "row 4: correct is 'no', expected 1 or 0"),
            (2, 2, "", "row 4: voice is empty"),
            (2, 3, "often", "row 4: frequency is 'often'"),
            (2, 0, "aAx", "filename 'aAx' is there 2 times"),
            (2, 0, "../aAx", "row 4: filename is '../aAx', expected a name without folders"),
        ],
    )
    def test_a_row_that_is_in_no_pair(self, tmp_path: Path, row: int, column: int, value: str, message: str) -> None:
        rows = [list(r) for r in WORDS]
        rows[row][column] = value
        self.refused(tmp_path, rows, message)

    def test_the_table_of_the_other_part(self, tmp_path: Path) -> None:
        self.refused(tmp_path, SENTENCES, r"gold.csv: lacks the column\(s\) frequency; it has filename", SYNTACTIC)

    def test_a_table_without_rows(self, tmp_path: Path) -> None:
        self.refused(tmp_path, [], "gold.csv: has no rows")

    def test_two_tables(self, tmp_path: Path) -> None:
        archive(tmp_path / "lexical/dev")
        archive(tmp_path / "lexical/test")
        with pytest.raises(ConfigError, match=r"holds lexical/dev/gold.csv, lexical/test/gold.csv; give the folder"):
            ZeroSpeech(tmp_path, "lexical")

    def test_a_recording_that_lies_in_two_places(self, tmp_path: Path) -> None:
        archive(tmp_path)
        write_wav(tmp_path / "old/aAx.wav", noise(100, 0))
        with pytest.raises(ConfigError, match=r"aAx.wav: there in several subfolders"):
            ZeroSpeech(tmp_path, "lexical")


class TestWithoutIds:
    def test_each_row_of_the_hubs_copy_is_an_item_of_its_own(self, tmp_path: Path) -> None:
        rows = [{"positive": audio(noise(500, n), f"{n}.wav"), "negative": audio(noise(510, n + 50))} for n in range(5)]
        write_with_datasets(tmp_path / "data/train-00000-of-00002.parquet", rows[:3], ("positive", "negative"))
        write_with_datasets(tmp_path / "data/train-00001-of-00002.parquet", rows[3:], ("positive", "negative"))
        (tmp_path / "README.md").write_text("card")
        found = items(tmp_path)
        assert [i.item_id for i in found] == [f"sWUGGY-000{n}" for n in range(5)]
        assert [i.cluster for i in found] == [i.item_id for i in found]
        assert [i.fold for i in found] == ["a", "b", "a", "b", "a"]
        assert {i.labels["ids"] for i in found} == {"none"}
        assert found[3].sources["positive"] == "data/train-00001-of-00002.parquet, row 0, positive (3.wav)"
        np.testing.assert_array_equal(found[4].positive, noise(500, 4))
        assert len(items(tmp_path, limit=4)) == 4

    @pytest.mark.parametrize(("part", "separator"), [("lexical", "_"), ("syntactic", "+")])
    def test_numbered_files_are_taken_by_twos(self, tmp_path: Path, part: str, separator: str) -> None:
        for number in (0, 1, 2, 3, 10, 11):
            write_wav(tmp_path / f"{number}{separator}clip.wav", noise(500, number))
        found = items(tmp_path, part)
        assert [i.sources["negative"] for i in found] == [f"{n}{separator}clip.wav" for n in (1, 3, 11)]
        np.testing.assert_array_equal(found[2].positive, noise(500, 10))

    def test_an_empty_folder_names_all_layouts(self, tmp_path: Path) -> None:
        with pytest.raises(
            ConfigError, match=r"neither parquet .*<number>_<anything>\.wav.* nor gold\.csv in it, in lex"
        ):
            ZeroSpeech(tmp_path, "lexical")
        with pytest.raises(ConfigError, match="gone: no such folder"):
            ZeroSpeech(tmp_path / "gone", "lexical")

    def test_a_part_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="expected lexical or syntactic, found 'semantic'"):
            ZeroSpeech(tmp_path, "semantic")


def test_the_block_describes_what_the_class_takes(tmp_path: Path) -> None:
    block = ZeroSpeechBlock(kind="zerospeech", path=str(tmp_path), part="lexical", limit=1)
    write_parquet(tmp_path / "train.parquet", [{"positive": audio(noise(9, 0)), "negative": audio(noise(9, 1))}])
    options = {name: getattr(block, name) for name in ("path", "part", "limit")}
    assert len(list(ZeroSpeech(**options).items())) == 1
