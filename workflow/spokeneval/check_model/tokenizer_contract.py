"""Does a tokenizer keep its promises on real clips?

Conventions
-----------
- Codes of a clip depend on that clip alone: not on what was encoded before it (a buffer, padding to the longest clip
  so far), nor on how often.
- As many frames as the clip's seconds hold at the declared rate, within 2: codecs round up, convolutions without
  padding lose one or two. More is a wrong rate, a wrong hop, or padding that became codes.
- `causal` is a promise: the codes of a clip's first half alone are those of the whole clip, up to the half's last
  frame. A tokenizer that does not promise it is not held to it.
- Of de-duplicated units the durations are at least 1 and neighbours differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spokeneval.check_model.findings import Finding, not_checked, verdict
from spokeneval.check_model.items import CheckedClip
from spokeneval.errors import ItemError
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.tokens import check_codes

FRAMES_OFF = 2
_APPENDED_S = 1.0


def check_tokenizer(
    tokenizer: Tokenizer, clips: Sequence[CheckedClip], encoded: Sequence[Codes], max_s: float | None = None
) -> list[Finding]:
    """encoded: the codes of the clips, in order, as first had. max_s: seconds that are encoded at most."""
    info = tokenizer.info
    return [
        _shapes(info, clips, encoded),
        _n_frames(info, clips, encoded, max_s),
        _state(tokenizer, clips, encoded),
        _prefix(tokenizer, clips, encoded),
    ]


def equal(a: Codes, b: Codes) -> bool:
    """The same codes, durations, codebooks and starts."""
    return all(np.array_equal(x, y) if x is not None and y is not None else x is y for x, y in zip(a, b, strict=True))


def _shapes(info: TokenizerInfo, clips: Sequence[CheckedClip], encoded: Sequence[Codes]) -> Finding:
    name = "codes and durations are what the tokenizer declares"
    for clip, codes in zip(clips, encoded, strict=True):
        try:
            check_codes(codes, info)
        except (ItemError, ValueError) as error:
            return verdict(name, f"{clip.name}: {error}")
        if not info.asynchronous and (codes.durations is not None) != info.deduplicated:
            given = "no durations" if codes.durations is None else "durations"
            return verdict(name, f"{clip.name}: {given}, but `deduplicated` is {str(info.deduplicated).lower()}")
        counts = codes.frame_counts()
        if counts.min() < 1:
            return verdict(name, f"{clip.name}: a step of {counts.min()} frames; expected 1 or more")
        if info.deduplicated and not info.asynchronous:
            same = np.flatnonzero((codes.codes[1:] == codes.codes[:-1]).all(axis=1))
            if len(same):
                return verdict(
                    name, f"{clip.name}: steps {same[0]} and {same[0] + 1} are equal; expected runs to be merged"
                )
    return verdict(name, None, f"{len(encoded)} clips, codebooks of {info.codebook_sizes}")


def _n_frames(
    info: TokenizerInfo, clips: Sequence[CheckedClip], encoded: Sequence[Codes], max_s: float | None
) -> Finding:
    name = f"frames are seconds x {info.frame_rate:.4g} a second"
    off = []
    for clip, codes in zip(clips, encoded, strict=True):
        heard_s = clip.seconds if max_s is None else min(clip.seconds, max_s)
        expected = heard_s * info.frame_rate
        off.append(codes.n_frames - expected)
        if abs(off[-1]) > FRAMES_OFF:
            return verdict(
                name,
                f"{clip.name}: {codes.n_frames} frames in {heard_s:.3f} s, which is "
                f"{codes.n_frames / heard_s:.2f} a second; expected about {expected:.1f}: `sample_rate` "
                f"({info.sample_rate} Hz) or `hop_samples` ({info.hop_samples}) is wrong, or padding became codes",
            )
    return verdict(name, None, f"off by {min(off):+.1f} to {max(off):+.1f}")


def _state(tokenizer: Tokenizer, clips: Sequence[CheckedClip], encoded: Sequence[Codes]) -> Finding:
    """Every clip again: in another order, and each after a longer clip (itself with silence appended)."""
    name = "a clip's codes do not depend on what was encoded before it"
    rate = tokenizer.info.sample_rate
    silence = np.zeros(int(_APPENDED_S * rate), np.float32)
    for clip, codes in reversed(list(zip(clips, encoded, strict=True))):
        waveform = clip.for_tokenizer(tokenizer.info)
        others = {"the other clips, in reverse order": tokenizer.encode(waveform)}
        try:
            tokenizer.encode(np.concatenate([waveform, silence]))
        except ItemError:
            pass  # longer than this tokenizer takes
        else:
            others["the same clip with 1 s of silence appended"] = tokenizer.encode(waveform)
        for what, again in others.items():
            if not equal(codes, again):
                n = min(len(codes.codes), len(again.codes))
                first = np.flatnonzero((codes.codes[:n] != again.codes[:n]).any(axis=1))
                where = f"from step {first[0]} on" if len(first) else f"in length ({n} steps in common)"
                return verdict(
                    name,
                    f"{clip.name}: codes differ {where} after {what}: the tokenizer keeps a state, or pads clips to "
                    "one another's length; encode each clip from a fresh state, without padding",
                )
    return verdict(name, None, f"{len(clips)} clips, twice each")


def _prefix(tokenizer: Tokenizer, clips: Sequence[CheckedClip], encoded: Sequence[Codes]) -> Finding:
    info = tokenizer.info
    name = f"a clip's first half has the codes of the whole clip (`causal: {str(info.causal).lower()}`)"
    if info.asynchronous:
        return not_checked(name, "codebooks of different rates")
    n_equal = n_frames = 0
    for clip, codes in zip(clips, encoded, strict=True):
        half = codes.n_frames // 2
        try:
            alone = tokenizer.encode(clip.for_tokenizer(info)[: half * info.hop_samples])
        except ItemError:
            continue
        a, b = (np.repeat(c.codes, c.frame_counts(), axis=0)[: half - 1] for c in (codes, alone))
        n = min(len(a), len(b))
        same = (a[:n] == b[:n]).all(axis=1)
        n_equal, n_frames = n_equal + int(same.sum()), n_frames + n
        if info.causal and not same.all():
            first = int(np.flatnonzero(~same)[0])
            return verdict(
                name,
                f"{clip.name}: the codes of frame {first} of {half} change with what comes later, but `causal` is "
                "true; declare `causal: false`",
            )
    if n_frames == 0:
        return not_checked(name, "the halves of these clips are too short")
    share = f"{100 * n_equal / n_frames:.0f} % of {n_frames} frames are equal"
    if not info.causal:
        share += "; not promised, so prompts are encoded as files of their own"
    return verdict(name, None, share)
