"""Questions of lesson 14, object_detection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import ops

from ftcourse.exercises import Choice, Draw, Formula, Function, Wrong
from ftcourse.exercises.gives import Unfit, number, several, tensor, tuple_of, whole

# ------------------------------------------------------------------------------- 14.1 box_iou


def _sides(a: Any, b: Any) -> tuple[Any, Any]:
    """Width and height of the shared part; below 0 where the boxes do not meet."""
    return min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])


def _area(box: Any) -> Any:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(a: Any, b: Any) -> Any:
    width, height = _sides(a, b)
    return max(0, width) * max(0, height)


def _box_iou(a: Any, b: Any) -> Any:
    shared = _shared(a, b)
    return shared / (_area(a) + _area(b) - shared)


def _iou_of(shared: Any, a: Any, b: Any) -> Any:
    return shared / (_area(a) + _area(b) - shared)


def _unclamped(a: Any, b: Any) -> Any:
    width, height = _sides(a, b)
    return _iou_of(width * height, a, b)


def _clamped_wide(a: Any, b: Any) -> Any:
    width, height = _sides(a, b)
    return _iou_of(max(0, width) * height, a, b)


def _clamped_high(a: Any, b: Any) -> Any:
    width, height = _sides(a, b)
    return _iou_of(width * max(0, height), a, b)


def _clamped_product(a: Any, b: Any) -> Any:
    width, height = _sides(a, b)
    return _iou_of(max(0, width * height), a, b)


def _absolute(a: Any, b: Any) -> Any:
    width, height = _sides(a, b)
    return _iou_of(abs(width) * abs(height), a, b)


def _one_side_only(a: Any, b: Any) -> Any:
    return 0 if a[2] <= b[0] or a[3] <= b[1] else _unclamped(a, b)


def _hull(a: Any, b: Any) -> Any:
    width, height = (max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1))
    return _shared(a, b) / (width * height)


def _with_both_ends(a: Any, b: Any) -> Any:
    """Pixels counted from the first to the last, as with whole numbers."""
    one = torch.tensor([0, 0, 1.0, 1.0])
    return _box_iou(a + one, b + one)


def _pairs(draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Boxes that meet at each corner, cross, hold one another, touch or are apart on each side; both orders."""
    left, top, wide, high = (draw.real(20, 60) for _ in range(4))
    a = torch.tensor([left, top, left + wide, top + high])
    for x, y in ((0.4, 0.3), (-0.5, 0.6), (0.3, -0.6), (-0.4, -0.2)):
        moved = a + torch.tensor([x * wide, y * high, x * wide + draw.real(0, 9), y * high])
        yield a, moved
    yield a, a.clone()
    inner = a + torch.tensor([wide / 4, high / 5, -wide / 3, -high / 4])
    yield from ((a, inner), (inner, a))
    yield a, a + torch.tensor([wide / 3, -high / 2, -wide / 4, high])  # a tall one through a
    for x, y in draw.shuffled([(2, 0), (-2, 0), (0, 2), (0, -2), (2, 2), (-2, -2), (2, -2)]):
        yield a, a + torch.tensor([x * wide, y * high, x * wide + 3, y * high])
    yield a, torch.stack([a[2], a[1], a[2] + 5, a[3]])  # they touch
    yield a, torch.stack([a[0], a[1], a[0], a[3]])  # a box without area
    yield a / 500, a / 400  # in fractions of the photo
    yield a - 50, a - 50 + torch.tensor([5.0, 7, 9, 9])  # partly outside of the photo


BELOW_ZERO = "boxes that do not meet have right < left, or bottom < top: each must count as 0."
UNION = "divide by the union: both areas, with the shared part counted once."

