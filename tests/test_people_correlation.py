"""Evaluators against people: what is correlated, and what never is. All votes here are simulated or written by hand."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np
import polars as pl
import pytest
from people_simulation import (
    as_own,
    found_items,
    one,
    people_of,
    planted,
    study_tables,
    votes_on,
    with_naturalness,
    with_study,
)
from report_simulation import read_pairs, simulate, simulate_verdicts
from scipy import stats

from spokeneval.errors import ConfigError
from spokeneval.ratings.schemas import RATINGS
from spokeneval.report.inputs import ModelEntry, ReportInputs
from spokeneval.report.people.tables import PeopleTables
from spokeneval.tables import EVALUATORS, JUDGING, read_table, write_table

TASKS = ("speaker", "background", "room")
WITHIN, POOLED = "system_task_within", "system_task_pooled"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """9 models that are heard and one that is not; 50 items a task, 5 votes on each."""
    folder = tmp_path_factory.mktemp("people")
    simulated = simulate(folder / "in", n_models=10, n_items=50, hearing=5.0)
    return with_study(simulated, folder, votes_on(simulated, planted(simulated), np.random.default_rng(0)))


@pytest.fixture(scope="module")
def found(inputs: ReportInputs) -> PeopleTables:
    return people_of(inputs)


def by_hand(inputs: ReportInputs, evaluator: str, window: float | None) -> dict[str, dict[tuple[str, str], float]]:
    """Accuracy and MOS of each (system, task), from the files themselves."""
    votes: dict[tuple[str, str], list[float]] = defaultdict(list)
    with open(inputs.studies["t"].ratings.parent.parent / "votes.csv", newline="") as file:
        for vote in csv.DictReader(file):
            votes[vote["system"], vote["task"]].append(float(vote["score"]))
    verdicts: dict[tuple[str, str], list[float]] = defaultdict(list)
    for model, path in inputs.evaluators.items():
        for row in read_table(path, EVALUATORS).iter_rows(named=True):
            same = row["evaluator"] == evaluator and row["window_s"] == window and row["convention"] == "default"
            if same and row["verdict"] is not None and (model, row["task"]) in votes:
                verdicts[model, row["task"]].append(row["verdict"])
    return {
        "x": {key: fmean(values) for key, values in verdicts.items()},
        "y": {key: fmean(values) for key, values in votes.items()},
        "x_all": {(m, "all"): fmean([v for k in TASKS for v in verdicts[m, k]]) for m in {m for m, _ in votes}},
        "y_all": {(m, "all"): fmean([v for k in TASKS for v in votes[m, k]]) for m in {m for m, _ in votes}},
    }


def test_planted_order_is_recovered_and_the_best_is_beyond_chance(inputs: ReportInputs, found: PeopleTables) -> None:
    order = list(planted(inputs))
    means = found.mos.filter(pl.col("level") == "system").sort("mos")
    assert means["system_id"].to_list() == order
    row = one(found.people, evaluator="localized", window_s=0.2, convention="default", level="system")
    assert row["n_systems"] == 9
    assert row["n_votes"] == 9 * 3 * 50 * 5
    assert row["spearman"] > 0.95
    assert row["p_max"] < 0.01
    assert row["these_low"] < row["corrected"]
    assert row["reliability_mos"] > 0.95
    assert row["simulated"]
    assert found.people["simulated"].all()


@pytest.mark.parametrize(("evaluator", "window"), [("localized", 0.2), ("global", None)])
def test_coefficients_are_those_of_scipy_on_the_raw_files(
    inputs: ReportInputs, found: PeopleTables, evaluator: str, window: float | None
) -> None:
    hand = by_hand(inputs, evaluator, window)
    chosen = found.people.filter(
        pl.col("evaluator") == evaluator, pl.col("window_s").eq_missing(window), pl.col("convention") == "default"
    )
    systems = sorted({name for name, _ in hand["y"]})
    of_tasks = []
    for task in TASKS:
        x, y = (np.array([hand[side][name, task] for name in systems]) for side in "xy")
        of_tasks.append(stats.pearsonr(x, y).statistic)
        row = one(chosen, level="task", task=task)
        assert row["pearson"] == pytest.approx(of_tasks[-1], abs=1e-9)
        assert row["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
        assert row["kendall"] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-9)
        half = 1.959963984540054 / np.sqrt(len(x) - 3)
        bounds = np.tanh(np.arctanh(of_tasks[-1]) + np.array([-half, half]))
        assert (row["pearson_low"], row["pearson_high"]) == pytest.approx(tuple(bounds), abs=1e-9)
        alike = [np.sign(x[i] - x[j]) == np.sign(y[i] - y[j]) for i, j in combinations(range(len(x)), 2)]
        assert row["pairwise_accuracy"] == pytest.approx(fmean(map(float, alike)))
    assert one(chosen, level=WITHIN)["pearson"] == pytest.approx(fmean(of_tasks), abs=1e-9)
    cells = sorted(hand["y"])
    x, y = (np.array([hand[side][cell] for cell in cells]) for side in "xy")
    pooled = one(chosen, level=POOLED)
    assert pooled["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)
    centred = [
        np.array(
            [v - fmean([w for (_, t), w in hand[side].items() if t == task]) for (_, task), v in hand[side].items()]
        )
        for side in "y"
    ]
    keys = list(hand["y"])
    other = np.array([hand["x"][k] - fmean([w for (_, t), w in hand["x"].items() if t == k[1]]) for k in keys])
    assert pooled["pearson_task_centred"] == pytest.approx(stats.pearsonr(other, centred[0]).statistic, abs=1e-9)
    assert pooled["pearson_low"] is None
    assert "not independent" in pooled["note"]
    x, y = (np.array([hand[side][name, "all"] for name in systems]) for side in ("x_all", "y_all"))
    assert one(chosen, level="system")["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)


def test_within_family_is_the_correlation_of_what_families_leave(inputs: ReportInputs, found: PeopleTables) -> None:
    hand = by_hand(inputs, "global", None)
    row = one(found.people, evaluator="global", convention="default", level="system")
    sides = []
    for side in ("x_all", "y_all"):
        values = {name: value for (name, _), value in hand[side].items()}
        families: dict[str, list[float]] = defaultdict(list)
        for name, value in values.items():
            families[inputs.models[name].family].append(value)
        sides.append([values[name] - fmean(families[inputs.models[name].family]) for name in sorted(values)])
    assert row["pearson_within_family"] == pytest.approx(stats.pearsonr(*sides).statistic, abs=1e-9)
    # all of them speak through one codec
    assert row["pearson_within_codec"] is None


def test_the_other_way_round_keeps_its_sign(inputs: ReportInputs, found: PeopleTables, tmp_path: Path) -> None:
    quality = planted(inputs)
    turned = dict(zip(quality, reversed(quality.values()), strict=True))
    against = people_of(
        with_study(replace(inputs, studies={}), tmp_path, votes_on(inputs, turned, np.random.default_rng(0)))
    )
    row = one(against.people, evaluator="localized", window_s=0.2, convention="default", level="system")
    assert row["pearson"] < -0.9
    assert row["corrected"] < -0.9


def test_a_metric_that_is_the_mos_gives_1_and_turned_round_minus_1(inputs: ReportInputs, tmp_path: Path) -> None:
    # four votes: means that float32, in which judges write, holds exactly
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0), votes_per_item=4)
    inputs = with_study(replace(inputs, studies={}), tmp_path, votes)
    means = found_items(inputs)
    for name, factor, higher, expected in (
        ("same", 1, True, 1),
        ("turned", -1, True, -1),
        ("said-so", -1, False, 1),
    ):
        scores = {key: factor * value for key, value in means.items()}
        people = people_of(with_naturalness(inputs, tmp_path / name, scores, name, higher_is_better=higher)).people
        rows = people.filter(pl.col("evaluator") == f"judge:{name}")
        assert set(rows["level"]) >= {"system", "task", POOLED, WITHIN}
        for row in rows.filter(pl.col("level") != "item").iter_rows(named=True):
            for coefficient in ("pearson", "spearman", "kendall"):
                assert row[coefficient] == pytest.approx(expected, abs=1e-6), (name, row["level"], coefficient)
            assert row["pairwise_accuracy"] == pytest.approx((1 + expected) / 2)
            assert row["higher_is_better"] is higher
        item = one(rows, level="item")
        assert item["pearson"] == pytest.approx(expected, abs=1e-6)
        assert item["n_items"] > 100


def test_all_tied_is_null_with_a_reason(inputs: ReportInputs, tmp_path: Path) -> None:
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0)).with_columns(score=pl.lit(3.0))
    found = people_of(with_study(replace(inputs, studies={}), tmp_path, votes))
    assert found.people["pearson"].null_count() == len(found.people) > 0
    assert found.people["pairwise_accuracy"].null_count() == len(found.people)
    assert (
        "MOS is the same for all systems"
        in one(found.people, evaluator="global", convention="default", level="system")["note"]
    )
    assert set(found.differences["verdict"]) == {"cannot tell"}
    assert found.differences["p"].null_count() == len(found.differences)


def test_anchors_and_recordings_of_people_never_enter(
    inputs: ReportInputs, found: PeopleTables, tmp_path: Path
) -> None:
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0))
    of_first = votes.filter(pl.col("system") == "sim-a")
    # one of them bears the name of a model that is not heard
    extra = [of_first.with_columns(system=pl.lit(name), score=pl.lit(5.0)) for name in ("top", "sim-j")]
    roles = {"anchor": ["sim-j"], "human": ["top"]}
    again = people_of(with_study(replace(inputs, studies={}), tmp_path, pl.concat([votes, *extra]), roles=roles))
    assert again.people.equals(found.people)
    assert again.differences.equals(found.differences)
    shown = again.mos.filter((pl.col("level") == "system") & ~pl.col("correlated"))
    assert dict(zip(shown["system_id"], shown["role"], strict=True)) == {"sim-j": "anchor", "top": "human"}


def test_excluded_and_stale_votes_never_enter(inputs: ReportInputs, found: PeopleTables, tmp_path: Path) -> None:
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0))
    noise = votes.with_columns(listener=pl.lit("x") + pl.col("listener"), score=pl.lit(1.0))
    files = study_tables(tmp_path / "t", pl.concat([votes, noise]), test_id="t")
    table = read_table(files.ratings, RATINGS)
    ours = pl.col("listener_id").str.starts_with("x")
    reason = pl.when(ours & (pl.col("row") % 2 == 0)).then(pl.lit("stale")).when(ours).then(pl.lit("too_fast"))
    write_table(files.ratings, table.with_columns(excluded_reason=reason), RATINGS, "simulated")
    again = people_of(replace(inputs, studies={"t": files}))
    assert again.people.equals(found.people)
    assert again.items["n_excluded"].sum() == len(noise)


def test_pooled_and_within_can_disagree(tmp_path: Path) -> None:
    """Within each task the evaluator orders the systems the wrong way round; one task is easier for all (Simpson)."""
    accuracy = {"easy": (0.7, 0.8, 0.9), "hard": (0.1, 0.2, 0.3)}
    mos = {"easy": (4.6, 4.5, 4.4), "hard": (2.6, 2.5, 2.4)}
    verdicts = {
        name: {
            (task, "global"): [1.0 if i < round(10 * shares[k]) else 0.0 for i in range(10)]
            for task, shares in accuracy.items()
        }
        for k, name in enumerate("abc")
    }
    inputs = simulate_verdicts(tmp_path / "in", verdicts)
    items = read_pairs(inputs)
    votes = pl.DataFrame(
        [
            {"system": name, "item": item, "task": task, "listener": who, "dimension": "d", "score": mos[task][k]}
            for k, name in enumerate("abc")
            for task, item in items.select("task", "item_id").iter_rows()
            for who in ("v", "w")
        ]
    )
    found = people_of(with_study(inputs, tmp_path, votes, scale={"low": 1, "high": 5, "step": None})).people
    assert one(found, level=WITHIN)["pearson"] == pytest.approx(-1)
    pooled = one(found, level=POOLED)
    x, y = (np.array([*side["easy"], *side["hard"]]) for side in (accuracy, mos))
    assert pooled["pearson"] == pytest.approx(stats.pearsonr(x, y).statistic)
    assert pooled["pearson"] > 0.9
    assert pooled["pearson_task_centred"] == pytest.approx(-1)


def test_rated_samples_and_the_other_ones(inputs: ReportInputs, tmp_path: Path) -> None:
    """Where people heard our audio, the judge's means over rated samples and over the others are told apart."""
    small = with_study(
        replace(inputs, studies={}), tmp_path, votes_on(inputs, planted(inputs), np.random.default_rng(1), n_items=20)
    )
    rng = np.random.default_rng(2)
    pairs = read_pairs(small).filter(pl.col("task").is_in(TASKS))
    judging, by_sample = dict(small.judging), {}
    for model in planted(small):
        path = small.judging[model, "sim-nice"]
        table = read_table(path, JUDGING)
        second = table.with_columns(
            sample_index=pl.lit(1, pl.Int16), score=pl.Series(rng.normal(3, 1, len(table)), dtype=pl.Float32)
        )
        both = pl.concat([table, second])
        new = tmp_path / f"{model}.parquet"
        write_table(new, both, JUDGING, "simulated")
        judging[model, "sim-nice"] = new
        by_sample[model] = both
    found = people_of(as_own(replace(small, judging=judging))).people
    row = one(found, evaluator="judge:sim-nice", level="system")
    rated = set(pairs.filter(pl.col("index") < 20)["item_id"])
    votes = read_table(small.studies["t"].ratings, RATINGS)
    names = sorted(by_sample)
    y = [votes.filter(pl.col("system_id") == name)["score"].mean() for name in names]
    for sample, column in ((0, "pearson_rated"), (1, "pearson_other_samples")):
        chosen = (pl.col("sample_index") == sample) & pl.col("item_id").is_in(list(rated))
        x = [by_sample[name].filter(chosen)["score"].cast(pl.Float64).mean() for name in names]
        assert row[column] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-6)
    assert row["pearson_rated"] > row["pearson_other_samples"]


