"""The demo's unit vocoder: one voice, how it is trained, and what it is measured against.

Conventions
-----------
- The voice is the one with most minutes, of the training scenes alone. Units, durations and mel come from the same
  audio; mel frames and units meet by time (see `vocoders.unit_mel_network.regulate`).
- A training step is the mean over a few clips, each alone as it is decoded later: L1 of the log-mel under the true
  durations, and the squared error of log1p of the durations. Half of the clips begin within the speech, as
  continuations do.
- Embeddings start as the principal components of the codebook's centroids: units that sound alike start alike, and
  those that the voice hardly ever said (validation: mel L1 .58 instead of .61 from random ones, .57 frames instead
  of .66) are not left at random.
- Squared error of a logarithm aims at less than the mean, and rounding adds to it. One number, the predictor's last
  bias, is therefore set after training, such that the training clips last as long as they did.
- Mel L1 is in natural-logarithm units over all frames and bands of held-out clips of the voice, under true durations.
  It is held against two lookups counted on the training clips: the mean frame, and the mean frame of the unit.
- Duration error is the mean |predicted - true| in frames a unit, against the training clips' mean of the unit, rounded
  likewise; `length_ratio` is predicted over true seconds, all clips together.
- Weights are stored as float16; what is measured is what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spokeneval.demo.language_models import MAX_GRADIENT_NORM, WEIGHT_DECAY, learning_rate
from spokeneval.demo.speech import Utterance, waveforms
from spokeneval.tokenizers import mel
from spokeneval.tokenizers.base import Tokenizer
from spokeneval.vocoders.unit_mel_network import Shape, UnitMelNetwork, frames_of, regulate

VOICE = "JOE"
NAME = "unit-mel"
TOKENIZER = "whisper_kmeans"
ITERATIONS = 16
"""Of Griffin-Lim where the vocoder is heard here; it is not trained."""
CUT_SHARE = 0.5
"""Share of clips that begin within the speech."""
LEAST_UNITS = 8
"""Units that a cut leaves."""
DURATION_WEIGHT = 0.5
SHAPE = Shape(
    n_units=500,
    sample_rate=16_000,
    hop_samples=320,
    width=128,
    duration_width=64,
    kernel=5,
    n_unit_layers=2,
    mel_dilations=(1, 2, 4, 1, 2, 4, 1),
)


@dataclass(frozen=True)
class Recipe:
    """How the network is trained."""

    steps: int = 1200
    batch: int = 8
    """Clips a step."""
    learning_rate: float = 2e-3
    seed: int = 31


@dataclass(frozen=True)
class AlignedClip:
    """Units with durations, and the mel of the same audio."""

    units: torch.Tensor
    """(n_units,)"""
    durations: torch.Tensor
    """(n_units,) frames"""
    log_mel: torch.Tensor
    """(n_mel_frames, 80), as many as `regulate` gives"""

    @property
    def seconds(self) -> float:
        return int(self.durations.sum()) * SHAPE.hop_samples / SHAPE.sample_rate


def of_voice(utterances: Sequence[Utterance]) -> list[Utterance]:
    return [utterance for utterance in utterances if utterance.speaker == VOICE]


def align(utterances: Sequence[Utterance], tokenizer: Tokenizer) -> list[AlignedClip]:
    """Units, durations and mel of every utterance."""
    clips = []
    pairs = zip(waveforms(utterances, SHAPE.sample_rate), waveforms(utterances, mel.SAMPLE_RATE), strict=True)
    for heard, target in pairs:
        codes = tokenizer.encode(heard)
        durations = torch.from_numpy(codes.frame_counts().astype(np.int64))
        n_frames = len(regulate(durations, SHAPE)[0])
        log_mel = torch.from_numpy(mel.log_mel(target)[:n_frames])
        assert len(log_mel) == n_frames, "units end within the audio, so there is mel for all of them"
        clips.append(AlignedClip(torch.from_numpy(codes.codes[:, 0].astype(np.int64)), durations, log_mel))
    return clips


def begin_within(clip: AlignedClip, first: int) -> AlignedClip:
    """The clip from its unit `first` on. Its mel begins at the nearest frame, at most 6 ms off."""
    durations = clip.durations[first:]
    start_s = int(clip.durations[:first].sum()) * SHAPE.hop_samples / SHAPE.sample_rate
    n_frames = len(regulate(durations, SHAPE)[0])
    start = min(round(start_s * mel.SAMPLE_RATE / mel.HOP_SAMPLES), len(clip.log_mel) - n_frames)
    return AlignedClip(clip.units[first:], durations, clip.log_mel[start : start + n_frames])


def losses(network: UnitMelNetwork, clip: AlignedClip) -> tuple[torch.Tensor, torch.Tensor]:
    """(mel L1, squared error of log1p of the durations), means over the clip."""
    predicted = network.log_mel(clip.units, clip.durations)
    error = network.log_durations(clip.units) - clip.durations.float().log1p()
    return (predicted - clip.log_mel).abs().mean(), error.square().mean()


def initial_embedding(centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n_units, size of the encoder) -> (n_units, width) of mean square 1."""
    centred = (centroids - centroids.mean(axis=0)).astype(np.float64)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    components = left[:, : SHAPE.width] * scales[: SHAPE.width]
    scaled: NDArray[np.float32] = (components / np.sqrt(np.mean(np.square(components)))).astype(np.float32)
    return scaled


