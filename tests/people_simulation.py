"""Simulated studies of the models of a simulated report. No person voted; every study says `simulated`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ratings_simulation import STUDY, simulated_votes, write_study
from report_simulation import judging_row, read_pairs, write_judging

from spokeneval.ratings.run import make_ratings
from spokeneval.ratings.schemas import RATINGS, RATINGS_SCHEMAS
from spokeneval.report.accuracy import read_scores
from spokeneval.report.content import split_judging
from spokeneval.report.heard import heard_rows, model_judging_table
from spokeneval.report.inputs import JudgeEntry, ReportInputs, StudyTables
from spokeneval.report.items import read_judging
from spokeneval.report.judges import Panel
from spokeneval.report.people.tables import PeopleTables, people_tables
from spokeneval.report.ranking import with_ranking
from spokeneval.tables import read_table, write_table

COLUMNS = {**STUDY["columns"], "task": "task", "dimension": "dimension"}


def votes_on(
    inputs: ReportInputs,
    quality: dict[str, float],
    rng: np.random.Generator,
    *,
    tasks: tuple[str, ...] = ("speaker", "background", "room"),
    n_items: int | None = None,
    votes_per_item: int = 5,
    n_listeners: int = 20,
    dimension: str = "naturalness",
    rounded: bool = True,
) -> pl.DataFrame:
    """Votes on the first n_items of each task, in the columns of COLUMNS. quality: system -> expected score."""
    pairs = read_pairs(inputs).filter(pl.col("task").is_in(tasks) & (pl.col("index") < (n_items or 10**9)))
    names = list(quality)
    votes = simulated_votes(rng, np.array(list(quality.values())), len(pairs), n_listeners, votes_per_item, rounded)
    number = pl.col("item").str.slice(1).cast(pl.Int64)
    return votes.with_columns(
        pl.col("system").str.slice(1).cast(pl.Int64).replace_strict(range(len(names)), names, return_dtype=pl.String),
        number.replace_strict(range(len(pairs)), pairs["task"].to_list(), return_dtype=pl.String).alias("task"),
        number.replace_strict(range(len(pairs)), pairs["item_id"].to_list(), return_dtype=pl.String).alias("item"),
        pl.lit(dimension).alias("dimension"),
    )


def study_tables(folder: Path, votes: pl.DataFrame, **changes: Any) -> StudyTables:
    """The tables of a study with these votes; `changes` replace keys of its study.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    study = {"columns": COLUMNS, "constants": {}, **changes}
    make_ratings(write_study(folder, votes, **study), folder / "tables")
    return StudyTables(
        *(folder / "tables" / f"{name}.parquet" for name in ("ratings", "mos", "agreement", "screening"))
    )


def with_study(
    inputs: ReportInputs, folder: Path, votes: pl.DataFrame, name: str = "t", **changes: Any
) -> ReportInputs:
    """A report that has one more study, of test_id `name`."""
    files = study_tables(folder / name, votes, test_id=name, **changes)
    return replace(inputs, studies={**inputs.studies, name: files})


def as_own(inputs: ReportInputs, name: str = "t") -> ReportInputs:
    """The study as if people had heard this project's audio (which needs a manifest otherwise)."""
    files = inputs.studies[name]
    for kind in ("ratings", "mos"):
        path, schema = getattr(files, kind), RATINGS_SCHEMAS[kind]
        write_table(path, read_table(path, schema).with_columns(audio=pl.lit("own")), schema, "simulated")
    return inputs


def planted(inputs: ReportInputs, low: float = 2.2, high: float = 3.8) -> dict[str, float]:
    """Expected scores that rise with the planted skill of the models that are heard."""
    names = [name for name in inputs.models if name in inputs.continuations]
    return dict(zip(names, np.linspace(low, high, len(names)).tolist(), strict=True))


def people_of(inputs: ReportInputs) -> PeopleTables:
    """The tables about people alone, as a report makes them."""
    pairs, scores = read_pairs(inputs), read_scores(inputs)
    judging, _ = split_judging(inputs, read_judging(inputs))
    panel = Panel(inputs, pairs, judging)
    heard = heard_rows(inputs, panel.with_combined(judging))
    model_judging = with_ranking(inputs, pairs, heard, model_judging_table(inputs, pairs, heard), panel)
    return people_tables(inputs, pairs, scores, heard, model_judging, panel.table())


def one(table: pl.DataFrame, **values: Any) -> dict[str, Any]:
    """The one row with these values."""
    rows = table.filter(*(pl.col(name) == value for name, value in values.items())).to_dicts()
    assert len(rows) == 1, f"{len(rows)} rows with {values}"
    return rows[0]


def with_naturalness(
    inputs: ReportInputs, folder: Path, scores: dict[tuple[str, str], float], name: str = "nice", **entry: Any
) -> ReportInputs:
    """One more naturalness judge. scores: (model, item_id) -> its score."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = read_pairs(inputs).to_dicts()
    judging = dict(inputs.judging)
    for model in sorted({model for model, _ in scores}):
        rows = [
            judging_row(item, "model", None, score=scores[model, item["item_id"]])
            for item in pairs
            if (model, item["item_id"]) in scores
        ]
        judging[model, name] = write_judging(folder / f"{name}_{model}.parquet", rows)
    judge = JudgeEntry(name, "simulated", "naturalness", answer="naturalness", **entry)
    return replace(inputs, judging=judging, judges={**inputs.judges, name: judge})


def found_items(inputs: ReportInputs) -> dict[tuple[str, str], float]:
    """(system, item_id) -> MOS, by polars from the votes."""
    votes = read_table(inputs.studies["t"].ratings, RATINGS)
    means = votes.group_by("system_id", "item_id").agg(pl.col("score").mean())
    return {(system, item): score for system, item, score in means.iter_rows()}
