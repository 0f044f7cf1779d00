"""What the animals stand on, and what hangs before them: leaf, petal, bark, sand and soil from noise.

A surface is an albedo (H, W, 3) in linear light and a height (H, W) whose slopes catch the light. Lengths are in
widths of the picture, so that the scene is the same at any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ftcourse.data.insects.exact import LATTICE, PI, Rng, blur, cos, noise, sin, smooth
from ftcourse.data.insects.shapes import Array, Colour, vary

__all__ = ["BACKGROUNDS", "Ground", "backdrop", "occluders", "surface"]


@dataclass
class Ground:
    albedo: Array
    height: Array
    gloss: float


def _mix(a: Array, b: Array | Colour, share: Array) -> Array:
    return a + (np.asarray(b, np.float32) - a) * share[..., None]


def _plain(shape: tuple[int, ...], colour: Colour) -> Array:
    return np.broadcast_to(np.asarray(colour, np.float32), (*shape, 3)).copy()


def _turn(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    c, s = cos(angle), sin(angle)
    return x * c + y * s, y * c - x * s


def _pebbles(lattice: Array, x: Array, y: Array, share: float) -> tuple[Array, Array]:
    """One round stone at most in each unit cell: its dome height (0 to 1), and a tone (0 to 1)."""
    fx, fy = np.floor(x), np.floor(y)
    ix, iy = fx.astype(np.int32) & (LATTICE - 1), fy.astype(np.int32) & (LATTICE - 1)
    a, b = lattice[iy, ix], lattice[ix, iy]
    c = lattice[(iy + 21) & (LATTICE - 1), (ix + 37) & (LATTICE - 1)]
    radius = 0.14 + 0.22 * b
    dx, dy = x - fx - 0.5 - 0.22 * (a - 0.5), (y - fy - 0.5 - 0.22 * (c - 0.5)) * (0.8 + 0.5 * a)
    dome = 1.0 - (dx * dx + dy * dy) / (radius * radius)
    dome = np.sqrt(np.maximum(dome, 0.0)) * (c < share)
    return dome * radius, (a + b) * 0.5


def _ridges(n: Array) -> Array:
    """Sharp crests where noise crosses its middle."""
    return 1.0 - np.abs(n * 2.0 - 1.0)


LEAVES: list[Colour] = [
    (0.30, 0.45, 0.16),
    (0.22, 0.36, 0.17),
    (0.42, 0.50, 0.18),
    (0.52, 0.40, 0.16),
    (0.48, 0.24, 0.14),
    (0.36, 0.33, 0.22),
]
PETALS: list[Colour] = [
    (0.86, 0.82, 0.76),
    (0.80, 0.50, 0.58),
    (0.82, 0.64, 0.22),
    (0.55, 0.40, 0.62),
    (0.80, 0.45, 0.22),
    (0.70, 0.25, 0.22),
]
BARKS: list[Colour] = [
    (0.40, 0.30, 0.22),
    (0.46, 0.42, 0.37),
    (0.52, 0.37, 0.25),
    (0.28, 0.23, 0.19),
]
SANDS: list[Colour] = [
    (0.70, 0.58, 0.42),
    (0.62, 0.55, 0.46),
    (0.66, 0.47, 0.33),
    (0.76, 0.69, 0.56),
]
SOILS: list[Colour] = [
    (0.30, 0.22, 0.16),
    (0.24, 0.19, 0.15),
    (0.40, 0.29, 0.21),
    (0.34, 0.31, 0.27),
]


def _leaf(rng: Rng, lattice: Array, x: Array, y: Array) -> Ground:
    colour, other = vary(rng, rng.pick(LEAVES, [4, 3, 3, 1, 1, 1])), vary(rng, rng.pick(LEAVES))
    x, y = _turn(x, y, rng(-PI, PI))
    y = y + rng(-0.25, 0.25) + rng(-0.25, 0.25) * x * x
    side = np.abs(y)
    mottle = noise(lattice, x * 5.0 + 31.0, y * 5.0 + 7.0, 3)
    albedo = _mix(_plain(x.shape, colour), other, 0.45 * smooth(0.35, 0.8, mottle))
    pitch, lean = rng(3.5, 8.0), rng(0.5, 1.0)
    t = (
        x * pitch
        + side * (lean * pitch)
        + 0.15 * (mottle - 0.5)
        + (0.4 if rng.chance(0.5) else 0.0) * (y > 0)
    )
    lateral = np.abs(t - np.floor(t) - 0.5) * (1.0 / pitch)
    rib = np.minimum(smooth(0.012, 0.026, side), 0.25 + 0.75 * smooth(0.004, 0.014, lateral))
    net = _ridges(noise(lattice, x * 34.0, y * 34.0 + 40.0))
    albedo *= (0.8 + 0.4 * mottle)[..., None]
    pale: Colour = tuple(min(1.0, 1.5 * c + 0.05) for c in colour)  # type: ignore[assignment]
    albedo = _mix(albedo, pale, (1.0 - rib) * 0.55)
    albedo *= (1.0 - 0.16 * smooth(0.82, 0.97, net))[..., None]
    height = (
        0.022 * rib + 0.004 * net + 0.02 * mottle + 0.014 * smooth(0.0, 0.35, lateral * pitch * 2)
    )
    if rng.chance(0.35):  # the leaf's rim, and what is behind it
        edge = rng(0.3, 0.6) - 0.25 * x * x + 0.03 * (mottle - 0.5)
        beyond = smooth(edge - 0.004, edge + 0.012, side)
        dim = vary(rng, (0.16, 0.18, 0.12))
        albedo = (
            _mix(albedo, dim, beyond)
            * (1.0 - 0.5 * smooth(edge + 0.2, edge, side) * beyond)[..., None]
        )
        height = height * (1.0 - beyond) - 0.03 * beyond
    return Ground(albedo, height, 0.25)


def _petal(rng: Rng, lattice: Array, x: Array, y: Array) -> Ground:
    colour, throat = vary(rng, rng.pick(PETALS)), vary(rng, rng.pick([*PETALS, LEAVES[0]]))
    turn, far = rng(-PI, PI), rng(0.35, 0.75)
    cx, cy = far * cos(turn), far * sin(turn)
    albedo, height = _plain(x.shape, tuple(0.35 * c for c in colour)), np.zeros_like(x)  # type: ignore[arg-type]
    count, width = 5 + rng.below(4), rng(0.26, 0.4)
    first, streak = rng(0, 1), rng(10.0, 26.0)
    order = sorted(range(count), key=lambda k: (k % 2, k))
    for k in order:
        u, v = _turn(x - cx, y - cy, 2 * PI * (k + first) / count)
        u = u * 0.85
        v = v * 0.85
        reach = 1.15
        body = (
            u * (1.0 / reach) * (1.0 - u * (1.0 / reach)) * 4.0
        )  # 0 at both ends, 1 in the middle
        half = width * np.sqrt(np.maximum(body, 0.0)) * (0.65 + 0.5 * u)
        inside = smooth(-0.006, 0.006, half - np.abs(v)) * (u > 0)
        if not inside.any():
            continue
        line = noise(
            lattice, v * streak / (0.25 + np.maximum(u, 0.0)) + 13.0 * k, u * 2.2 + 5.0 * k, 3
        )
        tone = _mix(_plain(x.shape, colour), throat, smooth(0.5, 0.0, u) * 0.8)
        tone *= (0.72 + 0.5 * line)[..., None] * (0.75 + 0.25 * smooth(0.0, 0.2, half - np.abs(v)))[
            ..., None
        ]
        under = (
            smooth(-0.06, 0.0, half - np.abs(v)) * (1.0 - inside) * 0.45
        )  # its shadow on the petal below
        albedo = albedo * (1.0 - under)[..., None]
        albedo = _mix(albedo, tone, inside)
        fold = 0.035 * line + 0.10 * (np.abs(v) / (half + 0.05)) * np.abs(v)
        height = height * (1.0 - inside) + (fold + 0.03) * inside
    albedo *= (0.9 + 0.2 * noise(lattice, x * 40.0, y * 40.0))[..., None]
    return Ground(albedo, height, 0.08)


def _bark(rng: Rng, lattice: Array, x: Array, y: Array) -> Ground:
    colour, other = vary(rng, rng.pick(BARKS)), vary(rng, rng.pick(BARKS))
    x, y = _turn(x, y, rng(-0.6, 0.6) + (PI / 2 if rng.chance(0.5) else 0.0))
    warp = noise(lattice, x * 3.0 + 8.0, y * 3.0 + 2.0, 2) - 0.5
    stretch, fine = rng(2.2, 4.5), rng(6.0, 12.0)
    crest = noise(lattice, (x + 0.22 * warp) * fine, (y + 0.2 * warp) * stretch, 3)
    crest = _ridges(crest)
    scale = noise(lattice, x * 9.0 + 40.0, y * 16.0 + 9.0, 3)
    rough = noise(lattice, x * 40.0 + 17.0, y * 26.0, 2)
    height = 0.07 * smooth(0.35, 0.95, 1.0 - crest) + 0.03 * scale + 0.012 * rough
    albedo = _mix(_plain(x.shape, colour), other, smooth(0.3, 0.7, scale))
    albedo *= (0.25 + 0.95 * smooth(1.0, 0.55, crest))[..., None] * (0.7 + 0.6 * rough)[..., None]
    if rng.chance(0.6):  # moss or lichen
        patch = noise(lattice, x * 3.5 + 50.0, y * 3.5 + 21.0, 4)
        low = rng(0.5, 0.68)
        green = vary(rng, rng.pick([(0.36, 0.42, 0.18), (0.56, 0.58, 0.48), (0.62, 0.52, 0.26)]))
        albedo = _mix(albedo, green, smooth(low, low + 0.09, patch) * (0.45 + 0.5 * rough))
    return Ground(albedo, height, 0.05)


def _sand(rng: Rng, lattice: Array, x: Array, y: Array) -> Ground:
    colour, other = vary(rng, rng.pick(SANDS)), vary(rng, rng.pick([*SANDS, *SOILS]))
    x, y = _turn(x, y, rng(-PI, PI))
    wide = noise(lattice, x * 3.0 + 5.0, y * 3.0, 3)
    grain = noise(lattice, x * 75.0, y * 75.0 + 9.0)
    fine = noise(lattice, x * 38.0 + 33.0, y * 38.0 + 9.0, 2)
    t = y * rng(4.0, 9.0) + 1.1 * wide
    ripple = np.abs(t - np.floor(t) - 0.5) * 2.0
    albedo = _mix(_plain(x.shape, colour), other, 0.5 * smooth(0.55, 0.85, fine))
    albedo *= (0.62 + 0.5 * grain + 0.3 * (wide - 0.5))[..., None]
    dome, tone = _pebbles(lattice, x * 13.0, y * 13.0, rng(0.05, 0.4))
    stone = smooth(0.0, 0.04, dome)
    albedo = _mix(albedo, (_plain(x.shape, other) * (0.5 + 1.0 * tone)[..., None]), stone)
    height = 0.035 * wide + rng(0.0, 0.02) * ripple + 0.006 * grain + 0.008 * fine + 0.06 * dome
    return Ground(albedo, height, 0.1)


def _soil(rng: Rng, lattice: Array, x: Array, y: Array) -> Ground:
    colour, other = vary(rng, rng.pick(SOILS)), vary(rng, rng.pick([*SOILS, *BARKS]))
    x, y = _turn(x, y, rng(-PI, PI))
    clump = noise(lattice, x * 6.0, y * 6.0 + 3.0, 5, 0.62)
    crumb = noise(lattice, x * 22.0 + 30.0, y * 22.0, 3)
    albedo = _mix(_plain(x.shape, colour), other, smooth(0.4, 0.75, crumb))
    albedo *= (0.25 + 1.4 * clump)[..., None]
    height = 0.11 * clump + 0.03 * crumb
    for scale, share in ((7.0, rng(0.0, 0.35)), (17.0, rng(0.1, 0.5))):
        dome, tone = _pebbles(lattice, x * scale + 3.0, y * scale, share)
        grey = _plain(x.shape, other) * (0.5 + 1.6 * tone)[..., None]
        albedo = _mix(albedo, grey, smooth(0.0, 0.05, dome) * 0.85)
        height = height + dome * (0.5 / scale)
    for _ in range(rng.below(7)):  # straw and twigs
        u, v = _turn(x - rng(-0.5, 0.5), y - rng(-0.5, 0.5), rng(-PI, PI))
        v = v + rng(-0.4, 0.4) * u * u
        width, long = rng(0.004, 0.012), rng(0.08, 0.35)
        inside = smooth(width, 0.6 * width, np.abs(v)) * (np.abs(u) < long)
        albedo = _mix(albedo, vary(rng, (0.62, 0.50, 0.33)), inside * 0.9)
        height = height + 0.02 * inside
    return Ground(albedo, height, 0.04)


MAKERS = {"leaf": _leaf, "petal": _petal, "bark": _bark, "sand": _sand, "soil": _soil}
BACKGROUNDS = tuple(MAKERS)


def surface(kind: str, rng: Rng, lattice: Array, x: Array, y: Array) -> Ground:
    """A surface at ground coordinates x (right) and y (away from the viewer), float32 (H, W)."""
    return MAKERS[kind](rng, lattice, x, y)


def backdrop(rng: Rng, lattice: Array, x: Array, y: Array) -> Array:
    """What lies far behind, out of focus: linear RGB (H, W, 3) with discs of light."""
    dark, light = (
        vary(rng, rng.pick([(0.14, 0.17, 0.11), (0.17, 0.14, 0.11), (0.12, 0.14, 0.17)])),
        vary(rng, rng.pick([*LEAVES, *SANDS])),
    )
    tone = noise(lattice, x * 2.5 + 3.0, y * 2.5 + 44.0, 3)
    out = _mix(_plain(x.shape, dark), light, smooth(0.35, 0.85, tone) * 0.7)
    for _ in range(rng.below(9)):
        dx, dy, radius = x - rng(-0.6, 0.6), y - rng(-0.2, 0.9), rng(0.03, 0.1)
        far = dx * dx + dy * dy
        disc = smooth(radius * radius * 1.3, radius * radius * 0.8, far) * (
            0.6 + 0.4 * far / (radius * radius)
        )
        out = _mix(out, light, np.minimum(disc, 1.0) * rng(0.15, 0.5))
    return out


def occluders(
    rng: Rng,
    lattice: Array,
    x: Array,
    y: Array,
    key: Colour,
    sky: Colour,
    number: int,
    near: float,
    pixels: int,
) -> tuple[Array, Array]:
    """Leaves and blades of grass before the lens: premultiplied linear RGB (H, W, 3), opacity (H, W).

    `near` is how close to the middle they come, in widths of the picture.
    """
    rgb, alpha = np.zeros((*x.shape, 3), np.float32), np.zeros_like(x)
    for _ in range(number):
        turn, far = rng(-PI, PI), rng(near, near + 0.3)
        u, v = _turn(x - far * cos(turn), y - far * sin(turn), turn + PI / 2 + rng(-0.9, 0.9))
        v = v + rng(-0.5, 0.5) * u * u
        if rng.chance(0.55):
            half = rng(0.012, 0.035) * (1.0 - 0.5 * u)
        else:
            t = u * rng(1.0, 1.8) + 0.5
            half = rng(0.1, 0.2) * np.maximum(t * (1.0 - t) * 4.0, 0.0)
        inside = smooth(-0.004, 0.008, half - np.abs(v))
        colour = vary(rng, rng.pick(LEAVES, [4, 3, 3, 1, 1, 1]))
        tone = (0.7 + 0.6 * noise(lattice, u * 4.0 + 60.0, v * 30.0, 2)) * (
            0.8 + 0.4 * smooth(-0.1, 0.1, v)
        )
        tone = tone * (1.0 + 0.35 * smooth(0.012, 0.0, np.abs(v)))
        lit = tuple(c * (0.6 * k + 0.7 * s) for c, k, s in zip(colour, key, sky, strict=True))
        soft = rng(0.006, 0.022) * pixels
        layer = blur(
            np.concatenate(
                [
                    tone[..., None] * np.asarray(lit, np.float32) * inside[..., None],
                    inside[..., None],
                ],
                -1,
            ),
            soft,
        )
        rgb = rgb * (1.0 - layer[..., 3:]) + layer[..., :3]
        alpha = alpha * (1.0 - layer[..., 3]) + layer[..., 3]
    return rgb, alpha
