"""The demo's small language models: what each one is, how it is trained, and what it is measured against.

Conventions
-----------
- Ids: 0 is BOS, then 1 + codebook * codes + code, frame by frame and in each frame from the first codebook on.
- A training sequence is BOS and a window of one voice (see `speech.Windows`), in one batch of equal lengths.
- NLL is in nats a token: the mean over all tokens of the held-out clips, each clip alone after BOS and cut at the
  length of the window. The unigram and the same-stage bigram (previous code of the same codebook) are counted on
  the training clips; the bigram is smoothed towards the unigram, which also serves the first frame.
- Weights are stored as float16; what is measured is what is stored.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GPT2Config, LlamaConfig, OPTConfig, PretrainedConfig, PreTrainedModel, Qwen2Config
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from spokeneval.demo.speech import CodedClip, Windows

BOS = 0
BIGRAM_PRIOR = 8.0
"""Weight of the unigram in the smoothed bigram, in counts."""
WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Recipe:
    """One model: its architecture and its training."""

    tokenizer: str
    architecture: str
    n_layers: int
    width: int
    n_heads: int
    steps: int
    learning_rate: float
    seed: int
    batch: int = 12


@dataclass(frozen=True)
class Stream:
    """What the recipe's tokenizer asks for."""

    codebook_sizes: tuple[int, ...]
    window_steps: int
    """Steps (frames, or de-duplicated units) of a training sequence, after BOS."""

    @property
    def n_positions(self) -> int:
        return 1 + self.window_steps * len(self.codebook_sizes)

    @property
    def vocabulary(self) -> int:
        return 1 + sum(self.codebook_sizes)


STREAMS = {
    "mel_rvq": Stream((256, 256, 256), 216),  # 5.0 s
    "whisper_kmeans": Stream((500,), 255),  # about 10 s
}

RECIPES = {
    "acoustic-xs": Recipe("mel_rvq", "gpt2", 1, 64, 2, steps=60, learning_rate=4e-3, seed=11),
    "acoustic-s": Recipe("mel_rvq", "gpt2", 2, 128, 4, steps=120, learning_rate=3e-3, seed=12),
    "acoustic-m": Recipe("mel_rvq", "gpt2", 2, 128, 4, steps=600, learning_rate=3e-3, seed=13, batch=6),
    "acoustic-opt": Recipe("mel_rvq", "opt", 2, 128, 4, steps=220, learning_rate=3e-3, seed=14),
    "acoustic-llama": Recipe("mel_rvq", "llama", 2, 128, 4, steps=300, learning_rate=3e-3, seed=15),
    "acoustic-l": Recipe("mel_rvq", "llama", 4, 160, 5, steps=300, learning_rate=2e-3, seed=16),
    "acoustic-qwen": Recipe("mel_rvq", "qwen2", 3, 96, 4, steps=250, learning_rate=3e-3, seed=17),
    "semantic-s": Recipe("whisper_kmeans", "gpt2", 1, 64, 2, steps=150, learning_rate=4e-3, seed=21, batch=16),
    "semantic-m": Recipe("whisper_kmeans", "gpt2", 2, 128, 4, steps=400, learning_rate=3e-3, seed=22, batch=16),
}


