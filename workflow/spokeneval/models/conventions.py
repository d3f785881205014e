"""Sequence conventions by name: what is fed to a published model and what of it is scored.

A convention fills the `sequence` block of a model; keys that the configuration gives beside it win. Those named after a
published script (the second group) also name the reduction that the script uses and what it expects of the tokenizer
of the audio, so that one name repeats its numbers: see docs/models.md.

Conventions
-----------
- salmon-twist (slp-rl/salmon, baselines): the first unit is given; ids equal to the model's padding are masked; mean or
  sum of the rest; a tie is a half.
- slamkit, slamkit-sims (slp-rl/slamkit, modelling_metric): all ids but the first, so Slam's closing <S>, too; the inner
  model's padding is masked; mean or sum; a tie is a half. Logits of text stay in (`used_token_modality: null`).
- llama-mimi-salmon, llama-mimi-slm21 (llm-jp/llama-mimi, eval): 20 s at most; the tokenizer's padding, which is its EOS
  where it has none, is masked; the mean over all ids but the first, or (sLM21, StoryCloze) over places 2, 6, 10 ...:
  after a BOS and <audio> these are codebook 0 and </audio>. A tie is wrong.
- All: clips beyond the model's positions are run, where positions are not learned; and in half precision clips are
  scored one at a time, with no value shared between clips, because the last bits depend on the batch.
- Not part of a convention: the dtype. Llama-Mimi's scripts load float16; slamkit's load what their settings say
  (bfloat16 for `model=slam`) and take the cross-entropy in it, where this package's log-softmax is float32 always.
  Nor what becomes of a clip of which nothing is scored: a NaN there, which counts as wrong; a failed item here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spokeneval.errors import ConfigError


@dataclass(frozen=True)
class Convention:
    sequence: dict[str, Any]
    reductions: tuple[str, ...] = ()
    """Names of reduction conventions that are computed for the model in addition."""
    tokenizer: dict[str, Any] = field(default_factory=dict)
    """Keys of the tokenizer's block and the values that they must have."""
    script: bool = False
    """True where it repeats a published script, which runs one clip at a time: half precision depends on that."""


_TWIST: dict[str, Any] = {"offset": "config", "bos": None, "eos": None}
_SLAM: dict[str, Any] = {"offset": 2, "bos": 1, "eos": 1}
_SIMS: dict[str, Any] = {"codes": "<Un{code}>", "text": "{codes}"}
_LLAMA_MIMI: dict[str, Any] = {"codes": "<{code}_{codebook}>", "text": "<audio>{codes}</audio>"}
_SPIRITLM: dict[str, Any] = {"codes": ["[Hu{code}]"], "text": "[Speech]{codes}"}
_MIMI: dict[str, Any] = {"max_s": 20.0, "resampler": "soxr_hq"}
_TEXTLESS: dict[str, Any] = {"padding": "textless", "deduplicate": True}
_SLAMKIT: dict[str, Any] = {"padding": "slamkit", "deduplicate": True}

CONVENTIONS = {
    "twist": Convention(_TWIST),
    "slam": Convention(_SLAM),
    "sims": Convention(_SIMS),
    "llama-mimi": Convention(_LLAMA_MIMI),
    "spiritlm-base": Convention(_SPIRITLM, ("sum", "legal")),
    "spiritlm-expressive": Convention(
        {**_SPIRITLM, "codes": ["[Hu{code}]", "[Pi{code}]", "[St{code}]"]}, ("sum", "legal")
    ),
    # ---- named after scripts
    **{
        name: Convention({**sequence, "unscored": unscored, "max_context": "unlimited"}, reductions, tokenizer, True)
        for name, sequence, unscored, reductions, tokenizer in (
            ("salmon-twist", _TWIST, "config_pad", ("salmon-twist", "salmon-twist-sum"), _TEXTLESS),
            ("slamkit", _SLAM, "config_pad", ("slamkit", "slamkit-sum"), _SLAMKIT),
            ("slamkit-sims", _SIMS, "config_pad", ("slamkit", "slamkit-sum"), _SLAMKIT),
            ("llama-mimi-salmon", _LLAMA_MIMI, "tokenizer_pad", ("llama-mimi-salmon",), _MIMI),
            ("llama-mimi-slm21", _LLAMA_MIMI, "tokenizer_pad", ("llama-mimi-slm21",), _MIMI),
        )
    },
}


def find_convention(name: str) -> Convention:
    """Raises ConfigError for an unknown name."""
    if name not in CONVENTIONS:
        raise ConfigError(f"unknown convention '{name}'; known: {', '.join(sorted(CONVENTIONS))}")
    return CONVENTIONS[name]
