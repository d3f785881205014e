"""A model that ran elsewhere: what it scored and what it said, from files. No network is loaded.

Conventions
-----------
- Losses are -log p in nats, one a scored position, of every clip as its own file: `positive`, `negative`, and where
  they are `continuation_positive`, `continuation_negative` (scored without the prompt before them), `kept_positive`,
  `kept_negative` (the clip's own tokens from the cut on, scored with the prompt dropped; see `likelihood`).
- Two kinds of tables, told by their columns: the published layout (`evaluators.stored_losses`), and a long one, a row
  an item and role: `role`, `losses`, and where units are de-duplicated `durations`. Where the losses lie is said by the
  block's `layout` (`models.stored_layout`), or position by position by lists beside `losses`: `frame` (first frame; -1
  for marks), `codebook`, `n_frames`, `kind` (unit, eos, mark), `step`.
- Ids are not known: every target is -1, so ties are those of equal numbers. Nor is the softmax over legal ids.
- What no item has is a pass that the model lacks, with its reason: its evaluators are absent. What one item lacks is a
  failed row. A clip that stands in two items may be given twice; more than SAME_LOSS_NATS apart, it fails.
- Rows of clips that an item does not have (a continuation of an item without a prompt, a failed item) are not used.
- A table whose losses are all 0 or less is refused: those are log-probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.errors import ConfigError, ItemError
from spokeneval.evaluators.stored_losses import (
    SCORED_ROLES,
    check_grid,
    is_published,
    losses_of,
    record_of,
    runs_of,
    with_losses,
)
from spokeneval.item_table import Asked, ItemRow, Line, numbers, read_lines, require, rows_of_items, whole_numbers
from spokeneval.likelihood import FULL, KEPT, NO_CUT, Key, cut_frame, failed_row
from spokeneval.models.generated_audio import ToldAudio, continuation_rows
from spokeneval.models.stored_layout import StoredLayout
from spokeneval.tables import KIND_EOS, KIND_MARK, KIND_UNIT, LIKELIHOOD, OK
from spokeneval.tokenizers.base import TokenizerInfo

Row = dict[str, Any]

KEPT_PREFIX = "kept_"
ROLES = (*SCORED_ROLES, "kept_positive", "kept_negative")
UNUSED_ROLES = ("prompt",)
"""Published beside the others; no evaluator needs them."""
SAME_LOSS_NATS = 0.1
"""What batches of other shapes may change in bfloat16."""

_KINDS = {"unit": KIND_UNIT, "eos": KIND_EOS, "mark": KIND_MARK}
_NO_LEGAL = "the softmax over the ids that are legal at a position is not known of losses from files"


class ToldLosses(NamedTuple):
    rows: list[Row]
    """In the schema LIKELIHOOD."""
    lacks: dict[str, str]
    """What no item has ('retokenise', 'keep', 'legal') -> why."""
    n_left_out: int
    """Rows of the table that are not of this dataset's items."""


@dataclass(frozen=True)
class _Given:
    """The losses of one clip in one context."""

    columns: Row
    values: NDArray[np.float64]
    whose: str


