"""Questions of lesson 08, unfreeze."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ftcourse as ft
from ftcourse.exercises import Draw, Formula, Wrong, samples
from ftcourse.exercises.gives import Unfit, mapping, tensor
from ftcourse.exercises.match import Match
from ftcourse.exercises.settings import Settings
from ftcourse.models.freezing import FreezeReport

# ------------------------------------------------------------------------------ 8.1 match_runs

_MATCH = {"one rate": "C", "layer_decay=0.3": "A", "layer4 and head": "D"}
_MATCH["head, with model.train()"] = "B"


def mystery_runs(images: Tensor, targets: Tensor, steps: int = 4) -> dict[str, FreezeReport]:
    """The `freeze_report` of four short runs on these images, by letter.

    images float32 (N, 3, H, W), targets int64 (N,). Which run is which is for the learner to find.
    """
    stages = {
        "one rate": ft.Stage("all", lr=1e-4, weight_decay=0.0),
        "layer_decay=0.3": ft.Stage("all", lr=1e-4, layer_decay=0.3, weight_decay=0.0),
        "layer4 and head": ft.Stage("layer4", lr=1e-4, weight_decay=0.0),
        "head, with model.train()": ft.Stage("head", lr=1e-4, weight_decay=0.0),
    }
    reports = {}
    for name, stage in stages.items():
        model = ft.replace_head(ft.load_backbone("resnet18"), int(targets.max()) + 1)
        ft.apply_stage(model, stage)
        optimizer = ft.make_optimizer(model, stage)
        for _ in range(steps):
            model.train() if "train()" in name else ft.train_mode(model)
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        reports[_MATCH[name]] = ft.freeze_report(model)
    return dict(sorted(reports.items()))


match_runs = Match(
    number="8.1",
    name="match_runs",
    reference=_MATCH,
    why="C moves every group alike, for AdamW's steps have the length of the rate; A falls off by "
    "0.3 a group; D stands still below layer4; in B not one weight below the head moves, and all "
    "statistics do.",
    hints=(
        "start with the groups that stand at zero: which run leaves their weights alone?",
        "then the slope from the stem to the head; and of BatchNorm's statistics, which move without any weight "
        "moving.",
    ),
    worked=(
        'answer = {\n    "one rate": "C",\n    "layer_decay=0.3": "A",\n'
        '    "layer4 and head": "D",\n    "head, with model.train()": "B",\n}'
    ),
    letters="abcd",
    tells={
        "head, with model.train()": Wrong(
            "the run in which only the head should move is another one",
            "in which panel has no weight below the head moved, while all statistics have?",
        ),
        "layer4 and head": Wrong(
            "the run with frozen stem to layer3 is another one",
            "in which panel are the first four groups empty, weights and statistics?",
        ),
        "one rate": Wrong(
            "the two runs in which everything moves are the other way round",
            "layer_decay=0.3 makes each group move 0.3 times as far as the next one.",
        ),
        "layer_decay=0.3": Wrong(
            "the run with layer_decay=0.3 is another one",
            "layer_decay=0.3 makes each group move 0.3 times as far as the next one.",
        ),
    },
)

# ----------------------------------------------------------------------------- 8.2 interpolate

State = dict[str, Tensor]


def _interpolate(before: State, after: State, share: float) -> State:
    return {name: (1 - share) * before[name] + share * after[name] for name in after}


def _by_lerp(before: State, after: State, share: float) -> State:
    return {k: torch.lerp(before[k].double(), v.double(), share).float() for k, v in after.items()}


def _network(classes: int) -> nn.Sequential:
    parts = (("conv1", nn.Conv2d(3, 4, 3)), ("bn1", nn.BatchNorm2d(4)), ("flatten", nn.Flatten()))
    return nn.Sequential(OrderedDict([*parts, ("fc", nn.Linear(64, classes))]))


def _state(draw: Draw, classes: int) -> State:
    """The state of a network of its own, statistics included."""
    model = _network(classes)
    state = {k: draw.normal(*v.shape) for k, v in model.state_dict().items() if v.ndim}
    counter = {"bn1.num_batches_tracked": draw.integers(1, 9)}
    return {k: counter.get(k, state.get(k)) for k in model.state_dict()}  # type: ignore[misc]


def _pairs(draw: Draw) -> Iterator[tuple[State, State, float]]:
    for share in (0.25, 1.0, 0.0, 0.5, draw.real(0.6, 0.95)):
        classes = draw.whole(2, 5)
        yield _state(draw, classes), _state(draw, classes), share


def _a_state(value: Any) -> State:
    found = mapping(hint="return a dict with the same names as `after`.")(value)
    if any(not isinstance(v, Tensor) for v in found.values()):
        raise Unfit("not all values of the dict are tensors", "mix tensor by tensor.")
    return found


def _same_state(answer: State, right: State) -> bool:
    """All names, and the same numbers; a counter of batches may be any: nobody uses it."""
    same = tensor()
    return answer.keys() == right.keys() and all(
        answer[k].shape == v.shape and torch.allclose(same(answer[k]), same(v), atol=1e-5)
        for k, v in right.items()
        if "num_batches" not in k
    )


def _only(kind: Callable[[str], bool], other: Callable[[State, State, str], Tensor]) -> Callable:
    """Right for the names of this kind; the others get something else."""

    def mistaken(before: State, after: State, share: float) -> State:
        right = _interpolate(before, after, share)
        return {k: v if kind(k) else other(before, after, k) for k, v in right.items()}

    return mistaken


def _statistic(name: str) -> bool:
    return "running" in name or "num_batches" in name


def _missing(before: State, after: State, share: float) -> State:
    return {k: v for k, v in _interpolate(before, after, share).items() if not _statistic(k)}


def _takes_it(attempt: Callable) -> Wrong | None:
    """Can a network load what comes back?"""
    draw = Draw(0)
    try:
        _network(3).load_state_dict(attempt(_state(draw, 3), _state(draw, 3), 0.5))
    except RuntimeError:
        return Wrong("the network cannot load it", "the same names and shapes as in `after`.")
    return None


_STATISTICS = Wrong(
    "the weights are mixed right, and BatchNorm's statistics are not",
    "BatchNorm's statistics go the same way as the weights.",
)
_HEAD = Wrong("the head is not mixed", "all names of `after` alike, those of fc too.")

interpolate = Formula(
    number="8.2",
    name="interpolate",
    reference=_interpolate,
    why="Each tensor lies on the straight line between the two networks, BatchNorm's statistics "
    "included.",
    hints=(
        "a new dict with the same names; each tensor is a mixture of two.",
        "go through the names; (1 - share) of the one network and share of the other.",
    ),
    worked=(
        "def interpolate(before, after, share):\n"
        "    return {\n"
        "        name: (1 - share) * before[name] + share * after[name]\n"
        "        for name in after\n"
        "    }"
    ),
    gives=_a_state,
    cases=_pairs,
    second=_by_lerp,
    agree=_same_state,
    also=_takes_it,
    describe=lambda before, after, share: f"for share={share:.2g}",
    mistakes=(
        (
            lambda before, after, share: _interpolate(after, before, share),
            Wrong("share and 1 - share are exchanged", "share=1 is `after`, share=0 is `before`."),
        ),
        (_only(lambda k: not _statistic(k), lambda before, after, k: after[k]), _STATISTICS),
        (_only(lambda k: not _statistic(k), lambda before, after, k: before[k]), _STATISTICS),
        (_only(lambda k: not k.startswith("fc"), lambda before, after, k: after[k]), _HEAD),
        (_only(lambda k: not k.startswith("fc"), lambda before, after, k: before[k]), _HEAD),
        (
            _missing,
            Wrong(
                "BatchNorm's statistics are missing",
                "go through all names of `after`: BatchNorm's statistics belong to the state, too.",
            ),
        ),
        (
            lambda before, after, share: after,
            Wrong("it is `after`, whatever the share", "mix the two, tensor by tensor."),
        ),
        (
            lambda before, after, share: before,
            Wrong("it is `before`, whatever the share", "mix the two, tensor by tensor."),
        ),
        (
            lambda before, after, share: {k: before[k] + share * after[k] for k in after},
            Wrong("the shares do not sum to one", "(1 - share) of `before`."),
        ),
        (
            lambda before, after, share: {k: (before[k] + after[k]) / 2 for k in after},
            Wrong("it is the middle, whatever the share", "(1 - share) and share, not a half."),
        ),
    ),
)

# ---------------------------------------------------------------------------- 8.3 choose_stages

_PLANS = {"old and new": "a", "birds": "a", "drawings": "b", "X-rays": "c"}
_TOO_FAST = Wrong(
    "in d θ takes steps of 0.03, about the size of its own weights",
    "look again at lesson 07's sweep of learning rates.",
)

choose_stages = Match(
    number="8.3",
    name="choose_stages",
    reference=_PLANS,
    why="Old and new: only where no weight of θ and no statistic moves does the old head go on unchanged. "
    "Birds: the table has real photos near the pre-training, and there nothing that moves θ gains more than about "
    "one photo of 153. Drawings: it has them, too, and all layers win by some points, gently and from a fitted "
    "head. X-rays: much in θ has to change, and there are enough photos for it; usual advice, not measured here.",
    hints=(
        "ask twice: how much of θ has to change for these photos, and what is lost if it does?",
        "look at the table of methods, once at its drawn insects, once at its real photos: where does moving θ "
        "gain more than the intervals are wide?",
    ),
    worked='answer = {"old and new": "a", "birds": "a", "drawings": "b", "X-rays": "c"}',
    letters="abcd",
    tells={
        **{(name, "d"): _TOO_FAST for name in _PLANS},
        "old and new": Wrong(
            "in b and c θ moves, and the old head was made for the old θ",
            "which plan leaves θ, and its statistics, to the last bit?",
        ),
        "X-rays": Wrong(
            "X-rays look like nothing in the pre-training, and there are thousands of them",
            "which plan lets the early layers learn as fast as the late ones?",
        ),
        "birds": Wrong(
            "on real photos near the pre-training nothing that moves θ gained more than about one photo of 153",
            "look at the column of real photos: what is the cheapest plan that is as good, within its interval?",
        ),
        ("drawings", "a"): Wrong(
            "on drawn insects, 100 a class, all layers were better than the head alone by more than the intervals",
            "drawings are unlike the pre-training: which plan moves the early layers, but only a little?",
        ),
        "drawings": Wrong(
            "plan c moves the early layers as fast as the late ones, for thirty epochs, on 200 drawings",
            "which plan moves the early layers, but only a little?",
        ),
    },
)

# ------------------------------------------------------------------------------- 8.4 old_and_new

START = {
    "lr": 3e-4, "head_lr": 3e-4, "layer_decay": 1.0, "statistics move": True, "share": 1.0,
}  # fmt: skip
LOSS, KEPT = 0.26, 0.85


@dataclass(frozen=True)
class _Insects:
    """What the runs of 8.4 need: photos, the fitted head, and what the old head says of pieces of real photos."""

    images: Tensor
    targets: Tensor
    val: Any
    start: nn.Module
    old_head: nn.Module
    photos: Tensor
    before: Tensor


@functools.lru_cache(maxsize=1)
def _insects() -> _Insects:
    data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64, progress=False)
    plain = data.train.with_transform(data.val.transform)
    targets = torch.tensor(plain.targets)
    pretrained: Any = ft.load_backbone("resnet18")
    weights: Any = ft.weights_of(pretrained)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        start: Any = ft.replace_head(ft.load_backbone("resnet18"), 2)
        features = ft.embed(start, plain)
        optimizer = torch.optim.Adam(start.fc.parameters(), lr=1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            F.cross_entropy(start.fc(features), targets).backward()
            optimizer.step()
    preprocess = weights.transforms(crop_size=64, resize_size=73)
    pieces, _ = samples.pieces(samples.sample_photos(), 16, seed=0)
    photos = torch.stack([preprocess(piece) for piece in pieces])
    before = _old_answers(pretrained, pretrained.fc, photos)
    images = torch.stack([plain[i][0] for i in range(len(plain))])
    return _Insects(images, targets, data.val, start, pretrained.fc, photos, before)


@torch.inference_mode()
def _old_answers(model: nn.Module, old_head: nn.Module, photos: Tensor) -> Tensor:
    body = copy.deepcopy(model).eval()
    body.fc = old_head
    return body(photos).argmax(1)


def old_and_new_after(settings: dict[str, Any]) -> dict[str, float]:
    """Validation loss and accuracy, and old answers kept, after one epoch of all layers with these settings."""
    given = _insects()
    stage = ft.Stage(
        "all", epochs=1, lr=settings["lr"], head_lr=settings["head_lr"],
        layer_decay=settings["layer_decay"],
    )  # fmt: skip
    model = copy.deepcopy(given.start)
    optimizer = ft.make_optimizer(ft.apply_stage(model, stage), stage)
    scheduler = ft.make_scheduler(optimizer, stage, steps_per_epoch=8)
    order = torch.randperm(len(given.images), generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        for batch in order.split(16):
            ft.train_mode(model) if settings["statistics move"] else model.eval()
            loss = F.cross_entropy(model(given.images[batch]), given.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    states = given.start.state_dict(), model.state_dict()
    model.load_state_dict(_interpolate(*states, settings["share"]))
    found = ft.evaluate(model, given.val)
    same = _old_answers(model, given.old_head, given.photos) == given.before
    return {
        "loss": found["loss"], "accuracy": found["accuracy"], "kept": same.float().mean().item(),
    }  # fmt: skip


@functools.lru_cache(maxsize=64)
def _tried(settings: tuple[tuple[str, Any], ...]) -> dict[str, float]:
    return old_and_new_after(dict(settings))


def _judge_old_and_new(settings: dict[str, Any]) -> Wrong | None:
    found = _tried(tuple(settings.items()))
    loss, kept = found["loss"], found["kept"]
    if loss < LOSS and kept >= KEPT:
        return None
    seen = f"validation loss {loss:.2f} (goal: below {LOSS}), old answers kept {kept:.2f} (at least {KEPT})"
    if kept < KEPT and settings["statistics move"]:
        return Wrong(seen, "what cost the old answers even without any gradient?")
    if kept < KEPT:
        return Wrong(seen, "the early layers move as far as the late ones, or all of them too far.")
    return Wrong(seen, "much is kept, and little is gained: let the late layers move further.")


old_and_new = Settings(
    number="8.4",
    name="old_and_new",
    reference={
        "lr": 1e-3,
        "head_lr": 1e-3,
        "layer_decay": 0.2,
        "statistics move": False,
        "share": 1.0,
    },
    why="The statistics stay, the early layers hardly move, and the late ones may. Other settings do it as well. "
    "(You have looked at these 40 photos many times now: what you report must come from the test split.)",
    hints=(
        "two of the settings decide what is kept, one of them without any training: which?",
        "keep the statistics first. Then give the late layers a good rate, and the early ones a small part of it.",
    ),
    worked=(
        'plan = {"lr": 1e-3, "head_lr": 1e-3, "layer_decay": 0.2, "statistics move": False, "share": 1.0}'
    ),
    start=START,
    choices={
        "lr": (1e-7, 1.0, "a learning rate"),
        "head_lr": (1e-7, 1.0, "a learning rate"),
        "layer_decay": (0.01, 1.0, "what each group has of the rate of the next one"),
        "statistics move": (True, False),
        "share": (0.0, 1.0, "how far to go from the old weights to the new ones"),
    },
    judge=_judge_old_and_new,
)
