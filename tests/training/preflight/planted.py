"""Mistakes that raise no error, planted one at a time in a program by hand; each says which findings name it.

`PLANTED`: what is wrong in words -> a function that makes the program, and which findings are right.
"""

from __future__ import annotations

import atexit
import copy
import math
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import Subset, TensorDataset
from torchvision import models
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.data.splits import Data
from ftcourse.data.transforms import train_transforms
from tests.training.preflight.programs import (
    SIZE,
    Changed,
    Program,
    adamw,
    cross_entropy,
    insects,
    network,
    photos,
    sgd,
)  # fmt: skip

Make = Callable[[], Program]
PLANTED: dict[str, tuple[Make, set[str]]] = {}

NUMBERED = "classes numbered differently"
NORMALISED = "inputs not normalised as the weights expect"
CHANNELS = "channels in another order"
SCHEDULE = "schedule stepped wrongly"
MIXED_UP = "labels do not belong to the photos"
OVERLAP = "train and validation overlap"


def plant(what: str, *names: str) -> Callable[[Make], Make]:
    def keep(make: Make) -> Make:
        assert what not in PLANTED
        PLANTED[what] = make, set(names)
        return make

    return keep


def val_with(targets: Any) -> Any:
    val = insects().val.subset(range(len(insects().val)))
    val.targets = [targets(t) for t in val.targets]
    return photos(val=val)


def backbone(model: Any, x: Tensor) -> Tensor:
    """What the head gets."""
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    x = model.layer4(model.layer3(model.layer2(model.layer1(x))))
    return model.avgpool(x).flatten(1)


# -- weights -------------------------------------------------------------------------------------


@plant("weights=None, and all but the head frozen", "weights not loaded")
def _() -> Program:
    return Program(network(weights=None, trains=("head",)))


@plant("weights=None, and the last block trains", "weights not loaded")
def _() -> Program:
    return Program(network(weights=None))


@plant("a state dict with 'module.' before each name, and strict=False", "weights not loaded")
def _() -> Program:
    model = network(weights=None, trains=("head",))
    state = {f"module.{k}": v for k, v in ft.load_backbone("resnet18").state_dict().items()}
    model.load_state_dict(state, strict=False)
    return Program(model)


@plant("strict=False, and the names of two blocks differ", "weights not loaded")
def _() -> Program:
    model = network(weights=None, trains=("head",))
    state = ft.load_backbone("resnet18").state_dict()
    state = {k: v for k, v in state.items() if not k.startswith(("fc.", "layer2.", "layer3."))}
    model.load_state_dict(state, strict=False)
    return Program(model)


@plant("strict=False, the names of early blocks differ, and all layers train", "weights not loaded")
def _() -> Program:
    model = network(weights=None, trains=())
    state = ft.load_backbone("resnet18").state_dict()
    state = {k: v for k, v in state.items() if k.startswith(("layer3.", "layer4."))}
    model.load_state_dict(state, strict=False)
    return Program(ft.train_mode(ft.unfreeze(model)), optimizer=None)


@plant("a network without norms, frozen, whose weights were never loaded", "weights not loaded")
def _() -> Program:
    torch.manual_seed(0)
    body = models.vgg11(weights=None).features.requires_grad_(False)
    model = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 5))
    return Program(model)


@plant("all layers train, and the weights were never loaded", "weights not loaded")
def _() -> Program:
    model = network(weights=None, trains=())
    model.ftcourse_origin = None
    return Program(ft.train_mode(ft.unfreeze(model)), optimizer=None)


@plant("a nan among the weights", "not finite")
def _() -> Program:
    model = network()
    with torch.no_grad():
        model.layer3[0].conv1.weight[0, 0, 0, 0] = math.nan
    return Program(model)


# -- what trains ---------------------------------------------------------------------------------


@plant("the head is frozen", "head frozen", "nothing trainable")
def _() -> Program:
    model = network(trains=("layer4",))
    return Program(model)


