"""The freeze explorer: click layer groups to freeze or thaw them, and see what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as w
from torch import nn

from ftcourse.models.cost import Cost, count_cost, seconds_per_image
from ftcourse.models.freezing import freeze, unfreeze
from ftcourse.models.groups import group_parameters, layer_groups
from ftcourse.widgets.base import Explorer, bar, escape, page

__all__ = ["FreezeExplorer", "freeze_explorer", "stage_code", "training_groups"]

FROZEN, THAWED, TEXT = "#BFDDF0", "#F3B65C", "#1B1F24"  # ice and fire; dark text on both
PHOTOS = 100  # of the epoch that is timed, where no data are given


def training_groups(model: nn.Module) -> list[str]:
    """The layer groups of which something trains, from the input to the head."""
    return [
        name
        for name, parameters in group_parameters(model).items()
        if any(p.requires_grad for p in parameters)
    ]


def stage_code(groups: Sequence[str], known: Sequence[str]) -> str:
    """The `Stage` that trains exactly these groups, as one would write it."""
    if not groups:
        return "ft.freeze(model)  # nothing trains"
    if list(groups) == list(known):
        return 'ft.Stage(train="all")'
    if list(groups) == list(known)[-len(groups) :]:
        return f'ft.Stage(train="{groups[0]}")'
    names = ", ".join(f'"{name}"' for name in groups)
    return f"ft.Stage(train=({names}{',' * (len(groups) == 1)}))"


def megabytes(count: float) -> str:
    mb = count / 1e6
    return f"{mb:,.0f} MB" if mb >= 10 else f"{mb:.1f} MB"


def gigaflops(count: float) -> str:
    return f"{count / 1e9:.2f} GFLOP"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min"


class FreezeExplorer(Explorer):
    """See `freeze_explorer`."""

    def __init__(self, model: nn.Module, data: Any, size: int, batch_size: int, time: bool) -> None:
        self.model, self.size, self.batch_size = model, size, batch_size
        self.photos = len(data.train) if data is not None else PHOTOS
        self.groups = list(layer_groups(model))
        self._time = time
        self._seconds: dict[tuple[str, ...], float] = {}
        self._loading = _loading_seconds(data) if data is not None and time else 0.0
        chosen = training_groups(model)
        unfreeze(model)
        self.full = self.cost()
        self.seconds()  # of everything: the longest, which the bar is compared with
        self._apply(chosen)
        self._build()

    # -- what the view shows, without a view ----------------------------------------------------

    @property
    def chosen(self) -> list[str]:
        """The groups that train now."""
        return training_groups(self.model)

    def cost(self) -> Cost:
        """The counts for what trains now."""
        return count_cost(self.model, size=self.size, batch_size=self.batch_size)

    def seconds(self) -> float | None:
        """Seconds of an epoch with what trains now, measured once for each choice; None if not asked for."""
        if not self._time:
            return None
        key = tuple(self.chosen)
        if key not in self._seconds:
            step = seconds_per_image(self.model, size=self.size)
            self._seconds[key] = self.photos * (step + self._loading)
        return self._seconds[key]

    def toggle(self, group: str) -> None:
        """Freeze the group if it trains, thaw it if it is frozen."""
        (freeze if group in self.chosen else unfreeze)(self.model, group)
        self.refresh()

    def choose(self, groups: Sequence[str]) -> None:
        """Let exactly these groups train."""
        self._apply(groups)
        self.refresh()

    def _apply(self, groups: Sequence[str]) -> None:
        freeze(self.model)
        if groups:
            unfreeze(self.model, *groups)

    # -- the view ------------------------------------------------------------------------------

    def _build(self) -> None:
        self.buttons = {}
        for name in self.groups:
            button = w.Button(layout=w.Layout(width="auto", height="44px", flex="1 1 0%"))
            button.on_click(partial(self._clicked, name))
            self.buttons[name] = button
        self.presets = []
        for text, groups in self._presets().items():
            preset = w.Button(description=text, layout=w.Layout(width="auto", height="28px"))
            preset.on_click(partial(self._preset, groups))
            self.presets.append(preset)
        self.panel = w.HTML()
        hint = w.HTML(
            page('<span class="soft">Click a layer group to freeze or thaw it, or take</span>')
        )
        self.view = w.VBox(
            [
                w.HBox([hint, *self.presets], layout=w.Layout(align_items="center", flex_flow="row wrap")),
                w.HBox(list(self.buttons.values()), layout=w.Layout(width="100%")),
                self.panel,
            ],
            layout=w.Layout(width="100%", max_width="900px"),
        )  # fmt: skip
        self.refresh()

    def _presets(self) -> dict[str, list[str]]:
        last = {f"{name} and head": [name, "head"] for name in self.groups[-2:-1]}
        return {"head": ["head"], **last, "everything": self.groups}

    def _clicked(self, name: str, button: Any) -> None:
        self.toggle(name)

    def _preset(self, groups: list[str], button: Any) -> None:
        self.choose(groups)

    def refresh(self) -> None:
        """Show what the model is now; call it after a change made elsewhere."""
        chosen = self.chosen
        for name, button in self.buttons.items():
            trains = name in chosen
            button.description = name
            button.icon = "fire" if trains else "snowflake-o"
            button.style.button_color = THAWED if trains else FROZEN
            button.style.text_color = (
                TEXT  # a dark theme's is white; ipywidgets 7 has no such setting
            )
            button.style.font_weight = "bold" if trains else "normal"
            button.tooltip = (
                f"{name} trains: click to freeze" if trains else f"{name} is frozen: click to thaw"
            )
        cost = self.cost()
        known = tuple(chosen) in self._seconds
        if self._time and not known:  # counts first, they take no time
            self.panel.value = page(self._gauges(cost, None))
        self.panel.value = page(self._gauges(cost, self.seconds()))

    def _gauges(self, cost: Cost, seconds: float | None) -> str:
        full = self.full
        memory = [("weights", "a"), ("gradients", "b"), ("optimizer", "e"), ("activations", "c")]
        keys = "".join(
            f'<span class="key" style="background:var(--ftc-{c})"></span>{name} {megabytes(getattr(cost, name))}'
            for name, c in memory
        )
        rows = [
            (
                "numbers that train", f"{cost.trainable:,}",
                bar((cost.trainable / full.parameters, "a"), label=f"of {full.parameters:,}"),
                f"of {cost.parameters:,}",
            ),
            (
                f"memory, {cost.batch_size} photos", megabytes(cost.memory),
                bar(*((getattr(cost, k) / full.memory, c) for k, c in memory), label="memory"),
                f"of {megabytes(full.memory)} with everything",
            ),
            (
                "compute, a photo", gigaflops(cost.forward + cost.backward),
                bar(
                    (cost.forward / (full.forward + full.backward), "a"),
                    (cost.backward / (full.forward + full.backward), "b"), label="compute",
                ),
                f"forward {cost.forward / 1e9:.2f}, backward {cost.backward / 1e9:.2f}",
            ),
        ]  # fmt: skip
        if self._time:
            most = max(self._seconds.values())
            rows.append(
                (
                    f"an epoch, {self.photos} photos", duration(seconds) if seconds is not None else "…",
                    bar(((seconds or 0.0) / most, "a"), label="time"),
                    "measured here, nothing cached",
                )
            )  # fmt: skip
        cells = "".join(
            f'<tr><td style="white-space:nowrap">{name}</td><td class="num big">{value}</td>'
            f'<td style="width:34%">{gauge}</td>'
            f'<td class="soft">{note}</td></tr>'
            for name, value, gauge, note in rows
        )
        code = escape(stage_code(self.chosen, self.groups))
        return (
            f'<table style="width:100%;margin-top:8px">{cells}</table>'
            f'<div class="soft" style="margin:2px 0 10px 0">memory:{keys}</div>'
            f"<div>the same as <code>{code}</code></div>"
        )

    # -- without a kernel ----------------------------------------------------------------------

    def table(self) -> list[dict[str, Any]]:
        """One row a preset: what trains, and its costs. The model is afterwards as it was."""
        before, rows = self.chosen, []
        for name, groups in self._presets().items():
            self._apply(groups)
            seconds = self.seconds()
            rows.append({"trains": name, "seconds": seconds, **self.cost().to_dict()})
        self._apply(before)
        return rows

    def still(self) -> dict[str, str]:
        rows = self.table()
        timed = self._time
        head = [
            "trains",
            "numbers that train",
            f"memory, {self.batch_size} photos",
            "compute, a photo",
        ]
        head += [f"an epoch, {self.photos} photos"] * timed
        body = [
            [
                r["trains"], f"{r['trainable']:,}", megabytes(r["memory"]),
                gigaflops(r["forward"] + r["backward"]),
                *([duration(r["seconds"])] if timed else []),
            ]
            for r in rows
        ]  # fmt: skip
        now = ", ".join(self.chosen) or "nothing"
        caption = f"Freeze explorer (live in a running notebook). Trains now: {now}."
        return {
            "text/html": html_table(head, body, caption),
            "text/plain": text_table(head, body, caption),
        }


def html_table(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """A plain table, which GitHub and nbconvert show as they show any."""
    top = "".join(f'<th style="text-align:{"left" if i == 0 else "right"}">{escape(h)}</th>'
                  for i, h in enumerate(head))  # fmt: skip
    rows = "".join(
        "<tr>" + "".join(f'<td style="text-align:{"left" if i == 0 else "right"}">{escape(c)}</td>'
                         for i, c in enumerate(row)) + "</tr>"
        for row in body
    )  # fmt: skip
    return (
        f"<p>{escape(caption)}</p><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>"
    )


def text_table(head: Sequence[str], body: Sequence[Sequence[str]], caption: str) -> str:
    """The same in plain text."""
    widths = [max(len(row[i]) for row in (head, *body)) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(n) if i == 0 else c.rjust(n) for i, (c, n) in enumerate(zip(row, widths, strict=True)))
        for row in (head, *body)
    ]  # fmt: skip
    return "\n".join([caption, *lines])


def _loading_seconds(data: Any, count: int = 8) -> float:
    """Seconds to load and transform one training photo."""
    import time

    start = time.perf_counter()
    n = min(count, len(data.train))
    for i in range(n):
        data.train[i]
    return (time.perf_counter() - start) / n


def freeze_explorer(
    model: nn.Module,
    data: Any = None,
    *,
    size: int = 128,
    batch_size: int = 32,
    time: bool = True,
) -> FreezeExplorer:
    """Click layer groups to freeze or thaw them; what trains, memory, FLOPs and time follow.

    It works on your model: what you click is frozen or thawed there, by `ft.freeze` and `ft.unfreeze`. Parameters,
    memory and FLOPs are counted (`ftcourse.models.cost`); seconds are measured once for each choice, with
    batches of 8 on this machine. The time is that of an epoch in which the whole network runs for each photo.

    Args:
        data: for the number of training photos, and the time that loading them takes; without it, 100 photos.
        size: side of the images in pixels.
        batch_size: photos that share a step, for the memory.
        time: False leaves the measuring out.
    """
    return FreezeExplorer(model, data, size, batch_size, time)
