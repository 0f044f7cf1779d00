"""What an animal is made of: balls, limbs and wings, each with a skin. Lengths are in body lengths.

The frame of an animal: x forward, y to its left, z up; the ground is z = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ftcourse.data.insects.exact import Rng, cos, sin, smooth

__all__ = ["PARTS", "Animal", "Ball", "Limb", "Skin", "Wing", "leg", "outline", "rounded"]

Array = np.ndarray
Colour = tuple[float, float, float]
Point = tuple[float, float, float]
Pattern = Callable[[Array, Array, Array], Array]

PARTS = ("background", "head", "thorax", "abdomen", "legs", "antennae", "wings")


@dataclass
class Skin:
    """How a surface looks.

    `base` and `mark` are linear RGB from 0 to 1; `pattern` takes coordinates on the unit sphere (or on a
    wing: along, across, distance to the nearest vein) and tells how much of `mark` shows there, 0 to 1.
    `hairs` is how many strands grow on a ball, `hair_length` in body lengths.
    """

    base: Colour
    mark: Colour = (0.0, 0.0, 0.0)
    pattern: Pattern | None = None
    gloss: float = 0.3
    mottle: float = 0.25
    bump: float = 0.0
    sheen: Colour | None = None
    hairs: int = 0
    hair_length: float = 0.05
    hair: Colour | None = None


@dataclass
class Ball:
    """An ellipsoid; what lies below `cut` (in its own unit coordinates) is missing."""

    at: Point
    axes: Point
    skin: Skin
    part: int
    yaw: float = 0.0
    pitch: float = 0.0
    cut: float = -2.0


@dataclass
class Limb:
    """A tapered rod from `a` to `b` with radii `ra` and `rb`."""

    a: Point
    b: Point
    ra: float
    rb: float
    skin: Skin
    part: int


@dataclass
class Wing:
    """A flat sheet: `root + u span + v chord` for u from 0 to 1 and v between two edges.

    `lower` and `upper` are tables of v over u (33 values). `opacity` is that of the membrane; veins lie at the
    shares `veins` of the width.
    """

    root: Point
    span: Point
    chord: Point
    lower: Array
    upper: Array
    skin: Skin
    opacity: float = 1.0
    veins: tuple[float, ...] = ()
    vein_width: float = 0.012
    part: int = PARTS.index("wings")


@dataclass
class Animal:
    """A posed animal: its shapes, and words for the sentence about it."""

    kind: str
    words: str
    balls: list[Ball] = field(default_factory=list)
    limbs: list[Limb] = field(default_factory=list)
    wings: list[Wing] = field(default_factory=list)
    extent: float = 1.0  # how far the bulk reaches, in body lengths: for its size in the picture


def outline(*values: float) -> Array:
    """A smooth table of 33 values through equally spaced control values."""
    points = [values[0], *values, values[-1]]
    n, out = len(values) - 1, []
    for i in range(33):
        k = min(i * n // 32, n - 1)
        t = i * n / 32 - k
        a, b, c, d = points[k : k + 4]
        bend = (2 * a - 5 * b + 4 * c - d) + (3 * b - 3 * c + d - a) * t
        out.append(b + 0.5 * t * ((c - a) + t * bend))
    return np.array(out, np.float32)


def rounded(lower: Array, upper: Array) -> tuple[Array, Array]:
    """The two edges of a wing, closed at its end by an arc."""
    u = np.arange(33, dtype=np.float32) * np.float32(1 / 32)
    t = np.clip((u - 0.72) * (1 / 0.28), 0.0, 1.0)
    share = np.sqrt(np.maximum(1.0 - t * t, 0.0))
    middle = (lower + upper) * 0.5
    return middle + (lower - middle) * share, middle + (upper - middle) * share


def leg(
    hip: Point, foot: Point, femur: float, tibia: float, tarsus: float, thick: float, skin: Skin
) -> list[Limb]:
    """Three jointed segments from hip to foot, the knee above the line between hip and ankle."""
    part = PARTS.index("legs")
    away = (foot[0] - hip[0], foot[1] - hip[1])
    flat = max(float(np.sqrt(away[0] * away[0] + away[1] * away[1])), 1e-6)
    out = (away[0] / flat, away[1] / flat)
    reach = flat - 0.85 * tarsus  # the tarsus lies nearly flat, beyond the ankle
    rise = hip[2] - (foot[2] + 0.35 * tarsus)
    length = float(np.sqrt(reach * reach + rise * rise))
    limit = 0.98 * (femur + tibia)
    if length > limit:
        reach, rise, length = reach * limit / length, rise * limit / length, limit
    length = max(length, 1.02 * abs(femur - tibia), 1e-6)
    along = (femur * femur - tibia * tibia + length * length) / (2 * length)
    high = float(np.sqrt(max(femur * femur - along * along, 0.0)))
    er, ez = reach / length, -rise / length  # from hip to ankle, in the leg's upright plane
    kr, kz = along * er - high * ez, along * ez + high * er
    knee = (hip[0] + out[0] * kr, hip[1] + out[1] * kr, max(hip[2] + kz, foot[2] + 0.02))
    ankle = (hip[0] + out[0] * reach, hip[1] + out[1] * reach, max(hip[2] - rise, foot[2] + 0.01))
    toe = (ankle[0] + out[0] * 0.85 * tarsus, ankle[1] + out[1] * 0.85 * tarsus, foot[2] + 0.008)
    return [
        Limb(hip, knee, thick * 1.25, thick, skin, part),
        Limb(knee, ankle, thick, thick * 0.6, skin, part),
        Limb(ankle, toe, thick * 0.5, thick * 0.35, skin, part),
    ]


def direction(sweep: float, rise: float, side: int) -> tuple[Point, Point]:
    """Unit vectors along and across a wing swept forward by `sweep` and lifted by `rise` (radians)."""
    s, c, up, level = sin(sweep), cos(sweep), sin(rise), cos(rise)
    return (s, side * c * level, c * up), (c, -side * s * level, -s * up)


def bands(count: float, share: float, soft: float, phase: float, tilt: float = 0.0) -> Pattern:
    """Rings across the body: `count` a half length, each `share` of the period wide."""

    def pattern(x: Array, y: Array, z: Array) -> Array:
        t = x * count + phase + y * y * tilt
        t = t - np.floor(t)
        return smooth(share + soft, share - soft, np.abs(t * 2.0 - 1.0))

    return pattern


def spots(where: list[tuple[float, float, float]], mirror: bool = True) -> Pattern:
    """Round spots (x, y, radius) seen from above, each also on the other side."""

    def pattern(x: Array, y: Array, z: Array) -> Array:
        side = np.abs(y) if mirror else y
        total = np.zeros_like(x)
        for sx, sy, radius in where:
            dx, dy = x - sx, side - sy
            far = dx * dx + dy * dy
            edge = radius * radius
            total = np.maximum(total, smooth(1.25 * edge, 0.8 * edge, far))
        return total

    return pattern


def grooves(lines: float, seam: float = 0.035, depth: float = 0.5) -> Pattern:
    """The seam between two wing cases, and fine lines along them."""

    def pattern(x: Array, y: Array, z: Array) -> Array:
        side = np.abs(y)
        t = side * lines
        t = np.abs((t - np.floor(t)) * 2.0 - 1.0)
        fine = smooth(0.55, 0.95, t) * depth
        return np.maximum(fine, smooth(seam, seam * 0.4, side))

    return pattern


def either(*patterns: Pattern) -> Pattern:
    """Marked where any of the patterns is."""

    def pattern(x: Array, y: Array, z: Array) -> Array:
        total = patterns[0](x, y, z)
        for other in patterns[1:]:
            total = np.maximum(total, other(x, y, z))
        return total

    return pattern


def vary(rng: Rng, colour: Colour, spread: float = 0.12) -> Colour:
    """A display colour (0 to 1) to linear light, slightly brighter or darker and shifted."""
    level, pale = rng.near(1.0, 2 * spread), rng(0.05, 0.3)  # nothing alive is as pure as paint
    r, g, b = (min(c * rng.near(1.0, spread), 1.0) for c in colour)
    r, g, b = r * r * level, g * g * level, b * b * level
    grey = 0.3 * r + 0.55 * g + 0.15 * b
    return (r + (grey - r) * pale, g + (grey - g) * pale, b + (grey - b) * pale)
