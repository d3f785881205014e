"""What is fetched from the hub, what is said where it cannot be, and that nothing needs the network afterwards."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from fake_hub import COMMIT, FakeHub, serve
from tiny_models import random_model, save

from spokeneval.config import load_config
from spokeneval.errors import ConfigError
from spokeneval.fetch import hub_sources
from spokeneval.hub import HubSource


@pytest.fixture
def hub(tmp_path):
    folder = save(random_model("opt", n_ids=50), tmp_path / "checkpoint")
    model = {path.name: path.read_bytes() for path in folder.iterdir()}
    model |= {"pytorch_model.bin": b"not needed", "flax_model.msgpack": b"not needed", "README.md": b"a card"}
    data = {"speaker_consistency/train-00000-of-00001.parquet": b"rows", "README.md": b"a card"}
    with serve(FakeHub({"models/lab/tiny-slm": model, "datasets/lab/SALMon": data, "models/lab/gated": model})) as hub:
        hub.gated.add("models/lab/gated")
        yield hub


def configuration(folder, **models):
    block = {"path": "lab/tiny-slm", "revision": COMMIT, "tokenizer": "units"}
    config = {
        "datasets": {"salmon": {"kind": "salmon", "path": "lab/SALMon", "revision": COMMIT}},
        "tokenizers": {"units": {"kind": "mel_rvq", "codebook": "codebook.safetensors"}},
        "models": {"tiny": block} | {name: block | changes for name, changes in models.items()},
    }
    (folder / "codebook.safetensors").touch()
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def spokeneval(folder, hub, command, *arguments, **environment):
    settings = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "spokeneval", command, *arguments],
        cwd=folder,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_a_configuration_names_is_fetched_once_and_only_what_is_needed(tmp_path, hub):
    configuration(tmp_path)
    code, output = spokeneval(tmp_path, hub, "fetch")
    assert code == 0, output
    assert "fetch: 1/2 datasets/lab/SALMon@0123456789ab" in output
    assert sorted(set(hub.served)) == [
        "README.md", "config.json", "generation_config.json", "model.safetensors",
        "speaker_consistency/train-00000-of-00001.parquet",
    ]  # fmt: skip
    hub.served.clear()
    code, again = spokeneval(tmp_path, hub, "fetch", HF_HUB_OFFLINE="1")
    assert code == 0, again
    assert again.count("is there") == 2
    assert hub.served == []


def test_a_fetch_that_was_cut_short_is_seen_and_completed(tmp_path, hub):
    configuration(tmp_path)
    spokeneval(tmp_path, hub, "fetch")
    snapshot = tmp_path / f"hub/hub/models--lab--tiny-slm/snapshots/{COMMIT}"
    (snapshot / "model.safetensors").unlink()
    code, output = spokeneval(tmp_path, hub, "fetch", HF_HUB_OFFLINE="1")
    assert code == 1
    assert "lab/tiny-slm@0123456789ab is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it" in output
    code, output = spokeneval(tmp_path, hub, "fetch")
    assert code == 0, output
    assert (snapshot / "model.safetensors").exists()


def test_what_cannot_be_had_is_said_in_plain_words_and_the_rest_comes(tmp_path, hub):
    configuration(
        tmp_path,
        gated={"path": "lab/gated"},
        typo={"path": "lab/tiny-sml"},
        old={"revision": "f" * 40},
        local={"path": "checkpoints/mine", "revision": None},
    )
    code, output = spokeneval(tmp_path, hub, "fetch")
    assert code == 1
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 4, output
    assert "accept its terms at https://huggingface.co/lab/gated, then set HF_TOKEN" in output
    assert "there is no such repository, or it is private" in output
    assert "there is no such commit; https://huggingface.co/lab/tiny-slm/commits lists them" in output
    assert "models.local.path: checkpoints/mine is not there; if it is a name on the hub, add `revision:" in output
    assert "model.safetensors" in hub.served


def test_without_a_network_it_says_so(tmp_path, hub):
    configuration(tmp_path)
    code, output = spokeneval(tmp_path, hub, "fetch", HF_ENDPOINT="http://127.0.0.1:9")
    assert code == 1
    assert "lab/tiny-slm@0123456789ab: cannot be fetched: " in output


def test_what_is_missing_is_listed_before_any_job_with_the_command_that_gets_it(project, hub):
    block = {"path": "lab/tiny-slm", "revision": COMMIT, "tokenizer": "rvq"}
    project.change("models", "published", value=block)
    project.change("datasets", "demo", "noises", value="no/noises")
    output = project.snakemake("-n").output
    assert "models.published.path: lab/tiny-slm@0123456789ab is not in the hub's cache" in output
    assert "datasets.demo.noises: no/noises is not there" in output
    assert "run `make fetch CONFIG=config.yaml` for what it can bring; correct the other paths" in output


def test_a_configuration_names_the_assets_that_are_fetched(tmp_path, monkeypatch):
    from spokeneval.demo import fetch as demo_fetch
    from spokeneval.fetch import fetch

    asked = []
    monkeypatch.setattr(demo_fetch, "fetch", lambda folder, names: asked.append((str(folder), names)))
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load(configuration(tmp_path).read_text())
    values["datasets"]["salmon"] |= {"path": str(tmp_path), "revision": None}
    values["models"]["tiny"] |= {"path": str(tmp_path), "revision": None}
    for assets in ([], ["demo", "hifigan"], ["distillmos"]):
        fetch(load_config(values | {"assets": assets}))
    assert asked == [("resources/fetched", ("demo", "hifigan")), ("resources/fetched", ("distillmos",))]
    with pytest.raises(ConfigError, match=r"assets\.0"):
        load_config(values | {"assets": ["hifi"]})


def test_a_judge_on_the_hub_is_fetched_like_a_model(tmp_path):
    values = yaml.safe_load(configuration(tmp_path).read_text())
    values["judges"] = {"voice": {"kind": "ecapa", "path": "speechbrain/spkrec-ecapa-voxceleb", "revision": COMMIT}}
    assert HubSource("speechbrain/spkrec-ecapa-voxceleb", COMMIT) in hub_sources(load_config(values))


def test_one_commit_is_fetched_once_however_many_name_it(tmp_path):
    config = load_config(yaml.safe_load(configuration(tmp_path, again={}).read_text()))
    assert hub_sources(config) == [
        HubSource("lab/SALMon", COMMIT, "dataset"),
        HubSource("lab/tiny-slm", COMMIT, "model"),
    ]


def test_a_branch_is_no_revision(tmp_path):
    values = yaml.safe_load(configuration(tmp_path).read_text())
    values["models"]["tiny"]["revision"] = "main"
    with pytest.raises(ConfigError, match=r"models.tiny.revision: .*found 'main'"):
        load_config(values)


def test_code_of_a_checkpoint_needs_a_commit(tmp_path):
    values = yaml.safe_load(configuration(tmp_path).read_text())
    values["models"]["tiny"] |= {"trust_remote_code": True}
    assert load_config(values).models["tiny"].trust_remote_code
    values["models"]["tiny"]["revision"] = None
    with pytest.raises(ConfigError, match="trust_remote_code needs a revision"):
        load_config(values)


def test_a_model_on_the_hub_is_scored_from_its_cache(tmp_path, hub):
    """From fetch to the family's class, without the network in between."""
    configuration(tmp_path)
    spokeneval(tmp_path, hub, "fetch")
    script = (
        "from pathlib import Path; from spokeneval.config import read_config;"
        "from spokeneval.factory import make_model;"
        "from spokeneval.tokenizers.base import TokenizerInfo;"
        "lm = make_model(read_config(Path('config.yaml')), 'tiny', TokenizerInfo(16000, 640, (40,), False, False));"
        "print('loaded', lm.vocabulary.n_ids)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_OFFLINE": "1",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "loaded 41\n", done.stderr
    shutil.rmtree(tmp_path / "hub")
