"""Wrong conventions show in the model's own likelihood of real speech: another one fits better.

Conventions
-----------
- Fit is the mean loss of a clip's codes in nats (softmax over the whole vocabulary, marks left out), on the codes that
  both conventions score. What counts as better: see `comparison`.
- Baselines are uniform and unigram (see `baselines`), against the softmax over the legal ids. A model that is no better
  than uniform under any convention cannot tell conventions apart: random or untrained weights, or codes of another
  tokenizer; that is wrong. One that is better than uniform and not than the unigram is weak on these clips, which is no
  proof of anything: clips of one data set share voices, noises and words, and the unigram has counted them.
- Rates. Slowed speech repeats itself and is predictable by anything, so likelihoods at different rates are no measure
  of the rate. Compared is what the model knows beyond counting (loss of the `repeat` baseline on the same codes minus
  the model's own, both over legal ids): it is largest at the rate that model and tokenizer were made for.
- Rates are judged only where no other alternative is better (under wrong ids they mean nothing), and only one at which
  the model beats the baselines can be the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spokeneval.audio import resample
from spokeneval.check_model.alternatives import Alternative, alternatives
from spokeneval.check_model.baselines import repeat, uniform, unigram
from spokeneval.check_model.comparison import MARGIN_NATS, MIN_CLIPS, Comparison
from spokeneval.check_model.findings import Finding, not_checked
from spokeneval.check_model.items import CheckedClip, fitting
from spokeneval.check_model.scored import ScoredClip, score_clips
from spokeneval.errors import ItemError
from spokeneval.models.base import SpokenLM
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo

RATES = (0.5, 2 / 3, 1.5, 2.0)
"""Samples a second that the tokenizer may really expect, as multiples of what it declares."""

CONVENTIONS = "sequence convention"
KNOWS = "compared with guessing"
RATE = "sampling rate"


@dataclass(frozen=True)
class Fit:
    """How the clips fare under one convention."""

    label: str
    nats: float
    """Mean loss a code over the clips, softmax over the whole vocabulary; of rates, over the legal ids."""
    gain: Comparison
    """Over the declared convention."""
    advice: str
    beats_guessing: bool
    """Whether the loss over legal ids is lower than that of guessing; of rates, than that of counting, too."""


@dataclass(frozen=True)
class Probed:
    findings: list[Finding]
    declared_nats: float
    """Mean loss a code under the declared convention."""
    uniform_nats: float
    unigram_nats: float
    fits: list[Fit]
    """All alternatives, the best first."""


def probe(
    model: SpokenLM,
    tokenizer: Tokenizer | None,
    info: TokenizerInfo,
    clips: Sequence[CheckedClip],
    encoded: Sequence[Codes],
    max_batch_tokens: int,
) -> Probed:
    """encoded: the clips' codes, as many as fit the context. tokenizer: None where codes come from a table."""
    declared = score_clips(model, encoded, max_batch_tokens)
    legal = [_mean(scored.legal) for scored in declared]
    guess, counted = uniform(info), unigram(encoded, info)
    floor = [Comparison.of(legal, [guess] * len(legal)), Comparison.of(legal, counted)]
    fits = [
        _fit(alternative, encoded, declared, guess, max_batch_tokens)
        for alternative in alternatives(model, info, encoded)
    ]
    fits.sort(key=lambda fit: -np.nan_to_num(fit.gain.mean, nan=-np.inf))
    beats_uniform, beats_counting = (comparison.better for comparison in floor)
    wrong = next((fit for fit in fits if fit.gain.better and fit.beats_guessing), None)
    rates: list[Fit] = []
    if wrong is None and tokenizer is not None:
        rates = _rates(model, tokenizer, clips, encoded, legal, max_batch_tokens)
    wrong_rate = next((fit for fit in rates if fit.gain.better and fit.beats_guessing), None)
    if tokenizer is None:
        rate = not_checked(RATE, "codes come from a table")
    elif wrong is not None:
        rate = _unsure(RATE, "another convention fits better; run this check again under that one")
    else:
        rate = _rate(rates, wrong_rate, beats_uniform and beats_counting, info)
    findings = [
        _conventions(fits, wrong, beats_uniform, len(clips)),
        rate,
        _knows(floor, legal, guess, counted, wrong or wrong_rate, CONVENTIONS if wrong is not None else RATE),
    ]
    mean_full = float(np.nanmean([_mean(scored.full) for scored in declared]))
    return Probed(findings, mean_full, guess, float(np.mean(counted)), fits + rates)


def _mean(losses: NDArray[np.float64]) -> float:
    known = losses[np.isfinite(losses)]
    return float(known.mean()) if len(known) else float("nan")


def _fit(
    alternative: Alternative,
    encoded: Sequence[Codes],
    declared: Sequence[ScoredClip],
    guess: float,
    max_batch_tokens: int,
) -> Fit:
    scored = score_clips(alternative.model, [_short(alternative.model, c) for c in alternative.codes], max_batch_tokens)
    theirs, ours, legal = [], [], []
    for number, (other, own) in enumerate(zip(scored, declared, strict=True)):
        legal.append(_mean(other.legal))
        if alternative.origin is None:
            theirs.append(_mean(other.full))
            ours.append(_mean(own.full))
            continue
        moved = np.full(encoded[number].codes.size, np.nan)
        origin = alternative.origin[number][: len(other.full)].reshape(-1)
        moved[origin] = other.full.reshape(-1)
        both = np.isfinite(moved) & np.isfinite(own.full.reshape(-1))
        theirs.append(_mean(moved[both]))
        ours.append(_mean(own.full.reshape(-1)[both]))
    return Fit(
        alternative.label,
        float(np.mean(theirs)),
        Comparison.of(theirs, ours),
        alternative.advice,
        Comparison.of(legal, [guess] * len(legal)).better,
    )


