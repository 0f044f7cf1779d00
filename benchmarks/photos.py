"""What segmentation.py and detection.py share: photos in three splits, and arms over learning rates and seeds.

Each arm (random weights, pocket weights, ...) is run with all of its learning rates and the first seed; the rate
that is best on the validation split then runs with the other seeds. The test split is touched once a run, and
chooses nothing. After each run the results are written; a run that is in them already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.utils.data import Dataset

from ftcourse import results


class Photos(Dataset):
    """Pairs (photo, target), with a transform of both."""

    def __init__(self, pairs: list, transform: Callable) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Any:
        return self.transform(*self.pairs[i])

    def with_transform(self, transform: Callable) -> Photos:
        return Photos(self.pairs, transform)


@dataclass
class Splits:
    train: Photos
    val: Photos
    test: Photos
    classes: tuple[str, ...]


@dataclass
class Benchmark:
    """One table: `run(data, arm, lr, seed)` gives a run, `row(runs)` what the table needs of an arm's runs.

    `chosen_by` is the run's entry that chooses the learning rate; `table` makes Markdown of the summary.
    """

    name: str
    title: str
    file: str  # the zip that it reads
    arms: dict[str, str]  # what each one is, in words
    rates: dict[str, tuple[float, ...]]
    setting: dict[str, Any]
    chosen_by: str
    read: Callable[[Path], Splits]
    run: Callable[[Splits, str, float, int], dict]
    row: Callable[[list[dict]], dict]
    table: Callable[[dict], str]

    @property
    def command(self) -> str:
        return f"python benchmarks/{self.name}.py {self.file}"

    def best_rate(self, runs: list[dict], arm: str, seed: int) -> float:
        first = [r for r in runs if r["arm"] == arm and r["seed"] == seed]
        return max(first, key=lambda r: r[self.chosen_by])["lr"]

    def summary(self, runs: list[dict], seeds: list[int]) -> dict[str, dict]:
        found = {}
        for arm, what in self.arms.items():
            if any(r["arm"] == arm and r["seed"] == seeds[0] for r in runs):
                lr = self.best_rate(runs, arm, seeds[0])
                mine = [r for r in runs if r["arm"] == arm and r["lr"] == lr]
                seconds = round(statistics.median(r["cpu_seconds"] for r in mine), 1)
                found[arm] = {"what": what, "lr": lr, "seeds": [r["seed"] for r in mine]}
                found[arm] |= self.row(mine) | {"cpu_seconds": seconds}
        return found

    def write(self, runs: list[dict], seeds: list[int], counts: dict[str, int]) -> str:
        found = self.summary(runs, seeds)
        content = {
            "command": self.command,
            "seeds": seeds,
            "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
            "setting": self.setting | {"photos": counts},
            "summary": found,
            "runs": runs,
        }
        results.path(self.name).write_text(json.dumps(content, indent=1) + "\n")
        tried = "; ".join(
            f"{self.arms[arm]}: {', '.join(f'{lr:g}' for lr in rates)}"
            for arm, rates in self.rates.items()
        )
        text = (
            f"# {self.title}\n\n{self.table(found)}\n\n"
            f"{counts['train']} photos to train on, {counts['val']} to choose the epoch and, with seed "
            f"{seeds[0]}, the learning rate ({tried}), {counts['test']} to test; seeds "
            f"{', '.join(map(str, seeds))}. The rate is the backbone's; what is new learns with 0.003. CPU "
            f"seconds: one thread, training with validation. Made by `{self.command}` with torch "
            f"{torch.__version__}.\n"
        )
        (Path(__file__).parent / "results" / f"{self.name}.md").write_text(text)
        return text

    def main(self, description: str) -> None:
        parser = argparse.ArgumentParser(description=description.splitlines()[0])
        parser.add_argument("photos", type=Path, metavar=self.file)
        parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        parser.add_argument("--most", type=int, default=100, help="stop after so many new runs")
        a = parser.parse_args()
        torch.set_num_threads(1)
        data = self.read(a.photos)
        counts = {name: len(getattr(data, name)) for name in ("train", "val", "test")}
        file, left = results.path(self.name), a.most
        runs = json.loads(file.read_text())["runs"] if file.exists() else []
        for seed in a.seeds:
            for arm in self.arms:
                first = seed == a.seeds[0]
                for lr in self.rates[arm] if first else (self.best_rate(runs, arm, a.seeds[0]),):
                    done = {(r["arm"], r["lr"], r["seed"]) for r in runs}
                    if (arm, lr, seed) not in done and left:
                        left -= 1
                        runs.append(self.run(data, arm, lr, seed))
                        self.write(runs, a.seeds, counts)
                        print(runs[-1], flush=True)
        print(self.write(runs, a.seeds, counts))


def percent(values: list[float]) -> str:
    """Mean (lowest to highest) of fractions, in percent."""
    mean, low, high = (100 * v for v in (statistics.mean(values), min(values), max(values)))
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"


def class_means(runs: list[dict], name: str) -> dict[str, float]:
    """The mean over the runs of a score that each run has by class."""
    return {c: round(statistics.mean(r[name][c] for r in runs), 4) for c in runs[0][name]}
