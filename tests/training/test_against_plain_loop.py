"""An independent judge of `finetune`: a loop on plain PyTorch, written from the documentation.

It shares nothing with the package but the settings: groups, optimizer, schedule, mixing, average and choice of the
best epoch are written out here. So a mistake in any of them that both sides of the package's own comparisons make
is seen here.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import ftcourse as ft
from tests.conftest import BlobData, Blobs, tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "preflight": False, "device": "cpu"}
GROUPS = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]


def blobs(n: int, flip: bool) -> BlobData:
    return BlobData(Blobs(n, 1, flip=flip), Blobs(20, 2), Blobs(20, 3))


class Plain:
    """The loop: one method a step of it. What it keeps are `rows`, an epoch each, and the `best` weights."""

    def __init__(
        self,
        model,
        data,
        *,
        smoothing=0.0,
        weights=None,
        mix=None,
        ema=None,
        patience=None,
        workers=0,
    ):
        self.model, self.data, self.workers, self.patience = model, data, workers, patience
        self.smoothing, self.weights, self.decay = smoothing, weights, ema
        self.mix = mix and {"mixup": v2.MixUp, "cutmix": v2.CutMix}[mix](num_classes=2)
        self.average = {k: v.clone() for k, v in model.state_dict().items()} if ema else None
        self.steps = 0  # that the average has seen
        self.rows: list[dict] = []
        self.best: dict = {}

    def group(self, name: str) -> list[nn.Parameter]:
        m = self.model
        modules = {"stem": [m.conv1, m.bn1], "head": [m.fc]}.get(name) or [getattr(m, name)]
        return [p for module in modules for p in module.parameters()]

    def thaw(self, stage) -> list[dict]:
        """Only the stage's groups train; each with its rate, and decay for matrices only."""
        if stage.train == "all":
            names = GROUPS
        elif isinstance(stage.train, str):
            names = GROUPS[GROUPS.index(stage.train) :]
        else:
            names = [g for g in GROUPS if g in stage.train]
        self.model.requires_grad_(False)
        entries = []
        for depth, name in enumerate(reversed(names)):
            rate = stage.lr * stage.layer_decay**depth
            if name == "head" and stage.head_lr:
                rate = stage.head_lr
            for p in self.group(name):
                p.requires_grad_(True)
                decay = stage.weight_decay if p.ndim > 1 else 0.0
                entries.append({"params": [p], "lr": rate, "weight_decay": decay})
        return entries

    def loss(self, logits, y):
        """Smoothed cross-entropy, each photo weighed by its class."""
        share = nn.functional.one_hot(y, 2).float() if y.ndim == 1 else y
        smooth = (1 - self.smoothing) * share + self.smoothing / 2
        each = -(smooth * logits.log_softmax(1)).sum(1)
        if self.weights is None:
            return each.mean()
        weight = (share * self.weights).sum(1)
        return (weight * each).sum() / weight.sum()

    def batches(self, seed: int):
        n = len(self.data.train)
        norms = [m for m in self.model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
        norms = [m for m in norms if m.weight.requires_grad]
        self.model.train()
        for m in self.model.modules():
            if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) and m not in norms:
                m.eval()
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(
            self.data.train, 8, shuffle=True, generator=generator, num_workers=self.workers,
            drop_last=bool(norms) and n % 8 == 1,
        )  # fmt: skip

    def run(self, stages) -> Plain:
        for stage in stages:
            entries = self.thaw(stage)
            if stage.optimizer == "sgd":
                optimizer = torch.optim.SGD(entries, lr=1.0, momentum=0.9, nesterov=True)
            else:
                optimizer = torch.optim.AdamW(entries, lr=1.0)
            peaks = [entry["lr"] for entry in optimizer.param_groups]
            step, worse = 0, 0
            for _ in range(stage.epochs):
                torch.manual_seed(len(self.rows))  # of seed 0
                loader = self.batches(len(self.rows))
                for x, y in loader:
                    factor = self.factor(stage, step, stage.epochs * len(loader))
                    for entry, peak in zip(optimizer.param_groups, peaks, strict=True):
                        entry["lr"] = peak * factor
                    x, y = self.mix(x, y) if self.mix else (x, y)
                    optimizer.zero_grad()
                    self.loss(self.model(x), y).backward()
                    optimizer.step()
                    self.follow()
                    step += 1
                worse = 0 if self.judge() else worse + 1
                if worse == self.patience:
                    break
        return self

    @staticmethod
    def factor(stage, step: int, steps: int) -> float:
        warm = round(stage.warmup * steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        if stage.schedule == "constant":
            return 1.0
        return (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2

    def follow(self) -> None:
        """The average: the weights after the first step, then a little of those after each."""
        if self.average is None:
            return
        for name, value in self.model.state_dict().items():
            mean = self.average[name]
            if self.steps == 0 or not value.is_floating_point():
                mean.copy_(value)
            else:
                mean.copy_(self.decay * mean + (1 - self.decay) * value)
        self.steps += 1

    @torch.no_grad()
    def judge(self) -> bool:
        """Validate, and keep the weights if they are better than all before."""
        judged = copy.deepcopy(self.model).eval()
        if self.average is not None:
            judged.load_state_dict(self.average)
        x = torch.stack([self.data.val[i][0] for i in range(len(self.data.val))])
        y = torch.tensor(self.data.val.targets)
        logits = judged(x)
        accuracy = (logits.argmax(1) == y).float().mean().item()
        row = (accuracy, -nn.functional.cross_entropy(logits, y).item())
        better = not self.rows or row > max(self.rows)
        self.rows.append(row)
        if better:
            self.best = judged.state_dict()
        return better


def head_with_norm_and_dropout(model: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    layers = [nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2)]
    model.fc = nn.Sequential(*layers, nn.Linear(16, 2))
    return model


S = ft.Stage
SETTINGS = {
    "head by sgd": ([S("head", epochs=3, optimizer="sgd", lr=3e-2)], {}),
    "head by adamw, constant": ([S("head", epochs=3, lr=1e-2, schedule="constant")], {}),
    "discriminative rates": (
        [S("layer4", epochs=3, lr=1e-3, head_lr=5e-3, layer_decay=0.5, warmup=0.3)],
        {},
    ),
    "everything": ([S("all", epochs=3, lr=1e-3, layer_decay=0.7, weight_decay=0.5)], {}),
    "two groups": ([S(("layer2", "head"), epochs=3, lr=1e-3)], {}),
    "a group without the head": (
        [S(("layer3", "layer4"), epochs=2, lr=1e-3, layer_decay=0.5, optimizer="sgd")],
        {},
    ),
    "three stages": ([S("head", epochs=2, lr=1e-2), S("layer4", epochs=2), S("all", epochs=2)], {}),
    "smoothed and weighed": (
        [S("layer4", epochs=3)],
        {"smoothing": 0.1, "weights": torch.tensor([0.5, 2.0])},
    ),
    "smoothed": ([S("layer4", epochs=3)], {"smoothing": 0.2}),
    "mixup": ([S("layer4", epochs=3)], {"mix": "mixup"}),
    "cutmix": ([S("all", epochs=2)], {"mix": "cutmix"}),
    "average": ([S("head", epochs=2), S("layer3", epochs=3)], {"ema": 0.9}),
    "average of mixup": (
        [S("head", epochs=2), S("layer4", epochs=2)],
        {"ema": 0.8, "mix": "mixup"},
    ),
    "early stopping": (
        [
            S("head", epochs=8, lr=0.5, optimizer="sgd", schedule="constant"),
            S("head", epochs=6, lr=0.1),
        ],
        {"patience": 2},
    ),
    "two processes": ([S("layer4", epochs=2)], {"workers": 2}),
}
OURS = {
    "smoothing": "label_smoothing",
    "weights": "class_weights",
    "workers": "num_workers",
    "patience": "early_stopping",
}


# Where all layers train by AdamW, whose first steps have the size of the rate whatever the gradient is, rounding
# decides the sign of steps along gradients near zero: how a processor adds up is seen.
LOOSE = {("everything", True): 5e-3}  # with augmentation


def compare(stages, more, data, head=None, atol=1e-4) -> None:
    ours, theirs = tiny_resnet(), tiny_resnet()
    if head:
        ours, theirs = head(ours), head(theirs)
    plain = Plain(theirs, data, **more).run(stages)
    renamed = {OURS.get(name, name): value for name, value in more.items()}
    history = ft.finetune(ours, data, stages, **renamed, **QUIET)
    rows = [(row["val_accuracy"], -row["val_loss"]) for row in history.epochs]
    assert len(rows) == len(plain.rows)
    assert rows == [(a, pytest.approx(loss, abs=1e-4)) for a, loss in plain.rows]
    assert history.best["epoch"] == 1 + plain.rows.index(max(plain.rows))
    for name, tensor in ours.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, plain.best[name], rtol=1e-4, atol=atol, msg=name)


@pytest.mark.parametrize("flip", [False, True], ids=["fixed", "augmented"])
@pytest.mark.parametrize("name", SETTINGS)
def test_finetune_and_a_plain_loop_give_the_same_weights(name, flip):
    compare(*SETTINGS[name], blobs(40, flip), atol=LOOSE.get((name, flip), 1e-4))


@pytest.mark.parametrize("name", ["head by adamw, constant", "everything", "average", "mixup"])
def test_so_they_do_where_the_last_batch_has_one_photo(name):
    compare(*SETTINGS[name], blobs(33, True))


@pytest.mark.parametrize("name", ["head by sgd", "discriminative rates", "average of mixup"])
def test_so_they_do_with_norm_and_dropout_in_the_head(name):
    compare(*SETTINGS[name], blobs(33, False), head_with_norm_and_dropout)


class SometimesRandom(Blobs):
    """Draws a number for two photos in three: not for the first, the middle and the last."""

    def __getitem__(self, i: int):
        x, y = super().__getitem__(i)
        return (x + torch.rand(()) if i % 3 and i not in (20, 39) else x), y


def test_so_they_do_where_a_few_photos_seem_to_say_that_nothing_is_random():
    data = BlobData(SometimesRandom(40, 1), Blobs(20, 2), Blobs(20, 3))
    compare(*SETTINGS["head by sgd"], data)


def test_early_stopping_did_stop():
    stages, more = SETTINGS["early stopping"]
    plain = Plain(tiny_resnet(), blobs(40, True), **more).run(stages)
    assert len(plain.rows) < sum(stage.epochs for stage in stages)
