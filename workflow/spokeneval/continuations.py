"""Continuations: what a model says after each prompt, as sound.

Conventions
-----------
- A prompt is a clip of its own: its codes come from the prompt's audio alone. Nothing here reads a positive, a negative
  or a continuation of the dataset.
- New frames: the smallest whole number that lasts `new_s` seconds. With `min_new_s` below it a model may end sooner,
  after the smallest whole number that lasts min_new_s; a row that ended is shorter, and no other row is changed.
- Where every step is one frame, the end of the prompt (as much as the vocoder's `history_s` says, all for codecs with a
  long memory) and the continuation are decoded together, and the prompt's frames x hop samples are cut off: phases and
  filter memories would otherwise start from nothing at the join.
  De-duplicated units last as long as the vocoder decides, so the prompt's part is unknown: they are decoded alone.
- Noise is keyed by (seed, clip_id, sample_index) and step: neither batch nor order changes a continuation.
- `seconds` is the length of the sound. `flags` says whether it loops or repeats its prompt, by its codes
  (`repetition`); null where nothing can be heard.
- Status, first that applies: 'failed' (the reason says why), 'empty' (nothing new), 'too_short' (< 0.5 s), 'silent'
  (RMS < 1e-4), 'clipped' (more than 1 % of samples at or above full scale before they were scaled to fit), 'ok'.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spokeneval.audio import Waveform, make_clip, rms
from spokeneval.batching import Halving, unfinished
from spokeneval.errors import ArtefactError, ItemError
from spokeneval.models.base import Decoding, Prompt, SpokenLM
from spokeneval.repetition import flags_of_codes
from spokeneval.tables import CONTINUATIONS, FAILED, OK, write_batches
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.vocoders.base import Vocoder, sample_rate_of

if TYPE_CHECKING:
    from spokeneval.store import PartStore

SHORTEST_S = 0.5
SILENCE_RMS = 1e-4
FULL_SCALE = 32767 / 32768
CLIPPED_SHARE = 0.01
UNHEARD = ("empty", "silent", FAILED)
"""Statuses of what cannot be heard, and has no flags."""

Key = tuple[str, int]
"""(clip_id, sample_index), the key of the table."""


@dataclass(frozen=True)
class Continued:
    """What a run of this stage did. Nothing of it enters the table."""

    keys: list[Key]
    """The rows that the dataset needs, in order."""
    n_generated: int
    """Continuations that were made now."""
    n_reused: int
    """Rows that the store had already."""
    n_by_status: dict[str, int]
    """Rows among `keys` by status, old and new."""


def n_new_frames(new_s: float, tokenizer: TokenizerInfo) -> int:
    """The smallest number of frames that lasts new_s seconds; exact for decimal fractions."""
    return math.ceil(Fraction(str(new_s)) * tokenizer.sample_rate / tokenizer.hop_samples)


def n_least_frames(decoding: Decoding, tokenizer: TokenizerInfo) -> int | None:
    """The frames after which a model may end by itself; None where it may not."""
    if decoding.min_new_s is None or decoding.min_new_s >= decoding.new_s:
        return None
    return n_new_frames(decoding.min_new_s, tokenizer)


def needed(pairs: pl.DataFrame, samples_per_item: int) -> list[Key]:
    """The keys that usable items need: every prompt once, however many items begin with it, and every sample."""
    prompts = sorted(set(pairs.filter(pl.col("status") == OK)["prompt"].drop_nulls()))
    return [(clip_id, sample) for clip_id in prompts for sample in range(samples_per_item)]


def continue_dataset(
    model: SpokenLM,
    tokenizer: Tokenizer,
    vocoder: Vocoder,
    pairs: pl.DataFrame,
    tokens: Mapping[str, Codes | ItemError],
    store: PartStore,
    decoding: Decoding,
    batch_size: int = 48,
    progress: Callable[[int], None] | None = None,
) -> Continued:
    """Continue every prompt; every batch is a part of the store as soon as it is done.

    tokens: see `likelihood.codes_by_clip`; only those of prompts are read.
    batch_size: prompts that are continued at once.
    progress: told how many more continuations are done; first of those that the store had.
    Raises ArtefactError where a prompt is not in `tokens`; what model and vocoder raise, but for ItemError.
    """
    keys = needed(pairs, decoding.samples_per_item)
    prompts = sorted({clip_id for clip_id, _ in keys})
    if absent := [clip_id for clip_id in prompts if clip_id not in tokens]:
        raise ArtefactError(f"the tokens table lacks {len(absent)} prompts, e.g. {absent[0]}; run the workflow again")
    codes = {clip_id: tokens[clip_id] for clip_id in prompts}
    done = store.done() & set(keys)
    report = progress or (lambda n: None)
    report(len(done))

    usable = {clip_id: Prompt(clip_id, found) for clip_id, found in codes.items() if isinstance(found, Codes)}
    unusable = [key for key in keys if key[0] not in usable and key not in done]
    store.write([_failed(key, None, decoding, f"the prompt has no codes: {codes[key[0]]}") for key in unusable])
    report(len(unusable))

    n_frames, min_frames = n_new_frames(decoding.new_s, tokenizer.info), n_least_frames(decoding, tokenizer.info)
    n_generated = 0
    for sample_index in range(decoding.samples_per_item):
        # Prompts of like lengths share a batch; a batch is counted in prompts.
        work = [(clip_id, sample_index) for clip_id in sorted(usable, key=lambda name: len(usable[name].codes.codes))]
        generate = _generator(model, n_frames, decoding, sample_index, min_frames)
        for batch in unfinished(work, lambda key: 1, batch_size, set(work) - done):
            rows = []
            for prompt, new in generate([usable[clip_id] for clip_id, _ in batch]):
                rows.append(_row(prompt, new, sample_index, tokenizer, vocoder, decoding))
                report(1)
            store.write(rows)
            n_generated += len(rows)
    by_status = dict(Counter(store.collect(keys, ["status"])["status"].to_pylist()).most_common())
    return Continued(keys=keys, n_generated=n_generated, n_reused=len(done), n_by_status=by_status)


def _generator(
    model: SpokenLM, n_frames: int, decoding: Decoding, sample_index: int, min_frames: int | None
) -> Halving[Prompt, Codes]:
    least = {} if min_frames is None else {"min_frames": min_frames}

    def call(prompts: Sequence[Prompt]) -> list[Codes]:
        return model.continue_(prompts, n_frames, decoding, sample_index, **least)

    return Halving(call)


def decode_new(prompt: Codes, new: Codes, tokenizer: Tokenizer, vocoder: Vocoder) -> Waveform:
    """The sound of a continuation alone: (n_samples,) at the vocoder's rate. Raises ItemError as the vocoder does."""
    if tokenizer.info.deduplicated:
        return vocoder.decode(new, tokenizer)
    n_history = prompt.n_frames
    if vocoder.history_s is not None:
        n_history = min(n_history, n_new_frames(vocoder.history_s, tokenizer.info))
    both = Codes(np.concatenate([prompt.codes[prompt.n_frames - n_history :], new.codes]), None)
    sample_rate = sample_rate_of(vocoder, tokenizer.info)
    n_prompt = n_history * tokenizer.info.hop_samples * sample_rate // tokenizer.info.sample_rate
    return vocoder.decode(both, tokenizer)[n_prompt:]


