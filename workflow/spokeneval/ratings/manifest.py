"""Votes get what they are about from the manifest of the exported test that they were given in.

Conventions
-----------
- A vote names its audio by blinded name (folders and the ending of an audio file are not part of it), or by system,
  task, item and sample. All that the manifest says of the audio is the manifest's, its role too.
- A vote on audio that the manifest does not know is refused, and so is one that says of it what the manifest does not.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.listening_test.schemas import MANIFEST
from spokeneval.ratings.problems import Problems
from spokeneval.ratings.schemas import HEARD, SYSTEM
from spokeneval.ratings.study import Study
from spokeneval.registry import closest_match
from spokeneval.tables import read_table

TOLD = (*HEARD, "role")
"""What the manifest says of an audio beside its blinded name."""
_NAME = r"^(?:.*[/\\])?(.*?)(?i:\.(?:wav|flac|ogg|opus|mp3|m4a))?$"
_KEY = "_key"


def read_manifest(study: Study) -> pl.DataFrame:
    """The audio of the study's test, a row each, in the schema MANIFEST. Raises ConfigError where there is none."""
    assert study.manifest is not None
    path = Path(study.manifest)
    if not path.exists():
        raise ConfigError(f"{path}: no such file; expected the manifest of the exported test '{study.test_id}'")
    manifest = read_table(path, MANIFEST)
    tests = manifest["test_id"].unique().to_list()
    if study.test_id not in tests:
        raise ConfigError(
            f"{path}: has no test '{study.test_id}', as the study is called; {closest_match(study.test_id, tests)}"
        )
    return manifest.filter(pl.col("test_id") == study.test_id)


def rated_systems(study: Study) -> list[str]:
    """Systems under test of the study's manifest, under the names of models."""
    systems = read_manifest(study).filter(pl.col("role") == SYSTEM)["system_id"].unique().replace(study.models)
    return systems.sort().to_list()


def joined(votes: pl.DataFrame, manifest: pl.DataFrame, study: Study, problems: Problems) -> pl.DataFrame:
    """Votes that the manifest knows, with blinded_name, system_id, task, item_id, sample_index and role from it.

    votes: texts, as `ratings.source` reads them. The others are added to `problems`.
    """
    by_name = "blinded_name" in votes.columns
    known = manifest.select("blinded_name", *(pl.col(name).cast(pl.String) for name in TOLD))
    if by_name:
        votes = votes.with_columns(pl.col("blinded_name").cast(pl.String).str.extract(_NAME, 1).alias(_KEY))
        known = known.with_columns(pl.col("blinded_name").alias(_KEY))
        named = pl.format("the manifest knows no audio '{}'", "blinded_name")
    else:
        votes = votes.with_columns(
            pl.struct(
                *(pl.col(name).cast(pl.String) for name in HEARD[:3]),
                _sample(votes).alias("sample_index"),
            ).alias(_KEY)
        )
        known = known.with_columns(pl.struct(HEARD).alias(_KEY))
        if (twice := known.filter(known[_KEY].is_duplicated()).sort("blinded_name")).height:
            first, second = twice.filter(pl.col(_KEY) == twice[_KEY][0])["blinded_name"].head(2)
            same = f"'{first}' and '{second}' are the same sample of a system"
            raise ConfigError(f"{study.manifest}: {same}; votes must name the audio by blinded_name")
        parts = [pl.col(_KEY).struct.field(name) for name in HEARD]
        named = pl.format("the manifest knows no audio of system '{}', task '{}', item '{}', sample {}", *parts)
    given = [name for name in TOLD if name in votes.columns]
    absent = pl.any_horizontal(pl.col(name).is_null() for name in (("blinded_name",) if by_name else HEARD[:3]))
    shown = pl.lit(f"{'blinded_name' if by_name else 'system_id, task or item_id'} is empty")
    problems.add("missing fields", votes, absent, shown)
    of_manifest = {name: f"_{name}" for name in ("blinded_name", *TOLD)}
    found = votes.filter(~absent).join(
        known.rename(of_manifest).with_columns(pl.lit(True).alias("_known")), on=_KEY, how="left", maintain_order="left"
    )
    problems.add("votes on audio that the manifest does not know", found, pl.col("_known").is_null(), named)
    found = found.filter(pl.col("_known"))
    for name in given:
        said = _sample(found) if name == "sample_index" else pl.col(name).cast(pl.String)
        shown = pl.format("{} is '{}'; the manifest says '{}' of '{}'", pl.lit(name), said, f"_{name}", "_blinded_name")
        problems.add("votes that contradict the manifest", found, said != pl.col(f"_{name}"), shown)
    kept = found.drop(_KEY, "_known", *given, *(["blinded_name"] if by_name else []))
    return kept.rename({new: old for old, new in of_manifest.items()})


def _sample(votes: pl.DataFrame) -> pl.Expr:
    """sample_index as the manifest writes it: '0' where nothing is said; what is no number stays as it is."""
    if "sample_index" not in votes.columns:
        return pl.lit("0")
    text = pl.col("sample_index").cast(pl.String)
    number = text.cast(pl.Float64, strict=False)
    whole = number.is_not_null() & number.is_between(0, 32767) & (number == number.floor())
    plain = pl.when(whole).then(number).cast(pl.Int64).cast(pl.String)
    return pl.when(text.is_null()).then(pl.lit("0")).when(whole).then(plain).otherwise(text)
