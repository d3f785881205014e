"""The files of answers that a study names: one file, all of a folder, or all that a pattern finds."""

from __future__ import annotations

import glob
from pathlib import Path

from spokeneval.errors import ConfigError
from spokeneval.ratings.formats import FORMATS
from spokeneval.ratings.study import Study, read_study

TABLES = (".csv", ".tsv", ".txt", ".parquet")


def answer_files(study: Study) -> dict[str, Path]:
    """Name that votes bear -> file, in the order of names. Names are relative to the folder or pattern's folder.

    Raises ConfigError where there is none.
    """
    root, endings = Path(study.ratings), FORMATS[study.format].endings if study.format in FORMATS else TABLES
    if root.is_dir():
        found = [path for path in root.iterdir() if path.suffix in endings and not path.name.startswith(".")]
        found = [path for path in found if path.is_file()]
        if not found:
            raise ConfigError(f"{root}: a folder without answers; expected files that end in {', '.join(endings)}")
    elif root.exists() or not glob.has_magic(study.ratings):
        found, root = [root], root.parent
    else:
        found = [Path(path) for path in glob.glob(study.ratings, recursive=True) if Path(path).is_file()]
        while glob.has_magic(str(root)):
            root = root.parent
        if not found:
            raise ConfigError(f"{study.ratings}: no file fits this pattern")
    return {path.relative_to(root).as_posix(): path for path in sorted(found)}


def missing_answers(study_file: Path) -> list[str]:
    """What a study names and that is not there, as lines; nothing where the study itself is not there.

    Raises ConfigError for a study that is none.
    """
    if not study_file.exists():
        return []
    study, missing = read_study(study_file), []
    if study.manifest is not None and not Path(study.manifest).exists():
        missing.append(f"{study.manifest}, the manifest of {study_file}, is not there")
    try:
        files = answer_files(study)
    except ConfigError as error:
        return [*missing, str(error)]
    absent = [path for path in files.values() if not path.exists()]
    return missing + [f"{path}, the answers of {study_file}, is not there" for path in absent]
