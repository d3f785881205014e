"""Fetching the demo: digests are checked, nothing half-made is left, a second call does nothing."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import yaml
from test_demo_amazon_queen import container, dialogue

from spokeneval.demo import fetch as fetching
from spokeneval.demo import noises, registries
from spokeneval.demo.assets import NAMES, asset_with, part_of, parts
from spokeneval.demo.registries import folder_sha256, sha256
from spokeneval.errors import SpokenevalError


def mp3(seconds: float = 0.5) -> bytes:
    buffer = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(int(11_025 * seconds)) * 0.3)
    sf.write(buffer, tone, 11_025, format="MP3")
    return buffer.getvalue()


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The unpacked packages, made small."""
    root = tmp_path / "root"
    for folder in ("game", "clicks", "samples", "doc"):
        (root / folder).mkdir(parents=True)
    files = {
        "020001J1.SB": mp3(),
        "020002P1.SB": mp3(),
        "020003P1.SB": b"not an MP3 file",
        "010001P1.SB": mp3(),
        "BOB1.DOG": dialogue([(1, "Hello.")], [(2, "Hello, Joe."), (3, "Broken.")]),
        "APE.DOG": dialogue([], [(1, "Ook.")], key=1),
    }
    container(root / "game" / "queen.1c", files)
    sf.write(root / "clicks" / "1.wav", np.r_[0.5, np.zeros(99)], 44_100)
    sf.write(root / "samples" / "hum.flac", np.full(100, 0.1), 44_100)
    (root / "doc" / "copyright").write_text("do as you like")
    return root


@pytest.fixture
def demo(tmp_path: Path, packages: Path) -> Path:
    """A folder like resources/demo that pins the small packages."""
    folder = tmp_path / "demo"
    folder.mkdir()
    pinned = {
        "recordings": {
            "packages": ["game"],
            "file": "game/queen.1c",
            "sha256": sha256(packages / "game/queen.1c"),
            "speakers_left_out": ["APE"],
            "notices": ["doc/copyright"],
        },
        "noises": {
            "packages": ["sounds"],
            "clicks": "clicks",
            "clicks_sha256": folder_sha256((packages / "clicks").glob("*.wav")),
            "samples": "samples",
            "classes": {"hum": {"hum.flac": sha256(packages / "samples/hum.flac")}},
            "notices": ["doc/copyright"],
        },
    }
    (folder / "assets.yaml").write_text(yaml.safe_dump(pinned))
    for part in ("pretrained", "hifigan", "distillmos"):
        (folder / f"{part}.txt").write_text("weights==1\n")
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, packages: Path) -> list[str]:
    """Stands in for apt and pip, and lists what was asked of them."""
    asked: list[str] = []

    def debian(names: list[str], folder: Path) -> Path:
        asked.extend(names)
        shutil.copytree(packages, folder)
        return folder

    def python(requirements: Path, folder: Path) -> None:
        asked.append(requirements.name)
        folder.mkdir()
        (folder / "weights.bin").write_bytes(b"123")

    monkeypatch.setattr(fetching, "fetch_debian", debian)
    monkeypatch.setattr(fetching, "fetch_python", python)
    return asked


def test_recordings_are_those_with_text_speaker_and_readable_audio(
    tmp_path: Path, demo: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fetching.fetch(tmp_path / "to", demo=demo)
    with (tmp_path / "to/recordings/recordings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row.values()) for row in rows] == [
        ("clips/020001J1.mp3", "JOE", "en", "Hello.", "BOB1"),
        ("clips/020002P1.mp3", "BOB", "en", "Hello, Joe.", "BOB1"),
    ]
    assert sorted(path.name for path in (tmp_path / "to/recordings/clips").iterdir()) == [
        "020001J1.mp3",
        "020002P1.mp3",
    ]
    said = capsys.readouterr().out
    assert "left out: 020003P1" in said
    assert "2 recordings unpacked, 2 left out" in said
    assert (tmp_path / "to/notices/doc.copyright").read_text() == "do as you like"


def test_a_second_call_fetches_nothing_and_says_so(
    tmp_path: Path, demo: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fetching.fetch(tmp_path / "to", demo=demo)
    assert calls == ["game", "sounds", "pretrained.txt"]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")}
    capsys.readouterr()
    fetching.fetch(tmp_path / "to", demo=demo)
    assert len(calls) == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "to").rglob("*")} == before
    assert "nothing to do" in capsys.readouterr().out


