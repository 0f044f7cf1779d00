"""Questions of lesson 11, how much compute."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ftcourse as ft
from ftcourse.exercises import Choice, Draw, Formula, Function, Value, Wrong
from ftcourse.exercises.gives import Unfit, number, tensor, whole
from ftcourse.exercises.written import as_number, equals

# ------------------------------------------------------------------------------- 11.1 conv_flops


def _conv_flops(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    return 2 * in_channels * kernel * kernel * out_channels * height * width


def _one_by_one(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> int:
    """The same, a product at a time: each is multiplied and added."""
    products = sum(kernel for _ in range(kernel)) * in_channels
    places = sum(width for _ in range(height))
    return sum(products + products for _ in range(out_channels)) * places


def _layers(draw: Draw) -> Iterator[tuple[int, ...]]:
    """Layers of a ResNet, and others whose five numbers all differ; kernels of 1; one channel; flat outputs."""
    yield from ((3, 64, 7, 64, 64), (64, 128, 3, 16, 16), (5, 7, 1, 3, 11), (1, 6, 5, 9, 4))
    yield 8, 1, 2, 1, draw.whole(12, 30)
    yield tuple(draw.shuffled([draw.whole(2, 4), 5, 7, draw.whole(8, 12), 13]))


def _layer(in_channels: int, out_channels: int, kernel: int, height: int, width: int) -> str:
    seen = f"for {in_channels} -> {out_channels} channels, a {kernel} x {kernel} kernel and an "
    return seen + f"output of {height} x {width}"


def _flops(value: Any) -> int:
    found = number()(value)
    if found != found // 1:
        raise Unfit(
            f"it returns {found:.3g}, expected a whole number",
            "count single operations, not millions or billions, and divide by nothing.",
        )
    return whole()(value)


_PLACES = "the kernel has k x k places."

conv_flops = Formula(
    number="11.1",
    name="conv_flops",
    reference=_conv_flops,
    why="One output number takes in_channels x k x k products and as many additions, and there are "
    "out_channels x height x width of them.",
    hints=(
        "how many products make one output number? How many output numbers are there?",
        "a product is two FLOPs, for it is added as well. One number looks at all input channels and places "
        "of the kernel.",
    ),
    worked=(
        "def conv_flops(in_channels, out_channels, kernel, height, width):\n"
        "    for_one_number = 2 * in_channels * kernel**2\n"
        "    return for_one_number * out_channels * height * width"
    ),
    gives=_flops,
    cases=_layers,
    second=_one_by_one,
    describe=_layer,
    mistakes=(
        (
            lambda i, o, k, h, w: i * o * k * k * h * w,
            Wrong(
                "it counts products alone",
                "each product is also added: a multiplication and an addition, 2 FLOPs.",
            ),
        ),
        (
            lambda i, o, k, h, w: 2 * i * o * k * h * w,
            Wrong("it counts k places of the kernel", _PLACES),
        ),
        (
            lambda i, o, k, h, w: 2 * i * o * 2 * k * h * w,
            Wrong("it counts 2 k places of the kernel", _PLACES),
        ),
        (lambda i, o, k, h, w: 2 * i * o * h * w, Wrong("the kernel plays no part", _PLACES)),
        (
            lambda i, o, k, h, w: 2 * o * k * k * h * w,
            Wrong(
                "the input channels play no part",
                "each output number looks at all input channels.",
            ),
        ),
        (
            lambda i, o, k, h, w: 2 * i * k * k * h * w,
            Wrong(
                "the output channels play no part", "there is one such sum for each output channel."
            ),
        ),
        (
            lambda i, o, k, h, w: 2 * (i + o) * k * k * h * w,
            Wrong(
                "it adds the channels", "each output channel looks at each input channel: times."
            ),
        ),
        (
            lambda i, o, k, h, w: 2 * k * k * h * w,
            Wrong("the channels play no part", "each output channel looks at each input channel."),
        ),
        (
            lambda i, o, k, h, w: 2 * i * k * k + o * h * w,
            Wrong("it adds where it should multiply", "each output number takes all the products."),
        ),
        (
            lambda i, o, k, h, w: 2 * i * o * k * k * w * w,
            Wrong("it takes the width twice", "the output has height x width places."),
        ),
        (
            lambda i, o, k, h, w: 2 * i * o * k * k,
            Wrong(
                "that is one place of the output",
                "the kernel is applied at each place: there are height x width.",
            ),
        ),
        (
            lambda i, o, k, h, w: 2 * i * o * k * k * h * h,
            Wrong("it takes the height twice", "the output has height x width places."),
        ),
        (
            lambda i, o, k, h, w: 2 * i * o * k * k * (h - k + 1) * (w - k + 1),
            Wrong(
                "it makes the output smaller", "height and width are those of the output already."
            ),
        ),
        (
            lambda i, o, k, h, w: (2 * i * k * k + 1) * o * h * w,
            Wrong("it counts a bias", "ResNet's convolutions have no bias."),
        ),
        (
            lambda i, o, k, h, w: (2 * i * k * k - 1) * o * h * w,
            Wrong(
                "it counts one addition less than products",
                "exact, and not how it is usually counted: as many additions as products.",
            ),
        ),
    ),
)

# ----------------------------------------------------------------------------------- 11.2 at_224

_SCALED = 1.18 * (224 / 128) ** 2
_COUNTED = 3.627124736  # what PyTorch counts at 224; 1.18 has been rounded


def _is_gflop(answer: Any, gflop: float) -> bool:
    found = as_number(answer, "GFLOP")
    also = (_COUNTED,) if gflop == _SCALED else ()
    return found is not None and any(equals(found, right) for right in (gflop, *also))


def _is_near(answer: Any) -> bool:
    found = as_number(answer, "GFLOP")
    return found is not None and 3.4 < found < 3.8


at_224 = Value(
    number="11.2",
    name="at_224",
    reference=_SCALED,
    same=_is_gflop,
    why="Height and width both grow by 1.75, the number of places by 1.75² = 3.06. Only the head does "
    "not grow, and it is too small to be seen.",
    hints=(
        "which factors of a convolution's count depend on the size of the photo?",
        "how many times as many places has a photo whose two sides are both 1.75 times as long?",
    ),
    worked="guess = 1.18 * (224 / 128) ** 2",
    mistakes=(
        (
            lambda a: as_number(a, "GFLOP") is None,
            Wrong("that is no number", "write one number of GFLOP, such as 25 or 0.33."),
        ),
        (1.18 * 1.75, Wrong("that grows with one side only", "height and width both grow.")),
        (1.18, Wrong("that is the count at 128 pixels", "the photo is larger.")),
        (1.18 * 1.75**3, Wrong("that is the third power", "a photo has two sides.")),
        (1.75**2, Wrong("that is the factor", "times the 1.18 GFLOP at 128 pixels.")),
        (1.75, Wrong("that is by how much a side grows", "both sides do, and 1.18 is the start.")),
        (1.18 / 1.75**2, Wrong("it has become less", "a larger photo takes more.")),
        (1e9 * _SCALED, Wrong("that is in FLOP", "GFLOP are asked for: billions of them.")),
        (1e3 * _SCALED, Wrong("that is in MFLOP", "GFLOP are asked for: thousands of them.")),
        (_SCALED / 2, Wrong("that is half of it", "1.18 counts both, products and additions.")),
        (
            1.18 * (1 + 2 * 0.75),
            Wrong("each side has added its part", "a photo has height *times* width places."),
        ),
        (_is_near, Wrong("near, and not rounded as it should be", "round at the end only.")),
    ),
)

# ------------------------------------------------------------------------------ 11.3 stem_only

stem_only = Choice(
    number="11.3",
    name="stem_only",
    reference="b",
    why="To reach the stem, the gradient has to pass through every layer above, frozen or not: that is "
    "one forward's worth. Only the gradients of the frozen weights are saved, the other one.",
    hints=(
        "the way back has two products a layer. Which of the two does a frozen layer still need?",
        "one product gives the gradient for the layer's input, one for its weights. Who needs which?",
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

# -------------------------------------------------------------------------------- 11.4 speedup


def _speedup(epochs: int, frozen: float, trains: float) -> float:
    return epochs * (frozen + trains) / (frozen + epochs * trains)


def _epoch_by_epoch(epochs: int, frozen: float, trains: float) -> float:
    slow, once = 0.0, frozen
    for _ in range(epochs):
        slow += frozen + trains
        once += trains
    return slow / once


def _trainings(draw: Draw) -> Iterator[tuple[int, float, float]]:
    """One epoch and many; nothing frozen, hardly anything that trains; far below one, and real FLOPs."""
    yield from ((1, 1.0, 0.5), (20, 1.0, 0.0), (5, 0.9, 0.9), (10, 2.0, 0.1), (7, 0.0, 3.0))
    yield draw.whole(2, 50), draw.real(0.1, 5), draw.real(0.1, 5)
    yield draw.whole(2, 9), draw.real(0.01, 0.05), draw.real(0.001, 0.01)
    yield draw.whole(2, 50), draw.whole(10**8, 10**9), draw.whole(10**5, 10**9)


speedup = Formula(
    number="11.4",
    name="speedup",
    reference=_speedup,
    why="E (f + t) against f + E t. For many epochs it tends to (f + t) / t: nothing can be gained on "
    "what trains.",
    hints=(
        "write down both totals: each epoch does all, or the frozen part only once.",
        "the slow total is a product, the other a sum of which one part grows with the epochs. Which is "
        "divided by which?",
    ),
    worked=(
        "def speedup(epochs, frozen, trains):\n"
        "    slow = epochs * (frozen + trains)\n"
        "    once = frozen + epochs * trains\n"
        "    return slow / once"
    ),
    gives=number("return slow / once, one number."),
    cases=_trainings,
    second=_epoch_by_epoch,
    describe=lambda e, f, t: f"for {e} epochs, frozen {f:.3g} and trains {t:.3g}",
    mistakes=(
        (
            lambda e, f, t: 1 / _speedup(e, f, t),
            Wrong("it is upside down", "the slow way is above the line."),
        ),
        (
            lambda e, f, t: (f + t) / t if t else float("inf"),
            Wrong("the frozen part costs nothing", "it is computed once, and once is not never."),
        ),
        (
            lambda e, f, t: (f + t) / t if t else e,
            Wrong("the frozen part costs nothing", "it is computed once, and once is not never."),
        ),
        (
            lambda e, f, t: e,
            Wrong("it is the number of epochs", "what trains is computed in each epoch both ways."),
        ),
        (
            lambda e, f, t: (f + t) / (f + e * t),
            Wrong("the slow way has one epoch", "the slow way makes both in each epoch."),
        ),
        (
            lambda e, f, t: (e * f + t) / (f + t),
            Wrong("what trains is computed once", "in each epoch, both ways."),
        ),
        (
            lambda e, f, t: (e * f + t) / (f + e * t),
            Wrong(
                "the slow way computes what trains once", "the slow way makes both in each epoch."
            ),
        ),
        (
            lambda e, f, t: e * (f + t) / (e * f + t),
            Wrong("frozen and trains are exchanged", "what is computed once is the frozen part."),
        ),
        (
            lambda e, f, t: e * (f + t) - (f + e * t),
            Wrong("it is the difference", "how many *times* less: divide."),
        ),
        (
            lambda e, f, t: e * (f + t) / (f + (e - 1) * t),
            Wrong("the first epoch trains nothing", "all E epochs train, both ways."),
        ),
        (
            lambda e, f, t: 1 - 1 / _speedup(e, f, t),
            Wrong("it is the share that is saved", "how many *times* less: slow / once."),
        ),
        (
            lambda e, f, t: e * f / (f + e * t),
            Wrong("the slow way trains nothing", "the slow way makes both in each epoch."),
        ),
        (
            lambda e, f, t: round(_speedup(e, f, t), 1),
            Wrong("it is rounded", "leave the number as it is."),
        ),
    ),
)

# ----------------------------------------------------------------------------- 11.5 which_cache

which_cache = Choice(
    number="11.5",
    name="which_cache",
    reference="a, d",
    why="A is the plain case. D keeps what the frozen layers give, and layer4 trains on that. In B the "
    "one random crop is repeated in each epoch; in C BatchNorm uses the batch in place of its "
    "statistics; in E the features belong to a layer4 that is no more.",
    hints=(
        "for each program: would the slow way get the same numbers in epoch 2, too?",
        "what is kept must not change between epochs, and must have been made in the mode that the slow way has.",
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

# --------------------------------------------------------------------------------- 11.6 frugal

BUDGET, RIGHT_OF_24 = 16, 19  # GFLOP; one pass of the 48 photos costs 14.2


def _frugal(backbone: nn.Module, images: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    with torch.no_grad():
        known, asked = backbone(images), backbone(new)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    with torch.enable_grad():
        for _ in range(30):
            loss = F.cross_entropy(head(known), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return head(asked).argmax(1)


@functools.cache
def _two_kinds(*kinds: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each kind 12 drawn insects to learn from, and 12 to be named: images (24, 3, 64, 64), labels (24,)."""
    look = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=64, resize_size=64)
    data = ft.load_data("pocket-insects", classes=kinds, progress=False)
    found: list[Tensor] = []
    for split in (data.train.with_transform(look), data.test.with_transform(look)):
        rows = [i for k in (0, 1) for i in [i for i, t in enumerate(split.targets) if t == k][:12]]
        found += [
            torch.stack([split[i][0] for i in rows]),
            torch.tensor([0, 1]).repeat_interleave(12),
        ]
    return found[0], found[1], found[2], found[3]


