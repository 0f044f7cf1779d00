"""Questions of lesson 16, parameter_efficient. They need no package of the extra `text`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ftcourse.exercises import Choice, Draw, Exercise, Formula, Value, Wrong, agrees
from ftcourse.exercises.gives import tensor
from ftcourse.exercises.words import short
from ftcourse.exercises.written import as_number, untouched

# ----------------------------------------------------------------------------- 16.1 count_lora

count_lora = Value(
    number="16.1",
    name="count_lora",
    reference=6 * 2 * 8 * (384 + 384),
    why="Each of the 12 matrices gets A with 8 x 384 numbers and B with 384 x 8: 12 x 6,144 = 73,728.",
    hints=(
        "how many numbers has A, how many B? And how many matrices get such a pair?",
        "multiply rows with columns for A, and for B. Then the matrices: layers times two.",
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
        (
            147_456,
            Wrong(
                "147,456 is one full matrix, and also what four adapted matrices a layer have",
                "count A and B, with 8 rows and columns, on query and value.",
            ),
        ),
        (74_883, Wrong("that has the head with it", "A and B alone are asked for.")),
        (110_592, Wrong("that counts the key's matrix as well", "query and value only.")),
    ),
)

# --------------------------------------------------------------------------- 16.2 lora_forward


def _lora_forward(
    x: Tensor, weight: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float
) -> Tensor:
    return x @ weight.T + bias + scale * (x @ A.T @ B.T)


def _through_one_matrix(
    x: Tensor, weight: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float
) -> Tensor:
    """The same, by the product that the short way never builds."""
    return F.linear(x, weight + scale * torch.einsum("or,ri->oi", B, A), bias)


def _layers(draw: Draw) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]]:
    """With and without a dimension of tokens; wider, narrower and square layers; several r and scales."""
    for x, out, r, scale in (
        ((3, 5), 7, 2, 0.5), ((2, 4, 5), 3, 1, 2.0), ((1, 6), 6, 3, 1.0), ((2, 3), 3, 3, 16.0),
        ((4, 8), 2, draw.whole(1, 5), draw.real(0.1, 4)),
    ):  # fmt: skip
        wide = x[-1]
        weight, bias = draw.normal(out, wide), draw.normal(out)
        yield draw.normal(*x), weight, bias, draw.normal(r, wide), draw.normal(out, r), scale


Path = Callable[[Tensor, Tensor, float], Tensor]


def _with(path: Path) -> Callable:
    """`path` of the frozen layer's output, the detour's and the scale."""

    def layer(
        x: Tensor, weight: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float
    ) -> Tensor:
        return path(x @ weight.T + bias, x @ A.T @ B.T, scale)

    return layer


def _judge_gradients(attempt: Callable) -> Wrong | None:
    """The same gradients as the reference's, of the input, A and B."""
    found = []
    for layer in (_lora_forward, attempt):
        draw = Draw(0)
        x, A, B = (draw.normal(*s).requires_grad_() for s in ((3, 5), (2, 5), (4, 2)))
        with torch.enable_grad():
            answer = layer(x, draw.normal(4, 5), draw.normal(4), A, B, 0.5)
            if not answer.requires_grad:
                return Wrong("no gradient reaches A", "leave no_grad and detach out of it.")
            answer.square().sum().backward()
        found.append((x.grad, A.grad, B.grad))
    for name, right, own in zip(("x", "A", "B"), *found, strict=True):
        if own is None or not agrees(own, right, 1e-3):
            seen = f"the output is right, the gradient that reaches {name} is not"
            return Wrong(seen, "leave no_grad and detach out of it: the layers before learn, too.")
    return None


