"""A constructed world for the tests of judging: items, judges and codecs that need no weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from spokeneval import embeddings as emb
from spokeneval import judging
from spokeneval.audio import Clip, make_clip
from spokeneval.errors import ItemError
from spokeneval.judges.trivial import RMSLevel
from spokeneval.round_trips import decode_round_trips, heard_round_trips, round_trip_ids
from spokeneval.store import PartStore
from spokeneval.tables import CLIPS, CONTINUATIONS, EMBEDDINGS, PAIRS, ROUND_TRIPS, TOKENS
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokens import encode_clips

RATE = 16_000


def noise(seed: int, level_db: float = -20.0, seconds: float = 0.5) -> NDArray[np.float32]:
    white = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (white / np.sqrt(np.mean(white**2)) * 10 ** (level_db / 20)).astype(np.float32)


class Naturalness:
    sample_rate = RATE
    attribute = "naturalness"
    scale = (1.0, 5.0)

    def score(self, waveforms: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.array([1 + len(w) / RATE for w in waveforms], np.float32)


class Counting(RMSLevel):
    """The level judge; remembers how many waveforms it heard, and refuses the loud."""

    def __init__(self, refuse_above: float = 9.0, stop_after: int | None = None) -> None:
        super().__init__()
        self.n_heard, self.refuse_above, self.stop_after = 0, refuse_above, stop_after

    def embed(self, waveforms: Any) -> NDArray[np.float32]:
        if any(np.abs(w).max() > self.refuse_above for w in waveforms):
            raise ItemError("too loud for me")
        if self.stop_after is not None and self.n_heard >= self.stop_after:
            raise OSError("killed")
        self.n_heard += len(waveforms)
        return super().embed(waveforms)


class PCMTokenizer:
    """One code a sample: a codec that loses nothing."""

    info = TokenizerInfo(RATE, 1, (2**16,), False, True)

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        return Codes((np.rint(waveform * 2**15) + 2**15).astype(np.int32)[:, None], None)


class PCMVocoder:
    sample_rate = RATE

    def decode(self, codes: Codes, tokenizer: Any) -> NDArray[np.float32]:
        if len(codes.codes) == 0:
            raise ItemError("no codes to decode")
        return ((codes.codes[:, 0] - 2**15) / 2**15).astype(np.float32)


class ConstantVocoder(PCMVocoder):
    def decode(self, codes: Codes, tokenizer: Any) -> NDArray[np.float32]:
        return noise(99, -25.0)


class World:
    """Items with prompt, right and wrong continuation, each a waveform; tables and stores around them.

    A fourth waveform is the third clip of the same attribute, a fifth the noise alone; None where an item has none.
    """

    def __init__(self, folder: Path, items: Sequence[tuple[Any, ...]], task: str = "level") -> None:
        self.folder = folder
        self.audio: dict[str, Clip] = {}
        rows = []
        for k, waveforms in enumerate(items):
            ids = [None if w is None else self._add(w) for w in (*waveforms, None, None)[:5]]
            rows.append(
                dict.fromkeys(PAIRS.arrow.names)
                | {"item_id": f"{task}-{k}", "task": task, "index": k, "cluster": f"c{k}", "fold": "ab"[k % 2]}
                | {"prompt": ids[0], "continuation_positive": ids[1], "continuation_negative": ids[2], "status": "ok"}
                | {"same_attribute": ids[3], "noise_only": ids[4]}
                | {"positive": "p", "negative": "n", "transition": 8000, "sample_rate": RATE}
                | {"labels": "{}", "sources": "{}"}
            )
        self.pairs = pl.DataFrame(pl.from_arrow(PAIRS.from_rows(rows)))

    def _add(self, waveform: NDArray[np.float32]) -> str:
        clip = make_clip(waveform, RATE)
        self.audio[clip.clip_id] = clip
        return clip.clip_id

    def store(self, name: str) -> PartStore:
        return PartStore(self.folder, name, "0" * 64, EMBEDDINGS)

    def clips(self) -> pl.DataFrame:
        rows = [
            {
                "clip_id": c.clip_id,
                "sample_rate": RATE,
                "n_samples": c.n_samples,
                "audio": {"bytes": c.flac, "path": "x.flac"},
                "subtype": c.subtype,
                "gain": c.gain,
                "note": "",
            }
            for c in self.audio.values()
        ]
        return pl.DataFrame(pl.from_arrow(CLIPS.from_rows(rows)))

    def n_samples(self) -> dict[str, int]:
        return {c.clip_id: c.n_samples for c in self.audio.values()}

    def tokens(self) -> pl.DataFrame:
        rows: list[dict[str, Any]] = []
        encode_clips(PCMTokenizer(), [(c.clip_id, c.flac) for c in self.audio.values()], rows.extend)
        return pl.DataFrame(pl.from_arrow(TOKENS.from_rows(rows)))

    def references(self, judge: Any, name: str = "references", batch: int = 32) -> pl.DataFrame:
        store = self.store(name)
        emb.embed_audio(judge, emb.references(self.pairs, [self.clips()]), store, batch)
        return table(store, emb.reference_ids(self.pairs))

    def decoded(self, vocoder: Any, name: str, tokens: pl.DataFrame | None = None) -> pl.DataFrame:
        """The table of round trips (schema ROUND_TRIPS)."""
        found = self.tokens() if tokens is None else tokens
        store = PartStore(self.folder, f"{name} audio", "0" * 64, ROUND_TRIPS)
        decode_round_trips(PCMTokenizer(), vocoder, self.pairs, found, store)
        ids = round_trip_ids(self.pairs, found["clip_id"])
        return pl.DataFrame(pl.from_arrow(store.collect([(i,) for i in ids]))).sort("clip_id")

    def round_trips(self, judge: Any, vocoder: Any, name: str, tokens: pl.DataFrame | None = None) -> pl.DataFrame:
        """What a judge heard of them, by the clips they come from."""
        made, store = self.decoded(vocoder, name, tokens), self.store(name)
        emb.embed_audio(judge, emb.continuation_audio([made]), store)
        return heard_round_trips(made["clip_id"], made, table(store, emb.judged_ids(made)))


def table(store: PartStore, ids: list[str]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(store.collect([(i,) for i in ids]))).sort("audio_id")


def continuation(world: World, k: int, waveform: Any, status: str = "ok", sample: int = 0) -> dict[str, Any]:
    clip = None if waveform is None else make_clip(waveform, RATE)
    return dict.fromkeys(CONTINUATIONS.arrow.names) | {
        "clip_id": world.pairs["prompt"][k],
        "sample_index": sample,
        "seed": 0,
        "audio": None if clip is None else {"bytes": clip.flac, "path": "g.flac"},
        "sample_rate": RATE,
        "n_samples": 0 if clip is None else clip.n_samples,
        "pcm_sha256": None if clip is None else clip.clip_id,
        "status": status,
        "reason": None if status == "ok" else f"it is {status}",
    }


def judge_model(world: World, judge: Any, rows: list[dict[str, Any]], seed: int = 0) -> pl.DataFrame:
    continuations = pl.DataFrame(pl.from_arrow(CONTINUATIONS.from_rows(rows)))
    store = world.store("continuations")
    audio = list(emb.continuation_audio([continuations]))
    emb.embed_audio(judge, audio, store)
    found = table(store, [audio_id for audio_id, _ in audio])
    return judging.judge_continuations(world.pairs, continuations, found, world.references(judge), seed)


def swapped(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.rename(
        {"continuation_positive": "continuation_negative", "continuation_negative": "continuation_positive"}
    ).select(pairs.columns)


def level_items(change_db: float = 12.0) -> list[tuple[Any, ...]]:
    """Twelve items; the right continuation has the prompt's level, the wrong one is off, up or down in turn."""
    items = []
    for k in range(12):
        level = -30.0 + k
        other = level + (change_db if k % 2 else -change_db)
        items.append((noise(3 * k, level), noise(3 * k + 1, level), noise(3 * k + 2, other)))
    return items
