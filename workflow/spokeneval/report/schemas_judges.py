"""The schemas of the tables about judges; the rest, and the conventions of all, are in `report.schemas`."""

from __future__ import annotations

from spokeneval.table_schema import TableSchema, real, text, truth, whole

_HELD_AGAINST = (
    whole("n_items", "items judged"),
    whole("n_failed", "items without a judgement"),
    real("share", "share of items that are nearer to the right continuation"),
    real("low", "the lower of cluster bootstrap and Wilson: the bound that decides"),
    real("high", "the higher of both"),
    real("wilson_low", "Wilson"),
    real("wilson_high", "Wilson"),
    real("against", "what the interval is held against: human topline or threshold"),
    text("against_source", "where that comes from"),
    text("verdict", "qualifies, cannot tell, fails, or no data"),
)

JUDGES = TableSchema(
    "report_judges",
    2,
    ("task", "judge"),
    "One row per task and judge: can the judge hear the attribute in real recordings?",
    (
        text("task", "task"),
        text("judge", "judge; 'a / b' where the halves of the items chose differently"),
        text("attribute", "what the judge is made to hear"),
        truth("trivial", "hears level or spectrum only"),
        *_HELD_AGAINST,
        whole("third_n", "items whose third clip of the same attribute was judged in the prompt's place"),
        real("third_share", "share of them nearer to the right continuation; beside the verdict, no part of it"),
        real("third_low", "the lower of cluster bootstrap and Wilson"),
        real("third_high", "the higher of both"),
        truth("chosen", "the judge of this task: what it heard is shown first"),
        truth("ranks", "chosen, and qualifies: models are ranked by it"),
        text("way", "how the choice was made: 'cross_fitted' or 'paper'"),
        text("note", "how the choice came about, or why there is no interval; null where nothing"),
    ),
)

JUDGES_BY_CODEC = TableSchema(
    "report_judges_by_codec",
    1,
    ("task", "judge", "codec"),
    "One row per task, judge and codec: does the judge still hear the attribute in the prompt's round trip?",
    (
        text("task", "task"),
        text("judge", "judge"),
        text("codec", "tokenizer-vocoder"),
        truth("trivial", "hears level or spectrum only"),
        *_HELD_AGAINST,
        truth("chosen", "the judge of this task"),
        truth("ranks", "it ranks the models of this codec: qualifies on real audio and does not fail here"),
        text("note", "why there is no interval; null where there is one"),
    ),
)

MODEL_JUDGING = TableSchema(
    "report_model_judging",
    2,
    ("task", "judge", "source", "name"),
    "One row per task, judge and source: how often what was heard is nearer to the right continuation.",
    (
        text("task", "task"),
        text("judge", "judge"),
        text(
            "source",
            "model, other_item (floor), copy and noise_matched (baselines), prompt_round_trip, "
            "same_attribute_round_trip and positive_round_trip (ceilings); prompt for naturalness judges",
        ),
        text("name", "model, tokenizer-vocoder for the ceilings, 'no model' for the baselines"),
        whole("n_items", "items that the judge was asked about here"),
        whole("n_scored", "items with a judgement (all samples of an item averaged first)"),
        whole("n_failed", "items without"),
        whole("n_ties", "ties"),
        whole("n_unusable", "continuations that are empty, silent or too short: counted as wrong"),
        real("share", "share nearer to the right continuation; null for naturalness judges"),
        real("low", "cluster bootstrap"),
        real("high", "cluster bootstrap"),
        real("mean_margin", "mean of cos_positive - cos_negative"),
        real("mean_score", "mean of a naturalness judge, on its own scale; null else"),
        real("score_low", "cluster bootstrap"),
        real("score_high", "cluster bootstrap"),
        whole("n_samples", "samples an item has"),
        real(
            "sample_low", "lowest share (of a naturalness judge: mean score) of one sample index; null for one sample"
        ),
        real("sample_high", "highest; null for one sample"),
        real("sample_sd", "standard deviation over the sample indices, n - 1 below; null for one sample"),
        whole("n_continuations", "continuations judged, all samples"),
        whole("n_loops", "of them flagged as looping; null where none was looked at"),
        whole("n_repeats_prompt", "of them flagged as repeating the prompt verbatim; null where none was looked at"),
        whole("n_flagged", "of them with any flag; null where none was looked at"),
        whole("n_unflagged_items", "items with a judgement of a continuation without flag"),
        real("share_unflagged", "share of the continuations without flag alone; null where none was looked at"),
        real("unflagged_low", "cluster bootstrap"),
        real("unflagged_high", "cluster bootstrap"),
        truth("ranked", "models: the judge ranks it on this task; null in other rows and for naturalness judges"),
        text("ranking_note", "why it is not ranked, or what is not certain about it; null where nothing"),
        text("letters", "ranked models that share a letter cannot be told apart; the task's judge only, else null"),
        text("ceiling_source", "models: the attribute ceiling that places it; null where there is none"),
        real("ceiling", "its share"),
        text("note", "why there is no interval, or what the baseline was made of; null where nothing"),
    ),
)

MODEL_JUDGING_SAMPLES = TableSchema(
    "report_model_judging_samples",
    1,
    ("task", "judge", "source", "name", "sample_index"),
    "One row per sample index of what a model says: its share over items alone, so that the spread over samples shows.",
    (
        text("task", "task"),
        text("judge", "judge"),
        text("source", "model or other_item (floor)"),
        text("name", "model"),
        whole("sample_index", "0 .. samples_per_item - 1"),
        whole("n_scored", "items with a judgement of this sample"),
        real("share", "share nearer to the right continuation; null for naturalness judges"),
        real("mean_score", "mean of a naturalness judge, on its own scale; null else"),
    ),
)
