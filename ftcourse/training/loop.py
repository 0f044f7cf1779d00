"""The loop itself. Read `train_one_epoch` and `evaluate` aloud: they are all there is to training.

`finetune` calls them, stage after stage, and adds what a long run needs: the best weights are kept, each epoch is
saved, an interrupted run goes on with the same numbers. Metrics are averaged over samples, not over batches.
What a batch is, the loss and the score come from a task (`ftcourse.tasks`): classification, if none is given.
"""

from __future__ import annotations

import copy
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets.vision import StandardTransform, VisionDataset
from torchvision.transforms import v2
from tqdm.auto import tqdm

from ftcourse.models.freezing import is_frozen, train_mode
from ftcourse.models.modes import eval_mode, random_kept
from ftcourse.tasks.task import Classification, Task, joined, to_device
from ftcourse.training import preflight as checks
from ftcourse.training.feature_cache import FeatureCache, KeptFeatures
from ftcourse.training.history import History
from ftcourse.training.numbers import is_number
from ftcourse.training.runs import Run
from ftcourse.training.settings import check_settings, labels_of, settings_of
from ftcourse.training.stages import Stage, apply_stage, make_optimizer, make_scheduler

__all__ = ["best_device", "evaluate", "finetune", "predict", "train_one_epoch"]

Loss = Callable[[Tensor, Tensor], Tensor]

PATIENCE = 60  # seconds to look for the photo that made a loss nan


def train_one_epoch(
    model: nn.Module,
    loader: Iterable[tuple[Any, Any]],
    optimizer: torch.optim.Optimizer,
    loss_fn: Loss | None = None,
    *,
    task: Task | None = None,
    scheduler: Any = None,
    device: torch.device | str = "cpu",
    mix: Callable | None = None,
    ema: AveragedModel | None = None,
    bf16: bool = False,
    on_batch: Callable[[], Any] | None = None,
) -> dict[str, float]:
    """One pass over the training data; returns `loss` and `accuracy`, averaged over samples.

    `loader` yields images float32 (N, 3, H, W) and targets int64 (N,), or what the task takes. `loss_fn` is the
    task's own if none is given. `mix` is MixUp or CutMix; accuracy is then that on the mixed images, against the
    unmixed targets.
    """
    task = task or Classification()
    loss_fn = loss_fn or task.loss
    train_mode(model)  # as model.train(), but BatchNorm of frozen layers stays in eval mode
    sums, samples = torch.zeros(2, device=device), 0  # on the device: no wait for it each step
    for images, targets in task.batches(loader, device):
        inputs, goals = mix(images, targets) if mix else (images, targets)
        optimizer.zero_grad()  # before the forward pass: the last step's gradients need memory
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            outputs = task.forward(model, inputs, goals)
            loss = loss_fn(outputs, goals)  # within: autocast takes losses in float32
        loss.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        if ema:
            ema.update_parameters(model)
        sums += torch.stack([loss.detach() * len(targets), task.hits(outputs, targets).to(device)])
        samples += len(targets)
        if on_batch:
            on_batch()
    return {"loss": sums[0].item() / samples, "accuracy": sums[1].item() / samples}


def evaluate(
    model: nn.Module,
    data: Dataset | DataLoader,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    task: Task | None = None,
) -> dict[str, float]:
    """`loss` (nats), `accuracy`, `macro_f1` (fractions) and `samples`, over all samples of a split.

    With a task: its metrics.
    """
    task = task or Classification()
    return task.metrics(_outputs(model, data, task, batch_size, device))


def predict(
    model: nn.Module,
    data: Dataset | DataLoader,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    task: Task | None = None,
) -> tuple[Any, Any]:
    """Logits float32 (N, classes) and targets int64 (N,), on the CPU, in the order of the data.

    With a task: its predictions and targets. The model is in eval mode for it, and each module back in its own
    mode afterwards.

    Raises:
        TypeError: `data` names files; they are for `ft.load_run(RUN).predict`, which knows how to prepare them.
        ValueError: there are no samples.
    """
    task = task or Classification()
    outputs = _outputs(model, data, task, batch_size, device)
    return joined((task.predictions(o), targets) for o, targets in outputs)


