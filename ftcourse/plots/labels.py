"""Labels of boxes on a photo, put where they cover neither one another nor leave the photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matplotlib.text import Text

__all__ = ["Area", "label_boxes"]


PAD = 0.18  # between the letters and the edge of their background, in heights of the letters


class Area(NamedTuple):
    """A rectangle in pixels of the figure, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: Area) -> float:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)


def label_boxes(
    ax: Any, boxes: Sequence[Any], texts: Sequence[str], colours: Sequence[str]
) -> list[Text]:
    """Write each text at its box (left, top, right, bottom, in pixels of the photo), framed in its colour.

    At the first of these places that is free: above the box, below it, in its corners, then further and further
    away. Call it when the axes have their final size; the labels do not move them any more.
    """
    inside = Area(*ax.get_window_extent().extents)
    taken: list[Area] = []
    made = []
    for box, text, colour in zip(boxes, texts, colours, strict=True):
        label = ax.text(
            0, 0, text, transform=ax.transAxes, fontsize=10, fontweight="bold",
            color="#FFFFFF", ha="left", va="bottom",
            bbox={"boxstyle": f"square,pad={PAD}", "fc": "#101418D0", "ec": colour},
        )  # fmt: skip
        label.set_in_layout(False)
        text_box = label.get_window_extent()
        pad = PAD * label.get_fontsize() * ax.figure.dpi / 72
        wide, high = text_box.width + 2 * pad, text_box.height + 2 * pad
        corners = ax.transData.transform([(box[0], box[1]), (box[2], box[3])])
        (left, top), (right, bottom) = corners
        places = _places(Area(left, bottom, right, top), wide, high)
        areas = [_pushed(Area(x, y, x + wide, y + high), inside) for x, y in places]
        area = min(
            areas, key=lambda a: sum(a.shared(other) for other in taken)
        )  # the first of equals
        taken.append(area)
        # the text begins inside of its background; in shares of the axes, it keeps its place at another dpi
        begin = (area.left + pad, area.bottom + pad)
        label.set_position(ax.transAxes.inverted().transform(begin))
        made.append(label)
    return made


def _places(box: Area, wide: float, high: float) -> Iterator[tuple[float, float]]:
    """Lower left corners for a label of this size, the best first."""
    gap = 1.5
    for x in (box.left, box.right - wide):
        yield x, box.top + gap
        yield x, box.bottom - high - gap
        yield x, box.top - high - gap
        yield x, box.bottom + gap
    for step in range(1, 12):
        for x in (box.left, box.right - wide):
            yield x, box.top + gap + step * high / 2
            yield x, box.bottom - (1 + step / 2) * high - gap


def _pushed(area: Area, inside: Area) -> Area:
    """The same area, moved by as little as puts it inside."""
    across = max(0.0, inside.left - area.left) or min(0.0, inside.right - area.right)
    up = max(0.0, inside.bottom - area.bottom) or min(0.0, inside.top - area.top)
    return Area(area.left + across, area.bottom + up, area.right + across, area.top + up)
