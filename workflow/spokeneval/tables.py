"""The schema of every parquet table, in one place; atomic writes and checked reads.

A table carries in its metadata the name and version of its schema, the identity of the stage that made it, and
what a stage adds (`extra`, JSON). Reading checks all of that: an artefact of another schema or identity is refused,
never mixed in. No table holds an absolute path or a time, so that equal work gives equal bytes.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spokeneval.errors import ArtefactError
from spokeneval.table_schema import AUDIO, Column, TableSchema, text

OK = "ok"
FAILED = "failed"

AUDIO_ROWS = 256
"""Rows of a row group where rows hold audio: what is in memory at once when such a table is written or read."""


def _status(what: str) -> tuple[Column, Column]:
    return (
        text("status", f"'ok', or 'failed' where the {what} cannot be had, now or later"),
        text("reason", "why it failed; null where it did not"),
    )


def _flags(null: str) -> Column:
    doc = f"'loops', 'repeats_prompt': what a score may come from without skill; empty for neither, {null}"
    return Column("flags", pa.list_(pa.string()), doc, optional=True)


def _ints(name: str, doc: str, width: pa.DataType | None = None) -> Column:
    return Column(name, pa.list_(width or pa.int32()), doc)


CLIPS = TableSchema(
    "clips",
    1,
    ("clip_id",),
    "One row a clip: a stretch of audio at its native rate. Full clips, prompts and continuations alike.",
    (
        text("clip_id", "sha256 of the PCM samples and the rate"),
        Column("sample_rate", pa.int32(), "Hz"),
        Column("n_samples", pa.int64(), "length in samples at sample_rate"),
        Column("audio", AUDIO, "FLAC bytes (16 bit where the source is PCM16, else 24 bit), and a relative name"),
        text("subtype", "'PCM_16' or 'PCM_24': what the FLAC holds"),
        Column(
            "gain",
            pa.float32(),
            "factor applied to the source so that it fits the PCM range; 1.0 where none was",
        ),
        text("note", "what was converted on the way (channels, rate, subtype); empty where nothing was"),
    ),
)

PAIRS = TableSchema(
    "pairs",
    2,
    ("task", "index"),
    "One row an item: a positive and a negative clip that share a prompt, and the clips cut out of them.",
    (
        text("item_id", "unique in the dataset"),
        text("task", "e.g. speaker, background, room, splice_control"),
        Column("index", pa.int32(), "position of the item in its task; a limited run keeps the first ones"),
        text(
            "cluster",
            "items of one cluster share a speaker, sentence, noise or room: intervals resample clusters",
        ),
        text("fold", "'a' or 'b': halves split by source recording, for cross-fitting"),
        Column(
            "transition",
            pa.int64(),
            "first sample after the prompt, at sample_rate; null where there is no prompt",
        ),
        Column("sample_rate", pa.int32(), "Hz of all clips of the item"),
        text("prompt", "clip_id of the samples before the transition; null where there is no prompt"),
        text("positive", "clip_id of the whole right clip"),
        text("negative", "clip_id of the whole wrong clip"),
        text("continuation_positive", "clip_id of the right clip from the transition on"),
        text("continuation_negative", "clip_id of the wrong clip from the transition on"),
        text(
            "same_attribute", "clip_id of a third clip with the right one's attribute; null: none known", optional=True
        ),
        text(
            "noise_only",
            "clip_id of the right continuation's background without speech; null: not known",
            optional=True,
        ),
        text("labels", "JSON object: attribute labels of the item (speaker, noise class, SNR band, room ...)"),
        text(
            "sources",
            "JSON object: the recordings, noises and rooms the item was made of, with gains and SNR",
        ),
        Column("seed", pa.int64(), "seed of the item's own random generator; null where nothing was drawn"),
        *_status("item"),
    ),
)

TOKENS = TableSchema(
    "tokens",
    2,
    ("clip_id",),
    "One row a clip: its codes under one tokenizer. The metadata's `tokenizer` is the TokenizerInfo.",
    (
        text("clip_id", "the clip that was encoded, as its own file"),
        Column("n_frames", pa.int32(), "frames before de-duplication"),
        _ints("codes", "codes, frame-major: step t, codebook q at t * n_codebooks + q", pa.int32()),
        _ints("durations", "frames of each step; null where every step is one frame", pa.int32()),
        _ints("codebooks", "codebook of each event; null where every step holds all codebooks", pa.int8()),
        _ints("starts", "first frame of each event; null where steps follow one another", pa.int32()),
        *_status("clip"),
    ),
)

KIND_UNIT, KIND_EOS, KIND_MARK = 0, 1, 2
"""Values of `kind`: a unit or code (has a time span), an end mark, another mark such as <audio> (no time span)."""

LIKELIHOOD = TableSchema(
    "likelihood",
    1,
    ("clip_id", "context", "cut_frame"),
    "One row per clip and context: log-probability (nats) of every scored position, with where it lies.",
    (
        text("clip_id", "the clip that was scored"),
        text(
            "context",
            "'full': the clip from its beginning (a continuation's own clip gives the re-tokenised term); "
            "'kept': tokens of the clip from cut_frame on, earlier ones dropped from the context",
        ),
        Column("cut_frame", pa.int32(), "first frame that is kept; -1 for context 'full'"),
        Column(
            "logprob",
            pa.list_(pa.float32()),
            "log p(target | what was fed before it), softmax over the whole vocabulary",
        ),
        Column(
            "logprob_legal",
            pa.list_(pa.float32()),
            "the same, softmax over the legal ids of the position only",
        ),
        _ints("target", "id that was scored, in the model's own vocabulary"),
        _ints("kind", "0 unit, 1 end mark, 2 other mark; only units have a time span", pa.int8()),
        _ints("stream", "index into the metadata's `streams`", pa.int8()),
        _ints("codebook", "codebook of the unit; -1 for marks", pa.int8()),
        _ints("frame", "first frame of the unit, counted in the whole clip; -1 for marks"),
        _ints("n_frames", "frames that the unit lasts; 0 for marks"),
        _ints("step", "model step that predicted it"),
        *_status("clip"),
    ),
)

EVALUATORS = TableSchema(
    "evaluators",
    1,
    ("task", "item_id", "evaluator", "window_s", "unconditional", "codebooks", "convention"),
    "One row per item, evaluator, window and reduction convention: a view of the likelihood table.",
    (
        text("task", "task of the item"),
        text("item_id", "the item"),
        text(
            "evaluator",
            "global, continuation, unconditional, localized, global_norm, localized_norm, windowed, ...",
        ),
        Column("window_s", pa.float64(), "length of the window in seconds; null where the evaluator has none"),
        text(
            "unconditional",
            "'retokenise' or 'keep': how the unconditional term was had; null where there is none",
        ),
        text("codebooks", "'all', or the one codebook that was counted"),
        text("convention", "name of the reduction convention; its settings are in the metadata's `conventions`"),
        Column("score_positive", pa.float64(), "score of the right clip, lower is better"),
        Column("score_negative", pa.float64(), "score of the wrong clip, lower is better"),
        Column("n_scored_positive", pa.int32(), "tokens counted in the right clip"),
        Column("n_scored_negative", pa.int32(), "tokens counted in the wrong clip"),
        Column("seconds_positive", pa.float64(), "real seconds that those tokens span"),
        Column("seconds_negative", pa.float64(), "real seconds that those tokens span"),
        Column("verdict", pa.float64(), "1 right, 0.5 tie, 0 wrong; null where the item failed"),
        *_status("score"),
    ),
)

CONTINUATIONS = TableSchema(
    "continuations",
    2,
    ("clip_id", "sample_index"),
    "One row per prompt clip and sample: what the model says next, prompt excluded.",
    (
        text("clip_id", "the prompt clip"),
        Column("sample_index", pa.int16(), "0 .. samples_per_item - 1"),
        Column("seed", pa.int64(), "seed of the decoding settings"),
        Column("audio", AUDIO, "FLAC of the continuation alone; null where there is none"),
        Column("sample_rate", pa.int32(), "Hz"),
        Column("n_samples", pa.int64(), "length in samples"),
        Column("seconds", pa.float64(), "length in seconds", optional=True),
        text("pcm_sha256", "clip_id of the continuation: sha256 of its PCM and rate"),
        _ints("prompt_codes", "codes the model was given, frame-major"),
        _ints("codes", "new codes, frame-major"),
        _ints("durations", "frames of each new step; null where every step is one frame"),
        text("status", "ok, empty, silent, clipped, too_short, failed"),
        text("reason", "why it is not ok; null where it is"),
        _flags("null where nothing can be heard"),
    ),
)

ROUND_TRIPS = TableSchema(
    "round_trips",
    1,
    ("clip_id",),
    "One row a clip: its codes made audible by one vocoder, decoded once for all judges.",
    (
        text("clip_id", "the clip whose codes were decoded"),
        Column("audio", AUDIO, "FLAC (24 bit) of the round trip; null where there is no sound"),
        Column("sample_rate", pa.int32(), "Hz"),
        Column("n_samples", pa.int64(), "length in samples"),
        text("pcm_sha256", "clip_id of the round trip: sha256 of its PCM and rate"),
        text("status", "ok, empty, silent, clipped, too_short, failed: as of a continuation"),
        text("reason", "why it is not ok; null where it is"),
    ),
)

EMBEDDINGS = TableSchema(
    "embeddings",
    2,
    ("audio_id",),
    "One row per audio (reference, round trip, continuation): its embedding by one judge, with the judge's own crop.",
    (
        text("audio_id", "clip_id of the audio, or of the clip whose round trip this is"),
        Column("embedding", pa.list_(pa.float32()), "as the judge gives it; cosines are taken in float32"),
        Column("score", pa.float32(), "for judges that give a number and no embedding (naturalness); else null"),
        text("text", "what a transcriber understood; null for other judges", optional=True),
        Column("seconds", pa.float32(), "seconds of audio that entered, after the crop"),
        text("audio_status", "empty, silent, too_short: a round trip that cannot be judged; else null", optional=True),
        *_status("audio"),
    ),
)

JUDGING = TableSchema(
    "judging",
    2,
    ("task", "item_id", "source", "sample_index"),
    "One row per item, source and sample: is what was heard nearer to the right or to the wrong continuation?",
    (
        text("task", "task of the item"),
        text("item_id", "the item"),
        text(
            "source",
            "'model': a model's continuation; 'prompt': the prompt itself (qualifies the judge); "
            "'positive' and 'negative': the right and the wrong continuation as recorded (transcripts only); "
            "'prompt_round_trip' and 'positive_round_trip': through the codec (the two ceilings); "
            "'other_item': a continuation of another item (floor); 'copy', 'noise_matched': baselines",
        ),
        Column("sample_index", pa.int16(), "sample of the continuation; 0 elsewhere"),
        Column("cos_positive", pa.float32(), "cosine to the right continuation"),
        Column("cos_negative", pa.float32(), "cosine to the wrong continuation"),
        Column("margin", pa.float32(), "cos_positive - cos_negative"),
        Column(
            "verdict",
            pa.float64(),
            "1 nearer to the right one, 0.5 tie, 0 else; empty, silent and too short ones count 0",
        ),
        Column("score", pa.float32(), "the number of a judge without embeddings (naturalness); null elsewhere"),
        text("text", "what a transcriber understood of what was heard; null for other judges", optional=True),
        Column("n_words", pa.int32(), "words of the transcript that `text` is held against", optional=True),
        Column("n_errors", pa.int32(), "words of it that are missing, added or others in `text`", optional=True),
        text("audio_status", "status of the continuation that was judged"),
        _flags("null for what is no continuation"),
        *_status("judgement"),
    ),
)

SCHEMAS = {
    schema.name: schema
    for schema in (CLIPS, PAIRS, TOKENS, LIKELIHOOD, EVALUATORS, CONTINUATIONS, ROUND_TRIPS, EMBEDDINGS, JUDGING)
}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_table(
    path: Path,
    table: pa.Table | pl.DataFrame,
    schema: TableSchema,
    identity: str,
    extra: dict[str, Any] | None = None,
    sort: bool = True,
) -> None:
    """Write a table atomically, in the order of its key, with schema, identity and `extra` in the metadata.

    Raises ArtefactError where the columns or types are not the schema's, or a key occurs twice.
    """
    if isinstance(table, pl.DataFrame):
        table = table.to_arrow()
    table = _as_schema(path, table, schema)
    keys = pl.DataFrame(table.select(list(schema.key)))
    if len(keys) and keys.is_duplicated().any():
        twice = keys.filter(keys.is_duplicated()).row(0)
        raise ArtefactError(f"{path}: '{schema.name}' has the key {dict(zip(schema.key, twice, strict=True))} twice")
    if sort and len(keys):
        order = keys.with_row_index("_row").sort(list(schema.key), nulls_last=False)["_row"]
        table = table.take(order.to_arrow())
    table = table.combine_chunks().replace_schema_metadata(_metadata(schema, identity, extra))
    rows = {"row_group_size": AUDIO_ROWS} if schema.holds_audio else {}
    with atomic_path(Path(path)) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=6, **rows)


def write_batches(
    path: Path,
    batches: Iterable[pa.Table],
    schema: TableSchema,
    identity: str,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a table batch by batch, so that one batch is in memory; otherwise as `write_table`.

    Batches must come in the order of the key, which the rows of each have already. Raises ArtefactError where they do
    not, or where a key occurs twice.
    """
    arrow = schema.arrow.with_metadata(_metadata(schema, identity, extra))
    last: tuple[Any, ...] | None = None
    with (
        atomic_path(Path(path)) as temporary,
        pq.ParquetWriter(temporary, arrow, compression="zstd", compression_level=6) as writer,
    ):
        for batch in batches:
            table = _as_schema(path, batch, schema)
            for key in zip(*(table[name].to_pylist() for name in schema.key), strict=True):
                if last is not None and key <= last:
                    raise ArtefactError(
                        f"{path}: '{schema.name}' has the key {key} after {last}; expected them in order"
                    )
                last = key
            writer.write_table(table.combine_chunks().replace_schema_metadata(arrow.metadata), AUDIO_ROWS)


