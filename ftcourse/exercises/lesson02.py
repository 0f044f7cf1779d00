"""Questions of lesson 02, replace_the_head."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from ftcourse.exercises import Choice, Draw, Formula, Function, Value, Wrong
from ftcourse.exercises.gives import module, number, tensor, tuple_of

# --------------------------------------------------------------------------------- 2.1 new_head


def _new_head(model: Any, num_classes: int) -> Any:
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


def _networks() -> Iterator[tuple[Any, int]]:
    """ResNets whose heads take 512 and 2,048 features; fewer classes than before, more, and as many."""
    for block, num_classes in ((BasicBlock, 2), (Bottleneck, 9), (BasicBlock, 7)):
        yield ResNet(block, [1, 1, 1, 1], num_classes=7).eval(), num_classes


def _judge_new_head(attempt: Callable) -> Wrong | None:
    for model, num_classes in _networks():
        before = {k: v.clone() for k, v in model.state_dict().items()}
        answer = attempt(model, num_classes)
        if isinstance(answer, nn.Linear):
            return Wrong(
                "it returns the new layer, not the whole model",
                "put the new layer into model.fc, and return the model.",
            )
        if wrong := (
            _judge_backbone(answer, before)
            or _judge_mode(answer, before)
            or _judge_head_outputs(answer, num_classes, before)
            or _judge_linear(answer, num_classes, before)
        ):
            return wrong
    return None


def _judge_mode(model: Any, before: dict[str, Tensor]) -> Wrong | None:
    theta = {name.rpartition(".")[0] for name in before if not name.startswith("fc.")}
    if any(m.training for name, m in model.named_modules() if name in theta):
        return Wrong("it comes back in train mode", "leave its mode alone: no train() here.")
    return None


def _judge_head_outputs(model: Any, num_classes: int, before: dict[str, Tensor]) -> Wrong | None:
    width = before["fc.weight"].shape[1]
    try:
        with torch.no_grad():
            shape = tuple(model(torch.zeros(2, 3, 32, 32)).shape)
    except RuntimeError as err:
        said = str(err).splitlines()[0]
        return Wrong(
            f"a network with {width:,} features stops in its forward pass: {said}",
            "a new nn.Linear as it comes, float32 and on the CPU like the rest, is all it needs."
            if "shapes" not in said
            else "the number of inputs differs from network to network; the old head knows its own.",
        )
    if shape == (2, 7) != (2, num_classes):
        return Wrong(
            "the model still gives the old number of scores",
            "changing an attribute does not change the weights; model.fc must be a new nn.Linear.",
        )
    if shape != (2, num_classes):
        return Wrong(f"two photos give scores of shape {shape}, expected (2, {num_classes})")
    return None


def _judge_backbone(model: Any, before: dict[str, Tensor]) -> Wrong | None:
    now = model.state_dict()
    theta = [name for name in before if not name.startswith("fc.")]
    if any(v.shape[1:] == (7,) and v.ndim == 2 for v in now.values()):
        return Wrong(
            "the old head is still in the model, before the new layer",
            "the new layer takes the features, not the old scores: replace, do not append.",
        )
    if not all(name in now for name in theta):
        return Wrong(
            "the backbone's layers have other names than before",
            "keep the model that you were given, and assign to model.fc alone.",
        )
    if any(not torch.equal(now[name], before[name]) for name in theta):
        return Wrong(
            "the backbone's weights have changed",
            "keep the model that you were given; only model.fc is new.",
        )
    if not all(p.requires_grad for p in model.parameters()):
        return Wrong(
            "not all parameters train, and they did before",
            "leave requires_grad alone; freezing is for the next lesson.",
        )
    return None


def _judge_linear(model: Any, num_classes: int, before: dict[str, Tensor]) -> Wrong | None:
    """Is what comes after the features one linear layer, and new?"""
    head, old = model.fc, before["fc.weight"]
    for name, p in head.named_parameters():
        if _holds_some_of(p, old) or _holds_some_of(p[:, None], before["fc.bias"][:, None]):
            return Wrong(
                f"{name} of the new head holds numbers of the old one",
                "a new nn.Linear brings its own random weights: the old scores are of other classes.",
            )
    features = torch.randn(2, old.shape[1])
    with torch.no_grad():
        scores = [head.eval()(k * features) for k in (0.0, 1.0, 2.0)]
    head.train(model.training)
    if not torch.allclose(scores[2] - scores[1], scores[1] - scores[0], atol=1e-3):
        return Wrong(
            "the scores are not a weighted sum of the features",
            "no softmax and no other function after the new nn.Linear: the loss has the softmax.",
        )
    shapes = [tuple(p.shape) for p in head.parameters()]
    if shapes not in ([(num_classes, old.shape[1])], [(num_classes, old.shape[1]), (num_classes,)]):
        return Wrong(
            f"the new head has parameters of shapes {', '.join(map(str, shapes))}",
            "one nn.Linear has a weight and a bias; no other layer with parameters is asked for.",
        )
    return None


def _holds_some_of(new: Tensor, old: Tensor) -> bool:
    """Is a row of `old` among the rows of `new`?"""
    if new.ndim != 2 or new.shape[1] != old.shape[1]:
        return False
    return bool((new[:, None] == old).all(2).any())


new_head = Function(
    number="2.1",
    name="new_head",
    reference=_new_head,
    why="A new nn.Linear takes as many features as the old head did, and gives one score a class.",
    hints=(
        "build a nn.Linear and put it where the old one is. How many inputs must it have?",
        "the old head still knows how many features come in: look at its attributes. And return the model.",
    ),
    worked=(
        "def new_head(model, num_classes):\n"
        "    model.fc = nn.Linear(model.fc.in_features, num_classes)\n"
        "    return model"
    ),
    gives=module(),
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
        "how many weights does one score have, and how many biases? Then: how many scores?",
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


def _chance_by_torch(num_classes: int) -> float:
    """What PyTorch computes for a photo to which all scores are equal."""
    return float(nn.functional.cross_entropy(torch.zeros(1, num_classes), torch.tensor([0])))


def _numbers_of_classes(draw: Draw) -> Iterator[tuple[int]]:
    for num_classes in (37, 2, 200, 1, draw.whole(3, 30), draw.whole(40, 1000)):
        yield (num_classes,)


chance_loss = Formula(
    number="2.3",
    name="chance_loss",
    reference=lambda num_classes: math.log(num_classes),
    why="A head that knows nothing gives each class 1/C, and -log(1/C) = log C: 3.61 for 37 breeds.",
    hints=(
        "which probability does a head that knows nothing give to the right class?",
        "it shares 100 % evenly. Cross-entropy is minus the natural logarithm of the right class's share.",
    ),
    worked="def chance_loss(num_classes):\n    return math.log(num_classes)",
    gives=number("return one number."),
    cases=_numbers_of_classes,
    second=_chance_by_torch,
    describe=lambda num_classes: f"for {num_classes} classes",
    tolerance=2e-3,
    mistakes=(
        (lambda n: 1 / n, Wrong("that is the probability", "the loss is minus its logarithm.")),
        (
            lambda n: 1 - 1 / n,
            Wrong("that is the share of the wrong classes", "take the right class's."),
        ),
        (
            lambda n: -math.log(n),
            Wrong("the sign is turned", "a loss of cross-entropy is never negative."),
        ),
        (lambda n: math.log2(n), Wrong("that is in bits", "PyTorch uses the natural logarithm.")),
        (lambda n: math.log10(n), Wrong("that is log10", "PyTorch uses the natural logarithm.")),
        (
            lambda n: math.log(37),
            Wrong("that is for 37 classes, whatever comes in", "num_classes is the number."),
        ),
        (
            lambda n: math.log(n + 1),
            Wrong("that is for one class more", "there are num_classes scores, and no other."),
        ),
        (
            lambda n: n,
            Wrong("that is the number of classes", "which probability is left for each?"),
        ),
        (lambda n: 0.0, Wrong("0 would be a perfect head", "this one knows nothing yet.")),
    ),
)

# ---------------------------------------------------------------------------- 2.4 phi_gradient


def _error(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.softmax(1) - nn.functional.one_hot(targets, logits.shape[1])


def _phi_gradient(features: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    error = _error(logits, targets)
    return error.T @ features / len(targets), error.mean(0)


def _phi_by_autograd(features: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """What PyTorch computes for a head of zeros that is added to these logits."""
    weight = torch.zeros(logits.shape[1], features.shape[1], requires_grad=True)
    bias = torch.zeros(logits.shape[1], requires_grad=True)
    scores = logits + features @ weight.T + bias
    with torch.enable_grad():
        nn.functional.cross_entropy(scores, targets).backward()
    return weight.grad, bias.grad  # type: ignore[return-value]


# photos, features, classes: all different, one photo, two classes, more classes than photos
_SIZES = ((6, 4, 3), (1, 5, 2), (3, 2, 7), (8, 6, 4))


def _batches(draw: Draw) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for photos, features, classes in _SIZES:
        logits = 3 * draw.normal(photos, classes)
        seen = classes - 1 if classes > photos else classes  # a class that does not occur
        yield draw.normal(photos, features), logits, draw.integers(0, seen, photos)


def _sizes(first: Tensor, logits: Tensor, targets: Tensor) -> str:
    return f"for {len(targets)} photos, {first.shape[1]} features and {logits.shape[1]} classes"


_SIGN = Wrong("the sign is turned", "the error is what came out minus what should have.")
_NO_TARGET = Wrong("the targets play no part", "subtract 1 at the right class: one_hot(targets).")
_NO_MEAN = Wrong(
    "it sums over the photos", "the loss is the mean over the photos, so divide by len(targets)."
)
_BY_CLASSES = Wrong(
    "it divides by the number of classes", "the loss is the mean over the photos: len(targets)."
)
_NO_SOFTMAX = Wrong(
    "the logits stand where probabilities belong", "the error begins with softmax(logits)."
)


def _pair(f: Callable[[Tensor, Tensor], Tensor], bias: Callable[[Tensor], Tensor]) -> Callable:
    """(weight, bias) from functions of the error (and the features)."""
    return lambda x, z, t: (f(_error(z, t), x), bias(_error(z, t)))


phi_gradient = Formula(
    number="2.4",
    name="phi_gradient",
    reference=_phi_gradient,
    why="Error times input, averaged over the photos: the same numbers that autograd computes.",
    hints=(
        "first the error, shape (photos, classes): what came out minus what should have, photo by photo.",
        "softmax makes what came out, one_hot what should have. The weight's gradient is a matrix product of "
        "error and features, the bias's an average.",
    ),
    worked=(
        "def phi_gradient(features, logits, targets):\n"
        "    error = logits.softmax(1) - nn.functional.one_hot(targets, logits.shape[1])\n"
        "    return error.T @ features / len(targets), error.mean(0)"
    ),
    gives=tuple_of(tensor(), tensor(), hint="return two tensors: for weight, for bias."),
    cases=_batches,
    second=_phi_by_autograd,
    describe=_sizes,
    mistakes=(
        (_pair(lambda e, x: -e.T @ x / len(x), lambda e: -e.mean(0)), _SIGN),
        (_pair(lambda e, x: e.T @ x, lambda e: e.sum(0)), _NO_MEAN),
        (
            _pair(lambda e, x: e.T @ x, lambda e: e.mean(0)),
            Wrong("the weight's is a sum over the photos", "divide by len(targets), too."),
        ),
        (
            _pair(lambda e, x: e.T @ x / len(x), lambda e: e.sum(0)),
            Wrong("the bias's is a sum over the photos", "divide by len(targets), too."),
        ),
        (
            _pair(lambda e, x: e.T @ x / e.shape[1], lambda e: e.sum(0) / e.shape[1]),
            _BY_CLASSES,
        ),
        (
            _pair(lambda e, x: x.T @ e / len(x), lambda e: e.mean(0)),
            Wrong(
                "the weight's gradient is on its side",
                "a gradient has the shape of its weight, (classes, features): transpose.",
            ),
        ),
        (
            _pair(lambda e, x: e.T @ x / len(x), lambda e: e),
            Wrong("the bias's gradient has a row for each photo", "average the error over them."),
        ),
        (
            _pair(lambda e, x: e.T @ x / len(x), lambda e: e.mean(1)),
            Wrong("the bias's is averaged over the classes", "average the error over the photos."),
        ),
        (
            _pair(lambda e, x: e.T @ x / len(x), lambda e: torch.zeros(e.shape[1])),
            Wrong("the weight is right, the bias is not", "its input is 1: average the error."),
        ),
        (
            lambda x, z, t: (z.softmax(1).T @ x / len(t), z.softmax(1).mean(0)),
            _NO_TARGET,
        ),
        (lambda x, z, t: (z.softmax(1).T @ x, z.softmax(1).sum(0)), _NO_TARGET),
        (
            lambda x, z, t: (
                (z - nn.functional.one_hot(t, z.shape[1])).T @ x / len(t),
                (z - nn.functional.one_hot(t, z.shape[1])).mean(0),
            ),
            _NO_SOFTMAX,
        ),
        (lambda x, z, t: (z.T @ x / len(t), z.mean(0)), _NO_SOFTMAX),
        (
            lambda x, z, t: (
                (z.softmax(0) - nn.functional.one_hot(t, z.shape[1])).T @ x / len(t),
                (z.softmax(0) - nn.functional.one_hot(t, z.shape[1])).mean(0),
            ),
            Wrong("softmax runs over the photos", "over the classes of each photo: softmax(1)."),
        ),
    ),
)

# ------------------------------------------------------------------------ 2.5 feature_gradient


def _feature_gradient(weight: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    return _error(logits, targets) @ weight / len(targets)


def _features_by_autograd(weight: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """What PyTorch sends back to features that are zero beside these logits."""
    features = torch.zeros(len(targets), weight.shape[1], requires_grad=True)
    with torch.enable_grad():
        nn.functional.cross_entropy(logits + features @ weight.T, targets).backward()
    return features.grad  # type: ignore[return-value]


def _heads(draw: Draw) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for photos, features, classes in _SIZES:
        logits = 3 * draw.normal(photos, classes)
        yield draw.normal(classes, features), logits, draw.integers(0, classes, photos)


feature_gradient = Formula(
    number="2.5",
    name="feature_gradient",
    reference=_feature_gradient,
    why="The error goes back through the head's weights: that is all that θ hears of the task.",
    hints=(
        "the same error as before, (photos, classes); which product gives (photos, features)?",
        "the weight is (classes, features), so the error stands before it. And the loss is a mean.",
    ),
    worked=(
        "def feature_gradient(weight, logits, targets):\n"
        "    error = logits.softmax(1) - nn.functional.one_hot(targets, logits.shape[1])\n"
        "    return error @ weight / len(targets)"
    ),
    gives=tensor(),
    cases=_heads,
    second=_features_by_autograd,
    describe=_sizes,
    mistakes=(
        (lambda w, z, t: -_error(z, t) @ w / len(t), _SIGN),
        (lambda w, z, t: _error(z, t) @ w, _NO_MEAN),
        (lambda w, z, t: _error(z, t) @ w / z.shape[1], _BY_CLASSES),
        (lambda w, z, t: z.softmax(1) @ w / len(t), _NO_TARGET),
        (lambda w, z, t: z.softmax(1) @ w, _NO_TARGET),
        (lambda w, z, t: z @ w, _NO_SOFTMAX),
        (lambda w, z, t: z @ w / len(t), _NO_SOFTMAX),
        (
            lambda w, z, t: _error(z, t) / len(t),
            Wrong(
                "it has a column for each class, and not for each feature",
                "send the error back through the weight: a matrix product of the two.",
            ),
        ),
        (
            lambda w, z, t: w.T @ _error(z, t).T / len(t),
            Wrong(
                "it is on its side",
                "error is (photos, classes), weight (classes, features): multiply in this order.",
            ),
        ),
        (
            lambda w, z, t: _error(z, t) @ w.abs() / len(t),
            Wrong("the weights have lost their signs", "the weight itself, as it is."),
        ),
    ),
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

# --------------------------------------------------------------------------------- 2.7 fit_head

_NOISE = ((40, 64, 2), (30, 48, 5), (60, 96, 3))  # photos, features, classes


def _judge_fit_head(attempt: Callable) -> Wrong | None:
    """Features that are never negative, as a ResNet's, with labels by dice; the last class may be missing."""
    draw = Draw(2)
    for photos, width, classes in _NOISE:
        features = draw.normal(photos, width).abs()
        targets = draw.integers(0, classes - (classes > 3), photos)
        weight, bias = attempt(features, targets, classes)
        shapes = tuple(weight.shape), tuple(bias.shape)
        if shapes != ((classes, width), (classes,)):
            return Wrong(
                f"for {width} features and {classes} classes the shapes are {shapes[0]} and {shapes[1]}",
                "W has a row for each class and a column for each feature; b has a number for each class.",
            )
        scores = (features @ weight.T + bias).detach()
        right = int((scores.argmax(1) == targets).sum())
        if right < photos:
            loss = float(nn.functional.cross_entropy(scores, targets))
            seen = (
                f"{right} of {photos} photos with random labels are right, the loss is {loss:.2f}"
            )
            return Wrong(seen, _what_to_turn(loss, math.log(classes)))
    return None


