"""One picture: scene, light, lens and sensor. `render` is a function of its arguments alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ftcourse.data.insects import anatomy
from ftcourse.data.insects import render as drawing
from ftcourse.data.insects.exact import (
    LATTICE,
    PI,
    Rng,
    blur,
    cos,
    jpeg,
    mat,
    noise,
    rotation,
    sin,
    smooth,
    soften,
)
from ftcourse.data.insects.render import Canvas, Light, Pose
from ftcourse.data.insects.scenery import BACKGROUNDS, backdrop, occluders, surface
from ftcourse.data.insects.shapes import Array, Colour

__all__ = ["DOMAINS", "SPLITS", "Picture", "render"]

SPLITS = ("train", "val", "test")
DOMAINS = ("day", "night", "fog", "sketch")
WHERE = {"leaf": "a leaf", "petal": "a flower", "bark": "bark", "sand": "sand", "soil": "soil"}


@dataclass
class Picture:
    """A rendered picture and all that is known about it.

    image uint8 (S, S, 3); parts uint8 (S, S), indices into PARTS; owner uint8 (S, S), 0 for the background and k + 1
    for animal k; boxes, per animal (left, top, right, bottom) in pixels; labels, per animal its class.
    """

    image: Array
    parts: Array
    owner: Array
    background: str
    sentence: str
    labels: list[int] = field(default_factory=list)
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)


@dataclass
class View:
    """The viewer: `frame` rows are right, down and towards the viewer, in ground coordinates."""

    rise: float  # radians above the ground
    frame: Array
    roll: float
    top: bool


def _view(rng: Rng) -> View:
    top = rng.chance(0.6)
    rise = (rng(58, 90) if top else rng(14, 38)) * PI / 180
    roll = rng(-PI, PI) if top else rng(-0.4, 0.4) + (rng.pick([0.0, PI / 2, -PI / 2], [5, 1, 1]))
    s, c = sin(rise), cos(rise)
    level = np.array([[1.0, 0.0, 0.0], [0.0, -s, -c], [0.0, -c, s]])
    turn = np.array([[cos(roll), -sin(roll), 0.0], [sin(roll), cos(roll), 0.0], [0.0, 0.0, 1.0]])
    return View(rise, mat(turn, level), roll, top)


def _light(rng: Rng, view: View, domain: str) -> tuple[Light, tuple[float, float, float]]:
    """The light in the viewer's frame, and the direction towards it in ground coordinates."""
    azimuth, height = rng(-PI, PI), rng(24, 62) * PI / 180
    towards = np.array([[cos(height) * cos(azimuth)], [cos(height) * sin(azimuth)], [sin(height)]])
    warm, strength = rng(0.0, 1.0), rng(0.9, 2.1)
    key: Colour = (
        strength * (1.0 + 0.18 * warm),
        strength * (0.96 - 0.14 * warm),
        strength * (0.90 - 0.42 * warm),
    )
    level = rng(0.3, 0.6)
    sky: Colour = (level * (0.86 - 0.1 * warm), level * 0.95, level * (1.05 + 0.2 * warm))
    if domain == "night":
        key, sky = (0.62 * strength, 0.78 * strength, 1.05 * strength), (0.03, 0.045, 0.08)
    elif domain == "fog":
        key, sky = tuple(0.3 * c for c in key), (0.42, 0.44, 0.46)  # type: ignore[assignment]
    ground: Colour = (
        0.34 * sky[0] + 0.06 * key[0],
        0.34 * sky[1] + 0.06 * key[1],
        0.30 * sky[2] + 0.05 * key[2],
    )
    seen = mat(view.frame, towards)[:, 0]
    up = view.frame[:, 2]
    light = Light(tuple(float(v) for v in seen), tuple(float(v) for v in up), key, sky, ground)  # type: ignore[arg-type]
    return light, tuple(float(v) for v in towards[:, 0])  # type: ignore[return-value]


