"""What can be fetched by name (`assets` in a configuration), and where it lies.

Conventions
-----------
- An asset is one part or several; a part is a folder under `resources/fetched` with a manifest of its own. Parts that
  hold Python packages are pinned in `resources/demo/{part}.txt`, the others in `resources/demo/assets.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

FOLDER = Path("resources/fetched")
AssetName = Literal["demo", "pretrained", "hifigan", "distillmos"]
NAMES: tuple[AssetName, ...] = get_args(AssetName)

PARTS: dict[AssetName, tuple[str, ...]] = {
    "demo": ("recordings", "noises", "pretrained"),
    "pretrained": ("pretrained",),
    "hifigan": ("hifigan",),
    "distillmos": ("distillmos",),
}


def parts(assets: Iterable[AssetName]) -> list[str]:
    """The parts of some assets, each once, in the order of the assets."""
    return list(dict.fromkeys(part for asset in assets for part in PARTS[asset]))


def part_of(path: str | Path) -> str | None:
    """The part that a path lies in; None where it is not one of what is fetched."""
    if not Path(path).is_relative_to(FOLDER):
        return None
    first = next(iter(Path(path).relative_to(FOLDER).parts), None)
    return first if first in parts(NAMES) else None


def asset_with(part: str) -> AssetName:
    """The smallest asset that brings a part."""
    return min((asset for asset in NAMES if part in PARTS[asset]), key=lambda asset: len(PARTS[asset]))
