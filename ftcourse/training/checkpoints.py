"""Save, resume, export: atomic to write, safe to load."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn
from torchvision import models

__all__ = ["load_checkpoint", "load_model", "save_checkpoint", "save_model", "write_atomic"]

FORMAT = "ftcourse-1"


def write_atomic(path: str | Path, content: bytes | Callable[[IO[bytes]], Any]) -> Path:
    """Write to a temporary file beside `path`, then rename: `path` is the old file or the new, never half.

    `content` is bytes, or a function that writes to the open file. Returns the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            content(file) if callable(content) else file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> Path:
    """Write what a run needs to go on: tensors, numbers, strings, and lists and dicts of them."""
    return write_atomic(path, lambda file: torch.save(state, file))


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without unpickling objects.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged or was not written by `save_checkpoint`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no checkpoint to resume from")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as err:
        reason = (str(err).splitlines() or [type(err).__name__])[0][:120]
        raise ValueError(
            f"{path}: not a checkpoint of this package ({reason}); train again without resume"
        ) from err


def save_model(
    model: nn.Module, path: str | Path, *, architecture: str, classes: list[str], **meta: Any
) -> Path:
    """Write the weights as `.safetensors`, with what is needed to use them in its header.

    The file loads anywhere, with torchvision and safetensors alone::

        model = torchvision.models.resnet18(num_classes=2)
        model.load_state_dict(safetensors.torch.load_file("model.safetensors"))

    `meta` must be JSON: the package keeps `mean`, `std`, `crop_size`, `resize_size` and `weights` there.
    """
    header = {"format": FORMAT, "architecture": architecture, "classes": classes, **meta}
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    # the header's values are strings by the format; one JSON string keeps our types
    return write_atomic(path, save(tensors, metadata={"ftcourse": json.dumps(header)}))


def load_model(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model in eval mode on the CPU, and the header that `save_model` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or has no such header.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("ftcourse")
        state = load_file(path)
    except (SafetensorError, OSError) as err:
        raise ValueError(f"{path}: not a readable safetensors file ({err})") from err
    if text is None:
        raise ValueError(
            f"{path}: has no ftcourse header; load it with weights={str(path)!r} instead"
        )
    meta = json.loads(text)
    model = models.get_model(meta["architecture"], weights=None, num_classes=len(meta["classes"]))
    model.load_state_dict(state)
    return model.eval(), meta
