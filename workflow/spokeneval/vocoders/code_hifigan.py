"""The code HiFi-GAN of textless NLP (units to sound, with predicted durations) as the network that transformers has.

Conventions
-----------
- Published: a config.json, and a checkpoint {"generator": tensors}, with or without weight normalisation. transformers
  has the same network for SeamlessM4T; its input is language, unit and speaker one below the other, the published one
  unit, speaker and style. A style is given as the language, and the first convolution's input is put in that order.
- What the network of transformers cannot hold is refused: pitch, speakers given by a vector, a duration predictor of
  another width, no duration predictor.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import SeamlessM4TCodeHifiGan, SeamlessM4TConfig

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.pretrained import read_json
from spokeneval.vocoders.weight_norm import fold_weight_norm

_COPIED = (
    "upsample_rates",
    "upsample_kernel_sizes",
    "upsample_initial_channel",
    "resblock_kernel_sizes",
    "resblock_dilation_sizes",
)
_NEEDED = (*_COPIED, "num_embeddings", "embedding_dim", "dur_predictor_params")
_RENAMED = {
    "dict.": "unit_embedding.",
    "spkr.": "speaker_embedding.",
    "style.": "language_embedding.",
    "dur_predictor.conv1.0.": "dur_predictor.conv1.",
    "dur_predictor.conv2.0.": "dur_predictor.conv2.",
    "conv_pre.": "hifi_gan.conv_pre.",
    "ups.": "hifi_gan.upsampler.",
    "resblocks.": "hifi_gan.resblocks.",
    "conv_post.": "hifi_gan.conv_post.",
}


class CodeHiFiGAN:
    """Units of one string to a waveform."""

    def __init__(self, weights: Path, config: Path) -> None:
        """Raises ConfigError where a file is missing, or is not of this network."""
        published = read_json(config)
        _check(config, published)
        size = int(published["embedding_dim"])
        self.n_units = int(published["num_embeddings"])
        self.n_speakers = int(published.get("num_speakers", 200)) if published.get("multispkr") else 0
        self.n_styles = int(published.get("num_styles", 100)) if published.get("multistyle") else 0
        self._network = _network(config, published, size, self.n_speakers, self.n_styles)
        self.sample_rate = int(published.get("sampling_rate", 16_000))
        self.hop_samples = math.prod(published["upsample_rates"])
        """Samples of a frame, the unit of durations."""
        if published.get("code_hop_size", self.hop_samples) != self.hop_samples:
            raise ConfigError(
                f"{config}: upsample_rates make {self.hop_samples} samples a frame, code_hop_size says "
                f"{published['code_hop_size']}; expected the config.json that was published with the generator"
            )
        self._load(weights, config, size)

    def _load(self, weights: Path, config: Path, size: int) -> None:
        if not weights.is_file():
            raise ConfigError(f"{weights}: no such file; expected the checkpoint of the generator in {config}")
        try:
            checkpoint = torch.load(weights, map_location="cpu", weights_only=True)
            tensors = {_renamed(name): values for name, values in fold_weight_norm(checkpoint["generator"]).items()}
            for kind, count in (("speaker", self.n_speakers), ("language", self.n_styles)):
                if count == 0:
                    tensors.setdefault(f"{kind}_embedding.weight", torch.zeros(1, 0))
            if self.n_styles:
                name = "hifi_gan.conv_pre.weight"
                tensors[name] = tensors[name].roll(size, dims=1)  # unit, speaker, style -> style, unit, speaker
            self._network.load_state_dict(tensors)
        except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, AttributeError, EOFError) as error:
            raise ConfigError(
                f"{weights}: is not the checkpoint of the generator in {config} ({_short(error)})"
            ) from error

    @torch.inference_mode()
    def durations(self, units: torch.Tensor) -> torch.Tensor:
        """(n_units,) -> (n_units,) frames of each; at least 1."""
        log_durations = self._network.dur_predictor(self._network.unit_embedding(units[None]))
        frames: torch.Tensor = torch.expm1(log_durations).round().long().clamp(min=1)[0]
        return frames

    @torch.inference_mode()
    def __call__(self, units: torch.Tensor, speaker: int = 0, style: int = 0) -> torch.Tensor:
        """(n_units,) -> (hop_samples * sum of the durations,)"""
        waveform, _ = self._network(units[None], torch.tensor([[speaker]]), torch.tensor([[style]]))
        samples: torch.Tensor = waveform[0]
        return samples


def _network(path: Path, published: dict[str, Any], size: int, n_speakers: int, n_styles: int) -> Any:
    """The network that config.json describes, its weights not loaded. Speakers and styles of size 0 add nothing."""
    factory: Any = SeamlessM4TCodeHifiGan
    try:
        settings: Any = SeamlessM4TConfig(
            **{key: published[key] for key in _COPIED},
            unit_hifi_gan_vocab_size=int(published["num_embeddings"]),
            unit_embed_dim=size,
            vocoder_num_spkrs=max(1, n_speakers),
            spkr_embed_dim=size if n_speakers else 0,
            vocoder_num_langs=max(1, n_styles),
            lang_embed_dim=size if n_styles else 0,
            variance_predictor_kernel_size=published["dur_predictor_params"]["var_pred_kernel_size"],
        )
        return factory(settings).eval().requires_grad_(False)
    except (StrictDataclassError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{path}: describes no generator that can be built ({_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _renamed(name: str) -> str:
    old = next((old for old in _RENAMED if name.startswith(old)), "")
    return _RENAMED.get(old, "") + name.removeprefix(old)


def _check(path: Path, config: dict[str, Any]) -> None:
    """Raises ConfigError for a generator that the network of transformers cannot hold."""
    lacking = [key for key in _NEEDED if not config.get(key)]
    if lacking:
        raise ConfigError(
            f"{path}: lacks {', '.join(lacking)}; expected the config.json of a code HiFi-GAN with predicted durations"
        )
    refused = [key for key in ("f0", "embedder_params") if config.get(key)]
    if refused:
        raise ConfigError(f"{path}: has {', '.join(refused)}; expected a generator that needs units (and a voice) only")
    size, predictor = config["embedding_dim"], config["dur_predictor_params"]
    widths = {key: predictor.get(key) for key in ("encoder_embed_dim", "var_pred_hidden_dim")}
    if set(widths.values()) != {size} or predictor.get("var_pred_kernel_size") is None:
        raise ConfigError(
            f"{path}: dur_predictor_params {predictor}; expected both widths to be embedding_dim ({size})"
        )
    n_inputs = size * (1 + bool(config.get("multispkr")) + bool(config.get("multistyle")))
    if config.get("model_in_dim", n_inputs) != n_inputs:
        raise ConfigError(f"{path}: model_in_dim is {config['model_in_dim']}; expected {n_inputs}: units, voice, style")
