"""Is one convention better than another on a few clips, beyond what chance would do?

Conventions
-----------
- Gains are in nats a code, one a clip, positive where the alternative is better; clips are paired.
- Better: by more than MARGIN_NATS on average, on all clips or all but one, and by more than twice the standard error of
  the mean. All three: on five clips a sign test alone would find something in every long list of alternatives, and
  alternatives that hardly differ (a doubled mark that a model has learnt to ignore) must not count.
- Fewer than MIN_CLIPS clips decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MARGIN_NATS = 0.05
MIN_CLIPS = 3


@dataclass(frozen=True)
class Comparison:
    gains: NDArray[np.float64]
    """(n_clips,) NaN where a clip could not be scored under one of the two."""

    @classmethod
    def of(cls, better: Sequence[float], than: Sequence[float]) -> Comparison:
        """Losses of two conventions, clip by clip -> gains of the first."""
        return cls(np.asarray(than, np.float64) - np.asarray(better, np.float64))

    @property
    def _known(self) -> NDArray[np.float64]:
        return self.gains[np.isfinite(self.gains)]

    @property
    def mean(self) -> float:
        return float(self._known.mean()) if len(self._known) else float("nan")

    @property
    def standard_error(self) -> float:
        n = len(self._known)
        return float(self._known.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")

    @property
    def decides(self) -> bool:
        """Whether there are clips enough."""
        return len(self._known) >= MIN_CLIPS

    @property
    def better(self) -> bool:
        if not self.decides:
            return False
        n_worse = int((self._known <= 0).sum())
        return self.mean > MARGIN_NATS and n_worse <= 1 and self.mean > 2 * self.standard_error

    def __str__(self) -> str:
        known = self._known
        return f"{self.mean:+.3f} nats a code ({int((known > 0).sum())} of {len(known)} clips better)"
