"""Time this project against other libraries on the same work: `make bench`, or

    python benchmarks/speed.py                              # every row that is missing in the results file
    python benchmarks/speed.py --rows head-5 --rounds 1     # some rows, one round of them
    python benchmarks/speed.py --threads 1                  # where the machine has other work: CPU seconds
    python benchmarks/speed.py --summary                    # medians and ratios of what is there, and the figure
    python benchmarks/speed.py --device cuda --workers 8    # on a GPU: other rows, in results/speed_gpu.json

A run is a process of its own; programs take turns (A B C A B C). Each run adds one record to
`benchmarks/results/speed.json`: wall and CPU seconds of the work, peak memory of the process, validation accuracy,
and the share of the machine that other processes used meanwhile. Imports and making the network are not timed.
Libraries that are not installed are left out: `pip install -e ".[bench]"`.

With two threads wall seconds count, and only of runs in which other processes took at most 5 % of the cores. With
one thread CPU seconds count: what else runs slows memory for all, but ratios of runs that took turns hold.

All programs start from the same network. Its BatchNorm statistics are estimated anew on the training photos: most
loops let those of frozen layers drift towards them, this project's does not, and so neither gains by it.
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
from itertools import islice
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.json"
FIGURE = HERE.parent / "docs" / "images" / "speed.png"
ALL = ["ftcourse", "tutorial loop", "timm + loop", "HF Trainer", "Lightning", "fastai", "Keras 3"]
FAST = ["limit", "ftcourse", "tutorial loop", "timm + loop", "HF Trainer"]  # the fastest peers
LEAN = "ftcourse, photos not kept"  # in memory: decoded whenever they are needed
TWO = ["limit", "ftcourse", "tutorial loop"]

# name: (work, epochs, training photos, variant, programs); "tuned" and "bf16" are variants of the peers.
# In the order of what is most worth knowing: with --minutes the last ones are left out.
ROWS: dict[str, tuple[str, int, int, str, list[str]]] = {
    "head-5": ("head", 5, 400, "", ["limit", *ALL, LEAN]),
    "head-1": ("head", 1, 400, "", FAST),
    "head-20": ("head", 20, 96, "", TWO),
    "layer4-5": ("layer4", 5, 400, "", [*FAST, LEAN]),
    "layer4-5-tuned": ("layer4", 5, 400, "tuned", FAST),
    "all-1": ("all", 1, 400, "", ["limit", *ALL]),
    "all-1-tuned": ("all", 1, 400, "tuned", FAST),
    "all-1-bf16": ("all", 1, 400, "bf16", ["ftcourse", "tutorial loop"]),
    "head-5-tuned": ("head", 5, 400, "tuned", FAST),
    "head-5-bf16": ("head", 5, 400, "bf16", ["ftcourse", "tutorial loop"]),
    "augmented-5": ("augmented", 5, 400, "", ["ftcourse", "tutorial loop"]),
    "grow-1600": ("head", 5, 1600, "", ["ftcourse"]),
    "grow-6400": ("head", 5, 6400, "", ["ftcourse"]),
}  # fmt: skip
GPU_ROWS: dict[str, tuple[str, int, int, str, list[str]]] = {
    "head-5": ("head", 5, 1600, "", [*FAST, "Lightning"]),
    "head-5-tuned": ("head", 5, 1600, "tuned", FAST[:-1]),
    "layer4-5-tuned": ("layer4", 5, 1600, "tuned", FAST[:-1]),
    "all-5-tuned": ("all", 5, 1600, "tuned", FAST[:-1]),
    "augmented-5": ("augmented", 5, 1600, "", ["ftcourse", "tutorial loop"]),
    "augmented-5-tuned": ("augmented", 5, 1600, "tuned", FAST[1:-1]),
    "all-5-bf16": ("all", 5, 1600, "bf16", FAST[1:-1]),
}  # fmt: skip
QUIET = 0.05  # the share of the cores that other processes may take while wall seconds are measured


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
    job.device = spec.get("device", "cpu")
    job.workers = spec.get("workers", 0) if job.tuned else 0
    work = PROGRAMS[spec["program"]](job)
    before = peak_memory()
    return measured(work, job.device) | {"peak_mb": peak_memory(), "before_mb": before}


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


def conditions(args: argparse.Namespace) -> dict:
    names = ("torch", "torchvision", "timm", "transformers", "lightning", "fastai", "keras")
    versions = {}
    for name in names:
        if importlib.util.find_spec(name):
            versions[name] = version(name)
    cpu = [x for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x]
    command, on = "python benchmarks/speed.py", {}
    if args.device == "cuda":
        import torch

        command += f" --device cuda --workers {args.workers} --threads {args.threads}"
        on = {"gpu": torch.cuda.get_device_name()}
    return on | {
        "command": command,
        "network": "ResNet-18 with the pocket weights and BatchNorm statistics of these photos, 224 pixels, "
        "batch 32, SGD with momentum 0.9",
        "python": platform.python_version(),
        "versions": versions,
        "cpu": f"{len(cpu)} cores, {cpu[0].split(':')[1].strip()}",
    }


def weights_file(photos: Path) -> Path:
    """The network all programs start from: pocket weights, BatchNorm statistics of these training photos."""
    import torch
    from speed_programs import evaluation
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, models

    from ftcourse.models.pocket import ResNet18_Pocket_Weights

    file = photos.with_suffix(".pth")
    if file.exists():
        return file
    state = ResNet18_Pocket_Weights.DEFAULT.get_state_dict()
    model = models.resnet18()  # with a head of 1000 classes, which the programs then replace
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")}, strict=False)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.reset_running_stats()
            m.momentum = None  # the plain average of all batches
    torch.manual_seed(0)
    data = datasets.ImageFolder(photos / "train", evaluation())
    with torch.no_grad():
        for x, _ in islice(DataLoader(data, 32, shuffle=True), 16):
            model.train()(x)
    torch.save(model.state_dict(), file)
    return file


def main() -> None:
    args = arguments()
    if args.one:
        print("RESULT " + json.dumps(run_one(json.loads(args.one))))
        return
    file = RESULTS if args.device == "cpu" else RESULTS.with_name("speed_gpu.json")
    results = json.loads(file.read_text()) if file.exists() else {"runs": []}
    if not args.summary:
        measure(results, args, file)
    summary = summarise(results["runs"])
    print(table(summary))
    file.with_suffix(".md").write_text(page(summary, results, file.name))
    if args.device == "cpu":
        draw(summary)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, default=0, help="of tuned peers, on a GPU")
    parser.add_argument("--rows", nargs="*", metavar="ROW", help="only these")
    parser.add_argument("--programs", nargs="*", help="only these")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "ftcourse-bench")  # fmt: skip
    parser.add_argument("--hymenoptera", type=Path, help="hymenoptera.zip: use its photos")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so long")
    parser.add_argument("--summary", action="store_true", help="measure nothing")
    args = parser.parse_args()
    known = GPU_ROWS if args.device == "cuda" else ROWS
    for row in args.rows or ():
        if row not in known:
            parser.error(f"--rows {row}: on {args.device} there are {', '.join(known)}")
    return args


def measure(results: dict, args: argparse.Namespace, file: Path) -> None:
    args.folder.mkdir(parents=True, exist_ok=True)
    results |= conditions(args)
    rows = ROWS if args.device == "cpu" else GPU_ROWS
    end = time.time() + 60 * args.minutes
    for turn in range(args.rounds):
        for row in args.rows or rows:
            work, epochs, photos, variant, programs = rows[row]
            root = make_photos(args.folder / f"photos{photos}", photos, min(48, photos // 2))
            for program in programs:
                spec = {"row": row, "program": program, "variant": variant, "work": work}
                spec |= {"epochs": epochs, "train_photos": photos, "threads": args.threads}
                spec |= {"photos_of": "generated"}
                if args.device != "cpu":
                    spec |= {"device": args.device, "workers": args.workers}
                if args.hymenoptera:
                    root = unpack(args.hymenoptera, args.folder / "hymenoptera")
                    spec |= {"photos_of": "hymenoptera", "train_photos": 244}
                done = [r for r in results["runs"] if spec.items() <= r.items()]
                wanted = not args.programs or program in args.programs
                if len(done) > turn or not wanted or not installed(program):
                    continue
                if time.time() > end:
                    return
                more = {"photos": str(root), "weights": str(weights_file(root))}
                found = start(spec | more)
                if found:
                    results["runs"].append(spec | found)
                    file.write_text(json.dumps(results, indent=1) + "\n")
                    print(f"{row:<15}{variant:<7}{program:<15}{found}", flush=True)


# -- what comes out ----------------------------------------------------------------------------


def counts(run: dict) -> bool:
    """True if a run's seconds are evidence: see the top of this file."""
    return run["threads"] == 1 or run["foreign_load"] <= QUIET


