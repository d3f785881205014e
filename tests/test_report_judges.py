"""Judges in the report: who ranks whom, what marks a share as no skill, and what is said where nobody can hear."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from judged_reports import TASK, judged_report, margins, section, spread_out
from judging_world import World, noise
from report_simulation import judging_row, write_judging

from spokeneval import judging, tables
from spokeneval.judges.trivial import RMSLevel
from spokeneval.report import make_report
from spokeneval.report.inputs import JudgeEntry, ReportInputs, ReportSettings
from spokeneval.report.schemas import AGREEMENT
from spokeneval.report.schemas_judges import JUDGES, JUDGES_BY_CODEC, MODEL_JUDGING, MODEL_JUDGING_SAMPLES
from spokeneval.table_schema import TableSchema

N = 60


def _table(folder: Path, schema: TableSchema) -> pl.DataFrame:
    return tables.read_table(folder / "tables" / f"{schema.name.removeprefix('report_')}.parquet", schema)


def _models(folder: Path) -> dict[str, dict[str, Any]]:
    rows = _table(folder, MODEL_JUDGING).filter(pl.col("source") == "model")
    return {row["name"]: row for row in rows.iter_rows(named=True)}


# ---------------------------------------------------------------- through the codec


@pytest.fixture(scope="module")
def two_codecs(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportInputs, Path]:
    """The judge is perfect on real audio and through `good`, deaf through `bad`."""
    folder = tmp_path_factory.mktemp("codecs")
    heard = {"a": spread_out(50, N), "b": spread_out(40, N), "c": spread_out(30, N), "d": spread_out(20, N)}
    inputs = judged_report(
        folder,
        N,
        heard,
        prompts=margins(N, N),
        vocoders={"a": "bad", "b": "good", "c": "bad", "d": "good"},
        trips={"bad": spread_out(30, N), "good": margins(N, N)},
    )
    make_report(inputs, folder / "report", "x")
    return inputs, folder / "report"


def test_a_judge_that_fails_through_a_codec_ranks_none_of_its_models(two_codecs: tuple[ReportInputs, Path]) -> None:
    _, folder = two_codecs
    models = _models(folder)
    assert {name: row["ranked"] for name, row in models.items()} == {"a": False, "b": True, "c": False, "d": True}
    assert models["a"]["ranking_note"] == "not ranked: the judge does not hear the attribute through t-bad"
    assert models["a"]["share"] == pytest.approx(50 / N)
    assert [models[name]["letters"] for name in "abcd"] == [None, "a", None, "b"]
    agreement = _table(folder, AGREEMENT)
    assert set(agreement["n_systems"]) == {2}
    standings = {row["codec"]: row for row in _table(folder, JUDGES_BY_CODEC).iter_rows(named=True)}
    assert {codec: (row["verdict"], row["ranks"]) for codec, row in standings.items()} == {
        "t-bad": ("fails", False),
        "t-good": ("qualifies", True),
    }
    assert standings["t-bad"]["against"] == standings["t-good"]["against"] == 0.75


def test_the_page_marks_what_is_not_ranked_and_shows_it(two_codecs: tuple[ReportInputs, Path], tmp_path: Path) -> None:
    inputs, _ = two_codecs
    answer = section(inputs, tmp_path, "answer")
    assert "Judge, a and c: not ranked: the judge does not hear the attribute through t-bad." in answer
    row = re.search(r'<th scope="row">a</th>.*?</tr>', answer)
    assert row is not None
    assert "83.3" in row[0]
    assert "not ranked" in row[0]
    judges = section(inputs, tmp_path, "judges")
    assert "ranks no model of t-bad" in judges
    assert "ranks no model of t-good" not in judges


def test_results_hold_the_matrices(two_codecs: tuple[ReportInputs, Path]) -> None:
    results = json.loads((two_codecs[1] / "results.json").read_text())
    assert results["ranking_judges"] == {TASK: "ear"}
    assert {row["codec"]: row["verdict"] for row in results["judges_by_codec"]} == {
        "t-bad": "fails",
        "t-good": "qualifies",
    }
    assert [row["verdict"] for row in results["judge_standings"]] == ["qualifies"]


def test_what_is_not_certain_through_a_codec_is_ranked_and_marked(tmp_path: Path) -> None:
    inputs = judged_report(tmp_path, N, {"a": margins(40, N)}, prompts=margins(N, N), trips={"v": spread_out(48, N)})
    make_report(inputs, tmp_path / "report", "x")
    row = _models(tmp_path / "report")["a"]
    assert row["ranked"]
    assert row["ranking_note"] == "it is not certain that the judge hears the attribute through t-v"


# ---------------------------------------------------------------- who is believed


@pytest.mark.parametrize(
    ("right", "verdict", "said"),
    [
        (30, "fails", "Judge: none qualifies, no ranking from one (the best, ear, fails with 50.0"),
        (48, "cannot tell", "No judge qualifies here: what it heard is shown and ranks no model."),
    ],
)
def test_where_no_judge_qualifies_the_page_says_so_and_ranks_nothing(
    tmp_path: Path, right: int, verdict: str, said: str
) -> None:
    inputs = judged_report(tmp_path, N, {"a": margins(50, N), "b": margins(10, N)}, prompts=spread_out(right, N))
    answer = section(inputs, tmp_path / "report", "answer")
    assert said in answer
    assert f"No judge is known to hear the attribute of {TASK}: judgements there rank nothing." in answer
    assert _table(tmp_path / "report", JUDGES)["verdict"].to_list() == [verdict]
    assert _table(tmp_path / "report", AGREEMENT).is_empty()
    models = _models(tmp_path / "report")
    assert [row["ranked"] for row in models.values()] == [False, False]
    assert [row["letters"] for row in models.values()] == [None, None]
    assert "there is nothing to agree with" in section(inputs, tmp_path / "report", "agreement")


def test_the_papers_way_is_by_name_and_marked_as_optimistic(tmp_path: Path) -> None:
    """48 of 60 is .80: above .75 by point estimate, and not by interval."""
    fitted = judged_report(tmp_path, N, {"a": margins(40, N)}, prompts=spread_out(48, N))
    make_report(fitted, tmp_path / "fitted", "x")
    row = _table(tmp_path / "fitted", JUDGES).row(0, named=True)
    assert (row["verdict"], row["ranks"], row["way"]) == ("cannot tell", False, "cross_fitted")
    paper = replace(fitted, settings=replace(fitted.settings, judge_choice="paper"))
    judges = section(paper, tmp_path / "paper", "judges")
    row = _table(tmp_path / "paper", JUDGES).row(0, named=True)
    assert (row["verdict"], row["ranks"], row["way"]) == ("qualifies", True, "paper")
    assert "report.judge_choice: paper" in judges
    assert "That is optimistic" in judges
    assert "cross-fitted" not in judges
    assert "The judge was chosen and compared on the items that it scores: optimistic." in section(
        paper, tmp_path / "paper", "answer"
    )


def test_the_page_says_which_judge_was_chosen_and_among_what(tmp_path: Path) -> None:
    inputs = judged_report(tmp_path, N, {"a": margins(40, N)}, prompts=margins(N, N))
    pairs = tables.read_table(inputs.pairs, tables.PAIRS).to_dicts()
    worse = [judging_row(p, "prompt", m) for p, m in zip(pairs, spread_out(45, N), strict=True)]
    inputs = replace(
        inputs,
        judges={**inputs.judges, "other": JudgeEntry("other", "simulated", "scene")},
        qualification={**inputs.qualification, "other": write_judging(tmp_path / "q2.parquet", worse)},
    )
    text = section(inputs, tmp_path / "report", "judges")
    share = 100 * np.mean([m > 0 for p, m in zip(pairs, spread_out(45, N), strict=True) if p["fold"] == "b"])
    assert f"fold a is scored by ear, chosen on the other (best ear 100.0, then other {share:.1f})" in text


def _of_level(folder: Path, items: list[tuple[Any, ...]]) -> ReportInputs:
    """The level judge on real waveforms: prompt against right and wrong continuation."""
    world = World(folder, items)
    path = folder / "level.parquet"
    rows = judging.judge_prompts(world.pairs, world.references(RMSLevel()))
    tables.write_table(path, rows, tables.JUDGING, "x")
    tables.write_table(folder / "pairs.parquet", world.pairs, tables.PAIRS, "x")
    tables.write_table(folder / "clips.parquet", world.clips(), tables.CLIPS, "x")
    return ReportInputs(
        dataset="levels",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models={},
        judges={"rms": JudgeEntry("rms", "rms_level", "level", trivial=True)},
        qualification={"rms": path},
        settings=ReportSettings(n_draws=500),
    )


def test_pairs_that_differ_by_12_db_only_raise_the_flag_and_level_matched_ones_do_not(tmp_path: Path) -> None:
    """White noise everywhere: nothing but the level tells right from wrong."""
    flag = "rms qualifies: channel cues solve this task."
    for name, change_db, qualifies in (("apart", 12.0, True), ("matched", 0.0, False)):
        folder = tmp_path / name
        folder.mkdir()
        items = [
            (noise(3 * k, -30.0), noise(3 * k + 1, -30.0), noise(3 * k + 2, -30.0 + (-1) ** k * change_db))
            for k in range(24)
        ]
        inputs = _of_level(folder, items)
        answer = section(inputs, folder / "report", "answer")
        assert (_table(folder / "report", JUDGES)["verdict"].item() == "qualifies") == qualifies
        assert (flag in answer) == qualifies
        assert "none qualifies, no ranking from one" in answer


# ---------------------------------------------------------------- samples and flags


def test_the_spread_over_samples_by_hand(tmp_path: Path) -> None:
    """Two items, three samples: shares of the samples 1.0, .5, .5; mean over items of item means 2/3."""
    plan = {0: (0.1, 0.1, 0.1), 1: (0.1, -0.1, -0.1)}
    base = judged_report(tmp_path, 2, {"a": [0.1, 0.1]}, prompts=[0.1, 0.1])
    pairs = tables.read_table(base.pairs, tables.PAIRS).to_dicts()
    rows = [judging_row(pairs[i], "model", m, sample_index=s) for i, ms in plan.items() for s, m in enumerate(ms)]
    inputs = judged_report(tmp_path, 2, {}, prompts=[0.1, 0.1], rows={"a": rows})
    text = section(inputs, tmp_path / "report", "judges")
    row = _models(tmp_path / "report")["a"]
    assert row["share"] == pytest.approx(2 / 3)
    assert (row["n_samples"], row["n_continuations"]) == (3, 6)
    assert (row["sample_low"], row["sample_high"]) == (0.5, 1.0)
    assert row["sample_sd"] == pytest.approx(np.std([1.0, 0.5, 0.5], ddof=1))
    samples = _table(tmp_path / "report", MODEL_JUDGING_SAMPLES)
    assert samples.select("sample_index", "n_scored", "share").rows() == [(0, 2, 1.0), (1, 2, 0.5), (2, 2, 0.5)]
    assert "samples 50.0 to 100.0 (n 3, sd 28.9)" in text


def test_one_sample_has_no_spread(tmp_path: Path) -> None:
    inputs = judged_report(tmp_path, 4, {"a": margins(2, 4)}, prompts=margins(4, 4))
    assert "samples " not in section(inputs, tmp_path / "report", "judges")
    row = _models(tmp_path / "report")["a"]
    assert (row["n_samples"], row["sample_low"], row["sample_sd"]) == (1, None, None)


def _flagged(folder: Path, flags: list[list[str] | None], right: list[float]) -> ReportInputs:
    base = judged_report(folder, len(flags), {"a": right}, prompts=margins(len(flags), len(flags)))
    pairs = tables.read_table(base.pairs, tables.PAIRS).to_dicts()
    rows = [
        judging_row(item, "model", margin) | {"flags": flag}
        for item, margin, flag in zip(pairs, right, flags, strict=True)
    ]
    return judged_report(folder, len(flags), {}, prompts=margins(len(flags), len(flags)), rows={"a": rows})


def test_flags_are_counted_and_the_share_without_them_stands_beside(tmp_path: Path) -> None:
    """Of 20 items 12 are right, 4 of these flagged: 8 of 16 without them."""
    flags: list[list[str] | None] = [["loops"], ["loops"], ["repeats_prompt"], ["loops", "repeats_prompt"]]
    flags += [[]] * 16
    inputs = _flagged(tmp_path, flags, margins(12, 20))
    answer = section(inputs, tmp_path / "report", "answer")
    row = _models(tmp_path / "report")["a"]
    assert (row["n_loops"], row["n_repeats_prompt"], row["n_flagged"], row["n_continuations"]) == (3, 2, 4, 20)
    assert (row["share"], row["share_unflagged"], row["n_unflagged_items"]) == (0.6, 0.5, 16)
    assert "Of 20 continuations of a, 3 loop and 2 repeat the prompt: the judge gives 50.0 without them." in answer
    assert "3 loop, 2 repeat the prompt of 20; without them 50.0" in section(inputs, tmp_path / "report", "judges")


def test_few_flags_are_counted_and_do_not_warn_and_unknown_ones_are_null(tmp_path: Path) -> None:
    few = _flagged(tmp_path / "few", [["loops"], ["loops"], *([[]] * 18)], margins(12, 20))
    assert "continuations of a" not in section(few, tmp_path / "few" / "report", "answer")
    assert _models(tmp_path / "few" / "report")["a"]["n_loops"] == 2
    unknown = _flagged(tmp_path / "none", [None] * 20, margins(12, 20))
    make_report(unknown, tmp_path / "none" / "report", "x")
    row = _models(tmp_path / "none" / "report")["a"]
    assert [row[c] for c in ("n_loops", "n_flagged", "share_unflagged", "n_unflagged_items")] == [None] * 4


# ---------------------------------------------------------------- what stands beside the models


def test_a_baseline_as_good_as_a_model_warns_and_one_at_chance_below_all_does_not(tmp_path: Path) -> None:
    heard = {"good": margins(N, N), "poor": spread_out(50, N)}
    baselines = {"copy": spread_out(48, N), "noise_matched": spread_out(28, N)}
    inputs = judged_report(tmp_path, N, heard, prompts=margins(N, N), baselines=baselines)
    answer = section(inputs, tmp_path / "report", "answer")
    assert re.search(
        r"Without any model, the judge gives &#39;copy&#39; 80\.0 \[\d+\.\d, \d+\.\d\]: "
        r"poor cannot be told to do better\.",
        answer,
    )
    assert "noise_matched" not in answer
    text = section(inputs, tmp_path / "report", "judges")
    assert "baseline copy: the prompt&#39;s end again" in text
    assert "noise made to the floor of the prompt (60 items)" in text
    rows = _table(tmp_path / "report", MODEL_JUDGING).filter(pl.col("name") == "no model")
    assert rows["source"].to_list() == ["copy", "noise_matched"]
    drawn = json.loads((tmp_path / "report/figures/between_floor_and_ceiling.vl.json").read_text())
    assert "baseline: the prompt's end again" in json.dumps(drawn)


@pytest.mark.parametrize(("n", "told"), [(50, "83.3 ["), (8, "13.3 ["), (31, None)])
def test_a_baseline_of_the_judge_that_is_off_chance_is_said_though_the_models_beat_it(
    tmp_path: Path, n: int, told: str | None
) -> None:
    baselines = {"copy": spread_out(n, N)}
    inputs = judged_report(tmp_path, N, {"good": margins(N, N)}, prompts=margins(N, N), baselines=baselines)
    answer = section(inputs, tmp_path / "report", "answer")
    assert ("Without any model" in answer) == (told is not None)
    if told:
        said = re.escape(f"Without any model, the judge gives &#39;copy&#39; {told}")
        assert re.search(said + r"\d+\.\d, \d+\.\d\]: off chance\.", answer)


def _with_thirds(folder: Path, n_with: int) -> ReportInputs:
    """A codec with both attribute ceilings; n_with of N items know a third clip."""
    inputs = judged_report(folder, N, {"a": spread_out(40, N)}, prompts=margins(N, N), trips={"v": margins(N, N)})
    pairs = tables.read_table(inputs.pairs, tables.PAIRS).to_dicts()
    rows = tables.read_table(inputs.ceilings["t-v"]["ear"], tables.JUDGING).to_dicts()
    third = zip(pairs[:n_with], spread_out(54, N), strict=False)
    rows += [judging_row(item, "same_attribute_round_trip", margin) for item, margin in third]
    write_judging(inputs.ceilings["t-v"]["ear"], rows)
    own = tables.read_table(inputs.qualification["ear"], tables.JUDGING).to_dicts()
    third = zip(pairs[:n_with], spread_out(57, N), strict=False)
    write_judging(
        inputs.qualification["ear"], own + [judging_row(item, "same_attribute", margin) for item, margin in third]
    )
    return inputs


@pytest.mark.parametrize(
    ("n_with", "source", "ceiling"), [(N, "same_attribute_round_trip", 0.9), (N - 1, "prompt_round_trip", 1.0)]
)
def test_the_third_clips_ceiling_places_models_where_all_items_have_one(
    tmp_path: Path, n_with: int, source: str, ceiling: float
) -> None:
    inputs = _with_thirds(tmp_path, n_with)
    text = section(inputs, tmp_path / "report", "judges")
    row = _models(tmp_path / "report")["a"]
    assert (row["ceiling_source"], row["ceiling"]) == (source, pytest.approx(ceiling))
    assert text.count("places the models") == 1
    label = {"same_attribute_round_trip": "a third clip through the codec", "prompt_round_trip": "the prompt through"}
    cell = text[text.index(f"attribute ceiling: {label[source]}") :]
    assert "places the models" in cell[: cell.index("</tr>")]


def test_the_third_clips_qualification_stands_beside_and_decides_nothing(tmp_path: Path) -> None:
    inputs = _with_thirds(tmp_path, N)
    text = section(inputs, tmp_path / "report", "judges")
    row = _table(tmp_path / "report", JUDGES).row(0, named=True)
    assert (row["share"], row["third_share"], row["third_n"], row["verdict"]) == (
        1.0,
        pytest.approx(0.95),
        N,
        "qualifies",
    )
    assert "third clip 95.0" in text


def test_a_model_that_is_heard_and_not_scored_stands_on_the_first_screen(tmp_path: Path) -> None:
    inputs = judged_report(tmp_path, N, {"a": margins(30, N), "sound": margins(50, N)}, prompts=margins(N, N))
    inputs = replace(inputs, evaluators={"a": inputs.evaluators["a"]})
    answer = section(inputs, tmp_path / "report", "answer")
    assert '<th scope="row">sound</th><td class="muted">heard only</td>' in answer
    alone = replace(inputs, evaluators={})
    assert "heard only" in section(alone, tmp_path / "alone", "answer")


# ---------------------------------------------------------------- listening


def test_under_a_player_stands_what_the_tables_say_of_it(tmp_path: Path) -> None:
    """Three continuations: right, wrong with a flag, and silent; seconds, status, flags and margin of each."""
    inputs = judged_report(tmp_path, N, {"a": margins(N, N)}, prompts=margins(N, N), n_listen_items=N)
    pairs = tables.read_table(inputs.pairs, tables.PAIRS).to_dicts()
    clips = {row["clip_id"]: row for row in tables.read_table(inputs.clips, tables.CLIPS).to_dicts()}
    said, judged = [], []
    for k, item in enumerate(pairs):
        clip = clips[item["continuation_positive"]]
        status = "silent" if k == 2 else "ok"
        row = dict.fromkeys(tables.CONTINUATIONS.arrow.names) | {
            "clip_id": item["prompt"],
            "sample_index": 0,
            "seed": 0,
            "audio": clip["audio"],
            "sample_rate": clip["sample_rate"],
            "n_samples": clip["n_samples"],
            "pcm_sha256": clip["clip_id"],
            "status": status,
            "flags": ["loops", "repeats_prompt"] if k == 1 else [],
        }
        said.append(row)
        judgement = judging_row(item, "model", {0: 0.125, 1: -0.25}.get(k, 0.125), audio_status=status)
        if k == 2:
            judgement |= {"verdict": 0.0, "margin": None, "cos_positive": None, "cos_negative": None}
        judged.append(judgement)
    path = tmp_path / "said.parquet"
    tables.write_table(path, tables.CONTINUATIONS.from_rows(said), tables.CONTINUATIONS, "x")
    write_judging(inputs.judging["a", "ear"], judged)
    text = section(replace(inputs, continuations={"a": path}), tmp_path / "report", "listen")
    details = {}
    for item in pairs[:3]:
        article = text[text.index(f'<article aria-label="{item["item_id"]}">') :]
        player = article[article.index("What the models say next") : article.index("</article>")]
        details[item["index"]] = player
    seconds = f"{clips[pairs[0]['continuation_positive']]['n_samples'] / 8000:.2f} s"
    assert all(seconds in player for player in details.values())
    assert "ok; nearer to the right one by ear, margin +0.125" in details[0]
    assert "ok; loops; repeats the prompt; nearer to the wrong one by ear, margin -0.250" in details[1]
    assert "silent; counted as wrong" in details[2]
