"""Judges of transformers: the published pooling and preparation, each clip alone.

Weights are small and random. What is expected comes from the feature extractor and the model called by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import tiny_judges as tiny
import torch
from numpy.typing import NDArray
from tiny_judges import JUDGES, noise, save_checkpoint
from transformers import AutoFeatureExtractor, AutoModel, ClapAudioModelWithProjection, ClapFeatureExtractor

from spokeneval.audio import resample
from spokeneval.errors import ItemError
from spokeneval.judges.ast_audioset import log_mel
from spokeneval.judges.audeering_dim import EmotionModel
from spokeneval.judges.clap import CLAP
from spokeneval.judges.ssl_audioset import SSLAudioSet

RECORDINGS = Path(__file__).resolve().parents[1] / "resources/fetched/recordings/recordings.csv"
KINDS = tuple(JUDGES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def judges(folders: dict[str, Path]) -> dict[str, Any]:
    return {kind: JUDGES[kind](folder) for kind, folder in folders.items()}


def unit(vector: Any) -> NDArray[np.float64]:
    values = np.asarray(vector, np.float64)
    return values / np.linalg.norm(values)


def check(found: NDArray[np.float32], expected: Any) -> None:
    np.testing.assert_allclose(found, unit(expected), atol=2e-6)


# ---------------------------------------------------------------- as published


@pytest.mark.parametrize("do_normalize", [True, False])
@torch.inference_mode()
def test_wavlm_gives_the_embeddings_of_the_card(tmp_path: Path, do_normalize: bool) -> None:
    save_checkpoint("wavlm_xvector", tmp_path)
    tiny.edit_json(tmp_path / "preprocessor_config.json", do_normalize=do_normalize)
    waveform = noise(16_000, 1.3)
    extractor, model = AutoFeatureExtractor.from_pretrained(tmp_path), tiny.wavlm()
    inputs = extractor([waveform], sampling_rate=16_000, padding=True, return_tensors="pt")
    assert set(inputs) == {"input_values", "attention_mask"}
    check(JUDGES["wavlm_xvector"](tmp_path).embed([waveform])[0], model(**inputs).embeddings[0])


@torch.inference_mode()
def test_the_x_vector_is_mean_and_deviation_over_time_through_a_linear_layer(judges: dict[str, Any]) -> None:
    waveform, model = noise(16_000, 0.9), tiny.wavlm()
    normalised = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    x = model.projector(model.wavlm(torch.from_numpy(normalised)[None]).last_hidden_state)[0].T
    for layer, (kernel, dilation) in zip(model.tdnn, [(5, 1), (3, 2), (3, 3), (1, 1), (1, 1)], strict=True):
        # A context is `kernel` frames, `dilation` apart, one after the other in one vector.
        n = x.shape[1] - (kernel - 1) * dilation
        context = torch.cat([x[:, k * dilation : k * dilation + n] for k in range(kernel)])
        x = torch.relu(layer.kernel(context.T).T)
    pooled = torch.cat([x.mean(dim=1), x.std(dim=1)])
    check(judges["wavlm_xvector"].embed([waveform])[0], model.feature_extractor(pooled))


@pytest.mark.parametrize("model", [tiny.hubert, tiny.wav2vec2])
@torch.inference_mode()
def test_ssl_audioset_is_the_mean_of_the_last_hidden_state_of_five_seconds(tmp_path: Path, model: Any) -> None:
    expected = model()
    expected.save_pretrained(tmp_path)
    tiny.extractor_of("ssl_audioset").save_pretrained(tmp_path)
    judge, waveform = SSLAudioSet(tmp_path), noise(16_000, 6.0)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(waveform[:80_000], sampling_rate=16_000, return_tensors="pt")
    frames = AutoModel.from_pretrained(tmp_path).eval()(inputs.input_values).last_hidden_state[0]
    assert len(frames) == 249
    check(judge.embed([waveform])[0], frames.mean(dim=0))
    assert judge.dimension == tiny.SIZE


@pytest.mark.parametrize(("norm", "agrees"), [("layer", True), ("group", False)])
@torch.inference_mode()
def test_filling_up_to_five_seconds_changes_nothing_where_frames_are_normalised_alone(
    tmp_path: Path, norm: str, agrees: bool
) -> None:
    """The other way to do it: zeros up to 5 s, masked, and left out of the mean."""
    model = tiny.hubert(feat_extract_norm=norm)
    model.save_pretrained(tmp_path)
    tiny.extractor_of("ssl_audioset").save_pretrained(tmp_path)
    waveform = noise(16_000, 2.0)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    inputs = extractor(
        [waveform], sampling_rate=16_000, padding="max_length", truncation=True, max_length=80_000, return_tensors="pt"
    )
    frames = model(**inputs).last_hidden_state[0, :99].mean(dim=0)
    difference = np.abs(SSLAudioSet(tmp_path).embed([waveform])[0] - unit(frames)).max()
    assert (difference < 1e-5) == agrees


@torch.inference_mode()
def test_audeering_is_the_mean_that_the_head_reads_and_the_head_is_the_cards(tmp_path: Path) -> None:
    encoder, head = tiny.save_emotion(tmp_path)
    tiny.extractor_of("audeering_dim").save_pretrained(tmp_path)
    judge, waveform = JUDGES["audeering_dim"](tmp_path), noise(16_000, 1.1)
    values = AutoFeatureExtractor.from_pretrained(tmp_path)(waveform, sampling_rate=16_000)["input_values"][0]
    pooled = encoder(torch.from_numpy(values)[None]).last_hidden_state[0].mean(dim=0)
    check(judge.embed([waveform])[0], pooled)
    tanh = torch.tanh(head["classifier.dense.weight"] @ pooled + head["classifier.dense.bias"])
    expected = head["classifier.out_proj.weight"] @ tanh + head["classifier.out_proj.bias"]
    model: Any = EmotionModel.from_pretrained(tmp_path).eval()
    np.testing.assert_allclose(model(torch.from_numpy(values)[None])[1][0], expected, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("seconds", [1.7, 10.0])
@torch.inference_mode()
def test_clap_is_the_projected_embedding_of_the_clip_repeated(tmp_path: Path, fused: bool, seconds: float) -> None:
    model = tiny.clap(fused)
    model.save_pretrained(tmp_path)
    ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc").save_pretrained(tmp_path)
    waveform = noise(48_000, seconds)
    # By hand: five times 1.7 s and zeros up to ten seconds.
    filled = np.zeros(480_000, np.float32)
    n_repeats = 480_000 // len(waveform)
    filled[: n_repeats * len(waveform)] = np.tile(waveform, n_repeats)
    inputs = ClapFeatureExtractor.from_pretrained(tmp_path)(filled, sampling_rate=48_000, return_tensors="pt")
    assert inputs.is_longer.item() == fused
    projected = ClapAudioModelWithProjection.from_pretrained(tmp_path).eval()(**inputs).audio_embeds[0]
    found = CLAP(tmp_path).embed([waveform])[0]
    check(found, projected)
    check(found, model.get_audio_features(**inputs).pooler_output[0])


@torch.inference_mode()
def test_ast_is_the_mean_of_class_and_distillation_token(judges: dict[str, Any], folders: dict[str, Path]) -> None:
    waveform, classifier = noise(16_000, 3.0), tiny.ast()
    inputs = AutoFeatureExtractor.from_pretrained(folders["ast"])(waveform, sampling_rate=16_000, return_tensors="pt")
    assert inputs.input_values.shape == (1, 1024, 128)
    outputs = classifier.audio_spectrogram_transformer(inputs.input_values)
    found = judges["ast"].embed([waveform])[0]
    check(found, outputs.last_hidden_state[0, :2].mean(dim=0))
    logits = classifier.classifier(outputs.last_hidden_state[:, :2].mean(dim=1))
    torch.testing.assert_close(logits, classifier(inputs.input_values).logits)


def test_the_log_mel_of_ast_is_kaldis() -> None:
    """A frame computed by hand: mean off, pre-emphasis, Hann, power, triangles in mel, logarithm."""
    waveform = noise(16_000, 0.1)
    frame = waveform[160:560].astype(np.float64)
    frame -= frame.mean()
    frame = np.r_[frame[0] * (1 - 0.97), frame[1:] - 0.97 * frame[:-1]] * np.hanning(400)
    power = np.abs(np.fft.rfft(frame, 512)) ** 2
    mels = np.linspace(1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 8000 / 700), 130)
    bins = 1127 * np.log(1 + np.arange(257) * 16_000 / 512 / 700)
    for band in (3, 40, 127):
        low, centre, high = mels[band : band + 3]
        weights = np.clip(np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)), 0, None)
        expected = np.log(max(weights @ power, 2.0**-23))  # band 3 lies between two bins and hears nothing
        assert log_mel(waveform, 16_000, 128)[1, band] == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- longer than the window


@torch.inference_mode()
def test_clap_hears_all_of_longer_audio_and_the_same_each_time(folders: dict[str, Path]) -> None:
    model, extractor = tiny.clap(), ClapFeatureExtractor.from_pretrained(folders["clap"])
    waveform = np.r_[noise(48_000, 10.0, 1), noise(48_000, 3.0, 2)]

    def published(samples: NDArray[np.float32]) -> torch.Tensor:
        inputs = extractor(samples, sampling_rate=48_000, return_tensors="pt")
        return model.get_audio_features(**inputs).pooler_output[0]

    expected = (published(waveform[:480_000]) + published(waveform[-480_000:])) / 2
    np.random.seed(0)  # noqa: NPY002 (the stream that transformers crops from)
    first = CLAP(folders["clap"]).embed([waveform])[0]
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(CLAP(folders["clap"]).embed([waveform])[0], first)
    check(first, expected)
    check(CLAP(folders["clap"], crop_s=10.0).embed([waveform])[0], published(waveform[:480_000]))


@torch.inference_mode()
def test_ast_hears_all_of_longer_audio(judges: dict[str, Any], folders: dict[str, Path]) -> None:
    waveform = np.r_[noise(16_000, 10.24, 1), noise(16_000, 2.0, 2)]
    model, extractor = tiny.ast().audio_spectrogram_transformer, AutoFeatureExtractor.from_pretrained(folders["ast"])
    n_frames = (len(waveform) - 400) // 160 + 1
    starts = [0, 160 * (n_frames - 1024)]
    cut = [waveform[start : start + 1023 * 160 + 400] for start in starts]
    inputs = extractor(cut, sampling_rate=16_000, return_tensors="pt")
    check(judges["ast"].embed([waveform])[0], model(**inputs).pooler_output.mean(dim=0))


# ---------------------------------------------------------------- what holds for every judge


@pytest.mark.parametrize("kind", KINDS)
def test_each_waveform_is_heard_alone(judges: dict[str, Any], kind: str) -> None:
    judge = judges[kind]
    waveforms = [noise(judge.sample_rate, seconds, seed) for seed, seconds in enumerate((0.5, 2.5, 1.0))]
    together = judge.embed(waveforms)
    assert together.shape == (3, judge.dimension)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(judge.embed(waveforms[::-1])[::-1], together)
    np.testing.assert_array_equal(judge.embed(waveforms[1:2])[0], together[1])
    assert not np.allclose(together[0], together[1], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_crop_is_heard_and_nothing_else(folders: dict[str, Path], judges: dict[str, Any], kind: str) -> None:
    rate = JUDGES[kind].sample_rate
    waveform = noise(rate, 2.0)
    cropped = JUDGES[kind](folders[kind], crop_s=0.75).embed([waveform])
    np.testing.assert_array_equal(cropped, judges[kind].embed([waveform[: round(0.75 * rate)]]))
    assert not np.allclose(cropped, judges[kind].embed([waveform]), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_silence_and_too_little_are_refused_with_why(judges: dict[str, Any], kind: str) -> None:
    judge = judges[kind]
    with pytest.raises(ItemError, match="silent"):
        judge.embed([np.zeros(judge.sample_rate, np.float32)])
    with pytest.raises(ItemError, match=r"too short to judge: 0\.10 s, at least 0\.40 s"):
        judge.embed([noise(judge.sample_rate, 0.1)])
    judge.embed([noise(judge.sample_rate, 0.4)])


def test_a_clip_without_two_frames_for_a_deviation_is_refused(tmp_path: Path) -> None:
    tiny.wavlm(tdnn_kernel=[5, 5, 5, 1, 1]).save_pretrained(tmp_path)
    tiny.extractor_of("wavlm_xvector").save_pretrained(tmp_path)
    judge = JUDGES["wavlm_xvector"](tmp_path)
    with pytest.raises(ItemError, match="19 frames of the encoder, 26 are needed"):
        judge.embed([noise(16_000, 0.4)])
    assert np.isfinite(judge.embed([noise(16_000, (400 + 25 * 320) / 16_000)])).all()


@pytest.mark.parametrize("kind", KINDS)
def test_real_speech_goes_through(judges: dict[str, Any], kind: str) -> None:
    if not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS}: run `make fetch`")
    judge, waveforms = judges[kind], []
    for path in pl.read_csv(RECORDINGS).sort("path")["path"][:4]:
        samples, rate = sf.read(RECORDINGS.parent / path, dtype="float32")
        waveforms.append(resample(samples[: 2 * rate], rate, judge.sample_rate))
    vectors = judge.embed(waveforms).astype(np.float64)
    similarity = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-6)
    assert (similarity[~np.eye(4, dtype=bool)] < 1 - 1e-7).all()
