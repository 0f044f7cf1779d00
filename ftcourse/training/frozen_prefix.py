"""What is frozen is computed once.

    cut = cut_model(model)                        # at the first module that trains
    features = cut.prefix(model)(images)          # the frozen part: eval, no graph, fused, fast
    logits = cut.rest(model)(features)            # what trains; shares its modules with the model

The model's computation is traced (torch.fx), so the cut is right for any architecture that can be traced, and
refused for the others. `disagreement` compares both halves with the whole on a few images.
`ftcourse.training.feature_cache` keeps what the frozen part gives.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import random
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._pytree import tree_leaves
from torchvision.ops import FrozenBatchNorm2d, Permute, StochasticDepth

from ftcourse.models.freezing import train_mode
from ftcourse.models.modes import eval_mode, modes_kept
from ftcourse.training.repeats import Same, random_kept, random_states, settings

__all__ = ["Cut", "Prefix", "cut_model", "disagreement"]

_LIBRARIES = ("torch", "torchvision", "timm")
# Modules that give the same output for the same input whether they train or not.
_PURE = (
    *(_ConvNd, nn.Linear, nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.Embedding),
    *(nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.PixelShuffle, nn.ZeroPad2d),
    *(nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
    *(nn.LeakyReLU, nn.ELU, nn.Mish, nn.Softmax, nn.Softplus, nn.PReLU, nn.Hardtanh),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(FrozenBatchNorm2d, Permute),
)
# Modules that do so in eval mode only.
_PURE_IN_EVAL = (
    *(_BatchNorm, nn.modules.dropout._DropoutNd, StochasticDepth, nn.MultiheadAttention),
    nn.modules.instancenorm._InstanceNorm,
)
_PURE_BY_NAME = {  # those of libraries whose modules are named here instead of imported
    *("torchvision.models.maxvit.SwapAxes", "torchvision.models.maxvit.WindowDepartition"),
    *("torchvision.models.maxvit.WindowPartition", "timm.layers.grn.GlobalResponseNorm"),
    *("timm.layers.adaptive_avgmax_pool.FastAdaptiveAvgPool", "timm.layers.layer_scale.LayerScale"),
    *("timm.layers.layer_scale.LayerScale2d", "timm.layers.activations.Swish"),
    *("timm.layers.activations.HardSwish", "timm.layers.activations.Sigmoid"),
    *("timm.layers.activations.HardSigmoid", "timm.layers.activations.GELU"),
}
_NORM_AND_ACT = "timm.layers.norm_act.BatchNormAct2d"  # norms, drops, activates
_PURE_IN_EVAL_BY_NAME = {
    *(_NORM_AND_ACT, "timm.layers.norm_act.GroupNormAct", "timm.layers.norm_act.LayerNormAct"),
    *("timm.layers.norm_act.LayerNormAct2d", "timm.layers.drop.DropPath"),
    "timm.layers.drop.DropBlock2d",
}
_PURE_FUNCTIONS = {
    *("add", "sub", "mul", "truediv", "floordiv", "iadd", "imul", "neg", "pow", "sqrt", "rsqrt"),
    *("getitem", "getattr", "flatten", "cat", "stack", "relu", "silu", "gelu", "sigmoid", "tanh"),
    *("adaptive_avg_pool2d", "avg_pool2d", "max_pool2d", "view", "reshape", "permute", "transpose"),
    *("mean", "contiguous", "size", "unsqueeze", "squeeze", "chunk", "split", "unbind", "expand"),
    *("layer_norm", "pad", "linear", "matmul", "bmm", "einsum", "softmax", "normalize", "clamp"),
    *("swapaxes", "roll", "exp", "dim", "type_as", "to", "float"),
    *("_assert", "eq", "ne", "lt", "le", "gt", "ge", "mod", "and_", "or_", "not_"),
    *("_patch_merging_pad", "_get_relative_position_bias"),
}
# Functions that draw random numbers unless `training` is False, or these chances are 0.
_CHANCE = {
    "dropout": ("p",),
    "stochastic_depth": ("p",),
    "shifted_window_attention": ("dropout", "attention_dropout"),
}


# -- cutting a model ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Where a model is cut in two. Both graphs run on any copy of the model, with that copy's own weights."""

    before: fx.Graph
    behind: fx.Graph
    at: str  # the last module or function before the cut
    judging: fx.Graph | None = (
        None  # what lies behind it in eval mode, where that is something else
    )
    constants: dict[str, Tensor] = field(
        default_factory=dict
    )  # tensors that `forward` makes itself
    stopped: str = ""  # why it is no later, though what follows is frozen, too

    def rest(self, model: nn.Module) -> nn.Module:
        """What lies behind the cut: takes features, and shares its modules with `model`."""
        behind = _runnable(model, self.behind, self.constants)
        if self.judging is None:
            return behind
        return _ByMode(model, behind, _runnable(model, self.judging, self.constants))

    def plain_prefix(self, model: nn.Module) -> fx.GraphModule:
        """What lies before the cut, with the modules of `model` itself."""
        return _runnable(model, self.before, self.constants)

    def prefix(
        self, model: nn.Module, *, bf16: bool = False, earlier: Sequence[Cut] = ()
    ) -> Prefix:
        """A fast copy of what lies before the cut: images (N, 3, H, W) in, features (N, ...) out.

        With `earlier` cuts of the same model, the nearest first, it is made in pieces: see `Prefix.after`.
        """
        whole = _runnable(model, copy.deepcopy(self.before), self.constants)
        fingerprint = (*_fingerprint(whole), bf16)
        nearer = [cut for cut in earlier if cut.begins(self)]
        if not nearer:
            return Prefix(whole, fingerprint, bf16)
        piece = _runnable(model, self._since(nearer[0]), self.constants)
        after = nearer[0].prefix(model, bf16=bf16, earlier=nearer[1:])
        return Prefix(piece, fingerprint, bf16, after)

    def begins(self, other: Cut) -> bool:
        """True if what lies before this cut is the first part of what lies before the other one."""
        mine, others = (list(cut.before.nodes) for cut in (self, other))
        same = map(_alike, mine[:-1], others)  # the last one is the output
        return len(mine) < len(others) and all(same)

    def _since(self, earlier: Cut) -> fx.Graph:
        """What lies between an earlier cut of the same model and this one."""
        place = (
            len(earlier.before.nodes) - 2
        )  # both begin with the same nodes; the last is the output
        return _divide(self.before, place)[1]

    def state(self, model: nn.Module) -> dict[str, Any]:
        """What both halves have taken over from a model by value: they are right while it stays as it is.

        These are the weights before the cut, which of them train, and the settings of all modules, but for those
        that what lies behind the cut calls as they are.
        """
        called = {str(n.target) for n in self.behind.nodes if n.op == "call_module"}
        found: dict[str, Any] = {}
        for name, m in model.named_modules():
            if not any(name == c or name.startswith(c + ".") for c in called):
                found[name or "the model"] = (Same(type(m)), settings(m))
        tensors = dict(_tensors(model, self.before))
        sums = [t.detach().sum().double() for t in tensors.values()]
        numbers = torch.stack(sums).tolist() if sums else []
        for (name, t), total in zip(tensors.items(), numbers, strict=True):
            found[name] = (Same(t), t.requires_grad, str(total))  # as text: nan is then what it was
        return found


