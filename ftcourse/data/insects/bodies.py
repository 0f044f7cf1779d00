"""What several classes have in common: colours, legs in their gait, antennae, clear wings."""

from __future__ import annotations

from ftcourse.data.insects.exact import PI, Rng, cos, sin
from ftcourse.data.insects.shapes import (
    PARTS,
    Colour,
    Limb,
    Point,
    Skin,
    Wing,
    direction,
    leg,
    outline,
    rounded,
    vary,
)

__all__ = ["COLOURS", "clear_wings", "feelers", "ringed", "spread_legs"]

HEAD, THORAX, ABDOMEN, LEGS, ANTENNAE, WINGS = range(1, 7)
assert PARTS[WINGS] == "wings"

COLOURS: dict[str, Colour] = {  # as displayed, 0 to 1
    "black": (0.13, 0.12, 0.12),
    "dark brown": (0.27, 0.17, 0.11),
    "reddish brown": (0.46, 0.22, 0.12),
    "amber": (0.72, 0.44, 0.16),
    "yellow": (0.85, 0.66, 0.17),
    "orange": (0.85, 0.42, 0.12),
    "red": (0.70, 0.15, 0.10),
    "cream": (0.84, 0.78, 0.62),
    "grey": (0.47, 0.44, 0.41),
    "metallic green": (0.12, 0.42, 0.22),
    "metallic blue": (0.13, 0.24, 0.48),
    "white": (0.90, 0.88, 0.83),
}


def spread_legs(
    rng: Rng,
    hips: list[Point],
    angles: list[float],
    reach: list[float],
    lengths: tuple[float, float, float],
    thick: float,
    skin: Skin,
    ground: float = 0.0,
) -> list[Limb]:
    """Legs on both sides; `angles` in degrees from straight ahead. Feet swing in a tripod gait."""
    limbs: list[Limb] = []
    stride = rng(0.0, 16.0)
    for k, (hip, angle, far) in enumerate(zip(hips, angles, reach, strict=True)):
        for side in (1, -1):
            swing = stride if (k + (side > 0)) % 2 else -stride
            turn = (angle + swing + rng(-9, 9)) * PI / 180
            length = far * rng.near(1, 0.1)
            foot = (hip[0] + length * cos(turn), side * (hip[1] + length * sin(turn)), ground)
            start = (hip[0], side * hip[1], hip[2])
            grow = far / max(reach[0], 1e-6)
            femur, tibia, tarsus = (v * (0.75 + 0.25 * grow) for v in lengths)
            limbs += leg(start, foot, femur, tibia, tarsus, thick, skin)
    return limbs


def feelers(
    rng: Rng,
    at: Point,
    scape: float,
    rest: float,
    thick: float,
    skin: Skin,
    club: float = 1.0,
    curve: float = 0.5,
    out: float = 0.9,
    lift: float = 0.25,
) -> list[Limb]:
    """Two antennae: a first segment outwards, then a curved row of three; `club` thickens the end."""
    limbs = []
    for side in (1, -1):
        angle, rise = out * rng.near(1, 0.25), lift * rng(0.3, 1.6)
        bend = curve * rng.near(1, 0.4)
        x, y, z = at[0], at[1], at[2]
        steps = [(scape, angle)] + [(rest / 3, angle - bend * (0.75 + 0.5 * k)) for k in range(3)]
        for k, (length, turn) in enumerate(steps):
            if length <= 0:
                continue
            level = cos(rise)
            end = (
                x + length * cos(turn) * level,
                y + length * sin(turn) * level,
                z + length * sin(rise),
            )
            tip = thick * (club if k == 3 else 1.0)
            a, b = (x, side * y, z), (end[0], side * end[1], end[2])
            limbs.append(
                Limb(a, b, thick if k < 3 else thick * (1 + club) / 2, tip, skin, ANTENNAE)
            )
            x, y, z = end
            rise -= 0.15
    return limbs


def clear_wings(
    rng: Rng, at: Point, length: float, sweep: float, rise: float, tint: Colour
) -> list[Wing]:
    """Two pairs of clear wings with veins, as ants and bees have them; `sweep` in radians forward."""
    wings = []
    opacity, veins = rng(0.16, 0.34), vary(rng, COLOURS["dark brown"])
    for side in (1, -1):
        open_ = sweep + rng(-0.08, 0.08)
        for fore in (False, True):
            skin = Skin(tint, veins, gloss=0.8, mottle=0.1)
            long = length if fore else 0.68 * length
            along, across = direction(
                open_ - (0 if fore else 0.32), rise - (0 if fore else 0.04), side
            )
            root = (at[0] - (0 if fore else 0.05), side * at[1], at[2] + (0.01 if fore else 0))
            if fore:
                upper = outline(0.03, 0.07, 0.09, 0.085, 0.0)
                lower = outline(-0.03, -0.11, -0.2, -0.21, -0.04)
            else:
                upper = outline(0.02, 0.06, 0.08, 0.06, 0.0)
                lower = outline(-0.02, -0.14, -0.2, -0.17, -0.03)
            lower, upper = rounded(lower, upper)
            wings.append(
                Wing(
                    root,
                    tuple(long * v for v in along),  # type: ignore[arg-type]
                    tuple(long * v for v in across),  # type: ignore[arg-type]
                    lower,
                    upper,
                    skin,
                    opacity,
                    (0.97, 0.78, 0.55, 0.3, 0.12) if fore else (0.95, 0.6, 0.3),
                    0.011,
                )
            )
    return wings


def ringed(limbs: list[Limb], skin: Skin) -> list[Limb]:
    """Each leg segment with a ring of another colour at its far end."""
    out = []
    for limb in limbs:
        out.append(limb)
        if limb.part == LEGS:
            start = tuple(p + 0.68 * (q - p) for p, q in zip(limb.a, limb.b, strict=True))
            width = limb.ra + 0.68 * (limb.rb - limb.ra)
            out.append(Limb(start, limb.b, width * 1.06, limb.rb * 1.06, skin, LEGS))  # type: ignore[arg-type]
    return out
