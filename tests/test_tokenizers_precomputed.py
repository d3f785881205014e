"""Codes from a table: each clip gets its own, and what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluator_tables import pair, pairs_table

from spokeneval.errors import ConfigError, ItemError
from spokeneval.item_table import Asked
from spokeneval.tokenizers.base import Codes
from spokeneval.tokenizers.codes_source import CodesSource, Length
from spokeneval.tokenizers.precomputed import ROLES, Precomputed

ASKED = Asked("demo")
GRID: dict[str, Any] = {"sample_rate": 100, "hop_samples": 10, "codebook_sizes": (8, 8)}
PAIRS = pairs_table([pair("a", 20, index=0), pair("b", 20, index=1)])


def row(index: int, role: str, codes: Any, **more: Any) -> dict[str, Any]:
    return {"task": "speaker", "index": index, "role": role, "codes": codes, **more}


def all_rows(n_steps: int = 2) -> list[dict[str, Any]]:
    """Different codes for every clip."""
    return [
        row(index, role, [[(2 * index + k) % 8, t] for t in range(n_steps)])
        for index in range(2)
        for k, role in enumerate(ROLES)
    ]


def write(folder: Path, rows: list[dict[str, Any]], suffix: str = ".jsonl") -> Path:
    path = folder / f"codes{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(values) + "\n" for values in rows))
    elif suffix == ".csv":
        flat = [
            {k: " ".join(map(str, np.ravel(v))) if isinstance(v, list) else v for k, v in values.items()}
            for values in rows
        ]
        pl.DataFrame(flat).write_csv(path)
    else:
        pl.DataFrame(rows).write_parquet(path)
    return path


def codes_of(path: Path, pairs: pl.DataFrame = PAIRS, lengths: Any = None, asked: Asked = ASKED, **grid: Any) -> Any:
    return Precomputed(codes=path, **{**GRID, **grid}).codes_for(pairs, asked, lengths or {})


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_clip_gets_the_codes_of_its_item_and_role_from_any_kind_of_table(tmp_path, suffix):
    found = codes_of(write(tmp_path, all_rows(), suffix))
    assert set(found) == {f"{item}.{role}" for item in "ab" for role in ("s", "p", "n", "cp", "cn")}
    np.testing.assert_array_equal(found["b.n"].codes, [[4, 0], [4, 1]])  # item 1, third role: 2 * 1 + 2
    assert found["b.n"].codes.dtype == np.int32
    assert found["a.s"].durations is None


def test_it_is_a_source_of_codes_and_declares_its_grid():
    tokenizer = Precomputed(**GRID, codebook_names=("one", "two"), causal=True)
    assert isinstance(tokenizer, CodesSource)
    assert (tokenizer.info.codebook_names, tokenizer.info.causal, tokenizer.info.frame_rate) == (
        ("one", "two"),
        True,
        10.0,
    )
    assert tokenizer.codes_for(PAIRS, ASKED, {}) == {}, "a time grid alone has no codes"


def test_items_are_named_by_item_id_as_well(tmp_path):
    rows = [{"item_id": "b", "role": "prompt", "codes": [1, 2]}]
    found = codes_of(write(tmp_path, rows))
    np.testing.assert_array_equal(found["b.s"].codes, [[1, 2]])


def test_a_clip_without_codes_fails_and_names_itself(tmp_path):
    rows = [r for r in all_rows() if (r["index"], r["role"]) != (1, "prompt")]
    found = codes_of(write(tmp_path, rows))
    assert isinstance(found["b.s"], ItemError)
    assert str(found["b.s"]) == "codes.jsonl has no codes for speaker/1, prompt"
    assert sum(isinstance(c, Codes) for c in found.values()) == 9


def test_one_clip_in_two_items_has_the_same_codes_or_both_are_named(tmp_path):
    shared = pairs_table([pair("a", 20, index=0), pair("b", 20, index=1, prompt="a.s")])
    rows = all_rows()
    with pytest.raises(ConfigError, match="speaker/0, prompt and speaker/1, prompt are one clip, but have different"):
        codes_of(write(tmp_path, rows), shared)
    once = [r for r in rows if (r["index"], r["role"]) != (1, "prompt")]
    assert isinstance(codes_of(write(tmp_path, once), shared)["a.s"], Codes)


def test_codes_that_do_not_last_as_long_as_their_audio_fail_with_both_lengths(tmp_path):
    path = write(tmp_path, all_rows(n_steps=6))
    # 6 frames of 10 samples; a clip of 80 samples at 100 Hz is 8 frames long, one of 90 is 9.
    found = codes_of(path, lengths={"a.p": Length(80, 100), "a.n": Length(90, 100), "b.p": Length(450, 500)})
    assert isinstance(found["a.p"], Codes)
    assert "the codes last 6 frames (0.600 s), the audio 9.0 (0.900 s)" in str(found["a.n"])
    assert "speaker/1, positive: the codes last 6 frames" in str(found["b.p"])
    assert isinstance(found["b.n"], Codes), "a clip whose audio is not here is not compared"


def test_several_datasets_need_a_column_that_tells_them_apart(tmp_path):
    asked = Asked("demo", alone=False)
    with pytest.raises(ConfigError, match="line 1: needs a `dataset`"):
        codes_of(write(tmp_path, all_rows()), asked=asked)
    rows = [r | {"dataset": "demo"} for r in all_rows()] + [row(7, "prompt", [1, 1], dataset="other")]
    assert len(codes_of(write(tmp_path, rows), asked=asked)) == 10
    with pytest.raises(ConfigError, match="has no row for any item of the dataset 'third'; it has rows of demo, other"):
        codes_of(write(tmp_path, rows), asked=Asked("third", alone=False))


def test_rows_of_unknown_items_are_listed_unless_the_dataset_was_cut_down(tmp_path):
    path = write(tmp_path, [*all_rows(), row(7, "prompt", [1, 1]), row(9, "prompt", [1, 1])])
    with pytest.raises(
        ConfigError, match="rows for 2 items that the dataset 'demo' does not have: speaker/7, speaker/9"
    ):
        codes_of(path)
    assert len(codes_of(path, asked=Asked("demo", whole=False))) == 10


def test_durations_give_the_frames_of_deduplicated_units(tmp_path):
    rows = [row(0, "positive", [3, 5], durations=[4, 1])]
    found = codes_of(write(tmp_path, rows), deduplicated=True, codebook_sizes=(8,))["a.p"]
    assert found.n_frames == 5
    assert found.frame_starts().tolist() == [0, 4]


def test_asynchronous_codebooks_are_events_with_starts(tmp_path):
    rows = [row(0, "positive", [3, 1, 5], durations=[2, 4, 2], codebooks=[0, 1, 0], starts=[0, 0, 2])]
    found = codes_of(write(tmp_path, rows), asynchronous=True)["a.p"]
    assert found.n_frames == 4
    assert found.of_codebook(0).codes[:, 0].tolist() == [3, 5]


@pytest.mark.parametrize(
    ("values", "grid", "message"),
    [
        (row(0, "positive", [1, 2, 3]), {}, "3 codes; expected 2 a frame"),
        (row(0, "positive", [1, 8]), {}, "codes between 1 and 8; codebooks have"),
        (row(0, "positive", [1, 1.5]), {}, "codes holds 1.5; expected whole numbers"),
        (row(0, "positive", [1, None]), {}, "codes holds nan; expected whole numbers"),
        (row(0, "positive", "1 x"), {}, "codes holds 'x'; expected numbers"),
        (row(0, "positive", []), {}, "too short for one frame"),
        (row(0, "right", [1, 2]), {}, "role is 'right'; expected prompt, positive"),
        (row(0, "positive", [1, 2]), {"deduplicated": True, "codebook_sizes": (8,)}, "lacks durations"),
        (
            row(0, "positive", [1, 2], durations=[1]),
            {"deduplicated": True, "codebook_sizes": (8,)},
            "durations holds 1 numbers from 1 on; expected 2, 1 or more",
        ),
        (row(0, "positive", [1, 2], durations=[1]), {}, "declared without; set `deduplicated`"),
        (row(0, "positive", [1, 2]), {"asynchronous": True}, "lacks codebooks"),
        ({"role": "positive", "codes": [1, 2], "task": "speaker"}, {}, "lacks the columns task and index"),
        (row("x", "positive", [1, 2]), {}, "index is 'x'; expected a whole number"),  # type: ignore[arg-type]
        (row(0, "positive", [1, 2], item_id="b"), {}, "item_id 'b' is not the item speaker/0"),
        ({"task": "speaker", "index": 0, "codes": [1]}, {}, "lacks the column role"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_row(tmp_path, values, grid, message):
    with pytest.raises(ConfigError, match=message):
        codes_of(write(tmp_path, [values]), **grid)


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "codes.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ConfigError, match="cannot be read"):
        codes_of(tmp_path / "codes.parquet")
    with pytest.raises(ConfigError, match="a table of unknown kind"):
        codes_of(tmp_path / "codes.npy")
    with pytest.raises(ConfigError, match="holds no row"):
        codes_of(write(tmp_path, []))
    with pytest.raises(ConfigError, match="codebook_names has 1 entries"):
        Precomputed(**GRID, codebook_names=("one",))
