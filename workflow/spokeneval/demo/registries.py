"""Fetches files out of Debian packages and Python packages, without root and without installing anything.

Digests are pinned by the caller's files: sha256 of the files that are used for Debian packages (whose archives other
releases may rebuild), sha256 of the archive for Python packages.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from spokeneval.errors import SpokenevalError

_APT_PATHS = {
    "Dir::State": "state",
    "Dir::State::status": "state/status",
    "Dir::Cache": "cache",
}
_APT_OPTIONS = ("Debug::NoLocking=1", "APT::Sandbox::User=", "Acquire::Languages=none")


def fetch_debian(packages: Sequence[str], folder: Path) -> Path:
    """Download and unpack Debian packages below a folder; returns the root of the unpacked files.

    apt checks the signatures with the machine's own sources and keys; its state is private and below `folder`.
    """
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise SpokenevalError(
            f"{' and '.join(missing)} not found: the demo's recordings come from the Debian packages "
            f"{', '.join(packages)}, so the demo needs Debian, Ubuntu or a container of one. "
            "The same workflow runs on a folder of your own recordings: see docs/own-recordings.md"
        )
    folder = folder.resolve()
    for name in ("state/lists/partial", "cache/archives/partial", "debs", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "status").touch()
    options = [f"{key}={folder / path}" for key, path in _APT_PATHS.items()] + list(_APT_OPTIONS)
    apt = ["apt-get", "-q", *(part for option in options for part in ("-o", option))]
    run([*apt, "update"], "reading the lists of Debian packages")
    run([*apt, "download", *packages], f"downloading {', '.join(packages)}", folder / "debs")
    for archive in sorted((folder / "debs").glob("*.deb")):
        run(["dpkg-deb", "-x", str(archive), str(folder / "root")], f"unpacking {archive.name}")
    return folder / "root"


def fetch_python(requirements: Path, folder: Path) -> None:
    """Unpack the wheels of a requirements file with hashes into a new folder; nothing is imported or built."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    exact = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile", "--no-warn-conflicts"]
    run(
        [*pip, *exact, "--target", str(folder), "-r", str(requirements)],
        f"downloading the packages of {requirements.name}",
    )


def run(command: Sequence[str], what: str, folder: Path | None = None) -> None:
    """Run a command, saying what it does. Raises SpokenevalError with its last words where it fails."""
    print(f"fetch: {what}", flush=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-4:])
        raise SpokenevalError(f"{what} failed ({command[0]} ended with {done.returncode}):\n{last}")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_sha256(files: Iterable[Path]) -> str:
    """One digest over the names and digests of files, sorted by name."""
    lines = sorted(f"{path.name} {sha256(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_digest(name: str, expected: str, got: str) -> None:
    """Raises SpokenevalError where a digest is not the pinned one."""
    if expected != got:
        raise SpokenevalError(
            f"{name}: expected sha256 {expected}, got {got}; the package has other content than the demo was "
            "made with. Results would not be comparable, so nothing was written"
        )
