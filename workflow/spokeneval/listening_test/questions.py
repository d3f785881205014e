"""What raters are asked, in their words: the question, the five answers, and what they hear beside the continuation.

Conventions: answers go from 1 (worst, most different) to 5, so that higher is better in every dimension. Naturalness
has the labels of ITU-T P.800 (absolute category rating); a `same ...` question compares with the prompt, which is
played first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

QuestionName = Literal["naturalness", "same_speaker", "same_background", "same_room", "same_emotion"]
QUESTION_NAMES: tuple[QuestionName, ...] = get_args(QuestionName)

SAME = ("definitely different", "probably different", "cannot tell", "probably the same", "definitely the same")


@dataclass(frozen=True)
class Question:
    """One dimension of a listening test."""

    name: QuestionName
    """The dimension of its votes."""
    title: str
    question: str
    instructions: tuple[str, ...]
    labels: tuple[str, ...]
    """Of the answers 1 ... 5."""
    compares: bool
    """True where the prompt is heard first, as the reference."""
    task_words: tuple[str, ...]
    """A task whose name holds one of these is asked about; empty: every task."""

    def fits(self, task: str) -> bool:
        words = task.lower().replace("-", "_").split("_")
        return not self.task_words or any(word in words for word in self.task_words)


QUESTIONS: dict[QuestionName, Question] = {
    question.name: question
    for question in (
        Question(
            "naturalness",
            "How natural?",
            "How natural does this sound?",
            (
                "You hear a few seconds of sound that should be human speech. It may stop in the middle of a word.",
                "Judge how it sounds, not what is said: is this how a person in a real place sounds?",
            ),
            ("bad", "poor", "fair", "good", "excellent"),
            False,
            (),
        ),
        Question(
            "same_speaker",
            "Same speaker?",
            "Is B spoken by the same person as A?",
            (
                "You hear two recordings: first A, then B, which should go on where A ends.",
                "Judge the voice only. Bad sound, another mood or another background do not make it another person.",
            ),
            SAME,
            True,
            ("speaker", "gender", "voice"),
        ),
        Question(
            "same_background",
            "Same background?",
            "Does B have the same background sounds as A?",
            (
                "You hear two recordings: first A, then B, which should go on where A ends.",
                "Judge what is heard behind or around the voice (music, machines, animals, people). The voice itself "
                "and what it says do not matter.",
            ),
            SAME,
            True,
            ("background", "bg", "noise"),
        ),
        Question(
            "same_room",
            "Same room?",
            "Is B recorded in the same kind of room as A?",
            (
                "You hear two recordings: first A, then B, which should go on where A ends.",
                "Judge the room that the voice is in: its echo, and how near the voice seems. The voice itself does "
                "not matter.",
            ),
            SAME,
            True,
            ("room", "rir", "reverb"),
        ),
        Question(
            "same_emotion",
            "Same emotion?",
            "Is B spoken with the same emotion as A?",
            (
                "You hear two recordings: first A, then B, which should go on where A ends.",
                "Judge the mood of the voice (happy, sad, angry, calm ...), not the words and not who speaks.",
            ),
            SAME,
            True,
            ("emotion", "sentiment"),
        ),
    )
}
