"""Every evaluator on six tokens by hand, and the known answers that need no published model."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluator_tables import TEN_HZ, failed, likelihood_table, one, pair, pairs_table, scored

from spokeneval.errors import ArtefactError
from spokeneval.evaluators.reduction import EVALUATOR_NAMES, EvaluatorSettings, Reduction
from spokeneval.evaluators.views import evaluate
from spokeneval.tables import EVALUATORS, write_table
from spokeneval.tokenizers.base import TokenizerInfo

# Six frames of 10 samples. The transition lies at sample 25, in frame 2; delta = 0.2 s = 20 samples.
POSITIVE, NEGATIVE = [1, 2, 3, 4, 5, 6], [1, 2, 4, 4, 7, 2]
EOS = {"p": 0.5, "n": 9.0}


def six_tokens() -> tuple[pl.DataFrame, pl.DataFrame]:
    """One item; the continuations as files of their own have 4 and 3 tokens; with the prompt dropped the first token
    of the continuation has nothing before it and is not scored."""
    rows = [
        scored("i.p", POSITIVE, eos=EOS["p"]),
        scored("i.n", NEGATIVE, eos=EOS["n"]),
        scored("i.cp", [2, 2, 6, 4], eos=3.0),
        scored("i.cn", [3, 5, 1], eos=3.0),
        scored("i.p", [3, 5, 5], context="kept", cut_frame=2, first_frame=3, eos=0.1),
        scored("i.n", [4, 6, 4], context="kept", cut_frame=2, first_frame=3, eos=0.1),
    ]
    return pairs_table([pair("i", 25)]), likelihood_table(rows)


def settings(*reductions: Reduction, windows_s: tuple[float, ...] = (0.2,), **values: Any) -> EvaluatorSettings:
    return EvaluatorSettings(windows_s=windows_s, reductions=reductions or (Reduction(),), **values)


def check(
    row: dict[str, Any], positive: float, negative: float, n: tuple[int, int], seconds: tuple[float, float]
) -> None:
    assert row["status"] == "ok", row["reason"]
    assert (row["score_positive"], row["score_negative"]) == pytest.approx((positive, negative), abs=1e-12)
    assert (row["n_scored_positive"], row["n_scored_negative"]) == n
    assert (row["seconds_positive"], row["seconds_negative"]) == pytest.approx(seconds)
    assert row["verdict"] == (1.0 if positive < negative else 0.5 if positive == negative else 0.0)


GOLDEN = [
    ("global", {}, 21.5 / 7, 29 / 7, (7, 7), (0.6, 0.6)),
    ("continuation", {}, 4.5, 4.25, (4, 4), (0.4, 0.4)),
    ("localized", {}, 4.0, 5.0, (3, 3), (0.3, 0.3)),
    ("unconditional", {"unconditional": "retokenise"}, 3.5, 3.0, (4, 3), (0.4, 0.3)),
    ("global_norm", {"unconditional": "retokenise"}, 1.0, 1.25, (4, 4), (0.4, 0.4)),
    ("localized_norm", {"unconditional": "retokenise"}, 2.0, 1.0, (3, 3), (0.3, 0.3)),
    ("unconditional", {"unconditional": "keep"}, 13 / 3, 14 / 3, (3, 3), (0.3, 0.3)),
    ("global_norm", {"unconditional": "keep"}, 2 / 3, -1 / 3, (3, 3), (0.3, 0.3)),
    ("localized_norm", {"unconditional": "keep"}, 0.5, 0.5, (2, 2), (0.2, 0.2)),
    ("windowed", {}, 5.5, 5.5, (4, 4), (0.4, 0.4)),
    ("windowed_matched", {}, 5.5, 5.5, (4, 4), (0.4, 0.4)),
    ("placebo", {}, 1.5, 1.5, (2, 2), (0.2, 0.2)),
    ("placebo_window", {}, 1.5, 1.5, (2, 2), (0.2, 0.2)),
]


@pytest.mark.parametrize(("evaluator", "where", "positive", "negative", "n", "seconds"), GOLDEN)
def test_six_tokens_by_hand(
    evaluator: str,
    where: dict[str, Any],
    positive: float,
    negative: float,
    n: tuple[int, int],
    seconds: tuple[float, float],
) -> None:
    table = evaluate(*six_tokens(), TEN_HZ, settings())
    check(one(table, evaluator, **where), positive, negative, n, seconds)


def test_the_table_is_complete_and_of_the_schema(tmp_path: Path) -> None:
    table = evaluate(*six_tokens(), TEN_HZ, settings())
    assert len(table) == len(GOLDEN)
    write_table(tmp_path / "evaluators.parquet", table, EVALUATORS, "identity")


@pytest.mark.parametrize(
    ("edge", "continuation", "localized", "placebo_window"),
    [
        ("overlap", (4.5, 4), (4.0, 3), (1.5, 2)),
        ("start", (5.0, 3), (4.5, 2), (2.0, 1)),
        ("inside", (5.0, 3), (4.0, 1), (2.0, 1)),
    ],
)
def test_each_edge_by_hand(
    edge: Any, continuation: tuple[float, int], localized: tuple[float, int], placebo_window: tuple[float, int]
) -> None:
    table = evaluate(*six_tokens(), TEN_HZ, settings(Reduction("e", edge=edge)))
    for evaluator, expected in (
        ("continuation", continuation),
        ("localized", localized),
        ("placebo_window", placebo_window),
    ):
        row = one(table, evaluator)
        assert (row["score_positive"], row["n_scored_positive"]) == expected, evaluator


def test_reductions_by_hand() -> None:
    reductions = (
        Reduction("seconds", unit="second"),
        Reduction("sum", reduce="sum"),
        Reduction("units", marks="nowhere"),
        Reduction("all_marks", marks="everywhere"),
        Reduction("later", first_unit=False),
        Reduction("strict", tie=0.0),
    )
    table = evaluate(*six_tokens(), TEN_HZ, settings(*reductions))

    def positive(evaluator: str, convention: str, **where: Any) -> float:
        return float(one(table, evaluator, convention=convention, **where)["score_positive"])

    assert positive("localized", "seconds") == pytest.approx(12 / 0.3)
    assert positive("windowed", "seconds") == pytest.approx(11 / 0.2)
    assert positive("global", "sum") == 21.5
    assert positive("windowed", "sum") == 11.0
    assert positive("global", "units") == 3.5
    assert positive("continuation", "all_marks") == pytest.approx(18.5 / 5)
    assert positive("unconditional", "all_marks", unconditional="retokenise") == pytest.approx(17 / 5)
    assert positive("global", "later") == pytest.approx(20.5 / 6)
    assert one(table, "windowed", convention="strict")["verdict"] == 0.0
    assert one(table, "placebo", convention="strict")["verdict"] == 0.5, "a placebo that ties is what it should be"


def test_the_legal_vocabulary_is_another_column() -> None:
    rows = [scored("i.p", [5, 5], legal=[1, 2]), scored("i.n", [5, 5], legal=[1, 4])]
    table = evaluate(
        pairs_table([pair("i", None)]),
        likelihood_table(rows),
        TEN_HZ,
        settings(Reduction(), Reduction("l", vocabulary="legal")),
    )
    assert one(table, "global", convention="default")["verdict"] == 0.5
    assert one(table, "global", convention="l")["score_negative"] == 2.5


def test_a_window_at_a_frame_holds_seven_mimi_frames_wherever_it_begins() -> None:
    """0.5 s are 6.25 frames of 12.5 Hz. A cumulative sum of float seconds is wrong in 97 of these 300."""
    mimi = TokenizerInfo(24_000, 1_920, (2_048,), deduplicated=False, causal=True)
    items = [pair(f"i{k}", 1_280 * k, sample_rate=16_000, positive="p", negative="n") for k in range(300)]
    rows = [scored("p", np.ones(320)), scored("n", np.ones(320))]
    table = evaluate(pairs_table(items), likelihood_table(rows), mimi, settings(windows_s=(0.5,), unconditional=()))
    localized = table.filter(pl.col("evaluator") == "localized")
    assert len(localized) == 300
    assert set(localized["n_scored_positive"]) == {7}


def test_a_window_at_a_frame_holds_five_units_of_25_hz_in_a_fifth_of_a_second() -> None:
    """k / 25 in float seconds is wrong in 45 of these 300."""
    info = TokenizerInfo(16_000, 640, (500,), deduplicated=False, causal=False)
    items = [pair(f"i{k}", 640 * k, sample_rate=16_000, positive="p", negative="n") for k in range(300)]
    rows = [scored("p", np.ones(320)), scored("n", np.ones(320))]
    table = evaluate(pairs_table(items), likelihood_table(rows), info, settings(windows_s=(0.2,), unconditional=()))
    assert set(table.filter(pl.col("evaluator") == "localized")["n_scored_negative"]) == {5}


def test_rates_that_do_not_divide_each_other_are_compared_exactly() -> None:
    """44.1 kHz clips against frames of 512 samples at 22.05 kHz: the cut at 1024 k is exactly frame k."""
    info = TokenizerInfo(22_050, 512, (256,), deduplicated=False, causal=True)
    items = [
        pair(f"i{k}{d:+d}", 1_024 * k + d, sample_rate=44_100, positive="p", negative="n")
        for k in range(1, 40)
        for d in (-1, 0, 1)
    ]
    rows = [scored("p", np.ones(50)), scored("n", np.ones(50))]
    table = evaluate(pairs_table(items), likelihood_table(rows), info, settings(unconditional=()))
    first = {row["item_id"]: 50 - row["n_scored_positive"] for row in table.filter(evaluator="continuation").to_dicts()}
    for k in range(1, 40):
        assert [first[f"i{k}{d}"] for d in ("-1", "+0", "+1")] == [k - 1, k, k]


def test_durations_count_in_nats_a_second_and_not_in_nats_a_token() -> None:
    """Two runs of 1 and 3 nats, 10 and 2 frames at 25 Hz: 2 nats a token, 8.33 nats a second."""
    info = TokenizerInfo(16_000, 640, (500,), deduplicated=True, causal=False)
    rows = [scored(clip, [1, 3], durations=[10, 2]) for clip in ("i.p", "i.n")]
    table = evaluate(
        pairs_table([pair("i", None)]),
        likelihood_table(rows),
        info,
        settings(Reduction(), Reduction("seconds", unit="second")),
    )
    assert one(table, "global", convention="default")["score_positive"] == 2.0
    assert one(table, "global", convention="seconds")["score_positive"] == pytest.approx(4 / 0.48)


def _chain(
    rng: np.random.Generator, order: int, bos: bool, n_items: int = 200
) -> tuple[pl.DataFrame, pl.DataFrame, list[float]]:
    """Items scored by a Markov chain of 8 codes, and [log p(x_c | BOS) - log p(x_c | x_{c-1})] / n of each positive."""
    start, first = -np.log(rng.dirichlet(np.ones(8))), -np.log(rng.dirichlet(np.ones(8)))
    step = -np.log(rng.dirichlet(np.ones(8), size=8))
    if order == 0:
        step = np.tile(first, (8, 1))
        start = first
    start, step = start.astype(np.float32), step.astype(np.float32)
    rows, items, expected = [], [], []

    def nll(codes: np.ndarray[Any, Any]) -> list[float]:
        after = [step[a, b] for a, b in pairwise(codes)]
        return [*([start[codes[0]]] if bos else []), *after]

    for i in range(n_items):
        prompt = rng.integers(0, 8, 5)
        items.append(pair(f"i{i}", 50))
        for member in "pn":
            codes = np.r_[prompt, rng.integers(0, 8, int(rng.integers(3, 8)))]
            skip = 0 if bos else 1
            rows.append(scored(f"i{i}.{member}", nll(codes), first_frame=skip, targets=codes[skip:].tolist()))
            rows.append(
                scored(
                    f"i{i}.{member}",
                    nll(codes[5:]),
                    context="kept",
                    cut_frame=5,
                    first_frame=5 + skip,
                    targets=codes[5 + skip :].tolist(),
                )
            )
            if member == "p":
                expected.append((step[codes[4], codes[5]] - start[codes[5]]) / (len(codes) - 5))
    return pairs_table(items), likelihood_table(rows), expected


@pytest.mark.parametrize(("order", "bos"), [(0, True), (0, False), (1, False)])
def test_a_model_that_cannot_know_the_prompt_scores_zero_when_tokens_are_kept(order: int, bos: bool) -> None:
    pairs, likelihood, _ = _chain(np.random.default_rng(3), order, bos)
    table = evaluate(pairs, likelihood, TEN_HZ, settings(unconditional=("keep",)))
    for evaluator in ("global_norm", "localized_norm"):
        rows = table.filter(pl.col("evaluator") == evaluator)
        assert len(rows) == 200
        assert set(rows["score_positive"]) | set(rows["score_negative"]) == {0.0}
        assert set(rows["verdict"]) == {0.5}


def test_an_order_one_model_with_bos_differs_by_its_first_token_only() -> None:
    pairs, likelihood, expected = _chain(np.random.default_rng(4), 1, True)
    table = evaluate(pairs, likelihood, TEN_HZ, settings(unconditional=("keep",)))
    rows = table.filter(pl.col("evaluator") == "global_norm").join(pairs.select("item_id"), on="item_id")
    found = {row["item_id"]: row["score_positive"] for row in rows.to_dicts()}
    assert [found[f"i{i}"] for i in range(200)] == pytest.approx(expected, abs=1e-6)


def test_a_longer_clip_has_a_larger_maximum_unless_spans_are_matched() -> None:
    """iid losses, 120 against 80 tokens, windows of one: the longer member wins 80 of 200 times; matched, half."""
    rng, n = np.random.default_rng(5), 2_000
    items = pairs_table([pair(f"i{i:04}", None) for i in range(n)])
    rows = [
        scored(f"i{i:04}.{member}", rng.exponential(size=length))
        for i in range(n)
        for member, length in (("p", 120), ("n", 80))
    ]
    names = ("windowed", "windowed_matched")
    table = evaluate(items, likelihood_table(rows), TEN_HZ, settings(windows_s=(0.1,), names=names, unconditional=()))
    accuracy = dict(table.group_by("evaluator").agg(pl.col("verdict").mean()).iter_rows())
    assert accuracy["windowed"] == pytest.approx(0.40, abs=0.035)
    assert accuracy["windowed_matched"] == pytest.approx(0.50, abs=0.035)
    matched = table.filter(evaluator="windowed_matched")
    assert (matched["n_scored_positive"] == matched["n_scored_negative"]).all()


@pytest.mark.parametrize(
    "reduction",
    [Reduction(), Reduction("tokens", window_length="tokens"), Reduction("t", window_length="tokens", stride="token")],
)
def test_the_worst_window_of_two(reduction: Reduction) -> None:
    rows = [scored("i.p", [1, 1, 9, 1]), scored("i.n", [1, 1, 1])]
    table = evaluate(pairs_table([pair("i", None)]), likelihood_table(rows), TEN_HZ, settings(reduction))
    assert one(table, "windowed")["score_positive"] == 5.0
    assert one(table, "windowed_matched")["score_positive"] == 5.0
    assert one(table, "windowed_matched")["n_scored_positive"] == 3


def test_a_span_shorter_than_the_window_is_one_window() -> None:
    rows = [scored("i.p", [1, 4]), scored("i.n", [1, 1, 2])]
    table = evaluate(pairs_table([pair("i", None)]), likelihood_table(rows), TEN_HZ, settings(windows_s=(0.5,)))
    check(one(table, "windowed"), 2.5, 4 / 3, (2, 3), (0.2, 0.3))
    check(one(table, "windowed_matched"), 2.5, 1.0, (2, 2), (0.2, 0.2))


def test_windows_of_units_with_durations_begin_at_units() -> None:
    """Units of 3, 1, 2, 1 frames, windows of 3 frames: [0], [1 2], [2 3] are complete; the fourth unit's is not."""
    info = TokenizerInfo(100, 10, (32,), deduplicated=True, causal=False)
    rows = [scored(clip, [2, 1, 6, 3], durations=[3, 1, 2, 1]) for clip in ("i.p", "i.n")]
    table = evaluate(pairs_table([pair("i", None)]), likelihood_table(rows), info, settings(windows_s=(0.3,)))
    assert one(table, "windowed")["score_positive"] == 4.5


