"""Questions of lesson 99, my_topic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import nn

from ftcourse.exercises import Choice, Draw, Formula, Wrong
from ftcourse.exercises.gives import number

# ----------------------------------------------------------------------------- 99.1 trained_share


def _trained_share(model: nn.Module) -> float:
    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return moving / sum(p.numel() for p in model.parameters())


def _by_size(model: nn.Module) -> float:
    """The same from the layers' shapes."""
    total = moving = 0
    for layer in model:
        own = layer.in_features * layer.out_features
        total += own + layer.out_features
        moving += own * layer.weight.requires_grad + layer.out_features * layer.bias.requires_grad
    return moving / total


def _networks(draw: Draw) -> Iterator[tuple[nn.Module]]:
    """Networks of one to three layers: all of it moves, none, the last layer, the biases alone."""
    for depth in (1, 2, 3):
        sizes = [draw.whole(1, 9) for _ in range(depth + 1)]
        for moves in ("all", "none", "last", "biases"):
            layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
            model = nn.Sequential(*layers).requires_grad_(moves == "all")
            for layer in layers:
                layer.bias.requires_grad_(moves in ("all", "biases"))
            if moves == "last":
                layers[-1].requires_grad_(True)
            yield (model,)


def _described(model: nn.Module) -> str:
    weights = [p.numel() for p in model.parameters() if p.requires_grad]
    total = sum(p.numel() for p in model.parameters())
    return f"for a network of {total} weights of which {sum(weights)} may move"


trained_share = Formula(
    number="99.1",
    name="trained_share",
    reference=_trained_share,
    why="«Why the right answer is right»: weights are counted, not tensors.",
    hints=(
        "«where to look»: which tensors of the model may move, and how large is each?",
        "«how to go on»: a tensor's numel() is how many weights it has. Two sums are needed.",
    ),
    worked=(
        "def trained_share(model):\n"
        "    moving = sum(p.numel() for p in model.parameters() if p.requires_grad)\n"
        "    return moving / sum(p.numel() for p in model.parameters())"
    ),
    gives=number("one number for the whole model: add the layers up."),
    cases=_networks,
    second=_by_size,
    describe=_described,
    mistakes=(
        (
            lambda m: sum(p.requires_grad for p in m.parameters()) / len(list(m.parameters())),
            Wrong("it counts tensors", "count the weights in each: p.numel(), not one for each p."),
        ),
        (
            lambda m: sum(p.numel() for p in m.parameters() if p.requires_grad),
            Wrong("it counts the weights that move", "divide by the number of all weights."),
        ),
        (
            lambda m: 1 - _trained_share(m),
            Wrong("this is the share that is frozen", "requires_grad is True for what may move."),
        ),
    ),
)

# ------------------------------------------------------------------------------ 99.2 what_shrinks

what_shrinks = Choice(
    number="99.2",
    name="what_shrinks",
    reference="b",
    why="A frozen weight has no gradient, and the optimizer keeps nothing for it.",
    hints=(
        "which of the three exist for a weight only while it trains?",
        "AdamW keeps a gradient and two running means for each weight that may move.",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong("a frozen weight is still there", "what is kept beside a weight that trains?"),
        "b": None,
        "c": Wrong("the photos stay as many", "what is kept beside a weight that trains?"),
    },
)
