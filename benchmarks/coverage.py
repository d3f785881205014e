"""How often the interval of the expected correlation holds the truth, and how often a plain percentile bootstrap does.

    python benchmarks/coverage.py                # about ten minutes; prints the table of docs/statistics.md

Studies are simulated (tests/correlation_simulation.py): a stated model, no person voted. Nominal coverage is 95 %. An
interval is printed only where both axes have a reliability of .8: the share of studies that have one stands beside.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from correlation_simulation import coverage, percentile_coverage

SETTINGS: tuple[dict[str, float], ...] = (
    {"r": 0.0},
    {"r": 0.66},
    {"r": 0.84},
    {"r": 0.93},
    {"r": 0.97},
    {"r": 0.84, "n_items": 50},
    {"r": 0.93, "n_items": 50},
    {"r": 0.93, "n_systems": 5},
    {"r": 0.93, "n_systems": 20},
    {"r": 0.93, "crossed": True},
    {"r": 0.84, "crossed": True, "interaction": 0.25},
    {"r": 0.84, "n_rated": 20, "n_raters": 3},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies a row")
    parser.add_argument("--percentile-studies", type=int, default=300, help="the same for the percentile bootstrap")
    asked = parser.parse_args()
    print("| r | systems | items | rated x raters | listeners | printed | covers | percentile covers |")
    print("|---|---|---|---|---|---|---|---|")
    for how in SETTINGS:
        covered, n = coverage(1, asked.studies, **how)
        plain = percentile_coverage(2, asked.percentile_studies, **how)
        listeners = "crossed" if how.get("crossed") else "a pool"
        if "interaction" in how:
            listeners += f", with tastes of {how['interaction']:g}"
        rated = f"{how.get('n_rated', 50):g} x {how.get('n_raters', 5):g}"
        cells = [f"{how['r']:.2f}".lstrip("0"), f"{how.get('n_systems', 9):g}", f"{how.get('n_items', 200):g}", rated]
        shares = [f"{n / asked.studies:.0%}", f"{covered:.3f}".lstrip("0"), f"{plain:.2f}".lstrip("0")]
        print("| " + " | ".join([*cells, listeners, *shares]) + " |", flush=True)


if __name__ == "__main__":
    main()
