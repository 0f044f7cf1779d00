"""From shapes to pixels: a small deferred renderer.

Each shape writes depth, normal, colour and part into buffers where it is nearest; light is computed once, at the end.
Coordinates are (right, down, towards the viewer), in pixels of the fine grid (`grain` fine pixels a pixel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ftcourse.data.insects.exact import Rng, blur, mat, noise, rotation, smooth
from ftcourse.data.insects.shapes import Animal, Array, Ball, Colour, Limb, Skin, Wing

__all__ = ["Canvas", "Light", "Pose", "cast", "draw"]

FAR = np.float32(-1e6)


@dataclass
class Pose:
    """Where an animal stands: `frame` (3, 3) turns body lengths into fine pixels, `origin` is its place."""

    frame: Array
    origin: tuple[float, float, float]
    scale: float  # fine pixels in a body length

    def point(self, p: tuple[float, float, float]) -> tuple[float, float, float]:
        x, y, z = self.vector(p)
        return x + self.origin[0], y + self.origin[1], z + self.origin[2]

    def vector(self, p: tuple[float, float, float]) -> tuple[float, float, float]:
        m = self.frame
        return tuple(float(m[i, 0] * p[0] + m[i, 1] * p[1] + m[i, 2] * p[2]) for i in range(3))  # type: ignore[return-value]


@dataclass
class Light:
    """One warm light, and the sky; directions in the viewer's frame, colours linear."""

    towards: tuple[float, float, float]
    up: tuple[float, float, float]
    key: Colour
    sky: Colour
    ground: Colour


class Canvas:
    """The buffers of all animals in a picture, and how much each pixel of the picture shows of them."""

    def __init__(self, side: int, lattice: Array) -> None:
        self.side = side
        self.lattice = lattice
        self.depth = np.full(side * side, FAR, np.float32)
        self.normal = np.zeros((3, side * side), np.float32)
        self.albedo = np.zeros((3, side * side), np.float32)
        self.gloss = np.zeros(side * side, np.float32)
        self.part = np.zeros(side * side, np.uint8)
        self.owner = np.zeros(side * side, np.uint8)
        self.number = 0
        self.films: list[tuple[Array, Array, Array]] = []  # of clear wings: pixels, colour, opacity

    def window(
        self, x0: float, x1: float, y0: float, y1: float
    ) -> tuple[Array, Array, Array] | None:
        """Fine pixels in a box: their indices, and x and y of their centres; None outside the picture."""
        left, right = max(int(x0), 0), min(int(x1) + 2, self.side)
        top, bottom = max(int(y0), 0), min(int(y1) + 2, self.side)
        if left >= right or top >= bottom or x1 < 0 or y1 < 0:
            return None
        x = np.arange(left, right, dtype=np.float32) + np.float32(0.5)
        y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
        index = (np.arange(top, bottom)[:, None] * self.side + np.arange(left, right)).ravel()
        shape = (bottom - top, right - left)
        return index, np.broadcast_to(x, shape).ravel(), np.broadcast_to(y, shape).ravel()

    def write(
        self,
        index: Array,
        depth: Array,
        normal: tuple[Array, Array, Array],
        colour: list[Array],
        gloss: float,
        part: int,
    ) -> None:
        self.depth[index] = depth
        for k in range(3):
            self.normal[k][index] = normal[k]
            self.albedo[k][index] = colour[k]
        self.gloss[index] = gloss
        self.part[index] = part
        self.owner[index] = self.number


def paint(canvas: Canvas, skin: Skin, x: Array, y: Array, z: Array, facing: Array) -> list[Array]:
    """The colour (three arrays) of a skin at its own coordinates; `facing` is 1 head on, 0 at the rim."""
    speck: Any = 1.0 - skin.mottle * 0.5
    if skin.mottle:
        speck = speck + skin.mottle * noise(
            canvas.lattice, x * 5.0 + 11.3, (y + 0.7 * z) * 5.0 + 3.1, 2
        )
    share = None if skin.pattern is None else skin.pattern(x, y, z)
    out: list[Array] = []
    for k in range(3):
        base: Any = skin.base[k]
        if skin.sheen is not None:
            base = base + (skin.sheen[k] - base) * smooth(0.95, 0.35, facing)
        out.append((base if share is None else base + (skin.mark[k] - base) * share) * speck)
    return out


