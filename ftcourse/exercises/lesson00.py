"""Questions of lesson 00, start_here: small ones, to learn how the checks talk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftcourse.exercises import Choice, Function, Value, Wrong

# --------------------------------------------------------------------------------- 0.1 accuracy


def _accuracy(logits: Tensor, targets: Tensor) -> float:
    return (logits.argmax(dim=1) == targets).float().mean().item()


def _judge_accuracy(attempt: Callable) -> Wrong | None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.1, 0.2, 0.3], [-1.0, -2.0, -3.0], [0.0, 5.0, 1.0]])
    targets = torch.tensor([0, 2, 1, 1])
    answer = attempt(logits.clone(), targets.clone())
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    value = torch.as_tensor(answer).float()
    if value.numel() != 1:
        return Wrong(
            f"it returns {value.numel()} numbers, expected one",
            "a mean over the photos is missing: .float().mean().",
        )
    return _explain_accuracy(value.item())


def _explain_accuracy(value: float) -> Wrong | None:
    if abs(value - 0.75) < 1e-4:
        return None
    if abs(value - 3) < 1e-4:
        return Wrong("it counts 3 right answers of 4", "divide by the number of photos.")
    if abs(value - 75) < 1e-2:
        return Wrong("75 is a percentage", "accuracy is a fraction here, from 0 to 1.")
    if abs(value - 0.25) < 1e-4:
        return Wrong("0.25 is the share of wrong answers", "compare with ==, and average.")
    return Wrong(f"for 4 photos of which 3 are right it returns {value:.2f}, expected 0.75")


accuracy = Function(
    number="0.1",
    name="accuracy",
    reference=_accuracy,
    why="The largest score of each row is the answer; the share of right ones is the accuracy.",
    hints=(
        "which class does each photo get? Look for the largest score in each row.",
        "logits.argmax(dim=1) == targets gives True and False; .float().mean() averages them.",
    ),
    worked=(
        "def accuracy(logits, targets):\n"
        "    return (logits.argmax(dim=1) == targets).float().mean().item()"
    ),
    judge=_judge_accuracy,
)

# ----------------------------------------------------------------------------------- 0.2 batches


def _whole(a: Any, b: Any) -> bool:
    return bool(float(a) == b)


batches = Value(
    number="0.2",
    name="batches",
    reference=4,
    why="100 / 32 = 3.125: three full batches, and one with the last 4 photos.",
    hints=(
        "three batches hold 96 photos. What becomes of the rest?",
        "by default a DataLoader gives the last, smaller batch as well.",
    ),
    worked="guess = 4   # 32 + 32 + 32 + 4",
    same=_whole,
    mistakes=(
        (3, Wrong("3 batches hold 96 photos", "the last 4 photos come in a batch of their own.")),
        (3.125, Wrong("there are no parts of batches", "the last batch is smaller, and counts.")),
        (32, Wrong("32 is the size of a batch", "how many of them does it take?")),
        (100, Wrong("100 is the number of photos", "they come 32 at a time.")),
    ),
)

# ------------------------------------------------------------------------------- 0.3 which_split

which_split = Choice(
    number="0.3",
    name="which_split",
    reference="b",
    why="Choices are made on the validation split. The test split is for one honest number at the "
    "end; each look that leads to a choice makes it less honest.",
    hints=(
        "which split was neither trained on nor promised to the final report?",
        "train to learn, validation to choose, test to report once.",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "on photos that it was trained on, a network looks better than it is",
            "it may have learnt these by heart. Which split has it not seen?",
        ),
        "b": None,
        "c": Wrong(
            "the winner on the test split is partly the luckiest on it",
            "keep the test split for one honest number at the end.",
        ),
        "d": Wrong(
            "the sum is dominated by the photos it was trained on",
            "choose on photos that it was not trained on.",
        ),
    },
)
