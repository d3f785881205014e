"""What the page plays: a few items with prompt, positive, negative and each model's continuation, and their traces.

Conventions
-----------
- Items are drawn by a seed, task by task in turn, among those that did not fail: never picked for what models did.
  Behind them, and marked, come the items that judge, models and evaluators disagree on most (`disagreement`).
- Audio is embedded as the FLAC that the tables hold (a model's continuation without its prompt), item by item
  until the budget is spent; what is left out is counted and said.
- Under a continuation stand its status, its flags, and what the judge of the task said of it, so that one can listen
  and hold the table to it. Of several samples the first is played.
- A trace is the log-probability in nats of the units of a frame, averaged over codebooks, from 0.5 s before the
  transition.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from markupsafe import Markup

from spokeneval import tables
from spokeneval.audio import decode_flac
from spokeneval.report import drawings
from spokeneval.report.disagreement import Disagreement, most_disagreed
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.spectrogram import spectrogram_uri

if TYPE_CHECKING:
    from spokeneval.report.content import Transcript

TRACE_BEFORE_S, TRACE_AFTER_S = 0.5, 1.5


@dataclass(frozen=True)
class Player:
    """One thing to hear, or the reason why it cannot be heard."""

    title: str
    uri: str | None
    """data: URI of a FLAC; None where there is nothing to play."""
    seconds: float | None
    wave: Markup
    reason: str | None = None
    detail: str | None = None
    """Of a continuation: status, flags and the judge's verdict."""
    said: tuple[Transcript, ...] = ()
    """What transcribers wrote of it (`report.content`)."""
    spectrogram: str | None = None
    """data: URI of a log-mel picture"""


@dataclass(frozen=True)
class Trace:
    model: str
    drawing: Markup


@dataclass(frozen=True)
class HeardItem:
    item_id: str
    task: str
    labels: str
    prompt_s: float
    clips: list[Player]
    """Prompt, positive, negative."""
    continuations: list[Player]
    traces: list[Trace]
    picked: bool = False
    """True where it is shown because judge, models and evaluators disagree on it; else drawn by the seed."""


@dataclass
class Listening:
    items: list[HeardItem] = field(default_factory=list)
    n_players: int = 0
    n_left_out: int = 0
    """Clips that did not fit into the budget."""
    embedded_bytes: int = 0


def choose_items(pairs: pl.DataFrame, n_items: int, seed: int) -> pl.DataFrame:
    """n_items usable items with a prompt, one task after the other in turn, in a seeded order within each task."""
    usable = pairs.filter((pl.col("status") == tables.OK) & pl.col("prompt").is_not_null()).sort("task", "index")
    order = np.random.default_rng(seed).permutation(len(usable))
    shuffled = usable.with_columns(_order=pl.Series(order, dtype=pl.Int64))
    turns = shuffled.with_columns(_turn=pl.col("_order").rank("ordinal").over("task"))
    return turns.sort("_turn", "task").head(n_items).sort("task", "_turn").drop("_order", "_turn")


