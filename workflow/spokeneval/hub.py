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

from collections.abc import Iterator
from contextlib import contextmanager
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


def local_snapshot(source: HubSource) -> Path | None:
    """The folder of this commit in the hub's cache; None where a part of it is not there. The network is not used."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    folder = _cache_folder(source) / "snapshots" / source.revision
    try:
        found = snapshot_download(
            source.repo,
            revision=source.revision,
            repo_type=source.repo_type,
            ignore_patterns=_left_out(source, safe=any(folder.rglob("*.safetensors"))),
            local_files_only=True,
        )
    except (LocalEntryNotFoundError, OSError):
        return None
    # A link whose content is gone: a cache that was cleaned by hand.
    broken = any(path.is_symlink() and not path.exists() for path in Path(found).rglob("*"))
    return None if broken or not any(Path(found).iterdir()) else Path(found)


def _cache_folder(source: HubSource) -> Path:
    from huggingface_hub import constants

    kind = "datasets" if source.repo_type == "dataset" else "models"
    return Path(constants.HF_HUB_CACHE) / f"{kind}--{source.repo.replace('/', '--')}"


def _left_out(source: HubSource, safe: bool) -> list[str] | None:
    """Patterns of files that evaluation does not need. safe: where there are safetensors, torch's own files, too."""
    if source.repo_type == "dataset":
        return None
    return [*_NOT_NEEDED, *(["*.bin", "*.pt", "*.pth"] if safe else [])]


def need_snapshot(source: HubSource) -> Path:
    """`local_snapshot`, or a ConfigError with what to do."""
    found = local_snapshot(source)
    if found is None:
        raise ConfigError(f"{source} is not in the hub's cache; run `make fetch CONFIG=...` where there is network")
    return found


def download(source: HubSource) -> Path:
    """Bring a commit into the hub's cache. Raises ConfigError in plain words where it cannot be had."""
    from huggingface_hub import constants

    if found := local_snapshot(source):
        return found
    if constants.HF_HUB_OFFLINE:
        raise ConfigError(f"{source} is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it")
    with _hub_errors(str(source), _page(source.repo, source.repo_type)):
        folder = _fetch(source, safe=True)
        if source.repo_type == "model" and not any(folder.rglob("*.safetensors")):
            folder = _fetch(source, safe=False)
    return folder


def newest_commit(repo: str, repo_type: RepoType) -> str:
    """The newest commit of a repository's default branch. Raises ConfigError where it cannot be had."""
    from huggingface_hub import HfApi

    with _hub_errors(repo, _page(repo, repo_type)):
        commit = HfApi().repo_info(repo, repo_type=repo_type).sha
    if commit is None:
        raise ConfigError(f"{repo}: the hub does not say which commit is the newest")
    return commit


def _page(repo: str, repo_type: RepoType) -> str:
    return f"https://huggingface.co/{'datasets/' if repo_type == 'dataset' else ''}{repo}"


@contextmanager
def _hub_errors(what: str, page: str) -> Iterator[None]:
    """What goes wrong inside, as a ConfigError in plain words."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ConfigError(
            f"{what}: access is restricted; accept its terms at {page}, then set HF_TOKEN to a token of that account"
        ) from error
    except RevisionNotFoundError as error:
        raise ConfigError(f"{what}: there is no such commit; {page}/commits lists them") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{what}: there is no such repository, or it is private and HF_TOKEN does not open it ({page})"
        ) from error
    except Exception as error:
        expected = (OfflineModeIsEnabled, LocalEntryNotFoundError, HfHubHTTPError, OSError)
        # The client library that the hub's package uses (httpx, httpx2) raises its own errors where nothing answers.
        if not isinstance(error, expected) and not type(error).__module__.startswith("httpx"):
            raise
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(f"{what}: cannot be fetched: {reason}") from error


def _fetch(source: HubSource, safe: bool) -> Path:
    from huggingface_hub import snapshot_download

    found = snapshot_download(
        source.repo,
        revision=source.revision,
        repo_type=source.repo_type,
        ignore_patterns=_left_out(source, safe),
    )
    return Path(found)
