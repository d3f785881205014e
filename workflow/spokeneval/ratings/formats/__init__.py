"""Answer files of listening-test tools, by the name that `format` in study.yaml has."""

from spokeneval.ratings.formats.base import Format
from spokeneval.ratings.formats.page import PAGE

FORMATS: dict[str, Format] = {
    "spokeneval": PAGE,
}
"""`table` is not among them: its columns are the study's (`ratings.source`)."""
