"""Are a model's log-probabilities probabilities, of the right thing, given nothing but what comes before?

Conventions
-----------
- Normalisation, of any family: the probabilities of all legal codes at a place, given the same codes before it, sum to
  1 over the legal ids and to at most 1 over the whole vocabulary. A code that is scored by logits that have seen it
  (shift by one) does not.
- Sums, where the family shows its logits: the clip's log-probabilities are those of a plain float64 softmax over the
  logits before each id (mean within 1e-4 nats, sum within 1e-6 of it).
- Causality: another last code changes no earlier value; another code changes the value right after it (a shift the
  other way would look past it).
- Batches: alone, together and in reverse order within 1e-4 nats a token; in bfloat16 and float16 within 0.1, which is
  what their rounding costs.
- The whole is the prompt and the rest: equal beginnings have equal values, so that log p(clip) = log p(prompt) +
  log p(rest | prompt).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spokeneval.check_model.findings import Finding, not_checked, verdict
from spokeneval.check_model.scored import Place, places, units_of
from spokeneval.errors import ItemError
from spokeneval.models.base import LogProbs, ScoredSequence, SpokenLM
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.prefixes import shared_length
from spokeneval.tokenizers.base import Codes, TokenizerInfo

N_STEPS_OF_NORMALISATION = 3
N_STEPS_OF_CAUSALITY = 24
N_CHANGED = 8
"""Places whose code is changed, to see what follows."""


@dataclass(frozen=True)
class Tolerance:
    """What rounding may cost, in nats a token and in probability."""

    nats: float
    probability: float

    @classmethod
    def of(cls, dtype: str) -> Tolerance:
        return cls(1e-4, 1e-3) if dtype == "float32" else cls(0.1, 0.05)


def check_scoring(
    model: SpokenLM, info: TokenizerInfo, clips: Sequence[tuple[str, Codes, int]], dtype: str, max_batch_tokens: int
) -> list[Finding]:
    """clips: name, codes that fit the context, and the frame of the cut."""
    tolerance = Tolerance.of(dtype)
    sequences = [(name, model.sequence(codes)) for name, codes, _ in clips]
    alone = [model.logprobs([sequence])[0] for _, sequence in sequences]
    short = min((codes for _, codes, _ in clips), key=lambda codes: len(codes.codes))
    return [
        _finite(sequences, alone),
        _float64(model, sequences, alone),
        *_normalisation(model, info, short.take(np.arange(N_STEPS_OF_NORMALISATION)), tolerance, max_batch_tokens),
        *_causality(model, info, short.take(np.arange(min(N_STEPS_OF_CAUSALITY, len(short.codes)))), tolerance),
        _batches(model, sequences, alone, tolerance),
        _additivity(model, clips, sequences, alone, tolerance),
    ]


def _finite(sequences: Sequence[tuple[str, ScoredSequence]], alone: Sequence[LogProbs]) -> Finding:
    name = "log-probabilities are finite, float32 and at most 0, one for each scored place"
    for (clip, sequence), result in zip(sequences, alone, strict=True):
        for values in result:
            if values.shape != sequence.index.shape or values.dtype != np.float32:
                return verdict(name, f"{clip}: {values.dtype} {values.shape}; expected float32 {sequence.index.shape}")
            if not np.isfinite(values).all() or values.max() > 1e-5:
                return verdict(name, f"{clip}: values between {values.min()} and {values.max()}")
        if (result.legal < result.logprob).any():
            return verdict(name, f"{clip}: a softmax over fewer ids gives less; expected legal >= whole vocabulary")
    return verdict(name, None, f"{sum(len(r.logprob) for r in alone)} places")


def _float64(model: SpokenLM, sequences: Sequence[tuple[str, ScoredSequence]], alone: Sequence[LogProbs]) -> Finding:
    name = "a clip's sum is that of a plain float64 softmax over the model's logits"
    if not isinstance(model, CausalUnitLM):
        return not_checked(name, "this family does not show its logits")
    worst = 0.0
    for (clip, sequence), result in zip(sequences, alone, strict=True):
        with torch.inference_mode():
            ids = torch.from_numpy(sequence.input_ids)[None].to(model.model.device)
            logits = model.model(input_ids=ids, use_cache=False).logits[0].double().cpu()
        plain = torch.log_softmax(logits, -1)[sequence.index - 1, sequence.target].numpy()
        total, expected = float(result.logprob.astype(np.float64).sum()), float(plain.sum())
        off = abs(total - expected) / len(plain)
        worst = max(worst, off)
        if off > 1e-4 or abs(total - expected) > 1e-6 * abs(expected):
            return verdict(
                name,
                f"{clip}: {total:.4f} nats, but the logits say {expected:.4f} ({total / len(plain):.4f} and "
                f"{expected / len(plain):.4f} a token): each id must be scored by the logits at the place before it",
            )
    return verdict(name, None, f"off by at most {worst:.1e} nats a token")


def _normalisation(
    model: SpokenLM, info: TokenizerInfo, codes: Codes, tolerance: Tolerance, max_batch_tokens: int
) -> list[Finding]:
    """The last step's first and last codebook, with every code in turn."""
    names = (
        "over all legal codes at a place probabilities sum to 1",
        "over the whole vocabulary those of the codes sum to at most 1",
    )
    units = units_of(model.sequence(codes))
    last = max(place[0] for place in units)
    chosen = sorted(place for place in units if place[0] == last)
    sums: dict[Place, tuple[float, float]] = {}
    for place in dict.fromkeys((chosen[0], chosen[-1])):
        variants = [model.sequence(variant) for variant in _variants(codes, info, place)]
        at_once = max(1, max_batch_tokens // len(variants[0].input_ids))
        results = [r for i in range(0, len(variants), at_once) for r in model.logprobs(variants[i : i + at_once])]
        full, legal = (
            float(np.exp([np.float64(getattr(r, kind)[units[place]]) for r in results]).sum())
            for kind in ("logprob", "legal")
        )
        sums[place] = (full, legal)
    figures = ", ".join(f"codebook {q}: {legal:.4f}" for (_, q), (_, legal) in sums.items())
    figures_full = ", ".join(f"codebook {q}: {full:.4f}" for (_, q), (full, _) in sums.items())
    wrong = any(abs(legal - 1) > tolerance.probability for _, legal in sums.values())
    too_much = any(full > 1 + tolerance.probability for full, _ in sums.values())
    shifted = (
        f"{figures}: what is called a log-probability is none. A code that is scored by the logits after it has been "
        "seen (shift by one) gives this: score id i by the logits at i - 1"
    )
    return [
        verdict(names[0], shifted if wrong else None, figures),
        verdict(names[1], f"{figures_full}: more than certainty" if too_much else None, figures_full),
    ]


def _variants(codes: Codes, info: TokenizerInfo, place: Place) -> list[Codes]:
    """The clip with every legal code at one place."""
    index = places(codes)[place]
    row, column = divmod(index, codes.codes.shape[1])
    found = []
    books = range(info.n_codebooks) if codes.codebooks is not None else (place[1],)
    for book in books:
        for code in range(info.codebook_sizes[book]):
            changed = codes.codes.copy()
            changed[row, column] = code
            variant = codes._replace(codes=changed)
            if codes.codebooks is not None:
                events = codes.codebooks.copy()
                events[row] = book
                variant = variant._replace(codebooks=events)
            found.append(variant)
    return found


def _causality(model: SpokenLM, info: TokenizerInfo, codes: Codes, tolerance: Tolerance) -> list[Finding]:
    whole = model.sequence(codes)
    order = sorted(units_of(whole).items(), key=lambda item: int(whole.index[item[1]]))
    before = model.logprobs([whole])[0].logprob

    def difference(place: Place) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """By how much every value moves with another code at one place."""
        index, changed = places(codes)[place], codes.codes.copy()
        row, column = divmod(index, codes.codes.shape[1])
        changed[row, column] = (changed[row, column] + 1) % info.codebook_sizes[place[1]]
        after = model.logprobs([model.sequence(codes._replace(codes=changed))])[0].logprob
        return np.abs(after.astype(np.float64) - before)

    names = ("another last code changes no earlier value", "another code changes the value right after it")
    last_place, last_position = order[-1]
    earlier = difference(last_place)[whole.index < whole.index[last_position]]
    leak = float(earlier.max(initial=0.0))
    places_of_leak = int((earlier > tolerance.nats).sum())
    first = verdict(
        names[0],
        f"{places_of_leak} earlier values change, by up to {leak:.3g} nats: the model looks ahead; expected a causal "
        "model, and codes that are scored before they are fed"
        if leak > tolerance.nats
        else None,
        f"at most {leak:.1e} nats",
    )
    if len(order) < 3:
        return [first, not_checked(names[1], "a clip of so few codes shows nothing")]
    tried = np.unique(np.linspace(0, len(order) - 2, N_CHANGED).astype(int))
    moved = [float(difference(order[i][0])[order[i + 1][1]]) for i in tried]
    deaf = max(moved) <= 1e-6
    return [
        first,
        verdict(
            names[1],
            "no value moves with the code right before it: what is scored looks past it (each id must be scored by the "
            "logits at the place before it), or the model knows nothing of its context"
            if deaf
            else None,
            f"by {np.median(moved):.2g} nats (median of {len(tried)})",
        ),
    ]


def _batches(
    model: SpokenLM,
    sequences: Sequence[tuple[str, ScoredSequence]],
    alone: Sequence[LogProbs],
    tolerance: Tolerance,
) -> Finding:
    name = "alone, in a batch and in reverse order values are the same"
    if len(sequences) == 1:
        return not_checked(name, "there is one clip only")
    batch = [sequence for _, sequence in sequences]
    together, reverse = model.logprobs(batch), model.logprobs(batch[::-1])[::-1]
    worst, worst_clip = 0.0, ""
    for i, (clip, _) in enumerate(sequences):
        for other in (together[i], reverse[i]):
            off = max(float(np.abs(a - b).max()) for a, b in zip(alone[i], other, strict=True))
            if off > worst:
                worst, worst_clip = off, clip
    problem = (
        f"{worst_clip}: a value changes by {worst:.3g} nats with the batch, more than {tolerance.nats:g}: padding "
        "enters what is scored (pad on the right, or mask it)"
    )
    return verdict(name, problem if worst > tolerance.nats else None, f"within {worst:.1e} nats a token")


def _additivity(
    model: SpokenLM,
    clips: Sequence[tuple[str, Codes, int]],
    sequences: Sequence[tuple[str, ScoredSequence]],
    alone: Sequence[LogProbs],
    tolerance: Tolerance,
) -> Finding:
    name = "log p(clip) = log p(prompt) + log p(rest | prompt)"
    worst, n_compared = 0.0, 0
    for (clip, codes, cut), (_, whole), of_whole in zip(clips, sequences, alone, strict=True):
        ends = codes.frame_starts() + codes.frame_counts()
        try:
            prompt = model.sequence(codes.take(ends <= cut))
        except ItemError:
            continue  # nothing before the cut can be scored
        n_shared = shared_length(whole.input_ids, prompt.input_ids)
        of_prompt = model.logprobs([prompt])[0].logprob
        shared = prompt.index < n_shared
        if not shared.any():
            return verdict(
                name, f"{clip}: the prompt alone is fed as another string than within the clip: nothing is shared"
            )
        n = int(shared.sum())
        off = np.abs(of_whole.logprob[:n].astype(np.float64) - of_prompt[:n])
        worst, n_compared = max(worst, float(off.max())), n_compared + n
        if worst > tolerance.nats:
            return verdict(
                name,
                f"{clip}: the prompt's own values change by up to {worst:.3g} nats when the rest follows it: what "
                "comes later is seen, or positions shift",
            )
    if n_compared == 0:
        return not_checked(name, "no prompt can be scored")
    return verdict(name, None, f"within {worst:.1e} nats at {n_compared} places")
