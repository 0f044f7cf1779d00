"""A run's numbers for TensorBoard, MLflow or Weights & Biases, by each one's own library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

__all__ = ["LOGS", "RunLog", "check_log", "open_log"]

PROJECT = "ftcourse"


class RunLog(Protocol):
    """Where numbers go."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Into `RUN/tensorboard`: `tensorboard --logdir RUN` shows it."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"))
        self.writer.add_text("settings", "\n".join(f"- {k}: {v}" for k, v in settings.items()))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class MLflow:
    """Into the tracking store that MLflow is set to (`MLFLOW_TRACKING_URI`)."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        self.mlflow: Any = importlib.import_module("mlflow")
        self.mlflow.set_experiment(PROJECT)
        self.mlflow.start_run(run_name=run.name)
        self.mlflow.log_params(dict(settings))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self.mlflow.end_run()


class WandB:
    """Into the account or folder that wandb is set to (`WANDB_MODE=offline` stays on this machine)."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        wandb: Any = importlib.import_module("wandb")
        self.run = wandb.init(project=PROJECT, name=run.name, dir=str(run), config=dict(settings))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


LOGS: dict[str, type[Any]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def check_log(name: str | None) -> None:
    """Refuse, before any time is spent, a log whose library is missing.

    Raises:
        ImportError: with the package to install.
    """
    if name is None:
        return
    try:
        importlib.import_module("torch.utils.tensorboard" if name == "tensorboard" else name)
    except ImportError as err:
        raise ImportError(
            f"log={name!r} needs the package {name}, which cannot be imported here ({err}): pip install {name}"
        ) from err


def open_log(name: str, run: Path, settings: Mapping[str, Any]) -> RunLog:
    """The log of that name for a run; one of `LOGS`."""
    return LOGS[name](run, settings)
