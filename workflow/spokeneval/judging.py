"""Judging: is what was heard nearer to the right continuation or to the wrong one?

Conventions
-----------
- S is the prompt, P and N its right and wrong continuation without the prompt, G what is judged. The verdict of an item
  is 1 where cos(E(G), E(P)) > cos(E(G), E(N)), 0.5 where they are equal, else 0; E is the judge's embedding. Cosines
  lie in [-1, 1]; the margin is cos(E(G), E(P)) - cos(E(G), E(N)).
- Cosines are computed in float64 from the stored float32 embeddings, and rounded to float32 once: equal float32 cosines
  are a tie, whatever the order or number of the rows.
- The crop is the judge's own, and the same for G, P and N (`embeddings`).
- Sources: 'prompt' G = S, which qualifies the judge, 'same_attribute' a third clip with P's attribute in its place;
  'prompt_round_trip' and 'same_attribute_round_trip' these through the codec (attribute ceilings),
  'positive_round_trip' P through the codec (self ceiling); 'model' a continuation; 'other_item' the model's
  continuation of another item of the task (floor); 'copy' and 'noise_matched' without a model (`baselines`).
- Flags of a continuation (it loops, it repeats its prompt) go with its rows and change no verdict.
- Continuations and round trips that are empty, silent or too short are wrong (verdict 0, no cosines) and counted by
  `audio_status`.
  What has no judgement for another reason is a failed row, with the reason.
- A naturalness judge compares nothing: its rows hold `score`, and neither cosines nor verdict. Of what a transcriber
  heard, see `transcripts`.
- Items without a prompt (alignment tasks) and items that failed have no rows.

Source: the generation-based evaluation of arXiv 2601.06329; the ceilings, floor and baselines are added here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval.errors import ArtefactError, ItemError
from spokeneval.tables import FAILED, JUDGING, OK

Item = dict[str, Any]

UNUSABLE = ("empty", "silent", "too_short")
"""Statuses of continuations that count as wrong without being heard."""


COLUMNS_JUDGED = ("clip_id", "sample_index", "pcm_sha256", "status", "reason", "flags")
"""Of the table of continuations."""


@dataclass(frozen=True)
class Heard:
    """A table of embeddings (schema EMBEDDINGS), ready to be compared."""

    row_of: dict[str, int]
    """audio_id -> row"""
    unit: NDArray[np.float64]
    """(n, dimension) unit vectors; rows of zeros where the judge failed; (n, 0) for a naturalness judge."""
    score: list[float | None]
    reason: list[str | None]
    """Why the judge failed; None where it did not."""
    audio_status: list[str | None]
    """'empty', 'silent', 'too_short': a round trip that counts as wrong; None for all else."""

    @classmethod
    def from_table(cls, embeddings: pl.DataFrame) -> Heard:
        """Raises ArtefactError where embeddings differ in length or an audio occurs twice."""
        vectors = embeddings["embedding"].to_list()
        lengths = {len(vector) for vector in vectors if vector is not None}
        if len(lengths) > 1:
            raise ArtefactError(f"embeddings of lengths {sorted(lengths)} in one table; remove it and run again")
        unit = np.zeros((len(vectors), max(lengths, default=0)))
        for k, vector in enumerate(vectors):
            if vector is not None:
                values = np.asarray(vector, np.float64)
                unit[k] = values / np.linalg.norm(values)
        row_of = {audio_id: k for k, audio_id in enumerate(embeddings["audio_id"])}
        if len(row_of) < len(vectors):
            raise ArtefactError("an audio occurs twice in a table of embeddings; remove it and run again")
        reasons = zip(embeddings["status"], embeddings["reason"], strict=True)
        reason = [None if status == OK else str(why) for status, why in reasons]
        return cls(row_of, unit, embeddings["score"].to_list(), reason, embeddings["audio_status"].to_list())

    @property
    def naturalness(self) -> bool:
        """True where the judge gives numbers and no embeddings."""
        return self.unit.shape[1] == 0 and any(score is not None for score in self.score)

    def row(self, audio_id: str) -> int:
        try:
            return self.row_of[audio_id]
        except KeyError:
            raise ArtefactError(
                f"the table of embeddings lacks audio {audio_id[:12]}; run the stage that makes it again"
            ) from None


@dataclass(frozen=True)
class Candidate:
    """One audio to judge for one item."""

    item: Item
    source: str
    audio_id: str | None
    """None where there is nothing to hear; `audio_status` says why."""
    sample_index: int = 0
    audio_status: str = OK
    reason: str | None = None
    flags: list[str] | None = None
    """Of a continuation; None for what is none, or was not looked at."""


def judgeable(pairs: pl.DataFrame) -> list[Item]:
    """Items that did not fail and have a prompt, by task and index."""
    usable = pairs.filter((pl.col("status") == OK) & pl.col("prompt").is_not_null())
    return usable.sort("task", "index").to_dicts()


# ---------------------------------------------------------------- what is judged


def judge_prompts(pairs: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Rows 'prompt': qualification of a judge on real audio; rows 'same_attribute': the same by the third clip.

    `references` holds its embeddings of S, P, N and third clips. Items without a third clip have one row.
    """
    heard = Heard.from_table(references)
    roles = (("prompt", "prompt"), ("same_attribute", "same_attribute"))
    return _judge(_of_clips(judgeable(pairs), roles), heard, heard)


