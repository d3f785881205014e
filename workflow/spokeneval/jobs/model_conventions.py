"""What a model's numbers depend on, as plain text for the report.

Conventions
-----------
- Everything comes from the model's block: its sequence convention in full and by name where it has one, the options of
  its kind, the reductions that are computed, the dtype, how it continues, and its files by commit or by the first
  12 digits of the digest of their content.
- What changes no number (device, cluster resources) is left out. A digest that cannot be had is said to be unknown.
"""

from __future__ import annotations

from typing import Any

from spokeneval.config import Config
from spokeneval.config.blocks import ModelBlock
from spokeneval.errors import ConfigError
from spokeneval.fingerprint import Fingerprints

_SAID_APART = frozenset({*ModelBlock.model_fields, "revision", "dtype", "sequence", "convention"})
_OF_NO_NUMBER = frozenset({"device", "device_map"})


def model_conventions(config: Config, name: str, fingerprints: Fingerprints) -> dict[str, str]:
    """What is said -> text, in the order to print it."""
    block = config.models[name]
    values = block.model_dump(mode="json")
    files = _files(block, fingerprints)
    options = {k: v for k, v in values.items() if k not in _SAID_APART | _OF_NO_NUMBER and k not in files}
    found = {"kind": block.kind}
    if "sequence" in values:
        found["sequence convention"] = values.get("convention") or "none by name"
        found["sequence"] = plain(values["sequence"])
    if options:
        found["options"] = plain(options)
    if block.scored:
        found["reductions"] = ", ".join(reduction.name for reduction in config.evaluator_settings(name).reductions)
    if "dtype" in values:
        found["dtype"] = values["dtype"]
    if block.runs and block.audible:
        found["decoding"] = plain(values["decoding"])
    return found | files


def _files(block: ModelBlock, fingerprints: Fingerprints) -> dict[str, str]:
    """Key -> path with its commit or digest."""
    on_hub = block.hub_sources()
    found = {}
    for key, (path, mark) in block.content_paths().items():
        if key in on_hub:
            found[key] = f"{path}, revision {on_hub[key].revision}"
            continue
        try:
            found[key] = f"{path}, content {fingerprints.digest(mark.content(path))[:12]}"
        except ConfigError as error:
            found[key] = f"{path}, content unknown ({error})"
    return found


def plain(value: Any) -> str:
    """Nested values as text: {'offset': 1, 'bos': None} -> 'offset 1; bos none'."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(
            f"{key} ({plain(entry)})" if isinstance(entry, dict) else f"{key} {plain(entry)}"
            for key, entry in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(plain(entry) for entry in value) or "none"
    return str(value)
