"""What a fine-tuned network must beat: always the same answer, and a linear probe."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from ftcourse.models.groups import head_of
from ftcourse.training.loop import best_device, predict

__all__ = ["PooledFeatures", "LinearProbe", "majority_class", "pooled_features"]

CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse strength of the L2 penalty, on standardised features


def majority_class(targets: list[int], classes: int) -> int:
    """The most frequent class of the training split; where several are, the first."""
    return int(np.bincount(targets, minlength=classes).argmax())


@dataclass
class PooledFeatures:
    """`x` float32 (N, F) and `y` int64 (N,)."""

    x: np.ndarray
    y: np.ndarray


def pooled_features(
    model: nn.Module, split: Any, batch_size: int = 64, device: torch.device | str | None = None
) -> PooledFeatures:
    """What goes into the model's head, for each photo of a split. The model stays as it is."""
    trunk = copy.deepcopy(model)
    name, _ = head_of(trunk)
    parent = trunk.get_submodule(name.rpartition(".")[0])
    setattr(parent, name.rpartition(".")[2], nn.Identity())
    x, y = predict(trunk.to(device or best_device()), split, batch_size=batch_size)
    return PooledFeatures(x.numpy(), y.numpy())


class LinearProbe:
    """Logistic regression on the pooled features of the frozen backbone.

    The strength of its L2 penalty is the one that does best on the validation split; of equals the
    strongest. scikit-learn's `LogisticRegression` on features standardised by the training split.
    """

    def __init__(self, train: PooledFeatures, val: PooledFeatures) -> None:
        self.scaler = StandardScaler().fit(train.x)
        x, x_val = self.scaler.transform(train.x), self.scaler.transform(val.x)
        self.val_accuracy, self.C = -1.0, CS[0]
        fit = LogisticRegression(max_iter=300, warm_start=True)
        for c in CS:
            fit.set_params(C=c)
            with warnings.catch_warnings():  # stopping early is one more way to regularise
                warnings.simplefilter("ignore", ConvergenceWarning)
                fit.fit(x, train.y)
            accuracy = float(fit.score(x_val, val.y))
            if accuracy > self.val_accuracy:
                self.val_accuracy, self.C, self.model = accuracy, c, copy.deepcopy(fit)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Classes int64 (N,) of features (N, F)."""
        return self.model.predict(self.scaler.transform(x))
