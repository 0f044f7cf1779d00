"""Questions of lesson 15, text. They need no package of the extra `text`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ftcourse.data.texts import LABELS, messages
from ftcourse.exercises import Choice, Draw, Formula, Function, Value, Wrong
from ftcourse.exercises.gives import Unfit, tensor, tuple_of, whole
from ftcourse.exercises.words import short

# -------------------------------------------------------------------------- 15.1 count_padding

LENGTHS = (4, 7, 18)  # tokens of the three texts in the lesson, [CLS] and [SEP] included

count_padding = Value(
    number="15.1",
    name="count_padding",
    reference=len(LENGTHS) * max(LENGTHS) - sum(LENGTHS),
    why="Each row is as long as the longest: 3 x 18 = 54 places, and only 29 of them hold a token.",
    hints=(
        "a batch is a rectangle. How long is each of its rows?",
        "each is filled up to the longest. How many places does that add to each of the others?",
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

# ------------------------------------------------------------------------------ 15.2 mean_pool


def _mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1)


def _row_by_row(hidden: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([h[m.bool()].mean(0) for h, m in zip(hidden, mask, strict=True)])


def _texts(draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Padding behind, before, and none; one text alone; large values where the padding is."""
    for lengths, features, side in (
        ((5, 3, 2), 4, "right"), ((4, 1), 6, "left"), ((3,), 2, "right"), ((2, 6, 6, 1), 3, "right"),
        ((draw.whole(1, 7), 8), 5, "right"),
    ):  # fmt: skip
        longest = max(lengths)
        mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
        mask = mask.flip(1) if side == "left" else mask
        hidden = draw.normal(len(lengths), longest, features)
        yield torch.where(mask[..., None] == 1, hidden, 9 * hidden + 3), mask


