"""What a report is made from: tables of the present configuration only, whatever else lies on the disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from report_simulation import simulate

from spokeneval.config import Config, load_config
from spokeneval.errors import ArtefactError, SpokenevalError
from spokeneval.fingerprint import Fingerprints
from spokeneval.jobs.reporting import (
    LOCK,
    index,
    last_report,
    partial_report,
    remove_partial_report,
    report,
    report_inputs,
    verdict,
)
from spokeneval.layout import Layout
from spokeneval.report.inputs import ReportInputs
from spokeneval.stages import Stages
from spokeneval.table_schema import TableSchema
from spokeneval.tables import (
    CLIPS,
    CONTINUATIONS,
    EMBEDDINGS,
    EVALUATORS,
    JUDGING,
    LIKELIHOOD,
    PAIRS,
    read_metadata,
    write_table,
)

DATASET = "simulated"
FEWER = {DATASET: {"kind": "pairs", "table": "items/pairs.csv", "limit": 3}}


def _config(**changed: Any) -> Config:
    blocks: dict[str, Any] = {
        "datasets": {DATASET: {"kind": "pairs", "table": "items/pairs.csv"}},
        "tokenizers": {
            "sim-acoustic": {"kind": "mel_rvq", "codebook": "acoustic.safetensors"},
            "sim-semantic": {"kind": "mel_rvq", "codebook": "semantic.safetensors"},
        },
        "vocoders": {"sim-vocoder": {"kind": "griffin_lim"}},
        "models": {
            "sim-a": {"path": "weights-a", "tokenizer": "sim-acoustic", "vocoder": "sim-vocoder"},
            "sim-b": {"path": "weights-b", "tokenizer": "sim-semantic"},
        },
        "judges": {"sim-level": {"kind": "rms_level"}},
        "report": {"n_draws": 200, "n_listen_items": 1},
    }
    for path, value in changed.items():
        *parents, last = path.split("__")
        target = blocks
        for key in parents:
            target = target[key.replace("_", "-")]
        target[last] = value
    return load_config(blocks)


def _place(source: Path, target: str, schema: TableSchema, identity: str) -> None:
    metadata = read_metadata(source, schema)
    write_table(Path(target), pq.read_table(source), schema, identity, metadata.extra)


def _finish(config: Config, inputs: ReportInputs) -> None:
    """Every table of the configuration, as the jobs would leave them, and the report."""
    layout, stages = Layout(config), Stages(config, Fingerprints(LOCK))
    _place(inputs.pairs, layout.pairs(DATASET), PAIRS, stages.clips(DATASET))
    _place(inputs.clips, layout.clips(DATASET), CLIPS, stages.clips(DATASET))
    for model in inputs.models:
        _place(inputs.likelihood[model], layout.likelihood(DATASET, model), LIKELIHOOD, stages.likelihood(model))
        _place(inputs.evaluators[model], layout.evaluators(DATASET, model), EVALUATORS, stages.evaluators(model))
    audio, tokens = inputs.controls["audio"], inputs.controls["sim-acoustic"]
    _place(audio, layout.audio_controls(DATASET), EVALUATORS, stages.audio_controls())
    for name in config.tokenizers:
        _place(tokens, layout.token_controls(DATASET, name), EVALUATORS, stages.token_controls(name))
    _place(
        inputs.continuations["sim-a"],
        layout.continuations(DATASET, "sim-a"),
        CONTINUATIONS,
        stages.continuations("sim-a"),
    )
    heard = {"attribute": "level", "answer": "embedding"}
    references = Path(layout.references(DATASET, "sim-level"))
    write_table(references, EMBEDDINGS.empty(), EMBEDDINGS, stages.qualification("sim-level"), heard)
    codec = ("sim-acoustic", "sim-vocoder", "sim-level")
    for source, target, identity in (
        (
            inputs.qualification["sim-level"],
            layout.qualification(DATASET, "sim-level"),
            stages.qualification("sim-level"),
        ),
        (
            inputs.ceilings["sim-acoustic-sim-vocoder"]["sim-level"],
            layout.ceilings(DATASET, *codec),
            stages.round_trips(*codec),
        ),
        (
            inputs.judging["sim-a", "sim-level"],
            layout.judging(DATASET, "sim-a", "sim-level"),
            stages.judging("sim-a", "sim-level"),
        ),
    ):
        _place(source, target, JUDGING, identity)
    report(config, dataset=DATASET, identity=stages.report(DATASET), threads=1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose run has finished."""
    folder = tmp_path_factory.mktemp("kept")
    for name in ("a", "b", "other"):
        (folder / f"weights-{name}").mkdir()
        (folder / f"weights-{name}" / "model.safetensors").write_text(name)
    for name in ("acoustic", "semantic", "other"):
        (folder / f"{name}.safetensors").write_text(name)
    (folder / "items").mkdir()
    (folder / "items/pairs.csv").write_text("a table")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _finish(_config(), simulate(folder / "in", n_models=2, n_items=6, tasks=("speaker",)))
    return folder


