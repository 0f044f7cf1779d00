"""Questions of lesson 17, ship it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ftcourse.exercises import Choice, Draw, Formula, Function, Wrong
from ftcourse.exercises.gives import Unfit, number, tensor, tuple_of

# ------------------------------------------------------------------------------- 17.1 first_cure

first_cure = Choice(
    number="17.1",
    name="first_cure",
    reference="b",
    why="The same photo in train and in test: the network has seen the answer. The test score rises, "
    "and nothing else tells you. The other three cost accuracy, but you see that they do.",
    hints=(
        "three of the four make the network worse. Which one makes the *score* better?",
        "what has the network seen before it is tested?",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "a file that cannot be read stops the loading, with its name: nobody overlooks that",
            "look for the one that raises the score.",
        ),
        "b": None,
        "c": Wrong(
            "twice as many ants as bees shows in the recall of the bees",
            "look for the one that raises the score.",
        ),
        "d": Wrong(
            "small photos are blurred, and the score falls: you will notice",
            "look for the one that raises the score.",
        ),
    },
)

# ---------------------------------------------------------------------------------- 17.2 cam


def _cam(maps: Tensor, gradients: Tensor) -> Tensor:
    heat = _weighted(maps, gradients).relu()
    return heat / heat.max().clamp(min=1e-9)


def _weighted(maps: Tensor, gradients: Tensor) -> Tensor:
    return (gradients.mean((1, 2))[:, None, None] * maps).sum(0)


def _channel_by_channel(maps: Tensor, gradients: Tensor) -> Tensor:
    heat = torch.zeros(maps.shape[1:])
    for one, slope in zip(maps, gradients, strict=True):
        heat += sum(slope.flatten().tolist()) / slope.numel() * one
    heat = torch.where(heat > 0, heat, 0.0)
    return heat / float(heat.max())


def _maps(draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Maps of several sizes, as after a ReLU and without; some heat is above zero, and mostly some below."""
    for shape in ((5, 3, 4), (1, 2, 5), (8, 6, 3), (3, 4, 4)):
        maps, gradients = draw.uniform(0, 2, *shape), draw.normal(*shape)
        if shape[0] == 3:
            maps = draw.normal(*shape)
        if shape[0] == 1:
            gradients = gradients - gradients.mean() + 0.7
        if _weighted(maps, gradients).max() <= 0:
            gradients = -gradients
        yield maps, gradients


def _over_the_top(heat: Tensor) -> Tensor:
    return heat / heat.max()


cam = Formula(
    number="17.2",
    name="cam",
    reference=_cam,
    why="Each channel's map counts as much as the score of the class depends on it. That is Grad-CAM.",
    hints=(
        "first one weight a channel: the mean of its gradient over height and width.",
        "then a sum of the maps, each times its weight; what speaks against the class is no heat; and the "
        "largest value becomes 1.",
    ),
    worked=(
        "def cam(maps, gradients):\n"
        "    weights = gradients.mean((1, 2))\n"
        "    heat = (weights[:, None, None] * maps).sum(0).relu()\n"
        "    return heat / heat.max()"
    ),
    gives=tensor(),
    cases=_maps,
    second=_channel_by_channel,
    describe=lambda maps, gradients: f"for maps of shape {tuple(maps.shape)}",
    mistakes=(
        (
            lambda maps, gradients: _weighted(maps, gradients).relu(),
            Wrong("the largest value is not 1", "divide by the maximum at the end."),
        ),
        *(
            (
                negative,
                Wrong(
                    "some heat is negative",
                    "what speaks against the class is no heat: clip at 0, with .relu(), before dividing.",
                ),
            )
            for negative in (_weighted, lambda m, g: _over_the_top(_weighted(m, g)))
        ),
        (
            lambda m, g: _over_the_top(_weighted(m, g).abs()),
            Wrong("what speaks against the class is heat, too", "clip at 0: .relu(), not .abs()."),
        ),
        (
            lambda m, g: (_weighted(m, g) - _weighted(m, g).min()) / _weighted(m, g).aminmax().max,
            Wrong("the smallest value is moved to 0", "clip at 0 with .relu(), and move nothing."),
        ),
        (
            lambda m, g: _over_the_top((g * m).sum(0).relu()),
            Wrong(
                "each pixel has a weight of its own",
                "one weight a channel: the mean of its gradient over height and width.",
            ),
        ),
        (
            lambda m, g: _over_the_top((g.mean((1, 2)).relu()[:, None, None] * m).sum(0)),
            Wrong("weights are clipped at 0", "clip the heat, not the weights: some are negative."),
        ),
        (
            lambda m, g: _over_the_top((g.mean((1, 2)).abs()[:, None, None] * m).sum(0).relu()),
            Wrong("the weights have lost their signs", "a channel may speak against the class."),
        ),
        (
            lambda m, g: _over_the_top((g.mean((1, 2))[:, None, None] * m).relu().sum(0)),
            Wrong("each channel is clipped at 0", "clip after the sum over the channels."),
        ),
        (
            lambda m, g: _over_the_top(m.sum(0)),
            Wrong("the gradients play no part", "they say how much each channel counts."),
        ),
        (
            lambda m, g: _cam(g, m),
            Wrong("maps and gradients are exchanged", "the gradients give the weights."),
        ),
        (
            lambda m, g: _cam(m, g)[None],
            Wrong("it has a dimension of one in front", "sum over the channels, dimension 0."),
        ),
    ),
)