class _ByMode(nn.Module):
    """What lies behind the cut of a model that computes otherwise in train mode than in eval mode."""

    def __init__(self, model: nn.Module, learning: nn.Module, judging: nn.Module) -> None:
        super().__init__()
        self.learning, self.judging = learning, judging
        self._model = [model]  # in a list: it is no part of this

    def forward(self, features: Tensor) -> Any:
        return (self.learning if self._model[0].training else self.judging)(features)


class _Tracer(fx.Tracer):
    """Looks into every module of modules; one without children stays as it is, with its own mode."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = next(m.children(), None) is None or isinstance(m, _BatchNorm) or _named(m)
        return whole or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list]:
        """The images alone: what else `forward` may be given keeps its default, as the loop calls it."""
        given = list(inspect.signature(root_fn).parameters.values())[1:]
        needed = [p for p in given if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
        if len(needed) != 1 or given[0] is not needed[0]:
            raise ValueError("its forward does not take images alone")
        return root_fn, [self.root, self.create_proxy("placeholder", needed[0].name, (), {})]


def cut_model(model: nn.Module) -> Cut | None:
    """Cut a model before the first module that trains; None if nothing that is frozen comes before it.

    The cut is the last place before which everything is frozen and free of chance, and which one tensor crosses.
    The model is left as it was: modes, weights, attributes, and the random numbers of everybody.

    Raises:
        ValueError: the model's computation cannot be cut in two; the message says why.
    """
    hooked = [n for n, m in model.named_modules() if _has_hooks(m)]
    if hooked:
        raise ValueError(f"{hooked[0] or 'the model'} has hooks, which expect to see each step")
    chance = next(_generators(model), None)
    if chance:
        raise ValueError(f"its forward can draw random numbers of its own ({chance})")
    with modes_kept(model), random_kept():
        judging, constants = _traced(model.eval())
        learning, others = _traced(train_mode(model))
        again = learning if str(judging) == str(learning) else _traced(model)[0]
        if str(again) != str(learning) or not _same_tensors(constants, others):
            raise ValueError("it computes otherwise each time it is traced")
        places, stopped = _places(learning, model)
        both = _places(judging, model)[0]
    common = 0
    for one, two in zip(learning.nodes, judging.nodes, strict=False):
        if not _alike(one, two):
            break
        common += 1
    found = [i for i in places if i in both and i < common]
    if not found:
        if stopped or (places and both):
            raise ValueError(stopped or "it computes otherwise in train mode than in eval mode")
        return None
    if found[-1] != places[-1]:
        stopped = "what follows is computed otherwise in train mode than in eval mode"
    before, behind = _divide(learning, found[-1])
    other = None if str(learning) == str(judging) else _divide(judging, found[-1])[1]
    target = list(learning.nodes)[found[-1]].target
    at = str(getattr(target, "__name__", target))
    return Cut(before, behind, at, other, constants | others, stopped)


def _has_hooks(m: nn.Module) -> bool:
    hooks = (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
    return any(hooks) or "forward" in vars(m)


def _traced(model: nn.Module) -> tuple[fx.Graph, dict[str, Tensor]]:
    """The model's computation, and the tensors in it that `forward` makes itself; nothing stays on the model.

    Raises:
        ValueError: it cannot be traced, draws random numbers, or changes the model.
    """
    before = random_states()
    modules = [
        (name or "the model", m, dict(vars(m)), settings(m)) for name, m in model.named_modules()
    ]
    try:
        graph = _Tracer().trace(model)
    except Exception as err:  # any that the model's own code raises when it is traced
        reason = (str(err).splitlines() or [type(err).__name__])[0][:160]
        raise ValueError(f"its computation cannot be traced ({reason})") from err
    finally:
        put_back = {name: _put_back(m, attributes) for name, m, attributes, _ in modules}
    if random_states() != before:
        raise ValueError("its forward draws random numbers, which would be the same ones each time")
    targets = {str(node.target) for node in graph.nodes}
    made = {n: v for n, v in put_back["the model"].items() if n in targets}  # by the tracer
    put_back["the model"] = {n: v for n, v in put_back["the model"].items() if n not in made}
    for name, m, _, then in modules:
        if put_back[name] or settings(m) != then:
            raise ValueError(f"its forward changes attributes of {name}")
    if not all(isinstance(t, Tensor) for t in made.values()):
        raise ValueError(f"its forward makes {', '.join(made)}, which is no tensor")
    return graph, made


def _put_back(m: nn.Module, attributes: dict[str, Any]) -> dict[str, Any]:
    """Give a module the attributes that it had; returns those that were others, or not there."""
    own = vars(m)
    found = {n: v for n, v in own.items() if n not in attributes or attributes[n] is not v}
    for name in own.keys() - attributes.keys():
        del own[name]
    own.update(attributes)
    return found


def _same_tensors(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[n], two[n]) for n in one.keys() & two.keys())


_GENERATORS = (
    *(random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator),
    torch.Generator,
)


def _generators(model: nn.Module) -> Iterator[str]:
    """Where the model's own code can reach a random number generator: tracing would keep what it drew."""
    seen: set[Any] = set()
    for name, m in model.named_modules():
        if (
            _of_library(type(m)) or next(m.children(), None) is None
        ):  # run as they are, not traced through
            continue
        for key, value in vars(m).items():
            if isinstance(value, _GENERATORS):
                yield f"{name or 'the model'}.{key}"
        yield from _generators_in(getattr(type(m), "forward", None), type(m), seen)