lora_forward = Formula(
    number="16.2",
    name="lora_forward",
    reference=_lora_forward,
    why="The frozen layer's output, plus a detour through r numbers that starts at A and ends at B.",
    hints=(
        "first the frozen layer: x @ weight.T + bias. Then add the detour. In which order do A and B act?",
        "A makes r numbers of x, B makes the output of them; a matrix acts from the right, transposed.",
    ),
    worked=(
        "def lora_forward(x, weight, bias, A, B, scale):\n"
        "    return x @ weight.T + bias + scale * (x @ A.T @ B.T)"
    ),
    gives=tensor(hint="return the layer's output."),
    cases=_layers,
    second=_through_one_matrix,
    also=_judge_gradients,
    describe=lambda x, weight, bias, A, B, scale: (
        f"for x {tuple(x.shape)}, weight {tuple(weight.shape)}, r = {len(A)} and scale {scale:.2g}"
    ),
    mistakes=(
        (
            _with(lambda own, path, s: own + path),
            Wrong("the scale is missing", "the path of A and B is multiplied by scale."),
        ),
        (
            lambda x, weight, bias, A, B, s: x @ weight.T + s * (x @ A.T @ B.T),
            Wrong("the bias is missing", "the frozen layer keeps its bias."),
        ),
        (
            _with(lambda own, path, s: s * path),
            Wrong("only the path of A and B is there", "it is added to the frozen layer's output."),
        ),
        (
            _with(lambda own, path, s: own),
            Wrong("only the frozen layer is there", "add scale times x @ A.T @ B.T."),
        ),
        (
            _with(lambda own, path, s: s * (own + path)),
            Wrong("the scale multiplies everything", "only the path of A and B is scaled."),
        ),
        (
            _with(lambda own, path, s: own + path / s),
            Wrong("you divide by the scale", "multiply by it."),
        ),
        (
            _with(lambda own, path, s: own - s * path),
            Wrong("the detour is taken away", "it is added."),
        ),
        (
            lambda x, weight, bias, A, B, s: _lora_forward(x, weight, bias, A, B, s / len(A)),
            Wrong("you divide by r as well", "scale is α / r already."),
        ),
        (
            lambda x, weight, bias, A, B, s: x @ weight.T + bias + s * (x @ A.T @ B.T + bias),
            Wrong("the bias is in the detour, too", "the detour has no bias."),
        ),
    ),
)

# -------------------------------------------------------------------------------- 16.3 init

