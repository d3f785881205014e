"""The store: what is finished stays, what is damaged is made again, several writers do no harm."""

import multiprocessing

import pytest

from spokeneval.errors import ArtefactError
from spokeneval.store import PartStore
from spokeneval.tables import TOKENS, write_table


def row(clip_id, code=1):
    empty = dict.fromkeys(TOKENS.arrow.names)
    return {**empty, "clip_id": clip_id, "n_frames": 1, "codes": [code], "status": "ok"}


def store_in(folder, identity="a" * 64):
    return PartStore(folder, "tokens", identity, TOKENS)


def test_done_lists_what_parts_hold_and_collect_returns_it(tmp_path):
    store = store_in(tmp_path)
    assert store.done() == set()
    store.write([row("a"), row("b")])
    store.write([row("c")])
    assert store.done() == {("a",), ("b",), ("c",)}
    assert sorted(store.collect([("c",), ("a",)])["clip_id"].to_pylist()) == ["a", "c"]


def test_batches_are_the_same_rows_in_the_order_of_their_keys(tmp_path):
    store = store_in(tmp_path)
    for clip_ids in ("db", "ac", "e"):
        store.write([row(clip_id, ord(clip_id)) for clip_id in clip_ids])
    batches = list(store.collect_batches([(clip_id,) for clip_id in "edbca"], n_rows=2))
    assert [batch["clip_id"].to_pylist() for batch in batches] == [["a", "b"], ["c", "d"], ["e"]]
    assert [codes for batch in batches for codes in batch["codes"].to_pylist()] == [[ord(c)] for c in "abcde"]
    with pytest.raises(ArtefactError, match="1 of 1 rows"):
        list(store.collect_batches([("z",)]))


def test_some_columns_can_be_collected_alone(tmp_path):
    store = store_in(tmp_path)
    store.write([row("a"), row("b")])
    assert store.collect([("b",)], ["codes"]).to_pylist() == [{"codes": [1]}]
    assert store.collect([], ["codes"]).column_names == ["codes"]


def test_the_same_rows_are_the_same_part(tmp_path):
    store = store_in(tmp_path)
    store.write([row("a")])
    store.write([row("a")])
    assert len(list(store.folder.iterdir())) == 1


def test_identities_do_not_mix(tmp_path):
    store_in(tmp_path).write([row("a")])
    assert store_in(tmp_path, "b" * 64).done() == set()


def test_a_missing_row_is_named(tmp_path):
    store = store_in(tmp_path)
    store.write([row("a")])
    with pytest.raises(ArtefactError, match=r"1 of 2 rows of stage 'tokens' are missing, e\.g\. \('z',\)"):
        store.collect([("a",), ("z",)])


def test_a_damaged_part_is_set_aside_and_its_rows_are_asked_for_again(tmp_path, capsys):
    store = store_in(tmp_path)
    store.write([row("a")])
    store.write([row("b")])
    part = sorted(store.folder.glob("*.parquet"))[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert len(store.done()) == 1
    assert part.with_suffix(".damaged").exists()
    assert "does not match its digest" in capsys.readouterr().err


def test_rows_in_two_parts_are_collected_once(tmp_path):
    store = store_in(tmp_path)
    store.write([row("a"), row("b")])
    store.write([row("b"), row("c")])
    table = store.collect([("a",), ("b",), ("c",)])
    write_table(tmp_path / "t", table, TOKENS, "i")  # refuses a key that occurs twice
    assert table.num_rows == 3


def _write_many(folder, start):
    store = store_in(folder)
    for i in range(start, start + 20):
        store.write([row(f"clip-{i}", i)])


def test_two_writers_at_once_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, start)) for start in (0, 10)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store_in(tmp_path).done() == {(f"clip-{i}",) for i in range(30)}
