"""A semantic model through a vocoder of one voice, by the workflow's real entry point."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from workflow_project import ROOT

from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.vocoders.unit_mel import UnitMel

pytestmark = pytest.mark.workflow

FILES = {
    "weights": "resources/demo/vocoders/unit-mel/model.safetensors",
    "config": "resources/demo/vocoders/unit-mel/config.json",
}
NEW_S = 1.2


class Units:
    info = TokenizerInfo(16_000, 320, (500,), deduplicated=True, causal=False)


def test_a_semantic_model_is_heard_alone_and_its_ceiling_is_made(project):
    project.change("vocoders", "unit", value={"kind": "unit_mel", "iterations": 4, **FILES})
    project.change("models", "semantic-m", "vocoder", value="unit")
    project.change("models", "semantic-m", "decoding", value={"new_s": NEW_S, "seed": 0})
    results = project.folder / "results/demo"
    made = ["continuations/semantic-m", "judging/semantic-m/resemblyzer", "ceilings/whisper/unit/resemblyzer"]
    project.run(*(f"results/demo/{name}.parquet" for name in made))

    said = pl.read_parquet(results / "continuations/semantic-m.parquet").filter(pl.col("status") == "ok")
    assert len(said) >= 12
    seconds = said["n_samples"] / said["sample_rate"]
    assert 0.8 * NEW_S < seconds.mean() < 1.3 * NEW_S
    vocoder = UnitMel(ROOT / FILES["weights"], ROOT / FILES["config"], iterations=4)
    for row in said.head(4).iter_rows(named=True):
        heard, rate = sf.read(io.BytesIO(row["audio"]["bytes"]), dtype="float32")
        alone = vocoder.decode(Codes(np.array(row["codes"], np.int32)[:, None], None), Units())
        assert rate == vocoder.sample_rate
        np.testing.assert_allclose(heard, alone, atol=2**-15)  # nothing of the prompt, nothing cut off
        assert np.sqrt(np.mean(heard**2)) > 0.01

    sources = {"model", "other_item"}
    judged = pl.read_parquet(results / "judging/semantic-m/resemblyzer.parquet")
    assert set(judged["source"]) == sources
    ceiling = pl.read_parquet(results / "ceilings/whisper/unit/resemblyzer.parquet")
    attribute = ceiling.filter((pl.col("source") == "prompt_round_trip") & (pl.col("status") == "ok"))
    assert len(attribute) >= 12
    assert attribute["verdict"].is_in([0.0, 0.5, 1.0]).all()
