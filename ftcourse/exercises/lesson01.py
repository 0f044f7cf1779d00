"""Questions of lesson 01, load_a_pretrained_resnet."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import ResNet50_Weights
from torchvision.transforms import v2

from ftcourse.exercises import Choice, Draw, Exercise, Formula, Value, Wrong
from ftcourse.exercises.gives import Unfit, number, several, tensor, tuple_of
from ftcourse.exercises.guard import an_iterator
from ftcourse.exercises.samples import sample_photos
from ftcourse.exercises.words import short
from ftcourse.exercises.written import as_numbers, untouched
from ftcourse.models.backbones import load_backbone
from ftcourse.models.pocket import ResNet18_Pocket_Weights

_POCKET = ResNet18_Pocket_Weights.DEFAULT
_PREPROCESS = _POCKET.transforms()


def _photo(draw: Draw, width: int, height: int) -> Image.Image:
    """A colourful picture with grain, which other ways of resizing than the weights' own keep or smear."""
    values = draw.integers(0, 256, 4, 5, 3).numpy().astype(np.uint8)
    picture = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    grain = draw.integers(-25, 26, height, width, 3).numpy()
    return Image.fromarray((np.array(picture) + grain).clip(0, 255).astype(np.uint8))


def _looks_the_same(answer: Tensor, expected: Tensor) -> bool:
    """Equal but for how PIL and tensors round, to one step of 255, when they resize."""
    if answer.shape != expected.shape:
        return False
    off = answer - expected
    return bool(off.mean().abs() < 0.003 and off.abs().mean() < 0.01 and off.abs().max() < 0.06)


# ---------------------------------------------------------------------------------- 1.1 prepare


def _prepare(photo: Image.Image, weights: Any) -> Tensor:
    return weights.transforms()(photo).unsqueeze(0)


def _by_steps(
    photo: Image.Image,
    weights: Any,
    *,
    crop: bool = True,
    scale: bool = True,
    norm: bool = True,
    way: v2.InterpolationMode = v2.InterpolationMode.BILINEAR,
) -> Tensor:
    """The same by the steps that the transforms' settings name, or without one of them."""
    t = weights.transforms()
    size = t.resize_size if crop else [t.crop_size[0]] * 2
    x = v2.functional.pil_to_tensor(v2.functional.resize(photo, size, way))
    x = v2.functional.center_crop(x, t.crop_size) if crop else x
    x = x / 255 if scale else x.float()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (t.mean, t.std))
    return ((x - mean) / std if norm else x)[None]


def _photos_and_weights(draw: Draw) -> Iterator[tuple[Image.Image, Any]]:
    """Broad and tall photos, weights of two sizes."""
    for weights in (_POCKET, ResNet50_Weights.IMAGENET1K_V2):
        yield _photo(draw, 320, 210), weights
    yield _photo(draw, 200, draw.whole(230, 300)), _POCKET


def _bgr(photo: Image.Image) -> Image.Image:
    return Image.merge("RGB", photo.split()[::-1])


def _with_weights(photo: Image.Image, weights: Any) -> str:
    return f"for a photo of {photo.width} x {photo.height} and {weights}"


_SQUASHED = Wrong(
    "the photo is squashed into a square",
    "resize the shorter side, then crop the middle: weights.transforms() does both.",
)
_OTHER_WAYS = (v2.InterpolationMode.NEAREST, v2.InterpolationMode.BICUBIC)
_RESIZED = Wrong(
    "the photo is resized in another way than these weights expect",
    "they were trained on photos resized bilinearly, the default of v2.functional.resize.",
)
_SWAPPED = Wrong("red and blue have changed places", "PIL gives RGB; do not reorder channels.")
_ON_ITS_SIDE = Wrong(
    "height and width have changed places", "from (height, width, channels): permute(2, 0, 1)."
)
_BY_255 = "mean and std are for values between 0 and 1; the photo has 0 to 255."


def _of_prepare(f: Callable[[Tensor], Tensor]) -> Callable:
    return lambda photo, weights: f(_prepare(photo, weights))


