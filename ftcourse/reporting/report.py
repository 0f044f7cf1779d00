"""One run from a folder of photos to a model and an honest report.

`train_and_report` trains, then touches the test split once: for the network and for two baselines at the same
time. `report.json` has every number, `report.md` is the same for people (`report_page.py`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import Tensor, nn

from ftcourse.data.loading import load_data
from ftcourse.data.splits import Data
from ftcourse.data.transforms import MEAN, STD, eval_transforms, train_transforms
from ftcourse.evaluation.baselines import (
    LinearProbe,
    PooledFeatures,
    majority_class,
    pooled_features,
)
from ftcourse.models.backbones import layer_groups, load_backbone, replace_head, weights_of
from ftcourse.models.states import check_input
from ftcourse.plots import plot_confusion, plot_history, show_images
from ftcourse.reporting.escaping import drawn
from ftcourse.reporting.report_page import command_of, page
from ftcourse.shipping.inference import measure
from ftcourse.shipping.preprocessing import CONFIG as PREPROCESSOR
from ftcourse.shipping.preprocessing import config_of, write_beside
from ftcourse.shipping.train_photos import FILE as TRAIN_PHOTOS
from ftcourse.shipping.train_photos import write_train_photos
from ftcourse.training import recipes
from ftcourse.training.checkpoints import (
    read_header,
    remove_leftovers,
    save_model,
    write_atomic,
)
from ftcourse.training.history import History
from ftcourse.training.locks import Held, holder, locked
from ftcourse.training.loop import best_device, finetune, predict
from ftcourse.training.records import SETTINGS, read_record
from ftcourse.training.stages import Stage

__all__ = ["Interrupted", "Settings", "train_and_report", "write_report"]

FILES = (
    "settings.json", "checkpoint.pt", "history.json", "model.safetensors", "report.json",
    "report.md", "curves.png", "confusion.png", "worst.png", TRAIN_PHOTOS,
    PREPROCESSOR,
)  # fmt: skip
LOCK = ".lock"
LEFTOVER = rf"\.({'|'.join(map(re.escape, FILES))})\.\d+\.part"  # of `write_atomic`
WORST = 12


class Interrupted(Exception):
    """Training was stopped by the user; the run can be resumed."""


@dataclass(frozen=True)
class Settings:
    """What a run is made from; a resumed run must have the same."""

    strategy: str = "auto"
    epochs: int | None = None
    seed: int = 0
    weights: str = "pocket"
    backbone: str = "resnet18"
    size: int | None = None
    batch_size: int = 32
    on_error: str = "raise"
    groups: str | None = None  # what stays in one split, see `load_data`
    layout: str | None = None  # "classes" if the top folders are the classes, see `load_data`

    def __post_init__(self) -> None:
        if self.strategy not in recipes.STRATEGIES:
            raise ValueError(
                f"strategy={self.strategy!r}: use one of {', '.join(recipes.STRATEGIES)}"
            )
        for name, least in (("epochs", 1), ("size", 16), ("batch_size", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: at least {least}")


def train_and_report(
    source: str | os.PathLike,
    out: str | os.PathLike,
    settings: Settings | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Fine-tune on a folder of photos and write a run: model, checkpoint, history, curves, report.

    Args:
        source: what `load_data` takes: a folder, or the name of a built-in set.
        out: the run's folder.
        resume: go on with an interrupted run of the same settings and photos.
        force: `out` may hold an earlier run; its files are moved into `out/before-1/` (2, 3, ...).

    Returns:
        The contents of `report.json`.

    Raises:
        FileExistsError: `out` holds a run, and neither `resume` nor `force` was asked for; or another process
            is writing to it.
        Interrupted: stopped by the user after some epochs; the test split has not been touched.
        ValueError, OSError: from reading the photos and the weights; each says what and where.
    """
    settings, out = settings or Settings(), Path(out)
    _check_out(out, resume, force)
    if (by := holder(out / LOCK)) is not None:
        raise _busy(out, by)
    with _full_disk_told(out):
        return _train_and_report(source, out, settings, resume, force, progress)