@dataclass
class Placed:
    animal: anatomy.Animal
    label: int
    world: Array  # body lengths to ground coordinates, in widths of the picture
    length: float
    x: float
    y: float


def _place_one(
    rng: Rng, animal: anatomy.Animal, label: int, length: float, x: float, y: float, top: bool
) -> Placed:
    heading = rng(-PI, PI)
    if not top and rng.chance(0.7):  # from the side, mostly broadside
        heading = rng(-0.6, 0.6) + rng.pick([0.0, PI])
    lean, tip = rng(-0.12, 0.12), rng(-0.1, 0.1)
    world = mat(rotation(heading), rotation(0, tip, lean)) * length
    return Placed(animal, label, world, length, x, y)


def _places(rng: Rng, number: int) -> list[tuple[float, float, float]]:
    """Places (x, y) from the middle and sizes, apart from each other, in widths of the picture."""
    if number == 1:
        return [(rng(-0.08, 0.08), rng(-0.08, 0.08), rng(0.68, 1.0))]
    places: list[tuple[float, float, float]] = []
    for _ in range(60):
        new = (rng(-0.36, 0.36), rng(-0.36, 0.36), rng(0.2, 0.38))
        if all(
            (new[0] - x) * (new[0] - x) + (new[1] - y) * (new[1] - y)
            > 0.3 * (new[2] + s) * (new[2] + s)
            for x, y, s in places
        ):
            places.append(new)
        if len(places) == number:
            break
    return places


def _pixel_grid(size: int) -> tuple[Array, Array]:
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(
        1.0 / size
    ) - np.float32(0.5)
    x, y = np.broadcast_arrays(line, line[:, None])
    return x.copy(), y.copy()


def _lit_ground(
    kind: str,
    rng: Rng,
    lattice: Array,
    view: View,
    light: Light,
    towards: tuple,
    grid: tuple,
    focus: float,
    size: int,
) -> tuple[Array, Array, Array]:
    """The ground without shadows, in key light and in sky light, (H, W, 3) each; and how far off focus (H, W)."""
    c, s = cos(view.roll), sin(view.roll)
    gx = grid[0] * c + grid[1] * s
    gy = (grid[0] * s - grid[1] * c) * (1.0 / sin(view.rise))
    shift_x, shift_y = rng(0, 40), rng(0, 40)
    ground = surface(kind, rng, np.roll(lattice, (int(shift_x), int(shift_y)), (0, 1)), gx, gy)
    slope_x, slope_y = np.zeros_like(gx), np.zeros_like(gx)
    slope_x[:, 1:] = (ground.height[:, 1:] - ground.height[:, :-1]) * float(size)
    slope_y[1:] = (ground.height[1:] - ground.height[:-1]) * float(size)
    # the light's direction along the ground, as the picture shows it
    lx, ly = towards[0] * c - (-towards[1]) * s, towards[0] * s + (-towards[1]) * c
    steep = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
    direct = np.maximum(towards[2] - lx * slope_x - ly * slope_y, 0.0) * steep
    deep = ground.height - blur(ground.height, 0.02 * size)
    open_ = (0.55 + 0.45 * steep) * np.clip(1.0 + 9.0 * deep, 0.45, 1.25)
    keyed = ground.albedo * (direct * np.clip(1.0 + 6.0 * deep, 0.5, 1.2))[..., None]
    keyed = keyed + (ground.gloss * 0.5 * smooth(0.75, 1.15, direct))[..., None]
    ambient = ground.albedo * open_[..., None]
    away = np.abs(gy - focus)
    off = smooth(0.0, 1.1, away) if view.top else smooth(0.02, 0.9, away)
    keyed = keyed * np.asarray(light.key, np.float32)
    ambient = ambient * np.asarray(light.sky, np.float32)
    if not view.top:
        start = rng(0.5, 1.2)
        far = smooth(start, start + 0.5, gy - focus)
        behind = backdrop(rng, lattice, grid[0], grid[1])
        level = np.asarray(light.sky, np.float32) * 0.9 + np.asarray(light.key, np.float32) * 0.25
        keyed = keyed * (1.0 - far)[..., None]
        ambient = ambient * (1.0 - far)[..., None] + behind * level * far[..., None]
    return keyed, ambient, off