def test_systems_and_tasks_that_the_report_lacks_are_left_out_and_said(inputs: ReportInputs, tmp_path: Path) -> None:
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0), n_items=5)
    strange = votes.with_columns(system=pl.lit("elsewhere"))
    other = votes.with_columns(task=pl.lit("splice_control"))
    renamed = votes.with_columns(task=pl.lit("singing"), item=pl.lit("song ") + pl.col("item"))
    mixed = pl.concat([votes, strange.unique(["item", "listener"]), other, renamed])
    alone = people_of(with_study(replace(inputs, studies={}), tmp_path / "a", votes))
    found = people_of(with_study(replace(inputs, studies={}), tmp_path / "b", mixed))
    assert found.people.equals(alone.people)
    said = " ".join(found.questions[0].left_out)
    assert "1 system not among the models of this report: elsewhere" in said
    assert "2 tasks that this report lacks or takes as a control: singing and splice_control" in said


def test_a_system_without_one_of_the_tasks_is_left_out_of_system_means(inputs: ReportInputs, tmp_path: Path) -> None:
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0), n_items=10)
    partly = votes.filter((pl.col("system") != "sim-c") | (pl.col("task") != "room"))
    found = people_of(with_study(replace(inputs, studies={}), tmp_path, partly)).people
    row = one(found, evaluator="global", convention="default", level="system")
    assert row["n_systems"] == 8
    assert "1 system without a value on one side in one of the tasks left out" in row["note"]
    assert one(found, evaluator="global", convention="default", level="task", task="speaker")["n_systems"] == 9
    assert one(found, evaluator="global", convention="default", level="task", task="room")["n_systems"] == 8


