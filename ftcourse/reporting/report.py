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
from collections.abc import Callable, Iterator, Sequence
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
from ftcourse.data.transforms import (
    AUGMENTATIONS,
    MEAN,
    STD,
    eval_transforms,
    train_transforms,
)
from ftcourse.evaluation.baselines import (
    LinearProbe,
    PooledFeatures,
    majority_class,
    pooled_features,
)
from ftcourse.evaluation.calibration import temperature_of
from ftcourse.evaluation.measures import calibration_error
from ftcourse.models.backbones import (
    layer_groups,
    load_backbone,
    origin_of,
    replace_head,
    weights_of,
)
from ftcourse.models.groups import last_block
from ftcourse.models.states import check_input
from ftcourse.models.timm_networks import is_timm_network
from ftcourse.plots import plot_confusion, plot_history, show_images
from ftcourse.plots.fonts import short
from ftcourse.reporting.escaping import drawn
from ftcourse.reporting.origins import origins_of
from ftcourse.reporting.report_html import write_html
from ftcourse.reporting.report_page import command_of, page
from ftcourse.reporting.tables import PREDICTIONS, SPLITS, write_predictions, write_splits
from ftcourse.reporting.where import WHERE, draw_where
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
from ftcourse.training.run_logs import LOGS, check_log, open_log
from ftcourse.training.stages import Stage
from ftcourse.training.timing import epochs_that_fit, pace

__all__ = ["Interrupted", "Settings", "train_and_report", "write_report"]

FILES = (
    "settings.json", "checkpoint.pt", "history.json", "model.safetensors", "report.json",
    "report.md", "report.html", "curves.png", "confusion.png", "worst.png", WHERE, TRAIN_PHOTOS, SPLITS,
    PREDICTIONS, PREPROCESSOR,
)  # fmt: skip
LOCK = ".lock"
LEFTOVER = rf"\.({'|'.join(map(re.escape, FILES))})\.\d+\.part"  # of `write_atomic`
WORST = 12
FEW = 30  # photos; with fewer, an accuracy near 50 % has a 95 % interval of 34 points and more


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
    keep_placeholders: bool = False
    lr: float | None = None  # of the last stage; the other rates keep their proportion to it
    augment: str = "standard"  # see `train_transforms`
    class_weights: str | None = None  # "balanced"; this and those below: see `finetune`
    early_stopping: int = 0  # 0 is without
    label_smoothing: float = 0.0
    mix: str | None = None
    ema: float | None = None
    bf16: bool = False
    device: str | None = None
    workers: int = 0
    time_budget: float | None = None  # minutes, see `fit_into_time`
    log: str | None = None
    columns: str | None = None  # of a table, as "file=NAME,label=NAME", see `load_data`
    labels: str | None = None  # the expression that finds labels in file names, see `load_data`

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                told = ", ".join(one for one in known if one is not None)
                raise ValueError(f"{name}={value!r}: use one of {told}")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: at least {least}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr}: a learning rate is above 0")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing}: from 0 to below 1")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema={self.ema}: a decay between 0 and 1, such as 0.99")
        if self.time_budget is not None and not self.time_budget > 0:
            raise ValueError(f"time_budget={self.time_budget}: minutes, above 0")

    def finetune(self) -> dict[str, Any]:
        """What `finetune` is called with, beside stages, batch size and seed."""
        names = ("class_weights", "label_smoothing", "mix", "ema", "bf16", "device")
        asked = {name: getattr(self, name) for name in names}
        return asked | {"early_stopping": self.early_stopping or None, "num_workers": self.workers}


CHOICES: dict[str, tuple[str | None, ...]] = {
    "strategy": recipes.STRATEGIES,
    "on_error": ("raise", "skip"),
    "layout": (None, "classes"),
    "augment": AUGMENTATIONS,
    "class_weights": (None, "balanced"),
    "mix": (None, "mixup", "cutmix"),
    "log": (None, *LOGS),
}
LEAST = {"epochs": 1, "size": 16, "batch_size": 2, "early_stopping": 0, "workers": 0}
NOT_COMPARED = ("device", "log")  # a run may go on elsewhere, and be told elsewhere


