"""Questions of lesson 00, start_here: small ones, to learn how the checks talk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ftcourse.exercises import Choice, Draw, Exercise, Formula, Value, Wrong
from ftcourse.exercises.gives import number
from ftcourse.exercises.words import article
from ftcourse.exercises.written import untouched
from ftcourse.training.history import History

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

# ------------------------------------------------------------------------------------ 0.4 better

ENOUGH = 0.9  # of the validation photos, in the best epoch; 36 of 40

_SAME_FORM = "keep the form of the line: history = train(epochs=..., lr=...)."


def _reached() -> History:
    """A run that does it, as the lesson's `train(epochs=6, lr=1e-3)` gave it, to four digits."""
    columns = {
        "train_loss": (0.6608, 0.5954, 0.5438, 0.5093, 0.4908, 0.4845),
        "train_accuracy": (0.65, 0.7583, 0.8167, 0.85, 0.8833, 0.8833),
        "val_loss": (0.6007, 0.5525, 0.5202, 0.5008, 0.493, 0.4917),
        "val_accuracy": (0.85, 0.875, 0.925, 0.95, 0.95, 0.95),
    }
    given = {
        "train": "head",
        "seconds": 0.5,
    }  # what `print(history)` shows beside them; about so long
    rows = [{"epoch": i + 1} | {k: v[i] for k, v in columns.items()} | given for i in range(6)]
    return History(rows, best=rows[-1])


@dataclass
class Better(Exercise):
    """A training run, judged by the validation accuracy of its best epoch."""

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if not isinstance(attempt, History):
            return Wrong(f"{article(type(attempt).__name__)} is no record of a run", _SAME_FORM)
        shares = [row.get("val_accuracy", 0.0) for row in attempt.epochs]
        if not shares:
            return Wrong("the run has no epoch", "epochs=1 is the shortest run.")
        if max(shares) >= ENOUGH:
            return True
        return Wrong(
            f"{100 * max(shares):.0f} % of the validation photos are right in its best epoch; 90 % are asked for",
            self._cause([row.get("train_loss", math.nan) for row in attempt.epochs]),
        )

    def _cause(self, losses: list[float]) -> str:
        """What the losses of training say about the two numbers."""
        if not all(math.isfinite(loss) and loss < 2 * math.log(2) for loss in losses[-2:]):
            return (
                "the training loss is larger than that of guessing, 0.69: the steps are too long."
            )
        if losses[-1] > 0.6:
            return f"the training loss is still {losses[-1]:.2f}, and guessing has 0.69: longer steps, or more."
        return "it learns. Give it more epochs, or steps a little longer."

    def _a_reference(self) -> Any:
        return self.reference

    def _handed_out(self, attempt: Any) -> bool:
        return attempt is self.reference

    def _right(self, attempt: Any) -> Any:
        return attempt


better = Better(
    number="0.4",
    name="better",
    reference=_reached(),
    why="More passes, or longer steps (not too long), and the new layer has learnt what there is to learn from "
    "these features. One more right photo is 2.5 % here, so do not read much into the last of them.",
    hints=(
        "the training loss tells: does it still fall when training ends? Then it was not done.",
        "twice the epochs, or ten times the learning rate, and look again.",
    ),
    worked="history = train(epochs=6, lr=1e-3)",
)
