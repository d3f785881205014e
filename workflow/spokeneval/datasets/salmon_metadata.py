"""What SALMon's items were made of, where the generator's `metadata.json` lies in the folder of a task.

Conventions
-----------
- A JSON list with one object an item, which says its `index` and, depending on the task, `speakers` and `text`;
  `emotion` of each member, speaker and text; `snr` and `bg_wav_path` or `audio_bg_class` of each member; `rirs`;
  `text_emotion`.
- Clusters: the text (speaker, gender and sentiment consistency); the unordered pair of noise classes, or of noise files
  where the class is the same; the unordered pair of rooms. Other items are their own cluster.
- The published zip need not hold these files. The label `made_of` says whether an item's is known: 'metadata.json' or
  'unknown'; an object that lacks what its task needs counts as unknown.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from spokeneval.datasets.members import unordered
from spokeneval.datasets.mixing import SNR_BANDS_DB
from spokeneval.errors import ConfigError

FILE = "metadata.json"
MADE_OF = "made_of"

_ALIGNMENT_BAND_DB = (10.0, 20.0)


@dataclass(frozen=True)
class MadeOf:
    labels: dict[str, str] = field(default_factory=lambda: {MADE_OF: "unknown"})
    cluster: str | None = None
    """None where the item shares nothing that is known."""


def read_metadata(folder: Path, task: str) -> dict[int, MadeOf]:
    """Index -> what is known of the item; empty where there is no such file.

    Raises ConfigError where the file is no JSON list of objects with an `index`, or has one twice.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as JSON ({error}); mend it or take it away") from error
    if not isinstance(records, list) or not all(isinstance(r, dict) and type(r.get("index")) is int for r in records):
        raise ConfigError(f"{path}: expected a list of objects with an integer 'index'; mend it or take it away")
    found: dict[int, MadeOf] = {}
    for record in records:
        if record["index"] in found:
            raise ConfigError(f"{path}: index {record['index']} is there twice; mend it or take it away")
        found[record["index"]] = _made_of(record, task)
    return found


def _made_of(record: dict[str, Any], task: str) -> MadeOf:
    try:
        labels, cluster = _READERS[task](record)
    except (KeyError, IndexError, TypeError, ValueError):
        return MadeOf()
    return MadeOf({MADE_OF: FILE, **labels}, cluster)


_Known = tuple[dict[str, str], str | None]


def _speakers(record: dict[str, Any]) -> _Known:
    positive, negative = record["speakers"]
    labels = {"speaker_positive": str(positive), "speaker_negative": str(negative)}
    return labels, f"text {record['text']}"


def _emotions(record: dict[str, Any]) -> _Known:
    positive, negative = (str(member["emotion"]) for member in record["audio"])
    labels = {"emotion_positive": positive, "emotion_negative": negative, "speaker": str(record["speech_path"])}
    return labels, f"text {record['text']}".strip()


def _noises(record: dict[str, Any]) -> _Known:
    one, two = (PurePosixPath(str(member["bg_wav_path"])) for member in record["audio"])
    labels = {"noise_positive": one.parent.name, "noise_negative": two.parent.name, **_band(record)}
    if one.parent.name != two.parent.name:
        return labels, unordered(one.parent.name, two.parent.name)
    return labels, unordered(*(f"{noise.parent.name}/{noise.name}" for noise in (one, two)))


def _rooms(record: dict[str, Any]) -> _Known:
    one, two = (PurePosixPath(str(path)).stem for path in record["rirs"])
    return {"room_positive": one, "room_negative": two}, unordered(one, two)


def _noise_classes(record: dict[str, Any]) -> _Known:
    one, two = (str(member["audio_bg_class"]) for member in record["audio"])
    return {"noise_positive": one, "noise_negative": two, **_band(record)}, unordered(one, two)


def _text_emotion(record: dict[str, Any]) -> _Known:
    return {"emotion_positive": str(record["text_emotion"])}, None


def _band(record: dict[str, Any]) -> dict[str, str]:
    snr_db = float(record["snr"])
    bands = (*SNR_BANDS_DB, _ALIGNMENT_BAND_DB)
    band = next((f"{low:g}-{high:g}" for low, high in bands if low <= snr_db <= high), "other")
    return {"snr_band_db": band}


_READERS: dict[str, Callable[[dict[str, Any]], _Known]] = {
    "sentiment_consistency": _emotions,
    "speaker_consistency": _speakers,
    "gender_consistency": _speakers,
    "bg_domain_consistency": _noises,
    "bg_all_consistency": _noises,
    "rir_consistency": _rooms,
    "sentiment_alignment": _text_emotion,
    "bg_alignment": _noise_classes,
}
