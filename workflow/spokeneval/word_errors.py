"""Word errors of a transcript against another, after Whisper's text normalisation.

Conventions
-----------
- An error is a word that is substituted, deleted or inserted, on the alignment with the fewest (jiwer); lower is
  better.
- Both texts are normalised first, as in Radford et al. 2022 (arXiv 2212.04356, appendix C), by transformers' code:
  English: lower case, contractions and titles written out, numbers as digits, fillers (uh, hmm), brackets, punctuation
  and diacritics taken away; British spellings are kept apart from American ones, for their list comes with a
  checkpoint. Other languages: lower case, brackets and punctuation taken away; in those written without spaces every
  character is a word. What has neither letter nor digit is no word (the English code leaves a point of a final "...").
- A rate is errors over words of the reference, summed over items first: a short item weighs by its words, and a
  reference without words is counted with all that was inserted, never divided by.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

_UNSPACED = ("ja", "lo", "my", "th", "yue", "zh")


class WordErrors(NamedTuple):
    n_words: int
    """Words of the reference."""
    n_errors: int
    """Substituted, deleted and inserted ones; may exceed n_words."""


def word_errors(reference: str, hypothesis: str, language: str = "en") -> WordErrors:
    """Count the words of `hypothesis` that are not those of `reference`; language: of both, a code such as 'en'."""
    from jiwer import process_words  # here: parsing a configuration needs neither

    found = process_words(_words(reference, language), _words(hypothesis, language))
    n_words = found.hits + found.substitutions + found.deletions
    return WordErrors(n_words, found.substitutions + found.deletions + found.insertions)


def _words(text: str, language: str) -> str:
    """The normalised words, joined by single spaces."""
    return " ".join(word for word in _normaliser(language)(text).split() if any(sign.isalnum() for sign in word))


@cache
def _normaliser(language: str) -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

    factory: Any = EnglishTextNormalizer if language == "en" else BasicTextNormalizer
    normaliser: Callable[[str], str] = factory({}) if language == "en" else factory(split_letters=language in _UNSPACED)
    return normaliser
