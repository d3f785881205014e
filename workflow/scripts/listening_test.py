from job import run

run(snakemake, "listening_test")  # noqa: F821
