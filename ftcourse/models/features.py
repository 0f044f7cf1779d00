"""What a network makes of photos: features, feature maps, where it looked (Grad-CAM), what is nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ftcourse.models.groups import head_of, layer_groups
from ftcourse.models.modes import eval_mode

__all__ = ["activations", "embed", "grad_cam", "heat_on_photo", "nearest"]


def activations(model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The outputs of named modules for images float32 (N, 3, H, W), on the CPU; the model is unchanged.

    A module that is called more than once (a ResNet block's `relu`) gives its first output.

    Raises:
        ValueError: there is no such module.
    """
    modules, found = dict(model.named_modules()), {}
    for name in layers:
        if name not in modules:
            raise ValueError(f"no module {name!r} in this model; see dict(model.named_modules())")

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> None:
            if name not in found:  # a copy: an in-place ReLU would change it
                found[name] = output.detach().float().cpu().clone()

        return keep

    handles = [modules[name].register_forward_hook(keeper(name)) for name in layers]
    try:
        with eval_mode(model), torch.no_grad():
            model(images.to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[name] for name in layers}


@torch.no_grad()
def embed(model: nn.Module, data: Dataset | DataLoader | Tensor, *, batch_size: int = 64) -> Tensor:
    """The features that the head gets, float32 (N, D), on the CPU, in the order of the data.

    Where the head is a convolution, they are averaged over their places.

    Args:
        data: a split, a DataLoader over one, or images float32 (N, 3, H, W).

    Raises:
        ValueError: there are no photos, or the model has no linear layer as its head.
    """
    _, head = head_of(model)
    device = next(model.parameters()).device
    kept: list[Tensor] = []
    handle = head.register_forward_pre_hook(
        lambda module, inputs: kept.append(_pooled(inputs[0].detach().float()).cpu())
    )
    try:
        with eval_mode(model):
            for images in _batches(data, batch_size):
                model(images.to(device))
    finally:
        handle.remove()
    if not kept:
        raise ValueError("embed: there are no photos")
    return torch.cat(kept)


def _pooled(features: Tensor) -> Tensor:
    return features.mean((2, 3)) if features.ndim == 4 else features


def _batches(data: Any, batch_size: int) -> Iterator[Tensor]:
    if isinstance(data, Tensor):
        yield from data.split(batch_size)
        return
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size=batch_size)
    for images, _ in loader:
        yield images


def nearest(query: Tensor, features: Tensor, count: int = 5) -> tuple[Tensor, Tensor]:
    """The `count` rows of `features` (N, D) most like `query` (D,): indices int64 and cosines, best first."""
    a = nn.functional.normalize(features.float(), dim=1)
    cosine = a @ nn.functional.normalize(query.float().flatten(), dim=0)
    values, places = cosine.topk(min(count, len(features)))
    return places, values


def grad_cam(
    model: nn.Module,
    images: Tensor,
    targets: Sequence[int] | None = None,
    layer: nn.Module | None = None,
) -> Tensor:
    """Where the network looked: float32 (N, H, W) in 0 to 1, on the CPU, by the package grad-cam.

    Args:
        images: float32 (N, 3, H, W), preprocessed for the model.
        targets: N classes whose scores are explained; by default the one that the network chose.
        layer: the module whose maps are weighed; by default the last layer group before the head.

    Weights, switches, gradients and modes of the model stay as they are; it may be frozen.

    Raises:
        ImportError: grad-cam is not installed.
        ValueError: no layer is given, and there is no module before the head.

    Source: https://arxiv.org/abs/1610.02391
    """
    try:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as err:
        raise ImportError(
            'grad_cam needs the package grad-cam: pip install "ftcourse[cam]", or pip install grad-cam'
        ) from err
    groups = list(layer_groups(model).values())
    maps = [m for m in groups[-2] if not isinstance(m, nn.ParameterList)] if groups[1:] else []
    if layer is None and not maps:
        raise ValueError(f"{type(model).__name__} has no layer before its head; give layer=")
    chosen = layer if layer is not None else maps[-1]
    if layer is None and isinstance(chosen, nn.Sequential):
        chosen = chosen[-1]
    before = [(p, p.grad) for p in model.parameters()]
    # the input asks for gradients, so that a frozen network has them on their way, too
    images = images.detach().to(next(model.parameters()).device).clone().requires_grad_()
    asked = [ClassifierOutputTarget(int(k)) for k in targets] if targets is not None else None
    try:
        with torch.enable_grad(), eval_mode(model), GradCAM(model, [chosen]) as cam:
            heat = cam(input_tensor=images, targets=asked)
    finally:
        for p, grad in before:
            p.grad = grad
    return torch.from_numpy(heat).float()


def heat_on_photo(
    heat: Tensor, size: tuple[int, int], seen: tuple[float, float, float, float] | None = None
) -> Tensor:
    """Heat where it belongs on the whole photo: float32 (height, width), 0 where the network saw nothing.

    Args:
        heat: float (h, w), over what the network saw.
        size: width and height of the photo, as PIL's `photo.size`.
        seen: left, top, right, bottom of what it saw, in the photo's pixels, as
            `ftcourse.data.transforms.seen_region(transform, size)` tells; None: the whole photo.

    Between the cells of the heat it is interpolated linearly; a pixel takes the value at its middle.
    """
    width, height = size
    left, top, right, bottom = seen if seen is not None else (0.0, 0.0, width, height)
    across = (torch.arange(width) + 0.5 - left) / (right - left)  # 0 to 1 over what was seen
    down = (torch.arange(height) + 0.5 - top) / (bottom - top)
    grid = torch.stack(torch.meshgrid(2 * across - 1, 2 * down - 1, indexing="xy"), -1)
    spread = nn.functional.grid_sample(
        heat.float()[None, None], grid[None].float(), padding_mode="border", align_corners=False
    )[0, 0]
    inside = ((down >= 0) & (down <= 1))[:, None] & ((across >= 0) & (across <= 1))
    return spread * inside
