"""Use a finished run: load it, classify files, measure it on a folder of labelled photos."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ftcourse.data.folders import files_below, is_photo_name
from ftcourse.data.inspection import inspect_photos
from ftcourse.data.loading import BUILT_IN, load_data
from ftcourse.data.photo_faults import reason_of
from ftcourse.data.photos import CACHE_BYTES, PhotoCache, read_pixels
from ftcourse.data.sources import find, has_table
from ftcourse.data.splits import Split
from ftcourse.data.transforms import (
    DEFAULT_SIZE,
    MEAN,
    STD,
    Transform,
    eval_transforms,
    train_transforms,
)
from ftcourse.evaluation.coverage import coverage
from ftcourse.evaluation.measures import (
    bootstrap_intervals,
    calibration_error,
    confusion_matrix,
    macro_f1,
    wilson_interval,
)
from ftcourse.evaluation.measures import per_class as measure_classes
from ftcourse.models.states import check_input
from ftcourse.shipping.train_photos import trained_on
from ftcourse.training.checkpoints import load_model
from ftcourse.training.loop import best_device, predict

__all__ = [
    "Classifier", "Prediction", "evaluate_folder", "find_photos", "labelled", "load_run", "measure",
    "predict_files", "reading_of",
]  # fmt: skip

SPLITS = ("test", "val", "train", "all")


@dataclass(frozen=True)
class Prediction:
    """The answer for one file: `label`, its `probability`, and the `probabilities` of all classes by name.

    Where the file cannot be read, `error` says why in a sentence, `label` and `probability` are None, and
    `probabilities` is empty.
    """

    file: Path
    label: str | None
    probability: float | None
    probabilities: dict[str, float]
    error: str | None = None


@dataclass(repr=False)
class Classifier:
    """A network in eval mode, with what belongs to it; `predict` classifies files.

    `transform` takes a PIL image or a uint8 tensor (3, H, W); `side` is the length in pixels that the
    short side of a larger photo is shrunk to before that, as in training; `grey_bits` the least depth
    that greys of more than 8 bits are taken to have, 0 if there were none in training; `meta` is the
    header of the model's file.
    """

    model: nn.Module
    classes: list[str]
    transform: Callable[[Any], Tensor]
    size: int
    side: int
    meta: dict[str, Any]

    @property
    def grey_bits(self) -> int:
        return int(self.meta.get("grey_bits", 0))

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become probabilities; 1 in runs that have none."""
        return float(self.meta.get("temperature", 1.0))

    def __repr__(self) -> str:
        shown = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        return (
            f"Classifier({self.meta.get('architecture', 'a network')}, {self.size} pixels; {shown})"
        )

    def input_of(self, file: Path) -> Tensor:
        """A photo as the network takes it, float32 (3, size, size).

        Raises:
            FileNotFoundError, ValueError, OSError: as `ftcourse.data.photos.open_photo`.
        """
        pixels = torch.from_numpy(read_pixels(file, self.side, self.grey_bits)).permute(2, 0, 1)
        return self.transform(pixels)

    def predict(
        self, photos: str | os.PathLike | Iterable[str | os.PathLike], *, batch_size: int = 32
    ) -> Any:
        """Classify a file (gives a `Prediction`), or a folder, a glob or several files (gives a list of them).

        Of several files, those that cannot be read are in the list with their `error`; the others are answered.

        Raises:
            FileNotFoundError, ValueError: the one file is not there or cannot be read; or there is no photo in the
                folder.
        """
        single = isinstance(photos, (str, os.PathLike))
        files = find_photos([photos] if isinstance(photos, (str, os.PathLike)) else photos)
        if single and not files:
            raise FileNotFoundError(f"{os.fspath(photos)}: no photos there")  # type: ignore[arg-type]
        found = [self._prediction(file, row) for file, row in _answers(self, files, batch_size)]
        if not single or files != [Path(photos).expanduser()]:  # type: ignore[arg-type]
            return found
        if found[0].error is not None:
            raise (ValueError if files[0].exists() else FileNotFoundError)(found[0].error)
        return found[0]

    def _prediction(self, file: Path, row: np.ndarray | str) -> Prediction:
        if isinstance(row, str):
            return Prediction(file, None, None, {}, row)
        probabilities = dict(zip(self.classes, row.tolist(), strict=True))
        best = int(row.argmax())
        return Prediction(file, self.classes[best], float(row[best]), probabilities)