def _generators_in(function: Any, owner: type, seen: set[Any]) -> Iterator[str]:
    """The same for a function and those it names: of its module, of its class, and around it."""
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    names = set(function.__code__.co_names)
    for inner in function.__code__.co_consts:
        names |= set(getattr(inner, "co_names", ()))
    for name in names:
        yield from _generators_in(getattr(owner, name, None), owner, seen)
    if _of_library(function):
        return
    around = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    for value in [*around, *(function.__globals__[n] for n in names & function.__globals__.keys())]:
        shared = isinstance(value, ModuleType) and value in (random, secrets, np.random)
        shared = shared or (value is np and "random" in names)
        if shared or isinstance(getattr(value, "__self__", value), _GENERATORS):
            yield f"{getattr(value, '__name__', type(value).__name__)} in {function.__qualname__}"
        elif not _of_library(value):
            yield from _generators_in(value, owner, seen)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not yet
        return False


def _of_library(x: Any) -> bool:
    return (getattr(x, "__module__", None) or "").split(".")[0] in _LIBRARIES


def _named(m: nn.Module) -> bool:
    name = f"{type(m).__module__}.{type(m).__qualname__}"
    return name in _PURE_BY_NAME or name in _PURE_IN_EVAL_BY_NAME


def _places(graph: fx.Graph, model: nn.Module) -> tuple[list[int], str]:
    """Numbers of the nodes whose output is the only thing known of all that came before; why there is none later.

    The reason is empty if what follows trains, or nothing that is frozen follows.
    """
    order = {node: i for i, node in enumerate(graph.nodes)}
    last_use = {n: max((order[u] for u in n.users), default=-1) for n in order}
    alive: set[fx.Node] = set()
    places: list[int] = []
    reason, begun, since = (
        "",
        False,
        False,
    )  # `since`: something frozen has been computed after the last place
    for node, i in order.items():
        doubt = _doubt(node, model)
        if doubt is not None:
            reason = doubt
            break
        begun |= _holds(node, model)
        since |= _holds(node, model)
        alive = {n for n in alive if last_use[n] > i} | ({node} if last_use[node] > i else set())
        if begun and alive == {node} and not _several(node):
            places.append(i)
            since = False
    if reason:
        return places, reason if _frozen_first(list(order)[order[node] :], model) else ""
    return places, "more than one tensor crosses each later place" if since else ""


