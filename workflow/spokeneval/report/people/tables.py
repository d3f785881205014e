"""Everything that a report says of people, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.schemas import MOS, SYSTEM
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.judges import chosen_judges
from spokeneval.report.people.against import Against, against
from spokeneval.report.people.best_of_many import Chance, Tried, against_chance, tried
from spokeneval.report.people.choosing import choice_rows
from spokeneval.report.people.differences import difference_rows
from spokeneval.report.people.item_level import item_rows
from spokeneval.report.people.items_mos import items_mos_table
from spokeneval.report.people.judge_against import judge_rows
from spokeneval.report.people.levels import level_rows
from spokeneval.report.people.metrics import RANKING_JUDGE, items_of, judge_evaluators, likelihood_evaluators
from spokeneval.report.people.points import point_rows
from spokeneval.report.people.votes import Question, Study, questions, read_studies
from spokeneval.report.schemas_people import (
    DISAGREEMENTS,
    EVALUATOR,
    EVALUATOR_CHOICE,
    EVALUATOR_DIFFERENCES,
    JUDGE_PEOPLE,
    PEOPLE,
    PEOPLE_LISTENERS,
    PEOPLE_MOS,
    PEOPLE_POINTS,
    PEOPLE_SCREENING,
)
from spokeneval.table_schema import TableSchema

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PeopleTables:
    """Every table about people, in the schemas of `report.schemas_people`; empty where there is no study."""

    questions: list[Question]
    mos: pl.DataFrame
    listeners: pl.DataFrame
    screening: pl.DataFrame
    people: pl.DataFrame
    differences: pl.DataFrame
    choice: pl.DataFrame
    points: pl.DataFrame
    judges: pl.DataFrame
    disagreements: pl.DataFrame
    items: pl.DataFrame

    @property
    def test_ids(self) -> list[str]:
        """In the order of the studies."""
        return self.screening["test_id"].unique(maintain_order=True).to_list()

    def __bool__(self) -> bool:
        return not self.mos.is_empty()

    def named(self) -> dict[str, tuple[pl.DataFrame, TableSchema]]:
        """File name in tables/ -> table and schema; nothing where there is no study."""
        if not self:
            return {}
        return {
            "people": (self.people, PEOPLE),
            "people_mos": (self.mos, PEOPLE_MOS),
            "people_listeners": (self.listeners, PEOPLE_LISTENERS),
            "people_screening": (self.screening, PEOPLE_SCREENING),
            "people_differences": (self.differences, EVALUATOR_DIFFERENCES),
            "people_choice": (self.choice, EVALUATOR_CHOICE),
            "people_points": (self.points, PEOPLE_POINTS),
            "people_judges": (self.judges, JUDGE_PEOPLE),
            "people_disagreements": (self.disagreements, DISAGREEMENTS),
        }

    def results(self) -> dict[str, Any]:
        """What results.json holds of people."""
        primary = self.people.filter("primary") if self else self.people
        return {
            "people": primary.to_dicts(),
            "people_mos": self.mos.to_dicts(),
            "people_listeners": self.listeners.to_dicts(),
            "people_differences": self.differences.to_dicts(),
            "people_choice": self.choice.to_dicts(),
        }


def people_tables(
    inputs: ReportInputs,
    pairs: pl.DataFrame,
    scores: pl.DataFrame,
    heard: pl.DataFrame,
    model_judging: pl.DataFrame,
    judges: pl.DataFrame,
) -> PeopleTables:
    """All tables of all studies.

    scores: `accuracy.read_scores`; heard: `heard.heard_rows`. Raises ConfigError where two studies have one test_id.
    """
    studies = read_studies(inputs.studies)
    _one_test_each(studies)
    asked = questions(inputs, pairs, studies)
    found = _Rows()
    answerable = [_Held(question) for question in asked if question.systems]
    models = sorted({name for held in answerable for name in held.question.systems})
    if models:
        items = items_of(pairs)
        ceilings = _ceilings(model_judging, judges)
        evaluators = chain(
            likelihood_evaluators(inputs, items, scores, models),
            judge_evaluators(inputs, items, heard, model_judging, judges, models),
        )
        # one evaluator at a time: the matrices of all windows and codebooks would not fit
        for evaluator in evaluators:
            for held in answerable:
                held.take(against(inputs, items, held.question, evaluator, models, ceilings), found)
    for held in answerable:
        held.finish(_order(inputs), found)
    return PeopleTables(
        asked,
        _mos(inputs, studies),
        _concat([study.agreement for study in studies], PEOPLE_LISTENERS),
        _concat([study.screening for study in studies], PEOPLE_SCREENING),
        _sorted(found.people, PEOPLE),
        _frame(found.differences, EVALUATOR_DIFFERENCES),
        _frame(found.choice, EVALUATOR_CHOICE),
        _sorted(found.points, PEOPLE_POINTS),
        _sorted(found.judges, JUDGE_PEOPLE),
        _sorted(found.disagreements, DISAGREEMENTS),
        items_mos_table(studies),
    )


class _Rows:
    """Rows of the tables, as they are found."""

    def __init__(self) -> None:
        self.people: list[Row] = []
        self.differences: list[Row] = []
        self.choice: list[Row] = []
        self.points: list[Row] = []
        self.judges: list[Row] = []
        self.disagreements: list[Row] = []


class _Held:
    """What is held against one question."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._rows: list[Row] = []
        self._family: list[Against] = []
        self._tried: list[Tried] = []
        self._any: Against | None = None

    def take(self, pair: Against, found: _Rows) -> None:
        if not len(pair.tasks):
            return
        self._rows += [*level_rows(pair), *item_rows(pair)]
        self._tried.append(tried(pair))
        self._any = pair
        if pair.evaluator.primary:
            self._family.append(pair)
        if pair.evaluator.kind == "judge" and pair.evaluator.value == "margin":
            rows, worst = judge_rows(pair)
            found.judges += rows
            found.disagreements += worst

    def finish(self, order: dict[str, int], found: _Rows) -> None:
        """What needs all evaluators."""
        chance = {} if self._any is None else against_chance(self._any, self._tried)
        found.people += [_with_chance(row, chance) for row in self._rows]
        family = sorted(self._family, key=lambda pair: order[pair.evaluator.cell["evaluator"]])
        found.differences += difference_rows(family)
        if self._any is not None:
            found.choice += choice_rows(self._any.inputs, self.question, self._tried)
        found.points += [row for pair in family for row in point_rows(pair)]


def _one_test_each(studies: list[Study]) -> None:
    seen: dict[str, str] = {}
    for study in studies:
        for test_id in study.ratings["test_id"].unique().to_list():
            if test_id in seen:
                raise ConfigError(
                    f"report: the studies '{seen[test_id]}' and '{study.name}' both say test_id '{test_id}'; "
                    "expected a test_id of its own for each"
                )
            seen[test_id] = study.name


def _order(inputs: ReportInputs) -> dict[str, int]:
    """Place of a primary evaluator: as the settings name them, the judge last."""
    return {name: k for k, name in enumerate((*inputs.settings.primary_evaluators, RANKING_JUDGE))}


def _ceilings(model_judging: pl.DataFrame, judges: pl.DataFrame) -> dict[tuple[str, str], float]:
    """(task, model) -> the share that the task's judge gives the right thing through the model's codec."""
    chosen = chosen_judges(judges)
    of_models = model_judging.filter((pl.col("source") == "model") & pl.col("ceiling").is_not_null())
    return {
        (task, name): ceiling
        for task, judge, name, ceiling in of_models.select("task", "judge", "name", "ceiling").iter_rows()
        if chosen.get(task) == judge
    }


def _with_chance(row: Row, chance: dict[tuple[str, tuple[Any, ...]], Chance]) -> Row:
    found = chance.get((row["level"], tuple(row[column] for column in EVALUATOR)))
    return row if found is None else row | found._asdict()


def _mos(inputs: ReportInputs, studies: list[Study]) -> pl.DataFrame:
    mos = _concat([study.mos for study in studies], MOS)
    ours = pl.col("system_id").is_in(list(inputs.models)) & (pl.col("role") == SYSTEM) & (pl.col("n_votes") > 0)
    return mos.with_columns(correlated=ours)


def _concat(frames: list[pl.DataFrame], schema: TableSchema) -> pl.DataFrame:
    names = schema.arrow.names
    return pl.concat([pl.DataFrame(pl.from_arrow(schema.empty())), *(frame.select(names) for frame in frames)])


def _frame(rows: list[Row], schema: TableSchema) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(schema.from_rows(rows)))


def _sorted(rows: list[Row], schema: TableSchema) -> pl.DataFrame:
    return _frame(rows, schema).sort(schema.key, nulls_last=False)
