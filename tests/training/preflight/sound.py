"""Forty sound set-ups of all sorts, by hand and for `finetune`: none may draw a finding.

`SOUND`: what it is in words -> a function that gives preflight's findings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Subset, TensorDataset
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.data.splits import Data
from ftcourse.data.transforms import train_transforms
from ftcourse.tasks.detection import Detection, fcos
from ftcourse.tasks.segmentation import Segmentation, unet
from ftcourse.tasks.task import Classification
from tests.training.preflight.planted import folders, scheduled
from tests.training.preflight.programs import (
    CLASSES,
    SIZE,
    Changed,
    Program,
    adamw,
    insects,
    network,
    photos,
    sgd,
)  # fmt: skip

Findings = Callable[[], list[Any]]
SOUND: dict[str, Findings] = {}


def sound(what: str) -> Callable[[Callable[[], Any]], None]:
    def keep(make: Callable[[], Any]) -> None:
        def findings() -> list[Any]:
            made = make()
            return made.findings() if isinstance(made, Program) else made

        assert what not in SOUND
        SOUND[what] = findings

    return keep


def planned(stages: Any, data: Any = None, model: Any = None, **options: Any) -> list[Any]:
    """What preflight says when `finetune` calls it."""
    model = model or network(trains=())
    return ft.preflight(model, data or photos(), stages, batch_size=16, **options)


@sound("AdamW, the last block and the head")
def _() -> Any:
    return Program()


@sound("SGD with momentum, the head alone")
def _() -> Any:
    model = network(trains=("head",))
    return Program(model, optimizer=sgd(model, momentum=0.9, nesterov=True))


@sound("all layers, a low rate")
def _() -> Any:
    model = network(trains=("stem", "layer1", "layer2", "layer3", "layer4", "head"))
    return Program(model, optimizer=adamw(model, 1e-4))


@sound("all layers, BatchNorm asleep throughout")
def _() -> Any:
    model = ft.unfreeze(network(trains=())).eval()
    return Program(model, optimizer=adamw(model, 1e-4), mode=lambda m: m.eval())


@sound("gradients added up over four batches")
def _() -> Any:
    return Program(every=4, batch_size=4, scaled=lambda loss: loss / 4)


@sound("gradients added up over eight batches of two, BatchNorm frozen")
def _() -> Any:
    model = network(trains=("head",))
    return Program(model, every=8, batch_size=2, scaled=lambda loss: loss / 8)


@sound("gradients clipped by norm")
def _() -> Any:
    return Program(after_backward=lambda m: nn.utils.clip_grad_norm_(m.parameters(), 1.0))


@sound("gradients clipped by value, SGD")
def _() -> Any:
    model = network()
    return Program(
        model,
        optimizer=sgd(model),
        after_backward=lambda m: nn.utils.clip_grad_value_(m.parameters(), 0.01),
    )


@sound("bfloat16 autocast")
def _() -> Any:
    def forward(model: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)

    return Program(forward=forward, loss=lambda o, y: F.cross_entropy(o.float(), y))


class Scaled(Program):
    """A program with a GradScaler."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.scaler = torch.amp.GradScaler("cpu")
        self.scaled = self.scaler.scale

    def _do(self, letter: str, *args: Any) -> None:
        if letter == "s":
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            super()._do(letter, *args)


@sound("a GradScaler")
def _() -> Any:
    return Scaled()


