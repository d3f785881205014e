"""Blocks of datasets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from spokeneval.config.block import (
    Block,
    DatasetPath,
    OptionalResourcePath,
    Revision,
    TableWithAudio,
)
from spokeneval.config.blocks.judges import WeightsJudge


class Topline(Block):
    value: float = Field(ge=0, le=100, description="human accuracy in percent")
    source: str = Field(description="where the value is published")


class DatasetBlock(Block):
    """What every dataset has."""

    limit: PositiveInt | None = Field(
        None, description="only the first items of each task; a later full run reuses them"
    )
    human_topline: dict[str, Topline | tuple[Topline, ...]] = Field(
        default_factory=dict,
        description="human accuracy per task, with its source; of several, the first is the one that is compared with",
    )
    published: OptionalResourcePath = Field(
        None,
        description="CSV of published accuracies (model, task, evaluator, window_ms, accuracy_percent), shown beside",
    )
    published_source: str | None = Field(None, description="where they are published; needed with `published`")
    sources: tuple[str, ...] | dict[str, tuple[str, ...]] | None = Field(
        None,
        description="corpora that its items were made from, of all tasks or by task; as published if null (SALMon's)",
    )
    licence: str | None = Field(None, description="of its items; what is published of its name if null")

    @property
    def has_audio(self) -> bool:
        """False where only what models made of the audio is here."""
        return True

    @property
    def has_members(self) -> bool:
        """False where items are prompts alone, which nothing can be right or wrong about."""
        return True

    @property
    def whole(self) -> bool:
        """False where `limit` or a choice of tasks cuts it down, so that tables from elsewhere may know more items."""
        return self.limit is None and not isinstance(getattr(self, "tasks", None), tuple)


class ConsistencyBlock(DatasetBlock):
    """SALMon-style pairs made from a table of recordings."""

    kind: Literal["consistency"]
    recordings: TableWithAudio = Field(
        description="CSV or parquet with path, speaker, language, text, group; paths relative to it"
    )
    noises: OptionalResourcePath = Field(None, description="folder with one subfolder of audio files a noise class")
    evaluation_groups: OptionalResourcePath = Field(
        None, description="text file: groups whose recordings may be in items; all others only screen voices"
    )
    tasks: dict[str, PositiveInt] = Field(description="task -> number of pairs")
    sample_rate: PositiveInt = Field(16000, description="Hz of the clips that are made")
    prompt_s: PositiveFloat = Field(2.0, description="longest prompt in seconds")
    continuation_s: PositiveFloat = Field(2.0, description="longest continuation in seconds")
    seed: int = Field(0, description="seed of every choice that is made; each item has its own stream")
    min_part_s: PositiveFloat = Field(0.8, description="shortest prompt and shortest continuation in seconds")
    crossfade_s: PositiveFloat = Field(0.01, description="cross-fade at every join")
    min_separation: float = Field(
        0.9, ge=0.5, le=1.0, description="voices that the screening embedder tells apart less often are not paired"
    )
    screen: WeightsJudge | None = Field(None, description="embedder that screens voices; another than the judges")


class PairsBlock(DatasetBlock):
    """Any table of pairs of audio files."""

    kind: Literal["pairs"]
    table: TableWithAudio = Field(
        description="CSV or parquet with positive, negative, task and, where there is one, transition_s"
    )


class SalmonBlock(DatasetBlock):
    """SALMon, from its zip's folders, from the hub's parquet files, or with published transitions."""

    kind: Literal["salmon"]
    path: DatasetPath = Field(description="folder of the unpacked zip or of parquet files, or a name on the hub")
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    tasks: tuple[str, ...] | None = Field(None, description="tasks by SALMon's names; all that are there if null")


class ZeroSpeechBlock(DatasetBlock):
    """sWUGGY and sBLIMP of the ZeroSpeech benchmark."""

    kind: Literal["zerospeech"]
    path: DatasetPath = Field(
        description="folder with gold.csv and WAV files, of parquet files, of numbered WAV files, or a name on the hub"
    )
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    part: Literal["lexical", "syntactic"] = Field(description="lexical (sWUGGY) or syntactic (sBLIMP)")
    averaging: Literal["official", "micro"] = Field(
        "official",
        description="official: over the voices of an id, then over ids; micro: over all pairs (slamkit). Both are the "
        "same where there is no gold.csv",
    )


class StoryClozeBlock(DatasetBlock):
    """Spoken StoryCloze: sStoryCloze, tStoryCloze."""

    kind: Literal["storycloze"]
    path: DatasetPath = Field(description="folder of numbered WAV files or of parquet files, or a name on the hub")
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    task: str = Field(description="its name in tables: sStoryCloze or tStoryCloze")


class StoredLossesDatasetBlock(DatasetBlock):
    """Items of published per-token losses whose audio is not here."""

    kind: Literal["stored_losses"]
    path: DatasetPath = Field(
        description="folder of JSON lines or parquet files in the SALMon_<model> layout, or a file"
    )
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    tasks: tuple[str, ...] | None = Field(None, description="tasks; all that are there if null")
    transitions: dict[str, Literal["prefix", "half", "none"]] = Field(
        default_factory=dict,
        description="task -> where its prompts end, for tasks that are not SALMon's: the stored common prefix of both "
        "clips, half of the positive, or none",
    )

    @property
    def has_audio(self) -> bool:
        return False


class PromptsBlock(DatasetBlock):
    """Free prompts, without anything to compare: continued and heard, never scored."""

    kind: Literal["prompts"]
    path: TableWithAudio = Field(
        description="folder of audio files; or CSV or parquet with path and, where there are such, task, item_id, "
        "cluster and labels"
    )
    prompt_s: PositiveFloat | None = Field(None, description="longest prompt in seconds; whole recordings if null")

    @property
    def has_members(self) -> bool:
        return False


DATASETS: dict[str, type[Block]] = {
    "consistency": ConsistencyBlock,
    "pairs": PairsBlock,
    "salmon": SalmonBlock,
    "zerospeech": ZeroSpeechBlock,
    "storycloze": StoryClozeBlock,
    "stored_losses": StoredLossesDatasetBlock,
    "prompts": PromptsBlock,
}

__all__ = ["DATASETS", "ConsistencyBlock", "DatasetBlock", "PairsBlock", "Topline"]
