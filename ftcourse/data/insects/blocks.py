"""Rendered pictures on disk: blocks of twenty, drawn once, each written whole or not at all.

A block's name tells all that its pictures depend on, and the version of the code that draws them. This module needs
NumPy alone, so that worker processes start fast.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ftcourse.data.insects.anatomy import CLASSES
from ftcourse.data.insects.exact import Rng
from ftcourse.data.insects.picture import SPLITS, Picture, render
from ftcourse.data.insects.scenery import BACKGROUNDS

__all__ = ["BLOCK", "Block", "gather"]

BLOCK = 20  # pictures
WORTH_A_POOL = 500  # pictures, from which on worker processes pay
HERE = Path(__file__).parent
Arrays = dict[str, np.ndarray]
# for `shortcut`: the background that goes with each class
HABITAT = dict(zip(CLASSES, ("soil", "petal", "bark", "sand", "leaf", "bark"), strict=True))


@lru_cache
def version() -> str:
    """A checksum of the code that draws: what it drew in another version is not used again."""
    names = (
        "exact.py",
        "shapes.py",
        "bodies.py",
        "anatomy.py",
        "render.py",
        "scenery.py",
        "picture.py",
        "blocks.py",
    )
    total = 0
    for name in names:
        total = zlib.crc32((HERE / name).read_bytes().replace(b"\r\n", b"\n"), total)
    return f"{total:08x}"


@dataclass(frozen=True)
class Block:
    """Which twenty pictures: of one class (or scenes of several), and how they are drawn."""

    seed: int
    split: str
    classes: tuple[str, ...]  # one, or those that a scene picks from
    number: int
    size: int = 96
    scene: bool = False
    shortcut: float = 0.0
    domain: str = "day"

    @property
    def name(self) -> str:
        kind = (
            "scene-" + "".join(str(CLASSES.index(c)) for c in self.classes)
            if self.scene
            else self.classes[0]
        )
        look = f"{self.size}-{self.domain}-{round(1000 * self.shortcut)}"
        return f"{look}-seed{self.seed}-{self.split}-{kind}-{self.number:04d}.npz"

    def pictures(self) -> list[Picture]:
        return [self._draw(i) for i in range(self.number * BLOCK, (self.number + 1) * BLOCK)]

    def _draw(self, i: int) -> Picture:
        split = SPLITS.index(self.split)
        if self.scene:
            rng = Rng(self.seed, 3 + split, i, 99)
            kinds = [CLASSES.index(rng.pick(self.classes)) for _ in range(2 + rng.below(3))]
            return render(kinds, (self.seed, 3 + split, i), self.size, domain=self.domain)
        label = CLASSES.index(self.classes[0])
        index = i * len(CLASSES) + label  # a class looks the same whichever others are loaded
        forced = Rng(self.seed, split, index, 98).chance(self.shortcut)
        ground = HABITAT[self.classes[0]] if forced else None
        return render(
            label, (self.seed, split, index), self.size, background=ground, domain=self.domain
        )

    def arrays(self) -> Arrays:
        """The pictures as arrays, those of boxes with a row (picture, class, left, top, right, bottom) each."""
        done = self.pictures()
        rows = [
            (i, c, *box)
            for i, p in enumerate(done)
            for c, box in zip(p.labels, p.boxes, strict=True)
        ]
        return {
            "images": np.stack([p.image for p in done]),
            "parts": np.stack([p.parts for p in done]),
            "owners": np.stack([p.owner for p in done]),
            "backgrounds": np.array([BACKGROUNDS.index(p.background) for p in done], np.uint8),
            "sentences": np.array([p.sentence for p in done]),
            "boxes": np.array(rows, np.int32).reshape(-1, 6),
        }


def load(path: Path, size: int) -> Arrays | None:
    """A block of pictures of that size from disk; None if it is not there, not whole, or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays if _is_a_block(arrays, size) else None
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def _is_a_block(arrays: Arrays, size: int) -> bool:
    """Whether these are the arrays that `Block.arrays` makes: their names, shapes, types and ranges."""
    forms = {
        "images": ((BLOCK, size, size, 3), np.uint8),
        "parts": ((BLOCK, size, size), np.uint8),
        "owners": ((BLOCK, size, size), np.uint8),
        "backgrounds": ((BLOCK,), np.uint8),
        "boxes": ((len(arrays["boxes"]), 6), np.int32),
    }
    right = all(
        arrays[n].shape == shape and arrays[n].dtype == t for n, (shape, t) in forms.items()
    )
    sentences = arrays["sentences"]
    return bool(
        right
        and sentences.shape == (BLOCK,)
        and sentences.dtype.kind == "U"
        and arrays["backgrounds"].max() < len(BACKGROUNDS)
        and np.isin(arrays["boxes"][:, 0], range(BLOCK)).all()
        and np.isin(arrays["boxes"][:, 1], range(len(CLASSES))).all()
    )


def save(path: Path, arrays: Arrays) -> None:
    """Write beside, then rename; a folder that cannot be written to costs only the next rendering."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def gather(
    blocks: Sequence[Block], folder: Path, tick: Callable[[int], Any] | None = None
) -> list[Arrays]:
    """The arrays of each block: read from `folder`, or drawn and kept there.

    `tick` is called with the number of pictures just drawn. Many blocks are drawn by several processes.
    """
    home = folder / f"insects-{version()}"
    missing = [block for block in blocks if not (home / block.name).is_file()]
    if len(missing) * BLOCK > WORTH_A_POOL and (os.cpu_count() or 1) > 1:
        _pool(missing, home, tick)
    done = []
    for block in blocks:
        path = home / block.name
        arrays = load(path, block.size)
        if arrays is None:
            arrays = block.arrays()
            save(path, arrays)
            if tick:
                tick(BLOCK)
        done.append(arrays)
    return done


# Workers import the renderer without the package around it: torch alone would take seconds.
WORKER = """
import sys, types
for name, path in zip(("ftcourse", "ftcourse.data", "ftcourse.data.insects"), sys.argv[1:4]):
    module = types.ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module
from ftcourse.data.insects.blocks import work
work(sys.argv[4])
"""


def _pool(blocks: Sequence[Block], home: Path, tick: Callable[[int], Any] | None) -> None:
    """Draw blocks in worker processes. What they leave undone, the caller draws itself.

    Plain processes instead of multiprocessing: they need no `if __name__ == "__main__"` in the learner's script.
    """
    count = min(os.cpu_count() or 1, 8, len(blocks))
    folders = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]
    workers = []
    try:
        for k in range(count):
            command = [sys.executable, "-c", WORKER, *folders, str(home)]
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            workers.append(worker)
            assert worker.stdin is not None
            worker.stdin.write(json.dumps([asdict(block) for block in blocks[k::count]]))
            worker.stdin.close()
        seen: set[str] = set()
        running = True
        while running:
            running = any(worker.poll() is None for worker in workers)
            fresh = [b.name for b in blocks if b.name not in seen and (home / b.name).is_file()]
            seen.update(fresh)
            if tick and fresh:
                tick(BLOCK * len(fresh))
            time.sleep(0.1 if running else 0)
    except OSError:
        pass  # no processes here (some sandboxes): the caller draws
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
            worker.wait()


def work(home: str, lines: Iterable[str] | None = None) -> None:
    """What a worker does: draw the blocks that it is told of on its standard input."""
    for settings in json.loads("".join(sys.stdin if lines is None else lines)):
        block = Block(**{**settings, "classes": tuple(settings["classes"])})
        if not (Path(home) / block.name).is_file():
            save(Path(home) / block.name, block.arrays())
