"""Answer files of listening-test tools, by the name that `format` in study.yaml has."""

from spokeneval.ratings.formats.base import Format
from spokeneval.ratings.formats.beaqlejs import BEAQLEJS
from spokeneval.ratings.formats.p808 import P808_ANSWERS, P808_CLIPS, P808_WORKERS
from spokeneval.ratings.formats.page import PAGE
from spokeneval.ratings.formats.reseval import RESEVAL
from spokeneval.ratings.formats.sheet import SHEET
from spokeneval.ratings.formats.somos import SOMOS
from spokeneval.ratings.formats.vmc24 import VMC24
from spokeneval.ratings.formats.webmushra import WEBMUSHRA

FORMATS: dict[str, Format] = {
    "spokeneval": PAGE,
    "webmushra": WEBMUSHRA,
    "beaqlejs": BEAQLEJS,
    "reseval": RESEVAL,
    "p808_answers": P808_ANSWERS,
    "p808_workers": P808_WORKERS,
    "p808_clips": P808_CLIPS,
    "sheet": SHEET,
    "somos": SOMOS,
    "vmc24": VMC24,
}
"""`table` is not among them: its columns are the study's (`ratings.source`)."""
