"""What is frozen is computed once.

    cut = cut_model(model)                        # at the first module that trains
    features = cut.prefix(model)(images)          # the frozen part: eval, no graph, fused, fast
    logits = cut.rest(model)(features)            # what trains; shares its modules with the model

The model's computation is traced (torch.fx), so the cut is right for any architecture that can be traced, and
refused for the others. `ftcourse.training.feature_cache` keeps what the frozen part gives.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import StochasticDepth

from ftcourse.models.freezing import train_mode
from ftcourse.models.modes import modes_kept

__all__ = ["Cut", "Prefix", "cut_model"]

# Modules that give the same output for the same input whether they train or not.
_PURE = (
    *(_ConvNd, nn.Linear, nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.Embedding),
    *(nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.PixelShuffle, nn.ZeroPad2d),
    *(nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
    *(nn.LeakyReLU, nn.ELU, nn.Mish, nn.Softmax, nn.Softplus),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
)
# Modules that do so in eval mode only.
_PURE_IN_EVAL = (_BatchNorm, nn.modules.dropout._DropoutNd, StochasticDepth)
_PURE_FUNCTIONS = {
    *("add", "sub", "mul", "truediv", "floordiv", "getitem", "getattr", "flatten", "cat", "relu"),
    *("adaptive_avg_pool2d", "avg_pool2d", "max_pool2d", "view", "reshape", "permute", "transpose"),
    *("mean", "contiguous", "size", "unsqueeze", "squeeze", "chunk", "silu", "gelu", "sigmoid"),
    *("expand", "layer_norm", "pad", "_assert", "eq"),
}


# -- cutting a model ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """Where a model is cut in two. Both graphs run on any copy of the model, with that copy's own weights."""

    before: fx.Graph
    behind: fx.Graph
    at: str  # the last module or function before the cut

    def rest(self, model: nn.Module) -> fx.GraphModule:
        """What lies behind the cut: takes features, and shares its modules with `model`."""
        return fx.GraphModule(model, self.behind)

    def plain_prefix(self, model: nn.Module) -> fx.GraphModule:
        """What lies before the cut, with the modules of `model` itself."""
        return fx.GraphModule(model, self.before)

    def prefix(
        self, model: nn.Module, *, bf16: bool = False, earlier: Sequence[Cut] = ()
    ) -> Prefix:
        """A fast copy of what lies before the cut: images (N, 3, H, W) in, features (N, ...) out.

        With `earlier` cuts of the same model, the nearest first, it is made in pieces: see `Prefix.after`.
        """
        whole = fx.GraphModule(model, copy.deepcopy(self.before))
        fingerprint = _fingerprint(whole) + (" bf16" if bf16 else "")
        nearer = [cut for cut in earlier if len(cut.before.nodes) < len(self.before.nodes)]
        if not nearer:
            return Prefix(whole, fingerprint, bf16)
        piece = fx.GraphModule(model, self._since(nearer[0]))
        after = nearer[0].prefix(model, bf16=bf16, earlier=nearer[1:])
        return Prefix(piece, fingerprint, bf16, after)

    def _since(self, earlier: Cut) -> fx.Graph:
        """What lies between an earlier cut of the same model and this one."""
        # both graphs begin with the same nodes
        place = list(self.before.nodes)[len(earlier.before.nodes) - 2]  # the last but the output
        return _divide(self.before, place).behind


