"""The identity of every stage's result, composed from configuration, content, code and versions.

This is the one place that says what each stage depends on. Measurement modules know nothing of it. What does not
change a number is left out: names and folders, the device, batch sizes, how many items are evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spokeneval import listening_test, report
from spokeneval.config import Config
from spokeneval.config.block import OF_THE_ORIGIN, Block, origin_keys
from spokeneval.demo.assets import asset_with, part_of, parts
from spokeneval.fingerprint import Fingerprints
from spokeneval.hub import local_snapshot
from spokeneval.identity import code_digest, digest, package_version
from spokeneval.ratings.answers import answer_files, missing_answers
from spokeneval.ratings.manifest import rated_systems
from spokeneval.ratings.run import CODE as RATINGS_CODE
from spokeneval.ratings.run import settings
from spokeneval.ratings.study import read_study
from spokeneval.registry import DATASETS, JUDGES, MODELS, TOKENIZERS, VOCODERS

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
N_MISSING_SAID = 60
"""Missing resources that are listed; of the rest it is said how many there are."""

PACKAGES = {
    "clips": ("soxr", "pyroomacoustics", "soundfile"),
    "tokens": ("torch", "transformers", "soxr"),
    "likelihood": ("torch", "transformers"),
    "continuations": ("torch", "transformers"),
    "embeddings": ("torch", "transformers", "onnxruntime", "soxr"),
    "round_trip_audio": ("torch", "transformers"),
    "round_trips": ("jiwer",),
    "listening_test": ("pyloudnorm", "soxr"),
}
"""Third-party packages whose release can change a stage's numbers."""

OPTIONAL = {"speechbrain": "speechbrain", "nemo": "nemo_toolkit", "funasr": "funasr"}
"""Module of an optional package that a judge needs -> the name under which it is installed."""

_NOT_OF_THE_NUMBERS = (
    "family",
    "series",
    "step",
    "vocoder",
    "decoding",
    "device",
    "device_map",
    "convention",
    "reductions",
    "resources",
)
"""Keys of a model's block that change no log-probability; `sequence` holds what a named convention stands for."""

_NOT_OF_THE_EMBEDDINGS = ("tasks", "max_items", "device", "attribute")
"""Keys of a judge's block that change no embedding; `attribute` names what it is asked for, where it hears several."""

NOT_OF_THE_ITEMS = frozenset({"human_topline", "published", "published_source", "averaging", "sources", "licence"})
"""Keys of a dataset's block that say what its results are compared with, and change no item."""

_SHOWN = {"family", "series", "step", "tokenizer", "vocoder", "convention"}
"""Keys of a model's block that a report shows and groups by."""

_SCORED_ELSEWHERE = ("losses", "revision", "layout", "tokenizer")
_HEARD_ELSEWHERE = ("generated_audio", "prompt_included", "tokenizer")
"""Keys of an external model that say what it scored, and those that say what it said."""


