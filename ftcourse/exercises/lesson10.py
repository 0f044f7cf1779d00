"""Questions of lesson 10, silent_bugs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models

from ftcourse.exercises import Choice, Function, Value, Wrong, samples
from ftcourse.models.backbones import load_backbone, weights_of

# ------------------------------------------------------------------------ 10.1 below_guessing

below_guessing = Choice(
    number="10.1",
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

# -------------------------------------------------------------------------- 10.2 lowest_loss


def _close(a: Any, b: Any) -> bool:
    return bool(abs(float(a) - float(b)) < 0.006)


lowest_loss = Value(
    number="10.2",
    name="lowest_loss",
    reference=math.log(1 + math.exp(-1)),
    why="The best that can go in is (1, 0), and softmax makes 1 / (1 + 1/e) = 0.73 of the 1. The "
    "loss can never fall below -log 0.73 = 0.31.",
    hints=(
        "the best outputs of the first softmax are 1 for the right class and 0 for the other.",
        "the second softmax makes e / (e + 1) of that 1. The loss is minus the logarithm of it.",
    ),
    worked="import math\n\nguess = -math.log(math.e / (math.e + 1))",
    same=_close,
    mistakes=(
        (0, Wrong("0 needs a probability of 1 after the second softmax", "can it give that?")),
        (math.log(2), Wrong("log 2 is where it starts", "how far down can it go?")),
        (1 / (1 + math.exp(-1)), Wrong("0.73 is the probability", "the loss is minus its log.")),
        (math.log(1 + math.e), Wrong("1.31 is the highest it can be", "put the 1 on the right.")),
        (math.log10(1 + math.exp(-1)), Wrong("that is log10", "PyTorch uses the natural one.")),
        (math.exp(-1), Wrong("that forgets to divide by the sum", "e / (e + 1), and its log.")),
    ),
)

# --------------------------------------------------------------------------- 10.3 make_ready


def _make_ready(model: Any, num_classes: int) -> tuple[Any, torch.optim.Optimizer]:
    for p in model.parameters():
        p.requires_grad = False
    for p in model.layer4.parameters():
        p.requires_grad = True
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    trained = [p for p in model.parameters() if p.requires_grad]
    return model, torch.optim.AdamW(trained, lr=5e-4)


def _judge_make_ready(attempt: Callable) -> Wrong | None:
    model = models.resnet18(weights=None, num_classes=7).eval()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    answer = attempt(model, 3)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return Wrong("it does not return a pair", "end it with `return model, optimizer`.")
    model, optimizer = answer
    if not isinstance(model, nn.Module) or not isinstance(optimizer, torch.optim.Optimizer):
        return Wrong(
            f"it returns {type(model).__name__} and {type(optimizer).__name__}",
            "return the model first, then a torch.optim optimizer.",
        )
    with torch.no_grad():
        outputs = model.eval()(torch.zeros(2, 3, 32, 32))
    if outputs.shape != (2, 3):
        return Wrong(
            f"for 3 classes the model gives {outputs.shape[-1]} scores a photo",
            "the new head is nn.Linear(model.fc.in_features, num_classes).",
        )
    return _judge_lists(model, optimizer) or _judge_steps(model, optimizer, before)


def _judge_lists(model: Any, optimizer: torch.optim.Optimizer) -> Wrong | None:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    head = [p for n, p in model.named_parameters() if n.startswith("fc.")]
    if not all(p.requires_grad for p in head):
        return Wrong(
            "requires_grad is False for the new head",
            "freeze first, then replace the head: a new layer is born thawed.",
        )
    if not all(id(p) in held for p in head):
        return Wrong(
            "the optimizer does not hold the new head's tensors",
            "make the optimizer last, when the new head is in the model.",
        )
    foreign = held - {id(p) for p in model.parameters()}
    if foreign:
        return Wrong(
            f"{len(foreign)} tensors in the optimizer are in no layer of the model",
            "make the optimizer last, from the parameters the model has then.",
        )
    return None


def _judge_steps(
    model: Any, optimizer: torch.optim.Optimizer, before: dict[str, Tensor]
) -> Wrong | None:
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.enable_grad():
        for _ in range(2):  # a head of zeros gives layer4 no gradient in the first one
            optimizer.zero_grad()
            images, targets = torch.randn(6, 3, 64, 64), torch.tensor([0, 1, 2, 0, 1, 2])
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    frozen = sorted(n for n in moved if not n.startswith(("layer4.", "fc.")))
    if frozen:
        return Wrong(
            f"after two steps {len(frozen)} tensors outside layer4 and head have moved, "
            f"{frozen[0]} among them",
            "freeze all parameters, then thaw those of layer4.",
        )
    still = sorted(n for n in start if n.startswith(("layer4.", "fc.")) and n not in moved)
    if still:
        return Wrong(
            f"after two steps {len(still)} tensors of layer4 and head have not moved, "
            f"{still[0]} among them",
            "are they thawed, in the optimizer, and is its learning rate above zero?",
        )
    known = [n for n in before if n in start and not n.startswith("fc.")]
    if not all(torch.equal(before[n], start[n]) for n in known):
        return Wrong("the backbone has other weights than before", "keep the model that came in.")
    return None


make_ready = Function(
    number="10.3",
    name="make_ready",
    reference=_make_ready,
    why="After two steps all of layer4 and of the new head has moved, and nothing else.",
    hints=(
        "the order: freeze everything, thaw layer4, replace the head, and only then the optimizer.",
        "trained = [p for p in model.parameters() if p.requires_grad], then AdamW(trained, ...).",
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
    changes=("model",),
    judge=_judge_make_ready,
)

# -------------------------------------------------------------------------- 10.4 accuracy_on


@torch.no_grad()
def _accuracy_on(model: nn.Module, loader: Any) -> float:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    right = photos = 0
    for images, targets in loader:
        right += (model(images).argmax(1) == targets).sum().item()
        photos += len(targets)
    for module, mode in modes:
        module.training = mode
    return right / photos


def _half_asleep() -> nn.Sequential:
    """A small network in training whose first BatchNorm is frozen and in eval mode."""
    parts = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3))
    more = (nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5))
    model: Any = nn.Sequential(*parts, *more, nn.Linear(8, 3)).train()
    model[0].requires_grad_(False)
    model[1].requires_grad_(False).eval()
    with torch.no_grad():  # as after some training: the statistics are not those of the batches
        model[4].running_mean.uniform_(-0.5, 0.5)
        model[4].running_var.uniform_(0.2, 2.0)
    return model


def _uneven_batches(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Batches of 8, 8 and 3, whose accuracies differ: 6 + 4 + 0 right of 19."""
    images = [torch.randn(n, 3, 12, 12) + 2 * i for i, n in enumerate((8, 8, 3))]
    answers = [copy.deepcopy(model).eval()(x).argmax(1) for x in images]
    wrong = [torch.arange(len(a)) >= k for a, k in zip(answers, (6, 4, 0), strict=True)]
    targets = [(a + w.long()) % 3 for a, w in zip(answers, wrong, strict=True)]
    return list(zip(images, targets, strict=True))