def _train_and_report(
    source: Any, out: Path, settings: Settings, resume: bool, force: bool, progress: bool
) -> dict[str, Any]:
    clock = Clock()
    torch.manual_seed(settings.seed)
    model = load_backbone(
        settings.backbone, None if settings.weights == "none" else settings.weights
    )
    shape = input_of(model, settings)
    check_input(settings.backbone, shape["crop_size"], getattr(model, "image_size", None))
    data = _load(source, settings, shape)
    torch.manual_seed(settings.seed)  # whatever reading the photos may have drawn
    replace_head(model, num_classes=len(data.classes))
    stages = recipes.recipe(
        settings.strategy, len(data.train), len(data.classes), settings.epochs,
        from_scratch=settings.weights == "none",
    )  # fmt: skip
    _check_disk(out, model, stages)
    with _alone(out):
        _check_out(out, resume, force)  # another process may have been quicker
        remove_leftovers(out, FILES)
        resume = _begin(out, settings, data, source, resume, force)
        clock.lap("data")
        features = [pooled_features(model, s) for s in (_as_tested(data), data.val)]
        untouched = {k: v.clone() for k, v in model.state_dict().items()}  # for the test's features
        clock.lap("baselines")
        history = finetune(
            model, data, stages, out_dir=out, resume=resume, batch_size=settings.batch_size,
            seed=settings.seed, progress=progress, **recipes.FINETUNE,
        )  # fmt: skip
        clock.lap("training")
        _stop_if_interrupted(history, out)
        probe = LinearProbe(*features)
        clock.lap("baselines")
        write_train_photos(out, data.train)
        _save(model, out / "model.safetensors", data, settings, shape)
        tested = _test(model, untouched, data, probe, settings.seed)
        clock.lap("test")
        report = _report(source, out, settings, shape, data, stages, history, probe, tested)
        write_report(out, report | clock.times(history.seconds), history, data)
    return report | clock.times(history.seconds)


class Clock:
    """Seconds of wall time for each part of a run."""

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self.last
        self.last = now

    def times(self, trained: float) -> dict[str, Any]:
        """`times` of the parts, and `seconds`, which is their sum.

        Args:
            trained: seconds of all epochs; more than this process trained for if the run was resumed.
        """
        laps = self.laps | {"training": max(trained, self.laps.get("training", 0.0))}
        parts = {name: round(seconds, 1) for name, seconds in laps.items()}
        return {"seconds": round(sum(parts.values()), 1), "times": parts}


# -- before training ---------------------------------------------------------------------------


def _check_out(out: Path, resume: bool, force: bool) -> None:
    """Refuse before any time is spent."""
    if resume and force:
        raise ValueError("--resume goes on with a run and --force replaces it; choose one")
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: is a file; give a folder for the run")
    if resume and not (out / "settings.json").exists():
        raise FileNotFoundError(f"{out}: no run to resume there; train without --resume")
    if not resume and not force and out.exists() and _holds_more_than_a_start(out):
        raise FileExistsError(
            f"{out}: exists and is not empty; give another folder, go on with that run (--resume), "
            f"or replace it (--force: its files are moved to {out / 'before-1'}, or 2, 3, ...)"
        )


def _holds_more_than_a_start(out: Path) -> bool:
    """Settings alone, and what a killed process left of a file it was writing, are no run."""
    return any(
        file.name not in ("settings.json", LOCK) and not re.fullmatch(LEFTOVER, file.name)
        for file in out.iterdir()
    )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The only process that writes to a run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with locked(out / LOCK):
            yield
    except Held as err:
        raise _busy(out, holder(out / LOCK) or "") from err


def _busy(out: Path, by: str) -> FileExistsError:
    return FileExistsError(
        f"{out}: another run is being written there{by}; wait for it, or give another folder"
    )


def _check_disk(out: Path, model: nn.Module, stages: Sequence[Stage]) -> None:
    """Refuse before any training where the files of the run will not fit."""
    old = out / "checkpoint.pt"
    needed = bytes_of_a_run(model, stages) - (old.stat().st_size if old.is_file() else 0)
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OSError(
            f"{out}: the run needs about {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free there; "
            f"free some, or give a folder on another disk"
        )


