"""A small copy of the project in a temporary folder, to run snakemake in as a user does."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("Snakefile", "rules", "profiles", "workflow")


@dataclass(frozen=True)
class Done:
    returncode: int
    output: str
    """stdout and stderr together."""


@dataclass(frozen=True)
class Project:
    """A folder with the workflow, a link to the resources and a configuration of its own."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any]) -> Project:
        folder.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, folder / name)
        (folder / "resources").symlink_to(ROOT / "resources")
        project = cls(folder)
        project.configure(config)
        return project

    def copy(self, folder: Path) -> Project:
        """The same project with all its results, elsewhere; times are kept."""
        subprocess.run(["cp", "-a", str(self.folder), str(folder)], check=True)
        return Project(folder)

    @property
    def config(self) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text())
        return loaded

    def configure(self, config: dict[str, Any]) -> None:
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))

    def change(self, *path: str, value: Any) -> None:
        """Set one key of the configuration; None as value removes it."""
        config = self.config
        target = config
        for key in path[:-1]:
            target = target.setdefault(key, {})
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value
        self.configure(config)

    def snakemake(self, *arguments: str, timeout: float = 600) -> Done:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout)

    def run(self, *arguments: str, timeout: float = 600) -> Done:
        """Run the workflow; fails the test with the whole output where it does not succeed."""
        done = self.snakemake("--cores", "2", *arguments, timeout=timeout)
        assert done.returncode == 0, done.output
        return done

    def plan(self, *arguments: str) -> set[str]:
        """Outputs that would be made now, relative to the results folder."""
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--summary", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        table = done.stdout[done.stdout.index("output_file") :]
        rows = csv.DictReader(io.StringIO(table), delimiter="\t")
        return {row["output_file"].removeprefix("results/") for row in rows if row["plan"] == "update pending"}

    def tables(self) -> dict[str, bytes]:
        """Every parquet table outside the store and the report, by its path in results/."""
        results = self.folder / "results"
        return {
            str(path.relative_to(results)): path.read_bytes()
            for path in sorted(results.rglob("*.parquet"))
            if "store" not in path.parts and "report" not in path.parts and "report_partial" not in path.parts
        }

    def times(self) -> dict[str, int]:
        results = self.folder / "results"
        return {
            str(path.relative_to(results)): path.stat().st_mtime_ns
            for path in sorted(results.rglob("*.parquet"))
            if "store" not in path.parts
        }
