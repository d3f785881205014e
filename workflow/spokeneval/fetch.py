"""What `make fetch CONFIG=...` does: everything that a configuration names and that can be fetched, before any job.

Conventions
-----------
- What is there already is not fetched again; one source that cannot be had does not keep the others from coming, and
  all that failed are said at the end.
- Afterwards the workflow runs without network (HF_HUB_OFFLINE=1). Files that only a person can bring (a licence to
  accept, a form to fill in) are listed with the key that names them.
"""

from __future__ import annotations

from pathlib import Path

from spokeneval.config import Config
from spokeneval.demo.assets import FOLDER
from spokeneval.errors import ConfigError
from spokeneval.fingerprint import Fingerprints
from spokeneval.hub import HubSource, download, local_snapshot
from spokeneval.stages import missing_resources


def hub_sources(config: Config) -> list[HubSource]:
    """Everything on the hub that a configuration names, each once."""
    sections = (config.datasets, config.tokenizers, config.vocoders, config.models, config.judges)
    blocks = [block for section in sections for block in section.values()]
    return list(dict.fromkeys(source for block in blocks for source in block.hub_sources().values()))


def fetch(config: Config) -> None:
    """Fetch what is missing. Raises ConfigError with a line for everything that is still missing."""
    if config.assets:
        from spokeneval.demo.fetch import fetch as fetch_assets

        fetch_assets(FOLDER, config.assets)
    sources = hub_sources(config)
    problems = []
    for number, source in enumerate(sources, start=1):
        label = f"fetch: {number}/{len(sources)} {source}"
        if local_snapshot(source) is not None:
            print(f"{label}: is there", flush=True)
            continue
        print(f"{label} ...", flush=True)
        try:
            folder = download(source)
        except ConfigError as error:
            problems.append(str(error))
            print(f"{label}: {error}", flush=True)
            continue
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{label}: {size / 1e6:.0f} MB", flush=True)
    missing = [
        line for line in missing_resources(config, Fingerprints(Path("models.lock.json"))) if "hub's cache" not in line
    ]
    if problems or missing:
        raise ConfigError("\n".join([*problems, *missing]))
    if not sources and not config.assets:
        print("fetch: the configuration names nothing that can be fetched, and all of its files are there")
