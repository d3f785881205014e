"""Which scenes of the demo are evaluated and which train codebooks and models.

The rule, for the recordings of the demo (all lines in seconds of audio):
- A speaker other than Joe with several scenes: those scenes are evaluated whose share of the speaker's seconds is
  nearest to 42 %; at least one scene trains and one is evaluated.
- Speakers with a single scene: sorted by name, every second one is evaluated; these voices are not heard in training.
- Joe speaks in every scene and follows: his lines are evaluated where the scene is. Scenes in which only he has lines
  train.
- Of the training scenes, four are held out of every fit for validation.
The result is committed as evaluation_scenes.txt, and the training script and the dataset read only that file.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from spokeneval.errors import ConfigError

EVALUATED_SHARE = 0.42
VALIDATION_SCENES = ("BOB2", "CHIEF1", "KLUNK2", "SPARKY7")
"""Training scenes that are held out of the fits to measure them. KLUNK2 is Klunk's only training scene, so his
voice is not heard in training either."""


def choose_evaluation_scenes(seconds: dict[tuple[str, str], float]) -> list[str]:
    """Apply the rule. seconds: (speaker, scene) -> seconds of speech; speakers do not include JOE."""
    scenes_of: dict[str, dict[str, float]] = defaultdict(dict)
    for (speaker, scene), value in sorted(seconds.items()):
        scenes_of[speaker][scene] = value
    chosen: set[str] = set()
    alone = [speaker for speaker in sorted(scenes_of) if len(scenes_of[speaker]) == 1]
    for speaker in alone[1::2]:
        chosen |= set(scenes_of[speaker])
    for speaker, scenes in sorted(scenes_of.items()):
        if speaker not in alone:
            chosen |= set(_nearest_subset(scenes))
    return sorted(chosen)


def _nearest_subset(scenes: dict[str, float]) -> tuple[str, ...]:
    total = sum(scenes.values())
    subsets = (subset for k in range(1, len(scenes)) for subset in combinations(sorted(scenes), k))
    return min(subsets, key=lambda subset: (abs(sum(scenes[s] for s in subset) / total - EVALUATED_SHARE), subset))


def read_scenes(path: Path) -> frozenset[str]:
    """Scenes of a text file: one a line, `#` starts a comment. Raises ConfigError where there is none."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected the list of evaluated scenes, one a line")
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    scenes = frozenset(line for line in lines if line)
    if not scenes:
        raise ConfigError(f"{path}: lists no scene; expected one a line")
    return scenes


def split_digest(evaluation: Iterable[str]) -> str:
    """sha256 over the evaluated and the validation scenes, sorted: what a model's card calls its split."""
    text = "\n".join([*sorted(evaluation), "--", *sorted(VALIDATION_SCENES)])
    return hashlib.sha256(text.encode()).hexdigest()
