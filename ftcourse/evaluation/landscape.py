"""The loss between networks: along the way from one to another, or in the plane of three.

Fine-tuning starts at θ₀ and ends at θ₁. Is there a hill between them, or a slope all the way down? Weights
in between are mixed, `(1 - x) θ₀ + x θ₁`, and the loss of each mixture is measured.

Source: https://arxiv.org/abs/1412.6544 (the straight line), https://arxiv.org/abs/1802.10026 (the plane)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from ftcourse.models.modes import unchanged
from ftcourse.training.loop import evaluate

__all__ = ["Landscape", "loss_landscape"]

State = Mapping[str, Tensor]


@dataclass
class Landscape:
    """Losses (nats) and accuracies (fractions) between networks.

    For two: `x`, `loss`, `accuracy` of shape (steps,); x = 0 is the first and x = 1 the second. For three: `loss`
    and `accuracy` (steps, steps) over `x` and `y`, distances in weight space, and `places` of the three in it.
    """

    names: list[str]
    x: np.ndarray
    loss: np.ndarray
    accuracy: np.ndarray
    y: np.ndarray | None = None
    places: list[tuple[float, float]] | None = None

    def plot(self, path: Any = None, *, theme: str | None = None) -> Any:
        """The curve or the map; returns the matplotlib Figure."""
        from ftcourse.plots import plot_landscape

        return plot_landscape(self, path, theme=theme)


def loss_landscape(
    model: nn.Module,
    data: Dataset,
    states: Mapping[str, State] | Sequence[State],
    *,
    steps: int | None = None,
    margin: float = 0.25,
    batch_size: int = 64,
) -> Landscape:
    """Measure the loss on the way between two states of a network, or in the plane of three.

    Args:
        model: its weights and modes are put back as they were, whatever happens.
        data: a split without random transforms, such as `data.val`; it is read once.
        states: two or three state dicts of this model, copied (`{k: v.clone() for k, v in
            model.state_dict().items()}`), in a list or by name. BatchNorm's statistics are mixed as weights are.
        steps: points on the line (25 by default), or on each side of the plane (11).
        margin: how far to look beyond the states, as a share of their distance.

    Raises:
        ValueError: not two or three states, or states of differently shaped networks.
    """
    named = dict(states) if isinstance(states, Mapping) else _numbered(states)
    if len(named) not in (2, 3):
        raise ValueError(f"{len(named)} states; give two for a line, or three for a plane")
    _check(model, named)
    device = next(model.parameters()).device  # a state from before the training may lie elsewhere
    named = {  # copies: one may be the model's own tensors, which the measuring moves
        n: {k: v.to(device, copy=True) for k, v in state.items()} for n, state in named.items()
    }
    images, targets = next(iter(DataLoader(data, batch_size=len(data))))  # type: ignore[arg-type]
    held = TensorDataset(images, targets)

    def measure(*shares: float) -> tuple[float, float]:
        model.load_state_dict(_mixture(list(named.values()), shares))
        found = evaluate(model, held, batch_size=batch_size)
        return found["loss"], found["accuracy"]

    with unchanged(model):
        if len(named) == 2:
            x = np.linspace(-margin, 1 + margin, steps or 25)
            # the two ends themselves belong on the curve
            x = np.unique(np.concatenate([x, [0.0, 1.0]]).round(9))
            values = np.array([measure(1 - v, v) for v in x])
            return Landscape(list(named), x, values[:, 0], values[:, 1])
        return _plane(list(named), list(named.values()), measure, steps or 11, margin)


def _numbered(states: Sequence[State]) -> dict[str, State]:
    return {f"θ{'₀₁₂₃₄₅₆₇₈₉'[i % 10]}": state for i, state in enumerate(states)}


def _check(model: nn.Module, states: Mapping[str, State]) -> None:
    own = {k: v.shape for k, v in model.state_dict().items()}
    for name, state in states.items():
        for key, shape in own.items():
            if key not in state or state[key].shape != shape:
                has = tuple(state[key].shape) if key in state else "nothing"
                raise ValueError(
                    f"state {name!r}: {key} is {has}, the model has {tuple(shape)}; "
                    f"all states must be of this network, its head included"
                )


def _mixture(states: list[State], shares: Sequence[float]) -> dict[str, Tensor]:
    """The weighted sum; what is not a float (BatchNorm's counter) is taken from the first."""
    mixed = {}
    for key, first in states[0].items():
        if not first.is_floating_point():
            mixed[key] = first
            continue
        total = sum(w * s[key].double() for w, s in zip(shares, states, strict=True))
        value = torch.as_tensor(total).to(first.dtype)
        # beyond the ends a variance could become negative, and its root nan
        mixed[key] = value.clamp(min=0) if key.endswith("running_var") else value
    return mixed


def _plane(
    names: list[str], states: list[State], measure: Any, steps: int, margin: float
) -> Landscape:
    """Coordinates by Gram and Schmidt: u from the first to the second, v to the third, upright on u."""
    flat = [
        torch.cat([s[k].double().flatten() for k in states[0] if s[k].is_floating_point()])
        for s in states
    ]
    d1, d2 = flat[1] - flat[0], flat[2] - flat[0]
    length = d1.norm().item()
    along = (d2 @ d1).item() / max(length, 1e-30)
    height = (d2 - along * d1 / max(length, 1e-30)).norm().item()
    if length < 1e-12 or height < 1e-9 * length:
        raise ValueError("the three states lie on one line, so that they span no plane")
    places = [(0.0, 0.0), (length, 0.0), (along, height)]
    left, right = min(0.0, along), max(length, along)
    wide, tall = margin * (right - left), margin * height  # each side by its own extent
    x = np.linspace(left - wide, right + wide, steps)
    y = np.linspace(-tall, height + tall, steps)
    loss, accuracy = np.zeros((steps, steps)), np.zeros((steps, steps))
    for i, yy in enumerate(y):
        for j, xx in enumerate(x):
            third = yy / height
            second = (xx - third * along) / length
            loss[i, j], accuracy[i, j] = measure(1 - second - third, second, third)
    return Landscape(names, x, loss, accuracy, y, places)