# --------------------------------------------------------------------------- 17.3 best_temperature


def _best_temperature(logits: Tensor, targets: Tensor, candidates: Sequence[float]) -> float:
    losses = [F.cross_entropy(logits / t, targets).item() for t in candidates]
    return float(candidates[losses.index(min(losses))])


def _by_probabilities(logits: Tensor, targets: Tensor, candidates: Sequence[float]) -> float:
    """The same by the product of the probabilities of what was right, in double precision."""
    rows = torch.arange(len(targets))
    powers = [(logits.double() / t).softmax(1)[rows, targets].log().sum() for t in candidates]
    return float(candidates[int(torch.stack(powers).argmax())])


def _photos(draw: Draw) -> Iterator[tuple[Tensor, Tensor, list[float]]]:
    """Networks that are too sure and not sure enough; candidates in and out of order, close to each other."""
    for classes, sharpened in (
        (3, 0.5),
        (2, 4.0),
        (5, 1.0),
        (4, 2.5),
        (3, 1.0),
        (6, 1.0),
        (3, 3.0),
    ):
        honest = 1.5 * draw.normal(300, classes)
        noise = -(-draw.uniform(1e-6, 1, 300, classes).log()).log()
        candidates = [0.5, 0.7, 1.0, 1.3, 1.6, 1.9, 2.2, 2.5, 2.9, 3.3, 3.8, 4.4, 5.5]
        order = candidates if classes % 2 else draw.shuffled(candidates)
        # of some networks a half of the photos is too sure, and the other not enough
        halves = torch.tensor([3.0, 0.5] * 150)[:, None] if sharpened == 1.0 else 1.0
        yield sharpened * halves * honest, (honest + noise).argmax(1), order


def _chosen(
    score: Callable[[Tensor, Tensor], Tensor], change: Callable = torch.div, least: bool = True
) -> Callable:
    """The candidate with the smallest (or largest) `score` of the changed logits."""

    def choose(logits: Tensor, targets: Tensor, candidates: Sequence[float]) -> float:
        scores = [score(change(logits, t), targets).item() for t in candidates]
        return candidates[scores.index(min(scores) if least else max(scores))]

    return choose


def _accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.argmax(1) == targets).float().mean()


def _confidence_gap(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.softmax(1).amax(1).mean() - _accuracy(logits, targets)).abs()


def _squares(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.softmax(1) - F.one_hot(targets, logits.shape[1])).square().mean()


