"""Answers to the questions of lesson 14."""

from __future__ import annotations

import builtins

import numpy as np
import torch
from torchvision import ops, tv_tensors
from torchvision.transforms.v2 import functional as V

from ftcourse.exercises import lesson14 as check

BOX_IOU = check.box_iou.reference
# among the built-in names, so that the answers to 14.1 and 14.3 are seen to define them
BUILTINS = {**vars(builtins), "box_iou": BOX_IOU, "nms": check.nms.reference}
NAMES = {"torch": torch, "__builtins__": BUILTINS}

# ------------------------------------------------------------------------------- 14.1 box_iou


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def shared(a, b):
    size = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp(min=0)
    return size.prod()


def with_clamp(a, b):
    return shared(a, b) / (area(a) + area(b) - shared(a, b))


def in_python_numbers(a, b):
    (l1, t1, r1, b1), (l2, t2, r2, b2) = a.tolist(), b.tolist()
    if r1 <= l2 or r2 <= l1 or b1 <= t2 or b2 <= t1:
        return 0
    both = (min(r1, r2) - max(l1, l2)) * (min(b1, b2) - max(t1, t2))
    return both / ((r1 - l1) * (b1 - t1) + (r2 - l2) * (b2 - t2) - both)


def in_numpy(a, b):
    a, b = a.numpy().astype(np.float64), b.numpy().astype(np.float64)
    width, height = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - width * height
    return width * height / union


def with_relu_and_epsilon(a, b):
    width = torch.relu(torch.min(a[2], b[2]) - torch.max(a[0], b[0]))
    height = torch.relu(torch.min(a[3], b[3]) - torch.max(a[1], b[1]))
    return width * height / (area(a) + area(b) - width * height + 1e-9)


def by_sorted_edges(a, b):
    """The middle two of four sorted edges are those of the shared part, if the boxes meet."""
    meet = a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    if not meet:
        return torch.zeros(())
    sides = [sorted([a[i], a[i + 2], b[i], b[i + 2]]) for i in (0, 1)]
    both = (sides[0][2] - sides[0][1]) * (sides[1][2] - sides[1][1])
    return both / (area(a) + area(b) - both)


def unclamped(a, b):
    both = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).prod()
    return both / (area(a) + area(b) - both)


def width_clamped(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    both = width * (min(a[3], b[3]) - max(a[1], b[1]))
    return both / (area(a) + area(b) - both)


def height_clamped(a, b):
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = height * (min(a[2], b[2]) - max(a[0], b[0]))
    return both / (area(a) + area(b) - both)


def one_side_asked(a, b):
    return 0 if a[2] <= b[0] or a[3] <= b[1] else unclamped(a, b)


def product_clamped(a, b):
    both = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).prod().clamp(min=0)
    return both / (area(a) + area(b) - both)


def by_painting(a, b):
    canvas = torch.zeros(2, 256, 256, dtype=torch.bool)
    for page, (left, top, right, bottom) in zip(canvas, (a.int(), b.int()), strict=True):
        page[top:bottom, left:right] = True
    return (canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum().clamp(min=1)


def in_place_iou(a, b):
    b -= a[[0, 1, 0, 1]]
    return with_clamp(a - a[[0, 1, 0, 1]], b)


def x_and_y_mixed(a, b):
    width = max(0, min(a[2], b[2]) - max(a[1], b[1]))
    height = max(0, min(a[3], b[3]) - max(a[0], b[0]))
    return width * height / (area(a) + area(b) - width * height)


# ----------------------------------------------------------------------------------- 14.3 nms


def by_suppressing(boxes, scores, threshold):
    alive, kept = torch.ones(len(boxes), dtype=torch.bool), []
    while alive.any():
        best = torch.where(alive, scores, -torch.inf).argmax()
        kept.append(best)
        alive &= ops.box_iou(boxes[best][None], boxes)[0] <= threshold
        alive[best] = False
    return kept


def by_shrinking(boxes, scores, threshold):
    order, kept = scores.argsort(descending=True), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best.item())
        order = order[ops.box_iou(boxes[best][None], boxes[order])[0] <= threshold]
    return torch.tensor(kept, dtype=torch.int64)


