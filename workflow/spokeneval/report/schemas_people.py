"""The schemas of the tables that hold people's scores against evaluators; the rest are in `report.schemas`.

Conventions: MOS are points of the study's scale; shares and coefficients as they are; both sides of a coefficient are
turned so that higher is better, and its sign is kept. `simulated` is true in every row of a study whose listeners are a
model; `audio` 'external' where what was heard is not this project's. Each column of a coefficient names its estimand.
"""

from __future__ import annotations

import pyarrow as pa

from spokeneval.ratings.schemas import AGREEMENT, MOS, SCREENING
from spokeneval.table_schema import Column, TableSchema, real, text, truth, whole

EVALUATOR = ("evaluator", "window_s", "unconditional", "codebooks", "convention", "value")
"""The columns that name one evaluator with all its settings, and what of it is averaged."""
QUESTION = ("test_id", "dimension")

_QUESTION = (
    text("test_id", "name of the listening test"),
    text("dimension", "what was asked: naturalness, same speaker ..."),
    truth("simulated", "true where no person voted: the listeners are a model"),
    text("audio", "'own': audio of this project; 'external': what was heard is not here"),
)
_EVALUATOR = (
    text("kind", "'likelihood', 'control' (placebo), 'judge' or 'naturalness'"),
    text("evaluator", "see the table of evaluators; 'judge:<name>'; 'judge': the judge that ranks each task"),
    real("window_s", "seconds; null where the evaluator has no window"),
    text("unconditional", "'retokenise' or 'keep'; null where there is no such term"),
    text("codebooks", "'all', or the one codebook that was counted"),
    text("convention", "name of the reduction convention"),
)
_VALUE = text(
    "value",
    "what is averaged: 'accuracy' (likelihood), 'share' (judge: nearer to the right one), 'margin' (judge: difference "
    "of cosines), 'score' (naturalness judge), 'margin_rank' (level 'item': margin and MOS as ranks within the model)",
)

PEOPLE_MOS = TableSchema(
    "report_people_mos",
    1,
    MOS.key,
    "One row per study, dimension and system, and one per system and task: mean opinion scores (MOS).",
    (
        *MOS.columns,
        truth("correlated", "a system under test that is a model of this report and has votes that count"),
    ),
)

PEOPLE_LISTENERS = TableSchema(
    "report_people_listeners",
    1,
    AGREEMENT.key,
    "One row per study and dimension: do listeners agree, and what can a correlation with their means reach?",
    AGREEMENT.columns,
)

PEOPLE_SCREENING = TableSchema(
    "report_people_screening",
    1,
    SCREENING.key,
    "One row per study and screening rule: votes that count for nothing, and why.",
    SCREENING.columns,
)

_NEW = (
    "levels 'system' and 'task': interval for new systems like these (Fisher), no item or listener noise, 5 systems; "
    "level 'item': cluster bootstrap over items, these systems"
)
_NEW_ONLY = "interval for new systems like these (Fisher); levels 'system' and 'task', 5 systems"

