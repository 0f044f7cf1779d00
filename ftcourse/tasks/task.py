"""The shape of a task, and classification, which is the default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Classification", "Task", "joined", "to_device"]

Pairs = Iterable[tuple[Any, Any]]


class Task:
    """What the loop asks a task; the package's docstring shows one.

    Attributes:
        name: for the history.
        score: the metric that the best epoch is kept by; higher is better.
        columns: the metrics that go into the history.
        collate: makes a batch (inputs, targets) of a list of items; None for PyTorch's own.
    """

    name: str = "task"
    score: str = "accuracy"
    columns: Sequence[str] = ("loss", "accuracy")
    collate: Callable[[list], Any] | None = None

    def batches(self, loader: Iterable, device: torch.device | str) -> Iterator[tuple[Any, Any]]:
        """The loader's batches as (inputs, targets) on the device."""
        for inputs, targets in loader:
            yield to_device(inputs, device), to_device(targets, device)

    def forward(self, model: nn.Module, inputs: Any, targets: Any = None) -> Any:
        """The model's outputs, float32; `targets` are given in training only."""
        outputs = model(inputs)
        return getattr(outputs, "logits", outputs).float()  # GoogLeNet in training has more heads

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Mean over the samples of a batch, 0-dimensional, with a gradient."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def hits(self, outputs: Any, targets: Any) -> Tensor:
        """How many samples of a batch are right (a sample may count in part); nan where training does not tell."""
        return torch.full((), torch.nan)

    def wrong_targets(
        self, model: nn.Module, inputs: Any, targets: Any
    ) -> Iterator[tuple[str, str, str, str]]:
        """What is wrong with a batch's targets and raises no error, for preflight: name, what, evidence, fix."""
        return iter(())

    def predictions(self, outputs: Any) -> Any:
        """What `predict` keeps: a tensor with one row a sample, or a list with one entry a sample."""
        return outputs

    def metrics(self, batches: Pairs) -> dict[str, float]:
        """Fractions by name over all batches (outputs, targets), which are on the CPU; and `samples`."""
        raise NotImplementedError(f"{type(self).__name__} has no metrics")


class Classification(Task):
    """One label an image: cross-entropy in nats; accuracy.

    Args:
        label_smoothing: share of the target that is spread over all classes, in training.
        class_weights: float (classes,), the weight of each class in the training loss.

    With both, the whole loss of a photo has the weight of its own class. `nn.CrossEntropyLoss` weighs each class's
    share of the smoothed target by that class instead: beyond a ratio of 2 / smoothing - 1 between the weights of
    two classes, the least loss is then reached by taking every photo for the rare class
    (https://github.com/pytorch/pytorch/issues/104776).
    """

    name = "classification"

    def __init__(self, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        weighed = class_weights is not None
        self.smoothing = label_smoothing if weighed else 0.0  # what torch is not to do
        self.criterion = nn.CrossEntropyLoss(
            class_weights, label_smoothing=0.0 if weighed else label_smoothing
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of logits (N, classes) against labels int64 (N,), or probabilities (N, classes)."""
        loss = self.criterion.to(outputs.device)(outputs, targets)
        if not self.smoothing:
            return loss
        return (1 - self.smoothing) * loss + self.smoothing * self._spread(outputs, targets)

    def _spread(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy with the same share for each class, each photo weighed by its own class."""
        weights = self.criterion.weight
        assert weights is not None
        each = -F.log_softmax(outputs, 1).mean(1)
        if targets.is_floating_point():  # mixed photos: averaged as torch does, over the batch
            return (targets @ weights * each).mean()
        return (weights[targets] * each).sum() / weights[targets].sum()

    def hits(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.argmax(1) == targets).sum()

    def metrics(self, batches: Pairs) -> dict[str, float]:
        """`loss` (nats, without smoothing or weights), `accuracy`, `macro_f1` and `samples`."""
        logits, targets = joined(batches)
        predicted = logits.argmax(1)
        return {
            "loss": F.cross_entropy(logits, targets).item(),
            "accuracy": (predicted == targets).float().mean().item(),
            "macro_f1": _macro_f1(predicted, targets, logits.shape[1]),
            "samples": len(targets),
        }


def _macro_f1(predicted: Tensor, targets: Tensor, classes: int) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of each class, averaged over the classes that occur in the targets.

    Written out, for importing torchmetrics takes seconds and over 100 MB.
    """
    right = torch.bincount(targets[predicted == targets], minlength=classes)
    occurs, said = (torch.bincount(t, minlength=classes) for t in (targets, predicted))
    present = occurs > 0
    return (2 * right / (occurs + said))[present].mean().item()


def joined(batches: Pairs) -> tuple[Any, Any]:
    """All outputs and all targets: tensors joined along the samples, lists strung together.

    Raises:
        ValueError: there are no batches.
    """
    pairs = list(batches)
    if not pairs:
        raise ValueError("evaluate: this split has no samples")
    outputs, targets = zip(*pairs, strict=True)
    return _join(outputs), _join(targets)


def _join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    return [one for part in parts for one in part]


def to_device(x: Any, device: torch.device | str) -> Any:
    """The tensors in `x`, also inside of dicts, lists and tuples, on the device."""
    if isinstance(x, Tensor):
        # to a GPU the copy from pinned memory goes on while the loop does; back from it one has to wait
        return x.to(device, non_blocking=torch.device(device).type == "cuda")
    if isinstance(x, dict):
        return {k: to_device(v, device) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(to_device(v, device) for v in x)
    return x
