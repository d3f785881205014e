"""Packages that some judges need and spokeneval does not: what installs them, and a clear line where they lack."""

from __future__ import annotations

import importlib
from typing import Any

from spokeneval.errors import ConfigError

INSTALL = {
    "speechbrain": "pip install 'spokeneval[judges-speechbrain]'",
    "nemo": "pip install 'spokeneval[judges-nemo]'",
    "funasr": "pip install 'spokeneval[judges-funasr]'",
}
"""Module -> the command that installs it."""


def import_extra(module: str, judge: str) -> Any:
    """A module of an optional package. Raises ConfigError with the command where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        # OSError, RuntimeError: a torchaudio that was built for another torch.
        command = INSTALL[module.partition(".")[0]]
        raise ConfigError(f"{judge} needs {module}, which cannot be imported ({error}): {command}") from error
