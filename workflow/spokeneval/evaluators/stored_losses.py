"""Published per-token losses, read as the tables that `views.evaluate` takes in place of a model's own.

Conventions
-----------
- The layout is that of the SALMon losses published with arXiv 2601.06329: JSON lines, one item a line, keys
  `{positive|negative}_sample_tokenwise_loss` and, where they are, `{positive|negative}_continuation_tokenwise_loss`;
  `postive_` is their own spelling and is read too.
- loss[i] = -log p(x_{i+1} | x_<=i) in nats; the array ends in a placeholder 0, which is dropped. What is left are
  leading marks, then units frame-major (with n_leading = 1: loss index 1 + n_codebooks * t + q), then trailing marks.
- Ids are not published: every target is -1, so no two of them count as equal.
- The frame rate is the tokenizer's. The stored `code_frame_rate` is rounded down (12.5 Hz as 12) and not used.
- The transition is the stored common prefix of both members' audio; half of the positive where the prefix cannot be
  had from the samples (room: the halves of the negatives were normalised by themselves); none on alignment tasks.
- `code_depth` and `sample_rate` must be those of the layout: losses of another tokenizer are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from spokeneval.errors import SpokenevalError
from spokeneval.tables import FAILED, KIND_EOS, KIND_MARK, KIND_UNIT, LIKELIHOOD, OK, PAIRS
from spokeneval.tokenizers.base import TokenizerInfo

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


@dataclass(frozen=True)
class StoredLayout:
    """How a model's losses lie in the arrays."""

    info: TokenizerInfo
    n_leading: int
    """Marks before the first unit that are scored."""
    n_trailing: int
    """Marks after the last unit that are scored."""


LLAMA_MIMI = StoredLayout(TokenizerInfo(24_000, 1_920, (2_048,) * 4, deduplicated=False, causal=True), 1, 1)
"""<bos> is fed, <audio> is scored, then four codebooks a frame, then </audio>."""


class StoredLosses(NamedTuple):
    pairs: pl.DataFrame
    """In the schema PAIRS; clip ids are names, for there is no audio. Every item is its own cluster."""
    likelihood: pl.DataFrame
    """In the schema LIKELIHOOD."""
    lengths: pl.DataFrame
    """clip_id, n_samples at the tokenizer's rate, from the number of frames."""


def read_stored_losses(
    paths: Sequence[Path], layout: StoredLayout, transitions: Mapping[str, Transition] = SALMON_TRANSITIONS
) -> StoredLosses:
    """Read published losses.

    transitions: task -> how its transition is known. Raises SpokenevalError naming file and line where a line is not of
    the layout; an item with a loss that is not a number is a failed row.
    """
    pairs: list[dict[str, Any]] = []
    scored: dict[str, dict[str, Any]] = {}
    for path in paths:
        for number, record in _records(path):
            where = f"{path}, line {number}"
            _check(record, layout, transitions, where)
            pairs.append(_pair(record, transitions[record["task"]], where))
            for role in ("positive", "negative", "continuation_positive", "continuation_negative"):
                losses = _losses(record, role)
                if losses is not None and pairs[-1][role] is not None:
                    scored[pairs[-1][role]] = _likelihood_row(pairs[-1][role], losses, layout, where)
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


