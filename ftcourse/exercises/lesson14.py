"""Questions of lesson 14, parameter_efficient. They need no package of the extra `text`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ftcourse.exercises import Choice, Function, Value, Wrong
from ftcourse.exercises.tensors import compared

# ----------------------------------------------------------------------------- 14.1 count_lora

count_lora = Value(
    number="14.1",
    name="count_lora",
    reference=6 * 2 * 8 * (384 + 384),
    why="Each of the 12 matrices gets A with 8 x 384 numbers and B with 384 x 8: 12 x 6,144 = 73,728.",
    hints=(
        "how many numbers has A, how many B? And how many matrices get such a pair?",
        "A is 8 x 384, B is 384 x 8; 6 layers, with query and value in each.",
    ),
    worked="guess = 6 * 2 * (8 * 384 + 384 * 8)",
    mistakes=(
        (36_864, Wrong("36,864 is half of it", "A *and* B, on query *and* value, in 6 layers.")),
        (12_288, Wrong("12,288 is one layer", "there are six layers.")),
        (6_144, Wrong("6,144 is one matrix", "there are two in each of six layers.")),
        (
            1_769_472,
            Wrong("that is what the 12 matrices have themselves", "count A and B instead."),
        ),
        (147_456, Wrong("147,456 is one full matrix", "count A and B, with 8 rows and columns.")),
        (74_883, Wrong("that has the head with it", "A and B alone are asked for.")),
        (110_592, Wrong("that counts the key's matrix as well", "query and value only.")),
    ),
)

# --------------------------------------------------------------------------- 14.2 lora_forward


def _lora_forward(
    x: Tensor, weight: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float
) -> Tensor:
    return x @ weight.T + bias + scale * (x @ A.T @ B.T)


def _judge_lora_forward(attempt: Callable) -> Wrong | None:
    torch.manual_seed(0)
    for shape in ((3, 5), (2, 4, 5)):  # with and without a dimension of tokens
        x, weight, bias = torch.randn(*shape), torch.randn(7, 5), torch.randn(7)
        A, B, scale = torch.randn(2, 5, requires_grad=True), torch.randn(7, 2), 0.5
        answer = attempt(x, weight, bias, A, B, scale)
        own, path = x @ weight.T, x @ A.T @ B.T
        mistakes = {
            "the scale is missing": (own + bias + path, "the path of A and B is multiplied by scale."),
            "the bias is missing": (own + scale * path, "the frozen layer keeps its bias."),
            "only the path of A and B is there": (
                scale * path, "it is added to the frozen layer's output.",
            ),
            "only the frozen layer is there": (own + bias, "add scale times x @ A.T @ B.T."),
            "the scale multiplies everything": (
                scale * (own + bias + path), "only the path of A and B is scaled.",
            ),
            "you divide by the scale": (own + bias + path / scale, "multiply by it."),
        }  # fmt: skip
        wrong = compared(
            answer, own + bias + scale * path, mistakes,
            wanted="return the layer's output.",
            shape="the path of A and B ends where that of W ends: x @ A.T @ B.T.",
            otherwise="the values are not W x + b + scale B A x",
        )  # fmt: skip
        if wrong:
            return wrong
        if not answer.requires_grad:
            return Wrong("no gradient reaches A", "leave no_grad and detach out of it.")
    return None


lora_forward = Function(
    number="14.2",
    name="lora_forward",
    reference=_lora_forward,
    why="The frozen layer's output, plus a detour through r numbers that starts at A and ends at B.",
    hints=(
        "first the frozen layer: x @ weight.T + bias. Then add the detour. In which order do A and B act?",
        "x @ weight.T + bias + scale * (x @ A.T @ B.T).",
    ),
    worked=(
        "def lora_forward(x, weight, bias, A, B, scale):\n"
        "    return x @ weight.T + bias + scale * (x @ A.T @ B.T)"
    ),
    judge=_judge_lora_forward,
)

# -------------------------------------------------------------------------------- 14.3 init

init = Choice(
    number="14.3",
    name="init",
    reference="b",
    why="B A is zero, so nothing changes at first; and B has a gradient, for A x is not zero.",
    hints=(
        "two wishes: the detour gives zero at first, and at least one of A and B has a gradient.",
        "the gradient of B contains A x, that of A contains B. Which of the four has the one and not the other?",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "with both at zero, each one's gradient is multiplied by the other, and is zero",
            "such a detour never learns anything.",
        ),
        "b": None,
        "c": Wrong(
            "with both random, each layer is disturbed before the first step",
            "what is B A x then? The network should begin as the pre-trained one.",
        ),
        "d": Wrong(
            "A and B of ones give a detour that is not zero",
            "the network should begin as the pre-trained one.",
        ),
    },
)

# ------------------------------------------------------------------------------- 14.4 merge


def _merge(weight: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    return weight + scale * (B @ A)


def _judge_merge(attempt: Callable) -> Wrong | None:
    torch.manual_seed(1)
    for shape in ((7, 5), (6, 6)):
        weight, A, B = torch.randn(*shape), torch.randn(2, shape[1]), torch.randn(shape[0], 2)
        kept, change = weight.clone(), B @ A
        answer = attempt(weight, A, B, 0.5)
        if not torch.equal(weight, kept):
            return Wrong("it changes the weight that it was given", "make a new one: weight + ....")
        mistakes = {
            "the scale is missing": (kept + change, "add scale times B @ A."),
            "the old weight is missing": (0.5 * change, "the product is added to it."),
            "the product is taken away": (
                kept - 0.5 * change, "that is how to take an adapter out again.",
            ),
        }  # fmt: skip
        wrong = compared(
            answer, kept + 0.5 * change, mistakes,
            wanted="return the new weight.",
            shape="B is (out, r) and A is (r, in): which product is (out, in)?",
            otherwise="the values are not W + scale B A",
        )  # fmt: skip
        if wrong:
            return wrong
    return None


merge = Function(
    number="14.4",
    name="merge",
    reference=_merge,
    why="W x + s B A x = (W + s B A) x: one matrix of the old size does both.",
    hints=(
        "take x out of W x + scale B A x. What is left?",
        "weight + scale * (B @ A).",
    ),
    worked="def merge(weight, A, B, scale):\n    return weight + scale * (B @ A)",
    judge=_judge_merge,
)

# ----------------------------------------------------------------------------- 14.5 only_the_head

only_the_head = Choice(
    number="14.5",
    name="only_the_head",
    reference="c",
    why=(
        "Line 3 freezes all parameters, A and B among them; the new head of line 4 is born thawed. What trains "
        "is the head alone: a linear probe that believes it is LoRA."
    ),
    hints=(
        "go through the lines: after each one, which parameters train?",
        "`model.parameters()` has everything that is in the model at that moment.",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "the adapters are there, and each forward pass goes through them",
            "being in the model is one thing, to train another.",
        ),
        "b": Wrong(
            "W of the adapted layers is frozen in line 3, too",
            "line 3 freezes a lot; is there anything that it should not?",
        ),
        "c": None,
        "d": Wrong(
            "the loss has a gradient, through the new head",
            "an error would come if nothing at all trained. Something does.",
        ),
    },
)
