"""The tables that a comparison of two runs writes."""

from __future__ import annotations

from spokeneval.report.schemas import CELL
from spokeneval.table_schema import TableSchema, real, text, truth, whole

COMPARE = TableSchema(
    "compare_runs",
    1,
    ("kind", "task", "model_a", "model_b", *CELL),
    "One row per pair of models, task and evaluator or judge: both runs on the items that they share.",
    (
        text("kind", "'accuracy' (likelihood), 'judge' (verdicts) or 'naturalness' (the judge's own scale)"),
        text("task", "task"),
        text("model_a", "model of A"),
        text("model_b", "model of B"),
        text("evaluator", "evaluator; 'judge:<name>' for judges"),
        real("window_s", "seconds; null where the evaluator has no window"),
        text("unconditional", "'retokenise' or 'keep'; null where there is no such term"),
        text("codebooks", "'all', or the one codebook that was counted"),
        text("convention", "name of the reduction convention"),
        truth("primary", "in the family that Holm adjusts over: headline evaluators, and the judge of each task, of A"),
        whole("n_shared", "items that both have a number for"),
        whole("n_missing", "shared items that one of them has none for (failed): left out"),
        whole("n_clusters", "clusters of the shared items"),
        real("a", "share (or score) of A over these items, by `averaging` of the runs"),
        real("b", "the same of B"),
        real("difference", "b - a"),
        real("low", "paired cluster bootstrap of the difference; null where there is none"),
        real("high", "paired cluster bootstrap of the difference; null where there is none"),
        real("p", "two-sided sign-flip test, whole clusters flipped; null with fewer than two clusters"),
        real("p_holm", "after Holm, over the rows of this kind that are primary; null for others"),
        real("p_mcnemar", "exact McNemar test, as if items were independent; null where there are ties"),
        whole("n_only_a", "items that A alone has right; null for scores"),
        whole("n_only_b", "items that B alone has right; null for scores"),
        real("mdd", "least difference seen in 80 % of repetitions at 5 %, design effect included; null for scores"),
        truth("forced", "true where the runs differ in what must be equal (results.json, `conditions`)"),
        text("note", "the test; why there is no interval"),
    ),
)

LEFT_OUT = TableSchema(
    "compare_left_out",
    1,
    ("task", "item_id"),
    "Items that are not compared.",
    (
        text("task", "task"),
        text("item_id", "item"),
        text("why", "only in A, only in B, other audio, failed in A, failed in B"),
    ),
)
