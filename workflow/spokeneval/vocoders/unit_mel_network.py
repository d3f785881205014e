"""The network of `unit_mel`: de-duplicated units to durations, and with durations to log-mel frames.

Conventions
-----------
- Durations are whole frames of the tokenizer, max(1, round(exp(x) - 1)), x being the prediction from the units alone:
  the rule of unit_hifigan (Polyak et al. 2021, arXiv 2104.00355).
- A mel frame takes the unit that is said at its centre, sample HOP (t + 1/2) of the mel's rate. There are as many as
  end before the last unit does, at least one: as `mel.log_mel` counts them in a waveform of this length.
- Beside the unit, a mel frame is told where in it it lies: its share of the unit that has passed, and log1p of the
  unit's frames.
- Layers are convolutions over normalised channels, added to what they came from; ends are padded with zeros. No
  attention, no state: what is said does not depend on units further away than the kernels reach.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from spokeneval.errors import ConfigError
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.pretrained import read_json

_N_PLACES = 2
"""Numbers that say where in its unit a mel frame lies."""


@dataclass(frozen=True)
class Shape:
    """What config.json holds."""

    n_units: int
    sample_rate: int
    """Hz of the tokenizer."""
    hop_samples: int
    """Samples of a frame of the tokenizer, the unit of durations."""
    width: int
    duration_width: int
    kernel: int
    """Units or mel frames that a convolution sees; odd."""
    n_unit_layers: int
    mel_dilations: tuple[int, ...]
    """Of the layers over mel frames, from the first on."""


class _Layer(nn.Module):
    """x + convolution(gelu(norm(x)))"""

    def __init__(self, width: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2 * dilation, dilation=dilation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, width)"""
        changed: torch.Tensor = self.convolution(functional.gelu(self.norm(x)).T[None])[0].T
        return x + changed


class UnitMelNetwork(nn.Module):
    """One clip at a time: nothing is padded to another clip's length."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.n_units, shape.width)
        self.duration_in = nn.Linear(shape.width, shape.duration_width)
        self.duration_layers = nn.Sequential(*(_Layer(shape.duration_width, shape.kernel) for _ in range(2)))
        self.duration_out = nn.Linear(shape.duration_width, 1)
        self.unit_layers = nn.Sequential(*(_Layer(shape.width, shape.kernel) for _ in range(shape.n_unit_layers)))
        self.place = nn.Linear(_N_PLACES, shape.width)
        self.mel_layers = nn.Sequential(*(_Layer(shape.width, shape.kernel, d) for d in shape.mel_dilations))
        self.norm = nn.LayerNorm(shape.width)
        self.mel_out = nn.Linear(shape.width, mel.N_BANDS)

    def log_durations(self, units: torch.Tensor) -> torch.Tensor:
        """(n_units,) -> (n_units,) log1p of the frames of each."""
        out: torch.Tensor = self.duration_out(self.duration_layers(self.duration_in(self.embedding(units))))
        return out[:, 0]

    def durations(self, units: torch.Tensor) -> torch.Tensor:
        """(n_units,) -> (n_units,) frames of each, at least 1."""
        return frames_of(self.log_durations(units))

    def log_mel(self, units: torch.Tensor, durations: torch.Tensor) -> torch.Tensor:
        """(n_units,), (n_units,) frames -> (n_mel_frames, 80) natural logarithms of mel magnitudes."""
        unit, passed = regulate(durations, self.shape)
        places = torch.stack([passed, durations[unit].float().log1p()], dim=1)
        said = self.unit_layers(self.embedding(units))[unit] + self.place(places)
        frames: torch.Tensor = self.mel_out(self.norm(self.mel_layers(said)))
        return frames


def frames_of(log_durations: torch.Tensor) -> torch.Tensor:
    """Whole frames, at least 1, of log1p durations."""
    return log_durations.expm1().round().long().clamp(min=1)


def regulate(durations: torch.Tensor, shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """The length regulator: (n_units,) frames -> per mel frame (index of its unit, share of the unit that has passed).

    Exact in integers: one second is sample_rate * mel.SAMPLE_RATE ticks.
    """
    frame, hop = shape.hop_samples * mel.SAMPLE_RATE, mel.HOP_SAMPLES * shape.sample_rate
    ends = durations.cumsum(0) * frame
    n_frames = max(1, int(ends[-1]) // hop)
    centres = torch.arange(n_frames) * hop + hop // 2
    unit = torch.searchsorted(ends, centres, right=True).clamp(max=len(durations) - 1)
    lengths = durations * frame
    passed = (centres - (ends - lengths)[unit]).float() / lengths[unit]
    return unit, passed


# ---------------------------------------------------------------- files


def write_network(folder: Path, network: UnitMelNetwork) -> None:
    """config.json and model.safetensors (float16)."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: values.half().contiguous() for name, values in network.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)  # safetensors leaves it readable by its owner only
    (folder / "config.json").write_text(json.dumps(asdict(network.shape), indent=2) + "\n", encoding="utf-8")


def read_network(weights: Path, config: Path) -> UnitMelNetwork:
    """The network in float32, ready to be asked; no random number is drawn.

    Raises ConfigError where a file is missing or they do not fit.
    """
    shape = _shape(config, read_json(config))
    if not weights.is_file():
        raise ConfigError(f"{weights}: no such file; expected the safetensors file that belongs to {config}")
    try:
        tensors = {name: values.float() for name, values in load_file(weights).items()}
        with torch.device("meta"):
            network = UnitMelNetwork(shape)
        network.load_state_dict(tensors, assign=True)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{weights}: does not hold the weights of the network in {config} ({reason})") from error
    return network.eval().requires_grad_(False)


def _shape(path: Path, values: dict[str, Any]) -> Shape:
    expected = [field.name for field in fields(Shape)]
    if sorted(values) != sorted(expected):
        raise ConfigError(f"{path}: has the keys {', '.join(sorted(values))}; expected {', '.join(expected)}")
    dilations = values["mel_dilations"]
    numbers = [value for key, value in values.items() if key != "mel_dilations"]
    numbers += dilations if isinstance(dilations, list) else [None]
    if not all(type(number) is int and number > 0 for number in numbers) or values["kernel"] % 2 == 0:
        raise ConfigError(
            f"{path}: {json.dumps(values)}; expected positive whole numbers, mel_dilations a list of them, kernel odd"
        )
    return Shape(**{**values, "mel_dilations": tuple(dilations)})