@torch.inference_mode()
def _outputs(
    model: nn.Module, data: Any, task: Task, batch_size: int, device: torch.device | str | None
) -> Iterator[tuple[Any, Any]]:
    """The model's outputs and the targets of each batch, on the CPU; the model in eval mode for it."""
    device = device or next(model.parameters()).device
    _refuse_files(data)
    loader = data if isinstance(data, DataLoader) else _loader(data, batch_size, task)
    with eval_mode(model):
        for inputs, targets in task.batches(loader, device):
            yield to_device(task.forward(model, inputs), "cpu"), to_device(targets, "cpu")


def _refuse_files(data: Any) -> None:
    first = data[0] if isinstance(data, (list, tuple)) and data else data
    if isinstance(first, (str, os.PathLike)):
        raise TypeError(
            f"{os.fspath(first)}: is a file's name, and a model alone does not know how photos are prepared; "
            f"classify files with ft.load_run(RUN).predict(...), or give a data set such as ft.load_data(...).test"
        )


@random_kept(torch_too=False)
def finetune(
    model: nn.Module,
    data: Any,
    stages: Stage | Sequence[Stage],
    *,
    task: Task | None = None,
    out_dir: str | Path | None = None,
    resume: bool = False,
    batch_size: int = 32,
    seed: int = 0,
    device: torch.device | str | None = None,
    label_smoothing: float = 0.0,
    class_weights: str | Tensor | None = None,
    mix: str | None = None,
    ema: float | None = None,
    early_stopping: int | None = None,
    bf16: bool = False,
    cache: bool | str | Path | FeatureCache = True,
    views: int | None = None,
    num_workers: int = 0,
    preflight: bool = True,
    progress: bool = True,
    on_epoch: Callable[[History], Any] | None = None,
    on_batch: Callable[[], Any] | None = None,
) -> History:
    """Fine-tune `model` on `data.train`, stage by stage; it ends with the weights best on `data.val`.

    Args:
        data: has `train` and `val`, data sets of (image float32 (3, H, W), label int), and `classes`. One that is
            no `Split` says with an attribute `repeats = True` that item i is the same whenever it is read. Where a
            BatchNorm layer trains, and the last batch would have one photo, that photo is left out of the epoch
            (another one in each), for a single value cannot be normed.
        stages: which groups train, for how long, how fast: see `Stage`.
        task: what a batch is, the loss, and the score to keep the best weights by: see `ftcourse.tasks`.
            Classification by default; `label_smoothing`, `class_weights` and `mix` are for that one.
        out_dir: where `checkpoint.pt` (each epoch) and `history.json` are written.
        resume: go on from `out_dir/checkpoint.pt`; on one CPU to the same bits as an unbroken run. Stages, splits
            (their length and labels) and all settings that change a number must be those of that run.
        seed: each epoch seeds PyTorch, and Python's `random` and NumPy (which are put back at the end), with a
            number of its own. A generator that a data set holds itself is not seeded.
        label_smoothing: share of the target that is spread over all classes, 0 to below 1.
        class_weights: "balanced" (inverse to the class's share of the training split), or float (classes,).
        mix: "mixup" or "cutmix", by torchvision.transforms.v2.
        ema: decay of an exponential moving average of the weights, which is then validated and kept.
        early_stopping: a stage ends after so many epochs without a better validation result.
        bf16: forward pass of training in bfloat16 autocast. Numbers change in the third digit. Validation stays in
            float32.
        cache: the frozen part's output is computed once and kept, where that changes no number beyond rounding:
            for validation, and for training without augmentation, if the data repeats itself (a `Split` is known
            to, by its transform). `history.notes` says what was kept, and why no more. False computes it in each
            epoch; a folder takes what does not fit into memory; a `FeatureCache` can be shared by several runs.
        views: keep so many augmented versions of each photo, drawn once and used in turn: faster than a new one in
            each epoch, but a smaller augmentation.
        num_workers: processes that load photos, each with random numbers of its own: another number of them draws
            another augmentation. With 0 it is the loop's own process, and a GPU transforms the photos; there it
            differs also by how it rounds to uint8.
        preflight: look for mistakes that raise no error, before and during training; print findings. Those of its
            checks that take long, `ft.preflight` alone makes.
        on_epoch: called with the history after each epoch; a true answer ends the run.
        on_batch: called after each training step; a true answer ends the run at once, as an interrupt does. Within
            it the model may take kept features instead of images.

    However the run ends, the model has the best weights so far: after an interrupt (Ctrl-C, or the notebook's stop
    button), a loss that is nan, or any error. In the first epoch those are the weights that it began with.

    Raises:
        ValueError: settings that make no sense or do not go together, or differ from those of the run to resume.
        FloatingPointError: the loss became nan or infinite.
    """
    asked = dict(locals())
    stages = [stages] if isinstance(stages, Stage) else list(stages)
    check_settings(asked, stages, data)
    task, mixer = _task(task, data, label_smoothing, class_weights, mix)
    answers = checks.Answers()
    settings = settings_of(finetune, asked, data, task.name)
    history = History(stages=[s.to_dict() for s in stages], settings=settings, score=task.score)
    device = torch.device(device or best_device())
    model.to(device)
    if resume and out_dir is None:
        raise ValueError("resume=True needs out_dir, the folder of the run to go on with")
    relaid = _channels_last(model)
    plain = type(task).forward is Task.forward
    kept = FeatureCache.of(cache if plain else False)
    kept.notes = history.notes
    if cache and not plain:
        kept.tell(
            f"nothing is kept: {task.name} passes its batches through the model in its own way"
        )
    run = Run(model, history, ema, Path(out_dir) if out_dir else None)
    if resume:
        run.resume()
    else:
        run.start()
    kept.findings = history.findings  # after resuming, which puts others in their place
    if preflight and not history.epochs:
        found = checks.before_training(model, data, stages, batch_size=batch_size, task=task)
        checks.report(found, history)
    # processes that load photos have no GPU
    there = partial(_transformed_on, device=device if num_workers == 0 else None)
    total = sum(stage.epochs for stage in stages)
    bar = tqdm(total=total, initial=len(history.epochs), unit="epoch", disable=not progress)
    try:
        for stage in stages[run.stage :]:
            start = time.perf_counter()
            apply_stage(model, stage)
            photos = _photos(data, stage, history, preflight)
            _seed(seed)  # for views that are drawn now
            later = kept.look_ahead(model, stages[run.stage :])
            # what is frozen is computed once: within `taken` the model takes what that gave
            learn, judge = kept.shortcuts(
                model, there(photos), there(data.val), judged=run.judged,
                bf16=bf16, keep=mix is None, views=views, seed=seed, later=later,
            )  # fmt: skip
            train = _loader(
                learn.data, batch_size, task,
                shuffle=True, workers=num_workers, pairs=_norms_by_batch(model),
            )  # fmt: skip
            val = _loader(judge.data, 2 * batch_size, task)
            optimizer = make_optimizer(model, stage)
            scheduler = make_scheduler(optimizer, stage, len(train))
            run.begin(optimizer, scheduler)
            while run.epoch < stage.epochs and not history.stopped:
                _seed(seed, len(history.epochs), train)
                blame = partial(_first_bad, photos, data.val)
                with learn.taken(model, epoch=run.epoch):
                    now = train_one_epoch(
                        model, train, optimizer, task=task,
                        scheduler=scheduler, device=device, mix=mixer, ema=run.average, bf16=bf16,
                        on_batch=_interrupting(on_batch),
                    )  # fmt: skip
                with judge.taken(run.judged), answers.noted(task):
                    then = evaluate(run.judged, val, device=device, task=task)
                lr = optimizer.param_groups[-1]["lr"]
                row = {f"train_{k}": now[k] for k in task.columns if k in now}
                row |= {f"val_{k}": then[k] for k in task.columns if k in then}
                run.record(stage, row, blame, lr=lr, seconds=time.perf_counter() - start)
                if preflight:
                    checks.report(checks.while_training(history, data, answers), history)
                if on_epoch and on_epoch(history):
                    history.stopped = f"stopped on request after epoch {len(history.epochs)}"
                if early_stopping and run.stale >= early_stopping:
                    run.epoch = stage.epochs
                run.save(optimizer, scheduler)
                bar.update()
                bar.set_postfix_str(f"{stage.label}: val {task.score} {then[task.score]:.3f}")
                start = time.perf_counter()
            if history.stopped:
                break
            run.next_stage()
    except KeyboardInterrupt:
        done = len(history.epochs)
        history.stopped = f"interrupted after epoch {done}"
        if not done:
            history.stopped = "interrupted in epoch 1: the model has the weights that it began with"
    finally:
        bar.close()
        run.finish()
        for weight in relaid:
            weight.data = weight.data.contiguous()
    return history


