"""A model from files: the same scores as if it had run here, and every misfit said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from evaluator_tables import TEN_HZ, one, pair, pairs_table, shared_data
from published_losses import records, write_folder
from test_likelihood import dataset
from tiny_models import CODEBOOKS, UNITS, random_model, save

from spokeneval import jobs
from spokeneval.config import load_config
from spokeneval.errors import ConfigError, SpokenevalError
from spokeneval.evaluators.reduction import EvaluatorSettings
from spokeneval.evaluators.stored_losses import LLAMA_MIMI, read_stored_losses
from spokeneval.evaluators.views import evaluate
from spokeneval.fingerprint import Fingerprints
from spokeneval.item_table import Asked
from spokeneval.layout import Layout
from spokeneval.likelihood import KEPT, score_dataset
from spokeneval.models.causal_lm import CausalUnitLM
from spokeneval.models.external import External
from spokeneval.report import console_summary
from spokeneval.stages import Stages
from spokeneval.store import PartStore
from spokeneval.tables import LIKELIHOOD, read_metadata
from spokeneval.tokenizers.base import TokenizerInfo

ASKED = Asked("demo")
ONE_HZ = {"n_leading": 0, "n_trailing": 0}
PAIRS = pairs_table([pair("a", 20, index=0), pair("b", 20, index=1)])


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "losses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(index: int, role: str, losses: list[float], **more: Any) -> dict[str, Any]:
    return {"task": "speaker", "index": index, "role": role, "losses": losses, **more}


def told(path: Path, pairs: pl.DataFrame = PAIRS, info: TokenizerInfo = TEN_HZ, asked: Asked = ASKED, **layout: Any):
    return External(info, path, layout={**ONE_HZ, **layout}).likelihood(pairs, asked)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(LIKELIHOOD.from_rows(rows))).sort(LIKELIHOOD.key)


# ---------------------------------------------------------------- losses as if the model had run here


@pytest.mark.parametrize(
    ("info", "bos", "eos"),
    [(CODEBOOKS, 0, None), (CODEBOOKS, 0, 13), (CODEBOOKS, None, 13), (UNITS, 0, 13), (UNITS, None, None)],
)
def test_losses_of_a_model_that_ran_here_written_as_a_table_give_its_rows_again(tmp_path, info, bos, eos):
    pairs, tokens = dataset(3, info)
    pairs = pairs.with_columns(task=pl.lit("speaker"), index=pl.int_range(pl.len(), dtype=pl.Int32))
    model = save(random_model("gpt2", n_ids=14), tmp_path / "model")
    lm = CausalUnitLM(model, info, offset=1, bos=bos, eos=eos)
    store = PartStore(tmp_path / "store", "likelihood", "identity", LIKELIHOOD)
    done = score_dataset(lm, pairs, tokens, info, store)
    expected = pl.DataFrame(store.collect(done.keys)).sort(LIKELIHOOD.key)
    scored = {(clip, context): logprob for clip, context, logprob in expected.select(*_THREE).iter_rows()}
    rows = []
    for item in pairs.iter_rows(named=True):
        for role in ("positive", "negative", "continuation_positive", "continuation_negative"):
            losses = [-v for v in scored[item[role], "full"]]
            rows.append(row(item["index"], role, losses) | _durations(tokens[item[role]]))
        for role in ("positive", "negative"):
            cut = expected.filter(clip_id=item[role], context=KEPT)["cut_frame"][0]
            ends = tokens[item[role]].frame_starts() + tokens[item[role]].frame_counts()
            kept = tokens[item[role]].take(ends > cut)
            rows.append(row(item["index"], f"kept_{role}", [-v for v in scored[item[role], KEPT]]) | _durations(kept))
    layout = {"n_trailing": int(eos is not None), "first_unit_scored": bos is not None}
    found = told(write(tmp_path, rows), pairs, info, **layout)
    assert set(found.lacks) == {"legal"}
    again = frame(found.rows)
    for name in ("clip_id", "context", "cut_frame", "kind", "codebook", "frame", "n_frames", "step", "status"):
        assert again[name].to_list() == expected[name].to_list(), name
    for one_row, other in zip(again["logprob"], expected["logprob"], strict=True):
        np.testing.assert_allclose(one_row, other, rtol=1e-6)
    assert {t for targets in again["target"] for t in targets} == {-1}


_THREE = ("clip_id", "context", "logprob")


def _durations(codes: Any) -> dict[str, Any]:
    return {} if codes.durations is None else {"durations": codes.durations.tolist()}


def test_published_losses_give_the_rows_of_their_reader(tmp_path):
    folder = write_folder(tmp_path, 3, continuations=True)
    expected = read_stored_losses(sorted(folder.glob("*.jsonl")), LLAMA_MIMI)
    found = External(LLAMA_MIMI.info, folder).likelihood(expected.pairs, ASKED)
    assert frame(found.rows).equals(expected.likelihood.sort(LIKELIHOOD.key))
    assert set(found.lacks) == {"keep", "legal"}


def test_frames_and_codebooks_may_stand_beside_every_loss(tmp_path):
    lists = {"frame": [-1, 0, 0, 2, -1], "codebook": [0, 0, 1, 0, 0], "n_frames": [1, 2, 1, 1, 1]}
    lists |= {"kind": ["mark", "unit", "unit", "unit", "eos"], "step": [0, 1, 1, 3, 4]}
    info = TokenizerInfo(100, 10, (4, 4), deduplicated=False, causal=True, asynchronous=True)
    rows = [row(0, role, [1.0, 2.0, 3.0, 4.0, 5.0], **lists) for role in ("positive", "negative")]
    found = frame(told(write(tmp_path, rows), PAIRS.head(1), info).rows)
    first = found.filter(clip_id="a.p").row(0, named=True)
    assert first["logprob"] == [-1, -2, -3, -4, -5]
    assert first["kind"] == [2, 0, 0, 0, 1]
    assert (first["frame"], first["codebook"]) == ([-1, 0, 0, 2, -1], [-1, 0, 1, 0, -1])
    assert (first["n_frames"], first["step"]) == ([0, 2, 1, 1, 0], [0, 1, 1, 3, 4])


def test_scores_by_hand(tmp_path):
    """Ten frames a second, the cut at 0.2 s: two frames of prompt; 0.1 s are one frame."""
    rows = [row(0, "positive", [1, 1, 2, 4]), row(0, "negative", [1, 1, 3, 9])]
    rows += [row(0, "continuation_positive", [5, 5]), row(0, "continuation_negative", [6, 6])]
    found = told(write(tmp_path, rows), PAIRS.head(1))
    settings, absent = EvaluatorSettings(windows_s=(0.1,)).without(found.lacks)
    table = evaluate(PAIRS.head(1), frame(found.rows), TEN_HZ, settings)
    assert one(table, "global")["score_positive"] == 2.0
    assert one(table, "localized")["score_negative"] == 3.0
    assert one(table, "global_norm")["score_positive"] == pytest.approx(3 - 5)
    assert (table["status"] == "ok").all()
    assert list(absent) == ["unconditional term by keep"]


# ---------------------------------------------------------------- what is missing


def test_what_no_item_has_is_absent_and_what_one_item_lacks_is_a_failed_row(tmp_path):
    rows = [row(i, role, [1, 2, 3, 4]) for i in range(2) for role in ("positive", "negative")]
    found = told(write(tmp_path, rows))
    assert set(found.lacks) == {"retokenise", "keep", "legal"}
    assert "losses.jsonl has no losses of continuations" in found.lacks["retokenise"]
    assert {r["clip_id"] for r in found.rows} == {"a.p", "a.n", "b.p", "b.n"}
    found = told(write(tmp_path, [*rows[:3], row(0, "continuation_positive", [1.0])]))
    assert set(found.lacks) == {"keep", "legal"}
    reasons = {r["clip_id"]: r["reason"] for r in found.rows if r["status"] == "failed"}
    assert reasons == {
        "b.n": "losses.jsonl has no losses of speaker/1, negative",
        **{f"{i}.{c}": f"losses.jsonl has no losses of speaker/{k}, continuation_{sign}"
           for i, c, k, sign in [("a", "cn", 0, "negative"), ("b", "cp", 1, "positive"), ("b", "cn", 1, "negative")]},
    }  # fmt: skip


def test_views_leave_out_what_a_model_cannot_have_and_say_it():
    settings = EvaluatorSettings.make(("global_norm",), (0.5,), ("retokenise", "keep"), True, ("default", "legal"))
    left, absent = settings.without({"keep": "no kept", "legal": "no ids"})
    assert left.unconditional == ("retokenise",)
    assert [r.name for r in left.reductions] == ["default"]
    assert absent == {"unconditional term by keep": "no kept", "reduction legal": "no ids"}
    assert settings.without({}) == (settings, {})


def test_losses_that_are_no_numbers_fail_their_item(tmp_path):
    rows = [row(i, role, [1, 2, 3, 4]) for i in range(2) for role in ("positive", "negative")]
    rows[1]["losses"] = [1, None, float("nan"), 4]
    failed = [r for r in told(write(tmp_path, rows)).rows if r["status"] == "failed"]
    assert [(r["clip_id"], r["reason"]) for r in failed] == [("a.n", "2 of 4 losses are not finite")]


def test_one_clip_of_two_items_takes_the_first_losses_unless_they_differ(tmp_path):
    shared = pairs_table([pair("a", 20, index=0), pair("b", 20, index=1, positive="a.p")])
    rows = [row(i, role, [1, 2, 3, 4]) for i in range(2) for role in ("positive", "negative")]
    rows[2]["losses"] = [1, 2, 3.03, 4]
    found = frame(told(write(tmp_path, rows), shared).rows).filter(clip_id="a.p")
    assert found["logprob"][0].to_list() == [-1, -2, -3, -4]
    rows[2]["losses"] = [1, 2, 3.3, 4]
    found = frame(told(write(tmp_path, rows), shared).rows).filter(clip_id="a.p")
    assert found["reason"][0] == "speaker/0, positive and speaker/1, positive are one clip, but have different losses"


@pytest.mark.parametrize(
    ("change", "layout", "message"),
    [
        ({"losses": [-1, -2, -3, -4]}, {}, "all losses are 0 or less; expected -log p in nats"),
        ({"role": "prefix"}, {}, "role is 'prefix'; expected positive, negative"),
        ({"losses": "1 two 3"}, {}, "losses holds 'two'; expected numbers"),
        ({"losses": [1, 2]}, {"n_leading": 1, "n_trailing": 1}, "2 losses ending in 2.0; expected 1 marks, 1 a frame"),
        ({"losses": [1, 2, 3]}, {"closing_zero": True}, "and a closing 0"),
        ({"durations": [1, 2]}, {}, "2 durations for 4 units"),
        ({"index": 9}, {}, "rows for 1 items that the dataset 'demo' does not have: speaker/9"),
        ({"frame": [0, 1, 2]}, {}, "frame holds 3 numbers; expected 4, one a loss"),
        ({"frame": [0, 1, 2, 3], "n_frames": [1, 0, 1, 1]}, {}, "the unit at place 1 has frame 1, n_frames 0"),
        ({"frame": [0, 1, 2, 3], "codebook": [0, 0, 0, 1]}, {}, "codebooks 0 to 0"),
        ({"frame": [0, 1, 2, 3], "kind": ["unit"] * 3}, {}, "kind holds 3 kinds for 4 losses"),
        (
            {"frame": [0, 1, 2, 3], "kind": ["unit"] * 3 + ["bos"]},
            {},
            "kind holds bos; expected one of unit, eos, mark",
        ),
        ({"role": "kept_positive"}, {}, "kept_positive needs a row positive of the same item"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_row(tmp_path, change, layout, message):
    with pytest.raises(ConfigError, match=message):
        told(write(tmp_path, [row(0, "positive", [1, 2, 3, 4]) | change]), **layout)


def test_kept_losses_must_begin_at_the_cut(tmp_path):
    rows = [row(0, "positive", [1, 2, 3, 4]), row(0, "negative", [1, 2, 3, 4]), row(0, "kept_positive", [3, 4])]
    kept = next(r for r in told(write(tmp_path, rows)).rows if r["context"] == KEPT and r["status"] == "ok")
    assert (kept["cut_frame"], kept["frame"]) == (2, [2, 3])
    with pytest.raises(ConfigError, match="kept_positive lasts 3 frames of the clip's 4; expected 2, from the unit"):
        told(write(tmp_path, [*rows[:2], row(0, "kept_positive", [2, 3, 4])]))
    with pytest.raises(ConfigError, match=r"speaker/0, positive is there twice, first in .*line 1"):
        told(write(tmp_path, [rows[0], rows[0]]))


def test_published_losses_of_another_tokenizer_and_items_given_twice_are_refused(tmp_path):
    folder = write_folder(tmp_path, 2, ("speaker_consistency",))
    pairs = read_stored_losses([folder / "speaker_consistency.jsonl"], LLAMA_MIMI).pairs
    with pytest.raises(SpokenevalError, match=r"sample_rate and code_depth are \(24000, 4\); the layout expects"):
        External(TEN_HZ, folder).likelihood(pairs, ASKED)
    with open(folder / "speaker_consistency.jsonl", "a") as file:
        file.write(json.dumps(records("speaker_consistency", 1)[0]) + "\n")
    with pytest.raises(ConfigError, match="line 3: speaker_consistency/0 is there twice"):
        External(LLAMA_MIMI.info, folder).likelihood(pairs, ASKED)


def test_published_losses_of_deduplicated_units_take_their_durations_from_the_raw_units(tmp_path):
    record = {"task": "speaker", "index": 0, "sample_rate": 100, "code_depth": 1}
    record |= {f"{sign}_sample_tokenwise_loss": [2.0, 3.0, 0.0] for sign in ("positive", "negative")}
    units = {f"{sign}_sample_raw_units": [5, 5, 5, 1, 4, 4] for sign in ("positive", "negative")}
    info = TokenizerInfo(100, 10, (8,), deduplicated=True, causal=False)
    layout = {"n_leading": 0, "n_trailing": 0, "first_unit_scored": False}
    pairs = PAIRS.head(1)
    found = External(info, write(tmp_path, [record | units]), layout=layout).likelihood(pairs, ASKED)
    assert found.rows[0]["frame"] == [3, 4]
    assert found.rows[0]["n_frames"] == [1, 2]
    with pytest.raises(SpokenevalError, match="lacks positive_sample_raw_units"):
        External(info, write(tmp_path, [record]), layout=layout).likelihood(pairs, ASKED)


# ---------------------------------------------------------------- configuration and identities

GRID = {"kind": "precomputed", "sample_rate": 24000, "hop_samples": 1920, "codebook_sizes": [2048] * 4, "causal": True}


def config_of(path: Path, **model: Any) -> dict[str, Any]:
    return {
        "results": str(path.parent / "results"),
        "datasets": {"published": {"kind": "stored_losses", "path": str(path)}},
        "tokenizers": {"grid": GRID},
        "models": {"theirs": {"kind": "external", "tokenizer": "grid", "losses": str(path), **model}},
        "evaluators": {"windows_s": [0.5]},
        "report": {"n_draws": 200},
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"losses": None}, "an external model needs `losses`, `generated_audio`, or both"),
        ({"vocoder": "gl"}, "it has no `vocoder` and no `decoding`"),
        ({"decoding": {"new_s": 1.0}}, "it has no `vocoder` and no `decoding`"),
        ({"layout": {"n_leading": -1}}, "layout.n_leading"),
        ({"layout": {"leading": 1}}, "layout.leading: unknown key; did you mean 'n_leading'"),
    ],
)
def test_a_block_that_says_nothing_or_too_much_is_refused(tmp_path, model, message):
    with pytest.raises(ConfigError, match=message):
        load_config(config_of(tmp_path / "data", **model))


def test_losses_move_what_is_scored_and_audio_what_is_heard(tmp_path):
    (tmp_path / "said").mkdir()
    (tmp_path / "said/said.csv").write_text("item_id,path\na,a.wav\n")
    losses = write(tmp_path, [row(0, "positive", [1.0])])
    values = config_of(losses, generated_audio=str(tmp_path / "said/said.csv"))
    values["datasets"] = {"demo": {"kind": "pairs", "table": str(tmp_path / "said/said.csv")}}

    def identities(**model: Any) -> dict[tuple[str, ...], str]:
        values["models"]["theirs"] |= model
        return Stages(load_config(values), Fingerprints(tmp_path / "lock.json")).all()

    before = identities()
    assert {("likelihood", "theirs"), ("continuations", "theirs")} <= set(before)

    def moved(after: dict[tuple[str, ...], str]) -> set[str]:
        return {key[0] for key in before if before[key] != after[key]} & {"likelihood", "evaluators", "continuations"}

    assert moved(identities(prompt_included=True)) == {"continuations"}
    assert moved(identities(prompt_included=False, layout={"n_leading": 0})) == {"likelihood", "evaluators"}
    before = identities(layout={})
    write(tmp_path, [row(0, "positive", [1.0, 2.0])])
    assert moved(identities()) == {"likelihood", "evaluators"}
    without = identities(losses=None)
    assert ("likelihood", "theirs") not in without
    layout = Layout(load_config(values))
    asked_for = layout.report_inputs("demo")
    assert layout.likelihood("demo", "theirs") not in asked_for
    assert layout.continuations("demo", "theirs") in asked_for


# ---------------------------------------------------------------- through the jobs


def run_jobs(values: dict[str, Any]) -> Layout:
    """Every job of the stored losses, as the workflow calls them."""
    config = load_config(values)
    ids = Stages(config, Fingerprints(Path(values["results"]) / "lock.json")).all()
    name = {"dataset": "published", "threads": 1}
    jobs.clips(config, identity=ids["clips", "published"], **name)
    tokens, likelihood = ids["tokens", "grid"], ids["likelihood", "theirs"]
    jobs.tokens(config, tokenizer="grid", identity=tokens, **name)
    jobs.likelihood(config, model="theirs", identity=likelihood, tokens=tokens, **name)
    evaluators = ids["evaluators", "theirs"]
    jobs.evaluators(config, model="theirs", identity=evaluators, likelihood=likelihood, **name)
    jobs.report(config, identity=ids["report", "published"], **name)
    return Layout(config)


def test_our_own_windows_through_the_jobs_give_the_known_accuracies_of_llama_mimi(tmp_path):
    """Edge overlap, 0.5 s: 84.75, 97.5 and 95.5 (the authors' log: 84.5, 97.5, 95.5)."""
    source = shared_data("llama_mimi_salmon")
    (tmp_path / "data").mkdir()
    tasks = {"bg_all_consistency": 84.75, "rir_consistency": 97.5, "speaker_consistency": 95.5}
    for task in tasks:
        (tmp_path / "data" / f"{task}.jsonl").symlink_to(source / f"{task}.jsonl")
    layout = run_jobs(config_of(tmp_path / "data"))
    results = json.loads((Path(layout.report("published")) / "results.json").read_text())
    assert results["n_failed_rows"] == 0
    found = {r["task"]: 100 * r["accuracy"] for r in results["accuracy"] if r["evaluator"] == "localized"}
    assert found == pytest.approx(tasks)


def test_a_report_of_losses_alone_names_what_is_absent_and_no_row_failed(tmp_path):
    layout = run_jobs(config_of(write_folder(tmp_path / "data", 6)))
    folder = Path(layout.report("published"))
    failures = pl.read_csv(folder / "tables/failures.csv")
    assert failures.select("stage", "name", "kind").unique().rows() == [("evaluators", "theirs", "absent")]
    assert sorted(r.partition(":")[0] for r in failures["reason"]) == [
        "unconditional term by keep",
        "unconditional term by retokenise",
    ]
    assert json.loads((folder / "results.json").read_text())["n_failed_rows"] == 0
    assert "failed rows: 0" in console_summary(folder)
    page = (folder / "report.html").read_text()
    assert "the dataset holds losses and no audio" in page
    metadata = read_metadata(Path(layout.likelihood("published", "theirs")), LIKELIHOOD)
    assert set(metadata.extra["lacks"]) == {"retokenise", "keep", "legal"}


def test_continuations_in_the_table_give_the_normalised_evaluators(tmp_path):
    layout = run_jobs(config_of(write_folder(tmp_path / "data", 4, continuations=True)))
    rows = pl.read_parquet(layout.evaluators("published", "theirs")).filter(pl.col("evaluator") == "global_norm")
    assert set(rows["unconditional"]) == {"retokenise"}
    assert set(rows["status"]) == {"ok"}
    assert len(rows) == 8, "two tasks with a prompt"
