"""From recordings to stored continuations, with the demo's tokenizers and models: prompts know nothing of what follows,
and the table is read by the `datasets` package."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import torch
import yaml
from test_vocoders_unit_hifigan import ONE_VOICE, written
from workflow_project import ROOT

from spokeneval.audio import clip_from_pcm, decode_flac, pcm_digest, read_recording
from spokeneval.config import load_config
from spokeneval.continuations import continue_dataset, write
from spokeneval.datasets.base import clips_and_pairs
from spokeneval.datasets.pairs import Pairs
from spokeneval.factory import decoding_of, make_model, make_tokenizer, make_vocoder
from spokeneval.likelihood import codes_by_clip
from spokeneval.store import PartStore
from spokeneval.tables import CONTINUATIONS, TOKENS
from spokeneval.tokens import encode_clips
from spokeneval.vocoders.unit_hifigan import UnitHiFiGAN

torch.set_num_threads(1)

N_ITEMS, PROMPT_S = 3, 1.5
RECORDINGS = ROOT / "resources/fetched/recordings/recordings.csv"


def recordings() -> list[Any]:
    if not RECORDINGS.exists():
        pytest.fail("resources/fetched is empty: run `make fetch` first")
    found = []
    for path in pl.read_csv(RECORDINGS)["path"]:
        recording = read_recording(RECORDINGS.parent / path)
        if len(recording.waveform) > 3 * recording.sample_rate:
            found.append(recording)
        if len(found) == 2 * N_ITEMS:
            return found
    raise AssertionError("too few recordings of 3 s")


def benchmark(folder: Path, noise_seed: int | None) -> Path:
    """A table of pairs that share a prompt; with a seed, the positive's continuation is replaced by noise."""
    folder.mkdir()
    found, rows = recordings(), []
    for number, (one, other) in enumerate(zip(found[:N_ITEMS], found[N_ITEMS:], strict=True)):
        rate, cut = one.sample_rate, round(PROMPT_S * one.sample_rate)
        prompt, positive, negative = one.waveform[:cut], one.waveform[cut : 2 * cut], other.waveform[:cut]
        if noise_seed is not None:
            drawn = np.random.default_rng(noise_seed + number).uniform(-0.5, 0.5, cut // 2 + 1000 * number)
            positive = drawn.astype(np.float32)
        for role, rest in (("positive", positive), ("negative", negative)):
            sf.write(folder / f"{number}_{role}.wav", np.concatenate([prompt, rest]), rate, subtype="PCM_16")
        rows.append(
            {"task": "speaker", "positive": f"{number}_positive.wav", "negative": f"{number}_negative.wav",
             "transition_s": PROMPT_S}
        )  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "pairs.csv")
    return folder / "pairs.csv"


def the_demo(tokenizer: str, model: str) -> Any:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["models"] = {model: config["models"][model]}
    config["models"][model]["decoding"] = {"new_s": 0.8, "samples_per_item": 2}
    config["tokenizers"] = {tokenizer: config["tokenizers"][tokenizer]}
    return load_config(config)


def continued(table: Path, folder: Path, tokenizer: str, model: str) -> tuple[pl.DataFrame, pl.DataFrame, Path]:
    """pairs, rows of continuations, and the table that they were written to."""
    clips, pairs = (pl.DataFrame(part) for part in clips_and_pairs(Pairs(table).items()))
    config = the_demo(tokenizer, model)
    encoder = make_tokenizer(config, tokenizer)
    tokens = PartStore(folder / "tokens", "tokens", "identity", TOKENS)
    audio = [(row["clip_id"], row["audio"]["bytes"]) for row in clips.iter_rows(named=True)]
    encode_clips(encoder, audio, tokens.write)
    codes = codes_by_clip(pl.DataFrame(tokens.collect([(clip,) for clip, _ in audio])), encoder.info)
    if tokenizer == "whisper":
        voice = {"num_embeddings": 500, "code_hop_size": 320, "upsample_rates": [5, 8, 8]}
        weights, path = written(folder, ONE_VOICE | voice | {"upsample_kernel_sizes": [11, 16, 16]})
        vocoder: Any = UnitHiFiGAN(weights, path)
    else:
        vocoder = make_vocoder(config, "griffin_lim")
    store = PartStore(folder / "store", "continuations", "identity", CONTINUATIONS)
    lm = make_model(config, model, encoder.info)
    done = continue_dataset(lm, encoder, vocoder, pairs, codes, store, decoding_of(config, model))
    write(folder / "said.parquet", store, done.keys, model, encoder.info)
    return pairs, pl.read_parquet(folder / "said.parquet"), folder / "said.parquet"


@pytest.mark.parametrize(("tokenizer", "model"), [("rvq", "acoustic-s"), ("whisper", "semantic-m")])
def test_with_the_true_continuation_replaced_by_noise_nothing_that_is_said_changes(tmp_path, tokenizer, model):
    found = []
    for name, noise_seed in (("true", None), ("noise", 7)):
        (tmp_path / f"run-{name}").mkdir()
        table = benchmark(tmp_path / name, noise_seed)
        found.append(continued(table, tmp_path / f"run-{name}", tokenizer, model))
    (pairs, said, _), (noisy_pairs, noisy_said, _) = found
    assert pairs["status"].to_list() == ["ok"] * N_ITEMS
    assert pairs["prompt"].to_list() == noisy_pairs["prompt"].to_list()
    assert set(pairs["positive"]).isdisjoint(noisy_pairs["positive"])
    assert set(said["status"]) <= {"ok", "clipped"}
    assert said.height == 2 * N_ITEMS
    assert said["prompt_codes"].list.len().min() > 10
    assert said["pcm_sha256"].n_unique() == said.height
    # Prompt codes, new codes, audio bytes, digests, flags: all of it.
    assert said.equals(noisy_said)


def test_the_table_is_read_by_the_datasets_package_as_it_was_stored(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    _, rows, path = continued(benchmark(tmp_path / "benchmark", None), tmp_path, "rvq", "acoustic-xs")
    loaded = datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    # Without a decoder of its own (torchcodec) the package hands the bytes over.
    loaded = loaded.cast_column("audio", datasets.Audio(decode=False))
    assert loaded.num_rows == rows.height == 2 * N_ITEMS
    for row, stored in zip(loaded, rows.iter_rows(named=True), strict=True):
        samples, rate = sf.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
        assert (rate, len(samples)) == (stored["sample_rate"], stored["n_samples"])
        assert row["seconds"] == len(samples) / rate
        assert row["flags"] == stored["flags"]
        expected, _ = decode_flac(stored["audio"]["bytes"])
        np.testing.assert_array_equal((samples / 2**15).astype(np.float32), expected)
        assert pcm_digest(samples.astype(np.int32), "PCM_16", rate) == row["pcm_sha256"]
        assert clip_from_pcm(samples.astype(np.int32), rate).clip_id == row["pcm_sha256"]


def test_the_datasets_package_decodes_the_audio_itself_where_it_can(tmp_path):
    pytest.importorskip("torchcodec")
    datasets = pytest.importorskip("datasets")
    _, rows, path = continued(benchmark(tmp_path / "benchmark", None), tmp_path, "rvq", "acoustic-xs")
    loaded = datasets.load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train")
    for row, stored in zip(loaded.cast_column("audio", datasets.Audio()), rows.iter_rows(named=True), strict=True):
        expected, rate = decode_flac(stored["audio"]["bytes"])
        assert row["audio"]["sampling_rate"] == rate
        np.testing.assert_array_equal(row["audio"]["array"], expected)