def _modes(model: nn.Module) -> list[bool]:
    """The modes of the layers whose computation depends on it."""
    kinds = (nn.BatchNorm2d, nn.Dropout)
    return [module.training for module in model.modules() if isinstance(module, kinds)]


def _judge_accuracy_on(attempt: Callable) -> Wrong | None:
    model = _half_asleep()
    loader = _uneven_batches(model)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    modes = _modes(model)
    answer = attempt(model, loader)
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, state[k])]
    if changed:
        return Wrong(
            f"validation has changed the model: {changed[0]} is another",
            "in train mode BatchNorm's statistics follow what comes through: model.eval() first.",
        )
    value = float(answer)
    if abs(value - 10 / 19) > 1e-6:
        return _explain_accuracy(value)
    now = _modes(model)
    if not any(now):
        return Wrong(
            "afterwards the whole model is in eval mode, and training would go on in it",
            "note the mode of each module before, and put it back: [m.training for m in ...].",
        )
    if now != modes:
        return Wrong(
            "afterwards the frozen BatchNorm is in train mode",
            "model.train() wakes every layer: put back each module's own mode.",
        )
    return None


def _explain_accuracy(value: float) -> Wrong:
    if abs(value - (6 / 8 + 4 / 8 + 0) / 3) < 1e-6:
        return Wrong(
            "it is the mean of the batches, and the last one is smaller",
            "count right answers and photos over all batches, and divide once.",
        )
    if abs(value - 1000 / 19) < 1e-3:
        return Wrong("that is a percentage", "a fraction is asked for, from 0 to 1.")
    if abs(value - 10) < 1e-3:
        return Wrong("it counts 10 right answers", "divide by the number of photos, 19.")
    return Wrong(
        f"it returns {value:.3f}, and in eval mode 10 of 19 answers are right: 0.526",
        "is every layer in eval mode, dropout as well? Is each batch counted?",
    )