def _frozen_first(nodes: Iterable[fx.Node], model: nn.Module) -> bool:
    """True if something frozen comes before anything that trains."""
    for node in nodes:
        if _holds(node, model):
            return _doubt(node, model) != ""
    return False


def _holds(node: fx.Node, model: nn.Module) -> bool:
    """True if a step has weights."""
    if node.op == "call_module":
        return next(_module(node, model).parameters(), None) is not None
    return node.op == "get_attr" and isinstance(_attribute(model, node), nn.Parameter)


def _several(node: fx.Node) -> bool:
    """True if a step gives several tensors: something takes one of them by its number."""
    return any(
        getattr(u.target, "__name__", "") == "getitem" and isinstance(u.args[1], int)
        for u in node.users
    )


def _module(node: fx.Node, model: nn.Module) -> nn.Module:
    return model.get_submodule(str(node.target))


def _attribute(model: nn.Module, node: fx.Node) -> Any:
    owner, _, name = str(node.target).rpartition(".")
    return getattr(model.get_submodule(owner), name, None)  # None: a tensor that `forward` makes


def _doubt(node: fx.Node, model: nn.Module) -> str | None:
    """None if a step gives the same output for the same input in each epoch; "" if it trains; else why not."""
    if node.op == "placeholder":
        return None
    if node.op == "output":
        return ""
    if node.op == "get_attr":
        return "" if getattr(_attribute(model, node), "requires_grad", False) else None
    if node.op != "call_module":
        return None if _settled_function(node) else f"{_name(node)} is not known to repeat itself"
    m = _module(node, model)
    if any(p.requires_grad for p in m.parameters()):
        return ""
    name = f"{type(m).__module__}.{type(m).__qualname__}"
    known = name.startswith(("torch.nn.modules.", "torchvision.", "timm."))
    if isinstance(m, _BatchNorm) and name.startswith("timm."):
        known = name == _NORM_AND_ACT
    in_eval = isinstance(m, _PURE_IN_EVAL) or name in _PURE_IN_EVAL_BY_NAME
    if known and in_eval:
        moves = any(part.training and not _never_drops(part) for part in m.modules())
        return f"{node.target} ({type(m).__name__}) draws or moves in train mode" if moves else None
    if known and (isinstance(m, _PURE) or name in _PURE_BY_NAME):
        return None
    return f"{node.target} ({type(m).__name__}) is not known to repeat itself"


