"""Questions of lesson 04, the_training_loop."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ftcourse.exercises import Choice, Function, Value, Wrong, same_value
from ftcourse.models.freezing import train_mode

Batches = list[tuple[Tensor, Tensor]]

# -------------------------------------------------------------------------------- 4.1 sgd_step


def _sgd_step(model: nn.Module, lr: float) -> None:
    with torch.no_grad():
        for p in model.parameters():
            if p.grad is not None:
                p.sub_(lr * p.grad)


def _with_gradients() -> tuple[nn.Sequential, dict[str, Tensor]]:
    """A small network with gradients for all but its frozen first layer, and its weights as they were."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    with torch.enable_grad():
        F.cross_entropy(model(torch.randn(6, 5)), torch.tensor([0, 1, 0, 1, 1, 0])).backward()
        for p in model.parameters():  # well above zero, so that a wrong sign or factor shows
            if p.grad is not None:
                p.grad += 0.5 + torch.rand_like(p)
    return model, {name: p.detach().clone() for name, p in model.named_parameters()}


def _judge_sgd_step(attempt: Callable) -> Wrong | None:
    model, before = _with_gradients()
    lr = 0.1
    expected = {
        name: before[name] if p.grad is None else before[name] - lr * p.grad
        for name, p in model.named_parameters()
    }
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    try:
        with torch.enable_grad():
            attempt(model, lr)
    except RuntimeError as err:
        if "in-place" in str(err):
            return Wrong(
                "autograd objects: a weight that needs gradients is changed in place",
                "this change is not part of the network: make it under `with torch.no_grad():`.",
            )
        raise
    except (TypeError, AttributeError) as err:
        if "NoneType" in str(err):
            return Wrong(
                "it stops at a frozen weight, whose gradient is None",
                "skip the parameters whose p.grad is None.",
            )
        raise
    now = {name: p.detach() for name, p in model.named_parameters()}
    return _judge_moves(now, before, expected, gradients, lr)


