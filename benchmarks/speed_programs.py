"""The programs that `benchmarks/speed.py` compares: the same work, written as each library's users write it.

Each takes a `Job` and returns the validation accuracy after the last epoch. Reading the photos is part of the
work; imports, making the network and loading its weights are not. All train with SGD (momentum 0.9), batch 32,
photos at 224 pixels without augmentation (but for the work "augmented"), and validate after each epoch. `tuned`
gives a peer what it can be given: weights in channels_last and frozen BatchNorm in eval mode, and for a GPU
processes that load the photos; `bf16` is its switch for bfloat16.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, SIZE = 32, 224


@dataclass
class Job:
    photos: Path
    weights: Path  # a state dict of torchvision's resnet18
    work: str  # "head", "layer4" (and the head), "all", "augmented" (head only)
    epochs: int
    tuned: bool = False
    bf16: bool = False
    device: str = "cpu"
    workers: int = 0  # processes that load photos

    @property
    def lr(self) -> float:
        return 1e-3 if self.work == "all" else 1e-2

    @property
    def trains(self) -> tuple[str, ...]:
        return {"all": ("",), "layer4": ("layer4", "fc")}.get(self.work, ("fc",))


Work = Callable[[], float]


def network(job: Job, make: Callable[..., nn.Module] = models.resnet18) -> nn.Module:
    model = make()
    model.load_state_dict(torch.load(job.weights))
    torch.manual_seed(0)
    model.fc = nn.Linear(512, 2)
    return prepared(model, job)


def prepared(model: nn.Module, job: Job) -> nn.Module:
    for name, p in model.named_parameters():
        p.requires_grad = name.startswith(job.trains)
    model.to(job.device)
    if job.tuned:
        model.to(memory_format=torch.channels_last)
        model.train = _train_with_frozen_batchnorm.__get__(model)
    return model


def _train_with_frozen_batchnorm(model: nn.Module, mode: bool = True) -> nn.Module:
    nn.Module.train(model, mode)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d) and not m.weight.requires_grad:
            m.eval()
    return model


def evaluation() -> transforms.Compose:
    steps = [transforms.Resize(256), transforms.CenterCrop(SIZE), transforms.ToTensor()]
    return transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])


def training(job: Job) -> transforms.Compose:
    if job.work != "augmented":
        return evaluation()
    steps = [
        transforms.RandomResizedCrop(SIZE, scale=(0.5, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2),
        transforms.ToTensor(),
    ]
    return transforms.Compose([*steps, transforms.Normalize(MEAN, STD)])


def loaders(job: Job) -> tuple[DataLoader, DataLoader]:
    train = datasets.ImageFolder(job.photos / "train", training(job))
    val = datasets.ImageFolder(job.photos / "val", evaluation())
    more = {"pin_memory": job.device == "cuda"}
    if job.workers:
        more |= {"num_workers": job.workers, "persistent_workers": True}
    return DataLoader(train, BATCH, shuffle=True, **more), DataLoader(val, BATCH, **more)


def trained(model: nn.Module, job: Job, **more) -> torch.optim.Optimizer:
    chosen = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(chosen, job.lr, momentum=0.9, **more)


def loop(model: nn.Module, job: Job) -> float:
    """The loop of PyTorch's transfer learning tutorial."""
    train, val = loaders(job)
    optimizer = trained(model, job)
    half = {"device_type": job.device, "dtype": torch.bfloat16, "enabled": job.bf16}
    for _ in range(job.epochs):
        model.train()
        for x, y in train:
            x, y = x.to(job.device), y.to(job.device)
            optimizer.zero_grad()
            with torch.autocast(**half):
                loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        right = 0
        with torch.no_grad(), torch.autocast(**half):
            for x, y in val:
                x, y = x.to(job.device), y.to(job.device)
                right += int((model(x).argmax(1) == y).sum())
    return right / len(val.dataset)


def tutorial(job: Job) -> Work:
    model = network(job)
    return lambda: loop(model, job)


def timm(job: Job) -> Work:
    import timm

    model = network(job, lambda: timm.create_model("resnet18"))
    return lambda: loop(model, job)


