"""Jobs from raw audio to scores: clips, tokens, log-probabilities, evaluators and controls."""

from __future__ import annotations

import tempfile
from pathlib import Path

from spokeneval.config import Config
from spokeneval.errors import ItemError, SpokenevalError
from spokeneval.jobs.tables_in import (
    asked_of,
    audio_of,
    clips_of,
    lengths_of,
    note,
    pairs_of,
    store_of,
    tokens_of,
)
from spokeneval.layout import Layout
from spokeneval.progress import Progress
from spokeneval.store import PartStore
from spokeneval.tables import (
    CLIPS,
    EVALUATORS,
    LIKELIHOOD,
    OK,
    PAIRS,
    TOKENS,
    read_metadata,
    read_table,
    write_batches,
    write_table,
)
from spokeneval.tokenizers.base import TokenizerInfo


def clips(config: Config, *, dataset: str, identity: str, threads: int) -> None:
    """raw audio -> clips, pairs"""
    from spokeneval.datasets.base import pairs_of_items
    from spokeneval.factory import make_dataset

    layout = Layout(config)
    path = Path(layout.clips(dataset))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Clips come in the order of the items and are kept in the order of their ids; in between they lie on disk.
    with tempfile.TemporaryDirectory(prefix=".clips-", dir=path.parent) as folder:
        made = PartStore(Path(folder), "clips", identity, CLIPS)
        pair_table = pairs_of_items(make_dataset(config, dataset).items(), made.write)
        clip_ids = sorted(made.done())
        n_failed = sum(status != OK for status in pair_table["status"].to_pylist())
        note(f"{pair_table.num_rows} items, {n_failed} of them failed, {len(clip_ids)} clips")
        if n_failed and config.strict:
            raise SpokenevalError(
                f"{dataset}: {n_failed} items failed, and `strict: true` refuses to go on without them"
            )
        write_batches(path, made.collect_batches(clip_ids), CLIPS, identity)
    write_table(Path(layout.pairs(dataset)), pair_table, PAIRS, identity)


def tokens(config: Config, *, dataset: str, tokenizer: str, identity: str, threads: int) -> None:
    """clips -> tokens"""
    from spokeneval.factory import make_tokenizer
    from spokeneval.tokenizers.codes_source import CodesSource
    from spokeneval.tokens import encode_clips, failed_row, row_of

    encoder, pairs = make_tokenizer(config, tokenizer), pairs_of(config, dataset)
    path, extra = Path(Layout(config).tokens(dataset, tokenizer)), {"tokenizer": encoder.info.to_dict()}
    if isinstance(encoder, CodesSource):
        # Which clip a row of a table belongs to depends on the pairs, so nothing is kept in the store.
        codes = encoder.codes_for(pairs, asked_of(config, dataset), lengths_of(config, dataset))
        rows = [failed_row(c, e) if isinstance(e, ItemError) else row_of(c, e) for c, e in codes.items()]
        n_failed = sum(row["status"] != OK for row in rows)
        note(f"{len(rows)} clips of codes from a table, {n_failed} of them failed" if rows else "a time grid, no codes")
        write_table(path, TOKENS.from_rows(rows), TOKENS, identity, extra)
        return
    wanted = clips_of(pairs)
    store = store_of(config, "tokens", identity, TOKENS)
    done = store.done()
    missing = [clip for clip in wanted if (clip,) not in done]
    progress = Progress(f"tokens {tokenizer}", len(missing), "clips")
    encode_clips(encoder, audio_of(config, dataset, missing), store.write, progress=progress.add)
    progress.finish()
    note(f"{len(missing)} clips encoded, {len(wanted) - len(missing)} found in the store")
    write_table(path, store.collect([(clip,) for clip in wanted]), TOKENS, identity, extra)


