"""What the search for near copies finds, what it takes for one, and how long it takes.

    python benchmarks/near_copies.py FOLDER      # photos with as few copies among them as possible

Copies of 200 of the photos, changed in one way each, are looked for among the photos they were made of;
all photos are compared with all. The search is timed on random hashes with 50 planted pairs, 8 bits apart
in both. Writes benchmarks/results/near_copies.md; seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageFilter, ImageOps

from ftcourse.data.folders import scan
from ftcourse.data.near_copies import NEAR_BITS, VIEWS, clusters, view_hashes
from ftcourse.data.photos import decoded, open_photo, shrink

RESULT = Path(__file__).parent / "results" / "near_copies.md"
SIDE, COPIES, SEED = 160, 200, 0
SIZES = (5_000, 20_000, 100_000, 200_000)
Change = Callable[[Image.Image], Image.Image]


def cut(left: float, top: float, right: float, bottom: float) -> Change:
    def change(image: Image.Image) -> Image.Image:
        w, h = image.size
        box = (left * w, top * h, w - right * w, h - bottom * h)
        return image.crop(tuple(round(v) for v in box))

    return change


def after(*changes: Change) -> Change:
    def change(image: Image.Image) -> Image.Image:
        for one in changes:
            image = one(image)
        return image

    return change


def cut_at_random(image: Image.Image) -> Image.Image:
    rng = random.Random(image.tobytes()[:1000])
    return cut(*(rng.uniform(0, 0.08) for _ in range(4)))(image)


def turned(how: Image.Transpose) -> Change:
    return lambda image: image.transpose(how)


CHANGES: dict[str, Change] = {
    "half the size": lambda im: im.resize((im.width // 2, im.height // 2)),
    "grey": lambda im: im.convert("L").convert("RGB"),
    "blurred by 2 pixels": lambda im: im.filter(ImageFilter.GaussianBlur(2)),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 90 degrees": turned(Image.Transpose.ROTATE_90),
    "turned by 180 degrees": turned(Image.Transpose.ROTATE_180),
    "turned by 270 degrees": turned(Image.Transpose.ROTATE_270),
    **{f"cropped by {c} % a side": cut(*[c / 100] * 4) for c in (2, 3, 5, 7, 8, 10)},
    **{f"cropped by {c} % at the left": cut(c / 100, 0, 0, 0) for c in (5, 10)},
    **{f"cropped by {c} % at a corner": cut(c / 100, c / 100, 0, 0) for c in (5, 10)},
    "cropped by 0 to 8 % at each side": cut_at_random,
    "mirrored, cropped by 5 % a side": after(ImageOps.mirror, cut(*[0.05] * 4)),
    "turned by 90, cropped by 5 % a side": after(
        turned(Image.Transpose.ROTATE_90), cut(*[0.05] * 4)
    ),
    "turned by 3 degrees": lambda im: im.rotate(3, resample=Image.Resampling.BICUBIC),
    "a white border of 5 %": lambda im: ImageOps.expand(im, round(0.05 * min(im.size)), "white"),
}


def hashes_of(image: Image.Image) -> np.ndarray:
    with decoded(image, SIDE) as rgb:
        return view_hashes(Image.fromarray(shrink(rgb, SIDE)))


def found(originals: list[np.ndarray], copies: list[np.ndarray]) -> int:
    """How many copies are in one group with their original, each looked at alone with it."""
    return sum(clusters([a, b]) == [[0, 1]] for a, b in zip(originals, copies, strict=True))


def search_times(sizes: tuple[int, ...]) -> list[str]:
    rows = []
    for n in sizes:
        rng = np.random.default_rng(SEED)
        hashes = rng.integers(0, 2**64, (n, VIEWS, 2), dtype=np.uint64)
        planted = [[2 * k, n - 1 - k] for k in range(50)]
        for i, j in planted:
            hashes[j, 0] = hashes[i, rng.integers(VIEWS)]
            for kind in (0, 1):
                for bit in rng.choice(64, NEAR_BITS, replace=False):
                    hashes[j, 0, kind] ^= np.uint64(1 << int(bit))
        start = time.process_time()
        groups = clusters(list(hashes))
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        there = sum(pair in groups for pair in planted)
        rows.append(f"| {n:,} | {seconds:.1f} | {there}/50 | {len(groups) - there} | {peak:,} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    times = search_times(SIZES)
    photos = [open_photo(photo.path) for photo in scan(args.folder).photos]
    start = time.process_time()
    originals = [hashes_of(photo) for photo in photos]
    each = (time.process_time() - start) / len(photos)
    pairs = clusters(originals)
    chosen = random.Random(SEED).sample(range(len(photos)), COPIES)
    mine = [originals[i] for i in chosen]
    rows = []
    for name, change in CHANGES.items():
        n = found(mine, [hashes_of(change(photos[i])) for i in chosen])
        rows.append(f"| {name} | {n}/{COPIES} |")
        print(rows[-1], flush=True)
    versions = (
        f"Python {platform.python_version()}, NumPy {np.__version__}, Pillow {PIL.__version__}"
    )
    lines = [
        "# Near copies: what is found, what is taken for one, how long it takes",
        f"`python benchmarks/near_copies.py FOLDER`, on the {len(photos)} photos of Hymenoptera; seed {SEED}; "
        f"{versions}. {VIEWS} views, at most {NEAR_BITS} of 64 bits in each of two hashes; photos at {SIDE} "
        "pixels.",
        "\n".join(["| copy | found |", "| --- | --- |", *rows]),
        f"Groups among the {len(photos)} photos themselves: {len(pairs)}. Making the smaller photo and its hashes "
        f"took {1000 * each:.1f} ms a photo.",
        "Random hashes with planted pairs, one process:",
        "\n".join(
            [
                "| photos | seconds | planted pairs found | others | peak memory in MB |",
                "| --- |" + " --- |" * 4,
            ]
            + times
        ),
    ]
    RESULT.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
