"""The parts of a network, as the course speaks of them: a backbone with weights θ, a head with weights φ."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ftcourse.plots.style import drawing, finish, sheet

__all__ = ["plot_parts"]

BACKBONE = ("stem", "layer1", "layer2", "layer3", "layer4")


def plot_parts(
    features: int = 512, path: str | Path | None = None, *, theme: str | None = None
) -> Figure:
    """A photo's way through a ResNet: stem and four stages (θ), `features` numbers, the head (φ), scores."""
    with drawing(theme, axes_grid=False) as t:
        fig, ax = sheet(figsize=(11.5, 1.9))
        colours = dict.fromkeys(BACKBONE, t.colours[0]) | {"head": t.colours[1]}
        names = ["photo", *BACKBONE, f"{features:,}\nfeatures", "head", "scores"]
        for at, name in enumerate(names):
            paint = colours.get(name)
            box = {
                "boxstyle": f"round,pad={0.55 if paint else 0.4}",
                "facecolor": paint or t.paper,
                "edgecolor": "none" if paint else t.muted,
            }
            ax.text(
                at, 0, name, ha="center", va="center", color=t.paper if paint else t.ink, bbox=box
            )
            if at:
                arrow = {"arrowstyle": "->", "color": t.muted, "lw": 1.5}
                ax.annotate("", (at - 0.4, 0), (at - 0.6, 0), arrowprops=arrow)
        ax.text(3, 0.75, "backbone: pre-trained weights θ", ha="center", color=t.colours[0])
        ax.text(7, 0.75, "new weights φ", ha="center", color=t.colours[1])
        ax.set(xlim=(-0.55, len(names) - 0.45), ylim=(-0.6, 1.1))
        ax.axis("off")
    return finish(fig, t, path)