def bytes_of_a_run(model: nn.Module, stages: Sequence[Stage]) -> int:
    """The most that a run's files take: two checkpoints while one replaces the other; or one, and the model.

    A checkpoint has the weights, the best ones, and what the optimizer keeps of each that trains: two numbers for
    AdamW, one for SGD.
    """
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    groups, kept = layer_groups(model), 0
    for stage in stages:
        modules = [m for name in stage.groups(model) for m in groups[name]]
        trains = {id(p): p.numel() * p.element_size() for m in modules for p in m.parameters()}
        kept = max(kept, sum(trains.values()) * (2 if stage.optimizer == "adamw" else 1))
    checkpoint = 2 * weights + kept
    return checkpoint + max(checkpoint, weights) + 5_000_000  # and pictures


@contextmanager
def _full_disk_told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"{out}: the disk is full ({err.strerror}, {err.filename or 'while writing'}); what was written "
            f"before is whole: free some space, and the same command with --resume goes on"
        ) from err


def _begin(
    out: Path, settings: Settings, data: Data, source: Any, resume: bool, force: bool
) -> bool:
    """Write `settings.json`, or compare with it; True if there is a checkpoint to go on from."""
    mine = {f.name: getattr(settings, f.name) for f in fields(settings)}
    mine["photos"] = _fingerprint(data, source)
    if force:
        _move_aside(out)
    if not resume:
        write_atomic(out / "settings.json", json.dumps(mine, indent=1).encode())
        return False
    then = read_record(out / "settings.json", SETTINGS)
    for name, value in mine.items():
        if then.get(name) != value:
            if name == "photos":
                raise ValueError(
                    f"{source}: the photos or their splits have changed since {out} began"
                )
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{out}: was started with {option} {then.get(name)}, not {value}; resume it with the same"
            )
    return (out / "checkpoint.pt").exists()


def _move_aside(out: Path) -> None:
    mine = [out / name for name in FILES if (out / name).exists()]
    if not mine:
        return
    n = 1
    while (out / f"before-{n}").exists():
        n += 1
    (out / f"before-{n}").mkdir()
    for file in mine:
        os.replace(file, out / f"before-{n}" / file.name)


def _fingerprint(data: Data, source: Any) -> str:
    """A hash of which photos, with which labels, are in which split."""
    digest = hashlib.sha256()
    for name in data.counts:
        split = getattr(data, name)
        labels = zip(split.paths or range(len(split)), split.targets, strict=True)
        names = [f"{file_name(p, source)}={t}" for p, t in labels]
        digest.update(f"{name}: {names}\n".encode())
    return digest.hexdigest()[:16]


def file_name(path: Any, source: Any) -> str:
    """The path below the source folder, as in the audit; a number for data without files."""
    if not isinstance(path, Path):
        return f"number {path}"
    try:
        return path.relative_to(Path(source).expanduser()).as_posix()
    except ValueError:  # a built-in set lies in the download folder
        return "/".join(path.parts[-3:])


def input_of(model: nn.Module, settings: Settings) -> dict[str, Any]:
    """How photos are made into inputs: `crop_size`, `resize_size` (pixels), `mean`, `std`."""
    weights = weights_of(model)
    preset: Any = weights.transforms() if weights else None
    known = _header(settings.weights)
    size = settings.size or known.get("crop_size") or recipes.default_size(preset)
    mean: Any = known.get("mean") or getattr(preset, "mean", MEAN)
    std: Any = known.get("std") or getattr(preset, "std", STD)
    resize = math.ceil(1.14 * size)
    return {"crop_size": size, "resize_size": resize, "mean": list(mean), "std": list(std)}


def _header(weights: str) -> dict[str, Any]:
    """What a weights file of this package says of itself."""
    return (Path(weights).suffix == ".safetensors" and read_header(weights)) or {}


def _load(source: Any, settings: Settings, shape: dict[str, Any]) -> Data:
    size, mean, std = shape["crop_size"], shape["mean"], shape["std"]
    options: dict[str, Any] = {"layout": settings.layout} if settings.layout else {}
    return load_data(
        source,
        seed=settings.seed,
        transform=eval_transforms(size, mean, std),
        train_transform=train_transforms(size, mean, std),
        on_error=settings.on_error,
        groups=settings.groups,
        **options,
    )


