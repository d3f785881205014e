from job import run

run(snakemake, "references")  # noqa: F821