def test_few_systems_have_a_value_and_no_interval(inputs: ReportInputs, tmp_path: Path) -> None:
    four, bare = dict(list(planted(inputs).items())[:4]), replace(inputs, studies={})
    found = people_of(with_study(bare, tmp_path, votes_on(inputs, four, np.random.default_rng(0))))
    row = one(found.people, evaluator="global", convention="default", level="system")
    assert row["pearson"] is not None
    assert row["pearson_low"] is None
    assert "an interval for new systems needs 5" in row["note"]
    two = dict(list(four.items())[:2])
    found = people_of(with_study(bare, tmp_path / "two", votes_on(inputs, two, np.random.default_rng(0))))
    row = one(found.people, evaluator="global", convention="default", level="system")
    assert row["pearson"] is None
    assert "2 systems: a correlation needs 3" in row["note"]


def test_only_the_primary_family_gets_all_draws(inputs: ReportInputs, found: PeopleTables) -> None:
    drawn = found.people.filter(pl.col("n_draws").is_not_null())
    assert set(drawn.filter("primary")["n_draws"]) == {inputs.settings.n_draws} == {2000}
    assert set(drawn.filter(~pl.col("primary"))["n_draws"]) == {1000}
    assert set(found.people.filter("primary")["evaluator"]) == {*inputs.settings.primary_evaluators, "judge"}


