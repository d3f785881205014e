"""The configuration: `config.yaml` as checked, typed blocks."""

from spokeneval.config.load import load_config, read_config
from spokeneval.config.root import Config

__all__ = ["Config", "load_config", "read_config"]
