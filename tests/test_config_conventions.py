"""Conventions by name: what they fill in, what they add, and what they do not go with."""

import pytest
import yaml

from spokeneval.config import load_config
from spokeneval.errors import ConfigError
from spokeneval.evaluators.reduction import NAMED
from spokeneval.fingerprint import Fingerprints
from spokeneval.models.conventions import CONVENTIONS
from spokeneval.stages import Stages

BASE = """
datasets:
  d: {kind: pairs, table: losses/pairs.csv}
tokenizers:
  mhubert: {kind: hubert_kmeans, path: mhubert, codebook: km.safetensors, layer: 11, padding: slamkit}
  mimi: {kind: mimi, path: mimi, n_codebooks: 4, max_s: 20, resampler: soxr_hq}
models:
  slam: {path: slam, tokenizer: mhubert, convention: slamkit}
  llama: {path: llama, tokenizer: mimi, convention: llama-mimi-salmon, sequence: {max_context: 1024}}
evaluators:
  reductions: [default, units_only]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mhubert", "mimi", "slam", "llama", "losses"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    (tmp_path / "km.safetensors").write_text("km")
    return tmp_path


def config(**changes):
    values = yaml.safe_load(BASE)
    for name, block in changes.items():
        values["models"][name] |= block
    return load_config(values)


def test_a_name_fills_what_the_sequence_does_not_say():
    slam, llama = (config().models[name].sequence for name in ("slam", "llama"))
    assert (slam.offset, slam.bos, slam.eos, slam.unscored) == (2, 1, 1, "config_pad")
    assert (llama.codes, llama.text, llama.max_context) == ("<{code}_{codebook}>", "<audio>{codes}</audio>", 1024)
    assert (llama.offset, llama.bos) == (None, None)
    own = config(slam={"sequence": {"offset": 7, "truncate": "left"}}).models["slam"].sequence
    assert (own.offset, own.bos, own.truncate) == (7, 1, "left")


def test_a_name_adds_the_reductions_that_go_with_it_and_a_model_may_add_its_own():
    loaded = config(slam={"reductions": ["sum", {"name": "mine", "tie": 0.0}, "default"]})
    assert [r.name for r in loaded.evaluator_settings("slam").reductions] == [
        "default", "units_only", "slamkit", "slamkit-sum", "sum", "mine",
    ]  # fmt: skip
    assert [r.name for r in loaded.evaluator_settings("llama").reductions] == [
        "default", "units_only", "llama-mimi-salmon",
    ]  # fmt: skip


def test_every_named_convention_names_reductions_that_there_are():
    for convention in CONVENTIONS.values():
        assert set(convention.reductions) <= set(NAMED)


def test_unknown_names_are_refused_when_the_configuration_is_read():
    with pytest.raises(ConfigError) as caught:
        config(slam={"convention": "slamkt"})
    known = ", ".join(sorted(CONVENTIONS))
    assert str(caught.value) == (
        f"config.yaml: models.slam.convention: unknown convention 'slamkt'; did you mean 'slamkit'? known: {known}"
    )
    with pytest.raises(ConfigError, match=r"models.slam.reductions: unknown reduction 'median'"):
        config(slam={"reductions": ["median"]})


def test_a_tokenizer_that_does_otherwise_than_the_script_is_refused():
    values = yaml.safe_load(BASE)
    values["tokenizers"]["mhubert"]["padding"] = "textless"
    with pytest.raises(
        ConfigError, match=r"models.slam.convention: 'slamkit' goes with `padding: slamkit`.*is textless"
    ):
        load_config(values)
    values["models"]["slam"]["convention"] = "slam"  # the model's own convention says nothing of the padding
    load_config(values)


def test_a_convention_by_name_and_in_full_are_one_identity(folder):
    def likelihood(loaded):
        return Stages(loaded, Fingerprints(folder / "lock.json")).likelihood("slam")

    named = config()
    full = config(
        slam={
            "convention": None,
            "sequence": {"offset": 2, "bos": 1, "eos": 1, "unscored": "config_pad", "max_context": "unlimited"},
        }
    )
    assert likelihood(named) == likelihood(full)
    assert likelihood(named) != likelihood(config(slam={"sequence": {"eos": None}}))


def test_reductions_are_views_and_never_score_again(folder):
    fingerprints = Fingerprints(folder / "lock.json")
    before, after = (Stages(config(slam=block), fingerprints) for block in ({}, {"reductions": ["sum"]}))
    assert before.likelihood("slam") == after.likelihood("slam")
    assert before.evaluators("slam") != after.evaluators("slam")
    assert before.evaluators("llama") == after.evaluators("llama")
