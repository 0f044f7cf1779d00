"""Which places of a detector's maps answer for which box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ftcourse.plots.images import _box, _colour, _grid, _legend, _show
from ftcourse.plots.style import drawing, finish
from ftcourse.tasks.places import Places

__all__ = ["plot_places"]


def plot_places(
    image: Any,
    target: Mapping[str, Any],
    names: Sequence[str],
    places: Places,
    path: str | Path | None = None,
    *,
    theme: str | None = None,
) -> Figure:
    """The photo once a map: a dot for each place, in the colour of the class it answers for, else small and grey.

    Args:
        image: PIL, or uint8 or float (3, H, W).
        target: a dict of `boxes` and `labels`, as `plot_boxes` takes it.
        names: the classes, the background first.
        places: of `ftcourse.tasks.places.answering_places`. The more central a place, the larger its dot.
    """
    labels = [int(k) for k in target["labels"]]
    with drawing(theme) as t:
        fig, axes = _grid(len(places.sizes), 4, 1, width=2.7)
        for k, (ax, (rows, columns)) in enumerate(zip(axes.flat, places.sizes, strict=False)):
            _show(ax, image)
            ends = ax.get_xlim(), ax.get_ylim()
            for box, label in zip(target["boxes"], labels, strict=True):
                _box(ax, box, _colour(label, t), lw=2)
            here = places.maps == k
            silent = places.points[here & (places.box < 0)]
            ax.plot(
                silent[:, 0], silent[:, 1], "o", ms=3.5, color="#D5DAE0", mec="#101418", mew=0.5
            )
            for box_number, label in enumerate(labels):
                mine = here & (places.box == box_number)
                ax.scatter(
                    places.points[mine, 0], places.points[mine, 1],
                    s=20 + 90 * places.centreness[mine], color=_colour(label, t), ec="#FFFFFF",
                    lw=1, zorder=4,
                )  # fmt: skip
            ax.set(xlim=ends[0], ylim=ends[1])
            answer = int((places.box[here] >= 0).sum())
            ax.set_title(
                f"{rows} x {columns}: {answer} of {rows * columns}", fontsize=11,
                fontweight="normal", loc="center",
            )  # fmt: skip
        _legend(fig, sorted(set(labels)), names, t)
    return finish(fig, t, path)
