"""The kind `salmon`: its layouts, its metadata, and where the transition is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchmark_layouts import (
    audio,
    write_parquet,
    write_with_datasets,
)
from salmon_benchmark import CUTS, members, row, write_folders

from spokeneval.audio import decode_flac
from spokeneval.config.blocks.datasets import SalmonBlock
from spokeneval.datasets.audio_parquet import BATCH_ROWS
from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.datasets.salmon import Salmon
from spokeneval.datasets.salmon_layouts import ALIGNMENT, EXACT, TASKS
from spokeneval.errors import ConfigError


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "salmon_benchmark")


def items(path: Path, *tasks: str, limit: int | None = None) -> list[Item]:
    return list(Salmon(path, tasks or None, limit).items())


def item(path: Path, task: str) -> Item:
    (found,) = items(path, task)
    return found


class TestZip:
    def test_every_task_is_read_under_its_own_name_and_number(self, folders: Path) -> None:
        found = items(folders)
        assert [(i.task, i.index) for i in found] == [(task, index) for task in TASKS for index in (0, 3, 10)]
        assert [i.reason for i in found] == [None] * 24
        assert found[0].item_id == "sentiment_consistency-0000"
        assert len({i.item_id for i in found}) == 24
        assert not any("/" in i.item_id for i in found)
        assert {i.labels["family"] for i in found if i.task in ALIGNMENT} == {"alignment"}
        np.testing.assert_array_equal(found[5].negative, members("speaker_consistency", 10)[1])

    def test_the_first_differing_sample_is_the_transition_of_the_exact_tasks(self, folders: Path) -> None:
        for found in items(folders, *EXACT):
            assert found.transition == CUTS[found.index]
            assert found.labels["transition"] == "first difference"
            assert found.labels["prefix"] == "equal"

    def test_rooms_are_cut_in_half_though_no_sample_need_be_equal(self, folders: Path) -> None:
        for found in items(folders, "rir_consistency"):
            assert (found.transition, found.labels["transition"]) == (2000, "half")
            assert found.labels["prefix"] == "up to a gain"
            assert found.labels["transition_gap"] == "none"
            assert found.sources["transition"]["gap_samples"] == 0
            assert found.sources["transition"]["gain"] == pytest.approx(0.64, abs=1e-3)

    def test_alignment_tasks_have_no_transition(self, folders: Path) -> None:
        assert {i.transition for i in items(folders, *ALIGNMENT)} == {None}
        assert {i.labels["prefix"] for i in items(folders, *ALIGNMENT)} == {"none"}

    def test_a_limited_run_gives_the_first_items_of_each_task(self, folders: Path) -> None:
        full = [i for i in items(folders) if i.index in (0, 3)]
        part = items(folders, limit=2)
        assert [_comparable(i) for i in part] == [_comparable(i) for i in full]

    def test_items_become_clips_and_pairs(self, folders: Path) -> None:
        clips, pairs = clips_and_pairs(Salmon(folders, ("speaker_consistency", "bg_alignment")).items())
        assert len(pairs) == 6
        assert len(clips) == 3 * 5 + 3 * 2
        rows = {r["clip_id"]: r for r in clips.to_pylist()}
        first = pairs.to_pylist()[0]
        prompt, _ = decode_flac(rows[first["prompt"]]["audio"]["bytes"])
        np.testing.assert_array_equal(prompt * 2**15, members("speaker_consistency", 0)[0][:1700])
        assert rows[first["continuation_negative"]]["n_samples"] == 3600 - 1700
        assert first["fold"] == "a"
        assert first["cluster"] == "speaker_consistency-0000"
        assert json.loads(first["labels"])["prefix"] == "equal"

    def test_folds_are_halves_of_every_task(self, folders: Path) -> None:
        assert [i.fold for i in items(folders, "rir_consistency")] == ["a", "b", "a"]


class TestMetadata:
    def write(self, folder: Path, records: Any) -> None:
        (folder / "metadata.json").write_text(json.dumps(records))

    def test_speakers_and_texts_are_labels_and_clusters(self, folders: Path) -> None:
        self.write(
            folders / "speaker_consistency",
            [
                {"index": 0, "text": 7, "speakers": [226, 301]},
                {"index": 3, "text": 7, "speakers": [228, 340]},
                {"index": 4, "text": 9, "speakers": [1, 2]},
            ],
        )
        found = items(folders, "speaker_consistency")
        assert [i.cluster for i in found] == ["text 7", "text 7", "speaker_consistency-0010"]
        assert [i.fold for i in found] == ["a", "a", "b"]
        assert found[0].labels["speaker_negative"] == "301"
        assert [i.labels.get("made_of") for i in found] == ["metadata.json", "metadata.json", "unknown"]

    def test_noises_and_rooms(self, folders: Path) -> None:
        def two(*paths: str) -> list[dict[str, Any]]:
            return [{"index": n, "bg_wav_path": f"/somewhere/{path}"} for n, path in enumerate(paths)]

        self.write(
            folders / "bg_all_consistency",
            [
                {"index": 0, "speech_path": "/x/LJ1.wav", "snr": 0.15, "audio": two("Siren/1.wav", "Piano/2.wav")},
                {"index": 3, "speech_path": "/x/LJ2.wav", "snr": 7.0, "audio": two("Piano/3.wav", "Siren/9.wav")},
                {"index": 10, "speech_path": "/x/LJ3.wav", "snr": 7.0, "audio": two("Piano/3.wav", "Piano/1.wav")},
            ],
        )
        self.write(
            folders / "rir_consistency", [{"index": 0, "speech_path": "a", "rirs": ["/r/Hall.wav", "/r/Cave.wav"]}]
        )
        found = items(folders, "bg_all_consistency", "rir_consistency")
        assert [i.cluster for i in found[:4]] == [
            "Piano + Siren", "Piano + Siren", "Piano/1.wav + Piano/3.wav", "Cave + Hall"]  # fmt: skip
        assert [i.labels["snr_band_db"] for i in found[:3]] == ["0.1-0.2", "5-10", "5-10"]
        assert found[0].labels["noise_positive"] == "Siren"
        assert not any("/somewhere" in str(i) for i in found)

    def test_an_object_that_lacks_what_its_task_needs_is_unknown(self, folders: Path) -> None:
        self.write(folders / "gender_consistency", [{"index": 0, "text": 7}])
        found = items(folders, "gender_consistency")[0]
        assert found.reason is None
        assert found.labels["made_of"] == "unknown"
        assert found.cluster == found.item_id

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not readable as JSON"),
            ("[{}]", "integer 'index'"),
            ('[{"index": 1}, {"index": 1}]', "1 is there twice"),
        ],
    )
    def test_a_file_that_is_no_metadata_is_refused(self, folders: Path, content: str, message: str) -> None:
        (folders / "rir_consistency/metadata.json").write_text(content)
        with pytest.raises(ConfigError, match=f"metadata.json: .*{message}"):
            items(folders, "rir_consistency")


class TestHub:
    def test_configs_that_repeat_others_are_not_counted_twice(self, tmp_path: Path) -> None:
        for task in ("speaker_consistency", "bg_alignment"):
            write_parquet(tmp_path / task / "train-00000-of-00001.parquet", [row(task, 0), row(task, 3)])
        both = [row(task, index) for task in ("speaker_consistency", "bg_alignment") for index in (0, 3)]
        write_parquet(tmp_path / "all" / "train-00000-of-00001.parquet", both)
        write_parquet(tmp_path / "all_consistency" / "train-00000-of-00001.parquet", both[:2])
        expected = [(task, index) for task in ("speaker_consistency", "bg_alignment") for index in (0, 3)]
        assert [(i.task, i.index) for i in items(tmp_path)] == expected

    def test_a_task_that_only_the_wide_config_has_is_read_from_it(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "speaker_consistency/train-00000-of-00001.parquet", [row("speaker_consistency", 0)])
        wide = [row("speaker_consistency", 0), row("rir_consistency", 0)]
        write_parquet(tmp_path / "all/train-00000-of-00001.parquet", wide)
        assert Salmon(tmp_path).tasks == ("speaker_consistency", "rir_consistency")
        assert len(items(tmp_path)) == 2

    def test_the_same_item_twice_is_an_error(self, tmp_path: Path) -> None:
        for shard in (0, 1):
            write_parquet(tmp_path / f"data/train-0000{shard}-of-00002.parquet", [row("speaker_consistency", 0)])
        with pytest.raises(
            ConfigError, match=r"speaker_consistency: ind 0 is there more than once, in data/train-00000"
        ):
            Salmon(tmp_path)

    @pytest.mark.parametrize(
        "name",
        [
            "{}/train-00000-of-00001.parquet",
            "data/{}-00000-of-00001.parquet",
            "{}-train.parquet",
            "{}/train/0000.parquet",
            "{}.parquet",
        ],
    )
    def test_files_are_found_under_every_name_that_the_hub_gives(self, tmp_path: Path, name: str) -> None:
        for task in ("speaker_consistency", "all"):
            write_parquet(tmp_path / name.format(task), [row("speaker_consistency", 0)])
        assert len(items(tmp_path)) == 1

    def test_the_hub_and_the_zip_give_the_same_items(self, folders: Path, tmp_path: Path) -> None:
        hub = tmp_path / "hub"
        rows = [row(task, index) for task in TASKS for index in (10, 0, 3)]
        for task in TASKS:
            own = [r for r in rows if r["task"] == task]
            write_with_datasets(hub / task / "train-00000-of-00001.parquet", own, ("positive_audio", "negative_audio"))
        assert [_comparable(i) for i in items(hub)] == [_comparable(i) for i in items(folders)]
        assert items(hub)[0].sources["positive"] == (
            "sentiment_consistency/train-00000-of-00001.parquet, row 1, positive_audio (sample_0_0.wav)"
        )

    def test_audio_is_read_a_few_rows_at_a_time_and_no_further_than_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = [row("bg_alignment", index) for index in range(3 * BATCH_ROWS)]
        write_parquet(tmp_path / "bg_alignment/train-00000-of-00001.parquet", rows, row_group_size=100)
        read: list[int] = []
        original = pq.ParquetFile.iter_batches

        def counted(self: pq.ParquetFile, *args: Any, **options: Any) -> Any:
            for batch in original(self, *args, **options):
                read.append(batch.num_rows)
                yield batch

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
        assert len(items(tmp_path, limit=BATCH_ROWS + 1)) == BATCH_ROWS + 1
        assert read == [BATCH_ROWS] * 2

    @pytest.mark.parametrize("row_group_size", [7, 100])
    def test_rows_out_of_order_and_over_row_groups_keep_their_audio(self, tmp_path: Path, row_group_size: int) -> None:
        order = [int(i) for i in np.random.default_rng(0).permutation(40)]
        write_parquet(tmp_path / "bg_alignment.parquet", [row("bg_alignment", i) for i in order], row_group_size)
        for found in items(tmp_path):
            np.testing.assert_array_equal(found.positive, members("bg_alignment", found.index)[0])


class TestGivenTransitions:
    def one(self, tmp_path: Path, task: str, given: Any, rate: int = 16000) -> Item:
        positive, negative = members(task, 0)
        both = {"positive_audio": audio(positive, rate=rate), "negative_audio": audio(negative, rate=rate)}
        path = tmp_path / f"{task}/train-00000-of-00001.parquet"
        write_parquet(path, [row(task, 0, audio_transition_s=given) | both])
        return item(tmp_path, task)

    def test_the_column_holds_samples_at_16_khz_despite_its_name(self, tmp_path: Path) -> None:
        found = self.one(tmp_path, "speaker_consistency", 1700)
        assert (found.transition, found.labels["transition"]) == (1700, "given")
        assert found.labels["transition_gap"] == "none"
        assert self.one(tmp_path, "speaker_consistency", 850, rate=32000).transition == 1700

    @pytest.mark.parametrize(
        ("given", "gap", "label"),
        [
            (1540, 160, "within 10 ms"),
            (1539, 161, "above 10 ms"),
            (1860, -160, "within 10 ms"),
            (2500, -800, "above 10 ms"),
        ],
    )
    def test_a_gap_to_what_is_found_is_a_label_and_no_error(
        self, tmp_path: Path, given: int, gap: int, label: str
    ) -> None:
        found = self.one(tmp_path, "speaker_consistency", given)
        assert found.reason is None
        assert found.transition == given
        assert found.labels["transition_gap"] == label
        assert found.sources["transition"] == {"samples": given, "found_samples": 1700, "gap_samples": gap}
        assert found.labels["prefix"] == ("equal" if gap > 0 else "differs")

    def test_a_given_transition_of_rooms_is_checked_by_a_gain(self, tmp_path: Path) -> None:
        found = self.one(tmp_path, "rir_consistency", 1990)
        assert (found.transition, found.labels["transition"]) == (1990, "given")
        assert found.labels["transition_gap"] == "within 10 ms"
        assert found.labels["prefix"] == "up to a gain"

    @pytest.mark.parametrize("given", [None, float("nan")])
    def test_where_none_is_given_it_is_found(self, tmp_path: Path, given: float | None) -> None:
        write_parquet(
            tmp_path / "speaker_consistency.parquet",
            [
                row("speaker_consistency", 0, audio_transition_s=given),
                row("speaker_consistency", 3, audio_transition_s=2000.0),
            ],
        )
        assert [i.labels["transition"] for i in items(tmp_path)] == ["first difference", "given"]

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (0, r"given transition \(0 samples at 16000 Hz\) lies outside the clips, .* 3600 samples"),
            (3600, "lies outside the clips"),
            (-5, "lies outside the clips"),
            (0.10625, "is 0.10625; despite its name the column holds whole samples at 16000 Hz"),
            (float("inf"), "despite its name"),
            ("soon", "is 'soon'; expected a number of samples"),
        ],
    )
    def test_one_outside_the_clips_fails_its_item(self, tmp_path: Path, given: Any, reason: str) -> None:
        found = self.one(tmp_path, "speaker_consistency", given)
        assert re.search(reason, str(found.reason)), found.reason


def test_the_block_describes_what_the_class_takes() -> None:
    block = SalmonBlock(kind="salmon", path="x", tasks=("rir_consistency",), limit=3)
    assert {"path", "tasks", "limit"} <= set(block.options())


def _comparable(found: Item) -> tuple[Any, ...]:
    assert found.positive is not None
    assert found.negative is not None
    return (
        found.item_id,
        found.index,
        found.cluster,
        found.fold,
        found.transition,
        found.sample_rate,
        found.positive.tobytes(),
        found.negative.tobytes(),
        sorted(found.labels.items()),
        str(found.sources.get("transition")),
    )
