"""The report as a whole: what it writes, what it survives, what it never does. All tables here are simulated."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert as vlc
from hostile_report import HOSTILE, PLACES, hostile_inputs
from report_simulation import (
    evaluator_row,
    simulate,
    simulate_pairs,
    with_settings,
    write_evaluators,
)

from spokeneval.errors import ArtefactError, ConfigError
from spokeneval.report import console_summary, index, make_report
from spokeneval.report.inputs import ModelEntry, ReportInputs, ReportSettings
from spokeneval.report.make import ReportSummary
from spokeneval.report.schemas import ACCURACY, ITEMS_LONG, REPORT_SCHEMAS
from spokeneval.tables import read_table

N_SCRIPTS = 2
"""The data of the items, and the project's own script that shows them."""


class Page(HTMLParser):
    """What a browser would load, and the elements that matter here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.images: list[tuple[str, str]] = []
        """(source, alternative text)"""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            found = dict(attrs)
            self.images.append((found.get("src") or "", found.get("alt") or ""))
        for name, value in attrs:
            if name in ("src", "href", "srcset", "poster", "data", "xlink:href"):
                (self.anchors if tag == "a" else self.loaded).append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return simulate(tmp_path_factory.mktemp("simulated"), n_models=6, n_items=45, hearing=5.0)


@pytest.fixture(scope="module")
def made(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportSummary]:
    folder = tmp_path_factory.mktemp("results") / "simulated" / "report"
    return folder, make_report(inputs, folder, "identity-1")


@pytest.fixture
def bare(tmp_path: Path) -> ReportInputs:
    """One model, four items, nothing but evaluators."""
    pairs = simulate_pairs(tmp_path, np.random.default_rng(0), 4, ("speaker",))
    scores = [(1.0, 2.0), (1.0, 2.0), (2.0, 1.0), (None, None)]
    rows = [
        evaluator_row(item, "global", None, positive=positive, negative=negative)
        for item, (positive, negative) in zip(pairs, scores, strict=True)
    ]
    path = write_evaluators(tmp_path / "evaluators.parquet", rows)
    return ReportInputs(
        dataset="bare",
        pairs=tmp_path / "pairs.parquet",
        clips=tmp_path / "clips.parquet",
        models={"m": ModelEntry("m", "f", "t")},
        evaluators={"m": path},
        settings=ReportSettings(n_draws=200),
    )


def test_every_table_is_written_with_its_schema_and_identity(made: tuple[Path, ReportSummary]) -> None:
    folder, _ = made
    for path in (folder / "tables").glob("*.parquet"):
        frame = read_table(path, REPORT_SCHEMAS[f"report_{path.stem}"], "identity-1")
        assert len(pl.read_csv(path.with_suffix(".csv"), infer_schema_length=None)) == len(frame)
    assert len(list((folder / "tables").glob("*.parquet"))) == len(REPORT_SCHEMAS) - 1 == 18
    assert len(read_table(folder / "items_long.parquet", ITEMS_LONG, "identity-1")) > 0


def test_same_tables_give_the_same_report(
    inputs: ReportInputs, made: tuple[Path, ReportSummary], tmp_path: Path
) -> None:
    make_report(inputs, tmp_path / "again", "identity-1")
    for name in ("report.html", "results.json", "tables/accuracy.parquet", "items_long.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (made[0] / name).read_bytes(), name


def test_page_loads_nothing_and_its_links_lead_somewhere(made: tuple[Path, ReportSummary]) -> None:
    page = Page((made[0] / "report.html").read_text())
    assert page.loaded
    assert all(value.startswith("data:") for value in page.loaded)
    assert page.tags.count("script") == N_SCRIPTS
    assert "link" not in page.tags
    assert all(anchor.startswith("#") and anchor[1:] in page.ids for anchor in page.anchors)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"url\(|@import", (made[0] / "report.html").read_text())
    assert made[1].html_bytes < 15e6


def test_players_hold_the_audio_of_the_tables(inputs: ReportInputs, made: tuple[Path, ReportSummary]) -> None:
    page = Page((made[0] / "report.html").read_text())
    audio = [value for value in page.loaded if value.startswith("data:audio/flac")]
    assert page.tags.count("audio") == len(audio) == made[1].n_players
    # 4 drawn items and 4 of disagreement with three clips each; 5 models heard, minus continuations that failed.
    assert 24 + 24 <= len(audio) <= 24 + 40
    clips = set(pl.read_parquet(inputs.clips)["audio"].struct.field("bytes"))
    heard = {base64.b64decode(value.partition(",")[2]) for value in audio}
    assert len(heard & clips) == 24


def test_audio_beyond_the_budget_is_left_out_and_counted(inputs: ReportInputs, tmp_path: Path) -> None:
    summary = make_report(with_settings(inputs, audio_budget_mb=0.05), tmp_path, "x")
    assert summary.n_left_out > 0
    text = (tmp_path / "report.html").read_text()
    assert f"{summary.n_left_out} clips left out" in text
    embedded = sum(len(v) for v in Page(text).loaded if v.startswith("data:audio"))
    assert 0 < embedded < 0.05e6 + 100 * summary.n_players


def test_text_from_data_is_escaped(tmp_path: Path) -> None:
    inputs = hostile_inputs(tmp_path)
    folder = tmp_path / HOSTILE.replace("/", "") / "report"
    make_report(inputs, folder, "x")
    text = (folder / "report.html").read_text()
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text
    assert Page(text).tags.count("script") == N_SCRIPTS
    # Each text says where it comes from, so that none is left out unseen.
    for place in (*PLACES, "human topline", "published source", "published model", "published task"):
        assert f"{place} &lt;script&gt;" in text, place
    for path in (folder / "figures").glob("*.svg"):
        assert "<script" not in path.read_text(), path
    for path in (folder / "model_cards").iterdir():
        assert HOSTILE not in path.read_text().partition("\n---\n")[2]
    page = Page(index(tmp_path, [HOSTILE.replace("/", "")]).read_text())
    assert "script" not in page.tags


def test_incomplete_report_says_what_is_missing(inputs: ReportInputs, tmp_path: Path) -> None:
    lacking = replace(
        inputs,
        evaluators={k: v for k, v in inputs.evaluators.items() if k != "sim-c"},
        likelihood={k: v for k, v in inputs.likelihood.items() if k != "sim-c"},
        missing=["evaluators of sim-c"],
    )
    summary = make_report(lacking, tmp_path / "d" / "report_partial", "x")
    assert summary.missing == ("evaluators of sim-c",)
    text = (tmp_path / "d" / "report_partial" / "report.html").read_text()
    assert "INCOMPLETE" in text
    assert "evaluators of sim-c" in text
    assert "INCOMPLETE" in console_summary(tmp_path / "d" / "report_partial")
    assert "INCOMPLETE" in index(tmp_path).read_text()
    # The models that are there still have their rows.
    accuracy = read_table(tmp_path / "d" / "report_partial" / "tables" / "accuracy.parquet", ACCURACY)
    assert set(accuracy.filter("headline")["model"]) == set(inputs.models) - {"sim-c"}


def test_complete_report_does_not_say_incomplete(made: tuple[Path, ReportSummary]) -> None:
    assert "INCOMPLETE" not in (made[0] / "report.html").read_text()


def test_one_model_without_judge_vocoder_or_likelihood(bare: ReportInputs, tmp_path: Path) -> None:
    summary = make_report(bare, tmp_path / "report", "x")
    text = (tmp_path / "report" / "report.html").read_text()
    row = read_table(tmp_path / "report" / "tables" / "accuracy.parquet", ACCURACY).row(0, named=True)
    assert (row["n_items"], row["n_scored"], row["n_failed"]) == (4, 3, 1)
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert summary.n_failed_rows == 1
    assert "There is one model" in text
    assert "There was no judge" in text
    assert summary.n_players == 3 * 4
    assert "66.7" in console_summary(tmp_path / "report")


def test_task_whose_items_all_failed_has_a_row_and_no_number(bare: ReportInputs, tmp_path: Path) -> None:
    pairs = pl.read_parquet(bare.pairs).to_dicts()
    write_evaluators(bare.evaluators["m"], [evaluator_row(item, "global", None) for item in pairs])
    make_report(bare, tmp_path / "report", "x")
    row = read_table(tmp_path / "report" / "tables" / "accuracy.parquet", ACCURACY).row(0, named=True)
    assert row["accuracy"] is None
    assert row["low"] is None
    assert row["n_failed"] == 4
    assert " nan" not in (tmp_path / "report" / "report.html").read_text().lower()


def test_dataset_without_items_or_scores_still_has_a_page(tmp_path: Path) -> None:
    inputs = simulate(tmp_path / "in", n_models=1, n_items=1, tasks=())
    summary = make_report(inputs, tmp_path / "report", "x")
    assert summary.n_players == 0
    assert "No model has a score" in (tmp_path / "report" / "report.html").read_text()
    assert "no model has a score" in console_summary(tmp_path / "report")


def test_results_json_holds_the_primary_rows(made: tuple[Path, ReportSummary]) -> None:
    results = json.loads((made[0] / "results.json").read_text())
    assert results["version"] == 4
    assert results["n_failed_rows"] == made[1].n_failed_rows
    accuracy = read_table(made[0] / "tables" / "accuracy.parquet", ACCURACY)
    assert len(results["accuracy"]) == int(accuracy["primary"].sum())
    assert {row["evaluator"] for row in results["accuracy"]} <= set(ReportSettings().primary_evaluators)


def test_figures_are_files_of_three_kinds(made: tuple[Path, ReportSummary]) -> None:
    names = {path.name.partition(".")[0] for path in (made[0] / "figures").iterdir()}
    assert names == {
        "accuracy",
        "between_floor_and_ceiling",
        "evaluator_against_judge",
        "models_by_tokenizer",
        "ranks",
        "transition_profile",
        "window_sweep",
    }
    for name in names:
        assert (made[0] / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (made[0] / "figures" / f"{name}.svg").read_text().startswith("<svg")
        assert json.loads((made[0] / "figures" / f"{name}.vl.json").read_text())


def test_vega_lite_files_hold_their_data_and_draw_again_without_network(made: tuple[Path, ReportSummary]) -> None:
    for path in (made[0] / "figures").glob("*.vl.json"):
        text = path.read_text()
        assert '"url"' not in text, path
        spec = json.loads(text)
        assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
        assert len(spec["datasets"][spec["data"]["name"]]) >= 4, path
        chart = alt.Chart.from_dict(spec)  # checks it against altair's own schema
        svg = vlc.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])
        assert svg.startswith("<svg"), path


def test_every_figure_of_the_page_says_what_it_shows(made: tuple[Path, ReportSummary]) -> None:
    page = Page((made[0] / "report.html").read_text())
    assert len(page.images) >= 5
    figures = [image for image in page.images if not image[1].startswith("spectrogram of ")]
    assert len(page.images) - len(figures) == made[1].n_players
    for source, described in figures:
        assert source.startswith("data:image/svg+xml;base64,")
        assert len(described) > 40
        assert base64.b64decode(source.partition(",")[2]).startswith(b"<svg")


def test_console_fits_120_columns_and_says_where_the_page_lies(made: tuple[Path, ReportSummary]) -> None:
    text = console_summary(made[0])
    assert str(made[0] / "report.html") in text
    assert "agreement with a judge, not with people" in text
    assert f"failed rows: {made[1].n_failed_rows}" in text
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith("report: "))
    assert "sim-f" in text


def test_console_without_a_report_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="there is no report here"):
        console_summary(tmp_path)


def test_index_links_datasets_and_averages_nothing(made: tuple[Path, ReportSummary]) -> None:
    path = index(made[0].parent.parent)
    page = Page(path.read_text())
    assert page.anchors == ["simulated/report/report.html"]
    assert (path.parent / page.anchors[0]).is_file()


def test_tables_of_unknown_models_or_judges_are_refused(bare: ReportInputs) -> None:
    with pytest.raises(ConfigError, match="not among the models"):
        replace(bare, continuations={"other": bare.pairs})
    with pytest.raises(ConfigError, match="no judge entry"):
        replace(bare, qualification={"ear": bare.pairs})


def test_table_of_another_kind_is_refused(bare: ReportInputs, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="expected a table 'evaluators/1'"):
        make_report(replace(bare, evaluators={"m": bare.pairs}), tmp_path / "report", "x")


def test_many_pairs_of_models_are_cut_on_the_page_and_whole_in_the_table(
    inputs: ReportInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spokeneval.report.html.MOST_COMPARISONS", 8)
    make_report(inputs, tmp_path, "x")
    text = (tmp_path / "report.html").read_text()
    # 4 tasks of 15 pairs each, two of each task on the page
    assert "60 comparisons (the clearest 8 are shown" in text
    assert len(read_table(tmp_path / "tables" / "comparisons.parquet", REPORT_SCHEMAS["report_comparisons"])) == 60
