"""An exported listening test: what is heard, how loud, by whom, under which names, and in other tools' layouts."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from spokeneval.audio import make_clip, pcm_digest
from spokeneval.config.listening_tests import ListeningTest, RaterPage
from spokeneval.errors import ConfigError
from spokeneval.listening_test.assignment import assign
from spokeneval.listening_test.export import Exported, export
from spokeneval.listening_test.layouts import Asked
from spokeneval.listening_test.loudness import at_loudness, integrated_loudness, true_peak_db
from spokeneval.listening_test.page import rater_page
from spokeneval.listening_test.questions import QUESTION_NAMES, QUESTIONS
from spokeneval.listening_test.schemas import MANIFEST, NOT_HEARD
from spokeneval.listening_test.selection import Sound, choose_items, tasks_asked
from spokeneval.ratings.run import make_ratings
from spokeneval.tables import PAIRS, write_table

RATE = 16_000
MODELS = ["lm-big", "lm-small", "lm-tiny"]


def sine(level: float, seconds: float, rate: int = 48_000, hertz: float = 997.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


# ---------------------------------------------------------------- loudness


def test_loudness_is_that_of_the_standard() -> None:
    """ITU-R BS.1770-4, annex 1: a 997 Hz sine of full scale in one channel is at -3.01 LKFS (EBU 3341 allows .1)."""
    assert integrated_loudness(sine(1.0, 2.0), 48_000) == pytest.approx(-3.01, abs=0.1)
    assert integrated_loudness(sine(0.1, 1.2), 48_000) == pytest.approx(-23.01, abs=0.1)
    # the relative gate: 1 s of speech level and 1 s that is 30 dB lower count as the first second
    quiet = np.concatenate([sine(0.1, 2.0), sine(0.003, 2.0)])
    assert integrated_loudness(quiet, 48_000) == pytest.approx(-23.01, abs=0.4)


@given(st.floats(0.01, 0.9), st.floats(-35, -20))
@settings(max_examples=20, deadline=None)
def test_everything_has_the_loudness_asked_for(level: float, target: float) -> None:
    loud = at_loudness(sine(level, 0.6, RATE), RATE, target)
    assert loud is not None
    assert not loud.held_back
    assert integrated_loudness(loud.waveform, RATE) == pytest.approx(target, abs=0.05)
    assert loud.loudness_lufs == pytest.approx(target)


def test_peaks_are_kept_and_never_clipped() -> None:
    clicks = np.zeros(RATE, dtype=np.float32)
    clicks[::4000] = 0.5
    loud = at_loudness(clicks, RATE, -23.0)
    assert loud is not None
    assert loud.held_back
    assert true_peak_db(loud.waveform, RATE) == pytest.approx(-1.0, abs=0.01)
    assert loud.loudness_lufs == pytest.approx(integrated_loudness(loud.waveform, RATE), abs=0.05)
    assert loud.loudness_lufs < -23


def test_what_is_too_short_or_silent_has_no_loudness() -> None:
    assert at_loudness(sine(0.5, 0.39, RATE), RATE, -23) is None
    assert at_loudness(np.zeros(RATE, dtype=np.float32), RATE, -23) is None
    assert true_peak_db(np.zeros(10, dtype=np.float32), RATE) == -math.inf


# ---------------------------------------------------------------- who hears what


@given(n_items=st.integers(1, 30), n_systems=st.integers(1, 9), m=st.integers(1, 9), data=st.data())
@settings(max_examples=60, deadline=None)
def test_each_rater_hears_each_system_equally_often_and_no_sound_twice(
    n_items: int, n_systems: int, m: int, data: st.DataObject
) -> None:
    m = min(m, n_systems)
    n_slots = data.draw(st.integers(1, 12))
    found = assign([[True] * n_systems] * n_items, n_slots, m, (0,))
    assert (found.n_replaced, found.n_left_out) == (0, 0)
    for slot in range(1, n_slots + 1):
        trials = [t for t in found.trials if t.slot == slot]
        assert [t.position for t in trials] == list(range(1, n_items * m + 1))
        assert len({(t.item, t.system) for t in trials}) == n_items * m
        assert set(Counter(t.item for t in trials).values()) == {m}
        counts = Counter(t.system for t in trials)
        heard = [counts[s] for s in range(n_systems)]
        assert max(heard) - min(heard) <= m
        if m == 1:
            assert max(heard) - min(heard) <= 1
    if n_slots * m == n_systems:
        assert set(Counter((t.item, t.system) for t in found.trials).values()) == {1}


def test_a_sound_that_is_not_there_is_replaced_and_counted() -> None:
    there = [[True, True, False], [True, True, True], [False, False, False]]
    found = assign(there, 3, 1, (0,))
    heard = [(t.slot, t.item, t.system) for t in found.trials]
    assert all(there[item][system] for _, item, system in heard)
    assert (found.n_replaced, found.n_left_out) == (1, 3)
    assert len(heard) == 6


def test_raters_hear_other_orders_and_no_item_follows_itself() -> None:
    found = assign([[True] * 4] * 6, 8, 2, (3,))
    orders = {slot: [(t.item, t.system) for t in found.trials if t.slot == slot] for slot in range(1, 9)}
    assert len({tuple(item for item, _ in order) for order in orders.values()}) > 4
    for order in orders.values():
        assert all(a[0] != b[0] for a, b in itertools.pairwise(order))
    with pytest.raises(ConfigError, match="expected 1 to 4"):
        assign([[True] * 4], 1, 5, (0,))


# ---------------------------------------------------------------- what is heard


def test_questions_find_their_tasks_by_name() -> None:
    salmon = ["sentiment_consistency", "speaker_consistency", "gender_consistency", "bg_domain_consistency"]
    salmon += ["bg_all_consistency", "rir_consistency"]
    fitting = {name: tasks_asked(QUESTIONS[name], salmon, None, "t") for name in QUESTION_NAMES}
    assert fitting["naturalness"] == salmon
    assert fitting["same_speaker"] == ["speaker_consistency", "gender_consistency"]
    assert fitting["same_background"] == ["bg_domain_consistency", "bg_all_consistency"]
    assert fitting["same_room"] == ["rir_consistency"]
    assert fitting["same_emotion"] == ["sentiment_consistency"]
    with pytest.raises(ConfigError, match="fits none of the tasks speaker by its name"):
        tasks_asked(QUESTIONS["same_room"], ["speaker"], None, "t")
    with pytest.raises(ConfigError, match="no task 'speeker' with prompts; did you mean 'speaker'"):
        tasks_asked(QUESTIONS["same_room"], ["speaker"], ["speeker"], "t")


def items(n: int, task: str = "speaker") -> pl.DataFrame:
    rows = [
        {
            "item_id": f"{task}-{k}",
            "task": task,
            "index": k,
            "cluster": f"c{k % 4}",
            "fold": "ab"[k % 2],
            "transition": 1,
            "sample_rate": RATE,
            "prompt": f"prompt {task} {k}",
            "positive": f"p{task}{k}",
            "negative": f"n{task}{k}",
            "continuation_positive": f"true {task} {k}",
            "continuation_negative": f"wrong {task} {k}",
            "labels": "{}",
            "sources": "{}",
            "seed": k,
            "status": "failed" if k == 3 else "ok",
            "reason": "broken" if k == 3 else None,
        }
        for k in range(n)
    ]
    table = pl.from_arrow(PAIRS.from_rows(rows))
    assert isinstance(table, pl.DataFrame)
    return table


def test_items_are_drawn_over_clusters_and_never_failed_ones() -> None:
    chosen = choose_items(items(20), ["speaker"], 4, 0)
    assert sorted(chosen["cluster"]) == ["c0", "c1", "c2", "c3"]
    assert "speaker-3" not in choose_items(items(20), ["speaker"], 20, 0)["item_id"]
    assert len(choose_items(items(20), ["speaker"], 99, 0)) == 19
    assert chosen["item_id"].to_list() != choose_items(items(20), ["speaker"], 4, 1)["item_id"].to_list()


class Store:
    """Stored audio of every sound: noise of its own; what `broken` names cannot be heard."""

    def __init__(self, broken: tuple[str, str] | None = None, changed: str | None = None) -> None:
        self.broken, self.changed = broken, changed

    def __call__(self, sound: Sound) -> tuple[bytes, str] | str:
        if (sound.system_id, sound.item_id) == self.broken:
            return "silent: nothing to hear"
        seed = abs(hash((sound.system_id, sound.item_id, sound.system_id == self.changed))) % 2**32
        rate = 24_000 if sound.system_id == "lm-big" else RATE
        noise = np.random.default_rng(seed).normal(0, 0.01 + 0.1 * (seed % 3), round(0.7 * rate))
        clip = make_clip(noise.astype(np.float32), rate)
        return clip.flac, clip.clip_id


def asked_for(**changes: object) -> ListeningTest:
    known = {"dataset": "demo", "questions": ("naturalness", "same_speaker"), "items_per_task": 5, "raters": 10}
    return ListeningTest.model_validate(known | changes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Path]:
    folder = tmp_path_factory.mktemp("export")
    broken = ("lm-tiny", choose_items(items(12), ["speaker"], 5, 0)["item_id"][0])
    return export("first", asked_for(), items(12), MODELS, lambda _: Store(broken), folder), folder


def test_what_is_written_is_what_the_manifest_says(exported: tuple[Exported, Path]) -> None:
    made, folder = exported
    manifest = made.manifest
    assert manifest.schema == pl.from_arrow(MANIFEST.empty()).schema  # type: ignore[union-attr]
    files = {path.stem for path in (folder / "for_raters/audio").iterdir()}
    assert files == set(manifest["blinded_name"])
    assert len(manifest) == 5 * (3 + 2 + 1) - 1  # models, anchors, prompts; one continuation cannot be heard
    for row in manifest.iter_rows(named=True):
        samples, rate = sf.read(folder / f"for_raters/audio/{row['blinded_name']}.wav", dtype="int16")
        assert rate == 24_000  # the highest of all
        assert pcm_digest(samples.astype(np.int32), "PCM_16", rate) == row["heard_sha256"]
        assert row["seconds"] == pytest.approx(0.7)
        assert integrated_loudness(samples / np.float32(2**15), rate) == pytest.approx(row["loudness_lufs"], abs=0.1)
    roles = dict(manifest.group_by("system_id").agg(pl.col("role").first()).iter_rows())
    assert roles == {
        **dict.fromkeys(MODELS, "system"),
        "true_continuation": "anchor",
        "mismatched_continuation": "anchor",
        "prompt": "human",
    }
    assert made.not_heard.select(NOT_HEARD.arrow.names).rows()[0][1:] == (
        "lm-tiny",
        "speaker",
        choose_items(items(12), ["speaker"], 5, 0)["item_id"][0],
        0,
        "silent: nothing to hear",
    )
    assert "1 continuations cannot be heard" in made.text


def test_nothing_that_raters_get_tells_a_system(exported: tuple[Exported, Path]) -> None:
    _, folder = exported
    page = (folder / "for_raters/index.html").read_text()
    for word in (*MODELS, "true_continuation", "mismatched", "anchor", "speaker-"):
        assert word not in page, word
    names = [path.name for path in (folder / "for_raters").rglob("*")]
    assert all(word not in name for word in (*MODELS, "true", "mismatched", "speaker") for name in names)


def test_the_same_sound_keeps_its_name_and_another_never_gets_it(
    exported: tuple[Exported, Path], tmp_path: Path
) -> None:
    made, _ = exported
    broken = ("lm-tiny", choose_items(items(12), ["speaker"], 5, 0)["item_id"][0])
    again = export(
        "first", asked_for(), items(12), MODELS, lambda _: Store(broken, changed="lm-small"), tmp_path
    ).manifest
    key = ["system_id", "item_id"]
    both = made.manifest.join(again, on=key, suffix="_again")
    same = both.filter(pl.col("blinded_name") == pl.col("blinded_name_again"))
    assert set(same["system_id"]) == {"lm-big", "lm-tiny", "true_continuation", "mismatched_continuation", "prompt"}
    assert not set(again.filter(system_id="lm-small")["blinded_name"]) & set(made.manifest["blinded_name"])


def test_assignment_names_what_is_compared(exported: tuple[Exported, Path]) -> None:
    made, _ = exported
    prompts = dict(made.manifest.filter(system_id="prompt").select("blinded_name", "item_id").iter_rows())
    item_of = dict(made.manifest.select("blinded_name", "item_id").iter_rows())
    compared = made.assignment.filter(dimension="same_speaker")
    assert all(prompts[row["reference_name"]] == item_of[row["blinded_name"]] for row in compared.iter_rows(named=True))
    assert made.assignment.filter(dimension="naturalness")["reference_name"].null_count() == 50
    assert not set(made.assignment["blinded_name"]) & set(prompts)
    assert len(made.assignment) == 2 * 10 * 5


def test_prompt_and_continuation_in_one_sound(tmp_path: Path) -> None:
    settings_ = asked_for(questions=("naturalness",), heard="prompt_and_continuation", pause_s=0.1, anchors=False)
    manifest = export("first", settings_, items(12), ["lm-small"], lambda _: Store(), tmp_path).manifest
    assert manifest["seconds"].to_list() == pytest.approx([1.5] * 5)
    assert set(manifest["system_id"]) == {"lm-small"}
    sources = {Store()(Sound("lm-small", "system", "speaker", i, 0, "", None))[1] for i in manifest["item_id"]}
    assert set(manifest["source_sha256"]) == sources


def test_a_test_that_nobody_can_hear_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing can be heard"):
        export("first", asked_for(), items(12), MODELS, lambda _: lambda sound: "empty: nothing to hear", tmp_path)


# ---------------------------------------------------------------- other tools, and back


def test_other_tools_get_their_layouts(exported: tuple[Exported, Path]) -> None:
    made, folder = exported
    config = yaml.safe_load((folder / "webmushra/configs/first-001.yaml").read_text())
    pages = [page for page in config["pages"] if page["type"] == "likert_single_stimulus"]
    asked = made.assignment.filter(slot=1)
    assert [next(iter(page["stimuli"])) for page in pages] == asked["blinded_name"].to_list()
    assert [r["value"] for r in pages[0]["response"]] == [1, 2, 3, 4, 5]
    assert config["pages"][-1]["questionnaire"][0]["name"] == "listener_id"
    trees = sorted(path.name for path in (folder / "reseval/naturalness").iterdir())
    assert trees == sorted([*MODELS, "true_continuation", "mismatched_continuation"])
    assert yaml.safe_load((folder / "reseval/naturalness.yaml").read_text())["test"] == "mos"
    rows = list(csv.DictReader(io.StringIO((folder / "p808/naturalness/rating_clips.csv").read_text())))
    rated = set(made.assignment.filter(dimension="naturalness")["blinded_name"])
    assert {row["rating_clips"] for row in rows} == {f"{name}.wav" for name in rated}
    gold = list(csv.DictReader(io.StringIO((folder / "p808/naturalness/gold_clips.csv").read_text())))
    top = made.manifest.filter(system_id="true_continuation")["blinded_name"]
    assert {row["gold_clips"] for row in gold} <= {f"{name}.wav" for name in top}
    assert {row["gold_clips_ans"] for row in gold} == {"5"}


def test_the_study_that_comes_with_it_reads_its_answers(exported: tuple[Exported, Path], tmp_path: Path) -> None:
    made, folder = exported
    (tmp_path / "answers").mkdir()
    (tmp_path / "study.yaml").write_bytes((folder / "keep/study.yaml").read_bytes())
    write_table(tmp_path / "manifest.parquet", made.manifest, MANIFEST, "identity")
    asked = made.assignment.filter(slot=1)
    lines = ["test_id,dimension,listener_id,blinded_name,score,seconds,plays,comment"]
    lines += [f"first,{row['dimension']},me,{row['blinded_name']},4,3.5,1," for row in asked.iter_rows(named=True)]
    (tmp_path / "answers/me.csv").write_text("\n".join(lines) + "\n")
    text = make_ratings(tmp_path / "study.yaml", tmp_path / "out")
    votes = pl.read_parquet(tmp_path / "out/ratings.parquet")
    assert len(votes) == 10
    assert set(votes["audio"]) == {"own"}
    assert not votes["simulated"].any()
    assert "simulated" not in text.lower()


def test_text_of_the_configuration_is_escaped_in_the_page() -> None:
    evil = "</script><script>alert(1)</script>"
    asked = Asked(QUESTIONS["naturalness"], evil, None)
    page = rater_page(evil, {1: [asked]}, RaterPage(introduction=evil, contact=evil, post_to=evil), None)
    assert evil not in page
    assert page.count("<script") == 3
