"""What a check found, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "wrong", "not checked", "cannot tell"]


@dataclass(frozen=True)
class Finding:
    """The verdict of one check."""

    name: str
    """What should hold, e.g. "an earlier log-probability does not change with a later code"."""
    outcome: Outcome
    detail: str = ""
    """Figures; where something is wrong, what it means and what to change."""
    follows_from: str | None = None
    """Name of the finding that is wrong, too, and explains this one: it is no fault of its own."""

    @property
    def wrong(self) -> bool:
        return self.outcome == "wrong"

    def line(self) -> str:
        return f"[{self.outcome}] {self.name}" + (f": {self.detail}" if self.detail else "")


def verdict(name: str, problem: str | None, detail: str = "") -> Finding:
    """`wrong` with the problem where there is one, else `ok` with the detail."""
    return Finding(name, "ok", detail) if problem is None else Finding(name, "wrong", problem)


def not_checked(name: str, why: str) -> Finding:
    return Finding(name, "not checked", why)