def _masked(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden * mask[..., None]


mean_pool = Formula(
    number="15.2",
    name="mean_pool",
    reference=_mean_pool,
    why="Only real tokens are summed, and the sum is divided by how many there are.",
    hints=(
        "set the padding to zero with the mask, sum, and divide by what?",
        "the mask needs one dimension more, at its end, to be multiplied with the hidden states; and its "
        "own sum is the count.",
    ),
    worked=(
        "def mean_pool(hidden, mask):\n"
        "    m = mask.unsqueeze(-1)\n"
        "    return (hidden * m).sum(1) / m.sum(1)"
    ),
    gives=tensor(hint="return the pooled tensor."),
    cases=_texts,
    second=_row_by_row,
    describe=lambda hidden, mask: (
        f"for texts of {', '.join(map(str, mask.sum(1).tolist()))} real tokens and "
        f"{hidden.shape[2]} features"
    ),
    mistakes=(
        (
            lambda hidden, mask: hidden.mean(1),
            Wrong("padding is averaged in as well", "multiply by the mask before you sum."),
        ),
        (
            lambda hidden, mask: _masked(hidden, mask).mean(1),
            Wrong(
                "you divide by the length of the row",
                "divide by the number of real tokens: mask.sum(1).",
            ),
        ),
        (
            lambda hidden, mask: hidden.sum(1) / mask.sum(1, keepdim=True),
            Wrong("padding is in the sum", "multiply by the mask before you sum."),
        ),
        (
            lambda hidden, mask: _masked(hidden, mask).sum(1),
            Wrong("you take the sum", "a mean divides by the number of tokens."),
        ),
        (
            lambda hidden, mask: _masked(hidden, mask).sum(1) / mask.sum(),
            Wrong("you divide by the tokens of all texts", "each text has a number of its own."),
        ),
        (
            lambda hidden, mask: hidden[:, 0],
            Wrong("you take the first token", "average over all real tokens."),
        ),
        (
            lambda hidden, mask: _masked(hidden, mask).max(1).values,
            Wrong("you take the largest values", "average over all real tokens."),
        ),
        (
            lambda hidden, mask: (
                _masked(hidden, 1 - mask).sum(1) / (1 - mask).sum(1, keepdim=True).clamp(min=1)
            ),
            Wrong("the mask is the wrong way round", "the mask is 1 on real tokens."),
        ),
        (
            lambda hidden, mask: _mean_pool(hidden, mask)[:, None],
            Wrong(
                "it keeps a dimension of one",
                "average over the tokens, dimension 1 of (texts, tokens, features), without keepdim.",
            ),
        ),
        (
            lambda hidden, mask: hidden.mean(2),
            Wrong("it averages over the features", "over the tokens, dimension 1."),
        ),
    ),
)

# -------------------------------------------------------------------------- 15.3 learning_rate

learning_rate = Choice(
    number="15.3",
    name="learning_rate",
    reference="c",
    why=(
        "Adam moves each weight by about lr in a step. The weights of the encoder are some 0.06 large: a few "
        "steps of 1e-2 overwrite what pre-training has found, and what is left is a guess."
    ),
    hints=(
        "Adam's step is about lr in size, whatever the gradient. How large are the encoder's weights?",
        "multiply the size of a step by ten steps, and lay it beside the size of a weight.",
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

# ------------------------------------------------------------------------------ 15.4 best_span


def _best_span(start: Tensor, end: Tensor, longest: int) -> tuple[int, int]:
    pairs = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return max(pairs, key=lambda p: float(start[p[0]]) + float(end[p[1]]))


def _by_table(
    start: Tensor, end: Tensor, longest: int, shortest: int = 1, ordered: bool = True
) -> tuple[int, int]:
    """The same by a table of all sums, of which some are not allowed."""
    sums = start[:, None] + end[None, :]
    allowed = torch.ones_like(sums).tril(longest - 1)
    allowed = allowed.triu(shortest - 1) if ordered else allowed
    i, j = divmod(int(sums.masked_fill(allowed == 0, -torch.inf).argmax()), len(end))
    return i, j


def _logits(draw: Draw) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Best pairs of one token and of `longest`, in and out of order, too long; all below zero."""
    for start, end, longest in (
        ([0.0, 5.0, 0.5, 1.0], [0.0, 0.2, 4.0, 1.0], 3),
        ([0.0, 1.0, 9.0, 3.0], [0.0, 9.0, 1.0, 2.0], 3),
        ([0.0, 0.1, 6.0], [1.0, 2.0, 6.0], 3),
        ([5.0, 6.0, 0.0, 0.1], [8.0, 0.0, 1.0, 0.1], 3),
        ([7.0, 0.1, 0.2, 5.0, 0.0], [0.1, 0.0, 0.2, 0.3, 7.0], 3),
        ([0.0, 7.0, 0.1, 0.2, 0.3], [0.0, 0.1, 0.2, 7.0, 1.0], 3),
        ([-3.0, -1.0, -2.0], [-5.0, -4.0, -1.0], 3),
        ([0.3, 0.1, 4.0, 0.2], [0.1, 3.0, 0.2, 5.0], 1),
    ):
        yield torch.tensor(start), torch.tensor(end), longest
    for length in (1, 4, 9, 9, 12):
        yield 3 * draw.normal(length) - 2, 3 * draw.normal(length) - 2, draw.whole(1, length + 3)


def _greedy(start: Tensor, end: Tensor, longest: int) -> tuple[int, int]:
    i = int(start.argmax())
    return i, i + int(end[i : i + longest].argmax())


def _greedy_end(start: Tensor, end: Tensor, longest: int) -> tuple[int, int]:
    j = int(end.argmax())
    first = max(0, j - longest + 1)
    return first + int(start[first : j + 1].argmax()), j


def _behind(f: Callable) -> Callable:
    """With the place behind the last token, as slices have it."""

    def shifted(start: Tensor, end: Tensor, longest: int) -> tuple[int, int]:
        i, j = f(start, end, longest)
        return i, j + 1

    return shifted


_SUM = "do not fix one of the two first: the sum over the pair decides."

best_span = Formula(
    number="15.4",
    name="best_span",
    reference=_best_span,
    why="The pair with the highest sum, among those that end where or after they begin and are not too long.",
    hints=(
        "two loops, over i and over j. From where to where does j run?",
        "a span of one token has j == i; the longest one that is allowed ends `longest` - 1 places later, and "
        "none ends behind the text.",
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
    gives=tuple_of(whole(), whole(), hint="return the pair (i, j), two whole numbers."),
    cases=_logits,
    second=_by_table,
    describe=lambda start, end, longest: (
        f"for start {[round(v, 1) for v in start.tolist()]}, end {[round(v, 1) for v in end.tolist()]}, "
        f"longest {longest}"
    ),
    mistakes=(
        (
            lambda start, end, longest: (start.argmax(), end.argmax()),
            Wrong(
                "it takes the best start and the best end, each for itself",
                "the two need not fit together: go through the pairs with j >= i.",
            ),
        ),
        (
            lambda start, end, longest: _by_table(start, end, longest, ordered=False),
            Wrong("some spans end before they begin", "go through the pairs with j >= i."),
        ),
        (_greedy, Wrong("it fixes the best start first", _SUM)),
        (_greedy_end, Wrong("it fixes the best end first", _SUM)),
        (
            lambda start, end, longest: _by_table(start, end, len(end)),
            Wrong("some spans are too long", "j is at most i + longest - 1."),
        ),
        (
            lambda start, end, longest: _by_table(start, end, longest + 1),
            Wrong("some spans are one token too long", "j is at most i + longest - 1."),
        ),
        (
            lambda start, end, longest: _by_table(start, end, max(longest - 1, 1)),
            Wrong(
                "spans of the full length are left out", "a span of `longest` tokens is allowed."
            ),
        ),
        (
            lambda start, end, longest: _by_table(start, end, longest, shortest=2),
            Wrong("spans of one token are left out", "an answer of one token has j == i."),
        ),
        (
            _behind(_best_span),
            Wrong("j is the place behind the last token", "j is the last token."),
        ),
        (
            lambda start, end, longest: _best_span(start, end, longest)[::-1],
            Wrong("end and start are exchanged", "(i, j): the first token, then the last."),
        ),
        (
            lambda start, end, longest: _best_span(start.softmax(0), end.softmax(0), longest),
            Wrong("it adds probabilities", "the logits are added: start[i] + end[j]."),
        ),
    ),
)

# ---------------------------------------------------------------------------- 15.5 f1_by_hand

f1_by_hand = Value(
    number="15.5",
    name="f1_by_hand",
    reference=1 / 3,
    why=(
        "Without the article, 'about third of its height' has 5 words and 'third' one. One word is common: "
        "precision 1/5, recall 1/1, and F1 = 2 x 1/5 x 1 / (1/5 + 1) = 1/3."
    ),
    hints=(
        "take the articles away first. How many words has each, and how many are common?",
        "precision is of the words given, recall of the words wanted; F1 is their harmonic mean.",
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

# -------------------------------------------------------------------------------- 15.6 by_rule

ENOUGH, OF_EACH = 54, 10  # of the 90 validation messages, and of the 30 with each label

_ASKS = ("is", "can", "how", "do", "are", "what", "where", "when", "could", "does", "would")
_LIKES = ("lov", "thank", "great", "best", "perfect", "never", "every", "even", "laugh", "worth")


def _by_rule(text: str) -> str:
    text = text.lower()
    if text.endswith("?") or text.startswith(_ASKS):
        return "question"
    return "praise" if any(word in text for word in _LIKES) else "problem"


def _a_label(value: Any) -> str:
    found = value.strip().lower() if isinstance(value, str) else value
    if found is None:
        raise Unfit(
            "your function returns nothing for some messages",
            "end it with a return for all others.",
        )
    if not isinstance(found, str) or found not in LABELS:
        raise Unfit(f"it returns {short(value)}", f"return one of {', '.join(map(repr, LABELS))}.")
    return found


def _judge_by_rule(attempt: Callable) -> Wrong | None:
    """Counts validation messages; shows a training message of the label that has the most mistakes."""
    of_each = Counter(m.label for m in messages("val") if attempt(m.text) == m.label)
    right, least = of_each.total(), min(LABELS, key=lambda label: of_each[label])
    if right >= ENOUGH and of_each[least] >= OF_EACH:
        return None
    seen = f"{right} of 90 validation messages are right, {ENOUGH} are asked for"
    if right >= ENOUGH:
        seen = f"{right} of 90 are right, but of the 30 with {least} only {of_each[least]}"
    missed = [(m, said) for m in messages("train") if (said := attempt(m.text)) != m.label]
    if not missed:
        return Wrong(seen, "all training messages are right: learnt by heart? Look for words.")
    most = Counter(m.label for m, _ in missed).most_common(1)[0][0]
    message, said = min(
        ((m, said) for m, said in missed if m.label == most), key=lambda pair: len(pair[0].text)
    )
    return Wrong(
        seen, f'most mistakes are with {most}. For "{message.text}" (training) you say {said}.'
    )


by_rule = Function(
    number="15.6",
    name="by_rule",
    reference=_by_rule,
    why="So far rules get. The label is what the writer wants, and that is not always in one word.",
    hints=(
        "what do questions begin with, even without a question mark? Which words do happy writers use?",
        "three steps: questions by their mark or first word, happy ones by a list of words that any of them may "
        "be in, and everything else is the third label.",
    ),
    worked=(
        "def by_rule(text):\n"
        "    text = text.lower()\n"
        '    asks = "is can how do are what where when could does would".split()\n'
        '    likes = "lov thank great best perfect never every even laugh worth".split()\n'
        '    if text.endswith("?") or text.startswith(tuple(asks)):\n'
        '        return "question"\n'
        '    return "praise" if any(word in text for word in likes) else "problem"'
    ),
    gives=_a_label,
    judge=_judge_by_rule,
)