def test_where_listeners_are_not_known_there_is_no_split_half(inputs: ReportInputs, tmp_path: Path) -> None:
    """A study of means has one score an audio: its listeners' noise cannot be told, the coefficients are the same."""
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0), votes_per_item=1)
    known = study_tables(tmp_path / "t", votes, test_id="t")
    before = people_of(replace(inputs, studies={"t": known}))
    table = read_table(known.ratings, RATINGS).with_columns(listener_id=pl.lit(None, pl.String))
    write_table(known.ratings, table, RATINGS, "simulated")
    again = people_of(replace(inputs, studies={"t": known}))
    row, other = (one(t.people, evaluator="global", convention="default", level="system") for t in (again, before))
    assert row["pearson"] == other["pearson"]
    assert row["split_half"] is None
    assert row["max_r"] is None
    assert row["reliability_mos"] > 0.9


def test_two_studies_of_one_name_are_refused(inputs: ReportInputs) -> None:
    with pytest.raises(ConfigError, match="'t' and 'again' both say test_id 't'"):
        people_of(replace(inputs, studies={**inputs.studies, "again": inputs.studies["t"]}))


def test_a_report_of_systems_that_nobody_rated_says_so(inputs: ReportInputs, tmp_path: Path) -> None:
    votes = votes_on(inputs, planted(inputs), np.random.default_rng(0), n_items=3)
    foreign = votes.with_columns(system=pl.lit("other ") + pl.col("system"))
    found = people_of(with_study(replace(inputs, studies={}), tmp_path, foreign))
    assert found.people.is_empty()
    assert not found.mos.is_empty()
    assert not found.mos["correlated"].any()
    assert "9 systems not among the models of this report" in found.questions[0].left_out[0]


