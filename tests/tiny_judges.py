"""Judges of transformers, small and random, in the files of the published ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMForXVector,
)

from spokeneval.judges.ast_audioset import AST
from spokeneval.judges.audeering_dim import AudeeringDim
from spokeneval.judges.clap import CLAP
from spokeneval.judges.ssl_audioset import SSLAudioSet
from spokeneval.judges.wavlm_xvector import WavLMXVector

SIZE = 16
JUDGES: dict[str, type[Any]] = {
    "wavlm_xvector": WavLMXVector,
    "ssl_audioset": SSLAudioSet,
    "clap": CLAP,
    "ast": AST,
    "audeering_dim": AudeeringDim,
}
_ENCODER = {
    "hidden_size": SIZE,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""How the large models differ from the base ones, apart from their size."""


def noise(rate: int, seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Noise whose colour depends on the seed, so that two clips differ in more than their samples."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    coloured = white + (seed % 5) * 0.2 * np.roll(white, 1 + seed % 3)
    return (0.05 * coloured + 0.003).astype(np.float32)


def randomised(model: Any) -> Any:
    """Norms, biases and tokens begin at 1 and 0, which would hide mistakes."""
    torch.manual_seed(1)
    for values in model.parameters():
        values.data += 0.2 * torch.randn_like(values)
    return model.eval()


def wavlm(**more: Any) -> Any:
    torch.manual_seed(0)
    tdnn = {"tdnn_dim": [16, 16, 16, 16, 24], "xvector_output_dim": 12}
    return randomised(WavLMForXVector(WavLMConfig(**(_ENCODER | tdnn | more))))


def hubert(**more: Any) -> Any:
    torch.manual_seed(0)
    return randomised(HubertModel(HubertConfig(**(_ENCODER | LARGE | more))))


def wav2vec2(**more: Any) -> Any:
    torch.manual_seed(0)
    return randomised(Wav2Vec2Model(Wav2Vec2Config(**(_ENCODER | LARGE | more))))


def clap(fused: bool = False) -> Any:
    torch.manual_seed(0)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    audio = {"hidden_size": 16, "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [2, 2]}
    more = {"enable_fusion": fused, "aff_block_r": 2, "projection_dim": 12}
    config = ClapConfig(text_config=text | {"vocab_size": 20}, audio_config=audio | more, projection_dim=12)
    return randomised(ClapModel(config))


def ast() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": SIZE, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return randomised(ASTForAudioClassification(ASTConfig(num_labels=5, **sizes)))


def save_emotion(folder: Path, **config: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """Encoder and head of a small model for emotion, written by hand with the published names: no class of ours."""
    encoder = wav2vec2()
    generator = torch.Generator().manual_seed(2)
    shapes = {"dense.weight": (SIZE, SIZE), "dense.bias": (SIZE,), "out_proj.weight": (3, SIZE), "out_proj.bias": (3,)}
    head = {f"classifier.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(named_as_published(encoder, "wav2vec2.") | head, folder / "model.safetensors", {"format": "pt"})
    labels = {"id2label": {"0": "arousal", "1": "dominance", "2": "valence"}}
    labels["label2id"] = {name: int(k) for k, name in labels["id2label"].items()}
    described = encoder.config.to_dict() | {"architectures": ["Wav2Vec2ForSpeechClassification"], **labels, **config}
    (folder / "config.json").write_text(json.dumps(described))
    return encoder, head


def named_as_published(encoder: Any, prefix: str) -> dict[str, torch.Tensor]:
    """Weights under the names of checkpoints from before torch's parametrisations: weight_g and weight_v."""
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = {}
    for name, values in encoder.state_dict().items():
        for new, published in old.items():
            name = name.replace(new, published)
        state[prefix + name] = values.contiguous().clone()
    return state


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


_MODELS: dict[str, Callable[[Path], Any]] = {
    "wavlm_xvector": lambda folder: _save(wavlm(), folder),
    "ssl_audioset": lambda folder: _save(hubert(), folder),
    "clap": lambda folder: _save(clap(), folder),
    "ast": lambda folder: _save(ast(), folder),
    "audeering_dim": save_emotion,
}
_EXTRACTORS: dict[str, Any] = {
    "clap": lambda: ClapFeatureExtractor(truncation="rand_trunc"),
    "ast": lambda: ASTFeatureExtractor(mean=-4.0, std=3.0),
}


def extractor_of(kind: str) -> Any:
    return _EXTRACTORS.get(kind, lambda: Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True))()


def save_checkpoint(kind: str, folder: Path) -> Path:
    """A folder as the hub would give it."""
    _MODELS[kind](folder)
    extractor_of(kind).save_pretrained(folder)
    return folder


def edit_json(path: Path, **values: Any) -> None:
    """Change keys of a JSON file; None takes a key away."""
    said = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
