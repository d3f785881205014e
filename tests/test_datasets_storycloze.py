"""The kind `storycloze`, and what it shares with others: pairs without ids, in parquet or numbered files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_layouts import audio, noise, write_parquet, write_wav, write_with_datasets

from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.datasets.storycloze import StoryCloze
from spokeneval.errors import ConfigError


def rows(n_rows: int) -> list[dict[str, Any]]:
    return [{"positive": audio(noise(500, n)), "negative": audio(noise(510, n + 50))} for n in range(n_rows)]


def items(folder: Path, **options: int) -> list[Item]:
    return list(StoryCloze(folder, "tStoryCloze", **options).items())


def stories(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        write_wav(folder / name, noise(500, seed))
    return folder


def test_stories_share_no_prompt(tmp_path: Path) -> None:
    write_with_datasets(tmp_path / "data/train-00000-of-00001.parquet", rows(3), ("positive", "negative"))
    dataset = StoryCloze(tmp_path, "tStoryCloze")
    assert dataset.tasks == ("tStoryCloze",)
    clips, pairs = clips_and_pairs(dataset.items())
    assert len(clips) == 6
    assert pairs["item_id"].to_pylist() == ["tStoryCloze-0000", "tStoryCloze-0001", "tStoryCloze-0002"]
    assert pairs["cluster"].to_pylist() == pairs["item_id"].to_pylist()
    assert pairs["transition"].to_pylist() == [None] * 3
    assert pairs["status"].to_pylist() == ["ok"] * 3


class TestParquet:
    def test_a_limited_run_gives_the_first_items(self, tmp_path: Path) -> None:
        for shard in range(3):
            write_parquet(tmp_path / f"train-0000{shard}-of-00003.parquet", rows(6)[2 * shard : 2 * shard + 2])
        full = items(tmp_path)
        for limit in (1, 2, 3, 6, 9):
            part = items(tmp_path, limit=limit)
            assert [i.item_id for i in part] == [i.item_id for i in full[:limit]]
            np.testing.assert_array_equal(part[-1].positive, full[min(limit, 6) - 1].positive)

    def test_of_several_splits_train_is_read(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "data/train-00000-of-00001.parquet", rows(2))
        write_parquet(tmp_path / "data/test-00000-of-00001.parquet", rows(5))
        assert len(items(tmp_path)) == 2
        (tmp_path / "data/train-00000-of-00001.parquet").rename(tmp_path / "data/validation-00000-of-00001.parquet")
        with pytest.raises(ConfigError, match="holds the splits test, validation; expected 'train', or one split only"):
            items(tmp_path)
        (tmp_path / "data/validation-00000-of-00001.parquet").unlink()
        assert len(items(tmp_path)) == 5

    def test_several_configs_are_refused(self, tmp_path: Path) -> None:
        for config in ("sStoryCloze", "tStoryCloze"):
            write_parquet(tmp_path / config / "train-00000-of-00001.parquet", rows(1))
        with pytest.raises(ConfigError, match="holds the configs sStoryCloze, tStoryCloze; give the folder of one"):
            items(tmp_path)
        assert len(items(tmp_path / "tStoryCloze")) == 1

    def test_hidden_files_are_left_out(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", rows(1))
        write_parquet(tmp_path / ".cache/train.parquet", rows(1))
        assert len(items(tmp_path)) == 1

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ({"bytes": b"no audio", "path": None}, "row 1, negative: cannot be read as audio"),
            ({"bytes": b"", "path": None}, "row 1, negative: holds no audio"),
            (None, "row 1, negative: holds no audio"),
            (audio(noise(500, 1), rate=8000), "has 16000 Hz, .* 8000 Hz; expected one rate"),
        ],
    )
    def test_an_item_that_cannot_be_used_fails_alone(self, tmp_path: Path, value: Any, reason: str) -> None:
        table = rows(3)
        table[1]["negative"] = value
        write_parquet(tmp_path / "train.parquet", table)
        found = items(tmp_path)
        assert [i.reason is None for i in found] == [True, False, True]
        assert re.search(reason, str(found[1].reason)), found[1].reason

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ([{"positive": audio(noise(9, 0))}], r"train.parquet: lacks the column\(s\) negative; it has positive"),
            (
                [{"positive": "a", "negative": "b"}],
                "column 'positive' is string; expected audio as struct<bytes, path>",
            ),
        ],
    )
    def test_a_table_without_the_columns_is_refused(
        self, tmp_path: Path, table: list[dict[str, Any]], message: str
    ) -> None:
        write_parquet(tmp_path / "train.parquet", table)
        with pytest.raises(ConfigError, match=message):
            items(tmp_path)


class TestNumberedFiles:
    def test_numbers_are_sorted_as_numbers(self, tmp_path: Path) -> None:
        stories(tmp_path, "10_x.wav", "9_y.wav", "2_z.wav", "1_w.wav", "._1_w.wav")
        assert [(i.sources["positive"], i.sources["negative"]) for i in items(tmp_path)] == [
            ("1_w.wav", "2_z.wav"), ("9_y.wav", "10_x.wav")]  # fmt: skip

    def test_two_files_of_one_number_are_told_by_their_names_and_not_by_their_order(self, tmp_path: Path) -> None:
        stories(tmp_path, "0_correct.wav", "0_incorrect.wav", "1_neg.wav", "1_pos.wav")
        assert [i.sources["positive"] for i in items(tmp_path)] == ["0_correct.wav", "1_pos.wav"]

    def test_subfolders_are_sequences_of_their_own(self, tmp_path: Path) -> None:
        stories(tmp_path, "b/0_x.wav", "b/1_x.wav", "a/0_x.wav", "a/1_x.wav")
        found = items(tmp_path)
        assert [(i.labels["folder"], i.sources["positive"]) for i in found] == [("a", "a/0_x.wav"), ("b", "b/0_x.wav")]

    def test_a_damaged_file_fails_its_item_alone(self, tmp_path: Path) -> None:
        stories(tmp_path, "0_x.wav", "1_x.wav", "2_x.wav", "3_x.wav")
        (tmp_path / "1_x.wav").write_text("no audio")
        assert [i.reason is None for i in items(tmp_path)] == [False, True]

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("0_a.wav", "1_a.wav", "2_a.wav"), "2_a.wav has no partner with the number 3"),
            (("0_a.wav", "1_a.wav", "3_a.wav", "4_a.wav"), "3_a.wav has no partner with the number 2"),
            (("0_a.wav", "2_a.wav", "3_a.wav"), "0_a.wav has no partner with the number 1"),
            (("0_a.wav", "0_b.wav"), "have one number, and their names do not say which is right; number the files"),
            (("0_pos.wav", "0_neg.wav", "0_b.wav"), "3 .*number 0 .*expected two of each number, or one of each"),
            (("0_pos.wav", "0_neg.wav", "1_pos.wav"), r"1 file\(s\) with the number 1 \(1_pos.wav\)"),
            (("0_a.wav", "b_0.wav"), r"b_0.wav: expected names of the form <number>_<anything>.wav"),
            (("0+a.wav", "1+a.wav"), "expected names of the form <number>_"),
            (("0_a.wav", "1_a.wav", "x/0_a.wav"), r"WAV files and subfolders with WAV files \(x\)"),
        ],
    )
    def test_files_that_do_not_say_their_item_are_refused(
        self, tmp_path: Path, names: tuple[str, ...], message: str
    ) -> None:
        stories(tmp_path, *names)
        with pytest.raises(ConfigError, match=message):
            items(tmp_path)

    def test_an_empty_folder_says_what_is_expected(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"holds neither parquet files .* nor WAV files named <number>_"):
            items(tmp_path)
        with pytest.raises(ConfigError, match="gone: no such folder"):
            items(tmp_path / "gone")
