"""Questions of lesson 04, the_training_loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ftcourse.exercises import Choice, Function, Value, Wrong, agrees
from ftcourse.exercises.gives import Unfit, number
from ftcourse.exercises.guard import Failed
from ftcourse.models.freezing import train_mode

# -------------------------------------------------------------------------------- 4.1 sgd_step


def _sgd_step(model: nn.Module, lr: float) -> None:
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.sub_(lr * p.grad)


def _with_gradients(*sizes: int, frozen: int) -> nn.Sequential:
    """A small network with gradients for all but its first layers, which are frozen."""
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))
    model[: 2 * frozen].requires_grad_(False)
    with torch.enable_grad():
        model(torch.randn(6, sizes[0])).square().sum().backward()
        for p in model.parameters():  # far from zero, so that a wrong sign or factor shows
            if p.grad is not None:
                p.grad += (0.5 + torch.rand_like(p)) * torch.randn_like(p).sign()
    return model


def _judge_sgd_step(attempt: Callable) -> Wrong | None:
    for sizes, frozen, lr in (((5, 4, 3, 2), 1, 0.1), ((3, 6), 0, 2.0), ((2, 3, 4, 3), 2, 0.01)):
        model = _with_gradients(*sizes, frozen=frozen)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        slopes = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        if wrong := _stepped(attempt, model, lr):
            return wrong
        if any(
            p.grad is not None and not torch.equal(p.grad, slopes.get(n, p.grad + 1))
            for n, p in model.named_parameters()
        ):
            return Wrong("it changes the gradients", "leave p.grad as it is; change p alone.")
        now = {name: p.detach() for name, p in model.named_parameters()}
        if wrong := _judge_moves(now, before, slopes, lr):
            return wrong
    return None


def _stepped(attempt: Callable, model: nn.Module, lr: float) -> Wrong | None:
    """Make the attempt's step; what typically stops it is told in more words."""
    try:
        with torch.enable_grad():
            attempt(model, lr)
    except Failed as err:
        if "in-place" in str(err):
            return Wrong(
                "autograd objects: a weight that needs gradients is changed in place",
                "this change is not part of the network: make it under `with torch.no_grad():`.",
            )
        if "NoneType" in str(err):
            return Wrong(
                "it stops at a frozen weight, whose gradient is None",
                "skip the parameters whose p.grad is None.",
            )
        raise
    return None


def _judge_moves(
    now: dict[str, Tensor], before: dict[str, Tensor], slopes: dict[str, Tensor], lr: float
) -> Wrong | None:
    def are(factor: float) -> bool:
        """Has each tensor with a gradient moved by `factor` times it?"""
        return all(agrees(now[n], before[n] + factor * slopes[n]) for n in slopes)

    if any(not torch.equal(now[n], before[n]) for n in before if n not in slopes):
        return Wrong("frozen weights have moved", "no gradient, no step.")
    if are(-lr):
        return None
    if are(0.0):
        return Wrong(
            "no weight has moved",
            "`p = p - ...` only gives the name p to a new tensor; change the tensor itself: "
            "`p -= lr * p.grad`.",
        )
    if are(lr):
        return Wrong("every weight has gone uphill", "downhill is against the gradient: minus.")
    if are(-1.0):
        return Wrong("the step is not scaled by lr", "lr times the gradient.")
    moved = [n for n in slopes if not torch.equal(now[n], before[n])]
    if len(moved) < len(slopes):
        return Wrong(
            f"only {len(moved)} of {len(slopes)} tensors with a gradient have moved",
            "θ and φ alike: loop over all of model.parameters().",
        )
    return Wrong("the weights have moved, but not by minus lr times the gradient")


sgd_step = Function(
    number="4.1",
    name="sgd_step",
    reference=_sgd_step,
    why="Each weight has moved by minus lr times its gradient, in θ and φ alike; what has no "
    "gradient has stayed.",
    hints=(
        "one line a parameter: new weight = old weight - lr x gradient. Where is the gradient?",
        "three things around that line: no recording, all parameters, and none whose gradient is None.",
    ),
    worked=(
        "def sgd_step(model, lr):\n"
        "    with torch.no_grad():\n"
        "        for p in model.parameters():\n"
        "            if p.grad is not None:\n"
        "                p -= lr * p.grad"
    ),
    changes=("model",),
    judge=_judge_sgd_step,
)

# ----------------------------------------------------------------------------------- 4.2 order

