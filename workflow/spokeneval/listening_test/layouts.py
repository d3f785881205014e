"""The same test in the layouts of other tools: webMUSHRA, ReSEval, microsoft/P.808.

Conventions
-----------
- webMUSHRA: a configuration a rater slot, one `likert_single_stimulus` page a sound; stimulus and page are named by the
  blinded name, a field of the last page asks for the rater's name (`listener_id`). Written after the examples of its
  repository.
- ReSEval: `mos/<system>/<item>.wav` a question and its YAML. **The folders name the systems**: they are for the server.
- P.808: `rating_clips.csv` a question, and the true continuations as `gold_clips.csv` where there are anchors. Trapping
  and training clips are to be made by its own scripts.
- None of the three was run here; what is written is checked against their published examples only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from spokeneval.listening_test.questions import Question

AUDIO_ROOT = "configs/resources/audio"
"""Where webMUSHRA finds the wavs, which are to be copied there."""


class Asked(NamedTuple):
    """One sound that a slot is asked about."""

    question: Question
    blinded_name: str
    reference_name: str | None


def webmushra(test_id: str, introduction: str, trials: Sequence[Asked]) -> str:
    """The configuration of one rater slot as YAML."""
    pages: list[dict[str, Any]] = [
        {"type": "generic", "id": "first_page", "name": "Welcome", "content": introduction or "Use headphones."}
    ]
    before: Question | None = None
    for asked in trials:
        if asked.question is not before:
            told = " ".join(asked.question.instructions)
            pages.append({"type": "generic", "id": asked.question.name, "name": asked.question.title, "content": told})
            before = asked.question
        content = asked.question.question
        if asked.reference_name is not None:
            source = f"{AUDIO_ROOT}/{asked.reference_name}.wav"
            content += f'<br>A: <audio controls preload="auto" src="{source}"></audio> B: below'
        pages.append(
            {
                "type": "likert_single_stimulus",
                "id": f"{asked.question.name}-{asked.blinded_name}",
                "name": asked.question.title,
                "content": content,
                "mustRate": True,
                "mustPlayback": True,
                "stimuli": {asked.blinded_name: f"{AUDIO_ROOT}/{asked.blinded_name}.wav"},
                "response": [
                    {"value": k, "label": f"{k} {label}"} for k, label in enumerate(asked.question.labels, start=1)
                ],
            }
        )
    pages.append(
        {
            "type": "finish",
            "name": "Thank you",
            "content": "Your name or code, then send.",
            "questionnaire": [{"type": "text", "label": "Name or code", "name": "listener_id"}],
            "showResults": False,
            "writeResults": True,
        }
    )
    config = {
        "testname": test_id,
        "testId": test_id,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": pages,
    }
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def reseval(test_id: str, question: Question, introduction: str, n_raters: int, n_per_rater: int, seed: int) -> str:
    """The configuration of one question as YAML; payment and platform are left to the user."""
    scale = ", ".join(f"{k} = {label}" for k, label in enumerate(question.labels, start=1))
    config = {
        "name": f"{test_id}-{question.name}",
        "test": "mos",
        "datatype": "audio",
        "participants": n_raters,
        "samples_per_participant": n_per_rater,
        "random_seed": seed,
        "welcome_text": introduction or "Use headphones.",
        "survey_instructions": f"{' '.join(question.instructions)} {question.question} {scale}",
        "prescreen_questions": [],
        "followup_questions": [],
    }
    return str(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def p808(names: Sequence[str], gold: Mapping[str, int], base_url: str | None) -> dict[str, str]:
    """File name -> CSV: the clips that are rated, and those of them whose answer is known."""
    prefix = "" if base_url is None else base_url.rstrip("/") + "/"
    files = {"rating_clips.csv": _csv(["rating_clips"], [[f"{prefix}{name}.wav"] for name in names])}
    if gold:
        rows = [[f"{prefix}{name}.wav", str(answer)] for name, answer in gold.items()]
        files["gold_clips.csv"] = _csv(["gold_clips", "gold_clips_ans"], rows)
    return files


def _csv(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
