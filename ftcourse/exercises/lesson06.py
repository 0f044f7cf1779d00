"""Questions of lesson 06, feed_the_gpu."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import Function, Value, Wrong, agrees
from ftcourse.exercises.settings import Settings

__all__ = ["accumulate", "adam_bytes", "fits", "saved_megabytes", "seconds_of", "speed_up"]


def seconds_of(run: Callable[[], Any], wait: Callable[[], Any], repeats: int = 5) -> float:
    """The honest clock of lesson 05: seconds of one run(), after a warm-up; wait() returns when all is done."""
    run()
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - start) / repeats


def saved_megabytes(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    """MB that the forward pass keeps for the backward pass; weights, which are there anyway, are not counted."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def look(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(look, lambda tensor: tensor),
    ):
        loss = F.cross_entropy(network(images), targets)
    del loss
    return sum(kept.values()) / 1e6


# --------------------------------------------------------------------------------- 6.1 speed_up

speed_up = Value(
    number="6.1",
    name="speed_up",
    reference=4.0,
    why="100 ms become 20 + 80 / 16 = 25 ms. The part that the GPU does not touch, a fifth, is now "
    "four fifths of the step.",
    hints=(
        "how long does a step take afterwards? Which of the two parts has changed?",
        "add up the new step, loading and computing; how many times does it go into the old one?",
    ),
    worked="guess = 100 / (20 + 80 / 16)",
    mistakes=(
        (16.0, Wrong("that holds for the computing alone", "loading still takes its 20 ms.")),
        (25.0, Wrong("25 ms is the new step", "how many times faster is that than 100 ms?")),
        (
            5.0,
            Wrong(
                "5 would be the limit, with a GPU that takes no time at all",
                "computing still takes 80 / 16 ms.",
            ),
        ),
        (6.25, Wrong("that divides the whole step by 16", "loading does not become faster.")),
        (0.25, Wrong("that is the new step, as a share of the old one", "turn it round.")),
        (20.0, Wrong("20 ms is what loading takes", "old step divided by new step.")),
    ),
)

# ------------------------------------------------------------------------------- 6.2 adam_bytes

_WEIGHTS = 11_177_538


def _numbers_a_weight(count: float, seen: str, hint: str) -> tuple[float, Wrong]:
    return count * 4 * _WEIGHTS / 1e6, Wrong(seen, hint)


adam_bytes = Value(
    number="6.2",
    name="adam_bytes",
    reference=16 * _WEIGHTS / 1e6,
    unit="MB",
    why="Four numbers of 4 bytes for each weight: the weight, its gradient, and AdamW's two running "
    "means. 16 x 11,177,538 bytes are 179 MB, before the first photo.",
    hints=(
        "which tensors of the size of the weights are there? AdamW keeps two.",
        "count the numbers that are kept for one weight, then the bytes of each, then all the weights.",
    ),
    worked="guess = 4 * 4 * 11_177_538 / 1e6",
    mistakes=(
        _numbers_a_weight(1, "those are the weights alone", "gradients and AdamW's come on top."),
        _numbers_a_weight(2, "weights and gradients", "AdamW keeps two more numbers a weight."),
        _numbers_a_weight(3, "three numbers a weight", "AdamW keeps two of its own, not one."),
        _numbers_a_weight(1 / 4, "that is one byte a weight", "a float32 has four."),
        _numbers_a_weight(8, "that is with numbers of 8 bytes", "a float32 has four bytes."),
    ),
)

# ------------------------------------------------------------------------------- 6.3 accumulate


