"""`load`: rendered insects as train, val and test splits, with labels, masks, boxes and sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification
from tqdm.auto import tqdm

from ftcourse.data.downloads import cache_dir
from ftcourse.data.insects.anatomy import CLASSES
from ftcourse.data.insects.blocks import BLOCK, HABITAT, Block, gather
from ftcourse.data.insects.exact import Rng
from ftcourse.data.insects.picture import DOMAINS, SPLITS
from ftcourse.data.insects.scenery import BACKGROUNDS
from ftcourse.data.splits import Data, Split
from ftcourse.data.transforms import eval_transforms, train_transforms

__all__ = ["TARGETS", "InsectSplit", "load"]

TARGETS = ("label", "mask", "parts", "semantic", "boxes", "sentence")
Transform = Callable[..., Any]


class InsectSplit(Split):
    """A split of rendered photos: item i is (transformed image, target); `target` says which target.

    Everything that is known is there too, for image i of `index`: `parts` uint8 (N, S, S), indices into PARTS;
    `owners` uint8 (N, S, S), 0 for the background and k + 1 for animal k; `boxes`, a list of int64 (animals, 4) with
    left, top, right, bottom; `box_labels`, a list of int64 (animals,), `sentences`, `backgrounds`.
    `mislabelled` has the positions whose label was made wrong by `label_noise`.
    """

    parts: Tensor
    owners: Tensor
    boxes: list[Tensor]
    box_labels: list[Tensor]
    sentences: list[str]
    backgrounds: list[str]
    mislabelled: list[int]
    target: str = "label"

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        if self.target == "label":
            return super().__getitem__(i)
        target = self._target(self.index[i])
        image: Any = self.image(i)
        if self.target == "sentence":
            return (image if self.transform is None else self.transform(image)), target
        image = tv_tensors.Image(image)
        if self.transform is not None:
            image, target = _joint(self.transform)(image, target)
        return image, _without_empty(target) if self.target == "boxes" else target

    def _target(self, k: int) -> Any:
        owners = self.owners[k]
        if self.target == "sentence":
            return self.sentences[k]
        if self.target == "mask":
            return tv_tensors.Mask((owners > 0).long())
        if self.target == "parts":
            return tv_tensors.Mask(self.parts[k].long())
        labels = self.box_labels[k]
        if self.target == "semantic":
            return tv_tensors.Mask(
                torch.cat([torch.zeros(1, dtype=torch.int64), labels + 1])[owners.long()]
            )
        boxes = tv_tensors.BoundingBoxes(
            self.boxes[k].float(),
            format=tv_tensors.BoundingBoxFormat.XYXY,
            canvas_size=tuple(owners.shape),
        )
        masks = owners[None] == torch.arange(1, len(labels) + 1)[:, None, None]
        return {
            "boxes": boxes,
            "labels": labels + 1,
            "masks": tv_tensors.Mask(masks.to(torch.uint8)),
        }

    def with_target(self, target: str) -> InsectSplit:
        """The same photos with another target, one of `TARGETS`.

        "label" int; "mask" int64 (S, S), 1 on animals; "parts" int64 (S, S), indices into PARTS; "semantic" int64
        (S, S), class + 1 on animals; "boxes" a dict of boxes, labels (class + 1: torchvision's detectors keep 0 for
        the background) and masks; "sentence" str. Masks and boxes are tv_tensors: transforms move them as well.
        """
        if target not in TARGETS:
            raise ValueError(f"target={target!r}: use one of {', '.join(TARGETS)}")
        copy = self.subset(range(len(self)))
        copy.target = target
        return copy

    def _copy(self, images: Any, transform: Transform | None, keep: Iterable[int]) -> InsectSplit:
        keep = list(keep)
        made = super()._copy(images, transform, keep)
        wrong = set(self.mislabelled)
        made.mislabelled = [new for new, old in enumerate(keep) if old in wrong]
        return made


def _joint(transform: Transform) -> Transform:
    """The transform for image and target together; torchvision's preset takes the image alone."""
    if not isinstance(transform, ImageClassification):
        return transform
    t = transform
    return v2.Compose(
        [
            v2.Resize(list(t.resize_size), interpolation=t.interpolation, antialias=True),
            v2.CenterCrop(list(t.crop_size)),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(t.mean), list(t.std)),
            v2.ToPureTensor(),
        ]
    )


def _without_empty(target: dict[str, Any]) -> dict[str, Any]:
    """Without the animals that a crop left outside."""
    boxes = target["boxes"]
    keep = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)
    if keep.all():
        return target
    return {
        k: tv_tensors.wrap(v[keep], like=v) if isinstance(v, tv_tensors.TVTensor) else v[keep]
        for k, v in target.items()
    }


