"""Published benchmarks from their blocks in the configuration, from a folder and from the hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmark_layouts import audio, spliced, write_parquet
from huggingface_hub import constants

from spokeneval.config import load_config
from spokeneval.datasets.base import clips_and_pairs
from spokeneval.errors import ConfigError
from spokeneval.factory import make_dataset
from spokeneval.identity import reach
from spokeneval.registry import DATASETS

COMMIT = "0123456789abcdef0123456789abcdef01234567"

TOPLINE = {"speaker_consistency": [{"value": 91.2, "source": "SALMon"}, {"value": 91.5, "source": "a later table"}]}
BLOCKS: dict[str, dict[str, Any]] = {
    "salmon": {"kind": "salmon", "tasks": ["speaker_consistency"], "human_topline": TOPLINE},
    "words": {"kind": "zerospeech", "part": "lexical", "averaging": "micro"},
    "stories": {"kind": "storycloze", "task": "sStoryCloze"},
}


def rows(name: str) -> list[dict[str, Any]]:
    pairs = [spliced(n, 1000) for n in range(3)]
    if name == "salmon":
        common = {"task": "speaker_consistency"}
        return [
            common | {"ind": n, "positive_audio": audio(p), "negative_audio": audio(q)}
            for n, (p, q) in enumerate(pairs)
        ]
    return [{"positive": audio(p), "negative": audio(q)} for p, q in pairs]


def configured(name: str, **others: Any) -> Any:
    return load_config(
        {
            "datasets": {name: {**BLOCKS[name], **others}},
            "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": "c.safetensors"}},
            "models": {"small": {"path": "models/small", "tokenizer": "rvq"}},
        }
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_a_folder_is_read_as_its_block_says(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "train-00000-of-00001.parquet", rows(name))
    dataset = make_dataset(configured(name, path=str(tmp_path), limit=2), name)
    _, pairs = clips_and_pairs(dataset.items())
    assert pairs["status"].to_pylist() == ["ok", "ok"]
    assert set(pairs["task"].to_pylist()) == set(dataset.tasks)
    assert pairs["transition"].to_pylist() == ([1000, 1000] if name == "salmon" else [None, None])


@pytest.mark.parametrize("name", BLOCKS)
def test_a_commit_is_read_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The cache holds links to files that are named by their digest."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    config = configured(name, path="someone/Benchmark", revision=COMMIT)
    with pytest.raises(ConfigError, match="Benchmark@0123456789ab is not in the hub's cache"):
        make_dataset(config, name)
    blob = write_parquet(tmp_path / "datasets--someone--Benchmark/blobs/5f1c", rows(name))
    link = tmp_path / f"datasets--someone--Benchmark/snapshots/{COMMIT}/data/train-00000-of-00001.parquet"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    _, pairs = clips_and_pairs(make_dataset(config, name).items())
    assert pairs["status"].to_pylist() == ["ok"] * 3


@pytest.mark.parametrize("kind", ["salmon", "zerospeech", "storycloze", "pairs"])
def test_a_benchmark_depends_on_its_own_layouts_only(kind: str) -> None:
    own = {"salmon": "salmon_layouts", "zerospeech": "gold"}
    reached = {name.rpartition(".")[2] for name in reach([DATASETS.target(kind)])}
    assert "audio_pair" in reached
    for other, module in own.items():
        assert (module in reached) == (other == kind)
    assert not {"config", "registry", "consistency"} & reached
