"""Judges of transformers from a configuration: what is refused, what is missing, what their identity depends on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_judges as tiny
import torch
from safetensors.torch import load_file, save_file
from tiny_judges import JUDGES, noise, save_checkpoint
from transformers import (
    ClapFeatureExtractor,
    ClapProcessor,
    Wav2Vec2Config,
    Wav2Vec2ForPreTraining,
    Wav2Vec2ForSequenceClassification,
)

from spokeneval.config import Config, load_config
from spokeneval.errors import ConfigError
from spokeneval.factory import make_judge
from spokeneval.fetch import hub_sources
from spokeneval.fingerprint import Fingerprints
from spokeneval.judges.ssl_audioset import SSLAudioSet
from spokeneval.pin import unpinned
from spokeneval.registry import JUDGES as REGISTERED
from spokeneval.stages import Missing, Stages, missing_lines, what_is_missing

KINDS = tuple(JUDGES)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = {
    "datasets": {"demo": {"kind": "consistency", "recordings": "recordings.csv", "tasks": {"speaker": 3}}},
    "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": "rvq.safetensors"}},
    "models": {"a": {"path": "./a", "tokenizer": "rvq"}},
}
ATTRIBUTES = {"wavlm_xvector": "speaker", "clap": "scene", "ast": "scene", "audeering_dim": "emotion"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_checkpoint(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def config_of(kind: str, path: Path | str, **more: Any) -> Config:
    return load_config(BASE | {"judges": {"judge": {"kind": kind, "path": str(path), **more}}})


def same(found: Any, expected: Any) -> None:
    """By rounding: how tensors lie in a file is how they lie in memory, and moves the last bit."""
    np.testing.assert_allclose(found, expected, atol=1e-6)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, state: dict[str, torch.Tensor]) -> None:
    save_file(state, folder / "model.safetensors", {"format": "pt"})


# ---------------------------------------------------------------- what is loaded


@pytest.mark.parametrize("kind", KINDS)
def test_a_judge_is_made_from_its_block(saved: dict[str, Path], kind: str) -> None:
    judge = make_judge(config_of(kind, saved[kind], crop_s=1.5, tasks=["speaker"]), "judge")
    assert type(judge) is JUDGES[kind] is REGISTERED.load(kind)
    assert judge.attribute == ATTRIBUTES.get(kind, "scene")
    waveform = noise(judge.sample_rate, 2.0)
    expected = JUDGES[kind](saved[kind], crop_s=1.5).embed([waveform])
    np.testing.assert_array_equal(judge.embed([waveform]), expected)


def test_ssl_audioset_hears_five_seconds_unless_told_and_for_what_it_is_asked(saved: dict[str, Path]) -> None:
    folder = saved["ssl_audioset"]
    assert make_judge(config_of("ssl_audioset", folder), "judge").crop_s == 5.0
    judge = make_judge(config_of("ssl_audioset", folder, crop_s=None, attribute="room"), "judge")
    assert (judge.crop_s, judge.attribute) == (None, "room")
    with pytest.raises(ConfigError, match=r"judges\.judge.*attribute"):
        config_of("ssl_audioset", folder, attribute="weather")


@pytest.mark.parametrize("kind", KINDS)
def test_torchs_own_weight_files_load_and_give_the_same(saved: dict[str, Path], kind: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved[kind], tmp_path / "bin"))
    torch.save(weights_of(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    waveform = noise(JUDGES[kind].sample_rate, 0.8)
    same(JUDGES[kind](folder).embed([waveform]), JUDGES[kind](saved[kind]).embed([waveform]))


def test_an_encoder_inside_its_pre_training_model_loads(tmp_path: Path) -> None:
    """The layout of the published wav2vec 2.0: names with a prefix, and heads that are not heard."""
    encoder = tiny.wav2vec2()
    config = Wav2Vec2Config.from_dict(encoder.config.to_dict() | {"proj_codevector_dim": 8, "codevector_dim": 8})
    model = Wav2Vec2ForPreTraining(config)
    model.wav2vec2.load_state_dict(encoder.state_dict())
    model.save_pretrained(tmp_path / "whole")
    encoder.save_pretrained(tmp_path / "encoder")
    for name in ("whole", "encoder"):
        tiny.extractor_of("ssl_audioset").save_pretrained(tmp_path / name)
    waveform = noise(16_000, 0.8)
    found, expected = (SSLAudioSet(tmp_path / name).embed([waveform]) for name in ("whole", "encoder"))
    same(found, expected)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("wavlm_xvector", "ssl_audioset"),
        ("ssl_audioset", "wavlm_xvector"),
        ("clap", "ast"),
        ("ast", "clap"),
        ("audeering_dim", "ssl_audioset"),
    ],
)
def test_another_architecture_is_refused(saved: dict[str, Path], kind: str, other: str) -> None:
    with pytest.raises(ConfigError, match=r"holds a model of type '.*'; expected"):
        make_judge(config_of(kind, saved[other]), "judge")


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        ("wavlm_xvector", "feature_extractor.weight"),
        ("wavlm_xvector", "tdnn.2.kernel.bias"),
        ("ssl_audioset", "encoder.layers.1.final_layer_norm.weight"),
        ("clap", "audio_projection.linear2.weight"),
        ("ast", "audio_spectrogram_transformer.layernorm.weight"),
        ("audeering_dim", "classifier.out_proj.bias"),
        ("audeering_dim", "wav2vec2.encoder.layer_norm.bias"),
    ],
)
def test_weights_that_are_not_there_are_never_random(
    saved: dict[str, Path], kind: str, tensor: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved[kind], tmp_path / "cut"))
    state = weights_of(folder)
    del state[tensor]
    rewrite(folder, state)
    with pytest.raises(ConfigError, match="the weights lack 1 tensors"):
        JUDGES[kind](folder)


def test_weights_after_the_embedding_may_be_absent(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["wavlm_xvector"], tmp_path / "cut"))
    unheard = ("classifier.", "objective.", "wavlm.masked_spec_embed")
    rewrite(folder, {name: values for name, values in weights_of(folder).items() if not name.startswith(unheard)})
    waveform = noise(16_000, 0.8)
    found, expected = (JUDGES["wavlm_xvector"](path).embed([waveform]) for path in (folder, saved["wavlm_xvector"]))
    same(found, expected)


def test_a_wav2vec2_with_another_head_is_no_emotion_model(saved: dict[str, Path], tmp_path: Path) -> None:
    emotion, extra = saved["audeering_dim"], tmp_path / "extra"
    classes = Wav2Vec2ForSequenceClassification(tiny.wav2vec2().config)
    classes.save_pretrained(tmp_path / "classes")
    with pytest.raises(ConfigError, match=r"the weights lack 4 tensors.*classifier\.dense"):
        JUDGES["audeering_dim"](tmp_path / "classes")
    shutil.copytree(emotion, extra)
    rewrite(extra, weights_of(extra) | {"lm_head.weight": torch.zeros(3, 3)})
    with pytest.raises(ConfigError, match=r"hold 1 tensors that EmotionModel does not have, e\.g\. lm_head\.weight"):
        JUDGES["audeering_dim"](extra)
    tiny.save_emotion(tmp_path / "renamed", id2label={"0": "valence", "1": "dominance", "2": "arousal"})
    with pytest.raises(ConfigError, match="names the outputs valence, dominance, arousal; expected arousal"):
        JUDGES["audeering_dim"](tmp_path / "renamed")


class _Planted:
    """Unpickling this writes a file: what a malicious checkpoint would do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.write_text, (self.target, "executed")


