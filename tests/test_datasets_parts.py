"""Cutting, joining, mixing, rooms, screening and alignment: golden values and properties."""

from __future__ import annotations

import numpy as np
import pytest
from datasets_corpus import RATE, voice
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample

from spokeneval.datasets.alignment import aligned_sample
from spokeneval.datasets.mixing import SNR_BANDS_DB, draw_segment, looped, snr_gains
from spokeneval.datasets.rooms import CLEARLY_DIFFERENT, different_pairs, draw_rooms, impulse_response, reverberate
from spokeneval.datasets.screening import screen_voices, separation
from spokeneval.datasets.splicing import active_span, cut_sample, fade_in, halves, join
from spokeneval.errors import ItemError


def bursts(*spans_s: tuple[float, float], seconds: float) -> np.ndarray:
    """Noise in the given spans, near silence elsewhere."""
    rng = np.random.default_rng(0)
    samples = 1e-5 * rng.standard_normal(round(seconds * RATE))
    for start, end in spans_s:
        samples[round(start * RATE) : round(end * RATE)] = 0.1 * rng.standard_normal(round((end - start) * RATE))
    return samples.astype(np.float32)


class TestCut:
    def test_is_in_the_gap_nearest_the_middle(self) -> None:
        # gaps at 0.6, 1.1 and 1.7 s of a clip whose middle is 1.0 s
        clip = bursts((0, 0.57), (0.63, 1.07), (1.13, 1.67), (1.73, 2.0), seconds=2.0)
        assert cut_sample(clip, RATE, 0, len(clip)) / RATE == pytest.approx(1.1, abs=0.03)

    def test_without_a_gap_is_the_quietest_place_of_the_middle_half(self) -> None:
        clip = bursts((0, 2.0), seconds=2.0)
        clip[round(0.9 * RATE) : round(0.95 * RATE)] *= 0.5  # 6 dB: no gap, but the lowest place
        clip[round(0.2 * RATE) : round(0.25 * RATE)] *= 0.1  # lower, but outside the middle half
        assert cut_sample(clip, RATE, 0, len(clip)) / RATE == pytest.approx(0.925, abs=0.02)

    def test_the_middle_is_that_of_the_line_without_silence_around_it(self) -> None:
        clip = bursts((1.0, 1.95), (2.05, 3.0), seconds=3.2)
        start, end = active_span(clip, RATE)
        assert start / RATE == pytest.approx(1.0, abs=0.02)
        assert end / RATE == pytest.approx(3.0, abs=0.02)
        assert halves(clip, RATE).cut / RATE == pytest.approx(2.0, abs=0.05)

    def test_of_silence_has_no_length(self) -> None:
        found = halves(np.zeros(RATE, np.float32), RATE)
        assert found.end - found.start == 0


class TestJoin:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.floats(0.001, 0.5), st.floats(0.0, 0.05))
    def test_has_exactly_the_level_that_was_asked_for(self, seed: int, rms: float, tail_level: float) -> None:
        rng = np.random.default_rng(seed)
        tail, continuation = tail_level * rms * rng.standard_normal(80), rng.standard_normal(1000)
        joined, gain = join(tail, continuation, rms)
        assert np.sqrt(np.mean(joined**2)) == pytest.approx(rms, rel=1e-9)
        assert gain > 0
        np.testing.assert_allclose(joined[80:], gain * continuation[80:])

    def test_begins_with_the_prompts_own_samples(self) -> None:
        tail = np.full(100, 0.01)
        joined, _ = join(tail, np.random.default_rng(0).standard_normal(2000), 0.1)
        assert joined[0] == pytest.approx(0.01, rel=0.02)

    def test_of_equal_signals_is_the_signal(self) -> None:
        signal = np.random.default_rng(0).standard_normal(500)
        joined, gain = join(signal[:80], signal, float(np.sqrt(np.mean(signal**2))))
        np.testing.assert_allclose(joined, signal, atol=1e-12)
        assert gain == pytest.approx(1.0)

    def test_of_silence_is_refused(self) -> None:
        with pytest.raises(ItemError, match="silent"):
            join(np.zeros(10), np.zeros(100), 0.1)

    def test_fades_add_up_to_one(self) -> None:
        gains = fade_in(160)
        np.testing.assert_allclose(gains + gains[::-1], 1)
        assert gains[0] < 1e-4


