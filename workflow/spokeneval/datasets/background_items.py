"""Items of the tasks `background_random` and `background_domain`: one line of speech, two noises.

Conventions
-----------
- Positive: speech in noise A throughout. Negative: the same in noise A up to the transition, in noise B after it. B is
  of another class (`background_random`) or another file of the same class (`background_domain`).
- transition = int(0.5 * n_samples), as SALMon's. Speech and SNR are the same in both members (see `mixing`), and so is
  the energy of the noise after the transition; A fades into B over the cross-fade.
- Mirrored: the second item of a couple has the same speech, B in the prompt and the same two continuations.
- Third clip: the end of another line in another stretch of noise A, both as loud as in the right continuation, so that
  the SNR is the same. A noise that is too short for another stretch is heard again: `samples_in_item` says how much.
- Without speech: exactly the noise of the right continuation, its samples and its gain.
- Clusters: the unordered pair of classes, or of files where the class is the same. SNR bands are dealt in sets of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from spokeneval.datasets.further_lines import FurtherLines, ThirdClip, with_third_clip
from spokeneval.datasets.lines import CutLine, Cuts
from spokeneval.datasets.members import FoldRounds, Members, Speech, rounded, unordered, whole_line
from spokeneval.datasets.mixing import SNR_BANDS_DB, Gains, draw_segment, draw_unused, snr_gains
from spokeneval.datasets.noises import Noise, Noises
from spokeneval.datasets.recordings import Line
from spokeneval.datasets.splicing import Float, energy, fade_in, root_mean_square


@dataclass(frozen=True)
class BackgroundItems:
    piece: CutLine
    noises: tuple[Noise, Noise]
    snr_band_db: tuple[float, float]
    fold: str
    cuts: Cuts
    library: Noises
    further: FurtherLines

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
        segments: list[Float] = []
        sources: list[dict[str, Any]] = []
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
        members = Members(
            speech.samples * gains.speech + own,
            speech.samples * gains.speech + other,
            cut,
            {
                "speech": {**speech.source, "gain": rounded(speech.source["gain"] * gains.speech)},
                "noise_positive": sources[which],
                "noise_negative": sources[1 - which],
                "snr_db": rounded(snr_db),
                "crossfade_samples": n_fade,
                "noise_only": {"noise": self.noises[which].path, "note": sources[which]["note"]},
            },
            noise_only=own[cut:],
        )
        rms = float(np.sqrt(after / (n_samples - cut)))
        return with_third_clip(
            members, lambda: self._third(self.noises[which], sources[which]["offset"], speech, rms, gains, rng)
        )

    def _third(
        self, noise: Noise, offset: int, item: Speech, rms: float, gains: Gains, rng: np.random.Generator
    ) -> ThirdClip:
        """offset: of the noise in the item. rms: of its speech after the transition, before the gains."""
        n_samples, n_after = len(item.samples), len(item.samples) - item.transition
        line = self.piece.line
        clip = self.further.draw(self.fold, line.speaker, self.lines, n_after, rng, anyone=True).at(rms * gains.speech)
        waveform, n_fade = self.library.waveforms[noise.path], self.cuts.lengths.fade
        raw, start, n_shared = draw_unused(waveform, offset, n_samples, n_after, n_fade, rng)
        gain = rms * gains.noise / root_mean_square(raw)
        source = {
            "noise": noise.path,
            "offset": start,
            "noise_gain": rounded(gain),
            "samples_in_item": n_shared,
            "note": "; ".join(note for note in (clip.source["note"], self.library.notes[noise.path]) if note),
        }
        return ThirdClip(clip.samples + raw * gain, {**clip.source, **source})


def background_couples(
    rounds: FoldRounds,
    cuts: Cuts,
    library: Noises,
    further: FurtherLines,
    same_class: bool,
    rng: np.random.Generator,
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
            yield BackgroundItems(found[0], group[turn % len(group)], bands[fold].pop(), fold, cuts, library, further)
