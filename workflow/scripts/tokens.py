from job import run

run(snakemake, "tokens")  # noqa: F821
