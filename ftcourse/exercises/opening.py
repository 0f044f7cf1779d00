"""The first lines of every lesson: which tier runs, on which device, and how long it takes."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib import metadata

import torch
import torchvision

__all__ = ["Missing", "colab", "device", "need", "profile", "show"]


def profile() -> str:
    """The tier: "pocket" (offline, the default), or "full" where FTCOURSE_PROFILE=full is set.

    Raises:
        ValueError: FTCOURSE_PROFILE is something else.
    """
    chosen = os.environ.get("FTCOURSE_PROFILE", "pocket").strip().lower() or "pocket"
    if chosen not in ("pocket", "full"):
        raise ValueError(f"FTCOURSE_PROFILE={chosen!r}; use 'pocket' or 'full'")
    return chosen


def device() -> str:
    """A readable name of what the lesson computes on, such as "cuda, NVIDIA T4"."""
    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name()}"
    if torch.backends.mps.is_available():
        return "mps, Apple GPU"
    return f"cpu, PyTorch threads: {torch.get_num_threads()}"


def colab() -> None:
    """On Colab, print which GPU there is, or the menu that gives one; elsewhere, nothing."""
    try:
        import google.colab  # noqa: F401
    except ImportError:
        return
    if torch.cuda.is_available():
        print(f"GPU: {torch.cuda.get_device_name()}")
    else:
        print(
            "No GPU, and the lesson runs without one. For one: Runtime > Change runtime type > T4 GPU."
        )


class Missing(ImportError):
    """A lesson's requirement is not there; a notebook shows one line, and runs no further cell."""

    def _render_traceback_(self) -> list[str]:  # what IPython prints in place of a traceback
        return [str(self)]


def need(*modules: str, extra: str) -> None:
    """Stop here unless these modules can be imported; nothing is imported to find out.

    `authoring/build.py` writes the names into the notebook's metadata, and `pytest --nbval` skips a notebook
    whose needs are not met.

    Raises:
        Missing: the message names what is missing, and how to get it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        names = " ".join(name.replace("_", "-") for name in missing)
        raise Missing(
            f"This lesson needs {names}. Get it with `pip install {names}` "
            f'(or all of the extra: `pip install -e ".[{extra}]"`), restart the kernel, and run it again.'
        )


def show(lesson: str, seconds: int, minutes: int) -> None:
    """Print tier, device, versions and the time to expect (measured on two CPU cores)."""
    tier = profile()
    what = "offline" if tier == "pocket" else "ImageNet weights as well, downloaded once"
    print(f"lesson    {lesson}: {minutes} minutes to work through")
    print(f"tier      {tier} ({what})")
    print(f"device    {device()}")
    print(f"run time  about {seconds} s here for all cells, on two CPU cores")
    versions = f"ftcourse {metadata.version('ftcourse')}, torch {torch.__version__}"
    versions += f", torchvision {torchvision.__version__}, Python {platform.python_version()}"
    print(f"versions  {versions}")
