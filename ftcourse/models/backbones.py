"""Load a pre-trained network; its layer groups and its head are in `ftcourse.models.groups`.

The model stays a plain `torchvision` module. `load_backbone` only remembers beside it where its
weights came from (`origin_of`), so that `freeze_report` can say what has moved since.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import Weights, WeightsEnum
from tqdm.auto import tqdm

from ftcourse._transfer import receive
from ftcourse.models.groups import head_of, layer_groups, replace_head
from ftcourse.models.pocket import FILE as POCKET
from ftcourse.models.pocket import ResNet18_Pocket_Weights
from ftcourse.models.rebuilding import told_apart
from ftcourse.models.states import (
    SUFFIXES,
    State,
    Stored,
    build,
    known_architecture,
    load_state,
    open_state,
    plain_names,
    stored,
    unknown,
)
from ftcourse.models.timm_networks import (
    HUB,
    LITE0,
    EfficientNetLite0_Package_Weights,
    checked_imagenet_file,
    is_timm_network,
    pretrained_timm,
    timm_is_cached,
)

TIMEOUT = 30.0  # seconds without a byte, or with too few, until a source counts as dead

__all__ = [
    "cached_default", "head_of", "layer_groups", "load_backbone", "origin_of", "replace_head", "weights_of",
]  # fmt: skip


@dataclass
class Origin:
    """Where a model's weights came from; `state` is what it was loaded with, or a function that reads it."""

    architecture: str
    weights: WeightsEnum | Weights | str | None
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
    """A torchvision model (or one of timm) with pre-trained weights, in eval mode.

    Args:
        name: a name that `torchvision.models.get_model` knows: "resnet18", "resnet50", ...; "efficientnet_lite0";
            "timm/NAME" for a network of timm; "hf-hub:OWNER/NAME@REVISION" for one of timm's on a Hub, pinned by
            the 40 hex digits of a commit. Networks that were trained without a head (DINOv2) get a new one.
        weights: "pocket" (inside this package, resnet18 only); "imagenet" (efficientnet_lite0, from the package of
            the extra `imagenet`); "DEFAULT" or another name of torchvision's weights, downloaded once and checked
            by sha256, or those of timm or the Hub; a `WeightsEnum` member; a path to a `.safetensors` or `.pth`
            file; None for random weights.
        num_classes: replace the head by a new one with so many outputs.

    Raises:
        ValueError: an unknown name, a Hub's without a revision, or a file that does not fit the network.
        FileNotFoundError: there is no such file.
        ImportError: timm, or the package with the weights, is not installed.
        ConnectionError: the weights are not in the cache and cannot be downloaded.

    Source: https://docs.pytorch.org/vision/stable/models.html, https://huggingface.co/docs/timm
    """
    of_hub = isinstance(name, str) and name.startswith(HUB)
    if of_hub or (is_timm_network(name) and name != LITE0 and weights == "DEFAULT"):
        return _from_timm(name, weights, num_classes)
    if not known_architecture(name):
        raise unknown(name)
    found, chosen, file = _resolve(name, weights)
    model: Any = build(name) if found is None else load_state(name, found, None, chosen)
    if hasattr(model, "transform_input") and found is not None:
        _set_transform_input(model, name, chosen, found)
    if file is not None:  # it is there to be read again: memory is dearer
        kept: State | Callable[[], State] = partial(_read_again, file, _stamp(file), name)
    else:
        kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.ftcourse_origin = Origin(name, chosen, kept)
    if num_classes is not None:
        replace_head(model, num_classes)
    return model.eval()


def _from_timm(name: str, weights: Any, num_classes: int | None) -> nn.Module:
    if weights not in ("DEFAULT", None, "none"):
        raise ValueError(f"weights={str(weights)!r}: {name} has its own; use 'DEFAULT', or None")
    model: Any
    model, architecture, chosen = pretrained_timm(name, pretrained=weights == "DEFAULT")
    if name.startswith(HUB) and (wrong := told_apart(model, architecture, model.num_classes)):
        raise ValueError(
            f"{name}: could not be saved, for {architecture} is another network: {wrong}; build it "
            f"in your own code"
        )
    kept = {k: v.detach().clone() for k, v in model.state_dict().items()}
    model.ftcourse_origin = Origin(architecture, chosen, kept)
    if num_classes is not None:
        replace_head(model, num_classes)
    return model.eval()


def _set_transform_input(model: Any, name: str, chosen: Any, found: Stored) -> None:
    """GoogLeNet, Inception v3: torchvision's builder sets it with its weights; files of this package say it."""
    if isinstance(chosen, WeightsEnum):
        model.transform_input = True
    elif "transform_input" not in found.header:
        warnings.warn(
            f"{chosen}: does not say whether {name} normalises its input once more, so it does not; if the "
            f"weights come from torchvision's, set model.transform_input = True",
            stacklevel=3,
        )