def _never_drops(m: nn.Module) -> bool:
    """True for a dropout of chance 0, which is nothing in train mode either."""
    return getattr(m, "p", getattr(m, "drop_prob", None)) == 0


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def _settled_function(node: fx.Node) -> bool:
    """True for a function or method that is known to be free of chance, called so that it is."""
    module = getattr(node.target, "__module__", None) or "torch"
    if node.op == "call_function" and module.split(".")[0] not in (
        *_LIBRARIES,
        "_operator",
        "builtins",
    ):
        return False
    name = _name(node)
    if name == "scaled_dot_product_attention":
        return len(node.args) <= 4 and not node.kwargs.get("dropout_p", 0.0)
    if name in _CHANCE:
        never = all(node.kwargs.get(chance) == 0 for chance in _CHANCE[name])
        return never or node.kwargs.get("training") is False
    return name in _PURE_FUNCTIONS


def _alike(one: fx.Node, two: fx.Node) -> bool:
    """True if two nodes of two graphs are the same step of the same computation."""
    same = (one.op, one.name, one.target) == (two.op, two.name, two.target)
    return same and str((one.args, one.kwargs)) == str((two.args, two.kwargs))


def _divide(graph: fx.Graph, place: int) -> tuple[fx.Graph, fx.Graph]:
    """The graph up to and with that node, and the graph from there on."""
    before, behind = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    nodes = list(graph.nodes)
    for node in nodes[: place + 1]:
        copied[node] = before.node_copy(node, copied.__getitem__)
    before.output(copied[nodes[place]])
    copied = {nodes[place]: behind.placeholder("features")}
    for node in nodes[place + 1 :]:
        copied[node] = behind.node_copy(node, copied.__getitem__)
    return before, behind


