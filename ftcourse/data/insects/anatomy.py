"""The six classes as animals: segments, joints, antennae, wings and colours, drawn at random within the class.

Fine-grained on purpose: the classes share their colours; some ants have wings, some bees none that show, some
beetles are red and spotted, some ladybirds black, some spiders short-legged and furry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ftcourse.data.insects.bodies import (
    ABDOMEN,
    COLOURS,
    HEAD,
    LEGS,
    THORAX,
    WINGS,
    clear_wings,
    feelers,
    ringed,
    spread_legs,
)
from ftcourse.data.insects.exact import Rng, smooth
from ftcourse.data.insects.shapes import (
    Animal,
    Array,
    Ball,
    Colour,
    Limb,
    Pattern,
    Skin,
    Wing,
    bands,
    direction,
    either,
    grooves,
    outline,
    rounded,
    spots,
    vary,
)

__all__ = ["CLASSES", "make"]


def _ant(rng: Rng, top: bool) -> Animal:
    name = rng.pick(["black", "dark brown", "reddish brown", "amber"], [4, 3, 3, 1.5])
    shell = vary(rng, COLOURS[name])
    other = vary(rng, COLOURS["black" if rng.chance(0.7) else "reddish brown"])
    two = rng.chance(0.35)
    gloss = rng(0.25, 0.9)
    skin = Skin(shell, gloss=gloss, mottle=0.25, bump=0.15)
    ring = bands(rng(1.8, 2.6), 0.12, 0.1, rng())
    gold = vary(rng, COLOURS["amber"] if rng.chance(0.5) else COLOURS["grey"])
    back = Skin(
        other if two else shell,
        gold,
        ring if rng.chance(0.6) else None,
        gloss=gloss,
        hairs=30 + rng.below(120),
        hair_length=0.03,
        hair=gold,
    )
    limb = Skin(tuple(0.5 * c + 0.5 * d for c, d in zip(shell, other, strict=True)), gloss=0.4)  # type: ignore[arg-type]
    fat = rng(0.85, 1.25)
    z = rng(0.15, 0.24)
    nod, curl = rng(-0.35, 0.15), rng(-0.1, 0.35)
    big = rng.near(1.05, 0.15)
    animal = Animal("ants", f"{name} ant" + (" with a dark abdomen" if two else ""), extent=1.1)
    hx, hz = 0.37, z + 0.03
    animal.balls = [
        Ball((hx, 0, hz), (0.125 * big, 0.115 * big, 0.085 * big), skin, HEAD, pitch=nod),
        Ball(
            (hx + 0.06 * big, 0, hz - 0.01),
            (0.075 * big, 0.085 * big, 0.06 * big),
            skin,
            HEAD,
            pitch=nod,
        ),
        Ball((0.17, 0, z + 0.02), (0.105, 0.085 * fat, 0.08), skin, THORAX, pitch=0.15),
        Ball((0.06, 0, z + 0.015), (0.1, 0.068 * fat, 0.07), skin, THORAX),
        Ball((-0.05, 0, z), (0.095, 0.066 * fat, 0.072), skin, THORAX, pitch=-0.15),
        Ball((-0.165, 0, z + 0.005), (0.032, 0.042, 0.065), skin, ABDOMEN),
        Ball(
            (-0.34, 0, z + 0.01 - 0.1 * curl),
            (0.165, 0.125 * fat, 0.115 * fat),
            back,
            ABDOMEN,
            pitch=curl,
        ),
    ]
    if rng.chance(0.4):
        animal.balls.append(Ball((-0.21, 0, z), (0.03, 0.042, 0.055), skin, ABDOMEN))
    eye = Skin((0.01, 0.01, 0.01), gloss=1.0, mottle=0)
    for side in (1, -1):
        animal.balls.append(
            Ball((hx + 0.02, side * 0.1 * big, hz + 0.03), (0.026, 0.02, 0.026), eye, HEAD)
        )
        tip = (hx + rng(0.15, 0.2), side * rng(0.005, 0.05), hz - 0.03)
        animal.limbs.append(
            Limb((hx + 0.11, side * 0.055, hz - 0.02), tip, 0.025, 0.01, skin, HEAD)
        )
    hips = [(0.17, 0.05, z - 0.04), (0.07, 0.05, z - 0.04), (-0.03, 0.05, z - 0.04)]
    animal.limbs += spread_legs(
        rng, hips, [45, 92, 140], [0.46, 0.46, 0.58], (0.27, 0.27, 0.16), rng(0.016, 0.023), limb
    )
    animal.limbs += feelers(
        rng,
        (hx + 0.09, 0.05, hz + 0.03),
        rng(0.17, 0.22),
        rng(0.25, 0.34),
        0.0125,
        limb,
        club=1.15,
        curve=0.75,
        out=1.15,
        lift=0.2,
    )
    if rng.chance(0.15):
        animal.words += " with wings"
        tint = vary(rng, COLOURS["grey"])
        open_ = rng(-1.5, -1.25) if rng.chance(0.7) else rng(-1.0, -0.2)
        animal.wings = clear_wings(
            rng, (0.1, 0.05, z + 0.1), rng(0.75, 1.0), open_, rng(0, 0.25), tint
        )
    return animal


BEES: list[tuple[str, str, str, str, int]] = [  # name, abdomen, bands, fur, hairs
    ("honey-coloured", "amber", "black", "amber", 900),
    ("black and yellow", "black", "yellow", "yellow", 1500),
    ("dark", "black", "cream", "grey", 700),
    ("rust-coloured", "reddish brown", "black", "orange", 1300),
    ("black", "black", "black", "black", 700),
    ("metallic green", "metallic green", "black", "cream", 500),
    ("dark brown", "dark brown", "amber", "amber", 900),
]


def _bee(rng: Rng, top: bool) -> Animal:
    name, body, stripe, fur, hairs = rng.pick(BEES, [4, 3, 2, 2, 1.5, 1, 3])
    shell, mark, hair = (vary(rng, COLOURS[c]) for c in (body, stripe, fur))
    dark = vary(rng, COLOURS["black"])
    gloss = rng(0.3, 0.8)
    ring = bands(rng(1.5, 2.4), rng(0.3, 0.5), 0.12, rng(), rng(-0.15, 0.15))
    fat = rng(0.85, 1.2)
    long = rng(0.24, 0.3)
    z = rng(0.2, 0.28)
    droop = rng(-0.1, 0.3)
    face = Skin(dark, gloss=0.4, hairs=hairs // 4, hair_length=0.035, hair=hair)
    under: Colour = tuple(0.45 * d + 0.4 * h for d, h in zip(dark, hair, strict=True))  # type: ignore[assignment]
    coat = Skin(under, gloss=0.05, hairs=hairs, hair_length=rng(0.035, 0.06), hair=hair)
    back = Skin(
        shell,
        mark,
        ring,
        gloss=gloss,
        hairs=int(hairs * rng(0.15, 0.8)),
        hair_length=0.03,
        mottle=0.2,
    )
    eye = Skin(
        vary(rng, COLOURS[rng.pick(["black", "dark brown", "reddish brown"])]),
        gloss=0.9,
        mottle=0.1,
    )
    limb = Skin(vary(rng, COLOURS[rng.pick(["black", "dark brown", "reddish brown"])]), gloss=0.4)
    animal = Animal("bees", f"{name} bee", extent=1.0)
    animal.balls = [
        Ball((0.37, 0, z - 0.01), (0.085, 0.135, 0.12), face, HEAD, pitch=-0.2),
        Ball((0.16, 0, z + 0.02), (0.165, 0.155 * fat, 0.15 * fat), coat, THORAX),
        Ball(
            (-0.05 - long + 0.02, 0, z - 0.01 - 0.12 * droop),
            (long, 0.165 * fat, 0.15 * fat),
            back,
            ABDOMEN,
            pitch=droop,
        ),
        Ball(
            (-0.05 - 1.55 * long, 0, z - 0.02 - 0.4 * droop * long),
            (0.5 * long, 0.09 * fat, 0.085 * fat),
            back,
            ABDOMEN,
            pitch=droop,
        ),
    ]
    for side in (1, -1):
        animal.balls.append(
            Ball((0.385, side * 0.105, z + 0.01), (0.062, 0.046, 0.095), eye, HEAD, yaw=-0.2 * side)
        )
    hips = [(0.24, 0.07, z - 0.1), (0.14, 0.08, z - 0.11), (0.04, 0.08, z - 0.1)]
    flying = rng.chance(0.12)
    reach = [0.2, 0.2, 0.24] if flying else [0.3, 0.3, 0.4]
    limbs = spread_legs(
        rng,
        hips,
        [40, 90, 145],
        reach,
        (0.19, 0.2, 0.14),
        rng(0.018, 0.026),
        limb,
        z - 0.26 if flying else 0.0,
    )
    animal.limbs = limbs
    if rng.chance(0.3):  # pollen in the baskets of the hind legs
        pollen = Skin(vary(rng, COLOURS["yellow"]), gloss=0.1, mottle=0.5, bump=0.4)
        for hind in (limbs[13], limbs[16]):
            middle = tuple(0.5 * (p + q) for p, q in zip(hind.a, hind.b, strict=True))
            animal.balls.append(Ball(middle, (0.055, 0.04, 0.06), pollen, LEGS))  # type: ignore[arg-type]
    animal.limbs += feelers(
        rng, (0.44, 0.045, z + 0.04), 0.1, 0.19, 0.0135, limb, curve=0.6, out=0.95, lift=0.2
    )
    open_ = rng.pick([rng(-1.45, -1.15), rng(-1.1, -0.5), rng(-0.4, 0.2)], [4, 3, 1.5])
    tint = vary(rng, COLOURS[rng.pick(["grey", "cream", "amber"])])
    animal.wings = clear_wings(
        rng, (0.15, 0.1, z + 0.13), rng(0.62, 0.78), open_, rng(-0.02, 0.4), tint
    )
    return animal


BEETLES = {
    "black": 4.0,
    "dark brown": 3.0,
    "reddish brown": 2.5,
    "metallic green": 2.0,
    "metallic blue": 1.5,
    "amber": 1.5,
    "red": 1.5,
    "orange": 1.0,
}


def _wing_cases(
    rng: Rng, name: str, shell: Colour, ink: Colour, gloss: float
) -> tuple[str, Skin, Skin]:
    """Words for a beetle, and the skins of its wing cases and of its front."""
    lines = grooves(rng(4, 9), depth=rng(0, 0.6))
    design = rng.pick(["plain", "bands", "spots"], [6, 1.3, 1])
    mark: Colour = tuple(0.25 * c for c in shell)  # type: ignore[assignment]
    pattern: Pattern = lines
    words = f"{name} beetle"
    if design == "bands":
        rings = bands(rng(0.8, 1.6), rng(0.3, 0.5), 0.08, rng(), rng(-0.3, 0.3))
        pattern, mark = either(rings, lines), ink
        words += " with bands"
    elif design == "spots":
        where = [(rng(-0.7, 0.6), rng(0.3, 0.62), rng(0.1, 0.24)) for _ in range(1 + rng.below(4))]
        pattern, mark = either(spots(where), lines), ink
        words += " with spots"
    sheen = None
    if name.startswith("metallic"):
        sheen = vary(rng, COLOURS[rng.pick(["metallic blue", "amber", "metallic green"])])
    case = Skin(shell, mark, pattern, gloss, 0.2, bump=rng(0.05, 0.35), sheen=sheen)
    front = shell
    if not rng.chance(0.6):
        front = ink if design != "plain" else vary(rng, COLOURS["black"])
    return words, case, Skin(front, gloss=gloss, bump=0.25, sheen=sheen)


def _beetle(rng: Rng, top: bool) -> Animal:
    name = rng.pick(list(BEETLES), list(BEETLES.values()))
    shell = vary(rng, COLOURS[name])
    pale = name in ("black", "dark brown")
    ink = vary(rng, COLOURS[rng.pick(["orange", "cream", "amber"]) if pale else "black"])
    gloss = rng(0.3, 1.0)
    wide, long = rng(0.16, 0.23), rng(0.33, 0.39)
    words, case, front = _wing_cases(rng, name, shell, ink, gloss)
    dark = Skin(vary(rng, COLOURS["black"]), gloss=0.5)
    limb = Skin(vary(rng, COLOURS[rng.pick(["black", "dark brown", "reddish brown"])]), gloss=0.5)
    z = rng(0.12, 0.18)
    high = rng(0.12, 0.18)
    neck = rng(0.55, 0.95)
    animal = Animal("beetles", words, extent=1.05)
    animal.balls = [
        Ball(
            (0.43, 0, z - 0.01),
            (0.085, 0.095, 0.075),
            front if rng.chance(0.5) else dark,
            HEAD,
            pitch=-0.15,
        ),
        Ball((0.28, 0, z), (0.13, wide * neck, 0.11), front, THORAX, cut=-0.5),
        Ball((-0.11, 0, z - 0.02), (long, wide, high + 0.02), case, WINGS, cut=-0.15),
        Ball((-0.11, 0, z - 0.02), (long * 0.93, wide * 0.92, 0.1), dark, ABDOMEN),
    ]
    for side in (1, -1):
        animal.balls.append(
            Ball(
                (0.45, side * 0.08, z + 0.02),
                (0.03, 0.024, 0.03),
                Skin((0.01, 0.01, 0.01), gloss=1),
                HEAD,
            )
        )
        animal.limbs.append(
            Limb(
                (0.49, side * 0.04, z - 0.03),
                (0.54, side * 0.02, z - 0.04),
                0.022,
                0.01,
                dark,
                HEAD,
            )
        )
    hips = [
        (0.24, 0.6 * wide, z - 0.06),
        (0.08, 0.7 * wide, z - 0.07),
        (-0.08, 0.7 * wide, z - 0.07),
    ]
    animal.limbs += spread_legs(
        rng, hips, [42, 95, 142], [0.36, 0.34, 0.44], (0.2, 0.21, 0.14), rng(0.016, 0.028), limb
    )
    style = rng.pick(["thread", "club", "long"], [4, 2, 2])
    rest = {"thread": rng(0.24, 0.36), "club": rng(0.14, 0.2), "long": rng(0.8, 1.3)}[style]
    curve = {"thread": 0.1, "club": 0.3, "long": -0.55}[style]
    animal.limbs += feelers(
        rng,
        (0.48, 0.05, z + 0.02),
        0.07,
        rest,
        0.013,
        limb,
        2.2 if style == "club" else 0.8,
        curve,
        0.75,
        0.25,
    )
    if style == "long":
        animal.words += " with long antennae"
    return animal


LADYBIRDS: list[tuple[str, str, str]] = [  # name, ground, spots
    ("red", "red", "black"),
    ("orange", "orange", "black"),
    ("yellow", "yellow", "black"),
    ("black", "black", "red"),
    ("brown", "reddish brown", "cream"),
    ("dark", "black", "orange"),
]


def _ladybird(rng: Rng, top: bool) -> Animal:
    name, ground, ink = rng.pick(LADYBIRDS, [4, 3, 1.5, 2, 1.5, 1.5])
    number = rng.pick([0, 1, 3, 5, 8], [1, 1.5, 3, 3, 1])
    where: list[tuple[float, float, float]] = []
    for _ in range(number * 6):
        if len(where) == number:
            break
        new = (rng(-0.75, 0.7), rng(0.1, 0.72), rng(0.11, 0.24 if number < 5 else 0.17))
        if new[0] * new[0] + new[1] * new[1] < 0.75 and all(
            (new[0] - x) * (new[0] - x) + (new[1] - y) * (new[1] - y) > (r + new[2]) * (r + new[2])
            for x, y, r in where
        ):
            where.append(new)
    shell, black = vary(rng, COLOURS[ground]), vary(rng, COLOURS["black"])
    seam = grooves(1.0, 0.028, 0.0)
    case = Skin(
        shell,
        vary(rng, COLOURS[ink]),
        either(spots(where), seam) if where else seam,
        rng(0.5, 1.0),
        0.15,
    )
    pale = vary(rng, COLOURS["cream"])
    cheeks = spots([(0.1, 0.72, rng(0.25, 0.45))])
    collar = Skin(black, pale, cheeks if rng.chance(0.75) else None, 0.7)
    face = Skin(black, pale, spots([(0.3, 0.5, 0.35)]) if rng.chance(0.6) else None, 0.6)
    limb = Skin(vary(rng, COLOURS[rng.pick(["black", "dark brown", "reddish brown"])]), gloss=0.5)
    z, wide, high = rng(0.08, 0.12), rng(0.3, 0.4), rng(0.26, 0.36)
    count = 2 * len(where)
    words = f"{name} ladybird" + (f" with {count} spots" if count else " without spots")
    animal = Animal("ladybirds", words, extent=0.95)
    animal.balls = [
        Ball((0.44, 0, z + 0.02), (0.075, 0.11, 0.08), face, HEAD, pitch=-0.3),
        Ball((0.33, 0, z + 0.01), (0.15, 0.68 * wide, 0.16), collar, THORAX, pitch=-0.2, cut=-0.4),
        Ball((-0.06, 0, z), (0.42, wide, high), case, WINGS, cut=-0.04),
        Ball((-0.06, 0, z), (0.38, wide * 0.9, 0.05), Skin(black), ABDOMEN),
    ]
    for side in (1, -1):
        animal.balls.append(
            Ball(
                (0.47, side * 0.095, z + 0.04),
                (0.03, 0.022, 0.03),
                Skin((0.01, 0.01, 0.01), gloss=1),
                HEAD,
            )
        )
    hips = [
        (0.24, 0.55 * wide, z - 0.02),
        (0.06, 0.6 * wide, z - 0.02),
        (-0.12, 0.6 * wide, z - 0.02),
    ]
    animal.limbs = spread_legs(
        rng, hips, [50, 92, 135], [0.3, 0.3, 0.34], (0.17, 0.15, 0.09), rng(0.016, 0.026), limb
    )
    animal.limbs += feelers(rng, (0.5, 0.05, z + 0.02), 0.04, 0.13, 0.012, limb, 1.9, 0.2, 0.9, 0.2)
    return animal


def _spider(rng: Rng, top: bool) -> Animal:
    name = rng.pick(
        [
            "dark brown",
            "grey",
            "black",
            "reddish brown",
            "amber",
            "yellow",
            "cream",
            "metallic green",
        ],
        [4, 3, 2.5, 2.5, 2, 1, 1, 0.6],
    )
    base = vary(rng, COLOURS[name])
    ink = vary(
        rng,
        COLOURS[
            "cream"
            if name in ("black", "dark brown")
            else rng.pick(["black", "dark brown", "white"])
        ],
    )
    kind = rng.pick(["round", "long", "furry"], [6, 1, 3])
    furry = kind == "furry"
    hairs = 800 + rng.below(700) if furry else rng.below(150)
    ring = bands(rng(1.2, 2.4), rng(0.2, 0.4), 0.15, rng(), rng(-0.5, 0.5))
    stripe = spots([(0.5 - 0.28 * k, rng(0, 0.3), rng(0.1, 0.22)) for k in range(2 + rng.below(4))])
    design = rng.pick([None, ring, stripe, either(ring, stripe)], [2, 2, 3, 1])
    back = Skin(base, ink, design, rng(0.1, 0.6), 0.45, 0.2, None, hairs, 0.028, None)
    front = Skin(
        vary(rng, COLOURS[name]),
        ink,
        spots([(0, 0.55, 0.2)]) if rng.chance(0.4) else None,
        0.35,
        0.3,
        hairs=hairs // 2,
        hair_length=0.028,
    )
    limb = Skin(base, ink, None, 0.35, 0.3)
    z = rng(0.14, 0.24)
    wide, long = {"round": (0.27, 0.3), "long": (0.16, 0.33), "furry": (0.2, 0.26)}[kind]
    wide, long = wide * rng.near(1, 0.15), long * rng.near(1, 0.1)
    chest = 0.16 if furry else rng(0.12, 0.16)
    animal = Animal("spiders", f"{name} spider" + (" covered in fur" if furry else ""))
    animal.balls = [
        Ball((0.2, 0, z), (0.19, chest, 0.1), front, THORAX, pitch=0.05),
        Ball((0.29, 0, z + 0.02), (0.1, chest * 0.75, 0.085), front, HEAD),
        Ball(
            (-0.02 - long * 0.85, 0, z + 0.04),
            (long, wide, wide * rng(0.8, 1.0)),
            back,
            ABDOMEN,
            pitch=rng(-0.1, 0.25),
        ),
    ]
    eye = Skin((0.01, 0.01, 0.012), gloss=1.3, mottle=0)
    size = rng(0.024, 0.034) if furry else rng(0.013, 0.018)
    for side in (1, -1):
        for x, y, dz in ((0.375, 0.03, 0.05), (0.355, 0.075, 0.05), (0.31, 0.06, 0.09)):
            animal.balls.append(Ball((x, side * y, z + dz), (size, size, size), eye, HEAD))
        jaw = (0.42, side * 0.035, z - 0.07)
        animal.limbs.append(Limb((0.36, side * 0.04, z - 0.01), jaw, 0.035, 0.02, front, HEAD))
        palp = (rng(0.46, 0.52), side * rng(0.06, 0.12), z - 0.04)
        animal.limbs.append(Limb((0.34, side * 0.08, z), palp, 0.016, 0.018, limb, HEAD))
    reach = rng(0.45, 0.6) if furry else rng(0.65, 0.95)
    hips = [(0.28 - 0.075 * k, 0.75 * chest, z - 0.03) for k in range(4)]
    tilt = rng(-8, 12)
    angles = [25 + tilt, 62 + tilt, 108, 150]
    thick = rng(0.024, 0.034) if furry else rng(0.017, 0.026)
    far = [reach * v for v in (1.1, 0.95, 0.8, 1.1)]
    animal.limbs += spread_legs(
        rng, hips, angles, far, (reach * 0.56, reach * 0.52, reach * 0.36), thick, limb
    )
    if rng.chance(0.5):
        animal.limbs = ringed(animal.limbs, Skin(ink, gloss=0.3))
    animal.extent = 0.72 + 0.5 * reach
    return animal


BUTTERFLIES: list[tuple[str, str, str]] = [  # name, ground, marks
    ("orange", "orange", "black"),
    ("brown", "dark brown", "amber"),
    ("blue", "metallic blue", "black"),
    ("yellow", "yellow", "dark brown"),
    ("white", "cream", "black"),
    ("reddish brown", "reddish brown", "black"),
    ("black", "black", "red"),
    ("dark", "black", "cream"),
]


def _wing_design(rng: Rng) -> Pattern:
    """Border, spots in it, a band, eyespots and dark veins; x along the wing, y across, z from the vein."""
    border, width = rng(0.7, 0.92), rng(0.03, 0.1)
    rows = rng.pick([0.0, 5.0, 7.0], [2, 2, 2])
    band = rng(0.35, 0.65) if rng.chance(0.45) else 9.0
    eyes = [(rng(0.55, 0.8), rng(0.2, 0.8), rng(0.06, 0.12)) for _ in range(rng.below(4))]
    vein = rng(0.2, 0.9)
    shade = rng(0.1, 0.3)

    def pattern(x: Array, y: Array, z: Array) -> Array:
        edge = smooth(border - 0.05, border + 0.05, x + 0.12 * (1.0 - np.abs(y * 2.0 - 1.0)) - 0.06)
        if rows:
            t = y * rows
            t = t - np.floor(t) - 0.5
            dx = x - 0.5 * (1.0 + border)
            edge = edge * smooth(0.02, 0.06, dx * dx * 10.0 + t * t * 0.6)
        total = np.maximum(edge, smooth(shade, 0.0, x) * 0.8)
        total = np.maximum(total, smooth(width, 0.4 * width, np.abs(x - band)))
        total = np.maximum(total, smooth(0.014, 0.004, z) * vein)
        for ex, ey, radius in eyes:
            far = (x - ex) * (x - ex) + (y - ey) * (y - ey)
            rim = smooth(radius * radius, 0.7 * radius * radius, far)
            total = np.maximum(
                total * (1 - rim), rim - smooth(0.15, 0.08, far / (radius * radius)) * 0.9
            )
        return total

    return pattern


def _butterfly(rng: Rng, top: bool) -> Animal:
    name, ground, ink = rng.pick(BUTTERFLIES, [3, 3, 1.5, 1.5, 1.5, 3, 1.5, 1.5])
    base, mark = vary(rng, COLOURS[ground]), vary(rng, COLOURS[ink])
    body = vary(rng, COLOURS[rng.pick(["black", "dark brown", "reddish brown", "grey"])])
    coat = Skin(body, gloss=0.1, hairs=420, hair_length=0.035, hair=tuple(1.6 * c for c in body))  # type: ignore[arg-type]
    pale: Any = tuple(1.8 * c for c in body)
    tail = Skin(body, pale, bands(2.5, 0.3, 0.2, 0), 0.1, hairs=80, hair_length=0.03)
    limb = Skin(body, gloss=0.2)
    z = rng(0.16, 0.22)
    animal = Animal("butterflies", f"{name} butterfly")
    animal.balls = [
        Ball((0.33, 0, z), (0.055, 0.06, 0.055), coat, HEAD),
        Ball((0.18, 0, z), (0.13, 0.075, 0.075), coat, THORAX),
        Ball((-0.13, 0, z - 0.02), (0.26, 0.052, 0.052), tail, ABDOMEN, pitch=0.1),
    ]
    eye = Skin((0.02, 0.015, 0.01), gloss=0.9)
    for side in (1, -1):
        animal.balls.append(Ball((0.345, side * 0.05, z + 0.01), (0.032, 0.025, 0.034), eye, HEAD))
    hips = [(0.22, 0.04, z - 0.05), (0.16, 0.05, z - 0.05), (0.1, 0.05, z - 0.05)]
    animal.limbs = spread_legs(
        rng, hips, [40, 85, 135], [0.26, 0.26, 0.3], (0.16, 0.16, 0.1), 0.011, limb
    )
    animal.limbs += feelers(
        rng,
        (0.37, 0.025, z + 0.03),
        0.05,
        rng(0.34, 0.5),
        0.009,
        limb,
        2.6,
        0.08,
        rng(0.35, 0.7),
        0.35,
    )
    rise = rng.pick(
        [rng(-0.02, 0.25), rng(0.3, 0.8), rng(1.25, 1.5)], [6, 3, 0.5] if top else [0.6, 3, 5]
    )
    if rise > 1.2:
        animal.words += " with closed wings"
    animal.wings = _scaled_wings(rng, z, rise, base, mark)
    animal.extent = 1.15
    return animal


def _scaled_wings(rng: Rng, z: float, rise: float, base: Colour, mark: Colour) -> list[Wing]:
    """The four opaque wings of a butterfly, lifted by `rise` radians."""
    fore_design, hind_design = _wing_design(rng), _wing_design(rng)
    if rng.chance(0.5):
        hind_design = fore_design
    sweep, length = rng(0.1, 0.55), rng(0.72, 0.9)
    point, slim, tail = rng(-0.1, 0.06), rng(0.85, 1.15), rng(-0.15, 0.1)
    fore_upper = outline(0.03, 0.1, 0.14, 0.13, point)
    fore_lower = slim * outline(-0.05, -0.26, -0.4, -0.46, point - 0.3)
    hind_upper = outline(0.06, 0.22, 0.28, 0.24, 0.0)
    hind_lower = slim * outline(-0.06, -0.3, -0.42, -0.4 + tail, tail - 0.12)
    fore_lower, fore_upper = rounded(fore_lower, fore_upper)
    hind_lower, hind_upper = rounded(hind_lower, hind_upper)
    veins = (0.02, 0.2, 0.36, 0.52, 0.68, 0.84, 0.98)
    wings = []
    for side in (1, -1):
        up = rise + rng(-0.04, 0.04)
        for fore in (False, True):
            skin = Skin(base, mark, fore_design if fore else hind_design, 0.08, 0.25)
            along, across = direction(
                sweep if fore else sweep - rng(0.75, 0.95), up - (0 if fore else 0.05), side
            )
            long = length if fore else length * rng(0.68, 0.82)
            root = (0.2 if fore else 0.1, side * 0.045, z + (0.045 if fore else 0.035))
            wings.append(
                Wing(
                    root,
                    tuple(long * v for v in along),  # type: ignore[arg-type]
                    tuple(long * v for v in across),  # type: ignore[arg-type]
                    fore_lower if fore else hind_lower,
                    fore_upper if fore else hind_upper,
                    skin,
                    1.0,
                    veins,
                )
            )
    return wings


MAKERS: dict[str, Callable[[Rng, bool], Animal]] = {
    "ants": _ant,
    "bees": _bee,
    "beetles": _beetle,
    "butterflies": _butterfly,
    "ladybirds": _ladybird,
    "spiders": _spider,
}
CLASSES = tuple(MAKERS)


def make(kind: str, rng: Rng, top: bool = True) -> Animal:
    """A random animal of a class, in a random pose of its limbs, to be seen from the `top` or the side."""
    return MAKERS[kind](rng, top)
