from job import run

run(snakemake, "index")  # noqa: F821
