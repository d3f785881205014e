"""Strata in the report: a planted dependence is flagged on the first screen, noise is not, small strata stay out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from report_simulation import read_pairs, simulate_verdicts

from spokeneval import tables
from spokeneval.report import make_report
from spokeneval.report.accuracy import read_scores
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.schemas import STRATA
from spokeneval.report.strata import flagged_kinds, strata_table, stratum_tests
from spokeneval.tables import read_table

N = 48


def _strata(inputs: ReportInputs) -> pl.DataFrame:
    return strata_table(inputs, read_pairs(inputs), read_scores(inputs))


def _planted(folder: Path) -> ReportInputs:
    """Right on 22 of 24 items of high frequency and on 4 of 24 of low; the type of the item changes nothing."""
    right = [float(k % 24 < (22 if k < 24 else 4)) for k in range(N)]
    labels = [
        {
            "frequency": "high" if k < 24 else "low",
            "type": ["noun", "verb"][k % 2],
            "rare": "yes" if k < 4 else "no",
            "word": f"w{k}",
            "same": "x",
        }
        for k in range(N)
    ]
    return simulate_verdicts(
        folder,
        {"m": {("lexical", "global"): right, ("lexical", "localized"): [1.0, 0.0] * 24}},
        clusters=[f"c{k}" for k in range(N)],
        labels=labels,
    )


def test_accuracy_by_stratum_by_hand_and_the_planted_one_is_flagged(tmp_path: Path) -> None:
    table = _strata(_planted(tmp_path)).filter(evaluator="global")
    rows = {(row["by"], row["stratum"]): row for row in table.iter_rows(named=True)}
    assert rows["label:frequency", "high"]["accuracy"] == pytest.approx(22 / 24)
    assert rows["label:frequency", "low"]["accuracy"] == pytest.approx(4 / 24)
    assert rows["label:frequency", "low"]["n"] == 24
    assert rows["label:frequency", "low"]["low"] < 4 / 24 < rows["label:frequency", "low"]["high"]
    assert rows["label:frequency", "high"]["flagged"]
    assert rows["label:frequency", "high"]["p_holm"] < 1e-4
    assert not rows["label:type", "noun"]["flagged"]


def test_only_labels_with_2_to_12_values_and_strata_of_5_items_are_taken(tmp_path: Path) -> None:
    kinds = set(_strata(_planted(tmp_path))["by"])
    # 'rare' keeps one stratum, 'word' has 48 values, 'same' one; the clips are all of one length
    assert kinds == {"label:frequency", "label:type"}


def test_headline_and_global_are_there_and_the_adjustment_is_over_the_task(tmp_path: Path) -> None:
    table = _strata(_planted(tmp_path))
    assert dict(table.select("evaluator", "headline").unique().iter_rows()) == {"localized": True, "global": False}
    assert len(stratum_tests(table)) == 4
    # localized alternates with the type, so two of the four tests are near 0 and two are of no difference at all
    by_p = sorted(test["p_holm"] for test in stratum_tests(table))
    assert by_p[1] < 1e-4 < by_p[2] == by_p[3] == 1.0
    assert [test["flagged"] for test in stratum_tests(table)] == [True, True, False, False]


def test_a_flagged_task_says_so_on_the_first_screen(tmp_path: Path) -> None:
    inputs = _planted(tmp_path)
    flagged = flagged_kinds(_strata(inputs), "lexical")
    assert [(f.evaluator, f.kind, f.models) for f in flagged] == [
        ("localized", "type", ["m"]),
        ("global", "frequency", ["m"]),
    ]
    assert [(f.high["stratum"], f.low["stratum"]) for f in flagged] == [("noun", "verb"), ("high", "low")]
    make_report(inputs, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    answer = text[text.index('id="answer"') : text.index('id="accuracy"')]
    assert "Accuracy under localized depends on type by more than chance for m" in answer
    told = "m gets 91.7 where high, 16.7 where low (see Strata)"
    assert f"Accuracy under global depends on frequency by more than chance for m: {told}." in answer
    assert "2 tests of 4 flagged" in text
    section = text[text.index('<section id="strata"') :]
    assert section.index("Flagged (2") < section.index("Not flagged (2")
    assert len(read_table(tmp_path / "report" / "tables" / "strata.parquet", STRATA)) == 8


def test_the_model_that_strata_pull_apart_most_is_named_first_with_its_numbers(tmp_path: Path) -> None:
    labels = [{"type": ["noun", "verb"][k % 2]} for k in range(N)]
    right = {"a": (20, 4), "b": (24, 0), "c": (12, 12)}
    verdicts = {
        name: {("lexical", "global"): [float(k // 2 < of_type[k % 2]) for k in range(N)]}
        for name, of_type in right.items()
    }
    (flagged,) = flagged_kinds(_strata(simulate_verdicts(tmp_path, verdicts, labels=labels)), "lexical")
    assert flagged.models == ["b", "a"]
    assert (flagged.high["accuracy"], flagged.low["accuracy"], flagged.high["model"]) == (1.0, 0.0, "b")


def test_members_without_audio_are_longer_by_their_tokens(tmp_path: Path) -> None:
    """Twelve frames against ten and the reverse; the longer one is always right."""
    inputs = simulate_verdicts(tmp_path, {"m": {("speaker", "global"): [1.0, 0.0] * (N // 2)}})
    pairs = read_pairs(inputs)
    rows = []
    for index, positive, negative in pairs.select("index", "positive", "negative").iter_rows():
        for clip, n in ((positive, 12 - 2 * (index % 2)), (negative, 10 + 2 * (index % 2))):
            marks = {"frame": [*range(n), -1], "n_frames": [1] * n + [0]}
            blank = dict.fromkeys(tables.LIKELIHOOD.arrow.names)
            rows.append(blank | {"clip_id": clip, "context": "full", "cut_frame": -1, "status": "ok"} | marks)
    info = {"sample_rate": 8000, "hop_samples": 160, "codebook_sizes": [9], "deduplicated": False, "causal": True}
    path = tmp_path / "likelihood.parquet"
    tables.write_table(path, tables.LIKELIHOOD.from_rows(rows), tables.LIKELIHOOD, "x", {"tokenizer": info})
    tables.write_table(inputs.clips, tables.CLIPS.empty(), tables.CLIPS, "x")
    table = _strata(replace(inputs, likelihood={"m": path})).filter(by="length")
    accuracy = dict(table.select("stratum", "accuracy").iter_rows())
    assert accuracy == {"positive longer": 1.0, "positive shorter": 0.0}
    assert table["flagged"].all()
    assert _strata(inputs).filter(by="length").is_empty()


def test_noise_is_seldom_flagged(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    models = {f"m{k}": {("lexical", "global"): [float(v) for v in rng.integers(0, 2, N)]} for k in range(40)}
    labels = [{"type": ["noun", "verb"][k % 2]} for k in range(N)]
    tests = stratum_tests(_strata(simulate_verdicts(tmp_path, models, labels=labels)))
    assert len(tests) == 40
    assert sum(bool(test["flagged"]) for test in tests) == 0


def test_failed_items_are_in_no_stratum(tmp_path: Path) -> None:
    verdicts = [None if k < 6 else 1.0 for k in range(N)]
    labels = [{"type": ["noun", "verb"][k % 2]} for k in range(N)]
    table = _strata(simulate_verdicts(tmp_path, {"m": {("lexical", "global"): verdicts}}, labels=labels))
    assert table["n"].to_list() == [21, 21]
    assert table["p_holm"].to_list() == [1.0, 1.0]
