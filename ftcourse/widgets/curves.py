"""Curves as SVG, for live views: small to send, sharp at each size, in the notebook's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ftcourse.plots.training import SCORES
from ftcourse.widgets.base import escape

__all__ = ["curves"]

WIDTH, HEIGHT = 410, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 44, 34


def curves(history: Any, epochs: int) -> str:
    """Loss and score of a `History` so far, on axes as long as the run will be."""
    score = getattr(history, "score", "accuracy")
    charts = [
        chart(history, "loss", "Loss", epochs),
        chart(history, score, SCORES.get(score, score), epochs, top=1.0),
    ]
    legend = (
        '<div style="margin:2px 0 0 48px"><span class="key" style="background:var(--ftc-a);margin-left:0">'
        '</span>training<span class="key" style="background:var(--ftc-b)"></span>validation'
        '<span style="color:var(--ftc-b);margin:0 4px 0 14px">★</span>best so far</div>'
    )
    return f'<div style="display:flex;flex-wrap:wrap">{"".join(charts)}</div>{legend}'


def chart(history: Any, name: str, title: str, epochs: int, top: float | None = None) -> str:
    """One panel: training and validation of a column, stages marked, the best epoch starred."""
    rows = history.epochs
    epochs = min(
        epochs, max(12, math.ceil(1.3 * len(rows)))
    )  # of a long run, the part that is begun
    values = [r[k] for r in rows for k in (f"train_{name}", f"val_{name}") if k in r]
    ticks = _ticks(values, top)
    low, high = ticks[0], ticks[-1]

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / max(1, epochs)

    def y(value: float) -> float:
        share = (value - low) / max(high - low, 1e-9)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, share))

    parts = [_frame(title, x, y, ticks, epochs, top is not None), _stages(rows, x)]
    for kind, colour in (("train", "a"), ("val", "b")):
        points = [(x(r["epoch"]), y(r[f"{kind}_{name}"])) for r in rows if f"{kind}_{name}" in r]
        parts.append(_line(points, colour))
    if rows and f"val_{name}" in (history.best or {}):
        best = history.best
        parts.append(
            f'<text x="{x(best["epoch"]):.1f}" y="{y(best[f"val_{name}"]) + 7:.1f}" text-anchor="middle" '
            f'font-size="21" fill="var(--ftc-b)">★</text>'
        )
    said = _in_words(rows, name, title)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" style="max-width:100%" role="img" '
        f'aria-label="{escape(said)}">{"".join(parts)}</svg>'
    )


def _in_words(rows: Sequence[dict[str, Any]], name: str, title: str) -> str:
    if not rows or f"val_{name}" not in rows[-1]:
        return f"{title}: no epoch yet"
    return f"{title} after epoch {rows[-1]['epoch']}: validation {rows[-1][f'val_{name}']:.3f}"


def _ticks(values: Sequence[float], top: float | None) -> list[float]:
    """Round numbers, three to six of them, that span the values; from zero, or up to `top`."""
    if not values:
        return [0.0, 0.25, 0.5, 0.75, 1.0]
    low, high = (0.0, max(max(values), 1e-9)) if top is None else (min(values), top)
    step = next(
        s * 10.0**k for k in range(-9, 9) for s in (1, 2, 2.5, 5) if high - low <= 5 * s * 10.0**k
    )
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def _frame(title: str, x: Any, y: Any, ticks: Sequence[float], epochs: int, share: bool) -> str:
    lines = [
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="600" fill="var(--ftc-ink)">{escape(title)}</text>'
    ]
    for value in ticks:
        text = f"{100 * value:.3g} %" if share else f"{value:.3g}"
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="var(--ftc-line)"/><text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" '
            f'font-size="12" fill="var(--ftc-soft)">{text}</text>'
        )
    step = max(1, round(epochs / 6))
    for epoch in range(0, epochs + 1, step):
        lines.append(
            f'<text x="{x(epoch):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle" font-size="12" '
            f'fill="var(--ftc-soft)">{epoch}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    lines.append(
        f'<text x="{middle}" y="{HEIGHT - 3}" text-anchor="middle" font-size="12" fill="var(--ftc-soft)">'
        "epoch</text>"
    )
    return "".join(lines)


def _stages(rows: Sequence[dict[str, Any]], x: Any) -> str:
    """A dashed line where a stage began, and above what it trains."""
    parts, starts = (
        [],
        [i for i, r in enumerate(rows) if not i or r["stage"] != rows[i - 1]["stage"]],
    )
    for k, i in enumerate(starts):
        row = rows[i]
        at = x(row["epoch"] - 1)
        end = x(rows[starts[k + 1]]["epoch"] - 1) if k + 1 < len(starts) else WIDTH
        room = int((end - at - 8) / 6)  # letters that fit
        if i:
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
                f'stroke="var(--ftc-soft)" stroke-dasharray="3 3"/>'
            )
        if room >= 4:
            parts.append(
                f'<text x="{at + 5:.1f}" y="{TOP - 7}" font-size="11" font-style="italic" '
                f'fill="var(--ftc-soft)">{escape(str(row["train"])[:room])}</text>'
            )
    return "".join(parts)


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    if not points:
        return ""
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    dots = "".join(
        f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.2" fill="var(--ftc-{colour})"/>'
        for px, py in points
    )
    return (
        f'<polyline points="{path}" fill="none" stroke="var(--ftc-{colour})" stroke-width="2.4" '
        f'stroke-linejoin="round"/>{dots}'
    )
