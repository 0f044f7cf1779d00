"""Choose which parameters move, and see which ones really did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ftcourse.models.backbones import origin_of
from ftcourse.models.groups import group_parameters, layer_groups, wrapped

__all__ = ["FreezeReport", "freeze", "freeze_report", "train_mode", "unfreeze"]


def freeze(model: nn.Module, *groups: str) -> nn.Module:
    """Stop gradients for the named layer groups (none named: for all); returns the model.

    Their layers go to eval mode, so that running statistics stay as they are and dropout rests; a later
    `model.train()` would undo that: call `train_mode(model)` instead.

    Raises:
        ValueError: an unknown group, with the names there are.
    """
    _set(model, groups, requires_grad=False)
    return train_mode(model) if model.training else model


def unfreeze(model: nn.Module, *groups: str) -> nn.Module:
    """Let the named layer groups train (none named: all); returns the model.

    It sets `requires_grad` on *parameters*. Setting it on a module (`model.fc.requires_grad = True`)
    only makes an attribute of that name and thaws nothing.

    Raises:
        ValueError: an unknown group, with the names there are.
    """
    _set(model, groups, requires_grad=True)
    return train_mode(model) if model.training else model


def _set(model: nn.Module, groups: tuple[str, ...], requires_grad: bool) -> None:
    known = group_parameters(model)
    for name in groups:
        if name not in known:  # before anything is switched
            raise ValueError(f"no layer group {name!r}; this model has: {', '.join(known)}")
    for name in groups or known:
        for parameter in known[name]:
            parameter.requires_grad = requires_grad


def is_frozen(module: nn.Module) -> bool:
    """True if the module has parameters of its own and none of them trains."""
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def train_mode(model: nn.Module) -> nn.Module:
    """`model.train()`, with all that is frozen left in eval mode; returns the model.

    In train mode BatchNorm normalises by the batch and updates its running statistics on each forward
    pass, with or without gradients: a "frozen" network would drift. Dropout and stochastic depth would blur
    features that nothing learns any more. What has no parameters follows the smallest module around it that
    has some: dropout inside a frozen block rests, dropout beside a head that trains is that head's.
    """
    model.train()
    for module in model.modules():
        weights = [p.requires_grad for p in module.parameters()]
        if module is not model and weights and not any(weights):
            module.eval()
    return model


@dataclass
class FreezeReport:
    """One row a layer group; printed as a table, `rows` for code, `to_dict()` for JSON."""

    rows: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """`rows`, one dict a layer group, ready for JSON."""
        return {"rows": self.rows}

    @property
    def trainable(self) -> int:
        """How many parameters train."""
        return sum(row["trainable"] for row in self.rows)

    def __str__(self) -> str:
        head = ["group", "parameters", "trainable", "in optimizer", "BatchNorm", "weights moved"]
        head += ["statistics moved"]
        table = [head]
        for r in [*self.rows, self._total()]:
            optimizer = "-" if r["in_optimizer"] is None else f"{r['in_optimizer']:,}"
            cells = [r["group"], f"{r['parameters']:,}", f"{r['trainable']:,}", optimizer]
            table.append([*cells, r["batchnorm"], _moved(r["moved"]), _moved(r["stats_moved"])])
        widths = [max(len(row[i]) for row in table) for i in range(len(head))]
        lines = [
            "  ".join(
                c.ljust(w) if i in (0, 4) else c.rjust(w) for i, (c, w) in _cells(row, widths)
            )
            for row in table
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    __repr__ = __str__

    def _total(self) -> dict[str, Any]:
        counts = {k: sum(r[k] for r in self.rows) for k in ("parameters", "trainable")}
        known = [r["in_optimizer"] for r in self.rows if r["in_optimizer"] is not None]
        blank = {"batchnorm": "", "moved": "", "stats_moved": ""}
        return {"group": "all", **counts, "in_optimizer": sum(known) if known else None, **blank}


def _cells(row: list[str], widths: list[int]) -> Iterator[tuple[int, tuple[str, int]]]:
    return enumerate(zip(row, widths, strict=True))


def _moved(value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return "0" if value == 0 else f"{value:.2g}"


@torch.no_grad()
def freeze_report(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> FreezeReport:
    """What trains, what the optimizer holds, and how far each layer group has moved since loading.

    Each row: `parameters`, `trainable` and `in_optimizer` as counts of numbers (`in_optimizer` is None
    without an optimizer); `batchnorm` "train", "eval", "mixed" or "-" for the mode its BatchNorm layers are
    in; `moved` as the relative distance ‖w - w₀‖ / ‖w₀‖ of the parameters from those loaded, "new" for a
    head that was replaced; `stats_moved` the same for BatchNorm's running mean and variance.
    """
    held = set()
    if optimizer is not None:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    # in a wrapper (torch.compile, a class that holds the network) it is the network inside that was loaded
    loaded = next((m for m in wrapped(model) if "ftcourse_origin" in vars(m)), model)
    origin = origin_of(loaded)
    reference = origin.reference if origin else {}
    names = {id(t): n for n, t in (*loaded.named_parameters(), *loaded.named_buffers())}
    rows, owned = [], group_parameters(model)
    for group, modules in layer_groups(model).items():
        parameters = owned[group]
        buffers = [b for m in modules for b in m.buffers() if b.is_floating_point()]
        norms = [m for g in modules for m in g.modules() if isinstance(m, _BatchNorm)]
        modes = {"train" if m.training else "eval" for m in norms}
        rows.append(
            {
                "group": group,
                "parameters": sum(p.numel() for p in parameters),
                "trainable": sum(p.numel() for p in parameters if p.requires_grad),
                "in_optimizer": sum(p.numel() for p in parameters if id(p) in held)
                if optimizer is not None
                else None,
                "batchnorm": ("mixed" if len(modes) > 1 else modes.pop()) if modes else "-",
                "moved": _distance(parameters, names, reference),
                "stats_moved": _distance(buffers, names, reference),
            }
        )
    return FreezeReport(rows)


def _distance(tensors: list, names: dict[int, str], reference: dict) -> float | str | None:
    """‖now - then‖ / ‖then‖ over all tensors; "new" where a shape has changed."""
    if not tensors or not reference:
        return None
    moved = total = 0.0
    for t in tensors:
        then = reference.get(names.get(id(t), ""))
        if then is None or then.shape != t.shape:
            return "new"
        then = then.to(t.device)
        moved += (t - then).double().square().sum().item()
        total += then.double().square().sum().item()
    return (moved / max(total, 1e-30)) ** 0.5
