"""Questions of lesson 04, the_training_loop."""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import ImageFolder

from ftcourse.exercises import Choice, Function, Value, Wrong, agrees, fabrics
from ftcourse.exercises.gives import Unfit, mapping, module, number, several, tuple_of
from ftcourse.exercises.guard import Failed
from ftcourse.models.backbones import load_backbone, weights_of
from ftcourse.models.freezing import freeze, train_mode, unfreeze

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

# -------------------------------------------------------------------------------- 4.6 evaluate


def _evaluate(model: nn.Module, loader: Any) -> tuple[float, float]:
    model.eval()
    loss, hits, samples = 0.0, 0, 0
    with torch.no_grad():
        for images, targets in loader:
            logits = model(images)
            loss += F.cross_entropy(logits, targets).item() * len(targets)
            hits += int((logits.argmax(1) == targets).sum())
            samples += len(targets)
    return loss / samples, hits / samples


@dataclass(frozen=True)
class _Measured:
    """A model with BatchNorm and dropout, and photos whose last batch is smaller and harder."""

    photos: int
    batch: int
    training: bool

    def loader(self) -> DataLoader:
        g = torch.Generator().manual_seed(self.photos)
        images = torch.randn(self.photos, 3, 6, 6, generator=g)
        targets = self.model().eval()(images).argmax(1)
        rest = self.photos % self.batch
        targets[-rest:] = (targets[-rest:] + 1) % 3  # all of the last batch are wrong, and two more
        targets[:2] = (targets[:2] + 2) % 3
        return DataLoader(TensorDataset(images, targets), batch_size=self.batch)

    def model(self) -> nn.Sequential:
        torch.manual_seed(2)
        model = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)
        )  # fmt: skip
        norm: Any = model[1]
        norm.running_mean += 0.2
        return model.train(self.training)


_MEASURED = (_Measured(19, 8, True), _Measured(11, 4, False))


def _judge_evaluate(attempt: Callable) -> Wrong | None:
    for case in _MEASURED:
        model, loader = case.model(), case.loader()
        graphs: list[bool] = []
        before = copy.deepcopy(model.state_dict())
        model.register_forward_pre_hook(
            lambda *_, seen=graphs: seen.append(torch.is_grad_enabled())
        )
        with torch.enable_grad():
            answer = attempt(model, loader)
        now = model.state_dict()
        if not torch.equal(now["1.running_mean"], before["1.running_mean"]):
            return Wrong(
                "BatchNorm has learnt from the photos that it was measured on",
                "the model may come in train mode: switch that first.",
            )
        if any(not torch.equal(now[name], before[name]) for name in before):
            return Wrong("the weights have moved", "measuring is no training: no step in here.")
        if wrong := _judge_measured(answer, case):
            return wrong
        if any(graphs):
            return Wrong(
                "the numbers are right; but a graph is recorded for gradients that nobody asks for",
                "put the loop under `with torch.no_grad():`, or torch.inference_mode().",
            )
    return None


def _judge_measured(answer: tuple[float, float], case: _Measured) -> Wrong | None:
    expected = _evaluate(case.model(), case.loader())
    if agrees(answer, expected):
        return None
    if agrees(answer, expected[::-1]):
        return Wrong("loss and accuracy have changed places", "first the loss, then the accuracy.")
    with torch.no_grad():
        model = case.model().eval()
        batches = [
            (F.cross_entropy(model(x), y).item(), _hits(model(x), y), len(y))
            for x, y in case.loader()
        ]
    losses, hits, sizes = (list(column) for column in zip(*batches, strict=True))
    n = len(batches)
    shares = [h / size for h, size in zip(hits, sizes, strict=True)]
    known = {
        "the loss": (
            (sum(losses) / n, "is averaged over batches, and the last one is smaller",
             "weight each batch's mean with the number of its photos."),
            (sum(losses), "is a sum of the batches' means", "weight each with its size; divide by all photos."),
            (sum(losses) / sum(sizes), "adds the batches' means as they are",
             "a mean times len(targets) is a sum."),
            (expected[0] * sum(sizes), "is a sum over the photos", "divide by how many there are."),
            (losses[-1], "is that of the last batch", "add up over all batches."),
        ),
        "the accuracy": (
            (sum(shares) / n, "is averaged over batches, and the last one is smaller",
             "count photos, then divide once."),
            (float(sum(hits)), "is a count", "divide by the number of photos."),
            (100 * expected[1], "is in percent", "give a fraction, between 0 and 1."),
            (1 - expected[1], "is the share of wrong answers", "count where argmax and target agree."),
            (shares[-1], "is that of the last batch", "add up over all batches."),
        ),
    }  # fmt: skip
    for (what, mistakes), given, right in zip(known.items(), answer, expected, strict=True):
        if agrees(given, right):
            continue
        for value, seen, hint in mistakes:
            if agrees(given, value):
                return Wrong(f"{what} {seen}", hint)
        return Wrong(f"{what} is {given:.3f} where {right:.3f} is expected")
    return None


