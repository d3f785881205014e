"""The schemas of an exported listening test; `spokeneval.tables` writes and checks them."""

from __future__ import annotations

import pyarrow as pa

from spokeneval.table_schema import Column, TableSchema, real, text

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
