"""The schemas of the tables that a report writes; `spokeneval.tables` writes and checks them.

Conventions: shares in [0, 1]; `low`, `high` are the bounds of the interval at the confidence in the signature, null
where none can be had (`note` says why); counts are of items unless said.
"""

from __future__ import annotations

import pyarrow as pa

from spokeneval.report.schemas_content import CONTENT
from spokeneval.tables import Column, TableSchema


def _s(name: str, doc: str) -> Column:
    return Column(name, pa.string(), doc)


def _f(name: str, doc: str) -> Column:
    return Column(name, pa.float64(), doc)


def _n(name: str, doc: str) -> Column:
    return Column(name, pa.int32(), doc)


def _b(name: str, doc: str) -> Column:
    return Column(name, pa.bool_(), doc)


CELL = ("evaluator", "window_s", "unconditional", "codebooks", "convention")
"""The columns that name one evaluator with all its settings."""

_CELL_COLUMNS = (
    _s("evaluator", "see the table of evaluators"),
    _f("window_s", "seconds; null where the evaluator has no window"),
    _s("unconditional", "'retokenise' or 'keep'; null where there is no such term"),
    _s("codebooks", "'all', or the one codebook that was counted"),
    _s("convention", "name of the reduction convention"),
)

ACCURACY = TableSchema(
    "report_accuracy",
    2,
    ("task", "model", *CELL),
    "One row per task, model (or source of a baseline) and evaluator: how often the right clip scored better.",
    (
        _s("task", "task"),
        _s("model", "model; for baselines where the row comes from ('audio' or a tokenizer)"),
        _s("family", "grouping key; null for baselines and published rows"),
        _s("tokenizer", "grouping key; null for audio baselines and published rows"),
        *_CELL_COLUMNS,
        _s("role", "'evaluator', 'control' (placebo), 'baseline' (no model) or 'published' (somebody else's)"),
        _s("source", "where a published row is printed; null for own rows"),
        _b("primary", "in the primary family, fixed beforehand"),
        _b("headline", "the evaluator that ranks the models of this task"),
        _n("n_items", "items of the task; for published rows as published, or null"),
        _n("n_scored", "items with a verdict; for published rows as n_items"),
        _n("n_failed", "items without: counted, never averaged"),
        _n("n_ties", "ties; each counts one half"),
        _n("n_clusters", "clusters that the interval resamples"),
        _s(
            "averaging",
            "what `accuracy` is a mean over: 'items', or 'clusters' (mean over clusters of the mean within)",
        ),
        _f("accuracy", "share of right items, ties one half, by `averaging`; null where none was scored"),
        _f("accuracy_items", "the mean over items, whatever `averaging`; null for published rows"),
        _f("low", "cluster bootstrap; of published rows Wilson"),
        _f("high", "cluster bootstrap; of published rows Wilson"),
        _f("wilson_low", "Wilson of accuracy_items, as if items were independent"),
        _f("wilson_high", "Wilson of accuracy_items, as if items were independent"),
        _s("letters", "models of a task that share a letter cannot be told apart; headline rows only, else null"),
        _f("mdd", "least difference seen in 80 % of repetitions after Holm, median over pairs; headline rows only"),
        _s("note", "why there is no interval, or no own row beside a published one; null where nothing"),
    ),
)

GAP = TableSchema(
    "report_gap",
    1,
    ("role", "model", *CELL),
    "One row per model and evaluator: the share of the gap from `global` to the human topline that it closes.",
    (
        _s("role", "'evaluator' (own) or 'published'"),
        _s("model", "model"),
        *_CELL_COLUMNS,
        _n("n_tasks", "tasks that are averaged"),
        _s("tasks", "which: consistency tasks with a topline, `global` and the evaluator; separated by ', '"),
        _f("accuracy_global", "mean accuracy of `global` over these tasks"),
        _f("accuracy", "mean accuracy of the evaluator"),
        _f("topline", "mean human topline"),
        _f(
            "share", "(accuracy - accuracy_global) / (topline - accuracy_global); null where global is not below people"
        ),
        _f("low", "paired cluster bootstrap; null for published rows"),
        _f("high", "paired cluster bootstrap; null for published rows"),
        _s("source", "where a published row is printed; null for own rows"),
        _s("note", "why there is no share or interval; null where nothing"),
    ),
)

