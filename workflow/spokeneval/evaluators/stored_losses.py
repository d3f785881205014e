"""Published per-token losses, read as the tables that `views.evaluate` takes in place of a model's own.

Conventions
-----------
- The layout is that of the SALMon losses published with arXiv 2601.06329: JSON lines or parquet, one item a row, keys
  `{positive|negative}_sample_tokenwise_loss` and, where they are, `{positive|negative}_continuation_tokenwise_loss`;
  `postive_` is their own spelling and is read too. `ind` stands for `index`, `model_sampling_rate` for `sample_rate`
  in the parquet files of the hub.
- loss[i] = -log p(x_{i+1} | x_<=i) in nats; where a loss lies is said by a `StoredLayout` (for Llama-Mimi with its one
  leading mark: loss index 1 + n_codebooks * t + q).
- Ids are not published: every target is -1, so no two of them count as equal.
- The frame rate is the tokenizer's. The stored `code_frame_rate` is rounded down (12.5 Hz as 12) and not used.
- The transition is `audio_transition_s` where a row has it (samples at 16 kHz, despite its name). Else it is the stored
  common prefix of both members' audio; half of the positive where the prefix cannot be had from the samples (room: the
  halves of the negatives were normalised by themselves); none on alignment tasks.
- De-duplicated units: durations are the lengths of the runs in `*_raw_units`, which are from before it.
- `code_depth` and `sample_rate` must be those of the layout: losses of another tokenizer are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from spokeneval.errors import SpokenevalError
from spokeneval.item_table import Row, read_lines
from spokeneval.models.stored_layout import StoredLayout
from spokeneval.tables import FAILED, LIKELIHOOD, OK, PAIRS
from spokeneval.tokenizers.base import TokenizerInfo, deduplicate

Transition = Literal["prefix", "half", "none"]

SALMON_TRANSITIONS: Mapping[str, Transition] = {
    "sentiment_consistency": "prefix",
    "speaker_consistency": "prefix",
    "gender_consistency": "prefix",
    "bg_domain_consistency": "prefix",
    "bg_all_consistency": "prefix",
    "rir_consistency": "half",
    "sentiment_alignment": "none",
    "bg_alignment": "none",
}

LLAMA_MIMI = StoredLayout(TokenizerInfo(24_000, 1_920, (2_048,) * 4, deduplicated=False, causal=True))
"""<bos> is fed, <audio> is scored, then four codebooks a frame, then </audio>."""

SCORED_ROLES = ("positive", "negative", "continuation_positive", "continuation_negative")
AT_16_KHZ = 16_000


class StoredLosses(NamedTuple):
    pairs: pl.DataFrame
    """In the schema PAIRS; clip ids are names, for there is no audio. Every item is its own cluster."""
    likelihood: pl.DataFrame
    """In the schema LIKELIHOOD."""
    lengths: pl.DataFrame
    """clip_id, n_samples at the tokenizer's rate, from the number of frames."""


@dataclass(frozen=True)
class Record:
    """One item as it was published."""

    where: str
    """File and row, for messages."""
    task: str
    index: int
    sample_rate: int
    """Hz of the audio that was encoded."""
    values: Row


def read_stored_losses(
    paths: Sequence[Path], layout: StoredLayout, transitions: Mapping[str, Transition] = SALMON_TRANSITIONS
) -> StoredLosses:
    """Read published losses.

    transitions: task -> how its transition is known. Raises SpokenevalError naming file and line where a line is not of
    the layout; an item with a loss that is not a number is a failed row.
    """
    pairs: list[Row] = []
    scored: dict[str, Row] = {}
    for record in read_records(paths):
        check_grid(record, layout.info)
        pairs.append(pair_of(record, transitions))
        for role in SCORED_ROLES:
            losses = losses_of(record.values, role)
            clip = pairs[-1][role]
            if losses is not None and clip is not None:
                columns = columns_of(losses, layout, runs_of(record, role, layout.info), record.where)
                row = dict.fromkeys(LIKELIHOOD.arrow.names) | {"clip_id": clip, "context": "full", "cut_frame": -1}
                scored[clip] = row | columns
    lengths = {
        clip: (max(row["frame"] or [-1]) + 1) * layout.info.hop_samples
        for clip, row in scored.items()
        if row["status"] == OK
    }
    return StoredLosses(
        _frame(PAIRS.from_rows(pairs)),
        _frame(LIKELIHOOD.from_rows(list(scored.values()))),
        pl.DataFrame(
            {"clip_id": list(lengths), "n_samples": list(lengths.values())},
            schema={"clip_id": pl.String, "n_samples": pl.Int64},
        ),
    )


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def read_records(paths: Sequence[Path]) -> list[Record]:
    """All items of these files or folders. Raises SpokenevalError for a row that lacks what every item has."""
    return [record_of(line.where, line.values) for path in paths for line in read_lines(path)]


def is_published(values: Row) -> bool:
    """True where a row has the keys of this layout."""
    return any(losses_of(values, role) is not None for role in SCORED_ROLES)