def _tensors(model: nn.Module, graph: fx.Graph) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a model that a part of its computation uses."""
    for node in graph.nodes:
        if node.op == "call_module":
            m = _module(node, model)
            for name, t in (*m.named_parameters(), *m.named_buffers()):
                yield f"{node.target}.{name}", t
        elif node.op == "get_attr" and isinstance(_attribute(model, node), Tensor):
            yield str(node.target), _attribute(model, node)


def _runnable(model: nn.Module, graph: fx.Graph, constants: dict[str, Tensor]) -> fx.GraphModule:
    """A module that runs a graph with the modules and weights of a model."""
    parts: dict[str, Any] = {}
    for node in graph.nodes:
        name = str(node.target)
        if node.op == "call_module":
            parts[name] = _module(node, model)
        elif node.op == "get_attr":
            parts[name] = constants[name] if name in constants else _attribute(model, node)
    return fx.GraphModule(parts, graph)


# -- the frozen part, fast ---------------------------------------------------------------------


class Prefix:
    """A frozen part made for speed: eval mode, no graph, conv + BatchNorm fused, channels_last, micro-batches.

    On a CPU eight images at a time stay in its cache, which is faster than a large batch and needs less memory.
    A GPU takes 32: more are hardly faster, and need more memory than a training step.
    `after` is the prefix up to an earlier cut: this one goes on from its features, which can so be kept as well.
    """

    def __init__(
        self,
        plain: fx.GraphModule,
        fingerprint: tuple,
        bf16: bool = False,
        after: Prefix | None = None,
    ) -> None:
        self.fingerprint, self.after = fingerprint, after
        self.agreed = False  # with the model itself, as far as was tried
        tensors = [*plain.parameters(), *plain.buffers()]
        self.device: torch.device = tensors[0].device if tensors else after.device  # type: ignore[union-attr]
        self.batch = 8 if self.device.type == "cpu" else 32
        fast = self.device.type in ("cpu", "cuda")
        self.layout = torch.channels_last if fast else torch.contiguous_format
        self.bf16, self._fast = bf16, _make_fast(plain, self.layout, bf16)

    def __call__(self, images: Tensor) -> Tensor:
        """Features (N, ...) of images (N, 3, H, W), without a graph, on the device of the images."""
        return self.go_on(self.after(images) if self.after else images)

    def go_on(self, features: Tensor) -> Tensor:
        """The same from the features of `after`, or from images where there is none."""
        with torch.inference_mode():
            parts = [self._run(part) for part in features.split(self.batch)]
        with torch.no_grad():
            return torch.cat(parts)  # outside: a tensor of inference mode could not be trained on

    def _run(self, images: Tensor) -> Tensor:
        if images.ndim == 4:
            images = images.contiguous(memory_format=self.layout)
        out = self._fast(images.bfloat16() if self.bf16 else images)
        if not isinstance(out, Tensor) or len(out) != len(images):
            raise ValueError("what crosses the cut is not a tensor with a row for each image")
        return out


def _fingerprint(module: fx.GraphModule) -> tuple:
    """What a frozen part computes: its graph, a hash of its weights, and its modules with their settings."""
    digest = hashlib.sha256(str(module.graph).encode())
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if not name.endswith("num_batches_tracked"):
            array = value.detach().to("cpu", copy=False).contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    functions = [Same(n.target) for n in module.graph.nodes if n.op == "call_function"]
    called = [n for n in module.graph.nodes if n.op == "call_module"]
    parts = [part for n in called for part in _module(n, module).modules()]
    modules = [(Same(type(part)), settings(part)) for part in parts]
    device = next((t.device.type for t in module.state_dict().values()), "cpu")
    return digest.hexdigest(), functions, modules, device


@torch.no_grad()
def _make_fast(fast: fx.GraphModule, layout: torch.memory_format, bf16: bool) -> nn.Module:
    """Fuse and copy, module by module, what the model itself must not lose."""
    nodes = [n for n in fast.graph.nodes if n.op == "call_module"]
    once = Counter(n.target for n in nodes)
    for node in nodes:
        m, before = _module(node, fast), node.args[0]
        if (
            isinstance(m, _BatchNorm)
            and m.running_mean is not None
            and _is_convolution(before, fast)
            and len(before.users) == once[before.target] == once[node.target] == 1
        ):
            _put(fast, before.target, _fused(_module(before, fast), m, layout))
            if any(
                type(part) is not nn.Identity for part in m.children()
            ):  # timm's drop, activation
                _put(fast, node.target, copy.deepcopy(nn.Sequential(*m.children())).eval())
            else:
                node.replace_all_uses_with(before)
                fast.graph.erase_node(node)
        elif any(part.training for part in m.modules()):
            shared = {id(p): p for p in m.parameters()}  # copied are modes, not weights
            _put(fast, node.target, copy.deepcopy(m, shared).eval())
    fast.delete_all_unused_submodules()
    fast.recompile()
    return copy.deepcopy(fast).bfloat16() if bf16 else fast


def _fused(conv: Any, norm: Any, layout: torch.memory_format) -> nn.Module:
    """A convolution that does what `conv` and then `norm` do in eval mode."""
    fused = copy.copy(conv)
    fused._parameters = dict(conv._parameters)  # of its own: `conv` keeps its weights
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    return fused.to(memory_format=layout)


def _put(root: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(root.get_submodule(owner), last, module)


def _is_convolution(node: Any, module: nn.Module) -> bool:
    """True for a plain convolution: a transposed one has its weights in another order."""
    called = isinstance(node, fx.Node) and node.op == "call_module"
    return called and type(_module(node, module)) in (nn.Conv1d, nn.Conv2d, nn.Conv3d)


# -- is it right? ------------------------------------------------------------------------------

_ROUNDING = {torch.float64: 1e-8, torch.float32: 1e-4}  # relative; less exact kinds: a tenth
_ROUNDING_GPU = 2e-2  # kernels with TF32


def disagreement(
    model: nn.Module, cut: Cut, prefix: Prefix, images: Tensor, kept: Tensor | None = None
) -> str | None:
    """How far both halves of a cut model are from the whole on some images, in words; None if it is rounding.

    The fast frozen part is compared with the model's own modules, in another grouping of the images, and what
    comes out of both halves with what comes out of the model, all in eval mode; once for each prefix, `kept`
    features of these images each time.
    """
    pairs: list[tuple[str, Tensor, Tensor]] = []
    with eval_mode(model), torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        if kept is not None or not prefix.agreed:
            fast = torch.cat([prefix(part) for part in (images[:1], images[1:]) if len(part)])
        pairs += [] if kept is None else [("kept features", fast, kept)]
        pairs += [] if prefix.agreed else _both_ways(model, cut, fast, images)
    for what, right, seen in pairs:
        if right.shape != seen.shape:
            return f"{what} have the shape {tuple(seen.shape)}, not {tuple(right.shape)}"
        allowed = _ROUNDING.get(seen.dtype, 0.1)
        if right.device.type != "cpu" and seen.dtype is torch.float32:
            allowed = _ROUNDING_GPU
        off = _distance(right.double(), seen.double())
        if off > allowed:
            return f"{what} differ by {off:.1g} of their size, where rounding is below {allowed:g}"
    prefix.agreed = True
    return None


def _both_ways(
    model: nn.Module, cut: Cut, fast: Tensor, images: Tensor
) -> list[tuple[str, Tensor, Tensor]]:
    """Features and outputs: what they should be, and what they are."""
    # past what stands in its forward's place while it trains
    outputs = tree_leaves(type(model).forward(model, images))
    features = cut.plain_prefix(model)(images)
    pairs = [("features", features, fast)]
    halves = tree_leaves(cut.rest(model)(features.clone()))  # it may work in place
    ends = [(one, two) for one, two in zip(outputs, halves, strict=True) if isinstance(one, Tensor)]
    return pairs + [("outputs", one, two) for one, two in ends]


def _distance(right: Tensor, seen: Tensor) -> float:
    """The largest distance of a row, as a share of the size of the rows; 0 where the right ones are not finite."""
    if not right.isfinite().all():
        return 0.0  # which the loop will tell
    rows = (right - seen).flatten(1).norm(dim=1) if right.ndim > 1 else (right - seen).abs()
    size = right.flatten(1).norm(dim=1).mean() if right.ndim > 1 else right.abs().mean()
    return (rows.max() / size.clamp(min=1e-12)).nan_to_num(float("inf")).item()
