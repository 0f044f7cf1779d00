"""Evidence in the model and its optimizer: what was loaded, what trains, what is held, what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftcourse.models.freezing import is_frozen
from ftcourse.models.groups import group_parameters, layer_groups
from ftcourse.training.preflight.check import Check, Evidence, Finding

__all__ = ["CHECKS", "OUTPUTS", "activation", "drift", "smoothing"]

ENOUGH = 100_000  # frozen numbers below which a network may well be meant to be random
# Operations after which outputs are no logits any more. (A second log_softmax changes nothing.)
SQUASHED = {
    "Softmax": "a softmax",
    "Sigmoid": "a sigmoid",
    "Relu": "a ReLU",
    "Hardtanh": "a ReLU6 or hardtanh",
    "Tanh": "a tanh",
    "Gelu": "a GELU",
    "Silu": "a SiLU",
    "Clamp": "a clamp",
    "ClampMin": "a clamp",
    "LeakyRelu": "a leaky ReLU",
    "Elu": "an ELU",
}


def _finite(e: Evidence) -> Iterator[Finding]:
    """The first tensor of the model, or setting of the optimizer, that is no number."""
    for name, value in e.model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            bad = int((~value.isfinite()).sum())
            yield not_finite(
                f"{name} of the model", f"{bad} of its {value.numel()} numbers are nan or infinite",
                "load the weights again; look at what wrote them",
            )  # fmt: skip
            return
    if e.optimizer is None:
        return
    for i, group in enumerate(e.optimizer.param_groups):
        for key in ("lr", "weight_decay", "momentum", "eps"):
            value = group.get(key, 0.0)
            if isinstance(value, float) and not math.isfinite(value):
                yield not_finite(
                    f"{key} of the optimizer's group {i}", f"{key}={value}", "give it a number"
                )
                return
    for name, p in e.model.named_parameters():
        for key, value in e.optimizer.state.get(p, {}).items():
            if isinstance(value, Tensor) and not value.isfinite().all():
                yield not_finite(
                    f"the optimizer's state of {name}", f"{key} has nan or infinite numbers",
                    "make a new optimizer",
                )  # fmt: skip
                return


def not_finite(where: str, evidence: str, fix: str) -> Finding:
    """A number that is none, and where it is."""
    return Finding("not finite", f"{where} is not finite", evidence, fix)


def _stages(e: Evidence) -> Iterator[Finding]:
    if not any("head" in stage.groups(e.model) for stage in e.stages):
        yield Finding(
            "head frozen",
            "no stage trains the head",
            f"the stages train {', '.join(s.label for s in e.stages)}; the head is in none of them",
            "add Stage(train='head'), or use train='all'",
        )


def _trains(e: Evidence) -> Iterator[Finding]:
    head = group_parameters(e.model)["head"]
    if not any(p.requires_grad for p in e.model.parameters()):
        yield Finding(
            "nothing trainable",
            "nothing will train",
            "requires_grad is False for every parameter" + _module_switch(e.model),
            "freeze first, then replace the head; or ft.unfreeze(model, 'head')",
        )
    elif not any(p.requires_grad for p in head):
        yield Finding(
            "head frozen",
            "the head is frozen, so the new classes cannot be learnt",
            f"requires_grad is False for the head's parameters{_module_switch(e.model)}",
            "ft.unfreeze(model, 'head')",
        )


def _batchnorm(e: Evidence) -> Iterator[Finding]:
    drifting = [
        n for n, m in e.model.named_modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats and is_frozen(m)
    ]  # fmt: skip
    if drifting:
        yield drift(
            f"{len(drifting)} frozen BatchNorm layers are in train mode, {drifting[0]} the first"
        )


def drift(evidence: str) -> Finding:
    """Frozen BatchNorm that does not sleep."""
    return Finding(
        "frozen BatchNorm in train mode",
        "the statistics of frozen BatchNorm layers will drift",
        evidence,
        "call ft.train_mode(model) instead of model.train()",
    )


def _module_switch(model: nn.Module) -> str:
    """Tells of `model.fc.requires_grad = True`, which only makes an attribute of the module."""
    switched = [n for n, m in model.named_modules() if "requires_grad" in vars(m)]
    if not switched:
        return ""
    return f"; requires_grad was set on the module {switched[0]!r}, where it does nothing"


def _optimizer(e: Evidence) -> Iterator[Finding]:
    model, optimizer = e.model, e.optimizer
    assert optimizer is not None
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    trainable = [p for p in model.parameters() if p.requires_grad]
    mine = {id(p) for p in model.parameters()}
    foreign = held - mine
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missing and e.train is not None:  # another optimizer may make their steps
        missing = [n for n in missing if not e.seen_training.moved.get(n)]
    if foreign:
        yield Finding(
            "stale optimizer",
            "the optimizer holds parameters that are no longer in the model",
            f"{len(foreign)} of its {len(held)} tensors belong to no layer of this model",
            "make the optimizer after the head is replaced and the model is complete",
        )
    if missing:
        yield Finding(
            "parameters missing from the optimizer",
            "parameters that should train are not in the optimizer",
            f"{len(missing)} of {len(trainable)} trainable tensors are missing, {missing[0]} the first",
            "make the optimizer after freezing and thawing",
        )
    # a schedule may begin at 0; what it multiplies is kept beside it
    rates = [max(group["lr"], group.get("initial_lr", 0.0)) for group in optimizer.param_groups]
    if rates and max(rates) == 0:
        yield Finding(
            "learning rate zero",
            "the learning rate is zero",
            "every group of the optimizer has lr=0",
            "give it a learning rate above 0",
        )


# -- weights that were never loaded --------------------------------------------------------------


def _loaded(e: Evidence) -> Iterator[Finding]:
    """Frozen layers that look as a network looks before it has learnt anything."""
    groups = {n: ms for n, ms in layer_groups(e.model).items() if n != "head"}
    trains = set(e.stages[0].groups(e.model)) if e.stages else set()
    if e.stages and e.stages[0].only is not None:
        trains = {"head"}
    frozen = {
        name: [
            m for g in modules for m in g.modules()
            if (name not in trains if e.stages else is_frozen(m))
        ]
        for name, modules in groups.items()
    }  # fmt: skip
    new = {name: why for name, ms in frozen.items() if (why := _looks_new(ms))}
    size = sum(p.numel() for n in new for m in frozen[n] for p in m.parameters(recurse=False))
    if new and size > ENOUGH:
        yield Finding(
            "weights not loaded",
            "frozen layers have the weights of a network that never learnt anything",
            f"{', '.join(new)}: {next(iter(new.values()))}",
            "load the pre-trained weights before freezing; of what load_state_dict(strict=False) returns, "
            "missing_keys and unexpected_keys should be those of the head alone",
        )
        return
    names = list(groups)
    inside = {n: [m for g in groups[n] for m in g.modules()] for n in names}
    fresh = [n for n in names if _looks_new(inside[n])]
    learnt = [n for n in names if n not in fresh]
    early = [n for n in fresh if learnt and names.index(n) < names.index(learnt[-1])]
    size = sum(p.numel() for n in early for g in groups[n] for p in g.parameters())
    if early and size > ENOUGH:  # the last groups may have been made new on purpose
        yield Finding(
            "weights not loaded",
            "some layers have pre-trained weights, and layers before them have not",
            f"{', '.join(early)} look new, {learnt[-1]} does not: {_looks_new(inside[early[0]])}",
            "compare the names in the file with those in model.state_dict(): strict=False skips what does not fit",
        )


@torch.no_grad()
def _looks_new(modules: list[nn.Module]) -> str:
    """Why these modules look as if just made, or "": by their norms, or by the distribution of their weights."""
    batch: list[Any] = [
        m for m in modules if isinstance(m, _BatchNorm) and m.running_var is not None
    ]
    if batch:
        new = all(not m.running_mean.any() and (m.running_var == 1).all() for m in batch)
        return f"the statistics of their {len(batch)} BatchNorm layers are 0 and 1" if new else ""
    norms, drawn = (nn.LayerNorm, nn.GroupNorm), (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    layer = [m for m in modules if isinstance(m, norms) and m.weight is not None]
    if layer:
        new = all((m.weight == 1).all() and (m.bias is None or not m.bias.any()) for m in layer)
        return f"the weights of their {len(layer)} norms are 1 and the biases 0" if new else ""
    matrices = [m.weight for m in modules if isinstance(m, drawn) and m.weight.numel() >= 10_000]
    if matrices and all(_looks_drawn(w) for w in matrices):
        return (
            f"the numbers in their {len(matrices)} matrices are distributed as freshly drawn ones"
        )
    return ""


def _looks_drawn(weight: Tensor) -> bool:
    """Do the numbers follow a normal, truncated normal or uniform law? Trained ones have heavier tails."""
    x = weight.detach().flatten().double()
    x = x - x.mean()
    spread = x.square().mean()
    if spread == 0:
        return True
    kurtosis = (x**4).mean() / spread**2
    error = 4 * math.sqrt(24 / len(x)) + 0.01
    return any(abs(kurtosis.item() - law) < error for law in (3.0, 1.8, 2.3675))


# -- what comes out ----------------------------------------------------------------------------


def activation(made_by: str, where: str) -> Iterator[Finding]:
    """Outputs that went through a function that the loss does not expect."""
    if made_by == "Softmax":
        yield Finding(
            "softmax before cross-entropy",
            "the model ends in a softmax, and cross-entropy applies another",
            f"each row of {where} is positive and sums to 1",
            "remove the softmax: nn.CrossEntropyLoss takes logits",
        )
    elif made_by in SQUASHED:
        yield Finding(
            "activation before the loss",
            f"{where} go through {SQUASHED[made_by]} before the loss, which takes logits",
            f"the operation that made them is {made_by.lower()}",
            "hand the head's outputs to the loss as they are",
        )


def smoothing(weight: Tensor | None, share: float, classes: int) -> Iterator[Finding]:
    """The smoothed share of each other class is multiplied by that class's weight, and may win.

    Source: https://github.com/pytorch/pytorch/issues/104776
    """
    if weight is None or not share or weight.min() <= 0:
        return
    ratio = (weight.max() / weight.min()).item()
    most = (classes * (1 - share) + share) / share  # there, both answers have the same loss
    if ratio > most:
        yield Finding(
            "label smoothing outweighs the labels",
            "with these class_weights and label_smoothing it pays to call common classes rare ones",
            f"the weights differ by a factor of {ratio:.0f}; above {most:.0f} a smoothing of {share:g} "
            f"among {classes} classes outweighs the labels of the commonest",
            "leave out label_smoothing, or draw rare classes more often instead of class_weights",
        )


def _smoothing(e: Evidence) -> Iterator[Finding]:
    criterion = getattr(e.task, "criterion", None)
    if isinstance(criterion, nn.CrossEntropyLoss):
        yield from smoothing(criterion.weight, criterion.label_smoothing, len(e.data.classes))


def _outputs(e: Evidence) -> Iterator[Finding]:
    """Look at the outputs, and at the loss at step 0."""
    if e.loss_fails:
        return
    labels, outputs = e.batches["train"][1], e.outputs
    labels = labels.to(outputs.device)
    if not outputs.isfinite().all():
        yield _first_not_finite(e)
        return
    made_by = e.made_by
    if outputs.min() >= 0 and (outputs.sum(1) - 1).abs().max() < 1e-3:
        made_by = "Softmax"  # also one that is written out
    yield from activation(made_by, "its outputs")
    chance = math.log(outputs.shape[1])
    start = F.cross_entropy(outputs, labels).item()
    if not start < 2 * chance + 1:
        yield Finding(
            "loss far from log C at step 0",
            "the loss is far above that of guessing before training begins",
            f"it is {start:.2f} nats; guessing among {outputs.shape[1]} classes gives {chance:.2f}",
            "check the inputs, the labels, and that the head is newly made",
        )


def _first_not_finite(e: Evidence) -> Finding:
    """The first module whose output is nan or infinite for finite inputs."""
    first: list[str] = []

    def look(name: str) -> object:
        def hook(module: nn.Module, args: object, output: object) -> None:
            if not first and isinstance(output, Tensor) and not output.isfinite().all():
                first.append(f"{name} ({type(module).__name__})")

        return hook

    hooks = [m.register_forward_hook(look(n)) for n, m in e.model.named_modules() if n]  # type: ignore[arg-type]
    try:
        with torch.no_grad():
            e.task.forward(e.model.eval(), e.batches["train"][0].to(e.outputs.device))
    finally:
        for hook in hooks:
            hook.remove()
    where = first[0] if first else "the model"
    return not_finite(
        f"what {where} gives for a training batch", "inputs and weights are finite, its output is not",
        "look for a division, a logarithm or a root there, or for float16",
    )  # fmt: skip


CHECKS = (
    Check("finite weights", "model, optimizer", "nothing", lambda e: True, _finite),
    Check("stages", "stages", "nothing", lambda e: bool(e.stages), _stages),
    Check("what trains", "model", "nothing", lambda e: not e.stages, _trains),
    Check("frozen BatchNorm", "model", "nothing", lambda e: not e.stages, _batchnorm),
    Check(
        "what the optimizer holds",
        "model, optimizer",
        "nothing",
        lambda e: not e.stages and e.optimizer is not None,
        _optimizer,
    ),
    Check("weights loaded", "model", "nothing", lambda e: True, _loaded),
)
OUTPUTS = (
    Check(
        "smoothing and weights",
        "task, data",
        "nothing",
        lambda e: e.data is not None and e.labels,
        _smoothing,
    ),
    Check(
        "outputs",
        "model, data",
        "one batch forward",
        lambda e: e.data is not None and e.labels,
        _outputs,
    ),
)
