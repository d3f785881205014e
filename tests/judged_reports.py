"""Reports with one task and one judge whose verdicts are planted. All tables here are simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report_simulation import evaluator_row, judging_row, simulate_pairs, write_evaluators, write_judging

from spokeneval import tables
from spokeneval.report import make_report
from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportInputs, ReportSettings

TASK = "speaker"


def margins(n_right: int, n: int) -> list[float]:
    """The first n_right items right."""
    return [0.1] * n_right + [-0.1] * (n - n_right)


def spread_out(n_right: int, n: int) -> list[float]:
    """n_right of n items right, spread evenly, so that both folds have their share."""
    return [0.1 if (k + 1) * n_right // n > k * n_right // n else -0.1 for k in range(n)]


def judged_report(
    folder: Path,
    n: int,
    heard: Mapping[str, Sequence[float]],
    *,
    prompts: Sequence[float],
    vocoders: Mapping[str, str] | None = None,
    trips: Mapping[str, Sequence[float]] | None = None,
    baselines: Mapping[str, Sequence[float]] | None = None,
    rows: Mapping[str, list[dict[str, Any]]] | None = None,
    **settings: Any,
) -> ReportInputs:
    """heard: model -> margin of each item, under the judge 'ear'; prompts: its margins on real audio.

    vocoders: model -> vocoder ('v' by default); trips: vocoder -> margins of the prompts' round trips; baselines:
    source -> margins; rows: model -> judging rows in place of those of `heard`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = simulate_pairs(folder, np.random.default_rng(0), n, (TASK,))
    for item in pairs:
        item["cluster"] = f"c{item['index']}"
    tables.write_table(folder / "pairs.parquet", tables.PAIRS.from_rows(pairs), tables.PAIRS, "simulated")

    def judged(source: str, values: Sequence[float]) -> list[dict[str, Any]]:
        return [judging_row(item, source, margin) for item, margin in zip(pairs, values, strict=True)]

    own = judged("prompt", prompts)
    for source, values in (baselines or {}).items():
        own += judged(source, values)
    said = {model: judged("model", values) for model, values in heard.items()} | dict(rows or {})
    right = {model: k for k, model in enumerate(said)}
    return ReportInputs(
        dataset="simulated",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models={model: ModelEntry(model, "f", "t", (vocoders or {}).get(model, "v")) for model in said},
        judges={"ear": JudgeEntry("ear", "simulated", "speaker")},
        evaluators={
            model: write_evaluators(
                folder / f"e_{model}.parquet",
                [
                    evaluator_row(item, "global", None, positive=1.0, negative=2.0 if k < 20 + right[model] else 0.0)
                    for k, item in enumerate(pairs)
                ],
            )
            for model in said
        },
        qualification={"ear": write_judging(folder / "q.parquet", own)},
        judging={(model, "ear"): write_judging(folder / f"j_{model}.parquet", found) for model, found in said.items()},
        ceilings={
            f"t-{vocoder}": {"ear": write_judging(folder / f"c_{vocoder}.parquet", judged("prompt_round_trip", values))}
            for vocoder, values in (trips or {}).items()
        },
        settings=ReportSettings(n_draws=500, **settings),
    )


def section(inputs: ReportInputs, folder: Path, name: str) -> str:
    """One section of the page, in one line."""
    make_report(inputs, folder, "x")
    text = (folder / "report.html").read_text()
    begin = text.index(f'<section id="{name}"')
    return " ".join(text[begin : text.index("</section>", begin)].split())
