"""The base of all configuration blocks, and the marks that say what a path in them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from spokeneval.hub import COMMIT, HubSource, RepoType


@dataclass(frozen=True)
class Resource:
    """Marks a path whose content, not whose name, enters the identity of what is made from it."""

    beside: bool = False
    """True for a table whose folder holds the audio that it lists: the whole folder is its content. A folder in place
    of such a table is its own content."""
    hub: RepoType | None = None
    """Where the block names a `revision`, the value is a name on the hub and no path."""

    def content(self, path: str) -> Path:
        """The file or folder whose content a path stands for."""
        folder = Path(path).is_dir() or not Path(path).suffix
        return Path(path).parent if self.beside and not folder else Path(path)


ResourcePath = Annotated[str, Resource()]
OptionalResourcePath = Annotated[str | None, Resource()]
TableWithAudio = Annotated[str, Resource(beside=True)]
ModelPath = Annotated[str, Resource(hub="model")]
"""A folder; with a `revision` beside it, a model on the hub."""
DatasetPath = Annotated[str, Resource(hub="dataset")]
"""A folder or file; with a `revision` beside it, a data set on the hub."""
Revision = Annotated[str | None, StringConstraints(pattern=COMMIT)]


class Block(BaseModel):
    """A block of the configuration. Unknown keys are errors; blocks do not change once they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    needs: ClassVar[Mapping[str, str]] = {}
    """Module that is imported -> the command that installs it, for what spokeneval itself does not need."""

    def lacks(self) -> dict[str, str]:
        """Those of `needs` that are not installed. Nothing is imported."""
        return {module: command for module, command in self.needs.items() if find_spec(module) is None}

    def content_paths(self) -> dict[str, tuple[str, Resource]]:
        """Key -> (path, mark) of every path whose content counts, nested blocks included ("screen.weights")."""
        found: dict[str, tuple[str, Resource]] = {}
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            mark = next((m for m in info.metadata if isinstance(m, Resource)), None)
            if isinstance(value, Block):
                found.update({f"{name}.{key}": entry for key, entry in value.content_paths().items()})
            elif mark is not None and value is not None:
                found[name] = (value, mark)
        return found | existing_paths(self.model_extra or {})

    def hub_sources(self) -> dict[str, HubSource]:
        """Key -> what it names on the hub."""
        revision = getattr(self, "revision", None)
        marked = {key: mark.hub for key, (_, mark) in self.content_paths().items() if mark.hub is not None}
        return {
            key: HubSource(getattr(self, key), revision, hub) for key, hub in marked.items() if revision is not None
        }

    def options(self) -> dict[str, Any]:
        """The block as keyword arguments, without its `kind`."""
        return {name: value for name, value in self.model_dump().items() if name != "kind"}


class MadeBlock(Block):
    """What tokenizers, vocoders, models and judges have in common. Nothing here changes a number."""

    trained_on: tuple[str, ...] | None = Field(
        None,
        description="all corpora that its weights were trained on, by name, a remark in parentheses; null: not known",
    )
    licence: str | None = Field(None, description="of its weights; what is published of its name if null")


OF_THE_ORIGIN = frozenset(MadeBlock.model_fields)
"""Keys that a report shows and nothing else reads."""


def origin_keys(block: Block) -> dict[str, Any]:
    """Keys of the origin in a block and in the blocks within it, as pydantic's `exclude` wants them."""
    found: dict[str, Any] = dict.fromkeys(OF_THE_ORIGIN, True) if isinstance(block, MadeBlock) else {}
    for name in type(block).model_fields:
        value = getattr(block, name)
        if isinstance(value, Block) and (inner := origin_keys(value)):
            found[name] = inner
    return found


def existing_paths(values: dict[str, Any]) -> dict[str, tuple[str, Resource]]:
    """Those values that are strings naming an existing file or folder."""
    return {
        key: (value, Resource()) for key, value in values.items() if isinstance(value, str) and Path(value).exists()
    }
