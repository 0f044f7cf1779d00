"""Load a pre-trained network; its layer groups and its head are in `ftcourse.models.groups`.

The model stays a plain `torchvision` module. `load_backbone` only remembers beside it where its
weights came from (`origin_of`), so that `freeze_report` can say what has moved since.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum

from ftcourse.models.groups import head_of, layer_groups, replace_head
from ftcourse.models.pocket import FILE as POCKET
from ftcourse.models.pocket import ResNet18_Pocket_Weights

__all__ = ["head_of", "layer_groups", "load_backbone", "origin_of", "replace_head", "weights_of"]


State = dict[str, Tensor]


@dataclass
class Origin:
    """Where a model's weights came from; `state` is what it was loaded with, or a function that reads it."""

    architecture: str
    weights: WeightsEnum | str | None
    state: State | Callable[[], State] = field(repr=False)

    @property
    def reference(self) -> State:
        """The tensors the model was loaded with, by name; often read from their file, so ask once."""
        return self.state() if callable(self.state) else self.state

    def inside(self, prefix: str) -> Origin:
        """The same for a model that holds the network under a name: `prefix` is "backbone." """
        return Origin(self.architecture, self.weights, partial(_renamed, self, prefix))

    def __deepcopy__(self, memo: dict) -> Origin:
        return self  # the past does not change: copies of a model share it


def _renamed(origin: Origin, prefix: str) -> State:
    return {prefix + name: value for name, value in origin.reference.items()}


def load_backbone(
    name: str = "resnet18",
    weights: str | Path | WeightsEnum | None = "pocket",
    num_classes: int | None = None,
) -> nn.Module:
    """A torchvision model with pre-trained weights, in eval mode.

    Args:
        name: a name that `torchvision.models.get_model` knows: "resnet18", "resnet50", ...
        weights: "pocket" (inside this package, resnet18 only); "DEFAULT" or another name of
            torchvision's weights, downloaded once and checked by sha256; a `WeightsEnum` member; a
            path to a `.safetensors` or `.pth` file; None for random weights.
        num_classes: replace the head by a new one with so many outputs.

    Raises:
        ValueError: an unknown name, or a file that does not fit the network.
        FileNotFoundError: there is no such file.
        ConnectionError: the weights are not in the cache and cannot be downloaded.

    Source: https://docs.pytorch.org/vision/stable/models.html
    """
    if name not in models.list_models(module=models):
        raise ValueError(f"{name!r} is not a torchvision model; try 'resnet18' or 'resnet50'")
    state, chosen, file = _resolve(name, weights)
    head = [v for k, v in (state or {}).items() if k.endswith(".weight") and v.ndim == 2]
    outputs = {"num_classes": len(head[-1])} if head else {}
    model = models.get_model(name, weights=None, **outputs)
    if hasattr(model, "transform_input") and isinstance(chosen, WeightsEnum):
        model.transform_input = (
            True  # GoogLeNet and Inception v3: torchvision's builder sets it with its weights
        )
    if state is not None:
        _load_state(model, state, chosen)
    if file is not None:  # it is there to be read again: memory is dearer
        kept: State | Callable[[], State] = partial(_read_again, file, _stamp(file))
    else:
        kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.ftcourse_origin = Origin(name, chosen, kept)
    if num_classes is not None:
        replace_head(model, num_classes)
    return model.eval()


