"""UTMOS: naturalness without a reference, the strong learner of Saeki et al. 2022 (Interspeech, arXiv 2204.02152).

Conventions
-----------
- 16 kHz, the waveform as it is (no scaling), one at a time: padding would move scores.
- wav2vec 2.0 base, an embedding of the domain (0) and of the listener (288), a bidirectional LSTM, a projection; the
  mean over frames, times 2, plus 3. Nominally 1 to 5 and not clipped to it; higher is better. Domain and listener are
  those of the published scoring script.
- It learned on synthesised speech, most of it English; for other sounds it means nothing.
- Weights: a file of plain weights with the names of the published checkpoint (MIT), e.g. `utmos_state_dict.pt` of
  Blinorot/UTMOS-PyTorch on the hub. The published checkpoint itself holds objects of other packages beside its weights
  and is refused. The network is wav2vec 2.0 of transformers, its sizes read off the weights.
- Never run with the published weights. With random weights of the published sizes it agrees with the package
  utmos-pytorch 0.1.0, which says of itself that it gives the published scores, to 3e-7 on 15 clips of 0.5 to 6 s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.judges.intake import cropped
from spokeneval.judges.loading import fill, read_checkpoint

FILE = "utmos_state_dict.pt"
_DOMAIN, _LISTENER = 0, 288
_HEAD_WIDTH = 64
"""Of every wav2vec 2.0; heads cannot be read off the weights."""
_STRIDES = (5, 2, 2, 2, 2, 2, 2)
_ENCODER = "feature_extractors.0.ssl_model."
_FOR_TRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
"""Parts of wav2vec 2.0 that take no part in a score."""
_NAMES = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.2\.", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^encoder\.pos_conv\.0\.weight_g$", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"^encoder\.pos_conv\.0\.weight_v$", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"^encoder\.pos_conv\.0\.bias$", "encoder.pos_conv_embed.conv.bias"),
    (r"\.self_attn\.", ".attention."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)
"""Names in fairseq -> names in transformers."""


def transformers_name(name: str) -> str:
    """The name in transformers of a weight of fairseq's wav2vec 2.0."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _encoder(state: Mapping[str, torch.Tensor]) -> Any:
    """A wav2vec 2.0 without weights, of the sizes that they have. Raises KeyError for one that is not there."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    kernels = [state[f"feature_extractor.conv_layers.{n}.0.weight"] for n in range(len(_STRIDES))]
    positions = state["encoder.pos_conv.0.weight_v"]
    width = len(state["post_extract_proj.weight"])
    config = Wav2Vec2Config(
        conv_dim=tuple(kernel.shape[0] for kernel in kernels),
        conv_kernel=tuple(kernel.shape[2] for kernel in kernels),
        conv_stride=_STRIDES,
        conv_bias=False,
        feat_extract_norm="group",
        do_stable_layer_norm=False,
        hidden_size=width,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        num_hidden_layers=len({name for name in state if re.fullmatch(r"encoder\.layers\.\d+\.fc1\.weight", name)}),
        intermediate_size=len(state["encoder.layers.0.fc1.weight"]),
        num_conv_pos_embeddings=positions.shape[2],
        num_conv_pos_embedding_groups=width // positions.shape[1],
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        apply_spec_augment=False,
    )
    return Wav2Vec2Model(config)


class _Listener(torch.nn.Module):
    """What follows the encoder; sizes as the weights have them."""

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        domains = state["feature_extractors.1.embedding.weight"]
        listeners = state["output_layers.0.judge_embedding.weight"]
        recurrent = state["output_layers.0.decoder_rnn.weight_ih_l0"]
        hidden = state["output_layers.1.net.0.weight"]
        self.domain = torch.nn.Embedding(*domains.shape)
        self.listener = torch.nn.Embedding(*listeners.shape)
        self.lstm = torch.nn.LSTM(recurrent.shape[1], len(recurrent) // 4, batch_first=True, bidirectional=True)
        self.inner = torch.nn.Linear(hidden.shape[1], hidden.shape[0])
        self.outer = torch.nn.Linear(hidden.shape[0], 1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(1, n_frames, width) -> (1, n_frames) scores around 0"""
        told = torch.cat([self.domain.weight[_DOMAIN], self.listener.weight[_LISTENER]])
        heard, _ = self.lstm(torch.cat([frames, told.expand(1, frames.shape[1], -1)], dim=2))
        scores: torch.Tensor = self.outer(torch.relu(self.inner(heard)))
        return scores.squeeze(-1)


_HEAD_NAMES = {
    "feature_extractors.1.embedding.": "domain.",
    "output_layers.0.judge_embedding.": "listener.",
    "output_layers.0.decoder_rnn.": "lstm.",
    "output_layers.1.net.0.": "inner.",
    "output_layers.1.net.3.": "outer.",
}


class _Network(torch.nn.Module):
    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.encoder = _encoder({k.removeprefix(_ENCODER): v for k, v in state.items() if k.startswith(_ENCODER)})
        self.head = _Listener(state)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """(1, n_samples) -> () the score"""
        frames = self.encoder(samples).last_hidden_state
        return torch.as_tensor(self.head(frames)).mean() * 2 + 3


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights by the names of `_Network`; what no network knows keeps its name, and is refused by it."""
    renamed = {}
    for name, weight in state.items():
        if name.startswith(_ENCODER):
            inner = name.removeprefix(_ENCODER)
            if not inner.startswith(_FOR_TRAINING):
                renamed[f"encoder.{transformers_name(inner)}"] = weight
            continue
        head = next((prefix for prefix in _HEAD_NAMES if name.startswith(prefix)), None)
        renamed[name if head is None else f"head.{_HEAD_NAMES[head]}{name.removeprefix(head)}"] = weight
    return renamed


class UTMOS:
    sample_rate = 16_000
    attribute = "naturalness"
    scale = (1.0, 5.0)
    least_s = 0.5

    def __init__(self, path: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        self._device = device
        weights = path / FILE if path.is_dir() else path
        state = read_checkpoint(weights, "utmos")
        if not isinstance(state, dict) or not all(isinstance(weight, torch.Tensor) for weight in state.values()):
            raise ConfigError(f"utmos: {weights} is not a table of weights by name; expected one like {FILE}")
        try:
            self._network = _Network(state)
        except (KeyError, IndexError) as error:
            raise ConfigError(f"utmos: {weights} holds another network: there is no {error} in it") from error
        if len(self._network.head.listener.weight) <= _LISTENER:
            raise ConfigError(f"utmos: {weights} knows fewer than {_LISTENER + 1} listeners; expected 3000")
        fill(self._network, _renamed(state), weights, "utmos")
        self._network.to(device)

    def score(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n,) predicted mean opinion scores; raises ItemError for silence and for less than 0.5 s."""
        return np.array([self._one(waveform) for waveform in waveforms], np.float32)

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> float:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        return float(self._network(torch.from_numpy(np.ascontiguousarray(heard))[None].to(self._device)))
