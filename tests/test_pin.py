"""Commits are written into the configuration beside the names that they belong to, and nothing else changes."""

import pytest
import yaml
from fake_hub import COMMIT, FakeHub, serve
from test_fetch import spokeneval

from spokeneval.pin import with_revision

CONFIG = """\
# the published models
datasets:
  salmon:
    kind: salmon
    path: lab/SALMon        # eight tasks
    limit: 3
tokenizers:
  mimi: {kind: mimi, path: lab/mimi, n_codebooks: 4}
models:
  a: &a {path: "lab/a", tokenizer: mimi, convention: llama-mimi}
  b: {<<: *a, path: lab/b}
  local: {path: here/checkpoint, tokenizer: mimi}
  dotted: {path: ./elsewhere/checkpoint, tokenizer: mimi}
  pinned: {path: lab/a, revision: ffffffffffffffffffffffffffffffffffffffff, tokenizer: mimi}
"""


@pytest.fixture
def hub():
    names = ("datasets/lab/SALMon", "models/lab/mimi", "models/lab/a")
    with serve(FakeHub({name: {"config.json": b"{}"} for name in names})) as hub:
        yield hub


def test_names_on_the_hub_get_the_newest_commit_and_the_rest_of_the_file_stays(tmp_path, hub):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    (tmp_path / "here").mkdir()
    code, output = spokeneval(tmp_path, hub, "pin")
    assert code == 1
    assert "error: lab/b: there is no such repository, or it is private" in output
    expected = CONFIG.replace(
        "path: lab/SALMon        # eight tasks\n", f"path: lab/SALMon        # eight tasks\n    revision: {COMMIT}\n"
    )
    expected = expected.replace("path: lab/mimi", f"path: lab/mimi, revision: {COMMIT}")
    expected = expected.replace('path: "lab/a"', f'path: "lab/a", revision: {COMMIT}')
    assert path.read_text() == expected


def test_once_pinned_nothing_is_asked(tmp_path, hub):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("  b: {<<: *a, path: lab/b}\n", ""))
    assert spokeneval(tmp_path, hub, "pin")[0] == 1  # here/checkpoint looks like a name: there is no folder `here`
    (tmp_path / "here").mkdir()
    before = path.read_text()
    code, output = spokeneval(tmp_path, hub, "pin", HF_HUB_OFFLINE="1")
    assert (code, path.read_text()) == (0, before), output


def test_a_mapping_that_has_a_commit_is_left_alone():
    text = "m:\n  revision: abc\n  path: lab/a\nn:\n  path: lab/a\n"
    pinned, n_places = with_revision(text, "lab/a", COMMIT)
    assert n_places == 1
    assert yaml.safe_load(pinned) == {
        "m": {"revision": "abc", "path": "lab/a"},
        "n": {"path": "lab/a", "revision": COMMIT},
    }


@pytest.mark.parametrize(
    "text",
    [
        "m:\n  path: lab/a\n",
        "m:\n    path: 'lab/a'  # why\n",
        "m: {path: lab/a}\n",
        'm: {kind: x, path: "lab/a", n: 1}\n',
    ],
)
def test_what_is_written_is_what_yaml_reads(text):
    pinned, n_places = with_revision(text, "lab/a", COMMIT)
    assert n_places == 1
    assert yaml.safe_load(pinned)["m"] == yaml.safe_load(text)["m"] | {"revision": COMMIT}
    assert with_revision(text, "lab/ab", COMMIT) == (text, 0)
