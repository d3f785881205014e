"""A simulated report in which every text from data holds a script, led by the name of its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
from report_simulation import IDENTITY, simulate, with_published

from spokeneval import tables
from spokeneval.report.inputs import ReportInputs, Topline
from spokeneval.report.provenance import Origin, Provenance

HOSTILE = "<script>alert(1)</script>"
PLACES = (
    "attribute",
    "convention",
    "corpus",
    "data",
    "dataset",
    "example",
    "family",
    "judge",
    "label",
    "licence",
    "made with",
    "missing",
    "model",
    "reason",
    "said by",
    "source",
    "stage",
    "task",
    "tokenizer",
    "version",
    "vocoder",
    "weights",
)
"""Where text of the data, the configuration or of others comes into a page."""


def at(place: str) -> str:
    return f"{place} {HOSTILE}"


def hostile_inputs(folder: Path) -> ReportInputs:
    """Two tasks, three models, two of them heard; whatever is text is hostile."""
    task = at("task")
    inputs = simulate(folder / "in", n_models=3, n_items=12, prefix=at("example"), tasks=(task, "speaker"), hearing=5.0)
    _rewrite(inputs)
    judges = {name: at("judge") + name for name in inputs.judges}
    codec = f"{at('tokenizer')}-{at('vocoder')}"
    models = {name: at("model") + name[-1] for name in inputs.models}
    inputs = replace(
        inputs,
        dataset=at("dataset"),
        models={
            models[name]: replace(
                entry,
                name=models[name],
                family=at("family"),
                tokenizer=at("tokenizer"),
                vocoder=entry.vocoder and at("vocoder"),
                label=at("label"),
                conventions={"weights": at("weights"), at("convention"): "x"},
            )
            for name, entry in inputs.models.items()
        },
        judges={
            judges[name]: replace(entry, name=judges[name], attribute=at("attribute"))
            for name, entry in inputs.judges.items()
        },
        likelihood={models[name]: path for name, path in inputs.likelihood.items()},
        evaluators={models[name]: path for name, path in inputs.evaluators.items()},
        continuations={models[name]: path for name, path in inputs.continuations.items()},
        judging={(models[model], judges[judge]): path for (model, judge), path in inputs.judging.items()},
        qualification={judges[name]: path for name, path in inputs.qualification.items()},
        ceilings={codec: {judges[n]: path for found in inputs.ceilings.values() for n, path in found.items()}},
        timings=[replace(entry, stage=at("stage")) for entry in inputs.timings],
        missing=[at("missing")],
        human_topline={task: (Topline(91.2, at("human topline")),)},
        signature={"version": at("version"), "data": at("data")},
        provenance=Provenance(
            (Origin("model", at("model"), (at("corpus"),), said_by=at("said by"), licence=at("licence")),),
            {task: (at("corpus"), at("source"))},
            at("said by"),
            at("licence"),
            {"torch": at("version")},
            {"commit": at("made with")},
        ),
    )
    lines = [f"{at('published model')},{task},localized,200,62.5", f"m,{at('published task')},global,,55.0"]
    return replace(with_published(inputs, folder / "published.csv", lines), published_source=at("published source"))


def _rewrite(inputs: ReportInputs) -> None:
    """Labels of items, and reasons of rows that failed."""
    pairs = tables.read_table(inputs.pairs, tables.PAIRS)
    labels = [json.dumps({at("label"): f"{at('label')}{k % 2}"}) for k in range(len(pairs))]
    tables.write_table(inputs.pairs, pairs.with_columns(labels=pl.Series(labels)), tables.PAIRS, IDENTITY)
    for path in inputs.evaluators.values():
        extra = tables.read_metadata(path, tables.EVALUATORS).extra
        rows = tables.read_table(path, tables.EVALUATORS)
        failed = rows.with_columns(reason=pl.when(pl.col("reason").is_not_null()).then(pl.lit(at("reason"))))
        tables.write_table(path, failed, tables.EVALUATORS, IDENTITY, extra)
