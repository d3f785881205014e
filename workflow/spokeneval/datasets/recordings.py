"""A table of recordings: what is in it, and its audio on demand.

Conventions
-----------
- The table is a CSV (commas, UTF-8) or parquet with the columns `path`, `speaker`, `language` and, where known, `text`,
  `group` and `gender`; other columns are ignored. One row is one **line**: one recording of one speaker.
- A path is relative to the table's folder and stays inside it, so that results never hold an absolute path.
- `group` is what must not be torn apart when recordings are split (a scene, a session, a chapter).
- Headers of all recordings are read at the start, samples only of those that are used. A recording that cannot be read
  is an error for the whole table and not a failed item: made of fewer recordings, it would be another benchmark.
- Waveforms come as float32, mono, `(n_samples,)`, resampled once to the rate of the dataset.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl
import soundfile as sf

from spokeneval.audio import Waveform, read_recording, resample
from spokeneval.errors import ConfigError, ItemError

REQUIRED = ("path", "speaker", "language")
OPTIONAL = ("text", "group", "gender")

_SHOWN = 5
"""Problems that a message names; of the others it gives the number."""

_CACHED_SAMPLES = 16 * 2**20
"""Samples of decoded recordings that are kept (64 MiB), as a line serves several items."""


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    path: str
    """Relative to the table's folder, with '/'."""
    speaker: str
    language: str
    text: str | None = None
    group: str | None = None
    gender: str | None = None

    @property
    def words(self) -> str | None:
        """The text without case, punctuation and marks; equal for two speakers who say the same. None where unknown."""
        return normalised(self.text)


def normalised(text: str | None) -> str | None:
    """Lower case, letters and digits only, single spaces; None where nothing is left."""
    kept = (
        char if char.isalnum() or unicodedata.category(char).startswith("M") else "" if char in "'’" else " "
        for char in unicodedata.normalize("NFC", text or "").casefold()
    )
    return " ".join("".join(kept).split()) or None


