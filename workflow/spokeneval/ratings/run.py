"""`spokeneval ratings`: from study.yaml to the tables of a listening test."""

from __future__ import annotations

import hashlib
from pathlib import Path

from spokeneval.identity import code_digest, digest
from spokeneval.ratings.agreement import agreement_table
from spokeneval.ratings.console import console_text
from spokeneval.ratings.intake import read_votes
from spokeneval.ratings.mos import mos_table
from spokeneval.ratings.schemas import AGREEMENT, MOS, RATINGS, SCREENING
from spokeneval.ratings.screening import screen
from spokeneval.ratings.study import Study, read_study
from spokeneval.tables import atomic_path, write_table

_CODE = (
    "spokeneval.ratings.intake:read_votes",
    "spokeneval.ratings.screening:screen",
    "spokeneval.ratings.mos:mos_table",
    "spokeneval.ratings.agreement:agreement_table",
)


def make_ratings(study_file: Path, to: Path, ratings: Path | None = None) -> str:
    """Read, check and screen the votes of a study, write its tables into a folder, return them as text.

    ratings: the file of votes, where it is not the one that the study names. Each table is written as parquet and CSV:
    ratings, mos, agreement, screening. Nothing is written where anything is wrong with the study or the votes.
    """
    study = read_study(study_file)
    if ratings is not None:
        study = study.model_copy(update={"ratings": str(ratings)})
    read = read_votes(study)
    votes, screening = screen(read.table, study.screening)
    mos = mos_table(votes, study)
    agreement = agreement_table(votes, study)
    identity = _identity(study)
    extra = {"study": _settings(study), "n_padded": read.n_padded}
    tables = ((votes, RATINGS), (mos, MOS), (agreement, AGREEMENT), (screening, SCREENING))
    for table, schema in tables:
        write_table(to / f"{schema.name}.parquet", table, schema, identity, extra, sort=schema is not SCREENING)
        with atomic_path(to / f"{schema.name}.csv") as temporary:
            table.write_csv(temporary)
    padded = f"{read.n_padded:,} identifiers had blanks at their ends, which are not part of them\n"
    text = console_text(votes, mos, agreement, screening)
    return f"{text}\n\n{padded if read.n_padded else ''}tables: {to}"


def _settings(study: Study) -> dict[str, object]:
    """The study without where its file lies."""
    settings = study.model_dump(mode="json")
    settings["ratings"] = Path(study.ratings).name
    return settings


def _identity(study: Study) -> str:
    with open(study.ratings, "rb") as file:
        votes = hashlib.file_digest(file, "sha256").hexdigest()
    return digest({"study": _settings(study), "votes": votes, "code": code_digest(*_CODE)})
