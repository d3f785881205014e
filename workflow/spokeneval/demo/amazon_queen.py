"""Reads the recordings of the game Flight of the Amazon Queen (talkie version) from its one data file.

Conventions
-----------
- `queen.1c` is a container: a table of contents (big-endian), then the files. Spoken lines are `*.SB` (each one an MP3
  file, 11,025 Hz mono), dialogues are `*.DOG`. The format is that of ScummVM's engine `queen` (resource.cpp, talk.cpp).
- A spoken line's name is made of dialogue key, line index, J (Joe, the player) or P (the other person) and segment.
- The speaker is the name of the dialogue file without its digits (BOB1.DOG: BOB) or JOE. This is inferred: the data
  hold no list of speakers, and a second person in a scene shares the label.
- A scene is a dialogue file without `.DOG`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spokeneval.errors import SpokenevalError

_MAGIC = b"QTBL"
_COMPRESSION_AT = 12
_MP3 = 1
_ENTRY_BYTES = 21
_NAME_BYTES = 12
_DIALOGUE_HEADER_BYTES = 20
_LEVELS_AT = 32
_LEVEL_BYTES = 96
_COMMAND = re.compile(r"\*..")
"""Stage directions inside a line; each starts a new segment, which has its own recording."""


class Entry(NamedTuple):
    """Where a file lies in the container, in bytes."""

    offset: int
    size: int


class Line(NamedTuple):
    """A spoken line that has a recording."""

    name: str
    """As in the container, without `.SB`."""
    speaker: str
    text: str
    scene: str


class Container:
    """The data file in memory (54 MB): its table of contents and the bytes of a file by name."""

    def __init__(self, path: Path) -> None:
        """Raises SpokenevalError where the file is not the talkie data with MP3 sound."""
        self._data = path.read_bytes()
        if self._data[:4] != _MAGIC or self._data[_COMPRESSION_AT : _COMPRESSION_AT + 1] != bytes([_MP3]):
            raise SpokenevalError(
                f"{path}: expected the data of Flight of the Amazon Queen with MP3 sound (it starts with QTBL and "
                f"has a 1 at byte 12), found {self._data[:13]!r}; fetch the file again"
            )
        self.entries = self._table_of_contents()

    def _table_of_contents(self) -> dict[str, Entry]:
        start = _COMPRESSION_AT + 1
        (n_entries,) = struct.unpack_from(">H", self._data, start)
        entries = {}
        for i in range(n_entries):
            at = start + 2 + i * _ENTRY_BYTES
            name = self._data[at : at + _NAME_BYTES].split(b"\0")[0].decode("latin1").strip()
            entries[name] = Entry(*struct.unpack_from(">II", self._data, at + _NAME_BYTES + 1))
        return entries

    def read(self, name: str) -> bytes:
        """The bytes of a file of the container."""
        offset, size = self.entries[name]
        return self._data[offset : offset + size]

    def lines(self) -> list[Line]:
        """All lines of dialogue that have a recording, by name; where two dialogues share one, the later counts."""
        lines: dict[str, Line] = {}
        for file in (name for name in self.entries if name.endswith(".DOG")):
            for line in parse_dialogue(file.removesuffix(".DOG"), self.read(file)):
                if f"{line.name}.SB" in self.entries:
                    lines[line.name] = line
        return [lines[name] for name in sorted(lines)]


def parse_dialogue(scene: str, file: bytes) -> Iterator[Line]:
    """The lines of one dialogue file, those without a recording too."""
    data = file[_DIALOGUE_HEADER_BYTES:]
    level_max, _, key, n_joe, n_other = struct.unpack_from(">5h", data)
    (other_at,) = struct.unpack_from(">H", data, 22)
    other = re.sub(r"\d+$", "", scene)
    joe_at = _LEVELS_AT + abs(level_max) * _LEVEL_BYTES
    for start, n_lines, letter, speaker in ((joe_at, n_joe, "J", "JOE"), (other_at, n_other, "P", other)):
        for index, text in _strings(data, start, n_lines):
            # Empty segments count, so that segment numbers agree with the names of the recordings.
            for segment, spoken in enumerate(_COMMAND.split(text), start=1):
                if spoken.strip():
                    yield Line(f"{key:02d}{index:04X}{letter}{segment}", speaker, spoken.strip(), scene)


def _strings(data: bytes, start: int, n_strings: int) -> Iterator[tuple[int, str]]:
    """(index, text) of a table of strings, each padded to a multiple of four bytes."""
    at = start
    for _ in range(n_strings):
        if at + 5 > len(data):
            return
        (index,) = struct.unpack_from(">H", data, at + 2)
        length = data[at + 4]
        yield index, data[at + 5 : at + 5 + length].decode("latin1")
        at += 5 + length + (-(length + 1) % 4 if length else 3)
