"""Tokens: a clip's codes depend on that clip alone; spans come from before de-duplication; failures are rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokeneval import tokens
from spokeneval.audio import make_clip
from spokeneval.errors import ItemError
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate


class LevelTokenizer:
    """Two codebooks: loud or not, rising or not; ten frames a second."""

    def __init__(self, fail_below=0):
        self.info = TokenizerInfo(8000, 800, (2, 2), False, True)
        self.fail_below = fail_below

    def encode(self, waveform):
        if len(waveform) < self.fail_below:
            raise ItemError(f"too short: {len(waveform)} samples")
        frames = waveform[: len(waveform) // 800 * 800].reshape(-1, 800)
        loud = (np.abs(frames).mean(1) > 0.1).astype(np.int32)
        rising = np.diff(loud, prepend=0).clip(0)
        return Codes(np.stack([loud, rising], 1).astype(np.int32), None)


def clip(n, level):
    return make_clip(np.full(n, level, np.float32), 8000)


CLIPS = [("a", clip(4000, 0.5).flac), ("b", clip(100, 0.5).flac), ("c", clip(8000, 0.01).flac)]


def run(tokenizer, clips, batch=2):
    written = []
    counts = tokens.encode_clips(tokenizer, clips, written.append, batch)
    return {row["clip_id"]: row for rows in written for row in rows}, counts, [len(rows) for rows in written]


def test_failed_clips_are_rows_with_reasons_and_lose_no_others():
    rows, counts, _ = run(LevelTokenizer(fail_below=200), CLIPS)
    assert counts == (3, 1)
    assert (rows["b"]["status"], rows["b"]["reason"]) == ("failed", "too short: 100 samples")
    assert rows["a"]["n_frames"] == 5
    with pytest.raises(ItemError, match="too short: 100"):
        tokens.codes_of(rows["b"], LevelTokenizer().info)


def test_a_clip_without_a_single_frame_is_a_failed_row():
    rows, _, _ = run(LevelTokenizer(), CLIPS)
    assert rows["b"]["reason"] == "too short for one frame (800 samples at 8000 Hz)"


def test_order_and_batch_change_nothing():
    one, _, _ = run(LevelTokenizer(), CLIPS, batch=1)
    other, _, sizes = run(LevelTokenizer(), CLIPS[::-1], batch=64)
    assert sizes == [3]
    for name in one:
        assert one[name]["status"] == other[name]["status"]
        np.testing.assert_array_equal(one[name]["codes"], other[name]["codes"])


def test_codes_outside_their_codebook_are_a_bug_and_not_a_failed_item():
    tokenizer = LevelTokenizer()
    tokenizer.info = TokenizerInfo(8000, 800, (1, 2), False, True)
    with pytest.raises(ValueError, match="codebooks have"):
        tokens.encode_clip(tokenizer, *CLIPS[0])


@given(st.lists(st.integers(0, 3), max_size=60))
def test_deduplication_keeps_every_frame(units):
    encoded = deduplicate(np.array(units, np.int32))
    assert encoded.n_frames == len(units)
    np.testing.assert_array_equal(np.repeat(encoded.codes[:, 0], encoded.durations), np.array(units, np.int32))
    assert (encoded.codes[1:, 0] != encoded.codes[:-1, 0]).all()
    np.testing.assert_array_equal(encoded.frame_starts() + encoded.frame_counts(), np.cumsum(encoded.durations))
