"""Blocks of models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from spokeneval.config.block import Block, MadeBlock, ModelPath, Resource, ResourcePath, Revision
from spokeneval.config.resources import ModelResources
from spokeneval.models.conventions import CONVENTIONS, Convention, find_convention
from spokeneval.registry import closest_match


class DecodingBlock(Block):
    """How a model continues a prompt."""

    new_s: PositiveFloat = Field(2.0, description="seconds of new audio; the most that is said, with min_new_s")
    min_new_s: NonNegativeFloat | None = Field(
        None, description="seconds after which the model's own end mark may end it; new_s if null: it never does"
    )
    temperature: PositiveFloat = Field(1.0, description="divides the logits")
    top_k: PositiveInt | None = Field(None, description="keep the k likeliest ids")
    top_p: float | None = Field(None, gt=0, le=1, description="keep the likeliest ids up to this mass")
    repetition_penalty: PositiveFloat | None = Field(None, description="as in transformers; none if null")
    greedy: bool = Field(False, description="always the likeliest id; no noise is drawn")
    constrained: bool = Field(True, description="only codes that are legal at the position")
    seed: int = Field(0, description="seed of the noise, which is keyed by clip and sample")
    samples_per_item: PositiveInt = Field(1, description="continuations of each prompt")

    @model_validator(mode="after")
    def _least_is_no_more_than_most(self) -> DecodingBlock:
        if self.min_new_s is not None and self.min_new_s > self.new_s:
            raise ValueError(
                f"min_new_s is {self.min_new_s}, more than new_s {self.new_s}; expected at most new_s, the most that "
                "is said"
            )
        return self

    @property
    def may_end(self) -> bool:
        """True where a model may end by itself before new_s."""
        return self.min_new_s is not None and self.min_new_s < self.new_s


class Sequence(Block):
    """The sequence convention of a causal LM over units: what is fed and what of it is scored."""

    offset: int | Literal["config"] | None = Field(1, description="id of unit 0; 'config' reads config.offset")
    bos: int | None = Field(0, description="id fed before the first unit; without one the first unit is not scored")
    eos: int | None = Field(None, description="id that ends a clip and is scored; none if null")
    codes: str | tuple[str, ...] | None = Field(
        None, description="names of the codes' tokens, e.g. '<{code}_{codebook}>', in place of offset, bos and eos"
    )
    text: str | None = Field(None, description="string of a clip with {codes} in it, e.g. '<audio>{codes}</audio>'")
    unscored: Literal["config_pad", "tokenizer_pad"] | tuple[int, ...] | None = Field(
        None, description="ids that are fed and never scored, or where a published script reads the one it masks"
    )
    max_context: PositiveInt | Literal["unlimited"] | None = Field(
        None, description="longest sequence; the model's own if null; unlimited where positions are not learned"
    )
    truncate: Literal["refuse", "left"] = Field(
        "refuse", description="what to do with longer clips: record them as failed, or drop the oldest frames"
    )


class ModelBlock(MadeBlock):
    """What every model has, whatever its family."""

    kind: str = Field("causal_lm", description="family of code that loads it")
    family: str | None = Field(None, description="grouping key in tables and plots; the kind if null")
    series: str | None = Field(None, description="training run that it is a checkpoint of; set by `path: .../{step}`")
    step: int | None = Field(None, description="step within the series")
    tokenizer: str = Field(description="name of the tokenizer whose codes it reads")
    vocoder: str | None = Field(None, description="name of the vocoder that makes it heard; not heard if null")
    decoding: DecodingBlock = Field(default_factory=lambda: DecodingBlock(), description="how it continues a prompt")
    reductions: tuple[str | dict[str, Any], ...] = Field(
        (), description="reduction conventions that are computed for this model in addition to all models' own"
    )

    resources: ModelResources | None = Field(None, description="what its jobs ask of a cluster; the stage's if null")

    @model_validator(mode="after")
    def _can_end_where_it_may(self) -> ModelBlock:
        if self.decoding.may_end and not self.may_have_end_mark:
            raise ValueError(
                "decoding.min_new_s is below new_s, but this model has no mark that ends speech"
                f"{self._where_an_end_mark_is_set}; take min_new_s away"
            )
        return self

    @property
    def may_have_end_mark(self) -> bool:
        """False where no mark can end its speech; where True, it is known when the model is loaded."""
        return True

    @property
    def _where_an_end_mark_is_set(self) -> str:
        return ""

    @property
    def runs(self) -> bool:
        """True where it is loaded and run here, on codes."""
        return True

    @property
    def scored(self) -> bool:
        """True where there are log-probabilities."""
        return True

    @property
    def audible(self) -> bool:
        """True where there is something to hear."""
        return self.vocoder is not None


class LoadedBlock(ModelBlock):
    """What models that are loaded from a checkpoint of transformers share."""

    path: ModelPath = Field(description="folder with config.json and weights, or a name on the hub")
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of weights and activations")
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")
    device_map: str | None = Field(None, description="auto, balanced ...: over several devices; needs accelerate")
    attention: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = Field(
        None, description="attention implementation; transformers' own choice if null"
    )
    quantization: Literal["int8", "nf4"] | None = Field(
        None, description="8- or 4-bit weights; needs bitsandbytes and a GPU"
    )
    trust_remote_code: bool = Field(False, description="run the checkpoint's own code; only with a revision")

    @model_validator(mode="after")
    def _code_is_pinned(self) -> LoadedBlock:
        if self.trust_remote_code and self.revision is None:
            raise ValueError(
                "trust_remote_code needs a revision: code that is run must be a commit that somebody has read"
            )
        return self


class CausalLMBlock(LoadedBlock):
    """Any causal LM of transformers over a unit vocabulary."""

    kind: Literal["causal_lm"] = "causal_lm"
    convention: str | None = Field(
        None, description="sequence convention by name, with the reductions that go with it (docs/models.md)"
    )
    sequence: Sequence = Field(
        default_factory=lambda: Sequence(), description="the sequence convention in full; wins over the named one"
    )
    one_at_a_time: bool | None = Field(
        None,
        description="score clip by clip and share nothing; null: in half precision under a script's convention only",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_convention(cls, values: Any) -> Any:
        """The named convention fills what `sequence` does not say."""
        if isinstance(values, dict) and values.get("one_at_a_time") is None:
            convention, dtype = values.get("convention"), values.get("dtype", "float32")
            script = isinstance(convention, str) and _known_convention(convention).script
            values = {**values, "one_at_a_time": script and dtype != "float32"}
        if isinstance(values, dict) and isinstance(values.get("convention"), str):
            named = _known_convention(values["convention"]).sequence
            own = values.get("sequence") or {}
            if isinstance(own, dict):
                if "codes" in named:
                    named = {"offset": None, "bos": None, **named}
                values = {**values, "sequence": {**named, **own}}
        return values

    @field_validator("convention")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in CONVENTIONS:
            raise ValueError(f"unknown convention '{name}'; {closest_match(name, CONVENTIONS)}")
        return name

    @property
    def may_have_end_mark(self) -> bool:
        return self.sequence.codes is not None or self.sequence.eos is not None

    @property
    def _where_an_end_mark_is_set(self) -> str:
        return " (`sequence.eos` is null)"

    @property
    def named_convention(self) -> Convention | None:
        return None if self.convention is None else find_convention(self.convention)


def _known_convention(name: str) -> Convention:
    """An empty one for an unknown name, which is refused at its own key."""
    return CONVENTIONS.get(name, Convention({}))


class GSLMBlock(LoadedBlock):
    """The unit language models of GSLM, from fairseq's own checkpoint layout."""

    kind: Literal["gslm"]
    path: ResourcePath = Field(description="folder with checkpoint_best.pt and dict.txt, as published")
    max_context: PositiveInt | None = Field(None, description="longest sequence; the model's own if null")
    truncate: Literal["refuse", "left"] = Field("refuse", description="what to do with longer clips")


