"""Whose voice a vocoder's round trips have: what the speaker judge says of the demo's held-out clips.

Conventions
-----------
- Clips of voices other than the vocoder's, through tokenizer and vocoder and back, against originals alone. Mean
  cosines of Resemblyzer, over whole clips: to the clip itself (it shares the words), to the other clips of its speaker,
  and to the clips of the vocoder's voice. The same for the originals, whose cosine to themselves is 1.
- Clips whose original or round trip is too short for the judge (0.4 s) are left out and counted.
- Speed: seconds of sound a second of CPU time, one thread, decoding alone; it depends on the machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spokeneval.audio import resample
from spokeneval.demo.speech import Utterance, waveforms
from spokeneval.errors import ItemError
from spokeneval.judges.resemblyzer import Resemblyzer
from spokeneval.tokenizers.base import Tokenizer
from spokeneval.vocoders.base import Vocoder, sample_rate_of


@dataclass(frozen=True)
class Cosines:
    """Means over the clips."""

    to_itself: float
    to_its_speaker: float
    to_the_voice: float


@dataclass(frozen=True)
class VoiceCheck:
    originals: Cosines
    round_trips: Cosines
    nearer_to_its_speaker: float
    """Share of round trips that lie nearer to their speaker's other clips than to the vocoder's voice."""
    n_clips: int
    n_too_short: int
    times_real_time: float


def check_voice(
    utterances: Sequence[Utterance], voice: str, tokenizer: Tokenizer, vocoder: Vocoder, weights: Path
) -> VoiceCheck:
    """weights: of Resemblyzer. Every speaker among `utterances` needs two clips that can be judged."""
    judge, rate = Resemblyzer(weights), sample_rate_of(vocoder, tokenizer.info)
    speakers: list[str] = []
    originals, round_trips = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
    of_voice, n_too_short, cpu_s, sound_s = list[NDArray[np.float32]](), 0, 0.0, 0.0
    for utterance, heard in zip(utterances, waveforms(utterances, judge.sample_rate), strict=True):
        try:
            original = judge.embed([heard])[0]
            if utterance.speaker == voice:
                of_voice.append(original)
                continue
            (waveform,) = waveforms([utterance], tokenizer.info.sample_rate)
            codes, start = tokenizer.encode(waveform), time.process_time()
            said = vocoder.decode(codes, tokenizer)
            cpu_s, sound_s = cpu_s + time.process_time() - start, sound_s + len(said) / rate
            round_trip = judge.embed([resample(said, rate, judge.sample_rate)])[0]
        except ItemError:
            n_too_short += 1
            continue
        speakers.append(utterance.speaker)
        originals.append(original)
        round_trips.append(round_trip)
    before, after, others = np.stack(originals), np.stack(round_trips), np.stack(of_voice)
    of_originals, _ = _cosines(before, before, others, speakers)
    of_round_trips, nearer = _cosines(after, before, others, speakers)
    return VoiceCheck(of_originals, of_round_trips, nearer, len(speakers), n_too_short, sound_s / cpu_s)


def _cosines(
    heard: NDArray[np.float32], originals: NDArray[np.float32], of_voice: NDArray[np.float32], speakers: Sequence[str]
) -> tuple[Cosines, float]:
    """All (n, d) unit vectors. Returns the means, and the share nearer to its speaker."""
    alike = heard @ originals.T
    others = np.equal.outer(speakers, speakers) & ~np.eye(len(speakers), dtype=bool)
    to_speaker = (alike * others).sum(axis=1) / others.sum(axis=1)
    to_voice = (heard @ of_voice.T).mean(axis=1)
    means = Cosines(float(np.diag(alike).mean()), float(to_speaker.mean()), float(to_voice.mean()))
    return means, float((to_speaker > to_voice).mean())
