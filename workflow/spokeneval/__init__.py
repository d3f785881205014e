"""spokeneval: evaluation of spoken language models.

The package computes; it knows nothing of Snakemake. Each stage of the workflow is one module of the same
name (`tokens`, `likelihood`, `evaluators`, `continuations`, `judging`, `report`).
"""

__version__ = "0.1.0"