STRATA = TableSchema(
    "report_strata",
    1,
    ("task", "model", *CELL, "by", "stratum"),
    "One row per task, model, evaluator (headline and global) and stratum of items: does accuracy depend on it?",
    (
        _s("task", "task"),
        _s("model", "model"),
        *_CELL_COLUMNS,
        _b("headline", "the evaluator that ranks the models of this task"),
        _s("by", "kind of stratum: 'length' (which member is longer), or 'label:' and the name of a label"),
        _s("stratum", "value of the label, or 'positive longer', 'positive shorter', 'equal'"),
        _n("n", "scored items"),
        _f("accuracy", "mean over items, ties one half"),
        _f("low", "cluster bootstrap"),
        _f("high", "cluster bootstrap"),
        _f("p_holm", "Kruskal-Wallis over the strata of this kind, after Holm over all tests of the task"),
        _b("flagged", "the strata of this kind differ by more than chance; null where there is no test"),
        _s("note", "why there is no interval; null where there is one"),
    ),
)

GROUPS = TableSchema(
    "report_groups",
    1,
    ("task", *CELL, "key", "group", "against"),
    "One row per task, evaluator and group of models; and the difference between the two largest tokenizer groups.",
    (
        _s("task", "task"),
        *_CELL_COLUMNS,
        _b("headline", "the evaluator that ranks the models of this task"),
        _s("key", "'tokenizer' or 'family'"),
        _s("group", "the tokenizer or family"),
        _s("against", "the group that is subtracted; null in the rows of one group"),
        _n("n_models", "models of the group with a score"),
        _n("n_models_against", "models of the other group; null in the rows of one group"),
        _f("accuracy", "mean of the models' accuracies; null in rows of a difference"),
        _f("difference", "mean of `group` minus mean of `against`; null in the rows of one group"),
        _f("low", "cluster bootstrap over items, models fixed"),
        _f("high", "cluster bootstrap over items, models fixed"),
        _s("note", "why there is no interval; null where there is one"),
    ),
)

LEARNING = TableSchema(
    "report_learning",
    1,
    ("series", "task", *CELL, "step"),
    "One row per series, task, evaluator and step: the learning curve, and which steps may be the best.",
    (
        _s("series", "training run"),
        _n("step", "step of the checkpoint"),
        _s("model", "the checkpoint as a model"),
        _s("task", "task"),
        *_CELL_COLUMNS,
        _b("headline", "the evaluator that ranks the models of this task"),
        _n("n_scored", "items with a verdict"),
        _f("accuracy", "share of right items, ties one half"),
        _f("low", "cluster bootstrap"),
        _f("high", "cluster bootstrap"),
        _b("best", "highest accuracy; the earliest of equals"),
        _f("share_best", "share of resamples in which it is the best, equals sharing; on items that all steps scored"),
        _f("difference", "accuracy of the best step minus its own, on the items that both scored"),
        _f("p_holm", "paired cluster bootstrap of that difference, two-sided, Holm over the steps; null for the best"),
        _b("may_be_best", "cannot be told from the best at 5 %; null where there is no test"),
        _s("note", "why there is no interval; null where there is one"),
    ),
)

