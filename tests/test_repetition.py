"""Loops and repeated prompts: copies are found, real speech is not, and steady backgrounds are what the module says."""

from pathlib import Path

import numpy as np
import pytest

from spokeneval.audio import read_recording, resample
from spokeneval.repetition import LOOPS, REPEATS_PROMPT, flags_of_codes, flags_of_sound
from spokeneval.tokenizers.base import Codes, TokenizerInfo

ROOT = Path(__file__).parent.parent
RECORDINGS = sorted((ROOT / "resources/fetched/recordings/clips").rglob("*.ogg")) or sorted(
    path for path in (ROOT / "resources/fetched/recordings/clips").rglob("*.*") if path.is_file()
)
RATE = 16000
FRAMES = TokenizerInfo(1000, 100, (100, 100), deduplicated=False, causal=True)
"""Ten frames a second: half a second is 5 frames, 1.5 s are 15."""
UNITS = TokenizerInfo(1000, 100, (100,), deduplicated=True, causal=True)


def frames(*numbers):
    """Frames of two codebooks: the number, and 7 in the second."""
    return Codes(np.array([[n, 7] for n in numbers], np.int32).reshape(-1, 2), None)


PROMPT = frames(*range(50, 70))


# ------------------------------------------------------------ codes, by hand


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], []),
        (range(12), []),
        ([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], [LOOPS]),  # 0.5 s, twice
        ([1, 2, 3, 4, 1, 2, 3, 4], []),  # 0.4 s, twice
        ([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2], [LOOPS]),  # 0.4 s again and again: 5 frames come 8 later
        ([1, 2, 3, 4, 5, 30, 31, 32, 1, 2, 3, 4, 5], [LOOPS]),
        ([1, 2, 3, 4, 5, 30, 31, 32, 1, 2, 3, 4, 6], []),
        ([5, 5, 5, 5, 5, 1, 2, 3, 4, 6, 5, 5, 5, 5, 5], []),  # equal pauses
        ([1, 2, 2, 2, 3, 8, 9, 10, 1, 2, 2, 2, 3], []),  # three different frames say too little
        ([1, 2, 2, 3, 4, 8, 9, 10, 1, 2, 2, 3, 4], [LOOPS]),
        ([5] * 14, []),  # a pause of 1.4 s
        ([5] * 15, [LOOPS]),
        ([1, 2, 3, 4, *[5, 6, 7] * 5], [LOOPS]),  # 1.5 s of three frames in turn
        ([1, 2, 3, 4, *[5, 6, 7] * 4], []),
        (range(60, 65), [REPEATS_PROMPT]),
        (range(60, 64), []),
        ([1, 2, *range(50, 55), 3], [REPEATS_PROMPT]),
        ([60, 61, 62, 63, 1, 64], []),
        ([*range(50, 55), *range(50, 55)], [LOOPS, REPEATS_PROMPT]),
    ],
)
def test_frames_by_hand(said, expected):
    assert flags_of_codes(PROMPT, frames(*said), FRAMES) == expected


def test_a_frame_is_the_same_only_in_all_codebooks():
    once, other = np.arange(10).reshape(5, 2).astype(np.int32), np.arange(10).reshape(5, 2).astype(np.int32)
    other[:, 1] += 1
    assert flags_of_codes(PROMPT, Codes(np.concatenate([once, other]), None), FRAMES) == []
    assert flags_of_codes(PROMPT, Codes(np.concatenate([once, once]), None), FRAMES) == [LOOPS]


def test_units_last_as_long_as_the_prompts():
    said = Codes(np.array([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 7, 8], np.int32)[:, None], None)
    for duration, expected in ((1, []), (2, [LOOPS]), (4, [LOOPS])):  # 5 units, of which 4 repeat; 4 units; never fewer
        prompt = Codes(np.arange(50, 60, dtype=np.int32)[:, None], np.full(10, duration, np.int32))
        assert flags_of_codes(prompt, said, UNITS) == expected
    slow = Codes(np.arange(50, 60, dtype=np.int32)[:, None], np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 3], np.int32))
    assert flags_of_codes(slow, said, UNITS) == [LOOPS]  # 1.3 frames a unit: 4 units are 0.5 s


def test_a_prompt_without_codes_and_one_with_a_pause_are_not_repeated():
    assert flags_of_codes(frames(), frames(*range(5)), FRAMES) == []
    assert flags_of_codes(frames(*[5] * 10), frames(*[5] * 10), FRAMES) == []


# ------------------------------------------------------------ sound


def speech(number, seconds=None):
    """A real recording at 16 kHz, of 3 s or more, at an RMS of 0.1."""
    found = []
    for path in RECORDINGS[number * 37 % len(RECORDINGS) :]:
        recording = read_recording(path)
        if len(recording.waveform) >= 3.5 * recording.sample_rate:
            found = resample(recording.waveform, recording.sample_rate, RATE)
            break
    found = found / np.sqrt(np.mean(found**2)) * 0.1
    return found if seconds is None else found[: round(seconds * RATE)]


def noise(n, level, seed=0):
    return (np.random.default_rng(seed).standard_normal(n) * level).astype(np.float32)


@pytest.fixture(autouse=True)
def _fetched(request):
    if "speech" in request.node.name or "drum" in request.node.name or "copy" in request.node.name:
        assert RECORDINGS, "resources/fetched is empty: run `make fetch` first"


