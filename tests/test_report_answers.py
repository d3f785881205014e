"""The first screen: which controls warn, in what order models stand, and that a thing is said once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_simulation import (
    Verdicts,
    evaluator_row,
    judging_row,
    simulate,
    simulate_pairs,
    simulate_verdicts,
    with_series,
    write_evaluators,
    write_judging,
)

from spokeneval import tables
from spokeneval.evaluators.reduction import NO_CLEAN_PROMPT
from spokeneval.report import make_report
from spokeneval.report.accuracy import read_scores
from spokeneval.report.failures import failures_table, most_frequent_reason, n_failed_items
from spokeneval.report.inputs import JudgeEntry, ModelEntry, ReportInputs, ReportSettings
from spokeneval.report.items import read_judging
from spokeneval.report.schemas import COMPARISONS

N_ITEMS = 20


def _right(n: int, of: int = N_ITEMS) -> list[float | None]:
    return [1.0] * n + [0.0] * (of - n)


def _section(inputs: ReportInputs, folder: Path, name: str) -> str:
    make_report(inputs, folder / "report", "x")
    text = (folder / "report" / "report.html").read_text()
    begin = text.index(f'<section id="{name}"')
    return text[begin : text.index("</section>", begin)]


def _with_placebos(folder: Path, right: dict[tuple[str, float | None, str], int]) -> ReportInputs:
    """One model at chance; (evaluator, window, convention) -> how many items a placebo has right."""
    pairs = simulate_pairs(folder, np.random.default_rng(0), N_ITEMS, ("speaker",))
    rows = []
    for (name, window, convention), n in {("localized", 0.5, "default"): N_ITEMS // 2, **right}.items():
        for k, item in enumerate(pairs):
            scores = {"positive": 1.0, "negative": 2.0 if k < n else 0.0}
            rows.append(evaluator_row(item, name, window, convention=convention, **scores))
    return ReportInputs(
        dataset="simulated",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models={"m": ModelEntry("m", "f", "t")},
        evaluators={"m": write_evaluators(folder / "m.parquet", rows)},
        settings=ReportSettings(n_draws=500, primary_window_s=0.5),
    )


def test_placebos_off_the_page_warn_of_nothing(tmp_path: Path) -> None:
    half = N_ITEMS // 2
    off = {("placebo_window", 1.0, "default"): N_ITEMS, ("placebo_window", 0.5, "sum"): N_ITEMS}
    inputs = _with_placebos(tmp_path, {**off, ("placebo_window", 0.5, "default"): half})
    assert "off chance" not in _section(inputs, tmp_path, "answer")


def test_a_placebo_off_chance_is_named_with_its_interval(tmp_path: Path) -> None:
    inputs = _with_placebos(tmp_path, {("placebo_window", 0.5, "default"): N_ITEMS})
    text = _section(inputs, tmp_path, "answer")
    assert "Placebo (before the change) is off chance: placebo_window 0.5 s of m 100.0 [" in text


def _with_baselines(folder: Path, right: dict[str, int], task: str = "speaker", own: int = 10) -> ReportInputs:
    """One model with `own` of 20 right; baselines from the audio with as many right as said."""
    inputs = simulate_verdicts(folder, {"m": {(task, "localized"): _right(own)}}, clusters=[f"c{k}" for k in range(20)])
    pairs = tables.read_table(inputs.pairs, tables.PAIRS).to_dicts()
    rows = [
        evaluator_row(item, name, None, positive=1.0, negative=2.0 if k < n else 0.0)
        for name, n in right.items()
        for k, item in enumerate(pairs)
    ]
    return replace(inputs, controls={"audio": write_evaluators(folder / "audio.parquet", rows)})


@pytest.mark.parametrize("name", ["longer", "louder", "level_jump", "unigram", "bigram"])
@pytest.mark.parametrize(("n", "told"), [(20, "100.0 ["), (17, "85.0 ["), (3, "15.0 ["), (11, None)])
def test_a_baseline_off_chance_is_said_with_its_number(tmp_path: Path, name: str, n: int, told: str | None) -> None:
    text = _section(_with_baselines(tmp_path, {name: n}), tmp_path, "answer")
    assert ("Without any model" in text) == (told is not None)
    assert told is None or f"Without any model, &#39;{name}&#39; gets {told}" in text


def test_longer_and_shorter_are_one_cue_and_the_one_that_is_right_is_said(tmp_path: Path) -> None:
    text = _section(_with_baselines(tmp_path / "a", {"longer": 17, "shorter": 3}), tmp_path, "answer")
    assert "&#39;longer&#39; gets 85.0" in text
    assert "shorter" not in text
    text = _section(_with_baselines(tmp_path / "b", {"longer": 2, "shorter": 18}), tmp_path, "answer")
    assert "&#39;shorter&#39; gets 90.0" in text
    assert "longer" not in text


@pytest.mark.parametrize(("own", "told"), [(18, "m 90.0 ["), (2, "m 10.0 ["), (10, None)])
def test_a_join_that_is_heard_is_said_with_its_number(tmp_path: Path, own: int, told: str | None) -> None:
    text = _section(_with_baselines(tmp_path, {}, "splice_control", own), tmp_path, "answer")
    assert ("The join alone" in text) == (told is not None)
    assert told is None or f"The join alone is off chance for {told}" in text


def test_what_could_be_seen_counts_clusters(tmp_path: Path) -> None:
    """Ten clusters of two alike: the differences of a cluster go together, so the design effect is two."""
    a = [float(k // 2 < 6) for k in range(N_ITEMS)]
    b = [float(k // 2 >= 4) for k in range(N_ITEMS)]
    found = {}
    for name, clusters in (("pairs", [f"c{k // 2}" for k in range(20)]), ("alone", [f"c{k}" for k in range(20)])):
        verdicts: Verdicts = {"a": {("speaker", "localized"): [*a]}, "b": {("speaker", "localized"): [*b]}}
        make_report(simulate_verdicts(tmp_path / name, verdicts, clusters=clusters), tmp_path / name / "report", "x")
        table = tables.read_table(tmp_path / name / "report/tables/comparisons.parquet", COMPARISONS)
        found[name] = table["mdd"].to_list()
        text = (tmp_path / name / "report/report.html").read_text()
        assert f"Differences below about {100 * found[name][0]:.0f} points" in text
    # eight items that a alone has right and eight that b alone has: discordance .8
    assert found["alone"] == [pytest.approx((1.959964 + 0.841621) * np.sqrt(0.8 / 20), abs=1e-6)]
    assert found["pairs"] == [pytest.approx((1.959964 + 0.841621) * np.sqrt(0.8 * 2 / 20), abs=1e-6)]


def test_what_could_be_seen_of_an_average_over_clusters_weighs_items_as_it_does(tmp_path: Path) -> None:
    """One cluster of four and four of one: an item weighs 8 / (5 x size of its cluster)."""
    clusters = ["big"] * 4 + ["c1", "c2", "c3", "c4"]
    verdicts: Verdicts = {
        "a": {("speaker", "localized"): [1.0] * 8},
        "b": {("speaker", "localized"): [0.0] * 4 + [1.0] * 3 + [0.0]},
    }
    inputs = simulate_verdicts(tmp_path, verdicts, clusters=clusters, averaging="clusters")
    make_report(inputs, tmp_path / "report", "x")
    table = tables.read_table(tmp_path / "report/tables/comparisons.parquet", COMPARISONS)
    # two of five cluster means differ by 1: the variance of their mean is (1 + 1) / 5^2
    assert table["mdd"].to_list() == [pytest.approx((1.959964 + 0.841621) * np.sqrt(2 / 25), abs=1e-6)]
    assert table["difference"].to_list() == [pytest.approx(0.4)]


def _steps(folder: Path) -> ReportInputs:
    """Four steps whose accuracies do not follow their order."""
    right = {"s1": 9, "s2": 12, "s3": 17, "s4": 15}
    verdicts: Verdicts = {name: {("speaker", "localized"): _right(n)} for name, n in right.items()}
    return with_series(simulate_verdicts(folder, verdicts), list(right))


def _order(section: str, names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: section.index(f'<th scope="row">{name}</th>'))


def test_steps_of_one_series_stand_in_their_order_beside_their_curve(tmp_path: Path) -> None:
    inputs = _steps(tmp_path)
    text = _section(inputs, tmp_path, "answer")
    assert _order(text, list(inputs.models)) == ["s1", "s2", "s3", "s4"]
    assert "the steps of sim-run in their order" in text
    assert "Models ranked" not in text
    curve = "Accuracy over steps by localized"
    assert curve in text
    assert curve not in _section(inputs, tmp_path, "series")


def test_beside_other_models_steps_are_ranked(tmp_path: Path) -> None:
    inputs = _steps(tmp_path)
    inputs = replace(inputs, models={**inputs.models, "s2": ModelEntry("s2", "f", "t")})
    text = _section(inputs, tmp_path, "answer")
    assert _order(text, list(inputs.models)) == ["s3", "s4", "s2", "s1"]
    assert "in their order" not in text
    assert "Accuracy over steps by localized" in _section(inputs, tmp_path, "series")


def test_that_nothing_can_be_heard_is_said_once(tmp_path: Path) -> None:
    inputs = _steps(tmp_path)
    text = _section(inputs, tmp_path, "answer")
    assert text.count("be heard") == 1
    assert "No model can be heard (no vocoder) and there was no judge" in text
    assert "judge</b>" not in text
    for section in ("judges", "agreement"):
        assert _section(inputs, tmp_path, section).count("<p") == 1


def test_some_that_cannot_be_heard_are_named_and_a_judge_that_lacks_is_said_once(tmp_path: Path) -> None:
    inputs = simulate(tmp_path, n_models=3, n_items=8, tasks=("speaker",))
    text = _section(inputs, tmp_path, "answer")
    assert "sim-c cannot be heard and has no vocoder" in text
    assert "2 systems can be heard: below 5" in text
    mute = replace(inputs, judges={}, judging={}, qualification={}, ceilings={})
    text = _section(mute, tmp_path, "answer")
    assert "There was no judge" in text
    assert "be heard" not in text


def test_an_item_that_failed_anywhere_counts_once_and_absent_rows_never(tmp_path: Path) -> None:
    pairs = simulate_pairs(tmp_path, np.random.default_rng(0), 6, ("speaker",))
    rows = []
    for k, item in enumerate(pairs):
        for name in ("global", "continuation"):
            scores = {} if k == 0 else {"positive": 1.0, "negative": 2.0}
            rows.append(evaluator_row(item, name, None, reason=f"{k + 2} frames" if k == 0 else None, **scores))
        absent = {} if k == 5 else {"positive": 1.0, "negative": 2.0}
        why = f"positive: {NO_CLEAN_PROMPT}" if k == 5 else None
        rows.append(evaluator_row(item, "placebo", None, reason=why, **absent))
    judged = [judging_row(item, "model", 0.1) for item in pairs]
    judged[1] |= {"status": "failed", "reason": "no sound", "verdict": None, "margin": None}
    said = {"sample_index": 0, "status": "failed", "reason": "no sound", "clip_id": pairs[2]["prompt"]}
    blank = dict.fromkeys(tables.CONTINUATIONS.arrow.names)
    path = tmp_path / "continuations.parquet"
    tables.write_table(path, tables.CONTINUATIONS.from_rows([blank | said]), tables.CONTINUATIONS, "x")
    inputs = ReportInputs(
        dataset="simulated",
        pairs=tmp_path / "pairs.parquet",
        clips=tmp_path / "clips.parquet",
        models={"m": ModelEntry("m", "f", "t", "v")},
        judges={"j": JudgeEntry("j", "k", "speaker")},
        evaluators={"m": write_evaluators(tmp_path / "m.parquet", rows)},
        continuations={"m": path},
        judging={("m", "j"): write_judging(tmp_path / "judging.parquet", judged)},
    )
    read = (inputs, tables.read_table(inputs.pairs, tables.PAIRS), read_scores(inputs), read_judging(inputs))
    assert n_failed_items(*read) == 3
    assert most_frequent_reason(failures_table(*read)) == ("# frames", 2)
    assert most_frequent_reason(failures_table(*read).filter(pl.col("kind") == "absent")) is None
