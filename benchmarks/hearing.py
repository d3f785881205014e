"""How fast models continue and judges listen, where the time goes, and whether memory grows with the number of items.

    python benchmarks/hearing.py                 # about ten minutes; writes benchmarks/hearing.json and prints tables

Conventions
-----------
- The demo's models, codec and judges (fetched by `spokeneval fetch`), one thread a process; "two cores" are two such
  processes at once, each with its own work, their rates added.
- Continuations: prompts per minute of the stage itself, without loading the model. The time is split into what the
  model takes, what the codec takes to make sound, what reading and writing of parts takes, and the rest (PCM, FLAC,
  statuses). Medians of `--repeats` runs.
- Judges: embeddings per second of the stage (decode FLAC, check digest, resample, embed, store) over the bare judge on
  waveforms that are ready at its rate, in the same run: 1.0 is the limit.
- Memory: the largest resident set of one process per stage, over datasets of `--growth` items. Whole job functions, as
  the workflow calls them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from spokeneval import jobs
from spokeneval.config import Config, load_config
from spokeneval.fingerprint import Fingerprints
from spokeneval.stages import Stages

DATASET, TOKENIZER, VOCODER = "demo", "rvq", "griffin_lim"
MODELS = ("acoustic-xs", "acoustic-m", "acoustic-llama")
JUDGES = ("resemblyzer", "aisfx", "level", "dnsmos")
GROWTH_MODEL, GROWTH_JUDGE = "acoustic-xs", "resemblyzer"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
STAGES = ("clips", "tokens", "references", "round_trip_audio", "round_trips", "continuations", "judging")


def configuration(n_items: int, results: Path) -> dict[str, Any]:
    """The demo, with n_items in two tasks that have enough recordings, and without what is not measured."""
    config: dict[str, Any] = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))
    config["results"] = str(results)
    config["datasets"][DATASET]["tasks"] = {"room": n_items // 2, "background_random": n_items - n_items // 2}
    config["models"] = {name: config["models"][name] for name in MODELS}
    for judge in config["judges"].values():
        judge.pop("tasks", None)
        judge.pop("max_items", None)
    return config


def run_stage(config: Config, stage: str, model: str = GROWTH_MODEL, judge: str = GROWTH_JUDGE) -> None:
    """One job of the workflow, as its script calls it."""
    made = Stages(config, Fingerprints(Path("models.lock.json"))).all()
    embeddings, references = made["embeddings", judge], made["qualification", judge]
    tokens, said = made["tokens", TOKENIZER], made["continuations", model]
    sounds = made["round_trip_audio", TOKENIZER, VOCODER]
    heard = {"judge": judge, "references": references, "embeddings": embeddings}
    calls: dict[str, dict[str, Any]] = {
        "clips": {"identity": made["clips", DATASET]},
        "tokens": {"identity": tokens, "tokenizer": TOKENIZER},
        "references": {"identity": references, "judge": judge, "embeddings": embeddings},
        "round_trip_audio": {"identity": sounds, "tokenizer": TOKENIZER, "vocoder": VOCODER, "tokens": tokens},
        "round_trips": {
            **heard,
            "identity": made["round_trips", TOKENIZER, VOCODER, judge],
            "tokenizer": TOKENIZER,
            "vocoder": VOCODER,
            "audio": sounds,
        },
        "continuations": {"identity": said, "model": model, "tokens": tokens, "samples_per_item": 1},
        "judging": {**heard, "identity": made["judging", model, judge], "model": model, "continuations": said},
    }
    getattr(jobs, stage)(config, dataset=DATASET, threads=1, **calls[stage])


# ---------------------------------------------------------------- what a process of its own measures


class Timed:
    """Passes everything through to an object and keeps the seconds that some of its methods took."""

    def __init__(self, inner: Any, *methods: str) -> None:
        self._inner, self._methods, self.seconds = inner, methods, 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._methods:
            return found

        def timed(*arguments: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            try:
                return found(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - begin

        return timed


def measure_model(config: Config, name: str, repeats: int) -> dict[str, float]:
    """Continue every prompt of the dataset `repeats` times, each time into an empty store."""
    from spokeneval.continuations import continue_dataset
    from spokeneval.factory import decoding_of, make_model, make_tokenizer, make_vocoder
    from spokeneval.jobs.tables_in import pairs_of, tokens_of
    from spokeneval.likelihood import codes_by_clip
    from spokeneval.store import PartStore
    from spokeneval.tables import CONTINUATIONS

    identity = Stages(config, Fingerprints(Path("models.lock.json"))).tokens(TOKENIZER)
    table, info = tokens_of(config, DATASET, TOKENIZER, identity)
    pairs, codes, tokenizer = pairs_of(config, DATASET), codes_by_clip(table, info), make_tokenizer(config, TOKENIZER)
    lm, vocoder = make_model(config, name, info), make_vocoder(config, VOCODER)
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            model, codec = Timed(lm, "continue_"), Timed(vocoder, "decode")
            store = Timed(PartStore(Path(folder), "continuations", "0" * 64, CONTINUATIONS), "write", "done", "collect")
            settings = decoding_of(config, name)
            begin = time.perf_counter()
            made: Any = (model, tokenizer, codec, pairs, codes, store, settings)
            done = continue_dataset(*made)
            seconds = time.perf_counter() - begin
            runs.append((seconds, model.seconds, codec.seconds, store.seconds))
    wall, in_model, in_codec, in_store = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "n": done.n_generated,
        "per_minute": 60 * done.n_generated / wall,
        "model": in_model / wall,
        "codec": in_codec / wall,
        "io": in_store / wall,
        "rest": 1 - (in_model + in_codec + in_store) / wall,
    }


def measure_judge(config: Config, name: str, repeats: int) -> dict[str, float]:
    """Hear the prompts and continuations of the dataset through the stage, and bare."""
    from spokeneval.audio import resample
    from spokeneval.embeddings import checked_waveform, embed_audio
    from spokeneval.factory import make_judge
    from spokeneval.jobs.tables_in import audio_of, clips_of, pairs_of
    from spokeneval.judges.base import answer_of
    from spokeneval.store import PartStore
    from spokeneval.tables import EMBEDDINGS

    judge: Any = make_judge(config, name)
    clip_ids = clips_of(pairs_of(config, DATASET), ("prompt", "continuation_positive"))
    audio = list(audio_of(config, DATASET, clip_ids))[: 24 if name == "dnsmos" else 200]
    ready = [resample(*checked_waveform(audio_id, flac), judge.sample_rate) for audio_id, flac in audio]
    methods = {"embedding": "embed", "naturalness": "score", "transcript": "transcribe"}
    listen = getattr(judge, methods[answer_of(judge)])
    listen(ready[:2])
    stage, bare = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        for waveform in ready:
            listen([waveform])
        bare.append(time.perf_counter() - begin)
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            embed_audio(judge, audio, PartStore(Path(folder), "embeddings", "0" * 64, EMBEDDINGS))
            stage.append(time.perf_counter() - begin)
    of_limit = statistics.median(b / s for b, s in zip(bare, stage, strict=True))
    return {"n": len(audio), "per_second": len(audio) / statistics.median(stage), "of_bare": of_limit}


def worker(task: dict[str, Any]) -> dict[str, float]:
    config = load_config(configuration(task["n_items"], Path(task["results"])))
    begin = time.perf_counter()
    if task["what"] == "model":
        found = measure_model(config, task["name"], task["repeats"])
    elif task["what"] == "judge":
        found = measure_judge(config, task["name"], task["repeats"])
    else:
        run_stage(config, task["name"])
        found = {"seconds": time.perf_counter() - begin}
    return found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


# ---------------------------------------------------------------- what is printed


def in_processes(tasks: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Run tasks at once, each in a process of its own."""
    command = [sys.executable, __file__, "--worker"]
    environment = {**os.environ, **ONE_THREAD}
    running = [
        subprocess.Popen([*command, json.dumps(task)], stdout=subprocess.PIPE, text=True, env=environment)
        for task in tasks
    ]
    answers = [process.communicate()[0] for process in running]
    if failed := [task for task, process in zip(tasks, running, strict=True) if process.returncode]:
        sys.exit(f"error: these did not end well: {failed}")
    return [json.loads(answer.splitlines()[-1]) for answer in answers]


