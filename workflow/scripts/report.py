from job import run

run(snakemake, "report")  # noqa: F821
