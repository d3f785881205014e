"""The inspector of a report: its data are the tables', its pictures are right, and what has no room is counted."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_simulation import simulate, with_settings

from spokeneval.report import inspector as module
from spokeneval.report.disagreement import disagreement, liked_rows, most_disagreed
from spokeneval.report.make import make_report
from spokeneval.report.spectrogram import N_MELS, RANGE_DB, log_mel, png, spectrogram_uri

EVIL = "</script><script>alert(1)</script>"


def data_of(page: str) -> dict[str, Any]:
    begin = page.index('id="inspect-data">') + len('id="inspect-data">')
    found: dict[str, Any] = json.loads(page[begin : page.index("</script>", begin)])
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspector")
    make_report(simulate(folder / "in"), folder / "out", "identity")
    return folder / "out"


def test_every_item_is_there_with_the_verdicts_of_the_table(report: Path) -> None:
    data = data_of((report / "report.html").read_text())
    table = pl.read_parquet(report / "items_long.parquet").filter(convention="default", codebooks="all")
    items = table.select("task", "item_id").unique()
    assert sorted(zip((data["tasks"][t] for t in data["task"]), data["ids"], strict=True)) == sorted(items.rows())
    compared = 0
    for column in data["columns"]:
        values = np.frombuffer(base64.b64decode(column["values"]), dtype="<i2")
        model, evaluator = data["models"][column["model"]], column["evaluator"]
        for k, value in enumerate(values):
            task = data["tasks"][data["task"][k]]
            name = f"judge:{data['judges'].get(task)}" if evaluator == "judge" else evaluator
            rows = table.filter(model=model, evaluator=name, task=task, item_id=data["ids"][k], sample_index=0)
            rows = rows.filter(
                (pl.col("window_s").is_null() | (pl.col("window_s") == data["primary_window_s"]))
                & (pl.col("unconditional").is_null() | (pl.col("unconditional") == "retokenise"))
            )
            if rows.is_empty() or rows["verdict"][0] is None:
                assert value == module.NOTHING, (model, name, task, data["ids"][k], rows)
            elif rows["margin"][0] is None:
                assert value == module.WRONG
            else:
                assert np.sign(value) == 2 * rows["verdict"][0] - 1
                assert value * column["scale"] == pytest.approx(rows["margin"][0], abs=column["scale"])
                compared += 1
    assert compared > 500


def test_disagreement_by_hand() -> None:
    def row(model: str, evaluator: str, verdict: float | None) -> dict[str, Any]:
        return {"task": "t", "item_id": "i", "model": model, "evaluator": evaluator, "verdict": verdict}

    primary = pl.DataFrame(
        [
            row("a", "localized", 1.0),
            row("a", "global", 0.0),
            row("b", "localized", 0.0),
            row("b", "global", 0.0),
            row("c", "localized", None),
            row("c", "global", 1.0),
            row("d", "localized", 0.5),
        ]
    )
    judged = pl.DataFrame([row("a", "judge:x", 1.0), row("b", "judge:x", 1.0), row("d", "judge:x", 1.0)])
    liked = pl.DataFrame({"task": ["t"] * 3, "item_id": ["i"] * 3, "model": ["a", "b", "c"], "liked": [0.5, 1.0, 1.0]})
    found = disagreement(primary, judged, {"t": "localized"}, liked).row(0, named=True)
    assert found["right"] == pytest.approx(0.5)  # 1, 0, .5; c has none
    assert found["models"] == pytest.approx(1.0)
    assert found["evaluators"] == pytest.approx(0.5)  # a is split, b is not; c and d have one verdict
    assert found["judge"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert found["people"] == pytest.approx((0.5 + 1) / 2)  # c has no verdict, d no votes


def test_people_like_what_lies_above_the_middle_of_its_scale() -> None:
    row = {"task": "t", "model": "a", "mos_test_id": "s", "mos_dimension": "naturalness"}
    primary = pl.DataFrame(
        [{**row, "item_id": k, "mos": mos} for k, mos in zip("abcd", (3.5, 3.0, 2.0, None), strict=True)]
    )
    middle = pl.DataFrame({"mos_test_id": ["s"], "mos_dimension": ["naturalness"], "middle": [3.0]})
    liked = liked_rows(primary, middle).sort("item_id")
    assert liked.select("item_id", "liked").rows() == [("a", 1.0), ("b", 0.5), ("c", 0.0)]


def test_the_most_disagreed_items_are_not_those_that_are_shown_anyway() -> None:
    found = pl.DataFrame(
        {
            "task": ["t"] * 4,
            "item_id": ["a", "b", "c", "d"],
            "judge": [1.0, 1.0, None, 0.2],
            "models": [0.1, 0.9, 1.0, 1.0],
            "evaluators": [0.0] * 4,
        }
    )
    shown = pl.DataFrame({"task": ["t"], "item_id": ["a"]})
    assert most_disagreed(found, 2, shown)["item_id"].to_list() == ["b", "d"]
    assert most_disagreed(found, 9, shown)["item_id"].to_list() == ["b", "d", "c"]


def test_what_has_no_room_is_counted_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRACE_BUDGET_BYTES", 500)
    inputs = simulate(tmp_path / "in")
    n_items = len(pl.read_parquet(inputs.pairs))
    monkeypatch.setattr(module, "MOST_VALUES", 3 * n_items)
    make_report(inputs, tmp_path / "out", "identity")
    page = (tmp_path / "out/report.html").read_text()
    data = data_of(page)
    assert len(data["columns"]) == 3
    assert "columns of scores left out of the page" in page
    assert len(data["traces"]) >= 1
    assert f"{n_items - len(data['traces'])} items without traces" in page


def test_traces_are_the_likelihoods(report: Path) -> None:
    data = data_of((report / "report.html").read_text())
    trace = next(iter(data["traces"].values()))[0]
    pairs = np.frombuffer(base64.b64decode(trace["p"]), dtype=np.uint8).reshape(-1, 2)
    values = trace["low"] + (trace["high"] - trace["low"]) * pairs[:, 1] / 255
    assert set(pairs[:, 0]) == {1}
    assert trace["p0"] + trace["unit"] > data["from_s"]
    # the simulated log-probabilities: normal around -3 nats
    assert -3.3 < values.mean() < -2.7
    assert trace["low"] <= values.min() <= values.max() <= trace["high"] + 1e-6


def test_text_from_data_cannot_end_the_script(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", prefix=EVIL)
    make_report(inputs, tmp_path / "out", "identity")
    page = (tmp_path / "out/report.html").read_text()
    assert "<script>alert(1)" not in page
    assert any(EVIL in item for item in data_of(page)["ids"])


def test_items_of_disagreement_come_behind_the_drawn_ones_and_are_marked(tmp_path: Path) -> None:
    inputs = with_settings(simulate(tmp_path / "in"), n_listen_items=2, n_disagreed_items=3)
    make_report(inputs, tmp_path / "out", "identity")
    page = (tmp_path / "out/report.html").read_text()
    assert "2 items, drawn by a seed and not picked; behind them 3 that judge" in page
    assert page.count("picked because it is disagreed on") == 3
    assert sorted(data_of(page)["place"].values()) == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------- pictures


def test_a_tone_is_loudest_in_its_band() -> None:
    """1 kHz lies at mel 1000 (HTK) of 2840 at 8 kHz: band 22.5 of 64."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    decibels = log_mel(tone, 16_000)
    assert decibels.shape[0] == N_MELS
    assert set(decibels[:, 5:-5].argmax(axis=0)) <= {21, 22, 23}
    assert decibels.max() == 0
    assert decibels.min() == -RANGE_DB


def test_the_picture_is_a_png_with_loud_dark_and_low_below() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = png(grey)
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (4, 3)
    at, body = 8, b""
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, part = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + part)
        body += part if kind == b"IDAT" else b""
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(body), dtype=np.uint8).reshape(3, 5)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:] == grey).all()
    assert spectrogram_uri(np.zeros(10, dtype=np.float32), 16_000) is None
    uri = spectrogram_uri(np.sin(np.arange(16_000)).astype(np.float32), 16_000)
    assert uri is not None
    assert len(uri) < 20_000