def speeds(results: Path, n_items: int, repeats: int, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    common = {"results": str(results), "n_items": n_items, "repeats": repeats, "what": what}
    rate = "per_minute" if what == "model" else "per_second"
    found = {}
    for name in names:
        (alone,) = in_processes([common | {"name": name}])
        both = in_processes([common | {"name": name}] * 2)
        found[name] = alone | {f"{rate}_two_cores": sum(answer[rate] for answer in both)}
        print(f"{what} {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in found[name].items()), flush=True)
    return found


def growth(folder: Path, sizes: list[int]) -> dict[str, dict[str, dict[str, float]]]:
    """stage -> number of items -> seconds and largest memory."""
    found: dict[str, dict[str, dict[str, float]]] = {stage: {} for stage in STAGES}
    for n_items in sizes:
        for stage in STAGES:
            task = {"results": str(folder / str(n_items)), "n_items": n_items, "what": "stage", "name": stage}
            (answer,) = in_processes([task])
            found[stage][str(n_items)] = answer
            print(f"{stage}, {n_items} items: {answer['seconds']:.1f} s, {answer['peak_mb']:.0f} MB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100, help="items whose prompts are continued and heard")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--growth", type=int, nargs="*", default=[200, 2000], help="sizes of the datasets for memory")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/hearing.json"))
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(options.worker)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = folder / "speed"
        for stage in ("clips", "tokens"):
            in_processes([{"results": str(results), "n_items": options.items, "what": "stage", "name": stage}])
        measured: dict[str, Any] = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "n_items": options.items,
            "repeats": options.repeats,
            "models": speeds(results, options.items, options.repeats, "model", MODELS),
            "judges": speeds(results, options.items, options.repeats, "judge", JUDGES),
            "growth": growth(folder, options.growth),
        }
    options.out.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
