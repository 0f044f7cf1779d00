"""Questions of lesson 12, silent_bugs."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.resnet import BasicBlock, ResNet

import ftcourse as ft
from ftcourse.exercises import Choice, Draw, Function, Value, Wrong
from ftcourse.exercises.gives import Unfit, module, number, truth, tuple_of

# ------------------------------------------------------------------------ 12.1 below_guessing

below_guessing = Choice(
    number="12.1",
    name="below_guessing",
    reference="c",
    why="To be wrong nine times out of ten you have to know the answer. The network tells the two "
    "kinds apart; validation calls them by other numbers.",
    hints=(
        "what accuracy would a network have that knows nothing at all about these photos?",
        "0.5. Ask of each explanation: can it push the accuracy below that?",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "what is learnt by heart is of no use on new photos, and so leads to guessing: 0.5",
            "which explanation leads below 0.5?",
        ),
        "b": Wrong(
            "on photos that are too hard a network guesses, and is right half of the time",
            "which explanation leads below 0.5?",
        ),
        "c": None,
        "d": Wrong(
            "guessing gets 4 or fewer of 40 right less than once in a million times",
            "this is no accident. What would a network have to know to be so wrong?",
        ),
    },
)

# -------------------------------------------------------------------------- 12.2 lowest_loss

_FLOOR = math.log(1 + math.exp(-1))

lowest_loss = Value(
    number="12.2",
    name="lowest_loss",
    reference=_FLOOR,
    why="The best that can go in is (1, 0), and softmax makes 1 / (1 + 1/e) = 0.73 of the 1. The "
    "loss can never fall below -log 0.73 = 0.31.",
    hints=(
        "the best outputs of the first softmax are 1 for the right class and 0 for the other.",
        "what does a second softmax make of the pair (1, 0)? The loss is minus the natural logarithm of what the "
        "right class gets.",
    ),
    worked="import math\n\nguess = -math.log(math.e / (math.e + 1))",
    mistakes=(
        (0, Wrong("0 needs a probability of 1 after the second softmax", "can it give that?")),
        (math.log(2), Wrong("log 2 is where it starts", "how far down can it go?")),
        (math.exp(-_FLOOR), Wrong("that is the probability", "the loss is minus its log.")),
        (1 - math.exp(-_FLOOR), Wrong("that goes to the other class", "which class is right?")),
        (1 + _FLOOR, Wrong("that is the highest it can be", "put the 1 on the right class.")),
        (-_FLOOR, Wrong("that is the logarithm itself", "the loss is minus the logarithm.")),
        (_FLOOR / math.log(10), Wrong("that is log10", "PyTorch uses the natural logarithm.")),
        (_FLOOR / math.log(2), Wrong("that is log2", "PyTorch uses the natural logarithm.")),
        (
            math.exp(-1),
            Wrong(
                "that forgets to divide by the sum", "a softmax divides by the sum; then the log."
            ),
        ),
        (
            lambda a: 0.3 <= a < 0.33,
            Wrong("that is near", "keep two digits, rounded, and round at the end only."),
        ),
    ),
)

# --------------------------------------------------------------------------- 12.3 make_ready


@functools.cache
def _resnet(width: int, classes: int) -> Any:
    """torchvision's ResNet with one block a stage and few channels, as if pre-trained, in eval mode: copy it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(width)
        model: Any = ResNet(BasicBlock, [1, 1, 1, 1])
        model.inplanes = width
        model.conv1, model.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        for i in range(4):
            layer = model._make_layer(BasicBlock, width * 2**i, 1, stride=2 if i else 1)
            setattr(model, f"layer{i + 1}", layer)
        model.fc = nn.Linear(8 * width, classes)
        with torch.no_grad():  # from here on the statistics are those of normalised photos
            for _ in range(10):
                model(torch.randn(8, 3, 64, 64))
    return model.eval()


def _make_ready(model: Any, num_classes: int) -> tuple[Any, torch.optim.Optimizer]:
    for p in model.parameters():
        p.requires_grad = False
    for p in model.layer4.parameters():
        p.requires_grad = True
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.AdamW(trained, lr=5e-4)


