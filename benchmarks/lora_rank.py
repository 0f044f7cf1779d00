"""What r and alpha of LoRA do: lesson 16's encoder and messages, three seeds.

    python benchmarks/lora_rank.py                 # all settings that the results file lacks
    python benchmarks/lora_rank.py --minutes 5     # start no run after so many

all-MiniLM-L6-v2 on the first 40 training messages of each class (120), three epochs of AdamW with batches of 16,
180 test messages: what lesson 16 trains. LoRA by peft on query and value; the head trains as well. Four series:

    rank     r of 1, 8 and 64, each with three learning rates; alpha = 2 r, so that the factor alpha / r is 2
    alpha    r = 8, alpha of 1, 16 and 256, so that the factor is 1/8, 2 and 32; learning rate 2e-3
    fixed    r of 1, 8 and 64 with alpha = 16 for all, as the paper does it; learning rate 2e-3
    both     r = 8, alpha times 8 with the learning rate of A and B divided by 8, and the other way round

The head's learning rate is 2e-3 always. The seed chooses the head, A and the order. The best of three epochs is
kept by the 90 validation messages, as in the lesson. Writes ftcourse/results/lora_rank.json and
benchmarks/results/lora_rank.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft_methods import versions

import ftcourse as ft
from ftcourse import results
from ftcourse.tasks import text

TABLE = Path(__file__).parent / "results" / "lora_rank.md"
SEEDS = (0, 1, 2)
LR = 2e-3
# (series, r, alpha, learning rate of A and B)
SETTINGS = [
    *(("rank", r, 2 * r, lr) for r in (1, 8, 64) for lr in (LR, LR * 4, LR * 16)),
    *(("alpha", 8, alpha, LR) for alpha in (1, 16, 256)),
    *(("fixed", r, 16, LR) for r in (1, 8, 64)),
    ("both", 8, 128, LR / 8),
    ("both", 8, 2, LR * 8),
]


def measure(r: int, alpha: float, lr: float, seed: int) -> dict[str, Any]:
    encoder, tokenizer = text.load_encoder("minilm")
    data = text.load_messages(tokenizer, max_length=32, per_class=40)
    task = text.TextClassification(tokenizer)
    torch.manual_seed(seed)
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=["query", "value"])
    model = inject_adapter_in_model(config, text.TextClassifier(encoder, len(data.classes)))
    stage = ft.Stage("all", epochs=3, lr=lr, head_lr=LR, only="lora_")
    ft.apply_stage(model, stage)
    trainable = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    start = time.process_time()
    history = ft.finetune(
        model, data, stage, task=task, batch_size=16, seed=seed, progress=False, preflight=False
    )
    return {
        "accuracy": round(ft.evaluate(model, data.test, task=task)["accuracy"], 5),
        "val_accuracy": round(history.best["val_accuracy"], 5),
        "train_loss": round(history.epochs[-1]["train_loss"], 5),
        "lora_numbers": trainable,
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for setting in SETTINGS:
        series, r, alpha, lr = setting
        of = [x for x in runs if (x["r"], x["alpha"], x["lr"]) == (r, alpha, lr)]
        if of:
            values = sorted(x["accuracy"] for x in of)
            rows.append(
                {
                    "series": series, "r": r, "alpha": alpha, "lr": lr, "runs": len(of),
                    "lora_numbers": of[0]["lora_numbers"],
                    "accuracy": round(statistics.mean(values), 4),
                    "accuracy_range": [values[0], values[-1]],
                    "train_loss": round(statistics.mean(x["train_loss"] for x in of), 4),
                }
            )  # fmt: skip
    return rows


def write(found: dict[str, Any]) -> None:
    found["summary"] = summary(found["runs"])
    results.path("lora_rank").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# LoRA: what r and alpha do",
        "",
        f"`{found['command']}`, seeds {found['seeds']}, {found['versions']}; one CPU thread.",
        "all-MiniLM-L6-v2, 120 messages, three epochs, 180 test messages. Test accuracy: mean over the seeds",
        "(lowest to highest); the loss is that of the last epoch, on the training messages.",
        "",
        "| series | r | alpha | alpha / r | learning rate | numbers in A and B | runs | test accuracy | loss |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for s in found["summary"]:
        low, high = s["accuracy_range"]
        lines.append(
            f"| {s['series']} | {s['r']} | {s['alpha']} | {s['alpha'] / s['r']:g} | {s['lr']:g} "
            f"| {s['lora_numbers']:,} | {s['runs']} "
            f"| {100 * s['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f}) | {s['train_loss']:.2f} |"
        )
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so many")
    a = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    file = results.path("lora_rank")
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": []}
    found |= {"command": "python benchmarks/lora_rank.py"}
    found["versions"] = versions()
    done = {(x["r"], x["alpha"], x["lr"], x["seed"]) for x in found["runs"]}
    for seed in SEEDS:
        for _, r, alpha, lr in SETTINGS:
            late = time.perf_counter() - begin > 60 * a.minutes
            if (r, alpha, lr, seed) in done or late:
                continue
            done.add((r, alpha, lr, seed))
            row = {"r": r, "alpha": alpha, "lr": lr, "seed": seed}
            found["runs"].append(row | measure(r, alpha, lr, seed))
            found["seeds"] = sorted({x["seed"] for x in found["runs"]})
            write(found)
            print(found["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