@plant("an optimizer made before the head was replaced", "stale optimizer")
def _() -> Program:
    model = network()
    optimizer = adamw(model)
    ft.replace_head(model, 5)
    return Program(model, optimizer=optimizer)


@plant("the optimizer of a copy of the model", "stale optimizer")
def _() -> Program:
    model = network()
    return Program(model, optimizer=adamw(copy.deepcopy(model)))


@plant(
    "the optimizer holds the head alone, though layer4 is to train",
    "parameters missing from the optimizer",
)
def _() -> Program:
    model = network()
    return Program(model, optimizer=torch.optim.AdamW(model.fc.parameters(), lr=1e-3))


@plant(
    "layers frozen after some epochs, in an optimizer with momentum and old gradients",
    "frozen weights move",
)
def _() -> Program:
    model = network(trains=("layer3", "layer4", "head"))
    optimizer = adamw(model)
    F.cross_entropy(model(insects().train[0][0].expand(4, -1, -1, -1)), torch.arange(4)).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    ft.train_mode(ft.freeze(model, "layer3"))
    program = Program(model, optimizer=optimizer)
    zero = optimizer.zero_grad
    optimizer.zero_grad = lambda: zero(set_to_none=False)
    return program


@plant("frozen BatchNorm in train mode", "frozen BatchNorm in train mode")
def _() -> Program:
    return Program(mode=lambda model: model.train())


@plant("a head of 1,000 outputs for five classes", "wrong number of classes")
def _() -> Program:
    return Program(network(classes=1000))


# -- the loop ------------------------------------------------------------------------------------


@plant("zero_grad is missing", "gradients not cleared")
def _() -> Program:
    return Program(order="fbs")


@plant("zero_grad between backward and step", "gradients cleared before the step")
def _() -> Program:
    return Program(order="fbzs")


@plant("no backward", "no gradient")
def _() -> Program:
    return Program(order="zfs")


@plant("no step", "no step")
def _() -> Program:
    return Program(order="zfb")


@plant("zero_grad, step, backward", "gradients cleared before the step", "step before backward")
def _() -> Program:
    return Program(order="zfsb")


@plant("two steps for each backward pass", "step without a gradient of its own")
def _() -> Program:
    return Program(order="zfbss")


@plant("one backward pass at the end of the epoch", "one step an epoch")
def _() -> Program:
    data = photos(train=insects().train.subset(range(64)))
    return Program(data=data, order="f|bs", optimizer=None)


@plant(
    "a step at the end of the epoch only, of the last batch",
    "one step an epoch",
    "gradients not cleared",
)
def _() -> Program:
    return Program(data=photos(train=insects().train.subset(range(64))), order="f|zbs")


@plant("x.detach() before the head, though layer4 is to train", "gradient lost on the way")
def _() -> Program:
    return Program(forward=lambda model, x: model.fc(backbone(model, x).detach()))


