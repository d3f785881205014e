"""Blocks of datasets, tokenizers, vocoders, models and judges: one class a kind.

A kind that another package adds (see `registry`) has no class here: its block keeps whatever keys it has, and they are
given to the family's constructor, which checks them.
"""

from __future__ import annotations

from pydantic import ConfigDict

from spokeneval.config.block import Block, MadeBlock
from spokeneval.config.blocks.datasets import DATASETS, DatasetBlock, Topline
from spokeneval.config.blocks.judges import JUDGES, JudgeBlock, TrivialJudge
from spokeneval.config.blocks.models import MODELS, ModelBlock
from spokeneval.config.blocks.tokenizers import TOKENIZERS
from spokeneval.config.blocks.vocoders import VOCODERS, VocoderBlock


class PluginBlock(MadeBlock):
    """The block of a kind that another package adds."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())
    kind: str


BLOCKS: dict[str, dict[str, type[Block]]] = {
    "datasets": DATASETS,
    "tokenizers": TOKENIZERS,
    "vocoders": VOCODERS,
    "models": MODELS,
    "judges": JUDGES,
}
"""Section of the configuration -> kind -> its block."""

__all__ = [
    "BLOCKS",
    "Block",
    "DatasetBlock",
    "JudgeBlock",
    "ModelBlock",
    "PluginBlock",
    "Topline",
    "TrivialJudge",
    "VocoderBlock",
]
