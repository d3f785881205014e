"""A reference that shares no code with judging: 20 real items from their FLAC bytes to cosines, verdicts and shares.

It reads the tables with pyarrow, decodes with soundfile, resamples with soxr, makes its own mel bands and LSTM from the
checkpoint, and compares in numpy. From the package it takes the demo's codec, to hear the round trips.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import soxr
import torch
import yaml
from numpy.typing import NDArray
from workflow_project import ROOT

from spokeneval import jobs
from spokeneval.config import Config, load_config
from spokeneval.fingerprint import Fingerprints
from spokeneval.stages import Stages
from spokeneval.tokenizers.mel_rvq import MelRVQ
from spokeneval.vocoders.griffin_lim import GriffinLim

WEIGHTS = ROOT / "resources/fetched/pretrained/resemblyzer/pretrained.pt"
CODEBOOK = ROOT / "resources/demo/codebooks/mel_rvq.safetensors"
MODEL, JUDGE, N, CROP_S = "acoustic-xs", "resemblyzer", 20, 1.2
TOLERANCE = 1e-6
"""Of a cosine: float32 arithmetic in another order."""

Row = dict[str, Any]
Floats = NDArray[np.float64]


def _config(folder: Path) -> Config:
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings["results"] = str(folder / "results")
    settings["datasets"]["demo"]["tasks"] = {"speaker": N}
    settings["models"] = {MODEL: settings["models"][MODEL]}
    settings["models"][MODEL]["decoding"] = {"new_s": 0.8, "samples_per_item": 2}
    settings["judges"] = {JUDGE: settings["judges"][JUDGE]}
    settings["evaluators"] = {"windows_s": [0.5]}
    settings["report"] = {"n_draws": 200, "n_listen_items": 2}
    return load_config(settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline's own tables, from raw recordings to judgements."""
    if not WEIGHTS.exists():
        pytest.fail("resources/fetched is empty: run `make fetch` first")
    folder, before = tmp_path_factory.mktemp("independent"), Path.cwd()
    os.chdir(ROOT)
    try:
        config = _config(folder)
        made = Stages(config, Fingerprints(folder / "lock.json")).all()
        codec: dict[str, Any] = {"tokenizer": "rvq", "vocoder": "griffin_lim"}
        sounds = made["round_trip_audio", "rvq", "griffin_lim"]
        tokens, references = made["tokens", "rvq"], made["qualification", JUDGE]
        embeddings, said = made["embeddings", JUDGE], made["continuations", MODEL]
        calls: list[tuple[str, Row]] = [
            ("clips", {"identity": made["clips", "demo"]}),
            ("tokens", {"tokenizer": "rvq", "identity": tokens}),
            ("references", {"judge": JUDGE, "identity": references, "embeddings": embeddings}),
            ("round_trip_audio", codec | {"identity": sounds, "tokens": tokens}),
            (
                "round_trips",
                codec
                | {"identity": made["round_trips", "rvq", "griffin_lim", JUDGE], "judge": JUDGE, "audio": sounds}
                | {"references": references, "embeddings": embeddings},
            ),
            ("continuations", {"model": MODEL, "identity": said, "tokens": tokens, "samples_per_item": 2}),
            (
                "judging",
                {"model": MODEL, "judge": JUDGE, "identity": made["judging", MODEL, JUDGE], "continuations": said}
                | {"references": references, "embeddings": embeddings},
            ),
        ]
        for stage, named in calls:
            getattr(jobs, stage)(config, dataset="demo", threads=1, **named)
    finally:
        os.chdir(before)
    return folder / "results/demo"


# ---------------------------------------------------------------- the reference


def _mel_bands() -> Floats:
    """(40, 201) triangles on Slaney's scale, 0 to 8 kHz, each of unit area."""
    mel = np.linspace(0, 15 + np.log(8000 / 1000) * 27 / np.log(6.4), 42)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))
    bins = np.linspace(0, 8000, 201)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    bands: Floats = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return bands


