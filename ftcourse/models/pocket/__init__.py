"""What the package carries inside: pre-trained weights of resnet18, made by `pocket/pretrain.py`.

The weights object follows torchvision's convention, so that what is learnt here carries over::

    weights = ResNet18_Pocket_Weights.DEFAULT
    preprocess = weights.transforms()
    weights.meta["categories"][3]
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification

__all__ = ["ResNet18_Pocket_Weights"]

HERE = Path(__file__).parent
FILE = HERE / "resnet18_tiny_imagenet.safetensors"
META: dict[str, Any] = json.loads(FILE.with_suffix(".json").read_text(encoding="utf-8"))


class ResNet18_Pocket_Weights(WeightsEnum):
    """Weights of torchvision's `resnet18`, pre-trained by this project on Tiny ImageNet (64x64).

    `transforms()` turns a PIL image or a uint8 tensor (3, H, W) into what the network expects: a
    float32 tensor (3, size, size), normalised. `meta` has the categories, the measured accuracy and
    the recipe. Model card: `ftcourse/models/pocket/MODEL_CARD.md`.
    """

    TINY_IMAGENET_V1 = Weights(
        url=FILE.name,
        transforms=partial(
            ImageClassification, crop_size=META["crop_size"], resize_size=META["resize_size"]
        ),
        meta=META,
    )
    DEFAULT = TINY_IMAGENET_V1

    def get_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The weights as float32 tensors, read from the package; nothing is downloaded."""
        state = load_file(FILE)
        return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
