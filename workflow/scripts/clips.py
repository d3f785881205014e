from job import run

run(snakemake, "clips")  # noqa: F821
