"""Answers to the questions of lesson 13."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from scipy import ndimage
from sklearn.metrics import jaccard_score
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_jaccard_index
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as V

NAMES = {"torch": torch, "V": V, "InterpolationMode": InterpolationMode}
SHARE = Fraction(813_265, 813_265 + 101_489 + 191_166)

# ---------------------------------------------------------------------------------- 13.2 iou


def by_torchmetrics(predicted, truth, num_classes, ignore_index=255):
    return multiclass_jaccard_index(
        predicted, truth, num_classes, average="none", ignore_index=ignore_index
    )


def by_table(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    table = torch.bincount(t * num_classes + p, minlength=num_classes**2)
    table = table.reshape(num_classes, num_classes)
    shared = table.diagonal()
    return (shared / (table.sum(0) + table.sum(1) - shared)).tolist()


def by_one_hot(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    a = F.one_hot(predicted[keep], num_classes).bool()
    b = F.one_hot(truth[keep], num_classes).bool()
    return (a & b).sum(0) / (a | b).sum(0)


def in_numpy(predicted, truth, num_classes, ignore_index=255):
    p, t = predicted.numpy(), truth.numpy()
    p, t = p[t != ignore_index], t[t != ignore_index]
    values = np.zeros(num_classes)
    for k in range(num_classes):
        union = np.logical_or(p == k, t == k).sum()
        if union:
            values[k] = np.logical_and(p == k, t == k).sum() / union
    return values


def guarded_by_hand(predicted, truth, num_classes, ignore_index=255):
    scores = []
    for k in range(num_classes):
        tp = ((predicted == k) & (truth == k)).sum().item()
        fp = ((predicted == k) & (truth != k) & (truth != ignore_index)).sum().item()
        fn = ((predicted != k) & (truth == k)).sum().item()
        scores.append(tp / (tp + fp + fn) if tp + fp + fn else 1)
    return scores


def by_moving_void_away(predicted, truth, num_classes, ignore_index=255):
    predicted = torch.where(truth == ignore_index, num_classes, predicted)
    truth = torch.where(truth == ignore_index, num_classes, truth)
    per_class = []
    for k in range(num_classes):
        both = torch.logical_and(predicted == k, truth == k).sum()
        per_class.append(both / (torch.logical_or(predicted == k, truth == k).sum() + 1e-9))
    return torch.tensor(per_class, dtype=torch.float64)


def by_sklearn(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    labels = list(range(num_classes))
    return jaccard_score(truth[keep], predicted[keep], labels=labels, average=None, zero_division=0)


def dice(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    ks = range(num_classes)
    return [2 * ((p == k) & (t == k)).sum() / ((p == k).sum() + (t == k).sum()) for k in ks]


def recall(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    return [((p == k) & (t == k)).sum() / (t == k).sum() for k in range(num_classes)]


def precision(predicted, truth, num_classes, ignore_index=255):
    return recall(
        torch.where(truth == ignore_index, ignore_index, truth),
        torch.where(truth == ignore_index, ignore_index, predicted),
        num_classes,
        ignore_index,
    )


def void_counts(predicted, truth, num_classes, ignore_index=255):
    ks = range(num_classes)
    return [
        ((predicted == k) & (truth == k)).sum() / ((predicted == k) | (truth == k)).sum()
        for k in ks
    ]


def void_is_255(predicted, truth, num_classes, ignore_index=255):
    keep = truth != 255
    p, t = predicted[keep], truth[keep]
    return [((p == k) & (t == k)).sum() / ((p == k) | (t == k)).sum() for k in range(num_classes)]


def only_those_there(predicted, truth, num_classes, ignore_index=255):
    classes = [k for k in truth.unique() if k != ignore_index]
    return torch.stack(
        [by_table_tensor(predicted, truth, num_classes, ignore_index)[k] for k in classes]
    )


def by_table_tensor(predicted, truth, num_classes, ignore_index=255):
    return torch.tensor(by_table(predicted, truth, num_classes, ignore_index))


def divides_by_zero(predicted, truth, num_classes, ignore_index=255):
    keep = truth != ignore_index
    p, t = predicted[keep], truth[keep]
    ks = range(num_classes)
    return [int(((p == k) & (t == k)).sum()) / int(((p == k) | (t == k)).sum()) for k in ks]


def without_background(predicted, truth, num_classes, ignore_index=255):
    return by_table(predicted, truth, num_classes, ignore_index)[1:]


def mean_at_once(predicted, truth, num_classes, ignore_index=255):
    return by_one_hot(predicted, truth, num_classes, ignore_index).mean()


def as_a_dict(predicted, truth, num_classes, ignore_index=255):
    return dict(enumerate(by_table(predicted, truth, num_classes, ignore_index)))


def photo_by_photo(predicted, truth, num_classes, ignore_index=255):
    if predicted.dim() == 2:
        return by_one_hot(predicted, truth, num_classes, ignore_index)
    pairs = zip(predicted, truth, strict=True)
    return torch.stack([by_one_hot(p, t, num_classes, ignore_index) for p, t in pairs]).nanmean(0)


def spoils_the_truth(predicted, truth, num_classes, ignore_index=255):
    predicted = predicted.clone()
    predicted[truth == ignore_index] = num_classes
    truth[truth == ignore_index] = num_classes
    return by_one_hot(predicted, truth, num_classes + 1, -1)[:-1]


def spoils_the_prediction(predicted, truth, num_classes, ignore_index=255):
    predicted[truth == ignore_index] = ignore_index
    return void_counts(predicted, truth, num_classes)


def accuracy(predicted, truth, num_classes, ignore_index=255):
    return [(predicted == truth)[truth != ignore_index].float().mean()] * num_classes


def two_classes(predicted, truth, num_classes, ignore_index=255):
    animal = torch.where(truth == ignore_index, truth, truth.clamp(max=1))
    return by_table(predicted.clamp(max=1), animal, 2, ignore_index)


# ------------------------------------------------------------------------------- 13.4 enlarge


def by_tv_tensors(image, mask, size):
    pair = v2.Resize((size, size))(tv_tensors.Image(image), tv_tensors.Mask(mask))
    return pair[0], pair[1]


def by_interpolate(image, mask, size):
    big = F.interpolate(image[None], (size, size), mode="bilinear")[0]
    moved = F.interpolate(mask[None, None].float(), (size, size), mode="nearest")[0, 0].long()
    return big, moved


def nearest_exact(image, mask, size):
    exact = InterpolationMode.NEAREST_EXACT
    moved = V.resize(mask.unsqueeze(0), (size, size), interpolation=exact).squeeze(0)
    return [V.resize(image, [size, size], antialias=False), moved]


def by_indices(image, mask, size):
    rows = torch.arange(size) * mask.shape[0] // size
    columns = torch.arange(size) * mask.shape[1] // size
    return V.resize(image, [size, size]), mask[rows][:, columns]


def in_bytes(image, mask, size):
    nearest = InterpolationMode.NEAREST
    small = V.resize(mask[None].to(torch.uint8), [size, size], interpolation=nearest)
    return V.resize(image, [size, size]), small[0]


def by_numpy(image, mask, size):
    y = ((np.arange(size) + 0.5) * mask.shape[0] / size).astype(int)
    x = ((np.arange(size) + 0.5) * mask.shape[1] / size).astype(int)
    return V.resize(image, [size, size]).numpy(), mask.numpy()[np.ix_(y, x)]


def by_modules(image, mask, size):
    photo = torch.nn.Upsample((size, size), mode="bilinear")(image[None]).squeeze(0)
    labels = torch.nn.Upsample((size, size), mode="nearest")(mask[None, None].double())
    return photo, labels.squeeze().to(torch.int32)


def as_found(image, mask, size):
    return V.resize(image, [size, size]), V.resize(mask[None], [size, size])[0]


def rounded(image, mask, size):
    big, _ = by_interpolate(image, mask, size)
    return big, V.resize(mask[None].float(), [size, size], antialias=False)[0].round().long()


def cut_off(image, mask, size):
    big, _ = by_interpolate(image, mask, size)
    return big, F.interpolate(mask[None, None].float(), (size, size), mode="bilinear")[0, 0].long()


def as_float(image, mask, size):
    big, moved = by_interpolate(image, mask, size)
    return big, moved.float()


def both_nearest(image, mask, size):
    nearest = InterpolationMode.NEAREST
    big = V.resize(image, [size, size], interpolation=nearest)
    return big, V.resize(mask[None], [size, size], interpolation=nearest)[0]


def exchanged(image, mask, size):
    big = V.resize(image, [size, size], interpolation=InterpolationMode.NEAREST)
    return big, V.resize(mask[None], [size, size])[0]


def bicubic(image, mask, size):
    big = V.resize(image, [size, size], interpolation=InterpolationMode.BICUBIC)
    return big, by_interpolate(image, mask, size)[1]


def corners(image, mask, size):
    big = F.interpolate(image[None], (size, size), mode="bilinear", align_corners=True)[0]
    return big, by_interpolate(image, mask, size)[1]


def cropped(image, mask, size):
    big, _ = by_interpolate(image, mask, size)
    out = torch.zeros(size, size, dtype=torch.int64)
    out[: mask.shape[0], : mask.shape[1]] = mask
    return big, out


def repeated(image, mask, size):
    """Whole factors only."""
    big, _ = by_interpolate(image, mask, size)
    y, x = max(1, size // mask.shape[0]), max(1, size // mask.shape[1])
    out = mask.repeat_interleave(y, 0).repeat_interleave(x, 1)
    return big, F.pad(out, (0, size - out.shape[1], 0, size - out.shape[0]))


def with_a_dimension(image, mask, size):
    big, moved = by_interpolate(image, mask, size)
    return big, moved[None]


def turned(image, mask, size):
    big, moved = by_interpolate(image, mask, size)
    return big, moved.flip(1)


def spoils_the_mask(image, mask, size):
    mask[mask == 255] = 0
    return by_interpolate(image, mask, size)


# ---------------------------------------------------------------------------------- 13.6 tidy


def by_bincount(mask):
    counts = mask.flatten().bincount()
    counts[0] = 0
    return torch.where(mask > 0, counts.argmax(), mask) if counts.any() else mask


def by_unique(mask):
    classes, counts = mask[mask > 0].unique(return_counts=True)
    out = mask.clone()
    if len(classes):
        out[out > 0] = classes[counts.argmax()]
    return out


def by_python(mask):
    votes = [v for v in mask.flatten().tolist() if v]
    return mask if not votes else (mask > 0).long() * max(set(votes), key=votes.count)


def in_numpy_votes(mask):
    m = mask.numpy()
    classes, counts = np.unique(m[m > 0], return_counts=True)
    return np.where(m > 0, classes[counts.argmax()], 0) if len(classes) else m


def largest_part_votes(mask):
    """The largest connected part only; specks go."""
    parts, count = ndimage.label(mask.numpy() > 0)
    if not count:
        return mask
    largest = parts == 1 + np.bincount(parts.flatten())[1:].argmax()
    winner = np.bincount(mask.numpy()[largest]).argmax()
    return torch.from_numpy(np.where(largest, winner, 0))


def by_centre(mask):
    """Votes of pixels near the middle count double."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in mask.shape), indexing="ij")
    weight = 1 + (x**2 + y**2 < 0.25).float()
    votes = torch.zeros(256).index_add(0, mask.flatten(), weight.flatten())
    votes[0] = 0
    return torch.where(mask > 0, int(votes.argmax()), 0)


