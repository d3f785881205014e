"""Cards of the demo's codebooks, models and vocoder: what they were made from and what was measured."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from transformers import PreTrainedModel

from spokeneval.demo import unit_vocoder
from spokeneval.demo.language_models import RECIPES, STREAMS, Measured
from spokeneval.demo.speech import CodedClip
from spokeneval.demo.split import VALIDATION_SCENES, read_scenes, split_digest
from spokeneval.demo.voice_check import VoiceCheck
from spokeneval.vocoders.unit_mel_network import UnitMelNetwork, write_network

DATA = "Flight of the Amazon Queen (Debian package flight-of-the-amazon-queen), training scenes"


class Place(Protocol):
    """Where the demo's material lies (see `train.Workplace`)."""

    @property
    def evaluation_scenes(self) -> Path: ...

    def codebook(self, name: str) -> Path: ...


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def codebook_card(place: Place, name: str, seed: int, layer: int) -> dict[str, str]:
    """The metadata of a codebook file: {"card": JSON}."""
    card: dict[str, Any] = {
        "name": name,
        "data": DATA,
        "split_sha256": split_digest(read_scenes(place.evaluation_scenes)),
        "seed": seed,
    }
    if name == "whisper_kmeans":
        card |= {"encoder": "whisper tiny.en", "layer": layer}
    return {"card": json.dumps(card, sort_keys=True)}


def model_card(
    place: Place,
    name: str,
    model: PreTrainedModel,
    measured: Measured,
    baselines: tuple[Measured, Measured],
    clips: tuple[Sequence[CodedClip], Sequence[CodedClip]],
    cpu_seconds: float,
) -> dict[str, Any]:
    """All that is known of a model; NLL in nats a token, on clips that were held out of training."""
    recipe = RECIPES[name]
    fitted, held_out = clips
    return {
        "name": name,
        "architecture": recipe.architecture,
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "recipe": asdict(recipe),
        "n_positions": STREAMS[recipe.tokenizer].n_positions,
        **_training(recipe.tokenizer, place, fitted, held_out, cpu_seconds),
        "validation": asdict(measured),
        "unigram": asdict(baselines[0]),
        "same_stage_bigram": asdict(baselines[1]),
        "versions": _versions() | {"transformers": transformers.__version__},
    }


class _Timed(Protocol):
    @property
    def seconds(self) -> float: ...


def _training(
    tokenizer: str, place: Place, fitted: Sequence[_Timed], held_out: Sequence[_Timed], cpu_seconds: float
) -> dict[str, Any]:
    """Of what, and for how long."""
    return {
        "tokenizer": tokenizer,
        "codebook_sha256": file_digest(place.codebook(tokenizer)),
        "data": DATA,
        "split_sha256": split_digest(read_scenes(place.evaluation_scenes)),
        "training_clips": len(fitted),
        "training_minutes": round(sum(c.seconds for c in fitted) / 60, 1),
        "validation_scenes": list(VALIDATION_SCENES),
        "validation_clips": len(held_out),
        "validation_minutes": round(sum(c.seconds for c in held_out) / 60, 1),
        "cpu_seconds": round(cpu_seconds),
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__.partition("+")[0]}


def to_markdown(card: dict[str, Any]) -> str:
    """The card for people."""
    recipe, measured = card["recipe"], card["validation"]
    seen = recipe["steps"] * recipe["batch"] * (card["n_positions"] - 1)
    rows = [
        f"| {label} | {m['nll']:.3f} | {', '.join(f'{v:.2f}' for v in m['nll_by_codebook'])} "
        f"| {m['nats_per_second']:.0f} |"
        for label, m in (
            ("this model", measured),
            ("same-stage bigram", card["same_stage_bigram"]),
            ("unigram", card["unigram"]),
        )
    ]
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            f"A causal language model ({card['architecture']}, {recipe['n_layers']} layers, width {recipe['width']}, "
            f"{card['n_parameters']:,} weights) over the tokens of `{card['tokenizer']}`, made for the demo only.",
            "",
            f"- Data: {card['data']}: {card['training_clips']} clips, {card['training_minutes']} min. "
            "Evaluated scenes were never seen.",
            f"- Training: {recipe['steps']} steps of {recipe['batch']} windows of one voice "
            f"({seen / 1e6:.2f} million tokens), AdamW, cosine from {recipe['learning_rate']}, seed {recipe['seed']}, "
            f"{card['cpu_seconds']} CPU seconds on one thread.",
            f"- Validation: {card['validation_clips']} clips ({card['validation_minutes']} min) of the training scenes "
            f"{', '.join(card['validation_scenes'])}, which were held out.",
            f"- Context: {card['n_positions']} positions. Ids: 0 is BOS, then 1 + codebook x codes + code.",
            f"- Codebook sha256 {card['codebook_sha256'][:16]}, split sha256 {card['split_sha256'][:16]}.",
            "",
            "| validation NLL | nats a token | by codebook | nats a second |",
            "|---|---|---|---|",
            *rows,
            "",
            "What it generates is babble. The voices are those of a game and are covered by the game's licence.",
            "",
        ]
    )


