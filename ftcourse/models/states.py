"""Weights files from anywhere: read without running code, and judged before memory is taken.

What a file claims is compared first: its size with its tensors, and their names and shapes with the network's,
which is built for that on torch's meta device, where tensors have shapes and no memory.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from ftcourse.models.timm_networks import build_timm, is_timm_network

__all__ = [
    "AUXILIARY", "State", "Stored", "build", "builder_options", "check_input", "known_architecture", "load_state",
    "misfit", "open_safetensors", "open_state", "plain_names", "read_torch_file", "regular_file", "stored",
    "unknown",
]  # fmt: skip

State = dict[str, Tensor]
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
WRAPPINGS = ("state_dict", "model", "model_state_dict")  # where training programs put the tensors
# Branches for training with a second loss; without them these networks are like any other.
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
# Names that tensors had in earlier versions of torchvision; its weights files have them still.
EARLIER = (
    (re.compile(r"(\.denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"(\.mlp)\.linear_1\."), r"\1.0."),
    (re.compile(r"(\.mlp)\.linear_2\."), r"\1.3."),
)


@dataclass
class Stored:
    """The tensors of a file: `shapes` on the meta device, without memory; `read` gives them with it.

    `header` is what `save_model` wrote beside them; empty for files of other programs.
    """

    shapes: State
    read: Callable[[], State]
    header: dict[str, Any] = field(default_factory=dict)


# -- networks ----------------------------------------------------------------------------------


def known_architecture(name: Any) -> bool:
    """Whether it names one of torchvision's classifiers or of timm's networks; only those are built by name."""
    return (isinstance(name, str) and name in models.list_models(module=models)) or is_timm_network(
        name
    )


def build(
    name: str, num_classes: int | None = None, *, sketch: bool = False, **options: Any
) -> nn.Module:
    """One of torchvision's classifiers, or of timm's ("timm/NAME"), with random weights; nothing is downloaded.

    googlenet and inception_v3 are built without their auxiliary outputs. `sketch`: the parameters are on the meta
    device, take no memory and use up no random number. `options`: of torchvision's builder.

    Raises:
        ValueError: no such name.
        ImportError: it is one of timm's, which is not installed.
    """
    if not known_architecture(name):
        raise unknown(name)
    more: dict[str, Any] = options | ({} if num_classes is None else {"num_classes": num_classes})
    if name in AUXILIARY:
        more |= {"aux_logits": False, "init_weights": False}
    make = build_timm if is_timm_network(name) else partial(models.get_model, weights=None)
    if not sketch:
        return make(name, **more)
    with torch.random.fork_rng(devices=[]), _OnMeta():
        return make(name, **more).to("meta")


def unknown(name: Any) -> ValueError:
    return ValueError(
        f"{name!r} is not a torchvision model; try 'resnet18', 'resnet50', 'efficientnet_lite0' (extra imagenet), "
        f"or 'timm/NAME' (extra timm)"
    )


class _OnMeta(TorchFunctionMode):
    """New tensors are on the meta device, but for those made of values: a RegNet computes its widths with some."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn):
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def builder_options(name: str, found: Stored) -> dict[str, Any]:
    """What torchvision's builder must be told beside the classes, so that the network is that of a file.

    googlenet and inception_v3: `transform_input`, whether they normalise their input once more, as the header
    says. A vision transformer: `image_size`, the side in pixels that its positions are for.
    """
    if name in AUXILIARY:
        return {"transform_input": bool(found.header.get("transform_input", False))}
    places = found.shapes.get("encoder.pos_embedding")
    if name.startswith("vit_") and places is not None and places.ndim == 3:
        side, patch = math.isqrt(max(0, places.shape[1] - 1)), int(name.rsplit("_", 1)[1])
        return {"image_size": side * patch} if side else {}
    return {}


@lru_cache
def check_input(name: str, size: int, image_size: int | None = None) -> None:
    """Whether a network takes images of size x size pixels; tried on the meta device, without memory.

    Args:
        image_size: the side that a vision transformer was built for, its attribute `image_size`.

    Raises:
        ValueError: it does not; the message has its reason.
    """
    options = {} if image_size is None else {"image_size": image_size}
    sketch = build(name, sketch=True, **options).eval()
    try:
        with torch.inference_mode():
            sketch(torch.empty(1, 3, size, size, device="meta"))
    except (
        Exception
    ) as err:  # AssertionError of a vision transformer, RuntimeError of a convolution, ...
        raise ValueError(
            f"{name} cannot take images of {size}x{size} pixels ({_first_line(err)}); "
            f"choose another size"
        ) from err


