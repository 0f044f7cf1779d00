"""The mistakes that raise no error, found before training and while it runs.

Each check looks at evidence (a real batch, a real step on a copy of the model), not at source code, so it
serves `finetune` and hand-written loops alike.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from ftcourse.backbones import head_of, layer_groups, weights_of
from ftcourse.freezing import is_frozen, train_mode
from ftcourse.stages import Stage, apply_stage, make_optimizer
from ftcourse.tasks.task import Classification, Task, to_device

__all__ = ["Finding", "preflight"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Finding:
    """What is wrong, how that was seen, and what to do. `name` is a fixed word for code."""

    name: str
    what: str
    evidence: str
    fix: str

    def __str__(self) -> str:
        return f"preflight: {self.what}\n  seen: {self.evidence}\n  do:   {self.fix}"


def preflight(
    model: nn.Module,
    data: Any = None,
    stages: Stage | Sequence[Stage] | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    evaluate: Callable[[nn.Module], Any] | None = None,
    batch_size: int = 32,
    task: Task | None = None,
) -> list[Finding]:
    """Look for what trains without an error and is wrong; returns the findings, worst first.

    Args:
        data: has `train`, `val` (data sets of (image, label)) and `classes`; without it, no data checks.
        stages: what `finetune` will do. Without them the model is judged as it stands: what is frozen, which mode
            its BatchNorm layers are in, what `optimizer` holds. That is the form for a hand-written loop.
        optimizer: the one that will make the steps.
        evaluate: your validation function of the model; it is run once, and watched.
        task: what a batch is and what the loss: see `ftcourse.tasks`. Classification by default; the checks of
            labels, logits and the loss at step 0 are for that one.

    The model and its random state are left as they were: steps are tried on a copy.
    """
    chosen = [stages] if isinstance(stages, Stage) else list(stages or [])
    rng = torch.get_rng_state()
    modes = [(m, m.training) for m in model.modules()]
    try:
        findings = list(_model_findings(model, chosen, optimizer))
        if evaluate is not None:
            findings += _evaluation_findings(model, evaluate)
        if data is not None:
            findings += _data_findings(model, data, chosen, batch_size, task or Classification())
    finally:
        torch.set_rng_state(rng)
        for module, training in modes:
            module.training = training
    return findings


def report(findings: list[Finding], history: Any) -> None:
    """Print findings and keep them in the history."""
    for finding in findings:
        print(finding)
        history.findings.append(asdict(finding))


# -- the model and the optimizer ---------------------------------------------------------------


def _model_findings(
    model: nn.Module, stages: list[Stage], optimizer: torch.optim.Optimizer | None
) -> Iterator[Finding]:
    head = [p for m in layer_groups(model)["head"] for p in m.parameters()]
    if stages:
        if not any("head" in stage.groups(model) for stage in stages):
            yield Finding(
                "head frozen",
                "no stage trains the head",
                f"the stages train {', '.join(s.label for s in stages)}; the head is in none of them",
                "add Stage(train='head'), or use train='all'",
            )
        return
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        yield Finding(
            "nothing trainable",
            "nothing will train",
            "requires_grad is False for every parameter" + _module_switch(model),
            "freeze first, then replace the head; or ft.unfreeze(model, 'head')",
        )
    elif not any(p.requires_grad for p in head):
        yield Finding(
            "head frozen",
            "the head is frozen, so the new classes cannot be learnt",
            f"requires_grad is False for the head's parameters{_module_switch(model)}",
            "ft.unfreeze(model, 'head')",
        )
    drifting = [
        n for n, m in model.named_modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats and is_frozen(m)
    ]  # fmt: skip
    if drifting:
        yield Finding(
            "frozen BatchNorm in train mode",
            "the statistics of frozen BatchNorm layers will drift",
            f"{len(drifting)} frozen BatchNorm layers are in train mode, {drifting[0]} the first",
            "call ft.train_mode(model) instead of model.train()",
        )
    if optimizer is not None:
        yield from _optimizer_findings(model, trainable, optimizer)


def _module_switch(model: nn.Module) -> str:
    """Tells of `model.fc.requires_grad = True`, which only makes an attribute of the module."""
    switched = [n for n, m in model.named_modules() if "requires_grad" in vars(m)]
    if not switched:
        return ""
    return f"; requires_grad was set on the module {switched[0]!r}, where it does nothing"


def _optimizer_findings(
    model: nn.Module, trainable: list[nn.Parameter], optimizer: torch.optim.Optimizer
) -> Iterator[Finding]:
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    mine = {id(p) for p in model.parameters()}
    foreign = held - mine
    missing = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
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
    rates = [group["lr"] for group in optimizer.param_groups]
    if rates and max(rates) == 0:
        yield Finding(
            "learning rate zero",
            "the learning rate is zero",
            "every group of the optimizer has lr=0",
            "give it a learning rate above 0",
        )


def _evaluation_findings(model: nn.Module, evaluate: Callable) -> Iterator[Finding]:
    before = {k: v.detach().clone() for k, v in model.state_dict().items()}
    training: set[str] = set()

    def watch(module: nn.Module, name: str) -> Any:
        return module.register_forward_pre_hook(
            lambda m, _: training.add(name) if m.training else None
        )

    kinds = (_BatchNorm, nn.Dropout)
    hooks = [watch(m, n) for n, m in model.named_modules() if isinstance(m, kinds)]
    try:
        evaluate(model)
    finally:
        for hook in hooks:
            hook.remove()
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    model.load_state_dict(before)
    if training or changed:
        yield Finding(
            "validation in train mode",
            "validation runs in train mode, or changes the model",
            f"{len(training)} BatchNorm and Dropout layers ran in train mode, "
            f"{len(changed)} tensors of the model changed",
            "call model.eval() before validation, and ft.train_mode(model) after it",
        )


# -- the data, and first steps on a copy -------------------------------------------------------


def _data_findings(
    model: nn.Module, data: Any, stages: list[Stage], batch_size: int, task: Task
) -> Iterator[Finding]:
    labels = isinstance(task, Classification)
    wrong = list(_label_findings(model, data)) if labels else []
    yield from wrong
    yield from _leakage(data)
    for name in ("train", "val"):
        inputs, targets = _batch(getattr(data, name), batch_size, task)
        if isinstance(inputs, Tensor) and inputs.ndim == 4:  # detectors normalise for themselves
            yield from _input_findings(inputs, model, name)
        if name == "train":
            first = inputs, targets
    if any(f.name == "label out of range" for f in wrong) or (labels and _too_small(model, data)):
        return  # the loss would fail
    if labels:
        yield from _output_findings(model, *first, task)
    if stages:
        yield from _try_steps(copy.deepcopy(model).eval(), *first, stages[0], task)


def _too_small(model: nn.Module, data: Any) -> bool:
    return head_of(model)[1].out_features < len(data.classes)


def _label_findings(model: nn.Module, data: Any) -> Iterator[Finding]:
    _, head = head_of(model)
    classes = len(data.classes)
    if head.out_features != classes:
        yield Finding(
            "wrong number of classes",
            "the head has another number of outputs than the data has classes",
            f"the head has {head.out_features} outputs, the data {classes} classes",
            f"ft.replace_head(model, num_classes={classes})",
        )
    targets = torch.as_tensor(getattr(data.train, "targets", []))
    outside = [int(t) for t in targets.unique() if not 0 <= t < head.out_features]
    if outside:
        yield Finding(
            "label out of range",
            "labels lie outside of 0 to the number of classes - 1",
            f"labels {outside[:5]} with {head.out_features} outputs",
            "number the classes from 0",
        )


def _batch(split: Any, size: int, task: Task) -> tuple[Any, Any]:
    """A batch spread evenly over the split, so that each class has a share."""
    n = len(split)
    rows = torch.linspace(0, n - 1, min(size, n)).round().long().unique().tolist()
    some = torch.utils.data.Subset(split, rows)
    loader = DataLoader(some, batch_size=len(rows), collate_fn=task.collate)
    return next(task.batches(loader, "cpu"))


def _input_findings(images: Tensor, model: nn.Module, split: str) -> Iterator[Finding]:
    """Undo the expected normalisation: real photos then fill 0 to 1, and wrongly made inputs do not."""
    mean, std = _expected(model)
    pixels = images.float() * std + mean
    low, high = (q.item() for q in _quantiles(pixels))
    if low >= -0.05 and high <= 1.05 and high - low > 0.6:
        return
    raw_low, raw_high = images.min().item(), images.max().item()
    if raw_high > 20:
        guess = "they look like 0 to 255"
    elif raw_low >= 0 and raw_high <= 1.001:
        guess = "they look like 0 to 1, not normalised"
    else:
        guess = "they look normalised by another mean and std"
    yield Finding(
        "inputs not normalised as the weights expect",
        f"{split} inputs are not normalised as the weights expect: {guess}",
        f"inputs span {raw_low:.2f} to {raw_high:.2f}; with the weights' mean and std undone, "
        f"98 % of the pixels lie in {low:.2f} to {high:.2f} instead of about 0 to 1",
        "use weights.transforms() of the weights that the model was loaded with",
    )


def _quantiles(pixels: Tensor) -> tuple[Tensor, Tensor]:
    flat = pixels.flatten()
    flat = flat[:: max(1, len(flat) // 100_000)]
    return flat.quantile(0.01), flat.quantile(0.99)


def _expected(model: nn.Module) -> tuple[Tensor, Tensor]:
    weights = weights_of(model)
    preset = weights.transforms() if weights else None
    mean, std = getattr(preset, "mean", IMAGENET[0]), getattr(preset, "std", IMAGENET[1])
    return torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)


def _leakage(data: Any, most: int = 5000) -> Iterator[Finding]:
    train, val = (_fingerprints(getattr(data, name), most) for name in ("train", "val"))
    both = sorted(set(train) & set(val))
    if both:
        yield Finding(
            "train and validation overlap",
            "photos of the validation split are in the training split as well",
            f"{len(both)} of {len(val)} validation photos, {val[both[0]]} for one",
            "split again, with copies kept together: ft.load_data does, `ftcourse audit` lists them",
        )


def _fingerprints(split: Any, most: int) -> dict[str, str]:
    """Hash of each photo's file (or of its pixels, where there is no file) -> its name."""
    paths = getattr(split, "paths", None)
    if paths is not None:
        return {hashlib.sha256(p.read_bytes()).hexdigest(): str(p) for p in paths[:most]}
    if hasattr(split, "load"):
        rows = range(min(len(split), most // 10))
        return {hashlib.sha256(split.load(i).tobytes()).hexdigest(): f"number {i}" for i in rows}
    return {}


def _output_findings(
    model: nn.Module, inputs: Any, labels: Tensor, task: Task
) -> Iterator[Finding]:
    """Look at the outputs, and at the loss at step 0."""
    device = next(model.parameters()).device
    labels = labels.to(device)
    with torch.no_grad():
        outputs = task.forward(model.eval(), to_device(inputs, device))
    if outputs.min() >= 0 and (outputs.sum(1) - 1).abs().max() < 1e-3:
        yield Finding(
            "softmax before cross-entropy",
            "the model ends in a softmax, and cross-entropy applies another",
            "each row of its outputs is positive and sums to 1",
            "remove the softmax: nn.CrossEntropyLoss takes logits",
        )
    chance = math.log(outputs.shape[1])
    start = F.cross_entropy(outputs, labels).item()
    if not start < 2 * chance + 1:
        yield Finding(
            "loss far from log C at step 0",
            "the loss is far above that of guessing before training begins",
            f"it is {start:.2f} nats; guessing among {outputs.shape[1]} classes gives {chance:.2f}",
            "check the inputs, the labels, and that the head is newly made",
        )


def _try_steps(
    trial: nn.Module, inputs: Any, targets: Any, stage: Stage, task: Task, steps: int = 6
) -> Iterator[Finding]:
    """A few steps on a copy of the model, at the peak learning rate."""
    optimizer = make_optimizer(apply_stage(trial, stage), stage)
    train_mode(trial)
    device = next(trial.parameters()).device
    inputs, targets = to_device(inputs, device), to_device(targets, device)
    losses = []
    for _ in range(steps):
        loss = task.loss(task.forward(trial, inputs, targets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if not losses[-1] < 1.5 * losses[0] + 0.5:  # also true for nan
        yield Finding(
            "learning rate too high",
            "the learning rate is too high: the loss rises",
            f"on one and the same batch it went from {losses[0]:.2f} to {losses[-1]:.2f} nats "
            f"in {steps} steps with lr={stage.lr:g}",
            f"divide it by 10: lr={stage.lr / 10:g}",
        )


def while_training(history: Any) -> list[Finding]:
    """Findings from the newest epoch: a loss that rises where it should fall."""
    rows = history.epochs
    if len(rows) < 2:
        return []
    old, new = rows[-2], rows[-1]
    told = any(f["name"] == "learning rate too high" for f in history.findings)
    if told or not new["train_loss"] > 1.5 * old["train_loss"] + 0.1:
        return []
    return [
        Finding(
            "learning rate too high",
            f"the training loss rose in epoch {new['epoch']} (training {new['train']})",
            f"from {old['train_loss']:.2f} to {new['train_loss']:.2f} nats",
            "lower the learning rate of this stage, or give it a longer warm-up",
        )
    ]
