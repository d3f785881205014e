"""Published losses through the report: the controls of its first screen say what is known of them.

The losses are not part of this repository (their source has no licence): the tests skip where they are absent.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from evaluator_tables import shared_data

from spokeneval import tables
from spokeneval.evaluators.reduction import EvaluatorSettings
from spokeneval.evaluators.stored_losses import LLAMA_MIMI, read_stored_losses
from spokeneval.evaluators.views import evaluate
from spokeneval.report import make_report
from spokeneval.report.inputs import ModelEntry, ReportInputs, ReportSettings
from spokeneval.report.schemas import ACCURACY, STRATA

ROOM, SPEAKER, BACKGROUND = "rir_consistency", "speaker_consistency", "bg_all_consistency"
SENTIMENT = "sentiment_alignment"
MODEL = "llama-mimi"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    losses = read_stored_losses(sorted(shared_data("llama_mimi_salmon").glob("*.jsonl")), LLAMA_MIMI)
    folder = tmp_path_factory.mktemp("stored")
    settings = EvaluatorSettings(windows_s=(0.5,), unconditional=())
    scores = evaluate(losses.pairs, losses.likelihood, LLAMA_MIMI.info, settings)
    info = {"tokenizer": LLAMA_MIMI.info.to_dict()}
    inputs = ReportInputs(
        dataset="published",
        pairs=folder / "pairs.parquet",
        clips=folder / "clips.parquet",
        models={MODEL: ModelEntry(MODEL, "llama", "mimi-4")},
        likelihood={MODEL: folder / "likelihood.parquet"},
        evaluators={MODEL: folder / "evaluators.parquet"},
        settings=ReportSettings(n_draws=2000),
    )
    tables.write_table(inputs.pairs, losses.pairs, tables.PAIRS, "x")
    tables.write_table(inputs.clips, tables.CLIPS.empty(), tables.CLIPS, "x")
    tables.write_table(inputs.likelihood[MODEL], losses.likelihood, tables.LIKELIHOOD, "x", info)
    conventions = {"conventions": settings.conventions()}
    tables.write_table(inputs.evaluators[MODEL], scores, tables.EVALUATORS, "x", conventions)
    make_report(inputs, folder / "report", "x")
    return folder / "report"


def card(report: Path, task: str) -> str:
    """The card of one task on the first screen, in one line."""
    text = (report / "report.html").read_text()
    begin = text.index(f'<article class="card" aria-label="{task}"')
    return " ".join(text[begin : text.index("</article>", begin)].split())


def test_the_length_of_sentiment_alignment_is_flagged_on_the_first_screen_with_its_numbers(report: Path) -> None:
    told = "llama-mimi gets 89.0 where positive longer, 8.0 where positive shorter (see Strata)"
    depends = "depends on which member is longer by more than chance for llama-mimi"
    assert f"Accuracy under global {depends}: {told}." in card(report, SENTIMENT)


def test_the_length_of_speaker_is_flagged_and_that_of_room_is_not(report: Path) -> None:
    speaker = card(report, SPEAKER)
    assert "Accuracy under global depends on which member is longer by more than chance" in speaker
    assert "llama-mimi gets 100.0 where positive" in speaker
    assert "67.4 where positive" in speaker
    assert "depends on which member is longer" not in card(report, ROOM)
    strata = tables.read_table(report / "tables/strata.parquet", STRATA).filter(task=SPEAKER, evaluator="global")
    assert set(strata.select("n", pl.col("accuracy").round(3)).iter_rows()) == {(92, 0.674), (96, 1.0), (12, 1.0)}


def test_placebos_tie_before_the_change_and_those_of_room_are_within_chance(report: Path) -> None:
    accuracy = tables.read_table(report / "tables/accuracy.parquet", ACCURACY).filter(evaluator="placebo")
    found = {row["task"]: (row["accuracy"], row["n_ties"]) for row in accuracy.iter_rows(named=True)}
    assert found == {BACKGROUND: (0.5, 200), SPEAKER: (0.5, 200), ROOM: (0.525, 144)}
    assert all("Placebo" not in card(report, task) for task in found)
    page = (report / "report.html").read_text()
    controls = page[page.index(">placebo<") :]
    assert "52.5" in controls[: controls.index("</tr>")], "printed beside, off chance or not"