@pytest.mark.parametrize("kind", KINDS)
def test_no_code_from_a_weights_file_is_run(saved: dict[str, Path], kind: str, tmp_path: Path) -> None:
    folder, witness = Path(shutil.copytree(saved[kind], tmp_path / "bad")), tmp_path / "witness"
    (folder / "model.safetensors").unlink()
    torch.save({"weight": _Planted(witness)}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=str(folder)):
        JUDGES[kind](folder)
    assert not witness.exists()


# ---------------------------------------------------------------- how audio is prepared


@pytest.mark.parametrize(
    ("kind", "edit", "match"),
    [
        ("wavlm_xvector", {"sampling_rate": 8000}, "`sampling_rate` is 8000; this judge takes 16000"),
        ("ssl_audioset", {"do_normalize": None}, "does not say `do_normalize`"),
        ("audeering_dim", {"sampling_rate": None}, "does not say `sampling_rate`"),
        ("ssl_audioset", {"feature_extractor_type": "ASTFeatureExtractor"}, "is made for 'ASTFeatureExtractor'"),
        ("clap", {"sampling_rate": 44_100}, "`sampling_rate` is 44100; this judge takes 48000"),
        ("clap", {"truncation": "fusion"}, "`truncation` is 'fusion'; this judge takes 'rand_trunc'"),
        ("clap", {"padding": "pad"}, "`padding` is 'pad'; this judge takes 'repeatpad'"),
        ("clap", {"max_length_s": None}, "does not say `max_length_s`"),
        ("ast", {"do_normalize": False}, "`do_normalize` is False; this judge takes True"),
        ("ast", {"num_mel_bins": 64}, "`num_mel_bins` is 64; this judge takes 128"),
        ("ast", {"max_length": 512}, "`max_length` is 512; this judge takes 1024"),
        ("ast", {"mean": None}, "does not say `mean`"),
    ],
)
def test_a_preparation_that_contradicts_is_refused(
    saved: dict[str, Path], kind: str, edit: dict[str, Any], match: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved[kind], tmp_path / "edited"))
    tiny.edit_json(folder / "preprocessor_config.json", **edit)
    with pytest.raises(ConfigError, match=f"preprocessor_config.json: {match}"):
        JUDGES[kind](folder)


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_preparation_a_checkpoint_is_not_guessed_at(
    saved: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(saved[kind], tmp_path / "bare"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"no preprocessor_config\.json, which says"):
        make_judge(config_of(kind, folder), "judge")
    if kind in ("clap", "ast"):
        with pytest.raises(ConfigError, match="do_normalize"):
            config_of(kind, folder, do_normalize=True)
        return
    waveform = noise(16_000, 0.8)
    said, unsaid = (make_judge(config_of(kind, folder, do_normalize=value), "judge") for value in (True, False))
    same(said.embed([waveform]), JUDGES[kind](saved[kind]).embed([waveform]))
    assert not np.allclose(unsaid.embed([waveform]), said.embed([waveform]), atol=1e-4)
    with pytest.raises(ConfigError, match="`do_normalize` is True; this judge takes False"):
        make_judge(config_of(kind, saved[kind], do_normalize=False), "judge")


def test_the_preparation_is_found_in_a_saved_processor(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved["clap"], tmp_path / "processor"))
    part = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        json.dumps({"feature_extractor": part, "processor_class": ClapProcessor.__name__})
    )
    assert ClapFeatureExtractor.from_pretrained(folder).truncation == "rand_trunc"
    waveform = noise(48_000, 0.8)
    found, expected = (JUDGES["clap"](path).embed([waveform]) for path in (folder, saved["clap"]))
    same(found, expected)