order = Choice(
    number="4.2",
    name="order",
    reference="a, b, d",
    why="Each time step() finds the gradient of this batch, and of this batch alone: the old one is "
    "emptied somewhere after the last step() and before backward().",
    hints=(
        "for each program ask: what is in p.grad when step() is called?",
        "the gradient must be there, and must be of this batch alone. Go through two batches, line by line.",
    ),
    worked='answer = "a, b, d"',
    options={
        "a": None,
        "b": None,
        "c": Wrong(
            "C throws the gradient away before it is used, and nothing moves",
            "what is in p.grad when step() is called?",
        ),
        "d": None,
        "e": Wrong(
            "E never empties p.grad, so that every step uses the gradients of all batches so far",
            "backward() adds. Who takes away?",
        ),
    },
)

# --------------------------------------------------------------------------- 4.3 true_accuracy

true_accuracy = Value(
    number="4.3",
    name="true_accuracy",
    reference=0.85,
    why="34 of 40 photos are right, 0.85. The mean of the two batches, 0.72, lets each photo of the "
    "small batch count four times.",
    hints=(
        "forget the batches: how many photos are there, and how many of them are right?",
        "add the right ones of both batches, and the photos of both. Then divide once.",
    ),
    worked="accuracy = (30 + 4) / (32 + 8)",
    mistakes=(
        (
            (30 / 32 + 4 / 8) / 2,
            Wrong(
                "that is the mean of 0.9375 and 0.5: the 8 photos count as much as the 32",
                "count photos, not batches.",
            ),
        ),
        (34.0, Wrong("34 photos are right", "give the share: divide by all of them.")),
        (85.0, Wrong("that is in percent", "give a fraction, between 0 and 1.")),
        (0.9375, Wrong("that is the first batch alone", "the last 8 photos count, too.")),
        (0.5, Wrong("that is the last batch alone", "the first 32 photos count, too.")),
        (0.15, Wrong("that is the share of wrong answers", "the share of right ones is asked.")),
    ),
)

# ------------------------------------------------------------------------- 4.4 train_one_epoch


def _train_one_epoch(model: nn.Module, loader: Any, optimizer: torch.optim.Optimizer) -> float:
    train_mode(model)
    total, samples = 0.0, 0
    for images, targets in loader:
        loss = F.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(targets)
        samples += len(targets)
    return total / samples


def _a_loss(value: Any) -> float:
    """A plain number; a tensor that holds graphs is refused."""
    if value is None:
        raise Unfit("your function returns nothing", "after the loop, return the mean loss.")
    if isinstance(value, Tensor) and value.requires_grad:
        raise Unfit(
            "it returns a tensor that keeps the graphs of all batches in memory",
            "add up loss.item(), a plain number.",
        )
    return number("return one number: the loss.")(value)


@dataclass(frozen=True)
class _Case:
    """An epoch to be trained: photos, their classes, batches, and how the model comes."""

    photos: int
    batch: int
    classes: int
    training: bool
    momentum: float

    def loader(self) -> DataLoader:
        """A real one; its last batch is smaller, and has a class of its own, so that means differ."""
        g = torch.Generator().manual_seed(self.photos)
        images = torch.randn(self.photos, 3, 8, 8, generator=g) + 1
        targets = torch.randint(0, self.classes - 1, (self.photos,), generator=g)
        targets[-(self.photos % self.batch) :] = self.classes - 1
        return DataLoader(TensorDataset(images, targets), batch_size=self.batch)

    def model(self) -> Any:
        """A small network: its first convolution and BatchNorm frozen, the rest trains."""
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, self.classes),
        )  # fmt: skip
        model[:2].requires_grad_(False)
        return model.train(self.training)

    def trained(self, how: Callable, batches: Any = None) -> tuple[Any, Any]:
        """The model after an epoch trained by `how`, and what that returned."""
        model = self.model()
        trains = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trains, lr=0.2, momentum=self.momentum)
        with torch.enable_grad():
            return model, how(model, self.loader() if batches is None else batches, optimizer)


_CASES = (_Case(19, 8, 3, False, 0.5), _Case(13, 5, 4, True, 0.0))


def _with(mode: Callable, zero: bool = True, loss: Callable = F.cross_entropy) -> Callable:
    """A loop with a mistake, to compare an attempt with."""

    def loop(model: nn.Module, batches: Any, optimizer: Any) -> None:
        mode(model)
        for images, targets in batches:
            if zero:
                optimizer.zero_grad()
            loss(model(images), targets).backward()
            optimizer.step()

    return loop


def _same(a: nn.Module, b: nn.Module) -> bool:
    """Do all weights agree?"""
    return all(map(agrees, a.parameters(), b.parameters()))


def _judge_train_one_epoch(attempt: Callable) -> Wrong | None:
    for case in _CASES:
        start, (right, mean) = case.model(), case.trained(_train_one_epoch)
        model, answer = case.trained(attempt)
        if wrong := _judge_modes(model, start) or _judge_steps(model, right, start, case):
            return wrong
        if not agrees(answer, mean):
            return _wrong_mean(answer, mean, case)
    return None


