"""Text tokenizers with codes among their tokens, made as the published models' are, small."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "!": 5}


def with_codes(
    folder: Path,
    names: list[str],
    words: dict[str, int] | None = None,
    bos: bool = True,
    eos: str = "</s>",
    pad: str | None = None,
) -> Path:
    """A word tokenizer with added tokens, as Llama's and Qwen's with theirs; BOS by a template where there is one."""
    tokenizer = Tokenizer(models.WordLevel(words or WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    return _save(tokenizer, folder, bos, eos, pad)


def sentencepiece_like(folder: Path, names: list[str], added: bool) -> Path:
    """Metaspace and a Unigram model, as sentencepiece; codes are tokens added to it, or pieces of the model itself.

    Pieces of the model come after the word boundary that is put before every text; added tokens do not.
    """
    pieces = [*WORDS, "▁", *([] if added else names)]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    if added:
        tokenizer.add_tokens([AddedToken(name, normalized=False) for name in names])
    return _save(tokenizer, folder, bos=True, eos="</s>", pad=None)


def _save(tokenizer: Tokenizer, folder: Path, bos: bool, eos: str, pad: str | None) -> Path:
    if bos:
        start = tokenizer.token_to_id("<s>")
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", start)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token=eos, pad_token=pad
    )
    fast.save_pretrained(folder)
    return folder