init = Choice(
    number="16.3",
    name="init",
    reference="b",
    why="B A is zero, so nothing changes at first; and B has a gradient, for A x is not zero.",
    hints=(
        "two wishes: the detour gives zero at first, and at least one of A and B has a gradient.",
        "the gradient of B contains A x, that of A contains B. What must be zero, and what must not?",
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

# ------------------------------------------------------------------------------- 16.4 merge


def _merge(weight: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    return weight + scale * (B @ A)


def _by_columns(weight: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """What W and the detour make of each unit vector: the columns of the merged matrix."""
    units = torch.eye(weight.shape[1])
    return torch.stack([weight @ e + scale * (B @ (A @ e)) for e in units], 1)


def _matrices(draw: Draw) -> Iterator[tuple[Tensor, Tensor, Tensor, float]]:
    for out, wide, r, scale in (
        (7, 5, 2, 0.5), (6, 6, 2, 2.0), (3, 3, 3, 16.0), (1, 4, 1, 1.0),
        (4, 9, draw.whole(1, 4), draw.real(0.1, 4)),
    ):  # fmt: skip
        yield draw.normal(out, wide), draw.normal(r, wide), draw.normal(out, r), scale


merge = Formula(
    number="16.4",
    name="merge",
    reference=_merge,
    why="W x + s B A x = (W + s B A) x: one matrix of the old size does both.",
    hints=(
        "take x out of W x + scale B A x. What is left?",
        "a sum of two matrices of the size of W. Which product of A and B has this size?",
    ),
    worked="def merge(weight, A, B, scale):\n    return weight + scale * (B @ A)",
    gives=tensor(hint="return the new weight."),
    cases=_matrices,
    second=_by_columns,
    describe=lambda weight, A, B, scale: (
        f"for a weight {tuple(weight.shape)}, r = {len(A)} and scale {scale:.2g}"
    ),
    mistakes=(
        (
            lambda weight, A, B, scale: weight + B @ A,
            Wrong("the scale is missing", "add scale times B @ A."),
        ),
        (
            lambda weight, A, B, scale: scale * (B @ A),
            Wrong("the old weight is missing", "the product is added to it."),
        ),
        (
            lambda weight, A, B, scale: weight - scale * (B @ A),
            Wrong("the product is taken away", "that is how to take an adapter out again."),
        ),
        (
            lambda weight, A, B, scale: scale * (weight + B @ A),
            Wrong("the scale multiplies everything", "only the product is scaled."),
        ),
        (
            lambda weight, A, B, scale: weight + (B @ A) / scale,
            Wrong("you divide by the scale", "multiply by it."),
        ),
        (
            lambda weight, A, B, scale: weight + scale * (B @ A) / len(A),
            Wrong("you divide by r as well", "scale is α / r already."),
        ),
        (
            lambda weight, A, B, scale: (weight + scale * (B @ A)).T,
            Wrong("the new weight is transposed", "(out, in), as the old one."),
        ),
        (lambda weight, A, B, scale: weight, Wrong("it is the old weight", "add the product.")),
    ),
)

# ----------------------------------------------------------------------------- 16.5 only_the_head

only_the_head = Choice(
    number="16.5",
    name="only_the_head",
    reference="c",
    why=(
        "Line 3 freezes all parameters, A and B among them; the new head of line 4 is born thawed. What trains "
        "is the head alone: a linear probe that believes it is LoRA."
    ),
    hints=(
        "go through the lines: after each one, which parameters train?",
        "what is in `model.parameters()` when line 3 runs, and what comes later?",
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

# --------------------------------------------------------------------------- 16.6 fit_the_change

WIDE, DIRECTIONS, STEPS, MOST = 64, 4, 60, 600


def left_over(r: int, alpha: float, lr: float) -> float:
    """Train LoRA for 60 steps of AdamW on a layer of 64 x 64; the share of the squared error that is left.

    What the layer should do differs from what it does by a change that uses 4 directions, the strongest twice as
    strong as the weakest. Repeatable; the session's random numbers stay as they were.
    """
    draw = Draw(0)
    weight = draw.normal(WIDE, WIDE) / WIDE**0.5
    u, v = (torch.linalg.qr(draw.normal(WIDE, WIDE))[0][:, :DIRECTIONS] for _ in range(2))
    change = u @ torch.diag(torch.tensor([3.0, 2.5, 2.0, 1.5])) @ v.T
    x = draw.normal(512, WIDE)
    target = x @ (weight + change).T
    with torch.enable_grad():
        A = (draw.normal(r, WIDE) / WIDE**0.5).requires_grad_()
        B = torch.zeros(WIDE, r, requires_grad=True)
        optimizer = torch.optim.AdamW([A, B], lr=lr, weight_decay=0.0)
        losses = []
        for _ in range(STEPS + 1):
            error = x @ weight.T + alpha / r * (x @ A.T @ B.T) - target
            loss = error.square().mean()
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    share = losses[-1] / losses[0]
    return share if share < 1e9 else float("inf")  # nan as well


class _Fit(Exercise):
    """Settings that must reach a number: they are trained with, and what is left is told."""

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        form = 'write {"r": ..., "alpha": ..., "lr": ...}, with three numbers.'
        if not isinstance(attempt, Mapping) or set(attempt) != {"r", "alpha", "lr"}:
            return Wrong(f"{short(attempt)} is not the kind of answer asked for", form)
        if any(untouched(value) for value in attempt.values()):
            return None
        read = {name: as_number(value) for name, value in attempt.items()}
        r, alpha, lr = (read[name] for name in ("r", "alpha", "lr"))
        if r is None or alpha is None or lr is None:
            return Wrong(f"{short(attempt)} has something in it that is no number", form)
        if r != int(r) or r < 1 or not 0 < alpha < 1e6 or not 0 < lr < 1e6:
            return Wrong(f"{short(attempt)} cannot be trained", "r is 1, 2, ...; all are above 0.")
        return self._trained(int(r), float(alpha), float(lr))

    def _trained(self, r: int, alpha: float, lr: float) -> bool | Wrong:
        numbers = 2 * WIDE * r
        if numbers > MOST:
            return Wrong(
                f"A and B hold {numbers:,} numbers, and {MOST} are allowed", "a smaller r."
            )
        left = left_over(r, alpha, lr)
        if left <= 0.05:
            return True
        seen = f"{left:.0%} of the error is left" if left < 10 else "the error has exploded"
        if r < DIRECTIONS and left < 0.4:
            return Wrong(
                f"{seen}; r = {r} has too few directions",
                "what is left cannot be learnt with this r.",
            )
        smaller, larger = (left_over(r, alpha, factor * lr) for factor in (0.5, 2.0))
        if larger < smaller:
            return Wrong(f"{seen}; the steps are too small", "a larger lr, or a larger alpha.")
        return Wrong(f"{seen}; the steps are too large", "a smaller lr, or a smaller alpha.")

    def _right(self, attempt: Any) -> Any:
        return {name: as_number(value) for name, value in attempt.items()}


fit_the_change = _Fit(
    number="16.6",
    name="fit_the_change",
    reference={"r": 4, "alpha": 8, "lr": 0.03},
    why="The change has four directions: with r = 3 a tenth of the error is left, whatever the rate, and "
    "r = 5 is over the 600. With r = 4, lr and alpha only have to make the steps large enough, and not too large.",
    hints=(
        "first r: how large may it be, if A and B together hold 600 numbers at most? Then the size of the steps.",
        "take the largest r that is allowed and alpha = 8; then make lr three times larger until the error rises "
        "again.",
    ),
    worked='settings = {"r": 4, "alpha": 8, "lr": 3e-2}',
)
