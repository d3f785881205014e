"""`snakemake --lint` against the accepted findings, each with its reason: a new kind of finding fails, and so does an
accepted one that no longer occurs. Run by `make check`."""

import re
import subprocess
import sys
from pathlib import Path

ACCEPTED = {
    "Specify a conda environment or container for each rule.": (
        "all jobs run in the environment of snakemake itself, pinned by requirements.txt and made by `make demo`"
    ),
}


def main() -> int:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=root, capture_output=True, text=True, check=False
    )
    found = set(re.findall(r"^    \* (.*?)(?:$|(?<=\.):)", done.stderr, re.MULTILINE))
    found = {finding.rstrip(":") for finding in found}
    if not found and done.returncode:
        print(done.stderr, file=sys.stderr)
        return 1
    for finding in sorted(found - ACCEPTED.keys()):
        print(f"snakemake --lint: not accepted: {finding}", file=sys.stderr)
    for finding in sorted(ACCEPTED.keys() - found):
        print(f"snakemake --lint: accepted but not found any more, remove it: {finding}", file=sys.stderr)
    return int(found != ACCEPTED.keys())


if __name__ == "__main__":
    sys.exit(main())