class External:
    """Model kind `external`."""

    streams = ("codes",)

    def __init__(
        self,
        tokenizer: TokenizerInfo,
        losses: Path | None = None,
        generated_audio: Path | None = None,
        prompt_included: bool = False,
        layout: Mapping[str, Any] | None = None,
    ) -> None:
        """losses, generated_audio: see above and `models.generated_audio`. layout: keys of StoredLayout;
        closing_zero None for what the table's kind has.

        Raises ConfigError where there is neither.
        """
        if losses is None and generated_audio is None:
            raise ConfigError("an external model needs `losses`, `generated_audio`, or both")
        self._tokenizer, self._losses = tokenizer, losses
        self._audio, self._prompt_included = generated_audio, prompt_included
        self._layout = dict(layout or {})

    def likelihood(self, pairs: pl.DataFrame, asked: Asked) -> ToldLosses:
        """The rows of the likelihood table. Raises ConfigError for a table that cannot be used as a whole."""
        if self._losses is None:
            raise ConfigError("the model has no `losses`: nothing can be scored")
        lines = read_lines(self._losses)
        published = any(is_published(line.values) for line in lines)
        if published:
            lines = [Line(line.where, record_of(line.where, line.values).values) for line in lines]
        else:
            require(lines, ("role", "losses"), self._losses)
        rows = rows_of_items(lines, pairs, asked, self._losses)
        given: dict[Key, _Given | ItemError] = {}
        read = self._published(rows.rows) if published else self._long(rows.rows)
        for key, found in read:
            given[key] = _joined(given[key], found) if key in given else found
        self._check_sign(given)
        return self._told(pairs, given, rows.n_left_out)

    def continuations(self, pairs: pl.DataFrame, asked: Asked, prompts: Mapping[str, bytes] | None = None) -> ToldAudio:
        """The rows of the continuations table. Raises ConfigError for what cannot be used as a whole.

        prompts: clip_id -> FLAC bytes, of those whose audio is here.
        """
        if self._audio is None:
            raise ConfigError("the model has no `generated_audio`: nothing can be heard")
        return continuation_rows(self._audio, pairs, asked, self._prompt_included, prompts)

    # ------------------------------------------------------------ the two kinds of tables

    def _stored_layout(self, published: bool) -> StoredLayout:
        closing = self._layout.get("closing_zero")
        return StoredLayout(
            self._tokenizer, **{**self._layout, "closing_zero": published if closing is None else closing}
        )

    def _published(self, rows: Sequence[ItemRow]) -> Iterator[tuple[Key, _Given]]:
        layout = self._stored_layout(published=True)
        seen: dict[str, str] = {}
        for row in rows:
            if (first := seen.setdefault(row.item["item_id"], row.where)) != row.where:
                raise ConfigError(f"{row.where}: {_name(row.item)} is there twice, first in {first}")
            record = record_of(row.where, row.values)
            check_grid(record, self._tokenizer)
            for role in SCORED_ROLES:
                losses = losses_of(record.values, role)
                if losses is not None and row.item[role] is not None:
                    columns = layout.columns(losses, runs_of(record, role, self._tokenizer), row.where)
                    key = (row.item[role], FULL, NO_CUT)
                    yield key, _Given(columns, layout.scored(losses), _whose(row.item, role))

    def _long(self, rows: Sequence[ItemRow]) -> Iterator[tuple[Key, _Given]]:
        layout = self._stored_layout(published=False)
        n_frames: dict[str, int] = {}
        seen: dict[tuple[str, str], str] = {}
        for row in sorted(rows, key=lambda row: str(row.values.get("role")).startswith(KEPT_PREFIX)):
            role = row.values.get("role")
            if role in UNUSED_ROLES:
                continue
            if role not in ROLES:
                raise ConfigError(f"{row.where}: role is '{role}'; expected {', '.join(ROLES)}")
            if first := seen.get((row.item["item_id"], role)):
                raise ConfigError(f"{row.where}: {_whose(row.item, role)} is there twice, first in {first}")
            seen[row.item["item_id"], role] = row.where
            losses = numbers(row.values.get("losses"), row.where, "losses")
            kept = role.startswith(KEPT_PREFIX)
            clip = row.item[role.removeprefix(KEPT_PREFIX)]
            if losses is None or clip is None or (kept and row.item["transition"] is None):
                continue
            if row.values.get("frame") is None:
                durations = whole_numbers(row.values.get("durations"), row.where, "durations")
                columns = layout.columns(losses, durations, row.where)
                if kept:
                    columns = self._shifted(row, columns, durations, n_frames.get(clip))
            else:
                columns = self._explicit(row, len(layout.scored(losses)))
            if not kept:
                n_frames[clip] = _n_frames(columns)
            cut = self._cut(row.item) if kept else NO_CUT
            yield (clip, KEPT if kept else FULL, cut), _Given(columns, layout.scored(losses), _whose(row.item, role))

    def _cut(self, item: Row) -> int:
        return cut_frame(item["transition"], item["sample_rate"], self._tokenizer)

    def _shifted(self, row: ItemRow, columns: Row, durations: Sequence[int] | None, n_whole: int | None) -> Row:
        """The columns of a kept array, whose frames were counted from 0, with their place in the whole clip."""
        role = str(row.values["role"])
        if n_whole is None:
            raise ConfigError(f"{row.where}: {role} needs a row {role.removeprefix(KEPT_PREFIX)} of the same item")
        n_kept = _n_frames(columns)
        cut, first = self._cut(row.item), n_whole - n_kept
        if not first <= cut < first + (durations[0] if durations else 1):
            raise ConfigError(
                f"{row.where}: {role} lasts {n_kept} frames of the clip's {n_whole}; expected {n_whole - cut}, from "
                f"the unit that holds frame {cut} on"
            )
        return columns | {"frame": [frame + first if frame >= 0 else frame for frame in columns["frame"]]}

    def _explicit(self, row: ItemRow, n_scored: int) -> Row:
        """Columns from the lists beside `losses`."""
        n_codebooks = self._tokenizer.n_codebooks

        def column(name: str, default: Sequence[int] | None) -> list[int]:
            values = whole_numbers(row.values.get(name), row.where, name)
            if values is None and default is None:
                raise ConfigError(f"{row.where}: lacks {name}, which {n_codebooks} codebooks need beside frame")
            values = list(default or ()) if values is None else values
            if len(values) != n_scored:
                raise ConfigError(f"{row.where}: {name} holds {len(values)} numbers; expected {n_scored}, one a loss")
            return values

        frame = column("frame", None)
        kind = _kinds(row, [KIND_UNIT if f >= 0 else KIND_MARK for f in frame])
        codebook = column("codebook", [0] * n_scored if n_codebooks == 1 else None)
        n_frames = column("n_frames", [1] * n_scored)
        for place in range(n_scored):
            if kind[place] != KIND_UNIT:
                frame[place], codebook[place], n_frames[place] = -1, -1, 0
            elif frame[place] < 0 or n_frames[place] < 1 or not 0 <= codebook[place] < n_codebooks:
                raise ConfigError(
                    f"{row.where}: the unit at place {place} has frame {frame[place]}, n_frames {n_frames[place]}, "
                    f"codebook {codebook[place]}; expected a frame of 0 or more, 1 frame or more, codebooks 0 to "
                    f"{n_codebooks - 1}"
                )
        return {
            "target": [-1] * n_scored,
            "kind": kind,
            "stream": [0] * n_scored,
            "codebook": codebook,
            "frame": frame,
            "n_frames": n_frames,
            "step": column("step", list(range(n_scored))),
        }

    # ------------------------------------------------------------ what is told

    def _check_sign(self, given: Mapping[Key, _Given | ItemError]) -> None:
        values = [found.values for found in given.values() if isinstance(found, _Given)]
        whole = np.concatenate(values) if values else np.zeros(0)
        finite = whole[np.isfinite(whole)]
        if len(finite) and finite.max() <= 0 and finite.min() < 0:
            raise ConfigError(
                f"{self._losses}: all losses are 0 or less; expected -log p in nats, these look like log-probabilities"
            )

    def _told(self, pairs: pl.DataFrame, given: Mapping[Key, _Given | ItemError], n_left_out: int) -> ToldLosses:
        usable = list(pairs.filter(pl.col("status") == OK).sort("task", "index").iter_rows(named=True))
        wanted: dict[Key, str] = {}
        for item in usable:
            for role in SCORED_ROLES:
                if item[role] is not None:
                    wanted.setdefault((item[role], FULL, NO_CUT), _whose(item, role))
        alone = {item[role] for item in usable for role in SCORED_ROLES[2:]} - {None}
        kept: dict[Key, str] = {}
        for item in usable:
            for role in SCORED_ROLES[:2]:
                if item["transition"] is not None:
                    kept[item[role], KEPT, self._cut(item)] = _whose(item, KEPT_PREFIX + role)
        assert self._losses is not None
        table = self._losses.name
        lacks = {"legal": _NO_LEGAL}
        if alone and not any(key[0] in alone for key in given if key[1] == FULL):
            lacks["retokenise"] = f"{table} has no losses of continuations as clips of their own"
            members = {item[role] for item in usable for role in SCORED_ROLES[:2]}
            wanted = {key: whose for key, whose in wanted.items() if key[0] in members}
        if any(key in given for key in kept):
            wanted |= kept
        elif kept:
            lacks["keep"] = f"{table} has no losses with the prompt dropped ({', '.join(ROLES[4:])})"
        rows = [self._row(key, whose, given, table) for key, whose in sorted(wanted.items())]
        return ToldLosses(rows, lacks, n_left_out)

    def _row(self, key: Key, whose: str, given: Mapping[Key, _Given | ItemError], table: str) -> Row:
        found = given.get(key, ItemError(f"{table} has no losses of {whose}"))
        if isinstance(found, ItemError):
            return failed_row(key, found)
        named = dict(zip(LIKELIHOOD.key, key, strict=True))
        return dict.fromkeys(LIKELIHOOD.arrow.names) | named | with_losses(found.columns, found.values)