def with_a_flag(boxes, scores, threshold):
    pairs = sorted(zip(scores.tolist(), range(len(scores)), strict=True), reverse=True)
    kept = []
    for _, i in pairs:
        fine = True
        for k in kept:
            if BOX_IOU(boxes[i], boxes[k]) > threshold:
                fine = False
                break
        if fine:
            kept.append(i)
    return tuple(kept)


def with_a_table(boxes, scores, threshold):
    table = ops.box_iou(boxes, boxes).numpy() > threshold
    kept = []
    for i in np.argsort(-scores.numpy()):
        if not table[i, kept].any():
            kept.append(i)
    return np.array(kept)


def recursive(boxes, scores, threshold):
    def rest(order):
        if not order:
            return []
        best, *others = order
        fine = [i for i in others if in_python_numbers(boxes[i], boxes[best]) <= threshold]
        return [best, *rest(fine)]

    return rest(sorted(range(len(boxes)), key=lambda i: -scores[i]))


def as_a_mask(boxes, scores, threshold):
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[ops.nms(boxes, scores, threshold)] = True
    return mask


def compared_with_all(boxes, scores, threshold):
    over = ops.box_iou(boxes, boxes) > threshold
    better = scores[None] > scores[:, None]
    fine = ~(over & better).any(1)
    return [i for i in scores.argsort(descending=True).tolist() if fine[i]]


def unsorted(boxes, scores, threshold):
    kept = []
    for i in range(len(boxes)):
        if all(ops.box_iou(boxes[i : i + 1], boxes[k : k + 1]) <= threshold for k in kept):
            kept.append(i)
    return kept


def boundary_goes(boxes, scores, threshold):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(with_clamp(boxes[i], boxes[k]) < threshold for k in kept):
            kept.append(i)
    return kept


def not_for_none(boxes, scores, threshold):
    return torch.stack(by_suppressing(boxes, scores, threshold))


def begins_with_the_best(boxes, scores, threshold):
    kept = [int(scores.argmax())]
    for i in scores.argsort(descending=True).tolist()[1:]:
        if all(with_clamp(boxes[i], boxes[k]) <= threshold for k in kept):
            kept.append(i)
    return kept


def last_only(boxes, scores, threshold):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if not kept or with_clamp(boxes[i], boxes[kept[-1]]) <= threshold:
            kept.append(i)
    return kept


def in_sorted_places(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    return ops.nms(boxes[order], scores[order], threshold)


def marks_scores(boxes, scores, threshold):
    kept = []
    while len(scores) and scores.max() > 0:
        best = int(scores.argmax())
        kept.append(best)
        scores[ops.box_iou(boxes[best][None], boxes)[0] > threshold] = 0
        scores[best] = 0
    return kept


# ---------------------------------------------------------------------------------- 14.4 flip


def by_tv_tensors(image, boxes):
    wrapped = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(image.shape[1:]))
    return V.horizontal_flip(image), V.horizontal_flip(wrapped)