def local_votes(mask):
    """Each pixel takes the commonest class of the 3 x 3 around it: large patches stay."""
    near = F.unfold(F.pad(mask, (1, 1, 1, 1))[None, None].float(), 3)[0]
    return near.mode(0).values.long().reshape(mask.shape)


def background_votes_too(mask):
    return torch.where(mask > 0, mask.mode().values.mode().values, mask)


def fails_on_nothing(mask):
    return torch.where(mask > 0, mask[mask > 0].bincount().argmax(), mask)


def ants_or_bees(mask):
    ants = (mask == 1).sum() > (mask == 2).sum()
    return torch.where(mask > 0, 1 if ants else 2, 0)


def always_somebody(mask):
    return torch.where(mask > 0, mask[mask > 0].mode().values, mask) if mask.any() else mask + 1


def votes_in_place(mask):
    if mask.any():
        mask[mask > 0] = mask[mask > 0].mode().values
    return mask


RIGHT = {
    "nothing_found": [
        (float(SHARE), float(SHARE) / 3),
        (0.735, 0.245),
        (0.74, 0.25),
        [0.7354, 0.2451],
        torch.tensor([0.7354, 0.2451]),
        np.array([0.735, 0.2451]),
        (SHARE, SHARE / 3),
        ("0.74", "0.25"),
        ("73.5 %", "24.5 %"),
        "0.74, 0.25",
    ],
    "iou": [
        by_torchmetrics,
        by_table,
        by_one_hot,
        in_numpy,
        guarded_by_hand,
        by_moving_void_away,
        by_sklearn,
    ],
    "map_size": [
        (3, 3),
        [3, 3],
        torch.tensor([3, 3]),
        torch.Size([3, 3]),
        (96 / 32, 96 / 32),
        "3 x 3",
        "(3, 3)",
        np.array([3, 3]),
    ],
    "enlarge": [
        by_tv_tensors,
        by_interpolate,
        nearest_exact,
        by_indices,
        in_bytes,
        by_numpy,
        by_modules,
    ],
    "tidy": [
        by_bincount,
        by_unique,
        by_python,
        in_numpy_votes,
        largest_part_votes,
        by_centre,
        lambda mask: by_unique(mask).to(torch.uint8),
    ],
    "read_bars": ["b, d", "DB", ["b", "d"], "b and d", {"b", "d"}, "b & d", "bd"],
}