def write_model(folder: Path, model: PreTrainedModel, card: dict[str, Any]) -> None:
    """config.json, model.safetensors (float16), card.json, card.md."""
    folder.mkdir(parents=True, exist_ok=True)
    half: PreTrainedModel = model.half()  # type: ignore[no-untyped-call]
    half.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # transformers leaves it readable by its owner only
    (folder / "generation_config.json").unlink(missing_ok=True)  # how to decode is the user's configuration
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(to_markdown(card), encoding="utf-8")


def vocoder_card(
    place: Place,
    recipe: unit_vocoder.Recipe,
    measured: unit_vocoder.Measured,
    baselines: tuple[unit_vocoder.Measured, unit_vocoder.Measured],
    voice: VoiceCheck,
    clips: tuple[Sequence[unit_vocoder.AlignedClip], Sequence[unit_vocoder.AlignedClip]],
    cpu_seconds: float,
) -> dict[str, Any]:
    """All that is known of the unit vocoder but the digest of its weights; errors on clips held out of training."""
    fitted, held_out = clips
    return {
        "name": unit_vocoder.NAME,
        "voice": unit_vocoder.VOICE,
        "recipe": asdict(recipe),
        **_training(unit_vocoder.TOKENIZER, place, fitted, held_out, cpu_seconds),
        "validation": asdict(measured),
        "mean_frame": asdict(baselines[0]),
        "mean_frame_of_the_unit": asdict(baselines[1]),
        "other_voices": asdict(voice),
        "versions": _versions(),
    }


def vocoder_markdown(card: dict[str, Any]) -> str:
    """The card for people."""
    recipe, other = card["recipe"], card["other_voices"]
    rows = [
        f"| {label} | {m['mel_l1']:.3f} | {m['duration_error_frames']:.2f} | {m['length_ratio']:.2f} |"
        for label, m in (
            ("this vocoder", card["validation"]),
            ("mean frame of the unit", card["mean_frame_of_the_unit"]),
            ("mean frame", card["mean_frame"]),
        )
    ]
    cosines = [
        f"| {label} | {m['to_itself']:.2f} | {m['to_its_speaker']:.2f} | {m['to_the_voice']:.2f} |"
        for label, m in (("originals", other["originals"]), ("round trips", other["round_trips"]))
    ]
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            f"A vocoder of one voice ({card['voice']}) for the units of `{card['tokenizer']}`: predicted durations, a "
            f"convolutional network to log-mel ({card['n_parameters']:,} weights), Griffin-Lim. For the demo only.",
            "",
            f"- Data: {card['data']}, {card['voice']} alone: {card['training_clips']} clips, "
            f"{card['training_minutes']} min. Evaluated scenes were never seen.",
            f"- Training: {recipe['steps']} steps of {recipe['batch']} clips, AdamW, cosine from "
            f"{recipe['learning_rate']}, seed {recipe['seed']}, {card['cpu_seconds']} CPU seconds on one thread.",
            f"- Validation: {card['validation_clips']} clips of the voice ({card['validation_minutes']} min) of the "
            f"training scenes {', '.join(card['validation_scenes'])}, which were held out.",
            f"- Decoding: {other['times_real_time']:.0f} times real time on one thread of the machine it was made on, "
            f"with {unit_vocoder.ITERATIONS} iterations.",
            f"- Weights sha256 {card['weights_sha256'][:16]}, codebook sha256 {card['codebook_sha256'][:16]}, split "
            f"sha256 {card['split_sha256'][:16]}.",
            "",
            "| validation | mel L1, true durations | duration error, 20 ms frames a unit | length, predicted / true |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Whose voice: mean cosines of Resemblyzer, {other['n_clips']} held-out clips of other voices "
            f"({other['n_too_short']} more were too short to judge). {100 * other['nearer_to_its_speaker']:.0f} % of "
            f"the round trips lie nearer to their speaker than to {card['voice']}.",
            "",
            f"| | to the original clip | to its speaker's other clips | to {card['voice']}'s clips |",
            "|---|---|---|---|",
            *cosines,
            "",
            "The voice is one of a game and is covered by the game's licence.",
            "",
        ]
    )


def write_vocoder(folder: Path, network: UnitMelNetwork, card: dict[str, Any]) -> None:
    """config.json, model.safetensors (float16), card.json, card.md."""
    write_network(folder, network)
    card = card | {
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "weights_sha256": file_digest(folder / "model.safetensors"),
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(vocoder_markdown(card), encoding="utf-8")
