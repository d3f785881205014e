from job import run

run(snakemake, "evaluators")  # noqa: F821
