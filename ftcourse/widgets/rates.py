"""The learning-rate finder with a button: choose what trains, climb, read off a rate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ipywidgets as w
from torch import nn

from ftcourse.models.groups import layer_groups
from ftcourse.training.lr_finder import LRFinder, lr_finder
from ftcourse.training.stages import Stage
from ftcourse.widgets.base import Explorer, Picture, escape, page, png

__all__ = ["RateFinder", "rate_finder"]


class RateFinder(Explorer):
    """See `rate_finder`. `found` has the curves by (train, optimizer)."""

    def __init__(self, model: nn.Module, data: Any, steps: int, batch_size: int) -> None:
        self.model, self.data, self.steps, self.batch_size = model, data, steps, batch_size
        self.found: dict[tuple[str, str], LRFinder] = {}
        names = list(layer_groups(model))
        last = [(f"{name} and head", name) for name in names[-2:-1]]
        options = [("head", "head"), *last, ("everything", "all")]
        self.train = w.Dropdown(options=options, value="head", description="what trains")
        self.optimizer = w.Dropdown(
            options=["adamw", "sgd"], value="adamw", description="optimizer"
        )
        self.button = w.Button(
            description="Find",
            icon="line-chart",
            button_style="primary",
            layout=w.Layout(width="110px"),
        )
        self.bar = w.IntProgress(
            value=0, min=0, max=steps, layout=w.Layout(width="220px", display="none")
        )
        self.image = Picture("700px")
        self.code = w.HTML(page(f'<span class="soft">{self._hint()}</span>'))
        self.button.on_click(lambda _: self.find())
        for control in (self.train, self.optimizer):
            control.observe(lambda change: self._show(), "value")
        row = [self.train, self.optimizer, self.button, self.bar]
        top = w.HBox(row, layout=w.Layout(align_items="center", flex_flow="row wrap"))
        self.view = w.VBox([top, self.code, self.image], layout=w.Layout(width="100%"))

    def _hint(self) -> str:
        return (
            f"Find trains for up to {self.steps} batches of {self.batch_size} photos with a growing rate, "
            "and then puts all weights back."
        )

    @property
    def stage(self) -> Stage:
        """The stage as chosen; with the rate that was found, once it was."""
        chosen = Stage(train=self.train.value, optimizer=self.optimizer.value)
        found = self.found.get((chosen.label, chosen.optimizer))
        return replace(chosen, lr=found.suggestion) if found else chosen

    def find(self) -> LRFinder:
        """Climb with what is chosen, show the curve, and return it."""
        stage = self.stage
        self.button.disabled, self.bar.layout.display = True, ""

        def tick(step: int, loss: float) -> None:
            self.bar.value = step

        try:
            found = lr_finder(
                self.model,
                self.data,
                stage,
                steps=self.steps,
                batch_size=self.batch_size,
                on_step=tick,
            )
        finally:
            self.button.disabled, self.bar.layout.display = False, "none"
        self.found[stage.label, stage.optimizer] = found
        self._show()
        return found

    def _show(self) -> None:
        found = self.found.get((self.stage.label, self.stage.optimizer))
        if found is None:
            self.image.show(b"")
            self.code.value = page(f'<span class="soft">{self._hint()}</span>')
            return
        self.alt = f"Loss against learning rate; suggested: {self.stage.lr:g}."
        self.image.draw(found.plot(), self.alt)
        self.code.value = page(f"<div>try <code>{escape(self._code())}</code></div>")

    def _code(self) -> str:
        stage = self.stage
        return f'ft.Stage(train="{stage.label}", optimizer="{stage.optimizer}", lr={stage.lr:g})'

    def still(self) -> dict[str, str]:
        if not self.image.content:
            return {
                "text/plain": self._hint(),
                "text/html": f"<p>Learning-rate finder. {self._hint()}</p>",
            }
        return {"image/png": png(self.image.content), "text/plain": f"try {self._code()}"}


def rate_finder(
    model: nn.Module, data: Any, *, steps: int = 40, batch_size: int = 32
) -> RateFinder:
    """`ft.lr_finder` with a button: choose what trains and which optimizer, and read off a learning rate.

    The model is afterwards as it was. `find()` presses the button; `stage` is the `Stage` with the rate found.
    """
    return RateFinder(model, data, steps, batch_size)
