"""What third clips and backgrounds without speech guarantee, on simulated voices and noises."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from datasets_corpus import EVALUATED, RATE, Corpus, consistency_items, make_corpus, write_table
from numpy.typing import NDArray

from spokeneval.datasets.base import FurtherClip, Item, clips_and_pairs
from spokeneval.datasets.further_lines import FurtherLines
from spokeneval.datasets.mixing import draw_unused, looped
from spokeneval.errors import ItemError
from spokeneval.jobs.tables_in import clips_of
from spokeneval.likelihood import needed
from spokeneval.tokenizers.base import TokenizerInfo

TASKS = {"speaker": 8, "background_random": 8, "background_domain": 8, "room": 8, "splice_control": 4}
WITH_THIRD = ("speaker", "background_random", "background_domain", "room")

GOLDEN = {
    "speaker": "be7d8ecbb453c38f",
    "background_random": "b82c4bcb66a29c60",
    "background_domain": "4fbf4239c264e50c",
    "splice_control": "b5d107b407556666",
}
"""Of the clip_ids that were made before there were third clips; rooms depend on the version of pyroomacoustics."""


def build(corpus: Corpus, **changes: object) -> list[Item]:
    return consistency_items(corpus, **{"tasks": TASKS, **changes})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def items(corpus: Corpus) -> list[Item]:
    return build(corpus)


@pytest.fixture(scope="module")
def pairs(items: list[Item]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(clips_and_pairs(iter(items))[1]))


def having_third(items: list[Item]) -> list[Item]:
    return [item for item in items if item.task in WITH_THIRD]


def in_noise(items: list[Item]) -> list[Item]:
    return [item for item in items if item.task.startswith("background")]


def after(item: Item) -> NDArray[np.float64]:
    """The right continuation."""
    return item.positive[item.transition :].astype(float)


def level_db(samples: NDArray[np.floating]) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples, dtype=float))))


def own_recordings(item: Item) -> set[str]:
    parts = {role: part for role, part in item.sources.items() if role != "same_attribute"}
    return {part["recording"] for part in parts.values() if isinstance(part, dict) and "recording" in part}


class TestTheMembers:
    @pytest.mark.parametrize("task", GOLDEN)
    def test_are_what_they_were_before_there_were_third_clips(self, pairs: pl.DataFrame, task: str) -> None:
        rows = pairs.filter(pl.col("task") == task).sort("index").select("prompt", "positive", "negative").rows()
        digest = hashlib.sha256("".join(clip for row in rows for clip in row).encode()).hexdigest()
        assert digest[:16] == GOLDEN[task]

    def test_are_the_same_where_no_third_clip_is_drawn(
        self, items: list[Item], corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing(*arguments: object, **options: object) -> None:
            raise ItemError("nothing is left")

        monkeypatch.setattr(FurtherLines, "draw", nothing)
        bare = build(corpus)
        assert all(item.same_attribute is None for item in bare)
        for one, other in zip(items, bare, strict=True):
            np.testing.assert_array_equal(one.positive, other.positive)
            np.testing.assert_array_equal(one.negative, other.negative)
            assert one.gain == other.gain


class TestThirdClips:
    def test_are_there_for_every_task_but_the_control(self, pairs: pl.DataFrame) -> None:
        has = dict(pairs.group_by("task").agg(pl.col("same_attribute").is_not_null().mean()).rows())
        assert has == {**dict.fromkeys(WITH_THIRD, 1.0), "splice_control": 0.0}

    def test_come_from_a_recording_of_the_fold_that_the_couple_does_not_use(
        self, items: list[Item], corpus: Corpus
    ) -> None:
        fold_of = {path: item.fold for item in items for path in own_recordings(item)}
        for one, two in zip(items[::2], items[1::2], strict=True):
            for item in having_third([one, two]):
                path = item.sources["same_attribute"]["recording"]
                assert path not in own_recordings(one) | own_recordings(two)
                assert f"scene{path.split('-')[1]}" in EVALUATED
                assert fold_of.get(path, item.fold) == item.fold
        groups: dict[str, set[str]] = {}
        for item in having_third(items):
            groups.setdefault(item.sources["same_attribute"]["recording"].split("-")[1], set()).add(item.fold)
        assert all(len(folds) == 1 for folds in groups.values())

    def test_are_of_the_right_speaker(self, items: list[Item]) -> None:
        for item in having_third(items):
            said_by = item.sources["same_attribute"]["recording"].split("/")[1].split("-")[0]
            assert said_by == item.labels.get("speaker_positive", item.labels.get("speaker"))

    def test_are_as_long_and_as_loud_as_the_right_continuation(self, items: list[Item]) -> None:
        for item in having_third(items):
            third, source = item.same_attribute.pcm, item.sources["same_attribute"]
            assert len(third) == len(after(item)) == source["end"] - source["start"]
            fit_db = 20 * np.log10(source["gain_to_fit"])
            # In noise speech and noise are each as loud; how far the two cancel differs.
            tolerance = 0.5 if item in in_noise([item]) else 0.002
            assert level_db(third) - fit_db == pytest.approx(level_db(after(item)), abs=tolerance)

    def test_of_voices_are_the_samples_of_the_recording(self, items: list[Item], corpus: Corpus) -> None:
        for item in (item for item in items if item.task == "speaker"):
            source = item.sources["same_attribute"]
            samples = corpus.samples(source["recording"])[source["start"] : source["end"]]
            np.testing.assert_allclose(item.same_attribute.pcm, 32768 * item.gain * source["gain"] * samples, atol=1)

    def test_in_noise_have_the_right_noise_at_the_snr_of_the_item(self, items: list[Item], corpus: Corpus) -> None:
        for item in in_noise(items):
            source, right = item.sources["same_attribute"], item.sources["noise_positive"]
            assert source["noise"] == right["noise"] != item.sources["noise_negative"]["noise"]
            speech = source["gain"] * corpus.samples(source["recording"])[source["start"] : source["end"]]
            noise = item.same_attribute.pcm / 32768 / item.same_attribute.gain - speech
            assert level_db(speech) - level_db(noise) == pytest.approx(item.sources["snr_db"], abs=0.01)
            loop = sf.read(corpus.noises / source["noise"], dtype="float32")[0]
            mixed_in = looped(loop, source["offset"], len(noise), round(0.01 * RATE)) * source["noise_gain"]
            np.testing.assert_allclose(noise, mixed_in, atol=1e-4)

    def test_in_rooms_ring_from_their_first_sample_on(self, items: list[Item]) -> None:
        for item in (item for item in items if item.task == "room"):
            assert item.sources["same_attribute"]["room"] == item.sources["room_positive"]["name"]
            assert item.sources["same_attribute"]["room"] != item.sources["room_negative"]["name"]

    def test_are_the_same_in_a_limited_run_and_beside_other_tasks(self, items: list[Item], corpus: Corpus) -> None:
        fewer = build(corpus, tasks={"room": 4, "background_random": 6}, limit=3)
        for task in ("room", "background_random"):
            mine = [i.same_attribute.pcm.tobytes() for i in items if i.task == task and i.index < 3]
            assert [i.same_attribute.pcm.tobytes() for i in fewer if i.task == task] == mine

    def test_are_missing_with_a_reason_where_nobody_says_anything_else(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = [row.split(",") for row in corpus.recordings.read_text().splitlines()[1:]]
        anna = [row for row in rows if row[1] == "anna"]
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        table = write_table(tmp_path / "t.csv", [[*row[:3], f"Words {n % 2}.", ""] for n, row in enumerate(anna)])
        for item in build(corpus, recordings=table, evaluation_groups=None, tasks={"room": 8}):
            assert item.reason is None
            assert item.same_attribute is None
            reason = f"no further recording in its language in fold {item.fold} that says other words and lasts"
            assert item.sources["same_attribute"]["reason"].startswith(reason)

    def test_of_voices_are_missing_where_only_other_speakers_are_left(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = [row.split(",") for row in corpus.recordings.read_text().splitlines()[1:]]
        few = [row for row in rows if row[1] not in {"anna", "dora"} or row[4] in {"scene00", "scene01"}]
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        table = write_table(tmp_path / "t.csv", [[*row[:4], ""] for row in few])
        voices = build(corpus, recordings=table, evaluation_groups=None, tasks={"speaker": 20})
        lacking = [item for item in voices if item.same_attribute is None]
        assert lacking
        for item in lacking:
            speaker, reason = item.labels["speaker_positive"], item.sources["same_attribute"]["reason"]
            assert speaker in {"anna", "dora"}
            assert reason.startswith(f"no further recording of {speaker} in fold {item.fold} that says other words")

    def test_are_of_another_speaker_where_only_the_surroundings_matter(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = [row.split(",") for row in corpus.recordings.read_text().splitlines()[1:]]
        few = [row for row in rows if row[1] != "anna" or row[4] == "scene00"]
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        table = write_table(tmp_path / "t.csv", [[*row[:4], ""] for row in few])
        rooms = build(corpus, recordings=table, evaluation_groups=None, tasks={"room": 60})
        of_anna = [item for item in rooms if item.labels["speaker"] == "anna"]
        assert of_anna
        assert all("anna" not in item.sources["same_attribute"]["recording"] for item in of_anna)

    def test_say_other_words(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = [row.split(",") for row in corpus.recordings.read_text().splitlines()[1:]]
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        said = {row[0]: f"Words {n % 5}." for n, row in enumerate(rows)}
        table = write_table(tmp_path / "t.csv", [[*row[:3], said[row[0]], ""] for row in rows])
        for item in build(corpus, recordings=table, evaluation_groups=None, tasks={"room": 12}):
            (own,) = own_recordings(item)
            assert said[own] != said[item.sources["same_attribute"]["recording"]]


class TestTheNoiseAlone:
    def test_is_the_right_continuation_without_its_speech(self, items: list[Item], corpus: Corpus) -> None:
        for item in in_noise(items):
            source = item.sources["speech"]
            speech = corpus.samples(source["recording"])[source["start"] : source["end"]][item.transition :]
            alone = item.noise_only.pcm / item.sources["noise_only"]["gain_to_fit"]
            both = alone + 32768 * item.gain * source["gain"] * speech
            np.testing.assert_allclose(both, after(item), atol=1.1)

    def test_is_there_for_backgrounds_only(self, pairs: pl.DataFrame) -> None:
        known = pairs.filter(pl.col("noise_only").is_not_null())["task"].unique()
        assert set(known) == {"background_random", "background_domain"}


class TestAnotherStretchOfNoise:
    def test_shares_no_sample_with_the_first_where_the_noise_is_long_enough(self) -> None:
        noise = np.arange(1, 10_001, dtype=np.float32)
        for seed in range(200):
            rng = np.random.default_rng(seed)
            offset = int(rng.integers(len(noise)))
            used = set(looped(noise, offset, 6000, 0))
            other, _, n_shared = draw_unused(noise, offset, 6000, 4000 - seed, 0, rng)
            assert n_shared == 0
            assert not used & set(other)

    def test_comes_to_the_beginning_of_the_first_where_it_is_not(self) -> None:
        noise = np.arange(1, 1001, dtype=np.float32)
        other, offset, n_shared = draw_unused(noise, 900, 800, 300, 0, np.random.default_rng(0))
        assert offset == 700
        assert n_shared == 100
        assert len(set(looped(noise, 900, 800, 0)) & set(other)) == 100
        assert draw_unused(noise, 0, 3000, 300, 0, np.random.default_rng(0))[2] == 300


class TestTables:
    def item(self, **changes: object) -> Item:
        samples = np.arange(1, 101, dtype=np.int32)
        made = Item("x", "room", 0, "c", "a", RATE, samples, samples[::-1].copy() + 1, None)
        return replace(made, transition=50, **changes)

    def test_a_further_clip_has_its_own_gain_and_note(self) -> None:
        third = FurtherClip(np.full(30, 7, np.int32), 0.5, "2 channels averaged")
        clips, pairs = clips_and_pairs(iter([self.item(same_attribute=third, note="resampled")]))
        row = pairs.to_pylist()[0]
        by_id = {clip["clip_id"]: clip for clip in clips.to_pylist()}
        found = by_id[row["same_attribute"]]
        assert (found["n_samples"], found["gain"], found["note"]) == (30, 0.5, "2 channels averaged")
        assert by_id[row["positive"]]["note"] == "resampled"
        assert row["noise_only"] is None

    def test_a_further_clip_without_samples_fails_the_item(self) -> None:
        item = self.item(noise_only=FurtherClip(np.zeros(0, np.int32)))
        row = clips_and_pairs(iter([item]))[1].to_pylist()[0]
        assert (row["status"], row["reason"]) == ("failed", "the noise_only holds no samples")

    def test_the_names_of_clips_that_are_elsewhere_are_kept(self) -> None:
        names = {"positive": "p", "negative": "n", "same_attribute": "s"}
        row = clips_and_pairs(iter([self.item(positive=None, negative=None, clips=names)]))[1].to_pylist()[0]
        assert (row["same_attribute"], row["noise_only"]) == ("s", None)


class TestStages:
    def test_third_clips_are_encoded_and_the_noise_alone_is_not(self, pairs: pl.DataFrame) -> None:
        encoded = set(clips_of(pairs))
        assert set(pairs["same_attribute"].drop_nulls()) <= encoded
        assert not set(pairs["noise_only"].drop_nulls()) & encoded

    def test_neither_is_scored(self, pairs: pl.DataFrame) -> None:
        info = TokenizerInfo(RATE, 160, (8,), deduplicated=False, causal=True)
        scored = {key[0] for key in needed(pairs, info, ("full", "kept"))}
        assert scored
        assert not scored & (set(pairs["same_attribute"].drop_nulls()) | set(pairs["noise_only"].drop_nulls()))
