"""Transcribers: word errors by hand, from sound to the page. The transcriber here writes a word for every tone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from report_simulation import judging_row, read_pairs, simulate, write_judging

from spokeneval.audio import make_clip
from spokeneval.embeddings import continuation_audio, embed_audio
from spokeneval.errors import ArtefactError
from spokeneval.judges.base import answer_of
from spokeneval.judges.intake import cropped
from spokeneval.report import make_report
from spokeneval.report.content import content_table, split_judging
from spokeneval.report.inputs import JudgeEntry, ReportInputs
from spokeneval.report.items import read_judging
from spokeneval.round_trips import decode_round_trips, heard_round_trips
from spokeneval.store import PartStore
from spokeneval.tables import EMBEDDINGS, PAIRS, ROUND_TRIPS, TOKENS
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokens import encode_clips
from spokeneval.transcripts import transcribed_continuations, transcribed_references, transcribed_round_trips
from spokeneval.word_errors import word_errors

RATE, TONE = 16_000, 9600
VOCABULARY = {500: "the", 1000: "cat", 1500: "sat", 2000: "down"}
HERTZ = {word: hertz for hertz, word in VOCABULARY.items()}


def spoken(sentence: str) -> NDArray[np.float32]:
    """0.6 seconds a word; '-' is a tone that stands for no word."""
    time = np.arange(TONE) / RATE
    tones = [0.3 * np.sin(2 * np.pi * HERTZ.get(word, 3000) * time) for word in sentence.split()]
    return np.concatenate([np.zeros(0), *tones]).astype(np.float32)


class ToneTranscriber:
    sample_rate = RATE
    attribute = "content"
    language = "en"

    def transcribe(self, waveforms: list[NDArray[np.float32]]) -> list[str]:
        return [self._one(cropped(waveform, RATE, None, 0.1)) for waveform in waveforms]

    def _one(self, heard: NDArray[np.float32]) -> str:
        peaks = [int(np.abs(np.fft.rfft(tone)).argmax()) * RATE // TONE for tone in heard.reshape(-1, TONE)]
        return " ".join(VOCABULARY[hertz] for hertz in peaks if hertz in VOCABULARY).capitalize()


class PCM:
    """Tokenizer and vocoder of 16-bit samples: a codec that loses nothing."""

    info = TokenizerInfo(RATE, 1, (2**16,), False, True)
    sample_rate = RATE

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        return Codes((np.rint(waveform * 2**15) + 2**15).astype(np.int32)[:, None], None)

    def decode(self, codes: Codes, tokenizer: Any) -> NDArray[np.float32]:
        return ((codes.codes[:, 0] - 2**15) / 2**15).astype(np.float32)


class Mumbling(PCM):
    """Says 'down' for its first word; a clip of four words comes out silent."""

    def decode(self, codes: Codes, tokenizer: Any) -> NDArray[np.float32]:
        heard = super().decode(codes, tokenizer)
        return heard * 0 if len(heard) == 4 * TONE else np.concatenate([spoken("down"), heard[TONE:]])


class World:
    """One item a sentence: it is the prompt, its words reversed the right continuation, a word the wrong one."""

    def __init__(self, folder: Path, sentences: list[str]) -> None:
        self.folder = folder
        self.flac: dict[str, bytes] = {}
        rows = [
            dict.fromkeys(PAIRS.arrow.names)
            | {"item_id": f"i{k}", "task": "words", "index": k, "cluster": f"c{k}", "fold": "a", "status": "ok"}
            | {"positive": "p", "negative": "n", "transition": 1, "sample_rate": RATE, "labels": "{}", "sources": "{}"}
            | {"prompt": self._add(sentence), "continuation_negative": self._add("sat")}
            | {"continuation_positive": self._add(" ".join(reversed(sentence.split())))}
            for k, sentence in enumerate(sentences)
        ]
        self.pairs = pl.DataFrame(pl.from_arrow(PAIRS.from_rows(rows)))

    def _add(self, sentence: str) -> str:
        clip = make_clip(spoken(sentence), RATE)
        self.flac[clip.clip_id] = clip.flac
        return clip.clip_id

    def references(self) -> pl.DataFrame:
        store = PartStore(self.folder, "references", "0" * 64, EMBEDDINGS)
        embed_audio(ToneTranscriber(), self.flac.items(), store)
        return pl.DataFrame(pl.from_arrow(store.collect(sorted(store.done()))))

    def through(self, codec: PCM) -> pl.DataFrame:
        name = type(codec).__name__
        store = PartStore(self.folder, name, "0" * 64, EMBEDDINGS)
        sounds = PartStore(self.folder, f"{name} audio", "0" * 64, ROUND_TRIPS)
        rows: list[dict[str, Any]] = []
        encode_clips(codec, self.flac.items(), rows.extend)
        tokens = pl.DataFrame(pl.from_arrow(TOKENS.from_rows(rows)))
        decode_round_trips(codec, codec, self.pairs, tokens, sounds)
        made = pl.DataFrame(pl.from_arrow(sounds.collect(sorted(sounds.done()))))
        embed_audio(ToneTranscriber(), continuation_audio([made]), store)
        heard = pl.DataFrame(pl.from_arrow(store.collect(sorted(store.done()))))
        return heard_round_trips(made["clip_id"], made, heard)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, ["the cat sat", "cat", "- -", "the cat sat down"])


def cells(table: pl.DataFrame, source: str, *columns: str) -> list[Any]:
    return table.filter(pl.col("source") == source).sort("item_id").select(columns).rows()


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("The cat sat.", "the CAT, sat", (3, 0)),
        ("the cat sat", "a cat sat down", (3, 2)),  # one other, one added
        ("the cat sat", "cat", (3, 2)),
        ("", "two words", (0, 2)),
        ("Two words", "", (2, 2)),
        ("We don't have twenty-five...", "we do not have 25", (5, 0)),
        ("Uh, Mr. Smith [laughs]", "mister smith", (2, 0)),
    ],
)
def test_words_are_counted_as_by_hand(reference: str, hypothesis: str, expected: tuple[int, int]) -> None:
    assert word_errors(reference, hypothesis) == expected


def test_other_languages_have_their_own_words() -> None:
    assert word_errors("Straße, ja!", "straße ja", "de") == (2, 0)
    assert word_errors("日本語", "日本", "ja") == (3, 1)


def test_what_is_heard_is_kept_as_text_and_nothing_else(world: World) -> None:
    assert answer_of(ToneTranscriber()) == "transcript"
    heard = world.references()
    assert heard["embedding"].null_count() == heard["score"].null_count() == len(heard)
    table = transcribed_references(world.pairs, heard)
    assert [text for (text,) in cells(table, "prompt", "text")] == ["The cat sat", "Cat", "", "The cat sat down"]
    assert cells(table, "positive", "text")[0] == ("Sat cat the",)
    assert set(table.filter(source="negative")["text"]) == {"Sat"}
    for column in ("verdict", "score", "cos_positive", "n_words"):
        assert table[column].null_count() == len(table) == 12


def test_a_codec_that_loses_nothing_changes_no_word(world: World) -> None:
    table = transcribed_round_trips(world.pairs, world.through(PCM()), world.references())
    assert cells(table, "prompt_round_trip", "n_words", "n_errors") == [(3, 0), (1, 0), (0, 0), (4, 0)]
    assert cells(table, "positive_round_trip", "n_words", "n_errors") == [(3, 0), (1, 0), (0, 0), (4, 0)]


def test_a_free_prompt_has_its_own_words_and_no_others(world: World) -> None:
    free = world.pairs.with_columns(continuation_positive=pl.lit(None), continuation_negative=pl.lit(None))
    assert set(transcribed_references(free, world.references())["source"]) == {"prompt"}
    table = transcribed_round_trips(free, world.through(PCM()), world.references())
    assert set(table["source"]) == {"prompt_round_trip"}
    assert len(table) == 4


def test_words_that_a_codec_changes_are_counted_and_a_silent_round_trip_has_lost_them_all(world: World) -> None:
    table = transcribed_round_trips(world.pairs, world.through(Mumbling()), world.references())
    columns = ("n_words", "n_errors", "text")
    changed = [(3, 1, "Down cat sat"), (1, 1, "Down"), (0, 1, "Down"), (4, 4, None)]
    assert cells(table, "prompt_round_trip", *columns) == changed
    assert cells(table, "prompt_round_trip", "audio_status", "status")[3] == ("silent", "ok")


def test_a_recording_without_a_transcript_fails_its_round_trip(world: World) -> None:
    prompt = world.pairs["prompt"][0]
    here = pl.col("audio_id") == prompt
    lost = world.references().with_columns(
        text=pl.when(~here).then("text"),
        status=pl.when(here).then(pl.lit("failed")).otherwise("status"),
        reason=pl.when(here).then(pl.lit("too long")).otherwise("reason"),
    )
    table = transcribed_round_trips(world.pairs, world.through(PCM()), lost)
    row = ("failed", "recording: too long", None, None)
    assert cells(table, "prompt_round_trip", "status", "reason", "n_words", "n_errors")[0] == row


def test_continuations_that_cannot_be_heard_have_no_text(world: World) -> None:
    prompts, said = world.pairs["prompt"].to_list(), world.pairs["continuation_positive"].to_list()
    rows = [
        {"clip_id": prompts[0], "pcm_sha256": said[0], "status": "ok", "reason": None},
        {"clip_id": prompts[1], "pcm_sha256": said[1], "status": "silent", "reason": "quiet"},
        {"clip_id": prompts[2], "pcm_sha256": None, "status": "failed", "reason": "boom"},
        {"clip_id": prompts[3], "pcm_sha256": said[3], "status": "clipped", "reason": "loud"},
    ]
    unflagged = pl.lit(None, pl.List(pl.String))
    continuations = pl.DataFrame(rows).with_columns(sample_index=pl.lit(0, pl.Int16), flags=unflagged)
    table = transcribed_continuations(world.pairs, continuations, world.references())
    assert cells(table, "model", "text", "audio_status", "status") == [
        ("Sat cat the", "ok", "ok"),
        (None, "silent", "ok"),
        (None, "failed", "failed"),
        ("Down sat cat the", "clipped", "ok"),
    ]
    with pytest.raises(ArtefactError, match="the continuations lack 1 items"):
        transcribed_continuations(world.pairs, continuations.head(3), world.references())


# ---------------------------------------------------------------- in the report

MARKUP = "<script>alert('said')</script>"


def words_row(item: dict[str, Any], source: str, words: int | None, errors: int | None) -> dict[str, Any]:
    row = judging_row(item, source, 0.0) | dict.fromkeys(("cos_positive", "cos_negative", "margin", "verdict"))
    if words is None:
        return row | {"status": "failed", "reason": "silent: RMS 0"}
    return row | {"text": MARKUP, "n_words": words, "n_errors": errors}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """A simulated run, and a transcriber that listened to six items of the task 'speaker'."""
    folder = tmp_path_factory.mktemp("content")
    made = simulate(folder, n_models=3, n_items=6, tasks=("speaker", "room"))
    items = [item for item in read_pairs(made).to_dicts() if item["task"] == "speaker"]
    counts = [(1, 1), (9, 0), (0, 2), (None, None), (5, 1), (5, 0)]
    trips = [words_row(item, "prompt_round_trip", *count) for item, count in zip(items, counts, strict=True)]
    trips += [words_row(item, "positive_round_trip", 0, 0) for item in items]
    texts = [words_row(item, source, 0, 0) for item in items for source in ("prompt", "positive", "negative")]
    said = [words_row(item, "model", 0, 0) for item in items]
    model, codec = next(iter(made.continuations)), "sim-acoustic-sim-vocoder"
    return replace(
        made,
        judges={**made.judges, "ear": JudgeEntry("ear", "whisper", "content", answer="transcript")},
        qualification={**made.qualification, "ear": write_judging(folder / "texts.parquet", texts)},
        ceilings={codec: {**made.ceilings[codec], "ear": write_judging(folder / "words.parquet", trips)}},
        judging={**made.judging, (model, "ear"): write_judging(folder / "said.parquet", said)},
        settings=replace(made.settings, n_draws=500, n_listen_items=4),
    )


def test_the_rate_is_pooled_over_items_and_never_averaged(inputs: ReportInputs) -> None:
    """1/1, 0/9, two words from nowhere, a failure, 1/5, 0/5: 4 errors in 20 words; the mean of the rates is .3."""
    pairs = read_pairs(inputs)
    table = content_table(inputs, pairs, split_judging(inputs, read_judging(inputs))[1])
    row = table.filter(source="prompt_round_trip").row(0, named=True)
    assert (row["task"], row["judge"], row["name"]) == ("speaker", "ear", "sim-acoustic-sim-vocoder")
    assert (row["n_items"], row["n_scored"], row["n_failed"], row["n_clusters"]) == (6, 5, 1, 2)
    assert (row["n_words"], row["n_errors"], row["wer"]) == (20, 4, 0.2)
    # Clusters by index: {0, 2, 4} with 4 errors in 6 words and {1, 5} with none in 14: three outcomes of two draws.
    assert (row["low"], row["high"]) == (0.0, pytest.approx(4 / 6))
    empty = table.filter(source="positive_round_trip").row(0, named=True)
    assert (empty["wer"], empty["low"], empty["note"]) == (None, None, "no words in the recordings")


def test_a_transcriber_is_shown_escaped_and_ranks_nothing(inputs: ReportInputs, tmp_path: Path) -> None:
    summary = make_report(inputs, tmp_path, "identity")
    page = summary.html.read_text()
    assert "What a codec leaves of the words" in page
    assert "20.0" in page
    assert MARKUP not in page
    assert page.count("&lt;script&gt;alert(&#39;said&#39;)&lt;/script&gt;") == 4 * 4  # half of the eight items played
    for table in ("judges", "model_judging", "agreement"):
        assert "ear" not in set(pl.read_parquet(tmp_path / f"tables/{table}.parquet")["judge"])
    assert "judge:ear" not in set(pl.read_parquet(tmp_path / "items_long.parquet")["evaluator"])
    failures = pl.read_parquet(tmp_path / "tables/failures.parquet")
    assert failures.filter(pl.col("name") == "sim-acoustic-sim-vocoder / ear")["n_rows"].to_list() == [1]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["judges"]["ear"]["answer"] == "transcript"
    assert [row["wer"] for row in results["content"]] == [None, 0.2]


def test_a_report_without_a_transcriber_says_nothing_of_words(inputs: ReportInputs, tmp_path: Path) -> None:
    without = simulate(tmp_path / "tables", n_models=2, n_items=4, tasks=("speaker",))
    page = make_report(without, tmp_path / "report", "identity").html.read_text()
    assert "of the words" not in page
    assert pl.read_parquet(tmp_path / "report/tables/content.parquet").is_empty()
