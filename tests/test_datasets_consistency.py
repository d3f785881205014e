"""What the kind `consistency` guarantees, on simulated voices and noises."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from datasets_corpus import (
    EVALUATED,
    RATE,
    SPEAKERS,
    Corpus,
    PitchScreen,
    consistency_items,
    make_corpus,
    voice,
    write_table,
)

from spokeneval.datasets.base import Item, clips_and_pairs
from spokeneval.datasets.consistency import Consistency
from spokeneval.errors import ConfigError

TASKS = {"speaker": 24, "background_random": 24, "background_domain": 16, "room": 16, "splice_control": 24}
FADE = round(0.01 * RATE)


def build(corpus: Corpus, **changes: object) -> list[Item]:
    return consistency_items(corpus, **{"tasks": TASKS, **changes})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def screen() -> PitchScreen:
    return PitchScreen()


@pytest.fixture(scope="module")
def items(corpus: Corpus, screen: PitchScreen) -> list[Item]:
    return build(corpus, screen=screen)


def recordings_of(item: Item) -> set[str]:
    return {value["recording"] for value in item.sources.values() if isinstance(value, dict) and "recording" in value}


def noises_of(item: Item) -> set[str]:
    return {value["noise"] for value in item.sources.values() if isinstance(value, dict) and "noise" in value}


def after(item: Item) -> tuple[np.ndarray, np.ndarray]:
    assert item.positive is not None
    assert item.negative is not None
    assert item.transition is not None
    return item.positive[item.transition :].astype(float), item.negative[item.transition :].astype(float)


def level_db(samples: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(samples.astype(float) ** 2)))


def couples(items: list[Item]) -> list[tuple[Item, Item]]:
    return [(one, two) for one, two in zip(items[::2], items[1::2], strict=True)]


class TestEveryItem:
    def test_is_there_and_usable(self, items: list[Item]) -> None:
        assert Counter(item.task for item in items) == TASKS
        assert [item.reason for item in items if item.reason] == []
        assert len({item.item_id for item in items}) == len(items)
        for task in TASKS:
            assert [item.index for item in items if item.task == task] == list(range(TASKS[task]))

    def test_has_members_that_differ_only_from_the_transition_on(self, items: list[Item]) -> None:
        for item in items:
            assert item.positive is not None
            assert item.negative is not None
            assert len(item.positive) == len(item.negative)
            cut = item.transition
            assert cut is not None
            np.testing.assert_array_equal(item.positive[:cut], item.negative[:cut])
            assert not np.array_equal(item.positive[cut:], item.negative[cut:])

    def test_gives_nothing_away_in_the_first_sample_of_the_continuation(self, items: list[Item]) -> None:
        for item in items:
            positive, negative = after(item)
            assert abs(positive[0] - negative[0]) <= 2

    def test_has_continuations_of_one_level(self, items: list[Item]) -> None:
        for item in items:
            difference = abs(level_db(after(item)[0]) - level_db(after(item)[1]))
            # Speech and noise have equal energies in both; only by how much they cancel the two can differ.
            assert difference < (0.5 if "background" in item.task else 0.002), item.item_id

    def test_has_no_larger_step_at_the_join_than_elsewhere(self, items: list[Item]) -> None:
        for item in items:
            for member in (item.positive, item.negative):
                steps = np.abs(np.diff(member.astype(float)))
                around = steps[item.transition - 2 : item.transition + FADE]
                assert around.max() <= steps.max()
                if "background" not in item.task:
                    assert around.max() <= np.quantile(steps, 0.999) + 50

    def test_has_parts_of_allowed_length(self, items: list[Item]) -> None:
        for item in items:
            assert item.transition >= 0.8 * RATE
            assert 0.8 * RATE <= len(after(item)[0]) <= 2 * RATE

    def test_is_not_clipped(self, items: list[Item]) -> None:
        for item in items:
            assert 0 < item.gain <= 1
            assert max(np.abs(item.positive).max(), np.abs(item.negative).max()) <= 32767

    def test_names_what_it_was_made_of(self, items: list[Item], corpus: Corpus) -> None:
        for item in items:
            assert recordings_of(item)
            assert all((corpus.recordings.parent / path).is_file() for path in recordings_of(item))
            assert item.cluster
            assert item.labels
            assert item.seed is not None


class TestSplits:
    def test_no_recording_group_or_noise_is_in_both_folds(self, items: list[Item]) -> None:
        for sources_of in (recordings_of, noises_of):
            found = defaultdict(set)
            for item in items:
                for name in sources_of(item):
                    found[name].add(item.fold)
            assert found
            assert all(len(folds) == 1 for folds in found.values())
        groups = defaultdict(set)
        for item in items:
            for path in recordings_of(item):
                groups[path.split("-")[1]].add(item.fold)
        assert len(groups) == len(EVALUATED)
        assert all(len(folds) == 1 for folds in groups.values())

    def test_both_folds_have_half_of_every_task(self, items: list[Item]) -> None:
        for task, n_items in TASKS.items():
            assert Counter(item.fold for item in items if item.task == task) == {"a": n_items // 2, "b": n_items // 2}

    def test_only_evaluation_groups_are_in_items_and_none_of_them_screens(
        self, items: list[Item], screen: PitchScreen, corpus: Corpus
    ) -> None:
        in_items = {path for item in items for path in recordings_of(item)}
        assert {f"scene{path.split('-')[1]}" for path in in_items} <= set(EVALUATED)
        heard = {waveform.tobytes() for waveform in screen.heard}
        assert len(heard) == 6 * 6  # six speakers, three groups of two lines
        evaluated = [
            path
            for path in sorted((corpus.recordings.parent / "clips").iterdir())
            if f"scene{path.stem.split('-')[1]}" in EVALUATED
        ]
        assert len(evaluated) == 6 * 9 * 2
        assert not heard & {sf.read(path, dtype="float32")[0].tobytes() for path in evaluated}

    def test_without_groups_screening_recordings_are_set_aside(self, corpus: Corpus) -> None:
        screen = PitchScreen()
        items = build(corpus, screen=screen, evaluation_groups=None, tasks={"speaker": 12, "splice_control": 12})
        in_items = {path for item in items for path in recordings_of(item)}
        samples = {sf.read(corpus.recordings.parent / path, dtype="float32")[0].tobytes() for path in in_items}
        heard = {waveform.tobytes() for waveform in screen.heard}
        assert len(heard) == 6 * 8
        assert not samples & heard


class TestVoices:
    def test_voices_that_sound_alike_are_never_the_other_speaker(self, items: list[Item]) -> None:
        voices = [item for item in items if item.task == "speaker"]
        assert all(item.sources["separation"] >= 0.9 for item in voices)
        assert all(item.cluster != "emil + fred" for item in voices)
        assert {item.labels["speaker_positive"] for item in voices} == set(SPEAKERS)

    def test_without_a_screen_all_voices_are_paired(self, corpus: Corpus) -> None:
        voices = build(corpus, tasks={"speaker": 28})
        assert any(item.cluster == "emil + fred" for item in voices)
        assert all("separation" not in item.sources for item in voices)

    def test_positive_keeps_the_speaker_and_negative_changes_it(self, items: list[Item]) -> None:
        for item in (item for item in items if item.task == "speaker"):
            names = {role: item.sources[role]["recording"].split("/")[1].split("-")[0] for role in item.sources
                     if role in {"prompt", "positive", "negative"}}  # fmt: skip
            assert names["prompt"] == names["positive"] == item.labels["speaker_positive"]
            assert names["negative"] == item.labels["speaker_negative"] != names["positive"]
            assert len({item.sources[role]["recording"] for role in names}) == 3
            assert item.labels["construction"] == "spliced"

    def test_no_line_has_a_role_twice(self, items: list[Item]) -> None:
        for task in ("speaker", "splice_control"):
            for role in ("prompt", "positive", "negative"):
                used = Counter(item.sources[role]["recording"] for item in items if item.task == task)
                assert max(used.values()) == 1

    def test_no_speaker_dominates(self, items: list[Item]) -> None:
        used = Counter(item.labels["speaker_positive"] for item in items if item.task == "speaker")
        assert max(used.values()) <= 2 * 24 / 6

    def test_pairs_of_speakers_are_spread_before_they_come_again(self, items: list[Item]) -> None:
        for fold in "ab":
            used = Counter(item.cluster for item in items if item.task == "speaker" and item.fold == fold)
            assert len(used) == 6  # six couples of each fold, six different pairs
            assert set(used.values()) == {2}

    def test_languages_are_not_mixed(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = []
        for row in corpus.recordings.read_text().splitlines()[1:]:
            path, speaker, _, text, group = row.split(",")
            rows.append([path, speaker, "en" if speaker < "d" else "cs", text, group])
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        table = write_table(tmp_path / "t.csv", rows)
        for item in build(corpus, recordings=table, tasks={"speaker": 24}):
            assert (item.labels["speaker_positive"] < "d") == (item.labels["speaker_negative"] < "d")

    def test_gender_pairs_differ_in_gender(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = [row.split(",") for row in corpus.recordings.read_text().splitlines()[1:]]
        rows = [[*row, "f" if row[1] in {"anna", "dora"} else "m"] for row in rows]
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        table = write_table(tmp_path / "t.csv", rows, "path,speaker,language,text,group,gender")
        for item in build(corpus, recordings=table, tasks={"gender": 12}):
            assert {item.labels["gender_positive"], item.labels["gender_negative"]} == {"f", "m"}

    def test_the_same_text_is_cut_alike_and_the_positive_is_the_recording(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        (tmp_path / "clips").mkdir()
        rows = []
        for number in range(6):
            for speaker, f0_hz in (("anna", 110.0), ("dora", 250.0)):
                halves = [voice(f0_hz, 1.2, rng), np.zeros(600, np.float32), voice(f0_hz, 1.2, rng)]
                samples = 0.1 * np.concatenate(halves) / np.abs(np.concatenate(halves)).max()
                sf.write(tmp_path / f"clips/{speaker}{number}.wav", samples, RATE)
                said = f"Number {number}!" if speaker == "anna" else f"number  {number}"
                rows.append([f"clips/{speaker}{number}.wav", speaker, "xx", said, ""])
        table = write_table(tmp_path / "t.csv", rows)
        items = list(Consistency(table, {"speaker": 8}, sample_rate=RATE).items())
        for item in items:
            assert item.labels["construction"] == "same_text"
            prompt, right, wrong = (item.sources[role] for role in ("prompt", "positive", "negative"))
            assert prompt["recording"] == right["recording"]
            assert right["recording"][-5] == wrong["recording"][-5]  # the same number is said
            assert right["start"] == prompt["end"]
            assert abs(right["start"] - 1.24 * RATE) < 0.1 * RATE
            assert abs(wrong["start"] - 1.24 * RATE) < 0.1 * RATE
            original = sf.read(tmp_path / prompt["recording"])[0][prompt["start"] : right["end"]]
            np.testing.assert_allclose(item.positive, 32768 * item.gain * right["gain"] * original, atol=1)


class TestNothingButTheMatchWithThePrompt:
    def test_mirrored_items_share_their_continuations(self, items: list[Item]) -> None:
        for one, two in couples(items):
            assert one.cluster == two.cluster
            assert one.fold == two.fold
            assert one.seed == two.seed
            for mine, others in ((after(one)[0], after(two)[1]), (after(one)[1], after(two)[0])):
                assert len(mine) == len(others)
                assert np.corrcoef(mine[FADE:], others[FADE:])[0, 1] > 0.9999

    def test_a_scorer_that_knows_only_the_continuation_is_at_chance(self, items: list[Item]) -> None:
        def brightness(samples: np.ndarray) -> float:
            return float(np.abs(np.diff(samples)).sum() / np.abs(samples).sum())

        for task in TASKS:
            right = [brightness(p) > brightness(n) for p, n in (after(i) for i in items if i.task == task)]
            assert np.mean(right) == pytest.approx(0.5, abs=0.05), task

    def test_level_and_length_are_at_chance(self, items: list[Item]) -> None:
        for task in TASKS:
            verdicts = []
            for item in (item for item in items if item.task == task):
                difference = level_db(item.positive) - level_db(item.negative)
                verdicts.append(0.5 if abs(difference) < 0.002 else float(difference > 0))
                assert len(item.positive) == len(item.negative)
            assert np.mean(verdicts) == pytest.approx(0.5, abs=0.1), task


class TestBackgrounds:
    def test_the_snr_is_what_was_asked_for_in_both_members(self, items: list[Item], corpus: Corpus) -> None:
        for item in (item for item in items if "background" in item.task):
            source, cut = item.sources["speech"], item.transition
            speech = corpus.samples(source["recording"])[source["start"] : source["end"]] * source["gain"]
            low, high = (float(x) for x in item.labels["snr_band_db"].split("-"))
            assert low <= item.sources["snr_db"] <= high
            for member, skipped, tolerance in ((item.positive, 0, 0.01), (item.negative, FADE, 0.25)):
                if skipped and item.labels["noise_negative"] == "clicks":
                    continue  # a good part of so sparse a noise may lie in the cross-fade
                noise = member / 32768 / item.gain - speech
                measured = level_db(speech[cut + skipped :]) - level_db(noise[cut + skipped :])
                assert measured == pytest.approx(item.sources["snr_db"], abs=tolerance)

    def test_the_first_noise_does_not_step_at_the_transition(self, items: list[Item], corpus: Corpus) -> None:
        item = next(i for i in items if i.task == "background_random" and i.labels["noise_positive"] == "hiss")
        source, noise = item.sources["speech"], item.sources["noise_positive"]
        speech = corpus.samples(source["recording"])[source["start"] : source["end"]] * source["gain"]
        left = item.positive / 32768 / item.gain - speech
        step = level_db(left[item.transition :]) - level_db(left[: item.transition])
        assert step == pytest.approx(noise["step_db"], abs=0.05)
        assert abs(step) < 0.5  # stationary noise

    def test_classes_differ_or_agree_as_the_task_says(self, items: list[Item]) -> None:
        for item in (item for item in items if "background" in item.task):
            same = item.labels["noise_positive"] == item.labels["noise_negative"]
            assert same == (item.task == "background_domain")
            assert len(noises_of(item)) == 2

    def test_transition_is_half(self, items: list[Item]) -> None:
        for item in (item for item in items if "background" in item.task or item.task == "room"):
            assert item.transition == int(0.5 * len(item.positive))

    def test_every_snr_band_comes_equally_often(self, items: list[Item]) -> None:
        bands = Counter(item.labels["snr_band_db"] for item in items if "background" in item.task)
        assert set(bands) == {"0.01-0.02", "0.1-0.2", "1-2", "5-10"}
        assert max(bands.values()) - min(bands.values()) <= 8


class TestRepeatable:
    def test_same_seed_same_bytes(self, items: list[Item], corpus: Corpus) -> None:
        again = clips_and_pairs(iter(build(corpus, screen=PitchScreen())))
        for one, two in zip(clips_and_pairs(iter(items)), again, strict=True):
            assert one.equals(two)

    def test_another_seed_gives_other_items(self, items: list[Item], corpus: Corpus) -> None:
        other = build(corpus, seed=1, tasks={"room": 4})
        mine = [item for item in items if item.task == "room"][:4]
        assert [i.sources["speech"] for i in other] != [i.sources["speech"] for i in mine]

    def test_a_limited_run_gives_the_first_items_of_the_full_one(self, items: list[Item], corpus: Corpus) -> None:
        part = build(corpus, screen=PitchScreen(), limit=5)
        full = [item for item in items if item.index < 5]
        for one, two in zip(clips_and_pairs(iter(part)), clips_and_pairs(iter(full)), strict=True):
            assert one.equals(two)

    def test_more_pairs_and_other_tasks_leave_the_first_ones_as_they_are(
        self, items: list[Item], corpus: Corpus
    ) -> None:
        fewer = build(corpus, tasks={"splice_control": 6, "background_random": 10})
        for task, n_items in (("splice_control", 6), ("background_random", 10)):
            mine = clips_and_pairs(i for i in items if i.task == task and i.index < n_items)
            theirs = clips_and_pairs(i for i in fewer if i.task == task)
            assert mine[1].equals(theirs[1])
            assert mine[0].equals(theirs[0])

    def test_the_first_items_are_diverse(self, items: list[Item]) -> None:
        for task, n_clusters in (("speaker", 4), ("room", 4), ("splice_control", 3), ("background_domain", 3)):
            first = [item for item in items if item.task == task][:8]
            assert len({item.cluster for item in first}) >= n_clusters
            assert {item.fold for item in first} == {"a", "b"}


class TestTooLittle:
    def test_too_few_lines_says_how_many_pairs_can_be_made_and_why(self, corpus: Corpus) -> None:
        with pytest.raises(ConfigError, match=r"'speaker': 500 pairs asked for, \d+ can be made.*of 6 speakers"):
            build(corpus, tasks={"speaker": 500}, screen=PitchScreen())

    def test_voices_too_much_alike(self, corpus: Corpus, tmp_path: Path) -> None:
        rows = [row.split(",") for row in corpus.recordings.read_text().splitlines()[1:]]
        (tmp_path / "clips").symlink_to(corpus.recordings.parent / "clips")
        table = write_table(tmp_path / "t.csv", [row for row in rows if row[1] in {"emil", "fred"}])
        with pytest.raises(ConfigError, match=r"0 can be made.*1 of 1 pairs of screened voices are too much alike"):
            build(corpus, recordings=table, tasks={"speaker": 4}, screen=PitchScreen())

    def test_noises_of_one_class_make_no_random_pairs(self, corpus: Corpus, tmp_path: Path) -> None:
        (tmp_path / "hiss").symlink_to(corpus.noises / "hiss")
        with pytest.raises(ConfigError, match=r"files of two classes; there are 1 class\(es\): hiss \(4\)"):
            build(corpus, noises=tmp_path, tasks={"background_random": 4})
        assert len(build(corpus, noises=tmp_path, tasks={"background_domain": 4})) == 4

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tasks": {"speeker": 4}}, "unknown task 'speeker'; known: speaker"),
            ({"tasks": {}}, "expected task: number of pairs"),
            ({"tasks": {"room": 0}}, "at least 1, found 0"),
            ({"tasks": {"background_random": 4}, "noises": None}, "needs 'noises'"),
            ({"tasks": {"gender": 4}}, "needs a column 'gender'"),
            ({"prompt_s": 0.5}, "at least min_part_s"),
            ({"crossfade_s": 0.5}, "a quarter of min_part_s"),
            ({"noises": Path("nowhere")}, "nowhere: no such folder"),
            ({"evaluation_groups": Path("nowhere.txt")}, "nowhere.txt: no such file"),
        ],
    )
    def test_settings_that_cannot_be_used(self, corpus: Corpus, changes: dict[str, object], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            build(corpus, **changes)


def test_stereo_other_rates_and_24_bits_are_converted_and_noted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "clips").mkdir()
    rows = []
    for number in range(8):
        samples = voice(150.0, 3.6, rng)
        kind = number % 4
        stereo = np.stack([samples, samples], axis=1)
        name = f"clips/{number}.wav"
        if kind == 0:
            sf.write(tmp_path / name, stereo, RATE, subtype="PCM_16")
        elif kind == 1:
            sf.write(tmp_path / name, np.repeat(samples, 2), 2 * RATE, subtype="PCM_16")
        else:
            sf.write(tmp_path / name, samples, RATE, subtype="PCM_24" if kind == 2 else "PCM_16")
        rows.append([name, "anna", "xx", "", ""])
    items = list(Consistency(write_table(tmp_path / "t.csv", rows), {"room": 16}, sample_rate=RATE).items())
    notes = {item.sources["speech"]["recording"]: item.note for item in items}
    expected = ["2 channels averaged", "16000 Hz resampled to 8000 Hz", "more than 16 bits stored as 16", ""]
    assert notes == {f"clips/{n}.wav": expected[n % 4] for n in range(8)}


def test_peaks_above_full_scale_are_scaled_by_one_gain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "clips").mkdir()
    rows = []
    for number in range(4):
        samples = 0.001 * rng.standard_normal(3 * RATE)
        samples[::4000] = 0.5  # a crest factor that -26 dB RMS cannot hold
        sf.write(tmp_path / f"clips/{number}.wav", samples, RATE)
        rows.append([f"clips/{number}.wav", "anna", "xx", "", ""])
    items = list(Consistency(write_table(tmp_path / "t.csv", rows), {"splice_control": 4}, sample_rate=RATE).items())
    assert all(item.gain < 1 for item in items)
    for item in items:
        np.testing.assert_array_equal(item.positive[: item.transition], item.negative[: item.transition])
        assert max(item.positive.max(), item.negative.max()) == 32767


def test_couples_follow_each_other(items: list[Item]) -> None:
    assert all(two.index == one.index + 1 or two.task != one.task for one, two in pairwise(items))