box_iou = Formula(
    number="14.1",
    name="box_iou",
    reference=_box_iou,
    why="The shared area over the area that either covers: 1 for the same box, 0 for boxes that do not meet.",
    hints=(
        "the shared part is a box, too: it starts at the larger left and ends at the smaller right.",
        "draw two boxes that do not meet, side by side and above each other: which sides of the 'shared box' come "
        "out below 0, and what must they count as? In the union, no point counts twice.",
    ),
    worked=(
        "def box_iou(a, b):\n"
        "    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))\n"
        "    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))\n"
        "    shared = width * height\n"
        "    area_a = (a[2] - a[0]) * (a[3] - a[1])\n"
        "    area_b = (b[2] - b[0]) * (b[3] - b[1])\n"
        "    return shared / (area_a + area_b - shared)"
    ),
    gives=number("one number, please: the share for this pair of boxes."),
    cases=_pairs,
    second=lambda a, b: ops.box_iou(a[None], b[None]),
    mistakes=(
        (_unclamped, Wrong("boxes that do not meet share something", BELOW_ZERO)),
        (_clamped_wide, Wrong("the height of the shared part can fall below 0", BELOW_ZERO)),
        (_clamped_high, Wrong("the width of the shared part can fall below 0", BELOW_ZERO)),
        (
            _clamped_product,
            Wrong("two negative sides make a positive area", "let each side be at least 0."),
        ),
        (_absolute, Wrong("a gap between the boxes is taken for a shared part", BELOW_ZERO)),
        (
            _one_side_only,
            Wrong(
                "it asks on one side only whether the boxes meet",
                "b may lie to the left of a as well, and above it.",
            ),
        ),
        (_shared, Wrong("that is the intersection", "divide it by the union.")),
        (
            lambda a, b: _shared(a, b) / (_area(a) + _area(b)),
            Wrong(
                "it divides by the sum of both areas",
                "the sum of both areas has the shared part twice; take it off once.",
            ),
        ),
        (
            lambda a, b: 2 * _shared(a, b) / (_area(a) + _area(b)),
            Wrong("that is the Dice score", UNION),
        ),
        (
            lambda a, b: _shared(a, b) / _area(a),
            Wrong("it divides by the area of a alone", UNION),
        ),
        (
            lambda a, b: _shared(a, b) / max(_area(a), _area(b)),
            Wrong("it divides by the larger box", UNION),
        ),
        (_hull, Wrong("it divides by the box around both", UNION)),
        (
            lambda a, b: 1 - _box_iou(a, b),
            Wrong("that is one minus the IoU", "the same box twice must give 1."),
        ),
        (
            lambda a, b: 100 * _box_iou(a, b),
            Wrong("it is a percentage", "a fraction is asked for, from 0 to 1."),
        ),
        (
            lambda a, b: round(float(_box_iou(a, b)), 2),
            Wrong("it rounds", "leave the number as it is: rounding is for printing."),
        ),
        (
            _with_both_ends,
            Wrong("it adds one pixel to each side", "the edges are places: right - left is all."),
        ),
    ),
)

# ------------------------------------------------------------------------------ 14.2 survivors

survivors = Choice(
    number="14.2",
    name="survivors",
    reference="a, c, d",
    why="A is best and stays. B overlaps it and goes. C overlaps B by more than 0.5, but B is gone, and A it "
    "overlaps by 0.43 only: C stays. D meets nobody.",
    hints=(
        "go by score. Each box is compared only with boxes that were kept before it.",
        "begin with A and B: the shared part is 9 x 10 = 90, the union 100 + 100 - 90. Go on like this, and "
        "leave out of it whoever has gone.",
    ),
    worked='answer = "a, c, d"',
    options={
        "a": None,
        "b": Wrong(
            "B shares 90 of 110 with A, which has the better score: 0.82 is above the threshold",
            "who of the two has the higher score? The other one goes.",
        ),
        "c": None,
        "d": None,
    },
)

# ----------------------------------------------------------------------------------- 14.3 nms


def _by_score(scores: Tensor) -> list[int]:
    return scores.argsort(descending=True).tolist()


def _suppressed(boxes: Tensor, order: list[int], threshold: float, among: slice = slice(None)):
    """Kept by this order, compared with these of the kept ones."""
    kept: list[int] = []
    for i in order:
        if all(_box_iou(boxes[i], boxes[k]) <= threshold for k in kept[among]):
            kept.append(i)
    return kept


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    return _suppressed(boxes, _by_score(scores), threshold)