def summarise(runs: list[dict]) -> list[dict]:
    """One entry a (row, variant, threads, photos, program): medians of the runs that count, and ratios of seconds.

    `seconds` are those of the CPU with one thread, of the wall clock with more.
    """
    keys = ("row", "work", "epochs", "train_photos", "threads", "photos_of", "variant", "program")
    groups: dict[tuple, list[dict]] = {}
    for run in filter(counts, runs):
        run = run | {"seconds": run["cpu" if run["threads"] == 1 else "wall"]}
        groups.setdefault(tuple(run[k] for k in keys), []).append(run)
    out = []
    for key, some in groups.items():
        entry = dict(zip(keys, key, strict=True)) | {"runs": len(some)}
        for name in ("seconds", "cpu", "peak_mb", "accuracy", "foreign_load", "gpu_mb"):
            if name in some[0]:
                entry[name] = round(statistics.median(r[name] for r in some), 3)
        entry["range"] = [min(r["seconds"] for r in some), max(r["seconds"] for r in some)]
        for name, program in (("ratio", "ftcourse"), ("of_limit", "limit")):
            other = groups.get((*key[:-1], program))
            if other:
                median = statistics.median(r["seconds"] for r in other)
                entry[name] = round(entry["seconds"] / median, 2)
        out.append(entry)
    order = {row: i for i, row in enumerate({**ROWS, **GPU_ROWS})}
    return sorted(out, key=lambda e: (e["photos_of"], order[e["row"]], -e["threads"], e["seconds"]))


