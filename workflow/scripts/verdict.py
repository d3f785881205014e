from job import run

run(snakemake, "verdict")  # noqa: F821