PEOPLE = TableSchema(
    "report_people",
    1,
    (*QUESTION, *EVALUATOR, "level", "task"),
    "One row per study, dimension, evaluator and level: does the automatic number order the systems as people do?",
    (
        *_QUESTION,
        *_EVALUATOR,
        _VALUE,
        text(
            "level",
            "'system': means over all tasks; 'task': one task; 'system_task_pooled': all cells in one coefficient, "
            "which mixes the difficulty of tasks in; 'system_task_within': the mean over tasks of 'task'; 'item': "
            "within a prompt across systems, mean over prompts",
        ),
        text("task", "the task at level 'task'; 'all' else"),
        truth("primary", "in the primary family, fixed beforehand"),
        truth("higher_is_better", "as the evaluator counts; false: its values were turned round first"),
        whole("n_systems", "systems; of 'system_task_within' the fewest of a task, of 'item' the most of a prompt"),
        whole("n_tasks", "tasks"),
        text("tasks", "which; separated by ', '"),
        whole("n_items", "items of the evaluator's means; of level 'item' prompts that have a coefficient"),
        whole("n_rated_items", "items with a vote; of level 'item' prompts with votes on two systems or more"),
        Column("n_votes", pa.int64(), "votes"),
        *(
            column
            for name, what in (
                ("pearson", "Pearson's r of observed means, over these systems"),
                ("spearman", "Spearman's rho of observed means, over these systems"),
                ("kendall", "Kendall's tau-b of observed means, over these systems"),
            )
            for column in (real(name, what), real(f"{name}_low", _NEW), real(f"{name}_high", _NEW))
        ),
        real(
            "pairwise_accuracy",
            "share of pairs of systems ordered alike, tied in both counts as alike, in one not; 'item': acc23",
        ),
        whole("n_pairs", "pairs of systems (of 'system_task_within' and 'item' summed)"),
        whole("n_tied_pairs", "of them tied on a side or both"),
        real("soft_pairwise_accuracy", "1 - |p - p'| over pairs of systems, p by their items; primary family only"),
        real("corrected", "r of expected evaluator with expected MOS, these systems: noise taken off; may exceed 1"),
        real("disattenuated", "r / sqrt(product of the reliabilities): the same estimand, shared items not looked at"),
        real("these_low", "items-and-listeners interval of `corrected`: these systems, new items and listeners"),
        real("these_high", "upper bound; null below a reliability of .8 of a side, where no coverage is known"),
        real("reliability_evaluator", "share of the variance of its system means that is not noise of items"),
        real("reliability_mos", "the same of the MOS, noise of items and listeners"),
        whole("n_draws", "draws of the items-and-listeners interval; fewer outside the primary family"),
        real("split_half", "r of these MOS with those of as many other listeners (Spearman-Brown): a ceiling"),
        real("max_r", "sqrt(split_half): what knows exactly what all listeners say would reach; the ceiling of r"),
        real("pearson_rated", "r with the evaluator's means over rated items only (of judges: rated samples)"),
        real("pearson_other_samples", "judges: r with their means over samples of rated items that nobody rated"),
        real("pearson_within_codec", "r with systems centred by tokenizer and vocoder: within, not between them"),
        real("within_codec_low", _NEW_ONLY),
        real("within_codec_high", _NEW_ONLY),
        real("pearson_within_family", "r with systems centred by family"),
        real("within_family_low", _NEW_ONLY),
        real("within_family_high", _NEW_ONLY),
        real("pearson_task_centred", "'system_task_pooled' with the mean of each task removed on both sides"),
        real("pearson_given_ceiling", "partial r, given the judge's attribute ceiling through each system's codec"),
        real("given_ceiling_low", _NEW_ONLY),
        real("given_ceiling_high", _NEW_ONLY),
        real("p_max", "levels 'system' and 'system_task_within': p of r against the best of all evaluators tried"),
        real("r_by_chance", "what the best of them exceeds in 5 % of permutations of the systems"),
        whole("n_tried", "evaluators that were tried on the same systems and tasks"),
        text("note", "why something is missing, or what was left out; null where nothing"),
    ),
)

EVALUATOR_DIFFERENCES = TableSchema(
    "report_people_differences",
    1,
    (*QUESTION, "level", "a", "b"),
    "One row per study, dimension, level and pair of primary evaluators: which agrees better with people?",
    (
        *_QUESTION,
        text("level", "'system_task_within' (the primary one) or 'system'"),
        text("a", "first evaluator, with its settings"),
        text("b", "second evaluator"),
        truth("primary", "in the family that was fixed beforehand: Pearson at 'system_task_within'"),
        whole("n_systems", "systems that both have a value for"),
        whole("n_tasks", "tasks that both have"),
        real("pearson_a", "of a, over these systems and tasks"),
        real("pearson_b", "of b"),
        real("difference", "pearson_a - pearson_b"),
        real("p", "PERM-BOTH: whole systems exchanged between a and b, two-sided"),
        real("p_holm", "after Holm over the pairs of this study, dimension and level"),
        real("p_williams", "Williams' test, two-sided; level 'system' only, not adjusted"),
        real("power", "level 'system': chance that Williams' test, at 5 % and the effect seen, finds it"),
        whole("n_systems_needed", "systems like these for a chance of .8; null where no number in reach would do"),
        real("times_items", "how many times the items for that, with these systems; null likewise"),
        real("times_votes", "how many times the votes for that; null likewise"),
        text("power_in_words", "the same as a sentence"),
        text("verdict", "'a agrees better', 'b agrees better', 'cannot tell' (p_holm not below .05)"),
        text("method", "exact or how many draws"),
        text("note", "why there is no test, or what was left out; null where nothing"),
    ),
)

PEOPLE_POINTS = TableSchema(
    "report_people_points",
    1,
    (*QUESTION, "level", "task", *EVALUATOR, "system_id"),
    "The points of the scatter: one row per question, primary evaluator and system, over all tasks and in each.",
    (
        *_QUESTION,
        text("level", "'system' or 'task'"),
        text("task", "the task; 'all' at level 'system'"),
        *_EVALUATOR,
        _VALUE,
        text("system_id", "the system"),
        real("x", "the evaluator's mean over items"),
        real("x_low", "95 % normal interval over clusters of items; null where there is none"),
        real("x_high", "upper bound"),
        real("mos", "mean over votes"),
        real("mos_low", "95 % interval over new items and listeners; null where there is none"),
        real("mos_high", "upper bound"),
        whole("n_items", "items of x"),
        Column("n_votes", pa.int64(), "votes"),
    ),
)

