"""The whole check of one model of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from spokeneval.check_model.card import (
    Networks,
    context_line,
    fit_lines,
    memory_line,
    model_lines,
    peak_rss_mib,
    rate_of,
)
from spokeneval.check_model.continuation_contract import check_continuation
from spokeneval.check_model.drawing import draw
from spokeneval.check_model.findings import Finding, not_checked
from spokeneval.check_model.items import CheckedClip, CheckedItems, are_made, first_items, fitting
from spokeneval.check_model.probes import probe
from spokeneval.check_model.scored import score_clips
from spokeneval.check_model.scoring_contract import N_STEPS_OF_NORMALISATION, check_scoring
from spokeneval.check_model.sequence_contract import check_sequences
from spokeneval.check_model.tokenizer_contract import check_tokenizer
from spokeneval.config import Config
from spokeneval.continuations import n_new_frames
from spokeneval.errors import ConfigError, ItemError
from spokeneval.factory import decoding_of, make_model, make_tokenizer, make_vocoder
from spokeneval.item_table import Asked
from spokeneval.likelihood import cut_frame
from spokeneval.models.base import Prompt, SpokenLM
from spokeneval.registry import closest_match
from spokeneval.stages import missing_lines, what_is_missing
from spokeneval.tokenizers.base import Codes, Tokenizer, TokenizerInfo
from spokeneval.tokenizers.codes_source import CodesSource, Length
from spokeneval.vocoders.base import Vocoder

CONTINUED_S = 0.5
"""Seconds of a continuation, or the model's own `new_s` where that is less."""


@dataclass
class Checked:
    """What a check says of a model."""

    model: str
    card: list[tuple[str, str]] = field(default_factory=list)
    """Label and text, line by line."""
    drawing: list[str] = field(default_factory=list)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    """By what was checked."""

    @property
    def wrong(self) -> list[Finding]:
        return [finding for found in self.findings.values() for finding in found if finding.wrong]

    def lines(self) -> list[str]:
        left = max((len(label) for label, _ in self.card), default=0)
        lines = [f"{label:{left}}  {text}" for label, text in self.card]
        lines += ["", *self.drawing]
        for group, found in self.findings.items():
            lines += ["", group, *(f"  {finding.line()}" for finding in found)]
        if not self.wrong:
            return [*lines, "", f"{self.model}: nothing is wrong"]
        causes = [finding for finding in self.wrong if finding.follows_from is None]
        lines += ["", f"{self.model}: {len(causes)} thing{'s are' if len(causes) > 1 else ' is'} wrong"]
        for number, cause in enumerate(causes, 1):
            lines.append(f"  {number}. {cause.name}: {cause.detail}")
            followers = [finding for finding in self.wrong if finding.follows_from == cause.name]
            lines += [f"     from which follows {finding.name}: {finding.detail}" for finding in followers]
        return lines


@dataclass(frozen=True)
class Subject:
    """A model with what it is checked on."""

    model: SpokenLM
    tokenizer: Tokenizer | None
    """None where codes come from a table."""
    source: Any
    """The tokenizer, or what reads the table."""
    info: TokenizerInfo
    clips: list[CheckedClip]
    whole: list[Codes]
    """The codes of the clips."""
    codes: list[Codes]
    """The same, as many first steps as fit the context."""
    max_batch_tokens: int

    @property
    def dtype(self) -> str:
        networks = Networks.of(self.model)
        return "float32" if networks is None else networks.dtype

    def cut(self, number: int) -> int:
        """First frame that is kept of a clip; earlier where the clip was cut short."""
        clip, codes = self.clips[number], self.codes[number]
        cut = cut_frame(clip.transition, clip.sample_rate, self.info)
        return cut if cut < codes.n_frames - 1 else codes.n_frames // 2

    def named(self) -> list[tuple[str, Codes, int]]:
        return [
            (clip.name, codes, self.cut(i)) for i, (clip, codes) in enumerate(zip(self.clips, self.codes, strict=True))
        ]


