"""Charts to files: Vega-Lite JSON, SVG and PNG, in a light and a dark theme; no browser and no network."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert as vlc

from spokeneval.atomic import atomic_path

_FONT = "DejaVu Sans, Helvetica, Arial, sans-serif"


def _theme(text: str, line: str) -> dict[str, Any]:
    axis = {
        "labelColor": text,
        "titleColor": text,
        "tickColor": line,
        "domainColor": line,
        "gridColor": line,
        "gridOpacity": 0.5,
    }
    return {
        "background": None,
        "font": _FONT,
        "view": {"stroke": line},
        "axis": {**axis, "titleFontWeight": "normal"},
        "legend": {"labelColor": text, "titleColor": text, "orient": "bottom", "columns": 4, "labelLimit": 260},
        "header": {"labelColor": text, "titleColor": text},
        "title": {"color": text},
        "rule": {"color": text},
        "text": {"color": text},
        "concat": {"spacing": 12},
    }


LIGHT = _theme("#1b1f24", "#c4cad0")
DARK = _theme("#e8eaed", "#4a525b")


@dataclass(frozen=True)
class Figure:
    """A rendered figure as the page shows it."""

    name: str
    light: str
    """data: URI of an SVG."""
    dark: str
    alt: str
    """What it shows, for those who do not see it."""
    width: int


def render(name: str, chart: alt.TopLevelMixin, description: str, folder: Path) -> Figure:
    """Write {name}.vl.json, .svg and .png (light, on white) into `folder`, and return both themes for the page."""
    spec = chart.to_dict(validate=False)
    spec.pop("config", None)
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    light = _renumbered(vlc.vegalite_to_svg(spec, vl_version=version, config=LIGHT))
    dark = _renumbered(vlc.vegalite_to_svg(spec, vl_version=version, config=DARK))
    files = {
        f"{name}.vl.json": (json.dumps(spec, sort_keys=True) + "\n").encode(),
        f"{name}.svg": light.encode(),
        f"{name}.png": vlc.svg_to_png(_on_white(light), scale=2),
    }
    for file, content in files.items():
        with atomic_path(folder / file) as temporary:
            temporary.write_bytes(content)
    return Figure(name, _uri(light), _uri(dark), description, _width(light))


def _renumbered(svg: str) -> str:
    """Ids of gradients and clip paths counted from 0: the renderer counts on from figure to figure."""
    for i, found in enumerate(dict.fromkeys(re.findall(r'id="([a-z]+_?\d+)"', svg))):
        svg = re.sub(rf'(["#]){found}\b', rf"\g<1>part{i}", svg)
    return svg


def _uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _on_white(svg: str) -> str:
    tag, end, rest = svg.partition(">")
    return f'{tag}{end}<rect width="100%" height="100%" fill="white"/>{rest}'


def _width(svg: str) -> int:
    """Pixels of the drawing, from its first tag."""
    return round(float(svg.partition('width="')[2].partition('"')[0]))