def _judge_make_ready(attempt: Callable) -> Wrong | None:
    """Two sizes, in eval and in train mode; fewer classes than before, more, and as many."""
    for width, old, new, train in ((8, 7, 3, False), (12, 4, 9, True), (8, 5, 5, False)):
        model = copy.deepcopy(_resnet(width, old)).train(train)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        found, optimizer = attempt(model, new)
        wrong = (
            _wrong_outputs(found, new)
            or _wrong_weights(found, before)
            or _wrong_lists(found, optimizer)
            or _wrong_steps(found, optimizer, new)
        )
        if wrong:
            return wrong
    return None


def _outputs(model: nn.Module, count: int = 16) -> Tensor:
    modes = [(m, m.training) for m in model.modules()]
    with torch.no_grad():
        outputs = model.eval()(torch.randn(count, 3, 32, 32))
    for m, mode in modes:
        m.training = mode
    return outputs


def _wrong_outputs(model: nn.Module, classes: int) -> Wrong | None:
    try:
        outputs = _outputs(model)
    except RuntimeError as err:
        return Wrong(
            f"the model does not run on a batch of photos: {str(err).splitlines()[0][:80]}",
            "does the head take as many features as the old one? Not every ResNet has 512.",
        )
    if outputs.shape != (len(outputs), classes):
        return Wrong(
            f"for {classes} classes the model gives outputs of shape {tuple(outputs.shape)}",
            "the new head is a layer with num_classes outputs.",
        )
    if outputs.min() >= 0 and torch.allclose(outputs.sum(1), torch.ones(len(outputs)), atol=1e-4):
        return Wrong(
            "the model gives probabilities: that is bug D",
            "end in scores: cross-entropy has its own softmax.",
        )
    if outputs.min() >= 0 and outputs.max() > 0:
        return Wrong("the scores never fall below zero", "end in a linear layer, nothing behind.")
    return None


def _wrong_weights(model: nn.Module, before: dict[str, Tensor]) -> Wrong | None:
    state = model.state_dict()
    body = [k for k in before if not k.startswith("fc.")]
    if any(k not in state or not torch.equal(before[k], state[k]) for k in body):
        return Wrong("the backbone has other weights than before", "keep the model that came in.")
    old, new = before["fc.weight"], state.get("fc.weight")
    if new is not None and new.shape == old.shape and torch.equal(new, old):
        return Wrong(
            "the head is the old one", "a new one is asked for, also where the old one would fit."
        )
    return None


def _wrong_lists(model: nn.Module, optimizer: torch.optim.Optimizer) -> Wrong | None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    named = list(model.named_parameters())
    head = [(n, p) for n, p in named if n.startswith("fc.")]
    if frozen := [n for n, p in head if not p.requires_grad]:
        return Wrong(
            f"requires_grad is False for {' and '.join(frozen)} of the new head",
            "freeze first, then replace the head: a new layer is born thawed.",
        )
    out = [n for n, p in head if id(p) not in held]
    if out and len(out) < len(head):
        return Wrong(f"the optimizer does not hold {out[0]}", "a head has a weight and a bias.")
    if out:
        return Wrong(
            "the optimizer does not hold the new head's tensors",
            "make the optimizer last, when the new head is in the model.",
        )
    if foreign := held - {id(p) for _, p in named}:
        return Wrong(
            f"{len(foreign)} tensors in the optimizer are in no layer of the model",
            "make the optimizer last, from the parameters the model has then.",
        )
    awake = [n for n, p in named if not n.startswith(("fc.", "layer4.")) and p.requires_grad]
    if awake:
        return Wrong(
            f"{len(awake)} tensors outside layer4 and head train, {awake[0]} among them",
            "freeze all parameters, then thaw those of layer4. A BatchNorm that counts as training follows "
            "every batch, even if the optimizer leaves it alone.",
        )
    return None