def _judge_modes(model: Any, start: Any) -> Wrong | None:
    if not torch.equal(model[1].running_mean, start[1].running_mean):
        return Wrong(
            "the statistics of a frozen BatchNorm have moved",
            "begin with ft.train_mode(model) of lesson 03 instead of model.train().",
        )
    if torch.equal(model[4].running_mean, start[4].running_mean) and not _same(model, start):
        return Wrong(
            "the BatchNorm that trains has stayed in eval mode",
            "the model may come in eval mode; begin with ft.train_mode(model).",
        )
    return None


def _judge_steps(model: Any, right: Any, start: Any, case: _Case) -> Wrong | None:
    if _same(model, right):
        return None
    if _same(model, start):
        return Wrong(
            "no weight has moved in this epoch",
            "for each batch: zero_grad, forward, loss, backward, step, in this order.",
        )
    if _same(model, case.trained(_train_one_epoch, list(case.loader())[:1])[0]):
        return Wrong(
            "only the first batch was used", "is `return` inside the loop? It belongs after it."
        )
    if _same(model, case.trained(_with(train_mode, zero=False))[0]):
        return Wrong(
            "the gradients of earlier batches are still in the sum",
            "empty them for each batch: optimizer.zero_grad().",
        )
    twice = _with(train_mode, loss=lambda z, t: F.cross_entropy(z.softmax(1), t))
    if _same(model, case.trained(twice)[0]):
        return Wrong("softmax was applied twice", "F.cross_entropy takes the logits as they are.")
    return Wrong(
        "the weights are not those of one step of the optimizer for each batch",
        "for each batch: zero_grad, forward, loss, backward, step; nothing else changes weights.",
    )


def _wrong_mean(answer: float, mean: float, case: _Case) -> Wrong:
    losses: list[float] = []
    batches = list(case.loader())
    case.trained(lambda m, b, o: losses.extend(_train_one_epoch(m, [one], o) for one in b), batches)
    if agrees(answer, sum(losses) / len(losses)):
        return Wrong(
            "the steps are right; the loss is averaged over batches, and the last one is smaller",
            "add up loss.item() * len(targets), and divide by the number of photos.",
        )
    if agrees(answer, sum(losses)) or agrees(answer, mean * case.photos):
        return Wrong("the steps are right; it returns a sum", "divide by the number of photos.")
    if agrees(answer, sum(losses) / case.photos):
        return Wrong(
            "the steps are right; the batches' means are added as they are",
            "loss.item() is a mean: times len(targets) it is the batch's sum.",
        )
    if agrees(answer, losses[-1]):
        return Wrong(
            "the steps are right; it returns the loss of the last batch",
            "add up over the epoch: loss.item() * len(targets).",
        )
    return Wrong(
        "the steps are right; the loss is not the mean over the photos",
        "sum of loss.item() * len(targets), divided by the sum of len(targets).",
    )


train_one_epoch = Function(
    number="4.4",
    name="train_one_epoch",
    reference=_train_one_epoch,
    why="One step of the optimizer for each batch, from that batch's gradient alone; frozen "
    "BatchNorm rests; each photo counts once in the mean.",
    hints=(
        "before the loop the mode; in the loop five lines for the step and two for the sum; after "
        "it one division.",
        "the mean needs two running sums, of losses and of photos. What must a batch's mean loss be "
        "multiplied with, before it is added?",
    ),
    worked=(
        "def train_one_epoch(model, loader, optimizer):\n"
        "    ft.train_mode(model)\n"
        "    total, samples = 0.0, 0\n"
        "    for images, targets in loader:\n"
        "        loss = F.cross_entropy(model(images), targets)\n"
        "        optimizer.zero_grad()\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
        "        total += loss.item() * len(targets)\n"
        "        samples += len(targets)\n"
        "    return total / samples"
    ),
    gives=_a_loss,
    changes=("model", "optimizer"),
    judge=_judge_train_one_epoch,
)

# --------------------------------------------------------------------------- 4.5 honest_number

honest_number = Choice(
    number="4.5",
    name="honest_number",
    reference="c",
    why="Validation chose B, and the test split was looked at for B alone: 0.84 had no say in any "
    "choice, so it is what new photos will see, give or take chance.",
    hints=(
        "which of the numbers had a say in the choice? Those are too good.",
        "two steps, and a split for each: first choose, then measure what was chosen, whatever comes.",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "0.93 is the largest of four validation results: part of it is luck, and you chose it "
            "for that luck",
            "which split had no say in the choice?",
        ),
        "b": Wrong(
            "to pick by the test split makes it a second validation split, and its best number is "
            "lucky, too",
            "choose without looking at test.",
        ),
        "c": None,
        "d": Wrong(
            "the mean mixes runs that you will not use, and 0.93, which had a say in the choice",
            "report the one network that you chose.",
        ),
    },
)
