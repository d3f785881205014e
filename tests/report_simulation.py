"""Simulated tables for the tests of the report: every name says so, no number comes from a model or a person.

Verdicts follow a planted skill per model; audio is a tone with noise; log-probabilities dip after the transition of the
negative. Small and seeded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spokeneval import tables
from spokeneval.audio import make_clip
from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportInputs, ReportSettings, Timing, Topline

RATE = 8000
FRAME = 160
"""Samples a frame of the simulated tokenizer: 50 Hz."""
N_FRAMES, CUT = 40, 20
IDENTITY = "simulated"
TASKS = ("speaker", "background", "room", "splice_control")
WINDOWS = (0.1, 0.2)

CONVENTIONS = {"default": {"edge": "overlap", "stride": "frame", "tie": 0.5}, "inside": {"edge": "inside", "tie": 0.5}}


def _audio(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    t = np.arange(n_samples) / RATE
    tone = 0.2 * np.sin(2 * np.pi * rng.uniform(120, 300) * t)
    return (tone + rng.normal(0, 0.02, n_samples)).astype(np.float32)


def simulate_pairs(
    folder: Path, rng: np.random.Generator, n_items: int, tasks: tuple[str, ...] = TASKS, prefix: str = ""
) -> list[dict[str, Any]]:
    clips: dict[str, dict[str, Any]] = {}
    pairs = []

    def keep(samples: np.ndarray) -> str:
        clip = make_clip(samples, RATE)
        audio = {"bytes": clip.flac, "path": "clip.flac"}
        clips[clip.clip_id] = {
            "clip_id": clip.clip_id,
            "sample_rate": RATE,
            "n_samples": clip.n_samples,
            "audio": audio,
            "subtype": clip.subtype,
            "gain": 1.0,
            "note": "",
        }
        return clip.clip_id

    cut = CUT * FRAME
    for task in tasks:
        for index in range(n_items):
            positive, negative = _audio(rng, N_FRAMES * FRAME), _audio(rng, N_FRAMES * FRAME)
            negative[:cut] = positive[:cut]
            pairs.append(
                {
                    "item_id": f"{prefix}{task}-{index}",
                    "task": task,
                    "index": index,
                    "cluster": f"{task}-c{index % max(1, n_items // 3)}",
                    "fold": "ab"[index % 2],
                    "transition": cut,
                    "sample_rate": RATE,
                    "prompt": keep(positive[:cut]),
                    "positive": keep(positive),
                    "negative": keep(negative),
                    "continuation_positive": keep(positive[cut:]),
                    "continuation_negative": keep(negative[cut:]),
                    "labels": json.dumps({"speaker": f"{prefix}voice {index % 3}", "index": index}),
                    "sources": "{}",
                    "seed": index,
                    "status": "ok",
                    "reason": None,
                }
            )
    tables.write_table(folder / "pairs.parquet", tables.PAIRS.from_rows(pairs), tables.PAIRS, IDENTITY)
    tables.write_table(folder / "clips.parquet", tables.CLIPS.from_rows(list(clips.values())), tables.CLIPS, IDENTITY)
    return pairs


def _verdict(difference: float) -> float:
    return 0.5 if difference == 0 else float(difference > 0)


def evaluator_row(item: dict[str, Any], name: str, window: float | None, **values: Any) -> dict[str, Any]:
    """One row of the evaluators table; `positive` and `negative` are its scores, None for a failed one."""
    positive, negative = values.get("positive"), values.get("negative")
    failed = positive is None or negative is None
    return {
        "task": item["task"],
        "item_id": item["item_id"],
        "evaluator": name,
        "window_s": window,
        "unconditional": values.get("unconditional"),
        "codebooks": "all",
        "convention": values.get("convention", "default"),
        "score_positive": positive,
        "score_negative": negative,
        "n_scored_positive": None if failed else CUT,
        "n_scored_negative": None if failed else CUT,
        "seconds_positive": None if failed else CUT * FRAME / RATE,
        "seconds_negative": None if failed else CUT * FRAME / RATE,
        "verdict": None if failed else _verdict(negative - positive),
        "status": "failed" if failed else "ok",
        "reason": values.get("reason", "simulated failure") if failed else None,
    }


def write_evaluators(path: Path, rows: list[dict[str, Any]]) -> Path:
    tables.write_table(
        path, tables.EVALUATORS.from_rows(rows), tables.EVALUATORS, IDENTITY, {"conventions": CONVENTIONS}
    )
    return path


def _evaluator_rows(
    pairs: list[dict[str, Any]], rng: np.random.Generator, skill: float, windows: tuple[float, ...]
) -> list[dict[str, Any]]:
    rows = []
    for i, item in enumerate(pairs):
        effect = rng.normal(skill, 1.0)
        for convention in CONVENTIONS:
            for name, sharpness, windowed, term in (
                ("global", 0.3, False, (None,)),
                ("continuation", 0.5, False, (None,)),
                ("localized", 1.0, True, (None,)),
                ("global_norm", 0.6, False, ("retokenise", "keep")),
                ("localized_norm", 0.9, True, ("retokenise", "keep")),
                ("windowed_matched", 0.4, True, (None,)),
                ("placebo_window", 0.0, True, (None,)),
            ):
                for window in windows if windowed else (None,):
                    for unconditional in term:
                        margin = round(effect * sharpness + rng.normal(0, 0.5) * (sharpness > 0), 6)
                        broken = i % 17 == 5 and name == "localized"
                        values: dict[str, Any] = {"unconditional": unconditional, "convention": convention}
                        values |= {"reason": "simulated: no token in the window"} if broken else {}
                        values |= {} if broken else {"positive": 3.0, "negative": 3.0 + margin}
                        rows.append(evaluator_row(item, name, window, **values))
    return rows


def _likelihood(folder: Path, name: str, pairs: list[dict[str, Any]], rng: np.random.Generator, skill: float) -> Path:
    rows: dict[str, dict[str, Any]] = {}
    for item in pairs:
        for role in ("positive", "negative"):
            logprob = rng.normal(-3, 0.4, N_FRAMES)
            if role == "negative":
                logprob[CUT : CUT + 8] -= skill
            rows[item[role]] = {
                "clip_id": item[role],
                "context": "full",
                "cut_frame": -1,
                "logprob": logprob.tolist(),
                "logprob_legal": logprob.tolist(),
                "target": list(range(N_FRAMES)),
                "kind": [0] * N_FRAMES,
                "stream": [0] * N_FRAMES,
                "codebook": [0] * N_FRAMES,
                "frame": list(range(N_FRAMES)),
                "n_frames": [1] * N_FRAMES,
                "step": list(range(N_FRAMES)),
                "status": "ok",
                "reason": None,
            }
    info = {
        "sample_rate": RATE,
        "hop_samples": FRAME,
        "codebook_sizes": [500],
        "deduplicated": False,
        "causal": True,
    }
    path = folder / f"likelihood_{name}.parquet"
    tables.write_table(
        path,
        tables.LIKELIHOOD.from_rows(list(rows.values())),
        tables.LIKELIHOOD,
        IDENTITY,
        {"tokenizer": info, "streams": ["unit"], "model": name},
    )
    return path


def _continuations(folder: Path, name: str, pairs: list[dict[str, Any]], rng: np.random.Generator) -> Path:
    rows = []
    for i, item in enumerate(pairs):
        clip = make_clip(_audio(rng, 10 * FRAME), RATE)
        bad = i % 19 == 7
        rows.append(
            {
                "clip_id": item["prompt"],
                "sample_index": 0,
                "seed": 0,
                "audio": None if bad else {"bytes": clip.flac, "path": "c.flac"},
                "sample_rate": None if bad else RATE,
                "n_samples": None if bad else clip.n_samples,
                "pcm_sha256": None if bad else clip.clip_id,
                "prompt_codes": [1, 2],
                "codes": [3, 4],
                "durations": None,
                "status": "failed" if bad else "ok",
                "reason": "simulated: context too short" if bad else None,
            }
        )
    path = folder / f"continuations_{name}.parquet"
    tables.write_table(path, tables.CONTINUATIONS.from_rows(rows), tables.CONTINUATIONS, IDENTITY)
    return path


def judging_row(item: dict[str, Any], source: str, margin: float | None, **values: Any) -> dict[str, Any]:
    failed = margin is None and "score" not in values
    return {
        "task": item["task"],
        "item_id": item["item_id"],
        "source": source,
        "sample_index": values.get("sample_index", 0),
        "cos_positive": None if margin is None else 0.5 + margin / 2,
        "cos_negative": None if margin is None else 0.5 - margin / 2,
        "margin": margin,
        "verdict": None if margin is None else _verdict(margin),
        "score": values.get("score"),
        "audio_status": values.get("audio_status", "ok"),
        "status": "failed" if failed else "ok",
        "reason": "simulated: silent audio" if failed else None,
    }


def write_judging(path: Path, rows: list[dict[str, Any]]) -> Path:
    tables.write_table(path, tables.JUDGING.from_rows(rows), tables.JUDGING, IDENTITY)
    return path


def simulate(
    folder: Path,
    *,
    n_models: int = 4,
    n_items: int = 12,
    n_heard: int | None = None,
    tasks: tuple[str, ...] = TASKS,
    windows: tuple[float, ...] = WINDOWS,
    prefix: str = "",
    hearing: float = 2.0,
    seed: int = 0,
    settings: ReportSettings | None = None,
) -> ReportInputs:
    """A whole simulated run: the first `n_heard` models have a vocoder (all but the last by default).

    hearing: mean of the voice judge's margins over their standard deviation; from 4 on it is never wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pairs = simulate_pairs(folder, rng, n_items, tasks, prefix)
    n_heard = max(1, n_models - 1) if n_heard is None else n_heard
    models: dict[str, ModelEntry] = {}
    likelihood, evaluators, continuations = {}, {}, {}
    judging: dict[tuple[str, str], Path] = {}
    judges = {
        "sim-voice": JudgeEntry("sim-voice", "simulated", "speaker"),
        "sim-level": JudgeEntry("sim-level", "simulated", "level", trivial=True),
        "sim-nice": JudgeEntry("sim-nice", "simulated", "naturalness", answer="naturalness"),
    }
    for k in range(n_models):
        skill = 0.2 + 1.6 * k / max(1, n_models - 1)
        name = f"{prefix}sim-{'abcdefghijkl'[k]}"
        heard = k < n_heard
        models[name] = ModelEntry(
            name,
            "simulated GPT" if k % 2 else "simulated OPT",
            "sim-acoustic" if heard else "sim-semantic",
            "sim-vocoder" if heard else None,
            10**6 * (k + 1),
            f"simulated, planted skill {skill:.2f}",
        )
        stem = f"m{k}"
        likelihood[name] = _likelihood(folder, stem, pairs, rng, skill)
        evaluators[name] = write_evaluators(
            folder / f"evaluators_{stem}.parquet", _evaluator_rows(pairs, rng, skill, windows)
        )
        if not heard:
            continue
        continuations[name] = _continuations(folder, stem, pairs, rng)
        for judge, entry in judges.items():
            rows = []
            for i, item in enumerate(pairs):
                if entry.naturalness:
                    rows.append(judging_row(item, "model", None, score=2 + skill / 2 + rng.normal(0, 0.1)))
                    continue
                bad = i % 19 == 7
                margin = float(rng.normal(skill - 0.4, 1.0)) * 0.1
                row = judging_row(item, "model", margin)
                if bad:
                    row |= {"audio_status": "silent", "verdict": 0.0, "margin": None}
                    row |= {"cos_positive": None, "cos_negative": None}
                rows.append(row)
                rows.append(judging_row(item, "other_item", float(rng.normal(0, 0.1))))
            judging[name, judge] = write_judging(folder / f"judging_{stem}_{judge}.parquet", rows)
    qualification, ceilings = {}, {}
    for judge, entry in judges.items():
        if entry.naturalness:
            continue
        strength = hearing if judge == "sim-voice" else 0.2
        qualification[judge] = write_judging(
            folder / f"qualification_{judge}.parquet",
            [judging_row(item, "prompt", float(rng.normal(strength, 1)) * 0.1) for item in pairs],
        )
        trips = [
            judging_row(item, source, float(rng.normal(strength * factor, 1)) * 0.1)
            for item in pairs
            for source, factor in (("prompt_round_trip", 0.8), ("positive_round_trip", 1.2))
        ]
        ceilings[judge] = write_judging(folder / f"trips_{judge}.parquet", trips)
    controls = {
        "audio": write_evaluators(
            folder / "controls_audio.parquet",
            [
                evaluator_row(p, c, None, positive=0.0, negative=float(rng.normal()))
                for p in pairs
                for c in ("longer", "louder")
            ],
        ),
        "sim-acoustic": write_evaluators(
            folder / "controls_acoustic.parquet",
            [
                evaluator_row(p, c, None, positive=2.0, negative=2.0 + float(rng.normal(0.2)))
                for p in pairs
                for c in ("unigram", "bigram")
            ],
        ),
    }
    return ReportInputs(
        dataset="simulated",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models=models,
        judges=judges,
        likelihood=likelihood,
        evaluators=evaluators,
        controls=controls,
        continuations=continuations,
        judging=judging,
        qualification=qualification,
        ceilings={"sim-acoustic-sim-vocoder": ceilings},
        timings=[Timing("likelihood", name, 3.0 + i, 400.0, 5.0) for i, name in enumerate(models)],
        human_topline={tasks[0]: (Topline(91.2, "simulated, not a publication"),)} if tasks else {},
        settings=settings or ReportSettings(primary_window_s=windows[-1], n_draws=2000),
        signature={"version": "0.1.0", "data": "simulated"},
    )