def test_delayed_codebooks_are_counted_where_they_sound() -> None:
    """10 frames x 8 codebooks, all but the first delayed by a step, in the order of prediction."""
    info = TokenizerInfo(100, 10, (32,) * 8, deduplicated=False, causal=True)
    place = sorted((f + (q > 0), q, f) for f in range(10) for q in range(8))
    row = scored("i.p", [float(f) for _, _, f in place], n_codebooks=8, step=[s for s, _, _ in place])
    row |= {"frame": [f for _, _, f in place], "codebook": [q for _, q, _ in place]}
    table = evaluate(
        pairs_table([pair("i", 40)]),
        likelihood_table([row, row | {"clip_id": "i.n"}]),
        info,
        settings(unconditional=()),
    )
    check(one(table, "localized"), 4.5, 4.5, (16, 16), (0.2, 0.2))
    assert one(table, "placebo")["n_scored_positive"] == 25, "frames 0-2, and of frame 3 the code that is not delayed"
    assert one(table, "windowed")["score_positive"] == 8.5


def test_codebooks_one_by_one_and_their_mean() -> None:
    info = TokenizerInfo(100, 10, (32, 32), deduplicated=False, causal=True)
    rows = [scored("i.p", [1, 10, 3, 20], n_codebooks=2, eos=100.0), scored("i.n", [2, 10, 2, 10], n_codebooks=2)]
    reductions = (
        Reduction(),
        Reduction("m", codebook_mean="per_codebook", marks="nowhere"),
        Reduction("c1", codebooks=(1,)),
    )
    table = evaluate(
        pairs_table([pair("i", 10)]), likelihood_table(rows), info, settings(*reductions, windows_s=(0.1,))
    )
    assert one(table, "global", codebooks="0", convention="default")["score_positive"] == 2.0
    assert one(table, "global", codebooks="1", convention="default")["score_positive"] == 15.0
    assert one(table, "localized", codebooks="1", convention="default")["score_positive"] == 20.0
    assert one(table, "global", convention="m")["score_positive"] == 8.5
    assert one(table, "windowed", convention="m")["score_positive"] == 11.5
    assert one(table, "global", codebooks="1", convention="c1")["score_positive"] == 15.0
    assert one(table, "windowed", codebooks="1", convention="c1")["score_negative"] == 10.0


