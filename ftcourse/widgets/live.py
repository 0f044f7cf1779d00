"""A run to watch and to stop: curves, images a second, time left, a stop button that works.

While a cell runs, Jupyter's kernel does not hear the widgets: a stop button beside a running `finetune` would be
heard when there is nothing left to stop. So the training runs in a thread of its own, the cell ends at once, and
the kernel is free to hear the button. It is asked between two batches, and `finetune` then ends as after an
interrupt: with the best weights there were.

    run = widgets.live_run(model, data, stages)
    run                          # curves that grow; other cells can be run meanwhile
    history = run.result()       # in another cell: waits; the notebook's own stop button stops it there

Do not train, move or freeze the same model in another cell before `result()`.
"""

from __future__ import annotations

import io
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import ipywidgets as w
import matplotlib.pyplot as plt
from torch import nn

from ftcourse.training.history import History
from ftcourse.training.loop import finetune
from ftcourse.training.stages import Stage
from ftcourse.widgets.base import Explorer, bar, escape, page, png
from ftcourse.widgets.curves import curves
from ftcourse.widgets.freeze import duration

__all__ = ["LiveRun", "live_run", "seconds_left"]

EVERY = 0.25  # seconds between two updates of the view
WINDOW = 3.0  # seconds over which the speed is averaged


def seconds_left(
    rows: Sequence[dict[str, Any]], epochs: Sequence[int], now: float, share: float
) -> float | None:
    """How long a run still takes; None while nothing is known.

    Args:
        rows: the history's rows so far, with `stage` and `seconds`.
        epochs: how many epochs each stage has.
        now: seconds since the current epoch began.
        share: of the current epoch's batches that are done, 0 to 1.

    A stage that has not begun is taken to be as slow, an epoch, as the last one known.
    """
    done = len(rows)
    if done >= sum(epochs):
        return 0.0
    stage, inside = 0, done
    while inside >= epochs[stage]:
        inside -= epochs[stage]
        stage += 1
    mine = [r["seconds"] for r in rows if r["stage"] == stage + 1]
    if mine:
        an_epoch = sum(mine) / len(mine)
    elif share > 0.1:
        an_epoch = now / share
    elif rows:
        an_epoch = rows[-1]["seconds"]
    else:
        return None
    whole = sum(epochs) - done
    return max(0.0, whole * an_epoch - min(now, an_epoch))


