"""What every script shares: one call into the package, its output to the job's log, errors as one line."""

import os
import sys
from pathlib import Path


class _Tee:
    """Writes to the log file and to the terminal, so that progress is seen and kept."""

    def __init__(self, *streams):
        self.streams = streams

    def write(self, text):
        for stream in self.streams:
            stream.write(text)
            stream.flush()
        return len(text)

    def flush(self):
        for stream in self.streams:
            stream.flush()


def run(snakemake, function_name):
    """Call `spokeneval.jobs.<function_name>(config, threads=..., **params, **wildcards)`."""
    threads = str(snakemake.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = threads
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ["HF_HUB_OFFLINE"] = "1"  # jobs read the cache that `make fetch` has filled, never the network
    log = open(snakemake.log[0], "w", buffering=1)  # noqa: SIM115 (open until the process ends)
    sys.stderr = _Tee(log, sys.__stderr__)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from spokeneval import jobs
    from spokeneval.config import load_config
    from spokeneval.errors import SpokenevalError

    try:
        getattr(jobs, function_name)(
            load_config(snakemake.config),
            threads=snakemake.threads,
            **dict(snakemake.params.items()),
            **dict(snakemake.wildcards.items()),
        )
    except SpokenevalError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=log)  # the logger shows it, once
        sys.exit(1)
    except OSError as error:
        print(f"error: {type(error).__name__}: {error}", file=log)
        sys.exit(1)