def _stepped(model: Any, optimizer: torch.optim.Optimizer, classes: int, steps: int) -> float:
    """Train on noise; how far the steps go along the gradient, below zero for a descent."""
    uphill = 0.0
    ft.train_mode(model)
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            images, targets = torch.randn(6, 3, 64, 64), torch.arange(6) % classes
            F.cross_entropy(model(images), targets).backward()
            trained = [p for p in model.parameters() if p.grad is not None]
            old = [p.detach().clone() for p in trained]
            optimizer.step()
            for p, o in zip(trained, old, strict=True):
                uphill += float(((p.detach() - o) * p.grad).sum())
    return uphill


def _still(model: nn.Module, start: dict[str, Tensor]) -> list[str]:
    """The tensors of layer4 and head that are where they were."""
    named = [(n, p) for n, p in model.named_parameters() if n.startswith(("layer4.", "fc."))]
    return [n for n, p in named if torch.equal(p, start[n])]


def _wrong_steps(model: Any, optimizer: torch.optim.Optimizer, classes: int) -> Wrong | None:
    """A few steps: what has moved, how far, and in which direction."""
    start = {k: v.clone() for k, v in model.state_dict().items()}
    uphill = _stepped(model, optimizer, classes, 2)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    if _still(model, start):  # a head of zeros lets the first gradients through one by one
        _stepped(model, optimizer, classes, 8)
    moved = [k for k, v in model.state_dict().items() if not torch.equal(v, start[k])]
    if others := [k for k in moved if not k.startswith(("layer4.", "fc."))]:
        return Wrong(
            f"after a few steps {len(others)} tensors outside layer4 and head have moved, "
            f"{others[0]} among them",
            "freeze all parameters, then thaw those of layer4.",
        )
    if still := _still(model, start):
        return Wrong(
            f"after a few steps {len(still)} tensors of layer4 and head have not moved, "
            f"{still[0]} among them",
            "are they thawed, in the optimizer, and is its learning rate above zero?",
        )
    return _wrong_size(start, state, uphill)


def _wrong_size(start: dict[str, Tensor], state: dict[str, Tensor], uphill: float) -> Wrong | None:
    if uphill > 0:
        return Wrong("the steps climb: the loss grows", "an optimizer minimises; leave it so.")
    convs = [k for k in start if k.startswith("layer4.") and start[k].dim() == 4]
    size = math.sqrt(sum(float(start[k].square().sum()) for k in convs))
    way = math.sqrt(sum(float((state[k] - start[k]).square().sum()) for k in convs))
    if not way < 0.3 * size:
        return Wrong(
            f"in two steps layer4 moves by {way / size:.2g} times its own size: that is bug G",
            "its weights are worth something: take a learning rate that keeps them, such as 1e-3 or less.",
        )
    return None


def _optimizer(value: Any) -> torch.optim.Optimizer:
    if not isinstance(value, torch.optim.Optimizer):
        kind = type(value).__name__
        raise Unfit(f"{kind} is no optimizer", "return the model first, then the optimizer.")
    return value


make_ready = Function(
    number="12.3",
    name="make_ready",
    reference=_make_ready,
    why="After a few steps all of layer4 and of the new head has moved, by little, and nothing else.",
    hints=(
        "the order: freeze everything, thaw layer4, replace the head, and only then the optimizer.",
        "requires_grad says what may train. The old head tells how many features the new one gets. Which tensors "
        "of the finished model does the optimizer need?",
    ),
    worked=(
        "def make_ready(model, num_classes):\n"
        "    for p in model.parameters():\n"
        "        p.requires_grad = False\n"
        "    for p in model.layer4.parameters():\n"
        "        p.requires_grad = True\n"
        "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n"
        "    trained = [p for p in model.parameters() if p.requires_grad]\n"
        "    return model, torch.optim.AdamW(trained, lr=5e-4)"
    ),
    gives=tuple_of(
        module(hint="return the model first, then the optimizer."),
        _optimizer,
        hint="end it with `return model, optimizer`.",
    ),
    changes=("model",),
    judge=_judge_make_ready,
)

# -------------------------------------------------------------------------- 12.4 accuracy_on


@torch.no_grad()
def _accuracy_on(model: nn.Module, loader: Any) -> float:
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    right = photos = 0
    for images, targets in loader:
        right += (model(images).argmax(1) == targets).sum().item()
        photos += len(targets)
    for m, mode in modes:
        m.training = mode
    return right / photos