def check_model(config: Config, name: str, note: Callable[[str], None] = lambda text: None) -> Checked:
    """Check one model on the first items of the first dataset that has pairs. Nothing is written.

    note: told what is being done. Raises ConfigError where the model is not there, cannot be loaded, or runs elsewhere,
    and where no clip can be had.
    """
    _need_model(config, name)
    block = config.models[name]
    if not block.runs:
        raise ConfigError(
            f"models.{name}: it runs elsewhere and is known from files; there is nothing to load. Its tables "
            "are checked when the workflow reads them"
        )
    dataset = next((key for key, block in config.datasets.items() if block.has_members), next(iter(config.datasets)))
    _need_resources(config, name, dataset)
    note(f"tokenizer {block.tokenizer}")
    source: Any = make_tokenizer(config, block.tokenizer)
    tokenizer: Tokenizer | None = None if isinstance(source, CodesSource) else source
    # Before the items, which take longest: most mistakes keep a model from being loaded at all.
    note(f"model {name}")
    before_mib = peak_rss_mib()
    model = make_model(config, name, source.info)
    vocoder = None if block.vocoder is None else make_vocoder(config, block.vocoder)
    loaded_mib = peak_rss_mib()
    note(f"items of {dataset}")
    items = first_items(config, dataset)
    checked = Checked(name)
    asked = Asked(dataset, alone=len(config.datasets) == 1, whole=False)
    clips, whole = _encoded(source, items, asked)
    checked.card = [
        ("model", f"{name} ({block.kind}), tokenizer {block.tokenizer}, vocoder {block.vocoder or 'none'}"),
        ("clips", f"{len(clips)} of {dataset} ({items.source}): {', '.join(clip.name for clip in clips)}"),
    ]
    max_s = getattr(config.tokenizers[block.tokenizer], "max_s", None)
    checked.findings["Tokenizer"] = (
        [not_checked("tokenizer", "codes come from a table")]
        if tokenizer is None
        else check_tokenizer(tokenizer, clips, whole, max_s)
    )
    if checked.wrong and checked.findings["Tokenizer"][0].wrong:
        return checked  # codes that are not what they should be: nothing that follows would mean anything
    before_mib += peak_rss_mib() - loaded_mib  # what items and tokenizer took is none of the model's
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    codes = [fitting(model, own) for own in whole]
    if min(len(own.codes) for own in codes) < N_STEPS_OF_NORMALISATION:
        raise ConfigError(
            f"models.{name}: its context holds fewer than {N_STEPS_OF_NORMALISATION} steps of these clips"
        )
    subject = Subject(model, tokenizer, source, source.info, clips, whole, codes, config.likelihood.max_batch_tokens)
    _check(checked, subject, config, vocoder, note)
    checked.card.append(("memory", memory_line(before_mib)))
    return checked


def _need_model(config: Config, name: str) -> None:
    """Raises ConfigError where there is no such model; of a series its steps are named."""
    if name in config.models:
        return
    if steps := [model for model, block in config.models.items() if block.series == name]:
        raise ConfigError(f"'{name}' is a series; name one of its steps: {', '.join(steps)}")
    raise ConfigError(f"there is no model '{name}'; {closest_match(name, config.models)}")


def _need_resources(config: Config, name: str, dataset: str) -> None:
    """Raises ConfigError, a line for each, where something that this check reads is not there."""
    block = config.models[name]
    read = config.model_copy(
        update={
            "datasets": {} if are_made(config, dataset) else {dataset: config.datasets[dataset]},
            "tokenizers": {block.tokenizer: config.tokenizers[block.tokenizer]},
            "vocoders": {} if block.vocoder is None else {block.vocoder: config.vocoders[block.vocoder]},
            "models": {name: block},
            "judges": {},
        }
    )
    # Weights that are archived only cannot be loaded: the lock file does not help here.
    if lines := missing_lines(what_is_missing(read, None), "..."):
        raise ConfigError("\n".join(lines))


