"""Simulated listeners, from a stated generative model, and the files of a study around them.

score = quality of the system + item + system x item + listener + noise, all normal; rounded to the steps of the
scale and kept on it where `rounded`. No person voted: every study made here says `simulated: true`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from scipy.special import ndtr

SD_ITEM, SD_SYSTEM_ITEM, SD_LISTENER, SD_NOISE = 0.4, 0.4, 0.4, 0.7


def simulated_votes(
    rng: np.random.Generator,
    quality: NDArray[np.float64],
    n_items: int,
    n_listeners: int,
    votes_per_item: int,
    rounded: bool = True,
) -> pl.DataFrame:
    """Columns system, item, listener, score; of each item some listeners hear all systems."""
    n_systems = len(quality)
    drawn = rng.permuted(np.tile(np.arange(n_listeners), (n_items, 1)), axis=1)[:, :votes_per_item]
    system = np.repeat(np.arange(n_systems), n_items * votes_per_item)
    item = np.tile(np.repeat(np.arange(n_items), votes_per_item), n_systems)
    listener = np.tile(drawn.ravel(), n_systems)
    score = quality[system] + rng.normal(0, SD_ITEM, n_items)[item] + rng.normal(0, SD_NOISE, len(system))
    score += rng.normal(0, SD_SYSTEM_ITEM, (n_systems, n_items))[system, item]
    score += rng.normal(0, SD_LISTENER, n_listeners)[listener]
    if rounded:
        score = np.clip(np.round(score), 1, 5)
    return pl.DataFrame({"system": system, "item": item, "listener": listener, "score": score}).with_columns(
        *(pl.format(f"{name[0]}{{}}", name).alias(name) for name in ("system", "item", "listener"))
    )


def expected_score(quality: float) -> float:
    """Of one rounded vote: what the simulated MOS has for its estimand."""
    sd = float(np.sqrt(SD_ITEM**2 + SD_SYSTEM_ITEM**2 + SD_LISTENER**2 + SD_NOISE**2))
    above = 1 - ndtr((np.array([1.5, 2.5, 3.5, 4.5]) - quality) / sd)
    return float(1 + above.sum())


STUDY: dict[str, Any] = {
    "test_id": "t",
    "ratings": "votes.csv",
    "simulated": True,
    "scale": {"low": 1, "high": 5},
    "columns": {"system_id": "system", "item_id": "item", "listener_id": "listener", "score": "score"},
    "constants": {"dimension": "naturalness", "task": "speaker"},
}


def write_study(folder: Path, votes: pl.DataFrame | str | bytes, **changes: Any) -> Path:
    """A study.yaml and its votes in a folder; `changes` replace keys of STUDY."""
    if isinstance(votes, pl.DataFrame):
        votes.write_csv(folder / "votes.csv")
    elif isinstance(votes, str):
        (folder / "votes.csv").write_text(votes, encoding="utf-8")
    else:
        (folder / "votes.csv").write_bytes(votes)
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}), encoding="utf-8")
    return path