accuracy_on = Function(
    number="10.4",
    name="accuracy_on",
    reference=_accuracy_on,
    why="It measures in eval mode, counts photos and not batches, and leaves the model as it was.",
    hints=(
        "three steps: note each module's mode, measure in eval mode, put the modes back.",
        "modes = [(m, m.training) for m in model.modules()], and at the end m.training = mode.",
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
    changes=("model",),
    judge=_judge_accuracy_on,
)

# -------------------------------------------------------------------------- 10.5 looks_sound


def _looks_sound(model: Any, optimizer: Any, images: Tensor, targets: Tensor) -> bool:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    head = list(model.fc.parameters())
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(images)
    loss, chance = F.cross_entropy(logits, targets).item(), math.log(logits.shape[1])
    return (
        all(p.requires_grad for p in head)
        and all(id(p) in held for p in head)
        and bool(images.min() < -0.5 and images.max() < 5)
        and not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3)
        and loss < chance + 1
        and all(m.weight.requires_grad or not m.training for m in norms)
    )


Setup = tuple[Any, Any, Tensor, Tensor]


def _setup(train: str = "layer4", classes: int = 2, optimizer: Any = torch.optim.AdamW) -> Setup:
    """A sound set-up: model, optimizer, images float32 (12, 3, 64, 64), targets."""
    model: Any = load_backbone("resnet18")
    weights: Any = weights_of(model)
    model.requires_grad_(train == "all")
    if train == "layer4":
        model.layer4.requires_grad_(True)
    model.fc = nn.Linear(512, classes)
    photos, targets = samples.pieces(samples.sample_photos(), 4)
    preprocess = weights.transforms(crop_size=64, resize_size=73)
    trained = [p for p in model.parameters() if p.requires_grad]
    images = torch.stack([preprocess(photo) for photo in photos])
    return _careful(model), optimizer(trained, lr=1e-4), images, targets % classes


def _careful(model: Any) -> Any:
    """In train mode, but for BatchNorm of frozen layers."""
    for module in model.train().modules():
        if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
            module.eval()
    return model


def _frozen_head(s: Setup) -> Setup:
    s[0].fc.requires_grad_(False)
    return s


def _old_optimizer(s: Setup) -> Setup:
    s[0].fc = nn.Linear(512, s[0].fc.out_features)
    return s


def _bytes(s: Setup) -> Setup:
    return s[0], s[1], ((s[2] * 0.25 + 0.45) * 255).clamp(0, 255), s[3]


def _zero_to_one(s: Setup) -> Setup:
    return s[0], s[1], (s[2] * 0.25 + 0.45).clamp(0, 1), s[3]


