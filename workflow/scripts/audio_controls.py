from job import run

run(snakemake, "audio_controls")  # noqa: F821
