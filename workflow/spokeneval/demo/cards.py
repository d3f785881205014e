"""Cards of the demo's codebooks and models: what they were made from and what was measured."""

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

from spokeneval.demo.language_models import RECIPES, STREAMS, Measured
from spokeneval.demo.speech import CodedClip
from spokeneval.demo.split import VALIDATION_SCENES, read_scenes, split_digest

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
        "tokenizer": recipe.tokenizer,
        "codebook_sha256": file_digest(place.codebook(recipe.tokenizer)),
        "data": DATA,
        "split_sha256": split_digest(read_scenes(place.evaluation_scenes)),
        "training_clips": len(fitted),
        "training_minutes": round(sum(c.seconds for c in fitted) / 60, 1),
        "validation_scenes": list(VALIDATION_SCENES),
        "validation_clips": len(held_out),
        "validation_minutes": round(sum(c.seconds for c in held_out) / 60, 1),
        "cpu_seconds": round(cpu_seconds),
        "validation": asdict(measured),
        "unigram": asdict(baselines[0]),
        "same_stage_bigram": asdict(baselines[1]),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.partition("+")[0],
            "transformers": transformers.__version__,
        },
    }


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
