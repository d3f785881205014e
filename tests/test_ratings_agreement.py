"""Agreement of listeners is what the literature's own examples and a plain computation say. Listeners are simulated."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from ratings_simulation import STUDY, simulated_votes, write_study

from spokeneval.ratings.agreement import agreement_table
from spokeneval.ratings.intake import read_votes
from spokeneval.ratings.study import read_study

ONE_SCORE = "system,item,listener,score\na,1,v,4\na,1,w,4\nb,1,v,2\nb,2,w,5\nc,1,v,1\n"


def rows(tmp_path: Any, votes: pl.DataFrame | str, **changes: Any) -> dict[str, dict[str, Any]]:
    study = read_study(write_study(tmp_path, votes, **changes))
    table = agreement_table(read_votes(study).table, study)
    return {row["over"]: row for row in table.iter_rows(named=True)}


def krippendorff_interval(votes: pl.DataFrame) -> float:
    """1 - observed / expected squared difference, over pairs within audio and over all pairs: by definition."""
    units = [group["score"].to_list() for _, group in votes.group_by("system", "item")]
    units = [unit for unit in units if len(unit) > 1]
    everything = [score for unit in units for score in unit]
    observed = sum(
        2 * sum((a - b) ** 2 for a, b in itertools.combinations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(everything)
    n = len(everything)
    expected = 2 * sum((a - b) ** 2 for a, b in itertools.combinations(everything, 2)) / (n * (n - 1))
    return 1 - observed / expected


def test_alpha_on_a_scale_without_steps_by_its_definition(tmp_path):
    votes = simulated_votes(np.random.default_rng(0), np.array([2.0, 3.0, 4.0]), 8, 6, 3, rounded=False)
    votes = votes.sample(fraction=0.8, seed=0)
    found = rows(tmp_path, votes, scale={"low": -5, "high": 10, "step": None})["systems"]
    assert found["alpha_level"] == "interval"
    assert found["alpha"] == pytest.approx(krippendorff_interval(votes), abs=1e-9)


def test_split_half_of_two_listeners_by_hand(tmp_path):
    """Means 1, 2, 3 against 1, 3, 2: r .5, Spearman-Brown 2/3, its root the most that a metric can reach."""
    scores = {"v": (1, 2, 3), "w": (1, 3, 2)}
    lines = [f"{s},{i},{v},{x}" for v, of in scores.items() for s, x in zip("abc", of, strict=True) for i in "12"]
    found = rows(tmp_path, "\n".join(["system,item,listener,score", *lines]))["systems"]
    assert found["r_halves"] == pytest.approx(0.5)
    assert found["split_half"] == pytest.approx(2 / 3)
    assert found["max_r"] == pytest.approx(math.sqrt(2 / 3))
    assert (found["n_systems"], found["n_audio"], found["n_listeners"], found["votes_per_audio"]) == (3, 6, 2, 2)


def test_a_metric_that_knows_the_expected_mos_reaches_max_r_and_not_more(tmp_path):
    """Listeners who differ by system, many items: the observed MOS misses the expected by listeners alone."""
    reached, promised = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        quality, taste = rng.normal(5, 0.5, 12), rng.normal(0, 1.2, (12, 8))
        s, i, v = (a.ravel() for a in np.meshgrid(range(12), range(10), range(8), indexing="ij"))
        score = quality[s] + taste[s, v] + rng.normal(0, 0.3, len(s))
        votes = pl.DataFrame({"system": s, "item": i, "listener": v, "score": score}).with_columns(
            *(pl.col(name).cast(pl.String) for name in ("system", "item", "listener"))
        )
        study = read_study(write_study(tmp_path, votes, scale={"low": -10, "high": 20, "step": None}))
        table = agreement_table(read_votes(study).table, study).filter(over="systems")
        mean = np.bincount(s, score) / np.bincount(s)
        reached.append(np.corrcoef(mean, quality)[0, 1])
        promised.append(table["max_r"][0] or 0.0)
    assert np.mean(promised) == pytest.approx(np.mean(reached), abs=0.04)


def test_anchors_raise_agreement_over_all_and_never_enter_that_over_systems(tmp_path):
    votes = simulated_votes(np.random.default_rng(2), np.array([2.8, 3.0, 3.2, 4.9, 1.0]), 20, 12, 4)
    alone = rows(tmp_path, votes.filter(pl.col("system") < "s3"))["systems"]
    found = rows(tmp_path, votes, roles={"human": ["s3"], "anchor": ["s4"]})
    assert found["systems"] == alone
    assert found["all"]["n_systems"] == 5
    assert found["all"]["alpha"] > found["systems"]["alpha"] + 0.1


def test_agreement_that_is_not_defined_is_null_with_its_reason(tmp_path):
    found = rows(tmp_path, ONE_SCORE)["systems"]
    assert found["alpha"] is None
    assert "no audio has two votes, or all votes are equal" in found["note"]
    few = rows(tmp_path, "system,item,listener,score\na,1,v,4\nb,1,v,3\n")["systems"]
    assert {few[name] for name in ("alpha", "icc_single", "reliability", "r_halves", "split_half", "max_r")} == {None}
    assert "2 systems and 1 listeners" in few["note"]
    only_anchors = rows(tmp_path, ONE_SCORE, roles={"anchor": ["a", "b", "c"]})["systems"]
    assert (only_anchors["n_votes"], only_anchors["alpha"], only_anchors["votes_per_audio"]) == (0, None, None)


def test_dimensions_have_their_own_agreement(tmp_path):
    votes = simulated_votes(np.random.default_rng(3), np.array([2.0, 3.0, 4.0]), 9, 6, 3)
    noise = votes.with_columns(what=pl.lit("same"), score=pl.col("score").shuffle(seed=0))
    both = pl.concat([votes.with_columns(what=pl.lit("natural")), noise])
    columns = {**STUDY["columns"], "dimension": "what"}
    study = read_study(write_study(tmp_path, both, columns=columns, constants={"task": "t"}))
    table = agreement_table(read_votes(study).table, study).filter(over="systems")
    alpha = dict(table.select("dimension", "alpha").iter_rows())
    assert alpha["natural"] > 0.3
    assert abs(alpha["same"]) < 0.3
