"""`spokeneval ratings`: from study.yaml to the tables of a listening test."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import polars as pl

from spokeneval.fingerprint import sha256_file
from spokeneval.identity import code_digest, digest
from spokeneval.ratings.agreement import agreement_table
from spokeneval.ratings.answers import answer_files
from spokeneval.ratings.console import console_text, stale_lines
from spokeneval.ratings.intake import Votes, read_votes
from spokeneval.ratings.mos import mos_table
from spokeneval.ratings.schemas import AGREEMENT, MOS, RATINGS, SCREENING, SYSTEM
from spokeneval.ratings.screening import screen
from spokeneval.ratings.stale import Current, stale_audio
from spokeneval.ratings.study import Study, read_study
from spokeneval.tables import atomic_path, write_table

CODE = (
    "spokeneval.ratings.intake:read_votes",
    "spokeneval.ratings.stale:stale_audio",
    "spokeneval.ratings.screening:screen",
    "spokeneval.ratings.mos:mos_table",
    "spokeneval.ratings.agreement:agreement_table",
)


def make_ratings(
    study_file: Path,
    to: Path,
    ratings: Path | None = None,
    identity: str | None = None,
    current: Callable[[pl.DataFrame], Current] | None = None,
    models: Collection[str] | None = None,
) -> str:
    """Read, check and screen the votes of a study, write its tables into a folder, return them as text.

    ratings: the file of votes, where it is not the one that the study names; identity: of the stage, where a workflow
    knows it; current: what there is now of the audio of a manifest, where that is known; models: of the configuration,
    where there is one. Each table is written as parquet and CSV: ratings, mos, agreement, screening. Nothing is written
    where anything is wrong with the study or the votes.
    """
    study = read_study(study_file)
    if ratings is not None:
        study = study.model_copy(update={"ratings": str(ratings)})
    read = read_votes(study)
    stale = None if current is None or read.manifest is None else _stale(read, current(read.manifest))
    votes, screening = screen(read.table, study.screening, stale)
    mos = mos_table(votes, study)
    agreement = agreement_table(votes, study)
    if identity is None:
        identity = digest({"study": settings(study), "files": _digests(study), "code": code_digest(*CODE)})
    systems = votes.filter(pl.col("role") == SYSTEM)["system_id"].unique().sort().to_list()
    no_models = [] if models is None else [name for name in systems if name not in models]
    extra = {
        "study": settings(study),
        "n_padded": read.n_padded,
        "left_out": read.left_out,
        "stale": [] if stale is None else stale.to_dicts(),
        "no_models": no_models,
    }
    tables = ((votes, RATINGS), (mos, MOS), (agreement, AGREEMENT), (screening, SCREENING))
    for table, schema in tables:
        write_table(to / f"{schema.name}.parquet", table, schema, identity, extra, sort=schema is not SCREENING)
        with atomic_path(to / f"{schema.name}.csv") as temporary:
            table.write_csv(temporary)
    lines = [] if stale is None else stale_lines(stale)
    if no_models:
        lines.append(f"no model of the configuration, so shown and never correlated: {', '.join(no_models)}")
    if read.n_padded:
        lines.append(f"{read.n_padded:,} identifiers had blanks at their ends, which are not part of them")
    lines += [f"{n:,} {what} are no votes" for what, n in read.left_out.items()]
    return "\n".join([console_text(votes, mos, agreement, screening), "", *lines, f"tables: {to}"])


def _stale(read: Votes, current: Current) -> pl.DataFrame:
    """Superseded audio that somebody voted on."""
    assert read.manifest is not None
    found = stale_audio(read.manifest, current)
    return found.join(read.table.select("blinded_name").unique(), on="blinded_name", how="semi", maintain_order="left")


def settings(study: Study) -> dict[str, object]:
    """The study without where its files lie."""
    found = study.model_dump(mode="json")
    for key in ("ratings", "manifest"):
        found[key] = None if found[key] is None else Path(found[key]).name
    return found


def _digests(study: Study) -> dict[str, str]:
    files = answer_files(study) | ({} if study.manifest is None else {"manifest": Path(study.manifest)})
    return {name: sha256_file(path) for name, path in files.items()}
