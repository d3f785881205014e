"""The demo's container of recordings is read as it is laid out: checked on one written by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from spokeneval.demo.amazon_queen import Container, parse_dialogue
from spokeneval.errors import SpokenevalError


def string(index: int, text: str) -> bytes:
    """One entry of a string table: two bytes unused, index, length, text, padded to four bytes from the length on."""
    body = struct.pack(">xxHB", index, len(text)) + text.encode("latin1")
    return body + bytes(-(len(text) + 1) % 4 if text else 3)


def dialogue(joe: list[tuple[int, str]], other: list[tuple[int, str]], key: int = 2, levels: int = 1) -> bytes:
    """A dialogue file: header, level table, Joe's strings, the other's strings."""
    joe_table = b"".join(string(i, text) for i, text in joe)
    other_at = 32 + 96 * levels + len(joe_table)
    head = struct.pack(">5h", levels, 0, key, len(joe), len(other)) + bytes(12) + struct.pack(">H", other_at)
    fields = head + bytes(32 - len(head)) + bytes(96 * levels)
    return bytes(20) + fields + joe_table + b"".join(string(i, text) for i, text in other)


def container(path: Path, files: dict[str, bytes], compression: int = 1) -> Path:
    start = 15 + 21 * len(files)
    table, body = b"", b""
    for name, content in files.items():
        table += name.encode().ljust(12, b"\0") + b"\0" + struct.pack(">II", start + len(body), len(content))
        body += content
    path.write_bytes(b"QTBLCEM10\0\0\0" + bytes([compression]) + struct.pack(">H", len(files)) + table + body)
    return path


def test_lines_get_speaker_text_scene_and_the_name_of_their_recording(tmp_path: Path) -> None:
    files = {
        "020001J1.SB": b"joe",
        "02001AP1.SB": b"first",
        "02001AP3.SB": b"third",
        "BOB1.DOG": dialogue([(1, "Hello.")], [(0x1A, "Well,*HFno.*SB And yes.")]),
    }
    found = {line.name: line[1:] for line in Container(container(tmp_path / "queen.1c", files)).lines()}
    # the second segment ("no.") has no recording
    assert found == {
        "020001J1": ("JOE", "Hello.", "BOB1"),
        "02001AP1": ("BOB", "Well,", "BOB1"),
        "02001AP3": ("BOB", "And yes.", "BOB1"),
    }


def test_empty_segments_count_but_are_no_lines() -> None:
    lines = list(parse_dialogue("AND1", dialogue([], [(5, "*HF*SBwords")])))
    assert [(line.name, line.speaker, line.text) for line in lines] == [("020005P3", "AND", "words")]


def test_strings_of_every_length_are_found() -> None:
    texts = ["", *("x" * n for n in range(1, 10))]
    lines = list(parse_dialogue("A", dialogue([(i, text) for i, text in enumerate(texts)], [(77, "end")])))
    assert [line.text for line in lines] == [*texts[1:], "end"]


def test_a_cut_off_table_ends_the_lines_instead_of_inventing_some() -> None:
    whole = dialogue([(1, "One."), (2, "Two.")], [])
    assert [line.text for line in parse_dialogue("A", whole[:-12])] == ["One."]


def test_bytes_of_a_file_are_returned_unchanged(tmp_path: Path) -> None:
    files = {"A.SB": b"\0\1\2", "B.SB": b"", "C.SB": b"xyz"}
    read = Container(container(tmp_path / "queen.1c", files))
    assert {name: read.read(name) for name in read.entries} == files


@pytest.mark.parametrize("content", [b"", b"not a game", b"QTBLCEM10\0\0\0\0\0\0"])
def test_another_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "queen.1c").write_bytes(content)
    with pytest.raises(SpokenevalError, match=r"queen\.1c: expected the data of Flight of the Amazon Queen"):
        Container(tmp_path / "queen.1c")
