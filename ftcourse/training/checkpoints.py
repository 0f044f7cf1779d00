"""Save, resume, export: atomic to write, safe to load."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ftcourse.models.rebuilding import network_in, told_apart
from ftcourse.models.states import (
    AUXILIARY,
    load_state,
    open_safetensors,
    plain_names,
    read_torch_file,
    regular_file,
)
from ftcourse.training.records import HISTORY, Each, Number, check_header, fault, parse

__all__ = [
    "blaming", "check_network", "load_checkpoint", "load_model", "read_header", "remove_leftovers",
    "save_checkpoint", "save_model", "write_atomic",
]  # fmt: skip

FORMAT = "ftcourse-1"

# What `Run.save` writes; an optimizer's and a scheduler's own state are judged by those who load it.
CHECKPOINT = {
    "model": dict,
    "best": (dict, None),
    "stage": Number(0, 1e6, whole=True),
    "epoch": Number(0, 1e9, whole=True),
    "history": HISTORY,
    "optimizer": {"state": dict, "param_groups": Each(dict)},
    "scheduler": dict,
    "average": (dict, None),
}


def write_atomic(path: str | Path, content: bytes | Callable[[IO[bytes]], Any]) -> Path:
    """Write to a temporary file beside `path`, then rename: `path` is the old file or the new, never half.

    `content` is bytes, or a function that writes to the open file. Returns the path.

    Raises:
        OSError: the disk is full, or the folder cannot be written to; the error names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file, _first_failure(file, path) as watched:
            content(watched) if callable(content) else watched.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


class _Watched:
    """A file that remembers what the system said first: torch answers a full disk with words of its own."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.failure = file, None

    def write(self, data: Any) -> int:
        try:
            return self.file.write(data)
        except OSError as err:
            self.failure = self.failure or err  # type: ignore[assignment]
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def _first_failure(file: IO[bytes], path: Path) -> Iterator[Any]:
    watched = _Watched(file)
    try:
        yield watched
    except Exception as err:
        failure = watched.failure or (err if isinstance(err, OSError) else None)
        if failure is None or failure.errno is None:
            raise
        raise OSError(failure.errno, os.strerror(failure.errno), str(path)) from err


def remove_leftovers(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Remove what writes of these files left behind in a folder when their process was killed.

    Only for a folder that no other process is writing to.
    """
    left = [part for name in names for part in folder.glob(f".{name}.*.part")]
    for part in left:
        part.unlink(missing_ok=True)
    return left


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> Path:
    """Write what a run needs to go on: tensors, numbers, strings, and lists and dicts of them."""
    return write_atomic(path, lambda file: torch.save(state, file))


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, without unpickling objects.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged or was not written by `Run.save`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no checkpoint to resume from")
    try:
        _check_bits(path)
        state = read_torch_file(path)
    except ValueError as err:
        raise _no_checkpoint(path, str(err).removeprefix(f"{path}: ")) from err
    if wrong := fault(state, CHECKPOINT) or _position(state):
        raise _no_checkpoint(path, wrong)
    return state


def _no_checkpoint(path: str | Path, reason: str) -> ValueError:
    return ValueError(
        f"{path}: not a checkpoint of this package ({reason}); train again without resume"
    )


def _check_bits(path: Path) -> None:
    """torch writes a checksum of each tensor and never looks at it."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError(f"{path}: no file of torch.save")
    try:
        with zipfile.ZipFile(path) as packed:
            bad = packed.testzip()
    except Exception as err:  # BadZipFile, zlib.error, NotImplementedError, EOFError, ...
        raise ValueError(f"{path}: damaged: {str(err)[:120]}") from err
    if bad is not None:
        raise ValueError(f"{path}: damaged: the checksum of {bad[:60]} is another")


def _position(state: dict[str, Any]) -> str | None:
    """A run is at an epoch of one of its stages, or behind the last."""
    stages, stage, epoch = state["history"]["stages"], state["stage"], state["epoch"]
    if stage > len(stages) or epoch > (stages[stage]["epochs"] if stage < len(stages) else 0):
        return f"stage {stage}, epoch {epoch} lies behind its {len(stages)} stages"
    return None


def check_network(path: str | Path, state: dict[str, Any], like: Mapping[str, Tensor]) -> None:
    """Whether the weights of a checkpoint are those of the network that goes on, whose state is `like`.

    Raises:
        ValueError: other names, other shapes, or no tensors.
    """
    for part in ("model", "best"):
        tensors = state[part]
        if tensors is None:
            continue
        if not all(isinstance(v, Tensor) for v in tensors.values()):
            raise _no_checkpoint(path, f"{part} has something else than tensors")
        shapes = {k: v.shape for k, v in tensors.items()}
        other = [k for k, v in like.items() if shapes.get(k) != v.shape]
        if other or len(shapes) != len(like):
            name = (other or ["more tensors"])[0]
            raise _no_checkpoint(path, f"{part} has the weights of another network, {name} for one")


@contextmanager
def blaming(path: str | Path, what: str) -> Iterator[None]:
    """What goes wrong inside is the file's fault: a ValueError that names it."""
    try:
        yield
    except (
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        ValueError,
    ) as err:
        reason = " ".join(str(err).split())[:160]
        raise ValueError(f"{path}: {what} ({type(err).__name__}: {reason})") from err


