"""Questions of lesson 12, object_detection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import ops

from ftcourse.exercises import Choice, Function, Wrong

# ------------------------------------------------------------------------------- 12.1 box_iou


def _box_iou(a: Any, b: Any) -> Any:
    left, top = max(a[0], b[0]), max(a[1], b[1])
    right, bottom = min(a[2], b[2]), min(a[3], b[3])
    shared = max(0, right - left) * max(0, bottom - top)
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area_a + area_b - shared)


PAIRS = {
    "two boxes of two sizes": ((0, 0, 40, 20), (20, 10, 50, 40)),
    "equal boxes": ((10, 10, 30, 20), (10, 10, 30, 20)),
    "half a box": ((0, 0, 20, 10), (10, 0, 30, 10)),
    "a box in a box": ((0, 0, 40, 40), (10, 10, 20, 30)),
    "a wide and a tall box": ((0, 20, 60, 30), (25, 0, 35, 50)),
    "boxes side by side": ((0, 0, 10, 10), (30, 0, 40, 10)),
    "boxes apart both ways": ((0, 0, 10, 10), (30, 30, 40, 40)),
}


def _judge_box_iou(attempt: Callable) -> Wrong | None:
    for name, pair in PAIRS.items():
        a, b = (torch.tensor(box, dtype=torch.float32) for box in pair)
        answer = attempt(a.clone(), b.clone())
        if answer is None:
            return Wrong("your function returns nothing", "end it with `return`.")
        if isinstance(answer, Tensor) and answer.numel() != 1:
            return Wrong(
                f"it returns a tensor of shape {tuple(answer.shape)}", "one number, please."
            )
        found, wanted = float(answer), float(ops.box_iou(a[None], b[None]))
        if abs(found - wanted) > 1e-4:
            return _wrong_box_iou(name, a, b, found, wanted)
    return None


def _wrong_box_iou(name: str, a: Tensor, b: Tensor, found: float, wanted: float) -> Wrong:
    seen = f"for {name} it gives {found:.3f}, and right is {wanted:.3f}"
    if wanted == 0 and found != 0:
        return Wrong(
            seen, "boxes that do not meet have right < left: a width below 0 must count as 0."
        )
    area_a, area_b = (float((x[2] - x[0]) * (x[3] - x[1])) for x in (a, b))
    shared = wanted * (area_a + area_b) / (1 + wanted)
    for value, hint in (
        (shared, "that is the intersection: divide it by the union."),
        (
            shared / (area_a + area_b),
            "the sum of both areas has the shared part twice; take it off once.",
        ),
        (shared / area_a, "divide by the union, not by one of the boxes."),
        (shared / area_b, "divide by the union, not by one of the boxes."),
        (shared / min(area_a, area_b), "divide by the union, not by one of the boxes."),
        (
            2 * shared / (area_a + area_b),
            "that is the Dice score: the union has the shared part once.",
        ),
    ):
        if abs(found - value) < 1e-4:
            return Wrong(seen, hint)
    return Wrong(seen)


box_iou = Function(
    number="12.1",
    name="box_iou",
    reference=_box_iou,
    why="The shared area over the area that either covers: 1 for the same box, 0 for boxes that do not meet.",
    hints=(
        "the shared part is a box, too: it starts at the larger left and ends at the smaller right.",
        "width = max(0, min(a[2], b[2]) - max(a[0], b[0])), the height likewise; the union is area a + area b - "
        "shared.",
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
    judge=_judge_box_iou,
)

# ------------------------------------------------------------------------------ 12.2 survivors

survivors = Choice(
    number="12.2",
    name="survivors",
    reference="a, c, d",
    why="A is best and stays. B overlaps it and goes. C overlaps B by more than 0.5, but B is gone, and A it "
    "overlaps by 0.43 only: C stays. D meets nobody.",
    hints=(
        "go by score. Each box is compared only with boxes that were kept before it.",
        "the shared part of A and C is 6 x 10 = 60, their union 100 + 100 - 60 = 140.",
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

# ----------------------------------------------------------------------------------- 12.3 nms


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        if all(_box_iou(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


def _cases() -> list[tuple[str, Tensor, Tensor, float]]:
    four = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [4, 0, 14, 10], [20, 20, 30, 30.0]])
    g = torch.Generator().manual_seed(4)
    corner = torch.randint(0, 40, (24, 2), generator=g).float()
    side = torch.randint(12, 24, (24, 2), generator=g).float()
    many = torch.cat([corner, corner + side], 1)
    order = torch.randperm(24, generator=g)
    return [
        ("two boxes that do not meet", four[[0, 3]], torch.tensor([0.3, 0.9]), 0.5),
        ("two boxes on one animal", four[[0, 1]], torch.tensor([0.8, 0.4]), 0.5),
        ("the four boxes above", four, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.5),
        ("24 boxes", many, 0.05 + 0.9 * order / 24, 0.3),
    ]


def _judge_nms(attempt: Callable) -> Wrong | None:
    for name, boxes, scores, threshold in _cases():
        answer = attempt(boxes.clone(), scores.clone(), threshold)
        if answer is None:
            return Wrong("your function returns nothing", "end it with `return`.")
        found = torch.as_tensor(answer).flatten()
        if found.dtype == torch.bool:
            found = found.nonzero().flatten()
        if found.dtype.is_floating_point:
            return Wrong("it returns boxes or scores", "return the positions of the kept boxes.")
        wanted = ops.nms(boxes, scores, threshold)
        if set(found.tolist()) != set(wanted.tolist()):
            return _wrong_nms(name, boxes, scores, threshold, found, wanted)
        if len(found) != len(set(found.tolist())):
            return Wrong(f"for {name} a position comes twice", "each kept box once.")
    return None


def _wrong_nms(
    name: str, boxes: Tensor, scores: Tensor, threshold: float, found: Tensor, wanted: Tensor
) -> Wrong:
    kept = sorted(found.tolist())
    seen = f"for {name} it keeps {kept[:8]}, and right is {sorted(wanted.tolist())[:8]}"
    if len(kept) == len(boxes):
        return Wrong(seen, "nothing was removed. Compare each box with those kept before it.")
    overlaps = ops.box_iou(boxes, boxes)
    better = scores[None] > scores[:, None]
    by_all = ~((overlaps > threshold) & better).any(1)
    if kept == by_all.nonzero().flatten().tolist():
        return Wrong(
            seen, "a box that was removed must not remove others: compare with kept ones only."
        )
    unsorted = [i for i in ops.nms(boxes, -torch.arange(len(boxes)).float(), threshold).tolist()]
    if kept == sorted(unsorted):
        return Wrong(seen, "begin with the best score: go through the boxes by falling score.")
    if kept == sorted(ops.nms(boxes, -scores, threshold).tolist()):
        return Wrong(seen, "that keeps the worst box of each group: the best score comes first.")
    return Wrong(seen)


nms = Function(
    number="12.3",
    name="nms",
    reference=_nms,
    why="By falling score, a box is kept unless it overlaps a kept one by more than the threshold.",
    hints=(
        "scores.argsort(descending=True) is the order. Keep a list; when may a box join it?",
        "for i in order: if all(box_iou(boxes[i], boxes[k]) <= threshold for k in kept): kept.append(i)",
    ),
    worked=(
        "def nms(boxes, scores, threshold):\n"
        "    kept = []\n"
        "    for i in scores.argsort(descending=True).tolist():\n"
        "        if all(box_iou(boxes[i], boxes[k]) <= threshold for k in kept):\n"
        "            kept.append(i)\n"
        "    return kept"
    ),
    judge=_judge_nms,
)

# ---------------------------------------------------------------------------------- 12.4 flip


def _flip(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    left, top, right, bottom = boxes.unbind(1)
    width = image.shape[-1]
    return image.flip(-1), torch.stack([width - right, top, width - left, bottom], 1)


def _judge_flip(attempt: Callable) -> Wrong | None:
    boxes = torch.tensor([[4.0, 6.0, 14.0, 12.0], [20.0, 2.0, 28.0, 20.0]])
    image = torch.zeros(3, 24, 40)
    for left, top, right, bottom in boxes.int().tolist():
        image[:, top:bottom, left:right] = 1.0
    answer = attempt(image.clone(), boxes.clone())
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        return Wrong(f"it returns {type(answer).__name__}", "return image, boxes.")
    turned, moved = answer
    if not torch.equal(torch.as_tensor(turned), image.flip(-1)):
        return Wrong("the photo is not mirrored", "leave the line with image.flip as it is.")
    moved = torch.as_tensor(moved).float()
    if moved.shape != boxes.shape:
        return Wrong(f"two boxes come back as {tuple(moved.shape)}", "(n, 4) is asked for.")
    if (moved[:, 2] <= moved[:, 0]).any():
        return Wrong(
            f"a box goes from left {moved[0, 0]:g} to right {moved[0, 2]:g}: its width is below 0",
            "what was the left edge is the right edge in the mirror.",
        )
    if (moved[:, 3] <= moved[:, 1]).any() or not torch.equal(moved[:, 1::2], boxes[:, 1::2]):
        return Wrong("top and bottom have changed", "a mirror swaps left and right only.")
    _, wanted = _flip(image, boxes)
    if not torch.allclose(moved, wanted):
        return Wrong(
            f"the first box lies at {moved[0].tolist()}, its animal at {wanted[0].tolist()}",
            "a pixel at x is at width - x in the mirror: new left = width - old right.",
        )
    return None


flip = Function(
    number="12.4",
    name="flip",
    reference=_flip,
    why="The mirror makes the right edge the left one: new left = width - old right, and the other way round.",
    hints=(
        "draw one box near the left edge on paper, and mirror it. Which number is its new left?",
        "left, top, right, bottom = boxes.unbind(1), then "
        "torch.stack([width - right, top, width - left, bottom], 1).",
    ),
    worked=(
        "def flip(image, boxes):\n"
        "    width = image.shape[-1]\n"
        "    left, top, right, bottom = boxes.unbind(1)\n"
        "    return image.flip(-1), torch.stack([width - right, top, width - left, bottom], 1)"
    ),
    judge=_judge_flip,
)

# ----------------------------------------------------------------------------- 12.5 threshold

threshold = Choice(
    number="12.5",
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
