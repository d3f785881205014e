"""One function a job: tables in, the stage's measurement, tables out. Rules call these and nothing else.

Every function takes the configuration, the names of what it works on, the identity under which results are kept, and
how many threads it may use (libraries read that from OMP_NUM_THREADS, which the script sets before they load). What a
job has finished goes to the store as it is done; the declared table is assembled from there, so that a killed job
loses one batch.
"""

from spokeneval.jobs.hearing import continuations, judging, references, round_trip_audio, round_trips
from spokeneval.jobs.listening_test import listening_test
from spokeneval.jobs.rating import ratings
from spokeneval.jobs.reporting import index, partial_report, report, verdict
from spokeneval.jobs.scoring import audio_controls, clips, evaluators, likelihood, token_controls, tokens

__all__ = [
    "audio_controls",
    "clips",
    "continuations",
    "evaluators",
    "index",
    "judging",
    "likelihood",
    "listening_test",
    "partial_report",
    "ratings",
    "references",
    "report",
    "round_trip_audio",
    "round_trips",
    "token_controls",
    "tokens",
    "verdict",
]
