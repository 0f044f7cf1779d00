"""Whether a network is the one that torchvision builds by its architecture's name, apart from its weights.

A file of weights says nothing of a changed stride, another activation or a batch norm's `eps`: built by its name
and filled, the network would answer otherwise, without an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d, StochasticDepth

from ftcourse.models.states import (
    AUXILIARY,
    build,
    builder_options,
    misfit,
    plain_names,
    stored,
)

__all__ = ["network_in", "told_apart"]

# Attributes that change no output in eval mode, or that the shapes of the tensors tell already.
NO_MATTER = frozenset(
    {"training", "inplace", "momentum", "track_running_stats", "drop_rate", "memory_efficient", "aux_logits"}
    | {"transform_input", "num_classes", "in_features", "out_features", "num_features"}
)  # fmt: skip
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)  # one computation in eval mode
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, StochasticDepth)
SETTINGS = (bool, int, float, str, type(None), torch.Size)


def network_in(model: nn.Module, architecture: str) -> nn.Module:
    """The network in a model, which `torch.compile`, DataParallel or a module of the user's may hold."""
    return _modules(model, architecture).get("", model)


def told_apart(model: nn.Module, architecture: str, num_classes: int) -> str:
    """What a network built by its name and filled with these weights would have otherwise; "" if nothing.

    Compared are the shapes of tensors, kinds of modules and their settings, as far as they change an output in
    eval mode. `transform_input` is left to the header. What a module computes by code of its own,
    hooks among it, cannot be compared.
    """
    state = model.state_dict()
    names = plain_names(state, architecture)
    found = stored({mine: state[theirs] for mine, theirs in names.items()})
    sketch = build(architecture, num_classes, sketch=True, **builder_options(architecture, found))
    if reason := misfit(sketch.state_dict(), found.shapes):
        return reason
    modules = _modules(model, architecture)
    return next(_differences(modules, dict(sketch.named_modules()), architecture), "")


def _modules(model: nn.Module, architecture: str) -> dict[str, nn.Module]:
    """The network's modules by the names that they have in the network itself."""
    names = plain_names(model.state_dict(), architecture)
    first = next(iter(names))
    prefix = names[first].replace("_orig_mod.", "").removesuffix(first)
    found = {}
    for name, module in model.named_modules():
        plain = "".join(f"{part}." for part in name.split(".") if part and part != "_orig_mod")
        if plain.startswith(
            prefix
        ):  # of a compiled module and the one inside, the inner comes last
            found[plain.removeprefix(prefix).removesuffix(".")] = module
    return found


def _differences(
    found: dict[str, nn.Module], wanted: dict[str, nn.Module], architecture: str
) -> Iterator[str]:
    second = AUXILIARY.get(architecture, ())
    for name in (*wanted, *(n for n in found if n not in wanted)):
        if f"{name}.".startswith(second):
            continue
        where = name or type(wanted[""]).__name__
        if name not in wanted:
            if not isinstance(found[name], NOTHING):
                yield f"it has {where} ({type(found[name]).__name__}), and a {architecture} has not"
        elif name not in found:
            if not isinstance(wanted[name], NOTHING):
                yield f"it has no {where}, and a {architecture} has"
        else:
            yield from _settings(where, found[name], wanted[name], architecture)


def _settings(where: str, mine: nn.Module, built: nn.Module, name: str) -> Iterator[str]:
    if isinstance(mine, NOTHING) and isinstance(built, NOTHING):
        return
    if "forward" in vars(mine):
        yield f"{where} has a forward of its own"
    alike = isinstance(mine, NORMS) and isinstance(built, NORMS)
    if type(mine) is not type(built) and not alike:
        yield f"{where} is a {type(mine).__name__}, and in a {name} a {type(built).__name__}"
        return
    for key, value in vars(built).items():
        if key.startswith("_") or key in NO_MATTER or "dropout" in key:
            continue
        if not _plain(value):
            continue
        own = getattr(mine, key, None)
        if _listed(own) != _listed(value):
            yield f"{where} has {key}={own!r}, and in a {name} {value!r}"


def _plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return isinstance(value, SETTINGS)


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, (list, tuple)) else value
