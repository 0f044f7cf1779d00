"""Questions of lesson 09, how much compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ftcourse.exercises import Choice, Function, Value, Wrong

# ------------------------------------------------------------------------------- 9.1 conv_flops


def _conv_flops(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    return 2 * in_channels * kernel * kernel * out_channels * height * width


def _number(answer: Any) -> float | None:
    try:
        return float(answer)
    except (TypeError, ValueError):
        return None


def _judge_conv_flops(attempt: Callable) -> Wrong | None:
    for case in ((3, 64, 7, 64, 64), (64, 128, 3, 16, 16), (5, 7, 1, 3, 11)):
        right, got = _conv_flops(*case), _number(attempt(*case))
        if got is None:
            return Wrong("it does not return a number", "return the count of FLOPs.")
        if got != right:
            return _wrong_flops(got, right, case)
    return None


def _wrong_flops(got: float, right: int, case: tuple[int, ...]) -> Wrong:
    in_channels, out_channels, kernel, height, width = case
    seen = f"for {in_channels} -> {out_channels} channels, a {kernel} x {kernel} kernel and an "
    seen += f"output of {height} x {width} it gives {got:,.0f} and not {right:,}"
    typical = (
        (right / 2, "each product is also added: a multiplication and an addition, 2 FLOPs."),
        (right / kernel, "the kernel has k x k places."),
        (right / kernel**2, "the kernel has k x k places."),
        (right / in_channels, "each output number looks at all input channels."),
        (right / out_channels, "there is one such sum for each output channel."),
        (right / (height * width), "the kernel is applied at each place of the output."),
        (right + out_channels * height * width, "ResNet's convolutions have no bias."),
        (
            2 * in_channels * kernel**2 * out_channels,
            "that is one place of the output; there are height x width.",
        ),
    )
    for value, hint in typical:
        if abs(got - value) < 1e-6 * value:
            return Wrong(seen, hint)
    return Wrong(seen)


conv_flops = Function(
    number="9.1",
    name="conv_flops",
    reference=_conv_flops,
    why="One output number takes in_channels x k x k products and as many additions, and there are "
    "out_channels x height x width of them.",
    hints=(
        "how many products make one output number? How many output numbers are there?",
        "2 * in_channels * kernel**2 for one number, times out_channels * height * width.",
    ),
    worked=(
        "def conv_flops(in_channels, out_channels, kernel, height, width):\n"
        "    for_one_number = 2 * in_channels * kernel**2\n"
        "    return for_one_number * out_channels * height * width"
    ),
    judge=_judge_conv_flops,
)

# ----------------------------------------------------------------------------------- 9.2 at_224


def _between(low: float, high: float) -> Callable[[Any], bool]:
    def inside(answer: Any) -> bool:
        value = _number(answer)
        return value is not None and low <= value <= high

    return inside


at_224 = Value(
    number="9.2",
    name="at_224",
    reference=1.18 * (224 / 128) ** 2,
    same=lambda a, b: _between(3.6, 3.7)(a) and _between(3.6, 3.7)(b),
    why="Height and width both grow by 1.75, the number of places by 1.75² = 3.06. Only the head does "
    "not grow, and it is too small to be seen.",
    hints=(
        "which factors of a convolution's count depend on the size of the photo?",
        "height and width: (224 / 128) squared, times 1.18.",
    ),
    worked="guess = 1.18 * (224 / 128) ** 2",
    mistakes=(
        (_between(2.0, 2.2), Wrong("that grows with one side only", "height and width both grow.")),
        (_between(1.1, 1.3), Wrong("that is the count at 128 pixels", "the photo is larger.")),
        (_between(6.2, 6.6), Wrong("that is the third power", "a photo has two sides.")),
        (_between(3.0, 3.12), Wrong("that is the factor", "times the 1.18 GFLOP at 128 pixels.")),
    ),
)

# ------------------------------------------------------------------------------ 9.3 stem_only

stem_only = Choice(
    number="9.3",
    name="stem_only",
    reference="b",
    why="To reach the stem, the gradient has to pass through every layer above, frozen or not: that is "
    "one forward's worth. Only the gradients of the frozen weights are saved, the other one.",
    hints=(
        "the way back has two products a layer. Which of the two does a frozen layer still need?",
        "the gradient for the layer's input is needed by all below; that for its weights is not.",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "something is saved: nobody needs the gradients of the frozen weights",
            "two products a layer on the way back; which one is no longer needed?",
        ),
        "b": None,
        "c": Wrong(
            "the head is at the end of the network, the stem at the start",
            "which layers does a gradient pass on its way from the loss to the stem?",
        ),
        "d": Wrong(
            "few numbers train, but the way back to them is the longest there is",
            "which layers does a gradient pass on its way from the loss to the stem?",
        ),
    },
)

# -------------------------------------------------------------------------------- 9.4 speedup


def _speedup(epochs: int, frozen: float, trains: float) -> float:
    return epochs * (frozen + trains) / (frozen + epochs * trains)


def _judge_speedup(attempt: Callable) -> Wrong | None:
    for case in ((1, 1.0, 0.5), (20, 1.0, 0.0), (5, 0.9, 0.9), (10, 2.0, 0.1)):
        epochs, frozen, trains = case
        right, got = _speedup(*case), _number(attempt(*case))
        if got is None:
            return Wrong("it does not return a number", "return slow / once.")
        if np.isclose(got, right, rtol=1e-6):
            continue
        seen = f"for {epochs} epochs, frozen {frozen} and trains {trains} it gives {got:.3f} and not {right:.3f}"
        if np.isclose(got, 1 / right):
            return Wrong(seen, "upside down: the slow way is above the line.")
        if trains and np.isclose(got, (frozen + trains) / trains):
            return Wrong(seen, "the frozen part is computed once, and once is not never.")
        if np.isclose(got, epochs):
            return Wrong(seen, "what trains is computed in each epoch both ways.")
        if np.isclose(got, (frozen + trains) / (frozen + epochs * trains)):
            return Wrong(seen, "the slow way makes both in each epoch.")
        if np.isclose(got, epochs * (frozen + trains) / (frozen + trains)):
            return Wrong(seen, "below the line: the frozen part once, what trains in each epoch.")
        return Wrong(seen)
    return None


speedup = Function(
    number="9.4",
    name="speedup",
    reference=_speedup,
    why="E (f + t) against f + E t. For many epochs it tends to (f + t) / t: nothing can be gained on "
    "what trains.",
    hints=(
        "write down both totals: each epoch does all, or the frozen part only once.",
        "epochs * (frozen + trains) / (frozen + epochs * trains)",
    ),
    worked=(
        "def speedup(epochs, frozen, trains):\n"
        "    slow = epochs * (frozen + trains)\n"
        "    once = frozen + epochs * trains\n"
        "    return slow / once"
    ),
    judge=_judge_speedup,
)

# ----------------------------------------------------------------------------- 9.5 which_cache

which_cache = Choice(
    number="9.5",
    name="which_cache",
    reference="a, d",
    why="A is the plain case. D keeps what the frozen layers give, and layer4 trains on that. In B the "
    "one random crop is repeated in each epoch; in C BatchNorm uses the batch in place of its "
    "statistics; in E the features belong to a layer4 that is no more.",
    hints=(
        "for each program: would the slow way get the same numbers in epoch 2, too?",
        "look for what changes between epochs (crops, weights) and for the mode of BatchNorm.",
    ),
    worked='answer = "a, d"',
    options={
        "a": None,
        "b": Wrong(
            "in B the random crop is drawn once, and all epochs see the same one",
            "what would the slow way do in epoch 2?",
        ),
        "c": Wrong(
            "in C the network is in train mode: BatchNorm uses the batch, and its statistics move",
            "which mode has the frozen part in a correct slow loop?",
        ),
        "d": None,
        "e": Wrong(
            "in E layer4 moves, and the kept features are those of the old one",
            "which weights made the features, and do they still stand?",
        ),
    },
)
