"""Losses and verdicts in the published layout, made from a seeded generator, and the authors' arithmetic on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TASKS = ("speaker_consistency", "rir_consistency", "sentiment_alignment")
WINDOWS_MS = (100, 500)
Losses = list[float]


def records(task: str, n_items: int, seed: int = 0, continuations: bool = False) -> list[dict[str, Any]]:
    """Items whose members share their first frames (but for an alignment task) and then differ."""
    rng = np.random.default_rng([seed, *task.encode()])
    return [_record(task, index, rng, continuations) for index in range(n_items)]


def _record(task: str, index: int, rng: np.random.Generator, continuations: bool) -> dict[str, Any]:
    n_prompt = int(rng.integers(10, 20))
    n_after = {sign: int(rng.integers(14, 24)) for sign in ("positive", "negative")}
    if task.startswith("rir"):
        n_after = dict.fromkeys(n_after, n_prompt)
    # The leading mark is the same in both members: <audio> after <bos>.
    shared = 1 if task.endswith("alignment") else 1 + 4 * n_prompt
    prefix = rng.gamma(2.0, 2.0, shared)
    harder = {"positive": 0.0, "negative": 0.4}
    found: dict[str, Any] = {"index": index, "task": task}
    for sign, key in (("positive", "postive"), ("negative", "negative")):
        n_losses = 1 + 4 * (n_prompt + n_after[sign]) + 1
        own = rng.gamma(2.0, 2.0, n_losses - shared) + harder[sign]
        found[f"{key}_sample_tokenwise_loss"] = [*np.concatenate([prefix, own]).round(6).tolist(), 0.0]
        if continuations:
            alone = rng.gamma(2.0, 2.5, 1 + 4 * n_after[sign] + 1)
            found[f"{sign}_continuation_tokenwise_loss"] = [*alone.round(6).tolist(), 0.0]
    return found | {
        "positive_negative_common_audio_prefix_length": 0 if shared == 1 else 1920 * n_prompt + 7,
        "positive_sample_audio_length": 1920 * (n_prompt + n_after["positive"]),
        "sample_rate": 24_000,
        "code_frame_rate": 12,
        "code_depth": 4,
    }


def write_folder(folder: Path, n_items: int = 6, tasks: tuple[str, ...] = TASKS, **more: Any) -> Path:
    """`{task}.jsonl` for every task, and verdicts.json."""
    folder.mkdir(parents=True, exist_ok=True)
    verdicts = {}
    for task in tasks:
        of_task = records(task, n_items, **more)
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in of_task))
        verdicts[task] = verdicts_of(of_task)
    (folder / "verdicts.json").write_text(json.dumps(verdicts))
    return folder


def verdicts_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Evaluator -> correct_items and accuracy_percent, by loops over lists as a script would have it."""
    right: dict[str, list[int]] = {}
    for record in items:
        positive = record["postive_sample_tokenwise_loss"][:-1]
        negative = record["negative_sample_tokenwise_loss"][:-1]
        for name, scores in _scores(positive, negative).items():
            right.setdefault(name, [])
            if scores[0] < scores[1]:
                right[name].append(record["index"])
    return {
        name: {"accuracy_percent": 100 * len(indices) / len(items), "correct_items": indices}
        for name, indices in right.items()
    }


def _scores(positive: Losses, negative: Losses) -> dict[str, tuple[float, float]]:
    first = next(i for i, (p, n) in enumerate(zip(positive, negative, strict=False)) if p != n)
    found = {"global": (_mean(positive), _mean(negative))}
    for milliseconds in WINDOWS_MS:
        width = milliseconds * 12 // 1000 * 4
        both = (positive, negative)
        localized = [_mean(losses[first : first + width]) for losses in both]
        windowed = [
            max(_mean(losses[i : i + width]) for i in range(first, max(len(losses) - width, first) + 1))
            for losses in both
        ]
        found[f"localized_{milliseconds}ms"] = (localized[0], localized[1])
        found[f"windowed_{milliseconds}ms"] = (windowed[0], windowed[1])
    return found


def _mean(losses: Losses) -> float:
    return sum(losses) / len(losses)
