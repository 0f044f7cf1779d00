"""Curves as SVG, for live views: small to send, sharp at each size, in the notebook's own colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftcourse.widgets.base import escape

__all__ = ["curves"]

WIDTH, HEIGHT = 410, 230
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 30, 34
TITLES = {"accuracy": "Accuracy", "miou": "Mean IoU", "map": "Mean average precision", "f1": "F1"}


def curves(history: Any, epochs: int) -> str:
    """Loss and score of a `History` so far, on axes as long as the run will be."""
    score = getattr(history, "score", "accuracy")
    charts = [
        chart(history, "loss", "Loss", epochs),
        chart(history, score, TITLES.get(score, score), epochs, top=1.0),
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
    values = [r[k] for r in rows for k in (f"train_{name}", f"val_{name}") if k in r]
    high = top if top is not None else (1.08 * max(values) if values else 1.0)
    high = max(high, 1e-9)
    low = 0.0 if top is None or not values else max(0.0, min(values) - 0.08)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / max(1, epochs)

    def y(value: float) -> float:
        share = (value - low) / max(high - low, 1e-9)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, share))

    parts = [_frame(title, x, y, low, high, epochs), _stages(rows, x)]
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


def _frame(title: str, x: Any, y: Any, low: float, high: float, epochs: int) -> str:
    lines = [
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="600" fill="var(--ftc-ink)">{escape(title)}</text>'
    ]
    for k in range(5):
        value = low + (high - low) * k / 4
        lines.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="var(--ftc-line)"/><text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" '
            f'font-size="12" fill="var(--ftc-soft)">{value:.2f}</text>'
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
    parts = []
    for i, row in enumerate(rows):
        if i and row["stage"] == rows[i - 1]["stage"]:
            continue
        at = x(row["epoch"] - 1)
        if i:
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
                f'stroke="var(--ftc-soft)" stroke-dasharray="3 3"/>'
            )
        parts.append(
            f'<text x="{at + 5:.1f}" y="{TOP + 10}" font-size="11" font-style="italic" '
            f'fill="var(--ftc-soft)">{escape(str(row["train"])[:18])}</text>'
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
