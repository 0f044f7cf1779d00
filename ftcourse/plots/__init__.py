"""Pictures of a run, legible on a projector and for colour-blind eyes, on light or dark paper.

Each function returns a matplotlib Figure, writes it to `path` if that is given, and leaves matplotlib's settings
as they were. In a notebook a figure shows once, whether it is a cell's last expression or not.
`theme="dark"`, or FTCOURSE_THEME=dark in the environment, draws on dark paper.
"""

from ftcourse.plots.answers import plot_answers
from ftcourse.plots.attention import plot_attention
from ftcourse.plots.charts import plot_bars, plot_dots, plot_lines, plot_points
from ftcourse.plots.classes import plot_class_scores
from ftcourse.plots.images import plot_boxes, plot_grad_cam, plot_masks, plot_mistakes, show_images
from ftcourse.plots.intervals import plot_intervals
from ftcourse.plots.low_rank import plot_low_rank
from ftcourse.plots.network import (
    plot_embeddings,
    plot_feature_maps,
    plot_filters,
    plot_landscape,
    plot_movement,
)
from ftcourse.plots.panels import plot_panels
from ftcourse.plots.parts import plot_parts
from ftcourse.plots.places import plot_places
from ftcourse.plots.prediction import plot_prediction
from ftcourse.plots.results import plot_confusion, plot_learning_curves, plot_reliability
from ftcourse.plots.runs import plot_runs
from ftcourse.plots.style import DARK, LIGHT, Theme, theme_of
from ftcourse.plots.training import plot_history, plot_lr_finder

__all__ = [
    "DARK",
    "LIGHT",
    "Theme",
    "plot_answers",
    "plot_attention",
    "plot_bars",
    "plot_boxes",
    "plot_class_scores",
    "plot_confusion",
    "plot_dots",
    "plot_embeddings",
    "plot_feature_maps",
    "plot_filters",
    "plot_grad_cam",
    "plot_history",
    "plot_intervals",
    "plot_landscape",
    "plot_learning_curves",
    "plot_lines",
    "plot_low_rank",
    "plot_lr_finder",
    "plot_masks",
    "plot_mistakes",
    "plot_movement",
    "plot_panels",
    "plot_parts",
    "plot_places",
    "plot_points",
    "plot_prediction",
    "plot_reliability",
    "plot_runs",
    "show_images",
    "theme_of",
]
