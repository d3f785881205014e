"""Judges of optional packages: each agrees with its package's own pipeline; what is absent is named with its command.

Weights are random. The packages are not among the requirements; where one is not installed, its own test is skipped.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from spokeneval.config import load_config
from spokeneval.errors import ConfigError, ItemError
from spokeneval.judges import extras
from spokeneval.judges.ecapa import ECAPA
from spokeneval.judges.emotion2vec import Emotion2vec, read_settings
from spokeneval.judges.titanet import TitaNet, archive
from spokeneval.stages import Stages, missing_lines, what_is_missing

RATE = 16_000
COMMANDS = {
    "ecapa": ("speechbrain", "pip install 'spokeneval[judges-speechbrain]'"),
    "titanet": ("nemo", "pip install 'spokeneval[judges-nemo]'"),
    "emotion2vec": ("funasr", "pip install 'spokeneval[judges-funasr]'"),
}


def noise(seed: int, seconds: float) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


CLIPS = [noise(0, 0.5), noise(1, 1.3), noise(2, 2.0), noise(3, 0.901)]


def check_embeddings(judge: Any, expected: NDArray[np.float32], tolerance: float) -> None:
    """The directions are the package's, each clip is heard alone, and what cannot be judged is refused."""
    found = judge.embed(CLIPS)
    assert found.shape == (len(CLIPS), judge.dimension)
    assert found.dtype == np.float32
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, unit, rtol=0, atol=tolerance)
    assert np.ptp(found, axis=0).max() > 100 * max(tolerance, 1e-7)
    np.testing.assert_array_equal(judge.embed(CLIPS[::-1])[::-1], found)
    np.testing.assert_array_equal(judge.embed(CLIPS[2:3])[0], found[2])
    with pytest.raises(ItemError, match="silent"):
        judge.embed([np.zeros(RATE, np.float32)])
    with pytest.raises(ItemError, match="too short"):
        judge.embed([noise(0, 0.1)])


# ---------------------------------------------------------------- what is not installed


def configuration(kind: str, folder: Path, **keys: Any) -> dict[str, Any]:
    for name in ("r.csv", "codebook.safetensors", "weights.ckpt"):
        (folder / name).touch()
    return {
        "datasets": {"d": {"kind": "consistency", "recordings": str(folder / "r.csv"), "tasks": {"speaker": 3}}},
        "tokenizers": {"t": {"kind": "mel_rvq", "codebook": str(folder / "codebook.safetensors")}},
        "models": {"m": {"path": str(folder), "tokenizer": "t"}},
        "judges": {"j": {"kind": kind, "path": str(folder / "weights.ckpt"), **keys}},
    }