def test_no_evaluator_without_a_prompt_but_those_that_need_none() -> None:
    rows = [scored("i.p", [1, 2]), scored("i.n", [2, 3])]
    table = evaluate(pairs_table([pair("i", None, task="alignment")]), likelihood_table(rows), TEN_HZ, settings())
    assert table["evaluator"].to_list() == ["global", "windowed", "windowed_matched"]


def _cells(table: pl.DataFrame, item_id: str) -> set[tuple[Any, ...]]:
    names = ("evaluator", "window_s", "unconditional", "codebooks", "convention", "status")
    return set(table.filter(pl.col("item_id") == item_id).select(names).iter_rows())


def test_an_item_that_failed_has_every_row_and_its_reason() -> None:
    pairs, likelihood = six_tokens()
    lost = pair("lost", None, status="failed", reason="no such file", positive=None, negative=None)
    both = pl.concat([pairs, pairs_table([lost])])
    table = evaluate(both, likelihood, TEN_HZ, settings())
    assert {c[:-1] for c in _cells(table, "lost")} == {c[:-1] for c in _cells(table, "i")}
    rows = table.filter(item_id="lost")
    assert set(rows["reason"]) == {"no such file"}
    assert rows["verdict"].null_count() == rows["score_positive"].null_count() == len(rows)
    assert set(table.filter(item_id="i")["status"]) == {"ok"}