def draw_ball(canvas: Canvas, pose: Pose, ball: Ball, rng: Rng) -> None:
    axes = mat(mat(pose.frame, rotation(ball.yaw, ball.pitch)), np.diag(np.array(ball.axes)))
    cx, cy, cz = pose.point(ball.at)
    inverse = axes.T / (axes * axes).sum(0)[:, None]
    hx = float(np.sqrt((axes[0] * axes[0]).sum()))
    hy = float(np.sqrt((axes[1] * axes[1]).sum()))
    found = canvas.window(cx - hx, cx + hx, cy - hy, cy + hy)
    if found is not None:
        _ball_pixels(canvas, ball, inverse, (cx, cy, cz), found)
    if ball.skin.hairs:
        _hairs(canvas, pose, ball, axes, inverse, rng)


def _ball_pixels(
    canvas: Canvas, ball: Ball, inverse: Array, centre: tuple[float, float, float], found: tuple
) -> None:
    index, px, py = found
    m = [[float(v) for v in row] for row in inverse]
    dx, dy = px - centre[0], py - centre[1]
    base = [m[i][0] * dx + m[i][1] * dy for i in range(3)]
    k = [m[i][2] for i in range(3)]
    a = k[0] * k[0] + k[1] * k[1] + k[2] * k[2]
    b = base[0] * k[0] + base[1] * k[1] + base[2] * k[2]
    c = base[0] * base[0] + base[1] * base[1] + base[2] * base[2] - 1.0
    inside = b * b - a * c
    keep = np.flatnonzero(inside > 0)
    t = (np.sqrt(inside[keep]) - b[keep]) * (1.0 / a)
    local = [base[i][keep] + t * k[i] for i in range(3)]
    depth = t + centre[2]
    index = index[keep]
    seen = (depth > canvas.depth[index]) & (local[2] > ball.cut)
    index, depth, local = index[seen], depth[seen], [v[seen] for v in local]
    if not len(index):
        return
    n = [m[0][j] * local[0] + m[1][j] * local[1] + m[2][j] * local[2] for j in range(3)]
    skin = ball.skin
    unit = 1.0 / np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
    n = [v * unit for v in n]
    colour = paint(canvas, skin, local[0], local[1], local[2], n[2])
    if skin.bump:
        rough = (
            noise(canvas.lattice, local[0] * 13.0 + 5.0, local[1] * 13.0 + local[2] * 9.0 + 8.0, 2)
            - 0.5
        )
        n = [n[0] + skin.bump * rough, n[1] - skin.bump * rough, n[2]]
    canvas.write(index, depth, (n[0], n[1], n[2]), colour, skin.gloss, ball.part)


