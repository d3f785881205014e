"""Audio that a model made elsewhere: kept as it is, cut where it must be, and named where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from evaluator_tables import TEN_HZ, pair, pairs_table

from spokeneval.audio import decode_flac, make_clip
from spokeneval.config.blocks.models import ExternalBlock
from spokeneval.errors import ConfigError
from spokeneval.item_table import Asked
from spokeneval.models.external import External

DEMO = Asked("demo")
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


def test_seconds_are_the_sounds_own_and_flags_are_those_of_the_sound(tmp_path):
    rng = np.random.default_rng(0)
    prompt, own = 0.1 * rng.standard_normal((2, 16000))
    for name, samples in (("copy", prompt[4000:]), ("loop", np.tile(own[:6000], 3)), ("own", own), ("none", own * 0)):
        sf.write(tmp_path / f"{name}.wav", samples, 8000, subtype="PCM_16")
    table = pl.DataFrame({"item_id": ["a"] * 4, "path": [f"{name}.wav" for name in ("copy", "loop", "own", "none")]})
    table.with_columns(sample_index=pl.Series(range(4))).write_csv(tmp_path / "said.csv")
    external = External(TEN_HZ, generated_audio=tmp_path / "said.csv")
    flac = make_clip(prompt.astype(np.float32), 8000).flac
    for prompts, expected in (({"a.s": flac}, ["repeats_prompt"]), ({}, []), (None, [])):
        rows = external.continuations(PAIRS.head(1), Asked("demo"), prompts).rows
        assert [row["flags"] for row in rows] == [expected, ["loops"], [], None]
        assert [row["seconds"] for row in rows] == [1.5, 2.25, 2.0, 2.0]
        assert rows[3]["status"] == "silent"


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


# ------------------------------------------------------------ a folder of files named by item


def in_folder(folder: Path, *names: str, asked: Asked = DEMO, pairs: pl.DataFrame = PAIRS) -> Any:
    for number, name in enumerate(names):
        suffix = name.rpartition(".")[2]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.sin(np.arange(8000) * (0.1 + 0.01 * number))
        subtype = {"ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}.get(suffix, "PCM_16")
        sf.write(folder / name, samples, 8000, format=suffix.upper(), subtype=subtype)
    return External(TEN_HZ, generated_audio=folder).continuations(pairs, asked)


def statuses(told: Any) -> dict[Any, str]:
    return {(row["clip_id"], row["sample_index"]): row["status"] for row in told.rows}


def test_files_are_found_by_task_and_index_or_by_item_id_in_any_format(tmp_path):
    for number, name in enumerate(("speaker/0.wav", "a.wav", "a.flac", "a.ogg", "speaker/0.mp3", "a.WAV")):
        told = in_folder(tmp_path / str(number), name)
        assert statuses(told) == {("a.s", 0): "ok", ("b.s", 0): "failed"}, name
        assert told.rows[1]["reason"] == f"{number} has no audio of speaker/1, sample 0"
        assert told.unmatched == ()


def test_samples_are_counted_by_a_suffix_and_missing_ones_fail(tmp_path):
    told = in_folder(tmp_path, "speaker/0.wav", "a_s1.wav", "b_s0.wav", "speaker/1_s2.wav")
    assert statuses(told) == {
        ("a.s", 0): "ok", ("a.s", 1): "ok", ("a.s", 2): "failed",
        ("b.s", 0): "ok", ("b.s", 1): "failed", ("b.s", 2): "ok",
    }  # fmt: skip
    of_table = pl.DataFrame(
        {"item_id": ["a", "a", "b", "b"], "sample_index": [0, 1, 0, 2],
         "path": ["speaker/0.wav", "a_s1.wav", "b_s0.wav", "speaker/1_s2.wav"]}
    )  # fmt: skip
    of_table.write_csv(tmp_path / "said.csv")
    same = External(TEN_HZ, generated_audio=tmp_path / "said.csv").continuations(PAIRS, Asked("demo"))
    assert [row["pcm_sha256"] for row in told.rows] == [row["pcm_sha256"] for row in same.rows]


def test_files_of_no_item_are_named_and_never_used(tmp_path):
    (tmp_path / "notes.txt").write_text("said by nobody")
    (tmp_path / ".hidden.wav").write_bytes(b"")
    told = in_folder(tmp_path, "speaker/0.wav", "speaker/7.wav", "c.wav", "a_s.wav")
    assert told.unmatched == ("a_s.wav", "c.wav", "notes.txt", "speaker/7.wav")
    assert told.n_left_out == 4


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a.wav", "speaker/0.wav"], r"0\.wav: sample 0 of speaker/0 is there twice, first in .*a\.wav"),
        (["a.wav", "a.flac"], r"a\.wav: sample 0 of speaker/0 is there twice, first in .*a\.flac"),
        (["a.wav", "a_s0.wav"], r"a_s0\.wav: sample 0 of speaker/0 is there twice"),
        (
            ["c.wav", "d.wav"],
            r"holds no file named by an item of the dataset 'demo', e\.g\. speaker/0\.wav or a\.wav; it holds c",
        ),
    ],
)
def test_files_that_are_not_clear_are_refused(tmp_path, names, match):
    with pytest.raises(ConfigError, match=match):
        in_folder(tmp_path, *names)


def test_a_name_that_stands_for_two_items_is_refused(tmp_path):
    pairs = pairs_table([pair("a", 20, index=0), pair("a_s1", 20, index=1)])
    with pytest.raises(ConfigError, match=r"stands for sample 0 of speaker/1 and sample 1 of speaker/0; rename it"):
        in_folder(tmp_path, "a_s1.wav", pairs=pairs)
    assert statuses(in_folder(tmp_path / "clear", "speaker/1.wav", "a.wav", pairs=pairs))["a_s1.s", 0] == "ok"


def test_several_datasets_have_a_subfolder_each(tmp_path):
    told = in_folder(tmp_path, "demo/a.wav", "other/b.wav", asked=Asked("demo", alone=False))
    assert statuses(told) == {("a.s", 0): "ok", ("b.s", 0): "failed"}
    with pytest.raises(ConfigError, match="third: no such folder; the configuration has several datasets"):
        in_folder(tmp_path, asked=Asked("third", alone=False))


def test_a_folder_counts_by_its_own_content_and_a_table_by_its_folders(tmp_path):
    mark = ExternalBlock.model_fields["generated_audio"].metadata[0]
    (tmp_path / "said").mkdir()
    assert mark.content(str(tmp_path / "said")) == tmp_path / "said"
    assert mark.content(str(tmp_path / "said.csv")) == tmp_path