def _network(classes: int) -> Any:
    """A small network in train mode; its first convolution and BatchNorm are frozen and in eval mode."""
    parts = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3))
    more = (nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.7))
    model: Any = nn.Sequential(*parts, *more, nn.Linear(8, classes)).train()
    model[:2].requires_grad_(False).eval()
    with torch.no_grad():  # as after some training: the statistics are not those of the batches
        model[4].running_mean.uniform_(-0.5, 0.5)
        model[4].running_var.uniform_(0.2, 2.0)
    return model


def _loader(draw: Draw, model: nn.Module, classes: int, sizes: tuple[int, ...]) -> DataLoader:
    """Batches of these sizes, the last one smaller; as many right answers in each as the draw says."""
    images = torch.cat([draw.normal(n, 3, 12, 12) + 2 * i for i, n in enumerate(sizes)])
    with torch.no_grad():
        answers = copy.deepcopy(model).eval()(images).argmax(1)
    wrong = torch.cat([torch.arange(n) >= draw.whole(0, n) for n in sizes])
    targets = (answers + wrong.long()) % classes
    return DataLoader(TensorDataset(images, targets), batch_size=sizes[0])


def _thermometers(draw: Draw) -> Iterator[tuple[nn.Module, Any]]:
    """A network half in train mode; one all in eval mode; one all in train mode; few and many classes."""
    model = _network(3)
    yield model, _loader(draw, model, 3, (8, 8, 8, 3))
    model = _network(11).eval().requires_grad_(False)
    yield model, _loader(draw, model, 11, (5, 5, 5, 1))
    model = _network(2).train()
    yield model, _loader(draw, model, 2, (16, 16, 7))
    model = _network(4).train()
    model[4].eval()  # not frozen, and in eval mode all the same
    yield model, _loader(draw, model, 4, (10, 9))


def _judge_accuracy_on(attempt: Callable) -> Wrong | None:
    seen: list[tuple[nn.Module, Any, float]] = []
    left: list[Wrong] = []
    for model, loader in _thermometers(Draw(accuracy_on.tries)):
        start = copy.deepcopy(model)
        value = attempt(model, loader)
        if wrong := _wrong_state(model, start):
            return wrong
        if wrong := _wrong_modes(model, start):
            left.append(wrong)
        seen.append((start, loader, value))
    if any(abs(value - _accuracy_on(m, loader)) > 1e-5 for m, loader, value in seen):
        return _explain_accuracy(seen)
    return left[0] if left else None


def _wrong_state(model: nn.Module, start: nn.Module) -> Wrong | None:
    was = start.state_dict()
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, was[k])]
    if changed:
        return Wrong(
            f"validation has changed the model: {changed[0]} is another",
            "in train mode BatchNorm's statistics follow what comes through: model.eval() first.",
        )
    if repr(model) != repr(start):
        return Wrong("afterwards some layers are others", "leave what the layers are as it was.")
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    if any(p.requires_grad != q.requires_grad for p, q in pairs):
        return Wrong(
            "afterwards requires_grad is another, and the model trains something else",
            "torch.no_grad() is enough to measure without gradients.",
        )
    return None


def _wrong_modes(model: nn.Module, start: nn.Module) -> Wrong | None:
    now = [m.training for m in model.modules()]
    was = [m.training for m in start.modules()]
    if now == was:
        return None
    if not any(now):
        return Wrong(
            "afterwards the whole model is in eval mode, and training would go on in it",
            "note the mode of each module before, and put each of them back.",
        )
    if not any(was):
        return Wrong(
            "a model that came in eval mode is in train mode afterwards",
            "note the modes before you touch them; do not guess what they were.",
        )
    place = next(i for i, (a, b) in enumerate(zip(now, was, strict=True)) if a != b)
    kind = type(list(model.modules())[place]).__name__
    return Wrong(
        f"afterwards a {kind} that was in {_mode(was[place])} mode is in {_mode(now[place])} mode",
        "model.train() wakes every layer: put back each module's own mode.",
    )


