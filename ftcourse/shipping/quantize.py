"""Eight bits instead of 32 a weight: static quantisation by onnxruntime, with its cost measured.

Weights and activations become int8. The range of each activation is found on photos of the training split
(calibration); what it costs is measured on the validation split, against PyTorch in float32.
Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ftcourse.data.splits import Split
from ftcourse.shipping.export import export, folder_of, need_onnx, source_of, target
from ftcourse.shipping.inference import class_index, labelled, load_run
from ftcourse.shipping.preprocessing import config_of, write_beside
from ftcourse.training.loop import predict

__all__ = ["Quantized", "quantize", "quantize_file"]

CALIBRATION = 64  # photos to find the ranges of activations with
BATCH = 8


@dataclass(frozen=True)
class Quantized:
    """The file and what the eight bits cost.

    `agreement`: share of the validation photos that get the same class as from PyTorch; `accuracy` and
    `accuracy_before`: on the validation photos, with eight bits and in float32.
    """

    path: Path
    megabytes: float
    agreement: float
    accuracy: float
    accuracy_before: float
    photos: int

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.megabytes:.1f} MB; on {self.photos} validation photos accuracy "
            f"{self.accuracy:.1%} (float32: {self.accuracy_before:.1%}), {self.agreement:.1%} get the same class"
        )


def quantize(
    run: str | os.PathLike,
    out: str | os.PathLike | None = None,
    source: str | os.PathLike | None = None,
) -> Quantized:
    """Write a run's model as ONNX with eight-bit weights and activations, `model-int8.onnx` by default.

    Args:
        run: the folder of a run, or a `model.safetensors` in one.
        out: the file to write, or a folder for it; folders are made.
        source: the photos, by default those that the run was trained on; split as in training.

    Raises:
        ImportError: onnxruntime or onnx is not installed.
        FileNotFoundError: there is no trained model, or its photos are no longer there.
        ValueError: the photos have a class that the run does not know, or the report is damaged.
    """
    need_onnx()
    classifier = load_run(run)
    classifier.model.cpu()
    path = target(run, out, "model-int8.onnx")
    source = source or _source(folder_of(run))
    train, val = (labelled(classifier, source, split, "skip") for split in ("train", "val"))
    index = class_index(classifier, val.classes, source)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    images = torch.stack([train[int(i)][0] for i in order[:CALIBRATION]])
    with tempfile.TemporaryDirectory() as folder:
        float32 = export(run, "onnx", Path(folder) / "model.onnx").path
        quantize_file(float32, images, path)
    write_beside(path, config_of(classifier.meta), folder_of(run))
    logits, targets = predict(classifier.model, val)
    answers = _answers(path, val)
    before, truth = logits.argmax(1).numpy(), index[targets].numpy()
    return Quantized(
        path,
        path.stat().st_size / 1e6,
        float((answers == before).mean()),
        float((answers == truth).mean()),
        float((before == truth).mean()),
        len(val),
    )


def quantize_file(source: str | os.PathLike, images: Tensor, out: str | os.PathLike) -> Path:
    """Quantise an ONNX file with one input, `images`; its metadata go along.

    Args:
        source: the float32 file.
        images: float32 (N, 3, size, size), normalised photos to find the ranges of activations with.
        out: the file to write; it takes its name only when it is complete.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(images.split(BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.numpy()}

    out, level = Path(out), logging.root.manager.disable
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        ready, part = Path(folder) / "ready.onnx", Path(folder) / "int8.onnx"
        logging.disable(logging.WARNING)  # it asks for a step that has just been made
        try:
            quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(ready),
                str(part),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
            )
        finally:
            logging.disable(level)
        model, before = onnx.load(str(part)), onnx.load(str(source), load_external_data=False)
        del model.metadata_props[:]
        model.metadata_props.extend(before.metadata_props)
        onnx.save(model, str(part))
        os.replace(part, out)
    return out


def _answers(path: Path, photos: Split) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = []
    for start in range(0, len(photos), BATCH):
        some = range(start, min(start + BATCH, len(photos)))
        images = torch.stack([photos[i][0] for i in some])
        found.append(session.run(None, {"images": images.numpy()})[0])
    return np.concatenate(found).argmax(1)


def _source(folder: Path) -> str:
    """The photos that a run was trained on."""
    source = source_of(folder)
    if source is None:
        raise FileNotFoundError(
            f"{folder / 'report.json'}: not there, so the photos to calibrate with are unknown; "
            f"give their folder (source=)"
        )
    return source
