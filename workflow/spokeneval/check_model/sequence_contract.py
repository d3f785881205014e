"""Is what a model feeds and scores what its convention says?

Conventions
-----------
- Every code of a clip is scored once, at its own frame, codebook and duration. Not scored are the first code where
  nothing is fed before it, and ids that the convention names as unscored.
- The id that is scored at (frame, codebook) is the vocabulary's id of the code there; families without a vocabulary of
  ids (`UnitVocabulary`) are not asked.
- Marks (BOS, <audio>, EOS) have no frame and no codebook, and no id is fed twice in the string before the first code: a
  BOS that the text tokenizer adds and the convention, too.
- `kept` gives the codes from the cut on at the frames that they have in the whole clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spokeneval.check_model.findings import Finding, not_checked, verdict
from spokeneval.check_model.scored import places, units_of, vocabulary_of
from spokeneval.models.base import ScoredSequence, SpokenLM
from spokeneval.tables import KIND_UNIT
from spokeneval.tokenizers.base import Codes


def check_sequences(model: SpokenLM, clips: Sequence[tuple[str, Codes, int]]) -> list[Finding]:
    """clips: name, codes that fit the context, and the frame of the cut."""
    sequences = [(name, codes, cut, model.sequence(codes)) for name, codes, cut in clips]
    first = sequences[0]
    return [
        _of_each("every code is scored once, where it lies", [_coverage(*s, model) for s in sequences]),
        _targets(model, [(name, codes, sequence) for name, codes, _, sequence in sequences]),
        _of_each("marks have no place in time, and codes have one", [_marks(name, s) for name, _, _, s in sequences]),
        _beginning(model, first[1], first[3]),
        _of_each("kept tokens keep their place", [_kept(model, *s) for s in sequences]),
    ]


def _of_each(name: str, problems: Sequence[str | None]) -> Finding:
    found = [problem for problem in problems if problem is not None]
    return verdict(name, found[0] if found else None, f"{len(problems)} clips")


def _coverage(name: str, codes: Codes, _: int, sequence: ScoredSequence, model: SpokenLM) -> str | None:
    units = np.flatnonzero(sequence.kind == KIND_UNIT)
    keys = [(int(sequence.frame[i]), int(sequence.codebook[i])) for i in units]
    expected = places(codes)
    vocabulary = vocabulary_of(model)
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        return f"{name}: the code of frame {twice[0]}, codebook {twice[1]} is scored {keys.count(twice)} times"
    if strange := set(keys) - set(expected):
        frame, book = min(strange)
        return f"{name}: a code is scored at frame {frame}, codebook {book}, where the clip has none"
    missing = sorted(set(expected) - set(keys))
    may_miss = {min(expected, key=lambda place: expected[place])} if int(sequence.index[0]) == 1 else set()
    if vocabulary is not None and vocabulary.unscored:
        ids = vocabulary.ids(codes.codes, codes.codebooks)
        may_miss |= {place for place, i in expected.items() if int(ids[i]) in vocabulary.unscored}
    if lost := [place for place in missing if place not in may_miss]:
        return (
            f"{name}: {len(lost)} codes are never scored, e.g. that of frame {lost[0][0]}, codebook {lost[0][1]}; "
            "expected all of them"
        )
    counts = codes.frame_counts()
    width = codes.codes.shape[1]
    for i, key in zip(units, keys, strict=True):
        declared = int(counts[expected[key] // width])
        if int(sequence.n_frames[i]) != declared:
            return (
                f"{name}: the code of frame {key[0]} lasts {sequence.n_frames[i]} frames; the tokenizer says {declared}"
            )
    return None


def _targets(model: SpokenLM, clips: Sequence[tuple[str, Codes, ScoredSequence]]) -> Finding:
    name = "the id that is scored is the id of the code"
    vocabulary = vocabulary_of(model)
    if vocabulary is None:
        return not_checked(name, "this family has no vocabulary of ids")
    for clip, codes, sequence in clips:
        ids, index = vocabulary.ids(codes.codes, codes.codebooks), places(codes)
        for place, position in units_of(sequence).items():
            expected, found = int(ids[index[place]]), int(sequence.target[position])
            if place in index and expected != found:
                return verdict(
                    name,
                    f"{clip}: at frame {place[0]}, codebook {place[1]} the id {found} is scored; its code "
                    f"{codes.codes.reshape(-1)[index[place]]} has the id {expected}",
                )
    return verdict(name, None, f"{len(clips)} clips")


def _marks(name: str, sequence: ScoredSequence) -> str | None:
    marks = sequence.kind != KIND_UNIT
    if (sequence.frame[marks] != -1).any() or (sequence.codebook[marks] != -1).any() or sequence.n_frames[marks].any():
        return f"{name}: a mark has a frame, a codebook or a length; expected -1, -1 and 0"
    if (sequence.n_frames[~marks] < 1).any():
        return f"{name}: a code lasts no frame; expected 1 or more"
    if (sequence.index < 1).any() or (np.diff(sequence.index) <= 0).any():
        return f"{name}: `index` is not ascending from 1 on: something must come before what is scored"
    if (np.diff(sequence.step) < 0).any():
        return f"{name}: steps go back; expected the order in which the model predicts"
    return None


def _beginning(model: SpokenLM, codes: Codes, sequence: ScoredSequence) -> Finding:
    """What is fed before the first code, without a mark that stands there twice."""
    name = "no mark is doubled"
    vocabulary = vocabulary_of(model)
    if vocabulary is None:
        return not_checked(name, "this family has no vocabulary of ids")
    first = int(vocabulary.ids(codes.codes[:1], None if codes.codebooks is None else codes.codebooks[:1])[0])
    fed = sequence.input_ids.tolist()
    before = fed[: fed.index(first)] if first in fed else fed
    doubled = sorted({mark for mark in before if before.count(mark) > 1})
    problem = (
        f"{before} is fed before the first code: id {doubled[0]} stands there {before.count(doubled[0])} times; take "
        "it out of `sequence.text` (or `bos`), where the text tokenizer adds it itself"
        if doubled
        else None
    )
    return verdict(name, problem, f"before the first code: {before or 'nothing'}")


def _kept(model: SpokenLM, name: str, codes: Codes, cut: int, whole: ScoredSequence) -> str | None:
    kept = model.kept(codes, cut)
    of_whole, of_kept = units_of(whole), units_of(kept)
    ends = codes.frame_starts() + codes.frame_counts()
    after = {place for place, i in places(codes).items() if ends[i // codes.codes.shape[1]] > cut}
    if wrong := sorted(set(of_kept) - after):
        return (
            f"{name}: kept from frame {cut} on, but a code is scored at frame {wrong[0][0]}: frames must keep the "
            "place that they have in the whole clip"
        )
    # Without a BOS the first kept code is given and not scored.
    if len(after) - len(of_kept) > (1 if int(kept.index[0]) == 1 else 0) + len(set(after) - set(of_whole)):
        return f"{name}: of {len(after)} codes from frame {cut} on, only {len(of_kept)} are scored"
    for place in set(of_kept) & set(of_whole):
        a, b = int(kept.target[of_kept[place]]), int(whole.target[of_whole[place]])
        if a != b:
            return f"{name}: at frame {place[0]}, codebook {place[1]} id {a} is kept; the whole clip has {b} there"
    return None
