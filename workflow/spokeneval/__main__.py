"""The command line beside the workflow: fetch, lock, summary, partial-report, document."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spokeneval.config import Config, read_config
from spokeneval.errors import SpokenevalError


def fetch(config: Config) -> None:
    """Bring what the configuration's assets name."""
    from spokeneval.demo.fetch import fetch as fetch_demo

    if "demo" in config.assets:
        fetch_demo(Path("resources/fetched"))
    else:
        print("nothing to fetch: the configuration names no assets")


def lock(config: Config) -> None:
    """Read the content of everything that the configuration names, however large, into models.lock.json."""
    from spokeneval.fingerprint import Fingerprints
    from spokeneval.stages import Stages

    fingerprints = Fingerprints(Path("models.lock.json"), allow_large=True)
    Stages(config, fingerprints).all()
    fingerprints.save()
    print("models.lock.json is up to date")


def summary(config: Config) -> None:
    """Print the tables of the last reports."""
    from spokeneval.layout import Layout
    from spokeneval.report.console import console_summary

    for dataset in config.datasets:
        print(console_summary(Path(Layout(config).report(dataset))))


def partial_report(config: Config) -> None:
    """Report what there is, marked INCOMPLETE, beside the report."""
    from spokeneval.jobs import partial_report as write

    for dataset in config.datasets:
        write(config, dataset=dataset)


def document(config: Config) -> None:
    """Generate the JSON schema of config.yaml and the documents that are made from code."""
    from spokeneval.document import write_all

    for path in write_all(Path()):
        print(path)


COMMANDS = {
    "fetch": fetch,
    "lock": lock,
    "summary": summary,
    "partial-report": partial_report,
    "document": document,
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="spokeneval", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__)
        command.add_argument("--config", type=Path, default=Path("config.yaml"))
    parsed = parser.parse_args(arguments)
    try:
        COMMANDS[parsed.command](read_config(parsed.config))
    except SpokenevalError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
