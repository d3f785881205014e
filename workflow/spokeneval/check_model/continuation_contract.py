"""Does a model continue prompts as promised?

Conventions
-----------
- Prompts are the clips up to their cut, from the clip's own codes; the decoding is the model's own, but short.
- The same codes alone, in a batch and in reverse order; only codes that there are; of frames exactly as many as asked
  for where decoding is constrained, of de-duplicated units at least one.
- In float32 on the CPU equal means equal. In half precision and on other devices rounding may tip a choice, and all
  that follows: there the share of prompts whose continuation diverges is reported, with the first step at which one
  does.
- With `min_new_s` a continuation has from so many frames to as many as asked for.
- The vocoder's sound of a continuation is finite, and as long as its frames (units last as long as it decides).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from spokeneval.check_model.findings import Finding, not_checked, verdict
from spokeneval.check_model.tokenizer_contract import equal
from spokeneval.continuations import decode_new, n_least_frames
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
    device: str = "cpu",
) -> list[Finding]:
    """prompts: such that n_frames more fit the context. dtype, device: of the model's weights."""
    if vocoder is None:
        return [not_checked(name, "the model has no vocoder: it is scored and not heard") for name in _NAMES]
    least = n_least_frames(decoding, tokenizer.info)
    more = {} if least is None else {"min_frames": least}

    def say(batch: Sequence[Prompt]) -> list[Codes]:
        return model.continue_(batch, n_frames, decoding, 0, **more)

    try:
        alone = [say([prompt])[0] for prompt in prompts]
    except SpokenevalError as error:
        return [verdict(_NAMES[1], f"{prompts[0].clip_id[:12]}: {error}")]
    return [
        _batches(say, prompts, alone, "" if (dtype, device) == ("float32", "cpu") else f"{dtype} on {device}"),
        _length(tokenizer.info, alone, n_frames, decoding, least),
        _heard(prompts, alone, tokenizer, vocoder),
    ]


def _batches(
    say: Callable[[Sequence[Prompt]], list[Codes]], prompts: Sequence[Prompt], alone: Sequence[Codes], rounded: str
) -> Finding:
    """rounded: dtype and device where rounding may differ between batches; empty where it may not matter."""
    together = say(prompts)
    reverse = say(list(prompts)[::-1])[::-1]
    if rounded:
        n_diverging, figures = _divergence(alone, together, reverse)
        return Finding(_NAMES[0], "cannot tell" if n_diverging else "ok", f"{rounded}: {figures}")
    for prompt, one, *others in zip(prompts, alone, together, reverse, strict=True):
        if not all(equal(one, other) for other in others):
            return verdict(
                _NAMES[0],
                f"{prompt.clip_id[:12]}: other codes in a batch of {len(prompts)} than alone: padding is seen (pad on "
                "the left, with a mask and positions), or noise is not keyed by the clip",
            )
    return verdict(_NAMES[0], None, f"{len(prompts)} prompts")


def _divergence(alone: Sequence[Codes], *batches: Sequence[Codes]) -> tuple[int, str]:
    """How many prompts have other codes in one of the batches than alone, and the first step at which one has."""
    firsts = []
    for one, *others in zip(alone, *batches, strict=True):
        steps = [_first_difference(one, other) for other in others if not equal(one, other)]
        firsts += [min(steps)] if steps else []
    share = f"{len(firsts)} of {len(alone)} continuations ({100 * len(firsts) / len(alone):.0f} %) diverge"
    at = f", the first at step {min(firsts)} of {max(len(one.codes) for one in alone)}" if firsts else ""
    return len(firsts), f"{share} between batch sizes{at}"


def _first_difference(one: Codes, other: Codes) -> int:
    """The first step, counted from 0, that differs; the length of the shorter where one begins with the other."""
    n = min(len(one.codes), len(other.codes))
    different = np.flatnonzero((one.codes[:n] != other.codes[:n]).any(axis=1))
    return int(different[0]) if len(different) else n


def _length(info: TokenizerInfo, new: Sequence[Codes], n_frames: int, decoding: Decoding, least: int | None) -> Finding:
    name, asked = _NAMES[1], f"{n_frames}" if least is None else f"{least} to {n_frames}"
    for codes in new:
        try:
            check_codes(codes, info)
        except (ItemError, ValueError) as error:
            if len(codes.codes) == 0 and (not decoding.constrained or least == 0):
                continue  # the model ended or left the codes at once: a continuation that is recorded as empty
            return verdict(name, str(error))
        fewest = n_frames if least is None else least
        exact = decoding.constrained and not info.deduplicated
        if (exact and codes.n_frames < fewest) or (not info.deduplicated and codes.n_frames > n_frames):
            return verdict(name, f"{codes.n_frames} frames; asked for {asked}")
    n_steps = [len(codes.codes) for codes in new]
    return verdict(name, None, f"{min(n_steps)} to {max(n_steps)} steps for {asked} frames")


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
