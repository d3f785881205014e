"""What a codec leaves of the words, and what was said in the clips that the page plays.

Conventions
-----------
- Word error rate: errors over words, each summed over the items first, of a transcript of the round trip against the
  same transcriber's transcript of the recording (see `spokeneval.transcripts`). Lower is better; above 1 where more was
  added than there was.
- The interval resamples whole clusters and takes the ratio of the sums of each draw.
- Items without a transcript failed: they are counted, and enter neither sum. Items whose recording has no words enter
  with what was added.
- Transcribers compare no continuations: they are never qualified, chosen or held against an evaluator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from spokeneval.report.accuracy import cluster_codes
from spokeneval.report.inputs import ReportInputs
from spokeneval.report.listening import HeardItem, Listening, Player
from spokeneval.report.resampling import cluster_ratio
from spokeneval.report.schemas_content import CONTENT
from spokeneval.tables import OK

CODEC_SOURCES = {
    "prompt_round_trip": "the prompt through the codec",
    "positive_round_trip": "the right continuation through the codec",
}


def split_judging(inputs: ReportInputs, judging: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the judges that compare or score, and rows of the transcribers."""
    transcribers = [name for name, entry in inputs.judges.items() if entry.transcribes]
    said = pl.col("judge").is_in(transcribers)
    return judging.filter(~said), judging.filter(said)


def content_table(inputs: ReportInputs, pairs: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """The table of word error rates in the schema CONTENT; said: the transcribers' rows."""
    settings = inputs.settings
    cells = ["task", "judge", "source", "name"]
    rows = said.filter(pl.col("source").is_in(list(CODEC_SOURCES))).join(
        cluster_codes(pairs), on=["task", "item_id"], how="left"
    )
    found: list[dict[str, Any]] = []
    for key, of_cell in rows.sort(*cells, "item_id").group_by(cells, maintain_order=True):
        scored = of_cell.filter((pl.col("status") == OK) & pl.col("n_words").is_not_null())
        errors, words = (scored[name].cast(pl.Float64).to_numpy() for name in ("n_errors", "n_words"))
        rate = cluster_ratio(
            errors,
            words,
            scored["cluster_code"].to_numpy().astype(np.int64),
            n_draws=settings.n_draws,
            seed=settings.seed,
            confidence=settings.confidence,
        )
        found.append(
            dict(zip(cells, key, strict=True))
            | {
                "n_items": of_cell.height,
                "n_scored": scored.height,
                "n_failed": of_cell.height - scored.height,
                "n_clusters": scored["cluster_code"].n_unique(),
                "n_words": int(words.sum()),
                "n_errors": int(errors.sum()),
                "wer": rate.ratio,
                "low": rate.low,
                "high": rate.high,
                "note": "no words in the recordings" if rate.ratio is None else rate.note,
            }
        )
    return pl.DataFrame(pl.from_arrow(CONTENT.from_rows(found))).sort(CONTENT.key)


def content_view(inputs: ReportInputs, content: pl.DataFrame) -> list[dict[str, Any]]:
    """For the page: one entry a transcriber, its rows (codec, source) with the cells by task."""
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for row in content.iter_rows(named=True):
        rows = found.setdefault(row["judge"], {})
        entry = rows.setdefault(
            (row["name"], row["source"]), {"name": row["name"], "heard": CODEC_SOURCES[row["source"]], "tasks": {}}
        )
        entry["tasks"][row["task"]] = row
    return [
        {"judge": judge, "kind": inputs.judges[judge].kind, "crop_s": inputs.judges[judge].crop_s, "rows": rows}
        for judge, rows in ((judge, list(rows.values())) for judge, rows in found.items())
    ]


# ---------------------------------------------------------------- under the players


@dataclass(frozen=True)
class Transcript:
    """What one transcriber wrote of one player's audio."""

    judge: str
    about: str
    """What of the audio it heard; empty where that is all of it."""
    text: str
    """As the transcriber writes it; the page escapes it."""
    missing: str | None = None
    """Why there is no text."""


_ROLES = (("prompt", ""), ("positive", "after the prompt"), ("negative", "after the prompt"))
"""Source of the transcript of an item's first players, in their order, and what of the clip it is of."""


def with_transcripts(listening: Listening, said: pl.DataFrame) -> Listening:
    """The players with what was said in them; said: the transcribers' rows. A model's first sample is played."""
    if said.is_empty():
        return listening
    first = said.filter(pl.col("sample_index") == 0).sort("judge")
    items = [_with_text(item, first) for item in listening.items]
    return replace(listening, items=items)


def _with_text(item: HeardItem, said: pl.DataFrame) -> HeardItem:
    rows = said.filter((pl.col("task") == item.task) & (pl.col("item_id") == item.item_id))

    def told(player: Player, source: str, name: str, about: str) -> Player:
        found = rows.filter((pl.col("source") == source) & (pl.col("name") == name))
        return replace(player, said=tuple(_lines(found, about)))

    clips = [
        told(player, _ROLES[k][0], "", _ROLES[k][1]) if k < len(_ROLES) else player
        for k, player in enumerate(item.clips)
    ]
    return replace(item, clips=clips, continuations=[told(p, "model", p.title, "") for p in item.continuations])


def _lines(rows: pl.DataFrame, about: str) -> Iterator[Transcript]:
    for row in rows.iter_rows(named=True):
        if row["status"] != OK:
            yield Transcript(row["judge"], about, "", row["reason"])
        elif row["text"] is not None:
            yield Transcript(row["judge"], about, row["text"], None if row["text"] else "no words")