def _hairs(canvas: Canvas, pose: Pose, ball: Ball, axes: Array, inverse: Array, rng: Rng) -> None:
    """Strands that grow out of a ball, combed backwards; each is a row of fine pixels."""
    skin = ball.skin
    count = int(skin.hairs * min(3.0, max(0.3, pose.scale / 110)))
    v = rng.array(count, 3) * 2.0 - 1.0
    length = np.sqrt((v * v)[:, 0] + (v * v)[:, 1] + (v * v)[:, 2]) + 1e-3
    ok = (length < 1.0) & (length > 0.05)
    v, level = (v[ok] / length[ok, None]).astype(np.float64), rng.array(count)[ok]
    root = mat(v, axes.T)
    normal = mat(v, inverse)
    normal /= np.sqrt((normal * normal).sum(1))[:, None]
    front = (normal[:, 2] > -0.3) & (v[:, 2] > ball.cut)
    v, root, normal, level = v[front], root[front], normal[front], level[front]
    back = np.array(pose.vector((-0.35, 0.0, -0.1))) / pose.scale
    jitter = (rng.array(len(v), 3) - 0.5) * 0.8
    grow = (normal + back + jitter) * (skin.hair_length * pose.scale * (0.4 + 0.9 * level[:, None]))
    steps = max(2, int(skin.hair_length * pose.scale * 1.6) + 1)
    t = (np.arange(steps) + 0.3) / steps
    points = root[:, None] + grow[:, None] * t[:, None]
    x = np.floor(points[..., 0] + pose.point(ball.at)[0]).astype(np.int64)
    y = np.floor(points[..., 1] + pose.point(ball.at)[1]).astype(np.int64)
    depth = (points[..., 2] + pose.point(ball.at)[2]).astype(np.float32)
    inside = (x >= 0) & (y >= 0) & (x < canvas.side) & (y < canvas.side)
    local = [v[:, k].astype(np.float32) for k in range(3)]
    tone = paint(canvas, skin, local[0], local[1], local[2], normal[:, 2].astype(np.float32))
    if skin.hair is not None:
        tone = [0.25 * c + 0.75 * h for c, h in zip(tone, skin.hair, strict=True)]
    bright = (0.65 + 0.6 * rng.array(len(v)))[:, None] * (0.75 + 0.4 * t.astype(np.float32))
    lean = normal + jitter * 0.5
    order = np.argsort(np.where(inside, depth, FAR), axis=None, kind="stable")
    strand = order // steps
    good = inside.ravel()[order]
    order, strand = order[good], strand[good]
    index = y.ravel()[order] * canvas.side + x.ravel()[order]
    near = depth.ravel()[order] > canvas.depth[index] - 0.02 * pose.scale
    order, strand, index = order[near], strand[near], index[near]
    colours = [(c[:, None] * bright).ravel()[order].astype(np.float32) for c in tone]
    normals = [lean[strand, k].astype(np.float32) for k in range(3)]
    canvas.write(
        index, depth.ravel()[order], (normals[0], normals[1], normals[2]), colours, 0.08, ball.part
    )


def draw_limb(canvas: Canvas, pose: Pose, limb: Limb) -> None:
    """A rod as seen flat: its normal turns from side to side across its width."""
    ax, ay, az = pose.point(limb.a)
    bx, by, bz = pose.point(limb.b)
    thin = 0.55  # fine pixels: thinner, a rod would break into dots
    ra, rb = max(limb.ra * pose.scale, thin), max(limb.rb * pose.scale, thin)
    r = max(ra, rb)
    found = canvas.window(min(ax, bx) - r, max(ax, bx) + r, min(ay, by) - r, max(ay, by) + r)
    if found is None:
        return
    index, px, py = found
    ux, uy = bx - ax, by - ay
    square = ux * ux + uy * uy + 1e-6
    dx, dy = px - ax, py - ay
    t = np.clip((dx * ux + dy * uy) * (1.0 / square), 0.0, 1.0)
    ex, ey = dx - t * ux, dy - t * uy
    radius = ra + t * (rb - ra)
    far = ex * ex + ey * ey
    keep = np.flatnonzero(far < radius * radius)
    if not len(keep):
        return
    index, t, radius = index[keep], t[keep], radius[keep]
    nx, ny = ex[keep] / radius, ey[keep] / radius
    nz = np.sqrt(np.maximum(1.0 - nx * nx - ny * ny, 0.0))
    depth = az + t * (bz - az) + nz * radius
    seen = depth > canvas.depth[index]
    index, depth, t = index[seen], depth[seen], t[seen]
    skin = limb.skin
    speck = 1.0 - 0.3 * noise(canvas.lattice, t * 4.0 + limb.a[0] * 30.0, depth * 0.2)
    colour = [speck * c for c in skin.base]
    canvas.write(index, depth, (nx[seen], ny[seen], nz[seen]), colour, skin.gloss, limb.part)


