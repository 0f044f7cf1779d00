"""Time this project against other libraries on the same work: `make bench`, or

    python benchmarks/speed.py                              # every row that is missing in the results file
    python benchmarks/speed.py --rows head-5 --rounds 1     # some rows, one round of them
    python benchmarks/speed.py --summary                    # medians and ratios of what is there, and the figure

A run is a process of its own; programs take turns (A B C A B C). Each run adds one record to
`benchmarks/results/speed.json`: wall and CPU seconds of the work, peak memory of the process, validation accuracy,
and the share of the machine that other processes used meanwhile. Imports and making the network are not timed.
Libraries that are not installed are left out: `pip install -e ".[bench]"`.

With one thread, CPU seconds depend little on what else runs: they are the evidence. Wall seconds are only as good
as the machine is quiet: of them, only runs with at most 2 % foreign load count.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.json"
FIGURE = HERE.parent / "docs" / "images" / "speed.png"
ALL = ["ftcourse", "tutorial loop", "timm + loop", "HF Trainer", "Lightning", "fastai", "Keras 3"]
FAST = ["limit", "ftcourse", "tutorial loop", "HF Trainer"]  # the fastest peers of the first rounds
TWO = ["limit", "ftcourse", "tutorial loop"]

# name: (work, epochs, training photos, variant, programs); "tuned" and "bf16" are variants of the peers
ROWS: dict[str, tuple[str, int, int, str, list[str]]] = {
    "head-5": ("head", 5, 96, "", ["limit", *ALL]),
    "head-1": ("head", 1, 96, "", FAST),
    "head-5-tuned": ("head", 5, 96, "tuned", FAST),
    "head-5-bf16": ("head", 5, 96, "bf16", ["ftcourse", "tutorial loop"]),
    "head-20": ("head", 20, 96, "", TWO),
    "head-5-400": ("head", 5, 400, "", TWO),
    "layer4-5": ("layer4", 5, 96, "", [*FAST, "timm + loop", "Lightning", "Keras 3"]),
    "layer4-5-tuned": ("layer4", 5, 96, "tuned", FAST),
    "all-1": ("all", 1, 96, "", ["limit", *ALL]),
    "all-1-tuned": ("all", 1, 96, "tuned", FAST),
    "all-1-bf16": ("all", 1, 96, "bf16", ["ftcourse", "tutorial loop"]),
    "augmented-5": ("augmented", 5, 96, "", ["ftcourse", "tutorial loop"]),
    "augmented-5-tuned": ("augmented", 5, 96, "tuned", ["ftcourse", "tutorial loop"]),
    "grow-400": ("head", 5, 400, "", ["ftcourse"]),
    "grow-1600": ("head", 5, 1600, "", ["ftcourse"]),
    "grow-6400": ("head", 5, 6400, "", ["ftcourse"]),
}  # fmt: skip


# -- the photos --------------------------------------------------------------------------------


def draw_photo(label: int, number: int):
    """A JPEG-like scene of 500x375: smooth noise, with a disc or a cross of any colour on it."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(number * 2 + label)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), float)
    image += rng.normal(0, 12, image.shape)
    y, x = np.mgrid[:375, :500] - rng.integers(120, 256, 2)[:, None, None]
    size = rng.integers(50, 100)
    disc = x**2 + y**2 < size**2
    cross = (np.minimum(abs(x), abs(y)) < size / 4) & (np.maximum(abs(x), abs(y)) < size)
    image[cross if label else disc] = rng.integers(0, 256, 3)
    return Image.fromarray(image.clip(0, 255).astype("uint8"))


def make_photos(root: Path, train: int, val: int) -> Path:
    """Folders train/, val/ and test/ (two photos, which load_data wants to see) of two classes."""
    number = 0
    for split, count in (("train", train), ("val", val), ("test", 2)):
        for i in range(count):
            label = i % 2
            folder = root / split / ("disc", "cross")[label]
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{i:05d}.jpg"
            if not file.exists():
                draw_photo(label, number).save(file, quality=92)
            number += 1
    return root


def unpack(archive: Path, root: Path) -> Path:
    """hymenoptera.zip, its validation photos as val, two of them as test."""
    if not root.exists():
        with zipfile.ZipFile(archive) as z:
            z.extractall(root)
    found = next(p.parent for p in root.rglob("train") if p.is_dir())
    for folder in sorted((found / "val").iterdir()):
        target = found / "test" / folder.name
        target.mkdir(parents=True, exist_ok=True)
        if not any(target.iterdir()):
            first = sorted(folder.glob("*.jpg"))[0]
            first.rename(target / first.name)
    return found


