"""Questions of lesson 13, semantic_segmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as V

from ftcourse.exercises import Choice, Draw, Formula, Function, Value, Wrong
from ftcourse.exercises.gives import Unfit, tensor, tuple_of
from ftcourse.exercises.written import equals

# ------------------------------------------------------------------------ 13.1 nothing_found

TEST_PIXELS = (813_265, 101_489, 191_166)  # background, ants, bees in the 120 test masks

_SHARE = TEST_PIXELS[0] / sum(TEST_PIXELS)


def _rounded_first(answer: tuple[float, ...]) -> bool:
    """The second number from the first, after rounding."""
    return len(answer) == 2 and equals(answer[0], _SHARE) and abs(answer[1] - _SHARE / 3) < 2e-3


nothing_found = Value(
    number="13.1",
    name="nothing_found",
    reference=(_SHARE, _SHARE / 3),
    why="It is right on each background pixel, 74 %. Its IoU is 0.74 for the background and 0 for ants and "
    "bees, 0.25 on average: that number says what the model is worth.",
    hints=(
        "pixel accuracy: on which pixels is this model right, and how many are they of all?",
        "IoU of the background: the intersection is the true background, and the union is every pixel. For ants "
        "and bees the intersection is empty.",
    ),
    worked="accuracy = 813_265 / (813_265 + 101_489 + 191_166)\nanswer = (accuracy, accuracy / 3)",
    mistakes=(
        (
            (_SHARE, _SHARE),
            Wrong(
                "the mean IoU is over three classes, and two of them get 0",
                "divide by all three classes, also by those that the model never names.",
            ),
        ),
        (
            (_SHARE, 1 / 3),
            Wrong(
                "the IoU of the background is not 1",
                "the model also calls all animals background: the union is larger than the intersection.",
            ),
        ),
        (
            (_SHARE / 3, _SHARE),
            Wrong("the two numbers are the other way round", "(pixel accuracy, mean IoU)."),
        ),
        (
            (1 / 3, _SHARE / 3),
            Wrong(
                "the accuracy is over pixels, not over classes",
                "what share of all pixels is background? On those it is right.",
            ),
        ),
        (
            (100 * _SHARE, 100 * _SHARE / 3),
            Wrong("the numbers are right, in per cent", "give fractions, between 0 and 1."),
        ),
        (
            (_SHARE, 0.0),
            Wrong("0 is the IoU of ants, and of bees", "the background is a class as well."),
        ),
        (
            (_SHARE, _SHARE / 2),
            Wrong("that divides by two classes", "there are three: the background, ants, bees."),
        ),
        (
            lambda a: len(a) == 2 and equals(a[0], 1 - _SHARE),
            Wrong("that is the share of the animals", "on those pixels the model is wrong."),
        ),
        (
            _rounded_first,
            Wrong("the mean IoU is near, and rounded on the way", "divide first, then round."),
        ),
        (
            lambda a: len(a) == 3,
            Wrong("those are three numbers", "two are asked for: (pixel accuracy, mean IoU)."),
        ),
    ),
)

# ---------------------------------------------------------------------------------- 13.2 iou

Score = Callable[[Tensor, Tensor], Tensor]  # of the pixels called k, and of those that are k


def _each(score: Score, predicted: Tensor, truth: Tensor, classes: int, ignore: int) -> Tensor:
    """The score of each class, on the pixels that have a truth."""
    known = truth != ignore
    return torch.stack(
        [score((predicted == k) & known, (truth == k) & known) for k in range(classes)]
    )


def _over_union(found: Tensor, there: Tensor) -> Tensor:
    return (found & there).sum() / (found | there).sum()


def _iou(predicted: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    return _each(_over_union, predicted, truth, num_classes, ignore_index)


def _counted(
    predicted: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255
) -> list[float]:
    """Pixel by pixel, without tensors."""
    both, either = [0] * num_classes, [0] * num_classes
    for p, t in zip(predicted.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if t == ignore_index:
            continue
        both[t] += p == t
        for k in {p, t}:
            either[k] += 1
    return [b / e if e else float("nan") for b, e in zip(both, either, strict=True)]


def _scored(score: Score) -> Callable:
    """The same function with another score."""
    return lambda p, t, n, ignore=255: _each(score, p, t, n, ignore)


def _void_counts(predicted: Tensor, truth: Tensor, num_classes: int, ignore: int = 255) -> Tensor:
    return _each(_over_union, predicted, truth, num_classes, -12345)


def _void_counts_below(
    predicted: Tensor, truth: Tensor, num_classes: int, ignore: int = 255
) -> Tensor:
    """Left out of the truth only, where it never was one of the classes."""
    truth = torch.where(truth == ignore, -1, truth)
    return _void_counts(predicted, truth, num_classes)


def _photo_by_photo(
    predicted: Tensor, truth: Tensor, num_classes: int, ignore: int = 255
) -> Tensor:
    if predicted.dim() == 2:
        return _iou(predicted, truth, num_classes, ignore)
    pairs = zip(predicted, truth, strict=True)
    return torch.stack([_iou(p, t, num_classes, ignore) for p, t in pairs]).nanmean(0)


def _classes_there(predicted: Tensor, truth: Tensor, num_classes: int, ignore: int = 255) -> Tensor:
    known = truth[truth != ignore].unique()
    return _iou(predicted, truth, num_classes, ignore)[known]


def _mask_pairs(draw: Draw) -> Iterator[tuple[Any, ...]]:
    """One mask and batches, void pixels under several numbers, classes that one mask or neither has."""
    for i, (shape, classes) in enumerate(
        (((8, 8), 2), ((3, 7, 9), 3), ((2, 12, 6), 5), ((4, 6, 6), 3), ((1, 9, 4), 7))
    ):
        truth = draw.integers(0, classes, *shape)
        agree = draw.uniform(0, 1, *shape) < 0.6
        predicted = torch.where(agree, truth, draw.integers(0, classes, *shape))
        if i == 2:  # 1 is only called, 2 only true, 3 neither; 4 is there
            predicted[(predicted == 2) | (predicted == 3)] = 1
            truth[(truth == 1) | (truth == 3)] = 2
        if i == 0:
            yield predicted, truth, classes
        void = draw.uniform(0, 1, *shape) < 0.25
        for ignore in ((255,), (draw.whole(20, 99), -1))[i % 2]:
            yield predicted, torch.where(void, ignore, truth), classes, ignore
        yield predicted, torch.where(void, 255, truth), classes
    yield truth, truth.clone(), classes


def _same_ious(answer: Tensor, expected: Tensor) -> bool:
    """Equal where a class has any pixel: what the others get is free."""
    if answer.shape != expected.shape:
        return False
    here = ~expected.isnan()
    return torch.allclose(answer[here], expected[here], rtol=1e-4, atol=1e-6)


def _one_each(value: Any) -> Tensor:
    found = tensor(hint="one IoU a class, in a tensor: torch.stack or torch.tensor.")(value)
    if found.dim() != 1:
        shape = tuple(found.shape)
        raise Unfit(
            f"it returns {'one number' if not shape else f'a tensor of shape {shape}'}",
            "one IoU a class, the background's too: shape (num_classes,).",
        )
    return found


UNION = "divide by the union, in which each pixel counts once: |A| + |B| - |A and B|."

iou = Formula(
    number="13.2",
    name="iou",
    reference=_iou,
    why="For each class the pixels that both masks give it, over the pixels that at least one gives it.",
    hints=(
        "for a class k, predicted == k and truth == k are two sets of pixels. & is their intersection, | their "
        "union.",
        "begin with one class, then go through all of range(num_classes). Pixels without truth belong to neither "
        "of the two sets: take them out of both before you count.",
    ),
    worked=(
        "def iou(predicted, truth, num_classes, ignore_index=255):\n"
        "    known = truth != ignore_index\n"
        "    values = []\n"
        "    for k in range(num_classes):\n"
        "        found, there = (predicted == k) & known, (truth == k) & known\n"
        "        values.append((found & there).sum() / (found | there).sum())\n"
        "    return torch.stack(values)"
    ),
    gives=_one_each,
    cases=_mask_pairs,
    second=_counted,
    agree=_same_ious,
    describe=lambda p, t, n, ignore=255: (
        f"for masks of shape {tuple(t.shape)} with {n} classes and ignore_index {ignore}"
    ),
    mistakes=(
        (
            _void_counts,
            Wrong(
                "void pixels count",
                "leave out the pixels whose truth is ignore_index first, of both masks.",
            ),
        ),
        (
            lambda p, t, n, ignore=255: _iou(p, t, n),
            Wrong("it always leaves out 255", "take the number that came in as ignore_index."),
        ),
        (
            _scored(lambda a, b: 2 * (a & b).sum() / (a.sum() + b.sum())),
            Wrong("that is the Dice score, with the shared pixels counted twice below", UNION),
        ),
        (
            _scored(lambda a, b: (a & b).sum() / (a.sum() + b.sum())),
            Wrong("the shared pixels are counted twice below", UNION),
        ),
        (
            _scored(lambda a, b: (a & b).sum() / b.sum()),
            Wrong(
                "that is the share of the truth that was found",
                "pixels called k that are not k must count as well: divide by the union.",
            ),
        ),
        (
            _scored(lambda a, b: (a & b).sum() / a.sum()),
            Wrong(
                "that is the share of the found pixels that are right",
                "pixels of k that were missed must count as well: divide by the union.",
            ),
        ),
        (
            _scored(lambda a, b: (a & b).sum()),
            Wrong("those are the shared pixels", "divide them by those of the union."),
        ),
        (
            _scored(lambda a, b: (a == b).float().mean()),
            Wrong(
                "pixels that both masks say are not k count as well",
                "a pixel outside of both sets says nothing about k: divide by the union.",
            ),
        ),
        (
            _scored(lambda a, b: 1 - _over_union(a, b)),
            Wrong("that is one minus the IoU", "equal masks must give 1."),
        ),
        (
            _scored(lambda a, b: 100 * _over_union(a, b)),
            Wrong("those are percentages", "fractions are asked for, from 0 to 1."),
        ),
        (
            lambda p, t, n, ignore=255: _iou(p, t, n, ignore)[1:],
            Wrong("an IoU is missing", "one IoU a class, the background's too."),
        ),
        (
            _classes_there,
            Wrong(
                "a class that the truth does not have gets no number",
                "go through range(num_classes), whatever the masks hold.",
            ),
        ),
        (
            _photo_by_photo,
            Wrong(
                "each photo gets an IoU, and their mean is taken",
                "put the pixels of all photos together, then divide once.",
            ),
        ),
        (
            lambda p, t, n, ignore=255: (p == t)[t != ignore].float().mean().expand(n),
            Wrong("that is the pixel accuracy", "each class has an intersection and a union."),
        ),
    ),
)

# ------------------------------------------------------------------------------ 13.3 map_size

map_size = Value(
    number="13.3",
    name="map_size",
    reference=(3, 3),
    why="Five halvings divide the side by 32: 96 / 32 = 3. Each of the 9 places speaks for 32 x 32 pixels.",
    hints=(
        "the stem halves the side twice (conv1 and the pooling), and layer2, layer3 and layer4 once each.",
        "count the halvings on the way, and halve 96 as often.",
    ),
    worked="size = (96 // 32, 96 // 32)",
    mistakes=(
        (
            (6, 6),
            Wrong(
                "(6, 6) is what layer3 gives", "one more halving: layer4 has a stride of 2, too."
            ),
        ),
        (
            (4, 4),
            Wrong("(4, 4) would be right for 128 pixels", "these photos are 96 pixels wide."),
        ),
        (
            (7, 7),
            Wrong("(7, 7) is the map of a 224 pixel photo", "the map shrinks with the photo."),
        ),
        (
            (12, 12),
            Wrong("(12, 12) is what layer2 gives", "two more halvings: layer3 and layer4."),
        ),
        (
            (24, 24),
            Wrong("(24, 24) is what layer1 gives", "layer2, layer3 and layer4 are still to come."),
        ),
        (
            (48, 48),
            Wrong("(48, 48) is what conv1 gives", "the pooling and three stages halve it as well."),
        ),
        (
            (1, 1),
            Wrong(
                "(1, 1) is left after the average over all places",
                "the question is what comes before `avgpool`: the map of layer4.",
            ),
        ),
        (
            (32, 32),
            Wrong("32 is how many times smaller the map is", "what is left of 96 pixels?"),
        ),
        ((96, 96), Wrong("that is the photo", "the stem and the stages make it smaller.")),
        (
            lambda a: len(a) > 2,
            Wrong("those are more than two numbers", "no channels: the rows and the columns."),
        ),
    ),
)

# ------------------------------------------------------------------------------- 13.4 enlarge

NEAREST, EXACT = InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT
BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC


def _resized(image: Tensor, mask: Tensor, size: int, photo: Any, labels: Any) -> Any:
    """Both, each with an interpolation of its own."""
    mask = V.resize(mask[None], [size, size], interpolation=labels)[0]
    return V.resize(image, [size, size], interpolation=photo), mask


def _enlarge(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    return _resized(image, mask, size, BILINEAR, NEAREST)


def _by_positions(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same by the positions that each new pixel looks at."""
    for axis in (-2, -1):
        old = image.shape[axis]
        at = ((torch.arange(size) + 0.5) * old / size - 0.5).clamp(0, old - 1)
        low = at.floor().long()
        part = (at - low).reshape([size] + [1] * (-1 - axis))
        high = (low + 1).clamp(max=old - 1)
        image = (1 - part) * image.index_select(axis, low) + part * image.index_select(axis, high)
        mask = mask.index_select(axis, torch.arange(size) * old // size)
    return image, mask


def _cut_off(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Class numbers averaged and cut to whole numbers."""
    blurred = F.interpolate(mask[None, None].float(), (size, size), mode="bilinear")
    return _enlarge(image, mask, size)[0], blurred[0, 0].long()


def _rounded(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The same, rounded."""
    blurred = F.interpolate(mask[None, None].float(), (size, size), mode="bilinear")
    return _enlarge(image, mask, size)[0], blurred[0, 0].round().long()


def _stretched(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    big = F.interpolate(image[None], (size, size), mode="bilinear", align_corners=True)[0]
    return big, _enlarge(image, mask, size)[1]


def _padded(image: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    height, width = mask.shape
    return _enlarge(image, mask, size)[0], F.pad(mask, (0, size - width, 0, size - height))


def _photo_and_mask(draw: Draw, height: int, width: int, last: int = 255) -> tuple[Tensor, Tensor]:
    """Noise, and three classes of any number, `last` the highest, in blocks of several pixels."""
    blocks = draw.integers(0, 3, -(-height // 3), -(-width // 3))
    blocks[0, :3] = torch.tensor([0, 2, 1])
    mask = blocks.repeat_interleave(3, 0).repeat_interleave(3, 1)[:height, :width]
    classes = torch.tensor([0, draw.one_of((2, 7, 10)), last])
    return draw.uniform(0, 1, 3, height, width), classes[mask]


def _photos(draw: Draw) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Square, wide and tall; whole factors, for which all ways to take the nearest pixel are one."""
    for height, width, size in ((12, 12, 36), (15, 10, 60), (8, 24, 48), (9, 9, 9)):
        last = 255 if height == 12 else draw.one_of((12, 20, 255))
        yield *_photo_and_mask(draw, height, width, last), size


def _other_factors(attempt: Callable) -> Wrong | None:
    """Factors such as 2.5: the nearest pixel by either of PyTorch's two roundings."""
    for seed, (height, width, size) in enumerate(((16, 16, 40), (11, 18, 31))):
        image, mask = _photo_and_mask(Draw(seed), height, width)
        big, moved = attempt(image, mask, size)
        if not torch.allclose(big, _enlarge(image, mask, size)[0], atol=1e-3):
            seen = f"from {width} x {height} to {size} x {size} the photo is another"
            return Wrong(seen, "let the resizing take any size, not only twice or three times.")
        ways = [_resized(image, mask, size, BILINEAR, way)[1] for way in (NEAREST, EXACT)]
        if not any(torch.equal(moved, way) for way in ways):
            seen = f"from {width} x {height} to {size} x {size} the mask does not fit the photo"
            return Wrong(seen, "treat both the same: only the interpolation is another one.")
    return None


def _plane(dim: int, what: str, shape: str, item: Callable[[Any], Tensor]) -> Callable:
    """A tensor of so many dimensions."""

    def convert(value: Any) -> Tensor:
        found = item(value)
        if found.dim() != dim:
            seen = f"the {what} comes back with the shape {tuple(found.shape)}"
            raise Unfit(seen, f"{shape} is asked for: add a dimension with [None], drop it by [0].")
        return found

    return convert


AVERAGED = Wrong(
    "the mask comes back with classes that were not in it",
    "class numbers cannot be averaged: half-way between background and bee is no ant. Take the nearest pixel.",
)

enlarge = Formula(
    number="13.4",
    name="enlarge",
    reference=_enlarge,
    why="A mask holds names, not amounts: it takes the nearest pixel's. transforms.v2 does so for a "
    "tv_tensors.Mask.",
    hints=(
        "print sorted(mask.unique().tolist()) before and after. Which class was not there?",
        "half-way between two colours lies a colour; what lies half-way between class 0 and class 2? Look up "
        "which values InterpolationMode has, and choose one that takes a pixel as it is.",
    ),
    worked=(
        "def enlarge(image, mask, size):\n"
        "    image = V.resize(image, [size, size], interpolation=InterpolationMode.BILINEAR)\n"
        "    mask = V.resize(mask[None], [size, size], interpolation=InterpolationMode.NEAREST)\n"
        "    return image, mask[0]"
    ),
    gives=tuple_of(
        _plane(3, "photo", "(3, size, size)", tensor(hint="return image, mask.")),
        _plane(
            2,
            "mask",
            "(size, size)",
            tensor(torch.int64, hint="keep the mask int64: cross-entropy takes class numbers."),
        ),
        hint="return image, mask.",
    ),
    cases=_photos,
    second=_by_positions,
    tolerance=1e-3,
    describe=lambda image, mask, size: (
        f"for {image.shape[-1]} x {image.shape[-2]} pixels and size {size}"
    ),
    also=_other_factors,
    mistakes=(
        (
            lambda i, m, s: _resized(i, m, s, BILINEAR, BILINEAR),
            AVERAGED,
        ),
        (_rounded, AVERAGED),
        (
            _cut_off,
            Wrong(
                "class numbers are averaged, and cut to whole numbers",
                "class numbers cannot be averaged: take the nearest pixel.",
            ),
        ),
        (
            lambda i, m, s: _resized(i, m, s, NEAREST, NEAREST),
            Wrong(
                "the photo has become blocky: it has the nearest pixels now as well",
                "leave the photo's interpolation bilinear; only the mask needs another one.",
            ),
        ),
        (
            lambda i, m, s: _resized(i, m, s, NEAREST, BILINEAR),
            Wrong("the two interpolations are exchanged", "which of the two holds class numbers?"),
        ),
        (
            lambda i, m, s: _resized(i, m, s, BICUBIC, NEAREST),
            Wrong(
                "the mask is right, and the photo is bicubic",
                "leave the photo's interpolation bilinear.",
            ),
        ),
        (
            _stretched,
            Wrong(
                "with align_corners=True the photo moves away from its mask",
                "leave align_corners out, or make it False.",
            ),
        ),
        (
            _padded,
            Wrong(
                "the mask has a margin and no larger animals",
                "treat both the same: change only how the mask's values are chosen.",
            ),
        ),
        (
            lambda i, m, s: (i, m),
            Wrong("nothing is enlarged", "(3, size, size) and (size, size) are asked for."),
        ),
        (
            lambda i, m, s: (_enlarge(i, m, s)[0], m),
            Wrong("the mask keeps its size", "(size, size) is asked for, as for the photo."),
        ),
        (
            lambda i, m, s: (i, _enlarge(i, m, s)[1]),
            Wrong("the photo keeps its size", "(3, size, size) is asked for."),
        ),
    ),
)

# ------------------------------------------------------------------------------ 13.5 read_bars

read_bars = Choice(
    number="13.5",
    name="read_bars",
    reference="b, d",
    why="Sky, road and buildings have most of the pixels, so accuracy hardly sees the poles; mean IoU counts each "
    "class alike. And what is a pixel or two wide is missed, whatever the weights.",
    hints=(
        "compare the two numbers in the title with the bars on the right. Which classes have them?",
        "how many pixels has a pole, and how far can pixel accuracy fall if all of them are missed?",
    ),
    worked='answer = "b, d"',
    options={
        "a": Wrong(
            "the two numbers in the title differ by far",
            "look at the shortest bars: who pays for them, accuracy or mean IoU?",
        ),
        "b": None,
        "c": Wrong(
            "the bars show that they do: both pre-trained networks are ahead in nearly every class",
            "compare the three colours, class by class.",
        ),
        "d": None,
    },
)

# ---------------------------------------------------------------------------------- 13.6 tidy

GOAL = 0.9  # mean IoU over the drawn masks; as they come they have about 0.65


def _animal(draw: Draw, height: int, width: int) -> Tensor:
    """A slanting ellipse as bool (height, width)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y - height * draw.real(0.4, 0.6), x - width * draw.real(0.4, 0.6)
    slant = draw.real(-0.6, 0.6)
    wide, high = width * draw.real(0.22, 0.34), height * draw.real(0.16, 0.28)
    return ((x + slant * y) / wide) ** 2 + ((y - slant * x) / high) ** 2 < 1


def _torn(draw: Draw, classes: int, label: int) -> tuple[Tensor, Tensor]:
    """A mask as a network gives it, and the true one: two classes on one animal, and specks beside it."""
    height, width = draw.one_of((48, 56, 64)), draw.one_of((48, 60, 72))
    body = _animal(draw, height, width)
    truth = torch.where(body, label, 0)
    other = draw.one_of([k for k in range(1, classes + 1) if k != label])
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    along = draw.real(-1, 1) * x + draw.real(-1, 1) * y  # some way across the animal
    part = along > along[body].quantile(draw.real(0.58, 0.7))
    found = torch.where(body & part, other, truth)
    for _ in range(4):
        top, left = draw.whole(0, height - 3), draw.whole(0, width - 3)
        speck = found[top : top + draw.whole(1, 2), left : left + draw.whole(1, 2)]
        speck[speck == 0] = draw.whole(1, classes)
    return found, truth


def _pooled(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Mean IoU over the pixels of all pairs (answer, truth) together, each class with the same weight."""
    answer, truth = (torch.cat([pair[i].flatten() for pair in pairs]) for i in (0, 1))
    classes = int(max(answer.max(), truth.max())) + 1
    return float(_iou(answer, truth, classes).nanmean())


def _judge_tidy(attempt: Callable) -> Wrong | None:
    draw = Draw(11)
    masks = [_torn(draw, 2, 1 + i % 2) for i in range(10)]
    before = _pooled(masks)
    nothing = torch.zeros(20, 30, dtype=torch.int64)
    answers = [attempt(found) for found, _ in masks]
    for answer, (found, _) in zip(answers, masks, strict=True):
        if answer.shape != found.shape:
            seen = f"a mask of shape {tuple(found.shape)} comes back as {tuple(answer.shape)}"
            return Wrong(seen, "each pixel keeps its place: change the classes only.")
        if answer.min() < 0 or answer.max() > 2:
            return Wrong(
                f"it returns a class {int(answer.max())}, and the mask has 0, 1 and 2",
                "give the animal one of the classes that the mask has.",
            )
    after = _pooled([(a, truth) for a, (_, truth) in zip(answers, masks, strict=True)])
    said = f"the mean IoU of ten drawn masks goes from {before:.2f} to {after:.2f}; {GOAL} is asked for"
    if after < GOAL:
        return Wrong(said, _advice(answers, masks))
    if (attempt(nothing) != 0).any():
        return Wrong("a mask without any animal gets one", "return such a mask as it is.")
    return _more_classes(attempt, draw)


def _advice(answers: list[Tensor], masks: list[tuple[Tensor, Tensor]]) -> str:
    """What stands in the way, from what was returned."""
    if all(torch.equal(a, found) for a, (found, _) in zip(answers, masks, strict=True)):
        return "nothing is changed yet. How many animals are on a photo, and how many classes on the animal?"
    lost = [
        (truth[a == 0] > 0).float().sum() / (truth > 0).sum()
        for a, (_, truth) in zip(answers, masks, strict=True)
    ]
    if max(lost) > 0.5:
        return "pixels of the animal have become background: leave them to the animal."
    spread = [
        (a > 0).sum() / (truth > 0).sum() for a, (_, truth) in zip(answers, masks, strict=True)
    ]
    if max(spread) > 1.5:
        return "background has become animal: only pixels above 0 are the animal's."
    two = sum(len(a[a > 0].unique()) > 1 for a in answers)
    if two:
        return f"{two} of 10 masks still have two classes. One animal has one: which has more of its pixels?"
    wrong = sum(
        int(a[a > 0].unique()[0]) != int(truth.max())
        for a, (_, truth) in zip(answers, masks, strict=True)
    )
    return f"each mask has one class now, in {wrong} of 10 the wrong one: let its pixels vote."


def _more_classes(attempt: Callable, draw: Draw) -> Wrong | None:
    """Five classes, one mask a time: the way must not be made for ants and bees."""
    pairs = [_torn(draw, 5, 1 + i % 5) for i in range(8)]
    score = _pooled([(attempt(found), truth) for found, truth in pairs])
    if score < GOAL:
        return Wrong(
            f"for ants and bees it is right; for masks with five classes the mean IoU is {score:.2f}",
            "let the way not depend on how many classes there are.",
        )
    return None


def _tidy(mask: Tensor) -> Tensor:
    animal = mask > 0
    if not animal.any():
        return mask
    return torch.where(animal, mask[animal].mode().values, mask)


tidy = Function(
    number="13.6",
    name="tidy",
    reference=_tidy,
    why="The network answers for each pixel on its own; that a photo holds one animal, only you know.",
    hints=(
        "where is the animal, whatever its class? There the pixels disagree, and one class only can be right.",
        "let the pixels above 0 vote, without the background: torch.mode or torch.bincount counts. Then give "
        "all of them the winner, by torch.where. And a mask in which nobody votes?",
    ),
    worked=(
        "def tidy(mask):\n"
        "    animal = mask > 0\n"
        "    if not animal.any():\n"
        "        return mask\n"
        "    return torch.where(animal, mask[animal].mode().values, mask)"
    ),
    gives=_plane(
        2,
        "mask",
        "(H, W)",
        tensor(torch.int64, hint="class numbers are asked for: int64 (H, W)."),
    ),
    judge=_judge_tidy,
)