def draw_wing(canvas: Canvas, pose: Pose, wing: Wing, light: Light) -> None:
    """A sheet; an opaque one is written like a ball, a clear one is kept to be laid over at the end."""
    rx, ry, rz = pose.point(wing.root)
    u, v = pose.vector(wing.span), pose.vector(wing.chord)
    area = u[0] * v[1] - u[1] * v[0]
    if abs(area) < 0.04 * pose.scale * pose.scale * 0.25:
        return _edge_on(canvas, pose, wing)
    low, high = float(wing.lower.min()), float(wing.upper.max())
    corners = [(a, b) for a in (0.0, 1.0) for b in (low, high)]
    xs = [rx + a * u[0] + b * v[0] for a, b in corners]
    ys = [ry + a * u[1] + b * v[1] for a, b in corners]
    found = canvas.window(min(xs), max(xs), min(ys), max(ys))
    if found is None:
        return None
    index, px, py = found
    dx, dy = px - rx, py - ry
    along = (dx * v[1] - dy * v[0]) * (1.0 / area)
    across = (dy * u[0] - dx * u[1]) * (1.0 / area)
    keep = np.flatnonzero((along > 0) & (along < 0.999) & (across > low) & (across < high))
    index, along, across = index[keep], along[keep], across[keep]
    cell = (along * 32.0).astype(np.int32)
    rest = along * 32.0 - cell
    bottom = wing.lower[cell] + (wing.lower[cell + 1] - wing.lower[cell]) * rest
    top = wing.upper[cell] + (wing.upper[cell + 1] - wing.upper[cell]) * rest
    depth = rz + along * u[2] + across * v[2]
    keep = np.flatnonzero((across > bottom) & (across < top) & (depth > canvas.depth[index]))
    index, along, across, depth = index[keep], along[keep], across[keep], depth[keep]
    if not len(index):
        return None
    width = (top - bottom)[keep]
    share = (across - bottom[keep]) / width
    vein = np.full(len(index), 1.0, np.float32)
    for k, at in enumerate(wing.veins):
        bend = at + (0.06 if k % 2 else -0.05) * along * (1.0 - along) * 4.0
        vein = np.minimum(vein, np.abs(share - bend) * width)
    nx, ny, nz = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], area
    unit = (1.0 if nz > 0 else -1.0) / float(np.sqrt(nx * nx + ny * ny + nz * nz))
    ripple = (smooth(0.0, 0.05, vein) - 0.5) * 0.25
    normal = (
        nx * unit + ripple,
        ny * unit - ripple * 0.6,
        np.full(len(index), nz * unit, np.float32),
    )
    if wing.opacity >= 1.0:
        colour = paint(canvas, wing.skin, along, share, vein, normal[2])
        canvas.write(index, depth, normal, colour, wing.skin.gloss, wing.part)
    else:
        _film(canvas, wing, light, index, along, share, vein, normal)
    return None


def _film(
    canvas: Canvas,
    wing: Wing,
    light: Light,
    index: Array,
    along: Array,
    share: Array,
    vein: Array,
    normal: tuple,
) -> None:
    cross = np.minimum(np.abs(along - 0.42 - 0.12 * share), np.abs(along - 0.66 + 0.1 * share))
    line = smooth(wing.vein_width, 0.3 * wing.vein_width, np.minimum(vein, cross))
    line = np.maximum(line, smooth(0.07, 0.0, along))
    shine = (
        normal[0] * light.towards[0] + normal[1] * light.towards[1] + normal[2] * light.towards[2]
    )
    tone = noise(canvas.lattice, along * 9.0, share * 4.0 + 20.0)
    glint = smooth(0.55, 0.95, tone) * np.maximum(shine, 0.0) * 0.7
    opacity = wing.opacity * (0.6 + 0.8 * tone) + 0.6 * line + 0.3 * glint
    rainbow = (tone, 0.8 * (1.0 - tone) + 0.2, 1.0 - 0.5 * tone)
    colour = []
    for k in range(3):
        lit = light.sky[k] * 0.8 + light.key[k] * np.abs(shine) * 0.7
        film = wing.skin.base[k] * (1.0 - line) + wing.skin.mark[k] * line
        colour.append(film * lit + glint * rainbow[k] * light.key[k] * 0.4)
    canvas.films.append((index, np.stack(colour), np.minimum(opacity, 0.95)))
    canvas.part[index] = wing.part
    canvas.owner[index] = canvas.number


