"""Other conventions than the declared one: what the same clips would be under the mistakes that are commonly made.

Conventions
-----------
- An alternative is a model (the same weights, other ids) and codes (the same clips, laid out otherwise). `origin` says
  which declared code each of its codes is, so that both are compared on the codes that both score; where codes are
  not the same ones (runs merged or not) it is None, and means over all codes are compared.
- Ids are changed only for families with a vocabulary of ids, and only within the ids that the model has.
- Alternatives of a kind that cannot be (a permutation of codebooks of unequal sizes, ids below 0) are left out.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spokeneval.check_model.scored import vocabulary_of
from spokeneval.errors import ConfigError
from spokeneval.models.base import SpokenLM
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.loading import n_input_ids
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tokenizers.base import Codes, TokenizerInfo, deduplicate

OFFSETS = (-4, -2, -1, 1, 2, 4)
MAX_PERMUTED = 4
"""Codebooks of which all orders are tried; of more, neighbours are swapped."""
N_OTHER_MARKS = 4
"""Ids that stand for no code and are tried as BOS."""

Origin = NDArray[np.int64]


@dataclass(frozen=True)
class Alternative:
    label: str
    """e.g. "offset 1"."""
    advice: str
    """What it means if it fits better, and what to change."""
    model: SpokenLM
    codes: list[Codes]
    origin: list[Origin] | None
    """For each clip, (n_steps, width): index of the declared code in its flattened codes; -1 for none."""


def alternatives(model: SpokenLM, info: TokenizerInfo, clips: Sequence[Codes]) -> Iterator[Alternative]:
    """Everything that is tried on these clips, one at a time."""
    vocabulary = vocabulary_of(model)
    if isinstance(model, CausalUnitLM) and vocabulary is not None:
        yield from _offsets(model, vocabulary, clips)
        yield from _marks(model, vocabulary, clips)
        if not info.asynchronous and info.n_codebooks > 1:
            yield from _id_layouts(model, vocabulary, clips)
    if info.asynchronous:
        return
    if info.n_codebooks > 1:
        yield from _orders(model, info, clips)
        yield from _delays(model, clips)
    else:
        yield _runs(model, info, clips)


def identity(codes: Codes) -> Origin:
    return np.arange(codes.codes.size).reshape(codes.codes.shape)


def _with(model: CausalUnitLM, vocabulary: UnitVocabulary) -> SpokenLM:
    """The same weights under another vocabulary."""
    other = copy.copy(model)
    other.vocabulary = vocabulary
    return other


def _on_same_codes(
    label: str, advice: str, model: CausalUnitLM, vocabulary: UnitVocabulary, clips: Sequence[Codes]
) -> Iterator[Alternative]:
    """The declared codes with other ids; nothing where the model lacks one of them."""
    rows = min(n_input_ids(model.model), int(model.model.get_output_embeddings().weight.shape[0]))
    if vocabulary.n_ids <= rows:
        yield Alternative(label, advice, _with(model, vocabulary), list(clips), [identity(codes) for codes in clips])


def _replaced(vocabulary: UnitVocabulary, **changes: Any) -> UnitVocabulary | None:
    """None where ids would stand for two things."""
    try:
        return replace(vocabulary, **changes)
    except ConfigError:
        return None


def _offsets(model: CausalUnitLM, declared: UnitVocabulary, clips: Sequence[Codes]) -> Iterator[Alternative]:
    first = int(declared.tables[0][0])
    if not np.array_equal(np.concatenate(declared.tables), first + np.arange(len(declared.unit_ids))):
        return  # ids that are read off a list have no offset
    for shift in OFFSETS:
        tables = tuple(table + shift for table in declared.tables)
        taken = set(np.concatenate(tables).tolist())
        marks = {name: tuple(m for m in getattr(declared, name) if m not in taken) for name in ("prefix", "suffix")}
        lost = " and without the marks that are codes then" if marks["prefix"] != declared.prefix else ""
        shifted = _replaced(declared, tables=tables, **marks)
        if shifted is not None:
            yield from _on_same_codes(
                f"offset {first + shift} (declared: {first}){lost}",
                f"code 0 is probably id {first + shift}, not {first}: set `sequence.offset: {first + shift}`",
                model,
                shifted,
                clips,
            )


def _marks(model: CausalUnitLM, declared: UnitVocabulary, clips: Sequence[Codes]) -> Iterator[Alternative]:
    tried: dict[tuple[int, ...], tuple[str, str]] = {}
    prefix = declared.prefix
    if prefix:
        tried[()] = (
            "no BOS",
            "the model was probably trained without one: set `sequence.bos: null`, or take it out of `sequence.text`",
        )
        if len(prefix) > 1:
            advice = "the model was probably trained without it: change `sequence.text`"
            tried[prefix[1:]] = (f"id {prefix[0]} left out at the beginning", advice)
            tried[prefix[:-1]] = (f"id {prefix[-1]} left out before the first code", advice)
        tried[(prefix[0], *prefix)] = (
            "BOS doubled",
            "clips probably began with the mark twice in training (once by the text tokenizer): repeat it",
        )
        halved = tuple(mark for i, mark in enumerate(prefix) if mark not in prefix[:i])
        if halved != prefix:
            tried[halved] = ("BOS once", "a mark is probably fed twice: take one out of `sequence.text`")
    codes = set(declared.unit_ids.tolist())
    config = model.model.config
    named = [getattr(config, f"{name}_token_id", None) for name in ("bos", "eos", "pad", "decoder_start")]
    spare = (i for i in itertools.count() if i not in codes)
    marks = dict.fromkeys([m for m in named if isinstance(m, int)] + list(itertools.islice(spare, N_OTHER_MARKS)))
    for mark in marks:
        if mark not in codes and mark >= 0:
            rest = prefix[1:]
            tried.setdefault(
                (mark, *rest),
                (f"id {mark} as BOS", f"clips probably began with id {mark} in training: set `sequence.bos: {mark}`"),
            )
    for other, (label, advice) in tried.items():
        changed = None if other == prefix else _replaced(declared, prefix=other)
        if changed is not None:
            yield from _on_same_codes(label, advice, model, changed, clips)


def _permutations(n_codebooks: int) -> list[tuple[int, ...]]:
    """All orders but the declared one; of many codebooks, those with two neighbours swapped, and the reverse."""
    plain = tuple(range(n_codebooks))
    if n_codebooks <= MAX_PERMUTED:
        return [order for order in itertools.permutations(plain) if order != plain]
    swapped = [(*plain[:q], q + 1, q, *plain[q + 2 :]) for q in range(n_codebooks - 1)]
    return [*swapped, plain[::-1]]


def _id_layouts(model: CausalUnitLM, declared: UnitVocabulary, clips: Sequence[Codes]) -> Iterator[Alternative]:
    sizes = declared.codebook_sizes
    first, n = int(declared.unit_ids[0]), len(sizes)
    if len(set(sizes)) == 1:
        interleaved = _replaced(declared, tables=tuple(first + np.arange(sizes[0]) * n + q for q in range(n)))
        if interleaved is not None:
            yield from _on_same_codes(
                "ids interleaved",
                f"code c of codebook q probably has the id {first} + c x {n} + q: name the tokens with "
                "`sequence.codes` in place of an offset, or convert the embedding",
                model,
                interleaved,
                clips,
            )
    for order in _permutations(n):
        tables = tuple(declared.tables[q] for q in order)
        named = ", ".join(map(str, order))
        if tuple(map(len, tables)) == sizes:
            permuted = _replaced(declared, tables=tables)
            if permuted is not None:
                yield from _on_same_codes(
                    f"codebooks have each other's ids ({named})",
                    "the codebooks' blocks of ids probably come in this order in the model's vocabulary, while frames "
                    "are laid out as declared: name the tokens with `sequence.codes`",
                    model,
                    permuted,
                    clips,
                )
        own_ids = _replaced(declared, tables=tables)
        if own_ids is not None:
            columns = list(order)
            yield Alternative(
                f"codebooks in the order {named} within a frame",
                "frames were probably laid out in this order in training, each codebook with its own ids: let the "
                "tokenizer give its codebooks in this order, and `sequence.codes` their tokens",
                _with(model, own_ids),
                [Codes(codes.codes[:, columns], codes.durations) for codes in clips],
                [identity(codes)[:, columns] for codes in clips],
            )


def _orders(model: SpokenLM, info: TokenizerInfo, clips: Sequence[Codes]) -> Iterator[Alternative]:
    """The tokenizer's codebooks swapped: ids and places follow their number."""
    for order in _permutations(info.n_codebooks):
        columns = list(order)
        if tuple(info.codebook_sizes[q] for q in order) == info.codebook_sizes:
            named = ", ".join(map(str, order))
            yield Alternative(
                f"the tokenizer's codebooks in the order {named}",
                f"the model's codebooks 0, 1 ... are probably the tokenizer's {named}: let the tokenizer give them in "
                "that order",
                model,
                [Codes(codes.codes[:, columns], codes.durations) for codes in clips],
                [identity(codes)[:, columns] for codes in clips],
            )


