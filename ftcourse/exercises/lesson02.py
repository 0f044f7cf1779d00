"""Questions of lesson 02, replace_the_head."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from ftcourse.exercises import Choice, Function, Value, Wrong

# --------------------------------------------------------------------------------- 2.1 new_head


def _new_head(model: Any, num_classes: int) -> Any:
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


def _judge_new_head(attempt: Callable) -> Wrong | None:
    for name, size, num_classes in (("resnet18", 64, 2), ("resnet50", 64, 5)):
        model = models.get_model(name, weights=None, num_classes=7).eval()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        answer = attempt(model, num_classes)
        if answer is None:
            return Wrong("your function returns nothing", "end it with `return model`.")
        if not isinstance(answer, nn.Module) or isinstance(answer, nn.Linear):
            return Wrong(
                f"it returns {type(answer).__name__}, not the whole model",
                "put the new layer into model.fc, and return the model.",
            )
        if wrong := _judge_head_outputs(answer, size, num_classes, name):
            return wrong
        if wrong := _judge_backbone(answer, before):
            return wrong
    return None


def _judge_head_outputs(model: nn.Module, size: int, num_classes: int, name: str) -> Wrong | None:
    try:
        with torch.no_grad():
            shape = tuple(model(torch.zeros(2, 3, size, size)).shape)
    except RuntimeError as err:
        return Wrong(
            f"{name} stops in its forward pass: {str(err).splitlines()[0]}",
            "the number of inputs differs from network to network; ask model.fc.in_features.",
        )
    if shape == (2, 7):
        return Wrong(
            "the model still gives the old number of scores",
            "changing an attribute does not change the weights; model.fc must be a new nn.Linear.",
        )
    if shape != (2, num_classes):
        return Wrong(f"two photos give scores of shape {shape}, expected (2, {num_classes})")
    return None


def _judge_backbone(model: nn.Module, before: dict[str, Tensor]) -> Wrong | None:
    now = model.state_dict()
    theta = [name for name in before if not name.startswith("fc.")]
    if any(name not in now or not torch.equal(now[name], before[name]) for name in theta):
        return Wrong(
            "the backbone's weights have changed",
            "keep the model that you were given; only model.fc is new.",
        )
    old = before["fc.weight"]
    if any(v.shape == old.shape and torch.equal(v, old) for v in now.values()):
        return Wrong(
            "the old head is still in the model, before the new layer",
            "the new layer takes the 512 features, not the old scores: replace, do not append.",
        )
    head = [p for name, p in model.named_parameters() if name not in theta]
    if not all(p.requires_grad for p in head):
        return Wrong("the new head does not train", "leave requires_grad of the new layer alone.")
    return None


new_head = Function(
    number="2.1",
    name="new_head",
    reference=_new_head,
    why="A new nn.Linear takes as many features as the old head did, and gives one score a class.",
    hints=(
        "build a nn.Linear and assign it to model.fc. How many inputs must it have?",
        "model.fc = nn.Linear(model.fc.in_features, num_classes), then return model.",
    ),
    worked=(
        "def new_head(model, num_classes):\n"
        "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n"
        "    return model"
    ),
    changes=("model",),
    judge=_judge_new_head,
)

# ----------------------------------------------------------------------------- 2.2 count_of_phi

count_of_phi = Value(
    number="2.2",
    name="count_of_phi",
    reference=512 * 2 + 2,
    why="Each of the 2 scores has 512 weights and one bias: 2 x 512 + 2 = 1,026.",
    hints=(
        "each score is a weighted sum of the features, plus one number.",
        "2 scores, each with 512 weights and 1 bias.",
    ),
    worked="guess = 2 * 512 + 2",
    mistakes=(
        (1024, Wrong("1,024 counts the weights alone", "each score has a bias, too.")),
        (1025, Wrong("1,025 has one bias", "there is one bias for each of the two scores.")),
        (513, Wrong("513 is one score's share", "there are two classes, hence two scores.")),
        (102_600, Wrong("102,600 is the old head with 200 scores", "the new one has two.")),
        (11_177_538, Wrong("that is θ and φ together", "count the new layer alone.")),
    ),
)

# ------------------------------------------------------------------------------ 2.3 chance_loss


def _close(a: Any, b: Any) -> bool:
    return bool(abs(float(a) - float(b)) < 0.02)


chance_loss = Value(
    number="2.3",
    name="chance_loss",
    reference=math.log(37),
    why="A head that knows nothing gives each of 37 classes 1/37, and -log(1/37) = log 37 = 3.61.",
    hints=(
        "which probability does a head that knows nothing give to the right class?",
        "1/37. Cross-entropy is minus the natural logarithm of it: math.log(37).",
    ),
    worked="import math\n\nguess = math.log(37)",
    same=_close,
    mistakes=(
        (1 / 37, Wrong("that is the probability", "the loss is minus its logarithm.")),
        (-math.log(37), Wrong("the sign is turned", "a loss of cross-entropy is never negative.")),
        (math.log2(37), Wrong("that is in bits", "PyTorch uses the natural logarithm.")),
        (math.log10(37), Wrong("that is log10", "PyTorch uses the natural logarithm.")),
        (math.log(2), Wrong("that is for 2 classes", "there are 37 breeds.")),
        (math.log(200), Wrong("that is for 200 classes", "the new head has 37 scores.")),
        (37, Wrong("37 is the number of classes", "which probability is left for each?")),
        (0, Wrong("0 would be a perfect head", "this one knows nothing yet.")),
    ),
)

# ---------------------------------------------------------------------------- 2.4 phi_gradient


def _phi_gradient(features: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = logits.softmax(1)
    error = error - nn.functional.one_hot(targets, logits.shape[1])
    return error.T @ features / len(targets), error.mean(0)


def _judge_phi_gradient(attempt: Callable) -> Wrong | None:
    g = torch.Generator().manual_seed(1)
    features, targets = torch.randn(6, 4, generator=g), torch.tensor([0, 2, 1, 1, 0, 2])
    logits = torch.randn(6, 3, generator=g)
    weight, bias = _phi_gradient(features, logits, targets)
    answer = attempt(features.clone(), logits.clone(), targets.clone())
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return Wrong("it does not return a pair", "return two tensors: for weight, for bias.")
    w, b = (torch.as_tensor(v).detach().float() for v in answer)
    if w.shape == weight.T.shape:
        return Wrong(
            f"the gradient for the weight has shape {tuple(w.shape)}",
            "a gradient has the shape of its weight, (classes, features): transpose.",
        )
    if w.shape != weight.shape or b.shape != bias.shape:
        return Wrong(
            f"the shapes are {tuple(w.shape)} and {tuple(b.shape)}, "
            f"expected {tuple(weight.shape)} and {tuple(bias.shape)}",
            "error.T @ features sums over the photos; for the bias, average the error over them.",
        )
    if torch.allclose(w, weight, atol=1e-4) and torch.allclose(b, bias, atol=1e-4):
        return None
    return _explain_gradient(w, b, features, logits, targets)


def _explain_gradient(
    w: Tensor, b: Tensor, features: Tensor, logits: Tensor, targets: Tensor
) -> Wrong:
    weight, bias = _phi_gradient(features, logits, targets)
    n, no_target = len(targets), logits.softmax(1).T @ features
    if torch.allclose(w, -weight, atol=1e-4):
        return Wrong("the sign is turned", "the error is what came out minus what should have.")
    if torch.allclose(w, n * weight, atol=1e-3) or torch.allclose(b, n * bias, atol=1e-3):
        return Wrong(
            f"one of the two is {n} times too large for {n} photos",
            "the loss is the mean over the photos, so divide by len(targets).",
        )
    if any(torch.allclose(w, no_target / k, atol=1e-4) for k in (1, n)):
        return Wrong("the targets play no part", "subtract 1 at the right class: one_hot(targets).")
    if torch.allclose(w, weight, atol=1e-4):
        return Wrong("the weight is right, the bias is not", "error.mean(0) is the bias's.")
    return Wrong(
        "the numbers differ from what autograd computes",
        "the error is softmax(logits) minus one_hot(targets).",
    )


phi_gradient = Function(
    number="2.4",
    name="phi_gradient",
    reference=_phi_gradient,
    why="Error times input, averaged over the photos: the same numbers that autograd computes.",
    hints=(
        "first the error, shape (photos, classes): softmax(logits) minus one_hot(targets).",
        "weight: error.T @ features / len(targets). Bias: error.mean(0).",
    ),
    worked=(
        "def phi_gradient(features, logits, targets):\n"
        "    error = logits.softmax(1) - nn.functional.one_hot(targets, logits.shape[1])\n"
        "    return error.T @ features / len(targets), error.mean(0)"
    ),
    judge=_judge_phi_gradient,
)

# ------------------------------------------------------------------------ 2.5 feature_gradient


def _feature_gradient(weight: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    error = logits.softmax(1) - nn.functional.one_hot(targets, logits.shape[1])
    return error @ weight / len(targets)


def _judge_feature_gradient(attempt: Callable) -> Wrong | None:
    g = torch.Generator().manual_seed(2)
    weight, targets = torch.randn(3, 5, generator=g), torch.tensor([0, 2, 1, 1])
    logits = torch.randn(4, 3, generator=g)
    right = _feature_gradient(weight, logits, targets)
    answer = attempt(weight.clone(), logits.clone(), targets.clone())
    if answer is None:
        return Wrong("your function returns nothing", "end it with `return ...`.")
    value = torch.as_tensor(answer).detach().float()
    if value.shape != right.shape:
        return Wrong(
            f"its shape is {tuple(value.shape)}, expected {tuple(right.shape)}, as the features",
            "error is (photos, classes) and weight (classes, features): error @ weight.",
        )
    if torch.allclose(value, right, atol=1e-5):
        return None
    if torch.allclose(value, -right, atol=1e-5):
        return Wrong("the sign is turned", "the error is what came out minus what should have.")
    if torch.allclose(value, len(targets) * right, atol=1e-4):
        return Wrong(
            f"it is {len(targets)} times too large for {len(targets)} photos",
            "the loss is the mean over the photos, so divide by len(targets).",
        )
    no_target = logits.softmax(1) @ weight
    if any(torch.allclose(value, no_target / k, atol=1e-5) for k in (1, len(targets))):
        return Wrong("the targets play no part", "subtract 1 at the right class: one_hot(targets).")
    return Wrong(
        "the numbers differ from what autograd computes",
        "the error is softmax(logits) minus one_hot(targets), sent back through the weight.",
    )


feature_gradient = Function(
    number="2.5",
    name="feature_gradient",
    reference=_feature_gradient,
    why="The error goes back through the head's weights: that is all that θ hears of the task.",
    hints=(
        "the same error as before, (photos, classes); which product gives (photos, features)?",
        "error @ weight / len(targets), with error = softmax(logits) - one_hot(targets).",
    ),
    worked=(
        "def feature_gradient(weight, logits, targets):\n"
        "    error = logits.softmax(1) - nn.functional.one_hot(targets, logits.shape[1])\n"
        "    return error @ weight / len(targets)"
    ),
    judge=_judge_feature_gradient,
)

# ------------------------------------------------------------------------------- 2.6 the_order

the_order = Choice(
    number="2.6",
    name="the_order",
    reference="b",
    why="The optimizer holds the tensors it was given. Made after the new head, it holds the new "
    "head's; made before, it goes on turning the old head, which is no longer in the model.",
    hints=(
        "an optimizer holds tensors, not names. Which tensors are in the model when it is made?",
        "in program A the optimizer was made while the old head was still in place.",
    ),
    worked='answer = "b"',
    options={
        "a": Wrong(
            "in A the new head's weights are not among those that the optimizer holds",
            "an optimizer holds tensors, not the name model.fc.",
        ),
        "b": None,
        "c": Wrong(
            "the two programs differ: only one optimizer holds the new head's tensors",
            "what is model.fc when each optimizer is made?",
        ),
        "d": Wrong(
            "one of them does train it",
            "which optimizer was made when the new head was in the model already?",
        ),
    },
)
