"""Loading a judge's weights: never by running code from a file, and with one clear line where they do not fit."""

from __future__ import annotations

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from spokeneval.errors import ConfigError

if TYPE_CHECKING:
    from torch.nn import Module


def _require(weights: Path, judge: str) -> None:
    if not Path(weights).is_file():
        raise ConfigError(f"{judge}: no weights at {weights}; fetch them, or mend `weights` in the configuration")


def read_checkpoint(weights: Path, judge: str, allowed: list[Any] | None = None, content: bytes | None = None) -> Any:
    """A torch checkpoint read with weights_only=True; `allowed` are the harmless types that it holds besides tensors.

    content: the checkpoint itself, where the file `weights` is an archive that holds it.
    Raises ConfigError where the file is missing or holds anything else.
    """
    import torch

    _require(weights, judge)
    try:
        with torch.serialization.safe_globals(allowed or []):
            source = weights if content is None else io.BytesIO(content)
            return torch.load(source, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError) as error:
        # Bytes that are no checkpoint make the reader stumble in any of these ways.
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ConfigError(f"{judge}: {weights} is not a checkpoint of plain weights ({first})") from error


def fill(network: Module, state: dict[str, Any], weights: Path, judge: str) -> None:
    """Put weights into a network. Raises ConfigError where names or shapes differ."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ConfigError(
            f"{judge}: {weights} holds another network: {lines[min(1, len(lines) - 1)].strip()}"
        ) from error
    network.eval()


def onnx_session(weights: Path, judge: str) -> Any:
    """An onnxruntime session on one CPU thread. Raises ConfigError where the file is missing or not a network."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    _require(weights, judge)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except (states.InvalidProtobuf, states.Fail, states.InvalidGraph, states.NoSuchFile) as error:
        raise ConfigError(f"{judge}: {weights} is not a network that onnxruntime can load ({error})") from error
