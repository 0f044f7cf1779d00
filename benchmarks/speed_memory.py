"""Where the memory of each row of `speed.py` goes: MB that the process holds at each step of a run.

    python benchmarks/speed_memory.py            # two threads; writes results/speed_memory.json

Each run is a process of its own; *now* is what it holds at that moment, *peak* the most it has held so far.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed_memory.json"
WORKS = {"head": 2, "layer4": 3, "all": 2}  # epochs: later ones add nothing


def held() -> dict[str, int]:
    """MB in memory now, and at most so far (Linux)."""
    status = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
    return {
        name: round(int(status[key].split()[0]) / 1024)
        for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))
    }


def run_one(work: str, root: Path) -> dict[str, dict[str, int]]:
    import torch

    torch.set_num_threads(2)
    import torchvision  # noqa: F401

    steps = {"torch and torchvision imported": held()}
    from speed import weights_file

    import ftcourse as ft
    from ftcourse.data.transforms import eval_transforms

    model = ft.load_backbone("resnet18", weights=weights_file(root))
    ft.replace_head(model, 2)
    steps["network loaded"] = held()
    data = ft.load_data(root, size=224, train_transform=eval_transforms(224), audit=False)
    steps["photos decoded"] = held()
    stage = ft.Stage(work, epochs=WORKS[work], lr=1e-3, optimizer="sgd", augment=False)

    def first_step() -> None:
        steps.setdefault("frozen part computed, first step done", held())

    def epoch_done(history: ft.History) -> None:
        steps[f"after epoch {len(history.epochs)}"] = held()

    ft.finetune(
        model,
        data,
        stage,
        preflight=False,
        progress=False,
        on_batch=first_step,
        on_epoch=epoch_done,
    )
    steps["run finished"] = held()
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--one", choices=list(WORKS), help=argparse.SUPPRESS)
    work = parser.parse_args().one
    sys.path.insert(0, str(HERE))
    from speed import make_photos

    root = make_photos(Path(tempfile.gettempdir()) / "ftcourse-bench" / "photos400", 400, 48)
    if work:
        print(json.dumps(run_one(work, root)))
        return
    import torch

    found = {}
    for work in WORKS:
        command = [sys.executable, "-W", "ignore", __file__, "--one", work]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found[work] = json.loads(out.splitlines()[-1])
        print(work)
        for step, mb in found[work].items():
            print(f"  {mb['now']:6,} now {mb['peak']:6,} at most  {step}")
    note = {"command": "python benchmarks/speed_memory.py", "torch": torch.__version__}
    RESULTS.write_text(json.dumps(note | {"unit": "MB", "runs": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
