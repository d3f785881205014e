"""The demo's split, its training, and the codebooks and models that are committed."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from spokeneval.demo import language_models
from spokeneval.demo.codebooks import k_means
from spokeneval.demo.language_models import RECIPES, STREAMS, Recipe, Stream, learning_rate, to_ids
from spokeneval.demo.speech import CodedClip, Windows, encode_all, training_utterances
from spokeneval.demo.split import VALIDATION_SCENES, choose_evaluation_scenes, read_scenes, split_digest
from spokeneval.errors import ConfigError, SpokenevalError
from spokeneval.tokenizers.base import Codes
from spokeneval.tokenizers.codebook import nearest
from spokeneval.tokenizers.mel_rvq import MelRVQ

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "resources/demo"
RECORDINGS = ROOT / "resources/fetched/recordings/recordings.csv"
MODELS = sorted(path for path in (DEMO / "models").iterdir() if path.is_dir())
MAX_BYTES = 4e6

needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_file(), reason="the demo's recordings were not fetched: python -m spokeneval.demo.fetch"
)


# ------------------------------------------------------------------ split


def test_the_rule_takes_the_scenes_nearest_to_its_share() -> None:
    seconds = {
        ("BOB", "BOB1"): 50.0,
        ("BOB", "BOB2"): 30.0,
        ("BOB", "BOB3"): 20.0,
        ("SUE", "SUE1"): 99.0,
        ("SUE", "SUE2"): 1,
    }
    # BOB: 30 % or 50 % or 20 %; 50 % lies nearest to 42 %, by BOB1 or by BOB2 + BOB3: the first in order
    assert choose_evaluation_scenes(seconds) == ["BOB1", "SUE2"]


def test_every_second_voice_with_one_scene_is_evaluated() -> None:
    assert choose_evaluation_scenes({(name, name): 10.0 for name in "DACBE"}) == ["B", "D"]


def test_scenes_are_read_without_comments(tmp_path: Path) -> None:
    (tmp_path / "scenes.txt").write_text("# why\nBOB1  # a scene\n\nSUE2\n")
    assert read_scenes(tmp_path / "scenes.txt") == {"BOB1", "SUE2"}
    (tmp_path / "scenes.txt").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="lists no scene"):
        read_scenes(tmp_path / "scenes.txt")
    with pytest.raises(ConfigError, match="no such file"):
        read_scenes(tmp_path / "other.txt")


def test_no_validation_scene_is_evaluated() -> None:
    assert not set(VALIDATION_SCENES) & read_scenes(DEMO / "evaluation_scenes.txt")


def test_training_never_sees_an_evaluated_scene(tmp_path: Path) -> None:
    rows = [("a.mp3", "JOE", "BOB1"), ("b.mp3", "BOB", "BOB1"), ("c.mp3", "BOB", "BOB2"), ("d.mp3", "BOB", "BOB4")]
    with (tmp_path / "recordings.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "speaker", "group"), *rows])
    (tmp_path / "scenes.txt").write_text("BOB1\n")
    fitted, held_out = training_utterances(tmp_path / "recordings.csv", tmp_path / "scenes.txt")
    assert [u.path.name for u in fitted] == ["d.mp3"]
    assert [u.path.name for u in held_out] == ["c.mp3"]  # BOB2 is a validation scene
    with pytest.raises(SpokenevalError, match=r"spokeneval\.demo\.fetch"):
        training_utterances(tmp_path / "nowhere.csv", tmp_path / "scenes.txt")


@needs_recordings
def test_the_committed_split_is_what_the_rule_gives() -> None:
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    total: dict[str, float] = defaultdict(float)
    with RECORDINGS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            duration_s = sf.info(RECORDINGS.parent / row["path"]).duration
            total[row["group"]] += duration_s
            if row["speaker"] != "JOE":
                seconds[row["speaker"], row["group"]] += duration_s
    evaluated = read_scenes(DEMO / "evaluation_scenes.txt")
    assert sorted(evaluated) == choose_evaluation_scenes(seconds)
    assert 0.35 <= sum(total[scene] for scene in evaluated) / sum(total.values()) <= 0.40
    scenes: dict[str, set[str]] = defaultdict(set)
    for speaker, scene in seconds:
        scenes[speaker].add(scene)
    for speaker, own in scenes.items():
        if len(own) > 1:
            assert own & evaluated, speaker
            assert own - evaluated, speaker
    heard = {speaker for speaker, own in scenes.items() if own - evaluated - set(VALIDATION_SCENES)}
    unheard = {speaker for speaker, own in scenes.items() if own & evaluated} - heard
    assert unheard == {"CHEF", "JOHN", "KLUNK", "SHOWERAM"}  # docs/demo.md says so


# ------------------------------------------------------------------ training


def clip(speaker: str, values: list[int], n_codebooks: int = 1) -> CodedClip:
    return CodedClip(
        speaker, np.array(values, np.int32).reshape(-1, n_codebooks), seconds=len(values) / n_codebooks / 50
    )


def test_windows_are_full_and_hold_one_voice() -> None:
    clips = [clip("A", list(range(n, n + 30))) for n in (0, 100)] + [clip("B", [1000] * 7)]
    drawn = Windows(clips, 64).draw(np.random.default_rng(0), 40)
    assert drawn.shape == (40, 64, 1)
    voices = [set(np.unique(window >= 1000)) for window in drawn]
    assert all(len(voice) == 1 for voice in voices)
    assert {True} in voices
    assert {False} in voices


def test_windows_are_the_same_for_the_same_seed() -> None:
    windows = Windows([clip("A", list(range(40))), clip("A", list(range(50, 90)))], 32)
    one, two, other = (windows.draw(np.random.default_rng(seed), 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_ids_are_frame_by_frame_with_bos_first() -> None:
    assert to_ids(np.array([[0, 1, 2], [3, 0, 9]]), (4, 5, 10)).tolist() == [0, 1, 6, 12, 4, 5, 19]


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    recipe = Recipe("mel_rvq", "gpt2", 1, 64, 2, steps=100, learning_rate=1.0, seed=0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[-1] < 0.001
    assert rates[5:] == sorted(rates[5:], reverse=True)


def test_baselines_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STREAMS, "toy", Stream((2,), 10))
    fitted, held_out = [clip("A", [0, 1, 0, 1])], [clip("A", [0, 1, 1])]
    unigram, bigram = language_models.measure_baselines(fitted, held_out, "toy")
    # unigram: (2 + 1) / (4 + 2) = 1/2 each
    assert unigram.nll == pytest.approx(math.log(2))
    # 0 -> 1 seen twice: (2 + 8/2) / (2 + 8); 1 -> 1 never: (0 + 4) / (1 + 8); the first by the unigram
    assert bigram.nll == pytest.approx(-(math.log(1 / 2) + math.log(6 / 10) + math.log(4 / 9)) / 3)
    assert bigram.nats_per_second == pytest.approx(bigram.nll * 3 / (3 / 50))


def test_long_clips_are_measured_up_to_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STREAMS, "toy", Stream((2,), 10))
    unigram, _ = language_models.measure_baselines([clip("A", [0, 1])], [clip("A", [0, 1] * 10)], "toy")
    assert unigram.n_tokens == 10
    assert unigram.seconds == pytest.approx(0.2)


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "llama", "qwen2"])
def test_training_learns_a_cycle_and_is_repeatable(monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    monkeypatch.setitem(STREAMS, "toy", Stream((4, 4), 12))
    clips = [clip("A", [0, 1, 2, 3, 1, 2, 3, 0] * 8, n_codebooks=2)]
    recipe = Recipe("toy", architecture, 1, 32, 2, steps=60, learning_rate=1e-2, seed=3, batch=8)
    said: list[str] = []
    one, two = (language_models.train(recipe, clips, said.append) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    measured = language_models.measure(one, clips, "toy")
    assert measured.nll < 0.5 * math.log(4)
    assert len(measured.nll_by_codebook) == 2
    assert said[-1].startswith("step 60/60")


def test_k_means_finds_separate_clusters_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [50, 0], [0, 50]], np.float32)
    vectors = np.concatenate([c + rng.normal(size=(100, 2)) for c in centres]).astype(np.float32)
    found = k_means(vectors, 3, np.random.default_rng(4))
    again = k_means(vectors, 3, np.random.default_rng(4))
    np.testing.assert_array_equal(found, again)
    # every centroid is the mean of what is nearest to it
    assigned = nearest(vectors, found)
    np.testing.assert_allclose(found, [vectors[assigned == k].mean(axis=0) for k in range(3)], atol=1e-4)


# ------------------------------------------------------------------ what is committed


def test_every_recipe_is_committed() -> None:
    assert {path.name for path in MODELS} == set(RECIPES)
    assert sum(RECIPES[path.name].tokenizer == "mel_rvq" for path in MODELS) >= 6


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_a_committed_model_fits_its_card_codebook_and_split(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    recipe = RECIPES[folder.name]
    codebook = DEMO / "codebooks" / f"{recipe.tokenizer}.safetensors"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MAX_BYTES
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "card.md",
        "config.json",
        "model.safetensors",
    ]
    assert card["codebook_sha256"] == hashlib.sha256(codebook.read_bytes()).hexdigest()
    assert card["split_sha256"] == split_digest(read_scenes(DEMO / "evaluation_scenes.txt"))
    assert (card["recipe"]["steps"], card["recipe"]["batch"]) == (recipe.steps, recipe.batch)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    stream = STREAMS[recipe.tokenizer]
    assert model.get_input_embeddings().num_embeddings == stream.vocabulary
    assert model.config.max_position_embeddings == stream.n_positions
    assert all(values.isfinite().all() for values in model.state_dict().values())


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_the_documented_figures_are_those_of_the_cards(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    documented = (ROOT / "docs/demo.md").read_text(encoding="utf-8").splitlines()
    (row,) = (line for line in documented if line.startswith(f"| `{folder.name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    measured, recipe = card["validation"], card["recipe"]
    assert cells[3] == f"{recipe['steps']} x {recipe['batch']}"
    assert cells[5:] == [f"{measured['nll']:.2f}", f"{measured['nats_per_second']:.0f}"]


@needs_recordings
def test_a_committed_model_has_the_nll_of_its_card() -> None:
    """On a few of the validation clips the card's model beats the one with less training, as the cards say."""
    _, held_out = training_utterances(RECORDINGS, DEMO / "evaluation_scenes.txt")
    tokenizer = MelRVQ(DEMO / "codebooks/mel_rvq.safetensors")
    clips = encode_all(held_out[::8], tokenizer)
    nll = {}
    for name in ("acoustic-xs", "acoustic-llama"):
        model = AutoModelForCausalLM.from_pretrained(DEMO / "models" / name, dtype=torch.float32).eval()
        card = json.loads((DEMO / "models" / name / "card.json").read_text())
        nll[name] = language_models.measure(model, clips, "mel_rvq").nll
        assert nll[name] == pytest.approx(card["validation"]["nll"], abs=0.25)
    assert nll["acoustic-llama"] < nll["acoustic-xs"] - 0.5


def test_committed_codebooks_decode_to_plausible_mel() -> None:
    tokenizer = MelRVQ(DEMO / "codebooks/mel_rvq.safetensors")
    assert tokenizer.info.codebook_sizes == (256, 256, 256)
    codes = np.random.default_rng(0).integers(0, 256, (50, 3), dtype=np.int32)
    log_mel = tokenizer.to_log_mel(Codes(codes, None))
    assert log_mel.min() > -12
    assert log_mel.max() < 4
