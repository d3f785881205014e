"""Tables: one schema each, written whole or not at all, checked on reading."""

import pyarrow.parquet as pq
import pytest

from spokeneval.atomic import atomic_path
from spokeneval.errors import ArtefactError
from spokeneval.tables import (
    AUDIO_ROWS,
    EMBEDDINGS,
    JUDGING,
    SCHEMAS,
    TOKENS,
    read_batches,
    read_metadata,
    read_table,
    write_batches,
    write_table,
)


def row(clip_id, codes=(1, 2)):
    return {
        "clip_id": clip_id,
        "n_frames": len(codes),
        "codes": list(codes),
        "durations": None,
        "codebooks": None,
        "starts": None,
        "status": "ok",
        "reason": None,
    }


def test_a_table_comes_back_as_it_was_written_in_the_order_of_its_key(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(path, TOKENS.from_rows([row("b"), row("a", (7,))]), TOKENS, "id-1", {"tokenizer": {"x": 1}})
    frame = read_table(path, TOKENS, "id-1")
    assert frame["clip_id"].to_list() == ["a", "b"]
    assert frame["codes"].to_list() == [[7], [1, 2]]
    assert read_metadata(path, TOKENS).extra == {"tokenizer": {"x": 1}}


def test_row_order_does_not_change_the_bytes(tmp_path):
    rows = [row(name) for name in "cab"]
    write_table(tmp_path / "1", TOKENS.from_rows(rows), TOKENS, "i")
    write_table(tmp_path / "2", TOKENS.from_rows(rows[::-1]), TOKENS, "i")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_table_written_in_batches_is_read_as_one(tmp_path):
    batches = [TOKENS.from_rows([row("a"), row("b", (7,))]), TOKENS.from_rows([row("c")])]
    write_batches(tmp_path / "t", iter(batches), TOKENS, "i", {"tokenizer": 1})
    assert read_table(tmp_path / "t", TOKENS, "i")["clip_id"].to_list() == ["a", "b", "c"]
    assert read_metadata(tmp_path / "t", TOKENS).extra == {"tokenizer": 1}
    assert pq.ParquetFile(tmp_path / "t").num_row_groups == 2
    write_batches(tmp_path / "none", iter([]), TOKENS, "i")
    assert read_table(tmp_path / "none", TOKENS).is_empty()


@pytest.mark.parametrize("clip_ids", [("b", "a"), ("a", "a")])
def test_batches_out_of_order_are_refused_and_leave_nothing(tmp_path, clip_ids):
    with pytest.raises(ArtefactError, match="expected them in order"):
        write_batches(tmp_path / "t", (TOKENS.from_rows([row(name)]) for name in clip_ids), TOKENS, "i")
    assert list(tmp_path.iterdir()) == []


def test_a_table_is_read_in_batches_of_what_memory_may_hold(tmp_path):
    write_table(tmp_path / "t", TOKENS.from_rows([row(f"{n:04}") for n in range(AUDIO_ROWS + 3)]), TOKENS, "i")
    batches = list(read_batches(tmp_path / "t", TOKENS, "i", ["clip_id"]))
    assert [len(batch) for batch in batches] == [AUDIO_ROWS, 3]
    assert batches[1]["clip_id"].to_list() == [f"{AUDIO_ROWS + n:04}" for n in range(3)]
    with pytest.raises(ArtefactError, match="another is asked for"):
        next(read_batches(tmp_path / "t", TOKENS, "another"))


def test_another_identity_is_refused(tmp_path):
    write_table(tmp_path / "t", TOKENS.from_rows([row("a")]), TOKENS, "made-with-this")
    with pytest.raises(ArtefactError, match=r"made under identity made-with-th, but another is asked for"):
        read_table(tmp_path / "t", TOKENS, "another")


def test_another_schema_is_refused(tmp_path):
    write_table(tmp_path / "t", TOKENS.from_rows([row("a")]), TOKENS, "i")
    with pytest.raises(ArtefactError, match="expected a table 'embeddings/2', found 'tokens/2'"):
        read_table(tmp_path / "t", EMBEDDINGS)


def test_a_foreign_parquet_file_and_a_truncated_one_are_refused(tmp_path):
    pq.write_table(TOKENS.from_rows([row("a")]), tmp_path / "foreign")
    with pytest.raises(ArtefactError, match="found 'none'"):
        read_table(tmp_path / "foreign", TOKENS)
    write_table(tmp_path / "t", TOKENS.from_rows([row("a")]), TOKENS, "i")
    (tmp_path / "cut").write_bytes((tmp_path / "t").read_bytes()[:-20])
    with pytest.raises(ArtefactError, match="not a readable parquet file"):
        read_table(tmp_path / "cut", TOKENS)
    with pytest.raises(ArtefactError, match="there is no such table"):
        read_table(tmp_path / "missing", TOKENS)


def test_a_key_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match=r"has the key \{'clip_id': 'a'\} twice"):
        write_table(tmp_path / "t", TOKENS.from_rows([row("a"), row("a")]), TOKENS, "i")
    assert not (tmp_path / "t").exists()


def test_a_row_with_a_missing_column_is_refused():
    incomplete = row("a")
    del incomplete["reason"]
    with pytest.raises(ArtefactError, match="reason"):
        TOKENS.from_rows([incomplete])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t"
    path.write_text("old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=lambda s: s.name)
def test_every_schema_names_its_key_and_documents_every_column(schema):
    assert set(schema.key) <= set(schema.arrow.names)
    assert all(column.doc for column in schema.columns)
    assert len({c.name for c in schema.columns}) == len(schema.columns)


def test_a_row_may_leave_out_optional_columns_and_no_other():
    row = dict.fromkeys(JUDGING.arrow.names) | {"task": "t", "item_id": "i", "source": "prompt"}
    assert JUDGING.from_rows([{k: v for k, v in row.items() if k != "text"}])["text"].to_pylist() == [None]
    with pytest.raises(ArtefactError, match="verdict"):
        JUDGING.from_rows([{k: v for k, v in row.items() if k != "verdict"}])
