"""Evidence in how photos become inputs: their scale, size and order of channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ftcourse.models.backbones import origin_of, weights_of
from ftcourse.tasks.task import to_device
from ftcourse.training.preflight.check import Evidence, Finding
from ftcourse.training.preflight.copies import base_of, paths_of, raw_reader
from ftcourse.training.preflight.watch import Seen

__all__ = [
    "IMAGENET", "channels_told", "channels_turned", "inputs_normalised", "normalisation", "order_of_channels",
    "sizes",
]  # fmt: skip

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def inputs_normalised(e: Evidence) -> Iterator[Finding]:
    if e.told("not finite"):
        return
    for name, (inputs, _) in e.batches.items():
        if isinstance(inputs, Tensor) and inputs.ndim == 4:  # detectors normalise for themselves
            yield from normalisation(inputs, e.model, name)


class _Arrived(BaseException):
    """Carries what has arrived at the first layer out of the model."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


@torch.no_grad()
def _arriving(model: nn.Module, images: Tensor) -> Tensor:
    """What the first layer with three channels gets: the model may normalise for itself."""

    def stop(module: nn.Module, args: tuple[Tensor]) -> None:
        raise _Arrived(args[0].cpu())

    first = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3]
    hooks = [m.register_forward_pre_hook(stop) for m in first]
    try:
        model(to_device(images, next(model.parameters()).device))
    except _Arrived as arrived:
        return arrived.x.float()
    except Exception:  # the model's own error is told where its outputs are asked for
        return images
    finally:
        for hook in hooks:
            hook.remove()
    return images


