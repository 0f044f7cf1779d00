"""Questions whose answer is a piece of a text: a start and an end for each, and SQuAD's two measures."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from ftcourse.data.texts import Answer, Question, questions
from ftcourse.tasks.task import Pairs, Task
from ftcourse.tasks.text.batches import TextData, pad
from ftcourse.tasks.text.encoder import describe

__all__ = [
    "QuestionAnswering", "QuestionWindows", "Span", "SpanFinder", "Window",
    "answer", "best_span", "exact_match", "f1", "load_questions", "normalise", "spans",
]  # fmt: skip


class SpanFinder(nn.Module):
    """An encoder and a linear head with two outputs a token: logits (N, 2, length) of start and of end."""

    def __init__(self, encoder: nn.Module, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, 2)  # type: ignore[union-attr, arg-type]
        describe(self, encoder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)
        return self.head(self.dropout(hidden.last_hidden_state)).transpose(1, 2)


@dataclass
class Window:
    """A question with as much of its context as fits, and where the answer is.

    `start` and `end` are the answer's first and last token; 0, the place of [CLS], where it is not in the window.
    `offsets` has the first and the last-plus-one character of each token in the context, None for others.
    """

    id: str
    context: str
    answers: tuple[str, ...]
    start: int
    end: int
    offsets: list[tuple[int, int] | None]


class QuestionWindows(Dataset):
    """Questions, tokenised with their contexts: items (dict of ids and `in_context`, Window).

    A context that is too long makes several windows, which overlap by `stride` tokens.
    """

    def __init__(
        self, rows: Sequence[Question], tokenizer: Any, max_length: int = 192, stride: int = 64
    ) -> None:
        encoded = tokenizer(
            [q.question.strip() for q in rows],
            [q.context for q in rows],
            truncation="only_second",
            max_length=max_length,
            stride=stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        self.questions, self.items = list(rows), []
        for i, row in enumerate(encoded["overflow_to_sample_mapping"]):
            inside = [s == 1 for s in encoded.sequence_ids(i)]
            offsets = [
                pair if known else None
                for pair, known in zip(encoded["offset_mapping"][i], inside, strict=True)
            ]
            ids = {
                k: encoded[k][i]
                for k in ("input_ids", "attention_mask", "token_type_ids")
                if k in encoded
            }
            ids["in_context"] = [int(known) for known in inside]
            self.items.append((ids, _window(rows[row], offsets)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[dict[str, list[int]], Window]:
        return self.items[i]


def _window(question: Question, offsets: list[tuple[int, int] | None]) -> Window:
    best = question.answers[0]
    first, last = best.start, best.start + len(best.text) - 1  # characters
    holds = [
        [k for k, pair in enumerate(offsets) if pair and pair[0] <= c < pair[1]]
        for c in (first, last)
    ]
    start, end = (holds[0][0], holds[1][0]) if holds[0] and holds[1] else (0, 0)
    texts = tuple(a.text for a in question.answers)
    return Window(question.id, question.context, texts, start, end, offsets)


def load_questions(
    tokenizer: Any,
    max_length: int = 192,
    stride: int = 64,
    contexts: int | None = None,
) -> TextData:
    """The questions on short texts: 156 train, 24 val, 60 test; the splits share no text.

    Args:
        contexts: only the questions on so many training contexts; all 26 by default.
    """
    splits = {}
    for split in ("train", "val", "test"):
        rows = questions(split)
        if split == "train" and contexts is not None:
            rows = [
                q for q in rows if q.title in list(dict.fromkeys(r.title for r in rows))[:contexts]
            ]
        splits[split] = QuestionWindows(rows, tokenizer, max_length, stride)
    return TextData(splits["train"], splits["val"], splits["test"])


class QuestionAnswering(Task):
    """Cross-entropy of the start and of the end over the tokens of the window, averaged; kept by F1.

    Outputs are logits (N, 2, length) with all tokens outside of the context (but [CLS]) at the lowest number.
    """

    name, score, columns = "question answering", "f1", ("loss", "exact_match", "f1")

    def __init__(self, tokenizer: Any, max_answer: int = 16) -> None:
        self.pad_id, self.max_answer = tokenizer.pad_token_id, max_answer

    def collate(self, items: list) -> tuple[dict[str, Tensor], list[Window]]:  # type: ignore[override]
        inputs, windows = zip(*items, strict=True)
        return pad(list(inputs), self.pad_id), list(windows)

    def forward(self, model: nn.Module, inputs: dict[str, Tensor], targets: Any = None) -> Tensor:
        inputs = dict(inputs)
        allowed = inputs.pop("in_context").bool()
        allowed[:, 0] = True  # [CLS] stands for "not in this window"
        logits = model(**inputs).float()
        return logits.masked_fill(~allowed[:, None], torch.finfo(torch.float32).min)

    def loss(self, outputs: Tensor, targets: list[Window]) -> Tensor:
        places = torch.tensor([[w.start, w.end] for w in targets], device=outputs.device)
        return F.cross_entropy(outputs.flatten(0, 1), places.flatten())

    def hits(self, outputs: Tensor, targets: list[Window]) -> Tensor:
        places = torch.tensor([[w.start, w.end] for w in targets], device=outputs.device)
        return (outputs.argmax(2) == places).all(1).sum()

    def predictions(self, outputs: Tensor) -> list[Tensor]:
        return list(outputs)

    def metrics(self, batches: Pairs) -> dict[str, float]:
        """`loss` (nats a window), `exact_match`, `f1` (SQuAD's, averaged over questions) and `samples`."""
        losses, logits, windows = 0.0, [], []
        for outputs, targets in batches:
            losses += self.loss(outputs, targets).item() * len(targets)
            logits += list(outputs)
            windows += targets
        found = spans(logits, windows, self.max_answer)
        answers = {w.id: w.answers for w in windows}
        return {
            "loss": losses / len(windows),
            "exact_match": sum(exact_match(s.text, answers[i]) for i, s in found.items())
            / len(found),
            "f1": sum(f1(s.text, answers[i]) for i, s in found.items()) / len(found),
            "samples": len(found),
        }


@dataclass
class Span:
    """A piece of a context: its text, its characters `start` to `end` (exclusive), and its score."""

    text: str
    start: int
    end: int
    score: float  # logit of the start plus logit of the end


def best_span(logits: Tensor, window: Window, max_answer: int = 16) -> Span:
    """The span of whole words, at most `max_answer` tokens, with the highest sum of start and end logit.

    `logits` is (2, length); length may be that of a padded batch.
    """
    n = len(window.offsets)
    start, end = logits[0, :n], logits[1, :n]
    borders = [_borders(window.context, pair) for pair in window.offsets]
    first_of_word, last_of_word = torch.tensor(borders).unbind(1)
    sums = start[:, None] + end[None, :]
    allowed = torch.ones(n, n, dtype=torch.bool).triu().tril(max_answer - 1)  # end not before start
    allowed &= first_of_word[:, None] & last_of_word[None, :]
    flat = int(sums.masked_fill(~allowed, -torch.inf).argmax())
    i, j = divmod(flat, n)
    first, last = window.offsets[i], window.offsets[j]
    if first is None or last is None:
        raise ValueError(f"{window.id}: this window has no token of its context")
    text = window.context[first[0] : last[1]]
    return Span(text, first[0], last[1], float(sums[i, j]))


def _borders(context: str, pair: tuple[int, int] | None) -> tuple[bool, bool]:
    """Whether a token is the first of a word of the context, and whether it is the last of one."""
    if pair is None:
        return False, False
    first, last = pair
    cut = [context[max(0, i - 1) : i + 1] for i in (first, last)]  # the characters beside each end
    begins, ends = (not (len(two) == 2 and two.isalnum()) for two in cut)
    return begins, ends


def spans(
    logits: Sequence[Tensor], windows: Sequence[Window], max_answer: int = 16
) -> dict[str, Span]:
    """The answer to each question, by its id: the best span over all windows of its context."""
    found: dict[str, Span] = {}
    for one, window in zip(logits, windows, strict=True):
        span = best_span(one, window, max_answer)
        if window.id not in found or span.score > found[window.id].score:
            found[window.id] = span
    return found


@torch.inference_mode()
def answer(
    model: nn.Module, tokenizer: Any, question: str, context: str, max_length: int = 192
) -> Span:
    """The span of `context` that the model gives as the answer; the context may be of any length."""
    unknown = (Answer("?", -1),)  # no token holds character -1
    row = Question("test", "asked", "", context, question, unknown)
    task = QuestionAnswering(tokenizer)
    rows = QuestionWindows([row], tokenizer, max_length)
    inputs, windows = task.collate([rows[i] for i in range(len(rows))])
    device = next(model.parameters()).device
    outputs = task.forward(model.eval(), {k: v.to(device) for k, v in inputs.items()}).cpu()
    return spans(list(outputs), windows)["asked"]


# -- SQuAD's measures (https://arxiv.org/abs/1606.05250) ---------------------------------------


def normalise(text: str) -> str:
    """Lower case, without punctuation, without the articles a, an, the, with single spaces."""
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1.0 if the prediction is one of the answers, after `normalise`; else 0.0."""
    return float(any(normalise(prediction) == normalise(a) for a in answers))


def f1(prediction: str, answers: Sequence[str]) -> float:
    """Overlap of words: harmonic mean of precision and recall, the best over the answers."""
    return max(_f1(normalise(prediction).split(), normalise(a).split()) for a in answers)


def _f1(predicted: list[str], right: list[str]) -> float:
    if not predicted or not right:
        return float(predicted == right)
    common = sum((Counter(predicted) & Counter(right)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(right)
    return 2 * precision * recall / (precision + recall)