def test_real_speech_is_never_flagged():
    wrong = []
    for number in range(60):
        recording = speech(number)
        half = len(recording) // 2
        flags = flags_of_sound(recording[half:], RATE, recording[:half], RATE)
        wrong += [(number, flags)] if flags else []
    assert wrong == []


@pytest.mark.parametrize("gain", [0.05, 1.0, -2.0])
@pytest.mark.parametrize("number", range(4))
def test_a_copy_of_the_prompt_is_found_at_any_gain_and_place_and_in_mild_noise(number, gain):
    prompt, own = speech(number, 3.0), speech(number + 50, 3.0)
    voiced = int(np.argmax([np.mean(prompt[i : i + 12000] ** 2) for i in range(0, 36000, 100)])) * 100
    stretch = prompt[voiced : voiced + 12000]  # 0.75 s
    stretch = stretch / np.sqrt(np.mean(stretch**2)) * 0.1
    said = np.concatenate([own[: 11111 + 777 * number], stretch, own[-8000:]]) * gain
    said = said + noise(len(said), abs(gain) * 0.01)  # 20 dB below
    assert REPEATS_PROMPT in flags_of_sound(said.astype(np.float32), RATE, prompt, RATE)
    assert flags_of_sound(own + noise(len(own), 0.01), RATE, prompt, RATE) == []


def test_a_copy_at_another_rate_is_found():
    prompt = speech(3, 3.0)
    said = resample(prompt[20001:], RATE, 24000)
    assert flags_of_sound(said, 24000, resample(prompt, RATE, 22050), 22050) == [REPEATS_PROMPT]
    assert flags_of_sound(said, 24000) == []  # a prompt that is not here


@pytest.mark.parametrize("period_s", [0.21, 0.8, 1.3])
def test_a_copy_of_itself_is_a_loop(period_s):
    recording = speech(5)
    start = (
        int(np.argmax([np.mean(recording[i : i + 12000] ** 2) for i in range(0, len(recording) - 24000, 100)])) * 100
    )
    said = np.resize(recording[start : start + round(period_s * RATE)], 3 * RATE)
    assert flags_of_sound((said * 0.3 + noise(len(said), 0.003)).astype(np.float32), RATE) == [LOOPS]


def drums(seconds, level):
    """A drum loop of 0.9 s, again and again."""
    path = sorted((ROOT / "resources/fetched/noises/drums").iterdir())[0]
    recording = read_recording(path)
    once = resample(recording.waveform, recording.sample_rate, RATE)
    loop = np.resize(np.resize(once, round(0.9 * RATE)), round(seconds * RATE))
    return (loop / np.sqrt(np.mean(loop**2)) * level).astype(np.float32)


@pytest.mark.parametrize(("below_db", "expected"), [(20, []), (12, []), (None, [LOOPS, REPEATS_PROMPT])])
def test_speech_over_a_drum_loop_is_flagged_only_where_the_drums_stand_alone(below_db, expected):
    flagged = []
    for number in range(6):
        recording = speech(number)
        background = drums(len(recording) / RATE, 0.1 if below_db is None else 0.1 * 10 ** (-below_db / 20))
        mixed = background if below_db is None else recording + background[: len(recording)]
        half = len(mixed) // 2
        flagged.append(flags_of_sound(mixed[half:], RATE, mixed[:half], RATE))
    assert flagged == [expected] * 6


def test_a_hum_below_speech_is_no_repetition_and_a_tone_alone_is():
    hum = (0.02 * np.sin(2 * np.pi * 50 * np.arange(6 * RATE) / RATE)).astype(np.float32)
    recording = np.concatenate([speech(7), np.zeros(RATE, np.float32)])
    mixed = recording + hum[: len(recording)]
    half = len(mixed) // 2
    assert flags_of_sound(mixed[half:], RATE, mixed[:half], RATE) == []
    assert flags_of_sound(hum[: 2 * RATE], RATE, hum[3 * RATE :], RATE) == [LOOPS, REPEATS_PROMPT]


def test_silence_short_sound_and_offsets_are_no_repetition():
    assert flags_of_sound(np.zeros(RATE * 2, np.float32), RATE, np.zeros(RATE, np.float32), RATE) == []
    assert flags_of_sound(np.full(RATE * 2, 0.3, np.float32), RATE) == []
    assert flags_of_sound(noise(RATE * 2, 0.1) + 0.3, RATE, noise(RATE * 2, 0.1, 1) + 0.3, RATE) == []
    assert flags_of_sound(noise(RATE // 4, 0.1), RATE, noise(RATE, 0.1), RATE) == []
    assert flags_of_sound(np.zeros(0, np.float32), RATE, noise(RATE, 0.1), RATE) == []


def test_an_independent_correlation_finds_the_same():
    """Window by window, lag by lag, without Fourier."""
    from spokeneval.repetition import _largest

    said, prompt = noise(1200, 0.1), noise(1500, 0.1, 1)
    prompt[300:700] += said[500:900]
    windows = np.stack([said[i : i + 400] / np.sqrt(np.mean(said[i : i + 400] ** 2)) for i in range(0, 801, 100)])
    expected = max(
        abs(float(np.dot(window, part)) / np.sqrt(np.sum(window**2) * np.sum(part**2)))
        for window in windows.astype(np.float64)
        for part in (prompt[i : i + 400].astype(np.float64) for i in range(1101))
    )
    assert _largest(windows, prompt, None) == pytest.approx(expected, abs=1e-5)