def normalisation(images: Tensor, model: nn.Module, split: str) -> Iterator[Finding]:
    """Undo the expected normalisation: real photos then fill 0 to 1, and wrongly made inputs do not."""
    if not images.is_floating_point():
        return  # the model has to make something else of them; or its outputs say that it does not
    arrived, expected = _arriving(model, images), _expected(model)
    raw_low, raw_high = arrived.min().item(), arrived.max().item()
    if expected is None:  # any scale may be meant, but for that of bytes
        if raw_high <= 20:
            return
        expected = (torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    mean, std = expected
    if arrived.shape[1] != len(mean):
        return
    pixels = arrived * std + mean
    low, high = (q.item() for q in _quantiles(pixels))
    inside = low >= -0.05 and high <= 1.05
    if inside and (high - low > 0.6 or _grey(pixels) or not _usual_scale(raw_low, raw_high)):
        return
    if raw_high > 20:
        guess = "they look like 0 to 255"
    elif raw_low >= 0 and raw_high <= 1.001:
        guess = "they look like 0 to 1, not normalised"
    else:
        guess = "they look normalised by another mean and std"
    yield Finding(
        "inputs not normalised as the weights expect",
        f"{split} inputs are not normalised as the weights expect: {guess}",
        f"inputs span {raw_low:.2f} to {raw_high:.2f}; with the weights' mean and std undone, "
        f"98 % of the pixels lie in {low:.2f} to {high:.2f} instead of about 0 to 1",
        "use weights.transforms() of the weights that the model was loaded with",
    )


def _usual_scale(low: float, high: float) -> bool:
    """Do values fill 0 to 1, or -1 to 1? Then few contrasts are not what makes them look narrow."""
    return (0 <= low < 0.2 and 0.8 < high <= 1.001) or (
        -1.001 <= low < -0.8 and 0.8 < high <= 1.001
    )


def _grey(pixels: Tensor) -> bool:
    """The same in all channels: only the right mean and std undo it to that."""
    return bool((pixels.amax(1) - pixels.amin(1)).max() < 0.02)


def _quantiles(pixels: Tensor) -> tuple[Tensor, Tensor]:
    flat = pixels.flatten()
    flat = flat[:: max(1, len(flat) // 100_000)]
    return flat.quantile(0.01), flat.quantile(0.99)


def _expected(model: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The mean and std that the weights were trained with; None where there is nothing to tell."""
    weights, origin = weights_of(model), origin_of(model)
    for holder in model.modules():  # timm's way to say it
        settings = getattr(holder, "pretrained_cfg", None) or getattr(holder, "default_cfg", None)
        if isinstance(settings, dict) and {"mean", "std"} <= set(settings):
            return _as_channels(settings["mean"], settings["std"])
    if weights is not None:
        preset = weights.transforms()
        return _as_channels(
            getattr(preset, "mean", IMAGENET[0]), getattr(preset, "std", IMAGENET[1])
        )
    kin = any(
        k.__module__.startswith("torchvision.models.")
        for m in model.modules()
        for k in type(m).__mro__
    )
    if not kin or (origin is not None and origin.weights is None):
        return None
    return _as_channels(*IMAGENET)


def _as_channels(mean: Any, std: Any) -> tuple[Tensor, Tensor]:
    return torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)


# -- size, channels, randomness ----------------------------------------------------------------


def sizes(e: Evidence) -> Iterator[Finding]:
    """Things look larger or smaller in validation than they were learnt."""
    sides = {
        n: x.shape[-2:] for n, (x, _) in e.batches.items() if isinstance(x, Tensor) and x.ndim == 4
    }
    if len(sides) < 2:
        return
    ratio = min(sides["val"]) / min(sides["train"])
    if (
        not 0.95 < ratio < 1.5
    ):  # larger by a quarter is a known trick: https://arxiv.org/abs/1906.06423
        (a, b), (c, d) = sides["train"], sides["val"]
        yield Finding(
            "validation photos of another size",
            "validation photos have another size than training photos",
            f"{a} x {b} pixels in training, {c} x {d} in validation",
            "give both transforms the same size",
        )


def order_of_channels(e: Evidence) -> Iterator[Finding]:
    """Compare each photo's channels with those of its file, and those of both splits with each other."""
    splits = dict(e.splits)
    for name, (inputs, _) in e.batches.items():
        if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.shape[1] != 3:
            return
        raw = _raw_means(splits[name], e.rows[name])
        if raw is not None and _reversed(raw, _undone(inputs, e.model).mean((2, 3))):
            yield _swapped(
                name,
                f"in {len(raw)} photos, the means of blue and red fit those of the files' red and blue",
            )
            return
    if len(e.batches) == 2:
        yield from channels_told(e.model, e.batches["train"][0], e.batches["val"][0], "val")


def channels_told(model: nn.Module, train: Tensor, other: Tensor, name: str) -> Iterator[Finding]:
    """Red less blue: where it is far from 0 in one and the opposite in the other, one has them swapped.

    As the network gets them, and with the normalisation undone: they may be swapped behind it or before.
    """
    if min(len(train), len(other)) < 8:
        return
    for change in (lambda x: x.float(), lambda x: _undone(x, model)):
        a, b = ((m[:, 0] - m[:, 2]) for m in (change(x).mean((2, 3)) for x in (train, other)))
        error = (a.var() / len(a) + b.var() / len(b)).sqrt().clamp(min=1e-6)
        apart, together = (a.mean() - b.mean()).abs(), (a.mean() + b.mean()).abs()
        if apart > 6 * error and together < 0.25 * apart:
            yield _swapped(
                name,
                f"red less blue is {a.mean():+.2f} on average in training and {b.mean():+.2f} there",
            )
            return


def channels_turned(seen: Seen, name: str) -> Iterator[Finding]:
    """Does the model get what a loader gave, with the channels the other way round?"""
    for given, got in zip(seen.given, seen.inputs, strict=False):
        if given.shape != got.shape or given.ndim != 4 or given.shape[1] != 3:
            return
        got = got.to(given.device, given.dtype)
        if torch.equal(given.flip(1), got) and not torch.equal(given, got):
            yield _swapped(
                name, "the model gets the loader's photos with their channels turned round"
            )
            return


def _swapped(name: str, evidence: str) -> Finding:
    return Finding(
        "channels in another order",
        f"{name} photos seem to have their channels in the order blue, green, red",
        evidence,
        "OpenCV reads blue first: image[..., ::-1], or cv2.cvtColor(image, cv2.COLOR_BGR2RGB)",
    )


def _undone(inputs: Tensor, model: nn.Module) -> Tensor:
    mean, std = _expected(model) or _as_channels(*IMAGENET)
    return inputs.float() * std + mean


def _raw_means(split: Any, rows: list[int]) -> Tensor | None:
    """Mean of red, green and blue of each photo as its file has them, float32 (N, 3) in 0 to 1."""
    read, paths = raw_reader(split), paths_of(split)
    if isinstance(base_of(split)[0], TensorDataset):
        return None
    means = []
    for i in rows[:16]:
        try:
            if paths is not None:
                with Image.open(paths[i]) as photo:
                    photo.draft("RGB", (32, 32))  # a JPEG at an eighth of its size
                    x = np.asarray(photo.convert("RGB").resize((32, 32))).transpose(2, 0, 1)
            elif read is not None:
                x = read(i)
            else:
                return None
        except (OSError, ValueError):
            return None
        if x.ndim != 3 or x.dtype != np.uint8:
            return None
        x = x if x.shape[0] == 3 else x.transpose(2, 0, 1)
        means.append(torch.from_numpy(x.reshape(3, -1).mean(1) / 255).float())
    return torch.stack(means) if means and len(means[0]) == 3 else None


def _reversed(raw: Tensor, means: Tensor) -> bool:
    """Do the inputs' channel means fit the files' better backwards? (Colours are changed in training.)"""
    means = means[: len(raw)]
    tinted = (raw[:, 0] - raw[:, 2]).abs() > 0.05
    if tinted.sum() < 8:
        return False
    straight = (means - raw)[tinted].abs().mean(1)
    backwards = (means - raw.flip(1))[tinted].abs().mean(1)
    return bool(
        (backwards < straight).float().mean() > 0.9 and backwards.mean() < 0.6 * straight.mean()
    )