def test_assets_bring_their_parts_and_leave_those_that_are_there(tmp_path: Path, demo: Path, calls: list[str]) -> None:
    to = tmp_path / "to"
    fetching.fetch(to, ["hifigan"], demo)
    assert calls == ["hifigan.txt"]
    assert sorted(path.name for path in to.iterdir()) == ["hifigan", "manifests"]
    before = (to / "hifigan/weights.bin").stat().st_mtime_ns
    fetching.fetch(to, ["demo", "pretrained", "hifigan", "distillmos"], demo)
    assert calls == ["hifigan.txt", "game", "sounds", "pretrained.txt", "distillmos.txt"]
    assert (to / "hifigan/weights.bin").stat().st_mtime_ns == before
    fetching.fetch(to, ["distillmos", "demo"], demo)
    assert len(calls) == 5


def test_every_asset_is_pinned_by_a_digest_and_described() -> None:
    root = Path(__file__).resolve().parents[1]
    pinned = fetching.Assets.read(root / "resources/demo")
    described = (root / "docs/demo.md").read_text()
    for name in NAMES:
        assert f"`{name}`" in described
    for part in parts(NAMES):
        if part in pinned.pinned:
            continue
        lines = [line for line in pinned.needs(part).splitlines() if not line.startswith("#")]
        assert lines
        assert all(re.fullmatch(r"[\w-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
        assert f"`{part}/" in described


def test_a_path_is_known_by_its_part_and_the_smallest_asset_that_brings_it() -> None:
    assert part_of("resources/fetched/pretrained/resemblyzer/pretrained.pt") == "pretrained"
    assert part_of("./resources/fetched/hifigan") == "hifigan"
    assert part_of("resources/fetched/manifests/hifigan.json") is None
    assert part_of("resources/fetched") is None
    assert part_of("resources/demo/hifigan.txt") is None
    assert {part: asset_with(part) for part in parts(NAMES)} == {
        "recordings": "demo",
        "noises": "demo",
        "pretrained": "pretrained",
        "hifigan": "hifigan",
        "distillmos": "distillmos",
    }


def test_only_the_damaged_part_is_fetched_again(tmp_path: Path, demo: Path, calls: list[str]) -> None:
    to = tmp_path / "to"
    fetching.fetch(to, demo=demo)
    calls.clear()
    (to / "pretrained/weights.bin").write_bytes(b"12")
    fetching.fetch(to, demo=demo)
    assert calls == ["pretrained.txt"]
    (to / "noises/hum/hum.flac").unlink()
    fetching.fetch(to, demo=demo)
    assert calls == ["pretrained.txt", "sounds"]


def test_a_changed_pin_is_fetched_again(tmp_path: Path, demo: Path, calls: list[str]) -> None:
    fetching.fetch(tmp_path / "to", demo=demo)
    calls.clear()
    (demo / "pretrained.txt").write_text("weights==2\n")
    fetching.fetch(tmp_path / "to", demo=demo)
    assert calls == ["pretrained.txt"]


def change_pin(demo: Path, part: str, key: str, value: Any) -> None:
    pinned = yaml.safe_load((demo / "assets.yaml").read_text())
    pinned[part][key] = value
    (demo / "assets.yaml").write_text(yaml.safe_dump(pinned))


@pytest.mark.parametrize(
    ("part", "key", "value", "named"),
    [
        ("recordings", "sha256", "0" * 64, r"game/queen\.1c"),
        ("noises", "clicks_sha256", "0" * 64, r"clicks/\*\.wav"),
        ("noises", "classes", {"hum": {"hum.flac": "0" * 64}}, r"hum\.flac"),
    ],
)
def test_another_digest_is_refused_with_file_expected_and_got(
    tmp_path: Path, demo: Path, calls: list[str], part: str, key: str, value: Any, named: str
) -> None:
    change_pin(demo, part, key, value)
    with pytest.raises(SpokenevalError, match=named + r": expected sha256 0{64}, got [0-9a-f]{64}"):
        fetching.fetch(tmp_path / "to", demo=demo)
    assert not (tmp_path / "to" / part).exists()
    assert not list((tmp_path / "to").glob(".fetching-*"))


def test_a_file_that_the_package_lacks_is_named(tmp_path: Path, demo: Path, calls: list[str]) -> None:
    change_pin(demo, "recordings", "file", "game/other.1c")
    with pytest.raises(SpokenevalError, match=r"other\.1c is not in the package"):
        fetching.fetch(tmp_path / "to", demo=demo)


def test_without_apt_the_message_says_what_is_needed_and_what_works_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registries.shutil, "which", lambda tool: None)
    with pytest.raises(SpokenevalError) as caught:
        registries.fetch_debian(["game", "sounds"], tmp_path)
    for words in ("apt-get and dpkg-deb not found", "game, sounds", "docs/own-recordings.md"):
        assert words in str(caught.value)


def test_a_failed_command_is_reported_with_its_last_words() -> None:
    command = ["bash", "-c", "echo no such package >&2; exit 3"]
    with pytest.raises(SpokenevalError, match=r"downloading failed \(bash ended with 3\):\nno such package"):
        registries.run(command, "downloading")


def test_check_lists_what_is_missing_and_fetches_nothing(
    tmp_path: Path, demo: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--to", str(tmp_path / "to"), "--demo", str(demo), "--check"]
    with pytest.raises(SystemExit) as ended:
        fetching.main(arguments)
    assert ended.value.code == 1
    assert capsys.readouterr().out.split() == [
        "missing:",
        "recordings/",
        "missing:",
        "noises/",
        "missing:",
        "pretrained/",
    ]
    assert calls == []
    fetching.fetch(tmp_path / "to", demo=demo)
    with pytest.raises(SystemExit) as ended:
        fetching.main(arguments)
    assert ended.value.code == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        fetching.main([*arguments, "--assets", "demo", "hifigan"])
    assert ended.value.code == 1
    assert capsys.readouterr().out == "missing: hifigan/\n"


def test_errors_of_the_command_are_one_line_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*assets\.yaml: no such file"):
        fetching.main(["--demo", str(tmp_path)])


def test_generated_noises_are_the_same_each_time_and_do_not_clip(tmp_path: Path) -> None:
    click = np.r_[0.5, -0.2, np.zeros(10)].astype(np.float32)
    for name in ("one", "two"):
        noises.write_generated(tmp_path / name, [click])
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.wav"))
    assert len(files) == len(noises.TYPING_CLICKS_PER_S) + len(noises.NOISE_SLOPES)
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        samples, rate = sf.read(tmp_path / "one" / file)
        assert rate == noises.SAMPLE_RATE
        assert len(samples) == noises.DURATION_S * rate
        assert np.abs(samples).max() == pytest.approx(0.7, abs=1e-3)


def test_typing_has_about_the_clicks_that_were_asked_for() -> None:
    click = np.ones(1, np.float32)
    clicks = np.count_nonzero(noises.typing([click], 10.0, np.random.default_rng(0)))
    assert 55 <= clicks <= 105  # 80 expected, standard deviation 9


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.5])
def test_coloured_noise_falls_as_its_slope_says(slope: float) -> None:
    power = np.abs(np.fft.rfft(noises.coloured(slope, np.random.default_rng(0)).astype(np.float64))) ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(8, 16)]
    fitted = -np.polyfit(np.arange(8), np.log2(octaves), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.1)
