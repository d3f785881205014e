"""The page that raters use: one HTML file beside a folder of wavs, or with the audio inside; it loads nothing else.

Conventions
-----------
- The page holds blinded names, questions and the order of every slot, and nothing that tells a system or an anchor.
- A sound can be rated once it has been heard to its end (and the reference before it). Answers are kept in the
  browser's storage after every click, under the test and the digest of what the page asks, and survive a reload.
- What is saved, or sent, is the long CSV (or the same rows as JSON) that `spokeneval ratings` reads under
  `format: spokeneval`: test_id, dimension, listener_id, blinded_name, score, seconds, plays, comment. `seconds` is from
  the moment the sound is shown to the answer that counts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from spokeneval.config.listening_tests import RaterPage
from spokeneval.html_text import json_in_html
from spokeneval.listening_test.layouts import Asked

TEMPLATES = Path(__file__).parent / "templates"


def rater_page(
    test_id: str, slots: Mapping[int, Sequence[Asked]], settings: RaterPage, audio: Mapping[str, bytes] | None
) -> str:
    """The page as HTML. slots: slot -> its trials in order; audio: blinded name -> WAV to embed, None for files."""
    questions = {asked.question.name: asked.question for trials in slots.values() for asked in trials}
    order = list(questions)
    asks: dict[str, Any] = {
        "test_id": test_id,
        "post_to": settings.post_to,
        "comments": settings.comments,
        "questions": [
            {
                "dimension": question.name,
                "title": question.title,
                "question": question.question,
                "instructions": list(question.instructions),
                "labels": list(question.labels),
                "compares": question.compares,
            }
            for question in questions.values()
        ],
        "slots": {
            str(slot): [[order.index(a.question.name), a.blinded_name, a.reference_name] for a in trials]
            for slot, trials in slots.items()
        },
    }
    asks["digest"] = hashlib.sha256(json.dumps(asks, sort_keys=True).encode()).hexdigest()[:16]
    uris = {name: "data:audio/wav;base64," + base64.b64encode(wav).decode() for name, wav in (audio or {}).items()}
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        test_id=test_id,
        introduction=settings.introduction,
        contact=settings.contact,
        asks=json_in_html(asks),
        audio=json_in_html(uris),
        # The package's own files, not data.
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )
