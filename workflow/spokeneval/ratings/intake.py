"""From the texts of a source to votes, with everything that is wrong with them listed by row.

Conventions
-----------
- A vote is refused, and with it the whole file, where a field is missing, a number is none, a score is off the scale,
  the listener has voted on the same audio in the same dimension before, a system or item is not among those that the
  study lists, or one blinded name stands for two audios. Nothing is dropped or repaired.
- `sample_index` is 0 and `role` 'system' where the study says nothing about them.
- Where there is a manifest, what a vote is about comes from it (`ratings.manifest`).
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.answers import answer_files
from spokeneval.ratings.manifest import joined, read_manifest
from spokeneval.ratings.problems import FILE, PLACE, ROW, Problems
from spokeneval.ratings.schemas import HEARD, RATINGS, ROLES, SYSTEM, VOTE
from spokeneval.ratings.source import read_source
from spokeneval.ratings.study import REQUIRED, Study
from spokeneval.registry import closest_match

_ON_STEP = 1e-6
"""How far from a step, in steps, a score may be for rounding."""


class Votes(NamedTuple):
    table: pl.DataFrame
    """the columns of RATINGS, sorted by its key; nothing is excluded yet"""
    n_padded: int
    """identifiers with blanks at their ends"""
    left_out: dict[str, int]
    """what is no vote, in the plural -> how many there were"""
    manifest: pl.DataFrame | None
    """what the test was exported with, systems under the names of models"""


def read_votes(study: Study) -> Votes:
    """All votes of a study. Raises ConfigError that lists what is wrong, by file and row."""
    manifest = None if study.manifest is None else read_manifest(study)
    problems = Problems(study.ratings, answer_files(study))
    source = read_source(study, problems)
    votes = source.votes if manifest is None else joined(source.votes, manifest, study, problems)
    votes = _typed(votes, study, problems)
    _check_scores(votes, study, problems)
    _check_known(votes, study, problems)
    _check_roles(votes, problems)
    _check_names(votes, problems)
    _check_once(votes, study, problems)
    problems.refuse()
    _check_mentioned(votes, study)
    votes = _renamed(votes, study)
    manifest = None if manifest is None else _renamed(manifest, study)
    return Votes(votes.select(c.name for c in RATINGS.columns).sort(VOTE), source.n_padded, source.left_out, manifest)


def _typed(votes: pl.DataFrame, study: Study, problems: Problems) -> pl.DataFrame:
    for name in ("sample_index", "role", "blinded_name", "seconds", "listener_id", "comment"):
        if name not in votes.columns and not (name == "seconds" and study.timed):
            votes = votes.with_columns(pl.lit({"sample_index": "0", "role": SYSTEM}.get(name), pl.String).alias(name))
    given = [name for name in REQUIRED if name != "listener_id" or not study.means_only]
    given += ["sample_index", "role"]
    given += [name for name in ("seconds", "milliseconds") if name in study.columns]
    given += ["blinded_name"] if "blinded_name" in study.columns_read else []
    for name in given:
        problems.add("missing fields", votes, pl.col(name).is_null(), pl.lit(f"{name} is empty"))
    if "milliseconds" in votes.columns:
        votes = _number(votes, "milliseconds", problems).with_columns(seconds=pl.col("milliseconds") / 1000)
    else:
        votes = _number(votes, "seconds", problems)
    votes = _number(_number(votes, "score", problems), "sample_index", problems)
    low = "milliseconds" if "milliseconds" in votes.columns else "seconds"
    problems.add("times below 0", votes, pl.col("seconds") < 0, pl.format("{} is {}; below 0", pl.lit(low), low))
    whole = pl.col("sample_index").is_between(0, 32767) & (pl.col("sample_index") == pl.col("sample_index").floor())
    shown = pl.format("sample_index is {}; expected a whole number from 0", "sample_index")
    problems.add("sample_index that are none", votes, ~whole, shown)
    votes = votes.with_columns(pl.when(whole).then("sample_index").cast(pl.Int16).alias("sample_index"))
    if not study.role_given and (roles := study.role_of()):
        votes = votes.with_columns(role=pl.col("system_id").cast(pl.String).replace_strict(roles, default=SYSTEM))
    texts = ("dimension", "listener_id", "system_id", "task", "item_id", "blinded_name", "role", "comment")
    return votes.with_columns(
        *(pl.col(name).cast(pl.String) for name in texts),
        pl.lit(study.test_id).alias("test_id"),
        pl.lit(study.audio).alias("audio"),
        pl.lit(study.simulated).alias("simulated"),
        pl.lit(None, pl.String).alias("excluded_reason"),
        pl.col(ROW).cast(pl.Int64),
    )


def _number(votes: pl.DataFrame, name: str, problems: Problems) -> pl.DataFrame:
    """A column as float64; what is no finite number is a problem, and null then."""
    value = pl.col(name).cast(pl.Float64, strict=False)
    finite = value.is_finite().fill_null(False)
    shown = pl.format("{} is '{}'; expected a number", pl.lit(name), pl.col(name))
    problems.add("fields that are no number", votes, pl.col(name).is_not_null() & ~finite, shown)
    return votes.with_columns(pl.when(finite).then(value).alias(name))


def _check_scores(votes: pl.DataFrame, study: Study, problems: Problems) -> None:
    for (dimension,), of_dimension in votes.group_by("dimension"):
        scale = study.scale_of(str(dimension))
        score = pl.col("score")
        on = score.is_between(scale.low, scale.high)
        if scale.step is not None and not study.means_only:
            steps = (score - scale.low) / scale.step
            on &= (steps - steps.round()).abs() <= _ON_STEP
        shown = pl.format("score is {}; expected {}", score, pl.lit(scale.in_words()))
        problems.add("scores off the scale", of_dimension, ~on, shown)
    if unused := sorted(set(study.scales) - set(votes["dimension"].unique())):
        raise ConfigError(
            f"{study.ratings}: has no vote of the dimension '{unused[0]}', for which `scales` has a scale"
        )


def _check_known(votes: pl.DataFrame, study: Study, problems: Problems) -> None:
    for field, known in (("system_id", study.systems), ("item_id", study.items)):
        if known is not None:
            unknown = ~pl.col(field).is_in(list(known))
            shown = pl.format("{} '{}' is not among the study's", pl.lit(field), field)
            problems.add(f"votes on an unknown {field}", votes, unknown, shown)


def _check_roles(votes: pl.DataFrame, problems: Problems) -> None:
    shown = pl.format("role is '{}'; expected {}", "role", pl.lit(", ".join(ROLES)))
    problems.add("unknown roles", votes, ~pl.col("role").is_in(ROLES), shown)
    several = votes.select("system_id", "role").unique().filter(pl.col("system_id").is_duplicated())["system_id"]
    if len(several):
        other = votes.filter(pl.col("system_id").is_in(several.unique().to_list())).sort(PLACE)
        first = pl.col("role").first().over("system_id")
        shown = pl.format("system '{}' is {} here and {} before; a system has one role", "system_id", "role", "_first")
        other = other.with_columns(_first=first)
        problems.add("roles that change", other, pl.col("role") != pl.col("_first"), shown)


def _check_names(votes: pl.DataFrame, problems: Problems) -> None:
    """One blinded name, one audio."""
    pairs = votes.select("blinded_name", *HEARD).drop_nulls("blinded_name").unique()
    several = pairs.filter(pl.col("blinded_name").is_duplicated())["blinded_name"].unique()
    if len(several):
        other = votes.filter(pl.col("blinded_name").is_in(several.to_list())).sort(PLACE)
        other = other.with_columns(_first=pl.struct(HEARD).first().over("blinded_name"))
        shown = pl.format("blinded name '{}' is {} here, and another audio before", "blinded_name", _audio())
        problems.add("blinded names of two audios", other, pl.struct(HEARD) != pl.col("_first"), shown)


def _check_once(votes: pl.DataFrame, study: Study, problems: Problems) -> None:
    """One vote a listener, dimension and audio; one mean where there are no listeners."""
    key = [name for name in VOTE if name != "listener_id" or not study.means_only]
    twice = votes.drop_nulls(key)
    twice = twice.filter(twice.select(key).is_duplicated())
    if twice.is_empty():
        return
    twice = twice.sort(PLACE).with_columns(_row=pl.col(ROW).first().over(key), _file=pl.col(FILE).first().over(key))
    elsewhere = pl.when(pl.col("_file") == pl.col(FILE)).then(pl.lit("")).otherwise(pl.format(" of {}", "_file"))
    place = pl.format("row {}{}", "_row", elsewhere)
    if study.means_only:
        shown = pl.format("{} has a score in {} already ({}); keep one", _audio(), place, "dimension")
    else:
        shown = pl.format(
            "listener '{}' has voted on {} in {} already ({}); keep one of the votes",
            "listener_id",
            _audio(),
            place,
            "dimension",
        )
    again = pl.struct(PLACE) != pl.struct(pl.col("_file").alias(FILE), pl.col("_row").alias(ROW))
    problems.add("duplicate votes", twice, again, shown)


def _audio() -> pl.Expr:
    return pl.format("system '{}', task '{}', item '{}', sample {}", *HEARD)


def _check_mentioned(votes: pl.DataFrame, study: Study) -> None:
    """A role or an anchor of a system that nobody heard is a misspelt name."""
    heard = dict(votes.select("system_id", "role").unique().iter_rows())
    named = [("roles", name) for name in study.role_of()]
    anchors = study.screening.anchors_failed
    for bound in () if anchors is None else (anchors.top, anchors.bottom):
        named += [] if bound is None else [("screening.anchors_failed", name) for name in bound.systems]
    for key, name in named:
        if name not in heard:
            raise ConfigError(f"{study.ratings}: has no vote on '{name}', which {key} of the study names")
        if key != "roles" and heard[name] == SYSTEM:
            raise ConfigError(f"{study.ratings}: '{name}' of {key} is a system under test; expected an anchor or human")


def _renamed(table: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Systems under the names of their models."""
    if not study.models:
        return table
    systems = set(table["system_id"].unique())
    for name, model in study.models.items():
        if name not in systems:
            raise ConfigError(
                f"{study.ratings}: has no vote on '{name}', which models of the study names; "
                f"{closest_match(name, systems)}"
            )
        if table.filter(pl.col("system_id") == name)["role"][0] != SYSTEM:
            raise ConfigError(f"{study.ratings}: '{name}' of models of the study is an anchor or human, and no model")
        if model in systems and model not in study.models:
            raise ConfigError(
                f"{study.ratings}: models of the study calls '{name}' '{model}', and so is another system called here"
            )
    return table.with_columns(pl.col("system_id").replace(study.models))