def train_and_report(
    source: str | os.PathLike,
    out: str | os.PathLike,
    settings: Settings | None = None,
    *,
    resume: bool = False,
    force: bool = False,
    progress: bool = True,
    on_start: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Fine-tune on a folder of photos and write a run: model, checkpoint, history, curves, report.

    Args:
        source: a folder, a table, or the name of a built-in set, as for `load_data`; what lies in memory leaves no
            way to find the photos of a run again.
        out: the run's folder.
        resume: go on with an interrupted run of the same settings and photos.
        force: `out` may hold an earlier run; its files are moved into `out/before-1/` (2, 3, ...).
        on_start: called when all is checked and the training is about to begin.

    Returns:
        The contents of `report.json`.

    Raises:
        FileExistsError: `out` holds a run, and neither `resume` nor `force` was asked for; or another process
            is writing to it.
        Interrupted: stopped by the user after some epochs; the test split has not been touched.
        ValueError, OSError: from reading the photos and the weights; each says what and where.
    """
    settings, out = settings or Settings(), Path(out)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"train_and_report takes the path of a folder or a table, not a {type(source).__name__}: a run must "
            f"find its photos again; ft.load_data and ft.finetune take it"
        )
    _check_out(out, resume, force)
    if (by := holder(out / LOCK)) is not None:
        raise _busy(out, by)
    with _full_disk_told(out):
        return _train_and_report(source, out, settings, resume, force, progress, on_start)


def _train_and_report(
    source: Any,
    out: Path,
    settings: Settings,
    resume: bool,
    force: bool,
    progress: bool,
    on_start: Callable[[], None] | None,
) -> dict[str, Any]:
    clock = Clock()
    check_log(settings.log)
    model, shape, data = prepared(source, settings)
    torch.manual_seed(settings.seed)  # whatever reading the photos may have drawn
    replace_head(model, num_classes=len(data.classes))
    stages = stages_of(settings, data, model, settings.epochs)
    in_full, planned = stages, None
    if settings.time_budget is not None:
        if resume:
            planned = read_record(out / "settings.json", SETTINGS).get("planned_epochs")
        planned = planned or fit_into_time(model, data, settings, stages, clock.elapsed)
        stages = stages_of(settings, data, model, planned)
    _check_disk(out, model, stages)
    with _alone(out):
        _check_out(out, resume, force)  # another process may have been quicker
        remove_leftovers(out, FILES)
        resume = _begin(out, settings, data, source, resume, force, planned)
        if on_start is not None:
            on_start()
        clock.lap("data")
        splits = (_as_tested(data), data.val)
        features = [pooled_features(model, s, device=settings.device) for s in splits]
        untouched = {k: v.clone() for k, v in model.state_dict().items()}  # for the test's features
        clock.lap("baselines")
        with _logged(settings, out) as on_epoch:
            history = finetune(
                model, data, stages, out_dir=out, resume=resume, batch_size=settings.batch_size,
                seed=settings.seed, progress=progress, on_epoch=on_epoch, **settings.finetune(),
            )  # fmt: skip
        clock.lap("training")
        _stop_if_interrupted(history, out)
        probe = LinearProbe(*features)
        clock.lap("baselines")
        write_train_photos(out, data.train)
        judged = _validated(model, data)
        _save(model, out / "model.safetensors", data, settings, shape, judged.temperature)
        tested = _test(model, untouched, data, probe, settings, judged)
        clock.lap("test")
        _write_tables(out, data, source, judged, tested)
        report = _report(source, out, settings, shape, data, stages, history, probe, tested)
        if planned is not None:
            report["time_budget"] = _time_told(settings, planned, in_full)
            again = report["settings"] | {"epochs": planned, "time_budget": None}
            report["command"] = command_of(source, out, again)
        report["where"] = draw_where(out, report["worst"], data, model)
        write_report(out, report | clock.times(history.seconds), history, data)
    return report | clock.times(history.seconds)


class Clock:
    """Seconds of wall time for each part of a run."""

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.laps: dict[str, float] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the last lap ended, and of all laps."""
        return time.perf_counter() - self.last + sum(self.laps.values())

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


def prepared(source: Any, settings: Settings) -> tuple[nn.Module, dict[str, Any], Data]:
    """The backbone before its head is replaced, how photos come to it (`input_of`), and the photos."""
    check_device(settings.device)
    model = backbone_of(settings)
    shape = input_of(model, settings)
    check_input(
        architecture_of(model, settings), shape["crop_size"], getattr(model, "image_size", None)
    )
    return model, shape, load_photos(source, settings, shape)


def backbone_of(settings: Settings) -> nn.Module:
    """The network that a run begins with; what is random in it comes from the run's seed."""
    torch.manual_seed(settings.seed)
    return load_backbone(
        settings.backbone, None if settings.weights == "none" else settings.weights
    )


def stages_of(settings: Settings, data: Data, model: nn.Module, epochs: int | None) -> list[Stage]:
    return recipes.recipe(
        settings.strategy, len(data.train), len(data.classes), epochs,
        from_scratch=settings.weights == "none", last=last_block(model), lr=settings.lr,
    )  # fmt: skip


def fit_into_time(
    model: nn.Module, data: Data, settings: Settings, stages: Sequence[Stage], elapsed: float
) -> int:
    """How many epochs of these stages end within `settings.time_budget` minutes; `elapsed` seconds are over.

    Counted are reading the photos, the baselines, training and the test, by timing a few real batches; the
    estimate is printed. The pictures of the report take seconds more.

    Raises:
        ValueError: not even one epoch does.
    """
    budget = settings.time_budget or 0.0
    start = time.perf_counter()
    found = pace(model, data, stages, batch_size=settings.batch_size, **settings.finetune())
    elapsed += time.perf_counter() - start
    seen = len(data.train) + len(data.val) + 2 * len(data.test)  # by the network and the baselines
    rest = elapsed + seen * found.photo
    most = sum(stage.epochs for stage in stages)
    n = epochs_that_fit(
        lambda n: stages_of(settings, data, model, n), most, 60 * budget - rest, found.seconds
    )
    if not n:
        one = (rest + found.seconds(stages_of(settings, data, model, 1))) / 60
        raise ValueError(
            f"time_budget={budget:g}: with a single epoch the run takes about {one:.2g} minutes here; give more "
            f"time, or a smaller size=, or fewer photos"
        )
    minutes = (rest + found.seconds(stages_of(settings, data, model, n))) / 60
    print(f"{_time_told(settings, n, stages)} The run takes about {minutes:.2g} minutes here.")
    return n


def _time_told(settings: Settings, epochs: int, in_full: Sequence[Stage]) -> str:
    most, budget = sum(stage.epochs for stage in in_full), settings.time_budget
    which = f"All {most}" if epochs == most else f"{epochs} of {most}"
    return f"{which} epochs fit into the time budget of {budget:g} minutes."


@contextmanager
def _logged(settings: Settings, out: Path) -> Iterator[Callable[[History], None] | None]:
    """What tells each epoch to the run's log, which is closed however the run ends; None without a log."""
    if settings.log is None:
        yield None
        return
    log = open_log(settings.log, out, {f.name: getattr(settings, f.name) for f in fields(settings)})

    def tell(history: History) -> None:
        row = history.epochs[-1]
        known = ("lr", "seconds")
        told = {k: v for k, v in row.items() if k in known or k.startswith(("train_", "val_"))}
        log.numbers(row["epoch"], told)

    try:
        yield tell
    finally:
        log.close()


def check_device(name: str | None) -> None:
    """Refuse a device that PyTorch does not know or this machine does not have.

    Raises:
        ValueError: with the device and what there is.
    """
    try:
        torch.empty(0, device=name or "cpu")
    except (RuntimeError, AssertionError, NotImplementedError) as err:
        raise ValueError(
            f"device={name!r}: there is none of that name here; this machine has cpu"
            + ("" if best_device().type == "cpu" else f" and {best_device()}")
        ) from err


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
    out: Path, settings: Settings, data: Data, source: Any, resume: bool, force: bool,
    planned: int | None = None,
) -> bool:  # fmt: skip
    """Write `settings.json`, or compare with it; True if there is a checkpoint to go on from."""
    mine = {f.name: getattr(settings, f.name) for f in fields(settings)}
    mine["photos"] = _fingerprint(data, source)
    if force:
        _move_aside(out)
    if not resume:
        record = mine if planned is None else mine | {"planned_epochs": planned}
        write_atomic(out / "settings.json", json.dumps(record, indent=1).encode())
        return False
    then = read_record(out / "settings.json", SETTINGS)
    then = {f.name: f.default for f in fields(settings)} | then  # of an earlier version
    for name, value in mine.items():
        if then[name] != value and name not in NOT_COMPARED:
            if name == "photos":
                raise ValueError(
                    f"{source}: the photos or their splits have changed since {out} began"
                )
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{out}: was started with {option} {then[name]}, not {value}; resume it with the same"
            )
    return (out / "checkpoint.pt").exists()