best_temperature = Formula(
    number="17.3",
    name="best_temperature",
    reference=_best_temperature,
    why="One number, chosen by the loss on photos that were not trained on. The order of the scores, "
    "and so every answer, stays as it was.",
    hints=(
        "cross-entropy is small when the probabilities are honest: try each candidate.",
        "one loss for each candidate; which candidate has the smallest? Return it, not its loss.",
    ),
    worked=(
        "def best_temperature(logits, targets, candidates):\n"
        "    return min(candidates, key=lambda t: F.cross_entropy(logits / t, targets).item())"
    ),
    gives=number("return one candidate."),
    cases=_photos,
    second=_by_probabilities,
    describe=lambda logits, targets, candidates: (
        f"for {logits.shape[1]} classes and candidates from {min(candidates)} to {max(candidates)}"
    ),
    mistakes=(
        (
            lambda z, t, c: list(c).index(_best_temperature(z, t, c)),
            Wrong("it is the place of the best candidate", "return the candidate itself."),
        ),
        (
            lambda z, t, c: F.cross_entropy(z / _best_temperature(z, t, c), t),
            Wrong("it is the smallest loss", "return the candidate that has it."),
        ),
        (
            _chosen(F.cross_entropy, torch.mul),
            Wrong("the logits were multiplied", "a temperature divides: logits / temperature."),
        ),
        (
            _chosen(F.cross_entropy, least=False),
            Wrong("it takes the largest loss", "the smallest cross-entropy is the best."),
        ),
        (
            lambda z, t, c: c[0],
            Wrong(
                "it is always the first candidate",
                "does the measure change with t? Accuracy does not: the order of the scores stays.",
            ),
        ),
        (
            lambda z, t, c: 1.0,
            Wrong("it is always 1", "that leaves the logits as they are: try all candidates."),
        ),
        (
            _chosen(lambda z, t: F.cross_entropy(z.softmax(1), t)),
            Wrong("softmax was applied twice", "F.cross_entropy takes the logits."),
        ),
        (
            _chosen(_confidence_gap),
            Wrong(
                "it compares the mean confidence with the accuracy",
                "that forgives mistakes that cancel out: F.cross_entropy looks at each photo.",
            ),
        ),
        (
            _chosen(_squares),
            Wrong("it takes the squared errors", "cross-entropy is asked for: F.cross_entropy."),
        ),
    ),
)

# -------------------------------------------------------------------------------- 17.4 wrong_line

wrong_line = Choice(
    number="17.4",
    name="wrong_line",
    reference="c",
    why="The mean and the standard deviation belong to values from 0 to 1. Subtracted from bytes up to "
    "255 they do next to nothing, and the network gets inputs some hundred times too large.",
    hints=(
        "follow the range of the numbers from line to line. Which range do mean and std expect?",
        "what range does a byte have, and what range has a number whose mean is about 0.45?",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "resizing the short side to 146 is what the transforms of the run do",
            "follow the range of the numbers.",
        ),
        "b": Wrong(
            "cutting out the middle 128 x 128 is what the transforms of the run do",
            "follow the range of the numbers.",
        ),
        "c": None,
        "d": Wrong(
            "the network wants channels first and a batch dimension, and gets both",
            "follow the range of the numbers.",
        ),
    },
)

# ----------------------------------------------------------------------------------- 17.5 to_int8


def _to_int8(w: Tensor) -> tuple[Tensor, float]:
    scale = w.abs().max().item() / 127
    return (w / scale).round().clamp(-127, 127).to(torch.int8), scale


def _by_steps(w: Tensor) -> tuple[Tensor, float]:
    """The nearest of the 255 values, looked up."""
    top = max(w.max().item(), -w.min().item())
    steps = torch.linspace(-top, top, 255, dtype=torch.float64)
    nearest = (w.double().flatten()[:, None] - steps).abs().argmin(1) - 127
    return nearest.reshape(w.shape).to(torch.int8), top / 127