class _Ear:
    """Resemblyzer on the first 1.2 s, which are less than its window of 1.6 s: one window, filled up with zeros."""

    def __init__(self) -> None:
        state = torch.load(WEIGHTS, map_location="cpu", weights_only=True)["model_state"]
        self.lstm, self.linear = torch.nn.LSTM(40, 256, 3, batch_first=True), torch.nn.Linear(256, 256)
        for name, module in (("lstm.", self.lstm), ("linear.", self.linear)):
            module.load_state_dict({k.removeprefix(name): v for k, v in state.items() if k.startswith(name)})
        self.lstm.double()
        self.linear.double()
        self.bands = torch.from_numpy(_mel_bands())

    @torch.no_grad()
    def __call__(self, samples: NDArray[np.float32], rate: int) -> Floats:
        heard = soxr.resample(samples, rate, 16_000, quality="VHQ").astype(np.float64)[: round(CROP_S * 16_000)]
        heard *= 10 ** (-22 / 20) / np.sqrt(np.mean(heard**2))
        spectrum = torch.stft(
            torch.from_numpy(heard),
            n_fft=400,
            hop_length=160,
            window=torch.hann_window(400, dtype=torch.float64),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        mel = (self.bands @ spectrum.abs() ** 2).T
        window = torch.zeros(1, 160, 40, dtype=torch.float64)
        window[0, : len(mel)] = mel
        _, (hidden, _) = self.lstm(window)
        raw = torch.relu(self.linear(hidden[-1]))[0].numpy()
        found: Floats = raw / np.linalg.norm(raw)
        return found


def _decoded(audio: Row) -> tuple[NDArray[np.float32], int]:
    samples, rate = sf.read(io.BytesIO(audio["bytes"]), dtype="float32")
    return samples, rate


def _rows(path: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def _reference(results: Path) -> dict[tuple[str, str, int], tuple[float, float]]:
    """(item_id, source, sample_index) -> cosine to the right and to the wrong continuation."""
    ear = _Ear()
    clips = {row["clip_id"]: _decoded(row["audio"]) for row in _rows(results / "clips.parquet")}
    said: dict[str, list[Row]] = {}
    for row in _rows(results / f"continuations/{MODEL}.parquet"):
        said.setdefault(row["clip_id"], []).append(row)
    codec, voice = MelRVQ(CODEBOOK), GriffinLim(iterations=16)

    def through(clip_id: str) -> Floats:
        samples, rate = clips[clip_id]
        resampled = soxr.resample(samples, rate, codec.info.sample_rate, quality="VHQ")
        decoded = voice.decode(codec.encode(resampled.astype(np.float32)), codec)
        decoded = decoded / max(1.0, float(np.abs(decoded).max()))
        return ear((np.rint(decoded * 2.0**23) / 2**23).astype(np.float32), codec.info.sample_rate)

    found = {}
    for item in _rows(results / "pairs.parquet"):
        right, wrong = (ear(*clips[item[f"continuation_{role}"]]) for role in ("positive", "negative"))
        prompt, rate = clips[item["prompt"]]
        n = len(clips[item["continuation_positive"]][0])
        heard = {
            ("prompt", 0): ear(prompt, rate),
            ("copy", 0): ear(np.resize(prompt[-rate:], n), rate),
            ("prompt_round_trip", 0): through(item["prompt"]),
            ("positive_round_trip", 0): through(item["continuation_positive"]),
        }
        if item["same_attribute"] is not None:
            heard["same_attribute", 0] = ear(*clips[item["same_attribute"]])
            heard["same_attribute_round_trip", 0] = through(item["same_attribute"])
        for row in said[item["prompt"]]:
            if row["audio"] is not None:
                heard["model", row["sample_index"]] = ear(*_decoded(row["audio"]))
        for (source, sample), vector in heard.items():
            found[item["item_id"], source, sample] = (float(vector @ right), float(vector @ wrong))
    return found


def test_a_reference_computed_independently_equals_the_pipeline_on_20_items(run: Path) -> None:
    reference = _reference(run)
    tables = ("qualification/resemblyzer", f"judging/{MODEL}/{JUDGE}", f"ceilings/rvq/griffin_lim/{JUDGE}")
    own = [row for table in tables for row in _rows(run / f"{table}.parquet")]
    judged = {(row["item_id"], row["source"], row["sample_index"]): row for row in own if row["status"] == "ok"}
    compared = {key: row for key, row in judged.items() if key in reference and row["cos_positive"] is not None}
    assert {key[0] for key in compared} == {row["item_id"] for row in _rows(run / "pairs.parquet")}
    n_of: dict[str, int] = {}
    for key, row in compared.items():
        to_right, to_wrong = reference[key]
        assert row["cos_positive"] == pytest.approx(to_right, abs=TOLERANCE), key
        assert row["cos_negative"] == pytest.approx(to_wrong, abs=TOLERANCE), key
        assert row["margin"] == pytest.approx(to_right - to_wrong, abs=2 * TOLERANCE), key
        assert row["verdict"] == float(to_right > to_wrong), key
        n_of[key[1]] = n_of.get(key[1], 0) + 1
    assert n_of["prompt"] == n_of["copy"] == n_of["prompt_round_trip"] == n_of["positive_round_trip"] == N
    assert n_of["model"] == 2 * N
    verdicts: dict[str, list[float]] = {}
    for (item, source, _), (to_right, to_wrong) in reference.items():
        if source == "model":
            verdicts.setdefault(item, []).append(float(to_right > to_wrong))
    share = np.mean([np.mean(of_item) for of_item in verdicts.values()])
    model = [row for row in own if row["source"] == "model"]
    items = {item: np.mean([r["verdict"] for r in model if r["item_id"] == item]) for item in verdicts}
    assert np.mean(list(items.values())) == pytest.approx(share)
