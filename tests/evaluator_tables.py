"""Small pairs and likelihood tables for the tests of evaluators and controls."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from spokeneval.tables import LIKELIHOOD, PAIRS
from spokeneval.tokenizers.base import TokenizerInfo

TEN_HZ = TokenizerInfo(100, 10, (32,), deduplicated=False, causal=True)
"""Ten frames a second of a waveform of 100 samples a second: times can be counted by hand."""


def shared_data(name: str) -> Path:
    """A folder of the data for checks; skips the test where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SPOKENEVAL_SHARED_DATA", beside)) / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not here; set SPOKENEVAL_SHARED_DATA to the folder that holds it")
    return folder


def pair(item_id: str, transition: int | None, **values: Any) -> dict[str, Any]:
    """A usable item whose clips are named after it."""
    prompted = transition is not None
    return {
        "item_id": item_id,
        "task": "speaker",
        "index": 0,
        "cluster": item_id,
        "fold": "a",
        "transition": transition,
        "sample_rate": 100,
        "prompt": f"{item_id}.s" if prompted else None,
        "positive": f"{item_id}.p",
        "negative": f"{item_id}.n",
        "continuation_positive": f"{item_id}.cp" if prompted else None,
        "continuation_negative": f"{item_id}.cn" if prompted else None,
        "labels": "{}",
        "sources": "{}",
        "seed": None,
        "status": "ok",
        "reason": None,
        **values,
    }


def scored(
    clip_id: str,
    nll: Sequence[float] | np.ndarray[Any, Any],
    *,
    context: str = "full",
    cut_frame: int = -1,
    first_frame: int = 0,
    n_codebooks: int = 1,
    durations: Sequence[int] | None = None,
    targets: Sequence[int] | None = None,
    eos: float | None = None,
    legal: Sequence[float] | None = None,
    step: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The likelihood row of a clip from the NLL of its units, frame-major, and of its end mark."""
    values = np.asarray(nll, dtype=np.float64)
    n = len(values)
    n_frames = np.ones(n // n_codebooks, int) if durations is None else np.asarray(durations)
    frame = first_frame + np.cumsum(n_frames) - n_frames
    marks = 0 if eos is None else 1
    known = targets if targets is not None else [-1] * n
    return {
        "clip_id": clip_id,
        "context": context,
        "cut_frame": cut_frame,
        "logprob": [*(-values), *([-eos] if eos is not None else [])],
        "logprob_legal": [*(-np.asarray(legal if legal is not None else values)), *([0.0] * marks)],
        "target": [*known, *([99] * marks)],
        "kind": [0] * n + [1] * marks,
        "stream": [0] * (n + marks),
        "codebook": [*np.tile(np.arange(n_codebooks), n // n_codebooks).tolist(), *([-1] * marks)],
        "frame": [*np.repeat(frame, n_codebooks).tolist(), *([-1] * marks)],
        "n_frames": [*np.repeat(n_frames, n_codebooks).tolist(), *([0] * marks)],
        "step": list(step) if step is not None else list(range(n + marks)),
        "status": "ok",
        "reason": None,
    }


def failed(clip_id: str, reason: str, context: str = "full", cut_frame: int = -1) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(LIKELIHOOD.arrow.names)
    return row | {
        "clip_id": clip_id,
        "context": context,
        "cut_frame": cut_frame,
        "status": "failed",
        "reason": reason,
    }


def pairs_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.from_arrow(PAIRS.from_rows(rows))
    assert isinstance(frame, pl.DataFrame)
    return frame


def likelihood_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.from_arrow(LIKELIHOOD.from_rows(rows))
    assert isinstance(frame, pl.DataFrame)
    return frame


def one(table: pl.DataFrame, evaluator: str, **where: Any) -> dict[str, Any]:
    """The only row of an evaluator; further columns narrow it down."""
    rows = table.filter(pl.col("evaluator") == evaluator)
    for column, value in {"codebooks": "all", **where}.items():
        rows = rows.filter(pl.col(column).eq_missing(pl.lit(value)))
    assert len(rows) == 1, rows
    return rows.row(0, named=True)