def _mode(training: bool) -> str:
    return "train" if training else "eval"


def _by_batch(count: Callable[[Tensor, Tensor], Any]) -> Callable[[nn.Module, Any], list[Any]]:
    """Something of each batch, from outputs in eval mode and targets."""

    @torch.no_grad()
    def values(model: nn.Module, loader: Any) -> list[Any]:
        model = copy.deepcopy(model).eval()
        return [count(model(x), y) for x, y in loader]

    return values


_shares = _by_batch(lambda out, y: (out.argmax(1) == y).float().mean().item())
_hits = _by_batch(lambda out, y: (out.argmax(1) == y).sum().item())

MISMEASURED: tuple[tuple[Callable[[nn.Module, Any], float], Wrong], ...] = (
    (
        lambda m, loader: sum(_shares(m, loader)) / len(loader),
        Wrong(
            "it is the mean of the batches, and the last one is smaller",
            "count right answers and photos over all batches, and divide once.",
        ),
    ),
    (
        lambda m, loader: 100 * _accuracy_on(m, loader),
        Wrong("that is a percentage", "a fraction is asked for, from 0 to 1."),
    ),
    (
        lambda m, loader: sum(_hits(m, loader)),
        Wrong("it counts the right answers", "divide by the number of photos."),
    ),
    (
        lambda m, loader: sum(_hits(m, loader)) / len(loader),
        Wrong("it divides by the number of batches", "divide by the number of photos."),
    ),
    (
        lambda m, loader: sum(_hits(m, loader)) / len(loader) / loader.batch_size,
        Wrong("it takes all batches to be full", "the last batch is smaller: count its photos."),
    ),
    (
        lambda m, loader: 1 - _accuracy_on(m, loader),
        Wrong("it is the share of wrong answers", "count those that are equal: ==."),
    ),
    (
        lambda m, loader: _shares(m, loader)[-1],
        Wrong("it is the accuracy of the last batch", "add up over all batches with +=."),
    ),
    (
        lambda m, loader: _shares(m, loader)[0],
        Wrong("it is the accuracy of the first batch", "return after the loop, not in it."),
    ),
    (
        lambda m, loader: round(_accuracy_on(m, loader), 2),
        Wrong("it rounds", "leave the number as it is: rounding is for printing."),
    ),
)


def _explain_accuracy(seen: list[tuple[nn.Module, Any, float]]) -> Wrong:
    for mistaken, wrong in MISMEASURED:
        if all(abs(value - mistaken(m, loader)) < 1e-5 for m, loader, value in seen):
            return wrong
    model, loader, value = next(s for s in seen if abs(s[2] - _accuracy_on(s[0], s[1])) > 1e-5)
    photos, right = len(loader.dataset), round(_accuracy_on(model, loader) * len(loader.dataset))
    return Wrong(
        f"it returns {value:.3g}, and in eval mode {right} of {photos} answers are right",
        "is every layer in eval mode, dropout as well? Is each photo counted, and each row's best score taken?",
    )


accuracy_on = Function(
    number="12.4",
    name="accuracy_on",
    reference=_accuracy_on,
    why="It measures in eval mode, counts photos and not batches, and leaves the model as it was.",
    hints=(
        "three steps: note each module's mode, measure in eval mode, put the modes back.",
        "a module knows its mode: m.training, and model.modules() has them all. Add up right answers and photos "
        "batch by batch, and divide at the end.",
    ),
    worked=(
        "@torch.no_grad()\n"
        "def accuracy_on(model, loader):\n"
        "    modes = [(m, m.training) for m in model.modules()]\n"
        "    model.eval()\n"
        "    right = photos = 0\n"
        "    for images, targets in loader:\n"
        "        right += (model(images).argmax(1) == targets).sum().item()\n"
        "        photos += len(targets)\n"
        "    for m, mode in modes:\n"
        "        m.training = mode\n"
        "    return right / photos"
    ),
    gives=number("one accuracy over all batches is asked for."),
    changes=("model",),
    judge=_judge_accuracy_on,
)

# -------------------------------------------------------------------------- 12.5 looks_sound