@plant("torch.no_grad() round the backbone", "gradient lost on the way")
def _() -> Program:
    def forward(model: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = backbone(model, x)
        return model.fc(features)

    return Program(forward=forward)


@plant("x.data inside the network", "gradient lost on the way")
def _() -> Program:
    def forward(model: Any, x: Tensor) -> Tensor:
        return model.fc(torch.tensor(backbone(model, x).data.tolist()))

    return Program(forward=forward)


@plant("a learning rate of 1e-9", "nothing moves")
def _() -> Program:
    model = network()
    return Program(model, optimizer=adamw(model, 1e-9))


@plant("a learning rate of 0", "learning rate zero")
def _() -> Program:
    model = network()
    return Program(model, optimizer=adamw(model, 0.0))


@plant("gradients clipped to 1e-6", "nothing moves")
def _() -> Program:
    model = network()
    return Program(
        model,
        optimizer=sgd(model),
        after_backward=lambda m: nn.utils.clip_grad_norm_(m.parameters(), 1e-6),
    )


@plant("gradients multiplied by 0", "nothing moves", "no gradient")
def _() -> Program:
    model = network()
    return Program(model, optimizer=sgd(model), scaled=lambda loss: 0 * loss)


@plant("a learning rate far too high", "learning rate too high")
def _() -> Program:
    model = network()
    return Program(model, optimizer=adamw(model, 3e-2))


# -- the schedule ----------------------------------------------------------------------------------


def scheduled(
    kind: Any, order: str, inside: int = 1, epochs: int | None = None, **options: Any
) -> Program:
    model = network()
    optimizer = adamw(model)
    scheduler = kind(optimizer, **options)
    return Program(
        model, optimizer=optimizer, scheduler=scheduler, order=order, inside=inside, epochs=epochs
    )


@plant("StepLR made for epochs, stepped once a batch", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.StepLR, "zfbsc", step_size=1, gamma=0.1)


@plant("a cosine over 3 epochs, stepped once a batch", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.CosineAnnealingLR, "zfbsc", T_max=3)


@plant("ExponentialLR made for epochs, stepped once a batch", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.ExponentialLR, "zfbsc", gamma=0.3)


@plant("OneCycleLR over all batches, stepped once an epoch", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.OneCycleLR, "zfbs|c", max_lr=5e-4, total_steps=75)


@plant("the schedule is stepped before the optimizer", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.CosineAnnealingLR, "czfbs", T_max=50)


@plant("the schedule is never stepped, over several epochs", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.CosineAnnealingLR, "zfbs", T_max=5, inside=5)


@plant("T_max of ten times the epochs", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.CosineAnnealingLR, "zfbs|c", T_max=50, epochs=5)


@plant("T_max in epochs, stepped once a batch, for ten epochs", SCHEDULE)
def _() -> Program:
    return scheduled(lr_scheduler.CosineAnnealingLR, "zfbsc", T_max=10, epochs=10)


@plant("a rate divided by ten by hand after each batch", SCHEDULE)
def _() -> Program:
    program = Program()

    def slower(model: Any) -> None:
        for group in program.optimizer.param_groups:
            group["lr"] /= 10

    program.after_backward = slower
    return program


# -- batches -----------------------------------------------------------------------------------------


def by_class(split: Any) -> Any:
    return split.subset(sorted(range(len(split)), key=lambda i: split.targets[i]))


@plant("photos sorted by class, and no shuffle", "batches sorted by class")
def _() -> Program:
    return Program(data=photos(train=by_class(insects().train)), shuffle=False)


@plant("photos sorted by class backwards, no shuffle, batches of 48", "batches sorted by class")
def _() -> Program:
    split = by_class(insects().train)
    split = split.subset(range(len(split) - 1, -1, -1))
    return Program(data=photos(train=split), shuffle=False, batch_size=48)


@plant("images shuffled within a batch, and their labels not", MIXED_UP)
def _() -> Program:
    return Program(batch=lambda x, y: (x[torch.randperm(len(x))], y))


@plant("Normalize a second time inside the loop", NORMALISED)
def _() -> Program:
    again = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return Program(batch=lambda x, y: (again(x), y))


@plant("channels turned round inside the loop", CHANNELS)
def _() -> Program:
    return Program(batch=lambda x, y: (x.flip(1), y))


@plant("a softmax inside the loop", "softmax before cross-entropy")
def _() -> Program:
    return Program(forward=lambda model, x: model(x).softmax(1))


@plant("a sigmoid inside the loop", "activation before the loss")
def _() -> Program:
    return Program(forward=lambda model, x: model(x).sigmoid())


@plant("NLLLoss on logits", "logits where log-probabilities belong")
def _() -> Program:
    return Program(loss=lambda outputs, y: F.nll_loss(outputs, y))


@plant("label smoothing and steep class weights", "label smoothing outweighs the labels")
def _() -> Program:
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 200.0])
    return Program(loss=lambda o, y: F.cross_entropy(o, y, weight, label_smoothing=0.1))


@plant("a loss that is nan at the first batch", "not finite")
def _() -> Program:
    return Program(loss=lambda o, y: cross_entropy((o - o).log() - (o - o).log(), y))


# -- outputs -----------------------------------------------------------------------------------------