def _records(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SpokenevalError(f"{path}: cannot be read ({error.strerror}); expected a file of JSON lines") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpokenevalError(f"{path}, line {number}: not JSON ({error.msg} at column {error.colno})") from error
        if not isinstance(record, dict):
            raise SpokenevalError(f"{path}, line {number}: expected a JSON object, got a {type(record).__name__}")
        records.append((number, record))
    return records


def _losses(record: dict[str, Any], role: str) -> list[float] | None:
    """The array of a role; None where the record has none."""
    sign = role.rpartition("_")[2]
    what = "continuation" if role.startswith("continuation") else "sample"
    for spelling in (sign, sign.replace("positive", "postive")):
        losses = record.get(f"{spelling}_{what}_tokenwise_loss")
        if losses is not None:
            return list(losses)
    return None


def _check(record: dict[str, Any], layout: StoredLayout, transitions: Mapping[str, Transition], where: str) -> None:
    needed = ("task", "index", "sample_rate", "code_depth")
    missing = [key for key in needed if record.get(key) is None]
    missing += [f"{role}_sample_tokenwise_loss" for role in ("positive", "negative") if _losses(record, role) is None]
    if missing:
        raise SpokenevalError(f"{where}: lacks {', '.join(missing)}")
    if record["task"] not in transitions:
        raise SpokenevalError(
            f"{where}: it is not known where the prompts of task '{record['task']}' end; "
            f"known: {', '.join(transitions)}"
        )
    found = (record["sample_rate"], record["code_depth"])
    expected = (layout.info.sample_rate, layout.info.n_codebooks)
    if found != expected:
        raise SpokenevalError(f"{where}: sample_rate and code_depth are {found}; the layout expects {expected}")


def _pair(record: dict[str, Any], transition: Transition, where: str) -> dict[str, Any]:
    task, index = str(record["task"]), int(record["index"])
    name = f"{task}/{index}"
    key = {"prefix": "positive_negative_common_audio_prefix_length", "half": "positive_sample_audio_length"}
    cut: int | None = None
    if transition != "none":
        if record.get(key[transition]) is None:
            raise SpokenevalError(f"{where}: lacks {key[transition]}, from which the transition is known")
        cut = int(record[key[transition]]) // (2 if transition == "half" else 1)
    usable = cut is None or cut > 0
    roles = ("prompt", "positive", "negative", "continuation_positive", "continuation_negative")
    have = roles if cut is not None else ("positive", "negative")
    return {
        "item_id": name,
        "task": task,
        "index": index,
        "cluster": name,
        "fold": "ab"[index % 2],
        "transition": cut if usable else None,
        "sample_rate": int(record["sample_rate"]),
        **{role: f"{name}/{role}" if usable and role in have else None for role in roles},
        "labels": "{}",
        "sources": "{}",
        "seed": None,
        "status": OK if usable else FAILED,
        "reason": None if usable else "the members share no sample, so there is no prompt",
    }


def _likelihood_row(clip_id: str, losses: list[float], layout: StoredLayout, where: str) -> dict[str, Any]:
    n_codebooks = layout.info.n_codebooks
    n_units = len(losses) - 1 - layout.n_leading - layout.n_trailing
    if n_units < n_codebooks or n_units % n_codebooks or losses[-1] != 0:
        raise SpokenevalError(
            f"{where}: {len(losses)} losses ending in {losses[-1] if losses else 'nothing'}; expected "
            f"{layout.n_leading} marks, {n_codebooks} a frame, {layout.n_trailing} marks and a closing 0"
        )
    values = np.array(losses[:-1], dtype=np.float64)
    row: dict[str, Any] = dict.fromkeys(LIKELIHOOD.arrow.names)
    row |= {"clip_id": clip_id, "context": "full", "cut_frame": -1, "status": OK}
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        return row | {"status": FAILED, "reason": f"{n_bad} of {len(values)} losses are not finite"}
    n_frames = n_units // n_codebooks
    units = slice(layout.n_leading, layout.n_leading + n_units)

    def placed(of_units: np.ndarray[Any, Any] | int, leading: int, trailing: int) -> list[int]:
        column = np.full(len(values), trailing)
        column[: layout.n_leading] = leading
        column[units] = of_units
        return [int(v) for v in column]

    return row | {
        "logprob": [float(v) for v in -values],
        "logprob_legal": [float(v) for v in -values],
        "target": [-1] * len(values),
        "kind": placed(KIND_UNIT, KIND_MARK, KIND_EOS),
        "stream": [0] * len(values),
        "codebook": placed(np.tile(np.arange(n_codebooks), n_frames), -1, -1),
        "frame": placed(np.repeat(np.arange(n_frames), n_codebooks), -1, -1),
        "n_frames": placed(1, 0, 0),
        "step": list(range(len(values))),
    }