EVALUATOR_CHOICE = TableSchema(
    "report_people_choice",
    1,
    (*QUESTION, "among", "left_out", "method"),
    "One row per study, dimension, set of evaluators and method: agreement on systems that it was not chosen on.",
    (
        *_QUESTION,
        text("among", "'primary family', or 'all windows': likelihood evaluators of the primary convention"),
        text("left_out", "'system': pairs of systems; 'family', 'codec': with all systems of theirs"),
        text("method", "'best': the evaluator of the highest r; 'ridge', 'non_negative': a weighted sum of all"),
        whole("n_evaluators", "evaluators of the set"),
        whole("n_systems", "systems"),
        whole("n_tasks", "tasks"),
        whole("n_pairs", "pairs of systems that were left out in turn"),
        whole("n_pairs_without", "pairs that leave fewer than three systems to choose on: not judged"),
        whole("n_pairs_not_drawn", "pairs beyond the most that are tried: a seeded sample is"),
        real("accuracy", "share of left-out pairs ordered as people order them, within task; .5 is chance"),
        real("difference", "accuracy minus that of 'best'; null for it"),
        real("p", "of the difference, jackknife over systems, two-sided; null for 'best', or where there is none"),
        text("verdict", "p below .01 (the test is a little liberal): differs from choosing the best; null for 'best'"),
        text("weights", "JSON object: evaluator -> share of the choices ('best'), or mean weight per sd"),
        text("note", "why there is nothing, or what was left out; null where nothing"),
    ),
)

JUDGE_PEOPLE = TableSchema(
    "report_people_judges",
    1,
    (*QUESTION, "judge", "task", "quintile"),
    "One row per study, dimension, judge and task, and one per fifth of |margin|: do judge and people say the same?",
    (
        *_QUESTION,
        text("judge", "judge"),
        text("task", "task; 'all': every task that the judge heard"),
        whole("quintile", "fifth of the rows by |margin| within the task, 5 the clearest; 0: all rows"),
        real("margin_low", "smallest |margin| of the rows"),
        real("margin_high", "largest"),
        whole("n_rows", "systems x items x samples with a margin and votes"),
        whole("n_unusable", "rated rows without a margin (silent, empty, too short, failed); in no other number"),
        whole("n_right_above", "judge: nearer to the right one; people: above the middle of the scale"),
        whole("n_right_below", "judge: right; people: below"),
        whole("n_wrong_above", "judge: nearer to the wrong one; people: above"),
        whole("n_wrong_below", "judge: wrong; people: below"),
        whole("n_undecided", "margin exactly 0 or score at the middle of the scale: in no share"),
        real("share", "(right_above + wrong_below) / decided: same sign"),
        real("low", "cluster bootstrap over items; quintile 0 only"),
        real("high", "upper bound"),
        real("share_if_independent", "share expected of a judge with these totals that knows nothing of the scores"),
        text("note", "why there is no share or interval; null where nothing"),
    ),
)

DISAGREEMENTS = TableSchema(
    "report_people_disagreements",
    1,
    (*QUESTION, "judge", "rank"),
    "The rows on which judge and people contradict each other most: opposite signs, by the product of both distances.",
    (
        *_QUESTION,
        text("judge", "judge"),
        whole("rank", "1: the greatest disagreement"),
        text("task", "task"),
        text("item_id", "item"),
        text("system_id", "system"),
        whole("sample_index", "sample"),
        real("margin", "the judge's: > 0 is nearer to the right one"),
        real("mos", "mean of the votes"),
        Column("n_votes", pa.int64(), "votes"),
        real(
            "disagreement",
            "|margin| as share of the task's largest x distance from the middle as share of half a scale",
        ),
    ),
)

ITEMS_MOS = TableSchema(
    "items_mos",
    1,
    (*QUESTION, "system_id", "task", "item_id", "sample_index"),
    "One row per study, dimension and audio: what people gave it. Anchors and human recordings too, marked by role.",
    (
        *_QUESTION,
        text("system_id", "system, anchor or human recording"),
        text("role", "'system', 'anchor' or 'human'"),
        text("task", "task"),
        text("item_id", "item"),
        Column("sample_index", pa.int16(), "sample"),
        real("mos", "mean over the votes that count; null where none does"),
        Column("n_votes", pa.int64(), "votes that count"),
        Column("n_excluded", pa.int64(), "votes that screening took out, stale ones too"),
    ),
)

PEOPLE_SCHEMAS = {
    schema.name: schema
    for schema in (
        PEOPLE_MOS,
        PEOPLE_LISTENERS,
        PEOPLE_SCREENING,
        PEOPLE,
        EVALUATOR_DIFFERENCES,
        EVALUATOR_CHOICE,
        PEOPLE_POINTS,
        JUDGE_PEOPLE,
        DISAGREEMENTS,
        ITEMS_MOS,
    )
}