def _move_aside(out: Path) -> None:
    mine = [out / name for name in (*FILES, "tensorboard") if (out / name).exists()]
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
    """The path below the source folder, or a table's, as in the audit; a number for data without files."""
    if not isinstance(path, Path):
        return f"number {path}"
    folder = Path(source).expanduser()
    try:
        return path.relative_to(folder.parent if folder.is_file() else folder).as_posix()
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


def architecture_of(model: nn.Module, settings: Settings) -> str:
    """The name that the network is built by without a network: a Hub's name has timm's for it."""
    origin = origin_of(model)
    return origin.architecture if origin else settings.backbone


def load_photos(source: Any, settings: Settings, shape: dict[str, Any]) -> Data:
    size, mean, std = shape["crop_size"], shape["mean"], shape["std"]
    given = ("layout", "keep_placeholders")  # for folders alone
    options = {name: value for name in given if (value := getattr(settings, name))}
    return load_data(
        source,
        seed=settings.seed,
        transform=eval_transforms(size, mean, std),
        train_transform=train_transforms(size, mean, std, settings.augment),
        on_error=settings.on_error,
        groups=settings.groups,
        columns=settings.columns,
        labels=settings.labels,
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
    model: nn.Module, file: Path, data: Data, settings: Settings, shape: dict[str, Any],
    temperature: float,
) -> None:  # fmt: skip
    photos = data.test.images
    files = (("working_size", "side"), ("grey_bits", "bits"))
    how = {name: getattr(photos, own) for name, own in files if hasattr(photos, own)}
    config = config_of(shape | how)
    write_beside(file, config, file.parent, example=False)
    save_model(
        model,
        file,
        architecture=architecture_of(model, settings),
        classes=data.classes,
        **shape,
        **how,
        weights=settings.weights,
        origins=origins_of(settings.weights, _header(settings.weights)),
        seed=settings.seed,
        groups=settings.groups,
        layout=settings.layout,
        temperature=temperature,
        columns=settings.columns,
        labels=settings.labels,
        version=version("ftcourse"),
        preprocessor_config=config,
    )