prepare = Formula(
    number="1.1",
    name="prepare",
    reference=_prepare,
    why="The weights bring their own transforms, so it works for any weights, not only for these.",
    hints=(
        "two steps: make the tensor with the transforms of these weights, then make it a batch.",
        "the weights have a method that gives the function to call on the photo. A batch has one dimension "
        "more, in front.",
    ),
    worked=(
        "def prepare(photo, weights):\n"
        "    preprocess = weights.transforms()\n"
        "    return preprocess(photo).unsqueeze(0)"
    ),
    gives=tensor(hint="weights.transforms() gives a function that makes a tensor of the photo."),
    cases=_photos_and_weights,
    second=_by_steps,
    agree=_looks_the_same,
    describe=_with_weights,
    mistakes=(
        (
            _of_prepare(lambda x: x[0]),
            Wrong(
                "it is one photo, not a batch",
                "the network takes batches: add a dimension of length one in front, with unsqueeze(0).",
            ),
        ),
        (
            lambda photo, weights: _prepare(photo, _POCKET),
            Wrong(
                "whatever weights come, it prepares for the pocket weights",
                "use the weights that are handed in: each expects a size of its own.",
            ),
        ),
        (
            functools.partial(_by_steps, norm=False),
            Wrong(
                "the values are not normalised",
                "leave the normalisation to weights.transforms(); it holds mean and std.",
            ),
        ),
        (functools.partial(_by_steps, scale=False), Wrong("the values are too large", _BY_255)),
        (functools.partial(_by_steps, crop=False), _SQUASHED),
        *((functools.partial(_by_steps, way=way), _RESIZED) for way in _OTHER_WAYS),
        (_of_prepare(lambda x: x.flip(1)), _SWAPPED),
        (lambda photo, weights: _prepare(_bgr(photo), weights), _SWAPPED),
        (_of_prepare(lambda x: x.transpose(2, 3)), _ON_ITS_SIDE),
        (
            _of_prepare(lambda x: x.permute(0, 2, 3, 1)),
            Wrong("the channels come last", "PyTorch has them first: (photos, channels, ...)."),
        ),
        (
            lambda photo, weights: _by_steps(photo, weights, norm=False) * 255,
            Wrong("the values run from 0 to 255", "weights.transforms() scales and normalises."),
        ),
    ),
)


# ----------------------------------------------------------------------------- 1.2 layer3_shape


def _dims(a: Any) -> tuple[float, ...]:
    """The numbers of a shape, without a batch dimension of one."""
    numbers = as_numbers(a) or ()
    return numbers[1:] if len(numbers) == 4 and numbers[0] == 1 else numbers


def _same_shape(a: Any, b: Any) -> bool:
    return _dims(a) == tuple(b)


layer3_shape = Value(
    number="1.2",
    name="layer3_shape",
    reference=(256, 10, 10),
    why="The stem halves twice, layer2 and layer3 once each: 160 / 2 / 2 / 2 / 2 = 10. "
    "layer3 has 256 channels.",
    hints=(
        "read the table of the last cell from the top: which rows halve height and width?",
        "height and width halve twice in the stem, and once in each of the stages from layer2 on; the channels "
        "double where a stage halves.",
    ),
    worked="guess = (256, 10, 10)   # 160 / (4 * 1 * 2 * 2) = 10",
    same=_same_shape,
    mistakes=(
        ((256, 20, 20), Wrong("20 is one halving short", "the stem halves twice: conv1, maxpool.")),
        ((256, 40, 40), Wrong("40 is two halvings short", "layer2 and layer3 halve as well.")),
        ((128, 20, 20), Wrong("that is what leaves layer2", "go one stage further.")),
        ((512, 5, 5), Wrong("that is what leaves layer4", "go one stage back.")),
        (
            (10, 10, 256),
            Wrong("the numbers are right, their order is not", "PyTorch puts channels first."),
        ),
        (
            lambda a: len(_dims(a)) == 3 and _dims(a)[1:] == (10, 10),
            Wrong("10 x 10 is right, the channels are not", "64 in layer1, doubling each stage."),
        ),
        (
            lambda a: len(_dims(a)) != 3,
            Wrong("a shape has three numbers here", "write (channels, height, width)."),
        ),
    ),
)


# ------------------------------------------------------------------------------------- 1.3 top5


def _top5(logits: Tensor, categories: list[str]) -> list[tuple[str, float]]:
    probabilities = logits.softmax(dim=0)
    values, indices = probabilities.topk(5)
    return [(categories[i], p.item()) for i, p in zip(indices.tolist(), values, strict=True)]


