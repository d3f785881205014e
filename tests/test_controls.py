"""Baselines from audio and tokens, and accuracies by stratum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluator_tables import TEN_HZ, one, pair, pairs_table

from spokeneval.audio import make_clip
from spokeneval.controls import audio_controls, level_db, level_jump, token_controls
from spokeneval.strata import strata
from spokeneval.tables import CLIPS, EVALUATORS, TOKENS, write_table
from spokeneval.tokenizers.base import TokenizerInfo

RATE = 16_000


def clips_table(waveforms: dict[str, np.ndarray[Any, Any]]) -> pl.DataFrame:
    rows = []
    for name, waveform in waveforms.items():
        clip = make_clip(waveform.astype(np.float32), RATE)
        rows.append(
            {
                "clip_id": name,
                "sample_rate": RATE,
                "n_samples": clip.n_samples,
                "audio": {"bytes": clip.flac, "path": f"{name}.flac"},
                "subtype": clip.subtype,
                "gain": clip.gain,
                "note": "",
            }
        )
    frame = pl.from_arrow(CLIPS.from_rows(rows))
    assert isinstance(frame, pl.DataFrame)
    return frame


def tokens_table(codes: dict[str, Any], durations: dict[str, list[int]] | None = None) -> pl.DataFrame:
    rows = []
    for name, values in codes.items():
        array = np.asarray(values)
        lasting = (durations or {}).get(name)
        rows.append(
            {
                "clip_id": name,
                "n_frames": len(array) if lasting is None else sum(lasting),
                "codes": array.reshape(-1).tolist(),
                "durations": lasting,
                "codebooks": None,
                "starts": None,
                "status": "ok",
                "reason": None,
            }
        )
    frame = pl.from_arrow(TOKENS.from_rows(rows))
    assert isinstance(frame, pl.DataFrame)
    return frame


def verdicts(table: pl.DataFrame) -> dict[str, float | None]:
    return dict(table.select("evaluator", "verdict").iter_rows())


# ---- from the audio


def test_length_and_level_by_hand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = clips_table({"i.p": 0.1 * rng.standard_normal(RATE), "i.n": 0.2 * rng.standard_normal(RATE // 2)})
    table = audio_controls(pairs_table([pair("i", None, sample_rate=RATE)]), clips)
    assert verdicts(table) == {"longer": 1.0, "shorter": 0.0, "louder": 0.0}
    assert one(table, "longer")["score_positive"] == -1.0
    assert one(table, "louder")["score_positive"] == pytest.approx(20, abs=0.2)
    assert one(table, "shorter")["seconds_negative"] == 0.5
    write_table(tmp_path / "audio.parquet", table, EVALUATORS, "identity")


def test_equal_clips_tie() -> None:
    clips = clips_table({"i.p": np.ones(800) / 4, "i.n": np.ones(800) / 4})
    table = audio_controls(pairs_table([pair("i", 400, sample_rate=RATE)]), clips)
    assert set(verdicts(table).values()) == {0.5}
    assert len(table) == 4


def _clicks(where: str, n_items: int = 200) -> float:
    """Accuracy in percent of `level_jump` with a click planted at the transition of these members."""
    rng = np.random.default_rng(1)
    items, waveforms = [], {}
    for i in range(n_items):
        items.append(pair(f"i{i}", 800, sample_rate=RATE))
        prompt = 0.05 * rng.standard_normal(800)
        for member in "pn":
            waveform = np.concatenate([prompt, 0.05 * rng.standard_normal(800)])
            if member in where:
                waveform[800] += 0.5
            waveforms[f"i{i}.{member}"] = waveform
    table = audio_controls(pairs_table(items), clips_table(waveforms))
    return 100 * float(table.filter(evaluator="level_jump")["verdict"].mean())  # type: ignore[arg-type]


def test_a_click_in_the_negatives_is_heard_and_one_in_both_is_no_cue() -> None:
    assert _clicks("n") == 100.0
    assert _clicks("p") == 0.0
    assert _clicks("pn") == pytest.approx(50.0, abs=10.0)


def test_level_and_jump_of_silence_are_numbers() -> None:
    silence = np.zeros(1_000, np.float32)
    assert level_db(silence) == -120.0
    assert level_jump(silence, 500, RATE) == 0.0
    step = np.repeat(np.float32([1, -1]), 500)
    assert level_jump(step, 500, RATE) == pytest.approx(2.0)
    assert level_jump(step, 100, RATE) == 0.0, "the step lies 25 ms from there"


def test_audio_that_is_not_there_fails_the_item_and_no_other() -> None:
    clips = clips_table({"i.p": np.ones(1_600) / 4, "i.n": np.ones(1_600) / 8})
    items = [
        pair("i", 800, sample_rate=RATE),
        pair("lost", 800, sample_rate=RATE),
        pair("failed", None, sample_rate=RATE, status="failed", reason="no such file", positive=None, negative=None),
        pair("bare", None, sample_rate=RATE, positive="i.p", negative="i.n"),
    ]
    table = audio_controls(pairs_table(items), clips)
    assert len(table) == 16
    assert set(table.filter(item_id="i")["status"]) == {"ok"}
    assert set(table.filter(item_id="lost")["reason"]) == {"positive: clip lost.p is not in the clips table"}
    assert set(table.filter(item_id="failed")["reason"]) == {"no such file"}
    assert table.filter(item_id="bare", status="failed")["evaluator"].to_list() == ["level_jump"]


# ---- from the tokens


def test_unigram_and_bigram_by_hand() -> None:
    """Fold b holds 0 0 1 (twice) over 4 codes: counts 4 2 0 0; pairs 00, 01 twice each; 0 is followed 4 times."""
    info = TokenizerInfo(100, 10, (4,), deduplicated=False, causal=True)
    items = [pair("i", 20, fold="a"), pair("j", 20, fold="b")]
    codes = {"i.p": [[0], [0], [0], [1]], "i.n": [[0], [0], [2], [3]], "j.p": [[0], [0], [1]], "j.n": [[0], [0], [1]]}
    table = token_controls(pairs_table(items), tokens_table(codes), info).filter(item_id="i")
    row = one(table, "unigram")
    assert row["score_positive"] == pytest.approx(-(np.log(5 / 10) + np.log(3 / 10)) / 2)
    assert row["score_negative"] == pytest.approx(-np.log(1 / 10))
    assert (row["n_scored_positive"], row["seconds_positive"], row["verdict"]) == (2, pytest.approx(0.2), 1.0)
    row = one(table, "bigram")
    assert row["score_positive"] == pytest.approx(-np.log(3 / 8))
    assert row["score_negative"] == pytest.approx(-(np.log(1 / 8) + np.log(1 / 4)) / 2)
    assert one(table, "longer_tokens")["verdict"] == 0.5


def test_without_a_prompt_the_whole_clip_is_scored_and_its_first_step_by_the_unigram() -> None:
    info = TokenizerInfo(100, 10, (4,), deduplicated=False, causal=True)
    items = [pair("i", None, fold="a"), pair("j", None, fold="b")]
    codes = {"i.p": [[1], [0]], "i.n": [[1]], "j.p": [[1], [0]], "j.n": [[1], [0], [1]]}
    table = token_controls(pairs_table(items), tokens_table(codes), info).filter(item_id="i")
    unigram, bigram = np.log(4 / 9), np.log(3 / 6)  # counts 2 3 0 0; 1 is followed by 0 twice
    assert one(table, "bigram")["score_positive"] == pytest.approx(-(unigram + bigram) / 2)
    assert one(table, "longer_tokens")["verdict"] == 1.0


def test_each_codebook_has_its_own_counts() -> None:
    info = TokenizerInfo(100, 10, (2, 2), deduplicated=False, causal=True)
    items = [pair("i", None, fold="a"), pair("j", None, fold="b")]
    codes = {"i.p": [[0, 1]], "i.n": [[1, 0]], "j.p": [[0, 1]] * 8, "j.n": [[0, 1]] * 8}
    table = token_controls(pairs_table(items), tokens_table(codes), info).filter(item_id="i")
    assert one(table, "unigram")["score_positive"] == pytest.approx(-np.log(17 / 18))
    assert one(table, "unigram")["score_negative"] == pytest.approx(-np.log(1 / 18))
    assert one(table, "unigram")["n_scored_positive"] == 2


def test_units_with_durations_are_cut_by_their_ends() -> None:
    info = TokenizerInfo(100, 10, (4,), deduplicated=True, causal=False)
    items = [pair("i", 25, fold="a"), pair("j", None, fold="b")]
    codes = {"i.p": [[0], [1], [2]], "i.n": [[0], [1], [2]], "j.p": [[0]], "j.n": [[0]]}
    lasting = {"i.p": [2, 3, 1], "i.n": [1, 1, 3], "j.p": [1], "j.n": [1]}
    row = one(token_controls(pairs_table(items), tokens_table(codes, lasting), info), "unigram", item_id="i")
    assert (row["n_scored_positive"], row["n_scored_negative"]) == (2, 1)
    assert (row["seconds_positive"], row["seconds_negative"]) == pytest.approx((0.4, 0.3))


def test_an_item_is_never_scored_by_its_own_clips() -> None:
    """The clip of fold b that is also in fold a is not counted for fold a; with no other, there is nothing to count."""
    items = [pair("i", None, fold="a"), pair("j", None, fold="b", positive="i.p", negative="i.n")]
    codes = {"i.p": [[0], [1]], "i.n": [[1], [0]]}
    table = token_controls(pairs_table(items), tokens_table(codes), TEN_HZ)
    failures = table.filter(status="failed")
    assert sorted(set(failures["evaluator"])) == ["bigram", "unigram"]
    assert "there is no clip outside fold 'a' to count codes in" in set(failures["reason"])
    assert set(table.filter(evaluator="longer_tokens")["verdict"]) == {0.5}


def test_tokens_that_failed_fail_the_item_and_no_other() -> None:
    tokens = tokens_table({"i.p": [[0], [1]], "j.p": [[1], [0]], "j.n": [[0], [0]]})
    lost = {
        "clip_id": "i.n",
        "n_frames": 0,
        "codes": None,
        "durations": None,
        "codebooks": None,
        "starts": None,
        "status": "failed",
        "reason": "too short",
    }
    broken = pl.from_arrow(TOKENS.from_rows([lost]))
    assert isinstance(broken, pl.DataFrame)
    items = pairs_table([pair("i", None, fold="a"), pair("j", None, fold="b"), pair("k", None, fold="b")])
    table = token_controls(items, pl.concat([tokens, broken]), TEN_HZ)
    assert set(table.filter(item_id="i")["reason"]) == {"negative: too short"}
    assert set(table.filter(item_id="j")["status"]) == {"ok"}
    assert set(table.filter(item_id="k")["reason"]) == {"positive: clip k.p is not in the tokens table"}


def test_what_is_planted_in_the_tokens_is_found() -> None:
    """Negatives of rare codes: the unigram is right everywhere. Negatives of rare successions: the bigram alone is."""
    rng = np.random.default_rng(2)
    items, codes = [], {}
    for i in range(40):
        items.append(pair(f"i{i}", 50, fold="ab"[i % 2]))
        regular = np.arange(20) % 4
        codes[f"i{i}.p"] = regular[:, None]
        codes[f"i{i}.n"] = np.r_[regular[:5], rng.permutation(regular[5:])][:, None]
    table = token_controls(pairs_table(items), tokens_table(codes), TEN_HZ)
    accuracy = dict(table.group_by("evaluator").agg(pl.col("verdict").mean()).iter_rows())
    assert accuracy["bigram"] > 0.95
    assert accuracy["unigram"] == accuracy["longer_tokens"] == 0.5


# ---- strata


def _scores(verdict: dict[str, float | None]) -> pl.DataFrame:
    rows = []
    for item_id, value in verdict.items():
        row: dict[str, Any] = dict.fromkeys(EVALUATORS.arrow.names)
        row |= {
            "task": "speaker",
            "item_id": item_id,
            "evaluator": "global",
            "codebooks": "all",
            "convention": "default",
        }
        rows.append(row | {"verdict": value, "status": "failed" if value is None else "ok"})
    frame = pl.from_arrow(EVALUATORS.from_rows(rows))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _lengths(items: list[dict[str, Any]], positive: list[int]) -> pl.DataFrame:
    sizes = {i["positive"]: n for i, n in zip(items, positive, strict=True)} | {i["negative"]: 100 for i in items}
    return pl.DataFrame({"clip_id": list(sizes), "n_samples": list(sizes.values())})


def test_strata_are_counted_and_a_planted_length_cue_is_flagged() -> None:
    items = [pair(f"i{k:02}", None, labels=f'{{"voice": "{"xy"[k % 2]}"}}') for k in range(40)]
    positive = [150 if k < 20 else 50 for k in range(40)]
    verdict = {f"i{k:02}": float(k < 18 or k >= 38) for k in range(40)}
    table = strata(_scores(verdict), pairs_table(items), _lengths(items, positive))
    rows = {(r["by"], r["stratum"]): r for r in table.to_dicts()}
    assert rows["length", "positive longer"]["accuracy"] == 0.9
    assert rows["length", "positive shorter"]["accuracy"] == 0.1
    assert rows["length", "positive longer"]["differs"]
    assert rows["label:voice", "x"]["n"] == 20
    assert not rows["label:voice", "x"]["differs"]
    assert rows["length", "positive longer"]["p_holm"] == 2 * rows["length", "positive longer"]["p"]


def test_failed_items_and_small_strata_are_not_tested() -> None:
    items = [pair(f"i{k}", None) for k in range(12)]
    verdict: dict[str, float | None] = {f"i{k}": 1.0 for k in range(12)}
    verdict["i0"] = None
    table = strata(_scores(verdict), pairs_table(items), _lengths(items, [150] * 8 + [50] * 4))
    assert dict(table.select("stratum", "n").iter_rows()) == {"positive longer": 7, "positive shorter": 4}
    assert table["p"].null_count() == len(table)


def test_equal_verdicts_do_not_differ_and_noise_is_seldom_flagged() -> None:
    items = [pair(f"i{k:02}", None) for k in range(40)]
    lengths = _lengths(items, [150] * 20 + [50] * 20)
    same = strata(_scores(dict.fromkeys((f"i{k:02}" for k in range(40)), 0.5)), pairs_table(items), lengths)
    assert set(same["p"]) == {1.0}
    rng, flagged = np.random.default_rng(7), 0
    for _ in range(100):
        verdict = {f"i{k:02}": float(v) for k, v in enumerate(rng.integers(0, 2, 40))}
        flagged += bool(strata(_scores(verdict), pairs_table(items), lengths)["differs"].any())
    assert flagged <= 12
