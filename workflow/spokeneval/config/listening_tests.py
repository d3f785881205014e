"""Listening tests that can be exported: what is heard, by how many, and what they are asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from spokeneval.config.block import Block
from spokeneval.listening_test.questions import QuestionName


class RaterPage(Block):
    """The web page that raters use."""

    introduction: str = Field("", description="what raters read first, beside the instructions of each question")
    contact: str = Field("", description="whom to ask, shown on every page; may be empty")
    comments: bool = Field(True, description="a field for comments at every clip")
    post_to: str | None = Field(
        None, description="URL that answers are sent to as JSON; null: the rater saves them as a file"
    )
    embed_audio: bool = Field(False, description="audio inside the page: one file, and large")


class ListeningTest(Block):
    """One listening test on the continuations of a dataset; `make listening-test TEST=<name>` writes it."""

    dataset: str = Field(description="name of the dataset whose items are heard")
    questions: tuple[QuestionName, ...] = Field(min_length=1, description="what is asked, one part of the test each")
    tasks: tuple[str, ...] | None = Field(None, description="tasks; null: those that a question fits by their names")
    models: tuple[str, ...] | None = Field(None, description="models; null: all that can be heard")
    items_per_task: PositiveInt = Field(12, description="items of each task, drawn by the seed, clusters in turn")
    sample_index: int = Field(0, ge=0, description="which sample of each model is heard")
    anchors: bool = Field(True, description="hide true and mismatched continuations among the models")
    raters: PositiveInt = Field(12, description="numbers that are given out; each says what its rater hears")
    systems_per_item: PositiveInt = Field(1, description="of how many systems a rater hears the same item")
    heard: Literal["continuation", "prompt_and_continuation"] = Field(
        "continuation", description="what is rated for naturalness; questions that compare play the prompt apart"
    )
    loudness_lufs: float = Field(-23.0, ge=-40, le=-10, description="loudness of everything, EBU R128")
    pause_s: float = Field(0.0, ge=0, description="silence between prompt and continuation where both are in one sound")
    base_url: str | None = Field(None, description="where the audio will lie, for the P.808 lists; null: file names")
    page: RaterPage = Field(default_factory=lambda: RaterPage(), description="the web page")
    seed: int = Field(0, description="of items, names, orders")
