"""Look at a model, or try something on it, and leave it as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

__all__ = ["eval_mode", "modes_kept", "random_kept", "unchanged"]


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[nn.Module]:
    """Afterwards each module is in its own mode again: train or eval."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def random_kept(*, torch_too: bool = True) -> Iterator[None]:
    """Afterwards the random states of Python, NumPy and (on the CPU) PyTorch are as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[], enabled=torch_too):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; afterwards each module is back in its own."""
    with modes_kept(model):
        yield model.eval()


@contextmanager
def unchanged(model: nn.Module, *, parameters: bool = True) -> Iterator[nn.Module]:
    """Afterwards weights, running statistics, gradients, `requires_grad`, modes and device are as they were.

    Args:
        parameters: False where nothing changes the weights themselves: then no memory is taken for them.
    """
    switches = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    device = next((p.device for p in model.parameters()), None)
    before = {name: b.detach().clone() for name, b in model.named_buffers()}
    if parameters:
        before |= {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        with modes_kept(model):
            yield model
    finally:
        if device is not None:
            model.to(device)
        now = dict(model.named_parameters()) | dict(model.named_buffers())
        with torch.no_grad():
            for name, value in before.items():
                now[name].copy_(value)
        for parameter, trains, grad in switches:
            parameter.requires_grad, parameter.grad = trains, grad
