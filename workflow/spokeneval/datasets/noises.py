"""A folder of noises: `<class>/<file>`.

Conventions
-----------
- Each subfolder is a class of noise (rain, traffic, music ...); its audio files are the members. Other files (licences,
  notes) and hidden ones are passed over. A file that cannot be read or is silent is an error for the whole folder.
- Each file belongs to one fold: the files of a class are dealt to the folds in turn, in a drawn order, so that a judge
  that was chosen on one fold has heard no noise of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from spokeneval.audio import Waveform, read_recording, resample
from spokeneval.datasets.recordings import listed
from spokeneval.errors import ConfigError, ItemError

EXTENSIONS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf"}

_SHORTEST_S = 0.05


@dataclass(frozen=True)
class Noise:
    """One file of noise."""

    noise_class: str
    path: str
    """Relative to the folder, with '/'."""
    fold: str


class Noises:
    """The noises of a folder at one rate; all are decoded at the start, as they are few."""

    def __init__(self, folder: Path, sample_rate: int, rng: np.random.Generator) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: no such folder; expected noises as <class>/<file>")
        files = {
            sub.name: [
                file
                for file in sorted(sub.iterdir())
                if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".")
            ]
            for sub in sorted(self.folder.iterdir())
            if sub.is_dir() and not sub.name.startswith(".")
        }
        self.waveforms: dict[str, Waveform] = {}
        self.notes: dict[str, str] = {}
        self.noises: list[Noise] = []
        bad: list[str] = []
        for number, (noise_class, members) in enumerate((c, m) for c, m in files.items() if m):
            for turn, position in enumerate(rng.permutation(len(members))):
                file = members[int(position)]
                name = f"{noise_class}/{file.name}"
                try:
                    self.waveforms[name], self.notes[name] = _read(file, name, sample_rate)
                except ItemError as error:
                    bad.append(str(error))
                self.noises.append(Noise(noise_class, name, "ab"[(number + turn) % 2]))
        if bad:
            raise ConfigError(
                f"{self.folder}: {len(bad)} of {len(self.noises)} noises cannot be used: {listed(bad)}. "
                "Mend or remove them"
            )
        if not self.noises:
            raise ConfigError(f"{self.folder}: holds no noises; expected audio files as <class>/<file>")

    def in_fold(self, fold: str) -> dict[str, list[Noise]]:
        """class -> its noises in a fold, classes sorted, noises in the order in which they were dealt."""
        found: dict[str, list[Noise]] = {}
        for noise in self.noises:
            if noise.fold == fold:
                found.setdefault(noise.noise_class, []).append(noise)
        return found

    def pairs(self, fold: str, same_class: bool) -> list[list[tuple[Noise, Noise]]]:
        """Pairs of different noises of a fold, grouped by what they are drawn evenly over.

        same_class: one group a class with at least two noises; otherwise one group a pair of classes.
        """
        classes = self.in_fold(fold)
        if same_class:
            return [list(combinations(members, 2)) for members in classes.values() if len(members) > 1]
        return [[(a, b) for a in classes[one] for b in classes[two]] for one, two in combinations(classes, 2)]

    def describe(self) -> str:
        """How many files there are, for messages."""
        counts: dict[str, int] = {}
        for noise in self.noises:
            counts[noise.noise_class] = counts.get(noise.noise_class, 0) + 1
        return f"{len(counts)} class(es): " + ", ".join(f"{name} ({n})" for name, n in sorted(counts.items()))


def _read(file: Path, name: str, sample_rate: int) -> tuple[Waveform, str]:
    recording = read_recording(file, name)
    waveform = resample(recording.waveform, recording.sample_rate, sample_rate)
    if len(waveform) < _SHORTEST_S * sample_rate:
        raise ItemError(f"{name}: lasts {len(waveform) / sample_rate:.3f} s; expected at least {_SHORTEST_S} s")
    if not np.any(waveform):
        raise ItemError(f"{name}: is digital silence")
    rate = f"{recording.sample_rate} Hz resampled to {sample_rate} Hz" if recording.sample_rate != sample_rate else ""
    return waveform, ", ".join(note for note in (recording.note, rate) if note)