def record_of(where: str, values: Row) -> Record:
    """A row under the names of the published JSON lines."""
    other_names = {"ind": "index", "model_sampling_rate": "sample_rate"}
    named = {new: values[old] for old, new in other_names.items() if values.get(old) is not None} | {
        key: value for key, value in values.items() if value is not None
    }
    missing = [key for key in ("task", "index", "sample_rate", "code_depth") if key not in named]
    missing += [f"{role}_sample_tokenwise_loss" for role in ("positive", "negative") if losses_of(named, role) is None]
    if missing:
        raise SpokenevalError(f"{where}: lacks {', '.join(missing)}")
    try:
        return Record(where, str(named["task"]), int(named["index"]), int(named["sample_rate"]), named)
    except (TypeError, ValueError):
        raise SpokenevalError(
            f"{where}: index is {named['index']!r}, sample_rate {named['sample_rate']!r}; expected whole numbers"
        ) from None


def losses_of(values: Row, role: str) -> list[float] | None:
    """The array of a role; None where the record has none."""
    sign = role.rpartition("_")[2]
    what = "continuation" if role.startswith("continuation") else "sample"
    for spelling in (sign, sign.replace("positive", "postive")):
        losses = values.get(f"{spelling}_{what}_tokenwise_loss")
        if losses is not None:
            return [float("nan") if loss is None else float(loss) for loss in losses]
    return None


def runs_of(record: Record, role: str, info: TokenizerInfo) -> list[int] | None:
    """Frames of each unit, from the units before de-duplication; None where the tokenizer does not de-duplicate."""
    if not info.deduplicated:
        return None
    sign = role.rpartition("_")[2]
    what = "continuation" if role.startswith("continuation") else "sample"
    for spelling in (sign, sign.replace("positive", "postive")):
        units = record.values.get(f"{spelling}_{what}_raw_units")
        if units is not None:
            durations = deduplicate(np.asarray(units, np.int32)).durations
            return None if durations is None else [int(n) for n in durations]
    raise SpokenevalError(
        f"{record.where}: lacks {sign}_{what}_raw_units, from which the durations of de-duplicated units are known"
    )


def check_grid(record: Record, info: TokenizerInfo) -> None:
    """Raises SpokenevalError where the losses are those of another tokenizer."""
    found = (record.sample_rate, record.values["code_depth"])
    expected = (info.sample_rate, info.n_codebooks)
    if found != expected:
        raise SpokenevalError(f"{record.where}: sample_rate and code_depth are {found}; the layout expects {expected}")


def pair_of(record: Record, transitions: Mapping[str, Transition]) -> Row:
    """The row of the pairs table. Raises SpokenevalError where it is not known where the prompt ends."""
    name = f"{record.task}/{record.index}"
    cut, rate = _transition(record, transitions)
    usable = cut is None or cut > 0
    roles = ("prompt", "positive", "negative", "continuation_positive", "continuation_negative")
    have = roles if cut is not None else ("positive", "negative")
    return {
        "item_id": name,
        "task": record.task,
        "index": record.index,
        "cluster": name,
        "fold": "ab"[record.index % 2],
        "transition": cut if usable else None,
        "sample_rate": rate,
        **{role: f"{name}/{role}" if usable and role in have else None for role in roles},
        "labels": "{}",
        "sources": "{}",
        "seed": None,
        "status": OK if usable else FAILED,
        "reason": None if usable else "the members share no sample, so there is no prompt",
    }


def _transition(record: Record, transitions: Mapping[str, Transition]) -> tuple[int | None, int]:
    """The first sample after the prompt, and the rate at which it is counted."""
    stored = record.values.get("audio_transition_s")
    if stored is not None:
        return int(stored), AT_16_KHZ
    if record.task not in transitions:
        raise SpokenevalError(
            f"{record.where}: it is not known where the prompts of task '{record.task}' end; "
            f"known: {', '.join(transitions)}"
        )
    known = transitions[record.task]
    if known == "none":
        return None, record.sample_rate
    key = {"prefix": "positive_negative_common_audio_prefix_length", "half": "positive_sample_audio_length"}[known]
    if record.values.get(key) is None:
        raise SpokenevalError(f"{record.where}: lacks {key}, from which the transition is known")
    return int(record.values[key]) // (2 if known == "half" else 1), record.sample_rate


def columns_of(
    losses: Sequence[float], layout: StoredLayout, durations: Sequence[int] | None, where: str, first_frame: int = 0
) -> Row:
    """The likelihood columns of one array; those of a failed row where a loss is not a number."""
    columns = layout.columns(losses, durations, where, first_frame)
    return with_losses(columns, layout.scored(losses))


def with_losses(columns: Row, values: np.ndarray[Any, Any]) -> Row:
    """Columns with their log-probabilities; those of a failed row where a loss is not finite."""
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        reason = f"{n_bad} of {len(values)} losses are not finite"
        return dict.fromkeys(columns) | {"status": FAILED, "reason": reason}
    logprob = [float(v) for v in -values]
    return columns | {"logprob": logprob, "logprob_legal": logprob, "status": OK, "reason": None}
