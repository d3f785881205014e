from job import run

run(snakemake, "likelihood")  # noqa: F821
