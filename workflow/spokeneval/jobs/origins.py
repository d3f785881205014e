"""Where everything comes from that a report's numbers depend on: from the configuration, and from what is published."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

import spokeneval
from spokeneval.config import Config
from spokeneval.config.block import Block, MadeBlock
from spokeneval.errors import ConfigError
from spokeneval.identity import digest, package_version
from spokeneval.known_origins import (
    DATASET_LICENCES,
    KNOWN,
    KNOWN_KINDS,
    NOT_TRAINED,
    PUBLISHED,
    SALMON_KINDS,
    SALMON_SOURCES,
    Known,
)
from spokeneval.report.provenance import Origin, Provenance, Role
from spokeneval.stages import Stages

CONFIGURATION = "by the configuration"


def provenance_of(config: Config, dataset: str, tasks: list[str], stages: Stages) -> Provenance:
    """Everything that the report of a dataset says of where things come from; tasks: of its items."""
    block = config.datasets[dataset]
    kind = str(block.model_dump()["kind"])
    if block.sources is not None:
        said = block.sources
        sources = {t: said[t] for t in tasks if t in said} if isinstance(said, dict) else dict.fromkeys(tasks, said)
        said_by = CONFIGURATION
    else:
        known = SALMON_SOURCES if kind in SALMON_KINDS else {}
        sources = {task: known[task] for task in tasks if task in known}
        said_by = PUBLISHED if sources else ""
    return Provenance(
        origins=tuple(_origins(config, dataset, stages)),
        sources=sources,
        sources_said_by=said_by,
        licence=block.licence or DATASET_LICENCES.get(getattr(block, "path", "")),
        versions=stages.versions_of_all(),
        made_with=made_with(),
    )


def _origins(config: Config, dataset: str, stages: Stages) -> Iterator[Origin]:
    models = config.models.values()
    for name, block in config.models.items():
        made = stages.likelihood if block.scored else stages.continuations
        yield origin("model", name, block, _identity(made, name))
    for name in sorted({model.tokenizer for model in models}):
        yield origin("tokenizer", name, config.tokenizers[name], _identity(stages.tokens, name))
    for name in sorted({model.vocoder for model in models if model.vocoder is not None}):
        vocoder = config.vocoders[name]
        found = origin("vocoder", name, vocoder, _identity(lambda name: digest(stages.vocoder(name)), name))
        decoded = {model.tokenizer for model in models if model.vocoder == name}
        if vocoder.model_dump()["kind"] == "codec" and found.trained_on is None and len(decoded) == 1:
            # A codec is trained as one with its decoder.
            found = origin("vocoder", name, config.tokenizers[decoded.pop()], found.identity)
        yield found
    for name in config.judges_of(dataset):
        yield origin("judge", name, config.judges[name], _identity(stages.embeddings, name))


def origin(role: Role, name: str, block: Block, identity: str | None) -> Origin:
    """What the block says of its training and licence; what is published of its name where it says nothing."""
    kind = str(block.model_dump()["kind"])
    own = block if isinstance(block, MadeBlock) else None
    known = KNOWN.get(str(getattr(block, "path", "")), KNOWN_KINDS.get(kind, Known()))
    licence = (own.licence if own is not None else None) or known.licence
    if own is not None and own.trained_on is not None:
        return Origin(role, name, own.trained_on, True, CONFIGURATION, licence, identity)
    if kind in NOT_TRAINED:
        return Origin(role, name, (), True, "", licence, identity)
    said_by = PUBLISHED if known.trained_on else ""
    return Origin(role, name, known.trained_on, False, said_by, licence, identity)


def _identity(made: Callable[[str], str], name: str) -> str | None:
    """None where weights are neither there nor archived, so that it cannot be said."""
    try:
        return made(name)
    except ConfigError:
        return None


def made_with() -> dict[str, str]:
    """What writes the report. It changes no number: what does is in the identities."""
    found = {"python": platform.python_version(), "snakemake": package_version("snakemake")}
    commit = workflow_commit(Path(spokeneval.__file__).parent)
    return found | ({} if commit is None else {"commit": commit})


def workflow_commit(folder: Path) -> str | None:
    """The git commit of the checkout that this folder is tracked in, with a mark where tracked files differ from it;
    None where there is no such checkout, or no git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A virtual environment may lie in somebody else's repository.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    if commit is None:
        return None
    return f"{commit} and changes that are not committed" if changes else commit


def tasks_of(pairs: pl.DataFrame) -> list[Any]:
    """Tasks in the order of the items."""
    return pairs["task"].unique(maintain_order=True).to_list()
