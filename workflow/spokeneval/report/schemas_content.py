"""The schema of the table of word error rates."""

from __future__ import annotations

import pyarrow as pa

from spokeneval.table_schema import Column, TableSchema

CONTENT = TableSchema(
    "report_content",
    1,
    ("task", "judge", "source", "name"),
    "One row per task, transcriber, codec and source: the words that the codec changed.",
    (
        Column("task", pa.string(), "task"),
        Column("judge", pa.string(), "the transcriber"),
        Column("source", pa.string(), "prompt_round_trip or positive_round_trip"),
        Column("name", pa.string(), "tokenizer-vocoder"),
        Column("n_items", pa.int32(), "items that it listened to"),
        Column("n_scored", pa.int32(), "items with both transcripts"),
        Column("n_failed", pa.int32(), "items without"),
        Column("n_clusters", pa.int32(), "clusters that the interval resamples"),
        Column("n_words", pa.int64(), "words in the transcripts of the recordings"),
        Column("n_errors", pa.int64(), "words substituted, deleted or inserted by the codec"),
        Column("wer", pa.float64(), "n_errors / n_words; null where there are no words"),
        Column("low", pa.float64(), "cluster bootstrap of the ratio"),
        Column("high", pa.float64(), "cluster bootstrap of the ratio"),
        Column("note", pa.string(), "why there is no rate or interval; null where nothing"),
    ),
)