def _judge_moves(
    now: dict[str, Tensor],
    before: dict[str, Tensor],
    expected: dict[str, Tensor],
    gradients: dict[str, Tensor],
    lr: float,
) -> Wrong | None:
    def are(factor: float) -> bool:
        """Has each tensor with a gradient moved by `factor` times it?"""
        return all(torch.allclose(now[n], before[n] + factor * gradients[n]) for n in gradients)

    if any(not torch.equal(now[n], before[n]) for n in before if n not in gradients):
        return Wrong("frozen weights have moved", "no gradient, no step.")
    if all(torch.allclose(now[n], expected[n], atol=1e-6) for n in now):
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
    moved = [n for n in gradients if not torch.equal(now[n], before[n])]
    if len(moved) < len(gradients):
        return Wrong(
            f"only {len(moved)} of {len(gradients)} tensors with a gradient have moved",
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
        "with torch.no_grad(): for p in model.parameters(): if p.grad is not None: "
        "p -= lr * p.grad",
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
        "it must be there (after backward), and must be of this batch alone (zero_grad after the "
        "last step, before backward). Where exactly zero_grad stands does not matter.",
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


def _is_percent(answer: Any) -> bool:
    return same_value(answer, 85) or same_value(answer, 85.0)


true_accuracy = Value(
    number="4.3",
    name="true_accuracy",
    reference=0.85,
    why="34 of 40 photos are right, 0.85. The mean of the two batches, 0.72, lets each photo of the "
    "small batch count four times.",
    hints=(
        "forget the batches: how many photos are there, and how many of them are right?",
        "30 + 4 right of 32 + 8 photos.",
    ),
    worked="accuracy = (30 + 4) / (32 + 8)",
    mistakes=(
        (
            lambda a: abs(float(a) - 0.71875) < 0.006,
            Wrong(
                "that is the mean of 0.9375 and 0.5: the 8 photos count as much as the 32",
                "count photos, not batches.",
            ),
        ),
        (34, Wrong("34 photos are right", "give the share: divide by all of them.")),
        (_is_percent, Wrong("that is in percent", "give a fraction, between 0 and 1.")),
        (0.9375, Wrong("that is the first batch alone", "the last 8 photos count, too.")),
        (0.5, Wrong("that is the last batch alone", "the first 32 photos count, too.")),
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


def _half_frozen() -> Any:
    """A small network, in eval mode: its first convolution and BatchNorm frozen, the rest trains."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    model[:2].requires_grad_(False)
    return model.eval()


def _batches() -> Batches:
    """Three batches, the last of them smaller and with other labels, so that means differ."""
    torch.manual_seed(2)
    sizes = (8, 8, 3)
    batches = [(torch.randn(n, 3, 12, 12) + 1, torch.randint(0, 2, (n,))) for n in sizes]
    batches[-1][1][:] = 2
    return batches


def _epoch(how: Callable, batches: Batches, **options: Any) -> tuple[Any, Any]:
    """The model after an epoch trained by `how`, and what that returned."""
    model = _half_frozen()
    trains = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trains, lr=0.2, momentum=0.5)
    with torch.enable_grad():
        return model, how(model, batches, optimizer, **options)


def _variant(model: nn.Module, batches: Batches, optimizer: Any, mode: Any, zero: bool) -> None:
    """A loop with a mistake, to compare an attempt with."""
    mode(model)
    for images, targets in batches:
        if zero:
            optimizer.zero_grad()
        F.cross_entropy(model(images), targets).backward()
        optimizer.step()


def _same(a: nn.Module, b: nn.Module) -> bool:
    """Do all weights agree?"""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.allclose(x, y, atol=1e-5) for x, y in pairs)


def _judge_train_one_epoch(attempt: Callable) -> Wrong | None:
    batches = _batches()
    start = _half_frozen()
    right, mean = _epoch(_train_one_epoch, copy.deepcopy(batches))
    model, answer = _epoch(attempt, copy.deepcopy(batches))
    if _same(model, start):
        return Wrong(
            "no weight has moved in this epoch",
            "for each batch: zero_grad, forward, loss, backward, step, in this order.",
        )
    if not torch.equal(model[1].running_mean, start[1].running_mean):
        return Wrong(
            "the statistics of a frozen BatchNorm have moved",
            "begin with ft.train_mode(model) of lesson 03 instead of model.train().",
        )
    if torch.equal(model[4].running_mean, start[4].running_mean):
        return Wrong(
            "the BatchNorm that trains has stayed in eval mode",
            "the model comes in eval mode; begin with ft.train_mode(model).",
        )
    if not _same(model, right):
        return _wrong_steps(model, batches)
    return _judge_mean(answer, mean, batches)


def _wrong_steps(model: nn.Module, batches: Batches) -> Wrong:
    if _same(model, _epoch(_train_one_epoch, batches[:1])[0]):
        return Wrong(
            "only the first batch was used", "is `return` inside the loop? It belongs after it."
        )
    if _same(model, _epoch(_variant, batches, mode=train_mode, zero=False)[0]):
        return Wrong(
            "the gradients of earlier batches are still in the sum",
            "empty them for each batch: optimizer.zero_grad().",
        )
    return Wrong(
        "the weights are not those of one step of the optimizer for each batch",
        "for each batch: zero_grad, forward, loss, backward, step; nothing else changes weights.",
    )


def _judge_mean(answer: Any, mean: float, batches: Batches) -> Wrong | None:
    if answer is None:
        return Wrong("the steps are right; your function returns nothing", "return the mean loss.")
    if isinstance(answer, Tensor) and answer.requires_grad:
        return Wrong(
            "it returns a tensor that keeps the graphs of all batches in memory",
            "add up loss.item(), a plain number.",
        )
    try:
        value = float(answer)
    except (TypeError, ValueError):
        kind = type(answer).__name__
        return Wrong(f"the steps are right; it returns a {kind}", "return one number: the loss.")
    if same_value(value, mean):
        return None
    losses: list[float] = []
    _epoch(lambda m, b, o: losses.extend(_train_one_epoch(m, [one], o) for one in b), batches)
    sizes = [len(targets) for _, targets in batches]
    if same_value(value, sum(losses) / len(losses)):
        return Wrong(
            "the steps are right; the loss is averaged over batches, and the last one is smaller",
            "add up loss.item() * len(targets), and divide by the number of photos.",
        )
    if same_value(value, sum(losses)) or same_value(value, mean * sum(sizes)):
        return Wrong("the steps are right; it returns a sum", "divide by the number of photos.")
    if same_value(value, losses[-1]):
        return Wrong(
            "the steps are right; it returns the loss of the last batch",
            "add up over the epoch: loss.item() * len(targets).",
        )
    return Wrong(
        f"the steps are right; the loss is {value:.3f}, expected {mean:.3f}",
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
        "ft.train_mode(model); then for images, targets in loader: loss, zero_grad, backward, "
        "step, total += loss.item() * len(targets), samples += len(targets).",
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
        "choose by validation, without looking at test; then report the test number of what you "
        "chose, whatever it is.",
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
            "the mean mixes runs that you will not use, and 0.91 was in the choice",
            "report the one network that you chose.",
        ),
    },
)
