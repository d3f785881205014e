from job import run

run(snakemake, "continuations")  # noqa: F821
