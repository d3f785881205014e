"""What jobs ask of a cluster."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt

from spokeneval.config.block import Block


class Resources(Block):
    """What the jobs of a stage ask of a cluster; locally only threads count."""

    threads: PositiveInt = 1
    mem_mb: PositiveInt = 3000
    runtime: PositiveInt = Field(60, description="minutes")
    gpu: NonNegativeInt = Field(0, description="number of GPUs")
    slurm_partition: str | None = Field(None, description="partition; the profile's if null")
    slurm_account: str | None = Field(None, description="account; the profile's if null")
    slurm_extra: str | None = Field(None, description="further options of sbatch, e.g. --constraint=a100")


class ModelResources(Block):
    """What the jobs of one model ask for, where it is not what the stage asks for."""

    threads: PositiveInt | None = None
    mem_mb: PositiveInt | None = None
    runtime: PositiveInt | None = Field(None, description="minutes")
    gpu: NonNegativeInt | None = Field(None, description="number of GPUs")
    slurm_partition: str | None = None
    slurm_account: str | None = None
    slurm_extra: str | None = None
