"""Tokenizers that do not keep their promises on clips are caught."""

import dataclasses

import numpy as np
import pytest
from tiny_models import CODEBOOKS

from spokeneval.check_model.items import CheckedClip
from spokeneval.check_model.tokenizer_contract import check_tokenizer
from spokeneval.errors import ItemError
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate


class Level:
    """Ten frames a second at 1 kHz, two codebooks: level and slope in steps."""

    def __init__(self, info=CODEBOOKS):
        self.info = info

    def encode(self, waveform):
        frames = waveform[: len(waveform) // 100 * 100].reshape(-1, 100)
        if len(frames) == 0:
            raise ItemError("too short")
        return self.codes(frames)

    def codes(self, frames):
        level = np.abs(frames).mean(1)
        slope = np.diff(level, prepend=0)
        return Codes(
            np.stack([(level * 60).astype(np.int32) % 7, np.abs(slope * 100).astype(np.int32) % 5], 1).astype(np.int32),
            None,
        )


@pytest.fixture(scope="module")
def audio():
    rng = np.random.default_rng(0)
    return [
        CheckedClip(f"c{n}", f"clip{n}", (0.3 * rng.standard_normal(n)).astype(np.float32), 1000, n // 2)
        for n in (2000, 3050, 2560)
    ]


def tokenizer_findings(tokenizer, audio, **options):
    encoded = [tokenizer.encode(clip.for_tokenizer(tokenizer.info)) for clip in audio]
    return check_tokenizer(tokenizer, audio, encoded, **options)


def wrong_names(found):
    return [finding.name.partition(" (")[0] for finding in found if finding.wrong]


def test_a_right_tokenizer_passes(audio):
    assert wrong_names(tokenizer_findings(Level(), audio)) == []


def test_a_tokenizer_that_keeps_a_state_is_caught(audio):
    class Streaming(Level):
        last = 0.0

        def codes(self, frames):
            encoded = super().codes(frames + self.last)
            self.last = float(np.abs(frames[-1]).mean())
            return encoded

    found = tokenizer_findings(Streaming(), audio)
    assert "a clip's codes do not depend on what was encoded before it" in wrong_names(found)


def test_a_tokenizer_that_pads_to_the_longest_clip_so_far_is_caught(audio):
    class Padding(Level):
        longest = 0

        def encode(self, waveform):
            self.longest = max(self.longest, len(waveform))
            padded = np.pad(waveform, (0, self.longest - len(waveform)))
            return Codes(super().encode(padded / (padded.std() + 1e-6) * 0.1).codes[: len(waveform) // 100], None)

    finding = next(f for f in tokenizer_findings(Padding(), audio) if "before it" in f.name)
    assert finding.wrong
    assert "after the same clip with 1 s of silence appended" in finding.detail or "other clips" in finding.detail

    class ToFourSeconds(Level):
        def encode(self, waveform):
            return super().encode(np.pad(waveform, (0, max(0, 4000 - len(waveform)))))

    found = tokenizer_findings(ToFourSeconds(), audio)
    assert "or padding became codes" in found[1].detail


def test_a_wrong_rate_or_hop_is_caught_and_a_limit_is_not(audio):
    wrong = Level(dataclasses.replace(CODEBOOKS, hop_samples=150))
    finding = tokenizer_findings(wrong, audio)[1]
    assert finding.wrong
    assert "which is 10.00 a second; expected about 13.3" in finding.detail

    class Limited(Level):
        def encode(self, waveform):
            return super().encode(waveform[:1500])

    assert wrong_names(tokenizer_findings(Limited(), audio, max_s=1.5)) == []
    assert tokenizer_findings(Limited(), audio)[1].wrong


def test_causal_is_a_promise(audio):
    class LooksAhead(Level):
        def codes(self, frames):
            return super().codes(frames / max(np.abs(frames[-1]).max(), 0.01))

    found = tokenizer_findings(LooksAhead(), audio)
    assert wrong_names(found) == ["a clip's first half has the codes of the whole clip"]
    assert "declare `causal: false`" in found[3].detail
    not_promised = LooksAhead(dataclasses.replace(CODEBOOKS, causal=False))
    assert wrong_names(tokenizer_findings(not_promised, audio)) == []


def test_units_and_durations_are_looked_at(audio):
    info = TokenizerInfo(1000, 100, (7,), deduplicated=True, causal=False)

    class Units(Level):
        def codes(self, frames):
            return deduplicate(super().codes(frames).codes[:, 0])

    class NotMerged(Units):
        def codes(self, frames):
            units = np.repeat(super().codes(frames).codes, 2, axis=0)
            return Codes(units, np.ones(len(units), np.int32))

    class NoDurations(Units):
        def codes(self, frames):
            return super().codes(frames)._replace(durations=None)

    assert wrong_names(tokenizer_findings(Units(info), audio)) == []
    assert "expected runs to be merged" in tokenizer_findings(NotMerged(info), audio)[0].detail
    assert "no durations, but `deduplicated` is true" in tokenizer_findings(NoDurations(info), audio)[0].detail
    too_many = Level(dataclasses.replace(CODEBOOKS, codebook_sizes=(7, 2)))
    assert "codebooks have (7, 2) entries" in tokenizer_findings(too_many, audio)[0].detail
