"""Fingerprints: content counts, dates do not; large folders wait for an explicit step; deleted weights stay known."""

import json
import os

import pytest

from spokeneval import fingerprint
from spokeneval.errors import ConfigError
from spokeneval.fingerprint import Fingerprints


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345")
    return folder


def fresh(tmp_path, **options):
    return Fingerprints(tmp_path / "lock.json", **options)


def test_a_touch_changes_nothing_and_a_changed_byte_does(tmp_path, weights):
    before = fresh(tmp_path).digest(weights)
    os.utime(weights / "model.safetensors", (1, 1))
    assert fresh(tmp_path).digest(weights) == before
    (weights / "model.safetensors").write_bytes(b"12346")
    assert fresh(tmp_path).digest(weights) != before


def test_cards_notes_and_hidden_files_are_no_content(tmp_path, weights):
    before = fresh(tmp_path).digest(weights)
    (weights / "README.md").write_text("notes")
    (weights / "card.json").write_text("{}")
    (weights / ".cache").write_text("x")
    assert fresh(tmp_path).digest(weights) == before
    (weights / "vocab.json").write_text("{}")
    assert fresh(tmp_path).digest(weights) != before


def test_known_files_are_not_read_again(tmp_path, weights, monkeypatch):
    prints = fresh(tmp_path)
    before = prints.digest(weights)
    prints.save()
    read = []
    monkeypatch.setattr(fingerprint, "sha256_file", lambda path: read.append(path) or "x")
    assert fresh(tmp_path).digest(weights) == before
    assert read == []


def test_large_unread_folders_are_refused_while_parsing_and_read_by_the_explicit_step(tmp_path, weights, monkeypatch):
    monkeypatch.setattr(fingerprint, "READ_AT_ONCE_BYTES", 3)
    with pytest.raises(ConfigError, match="run `spokeneval lock` once"):
        fresh(tmp_path).digest(weights)
    explicit = fresh(tmp_path, allow_large=True)
    digest = explicit.digest(weights)
    explicit.save()
    assert fresh(tmp_path).digest(weights) == digest


def test_deleted_weights_keep_their_digest_and_are_archived(tmp_path, weights):
    prints = fresh(tmp_path)
    before = prints.digest(weights)
    prints.save()
    for file in weights.iterdir():
        file.unlink()
    weights.rmdir()
    later = fresh(tmp_path)
    assert later.digest(weights) == before
    assert later.archived(weights)


def test_what_was_never_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no such file or folder"):
        fresh(tmp_path).digest(tmp_path / "nowhere")


def test_the_lock_holds_no_secret_state(tmp_path, weights):
    prints = fresh(tmp_path)
    prints.digest(weights)
    prints.save()
    entries = json.loads((tmp_path / "lock.json").read_text())
    assert set(entries[str(weights)]) == {"config.json", "model.safetensors"}
