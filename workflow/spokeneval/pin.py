"""Write the commits of names on the hub into a configuration: `make pin CONFIG=...`.

Every value that may be a name on the hub, is no file or folder here and has no `revision` beside it gets the newest
commit of its default branch, as a line in the file itself: comments and layout stay, and the file says from then on
what was evaluated. What has a revision is left alone, and so is a path that begins with `./`, or with a folder that is
here: a folder that is not there yet must not become somebody's repository of that name.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from spokeneval.atomic import atomic_path
from spokeneval.config import Config
from spokeneval.errors import ConfigError
from spokeneval.hub import RepoType, newest_commit
from spokeneval.stages import HUB_NAME


def unpinned(config: Config) -> dict[str, RepoType]:
    """Names on the hub without a commit, as the configuration has them."""
    sections = (config.datasets, config.tokenizers, config.vocoders, config.models, config.judges)
    found: dict[str, RepoType] = {}
    for block in (block for section in sections for block in section.values()):
        for value, mark in block.content_paths().values():
            pinned = getattr(block, "revision", None) is not None
            local = Path(value).exists() or Path(value.partition("/")[0]).is_dir()
            if mark.hub is not None and not pinned and not local and HUB_NAME.fullmatch(value):
                found[value] = mark.hub
    return found


def pin(config: Config, path: Path) -> None:
    """Add the commits to the file. Raises ConfigError for names that the hub does not know, after writing the rest."""
    text, problems = path.read_text(encoding="utf-8"), []
    for name, repo_type in unpinned(config).items():
        try:
            commit = newest_commit(name, repo_type)
        except ConfigError as error:
            problems.append(str(error))
            continue
        text, n_places = with_revision(text, name, commit)
        if n_places == 0:
            problems.append(
                f"{name}: not found in {path} as `path: {name}`; add `revision: {commit}` beside it by hand"
            )
            continue
        print(f"pin: {name}: revision {commit}")
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if problems:
        raise ConfigError("\n".join(problems))


def with_revision(text: str, name: str, commit: str) -> tuple[str, int]:
    """YAML text with `revision` after every `key: name`, in the style of the place; and how many places there were.

    A mapping that has a revision already is left alone.
    """
    value = rf"""(?P<entry>[\w]+:[ \t]+(?P<quote>["']?){re.escape(name)}(?P=quote))"""
    flow = re.compile(rf"{value}(?=[ \t]*[,}}])")
    block = re.compile(rf"^(?P<indent>[ \t]*){value}(?P<rest>[ \t]*(#.*)?)$", re.MULTILINE)
    places = [
        (match.end(), f", revision: {commit}")
        for match in flow.finditer(text)
        if "revision:" not in _braces_around(text, match)
    ]
    places += [
        (match.end(), f"\n{match['indent']}revision: {commit}")
        for match in block.finditer(text)
        if not re.search(rf"^{match['indent']}revision:", _lines_around(text, match), re.MULTILINE)
    ]
    for end, added in sorted(places, reverse=True):
        text = text[:end] + added + text[end:]
    return text, len(places)


def _braces_around(text: str, match: re.Match[str]) -> str:
    return text[text.rfind("{", 0, match.start()) : text.find("}", match.end())]


def _lines_around(text: str, match: re.Match[str]) -> str:
    """The lines of the mapping that an entry in block style belongs to: those around it that are not indented less."""
    indent = len(match["indent"])

    def inside(line: str) -> bool:
        return not line.strip() or len(line) - len(line.lstrip()) >= indent

    before = list(itertools.takewhile(inside, reversed(text[: match.start()].splitlines())))
    after = list(itertools.takewhile(inside, text[match.end() :].splitlines()))
    return "\n".join([*reversed(before), *after])