def likelihood(config: Config, *, dataset: str, model: str, identity: str, tokens: str, threads: int) -> None:
    """tokens -> log-probabilities"""
    from spokeneval.factory import make_model
    from spokeneval.likelihood import codes_by_clip, needed, score_dataset, write

    if not config.models[model].runs:
        _told_likelihood(config, dataset, model, identity, tokens)
        return
    layout, settings = Layout(config), config.likelihood
    tokens_table, info = tokens_of(config, dataset, config.models[model].tokenizer, tokens)
    pairs = pairs_of(config, dataset)
    codes = codes_by_clip(tokens_table, info)
    lm = make_model(config, model, info)
    store = store_of(config, "likelihood", identity, LIKELIHOOD)
    progress = Progress(f"likelihood {model}", len(needed(pairs, info, settings.contexts)), "rows")
    done = score_dataset(
        lm, pairs, codes, info, store, settings.contexts, settings.max_batch_tokens, progress=progress.add
    )
    progress.finish()
    note(
        f"{done.n_forwarded} clips scored, {done.n_reused} rows found in the store, {done.n_failed} failed, "
        f"{done.n_truncated} truncated"
    )
    write(Path(layout.likelihood(dataset, model)), store, done.keys, model, lm, info)


def _told_likelihood(config: Config, dataset: str, model: str, identity: str, tokens: str) -> None:
    """Losses from files; which clip a row belongs to depends on the pairs, so nothing is kept in the store."""
    from spokeneval.factory import make_external

    _, info = tokens_of(config, dataset, config.models[model].tokenizer, tokens)
    external = make_external(config, model, info)
    told = external.likelihood(pairs_of(config, dataset), asked_of(config, dataset))
    n_failed = sum(row["status"] != OK for row in told.rows)
    note(f"{len(told.rows)} clips of losses from files, {n_failed} of them failed, {told.n_left_out} rows of others")
    for what, why in told.lacks.items():
        note(f"absent: {what}: {why}")
    extra = {"tokenizer": info.to_dict(), "streams": list(external.streams), "model": model, "lacks": told.lacks}
    write_table(
        Path(Layout(config).likelihood(dataset, model)), LIKELIHOOD.from_rows(told.rows), LIKELIHOOD, identity, extra
    )


def evaluators(config: Config, *, dataset: str, model: str, identity: str, likelihood: str, threads: int) -> None:
    """log-probabilities -> scores and verdicts"""
    from spokeneval.evaluators.views import evaluate

    layout = Layout(config)
    path = Path(layout.likelihood(dataset, model))
    metadata = read_metadata(path, LIKELIHOOD)
    info = TokenizerInfo.from_dict(metadata.extra["tokenizer"])
    settings, absent = config.evaluator_settings(model).without(metadata.extra.get("lacks", {}))
    table = evaluate(pairs_of(config, dataset), read_table(path, LIKELIHOOD, likelihood), info, settings)
    extra = {"conventions": settings.conventions(), "tokenizer": info.to_dict(), "model": model, "absent": absent}
    write_table(Path(layout.evaluators(dataset, model)), table, EVALUATORS, identity, extra)


def audio_controls(config: Config, *, dataset: str, identity: str, threads: int) -> None:
    """Scores that know nothing but length and level."""
    from spokeneval.controls import audio_controls as measure

    layout = Layout(config)
    table = measure(pairs_of(config, dataset), read_table(Path(layout.clips(dataset)), CLIPS))
    write_table(Path(layout.audio_controls(dataset)), table, EVALUATORS, identity)


def token_controls(config: Config, *, dataset: str, tokenizer: str, identity: str, tokens: str, threads: int) -> None:
    """Scores by counting tokens: unigram and bigram."""
    from spokeneval.controls import token_controls as measure

    layout = Layout(config)
    tokens_table, info = tokens_of(config, dataset, tokenizer, tokens)
    table = measure(pairs_of(config, dataset), tokens_table, info)
    write_table(Path(layout.token_controls(dataset, tokenizer)), table, EVALUATORS, identity)
