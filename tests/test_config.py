"""config.yaml: what is wrong with it is said in one line each, with the closest match."""

import pytest
import yaml

from spokeneval.config import load_config, read_config
from spokeneval.errors import ConfigError
from spokeneval.registry import TOKENIZERS as TOKENIZER_KINDS
from spokeneval.registry import VOCODERS as VOCODER_KINDS

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


TOKENIZERS = """
rvq: {kind: mel_rvq, codebook: c}
whisper: {kind: whisper_kmeans, encoder: e, codebook: c}
units: {kind: hubert_kmeans, path: p, codebook: c, layer: 1}
frames: {kind: hubert_kmeans, path: p, codebook: c, layer: 1, deduplicate: false}
mimi: {kind: mimi, path: p, n_codebooks: 2}
told: {kind: precomputed, codes: t, sample_rate: 16, hop_samples: 4, codebook_sizes: [9], deduplicated: true}
told_frames: {kind: precomputed, codes: t, sample_rate: 16, hop_samples: 4, codebook_sizes: [9]}
told_two: {kind: precomputed, codes: t, sample_rate: 16, hop_samples: 4, codebook_sizes: [9, 9], deduplicated: true}
"""
VOCODERS = """
gl: {kind: griffin_lim}
hifi: {kind: hifigan, weights: w}
own: {kind: codec}
lj: {kind: unit_hifigan, weights: w, config: c}
joe: {kind: unit_mel, weights: w, config: c}
"""


def heard(tokenizer, vocoder):
    values = changed("tokenizers", value=yaml.safe_load(TOKENIZERS))
    model = {"path": "m", "tokenizer": tokenizer, "vocoder": vocoder}
    return values | {"vocoders": yaml.safe_load(VOCODERS), "models": {"mine": model}}


@pytest.mark.parametrize(
    ("vocoder", "decodes"),
    [
        ("gl", {"rvq"}),
        ("hifi", {"rvq"}),
        ("own", {"mimi"}),
        ("lj", {"whisper", "units", "told"}),
        ("joe", {"whisper", "units", "told"}),
    ],
)
def test_a_vocoder_is_given_only_codes_that_it_can_decode(vocoder, decodes):
    for tokenizer in yaml.safe_load(TOKENIZERS):
        if tokenizer in decodes:
            load_config(heard(tokenizer, vocoder))
        else:
            with pytest.raises(ConfigError, match=rf"models\.mine\.vocoder: {vocoder} .* cannot decode tokenizer '"):
                load_config(heard(tokenizer, vocoder))


def test_a_vocoder_that_does_not_fit_is_named_with_what_it_takes():
    with pytest.raises(ConfigError) as caught:
        load_config(heard("whisper", "gl"))
    assert str(caught.value) == (
        "config.yaml: models.mine.vocoder: gl (griffin_lim) cannot decode tokenizer 'whisper' (whisper_kmeans); it "
        "takes mel_rvq. Leave vocoder out to score only"
    )
    for vocoder in ("lj", "joe"):
        with pytest.raises(ConfigError, match="it takes one codebook of de-duplicated units"):
            load_config(heard("frames", vocoder))


@pytest.mark.parametrize("section", ["tokenizers", "vocoders"])
def test_kinds_that_other_packages_add_are_not_asked_what_they_decode(section, monkeypatch):
    registry = {"tokenizers": TOKENIZER_KINDS, "vocoders": VOCODER_KINDS}[section]
    monkeypatch.setitem(registry.targets, "theirs", "package:Theirs")
    values = heard("whisper", "gl")
    values[section]["whisper" if section == "tokenizers" else "gl"] = {"kind": "theirs"}
    assert load_config(values).audible() == ["mine"]


def test_what_the_configuration_itself_refuses_is_said_without_the_block_it_came_in():
    with pytest.raises(ConfigError) as caught:
        load_config(changed("models", "small", "trust_remote_code", value=True))
    assert str(caught.value).startswith("config.yaml: models.small: trust_remote_code needs a revision")
    assert "Value error" not in str(caught.value)
    assert "found" not in str(caught.value)


@pytest.mark.parametrize("value", ["runs/mine/step_{step}", "{step}/hf", "<{code}_{codebook}>"])
def test_braces_without_quotes_in_a_flow_mapping_are_named(tmp_path, value):
    path = tmp_path / "c.yaml"
    path.write_text(f"models:\n  mine: {{path: {value}, tokenizer: rvq}}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert str(caught.value).endswith(f"; quote values that hold {{ or }}: '{value}'")
    path.write_text(f"models:\n  mine: {{path: '{value}', [}}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert "quote values" not in str(caught.value)


def test_broken_yaml_and_a_missing_file_are_named(tmp_path):
    (tmp_path / "c.yaml").write_text("a: [1, 2")
    with pytest.raises(ConfigError, match=r"c\.yaml: not valid YAML"):
        read_config(tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "d.yaml")
    (tmp_path / "e.yaml").write_text("just text")
    with pytest.raises(ConfigError, match="expected keys and values"):
        read_config(tmp_path / "e.yaml")
