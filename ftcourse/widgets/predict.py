"""The prediction explorer: drop in a photo; see its classes, where the network looked, what is like it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import ipywidgets as w
import torch
from PIL import Image
from torch import Tensor, nn

from ftcourse.data.photo_faults import reason_of
from ftcourse.data.photos import decoded, open_image
from ftcourse.data.transforms import MEAN, STD
from ftcourse.models.features import embed, grad_cam, nearest
from ftcourse.models.modes import eval_mode
from ftcourse.plots.prediction import plot_prediction
from ftcourse.widgets.base import Explorer, Picture, escape, page, png, uploaded

__all__ = [
    "Explanation",
    "Memory",
    "PredictionExplorer",
    "explain",
    "prediction_explorer",
    "read_photo",
]

MOST = 400  # training photos that are looked through


def read_photo(content: bytes, name: str = "the upload", grey_bits: int = 0) -> Image.Image:
    """The bytes of an image file as an upright RGB image, as photos in a folder are read.

    Args:
        grey_bits: the least depth that greys of more than 8 bits are taken to have.

    Raises:
        ValueError: they cannot be decoded; the message names the file.
    """
    try:
        with open_image(content) as image, decoded(image, None, grey_bits) as rgb:
            return rgb
    except Exception as err:  # Pillow's decoders raise many kinds on damaged files
        raise ValueError(
            f"{name}: cannot be decoded as a photo ({reason_of(err, content)})"
        ) from err


@dataclass
class Memory:
    """Training photos and their features: what a new photo is compared with."""

    split: Any
    features: Tensor

    @classmethod
    def of(cls, model: nn.Module, data: Any) -> Memory:
        """The first photos of each class in `data.train`, at most 400 in all, without augmentation."""
        split, chosen = data.train, []
        share, taken = max(1, MOST // len(data.classes)), Counter[int]()
        for i, label in enumerate(split.targets):
            taken[label] += 1
            if taken[label] <= share:
                chosen.append(i)
        split = split.subset(chosen).with_transform(data.val.transform)
        return cls(split, embed(model, split))


@dataclass
class Explanation:
    """What a network makes of one photo."""

    seen: Tensor  # float32 (3, H, W) in 0 to 1: the crop that the network got
    probabilities: list[tuple[str, float]]
    heat: Tensor | None = None
    neighbours: list[tuple[Any, str, float]] = field(default_factory=list)


def explain(
    model: nn.Module,
    photo: Image.Image | Tensor,
    transform: Any,
    classes: list[str],
    memory: Memory | None = None,
    *,
    top: int = 5,
    neighbours: int = 6,
) -> Explanation:
    """Classes, Grad-CAM (where the package grad-cam is installed) and the nearest training photos.

    Args:
        photo: a PIL image, or uint8 (3, H, W).
        transform: the one that the model is validated with, such as `data.val.transform`.
    """
    x = transform(photo)
    device = next(model.parameters()).device
    with eval_mode(model), torch.no_grad():
        probability = model(x.unsqueeze(0).to(device))[0].float().softmax(0).cpu()
    order = probability.argsort(descending=True)[:top].tolist()
    likeliest = [(classes[k], float(probability[k])) for k in order]
    try:
        heat = grad_cam(model, x.unsqueeze(0), [order[0]])[0]
    except ImportError:
        heat = None
    like: list[tuple[Any, str, float]] = []
    if memory is not None:
        places, cosines = nearest(embed(model, x.unsqueeze(0))[0], memory.features, neighbours)
        like = [
            (memory.split.image(i), classes[memory.split.targets[i]], c)
            for i, c in zip(places.tolist(), cosines.tolist(), strict=True)
        ]
    return Explanation(_unnormalised(x), likeliest, heat, like)


def _unnormalised(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return (x.cpu() * std + mean).clamp(0, 1)


class PredictionExplorer(Explorer):
    """See `prediction_explorer`."""

    def __init__(self, model: nn.Module, data: Any, memory: bool) -> None:
        self.model, self.data = model, data
        self.memory = Memory.of(model, data) if memory else None
        self.problem = ""
        self.grey_bits = getattr(getattr(data.val, "images", None), "bits", 0)
        n = len(data.test)
        self.slider = w.IntSlider(
            value=0, min=0, max=n - 1, description="test photo", continuous_update=False,
            layout=w.Layout(width="420px"),
        )  # fmt: skip
        self.upload = w.FileUpload(
            accept="image/*",
            multiple=False,
            description="Your own photo",
            layout=w.Layout(width="170px"),
        )
        self.image = Picture("900px")
        self.note = w.HTML()
        self.slider.observe(lambda change: self.show_test(change["new"]), "value")
        self.upload.observe(lambda change: self._uploaded(change["new"]), "value")
        top = w.HBox([self.slider, self.upload], layout=w.Layout(align_items="center"))
        self.view = w.VBox([top, self.note, self.image], layout=w.Layout(width="100%"))
        self.show_test(0)

    def show_test(self, i: int) -> None:
        """Explain photo i of the test split, and say what is right."""
        right = self.data.classes[self.data.test.targets[i]]
        self.show(self.data.test.image(i), f"test photo {i}: {right}")

    def show(self, photo: Image.Image | Tensor, title: str = "") -> Explanation:
        """Explain any photo."""
        found = explain(
            self.model, photo, self.data.val.transform, list(self.data.classes), self.memory
        )
        fig = plot_prediction(
            found.seen, found.probabilities, found.heat, found.neighbours, title=title
        )
        first = f"{found.probabilities[0][0]} {100 * found.probabilities[0][1]:.0f} %"
        self.text = f"{title or 'photo'}; the network says {first}"
        self.alt = self.text
        self.image.draw(fig, self.alt)
        need = (
            ""
            if found.heat is not None
            else 'Grad-CAM needs <code>pip install "ftcourse[cam]"</code>.'
        )
        self.note.value = page(f'<span class="soft">{need}</span>') if need else ""
        return found

    def _uploaded(self, value: Any) -> None:
        for name, content in uploaded(value):
            try:
                self.problem = ""
                self.show(read_photo(content, name, self.grey_bits), name)
            except ValueError as err:
                self.problem = str(err)
                self.note.value = page(f"<b>{escape(err)}</b>")

    def still(self) -> dict[str, str]:
        return {"image/png": png(self.image.content), "text/plain": self.text}


def prediction_explorer(model: nn.Module, data: Any, *, memory: bool = True) -> PredictionExplorer:
    """Choose a test photo or drop in your own; see the classes, Grad-CAM and the nearest training photos.

    Args:
        model: fine-tuned on `data`; it is not changed.
        data: has `train`, `val`, `test` and `classes`. A photo goes through `data.val.transform`.
        memory: False leaves the nearest training photos out, for which up to 400 go through the network.

    Photos stay on this machine: the kernel gets them and keeps none.
    """
    return PredictionExplorer(model, data, memory)
