"""One entry for many models: checkpoints of a run, or a table."""

import pytest
import yaml

from spokeneval.config import load_config
from spokeneval.config.series import expand_series
from spokeneval.errors import ConfigError
from spokeneval.fingerprint import Fingerprints
from spokeneval.stages import Stages


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for step in (1000, 500, 20000):
        folder = tmp_path / f"runs/a/step_{step}/hf"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(str(step))
    for other in ("step_last", "step_12b", "old_step_7"):
        (tmp_path / "runs/a" / other / "hf").mkdir(parents=True)
    (tmp_path / "runs/a/step_9").mkdir()
    return tmp_path


def expanded(**models):
    return expand_series({"models": models})["models"]


def test_every_checkpoint_becomes_a_model_in_the_order_of_its_step(run):
    models = expanded(mine={"path": "runs/a/step_{step}/hf", "tokenizer": "rvq", "decoding": {"seed": 1}})
    assert list(models) == ["mine-step500", "mine-step1000", "mine-step20000"]
    assert models["mine-step500"] == {
        "path": "runs/a/step_500/hf", "tokenizer": "rvq", "decoding": {"seed": 1}, "series": "mine", "step": 500,
    }  # fmt: skip


def test_leading_zeros_and_what_follows_the_step_belong_to_the_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ckpt-000100.hf", "ckpt-002000.hf", "ckpt-3.pt"):
        (tmp_path / name).mkdir()
    models = expanded(a={"path": "ckpt-{step}.hf"})
    assert {name: block["path"] for name, block in models.items()} == {
        "a-step100": "ckpt-000100.hf",
        "a-step2000": "ckpt-002000.hf",
    }


def test_some_steps_can_be_picked(run):
    assert list(expanded(mine={"path": "runs/a/step_{step}/hf", "steps": [20000, 500]})) == [
        "mine-step500",
        "mine-step20000",
    ]


def test_a_new_checkpoint_is_a_new_model_and_the_others_keep_their_identity(run, tmp_path):
    block = {"path": "runs/a/step_{step}/hf", "tokenizer": "units"}
    config = {
        "datasets": {"d": {"kind": "pairs", "table": "runs/pairs.csv"}},
        "tokenizers": {"units": {"kind": "mel_rvq", "codebook": "codebook.safetensors"}},
        "models": {"mine": block},
    }

    (run / "codebook.safetensors").write_text("codes")

    def identities():
        loaded = load_config(yaml.safe_load(yaml.safe_dump(config)))
        stages = Stages(loaded, Fingerprints(tmp_path / "lock.json"))
        return {name: stages.likelihood(name) for name in loaded.models}

    before = identities()
    (run / "runs/a/step_30000/hf").mkdir(parents=True)
    (run / "runs/a/step_30000/hf/config.json").write_text("30000")
    after = identities()
    assert set(after) - set(before) == {"mine-step30000"}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"path": "runs/b/step_{step}"}, "nothing is there like runs/b/step_{step}"),
        ({"path": "runs/{step}/step_{step}"}, "more than once"),
        ({"path": "runs/a/step_{step}/hf", "steps": [7]}, "there is no checkpoint of step 7"),
        ({"path": "runs/a/step_{step}/hf", "steps": "all"}, "expected a list of whole numbers"),
    ],
)
def test_what_cannot_be_expanded_is_said(run, block, message):
    with pytest.raises(ConfigError) as error:
        expanded(mine=block)
    assert message in str(error.value)


def test_a_series_may_not_take_the_name_of_another_model(run):
    with pytest.raises(ConfigError, match="makes a model 'mine-step500', which is there already"):
        expanded(**{"mine": {"path": "runs/a/step_{step}/hf"}, "mine-step500": {"path": "elsewhere"}})


TABLE = """name,path,tokenizer,convention,decoding.temperature,device,sequence.max_context
first,lab/first,mhubert,slamkit,0.8,cuda,
second,ckpt/second,mimi,,,,1024
"""


def test_a_table_adds_a_model_a_row(tmp_path):
    table = tmp_path / "models.csv"
    table.write_text(TABLE)
    values = expand_series({"models": {"own": {"path": "x"}}, "models_table": str(table)})
    assert values == {
        "models": {
            "own": {"path": "x"},
            "first": {
                "path": "lab/first", "tokenizer": "mhubert", "convention": "slamkit",
                "decoding": {"temperature": 0.8}, "device": "cuda",
            },
            "second": {"path": "ckpt/second", "tokenizer": "mimi", "sequence": {"max_context": 1024}},
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na\n", "lacks the column name; it has path"),
        ("name,path\n,a\n", "row 2: name is empty"),
        ("name,path\na,x\na,y\n", "the model 'a' is there twice"),
        ("name,path\na,'x\n", "is no YAML value"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path, text, message):
    table = tmp_path / "models.csv"
    table.write_text(text)
    with pytest.raises(ConfigError) as error:
        expand_series({"models": {}, "models_table": str(table)})
    assert message in str(error.value)
    assert "models.csv" in str(error.value)