def _as_tested(data: Data) -> Any:
    """The training split without augmentation."""
    return data.train.with_transform(data.val.transform)


# -- after training ----------------------------------------------------------------------------


def _stop_if_interrupted(history: History, out: Path) -> None:
    if history.stopped.startswith("interrupted"):
        done = len(history.epochs)
        total = sum(stage["epochs"] for stage in history.stages)
        again = (
            "the same command with --resume goes on" if done else "nothing is lost but that epoch"
        )
        raise Interrupted(f"{out}: interrupted after epoch {done} of {total}; {again}")


def _save(
    model: nn.Module, file: Path, data: Data, settings: Settings, shape: dict[str, Any]
) -> None:
    photos = data.test.images
    files = (("working_size", "side"), ("grey_bits", "bits"))
    how = {name: getattr(photos, own) for name, own in files if hasattr(photos, own)}
    config = config_of(shape | how)
    write_beside(file, config, file.parent, example=False)
    save_model(
        model,
        file,
        architecture=settings.backbone,
        classes=data.classes,
        **shape,
        **how,
        weights=settings.weights,
        seed=settings.seed,
        groups=settings.groups,
        layout=settings.layout,
        version=version("ftcourse"),
        preprocessor_config=config,
    )


@dataclass
class Tested:
    """What came out of the one look at the test split."""

    result: dict[str, Any]  # of `measure`
    logits: Tensor
    targets: np.ndarray
    probe_hits: np.ndarray
    majority: int
    majority_hits: np.ndarray


def _test(
    model: nn.Module, untouched: dict[str, Tensor], data: Data, probe: LinearProbe, seed: int
) -> Tested:
    logits, targets = predict(model, data.test)
    tuned = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(untouched)  # the probe sees the backbone as it was before training
    features: PooledFeatures = pooled_features(model, data.test)
    model.load_state_dict(tuned)
    answers = probe.predict(features.x)
    majority = majority_class(data.train.targets, len(data.classes))
    truth = targets.numpy()
    near_train = data.near_train.get("test", [])
    result = measure(logits, targets, data.classes, seed, other=answers, near_train=near_train)
    return Tested(result, logits, truth, answers == truth, majority, truth == majority)


def _report(
    source: Any, out: Path, settings: Settings, shape: dict[str, Any], data: Data,
    stages: list[Any], history: History, probe: LinearProbe, tested: Tested,
) -> dict[str, Any]:  # fmt: skip
    strategy = recipes.resolve_strategy(
        settings.strategy, len(data.train), len(data.classes), settings.weights == "none"
    )
    asked = {f.name: getattr(settings, f.name) for f in fields(settings)}
    report: dict[str, Any] = {
        "name": data.name,
        "source": str(source),
        "classes": list(data.classes),
        "counts": data.counts,
        "counts_per_class": {s: getattr(data, s).counts() for s in data.counts},
        "strategy": strategy,
        "seed": settings.seed,
        "weights": settings.weights,
        "backbone": settings.backbone,
        "size": shape["crop_size"],
        "settings": asked,
        "test": tested.result,
        "baselines": {
            "majority": float(tested.majority_hits.mean()),
            "linear_probe": float(tested.probe_hits.mean()),
        },
        "baseline_details": {
            "majority_class": data.classes[tested.majority],
            "linear_probe": {
                "features": "random weights" if settings.weights == "none" else settings.weights,
                "C": probe.C,
                "val_accuracy": probe.val_accuracy,
            },
        },
        "worst": _worst(tested, data, source),
        "stages": [stage.to_dict() for stage in stages],
        "finetune": dict(recipes.FINETUNE),
        "best": history.best,
        "epochs": len(history.epochs),
        "stopped": history.stopped,
        "findings": history.findings,
        "audit": data.audit.to_dict() if data.audit else None,
        "data_notes": list(data.notes),
        "command": command_of(source, out, asked),
        "versions": versions(),
        "device": str(best_device()),
    }
    return report | {"notes": remarks(report)}


