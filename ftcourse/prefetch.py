"""Download once, with a network, what is optional: real data sets, and torchvision's ImageNet weights."""

from __future__ import annotations

from pathlib import Path

from ftcourse.data.downloads import DATASETS, cache_dir, cached
from ftcourse.data.downloads import fetch as fetch_dataset
from ftcourse.models.backbones import load_backbone

__all__ = ["fetch", "listing"]

NETWORKS = ("resnet18", "resnet34", "resnet50", "resnet101")


def fetch(name: str) -> str:
    """Download a data set, "weights" (torchvision's for resnet18) or those of "resnet50"; says where it is.

    Raises:
        ValueError: no such name, or a file with the wrong hash.
        ConnectionError: no network; the message says which file to put where.
    """
    if name in DATASETS:
        return str(fetch_dataset(name))
    network = "resnet18" if name == "weights" else name
    if network not in NETWORKS:
        known = ", ".join([*DATASETS, "weights", *NETWORKS])
        raise ValueError(f"{name!r}: nothing of that name; there are {known}")
    load_backbone(network, weights="DEFAULT")
    return f"torchvision's weights for {network} are in its cache, checked"


def listing() -> str:
    """What can be downloaded, how large it is, and where it lies if it is here already."""
    lines = [
        "Nothing here is needed for the lessons' default path. `ftcourse prefetch NAME` downloads:"
    ]
    for name, dataset in DATASETS.items():
        size = sum(file.bytes for file in dataset.files) / 1e6
        where: Path | None = cached(name)
        lines.append(
            f"  {name:<12} {dataset.title}, {size:.0f} MB{f' (here: {where})' if where else ''}"
        )
    lines.append(
        "  weights      torchvision's ImageNet weights for resnet18, 45 MB; or resnet50, ..."
    )
    return "\n".join(
        [*lines, f"Data sets are kept in {cache_dir()} (FTCOURSE_CACHE changes that)."]
    )