def _what_to_turn(loss: float, chance: float) -> str:
    if not loss < 3 * chance:  # nan as well
        return "worse than guessing: downhill is against the gradient, and in steps that are not too large."
    if loss > 0.98 * chance:
        return "that is guessing. Does each step start from where the last one ended?"
    return "it is on its way: more steps, or larger ones."


def _fit_head(features: Tensor, targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    weight, bias = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)
    for _ in range(1000):
        scores = features @ weight.T + bias
        weight_gradient, bias_gradient = _phi_gradient(features, scores, targets)
        weight, bias = weight - 0.1 * weight_gradient, bias - 0.1 * bias_gradient
    return weight, bias


fit_head = Function(
    number="2.7",
    name="fit_head",
    reference=_fit_head,
    why="Every label was drawn by dice, and the head has them all: with at least as many features as photos, some "
    "weighted sum of the features gives any labels you like.",
    hints=(
        "the cell above trains a head; put it into a function. Which two numbers in it say how far training goes?",
        "start from zeros of the right shapes, and repeat: scores, gradients by your own function, a step "
        "downhill. Then change the number of steps and their size until the check has nothing left to say.",
    ),
    worked=(
        "def fit_head(features, targets, num_classes):\n"
        "    W, b = torch.zeros(num_classes, features.shape[1]), torch.zeros(num_classes)\n"
        "    for _ in range(1000):\n"
        "        dW, db = phi_gradient(features, features @ W.T + b, targets)\n"
        "        W, b = W - 0.1 * dW, b - 0.1 * db\n"
        "    return W, b"
    ),
    gives=tuple_of(tensor(), tensor(), hint="return two tensors: W and b."),
    judge=_judge_fit_head,
)
