"""The whole check, as it is run: on real clips, with nothing written, and an exit code that says what came out."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import yaml

from spokeneval.__main__ import main
from spokeneval.audio import read_recording
from spokeneval.check_model import Checked, check_model
from spokeneval.check_model import run as run_module
from spokeneval.check_model.findings import Finding
from spokeneval.check_model.items import first_items
from spokeneval.config import read_config
from spokeneval.datasets.base import clips_and_pairs
from spokeneval.errors import ConfigError
from spokeneval.factory import make_dataset
from spokeneval.tables import CLIPS, PAIRS, write_table

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "resources/demo"
RECORDINGS = ROOT / "resources/fetched/recordings/recordings.csv"
RATE = 22050

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(not RECORDINGS.is_file(), reason="`make fetch` was not run")


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """A table of five pairs: 2.5 s of a voice, and the same with another one from half-way on."""
    folder = tmp_path_factory.mktemp("audio")
    voices = {}
    with open(RECORDINGS, newline="") as file:
        for row in csv.DictReader(file):
            if row["speaker"] not in voices:
                recording = read_recording(RECORDINGS.parent / row["path"])
                if len(recording.waveform) >= 2.5 * recording.sample_rate:
                    voices[row["speaker"]] = recording
            if len(voices) == 5:
                break
    rows = ["task,positive,negative,transition_s"]
    clips = {name: (r.waveform[: int(2.5 * r.sample_rate)], r.sample_rate) for name, r in voices.items()}
    names = list(clips)
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        right, rate = clips[name]
        half, foreign = len(right) // 2, clips[other]
        assert foreign[1] == rate
        sf.write(folder / f"{name}.wav", right, rate, subtype="PCM_16")
        sf.write(
            folder / f"{name}_{other}.wav", np.concatenate([right[:half], foreign[0][half:]]), rate, subtype="PCM_16"
        )
        rows.append(f"voices,{name}.wav,{name}_{other}.wav,{half / rate:.6f}")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def config(audio, tmp_path):
    """A configuration of two models; `change` may alter it before it is written."""

    def write(change=lambda values: None):
        model = {
            "path": str(DEMO / "models/acoustic-m"), "tokenizer": "rvq", "vocoder": "griffin_lim",
            "sequence": {"offset": 1, "bos": 0}, "decoding": {"new_s": 0.3},
        }  # fmt: skip
        values = {
            "results": str(tmp_path / "results"),
            "datasets": {"voices": {"kind": "pairs", "table": str(audio / "pairs.csv")}},
            "tokenizers": {"rvq": {"kind": "mel_rvq", "codebook": str(DEMO / "codebooks/mel_rvq.safetensors")}},
            "vocoders": {"griffin_lim": {"kind": "griffin_lim", "iterations": 2}},
            "models": {"m": model, "wrong": {**model, "sequence": {"offset": 0, "bos": None}}},
        }
        change(values)
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


def run(path, model, capsys):
    code = 0
    try:
        main(["check-model", "--config", str(path), "--model", model])
    except SystemExit as stopped:
        code = stopped.code
    return code, capsys.readouterr().out


def test_a_right_model_gets_its_card_and_exit_code_0_and_nothing_is_written(config, tmp_path, capsys):
    path = config()
    code, said = run(path, "m", capsys)
    assert code == 0, said
    for expected in (
        "parameters    0.578 M, float32 on cpu",
        "code 0        id 1 (codebook 0), id 257 (codebook 1), id 513 (codebook 2)",
        "sequence: {offset: 1, bos: 0, eos: null",
        "769 ids are needed, the model has 769",
        "v transition 1.250 s",
        "marks: id 0 at place 0 fed, not scored",
        "made now, not kept",
        "m: nothing is wrong",
    ):
        assert expected in said
    assert "[wrong]" not in said
    assert "[cannot tell]" not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml"]


def test_a_wrong_convention_is_exit_code_1_with_what_to_change(config, capsys):
    code, said = run(config(), "wrong", capsys)
    assert code == 1
    assert "[wrong] sequence convention: offset 1 (declared: 0) fits far better" in said
    summary = said[said.index("wrong: 1 thing is wrong") :]
    assert "  1. sequence convention: offset 1 (declared: 0) fits far better" in summary
    assert "     from which follows compared with guessing: " in summary
    assert "set `sequence.offset: 1`" in summary
    assert "no better than guessing: see what fits better (offset 1 (declared: 0))" in summary


def test_a_model_that_cannot_be_loaded_is_refused_in_one_line(config, capsys):
    def change(values):
        values["models"]["m"]["sequence"] = {"offset": 2, "bos": 0}

    code, _ = run(config(change), "m", capsys)
    assert "error: " in code
    assert "the model has 769 ids, but the tokenizer needs 770" in code
    code, _ = run(config(), "n", capsys)
    assert "there is no model 'n'; " in code


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"path": "lab/slam"},
            "models.m.path: lab/slam is not there; if it is a name on the hub, add `revision: <sha of a commit>`, or "
            "let `make pin CONFIG=...` write it\nrun `make pin CONFIG=...`, then `make fetch CONFIG=...`, for what is "
            "on the hub; correct the other paths",
        ),
        ({"path": "no/such/model/here"}, "models.m.path: no/such/model/here is not there\ncorrect the paths"),
        (
            {"path": "lab/slam", "revision": "0" * 40},
            "models.m.path: lab/slam@000000000000 is not in the hub's cache\nrun `make fetch CONFIG=...`",
        ),
        ({"sequence": {"offset": 2}}, "the model has 769 ids, but the tokenizer needs 770"),
    ],
    ids=["unpinned", "no such path", "not fetched", "another vocabulary"],
)
def test_what_keeps_a_model_from_being_loaded_is_said_before_any_item_is_made(config, monkeypatch, model, message):
    def change(values):
        values["models"]["m"] |= model

    monkeypatch.setattr(run_module, "first_items", lambda *_: pytest.fail("items were made"))
    with pytest.raises(ConfigError) as caught:
        check_model(read_config(config(change)), "m")
    assert message in str(caught.value)


def test_only_what_the_model_needs_must_be_there(config, tmp_path):
    def change(values):
        values["models"]["other"] = {**values["models"]["m"], "path": "lab/slam"}
        values["datasets"]["more"] = {"kind": "pairs", "table": "none.csv"}
        values["tokenizers"]["none"] = {"kind": "mel_rvq", "codebook": "none.safetensors"}

    settings = read_config(config(change))
    run_module._need_resources(settings, "m", "voices")
    with pytest.raises(ConfigError, match=r"datasets.more.table: none.csv is not there"):
        run_module._need_resources(settings, "m", "more")
    clips, pairs = clips_and_pairs(make_dataset(settings, "voices").items())
    write_table(tmp_path / "results/more/clips.parquet", clips, CLIPS, "0" * 64)
    write_table(tmp_path / "results/more/pairs.parquet", pairs, PAIRS, "0" * 64)
    run_module._need_resources(settings, "m", "more")


def test_of_a_series_a_step_must_be_named(config, tmp_path):
    def change(values):
        for step in (100, 2000):
            (tmp_path / f"step_{step}").mkdir()
        values["models"]["mine"] = {"path": str(tmp_path / "step_{step}"), "tokenizer": "rvq"}

    with pytest.raises(ConfigError) as caught:
        check_model(read_config(config(change)), "mine")
    assert str(caught.value) == "'mine' is a series; name one of its steps: mine-step100, mine-step2000"


def test_what_follows_from_another_mistake_is_said_with_it_and_not_counted():
    found = [Finding("a", "wrong", "no"), Finding("b", "wrong", "so", "a"), Finding("c", "wrong", "neither")]
    lines = Checked("m", findings={"all": found}).lines()
    assert lines[lines.index("m: 2 things are wrong") :] == [
        "m: 2 things are wrong",
        "  1. a: no",
        "     from which follows b: so",
        "  2. c: neither",
    ]


def test_a_model_that_runs_elsewhere_has_nothing_to_check(config, tmp_path):
    def change(values):
        (tmp_path / "losses.csv").write_text("task,index,role,losses\n")
        values["models"]["m"] = {"kind": "external", "tokenizer": "rvq", "losses": str(tmp_path / "losses.csv")}

    with pytest.raises(ConfigError, match=r"models.m: it runs elsewhere"):
        check_model(read_config(config(change)), "m")


def test_items_come_from_the_tables_where_they_are_made(config, tmp_path):
    settings = read_config(config())
    made = first_items(settings, "voices")
    clips, pairs = clips_and_pairs(make_dataset(settings, "voices").items())
    write_table(tmp_path / "results/voices/clips.parquet", clips, CLIPS, "0" * 64)
    write_table(tmp_path / "results/voices/pairs.parquet", pairs, PAIRS, "0" * 64)
    read = first_items(settings, "voices")
    assert made.source == "made now, not kept"
    assert read.source == str(tmp_path / "results/voices")
    assert (
        [clip.clip_id for clip in read.clips] == [clip.clip_id for clip in made.clips] == pairs["positive"].to_pylist()
    )
    assert all(np.array_equal(a.waveform, b.waveform) for a, b in zip(made.clips, read.clips, strict=True))
    assert {round(clip.transition / clip.sample_rate, 3) for clip in read.clips} == {1.25}


def test_items_that_failed_are_passed_over_and_none_at_all_is_an_error(config, audio, tmp_path):
    lines = (audio / "pairs.csv").read_text().splitlines()
    (audio / "broken.csv").write_text("\n".join([lines[0], "voices,no.wav,no.wav,1", *lines[1:4]]) + "\n")
    (audio / "none.csv").write_text("\n".join([lines[0], "voices,no.wav,nor.wav,1"]) + "\n")

    def table(name):
        return lambda values: values["datasets"]["voices"].update(table=str(audio / name))

    assert len(first_items(read_config(config(table("broken.csv"))), "voices").clips) == 3
    with pytest.raises(ConfigError, match=r"datasets.voices: no item with audio among the first 1, e.g. .*no.wav"):
        first_items(read_config(config(table("none.csv"))), "voices")


def test_codes_from_a_table_are_checked_without_a_tokenizer(config, tmp_path, audio):
    settings = read_config(config())
    from spokeneval.factory import make_tokenizer

    tokenizer = make_tokenizer(settings, "rvq")
    rows = ["task,index,role,codes"]
    for index, clip in enumerate(first_items(settings, "voices").clips):
        codes = tokenizer.encode(clip.for_tokenizer(tokenizer.info)).codes.reshape(-1)
        rows.append(f'voices,{index},positive,"{codes.tolist()}"')
    (tmp_path / "codes.csv").write_text("\n".join(rows) + "\n")

    def change(values):
        values["tokenizers"]["rvq"] = {
            "kind": "precomputed", "codes": str(tmp_path / "codes.csv"), "sample_rate": RATE, "hop_samples": 512,
            "codebook_sizes": [256, 256, 256],
        }  # fmt: skip
        values["vocoders"] = {}
        for model in values["models"].values():
            del model["vocoder"]

    checked = check_model(read_config(config(change)), "m")
    assert checked.wrong == []
    assert [finding.outcome for finding in checked.findings["Tokenizer"]] == ["not checked"]
    assert [finding.outcome for finding in checked.findings["Other conventions"]] == ["ok", "not checked", "ok"]