def _hits(logits: Tensor, targets: Tensor) -> int:
    return int((logits.argmax(1) == targets).sum())


evaluate = Function(
    number="4.6",
    name="evaluate",
    reference=_evaluate,
    why="Each photo counts once, in loss and accuracy; the model rests in eval mode, and keeps no graph.",
    hints=(
        "two lines before the loop over batches: the mode, and no gradients. In it three running sums, as in "
        "train_one_epoch, and the photos that are right.",
        "logits.argmax(1) is the answer for each photo. Compare it with targets, and count: .sum().item().",
    ),
    worked=(
        "def evaluate(model, loader):\n"
        "    model.eval()\n"
        "    loss, hits, samples = 0.0, 0, 0\n"
        "    with torch.no_grad():\n"
        "        for images, targets in loader:\n"
        "            logits = model(images)\n"
        "            loss += F.cross_entropy(logits, targets).item() * len(targets)\n"
        "            hits += (logits.argmax(1) == targets).sum().item()\n"
        "            samples += len(targets)\n"
        "    return loss / samples, hits / samples"
    ),
    gives=tuple_of(number(), number(), hint="return loss, accuracy."),
    changes=("model",),
    judge=_judge_evaluate,
)

# ------------------------------------------------------------------------------------- 4.7 fit

Stages = Sequence[tuple[Sequence[str], int, float]]
ROW = ("train_loss", "val_loss", "accuracy")


def _begin_stage(model: nn.Module, groups: Sequence[str], lr: float) -> torch.optim.Optimizer:
    freeze(model)
    unfreeze(model, *groups)
    trains = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trains, lr=lr, weight_decay=0.0)


def _score(row: Mapping[str, float]) -> tuple[float, float]:
    return row["accuracy"], -row["val_loss"]


def _fit(
    model: nn.Module, train_loader: DataLoader, val_loader: DataLoader, stages: Stages
) -> list[dict[str, float]]:
    rows, states = _followed(model, train_loader, val_loader, stages)
    model.load_state_dict(states[rows.index(max(rows, key=_score))])
    return rows


def _followed(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    stages: Stages,
    order: Callable[[int, int], int | None] = lambda all_before, in_stage: all_before,
    from_best: bool = False,
    begin: Callable = _begin_stage,
) -> tuple[list[dict[str, float]], list[dict[str, Tensor]]]:
    """The rows and the weights of all epochs.

    Args:
        order: from the epochs done, in all and in this stage, the seed of the next one's order; None leaves it.
        from_best: a stage begins with the best weights so far.
        begin: makes the optimizer of a stage.
    """
    rows: list[dict[str, float]] = []
    states: list[dict[str, Tensor]] = []
    for groups, epochs, lr in stages:
        if from_best and rows:
            model.load_state_dict(states[rows.index(max(rows, key=_score))])
        optimizer = begin(model, groups, lr)
        for epoch in range(epochs):
            seed = order(len(rows), epoch)
            if seed is not None:
                train_loader.generator.manual_seed(seed)
            values = _train_one_epoch(model, train_loader, optimizer), *_evaluate(model, val_loader)
            rows.append(dict(zip(ROW, values, strict=True)))
            states.append({name: value.clone() for name, value in model.state_dict().items()})
    return rows, states


