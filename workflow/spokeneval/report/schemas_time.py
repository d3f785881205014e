"""The schemas of what happens around the transition: the profile, and how soon the effect is there."""

from __future__ import annotations

from spokeneval.table_schema import TableSchema, real, text, whole

PROFILE = TableSchema(
    "report_profile",
    1,
    ("task", "model", "time_s"),
    "Mean NLL of the wrong clip minus that of the right one, by time from the transition.",
    (
        text("task", "task"),
        text("model", "model"),
        text("tokenizer", "its tokenizer"),
        real("time_s", "middle of the bin, seconds from the transition"),
        whole("n_items", "items with tokens of both members in the bin"),
        real("difference", "nats per token, mean over items"),
        real("low", "cluster bootstrap"),
        real("high", "cluster bootstrap"),
    ),
)

LATENCY = TableSchema(
    "report_latency",
    1,
    ("task", "level", "name", "share"),
    "One row per task, model (or tokenizer) and share: when that share of the effect of the transition is there.",
    (
        text("task", "task"),
        text("level", "'model', or 'tokenizer': the mean profile of all models that read its codes"),
        text("name", "the model or tokenizer"),
        text("tokenizer", "the tokenizer"),
        whole("n_models", "models behind the row"),
        real("share", "share of the cumulative effect: 0.5 or 0.9"),
        real("latency_s", "seconds from the transition until it is first reached; null where there is no effect"),
        real("low", "cluster bootstrap; null where too many resamples show no effect"),
        real("high", "cluster bootstrap; null where too many resamples show no effect"),
        real("total", "effect summed over the profile, nats per token times seconds"),
        real("total_low", "cluster bootstrap"),
        real("total_high", "cluster bootstrap"),
        real("no_effect", "share of resamples whose total is not above zero: they have no latency"),
        whole("n_items", "items in the fullest bin"),
        whole("n_clusters", "clusters of items that are resampled"),
        real("from_s", "where the profile begins, seconds from the transition"),
        real("to_s", "where it ends; another end would give another latency"),
        text("note", "why there is no latency or interval; null where there are both"),
    ),
)