def _interrupting(on_batch: Callable[[], Any] | None) -> Callable[[], Any] | None:
    """The same callback, whose true answer ends the run as the notebook's stop button does."""
    if on_batch is None:
        return None

    def call() -> None:
        if on_batch():
            raise KeyboardInterrupt

    return call


def best_device() -> torch.device:
    """A CUDA GPU, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _channels_last(model: nn.Module) -> list[nn.Parameter]:
    """Lay the convolutions' weights out as their fast kernels want them; returns those that were changed."""
    first = next(model.parameters())
    if first.device.type not in ("cpu", "cuda"):
        return []
    found = [p for p in model.parameters() if p.ndim == 4 and p.is_contiguous()]
    for weight in found:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return found


def _photos(data: Any, stage: Stage, history: History, preflight: bool) -> Dataset:
    """The training split as the stage wants it; told where it cannot be had without augmentation."""
    if stage.augment:
        return data.train
    plain = _without_augmentation(data.train, data.val)
    if plain is not None:
        return plain
    kind = type(data.train).__name__
    note = (
        f"Stage(augment=False): a {kind} cannot be given the transform of data.val (it has no with_transform), so "
        f"its photos are taken as it gives them"
    )
    if note not in history.notes:
        history.notes.append(note)
        changing = _changing(data.train) if preflight else None
        if changing is not None:
            finding = checks.Finding(
                "augmentation stays on",
                "Stage(augment=False) trains on augmented photos all the same",
                f"item {changing} of data.train, a {kind}, was another one when it was read again",
                "give data.train a method with_transform(transform), or a transform without chance",
            )
            checks.report([finding], history)
    return data.train


