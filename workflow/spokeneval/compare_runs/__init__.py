"""Two runs of the workflow, compared on the items that both have: `spokeneval compare`."""

from spokeneval.compare_runs.run import compare_runs

__all__ = ["compare_runs"]