def with_settings(inputs: ReportInputs, **values: Any) -> ReportInputs:
    return replace(inputs, settings=replace(inputs.settings, **values))


Verdicts = dict[str, dict[tuple[str, str], list[float | None]]]
"""model -> (task, evaluator) -> verdict of each item, None for a failed one."""


def simulate_verdicts(
    folder: Path,
    verdicts: Verdicts,
    *,
    clusters: list[str] | None = None,
    labels: list[dict[str, Any]] | None = None,
    prompted: bool = True,
    **values: Any,
) -> ReportInputs:
    """Inputs with these verdicts and nothing else: every task has as many items, alike in clusters and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = [column for by_cell in verdicts.values() for column in by_cell.items()]
    tasks, n_items = tuple(dict.fromkeys(task for (task, _), _ in columns)), len(columns[0][1])
    pairs = simulate_pairs(folder, np.random.default_rng(0), n_items, tasks)
    for item in pairs:
        if clusters is not None:
            item["cluster"] = clusters[item["index"]]
        if labels is not None:
            item["labels"] = json.dumps(labels[item["index"]])
        if not prompted:
            item |= dict.fromkeys(("transition", "prompt", "continuation_positive", "continuation_negative"))
    tables.write_table(folder / "pairs.parquet", tables.PAIRS.from_rows(pairs), tables.PAIRS, IDENTITY)
    of_task = {task: [item for item in pairs if item["task"] == task] for task in tasks}
    paths = {}
    for model, by_cell in verdicts.items():
        rows = []
        for (task, evaluator), found in by_cell.items():
            window = 0.5 if evaluator.startswith(("localized", "windowed")) else None
            term = "retokenise" if evaluator.endswith("_norm") else None
            for item, verdict in zip(of_task[task], found, strict=True):
                scores = {} if verdict is None else {"positive": 1.0, "negative": 0.5 + verdict}
                rows.append(evaluator_row(item, evaluator, window, unconditional=term, **scores))
        paths[model] = write_evaluators(folder / f"{model}.parquet", rows)
    inputs = ReportInputs(
        dataset="simulated",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models={name: ModelEntry(name, "f", "t") for name in verdicts},
        evaluators=paths,
        settings=ReportSettings(n_draws=1000),
    )
    return replace(inputs, **values)


def read_pairs(inputs: ReportInputs) -> pl.DataFrame:
    return tables.read_table(inputs.pairs, tables.PAIRS)


def with_series(inputs: ReportInputs, names: list[str], series: str = "sim-run") -> ReportInputs:
    """These models as checkpoints of one run, 1000 steps apart."""
    models = dict(inputs.models)
    for k, name in enumerate(names):
        models[name] = replace(models[name], series=series, step=1000 * (k + 1))
    return replace(inputs, models=models)


PUBLISHED_HEADER = "model,task,evaluator,window_ms,accuracy_percent"


def with_published(inputs: ReportInputs, path: Path, lines: list[str], header: str = PUBLISHED_HEADER) -> ReportInputs:
    """Published rows from the lines of a CSV, of a source that says that it is simulated."""
    path.write_text("\n".join([header, *lines]) + "\n")
    return replace(inputs, published=path, published_source="simulated, not a publication")
