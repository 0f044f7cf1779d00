"""Photos: in a grid, with mistakes, masks, boxes and heat on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ftcourse.data.transforms import seen_region
from ftcourse.plots.fonts import covering
from ftcourse.plots.labels import label_boxes
from ftcourse.plots.style import Theme, bare, drawing, finish, sheet, theme_of

__all__ = [
    "overlay",
    "pixels",
    "plot_boxes",
    "plot_grad_cam",
    "plot_masks",
    "plot_mistakes",
    "show_images",
]


def pixels(image: Any) -> np.ndarray:
    """Any image as (H, W, 3) or (H, W), uint8 or float in 0 to 1; float ones are stretched to it.

    Takes PIL images, uint8 or float tensors and arrays, (3, H, W), (1, H, W), (H, W, 3) or (H, W).
    """
    x = np.asarray(image)
    if x.ndim == 3 and x.shape[0] in (1, 3) and x.shape[2] not in (1, 3):
        x = x.transpose(1, 2, 0)
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[..., 0]
    if x.dtype.kind == "f":
        x = (x - x.min()) / max(float(x.max() - x.min()), 1e-9)
    return x


def _grid(count: int, columns: int, title_lines: int = 1, width: float = 1.9) -> tuple[Figure, Any]:
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    height = width + 0.24 * title_lines
    fig, axes = sheet(rows, columns, figsize=(width * columns, height * rows), squeeze=False)
    for ax in axes.flat:
        bare(ax)
    for ax in axes.flat[count:]:
        ax.axis("off")
    return fig, axes


def show_images(
    images: Sequence[Any],
    titles: Sequence[str] | None = None,
    columns: int = 6,
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """A grid of images: PIL, uint8 (3, H, W) tensors, or float ones, which are stretched to 0 to 1."""
    _some(images)
    families, written = covering([str(title) for title in titles or []])
    lines = max((title.count("\n") + 1 for title in written), default=0)
    with drawing(theme, font_family=families) as t:
        fig, axes = _grid(len(images), columns, lines)
        for i, image in enumerate(images):
            _show(axes.flat[i], image)
            if titles is not None:
                _caption(axes.flat[i], written[i], t.ink)
    return finish(fig, t, path)


def _show(ax: Any, image: Any) -> None:
    x = pixels(image)
    ax.imshow(x, cmap="gray" if x.ndim == 2 else None)


def _caption(ax: Any, text: str, colour: str) -> None:
    ax.set_title(
        text, fontsize=11, fontweight="normal", loc="center", color=colour, pad=5, linespacing=1.25
    )


def _some(images: Sequence[Any]) -> None:
    if not len(images):
        raise ValueError("no images to show")


def plot_mistakes(
    split: Any,
    logits: Any,
    count: int = 8,
    path: str | Path | None = None,
    *,
    columns: int = 4,
    theme: str | None = None,
) -> Figure:
    """The most confident mistakes: photo, right class, and what the network was so sure of.

    Args:
        split: a `Split`, in the order of the logits.
        logits: float (N, classes), as `ftcourse.predict(model, split)[0]` gives them.

    Raises:
        ValueError: there are no mistakes, or not as many logits as photos.
    """
    logits, targets = torch.as_tensor(logits).double(), torch.as_tensor(split.targets)
    if len(logits) != len(targets):
        raise ValueError(f"{len(logits)} rows of logits for {len(targets)} photos")
    probability, said = logits.softmax(1).max(1)
    wrong = torch.nonzero(said != targets).flatten()
    if not len(wrong):
        raise ValueError(f"all {len(targets)} photos are right: there are no mistakes to show")
    worst = wrong[probability[wrong].argsort(descending=True, stable=True)][:count].tolist()
    names = list(split.classes)
    with drawing(theme) as t:
        fig, axes = _grid(len(worst), columns, 3, width=2.3)
        for ax, i in zip(axes.flat, worst, strict=False):
            _show(ax, split.image(i))
            _caption(ax, f"true: {names[targets[i]]}", t.ink)
            ax.set_xlabel(
                f"said: {names[int(said[i])]}, {100 * probability[i]:.0f} %", color=t.colours[1],
                fontsize=12, fontweight="bold", labelpad=12,
            )  # fmt: skip
            ax.barh(
                -0.045, float(probability[i]), 0.045, color=t.colours[1], align="center",
                transform=ax.transAxes, clip_on=False,
            )  # fmt: skip
            ax.barh(-0.045, 1, 0.045, color=t.grid, transform=ax.transAxes, clip_on=False, zorder=0)
        fig.suptitle(
            f"Most confident mistakes: {len(wrong)} of {len(targets)} photos are wrong",
            fontsize=14, fontweight="bold", x=0.01, ha="left",
        )  # fmt: skip
    return finish(fig, t, path)


# -- masks and boxes ---------------------------------------------------------------------------


VOID, NO_TRUTH = 255, "#C8C8C8"  # pixels of a mask that have no truth, and their grey


def overlay(
    image: Any, mask: Any, colours: Sequence[str] | None = None, strength: float = 0.6
) -> np.ndarray:
    """The photo with each class of `mask` tinted; float (H, W, 3) in 0 to 1.

    Args:
        image: as `pixels` takes it.
        mask: int (H, W); 0 is the background and stays as it is, but dimmer; k takes `colours[k - 1]`; 255, no
            truth, is plain grey.
        colours: by default those of the theme.
    """
    colours = theme_of().colours if colours is None else colours
    x = pixels(image).astype(np.float64) / (255.0 if pixels(image).dtype == np.uint8 else 1.0)
    if x.ndim == 2:
        x = np.repeat(x[..., None], 3, axis=2)
    m = np.asarray(mask)
    if m.shape != x.shape[:2]:
        raise ValueError(f"a mask of {m.shape} on an image of {x.shape[:2]}: they differ in size")
    out = np.where(m[..., None] > 0, x, 0.55 * x)
    grey = x.mean(2, keepdims=True)
    for k in np.unique(m[(m > 0) & (m != VOID)]):
        colour = np.array(to_rgb(colours[(int(k) - 1) % len(colours)]))
        tint = (0.45 + 0.75 * grey) * colour  # keeps the photo's light and shade
        out = np.where(m[..., None] == k, (1 - strength) * x + strength * tint, out)
    out = np.where(m[..., None] == VOID, np.array(to_rgb(NO_TRUTH)), out)
    return np.clip(out, 0, 1)


def plot_masks(
    images: Sequence[Any],
    masks: Sequence[Any],
    names: Sequence[str],
    path: str | Path | None = None,
    *,
    predicted: Sequence[Any] | None = None,
    theme: str | None = None,
) -> Figure:
    """Photos, their masks laid over them, and predicted masks below; one column a photo.

    Args:
        images: N photos: PIL, or uint8 or float (3, H, W); float ones are stretched to 0 to 1.
        masks: N int (H, W): 0 background, k the class `names[k]`, 255 no truth.
        names: the classes, the background first.
        predicted: N int (H, W), or None.
    """
    _some(images)
    rows = ["photo", "mask", *(["predicted"] if predicted is not None else [])]
    with drawing(theme) as t:
        n = len(images)
        fig, axes = sheet(
            len(rows), n, figsize=(2.1 * n + 0.5, 2.1 * len(rows) + 0.7), squeeze=False
        )
        for ax in axes.flat:
            bare(ax)
        for j in range(n):
            _show(axes[0, j], images[j])
            axes[1, j].imshow(overlay(images[j], masks[j], t.colours))
            if predicted is not None:
                axes[2, j].imshow(overlay(images[j], predicted[j], t.colours))
        for ax, name in zip(axes[:, 0], rows, strict=True):
            ax.set_ylabel(name)
        shown = [*masks, *(predicted if predicted is not None else [])]
        _legend(
            fig, sorted({int(v) for m in shown for v in np.unique(np.asarray(m)) if v}), names, t
        )
    return finish(fig, t, path)


def _legend(fig: Figure, classes: list[int], names: Sequence[str], t: Theme) -> None:
    patches = [
        Patch(color=NO_TRUTH, label="no truth")
        if k == VOID
        else Patch(color=_colour(k, t), label=str(names[k]))
        for k in classes
    ]
    if patches:
        fig.legend(handles=patches, loc="outside lower center", ncols=min(6, len(patches)))


def plot_boxes(
    images: Sequence[Any],
    targets: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    path: str | Path | None = None,
    *,
    truth: Sequence[Mapping[str, Any]] | None = None,
    threshold: float = 0.5,
    columns: int = 4,
    theme: str | None = None,
) -> Figure:
    """Photos with boxes, their classes and, for predictions, scores.

    Args:
        images: N photos: PIL, or uint8 or float (3, H, W); float ones are stretched to 0 to 1.
        targets: N dicts with `boxes` float (n, 4) as left, top, right, bottom in pixels, and `labels` int
            (n,): k is the class `names[k]`. With `scores` (n,), as torchvision's detectors return them, boxes
            below `threshold` are left out.
        names: the classes, the background first.
        truth: N such dicts, drawn as thin dashed boxes below the others.

    Labels make way for one another, so that those of overlapping boxes can be read.
    """
    _some(images)
    with drawing(theme) as t:
        fig, axes = _grid(len(images), columns, 2, width=2.7)
        drawn = []
        for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
            _show(ax, image)
            for box in truth[i]["boxes"] if truth is not None else []:
                _box(ax, box, "#FFFFFF", ls=(0, (4, 3)), lw=1.6)
            drawn.append((ax, *_boxes(ax, targets[i], names, threshold, t)))
        _legend(fig, sorted({k for *_, labels in drawn for k in labels}), names, t)
        fig.draw_without_rendering()  # the axes take their places; labels need them
        for ax, boxes, texts, labels in drawn:
            label_boxes(ax, boxes, texts, [_colour(k, t) for k in labels])
    return finish(fig, t, path)


def _boxes(
    ax: Any, target: Mapping[str, Any], names: Sequence[str], threshold: float, t: Theme
) -> tuple[list[list[float]], list[str], list[int]]:
    """Draw the frames; the boxes that are shown, what is to be written at each, and its class."""
    shown: list[list[float]] = []
    texts: list[str] = []
    labels: list[int] = []
    scores = target.get("scores")
    for k, (box, label) in enumerate(zip(target["boxes"], target["labels"], strict=True)):
        if scores is not None and scores[k] < threshold:
            continue
        _box(ax, box, _colour(int(label), t), lw=3)
        labels.append(int(label))
        shown.append([float(v) for v in box])
        score = "" if scores is None else f" {100 * float(scores[k]):.0f} %"
        texts.append(names[int(label)] + score)
    return shown, texts, labels


def _colour(label: int, t: Theme) -> str:
    return t.colours[(label - 1) % len(t.colours)]


def _box(ax: Any, box: Any, colour: str, **kwargs: Any) -> None:
    left, top, right, bottom = (float(v) for v in box)
    ax.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, ec=colour, **kwargs)
    )


# -- Grad-CAM ----------------------------------------------------------------------------------


def plot_grad_cam(
    photos: Sequence[Any],
    heat: Any,
    titles: Sequence[str] | None = None,
    path: str | Path | None = None,
    *,
    transform: Any = None,
    theme: str | None = None,
) -> Figure:
    """Photos, and below them where the network looked.

    Args:
        photos: N images of any size: PIL, or uint8 or float (3, H, W); float ones are stretched to 0 to 1.
        heat: float (N, h, w) in 0 to 1, as `ftcourse.grad_cam(model, inputs)` gives it.
        titles: N captions, such as the class that the heat is for.
        transform: what made the inputs of these photos, such as `data.test.transform`. It resizes and crops, so
            the heat belongs to a part of each photo: it is drawn there, with a frame around what the network saw.
            None: the photos are what the network saw, and nothing is cut off.

    Raises:
        ValueError: without a transform, a photo has another shape than its heat, so it cannot be what the
            network saw; or which part the transform keeps is not known.
    """
    _some(photos)
    lines = max((str(s).count("\n") + 1 for s in titles), default=1) if titles is not None else 0
    regions = [_region(photo, heat[j], transform) for j, photo in enumerate(photos)]
    with drawing(theme) as t:
        n = len(photos)
        fig, axes = sheet(2, n, figsize=(2.2 * n + 0.4, 4.4 + 0.3 * lines), squeeze=False)
        for j, photo in enumerate(photos):
            for ax in axes[:, j]:
                bare(ax)
            _show(axes[0, j], photo)
            _heat(axes[1, j], photo, heat[j], regions[j])
            if titles is not None:
                _caption(axes[0, j], titles[j], t.ink)
        axes[0, 0].set_ylabel("photo")
        axes[1, 0].set_ylabel("Grad-CAM")
    return finish(fig, t, path)


def _region(photo: Any, heat: Any, transform: Any) -> tuple[float, float, float, float] | None:
    """What the network saw of this photo, in its pixels; None: all of it."""
    height, width = pixels(photo).shape[:2]
    if transform is not None:
        return seen_region(transform, (width, height))
    h, w = np.shape(heat)
    if abs(width * h - height * w) > 0.05 * width * h:
        raise ValueError(
            f"a photo of {width} x {height} and heat of {w} x {h}: the network has seen a part of the photo; "
            f"give transform=, which made its input, or the inputs themselves as photos"
        )
    return None


def _heat(
    ax: Any, photo: Any, heat: Any, seen: tuple[float, float, float, float] | None = None
) -> None:
    """The heat over what was seen of the photo: left, top, right, bottom in its pixels; by default all of it."""
    x = pixels(photo)
    grey = x if x.ndim == 2 else x.mean(2)
    height, width = grey.shape
    ax.imshow(grey, cmap="gray", extent=(0, width, height, 0))
    h = np.asarray(heat, dtype=float)
    left, top, right, bottom = seen if seen is not None else (0, 0, width, height)
    # the surer, the less transparent, so that the photo stays visible where nothing was found
    ax.imshow(
        h, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(0.15 + 0.6 * h, 0, 1),
        extent=(left, right, bottom, top), interpolation="bilinear",
    )  # fmt: skip
    if seen is not None:
        _box(ax, seen, "#FFFFFF", lw=1.2, ls=(0, (4, 3)))
    ax.set(xlim=(0, width), ylim=(height, 0))
