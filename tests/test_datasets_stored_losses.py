"""Items whose audio is not here: pairs without clips, from published losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from published_losses import records, write_folder

from spokeneval.config import load_config
from spokeneval.datasets.base import clips_and_pairs
from spokeneval.datasets.stored_losses import StoredLossesItems
from spokeneval.errors import ConfigError, SpokenevalError
from spokeneval.evaluators.stored_losses import LLAMA_MIMI, read_stored_losses


def pairs_of(dataset: StoredLossesItems) -> pl.DataFrame:
    clips, pairs = clips_and_pairs(dataset.items())
    assert clips.num_rows == 0
    return pl.DataFrame(pl.from_arrow(pairs))


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_pairs_are_those_of_the_reader_of_published_losses(tmp_path):
    folder = write_folder(tmp_path)
    expected = read_stored_losses(sorted(folder.glob("*.jsonl")), LLAMA_MIMI).pairs
    assert pairs_of(StoredLossesItems(folder)).sort("task", "index").equals(expected.sort("task", "index"))


def test_an_item_has_named_clips_and_no_audio(tmp_path):
    pairs = pairs_of(StoredLossesItems(write_folder(tmp_path, 2)))
    room = pairs.filter(task="rir_consistency", index=1).row(0, named=True)
    assert room["positive"] == "rir_consistency/1/positive"
    assert room["prompt"] == "rir_consistency/1/prompt"
    assert room["status"] == "ok"
    sentiment = pairs.filter(task="sentiment_alignment").row(0, named=True)
    assert (sentiment["prompt"], sentiment["continuation_negative"], sentiment["transition"]) == (None, None, None)


def test_parquet_of_the_hub_with_its_own_names_and_audio_is_read(tmp_path):
    lines = []
    for record in records("speaker_consistency", 3):
        renamed = {"ind": record.pop("index"), "model_sampling_rate": record.pop("sample_rate"), **record}
        renamed["positive_sample_tokenwise_loss"] = renamed.pop("postive_sample_tokenwise_loss")
        renamed["audio_transition_s"] = 16_000 + renamed["ind"]
        lines.append(renamed | {"positive_audio": {"bytes": b"not read", "path": "x.wav"}})
    (tmp_path / "speaker").mkdir()
    pl.DataFrame(lines).write_parquet(tmp_path / "speaker/train-00000.parquet")
    pairs = pairs_of(StoredLossesItems(tmp_path))
    assert pairs["transition"].to_list() == [16_000, 16_001, 16_002]
    assert set(pairs["sample_rate"]) == {16_000}, "audio_transition_s counts samples at 16 kHz"


def test_tasks_and_limit_keep_the_first_items(tmp_path):
    folder = write_folder(tmp_path, 5)
    lines = records("speaker_consistency", 5)
    write_lines(folder / "speaker_consistency.jsonl", lines[::-1])
    dataset = StoredLossesItems(folder, tasks=("speaker_consistency",), limit=2)
    assert dataset.tasks == ("speaker_consistency",)
    assert pairs_of(dataset)["index"].to_list() == [0, 1]


def test_members_without_a_common_prefix_are_a_failed_item(tmp_path):
    lines = records("speaker_consistency", 2)
    lines[1]["positive_negative_common_audio_prefix_length"] = 0
    pairs = pairs_of(StoredLossesItems(write_lines(tmp_path / "a.jsonl", lines)))
    assert pairs["status"].to_list() == ["ok", "failed"]
    assert pairs["reason"][1] == "the members share no sample, so there is no prompt"
    assert pairs["positive"].to_list() == ["speaker_consistency/0/positive", None]


def test_other_tasks_need_to_say_where_their_prompts_end(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", records("laughter", 1))
    with pytest.raises(SpokenevalError, match="it is not known where the prompts of task 'laughter' end"):
        pairs_of(StoredLossesItems(path))
    half = pairs_of(StoredLossesItems(path, transitions={"laughter": "half"}))
    assert half["transition"][0] == records("laughter", 1)[0]["positive_sample_audio_length"] // 2


def test_what_cannot_be_used_as_a_whole_is_refused(tmp_path):
    lines = records("speaker_consistency", 2)
    twice = write_lines(tmp_path / "twice.jsonl", [*lines, lines[0]])
    with pytest.raises(ConfigError, match=r"line 3: speaker_consistency/0 is there twice, first in .*line 1"):
        StoredLossesItems(twice)
    with pytest.raises(ConfigError, match="has no task 'rir'; it has speaker_consistency"):
        StoredLossesItems(write_lines(tmp_path / "one.jsonl", lines), tasks=("rir",))
    with pytest.raises(SpokenevalError, match="index is 'x'"):
        StoredLossesItems(write_lines(tmp_path / "bad.jsonl", [lines[0] | {"index": "x"}]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no table"):
        StoredLossesItems(tmp_path / "empty")


CONFIG: dict[str, Any] = {
    "datasets": {"published": {"kind": "stored_losses", "path": "data"}},
    "tokenizers": {"grid": {"kind": "precomputed", "sample_rate": 100, "hop_samples": 10, "codebook_sizes": [8]}},
    "models": {"theirs": {"kind": "external", "tokenizer": "grid", "losses": "data"}},
}


def test_a_dataset_without_audio_goes_with_losses_only():
    from spokeneval.layout import Layout

    config = load_config(CONFIG)
    assert Layout(config).controls("published") == {}
    running = CONFIG["models"] | {"mine": {"path": "x", "tokenizer": "grid"}}
    with pytest.raises(ConfigError) as caught:
        load_config(CONFIG | {"models": running, "judges": {"level": {"kind": "rms_level"}}})
    assert "datasets.published: holds no audio" in str(caught.value)
    assert "without models.mine, judges.level" in str(caught.value)
    assert "models.mine.tokenizer: 'grid' only declares a time grid" in str(caught.value)
