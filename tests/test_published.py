"""Published accuracies from a CSV: read as they are written, refused by row where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluator_tables import shared_data

from spokeneval.config import load_config
from spokeneval.errors import ConfigError
from spokeneval.published import read_published, unknown_evaluators
from spokeneval.report.gap import gap_closed, mean_gap

HEADER = "model,task,evaluator,window_ms,accuracy_percent"
SALMON_TOPLINES = {
    "sentiment_consistency": 97.2,
    "speaker_consistency": 91.5,
    "gender_consistency": 98.6,
    "bg_domain_consistency": 83.1,
    "bg_all_consistency": 88.7,
    "rir_consistency": 94.4,
}


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "published.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_rows_become_shares_and_seconds(tmp_path: Path) -> None:
    path = written(tmp_path, "A,speaker,global,,54.5", "A,speaker,localized,100,51.0", "A,speaker,loudness,,100")
    frame = read_published(path)
    assert frame.rows() == [
        ("A", "speaker", "global", None, 0.545, None),
        ("A", "speaker", "localized", 0.1, 0.51, None),
        ("A", "speaker", "loudness", None, 1.0, None),
    ]
    assert unknown_evaluators(frame) == ["loudness"]


def test_the_number_of_items_is_optional(tmp_path: Path) -> None:
    path = written(tmp_path, "A,speaker,global,,54.5,200", "B,speaker,global,,54.5,", header=f"{HEADER},n_items")
    assert read_published(path)["n_items"].to_list() == [200, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("B,speaker,global,,100.5", r"row 3: accuracy_percent is '100.5'; expected a number from 0 to 100"),
        ("B,speaker,global,,-1", r"row 3: accuracy_percent is '-1'; expected a number from 0 to 100"),
        ("B,speaker,global,,", r"row 3: accuracy_percent is ''; expected a number from 0 to 100"),
        ("B,speaker,global,,many", r"row 3: accuracy_percent is 'many'; expected a number"),
        ("B,speaker,global,,nan", r"row 3: accuracy_percent is 'nan'; expected a number"),
        ("B,speaker,localized,0,50", r"row 3: window_ms is '0'; expected milliseconds above 0"),
        ("B,speaker,localized,.5 s,50", r"row 3: window_ms is '\.5 s'; expected a number"),
        (",speaker,global,,50", r"row 3: model is empty"),
        ("A,speaker,global,,60", r"row 3: the same model 'A', task 'speaker', evaluator 'global' and window as row 2"),
    ],
)
def test_a_bad_row_is_named_by_its_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_published(written(tmp_path, "A,speaker,global,,54.5", line))
    assert "published.csv" in str(caught.value)


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lacks the column evaluator; it has model, task"):
        read_published(written(tmp_path, "A,b", header="model,task"))
    with pytest.raises(ConfigError, match=r"unknown column 'n_itms'; known: model, .*n_items"):
        read_published(written(tmp_path, "A,speaker,global,,50,9", header=f"{HEADER},n_itms"))
    with pytest.raises(ConfigError, match=r"n_items is '1\.5'; expected a whole number"):
        read_published(written(tmp_path, "A,speaker,global,,50,1.5", header=f"{HEADER},n_items"))
    with pytest.raises(ConfigError, match="cannot be read as CSV"):
        read_published(tmp_path / "none.csv")


def _config(**values: Any) -> dict[str, Any]:
    return {
        "datasets": {"demo": {"kind": "consistency", "recordings": "a/b.csv", "tasks": {"speaker": 3}, **values}},
        "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": "c.safetensors"}},
        "models": {"small": {"path": "models/small", "tokenizer": "rvq"}},
    }


def test_published_rows_need_their_source_when_the_configuration_is_read(tmp_path: Path) -> None:
    path = str(written(tmp_path, "A,speaker,global,,54.5"))
    for source in ({}, {"published_source": " "}):
        with pytest.raises(ConfigError, match=r"datasets\.demo\.published_source: is missing"):
            load_config(_config(published=path, **source))
    assert load_config(_config(published=path, published_source="a paper")).datasets["demo"].published == path


def test_a_bad_published_file_is_refused_when_the_configuration_is_read(tmp_path: Path) -> None:
    path = str(written(tmp_path, "A,speaker,global,,540"))
    with pytest.raises(ConfigError, match=r"datasets\.demo\.published: .*published\.csv, row 2: accuracy_percent"):
        load_config(_config(published=path, published_source="a paper"))


def test_a_step_without_its_series_is_refused_when_the_configuration_is_read() -> None:
    values = _config()
    values["models"]["small"]["step"] = 10
    with pytest.raises(ConfigError, match=r"models\.small: has one of `series` and `step`"):
        load_config(values)


# ---- the authors' own run log


def test_the_published_run_log_is_read_whole() -> None:
    frame = read_published(shared_data(".") / "published_accuracy.csv")
    assert (len(frame), frame["model"].n_unique(), frame["task"].n_unique()) == (1096, 12, 8)
    assert unknown_evaluators(frame) == []


def test_the_gap_that_llama_mimi_closes_is_the_published_one() -> None:
    frame = read_published(shared_data(".") / "published_accuracy.csv").filter(model="Llama-Mimi-1.3B")
    base, other = (
        {task: 100 * value for task, value in frame.filter(evaluator=name).select("task", "accuracy").iter_rows()}
        for name in ("global", "global_norm")
    )
    by_task = {task: (base[task], other[task]) for task in other}
    found = mean_gap(by_task, SALMON_TOPLINES, SALMON_TOPLINES)
    assert found is not None
    tasks, accuracy_global, accuracy, topline = found
    assert tasks == list(SALMON_TOPLINES)
    assert topline == pytest.approx(92.25)
    assert accuracy_global == pytest.approx(81.0)
    share = gap_closed(accuracy_global, accuracy, topline)
    assert share is not None
    assert round(100 * share, 2) == 82.96


def test_the_gap_from_printed_means() -> None:
    share = gap_closed(80.92, 90.33, 92.25)
    assert share is not None
    assert round(100 * share, 1) == 83.1
    assert gap_closed(92.25, 95, 92.25) is None
