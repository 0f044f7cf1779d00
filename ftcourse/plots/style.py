"""The one style of all pictures: Okabe and Ito's palette, large type, on light or on dark paper.

`theme="light"` or `"dark"` in any plot chooses the paper; `FTCOURSE_THEME` in the environment is the default, so
that an instructor turns a whole room dark at once. Nothing here changes matplotlib's global settings.

Palette: https://jfly.uni-koeln.de/color/ (told apart with each of the common kinds of colour blindness).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

__all__ = ["DARK", "LIGHT", "THEMES", "Theme", "drawing", "finish", "theme_of"]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PINK = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"


@dataclass(frozen=True)
class Theme:
    """Colours by their role; `colours` are the series in order, `ramp` runs from none to all."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    colours: tuple[str, ...]
    ramp: LinearSegmentedColormap

    @property
    def rc(self) -> dict[Any, Any]:
        """Settings for `matplotlib.rc_context`, or for `plt.style.use` in a notebook of one's own."""
        return {
            "figure.facecolor": self.paper,
            "figure.dpi": 90,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "text.color": self.ink,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "legend.labelcolor": self.ink,
            "font.size": 13,
            "axes.titlesize": 14,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 10,
            "axes.labelsize": 13,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": plt.cycler(color=self.colours),
            "grid.color": self.grid,
            "grid.linewidth": 0.8,
            "xtick.labelsize": 12,
            "ytick.labelsize": 12,
            "lines.linewidth": 2.4,
            "lines.solid_capstyle": "round",
            "legend.frameon": False,
            "legend.fontsize": 12,
        }


def _ramp(name: str, *colours: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(name, colours)


LIGHT = Theme(
    "light", paper="#FFFFFF", ink="#1B1F24", muted="#5F6670", grid="#E3E6EA",
    colours=(BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY, BLACK),
    ramp=_ramp("ftcourse-light", "#FFFFFF", "#BFDDF0", BLUE, "#01304D"),
)  # fmt: skip
DARK = Theme(
    "dark", paper="#14181D", ink="#ECEFF2", muted="#A3ACB7", grid="#2B323A",
    colours=(SKY, ORANGE, GREEN, PINK, YELLOW, VERMILLION, "#FFFFFF"),
    ramp=_ramp("ftcourse-dark", "#14181D", "#0B4668", SKY, "#E4F4FF"),
)  # fmt: skip
PERCENT = FuncFormatter(lambda v, _: f"{100 * v:.0f} %")

METHOD_COLOURS = {  # a name, and which of the theme's colours; every picture of the course keeps to it
    "training": 0, "train": 0, "validation": 1, "val": 1, "test": 2,
    "head": 0, "head only": 0, "linear probe": 0,
    "layer4": 2, "last block": 2,
    "all": 1, "all layers": 1, "full fine-tuning": 1,
    "LP-FT": 3, "LoRA": 4, "BitFit": 5,
    "scratch": 6, "from scratch": 6,
}  # fmt: skip

THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def theme_of(name: str | Theme | None = None) -> Theme:
    """The theme of that name; None asks `FTCOURSE_THEME`, and is light where that is not set.

    Raises:
        ValueError: there is no such theme.
    """
    if isinstance(name, Theme):
        return name
    chosen = name or os.environ.get("FTCOURSE_THEME", "").strip().lower() or "light"
    if chosen not in THEMES:
        raise ValueError(f"theme={chosen!r}; use {' or '.join(repr(t) for t in THEMES)}")
    return THEMES[chosen]


@contextmanager
def drawing(theme: str | Theme | None = None, **rc: Any) -> Iterator[Theme]:
    """The theme, with matplotlib's settings changed until the block ends."""
    chosen = theme_of(theme)
    settings = chosen.rc
    settings |= {name.replace("_", "."): value for name, value in rc.items()}
    with plt.rc_context(settings):
        yield chosen
        interactive = plt.isinteractive()
    # The first figure of a notebook starts its backend, which turns this on; put back with the rest, it would
    # be off from then on, and no figure would be shown that is not a cell's last expression.
    plt.rcParams["interactive"] = interactive


def colours_of(names: Sequence[str], chosen: Mapping[str, str] | None, t: Theme) -> dict[str, str]:
    """A colour for each name: the caller's, the course's, or the next one that is not taken yet."""
    known = {n: t.colours[METHOD_COLOURS[n]] for n in names if n in METHOD_COLOURS}
    known |= dict(chosen or {})
    free = cycle([c for c in t.colours if c not in known.values()] or t.colours)
    return {name: known[name] if name in known else next(free) for name in names}


class ShownOnce(Figure):
    """A pyplot figure that a notebook shows once, also where it is a cell's last expression.

    A plain one would be shown twice there: as the cell's value and, with all open figures, at its end.
    """

    def _ipython_display_(self) -> None:
        from IPython.display import display

        png = io.BytesIO()
        self.savefig(png, format="png", dpi=self.dpi, bbox_inches="tight")
        width, height = (round(v * self.dpi) for v in self.get_size_inches())
        text = f"<Figure size {width}x{height} with {len(self.axes)} Axes>"
        display({"image/png": png.getvalue(), "text/plain": text}, raw=True)
        plt.close(self)  # only takes it from pyplot's list; the figure itself stays usable


def sheet(*args: Any, **kwargs: Any) -> tuple[Figure, Any]:
    """`plt.subplots` with a figure that is shown once, and room between the axes kept by itself."""
    return plt.subplots(*args, **{"layout": "constrained", "FigureClass": ShownOnce, **kwargs})


def finish(fig: Figure, theme: Theme, path: str | Path | None = None) -> Figure:
    """Fix the theme to the figure, write it to `path` if that is given, and return it."""
    for ax in fig.axes:
        # ticks are made as late as at drawing, when the theme's settings are no longer in force
        ax.tick_params(which="both", color=theme.muted, labelcolor=theme.ink)
        ax.tick_params(which="major", grid_color=theme.grid, grid_linewidth=0.8)
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_offset_text().set_color(theme.ink)
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(path, dpi=120, bbox_inches="tight", facecolor=theme.paper)
    return fig


def bare(ax: Any) -> None:
    """No ticks, grid or frame: for pictures."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