class _Net(nn.Module):
    """Small, with layer groups of its own: stem, layer4, head."""

    ftcourse_groups = {"stem": ["stem"], "layer4": ["layer4"], "head": ["fc"]}

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3)
        self.layer4 = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8))
        self.fc = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.layer4(self.stem(images).relu()).relu().mean((2, 3)))


@dataclass(frozen=True)
class _Run:
    """Two stages on photos of noise with a faint difference; the seed says which epoch is the best."""

    seed: int
    epochs: tuple[int, int]
    rates: tuple[float, float]

    @property
    def stages(self) -> list[tuple[list[str], int, float]]:
        groups = (["head"], ["layer4", "head"])
        return list(zip(groups, self.epochs, self.rates, strict=True))

    def parts(self) -> tuple[nn.Module, DataLoader, DataLoader]:
        """The model, and the loaders of train and val."""
        g = torch.Generator().manual_seed(self.seed)
        targets = torch.arange(40) % 2
        images = torch.randn(40, 1, 7, 7, generator=g)
        images[..., :3] += 0.5 * targets[:, None, None, None]
        torch.manual_seed(self.seed)
        model = _Net()
        train = TensorDataset(images[:24], targets[:24])
        loader = DataLoader(train, batch_size=8, shuffle=True, generator=torch.Generator())
        return model, loader, DataLoader(TensorDataset(images[24:], targets[24:]), batch_size=10)


# the best epoch is in the first stage; in the second, with ties of the accuracy; not the one of the smallest loss
_RUNS = (_Run(0, (3, 3), (0.05, 0.3)), _Run(3, (2, 4), (0.02, 0.02)))


def _judge_fit(attempt: Callable) -> Wrong | None:
    for run in _RUNS:
        rows, states = _followed(*run.parts(), run.stages)
        model, train_loader, val_loader = run.parts()
        with torch.enable_grad():
            given = attempt(model, train_loader, val_loader, run.stages)
        if wrong := _judge_rows(given, rows, run) or _judge_kept(model, rows, states):
            return wrong
    return None


def _judge_rows(
    given: list[dict[str, Any]], rows: list[dict[str, float]], run: _Run
) -> Wrong | None:
    if len(given) != len(rows):
        return Wrong(
            f"it returns {len(given)} rows for {len(rows)} epochs in {len(run.stages)} stages",
            "one list for all stages, and a row after each epoch.",
        )
    absent = [key for key in ROW if any(key not in row for row in given)]
    if absent:
        return Wrong(f"a row has no {absent[0]!r}", f"a row is a dict with {', '.join(ROW)}.")
    values = [[number()(row[key]) for key in ROW] for row in given]
    if _as_rows(values, rows):
        return None
    if _as_rows(values, _followed(*run.parts(), run.stages, order=lambda *_: None)[0]):
        return Wrong(
            "the rows are those of another order of the photos",
            "before each epoch: train_loader.generator.manual_seed(...), with the epochs so far.",
        )
    if _as_rows(values, _followed(*run.parts(), run.stages, order=lambda _, inside: inside)[0]):
        return Wrong(
            "the second stage begins again with the order of epoch 0",
            "count the epochs of all stages: len(rows).",
        )
    if _as_rows(values, _followed(*run.parts(), run.stages, from_best=True)[0]):
        return Wrong(
            "the second stage begins with the best weights of the first",
            "load the best once, after the last stage.",
        )
    for i, (ours, theirs) in enumerate(zip(values, rows, strict=True)):
        for key, value in zip(ROW, ours, strict=True):
            if not agrees(value, theirs[key], 1e-3):
                return Wrong(
                    f"{key} of epoch {i + 1} is {value:.3f}, expected {theirs[key]:.3f}",
                    "a stage: begin_stage once. An epoch: the seed, train_one_epoch, evaluate, a row.",
                )
    return None


def _as_rows(values: list[list[float]], rows: list[dict[str, float]]) -> bool:
    return all(
        agrees(ours, [row[key] for key in ROW], 1e-3)
        for ours, row in zip(values, rows, strict=True)
    )


