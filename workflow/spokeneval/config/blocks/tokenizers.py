"""Blocks of tokenizers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from spokeneval.config.block import Block, MadeBlock, ModelPath, OptionalResourcePath, ResourcePath, Revision


class MelRVQBlock(MadeBlock):
    kind: Literal["mel_rvq"]
    codebook: ResourcePath = Field(description="safetensors file with the mean and the codebooks")


class WhisperKMeansBlock(MadeBlock):
    kind: Literal["whisper_kmeans"]
    encoder: ResourcePath = Field(description="folder of the Whisper model in CTranslate2 format")
    codebook: ResourcePath = Field(description="safetensors file with the centroids")
    layer: PositiveInt = Field(4, description="encoder layer whose output is quantised, counted from 1")


class HubertKMeansBlock(MadeBlock):
    """Units of HuBERT or mHuBERT: nearest of K centroids to the output of one layer."""

    kind: Literal["hubert_kmeans"]
    path: ModelPath = Field(description="folder of a HubertModel of transformers, or a name on the hub")
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    codebook: ResourcePath = Field(description="safetensors file with `centroids` (docs/models.md: how to convert)")
    layer: PositiveInt = Field(description="transformer layer whose output is quantised, counted from 1")
    padding: Literal["textless", "slamkit"] = Field(
        "textless", description="textless: none; slamkit: 40 zeros at each end (a frame more for some lengths)"
    )
    deduplicate: bool = Field(True, description="merge runs of equal units")
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


class CodecBlock(MadeBlock):
    """What codecs of transformers share."""

    path: ModelPath = Field(description="folder of the codec, or a name on the hub")
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    n_codebooks: PositiveInt = Field(description="how many of its codebooks are used, from the first")
    max_s: PositiveFloat | None = Field(None, description="seconds from the beginning that are encoded; all if null")
    resampler: Literal["soxr_vhq", "soxr_hq"] = Field(
        "soxr_vhq", description="how other rates are converted; soxr_hq is what librosa and old `datasets` do"
    )
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


class MimiBlock(CodecBlock):
    """Mimi (kyutai/mimi): 12.5 frames a second at 24 kHz, causal."""

    kind: Literal["mimi"]


class EncodecBlock(CodecBlock):
    """EnCodec (facebook/encodec_24khz): 75 frames a second."""

    kind: Literal["encodec"]


class SpeechTokenizerBlock(MadeBlock):
    """SpeechTokenizer, where its package is installed: 50 frames a second at 16 kHz."""

    kind: Literal["speech_tokenizer"]
    config: ResourcePath = Field(description="its config.json")
    checkpoint: ResourcePath = Field(description="its SpeechTokenizer.pt")
    n_codebooks: PositiveInt = Field(8, description="how many of its codebooks are used, from the first")
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


class PrecomputedBlock(MadeBlock):
    """Codes that were made elsewhere, or just the time grid of a model whose losses come from files."""

    kind: Literal["precomputed"]
    codes: OptionalResourcePath = Field(
        None, description="table of codes by item and role (docs/external-models.md); null where none are needed"
    )
    sample_rate: PositiveInt = Field(description="Hz of the audio that was encoded")
    hop_samples: PositiveInt = Field(description="samples a frame")
    codebook_sizes: tuple[PositiveInt, ...] = Field(description="number of codes of each codebook")
    codebook_names: tuple[str, ...] = Field((), description="what people call them, e.g. hubert, pitch, style")
    deduplicated: bool = Field(False, description="runs of equal units are merged; the table has durations")
    causal: bool = Field(False, description="codes of a frame depend on nothing later")
    asynchronous: bool = Field(False, description="codebooks have rates of their own; the table has streams of events")

    @property
    def has_codes(self) -> bool:
        return self.codes is not None


TOKENIZERS: dict[str, type[Block]] = {
    "mel_rvq": MelRVQBlock,
    "whisper_kmeans": WhisperKMeansBlock,
    "hubert_kmeans": HubertKMeansBlock,
    "mimi": MimiBlock,
    "encodec": EncodecBlock,
    "speech_tokenizer": SpeechTokenizerBlock,
    "precomputed": PrecomputedBlock,
}
