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
Probabilities are softmax(logits / temperature). The metadata has as JSON `classes`, `temperature` and
`preprocessor_config`; `model.safetensors` has them in its header, and the last lies beside both as a file
(`ftcourse.shipping.preprocessing`); `use_model.py`, beside ONNX, shows how to follow it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ftcourse.shipping.inference import Classifier, find_photos, load_run
from ftcourse.shipping.preprocessing import CONFIG, config_of, generated_photos, write_beside
from ftcourse.shipping.use_model import pixels_of, probabilities_of
from ftcourse.training.checkpoints import load_model, save_model, write_atomic
from ftcourse.training.records import read_record

__all__ = ["FORMATS", "Exported", "export", "need_onnx"]

FORMATS = ("safetensors", "onnx")
TOLERANCE = 1e-3  # of a logit
LEVELS = 3  # of 255: two programs that follow the same steps differ by rounding, by up to 2
REAL = 8  # photos to check with, where they are still there


@dataclass(frozen=True)
class Exported:
    """The file, and the largest difference of any logit from PyTorch's.

    `from_files`: the largest difference of any probability from `ftcourse predict`'s, when Pillow and NumPy alone
    read the photos (`use_model.py`).
    """

    path: Path
    difference: float
    checked_on: str
    from_files: float

    def __str__(self) -> str:
        return (
            f"{self.path}: largest difference from PyTorch {self.difference:.1e} ({self.checked_on}); of a "
            f"probability, with photos read by {CONFIG} alone, {self.from_files:.1e}"
        )


def export(run: str | os.PathLike, format: str, out: str | os.PathLike | None = None) -> Exported:
    """Write a run's model in another format, and compare its answers with PyTorch's.

    Args:
        run: a run's folder, or a `model.safetensors`.
        format: "safetensors" or "onnx".
        out: the file; by default `model.onnx` or `export.safetensors` beside the model.

    Raises:
        ValueError: no such format, or logits that differ by more than 1e-3, or photos that come out otherwise when
            they are read as `preprocessor_config.json` says; nothing is written then.
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
        files = _some_files(folder)
        inputs, checked_on = _inputs(classifier, files)
        difference = _compare(classifier, answer, inputs)
        if not difference <= TOLERANCE:  # also true for nan
            raise ValueError(
                f"{path}: the export's logits differ from PyTorch's by up to {difference:.1e}, more than "
                f"{TOLERANCE:g}, so it was not kept; another version of torch or onnxruntime may do better"
            )
        config = config_of(classifier.meta)
        from_files = _compare_files(classifier, answer, config, files)
        write_beside(path, config, folder, example=format == "onnx")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return Exported(path, difference, checked_on, from_files)


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
    meta["preprocessor_config"] = config_of(classifier.meta)
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
    config = config_of(classifier.meta)
    known = {
        "architecture": classifier.meta.get("architecture"),
        "grey_bits": classifier.grey_bits,
    }
    return {
        "format": "ftcourse-1",
        "classes": classifier.classes,
        "size": classifier.size,
        "resize_size": config["size"]["shortest_edge"],
        "working_size": classifier.side,
        "mean": config["image_mean"],
        "std": config["image_std"],
        "temperature": classifier.temperature,
        **{name: value for name, value in known.items() if value},
        "preprocess": config["ftcourse"]["steps"],
        "preprocessor_config": config,
    }


def _inputs(classifier: Classifier, files: Sequence[Path]) -> tuple[list[Tensor], str]:
    """Batches of 1 and 3 random inputs, and one of the photos, if there are any."""
    generator = torch.Generator().manual_seed(0)
    side = classifier.size
    batches = [torch.randn(n, 3, side, side, generator=generator) for n in (1, 3)]
    photos = _photos(classifier, files)
    if photos:
        batches.append(torch.stack(photos))
    told = f"{len(photos)} photos and 4 random inputs" if photos else "4 random inputs"
    return batches, f"on {told}"


def _some_files(folder: Path) -> list[Path]:
    """Photos of a run's training, if they are still there."""
    try:
        source = source_of(folder)
    except (OSError, ValueError):  # a damaged report: the export needs none
        return []
    if source is None or not Path(source).is_dir():
        return []
    files = find_photos([source])
    return files[:: max(1, len(files) // REAL)][:REAL]


def _photos(classifier: Classifier, files: Sequence[Path]) -> list[Tensor]:
    found: list[Tensor] = []
    for file in files:
        with contextlib.suppress(ValueError, OSError):  # broken photos are not the export's affair
            found.append(classifier.input_of(file))
    return found


@torch.inference_mode()
def _compare(classifier: Classifier, answer: Answer, batches: list[Tensor]) -> float:
    differences = [np.abs(answer(x) - classifier.model(x).numpy()).max() for x in batches]
    return float(np.max(differences))  # nan if there is one


@torch.inference_mode()
def _compare_files(
    classifier: Classifier, answer: Answer, config: Any, files: Sequence[Path]
) -> float:
    """The largest difference of a probability when the photos are read by Pillow and NumPy alone.

    Raises:
        ValueError: a photo comes out otherwise, by more than rounding.
    """
    largest = 0.0
    with tempfile.TemporaryDirectory() as drawn:
        always = generated_photos(Path(drawn))
        for file in [*always, *files]:
            try:
                ours, theirs = classifier.input_of(file), pixels_of(str(file), config)
            except Exception:  # a broken photo, or one that Pillow alone does not read
                if file in always:
                    raise
                continue
            expected = (classifier.model(ours[None]) / classifier.temperature).softmax(1).numpy()
            logits = answer(torch.from_numpy(theirs)[None])
            found = probabilities_of(logits, classifier.temperature)
            difference = float(np.abs(found - expected).max())
            by_channel = np.abs(theirs - ours.numpy()).max((1, 2)) * np.array(config["image_std"])
            if not 255 * by_channel.max() <= LEVELS:
                raise ValueError(
                    f"{file.name}: read as {CONFIG} says, a probability differs by {difference:.2f} from what "
                    f"`ftcourse predict` says, so the export was not kept; please report it with that photo"
                )
            largest = max(largest, difference)
    return largest
