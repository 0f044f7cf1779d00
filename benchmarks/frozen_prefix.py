"""Where networks are cut when only the head trains, and what share of their work is then done once.

    python benchmarks/frozen_prefix.py                  # some minutes; writes results/frozen_prefix.json and .md
    python benchmarks/frozen_prefix.py --column before  # with another version on the path, for a column beside it

Networks have random weights and made-up BatchNorm statistics: measured is where the cut is and whether both halves
together are the whole, which no weights change. With timm installed two of its networks are tried too.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from ftcourse.models.freezing import train_mode
from ftcourse.training.frozen_prefix import cut_model

RESULTS = Path(__file__).parent / "results"
NETWORKS = (
    *("resnet18", "resnet50", "regnet_y_400mf", "mobilenet_v2", "mobilenet_v3_small"),
    *("densenet121", "shufflenet_v2_x1_0", "squeezenet1_1", "vgg11_bn", "mnasnet1_0"),
    *("googlenet", "inception_v3", "efficientnet_b0", "efficientnet_v2_s", "convnext_tiny"),
    *("vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"),
)
TIMM = ("efficientnet_b0", "vit_tiny_patch16_224")


def network(name: str) -> nn.Module:
    """Random weights; BatchNorm statistics as after training, so that a wrong BatchNorm would be seen."""
    torch.manual_seed(0)
    if name.startswith("timm "):
        model = import_module("timm").create_model(name.removeprefix("timm "), pretrained=False)
    else:
        more = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = models.get_model(name, weights=None, **more)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.normal_(0, 0.3)
                m.running_var.uniform_(0.5, 2)
        head = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]
        nn.init.normal_(head.weight, 0, 0.05)  # that of some is zero
    return model.eval()


def only_head_trains(model: nn.Module) -> nn.Module:
    """All is frozen but the last module that has parameters."""
    model.requires_grad_(False)
    last = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None][-1]
    last.requires_grad_(True)
    return train_mode(model)


def flops(function: Any, images: Tensor) -> int:
    torch.backends.mha.set_fastpath_enabled(False)  # fused attention is not counted
    try:
        with (
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            function(images)
        return counter.get_total_flops()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def tried(name: str) -> dict[str, Any]:
    """Where it is cut, the share of FLOPs before that, and how far both halves are from the whole."""
    model = only_head_trains(network(name))
    images = torch.randn(3, 3, *(2 * [299 if name == "inception_v3" else 224]))
    start = time.perf_counter()
    try:
        cut = cut_model(model)
    except Exception as err:  # any: a version that crashes is to be told, too
        return {"cut": None, "reason": f"{type(err).__name__}: {err}", "share": 0.0}
    seconds = round(time.perf_counter() - start, 2)
    if cut is None:
        return {"cut": None, "reason": "no reason given", "share": 0.0, "seconds": seconds}
    model.eval()
    share = flops(cut.plain_prefix(model), images) / flops(model, images)
    with torch.no_grad():
        whole = model(images)
        halves = cut.rest(model)(cut.prefix(model)(images))
    off = ((halves - whole).abs().max() / whole.abs().max()).item()
    return {"cut": cut.at, "share": round(share, 4), "off": off, "seconds": seconds}


def cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not measured"
    if row["cut"] is None:
        return f"nothing ({row['reason']})"
    return f"{row['cut']}: {100 * row['share']:.1f} %, {row['off']:.0e}"


def table(columns: dict[str, Any]) -> str:
    names = list(columns["now"]["rows"]) if "now" in columns else []
    lines = [f"| network | {' | '.join(columns)} |", "| --- " * (1 + len(columns)) + "|"]
    for name in names:
        cells = [cell(column["rows"].get(name)) for column in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    made = [
        f"{label}: {', '.join(f'{name} {version}' for name, version in c['versions'].items())}"
        for label, c in columns.items()
    ]
    return (
        "# Where networks are cut when only the head trains\n\n" + "\n".join(lines) + "\n\n"
        "Each cell: the last step that is computed once, its share of the FLOPs of a forward pass, and the "
        "largest difference of a logit between both halves and the whole, as a share of the largest logit. One "
        f"thread, CPU, float32. Made by `python benchmarks/frozen_prefix.py`. {'; '.join(made)}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--column", default="now", help="the column of the table that is made")
    parser.add_argument("--only", nargs="+", help="these networks alone; nothing is written")
    a = parser.parse_args()
    torch.set_num_threads(1)
    names = [*NETWORKS, *(f"timm {n}" for n in TIMM if find_spec("timm"))]
    rows = {}
    for name in a.only or names:
        rows[name] = tried(name)
        print(f"{name:<28} {cell(rows[name])}", flush=True)
    if a.only:
        return
    file = RESULTS / "frozen_prefix.json"
    columns = json.loads(file.read_text())["columns"] if file.exists() else {}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    versions |= {"torchvision": torchvision.__version__}
    versions |= {"timm": import_module("timm").__version__} if find_spec("timm") else {}
    columns[a.column] = {"versions": versions, "rows": rows}
    columns = {label: columns[label] for label in sorted(columns, key=lambda c: (c == "now", c))}
    content = {"command": "python benchmarks/frozen_prefix.py", "seeds": [0], "columns": columns}
    file.write_text(json.dumps(content, indent=1) + "\n")
    file.with_suffix(".md").write_text(table(columns))


if __name__ == "__main__":
    main()