def _top5_in_numpy(logits: Tensor, categories: list[str]) -> list[tuple[str, float]]:
    p = np.exp(logits.double().numpy() - logits.max().item())
    order = sorted(range(len(p)), key=lambda i: -p[i])[:5]
    return [(categories[i], float(p[i] / p.sum())) for i in order]


def _a_name(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(
            f"the first name is {value!r}", "use the index to look the name up: categories[i]."
        )
    return str(value)


_PAIRS = "return a list of pairs: [(name, probability), ...]."


def _pairs(value: Any) -> list[tuple[str, float]]:
    """A list of (name, float); a dict becomes one."""
    value = list(value.items()) if isinstance(value, Mapping) else value
    entries = several(hint=_PAIRS)(value)
    if any(isinstance(entry, str) or not isinstance(entry, tuple | list) for entry in entries):
        raise Unfit("the entries are not pairs", _PAIRS)
    pair = tuple_of(_a_name, number(), hint=_PAIRS)
    return [pair(entry) for entry in entries]


def _scores(draw: Draw) -> Iterator[tuple[Tensor, list[str]]]:
    """From 5 to 40 classes; scores around 0, far above it and far below."""
    for classes, shift in ((8, 0.0), (5, 3.0), (12, -20.0), (40, 10.0)):
        logits = 2 * draw.normal(classes) + shift
        yield logits, [f"{draw.one_of(_ANIMALS)} {i}" for i in draw.shuffled(range(classes))]


_ANIMALS = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen")


def _picked(
    make: Callable[[Tensor], Tensor], after: Callable[[list], list] = lambda pairs: pairs
) -> Callable:
    """The five largest of what `make` makes of the logits, and then `after`."""

    def pick(logits: Tensor, categories: list[str]) -> list:
        values, indices = make(logits).topk(5)
        pairs = zip(indices.tolist(), values.tolist(), strict=True)
        return after([(categories[i], v) for i, v in pairs])

    return pick


def _softmax_of_five(logits: Tensor, categories: list[str]) -> list[tuple[str, float]]:
    values, indices = logits.topk(5)
    return [(categories[i], v.item()) for i, v in zip(indices, values.softmax(0), strict=True)]


def _smallest(logits: Tensor, categories: list[str]) -> list[tuple[str, float]]:
    values, indices = logits.softmax(0).topk(5, largest=False)
    return [(categories[i], v.item()) for i, v in zip(indices, values, strict=True)]


def _probabilities(logits: Tensor) -> Tensor:
    return logits.softmax(0)


_SCORES = Wrong(
    "these are scores (logits), and no probabilities",
    "softmax over the classes turns them into probabilities.",
)


top5 = Formula(
    number="1.3",
    name="top5",
    reference=_top5,
    why="Softmax first, over all classes; then the five largest, with their names.",
    hints=(
        "three steps: scores to probabilities, the five largest, their names.",
        "softmax makes the probabilities; topk gives values and indices, and an index leads to a name.",
    ),
    worked=(
        "def top5(logits, categories):\n"
        "    values, indices = logits.softmax(dim=0).topk(5)\n"
        "    return [(categories[i], p.item()) for i, p in zip(indices, values)]"
    ),
    gives=_pairs,
    cases=_scores,
    second=_top5_in_numpy,
    describe=lambda logits, categories: f"for made-up scores of {len(categories)} classes",
    mistakes=(
        (_picked(lambda z: z), _SCORES),
        (
            _picked(torch.sigmoid),
            Wrong(
                "each class has a probability of its own (sigmoid)",
                "the classes share 100 %: softmax over the classes.",
            ),
        ),
        (
            _picked(lambda z: z.log_softmax(0)),
            Wrong("these are logarithms of probabilities", "softmax in place of log_softmax."),
        ),
        (
            _picked(lambda z: z.softmax(0).softmax(0)),
            Wrong("softmax was applied twice", "once is enough."),
        ),
        (
            _picked(lambda z: 100 * z.softmax(0)),
            Wrong("these are percentages", "a probability runs from 0 to 1."),
        ),
        (
            _picked(_probabilities, lambda pairs: [(name, round(v, 2)) for name, v in pairs]),
            Wrong("the probabilities are rounded", "leave them as they are: print rounds."),
        ),
        (
            _softmax_of_five,
            Wrong(
                "the five sum to exactly one, as if the other classes did not exist",
                "softmax over all classes first, then pick five.",
            ),
        ),
        (
            _picked(_probabilities, lambda pairs: pairs[::-1]),
            Wrong("the best comes last", "sort, the largest first."),
        ),
        (
            _picked(_probabilities, sorted),
            Wrong("they are sorted by their names", "sort by probability, the largest first."),
        ),
        (_smallest, Wrong("these are the five smallest", "take the five largest.")),
        (
            _picked(_probabilities, lambda pairs: pairs[:3]),
            Wrong("it returns 3 entries, expected 5", "topk(5) gives five."),
        ),
        (
            _picked(_probabilities, lambda pairs: pairs[:1]),
            Wrong("it returns the best one alone, expected 5", "topk(5) gives five."),
        ),
    ),
)


# ----------------------------------------------------------------------------------- 1.4 dahlia


dahlia = Choice(
    number="1.4",
    name="dahlia",
    reference="c",
    why="Softmax shares 100 % among the 200 classes it knows; 'none of these' is not among them. "
    "A dahlia must become something else, and nothing in the output says so.",
    hints=(
        "what do the probabilities of the 200 classes sum to, whatever the photo shows?",
        "the sum is the same for a goldfish and for a dahlia. Which classes can it be shared among?",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "no error comes: any tensor of the right shape passes through the network",
            "the network sees numbers, not a dahlia; what do its outputs sum to?",
        ),
        "b": Wrong(
            "there is no such output: the head has one for each of its 200 classes and no other",
            "count the outputs of the head, and what softmax does to them.",
        ),
        "c": None,
        "d": Wrong(
            "probabilities near zero for all 200 classes would not sum to one",
            "what do the outputs of softmax sum to?",
        ),
    },
)


