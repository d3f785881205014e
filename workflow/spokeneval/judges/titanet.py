"""TitaNet: speaker embeddings by NeMo (Koluguri et al. 2022, arXiv 2110.04410).

Conventions
-----------
- 16 kHz; 80 mel bands, each brought to mean 0 and variance 1 over the clip; all of the clip at once. The embedding has
  192 numbers and is brought to unit length, which no cosine sees.
- The model is restored by NeMo from a `.nemo` archive, on one device and without a trainer. Its weights
  are read here as plain weights first, and NeMo from release 3.0 on constructs only classes of its own from an
  archive's settings; older releases are not accepted.
- Never run with the published weights. A small network with random weights, saved by NeMo 3.0.0, gives the embeddings
  of NeMo's `infer_segment` to 1e-7.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.judges.extras import INSTALL, import_extra
from spokeneval.judges.intake import cropped, unit_mean
from spokeneval.judges.loading import read_checkpoint

_WEIGHTS = "model_weights.ckpt"


def archive(path: Path) -> Path:
    """A `.nemo` file, or the only one in a folder. Raises ConfigError where there is none or several."""
    found = sorted(path.glob("*.nemo")) if path.is_dir() else [path]
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise ConfigError(f"titanet: {path} holds {len(found)} .nemo files ({names}); expected one")
    return found[0]


def check_weights(file: Path) -> None:
    """Read the weights of a `.nemo` archive as plain weights. Raises ConfigError where it holds anything else."""
    try:
        with tarfile.open(file) as opened:
            inside = [member for member in opened.getmembers() if Path(member.name).name == _WEIGHTS]
            content = opened.extractfile(inside[0]) if len(inside) == 1 else None
            if content is None:
                raise ConfigError(f"titanet: {file} has no {_WEIGHTS}; expected an archive saved by NeMo")
            read_checkpoint(file, "titanet", content=content.read())
    except (tarfile.TarError, OSError) as error:
        raise ConfigError(f"titanet: {file} is not a .nemo archive ({error})") from error


class TitaNet:
    sample_rate = 16_000
    attribute = "speaker"
    dimension = 192
    least_s = 0.4

    def __init__(self, path: Path, crop_s: float | None = None, device: str = "cpu") -> None:
        self.crop_s = crop_s
        file = archive(path)
        check_weights(file)
        release = str(import_extra("nemo", "titanet").__version__)
        if int(release.partition(".")[0]) < 3:
            raise ConfigError(f"titanet: NeMo {release} is too old, 3.0 or newer is needed: {INSTALL['nemo']}")
        self._network: Any = self._restored(file, device)

    def _restored(self, file: Path, device: str) -> Any:
        import_extra("nemo.utils", "titanet").logging.setLevel("ERROR")  # its warnings are of training data
        family = import_extra("nemo.collections.asr.models", "titanet").EncDecSpeakerLabelModel
        network = family.restore_from(str(file), map_location=torch.device(device), strict=True).eval()
        rate = network.cfg.preprocessor.get("sample_rate", self.sample_rate)
        if rate != self.sample_rate:
            raise ConfigError(f"titanet: {file} takes {rate} Hz; expected {self.sample_rate}")
        return network

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, 192) unit vectors; raises ItemError for silence and for less than 0.4 s."""
        return np.stack([self._one(waveform) for waveform in waveforms])

    @torch.inference_mode()
    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        heard = cropped(waveform, self.sample_rate, self.crop_s, self.least_s)
        samples = torch.from_numpy(np.ascontiguousarray(heard))[None].to(self._network.device)
        n_samples = torch.tensor([samples.shape[1]], device=samples.device)
        _, vectors = self._network(input_signal=samples, input_signal_length=n_samples)
        found = vectors.float().cpu().numpy()
        if found.shape != (1, self.dimension):
            raise ConfigError(f"titanet: embeddings of {found.shape[-1]} numbers; expected {self.dimension}")
        return unit_mean(found)
