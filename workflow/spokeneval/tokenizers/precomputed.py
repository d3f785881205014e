"""Codes that were made elsewhere, from a table by item and role.

Conventions
-----------
- One row an item and role: `task` and `index` (or `item_id`), `role` (prompt, positive, negative,
  continuation_positive, continuation_negative), `codes` frame-major (step t, codebook q at t * n_codebooks + q; or a
  list a step), `durations` in frames where units are de-duplicated, `codebooks` and `starts` (first frames) of the
  events where codebooks are asynchronous. See `item_table` for files and datasets.
- Every role is a clip of its own, encoded as its own file: a prompt's codes must not come from the whole clip.
- One clip may stand in several items; it must have the same codes in all of them, and may be given once.
- A clip without codes fails, and so does one whose codes last more than LARGEST_DIFFERENCE frames more or less than its
  audio. Where the audio is not here, nothing is compared.
- Without a table there is only the time grid: sample rate, hop, codebooks. Models whose losses come from files need no
  more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spokeneval.errors import ConfigError, ItemError
from spokeneval.item_table import Asked, ItemRow, read_lines, require, rows_of_items, whole_numbers
from spokeneval.tables import OK
from spokeneval.tokenizers.base import Codes, TokenizerInfo
from spokeneval.tokenizers.codes_source import Length
from spokeneval.tokens import check_codes

ROLES = ("prompt", "positive", "negative", "continuation_positive", "continuation_negative")
LARGEST_DIFFERENCE = 2
"""Frames: what padding and rounding at the end of a file can make."""


class Precomputed:
    """Tokenizer kind `precomputed`; a `CodesSource`."""

    def __init__(
        self,
        sample_rate: int,
        hop_samples: int,
        codebook_sizes: Sequence[int],
        codes: Path | None = None,
        codebook_names: Sequence[str] = (),
        deduplicated: bool = False,
        causal: bool = False,
        asynchronous: bool = False,
    ) -> None:
        """codes: the table; None for the time grid alone. The others: see TokenizerInfo.

        Raises ConfigError where the names are not as many as the codebooks.
        """
        if codebook_names and len(codebook_names) != len(codebook_sizes):
            raise ConfigError(
                f"codebook_names has {len(codebook_names)} entries, codebook_sizes {len(codebook_sizes)}; expected one "
                "name a codebook, or none"
            )
        self._table = codes
        self.info = TokenizerInfo(
            sample_rate,
            hop_samples,
            tuple(codebook_sizes),
            deduplicated=deduplicated,
            causal=causal,
            asynchronous=asynchronous,
            codebook_names=tuple(codebook_names),
        )

    def codes_for(
        self, pairs: pl.DataFrame, asked: Asked, lengths: Mapping[str, Length]
    ) -> dict[str, Codes | ItemError]:
        """clip_id -> codes of every clip that usable items need; the ItemError in place of codes where there are none.

        Empty where there is only the time grid. Raises ConfigError for a table that cannot be used as a whole.
        """
        if self._table is None:
            return {}
        lines = read_lines(self._table)
        require(lines, ("role", "codes"), self._table)
        given: dict[str, tuple[Codes, str]] = {}
        for row in rows_of_items(lines, pairs, asked, self._table).rows:
            self._take(row, given)
        found: dict[str, Codes | ItemError] = {}
        for item in pairs.filter(pl.col("status") == OK).sort("task", "index").iter_rows(named=True):
            for role in ROLES:
                clip = item[role]
                if clip is not None and clip not in found:
                    found[clip] = self._checked(clip, f"{item['task']}/{item['index']}, {role}", given, lengths)
        return found

    def _take(self, row: ItemRow, given: dict[str, tuple[Codes, str]]) -> None:
        """Note the codes of a row under its clip."""
        role = row.values.get("role")
        if role not in ROLES:
            raise ConfigError(f"{row.where}: role is '{role}'; expected {', '.join(ROLES)}")
        clip = row.item[role]
        codes = self._codes(row)
        if clip is None or codes is None:  # the item failed or has no such part; an empty cell is no codes
            return
        whose = f"{row.item['task']}/{row.item['index']}, {role}"
        known = given.setdefault(clip, (codes, whose))
        if not _equal(known[0], codes):
            raise ConfigError(
                f"{row.where}: {known[1]} and {whose} are one clip, but have different codes; expected the codes of a "
                "clip to be the same wherever it stands"
            )

    def _codes(self, row: ItemRow) -> Codes | None:
        flat = whole_numbers(row.values.get("codes"), row.where, "codes")
        if flat is None:
            return None
        width = 1 if self.info.asynchronous else self.info.n_codebooks
        if len(flat) % width:
            raise ConfigError(f"{row.where}: {len(flat)} codes; expected {width} a frame")
        n_steps = len(flat) // width
        codes = Codes(
            np.array(flat, np.int32).reshape(n_steps, width),
            self._column(row, "durations", n_steps, needed=self.info.deduplicated, least=1),
            self._column(row, "codebooks", n_steps, needed=self.info.asynchronous, dtype=np.int8),
            self._column(row, "starts", n_steps, needed=self.info.asynchronous),
        )
        try:
            check_codes(codes, self.info)
        except (ItemError, ValueError) as error:
            raise ConfigError(f"{row.where}: {error}") from error
        return codes

    def _column(
        self, row: ItemRow, name: str, n_steps: int, *, needed: bool, least: int = 0, dtype: Any = np.int32
    ) -> Any:
        values = whole_numbers(row.values.get(name), row.where, name)
        if values is None and needed:
            kind = "deduplicated" if name == "durations" else "asynchronous"
            raise ConfigError(f"{row.where}: lacks {name}, which a tokenizer with `{kind}: true` needs")
        if values is None:
            return None
        if not (needed or (name == "durations" and self.info.asynchronous)):
            raise ConfigError(
                f"{row.where}: has {name}, but the tokenizer is declared without; set `deduplicated` or `asynchronous`"
            )
        if len(values) != n_steps or min(values, default=least) < least:
            raise ConfigError(
                f"{row.where}: {name} holds {len(values)} numbers from {min(values, default=least)} on; expected "
                f"{n_steps}, {least} or more"
            )
        return np.array(values, dtype)

    def _checked(
        self, clip: str, whose: str, given: Mapping[str, tuple[Codes, str]], lengths: Mapping[str, Length]
    ) -> Codes | ItemError:
        if clip not in given:
            assert self._table is not None
            return ItemError(f"{self._table.name} has no codes for {whose}")
        codes = given[clip][0]
        if clip in lengths:
            n_samples, rate = lengths[clip]
            expected = n_samples * self.info.sample_rate / (rate * self.info.hop_samples)
            if abs(codes.n_frames - expected) > LARGEST_DIFFERENCE:
                return ItemError(
                    f"{whose}: the codes last {codes.n_frames} frames "
                    f"({codes.n_frames / self.info.frame_rate:.3f} s), the audio {expected:.1f} "
                    f"({n_samples / rate:.3f} s); they are not of this clip, or the time grid is another"
                )
        return codes


def _equal(one: Codes, other: Codes) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in zip(one, other, strict=True)
    )