def _looks_sound(model: Any, optimizer: Any, images: Tensor, targets: Tensor) -> bool:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images)
    return (
        all(p.requires_grad and id(p) in held for p in model.fc.parameters())
        and bool(images.min() < 0 and images.max() < 10)
        and not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3)
        and all(m.weight.requires_grad or not m.training for m in norms)
    )


Setup = tuple[Any, Any, Tensor, Tensor]


def _setup(train: str = "layer4", classes: int = 2, optimizer: Any = torch.optim.AdamW) -> Setup:
    """A sound set-up: model, optimizer, images float32 (8, 3, 32, 32), targets."""
    model = copy.deepcopy(_resnet(8, 7)).requires_grad_(train == "all")
    if train == "layer4":
        model.layer4.requires_grad_(True)
    model.fc = nn.Linear(model.fc.in_features, classes)
    return (
        _careful(model),
        optimizer(_groups(model), lr=1e-4),
        _images(),
        torch.arange(8) % classes,
    )


def _groups(model: Any) -> list[dict[str, Any]]:
    """The body and the head, as for two learning rates."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    body = [p for n, p in named if not n.startswith("fc.")]
    head = [p for n, p in named if n.startswith("fc.")]
    return [{"params": part} for part in (body, head) if part]


def _images(low: float = -2.1, high: float = 2.6) -> Tensor:
    """Smooth noise that fills this range."""
    noise = F.interpolate(torch.rand(8, 3, 8, 8), (32, 32), mode="bilinear")
    share = (noise - noise.min()) / (noise.max() - noise.min())
    return low + (high - low) * share


def _careful(model: Any) -> Any:
    """In train mode, but for BatchNorm of frozen layers."""
    for m in model.train().modules():
        if isinstance(m, _BatchNorm) and not m.weight.requires_grad:
            m.eval()
    return model


class _Probabilities(nn.Module):
    """A softmax under another name."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(x).exp()
        return scores / scores.sum(1, keepdim=True)


def _with(change: Callable[[Any], Any]) -> Callable[[Setup], Setup]:
    """The set-up after a change of its model."""

    def plant(s: Setup) -> Setup:
        change(s[0])
        return s

    return plant


def _seeing(low: float, high: float) -> Callable[[Setup], Setup]:
    """The set-up with images in another range."""
    return lambda s: (s[0], s[1], _images(low, high), s[3])


def _forgetting(name: str) -> Callable[[Setup], Setup]:
    """The optimizer forgets one tensor of the head."""

    def plant(s: Setup) -> Setup:
        lost = s[0].get_parameter(name)
        kept = [p for p in s[0].parameters() if p.requires_grad and p is not lost]
        return s[0], torch.optim.SGD(kept, lr=1e-3), s[2], s[3]

    return plant


def _new_head(model: Any) -> None:
    """An equal one: the optimizer holds the old."""
    model.fc = copy.deepcopy(model.fc)


def _softmax(model: Any) -> None:
    model.fc = nn.Sequential(model.fc, nn.Softmax(dim=1))


def _hidden_softmax(model: Any) -> None:
    model.fc = _Probabilities(model.fc)


GRAD = "look at requires_grad of the head's parameters, each of them."
HELD = "compare id(p) of each of the head's parameters with those in optimizer.param_groups, all groups."
RANGE = "look at images.min() and images.max(), and at both ends."
SUM = "send the images through a copy in eval mode: do its rows sum to one?"
NORMS = "for each nn.BatchNorm2d: is it in train mode while its weight does not train?"

