"""Published per-token losses of Llama-Mimi-1.3B on SALMon items against what their authors found in them.

The losses are not part of this repository (their source has no licence): the tests skip where they are absent.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from evaluator_tables import one, shared_data

from spokeneval.errors import SpokenevalError
from spokeneval.evaluators.reduction import NAMED, EvaluatorSettings, Reduction
from spokeneval.evaluators.stored_losses import LLAMA_MIMI, StoredLayout, StoredLosses, read_stored_losses
from spokeneval.evaluators.views import evaluate
from spokeneval.strata import strata
from spokeneval.tokenizers.base import TokenizerInfo

ROOM, SPEAKER, BACKGROUND = "rir_consistency", "speaker_consistency", "bg_all_consistency"
SENTIMENT = "sentiment_alignment"
AUTHORS = NAMED["authors-2025-10"]


@pytest.fixture(scope="module")
def losses() -> StoredLosses:
    return read_stored_losses(sorted(shared_data("llama_mimi_salmon").glob("*.jsonl")), LLAMA_MIMI)


@pytest.fixture(scope="module")
def table(losses: StoredLosses) -> pl.DataFrame:
    reductions = (
        Reduction(),
        Reduction("start", edge="start"),
        NAMED["units_only"],
        AUTHORS,
        replace(AUTHORS, name="frames", stride="frame", tie=0.5),
        replace(AUTHORS, name="frames from the start", stride="frame", pin="time", tie=0.5),
    )
    settings = EvaluatorSettings(windows_s=(0.1, 0.2, 0.5, 1.0), unconditional=(), reductions=reductions)
    return evaluate(losses.pairs, losses.likelihood, LLAMA_MIMI.info, settings)


def accuracy(
    table: pl.DataFrame, task: str, evaluator: str, convention: str = "default", codebooks: str = "all"
) -> float:
    rows = table.filter(task=task, evaluator=evaluator, convention=convention, codebooks=codebooks)
    rows = rows.filter(pl.col("window_s").is_null() | (pl.col("window_s") == 0.5))
    assert len(rows) == 200
    assert (rows["status"] == "ok").all()
    return 100 * float(rows["verdict"].mean())  # type: ignore[arg-type]


def _differing(table: pl.DataFrame, pairs: pl.DataFrame, task: str, name: str, expected: list[int]) -> int:
    evaluator, _, milliseconds = name.removesuffix("ms").partition("_")
    rows = table.filter(task=task, evaluator=evaluator, convention=AUTHORS.name, codebooks="all")
    if milliseconds:
        rows = rows.filter(pl.col("window_s") == int(milliseconds) / 1000)
    rows = rows.join(pairs.select("task", "item_id", "index"), on=["task", "item_id"])
    assert len(rows) == 200
    return len(set(rows.filter(pl.col("verdict") == 1)["index"]) ^ set(expected))


def test_the_authors_verdicts_are_reproduced(table: pl.DataFrame, losses: StoredLosses) -> None:
    """800 of 800 global verdicts; localized and windowed differ in at most 4 of 200 items, for each task and window."""
    published = json.loads((shared_data("llama_mimi_salmon") / "verdicts.json").read_text())
    differing = {
        (task, name): _differing(table, losses.pairs, task, name, values["correct_items"])
        for task, by_name in published.items()
        for name, values in by_name.items()
    }
    assert len(differing) == 4 * 9
    assert [n for (_, name), n in differing.items() if name == "global"] == [0, 0, 0, 0]
    assert max(differing.values()) <= 4
    assert {n for (task, _), n in differing.items() if task in (SPEAKER, SENTIMENT)} == {0}


def test_windows_pinned_by_time(table: pl.DataFrame) -> None:
    overlap = {task: accuracy(table, task, "localized") for task in (BACKGROUND, ROOM, SPEAKER)}
    start = {task: accuracy(table, task, "localized", "start") for task in (BACKGROUND, ROOM, SPEAKER)}
    assert overlap == {BACKGROUND: 84.75, ROOM: 97.5, SPEAKER: 95.5}
    assert start == {BACKGROUND: 80.75, ROOM: 93.0, SPEAKER: 94.5}


def test_room_items_pinned_by_equal_samples_lose_their_transition(losses: StoredLosses) -> None:
    """53 of the 200 room pairs differ from the first sample on: with byte equality 97.5 falls to 84.25."""
    room = shared_data("llama_mimi_salmon") / f"{ROOM}.jsonl"
    records = [json.loads(line) for line in room.read_text().splitlines()]
    cuts = {f"{ROOM}/{r['index']}": r["positive_negative_common_audio_prefix_length"] for r in records}
    assert sum(cut == 0 for cut in cuts.values()) == 53
    pairs = losses.pairs.filter(task=ROOM).with_columns(
        transition=pl.col("item_id").replace_strict(cuts, return_dtype=pl.Int64)
    )
    settings = EvaluatorSettings(("localized",), unconditional=())
    table = evaluate(pairs, losses.likelihood, LLAMA_MIMI.info, settings)
    assert accuracy(table, ROOM, "localized") == 84.25


def test_causal_tokens_give_the_verdicts_of_the_continuation(table: pl.DataFrame) -> None:
    for convention in ("units_only", AUTHORS.name):
        both = [
            table.filter(task=BACKGROUND, convention=convention, evaluator=evaluator, codebooks="all").sort("item_id")
            for evaluator in ("global", "continuation")
        ]
        assert both[0]["verdict"].equals(both[1]["verdict"])
    assert accuracy(table, BACKGROUND, "continuation", AUTHORS.name) == 73.0
    assert accuracy(table, BACKGROUND, "global") == 73.0


def test_the_stride_of_sliding_windows(table: pl.DataFrame) -> None:
    """24 tokens, EOS kept; at each token, and at each frame (from the first frame where there is no prompt)."""
    assert accuracy(table, SPEAKER, "windowed", AUTHORS.name) == 94.0
    assert accuracy(table, BACKGROUND, "windowed", AUTHORS.name) == 70.5
    assert accuracy(table, SENTIMENT, "windowed", AUTHORS.name) == 54.0
    assert accuracy(table, SPEAKER, "windowed", "frames") == 96.0
    assert accuracy(table, BACKGROUND, "windowed", "frames") == 71.5
    assert accuracy(table, SENTIMENT, "windowed", "frames from the start") == 52.0


@pytest.mark.parametrize(
    ("task", "expected"),
    [(ROOM, (69.0, 91.5, 81.0, 69.0)), (SPEAKER, (79.5, 81.5, 77.5, 73.5)), (BACKGROUND, (60.0, 69.0, 68.5, 68.25))],
)
def test_each_codebook_alone(table: pl.DataFrame, task: str, expected: tuple[float, ...]) -> None:
    assert tuple(accuracy(table, task, "global", codebooks=str(q)) for q in range(4)) == expected


@pytest.mark.parametrize(
    ("task", "expected", "n_ties"), [(BACKGROUND, 50.0, 200), (SPEAKER, 50.0, 200), (ROOM, 52.5, 144)]
)
def test_a_causal_tokenizer_ties_before_the_transition(
    table: pl.DataFrame, task: str, expected: float, n_ties: int
) -> None:
    assert accuracy(table, task, "placebo") == expected
    for evaluator in ("placebo", "placebo_window"):
        rows = table.filter(task=task, evaluator=evaluator, convention="default")
        rows = rows.filter(pl.col("window_s").is_null() | (pl.col("window_s") == 0.5))
        assert int((rows["verdict"] == 0.5).sum()) == n_ties


def test_marks_count_in_global_where_they_are_scored(table: pl.DataFrame) -> None:
    assert accuracy(table, SPEAKER, "global") == 85.0
    assert accuracy(table, SPEAKER, "global", "units_only") == 87.0


def test_eos_alone_is_right_in_few_speaker_pairs(losses: StoredLosses) -> None:
    speaker = losses.pairs.filter(task=SPEAKER)
    last = losses.likelihood.with_columns(pl.col("logprob").list.last()).select("clip_id", "logprob")
    joined = speaker.join(last, left_on="positive", right_on="clip_id").join(
        last, left_on="negative", right_on="clip_id", suffix="_negative"
    )
    assert 100 * (joined["logprob"] > joined["logprob_negative"]).mean() == 6.5  # type: ignore[operator]


def test_longer_wins_most_of_the_verdicts_of_sentiment_alignment(table: pl.DataFrame, losses: StoredLosses) -> None:
    assert accuracy(table, SENTIMENT, "global") == 48.5
    length = dict(losses.lengths.iter_rows())
    rows = table.filter(task=SENTIMENT, evaluator="global", convention="default", codebooks="all")
    joined = rows.join(losses.pairs.select("task", "item_id", "positive", "negative"), on=["task", "item_id"])
    agrees = [
        verdict == float(length[positive] > length[negative])
        for verdict, positive, negative in joined.select("verdict", "positive", "negative").iter_rows()
    ]
    assert (len(agrees), 100 * sum(agrees) / 200) == (200, 90.5)


def test_accuracy_depends_on_length(table: pl.DataFrame, losses: StoredLosses) -> None:
    scores = table.filter(evaluator="global", convention="default", codebooks="all")
    found = strata(scores, losses.pairs, losses.lengths)

    def of(task: str, stratum: str) -> tuple[int, float]:
        row = found.filter(task=task, stratum=stratum).row(0, named=True)
        return row["n"], round(100 * row["accuracy"], 1)

    assert of(SENTIMENT, "positive shorter") == (100, 8.0)
    assert of(SENTIMENT, "positive longer") == (100, 89.0)
    assert {of(SPEAKER, "positive shorter"), of(SPEAKER, "positive longer")} == {(92, 67.4), (96, 100.0)}
    differs = dict(found.group_by("task").agg(pl.col("differs").first()).iter_rows())
    assert differs[SENTIMENT]
    assert differs[SPEAKER]
    assert differs[ROOM] is None, "all room pairs are of equal length: nothing to compare"


# ---- the reader, on a file written here

TINY = StoredLayout(TokenizerInfo(100, 10, (8, 8), deduplicated=False, causal=True), n_leading=1, n_trailing=1)
RECORD: dict[str, Any] = {
    "index": 3,
    "task": SPEAKER,
    "postive_sample_tokenwise_loss": [0.5, 1, 2, 3, 4, 9, 0],
    "negative_sample_tokenwise_loss": [0.5, 1, 2, 5, 6, 9, 0],
    "positive_continuation_tokenwise_loss": [0.5, 2, 3, 9, 0],
    "negative_continuation_tokenwise_loss": [0.5, 1, 1, 9, 0],
    "positive_negative_common_audio_prefix_length": 12,
    "positive_sample_audio_length": 20,
    "sample_rate": 100,
    "code_frame_rate": 9,
    "code_depth": 2,
}


def _write(folder: Path, **changes: Any) -> Path:
    path = folder / "losses.jsonl"
    record = {**RECORD, **changes}
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not None}) + "\n")
    return path


def test_stored_losses_serve_the_evaluators(tmp_path: Path) -> None:
    losses = read_stored_losses([_write(tmp_path)], TINY)
    settings = EvaluatorSettings(windows_s=(0.1,), unconditional=("retokenise",))
    table = evaluate(losses.pairs, losses.likelihood, TINY.info, settings)
    assert one(table, "global")["score_positive"] == pytest.approx(19.5 / 6)
    assert one(table, "localized")["score_negative"] == 5.5
    assert one(table, "global_norm")["score_positive"] == pytest.approx(3.5 - 2.5)
    assert dict(losses.lengths.iter_rows())[f"{SPEAKER}/3/positive"] == 20
    marks = losses.likelihood.filter(clip_id=f"{SPEAKER}/3/positive").row(0, named=True)
    assert (marks["kind"], marks["codebook"], marks["frame"]) == (
        [2, 0, 0, 0, 0, 1],
        [-1, 0, 1, 0, 1, -1],
        [-1, 0, 0, 1, 1, -1],
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"postive_sample_tokenwise_loss": None}, "line 1: lacks positive_sample_tokenwise_loss"),
        ({"postive_sample_tokenwise_loss": [0.5, 1, 2, 3, 9, 0]}, "6 losses ending in 0"),
        (
            {"postive_sample_tokenwise_loss": [0.5, 1, 2, 3, 4, 9, 7]},
            "expected 1 marks, 2 a frame, 1 marks and a closing 0",
        ),
        ({"code_depth": 4}, r"sample_rate and code_depth are \(100, 4\); the layout expects \(100, 2\)"),
        ({"task": "laughter"}, "it is not known where the prompts of task 'laughter' end"),
        ({"positive_negative_common_audio_prefix_length": None}, "lacks positive_negative_common_audio_prefix_length"),
    ],
)
def test_a_line_of_another_layout_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpokenevalError, match=message):
        read_stored_losses([_write(tmp_path, **changes)], TINY)


def test_what_is_not_a_file_of_json_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpokenevalError, match="cannot be read"):
        read_stored_losses([tmp_path / "none.jsonl"], TINY)
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps(RECORD) + "\n{\n")
    with pytest.raises(SpokenevalError, match="line 2: not JSON"):
        read_stored_losses([broken], TINY)


def test_items_without_a_common_prefix_or_with_losses_that_are_no_numbers_fail(tmp_path: Path) -> None:
    bare = read_stored_losses([_write(tmp_path, positive_negative_common_audio_prefix_length=0)], TINY)
    assert bare.pairs["reason"].to_list() == ["the members share no sample, so there is no prompt"]
    odd = read_stored_losses(
        [_write(tmp_path, negative_sample_tokenwise_loss=[0.5, 1, 2, float("nan"), 6, 9, 0])], TINY
    )
    table = evaluate(odd.pairs, odd.likelihood, TINY.info, EvaluatorSettings(unconditional=()))
    assert set(table["reason"]) == {"negative: 1 of 6 losses are not finite"}
