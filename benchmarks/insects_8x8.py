"""Do colours give the classes of Pocket Insects away? Logistic regression on 8x8 pixels, and on the background.

    python benchmarks/insects_8x8.py

100 photos of each class to train on, 20 to choose the regularisation, 100 to test; five seeds. Writes benchmarks/results/insects_8x8.json.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ftcourse as ft
from ftcourse.data.insects import BACKGROUNDS, CLASSES, InsectSplit, load

RESULT = Path(__file__).parent / "results" / "insects_8x8.json"
SEEDS = (0, 1, 2, 3, 4)


def tiny(split: InsectSplit) -> np.ndarray:
    """float64 (N, 192): mean colours of 8x8 fields."""
    small = torch.nn.functional.adaptive_avg_pool2d(split.images.float() / 255, 8)
    return small.flatten(1).double().numpy()


def ground(split: InsectSplit) -> np.ndarray:
    return np.eye(len(BACKGROUNDS))[[BACKGROUNDS.index(b) for b in split.backgrounds]]


def score(data: ft.Data, features) -> float:
    train, val, test = (features(split) for split in (data.train, data.val, data.test))
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(
            train, data.train.targets
        )
        for c in (1e-4, 1e-3, 1e-2, 1e-1)
    ]
    return max(models, key=lambda m: m.score(val, data.val.targets)).score(test, data.test.targets)


def main() -> None:
    rows = []
    for classes in (("ants", "bees"), CLASSES):
        sets = [load(classes, 100, seed=s, test_per_class=100) for s in SEEDS]
        for name, features in (("8x8 pixels", tiny), ("background", ground)):
            values = [round(score(data, features), 4) for data in sets]
            rows.append(
                {"classes": len(classes), "input": name, "chance": round(1 / len(classes), 4),
                 "mean": round(statistics.mean(values), 4), "max": max(values), "accuracy": values}
            )  # fmt: skip
            print(rows[-1], flush=True)
    versions = {
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "ftcourse": ft.__version__,
    }
    result = {
        "command": "python benchmarks/insects_8x8.py",
        "seeds": SEEDS,
        "versions": versions,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