def table(summary: list[dict]) -> str:
    lines = [
        "| row | photos | variant | program | threads | seconds (range) | times ours | times the limit "
        "| CPU s | peak MB | GPU MB | accuracy | foreign load | runs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for e in summary:
        low, high = e["range"]
        gpu = f"{e['gpu_mb']:.0f}" if "gpu_mb" in e else ""
        lines.append(
            f"| {e['row']} | {e['train_photos']} {e['photos_of']} | {e['variant'] or 'default'} "
            f"| {e['program']} | {e['threads']} | {e['seconds']:.1f} ({low:.1f} to {high:.1f}) "
            f"| {e.get('ratio', '')} | {e.get('of_limit', '')} | {e['cpu']:.1f} "
            f"| {e['peak_mb']:.0f} | {gpu} | {e['accuracy']:.2f} "
            f"| {e['foreign_load']:.0%} | {e['runs']} |"
        )
    return "\n".join(lines)


def page(summary: list[dict], results: dict, name: str = "speed.json") -> str:
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    dropped = sum(not counts(r) for r in results["runs"])
    gpu, workers = "", ""
    if "gpu" in results:
        gpu = f", {results['gpu']}"
        workers = ", but that in the tuned one and with bf16 all programs load photos in processes of their own"
    left_out = f"left out are {dropped} of {len(results['runs'])} runs, those in"
    return f"""# Speed, side by side

Made by `{results["command"]}`; every run is in [{name}]({name}). {results["network"]};
Python {results["python"]}, {versions}; {results["cpu"]}{gpu}.{results.get("note", "")}

A run is a process of its own, programs take turns, medians are given. *seconds* are those of the wall clock with
two threads or more; {left_out} which other processes took more than {QUIET:.0%} of the
cores (*foreign load*). With one thread they are CPU seconds, whatever else ran. One run is indicative only.

- *row*: what trains, and for how many epochs. *photos*: in the training split; half as many, at most 48, are
  validated on after each epoch (of hymenoptera 151).
- *variant*: "tuned" peers have channels_last weights and frozen BatchNorm in eval mode; "bf16" has both and
  bfloat16. This project runs the same for the default and for the tuned row{workers}.
- *limit*: each photo decoded once, one forward pass of what is frozen, forward and backward of what trains.
- *peak MB*: of the whole process, imports included; *GPU MB*: of its tensors on a GPU.

{table(summary)}
"""


def draw(summary: list[dict]) -> None:
    """A panel for what trains: the programs at their defaults, and tuned where that was measured."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    titles = {
        "head-5": "Head only, 5 epochs",
        "layer4-5": "Last block and head, 5 epochs",
        "all-1": "All layers, 1 epoch",
    }
    threads = max(e["threads"] for e in summary)
    summary = [e for e in summary if (e["threads"], e["photos_of"]) == (threads, "generated")]
    summary = [e for e in summary if e["program"] != LEAN]
    shown = [row for row in titles if any(e["row"] == row for e in summary)]
    plt.rcParams["font.size"] = 12
    fig, axes = plt.subplots(
        1, len(shown), figsize=(5.2 * len(shown), 5), layout="constrained", squeeze=False
    )
    for ax, row in zip(axes[0], shown, strict=True):
        bars = {e["program"]: e["seconds"] for e in summary if e["row"] == row}
        for e in summary:
            if e["row"] == f"{row}-tuned" and e["program"] not in ("ftcourse", "limit"):
                bars[f"{e['program']}, tuned"] = e["seconds"]
        names = sorted(bars, key=lambda name: -bars[name])
        drawn = ax.barh(names, [bars[name] for name in names])
        for bar, name in zip(drawn, names, strict=True):
            own = {"ftcourse": "#0072B2", "limit": "#999999"}
            bar.set_color(own.get(name, "#F0C987" if "tuned" in name else "#E69F00"))
        ax.bar_label(drawn, [f"{bars[name]:.1f}" for name in names], padding=3)
        ax.set(title=titles[row], xlabel="seconds" if threads > 1 else "CPU seconds, one thread")
        ax.margins(x=0.2)
        ax.spines[["top", "right"]].set_visible(False)
    FIGURE.parent.mkdir(exist_ok=True)
    fig.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
