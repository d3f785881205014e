"""A tiny SALMon: eight tasks of three items, as the zip has it and as the hub has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from benchmark_layouts import audio, noise, rooms, spliced, write_wav

from spokeneval.datasets.salmon_layouts import ALIGNMENT, TASKS

CUTS = {0: 1700, 3: 2000, 10: 1500}
"""Index -> transition; the numbers have gaps, and 10 comes before 3 in the order of names."""


def members(task: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    seed = 100 * TASKS.index(task) + index
    if task == "rir_consistency":
        return rooms(seed)
    if task in ALIGNMENT:
        return noise(3000, seed), noise(3300, seed + 50)
    return spliced(seed, CUTS[index])


def write_folders(folder: Path) -> Path:
    """The unpacked zip."""
    for task in TASKS:
        for index in CUTS:
            for member, samples in enumerate(members(task, index)):
                write_wav(folder / task / f"sample_{index}_{member}.wav", samples)
    (folder / "speaker_consistency/._sample_0_0.wav").write_bytes(b"left by another system")
    return folder


def row(task: str, index: int, **others: Any) -> dict[str, Any]:
    """A row of the hub's parquet files."""
    positive, negative = members(task, index)
    return {
        "task": task,
        "ind": index,
        "positive_audio": audio(positive, f"sample_{index}_0.wav"),
        "negative_audio": audio(negative, f"sample_{index}_1.wav"),
        **others,
    }
