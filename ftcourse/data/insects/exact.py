"""Arithmetic that gives the same bits on every platform: the ground the renderer stands on.

An image must be a function of its seed alone, so nothing here depends on a maths library, on the
width of vector units or on the order of a sum. IEEE rounds `+ - * /` and `sqrt` the same everywhere;
`sin`, `exp` and `pow` it does not, so they are not used. Matrix products are taken of whole numbers
small enough to be exact in float64, in whatever order they are summed. Random numbers are the raw
integers of PCG64, whose stream NumPy guarantees (its distributions it does not).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

__all__ = ["Rng", "blur", "cos", "jpeg", "mat", "noise", "rotation", "sin", "smooth", "soften"]

T = TypeVar("T")
Array = np.ndarray
PI = 3.141592653589793


class Rng:
    """Random numbers by a key of whole numbers. `child(k)` starts a stream of its own."""

    def __init__(self, *key: int) -> None:
        self.key = key
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))
        self._store: list[int] = []

    def child(self, *key: int) -> Rng:
        return Rng(*self.key, *key)

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from `low` to `high`."""
        if not self._store:
            self._store = self._bits.random_raw(64)[::-1].tolist()
        return low + (high - low) * ((self._store.pop() >> 11) * 2.0**-53)

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        return int(self() * n)

    def chance(self, p: float) -> bool:
        return self() < p

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        if weights is None:
            return options[self.below(len(options))]
        x = self() * sum(weights)
        for option, weight in zip(options, weights, strict=True):
            x -= weight
            if x < 0:
                return option
        return options[-1]

    def near(self, value: float, spread: float) -> float:
        """`value` times something between 1 - spread and 1 + spread."""
        return value * self(1 - spread, 1 + spread)

    def array(self, *shape: int) -> Array:
        """float32 numbers from 0 to 1."""
        n = 1
        for side in shape:
            n *= side
        raw = self._bits.random_raw((n + 1) // 2)
        both = np.stack([raw >> np.uint64(40), raw & np.uint64(0xFFFFFF)], 1)
        return (both.astype(np.float32) * 2.0**-24).ravel()[:n].reshape(shape)

    def bell(self, *shape: int) -> Array:
        """float32 numbers, nearly normal (mean 0, deviation 1): sums of four bytes."""
        n = 1
        for side in shape:
            n *= side
        raw = self._bits.random_raw((n + 1) // 2)
        total = np.zeros((2, len(raw)), np.int32)
        for k in range(8):
            total[k % 2] += ((raw >> np.uint64(8 * k)) & np.uint64(255)).astype(np.int32)
        # four bytes: mean 4 x 127.5, variance 4 x (256^2 - 1) / 12
        return ((total.ravel()[:n] - 510).astype(np.float32) * (1 / 147.8)).reshape(shape)


def _sine(x: float) -> float:
    """sin(x) for x from -pi/2 to pi/2, by its series; the error is below 1e-9."""
    q = x * x
    series = q * (1 / 362880 - q * (1 / 39916800 - q / 6227020800))
    return x * (1 - q * (1 / 6 - q * (1 / 120 - q * (1 / 5040 - series))))


def sin(x: float) -> float:
    """Sine of an angle in radians, with the same bits everywhere."""
    x = x - 2 * PI * ((x / (2 * PI) + 0.5) // 1)
    if x > PI / 2:
        x = PI - x
    elif x < -PI / 2:
        x = -PI - x
    return _sine(x)


def cos(x: float) -> float:
    """Cosine of an angle in radians, with the same bits everywhere."""
    return sin(x + PI / 2)


def mat(a: Array, b: Array) -> Array:
    """The product of (n, 3) and (3, m) without a library that may fuse or reorder its sums."""
    return a[:, 0:1] * b[0] + a[:, 1:2] * b[1] + a[:, 2:3] * b[2]


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """Columns: where forward, left and up go. Yaw turns left, pitch lifts the front, roll the left."""
    cy, sy, cp, sp, cr, sr = cos(yaw), sin(yaw), cos(pitch), sin(pitch), cos(roll), sin(roll)
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    lift = np.array([[cp, 0.0, -sp], [0.0, 1.0, 0.0], [sp, 0.0, cp]])
    lean = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    return mat(turn, mat(lift, lean))


def smooth(low: float, high: float, x: Any) -> Any:
    """0 below `low`, 1 above `high`, smooth between (with low > high: the other way round)."""
    t = np.clip((x - low) * (1.0 / (high - low)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


LATTICE = 64


def noise(lattice: Array, x: Array, y: Array, octaves: int = 1, gain: float = 0.5) -> Array:
    """Value noise from 0 to 1 at float32 coordinates; one lattice cell is one unit of x and y.

    `lattice` is float32 (64, 64) of random numbers and repeats. Each further octave is twice as fine
    and `gain` times as strong.
    """
    flat = lattice.ravel()
    total: Array | float = 0.0
    weight, weights = 1.0, 0.0
    for octave in range(octaves):
        fx, fy = np.floor(x), np.floor(y)
        tx, ty = x - fx, y - fy
        ix = (fx.astype(np.int32) + 17 * octave) & (LATTICE - 1)
        iy = (fy.astype(np.int32) + 29 * octave) & (LATTICE - 1)
        jx, jy = (ix + 1) & (LATTICE - 1), ((iy + 1) & (LATTICE - 1)) * LATTICE
        iy = iy * LATTICE
        tx, ty = tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty)
        a, b, c, d = flat[iy + ix], flat[iy + jx], flat[jy + ix], flat[jy + jx]
        a = a + (b - a) * tx
        c = c + (d - c) * tx
        total = total + (a + (c - a) * ty) * weight
        weights += weight
        weight *= gain
        if octave + 1 < octaves:
            x, y = x * 2.0, y * 2.0
    return total * (1.0 / weights)  # type: ignore[return-value]


def _pass(x: Array, axis: int) -> Array:
    """One [1 2 1] / 4 filter along an axis, edges repeated."""
    x = np.moveaxis(x, axis, 0)
    out = x * 0.5
    out[1:] += x[:-1] * 0.25
    out[:1] += x[:1] * 0.25
    out[:-1] += x[1:] * 0.25
    out[-1:] += x[-1:] * 0.25
    return np.moveaxis(out, 0, axis)


def blur(x: Array, radius: float) -> Array:
    """Soften float32 (H, W) or (H, W, C) by a bell of this deviation in pixels.

    Large radii work on a picture shrunk by two, as each [1 2 1] / 4 adds only half a pixel squared.
    """
    if radius < 0.25:
        return x
    h, w = x.shape[:2]
    if radius > 1.6 and min(h, w) >= 8:
        tall, wide = h + h % 2, w + w % 2
        if (tall, wide) != (h, w):
            pad = [(0, tall - h), (0, wide - w)] + [(0, 0)] * (x.ndim - 2)
            x = np.pad(x, pad, mode="edge")
        small = (x[::2] + x[1::2]) * 0.5
        small = (small[:, ::2] + small[:, 1::2]) * 0.5
        return _double(blur(small, radius * 0.5 - 0.1))[:h, :w]
    rounds = 2 * radius * radius
    whole = int(rounds)
    for _ in range(whole):
        x = _pass(_pass(x, 0), 1)
    if rounds - whole > 0.1:
        x = x + (_pass(_pass(x, 0), 1) - x) * (rounds - whole)
    return x


def _double(x: Array) -> Array:
    """Twice as large, by linear interpolation."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        out = np.empty((2 * len(x), *x.shape[1:]), x.dtype)
        out[::2] = x * 0.75
        out[1::2] = x * 0.75
        out[2::2] += x[:-1] * 0.25
        out[:1] += x[:1] * 0.25
        out[1:-1:2] += x[1:] * 0.25
        out[-1:] += x[-1:] * 0.25
        x = np.moveaxis(out, 0, axis)
    return x


def soften(x: Array, amount: Array, radius: float) -> Array:
    """Blur (H, W, C) by up to `radius` pixels where `amount` (H, W) is 1, not at all where it is 0."""
    soft, softer = blur(x, 0.45 * radius), blur(x, radius)
    first = np.clip(amount * 2.0, 0.0, 1.0)[..., None]
    second = np.clip(amount * 2.0 - 1.0, 0.0, 1.0)[..., None]
    x = x + (soft - x) * first
    return x + (softer - x) * second


# --- JPEG traces ---------------------------------------------------------------------------------

# Annex K of the JPEG standard (ITU-T T.81): how coarsely each frequency is kept at quality 50.
LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""


@lru_cache
def _cosines() -> Array:
    """The 8 x 8 cosine transform times 2^10, rounded to whole numbers, as float64."""
    rows = [[cos((2 * n + 1) * k * PI / 16) / 2 for n in range(8)] for k in range(8)]
    table = np.array(rows)
    table[0] *= 0.7071067811865476
    return np.floor(table * 1024 + 0.5)


@lru_cache
def _steps(quality: int) -> Array:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    tables = np.array([[int(v) for v in t.split()] for t in (LUMA, CHROMA, CHROMA)])
    return np.clip((tables * scale + 50) // 100, 1, 255).reshape(3, 1, 1, 8, 8).astype(np.float64)


def jpeg(image: Array, quality: int) -> Array:
    """What a JPEG of this quality leaves of a uint8 image (H, W, 3): 8 x 8 blocks, rounded waves.

    Chroma keeps its full resolution (4:4:4). Products are of whole numbers below 2^53: exact.
    """
    h, w = image.shape[:2]
    x = np.pad(image, [(0, -h % 8), (0, -w % 8), (0, 0)], mode="edge").astype(np.float64)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    luma = np.floor((r * 19595 + g * 38470 + b * 7471) * 2.0**-16 + 0.5)
    cb = np.floor((b - luma) * 36984 * 2.0**-16 + 0.5)
    cr = np.floor((r - luma) * 46740 * 2.0**-16 + 0.5)
    planes = np.stack([luma - 128, cb, cr])
    blocks = planes.reshape(3, len(x) // 8, 8, x.shape[1] // 8, 8).swapaxes(2, 3)
    table, steps = _cosines(), _steps(quality)
    waves = (table @ (blocks @ table.T)) * 2.0**-20
    waves = np.floor(waves / steps + 0.5) * steps
    blocks = np.floor((table.T @ (waves @ table)) * 2.0**-20 + 0.5)
    y, cb, cr = blocks.swapaxes(2, 3).reshape(planes.shape)
    y = y + 128
    red, blue = y + cr * 1.402, y + cb * 1.772
    green = y - cb * 0.344136 - cr * 0.714136
    out = np.floor(np.clip(np.stack([red, green, blue], -1), 0, 255) + 0.5)
    return out[:h, :w].astype(np.uint8)