@dataclass
class Validated:
    """What the trained network says of the validation split, and the temperature fitted on that."""

    logits: Tensor  # not yet divided by it
    targets: Tensor
    temperature: float
    note: str  # where the temperature comes from


def _validated(model: nn.Module, data: Data) -> Validated:
    logits, targets = predict(model, data.val)
    new = np.setdiff1d(
        np.arange(len(targets)), data.near_train.get("val", [])
    )  # no copies of train
    return Validated(logits, targets, *temperature_of(logits[new], targets[new]))


def _write_tables(out: Path, data: Data, source: Any, judged: Validated, tested: Tested) -> None:
    """Which photo was in which split, and the network's answer to each of val and test."""
    names = {
        name: [file_name(p, source) for p in split.paths or range(len(split))]
        for name, split in (("train", data.train), ("val", data.val), ("test", data.test))
    }
    write_splits(
        out, data.classes, {name: (names[name], getattr(data, name).targets) for name in names}
    )
    logits = {"val": judged.logits / judged.temperature, "test": tested.logits}
    answers = {
        name: (names[name], getattr(data, name).targets, z.double().softmax(1).numpy())
        for name, z in logits.items()
    }
    write_predictions(out, data.classes, answers)


@dataclass
class Tested:
    """What came out of the one look at the test split."""

    result: dict[str, Any]  # of `measure`
    logits: Tensor  # divided by the temperature
    targets: np.ndarray
    probe_hits: np.ndarray
    majority: int
    majority_hits: np.ndarray