# -- one run, in a process of its own ----------------------------------------------------------


def run_one(spec: dict) -> dict:
    import torch

    torch.set_num_threads(spec["threads"])
    sys.path.insert(0, str(HERE))
    from speed_programs import PROGRAMS, Job, measured

    job = Job(Path(spec["photos"]), Path(spec["weights"]), spec["work"], spec["epochs"])
    job.tuned = spec["variant"] in ("tuned", "bf16")
    job.bf16 = spec["variant"] == "bf16"
    work = PROGRAMS[spec["program"]](job)
    before = peak_memory()
    return measured(work) | {"peak_mb": peak_memory(), "before_mb": before}


def peak_memory() -> int:
    """MB that this process has held at most; ru_maxrss would count the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1024)


def busy() -> tuple[float, float]:
    """Seconds of all cores since the start: busy, and in all."""
    ticks = [int(v) for v in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / hertz, sum(ticks) / hertz


def start(spec: dict) -> dict | None:
    """Run `run_one(spec)` in a fresh process; its result, with what others used meanwhile."""
    threads = str(spec["threads"])
    env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    env |= {"KERAS_BACKEND": "torch", "TOKENIZERS_PARALLELISM": "false"}
    before, children = busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--one", json.dumps(spec)],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    after, mine = busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
    line = next((x for x in out.stdout.splitlines() if x.startswith("RESULT ")), None)
    if line is None:
        print(f"  failed: {spec['program']}\n{out.stderr[-2000:]}", file=sys.stderr)
        return None
    own = mine.ru_utime + mine.ru_stime - children.ru_utime - children.ru_stime
    foreign = max(0.0, (after[0] - before[0] - own) / max(after[1] - before[1], 1e-9))
    return json.loads(line.removeprefix("RESULT ")) | {"foreign_load": round(foreign, 3)}


# -- all runs ----------------------------------------------------------------------------------


def installed(program: str) -> bool:
    sys.path.insert(0, str(HERE))
    from speed_programs import NEEDS

    return program not in NEEDS or importlib.util.find_spec(NEEDS[program]) is not None


def conditions() -> dict:
    names = ("torch", "torchvision", "timm", "transformers", "lightning", "fastai", "keras")
    versions = {}
    for name in names:
        if importlib.util.find_spec(name):
            versions[name] = version(name)
    cpu = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    return {
        "command": "python benchmarks/speed.py",
        "network": "resnet18 with the pocket weights, 224 pixels, batch 32, SGD with momentum 0.9",
        "python": platform.python_version(),
        "versions": versions,
        "cpu": f"{len(cpu)} cores, {cpu[0].split(':')[1].strip()}",
    }


def weights_file(folder: Path) -> Path:
    import torch
    from torchvision import models

    from ftcourse.pocket import ResNet18_Pocket_Weights

    file = folder / "resnet18.pth"
    if not file.exists():  # peers want a head of 1000 classes, which they then replace
        state = ResNet18_Pocket_Weights.DEFAULT.get_state_dict()
        whole = models.resnet18().state_dict()
        torch.save({k: state[k] if not k.startswith("fc.") else whole[k] for k in whole}, file)
    return file


def main() -> None:
    args = arguments()
    if args.one:
        print("RESULT " + json.dumps(run_one(json.loads(args.one))))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": []}
    if not args.summary:
        measure(results, args)
    summary = summarise(results["runs"])
    print(table(summary))
    (RESULTS.with_suffix(".md")).write_text(page(summary, results))
    draw(summary)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--programs", nargs="*", help="only these")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "ftcourse-bench")  # fmt: skip
    parser.add_argument("--hymenoptera", type=Path, help="hymenoptera.zip: use its photos")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so long")
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    return parser.parse_args()


def measure(results: dict, args: argparse.Namespace) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    results |= conditions()
    end = time.time() + 60 * args.minutes
    for turn in range(args.rounds):
        for row in args.rows:
            work, epochs, photos, variant, programs = ROWS[row]
            root = make_photos(args.folder / f"photos{photos}", photos, min(48, photos // 2))
            for program in programs:
                spec = {"row": row, "program": program, "variant": variant, "work": work}
                spec |= {"epochs": epochs, "train_photos": photos, "threads": args.threads}
                spec |= {"photos_of": "generated"}
                if args.hymenoptera:
                    root = unpack(args.hymenoptera, args.folder / "hymenoptera")
                    spec |= {"photos_of": "hymenoptera", "train_photos": 244}
                done = [r for r in results["runs"] if spec.items() <= r.items()]
                wanted = not args.programs or program in args.programs
                if len(done) > turn or not wanted or not installed(program):
                    continue
                if time.time() > end:
                    return
                more = {"photos": str(root), "weights": str(weights_file(args.folder))}
                found = start(spec | more)
                if found:
                    results["runs"].append(spec | found)
                    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
                    print(f"{row:<15}{variant:<7}{program:<15}{found}", flush=True)


# -- what comes out ----------------------------------------------------------------------------


def summarise(runs: list[dict]) -> list[dict]:
    """One entry a (row, variant, threads, photos, program): medians, and CPU time relative to this project's."""
    keys = ("row", "work", "epochs", "train_photos", "threads", "photos_of", "variant", "program")
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        groups.setdefault(tuple(run[k] for k in keys), []).append(run)
    out = []
    for key, some in groups.items():
        entry = dict(zip(keys, key, strict=True)) | {"runs": len(some)}
        for name in ("cpu", "wall", "peak_mb", "accuracy", "foreign_load"):
            entry[name] = round(statistics.median(r[name] for r in some), 3)
        entry["cpu_range"] = [min(r["cpu"] for r in some), max(r["cpu"] for r in some)]
        for name, program in (("ratio", "ftcourse"), ("of_limit", "limit")):
            other = groups.get((*key[:-1], program))
            if other:
                entry[name] = round(entry["cpu"] / statistics.median(r["cpu"] for r in other), 2)
        out.append(entry)
    order = {row: i for i, row in enumerate(ROWS)}
    return sorted(out, key=lambda e: (order[e["row"]], e["photos_of"], e["variant"], e["cpu"]))


