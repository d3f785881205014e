"""How numbers and evaluators are written, on the page and on the console."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

PUBLISHED_MARK = "\u2020 "
"""Before the name of every published model: a dagger, so that no row is taken for an own one."""


def percent(share: float | None) -> str:
    """0.7125 -> '71.2'; '-' where there is no value."""
    return "-" if share is None else f"{100 * share:.1f}"


def interval(low: float | None, high: float | None) -> str:
    """'[64.0, 78.1]' in percent; empty where there is none."""
    return "" if low is None or high is None else f"[{100 * low:.1f}, {100 * high:.1f}]"


def coefficient(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """'.87 [.53, .98]' with a sign where negative; '-' where not defined."""
    if value is None:
        return "-"
    return _bare(value) + ("" if low is None or high is None else f" [{_bare(low)}, {_bare(high)}]")


def _bare(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text not in ("0.00", "-0.00") else ".00"


def evaluator_name(cell: Mapping[str, Any], conventions: bool = True) -> str:
    """'localized_norm 0.5 s (retokenise)', with codebook and convention where they are not the usual ones."""
    name = str(cell["evaluator"])
    if cell.get("window_s") is not None:
        name += f" {cell['window_s']:g} s"
    marks = [cell[key] for key in ("unconditional",) if cell.get(key)]
    if cell.get("codebooks") not in (None, "all"):
        marks.append(f"codebook {cell['codebooks']}")
    if conventions and cell.get("convention") not in (None, "default"):
        marks.append(str(cell["convention"]))
    return name + (f" ({', '.join(marks)})" if marks else "")


def seconds(value: float) -> str:
    """'3.2 s', '2 min 05 s'."""
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """'1 item', '3 items'."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listed(names: list[str], most: int = 6) -> str:
    """'a, b and c'; '... and 4 more' beyond `most`."""
    if len(names) > most:
        return ", ".join(names[:most]) + f" and {len(names) - most} more"
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}" if names else ""


def points(difference: float | None) -> str:
    """0.052 -> '+5.2'; '-' where there is no value."""
    if difference is None:
        return "-"
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def p_value(p: float | None) -> str:
    """'0.0213', '< 0.0001'; '-' where there is none."""
    return "-" if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def heat(share: float | None) -> str:
    """Class of a cell by its share, in steps of ten points from 52.5: 'heat hi3' for 0.8; empty near one half."""
    step = 0 if share is None else math.ceil((abs(share - 0.5) - 0.025) / 0.1 - 1e-9)
    return "" if share is None or step <= 0 else f"heat {'hi' if share > 0.5 else 'lo'}{min(step, 4)}"


def latency(row: Mapping[str, Any]) -> str:
    """'0.12 s [0.08, 0.31]'; '-' where there is none."""
    if row["latency_s"] is None:
        return "-"
    bounds = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{row['latency_s']:.2f} s{bounds}"