class TestMixing:
    @pytest.mark.parametrize(
        ("energies", "snr_db", "speech", "noise"),
        [
            ((1.0, 1.0), 0.0, 0.70710678, 0.70710678),  # g = 1
            ((2.0, 2.0), 10.0, 0.95346259, 0.30151134),  # g^2 = .1: 1/sqrt(1.1), sqrt(.1/1.1)
            ((4.0, 1.0), 0.0, 0.44721360, 0.89442719),  # g^2 = 4: 1/sqrt(5), 2/sqrt(5)
        ],
    )
    def test_gains_are_those_of_salmon(
        self, energies: tuple[float, float], snr_db: float, speech: float, noise: float
    ) -> None:
        gains = snr_gains(*energies, snr_db)
        assert gains.speech == pytest.approx(speech, rel=1e-7)
        assert gains.noise == pytest.approx(noise, rel=1e-7)
        ratio = energies[0] * gains.speech**2 / (energies[1] * gains.noise**2)
        assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-9)

    def test_silence_has_no_snr(self) -> None:
        with pytest.raises(ItemError, match="noise is digital silence"):
            snr_gains(1.0, 0.0, 1.0)
        with pytest.raises(ItemError, match="speech is digital silence"):
            snr_gains(0.0, 1.0, 1.0)

    def test_a_short_noise_is_looped_from_its_offset(self) -> None:
        noise = np.arange(5, dtype=np.float32)
        assert looped(noise, 3, 9, n_fade=0).tolist() == [3, 4, 0, 1, 2, 3, 4, 0, 1]

    def test_a_loop_has_no_step_at_its_seam(self) -> None:
        ramp = np.linspace(-1, 1, 4000, dtype=np.float32)
        step = np.abs(np.diff(looped(ramp, 0, 12000, n_fade=200)))
        assert step.max() < 0.02  # a hard seam would be 2.0

    def test_a_segment_is_about_as_loud_after_the_transition_as_before(self) -> None:
        rng = np.random.default_rng(0)
        noise = (0.1 * rng.standard_normal(40000)).astype(np.float32)
        noise[:20000] *= 0.1  # 20 dB quieter in its first half
        for _ in range(20):
            segment, offset, step_db = draw_segment(noise, 8000, 4000, 80, rng)
            assert abs(step_db) < 3
            assert 0 <= offset < len(noise)
            assert len(segment) == 8000

    def test_a_segment_without_sound_on_one_side_is_refused(self) -> None:
        noise = np.zeros(8000, np.float32)
        noise[10] = 1
        with pytest.raises(ItemError, match="silent"):
            draw_segment(noise, 1000, 500, 80, np.random.default_rng(0))

    def test_bands_are_salmons(self) -> None:
        assert SNR_BANDS_DB == ((0.01, 0.02), (0.1, 0.2), (1.0, 2.0), (5.0, 10.0))


def reverberation_s(response: np.ndarray) -> float:
    """RT60 from the slope between -5 and -25 dB of the backward integral."""
    decay = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-20)
    return 3.0 * float(np.argmax(decay < -25) - np.argmax(decay < -5)) / RATE


