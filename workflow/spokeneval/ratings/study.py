"""study.yaml: what the votes of a listening test are, which columns mean what, and which votes are screened out."""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import polars as pl
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from spokeneval.config.block import Block
from spokeneval.config.load import problem_lines
from spokeneval.errors import ConfigError
from spokeneval.ratings.formats import FORMATS
from spokeneval.ratings.schemas import ANCHOR, HUMAN

Text = Literal["dimension", "system_id", "task", "item_id", "sample_index", "blinded_name", "role"]
"""Fields that a constant or a part of a name may give; listeners, scores and times are columns."""
Field_ = Literal[Text, "listener_id", "score", "seconds", "milliseconds", "comment", "test_id"]
FIELDS: tuple[Field_, ...] = get_args(Field_)
REQUIRED: tuple[Field_, ...] = ("dimension", "listener_id", "system_id", "task", "item_id", "score")
AUDIO: tuple[Field_, ...] = ("system_id", "task", "item_id")
"""What names an audio where no blinded name does."""
FormatName = Literal[
    "table",
    "spokeneval",
    "webmushra",
    "beaqlejs",
    "reseval",
    "p808_answers",
    "p808_workers",
    "p808_clips",
    "sheet",
    "somos",
    "vmc24",
]


class Scale(Block):
    """The scores that a listener could give."""

    low: float = Field(description="lowest score")
    high: float = Field(description="highest score")
    step: float | None = Field(1.0, gt=0, description="scores are low, low + step, ... high; null: any number between")

    @model_validator(mode="after")
    def _ordered(self) -> Scale:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; expected low below high")
        return self

    def in_words(self) -> str:
        if self.step is None:
            return f"a number from {self.low:g} to {self.high:g}"
        return f"{self.low:g}, {self.low + self.step:g} ... {self.high:g}"


class Names(Block):
    """Fields that are parts of a file name."""

    column: str = Field(description="column that holds the name")
    pattern: str = Field(description="regular expression of the whole name, with named groups: (?P<group>...)")
    fields: dict[Text, str] = Field(min_length=1, description="field -> text with {group}s, e.g. '{suite}_{method}'")

    @model_validator(mode="after")
    def _groups_exist(self) -> Names:
        try:
            found = pl.Series([""]).str.extract_groups(self.whole)
        except pl.exceptions.PolarsError as error:
            told = " ".join(str(error).split())
            raise ValueError(f"pattern: not a regular expression as Rust's regex reads it ({told[:200]})") from None
        groups = found.struct.fields if isinstance(found.dtype, pl.Struct) else []
        for field, text in self.fields.items():
            if unknown := [group for _, group in parts(text) if group is not None and group not in groups]:
                named = ", ".join(groups) or "none"
                raise ValueError(
                    f"fields.{field}: names the group '{unknown[0]}', which pattern has not; it has {named}"
                )
        return self

    @property
    def whole(self) -> str:
        return f"^(?:{self.pattern})$"


class Roles(Block):
    """Systems that are no systems under test. They are averaged and shown, and never correlated."""

    anchor: tuple[str, ...] = Field((), description="hidden references, high or low (true or mismatched continuations)")
    human: tuple[str, ...] = Field((), description="recordings of people")

    @model_validator(mode="after")
    def _one_role_each(self) -> Roles:
        if both := sorted(set(self.anchor) & set(self.human)):
            raise ValueError(f"'{both[0]}' is anchor and human; give it one role")
        return self


class ConstantAnswers(Block):
    """A listener who gives one and the same score in all votes of a dimension."""

    min_votes: int = Field(10, ge=2, description="fewer votes are not judged")


class TooFast(Block):
    """Votes given before the audio can have been heard; needs a column of seconds or milliseconds."""

    min_seconds: float = Field(gt=0, description="votes that took less are excluded")
    max_share: float | None = Field(
        None, ge=0, lt=1, description="listeners with a larger share of such votes in a dimension are excluded whole"
    )


class AnchorBound(Block):
    """Anchors that one can tell by listening."""

    systems: tuple[str, ...] = Field(min_length=1, description="their system_id; of role anchor or human")
    mean: float = Field(description="bound of a listener's mean over them")


class AnchorsFailed(Block):
    """Listeners who do not hear the anchors of a dimension; those who heard none are counted and kept."""

    top: AnchorBound | None = Field(None, description="fails where the listener's mean is below `mean`")
    bottom: AnchorBound | None = Field(None, description="fails where the listener's mean is above `mean`")
    min_votes: int = Field(1, ge=1, description="votes on these anchors below which a listener is not judged")

    @model_validator(mode="after")
    def _some(self) -> AnchorsFailed:
        if self.top is None and self.bottom is None:
            raise ValueError("needs top, bottom or both")
        return self


class TooFewVotes(Block):
    """Listeners with few votes in a dimension."""

    min_votes: int = Field(ge=2, description="listeners with fewer are excluded")