def _accumulate(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
    for some, their in zip(images.split(size), targets.split(size), strict=True):
        loss = F.cross_entropy(model(some), their)
        (loss * len(some) / len(images)).backward()


class _Saved:
    """A tensor that autograd keeps for backward(); it is gone when that is done."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class _Watched(nn.Module):
    """A small network that remembers how many images it was given at once, and what was still kept then."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))
        self.seen: list[int] = []
        self.kept = 0
        self._saved: list[weakref.ref] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept += sum(saved() is not None for saved in self._saved)
        self.seen.append(len(x))
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda saved: saved.tensor):
            return 4 * self.layers(x)  # so that the gradients are longer than 1

    def _pack(self, tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        self._saved.append(weakref.ref(saved))
        return saved

    def gradients(self) -> list[Tensor]:
        return [torch.zeros(1) if p.grad is None else p.grad for p in self.parameters()]


@dataclass(frozen=True)
class _Batch:
    """A batch whose pieces differ in their labels; the last piece may be smaller."""

    images: Tensor
    targets: Tensor
    size: int

    def after(self, how: Callable) -> _Watched:
        """A fresh network after `how(model, images, targets, size)`."""
        model = _Watched()
        with torch.enable_grad():
            how(model, self.images, self.targets, self.size)
        return model


def _batches() -> list[_Batch]:
    found = []
    for photos, size in ((10, 4), (9, 2), (7, 7), (3, 5), (5, 1)):
        torch.manual_seed(photos)
        targets = (torch.arange(photos) // 3) % 3
        found.append(_Batch(torch.randn(photos, 3, 2, 2), targets, size))
    return found


def _pieces(weight: Callable[[int, int, int], float], only_last: bool = False) -> Callable:
    """Accumulation with each piece's loss times weight(its photos, all photos, number of pieces)."""

    def how(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
        parts = list(zip(images.split(size), targets.split(size), strict=True))
        for some, their in parts[-1:] if only_last else parts:
            factor = weight(len(some), len(images), len(parts))
            (F.cross_entropy(model(some), their) * factor).backward()

    return how


_MISTAKES: tuple[tuple[Callable, Wrong], ...] = (
    (
        _pieces(lambda n, total, k: 1.0),
        Wrong(
            "the gradient is that of a sum over the pieces, too large by their number",
            "each piece counts for its share of the photos: loss * len(piece) / len(images).",
        ),
    ),
    (
        _pieces(lambda n, total, k: 1 / k),
        Wrong(
            "each piece counts the same, and the last one is smaller",
            "weight by photos, not by pieces: loss * len(piece) / len(images).",
        ),
    ),
    (
        _pieces(lambda n, total, k: n),
        Wrong("that is the sum over the photos", "divide by the number of all photos."),
    ),
    (
        _pieces(lambda n, total, k: 1 / total),
        Wrong(
            "each piece's mean is divided by the number of all photos",
            "a mean of its photos: times len(piece) it is their sum.",
        ),
    ),
    (
        _pieces(lambda n, total, k: -n / total),
        Wrong("the sign is turned", "the gradient itself; going downhill is the optimizer's."),
    ),
    *(
        (
            _pieces(weight, only_last=True),
            Wrong(
                "only the last piece is in the gradient",
                "no zero_grad between the pieces: let it add.",
            ),
        )
        for weight in (
            lambda n, total, k: 1.0,
            lambda n, total, k: n / total,
            lambda n, total, k: 1 / k,
        )
    ),
)


def _judge_accumulate(attempt: Callable) -> Wrong | None:
    found = []
    for batch in _batches():
        model = batch.after(attempt)
        if wrong := _wrong_way(model, batch):
            return wrong
        found.append((batch, model.gradients()))

    def is_from(how: Callable) -> bool:
        return all(agrees(g, b.after(how).gradients(), 1e-3) for b, g in found)

    if is_from(_whole):
        return None
    for how, wrong in _MISTAKES:
        if is_from(how):
            return wrong
    return Wrong("the gradient is not that of the whole batch")


def _whole(model: nn.Module, images: Tensor, targets: Tensor, size: int) -> None:
    F.cross_entropy(model(images), targets).backward()


def _needs_gradients(model: nn.Module) -> list[bool]:
    return [p.requires_grad for p in model.parameters()]


def _wrong_way(model: _Watched, batch: _Batch) -> Wrong | None:
    photos, size = len(batch.images), batch.size
    if not agrees(list(model.parameters()), list(_Watched().parameters())):
        return Wrong("the weights have moved", "no step here: leave the gradients in p.grad.")
    if not any(g.any() for g in model.gradients()):
        return Wrong("p.grad is empty afterwards", "call backward() for each piece.")
    if not (all(part.training for part in model.modules()) and all(_needs_gradients(model))):
        return Wrong(
            "the model is left in eval mode, or frozen", "change nothing but what is in p.grad."
        )
    if max(model.seen) > size:
        return Wrong(
            f"{max(model.seen)} images went through the network at once, and {size} were allowed",
            "images.split(size) cuts them into pieces of at most `size`.",
        )
    if sum(model.seen) != photos:
        return Wrong(
            f"{sum(model.seen)} images went through the network, and there are {photos}",
            "each once; the last piece may be smaller, and images.split(size) takes it along.",
        )
    if model.kept:
        return Wrong(
            "what the earlier pieces left for backward() is still in memory when the next one comes",
            "backward() for each piece, at once: only then its memory is free for the next.",
        )
    return None


accumulate = Function(
    number="6.3",
    name="accumulate",
    reference=_accumulate,
    why="Each piece adds its share to p.grad, and the sum is the gradient of the whole batch; no "
    "more than `size` photos were in memory at once.",
    hints=(
        "backward() adds to p.grad (lesson 04). What must the losses of the pieces be multiplied "
        "with, so that their sum is the mean over all photos?",
        "images.split(size) cuts; a piece of 2 photos of 10 is a fifth of the mean.",
    ),
    worked=(
        "def accumulate(model, images, targets, size):\n"
        "    for some, their in zip(images.split(size), targets.split(size)):\n"
        "        loss = F.cross_entropy(model(some), their)\n"
        "        (loss * len(some) / len(images)).backward()"
    ),
    changes=("model",),
    judge=_judge_accumulate,
)

# ----------------------------------------------------------------------------------- 6.4 fits

START = {"train": "all", "photos at a time": 64, "pieces": 1, "pixels": 224, "bits": 32}
PHOTOS, BUDGET = 64, 600.0  # of one step of the optimizer; MB


@functools.lru_cache(maxsize=64)
def _a_photo(train: str, pixels: int, bits: int) -> tuple[float, float]:
    """MB kept whatever the batch (weights, gradients, AdamW's state, copies in 16 bits), and for each photo."""
    with torch.random.fork_rng(devices=[]):
        network = ft.replace_head(ft.load_backbone("resnet18"), 2)
    ft.train_mode(ft.apply_stage(network, ft.Stage(train=train)))
    weights = sum(p.numel() for p in network.parameters())
    moving = sum(p.numel() for p in network.parameters() if p.requires_grad)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bits == 16):
        two, four = (
            saved_megabytes(network, torch.zeros(n, 3, pixels, pixels), torch.arange(n) % 2)
            for n in (2, 4)
        )
    each = (four - two) / 2
    return 4 * (weights + 3 * moving) / 1e6 + two - 2 * each, each


def needed(plan: dict[str, Any]) -> dict[str, float]:
    """MB that a step keeps, by count: what does not grow with the batch, "activations", "together"."""
    always, each = _a_photo(plan["train"], plan["pixels"], plan["bits"])
    activations = each * plan["photos at a time"]
    whatever = "weights, gradients, AdamW"
    return {whatever: always, "activations": activations, "together": always + activations}


def _judge_fits(plan: dict[str, Any]) -> Wrong | None:
    photos = plan["photos at a time"] * plan["pieces"]
    if photos != PHOTOS:
        return Wrong(
            f"{plan['pieces']} x {plan['photos at a time']} are {photos} photos a step, not {PHOTOS}",
            "pieces times photos at a time.",
        )
    if plan["train"] != "all":
        return Wrong("not all layers train", "that would help; the task wants all of them to move.")
    if plan["pixels"] < 224:
        return Wrong(
            "the photos are smaller than 224 pixels", "that would help; the task wants 224."
        )
    mb = needed(plan)["together"]
    if mb > BUDGET:
        return Wrong(
            f"the step keeps {mb:,.0f} MB, and {BUDGET:,.0f} are there",
            "which part is the largest? What makes it smaller, and leaves the gradient as it is?",
        )
    return None


fits = Settings(
    number="6.4",
    name="fits",
    reference={"train": "all", "photos at a time": 16, "pieces": 4, "pixels": 224, "bits": 32},
    why="Accumulation takes memory for one piece at a time; 16 bits take about half. (By count: a real GPU wants "
    "more, for its libraries and for the backward pass.)",
    hints=(
        "weights, gradients and AdamW take 179 MB whatever you do. So it is the activations: of how many photos?",
        "the step must see 64 photos, but not at once: see exercise 6.3. And how many bytes has each activation?",
    ),
    worked='plan = {"train": "all", "photos at a time": 16, "pieces": 4, "pixels": 224, "bits": 32}',
    start=START,
    choices={
        "train": ("head", "layer4", "all"),
        "photos at a time": (1, 1024, "photos in the network at once"),
        "pieces": (1, 1024, "pieces of a step"),
        "pixels": (32, 512, "the side of a photo"),
        "bits": (32, 16),
    },
    judge=_judge_fits,
)