def _judge_kept(
    model: nn.Module, rows: list[dict], states: list[dict[str, Tensor]]
) -> Wrong | None:
    now, best = model.state_dict(), rows.index(max(rows, key=_score))

    def has(epoch: int) -> bool:
        return all(agrees(now[name], value, 1e-3) for name, value in states[epoch].items())

    if has(best):
        return None
    found = [i for i in range(len(rows)) if has(i)]
    if not found:
        return Wrong(
            "the rows are right; the model ends with weights that no epoch has had",
            "clone all that state_dict() has, and load all of it.",
        )
    seen = f"the rows are right; the model ends with the weights of epoch {found[0] + 1}"
    better = f"where epoch {best + 1} was better on validation"
    if found[0] == len(rows) - 1:
        return Wrong(
            f"{seen}, the last, {better}",
            "a clone of each tensor when an epoch is the best so far; after all stages load_state_dict.",
        )
    return Wrong(f"{seen}, {better}", "the best of all rows, of both stages, by `score`.")


fit = Function(
    number="4.7",
    name="fit",
    reference=_fit,
    why="A row for each epoch, and in the end the model has the weights that did best on validation, "
    "whichever stage they come from.",
    hints=(
        "two loops, one in the other: over stages, over epochs. The optimizer is made in the outer one. The best "
        "weights outlive both, so their name is there before.",
        "is the last row the best so far? max(rows, key=score) tells. If so, clone: a dict with .clone() of every "
        "value. Load it when all stages are over.",
    ),
    worked=(
        "def fit(model, train_loader, val_loader, stages):\n"
        "    rows, best = [], None\n"
        "    for groups, epochs, lr in stages:\n"
        "        optimizer = begin_stage(model, groups, lr)\n"
        "        for _ in range(epochs):\n"
        "            train_loader.generator.manual_seed(len(rows))\n"
        "            train_loss = train_one_epoch(model, train_loader, optimizer)\n"
        "            val_loss, accuracy = evaluate(model, val_loader)\n"
        '            rows.append({"train_loss": train_loss, "val_loss": val_loss, "accuracy": accuracy})\n'
        "            if max(rows, key=score) is rows[-1]:\n"
        "                best = {name: value.clone() for name, value in model.state_dict().items()}\n"
        "    model.load_state_dict(best)\n"
        "    return rows"
    ),
    gives=several(mapping(hint="a row is a dict."), hint="return the list of rows."),
    changes=("model", "train_loader"),
    judge=_judge_fit,
)

# ------------------------------------------------------------------------ 4.8 fine_tune_folder

ENOUGH = 0.7  # of the new photos; guessing has a third, answers that train have 0.8 and more
NEW = 10  # photos of each class that are in no folder


def _fine_tune_folder(folder: Path, model: Any, transform: Callable, file: Path) -> nn.Module:
    train = ImageFolder(folder / "train", transform)
    model.requires_grad_(False)
    model.fc = nn.Linear(model.fc.in_features, len(train.classes))
    optimizer = torch.optim.AdamW(model.fc.parameters(), lr=0.01)
    model.eval()  # what is frozen rests, BatchNorm included
    for _ in range(6):
        for images, targets in DataLoader(train, batch_size=16, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
    torch.save(model.state_dict(), file)
    return model


def _judge_fine_tune_folder(attempt: Callable) -> Wrong | None:
    with tempfile.TemporaryDirectory() as place:
        folder, file = fabrics.write(Path(place) / "fabrics"), Path(place) / "tuned.pt"
        model = load_backbone("resnet18").train()
        weights: Any = weights_of(model)
        transform = weights.transforms(crop_size=64, resize_size=73)  # small, to be quick
        with torch.enable_grad():
            tuned = attempt(folder, model, transform, file)
        photos, targets = fabrics.held_out(NEW)
        images = torch.stack([transform(photo) for photo in photos])
        return (
            _judge_answers(tuned, images, torch.tensor(targets))
            or _judge_mode(tuned, images)
            or _judge_file(file, tuned, images)
        )


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """In eval mode, whatever mode the model is in and stays in."""
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images)


