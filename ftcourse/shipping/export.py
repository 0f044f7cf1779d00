"""Export a run to a file that needs nothing of this package, and check the file against PyTorch.

`safetensors`: loads with torchvision and safetensors alone::

    with safetensors.safe_open("export.safetensors", "pt") as file:
        meta = json.loads(file.metadata()["ftcourse"])
    model = torchvision.models.get_model(meta["architecture"], num_classes=len(meta["classes"]))  # *
    model.load_state_dict(safetensors.torch.load_file("export.safetensors"))
    model.eval()

(* googlenet and inception_v3 also take `aux_logits=False, init_weights=False` and the header's `transform_input`,
a vision transformer for images of more than 224 pixels `image_size=meta["crop_size"]`. A "timm/NAME" is
`timm.create_model(NAME, num_classes=...)`, and "efficientnet_lite0" its "tf_efficientnet_lite0".)

`onnx`: input `images` float32 (batch, 3, size, size), normalised; output `logits` float32 (batch, classes).
Probabilities are softmax(logits / temperature). The metadata has as JSON `classes`, `temperature`, and what a
photo goes through before, in this order (`STEPS`, also there as `preprocess`): decoded, a
large JPEG at a half, a quarter or an eighth; upright by its EXIF tag, RGB on white;
where the short side is longer than `working_size`, shrunk to that with a bicubic filter; brought to `resize_size`
with a bilinear one, both antialiased; the centre, `size` x `size`, cut out, divided by 255, less `mean`, divided
by `std`. Where the photos of the training had greys of more than 8 bits, `grey_bits` says to what depth they are
scaled, and a step more how.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ftcourse.data.transforms import MEAN, STD
from ftcourse.shipping.inference import Classifier, find_photos, load_run
from ftcourse.training.checkpoints import load_model, save_model, write_atomic
from ftcourse.training.records import read_record

__all__ = ["FORMATS", "Exported", "export", "need_onnx"]

FORMATS = ("safetensors", "onnx")
DEEP = (
    "greys of more than 8 bits: multiply by 255 / (2**bits - 1); bits is grey_bits, or the fewest of 8, 10, 12, "
    "14, 16, 20, 24, 32 that hold the photo's brightest value where these are more"
)
STEPS = (
    "decode; a JPEG at 1/2, 1/4 or 1/8 where its short side stays at least twice working_size (Pillow: draft)",
    "turn upright by the EXIF tag, convert to RGB, lay transparency on white",
    "if the short side is longer than working_size: shrink it to working_size, bicubic, antialiased",
    "resize the short side to resize_size, bilinear, antialiased",
    "crop the centre to size x size",
    "divide by 255, subtract mean, divide by std, each by channel; order of the axes: channel, row, column",
)
TOLERANCE = 1e-3  # of a logit
REAL = 8  # photos to check with, where they are still there


@dataclass(frozen=True)
class Exported:
    """The file, and the largest difference of any logit from PyTorch's."""

    path: Path
    difference: float
    checked_on: str

    def __str__(self) -> str:
        return f"{self.path}: largest difference from PyTorch {self.difference:.1e} ({self.checked_on})"


def export(run: str | os.PathLike, format: str, out: str | os.PathLike | None = None) -> Exported:
    """Write a run's model in another format, and compare its logits with PyTorch's.

    Args:
        run: a run's folder, or a `model.safetensors`.
        format: "safetensors" or "onnx".
        out: the file; by default `model.onnx` or `export.safetensors` beside the model.

    Raises:
        ValueError: no such format, or logits that differ by more than 1e-3; the file is then removed.
        ImportError: `onnx` is asked for and not installed.
        FileNotFoundError: there is no trained model.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: use {' or '.join(FORMATS)}")
    if format == "onnx":
        need_onnx()
    classifier = load_run(run)
    classifier.model.cpu()
    folder = folder_of(run)
    path = target(run, out, "model.onnx" if format == "onnx" else "export.safetensors")
    source = folder / "model.safetensors" if Path(run).is_dir() else Path(run)
    if path.resolve() == source.resolve():
        raise ValueError(f"{path}: is the model that is to be exported; give another --out")
    part = path.with_name(f".{path.name}.unchecked")  # takes its name only when it is right
    try:
        answer = (_to_onnx if format == "onnx" else _to_safetensors)(classifier, part)
        inputs, checked_on = _inputs(classifier, folder)
        difference = _compare(classifier, answer, inputs)
        if not difference <= TOLERANCE:  # also true for nan
            raise ValueError(
                f"{path}: the export's logits differ from PyTorch's by up to {difference:.1e}, more than "
                f"{TOLERANCE:g}, so it was not kept; another version of torch or onnxruntime may do better"
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return Exported(path, difference, checked_on)


def folder_of(run: str | os.PathLike) -> Path:
    """The folder of a run that is named by its folder or by its model's file."""
    return Path(run) if Path(run).is_dir() else Path(run).parent


