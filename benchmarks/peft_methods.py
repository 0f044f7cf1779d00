"""Head, BitFit, LoRA and all weights, on a text encoder and on a ResNet: accuracy, weights, file, memory.

    python benchmarks/peft_methods.py              # both models
    python benchmarks/peft_methods.py --only text  # or resnet18

Text: all-MiniLM-L6-v2 on the 390 training messages of Pocket Texts, two epochs, 180 test messages. ResNet: the
pocket resnet18 on ants and bees of Pocket Insects, 60 training photos of each at 64 pixels, eight epochs, 120 test
photos. LoRA by peft: on query and value of each attention layer, on every convolution of the four blocks. BitFit:
all biases; in the ResNet, whose convolutions have none, the norms' weights as well. The seed chooses the head and
the order. Learning rates are the usual ones for each method and were not tuned. The file holds what differs from
the pre-trained network. Memory is counted, for 16 samples: gradients, AdamW's state, and what autograd keeps.
Runs that are in the results file already are not repeated. Writes ftcourse/results/peft_methods.json and
benchmarks/results/peft_methods.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save
from torch import nn

import ftcourse as ft
from ftcourse import results
from ftcourse.tasks import Classification, text

TABLE = Path(__file__).parent / "results" / "peft_methods.md"
METHODS = ("head", "BitFit", "LoRA", "all")
SEEDS = (0, 1)
BATCH = 16
EPOCHS = {"text": 2, "resnet18": 8}
BITFIT = {"text": "bias", "resnet18": r"bias|bn|downsample\.1"}
TARGETS = {"text": ["query", "value"], "resnet18": r"layer\d\.\d\.(conv\d|downsample\.0)"}


def stage(name: str, method: str) -> ft.Stage:
    epochs = EPOCHS[name]
    if method == "head":
        return ft.Stage("head", epochs, lr=1e-2)
    if method == "BitFit":
        return ft.Stage("all", epochs, lr=3e-3, only=BITFIT[name])
    if method == "LoRA":
        return ft.Stage("all", epochs, lr=2e-3, only="lora_")
    if name == "text":
        return ft.Stage("all", epochs, lr=1e-4, head_lr=1e-3)
    return ft.Stage("all", epochs, lr=3e-4, head_lr=3e-3)


def prepare(name: str, method: str, seed: int) -> tuple[nn.Module, Any, Any]:
    """The model, with adapters where the method has them; the data; the task."""
    if name == "text":
        encoder, tokenizer = text.load_encoder("minilm")
        data: Any = text.load_messages(tokenizer, max_length=32)
        torch.manual_seed(seed)
        model: nn.Module = text.TextClassifier(encoder, len(data.classes))
        task: Classification = text.TextClassification(tokenizer)
    else:
        data = ft.load_data("pocket-insects", classes=("ants", "bees"), size=64)
        torch.manual_seed(seed)
        model, task = ft.load_backbone("resnet18", num_classes=2), Classification()
    if method == "LoRA":
        config = LoraConfig(r=8, lora_alpha=16, target_modules=TARGETS[name])
        model = inject_adapter_in_model(config, model)
    return model, data, task


def kept_bytes(model: nn.Module, task: Classification, data: Any) -> int:
    """Bytes of the tensors that autograd keeps for the way back, for the first 16 samples, without weights."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no address is given out twice
        return tensor

    some = torch.utils.data.Subset(data.train, range(BATCH))
    loader = torch.utils.data.DataLoader(some, batch_size=BATCH, collate_fn=task.collate)
    inputs, targets = next(task.batches(loader, "cpu"))
    ft.train_mode(model)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = task.loss(task.forward(model, inputs, targets), targets)
    del loss
    return sum(storage.nbytes() for storage in kept.values())


def measure(name: str, method: str, seed: int) -> dict[str, Any]:
    model, data, task = prepare(name, method, seed)
    how = stage(name, method)
    ft.apply_stage(model, how)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = sum(p.numel() for m in ft.layer_groups(model)["head"] for p in m.parameters())
    activations = kept_bytes(model, task, data)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    start = time.perf_counter()
    history = ft.finetune(
        model, data, how, task=task if name == "text" else None,
        batch_size=BATCH, seed=seed, progress=False, preflight=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    new = {"head.weight", "head.bias", "fc.weight", "fc.bias"}
    changed = {
        k: v.contiguous()
        for k, v in model.state_dict().items()
        if k in new or not torch.equal(v, before[k])
    }
    return {
        "accuracy": round(ft.evaluate(model, data.test, task=task)["accuracy"], 5),
        "val_accuracy": round(history.best["val_accuracy"], 5),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": trainable,
        "without_head": trainable - head,
        "file_bytes": len(save(changed)),
        "gradient_and_optimizer_bytes": 12 * trainable,  # float32: the gradient, Adam's two moments
        "activation_bytes": activations,
        "seconds": round(seconds, 1),
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for name, method in dict.fromkeys((r["model"], r["method"]) for r in runs):
        of = [r for r in runs if (r["model"], r["method"]) == (name, method)]
        values = [r["accuracy"] for r in of]
        row = {k: v for k, v in of[0].items() if k not in ("seed", "accuracy", "val_accuracy")}
        row |= {"runs": len(of), "accuracy": round(statistics.mean(values), 4)}
        row |= {"accuracy_range": [min(values), max(values)]}
        row |= {"seconds": round(statistics.mean(r["seconds"] for r in of), 1)}
        rows.append(row)
    return rows


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(), "torch": torch.__version__, "peft": peft.__version__,
        "transformers": transformers.__version__, "ftcourse": ft.__version__,
    }  # fmt: skip


def write(found: dict[str, Any]) -> None:
    found["summary"] = summary(found["runs"])
    results.path("peft_methods").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Parameter-efficient fine-tuning: what it costs and what it gives",
        "",
        f"`{found['command']}`, seeds {found['seeds']}, {found['versions']}; one CPU thread.",
        "Test accuracy is the mean over the seeds (lowest to highest). Memory is for 16 samples, without weights.",
        "",
        "| model | trains | test accuracy | trainable | file | gradients and optimizer | activations |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in found["summary"]:
        low, high = r["accuracy_range"]
        lines.append(
            f"| {r['model']} | {r['method']} | {100 * r['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) "
            f"| {r['trainable']:,} | {r['file_bytes'] / 1e6:.2f} MB "
            f"| {r['gradient_and_optimizer_bytes'] / 1e6:.1f} MB | {r['activation_bytes'] / 1e6:.0f} MB |"
        )
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=tuple(EPOCHS))
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so many")
    a = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    file = results.path("peft_methods")
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": []}
    found |= {"command": "python benchmarks/peft_methods.py", "seeds": list(SEEDS)}
    found["versions"] = versions()
    done = {(r["model"], r["method"], r["seed"]) for r in found["runs"]}
    for seed in SEEDS:
        for name in [a.only] if a.only else EPOCHS:
            for method in METHODS:
                late = time.perf_counter() - begin > 60 * a.minutes
                if (name, method, seed) in done or late:
                    continue
                row = {"model": name, "method": method, "seed": seed}
                found["runs"].append(row | measure(name, method, seed))
                found["seeds"] = sorted({r["seed"] for r in found["runs"]})
                write(found)
                print(found["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