def _shadows(placed: list[Placed], view: View, towards: tuple, size: int) -> Array:
    slide = np.array(
        [
            [1.0, 0.0, -towards[0] / towards[2]],
            [0.0, 1.0, -towards[1] / towards[2]],
            [0.0, 0.0, 0.0],
        ]
    )
    dark = np.zeros((size, size), np.float32)
    for one in placed:
        frame = mat(view.frame, mat(slide, one.world)) * float(size)
        pose = Pose(frame, ((one.x + 0.5) * size, (one.y + 0.5) * size, 0.0), one.length * size)
        np.maximum(dark, drawing.cast(one.animal, pose, size), out=dark)
    return dark


def render(
    label: int | list[int],
    key: tuple[int, ...],
    size: int = 96,
    *,
    background: str | None = None,
    domain: str = "day",
) -> Picture:
    """Draw one picture.

    Args:
        label: the class of the animal (an index into CLASSES), or several for a scene.
        key: whole numbers that choose everything else: (seed, split, index).
        size: side in pixels, 32 to 256.
        background: one of BACKGROUNDS; None: any.
        domain: one of DOMAINS.
    """
    labels = [label] if isinstance(label, int) else label
    base = Rng(*key)
    # a stream for each thing, so that a switch changes what it names and nothing else
    lattice = base.child(1).array(LATTICE, LATTICE)
    any_ground = base.child(2).pick(BACKGROUNDS)
    kind = background or any_ground
    view = _view(base.child(3))
    light, towards = _light(base.child(4), view, domain)
    placed = _cast_of(base, labels, view)
    grain = 2 if size >= 64 else 4
    canvas = Canvas(grain * size, lattice)
    for k, one in enumerate(placed):
        frame = mat(view.frame, one.world) * float(grain * size)
        origin = ((one.x + 0.5) * grain * size, (one.y + 0.5) * grain * size, 0.0)
        drawing.draw(
            canvas,
            one.animal,
            Pose(frame, origin, one.length * grain * size),
            light,
            base.child(6, k),
        )
    biggest = max(one.length for one in placed)
    rgb, alpha = _shrink(*drawing.shade(canvas, light, biggest * grain * size), grain)
    grid = _pixel_grid(size)
    ground = _ground(kind, base.child(7), lattice, view, light, towards, grid, placed, size)
    lens = base.child(8)
    if lens.chance(0.22):  # slightly out of focus
        both = blur(np.concatenate([rgb, alpha[..., None]], -1), lens(0.2, 0.6) * size / 96)
        rgb, alpha = both[..., :3], both[..., 3]
    photo = ground * (1.0 - alpha)[..., None] + rgb
    cover, hidden = _occluded(base.child(9), lattice, grid, light, size)
    if cover is not None:
        photo = photo * (1.0 - hidden)[..., None] + cover
    parts, owner = _labels_of(canvas, alpha, hidden, grain)
    image = _develop(photo, base.child(10), lattice, grid, size, domain, alpha, hidden)
    return _finish(image, parts, owner, placed, kind, view, domain)


def _cast_of(base: Rng, labels: list[int], view: View) -> list[Placed]:
    rng = base.child(5)
    placed = []
    for k, (x, y, size) in enumerate(_places(rng, len(labels))):
        animal = anatomy.make(anatomy.CLASSES[labels[k]], base.child(5, k), view.top)
        placed.append(_place_one(rng, animal, labels[k], size / animal.extent, x, y, view.top))
    return placed