def _judge_frugal(attempt: Callable) -> Wrong | None:
    backbone: Any = ft.load_backbone("resnet18").eval().requires_grad_(False)
    backbone.fc = nn.Identity()
    for kind in ("ants", "bees"):
        images, labels, new, truth = _two_kinds(kind, "ladybirds")
        with FlopCounterMode(display=False) as counter:
            answers = attempt(backbone, images, labels, new)
        cost = counter.get_total_flops() / 1e9
        if answers.shape != truth.shape:
            return Wrong(
                f"it returns the shape {tuple(answers.shape)}, expected {tuple(truth.shape)}",
                "one label for each new photo: the place of its highest score.",
            )
        right = int((answers == truth).sum())
        seen = f"it cost {cost:.1f} GFLOP, and {right} of 24 new photos are right"
        if cost > BUDGET:
            return Wrong(
                f"{seen}; {BUDGET} GFLOP are allowed",
                "what is computed more than once, and never changes?",
            )
        if right < RIGHT_OF_24:
            return Wrong(
                f"{seen}; {RIGHT_OF_24} are asked for",
                "what is learnt from, and is it learnt for long enough? A step behind the features costs next "
                "to nothing.",
            )
    return None


frugal = Function(
    number="11.6",
    name="frugal",
    reference=_frugal,
    why="Each photo goes through the backbone once; what comes behind costs next to nothing.",
    hints=(
        "count: what does the backbone cost for one photo, how many photos are there, and how often does each go "
        "through it?",
        "one pass of all 48 photos is within the budget, a second one is not. What is left to be learnt needs no "
        "backbone.",
    ),
    worked=(
        "def frugal(backbone, images, labels, new):\n"
        "    with torch.no_grad():\n"
        "        known, asked = backbone(images), backbone(new)\n"
        "    head = nn.Linear(512, 2)\n"
        "    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)\n"
        "    for _ in range(30):\n"
        "        loss = F.cross_entropy(head(known), labels)\n"
        "        optimizer.zero_grad()\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
        "    return head(asked).argmax(1)"
    ),
    gives=tensor(torch.int64, hint="a label is a whole number: argmax gives it."),
    judge=_judge_frugal,
)