def with_head(*more: nn.Module) -> Program:
    model = network()
    model.fc = nn.Sequential(nn.Linear(512, 5), *more)
    return Program(model)


@plant("the network ends in a softmax", "softmax before cross-entropy")
def _() -> Program:
    return with_head(nn.Softmax(1))


@plant("the network ends in a sigmoid", "activation before the loss")
def _() -> Program:
    return with_head(nn.Sigmoid())


@plant("the network ends in a ReLU", "activation before the loss")
def _() -> Program:
    return with_head(nn.ReLU())


@plant("the network ends in a tanh", "activation before the loss")
def _() -> Program:
    return with_head(nn.Tanh())


# -- validation ----------------------------------------------------------------------------------------


@plant("validation in train mode", "validation in train mode")
def _() -> Program:
    return Program(judged_mode=lambda model: model.train())


@plant("validation with the random transform of training", "validation is random")
def _() -> Program:
    random_one = train_transforms(SIZE)
    return Program(data=photos(val=insects().val.with_transform(random_one)))


@plant("validation with flips by Python's random", "validation is random")
def _() -> Program:
    flipped = Changed(insects().val, lambda x, y, i: (x.flip(2) if random.random() < 0.5 else x, y))
    return Program(data=photos(val=flipped))


@plant("drop_last=True in validation", "validation leaves photos out")
def _() -> Program:
    return Program(drop_last=True)


@plant("the mean of unequal batches", "mean of unequal batches")
def _() -> Program:
    return Program(average="batches")


@plant("validation photos of 32 pixels", "validation photos of another size")
def _() -> Program:
    small = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=32, resize_size=36)
    return Program(data=photos(val=insects().val.with_transform(small)))


@plant(
    "validation photos of twice the size, within validation", "validation photos of another size"
)
def _() -> Program:
    return Program(judged=lambda x: F.interpolate(x, scale_factor=2))


@plant("validation reads the training split", "validation on the training photos")
def _() -> Program:
    return Program(judged_split=insects().train)


@plant("channels turned round in validation alone", CHANNELS)
def _() -> Program:
    return Program(data=photos(val=Changed(insects().val, lambda x, y, i: (x.flip(0), y))))


@plant("channels turned round within validation", CHANNELS)
def _() -> Program:
    return Program(judged=lambda x: x.flip(1))


@plant("channels turned round in both, before Normalize", CHANNELS)
def _() -> Program:
    transform = insects().train.transform
    return Program(data=insects().with_transforms(*2 * [lambda x: transform(x.flip(0))]))


# -- inputs and labels -----------------------------------------------------------------------------------


def scaled_by(scale: Callable[[Tensor], Tensor], *names: str) -> Program:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ft_scale())
    parts = {
        n: Changed(getattr(insects(), n), lambda x, y, i: (scale(x * std + mean), y)) for n in names
    }
    return Program(data=photos(**parts))


def ft_scale() -> tuple[Any, Any]:
    preset = ft.ResNet18_Pocket_Weights.DEFAULT.transforms()
    return preset.mean, preset.std


@plant("inputs from 0 to 255", NORMALISED)
def _() -> Program:
    return scaled_by(lambda p: 255 * p, "train", "val")


@plant("inputs from 0 to 1", NORMALISED)
def _() -> Program:
    return scaled_by(lambda p: p, "train", "val")


@plant("inputs from -1 to 1", NORMALISED)
def _() -> Program:
    return scaled_by(lambda p: (p - 0.5) / 0.5, "train", "val")


@plant("validation inputs from 0 to 1", NORMALISED)
def _() -> Program:
    return scaled_by(lambda p: p, "val")


@plant("inputs normalised twice", NORMALISED)
def _() -> Program:
    again = v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    parts = {
        n: Changed(getattr(insects(), n), lambda x, y, i: (again(x), y)) for n in ("train", "val")
    }
    return Program(data=photos(**parts))