def load_run(run: str | os.PathLike) -> Classifier:
    """The classifier of a run's folder, or of a `model.safetensors` that was copied out of it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged, or is no classifier of this package.
    """
    path = Path(run)
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.exists():
        more = "; resume the training first" if (path / "checkpoint.pt").exists() else ""
        raise FileNotFoundError(f"{file}: no trained model there{more}")
    if file.suffix == ".onnx":
        raise ValueError(
            f"{file}: ONNX files are read by `ftcourse predict` alone; give the folder of the run, or its "
            f"model.safetensors"
        )
    model, meta = load_model(file)
    size = meta.get("crop_size", DEFAULT_SIZE)
    try:
        check_input(meta["architecture"], size, getattr(model, "image_size", None))
    except ValueError as err:
        raise ValueError(f"{file}: {err}") from err
    transform, side = reading_of(meta)
    model.to(best_device())
    return Classifier(model, list(meta["classes"]), transform, size, side, meta)


def reading_of(meta: Mapping[str, Any]) -> tuple[Transform, int]:
    """What a model's header says of photos: the transform, and the short side that they are shrunk to before."""
    size = meta.get("crop_size", DEFAULT_SIZE)
    transform = eval_transforms(size, meta.get("mean", MEAN), meta.get("std", STD))
    return transform, meta.get("working_size", max(160, math.ceil(1.25 * size)))


# -- files -------------------------------------------------------------------------------------


def find_photos(patterns: Iterable[str | os.PathLike]) -> list[Path]:
    """The files that names, folders (searched with all below them) and globs stand for, in order.

    What lies in a folder is what `load_data` finds there: nothing hidden or made by the system, no folder twice.
    A name that stands for nothing is kept, so that whoever opens it can say so.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(os.path.expanduser(pattern))  # of os.path, which pass no name as too odd
        if os.path.isdir(path):
            inside = [p for p, _ in files_below(path) if is_photo_name(p) and not p.is_dir()]
            found.update(dict.fromkeys(sorted(inside)))
        elif os.path.exists(path):
            found[path] = None
        else:
            matches = sorted(glob.glob(str(path), recursive=True))
            found.update(dict.fromkeys(Path(m) for m in matches or [str(path)]))
    return list(found)


def predict_files(
    classifier: Classifier,
    files: Sequence[Path],
    *,
    top: int = 3,
    batch_size: int = 32,
    abstain: float | None = None,
) -> Iterator[dict[str, Any]]:
    """One dict a file, in order: `file`, `class`, `probability`, `top`; or `file` and `error`.

    `top` lists the likeliest classes, each with `class` and `probability`. A file that cannot be
    read does not stop the others. With `abstain`, a probability, `abstained` says whether the answer's is below.

    Raises:
        OSError: the system has no more memory maps or open files to give; no file is to blame.
    """
    for file, row in _answers(classifier, files, batch_size):
        if isinstance(row, str):
            yield {"file": str(file), "error": row}
            continue
        answer = {"file": str(file), **_top(classifier, row, top)}
        if abstain is not None:
            answer["abstained"] = answer["probability"] < abstain
        yield answer


def _answers(
    classifier: Classifier, files: Sequence[Path], batch_size: int
) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Of each file the probabilities of the classes, float32 (C,), or a sentence that says why there are none."""
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        inputs, errors = [], {}
        for file in batch:
            try:
                inputs.append(classifier.input_of(file))
            except Exception as err:  # of any kind, from any decoder or transform
                errors[file] = _plain(err, file)
        rows = iter(_probabilities(classifier, inputs) if inputs else [])
        for file in batch:
            yield file, errors[file] if file in errors else next(rows)


def _plain(err: Exception, file: Path) -> str:
    """One sentence that names the file; a limit of the system is raised as what it is."""
    if isinstance(err, FileNotFoundError):
        return f"{file}: no such file"
    told = isinstance(err, ValueError) and str(file) in str(err)
    return str(err) if told else f"{file}: {reason_of(err)}"


@torch.inference_mode()
def _probabilities(classifier: Classifier, inputs: list[Tensor]) -> np.ndarray:
    device = next((p.device for p in classifier.model.parameters()), torch.device("cpu"))
    logits = classifier.model(torch.stack(inputs).to(device)).float()
    return (logits / classifier.temperature).softmax(1).cpu().numpy()


