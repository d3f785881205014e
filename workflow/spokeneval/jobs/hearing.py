"""Jobs of what is heard: continuations, references, round trips, judging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import polars as pl

from spokeneval.baselines import COPY, NOISE_MATCHED, baselines
from spokeneval.config import Config
from spokeneval.embeddings import continuation_audio, embed_audio, judged_ids, reference_ids
from spokeneval.embeddings import references as reference_audio
from spokeneval.errors import ItemError
from spokeneval.jobs.tables_in import (
    asked_of,
    audio_of,
    clips_of,
    lengths_of,
    note,
    pairs_heard,
    pairs_of,
    store_of,
    tokenizer_info,
    tokens_of,
)
from spokeneval.judges.base import Judge, Transcriber, answer_of
from spokeneval.judging import (
    COLUMNS_JUDGED,
    judge_baseline,
    judge_continuations,
    judge_prompts,
    judge_round_trips,
    judgeable,
)
from spokeneval.layout import Layout
from spokeneval.progress import Progress
from spokeneval.round_trips import UNHEARD_COLUMNS, decode_round_trips, heard_round_trips, round_trip_ids
from spokeneval.store import PartStore
from spokeneval.tables import (
    CLIPS,
    CONTINUATIONS,
    EMBEDDINGS,
    JUDGING,
    ROUND_TRIPS,
    read_batches,
    read_table,
    write_batches,
    write_table,
)
from spokeneval.transcripts import transcribed_continuations, transcribed_references, transcribed_round_trips


def references(config: Config, *, dataset: str, judge: str, identity: str, embeddings: str, threads: int) -> None:
    """What a judge hears in the recordings themselves, and whether it hears the attribute."""
    from spokeneval.factory import make_judge

    layout = Layout(config)
    pairs = pairs_heard(config, dataset, judge)
    listener = make_judge(config, judge)
    answer = answer_of(listener)
    if answer == "transcript":
        pairs = _without_third_clips(pairs)
    store = store_of(config, "embeddings", embeddings, EMBEDDINGS)
    of_baseline: dict[str, dict[tuple[str, str], str | ItemError]] = {COPY: {}, NOISE_MATCHED: {}}
    n_samples = {clip: length.n_samples for clip, length in lengths_of(config, dataset).items()}

    def clips() -> Iterator[pl.DataFrame]:
        return read_batches(Path(layout.clips(dataset)), CLIPS, columns=["clip_id", "audio"])

    def audio() -> Iterator[tuple[str, bytes]]:
        yield from reference_audio(pairs, clips())
        if answer == "transcript":  # there is nothing to compare the words of a baseline with
            return
        for source, task, item_id, found in baselines(pairs, clips(), n_samples):
            of_baseline[source][task, item_id] = found if isinstance(found, ItemError) else found[0]
            if not isinstance(found, ItemError):
                yield found

    n_made = 0 if answer == "transcript" else 2 * len(judgeable(pairs))
    _embed(judge, listener, audio(), len(reference_ids(pairs)) + n_made, store)
    heard = _collected(store, reference_ids(pairs))
    extra = {
        "attribute": listener.attribute,
        "answer": answer,
        "crop_s": getattr(listener, "crop_s", None),
    }
    write_table(Path(layout.references(dataset, judge)), heard, EMBEDDINGS, identity, extra)
    if answer == "transcript":
        rows = transcribed_references(pairs, heard)
        write_table(Path(layout.qualification(dataset, judge)), rows, JUDGING, identity, extra)
        return
    judged = [judge_prompts(pairs, heard)]
    for source, found in of_baseline.items():
        made = sorted({audio_id for audio_id in found.values() if not isinstance(audio_id, ItemError)})
        judged.append(judge_baseline(source, pairs, found, _collected(store, made), heard))
    write_table(Path(layout.qualification(dataset, judge)), pl.concat(judged), JUDGING, identity, extra)


def round_trip_audio(
    config: Config, *, dataset: str, tokenizer: str, vocoder: str, identity: str, tokens: str, threads: int
) -> None:
    """The recordings through a codec, as sound."""
    from spokeneval.factory import make_tokenizer, make_vocoder

    pairs = pairs_of(config, dataset)
    tokens_table, _ = tokens_of(config, dataset, tokenizer, tokens)
    store = store_of(config, "round_trip_audio", identity, ROUND_TRIPS)
    wanted = round_trip_ids(pairs, tokens_table["clip_id"])
    progress = Progress(f"round trips {tokenizer} {vocoder}", len(wanted), "clips")
    codec = make_tokenizer(config, tokenizer), make_vocoder(config, vocoder)
    done = decode_round_trips(*codec, pairs, tokens_table, store, progress=progress.add)
    progress.finish()
    note(f"{done.n_decoded} clips decoded, {done.n_reused} found in the store, {done.n_failed} failed")
    path = Path(Layout(config).round_trip_audio(dataset, tokenizer, vocoder))
    write_batches(path, store.collect_batches([(clip_id,) for clip_id in wanted]), ROUND_TRIPS, identity)


def round_trips(
    config: Config,
    *,
    dataset: str,
    tokenizer: str,
    vocoder: str,
    judge: str,
    identity: str,
    audio: str,
    references: str,
    embeddings: str,
    threads: int,
) -> None:
    """What a judge hears of the recordings through a codec: the ceilings of every model that speaks through it."""
    from spokeneval.factory import make_judge

    layout = Layout(config)
    pairs = pairs_heard(config, dataset, judge)
    listener = make_judge(config, judge)
    if answer_of(listener) == "transcript":
        pairs = _without_third_clips(pairs)
    path = Path(layout.round_trip_audio(dataset, tokenizer, vocoder))
    made = read_table(path, ROUND_TRIPS, audio, [*UNHEARD_COLUMNS])
    wanted = round_trip_ids(pairs, made["clip_id"])
    made = made.filter(pl.col("clip_id").is_in(wanted))
    store = store_of(config, "embeddings", embeddings, EMBEDDINGS)
    batches = read_batches(path, ROUND_TRIPS, audio, ["clip_id", "status", "pcm_sha256", "audio"])
    sounds = continuation_audio(batch.filter(pl.col("clip_id").is_in(wanted)) for batch in batches)
    _embed(judge, listener, sounds, len(judged_ids(made)), store)
    heard = heard_round_trips(wanted, made, _collected(store, judged_ids(made)))
    write_table(Path(layout.round_trips(dataset, tokenizer, vocoder, judge)), heard, EMBEDDINGS, identity)
    known = read_table(Path(layout.references(dataset, judge)), EMBEDDINGS, references)
    if answer_of(listener) == "transcript":
        rows = transcribed_round_trips(pairs, heard, known, cast(Transcriber, listener).language)
    else:
        rows = judge_round_trips(pairs, heard, known)
    write_table(Path(layout.ceilings(dataset, tokenizer, vocoder, judge)), rows, JUDGING, identity)


def _without_third_clips(pairs: pl.DataFrame) -> pl.DataFrame:
    """A transcriber has no use for them: it compares no continuations."""
    return pairs.with_columns(same_attribute=pl.lit(None, pl.String))


def continuations(
    config: Config, *, dataset: str, model: str, identity: str, tokens: str, samples_per_item: int, threads: int
) -> None:
    """What a model says after every prompt, as sound."""
    from spokeneval.continuations import continue_dataset, needed, write
    from spokeneval.factory import decoding_of, make_model, make_tokenizer, make_vocoder
    from spokeneval.likelihood import codes_by_clip

    layout, block = Layout(config), config.models[model]
    if not block.runs:
        _told_continuations(config, dataset, model, identity)
        return
    assert block.vocoder is not None, f"{model} has no vocoder: no rule asks for its continuations"
    tokens_table, info = tokens_of(config, dataset, block.tokenizer, tokens)
    pairs = pairs_of(config, dataset)
    codes = codes_by_clip(tokens_table, info)
    lm = make_model(config, model, info)
    vocoder = make_vocoder(config, block.vocoder)
    store = store_of(config, "continuations", identity, CONTINUATIONS)
    progress = Progress(f"continuations {model}", len(needed(pairs, samples_per_item)), "prompts")
    done = continue_dataset(
        lm,
        make_tokenizer(config, block.tokenizer),
        vocoder,
        pairs,
        codes,
        store,
        decoding_of(config, model),
        progress=progress.add,
    )
    progress.finish()
    note(f"{done.n_generated} prompts continued, {done.n_reused} found in the store; {done.n_by_status}")
    write(Path(layout.continuations(dataset, model)), store, done.keys, model, info)


def _told_continuations(config: Config, dataset: str, model: str, identity: str) -> None:
    """Audio from files; which prompt a file belongs to depends on the pairs, so nothing is kept in the store."""
    from spokeneval.factory import make_external

    info = tokenizer_info(config, dataset, config.models[model].tokenizer)
    pairs = pairs_of(config, dataset)
    prompts = dict(audio_of(config, dataset, clips_of(pairs, ("prompt",))))
    told = make_external(config, model, info).continuations(pairs, asked_of(config, dataset), prompts)
    statuses = Counter(row["status"] for row in told.rows)
    note(f"{len(told.rows)} continuations from files, {dict(statuses)}, {told.n_left_out} rows or files of others")
    if told.unmatched:
        more = f" and {len(told.unmatched) - 20} more" if len(told.unmatched) > 20 else ""
        note(f"files that belong to no item: {', '.join(told.unmatched[:20])}{more}")
    path = Path(Layout(config).continuations(dataset, model))
    extra = {"tokenizer": info.to_dict(), "model": model, "flags": "sound"}
    write_table(path, CONTINUATIONS.from_rows(told.rows), CONTINUATIONS, identity, extra)


def judging(
    config: Config,
    *,
    dataset: str,
    model: str,
    judge: str,
    identity: str,
    continuations: str,
    references: str,
    embeddings: str,
    threads: int,
) -> None:
    """Is what the model says nearer to the right continuation or to the wrong one?"""
    from spokeneval.factory import make_judge

    layout = Layout(config)
    pairs = pairs_heard(config, dataset, judge)
    prompts = pairs["prompt"].drop_nulls().to_list()
    path = Path(layout.continuations(dataset, model))
    said = read_table(path, CONTINUATIONS, continuations, [*COLUMNS_JUDGED]).filter(pl.col("clip_id").is_in(prompts))
    known = read_table(Path(layout.references(dataset, judge)), EMBEDDINGS, references)
    store = store_of(config, "embeddings", embeddings, EMBEDDINGS)
    batches = read_batches(path, CONTINUATIONS, continuations, ["clip_id", "status", "pcm_sha256", "audio"])
    audio = continuation_audio(batch.filter(pl.col("clip_id").is_in(prompts)) for batch in batches)
    listener = make_judge(config, judge)
    _embed(judge, listener, audio, len(judged_ids(said)), store)
    heard = _collected(store, judged_ids(said))
    if answer_of(listener) == "transcript":
        rows = transcribed_continuations(pairs, said, heard)
    else:
        rows = judge_continuations(pairs, said, heard, known, seed=config.report.seed)
    write_table(Path(layout.judging(dataset, model, judge)), rows, JUDGING, identity)


def _embed(name: str, judge: Judge, audio: Iterable[tuple[str, bytes]], n_audios: int, store: PartStore) -> None:
    progress = Progress(f"judge {name}", n_audios)
    counts = embed_audio(judge, audio, store, progress=progress.add)
    progress.finish()
    note(f"{counts.n_embedded} clips heard, {counts.n_reused} found in the store, {counts.n_failed} failed")


def _collected(store: PartStore, audio_ids: Iterable[str]) -> pl.DataFrame:
    frame = pl.from_arrow(store.collect([(audio_id,) for audio_id in audio_ids]))
    assert isinstance(frame, pl.DataFrame)
    return frame