class _Budget:
    def __init__(self, megabytes: float) -> None:
        self.left = megabytes * 1e6
        self.used = 0
        self.n_left_out = 0

    def uri(self, flac: bytes) -> str | None:
        size = 4 * ((len(flac) + 2) // 3)
        if size > self.left:
            self.n_left_out += 1
            return None
        self.left -= size
        self.used += size
        return "data:audio/flac;base64," + base64.b64encode(flac).decode()


def _player(title: str, flac: bytes, budget: _Budget, cut: int | None = None) -> Player:
    samples, rate = decode_flac(flac)
    uri = budget.uri(flac)
    reason = None if uri else "left out: the page's audio budget is spent"
    wave = drawings.waveform(samples, cut)
    return Player(title, uri, len(samples) / rate, wave, reason, spectrogram=spectrogram_uri(samples, rate))


def _audio(path: Path, clip_ids: set[str], columns: list[str]) -> dict[str, dict[str, object]]:
    frame = pl.scan_parquet(path).filter(pl.col("clip_id").is_in(sorted(clip_ids))).select(columns).collect()
    return {str(row["clip_id"]): row for row in frame.iter_rows(named=True)}


def _flac(row: dict[str, object] | None) -> bytes | None:
    audio = row["audio"] if row else None
    return audio["bytes"] if isinstance(audio, dict) else None


def listening(
    inputs: ReportInputs,
    pairs: pl.DataFrame,
    times: dict[str, pl.DataFrame],
    heard_rows: pl.DataFrame,
    judges: dict[str, str],
    disagreed: Disagreement,
) -> Listening:
    """The players and traces of the page.

    times: model -> `positions.unit_times` of it; heard_rows: see `heard.heard_rows`; judges: task -> its judge;
    disagreed: how much is disagreed on each item.
    """
    settings = inputs.settings
    drawn = choose_items(pairs, settings.n_listen_items, settings.seed)
    if drawn.is_empty():
        return Listening()
    playable = pairs.filter((pl.col("status") == tables.OK) & pl.col("prompt").is_not_null())
    left = disagreed.measures.join(playable.select("task", "item_id"), on=["task", "item_id"], how="semi")
    picked = most_disagreed(left, settings.n_disagreed_items, without=drawn)
    chosen = pl.concat([drawn, picked.join(pairs, on=["task", "item_id"]).select(drawn.columns)])
    tables.read_metadata(inputs.clips, tables.CLIPS)
    roles = ("prompt", "positive", "negative")
    clips = _audio(inputs.clips, {clip for role in roles for clip in chosen[role].drop_nulls()}, ["clip_id", "audio"])
    heard: dict[str, dict[str, dict[str, object]]] = {}
    for model, path in inputs.continuations.items():
        tables.read_metadata(path, tables.CONTINUATIONS)
        first = (
            pl.scan_parquet(path)
            .filter(pl.col("clip_id").is_in(chosen["prompt"].to_list()) & (pl.col("sample_index") == 0))
            .select("clip_id", "audio", "status", "reason", "flags")
            .collect()
        )
        heard[model] = {str(row["clip_id"]): row for row in first.iter_rows(named=True)}
    budget = _Budget(settings.audio_budget_mb)
    found = Listening()
    near = {
        model: frame.join(chosen.select("task", "item_id"), on=["task", "item_id"], how="semi")
        for model, frame in times.items()
    }
    judged = heard_rows.filter((pl.col("source") == "model") & (pl.col("sample_index") == 0)).join(
        chosen.select("task", "item_id"), on=["task", "item_id"], how="semi"
    )
    for item in chosen.iter_rows(named=True):
        cut = int(item["transition"])
        players = []
        for role, title in zip(roles, ("Prompt", "Right clip (positive)", "Wrong clip (negative)"), strict=True):
            if item[role] is None:  # a free prompt
                continue
            flac = _flac(clips.get(item[role]))
            if flac is None:
                reason = "not in the clips table" if clips else "the dataset holds losses and no audio"
                players.append(Player(title, None, None, Markup(""), reason))
            else:
                players.append(_player(title, flac, budget, None if role == "prompt" else cut))
        judge = judges.get(item["task"])
        said = {model: rows.get(item["prompt"]) for model, rows in heard.items()}
        continuations = [
            _said(model, row, _judged(judged, item, model, judge), judge, budget) for model, row in said.items()
        ]
        traces = [_trace(model, frame, item, settings.primary_window_s) for model, frame in near.items()]
        found.items.append(
            HeardItem(
                item["item_id"],
                item["task"],
                "; ".join(f"{key} {value}" for key, value in json.loads(item["labels"]).items()),
                cut / item["sample_rate"],
                players,
                continuations,
                [trace for trace in traces if trace is not None],
                len(found.items) >= len(drawn),
            )
        )
        found.n_players += sum(player.uri is not None for player in [*players, *continuations])
    found.n_left_out, found.embedded_bytes = budget.n_left_out, budget.used
    return found


def _judged(judged: pl.DataFrame, item: dict[str, Any], model: str, judge: str | None) -> dict[str, Any] | None:
    """The judging row of a model's first sample for an item, by the task's judge."""
    if judge is None:
        return None
    of_item = (pl.col("task") == item["task"]) & (pl.col("item_id") == item["item_id"])
    rows = judged.filter(of_item & (pl.col("name") == model) & (pl.col("judge") == judge))
    return next(rows.iter_rows(named=True), None)


def _said(
    model: str, row: dict[str, Any] | None, judged: dict[str, Any] | None, judge: str | None, budget: _Budget
) -> Player:
    """The player of a continuation, with what the tables say of it."""
    if row is None:
        return Player(model, None, None, Markup(""), "no continuation of this prompt")
    flac = _flac(row)
    detail = "; ".join(
        [str(row["status"]), *(_FLAGS.get(flag, flag) for flag in row["flags"] or []), *_verdict(judged, judge)]
    )
    if flac is None:
        return Player(model, None, None, Markup(""), row["reason"], detail)
    return replace(_player(model, flac, budget), detail=detail)


_FLAGS = {"loops": "loops", "repeats_prompt": "repeats the prompt"}


def _verdict(judged: dict[str, Any] | None, judge: str | None) -> list[str]:
    if judge is None or judged is None:
        return []
    if judged["verdict"] is None:
        return [f"not judged by {judge}: {judged['reason'] or 'no verdict'}"]
    if judged["margin"] is None:
        return ["counted as wrong"]
    where = {1.0: "nearer to the right one", 0.5: "as near to the right one as to the wrong one"}
    said = where.get(judged["verdict"], "nearer to the wrong one")
    return [f"{said} by {judge}, margin {judged['margin']:+.3f}"]


def _trace(model: str, times: pl.DataFrame, item: dict[str, object], window_s: float) -> Trace | None:
    rows = times.filter((pl.col("task") == item["task"]) & (pl.col("item_id") == item["item_id"]))
    lines = []
    for role in ("positive", "negative"):
        of_role = rows.filter(pl.col("role") == role).sort("start_s")
        lines.append([(s, e, -nll) for s, e, nll in of_role.select("start_s", "end_s", "nll").iter_rows()])
    drawing = drawings.trace(lines[0], lines[1], window_s, -TRACE_BEFORE_S, TRACE_AFTER_S)
    return Trace(model, drawing) if drawing else None
