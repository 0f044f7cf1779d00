"""Why the programs of `speed.py` start from BatchNorm statistics of the photos: accuracy of a head without that.

    python benchmarks/speed_statistics.py        # writes results/speed_statistics.json

On 96 drawn photos a head is trained for 5 epochs, in ten orders, on features of the pocket network with three
kinds of statistics: as they come and frozen; after five epochs of drift in train mode, as most loops leave them;
estimated on these photos beforehand and frozen, as `speed.py` does for all.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from speed import make_photos, weights_file
from speed_programs import BATCH, Job, loaders, network
from torch import Tensor, nn

from ftcourse.models.pocket import ResNet18_Pocket_Weights

RESULTS = Path(__file__).parent / "results" / "speed_statistics.json"
Features = dict[str, tuple[Tensor, Tensor]]


@torch.no_grad()
def features(job: Job, model: nn.Module, drift: int) -> Features:
    """Of both splits, after so many epochs in train mode."""
    train, val = loaders(job)
    model.fc = nn.Identity()
    for _ in range(drift):
        for x, _ in train:
            model.train()(x)
    out = {}
    for name, loader in (("train", train), ("val", val)):
        pairs = [(model.eval()(x), y) for x, y in loader]
        out[name] = torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])
    return out


def accuracy(found: Features, lr: float, seed: int) -> float:
    torch.manual_seed(seed)
    head = nn.Linear(512, 2)
    optimizer = torch.optim.SGD(head.parameters(), lr, momentum=0.9)
    x, y = found["train"]
    for _ in range(5):
        for some in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(head(x[some]), y[some]).backward()
            optimizer.step()
    return (head(found["val"][0]).argmax(1) == found["val"][1]).float().mean().item()


def main() -> None:
    root = make_photos(Path(tempfile.gettempdir()) / "ftcourse-bench" / "photos96", 96, 48)
    job = Job(root, weights_file(root), "head", 5)
    pocket = ResNet18_Pocket_Weights.DEFAULT.get_state_dict()
    pocket = {k: v for k, v in pocket.items() if not k.startswith("fc.")}
    results: dict[str, object] = {"command": "python benchmarks/speed_statistics.py"}
    results |= {"photos": 96, "val": 48, "epochs": 5, "seeds": 10, "torch": torch.__version__}
    for name, own, drift in (("as they come", 0, 0), ("drifted", 0, 5), ("of these photos", 1, 0)):
        model = network(job)
        if not own:
            model.load_state_dict(pocket, strict=False)
        some = features(job, model, drift)
        scores = sorted(accuracy(some, job.lr, seed) for seed in range(10))
        mean = round(sum(scores) / len(scores), 3)
        results[name] = {
            "mean": mean,
            "lowest": round(scores[0], 3),
            "highest": round(scores[-1], 3),
        }
        print(name, results[name])
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