def _edge_on(canvas: Canvas, pose: Pose, wing: Wing) -> None:
    tip = tuple(p + q for p, q in zip(wing.root, wing.span, strict=True))
    draw_limb(canvas, pose, Limb(wing.root, tip, 0.012, 0.006, wing.skin, wing.part))  # type: ignore[arg-type]


def draw(canvas: Canvas, animal: Animal, pose: Pose, light: Light, rng: Rng) -> None:
    """Put one animal into the buffers; the next one is hidden by it, or hides it, by depth."""
    canvas.number += 1
    for ball in animal.balls:
        draw_ball(canvas, pose, ball, rng)
    for limb in animal.limbs:
        draw_limb(canvas, pose, limb)
    for wing in animal.wings:
        draw_wing(canvas, pose, wing, light)


def shade(canvas: Canvas, light: Light, scale: float) -> tuple[Array, Array]:
    """Light on everything drawn: linear RGB (side, side, 3), and opacity (side, side); float32.

    A surface darkens where its neighbourhood lies nearer to the viewer (ambient occlusion).
    """
    side, solid = canvas.side, canvas.depth > FAR
    rgb = np.zeros((side * side, 3), np.float32)
    alpha = solid.astype(np.float32)
    index = np.flatnonzero(solid)
    if len(index):
        rgb[index] = _lit(canvas, light, scale, index)
    for pixels, colour, opacity in canvas.films:
        front = alpha[pixels]
        alpha[pixels] = front + opacity * (1.0 - front)
        # kept premultiplied: a film over nothing lets the ground through
        rgb[pixels] = rgb[pixels] * (1.0 - opacity)[:, None] + (colour * opacity).T
    return rgb.reshape(side, side, 3), alpha.reshape(side, side)


def _lit(canvas: Canvas, light: Light, scale: float, index: Array) -> Array:
    side = canvas.side
    floor = canvas.depth[index].min() - 0.05 * scale
    relief = np.maximum(canvas.depth, floor).reshape(side, side)
    hollow = blur(relief, 0.045 * scale) - relief
    dark = 1.0 - 0.75 * smooth(0.0, 0.14 * scale, hollow.ravel()[index])
    n = [canvas.normal[k][index] for k in range(3)]
    unit = 1.0 / np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2] + 1e-6)
    n = [v * unit for v in n]
    lx, ly, lz = light.towards
    direct = (
        np.maximum(n[0] * lx + n[1] * ly + n[2] * lz + 0.12, 0.0)
        * (1 / 1.12)
        * (0.35 + 0.65 * dark)
    )
    over = (n[0] * light.up[0] + n[1] * light.up[1] + n[2] * light.up[2]) * 0.5 + 0.5
    half = float(np.sqrt(lx * lx + ly * ly + (lz + 1) * (lz + 1)))
    shine = np.maximum((n[0] * lx + n[1] * ly + n[2] * (lz + 1)) * (1 / half), 0.0)
    for _ in range(5):  # to the 32nd power
        shine = shine * shine
    gloss = canvas.gloss[index]
    rim = 1.0 - np.maximum(n[2], 0.0)
    rim = rim * rim * rim * over
    out = np.empty((len(index), 3), np.float32)
    for k in range(3):
        ambient = (light.ground[k] + (light.sky[k] - light.ground[k]) * over) * dark
        glint = (
            gloss
            * (light.key[k] * (shine * 0.75 + 0.02) + light.sky[k] * (rim * 0.5 + 0.03 * over))
            * dark
        )
        out[:, k] = canvas.albedo[k][index] * (direct * light.key[k] + ambient) + glint
    return out


# --- shadows -------------------------------------------------------------------------------------