def _shrink(rgb: Array, alpha: Array, grain: int) -> tuple[Array, Array]:
    """Average the fine pixels of each pixel; colours stay premultiplied by opacity."""
    while grain > 1:
        rgb, alpha = (
            (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) * 0.25 for v in (rgb, alpha)
        )
        grain //= 2
    return rgb, alpha


def _ground(
    kind: str,
    rng: Rng,
    lattice: Array,
    view: View,
    light: Light,
    towards: tuple,
    grid: tuple,
    placed: list[Placed],
    size: int,
) -> Array:
    c, s = cos(view.roll), sin(view.roll)
    focus = (placed[0].x * s - placed[0].y * c) / sin(view.rise)
    keyed, ambient, off = _lit_ground(kind, rng, lattice, view, light, towards, grid, focus, size)
    dark = _shadows(placed, view, towards, size)
    sharp = blur(dark, 0.006 * size)
    wide = blur(dark, 0.035 * size)
    fade = 1.0 - 0.92 * np.maximum(sharp, 0.0)
    out = keyed * fade[..., None] + ambient * (1.0 - 0.55 * wide)[..., None]
    # seen from above the whole ground lies a little behind the focus, from the side what is before and behind
    depth = rng(0.015, 0.04) if view.top else rng(0.03, 0.07)
    return soften(out, 0.3 + 0.5 * off if view.top else 0.15 + 0.85 * off, depth * size)


def _occluded(
    rng: Rng, lattice: Array, grid: tuple, light: Light, size: int
) -> tuple[Array | None, Array]:
    if not rng.chance(0.16):
        return None, np.zeros((size, size), np.float32)
    return occluders(
        rng, lattice, grid[0], grid[1], light.key, light.sky, 1 + rng.below(2), 0.2, size
    )


def _labels_of(canvas: Canvas, alpha: Array, hidden: Array, grain: int) -> tuple[Array, Array]:
    """Parts and owners per pixel: those of a fine pixel inside, where the animal shows at least half."""
    side = canvas.side
    seen = (alpha * (1.0 - hidden) > 0.4) | ((alpha > 0.15) & (hidden < 0.5))
    maps = []
    for buffer in (canvas.part, canvas.owner):
        fine = buffer.reshape(side, side)
        value = fine[::grain, ::grain].copy()
        for i in range(grain):
            for j in range(grain):
                other = fine[i::grain, j::grain]
                value = np.where(value == 0, other, value)
        maps.append(np.where(seen, value, 0).astype(np.uint8))
    return maps[0], maps[1]


