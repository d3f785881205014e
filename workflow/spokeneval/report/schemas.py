"""The schemas of the tables that a report writes; `spokeneval.tables` writes and checks them.

Conventions: shares in [0, 1]; `low`, `high` are the bounds of the interval at the confidence in the signature, null
where none can be had (`note` says why); counts are of items unless said.
"""

from __future__ import annotations

import pyarrow as pa

from spokeneval.report.schemas_content import CONTENT
from spokeneval.report.schemas_judges import JUDGES, JUDGES_BY_CODEC, MODEL_JUDGING, MODEL_JUDGING_SAMPLES
from spokeneval.report.schemas_provenance import PROVENANCE
from spokeneval.report.schemas_time import LATENCY, PROFILE
from spokeneval.table_schema import Column, TableSchema, real, text, truth, whole

CELL = ("evaluator", "window_s", "unconditional", "codebooks", "convention")
"""The columns that name one evaluator with all its settings."""

_CELL_COLUMNS = (
    text("evaluator", "see the table of evaluators"),
    real("window_s", "seconds; null where the evaluator has no window"),
    text("unconditional", "'retokenise' or 'keep'; null where there is no such term"),
    text("codebooks", "'all', or the one codebook that was counted"),
    text("convention", "name of the reduction convention"),
)

ACCURACY = TableSchema(
    "report_accuracy",
    2,
    ("task", "model", *CELL),
    "One row per task, model (or source of a baseline) and evaluator: how often the right clip scored better.",
    (
        text("task", "task"),
        text("model", "model; for baselines where the row comes from ('audio' or a tokenizer)"),
        text("family", "grouping key; null for baselines and published rows"),
        text("tokenizer", "grouping key; null for audio baselines and published rows"),
        *_CELL_COLUMNS,
        text("role", "'evaluator', 'control' (placebo), 'baseline' (no model) or 'published' (somebody else's)"),
        text("source", "where a published row is printed; null for own rows"),
        truth("primary", "in the primary family, fixed beforehand"),
        truth("headline", "the evaluator that ranks the models of this task"),
        whole("n_items", "items of the task; for published rows as published, or null"),
        whole("n_scored", "items with a verdict; for published rows as n_items"),
        whole("n_failed", "items without: counted, never averaged"),
        whole("n_ties", "ties; each counts one half"),
        whole("n_clusters", "clusters that the interval resamples"),
        text(
            "averaging",
            "what `accuracy` is a mean over: 'items', or 'clusters' (mean over clusters of the mean within)",
        ),
        real("accuracy", "share of right items, ties one half, by `averaging`; null where none was scored"),
        real("accuracy_items", "the mean over items, whatever `averaging`; null for published rows"),
        real("low", "cluster bootstrap; of published rows Wilson"),
        real("high", "cluster bootstrap; of published rows Wilson"),
        real("wilson_low", "Wilson of accuracy_items, as if items were independent"),
        real("wilson_high", "Wilson of accuracy_items, as if items were independent"),
        text("letters", "models of a task that share a letter cannot be told apart; headline rows only, else null"),
        real("mdd", "least difference seen in 80 % of repetitions after Holm, median over pairs; headline rows only"),
        text("note", "why there is no interval, or no own row beside a published one; null where nothing"),
    ),
)

GAP = TableSchema(
    "report_gap",
    1,
    ("role", "model", *CELL),
    "One row per model and evaluator: the share of the gap from `global` to the human topline that it closes.",
    (
        text("role", "'evaluator' (own) or 'published'"),
        text("model", "model"),
        *_CELL_COLUMNS,
        whole("n_tasks", "tasks that are averaged"),
        text("tasks", "which: consistency tasks with a topline, `global` and the evaluator; separated by ', '"),
        real("accuracy_global", "mean accuracy of `global` over these tasks"),
        real("accuracy", "mean accuracy of the evaluator"),
        real("topline", "mean human topline"),
        real(
            "share", "(accuracy - accuracy_global) / (topline - accuracy_global); null where global is not below people"
        ),
        real("low", "paired cluster bootstrap; null for published rows"),
        real("high", "paired cluster bootstrap; null for published rows"),
        text("source", "where a published row is printed; null for own rows"),
        text("note", "why there is no share or interval; null where nothing"),
    ),
)

