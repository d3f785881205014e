"""What tests share: where the fetched resources and the data for checks are, and one small finished run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from browser import browser
from workflow_project import ROOT, Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ.setdefault("OMP_NUM_THREADS", "1")


def small_config() -> dict[str, Any]:
    """The embedded default, made small: 8 items a task, three models, two judges."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["datasets"]["demo"]["limit"] = 8
    config["datasets"]["demo"]["tasks"] = {"speaker": 12, "room": 12}
    names = ["acoustic-s", "acoustic-xs", "semantic-m"]
    config["models"] = {name: config["models"][name] for name in names}
    for name in names[:2]:
        config["models"][name]["decoding"] = {"new_s": 0.8}
    config["judges"] = {name: config["judges"][name] for name in ("resemblyzer", "level")}
    config["evaluators"] = {"windows_s": [0.5]}
    config["report"] = {"window_s": 0.5, "n_draws": 500, "n_listen_items": 2}
    return config


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small configuration, run once. Tests that change something work on a copy."""
    if not (ROOT / "resources/fetched/recordings/recordings.csv").exists():
        pytest.fail("resources/fetched is empty: run `make fetch` first")
    project = Project.create(tmp_path_factory.mktemp("workflow") / "finished", small_config())
    project.run()
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished run."""
    return finished.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the tests of one file."""
    with browser() as opened:
        yield opened
