"""Where the modules of 0.1 are now: importing one by its old path fails, and says so. For one release."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from typing import Any

__all__ = ["MODULES", "NAMES", "put_up_signposts"]

MODULES = {  # of 0.1 -> now; both below `ftcourse`
    "audit": "data.audit",
    "backbones": "models.backbones",
    "baselines": "evaluation.baselines",
    "calibration": "evaluation.calibration",
    "checkpoints": "training.checkpoints",
    "cost": "models.cost",
    "datasets": "data.downloads",
    "export": "shipping.export",
    "feature_cache": "training.feature_cache",
    "features": "models.features",
    "folders": "data.folders",
    "freezing": "models.freezing",
    "frozen_prefix": "training.frozen_prefix",
    "history": "training.history",
    "inference": "shipping.inference",
    "landscape": "evaluation.landscape",
    "loop": "training.loop",
    "lr_finder": "training.lr_finder",
    "measures": "evaluation.measures",
    "model_card": "reporting.model_card",
    "pocket": "models.pocket",
    "preflight": "training.preflight",
    "quantize": "shipping.quantize",
    "recipes": "training.recipes",
    "report": "reporting.report",
    "report_page": "reporting.report_page",
    "runs": "training.runs",
    "stages": "training.stages",
}
ALSO = {  # what has not moved along with its module
    "folders": "reading a photo is in ftcourse.data.photos, inspecting it in ftcourse.data.inspection",
    "pocket": "ftcourse.pocket.insects and .texts are ftcourse.data.insects and .texts",
}
NAMES = {  # `ftcourse.data` was a module, and is a wing: what was in it -> its room
    **dict.fromkeys(("Data", "Split"), "splits"),
    **dict.fromkeys(("MEAN", "STD", "DEFAULT_SIZE"), "transforms"),
    **dict.fromkeys(("eval_transforms", "train_transforms"), "transforms"),
    **dict.fromkeys(("load_data", "load_folder", "BUILT_IN"), "loading"),
    **dict.fromkeys(("PhotoCache", "CACHE_BYTES"), "photos"),
    "draw": "drawing",
}


class _Signposts(MetaPathFinder):
    """Comes last: it is asked only for a module that is not there."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        package, _, name = fullname.partition(".")
        if package == "ftcourse" and name in MODULES:
            also = f"; {ALSO[name]}" if name in ALSO else ""
            raise ImportError(f"{fullname} is now ftcourse.{MODULES[name]}{also}", name=fullname)


def _look_up(name: str) -> Any:
    if name in NAMES:
        room = f"ftcourse.data.{NAMES[name]}"
        raise ImportError(f"ftcourse.data.{name} is now {room}.{name}", name="ftcourse.data")
    if not name.startswith("_") and find_spec(f"ftcourse.data.{name}"):
        return import_module(f"ftcourse.data.{name}")
    raise AttributeError(f"module 'ftcourse.data' has no attribute {name!r}")


def put_up_signposts() -> None:
    """Make old imports fail with the new path in their message."""
    if not any(isinstance(finder, _Signposts) for finder in sys.meta_path):
        sys.meta_path.append(_Signposts())
    wing: Any = import_module("ftcourse.data")  # alone: its rooms are imported when needed
    wing.__getattr__ = _look_up