def _weights(draw: Draw) -> Iterator[tuple[Tensor]]:
    """The farthest weight is negative, and positive; tiny and large ones; all of one sign; several shapes."""
    for shape, size, farthest in (
        ((64, 9), 0.3, -1.9), ((40,), 1e-4, 3e-4), ((6, 3, 3, 3), 20.0, 90.0), ((5, 4), 0.1, -0.9),
    ):  # fmt: skip
        w = size * draw.normal(*shape)
        w.view(-1)[draw.whole(0, w.numel() - 1)] = farthest
        yield (w,)
    yield (draw.uniform(-2, -1, 30),)


_PAIR = tuple_of(
    tensor(torch.int8, hint="end with .to(torch.int8)."), number(), hint="return q, scale."
)


def _bytes_and_scale(value: Any) -> tuple[Tensor, float]:
    if isinstance(value, tuple | list) and [isinstance(v, Tensor) for v in value] == [False, True]:
        raise Unfit("the scale comes first", "return q, scale: the bytes, then the scale.")
    return _PAIR(value)


def _same_bytes(answer: tuple[Tensor, float], right: tuple[Tensor, float]) -> bool:
    """The same scale to a thousandth, and the same bytes; a few may lie between two."""
    (q, scale), (bytes_, step) = answer, right
    if q.shape != bytes_.shape or abs(scale - step) > 1e-3 * abs(step):
        return False
    off = (q.int() - bytes_.int()).abs()
    return bool(off.max() <= 1 and (off > 0).float().mean() < 0.02)


def _stored(
    step: Callable[[Tensor], float] = lambda w: w.abs().max().item() / 127,
    whole: Callable[[Tensor], Tensor] = torch.round,
    told: Callable[[float], float] = lambda scale: scale,
) -> Callable:
    def to_int8(w: Tensor) -> tuple[Tensor, float]:
        scale = step(w)
        return whole(w / scale).to(torch.int8), told(scale)

    return to_int8


_CUT = Wrong("the decimals are cut off", "half a step is the largest error: .round() first.")
_TOP = "the largest *absolute* weight becomes 127: scale = w.abs().max() / 127."

to_int8 = Formula(
    number="17.5",
    name="to_int8",
    reference=_to_int8,
    why="255 equal steps from the largest weight down to its negative. No weight comes back wrong by "
    "more than half a step.",
    hints=(
        "how large is a step, if the largest absolute weight is to become 127?",
        "each weight is so many steps; to the nearest whole one, and stored in a byte.",
    ),
    worked=(
        "def to_int8(w):\n"
        "    scale = w.abs().max().item() / 127\n"
        "    return (w / scale).round().to(torch.int8), scale"
    ),
    gives=_bytes_and_scale,
    cases=_weights,
    second=_by_steps,
    agree=_same_bytes,
    describe=lambda w: (
        f"for {w.numel()} weights of shape {tuple(w.shape)} from {w.min():.2g} to {w.max():.2g}"
    ),
    mistakes=(
        (_stored(whole=torch.trunc), _CUT),
        (_stored(whole=torch.floor), _CUT),
        (
            _stored(lambda w: w.max().item() / 127),
            Wrong("it looks at the largest weight, and a negative one may be farther out", _TOP),
        ),
        (
            _stored(lambda w: -w.min().item() / 127),
            Wrong("it looks at the smallest weight alone", _TOP),
        ),
        (
            _stored(lambda w: (w.max() - w.min()).item() / 255),
            Wrong("it spreads the bytes from the smallest to the largest weight", _TOP),
        ),
        (
            _stored(lambda w: w.abs().max().item() / 128),
            Wrong("the largest weight becomes 128, which no int8 holds", _TOP),
        ),
        (
            _stored(lambda w: w.abs().max().item() / 255),
            Wrong("the largest weight becomes 255, and the bytes run over", _TOP),
        ),
        (
            _stored(lambda w: w.abs().max().item()),
            Wrong("only -1, 0 and 1 are used", _TOP),
        ),
        (
            _stored(told=lambda scale: 1 / scale),
            Wrong("the scale is upside down", "q * scale is w again."),
        ),
        (
            _stored(told=lambda scale: 127 * scale),
            Wrong("the scale is the largest weight", "one step: divided by 127."),
        ),
        (
            _stored(lambda w: w.abs().mean().item() / 127),
            Wrong("it looks at the mean weight, and the bytes run over", _TOP),
        ),
    ),
)