def judge_round_trips(pairs: pl.DataFrame, round_trips: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Rows 'prompt_round_trip', 'same_attribute_round_trip' and 'positive_round_trip': ceilings of a codec.

    An identity codec gives the judge's qualification (by S, and by the third clip), item by item, and 1.0 everywhere in
    the last (P and N being different). Third clips whose codes are not known have no row.
    """
    heard = Heard.from_table(round_trips)
    roles = (
        ("prompt_round_trip", "prompt"),
        ("same_attribute_round_trip", "same_attribute"),
        ("positive_round_trip", "continuation_positive"),
    )
    candidates = [
        through_codec(candidate, heard.audio_status[heard.row(str(candidate.audio_id))])
        for candidate in _of_clips(judgeable(pairs), roles)
        if candidate.source != "same_attribute_round_trip" or candidate.audio_id in heard.row_of
    ]
    return _judge(candidates, heard, Heard.from_table(references))


def through_codec(candidate: Candidate, audio_status: str | None) -> Candidate:
    """A round trip is counted as a continuation is: nothing is heard of an empty, silent or too short one."""
    if audio_status is None:
        return candidate
    return replace(candidate, audio_id=None, audio_status=audio_status)


def _of_clips(items: Sequence[Item], roles: Sequence[tuple[str, str]]) -> list[Candidate]:
    """Each item's clips of these (source, role), where it has them."""
    return [Candidate(item, source, item[role]) for item in items for source, role in roles if item[role] is not None]


def judge_baseline(
    source: str,
    pairs: pl.DataFrame,
    audio: Mapping[tuple[str, str], str | ItemError],
    embeddings: pl.DataFrame,
    references: pl.DataFrame,
) -> pl.DataFrame:
    """Rows of a baseline (see `spokeneval.baselines`); `audio` gives each (task, item_id) its audio_id, or why not.

    Free prompts say no length and have no baseline.
    """
    candidates = []
    for item in judgeable(pairs):
        if item["continuation_positive"] is None:
            continue
        found = audio[item["task"], item["item_id"]]
        if isinstance(found, ItemError):
            candidates.append(Candidate(item, source, None, audio_status=FAILED, reason=str(found)))
        else:
            candidates.append(Candidate(item, source, found))
    return _judge(candidates, Heard.from_table(embeddings), Heard.from_table(references))


def judge_continuations(
    pairs: pl.DataFrame,
    continuations: pl.DataFrame,
    embeddings: pl.DataFrame,
    references: pl.DataFrame,
    seed: int = 0,
) -> pl.DataFrame:
    """Rows 'model' (every sample of every item) and, for embedding judges, 'other_item' (floor, same samples).

    embeddings: of the continuations, by pcm_sha256; seed: of the assignment of other items.
    Raises ArtefactError where an item has no continuation in the table.
    """
    items = judgeable(pairs)
    samples = samples_by_prompt(items, continuations)
    candidates = [continuation_candidate(item, "model", row) for item in items for row in samples[item["prompt"]]]
    heard, known = Heard.from_table(embeddings), Heard.from_table(references)
    if not known.naturalness:
        for item, other in other_items(items, seed):
            for row in samples[(other or item)["prompt"]]:
                candidate = continuation_candidate(item, "other_item", row)
                candidates.append(candidate if other else _no_other(candidate))
    return _judge(candidates, heard, known)


def samples_by_prompt(items: Sequence[Item], continuations: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Prompt clip -> its continuations, samples in order. Raises ArtefactError where an item has none."""
    samples: dict[str, list[dict[str, Any]]] = {}
    for row in continuations.select(COLUMNS_JUDGED).sort("clip_id", "sample_index").iter_rows(named=True):
        samples.setdefault(row["clip_id"], []).append(row)
    lacking = sorted({item["item_id"] for item in items} - {i["item_id"] for i in items if i["prompt"] in samples})
    if lacking:
        raise ArtefactError(
            f"the continuations lack {len(lacking)} items, e.g. '{lacking[0]}'; run the stage 'continuations' again"
        )
    return samples


def continuation_candidate(item: Item, source: str, row: Mapping[str, Any]) -> Candidate:
    """What is judged of one row of the continuations: nothing is heard of empty, silent and too short ones."""
    heard = row["status"] != FAILED and row["status"] not in UNUSABLE
    audio_id = row["pcm_sha256"] if heard else None
    return Candidate(item, source, audio_id, row["sample_index"], row["status"], row["reason"], row["flags"])


def _no_other(candidate: Candidate) -> Candidate:
    reason = "no other item of the task has another prompt"
    return Candidate(candidate.item, candidate.source, None, candidate.sample_index, FAILED, reason)


def other_items(items: Sequence[Item], seed: int) -> list[tuple[Item, Item | None]]:
    """For each item another one of its task with another prompt; None where there is none.

    A seeded order of the task's items, rotated: each item is taken once wherever prompts are all different. The order
    depends on the seed, the task and the ids, not on the order of `items`.
    """
    found: list[tuple[Item, Item | None]] = []
    for task in sorted({item["task"] for item in items}):
        of_task = sorted((item for item in items if item["task"] == task), key=lambda item: str(item["item_id"]))
        rng = np.random.default_rng([seed, *task.encode()])
        order = [of_task[k] for k in rng.permutation(len(of_task))]
        for k, item in enumerate(order):
            rotated = order[k + 1 :] + order[:k]
            found.append((item, next((other for other in rotated if other["prompt"] != item["prompt"]), None)))
    return found


# ---------------------------------------------------------------- how


def _judge(candidates: Sequence[Candidate], heard: Heard, references: Heard) -> pl.DataFrame:
    """Rows of the schema JUDGING, in the order of its key."""
    naturalness = heard.naturalness or references.naturalness
    rows = [blank_row(candidate) for candidate in candidates]
    pending: list[tuple[int, int, int, int]] = []
    for k, candidate in enumerate(candidates):
        row = rows[k]
        if candidate.audio_status == FAILED:
            row |= {"status": FAILED, "reason": candidate.reason or "failed"}
        elif candidate.audio_id is None:
            row["verdict"] = None if naturalness else 0.0
        else:
            reason, known = _look_up(candidate, heard, references, naturalness)
            if reason is not None:
                row |= {"status": FAILED, "reason": reason}
            elif naturalness:
                row["score"] = heard.score[known[0]]
            else:
                pending.append((k, *known))
    _compare(rows, pending, heard, references)
    return pl.DataFrame(pl.from_arrow(JUDGING.from_rows(rows))).sort(JUDGING.key)


def _look_up(
    candidate: Candidate, heard: Heard, references: Heard, naturalness: bool
) -> tuple[str | None, tuple[int, int, int]]:
    """(why there is no judgement, None where there is one; rows of G in `heard`, of P and N in `references`)."""
    assert candidate.audio_id is not None
    audio = heard.row(candidate.audio_id)
    if heard.reason[audio] is not None:
        return f"{candidate.source}: {heard.reason[audio]}", (audio, -1, -1)
    if naturalness:
        return None, (audio, -1, -1)
    positive = references.row(candidate.item["continuation_positive"])
    negative = references.row(candidate.item["continuation_negative"])
    for name, row in (("right continuation", positive), ("wrong continuation", negative)):
        if references.reason[row] is not None:
            return f"{name}: {references.reason[row]}", (audio, positive, negative)
    return None, (audio, positive, negative)


def _compare(
    rows: list[dict[str, Any]], pending: Sequence[tuple[int, int, int, int]], heard: Heard, references: Heard
) -> None:
    """Fill in cosines, margins and verdicts of the rows that have all three embeddings."""
    if not pending:
        return
    if heard.unit.shape[1] != references.unit.shape[1]:
        raise ArtefactError(
            f"embeddings of {heard.unit.shape[1]} and references of {references.unit.shape[1]} dimensions: "
            "not of one judge"
        )
    at, audio, positive, negative = np.array(pending).T
    to_positive = _cosine(heard.unit[audio], references.unit[positive])
    to_negative = _cosine(heard.unit[audio], references.unit[negative])
    verdict = np.where(to_positive == to_negative, 0.5, (to_positive > to_negative).astype(np.float64))
    for k, row in enumerate(at):
        rows[row] |= {
            "cos_positive": float(to_positive[k]),
            "cos_negative": float(to_negative[k]),
            "margin": float(to_positive[k] - to_negative[k]),
            "verdict": float(verdict[k]),
        }


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n,) cosines of rows of unit vectors, each summed by itself: they do not depend on the other rows."""
    # A unit vector's square may come out as 1 + 2e-16.
    cosine: NDArray[np.float32] = np.clip((a * b).sum(axis=1), -1.0, 1.0).astype(np.float32)
    return cosine


def blank_row(candidate: Candidate) -> dict[str, Any]:
    """A row of JUDGING without an answer."""
    return {
        "task": candidate.item["task"],
        "item_id": candidate.item["item_id"],
        "source": candidate.source,
        "sample_index": candidate.sample_index,
        "cos_positive": None,
        "cos_negative": None,
        "margin": None,
        "verdict": None,
        "score": None,
        "audio_status": candidate.audio_status,
        "flags": candidate.flags,
        "status": OK,
        "reason": None,
    }