# ----------------------------------------------------------------------------------- 1.5 repair


def _repair(photo: Image.Image) -> Tensor:
    return _PREPROCESS(photo)


def _to_repair(draw: Draw) -> Iterator[tuple[Image.Image]]:
    """Broad, tall and square photos."""
    for width, height in ((200, 150), (160, draw.whole(190, 260)), (180, 180)):
        yield (_photo(draw, width, height),)


def _repaired(**steps: Any) -> Callable:
    return lambda photo: _by_steps(photo, _POCKET, **steps)[0]


def _divided_at_the_end(photo: Image.Image) -> Tensor:
    return _repaired(scale=False)(photo) / 255


def _whole_divided(photo: Image.Image) -> Tensor:
    """With // in place of /."""
    t = _PREPROCESS
    x = v2.functional.center_crop(v2.functional.resize(photo, t.resize_size), t.crop_size)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (t.mean, t.std))
    return (v2.functional.pil_to_tensor(x) // 255 - mean) / std


def _with(mean: Any, std: Any) -> Callable:
    """Normalised by others' mean and std."""
    m, s = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))
    return lambda photo: (_repaired(norm=False)(photo) - m) / s


_OTHERS = Wrong(
    "mean and std are not those of these weights",
    "they are in the transforms of the weights: preprocess.mean, preprocess.std.",
)