def _develop(
    photo: Array,
    rng: Rng,
    lattice: Array,
    grid: tuple,
    size: int,
    domain: str,
    alpha: Array,
    hidden: Array,
) -> Array:
    """From light to a file: exposure, colour cast, vignette, tone curve, noise, JPEG."""
    exposure = rng(0.85, 1.45)
    gains = [rng.near(1.0, 0.1) for _ in range(3)]
    corner = 1.0 - rng(0.1, 0.75) * (grid[0] * grid[0] + grid[1] * grid[1])
    strength, quality = rng(0.003, 0.016), 60 + rng.below(36)
    if domain == "night":
        glow = smooth(0.55, 0.05, grid[0] * grid[0] + grid[1] * grid[1])
        photo = photo * (0.25 + 0.75 * glow)[..., None] * 0.4
        strength = rng(0.03, 0.06)
    elif domain == "fog":
        photo = _fog(photo, rng, lattice, grid, size)
    photo = photo * (exposure * corner)[..., None] * np.asarray(gains, np.float32)
    shown = np.sqrt(photo * 1.15 / (photo + 0.55))  # a shoulder for the lights, then gamma 2
    shown = shown + 0.45 * (shown * shown * (3.0 - 2.0 * shown) - shown)  # contrast
    if domain == "sketch":
        shown = _sketch(shown, alpha * (1.0 - hidden), rng, lattice, grid, size)
    coarse = blur(rng.bell(size, size, 3), rng(0.0, 0.5))
    shown = shown + coarse * strength * (1.3 - 0.6 * shown)
    pixels = np.floor(np.clip(shown, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return jpeg(pixels, quality)


def _fog(photo: Array, rng: Rng, lattice: Array, grid: tuple, size: int) -> Array:
    thick = rng(0.3, 0.55) + 0.5 * (noise(lattice, grid[0] * 2.2 + 9.0, grid[1] * 2.2, 3) - 0.5)
    thick = np.clip(thick - 0.3 * grid[1], 0.15, 0.7)
    white = np.asarray([0.42, 0.44, 0.46], np.float32)
    soft = blur(photo, 0.012 * size)
    return soft * (1.0 - thick)[..., None] + white * thick[..., None]


def _sketch(shown: Array, alpha: Array, rng: Rng, lattice: Array, grid: tuple, size: int) -> Array:
    """A pencil drawing: contours where tone changes, hatching where it is dark, paper elsewhere."""
    tone = (shown[..., 0] + shown[..., 1] * 2.0 + shown[..., 2]) * 0.25
    line = np.zeros_like(tone)
    for layer, weight in ((blur(tone, 0.007 * size), 5.0), (blur(alpha, 0.004 * size), 2.2)):
        dx, dy = np.zeros_like(tone), np.zeros_like(tone)
        dx[:, 1:-1] = layer[:, 2:] - layer[:, :-2]
        dy[1:-1] = layer[2:] - layer[:-2]
        line = line + np.sqrt(dx * dx + dy * dy) * weight * (
            0.35 + 0.65 * alpha if weight > 3 else 1.0
        )
    t = (grid[0] + grid[1] * rng(0.5, 1.0)) * rng(30, 42) * (1.0 if size >= 64 else 0.5)
    t = np.abs(t - np.floor(t) - 0.5) * 2.0
    dark = smooth(0.62, 0.15, tone) * (0.3 + 0.7 * alpha)
    hatch = smooth(dark + 0.25, dark - 0.15, t) * dark
    rough = 0.75 + 0.5 * noise(lattice, grid[0] * 60.0, grid[1] * 60.0, 2)
    ink = np.clip((np.minimum(line, 1.0) * 0.85 + 0.5 * hatch) * rough, 0.0, 0.9)
    paper = np.asarray([0.95, 0.93, 0.88], np.float32) * (0.94 + 0.08 * rough)[..., None]
    return (
        paper * (1.0 - ink)[..., None] + np.asarray([0.14, 0.13, 0.14], np.float32) * ink[..., None]
    )


def _finish(
    image: Array,
    parts: Array,
    owner: Array,
    placed: list[Placed],
    kind: str,
    view: View,
    domain: str,
) -> Picture:
    labels, boxes, words = [], [], []
    order = np.zeros(len(placed) + 1, np.uint8)
    for k, one in enumerate(placed):
        rows, columns = np.nonzero(owner == k + 1)
        if len(rows) < 12 and len(placed) > 1:
            continue  # hidden
        labels.append(one.label)
        order[k + 1] = len(labels)
        words.append(one.animal.words)
        if len(rows):
            boxes.append(
                (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
            )
        else:
            boxes.append((0, 0, 1, 1))
    owner = order[owner]
    angle = "from above" if view.top else "from the side"
    time = {"day": "", "night": ", at night", "fog": ", in fog", "sketch": ", drawn in pencil"}[
        domain
    ]
    named = [f"{'an' if w[0] in 'aeiou' else 'a'} {w}" for w in words]
    listed = named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1]
    sentence = f"{listed[0].upper()}{listed[1:]} on {WHERE[kind]}, seen {angle}{time}."
    return Picture(
        image, np.where(owner > 0, parts, 0).astype(np.uint8), owner, kind, sentence, labels, boxes
    )
