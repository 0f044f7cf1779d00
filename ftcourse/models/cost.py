"""What a choice of layers costs: parameters, memory and FLOPs by counting, seconds by measuring.

Counting runs the network on torch's "meta" device, where tensors have shapes and no numbers: it takes
milliseconds, and is exact for the network and the batch asked about.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ftcourse.models.freezing import train_mode
from ftcourse.models.modes import unchanged

__all__ = ["Cost", "count_cost", "seconds_per_image"]

FLOAT = 4  # bytes of a float32
STATES = {"adamw": 2, "sgd": 1}  # numbers that the optimizer keeps for each one that trains


@dataclass
class Cost:
    """Counts for one training step.

    `parameters` and `trainable` are counts of numbers. Bytes, all in float32: `weights` (with buffers),
    `gradients`, `optimizer` (its state), `activations` (what `batch_size` images leave behind for the way back).
    `forward` and `backward` are FLOPs for one image, a multiplication and an addition as two.
    """

    parameters: int
    trainable: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    forward: int
    backward: int
    batch_size: int
    size: int

    @property
    def memory(self) -> int:
        """Bytes in all; what single operations need for a moment comes on top."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def to_dict(self) -> dict[str, Any]:
        """All counts, and `memory`, their sum in bytes; ready for JSON."""
        return {**asdict(self), "memory": self.memory}


def count_cost(
    model: nn.Module, *, size: int = 128, batch_size: int = 32, optimizer: str = "adamw"
) -> Cost:
    """Count what a training step costs with the parameters that train now; the model is unchanged.

    Args:
        size: side of the images in pixels.
        optimizer: "adamw" keeps two numbers for each that trains, "sgd" (with momentum) one.

    Raises:
        ValueError: an optimizer that is not known.

    Source: https://docs.pytorch.org/docs/stable/torch.utils.flop_counter.html
    """
    if optimizer not in STATES:
        raise ValueError(f"optimizer={optimizer!r}; use {' or '.join(map(repr, STATES))}")
    ghost = train_mode(_ghost(model))
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    forward, backward = _flops(ghost, size)
    tensors = [*model.parameters(), *model.buffers()]
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=trainable,
        weights=sum(t.numel() * t.element_size() for t in tensors),
        gradients=FLOAT * trainable,
        optimizer=STATES[optimizer] * FLOAT * trainable,
        activations=_activation_bytes(ghost, size, batch_size),
        forward=forward,
        backward=backward,
        batch_size=batch_size,
        size=size,
    )


def _ghost(model: nn.Module) -> nn.Module:
    """A copy without numbers; `copy.deepcopy` first would double the weights for a moment."""
    memo = {id(t): t.detach().to("meta") for t in model.buffers()}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
    return copy.deepcopy(model, memo)


def _flops(ghost: nn.Module, size: int) -> tuple[int, int]:
    images = torch.zeros(2, 3, size, size, device="meta")  # BatchNorm cannot norm a single value
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        loss = ghost(images).sum()
        forward = counter.get_total_flops()
        if loss.requires_grad:
            loss.backward()
    return forward // 2, (counter.get_total_flops() - forward) // 2


def _activation_bytes(ghost: nn.Module, size: int, batch_size: int) -> int:
    """Bytes of the different tensors that autograd keeps, without the weights, which are there anyway."""
    own = {t.untyped_storage()._cdata for t in (*ghost.parameters(), *ghost.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is given out twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    images = torch.zeros(batch_size, 3, size, size, device="meta")
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with torch.enable_grad(), hooks:
        loss = ghost(images).sum()
    del loss
    return sum(storage.nbytes() for storage in kept.values())


def seconds_per_image(
    model: nn.Module, *, size: int = 128, batch_size: int = 8, repeats: int = 2
) -> float:
    """Seconds of a forward and backward pass for one image, here and now: the best of some repeats.

    The network is as it was afterwards: no step is made, its running statistics and modes are put back.
    """
    device = next(model.parameters()).device
    images = torch.randn(batch_size, 3, size, size, device=device)
    best = float("inf")
    with unchanged(model, parameters=False):
        train_mode(model)
        for _ in range(1 + repeats):  # the first one warms up, and seldom wins
            start = time.perf_counter()
            with torch.enable_grad():
                logits = model(images)
                loss = F.cross_entropy(logits, logits.argmax(1).detach())
                if loss.requires_grad:
                    loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
    return best / batch_size
