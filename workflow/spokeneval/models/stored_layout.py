"""Where the losses of a flat array lie: which of them are marks, and which codebook and frame each unit has.

Conventions
-----------
- An array is: leading marks, units frame-major (step t, codebook q at t * n_codebooks + q), trailing marks; and in the
  arrays published with arXiv 2601.06329 a closing placeholder 0, which is dropped. Losses are -log p in nats.
- Where the first unit is not scored (no BOS), the array begins, after the marks, with the second unit.
- De-duplicated units have durations in frames, one a unit, the unscored first one included.
- Leading marks are kind `mark`, trailing ones kind `eos`; neither has a codebook or a time span.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spokeneval.errors import ConfigError
from spokeneval.tables import KIND_EOS, KIND_MARK, KIND_UNIT
from spokeneval.tokenizers.base import TokenizerInfo


@dataclass(frozen=True)
class StoredLayout:
    """How a model's losses lie in the arrays. The defaults are those of the published losses of Llama-Mimi."""

    info: TokenizerInfo
    n_leading: int = 1
    """Marks before the first unit that are scored."""
    n_trailing: int = 1
    """Marks after the last unit that are scored."""
    first_unit_scored: bool = True
    closing_zero: bool = True

    def columns(
        self, losses: Sequence[float], durations: Sequence[int] | None, where: str, first_frame: int = 0
    ) -> dict[str, Any]:
        """The list columns of the likelihood table for one array, logprob left out.

        first_frame: of the first unit, in the whole clip. Raises ConfigError where the array is not of this layout.
        """
        width = self.info.n_codebooks
        n_scored = len(losses) - self.closing_zero
        n_units = n_scored - self.n_leading - self.n_trailing + (not self.first_unit_scored)
        closed = not self.closing_zero or (len(losses) > 0 and losses[-1] == 0)
        if self.info.asynchronous:
            raise ConfigError(f"{where}: codebooks are asynchronous, so each loss needs its `frame` and `codebook`")
        if n_units < width or n_units % width or not closed:
            without_first = "" if self.first_unit_scored else " but for the first unit"
            raise ConfigError(
                f"{where}: {len(losses)} losses ending in {losses[-1] if len(losses) else 'nothing'}; expected "
                f"{self.n_leading} marks, {width} a frame{without_first}, {self.n_trailing} marks"
                f"{' and a closing 0' if self.closing_zero else ''}"
            )
        n_steps = n_units // width
        counts = self._counts(durations, n_steps, where)
        starts = first_frame + np.cumsum(counts) - counts
        skipped = int(not self.first_unit_scored)

        def placed(of_units: NDArray[Any], leading: int, trailing: int) -> list[int]:
            parts = (np.full(self.n_leading, leading), of_units[skipped:], np.full(self.n_trailing, trailing))
            return [int(v) for v in np.concatenate(parts)]

        return {
            "target": [-1] * n_scored,
            "kind": placed(np.full(n_units, KIND_UNIT), KIND_MARK, KIND_EOS),
            "stream": [0] * n_scored,
            "codebook": placed(np.tile(np.arange(width), n_steps), -1, -1),
            "frame": placed(np.repeat(starts, width), -1, -1),
            "n_frames": placed(np.repeat(counts, width), 0, 0),
            "step": list(range(n_scored)),
        }

    def scored(self, losses: Sequence[float]) -> NDArray[np.float64]:
        """The array without its placeholder."""
        return np.array(losses[:-1] if self.closing_zero else losses, dtype=np.float64)

    def _counts(self, durations: Sequence[int] | None, n_steps: int, where: str) -> NDArray[np.int64]:
        if self.info.deduplicated and durations is None:
            raise ConfigError(f"{where}: units are de-duplicated, so their `durations` in frames are needed")
        if durations is None:
            return np.ones(n_steps, np.int64)
        if len(durations) != n_steps or min(durations) < 1:
            raise ConfigError(
                f"{where}: {len(durations)} durations for {n_steps} units, the shortest {min(durations, default=0)}; "
                "expected one a unit, of 1 frame or more"
            )
        return np.asarray(durations, np.int64)