@lru_cache
def _names(name: str) -> tuple[str, ...]:
    return tuple(build(name, sketch=True).state_dict())


# -- files -------------------------------------------------------------------------------------


def regular_file(path: Path, what: str) -> None:
    """Refuse what would be read for ever or not at all: a folder, a pipe, a device.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: there is something else than a file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such {what}")
    if not path.is_file():
        raise ValueError(f"{path}: is no file, so no {what}")


def open_state(path: Path) -> Stored:
    """The tensors of a `.safetensors`, `.pth`, `.pt` or `.ckpt` file; no object is ever unpickled.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged, holds anything but named tensors, or claims more than it has.
    """
    regular_file(path, "weights file")
    if path.suffix == ".safetensors":
        return open_safetensors(path)
    state = read_torch_file(path)
    for key in WRAPPINGS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise ValueError(f"{path}: expected a state dict (names to tensors)")
    _check_memory(path, state)
    return stored(state)


def stored(state: Mapping[str, Tensor]) -> Stored:
    """Tensors that are in memory already."""
    shapes = {k: torch.empty(v.shape, dtype=v.dtype, device="meta") for k, v in state.items()}
    return Stored(shapes, lambda: dict(state))


def open_safetensors(path: Path) -> Stored:
    """The tensors of a `.safetensors` file, whatever its name.

    Its header is checked by the library: the tensors cover the file, each byte once.

    Raises:
        ValueError: the file is damaged.
    """

    def read() -> State:
        with _opened(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    shapes = {}
    with _opened(path) as file:
        header = _header(path, (file.metadata() or {}).get("ftcourse", "{}"))
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            # of types only the kind matters here: F8_E4M3, BF16, ... are floating, I8, U64, BOOL are not
            dtype = torch.float32 if "F" in part.get_dtype() else torch.int64
            shapes[name] = torch.empty(part.get_shape(), dtype=dtype, device="meta")
    return Stored(shapes, read, header)


def _header(path: Path, text: str) -> dict[str, Any]:
    """Read as far as it is needed here; `read_header` of `ftcourse.training.checkpoints` judges all of it."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{path}: its header is damaged ({_first_line(err)})") from err
    if not isinstance(header, dict):
        raise ValueError(f"{path}: its header is damaged (no object)")
    return header


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as err:
        raise ValueError(f"{path}: not a readable weights file ({_first_line(err)})") from err


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU, of tensors and plain Python values alone.

    Raises:
        ValueError: the file is damaged, would unpack to more than it is, or holds other objects.
    """
    zipped = _check_zip(path)
    try:
        # mapped, not read: a page takes memory when somebody looks at it
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (RuntimeError, EOFError, ValueError, OSError, MemoryError) as err:
        raise ValueError(f"{path}: not a readable weights file ({_first_line(err)})") from err
    except Exception as err:  # pickle.UnpicklingError, and whatever a malformed pickle raises
        raise ValueError(
            f"{path}: holds more than tensors, so loading it could run code ({_first_line(err)}); "
            f"ask for a .safetensors file, or for torch.save(model.state_dict())"
        ) from err


def _check_zip(path: Path) -> bool:
    """Whether the file is a zip, as torch writes since 1.6; never packed, so never larger than it looks."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return False
        with zipfile.ZipFile(path) as packed:
            entries = packed.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        raise ValueError(f"{path}: not a readable weights file ({_first_line(err)})") from err
    total = sum(entry.file_size for entry in entries)
    if any(entry.compress_type for entry in entries) or total > path.stat().st_size:
        raise ValueError(f"{path}: unpacks to more than it is, as no file of torch does; not read")
    return True


def _check_memory(path: Path, state: Mapping[str, Tensor]) -> None:
    """A tensor with a stride of 0, a sparse one, or one without its bytes is larger than the file."""
    room, storages = path.stat().st_size, {}
    for name, tensor in state.items():
        dense = tensor.layout == torch.strided and not tensor.is_quantized
        if not dense or tensor.device.type != "cpu" or tensor.is_complex():
            kind = str(tensor.layout if not dense else tensor.dtype).removeprefix("torch.")
            raise ValueError(f"{path}: {name} is no plain tensor of real numbers ({kind})")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if (
            tensor.numel() * tensor.element_size() > storage.nbytes()
            or sum(storages.values()) > room
        ):
            raise ValueError(
                f"{path}: {name} claims to have {tuple(tensor.shape)} numbers, more than there are "
                f"in the file"
            )


# -- a file and a network ----------------------------------------------------------------------


