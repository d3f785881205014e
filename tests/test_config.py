"""config.yaml: what is wrong with it is said in one line each, with the closest match."""

import pytest
import yaml

from spokeneval.config import load_config, read_config
from spokeneval.errors import ConfigError

GOOD = """
datasets: {demo: {kind: consistency, recordings: a/b.csv, tasks: {speaker: 3}}}
tokenizers: {rvq: {kind: mel_rvq, codebook: c.safetensors}}
vocoders: {gl: {kind: griffin_lim}}
models: {small: {path: models/small, tokenizer: rvq, vocoder: gl}}
"""


def changed(*path, value):
    values = yaml.safe_load(GOOD)
    target = values
    for key in path[:-1]:
        target = target.setdefault(key, {})
    target[path[-1]] = value
    return values


def test_a_good_configuration_is_typed_and_has_its_defaults():
    config = load_config(yaml.safe_load(GOOD))
    assert config.models["small"].model_dump()["sequence"]["bos"] == 0
    assert config.audible() == ["small"]
    assert config.store_root == "results/store"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("jdges",), {}, r"jdges: unknown key; did you mean 'judges'\?"),
        (("models", "small", "vocodr"), "gl", r"models\.small\.vocodr: unknown key; did you mean 'vocoder'\?"),
        (("models", "small", "sequence"), {"offst": 1}, r"sequence\.offst: unknown key; did you mean 'offset'\?"),
        (("models", "small", "tokenizer"), "rqv", r"there is no tokenizer 'rqv'; did you mean 'rvq'\?"),
        (("models", "small", "vocoder"), "hifi", r"there is no vocoder 'hifi'; known: gl"),
        (("tokenizers", "rvq", "kind"), "mel_rqv", r"unknown tokenizers kind 'mel_rqv'; did you mean 'mel_rvq'\?"),
        (("tokenizers", "rvq"), "mel_rvq", r"tokenizers\.rvq: expected a block with a 'kind', found 'mel_rvq'"),
        (("evaluators",), {"names": ["localised"]}, r"evaluators: unknown evaluator 'localised'"),
        (("evaluators",), {"reductions": ["defualt"]}, r"evaluators: unknown reduction 'defualt'; known: .*default"),
        (("datasets", "demo", "tasks"), {"speaker": 0}, r"tasks\.speaker: Input should be greater than 0, found 0"),
        (("datasets", "demo", "recordings"), None, r"datasets\.demo\.recordings: Input should be a valid string"),
        (("models", "a/b"), {"path": "x", "tokenizer": "rvq"}, r"names may hold letters, digits"),
        (("models", "../x"), {"path": "x", "tokenizer": "rvq"}, r"names may hold letters, digits"),
        (("models", "a;b"), {"path": "x", "tokenizer": "rvq"}, r"names may hold letters, digits"),
        (("models", "x" * 300), {"path": "x", "tokenizer": "rvq"}, r"names may hold letters, digits"),
    ],
)
def test_a_mistake_is_named_with_its_place(path, value, message):
    with pytest.raises(ConfigError, match=message):
        load_config(changed(*path, value=value))


def test_all_mistakes_are_named_at_once():
    values = changed("jdges", value={})
    values["models"]["small"]["vocodr"] = "x"
    with pytest.raises(ConfigError) as caught:
        load_config(values, "my.yaml")
    assert len(str(caught.value).splitlines()) == 2
    assert all(line.startswith("my.yaml: ") for line in str(caught.value).splitlines())


def test_broken_yaml_and_a_missing_file_are_named(tmp_path):
    (tmp_path / "c.yaml").write_text("a: [1, 2")
    with pytest.raises(ConfigError, match=r"c\.yaml: not valid YAML"):
        read_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "d.yaml")
    (tmp_path / "e.yaml").write_text("just text")
    with pytest.raises(ConfigError, match="expected keys and values"):
        read_config(tmp_path / "e.yaml")
