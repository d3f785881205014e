"""Models and data sets on the Hugging Face hub, by commit.

Conventions
-----------
- A hub source is a name and the sha of a commit. A branch moves, and results made from it could not be told apart.
- Jobs never reach the network: `spokeneval fetch` (`make fetch CONFIG=...`) brings everything into the hub's own cache
  (HF_HOME) first, and everything after that reads the cache, so that it runs where HF_HUB_OFFLINE=1.
- Only what evaluation needs is fetched: of a model no TensorFlow, Flax or ONNX files, and torch's own weight files only
  where it has no safetensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spokeneval.errors import ConfigError

RepoType = Literal["model", "dataset"]
COMMIT = r"^[0-9a-f]{40}$"

_NOT_NEEDED = ["*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.tflite", "*.ot", "*.gguf", "onnx/*", "*.png", "*.jpg"]


@dataclass(frozen=True)
class HubSource:
    """One commit of a repository on the hub."""

    repo: str
    """`organisation/name`"""
    revision: str
    """40 hexadecimal digits"""
    repo_type: RepoType = "model"

    def __str__(self) -> str:
        return f"{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo}@{self.revision[:12]}"

    @property
    def name(self) -> str:
        """What stands for the content in identities: a commit does not change."""
        return f"hub:{self.repo_type}:{self.repo}@{self.revision}"

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo}"


def local_snapshot(source: HubSource) -> Path | None:
    """The folder of this commit in the hub's cache; None where it was not fetched. The network is not used."""
    from huggingface_hub import constants

    kind = "datasets" if source.repo_type == "dataset" else "models"
    folder = Path(constants.HF_HUB_CACHE) / f"{kind}--{source.repo.replace('/', '--')}" / "snapshots" / source.revision
    complete = folder.is_dir() and any(folder.iterdir()) and not any(_broken(folder))
    return folder if complete else None


def _broken(folder: Path) -> list[Path]:
    """Links whose content is not there: a fetch that was cut short, or a cache that was cleaned."""
    return [path for path in folder.rglob("*") if path.is_symlink() and not path.exists()]


def need_snapshot(source: HubSource) -> Path:
    """`local_snapshot`, or a ConfigError with what to do."""
    found = local_snapshot(source)
    if found is None:
        raise ConfigError(f"{source} is not in the hub's cache; run `make fetch CONFIG=...` where there is network")
    return found


def download(source: HubSource) -> Path:
    """Bring a commit into the hub's cache. Raises ConfigError in plain words where it cannot be had."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if found := local_snapshot(source):
        return found
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"{source} is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it")
    try:
        files = HfApi().list_repo_files(source.repo, revision=source.revision, repo_type=source.repo_type)
        leave_out = list(_NOT_NEEDED) if source.repo_type == "model" else []
        if source.repo_type == "model" and any(name.endswith(".safetensors") for name in files):
            leave_out += ["*.bin", "*.pt", "*.pth"]
        return Path(
            snapshot_download(
                source.repo, revision=source.revision, repo_type=source.repo_type, ignore_patterns=leave_out or None
            )
        )
    except GatedRepoError as error:
        raise ConfigError(
            f"{source}: access is restricted; accept its terms at {source.page}, then set HF_TOKEN to a token of "
            "that account"
        ) from error
    except RevisionNotFoundError as error:
        raise ConfigError(f"{source}: there is no such commit; {source.page}/commits lists them") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{source}: there is no such repository, or it is private and HF_TOKEN does not open it ({source.page})"
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(f"{source}: cannot be fetched: {reason}") from error
