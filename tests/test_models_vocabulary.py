"""The sequence convention: which ids are fed, which are scored, and where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spokeneval.errors import ConfigError, ItemError
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tables import KIND_EOS, KIND_MARK, KIND_UNIT
from spokeneval.tokenizers.base import Codes

TWO_FRAMES = Codes(np.array([[0, 1], [2, 0]], np.int32), None)
RUNS = Codes(np.array([[3], [1], [4]], np.int32), np.array([2, 5, 1], np.int32))


def vocabulary(bos=0, eos=None, sizes=(3, 2), offset=1):
    return UnitVocabulary.by_offset(sizes, offset, bos, eos)


def test_codes_are_laid_out_frame_by_frame_after_the_codebooks_before_them():
    sequence = vocabulary().sequence(TWO_FRAMES, None, None, "refuse")
    assert sequence.input_ids.tolist() == [0, 1, 5, 3, 4]
    assert sequence.target.tolist() == [1, 5, 3, 4]
    assert sequence.codebook.tolist() == [0, 1, 0, 1]
    assert sequence.frame.tolist() == [0, 0, 1, 1]
    assert sequence.n_frames.tolist() == [1, 1, 1, 1]
    assert sequence.step.tolist() == [0, 1, 2, 3]
    assert set(sequence.kind.tolist()) == {KIND_UNIT}
    assert sequence.n_dropped_frames == 0


def test_without_a_bos_the_first_unit_is_given_and_not_scored():
    sequence = vocabulary(bos=None).sequence(TWO_FRAMES, None, None, "refuse")
    assert sequence.input_ids.tolist() == [1, 5, 3, 4]
    assert sequence.target.tolist() == [5, 3, 4]
    assert sequence.index.tolist() == [1, 2, 3]
    assert sequence.codebook.tolist() == [1, 0, 1]
    assert sequence.step.tolist() == [0, 1, 2]


def test_eos_is_scored_and_has_no_codebook_and_no_span():
    sequence = vocabulary(eos=6).sequence(TWO_FRAMES, None, None, "refuse")
    assert sequence.target.tolist() == [1, 5, 3, 4, 6]
    assert sequence.kind.tolist() == [KIND_UNIT] * 4 + [KIND_EOS]
    assert (sequence.codebook[-1], sequence.frame[-1], sequence.n_frames[-1]) == (-1, -1, 0)


def test_one_id_may_be_bos_and_eos():
    sequence = vocabulary(bos=0, eos=0).sequence(TWO_FRAMES, None, None, "refuse")
    assert sequence.input_ids.tolist() == [0, 1, 5, 3, 4, 0]


def test_runs_keep_their_frames_from_before_the_deduplication():
    sequence = vocabulary(sizes=(5,)).sequence(RUNS, None, None, "refuse")
    assert sequence.frame.tolist() == [0, 2, 7]
    assert sequence.n_frames.tolist() == [2, 5, 1]


def test_a_part_of_a_clip_keeps_its_place_in_the_whole_clip():
    sequence = vocabulary(sizes=(5,)).sequence(RUNS, np.array([1, 2]), None, "refuse")
    assert sequence.input_ids.tolist() == [0, 2, 5]
    assert sequence.frame.tolist() == [2, 7]
    assert sequence.step.tolist() == [0, 1]
    assert sequence.n_dropped_frames == 0


def test_truncation_drops_whole_oldest_frames_and_says_how_many():
    codes = Codes(np.array([[0, 0], [1, 1], [2, 0]], np.int32), None)
    sequence = vocabulary(eos=6).sequence(
        codes, None, 7, "left"
    )  # BOS + 4 codes + EOS; a fifth code would be half a frame
    assert sequence.input_ids.tolist() == [0, 2, 5, 3, 4, 6]
    assert sequence.frame.tolist() == [1, 1, 2, 2, -1]
    assert sequence.n_dropped_frames == 1
    runs = vocabulary(sizes=(5,)).sequence(RUNS, None, 2, "left")
    assert runs.frame.tolist() == [7]
    assert runs.n_dropped_frames == 7


def test_a_string_that_just_fits_is_left_alone():
    assert vocabulary().sequence(TWO_FRAMES, None, 5, "refuse").n_dropped_frames == 0
    with pytest.raises(ItemError, match=r"5 ids, but the context has room for 4; `sequence.truncate: left`"):
        vocabulary().sequence(TWO_FRAMES, None, 4, "refuse")
    with pytest.raises(ItemError, match=r"room for 2$"):  # not even one frame
        vocabulary().sequence(TWO_FRAMES, None, 2, "left")


def test_nothing_to_score_is_an_items_failure():
    with pytest.raises(ItemError, match="no codes"):
        vocabulary().sequence(TWO_FRAMES, np.array([], int), None, "refuse")
    alone = Codes(np.array([[1]], np.int32), None)
    with pytest.raises(ItemError, match="nothing can be scored"):
        vocabulary(bos=None, sizes=(3,)).sequence(alone, None, None, "refuse")
    with pytest.raises(ItemError, match="nothing to continue"):
        vocabulary(bos=None).prompt(Codes(np.zeros((0, 2), np.int32), None), None, "refuse")


def test_a_code_beyond_its_codebook_is_an_items_failure():
    with pytest.raises(ItemError, match=r"codes up to \[3, 0\]; the codebooks have \[3, 2\] entries"):
        vocabulary().ids(np.array([[3, 0]], np.int32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bos": 1}, "sequence.bos is 1, which is the id of a code"),
        ({"eos": 5}, "sequence.eos is 5, which is the id of a code"),
        ({"offset": -1}, "sequence.offset is -1"),
        ({"bos": -1, "offset": 0}, "sequence.bos is -1"),
    ],
)
def test_marks_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        vocabulary(**options)


def test_the_vocabulary_counts_codes_and_marks():
    assert vocabulary().n_ids == 6
    assert vocabulary(eos=9).n_ids == 10
    assert vocabulary(bos=None, offset=0).n_ids == 5


UNITS, PITCHES = np.array([10, 11, 14]), np.array([3, 12])
"""Ids as a text tokenizer may have them: in no order, with gaps."""


def test_ids_may_lie_anywhere():
    named = UnitVocabulary((UNITS, PITCHES), (1, 2), (7,))
    sequence = named.sequence(TWO_FRAMES, None, None, "refuse")
    assert sequence.input_ids.tolist() == [1, 2, 10, 12, 14, 3, 7]
    assert sequence.kind.tolist() == [KIND_MARK, *[KIND_UNIT] * 4, KIND_EOS]  # the first id of the string is given
    assert sequence.codebook.tolist() == [-1, 0, 1, 0, 1, -1]
    assert sequence.frame.tolist() == [-1, 0, 0, 1, 1, -1]
    assert named.codes(np.array([10, 12, 14, 3])).tolist() == [[0, 1], [2, 0]]
    assert named.codes(np.array([10, 12, 14, 13])).tolist() == [[0, 1]]


def test_ids_that_a_script_masks_are_fed_and_not_scored():
    masked = UnitVocabulary((UNITS, PITCHES), (1,), unscored=frozenset({12}))
    sequence = masked.sequence(TWO_FRAMES, None, None, "refuse")
    assert sequence.input_ids.tolist() == [1, 10, 12, 14, 3]
    assert sequence.target.tolist() == [10, 14, 3]
    assert sequence.step.tolist() == [0, 2, 3]


EVENTS = Codes(
    np.array([[1], [0], [2], [0], [1]], np.int32),
    np.array([4, 1, 2, 1, 2], np.int32),
    np.array([1, 0, 0, 0, 1], np.int8),
    np.array([0, 0, 1, 3, 4], np.int32),
)
"""Two codebooks of different rates, as a string of events."""


def test_events_keep_the_order_of_the_model_and_their_own_place_in_time():
    merged = UnitVocabulary((UNITS, PITCHES), (1,), asynchronous=True)
    sequence = merged.sequence(EVENTS, None, None, "refuse")
    assert sequence.input_ids.tolist() == [1, 12, 10, 14, 10, 12]
    assert sequence.codebook.tolist() == [1, 0, 0, 0, 1]
    assert sequence.frame.tolist() == [0, 0, 1, 3, 4]
    assert sequence.n_frames.tolist() == [4, 1, 2, 1, 2]
    assert merged.legal(0).tolist() == [3, 10, 11, 12, 14]
    assert EVENTS.n_frames == 6
    units = EVENTS.of_codebook(0)
    assert (units.codes[:, 0].tolist(), units.frame_starts().tolist()) == ([0, 2, 0], [0, 1, 3])


def test_two_codes_may_not_share_an_id():
    with pytest.raises(ConfigError, match="the id 10 stands for two codes"):
        UnitVocabulary((UNITS, np.array([10])))
    with pytest.raises(ConfigError, match=r"the suffix \(EOS\) holds 14, which is the id of a code"):
        UnitVocabulary((UNITS,), suffix=(14,))


def test_new_ids_end_at_the_first_that_is_not_due():
    speech = vocabulary()
    assert speech.codes(np.array([1, 5, 3, 4])).tolist() == [[0, 1], [2, 0]]
    assert speech.codes(np.array([1, 5, 3, 1])).tolist() == [[0, 1]]  # a code of the other codebook
    assert speech.codes(np.array([0, 5, 3, 4])).tolist() == []  # BOS
    assert speech.codes(np.array([1, 5, 3])).tolist() == [[0, 1]]  # half a frame


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    offset=st.integers(0, 3),
    n_frames=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_codes_come_back_from_their_ids(sizes, offset, n_frames, seed):
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, size, n_frames) for size in sizes], 1).astype(np.int32)
    speech = UnitVocabulary.by_offset(tuple(sizes), offset, None, None)
    assert np.array_equal(speech.codes(speech.ids(codes)), codes)