class _Tracer(fx.Tracer):
    """Looks into every module of modules; one without children stays as it is, with its own mode."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return next(m.children(), None) is None or super().is_leaf_module(m, module_qualified_name)


def cut_model(model: nn.Module) -> Cut | None:
    """Cut a model before the first module that trains; None if nothing before it could be computed once.

    The cut is the last place before which everything is frozen and free of chance, and which one tensor crosses.
    Modes and weights of the model are left as they were.

    Raises:
        ValueError: the model's computation cannot be cut in two; the message says why.
    """
    hooked = [n for n, m in model.named_modules() if _has_hooks(m)]
    if hooked:
        raise ValueError(f"{hooked[0] or 'the model'} has hooks, which expect to see each step")
    with modes_kept(model):
        try:
            evaluating = _Tracer().trace(model.eval())
            graph = _Tracer().trace(train_mode(model))
        except Exception as err:  # any that the model's own code raises when it is traced
            reason = (str(err).splitlines() or [type(err).__name__])[0][:160]
            raise ValueError(f"its computation cannot be traced ({reason})") from err
        if str(graph) != str(evaluating):
            raise ValueError("it computes otherwise in train mode than in eval mode")
        if sum(n.op == "placeholder" for n in graph.nodes) != 1:
            raise ValueError("it takes more than one input")
        place = _last_place(graph, model)
    return None if place is None else _divide(graph, place)


def _has_hooks(m: nn.Module) -> bool:
    hooks = (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks, m._backward_pre_hooks)
    return any(hooks) or "forward" in vars(m)


def _last_place(graph: fx.Graph, model: nn.Module) -> fx.Node | None:
    """The node whose output is the only thing known of all that came before it."""
    order = {node: i for i, node in enumerate(graph.nodes)}
    last_use = {n: max((order[u] for u in n.users), default=-1) for n in order}
    alive: set[fx.Node] = set()
    found, weights = None, False
    for node, i in order.items():
        if not _settled(node, model):
            break
        weights |= node.op == "call_module" and (
            next(_module(node, model).parameters(), None) is not None
        )
        alive = {n for n in alive if last_use[n] > i} | ({node} if last_use[node] > i else set())
        if weights and alive == {node}:
            found = node
    return found


def _module(node: fx.Node, model: nn.Module) -> nn.Module:
    return model.get_submodule(str(node.target))


def _settled(node: fx.Node, model: nn.Module) -> bool:
    """True if a step of the computation gives the same output for the same input throughout training."""
    if node.op == "placeholder":
        return True
    if node.op == "call_module":
        m = _module(node, model)
        ours = type(m).__module__.startswith(("torch.nn.modules.", "torchvision."))
        pure = isinstance(m, _PURE) or (isinstance(m, _PURE_IN_EVAL) and not m.training)
        return ours and pure and not any(p.requires_grad for p in m.parameters())
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        return not getattr(getattr(model.get_submodule(owner), name), "requires_grad", False)
    name = getattr(node.target, "__name__", str(node.target))
    inplace = node.kwargs.get("inplace", False)
    return node.op != "output" and name in _PURE_FUNCTIONS and not inplace


def _divide(graph: fx.Graph, place: fx.Node) -> Cut:
    before, behind = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    nodes = iter(graph.nodes)
    for node in nodes:
        copied[node] = before.node_copy(node, copied.__getitem__)
        if node is place:
            break
    before.output(copied[place])
    copied = {place: behind.placeholder("features")}
    for node in nodes:
        copied[node] = behind.node_copy(node, copied.__getitem__)
    return Cut(before, behind, str(getattr(place.target, "__name__", place.target)))


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
        fingerprint: str,
        bf16: bool = False,
        after: Prefix | None = None,
    ) -> None:
        self.fingerprint, self.after = fingerprint, after
        self.device = next(plain.parameters()).device
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


def _fingerprint(module: fx.GraphModule) -> str:
    """A hash of what a frozen part computes: its graph and its weights."""
    digest = hashlib.sha256(str(module.graph).encode())
    for name, value in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            array = value.detach().to("cpu", copy=False).contiguous()
            digest.update(name.encode())
            digest.update(array.view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


@torch.no_grad()
def _make_fast(fast: fx.GraphModule, layout: torch.memory_format, bf16: bool) -> nn.Module:
    """Fuse and copy, module by module, what the model itself must not lose."""
    nodes = [n for n in fast.graph.nodes if n.op == "call_module"]
    once = Counter(n.target for n in nodes)
    for node in nodes:
        m, before = _module(node, fast), node.args[0]
        if (
            isinstance(m, _BatchNorm)
            and m.track_running_stats
            and _is(before, fast, _ConvNd)
            and len(before.users) == once[before.target] == once[node.target] == 1
        ):
            _put(fast, before.target, _fused(_module(before, fast), m, layout))
            node.replace_all_uses_with(before)
            fast.graph.erase_node(node)
        elif isinstance(m, _PURE_IN_EVAL):
            _put(fast, node.target, copy.deepcopy(m).eval())
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


def _is(node: Any, module: nn.Module, kind: type) -> bool:
    return (
        isinstance(node, fx.Node)
        and node.op == "call_module"
        and isinstance(_module(node, module), kind)
    )
