"""Pocket Texts: short messages with labels, and questions about short texts with their answers.

Both were written for this course and are inside the package; `README.md` beside this file is their card.
Plain records, no library needed; `ftcourse.tasks.text` makes data sets of them::

    messages("train")[0]      # Message(split="train", label="praise", text="The skeleton hall at dusk, ...")
    questions("test")[0]      # Question(id=..., question=..., context=..., answers=(Answer(text, start), ...))
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["LABELS", "SPLITS", "Answer", "Message", "Question", "messages", "questions"]

HERE = Path(__file__).parent
SPLITS = ("train", "val", "test")
LABELS = ("praise", "problem", "question")


@dataclass(frozen=True)
class Message:
    """A message to a museum: its label is what the writer wants, one of `LABELS`."""

    split: str
    label: str
    text: str


@dataclass(frozen=True)
class Answer:
    """A piece of a context; `start` is the offset of its first character."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question about a context. Any of `answers` is right; the first is the best."""

    split: str
    id: str
    title: str
    context: str
    question: str
    answers: tuple[Answer, ...]


def messages(split: str | None = None) -> list[Message]:
    """The 660 messages, or those of a split: 390 train, 90 val, 180 test, a third of them of each label.

    Raises:
        ValueError: there is no such split.
    """
    return [m for m in _messages() if m.split in _wanted(split)]


def questions(split: str | None = None) -> list[Question]:
    """The 240 questions on 40 contexts, or those of a split: 156 train, 24 val, 60 test.

    All questions on a context are in one split.

    Raises:
        ValueError: there is no such split.
    """
    return [q for q in _questions() if q.split in _wanted(split)]


def _wanted(split: str | None) -> tuple[str, ...]:
    if split is not None and split not in SPLITS:
        raise ValueError(f"no split {split!r}; there are: {', '.join(SPLITS)}")
    return SPLITS if split is None else (split,)


@cache
def _messages() -> tuple[Message, ...]:
    lines = (HERE / "messages.tsv").read_text(encoding="utf-8").splitlines()
    return tuple(Message(*line.split("\t")) for line in lines[1:])


@cache
def _questions() -> tuple[Question, ...]:
    """From a file in the form of SQuAD 1.1, with a split for each context."""
    found = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    return tuple(
        Question(
            split=entry["split"],
            id=qa["id"],
            title=entry["title"],
            context=entry["context"],
            question=qa["question"],
            answers=tuple(Answer(a["text"], a["answer_start"]) for a in qa["answers"]),
        )
        for entry in found["data"]
        for qa in entry["qas"]
    )