def _softmax(s: Setup) -> Setup:
    s[0].fc = nn.Sequential(s[0].fc, nn.Softmax(dim=1))
    return s


def _awake(s: Setup) -> Setup:
    s[0].train()
    return s


FAULTS: tuple[tuple[Callable[[Setup], Setup], str, str], ...] = (
    (_frozen_head, "a head that is frozen", "look at requires_grad of the head's parameters."),
    (
        _old_optimizer,
        "an optimizer that holds an old head",
        "compare id(p) of the head's parameters with those in optimizer.param_groups.",
    ),
    (_bytes, "inputs from 0 to 255", "look at images.min() and images.max()."),
    (
        _zero_to_one,
        "inputs from 0 to 1, not normalised",
        "normalised photos have values below zero: look at images.min().",
    ),
    (
        _softmax,
        "a softmax at the end of the model",
        "send the images through a copy in eval mode: do its rows sum to one?",
    ),
    (
        _awake,
        "frozen BatchNorm layers in train mode",
        "for each nn.BatchNorm2d: is it in train mode while its weight does not train?",
    ),
)


def _judge_looks_sound(attempt: Callable) -> Wrong | None:
    sound = (
        ("layer4 and head, AdamW", _setup()),
        ("the head alone, SGD, 3 classes", _setup("head", 3, torch.optim.SGD)),
        ("everything, AdamW", _setup("all")),
    )
    for what, setup in sound:
        verdict = _verdict(attempt, setup)
        if isinstance(verdict, Wrong):
            return verdict
        if not verdict:
            return Wrong(
                f"it calls a sound set-up wrong: {what} on the pocket weights",
                "which of your conditions fails there? Print them one by one.",
            )
    for plant, what, hint in FAULTS:
        verdict = _verdict(attempt, plant(_setup()))
        if isinstance(verdict, Wrong):
            return verdict
        if verdict:
            return Wrong(f"it calls a set-up sound that has {what}", hint)
    return None


def _verdict(attempt: Callable, setup: Setup) -> bool | Wrong:
    model = setup[0]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    answer = attempt(*setup)
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return True` or `False`.")
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = bool(answer)
    if answer not in (True, False):
        return Wrong(f"it returns {type(answer).__name__}", "return True or False.")
    if any(not torch.equal(v, state[k]) for k, v in model.state_dict().items()):
        return Wrong("the check itself changes the model", "try things on copy.deepcopy(model).")
    if modes != [m.training for m in model.modules()]:
        return Wrong(
            "afterwards the model is in another mode than before",
            "put a copy into eval mode: copy.deepcopy(model).eval().",
        )
    return bool(answer)


looks_sound = Function(
    number="10.5",
    name="looks_sound",
    reference=_looks_sound,
    why="It passes three sound set-ups, finds six planted faults, and leaves the model alone.",
    hints=(
        "one condition for each kind of evidence: head, optimizer, inputs, outputs, BatchNorm.",
        "held = {id(p) for group in optimizer.param_groups for p in group['params']} are the "
        "tensors that the optimizer holds; copy.deepcopy(model).eval()(images) gives the outputs.",
    ),
    worked=(
        "def looks_sound(model, optimizer, images, targets):\n"
        '    held = {id(p) for group in optimizer.param_groups for p in group["params"]}\n'
        "    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]\n"
        "    with torch.no_grad():\n"
        "        logits = copy.deepcopy(model).eval()(images)\n"
        "    return (\n"
        "        all(p.requires_grad and id(p) in held for p in model.fc.parameters())\n"
        "        and bool(images.min() < -0.5 and images.max() < 5)\n"
        "        and not torch.allclose(logits.sum(1), torch.ones(len(logits)), atol=1e-3)\n"
        "        and F.cross_entropy(logits, targets).item() < math.log(logits.shape[1]) + 1\n"
        "        and all(m.weight.requires_grad or not m.training for m in norms)\n"
        "    )"
    ),
    judge=_judge_looks_sound,
)