class Screening(Block):
    """Rules that take votes out of all means. Each is off where it is absent or null."""

    constant_answers: ConstantAnswers | None = Field(None, description="one score throughout")
    too_fast: TooFast | None = Field(None, description="votes faster than listening")
    anchors_failed: AnchorsFailed | None = Field(None, description="anchors not heard")
    too_few_votes: TooFewVotes | None = Field(None, description="too few votes to know a listener by")


class Study(Block):
    """One listening test. Paths are relative to the file itself."""

    test_id: str = Field(min_length=1, description="name of the test")
    ratings: str = Field(description="file of answers; a folder or a pattern (`answers/*.csv`): all its files")
    format: FormatName = Field(
        "table",
        description="`table`: CSV or parquet, a vote a row, columns as below; or the tool whose files these are",
    )
    separator: Annotated[str, Field(min_length=1, max_length=1)] = Field(",", description="between fields of a CSV")
    manifest: str | None = Field(
        None, description="manifest (parquet) of the exported test; it then says what each vote is about"
    )
    audio: Literal["external", "own"] = Field(
        "external", description="'own', where there is a manifest: this project's audio was heard; else 'external'"
    )
    means_only: bool = Field(False, description="true where scores are means over listeners who are not known")
    simulated: bool = Field(False, description="true where the listeners are a model; marks every table")
    scale: Scale = Field(description="the scores that could be given")
    scales: dict[str, Scale] = Field(default_factory=dict, description="dimension -> its scale, where it has another")
    columns: dict[Field_, str] = Field(default_factory=dict, description="field -> column of the file")
    wide: dict[str, str] = Field(
        default_factory=dict, description="dimension -> column of its scores, where a row holds several"
    )
    constants: dict[Text, str] = Field(default_factory=dict, description="field -> one value for all votes")
    names: Names | None = Field(None, description="fields that are parts of a file name")
    ignore_columns: tuple[str, ...] = Field((), description="columns that are known and not used")
    systems: tuple[str, ...] | str | None = Field(
        None, description="all systems there are, or a text file with one a line; votes on others are refused"
    )
    items: tuple[str, ...] | str | None = Field(None, description="the same for item_id")
    models: dict[str, str] = Field(
        default_factory=dict, description="system_id -> model of config.yaml, where the model has another name"
    )
    roles: Roles = Field(default_factory=Roles, description="anchors and human recordings; the others are systems")
    screening: Screening = Field(default_factory=Screening, description="which votes are not averaged")
    seed: int = Field(0, description="of the random halves of listeners")

    @field_validator("constants", mode="before")
    @classmethod
    def _as_text(cls, values: object) -> object:
        """A constant such as `sample_index: 0` need not be quoted."""
        if not isinstance(values, dict):
            return values
        return {key: str(v) if isinstance(v, int) and not isinstance(v, bool) else v for key, v in values.items()}

    @model_validator(mode="before")
    @classmethod
    def _own_by_manifest(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("manifest") is not None and "audio" not in values:
            return {**values, "audio": "own"}
        return values

    @model_validator(mode="after")
    def _audio_is_known(self) -> Study:
        if self.audio == "own" and self.manifest is None:
            raise ValueError("audio: own needs `manifest`, so that votes on unknown audio are refused")
        if self.audio == "external" and self.manifest is not None:
            raise ValueError("audio: what a manifest knows is this project's; take `audio` away, or `manifest`")
        return self

    @model_validator(mode="after")
    def _one_origin_each(self) -> Study:
        told = [*self.columns, *self.constants, *({} if self.names is None else self.names.fields)]
        told += ["dimension", "score"] if self.wide else []
        for field in FIELDS:
            if told.count(field) > 1:
                raise ValueError(f"{field}: is given more than once among columns, constants, names and wide; keep one")
        if "seconds" in told and "milliseconds" in told:
            raise ValueError("columns: has seconds and milliseconds; keep one")
        origins = self.origins
        if self.means_only and "listener_id" in origins:
            raise ValueError("means_only: listeners are known here (listener_id); take one of the two away")
        named = self.manifest is not None and "blinded_name" in origins
        for field in (name for name in FIELDS if name in REQUIRED):
            free = (named and field in AUDIO) or (self.means_only and field == "listener_id")
            if field not in origins and not free:
                raise ValueError(f"{field}: nothing says where it comes from; {self._where_from(field)}")
        return self

    def _where_from(self, field: Field_) -> str:
        if field == "listener_id":
            return "name its column, or say `means_only: true` where there are only means"
        if field in AUDIO and self.manifest is not None:
            return "name blinded_name in columns, constants or names, or all of system_id, task and item_id"
        return "name it in columns, constants or names"

    @model_validator(mode="after")
    def _rules_can_be_applied(self) -> Study:
        if self.role_given and (self.roles.anchor or self.roles.human):
            by = "the manifest" if self.manifest is not None else "a column, constant or name"
            raise ValueError(f"roles: {by} gives the role already; keep one of the two")
        if self.screening.too_fast is not None and not self.timed:
            raise ValueError("screening.too_fast: needs columns.seconds or columns.milliseconds")
        anchors = self.screening.anchors_failed
        of_role = {*self.roles.anchor, *self.roles.human}
        for bound in () if anchors is None or self.role_given else (anchors.top, anchors.bottom):
            if bound is not None and (other := [name for name in bound.systems if name not in of_role]):
                raise ValueError(
                    f"screening.anchors_failed: '{other[0]}' is a system under test; name it in roles.anchor or "
                    "roles.human, or take another"
                )
        single = self.screening.too_fast is not None and self.screening.too_fast.max_share is None
        asked = [
            rule for rule, settings in self.screening if settings is not None and not (single and rule == "too_fast")
        ]
        if asked and not self.knows_listeners:
            raise ValueError(f"screening.{asked[0]}: judges listeners, and these votes do not say who gave them")
        return self

    @model_validator(mode="after")
    def _renamed_once(self) -> Study:
        anchors = self.screening.anchors_failed
        bounds = () if anchors is None else (anchors.top, anchors.bottom)
        fixed = {*self.role_of(), *(name for bound in bounds if bound is not None for name in bound.systems)}
        for name, model in self.models.items():
            if name in fixed:
                raise ValueError(f"models.{name}: an anchor or a human recording is no model")
            if list(self.models.values()).count(model) > 1:
                raise ValueError(f"models: '{model}' is given to more than one system")
        return self

    @property
    def columns_read(self) -> dict[Field_, str]:
        """Field -> column: what the study says, and for the rest what the format does."""
        form = FORMATS.get(self.format)
        if form is None:
            return dict(self.columns)
        other: set[str] = {*self.constants, *({} if self.names is None else self.names.fields)}
        other |= {"dimension", "score"} if self.wide_read else set()
        other |= {"seconds", "milliseconds"} if {"seconds", "milliseconds"} & set(self.columns) else set()
        other |= {"listener_id"} if self.means_only else set()
        told = dict(form.columns)
        if self.manifest is None:
            told |= form.audio
        elif form.heard_as is not None and not set(AUDIO) <= {*self.columns, *other}:
            told |= {"blinded_name": form.heard_as}
        defaults = {field: told[field] for field in FIELDS if field in told and field not in other}
        return defaults | dict(self.columns)

    @property
    def wide_read(self) -> dict[str, str]:
        """Dimension -> column of its scores; empty where a row is a vote."""
        form = FORMATS.get(self.format)
        return dict(self.wide or ({} if form is None or "score" in self.columns else form.wide))

    @property
    def origins(self) -> set[str]:
        """Fields that something gives."""
        named = {} if self.names is None else self.names.fields
        wide = ("dimension", "score") if self.wide_read else ()
        return {*self.columns_read, *self.constants, *named, *wide}

    @property
    def knows_listeners(self) -> bool:
        return not self.means_only and (self.format not in FORMATS or FORMATS[self.format].knows_listeners)

    @property
    def role_given(self) -> bool:
        return self.manifest is not None or "role" in self.origins

    @property
    def timed(self) -> bool:
        return bool({"seconds", "milliseconds"} & set(self.columns_read))

    def scale_of(self, dimension: str) -> Scale:
        return self.scales.get(dimension, self.scale)

    def role_of(self) -> dict[str, str]:
        """system_id -> role, of those that are named."""
        return dict.fromkeys(self.roles.anchor, ANCHOR) | dict.fromkeys(self.roles.human, HUMAN)


def read_study(path: Path) -> Study:
    """Read and check a study. Paths in it are then relative to where the process runs.

    Raises ConfigError, a line for each problem.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read ({told}); expected a study as YAML") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level, found {type(values).__name__}")
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in problem_lines(error, "", Study)[:12])) from error
    return study.model_copy(
        update={
            "ratings": str(path.parent / study.ratings),
            "manifest": None if study.manifest is None else str(path.parent / study.manifest),
            "systems": _listed(study.systems, path, "systems"),
            "items": _listed(study.items, path, "items"),
        }
    )


def _listed(names: Iterable[str] | str | None, path: Path, key: str) -> tuple[str, ...] | None:
    """The names themselves, where a text file holds them."""
    if names is None or not isinstance(names, str):
        return None if names is None else tuple(names)
    file = path.parent / names
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: {key}: {file} cannot be read ({told}); expected a name a line") from error
    return tuple(line.strip() for line in lines if line.strip())


def parts(text: str) -> list[tuple[str, str | None]]:
    """'{suite}_{method}' -> [('', 'suite'), ('_', 'method')]. Raises ValueError where braces do not match."""
    return [(literal, group) for literal, group, _, _ in string.Formatter().parse(text)]