class Stages:
    """Identities under one configuration; each method returns a hex digest."""

    def __init__(self, config: Config, fingerprints: Fingerprints) -> None:
        self.config = config
        self.fingerprints = fingerprints

    # ------------------------------------------------------------ building blocks

    def _versions(self, stage: str, also: Sequence[str] = ()) -> dict[str, str]:
        kept = self.config.accept_versions
        return {name: kept.get(name, package_version(name)) for name in (*PACKAGES.get(stage, ()), *also)}

    def _block(self, block: Block, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """A block with paths replaced by the digests of what they hold."""
        said = block.model_dump(mode="json", exclude=origin_keys(block))
        values = {name: value for name, value in said.items() if name not in without}
        on_hub = block.hub_sources()
        for key, (path, mark) in block.content_paths().items():
            if key.partition(".")[0] in without:
                continue
            if key in on_hub:
                values[key] = on_hub[key].name
                continue
            target: Any = values
            *parents, last = key.split(".")
            for parent in parents:
                target = target[parent]
            content = mark.content(path)
            found = self.fingerprints.digest(content)
            target[last] = found if content == Path(path) else [Path(path).name, found]
        return values

    def _identity(self, stage: str, code: tuple[str, ...], also: Sequence[str] = (), **parts: Any) -> str:
        """also: packages beside those of the stage whose release counts."""
        return digest({"stage": stage, "code": code_digest(*code), "versions": self._versions(stage, also), **parts})

    # ------------------------------------------------------------ stages, in the order of the flow

    def clips(self, dataset: str) -> str:
        block = self.config.datasets[dataset]
        kind = str(block.model_dump()["kind"])
        code = ["spokeneval.datasets.base:pairs_of_items", DATASETS.target(kind)]
        screen = getattr(block, "screen", None)
        if screen is not None:
            code.append(JUDGES.target(screen.kind))
        return self._identity("clips", tuple(code), block=self._block(block, without=tuple(NOT_OF_THE_ITEMS)))

    def tokens(self, tokenizer: str) -> str:
        block = self.config.tokenizers[tokenizer]
        code = ("spokeneval.tokens:encode_clips", self._target(TOKENIZERS, block))
        return self._identity("tokens", code, block=self._block(block))

    def _model(self, model: str) -> dict[str, Any]:
        """What a model's numbers depend on, apart from its tokenizer's codes."""
        return self._block(self.config.models[model], without=_NOT_OF_THE_NUMBERS)

    def likelihood(self, model: str) -> str:
        block = self.config.models[model]
        if not block.runs:
            parts = self._block(block, without=(*_NOT_OF_THE_NUMBERS, *_HEARD_ELSEWHERE))
            target = self._target(MODELS, block)
            return self._identity("told_likelihood", (target,), block=parts, tokens=self.tokens(block.tokenizer))
        code = ("spokeneval.likelihood:score_dataset", self._target(MODELS, block))
        return self._identity("likelihood", code, block=self._model(model), tokens=self.tokens(block.tokenizer))

    def evaluators(self, model: str) -> str:
        settings = self.config.evaluators.model_dump(mode="json", exclude={"reductions"})
        settings["reductions"] = [r.to_dict() for r in self.config.evaluator_settings(model).reductions]
        contexts = list(self.config.likelihood.contexts)
        code = ("spokeneval.evaluators.views:evaluate",)
        return self._identity(
            "evaluators", code, settings=settings, contexts=contexts, likelihood=self.likelihood(model)
        )

    def audio_controls(self) -> str:
        return self._identity("controls", ("spokeneval.controls:audio_controls",))

    def token_controls(self, tokenizer: str) -> str:
        return self._identity("controls", ("spokeneval.controls:token_controls",), tokens=self.tokens(tokenizer))

    def vocoder(self, vocoder: str) -> dict[str, Any]:
        block = self.config.vocoders[vocoder]
        return {"block": self._block(block), "code": code_digest(self._target(VOCODERS, block))}

    def continuations(self, model: str) -> str:
        block = self.config.models[model]
        if not block.runs:
            parts = self._block(block, without=(*_NOT_OF_THE_NUMBERS, *_SCORED_ELSEWHERE))
            return self._identity("told_continuations", (self._target(MODELS, block),), block=parts)
        assert block.vocoder is not None, model
        code = ("spokeneval.continuations:continue_dataset", self._target(MODELS, block))
        # More samples add rows and change none.
        decoding = block.decoding.model_dump(mode="json", exclude={"samples_per_item"})
        return self._identity(
            "continuations",
            code,
            block=self._model(model),
            decoding=decoding,
            vocoder=self.vocoder(block.vocoder),
            tokens=self.tokens(block.tokenizer),
        )

    def embeddings(self, judge: str) -> str:
        """Embeddings of any audio by one judge: references and continuations alike."""
        block = self.config.judges[judge]
        code = ("spokeneval.embeddings:embed_audio", self._target(JUDGES, block))
        own = self._block(block, without=_NOT_OF_THE_EMBEDDINGS)
        return self._identity("embeddings", code, also=[OPTIONAL[module] for module in block.needs], block=own)

    def _listening(self, judge: str) -> dict[str, Any]:
        """Which items a judge listens to, and for what."""
        return self.config.judges[judge].model_dump(mode="json", include={"tasks", "max_items", "attribute"})

    def qualification(self, judge: str) -> str:
        code = (
            "spokeneval.judging:judge_prompts",
            "spokeneval.judging:judge_baseline",
            "spokeneval.baselines:baselines",
            "spokeneval.transcripts:transcribed_references",
        )
        return self._identity(
            "qualification", code, embeddings=self.embeddings(judge), listening=self._listening(judge)
        )

    def round_trip_audio(self, tokenizer: str, vocoder: str) -> str:
        """The recordings through a codec; no judge has a part in it."""
        return self._identity(
            "round_trip_audio",
            ("spokeneval.round_trips:decode_round_trips",),
            tokens=self.tokens(tokenizer),
            vocoder=self.vocoder(vocoder),
        )

    def round_trips(self, tokenizer: str, vocoder: str, judge: str) -> str:
        return self._identity(
            "round_trips",
            (
                "spokeneval.judging:judge_round_trips",
                "spokeneval.transcripts:transcribed_round_trips",
                "spokeneval.round_trips:heard_round_trips",
            ),
            audio=self.round_trip_audio(tokenizer, vocoder),
            embeddings=self.embeddings(judge),
            listening=self._listening(judge),
        )

    def judging(self, model: str, judge: str) -> str:
        return self._identity(
            "judging",
            (
                "spokeneval.judging:judge_continuations",
                "spokeneval.transcripts:transcribed_continuations",
                "spokeneval.embeddings:continuation_audio",
            ),
            continuations=self.continuations(model),
            samples=self.config.models[model].decoding.samples_per_item,
            embeddings=self.embeddings(judge),
            seed=self.config.report.seed,
            listening=self._listening(judge),
        )

    def listening_test(self, test: str) -> str:
        """An exported test: its sounds, their names and who hears what."""
        block, heard = self.config.listening_tests[test], self.config.heard_in(test)
        return self._identity(
            "listening_test",
            ("spokeneval.listening_test.export:export",),
            templates=self.fingerprints.digest(Path(listening_test.__file__).parent / "templates"),
            block=block.model_dump(mode="json", exclude={"models"}),
            items=self.clips(block.dataset),
            continuations={name: self.continuations(name) for name in heard},
        )

    def ratings(self, study: str) -> str:
        """Votes of a listening test. Where our audio was heard, also what there is of it now."""
        block = self.config.ratings[study]
        found = read_study(Path(block.study))
        now: dict[str, Any] = {}
        if found.manifest is not None:
            audible = self.config.audible()
            now = {
                "manifest": self.fingerprints.digest(found.manifest),
                "items": self.clips(block.dataset),
                "continuations": {
                    name: [self.continuations(name), self.config.models[name].decoding.samples_per_item]
                    if name in audible
                    else None
                    for name in rated_systems(found)
                },
            }
        return self._identity(
            "ratings",
            RATINGS_CODE,
            study=settings(found),
            answers={name: self.fingerprints.digest(path) for name, path in answer_files(found).items()},
            now=now,
        )

    def report(self, dataset: str) -> str:
        config, block, judges = self.config, self.config.datasets[dataset], self.config.judges_of(dataset)
        models = {
            name: [
                model.model_dump(mode="json", include=_SHOWN),
                self.evaluators(name) if name in config.scored_on(dataset) else None,
            ]
            for name, model in config.models.items()
        }
        return self._identity(
            "report",
            ("spokeneval.report:make_report",),
            compared_with=self._block(block, without=tuple(set(type(block).model_fields) - NOT_OF_THE_ITEMS)),
            templates=self.fingerprints.digest(Path(report.__file__).parent / "templates"),
            settings=config.report.model_dump(mode="json"),
            models=models,
            judging={name: [self.judging(name, judge) for judge in judges] for name in config.audible()},
            judges={name: self.qualification(name) for name in judges},
            studies={name: self.ratings(name) for name in config.studies_of(dataset)},
            origins=self._origins(),
        )

    def _origins(self) -> dict[str, dict[str, Any]]:
        """What is said of training and licences; nothing where nothing is said."""
        config = self.config
        sections: dict[str, Mapping[str, Block]] = {
            "tokenizers": config.tokenizers,
            "vocoders": config.vocoders,
            "models": config.models,
            "judges": config.judges,
        }
        return {
            f"{section}.{name}": said
            for section, blocks in sections.items()
            for name, block in blocks.items()
            if (said := block.model_dump(mode="json", include=set(OF_THE_ORIGIN), exclude_none=True))
        }

    def versions_of_all(self) -> dict[str, str]:
        """Package -> the version under which the tables of this configuration are made, of those that there are."""
        found = {name: version for stage in PACKAGES for name, version in self._versions(stage).items()}
        return {name: found[name] for name in sorted(found) if found[name] != "absent"}

    def all(self) -> dict[tuple[str, ...], str]:
        """(stage, names...) -> identity, of everything that this configuration makes."""
        config = self.config
        audible, scored = config.audible(), config.scored()
        codecs = {(m.tokenizer, m.vocoder) for m in config.models.values() if m.vocoder is not None}
        return {
            **{("clips", name): self.clips(name) for name in config.datasets},
            **{("tokens", name): self.tokens(name) for name in config.tokenizers},
            **{("likelihood", name): self.likelihood(name) for name in scored},
            **{("evaluators", name): self.evaluators(name) for name in scored},
            ("audio_controls",): self.audio_controls(),
            **{("token_controls", name): self.token_controls(name) for name in config.tokenizers},
            **{("continuations", name): self.continuations(name) for name in audible},
            **{("embeddings", name): self.embeddings(name) for name in config.judges},
            **{("qualification", name): self.qualification(name) for name in config.judges},
            **{("round_trip_audio", *codec): self.round_trip_audio(*codec) for codec in codecs},
            **{
                ("round_trips", *codec, judge): self.round_trips(*codec, judge)
                for codec in codecs
                for judge in config.judges
            },
            **{("judging", name, judge): self.judging(name, judge) for name in audible for judge in config.judges},
            **{("listening_test", name): self.listening_test(name) for name in config.listening_tests},
            **{("ratings", name): self.ratings(name) for name in config.ratings},
            **{("report", name): self.report(name) for name in config.datasets},
        }

    @staticmethod
    def _target(registry: Any, block: Block) -> str:
        return str(registry.target(block.model_dump()["kind"]))


@dataclass(frozen=True)
class Missing:
    """Something that a configuration names and that is not there."""

    text: str
    """Where it is named, and what."""
    source: Literal["fetched", "maybe on the hub", "here", "told"]
    """Where it is to be had: what `make fetch` brings, what may lack its commit only, all other files; told: the text
    says what to do."""


def what_is_missing(config: Config, fingerprints: Fingerprints | None) -> list[Missing]:
    """Everything that a configuration names and that is not there; nor archived, where fingerprints are given."""
    sections: Mapping[str, Mapping[str, Block]] = {
        "datasets": config.datasets,
        "tokenizers": config.tokenizers,
        "vocoders": config.vocoders,
        "models": config.models,
        "judges": config.judges,
        "ratings": config.ratings,
    }
    missing = [
        Missing(f"ratings.{name}: {text}", "here")
        for name, block in config.ratings.items()
        for text in missing_answers(Path(block.study))
    ]
    for section, blocks in sections.items():
        for name, block in blocks.items():
            kind = block.model_dump().get("kind")
            missing += [
                Missing(f"{section}.{name}: kind '{kind}' needs {module}, which is not installed; {command}", "told")
                for module, command in block.lacks().items()
            ]
            on_hub = block.hub_sources()
            for key, (path, mark) in block.content_paths().items():
                where = f"{section}.{name}.{key}"
                if key in on_hub:
                    if local_snapshot(on_hub[key]) is None:
                        missing.append(Missing(f"{where}: {on_hub[key]} is not in the hub's cache", "fetched"))
                elif Path(path).exists() or (fingerprints is not None and fingerprints.archived(path)):
                    continue
                elif mark.hub is not None and HUB_NAME.fullmatch(path):
                    hint = "add `revision: <sha of a commit>`, or let `make pin CONFIG=...` write it"
                    text = f"{where}: {path} is not there; if it is a name on the hub, {hint}"
                    missing.append(Missing(text, "maybe on the hub"))
                else:
                    missing.append(_missing_file(where, path, config))
    return missing


def _missing_file(where: str, path: str, config: Config) -> Missing:
    part = part_of(path)
    if part is None:
        return Missing(f"{where}: {path} is not there", "here")
    if part in parts(config.assets):
        return Missing(f"{where}: {path} is not there", "fetched")
    advice = f"add `{asset_with(part)}` to `assets` and run `make fetch CONFIG=...`"
    return Missing(f"{where}: {path} is not there; {advice}", "told")


def missing_resources(config: Config, fingerprints: Fingerprints) -> list[str]:
    """Everything that a configuration names and that is neither there nor archived, as lines for people."""
    return [missing.text for missing in what_is_missing(config, fingerprints)]


def missing_lines(missing: Sequence[Missing], config_name: str) -> list[str]:
    """What is missing, N_MISSING_SAID at most, and what to do about it; nothing where nothing is missing."""
    if not missing:
        return []
    n_more = len(missing) - N_MISSING_SAID
    more = [f"and {n_more} more that are not there"] if n_more > 0 else []
    said = [*(entry.text for entry in missing[:N_MISSING_SAID]), *more]
    pin, fetch = (f"`make {command} CONFIG={config_name}`" for command in ("pin", "fetch"))
    sources = {entry.source for entry in missing} - {"told"}
    if not sources:
        return said
    if "maybe on the hub" in sources:
        advice = f"run {pin}, then {fetch}, for what is on the hub; correct the other paths"
    elif sources == {"fetched"}:
        advice = f"run {fetch}"
    elif "fetched" in sources:
        advice = f"run {fetch} for what it can bring; correct the other paths"
    else:
        advice = "correct the paths"
    return [*said, advice]
