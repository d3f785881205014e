"""The schemas of an exported listening test; `spokeneval.tables` writes and checks them."""

from __future__ import annotations

import pyarrow as pa

from spokeneval.table_schema import Column, TableSchema, real, text, whole

MANIFEST = TableSchema(
    "listening_test_manifest",
    1,
    ("test_id", "blinded_name"),
    "One row per audio of a listening test: what lies behind its blinded name.",
    (
        text("test_id", "name of the listening test"),
        text("blinded_name", "name of its file, without ending; says nothing of what it is"),
        text("system_id", "model, or the name of the anchor: true_continuation, mismatched_continuation"),
        text("task", "task of the item"),
        text("item_id", "the item"),
        Column("sample_index", pa.int16(), "sample of the system for this item; 0 where nothing was sampled"),
        text("role", "'system'; 'anchor' (hidden reference, high or low) and 'human': shown, never correlated"),
        text("heard_sha256", "clip_id of what is heard: sha256 of its PCM and rate, after loudness and prompt"),
        text("source_sha256", "clip_id of the stored audio that it was made from (pcm_sha256 of a continuation)"),
        real("gain_db", "what was added to the source so that all are equally loud"),
        real("loudness_lufs", "integrated loudness of what is heard, EBU R128"),
        real("seconds", "length of what is heard"),
    ),
)

ASSIGNMENT = TableSchema(
    "listening_test_assignment",
    1,
    ("test_id", "dimension", "slot", "position"),
    "One row per rater slot, question and sound: who hears what, in which order.",
    (
        text("test_id", "name of the listening test"),
        text("dimension", "the question"),
        whole("slot", "number that a rater is given, from 1"),
        whole("position", "place in the order of the slot, from 1"),
        text("blinded_name", "what is rated"),
        text("reference_name", "what is heard before it (the prompt); null where the question compares nothing"),
    ),
)

NOT_HEARD = TableSchema(
    "listening_test_not_heard",
    1,
    ("test_id", "system_id", "task", "item_id", "sample_index"),
    "One row per continuation of a chosen item that cannot be heard: it is in no part of the test.",
    (
        text("test_id", "name of the listening test"),
        text("system_id", "model or anchor"),
        text("task", "task of the item"),
        text("item_id", "the item"),
        Column("sample_index", pa.int16(), "sample of the system"),
        text("reason", "why: its status, or that it has no loudness"),
    ),
)
