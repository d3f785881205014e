"""The vocabulary of a language model whose codes are tokens of its own text tokenizer.

Conventions
-----------
- `codes` names the token of a code: `<{code}_{codebook}>` (Llama-Mimi), `<Un{code}>` (slamkit's SIMS), or one template
  a codebook: `[Hu{code}]`, `[Pi{code}]`, `[St{code}]` (SpiritLM). Every token is looked up; none is computed.
- `text` is the string of a clip, with `{codes}` where its codes stand: `<audio>{codes}</audio>`. What the tokenizer
  puts before and after (a BOS, a stray word-boundary piece) is fed, too: the string is encoded as its publishers do.
  What comes before the codes is scored as a mark but for the first id, what comes after as EOS (`vocabulary`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from spokeneval.errors import ConfigError
from spokeneval.models.loading import need_package
from spokeneval.models.vocabulary import Ids, UnitVocabulary

PLACE = "{codes}"

_FILES = ("tokenizer.*", "vocab.*", "*.model", "*.tiktoken", "tekken.json", "added_tokens.json")
"""A text tokenizer's files, of which its folder holds one: without any transformers may make an empty tokenizer."""


def load_text_tokenizer(path: Path, trust_remote_code: bool = False) -> Any:
    """The text tokenizer beside a checkpoint. Raises ConfigError where there is none, or a package to read it lacks."""
    if path.is_dir() and not trust_remote_code and not any(next(path.glob(name), None) for name in _FILES):
        raise ConfigError(
            f"{path}: holds no tokenizer.json: no tokenizer can be loaded from there, which conventions that name "
            "tokens need (`sequence.codes`, e.g. `convention: llama-mimi`), and kind csm; copy its files there, as "
            "they were published, or name another convention"
        )
    if (path / "tokenizer.model").is_file() and not (path / "tokenizer.json").is_file():
        need_package("sentencepiece", f"{path / 'tokenizer.model'}")
    factory: Any = AutoTokenizer
    try:
        return factory.from_pretrained(str(path), local_files_only=True, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(
            f"{path}: the convention looks tokens up by name, but no tokenizer can be loaded from there ({reason}); "
            "expected tokenizer.json or tokenizer.model with its config, as the checkpoint was published"
        ) from error


def lookup_vocabulary(
    tokenizer: Any, codebook_sizes: Sequence[int], codes: str | Sequence[str], text: str, **more: Any
) -> UnitVocabulary:
    """The ids of all codes, and the marks around them, as a text tokenizer has them.

    Raises ConfigError naming the first token that the tokenizer lacks, or what is wrong with `text`.
    """
    templates = [codes] * len(codebook_sizes) if isinstance(codes, str) else list(codes)
    if len(templates) != len(codebook_sizes):
        raise ConfigError(
            f"sequence.codes has {len(templates)} templates, but the tokenizer of the audio has "
            f"{len(codebook_sizes)} codebooks"
        )
    tables = tuple(
        _ids_of(tokenizer, [_name(template, code, q) for code in range(size)])
        for q, (template, size) in enumerate(zip(templates, codebook_sizes, strict=True))
    )
    # The first and the last code of every codebook, side by side, as in a clip.
    sample = [(q, code) for code in (0, -1) for q in range(len(tables))]
    names = [_name(templates[q], code % codebook_sizes[q], q) for q, code in sample]
    marks = _marks(tokenizer, text, names, [int(tables[q][code]) for q, code in sample])
    return UnitVocabulary(tables, *marks, **more)


def _name(template: str, code: int, codebook: int) -> str:
    return template.replace("{code}", str(code)).replace("{codebook}", str(codebook))


def _ids_of(tokenizer: Any, names: list[str]) -> Ids:
    # An unknown token gets the id of <unk>, or none: it must not pass as a code.
    known = tokenizer.get_vocab()
    lacks = [name for name in names if name not in known]
    if lacks:
        raise ConfigError(
            f"the text tokenizer lacks {len(lacks)} of {len(names)} tokens of codes, e.g. '{lacks[0]}': it belongs to "
            "another codec or number of codebooks, or `sequence.codes` is wrong"
        )
    return np.array([known[name] for name in names], np.int64)


def _marks(
    tokenizer: Any, text: str, names: list[str], ids_of_codes: list[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and after codes; it must put nothing between them."""
    if text.count(PLACE) != 1:
        raise ConfigError(f"sequence.text is '{text}'; expected a string with one {PLACE}")
    string = text.replace(PLACE, "".join(names))
    ids = list(tokenizer(string)["input_ids"])
    n = len(ids_of_codes)
    places = [i for i in range(len(ids) - n + 1) if ids[i : i + n] == ids_of_codes]
    if len(places) != 1:
        raise ConfigError(
            f"the text tokenizer encodes '{string}' as {ids}, where the codes' ids {ids_of_codes} are not to be found "
            "side by side; expected every code as one token and nothing between them"
        )
    return tuple(ids[: places[0]]), tuple(ids[places[0] + n :])