class MoshiBlock(LoadedBlock):
    """Moshi: the clip is Moshi's own stream of a dialogue, the user is silent."""

    kind: Literal["moshi"]
    silence_codes: tuple[NonNegativeInt, ...] | None = Field(
        None, description="the user's code in each codebook, at every step; the checkpoint's own codec's if null"
    )
    text_pad: NonNegativeInt = Field(3, description="id of the text stream, at every step; padding as published")

    @property
    def may_have_end_mark(self) -> bool:
        return False

    @model_validator(mode="before")
    @classmethod
    def _one_stream_is_scored(cls, values: Any) -> Any:
        if isinstance(values, dict) and "stream" in values:
            raise ValueError(
                "`stream` is no choice: transformers' Moshi predicts its own stream only, so a clip in the user's "
                "stream cannot be scored; take the key away"
            )
        return values


class CSMBlock(LoadedBlock):
    """CSM: the clip as one turn of one speaker, without text."""

    kind: Literal["csm"]
    speaker: NonNegativeInt = Field(0, description="number of the speaker in the text part of the turn")


class StoredLayoutBlock(Block):
    """Where the losses lie in an external model's arrays; the defaults are those of the published Llama-Mimi ones."""

    n_leading: NonNegativeInt = Field(1, description="marks before the first unit that are scored")
    n_trailing: NonNegativeInt = Field(1, description="marks after the last unit that are scored")
    first_unit_scored: bool = Field(True, description="false where the first unit is given and has no loss")
    closing_zero: bool | None = Field(
        None, description="arrays end in a placeholder 0; if null, true of the published layout and false of others"
    )


class ExternalBlock(ModelBlock):
    """A model that runs elsewhere: what it scored, what it said, or both, from files (docs/external-models.md)."""

    kind: Literal["external"]
    losses: Annotated[str | None, Resource(hub="dataset")] = Field(
        None, description="table of losses by item and role, or the published layout; file, folder or name on the hub"
    )
    revision: Revision = Field(None, description="commit of `losses` on the hub; null for a file or folder")
    layout: StoredLayoutBlock = Field(
        default_factory=lambda: StoredLayoutBlock(), description="where the losses lie in their arrays"
    )
    generated_audio: Annotated[str | None, Resource(beside=True)] = Field(
        None,
        description="table with task, index, path (inside its folder) and, where there are several, sample_index; or a "
        "folder of files named {task}/{index}.wav or {item_id}.wav",
    )
    prompt_included: bool = Field(False, description="the audio begins with the prompt, which is cut off")

    @model_validator(mode="after")
    def _has_something(self) -> ExternalBlock:
        if self.losses is None and self.generated_audio is None:
            raise ValueError("an external model needs `losses`, `generated_audio`, or both")
        if self.vocoder is not None or "decoding" in self.model_fields_set:
            raise ValueError("an external model is not run here, so it has no `vocoder` and no `decoding`")
        return self

    @property
    def runs(self) -> bool:
        return False

    @property
    def scored(self) -> bool:
        return self.losses is not None

    @property
    def audible(self) -> bool:
        return self.generated_audio is not None


MODELS: dict[str, type[Block]] = {
    "causal_lm": CausalLMBlock,
    "gslm": GSLMBlock,
    "moshi": MoshiBlock,
    "csm": CSMBlock,
    "external": ExternalBlock,
}
