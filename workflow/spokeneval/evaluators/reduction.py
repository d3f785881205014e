"""Reduction conventions: how stored log-probabilities become one score.

Conventions
-----------
- A reduction is a set of settings with a name; everything that changes a number is one of them, so that two tables
  that differ can be told apart by their signatures.
- Scores are negative log-likelihoods in nats, lower is better.
- `default` is the convention of this package. `authors-2025-10` repeats the code behind the per-token losses that
  were published with arXiv 2601.06329; it is there to check against those, not to be preferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Any, Literal, get_args, get_type_hints

from spokeneval.errors import ConfigError
from spokeneval.tokenizers.base import TokenizerInfo

Edge = Literal["overlap", "start", "inside"]
Unconditional = Literal["retokenise", "keep"]

EVALUATOR_NAMES = (
    "global",
    "continuation",
    "unconditional",
    "localized",
    "global_norm",
    "localized_norm",
    "windowed",
    "windowed_matched",
)
CONTROL_NAMES = ("placebo", "placebo_window")
"""Computed beside the evaluators, always: what a score is worth before anything has changed."""
NO_CLEAN_PROMPT = "no token of the prompt is predicted before a code of the continuation is known"
"""Why an item has no placebo where all of its prompt tokens straddle: it is absent, and nothing failed."""


@dataclass(frozen=True)
class Reduction:
    """All settings of one reduction convention. Raises ConfigError where they contradict each other."""

    name: str = "default"
    edge: Edge = "overlap"
    """Which tokens are in a window [a, b): overlap: end > a and start < b; start: a <= start < b; inside: start >= a
    and end <= b."""
    pin: Literal["time", "first_difference"] = "time"
    """Where the continuation begins: at the transition, or at the first scored position at which the stored
    log-probabilities of the two members differ (the authors' way)."""
    window_length: Literal["edge", "tokens"] = "edge"
    """edge: a window holds the tokens that the edge rule gives; tokens: whole frames in the window x codebooks."""
    frame_rate: Literal["exact", "whole"] = "exact"
    """For window_length tokens: the tokenizer's frame rate, or that rate rounded down (12.5 Hz taken as 12)."""
    stride: Literal["frame", "token", "step"] = "frame"
    """Where a sliding window may begin: at each frame (of de-duplicated units: at each unit), at each token, or where
    the model's step changes. token and step need window_length tokens."""
    unit: Literal["token", "second"] = "token"
    """Per token (every token equal), or nats per second of real time."""
    reduce: Literal["mean", "sum"] = "mean"
    codebooks: tuple[int, ...] | None = None
    """Codebooks that are counted; None for all."""
    codebook_mean: Literal["flat", "per_codebook"] = "flat"
    """flat: every scored token equal; per_codebook: mean of the codebooks' means."""
    marks: Literal["global", "everywhere", "nowhere"] = "global"
    """Where positions without a time span (<audio>, EOS) are counted, if the model's convention scores them."""
    mark_kinds: tuple[Literal["eos", "mark"], ...] | None = None
    """Which of them: end marks, other marks. None: both where all codebooks are counted, else neither."""
    places: Literal["all", "from_second_by_frame"] = "all"
    """Which places of the fed string are counted: all, or 2, 2 + n_codebooks, 2 + 2 n_codebooks ... (the mask of
    Llama-Mimi's sLM21.py: behind <bos><audio>, codebook 0 and </audio>)."""
    share_prefix: bool = True
    """Members of a pair take one value where ids and contexts are identical; False: each its own, as scripts that run
    one clip at a time have them (half precision differs in the last bits). Placebos always share."""
    first_unit: bool = True
    """False leaves out the first scored unit of every pass (the one that only BOS precedes)."""
    vocabulary: Literal["full", "legal"] = "full"
    """Softmax over the whole vocabulary, or over the ids that are legal at the position."""
    tie: float = 0.5
    """Verdict where both scores are equal: 0.5, or 0 to count a tie as wrong."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            allowed = get_args(hints[field.name])
            value = getattr(self, field.name)
            if allowed and all(isinstance(choice, str) for choice in allowed) and value not in allowed:
                raise self._error(f"{field.name} is {value!r}; expected one of {', '.join(allowed)}")
        if self.tie not in (0.0, 0.5):
            raise self._error(f"tie is {self.tie!r}; expected 0.5, or 0 to count a tie as wrong")
        if self.codebooks is not None and (not self.codebooks or len(set(self.codebooks)) < len(self.codebooks)):
            raise self._error(f"codebooks is {self.codebooks!r}; expected different numbers, or null for all")
        if self.stride != "frame" and self.window_length == "edge":
            raise self._error(f"stride {self.stride} needs window_length tokens: an edge is a time, not a token")
        if self.pin == "first_difference" and self.window_length == "edge":
            raise self._error("pin first_difference needs window_length tokens: it gives a position, not a time")
        if self.mark_kinds is not None and set(self.mark_kinds) - {"eos", "mark"}:
            raise self._error(f"mark_kinds is {list(self.mark_kinds)}; expected eos, mark, or both")
        if self.reduce == "sum" and (self.unit == "second" or self.codebook_mean == "per_codebook"):
            raise self._error("reduce sum goes with unit token and codebook_mean flat only")
        if self.unit == "second" and self.codebook_mean == "per_codebook":
            raise self._error("unit second goes with codebook_mean flat only")

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"reduction '{self.name}': {what}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def signature(self) -> str:
        """All settings in one line, for people."""
        codebooks = "all" if self.codebooks is None else "+".join(map(str, self.codebooks))
        kinds = "" if self.mark_kinds is None else f" ({'+'.join(self.mark_kinds) or 'none'})"
        window = "by edge" if self.window_length == "edge" else f"whole frames at the {self.frame_rate} rate"
        return (
            f"{self.name}: edge {self.edge}; pinned by {self.pin.replace('_', ' ')}; window {window}; "
            f"stride {self.stride}; {self.reduce} per {self.unit}; codebooks {codebooks} ({self.codebook_mean}); "
            f"marks {self.marks}{kinds}; first unit {'scored' if self.first_unit else 'left out'}; "
            f"vocabulary {self.vocabulary}; tie {self.tie:g}"
            + ("" if self.places == "all" else "; places 2, 2 + codebooks ...")
            + ("" if self.share_prefix else "; prefixes not shared")
        )

    def window_tokens(self, window_s: float, info: TokenizerInfo) -> int:
        """Tokens of a window under window_length tokens: floor(window x frame rate) x counted codebooks."""
        rate = Fraction(info.sample_rate, info.hop_samples)
        if self.frame_rate == "whole":
            rate = Fraction(int(rate))
        n_codebooks = info.n_codebooks if self.codebooks is None else len(self.codebooks)
        return int(exact_seconds(window_s) * rate) * n_codebooks


def exact_seconds(window_s: float) -> Fraction:
    """The decimal that a person wrote: 0.1 is a tenth, not the nearest binary fraction."""
    return Fraction(str(window_s))


NAMED = {
    reduction.name: reduction
    for reduction in (
        Reduction(),
        Reduction("units_only", marks="nowhere"),
        Reduction("sum", reduce="sum"),
        Reduction("legal", vocabulary="legal"),
        Reduction("legal_sum", vocabulary="legal", reduce="sum"),
        # Published scripts; the sequence convention of the same name feeds and scores what the script does.
        Reduction("salmon-twist", share_prefix=False),
        Reduction("salmon-twist-sum", reduce="sum", share_prefix=False),
        Reduction("slamkit", share_prefix=False),
        Reduction("slamkit-sum", reduce="sum", share_prefix=False),
        Reduction("llama-mimi-salmon", tie=0.0, share_prefix=False),
        Reduction("llama-mimi-slm21", places="from_second_by_frame", tie=0.0, share_prefix=False),
        Reduction(
            "authors-2025-10",
            pin="first_difference",
            window_length="tokens",
            frame_rate="whole",
            stride="token",
            marks="everywhere",
            tie=0.0,
        ),
    )
}


def reduction_from(entry: str | Mapping[str, Any]) -> Reduction:
    """A reduction by name, or from its settings (`name` among them; what is not given is as in `default`).

    Raises ConfigError for an unknown name or setting, or settings that contradict each other.
    """
    if isinstance(entry, str):
        if entry not in NAMED:
            raise ConfigError(f"unknown reduction '{entry}'; known: {', '.join(sorted(NAMED))}")
        return NAMED[entry]
    known = [field.name for field in fields(Reduction)]
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ConfigError(
            f"reduction {entry.get('name', '')!r}: unknown setting {unknown[0]!r}; known: {', '.join(known)}"
        )
    if not entry.get("name") or entry["name"] in NAMED:
        raise ConfigError(
            f"a reduction given by its settings needs a `name` that is none of {', '.join(sorted(NAMED))}"
        )
    lists = {key: tuple(entry[key]) for key in ("codebooks", "mark_kinds") if entry.get(key) is not None}
    return Reduction(**{**entry, **lists})


@dataclass(frozen=True)
class EvaluatorSettings:
    """What is computed: every evaluator x window x unconditional convention x reduction, and the placebos."""

    names: tuple[str, ...] = EVALUATOR_NAMES
    windows_s: tuple[float, ...] = (0.5,)
    unconditional: tuple[Unconditional, ...] = ("retokenise", "keep")
    per_codebook: bool = True
    """Also each codebook alone, for global and localized, where there are several."""
    reductions: tuple[Reduction, ...] = (NAMED["default"],)

    def __post_init__(self) -> None:
        _known("evaluator", self.names, EVALUATOR_NAMES)
        _known("convention of the unconditional term", self.unconditional, get_args(Unconditional))
        _once("evaluators", self.names)
        _once("windows_s", self.windows_s)
        _once("unconditional conventions", self.unconditional)
        _once("reductions", [reduction.name for reduction in self.reductions])
        if any(window_s <= 0 for window_s in self.windows_s):
            raise ConfigError(f"windows_s is {list(self.windows_s)}; expected lengths in seconds above 0")

    @classmethod
    def make(
        cls,
        names: Iterable[str],
        windows_s: Iterable[float],
        unconditional: Iterable[Unconditional],
        per_codebook: bool,
        reductions: Iterable[str | Mapping[str, Any]],
    ) -> EvaluatorSettings:
        """From the values of a configuration, where reductions stand by name or in full."""
        chosen = tuple(reduction_from(entry) for entry in reductions)
        return cls(tuple(names), tuple(windows_s), tuple(unconditional), per_codebook, chosen)

    def without(self, lacks: Mapping[str, str]) -> tuple[EvaluatorSettings, dict[str, str]]:
        """What can be computed where some passes do not exist, and what is left out of what was asked for.

        lacks: 'retokenise', 'keep' (conventions of the unconditional term) or 'legal' (the softmax over legal ids) ->
        why there is none. Returns the settings, and what is absent -> why.
        """
        unconditional = tuple(name for name in self.unconditional if name not in lacks)
        reductions = tuple(r for r in self.reductions if "legal" not in lacks or r.vocabulary != "legal")
        absent = {f"unconditional term by {name}": lacks[name] for name in self.unconditional if name in lacks}
        left_out = [r.name for r in self.reductions if r not in reductions]
        absent |= {f"reduction {name}": lacks["legal"] for name in left_out}
        return replace(self, unconditional=unconditional, reductions=reductions), absent

    def conventions(self) -> dict[str, dict[str, Any]]:
        """Name -> settings and signature of each reduction, for the table's metadata."""
        return {r.name: {**r.to_dict(), "signature": r.signature} for r in self.reductions}


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown {what} '{name}'; known: {', '.join(known)}")


def _once(what: str, values: Iterable[Any]) -> None:
    values = list(values)
    if len(set(values)) < len(values):
        raise ConfigError(f"{what}: {values} names something twice")