def _top(classifier: Classifier, row: np.ndarray, top: int) -> dict[str, Any]:
    order = np.argsort(-row, kind="stable")[: max(1, top)]
    likeliest = [{"class": classifier.classes[i], "probability": float(row[i])} for i in order]
    return {**likeliest[0], "top": likeliest}


# -- labelled photos ---------------------------------------------------------------------------


def measure(
    logits: Tensor,
    targets: Tensor,
    classes: list[str],
    seed: int = 0,
    other: Any = None,
    near_train: Sequence[int] = (),
) -> dict[str, Any]:
    """Everything that is said about a classifier on one split, from its logits (N, C) and targets (N,).

    Intervals of accuracies are Wilson's, those of macro F1 and of the gain a bootstrap's.

    Args:
        logits: divided by the temperature, if there is one.
        other: int (N,), another classifier's answers, for `intervals["gain"]`.
        near_train: positions of photos that have a near copy in train; if there are any,
            `without_near_copies` has what is right among the others.
    """
    probabilities = logits.double().softmax(1).numpy()
    truth, predicted = targets.numpy(), logits.argmax(1).numpy()
    confusion = confusion_matrix(truth, predicted, len(classes))
    intervals = bootstrap_intervals(truth, predicted, other, seed=seed)
    return {
        "accuracy": float(confusion.trace() / len(truth)),
        "macro_f1": macro_f1(confusion),
        "accuracy_interval": wilson_interval(confusion.trace(), len(truth)),
        "macro_f1_interval": intervals["macro_f1"],
        "loss": float(nn.functional.cross_entropy(logits.double(), targets)),
        "ece": calibration_error(probabilities, truth),
        "samples": len(truth),
        "per_class": measure_classes(confusion, classes),
        "confusion": confusion.tolist(),
        "coverage": coverage(probabilities, truth),
        **({"gain_interval": intervals["gain"]} if "gain" in intervals else {}),
        **_without_near_copies(truth, predicted, near_train),
    }


def _without_near_copies(
    truth: np.ndarray, predicted: np.ndarray, near_train: Sequence[int]
) -> dict[str, Any]:
    """`accuracy` is None where each photo has a near copy in train."""
    if not len(near_train):
        return {}
    return {"without_near_copies": _rest(truth, predicted, near_train)}


def _rest(truth: np.ndarray, predicted: np.ndarray, without: Sequence[int]) -> dict[str, Any]:
    """What is right among the photos at other positions."""
    rest = np.setdiff1d(np.arange(len(truth)), without)
    found: dict[str, Any] = {"left_out": len(truth) - len(rest), "samples": len(rest)}
    found |= {"accuracy": None, "accuracy_interval": None}
    if len(rest):
        right = int((truth[rest] == predicted[rest]).sum())
        found["accuracy"] = right / len(rest)
        found["accuracy_interval"] = wilson_interval(right, len(rest))
    return found