def load(
    classes: Sequence[str] = CLASSES,
    per_class: int = 60,
    size: int = 96,
    seed: int = 0,
    *,
    val_per_class: int = 20,
    test_per_class: int = 60,
    scene: bool = False,
    target: str | None = None,
    shortcut: bool | float = 0.0,
    label_noise: float = 0.0,
    imbalance: float = 1.0,
    domain: str = "day",
    test_domain: str | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Data:
    """Rendered insects in three splits; drawn on the first call, then read from the cache folder.

    An image is a function of (seed, split, index) and has the same bytes on each platform; that of a class does not
    depend on which other classes are loaded, and the first 20 of 100 are those of `per_class=20`.

    Args:
        classes: from `CLASSES`, in the order of their labels.
        per_class: photos of each class to train on (with `scene`: scenes for each class).
        size: side of the photos in pixels, 32 to 256.
        seed: another seed, other photos, in each split.
        scene: two to four animals a photo, of the classes given; `target` is then "boxes" by default.
        target: see `InsectSplit.with_target`; "label" by default.
        shortcut: for this share of train and val (True: 0.95) the background goes with the class; in test never.
        label_noise: this share of the training photos gets the label of another class.
        imbalance: the first class has so many times as many training photos as the last one; those between fall off
            exponentially (https://arxiv.org/abs/1901.05555).
        domain: "day", "night", "fog" or "sketch"; `test_domain` for the test split alone.
        cache: folder to keep the drawn photos in; `FTCOURSE_CACHE`, or the user's cache folder by default.
        progress: show a bar while photos are drawn.

    Raises:
        ValueError: a setting is out of its range; the message names it.
    """
    share = 0.95 if shortcut is True else float(shortcut)
    classes, target = list(classes), target or ("boxes" if scene else "label")
    test_domain = test_domain or domain
    _check(classes, size, target, scene, share, label_noise, imbalance, (domain, test_domain))
    counts = {
        "train": [
            max(1, round(per_class * imbalance ** (-k / max(len(classes) - 1, 1))))
            for k in range(len(classes))
        ],
        "val": [val_per_class] * len(classes),
        "test": [test_per_class] * len(classes),
    }
    if min(min(numbers) for numbers in counts.values()) < 1:
        raise ValueError("per_class, val_per_class and test_per_class are at least 1")
    looks = {
        split: {
            "size": size, "scene": scene, "shortcut": 0.0 if split == "test" else share,
            "domain": test_domain if split == "test" else domain,
        }
        for split in SPLITS
    }  # fmt: skip
    plan = {split: _plan(split, classes, counts[split], seed, looks[split]) for split in SPLITS}
    drawn = _draw([block for blocks in plan.values() for block in blocks], cache, progress)
    splits = {}
    for split in SPLITS:
        transform = train_transforms() if split == "train" else eval_transforms()
        splits[split] = _split(
            [drawn[b] for b in plan[split]], classes, counts[split], scene, transform
        )
        splits[split].target = target
    if label_noise:
        _spoil(splits["train"], label_noise, seed)
    notes = _notes(seed, classes, share, label_noise, imbalance, domain, test_domain, scene)
    train, val, test = (splits[name] for name in ("train", "val", "test"))
    return Data(classes, train, val, test, name="pocket-insects", notes=notes)


def _check(
    classes: list[str], size: int, target: str, scene: bool, share: float, label_noise: float, imbalance: float,
    domains: tuple[str, str],
) -> None:  # fmt: skip
    unknown = [c for c in classes if c not in CLASSES]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise ValueError(
            f"classes={tuple(classes)}: choose different ones from {', '.join(CLASSES)}"
        )
    if not 32 <= size <= 256:
        raise ValueError(f"size={size}: photos are drawn from 32 to 256 pixels wide")
    if target not in TARGETS:
        raise ValueError(f"target={target!r}: use one of {', '.join(TARGETS)}")
    if scene and target == "label":
        raise ValueError(
            'scene=True has several animals a photo: use target="boxes", or "semantic"'
        )
    if scene and share:
        raise ValueError("shortcut: a scene has no class for its background to go with")
    for name, value in (("shortcut", share), ("label_noise", label_noise)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value} is a share, from 0 to 1")
    if imbalance < 1:
        raise ValueError(
            f"imbalance={imbalance}: how many times larger the first class is, at least 1"
        )
    for domain in domains:
        if domain not in DOMAINS:
            raise ValueError(f"domain={domain!r}: use one of {', '.join(DOMAINS)}")


def _plan(
    split: str, classes: list[str], counts: list[int], seed: int, look: dict[str, Any]
) -> list[Block]:
    if look["scene"]:
        return [
            Block(seed, split, tuple(classes), k, **look) for k in range(-(-sum(counts) // BLOCK))
        ]
    return [
        Block(seed, split, (name,), k, **look)
        for name, count in zip(classes, counts, strict=True)
        for k in range(-(-count // BLOCK))
    ]


def _draw(
    blocks: list[Block], cache: str | Path | None, progress: bool
) -> dict[Block, dict[str, np.ndarray]]:
    bar: list[tqdm] = []

    def tick(n: int) -> None:
        if not bar and progress:
            bar.append(tqdm(desc="drawing insects", unit="photo", mininterval=0.5))
        for one in bar:
            one.update(n)

    try:
        folder = cache_dir() if cache is None else Path(cache).expanduser()
        return dict(zip(blocks, gather(blocks, folder, tick), strict=True))
    finally:
        for one in bar:
            one.close()


def _split(
    blocks: list[dict[str, np.ndarray]],
    classes: list[str],
    counts: list[int],
    scene: bool,
    transform: Transform,
) -> InsectSplit:
    """Blocks to a split: the classes take turns, so that each prefix of an even split is balanced."""
    every = {
        k: np.concatenate([b[k] for b in blocks])
        for k in ("images", "parts", "owners", "backgrounds", "sentences")
    }
    rows = np.concatenate(
        [b["boxes"] + np.array([BLOCK * k, 0, 0, 0, 0, 0]) for k, b in enumerate(blocks)]
    )
    new = {CLASSES.index(name): i for i, name in enumerate(classes)}
    if scene:
        order = [(0, k) for k in range(sum(counts))]
    else:
        start = np.cumsum([0] + [BLOCK * -(-n // BLOCK) for n in counts])
        order = [
            (c, int(start[c]) + k)
            for k in range(max(counts))
            for c in range(len(classes))
            if k < counts[c]
        ]
    keep = [k for _, k in order]
    of = {k: rows[rows[:, 0] == k] for k in keep}
    box_labels = [torch.tensor([new[int(c)] for c in of[k][:, 1]], dtype=torch.int64) for k in keep]
    targets = [int(labels[0]) for labels in box_labels] if scene else [c for c, _ in order]
    images = torch.from_numpy(every["images"][keep]).permute(0, 3, 1, 2).contiguous()
    split = InsectSplit(images, targets, classes, transform=transform)
    split.parts, split.owners = (
        torch.from_numpy(every[name][keep]) for name in ("parts", "owners")
    )
    split.boxes = [torch.from_numpy(of[k][:, 2:].astype(np.int64)) for k in keep]
    split.box_labels = box_labels
    split.sentences = [str(s) for s in every["sentences"][keep]]
    split.backgrounds = [BACKGROUNDS[b] for b in every["backgrounds"][keep]]
    split.mislabelled = []
    return split


def _spoil(split: InsectSplit, share: float, seed: int) -> None:
    """Give this share of the photos, drawn without replacement, the label of another class."""
    n, rng = len(split.classes), Rng(seed, 97)
    if n < 2:
        raise ValueError("label_noise needs two classes")
    order = sorted(range(len(split)), key=lambda i: (rng.child(i)(), i))
    for i in order[: round(share * len(split))]:
        split.targets[i] = (split.targets[i] + 1 + rng.child(i, 1).below(n - 1)) % n
        split.mislabelled.append(i)
    split.mislabelled.sort()


def _notes(
    seed: int, classes: list[str], share: float, label_noise: float, imbalance: float, domain: str, test_domain: str,
    scene: bool,
) -> list[str]:  # fmt: skip
    notes = [f"Rendered by this package from seed {seed}; no photo of an animal is in it."]
    if share:
        pairs = ", ".join(f"{c} on {HABITAT[c]}" for c in classes)
        notes.append(
            f"Shortcut: {share:.0%} of train and val have the background of their class ({pairs}); test has not."
        )
    if label_noise:
        notes.append(
            f"{label_noise:.0%} of the training labels are wrong; train.mislabelled lists them."
        )
    if imbalance > 1:
        notes.append(f"Training photos are imbalanced, {imbalance:g} to 1; val and test are not.")
    if (domain, test_domain) != ("day", "day"):
        notes.append(f"Domain: {domain} for train and val, {test_domain} for test.")
    if scene:
        notes.append("Scenes of two to four animals; `targets` has the class of the first one.")
    return notes
