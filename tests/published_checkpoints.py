"""Everything that examples/salmon/config.yaml names, with small random weights in the published file formats.

Sizes of vocabularies, codebooks, frames and marks are the published ones; widths and depths are not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from benchmark_layouts import AUDIO, wav_bytes
from frame_models import random_csm, random_moshi, save_csm
from safetensors.numpy import save_file
from slamkit_layout import slamkit_checkpoint
from test_models_gslm import write as write_gslm
from test_vocoders_unit_hifigan import ONE_VOICE, published, written
from text_tokenizers import WORDS, sentencepiece_like, with_codes
from tiny_codecs import small_encodec, small_mimi
from tiny_models import random_model, save
from transformers import HubertConfig, HubertModel
from workflow_project import ROOT

from spokeneval.audio import read_recording, resample
from spokeneval.tokenizers.base import Codes
from spokeneval.tokenizers.streams import merge_streams

torch.set_num_threads(1)
RATE = 16000
RECORDINGS = ROOT / "resources/fetched/recordings"
TASKS = ("speaker_consistency", "bg_all_consistency", "rir_consistency", "sentiment_alignment")


# ------------------------------------------------------------ models on the hub


def mhubert(folder: Path, last: bool = True) -> Path:
    """mHuBERT's layout (25 Hz); without the last convolution HuBERT base's (50 Hz)."""
    torch.manual_seed(0)
    n = 8 if last else 7
    return save(
        HubertModel(
            HubertConfig(
                hidden_size=16, intermediate_size=24, num_hidden_layers=12, num_attention_heads=2,
                num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, conv_dim=[8] * n, initializer_range=0.2,
                conv_kernel=[10, 3, 3, 3, 3, 2, 2, 2][:n], conv_stride=[5, 2, 2, 2, 2, 2, 2, 2][:n],
            )
        ),
        folder,
    )  # fmt: skip


def hubert_base(folder: Path) -> Path:
    return mhubert(folder, last=False)


def mimi(folder: Path) -> Path:
    model = small_mimi(n_codes=2048, n_codebooks=32)
    with torch.no_grad():
        model.decoder.decoder_seanet.layers[-1].conv.weight.mul_(0.02)  # random weights are far too loud
    return save(model, folder)


def slam(folder: Path) -> Path:
    return slamkit_checkpoint(folder, random_model("qwen2", 502, n_positions=1024, pad_token_id=0))


def sims(folder: Path) -> Path:
    names = [*(f"<Un{unit}>" for unit in range(500)), "<speech>", "<text>"]
    with_codes(folder, names)
    return slamkit_checkpoint(folder, random_model("llama", len(WORDS) + len(names), n_positions=1024, pad_token_id=0))


def llama_mimi(folder: Path) -> Path:
    names = [*(f"<{code}_{q}>" for code in range(2048) for q in range(4)), "<audio>", "</audio>"]
    with_codes(folder, names)
    return save(random_model("llama", len(WORDS) + len(names), n_positions=1024, num_quantizers=4), folder)


def moshi(folder: Path) -> Path:
    depth = {
        "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 24, "initializer_range": 0.5,
        "max_position_embeddings": 9, "sliding_window": 8,
    }  # fmt: skip
    codec = small_mimi(n_codes=2048, n_codebooks=32).config.to_dict()
    model = random_moshi(
        num_codebooks=8, audio_vocab_size=2048, max_position_embeddings=3000, sliding_window=3000,
        audio_encoder_config=codec, depth_decoder_config=depth,
    )  # fmt: skip
    return save(model, folder)


def csm(folder: Path) -> Path:
    wide = {
        "vocab_size": 2051, "num_codebooks": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 32, "initializer_range": 0.5,
    }  # fmt: skip
    model = random_csm(
        **wide, max_position_embeddings=2048, codebook_pad_token_id=2050,
        codec_config=small_mimi(n_codes=2048, n_codebooks=32).config.to_dict(),
        depth_decoder_config={**wide, "backbone_hidden_size": 16, "hidden_size": 12, "max_position_embeddings": 33},
    )  # fmt: skip
    return save_csm(model, folder)


HUB: dict[str, Callable[[Path], Path]] = {
    "slprl/mhubert-base-25hz": mhubert,
    "facebook/hubert-base-ls960": hubert_base,
    "kyutai/mimi": mimi,
    "slprl/slam": slam,
    "slprl/slam_scaled": slam,
    "slprl/SIMS-Llama3.2-3B": sims,
    "llm-jp/Llama-Mimi-1.3B": llama_mimi,
    "llm-jp/Llama-Mimi-8B": llama_mimi,
    "kmhf/hf-moshiko": moshi,
    "sesame/csm-1b": csm,
}


def spiritlm(folder: Path) -> Path:
    names = ["[Text]", "[Speech]"]
    names += [f"[{name}{i}]" for name, n in (("Hu", 501), ("Pi", 64), ("St", 100)) for i in range(n)]
    sentencepiece_like(folder, names, added=True)
    return save(random_model("llama", len(WORDS) + 1 + len(names), n_positions=1024), folder)


# ------------------------------------------------------------ what a person brings


def write_local(folder: Path) -> None:
    """checkpoints/: TWIST, GSLM, centroids and the unit vocoder."""
    rng = np.random.default_rng(0)
    for name, make, layer, n_units in (
        ("mhubert_base_25hz_L11_km500", mhubert, 11, 500),
        ("hubert_base_ls960_L6_km100", hubert_base, 6, 100),
    ):
        features = _features(HubertModel.from_pretrained(make(folder / "made" / name)).eval(), layer)
        chosen = features[rng.choice(len(features), n_units, replace=False)]
        save_file({"centroids": np.ascontiguousarray(chosen)}, folder / f"{name}.safetensors")
    for name, architecture in (("TWIST-350M", "opt"), ("TWIST-1.3B", "opt"), ("TWIST-7B", "llama")):
        save(random_model(architecture, 504, n_positions=1024, offset=4, pad_token_id=1), folder / name)
    write_gslm(folder / "gslm_hubert_km100", {"tokens_per_sample": 3072}, order=list(rng.permutation(100)))
    vocoder = folder / "vocoder_mhubert_25hz"
    vocoder.mkdir()
    config = ONE_VOICE | {
        "num_embeddings": 500, "upsample_rates": [5, 4, 4, 4, 2], "upsample_kernel_sizes": [11, 8, 8, 8, 4],
        "upsample_initial_channel": 32, "code_hop_size": 640,
    }  # fmt: skip
    tensors = published(config)
    tensors["dur_predictor.proj.bias"].fill_(2.0)  # some frames a unit, as in speech
    weights, _ = written(vocoder, config, tensors)
    weights.rename(vocoder / "model.pt")


@torch.inference_mode()
def _features(model: HubertModel, layer: int) -> np.ndarray:
    """What the units are clustered from: speech of the people in the items."""
    clips = [speech(8.0, speaker, number) for speaker in ("BOB", "WITCH") for number in range(6)]
    waveforms = [torch.from_numpy(clip.astype(np.float32) / 32768)[None] for clip in clips]
    return np.concatenate([model(x, output_hidden_states=True).hidden_states[layer][0].numpy() for x in waveforms])


def write_beyond_the_example(folder: Path, n_items: int) -> dict[str, dict]:
    """SpiritLM with codes that were made elsewhere, and a language model over EnCodec: blocks by section."""
    spiritlm(folder / "spirit-lm-expressive")
    save(small_encodec(), folder / "encodec")
    save(random_model("gpt2", 1 + 2 * 64, n_positions=1024), folder / "encodec-lm")
    pl.DataFrame(_spirit_codes(n_items)).write_parquet(folder / "spirit_codes.parquet")
    return {
        "tokenizers": {
            "spirit": {
                "kind": "precomputed", "codes": "checkpoints/spirit_codes.parquet", "sample_rate": 16000,
                "hop_samples": 640, "codebook_sizes": [501, 64, 100], "asynchronous": True, "deduplicated": True,
                "codebook_names": ["hubert", "pitch", "style"],
            },
            "encodec-2": {"kind": "encodec", "path": "checkpoints/encodec", "n_codebooks": 2},
        },
        "models": {
            "spiritlm-expressive": {
                "path": "checkpoints/spirit-lm-expressive", "tokenizer": "spirit", "family": "spiritlm",
                "convention": "spiritlm-expressive",
            },
            "encodec-lm": {
                "path": "checkpoints/encodec-lm", "tokenizer": "encodec-2", "vocoder": "mimi",
                "sequence": {"offset": 1, "bos": 0}, "decoding": {"new_s": 0.6},
            },
        },
    }  # fmt: skip


def _spirit_codes(n_items: int) -> list[dict]:
    """Random events of units (25 Hz), pitch (12.5 Hz) and style (1 Hz), as long as the clips of `salmon`."""

    def stream(rng: np.random.Generator, n_frames: int, size: int, longest: int, shortest: int = 1) -> Codes:
        lengths = []
        while sum(lengths) < n_frames:
            lengths.append(int(rng.integers(shortest, longest + 1)))
        lengths[-1] -= sum(lengths) - n_frames
        codes = rng.integers(0, size, (len(lengths), 1)).astype(np.int32)
        return Codes(codes, np.array(lengths, np.int32))

    rows = []
    for task in TASKS:
        for item in range(n_items):
            cut = transition(task, item)
            seconds = {"positive": 3.0, "negative": 3.0}
            if cut is not None:
                after = 3.0 - cut / RATE
                seconds |= {"prompt": cut / RATE, "continuation_positive": after, "continuation_negative": after}
            for role, length in seconds.items():
                n = int(length * 25)
                # A clip has the same codes wherever it stands: a positive knows nothing of the cut.
                rng = np.random.default_rng([item, 0 if role == "positive" else cut or 1, len(role)])
                streams = [stream(rng, n, 501, 4), stream(rng, n, 64, 6, 2), stream(rng, n, 100, 25, 25)]
                events = merge_streams(streams, order=(2, 1, 0))
                rows.append(
                    {
                        "task": task, "index": item, "role": role, "codes": events.codes[:, 0].tolist(),
                        "durations": events.durations.tolist(), "codebooks": events.codebooks.tolist(),
                        "starts": events.starts.tolist(),
                    }
                )  # fmt: skip
    return rows


# ------------------------------------------------------------ SALMon from real speech


def transition(task: str, item: int) -> int | None:
    """Samples at 16 kHz."""
    if task.endswith("alignment"):
        return None
    return 24000 if task == "rir_consistency" else 20000 + 1000 * item


def speech(n_seconds: float, speaker: str, number: int) -> np.ndarray:
    """int16 at 16 kHz: one recording of a person, repeated to the length that is asked for."""
    table = pl.read_csv(RECORDINGS / "recordings.csv").filter(pl.col("speaker") == speaker)
    recording = read_recording(RECORDINGS / table["path"][number])
    waveform = resample(recording.waveform, recording.sample_rate, RATE)
    waveform = np.resize(waveform, int(n_seconds * RATE)) / max(1.0, float(np.abs(waveform).max()) * 1.2)
    return np.rint(waveform * 32767).astype(np.int16)


def salmon(n_items: int) -> dict[str, bytes]:
    """The hub's parquet files of some tasks, and the config `all` that repeats them: path -> content."""
    files, everything = {}, []
    for task in TASKS:
        rows = []
        for item in range(n_items):
            positive, other = speech(3.0, "BOB", item), speech(3.0, "WITCH", item)
            cut = transition(task, item) or 0
            negative = np.r_[positive[:cut], other[cut:]]
            sides = {"positive_audio": positive, "negative_audio": negative}
            audio = {side: {"bytes": wav_bytes(pcm), "path": f"{item}.wav"} for side, pcm in sides.items()}
            rows.append({"task": task, "ind": item, **audio})
        files[f"{task}/train-00000-of-00001.parquet"] = _parquet(rows)
        everything += rows
    files["all/train-00000-of-00001.parquet"] = _parquet(everything)
    return files


def _parquet(rows: list[dict]) -> bytes:
    schema = pa.schema(
        [("task", pa.string()), ("ind", pa.int64()), ("positive_audio", AUDIO), ("negative_audio", AUDIO)]
    )
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer)
    return buffer.getvalue().to_pybytes()