def _resolve(
    name: str, weights: str | Path | WeightsEnum | None
) -> tuple[Stored | None, WeightsEnum | str | None, Path | None]:
    """The tensors, the weights object (or the path) and the file that a `weights=` argument means."""
    if weights is None or weights == "none":
        return None, None, None
    if isinstance(weights, EfficientNetLite0_Package_Weights) or weights == "imagenet":
        if name != LITE0:
            raise ValueError(f"weights='imagenet' are for {LITE0} only, not for {name}")
        return _of_package(), EfficientNetLite0_Package_Weights.DEFAULT, None
    if isinstance(weights, ResNet18_Pocket_Weights) or weights == "pocket":
        if name != "resnet18":
            other = "'imagenet'" if name == LITE0 else "'DEFAULT' (needs a network once)"
            raise ValueError(
                f"there are pocket weights for resnet18 only, not for {name}; "
                f"use weights={other} or a path"
            )
        chosen = ResNet18_Pocket_Weights.DEFAULT
        return open_state(POCKET), chosen, POCKET
    if isinstance(weights, WeightsEnum):
        file = _download(_url_of(weights), _size_of(weights))
        return open_state(file), weights, file
    enum: Any = {} if is_timm_network(name) else models.get_model_weights(name).__members__
    if isinstance(weights, str) and weights in enum:
        file = _download(_url_of(enum[weights]), _size_of(enum[weights]))
        return open_state(file), enum[weights], file
    path = Path(weights)
    if path.suffix not in SUFFIXES:
        known = ", ".join(enum) or ("'imagenet'" if name == LITE0 else "'DEFAULT'")
        pocket = "" if is_timm_network(name) else "'pocket', "
        raise ValueError(
            f"weights={str(weights)!r} is not known for {name}: use {pocket}None, "
            f"{known}, or a path that ends in .safetensors or .pth"
        )
    return open_state(path), str(path), path.resolve()


def _of_package() -> Stored:
    """The package's tensors have the names of another program, and the order of timm's network."""
    state = open_state(checked_imagenet_file()).read()
    names = build(LITE0, sketch=True).state_dict()
    return stored(dict(zip(names, state.values(), strict=True)))


def _stamp(file: Path) -> tuple[int, int]:
    """Another one when the file was written anew."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _read_again(file: Path, stamp: tuple[int, int], name: str) -> State:
    """The tensors of a weights file if it still is what it was; nothing and a warning if not."""
    if file.exists() and _stamp(file) == stamp:
        found = open_state(file)
        state = found.read()
        names = plain_names(found.shapes, name)
        return {mine: _as_float(state[theirs]) for mine, theirs in names.items()}
    warnings.warn(
        f"{file}: is gone, or another one than the network was loaded from; so how far the weights have moved "
        f"since is not known",
        stacklevel=3,
    )
    return {}


def cached_default(name: str) -> bool:
    """Whether `load_backbone(name, "DEFAULT")` finds its weights on this machine.

    Raises:
        ValueError: an unknown name.
    """
    if not known_architecture(name):
        raise unknown(name)
    if is_timm_network(name):
        return timm_is_cached(name)
    url = _url_of(models.get_model_weights(name)["DEFAULT"])
    return _place_of(url).is_file()


def _place_of(url: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def _url_of(weights: WeightsEnum) -> str:
    return weights.url


def _download(url: str, most: int | None = None) -> Path:
    """torchvision's file, from the cache folder or the network, its sha256 checked either way."""
    file = _place_of(url)
    match = re.search(r"-([0-9a-f]{8,})\.", file.name)  # torchvision names files by their hash
    prefix = match[1] if match else ""
    if not file.exists():
        try:
            _fetch(url, file, prefix, most)
        except (OSError, HTTPException) as err:
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


def _fetch(url: str, file: Path, prefix: str, most: int | None) -> None:
    """Into a file beside, which takes its name when all of it is there and its hash is right."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    digest, had = hashlib.sha256(), 0
    try:
        incoming = receive(url, {"User-Agent": "ftcourse"}, patience=TIMEOUT, most=most)
        length = incoming.headers.get("Content-Length") or ""
        total = int(length) if length.isdigit() else None
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=file.name)
        with closing(incoming), bar, part.open("wb") as out:
            for block in incoming.blocks:
                out.write(block)
                digest.update(block)
                had += len(block)
                bar.update(len(block))
        if total is not None and had < total:
            raise OSError(f"broke off after {had} of {total} bytes")
        if not digest.hexdigest().startswith(prefix):
            found = digest.hexdigest()[: len(prefix)]
            raise ValueError(f"its sha256 starts with {found}, not with {prefix}")
        os.replace(part, file)
    except ValueError as err:
        raise ValueError(f"{url}: damaged on the way ({err}); nothing was kept, try again") from err
    finally:
        part.unlink(missing_ok=True)


def _size_of(weights: WeightsEnum) -> int | None:
    """The most bytes that the file can have; torchvision tells its megabytes (of 2**20 bytes) to three digits."""
    megabytes = weights.meta.get("_file_size")
    return None if megabytes is None else int((megabytes + 0.001) * 2**20) + 1


def _as_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def origin_of(model: nn.Module) -> Origin | None:
    """Where the weights came from, if `load_backbone` loaded them."""
    return getattr(model, "ftcourse_origin", None)


def weights_of(model: nn.Module) -> WeightsEnum | Weights | None:
    """The weights object (`.transforms()`, `.meta`) the model was loaded with, if there is one."""
    origin = origin_of(model)
    return origin.weights if origin and isinstance(origin.weights, (WeightsEnum, Weights)) else None
