"""Where every artefact of a configuration lies. Called with wildcards ("{dataset}") by rules, with names elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spokeneval.config import Config
from spokeneval.ratings.answers import answer_files
from spokeneval.ratings.manifest import rated_systems
from spokeneval.ratings.schemas import RATINGS_SCHEMAS
from spokeneval.ratings.study import read_study


@dataclass(frozen=True)
class Layout:
    config: Config

    def _path(self, dataset: str, rest: str) -> str:
        return f"{self.config.results}/{dataset}/{rest}"

    def clips(self, dataset: str) -> str:
        return self._path(dataset, "clips.parquet")

    def pairs(self, dataset: str) -> str:
        return self._path(dataset, "pairs.parquet")

    def tokens(self, dataset: str, tokenizer: str) -> str:
        return self._path(dataset, f"tokens/{tokenizer}.parquet")

    def likelihood(self, dataset: str, model: str) -> str:
        return self._path(dataset, f"likelihood/{model}.parquet")

    def evaluators(self, dataset: str, model: str) -> str:
        return self._path(dataset, f"evaluators/{model}.parquet")

    def audio_controls(self, dataset: str) -> str:
        return self._path(dataset, "controls/audio.parquet")

    def token_controls(self, dataset: str, tokenizer: str) -> str:
        return self._path(dataset, f"controls/tokens/{tokenizer}.parquet")

    def continuations(self, dataset: str, model: str) -> str:
        return self._path(dataset, f"continuations/{model}.parquet")

    def references(self, dataset: str, judge: str) -> str:
        return self._path(dataset, f"references/{judge}.parquet")

    def qualification(self, dataset: str, judge: str) -> str:
        return self._path(dataset, f"qualification/{judge}.parquet")

    def round_trip_audio(self, dataset: str, tokenizer: str, vocoder: str) -> str:
        return self._path(dataset, f"round_trips/{tokenizer}/{vocoder}/audio.parquet")

    def round_trips(self, dataset: str, tokenizer: str, vocoder: str, judge: str) -> str:
        """Embeddings. A folder below the audio's: a judge may be called 'audio'."""
        return self._path(dataset, f"round_trips/{tokenizer}/{vocoder}/embeddings/{judge}.parquet")

    def ceilings(self, dataset: str, tokenizer: str, vocoder: str, judge: str) -> str:
        return self._path(dataset, f"ceilings/{tokenizer}/{vocoder}/{judge}.parquet")

    def judging(self, dataset: str, model: str, judge: str) -> str:
        return self._path(dataset, f"judging/{model}/{judge}.parquet")

    def listening_test(self, dataset: str, test: str) -> dict[str, str]:
        """Name -> path: the tables manifest, assignment and not_heard, and the folder `export`."""
        folder = self._path(dataset, f"listening_tests/{test}")
        tables = {name: f"{folder}/{name}.parquet" for name in ("manifest", "assignment", "not_heard")}
        return tables | {"export": f"{folder}/export"}

    def manifests(self, dataset: str, test: str) -> str:
        """Folder with every manifest that a listening test has had, which no job removes."""
        return self._path(dataset, f"listening_tests/{test}/manifests")

    def ratings(self, dataset: str, study: str) -> dict[str, str]:
        """Table -> its file: ratings, mos, agreement, screening."""
        return {table: self._path(dataset, f"ratings/{study}/{table}.parquet") for table in RATINGS_SCHEMAS}

    def report(self, dataset: str, partial: bool = False) -> str:
        return self._path(dataset, "report_partial" if partial else "report")

    def verdict(self, dataset: str) -> str:
        return self._path(dataset, "verdict.txt")

    def index(self) -> str:
        return f"{self.config.results}/index.html"

    def log(self, dataset: str, name: str) -> str:
        return self._path(dataset, f"logs/{name}.log")

    def benchmark(self, dataset: str, name: str) -> str:
        return self._path(dataset, f"benchmarks/{name}.tsv")

    # ------------------------------------------------------------ what a report is made of

    def codecs(self) -> list[tuple[str, str]]:
        """(tokenizer, vocoder) of the models that can be heard, each once."""
        models = self.config.models.values()
        return sorted({(model.tokenizer, model.vocoder) for model in models if model.vocoder is not None})

    def controls(self, dataset: str) -> dict[str, str]:
        """ "audio", where there is any, and every tokenizer whose codes are known -> the table of their controls."""
        if not self.config.datasets[dataset].has_members:
            return {}
        audio = {"audio": self.audio_controls(dataset)} if self.config.datasets[dataset].has_audio else {}
        return audio | {name: self.token_controls(dataset, name) for name in self.config.tokenizers_with_codes()}

    def report_inputs(self, dataset: str) -> list[str]:
        """Every table that the report of a dataset reads."""
        config = self.config
        audible, scored, judges = config.audible(), config.scored_on(dataset), config.judges_of(dataset)
        published = config.datasets[dataset].published
        return [
            *([] if published is None else [published]),
            self.clips(dataset),
            self.pairs(dataset),
            *self.controls(dataset).values(),
            *(self.likelihood(dataset, model) for model in scored),
            *(self.evaluators(dataset, model) for model in scored),
            *(self.continuations(dataset, model) for model in audible),
            *(self.qualification(dataset, judge) for judge in judges),
            *(self.ceilings(dataset, *codec, judge) for codec in self.codecs() for judge in judges),
            *(self.judging(dataset, model, judge) for model in audible for judge in judges),
            *(path for name in config.studies_of(dataset) for path in self.ratings(dataset, name).values()),
        ]

    def ratings_inputs(self, dataset: str, study: str) -> list[str]:
        """What the votes of a study are read from, and what says whether what was heard is still what there is.

        The manifest is not among them: it is the record of what people have heard, so that it must not be made again
        where continuations change. Its content is part of the identity.
        """
        file = self.config.ratings[study].study
        found = read_study(Path(file))
        files = [file, *(str(path) for path in answer_files(found).values())]
        if found.manifest is None:
            return files
        heard = [name for name in rated_systems(found) if name in self.config.audible()]
        return [*files, self.pairs(dataset), *(self.continuations(dataset, model) for model in heard)]

    def timings(self, dataset: str) -> list[tuple[str, str, Path]]:
        """(stage, name, file) of the benchmark files that jobs have left."""
        folder = Path(self._path(dataset, "benchmarks"))
        found = []
        for path in sorted(folder.rglob("*.tsv")):
            parts = path.relative_to(folder).with_suffix("").parts
            found.append((parts[0], "/".join(parts[1:]), path))
        return found
