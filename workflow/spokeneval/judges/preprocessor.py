"""What a checkpoint of transformers says about its input: preprocessor_config.json, read and held against the judge.

A judge that feeds its network differently from how it was trained still gives vectors. So what the file does not say is
no default here, and what it says otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Wav2Vec2FeatureExtractor

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.pretrained import read_json

_NAME = "preprocessor_config.json"


def read_preprocessor(folder: Path, extractor: str, expected: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings of the feature extractor of a checkpoint; None where the folder has none.

    extractor: its class by name. expected: keys that must be there, and their values (None for any).
    Where a processor was saved, newer transformers write it as a part of processor_config.json.
    Raises ConfigError where it is of another class, lacks a key, or says another value.
    """
    path, said = _find(folder)
    if said is None:
        return None
    kind = said.get("feature_extractor_type", extractor)
    if kind != extractor:
        raise ConfigError(f"{path}: is made for '{kind}'; expected '{extractor}'")
    for key, value in expected.items():
        if key not in said:
            raise ConfigError(f"{path}: does not say `{key}`; copy the published file again")
        if value is not None and said[key] != value:
            raise ConfigError(f"{path}: `{key}` is {said[key]!r}; this judge takes {value!r}")
    return said


def need_preprocessor(folder: Path, extractor: str, expected: Mapping[str, Any]) -> dict[str, Any]:
    """`read_preprocessor`, and a ConfigError where the folder has none."""
    said = read_preprocessor(folder, extractor, expected)
    if said is None:
        raise ConfigError(f"{folder}: no {_NAME}, which says how audio is prepared; copy it from where the weights are")
    return said


def waveform_extractor(folder: Path, sample_rate: int, do_normalize: bool | None) -> Wav2Vec2FeatureExtractor:
    """The feature extractor of WavLM, HuBERT and wav2vec 2.0: the waveform itself, normalised or not.

    do_normalize: for a folder without preprocessor_config.json; None where the file says it.
    Raises ConfigError where neither says it, or both and differently.
    """
    name = Wav2Vec2FeatureExtractor.__name__
    said = read_preprocessor(folder, name, {"sampling_rate": sample_rate, "do_normalize": do_normalize})
    if said is None and do_normalize is None:
        raise ConfigError(
            f"{folder}: no {_NAME}, which says whether waveforms are normalised; copy it from where the weights are, "
            "or set `do_normalize: true` or `false` as the model was trained"
        )
    wanted = do_normalize if said is None else bool(said["do_normalize"])
    factory: Any = Wav2Vec2FeatureExtractor
    extractor: Wav2Vec2FeatureExtractor = factory(sampling_rate=sample_rate, do_normalize=wanted)
    return extractor


def _find(folder: Path) -> tuple[Path, dict[str, Any] | None]:
    path = folder / _NAME
    if path.is_file():
        return path, read_json(path)
    joint = folder / "processor_config.json"
    part = read_json(joint).get("feature_extractor") if joint.is_file() else None
    return joint, part if isinstance(part, dict) else None