def status_of(waveform: Waveform, sample_rate: int) -> tuple[str, str | None]:
    """Status and reason of a continuation, see the module."""
    seconds = len(waveform) / sample_rate
    level = rms(waveform)
    clipped = float(np.mean(np.abs(waveform) >= FULL_SCALE)) if len(waveform) else 0.0
    if len(waveform) == 0:
        return "empty", "no new samples"
    if seconds < SHORTEST_S:
        return "too_short", f"{seconds:.3f} s; expected {SHORTEST_S} s or more"
    if level < SILENCE_RMS:
        return "silent", f"RMS {level:.1e}; expected {SILENCE_RMS:.0e} or more"
    if clipped > CLIPPED_SHARE:
        return "clipped", f"{100 * clipped:.1f} % of samples at or above full scale"
    return OK, None


def _row(
    prompt: Prompt,
    new: Codes | ItemError,
    sample_index: int,
    tokenizer: Tokenizer,
    vocoder: Vocoder,
    decoding: Decoding,
) -> dict[str, Any]:
    key = (prompt.clip_id, sample_index)
    if isinstance(new, ItemError):
        return _failed(key, prompt.codes, decoding, str(new))
    row = _failed(key, prompt.codes, decoding, "")
    row |= {"codes": new.codes.reshape(-1), "durations": new.durations}
    if len(new.codes) == 0:
        return row | {"status": "empty", "reason": "the model said nothing: no whole step of new codes"}
    try:
        waveform = decode_new(prompt.codes, new, tokenizer, vocoder)
    except ItemError as error:
        return row | {"reason": str(error)}
    if not np.isfinite(waveform).all():
        return row | {"reason": f"the vocoder gave {int((~np.isfinite(waveform)).sum())} NaN or infinite samples"}
    sample_rate = sample_rate_of(vocoder, tokenizer.info)
    status, reason = status_of(waveform, sample_rate)
    row |= {"status": status, "reason": reason}
    if len(waveform) == 0:
        return row
    clip = make_clip(waveform, sample_rate)
    return row | {
        "seconds": clip.n_samples / clip.sample_rate,
        "flags": None if status in UNHEARD else flags_of_codes(prompt.codes, new, tokenizer.info),
        "audio": {"bytes": clip.flac, "path": f"{clip.clip_id[:16]}.flac"},
        "sample_rate": clip.sample_rate,
        "n_samples": clip.n_samples,
        "pcm_sha256": clip.clip_id,
    }


def _failed(key: Key, prompt: Codes | None, decoding: Decoding, reason: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(CONTINUATIONS.arrow.names),
        "clip_id": key[0],
        "sample_index": key[1],
        "seed": decoding.seed,
        "prompt_codes": None if prompt is None else prompt.codes.reshape(-1),
        "status": FAILED,
        "reason": reason,
    }


def write(
    path: Path,
    store: PartStore,
    keys: Iterable[Key],
    model_name: str,
    tokenizer: TokenizerInfo,
) -> None:
    """The declared table: the rows of these keys, under the store's identity; the same work gives the same bytes."""
    extra = {"tokenizer": tokenizer.to_dict(), "model": model_name, "flags": "codes"}
    write_batches(path, store.collect_batches(list(keys)), CONTINUATIONS, store.identity, extra)
