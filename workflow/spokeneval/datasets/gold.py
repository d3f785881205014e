"""The table `gold.csv` of the ZeroSpeech 2021 archive: which recordings are a pair, and what is known of them.

Conventions
-----------
- One row a recording: filename (without `.wav`), id, voice, correct (1 or 0), and word, phones, length, frequency
  (lexical) or transcription, type, subtype (syntactic). Rows are counted as in the file, the header being row 1.
- A pair is one correct and one incorrect row of equal id and voice; for the syntactic part of equal type and subtype
  too, as ids are counted within them in the official toolkit. Any other number of rows is an error with the rows.
- Frequency bands are the toolkit's: occurrences in LibriSpeech, cut at 1, 5, 20 and 100, the lower edge inside, under
  the names it gives them. So 5 occurrences are in '6-20', 20 in '21-100' and 100 in '>100'.
- Audio is beside the table or anywhere below its folder, under the name that the row gives.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from spokeneval.datasets.recordings import listed, read_table
from spokeneval.errors import ConfigError

TABLE = "gold.csv"
REQUIRED = ("filename", "id", "voice", "correct")
OF_PART = {"lexical": "frequency", "syntactic": "type"}
"""The column by which the table of a part is known."""

_BAND_EDGES = (1, 5, 20, 100)
_BANDS = ("oov", "1-5", "6-20", "21-100", ">100")
_CORRECT = {"1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True)
class GoldPair:
    id: str
    """Unique in its part: with type and subtype where there are any."""
    positive: str
    """filename, without suffix"""
    negative: str
    labels: dict[str, str]
    texts: dict[str, str] = field(default_factory=dict)


def find_gold(path: Path, part: str) -> Path | None:
    """The one gold.csv of a part in a folder, in `<part>/`, or in a `dev/` or `test/` of either; None without any.

    Raises ConfigError where there are several.
    """
    folders = [path, path / part]
    places = [place / TABLE for folder in folders for place in (folder, folder / "dev", folder / "test")]
    found = [place for place in places if place.is_file()]
    if len(found) > 1:
        names = ", ".join(str(place.relative_to(path)) for place in found)
        raise ConfigError(f"{path}: holds {names}; give the folder of the one that is meant")
    return found[0] if found else None


def frequency_band(frequency: str | None) -> str:
    """The toolkit's band; 'unknown' where the cell is empty. Raises ValueError for what is no number."""
    return "unknown" if frequency is None else _BANDS[bisect_right(_BAND_EDGES, float(frequency))]


def read_gold(table: Path, part: str) -> list[GoldPair]:
    """All pairs, in the order of their first rows.

    Raises ConfigError naming rows that are no pair, have an empty cell or a value that is none.
    """
    rows: list[dict[str, Any]] = list(read_table(table, (*REQUIRED, OF_PART[part])).iter_rows(named=True))
    problems = [problem for number, row in enumerate(rows, start=2) if (problem := _problem(number, row))]
    problems += [f"filename '{name}' is there {n} times" for name, n in _counts(rows).items() if n > 1]
    if problems:
        raise ConfigError(f"{table}: {listed(problems)}")
    within = [name for name in ("type", "subtype") if part == "syntactic" and name in rows[0]]
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        identity = "/".join(str(row[name] or "") for name in (*within, "id"))
        groups[identity, row["voice"]].append(position)
    for (identity, voice), positions in groups.items():
        if sorted(_CORRECT[rows[position]["correct"]] for position in positions) != [False, True]:
            said = ", ".join(f"row {position + 2}: correct is {rows[position]['correct']}" for position in positions)
            problems.append(f"id {identity}, voice {voice}: expected one correct and one incorrect row, found {said}")
    if problems:
        raise ConfigError(f"{table}: {listed(problems)}")
    return [_pair(identity, voice, [rows[i] for i in positions]) for (identity, voice), positions in groups.items()]


def _counts(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(row["filename"] for row in rows if row["filename"] is not None)


def _problem(number: int, row: dict[str, Any]) -> str | None:
    empty = [name for name in REQUIRED if row[name] is None]
    if empty:
        return f"row {number}: {', '.join(empty)} is empty"
    if row["correct"] not in _CORRECT:
        return f"row {number}: correct is '{row['correct']}', expected 1 or 0"
    if PurePosixPath(row["filename"].replace("\\", "/")).name != row["filename"]:
        return f"row {number}: filename is '{row['filename']}', expected a name without folders"
    try:
        frequency_band(row.get("frequency"))
    except ValueError:
        return f"row {number}: frequency is '{row['frequency']}', expected a number or nothing"
    return None


def _pair(identity: str, voice: str, rows: list[dict[str, Any]]) -> GoldPair:
    right, wrong = sorted(rows, key=lambda row: not _CORRECT[row["correct"]])
    labels = {"voice": voice}
    if "frequency" in right:
        labels["frequency"] = frequency_band(right["frequency"])
    names = {"type": "type", "subtype": "subtype", "length": "n_phones"}
    labels |= {label: right[name] for name, label in names.items() if right.get(name) is not None}
    texts = {}
    for role, row in (("positive", right), ("negative", wrong)):
        text = row.get("word") or row.get("transcription") or row.get("phones")
        if text is not None:
            texts[f"text_{role}"] = text
    return GoldPair(identity, right["filename"], wrong["filename"], labels, texts)
