"""Questions of lesson 00, start_here: small ones, to learn how the checks talk."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ftcourse.exercises import Choice, Draw, Formula, Value, Wrong
from ftcourse.exercises.gives import number

# --------------------------------------------------------------------------------- 0.1 accuracy


def _accuracy(logits: Tensor, targets: Tensor) -> float:
    return (logits.argmax(dim=1) == targets).float().mean().item()


def _counted(logits: Tensor, targets: Tensor) -> float:
    """The same, photo by photo."""
    pairs = zip(logits.tolist(), targets.tolist(), strict=True)
    right = [max(range(len(row)), key=row.__getitem__) == target for row, target in pairs]
    return sum(right) / len(right)


def _scores(draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of several sizes, with fewer and with more classes than photos; all right and none right."""
    for photos, classes in ((4, 3), (7, 2), (30, 10), (1, 5), (4, 4)):
        logits = 3 * draw.normal(photos, classes) - 1
        best, other = logits.argmax(1), draw.integers(1, classes, photos)
        right = draw.whole(1, 6) if photos == 7 else draw.whole(0, photos)  # sevenths: not 0.43
        wrong = torch.arange(photos) >= right
        yield logits, (best + wrong * other) % classes
    yield logits, best
    yield logits, (best + 1) % classes


def _described(logits: Tensor, targets: Tensor) -> str:
    right = int((logits.argmax(1) == targets).sum())
    return f"for {len(targets)} photos of which {right} are right"


accuracy = Formula(
    number="0.1",
    name="accuracy",
    reference=_accuracy,
    why="The largest score of each row is the answer; the share of right ones is the accuracy.",
    hints=(
        "which class does each photo get? Look for the largest score in each row.",
        "argmax(dim=1) gives the class of each row; comparing with the targets gives True and False, and "
        "the accuracy is the share of True.",
    ),
    worked=(
        "def accuracy(logits, targets):\n"
        "    return (logits.argmax(dim=1) == targets).float().mean().item()"
    ),
    gives=number("a mean over the photos is missing: .float().mean()."),
    cases=_scores,
    second=_counted,
    describe=_described,
    mistakes=(
        (
            lambda z, t: (z.argmax(1) == t).sum(),
            Wrong("it counts the right answers", "divide by the number of photos."),
        ),
        (
            lambda z, t: 100 * _accuracy(z, t),
            Wrong("it is a percentage", "accuracy is a fraction here, from 0 to 1."),
        ),
        (
            lambda z, t: 1 - _accuracy(z, t),
            Wrong("it is the share of wrong answers", "compare with ==, and average."),
        ),
        (
            lambda z, t: (z.argmax(1) == t).sum() / z.numel(),
            Wrong("it divides by the number of scores", "divide by the number of photos."),
        ),
        (
            lambda z, t: round(_accuracy(z, t), 2),
            Wrong("it rounds", "leave the number as it is: rounding is for printing."),
        ),
        (
            lambda z, t: (z.argmin(1) == t).float().mean(),
            Wrong("it takes the smallest score", "the class is where the score is largest."),
        ),
        (
            lambda z, t: z.softmax(1).gather(1, t[:, None]).mean(),
            Wrong(
                "it averages the probability of the right class",
                "count whether the largest score is the right one: argmax, then ==.",
            ),
        ),
    ),
)

# ----------------------------------------------------------------------------------- 0.2 batches


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