class TestRooms:
    def test_the_direct_path_comes_without_delay_and_energy_is_one(self) -> None:
        for room in draw_rooms(np.random.default_rng(0))[::3]:
            response = impulse_response(room, RATE)
            direct, next_ms = np.abs(response[:2]).max(), np.abs(response[2:10]).max()
            assert direct > 0.5 * next_ms, room  # a reflection may be nearly as strong
            assert direct > 0.3 * np.abs(response).max(), room
            assert np.sum(response**2) == pytest.approx(1.0)

    def test_kinds_differ_in_measured_reverberation(self) -> None:
        rooms = draw_rooms(np.random.default_rng(1))
        measured = {room.name: reverberation_s(impulse_response(room, RATE)) for room in rooms}
        for fold in "ab":
            pairs = different_pairs(rooms, fold)
            assert len(pairs) >= 12
            for one, two in pairs:
                assert one.fold == two.fold == fold
                low, high = sorted((measured[one.name], measured[two.name]))
                assert high > 1.5 * low, (one, two)
                assert max(one.rt60_s, two.rt60_s) >= CLEARLY_DIFFERENT * min(one.rt60_s, two.rt60_s)

    def test_an_impulse_keeps_its_time_and_the_tail_is_cut(self) -> None:
        room = draw_rooms(np.random.default_rng(0))[-1]
        impulse = np.zeros(2000)
        impulse[500] = 1
        wet = reverberate(impulse, impulse_response(room, RATE))
        assert len(wet) == 2000
        np.testing.assert_allclose(wet[:500], 0, atol=1e-12)
        assert wet.argmax() == 500
        assert 0.8 < wet[500] <= 1.0

    def test_same_seed_same_rooms(self) -> None:
        one, two = (draw_rooms(np.random.default_rng(5)) for _ in range(2))
        assert one == two
        np.testing.assert_array_equal(impulse_response(one[0], RATE), impulse_response(two[0], RATE))


class TestScreening:
    def test_separation_by_hand(self) -> None:
        # Rows at 0, 0 and 90 degrees against rows at 90, 90 and 80: of the first, the third is nearer to the others.
        one = np.array([[1, 0], [1, 0], [0, 1]])
        other = np.array([[0, 1], [0, 1], [np.cos(np.radians(80)), np.sin(np.radians(80))]])
        # first: own centroids 45, 45 and 0 degrees, the other's near 87: right, right, wrong.
        # second: own centroids near 85, 85 and 90, the other's at 26.6: right three times.
        assert separation(one, other) == pytest.approx(5 / 6)

    def test_copies_of_one_voice_are_at_chance(self) -> None:
        same = np.tile([[0.3, 0.4, 0.5]], (6, 1))
        assert separation(same, same) == 0.5

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_separation_is_symmetric_and_free_of_scale(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        one, other = rng.standard_normal((5, 4)), rng.standard_normal((7, 4)) + 1
        assert separation(one, other) == separation(other, one) == pytest.approx(separation(3 * one, 0.1 * other))
        assert 0 <= separation(one, other) <= 1

    def test_a_speaker_with_too_few_recordings_is_not_screened(self) -> None:
        class Deaf:
            sample_rate, attribute, dimension = RATE, "speaker", 2

            def embed(self, waveforms: list[np.ndarray]) -> np.ndarray:
                if not waveforms[0].any():
                    raise ItemError("silent")
                return np.array([[w[0], w[1]] for w in waveforms], np.float32)

        up, side, silent = (np.array(v, np.float32) for v in ((0, 1), (1, 0), (0, 0)))
        found = screen_voices(Deaf(), {"a": [up] * 3, "b": [side] * 4, "c": [up] * 2, "d": [side, side, silent]})
        assert found == {frozenset("ab"): 1.0}


def test_alignment_follows_another_tempo() -> None:
    rng = np.random.default_rng(0)
    syllables = [voice(f0, 0.25, rng) for f0 in (110, 300, 170, 420, 140, 250)]
    tempi = (1.3, 1.2, 1.3, 0.8, 0.8, 0.7)
    source = np.concatenate(syllables)
    target = np.concatenate([resample(s, round(len(s) * f)) for s, f in zip(syllables, tempi, strict=True)])
    boundary = sum(round(len(s) * f) for s, f in zip(syllables[:3], tempi[:3], strict=True))
    found = aligned_sample(source, sum(map(len, syllables[:3])), target.astype(np.float32), RATE)
    assert abs(found - boundary) / RATE < 0.05
    assert abs(found - len(target) / 2) / RATE > 0.05  # half of the length would be wrong