def _short(model: SpokenLM, codes: Codes) -> Codes:
    """As much of an alternative as fits the context; all of it where nothing does (it is not scored then)."""
    try:
        return fitting(model, codes)
    except ItemError:
        return codes


def _rates(
    model: SpokenLM,
    tokenizer: Tokenizer,
    clips: Sequence[CheckedClip],
    encoded: Sequence[Codes],
    legal: Sequence[float],
    max_batch_tokens: int,
) -> list[Fit]:
    """The same clips, given to the tokenizer at other rates than it declares, the best first."""
    info = tokenizer.info

    def beyond_counting(codes: Sequence[Codes], losses: Sequence[float]) -> list[float]:
        """Negative, so that less is better."""
        return [loss - counted for loss, counted in zip(losses, repeat(codes, info), strict=True)]

    declared, fits = beyond_counting(encoded, legal), []
    for ratio in RATES:
        rate = round(info.sample_rate * ratio)
        try:
            codes = [
                fitting(model, tokenizer.encode(resample(clip.waveform, clip.sample_rate, rate, info.resampler)))
                for clip in clips
            ]
        except ItemError:
            continue  # too short or too long for the tokenizer at this rate
        losses = [_mean(scored.legal) for scored in score_clips(model, codes, max_batch_tokens)]
        fits.append(
            Fit(
                f"audio at {rate} Hz",
                float(np.mean(losses)),
                Comparison.of(beyond_counting(codes, losses), declared),
                f"the tokenizer probably expects about {ratio:.3g} times as many samples a second as it declares "
                f"({rate} Hz instead of {info.sample_rate} Hz): correct its `sample_rate`",
                Comparison.of(losses, [uniform(info)] * len(losses)).better
                and Comparison.of(losses, unigram(codes, info)).better,
            )
        )
    return sorted(fits, key=lambda fit: -fit.gain.mean)


# ------------------------------------------------------------ verdicts


def _conventions(fits: Sequence[Fit], wrong: Fit | None, beats_uniform: bool, n_clips: int) -> Finding:
    if n_clips < MIN_CLIPS:
        return _unsure(CONVENTIONS, f"{n_clips} clips; it takes {MIN_CLIPS}")
    if not fits:
        return not_checked(CONVENTIONS, "there is no other convention to try for this family")
    if wrong is not None:
        others = [fit.label for fit in fits if fit.gain.better and fit is not wrong]
        also = f" (better than declared, too: {'; '.join(others[:4])})" if others else ""
        return Finding(
            CONVENTIONS,
            "wrong",
            f"{wrong.label} fits far better than what is declared, {wrong.gain}: {wrong.advice}. Then run this check "
            f"again{also}",
        )
    if not beats_uniform:
        return _unsure(
            CONVENTIONS, "the model is not clearly better than guessing, under the declared convention or any"
        )
    nearest = f"the nearest is {fits[0].label}, {fits[0].gain}"
    return Finding(CONVENTIONS, "ok", f"none of {len(fits)} others fits better; {nearest}")


def _knows(
    floor: Sequence[Comparison],
    legal: Sequence[float],
    guess: float,
    counted: Sequence[float],
    wrong: Fit | None,
    name_of_wrong: str,
) -> Finding:
    """wrong: what fits better, by the finding of that name."""
    figures = f"{np.nanmean(legal):.3f} nats a code; uniform {guess:.3f}, unigram {np.mean(counted):.3f}"
    if all(comparison.better for comparison in floor):
        return Finding(KNOWS, "ok", f"{figures}: better than both")
    if not floor[0].decides:
        return _unsure(KNOWS, f"{figures}; too few clips")
    if floor[0].mean > MARGIN_NATS:
        than = "counting the codes of the other clips" if floor[0].better else "guessing on all clips"
        return _unsure(
            KNOWS, f"{figures}: better than uniform, but not clearly than {than}: a weak model on these clips"
        )
    why = (
        f"see what fits better ({wrong.label})"
        if wrong is not None
        else "its weights are random or untrained, or its codes are another tokenizer's (other codebooks, another "
        "layer, another number of clusters), or the convention is another than all that were tried"
    )
    follows_from = None if wrong is None else name_of_wrong
    return Finding(KNOWS, "wrong", f"{figures}: no better than guessing: {why}", follows_from)


def _rate(fits: Sequence[Fit], wrong: Fit | None, knows: bool, info: TokenizerInfo) -> Finding:
    if not fits:
        return not_checked(RATE, "these clips cannot be encoded at other rates")
    if not fits[0].gain.decides:
        return _unsure(RATE, f"it takes {MIN_CLIPS} clips")
    if wrong is not None:
        return Finding(
            RATE,
            "wrong",
            f"of {wrong.label} the model knows more beyond counting than at {info.sample_rate} Hz, {wrong.gain}: "
            f"{wrong.advice}",
        )
    if not knows:
        return _unsure(RATE, "the model knows no more than counting does, at any rate")
    nearest = f"the nearest is {fits[0].label}, {fits[0].gain}"
    return Finding(RATE, "ok", f"none of {len(fits)} others fits better; {nearest}")


def _unsure(name: str, why: str) -> Finding:
    return Finding(name, "cannot tell", why)