def read_table(path: Path, required: Collection[str]) -> pl.DataFrame:
    """A CSV or parquet table as strings, empty cells as null.

    Raises ConfigError where it is not there, cannot be read, has no rows or lacks a required column.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such table; expected a CSV or parquet file with {', '.join(required)}")
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: cannot be read as a table ({detail}); expected CSV (UTF-8) or parquet") from error
    missing = [name for name in required if name not in frame.columns]
    if missing:
        raise ConfigError(
            f"{path}: lacks the column(s) {', '.join(missing)}; it has {', '.join(frame.columns) or 'none'}"
            + ("; columns are separated by commas" if len(frame.columns) == 1 else "")
        )
    if frame.is_empty():
        raise ConfigError(f"{path}: has no rows")
    text = frame.select(pl.all().cast(pl.String, strict=False).str.strip_chars())
    return text.with_columns(pl.when(pl.all().str.len_chars() > 0).then(pl.all()))


def read_lines(path: Path) -> tuple[Line, ...]:
    """The rows of a table of recordings, in its order.

    Raises ConfigError naming rows with an empty cell, a path outside the table's folder, or a path that comes twice.
    """
    frame = read_table(path, REQUIRED)
    frame = frame.with_columns(pl.lit(None, pl.String).alias(name) for name in OPTIONAL if name not in frame.columns)
    problems: list[str] = []
    lines: list[Line] = []
    seen: set[str] = set()
    for number, row in enumerate(frame.select(*REQUIRED, *OPTIONAL).iter_rows(named=True), start=2):
        empty = [name for name in REQUIRED if row[name] is None]
        if empty:
            problems.append(f"row {number}: {', '.join(empty)} is empty")
            continue
        relative = inside(row["path"])
        if relative is None:
            problems.append(f"row {number}: '{row['path']}' is not a path inside the table's folder")
        elif relative in seen:
            problems.append(f"row {number}: '{relative}' is there twice")
        else:
            seen.add(relative)
            lines.append(Line(**{**row, "path": relative}))
    if problems:
        raise ConfigError(f"{path}: {listed(problems)}")
    return tuple(lines)


def inside(path: str) -> str | None:
    """The path with '/', or None where it is absolute or leads out of its folder."""
    pure = PurePosixPath(path.replace("\\", "/"))
    drive = path[:1].isalpha() and path[1:2] == ":"
    outside = pure.is_absolute() or ".." in pure.parts or drive
    return None if outside else str(pure)


def listed(problems: list[str]) -> str:
    """The first few problems, and how many more there are."""
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


class Recordings:
    """The lines of a table and their audio at one rate."""

    def __init__(self, table: Path, sample_rate: int) -> None:
        self.table = Path(table)
        self.sample_rate = sample_rate
        self.lines = read_lines(self.table)
        self._cache: OrderedDict[str, Waveform] = OrderedDict()
        self._notes: dict[str, str] = {}
        self._native: dict[str, tuple[int, float]] = {}

    def check(self) -> None:
        """Read the header of every recording. Raises ConfigError that lists all that cannot be used."""
        bad = []
        for line in self.lines:
            try:
                self._native[line.path] = _header(self.table.parent / line.path)
            except ItemError as error:
                bad.append(f"{line.path}: {error}")
        if bad:
            raise self._unusable(bad)

    def seconds(self, line: Line) -> float:
        """Length by the header; for MP3 it may be off by some 50 ms."""
        if line.path not in self._native:
            self._native[line.path] = _header(self.table.parent / line.path)
        return self._native[line.path][1]

    def waveform(self, line: Line, at_rate: int | None = None) -> Waveform:
        """(n_samples,) at the rate of the dataset, or at another one; not to be written to.

        Raises ConfigError that lists all recordings of the table that cannot be decoded, where this one cannot.
        """
        if at_rate is not None and at_rate != self.sample_rate:
            return self._decode(line, at_rate)
        if line.path not in self._cache:
            self._cache[line.path] = self._decode(line, self.sample_rate)
            while sum(map(len, self._cache.values())) > _CACHED_SAMPLES and len(self._cache) > 1:
                self._cache.popitem(last=False)
        self._cache.move_to_end(line.path)
        return self._cache[line.path]

    def note(self, lines: Collection[Line]) -> str:
        """What was converted in these lines on the way; empty where nothing was."""
        return "; ".join(sorted({self._notes[line.path] for line in lines if self._notes.get(line.path)}))

    def _decode(self, line: Line, rate: int) -> Waveform:
        try:
            recording = read_recording(self.table.parent / line.path, line.path)
        except ItemError as error:
            # The run stops here: the user is told of all bad files at once, however long it takes to read them.
            raise self._unusable(list(self._undecodable())) from error
        notes = [recording.note]
        if recording.sample_rate != self.sample_rate:
            notes.append(f"{recording.sample_rate} Hz resampled to {self.sample_rate} Hz")
        if recording.subtype != "PCM_16" and not recording.note:
            notes.append("more than 16 bits stored as 16")
        self._notes[line.path] = ", ".join(note for note in notes if note)
        return resample(recording.waveform, recording.sample_rate, rate)

    def _undecodable(self) -> Iterator[str]:
        for line in self.lines:
            try:
                read_recording(self.table.parent / line.path, line.path)
            except ItemError as error:
                yield str(error)

    def _unusable(self, bad: list[str]) -> ConfigError:
        return ConfigError(
            f"{self.table}: {len(bad)} of {len(self.lines)} recordings cannot be used: {listed(bad)}. Mend them or "
            "take them out of the table (a benchmark made of fewer recordings is another benchmark)"
        )


def _header(path: Path) -> tuple[int, float]:
    """(rate in Hz, seconds). Raises ItemError without the file's name."""
    if not path.is_file():
        raise ItemError("no such file")
    if path.stat().st_size == 0:
        raise ItemError("the file is empty (0 bytes)")
    try:
        info = sf.info(str(path))
    except (sf.LibsndfileError, OSError) as error:
        detail = str(error).strip().rstrip(".").split(":")[-1].strip()
        raise ItemError(f"cannot be read as audio ({detail}); expected WAV, FLAC, OGG or MP3") from error
    if info.frames == 0:
        raise ItemError("holds no samples")
    return int(info.samplerate), float(info.frames / info.samplerate)
