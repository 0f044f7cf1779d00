"""Where the network looked when it was wrong: Grad-CAM of the worst photos, for the report."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from torch import nn

from ftcourse.data.splits import Data
from ftcourse.models.features import grad_cam
from ftcourse.plots import plot_grad_cam

__all__ = ["WHERE", "draw_where"]

WHERE = "where.png"
PHOTOS = 6


def draw_where(
    run: Path, worst: list[dict[str, Any]], data: Data, model: nn.Module
) -> dict[str, Any]:
    """Draw `where.png` of the worst photos; returns `picture` (its name or None) and `note`.

    Whatever keeps it from being drawn is told in the note: a finished training does not fail by a picture.
    """
    if not worst:
        return {"picture": None, "note": ""}
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        note = 'Where the network looked (Grad-CAM) is drawn if it is installed: pip install "ftcourse[cam]"'
        return {"picture": None, "note": note}
    some = worst[:PHOTOS]
    targets = [data.classes.index(w["predicted"]) for w in some]
    try:
        inputs = torch.stack([data.test[w["index"]][0] for w in some])
        heat = grad_cam(model, inputs, targets)
        photos = [data.test.image(w["index"]) for w in some]
        titles = [f"{k}." for k in range(1, len(some) + 1)]
        plt.close(plot_grad_cam(photos, heat, titles, run / WHERE, transform=data.test.transform))
    except Exception as err:  # a network without feature maps, a transform that is not known, ...
        reason = " ".join(str(err).split())[:200] or type(err).__name__
        return {
            "picture": None,
            "note": f"Where the network looked (Grad-CAM) could not be drawn: {reason}",
        }
    note = "Where the network looked for its answer (Grad-CAM), for the first of these photos, by their numbers."
    return {"picture": WHERE, "note": note}