def _check(
    checked: Checked, subject: Subject, config: Config, vocoder: Vocoder | None, note: Callable[[str], None]
) -> None:
    """Contracts, probes and the card of a model that is loaded."""
    model, info, max_batch_tokens = subject.model, subject.info, subject.max_batch_tokens
    block, named = config.models[checked.model], subject.named()
    note("contract")
    checked.findings["What is fed and scored"] = _guarded(lambda: check_sequences(model, named))
    checked.findings["Log-probabilities"] = _guarded(
        lambda: check_scoring(model, info, named, subject.dtype, max_batch_tokens)
    )
    note("continuations")
    new_s = min(CONTINUED_S, block.decoding.new_s)
    n_frames = n_new_frames(new_s, info)
    prompts = [
        Prompt(clip.clip_id, own.take(_before(own, subject.cut(i), n_frames)))
        for i, (clip, own) in enumerate(zip(subject.clips, subject.codes, strict=True))
    ]
    decoding = replace(decoding_of(config, checked.model), new_s=new_s, samples_per_item=1)
    if decoding.min_new_s is not None:
        decoding = replace(decoding, min_new_s=min(decoding.min_new_s, new_s))
    checked.findings["Continuations"] = _guarded(
        lambda: check_continuation(
            model, subject.source, vocoder, prompts, n_frames, decoding, subject.dtype, getattr(block, "device", "cpu")
        )
    )
    note("other conventions")
    probed = probe(model, subject.tokenizer, info, subject.clips, subject.codes, max_batch_tokens)
    checked.findings["Other conventions"] = probed.findings
    left_out = ("kind", "tokenizer", "vocoder", "decoding", "reductions", "series", "step", "family")
    options = {key: value for key, value in block.model_dump().items() if key not in left_out}
    checked.card += model_lines(model, info, options)
    checked.card.append(("context", context_line(model, subject.codes, subject.whole)))
    checked.card += fit_lines(probed)
    checked.card.append(("speed", _speed(subject, prompts, n_frames, decoding, vocoder)))
    clip, cut = subject.clips[0], subject.cut(0)
    transition_s = min(clip.transition / clip.sample_rate, subject.codes[0].n_frames / info.frame_rate)
    checked.drawing = [f"{clip.name}:", *draw(model, info, subject.codes[0], cut, transition_s)]


def _encoded(source: Any, items: CheckedItems, asked: Asked) -> tuple[list[CheckedClip], list[Codes]]:
    """The clips that have codes, and their codes. Raises ConfigError where none has."""
    reasons: list[str] = []
    found: list[tuple[CheckedClip, Codes]] = []
    told: dict[str, Codes | ItemError] = {}
    if isinstance(source, CodesSource):
        lengths = {clip.clip_id: Length(len(clip.waveform), clip.sample_rate) for clip in items.clips}
        told = source.codes_for(items.pairs, asked, lengths)
    for clip in items.clips:
        try:
            own = told.get(clip.clip_id, ItemError("no codes")) if isinstance(source, CodesSource) else None
            if isinstance(own, ItemError):
                raise own
            found.append((clip, source.encode(clip.for_tokenizer(source.info)) if own is None else own))
        except ItemError as error:
            reasons.append(f"{clip.name}: {error}")
    if not found:
        raise ConfigError(f"none of the {len(items.clips)} clips has codes: {reasons[0]}")
    return [clip for clip, _ in found], [codes for _, codes in found]


def _before(codes: Codes, cut: int, n_new: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The steps of a prompt: those that end by the cut, so few that n_new more fit where the clip did."""
    n = int((codes.frame_starts() + codes.frame_counts() <= cut).sum())
    return np.arange(max(1, min(n, len(codes.codes) - n_new)))


def _guarded(check: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """What a model raises about an item is a finding; anything else is an error of its code and is shown as it is."""
    try:
        return list(check())
    except ItemError as error:
        return [Finding("clips that fit the context can be scored", "wrong", str(error))]


def _speed(subject: Subject, prompts: list[Prompt], n_frames: int, decoding: Any, vocoder: Vocoder | None) -> str:
    def score() -> int:
        scored = score_clips(subject.model, subject.codes, subject.max_batch_tokens)
        return sum(int(np.isfinite(clip.full).sum()) for clip in scored)

    line = f"{rate_of(score):.0f} codes a second scored"
    if vocoder is None:
        return line
    try:
        speed = rate_of(lambda: sum(c.codes.size for c in subject.model.continue_(prompts, n_frames, decoding, 0)))
    except (ItemError, ConfigError):
        return line
    return f"{line}, {speed:.0f} a second continued ({len(prompts)} prompts at once)"