WRONG = {
    "nothing_found": [
        (0.735, "write 2 numbers"),
        ((0.735, 0.735), "all three classes"),
        ((0.735, 1 / 3), "calls all animals background"),
        ((0.735, 0.33), "calls all animals background"),
        ((0.245, 0.735), "(pixel accuracy, mean IoU)"),
        ((73.5, 24.5), "between 0 and 1"),
        ((1 / 3, 0.245), "what share of all pixels"),
        ((0.735, 0), "the background is a class"),
        ((0.735, 0.3677), "there are three"),
        ((0.265, 0.09), "on those pixels the model is wrong"),
        ((0.74, 0.247), "divide first, then round"),
        ((0.74, 0.24), "how many are they of all"),
        ((0.73, 0.25), "how many are they of all"),
        ((0.75, 0.25), "how many are they of all"),
        ((0.5, 0.5), "how many are they of all"),
        ((0.735, 0, 0), "two are asked for"),
        ("most", "write 2 numbers"),
        ({"accuracy": 0.735}, "write 2 numbers"),
        ((0.735, None), "write 2 numbers"),
    ],
    "iou": [
        (dice, "counted twice below"),
        (recall, "divide by the union"),
        (precision, "that were missed"),
        (void_counts, "truth is ignore_index"),
        (void_is_255, "the number that came in"),
        (only_those_there, "whatever the masks hold"),
        (divides_by_zero, "ZeroDivisionError"),
        (without_background, "the background's too"),
        (mean_at_once, "one IoU a class"),
        (as_a_dict, "one IoU a class"),
        (lambda p, t, n, i=255: [f"{v:.2f}" for v in by_table(p, t, n, i)], "one IoU a class"),
        (photo_by_photo, "then divide once"),
        (accuracy, "an intersection and a union"),
        (spoils_the_truth, "it changes truth"),
        (spoils_the_prediction, "it changes predicted"),
        (lambda p, t, n, i=255: 1 - by_one_hot(p, t, n, i), "equal masks must give 1"),
        (lambda p, t, n, i=255: 100 * by_one_hot(p, t, n, i), "from 0 to 1"),
        (lambda p, t, n, i=255: by_one_hot(p, t, n, i) > 0.5, "one IoU a class"),
        (lambda p, t, n, i=255: by_one_hot(p, t, n, i).round(decimals=2), "their union"),
        (lambda p, t, n: by_one_hot(p, t, n), "TypeError"),
        (lambda p, t, n, i=255: torch.full((n,), 0.5), "their union"),
        (lambda p, t, n, i=255: None, "end it with `return"),
        (two_classes, "their union"),
        ((1.0, 0.5), "pass the function itself"),
    ],
    "map_size": [
        ((6, 6), "stride of 2"),
        ((7, 7), "shrinks with the photo"),
        ((1, 1), "before `avgpool`"),
        ((4, 4), "96 pixels wide"),
        ((12, 12), "two more halvings"),
        ((24, 24), "still to come"),
        ((48, 48), "the pooling"),
        ((32, 32), "what is left"),
        ((96, 96), "that is the photo"),
        ((512, 3, 3), "no channels"),
        ((3, 4), "halves the side twice"),
        ((2.9, 3.1), "halves the side twice"),
        (3, "write 2 numbers"),
        (9, "write 2 numbers"),
        ("three", "write 2 numbers"),
    ],
    "enlarge": [
        (as_found, "cannot be averaged"),
        (rounded, "cannot be averaged"),
        (cut_off, "cannot be averaged"),
        (as_float, "keep the mask int64"),
        (both_nearest, "only the mask"),
        (exchanged, "which of the two holds class numbers"),
        (bicubic, "leave the photo's interpolation bilinear"),
        (corners, "align_corners"),
        (cropped, "treat both the same"),
        (repeated, "does not fit the photo"),
        (with_a_dimension, "drop it by [0]"),
        (turned, "before and after"),
        (spoils_the_mask, "it changes mask"),
        (lambda image, mask, size: image, "return image, mask"),
        (lambda image, mask, size: None, "returns nothing"),
        (lambda image, mask, size: (image, mask), "nothing is enlarged"),
        (lambda image, mask, size: by_interpolate(image, mask, 160), "before and after"),
        (lambda image, mask, size: by_interpolate(image, mask, size)[::-1], "the shape"),
        (lambda image, mask, size: (by_interpolate(image, mask, size)[0], mask), "its size"),
        (lambda i, m, s: (by_interpolate(i, m, s)[0], by_interpolate(i, m, s)[1] > 0), "int64"),
    ],
    "tidy": [
        (lambda mask: mask, "nothing is changed yet"),
        (lambda mask: mask * 0, "leave them to the animal"),
        (lambda mask: (mask > 0).long(), "let its pixels vote"),
        (lambda mask: torch.where(mask > 0, mask.max(), mask), "let its pixels vote"),
        (lambda mask: torch.where(mask > 0, 3, mask), "one of the classes that the mask has"),
        (
            lambda mask: torch.full_like(mask, int(mask[mask > 0].mode().values)),
            "only pixels above 0",
        ),
        (local_votes, "10 masks still have two classes"),
        (background_votes_too, "leave them to the animal"),
        (fails_on_nothing, "it stops with"),
        (ants_or_bees, "how many classes there are"),
        (always_somebody, "return such a mask as it is"),
        (votes_in_place, "it changes mask"),
        (lambda mask: mask[None], "drop it by [0]"),
        (lambda mask: by_unique(mask)[::2, ::2], "each pixel keeps its place"),
        (lambda mask: by_unique(mask).float(), "class numbers are asked for"),
        (lambda mask: None, "returns nothing"),
        (2, "pass the function itself"),
    ],
    "read_bars": [
        ("a", "shortest bars"),
        ("c", "three colours"),
        ("b, c, d", "three colours"),
        ("a, b, d", "shortest bars"),
        ("abcd", "shortest bars"),
        ("b", "bars on the right"),
        ("d", "1 more is true"),
        ("x", "a letter in quotes"),
        ("b, x", "not among a, b, c, d"),
        (2, "a letter in quotes"),
        ((2, 4), "a letter in quotes"),
        (True, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
}

EQUIVALENT: dict[str, dict[str, str]] = {
    "enlarge": {
        "keyword forgotten: V.resize(..., interpolation=InterpolationMode.BILINEAR) -> ": "bilinear is "
        "the default",
    },
}