BEST_STEPS = TableSchema(
    "report_best_steps",
    1,
    ("series", "task", *CELL),
    "One row per series, task and evaluator: the best step, and how sure that is.",
    (
        _s("series", "training run"),
        _s("task", "task"),
        *_CELL_COLUMNS,
        _b("headline", "the evaluator that ranks the models of this task"),
        _n("n_steps", "checkpoints with a score"),
        _n("best_step", "step of the highest accuracy; the earliest of equals"),
        _f("accuracy", "its accuracy"),
        _f("low", "cluster bootstrap"),
        _f("high", "cluster bootstrap"),
        _n("step_low", "lower end of the interval of the best step over resamples; null where there is none"),
        _n("step_high", "upper end"),
        _f("share_best", "share of resamples in which this step is the best"),
        _s("may_be_best", "steps that cannot be told from it, itself among them; separated by ', '"),
        _s("note", "why something is missing; null where nothing is"),
    ),
)

COMPARISONS = TableSchema(
    "report_comparisons",
    1,
    ("task", *CELL, "model_a", "model_b"),
    "One row per pair of models and task under the headline evaluator: a paired test on the items both have.",
    (
        _s("task", "task"),
        *_CELL_COLUMNS,
        _s("model_a", "first model"),
        _s("model_b", "second model"),
        _n("n_shared", "items that both models have a verdict for"),
        _n("n_clusters", "clusters whose signs are flipped as a whole"),
        _f("difference", "accuracy of a minus accuracy of b on the shared items, averaged as the accuracies are"),
        _f("discordance", "mean squared difference of the verdicts"),
        _f("p", "sign-flip permutation, two-sided; null where it cannot be had"),
        _f("p_holm", "after Holm over the pairs of the task"),
        _f("mdd", "least difference seen in 80 % of repetitions, unadjusted"),
        _f("mdd_holm", "the same at the strictest level of Holm"),
        _s("note", "which test, or why there is none"),
    ),
)

AGREEMENT = TableSchema(
    "report_agreement",
    1,
    ("level", "task", "judge", *CELL),
    "One row per evaluator: does it order the systems as the judge does? Agreement with a judge, not with people.",
    (
        _s("level", "'system' (mean over tasks) or 'task' (one task)"),
        _s("task", "task; 'all' at the system level"),
        _s("judge", "judge; 'chosen' at the system level: the chosen judge of each task"),
        *_CELL_COLUMNS,
        _b("primary", "in the primary family, fixed beforehand"),
        _b("chosen", "under the chosen judge of the task"),
        _n("n_systems", "models with continuations and verdicts"),
        _n("n_tasks", "tasks that are averaged"),
        *(
            column
            for name in ("pearson", "spearman", "kendall")
            for column in (
                _f(name, "coefficient; null where it is not defined"),
                _f(f"{name}_low", "interval for new systems; null below five"),
                _f(f"{name}_high", "interval for new systems; null below five"),
            )
        ),
        _s("note", "why a coefficient or interval is missing; null where none is"),
    ),
)

JUDGES = TableSchema(
    "report_judges",
    1,
    ("task", "judge"),
    "One row per task and judge: can the judge hear the attribute in real recordings?",
    (
        _s("task", "task"),
        _s("judge", "judge"),
        _s("attribute", "what the judge is made to hear"),
        _b("trivial", "hears level or spectrum only"),
        _n("n_items", "items judged"),
        _n("n_failed", "items without a judgement"),
        _f("share", "share of items whose prompt is nearer to the right continuation"),
        _f("low", "cluster bootstrap"),
        _f("high", "cluster bootstrap"),
        _f("wilson_low", "Wilson"),
        _f("wilson_high", "Wilson"),
        _f("against", "what the interval is held against: human topline or threshold"),
        _s("against_source", "where that comes from"),
        _s("verdict", "qualifies, cannot tell, fails, or no data"),
        _b("chosen", "the judge that scores models on this task"),
        _s("note", "why there is no interval, or what the choice means; null where nothing"),
    ),
)

