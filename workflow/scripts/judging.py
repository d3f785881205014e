from job import run

run(snakemake, "judging")  # noqa: F821
