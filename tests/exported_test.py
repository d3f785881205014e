"""The manifest of a listening test on the tables of a finished run, and answers of simulated raters to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from spokeneval.listening_test.schemas import MANIFEST
from spokeneval.tables import CONTINUATIONS, PAIRS, read_table, write_table

TEST = "first"


def manifest_of(results: Path, models: list[str], n_items: int = 3) -> pl.DataFrame:
    """What a test on the first items of every task would be exported as: sample 0 of models, and both anchors."""
    pairs = read_table(results / "pairs.parquet", PAIRS).filter(pl.col("index") < n_items)
    rows: list[dict[str, Any]] = []
    for model in models:
        said = read_table(results / f"continuations/{model}.parquet", CONTINUATIONS)
        heard = pairs.join(said.filter(sample_index=0), left_on="prompt", right_on="clip_id")
        rows += [_row(item, model, "system", item["pcm_sha256"]) for item in heard.iter_rows(named=True)]
    for item in pairs.iter_rows(named=True):
        rows.append(_row(item, "true_continuation", "anchor", item["continuation_positive"]))
        rows.append(_row(item, "mismatched_continuation", "anchor", item["continuation_negative"]))
    blank = dict.fromkeys(MANIFEST.arrow.names)
    named = [{**blank, **row, "blinded_name": f"x{k:03d}"} for k, row in enumerate(rows)]
    table = pl.from_arrow(MANIFEST.from_rows(named))
    assert isinstance(table, pl.DataFrame)
    return table


def _row(item: dict[str, Any], system: str, role: str, source: str) -> dict[str, Any]:
    told = {"test_id": TEST, "system_id": system, "task": item["task"], "item_id": item["item_id"], "sample_index": 0}
    heard = {"heard_sha256": f"heard {source}", "gain_db": 0.0, "loudness_lufs": -23.0, "seconds": 1.0}
    return told | heard | {"blinded_name": "", "role": role, "source_sha256": source}


def write_answers(path: Path, names: list[str], listener: str, seed: int) -> None:
    """What the page saves for one rater."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(1, 6, len(names))
    rows = ["test_id,dimension,listener_id,blinded_name,score,seconds,plays,comment"]
    rows += [
        f'{TEST},naturalness,{listener},{name},{score},4.5,1,"<script>alert(1)</script>, ""so so"""'
        for name, score in zip(names, scores, strict=True)
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_own_study(folder: Path, manifest: pl.DataFrame, n_listeners: int = 3, /, **changes: Any) -> Path:
    """A folder with study.yaml, the manifest and a file of answers a rater. The raters are simulated."""
    (folder / "answers").mkdir(parents=True)
    write_table(folder / "manifest.parquet", manifest, MANIFEST, "identity of the export")
    for k in range(n_listeners):
        write_answers(folder / f"answers/{k}.csv", manifest["blinded_name"].to_list(), f"rater {k}", k)
    study = {
        "test_id": TEST,
        "format": "spokeneval",
        "ratings": "answers",
        "manifest": "manifest.parquet",
        "simulated": True,
        "scale": {"low": 1, "high": 5},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**study, **changes}), encoding="utf-8")
    return path
