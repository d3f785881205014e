"""The schemas of the tables of a listening test; `spokeneval.tables` writes and checks them.

Conventions: scores and everything in their unit are points of the declared scale, higher is better. `simulated` is
true in every row of a study whose listeners are drawn from a model, so that no table of them passes for people.
"""

from __future__ import annotations

import pyarrow as pa

from spokeneval.table_schema import Column, TableSchema, real, text

SYSTEM, ANCHOR, HUMAN = "system", "anchor", "human"
ROLES = (SYSTEM, ANCHOR, HUMAN)

VOTE = ("test_id", "dimension", "listener_id", "system_id", "task", "item_id", "sample_index")
"""What one vote is about; a listener votes once on it."""
HEARD = ("system_id", "task", "item_id", "sample_index")
"""What names one audio of a test."""


_TEST = (
    text("test_id", "name of the listening test"),
    text("dimension", "what was asked: naturalness, same speaker ..."),
)
_MARKS = (
    text("audio", "'own': audio of this project; 'external': what was heard is not here"),
    Column("simulated", pa.bool_(), "true where no person voted: the listeners are a model"),
)
_ORIGIN = (
    text("role", "'system'; 'anchor' (hidden reference, high or low) and 'human': shown, never correlated"),
    *_MARKS,
)

RATINGS = TableSchema(
    "ratings",
    2,
    VOTE,
    "One row a vote, excluded ones too.",
    (
        *_TEST,
        text("listener_id", "who voted; null where only means are known"),
        text("system_id", "what made the audio"),
        text("task", "task of the item"),
        text("item_id", "what systems share: the prompt or sentence"),
        Column("sample_index", pa.int16(), "sample of the system for this item"),
        text("blinded_name", "name under which it was heard; null where the test has none"),
        real("score", "the vote"),
        real("seconds", "how long the vote took; null where not known"),
        *_ORIGIN,
        text("excluded_reason", "the screening rule that takes it out of all means, or 'stale'; null where it counts"),
        Column("row", pa.int64(), "row of the source: of a CSV the header is 1, of a parquet file the first vote is 1"),
        text("file", "file that it stands in, relative to the folder of answers", optional=True),
        text("comment", "what the listener wrote beside it; null where nothing", optional=True),
    ),
)

MOS = TableSchema(
    "mos",
    1,
    ("test_id", "dimension", "level", "system_id", "task"),
    "One row per system, and one per system and task: mean opinion score over the votes that count.",
    (
        *_TEST,
        text("level", "'system': all tasks, each vote alike; 'system_task': one task"),
        text("system_id", "the system"),
        text("task", "the task; null at level 'system'"),
        *_ORIGIN,
        real("mos", "mean over votes; null where none counts"),
        real("low", "95 % interval for new items and new listeners; null where there is none"),
        real("high", "95 % interval for new items and new listeners; null where there is none"),
        real("standard_error", "of the mean, over items and listeners"),
        real("degrees_of_freedom", "that its variance is known with"),
        real("variance_items", "variance component of items; may be negative, then it counts 0"),
        real("variance_listeners", "variance component of listeners; may be negative, then it counts 0"),
        real("variance_residual", "what is left of a single vote's variance"),
        Column("n_votes", pa.int64(), "votes that count"),
        Column("n_items", pa.int64(), "items that they are on"),
        Column("n_listeners", pa.int64(), "listeners that gave them; null where they are not known"),
        Column("n_excluded", pa.int64(), "votes that screening took out"),
        real("scale_low", "lowest score of the scale"),
        real("scale_high", "highest score of the scale"),
        text("note", "why there is no mean or interval; null where nothing"),
    ),
)

AGREEMENT = TableSchema(
    "agreement",
    2,
    ("test_id", "dimension", "over"),
    "One row per dimension: do listeners agree, and what can a correlation with their means reach?",
    (
        *_TEST,
        text("over", "'systems': without anchors and humans, what a correlation is over; 'all': with them"),
        *_MARKS,
        Column("n_votes", pa.int64(), "votes that count"),
        Column("n_systems", pa.int64(), "systems"),
        Column("n_audio", pa.int64(), "different audio: system, task, item and sample"),
        Column("n_listeners", pa.int64(), "listeners; null where they are not known"),
        real("votes_per_audio", "harmonic mean"),
        real("alpha", "Krippendorff's alpha of single votes; null where not defined"),
        text("alpha_level", "'ordinal' on a scale of steps, 'interval' on one without"),
        real("icc_single", "intraclass correlation of a single vote (agreement, over audio)"),
        real("icc_mean", "the same of the mean of votes_per_audio votes"),
        real("reliability", "share of the variance of system means that is not noise of items and listeners"),
        real("r_halves", "Pearson's r of system MOS between random halves of the listeners, mean over splits"),
        real("split_half", "Spearman-Brown of r_halves: r with the MOS of as many other listeners"),
        real("max_r", "sqrt(split_half): what a metric would reach that knows what all possible listeners say"),
        Column("n_splits", pa.int64(), "random splits"),
        Column("n_splits_left_out", pa.int64(), "splits in which a system had no vote in one half"),
        text("note", "why a number is missing; null where none is"),
    ),
)

SCREENING = TableSchema(
    "screening",
    2,
    ("test_id", "rule"),
    "One row per screening rule, those that are off too.",
    (
        text("test_id", "name of the listening test"),
        text(
            "rule", "stale (audio that has been superseded), constant_answers, too_fast, anchors_failed, too_few_votes"
        ),
        *_MARKS,
        Column("on", pa.bool_(), "whether the study asks for it; stale: whether it is known what is there now"),
        text("settings", "JSON object of its settings; null where it is off"),
        Column("n_listeners", pa.int64(), "listeners that it finds, of any dimension; null where it is off"),
        Column("n_votes", pa.int64(), "votes that it finds; null where it is off"),
        Column("n_excluded", pa.int64(), "votes that carry it as reason: rules are asked in the order of this table"),
        Column("n_untested", pa.int64(), "listeners that it cannot judge (no anchor heard); null where it is off"),
    ),
)

RATINGS_SCHEMAS = {schema.name: schema for schema in (RATINGS, MOS, AGREEMENT, SCREENING)}
