"""What every tokenizer provides.

Conventions
-----------
- A tokenizer turns one waveform at its own rate into codes `(n_steps, n_codebooks)`.
- Frame `f` covers the samples `[f * hop_samples, (f + 1) * hop_samples)` at `sample_rate`; spans are always
  counted in frames, as integers, from before any de-duplication.
- Where units are de-duplicated, `durations[i]` is the number of frames that unit `i` stands for, otherwise
  `durations` is None and every step lasts one frame.
- Codebooks of different rates (units, pitch, style) are one string of events in the order in which the model reads
  them: codes `(n_events, 1)`, and for each event its codebook, first frame and duration.
- Clips are encoded one at a time unless a tokenizer is safe against padding: the codes of a clip never depend on
  what else is in the batch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TokenizerInfo:
    """All that later stages need to know of a tokenizer without loading it; stored in the tokens table."""

    sample_rate: int
    """Hz of the waveforms that `encode` takes."""
    hop_samples: int
    """Samples a frame; the frame rate is sample_rate / hop_samples."""
    codebook_sizes: tuple[int, ...]
    """Number of codes of each codebook, in order."""
    deduplicated: bool
    """True where runs of equal units are merged into one step with a duration."""
    causal: bool
    """True where the codes of a frame depend on nothing later than that frame (prefix-stable)."""
    asynchronous: bool = False
    """True where codebooks have rates of their own and codes are events, see `Codes`."""
    codebook_names: tuple[str, ...] = ()
    """What people call the codebooks ("hubert", "pitch", "style"); empty where they are just numbered."""
    resampler: Literal["soxr_vhq", "soxr_hq"] = "soxr_vhq"
    """How clips of other rates are brought to `sample_rate` (see `audio.resample`)."""

    @property
    def n_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_samples

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TokenizerInfo:
        lists: dict[str, Any] = {key: tuple(values.get(key, ())) for key in ("codebook_sizes", "codebook_names")}
        return cls(**{**values, **lists})


class Codes(NamedTuple):
    """The codes of one clip."""

    codes: NDArray[np.int32]
    """(n_steps, n_codebooks); (n_events, 1) where codebooks are asynchronous."""
    durations: NDArray[np.int32] | None
    """(n_steps,) frames of each step; None where every step is one frame."""
    codebooks: NDArray[np.int8] | None = None
    """(n_events,) codebook of each event; None where every step holds all codebooks."""
    starts: NDArray[np.int32] | None = None
    """(n_events,) first frame of each event; None where steps follow one another."""

    @property
    def n_frames(self) -> int:
        if self.starts is not None:
            return int((self.starts + self.frame_counts()).max(initial=0))
        return len(self.codes) if self.durations is None else int(self.durations.sum())

    def frame_starts(self) -> NDArray[np.int32]:
        """(n_steps,) first frame of each step."""
        if self.starts is not None:
            return self.starts
        if self.durations is None:
            return np.arange(len(self.codes), dtype=np.int32)
        return (np.cumsum(self.durations) - self.durations).astype(np.int32)

    def frame_counts(self) -> NDArray[np.int32]:
        """(n_steps,) frames of each step."""
        if self.durations is None:
            return np.ones(len(self.codes), dtype=np.int32)
        return self.durations

    def of_codebook(self, codebook: int) -> Codes:
        """One codebook alone: codes (n_steps, 1) with their durations and starts."""
        if self.codebooks is None:
            return Codes(self.codes[:, [codebook]], self.durations)
        chosen = self.codebooks == codebook
        return self.take(chosen)._replace(codebooks=None)

    def take(self, chosen: NDArray[Any]) -> Codes:
        """The steps at these places, or where a mask is set. Starts are kept only where the clip has them."""
        return Codes(self.codes[chosen], *(None if a is None else a[chosen] for a in self[1:]))


class Tokenizer(Protocol):
    """A tokenizer: `info` and `encode`; those that can be heard also have what their vocoder asks for."""

    info: TokenizerInfo

    def encode(self, waveform: NDArray[np.float32]) -> Codes:
        """Encode one clip.

        waveform: (n_samples,) mono at `info.sample_rate`, in [-1, 1].
        Raises ItemError where the clip is too short for a single frame.
        """
        ...


def deduplicate(units: NDArray[np.int32]) -> Codes:
    """Merge runs of equal units: (n_frames,) -> codes (n_units, 1) and durations (n_units,)."""
    if len(units) == 0:
        return Codes(np.zeros((0, 1), np.int32), np.zeros(0, np.int32))
    starts = np.flatnonzero(np.r_[True, units[1:] != units[:-1]])
    durations = np.diff(np.r_[starts, len(units)]).astype(np.int32)
    return Codes(units[starts].astype(np.int32)[:, None], durations)