FAULTS: tuple[tuple[Callable[[Setup], Setup], str, str], ...] = (
    (_with(lambda m: m.fc.requires_grad_(False)), "a head that is frozen", GRAD),
    (_with(_new_head), "an optimizer that holds an old head", HELD),
    (_seeing(0, 255), "inputs from 0 to 255", RANGE),
    (
        _seeing(0, 1),
        "inputs from 0 to 1",
        "normalised photos have values below zero: images.min().",
    ),
    (_with(_softmax), "a softmax at the end of the model", SUM),
    (_with(lambda m: m.train()), "frozen BatchNorm layers in train mode", NORMS),
    (_with(lambda m: m.fc.weight.requires_grad_(False)), "a head with a frozen weight", GRAD),
    (_with(lambda m: m.fc.bias.requires_grad_(False)), "a head with a frozen bias", GRAD),
    (_forgetting("fc.weight"), "an optimizer without the head's weight", HELD),
    (_forgetting("fc.bias"), "an optimizer without the head's bias", HELD),
    (_seeing(-120, 130), "inputs from -120 to 130, a mean taken off bytes", RANGE),
    (_with(_hidden_softmax), "probabilities, from a module of another name", SUM),
    (_with(lambda m: m.layer3[0].bn2.train()), "one frozen BatchNorm in train mode", NORMS),
)


def _sound() -> Iterator[tuple[str, Setup]]:
    yield "layer4 and head, AdamW, two groups", _setup()
    yield "the head alone, SGD, 3 classes", _setup("head", 3, torch.optim.SGD)
    yield "everything, AdamW", _setup("all")
    yield "dark photos", _seeing(-2.1, 0.4)(_setup("layer4", 5))
    yield "bright photos", _seeing(-0.7, 2.6)(_setup("head", 2))


def _judge_looks_sound(attempt: Callable) -> Wrong | None:
    for what, setup in _sound():
        if not attempt(*setup):
            return Wrong(
                f"it calls a sound set-up wrong: {what}",
                "which of your conditions fails there? Print them one by one.",
            )
    for i, (plant, what, hint) in enumerate(FAULTS):
        base = _setup("head", 4, torch.optim.SGD) if i % 2 else _setup()
        if attempt(*plant(base)):
            return Wrong(f"it calls a set-up sound that has {what}", hint)
    return None


looks_sound = Function(
    number="12.5",
    name="looks_sound",
    reference=_looks_sound,
    why="It passes all sound set-ups, finds every planted fault, and leaves the model alone.",
    hints=(
        "one condition for each kind of evidence: head, optimizer, inputs, outputs, BatchNorm.",
        "tensors are the same if id(a) == id(b): so you find the head's in the optimizer. For the outputs, ask a "
        "copy of the model. A BatchNorm has its mode in .training, and a weight that trains or does not.",
    ),
    worked=(
        "def looks_sound(model, optimizer, images, targets):\n"
        '    held = {id(p) for group in optimizer.param_groups for p in group["params"]}\n'
        "    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]\n"
        "    with torch.no_grad():\n"
        "        logits = copy.deepcopy(model).eval()(images)\n"
        "    return (\n"
        "        all(p.requires_grad and id(p) in held for p in model.fc.parameters())\n"
        "        and bool(images.min() < 0 and images.max() < 10)\n"
        "        and not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3)\n"
        "        and all(m.weight.requires_grad or not m.training for m in norms)\n"
        "    )"
    ),
    gives=truth(),
    judge=_judge_looks_sound,
)

# ------------------------------------------------------------------------------ 12.6 by_heart

STEPS, LOW, NEAR = 40, 0.25, 0.8  # what is asked for: the loss, and how far layer4 may have moved


def _by_heart(model: Any, images: Tensor, targets: Tensor, num_classes: int, steps: int) -> Any:
    model, optimizer = _make_ready(model, num_classes)
    optimizer.param_groups[0]["lr"] = 1e-3
    for _ in range(steps):
        ft.train_mode(model)
        loss = F.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def _judge_by_heart(attempt: Callable) -> Wrong | None:
    """Two networks, in eval and in train mode, with a batch each."""
    draw = Draw(by_heart.tries)
    for width, classes, count, train in ((8, 3, 8, False), (12, 5, 10, True)):
        model = copy.deepcopy(_resnet(width, 7)).train(train)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        noted = _noted_head(model)
        images = F.interpolate(draw.normal(count, 3, 8, 8), (48, 48), mode="bilinear")
        targets = torch.arange(count) % classes
        found = attempt(model, images, targets, classes, STEPS)
        head = list(noted)  # empty where the model as a whole was never called
        wrong = (
            _wrong_outputs(found, classes)
            or _wrong_learning(found, before, images, targets)
            or _wrong_head(found, head)
        )
        if wrong:
            return wrong
    return None


