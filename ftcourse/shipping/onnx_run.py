"""An exported ONNX file as a classifier: photos are read as for the run, onnxruntime computes."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from ftcourse.shipping.inference import Classifier, reading_of

__all__ = ["load_onnx"]


class Network(nn.Module):
    """Logits float32 (N, classes) of images float32 (N, 3, size, size), by onnxruntime."""

    def __init__(self, session: object) -> None:
        super().__init__()
        self.session = session

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.session.run(None, {"images": images.numpy()})[0])  # type: ignore[attr-defined]


def load_onnx(path: str | os.PathLike) -> Classifier:
    """The classifier in a file that `ftcourse export` wrote, in float32 or in eight bits.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: onnxruntime is not installed.
        ValueError: the file is damaged, or another program's.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    if importlib.util.find_spec("onnxruntime") is None:
        raise ImportError(
            f'{file}: needs onnxruntime (pip install "ftcourse[onnx]"); or give the folder of the run'
        )
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(
            file.read_bytes(), providers=["CPUExecutionProvider"]
        )
    except Exception as err:  # of its own kinds, which are no subclasses of anything usual
        raise ValueError(f"{file}: not a readable ONNX file ({str(err)[:120]})") from err
    found = session.get_modelmeta().custom_metadata_map
    if found.get("format") != "ftcourse-1":
        raise ValueError(
            f"{file}: was not written by `ftcourse export`, so its classes are not known"
        )
    plain = ("format", "architecture")  # texts; all else is JSON
    meta = {k: v if k in plain else json.loads(v) for k, v in found.items()}
    meta["crop_size"] = meta["size"]
    transform, side = reading_of(meta)
    return Classifier(Network(session), meta["classes"], transform, meta["size"], side, meta)