def train(
    clips: Sequence[AlignedClip], centroids: NDArray[np.float32], recipe: Recipe, report: Callable[[str], None]
) -> UnitMelNetwork:
    """Train by AdamW from seeded random weights, the embeddings from centroids (n_units, size of the encoder).

    The result is rounded to float16 and back to float32.
    """
    torch.manual_seed(recipe.seed)
    network, rng = UnitMelNetwork(SHAPE), np.random.default_rng(recipe.seed)
    with torch.no_grad():
        network.embedding.weight.copy_(torch.from_numpy(initial_embedding(centroids)))
        network.mel_out.bias.copy_(torch.cat([clip.log_mel for clip in clips]).mean(dim=0))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
    start = time.monotonic()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        optimizer.zero_grad()
        mel_loss = duration_loss = 0.0
        for index in rng.integers(len(clips), size=recipe.batch):
            of_mel, of_durations = losses(network, _drawn(clips[index], rng))
            ((of_mel + DURATION_WEIGHT * of_durations) / recipe.batch).backward()  # type: ignore[no-untyped-call]
            mel_loss += float(of_mel.detach()) / recipe.batch
            duration_loss += float(of_durations.detach()) / recipe.batch
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        if (step + 1) % 50 == 0 or step + 1 == recipe.steps:
            left = (time.monotonic() - start) / (step + 1) * (recipe.steps - step - 1)
            report(
                f"step {step + 1}/{recipe.steps}, mel L1 {mel_loss:.3f}, log durations {duration_loss:.3f}, "
                f"{left:.0f} s left"
            )
    rounded = network.half().float().eval().requires_grad_(False)
    set_length(rounded, clips)
    return rounded


def _drawn(clip: AlignedClip, rng: np.random.Generator) -> AlignedClip:
    if len(clip.units) <= LEAST_UNITS or rng.random() >= CUT_SHARE:
        return clip
    return begin_within(clip, int(rng.integers(len(clip.units) - LEAST_UNITS)))


@torch.inference_mode()
def set_length(network: UnitMelNetwork, clips: Sequence[AlignedClip]) -> None:
    """Move the predictor's last bias such that the clips' predicted frames add up to the true ones."""
    predicted = torch.cat([network.log_durations(clip.units) for clip in clips])
    wanted = int(torch.cat([clip.durations for clip in clips]).sum())
    low, high = -1.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if int(frames_of(predicted + middle).sum()) < wanted else (low, middle)
    network.duration_out.bias.copy_((network.duration_out.bias + high).half().float())


# ---------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Measured:
    """Errors on held-out clips of the voice, see the module."""

    mel_l1: float
    duration_error_frames: float
    length_ratio: float


@dataclass(frozen=True)
class Lookup:
    """Baselines: the mean frame, and by unit the mean frame and the mean duration of the training clips."""

    mean: NDArray[np.float32]
    by_unit: NDArray[np.float32]
    """(n_units, 80)"""
    durations: NDArray[np.float64]
    """(n_units,) frames"""


def count_lookup(clips: Sequence[AlignedClip]) -> Lookup:
    """Units that the clips lack have the mean of all."""
    frames = torch.cat([clip.log_mel for clip in clips]).numpy()
    said = torch.cat([clip.units[regulate(clip.durations, SHAPE)[0]] for clip in clips]).numpy()
    units = torch.cat([clip.units for clip in clips]).numpy()
    durations = torch.cat([clip.durations for clip in clips]).numpy()
    mean, counts = frames.mean(axis=0), np.bincount(said, minlength=SHAPE.n_units)
    sums = np.zeros((SHAPE.n_units, mel.N_BANDS))
    np.add.at(sums, said, frames)
    by_unit = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], mean).astype(np.float32)
    n_said = np.bincount(units, minlength=SHAPE.n_units)
    totals = np.bincount(units, weights=durations, minlength=SHAPE.n_units)
    return Lookup(mean, by_unit, np.where(n_said > 0, totals / np.maximum(n_said, 1), durations.mean()))


@torch.inference_mode()
def measure(network: UnitMelNetwork, clips: Sequence[AlignedClip]) -> Measured:
    """The network on held-out clips."""
    return _summary(
        clips, [network.log_mel(c.units, c.durations) for c in clips], [network.durations(c.units) for c in clips]
    )


def measure_baselines(lookup: Lookup, clips: Sequence[AlignedClip]) -> tuple[Measured, Measured]:
    """(mean frame, mean frame of the unit); both with the unit's mean duration."""
    durations = [torch.from_numpy(np.maximum(1, np.rint(lookup.durations[c.units.numpy()]))) for c in clips]
    means = [torch.from_numpy(lookup.mean).expand_as(c.log_mel) for c in clips]
    by_unit = [torch.from_numpy(lookup.by_unit)[c.units[regulate(c.durations, SHAPE)[0]]] for c in clips]
    return _summary(clips, means, durations), _summary(clips, by_unit, durations)


def _summary(clips: Sequence[AlignedClip], mels: Sequence[Any], durations: Sequence[Any]) -> Measured:
    true = torch.cat([clip.durations for clip in clips]).double()
    predicted = torch.cat(list(durations)).double()
    error = torch.cat([(m - clip.log_mel).abs() for m, clip in zip(mels, clips, strict=True)])
    return Measured(
        mel_l1=float(error.double().mean()),
        duration_error_frames=float((predicted - true).abs().mean()),
        length_ratio=float(predicted.sum() / true.sum()),
    )
