"""Likelihood: the log-probability of every scored position of every clip that an item needs.

Conventions
-----------
- Natural logarithms, float32, one value a scored position; sums and means are taken later, by `evaluators`.
- Contexts. 'full': a clip from its beginning, with nothing before it but the model's BOS string. Positives, negatives
  and both continuations are scored so; a continuation's own clip gives the re-tokenised unconditional term. 'kept': the
  positive's and the negative's own tokens from the cut on, with the prompt dropped from the context.
- The cut frame is the first frame that ends after the transition: the least f with
  (f + 1) * hop / tokenizer rate > transition / clip rate, in integers (the `overlap` rule). Of de-duplicated units
  the run that covers this frame is kept whole.
- Equal sequences are forwarded once, and equal contexts have equal values (`prefixes`): ties are exact. A model that is
  `one_at_a_time` (half precision, where the last bits depend on the batch, beside a script that runs one clip at a
  time) is forwarded clip by clip, and only whole sequences share their values.
- Values of one sequence in two batches differ by rounding, at most 1e-4 nats a token in float32.
- A clip that has no codes, exceeds the context or gives NaN alone is a failed row with its reason. Out of memory halves
  the batch; for one clip alone it is raised, so that the next run tries again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spokeneval.batching import Halving, unfinished
from spokeneval.errors import ArtefactError, ItemError
from spokeneval.models.base import LogProbs, ScoredSequence, SpokenLM
from spokeneval.prefixes import PrefixIndex
from spokeneval.tables import FAILED, LIKELIHOOD, OK, write_table
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokens import iterate_codes

if TYPE_CHECKING:
    from spokeneval.store import PartStore

FULL, KEPT = "full", "kept"
NO_CUT = -1
FULL_ROLES = ("positive", "negative", "continuation_positive", "continuation_negative")
KEPT_ROLES = ("positive", "negative")

Key = tuple[str, str, int]
"""(clip_id, context, cut_frame), the key of the table."""

EncodedClips = Mapping[str, Codes | ItemError]


@dataclass(frozen=True)
class Scored:
    """What a run of this stage did. Nothing of it enters the table."""

    keys: list[Key]
    """The rows that the dataset needs, in order."""
    n_forwarded: int
    """Sequences that went through the model now."""
    n_reused: int
    """Rows that the store had already."""
    n_failed: int
    """Failed rows among `keys`, old and new."""
    n_truncated: int
    """Sequences of now that lost their oldest frames to the model's context."""


def codes_by_clip(tokens: pl.DataFrame, tokenizer: TokenizerInfo) -> dict[str, Codes | ItemError]:
    """A tokens table as codes by clip_id; the ItemError in place of codes where a clip failed."""
    return dict(iterate_codes(tokens, tokenizer))


def cut_frame(transition: int, sample_rate: int, tokenizer: TokenizerInfo) -> int:
    """The first frame that ends after the transition (samples at sample_rate)."""
    return transition * tokenizer.sample_rate // (sample_rate * tokenizer.hop_samples)


def needed(pairs: pl.DataFrame, tokenizer: TokenizerInfo, contexts: Iterable[str]) -> list[Key]:
    """The keys that usable items need, each once, in order."""
    keys: set[Key] = set()
    wanted = set(contexts)
    if unknown := wanted - {FULL, KEPT}:
        raise ValueError(f"unknown contexts {sorted(unknown)}; known: {FULL}, {KEPT}")
    for pair in pairs.filter(pl.col("status") == OK).iter_rows(named=True):
        if FULL in wanted:
            keys.update((pair[role], FULL, NO_CUT) for role in FULL_ROLES if pair[role] is not None)
        if KEPT in wanted and pair["transition"] is not None:
            cut = cut_frame(pair["transition"], pair["sample_rate"], tokenizer)
            keys.update((pair[role], KEPT, cut) for role in KEPT_ROLES)
    return sorted(keys)