repair = Formula(
    number="1.5",
    name="repair",
    reference=_repair,
    why="Mean and std are given for values from 0 to 1, so the division by 255 comes first. "
    "Calling weights.transforms() leaves nothing to get wrong.",
    hints=(
        "print the smallest and largest value of the tensor, and of preprocess(photo).",
        "a mean near 0.5 belongs to values between 0 and 1. Which values does a photo hold?",
    ),
    worked=(
        "def repair(photo):\n"
        "    photo = v2.functional.resize(photo, preprocess.resize_size)\n"
        "    photo = v2.functional.center_crop(photo, preprocess.crop_size)\n"
        "    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255   # the missing step\n"
        "    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))\n"
        "    return (x - mean) / std"
    ),
    gives=tensor(),
    cases=_to_repair,
    second=_repaired(),
    agree=_looks_the_same,
    describe=lambda photo: f"for a photo of {photo.width} x {photo.height}",
    mistakes=(
        (_repaired(scale=False), Wrong("the values are far too large", _BY_255)),
        (
            _repaired(norm=False),
            Wrong(
                "the values run from 0 to 1",
                "dividing by 255 is half of it; subtract mean and divide by std, too.",
            ),
        ),
        (
            _divided_at_the_end,
            Wrong("the range is wrong", "order matters: first divide by 255, then subtract mean."),
        ),
        (
            _whole_divided,
            Wrong("almost all values are the same", "// cuts off what is behind the point: /."),
        ),
        (_with(0.5, 0.5), _OTHERS),
        (lambda photo: _repair(photo).flip(0), _SWAPPED),
        (lambda photo: _repair(_bgr(photo)), _SWAPPED),
        (lambda photo: _repair(photo).transpose(1, 2), _ON_ITS_SIDE),
        (
            lambda photo: _repair(photo).permute(1, 2, 0),
            Wrong("the channels come last", "channels come first: permute(2, 0, 1)."),
        ),
        (_repaired(crop=False), _SQUASHED),
        *((_repaired(way=way), _RESIZED) for way in _OTHER_WAYS),
        (
            lambda photo: _repair(photo)[None],
            Wrong("it is a batch", "one photo is asked for here, (3, size, size): take [0]."),
        ),
    ),
)


# ------------------------------------------------------------------------------------- 1.6 crop

WANTED = "lakeside"
SMALLEST = 200  # pixels


@functools.cache
def _network() -> torch.nn.Module:
    return load_backbone("resnet18")


@functools.cache
def _temple() -> Image.Image:
    return sample_photos()["temple"]


def _asked(left: int, top: int, side: int) -> Tensor:
    """What the pocket network makes of this square of the photo: probabilities (classes,)."""
    square = _temple().crop((left, top, left + side, top + side))
    with torch.inference_mode():
        return _network()(_PREPROCESS(square)[None])[0].softmax(0)


def _whole(value: float) -> bool:
    return math.isfinite(value) and value == int(value)


@dataclass
class Crop(Exercise):
    """A square of a photo, judged by what the network says of it."""

    def _verdict(self, attempt: Any) -> bool | Wrong | None:
        if untouched(attempt):
            return None
        if isinstance(attempt, list | tuple) and attempt and all(a is None for a in attempt):
            return None
        if isinstance(attempt, Iterator):
            return an_iterator(attempt)
        numbers = as_numbers(attempt)
        if numbers is None or len(numbers) != 3 or not all(map(_whole, numbers)):
            return Wrong(
                f"{short(attempt)} is no square", "write three whole numbers: (left, top, side)."
            )
        left, top, side = map(int, numbers)
        return self._misplaced(left, top, side) or self._told(_asked(left, top, side))

    def _misplaced(self, left: int, top: int, side: int) -> Wrong | None:
        width, height = _temple().size
        if side < SMALLEST:
            return Wrong(
                f"a square of {side} pixels is too small",
                f"take {SMALLEST} at least, with the lake in it.",
            )
        if min(left, top) < 0 or left + side > width or top + side > height:
            return Wrong(
                f"it reaches from ({left}, {top}) to ({left + side}, {top + side}), beyond the photo",
                f"the photo has {width} x {height} pixels; (0, 0) is its upper left corner.",
            )
        return None

    def _told(self, p: Tensor) -> Wrong | bool:
        names, right = _POCKET.meta["categories"], _POCKET.meta["categories"].index(WANTED)
        place, best = int((p > p[right]).sum()) + 1, int(p.argmax())
        if place == 1:
            return True
        return Wrong(
            f"the network says {names[best]}, {100 * float(p[best]):.0f} %; {WANTED} is at place {place} with "
            f"{100 * float(p[right]):.1f} %"
        )

    def _right(self, attempt: Any) -> Any:
        return tuple(map(int, as_numbers(attempt) or ()))


crop = Crop(
    number="1.6",
    name="crop",
    reference=(340, 120, 280),
    why="The photo has not changed, and neither has the network: what is in the crop decides. Nothing but "
    "the crop is seen.",
    hints=(
        "where in the photo is the water, and how much of the temple can you leave out?",
        "the lake lies to the right of the temple. Begin beyond the middle, and take in the trees below it.",
    ),
    worked="box = (340, 120, 280)   # left, top, side",
)
