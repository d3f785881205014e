"""Items of the tasks `background_random` and `background_domain`: one line of speech, two noises.

Conventions
-----------
- Positive: speech in noise A throughout. Negative: the same in noise A up to the transition, in noise B after it. B is
  of another class (`background_random`) or another file of the same class (`background_domain`).
- transition = int(0.5 * n_samples), as SALMon's. Speech and SNR are the same in both members (see `mixing`), and so is
  the energy of the noise after the transition; A fades into B over the cross-fade.
- Mirrored: the second item of a couple has the same speech, B in the prompt and the same two continuations.
- Clusters: the unordered pair of classes, or of files where the class is the same. SNR bands are dealt in sets of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spokeneval.datasets.lines import CutLine, Cuts
from spokeneval.datasets.members import FoldRounds, Members, rounded, unordered, whole_line
from spokeneval.datasets.mixing import SNR_BANDS_DB, draw_segment, snr_gains
from spokeneval.datasets.noises import Noise, Noises
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.splicing import energy, fade_in


@dataclass(frozen=True)
class BackgroundItems:
    piece: CutLine
    noises: tuple[Noise, Noise]
    snr_band_db: tuple[float, float]
    fold: str
    cuts: Cuts
    library: Noises

    @property
    def cluster(self) -> str:
        one, two = self.noises
        if one.noise_class == two.noise_class:
            return unordered(one.path, two.path)
        return unordered(one.noise_class, two.noise_class)

    @property
    def lines(self) -> tuple[Line, ...]:
        return (self.piece.line,)

    def labels(self, which: int) -> dict[str, str]:
        low, high = self.snr_band_db
        return {
            "noise_positive": self.noises[which].noise_class,
            "noise_negative": self.noises[1 - which].noise_class,
            "snr_band_db": f"{low:g}-{high:g}",
            "speaker": self.piece.line.speaker,
            "language": self.piece.line.language,
        }

    def members(self, which: int, rng: np.random.Generator) -> Members:
        speech = whole_line(self.piece, self.cuts)
        n_samples, cut, n_fade = len(speech.samples), speech.transition, self.cuts.lengths.fade
        snr_db = float(rng.uniform(*self.snr_band_db))
        after = energy(speech.samples[cut:])
        gains = snr_gains(after, after, snr_db)
        segments, sources = [], []
        for noise in self.noises:
            raw, offset, step_db = draw_segment(self.library.waveforms[noise.path], n_samples, cut, n_fade, rng)
            level = float(np.sqrt(after / energy(raw[cut:])))
            segments.append(raw * (level * gains.noise))
            sources.append(
                {
                    "noise": noise.path,
                    "offset": offset,
                    "gain": rounded(level * gains.noise),
                    "step_db": rounded(step_db),
                    "note": self.library.notes[noise.path],
                }
            )
        own, other = segments[which], segments[1 - which].copy()
        other[:cut] = own[:cut]
        fade = fade_in(n_fade)
        other[cut : cut + n_fade] = fade * other[cut : cut + n_fade] + (1 - fade) * own[cut : cut + n_fade]
        return Members(
            speech.samples * gains.speech + own,
            speech.samples * gains.speech + other,
            cut,
            {
                "speech": {**speech.source, "gain": rounded(speech.source["gain"] * gains.speech)},
                "noise_positive": sources[which],
                "noise_negative": sources[1 - which],
                "snr_db": rounded(snr_db),
                "crossfade_samples": n_fade,
            },
        )


def background_couples(
    rounds: FoldRounds, cuts: Cuts, library: Noises, same_class: bool, rng: np.random.Generator
) -> Iterator[BackgroundItems]:
    """Folds, speakers, pairs of classes (or classes) and pairs of files in turn, until the lines are used up."""
    groups = {fold: library.pairs(fold, same_class) for fold in "ab"}
    order = {
        fold: [[group[int(i)] for i in rng.permutation(len(group))] for group in (found[int(j)] for j in drawn)]
        for fold, found in groups.items()
        if (drawn := rng.permutation(len(found))).size
    }
    bands: dict[str, list[tuple[float, float]]] = {fold: [] for fold in order}
    # One fold alone would leave cross-fitting with nothing: then there are no couples, and the caller says why.
    folds, n_made = sorted(order) if len(order) == 2 else [], dict.fromkeys(order, 0)
    while folds:
        for fold in list(folds):
            found = rounds.next(fold)
            if found is None:
                folds.remove(fold)
                continue
            if not bands[fold]:
                bands[fold] = [SNR_BANDS_DB[int(i)] for i in rng.permutation(len(SNR_BANDS_DB))]
            turn, position = divmod(n_made[fold], len(order[fold]))
            group = order[fold][position]
            n_made[fold] += 1
            yield BackgroundItems(found[0], group[turn % len(group)], bands[fold].pop(), fold, cuts, library)