def score_dataset(
    model: SpokenLM,
    pairs: pl.DataFrame,
    tokens: EncodedClips,
    tokenizer: TokenizerInfo,
    store: PartStore,
    contexts: Sequence[str] = (FULL, KEPT),
    max_batch_tokens: int = 8192,
    progress: Callable[[int], None] | None = None,
) -> Scored:
    """Score what the store does not hold yet; every batch is a part of the store as soon as it is done.

    tokens: see `codes_by_clip`. max_batch_tokens: tokens of a batch after padding.
    progress: told how many more rows are done; first of those that the store had.
    Raises ArtefactError where a clip is not in `tokens`; what the model raises, but for ItemError.
    """
    keys = needed(pairs, tokenizer, contexts)
    if absent := sorted({key[0] for key in keys} - set(tokens)):
        raise ArtefactError(f"the tokens table lacks {len(absent)} clips, e.g. {absent[0]}; run the workflow again")
    done = store.done() & set(keys)
    report = progress or (lambda n: None)
    report(len(done))

    sequences: dict[Key, ScoredSequence] = {}
    failed: list[dict[str, Any]] = []
    for key in keys:
        try:
            sequences[key] = _sequence(model, key, tokens)
        except ItemError as error:
            if key not in done:
                failed.append(failed_row(key, error))
    store.write(failed)
    report(len(failed))

    alone = bool(getattr(model, "one_at_a_time", False))
    index, n_failed_before = _index_of(store, [key for key in keys if key in done], sequences, share=not alone)
    forward = Halving(
        _one_by_one(model) if alone else model.logprobs,
        cost=lambda batch: len(batch) * max(len(sequence.input_ids) for sequence in batch),
    )
    missing = set(sequences) - done
    n_forwarded = n_failed = 0
    for batch in unfinished(list(sequences), lambda key: len(sequences[key].input_ids), max_batch_tokens, missing):
        fresh = {sequences[key].input_ids.tobytes(): sequences[key] for key in batch if not index.find(sequences[key])}
        errors: dict[bytes, ItemError] = {}
        for sequence, result in forward(list(fresh.values())) if fresh else ():
            n_forwarded += 1
            if isinstance(result, ItemError):
                errors[sequence.input_ids.tobytes()] = result
            else:
                index.add(sequence, result)
        rows = [_row(key, sequences[key], index, errors) for key in batch]
        n_failed += sum(row["status"] == FAILED for row in rows)
        store.write(rows)
        report(len(batch))
    return Scored(
        keys=keys,
        n_forwarded=n_forwarded,
        n_reused=len(done),
        n_failed=n_failed_before + len(failed) + n_failed,
        n_truncated=sum(sequences[key].n_dropped_frames > 0 for key in missing),
    )


def _one_by_one(model: SpokenLM) -> Callable[[Sequence[ScoredSequence]], list[LogProbs]]:
    return lambda batch: [model.logprobs([sequence])[0] for sequence in batch]


def _sequence(model: SpokenLM, key: Key, tokens: EncodedClips) -> ScoredSequence:
    clip_id, context, cut = key
    codes = tokens[clip_id]
    if isinstance(codes, ItemError):
        raise codes
    return model.sequence(codes) if context == FULL else model.kept(codes, cut)


def _index_of(
    store: PartStore, done: Sequence[Key], sequences: Mapping[Key, ScoredSequence], share: bool
) -> tuple[PrefixIndex, int]:
    """The results that the store holds, and how many of its rows failed."""
    index, n_failed = PrefixIndex(share), 0
    table = store.collect(done)
    names = [*LIKELIHOOD.key, "status", "logprob", "logprob_legal"]
    for row in pl.DataFrame(table.select(names)).sort(LIKELIHOOD.key).iter_rows(named=True):
        sequence = sequences.get((row["clip_id"], row["context"], row["cut_frame"]))
        if row["status"] != OK or sequence is None:
            n_failed += 1
            continue
        index.add(
            sequence,
            LogProbs(np.asarray(row["logprob"], np.float32), np.asarray(row["logprob_legal"], np.float32)),
        )
    return index, n_failed


def _row(key: Key, sequence: ScoredSequence, index: PrefixIndex, errors: Mapping[bytes, ItemError]) -> dict[str, Any]:
    values = index.find(sequence)
    return (
        failed_row(key, errors[sequence.input_ids.tobytes()]) if values is None else scored_row(key, sequence, values)
    )


def scored_row(key: Key, sequence: ScoredSequence, result: LogProbs) -> dict[str, Any]:
    """The row of a clip that was scored."""
    return {
        **dict(zip(LIKELIHOOD.key, key, strict=True)),
        "logprob": result.logprob,
        "logprob_legal": result.legal,
        "target": sequence.target.astype(np.int32),
        "kind": sequence.kind,
        "stream": sequence.stream,
        "codebook": sequence.codebook,
        "frame": sequence.frame,
        "n_frames": sequence.n_frames,
        "step": sequence.step,
        "status": OK,
        "reason": None,
    }


def failed_row(key: Key, error: ItemError) -> dict[str, Any]:
    """The row of a clip that cannot be scored."""
    empty = dict.fromkeys(LIKELIHOOD.arrow.names)
    return {**empty, **dict(zip(LIKELIHOOD.key, key, strict=True)), "status": FAILED, "reason": str(error)}


def write(
    path: Path,
    store: PartStore,
    keys: Sequence[Key],
    model_name: str,
    model: SpokenLM,
    tokenizer: TokenizerInfo,
) -> None:
    """The declared table: the rows of these keys, under the store's identity.

    Nothing that varies from run to run is in it: the same work gives the same bytes.
    """
    extra = {"tokenizer": tokenizer.to_dict(), "streams": list(model.streams), "model": model_name}
    write_table(path, store.collect(keys), LIKELIHOOD, store.identity, extra)