MODEL_JUDGING = TableSchema(
    "report_model_judging",
    1,
    ("task", "judge", "source", "name"),
    "One row per task, judge and source: how often what was heard is nearer to the right continuation.",
    (
        _s("task", "task"),
        _s("judge", "judge"),
        _s("source", "model, other_item (floor), copy, prompt_round_trip and positive_round_trip (ceilings) ..."),
        _s("name", "model, or tokenizer-vocoder for the ceilings"),
        _n("n_items", "items of the task"),
        _n("n_scored", "items with a judgement (all samples of an item averaged first)"),
        _n("n_failed", "items without"),
        _n("n_ties", "ties"),
        _n("n_unusable", "continuations that are empty, silent or too short: counted as wrong"),
        _f("share", "share nearer to the right continuation; null for naturalness judges"),
        _f("low", "cluster bootstrap"),
        _f("high", "cluster bootstrap"),
        _f("mean_margin", "mean of cos_positive - cos_negative"),
        _f("mean_score", "mean of a naturalness judge, on its own scale; null else"),
        _f("score_low", "cluster bootstrap"),
        _f("score_high", "cluster bootstrap"),
        _s("note", "why there is no interval; null where there is one"),
    ),
)

FAILURES = TableSchema(
    "report_failures",
    1,
    ("stage", "name", "task", "kind", "reason"),
    "Rows that failed, or continuations that cannot be used, grouped by reason.",
    (
        _s("stage", "pairs, evaluators, controls, continuations, qualification, judging, round_trips"),
        _s("name", "model, judge or tokenizer"),
        _s("task", "task; '-' where the row belongs to none"),
        _s("kind", "failed, or the status of a continuation: empty, silent, clipped, too_short"),
        _s("reason", "the recorded reason, lengths of clips and ids apart"),
        Column("n_rows", pa.int64(), "rows"),
        Column("n_items", pa.int64(), "distinct items (prompts, for continuations)"),
        _s("example", "one item"),
    ),
)

TIMINGS = TableSchema(
    "report_timings",
    1,
    ("stage", "name"),
    "What each job cost.",
    (
        _s("stage", "stage"),
        _s("name", "model, tokenizer, judge ..."),
        _f("seconds", "wall seconds"),
        _f("max_rss_mb", "largest resident memory, MB"),
        _f("cpu_s", "processor seconds"),
    ),
)

PROFILE = TableSchema(
    "report_profile",
    1,
    ("task", "model", "time_s"),
    "Mean NLL of the wrong clip minus that of the right one, by time from the transition.",
    (
        _s("task", "task"),
        _s("model", "model"),
        _s("tokenizer", "its tokenizer"),
        _f("time_s", "middle of the bin, seconds from the transition"),
        _n("n_items", "items with tokens of both members in the bin"),
        _f("difference", "nats per token, mean over items"),
        _f("low", "cluster bootstrap"),
        _f("high", "cluster bootstrap"),
    ),
)

ITEMS_LONG = TableSchema(
    "items_long",
    1,
    ("model", "task", "item_id", *CELL, "sample_index"),
    "Every score of every item: likelihood evaluators, controls and judges, in one long table.",
    (
        _s("model", "model, or where a baseline comes from"),
        _s("task", "task"),
        _s("item_id", "item"),
        _s("cluster", "items of one cluster are resampled together"),
        *_CELL_COLUMNS,
        Column("sample_index", pa.int16(), "sample of the continuation; 0 where nothing was sampled"),
        _f("score_positive", "NLL of the right clip (lower is better); cosine to it for 'judge:' rows"),
        _f("score_negative", "the same of the wrong clip"),
        _n("n_scored_positive", "tokens counted in the right clip; null for judges"),
        _n("n_scored_negative", "tokens counted in the wrong clip; null for judges"),
        _f("seconds_positive", "real seconds that those tokens span; null for judges"),
        _f("seconds_negative", "real seconds that those tokens span; null for judges"),
        _f("verdict", "1 right, 0.5 tie, 0 wrong; null where the item failed"),
        _f("margin", "how clearly the right clip won: > 0 is right, in the units of the scores"),
        _s("status", "ok or failed"),
        _s("reason", "why it failed"),
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
        MODEL_JUDGING,
        CONTENT,
        FAILURES,
        TIMINGS,
        PROFILE,
        ITEMS_LONG,
    )
}
