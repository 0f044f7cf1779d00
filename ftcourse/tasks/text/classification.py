"""One label a text: an encoder, the mean over its tokens, and a new linear head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ftcourse.data.texts import LABELS, messages
from ftcourse.tasks.task import Classification
from ftcourse.tasks.text.batches import TextData, pad
from ftcourse.tasks.text.encoder import describe

__all__ = [
    "TextClassification",
    "TextClassifier",
    "Texts",
    "classify",
    "load_messages",
    "mean_pool",
]


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
        describe(self, encoder)

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
