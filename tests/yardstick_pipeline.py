"""What yardsticks share: pairs of recordings, and this package's pipeline from wav files to scores."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import soundfile as sf

from spokeneval.audio import make_clip, read_recording
from spokeneval.config.blocks.models import CausalLMBlock
from spokeneval.evaluators.reduction import NAMED, EvaluatorSettings
from spokeneval.evaluators.views import evaluate
from spokeneval.likelihood import codes_by_clip, score_dataset
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.store import PartStore
from spokeneval.tables import LIKELIHOOD, OK, TOKENS
from spokeneval.tokens import encode_clip


def tones_in_noise(n_samples, rate, seed):
    """Tones that change every tenth of a second, in noise."""
    rng = np.random.default_rng(seed)
    piece = np.arange(n_samples) // (rate // 10)
    hz, level = rng.uniform(80, 3000, piece[-1] + 1), rng.uniform(0.05, 0.4, piece[-1] + 1)
    time = np.arange(n_samples) / rate
    return (level[piece] * np.sin(2 * np.pi * hz[piece] * time) + 0.05 * rng.standard_normal(n_samples)).clip(-0.9, 0.9)


def write_pairs(folder, shapes):
    """((n_samples, Hz) of positive, of negative; None for a copy of the positive) -> paths of wavs."""
    pairs = []
    for i, (positive, negative) in enumerate(shapes):
        paths = []
        for k, shape in enumerate((positive, negative)):
            n_samples, rate = shape or positive
            path = folder / f"sample_{i}_{k}.wav"
            sf.write(path, tones_in_noise(n_samples, rate, 2 * i + (k if shape else 0)), rate, subtype="PCM_16")
            paths.append(path)
        pairs.append(tuple(paths))
    return pairs


def ours(pairs, tokenizer, lm, reductions, folder):
    """Wavs -> clips -> tokens -> log-probabilities -> evaluators, as the jobs do: reduction -> scores and verdicts."""
    clips = {path: make_clip(*recorded(path)) for pair in pairs for path in pair}
    rows = [encode_clip(tokenizer, clip.clip_id, clip.flac) for clip in {c.clip_id: c for c in clips.values()}.values()]
    assert {row["status"] for row in rows} == {OK}
    codes = codes_by_clip(pl.DataFrame(TOKENS.from_rows(rows)), tokenizer.info)
    absent = {"transition": None, "continuation_positive": None, "continuation_negative": None, "reason": None}
    described = [
        {"item_id": f"{i:03d}", "task": "pairs", "status": OK, "sample_rate": clips[positive].sample_rate}
        | {"positive": clips[positive].clip_id, "negative": clips[negative].clip_id, **absent}
        for i, (positive, negative) in enumerate(pairs)
    ]
    types = {"transition": pl.Int64} | {name: pl.String for name in absent if name != "transition"}
    items = pl.DataFrame(described, schema_overrides=types)
    store = PartStore(folder / "store", "likelihood", "identity", LIKELIHOOD)
    done = score_dataset(lm, items, codes, tokenizer.info, store, ("full",), max_batch_tokens=2048)
    settings = EvaluatorSettings(names=("global",), per_codebook=False, reductions=tuple(NAMED[r] for r in reductions))
    table = evaluate(items, pl.DataFrame(store.collect(done.keys)), tokenizer.info, settings)
    table = table.filter(pl.col("evaluator") == "global").sort("item_id")
    assert table["status"].to_list() == [OK] * len(pairs) * len(reductions)
    return {name: table.filter(pl.col("convention") == name) for name in reductions}


def recorded(path):
    recording = read_recording(path)
    return recording.waveform, recording.sample_rate, recording.subtype


def load_lm(folder, tokenizer, convention, dtype="float32"):
    """As the factory does from `convention: ...`."""
    block = CausalLMBlock(path=str(folder), tokenizer="t", convention=convention, dtype=dtype)
    sequence = block.sequence.model_dump()
    return CausalUnitLM(folder, tokenizer.info, dtype=dtype, one_at_a_time=block.one_at_a_time, **sequence)


def check(table, losses, verdicts, sums=False):
    """Scores of every clip, and the accuracy, are the script's."""
    found = np.array([table["score_positive"].to_list(), table["score_negative"].to_list()]).T
    tolerance = {"rtol": 1e-6, "atol": 0} if sums else {"rtol": 0, "atol": 1e-4}
    np.testing.assert_allclose(found, np.array(losses, np.float64), **tolerance)
    assert table["verdict"].to_list() == list(verdicts)
    assert table["verdict"].mean() == pytest.approx(np.mean(verdicts), abs=1e-12)
