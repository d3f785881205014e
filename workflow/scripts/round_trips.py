from job import run

run(snakemake, "round_trips")  # noqa: F821