class WithLoss(nn.Module):
    """As the Trainer wants it: takes labels, gives the loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict:
        logits = self.model(pixel_values)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def hf_trainer(job: Job) -> Work:
    from transformers import Trainer, TrainingArguments

    model = WithLoss(network(job))
    settings = TrainingArguments(
        "/tmp/ftcourse-bench-hf", per_device_train_batch_size=BATCH, per_device_eval_batch_size=BATCH,
        num_train_epochs=job.epochs, eval_strategy="epoch", save_strategy="no", report_to="none",
        use_cpu=job.device == "cpu", disable_tqdm=True, bf16=job.bf16, logging_strategy="no",
        dataloader_num_workers=job.workers, dataloader_persistent_workers=job.workers > 0,
    )  # fmt: skip

    def collate(items: list) -> dict:
        images, labels = zip(*items, strict=True)
        return {"pixel_values": torch.stack(images), "labels": torch.tensor(labels)}

    def work() -> float:
        train, val = loaders(job)
        optimizer = trained(model, job)
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        trainer = Trainer(
            model, settings, data_collator=collate, train_dataset=train.dataset,
            eval_dataset=val.dataset, optimizers=(optimizer, constant),
            compute_metrics=lambda p: {"accuracy": (p.predictions.argmax(1) == p.label_ids).mean()},
        )  # fmt: skip
        trainer.train()
        rows = [row for row in trainer.state.log_history if "eval_accuracy" in row]
        return float(rows[-1]["eval_accuracy"])

    return work


def lightning(job: Job) -> Work:
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.right = network(job), 0

        def training_step(self, batch, _):
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def on_validation_epoch_start(self) -> None:
            self.right = 0

        def validation_step(self, batch, _):
            self.right += int((self.model(batch[0]).argmax(1) == batch[1]).sum())

        def configure_optimizers(self):
            return trained(self.model, job)

    module = Module()
    trainer = L.Trainer(
        max_epochs=job.epochs, accelerator=job.device, devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        precision="bf16-mixed" if job.bf16 else "32-true",
    )  # fmt: skip

    def work() -> float:
        train, val = loaders(job)
        trainer.fit(module, train, val)
        return module.right / len(val.dataset)

    return work


def fastai(job: Job) -> Work:
    from fastai.vision.all import (
        SGD,
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        vision_learner,
    )

    body = nn.Sequential(*list(network(job).children())[:-2]).state_dict()

    def work() -> float:
        more = aug_transforms(size=SIZE) if job.work == "augmented" else []
        data = ImageDataLoaders.from_folder(
            job.photos, valid="val", bs=BATCH, num_workers=0, item_tfms=Resize(SIZE),
            batch_tfms=[*more, Normalize.from_stats(MEAN, STD)],
        )  # fmt: skip
        learn = vision_learner(
            data, models.resnet18, pretrained=False, opt_func=SGD, metrics=accuracy
        )
        learn.model[0].load_state_dict(body)
        learn.freeze() if job.work != "all" else learn.unfreeze()
        with learn.no_bar(), learn.no_logging():
            learn.fit(job.epochs, job.lr)
        return float(learn.recorder.values[-1][-1])

    return work


def keras(job: Job) -> Work:
    import os

    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    children = dict(network(job).named_children())
    early = nn.Sequential(*[children[n] for n in ("conv1", "bn1", "relu", "maxpool")])
    early.extend([children[f"layer{i}"] for i in (1, 2, 3)])
    late = nn.Sequential(children["layer4"], children["avgpool"], nn.Flatten())
    parts = [keras.layers.TorchModuleWrapper(m, name=n) for m, n in ((early, "a"), (late, "b"))]
    parts[0].trainable, parts[1].trainable = job.work == "all", job.work in ("all", "layer4")
    model = keras.Sequential([keras.Input((3, SIZE, SIZE)), *parts, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(job.lr, momentum=0.9), loss, metrics=["accuracy"])

    def work() -> float:
        train, val = loaders(job)
        history = model.fit(train, validation_data=val, epochs=job.epochs, verbose=0)
        return float(history.history["val_accuracy"][-1])

    return work


def ftcourse(job: Job, **more) -> Work:
    """This project. Preflight is off, as no peer has one; the folder is read with load_data like any other."""
    import ftcourse as ft
    from ftcourse.data.transforms import eval_transforms, train_transforms

    model = ft.load_backbone("resnet18", weights=job.weights)
    torch.manual_seed(0)
    ft.replace_head(model, 2)
    augment = job.work == "augmented"
    stage = ft.Stage(
        "head" if augment else job.work, epochs=job.epochs, lr=job.lr, optimizer="sgd",
        schedule="constant", warmup=0, augment=augment,
    )  # fmt: skip

    def work() -> float:
        change = train_transforms(SIZE) if augment else eval_transforms(SIZE)
        data = ft.load_data(job.photos, size=SIZE, train_transform=change, audit=False, **more)
        history = ft.finetune(
            model, data, stage, bf16=job.bf16, preflight=False, progress=False, batch_size=BATCH,
            device=job.device, num_workers=job.workers,
        )  # fmt: skip
        return history.epochs[-1]["val_accuracy"]

    return work


def limit(job: Job) -> Work:
    """What cannot be left out: photos decoded and what is frozen computed once, what trains in each epoch."""
    model = network(job).eval().to(memory_format=torch.channels_last)
    children = list(model.children())
    chain = [*children[:-1], nn.Flatten(), children[-1]]
    first = {"all": 0, "layer4": 7}.get(job.work, len(chain) - 1)
    frozen, rest = nn.Sequential(*chain[:first]), nn.Sequential(*chain[first:])
    frozen = fuse(frozen.eval()) if first else frozen
    frozen.to(memory_format=torch.channels_last)

    cropped = v2.Compose([v2.ToImage(), v2.Resize(256), v2.CenterCrop(SIZE)])  # uint8
    mean, std = (torch.tensor(c, device=job.device).view(3, 1, 1) for c in (MEAN, STD))

    def computed_once(split: str) -> tuple[list, list]:
        photos = datasets.ImageFolder(job.photos / split, cropped)
        made = []
        with torch.inference_mode(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for start in range(0, len(photos), 64):
                rows = range(start, min(start + 64, len(photos)))
                pixels = torch.stack([x for x, _ in pool.map(photos.__getitem__, rows)])
                pixels = pixels.contiguous(memory_format=torch.channels_last)
                for x in pixels.to(job.device).split(8 if job.device == "cpu" else 64):
                    made.append(frozen(x.float().div_(255).sub_(mean).div_(std)).clone())
        order = torch.randperm(len(photos))  # once is enough here
        labels = torch.tensor(photos.targets)[order].to(job.device)
        return torch.cat(made)[order.to(job.device)].split(BATCH), labels.split(BATCH)

    def work() -> float:
        train, val = (list(zip(*computed_once(s), strict=True)) for s in ("train", "val"))
        optimizer = trained(rest, job, fused=True)
        right = 0
        for _ in range(job.epochs):
            rest.train()
            for x, y in train:
                with torch.autocast(job.device, torch.bfloat16, enabled=job.bf16):
                    loss = F.cross_entropy(rest(x.clone()).float(), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            rest.eval()
            with torch.inference_mode():
                right = sum(int((rest(x).argmax(1) == y).sum()) for x, y in val)
        return right / sum(len(y) for _, y in val)

    return work


PROGRAMS: dict[str, Callable[[Job], Work]] = {
    "ftcourse": ftcourse,
    "ftcourse, photos not kept": lambda job: ftcourse(job, cache_bytes=0),
    "limit": limit,
    "tutorial loop": tutorial,
    "timm + loop": timm,
    "HF Trainer": hf_trainer,
    "Lightning": lightning,
    "fastai": fastai,
    "Keras 3": keras,
}
NEEDS = {"timm + loop": "timm", "HF Trainer": "transformers", "Lightning": "lightning"}
NEEDS |= {"fastai": "fastai", "Keras 3": "keras"}


def measured(work: Work, device: str = "cpu") -> dict[str, float]:
    """Wall and CPU seconds of the work, its accuracy, and MB of tensors on a GPU at most."""
    if device == "cuda":  # loading its libraries takes seconds: not part of the work
        x = torch.randn(2, 3, 32, 32, device=device, requires_grad=True)
        F.conv2d(x, x.detach()[:, :, :3, :3]).sum().backward()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    accuracy = work()
    found = {
        "wall": round(time.perf_counter() - wall, 3),
        "cpu": round(time.process_time() - cpu, 3),
        "accuracy": round(accuracy, 4),
    }
    if device == "cuda":
        found["gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return found