def _test(
    model: nn.Module, untouched: dict[str, Tensor], data: Data, probe: LinearProbe,
    settings: Settings, judged: Validated,
) -> Tested:  # fmt: skip
    raw, targets = predict(model, data.test)
    logits = raw / judged.temperature
    tuned = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(untouched)  # the probe sees the backbone as it was before training
    features: PooledFeatures = pooled_features(model, data.test, device=settings.device)
    model.load_state_dict(tuned)
    answers = probe.predict(features.x)
    majority = majority_class(data.train.targets, len(data.classes))
    truth = targets.numpy()
    near_train = data.near_train.get("test", [])
    result = measure(
        logits, targets, data.classes, settings.seed, other=answers, near_train=near_train
    )
    result["calibration"] = {
        "temperature": judged.temperature,
        "note": judged.note,
        "ece_at_1": calibration_error(raw.double().softmax(1).numpy(), truth),
    }
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
        "origins": origins_of(settings.weights, _header(settings.weights)),
        "backbone": settings.backbone,
        "size": shape["crop_size"],
        "settings": asked,
        "options": {f.name: asked[f.name] for f in fields(settings) if asked[f.name] != f.default},
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
        "finetune": settings.finetune(),
        "best": history.best,
        "epochs": len(history.epochs),
        "stopped": history.stopped,
        "findings": history.findings,
        "audit": data.audit.to_dict() if data.audit else None,
        "data_notes": list(data.notes),
        "val_near_train": len(data.near_train.get("val", [])),
        "command": command_of(source, out, asked),
        "versions": versions(*(("timm",) if is_timm_network(settings.backbone) else ())),
        "device": str(settings.device or best_device()),
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
        if accuracy <= baseline and n < FEW:
            found.append(
                f"Fine-tuning is not better than {title} here ({accuracy:.1%} against {baseline:.1%}), but "
                f"{n} test photos are too few to judge by."
            )
        elif accuracy <= baseline:
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
            f"All {n} test photos are right; the true accuracy may still be as low as {low:.1%}."
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
    return _spoilt(report) + found + _class_remarks(test)


def _spoilt(report: dict[str, Any]) -> list[str]:
    """What is known of the photos that makes the numbers wrong, besides near copies, which the headline has."""
    audit = report.get("audit") or {"findings": []}
    found = [
        f"{f['message']} ({_some(f['files'])}); a wrong label in train or test spoils the score."
        for f in audit["findings"]
        if f["kind"] == "two labels"
    ]
    if n := report.get("val_near_train", 0):
        found.append(
            f"Of {report['counts']['val']} validation photos {n} have a near copy in train, so the epoch to "
            f"stop at was chosen on photos that are too easy."
        )
    together = [n for n in report.get("data_notes", []) if n.startswith("Photos of one group lie")]
    return found + [f"{note} The score is too good by an unknown amount." for note in together]


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


def versions(*more: str) -> dict[str, str]:
    """Of Python, the platform, and the packages that the numbers depend on."""
    packages = ("ftcourse", "torch", "torchvision", "numpy", "pillow", "scikit-learn", *more)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version(name) for name in packages},
    }


# -- files -------------------------------------------------------------------------------------


def _caption(number: int, wrong: dict[str, Any]) -> str:
    true, predicted = (drawn(wrong[k]) for k in ("true", "predicted"))
    lines = short([f"{number}. {true},", f"not {predicted}"], width=20)
    return "\n".join([*lines, f"({wrong['probability']:.0%})"])


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
        titles = [_caption(k, w) for k, w in enumerate(report["worst"], 1)]
        plt.close(show_images(images, titles, path=run / "worst.png"))
    text = page(report)
    write_atomic(run / "report.md", text.encode(errors="backslashreplace"))
    write_html(run, text, f"{report['name']}: {len(report['classes'])} classes")
    write_atomic(run / "report.json", json.dumps(report, indent=1, allow_nan=False).encode())