def test_ceilings_are_those_of_the_listeners(found: PeopleTables) -> None:
    row = one(found.people, evaluator="global", convention="default", level="system")
    halves = one(found.listeners, over="systems")
    assert row["split_half"] == pytest.approx(halves["split_half"], abs=1e-9)
    assert row["max_r"] == pytest.approx(np.sqrt(halves["split_half"]), abs=1e-9)


def test_partial_given_the_attribute_ceiling(inputs: ReportInputs, tmp_path: Path) -> None:
    """Half of the systems speak through another codec; what is left beside its ceiling is correlated."""
    models = dict(inputs.models)
    moved = [name for k, name in enumerate(planted(inputs)) if k % 2]
    for name in moved:
        models[name] = ModelEntry(name, models[name].family, "sim-other", "sim-vocoder")
    first = inputs.ceilings["sim-acoustic-sim-vocoder"]
    worse = {}
    for judge, path in first.items():
        table = read_table(path, JUDGING)
        flipped = table.with_columns(verdict=pl.when(pl.int_range(pl.len()) % 3 == 0).then(0.0).otherwise("verdict"))
        worse[judge] = tmp_path / f"{judge}.parquet"
        write_table(worse[judge], flipped, JUDGING, "simulated")
    found = people_of(replace(inputs, models=models, ceilings={**inputs.ceilings, "sim-other-sim-vocoder": worse}))
    row = one(found.people, evaluator="global", convention="default", level="task", task="background")
    hand = by_hand(inputs, "global", None)
    names = sorted({name for name, _ in hand["y"]})
    codec = np.array([float(name in moved) for name in names])
    x, y = (np.array([hand[side][name, "background"] for name in names]) for side in "xy")
    # two codecs have two ceilings: given them is within codecs
    rxy, rxz, ryz = np.corrcoef(x, y)[0, 1], np.corrcoef(x, codec)[0, 1], np.corrcoef(y, codec)[0, 1]
    expected = (rxy - rxz * ryz) / np.sqrt((1 - rxz**2) * (1 - ryz**2))
    assert row["pearson_given_ceiling"] == pytest.approx(expected, abs=1e-9)
    assert row["pearson_within_codec"] == pytest.approx(expected, abs=1e-9)
