"""Does a model continue prompts as promised?

Conventions
-----------
- Prompts are the clips up to their cut, from the clip's own codes; the decoding is the model's own, but short.
- The same codes alone, in a batch and in reverse order; only codes that there are; of frames exactly as many as asked
  for where decoding is constrained, of de-duplicated units at least one.
- In bfloat16 and float16 rounding may tip a choice, so that batches are not compared.
- The vocoder's sound of a continuation is finite, and as long as its frames (units last as long as it decides).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spokeneval.check_model.findings import Finding, not_checked, verdict
from spokeneval.check_model.tokenizer_contract import equal
from spokeneval.continuations import decode_new
from spokeneval.errors import ItemError, SpokenevalError
from spokeneval.models.base import Decoding, Prompt, SpokenLM
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.tokens import check_codes
from spokeneval.vocoders.base import Vocoder, sample_rate_of

_NAMES = (
    "a continuation does not depend on its batch",
    "a continuation holds codes that there are, as many as asked for",
    "a continuation can be heard",
)


def check_continuation(
    model: SpokenLM,
    tokenizer: Tokenizer,
    vocoder: Vocoder | None,
    prompts: Sequence[Prompt],
    n_frames: int,
    decoding: Decoding,
    dtype: str,
) -> list[Finding]:
    """prompts: such that n_frames more fit the context."""
    if vocoder is None:
        return [not_checked(name, "the model has no vocoder: it is scored and not heard") for name in _NAMES]
    try:
        alone = [model.continue_([prompt], n_frames, decoding, 0)[0] for prompt in prompts]
    except SpokenevalError as error:
        return [verdict(_NAMES[1], f"{prompts[0].clip_id[:12]}: {error}")]
    return [
        _batches(model, prompts, alone, n_frames, decoding, dtype),
        _length(tokenizer.info, alone, n_frames, decoding),
        _heard(prompts, alone, tokenizer, vocoder),
    ]


def _batches(
    model: SpokenLM,
    prompts: Sequence[Prompt],
    alone: Sequence[Codes],
    n_frames: int,
    decoding: Decoding,
    dtype: str,
) -> Finding:
    if dtype != "float32":
        return not_checked(_NAMES[0], f"{dtype}: rounding may tip a choice")
    together = model.continue_(prompts, n_frames, decoding, 0)
    reverse = model.continue_(list(prompts)[::-1], n_frames, decoding, 0)[::-1]
    for prompt, one, *others in zip(prompts, alone, together, reverse, strict=True):
        if not all(equal(one, other) for other in others):
            return verdict(
                _NAMES[0],
                f"{prompt.clip_id[:12]}: other codes in a batch of {len(prompts)} than alone: padding is seen (pad on "
                "the left, with a mask and positions), or noise is not keyed by the clip",
            )
    return verdict(_NAMES[0], None, f"{len(prompts)} prompts")


def _length(info: TokenizerInfo, new: Sequence[Codes], n_frames: int, decoding: Decoding) -> Finding:
    name = _NAMES[1]
    for codes in new:
        try:
            check_codes(codes, info)
        except (ItemError, ValueError) as error:
            if not decoding.constrained and len(codes.codes) == 0:
                continue  # the model left the codes at once: a continuation that is recorded as empty
            return verdict(name, str(error))
        exact = decoding.constrained and not info.deduplicated
        if (exact and codes.n_frames != n_frames) or (not info.deduplicated and codes.n_frames > n_frames):
            return verdict(name, f"{codes.n_frames} frames; asked for {n_frames}")
    n_steps = [len(codes.codes) for codes in new]
    return verdict(name, None, f"{min(n_steps)} to {max(n_steps)} steps for {n_frames} frames")


def _heard(prompts: Sequence[Prompt], new: Sequence[Codes], tokenizer: Tokenizer, vocoder: Vocoder) -> Finding:
    name, info = _NAMES[2], tokenizer.info
    rate = sample_rate_of(vocoder, info)
    for prompt, codes in zip(prompts, new, strict=True):
        if len(codes.codes) == 0:
            continue
        try:
            waveform = decode_new(prompt.codes, codes, tokenizer, vocoder)
        except ItemError as error:
            return verdict(name, f"{prompt.clip_id[:12]}: {error}")
        if not np.isfinite(waveform).all():
            return verdict(name, f"{prompt.clip_id[:12]}: the vocoder gave NaN or infinite samples")
        heard_s, asked_s = len(waveform) / rate, codes.n_frames / info.frame_rate
        if not info.deduplicated and abs(heard_s - asked_s) > 2 / info.frame_rate:
            return verdict(
                name,
                f"{prompt.clip_id[:12]}: {heard_s:.3f} s of sound for {codes.n_frames} frames ({asked_s:.3f} s): "
                "the vocoder's rate or hop is not the tokenizer's",
            )
    return verdict(name, None, f"at {rate} Hz")
