"""What holds for any items: symmetry, ties, order of rows, shared prefixes, and what a reduction may be."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluator_tables import TEN_HZ, likelihood_table, one, pair, pairs_table, scored
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spokeneval.errors import ConfigError
from spokeneval.evaluators.positions import cut_frame
from spokeneval.evaluators.reduction import NAMED, EvaluatorSettings, Reduction, reduction_from
from spokeneval.evaluators.views import evaluate
from spokeneval.tokenizers.base import TokenizerInfo

UNITS = TokenizerInfo(100, 10, (32,), deduplicated=True, causal=False)
SETTINGS = EvaluatorSettings(
    windows_s=(0.25,),
    reductions=(Reduction(), Reduction("s", unit="second", edge="start"), Reduction("t", window_length="tokens")),
)
NUMBERS = ["score", "n_scored", "seconds"]

# Quarters of a nat have exact sums, so that two ways to the same mean agree to the last bit.
LOSSES = st.integers(1, 40).map(lambda quarters: quarters / 4)
few = hypothesis_settings(max_examples=20, deadline=None)


@st.composite
def items(draw: st.DrawFn, same: bool = False) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Pairs and likelihood rows of units with durations, in all three passes; the prompts need not be equal."""
    pairs, rows = [], []
    for i in range(draw(st.integers(1, 4))):
        transition = draw(st.one_of(st.none(), st.integers(5, 45)))
        pairs.append(pair(f"i{i}", transition, task="a" if transition is None else "b"))
        member: tuple[list[int], list[float]] | None = None
        for role in "pn":
            if member is None or not same:
                durations = draw(st.lists(st.integers(1, 3), min_size=6, max_size=10))
                losses = [draw(LOSSES) for _ in durations]
                member = durations, losses
            durations, losses = member
            targets = [int(4 * loss) for loss in losses]
            rows.append(scored(f"i{i}.{role}", losses, durations=durations, targets=targets, eos=1.0))
            if transition is None:
                continue
            ends = np.cumsum(durations)
            cut = cut_frame(transition, 100, UNITS)
            after = int(np.searchsorted(ends, cut, side="right"))
            start = int(ends[after] - durations[after]) if after < len(ends) else 0
            later = losses[after:] if same else [draw(LOSSES) for _ in losses[after:]]
            if later:
                rows.append(
                    scored(
                        f"i{i}.{role}",
                        later,
                        context="kept",
                        cut_frame=cut,
                        first_frame=start,
                        durations=durations[after:],
                        targets=targets[after:],
                    )
                )
                rows.append(scored(f"i{i}.c{role}", later, durations=durations[after:]))
    return pairs, rows


def run(
    pairs: list[dict[str, Any]], rows: list[dict[str, Any]], settings: EvaluatorSettings = SETTINGS
) -> pl.DataFrame:
    return evaluate(pairs_table(pairs), likelihood_table(rows), UNITS, settings)


@few
@given(items())
def test_swapping_the_members_flips_every_verdict(drawn: tuple[list[Any], list[Any]]) -> None:
    pairs, rows = drawn
    roles = ("positive", "negative"), ("continuation_positive", "continuation_negative")
    swapped = [{**p, **{a: p[b] for x, y in roles for a, b in ((x, y), (y, x))}} for p in pairs]
    table, flipped = run(pairs, rows), run(swapped, rows)
    assert table["status"].equals(flipped["status"])
    assert (table["verdict"] + flipped["verdict"]).drop_nulls().eq(1.0).all()
    for number in NUMBERS:
        assert table[f"{number}_positive"].equals(flipped[f"{number}_negative"].alias(f"{number}_positive"))


@few
@given(items(same=True))
def test_identical_clips_tie_everywhere(drawn: tuple[list[Any], list[Any]]) -> None:
    table = run(*drawn)
    assert set(table["verdict"].drop_nulls()) <= {0.5}
    assert table.filter(evaluator="global")["verdict"].eq(0.5).all()