STRATA = TableSchema(
    "report_strata",
    1,
    ("task", "model", *CELL, "by", "stratum"),
    "One row per task, model, evaluator (headline and global) and stratum of items: does accuracy depend on it?",
    (
        text("task", "task"),
        text("model", "model"),
        *_CELL_COLUMNS,
        truth("headline", "the evaluator that ranks the models of this task"),
        text("by", "kind of stratum: 'length' (which member is longer), or 'label:' and the name of a label"),
        text("stratum", "value of the label, or 'positive longer', 'positive shorter', 'equal'"),
        whole("n", "scored items"),
        real("accuracy", "mean over items, ties one half"),
        real("low", "cluster bootstrap"),
        real("high", "cluster bootstrap"),
        real("p_holm", "Kruskal-Wallis over the strata of this kind, after Holm over all tests of the task"),
        truth("flagged", "the strata of this kind differ by more than chance; null where there is no test"),
        text("note", "why there is no interval; null where there is one"),
    ),
)

GROUPS = TableSchema(
    "report_groups",
    1,
    ("task", *CELL, "key", "group", "against"),
    "One row per task, evaluator and group of models; and the difference between the two largest tokenizer groups.",
    (
        text("task", "task"),
        *_CELL_COLUMNS,
        truth("headline", "the evaluator that ranks the models of this task"),
        text("key", "'tokenizer' or 'family'"),
        text("group", "the tokenizer or family"),
        text("against", "the group that is subtracted; null in the rows of one group"),
        whole("n_models", "models of the group with a score"),
        whole("n_models_against", "models of the other group; null in the rows of one group"),
        real("accuracy", "mean of the models' accuracies; null in rows of a difference"),
        real("difference", "mean of `group` minus mean of `against`; null in the rows of one group"),
        real("low", "cluster bootstrap over items, models fixed"),
        real("high", "cluster bootstrap over items, models fixed"),
        text("note", "why there is no interval; null where there is one"),
    ),
)

LEARNING = TableSchema(
    "report_learning",
    1,
    ("series", "task", *CELL, "step"),
    "One row per series, task, evaluator and step: the learning curve, and which steps may be the best.",
    (
        text("series", "training run"),
        whole("step", "step of the checkpoint"),
        text("model", "the checkpoint as a model"),
        text("task", "task"),
        *_CELL_COLUMNS,
        truth("headline", "the evaluator that ranks the models of this task"),
        whole("n_scored", "items with a verdict"),
        real("accuracy", "share of right items, ties one half"),
        real("low", "cluster bootstrap"),
        real("high", "cluster bootstrap"),
        truth("best", "highest accuracy; the earliest of equals"),
        real(
            "share_best", "share of resamples in which it is the best, equals sharing; on items that all steps scored"
        ),
        real("difference", "accuracy of the best step minus its own, on the items that both scored"),
        real(
            "p_holm", "paired cluster bootstrap of that difference, two-sided, Holm over the steps; null for the best"
        ),
        truth("may_be_best", "cannot be told from the best at 5 %; null where there is no test"),
        text("note", "why there is no interval; null where there is one"),
    ),
)

BEST_STEPS = TableSchema(
    "report_best_steps",
    1,
    ("series", "task", *CELL),
    "One row per series, task and evaluator: the best step, and how sure that is.",
    (
        text("series", "training run"),
        text("task", "task"),
        *_CELL_COLUMNS,
        truth("headline", "the evaluator that ranks the models of this task"),
        whole("n_steps", "checkpoints with a score"),
        whole("best_step", "step of the highest accuracy; the earliest of equals"),
        real("accuracy", "its accuracy"),
        real("low", "cluster bootstrap"),
        real("high", "cluster bootstrap"),
        whole("step_low", "lower end of the interval of the best step over resamples; null where there is none"),
        whole("step_high", "upper end"),
        real("share_best", "share of resamples in which this step is the best"),
        text("may_be_best", "steps that cannot be told from it, itself among them; separated by ', '"),
        text("note", "why something is missing; null where nothing is"),
    ),
)

COMPARISONS = TableSchema(
    "report_comparisons",
    1,
    ("task", *CELL, "model_a", "model_b"),
    "One row per pair of models and task under the headline evaluator: a paired test on the items both have.",
    (
        text("task", "task"),
        *_CELL_COLUMNS,
        text("model_a", "first model"),
        text("model_b", "second model"),
        whole("n_shared", "items that both models have a verdict for"),
        whole("n_clusters", "clusters whose signs are flipped as a whole"),
        real("difference", "accuracy of a minus accuracy of b on the shared items, averaged as the accuracies are"),
        real("discordance", "mean squared difference of the verdicts"),
        real("p", "sign-flip permutation, two-sided; null where it cannot be had"),
        real("p_holm", "after Holm over the pairs of the task"),
        real("mdd", "least difference seen in 80 % of repetitions, unadjusted"),
        real("mdd_holm", "the same at the strictest level of Holm"),
        text("note", "which test, or why there is none"),
    ),
)