def _delays(model: SpokenLM, clips: Sequence[Codes]) -> Iterator[Alternative]:
    n = clips[0].codes.shape[1]
    one, stairs = np.minimum(np.arange(n), 1), np.arange(n)
    patterns = [
        ("codebooks after the first one frame later", one),
        ("codebooks after the first one frame earlier", 1 - one),
    ]
    if n > 2:
        patterns += [
            ("each codebook one frame later than the one before", stairs),
            ("each codebook one frame earlier than the one before", stairs[::-1]),
        ]
    for what, delays in patterns:
        longest = int(delays.max())
        if min(len(codes.codes) for codes in clips) <= longest + 1:
            continue
        rows = [np.arange(longest, len(codes.codes))[:, None] - delays for codes in clips]
        columns = np.arange(n)
        yield Alternative(
            what,
            "the model was probably trained with its codebooks delayed against each other: it needs a tokenizer or a "
            "class of its own that lays them out so (`frame` stays that of the frame that a code decodes to)",
            model,
            [Codes(codes.codes[row, columns], None) for codes, row in zip(clips, rows, strict=True)],
            [identity(codes)[row, columns] for codes, row in zip(clips, rows, strict=True)],
        )


def _runs(model: SpokenLM, info: TokenizerInfo, clips: Sequence[Codes]) -> Alternative:
    if info.deduplicated:
        return Alternative(
            "every frame's unit, runs not merged",
            "the model was probably trained on units that are not de-duplicated: set `deduplicate: false` in the "
            "tokenizer's block",
            model,
            [Codes(np.repeat(codes.codes, codes.frame_counts(), axis=0), None) for codes in clips],
            None,
        )
    return Alternative(
        "runs of equal units merged",
        "the model was probably trained on de-duplicated units: set `deduplicate: true` in the tokenizer's block",
        model,
        [Codes(deduplicate(codes.codes[:, 0]).codes, None) for codes in clips],
        None,
    )
