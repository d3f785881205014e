"""Content digests of what lies outside the workflow: weights, codebooks, recordings, ratings.

Content counts, never a date: a touched file keeps its digest, a changed one gets another. So that 40 x 14 GB of
weights cost nothing at every start, digests are kept in a lock file beside size and mtime of each file; only files
whose size or mtime moved are read again. Folders above `READ_AT_ONCE_BYTES` are read by an explicit step
(`spokeneval lock`), never while a workflow is parsed. Of a folder that was deleted after its evaluation the lock keeps
the digest: its results stay valid.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from spokeneval.atomic import atomic_path
from spokeneval.errors import ConfigError

READ_AT_ONCE_BYTES = 512 * 2**20
"""Folders with more unread bytes than this are not read while parsing."""

_NOT_CONTENT = {".md", ".lock", ".part"}


def sha256_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_files(path: Path) -> list[Path]:
    """The files that make the content of a file or folder: all but hidden ones, model cards and notes."""
    if path.is_file():
        return [path]
    found = []
    for folder, names, files in os.walk(path):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [
            Path(folder, name)
            for name in sorted(files)
            if not name.startswith((".", "card.")) and Path(name).suffix not in _NOT_CONTENT
        ]
    return found


@dataclass
class Fingerprints:
    """Digests with their lock file. `allow_large` reads whatever has to be read (the explicit step)."""

    lock: Path
    allow_large: bool = False
    _entries: dict[str, dict[str, list[int | str]]] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)
    _changed: bool = False

    def __post_init__(self) -> None:
        if self.lock.exists():
            try:
                self._entries = json.loads(self.lock.read_text())
            except (json.JSONDecodeError, OSError) as error:
                raise ConfigError(f"{self.lock}: cannot be read ({error}); remove it, digests are made anew") from error

    def digest(self, path: str | Path, progress: Callable[[str], None] | None = None) -> str:
        """The digest of a file's or folder's content.

        Raises ConfigError where it is neither there nor in the lock, or too large to be read now.
        """
        key = str(path)
        if key not in self._known:
            self._known[key] = self._digest(key, progress)
        return self._known[key]

    def archived(self, path: str | Path) -> bool:
        """True where the content is gone and only its digest is kept."""
        return not Path(path).exists() and str(path) in self._entries

    def _digest(self, key: str, progress: Callable[[str], None] | None) -> str:
        root = Path(key)
        entry = self._entries.get(key)
        if not root.exists():
            if entry is None:
                raise ConfigError(f"{key}: no such file or folder")
            return _combine({name: str(values[2]) for name, values in entry.items()})
        files = content_files(root)
        if not files:
            raise ConfigError(f"{key}: an empty folder; expected files in it")
        stats = {(str(f.relative_to(root)) if f != root else "."): (f, f.stat()) for f in files}
        entry = entry or {}
        unread = {
            name: path
            for name, (path, stat) in stats.items()
            if name not in entry or [stat.st_size, stat.st_mtime_ns] != entry[name][:2]
        }
        size = sum(stats[name][1].st_size for name in unread)
        if size > READ_AT_ONCE_BYTES and not self.allow_large:
            raise ConfigError(
                f"{key}: {size / 2**30:.1f} GiB whose digest is not known yet; run `spokeneval lock` once "
                "(it reads them in parallel)"
            )
        with ThreadPoolExecutor(max_workers=8) as pool:
            read = dict(zip(unread, pool.map(sha256_file, unread.values()), strict=True))
            if progress and unread:
                progress(f"{key}: {len(unread)} files, {size / 2**20:.1f} MiB read")
        digests = {name: read.get(name) or str(entry[name][2]) for name in stats}
        fresh: dict[str, list[int | str]] = {
            name: [stat.st_size, stat.st_mtime_ns, digests[name]] for name, (_, stat) in sorted(stats.items())
        }
        if fresh != entry:
            self._entries[key] = fresh
            self._changed = True
        return _combine(digests)

    def save(self) -> None:
        """Write the lock where something is new; a folder that cannot be written is left as it is."""
        if not self._changed:
            return
        with atomic_path(self.lock) as temporary:
            temporary.write_text(json.dumps(self._entries, indent=0, sort_keys=True))
        self._changed = False


def _combine(digests: dict[str, str]) -> str:
    lines: Iterable[str] = (f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