def save_model(
    model: nn.Module, path: str | Path, *, architecture: str, classes: list[str], **meta: Any
) -> Path:
    """Write the weights as `.safetensors`, with what is needed to use them in its header.

    The file loads anywhere, with torchvision and safetensors alone::

        model = torchvision.models.resnet18(num_classes=2)
        model.load_state_dict(safetensors.torch.load_file("model.safetensors"))

    The names of the tensors are those of the network itself, also where `torch.compile` or DataParallel hold it.
    `meta` must be JSON: the package keeps `mean`, `std`, `crop_size`, `resize_size` and `weights` there.
    googlenet and inception_v3 are built with `aux_logits=False, init_weights=False` and the header's
    `transform_input`, a vision transformer for larger images with `image_size`; for MNASNet `load_state_dict`
    wants the `_metadata` of a `state_dict()`. "timm/NAME" is built by `timm.create_model(NAME, num_classes=...)`,
    "efficientnet_lite0" as its "tf_efficientnet_lite0".

    Raises:
        ValueError: a header that `load_model` would refuse, or a network that it would give back otherwise: other
            shapes, layers, or settings of layers than those of that architecture. Nothing is written.
    """
    state = model.state_dict()
    header = {"format": FORMAT, "architecture": architecture, "classes": list(classes), **meta}
    text = json.dumps(header)
    if wrong := check_header(json.loads(text)):
        raise ValueError(f"{path}: not written, no model could be loaded from it: {wrong}")
    names = plain_names(state, architecture)
    if architecture in AUXILIARY:
        again = getattr(network_in(model, architecture), "transform_input", False)
        text = json.dumps(header | {"transform_input": again})
    if wrong := told_apart(model, architecture, len(classes)):
        raise ValueError(
            f"{path}: not written, load_model would give back another network: {wrong}; build it in your own "
            f"code, and save its state_dict()"
        )
    tensors = {mine: state[n].detach().cpu().contiguous() for mine, n in names.items()}
    # the header's values are strings by the format; one JSON string keeps our types
    return write_atomic(path, save(tensors, metadata={"ftcourse": text}))


def read_header(path: str | Path) -> dict[str, Any] | None:
    """What a `.safetensors` file of this package says of itself; None where another program wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its header is not what `save_model` writes.
    """
    path = Path(path)
    regular_file(path, "model file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("ftcourse")
    except (SafetensorError, OSError, ValueError, RuntimeError) as err:
        raise ValueError(f"{path}: not a readable safetensors file ({err})") from err
    if text is None:
        return None
    header = parse(text, f"{path}: its header is")
    if wrong := check_header(header):
        raise ValueError(f"{path}: its header is damaged, or not of this package: {wrong}")
    return header


def load_model(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model in eval mode on the CPU, and the header that `save_model` wrote.

    The file may be a stranger's: only torchvision's classifiers and timm's networks are built, never with weights
    from a network, and only after the names and shapes of all tensors are the network's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or has no such header; the message names it.
        ImportError: it is a network of timm, which is not installed.
    """
    path = Path(path)
    header = read_header(path)
    if header is None:
        raise ValueError(
            f"{path}: has no ftcourse header; load it with weights={str(path)!r} instead"
        )
    found = open_safetensors(path)
    return load_state(header["architecture"], found, len(header["classes"]), path).eval(), header
