"""The mistakes that raise no error, found before training and while it runs.

Each check looks at evidence (a real batch, a real step on a copy of the model), not at source code, so it
serves `finetune` and hand-written loops alike.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from ftcourse.models.backbones import origin_of, weights_of
from ftcourse.models.features import embed
from ftcourse.models.freezing import is_frozen, train_mode
from ftcourse.models.groups import group_parameters, head_of, head_outputs
from ftcourse.models.modes import modes_kept, unchanged
from ftcourse.tasks.task import Classification, Task, to_device
from ftcourse.training.frozen_prefix import cut_model
from ftcourse.training.stages import Stage, apply_stage, make_optimizer

__all__ = ["Finding", "preflight"]

FAR = 1.0  # pre-trained weights that go so far in six steps, relative to their size, are lost
SIGMAS = 3.0
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
    train: Callable[[nn.Module], Any] | None = None,
    batch_size: int = 32,
    task: Task | None = None,
) -> list[Finding]:
    """Look for what trains without an error and is wrong; returns the findings, worst first.

    Args:
        data: has `train`, `val` (data sets of (image, label)) and `classes`; without it, no data checks.
        stages: what `finetune` will do. Without them the model is judged as it stands: what is frozen, which mode
            its BatchNorm layers are in, what `optimizer` holds. That is the form for a hand-written loop.
        optimizer: the one that will make the steps.
        evaluate: your validation function of the model; it is run once on the model in train mode, as an epoch of
            training leaves it, and watched.
        train: your function that trains the model for an epoch with `optimizer`; its first steps are run and
            watched, and model and optimizer put back as they were. (A scheduler that it steps is not.)
        task: what a batch is and what the loss: see `ftcourse.tasks`. Classification by default; the checks of
            labels, logits and the loss at step 0 are for that one.

    The model and its random state are left as they were: other steps are tried on a copy.

    Raises:
        ValueError: `train` without `optimizer`.
    """
    if train is not None and optimizer is None:
        raise ValueError("preflight: train= needs optimizer=, the one that it makes its steps with")
    chosen = [stages] if isinstance(stages, Stage) else list(stages or [])
    with modes_kept(model), torch.random.fork_rng(devices=[]):
        findings = list(_model_findings(model, chosen, optimizer))
        if evaluate is not None:
            findings += _evaluation_findings(model, evaluate)
        if train is not None and optimizer is not None:
            told = {finding.name for finding in findings}
            findings += [
                f for f in _training_findings(model, train, optimizer) if f.name not in told
            ]
        if data is not None:
            task = task or Classification()
            findings += _data_findings(model, data, chosen, optimizer, batch_size, task)
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
    head = group_parameters(model)["head"]
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
        yield _drift(
            f"{len(drifting)} frozen BatchNorm layers are in train mode, {drifting[0]} the first"
        )
    if optimizer is not None:
        yield from _optimizer_findings(model, trainable, optimizer)


def _drift(evidence: str) -> Finding:
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
    training: set[str] = set()

    def watch(module: nn.Module, name: str) -> Any:
        return module.register_forward_pre_hook(
            lambda m, _: training.add(name) if m.training else None
        )

    kinds = (_BatchNorm, nn.Dropout)
    hooks = [watch(m, n) for n, m in model.named_modules() if isinstance(m, kinds)]
    with unchanged(model):
        before = {k: v.detach().clone() for k, v in model.state_dict().items()}
        train_mode(model)  # as an epoch of training leaves it
        try:
            evaluate(model)
        finally:
            for hook in hooks:
                hook.remove()
        changed = [k for k, v in model.state_dict().items() if not torch.equal(v, before[k])]
    if training or changed:
        yield Finding(
            "validation in train mode",
            "validation runs in train mode, or changes the model",
            f"{len(training)} BatchNorm and Dropout layers ran in train mode, "
            f"{len(changed)} tensors of the model changed",
            "call model.eval() before validation, and ft.train_mode(model) after it",
        )


class _Enough(BaseException):
    """Ends the learner's training function after a few steps; no `except Exception` swallows it."""


def _training_findings(
    model: nn.Module, train: Callable, optimizer: torch.optim.Optimizer, steps: int = 4
) -> Iterator[Finding]:
    """Run the first steps of a training function; look at what it does to statistics and gradients."""
    optimizer_state = copy.deepcopy(optimizer.state_dict())
    fresh: dict[nn.Parameter, Tensor] = {}  # what backward has added since the last step
    awake: dict[str, None] = {}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    unlike = made = 0

    def collect(p: nn.Parameter, grad: Tensor) -> None:
        fresh[p] = fresh[p] + grad if p in fresh else grad.clone()

    def before_step(*_: Any) -> None:
        nonlocal unlike, made
        if made == steps:
            raise _Enough
        made += 1
        unlike += any(_unlike(p.grad, g) for p, g in fresh.items())
        fresh.clear()

    hooks: list[Any] = [optimizer.register_step_pre_hook(before_step)]
    for p in model.parameters():
        if p.requires_grad and id(p) in held:
            hooks.append(p.register_hook(lambda grad, p=p: collect(p, grad)))
    for name, m in model.named_modules():
        if isinstance(m, _BatchNorm) and m.track_running_stats and is_frozen(m):
            hooks.append(
                m.register_forward_pre_hook(
                    lambda m, _, name=name: awake.setdefault(name) if m.training else None
                )
            )
    try:
        with unchanged(model), suppress(_Enough):
            train(model)
    finally:
        for hook in hooks:
            hook.remove()
        optimizer.load_state_dict(optimizer_state)
    if awake:
        yield _drift(
            f"your training ran {len(awake)} of them in train mode, {next(iter(awake))} the first"
        )
    if unlike:
        yield Finding(
            "gradients not cleared",
            "the optimizer steps with gradients of earlier batches in them",
            f"in {unlike} of the first {made} steps p.grad was not what backward had added since the last step",
            "call optimizer.zero_grad() once for each optimizer.step()",
        )


