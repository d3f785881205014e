from job import run

run(snakemake, "token_controls")  # noqa: F821