class Averaged(Program):
    """A program with a moving average of the weights."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ema = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(0.99))

    def _do(self, letter: str, model: Any, *args: Any) -> None:
        super()._do(letter, model, *args)
        if letter == "s":
            self.ema.update_parameters(model)


@sound("a moving average of the weights")
def _() -> Any:
    return Averaged()


@sound("no weight decay on norms and biases")
def _() -> Any:
    model = network()
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return Program(model, optimizer=torch.optim.AdamW(groups, lr=5e-4))


@sound("a head ten times as fast as the last block")
def _() -> Any:
    model = network()
    groups = [{"params": model.layer4.parameters(), "lr": 1e-4}, {"params": model.fc.parameters()}]
    return Program(model, optimizer=torch.optim.AdamW(groups, lr=1e-3))


@sound("OneCycleLR, stepped once a batch")
def _() -> Any:
    return scheduled(lr_scheduler.OneCycleLR, "zfbsc", max_lr=5e-4, total_steps=75, epochs=5)


@sound("OneCycleLR, stepped once a batch, its epochs not told")
def _() -> Any:
    return scheduled(lr_scheduler.OneCycleLR, "zfbsc", max_lr=5e-4, total_steps=30)


@sound("a cosine, stepped once an epoch")
def _() -> Any:
    return scheduled(lr_scheduler.CosineAnnealingLR, "zfbs|c", T_max=10, epochs=10)


@sound("a cosine over one epoch, stepped once a batch")
def _() -> Any:
    return scheduled(lr_scheduler.CosineAnnealingLR, "zfbsc", T_max=15)


@sound("StepLR, stepped outside of the training function")
def _() -> Any:
    return scheduled(lr_scheduler.StepLR, "zfbs", step_size=3)


@sound("a linear warm-up from zero, once a batch")
def _() -> Any:
    return scheduled(lr_scheduler.LambdaLR, "zfbsc", lr_lambda=lambda i: min(1.0, i / 200))


@sound("random transforms in training")
def _() -> Any:
    return Program(data=insects().with_transforms(train_transforms(SIZE), insects().val.transform))


@sound("a common and a rare class, with class weights")
def _() -> Any:
    split, seen = insects().train, {3: 0}
    keep = [
        i
        for i in range(len(split))
        if split.targets[i] != 3 or seen.update({3: seen[3] + 1}) or seen[3] < 4
    ]
    weight = torch.tensor([1.0, 1.0, 1.0, 8.0, 1.0])
    return Program(
        data=photos(train=split.subset(keep)), loss=lambda o, y: F.cross_entropy(o, y, weight)
    )


@sound("label smoothing and mild class weights")
def _() -> Any:
    weight = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0])
    return Program(loss=lambda o, y: F.cross_entropy(o, y, weight, label_smoothing=0.1))


@sound("batches of four")
def _() -> Any:
    return Program(batch_size=4)


@sound("a fixed order that is not sorted")
def _() -> Any:
    return Program(shuffle=False)


@sound("MixUp")
def _() -> Any:
    mix = v2.MixUp(num_classes=5)
    return Program(batch=lambda x, y: mix(x, y))


class LoRA(nn.Module):
    """A convolution and a low-rank change to it, whose second half begins at zero."""

    def __init__(self, base: nn.Conv2d, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Conv2d(
            base.in_channels, rank, base.kernel_size, base.stride, base.padding, bias=False
        )  # type: ignore[arg-type]
        self.b = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.b(self.a(x))


@sound("LoRA whose second factor begins at zero")
def _() -> Any:
    model = network(trains=("head",))
    for block in model.layer4:
        block.conv2 = LoRA(block.conv2)
    return Program(ft.train_mode(model))


@sound("a head that begins at zero")
def _() -> Any:
    model = network(trains=("head",))
    nn.init.zeros_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)
    return Program(model, optimizer=sgd(model))


@sound("dropout before the head")
def _() -> Any:
    model = network()
    model.fc = nn.Sequential(nn.Dropout(0.3), nn.Linear(512, 5))
    return Program(model)


@sound("a hidden layer in the head")
def _() -> Any:
    model = network()
    model.fc = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    return Program(model)


@sound("NLLLoss after log_softmax")
def _() -> Any:
    return Program(loss=lambda o, y: F.nll_loss(o.log_softmax(1), y))


class WithItsOwnScale(nn.Module):
    """As timm's networks: another mean and std, told in `pretrained_cfg`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.net.ftcourse_origin = None
        self.pretrained_cfg = {
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "input_size": (3, 64, 64),
        }

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def rescaled(split: Any, mean: float, std: float) -> Changed:
    preset = ft.ResNet18_Pocket_Weights.DEFAULT.transforms()
    a, b = (torch.tensor(v).view(3, 1, 1) for v in (preset.mean, preset.std))
    return Changed(split, lambda x, y, i: ((x * b + a - mean) / std, y))


@sound("a timm-like network with a mean and std of its own")
def _() -> Any:
    data = photos(
        **{n: rescaled(getattr(insects(), n), 0.5, 0.5) for n in ("train", "val", "test")}
    )
    model = WithItsOwnScale()
    return Program(ft.train_mode(model), data)


@sound("a network that normalises for itself")
def _() -> Any:
    preset = ft.ResNet18_Pocket_Weights.DEFAULT.transforms()
    model = nn.Sequential(v2.Normalize(preset.mean, preset.std), network())
    data = photos(
        **{n: rescaled(getattr(insects(), n), 0.0, 1.0) for n in ("train", "val", "test")}
    )
    return Program(ft.train_mode(model), data)


