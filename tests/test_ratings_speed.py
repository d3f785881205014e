"""A million votes come in within 20 seconds and 1.5 GB. The listeners are simulated."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
from ratings_simulation import write_study

MILLION = 1_000_000
CHILD = """
import json, re, sys, time
from pathlib import Path
from spokeneval.ratings.intake import read_votes
from spokeneval.ratings.study import read_study
from spokeneval.ratings.screening import screen
start = time.perf_counter()
study = read_study(Path(sys.argv[1]))
votes, told = screen(read_votes(study).table, study.screening)
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"votes": len(votes), "seconds": seconds, "peak_MB": peak, "systems": votes["system_id"].n_unique()}))
"""


def test_a_million_votes_are_imported_within_20_seconds(tmp_path):
    """Names taken apart, padded scores, checks of every row, all rules that need no anchors."""
    rng = np.random.default_rng(0)
    cell = rng.permutation(MILLION)
    system, item, panel = cell % 25, cell // 25 % 400, cell // 10_000
    votes = pl.DataFrame(
        {"s": system, "i": item, "v": (item * 37 + panel * 50) % 5000, "x": rng.integers(1, 6, MILLION)}
    )
    votes = votes.select(
        name=pl.format("system{}_item{}.wav", "s", "i"),
        listener=pl.format("listener{}", "v"),
        score=pl.format(" {} ", "x"),
        seconds=pl.lit("3.5"),
    )
    path = write_study(
        tmp_path,
        votes,
        columns={"listener_id": "listener", "score": "score", "blinded_name": "name", "seconds": "seconds"},
        names={
            "column": "name",
            "pattern": r"(?P<s>system\d+)_(?P<i>item\d+)\.wav",
            "fields": {"system_id": "{s}", "item_id": "{i}"},
        },
        screening={
            "constant_answers": {"min_votes": 10},
            "too_fast": {"min_seconds": 1.0, "max_share": 0.5},
            "too_few_votes": {"min_votes": 10},
        },
    )
    done = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    print(told)
    assert (told["votes"], told["systems"]) == (MILLION, 25)
    assert told["seconds"] <= 20
    assert told["peak_MB"] <= 1500
