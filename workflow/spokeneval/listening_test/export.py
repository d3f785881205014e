"""A listening test as a folder: what raters get, what they must not see, and the layouts of other tools.

    for_raters/          index.html and audio/: to be put on a server, or sent as it is
    keep/                manifest.csv, assignment.csv, not_heard.csv, study.yaml: says which system is which
    webmushra/ reseval/ p808/

Conventions
-----------
- A blinded name is drawn from what is heard and what it is (sha256 with the seed): the same sound keeps its name when a
  test is written again, and another sound never gets an old name, so that old answers cannot be taken for new ones.
- Tables (manifest, assignment, not heard) are artefacts beside the folder. A copy of each manifest that was ever
  written stays in `manifests/`, under its identity: votes are joined through the one that raters heard.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from spokeneval.atomic import atomic_path
from spokeneval.config.listening_tests import ListeningTest
from spokeneval.errors import ConfigError
from spokeneval.listening_test import layouts
from spokeneval.listening_test.assignment import assign
from spokeneval.listening_test.layouts import Asked
from spokeneval.listening_test.page import rater_page
from spokeneval.listening_test.questions import QUESTIONS, Question
from spokeneval.listening_test.rendering import Rendered, rate_of, render
from spokeneval.listening_test.schemas import ASSIGNMENT, MANIFEST, NOT_HEARD
from spokeneval.listening_test.selection import ANCHORS, PROMPT, TOP, Sound, choose_items, sounds, tasks_asked
from spokeneval.table_schema import TableSchema

Stored = Callable[[Sound], tuple[bytes, str] | str]
"""A sound -> its FLAC bytes and clip_id, or why it cannot be heard."""
StoredOf = Callable[[pl.DataFrame], Stored]
"""Rows of `pairs` that are heard -> their sounds, so that no others are loaded."""


@dataclass(frozen=True)
class Exported:
    """The tables of a test, and the text that says what was made."""

    manifest: pl.DataFrame
    assignment: pl.DataFrame
    not_heard: pl.DataFrame
    text: str


@dataclass(frozen=True)
class _Heard:
    sound: Sound
    name: str
    rendered: Rendered
    source_sha256: str


def export(
    test_id: str, settings: ListeningTest, pairs: pl.DataFrame, models: list[str], stored_of: StoredOf, folder: Path
) -> Exported:
    """Write the folder of a test and return its tables.

    pairs: the items of the dataset; models: those that can be heard and are asked for; stored_of: loads what is
    heard. Raises ConfigError where no question fits, or no sound of a question can be heard.
    """
    with_prompt = pairs.filter(pl.col("prompt").is_not_null())["task"].unique(maintain_order=True).sort().to_list()
    rows: dict[tuple[Sound, bool], _Heard] = {}
    not_heard: dict[tuple[Any, ...], dict[str, Any]] = {}
    slots: dict[int, list[Asked]] = {slot: [] for slot in range(1, settings.raters + 1)}
    assigned: list[dict[str, Any]] = []
    told: list[str] = []
    chosen = [
        (
            question,
            choose_items(
                pairs,
                tasks_asked(question, with_prompt, settings.tasks, test_id),
                settings.items_per_task,
                settings.seed,
            ),
        )
        for question in (QUESTIONS[name] for name in settings.questions)
    ]
    audio_of = stored_of(pl.concat([items for _, items in chosen]).unique(["task", "item_id"]))
    every = [s for _, items in chosen for s in sounds(items, models, settings.sample_index, settings.anchors)]
    rate = max((rate_of(found[0]) for s in every if not isinstance(found := audio_of(s), str)), default=0)
    if not rate:
        raise ConfigError(f"listening_tests.{test_id}: nothing can be heard of the chosen items; see the continuations")
    for part, (question, items) in enumerate(chosen):
        joined = settings.heard == "prompt_and_continuation" and not question.compares
        systems = [*models, *(ANCHORS if settings.anchors else ())]
        cells: dict[tuple[str, str, str], _Heard] = {}
        for sound in sounds(items, models, settings.sample_index, settings.anchors):
            if sound.system_id == PROMPT and not question.compares:
                continue
            key = (sound, joined)
            if key not in rows:
                made = _render(sound, joined, rate, settings, audio_of, test_id)
                if isinstance(made, str):
                    about = (test_id, sound.system_id, sound.task, sound.item_id, sound.sample_index)
                    not_heard[about] = dict(zip(NOT_HEARD.key, about, strict=True)) | {"reason": made}
                    continue
                rows[key] = made
            cells[sound.task, sound.item_id, sound.system_id] = rows[key]
        keys = items.select("task", "item_id").rows()
        there = [
            [(*item, system) in cells and (not question.compares or (*item, PROMPT) in cells) for system in systems]
            for item in keys
        ]
        square = assign(there, settings.raters, settings.systems_per_item, (settings.seed, part))
        for trial in square.trials:
            item = keys[trial.item]
            reference = cells[(*item, PROMPT)].name if question.compares else None
            asked = Asked(question, cells[(*item, systems[trial.system])].name, reference)
            slots[trial.slot].append(asked)
            place = {"test_id": test_id, "dimension": question.name, "slot": trial.slot, "position": trial.position}
            assigned.append(place | {"blinded_name": asked.blinded_name, "reference_name": reference})
        told.append(_part_in_words(question, len(keys), systems, settings, square.n_replaced, square.n_left_out))
    if not assigned:
        raise ConfigError(f"listening_tests.{test_id}: nothing can be heard of the chosen items; see the continuations")
    heard = list(rows.values())
    manifest = _table(MANIFEST, [_manifest_row(test_id, entry) for entry in heard])
    assignment = _table(ASSIGNMENT, assigned)
    silent = _table(NOT_HEARD, list(not_heard.values()))
    _write(
        folder, test_id, settings, slots, heard, {"manifest": manifest, "assignment": assignment, "not_heard": silent}
    )
    held = sum(entry.rendered.held_back for entry in heard)
    told.append(
        f"{len(heard)} sounds at {rate} Hz, {settings.loudness_lufs:g} LUFS"
        + (f"; {held} of them quieter, as their peaks allow no more" if held else "")
        + (f"; {len(silent)} continuations cannot be heard (not_heard.csv)" if len(silent) else "")
    )
    return Exported(manifest, assignment, silent, "\n".join(told))


def _render(
    sound: Sound, joined: bool, rate: int, settings: ListeningTest, audio_of: Stored, test_id: str
) -> _Heard | str:
    """The sound as it is heard, under its blinded name; or why it cannot be."""
    found = audio_of(sound)
    if isinstance(found, str):
        return found
    before = None
    if joined:
        prompt = audio_of(Sound(PROMPT, "human", sound.task, sound.item_id, 0, sound.prompt, sound.prompt))
        if isinstance(prompt, str):
            return f"prompt: {prompt}"
        before = prompt[0]
    rendered = render(found[0], rate, settings.loudness_lufs, before, settings.pause_s)
    if rendered is None:
        return "has no loudness: shorter than 0.4 s, or below -70 LUFS"
    what = [settings.seed, test_id, sound.system_id, sound.task, sound.item_id, sound.sample_index, joined]
    drawn = hashlib.sha256(json.dumps([*what, rendered.heard_sha256]).encode()).digest()
    return _Heard(sound, base64.b32encode(drawn).decode().lower()[:12], rendered, found[1])


def _manifest_row(test_id: str, entry: _Heard) -> dict[str, Any]:
    sound, rendered = entry.sound, entry.rendered
    return {
        "test_id": test_id,
        "blinded_name": entry.name,
        "system_id": sound.system_id,
        "task": sound.task,
        "item_id": sound.item_id,
        "sample_index": sound.sample_index,
        "role": sound.role,
        "heard_sha256": rendered.heard_sha256,
        "source_sha256": entry.source_sha256,
        "gain_db": rendered.gain_db,
        "loudness_lufs": rendered.loudness_lufs,
        "seconds": rendered.seconds,
    }


def _part_in_words(
    question: Question, n_items: int, systems: list[str], settings: ListeningTest, n_replaced: int, n_left_out: int
) -> str:
    per_rater = n_items * settings.systems_per_item
    text = f"{question.name}: {n_items} items, {len(systems)} systems, {settings.raters} raters x {per_rater} sounds"
    votes = settings.raters * settings.systems_per_item / len(systems)
    text += f", {votes:.3g} votes a sound"
    if n_replaced:
        text += f"; {n_replaced} times another system stands in for one that cannot be heard"
    if n_left_out:
        text += f"; {n_left_out} sounds fewer, since nothing was left to hear of an item"
    return text


def _write(
    folder: Path,
    test_id: str,
    settings: ListeningTest,
    slots: dict[int, list[Asked]],
    heard: list[_Heard],
    tables: dict[str, pl.DataFrame],
) -> None:
    wavs = {entry.name: entry.rendered.wav for entry in heard}
    embedded = wavs if settings.page.embed_audio else None
    _file(folder / "for_raters/index.html", rater_page(test_id, slots, settings.page, embedded))
    if embedded is None:
        for name in sorted(wavs):
            _file(folder / f"for_raters/audio/{name}.wav", wavs[name])
    for name, table in tables.items():
        _file(folder / f"keep/{name}.csv", table.write_csv())
    _file(folder / "keep/study.yaml", study_text(test_id))
    introduction = settings.page.introduction
    for slot, trials in slots.items():
        _file(folder / f"webmushra/configs/{test_id}-{slot:03d}.yaml", layouts.webmushra(test_id, introduction, trials))
    by_name = {entry.name: entry for entry in heard}
    for question in (QUESTIONS[name] for name in settings.questions):
        names = sorted({a.blinded_name for trials in slots.values() for a in trials if a.question is question})
        n_per_rater = max(sum(a.question is question for a in trials) for trials in slots.values())
        config = layouts.reseval(test_id, question, introduction, settings.raters, n_per_rater, settings.seed)
        _file(folder / f"reseval/{question.name}.yaml", config)
        for name in names:
            _file(folder / f"reseval/{question.name}/{by_name[name].sound.system_id}/{name}.wav", wavs[name])
        gold = {name: len(question.labels) for name in names if by_name[name].sound.system_id == TOP}
        for file, content in layouts.p808(names, gold, settings.base_url).items():
            _file(folder / f"p808/{question.name}/{file}", content)


def study_text(test_id: str) -> str:
    """A study.yaml that reads the answers of this test; lies beside the folder `answers`."""
    settings = {
        "test_id": test_id,
        "format": "spokeneval",
        "ratings": "answers",
        "manifest": "manifest.parquet",
        "audio": "own",
        "scale": {"low": 1, "high": 5},
        "screening": {"anchors_failed": None, "too_fast": None, "constant_answers": None, "too_few_votes": None},
    }
    head = (
        "# The votes of this listening test. Copy study.yaml and manifest.parquet to where you keep your studies, put\n"
        "# what raters saved into a folder `answers` beside them, choose screening rules before you see any result,\n"
        "# and name the file under `ratings` in config.yaml. Every key: docs/study.md.\n"
    )
    return head + str(yaml.safe_dump(settings, sort_keys=False))


def _file(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _table(schema: TableSchema, rows: list[dict[str, Any]]) -> pl.DataFrame:
    table = pl.from_arrow(schema.from_rows(rows))
    assert isinstance(table, pl.DataFrame)
    return table.sort(schema.key)
