"""The unit language models of GSLM, from fairseq's own checkpoint layout.

Conventions
-----------
- A folder with `checkpoint_best.pt` (`fairseq_lm`) and `dict.txt`, as published; fairseq itself is not needed.
- Ids are those of fairseq's dictionary: <s> 0, <pad> 1, </s> 2, <unk> 3, then the lines of dict.txt ("unit count") in
  their order, which is by frequency and not by unit. The number of a unit is what is written there.
- A clip is </s> u1 .. uN </s>: </s> is the left context of the first unit, as in training, and the EOS that is scored.
- Everything else is as for any causal LM (`causal_lm`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from spokeneval.errors import ConfigError
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.fairseq_lm import load_fairseq_lm
from spokeneval.models.loading import LoadOptions
from spokeneval.models.vocabulary import UnitVocabulary
from spokeneval.tokenizers.base import TokenizerInfo

CHECKPOINT, DICTIONARY = "checkpoint_best.pt", "dict.txt"

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
"""Symbols that fairseq puts before those of the file."""
EOS = SPECIAL.index("</s>")


class GSLM(CausalUnitLM):
    """A transformer LM of fairseq over the units of one tokenizer.

    path: folder with checkpoint_best.pt and dict.txt. max_context, truncate, and how it is loaded: see `CausalUnitLM`.
    Raises ConfigError where the checkpoint cannot be read, is another network, or its dictionary lacks units.
    """

    def __init__(
        self,
        path: str | Path,
        tokenizer: TokenizerInfo,
        max_context: int | None = None,
        truncate: Literal["refuse", "left"] = "refuse",
        **loading: Any,
    ) -> None:
        super().__init__(path, tokenizer, max_context=max_context, truncate=truncate, **loading)

    def _load(self, path: Path, options: LoadOptions) -> Any:
        return load_fairseq_lm(path / CHECKPOINT, len(read_dictionary(path / DICTIONARY)), options)

    def _vocabulary(self, path: Path, *_: Any) -> UnitVocabulary:
        ids = read_dictionary(path / DICTIONARY)
        if self.tokenizer.n_codebooks != 1:
            raise ConfigError(
                f"{DICTIONARY} has one codebook, but the tokenizer gives {self.tokenizer.n_codebooks}; expected units"
            )
        names = [str(unit) for unit in range(self.tokenizer.codebook_sizes[0])]
        lacks = [name for name in names if name not in ids]
        if lacks:
            raise ConfigError(
                f"{DICTIONARY} lacks {len(lacks)} of the tokenizer's {len(names)} units, e.g. '{lacks[0]}': the model "
                "belongs to another number of units"
            )
        return UnitVocabulary((np.array([ids[name] for name in names], np.int64),), (EOS,), (EOS,))


def read_dictionary(file: Path) -> dict[str, int]:
    """Symbol -> id of a dictionary of fairseq. Raises ConfigError naming the line that is not "symbol count"."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}); expected the dictionary beside the checkpoint") from error
    ids = {symbol: i for i, symbol in enumerate(SPECIAL)}
    for number, line in enumerate(lines, 1):
        symbol, _, count = line.rstrip().rpartition(" ")
        if not symbol or not count.isdigit():
            raise ConfigError(f"{file}, line {number}: '{line[:60]}'; expected a symbol and its count")
        if symbol in ids:
            raise ConfigError(f"{file}, line {number}: the symbol '{symbol}' occurs twice")
        ids[symbol] = len(ids)
    return ids
