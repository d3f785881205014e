"""The command line beside the workflow: one function a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from spokeneval.config import Config, read_config
from spokeneval.errors import SpokenevalError

Arguments = argparse.Namespace


def _config(arguments: Arguments) -> Config:
    return read_config(arguments.config)


def pin(arguments: Arguments) -> None:
    """Write the newest commit beside every name on the hub that has none yet, into the configuration itself."""
    from spokeneval.pin import pin as pin_all

    pin_all(_config(arguments), arguments.config)


def fetch(arguments: Arguments) -> None:
    """Bring everything that the configuration names and that can be fetched."""
    from spokeneval.fetch import fetch as fetch_all

    fetch_all(_config(arguments))


def lock(arguments: Arguments) -> None:
    """Read the content of everything that the configuration names, however large, into models.lock.json."""
    from spokeneval.fingerprint import Fingerprints
    from spokeneval.stages import Stages

    fingerprints = Fingerprints(Path("models.lock.json"), allow_large=True)
    Stages(_config(arguments), fingerprints).all()
    fingerprints.save()
    print("models.lock.json is up to date")


def summary(arguments: Arguments) -> None:
    """Print the tables of the last reports, and whether they are older than the configuration."""
    from spokeneval.jobs.reporting import last_report

    config = _config(arguments)
    for dataset in config.datasets:
        print(last_report(config, dataset))


def partial_report(arguments: Arguments) -> None:
    """Report what there is, marked INCOMPLETE, beside the report."""
    from spokeneval.jobs import partial_report as write

    config = _config(arguments)
    for dataset in config.datasets:
        write(config, dataset=dataset)


def document(arguments: Arguments) -> None:
    """Generate the JSON schema of config.yaml and the documents that are made from code."""
    from spokeneval.document import write_all

    for path in write_all(Path()):
        print(path)


def check_model(arguments: Arguments) -> None:
    """Check one model on five real clips before anything is run: contract, convention, a card of facts."""
    from spokeneval.check_model import check_model as check

    checked = check(_config(arguments), arguments.model, note=lambda text: print(f"... {text}", file=sys.stderr))
    print("\n".join(checked.lines()))
    if checked.wrong:
        sys.exit(1)


def check_published(arguments: Arguments) -> None:
    """Compare the evaluators with published verdicts on published losses, item by item."""
    from spokeneval.evaluators.check_published import check_published as compare
    from spokeneval.evaluators.check_published import report_lines

    compared = compare(arguments.data)
    print("\n".join(report_lines(compared)))
    if not all(c.within for c in compared):
        sys.exit(1)


def ratings(arguments: Arguments) -> None:
    """Read the votes of a listening test: checks, screening, MOS with intervals, agreement of listeners."""
    from spokeneval.ratings.run import make_ratings

    print(make_ratings(arguments.study, arguments.to, arguments.ratings))


def listening_test(arguments: Arguments) -> None:
    """Print what the workflow is to be asked for, so that it writes the listening tests of a configuration."""
    from spokeneval.layout import Layout
    from spokeneval.registry import closest_match

    config = _config(arguments)
    tests = config.listening_tests
    if not tests:
        raise SpokenevalError(f"{arguments.config}: has no `listening_tests`; see docs/listening-test-export.md")
    if arguments.test is not None and arguments.test not in tests:
        raise SpokenevalError(
            f"{arguments.config}: there is no listening test '{arguments.test}'; {closest_match(arguments.test, tests)}"
        )
    for name in tests if arguments.test is None else [arguments.test]:
        print(Layout(config).listening_test(tests[name].dataset, name)["manifest"])


def compare(arguments: Arguments) -> None:
    """Compare the models of two runs on the items that both have: paired tests, and what changed."""
    from spokeneval.compare_runs import compare_runs

    named = [name for words in arguments.model or [] for name in words.split()]
    print(
        compare_runs(
            arguments.a, arguments.b, arguments.to, dataset=arguments.dataset, models=named, force=arguments.force
        )
    )


COMMANDS: dict[str, Callable[[Arguments], None]] = {
    "pin": pin,
    "fetch": fetch,
    "lock": lock,
    "summary": summary,
    "partial-report": partial_report,
    "document": document,
    "check-model": check_model,
    "check-published": check_published,
    "listening-test": listening_test,
    "ratings": ratings,
    "compare": compare,
}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="spokeneval", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    of_command = {name: commands.add_parser(name, help=function.__doc__) for name, function in COMMANDS.items()}
    for command in of_command.values():
        command.add_argument("--config", type=Path, default=Path("config.yaml"))
    of_command["check-model"].add_argument("--model", required=True, help="name of a model of the configuration")
    of_command["check-published"].add_argument(
        "data", type=Path, help="folder with <task>.jsonl and verdicts.json, as published"
    )
    of_ratings = of_command["ratings"]
    of_ratings.add_argument("--study", type=Path, required=True, help="study.yaml: what the columns of the votes mean")
    of_ratings.add_argument("--to", type=Path, required=True, help="folder that the tables are written into")
    of_ratings.add_argument("--ratings", type=Path, help="file of the votes, where the study names another")
    of_command["listening-test"].add_argument("--test", help="name of one test of the configuration; all without")
    of_compare = of_command["compare"]
    of_compare.add_argument("a", type=Path, help="results of one run: its folder, that of one dataset, or its report")
    of_compare.add_argument("b", type=Path, help="results of the other run")
    of_compare.add_argument("--to", type=Path, required=True, help="folder that the comparison is written into")
    of_compare.add_argument("--dataset", help="which dataset, where a folder holds several")
    of_compare.add_argument(
        "--model", action="append", help="'name', or 'name in A=name in B'; may be repeated; by default all in both"
    )
    of_compare.add_argument(
        "--force", action="store_true", help="go on where the runs do not measure the same, and mark every output"
    )
    arguments = parser.parse_args(words)
    try:
        COMMANDS[arguments.command](arguments)
    except SpokenevalError as error:
        sys.exit("\n".join(f"error: {line}" for line in str(error).splitlines()))


if __name__ == "__main__":
    main()
