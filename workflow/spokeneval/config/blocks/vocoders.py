"""Blocks of vocoders."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from spokeneval.config.block import Block, ResourcePath


class GriffinLimBlock(Block):
    kind: Literal["griffin_lim"]
    iterations: PositiveInt = Field(32, description="iterations of the phase search")


class HiFiGANBlock(Block):
    kind: Literal["hifigan"]
    weights: ResourcePath = Field(description="file with the generator's weights")


class OwnDecoderBlock(Block):
    """The codec's own decoder: for tokenizers mimi, encodec and speech_tokenizer."""

    kind: Literal["codec"]


class UnitHiFiGANBlock(Block):
    """HiFi-GAN over de-duplicated units, with predicted durations (TWIST, slamkit): one voice for all prompts."""

    kind: Literal["unit_hifigan"]
    weights: ResourcePath = Field(description="checkpoint of the generator, as published")
    config: ResourcePath = Field(description="its config.json")
    speaker: NonNegativeInt | None = Field(None, description="number of the voice, where it has several")
    style: NonNegativeInt | None = Field(None, description="number of the style, where it has several")


VOCODERS: dict[str, type[Block]] = {
    "griffin_lim": GriffinLimBlock,
    "hifigan": HiFiGANBlock,
    "codec": OwnDecoderBlock,
    "unit_hifigan": UnitHiFiGANBlock,
}