def _without_augmentation(train: Any, val: Any) -> Dataset | None:
    """The same photos under the transform of the validation split; None where there is no known way to that."""
    while isinstance(val, Subset):
        val = val.dataset
    if isinstance(train, Subset):
        inside = _without_augmentation(train.dataset, val)
        return None if inside is None else Subset(inside, train.indices)
    if hasattr(train, "with_transform") and hasattr(val, "transform"):
        return train.with_transform(val.transform)
    if isinstance(train, VisionDataset) and isinstance(val, VisionDataset):
        plain = copy.copy(train)
        plain.transform = val.transform
        plain.transforms = StandardTransform(val.transform, train.target_transform)
        return plain
    return None


def _changing(split: Any, items: int = 4, times: int = 4) -> int | None:
    """The first of some items that differs from itself when it is read again; None if none does."""
    with random_kept():
        for i in range(min(items, len(split))):
            first, *others = [split[i][0] for _ in range(times)]
            if isinstance(first, Tensor) and not all(torch.equal(first, x) for x in others):
                return i
    return None


def _first_bad(*splits: Any) -> str:
    """The first photo with a value that is not finite, in words; "" if none is found within `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    with random_kept():
        for name, split in zip(("train", "val"), splits, strict=True):
            for i in range(len(split)):
                image = split[i][0]
                if not isinstance(image, Tensor) or time.monotonic() > end:
                    break
                if not torch.isfinite(image).all():
                    return f"photo {i} of data.{name}"
    return ""


def _transformed_on(split: Any, device: torch.device | None) -> Dataset:
    """The same photos, with the same random numbers, transformed by the GPU, if it can do that."""
    if device is None or device.type != "cuda" or not hasattr(split, "on") or not len(split):
        return split
    moved = split.on(device)
    try:
        with torch.random.fork_rng(devices=[]):
            image, _ = moved[0]
    except Exception:  # any that a transform raises which knows no tensors on a GPU
        return split
    return moved if isinstance(image, Tensor) and image.device.type == device.type else split


def _loader(
    split: Dataset, batch_size: int, task: Task, *,
    shuffle: bool = False, workers: int = 0, pairs: bool = False,
) -> DataLoader:  # fmt: skip
    """Batches of a split. `pairs`: leave out a last batch of one photo, which would stop BatchNorm."""
    single = pairs and len(split) > batch_size and len(split) % batch_size == 1  # type: ignore[arg-type]
    kept = isinstance(split, KeptFeatures)
    return DataLoader(
        split,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=0 if kept else workers,
        drop_last=single,
        collate_fn=task.collate or (KeptFeatures.collate if kept else None),
        pin_memory=torch.cuda.is_available() and getattr(split, "device", None) is None,
        generator=torch.Generator() if shuffle else None,
    )


def _norms_by_batch(model: nn.Module) -> bool:
    """True if a BatchNorm layer trains, as `train_mode` leaves it."""
    return any(isinstance(m, _BatchNorm) and not is_frozen(m) for m in model.modules())


def _seed(seed: int, epoch: int = 0, loader: DataLoader | None = None) -> None:
    """Each epoch draws from a seed of its own, so that a resumed run draws what an unbroken one does.

    Python and NumPy are seeded, too, for transforms that draw from them. Of a loader's processes each takes its
    seeds from the loader's generator.
    """
    number = seed * 1_000_003 + epoch
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
    if loader is not None:
        loader.generator.manual_seed(number)  # type: ignore[union-attr]


def _task(
    task: Task | None, data: Any, label_smoothing: float, class_weights: Any, mix: str | None
) -> tuple[Task, Callable | None]:
    """The task, classification if none is given, and what mixes its batches."""
    if task is None:
        weights = _class_weights(class_weights, data)
        return Classification(label_smoothing, weights), _mixer(mix, len(data.classes))
    if label_smoothing or class_weights is not None or mix is not None:
        raise ValueError(
            f"label_smoothing, class_weights and mix are for classification; give the task "
            f"({task.name}) its own settings instead"
        )
    return task, None


def _class_weights(choice: str | Tensor | None, data: Any) -> Tensor | None:
    if choice is None:
        return None
    classes = len(data.classes)
    if isinstance(choice, str):
        if choice != "balanced":
            raise ValueError(f"class_weights={choice!r}; use 'balanced', a tensor, or None")
        labels = labels_of(data.train)
        if labels is None:  # they come with the photos only
            with random_kept():
                labels = [int(data.train[i][1]) for i in range(len(data.train))]
        counts = torch.bincount(torch.as_tensor(labels), minlength=classes)
        return counts.sum() / (classes * counts.clamp(min=1))
    weights = torch.as_tensor(choice, dtype=torch.float32)
    if weights.shape != (classes,):
        raise ValueError(f"class_weights has shape {tuple(weights.shape)}, expected ({classes},)")
    if not all(is_number(w) and w >= 0 for w in weights.tolist()) or not weights.any():
        raise ValueError(
            f"class_weights={weights.tolist()}: weights are finite, at least 0, and not all 0"
        )
    return weights


def _mixer(name: str | None, classes: int) -> Callable | None:
    if name is None:
        return None
    mixers = {"mixup": v2.MixUp, "cutmix": v2.CutMix}
    if name not in mixers:
        raise ValueError(f"mix={name!r}; use 'mixup', 'cutmix' or None")
    return mixers[name](num_classes=classes)