@few
@given(items(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(drawn: tuple[list[Any], list[Any]], random: Any) -> None:
    pairs, rows = drawn
    table = run(pairs, rows)
    shuffled_pairs, shuffled_rows = list(pairs), list(rows)
    random.shuffle(shuffled_pairs)
    random.shuffle(shuffled_rows)
    assert run(shuffled_pairs, shuffled_rows).equals(table)


@few
@given(items())
def test_an_item_does_not_depend_on_the_items_beside_it(drawn: tuple[list[Any], list[Any]]) -> None:
    pairs, rows = drawn
    assert run(pairs[:1], rows).equals(run(pairs, rows).filter(pl.col("item_id") == "i0"))


@few
@given(items())
def test_every_item_of_a_task_has_the_same_rows(drawn: tuple[list[Any], list[Any]]) -> None:
    pairs, rows = drawn
    columns = ["evaluator", "window_s", "unconditional", "codebooks", "convention"]
    for _, task in run(pairs, rows).group_by("task"):
        per_item = [frozenset(item.select(columns).iter_rows()) for _, item in task.group_by("item_id")]
        assert len(set(per_item)) == 1


@few
@given(
    st.lists(LOSSES, min_size=3, max_size=3),
    st.lists(st.tuples(LOSSES, LOSSES), min_size=2, max_size=8),
    st.lists(st.floats(-1e-6, 1e-6), min_size=3, max_size=3),
)
def test_causal_tokens_of_equal_length_give_the_verdicts_of_the_continuation(
    prompt: list[float], after: list[tuple[float, float]], noise: list[float]
) -> None:
    """The prompt's tokens are the same ids; what a batch does to their last bits does not count."""
    rows = [
        scored(
            f"i.{role}",
            [
                *(loss + (bits if member else 0.0) for loss, bits in zip(prompt, noise, strict=True)),
                *(a[member] for a in after),
            ],
            targets=[1, 2, 3, *([10 + member] * len(after))],
        )
        for member, role in enumerate("pn")
    ]
    settings = EvaluatorSettings(unconditional=())
    table = evaluate(pairs_table([pair("i", 30)]), likelihood_table(rows), TEN_HZ, settings)
    assert one(table, "global")["verdict"] == one(table, "continuation")["verdict"]
    assert one(table, "placebo")["verdict"] == 0.5
    assert one(table, "placebo_window")["verdict"] == 0.5


def _prefixes(positive: list[int], negative: list[int], skip: int = 0) -> float:
    """The placebo's verdict where the first values of the members are 1.0 and 1.1 (1.0001 where BOS is not fed)."""
    other = 1.0001 if skip else 1.1
    info = TokenizerInfo(100, 10, (32,), deduplicated=False, causal=True)
    rows = [
        scored("i.p", [1.0, 1.0, 2.0], targets=positive, first_frame=skip),
        scored("i.n", [other, 1.0, 2.0], targets=negative, first_frame=skip),
    ]
    settings = EvaluatorSettings(unconditional=())
    table = evaluate(pairs_table([pair("i", 20 + 10 * skip)]), likelihood_table(rows), info, settings)
    return float(one(table, "placebo")["verdict"])


def test_a_shared_prefix_is_told_by_its_ids() -> None:
    assert _prefixes([1, 2, 3], [1, 2, 4]) == 0.5
    assert _prefixes([1, 2, 3], [5, 2, 4]) == 1.0, "other ids"
    assert _prefixes([-1, -1, -1], [-1, -1, -1]) == 1.0, "ids that are not known are not equal"


def test_where_the_first_unit_is_not_scored_values_must_agree_too() -> None:
    assert _prefixes([2, 3, 4], [2, 3, 5], skip=1) == 0.5
    rows = [
        scored("i.p", [1.0, 2.0], targets=[2, 3], first_frame=1),
        scored("i.n", [1.5, 2.0], targets=[2, 3], first_frame=1),
    ]
    settings = EvaluatorSettings(unconditional=())
    table = evaluate(pairs_table([pair("i", 20)]), likelihood_table(rows), TEN_HZ, settings)
    assert one(table, "placebo")["verdict"] == 1.0, "the unit before them may differ"


def test_the_cut_is_the_frame_that_holds_the_first_sample_after_the_prompt() -> None:
    mimi = TokenizerInfo(24_000, 1_920, (2_048,), deduplicated=False, causal=True)
    assert [cut_frame(n, 16_000, mimi) for n in (1_279, 1_280, 1_281, 2_559, 2_560)] == [0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("defualt", "unknown reduction 'defualt'; known: authors-2025-10, default, legal"),
        ({"name": "x", "egde": "start"}, "unknown setting 'egde'"),
        ({"name": "x", "edge": "begin"}, "edge is 'begin'; expected one of overlap, start, inside"),
        ({"edge": "start"}, "needs a `name`"),
        ({"name": "default", "edge": "start"}, "needs a `name`"),
        ({"name": "x", "tie": 1.0}, "tie is 1.0"),
        ({"name": "x", "stride": "token"}, "stride token needs window_length tokens"),
        ({"name": "x", "pin": "first_difference"}, "pin first_difference needs window_length tokens"),
        ({"name": "x", "reduce": "sum", "unit": "second"}, "reduce sum goes with"),
        ({"name": "x", "codebook_mean": "per_codebook", "unit": "second"}, "unit second goes with"),
        ({"name": "x", "codebooks": [0, 0]}, "expected different numbers"),
    ],
)
def test_a_reduction_that_means_nothing_is_refused(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        reduction_from(entry)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": ("globl",)}, "unknown evaluator 'globl'; known: global,"),
        ({"unconditional": ("retokenize",)}, "unknown convention of the unconditional term 'retokenize'"),
        ({"windows_s": (0.5, 0.5)}, "names something twice"),
        ({"windows_s": (0.0,)}, "expected lengths in seconds above 0"),
        ({"reductions": (Reduction(), Reduction())}, "names something twice"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        EvaluatorSettings(**values)
    assert message in str(raised.value)


def test_settings_come_from_a_configuration_and_go_into_the_metadata() -> None:
    made = EvaluatorSettings.make(["global"], [0.5], ["keep"], True, ["default", {"name": "x", "codebooks": [0]}])
    assert made.reductions == (NAMED["default"], Reduction("x", codebooks=(0,)))
    described = made.conventions()
    assert described["default"]["edge"] == "overlap"
    assert described["x"]["signature"].startswith("x: edge overlap; pinned by time;")


def test_signatures_tell_reductions_apart() -> None:
    changed = [
        Reduction("a", edge="start"),
        Reduction("a", window_length="tokens"),
        Reduction("a", window_length="tokens", frame_rate="whole"),
        Reduction("a", window_length="tokens", stride="token"),
        Reduction("a", window_length="tokens", pin="first_difference"),
        Reduction("a", unit="second"),
        Reduction("a", reduce="sum"),
        Reduction("a", codebooks=(0, 2)),
        Reduction("a", codebook_mean="per_codebook"),
        Reduction("a", marks="everywhere"),
        Reduction("a", first_unit=False),
        Reduction("a", vocabulary="legal"),
        Reduction("a", tie=0.0),
        Reduction("a"),
    ]
    assert len({reduction.signature for reduction in changed}) == len(changed)
