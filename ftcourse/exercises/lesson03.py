"""Questions of lesson 03, freeze."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from ftcourse.exercises import Choice, Function, Value, Wrong, gives

# -------------------------------------------------------------------------------- 3.1 thaw_head


def _thaw_head(model: Any) -> Any:
    for parameter in model.fc.parameters():
        parameter.requires_grad = True
    return model


def _judge_thaw_head(attempt: Callable) -> Wrong | None:
    for block, classes in ((BasicBlock, 2), (Bottleneck, 5)):
        model = ResNet(block, [1, 1, 1, 1], num_classes=classes).requires_grad_(False).eval()
        before = {name: p.clone() for name, p in model.state_dict().items()}
        answer = attempt(model)
        if wrong := _same_model(answer, before) or _step(answer) or _moved(answer, before):
            return wrong
    return None


def _same_model(model: nn.Module, before: dict[str, Tensor]) -> Wrong | None:
    now = model.state_dict()
    changed = [n for n in before if n not in now or not torch.equal(before[n], now[n])]
    if now.keys() != before.keys() or any(not _is_statistic(name) for name in changed):
        return Wrong(
            f"it returns {type(model).__name__} with other weights than came in",
            "return the model that came in; thawing changes no weight.",
        )
    if changed:
        return Wrong(
            f"BatchNorm's statistics have changed, {changed[0]} among them",
            "send nothing through the model, and leave its mode alone; thawing changes no number.",
        )
    if any(m.training for m in model.modules()):
        return Wrong("it comes back in train mode", "leave its mode alone: no train() here.")
    if any(p.grad is not None for p in model.parameters()):
        return Wrong("it comes back with gradients", "switch requires_grad on; no backward() here.")
    return None


def _is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _step(model: nn.Module) -> Wrong | None:
    """One step of SGD on whatever trains; `Wrong` where nothing does."""
    trains = [p for p in model.parameters() if p.requires_grad]
    if not trains:
        return Wrong(
            "no tensor of the model trains",
            "requires_grad belongs to parameters, not to modules: loop over model.fc.parameters().",
        )
    images = torch.randn(4, 3, 32, 32)
    with torch.enable_grad():
        F.cross_entropy(model(images), torch.tensor([0, 1, 0, 1])).backward()
    torch.optim.SGD(trains, lr=1.0).step()
    return None


def _moved(model: nn.Module, before: dict[str, Tensor]) -> Wrong | None:
    now = model.state_dict()
    moved = [name for name, p in before.items() if not torch.equal(p, now[name])]
    theta = [name for name in moved if not name.startswith("fc.")]
    if theta:
        return Wrong(
            f"after one step {len(theta)} weight tensors outside the head have moved, "
            f"{theta[0]} among them",
            "thaw the parameters of model.fc alone.",
        )
    if moved == ["fc.weight"]:
        return Wrong("after one step only fc.weight has moved", "a head has a bias, too.")
    if moved == ["fc.bias"]:
        return Wrong("after one step only fc.bias has moved", "a head has a weight, too.")
    return None


thaw_head = Function(
    number="3.1",
    name="thaw_head",
    reference=_thaw_head,
    why="After one step the head's weight and bias have moved, and nothing else has.",
    hints=(
        "which objects carry requires_grad: modules, or the tensors inside them?",
        "go through the tensors of model.fc, weight and bias, and switch each on.",
    ),
    worked=(
        "def thaw_head(model):\n"
        "    for p in model.fc.parameters():\n"
        "        p.requires_grad = True\n"
        "    return model"
    ),
    gives=gives.module(hint="`return model`."),
    changes=("model",),
    judge=_judge_thaw_head,
    iterators=True,  # model.fc.parameters() is a typical answer, and is one
)

# ---------------------------------------------------------------------------- 3.2 count_trained

count_trained = Value(
    number="3.2",
    name="count_trained",
    reference=8_393_728 + 1_026,
    why="8,393,728 numbers of layer4 and 1,026 of the head: three quarters of the network.",
    hints=(
        "read two rows of the report: which groups train?",
        "layer4's row has its count, the head's row the other. Add them.",
    ),
    worked="guess = 8_393_728 + 2 * 512 + 2",
    mistakes=(
        (8_393_728, Wrong("that is layer4 alone", "the head trains as well.")),
        (1_026, Wrong("that is the head alone", "layer4 trains as well.")),
        (8_394_752, Wrong("two are missing", "the head has two biases.")),
        (8_496_328, Wrong("that counts the old head", "the new one has two classes.")),
        (11_177_538, Wrong("that is the whole network", "stem to layer3 are frozen.")),
        (2_782_784, Wrong("that is what stays frozen, stem to layer3", "count the others.")),
    ),
)

# ----------------------------------------------------------------------------- 3.3 which_train

which_train = Choice(
    number="3.3",
    name="which_train",
    reference="a, c, d",
    why="A new layer is born trainable (A), C spares the head by its name, and in D the module's "
    "attribute freezes as little as it thaws. B freezes the new head with all the rest.",
    hints=(
        "go through each program with one question: what is requires_grad of model.fc.weight?",
        "a layer is born trainable; and what one sets on a module is not set on its parameters.",
    ),
    worked='answer = "a, c, d"',
    options={
        "a": None,
        "b": Wrong(
            "B freezes the parameters of the new head, too: it is in the model already",
            "when B freezes, what is in model.parameters()?",
        ),
        "c": None,
        "d": None,
    },
)

# ------------------------------------------------------------------------------- 3.4 train_mode


def _train_mode(model: nn.Module) -> nn.Module:
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not module.weight.requires_grad:
            module.eval()
    return model


def _net(block: Any = BasicBlock) -> Any:
    """A ResNet with dropout in its head, all of it frozen."""
    model: Any = ResNet(block, [1, 1, 1, 1], num_classes=4)
    model.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(model.fc.in_features, 4))
    return model.requires_grad_(False)


def _half_frozen() -> Iterator[tuple[str, Any]]:
    """What trains, in words, and a network: from eval and from train mode; ResNets of which whole parts
    are frozen, and small networks of which single layers are, BatchNorm without its convolution and vice versa.
    """
    for what in ("layer4 and the head", "the head", "everything", "layer3 to the head"):
        model = _net().train(what != "the head")
        for name, part in model.named_children():
            late = {"layer4": ("layer4",), "layer3": ("layer3", "layer4")}.get(what[:6], ())
            part.requires_grad_(what == "everything" or name in ("fc", *late))
        yield what, model
    for what, frozen in (
        ("all but the first two layers", ("0.0.", "0.1.")),
        ("all but the second BatchNorm", ("0.4.",)),
        ("only BatchNorm", ("0.0.", "0.3.", "4.")),
    ):
        small = _small().eval()
        for name, p in small.named_parameters():
            p.requires_grad = not name.startswith(frozen)
        yield what, small


def _small() -> nn.Sequential:
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
    )
    rest = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2))
    return nn.Sequential(body, *rest)


def _judge_train_mode(attempt: Callable) -> Wrong | None:
    for what, model in _half_frozen():
        trains = [p.requires_grad for p in model.parameters()]
        numbers = {name: p.clone() for name, p in model.state_dict().items()}
        settings = _settings(model)
        answer = attempt(model)
        if answer is not model:
            return Wrong("it returns another model than came in", "return the model that came in.")
        if trains != [p.requires_grad for p in model.parameters()]:
            return Wrong("it changes what trains", "leave requires_grad alone; set modes only.")
        changed = [n for n, p in model.state_dict().items() if not torch.equal(p, numbers[n])]
        if changed:
            kind = "statistics" if all(map(_is_statistic, changed)) else "weights"
            return Wrong(f"it changes {kind}, {changed[0]} among them", "set modes only.")
        if wrong := _judge_statistics(model, what) or _judge_modes(model, what):
            return wrong
        if settings != _settings(model):
            return Wrong("it changes settings of BatchNorm, such as momentum", "set modes only.")
    return None


def _settings(model: nn.Module) -> list[str]:
    return [str(m) for m in model.modules() if isinstance(m, _BatchNorm)]


def _judge_statistics(model: nn.Module, what: str) -> Wrong | None:
    """Two batches through the model: which statistics follow them?"""
    norms = {n: m for n, m in model.named_modules() if isinstance(m, _BatchNorm)}
    before = {n: m.running_mean.clone() for n, m in norms.items()}  # type: ignore[union-attr]
    with torch.no_grad():
        model(2 * torch.randn(6, 3, 32, 32) + 1)
    moved = {n for n, m in norms.items() if not torch.equal(m.running_mean, before[n])}  # type: ignore[arg-type]
    frozen = {n for n, m in norms.items() if not m.weight.requires_grad}
    if wrong := sorted(moved & frozen):
        return Wrong(
            f"where {what} may train, in one forward pass statistics of {len(wrong)} frozen layers have "
            f"moved, {wrong[0]}'s among them",
            "model.train() wakes every BatchNorm; put those of frozen layers back with eval().",
        )
    if awake := [n for n in frozen if norms[n].training]:
        return Wrong(
            f"what {awake[0]}, a frozen layer, says of a photo depends on the other photos in the batch",
            "to stop the statistics is not enough: eval() makes BatchNorm use the stored ones.",
        )
    if still := sorted(norms.keys() - frozen - moved):
        return Wrong(
            f"where {what} may train, {still[0]}'s statistics do not follow the data any more",
            "start with model.train(), then put back only the frozen ones.",
        )
    return None


def _judge_modes(model: nn.Module, what: str) -> Wrong | None:
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not module.training:
            return Wrong("dropout is switched off", "start with model.train() for the whole model.")
    if not model.training:
        return Wrong("model.training is False", "start with model.train() for the whole model.")
    return None


train_mode = Function(
    number="3.4",
    name="train_mode",
    reference=_train_mode,
    why="Frozen BatchNorm keeps its statistics and uses them; what trains is in train mode.",
    hints=(
        "two steps: the whole model to train mode, then some modules back to eval mode.",
        "which modules? Go through all of them: a BatchNorm is frozen where its weight does not require "
        "gradients.",
    ),
    worked=(
        "def train_mode(model):\n"
        "    model.train()\n"
        "    for module in model.modules():\n"
        "        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:\n"
        "            module.eval()\n"
        "    return model"
    ),
    gives=gives.module(hint="return the model."),
    changes=("model",),
    judge=_judge_train_mode,
)

# --------------------------------------------------------------------------- 3.5 frozen_too_late

frozen_too_late = Choice(
    number="3.5",
    name="frozen_too_late",
    reference="b",
    why="The old gradient is zeroed but still there, so Adam makes a step, and its running mean of "
    "past gradients is not zero. Make a new optimizer whenever you change what trains.",
    hints=(
        "what is in p.grad after zero_grad(set_to_none=False): nothing, or zeros?",
        "zeros are a gradient as well. What does Adam make of one, with its running mean of the past?",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "requires_grad = False stops new gradients; the optimizer still holds the tensors",
            "which state does Adam keep from the steps before?",
        ),
        "b": None,
        "c": Wrong(
            "no error comes: the optimizer does not look at requires_grad",
            "the optimizer looks at p.grad. What is in it?",
        ),
        "d": Wrong(
            "the model is in eval mode here, so BatchNorm's statistics rest",
            "look at the weights: what does Adam do with a gradient of zeros?",
        ),
    },
)