# ----------------------------------------------------------------------------------- 17.6 to_int4

BEST = 0.5  # of the squared error that one scale for all leaves


def _to_int4(w: Tensor) -> tuple[Tensor, Tensor]:
    scales = w.abs().amax(tuple(range(1, w.ndim)), keepdim=True) / 7
    return (w / scales).round().to(torch.int8), scales


def _channels(draw: Draw) -> Iterator[Tensor]:
    """Weights whose rows differ in size, as the channels of a trained network do; of two shapes and of four."""
    for shape in ((40, 60), (24, 8, 3, 3), (64, 16, 1, 1), (draw.whole(10, 30), 50)):
        sizes = torch.logspace(-2, -0.5, shape[0])[torch.tensor(draw.shuffled(range(shape[0])))]
        yield sizes.view(-1, *[1] * (len(shape) - 1)) * draw.normal(*shape)


def _squared(w: Tensor, q: Tensor, scales: Tensor | float) -> float:
    return (q.float() * scales - w).square().sum().item()


def _judge_to_int4(attempt: Callable) -> Wrong | None:
    shares = []
    for w in _channels(Draw(0)):
        q, scales = attempt(w)
        if q.shape != w.shape:
            return Wrong(
                f"q has the shape {tuple(q.shape)}, and w {tuple(w.shape)}",
                "one q for each weight.",
            )
        low, high = int(q.min()), int(q.max())
        if low < -7 or high > 7:
            return Wrong(
                f"q runs from {low} to {high}",
                "four bits hold -7 to 7: the farthest weight of each row is 7.",
            )
        if scales.numel() > len(w):
            return Wrong(
                f"{scales.numel()} scales for {len(w)} rows of w {tuple(w.shape)}",
                "at most one for each w[i]: take the largest over all other dimensions.",
            )
        try:
            fits = (q.float() * scales).shape == w.shape
        except RuntimeError:
            fits = False
        if not fits:
            return Wrong(
                f"scales of shape {tuple(scales.shape)} do not multiply with q {tuple(q.shape)}",
                f"the shape must be {(len(w), *[1] * (w.ndim - 1))}: keepdim=True leaves the ones.",
            )
        scale = w.abs().max() / 7
        share = _squared(w, q, scales) / _squared(w, (w / scale).round(), scale)
        shares.append(share if share == share else float("inf"))
    if max(shares) < BEST:
        return None
    seen = f"{max(shares):.2f} of the squared error with one scale is left, less than {BEST} is asked for"
    if 0.99 < max(shares) < 1.01:
        return Wrong(
            seen,
            "that is one scale for all rows. What is the largest weight of each row?",
        )
    return Wrong(seen, "each row needs its own largest weight, and the nearest whole number.")


to_int4 = Function(
    number="17.6",
    name="to_int4",
    reference=_to_int4,
    why="A scale for each row follows its size; rows of small weights keep their digits. One number a row more.",
    hints=(
        "a row of small weights has nearly all of its numbers at 0 where the largest row sets the scale. "
        "Who should set it?",
        "as for eight bits, with 7 in place of 127; but the largest absolute weight is taken in each row, over "
        "all dimensions but the first, and the ones are kept in the shape.",
    ),
    worked=(
        "def to_int4(w):\n"
        "    scales = w.abs().amax(tuple(range(1, w.ndim)), keepdim=True) / 7\n"
        "    return (w / scales).round().to(torch.int8), scales"
    ),
    gives=tuple_of(
        tensor(torch.int8, hint="end with .to(torch.int8)."), tensor(), hint="return q, scales."
    ),
    judge=_judge_to_int4,
)
