"""A finished run from wherever it is: a folder, a model's file, an ONNX file, a hub of models."""

from __future__ import annotations

import os
from pathlib import Path

from ftcourse.shipping import inference
from ftcourse.shipping.hub import download_run
from ftcourse.shipping.inference import Classifier
from ftcourse.shipping.onnx_run import load_onnx

__all__ = ["load_run"]

HUB = "hub:"


def load_run(run: str | os.PathLike) -> Classifier:
    """What a run has learnt, ready for photos: `ft.load_run("runs/mine").predict("photo.jpg")`.

    Args:
        run: a run's folder, a `model.safetensors` that was copied out of it, a `model.onnx` that was exported from
            it, or "hub:owner/name@revision", which is downloaded once.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged, or is no classifier of this package.
        ImportError: a package that is needed for it is not installed; the message says which.
        ConnectionError: the hub did not give it.
    """
    name = os.fspath(run)
    if name.startswith(HUB):
        return inference.load_run(download_run(name))
    return load_onnx(name) if Path(name).suffix == ".onnx" else inference.load_run(name)