def _noted_head(model: nn.Module) -> list[Tensor]:
    """The head's tensors as they are when the first batch comes; copies of the model note them as well."""
    seen: list[Tensor] = []

    def note(module: Any, args: Any) -> None:
        if not seen:
            seen.extend(p.detach().clone() for p in module.fc.parameters())

    model.register_forward_pre_hook(note)
    return seen


def _wrong_head(model: Any, then: list[Tensor]) -> Wrong | None:
    now = list(model.fc.parameters())
    if len(now) == len(then) and any(torch.equal(a, b) for a, b in zip(now, then, strict=True)):
        return Wrong(
            "layer4 has bent itself to a random head: the head is as it was at the first step",
            "that was program E, or F: two questions tell them apart.",
        )
    if any(m.training for m in model.modules()):
        return Wrong("the model comes back in train mode", "give it back ready to be measured.")
    return None


def _wrong_learning(
    model: nn.Module, before: dict[str, Tensor], images: Tensor, targets: Tensor
) -> Wrong | None:
    """What has moved, how far, and what the loss on the batch is: what is seen, and not which line did it."""
    state = model.state_dict()
    moved = [k for k in before if k in state and not k.startswith("fc.")]
    moved = [k for k in moved if not torch.equal(state[k], before[k])]
    if others := [k for k in moved if not k.startswith("layer4.")]:
        what = "statistics" if "running" in others[0] or "num_batches" in others[0] else "weights"
        return Wrong(
            f"{len(others)} tensors outside layer4 and head have moved, {others[0]} the first: {what}",
            "what moves without a gradient? That was the fourth place.",
        )
    convs = [k for k in before if k.startswith("layer4.") and before[k].dim() == 4]
    size = math.sqrt(sum(float(before[k].square().sum()) for k in convs))
    way = math.sqrt(sum(float((state[k] - before[k]).square().sum()) for k in convs)) / size
    with torch.no_grad():
        loss = F.cross_entropy(copy.deepcopy(model).eval()(images), targets).item()
    seen = f"in {STEPS} steps layer4 has moved by {way:.2g} of its size, and the loss on the batch is {loss:.2f}"
    if way == 0:
        return Wrong(
            seen,
            "what may train, what does the optimizer hold, and is there a gradient when it steps?",
        )
    if not way < NEAR:
        return Wrong(f"{seen}: too far", "that was program G; what sets the size of a step?")
    if not loss < LOW:
        return Wrong(
            f"{seen}; below {LOW} is asked for",
            "has the head moved as well? If all moves, does it go far enough in a step?",
        )
    return None


by_heart = Function(
    number="12.6",
    name="by_heart",
    reference=_by_heart,
    why="It learns the batch by heart, layer4 keeps most of what it was, and all else stands still.",
    hints=(
        "five lines are wrong. Ask what the six places ask: what may train, what the optimizer holds, what moves "
        "without a gradient, whether a gradient is there at the step, and how far a step goes.",
        "the order of making things ready is that of 12.3; that of a step is clear, backward, step. Frozen "
        "BatchNorm must sleep while the rest is awake. A rate for AdamW lies between 1e-4 and 1e-2 here.",
    ),
    worked=(
        "def by_heart(model, images, targets, num_classes, steps):\n"
        "    for p in model.parameters():\n"
        "        p.requires_grad = False\n"
        "    for p in model.layer4.parameters():\n"
        "        p.requires_grad = True\n"
        "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n"
        "    trained = [p for p in model.parameters() if p.requires_grad]\n"
        "    optimizer = torch.optim.AdamW(trained, lr=1e-3)\n"
        "    for _ in range(steps):\n"
        "        ft.train_mode(model)\n"
        "        loss = F.cross_entropy(model(images), targets)\n"
        "        optimizer.zero_grad()\n"
        "        loss.backward()\n"
        "        optimizer.step()\n"
        "    return model.eval()"
    ),
    gives=module(),
    changes=("model",),
    judge=_judge_by_heart,
)
