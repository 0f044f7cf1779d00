"""The gallery of Pocket Insects for the README and the docs, and the rate at which it was drawn.

    python benchmarks/insects_gallery.py

Writes docs/images/insects_gallery.jpg (six classes), insects_labels.jpg (parts, boxes, domains) and
benchmarks/results/insects_gallery.json. The photos are the first ones of a seed: none was picked by hand.
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ftcourse.data.insects import CLASSES, DOMAINS, PARTS, render

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
SEED, SIDE, COLUMNS = 7, 128, 8
COLOURS = np.array(
    [
        (0, 0, 0),
        (230, 80, 60),
        (240, 170, 40),
        (120, 190, 70),
        (70, 150, 220),
        (190, 110, 210),
        (90, 210, 200),
    ],
    np.uint8,
)


def gallery() -> Image.Image:
    rows = []
    for label in range(len(CLASSES)):
        photos = [render(label, (SEED, 0, label + 6 * k), SIDE).image for k in range(COLUMNS)]
        rows.append(np.concatenate(photos, 1))
    return Image.fromarray(np.concatenate(rows))


def labels() -> Image.Image:
    """Photos, their parts over them, scenes with boxes, and one photo in each domain."""
    photos = [render(k % 6, (SEED, 1, k), SIDE) for k in range(COLUMNS)]
    shown = [p.image for p in photos]
    mixed = [
        np.where(p.parts[..., None] > 0, p.image // 3 + COLOURS[p.parts] // 3 * 2, p.image // 2)
        for p in photos
    ]
    scenes = []
    for k in range(COLUMNS):
        p = render([k % 6, (k + 2) % 6, (k + 3) % 6], (SEED, 2, k), SIDE)
        image = Image.fromarray(p.image)
        for label, (left, top, right, bottom) in zip(p.labels, p.boxes, strict=True):
            colour = tuple(int(v) for v in COLOURS[label + 1])
            ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=colour)
        scenes.append(np.asarray(image))
    domains = [
        render(k // 4 + 1, (SEED, 3, k // 4), SIDE, domain=DOMAINS[k % 4]).image
        for k in range(COLUMNS)
    ]
    return Image.fromarray(
        np.concatenate([np.concatenate(row, 1) for row in (shown, mixed, scenes, domains)])
    )


def rate(size: int = 96, number: int = 120) -> float:
    """CPU milliseconds a photo, one process."""
    render(0, (SEED, 9, 0), size)
    start = time.process_time()
    for k in range(number):
        render(k % 6, (SEED, 9, k), size)
    return 1000 * (time.process_time() - start) / number


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    gallery().save(IMAGES / "insects_gallery.jpg", quality=90, optimize=True)
    labels().save(IMAGES / "insects_labels.jpg", quality=90, optimize=True)
    result = {
        "command": "python benchmarks/insects_gallery.py",
        "cpu_ms_a_photo": {str(size): round(rate(size), 2) for size in (32, 64, 96, 128, 256)},
        "photos": 120,
        "parts": list(PARTS),
        "machine": f"{platform.machine()}, 1 process",
        "versions": {"numpy": np.__version__},
    }
    (ROOT / "benchmarks" / "results" / "insects_gallery.json").write_text(
        json.dumps(result, indent=1) + "\n"
    )
    print(result)


if __name__ == "__main__":
    main()
