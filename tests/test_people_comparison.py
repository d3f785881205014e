"""Which evaluator agrees better, and where judge and people part. All votes here are simulated or written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from people_simulation import as_own, one, people_of, planted, votes_on, with_study
from report_simulation import judging_row, read_pairs, simulate, simulate_verdicts, write_judging
from scipy import stats

from spokeneval.report.inputs import JudgeEntry, ReportInputs
from spokeneval.report.people.answer import verdicts
from spokeneval.report.people.tables import PeopleTables
from spokeneval.statistics.choice import choose_out_of_fold
from spokeneval.statistics.compare import max_statistic, permute_both, williams
from spokeneval.statistics.paired import holm
from spokeneval.statistics.power import williams_power

SYSTEMS = "abcdefghi"
TASKS = ("one", "two")
WITHIN = "system_task_within"
UNROUNDED = {"low": 0, "high": 6, "step": None}


def planted_verdicts(
    folder: Path, shares: dict[str, list[float]], mos: list[float], n_items: int = 40
) -> tuple[ReportInputs, pl.DataFrame]:
    """Evaluators with these shares of right items, the same in both tasks; two listeners who agree on each system."""
    verdicts_of = {
        name: {
            (task, evaluator): [float(i < round(n_items * of[k])) for i in range(n_items)]
            for task in TASKS
            for evaluator, of in shares.items()
        }
        for k, name in enumerate(SYSTEMS)
    }
    inputs = simulate_verdicts(folder / "in", verdicts_of)
    votes = pl.DataFrame(
        [
            {"system": name, "item": item, "task": task, "listener": who, "dimension": "d", "score": mos[k] + off}
            for k, name in enumerate(SYSTEMS)
            for task, item in read_pairs(inputs).filter(pl.col("index") < 6).select("task", "item_id").iter_rows()
            for who, off in (("v", 0.1), ("w", -0.1))
        ]
    )
    return with_study(inputs, folder, votes, scale=UNROUNDED), votes


MOS = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
GOOD = [0.1 + 0.1 * k for k in range(9)]
RANDOM = [0.5, 0.8, 0.3, 0.6, 0.9, 0.2, 0.7, 0.4, 0.55]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> PeopleTables:
    inputs, _ = planted_verdicts(tmp_path_factory.mktemp("told"), {"global": GOOD, "continuation": RANDOM}, MOS)
    return people_of(replace(inputs, settings=replace(inputs.settings, n_draws=10_000)))


def test_an_evaluator_that_follows_people_is_told_from_one_that_does_not(told: PeopleTables) -> None:
    row = one(told.differences, level=WITHIN)
    x, z, y = (np.column_stack([v, v]) for v in (GOOD, [round(40 * s) / 40 for s in RANDOM], MOS))
    first = [row["a"] == "global", row["b"] == "continuation"]
    assert first == [True, True]
    expected = permute_both(x, z, y, within_task=True, n_draws=10_000)
    assert (row["pearson_a"], row["pearson_b"]) == pytest.approx((1.0, np.corrcoef(z[:, 0], MOS)[0, 1]))
    assert row["p"] == pytest.approx(expected.p)
    assert row["p_holm"] == row["p"] < 0.05
    assert row["verdict"] == "a agrees better"
    assert row["primary"]
    system = one(told.differences, level="system")
    r_b, r_ab = np.corrcoef(z[:, 0], MOS)[0, 1], np.corrcoef(z[:, 0], GOOD)[0, 1]
    assert system["p_williams"] == pytest.approx(williams(1.0, r_b, r_ab, 9).p_two_sided, abs=1e-9)
    assert not system["primary"]
    said = verdicts(told)[0]
    assert said.believe == "global agrees best with people, better than continuation."
    assert said.simulated


def test_holm_runs_over_the_pairs_of_the_primary_family_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shares = {name: list(rng.permutation(GOOD)) for name in ("localized", "global", "continuation")}
    inputs, _ = planted_verdicts(tmp_path, {**shares, "unconditional": GOOD}, MOS)
    found = people_of(inputs)
    within = found.differences.filter("primary")
    assert len(within) == 3
    assert within["p_holm"].to_list() == pytest.approx(holm(within["p"].to_list()).tolist())
    assert "unconditional" not in {*within["a"], *within["b"]}
    assert one(found.people, evaluator="unconditional", level="system")["pearson"] == pytest.approx(1)


def test_too_few_systems_for_any_difference_are_said_to_be(tmp_path: Path) -> None:
    """Nine systems, four evaluators, six pairs: 6 x 2 / 2^9 = .023; seven systems: 6 x 2 / 2^7 = .094."""
    rng = np.random.default_rng(1)
    names = ("localized", "global", "continuation", "global_norm")
    inputs, votes = planted_verdicts(tmp_path, {name: list(rng.permutation(GOOD)) for name in names}, MOS)
    enough = verdicts(people_of(inputs))[0]
    assert not [line for line in enough.why if "no p could fall below" in line]
    seven = votes.filter(pl.col("system").is_in(list("abcdefg")))
    few = people_of(with_study(replace(inputs, studies={}), tmp_path / "few", seven, scale=UNROUNDED))
    said = [line for line in verdicts(few)[0].why if "no p could fall below" in line]
    assert said[0].startswith("With 7 systems and 6 pairs of evaluators no p could fall below 0.0938 after Holm")
    assert few.differences.filter("primary")["p_holm"].min() >= 6 * 2 / 2**7


def test_equal_evaluators_cannot_be_told_apart(tmp_path: Path) -> None:
    inputs, _ = planted_verdicts(tmp_path, {"global": GOOD, "continuation": GOOD}, MOS)
    found = people_of(inputs)
    row = one(found.differences, level=WITHIN)
    assert (row["difference"], row["p"], row["verdict"]) == (0.0, 1.0, "cannot tell")
    assert "same up to scale" in one(found.differences, level="system")["note"]
    assert verdicts(found)[0].believe.startswith("Cannot tell which of 2 evaluators agrees best with people")


def test_the_best_of_many_is_held_against_all_that_were_tried(told: PeopleTables) -> None:
    matrix = np.array([GOOD, [round(40 * s) / 40 for s in RANDOM]])
    expected = max_statistic(matrix, np.array(MOS), n_draws=10_000)
    for level in ("system", WITHIN):
        for k, evaluator in enumerate(("global", "continuation")):
            row = one(told.people, evaluator=evaluator, level=level)
            # the draws are seeded, the order of the evaluators does not matter
            assert row["p_max"] == pytest.approx(expected.p[k])
            assert row["r_by_chance"] == pytest.approx(expected.critical)
            assert row["n_tried"] == 2


def test_a_best_evaluator_within_chance_is_not_believed(tmp_path: Path) -> None:
    inputs, _ = planted_verdicts(tmp_path, {"global": RANDOM, "continuation": RANDOM[::-1]}, MOS)
    assert verdicts(people_of(inputs))[0].believe.startswith("Cannot tell whether any agrees with people")


def test_an_evaluator_against_people_is_said_to_be(tmp_path: Path) -> None:
    inputs, _ = planted_verdicts(tmp_path, {"global": GOOD[::-1]}, MOS)
    said = verdicts(people_of(inputs))[0]
    assert said.believe == "No evaluator of the primary family orders the systems as people do."


# One judge, one task, three systems, hand-made margins and scores; the middle of the scale is 3.
MARGINS = {"a": [0.4, 0.3, -0.2, None], "b": [0.1, -0.4, 0.2, 0.3], "c": [-0.1, 0.0, 0.5, -0.3]}
SCORES = {"a": [5, 2, 1, 4], "b": [4, 5, 3, 4], "c": [2, 4, 1, 1]}


def judged(folder: Path, margins: dict[str, list[float | None]] = MARGINS, **more: Any) -> ReportInputs:
    verdicts_of = {name: {("one", "global"): [1.0, 0.0, 1.0, 0.0]} for name in margins}
    inputs = simulate_verdicts(folder / "in", verdicts_of, clusters=["p", "q", "r", "s"])
    pairs = read_pairs(inputs).to_dicts()
    judging = {}
    for name, of_system in margins.items():
        rows = [
            judging_row(item, "model", margin)
            | ({} if margin is not None else {"audio_status": "silent", "verdict": 0.0, "status": "ok"})
            for item, margin in zip(pairs, of_system, strict=True)
        ]
        judging[name, "ear"] = write_judging(folder / f"{name}.parquet", rows)
    votes = pl.DataFrame(
        [
            {"system": name, "item": item["item_id"], "task": "one", "listener": who, "dimension": "d", "score": score}
            for name, scores in SCORES.items()
            for item, score in zip(pairs, scores, strict=True)
            for who in ("v", "w")
        ]
    )
    inputs = replace(inputs, judging=judging, judges={"ear": JudgeEntry("ear", "simulated", "speaker")})
    return with_study(inputs, folder, votes, **more)


@pytest.mark.parametrize("own", [False, True])
def test_confusion_of_judge_and_people_by_hand(tmp_path: Path, own: bool) -> None:
    inputs = judged(tmp_path)
    found = people_of(as_own(inputs) if own else inputs)
    row = one(found.judges, judge="ear", task="one", quintile=0)
    counts = [row[f"n_{kind}"] for kind in ("right_above", "right_below", "wrong_above", "wrong_below", "undecided")]
    # right and above: a0, b0, b3; right and below: a1, c2; wrong and above: b1; wrong and below: a2, c0, c3
    assert counts == [3, 2, 1, 3, 2]
    assert (row["n_rows"], row["n_unusable"]) == (11, 1)
    assert row["share"] == pytest.approx(6 / 9)
    assert row["share_if_independent"] == pytest.approx((5 * 4 + 4 * 5) / 81)
    assert row["low"] <= row["share"] <= row["high"]
    fifths = found.judges.filter((pl.col("task") == "one") & (pl.col("quintile") > 0)).sort("quintile")
    assert fifths["n_rows"].to_list() == [3, 2, 2, 2, 2]
    # the least sure: c1 (0), b0 (.1), c0 (-.1); the surest: b1 (-.4) or a0 (.4), and c2 (.5)
    assert fifths["margin_high"].to_list()[0] == pytest.approx(0.1)
    assert fifths["margin_high"].to_list()[-1] == pytest.approx(0.5)
    assert fifths["margin_low"].is_sorted()


def test_greatest_disagreements_come_first(tmp_path: Path) -> None:
    rows = people_of(judged(tmp_path)).disagreements.sort("rank")
    pairs = read_pairs(judged(tmp_path / "again"))["item_id"].to_list()
    # .5 / .5 x 1 = 1; -.4 / .5 x 1 = .8; .3 / .5 x .5 = .3
    assert rows.select("system_id", "item_id").rows() == [("c", pairs[2]), ("b", pairs[1]), ("a", pairs[1])]
    assert rows["disagreement"].to_list() == pytest.approx([1.0, 0.8, 0.3], abs=1e-6)
    assert rows["mos"].to_list() == [1.0, 5.0, 2.0]


def test_points_are_the_means_that_are_correlated(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("points")
    inputs = simulate(folder / "in", n_models=6, n_items=20)
    inputs = with_study(inputs, folder, votes_on(inputs, planted(inputs), np.random.default_rng(0)))
    found = people_of(inputs)
    points = found.points.filter(
        (pl.col("evaluator") == "localized") & (pl.col("level") == "system") & (pl.col("value") == "accuracy")
    )
    row = one(found.people, evaluator="localized", convention="default", window_s=0.2, level="system")
    assert np.corrcoef(points["x"], points["mos"])[0, 1] == pytest.approx(row["pearson"], abs=1e-9)
    means = found.mos.filter(pl.col("level") == "system").sort("system_id")
    assert points.sort("system_id")["mos"].to_list() == pytest.approx(means["mos"].to_list())
    assert points.sort("system_id")["mos_low"].to_list() == pytest.approx(means["low"].to_list())
    assert (points["x_low"] < points["x"]).all()


def test_what_would_tell_two_evaluators_apart_is_said_at_system_level(tmp_path: Path) -> None:
    """With exact means (no noise of votes or items is known to matter) systems are what is missing."""
    noisy = [0.2, 0.15, 0.4, 0.35, 0.6, 0.5, 0.8, 0.65, 0.85]
    inputs, _ = planted_verdicts(tmp_path, {"global": RANDOM, "continuation": noisy}, MOS)
    found = people_of(inputs)
    row = one(found.differences, level="system")
    x, z = (np.array([round(40 * s) / 40 for s in side]) for side in (RANDOM, noisy))
    r_a, r_b, r_ab = np.corrcoef(x, MOS)[0, 1], np.corrcoef(z, MOS)[0, 1], np.corrcoef(x, z)[0, 1]
    assert row["power"] == pytest.approx(williams_power(r_a, r_b, r_ab, 9), abs=1e-9)
    if row["n_systems_needed"] > 4:
        assert williams_power(r_a, r_b, r_ab, row["n_systems_needed"]) >= 0.8
        assert williams_power(r_a, r_b, r_ab, row["n_systems_needed"] - 1) < 0.8
    assert f"{row['power']:.0%} of studies" in row["power_in_words"]
    assert one(found.differences, level=WITHIN)["power"] is None


def test_choosing_and_combining_are_judged_on_left_out_systems(tmp_path: Path) -> None:
    inputs, _ = planted_verdicts(tmp_path, {"global": GOOD, "continuation": RANDOM}, MOS)
    models = {name: replace(entry, family="xy"[k % 2]) for k, (name, entry) in enumerate(inputs.models.items())}
    found = people_of(replace(inputs, models=models))
    assert set(found.choice.select("among", "left_out").unique().rows()) == {
        ("primary family", "system"),
        ("primary family", "family"),
    }
    x = np.stack([np.column_stack([GOOD, GOOD]), np.column_stack([[round(40 * s) / 40 for s in RANDOM]] * 2)])
    y = np.column_stack([MOS, MOS])
    for left_out, groups in (("system", None), ("family", [entry.family for entry in models.values()])):
        expected = choose_out_of_fold(x, y, ["global", "continuation"], groups, 0, 500)
        for chosen in expected.methods:
            row = one(found.choice, left_out=left_out, method=chosen.method)
            assert row["accuracy"] == pytest.approx(chosen.accuracy)
            assert json.loads(row["weights"]) == pytest.approx(chosen.weights)
            assert row["n_pairs"] == expected.n_pairs
            assert (row["verdict"] is None) == (chosen.method == "best")
    assert one(found.choice, left_out="system", method="best")["accuracy"] == 1.0


def test_prompt_by_prompt_by_hand(tmp_path: Path) -> None:
    """Margins as they are, over the systems of a prompt; one prompt has two systems with a margin, and drops."""
    found = people_of(judged(tmp_path)).people
    row = one(found, evaluator="judge:ear", level="item", value="margin")
    by_prompt = []
    for k in range(3):
        x, y = ([side[name][k] for name in "abc"] for side in (MARGINS, SCORES))
        by_prompt.append(
            (stats.pearsonr(x, y).statistic, stats.spearmanr(x, y).statistic, stats.kendalltau(x, y).statistic)
        )
    for coefficient, values in zip(("pearson", "spearman", "kendall"), zip(*by_prompt, strict=True), strict=True):
        assert row[coefficient] == pytest.approx(np.mean(values), abs=1e-6)
    assert row["n_items"] == 3
    assert "1 prompt dropped: fewer than three systems have both sides" in row["note"]


def test_ranks_within_the_model_do_not_see_which_model_is_better(tmp_path: Path) -> None:
    """Adding to all margins of a model, or scaling them, changes nothing: tokenizers have no common scale."""
    first = one(people_of(judged(tmp_path / "a")).people, evaluator="judge:ear", level="item", value="margin_rank")
    ranks = {name: stats.rankdata([m for m in of if m is not None]) for name, of in MARGINS.items()}
    mos = {name: stats.rankdata(of[: len(ranks[name])]) for name, of in SCORES.items()}
    shares = {name: ((ranks[name] - 0.5) / len(ranks[name]), (mos[name] - 0.5) / len(ranks[name])) for name in "abc"}
    expected = [
        stats.pearsonr([shares[n][0][k] for n in "abc"], [shares[n][1][k] for n in "abc"]).statistic for k in range(3)
    ]
    assert first["pearson"] == pytest.approx(np.mean(expected), abs=1e-9)
    scaled = {name: [None if m is None else 0.1 * m + k for m in of] for k, (name, of) in enumerate(MARGINS.items())}
    people = people_of(judged(tmp_path / "b", margins=scaled)).people
    second = one(people, evaluator="judge:ear", level="item", value="margin_rank")
    assert second["pearson"] == pytest.approx(first["pearson"], abs=1e-9)
    as_it_is = one(people, evaluator="judge:ear", level="item", value="margin")
    assert as_it_is["pearson"] != pytest.approx(first["pearson"], abs=1e-3)