def config_of(recipe: Recipe) -> PretrainedConfig:
    """The configuration of transformers for a recipe; no dropout, no EOS."""
    stream = STREAMS[recipe.tokenizer]
    shared: dict[str, Any] = {
        "vocab_size": stream.vocabulary,
        "max_position_embeddings": stream.n_positions,
        "bos_token_id": BOS,
        "eos_token_id": None,
        "pad_token_id": None,
        "tie_word_embeddings": True,
    }
    gated: dict[str, Any] = {
        "hidden_size": recipe.width,
        "num_hidden_layers": recipe.n_layers,
        "num_attention_heads": recipe.n_heads,
        "num_key_value_heads": recipe.n_heads,
        # three matrices instead of two: the same number of weights as a feed-forward of four times the width
        "intermediate_size": recipe.width * 8 // 3,
    }
    match recipe.architecture:
        case "gpt2":
            shared["n_positions"] = shared.pop("max_position_embeddings")
            gpt2: dict[str, Any] = {"n_embd": recipe.width, "n_layer": recipe.n_layers, "n_head": recipe.n_heads}
            return GPT2Config(**shared, **gpt2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        case "opt":
            del gated["num_key_value_heads"], gated["intermediate_size"]
            gated |= {"word_embed_proj_dim": recipe.width, "ffn_dim": 4 * recipe.width}
            return OPTConfig(**shared, **gated, dropout=0.0, attention_dropout=0.0)
        case "llama":
            return LlamaConfig(**shared, **gated)
        case "qwen2":
            return Qwen2Config(**shared, **gated)
    raise ValueError(f"no such architecture: {recipe.architecture}")


def to_ids(codes: NDArray[np.int32], codebook_sizes: tuple[int, ...]) -> NDArray[np.int64]:
    """BOS and the flat ids: (..., n_steps, n_codebooks) -> (..., 1 + n_steps * n_codebooks)."""
    offsets = 1 + np.cumsum((0, *codebook_sizes[:-1]))
    flat = (codes + offsets).reshape(*codes.shape[:-2], -1)
    return np.concatenate([np.full((*flat.shape[:-1], 1), BOS), flat], axis=-1).astype(np.int64)


class Schedule(Protocol):
    """What the learning rate depends on."""

    @property
    def steps(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...


def learning_rate(recipe: Schedule, step: int) -> float:
    """Linear warm-up over the first 5 % of the steps, then a cosine to zero."""
    warmup = max(1, int(WARMUP_SHARE * recipe.steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup)))


def train(recipe: Recipe, clips: Sequence[CodedClip], report: Callable[[str], None]) -> PreTrainedModel:
    """Train from seeded random weights by AdamW; the result is rounded to float16 and back to float32."""
    stream = STREAMS[recipe.tokenizer]
    torch.manual_seed(recipe.seed)
    model: Any = AutoModelForCausalLM.from_config(config_of(recipe)).float()  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY, betas=(0.9, 0.95))
    windows, rng = Windows(clips, stream.window_steps), np.random.default_rng(recipe.seed)
    start = time.monotonic()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        ids = torch.from_numpy(to_ids(windows.draw(rng, recipe.batch), stream.codebook_sizes))
        logits = model(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        if (step + 1) % 25 == 0 or step + 1 == recipe.steps:
            elapsed = time.monotonic() - start
            left = elapsed / (step + 1) * (recipe.steps - step - 1)
            report(f"step {step + 1}/{recipe.steps}, training loss {loss.item():.3f} nats, {left:.0f} s left")
    rounded: PreTrainedModel = model.half().float().eval()
    return rounded


@dataclass(frozen=True)
class Measured:
    """Negative log-likelihood on held-out clips, nats a token unless said."""

    nll: float
    nll_by_codebook: tuple[float, ...]
    nats_per_second: float
    n_tokens: int
    seconds: float


@torch.inference_mode()
def measure(model: PreTrainedModel, clips: Sequence[CodedClip], tokenizer: str) -> Measured:
    """Score every clip alone after BOS."""
    stream = STREAMS[tokenizer]
    n_codebooks = len(stream.codebook_sizes)
    losses: list[NDArray[np.float64]] = []
    for clip in clips:
        ids = torch.from_numpy(to_ids(clip.codes[: stream.window_steps], stream.codebook_sizes))
        logits = model(input_ids=ids[None, :-1]).logits[0]
        loss = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        losses.append(loss.double().numpy().reshape(-1, n_codebooks))
    return _summary(losses, clips, stream)


def measure_baselines(
    fitted: Sequence[CodedClip], held_out: Sequence[CodedClip], tokenizer: str
) -> tuple[Measured, Measured]:
    """(unigram, same-stage bigram), counted on `fitted` and measured on `held_out`."""
    stream = STREAMS[tokenizer]
    unigram_losses = [np.empty(clip.codes[: stream.window_steps].shape) for clip in held_out]
    bigram_losses = [np.empty_like(losses) for losses in unigram_losses]
    for q, size in enumerate(stream.codebook_sizes):
        counts, pairs = np.zeros(size), np.zeros((size, size))
        for clip in fitted:
            codes = clip.codes[:, q]
            counts += np.bincount(codes, minlength=size)
            np.add.at(pairs, (codes[:-1], codes[1:]), 1)
        unigram = (counts + 1) / (counts.sum() + size)
        bigram = (pairs + BIGRAM_PRIOR * unigram) / (pairs.sum(axis=1, keepdims=True) + BIGRAM_PRIOR)
        for clip, single, double in zip(held_out, unigram_losses, bigram_losses, strict=True):
            codes = clip.codes[: stream.window_steps, q]
            single[:, q] = -np.log(unigram[codes])
            double[:, q] = -np.log(np.r_[unigram[codes[:1]], bigram[codes[:-1], codes[1:]]])
    return _summary(unigram_losses, held_out, stream), _summary(bigram_losses, held_out, stream)


def _summary(losses: list[NDArray[np.float64]], clips: Sequence[CodedClip], stream: Stream) -> Measured:
    """losses: per clip (n_steps, n_codebooks). Seconds of a cut clip are cut in proportion."""
    together = np.concatenate(losses)
    seconds = sum(c.seconds * min(1.0, stream.window_steps / len(c.codes)) for c in clips)
    return Measured(
        nll=float(together.mean()),
        nll_by_codebook=tuple(float(value) for value in together.mean(axis=0)),
        nats_per_second=float(together.sum() / seconds),
        n_tokens=together.size,
        seconds=seconds,
    )
