"""What both tasks on texts are made of: three splits, and batches padded to their longest text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

__all__ = ["TextData", "pad"]


@dataclass
class TextData:
    """What `finetune` trains on: three splits, and the names of the classes (none for questions)."""

    train: Dataset
    val: Dataset
    test: Dataset
    classes: tuple[str, ...] = ()


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