def test_a_clip_that_failed_fails_what_needs_it_and_nothing_else() -> None:
    pairs, likelihood = six_tokens()
    rows = [*likelihood.filter(pl.col("clip_id") != "i.cn").to_dicts(), failed("i.cn", "too short for one frame")]
    table = evaluate(pairs, likelihood_table(rows), TEN_HZ, settings())
    failures = table.filter(status="failed")
    assert set(failures["unconditional"]) == {"retokenise"}
    assert len(failures) == 3
    assert all(
        "negative: the continuation as a file" in r and "too short for one frame" in r for r in failures["reason"]
    )


def test_what_was_not_scored_is_said() -> None:
    pairs, likelihood = six_tokens()
    table = evaluate(pairs, likelihood.filter(pl.col("context") == "full"), TEN_HZ, settings())
    reasons = set(table.filter(status="failed", unconditional="keep")["reason"])
    assert reasons == {
        "positive: with the prompt dropped: clip i.p has no log-probabilities in context 'kept' from frame 2 on"
    }


def test_an_empty_window_and_a_score_that_is_no_number_are_failures() -> None:
    rows = [scored("i.p", [1, 2, 3]), scored("i.n", [1, 2, np.inf])]
    table = evaluate(pairs_table([pair("i", 20)]), likelihood_table(rows), TEN_HZ, settings(unconditional=()))
    assert "not a finite number" in one(table, "localized")["reason"]
    late = evaluate(pairs_table([pair("i", 30)]), likelihood_table(rows), TEN_HZ, settings(unconditional=()))
    assert one(late, "localized")["reason"] == "positive: no token is counted in the window of 0.2 s"
    tiny = Reduction("tiny", window_length="tokens")
    none = evaluate(pairs_table([pair("i", 20)]), likelihood_table(rows), TEN_HZ, settings(tiny, windows_s=(0.05,)))
    assert "no token is counted" in one(none, "localized")["reason"]
    assert "no token is counted" in one(none, "windowed")["reason"]


