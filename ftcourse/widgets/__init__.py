"""Things to touch: ipywidgets that call the public API and hold no logic of their own.

    from ftcourse import widgets

    widgets.freeze_explorer(model, data)      # as the last line of a cell, or with display(...)

Each is an `Explorer`: live where there is a kernel, a table or a picture where there is none.
"""

from ftcourse.widgets.augment import augmentation, augmentation_viewer
from ftcourse.widgets.base import Explorer
from ftcourse.widgets.board import progress_board
from ftcourse.widgets.efficiency import efficiency_explorer
from ftcourse.widgets.freeze import freeze_explorer
from ftcourse.widgets.live import live_run
from ftcourse.widgets.predict import prediction_explorer
from ftcourse.widgets.rates import rate_finder

__all__ = [
    "Explorer",
    "augmentation",
    "augmentation_viewer",
    "efficiency_explorer",
    "freeze_explorer",
    "live_run",
    "prediction_explorer",
    "progress_board",
    "rate_finder",
]
