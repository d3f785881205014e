"""The kind `salmon`: what fails alone, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_layouts import audio, noise, write_parquet, write_wav
from salmon_benchmark import CUTS, members, row, write_folders

from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.datasets.salmon import Salmon
from spokeneval.errors import ConfigError


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "salmon_benchmark")


def items(path: Path, *tasks: str, limit: int | None = None) -> list[Item]:
    return list(Salmon(path, tasks or None, limit).items())


class TestFailedItems:
    def reasons(self, folder: Path, task: str = "speaker_consistency") -> list[str | None]:
        _, pairs = clips_and_pairs(Salmon(folder, (task,)).items())
        assert len(pairs) == 3
        return pairs["reason"].to_pylist()

    def check(self, folder: Path, reason: str, task: str = "speaker_consistency") -> None:
        """Item 3 fails for that reason, and no other does."""
        first, second, third = self.reasons(folder, task)
        assert (first, third) == (None, None)
        assert re.search(reason, str(second)), second

    def test_a_missing_member(self, folders: Path) -> None:
        (folders / "speaker_consistency/sample_3_1.wav").unlink()
        self.check(folders, r"speaker_consistency/sample_3_1.wav: no such audio file")

    def test_a_member_that_is_no_audio(self, folders: Path) -> None:
        (folders / "speaker_consistency/sample_3_0.wav").write_text("not audio")
        self.check(folders, "sample_3_0.wav: cannot be read as audio")

    @pytest.mark.parametrize("task", ["speaker_consistency", "rir_consistency", "sentiment_alignment"])
    def test_equal_members_stand_as_salmon_counts_them(self, folders: Path, task: str) -> None:
        write_wav(folders / task / "sample_3_1.wav", members(task, 3)[0])
        assert self.reasons(folders, task) == [None, None, None]
        found = items(folders, task)[1]
        assert found.labels["members"] == "equal"
        assert np.array_equal(found.positive, found.negative)

    @pytest.mark.parametrize(
        ("task", "negative"),
        [
            ("speaker_consistency", -members("speaker_consistency", 3)[0]),  # from the first sample on
            ("speaker_consistency", members("speaker_consistency", 3)[0][:2500]),  # one begins the other
            ("rir_consistency", noise(4000, 77)),  # no gain explains it
        ],
    )
    def test_members_without_a_shared_prompt_are_kept_without_a_transition(self, folders, task, negative) -> None:
        write_wav(folders / task / "sample_3_1.wav", negative)
        assert self.reasons(folders, task) == [None, None, None]
        found = items(folders, task)[1]
        assert found.transition is None
        assert found.labels["transition"] == "none found"
        assert found.labels["prefix"] == "none"

    def test_rooms_that_depart_early_are_kept_and_say_so(self, folders: Path) -> None:
        positive, negative = members("rir_consistency", 3)
        negative[1200:1300] = 0
        write_wav(folders / "rir_consistency/sample_3_1.wav", negative)
        found = items(folders, "rir_consistency")[1]
        assert (found.reason, found.transition) == (None, 2000)
        assert found.labels["transition_gap"] == "above 10 ms"
        assert found.labels["prefix"] == "differs"
        assert found.sources["transition"]["gap_samples"] == -800
        assert len(positive) == 4000

    def test_members_with_different_rates(self, folders: Path) -> None:
        write_wav(folders / "speaker_consistency/sample_3_1.wav", members("speaker_consistency", 3)[1], 8000)
        self.check(folders, "sample_3_0.wav has 16000 Hz, .*sample_3_1.wav 8000 Hz; expected one rate")

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (
                {"bytes": b"RIFF, but no audio", "path": "x.wav"},
                r"row 1, negative_audio \(x.wav\): cannot be read as audio",
            ),
            (
                {"bytes": None, "path": "/data/x.wav"},
                r"row 1, negative_audio \(x.wav\): holds no audio; expected the bytes",
            ),
            (None, "row 1, negative_audio: holds no audio"),
        ],
    )
    def test_a_parquet_struct_without_readable_audio(self, tmp_path: Path, value: Any, reason: str) -> None:
        rows = [row("speaker_consistency", index) for index in CUTS]
        rows[1]["negative_audio"] = value
        write_parquet(tmp_path / "speaker_consistency.parquet", rows)
        self.check(tmp_path, reason)


class TestRefused:
    def refused(self, path: Path, message: str, *tasks: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Salmon(path, tasks or None)

    def test_an_empty_folder_says_what_is_expected(self, tmp_path: Path) -> None:
        self.refused(
            tmp_path, r"expected a folder for each task .* or parquet files .*; found nothing\. Tasks: sentiment_"
        )
        self.refused(tmp_path / "gone", "gone: no such folder")

    def test_a_folder_above_the_right_one_says_what_is_there(self, folders: Path) -> None:
        self.refused(folders.parent, "expected a folder for each task .* found salmon_benchmark")

    def test_a_parquet_without_the_columns(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "x.parquet", [{"task": "rir_consistency", "positive_audio": audio(noise(9, 0))}])
        self.refused(tmp_path, r"x.parquet: lacks the column\(s\) negative_audio, ind; it has task, positive_audio")

    def test_a_parquet_whose_audio_is_none(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "x.parquet", [row("rir_consistency", 0) | {"positive_audio": "a.wav"}])
        self.refused(tmp_path, "column 'positive_audio' is string; expected audio as struct")

    def test_a_file_that_is_no_parquet(self, tmp_path: Path) -> None:
        (tmp_path / "x.parquet").write_text("version https://git-lfs.github.com/spec/v1")
        self.refused(tmp_path, "x.parquet: cannot be read as parquet")

    def test_a_parquet_cut_short_is_named(self, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "x.parquet", [row("bg_alignment", index) for index in range(9)])
        content = bytearray(path.read_bytes())
        content[2000:60000] = bytes(58000)
        path.write_bytes(bytes(content))
        with pytest.raises(ConfigError, match=r"x\.parquet: cannot be read as parquet"):
            items(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"task": "speaker"}, "row 0: task is 'speaker'; expected one of sentiment_consistency"),
            ({"ind": "7"}, "row 0: ind is '7'; expected a whole number"),
            ({"ind": None}, "row 0: ind is 'None'"),
        ],
    )
    def test_a_row_that_names_no_item(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        write_parquet(tmp_path / "x.parquet", [row("rir_consistency", 0) | change])
        self.refused(tmp_path, message)

    @pytest.mark.parametrize("name", ["sample_1.wav", "sample_1_2.wav", "sample_a_0.wav", "sample_01_0.wav"])
    def test_a_wav_of_another_name(self, folders: Path, name: str) -> None:
        write_wav(folders / "rir_consistency" / name, noise(9, 0))
        self.refused(folders, f"{name}: expected")

    def test_a_folder_of_samples_that_is_no_task(self, folders: Path) -> None:
        (folders / "rir_consistency").rename(folders / "room")
        self.refused(folders, "room: not a task of SALMon; known: .*kind 'pairs'")

    def test_both_layouts_at_once(self, folders: Path) -> None:
        write_parquet(folders / "x.parquet", [row("rir_consistency", 0)])
        self.refused(folders, "holds WAV files and parquet files")

    def test_tasks_that_are_unknown_or_not_there(self, folders: Path) -> None:
        self.refused(folders, "'room' is not a task of SALMon; known: ", "room")
        for path in (folders / "rir_consistency").iterdir():
            path.unlink()
        self.refused(folders, "has no items of 'rir_consistency'; it has ", "rir_consistency")
        with pytest.raises(ConfigError, match="names no task"):
            Salmon(folders, ())