def plain_names(names: Iterable[str], architecture: str) -> dict[str, str]:
    """The network's names of tensors -> the names that a file has for them.

    `torch.compile` puts `_orig_mod.` into names, DataParallel `module.` before them, Lightning `model.`, and
    a module that holds the network whatever it calls it. All are seen through where the whole network is behind
    one prefix.

    Raises:
        ValueError: the file has the network twice, under two prefixes.
    """
    names, wanted = list(names), _names(architecture)
    plain = {_today(name): name for name in names}
    prefixes = {n.removesuffix(wanted[0]) for n in plain if n.endswith(wanted[0])}
    whole = [p for p in sorted(prefixes) if _holds(plain, p, wanted)]
    if "" in whole or not whole:
        return {n: plain[n] for n in plain if not _auxiliary(n, architecture)}
    if len(whole) > 1:
        raise ValueError(
            f"has the network under {' and '.join(map(repr, whole))}; keep one of them"
        )
    return {n: plain[whole[0] + n] for n in wanted if whole[0] + n in plain}


def _today(name: str) -> str:
    name = name.replace("_orig_mod.", "")
    for pattern, new in EARLIER:
        name = pattern.sub(new, name)
    return name


def _holds(plain: Mapping[str, str], prefix: str, wanted: Iterable[str]) -> bool:
    # files of torch before 0.4.1 have no num_batches_tracked
    needed = (n for n in wanted if not n.endswith("num_batches_tracked"))
    return (not prefix or prefix.endswith(".")) and all(prefix + n in plain for n in needed)


def _auxiliary(name: str, architecture: str) -> bool:
    return name.startswith(AUXILIARY.get(architecture, ("\0",)))


def load_state(architecture: str, found: Stored, num_classes: int | None, source: Any) -> nn.Module:
    """A network with the weights of a file; nothing is built, and no tensor read, before names and shapes fit.

    Args:
        num_classes: outputs of the network; None takes them from the file.
        source: what messages call the file.

    Raises:
        ValueError: the weights are not this network's, or not all of them are numbers.
    """
    try:
        names = plain_names(found.shapes, architecture)
    except ValueError as err:
        raise ValueError(f"{source}: {err}") from err
    shapes = {mine: found.shapes[theirs] for mine, theirs in names.items()}
    if num_classes is None:
        num_classes = _outputs(shapes, architecture)
    options = builder_options(architecture, Stored(shapes, found.read, found.header))
    sketch = build(architecture, num_classes, sketch=True, **options)
    if reason := misfit(sketch.state_dict(), shapes):
        raise ValueError(
            f"{source}: these weights do not fit this {type(sketch).__name__}: {reason}"
        )
    state = found.read()
    model = build(architecture, num_classes, **options)
    _fill(model, {mine: _number(source, mine, state[theirs]) for mine, theirs in names.items()})
    return model


def _fill(model: nn.Module, state: State) -> None:
    """`load_state_dict` for tensors without the versions that `state_dict` notes: MNASNet asks for its own.

    Names and shapes are today's network's, so the version is today's; only counts of batches may be missing.
    """
    own: Any = model.state_dict()
    versioned: Any = OrderedDict(own | state)
    versioned._metadata = own._metadata
    model.load_state_dict(versioned)


def _outputs(shapes: State, architecture: str) -> int | None:
    """The rows of the last matrix, or of SqueezeNet's last convolution, as far as the file has it."""
    names = [n for n in _names(architecture) if n.endswith(".weight") and n in shapes]
    matrices = [shapes[n] for n in names if shapes[n].ndim == 2]
    head = matrices or [shapes[n] for n in names if n.startswith("classifier.")]
    return len(head[-1]) if head else None


def misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Why the tensors are not the network's, in a line; "" where they are."""
    missing = [n for n in wanted if n not in found and not n.endswith("num_batches_tracked")]
    foreign = [n for n in found if n not in wanted]
    other = [
        f"{n} is {_shape(found[n])}, not {_shape(wanted[n])}"
        for n in wanted
        if n in found and found[n].shape != wanted[n].shape
    ]
    other += [
        f"{n} has whole numbers"
        for n in wanted
        if n in found and wanted[n].is_floating_point() and not found[n].is_floating_point()
    ]
    parts = [("it lacks ", missing), ("it has also ", foreign), ("", other)]
    return "; ".join(start + _some(names) for start, names in parts if names)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(" ".join(n[:100].split()) for n in names[:2]) + more


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _number(source: Any, name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    # the sum is quick, and finite if all are; where it is not, it may be too large only
    if not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
        raise ValueError(f"{source}: {name} has values that are no numbers (nan or infinite)")
    return tensor


def _first_line(err: BaseException) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0][:120]