def _worst(tested: Tested, data: Data, source: Any) -> list[dict[str, Any]]:
    """The most confident mistakes, the worst first."""
    probability, predicted = (v.numpy() for v in tested.logits.double().softmax(1).max(1))
    wrong = np.flatnonzero(predicted != tested.targets)
    order = wrong[np.argsort(-probability[wrong], kind="stable")][:WORST]
    paths = data.test.paths or range(len(data.test))
    return [
        {
            "file": file_name(paths[i], source),
            "true": data.classes[tested.targets[i]],
            "predicted": data.classes[predicted[i]],
            "probability": float(probability[i]),
            "index": int(i),
        }
        for i in order
    ]


def remarks(report: dict[str, Any]) -> list[str]:
    """What a careful reader should know about the result, in sentences."""
    test, found = report["test"], []
    n, accuracy = test["samples"], test["accuracy"]
    low, high = test["accuracy_interval"]
    for name, title in (("majority", "the majority class"), ("linear_probe", "the linear probe")):
        baseline = report["baselines"][name]
        if accuracy <= baseline:
            found.append(
                f"Fine-tuning does not beat {title} ({accuracy:.1%} against {baseline:.1%}): "
                + (
                    "train longer, find more photos, or use the probe."
                    if name == "linear_probe"
                    else "it learnt nothing of use."
                )
            )
    gain_low, gain_high = test["gain_interval"]
    if accuracy > report["baselines"]["linear_probe"] and gain_low <= 0:
        found.append(
            f"The gain over the linear probe may be chance: its 95 % interval is "
            f"{100 * gain_low:+.1f} to {100 * gain_high:+.1f} points."
        )
    if accuracy == 1:
        found.append(
            f"All {n} test photos are right, so the bootstrap shows no spread; the true accuracy may still be "
            f"as low as {max(0.0, 1 - 3 / n):.1%} (rule of three)."
        )
    elif high - low > 0.1:
        found.append(
            f"The interval is {100 * (high - low):.0f} points wide because the test split has only {n} photos."
        )
    if report["weights"] == "none":
        found.append(
            "The network began with random weights, and so did the features of the linear probe."
        )
        if report["strategy"] != "full":
            found.append("Frozen layers kept their random weights.")
    return found + _class_remarks(test)


def _class_remarks(test: dict[str, Any]) -> list[str]:
    few = [r["class"] for r in test["per_class"] if 0 < r["support"] < 10]
    none = [r["class"] for r in test["per_class"] if not r["support"]]
    never = [r["class"] for r in test["per_class"] if r["support"] and r["precision"] is None]
    sentences = (
        (few, "Under 10 test photos, so the class's own numbers are mostly luck"),
        (none, "No test photos, so nothing is known of"),
        (never, "Never predicted"),
    )
    return [f"{text}: {_some(names)}." for names, text in sentences if names]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def versions() -> dict[str, str]:
    """Of Python, the platform, and the packages that the numbers depend on."""
    packages = ("ftcourse", "torch", "torchvision", "numpy", "pillow", "scikit-learn")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version(name) for name in packages},
    }


# -- files -------------------------------------------------------------------------------------


def write_report(
    run: str | os.PathLike, report: dict[str, Any], history: History, data: Data
) -> None:
    """Write the pictures, `report.md`, and last `report.json`: where that is, the run is complete."""
    run = Path(run)
    plt.close(plot_history(history, path=run / "curves.png"))
    confusion = report["test"]["confusion"]
    names = [drawn(name) for name in report["classes"]]
    plt.close(plot_confusion(confusion, names, path=run / "confusion.png"))
    if report["worst"]:
        images = [data.test.image(w["index"]) for w in report["worst"]]
        titles = [f"{drawn(w['true'])},\nnot {drawn(w['predicted'])}" for w in report["worst"]]
        plt.close(show_images(images, titles, path=run / "worst.png"))
    write_atomic(run / "report.md", page(report).encode(errors="backslashreplace"))
    write_atomic(run / "report.json", json.dumps(report, indent=1, allow_nan=False).encode())
