"""Questions of lesson 13, text. They need no package of the extra `text`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftcourse.exercises import Choice, Function, Value, Wrong
from ftcourse.exercises.tensors import compared

# -------------------------------------------------------------------------- 13.1 count_padding

LENGTHS = (4, 7, 18)  # tokens of the three texts in the lesson, [CLS] and [SEP] included

count_padding = Value(
    number="13.1",
    name="count_padding",
    reference=len(LENGTHS) * max(LENGTHS) - sum(LENGTHS),
    why="Each row is as long as the longest: 3 x 18 = 54 places, and only 29 of them hold a token.",
    hints=(
        "a batch is a rectangle. How long is each of its rows?",
        "the longest text has 18 tokens, so the others are filled up to 18: (18 - 4) + (18 - 7).",
    ),
    worked="guess = (18 - 4) + (18 - 7) + (18 - 18)",
    mistakes=(
        (29, Wrong("29 is the number of real tokens", "count the places that hold none.")),
        (54, Wrong("54 is the number of all places", "take the real tokens away.")),
        (14, Wrong("14 is the padding of the first text alone", "the second text is short, too.")),
        (11, Wrong("11 is the padding of the second text alone", "the first is shorter still.")),
        (
            3 * 512 - 29,
            Wrong("that fills up to 512", "a batch is only as long as its longest text."),
        ),
        (0, Wrong("without padding the rows have different lengths", "a tensor cannot have that.")),
    ),
)

# ------------------------------------------------------------------------------ 13.2 mean_pool


def _mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1)


def _judge_mean_pool(attempt: Callable) -> Wrong | None:
    torch.manual_seed(0)
    hidden, mask = torch.randn(3, 5, 4), torch.zeros(3, 5, dtype=torch.long)
    for row, length in enumerate((5, 3, 2)):
        mask[row, :length] = 1
    kept = hidden.clone()
    answer, weights = attempt(hidden, mask), mask.unsqueeze(-1).float()
    if not torch.equal(hidden, kept):
        return Wrong("it changes the hidden states that it was given", "work on a copy.")
    mistakes = {
        "padding is averaged in as well": (hidden.mean(1), "multiply by the mask before you sum."),
        "you divide by the length of the row": (
            (hidden * weights).mean(1), "divide by the number of real tokens: mask.sum(1).",
        ),
        "you take the sum": ((hidden * weights).sum(1), "a mean divides by the number of tokens."),
        "you take the first token": (hidden[:, 0], "average over all real tokens."),
        "the mask is the wrong way round": (
            (hidden * (1 - weights)).sum(1) / (1 - weights).sum(1).clamp(min=1),
            "the mask is 1 on real tokens.",
        ),
    }  # fmt: skip
    return compared(
        answer, _mean_pool(hidden, mask), mistakes,
        wanted="return the pooled tensor.",
        shape="average over the tokens, dimension 1 of (texts, tokens, features), without keepdim.",
        otherwise="the values are not the means over the real tokens",
    )  # fmt: skip


mean_pool = Function(
    number="13.2",
    name="mean_pool",
    reference=_mean_pool,
    why="Only real tokens are summed, and the sum is divided by how many there are.",
    hints=(
        "set the padding to zero with the mask, sum, and divide by what?",
        "m = mask.unsqueeze(-1); return (hidden * m).sum(1) / m.sum(1).",
    ),
    worked=(
        "def mean_pool(hidden, mask):\n"
        "    m = mask.unsqueeze(-1)\n"
        "    return (hidden * m).sum(1) / m.sum(1)"
    ),
    judge=_judge_mean_pool,
)

# -------------------------------------------------------------------------- 13.3 learning_rate

learning_rate = Choice(
    number="13.3",
    name="learning_rate",
    reference="c",
    why=(
        "Adam moves each weight by about lr in a step. The weights of the encoder are some 0.06 large: a few "
        "steps of 1e-2 overwrite what pre-training has found, and what is left is a guess."
    ),
    hints=(
        "Adam's step is about lr in size, whatever the gradient. How large are the encoder's weights?",
        "ten steps of 0.01 move a weight by up to 0.1, and the weights are some 0.06 large.",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "a higher rate is faster only while the weights stay useful",
            "compare the size of a step with the size of a weight.",
        ),
        "b": Wrong(
            "PyTorch knows no limit for a learning rate",
            "nothing raises an error here; look at what the steps do to the weights.",
        ),
        "c": None,
        "d": Wrong(
            'with train="all" every group is in the optimizer, with this rate',
            "which stage would leave the encoder alone?",
        ),
    },
)

# ------------------------------------------------------------------------------ 13.4 best_span


def _best_span(start: Any, end: Any, longest: int) -> tuple[int, int]:
    pairs = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return max(pairs, key=lambda p: float(start[p[0]]) + float(end[p[1]]))


_SPANS = (
    # start logits, end logits, longest, what the case is for
    ([0.0, 5.0, 0.0, 1.0], [0.0, 0.0, 4.0, 1.0], 3, "plain"),
    ([0.0, 1.0, 9.0, 3.0], [0.0, 9.0, 1.0, 2.0], 3, "order"),
    ([0.0, 0.0, 6.0], [1.0, 2.0, 6.0], 3, "single"),
    ([5.0, 6.0, 0.0, 0.0], [8.0, 0.0, 1.0, 0.0], 3, "greedy"),
    ([7.0, 0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0, 7.0], 3, "too long"),
    ([0.0, 7.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 7.0, 1.0], 3, "length"),
    ([-3.0, -1.0, -2.0], [-5.0, -4.0, -1.0], 3, "negative"),
)


def _judge_best_span(attempt: Callable) -> Wrong | None:
    for start, end, longest, case in _SPANS:
        answer = attempt(torch.tensor(start), torch.tensor(end), longest)
        if answer is None:
            return Wrong("your function returns nothing", "return the pair (i, j).")
        try:
            i, j = (int(x) for x in answer)
        except (TypeError, ValueError):
            return Wrong(f"it returns {answer!r}, not a pair (i, j)", "return two whole numbers.")
        if (i, j) == _best_span(start, end, longest):
            continue
        return _wrong_span(i, j, start, end, longest, case)
    return None


def _wrong_span(i: int, j: int, start: list, end: list, longest: int, case: str) -> Wrong:
    given = f"start {start}, end {end}, longest {longest}: it gives ({i}, {j})"
    if j < i:
        return Wrong(
            f"{given}, which ends before it begins",
            "the best start and the best end need not fit together: go through the pairs with j >= i.",
        )
    if j - i + 1 > longest:
        return Wrong(f"{given}, which is {j - i + 1} tokens long", "j is at most i + longest - 1.")
    if (i, j) == (start.index(max(start)), j) and case == "greedy":
        return Wrong(
            f"{given}; another pair has a higher sum",
            "do not fix the best start first: the sum over the pair decides.",
        )
    if case == "single":
        return Wrong(f"{given}", "an answer of one token has j == i.")
    if case == "length":
        return Wrong(
            f"{given}; another pair has a higher sum", "a span of `longest` tokens is allowed."
        )
    return Wrong(f"{given}; the pair with the highest sum is another")


best_span = Function(
    number="13.4",
    name="best_span",
    reference=_best_span,
    why="The pair with the highest sum, among those that end where or after they begin and are not too long.",
    hints=(
        "two loops, over i and over j. From where to where does j run?",
        "for each i, j from i to min(i + longest, len(end)) - 1; keep the pair with the highest sum.",
    ),
    worked=(
        "def best_span(start, end, longest):\n"
        "    pairs = [\n"
        "        (i, j)\n"
        "        for i in range(len(start))\n"
        "        for j in range(i, min(i + longest, len(end)))\n"
        "    ]\n"
        "    return max(pairs, key=lambda p: start[p[0]] + end[p[1]])"
    ),
    judge=_judge_best_span,
)

# ---------------------------------------------------------------------------- 13.5 f1_by_hand

f1_by_hand = Value(
    number="13.5",
    name="f1_by_hand",
    reference=1 / 3,
    why=(
        "Without the article, 'about third of its height' has 5 words and 'third' one. One word is common: "
        "precision 1/5, recall 1/1, and F1 = 2 x 1/5 x 1 / (1/5 + 1) = 1/3."
    ),
    hints=(
        "take the articles away first. How many words has each, and how many are common?",
        "precision 1/5, recall 1; F1 = 2 x precision x recall / (precision + recall).",
    ),
    worked="guess = 2 * (1 / 5) * 1 / (1 / 5 + 1)",
    mistakes=(
        (0.5, Wrong("0.5 counts the article as a word", "a, an and the are taken away first.")),
        (0.2, Wrong("0.2 is the precision", "F1 is the harmonic mean of precision and recall.")),
        (1.0, Wrong("1.0 is the recall", "F1 is the harmonic mean of precision and recall.")),
        (0.6, Wrong("0.6 is the plain mean of 1/5 and 1", "the harmonic mean is 2pr / (p + r).")),
        (0.0, Wrong("0 is the exact match", "F1 gives credit for the common word.")),
        (1 / 6, Wrong("1/6 forgets the factor 2", "2pr / (p + r).")),
    ),
)
