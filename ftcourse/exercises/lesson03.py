"""Questions of lesson 03, freeze."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from ftcourse.exercises import Choice, Draw, Formula, Function, Wrong, gives

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


def _count_trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _count_by_shapes(model: nn.Module) -> int:
    return sum(
        math.prod(p.shape) for _, p in model.named_parameters() if getattr(p, "requires_grad", True)
    )


def _partly_frozen(draw: Draw) -> Iterator[tuple[Any]]:
    """A ResNet and a small network, all of it, none, whole parts, single tensors; in both modes."""
    for names in (("layer4.", "fc."), ("",), ("nothing",), ("fc.bias",), ("bn1.", "layer1.0.conv")):
        model: Any = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, width_per_group=64)
        for name, p in model.named_parameters():
            p.requires_grad = name.startswith(names)
        yield (model.train("fc." in names),)
    small = _small()
    for p in small.parameters():
        p.requires_grad = draw.whole(0, 1) > 0
    yield (small,)


def _which_train(model: nn.Module) -> str:
    names = dict.fromkeys(n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad)
    return f"for a network of which {' and '.join(names) or 'nothing'} may train"


count_trained = Formula(
    number="3.2",
    name="count_trained",
    reference=_count_trained,
    why="Of each tensor that trains all its numbers count. Frozen ones do not, and statistics are no parameters.",
    hints=(
        "go through the tensors that are weights. Which of them train, and how many numbers has each?",
        "a tensor says by itself how many numbers it holds, and carries the switch that you have met above.",
    ),
    worked=(
        "def count_trained(model):\n"
        "    return sum(p.numel() for p in model.parameters() if p.requires_grad)"
    ),
    gives=gives.whole("return one number."),
    cases=_partly_frozen,
    second=_count_by_shapes,
    describe=_which_train,
    mistakes=(
        (
            lambda model: sum(p.requires_grad for p in model.parameters()),
            Wrong("that is the number of tensors", "each tensor holds many numbers: count those."),
        ),
        (
            lambda model: sum(p.numel() for p in model.parameters() if not p.requires_grad),
            Wrong("that is what stays frozen", "count the others."),
        ),
        (
            lambda model: sum(p.numel() for p in model.parameters()),
            Wrong("that is the whole network", "leave out what is frozen."),
        ),
        (
            lambda model: sum(t.numel() for t in model.state_dict().values()),
            Wrong(
                "that is the whole network, with BatchNorm's statistics",
                "go through the parameters, and leave out what is frozen.",
            ),
        ),
        (
            lambda model: sum(
                p.numel() for p in model.parameters() if p.requires_grad and p.ndim > 1
            ),
            Wrong("biases and BatchNorm's weights are missing", "they are parameters as well."),
        ),
        (
            lambda model: sum(
                p.numel()
                for n, p in model.named_parameters()
                if p.requires_grad and "bias" not in n
            ),
            Wrong("biases are missing", "they are parameters as well."),
        ),
        (
            lambda model: sum(len(p) for p in model.parameters() if p.requires_grad),
            Wrong("that counts the rows of each tensor", "len() gives the first dimension alone."),
        ),
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

# ----------------------------------------------------------------------------------- 3.6 prepare


def _prepare(model: Any, num_classes: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    model.requires_grad_(False)
    model.layer4.requires_grad_(True)
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    _train_mode(model)
    return model, torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)


def _as_left_by_others() -> Iterator[tuple[str, Any, int]]:
    """ResNets in the state in which one finds them, and a number of classes."""
    model: Any = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7).train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()  # gradients of yesterday
    yield "a network that trains", model.eval(), 2
    yield (
        "a frozen network",
        ResNet(Bottleneck, [1, 1, 1, 1], num_classes=4).requires_grad_(False),
        4,
    )


def _judge_prepare(attempt: Callable) -> Wrong | None:
    for what, model, num_classes in _as_left_by_others():
        old = {name: value.clone() for name, value in model.state_dict().items()}
        model, optimizer = attempt(model, num_classes)
        if not all(hasattr(optimizer, name) for name in ("step", "zero_grad", "param_groups")):
            return Wrong(
                f"the second thing it returns is {type(optimizer).__name__}, no optimizer",
                "`return model, optimizer`, in this order.",
            )
        start = {name: value.clone() for name, value in model.state_dict().items()}
        if wrong := (
            _judge_start(model, start, old, num_classes)
            or _five_steps(model, optimizer, num_classes)
            or _judge_what_moved(model, start)
            or _judge_list(model, optimizer)
        ):
            return Wrong(f"{what}: {wrong.observed}", wrong.hint)
    return None


def _judge_start(model: nn.Module, start: dict, old: dict, num_classes: int) -> Wrong | None:
    theta = [name for name in old if not name.startswith("fc.")]
    if any(name not in start or not torch.equal(start[name], old[name]) for name in theta):
        return Wrong(
            "the backbone is another one before the first step",
            "take the model that came in; only model.fc is new, and nothing is sent through it.",
        )
    shapes = [tuple(p.shape) for n, p in model.named_parameters() if n.startswith("fc")]
    wanted = (num_classes, old["fc.weight"].shape[1])
    if wanted not in shapes or any(
        torch.equal(p, old["fc.weight"]) for n, p in start.items() if n.startswith("fc")
    ):
        return Wrong(f"model.fc is not a new head for {num_classes} classes", "as in lesson 02.")
    return None


def _five_steps(model: nn.Module, optimizer: Any, num_classes: int) -> Wrong | None:
    """Training as it comes; the modes are those in which the model was returned."""
    for _ in range(5):
        images, targets = torch.randn(6, 3, 32, 32), torch.arange(6) % num_classes
        with torch.enable_grad():
            loss = F.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        if not loss.requires_grad:
            return Wrong(
                "no tensor of the model trains",
                "requires_grad belongs to parameters: a module's attribute switches nothing.",
            )
        loss.backward()
        optimizer.step()
    return None


def _judge_what_moved(model: nn.Module, start: dict[str, Tensor]) -> Wrong | None:
    """Five steps later."""
    now = model.state_dict()
    moved = {name for name in start if not torch.equal(start[name], now[name])}
    free = {name for name in start if name.startswith(("layer4.", "fc."))}
    weights = {name for name, _ in model.named_parameters()}
    loose = sorted(moved - free)
    if loose_weights := [name for name in loose if name in weights]:
        return Wrong(
            f"in five steps {len(loose_weights)} weight tensors outside of layer4 and the head have moved, "
            f"{loose_weights[0]} among them",
            "freeze the parameters themselves, all but those of layer4 and the head.",
        )
    still = sorted((free & weights) - moved)
    if any(name.startswith("fc.") for name in still):
        return Wrong(
            "in five steps the head has not moved",
            "is it among what trains, and did the optimizer see the new one?",
        )
    if still:
        return Wrong(
            f"in five steps {len(still)} weight tensors of layer4 have not moved, {still[0]} among them",
            "do they require gradients, and does the optimizer hold them?",
        )
    if loose:
        return Wrong(
            f"no frozen weight has moved, but {len(loose)} statistics outside of layer4 have, such as {loose[0]}",
            "which mode is BatchNorm of frozen layers in? You have a function for it.",
        )
    if not any(_is_statistic(name) for name in moved):
        return Wrong(
            "BatchNorm's statistics in layer4 do not follow the data",
            "what trains is in train mode. You have a function for it.",
        )
    return None


def _judge_list(model: nn.Module, optimizer: Any) -> Wrong | None:
    trains = {id(p) for p in model.parameters() if p.requires_grad}
    held = [p for group in optimizer.param_groups for p in group["params"]]
    idle = sum(p.numel() for p in held if id(p) not in trains)
    if idle:
        return Wrong(
            f"the optimizer holds {idle:,} numbers that do not train",
            "all is still where it should be, until a gradient of zero or weight decay comes: hand it only what "
            "trains.",
        )
    if any(
        p.requires_grad for n, p in model.named_parameters() if not n.startswith(("layer4", "fc"))
    ):
        return Wrong(
            "weights outside of layer4 and the head still get gradients",
            "the optimizer leaves them alone, but the way back is computed for nothing: freeze them.",
        )
    return None


prepare = Function(
    number="3.6",
    name="prepare",
    reference=_prepare,
    why="Five steps have moved layer4 and the head, all their tensors, and nothing else: no weight, no statistic.",
    hints=(
        "there are four things to see to: what requires gradients, the new head, the modes, the optimizer's list. "
        "In which order can none of them spoil another?",
        "first freeze all there is, then thaw layer4, then put on the head, which is born thawed. Then modes "
        "(exercise 3.4), and the optimizer last, with only what trains.",
    ),
    worked=(
        "def prepare(model, num_classes):\n"
        "    model.requires_grad_(False)\n"
        "    model.layer4.requires_grad_(True)\n"
        "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n"
        "    train_mode(model)\n"
        "    trains = [p for p in model.parameters() if p.requires_grad]\n"
        "    return model, torch.optim.SGD(trains, lr=0.01)"
    ),
    gives=gives.tuple_of(gives.module(), None, hint="`return model, optimizer`."),
    changes=("model",),
    judge=_judge_prepare,
)