@plant("a photo with a nan", "not finite")
def _() -> Program:
    images = torch.stack([insects().train[i][0] for i in range(60)])
    images[41, 0, 3, 3] = math.nan
    labels = torch.tensor(insects().train.targets[:60])
    return Program(data=photos(train=TensorDataset(images, labels)))


@plant("all labels of validation moved on by one", NUMBERED)
def _() -> Program:
    return Program(data=val_with(lambda t: (t + 1) % 5))


@plant("the labels of validation reversed", NUMBERED)
def _() -> Program:
    return Program(data=val_with(lambda t: 4 - t))


@plant("two of five classes change places in validation", NUMBERED)
def _() -> Program:
    return Program(data=val_with(lambda t: {1: 3, 3: 1}.get(t, t)))


@plant("a class folder is missing in validation, so ImageFolder numbers anew", NUMBERED)
def _() -> Program:
    return Program(data=folders(train=insects().classes, val=insects().classes[1:]))


@plant("the labels of training shuffled", MIXED_UP)
def _() -> Program:
    train = insects().train.subset(range(150))
    random.Random(0).shuffle(train.targets)
    return Program(data=photos(train=train))


@plant("one class alone in training", "classes without training photos")
def _() -> Program:
    split = insects().train
    return Program(
        data=photos(train=split.subset([i for i in range(len(split)) if split.targets[i] == 0]))
    )


@plant("labels from 1", "label out of range")
def _() -> Program:
    train = insects().train.subset(range(150))
    train.targets = [t + 1 for t in train.targets]
    return Program(data=photos(train=train))


# -- splits ------------------------------------------------------------------------------------------------


def _folder() -> str:
    """A folder that is there until the program ends."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    return kept.name


def folders(train: Any, val: Any, same: int = 0) -> Any:
    """The insects as files, in ImageFolders; `same` training photos are in validation as well."""
    root = Path(_folder())
    for name, classes in (("train", train), ("val", val), ("test", train)):
        split = getattr(insects(), name)
        for i in range(len(split)):
            label = insects().classes[split.targets[i]]
            if label in classes:
                (root / name / label).mkdir(parents=True, exist_ok=True)
                split.load(i).save(root / name / label / f"{i}.png")
    for file in sorted((root / "train").rglob("*.png"))[-same or 10**6 :]:
        (root / "val" / file.parent.name / f"copy{file.name}").write_bytes(file.read_bytes())
    read = lambda image: insects().train.transform(v2.functional.pil_to_tensor(image))  # noqa: E731
    made = {n: ImageFolder(str(root / n), transform=read) for n in ("train", "val", "test")}
    return Data(made["train"].classes, **made)  # type: ignore[arg-type]


@plant("copies of training files in validation, in the last class alone", OVERLAP)
def _() -> Program:
    return Program(data=folders(insects().classes, insects().classes, same=6))


@plant("Subsets of one ImageFolder that share photos", OVERLAP)
def _() -> Program:
    whole = folders(insects().classes, insects().classes).train
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).tolist()
    return Program(
        data=photos(train=Subset(whole, order[:110]), val=Subset(whole, order[100:]), test=None)
    )


@plant("TensorDatasets that share rows", OVERLAP)
def _() -> Program:
    data = insects()
    images = torch.stack([data.train[i][0] for i in range(150)])
    labels = torch.tensor(data.train.targets)
    train, val = (
        TensorDataset(images[:100], labels[:100]),
        TensorDataset(images[90:].clone(), labels[90:]),
    )
    return Program(data=photos(train=train, val=val))


@plant("the test split is the training split", "train and test overlap")
def _() -> Program:
    return Program(data=photos(test=insects().train))


@plant("the test split is the validation split", "validation and test overlap")
def _() -> Program:
    return Program(data=photos(test=insects().val.with_transform(insects().test.transform)))


@plant("near copies of training photos in validation", OVERLAP)
def _() -> Program:
    train = insects().train
    near = train.subset(range(40))
    near.images = torch.stack([train.image(i) for i in range(40)]).roll(1, 2)
    near.index = list(range(40))
    return Program(data=photos(val=near))
