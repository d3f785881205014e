"""VoiceMOS Challenge 2024, track 3: sample_id, sig, bak, ovr, listener; the file begins with a byte order mark.

Conventions: three dimensions a row (`wide`). Which part of sample_id is the system, the study says by `names`.
"""

from __future__ import annotations

from pathlib import Path

from spokeneval.ratings.formats.base import Format, Rows, read_csv

_SCORES = ("sig", "bak", "ovr")


def _read(path: Path) -> Rows:
    return Rows(read_csv(path, "VoiceMOS 2024 track 3", ("sample_id", *_SCORES, "listener")))


VMC24 = Format(
    read=_read,
    endings=(".csv",),
    columns={"listener_id": "listener"},
    audio={"blinded_name": "sample_id"},
    heard_as="sample_id",
    wide={name: name for name in _SCORES},
)
