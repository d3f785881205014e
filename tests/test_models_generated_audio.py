"""Audio that a model made elsewhere: kept as it is, cut where it must be, and named where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from evaluator_tables import TEN_HZ, pair, pairs_table

from spokeneval.audio import decode_flac
from spokeneval.errors import ConfigError
from spokeneval.item_table import Asked
from spokeneval.models.external import External

PAIRS = pairs_table([pair("a", 20, index=0), pair("b", 20, index=1)])


def tone(path: Path, seconds: float, rate: int = 8000, level: float = 0.25) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, level * np.sin(np.arange(round(seconds * rate)) * 0.3), rate, subtype="PCM_16")


def heard(folder: Path, rows: list[dict[str, Any]], pairs: pl.DataFrame = PAIRS, **options: Any) -> dict[Any, Any]:
    pl.DataFrame(rows).write_csv(folder / "said.csv")
    external = External(TEN_HZ, generated_audio=folder / "said.csv", **options)
    return {(r["clip_id"], r["sample_index"]): r for r in external.continuations(pairs, Asked("demo")).rows}


def test_generated_audio_is_kept_at_its_own_rate_with_its_status(tmp_path):
    tone(tmp_path / "wav/a.wav", 1.0)
    tone(tmp_path / "wav/b.wav", 0.2, rate=16000)
    rows = [{"task": "speaker", "index": i, "path": f"wav/{n}.wav"} for i, n in enumerate("ab")]
    found = heard(tmp_path, rows)
    good = found["a.s", 0]
    assert (good["status"], good["sample_rate"], good["n_samples"], good["codes"]) == ("ok", 8000, 8000, None)
    np.testing.assert_allclose(decode_flac(good["audio"]["bytes"])[0], sf.read(tmp_path / "wav/a.wav")[0], atol=1e-6)
    assert (found["b.s", 0]["status"], found["b.s", 0]["sample_rate"]) == ("too_short", 16000)


def test_a_prompt_that_is_included_is_cut_off_to_the_sample(tmp_path):
    samples = np.r_[np.full(1600, 0.5), np.full(6400, 0.1)]  # 20 of 100 samples a second are 0.2 s: 1600 at 8 kHz
    sf.write(tmp_path / "a.wav", samples, 8000, subtype="PCM_16")
    found = heard(tmp_path, [{"item_id": "a", "path": "a.wav"}], PAIRS.head(1), prompt_included=True)["a.s", 0]
    waveform, _ = decode_flac(found["audio"]["bytes"])
    assert len(waveform) == 6400
    assert float(np.abs(waveform - 0.1).max()) < 1e-4


def test_audio_that_is_missing_unreadable_or_outside_is_a_failed_row(tmp_path):
    tone(tmp_path / "a.wav", 1.0)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    rows = [
        {"item_id": "a", "path": "a.wav", "sample_index": 0},
        {"item_id": "a", "path": "none.wav", "sample_index": 1},
    ]
    rows += [{"item_id": "b", "path": "../a.wav", "sample_index": 1}]
    found = heard(tmp_path, rows)
    assert found["a.s", 1]["reason"] == "none.wav: no such audio file"
    assert found["b.s", 0]["reason"] == "said.csv has no audio of speaker/1, sample 0"
    assert found["b.s", 1]["reason"] == "'../a.wav' is not a path inside the table's folder"
    assert "cannot be read as audio" in heard(tmp_path, [{"item_id": "a", "path": "bad.wav"}])["a.s", 0]["reason"]


def test_items_that_share_a_prompt_share_one_continuation(tmp_path):
    tone(tmp_path / "a.wav", 1.0)
    tone(tmp_path / "b.wav", 1.5)
    shared = pairs_table([pair("a", 20, index=0), pair("b", 20, index=1, prompt="a.s")])
    rows = [{"item_id": "a", "path": "a.wav"}]
    assert heard(tmp_path, rows, shared)["a.s", 0]["status"] == "ok"
    found = heard(tmp_path, [*rows, {"item_id": "b", "path": "b.wav"}], shared)["a.s", 0]
    assert found["reason"] == "speaker/0 and speaker/1 begin with one prompt clip; give its continuation in one row"
    with pytest.raises(ConfigError, match=r"sample 0 of speaker/0 is there twice, first in .*row 2"):
        heard(tmp_path, [*rows, *rows], shared)