def _boundary_goes(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in _by_score(scores):
        if all(_box_iou(boxes[i], boxes[k]) < threshold for k in kept):
            kept.append(i)
    return kept


def _by_all(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """A removed box removes others."""
    over = ops.box_iou(boxes, boxes) > threshold
    lost = (over & (scores[None] > scores[:, None])).any(1)
    return [i for i in _by_score(scores) if not lost[i]]


def _places_in_order(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Positions among the sorted boxes."""
    order = _by_score(scores)
    return [order.index(i) for i in _nms(boxes, scores, threshold)]


def _removed(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept = _nms(boxes, scores, threshold)
    return [i for i in _by_score(scores) if i not in kept]


def _heaps(draw: Draw) -> Iterator[tuple[Tensor, Tensor, float]]:
    """No box, one, chains, heaps at several thresholds, and overlaps that are exactly the threshold."""
    chain = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [4, 0, 14, 10], [20, 20, 30, 30.0]])
    yield chain, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.5
    yield chain[:1], torch.tensor([draw.real(0.1, 0.9)]), 0.5
    yield chain[:0], torch.zeros(0), 0.5
    for n, threshold in ((9, 0.3), (16, 0.5), (16, 0.1), (12, 0.75)):
        corner, side = draw.uniform(0, 25, n, 2), draw.uniform(12, 24, n, 2)
        scores = (torch.tensor(draw.shuffled(range(1, n + 1))) / (n + 1)) ** 3
        yield torch.cat([corner, corner + side], 1), scores, threshold
    whole_box, half, quarter = [0, 0, 16, 16], [0, 0, 16, 8], [0, 0, 8, 8]
    equal = torch.tensor([quarter, whole_box, half, whole_box], dtype=torch.float32)
    for threshold in (0.25, 0.5):  # quarter and half overlap by 0.5, quarter and whole by 0.25
        yield equal, torch.tensor([0.2, 0.8, 0.3, 0.6]), threshold


def _positions(value: Any) -> list[int]:
    """A list of int; a mask or boxes are refused."""
    if isinstance(value, set | frozenset):
        raise Unfit("it returns a set, which has no order", "best first: return a list.")
    arrays = isinstance(value, Tensor | np.ndarray)
    entries = value.flatten().tolist() if arrays else value
    if isinstance(entries, list | tuple) and any(isinstance(entry, bool) for entry in entries):
        raise Unfit(
            "it returns a mask of True and False",
            "the positions are asked for: the numbers i of the boxes that are kept.",
        )
    if isinstance(value, Tensor) and (value.is_floating_point() or value.dim() > 1):
        raise Unfit("it returns boxes or scores", "return the positions of the kept boxes.")
    several_boxes = "return the positions of the kept boxes, each of them one number."
    return several(whole(several_boxes), hint="return a list of positions.")(value)


nms = Formula(
    number="14.3",
    name="nms",
    reference=_nms,
    why="By falling score, a box is kept unless it overlaps a kept one by more than the threshold.",
    hints=(
        "scores.argsort(descending=True) is the order. Keep a list; when may a box join it?",
        "two loops: one over the boxes, best first; inside it one over those that are kept so far. A single kept "
        "one that it overlaps by more than the threshold is enough to leave a box out.",
    ),
    worked=(
        "def nms(boxes, scores, threshold):\n"
        "    kept = []\n"
        "    for i in scores.argsort(descending=True).tolist():\n"
        "        if all(box_iou(boxes[i], boxes[k]) <= threshold for k in kept):\n"
        "            kept.append(i)\n"
        "    return kept"
    ),
    gives=_positions,
    cases=_heaps,
    second=lambda boxes, scores, threshold: ops.nms(boxes, scores, threshold).tolist(),
    describe=lambda boxes, scores, threshold: f"for {len(boxes)} boxes at threshold {threshold:g}",
    mistakes=(
        (
            _by_all,
            Wrong(
                "a box that was removed removes others",
                "a box that was removed must not remove others: compare with kept ones only.",
            ),
        ),
        (
            _boundary_goes,
            Wrong(
                "a box that overlaps by exactly the threshold is removed",
                "only one that overlaps by more goes.",
            ),
        ),
        (
            lambda b, s, t: _suppressed(b, list(range(len(b))), t),
            Wrong(
                "it takes the boxes as they come",
                "begin with the best score: go through the boxes by falling score.",
            ),
        ),
        (
            lambda b, s, t: sorted(_nms(b, s, t)),
            Wrong("the kept boxes are right, their order is not", "the best score comes first."),
        ),
        (
            lambda b, s, t: _nms(b, s, t)[::-1],
            Wrong("the kept boxes come worst first", "the best score comes first."),
        ),
        (
            lambda b, s, t: _suppressed(b, _by_score(-s), t),
            Wrong(
                "that keeps the worst box of each heap",
                "the best score comes first: look at the order of argsort.",
            ),
        ),
        (
            lambda b, s, t: _by_score(s),
            Wrong("nothing was removed", "compare each box with those kept before it."),
        ),
        (
            lambda b, s, t: list(range(len(b))),
            Wrong(
                "nothing was removed, and nothing sorted",
                "go by falling score, and compare each box with those kept before it.",
            ),
        ),
        (
            lambda b, s, t: _by_score(s)[:1],
            Wrong("only the best box of all is kept", "one a heap: go on with the next best."),
        ),
        (
            lambda b, s, t: _suppressed(b, _by_score(s), t, slice(-1, None)),
            Wrong("it compares with the last kept box only", "compare with each kept box."),
        ),
        (
            lambda b, s, t: _suppressed(b, _by_score(s), t, slice(0, 1)),
            Wrong("it compares with the first kept box only", "compare with each kept box."),
        ),
        (
            _places_in_order,
            Wrong(
                "the positions are those among the sorted boxes",
                "go back to the positions in `boxes`: the i-th best is scores.argsort(...)[i].",
            ),
        ),
        (_removed, Wrong("these are the boxes that go", "return those that stay.")),
        (
            lambda b, s, t: _nms(b, s, 0.5),
            Wrong("it always compares with 0.5", "take the threshold that came in."),
        ),
    ),
)

# ---------------------------------------------------------------------------------- 14.4 flip


def _mirrored(boxes: Tensor, width: float) -> Tensor:
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)


def _flip(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    return image.flip(-1), _mirrored(boxes, image.shape[-1])


def _column_by_column(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    columns = [image[..., i] for i in reversed(range(image.shape[-1]))]
    rows = [[len(columns) - r, t, len(columns) - x, b] for x, t, r, b in boxes.tolist()]
    return torch.stack(columns, -1), torch.tensor(rows).reshape(-1, 4)


def _upside_down(boxes: Tensor, height: float) -> Tensor:
    return _mirrored(boxes[:, [1, 0, 3, 2]], height)[:, [1, 0, 3, 2]]


def _edges_not_swapped(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    return image.flip(-1), _mirrored(boxes, image.shape[-1])[:, [2, 1, 0, 3]]


def _framed(draw: Draw) -> Iterator[tuple[Tensor, Tensor]]:
    """Wide and tall photos, of bytes and of floats, with no box, with one at the edge, with several."""
    for height, width, boxes in ((24, 40, 3), (37, 21, 5), (16, 16, 1), (20, 33, 0)):
        photo = draw.integers(0, 256, 3, height, width).to(torch.uint8)
        low, high = draw.uniform(0, 0.6, boxes, 2), draw.uniform(0.1, 0.4, boxes, 2)
        scale = torch.tensor([width, height] * 2)
        found = torch.cat([low, low + high], 1) * scale
        if boxes == 5:
            found[0, 0], found[1, 2] = 0, width
        yield draw.one_of((photo, photo / 255)) if boxes != 3 else photo, found


def _keeps_dtype(attempt: Any) -> Wrong | None:
    for image, boxes in _framed(Draw(0)):
        for kept in (image, image.float()):
            if attempt(kept, boxes)[0].dtype != kept.dtype:
                return Wrong(
                    f"a photo of {kept.dtype} comes back as another dtype",
                    "a mirror changes the places of pixels, not what kind of number they are.",
                )
    return None


_PAIR = "return image, boxes."


def _photo(value: Any) -> Tensor:
    found = tensor(None, hint=_PAIR)(value)
    if found.dim() != 3:
        raise Unfit(f"what comes first has the shape {tuple(found.shape)}, and is no photo", _PAIR)
    return found


flip = Formula(
    number="14.4",
    name="flip",
    reference=_flip,
    why="The mirror makes the right edge the left one: new left = width - old right, and the other way round.",
    hints=(
        "draw one box near the left edge on paper, and mirror it. Which number is its new left?",
        "a pixel at x goes to width - x. Send both edges there, and look at which of the two is the smaller one "
        "now. Build the new boxes beside the old ones, which somebody else may need.",
    ),
    worked=(
        "def flip(image, boxes):\n"
        "    width = image.shape[-1]\n"
        "    left, top, right, bottom = boxes.unbind(1)\n"
        "    return image.flip(-1), torch.stack([width - right, top, width - left, bottom], 1)"
    ),
    gives=tuple_of(_photo, tensor(), hint=_PAIR),
    cases=_framed,
    second=_column_by_column,
    describe=lambda image, boxes: (
        f"for a photo of {image.shape[-1]} x {image.shape[-2]} pixels and {len(boxes)} boxes"
    ),
    also=_keeps_dtype,
    mistakes=(
        (
            _edges_not_swapped,
            Wrong(
                "a box goes from right to left: its width is below 0",
                "what was the left edge is the right edge in the mirror.",
            ),
        ),
        (
            lambda i, b: (i.flip(-1), _upside_down(b, i.shape[-2])),
            Wrong("the boxes are turned upside down", "a mirror swaps left and right only."),
        ),
        (
            lambda i, b: (i.flip(-2), _upside_down(b, i.shape[-2])),
            Wrong("photo and boxes are turned upside down", "the mirror swaps left and right."),
        ),
        (
            lambda i, b: (i.flip(-1), _mirrored(b, i.shape[-2])),
            Wrong(
                "it mirrors the boxes with the height of the photo",
                "image is (3, H, W): the width comes last.",
            ),
        ),
        (
            lambda i, b: (i.flip(-1), _mirrored(b, i.shape[-1] - 1)),
            Wrong(
                "the boxes lie one pixel beside their animals",
                "the edges of a box are places from 0 to width, not numbers of pixels.",
            ),
        ),
        (
            lambda i, b: (i.flip(-1), b),
            Wrong(
                "the boxes are where they were", "new left = width - old right; and the new right?"
            ),
        ),
        (
            lambda i, b: (i, _mirrored(b, i.shape[-1])),
            Wrong("the photo is not mirrored", "leave image.flip(-1) as the colleague has it."),
        ),
        (
            lambda i, b: (i, b),
            Wrong("nothing is mirrored", "begin with the colleague's lines: image.flip(-1)."),
        ),
        (
            lambda i, b: (i.flip(0), _mirrored(b, i.shape[-1])),
            Wrong("the colours of the photo change places", "the width is the last dimension."),
        ),
        (
            lambda i, b: (i.flip(-2), _mirrored(b, i.shape[-1])),
            Wrong("the photo is upside down", "the width is the last dimension: flip that one."),
        ),
        (
            lambda i, b: (i.flip(-1), b[:, [2, 1, 0, 3]]),
            Wrong("left and right have changed places, and nothing more", "width - x is missing."),
        ),
        (
            lambda i, b: (i.flip(-1), _mirrored(b, i.shape[-1]).int()),
            Wrong("the edges are cut to whole pixels", "boxes are floats: leave their decimals."),
        ),
        (
            lambda i, b: (i.flip(-1), _mirrored(b, 96)),
            Wrong("it takes every photo to be 96 pixels wide", "image.shape has the width."),
        ),
    ),
)

# ----------------------------------------------------------------------------- 14.5 threshold

threshold = Choice(
    number="14.5",
    name="threshold",
    reference="c",
    why="A lower threshold shows more boxes: recall grows, precision falls. Each point of the curve is one "
    "threshold of the same network, and you choose the point.",
    hints=(
        "the network is trained. What is the one number that you can still choose?",
        "which way along the curve is 'miss fewer', and what does a lower threshold do to the number of boxes?",
    ),
    worked='answer = "c"',
    options={
        "a": Wrong(
            "a higher threshold leaves fewer boxes: more cells are missed, not fewer",
            "missed cells are recall. Which way along the curve does recall grow?",
        ),
        "b": Wrong(
            "mAP averages over all thresholds; it does not tell which one you use",
            "choose a point on the curve, not a number about the whole curve.",
        ),
        "c": None,
        "d": Wrong(
            "that removes doubles of one cell; a cell without a box gets none by it",
            "the boxes are there, with low scores. What hides them?",
        ),
    },
)

# -------------------------------------------------------------------------------- 14.6 choose

GOAL = 0.9  # precision and recall over the drawn photos; with all offers precision is about 0.3

Offers = tuple[Tensor, Tensor, Tensor]  # boxes (n, 4), labels (n,), scores (n,)


def _nudged(draw: Draw, box: Tensor, share: float) -> Tensor:
    """The box, each edge moved by up to this share of its side."""
    side = (box[2:] - box[:2]).repeat(2)
    return box + side * draw.uniform(-share, share, 4)


def _offered(draw: Draw, animals: int, alarms: int) -> tuple[Offers, Tensor, Tensor]:
    """What a detector offers for a photo of 96 x 96 pixels after its NMS class by class; true boxes and labels.

    One good box an animal; for most a second one of the other class, less sure; and false alarms, unsure.
    """
    places = draw.shuffled([(x, y) for x in (2, 34, 66) for y in (2, 34, 66)])
    fields = [torch.tensor([x, y, x, y]) + torch.tensor([0, 0, 26.0, 26]) for x, y in places]
    boxes, labels, scores, truth, names = [], [], [], [], []
    for k in range(animals):
        box, label = _nudged(draw, fields[k], 0.06), draw.whole(1, 2)
        truth.append(box)
        names.append(label)
        sure = draw.real(0.45, 0.98)
        boxes.append(_nudged(draw, box, 0.05))
        labels.append(label)
        scores.append(sure)
        if draw.real(0, 1) < 0.7:
            boxes.append(_nudged(draw, box, 0.05))
            labels.append(3 - label)
            scores.append(sure - draw.real(0.03, 0.15))
    for field in fields[animals : animals + alarms]:
        boxes.append(_nudged(draw, field, 0.2))
        labels.append(draw.whole(1, 2))
        scores.append(draw.real(0.06, 0.22))
    order = draw.shuffled(range(len(boxes)))
    stacked = torch.stack([*boxes, torch.zeros(4)])[:-1]
    offers = (stacked[order], torch.tensor(labels)[order].long(), torch.tensor(scores)[order])
    return offers, torch.stack([*truth, torch.zeros(4)])[:-1], torch.tensor(names).long()


def _hits(offers: Offers, kept: list[int], truth: Tensor, names: Tensor) -> int:
    """How many kept boxes are right: of an animal's class, IoU above 0.5, the first at that animal."""
    free, hits = list(range(len(truth))), 0
    for i in sorted(kept, key=lambda i: -float(offers[2][i])):
        mine = [k for k in free if names[k] == offers[1][i]]
        best = max(mine, key=lambda k: float(_box_iou(offers[0][i], truth[k])), default=None)
        if best is not None and _box_iou(offers[0][i], truth[best]) > 0.5:
            free.remove(best)
            hits += 1
    return hits


def _judge_choose(attempt: Callable) -> Wrong | None:
    draw = Draw(12)
    photos = [
        _offered(draw, n, alarms) for n, alarms in ((3, 4), (2, 5), (4, 3), (4, 2), (2, 4), (3, 3))
    ]
    photos += [_offered(draw, 0, 4), _offered(draw, 0, 0)]
    shown = right = animals = doubled = unsure = 0
    for offers, truth, names in photos:
        kept = attempt(*offers)
        if any(not 0 <= i < len(offers[0]) for i in kept) or len(set(kept)) < len(kept):
            return Wrong(
                f"for {len(offers[0])} boxes it returns {kept}",
                "return positions in `boxes`, each once: the numbers i of the boxes to show.",
            )
        shown, animals = shown + len(kept), animals + len(truth)
        right += _hits(offers, kept, truth, names)
        overlap = ops.box_iou(offers[0][kept], truth) if kept and len(truth) else torch.zeros(0, 1)
        doubled += int(((overlap > 0.5).sum(0) > 1).sum())
        unsure += sum(float(offers[2][i]) < 0.23 for i in kept)
    precision, recall = right / max(1, shown), right / animals
    if precision >= GOAL and recall >= GOAL:
        return None
    return Wrong(
        f"precision {precision:.2f}, recall {recall:.2f} over eight drawn photos; {GOAL} is asked for of both",
        _what_is_left(shown, animals, doubled, unsure),
    )


def _what_is_left(shown: int, animals: int, doubled: int, unsure: int) -> str:
    if not shown:
        return "nothing is shown: which boxes are likely to be right?"
    if doubled:
        return (
            f"{doubled} animals are shown with two boxes, one of each class. NMS among the boxes of one class "
            f"does not see that; what if it looks at all boxes together?"
        )
    if unsure:
        return (
            f"{unsure} of the shown boxes have a score below 0.23, and hardly one of them is right."
        )
    return f"{shown} boxes are shown for {animals} animals: sure boxes are missing. Print the scores that go."


def _choose(boxes: Tensor, labels: Tensor, scores: Tensor) -> list[int]:
    return [i for i in _nms(boxes, scores, 0.5) if scores[i] >= 0.3]


choose = Function(
    number="14.6",
    name="choose",
    reference=_choose,
    why="A threshold takes the unsure boxes, and NMS over both classes together leaves each animal its surer box.",
    hints=(
        "two kinds of boxes are too many: unsure ones, and second ones at the same animal. Which of the two does "
        "a score threshold remove?",
        "one animal has one class. So run NMS without looking at labels (you have a function for it), and leave "
        "out what has a low score. Try two or three thresholds; the check prints both numbers.",
    ),
    worked=(
        "def choose(boxes, labels, scores):\n"
        "    kept = nms(boxes, scores, 0.5)\n"
        "    return [i for i in kept if scores[i] >= 0.3]"
    ),
    gives=_positions,
    judge=_judge_choose,
)