@pytest.fixture
def project(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(kept, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def _missing(config: Config) -> set[str]:
    return {entry.removeprefix(f"{DATASET}/") for entry in report_inputs(config, DATASET, partial=True).missing}


def _of_another(*names: str) -> set[str]:
    return {f"{name}.parquet (made under another configuration)" for name in names}


HEARD_OF_A = ("continuations/sim-a", "judging/sim-a/sim-level")


@pytest.mark.usefixtures("project")
def test_of_a_finished_run_nothing_is_missing() -> None:
    assert _missing(_config()) == set()


@pytest.mark.usefixtures("project")
def test_tables_of_other_weights_are_left_out_and_named() -> None:
    config = _config(models__sim_a__path="weights-other")
    Path(Layout(config).likelihood(DATASET, "sim-a")).unlink()
    found = report_inputs(config, DATASET, partial=True)
    assert set(found.evaluators) == {"sim-b"}
    assert not found.continuations
    assert not found.judging
    assert _missing(config) == {"likelihood/sim-a.parquet"} | _of_another("evaluators/sim-a", *HEARD_OF_A)


@pytest.mark.usefixtures("project")
def test_another_tokenizer_takes_everything_made_of_its_codes() -> None:
    config = _config(tokenizers__sim_acoustic__codebook="other.safetensors")
    made_of_codes = ("likelihood/sim-a", "evaluators/sim-a", "controls/tokens/sim-acoustic")
    ceilings = "ceilings/sim-acoustic/sim-vocoder/sim-level"
    assert _missing(config) == _of_another(*made_of_codes, ceilings, *HEARD_OF_A)


@pytest.mark.usefixtures("project")
def test_other_settings_of_the_evaluators_or_judges_take_their_own_tables() -> None:
    views = _of_another("evaluators/sim-a", "evaluators/sim-b")
    assert _missing(_config(evaluators={"windows_s": [0.7]})) == views
    judged = ("qualification/sim-level", "ceilings/sim-acoustic/sim-vocoder/sim-level", "judging/sim-a/sim-level")
    changed = _missing(_config(judges={"sim-level": {"kind": "rms_level", "max_items": 3}}))
    # What is heard with a judge that is not known is not looked for.
    assert changed == _of_another(judged[0])


def test_where_an_identity_cannot_be_said_the_table_is_left_out(project: Path) -> None:
    shutil.rmtree(project / "weights-a")
    assert _missing(_config()) == _of_another("likelihood/sim-a", "evaluators/sim-a", *HEARD_OF_A)


@pytest.mark.usefixtures("project")
def test_tables_of_other_items_and_damaged_ones_are_left_out() -> None:
    config = _config()
    layout = Layout(config)
    scores, judging = Path(layout.evaluators(DATASET, "sim-a")), Path(layout.judging(DATASET, "sim-a", "sim-level"))
    for path, schema in ((scores, EVALUATORS), (judging, JUDGING)):
        frame = pl.read_parquet(path)
        first = frame["item_id"][0]
        fewer = frame.filter(pl.col("item_id") != first).to_arrow().cast(schema.arrow)
        write_table(path, fewer, schema, read_metadata(path, schema).identity, read_metadata(path, schema).extra)
    likelihood = Path(layout.likelihood(DATASET, "sim-b"))
    likelihood.write_bytes(likelihood.read_bytes()[:-100])
    assert _missing(config) == {
        "evaluators/sim-a.parquet (made of other items)",
        "judging/sim-a/sim-level.parquet (made of other items)",
        "likelihood/sim-b.parquet (damaged)",
    }


def test_a_partial_report_prints_no_number_of_the_earlier_weights(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    partial_report(_config(models__sim_a__path="weights-other"), dataset=DATASET)
    text = capsys.readouterr().out
    assert (
        "INCOMPLETE, made without:\n  simulated/likelihood/sim-a.parquet (made under another configuration)\n" in text
    )
    row = next(line for line in text.splitlines() if line.startswith("sim-a"))
    assert row.split() == ["sim-a", "-"]
    accuracy = pl.read_parquet(project / f"results/{DATASET}/report_partial/tables/accuracy.parquet")
    assert "sim-a" not in set(accuracy["model"])


def test_of_other_items_there_is_nothing_to_report(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial_report(_config(models__sim_a__path="weights-other"), dataset=DATASET)
    capsys.readouterr()
    partial_report(_config(datasets=FEWER), dataset=DATASET)
    said = capsys.readouterr()
    assert "pairs.parquet is made under another configuration" in said.err
    assert said.out == ""
    assert not (project / f"results/{DATASET}/report_partial").exists()


@pytest.mark.usefixtures("project")
def test_last_report_says_when_it_is_older_than_the_configuration() -> None:
    assert last_report(_config(), DATASET).startswith(f"=== {DATASET} ===")
    older = f"{DATASET}: this report is older than the configuration"
    changed = _config(models__sim_a__path="weights-other")
    assert last_report(changed, DATASET).splitlines()[0].startswith(older)
    assert "report_partial" not in last_report(changed, DATASET)
    partial_report(changed, dataset=DATASET)
    assert f"results/{DATASET}/report_partial/report.html" in last_report(changed, DATASET).splitlines()[0]
    assert last_report(_config(datasets=FEWER), DATASET).startswith(older)


def test_where_nothing_is_missing_the_report_itself_is_printed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = project / f"results/{DATASET}/report_partial"
    stale.mkdir()
    partial_report(_config(), dataset=DATASET)
    assert capsys.readouterr().out.startswith(f"=== {DATASET} ===")
    assert not stale.exists()


def test_only_the_partial_report_is_removed_and_no_index_links_it(project: Path) -> None:
    config = _config()
    partial = project / f"results/{DATASET}/report_partial"
    others = {path for path in project.rglob("*") if path.is_file()}
    partial_report(_config(models__sim_a__path="weights-other"), dataset=DATASET)
    assert partial.exists()
    index(config, threads=1)
    assert not partial.exists()
    assert "report_partial" not in (project / "results/index.html").read_text()
    remove_partial_report(config, DATASET)
    assert {path for path in project.rglob("*") if path.is_file()} == others | {project / "results/index.html"}


@pytest.mark.usefixtures("project")
def test_without_any_report_the_partial_one_is_named() -> None:
    changed = _config(models__sim_a__path="weights-other")
    partial_report(changed, dataset=DATASET)
    shutil.rmtree(Layout(changed).report(DATASET))
    with pytest.raises(ArtefactError, match=r"no report here; run the workflow first; .*report_partial/report\.html"):
        last_report(changed, DATASET)


@pytest.mark.usefixtures("project")
def test_the_verdict_counts_items_and_names_the_most_frequent_reason() -> None:
    config = _config()
    layout, stages = Layout(config), Stages(config, Fingerprints(LOCK))
    path = Path(layout.evaluators(DATASET, "sim-b"))
    frame = pl.read_parquet(path)
    two = sorted(set(frame["item_id"]))[:2]
    reason = pl.format("positive: codes.jsonl has no codes for speaker/{}", pl.int_range(pl.len()))
    broken = pl.col("item_id").is_in(two)
    frame = frame.with_columns(
        verdict=pl.when(~broken).then("verdict"),
        status=pl.when(broken).then(pl.lit("failed")).otherwise("status"),
        reason=pl.when(broken).then(reason),
    )
    write_table(path, frame.to_arrow().cast(EVALUATORS.arrow), EVALUATORS, stages.evaluators("sim-b"))
    report(config, dataset=DATASET, identity=stages.report(DATASET), threads=1)
    results = json.loads((Path(layout.report(DATASET)) / "results.json").read_text())
    n_rows = frame.filter(broken).height
    with pytest.raises(SpokenevalError) as caught:
        verdict(config, dataset=DATASET, threads=1)
    said = str(caught.value)
    assert said.startswith(
        f"{DATASET}: {results['n_failed_items']} of 6 items failed ({results['n_failed_rows']} rows)"
    )
    assert results["n_failed_items"] >= 2
    assert f'most frequent: "positive: codes.jsonl has no codes for speaker/#" ({n_rows} rows)' in said
    assert said.endswith(f"The report is complete without them: results/{DATASET}/report/report.html")


@pytest.mark.usefixtures("project")
def test_the_configured_way_of_choosing_a_judge_reaches_the_report() -> None:
    assert report_inputs(_config(), DATASET).settings.judge_choice == "cross_fitted"
    assert report_inputs(_config(report__judge_choice="paper"), DATASET).settings.judge_choice == "paper"
