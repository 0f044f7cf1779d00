"""Which input size suits the pocket backbone on photos? A linear probe at several sizes, cross-validated.

    python benchmarks/input_size.py HYMENOPTERA_FOLDER_OR_ZIP

The size is chosen on the training photos (5-fold cross-validation, 5 shuffles); the test photos are not looked at.
Writes ftcourse/results/input_size.json, which lesson 11 reads.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile

import numpy as np
import torch
import torchvision
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ftcourse as ft
from ftcourse import results
from ftcourse.evaluation.baselines import pooled_features

SHUFFLES = 5
SIZES = ((64, 64), (64, 73), (96, 96), (96, 110), (128, 128), (128, 146), (160, 182))


def main(source: str) -> None:
    with tempfile.TemporaryDirectory() as unpacked:
        if source.endswith(".zip"):
            zipfile.ZipFile(source).extractall(unpacked)
            source = unpacked
        weights = ft.ResNet18_Pocket_Weights.DEFAULT
        model, data = ft.load_backbone("resnet18"), ft.load_data(source, size=224, audit=False)
        folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=SHUFFLES, random_state=0)
        rows = []
        for crop, resize in SIZES:
            preset = weights.transforms(crop_size=crop, resize_size=resize)
            parts = [
                pooled_features(model, s.with_transform(preset)) for s in (data.train, data.val)
            ]
            x, y = np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts])
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=1000))
            shuffles = cross_val_score(probe, x, y, cv=folds).reshape(SHUFFLES, -1).mean(1)
            row = {"crop_size": crop, "resize_size": resize}
            found = {
                "accuracy": shuffles.mean(),
                "lowest": shuffles.min(),
                "highest": shuffles.max(),
            }
            rows.append({**row, **{name: round(float(v), 4) for name, v in found.items()}})
            print(rows[-1], flush=True)
    result = {
        "command": "python benchmarks/input_size.py hymenoptera.zip",
        "photos": len(y),
        "measure": "linear probe, 5-fold cross-validation, 5 shuffles, C=0.01",
        "seeds": [0],
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
        "rows": rows,
    }
    results.path("input_size").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
