from job import run

run(snakemake, "ratings")  # noqa: F821
