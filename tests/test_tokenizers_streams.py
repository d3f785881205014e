"""Streams of different rates become one string of events, in the order in which the model reads them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate
from spokeneval.tokenizers.streams import merge_streams
from spokeneval.tokens import check_codes, codes_of, row_of

SPIRITLM = (2, 1, 0)
"""Style, pitch, units."""


def stream(codes, *durations):
    return Codes(np.array(codes, np.int32)[:, None], np.array(durations, np.int32))


def names(events):
    return [f"{'HPS'[q]}{c}" for q, c in zip(events.codebooks, events.codes[:, 0], strict=True)]


def test_events_are_in_order_of_time_and_ties_in_the_order_asked_for():
    streams = [stream([7, 8, 9], 2, 1, 3), stream([4, 5], 3, 3), stream([1], 6)]
    events = merge_streams(streams, SPIRITLM)
    assert names(events) == ["S1", "P4", "H7", "H8", "P5", "H9"]
    assert events.starts.tolist() == [0, 0, 0, 2, 3, 3]
    assert events.durations.tolist() == [6, 3, 2, 1, 3, 3]
    assert names(merge_streams(streams)) == ["H7", "P4", "S1", "H8", "H9", "P5"]
    assert events.n_frames == 6


def test_streams_without_durations_last_a_frame_a_step():
    events = merge_streams([Codes(np.array([[3], [3]], np.int32), None), stream([1], 2)], (1, 0))
    assert names(events) == ["P1", "H3", "H3"]
    assert events.durations.tolist() == [2, 1, 1]


def test_each_stream_comes_back_out_of_the_events():
    streams = [stream([7, 8, 9], 2, 1, 3), stream([4, 5], 3, 3), stream([1], 6)]
    events = merge_streams(streams, SPIRITLM)
    for codebook, whole in enumerate(streams):
        part = events.of_codebook(codebook)
        assert part.codes.tolist() == whole.codes.tolist()
        assert part.frame_starts().tolist() == whole.frame_starts().tolist()
        assert part.frame_counts().tolist() == whole.frame_counts().tolist()


def test_events_pass_through_the_tokens_table_and_the_vocabulary():
    info = TokenizerInfo(16_000, 640, (10, 6, 2), True, False, asynchronous=True)
    events = merge_streams([stream([7, 8, 9], 2, 1, 3), stream([4, 5], 3, 3), stream([1], 6)], SPIRITLM)
    check_codes(events, info)
    row = row_of("clip", events)
    back = codes_of({**row, "codes": row["codes"].tolist()}, info)
    assert all(np.array_equal(a, b) for a, b in zip(back, events, strict=True))
    tables = (np.arange(10), np.arange(10, 16), np.arange(16, 18))
    sequence = UnitVocabulary(tables, (20,), asynchronous=True).sequence(back, None, None, "refuse")
    assert sequence.input_ids.tolist() == [20, 17, 14, 7, 8, 15, 9]
    assert sequence.frame.tolist() == [0, 0, 0, 2, 3, 3]


@given(n_units=st.integers(1, 400), seed=st.integers(0, 99))
def test_a_grid_of_25_hz_gives_the_order_of_clocks_of_24_99_12_5_and_1_hz(n_units, seed):
    """SpiritLM counts seconds, units at a nominal 24.99 Hz; below 100 s the order is that of whole frames at 25 Hz."""
    rng = np.random.default_rng(seed)
    raw = {
        0: rng.integers(0, 3, n_units),
        1: rng.integers(0, 2, (n_units + 1) // 2),
        2: rng.integers(0, 2, -(-n_units // 25)),
    }
    timed = []
    for codebook, hz in ((2, 1.0), (1, 12.5), (0, 24.99)):
        previous = None
        for i, code in enumerate(raw[codebook]):
            if codebook == 2 or code != previous:
                timed.append((i / hz, codebook, int(code)))
            previous = code
    expected = [(codebook, code) for _, codebook, code in sorted(timed, key=lambda event: event[0])]

    units, pitch = deduplicate(raw[0].astype(np.int32)), deduplicate(raw[1].astype(np.int32))
    style = Codes(raw[2].astype(np.int32)[:, None], np.full(len(raw[2]), 25, np.int32))
    events = merge_streams([units, pitch._replace(durations=pitch.durations * np.int32(2)), style], SPIRITLM)
    assert list(zip(events.codebooks.tolist(), events.codes[:, 0].tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    ("streams", "order", "message"),
    [
        ([stream([1], 1)], (1,), "expected each of the 1 codebooks once"),
        ([stream([1], 1), stream([1], 1)], (0, 0), r"order \[0, 0\]"),
        (
            [Codes(np.zeros((2, 2), np.int32), None)],
            None,
            r"stream 0: codes of shape \(2, 2\); expected \(n_steps, 1\)",
        ),
        ([stream([1, 2], 1, 0)], None, "stream 0: expected a duration of at least one frame"),
        ([stream([1, 2], 1)], None, "stream 0: expected a duration of at least one frame for each code"),
    ],
)
def test_what_is_no_stream_is_refused(streams, order, message):
    with pytest.raises(ValueError, match=message):
        merge_streams(streams, order)