def target(run: str | os.PathLike, out: str | os.PathLike | None, name: str) -> Path:
    """The file to write: `out`, or `name` in the folder `out`, or beside the model; its folder is made."""
    path = Path(out) if out else folder_of(run) / name
    if path.is_dir():
        path = path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def source_of(folder: Path) -> str | None:
    """The photos that a run was trained on, as its report names them; None where it does not.

    A relative path is looked for where the command runs, then in the folders around the run: one of them is where
    the training ran, if the run was written below that.

    Raises:
        ValueError: the report is damaged.
    """
    file = folder / "report.json"
    if not file.exists():
        return None
    source = read_record(file, {"source": str})["source"]
    around = [Path(source), *(parent / source for parent in folder.absolute().parents)]
    return next((str(path) for path in around if path.exists()), source)


Answer = Callable[[Tensor], np.ndarray]


def _to_safetensors(classifier: Classifier, file: Path) -> Answer:
    meta = {k: v for k, v in classifier.meta.items() if k != "format"}
    save_model(classifier.model, file, **meta)
    model, _ = load_model(file)
    return lambda images: model(images).numpy()


def need_onnx() -> None:
    """Raise ImportError, with the command that helps, where a package for ONNX is missing."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise ImportError(f'onnx export needs {name}: pip install "ftcourse[onnx]"')


def _to_onnx(classifier: Classifier, file: Path) -> Answer:
    import onnxruntime

    proto = _onnx_proto(classifier)
    for key, value in _metadata(classifier).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    write_atomic(file, proto.SerializeToString())
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images.numpy()})[0]


def _onnx_proto(classifier: Classifier) -> Any:
    example = torch.zeros(2, 3, classifier.size, classifier.size)  # 1 would be taken for a constant
    quiet = (contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings())
    level = logging.root.manager.disable
    with quiet[0], quiet[1]:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # the exporter tells of each of its steps
        try:
            program = torch.onnx.export(
                classifier.model,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
        finally:
            logging.disable(level)
    assert program is not None
    return program.model_proto


def _metadata(classifier: Classifier) -> dict[str, Any]:
    meta = classifier.meta
    same: dict[str, Any] = {k: meta[k] for k in ("architecture", "mean", "std") if k in meta}
    if classifier.grey_bits:
        same |= {"grey_bits": classifier.grey_bits, "preprocess": (STEPS[0], DEEP, *STEPS[1:])}
    return {
        "format": "ftcourse-1",
        "classes": classifier.classes,
        "size": classifier.size,
        "resize_size": math.ceil(1.14 * classifier.size),  # what `eval_transforms` does
        "working_size": classifier.side,
        "mean": MEAN,
        "std": STD,
        "temperature": classifier.temperature,
        "preprocess": STEPS,
        **same,
    }


def _inputs(classifier: Classifier, folder: Path) -> tuple[list[Tensor], str]:
    """Batches of 1 and 3 random inputs, and one of photos of the run's folder, if that is still there."""
    generator = torch.Generator().manual_seed(0)
    side = classifier.size
    batches = [torch.randn(n, 3, side, side, generator=generator) for n in (1, 3)]
    photos = _photos(classifier, folder)
    if photos:
        batches.append(torch.stack(photos))
    told = f"{len(photos)} photos and 4 random inputs" if photos else "4 random inputs"
    return batches, f"on {told}"


def _photos(classifier: Classifier, folder: Path) -> list[Tensor]:
    try:
        source = source_of(folder)
    except (OSError, ValueError):  # a damaged report: the export needs none
        return []
    found: list[Tensor] = []
    if source is None or not Path(source).is_dir():
        return found
    files = find_photos([source])
    for file in files[:: max(1, len(files) // REAL)][:REAL]:
        with contextlib.suppress(ValueError, OSError):  # broken photos are not the export's affair
            found.append(classifier.input_of(file))
    return found


@torch.inference_mode()
def _compare(classifier: Classifier, answer: Answer, batches: list[Tensor]) -> float:
    differences = [np.abs(answer(x) - classifier.model(x).numpy()).max() for x in batches]
    return float(np.max(differences))  # nan if there is one
