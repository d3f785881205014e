"""What a model said elsewhere, as audio files.

Conventions
-----------
- A table beside the files: `task` and `index` (or `item_id`), `path` (inside the table's folder), and `sample_index`
  where there are several continuations of a prompt (0, 1, ...; every prompt has as many), see `item_table`; or a folder
  of files that are named by item, see `generated_folder`.
- Audio is kept at its native rate, channels averaged. Where files begin with the prompt (`prompt_included`), the
  prompt's seconds are cut off, rounded to the nearest sample.
- Status as in `continuations`; there are no codes, so that flags are those of the sound (`repetition`), against the
  prompt where its audio is here. A file that is missing or cannot be read, and a prompt without a file, are failed
  rows.
- Items that share a prompt clip share its continuation: it may be given once, or by each of them as the same audio.
  Given as different audio it fails, because it would not be known whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from spokeneval.audio import decode_flac, make_clip, read_recording
from spokeneval.continuations import UNHEARD, Key, needed, status_of
from spokeneval.datasets.recordings import inside
from spokeneval.errors import ConfigError, ItemError
from spokeneval.item_table import Asked, ItemRow, read_lines, require, rows_of_items, whole_numbers
from spokeneval.models.generated_folder import rows_of_files
from spokeneval.repetition import flags_of_sound
from spokeneval.tables import CONTINUATIONS, FAILED, OK

Row = dict[str, Any]


class ToldAudio(NamedTuple):
    rows: list[Row]
    """In the schema CONTINUATIONS."""
    n_left_out: int
    """Rows of the table that are not of this dataset's items; files of the folder that belong to none."""
    unmatched: tuple[str, ...] = ()
    """Those files."""


def continuation_rows(
    source: Path, pairs: pl.DataFrame, asked: Asked, prompt_included: bool, prompts: Mapping[str, bytes] | None = None
) -> ToldAudio:
    """A row for every prompt and sample.

    source: the table or the folder. prompts: clip_id -> FLAC bytes of the prompts whose audio is here.
    Raises ConfigError for a table or a folder that cannot be used as a whole.
    """
    unmatched: tuple[str, ...] = ()
    if source.is_dir():
        named_rows, folder, unmatched = rows_of_files(source, pairs, asked)
        n_left_out = len(unmatched)
    else:
        lines = read_lines(source)
        require(lines, ("path",), source)
        (named_rows, n_left_out), folder = rows_of_items(lines, pairs, asked, source), source.parent
    found: dict[Key, Row] = {}
    given_by: dict[Key, ItemRow] = {}
    for row in named_rows:
        if row.item["prompt"] is None:  # failed items and tasks without a prompt have nothing to continue
            continue
        key = (row.item["prompt"], _sample_index(row))
        made = _row(key, row, folder, prompt_included, (prompts or {}).get(key[0]))
        first = given_by.setdefault(key, row)
        if key not in found:
            found[key] = made
        elif first.item["item_id"] == row.item["item_id"]:
            raise ConfigError(f"{row.where}: sample {key[1]} of {_name(row)} is there twice, first in {first.where}")
        elif made["pcm_sha256"] != found[key]["pcm_sha256"]:
            reason = f"{_name(first)} and {_name(row)} begin with one prompt clip; give its continuation in one row"
            found[key] = _failed(key, reason)
    n_samples = 1 + max((sample for _, sample in found), default=0)
    names = {
        item["prompt"]: f"{item['task']}/{item['index']}"
        for item in pairs.filter(pl.col("status") == OK).sort("task", "index", descending=True).iter_rows(named=True)
    }
    return ToldAudio(
        [
            found.get(key) or _failed(key, f"{source.name} has no audio of {names[key[0]]}, sample {key[1]}")
            for key in needed(pairs, n_samples)
        ],
        n_left_out,
        unmatched,
    )


def _sample_index(row: ItemRow) -> int:
    found = whole_numbers(row.values.get("sample_index"), row.where, "sample_index") or [0]
    if len(found) != 1 or not 0 <= found[0] < 2**15:
        raise ConfigError(f"{row.where}: sample_index is {row.values['sample_index']}; expected 0, 1, 2 ...")
    return found[0]


def _name(row: ItemRow) -> str:
    return f"{row.item['task']}/{row.item['index']}"


def _row(key: Key, row: ItemRow, folder: Path, prompt_included: bool, prompt: bytes | None) -> Row:
    try:
        relative = inside(str(row.values.get("path") or ""))
        if relative is None:
            raise ItemError(f"'{row.values.get('path')}' is not a path inside the table's folder")
        recording = read_recording(folder / relative, relative)
    except ItemError as error:
        return _failed(key, str(error))
    waveform, rate = recording.waveform, recording.sample_rate
    if prompt_included:
        clip_rate = row.item["sample_rate"]
        # transition / clip rate seconds to the nearest sample, in integers
        waveform = waveform[(2 * row.item["transition"] * rate + clip_rate) // (2 * clip_rate) :]
    status, reason = status_of(waveform, rate)
    found = _failed(key, "") | {"status": status, "reason": reason}
    if len(waveform) == 0:
        return found
    if status not in UNHEARD:
        heard = (None, None) if prompt is None else decode_flac(prompt)
        found["flags"] = flags_of_sound(waveform, rate, *heard)
    clip = make_clip(waveform, rate, recording.subtype)
    return found | {
        "seconds": clip.n_samples / clip.sample_rate,
        "audio": {"bytes": clip.flac, "path": f"{clip.clip_id[:16]}.flac"},
        "sample_rate": clip.sample_rate,
        "n_samples": clip.n_samples,
        "pcm_sha256": clip.clip_id,
    }


def _failed(key: Key, reason: str) -> Row:
    empty = dict.fromkeys(CONTINUATIONS.arrow.names)
    return empty | {"clip_id": key[0], "sample_index": key[1], "status": FAILED, "reason": reason}
