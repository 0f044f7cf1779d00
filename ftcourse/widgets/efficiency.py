"""The data-efficiency explorer: "I have so many photos a class. What should I train?", from measured results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as w

from ftcourse.plots.results import plot_learning_curves
from ftcourse.widgets.base import Explorer, Picture, escape, page, png
from ftcourse.widgets.freeze import html_table, text_table

__all__ = ["EfficiencyExplorer", "advice", "efficiency_explorer", "photos_needed", "readings"]

Row = Mapping[str, Any]


def readings(rows: Iterable[Row], photos: float) -> list[dict[str, Any]]:
    """Each method's accuracy at so many photos a class, the best first.

    Dicts of `method`, `mean`, `half` (of the 95 % interval, None if not known) and `measured`: False where it is
    read off the line between two measured sizes, on a log scale. Methods not measured around it are left out.
    """
    found = []
    for method in dict.fromkeys(r["method"] for r in rows):
        mine = sorted((r for r in rows if r["method"] == method), key=lambda r: r["per_class"])
        below = [r for r in mine if r["per_class"] <= photos]
        above = [r for r in mine if r["per_class"] >= photos]
        if not below or not above:
            continue
        a, b = below[-1], above[0]
        if a["per_class"] == b["per_class"]:
            mean, half = a["mean"], _half(a)
        else:
            share = math.log(photos / a["per_class"]) / math.log(b["per_class"] / a["per_class"])
            mean = (1 - share) * a["mean"] + share * b["mean"]
            known = [h for h in (_half(a), _half(b)) if h is not None]
            half = max(known) if len(known) == 2 else None
        measured = a["per_class"] == b["per_class"]
        found.append({"method": method, "mean": mean, "half": half, "measured": measured})
    return sorted(found, key=lambda r: -r["mean"])


def _half(row: Row) -> float | None:
    value = row.get("interval95", row.get("interval"))
    if isinstance(value, Sequence):
        return (value[1] - value[0]) / 2
    return value


def photos_needed(rows: Iterable[Row], method: str, accuracy: float) -> float | None:
    """Photos a class at which the method reaches the accuracy, read off between measured sizes; None: it does not.

    Where the smallest size measured is enough, it is that size.
    """
    mine = sorted((r for r in rows if r["method"] == method), key=lambda r: r["per_class"])
    before = None
    for row in mine:
        if row["mean"] >= accuracy:
            if before is None:
                return float(row["per_class"])
            share = (accuracy - before["mean"]) / (row["mean"] - before["mean"])
            return before["per_class"] * (row["per_class"] / before["per_class"]) ** share
        before = row
    return None


def advice(found: Sequence[Mapping[str, Any]]) -> str:
    """In a sentence: the best method, and which others cannot be told from it."""
    if not found:
        return "Nothing was measured around this size."
    best = found[0]
    text = f"{best['method']} is best: {100 * best['mean']:.0f} %"
    if best["half"] is None:
        return f"{text}, from a single run, so that nothing is known of chance."
    close = [
        r["method"] for r in found[1:]
        if r["half"] is not None and r["mean"] + r["half"] >= best["mean"] - best["half"]
    ]  # fmt: skip
    unsure = [r["method"] for r in found[1:] if r["half"] is None]
    text += f" (± {100 * best['half']:.0f})."
    if close:
        text += f" Its interval overlaps with that of {' and '.join(close)}: do not rely on the difference."
    elif len(found) > 1 and not unsure:
        text += " Its interval overlaps with no other."
    return text


class EfficiencyExplorer(Explorer):
    """See `efficiency_explorer`."""

    def __init__(self, results: Mapping[str, Any] | Iterable[Row]) -> None:
        rows = results["summary"] if isinstance(results, Mapping) else results
        self.command = str(results.get("command", "")) if isinstance(results, Mapping) else ""
        self.settings = _settings([dict(r) for r in rows])
        names = list(self.settings)
        most = max(names, key=lambda name: len(self.settings[name]))
        self.setting = w.Dropdown(
            options=names,
            value=most,
            description="measured on",
            style={"description_width": "90px"},
        )
        self.photos = w.SelectionSlider(
            options=[1], description="photos a class", style={"description_width": "110px"},
            layout=w.Layout(width="420px"), continuous_update=False,
        )  # fmt: skip
        self.image = Picture("760px")
        self.told = w.HTML()
        self._fill()
        self.setting.observe(lambda change: self._fill(), "value")
        self.photos.observe(lambda change: self.refresh(), "value")
        top = w.HBox([self.setting, self.photos], layout=w.Layout(flex_flow="row wrap"))
        self.view = w.VBox([top, self.told, self.image], layout=w.Layout(width="100%"))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the setting that is chosen."""
        return self.settings[self.setting.value]

    def _fill(self) -> None:
        sizes = sorted({r["per_class"] for r in self.rows})
        low, high = sizes[0], sizes[-1]
        steps = {round(low * (high / low) ** (k / 16)) for k in range(17)} if high > low else set()
        options = sorted({*sizes, *steps})
        self.photos.options = options
        self.photos.value = min(options, key=lambda n: abs(math.log(n / math.sqrt(low * high))))
        self.refresh()

    def refresh(self) -> None:
        n = self.photos.value
        found = readings(self.rows, n)
        fig = plot_learning_curves(self.rows, chance=self._chance())
        fig.axes[0].axvline(n, color="#888888", lw=1.6, ls=(0, (2, 2)), zorder=0)
        self.text = f"With {n} photos a class, {advice(found)}"
        self.alt = f"{self.text} " + "; ".join(" ".join(row) for row in self.table()[1])
        self.image.draw(fig, self.alt, dpi=85)
        between = "" if all(r["measured"] for r in found) else " Read off between measured sizes."
        source = f" Measured by <code>{escape(self.command)}</code>." if self.command else ""
        self.told.value = page(
            f'<div style="font-size:15px;margin:4px 0">{escape(self.text)}</div>'
            f'<div class="soft">{between}{source}</div>'
        )

    def _chance(self) -> float | None:
        classes = {r["classes"] for r in self.rows if "classes" in r}
        return 1 / classes.pop() if len(classes) == 1 else None

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows: each method's accuracy at the size chosen."""
        body = [
            [
                r["method"], f"{100 * r['mean']:.1f} %",
                f"± {100 * r['half']:.1f}" if r["half"] is not None else "one run",
            ]
            for r in readings(self.rows, self.photos.value)
        ]  # fmt: skip
        return ["method", "accuracy", "95 % interval"], body

    def still(self) -> dict[str, str]:
        head, body = self.table()
        return {
            "image/png": png(self.image.content),
            "text/plain": text_table(head, body, self.text),
        }

    def still_html(self) -> str:
        """The table as HTML, for a page of one's own."""
        return html_table(*self.table(), self.text)


def _settings(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows by what they were measured on; of several recipes for one method, the one with most seeds."""
    units = {"pixels": "{} px", "classes": "{} classes"}
    found: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for row in rows:
        name = (
            ", ".join(units[k].format(row[k]) for k in ("classes", "pixels") if k in row) or "all"
        )
        cell = found.setdefault(name, {})
        key = (row["method"], row["per_class"])
        rank = (row.get("seeds", 1), row["mean"])
        if key not in cell or rank > (cell[key].get("seeds", 1), cell[key]["mean"]):
            cell[key] = row
    if not found:
        raise ValueError("no rows: each needs method, per_class, mean and an interval")
    return {name: list(cells.values()) for name, cells in found.items()}


def efficiency_explorer(results: Mapping[str, Any] | Iterable[Row]) -> EfficiencyExplorer:
    """How many photos do I need, and what should I train with those I have? From measured results.

    Args:
        results: a results file, as `ftcourse.results.load(...)` gives it, or its `summary`: rows with `method`,
            `per_class`, `mean` (a fraction) and `interval95`; `classes` and `pixels` become a choice.
    """
    return EfficiencyExplorer(results)