def table(summary: list[dict]) -> str:
    lines = [
        "| row | photos | variant | program | threads | CPU s (range) | times ours | times the limit "
        "| wall s | peak MB | accuracy | foreign load | runs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for e in summary:
        low, high = e["cpu_range"]
        lines.append(
            f"| {e['row']} | {e['train_photos']} {e['photos_of']} | {e['variant'] or 'default'} "
            f"| {e['program']} | {e['threads']} | {e['cpu']:.1f} ({low:.1f} to {high:.1f}) "
            f"| {e.get('ratio', '')} | {e.get('of_limit', '')} | {e['wall']:.1f} "
            f"| {e['peak_mb']:.0f} | {e['accuracy']:.2f} | {e['foreign_load']:.0%} | {e['runs']} |"
        )
    return "\n".join(lines)


def page(summary: list[dict], results: dict) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    return f"""# Speed, side by side

Made by `{results["command"]}`; every run is in [speed.json](speed.json). {results["network"]};
Python {results["python"]}, {versions}; {results["cpu"]}.

A run is a process of its own, programs take turns, medians are given. CPU seconds with one thread are the
evidence: the machine did other work meanwhile (column *foreign load*, the share of both cores that other processes
used), so wall seconds tell little.

- *row*: what trains, and for how many epochs. *photos*: in the training split; half as many, at most 48, are
  validated on after each epoch.
- *variant*: "tuned" peers have channels_last weights and frozen BatchNorm in eval mode; "bf16" has both and
  bfloat16.
- *limit*: each photo decoded once, one forward pass of what is frozen, forward and backward of what trains.
- *peak MB*: of the whole process, imports included.

{table(summary)}
"""


def draw(summary: list[dict]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [
        ("head-5", "", "Head only, 5 epochs"),
        ("layer4-5", "", "Last block and head, 5 epochs"),
        ("all-1", "", "All layers, 1 epoch"),
    ]
    measured = {(e["row"], e["variant"]) for e in summary}
    shown = [panel for panel in shown if panel[:2] in measured]
    plt.rcParams["font.size"] = 12
    fig, axes = plt.subplots(
        1, len(shown), figsize=(5 * len(shown), 4.2), layout="constrained", squeeze=False
    )
    for ax, (row, variant, title) in zip(axes[0], shown, strict=True):
        some = [e for e in summary if (e["row"], e["variant"]) == (row, variant)]
        some = sorted((e for e in some if e["photos_of"] == "generated"), key=lambda e: -e["cpu"])
        colours = {"ftcourse": "#0072B2", "limit": "#999999"}
        names = [e["program"] for e in some]
        bars = ax.barh(names, [e["cpu"] for e in some])
        for bar, name in zip(bars, names, strict=True):
            bar.set_color(colours.get(name, "#E69F00"))
        ax.bar_label(bars, [f"{e['cpu']:.1f} s" for e in some], padding=3)
        ax.set(title=title, xlabel="CPU seconds, one thread")
        ax.margins(x=0.2)
        ax.spines[["top", "right"]].set_visible(False)
    FIGURE.parent.mkdir(exist_ok=True)
    fig.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
