"""Several photos and the likeliest classes of each, on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ftcourse.plots.images import _caption, _show
from ftcourse.plots.style import PERCENT, bare, drawing, finish, sheet

__all__ = ["plot_answers"]


def plot_answers(
    photos: Mapping[str, Any],
    answers: Mapping[str, Sequence[tuple[str, float]]],
    path: str | Path | None = None,
    *,
    right: Mapping[str, str] | None = None,
    theme: str | None = None,
) -> Figure:
    """Each photo with its name, and beside it a bar for each of its likeliest classes.

    All bars have one axis. It begins at zero and ends at the longest bar, so that small probabilities can be told
    apart; read the percents.

    Args:
        photos: images by their names, as `show_images` takes them.
        answers: for each name (class, probability), the likeliest first.
        right: the right class of the names that have one; its bar is green and its name bold.

    Raises:
        ValueError: there is no photo, or one that has no answers.
    """
    if not photos:
        raise ValueError("no photos to show")
    silent = [name for name in photos if not answers.get(name)]
    if silent:
        raise ValueError(f"no answers for {', '.join(silent)}")
    longest = max(p for name in photos for _, p in answers[name])
    with drawing(theme, axes_grid_axis="x") as t:
        fig, axes = sheet(
            len(photos), 2, figsize=(9, 2.35 * len(photos)), squeeze=False,
            gridspec_kw={"width_ratios": [1, 1.7]},
        )  # fmt: skip
        for (left, beside), (name, photo) in zip(axes, photos.items(), strict=True):
            bare(left)
            _show(left, photo)
            _caption(left, name, t.ink)
            known = (right or {}).get(name)
            for row, (said, p) in enumerate(answers[name]):
                beside.barh(row, p, 0.66, color=t.colours[2 if said == known else 0])
                beside.annotate(
                    f"{100 * p:.0f} %" if p >= 0.095 else f"{100 * p:.1f} %", (p, row), xytext=(5, 0),
                    textcoords="offset points", va="center", fontsize=12,
                )  # fmt: skip
            beside.set_yticks(range(len(answers[name])), [said for said, _ in answers[name]])
            for label in beside.get_yticklabels():
                label.set_fontweight("bold" if label.get_text() == known else "normal")
            beside.tick_params(axis="y", length=0)
            beside.invert_yaxis()
            beside.set_xlim(0, 1.16 * longest)
            beside.xaxis.set_major_formatter(PERCENT)
            beside.tick_params(axis="x", labelbottom=beside is axes[-1, 1])
        axes[-1, 1].set_xlabel("probability")
    return finish(fig, t, path)
