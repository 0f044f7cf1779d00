"""ftcourse: learn fine-tuning by doing it, with the small package that does it for real.

import ftcourse as ft

data = ft.load_data("photos/")
model = ft.replace_head(ft.load_backbone("resnet18"), num_classes=len(data.classes))
history = ft.finetune(model, data, ft.Stage(train="head", epochs=5, lr=1e-2))
ft.evaluate(model, data.test)
"""

from ftcourse import _starting  # noqa: F401  first: it answers Ctrl-C while the others are imported

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ftcourse._moved import MODULES, put_up_signposts

if TYPE_CHECKING:
    from ftcourse.data.audit import audit
    from ftcourse.data.loading import load_data
    from ftcourse.data.splits import Data, Split
    from ftcourse.evaluation.landscape import loss_landscape
    from ftcourse.models.backbones import layer_groups, load_backbone, replace_head, weights_of
    from ftcourse.models.features import embed, grad_cam, nearest
    from ftcourse.models.freezing import freeze, freeze_report, train_mode, unfreeze
    from ftcourse.models.pocket import ResNet18_Pocket_Weights
    from ftcourse.plots import (
        plot_answers,
        plot_attention,
        plot_bars,
        plot_boxes,
        plot_confusion,
        plot_dots,
        plot_embeddings,
        plot_feature_maps,
        plot_filters,
        plot_grad_cam,
        plot_history,
        plot_intervals,
        plot_landscape,
        plot_learning_curves,
        plot_lines,
        plot_low_rank,
        plot_lr_finder,
        plot_masks,
        plot_mistakes,
        plot_movement,
        plot_panels,
        plot_parts,
        plot_points,
        plot_reliability,
        plot_runs,
        show_images,
    )
    from ftcourse.shipping.runs import load_run
    from ftcourse.training.checkpoints import load_model, save_model
    from ftcourse.training.history import History
    from ftcourse.training.loop import best_device, evaluate, finetune, predict, train_one_epoch
    from ftcourse.training.lr_finder import lr_finder
    from ftcourse.training.preflight import preflight
    from ftcourse.training.stages import Stage, apply_stage, make_optimizer, make_scheduler

put_up_signposts()

_ROOMS = {  # where each name is from; it is imported when it is first asked for
    "data.audit": ("audit",),
    "data.loading": ("load_data",),
    "data.splits": ("Data", "Split"),
    "evaluation.landscape": ("loss_landscape",),
    "models.backbones": ("layer_groups", "load_backbone", "replace_head", "weights_of"),
    "models.features": ("embed", "grad_cam", "nearest"),
    "models.freezing": ("freeze", "freeze_report", "train_mode", "unfreeze"),
    "models.pocket": ("ResNet18_Pocket_Weights",),
    "shipping.runs": ("load_run",),
    "training.checkpoints": ("load_model", "save_model"),
    "training.history": ("History",),
    "training.loop": ("best_device", "evaluate", "finetune", "predict", "train_one_epoch"),
    "training.lr_finder": ("lr_finder",),
    "training.preflight": ("preflight",),
    "training.stages": ("Stage", "apply_stage", "make_optimizer", "make_scheduler"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """What `ft.` has is imported when it is first asked for: `ftcourse --help` needs no torch."""
    room = "plots" if name.startswith("plot_") or name == "show_images" else _HOME.get(name)
    if room and name in __all__:
        return getattr(_imported(room, name), name)
    if name in {home.partition(".")[0] for home in _ROOMS} | {"tasks"}:
        for home in _ROOMS:  # `ft.training.loop`: a wing with its rooms
            _imported(home, name)
        return import_module(f"ftcourse.{name}")
    moved = f"; it is now ftcourse.{MODULES[name]}" if name in MODULES else ""
    raise AttributeError(f"module 'ftcourse' has no attribute {name!r}{moved}")


def _imported(room: str, name: str) -> Any:
    try:
        return import_module(f"ftcourse.{room}")
    except ModuleNotFoundError as err:
        if (err.name or "").startswith("ftcourse"):
            raise
        raise ImportError(
            f"ftcourse.{name} needs {err.name}, which is not installed: `ftcourse doctor`"
        ) from err


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
    "Data",
    "History",
    "ResNet18_Pocket_Weights",
    "Split",
    "Stage",
    "apply_stage",
    "audit",
    "best_device",
    "embed",
    "evaluate",
    "finetune",
    "freeze",
    "freeze_report",
    "grad_cam",
    "layer_groups",
    "load_backbone",
    "load_data",
    "load_model",
    "load_run",
    "loss_landscape",
    "lr_finder",
    "make_optimizer",
    "make_scheduler",
    "nearest",
    "plot_answers",
    "plot_attention",
    "plot_bars",
    "plot_boxes",
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
    "plot_points",
    "plot_reliability",
    "plot_runs",
    "predict",
    "preflight",
    "replace_head",
    "save_model",
    "show_images",
    "train_mode",
    "train_one_epoch",
    "unfreeze",
    "weights_of",
]