class Own(nn.Module):
    """A small network of one's own, from scratch, that takes 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Linear(512, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x))


@sound("a network of one's own from scratch, photos from 0 to 1")
def _() -> Any:
    data = photos(
        **{n: rescaled(getattr(insects(), n), 0.0, 1.0) for n in ("train", "val", "test")}
    )
    return Program(Own(), data)


@sound("TensorDatasets")
def _() -> Any:
    splits = {}
    for name, n in (("train", 90), ("val", 60), ("test", 60)):
        split = getattr(insects(), name)
        images = torch.stack([split[i][0] for i in range(n)])
        splits[name] = TensorDataset(images, torch.tensor(split.targets[:n]))
    return Program(data=photos(**splits))


@sound("ImageFolders")
def _() -> Any:
    return Program(data=folders(CLASSES, CLASSES, same=0))


@sound("Subsets of one ImageFolder, apart")
def _() -> Any:
    made = folders(CLASSES, CLASSES, same=0)
    order = torch.randperm(len(made.train), generator=torch.Generator().manual_seed(0)).tolist()
    parts = {"train": Subset(made.train, order[:100]), "val": Subset(made.train, order[100:])}
    return Program(data=Data(made.classes, **parts, test=made.test))  # type: ignore[arg-type]


@sound("grey photos")
def _() -> Any:
    preset, grey = insects().train.transform, v2.Grayscale(3)
    return Program(data=insects().with_transforms(*2 * [lambda x: preset(grey(x))]))


@sound("grey photos of low contrast")
def _() -> Any:
    preset, grey = insects().train.transform, v2.Grayscale(3)
    faint = lambda x: preset((grey(x) * 0.2 + 90).to(torch.uint8))  # noqa: E731
    return Program(data=insects().with_transforms(faint, faint))


@sound("validation at a size a quarter larger")
def _() -> Any:
    larger = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=80, resize_size=90)
    return Program(data=insects().with_transforms(insects().train.transform, larger))


@sound("finetune: head, then all with discriminative rates")
def _() -> Any:
    return planned(
        [ft.Stage("head", lr=1e-2), ft.Stage("all", lr=1e-4, head_lr=1e-3, layer_decay=0.7)]
    )


@sound("finetune: the last block, SGD, photos changed at random")
def _() -> Any:
    data = insects().with_transforms(train_transforms(SIZE), insects().val.transform)
    return planned(ft.Stage("layer4", lr=1e-3, optimizer="sgd"), data)


@sound("finetune: from scratch")
def _() -> Any:
    return planned(ft.Stage("all", lr=1e-3), model=ft.load_backbone("resnet18", None, 5))


@sound("finetune: biases alone")
def _() -> Any:
    return planned(ft.Stage("all", lr=1e-3, only="bias"))


@sound("finetune: label smoothing and steep class weights, which Classification weighs by photo")
def _() -> Any:
    weight = torch.tensor([1.0, 1, 1, 1, 200])
    return planned(ft.Stage("head", lr=1e-2), task=Classification(0.1, weight))


@sound("peft: LoRA, whose B begins at zero")
def _() -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["layer4.1.conv2"], modules_to_save=["fc"])
    model = get_peft_model(network(trains=()), config)
    return Program(ft.train_mode(model))


@sound("finetune: segmentation")
def _() -> Any:
    data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    from ftcourse.tasks.segmentation import segmentation_transforms

    data = data.with_transforms(
        segmentation_transforms(64, train=True), segmentation_transforms(64)
    )
    for name in ("train", "val", "test"):
        setattr(data, name, getattr(data, name).with_target("semantic"))
    return planned(
        ft.Stage("head", lr=1e-3), data, unet(ft.load_backbone("resnet18"), 3), task=Segmentation(3)
    )


@sound("finetune: detection")
def _() -> Any:
    data = ft.load_data("pocket-insects", classes=("ants", "bees"), progress=False)
    from ftcourse.tasks.detection import detection_transforms

    data = data.with_transforms(detection_transforms(train=True), detection_transforms())
    for name in ("train", "val", "test"):
        setattr(data, name, getattr(data, name).with_target("boxes"))
    return planned(
        ft.Stage("head", lr=1e-3), data, fcos(ft.load_backbone("resnet18"), 3), task=Detection()
    )
