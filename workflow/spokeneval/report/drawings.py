"""Small hand-made SVG drawings for the page: intervals, waveforms, log-probability traces.

They take their colours from the page's style sheet (so that dark mode and print work) and never rely on colour alone:
the negative is dashed. All text in them is numbers made here; nothing from data is put into markup.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from spokeneval.audio import Waveform

Points = Sequence[tuple[float, float, float]]
"""(start, end, value) of consecutive steps."""


def _n(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def interval_bar(
    share: float | None, low: float | None, high: float | None, topline: float | None = None, floor: float = 0.0
) -> Markup:
    """A share with its interval on a line from `floor` to 1; a tick at chance (0.5) and one at the human topline."""
    if share is None:
        return Markup("")

    def x(value: float) -> float:
        return 100 * (min(max(value, floor), 1.0) - floor) / (1 - floor)

    parts = ['<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">']
    parts.append('<line class="axis" x1="0" y1="5" x2="100" y2="5"/>')
    parts.append(f'<line class="cut" x1="{_n(x(0.5))}" y1="0" x2="{_n(x(0.5))}" y2="10"/>')
    if topline is not None:
        parts.append(f'<rect fill="currentColor" x="{_n(x(topline) - 0.6)}" y="0" width="1.2" height="10"/>')
    if low is not None and high is not None:
        width = max(x(high) - x(low), 0.5)
        parts.append(
            f'<rect fill="currentColor" opacity=".45" x="{_n(x(low))}" y="3.4" width="{_n(width)}" height="3.2"/>'
        )
    parts.append(f'<rect fill="currentColor" x="{_n(x(share) - 1)}" y="1.5" width="2" height="7"/></svg>')
    return Markup("".join(parts))


def waveform(samples: Waveform, cut: int | None = None, n_columns: int = 150) -> Markup:
    """The envelope of a waveform, with a dashed line at sample `cut`; scaled to its own peak."""
    if len(samples) == 0:
        return Markup("")
    n_columns = min(n_columns, len(samples))
    edges = np.linspace(0, len(samples), n_columns + 1).astype(int)[:-1]
    top, bottom = np.maximum.reduceat(samples, edges), np.minimum.reduceat(samples, edges)
    peak = max(float(np.abs(samples).max()), 1e-6)
    xs = np.arange(n_columns) * 300 / n_columns
    up = " ".join(f"{_n(x)},{_n(20 - 18 * v / peak)}" for x, v in zip(xs, top, strict=True))
    down = " ".join(f"{_n(x)},{_n(20 - 18 * v / peak)}" for x, v in zip(xs[::-1], bottom[::-1], strict=True))
    line = ""
    if cut is not None:
        x = _n(300 * cut / len(samples))
        line = f'<line class="cut" x1="{x}" y1="0" x2="{x}" y2="40"/>'
    return Markup(
        '<svg viewBox="0 0 300 40" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon class="wave" points="{up} {down}"/>{line}</svg>'
    )


WIDTH, HEIGHT, LEFT, BOTTOM = 360.0, 150.0, 30.0, 18.0


def trace(positive: Points, negative: Points, window_s: float, from_s: float, to_s: float) -> Markup:
    """Log-probability (nats) over seconds from the transition: positive solid, negative dashed, the window shaded."""
    values = [value for line in (positive, negative) for start, end, value in line if end > from_s and start < to_s]
    if not values:
        return Markup("")
    low, high = float(np.floor(min(values))), min(0.0, float(np.ceil(max(values))))
    span = max(high - low, 1.0)

    def x(seconds: float) -> float:
        clamped = min(max(seconds, from_s), to_s)
        return LEFT + (WIDTH - LEFT - 14) * (clamped - from_s) / (to_s - from_s)

    def y(value: float) -> float:
        return 6 + (HEIGHT - BOTTOM - 6) * (high - value) / span

    parts = [f'<svg viewBox="0 0 {_n(WIDTH)} {_n(HEIGHT)}" role="img" aria-label="log-probability over time">']
    box = f'y="6" width="{_n(x(window_s) - x(0))}" height="{_n(HEIGHT - BOTTOM - 6)}"'
    parts.append(f'<rect class="window" x="{_n(x(0))}" {box}/>')
    for value in _ticks(low, high):
        parts.append(
            f'<line class="axis" x1="{_n(LEFT)}" y1="{_n(y(value))}" x2="{_n(WIDTH - 14)}" y2="{_n(y(value))}"/>'
        )
        parts.append(f'<text class="tick" x="{_n(LEFT - 4)}" y="{_n(y(value) + 3)}" text-anchor="end">{value:g}</text>')
    parts += [
        f'<text class="tick" x="{_n(x(float(value)))}" y="{_n(HEIGHT - 4)}" text-anchor="middle">{value:g} s</text>'
        for value in np.arange(np.ceil(from_s * 2) / 2, to_s + 1e-9, 0.5)
    ]
    parts.append(f'<line class="cut" x1="{_n(x(0))}" y1="6" x2="{_n(x(0))}" y2="{_n(HEIGHT - BOTTOM)}"/>')
    for name, line in (("line-neg", negative), ("line-pos", positive)):
        points = " ".join(
            f"{_n(x(start))},{_n(y(v))} {_n(x(end))},{_n(y(v))}"
            for start, end, v in line
            if end > from_s and start < to_s
        )
        parts.append(f'<polyline class="{name}" points="{points}"/>')
    parts.append("</svg>")
    return Markup("".join(parts))


def _ticks(low: float, high: float) -> NDArray[np.float64]:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 1e9) if (high - low) / s <= 5)
    return np.arange(np.ceil(low / step) * step, high + 1e-9, step)