@pytest.mark.parametrize("kind", COMMANDS)
def test_a_package_that_is_absent_is_named_with_its_command_before_anything_runs(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, command = COMMANDS[kind]
    config = load_config(configuration(kind, tmp_path))
    real = importlib.util.find_spec
    monkeypatch.setattr("spokeneval.config.block.find_spec", lambda name: None if name == module else real(name))
    lines = missing_lines(what_is_missing(config, None), "c.yaml")
    assert lines == [f"judges.j: kind '{kind}' needs {module}, which is not installed; {command}"]


@pytest.mark.parametrize(("module", "command"), COMMANDS.values(), ids=COMMANDS)
def test_a_package_that_cannot_be_imported_is_named_with_its_command(
    module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        extras.import_extra(module, "judge")
    assert f"judge needs {module}, which cannot be imported" in str(caught.value)
    assert str(caught.value).endswith(command)


def test_every_command_names_an_extra_that_there_is() -> None:
    import tomllib

    pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    named = {command.partition("[")[2].partition("]")[0] for command in extras.INSTALL.values()}
    assert named <= set(pyproject["project"]["optional-dependencies"])


def test_the_device_and_the_release_of_another_judges_package_move_no_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spokeneval import stages
    from spokeneval.fingerprint import Fingerprints

    def identity(kind: str, **keys: Any) -> str:
        config = load_config(configuration(kind, tmp_path, **keys))
        return Stages(config, Fingerprints(tmp_path / "lock.json")).embeddings("j")

    before = {kind: identity(kind) for kind in ("utmos", *COMMANDS)}
    assert identity("ecapa", device="cuda") == before["ecapa"]
    assert identity("ecapa", crop_s=1.0) != before["ecapa"]
    real = stages.package_version
    monkeypatch.setattr(stages, "package_version", lambda name: "99" if name == "nemo_toolkit" else real(name))
    assert {kind for kind in before if identity(kind) != before[kind]} == {"titanet"}


# ---------------------------------------------------------------- ECAPA


def test_ecapa_gives_the_embeddings_of_speechbrains_own_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("speechbrain")
    from speechbrain.inference.classifiers import EncoderClassifier
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    torch.manual_seed(0)
    network = ECAPA_TDNN(
        80,
        channels=[1024, 1024, 1024, 1024, 3072],
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        attention_channels=128,
        lin_neurons=192,
    )
    torch.save(network.state_dict(), tmp_path / "embedding_model.ckpt")
    modules = {
        "compute_features": Fbank(n_mels=80),
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
        "embedding_model": network,
        "classifier": torch.nn.Identity(),
    }
    own = EncoderClassifier(modules=modules, hparams={"label_encoder": None})
    with torch.no_grad():
        expected = np.stack([own.encode_batch(torch.from_numpy(clip))[0, 0].numpy() for clip in CLIPS])
    check_embeddings(ECAPA(tmp_path), expected, 1e-6)
    state = network.state_dict()
    state.popitem()
    torch.save(state, tmp_path / "less.ckpt")
    with pytest.raises(ConfigError, match=r"less\.ckpt holds another network"):
        ECAPA(tmp_path / "less.ckpt")


class Planted:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def test_code_in_weights_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "was_run"
    torch.save({"model": Planted(target)}, tmp_path / "embedding_model.ckpt")
    with pytest.raises(ConfigError, match="not a checkpoint of plain weights"):
        ECAPA(tmp_path)
    (tmp_path / "embedding_model.ckpt").rename(tmp_path / "model.pt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(EMOTION2VEC))
    with pytest.raises(ConfigError, match="not a checkpoint of plain weights"):
        Emotion2vec(tmp_path)
    pack(tmp_path / "planted.nemo", "./model_weights.ckpt", (tmp_path / "model.pt").read_bytes())
    with pytest.raises(ConfigError, match=r"planted\.nemo is not a checkpoint of plain weights"):
        TitaNet(tmp_path / "planted.nemo")
    assert not target.exists()


# ---------------------------------------------------------------- TitaNet


def pack(file: Path, name: str, content: bytes) -> None:
    with tarfile.open(file, "w") as opened:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        opened.addfile(member, io.BytesIO(content))


def test_a_folder_must_hold_one_archive_and_an_archive_weights(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds 0 \.nemo files \(none\)"):
        archive(tmp_path)
    pack(tmp_path / "a.nemo", "model_config.yaml", b"x: 1")
    assert archive(tmp_path) == tmp_path / "a.nemo"
    with pytest.raises(ConfigError, match=r"a\.nemo has no model_weights\.ckpt"):
        TitaNet(tmp_path)
    (tmp_path / "b.nemo").write_bytes(b"no archive")
    with pytest.raises(ConfigError, match=r"holds 2 \.nemo files \(a\.nemo, b\.nemo\)"):
        TitaNet(tmp_path)
    with pytest.raises(ConfigError, match=r"b\.nemo is not a \.nemo archive"):
        TitaNet(tmp_path / "b.nemo")
    with pytest.raises(ConfigError, match=r"absent\.nemo"):
        TitaNet(tmp_path / "absent.nemo")


def block(filters: int, kernel: int, **more: Any) -> dict[str, Any]:
    """A block of the encoder, as in TitaNet's published settings."""
    return {
        "filters": filters,
        "repeat": 1,
        "kernel": [kernel],
        "stride": [1],
        "dilation": [1],
        "dropout": 0.1,
        "residual": False,
        "separable": True,
        "se": True,
        "se_context_size": -1,
        **more,
    }


TITANET = {
    "sample_rate": RATE,
    "train_ds": None,
    "validation_ds": None,
    "loss": {"_target_": "nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss", "scale": 30, "margin": 0.2},
    "preprocessor": {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "normalize": "per_feature",
        "window_size": 0.025,
        "sample_rate": RATE,
        "window_stride": 0.01,
        "window": "hann",
        "features": 80,
        "n_fft": 512,
        "frame_splicing": 1,
        "dither": 0.00001,
    },
    "encoder": {
        "_target_": "nemo.collections.asr.modules.ConvASREncoder",
        "feat_in": 80,
        "activation": "relu",
        "conv_mask": True,
        "jasper": [block(16, 3), block(16, 7, repeat=2, residual=True), block(32, 1)],
    },
    "decoder": {
        "_target_": "nemo.collections.asr.modules.SpeakerDecoder",
        "feat_in": 32,
        "num_classes": 11,
        "pool_mode": "attention",
        "emb_sizes": 192,
        "angular": True,
    },
}


def test_titanet_gives_the_embeddings_of_nemos_own_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("nemo.collections.asr")
    from nemo.collections.asr.models import EncDecSpeakerLabelModel
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    own = EncDecSpeakerLabelModel(cfg=OmegaConf.create(TITANET)).eval()
    own.save_to(str(tmp_path / "small.nemo"))
    expected = np.stack([own.infer_segment(clip)[0][0].numpy() for clip in CLIPS])
    check_embeddings(TitaNet(tmp_path), expected, 1e-7)


# ---------------------------------------------------------------- emotion2vec

EMOTION2VEC = {
    "model": "Emotion2vec",
    "model_conf": {
        "depth": 2,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_heads": 2,
        "norm_eps": 1e-5,
        "norm_affine": True,
        "encoder_dropout": 0.1,
        "post_mlp_drop": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "dropout_input": 0.0,
        "layerdrop": 0.05,
        "embed_dim": 32,
        "mlp_ratio": 4.0,
        "layer_norm_first": False,
        "average_top_k_layers": 2,
        "end_of_block_targets": False,
        "clone_batch": 8,
        "normalize": True,
        "modalities": {
            "audio": {
                "type": "AUDIO",
                "prenet_depth": 1,
                "prenet_layerdrop": 0.05,
                "prenet_dropout": 0.1,
                "start_drop_path_rate": 0.0,
                "end_drop_path_rate": 0.0,
                "num_extra_tokens": 3,
                "init_extra_token_zero": True,
                "use_alibi_encoder": True,
                "alibi_scale": 1.0,
                "learned_alibi": False,
                "alibi_max_pos": None,
                "learned_alibi_scale": True,
                "learned_alibi_scale_per_head": True,
                "learned_alibi_scale_per_layer": False,
                "num_alibi_heads": 2,
                "model_depth": 2,
                "local_grad_mult": 1.0,
                "ema_local_encoder": False,
                "keep_masked_pct": 0.0,
                "inverse_mask": False,
                "mask_prob": 0.5,
                "mask_noise_std": 0.01,
                "decoder": None,
                "extractor_mode": "layer_norm",
                "feature_encoder_spec": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]",
                "conv_pos_width": 19,
                "conv_pos_groups": 4,
                "conv_pos_depth": 2,
                "conv_pos_pre_ln": False,
            }
        },
    },
}


def test_a_configuration_that_is_python_is_not_run(tmp_path: Path) -> None:
    text = yaml.safe_dump(EMOTION2VEC).replace("[(16, 10, 5)]", f'open("{tmp_path / "was_run"}", "w")')
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="feature_encoder_spec is 'open"):
        read_settings(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ConfigError, match="is not the configuration of an emotion2vec"):
        read_settings(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(EMOTION2VEC | {"model": "Paraformer"}))
    with pytest.raises(ConfigError, match="is of a 'Paraformer'; expected Emotion2vec"):
        read_settings(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"expected a folder with config\.yaml and model\.pt"):
        Emotion2vec(tmp_path / "absent")


def test_emotion2vec_gives_the_embeddings_of_funasrs_own_pipeline(tmp_path: Path) -> None:
    funasr = pytest.importorskip("funasr")
    from funasr.models.emotion2vec.model import Emotion2vec as Network

    torch.manual_seed(0)
    state = Network(model_conf=EMOTION2VEC["model_conf"]).state_dict()
    torch.save({"model": state | {"recon_proj.weight": torch.zeros(2)}}, tmp_path / "model.pt")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(EMOTION2VEC))
    own = funasr.AutoModel(model=str(tmp_path), disable_update=True, disable_pbar=True, device="cpu")
    said = [own.generate(clip, granularity="utterance", extract_embedding=True)[0]["feats"] for clip in CLIPS]
    check_embeddings(Emotion2vec(tmp_path), np.stack(said), 1e-6)
    name, _ = state.popitem()
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(ConfigError, match=f"holds another network.*{name}"):
        Emotion2vec(tmp_path)