def cast(animal: Animal, shadow: Pose, side: int) -> Array:
    """The animal's shadow on the ground as seen by the viewer: float32 (side, side), 1 where dark.

    `shadow` is the pose with its frame followed along the light down to the ground; in pixels.
    """
    dark = np.zeros((side, side), np.float32)
    for ball in animal.balls:
        if max(ball.axes) > 0.04:
            _ball_shadow(dark, ball, shadow)
    for limb in animal.limbs:
        a, b = shadow.point(limb.a), shadow.point(limb.b)
        width = max(0.5 * (limb.ra + limb.rb) * shadow.scale, 0.3)
        _rod_shadow(dark, a, b, width)
    for wing in animal.wings:
        _wing_shadow(dark, wing, shadow)
    return dark


def _patch(dark: Array, x0: float, x1: float, y0: float, y1: float) -> tuple | None:
    side = len(dark)
    left, right = max(int(x0 - 1), 0), min(int(x1) + 3, side)
    top, bottom = max(int(y0 - 1), 0), min(int(y1) + 3, side)
    if left >= right or top >= bottom:
        return None
    x = np.arange(left, right, dtype=np.float32) + np.float32(0.5)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(0.5)
    return dark[top:bottom, left:right], x, y


def _ball_shadow(dark: Array, ball: Ball, pose: Pose) -> None:
    axes = mat(mat(pose.frame, rotation(ball.yaw, ball.pitch)), np.diag(np.array(ball.axes)))
    x, y, _ = pose.point(ball.at)
    xx, yy = float((axes[0] * axes[0]).sum()) + 0.1, float((axes[1] * axes[1]).sum()) + 0.1
    xy = float((axes[0] * axes[1]).sum())
    hx, hy = float(np.sqrt(xx)), float(np.sqrt(yy))
    found = _patch(dark, x - hx, x + hx, y - hy, y + hy)
    if found is None:
        return
    view, px, py = found
    dx, dy = px - x, py - y
    scale = 1.0 / max(xx * yy - xy * xy, 1e-6)
    far = (dx * dx * yy - 2.0 * xy * dx * dy + dy * dy * xx) * scale
    np.maximum(view, smooth(1.15, 0.75, far), out=view)


def _rod_shadow(dark: Array, a: tuple, b: tuple, width: float) -> None:
    found = _patch(
        dark,
        min(a[0], b[0]) - width,
        max(a[0], b[0]) + width,
        min(a[1], b[1]) - width,
        max(a[1], b[1]) + width,
    )
    if found is None:
        return
    view, px, py = found
    ux, uy = b[0] - a[0], b[1] - a[1]
    dx, dy = px - a[0], py - a[1]
    t = np.clip((dx * ux + dy * uy) * (1.0 / (ux * ux + uy * uy + 1e-6)), 0.0, 1.0)
    ex, ey = dx - t * ux, dy - t * uy
    far = np.sqrt(ex * ex + ey * ey)
    strength = min(1.0, width * 1.6)
    np.maximum(view, smooth(width + 0.5, width - 0.5, far) * strength, out=view)


def _wing_shadow(dark: Array, wing: Wing, pose: Pose) -> None:
    rx, ry, _ = pose.point(wing.root)
    u, v = pose.vector(wing.span), pose.vector(wing.chord)
    area = u[0] * v[1] - u[1] * v[0]
    if abs(area) < 4.0:
        return
    low, high = float(wing.lower.min()), float(wing.upper.max())
    xs = [rx + a * u[0] + b * v[0] for a in (0.0, 1.0) for b in (low, high)]
    ys = [ry + a * u[1] + b * v[1] for a in (0.0, 1.0) for b in (low, high)]
    found = _patch(dark, min(xs), max(xs), min(ys), max(ys))
    if found is None:
        return
    view, px, py = found
    dx, dy = px - rx, py - ry
    along = (dx * v[1] - dy * v[0]) * (1.0 / area)
    across = (dy * u[0] - dx * u[1]) * (1.0 / area)
    cell = (np.clip(along, 0.0, 1.0) * 32.0).astype(np.int32)
    inside = (along > 0) & (along < 1) & (across > wing.lower[cell]) & (across < wing.upper[cell])
    strength = 1.0 if wing.opacity >= 1.0 else 0.35 + 0.5 * wing.opacity
    np.maximum(view, inside.astype(np.float32) * strength, out=view)