def _as_schema(path: Path, table: pa.Table, schema: TableSchema) -> pa.Table:
    """The columns of the schema, in its types and order. Raises ArtefactError where they are others."""
    missing = [name for name in schema.arrow.names if name not in table.column_names]
    added = [name for name in table.column_names if name not in schema.arrow.names]
    if missing or added:
        raise ArtefactError(f"{path}: not a '{schema.name}' table: lacks {missing}, has in addition {added}")
    try:
        return table.select(schema.arrow.names).cast(schema.arrow)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ArtefactError(f"{path}: not a '{schema.name}' table: {error}") from error


def _metadata(schema: TableSchema, identity: str, extra: dict[str, Any] | None) -> dict[bytes, bytes]:
    return {
        b"spokeneval.schema": f"{schema.name}/{schema.version}".encode(),
        b"spokeneval.identity": identity.encode(),
        b"spokeneval.extra": json.dumps(extra or {}, sort_keys=True).encode(),
    }


@dataclass(frozen=True)
class TableMetadata:
    identity: str
    extra: dict[str, Any]
    n_rows: int


def read_metadata(path: Path, schema: TableSchema) -> TableMetadata:
    """The identity and extras of a table. Raises ArtefactError where it is not a readable table of this schema."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise ArtefactError(f"{path}: there is no such table; run the stage '{schema.name}' first") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtefactError(f"{path}: not a readable parquet file ({error}); remove it and run again") from error
    metadata = file.schema_arrow.metadata or {}
    found = metadata.get(b"spokeneval.schema", b"none").decode()
    expected = f"{schema.name}/{schema.version}"
    if found != expected:
        raise ArtefactError(f"{path}: expected a table '{expected}', found '{found}'; remove it and run again")
    return TableMetadata(
        metadata[b"spokeneval.identity"].decode(),
        json.loads(metadata[b"spokeneval.extra"]),
        file.metadata.num_rows,
    )


def check_identity(path: Path, schema: TableSchema, identity: str | None) -> None:
    """Raises ArtefactError where a table is not one of this schema, or was made under another identity."""
    metadata = read_metadata(path, schema)
    if identity is not None and metadata.identity != identity:
        raise ArtefactError(
            f"{path}: made under identity {metadata.identity[:12]}, but {identity[:12]} is asked for; "
            "run the workflow again"
        )


def read_table(
    path: Path, schema: TableSchema, identity: str | None = None, columns: list[str] | None = None
) -> pl.DataFrame:
    """Read a table after checking its schema and, where given, the identity that it must carry.

    Raises ArtefactError naming the file, what was expected and what came.
    """
    check_identity(path, schema, identity)
    try:
        frame = pl.from_arrow(pq.read_table(path, columns=columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtefactError(f"{path}: damaged ({error}); remove it and run again") from error
    assert isinstance(frame, pl.DataFrame)
    return frame


def read_batches(
    path: Path, schema: TableSchema, identity: str | None = None, columns: list[str] | None = None
) -> Iterator[pl.DataFrame]:
    """A table as `read_table` reads it, AUDIO_ROWS rows at a time: no more of it is in memory."""
    check_identity(path, schema, identity)
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(AUDIO_ROWS, columns=columns):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                yield frame
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtefactError(f"{path}: damaged ({error}); remove it and run again") from error
