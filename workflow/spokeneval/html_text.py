"""Data in pages: what may stand inside an element of HTML without ending it."""

from __future__ import annotations

import json
from typing import Any

from markupsafe import Markup


def json_in_html(values: Any) -> Markup:
    """JSON that can stand in a <script> element: no text of it can end the element."""
    text = json.dumps(values, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
