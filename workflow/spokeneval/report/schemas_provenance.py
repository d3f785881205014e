"""The schema of what was trained on the sources of a dataset."""

from __future__ import annotations

from spokeneval.table_schema import TableSchema, text

PROVENANCE = TableSchema(
    "report_provenance",
    1,
    ("role", "name", "source"),
    "One row per model, tokenizer, vocoder or judge and source of the items: was it trained on that source?",
    (
        text("role", "'model', 'tokenizer', 'vocoder' or 'judge'"),
        text("name", "its name in the configuration"),
        text("source", "corpus that items were made from; 'unknown' where none is known"),
        text("tasks", "tasks with items of that source, separated by ', '"),
        text("trained", "'yes', 'no' or 'unknown'"),
        text("why", "what is said of its training, and who says it"),
        text("licence", "of its weights; null where nothing is said"),
        text("identity", "first 12 digits of the identity of what it made; null where there is none"),
    ),
)
