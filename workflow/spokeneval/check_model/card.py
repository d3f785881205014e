"""What was loaded and how fast it runs: the facts about a model on one page.

Conventions
-----------
- Parameters are those of all networks of the model, each once; dtype and device are those of the first of them.
- Scoring speed: scored places a second, all clips in batches, after a run that warms up. Continuation: new codes a
  second, all prompts in one batch.
- Memory: by how much the process grew at its largest since before the model was loaded, without what items and
  tokenizer took; on CUDA what torch allocated at most.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from spokeneval.check_model.probes import Probed
from spokeneval.check_model.scored import vocabulary_of
from spokeneval.models.base import SpokenLM
from spokeneval.models.frame_lm import FrameLM
from spokeneval.tokenizers.base import Codes, TokenizerInfo

N_FITS = 5
"""Alternatives that are listed, the nearest first."""


@dataclass(frozen=True)
class Networks:
    n_parameters: int
    dtype: str
    device: str

    @classmethod
    def of(cls, model: SpokenLM) -> Networks | None:
        """None where the family has no torch modules among its attributes."""
        parameters = {id(p): p for module in _modules(model) for p in module.parameters()}
        if not parameters:
            return None
        first = next((p for p in parameters.values() if p.is_floating_point()), next(iter(parameters.values())))
        n = sum(p.numel() for p in parameters.values())
        return cls(n, str(first.dtype).removeprefix("torch."), str(first.device))


def _modules(model: object, depth: int = 2) -> Iterator[torch.nn.Module]:
    for value in vars(model).values():
        if isinstance(value, torch.nn.Module):
            yield value
        elif depth > 1 and hasattr(value, "__dict__"):
            yield from _modules(value, depth - 1)


def peak_rss_mib() -> float:
    """The process at its largest so far."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10


def rate_of(work: Callable[[], int]) -> float:
    """Units of work a second."""
    began = time.perf_counter()
    n = work()
    return n / max(time.perf_counter() - began, 1e-9)


def memory_line(before_mib: float) -> str:
    line = f"{peak_rss_mib():.0f} MiB at most, {peak_rss_mib() - before_mib:.0f} MiB more than before it was loaded"
    if torch.cuda.is_available():
        line += f"; CUDA {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
    return line


def model_lines(model: SpokenLM, info: TokenizerInfo, options: dict[str, Any]) -> list[tuple[str, str]]:
    """What is loaded, and its convention in full. options: the model's block, its own defaults filled in."""
    lines: list[tuple[str, str]] = []
    networks = Networks.of(model)
    if networks is not None:
        lines.append(
            ("parameters", f"{networks.n_parameters / 1e6:.3g} M, {networks.dtype} on {networks.device}"),
        )
    lines.append(
        (
            "tokenizer",
            f"{info.frame_rate:.4g} frames a second ({info.sample_rate} Hz / {info.hop_samples}), codebooks of "
            f"{' + '.join(map(str, info.codebook_sizes))}"
            f"{', runs merged' if info.deduplicated else ''}{', asynchronous' if info.asynchronous else ''}, "
            f"causal: {str(info.causal).lower()}, {info.resampler}",
        )
    )
    vocabulary = vocabulary_of(model)
    if vocabulary is not None:
        network = getattr(model, "model", None)
        rows = None if network is None else int(network.get_output_embeddings().weight.shape[0])
        lines += [
            ("vocabulary", f"{vocabulary.n_ids} ids are needed, the model has {rows}"),
            ("code 0", ", ".join(f"id {table[0]} (codebook {q})" for q, table in enumerate(vocabulary.tables))),
            ("before", f"{list(vocabulary.prefix) or 'nothing: the first code is given and not scored'}"),
            ("after", f"{list(vocabulary.suffix) or 'nothing'}"),
            ("never scored", f"{sorted(vocabulary.unscored) or 'none'}"),
        ]
    said = ", ".join(f"{key}: {_plain(value)}" for key, value in options.items() if value is not None)
    return [*lines, ("convention", said)]


def _plain(value: Any) -> str:
    """As YAML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def context_line(model: SpokenLM, clips: Sequence[Codes], whole: Sequence[Codes]) -> str:
    """How much of the model's context these clips take. whole: before they were cut to fit."""
    sequences = [model.sequence(codes) for codes in clips]
    limit: int | None
    if isinstance(model, FrameLM):
        limit, unit = model.frames.max_steps, "steps"
        longest = max(int(sequence.step[-1]) + 1 for sequence in sequences)
    else:
        limit, unit = getattr(model, "max_context", None), "ids"
        longest = max(len(sequence.input_ids) for sequence in sequences)
    n_cut = sum(len(a.codes) < len(b.codes) for a, b in zip(clips, whole, strict=True))
    line = f"the longest of these clips takes {longest} {unit}" + (f" of {limit}" if limit is not None else "")
    return line + (f"; {n_cut} are longer than the context and were cut for this check" if n_cut else "")


def fit_lines(probed: Probed) -> list[tuple[str, str]]:
    lines = [
        (
            "fit",
            f"{probed.declared_nats:.3f} nats a code over the whole vocabulary, mean of the clips (uniform over legal "
            f"codes {probed.uniform_nats:.3f}, unigram {probed.unigram_nats:.3f})",
        )
    ]
    nearest = sorted(probed.fits, key=lambda fit: -fit.gain.mean if fit.gain.decides else float("inf"))[:N_FITS]
    return lines + [("" if i else "nearest", f"{fit.label}: {fit.gain}") for i, fit in enumerate(nearest)]