def _resolve(
    name: str, weights: str | Path | WeightsEnum | None
) -> tuple[State | None, WeightsEnum | str | None, Path | None]:
    """The state dict, the weights object (or the path) and the file that a `weights=` argument means."""
    if weights is None or weights == "none":
        return None, None, None
    if isinstance(weights, ResNet18_Pocket_Weights) or weights == "pocket":
        if name != "resnet18":
            raise ValueError(
                f"there are pocket weights for resnet18 only, not for {name}; "
                f"use weights='DEFAULT' (needs a network once) or a path"
            )
        chosen = ResNet18_Pocket_Weights.DEFAULT
        return chosen.get_state_dict(), chosen, POCKET
    if isinstance(weights, WeightsEnum):
        file = _download(_url_of(weights))
        return _read_state(file), weights, file
    if isinstance(weights, str) and weights in (enum := models.get_model_weights(name)).__members__:
        file = _download(_url_of(enum[weights]))
        return _read_state(file), enum[weights], file
    path = Path(weights)
    if path.suffix not in {".safetensors", ".pth", ".pt"}:
        known = ", ".join(models.get_model_weights(name).__members__)
        raise ValueError(
            f"weights={str(weights)!r} is not known for {name}: use 'pocket', None, "
            f"{known}, or a path that ends in .safetensors or .pth"
        )
    return _read_state(path), str(path), path.resolve()


def _stamp(file: Path) -> tuple[int, int]:
    """Another one when the file was written anew."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _read_again(file: Path, stamp: tuple[int, int]) -> State:
    """The tensors of a weights file if it still is what it was; nothing and a warning if not."""
    if file.exists() and _stamp(file) == stamp:
        return _read_state(file)
    warnings.warn(
        f"{file}: is gone, or another one than the network was loaded from; so how far the weights have moved "
        f"since is not known",
        stacklevel=3,
    )
    return {}


def _url_of(weights: WeightsEnum) -> str:
    return weights.url


def _download(url: str) -> Path:
    """torchvision's file, from the cache folder or the network, its sha256 checked either way."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    match = re.search(r"-([0-9a-f]{8,})\.", file.name)  # torchvision names files by their hash
    prefix = match[1] if match else ""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=prefix or None)
        except RuntimeError as err:  # torch's word for a hash that differs; it kept no file
            raise ValueError(
                f"{url}: damaged on the way ({err}); nothing was kept, try again"
            ) from err
        except (URLError, OSError) as err:
            raise ConnectionError(
                f"cannot download {url} ({err}); use weights='pocket' (needs no network), "
                f"or put that file at {file}"
            ) from err
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if not digest.startswith(prefix):
        raise ValueError(
            f"{file}: its sha256 starts with {digest[:8]}, not with {prefix}: the file is damaged; "
            f"remove it and try again"
        )
    return file


def _read_state(path: Path) -> State:
    """The tensors of a `.safetensors` or `.pth` file, in float32; no object is ever unpickled."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, ValueError, OSError) as err:
        raise ValueError(f"{path}: not a readable weights file ({_first_line(err)})") from err
    except Exception as err:  # pickle.UnpicklingError, and whatever a malformed pickle raises
        raise ValueError(
            f"{path}: holds more than tensors, so loading it could run code ({_first_line(err)}); "
            f"ask for a .safetensors file, or for torch.save(model.state_dict())"
        ) from err
    for key in ("state_dict", "model", "model_state_dict"):  # the usual wrappings
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path}: expected a state dict (names to tensors)")
    return {
        k.removeprefix("module."): v.float() if v.is_floating_point() else v
        for k, v in state.items()
    }


def _load_state(model: nn.Module, state: State, source: Any) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as err:
        lines = str(err).strip().splitlines()
        detail = "; ".join(line.strip() for line in lines[1:3])
        kind = type(model).__name__
        raise ValueError(f"{source}: these weights do not fit this {kind}: {detail}") from err


def _first_line(err: Exception) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0][:120]


def origin_of(model: nn.Module) -> Origin | None:
    """Where the weights came from, if `load_backbone` loaded them."""
    return getattr(model, "ftcourse_origin", None)


def weights_of(model: nn.Module) -> WeightsEnum | None:
    """The weights object (`.transforms()`, `.meta`) the model was loaded with, if there is one."""
    origin = origin_of(model)
    return origin.weights if origin and isinstance(origin.weights, WeightsEnum) else None