def _n_frames(columns: Row) -> int:
    """The first frame after the last unit."""
    return int(np.add(columns["frame"], columns["n_frames"]).max(initial=0))


def _whose(item: Row, role: str) -> str:
    return f"{_name(item)}, {role}"


def _name(item: Row) -> str:
    return f"{item['task']}/{item['index']}"


def _joined(first: _Given | ItemError, second: _Given) -> _Given | ItemError:
    """One clip that is given by two items: the first one's losses where they agree."""
    if isinstance(first, ItemError):
        return first
    same = len(first.values) == len(second.values) and first.columns == second.columns
    if same and bool(np.allclose(first.values, second.values, rtol=0, atol=SAME_LOSS_NATS, equal_nan=True)):
        return first
    return ItemError(f"{first.whose} and {second.whose} are one clip, but have different losses")


def _kinds(row: ItemRow, default: list[int]) -> list[int]:
    """The column `kind`, by name."""
    value = row.values.get("kind")
    if value is None or value == "":
        return default
    names = re.findall(r"[^\s,\[\]\"']+", value) if isinstance(value, str) else list(value)
    if len(names) != len(default) or (unknown := set(map(str, names)) - set(_KINDS)):
        what = f"{len(names)} kinds for {len(default)} losses" if len(names) != len(default) else sorted(unknown)[0]
        raise ConfigError(f"{row.where}: kind holds {what}; expected one of {', '.join(_KINDS)} a loss")
    return [_KINDS[str(name)] for name in names]
