"""Questions of lesson 03, freeze."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models

from ftcourse.exercises import Choice, Function, Value, Wrong

# -------------------------------------------------------------------------------- 3.1 thaw_head


def _thaw_head(model: Any) -> Any:
    for parameter in model.fc.parameters():
        parameter.requires_grad = True
    return model


def _judge_thaw_head(attempt: Callable) -> Wrong | None:
    model = models.resnet18(weights=None, num_classes=2).requires_grad_(False).eval()
    before = {name: p.clone() for name, p in model.named_parameters()}
    answer = attempt(model)
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return model`.")
    if not isinstance(answer, nn.Module):
        return Wrong(f"it returns {type(answer).__name__}, not the model", "`return model`.")
    if wrong := _step(answer):
        return wrong
    now = dict(answer.named_parameters())
    moved = [name for name, p in before.items() if not torch.equal(p, now[name])]
    theta = [name for name in moved if not name.startswith("fc.")]
    if theta:
        return Wrong(
            f"after one step {len(theta)} weight tensors outside the head have moved, "
            f"{theta[0]} among them",
            "thaw the parameters of model.fc alone.",
        )
    if moved != ["fc.weight", "fc.bias"]:
        return Wrong(f"after one step only {', '.join(moved)} has moved", "a head has a bias, too.")
    return None


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


thaw_head = Function(
    number="3.1",
    name="thaw_head",
    reference=_thaw_head,
    why="After one step the head's weight and bias have moved, and nothing else has.",
    hints=(
        "which objects carry requires_grad: modules, or the tensors inside them?",
        "for p in model.fc.parameters(): p.requires_grad = True, then return model.",
    ),
    worked=(
        "def thaw_head(model):\n"
        "    for p in model.fc.parameters():\n"
        "        p.requires_grad = True\n"
        "    return model"
    ),
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
        "layer4 has 8,393,728 numbers, the head for two classes 2 x 512 + 2.",
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
        "a new nn.Linear trains; an attribute on the module does nothing, in both directions.",
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


def _half_frozen() -> Any:
    """A ResNet with layer4 and the head thawed, and dropout in the head."""
    model = models.resnet18(weights=None, num_classes=4)
    model.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 4))
    model.requires_grad_(False).eval()
    model.layer4.requires_grad_(True)
    model.fc.requires_grad_(True)
    return model


def _statistics(model: Any) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in model.named_buffers() if v.is_floating_point()}


def _judge_train_mode(attempt: Callable) -> Wrong | None:
    model = _half_frozen()
    trains = [p.requires_grad for p in model.parameters()]
    answer = attempt(model)
    if answer is not None and not isinstance(answer, nn.Module):
        return Wrong(f"it returns {type(answer).__name__}", "return the model.")
    if trains != [p.requires_grad for p in model.parameters()]:
        return Wrong("it changes what trains", "leave requires_grad alone; set modes only.")
    images = 2 * torch.randn(6, 3, 64, 64) + 1
    before = _statistics(model)
    with torch.no_grad():
        model(images)
        after = _statistics(model)
        in_batch, alone = _through(model, images)[:1], _through(model, images[:1])
    moved = [k for k, v in after.items() if not torch.equal(v, before[k])]
    frozen = [k for k in moved if not k.startswith("layer4")]
    if frozen:
        return Wrong(
            f"in one forward pass {len(frozen)} statistics of frozen layers have moved, "
            f"{frozen[0]} among them",
            "model.train() wakes every BatchNorm; put those of frozen layers back with eval().",
        )
    if not torch.allclose(in_batch, alone, atol=1e-3):
        return Wrong(
            "what a frozen layer says of a photo depends on the other photos in the batch",
            "to stop the statistics is not enough: eval() makes BatchNorm use the stored ones.",
        )
    if not any(k.startswith("layer4") for k in moved):
        return Wrong(
            "the BatchNorm layers of layer4, which trains, do not follow the data any more",
            "start with model.train(), then put back only the frozen ones.",
        )
    if not model.fc[0].training:
        return Wrong("dropout is switched off", "start with model.train() for the whole model.")
    return None


def _through(model: Any, images: Tensor) -> Tensor:
    """What comes out of layer3, the last frozen stage."""
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    return model.layer3(model.layer2(model.layer1(x)))


train_mode = Function(
    number="3.4",
    name="train_mode",
    reference=_train_mode,
    why="Frozen BatchNorm keeps its statistics and uses them; what trains is in train mode.",
    hints=(
        "two steps: the whole model to train mode, then some modules back to eval mode.",
        "for each module in model.modules(): if it is a nn.BatchNorm2d and its weight does not "
        "require gradients, call module.eval().",
    ),
    worked=(
        "def train_mode(model):\n"
        "    model.train()\n"
        "    for module in model.modules():\n"
        "        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:\n"
        "            module.eval()\n"
        "    return model"
    ),
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
        "zeros are a gradient. Adam adds them to its running mean of the past, and takes a step.",
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
