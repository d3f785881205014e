"""Microsoft's P.808 toolkit: raw answers of a crowd, and the tables that its result parser makes of them.

Conventions
-----------
- Answers (the CSV of a batch, a row an assignment): columns Answer.q<k>_url and Answer.q<k>, of P.835 and the like
  Answer.q<k>_<suffix>, in any case. The suffix is the `dimension`. Questions on the clips that Input.TP, Input.gold...
  name are controls and no votes; neither are assignments that were rejected. Nothing else is cleaned here.
- `*_votes_per_worker.csv`: a vote a row, cleaned by the toolkit; question_type is the `dimension` (MOS, MOS_SIG ...).
- `*_votes_per_clip.csv`: columns vote_1 ... vote_n. The k-th vote of one clip and of another are of different people:
  listeners are not known, `listener` is only a number of the vote. The dimension is the name of its column of means.
- `file_url` is the clip, with its path.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from spokeneval.errors import ConfigError
from spokeneval.ratings.formats.base import Format, Rows, read_csv, without
from spokeneval.ratings.problems import ROW

_SUFFIXES = (
    *("sig", "bak", "ovrl", "echo", "other", "enrol"),
    *("col", "disc", "loud", "noise", "reverb"),
)
_CONTROL = re.compile(r"input\.(?:tp|trapping|gold)\w*")
_VOTE = re.compile(rf"answer\.(q\d+)(?:_({'|'.join(_SUFFIXES)}))?")


def _answers(path: Path) -> Rows:
    tool = "P.808 (answers of a batch)"
    frame = read_csv(path, tool, ())
    frame = frame.rename({name: name.lower() for name in frame.columns})
    votes = [(name, found[1], found[2]) for name in frame.columns if (found := _VOTE.fullmatch(name))]
    votes = [(name, question, suffix) for name, question, suffix in votes if f"answer.{question}_url" in frame.columns]
    if not votes or "workerid" not in frame.columns:
        raise ConfigError(f"{path}: not a file of {tool}: expected WorkerId, Answer.q1_url, Answer.q1 ...")
    controls = [name for name in frame.columns if _CONTROL.fullmatch(name)]
    status = pl.col("assignmentstatus") if "assignmentstatus" in frame.columns else pl.lit(None, pl.String)
    answered = pl.concat(
        [
            frame.select(
                ROW,
                pl.col("workerid").alias("listener"),
                pl.col(f"answer.{question}_url").alias("file_url"),
                pl.lit(suffix, pl.String).alias("dimension"),
                pl.col(name).alias("score"),
                (status.str.to_lowercase() == "rejected").fill_null(False).alias("_rejected"),
                pl.any_horizontal(pl.lit(False), *(pl.col(c) == pl.col(f"answer.{question}_url") for c in controls))
                .fill_null(False)
                .alias("_control"),
            )
            for name, question, suffix in votes
        ]
    )
    taken = without(answered, pl.col("_rejected"), "answers of rejected assignments")
    kept = without(taken.frame, pl.col("_control"), "answers on control clips")
    return Rows(
        kept.frame.drop("_rejected", "_control").sort(ROW, maintain_order=True), {**taken.left_out, **kept.left_out}
    )


def _workers(path: Path) -> Rows:
    needed = ("workerid", "file", "vote", "question_type")
    frame = read_csv(path, "P.808 (votes per worker)", needed)
    named = {"workerid": "listener", "file": "file_url", "vote": "score", "question_type": "dimension"}
    return Rows(frame.rename(named))


def _clips(path: Path) -> Rows:
    frame = read_csv(path, "P.808 (votes per clip)", ("file_url", "vote_1"))
    votes = [name for name in frame.columns if re.fullmatch(r"vote_\d+", name)]
    means = [name for name in frame.columns if re.fullmatch(r"[CD]?MOS(?:_\w+)?", name)]
    if len(means) != 1:
        raise ConfigError(f"{path}: has {len(means)} columns of means (MOS, MOS_SIG ...); expected one")
    others = [name for name in frame.columns if name not in (*votes, "listener", "score", "dimension")]
    long = frame.unpivot(votes, index=others, variable_name="listener", value_name="score")
    long = long.with_columns(pl.lit(means[0]).alias("dimension")).sort(ROW, maintain_order=True)
    # clips have different numbers of votes; the columns go up to the most
    return Rows(long.filter(pl.col("score").str.strip_chars().fill_null("") != ""))


_COLUMNS = {"listener_id": "listener", "score": "score", "dimension": "dimension"}
P808_ANSWERS = Format(_answers, (".csv",), _COLUMNS, heard_as="file_url")
P808_WORKERS = Format(_workers, (".csv",), _COLUMNS, heard_as="file_url")
P808_CLIPS = Format(_clips, (".csv",), _COLUMNS, heard_as="file_url", knows_listeners=False)
