"""A small corpus for tests of datasets: simulated voices (harmonic tones in syllables) and noises, seeded."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from spokeneval.datasets.base import Item
from spokeneval.datasets.consistency import Consistency

RATE = 8000
SPEAKERS = {"anna": 110.0, "bert": 145.0, "carl": 190.0, "dora": 250.0, "emil": 330.0, "fred": 330.0}
"""Speaker -> fundamental in Hz; emil and fred sound alike."""
N_GROUPS = 12
EVALUATED = [f"scene{n:02d}" for n in range(N_GROUPS) if n % 4 < 3]


def voice(f0_hz: float, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Syllables of some 150 ms with gaps between them, at a drawn level."""
    time = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * f0_hz * k * time + rng.uniform(0, 6.28)) / k for k in range(1, 6))
    syllables = np.repeat(rng.uniform(0.3, 1, len(time) // 1600 + 1), 1600)[: len(time)]
    gate = np.clip(4 * np.abs(np.sin(np.pi * time / 0.2)) - 0.2, 0, 1)
    samples = rng.uniform(0.02, 0.2) * syllables * gate * tone + 1e-4 * rng.standard_normal(len(time))
    return samples.astype(np.float32)


@dataclass(frozen=True)
class Corpus:
    folder: Path
    recordings: Path
    noises: Path
    evaluation_groups: Path

    def samples(self, path: str) -> NDArray[np.float64]:
        return sf.read(self.recordings.parent / path, dtype="float64")[0]


def write_table(path: Path, rows: Sequence[Sequence[str]], header: str = "path,speaker,language,text,group") -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def make_corpus(folder: Path, lines_per_group: int = 2, seed: int = 0) -> Corpus:
    """Six speakers x 12 groups x lines of 1.9 to 2.8 s; every text once. 3 classes of 4 noises."""
    rng = np.random.default_rng(seed)
    rows: list[list[str]] = []
    (folder / "recordings/clips").mkdir(parents=True)
    for speaker, f0_hz in SPEAKERS.items():
        for group in range(N_GROUPS):
            for number in range(lines_per_group):
                name = f"clips/{speaker}-{group:02d}-{number}.wav"
                samples = voice(f0_hz, float(rng.uniform(1.9, 2.8)), rng)
                sf.write(folder / "recordings" / name, samples, RATE, subtype="PCM_16")
                rows.append([name, speaker, "xx", f"{speaker} says {group} and {number}.", f"scene{group:02d}"])
    makers = {
        "hiss": lambda n: rng.standard_normal(n),
        "hum": lambda n: np.sin(2 * np.pi * rng.uniform(60, 400) * np.arange(n) / RATE),
        "clicks": lambda n: (rng.random(n) < 0.005) * rng.standard_normal(n) + 1e-3 * rng.standard_normal(n),
    }
    for noise_class, make in makers.items():
        (folder / "noises" / noise_class).mkdir(parents=True)
        for number in range(4):
            samples = make(RATE * (1 + number))
            samples = 0.3 * samples / np.abs(samples).max()
            sf.write(folder / "noises" / noise_class / f"{number}.wav", samples, RATE, subtype="PCM_16")
    (folder / "noises/hiss/LICENCE.txt").write_text("simulated\n")
    groups = folder / "evaluated.txt"
    groups.write_text("# groups in items\n" + "\n".join(EVALUATED) + "\n")
    return Corpus(folder, write_table(folder / "recordings/recordings.csv", rows), folder / "noises", groups)


class PitchScreen:
    """An embedder for tests: energies around harmonics of 24 pitches. Remembers what it was given."""

    sample_rate = RATE
    attribute = "speaker"
    dimension = 24

    def __init__(self) -> None:
        self.heard: list[NDArray[np.float32]] = []

    def embed(self, waveforms: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        self.heard += list(waveforms)
        rows = []
        for waveform in waveforms:
            spectrum = np.abs(np.fft.rfft(waveform, RATE))
            edges = np.geomspace(80, 420, self.dimension + 1).astype(int)
            rows.append([spectrum[a:b].sum() for a, b in pairwise(edges)])
        return np.array(rows, np.float32)


def consistency_items(corpus: Corpus, **changes: object) -> list[Item]:
    """The items of a `consistency` dataset over the corpus."""
    options: dict[str, Any] = {
        "recordings": corpus.recordings,
        "noises": corpus.noises,
        "evaluation_groups": corpus.evaluation_groups,
        "sample_rate": RATE,
    }
    return list(Consistency(**{**options, **changes}).items())