def _unlike(a: Tensor | None, b: Tensor) -> bool:
    """Do two gradients point in different directions? (Clipping and scaling turn no sign.)"""
    if a is None:
        return False
    turned = b.abs()[a.to(b.device) * b < 0].sum()
    return bool(turned > 0.05 * b.abs().sum())


# -- the data, and first steps on a copy -------------------------------------------------------


def _data_findings(
    model: nn.Module,
    data: Any,
    stages: list[Stage],
    optimizer: torch.optim.Optimizer | None,
    batch_size: int,
    task: Task,
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
    if labels and not stages:  # finetune sees it for nothing, after its first epoch
        yield from _numbering(model, data, task)
    if stages:
        trial = copy.deepcopy(model)
        steps = make_optimizer(apply_stage(trial, stages[0]), stages[0])
    elif optimizer is not None and any(p.requires_grad for p in model.parameters()):
        trial, steps = copy.deepcopy((model, optimizer))
    else:
        return
    yield from _try_steps(trial, *first, steps, task)


def _too_small(model: nn.Module, data: Any) -> bool:
    return head_outputs(head_of(model)[1]) < len(data.classes)


def _label_findings(model: nn.Module, data: Any) -> Iterator[Finding]:
    outputs = head_outputs(head_of(model)[1])
    classes = len(data.classes)
    if outputs != classes:
        yield Finding(
            "wrong number of classes",
            "the head has another number of outputs than the data has classes",
            f"the head has {outputs} outputs, the data {classes} classes",
            f"ft.replace_head(model, num_classes={classes})",
        )
    targets = torch.as_tensor(getattr(data.train, "targets", []))
    outside = [int(t) for t in targets.unique() if not 0 <= t < outputs]
    if outside:
        yield Finding(
            "label out of range",
            "labels lie outside of 0 to the number of classes - 1",
            f"labels {outside[:5]} with {outputs} outputs",
            "number the classes from 0",
        )


def _batch(split: Any, size: int, task: Task) -> tuple[Any, Any]:
    """A batch drawn from the whole split, so that each class has a share; the same each time."""
    n = len(split)
    rows = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:size].sort().values
    some = torch.utils.data.Subset(split, rows.tolist())
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
    paths = _paths(split)
    if paths is not None:
        return {hashlib.sha256(Path(p).read_bytes()).hexdigest(): str(p) for p in paths[:most]}
    if hasattr(split, "load"):
        rows = range(min(len(split), most // 10))
        return {hashlib.sha256(split.load(i).tobytes()).hexdigest(): f"number {i}" for i in rows}
    return {}


def _paths(split: Any) -> list[Any] | None:
    """The files of a split of ours, of torchvision's ImageFolder, or of a Subset of either."""
    if isinstance(split, torch.utils.data.Subset):
        inner = _paths(split.dataset)
        return None if inner is None else [inner[i] for i in split.indices]
    paths, samples = getattr(split, "paths", None), getattr(split, "samples", None)
    if paths is None and isinstance(samples, list):
        paths = [s[0] for s in samples if isinstance(s, tuple)]
    return None if paths is None else list(paths)


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


def _computed_once(model: nn.Module, inputs: Any, task: Task) -> tuple[nn.Module, Any]:
    """What lies behind the frozen part, and what that gives for this batch; or the model and the batch."""
    with suppress(ValueError):
        cut = cut_model(model) if type(task).forward is Task.forward else None
        if cut is not None and isinstance(inputs, Tensor):
            return cut.rest(model), cut.prefix(model)(inputs)
    return model, inputs


def _try_steps(
    trial: nn.Module,
    inputs: Any,
    targets: Any,
    optimizer: torch.optim.Optimizer,
    task: Task,
    steps: int = 6,
) -> Iterator[Finding]:
    """A few steps on a copy of the model, at the optimizer's learning rate."""
    train_mode(trial)
    device = next(trial.parameters()).device
    inputs, targets = to_device(inputs, device), to_device(targets, device)
    before = {n: p.detach().clone() for n, p in _pretrained(trial)}
    rest, features = _computed_once(trial, inputs, task)
    losses = []
    for _ in range(steps):
        loss = task.loss(task.forward(rest, features, targets), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    seen = ""
    if not losses[-1] < 1.5 * losses[0] + 0.5:  # also true for nan
        seen = (
            f"on one and the same batch the loss went from {losses[0]:.2f} to {losses[-1]:.2f} nats"
        )
    else:
        now = dict(trial.named_parameters())
        moved = {n: ((now[n] - then).norm() / then.norm()).item() for n, then in before.items()}
        furthest = max(moved, key=lambda n: moved[n], default="")
        if furthest and moved[furthest] > FAR:
            seen = f"{furthest} of the pre-trained weights has moved by {moved[furthest]:.0%} of its size"
    if seen:
        lr = max(group["lr"] for group in optimizer.param_groups)
        yield Finding(
            "learning rate too high",
            "the learning rate is too high for these weights",
            f"{seen} in {steps} steps with lr={lr:g}",
            f"divide it by 10: lr={lr / 10:g}",
        )


def _pretrained(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The trainable matrices that came with pre-trained weights: not those of a new head."""
    origin = origin_of(model)
    if origin is None or origin.weights is None:
        return
    loaded = origin.reference
    for name, p in model.named_parameters():
        then = loaded.get(name)
        if p.requires_grad and p.ndim > 1 and then is not None and then.shape == p.shape:
            yield name, p.detach()


@torch.no_grad()
def _numbering(model: nn.Module, data: Any, task: Task, photos: int = 64) -> Iterator[Finding]:
    """Do train and val number the classes alike? A linear probe fitted to the one tells of the other."""
    classes = len(data.classes)
    train, val = (_batch(getattr(data, name), photos, task) for name in ("train", "val"))
    if len(train[1].unique()) < classes or len(val[1]) < 8 * classes:
        return  # too few photos to tell
    from scipy.optimize import linear_sum_assignment  # 35 MB that most programs can do without

    scores = _probe(embed(model, train[0]), train[1], embed(model, val[0]), classes)
    answers = scores.argmax(1)
    table = torch.zeros(classes, classes)
    table.index_put_((answers, val[1]), torch.ones(len(answers)), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    own, best = table.trace().item(), table[rows, columns].sum().item()
    differ = sum(table[i].sum().item() for i, j in zip(rows, columns, strict=True) if i != j)
    if own < len(answers) / classes and best - own > SIGMAS * max(differ, 1) ** 0.5:
        swapped = [f"{i} -> {j}" for i, j in zip(rows, columns, strict=True) if i != j]
        yield _numbered_otherwise(
            f"a linear probe fitted to {len(train[1])} training photos names {own:.0f} of {len(val[1])} "
            f"validation photos right, and {best:.0f} with {', '.join(swapped[:4])}"
        )


def _numbered_otherwise(evidence: str) -> Finding:
    return Finding(
        "classes numbered differently",
        "train and validation seem to number the classes in different orders",
        evidence,
        "make one list of classes, from the training split, and number both splits by it",
    )


def _probe(x: Tensor, y: Tensor, new: Tensor, classes: int) -> Tensor:
    """Scores (N, classes) of a ridge regression from standardised features to one-hot labels."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    x, new = (x - mean) / std, (new - mean) / std
    goal = F.one_hot(y, classes).float()
    kernel = x @ x.T + x.shape[1] * torch.eye(len(x))  # dual form: as many unknowns as photos
    return new @ (x.T @ torch.linalg.solve(kernel, goal - goal.mean(0))) + goal.mean(0)


def while_training(history: Any, data: Any = None) -> list[Finding]:
    """Findings from the newest epoch: a loss that rises where it should fall, answers worse than guesses."""
    rows, told = history.epochs, {f["name"] for f in history.findings}
    found: list[Finding] = []
    if rows and "classes numbered differently" not in told and data is not None:
        found += _worse_than_guessing(rows[-1], data)
    if len(rows) < 2:
        return found
    old, new = rows[-2], rows[-1]
    if "learning rate too high" in told or not new["train_loss"] > 1.5 * old["train_loss"] + 0.1:
        return found
    return [
        *found,
        Finding(
            "learning rate too high",
            f"the training loss rose in epoch {new['epoch']} (training {new['train']})",
            f"from {old['train_loss']:.2f} to {new['train_loss']:.2f} nats",
            "lower the learning rate of this stage, or give it a longer warm-up",
        ),
    ]


def _worse_than_guessing(row: dict[str, Any], data: Any) -> Iterator[Finding]:
    classes, n = len(getattr(data, "classes", [])), len(data.val)
    train, val = row.get("train_accuracy", 0.0), row.get("val_accuracy", 1.0)
    if not classes or train < 1 / classes:
        return
    if val < 1 / classes - SIGMAS * ((1 - 1 / classes) / classes / n) ** 0.5:
        yield _numbered_otherwise(
            f"after epoch {row['epoch']} the accuracy is {train:.2f} in training and {val:.2f} on {n} validation "
            f"photos; guessing among {classes} classes gives {1 / classes:.2f}"
        )
