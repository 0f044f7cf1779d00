"""Answers to the questions of lesson 01."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from ftcourse.models.pocket import ResNet18_Pocket_Weights

POCKET = ResNet18_Pocket_Weights.DEFAULT
P = POCKET.transforms()
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (P.mean, P.std))
WAYS = v2.InterpolationMode
NAMES = {"torch": torch, "np": np, "v2": v2, "preprocess": P, "weights": POCKET}

# ------------------------------------------------------------------------------------------ 1.1


def by_hand(photo, weights):
    t = weights.transforms()
    steps = [v2.Resize(t.resize_size), v2.CenterCrop(t.crop_size), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(t.mean, t.std)]
    return v2.Compose(steps)(photo)[None]


def of_a_tensor(photo, weights):
    return weights.transforms()(torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None])


def in_numpy(photo, weights):
    return weights.transforms()(photo).numpy()[np.newaxis]


def without_norm(photo, weights):
    t = weights.transforms()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (t.mean, t.std))
    return t(photo)[None] * std + mean


def squashed(photo, weights):
    t = weights.transforms()
    steps = [v2.Resize(t.crop_size * 2), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([*steps, v2.Normalize(t.mean, t.std)])(photo)[None]


def resized(photo, weights, way):
    t = weights.transforms()
    steps = [v2.Resize(t.resize_size, way), v2.CenterCrop(t.crop_size), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(t.mean, t.std)]
    return v2.Compose(steps)(photo)[None]


def mirrored(photo, weights):
    return weights.transforms()(ImageOps.mirror(photo))[None]


def resnet50(photo, weights):
    from torchvision.models import ResNet50_Weights

    return ResNet50_Weights.IMAGENET1K_V2.transforms()(photo)[None]


def spoils_photo(photo, weights):
    photo.paste((0, 0, 0), (0, 0, 5, 5))
    return weights.transforms()(photo)[None]


# ------------------------------------------------------------------------------------------ 1.3


def with_numpy(logits, categories):
    p = np.exp(logits.numpy() - logits.max().item())
    p = p / p.sum()
    return [[categories[i], float(p[i])] for i in np.argsort(-p)[:5]]


def with_sorted(logits, categories):
    p = torch.softmax(logits, -1)
    return sorted(zip(categories, p, strict=True), key=lambda pair: -pair[1])[:5]


def with_a_dictionary(logits, categories):
    p, i = logits.softmax(0).sort(descending=True)
    return {categories[k]: v.item() for k, v in zip(i[:5], p[:5], strict=True)}


def with_argsort(logits, categories):
    p = logits.exp() / logits.exp().sum()
    return tuple((categories[int(i)], p[i]) for i in p.argsort(descending=True)[:5])


def one_by_one(logits, categories):
    p, found = torch.nn.Softmax(dim=0)(logits.double()), []
    for _ in range(5):
        best = int(p.argmax())
        found.append((categories[best], p[best].item()))
        p[best] = -1
    return found


def with_map(logits, categories):
    values, indices = torch.topk(torch.nn.functional.softmax(logits, dim=-1), k=5)
    return list(zip(map(categories.__getitem__, indices), values.tolist(), strict=True))


def pick(p, categories, k=5, largest=True):
    values, indices = p.topk(k, largest=largest)
    return [(categories[i], v.item()) for i, v in zip(indices, values, strict=True)]


def five_alone(z, c):
    return pick(z, c) and [
        (c[i], v.item())
        for i, v in zip(z.topk(5).indices, z.topk(5).values.softmax(0), strict=True)
    ]


def other_names(z, c):
    return [(POCKET.meta["categories"][i], p) for i, p in enumerate(z.softmax(0)[:5])]


def first_five(z, c):
    return list(zip(c, z.softmax(0).tolist(), strict=True))[:5]


def spoils_categories(z, c):
    found = pick(z.softmax(0), c)
    c.clear()
    return found


# ------------------------------------------------------------------------------------------ 1.5


def cropped(photo):
    photo = v2.functional.resize(photo, P.resize_size)
    return np.array(v2.functional.center_crop(photo, P.crop_size))


def scaled(photo):
    return torch.from_numpy(cropped(photo)).permute(2, 0, 1) / 255


def with_transforms(photo):
    steps = [v2.Resize(P.resize_size), v2.CenterCrop(P.crop_size), v2.PILToTensor()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(P.mean, P.std)]
    return v2.Compose(steps)(photo)


def repaired_in_numpy(photo):
    x = cropped(photo).astype(float) / 255
    return ((x - np.array(P.mean)) / np.array(P.std)).transpose(2, 0, 1)


def channels_last(photo):
    return (torch.from_numpy(cropped(photo)) / 255 - torch.tensor(P.mean)) / torch.tensor(P.std)


def transposed(photo):
    return ((scaled(photo) - MEAN) / STD).transpose(1, 2)


RIGHT = {
    "prepare": [
        lambda photo, weights: weights.transforms()(photo)[None],
        lambda photo, weights: torch.stack([weights.transforms()(photo)]),
        by_hand,
        of_a_tensor,
        in_numpy,
        lambda photo, weights: weights.transforms()(photo).unsqueeze(0).double(),
        lambda photo, weights: weights.transforms()(photo).unsqueeze(0).half(),
        lambda photo, weights: weights.transforms()(photo).reshape(
            1, 3, *weights.transforms().crop_size * 2
        ),
    ],
    "layer3_shape": [
        (256, 10, 10),
        [256, 10, 10],
        torch.Size([1, 256, 10, 10]),
        "256 x 10 x 10",
        np.array([256, 10, 10]),
        "(256, 10, 10)",
        "256,10,10",
    ],
    "top5": [with_numpy, with_sorted, with_a_dictionary, with_argsort, one_by_one, with_map],
    "dahlia": ["c", "C", "(c)", ["c"], {"c"}, " c."],
    "repair": [
        P,
        with_transforms,
        repaired_in_numpy,
        lambda photo: (scaled(photo) - MEAN) / STD,
        lambda photo: (scaled(photo) * 255 - 255 * MEAN) / (255 * STD),
        lambda photo: P(torch.from_numpy(np.array(photo)).permute(2, 0, 1)),
        lambda photo: POCKET.transforms()(photo).double(),
    ],
    "crop": [
        (340, 130, 240),
        [360, 120, 260],
        torch.tensor([340, 90, 280]),
        "330, 90, 300",
        np.array([320, 60, 320]),
        (350.0, 130.0, 220.0),
    ],
}

WRONG = {
    "prepare": [
        (lambda photo, weights: weights.transforms()(photo), "unsqueeze(0)"),
        (lambda photo, weights: P(photo)[None], "whatever weights come"),
        (lambda photo, weights: v2.functional.pil_to_tensor(photo)[None] / 255, "the shape is"),
        (without_norm, "leave the normalisation to weights.transforms()"),
        (lambda photo, weights: 255 * without_norm(photo, weights), "from 0 to 255"),
        (lambda photo, weights: None, "return"),
        (lambda photo, weights: photo, "expected a tensor"),
        (lambda photo, weights: weights.transforms(), "expected a tensor"),
        (squashed, "squashed"),
        (lambda photo, weights: by_hand(photo, weights).flip(1), "red and blue"),
        (lambda photo, weights: by_hand(photo, weights).transpose(2, 3), "changed places"),
        (lambda photo, weights: by_hand(photo, weights).permute(0, 2, 3, 1), "channels come last"),
        (mirrored, "two steps"),
        (lambda photo, weights: resized(photo, weights, WAYS.NEAREST), "resized in another way"),
        (lambda photo, weights: resized(photo, weights, WAYS.BICUBIC), "resized in another way"),
        (resnet50, "two steps"),
        (spoils_photo, "it changes photo"),
        (lambda photo, weights: weights.transforms()(photo)[None, None], "the shape is"),
        (lambda photo: P(photo)[None], "TypeError"),
    ],
    "layer3_shape": [
        ((256, 20, 20), "the stem halves twice"),
        ((256, 40, 40), "layer2 and layer3"),
        ((512, 5, 5), "one stage back"),
        ((128, 20, 20), "one stage further"),
        ((10, 10, 256), "channels first"),
        ((512, 10, 10), "64 in layer1"),
        ((256,), "(channels, height, width)"),
        (256, "(channels, height, width)"),
        ("ten", "(channels, height, width)"),
        ((3, 7, 7), "read the table"),
        ((2, 256, 10, 10), "(channels, height, width)"),
        (torch.zeros(256, 10, 10).numel(), "(channels, height, width)"),
    ],
    "top5": [
        (lambda z, c: pick(z, c), "softmax over the classes turns them"),
        (lambda z, c: pick(z.sigmoid(), c), "share 100 %"),
        (lambda z, c: pick(z.log_softmax(0), c), "logarithms"),
        (lambda z, c: pick(z.softmax(0).softmax(0), c), "twice"),
        (lambda z, c: pick(100 * z.softmax(0), c), "percentages"),
        (lambda z, c: [(n, round(v, 2)) for n, v in pick(z.softmax(0), c)], "rounded"),
        (five_alone, "over all classes first"),
        (lambda z, c: pick(z.softmax(0), c)[::-1], "largest first"),
        (lambda z, c: pick(z.softmax(0), c, largest=False), "five largest"),
        (lambda z, c: pick(z.softmax(0), c, k=3), "topk(5)"),
        (lambda z, c: [(i.item(), 0.1) for i in z.topk(5).indices], "categories[i]"),
        (lambda z, c: [c[i] for i in z.topk(5).indices], "list of pairs"),
        (lambda z, c: print("shown, not returned", end=""), "return"),
        (lambda z, c: pick(z.softmax(1), c), "three steps"),
        (other_names, "for made-up scores"),
        (first_five, "for made-up scores"),
        (spoils_categories, "it changes categories"),
        (lambda z, c: z.softmax(0).topk(5), "list of pairs"),
        (lambda z, c: ((n, v) for n, v in pick(z.softmax(0), c)), "return in place of yield"),
        (lambda z, c: sorted(pick(z.softmax(0), c)), "by their names"),
    ],
    "dahlia": [
        ("a", "numbers, not a dahlia"),
        ("b", "outputs of the head"),
        ("d", "softmax sum to"),
        ("a, c", "numbers, not a dahlia"),
        ("c and d", "softmax sum to"),
        ("abcd", "numbers, not a dahlia"),
        ("e", "not among"),
        ("some class", "not among"),
        (3, "a letter in quotes"),
        (0.84, "a letter in quotes"),
        ([], "a letter in quotes"),
    ],
    "repair": [
        (lambda photo: (255 * scaled(photo) - MEAN) / STD, "between 0 and 1"),
        (scaled, "is half of it"),
        (lambda photo: (255 * scaled(photo) - MEAN) / STD / 255, "first divide by 255"),
        (lambda photo: (scaled(photo) - 0.5) / 0.5, "preprocess.mean"),
        (lambda photo: (scaled(photo).flip(0) - MEAN) / STD, "RGB"),
        (channels_last, "permute(2, 0, 1)"),
        (lambda photo: v2.functional.pil_to_tensor(photo) / 255, "the shape is"),
        (lambda photo: np.zeros(3), "the shape is"),
        (transposed, "height and width"),
        (lambda photo: squashed(photo, POCKET)[0], "squashed"),
        (lambda photo: (scaled(photo) * 255 // 255 - MEAN) / STD, "//"),
        (lambda photo: P(photo)[None], "take [0]"),
        (lambda photo: resized(photo, POCKET, WAYS.NEAREST)[0], "resized in another way"),
        (lambda photo: (scaled(photo) * 255 / 256 - MEAN) / STD, "print the smallest"),
        (lambda photo: None, "return"),
        (lambda photo: P(photo).mean(), "the shape is"),
        (lambda photo: P(ImageOps.mirror(photo)), "print the smallest"),
        (lambda photo: Image.fromarray(cropped(photo)), "expected a tensor"),
    ],
    "crop": [
        ((0, 0, 400), "lakeside is at place"),
        ((0, 20, 400), "lakeside is at place"),
        ([80, 0, 300], "lakeside is at place"),
        ((0, 0, 200), "lakeside is at place"),
        ((420, 130, 120), "200 at least"),
        ((0, 0, 0), "200 at least"),
        ((500, 100, 200), "beyond the photo"),
        ((-10, 0, 300), "beyond the photo"),
        ((340, 300, 200), "640 x 427 pixels"),
        ((340, 120, 620, 400), "(left, top, side)"),
        ((340, 120), "(left, top, side)"),
        ((340.5, 120, 240), "three whole numbers"),
        (340, "(left, top, side)"),
        ("the lake", "(left, top, side)"),
        ((340, None, 240), "(left, top, side)"),
        ((float("nan"), 120, 240), "three whole numbers"),
    ],
}  # fmt: skip

EQUIVALENT: dict[str, dict[str, str]] = {}