# ---------------------------------------------------------------- the hub, and identities


def missing_judges(config: Config) -> list[Missing]:
    return [entry for entry in what_is_missing(config, None) if entry.text.startswith("judges.")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_on_the_hub_is_pinned_fetched_and_missed_by_name(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    named, pinned = config_of(kind, "lab/judge"), config_of(kind, "lab/judge", revision=COMMIT)
    lines = missing_lines(missing_judges(named), "config.yaml")
    assert lines[0].startswith("judges.judge.path: lab/judge is not there; if it is a name on the hub, add `revision")
    assert "`make pin CONFIG=...`" in lines[0]
    assert lines[1].startswith("run `make pin CONFIG=config.yaml`, then `make fetch CONFIG=config.yaml`")
    assert unpinned(named) == {"lab/judge": "model"}
    assert unpinned(pinned) == {}
    assert [source.name for source in hub_sources(pinned)] == [f"hub:model:lab/judge@{COMMIT}"]
    assert "is not in the hub's cache" in missing_judges(pinned)[0].text
    with pytest.raises(ConfigError, match="run `make fetch"):
        make_judge(pinned, "judge")


def embeddings(folder: Path, kind: str, path: Path, name: str = "judge", **more: Any) -> tuple[str, str]:
    """Identities of the embeddings and of the qualification."""
    config = load_config(BASE | {"judges": {name: {"kind": kind, "path": str(path), **more}}})
    stages = Stages(config, Fingerprints(folder / "lock.json"))
    return stages.embeddings(name), stages.qualification(name)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_depend_on_weights_preparation_and_crop_and_on_no_device_or_name(
    saved: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(saved[kind], tmp_path / "elsewhere"))
    before = embeddings(tmp_path, kind, saved[kind])
    assert embeddings(tmp_path, kind, copy) == before
    assert embeddings(tmp_path, kind, copy, name="other", device="cuda", max_items=3)[0] == before[0]
    assert embeddings(tmp_path, kind, copy, crop_s=1.0)[0] != before[0]
    tiny.edit_json(copy / "preprocessor_config.json", sampling_rate=8000)
    prepared = embeddings(tmp_path, kind, copy)[0]
    rewrite(copy, {name: values + 1 for name, values in weights_of(copy).items()})
    assert len({before[0], prepared, embeddings(tmp_path, kind, copy)[0]}) == 3


def test_what_it_is_asked_for_moves_the_verdicts_and_no_embedding(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = saved["ssl_audioset"]
    scene, room = (embeddings(tmp_path, "ssl_audioset", folder, attribute=what) for what in ("scene", "room"))
    assert scene[0] == room[0]
    assert scene[1] != room[1]
