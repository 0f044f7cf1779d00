"""Which parameters belong together: a network's layer groups, from its input to its head.

What trains is chosen by these groups, so they keep one promise: each parameter of the model is in exactly one of
them. Where that cannot be had from the model itself, it is refused, and the user names the groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import fx, nn

from ftcourse.models.modes import eval_mode, random_kept

__all__ = [
    "group_parameters", "head_of", "head_outputs", "last_block", "layer_groups", "replace_head", "wrapped",
]  # fmt: skip

TRUNK = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
# what a model calls it whose computation cannot be traced
HEADS = ("head", "fc", "classifier", "heads", "score", "lm_head", "qa_outputs", "logits", "output")
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # GoogLeNet's and Inception's second heads
SHOWN = 5  # names in an error message

Groups = dict[str, list[nn.Module]]

# for each model: its modules when it was traced, and the one that was last to compute
_traced: WeakKeyDictionary[nn.Module, tuple[list[ref], ref | None]] = WeakKeyDictionary()


# -- the groups --------------------------------------------------------------------------------


def layer_groups(model: nn.Module) -> Groups:
    """The groups that are frozen and thawed together, from the input to the head: name -> modules.

    For a ResNet: stem (conv1, bn1), layer1 to layer4, head. For torchvision's segmentation and detection models on
    a ResNet the same, the head being all that is not the ResNet. For other models: the children that have
    parameters, with the head (the layer that gives the logits) apart. torch.compile, DataParallel, DDP, peft, a
    class that only holds a network (`self.backbone = resnet18(...)`) and an `nn.Sequential` of a network and what
    has no parameters (a Normalize) are looked through. A parameter that no
    module of a group holds (a vision transformer's class token) stands in the group in an `nn.ParameterList`.

    A model says it itself with an attribute `ftcourse_groups`: group name -> names of submodules or parameters,
    from the input to "head".

    Each parameter is in exactly one group; one that is shared by two (tied weights) counts for the first: take
    `group_parameters` where that matters.

    Raises:
        ValueError: the groups cannot be found, or `ftcourse_groups` names what does not exist, leaves parameters
            out or names them twice.
    """
    *_, root = layers = list(wrapped(model))
    for part in layers:
        named = vars(part).get("ftcourse_groups", getattr(type(part), "ftcourse_groups", None))
        if named is not None:
            groups = _given(part, named)
            return _with_the_rest(model, part, groups)
    return _with_the_rest(model, root, _found(root))


def group_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of each layer group, each one once in all: from the input to the head.

    Raises:
        ValueError: as `layer_groups`.
    """
    seen: set[int] = set()
    groups: dict[str, list[nn.Parameter]] = {}
    for name, modules in layer_groups(model).items():
        groups[name] = []
        for parameter in (p for module in modules for p in module.parameters()):
            if id(parameter) not in seen:  # tied weights belong to the group nearer to the input
                seen.add(id(parameter))
                groups[name].append(parameter)
    return groups


def last_block(model: nn.Module) -> str:
    """The layer group from which on, without the head, at least a fifth of the backbone's parameters lies.

    Of a ResNet that is "layer4", of a vision transformer of twelve blocks the tenth, of EfficientNet-Lite0
    "blocks.6".

    Raises:
        ValueError: there is nothing but a head; and as `layer_groups`.
    """
    sizes = {n: sum(p.numel() for p in ps) for n, ps in group_parameters(model).items()}
    del sizes["head"]
    so_far = 0
    for name, size in reversed(sizes.items()):
        so_far += size
        if 5 * so_far >= sum(sizes.values()):
            return name
    raise ValueError(f"{type(model).__name__} has nothing but a head")


def wrapped(model: nn.Module) -> Iterator[nn.Module]:
    """The model, what it is a mere wrapper of, what that is a wrapper of, ...; the network itself is last."""
    yield model
    while (name := _the_one_inside(model)) is not None:
        model = model.get_submodule(name)
        yield model


def _the_one_inside(model: nn.Module) -> str | None:
    """The child that a model is a mere wrapper of; None if it is no wrapper."""
    name = _library_wraps(model)
    if name is not None:
        return name
    inside = [n for n, child in model.named_children() if _has_parameters(child)]
    if len(inside) != 1 or _own(model) or isinstance(model, nn.ModuleList):
        return None
    child = model.get_submodule(inside[0])
    network = any(_has_parameters(m) for m in child.children())
    return inside[0] if network and not isinstance(child, nn.Sequential) else None


def _library_wraps(model: nn.Module) -> str | None:
    """The child that torch.compile, DataParallel, DDP, an average of weights or peft has wrapped."""
    if "_orig_mod" in model._modules:
        return "_orig_mod"
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    if isinstance(model, (*parallel, torch.optim.swa_utils.AveragedModel)):
        return "module"
    if type(model).__module__.startswith("peft."):
        return next((n for n in ("base_model", "model") if n in model._modules), None)
    return None


def _with_the_rest(model: nn.Module, part: nn.Module, groups: Groups) -> Groups:
    """The groups of a part, checked, with what the wrappers around it hold beside it as part of the head.

    Such a rest is new by nature: the soft prompt of peft, say.
    """
    covered = {id(p) for modules in groups.values() for m in modules for p in m.parameters()}
    left = [n for n, p in part.named_parameters() if id(p) not in covered]
    if left:
        raise ValueError(
            f"{type(part).__name__}: {len(left)} parameters are in no layer group ({_some(left)}). {_how_to(part)}"
        )
    rest = [p for p in model.parameters() if id(p) not in covered]
    if rest:
        groups["head"] = [*groups["head"], nn.ParameterList(rest)]
    return groups


def _how_to(model: nn.Module) -> str:
    children = [n for n, m in model.named_children() if _has_parameters(m)] or ["layers"]
    return (
        f"Name the groups, from the input to the head, each parameter once: "
        f'model.ftcourse_groups = {{"{children[0]}": ["{children[0]}"], ..., "head": [...]}}, '
        f"with names of submodules or parameters"
    )


def _given(model: nn.Module, named: Any) -> Groups:
    """The groups that a model names itself, checked."""
    if not isinstance(named, Mapping) or not named or list(named)[-1] != "head":
        raise ValueError(
            f'ftcourse_groups of {type(model).__name__}: a dict whose last key is "head"; found {named!r}'
        )
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    owner: dict[str, str] = {}
    groups: Groups = {}
    for group, names in named.items():
        names = [names] if isinstance(names, str) else list(names)
        unknown = [n for n in names if n not in modules and n not in parameters]
        if unknown:
            raise ValueError(
                f"ftcourse_groups of {type(model).__name__}: group {group!r} names {_some(unknown)}, which this "
                f"model does not have; its parts are {_some([n for n, _ in model.named_children()])}"
            )
        for name in parameters:
            if not any(not n or name == n or name.startswith(n + ".") for n in names):
                continue
            if owner.setdefault(name, group) != group:
                raise ValueError(
                    f"ftcourse_groups of {type(model).__name__}: the parameter {name} is in two groups, "
                    f"{owner[name]!r} and {group!r}; name it in one of them"
                )
        groups[group] = [modules.get(n) or _alone(parameters[n]) for n in names]
    return groups


# -- found in the model ------------------------------------------------------------------------


def _found(root: nn.Module) -> Groups:
    """The groups of a model that does not name them."""
    backbone = root._modules.get("backbone")
    body = backbone._modules.get("body") or backbone if backbone is not None else None
    for trunk in (root, body):
        if trunk is not None and _is_resnet(trunk):
            return {**_resnet(trunk), "head": _cover(root, [trunk.get_submodule(n) for n in TRUNK])}
    if body is not None and _has_parameters(body) and (rest := _cover(root, [body])):
        if isinstance(body, nn.Sequential):
            groups = {f"backbone.{n}": [m] for n, m in body.named_children() if _has_parameters(m)}
        else:
            groups = _children(body, None, inside="backbone.") or {"backbone": []}
        return {**_with_strays(body, groups), "head": rest}
    head = _output_layer(root)
    if head is None:
        raise ValueError(f"{_no_head(root)} {_how_to(root)}")
    groups = _children(root, head)
    whole = groups.pop("head", [])  # a child of that name, around the head: it is meant as a whole
    return _with_strays(root, {**groups, "head": [*whole, head]})


def _with_strays(root: nn.Module, groups: Groups) -> Groups:
    """Parameters that a root holds itself (a class token) go with what is nearest to the input."""
    strays = _own(root)
    if strays:
        first = next(iter(groups))
        groups[first] = [_alone(*strays), *groups[first]]
    return groups


def _children(root: nn.Module, head: nn.Module | None, inside: str = "") -> Groups:
    """One group a child that has parameters, a block of an `nn.Sequential`, a stage of a ResNet; without the head.

    Where all but the head is one child, the groups are those of that child.
    """
    groups: Groups = {}
    children = [(n, c) for n, c in root.named_children() if c is not head and _has_parameters(c)]
    bodies = [(n, c) for n, c in children if head is None or not _holds(c, head)]
    for name, child in children:
        if (name, child) not in bodies:  # the head is inside: the rest of it is a group
            found = {name: _cover(child, [head])}
        elif isinstance(child, nn.Sequential):  # mobilenet_v2().features: one group a block
            found = {f"{name}.{n}": [m] for n, m in child.named_children()}
        elif _is_resnet(child) and sum(_is_resnet(c) for _, c in bodies) == 1:
            others = [(n, c) for n, c in child.named_children() if n not in TRUNK]
            found = {**_resnet(child), **{f"{name}.{n}": [c] for n, c in others}}
        elif len(bodies) == 1 and len(list(child.children())) > 1 and not inside:
            found = _with_strays(child, _children(child, None, inside=f"{name}."))
        else:
            found = {name: [child]}
        for key, modules in found.items():
            if any(_has_parameters(m) for m in modules):
                key = f"{inside}{key}" if key == "head" else key
                if key in groups or (key == "head" and not _holds(child, head)):
                    what = f"{type(root).__name__}: its {key!r} does not give the logits."
                    raise ValueError(f"{what} {_how_to(root)}")
                groups[key] = modules
    return groups


def _resnet(trunk: nn.Module) -> Groups:
    stem = [trunk.get_submodule("conv1"), trunk.get_submodule("bn1")]
    return {"stem": stem, **{f"layer{i}": [trunk.get_submodule(f"layer{i}")] for i in range(1, 5)}}


def _is_resnet(module: nn.Module) -> bool:
    """A ResNet, or what torchvision's segmentation and detection models keep of it; by its own children."""
    return all(name in module._modules for name in TRUNK)


def _cover(module: nn.Module, without: Sequence[nn.Module | None]) -> list[nn.Module]:
    """The fewest modules that hold the parameters of a module but those of others inside of it."""
    found: list[nn.Module] = [_alone(*own)] if (own := _own(module)) else []
    for child in module.children():
        if any(child is w for w in without) or not _has_parameters(child):
            continue
        split = any(_holds(child, w) for w in without)
        found += _cover(child, without) if split else [child]
    return found


def _holds(module: nn.Module, part: nn.Module | None) -> bool:
    return any(m is part for m in module.modules())


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _own(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _alone(*parameters: nn.Parameter) -> nn.ParameterList:
    return nn.ParameterList(parameters)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


# -- the head ----------------------------------------------------------------------------------


def head_of(model: nn.Module) -> tuple[str, Any]:
    """Name and module of the head: the layer that gives the logits.

    It is an `nn.Linear`; where a network has a convolution in its place (SqueezeNet), that `nn.Conv2d`; where peft
    has put an adapter around it, the layer with its adapter. Where there are several, what the model computes
    decides (torch.fx), for neither the order nor the names of its modules tell.

    Raises:
        ValueError: no such layer is found, or the layer groups are not (see `layer_groups`).
    """
    *_, root = wrapped(model)
    inside = layer_groups(model)["head"]
    layers = [m for group in inside for m in _layers(group)]
    linear = [m for m in layers if not isinstance(m, nn.Conv2d)]
    head = linear[0] if len(linear) == 1 else _output_layer(root)
    if not any(head is layer for layer in layers):
        head = (
            linear[-1] if linear else None
        )  # in a detector, say, whose computation cannot be traced
    if head is None:
        raise ValueError(_no_head(root))
    return next((n, m) for n, m in model.named_modules() if m is head)


def head_outputs(head: nn.Module) -> int:
    """How many classes a head tells apart: `out_features`, or a convolution's `out_channels`."""
    outputs = getattr(head, "out_features", None) or getattr(head, "out_channels", None)
    return int(outputs)  # type: ignore[arg-type]


def replace_head(model: nn.Module, num_classes: int) -> nn.Module:
    """Put a new `nn.Linear(in_features, num_classes)` in place of the head; returns the model.

    The new head has the device and dtype of the old one, and trains (`requires_grad`) whatever was
    frozen before. An optimizer made earlier still holds the old head: make the optimizer afterwards.
    In place of SqueezeNet's convolution there is a new convolution. The second heads of GoogLeNet and Inception,
    which tell the old classes apart in training, are taken out.

    Raises:
        ValueError: fewer than two classes, or a model without a linear layer as its head.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: a classifier needs at least 2 classes")
    name, old = head_of(model)
    kind = {"bias": old.bias is not None, "device": old.weight.device, "dtype": old.weight.dtype}
    if isinstance(old, nn.Conv2d):
        shape = {k: getattr(old, k) for k in ("kernel_size", "stride", "padding", "dilation")}
        new: nn.Module = nn.Conv2d(old.in_channels, num_classes, **shape, **kind)
    else:
        new = nn.Linear(old.in_features, num_classes, **kind)
    parent = model.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], new)
    for module in model.modules():
        if getattr(module, "aux_logits", False) is True:
            module.aux_logits = False  # type: ignore[assignment]
            for second in AUXILIARY:
                if second in module._modules:
                    setattr(module, second, None)
    return model


def _no_head(root: nn.Module) -> str:
    return (
        f"{type(root).__name__} has no layer (nn.Linear or nn.Conv2d) that plainly gives the logits"
        f"{'' if list(root.parameters()) else ': it has no parameters'}."
    )


def _layers(module: nn.Module) -> list[nn.Module]:
    """The layers in a module that can be a head; one in an adapter of peft counts with its adapter."""
    saved = module._modules.get("modules_to_save")
    if isinstance(saved, nn.ModuleDict):  # peft's copy of a layer that trains as a whole
        return [layer for copy in saved.values() for layer in _layers(copy)]
    if isinstance(module._modules.get("base_layer"), (nn.Linear, nn.Conv2d)):
        return [module]
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return [module]
    return [layer for child in module.children() for layer in _layers(child)]


def _output_layer(root: nn.Module) -> nn.Module | None:
    """The layer that gives the logits: the only linear one, or the one that is last to compute."""
    layers = _layers(root)
    linear = [m for m in layers if not isinstance(m, nn.Conv2d)]
    if len(linear) == 1:
        return linear[0]
    last = _last_to_compute(root)
    if last is None:  # it cannot be traced: a child that is called a head has it
        called = [c for n, c in root.named_children() if n in HEADS and _layers(c)]
        last = called[0] if len(called) == 1 else None
    found = _layers(last) if last is not None else []
    return found[-1] if found else None


class _Tracer(fx.Tracer):
    """Leaves peft's adapters whole: what they compute depends on types, which a trace does not know."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        adapted = "base_layer" in m._modules or "modules_to_save" in m._modules
        return adapted or super().is_leaf_module(m, module_qualified_name)


def _last_to_compute(root: nn.Module) -> nn.Module | None:
    """The one module with parameters whose output becomes the model's, but for what has no parameters.

    A trace of a large network takes a tenth of a second; so it is kept for as long as the modules are the same.
    """
    modules = [ref(m) for m in root.modules()]
    if root not in _traced or _traced[root][0] != modules:
        found = _trace_back(root)
        _traced[root] = modules, ref(found) if found is not None else None
    last = _traced[root][1]
    return last() if last is not None else None


def _trace_back(root: nn.Module) -> nn.Module | None:
    before = set(vars(root))
    try:
        with eval_mode(root), random_kept():
            graph = _Tracer().trace(root)
    except Exception:  # any that the model's own code raises when it is traced
        return None
    finally:
        for name in set(vars(root)) - before:  # constants that the tracer leaves
            delattr(root, name)
    *_, output = graph.nodes
    given: Any = output.args[0]
    if isinstance(given, Mapping):
        given = given.get("logits", given.get("out", next(iter(given.values()), None)))
    if isinstance(given, (tuple, list)):
        given = given[0]
    modules, found = dict(root.named_modules()), set()
    todo = [given] if isinstance(given, fx.Node) else []
    for node in todo:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if node.op == "get_attr":  # a layer written as a function
            return None
        if module is not None and _has_parameters(module):
            found.add(module)
        else:
            todo += [n for n in node.all_input_nodes if n not in todo]
    return found.pop() if len(found) == 1 else None