def by_columns(image, boxes):
    moved = boxes.clone()
    moved[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    return image.flip(2), moved


def by_two_columns(image, boxes):
    boxes = boxes.clone()
    left = boxes[:, 0].clone()
    boxes[:, 0] = image.shape[2] - boxes[:, 2]
    boxes[:, 2] = image.shape[2] - left
    return [torch.flip(image, dims=[-1]), boxes]


def numpy_mirror(image, boxes):
    width = image.shape[-1]
    left, top, right, bottom = boxes.numpy().T
    moved = np.stack([width - right, top, width - left, bottom], axis=1)
    return np.ascontiguousarray(image.numpy()[:, :, ::-1]), moved


def by_sign(image, boxes):
    sign = torch.tensor([-1.0, 1, -1, 1])
    width = torch.tensor([image.shape[-1], 0, image.shape[-1], 0])
    moved = (boxes * sign + width)[:, [2, 1, 0, 3]]
    return torch.fliplr(image.permute(1, 2, 0)).permute(2, 0, 1), moved


def by_index(image, boxes):
    _, _, width = image.shape
    backwards = torch.arange(width - 1, -1, -1)
    moved = [torch.stack([width - r, t, width - x, b]) for x, t, r, b in boxes]
    return image[:, :, backwards], torch.stack(moved) if moved else boxes.clone()


def by_centres(image, boxes):
    x, y, w, h = ops.box_convert(boxes, "xyxy", "cxcywh").unbind(1)
    turned = torch.stack([image.shape[-1] - x, y, w, h], 1)
    return image.flip(-1), ops.box_convert(turned, "cxcywh", "xyxy").double()


def in_place(image, boxes):
    boxes[:, [0, 2]] = image.shape[-1] - boxes[:, [2, 0]]
    return image.flip(2), boxes


def as_found(image, boxes):
    boxes = boxes.clone()
    boxes[:, 0] = image.shape[-1] - boxes[:, 0]
    boxes[:, 2] = image.shape[-1] - boxes[:, 2]
    return image.flip(-1), boxes


def overwritten(image, boxes):
    """The new left is used for the new right."""
    boxes = boxes.clone()
    boxes[:, 0] = image.shape[-1] - boxes[:, 2]
    boxes[:, 2] = image.shape[-1] - boxes[:, 0]
    return image.flip(-1), boxes


def upside_down(image, boxes):
    moved = boxes.clone()
    moved[:, [1, 3]] = image.shape[-2] - boxes[:, [3, 1]]
    return image.flip(-1), moved


def by_height(image, boxes):
    moved = boxes.clone()
    moved[:, [0, 2]] = image.shape[-2] - boxes[:, [2, 0]]
    return image.flip(-1), moved


def as_float_photo(image, boxes):
    turned, moved = by_columns(image, boxes)
    return turned.float(), moved


def by_width_96(image, boxes):
    moved = boxes.clone()
    moved[:, [0, 2]] = 96 - boxes[:, [2, 0]]
    return image.flip(-1), moved


def counts_pixels(image, boxes):
    moved = boxes.clone()
    moved[:, [0, 2]] = image.shape[-1] - 1 - boxes[:, [2, 0]]
    return image.flip(-1), moved


# -------------------------------------------------------------------------------- 14.6 choose


def threshold_first(boxes, labels, scores):
    sure = (scores > 0.25).nonzero().flatten()
    return sure[ops.nms(boxes[sure], scores[sure], 0.4)]


def by_pairs(boxes, labels, scores):
    """Shown, unless unsure or beside a surer box of any class."""
    over = ops.box_iou(boxes, boxes) > 0.5
    beaten = (over & (scores[None] > scores[:, None])).any(1)
    return [i for i in range(len(boxes)) if scores[i] > 0.3 and not beaten[i]]


def one_by_one(boxes, labels, scores):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if scores[i] < 0.28:
            break
        if not any(with_clamp(boxes[i], boxes[k]) > 0.3 for k in kept):
            kept.append(i)
    return tuple(kept)


def by_the_gap(boxes, labels, scores):
    """The threshold from the scores: the middle of the widest gap below 0.6."""
    kept = ops.nms(boxes, scores, 0.5)
    ranked = torch.cat([torch.tensor([0.0, 0.6]), scores[kept].clamp(max=0.6)]).sort().values
    if not len(kept) or scores.max() < 0.3:
        return []
    gap = ranked.diff().argmax()
    return kept[scores[kept] > (ranked[gap] + ranked[gap + 1]) / 2]


def unsure(boxes, labels, scores):
    return [i for i in ops.nms(boxes, scores, 0.5).tolist() if scores[i] < 0.3]


RIGHT = {
    "box_iou": [
        lambda a, b: ops.box_iou(a[None], b[None]),
        with_clamp,
        in_python_numbers,
        in_numpy,
        with_relu_and_epsilon,
        by_sorted_edges,
        lambda a, b: max(unclamped(a, b), 0) if shared(a, b) > 0 else 0.0,
    ],
    "survivors": ["a, c, d", "DCA", ["a", "c", "d"], "a and c and d", "acd", {"a", "c", "d"}],
    "nms": [
        ops.nms,
        by_suppressing,
        by_shrinking,
        with_a_flag,
        with_a_table,
        recursive,
        lambda b, s, t: ops.nms(b.double(), s.double(), t).tolist(),
        lambda b, s, t: ops.batched_nms(b, s, torch.zeros(len(b), dtype=torch.int64), t),
    ],
    "flip": [
        by_tv_tensors,
        by_columns,
        by_two_columns,
        numpy_mirror,
        by_sign,
        by_index,
        by_centres,
    ],
    "choose": [
        threshold_first,
        by_pairs,
        one_by_one,
        by_the_gap,
        lambda b, lab, s: ops.nms(b, s, 0.5)[s[ops.nms(b, s, 0.5)] > 0.3].numpy(),
        lambda b, lab, s: [int(i) for i in ops.nms(b, s, 0.2) if s[i] > 0.4],
    ],
    "threshold": ["c", "C", "c)", " c ", ["c"], {"c"}],
}

WRONG = {
    "box_iou": [
        (unclamped, "each must count as 0"),
        (width_clamped, "the height of the shared part"),
        (height_clamped, "the width of the shared part"),
        (one_side_asked, "b may lie to the left"),
        (product_clamped, "two negative sides"),
        (shared, "divide it by the union"),
        (lambda a, b: shared(a, b) / (area(a) + area(b)), "twice"),
        (lambda a, b: shared(a, b) / area(a), "the area of a alone"),
        (lambda a, b: shared(a, b) / max(area(a), area(b)), "the larger box"),
        (lambda a, b: 2 * shared(a, b) / (area(a) + area(b)), "Dice"),
        (lambda a, b: 100 * with_clamp(a, b), "a fraction is asked for"),
        (lambda a, b: 1 - with_clamp(a, b), "the same box twice"),
        (lambda a, b: round(with_clamp(a, b).item(), 2), "rounding is for printing"),
        (lambda a, b: None, "end it with `return"),
        (lambda a, b: a, "one number, please"),
        (lambda a, b: 0.5, "the larger left"),
        (lambda a, b: f"{with_clamp(a, b):.4f}", "no text"),
        (lambda a, b: with_clamp(a, b) > 0.5, "the larger left"),
        (x_and_y_mixed, "the larger left"),
        (by_painting, "the larger left"),
        (in_place_iou, "it changes b"),
        (0.43, "pass the function itself"),
    ],
    "survivors": [
        ("a, b, d", "the higher score"),
        ("a, b, c, d", "the higher score"),
        ("b", "the higher score"),
        ("b and c", "the higher score"),
        ("a, d", "kept before it"),
        ("a", "kept before it"),
        ("a, c", "1 more is true"),
        ("e", "a letter in quotes"),
        ("a, c, d, e", "not among"),
        (3, "a letter in quotes"),
        ([0, 2, 3], "a letter in quotes"),
        (True, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "nms": [
        (compared_with_all, "must not remove others"),
        (unsorted, "by falling score"),
        (boundary_goes, "exactly the threshold"),
        (as_a_mask, "the positions are asked for"),
        (lambda b, s, t: as_a_mask(b, s, t).tolist(), "the positions are asked for"),
        (lambda b, s, t: as_a_mask(b, s, t).numpy(), "the positions are asked for"),
        (lambda b, s, t: ops.nms(b, -s, t), "the best score comes first"),
        (lambda b, s, t: ops.nms(b, s, t).sort().values, "their order is not"),
        (lambda b, s, t: set(ops.nms(b, s, t).tolist()), "a set, which has no order"),
        (lambda b, s, t: list(range(len(b))), "nothing was removed"),
        (lambda b, s, t: s.argsort(descending=True), "nothing was removed"),
        (lambda b, s, t: [0], "scores.argsort"),
        (lambda b, s, t: b[ops.nms(b, s, t)], "the positions"),
        (lambda b, s, t: s[ops.nms(b, s, t)], "the positions"),
        (lambda b, s, t: [b[i] for i in ops.nms(b, s, t)], "the positions"),
        (lambda b, s, t: ops.nms(b, s, 0.5), "the threshold that came in"),
        (lambda b, s, t: ops.nms(b, s, 1 - t), "scores.argsort"),
        (lambda b, s, t: ops.nms(b, s, 0.95), "scores.argsort"),
        (lambda b, s, t: s.argmax()[None] if len(s) else [], "one a heap"),
        (lambda b, s, t: None, "end it with `return"),
        (lambda b, s, t: (i for i in ops.nms(b, s, t)), "read once only"),
        (not_for_none, "for 0 boxes"),
        (begins_with_the_best, "for 0 boxes"),
        (last_only, "the last kept box only"),
        (in_sorted_places, "go back to the positions"),
        (lambda b, s, t: [i for i in ops.nms(b, s, t) if s[i] > 0.05], "scores.argsort"),
        (marks_scores, "it changes scores"),
    ],
    "flip": [
        (as_found, "is the right edge in the mirror"),
        (in_place, "it changes boxes"),
        (overwritten, "near the left edge on paper"),
        (upside_down, "left and right only"),
        (by_height, "the width comes last"),
        (by_width_96, "96 pixels wide"),
        (lambda image, boxes: (image.flip(-1), boxes), "old right"),
        (lambda image, boxes: (image, by_columns(image, boxes)[1]), "not mirrored"),
        (lambda image, boxes: (image, boxes), "nothing is mirrored"),
        (lambda image, boxes: (image.flip(0), by_columns(image, boxes)[1]), "colours"),
        (lambda image, boxes: (image.flip(1), by_columns(image, boxes)[1]), "upside down"),
        (lambda image, boxes: boxes, "return image, boxes"),
        (lambda image, boxes: by_columns(image, boxes)[1], "return image, boxes"),
        (lambda image, boxes: by_columns(image, boxes)[::-1], "and is no photo"),
        (lambda image, boxes: None, "returns nothing"),
        (lambda image, boxes: (image.flip(-1), by_columns(image, boxes)[1].long()), "decimals"),
        (lambda image, boxes: (image.flip(-1), by_columns(image, boxes)[1].round()), "on paper"),
        (as_float_photo, "not what kind of number"),
        (counts_pixels, "one pixel"),
    ],
    "choose": [
        (lambda b, lab, s: list(range(len(b))), "two boxes, one of each class"),
        (
            lambda b, lab, s: [i for i in range(len(b)) if s[i] > 0.3],
            "two boxes, one of each class",
        ),
        (lambda b, lab, s: ops.batched_nms(b, s, lab, 0.5), "two boxes, one of each class"),
        (lambda b, lab, s: ops.nms(b, s, 0.99), "two boxes, one of each class"),
        (lambda b, lab, s: ops.nms(b, s, 0.5), "score below 0.23"),
        (lambda b, lab, s: ops.nms(b, s, 0.5)[:3], "score below 0.23"),
        (lambda b, lab, s: [i for i in ops.nms(b, s, 0.5) if s[i] > 0.8], "sure boxes are missing"),
        (
            lambda b, lab, s: ops.nms(b, s, 0.5)[:1].tolist() if len(s) and s.max() > 0.3 else [],
            "sure boxes",
        ),
        (lambda b, lab, s: [], "nothing is shown"),
        (unsure, "score below 0.23"),
        (lambda b, lab, s: s > 0.3, "a mask of True and False"),
        (lambda b, lab, s: b[ops.nms(b, s, 0.5)], "the positions"),
        (lambda b, lab, s: [len(b)], "positions in `boxes`"),
        (lambda b, lab, s: [0, 0], "each once"),
        (lambda b, lab, s: set(ops.nms(b, s, 0.5).tolist()), "a set, which has no order"),
        (lambda b, lab, s: None, "end it with `return"),
        (0.3, "pass the function itself"),
    ],
    "threshold": [
        ("a", "recall grow"),
        ("b", "a point on the curve"),
        ("d", "hides them"),
        ("a, c", "recall grow"),
        ("b and c", "a point on the curve"),
        ("c, d", "hides them"),
        ("abcd", "recall grow"),
        ("e", "a letter in quotes"),
        (0.3, "a letter in quotes"),
        (2, "a letter in quotes"),
        ("lower", "not among a, b, c, d"),
        ([], "a letter in quotes"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {
    "choose": {
        "comparison: scores[i] >= 0.3 -> (scores[i] > 0.3)": "no score is exactly the threshold",
        "constant: 0.3 -> 0.6": "an open task: whatever reaches both numbers is right",
    },
    "nms": {
        "arguments swapped: box_iou(boxes[i], boxes[k]) -> (box_iou(boxes[k], boxes[i]))": "A over B is "
        "B over A",
    },
}
