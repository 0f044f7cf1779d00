"""Tables, comparison and figure from the runs of `benchmarks/methods.py`.

    python benchmarks/methods_report.py

Writes benchmarks/results/methods.md and docs/images/methods.png. The comparison asks whether methods that
rank high on Pocket Insects rank high on real photos, and which differences are beyond their intervals: those
of the differences between two methods trained on the same photos, seed by seed.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from methods import CANDIDATES, LONG, METHODS, PIXELS, RESULTS, chosen, interval, read
from scipy.stats import kendalltau, spearmanr

from ftcourse import results

ROOT = Path(__file__).parent.parent
FIGURE = ROOT / "docs" / "images" / "methods.png"
TITLES = {"insects": "Pocket Insects", "photos": "Real photos"}
# Okabe and Ito's palette; markers differ, too
LOOK = {
    "scratch": ("#666666", "o", "from scratch"),
    "linear probe": ("#0072B2", "s", "linear probe"),
    "last block": ("#009E73", "^", "last block"),
    "all": ("#E69F00", "D", "all at once"),
    "LP-FT": ("#D55E00", "v", "head, then all (LP-FT)"),
    "scratch, 400 steps": ("#56B4E9", "P", "from scratch, 400 steps"),
}
INTRODUCTION = """Test accuracy in %, mean and 95 % interval over seeds (Student's t). Made by `python
benchmarks/methods.py` and `python benchmarks/methods.py --photos hymenoptera.zip`, put together by `python
benchmarks/methods_report.py`. ResNet-18, float32, 45 to 56 steps with batches of 16 for each method and
number of photos: few for training from scratch, which therefore has a second column with 400 steps (drawn
insects only), and at 200 photos a class two epochs, one of which LP-FT spends on the head. Each seed of the
insects has a test of its own, of 200 photos; the real photos have one test of 153 for all seeds, so that the luck
of the test is not in their intervals. Of real photos there are about 100 a class, so that 200 is missing."""
COMPARISON = """Rank correlations of the five means (1: the same order, 0: none, -1: reversed). A pair of
methods is *sure* where the 95 % interval of their difference, seed by seed, does not hold 0; ten pairs a
line, and no correction for looking at many."""
CHOICE = """One run for each candidate at 20 photos a class and a seed that is not used above, judged on
photos that are not used above: 200 other insects, and those of the real train/ that were not drawn. The
best mean is taken, for both data sets. One run each: candidates that lie within 3 points are not told apart
by it."""
AT_128 = """Runs of before, in bfloat16 autocast, with 20 epochs at 20 photos a class and 10 at 100, the
learning rates not chosen but set. LP-FT is what was called full fine-tuning then."""

LONGER = """The runs of 400 steps on insects, by photos a class: the accuracy of the epoch that the validation
photos chose (as in the table above), that of the last epoch, and the loss on the training photos, augmented,
in epochs of the first, the third and the last quarter. Where the last two differ, longer training would go on
learning. The learning rate is that chosen for 50 steps."""

VERDICT = """What it says, in words. That pre-training beats 50 steps from scratch is sure on both sets from 10
photos a class on, and the sure pairs that are alike are pairs with training from scratch, all but one. Among the
four pre-trained methods insects and photos rank differently: at 100 a class every method that moves more
than the head is surely better than the linear probe on insects, by 3 to 5 points, and on the photos none is
by more than a point. No pair is sure in both and opposite. Insects are right about what matters most and no
guide to how much to unfreeze on photos that resemble those of the pre-training."""

Runs = dict[tuple[int, str], dict[int, float]]  # (photos a class, method) -> accuracy by seed


def runs_of(name: str, classes: int = 2, pixels: int = PIXELS) -> Runs:
    """The accuracies that were measured."""
    found: Runs = {}
    for r in results.load(f"methods_{name}")["runs"]:
        if (r["classes"], r["pixels"]) == (classes, pixels):
            found.setdefault((r["per_class"], r["method"]), {})[r["seed"]] = r["accuracy"]
    return found


def sizes(runs: Runs) -> list[int]:
    return sorted({n for n, _ in runs})


def difference(runs: Runs, per_class: int, one: str, other: str) -> tuple[float, float]:
    """Mean and half interval of the accuracy of `one` minus that of `other`, on the same photos."""
    a, b = runs[per_class, one], runs[per_class, other]
    return interval([a[s] - b[s] for s in sorted(a.keys() & b.keys())])


def table(runs: Runs) -> list[str]:
    shown = [m for m in (*METHODS, *LONG) if any(method == m for _, method in runs)]
    lines = ["| photos a class | " + " | ".join(shown) + " | seeds |"]
    lines.append("| --- " * (len(shown) + 2) + "|")
    for n in sizes(runs):
        cells, seeds = [], set()
        for m in shown:
            values = list(runs.get((n, m), {}).values())
            if not values:
                cells.append("")
                continue
            mean, half = interval(values)
            cells.append(f"{100 * mean:.1f} ± {100 * half:.1f}")
            seeds.add(len(values))
        lines.append(f"| {n} | " + " | ".join(cells) + f" | {'/'.join(map(str, sorted(seeds)))} |")
    return lines


def longer() -> list[str]:
    """One line a size: accuracies of the chosen and of the last epoch, and how far the training loss has come."""
    rows = [r for r in read(results.path("methods_insects")) if r["method"] in LONG]
    lines = ["| photos a class | chosen epoch | last epoch | training loss by quarters | seeds |"]
    lines.append("| --- " * 5 + "|")
    for n in sorted({r["per_class"] for r in rows}):
        mine = [r for r in rows if r["per_class"] == n]
        cells = []
        for name in ("accuracy", "last"):
            mean, half = interval([r[name] for r in mine])
            cells.append(f"{100 * mean:.1f} ± {100 * half:.1f}")
        quarters = []
        for part in (0.25, 0.75, 1.0):
            at = [r["train_loss_by_epoch"][round(part * r["epochs"]) - 1] for r in mine]
            quarters.append(f"{sum(at) / len(at):.2f}")
        lines.append(f"| {n} | {' | '.join(cells)} | {', '.join(quarters)} | {len(mine)} |")
    return lines


def compare(insects: Runs, photos: Runs) -> list[str]:
    """One line a size: rank correlations, and the pairs whose order is sure in one set or in both."""
    head = "| photos a class | order on insects | order on real photos | Spearman | Kendall "
    lines = [head + "| sure in both, alike | sure in one only | sure in both, opposite |"]
    lines.append("| --- " * 8 + "|")
    for n in sizes(photos):
        means = [
            [interval(list(runs[n, m].values()))[0] for m in METHODS] for runs in (insects, photos)
        ]
        orders = [
            " > ".join(sorted(METHODS, key=lambda m, x=x: -x[METHODS.index(m)])) for x in means
        ]
        alike, single, opposite = judge_pairs(insects, photos, n)
        lines.append(
            f"| {n} | {orders[0]} | {orders[1]} | {spearmanr(*means)[0]:.2f} | {kendalltau(*means)[0]:.2f} "
            f"| {alike} of 10 | {single} | {'; '.join(opposite) or 'none'} |"
        )
    return lines


def judge_pairs(insects: Runs, photos: Runs, n: int) -> tuple[int, int, list[str]]:
    """Pairs of methods whose difference is beyond its interval: in both sets alike, in one, in both opposite."""
    alike, single, opposite = 0, 0, []
    for one, other in combinations(METHODS, 2):
        signs = []
        for runs in (insects, photos):
            mean, half = difference(runs, n, one, other)
            signs.append(0 if abs(mean) <= half else 1 if mean > 0 else -1)
        alike += signs[0] * signs[1] == 1
        single += (signs[0] == 0) != (signs[1] == 0)
        if signs[0] * signs[1] == -1:
            opposite.append(f"{one} against {other}")
    return alike, single, opposite


def recipes() -> list[str]:
    """How the learning rates were chosen."""
    file = RESULTS / "methods_recipes.json"
    rows = json.loads(file.read_text())["runs"]
    lines = ["| method | recipe | insects | real photos | mean | chosen |", "| --- " * 6 + "|"]
    for method in METHODS:
        for recipe in CANDIDATES[method]:
            cells = []
            for name in ("insects", "photos"):
                mine = [r for r in rows if r["data"] == name and r["method"] == method]
                values = [r["accuracy"] for r in mine if r["recipe"] == recipe]
                cells.append(sum(values) / len(values) if values else float("nan"))
            text = ", ".join(f"{k} {v:g}" for k, v in recipe.items())
            mark = "yes" if recipe == chosen(method) else ""
            numbers = " | ".join(f"{100 * v:.1f}" for v in (*cells, sum(cells) / 2))
            lines.append(f"| {method} | {text} | {numbers} | {mark} |")
    return lines


def figure(both: dict[str, Runs]) -> None:
    style = {"font.size": 13, "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(style):
        fig, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
        for ax, (name, runs) in zip(axes, both.items(), strict=True):
            draw(ax, runs)
            ax.set_title(TITLES[name], loc="left", fontweight="bold")
        axes[0].set_ylabel("test accuracy, %")
        lines, labels = axes[0].get_legend_handles_labels()
        axes[1].legend(lines, labels, frameon=False, loc="upper left", fontsize=12)
        FIGURE.parent.mkdir(parents=True, exist_ok=True)
        fig.savefig(FIGURE, dpi=110)
        plt.close(fig)


def draw(ax: Any, runs: Runs) -> None:
    for k, method in enumerate((*METHODS, *LONG)):
        colour, marker, label = LOOK[method]
        at = [n for n in sizes(runs) if (n, method) in runs]
        if not at:
            continue
        found = [interval(list(runs[n, method].values())) for n in at]
        ax.errorbar(
            [n * 1.05 ** (k - 2) for n in at],  # side by side
            [100 * mean for mean, _ in found],
            [100 * half for _, half in found],
            color=colour, marker=marker, label=label, lw=2, ms=7, capsize=3, elinewidth=1.2,
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks(sizes(runs), sizes(runs))
    ax.minorticks_off()
    ax.set_xlabel("photos a class to train on")
    ax.axhline(50, color="#999999", lw=1, ls=":")
    ax.grid(axis="y", color="#DDDDDD", lw=0.8)
    ax.set_axisbelow(True)


def main() -> None:
    both = {name: runs_of(name) for name in TITLES}
    figure(both)
    found = results.load("methods_insects")
    parts = ["# Methods of fine-tuning, by photos a class", INTRODUCTION]
    for name, runs in both.items():
        parts += [f"## {TITLES[name]}, ants and bees, {PIXELS} pixels", *block(table(runs))]
    parts += ["## From scratch, for longer", LONGER, *block(longer())]
    parts += ["## Does the ranking on insects tell that on real photos?", COMPARISON]
    parts += [*block(compare(both["insects"], both["photos"])), VERDICT]
    parts += ["## How the learning rates were chosen", CHOICE, *block(recipes())]
    parts += ["## At 128 pixels", AT_128]
    for name, classes in (("insects", 2), ("insects", 6), ("photos", 2)):
        parts += [f"{TITLES[name]}, {classes} classes:", *block(table(runs_of(name, classes, 128)))]
    parts.append(f"Versions: {json.dumps(found['versions'])}; {found['machine']}.")
    text = "\n\n".join(parts) + "\n"
    (RESULTS / "methods.md").write_text(text)
    print(text)


def block(lines: list[str]) -> list[str]:
    return ["\n".join(lines)]


if __name__ == "__main__":
    main()
