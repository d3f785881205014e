"""What stands in a tokenizer's place where codes were made elsewhere: it hears nothing and knows items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import polars as pl

from spokeneval.errors import ItemError
from spokeneval.item_table import Asked
from spokeneval.tokenizers.base import Codes, TokenizerInfo


class Length(NamedTuple):
    """How long the audio of a clip is."""

    n_samples: int
    sample_rate: int
    """Hz"""


@runtime_checkable
class CodesSource(Protocol):
    """The contract; `tokenizers.precomputed` reads codes from a table."""

    info: TokenizerInfo

    def codes_for(
        self, pairs: pl.DataFrame, asked: Asked, lengths: Mapping[str, Length]
    ) -> dict[str, Codes | ItemError]:
        """clip_id -> codes of every clip that usable items need; empty where only the time grid is known.

        lengths: of the clips whose audio is here.
        """
        ...