AGREEMENT = TableSchema(
    "report_agreement",
    1,
    ("level", "task", "judge", *CELL),
    "One row per evaluator: does it order the systems as the judge does? Agreement with a judge, not with people.",
    (
        text("level", "'system' (mean over tasks) or 'task' (one task)"),
        text("task", "task; 'all' at the system level"),
        text("judge", "judge; 'chosen' at the system level: the chosen judge of each task"),
        *_CELL_COLUMNS,
        truth("primary", "in the primary family, fixed beforehand"),
        truth("chosen", "under the chosen judge of the task"),
        whole("n_systems", "models with continuations and verdicts"),
        whole("n_tasks", "tasks that are averaged"),
        *(
            column
            for name in ("pearson", "spearman", "kendall")
            for column in (
                real(name, "coefficient; null where it is not defined"),
                real(f"{name}_low", "interval for new systems; null below five"),
                real(f"{name}_high", "interval for new systems; null below five"),
            )
        ),
        text("note", "why a coefficient or interval is missing; null where none is"),
    ),
)

FAILURES = TableSchema(
    "report_failures",
    1,
    ("stage", "name", "task", "kind", "reason"),
    "Rows that failed, or continuations that cannot be used, grouped by reason.",
    (
        text("stage", "pairs, evaluators, controls, continuations, qualification, baselines, judging, round_trips"),
        text("name", "model, judge or tokenizer"),
        text("task", "task; '-' where the row belongs to none"),
        text("kind", "failed, or the status of a continuation: empty, silent, clipped, too_short"),
        text("reason", "the recorded reason, lengths of clips and ids apart"),
        Column("n_rows", pa.int64(), "rows"),
        Column("n_items", pa.int64(), "distinct items (prompts, for continuations)"),
        text("example", "one item"),
    ),
)

TIMINGS = TableSchema(
    "report_timings",
    1,
    ("stage", "name"),
    "What each job cost.",
    (
        text("stage", "stage"),
        text("name", "model, tokenizer, judge ..."),
        real("seconds", "wall seconds"),
        real("max_rss_mb", "largest resident memory, MB"),
        real("cpu_s", "processor seconds"),
    ),
)

ITEMS_LONG = TableSchema(
    "items_long",
    2,
    ("model", "task", "item_id", *CELL, "sample_index"),
    "Every score of every item: likelihood evaluators, controls and judges, in one long table.",
    (
        text("model", "model, or where a baseline comes from"),
        text("task", "task"),
        text("item_id", "item"),
        text("cluster", "items of one cluster are resampled together"),
        *_CELL_COLUMNS,
        Column("sample_index", pa.int16(), "sample of the continuation; 0 where nothing was sampled"),
        real("score_positive", "NLL of the right clip (lower is better); cosine to it for 'judge:' rows"),
        real("score_negative", "the same of the wrong clip"),
        whole("n_scored_positive", "tokens counted in the right clip; null for judges"),
        whole("n_scored_negative", "tokens counted in the wrong clip; null for judges"),
        real("seconds_positive", "real seconds that those tokens span; null for judges"),
        real("seconds_negative", "real seconds that those tokens span; null for judges"),
        real("verdict", "1 right, 0.5 tie, 0 wrong; null where the item failed"),
        real("margin", "how clearly the right clip won: > 0 is right, in the units of the scores"),
        text("status", "ok or failed"),
        text("reason", "why it failed"),
        Column(
            "flags",
            pa.list_(pa.string()),
            "'loops', 'repeats_prompt' of the continuation that a judge heard; null for likelihoods, and where nobody "
            "looked",
        ),
        real("mos", "mean of people's votes that count, of one question (see items_mos for all); null without a vote"),
        Column("n_votes", pa.int64(), "votes of `mos`"),
        text("mos_test_id", "listening test of `mos`: one for each task"),
        text("mos_dimension", "what was asked there"),
    ),
)

REPORT_SCHEMAS = {
    s.name: s
    for s in (
        ACCURACY,
        GAP,
        STRATA,
        GROUPS,
        LEARNING,
        BEST_STEPS,
        COMPARISONS,
        AGREEMENT,
        JUDGES,
        JUDGES_BY_CODEC,
        MODEL_JUDGING,
        MODEL_JUDGING_SAMPLES,
        CONTENT,
        FAILURES,
        TIMINGS,
        PROFILE,
        LATENCY,
        PROVENANCE,
        ITEMS_LONG,
    )
}
