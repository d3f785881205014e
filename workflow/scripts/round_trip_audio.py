from job import run

run(snakemake, "round_trip_audio")  # noqa: F821
