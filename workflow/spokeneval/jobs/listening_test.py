"""The job of an exported listening test: continuations in, a folder for raters and the manifest out."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spokeneval.config import Config
from spokeneval.continuations import UNHEARD
from spokeneval.jobs.tables_in import audio_of, note, pairs_of
from spokeneval.layout import Layout
from spokeneval.listening_test.export import export
from spokeneval.listening_test.schemas import ASSIGNMENT, MANIFEST, NOT_HEARD
from spokeneval.listening_test.selection import ANCHORS, Sound
from spokeneval.tables import CONTINUATIONS, read_batches, write_table


def listening_test(config: Config, *, dataset: str, test: str, identity: str, threads: int) -> None:
    """Continuations of models -> a listening test for people."""
    settings, models, layout = config.listening_tests[test], config.heard_in(test), Layout(config)
    pairs = pairs_of(config, dataset)
    paths = {name: Path(path) for name, path in layout.listening_test(dataset, test).items()}

    def stored_of(items: pl.DataFrame) -> _Stored:
        return _Stored(config, dataset, items, models, settings.sample_index)

    made = export(test, settings, pairs, models, stored_of, paths["export"])
    tables = {"manifest": (made.manifest, MANIFEST), "assignment": (made.assignment, ASSIGNMENT)}
    tables["not_heard"] = (made.not_heard, NOT_HEARD)
    for name, (table, schema) in tables.items():
        write_table(paths[name], table, schema, identity)
    kept = Path(layout.manifests(dataset, test)) / f"{identity[:16]}.parquet"
    for path in (kept, paths["export"] / "keep/manifest.parquet"):
        write_table(path, made.manifest, MANIFEST, identity)
    note(f"{made.text}\nfor raters: {paths['export']}/for_raters/index.html; the record of this test: {kept}")


class _Stored:
    """The stored audio of some items and of what models said to their prompts, by sound."""

    def __init__(self, config: Config, dataset: str, pairs: pl.DataFrame, models: list[str], sample_index: int) -> None:
        self._config, self._dataset = config, dataset
        roles = ("prompt", *ANCHORS.values())
        self._clips = dict(audio_of(config, dataset, sorted({c for role in roles for c in pairs[role].drop_nulls()})))
        self._said: dict[tuple[str, str], dict[str, object]] = {}
        prompts = pairs["prompt"].unique().to_list()
        columns = ["clip_id", "sample_index", "audio", "pcm_sha256", "status", "reason"]
        for model in models:
            path = Path(Layout(config).continuations(dataset, model))
            for batch in read_batches(path, CONTINUATIONS, columns=columns):
                of_items = (pl.col("sample_index") == sample_index) & pl.col("clip_id").is_in(prompts)
                for row in batch.filter(of_items).iter_rows(named=True):
                    self._said[model, row["clip_id"]] = row

    def __call__(self, sound: Sound) -> tuple[bytes, str] | str:
        if sound.clip_id is not None:
            flac = self._clips.get(sound.clip_id)
            return "the clip is not in the table of clips" if flac is None else (flac, sound.clip_id)
        row = self._said.get((sound.system_id, sound.prompt))
        if row is None:
            return f"there is no sample {sound.sample_index} of this prompt"
        audio = row["audio"]
        if row["status"] in UNHEARD or not isinstance(audio, dict):
            return f"{row['status']}: {row['reason'] or 'nothing to hear'}"
        return audio["bytes"], str(row["pcm_sha256"])
