"""Blocks of vocoders."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from spokeneval.config.block import Block, MadeBlock, ResourcePath


class VocoderBlock(MadeBlock):
    """What the vocoders of this package share."""

    decodes: ClassVar[tuple[str, ...]]
    """Kinds of tokenizers whose codes it takes. Kinds that other packages add are not asked."""
    takes: ClassVar[str | None] = None
    """What it takes in words, where kinds do not say all."""

    def can_decode(self, tokenizer: Block) -> bool:
        return tokenizer.model_dump()["kind"] in self.decodes


class GriffinLimBlock(VocoderBlock):
    decodes = ("mel_rvq",)
    kind: Literal["griffin_lim"]
    iterations: PositiveInt = Field(32, description="iterations of the phase search")


class HiFiGANBlock(VocoderBlock):
    decodes = ("mel_rvq",)
    kind: Literal["hifigan"]
    weights: ResourcePath = Field(description="file with the generator's weights")


class OwnDecoderBlock(VocoderBlock):
    """The codec's own decoder: for tokenizers mimi, encodec and speech_tokenizer."""

    decodes = ("mimi", "encodec", "speech_tokenizer")
    kind: Literal["codec"]


class UnitVocoderBlock(VocoderBlock):
    """What vocoders over de-duplicated units share."""

    decodes = ("hubert_kmeans", "whisper_kmeans", "precomputed")
    takes = "one codebook of de-duplicated units (hubert_kmeans, whisper_kmeans, precomputed)"

    def can_decode(self, tokenizer: Block) -> bool:
        merged = getattr(tokenizer, "deduplicate", getattr(tokenizer, "deduplicated", True))
        return super().can_decode(tokenizer) and merged and len(getattr(tokenizer, "codebook_sizes", (0,))) == 1


class UnitHiFiGANBlock(UnitVocoderBlock):
    """HiFi-GAN over de-duplicated units, with predicted durations (TWIST, slamkit): one voice for all prompts."""

    kind: Literal["unit_hifigan"]
    weights: ResourcePath = Field(description="checkpoint of the generator, as published")
    config: ResourcePath = Field(description="its config.json")
    speaker: NonNegativeInt | None = Field(None, description="number of the voice, where it has several")
    style: NonNegativeInt | None = Field(None, description="number of the style, where it has several")


class UnitMelBlock(UnitVocoderBlock):
    """A small mel network over de-duplicated units, with predicted durations, then Griffin-Lim: one voice for all
    prompts."""

    kind: Literal["unit_mel"]
    weights: ResourcePath = Field(description="safetensors file of the network")
    config: ResourcePath = Field(description="its config.json")
    iterations: PositiveInt = Field(32, description="iterations of the phase search")


VOCODERS: dict[str, type[Block]] = {
    "griffin_lim": GriffinLimBlock,
    "hifigan": HiFiGANBlock,
    "codec": OwnDecoderBlock,
    "unit_hifigan": UnitHiFiGANBlock,
    "unit_mel": UnitMelBlock,
}