def _judge_answers(model: nn.Module, images: Tensor, targets: Tensor) -> Wrong | None:
    logits, classes = _logits(model, images), len(fabrics.CLASSES)
    if logits.ndim != 2 or logits.shape[1] != classes:
        return Wrong(
            f"the folder of this check has {classes} classes; for {len(images)} photos the model gives "
            f"{tuple(logits.shape)}",
            "a new head with one output for each class that the folder has.",
        )
    answers = logits.argmax(1)
    right = float((answers == targets).float().mean())
    if right >= ENOUGH:
        return None
    seen = f"of {len(targets)} new photos {right:.0%} are right; guessing has 33%, asked are {ENOUGH:.0%}"
    seen = seen.replace("%", " %")
    if len(answers.unique()) == 1:
        return Wrong(
            f"{seen}: it gives one class to all", "does the loss fall? Print it each epoch."
        )
    return Wrong(
        seen,
        "does the loss fall? Print it each epoch; then more epochs, or another learning rate.",
    )


def _judge_mode(model: nn.Module, images: Tensor) -> Wrong | None:
    with torch.no_grad():  # as it came, and in eval mode: a flag that changes nothing is no mistake
        apart = (copy.deepcopy(model)(images) - _logits(model, images)).abs().max()
    if apart < 1e-4:
        return None
    return Wrong(
        "the model comes back in train mode: its answer for a photo depends on the photos beside it",
        "whoever gets a model wants to use it: eval mode, before you return it.",
    )


def _judge_file(file: Path, model: nn.Module, images: Tensor) -> Wrong | None:
    if not file.exists():
        return Wrong("there is no file at `file`", "torch.save(what, where).")
    try:
        loaded = torch.load(file, weights_only=True)
    except Exception as err:
        kind = type(err).__name__
        return Wrong(
            f"torch.load(file, weights_only=True) stops with {kind}",
            "save the weights, no model object: state_dict().",
        )
    names = set(model.state_dict())
    held = [loaded, *loaded.values()] if isinstance(loaded, Mapping) else []
    found = [one for one in held if isinstance(one, Mapping) and set(one) == names]
    if not found:
        return Wrong(
            "the file does not hold all weights and statistics of the model that came back",
            "save model.state_dict(), as a whole.",
        )
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    try:
        other.load_state_dict(found[0])
    except RuntimeError:
        return Wrong(
            "the weights of the file have other shapes than the model's", "save what you return."
        )
    apart = float((_logits(other, images) - _logits(model, images)).abs().max())
    if not apart < 1e-3:
        return Wrong(
            f"with the weights of the file the logits differ by up to {apart:.2g}",
            "save the very weights that you return: after the last step, or after the best are loaded.",
        )
    return None


fine_tune_folder = Function(
    number="4.8",
    name="fine_tune_folder",
    reference=_fine_tune_folder,
    why="The model names photos that it has never seen, has one output a class, rests in eval mode, and its "
    "file gives the same answers in another program.",
    hints=(
        "in this order: read the folder, put a new head on, choose what trains, go over the batches a few times, "
        "save, return. `fit` and its parts may serve you.",
        "the least that works: ImageFolder and a DataLoader on train/; everything frozen but model.fc, which is "
        "a new nn.Linear; some epochs of the five lines; then torch.save.",
    ),
    worked=(
        "def fine_tune_folder(folder, model, transform, file):\n"
        '    train = ImageFolder(folder / "train", transform)\n'
        "    model.requires_grad_(False)\n"
        "    model.fc = nn.Linear(model.fc.in_features, len(train.classes))\n"
        "    optimizer = torch.optim.AdamW(model.fc.parameters(), lr=0.01)\n"
        "    model.eval()  # what is frozen rests, BatchNorm included\n"
        "    for _ in range(6):\n"
        "        for images, targets in DataLoader(train, batch_size=16, shuffle=True):\n"
        "            optimizer.zero_grad()\n"
        "            F.cross_entropy(model(images), targets).backward()\n"
        "            optimizer.step()\n"
        "    torch.save(model.state_dict(), file)\n"
        "    return model"
    ),
    gives=module(),
    changes=("model",),
    judge=_judge_fine_tune_folder,
)