def evaluate_folder(
    run: str | os.PathLike,
    source: str | os.PathLike,
    split: str = "test",
    *,
    on_error: str = "raise",
    batch_size: int = 64,
    layout: str | None = None,
    abstain: float | None = None,
    columns: str | None = None,
    labels: str | None = None,
) -> dict[str, Any]:
    """Measure a run on labelled photos.

    Args:
        source: a folder with class folders, or with train/ val/ test/, a table, or the name of a built-in set.
        split: "test", "val", "train", drawn as in training (same seed), or "all" photos.
        layout, columns, labels: how the labels are found, see `load_data`; by default as in training.
        abstain: leave answers with a smaller probability than this out, and say under `abstain` how many are left
            and how right they are (`coverage`).

    Returns:
        What `measure` returns, with `source` and `split`. `trained_on` has how many of the photos the run was
        trained on, as the `same_file` or as a `near_copy`, and what is right among the others; None if that is not
        known, because the hashes that the run wrote do not lie beside its model.

    Raises:
        ValueError: the folder has a class that the run does not know.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: use {', '.join(SPLITS)}")
    classifier = load_run(run)
    photos, near_train = _labelled(classifier, source, split, on_error, (layout, columns, labels))
    index = class_index(classifier, photos.classes, source)
    logits, own = predict(classifier.model, photos, batch_size=batch_size)
    logits = logits / classifier.temperature
    seed = int(classifier.meta.get("seed", 0))
    result = measure(logits, index[own], classifier.classes, seed, near_train=near_train)
    result |= {"source": str(source), "split": split}
    if abstain is not None:
        probabilities = logits.double().softmax(1).numpy()
        (result["abstain"],) = coverage(probabilities, index[own].numpy(), [abstain])
    if photos.paths is None:  # drawn by a seed, for this split alone
        return result
    seen = trained_on(Path(run) if Path(run).is_dir() else Path(run).parent, photos)
    if seen is None:
        return result | {"trained_on": None}
    truth, predicted = index[own].numpy(), logits.argmax(1).numpy()
    rest = _rest(truth, predicted, [*seen[0], *seen[1]])
    return result | {"trained_on": {"same_file": len(seen[0]), "near_copy": len(seen[1]), **rest}}


def class_index(classifier: Classifier, classes: Sequence[str], source: Any) -> Tensor:
    """The classifier's number of each class of a folder, int64 (C,).

    Raises:
        ValueError: the folder has a class that the run does not know.
    """
    unknown = [c for c in classes if c not in classifier.classes]
    if unknown:
        raise ValueError(
            f"{source}: the run does not know the class {unknown[0]!r}; "
            f"it knows {', '.join(classifier.classes[:20])}"
        )
    return torch.tensor([classifier.classes.index(c) for c in classes])


def labelled(classifier: Classifier, source: str | os.PathLike, split: str, on_error: str) -> Split:
    """Labelled photos as the classifier takes them: a split drawn as in training, or "all"."""
    return _labelled(classifier, source, split, on_error)[0]


def _labelled(
    classifier: Classifier,
    source: str | os.PathLike,
    split: str,
    on_error: str,
    asked: tuple[str | None, ...] = (),
) -> tuple[Split, list[int]]:
    """The photos, and the positions of those that have a near copy in train."""
    transform = classifier.transform
    how = _how(classifier, source, asked) if source not in BUILT_IN else {}
    if split == "all" and source not in BUILT_IN:
        return _all_photos(classifier, source, on_error, how), []
    files: dict[str, Any] = {**how, "grey_bits": classifier.meta.get("grey_bits")}
    data = load_data(
        source,
        seed=int(classifier.meta.get("seed", 0)),
        transform=transform,
        train_transform=train_transforms(
            classifier.size
        ),  # photos are kept as large as in training
        # runs from before there were groups do not say: they were drawn photo by photo
        groups=None if source == "pocket-insects" else classifier.meta.get("groups", "file"),
        on_error=on_error,
        audit=False,
        **(files if source != "pocket-insects" else {}),
    )
    if split == "all":
        raise ValueError(f"{source}: 'all' is for a folder; use test, val or train")
    return getattr(data, split).with_transform(transform), data.near_train.get(split, [])


def _how(
    classifier: Classifier, source: str | os.PathLike, asked: tuple[str | None, ...]
) -> dict[str, Any]:
    """How the labels are found: as was asked, or else as in training, where the source is of that kind."""
    names = ("layout", "columns", "labels")
    if any(asked):
        return dict(zip(names, asked, strict=True))
    how = {name: classifier.meta.get(name) for name in names}
    if not Path(source).is_dir():
        how["layout"] = how["labels"] = None
    if not has_table(source):
        how["columns"] = None
    return how


def _all_photos(
    classifier: Classifier, source: str | os.PathLike, on_error: str, how: dict[str, Any]
) -> Split:
    """Each usable photo of each class folder, even of one class, even too few to split."""
    folder = find(source, **how)
    if wrong := folder.faults or (folder.problems if not folder.photos else []):
        raise ValueError(wrong[0])
    found = inspect_photos(
        folder.photos,
        short_side=classifier.side,
        keep_bytes=CACHE_BYTES,
        grey_bits=classifier.grey_bits,
    )
    broken = next((one for one in found if one.error), None)
    if broken and on_error != "skip":
        raise ValueError(
            f"{broken.photo.path}: cannot be decoded ({broken.error}); "
            f'remove it or pass on_error="skip"'
        )
    good = [one for one in found if not one.error and not one.placeholder]
    paths = [one.photo.path for one in good]
    return Split(
        PhotoCache(paths, classifier.side, [one.pixels for one in good], bits=classifier.grey_bits),
        [folder.classes.index(one.photo.label) for one in good],
        folder.classes,
        transform=classifier.transform,
        paths=paths,
    )