class LiveRun(Explorer):
    """See `live_run`. `history` is what has happened so far; `running` whether it goes on."""

    def __init__(
        self, model: nn.Module, data: Any, stages: Stage | Sequence[Stage], settings: dict[str, Any]
    ) -> None:
        self.model, self.data = model, data
        self.stages = [stages] if isinstance(stages, Stage) else list(stages)
        self.history = History(stages=[s.to_dict() for s in self.stages])
        self.error: BaseException | None = None
        self._settings = {"progress": False, **settings}
        self._theirs = self._settings.pop("on_epoch", None)
        self._theirs_batch = self._settings.pop("on_batch", None)
        self._stop, self._done = threading.Event(), threading.Event()
        batch = self._settings.get("batch_size", 32)
        self._batch, self._steps = batch, max(1, -(-len(data.train) // batch))
        self._step, self._begun, self._drawn = 0, time.perf_counter(), 0.0
        self._times: deque[float] = deque([self._begun])
        self._handle: Any = None
        self.alt = "Loss and accuracy of the run over its epochs."
        self._build()
        self._thread = threading.Thread(target=self._train, name="ftcourse-live-run", daemon=True)
        self._thread.start()

    # -- the run -------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return not self._done.is_set()

    def stop(self) -> None:
        """Ask the run to end after the batch it is at; it returns at once. `result()` waits for the end."""
        self._stop.set()
        self.button.disabled = True
        self.button.description = "Stopping"

    def result(self, timeout: float | None = None) -> History:
        """Wait for the end; the history. An interrupt meanwhile ends the run, with its best weights.

        Raises:
            TimeoutError: it has not ended after `timeout` seconds; it goes on.
            Exception: what ended the run, if it was an error.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._done.wait(0.1):  # short, so that an interrupt is heard on each platform
            try:
                if end is not None and time.monotonic() > end:
                    raise TimeoutError(f"the run has not ended after {timeout} s; it goes on")
                time.sleep(0)
            except KeyboardInterrupt:
                self.stop()
        self._thread.join()
        self._show_still()
        if self.error is not None:
            raise self.error
        return self.history

    def _train(self) -> None:
        try:
            self.history = finetune(
                self.model, self.data, self.stages,
                on_batch=self._on_batch, on_epoch=self._on_epoch, **self._settings,
            )  # fmt: skip
        except BaseException as err:  # a thread's error would end in the log, unseen
            self.error = err
        finally:
            self._done.set()
            self._draw()

    def _on_batch(self) -> bool:
        now = time.perf_counter()
        self._step = min(self._step + 1, self._steps)
        self._times.append(now)
        while len(self._times) > 2 and now - self._times[0] > WINDOW:
            self._times.popleft()
        if now - self._drawn > EVERY:
            self._draw()
        theirs = self._theirs_batch() if self._theirs_batch else False
        return bool(theirs) or self._stop.is_set()

    def _on_epoch(self, history: History) -> bool:
        self.history = history
        self._step, self._begun = 0, time.perf_counter()
        self._times = deque([self._begun])  # validation is no training: leave its time out
        self._draw()
        theirs = self._theirs(history) if self._theirs else False
        return bool(theirs) or self._stop.is_set()

    # -- the view ------------------------------------------------------------------------------

    def _build(self) -> None:
        self.button = w.Button(
            description="Stop", icon="stop", button_style="danger", layout=w.Layout(width="120px"),
            tooltip="end after this batch, and keep the best weights so far",
        )  # fmt: skip
        self.button.on_click(lambda _: self.stop())
        self.panel, self.chart = w.HTML(layout=w.Layout(flex="1 1 auto")), w.HTML()
        top = w.HBox([self.panel, self.button], layout=w.Layout(align_items="center", width="100%"))
        self.view = w.VBox([top, self.chart], layout=w.Layout(width="100%", max_width="860px"))
        self._draw()

    def _draw(self) -> None:
        """Send what there is to the view; from the run's thread, and never an error to the run."""
        self._drawn = time.perf_counter()
        try:
            self.panel.value = page(self._status())
            self.chart.value = page(curves(self.history, sum(s.epochs for s in self.stages)))
            if not self.running:
                self.button.disabled, self.button.description = True, "Ended"
                self.button.button_style = ""
        except Exception:  # a notebook that was closed must not end the training
            return

    def speed(self) -> float | None:
        """Images a second in training, over the last seconds."""
        if len(self._times) < 2 or self._times[-1] <= self._times[0]:
            return None
        return (len(self._times) - 1) * self._batch / (self._times[-1] - self._times[0])

    def left(self) -> float | None:
        """Seconds until the run ends, as far as that can be known."""
        return seconds_left(
            self.history.epochs, [s.epochs for s in self.stages],
            time.perf_counter() - self._begun, self._step / self._steps,
        )  # fmt: skip

    def _status(self) -> str:
        rows, total = self.history.epochs, sum(s.epochs for s in self.stages)
        if self.error is not None:
            return f"<b>Ended with {type(self.error).__name__}:</b> {escape(self.error)}"
        share = min(1.0, (len(rows) + self._step / self._steps) / total) if self.running else 1.0
        gauge = bar((share, "a"), label=f"{100 * share:.0f} % done")
        if not self.running:
            return f"<b>{escape(self._ending())}</b>{gauge}"
        speed, left = self.speed(), self.left()
        cells = [
            f"epoch <b>{min(len(rows) + 1, total)}</b> of {total}",
            f"<b>{speed:.0f}</b> images a second" if speed else "starting",
            f"about <b>{duration(left)}</b> left"
            if left is not None
            else "time left: after a few batches",
        ]
        return f'{" &nbsp;·&nbsp; ".join(cells)}<div style="margin-top:6px">{gauge}</div>'

    def _ending(self) -> str:
        best, score = self.history.best, self.history.score
        if not best:
            return "Stopped before the first epoch ended: the model has the weights that it began with."
        kept = f"The model has the weights of epoch {best['epoch']}, the best on validation: "
        kept += f"{score} {best[f'val_{score}']:.3f}."
        return f"Stopped. {kept}" if self.history.stopped else f"Finished. {kept}"

    # -- without a kernel ----------------------------------------------------------------------

    def still(self) -> dict[str, str]:
        if not self.history.epochs:
            told = "Live run: training in the background; run.result() waits for the end."
            return {"text/plain": told, "text/html": f"<p>{escape(told)}</p>"}
        fig = self.history.plot()
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=80, bbox_inches="tight")
        plt.close(fig)
        text = f"{self._ending()}\n{self.history}" if not self.running else str(self.history)
        return {"image/png": png(buffer.getvalue()), "text/plain": text}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = self._repr_mimebundle_()
        self._handle = display(data, metadata=metadata, raw=True, display_id=True)

    def _show_still(self) -> None:
        """Put the finished curves into the output that is stored with the notebook."""
        if self._handle is None:
            return
        data, metadata = self._repr_mimebundle_()
        self._handle.update(data, metadata=metadata, raw=True)
        self._handle = None


def live_run(
    model: nn.Module, data: Any, stages: Stage | Sequence[Stage], **settings: Any
) -> LiveRun:
    """Start `ft.finetune` in the background, with curves to watch and a button to stop it.

    Args:
        model, data, stages: as `ft.finetune` takes them.
        settings: others of `ft.finetune`: `batch_size`, `seed`, `early_stopping`, `out_dir`, ...

    Returns:
        A `LiveRun`: show it as a cell's last line; `stop()`, and `result()`, which waits and gives the `History`.
        The numbers are those of `ft.finetune`, unless other cells draw random numbers meanwhile.
    """
    return LiveRun(model, data, stages, settings)
