"""The schemas of the tables of a listening test; `spokeneval.tables` writes and checks them.

Conventions: scores and everything in their unit are points of the declared scale, higher is better. `simulated` is
true in every row of a study whose listeners are drawn from a model, so that no table of them passes for people.
"""

from __future__ import annotations

import pyarrow as pa

from spokeneval.tables import Column, TableSchema

SYSTEM, ANCHOR, HUMAN = "system", "anchor", "human"
ROLES = (SYSTEM, ANCHOR, HUMAN)

VOTE = ("test_id", "dimension", "listener_id", "system_id", "task", "item_id", "sample_index")
"""What one vote is about; a listener votes once on it."""
HEARD = ("system_id", "task", "item_id", "sample_index")
"""What names one audio of a test."""


def _s(name: str, doc: str) -> Column:
    return Column(name, pa.string(), doc)


def _f(name: str, doc: str) -> Column:
    return Column(name, pa.float64(), doc)


def _n(name: str, doc: str) -> Column:
    return Column(name, pa.int64(), doc)


_TEST = (
    _s("test_id", "name of the listening test"),
    _s("dimension", "what was asked: naturalness, same speaker ..."),
)
_ORIGIN = (
    _s("role", "'system'; 'anchor' (hidden reference, high or low) and 'human': shown, never correlated"),
    _s("audio", "'own': audio of this project; 'external': what was heard is not here"),
    Column("simulated", pa.bool_(), "true where no person voted: the listeners are a model"),
)

RATINGS = TableSchema(
    "ratings",
    1,
    VOTE,
    "One row a vote, excluded ones too.",
    (
        *_TEST,
        _s("listener_id", "who voted"),
        _s("system_id", "what made the audio"),
        _s("task", "task of the item"),
        _s("item_id", "what systems share: the prompt or sentence"),
        Column("sample_index", pa.int16(), "sample of the system for this item"),
        _s("blinded_name", "name under which it was heard; null where the test has none"),
        _f("score", "the vote"),
        _f("seconds", "how long the vote took; null where not known"),
        *_ORIGIN,
        _s("excluded_reason", "the screening rule that takes it out of all means; null where it counts"),
        _n("row", "row of the source: of a CSV the header is 1, of a parquet file the first vote is 1"),
    ),
)

MOS = TableSchema(
    "mos",
    1,
    ("test_id", "dimension", "level", "system_id", "task"),
    "One row per system, and one per system and task: mean opinion score over the votes that count.",
    (
        *_TEST,
        _s("level", "'system': all tasks, each vote alike; 'system_task': one task"),
        _s("system_id", "the system"),
        _s("task", "the task; null at level 'system'"),
        *_ORIGIN,
        _f("mos", "mean over votes; null where none counts"),
        _f("low", "95 % interval for new items and new listeners; null where there is none"),
        _f("high", "95 % interval for new items and new listeners; null where there is none"),
        _f("standard_error", "of the mean, over items and listeners"),
        _f("degrees_of_freedom", "that its variance is known with"),
        _f("variance_items", "variance component of items; may be negative, then it counts 0"),
        _f("variance_listeners", "variance component of listeners; may be negative, then it counts 0"),
        _f("variance_residual", "what is left of a single vote's variance"),
        _n("n_votes", "votes that count"),
        _n("n_items", "items that they are on"),
        _n("n_listeners", "listeners that gave them"),
        _n("n_excluded", "votes that screening took out"),
        _f("scale_low", "lowest score of the scale"),
        _f("scale_high", "highest score of the scale"),
        _s("note", "why there is no mean or interval; null where nothing"),
    ),
)

AGREEMENT = TableSchema(
    "agreement",
    1,
    ("test_id", "dimension", "over"),
    "One row per dimension: do listeners agree, and what can a correlation with their means reach?",
    (
        *_TEST,
        _s("over", "'systems': without anchors and humans, what a correlation is over; 'all': with them"),
        Column("simulated", pa.bool_(), "true where no person voted: the listeners are a model"),
        _n("n_votes", "votes that count"),
        _n("n_systems", "systems"),
        _n("n_audio", "different audio: system, task, item and sample"),
        _n("n_listeners", "listeners"),
        _f("votes_per_audio", "harmonic mean"),
        _f("alpha", "Krippendorff's alpha of single votes; null where not defined"),
        _s("alpha_level", "'ordinal' on a scale of steps, 'interval' on one without"),
        _f("icc_single", "intraclass correlation of a single vote (agreement, over audio)"),
        _f("icc_mean", "the same of the mean of votes_per_audio votes"),
        _f("reliability", "share of the variance of system means that is not noise of items and listeners"),
        _f("r_halves", "Pearson's r of system MOS between random halves of the listeners, mean over splits"),
        _f("split_half", "Spearman-Brown of r_halves: r with the MOS of as many other listeners"),
        _f("max_r", "sqrt(split_half): what a metric would reach that knows what all possible listeners say"),
        _n("n_splits", "random splits"),
        _n("n_splits_left_out", "splits in which a system had no vote in one half"),
        _s("note", "why a number is missing; null where none is"),
    ),
)

SCREENING = TableSchema(
    "screening",
    1,
    ("test_id", "rule"),
    "One row per screening rule, those that are off too.",
    (
        _s("test_id", "name of the listening test"),
        _s("rule", "constant_answers, too_fast, anchors_failed, too_few_votes"),
        Column("simulated", pa.bool_(), "true where no person voted: the listeners are a model"),
        Column("on", pa.bool_(), "whether the study asks for it"),
        _s("settings", "JSON object of its settings; null where it is off"),
        _n("n_listeners", "listeners that it finds, of any dimension; null where it is off"),
        _n("n_votes", "votes that it finds; null where it is off"),
        _n("n_excluded", "votes that carry it as reason: rules are asked in the order of this table"),
        _n("n_untested", "listeners that it cannot judge (no anchor heard); null where it is off"),
    ),
)

RATINGS_SCHEMAS = {schema.name: schema for schema in (RATINGS, MOS, AGREEMENT, SCREENING)}
