"""Model card fragments: the hub's own classes read them, and find the numbers of the tables. All simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hostile_report import HOSTILE, hostile_inputs
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from report_simulation import simulate

from spokeneval.report import make_report
from spokeneval.report.inputs import ModelEntry
from spokeneval.report.schemas import ACCURACY
from spokeneval.report.schemas_judges import MODEL_JUDGING
from spokeneval.tables import read_table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards")
    inputs = simulate(folder / "in", n_models=3, n_items=45, hearing=5.0, tasks=("speaker", "room"))
    silent = {"silent": ModelEntry("silent", "f", "t")}
    make_report(replace(inputs, models=inputs.models | silent), folder / "report", "x")
    return folder / "report"


def results_of(path: Path) -> tuple[str, list[EvalResult]]:
    data = ModelCard(path.read_text()).data
    assert data.eval_results
    return str(data.model_name), list(data.eval_results)


def test_the_hub_reads_each_card_and_its_numbers_are_the_tables(made: Path) -> None:
    accuracy = read_table(made / "tables/accuracy.parquet", ACCURACY).filter("headline")
    judged = read_table(made / "tables/model_judging.parquet", MODEL_JUDGING)
    judged = judged.filter((pl.col("source") == "model") & pl.col("ranked").fill_null(False))
    assert not judged.is_empty()
    assert {path.stem for path in (made / "model_cards").iterdir()} == {"sim-a", "sim-b", "sim-c"}
    for path in (made / "model_cards").iterdir():
        name, results = results_of(path)
        assert name == path.stem
        expected = {
            *(
                (r["task"], round(r["accuracy"], 6), round(r["low"], 6), r["n_scored"])
                for r in accuracy.filter(pl.col("model") == name).iter_rows(named=True)
            ),
            *(
                (r["task"], round(r["share"], 6), round(r["low"], 6), r["n_scored"])
                for r in judged.filter(pl.col("name") == name).iter_rows(named=True)
            ),
        }
        found = {(r.task_name, r.metric_value, r.metric_args["low"], r.metric_args["n"]) for r in results}
        assert found == expected
        for result in results:
            assert result.dataset_type == "simulated"
            low, high = (100 * result.metric_args[key] for key in ("low", "high"))
            assert f"[{low:.1f}, {high:.1f}] %, n {result.metric_args['n']}" in result.metric_name
            assert result.source_url is None


def test_the_front_matter_is_what_the_hub_would_write(made: Path) -> None:
    for path in (made / "model_cards").iterdir():
        name, results = results_of(path)
        index = eval_results_to_model_index(name, results)
        assert model_index_to_eval_results(index) == (name, results)
        assert set(ModelCard(path.read_text()).data.to_dict()) == {"model-index"}


def test_hostile_names_stay_text_in_front_matter_and_table(tmp_path: Path) -> None:
    make_report(hostile_inputs(tmp_path), tmp_path / "report", "x")
    paths = sorted((tmp_path / "report/model_cards").iterdir())
    assert paths
    for path in paths:
        assert "/" not in path.name
        assert "<" not in path.name
        name, results = results_of(path)
        assert HOSTILE in name
        assert all(HOSTILE in str(result.dataset_type) for result in results)
        body = path.read_text().partition("\n---\n")[2]
        assert "<script" not in body
        assert "**INCOMPLETE**" in body
