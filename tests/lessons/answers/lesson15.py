"""Answers to the questions of lesson 15."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import torch

from ftcourse.data.texts import messages

NAMES = {"torch": torch}

# ----------------------------------------------------------------------------------------- 15.2


def by_row(hidden, mask):
    return torch.stack([h[m.bool()].mean(0) for h, m in zip(hidden, mask, strict=True)])


def by_einsum(hidden, mask):
    return torch.einsum("ntf,nt->nf", hidden, mask.float()) / mask.sum(1, keepdim=True)


def by_nanmean(hidden, mask):
    return hidden.masked_fill(~mask.bool()[..., None], torch.nan).nanmean(1)


def by_weights(hidden, mask):
    weights = mask / mask.sum(1, keepdim=True)
    return (weights.unsqueeze(1) @ hidden).squeeze(1)


def in_numpy(hidden, mask):
    h, m = hidden.numpy(), mask.numpy()[..., None]
    return (h * m).sum(axis=1) / m.sum(axis=1)


def as_sentence_transformers_do(hidden, mask):
    wide = mask.unsqueeze(-1).expand(hidden.size()).float()
    return torch.sum(hidden * wide, 1) / torch.clamp(wide.sum(1), min=1e-9)


def in_place(hidden, mask):
    hidden *= mask[..., None]
    return hidden.sum(1) / mask.sum(1, keepdim=True)


def of_the_reals(hidden, mask):
    """All real tokens of the batch in one mean."""
    return hidden[mask.bool()].mean(0).expand(len(hidden), -1)


def first_tokens(hidden, mask):
    """Right where the padding is behind."""
    return torch.stack([h[: int(m.sum())].mean(0) for h, m in zip(hidden, mask, strict=True)])


# ----------------------------------------------------------------------------------------- 15.4


def by_table(start, end, longest):
    sums = start[:, None] + end[None, :]
    allowed = torch.ones_like(sums).triu().tril(longest - 1).bool()
    return divmod(int(sums.masked_fill(~allowed, -torch.inf).argmax()), len(end))


def by_loops(start, end, longest):
    best, found = -float("inf"), None
    for j in range(len(end)):
        for i in range(max(0, j - longest + 1), j + 1):
            if start[i] + end[j] > best:
                best, found = start[i] + end[j], [i, j]
    return found


def as_tensors(start, end, longest):
    return torch.tensor(by_loops(start, end, longest))


def span_in_numpy(start, end, longest):
    return np.array(by_loops(start.numpy(), end.numpy(), longest))


def sorted_pairs(start, end, longest):
    pairs = [(float(s + e), i, j) for i, s in enumerate(start) for j, e in enumerate(end)]
    return next((i, j) for _, i, j in sorted(pairs, reverse=True) if 0 <= j - i < longest)


def by_length(start, end, longest):
    best = None
    for length in range(1, min(longest, len(start)) + 1):
        sums = start[: len(start) - length + 1] + end[length - 1 :]
        value, i = sums.max(0)
        if best is None or value > best[0]:
            best = value, i, i + length - 1
    return best[1:]


def each_alone(start, end, longest):
    return start.argmax(), end.argmax()


def start_first(start, end, longest):
    i = int(start.argmax())
    return i, i + int(end[i : i + longest].argmax())


def end_first(start, end, longest):
    j = int(end.argmax())
    first = max(0, j - longest + 1)
    return first + int(start[first : j + 1].argmax()), j


def any_order(start, end, longest):
    sums = (start[:, None] + end[None, :]).masked_fill(
        torch.ones(len(start), len(end)).tril(longest - 1) == 0, -torch.inf
    )
    return divmod(int(sums.argmax()), len(end))


def no_single_token(start, end, longest):
    sums = start[:, None] + end[None, :]
    allowed = torch.ones_like(sums).triu(1).tril(longest - 1).bool()
    return divmod(int(sums.masked_fill(~allowed, -torch.inf).argmax()), len(end))


def behind(start, end, longest):
    i, j = by_table(start, end, longest)
    return i, j + 1


def from_zero(start, end, longest):
    """A best sum that begins at 0 finds nothing where all are below."""
    best, found = 0.0, (0, 0)
    for i in range(len(start)):
        for j in range(i, min(i + longest, len(end))):
            if start[i] + end[j] > best:
                best, found = start[i] + end[j], (i, j)
    return found


def runs_over(start, end, longest):
    pairs = [(i, j) for i in range(len(start)) for j in range(i, i + longest)]
    return max(pairs, key=lambda p: start[p[0]] + end[p[1]])


def spoils_end(start, end, longest):
    found = by_table(start, end, longest)
    end.fill_(0)
    return found


# ----------------------------------------------------------------------------------------- 15.6

ASKS = ("is", "can", "how", "do", "are", "what", "where", "when", "could", "does", "would", "which")
LIKES = (
    "lov",
    "thank",
    "great",
    "best",
    "perfect",
    "never",
    "every",
    "even",
    "laugh",
    "worth",
    "!",
)


def a_question(text):
    return text.strip().endswith("?") or text.lower().startswith(ASKS)


def in_three_steps(text):
    if a_question(text):
        return "question"
    if any(word in text.lower() for word in LIKES):
        return "praise"
    return "problem"


def by_regex(text):
    if re.match(rf"\s*({'|'.join(ASKS)})|.*\?\s*$", text, re.I | re.S):
        return "question"
    return "praise" if re.search("|".join(LIKES), text, re.I) else "problem"


def by_points(text):
    low = text.lower()
    points = {
        "question": 3 * a_question(text),
        "praise": sum(word in low for word in LIKES),
        "problem": 0.5,
    }
    return max(points, key=points.get)


def more_words(text):
    if a_question(text):
        return " Question"
    liked = (*LIKES, "small", "new", "clever", "better", "bit")
    return ("problem", "Praise")[any(word in text.lower() for word in liked)]


def by_rule_table(text):
    for label, said in (("question", a_question(text)), ("praise", any(w in text for w in LIKES))):
        if said:
            return label
    return "problem"


class Rules:
    def __call__(self, text):
        return in_three_steps(text)


def only_marks(text):
    return "question" if "?" in text else "problem"


def never_a_problem(text):
    return "question" if a_question(text) else "praise"


def forgets_the_rest(text):
    if a_question(text):
        return "question"
    if any(word in text.lower() for word in LIKES):
        return "praise"


def by_heart(text):
    return {m.text: m.label for m in messages("train")}.get(text, "praise")


RIGHT = {
    "count_padding": [25, 25.0, torch.tensor(25), 3 * 18 - 29, "25", np.int32(25), [25]],
    "mean_pool": [
        by_row,
        by_einsum,
        by_nanmean,
        by_weights,
        in_numpy,
        as_sentence_transformers_do,
    ],
    "learning_rate": ["c", "C", ["c"], {"c"}, "(c)", " c "],
    "best_span": [by_table, by_loops, as_tensors, span_in_numpy, sorted_pairs, by_length],
    "by_rule": [in_three_steps, by_regex, by_points, more_words, by_rule_table, Rules()],
    "f1_by_hand": [1 / 3, 0.333333, torch.tensor(1 / 3), 0.33, "1/3", Fraction(1, 3), "33 %"],
}

WRONG = {
    "by_rule": [
        (only_marks, "44 of 90 validation messages"),
        (never_a_problem, "of the 30 with problem only 0"),
        (forgets_the_rest, "for all others"),
        (by_heart, "learnt by heart"),
        (lambda text: "question", "30 of 90 validation messages"),
        (lambda text: None, "returns nothing"),
        (lambda text: "complaint", "return one of"),
        (lambda text: 0, "return one of"),
        (lambda text: ["praise"], "return one of"),
        (lambda text: text.index("?"), "ValueError"),
        (lambda text: "praise" if "!" in text else "problem", "most mistakes are with"),
        (lambda text: {"praise": 1}, "return one of"),
    ],
    "count_padding": [
        (29, "hold none"),
        (54, "real tokens away"),
        (14, "second text is short"),
        (11, "first is shorter"),
        (1507, "as its longest"),
        ("1,507", "as its longest"),
        (0, "cannot have that"),
        (7, "rectangle"),
        (25.5, "rectangle"),
        (-25, "rectangle"),
        ("a lot", "write one number"),
        ((14, 11, 0), "write one number"),
    ],
    "mean_pool": [
        (lambda hidden, mask: hidden.mean(1), "before you sum"),
        (lambda hidden, mask: (hidden * mask[..., None]).mean(1), "number of real tokens"),
        (lambda hidden, mask: hidden.sum(1) / mask.sum(1, keepdim=True), "padding is in the sum"),
        (lambda hidden, mask: (hidden * mask[..., None]).sum(1), "divides by the number"),
        (lambda hidden, mask: (hidden * mask[..., None]).sum(1) / mask.sum(), "of its own"),
        (lambda hidden, mask: hidden[:, 0], "all real tokens"),
        (lambda hidden, mask: (hidden * mask[..., None]).max(1).values, "largest values"),
        (lambda hidden, mask: by_einsum(hidden, 1 - mask), "for texts of"),
        (lambda hidden, mask: hidden.mean(2), "dimension 1"),
        (lambda hidden, mask: by_row(hidden, mask)[:, None], "keepdim"),
        (first_tokens, "for texts of"),
        (of_the_reals, "for texts of"),
        (lambda hidden, mask: None, "returns nothing"),
        (in_place, "it changes hidden"),
        (lambda hidden, mask: hidden * mask, "with the mask, sum"),
    ],
    "learning_rate": [
        ("a", "size of a step"),
        ("b", "nothing raises"),
        ("d", "which stage"),
        ("x", "letter"),
        ("a, c", "size of a step"),
        ("c and d", "which stage"),
        ("abcd", "size of a step"),
        (1e-2, "letter"),
        ("an error", "letter"),
        ([], "letter"),
    ],
    "best_span": [
        (each_alone, "need not fit together"),
        (any_order, "with j >= i"),
        (start_first, "best start first"),
        (end_first, "best end first"),
        (lambda start, end, longest: by_table(start, end, len(end)), "i + longest - 1"),
        (lambda start, end, longest: by_table(start, end, longest + 1), "one token too long"),
        (
            lambda start, end, longest: by_table(start, end, max(longest - 1, 1)),
            "`longest` tokens is allowed",
        ),
        (no_single_token, "j == i"),
        (behind, "j is the last token"),
        (lambda start, end, longest: by_table(start, end, longest)[::-1], "are exchanged"),
        (
            lambda start, end, longest: by_table(start.softmax(0), end.softmax(0), longest),
            "logits are added",
        ),
        (from_zero, "two loops"),
        (runs_over, "IndexError"),
        (spoils_end, "it changes end"),
        (lambda start, end, longest: None, "returns nothing"),
        (lambda start, end, longest: 3, "two whole numbers"),
        (lambda start, end, longest: (0.5, 1), "whole number"),
        (lambda start, end, longest: (0, 1, 2), "two whole numbers"),
    ],
    "f1_by_hand": [
        (0.5, "are taken away first"),
        (0.2, "harmonic mean"),
        ("1/5", "harmonic mean"),
        (1.0, "harmonic mean"),
        (0.6, "2pr"),
        (0.0, "common word"),
        (1 / 6, "2pr"),
        (0.9, "articles"),
        (0.34, "articles"),
        (33, "articles"),
        ("a third", "write one number"),
        ((1, 3), "write one number"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {}
