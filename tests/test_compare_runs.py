"""Two runs compared: on the same items only, by hand; what must be equal; what changed. All numbers are simulated."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_simulation import Verdicts, read_pairs, simulate, simulate_verdicts

from spokeneval import tables
from spokeneval.__main__ import main
from spokeneval.compare_runs import compare_runs
from spokeneval.compare_runs.schemas import COMPARE, LEFT_OUT
from spokeneval.errors import ArtefactError, ConfigError, SpokenevalError
from spokeneval.report import make_report
from spokeneval.report.inputs import ReportInputs
from spokeneval.tables import read_metadata, read_table

N = 10
LONE = [f"c{k}" for k in range(N)]
A = [1.0] * 4 + [0.0] * 6
B = [1.0] * 9 + [0.0]
HOSTILE = "<script>alert(1)</script>"


def run_of(folder: Path, verdicts: Verdicts, clusters: list[str] | None = LONE, **values: Any) -> Path:
    """A finished run in folder/simulated, with its report; the folder."""
    inputs = simulate_verdicts(folder / "simulated", verdicts, clusters=clusters, **values)
    make_report(inputs, folder / "simulated/report", "report of " + folder.name)
    return folder


def one(verdicts: list[Any], evaluator: str = "localized", model: str = "m") -> Verdicts:
    return {model: {("speaker", evaluator): verdicts}}


def rows_of(folder: Path) -> pl.DataFrame:
    return read_table(folder / "compare.parquet", COMPARE)


def edit_results(run: Path, **values: Any) -> None:
    path = run / "simulated/report/results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ---------------------------------------------------------------- numbers by hand


def test_difference_interval_and_tests_are_those_by_hand(tmp_path: Path) -> None:
    same = [1.0, 0.0] * 5
    a = run_of(tmp_path / "a", {**one(A), **one(same, model="same")})
    b = run_of(tmp_path / "b", {**one(B), **one(same, model="same")})
    text = compare_runs(a, b, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    row = rows.filter(model_a="m").row(0, named=True)
    assert (row["a"], row["b"], row["difference"]) == (0.4, 0.9, 0.5)
    # the mean of ten differences, half of them 1: Binomial(10, 1/2) / 10, whose 2.5 % and 97.5 % quantiles are 2 and 8
    assert (row["low"], row["high"]) == (pytest.approx(0.2), pytest.approx(0.8))
    assert row["p"] == row["p_mcnemar"] == 2 / 2**5  # five flips, all one way
    assert row["p_holm"] == 4 / 2**5
    assert (row["n_only_a"], row["n_only_b"], row["n_shared"], row["n_clusters"]) == (0, 5, N, N)
    assert row["mdd"] == pytest.approx((1.959964 + 0.841621) * np.sqrt(0.5 / N), abs=1e-6)
    assert (row["primary"], row["forced"]) == (True, False)
    other = rows.filter(model_a="same").row(0, named=True)
    assert (other["difference"], other["p"], other["p_holm"], other["low"], other["mdd"]) == (0, 1, 1, None, None)
    assert "no interval" in other["note"]
    line = next(line for line in text.splitlines() if line.startswith("speaker  m "))
    expected = ["40.0", "90.0", "+50.0", "[+20.0,", "+80.0]", "0.0625", "0.1250"]
    assert line.split()[-7:] == expected
    assert "no difference holds after Holm (2 tests)" in text
    swapped = compare_runs(b, a, tmp_path / "swapped")
    back = rows_of(tmp_path / "swapped").filter(model_a="m").row(0, named=True)
    assert (back["difference"], back["p"], back["low"], back["high"]) == (-0.5, row["p"], -row["high"], -row["low"])
    assert "-50.0 [-80.0, -20.0]" in swapped


def test_items_of_one_cluster_count_as_one(tmp_path: Path) -> None:
    pairs = [f"c{k // 2}" for k in range(N)]
    a = run_of(tmp_path / "a", one([0.0] * N), pairs)
    b = run_of(tmp_path / "b", one([1.0] * 6 + [0.0] * 4), pairs)
    compare_runs(a, b, tmp_path / "out")
    row = rows_of(tmp_path / "out").row(0, named=True)
    assert (row["p"], row["p_mcnemar"]) == (2 / 2**3, 2 / 2**6)
    compare_runs(run_of(tmp_path / "c", one([0.0] * N)), run_of(tmp_path / "d", one([1.0] * N)), tmp_path / "clear")
    answer = "speaker, m, localized 0.5 s: 0.0 in A, 100.0 in B: +100.0, p 0.0020 after Holm"
    assert answer in (tmp_path / "clear/compare.html").read_text()
    assert row["mdd"] == pytest.approx((1.959964 + 0.841621) * np.sqrt(0.6 * 2 / N), abs=1e-6)


def test_ties_have_no_mcnemar_and_failed_items_are_left_out_and_counted(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", one([0.5, *A[1:]]))
    b = run_of(tmp_path / "b", one([*B[:7], None, *B[8:]]))
    compare_runs(a, b, tmp_path / "out")
    row = rows_of(tmp_path / "out").row(0, named=True)
    assert (row["n_shared"], row["n_missing"], row["p_mcnemar"]) == (9, 1, None)
    assert row["a"] == pytest.approx(3.5 / 9)  # the tie counts one half
    assert row["b"] == pytest.approx(8 / 9)


def test_an_average_over_clusters_is_compared_as_such(tmp_path: Path) -> None:
    clusters = ["x"] * 8 + ["y"] * 2
    values: dict[str, Any] = {"averaging": "clusters"}
    a = run_of(tmp_path / "a", one([0.0] * N), clusters, **values)
    b = run_of(tmp_path / "b", one([0.0] * 8 + [1.0] * 2), clusters, **values)
    compare_runs(a, b, tmp_path / "out")
    row = rows_of(tmp_path / "out").row(0, named=True)
    assert (row["a"], row["b"], row["difference"]) == (0.0, 0.5, pytest.approx(0.5))


def test_only_the_headline_evaluator_is_adjusted_and_other_ones_are_exploratory(tmp_path: Path) -> None:
    def both(verdicts: list[float]) -> Verdicts:
        return {"m": {("speaker", name): verdicts for name in ("localized", "global")}}  # type: ignore[misc]

    compare_runs(run_of(tmp_path / "a", both(A)), run_of(tmp_path / "b", both(B)), tmp_path / "out")
    by_name = {row["evaluator"]: row for row in rows_of(tmp_path / "out").iter_rows(named=True)}
    assert (by_name["localized"]["primary"], by_name["localized"]["p_holm"]) == (True, 2 / 2**5)
    assert (by_name["global"]["primary"], by_name["global"]["p_holm"], by_name["global"]["p"]) == (
        False,
        None,
        2 / 2**5,
    )


# ---------------------------------------------------------------- the same items


def test_items_of_other_audio_are_not_the_same_and_every_one_left_out_is_said(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", one(A)), run_of(tmp_path / "b", one(B))
    path = b / "simulated/pairs.parquet"
    rows = read_table(path, tables.PAIRS).to_dicts()
    rows[0]["positive"] = rows[3]["positive"]
    rows[1]["item_id"] = "another"
    rows[2] |= {"status": "failed", "reason": "simulated"}
    rows[4]["prompt"] = None  # cut elsewhere
    rows[5]["cluster"] = "elsewhere"
    tables.write_table(path, tables.PAIRS.from_rows(rows), tables.PAIRS, "x")
    text = compare_runs(a, b, tmp_path / "out")
    left = read_table(tmp_path / "out/left_out.parquet", LEFT_OUT)
    assert dict(left.select("item_id", "why").iter_rows()) == {
        "another": "only in B",
        "speaker-0": "other audio",
        "speaker-1": "only in A",
        "speaker-2": "failed in B",
        "speaker-4": "other audio",
    }
    assert rows_of(tmp_path / "out")["n_shared"].to_list() == [6]
    assert "speaker: 6 items compared; left out: 1 only in B, 2 other audio, 1 only in A, 1 failed in B" in text
    assert "1 item in another cluster in B" in text
    assert (tmp_path / "out/left_out.csv").read_text().startswith("task,item_id,why\n")


def test_runs_without_a_common_item_or_model_are_refused(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", one(A))
    far = tmp_path / "far/simulated"
    inputs = simulate(far, n_models=1, n_items=4, tasks=("speaker",), seed=9)
    make_report(replace(inputs, models={"sim-a": inputs.models["sim-a"]}), far / "report", "x")
    with pytest.raises(ConfigError, match=r"no model is in both: A has m, B has sim-a; say which .* --model"):
        compare_runs(a, tmp_path / "far", tmp_path / "out")
    with pytest.raises(SpokenevalError, match=r"share no item: 6 only in A, 4 other audio"):
        compare_runs(a, tmp_path / "far", tmp_path / "out", models=["m=sim-a"], force=True)
    other = run_of(tmp_path / "b", one(B, "global"))
    with pytest.raises(ArtefactError, match="share 10 items, but no evaluator"):
        compare_runs(a, other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_are_matched_by_name_or_as_told(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", {**one(A, model="old"), **one(A, model="both")})
    b = run_of(tmp_path / "b", {**one(B, model="new"), **one(B, model="both")})
    text = compare_runs(a, b, tmp_path / "out")
    assert rows_of(tmp_path / "out").select("model_a", "model_b").rows() == [("both", "both")]
    assert "only in A: old" in text
    assert "only in B: new" in text
    compare_runs(a, b, tmp_path / "told", models=["old=new", "both"])
    assert set(rows_of(tmp_path / "told").select("model_a", "model_b").rows()) == {("old", "new"), ("both", "both")}
    with pytest.raises(ConfigError, match=r"--model old=nwe: B has no model 'nwe'; it has both, new"):
        compare_runs(a, b, tmp_path / "wrong", models=["old=nwe"])
    with pytest.raises(ConfigError, match="named twice"):
        compare_runs(a, b, tmp_path / "wrong", models=["both", "both=both"])


# ---------------------------------------------------------------- what must be equal, and what changed


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"signature": {"version": "9.0", "data": "x"}}, "version: none in A, 9.0 in B"),
        (
            {"conventions": {"default": {"edge": "inside", "stride": "frame", "tie": 0.5}}},
            "convention default: edge: overlap in A, inside in B",
        ),
    ],
)
def test_runs_that_measure_otherwise_are_refused_and_marked_where_forced(
    tmp_path: Path, values: dict[str, Any], line: str
) -> None:
    a, b = run_of(tmp_path / "a", one(A)), run_of(tmp_path / "b", one(B))
    edit_results(b, **values)
    out = tmp_path / "out"
    with pytest.raises(SpokenevalError, match="do not measure the same") as refused:
        compare_runs(a, b, out)
    assert f"  {line}" in str(refused.value).splitlines()
    assert "--force" in str(refused.value)
    assert not out.exists()
    text = compare_runs(a, b, out, force=True)
    assert "FORCED: the runs do not measure the same" in text
    assert line in text
    assert rows_of(out)["forced"].to_list() == [True]
    assert "true" in (out / "compare.csv").read_text()
    assert read_metadata(out / "compare.parquet", COMPARE).extra == {"forced": True}
    results = json.loads((out / "results.json").read_text())
    assert results["forced"]
    assert len(results["conditions"]) == 1
    page = (out / "compare.html").read_text()
    assert "<strong>FORCED.</strong>" in page
    assert "(FORCED)</title>" in page
    assert "(FORCED)</h2>" in page


def test_force_marks_nothing_where_all_is_equal(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", one(A)), run_of(tmp_path / "b", one(B))
    assert "FORCED" not in compare_runs(a, b, tmp_path / "out", force=True)
    assert "FORCED" not in (tmp_path / "out/compare.html").read_text()


def test_another_average_is_no_equal_measure(tmp_path: Path) -> None:
    a = run_of(tmp_path / "a", one(A))
    b = run_of(tmp_path / "b", one(B), averaging="clusters")
    with pytest.raises(SpokenevalError, match="averaging: items in A, clusters in B"):
        compare_runs(a, b, tmp_path / "out")


def with_conventions(run: Path, **said: str) -> None:
    path = run / "simulated/report/results.json"
    results = json.loads(path.read_text())
    results["models"]["m"]["conventions"] = said
    path.write_text(json.dumps(results))


def changes_of(folder: Path) -> list[tuple[str, str]]:
    return [(c["kind"], c["about"]) for c in json.loads((folder / "results.json").read_text())["changes"]]


def test_weights_conventions_and_settings_that_changed_are_listed_and_moved_weights_are_not(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", one(A)), run_of(tmp_path / "b", one(B))
    with_conventions(a, path="models/m, content 0123456789ab", sequence="bos 0", dtype="float32")
    with_conventions(b, path="elsewhere/m, content 0123456789ab", sequence="bos 0", dtype="float32")
    assert "nothing that the reports know has changed" in compare_runs(a, b, tmp_path / "moved")
    with_conventions(b, path="models/m, content ffffffffffff", sequence="bos none", dtype="float32")
    edit_results(b, settings=json.loads((b / "simulated/report/results.json").read_text())["settings"] | {"seed": 5})
    text = compare_runs(a, b, tmp_path / "out")
    assert changes_of(tmp_path / "out") == [("settings", "seed"), ("weights", "m: path"), ("model", "m: sequence")]
    assert "model m: sequence: bos 0 in A, bos none in B" in text
    assert "seed: 0 in A, 5 in B" in text


def test_a_stage_made_otherwise_with_nothing_declared_is_said_to_be_code(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", one(A)), run_of(tmp_path / "b", one(B))
    for run, identity in ((a, "1" * 64), (b, "2" * 64)):
        path = run / "simulated/likelihood/m.parquet"
        tables.write_table(path, tables.LIKELIHOOD.empty(), tables.LIKELIHOOD, identity)
    text = compare_runs(a, b, tmp_path / "out")
    assert changes_of(tmp_path / "out") == [("code", "or undeclared settings of m")]
    assert "likelihood 111111111111 in A, likelihood 222222222222 in B" in text
    with_conventions(a, path="m, content 0123456789ab")
    with_conventions(b, path="m, content ffffffffffff")
    compare_runs(a, b, tmp_path / "out")
    assert changes_of(tmp_path / "out") == [("weights", "m: path")]


def test_an_incomplete_report_is_said(tmp_path: Path) -> None:
    a, b = run_of(tmp_path / "a", one(A)), run_of(tmp_path / "b", one(B))
    edit_results(b, incomplete=True)
    assert "INCOMPLETE" in compare_runs(a, b, tmp_path / "out")
    assert "INCOMPLETE" in (tmp_path / "out/compare.html").read_text()


# ---------------------------------------------------------------- whole reports


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReportInputs]:
    """Two whole reports on the same audio, whose models have other skills; 'x' and 'y' lie beside one another."""
    root = tmp_path_factory.mktemp("runs")
    found = {}
    for name, n_models in (("x", 3), ("y", 4)):
        folder = root / name / "simulated"
        found[name] = simulate(folder, n_models=n_models, n_items=12, tasks=("speaker", "splice_control"), hearing=5.0)
        make_report(found[name], folder / "report", f"report {name}")
    return found


def root_of(inputs: ReportInputs) -> Path:
    return inputs.pairs.parent.parent


def test_a_report_differs_in_nothing_from_itself(reports: dict[str, ReportInputs], tmp_path: Path) -> None:
    x = root_of(reports["x"])
    text = compare_runs(x, x / "simulated/report", tmp_path)
    rows = rows_of(tmp_path)
    assert set(rows["kind"]) == {"accuracy", "judge", "naturalness"}
    assert set(rows["difference"]) == {0.0}
    assert set(rows["p"]) == {1.0}
    assert rows["low"].null_count() == len(rows)
    assert "nothing that the reports know has changed" in text
    assert len(read_table(tmp_path / "left_out.parquet", LEFT_OUT)) == 0


def test_judges_and_naturalness_are_compared_on_their_own_scales(
    reports: dict[str, ReportInputs], tmp_path: Path
) -> None:
    x, y = (reports[name] for name in "xy")
    compare_runs(root_of(x), root_of(y), tmp_path)
    rows = rows_of(tmp_path)
    assert set(rows["model_a"]) == {"sim-a", "sim-b", "sim-c"}
    items = read_pairs(x).filter(task="speaker")["item_id"]
    for judge, column, kind in (("sim-voice", "verdict", "judge"), ("sim-nice", "score", "naturalness")):
        means = [
            tables.read_table(inputs.judging["sim-b", judge], tables.JUDGING)
            .filter(pl.col("source") == "model", pl.col("item_id").is_in(items.implode()))[column]
            .mean()
            for inputs in (x, y)
        ]
        row = rows.filter(kind=kind, task="speaker", model_a="sim-b", evaluator=f"judge:{judge}").row(0, named=True)
        assert (row["a"], row["b"]) == (pytest.approx(means[0], abs=1e-6), pytest.approx(means[1], abs=1e-6))
    family = rows.filter(pl.col("p_holm").is_not_null())
    assert set(family.filter(kind="accuracy")["task"]) == {"speaker"}  # the control task is in no family
    assert set(family.filter(kind="accuracy")["evaluator"]) == {"localized"}


def test_the_page_loads_nothing_and_escapes_what_comes_from_data(tmp_path: Path) -> None:
    for name in "ab":
        folder = tmp_path / name / "simulated"
        inputs = simulate(folder, n_models=2, n_items=6, tasks=(HOSTILE,), prefix=HOSTILE)
        make_report(inputs, folder / "report", "x")
    compare_runs(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    page = (tmp_path / "out/compare.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=", page)
    again = tmp_path / "again"
    compare_runs(tmp_path / "a", tmp_path / "b", again)
    for path in (tmp_path / "out").iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


# ---------------------------------------------------------------- the command, and what it refuses


def test_the_command_compares_and_prints(
    reports: dict[str, ReportInputs], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = (str(root_of(reports[name])) for name in "xy")
    main(["compare", x, y, "--to", str(tmp_path), "--model", "sim-a sim-b=sim-c", "--dataset", "simulated"])
    printed = capsys.readouterr().out
    assert "sim-b = sim-c" in printed
    assert f"comparison: {tmp_path / 'compare.html'}" in printed
    assert max(len(line) for line in printed.splitlines() if not line.startswith("comparison: ")) <= 120
    with pytest.raises(SystemExit, match=r"error: --model nobody: A has no model 'nobody'"):
        main(["compare", x, y, "--to", str(tmp_path), "--model", "nobody"])


def test_what_is_no_report_is_refused_by_name(reports: dict[str, ReportInputs], tmp_path: Path) -> None:
    x = root_of(reports["x"])
    with pytest.raises(ArtefactError, match=r"B: .*nowhere: there is no such folder"):
        compare_runs(x, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtefactError, match=r"A: .*empty: there is no report here; run the workflow"):
        compare_runs(tmp_path / "empty", x, tmp_path / "out")
    two = tmp_path / "two"
    for name in ("one", "two"):
        shutil.copytree(x / "simulated/report", two / name / "report")
    with pytest.raises(ArtefactError, match=r"reports of several datasets \(one, two\); name one by --dataset"):
        compare_runs(x, two, tmp_path / "out")
    with pytest.raises(ArtefactError, match=r"no report of dataset 'three'; there are one, two"):
        compare_runs(two, x, tmp_path / "out", dataset="three")
    with pytest.raises(ArtefactError, match=r"pairs\.parquet: there is no such table"):
        compare_runs(x / "simulated", two, tmp_path / "out", dataset="one")
    results = two / "one/report/results.json"
    results.write_text(json.dumps(json.loads(results.read_text()) | {"version": 2}))
    with pytest.raises(ArtefactError, match=r"results of version 2; expected \d+: make the report again"):
        compare_runs(x, two / "one", tmp_path / "out")