def test_a_table_that_contradicts_itself_is_refused() -> None:
    pairs, likelihood = six_tokens()
    with pytest.raises(ArtefactError, match="occurs twice"):
        evaluate(pairs, pl.concat([likelihood, likelihood.head(1)]), TEN_HZ, settings())
    rows = likelihood.to_dicts()
    rows[0]["frame"] = rows[0]["frame"][:-1]
    with pytest.raises(ArtefactError, match="different lengths"):
        evaluate(pairs, likelihood_table(rows), TEN_HZ, settings())
    rows = likelihood.to_dicts()
    rows[4]["target"] = [7] * len(rows[4]["target"])
    with pytest.raises(ArtefactError, match="other ids"):
        evaluate(pairs, likelihood_table(rows), TEN_HZ, settings())
    rows = likelihood.to_dicts()
    rows[0]["codebook"] = [3] * 6 + [-1]
    with pytest.raises(ArtefactError, match="codebook 3 is scored"):
        evaluate(pairs, likelihood_table(rows), TEN_HZ, settings())


def test_every_evaluator_can_be_asked_for_alone() -> None:
    pairs, likelihood = six_tokens()
    whole = evaluate(pairs, likelihood, TEN_HZ, settings())
    for name in EVALUATOR_NAMES:
        alone = evaluate(pairs, likelihood, TEN_HZ, settings(names=(name,)))
        assert alone.equals(whole.filter(pl.col("evaluator").is_in([name, "placebo", "placebo_window"])))
