"""Fine-tuning all-MiniLM-L6-v2 on text, against a bag of words; and a question answerer on Pocket Texts.

    python benchmarks/text.py --sst2 sst2.zip     # Stanford Sentiment Treebank, two classes, at several sizes
    python benchmarks/text.py --messages          # Pocket Texts: messages to a museum
    python benchmarks/text.py --questions         # Pocket Texts: questions on short texts

Bag of words: TF-IDF of words and pairs of words, logistic regression. Frozen: logistic regression on the mean of
the encoder's last layer. Last two: layers 4 and 5 and the head train. All: everything does. Each seed draws other
training texts, and another head and order. The test split is used once a run, and no setting was chosen by it.
SST-2 has 6,920 training sentences and 1,821 to test. Questions: 156 to train on, 60 on other texts to test, and 24
to keep the best epoch by; learning rates, epochs and the number of layers were compared on ten training and
validation texts held out for it, with one seed.
Runs that are in the results file already are not repeated. Writes ftcourse/results/text.json and
benchmarks/results/text.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import ftcourse as ft
from ftcourse import results
from ftcourse.data.texts import LABELS, messages
from ftcourse.tasks import text

TABLE = Path(__file__).parent / "results" / "text.md"
METHODS = ("bag of words", "frozen", "last two", "all")
SIZES = (50, 200, 1000, 6920)
SEEDS = {50: 3, 200: 3, 1000: 3, 6920: 1}  # of all the sentences another seed would draw the same
MAX_LENGTH = 48  # tokens of a text


def epochs(size: int) -> int:
    return {50: 10, 200: 4, 390: 2, 1000: 3, 6920: 1}[size]


def stage(method: str, size: int) -> ft.Stage:
    if method == "last two":
        return ft.Stage("layer.4", epochs(size), lr=3e-4, head_lr=3e-3)
    return ft.Stage("all", epochs(size), lr=1e-4, head_lr=1e-3)


def run(method: str, train: list, val: list, test: list, classes: tuple, seed: int) -> float:
    """Test accuracy; rows are pairs (text, label)."""
    if method == "bag of words":
        words = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[?!]"
        )
        fitted = make_pipeline(words, LogisticRegression(C=3, max_iter=2000)).fit(*columns(train))
        return fitted.score(*columns(test))
    if method == "frozen":
        known, new = (features(tuple(t for t, _ in rows)) for rows in (train, test))
        fitted = LogisticRegression(C=0.3, max_iter=2000).fit(known, [y for _, y in train])
        return fitted.score(new, [y for _, y in test])
    encoder, tokenizer = text.load_encoder("minilm")
    splits = [
        text.Texts([t for t, _ in rows], [y for _, y in rows], tokenizer, MAX_LENGTH)
        for rows in (train, val, test)
    ]
    data = text.TextData(*splits, classes=classes)  # type: ignore[misc]
    torch.manual_seed(seed)
    model, task = text.TextClassifier(encoder, len(classes)), text.TextClassification(tokenizer)
    ft.finetune(
        model, data, stage(method, len(train)), task=task,
        batch_size=16, seed=seed, progress=False, preflight=False,
    )  # fmt: skip
    return ft.evaluate(model, by_length(data.test), task=task)["accuracy"]


def columns(rows: list) -> tuple[list, list]:
    return [t for t, _ in rows], [y for _, y in rows]


def by_length(split: text.Texts) -> torch.utils.data.Subset:
    """Short texts with short ones: no figure changes, and less padding is computed."""
    return torch.utils.data.Subset(
        split, sorted(range(len(split)), key=lambda i: len(split.texts[i]))
    )


@cache
@torch.inference_mode()
def features(texts: tuple[str, ...]) -> Any:
    """The encoder's mean over the tokens of each text; short texts with short ones, for less padding."""
    encoder, tokenizer = text.load_encoder("minilm")
    found = torch.empty(len(texts), encoder.config.hidden_size)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for some in torch.tensor(order).split(64):
        batch = tokenizer(
            [texts[i] for i in some.tolist()], truncation=True, max_length=MAX_LENGTH,
            padding=True, return_tensors="pt",
        )  # fmt: skip
        hidden = encoder(**batch).last_hidden_state
        found[some] = text.mean_pool(hidden, batch["attention_mask"])
    return found.numpy()


def sst2(file: Path, size: int, seed: int) -> tuple[list, list, list]:
    """Training rows, balanced and drawn by the seed; 100 rows of dev to keep the best epoch by; test rows."""
    splits = {}
    with zipfile.ZipFile(file) as archive:
        for name in ("train", "dev", "test"):
            lines = archive.read(f"{name}.tsv").decode("utf-8").splitlines()
            pairs = [line.rsplit("\t", 1) for line in lines]
            splits[name] = [(t, int(y)) for t, y in pairs if y in ("0", "1")]
    rng, rows = random.Random(seed), splits["train"]
    if size < len(rows):
        by_class = [[r for r in rows if r[1] == y] for y in (0, 1)]
        rows = [r for some in by_class for r in rng.sample(some, size // 2)]
    return rows, splits["dev"][:100], splits["test"]


QUESTION_STAGES = {
    "frozen": ft.Stage("head", 8, lr=1e-2),
    "last three": ft.Stage("layer.3", 8, lr=4e-4, head_lr=4e-3),
    "all layers": ft.Stage("layer.0", 8, lr=3e-4, head_lr=3e-3),
}
QUESTIONS = (("untrained", 0), *((method, 156) for method in QUESTION_STAGES))


def answers(method: str, seed: int) -> dict[str, Any]:
    """Exact match, F1 and the answers given, on the 60 test questions."""
    encoder, tokenizer = text.load_encoder("minilm")
    data = text.load_questions(tokenizer)
    task = text.QuestionAnswering(tokenizer)
    torch.manual_seed(seed)
    model = text.SpanFinder(encoder)
    if method != "untrained":
        ft.finetune(
            model, data, QUESTION_STAGES[method], task=task,
            batch_size=12, seed=seed, progress=False, preflight=False,
        )  # fmt: skip
    logits, windows = ft.predict(model, data.test, task=task)
    found = {key: span.text for key, span in text.spans(logits, windows).items()}
    right = {w.id: w.answers for w in windows}
    score = {
        name: statistics.mean(measure(found[key], right[key]) for key in found)
        for name, measure in (("exact_match", text.exact_match), ("f1", text.f1))
    }
    return score | {"answers": found}


def wanted(a: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if a.sst2:
        for seed in range(max(SEEDS.values())):  # all sizes once, then again
            for size in (size for size in SIZES if seed < SEEDS[size]):
                for method in METHODS:
                    yield {"data": "sst2", "size": size, "seed": seed, "method": method}
    if a.messages:
        for seed in range(3):
            for method in METHODS[:3]:
                yield {"data": "messages", "size": 390, "seed": seed, "method": method}
    if a.questions:
        for seed in range(3):
            for method, size in QUESTIONS:
                yield {"data": "questions", "size": size, "seed": seed, "method": method}


def measure(job: dict[str, Any], file: Path | None) -> dict[str, Any]:
    if job["data"] == "questions":
        return answers(job["method"], job["seed"])
    if job["data"] == "sst2" and file is not None:
        train, val, test = sst2(file, job["size"], job["seed"])
        classes: tuple[str, ...] = ("negative", "positive")
    else:
        train, val, test = (
            [(m.text, LABELS.index(m.label)) for m in messages(s)] for s in ("train", "val", "test")
        )
        classes = LABELS
    return {"accuracy": run(job["method"], train, val, test, classes, job["seed"])}


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over the seeds, with the lowest and the highest, for each data set, size and method."""
    keys = list(dict.fromkeys((r["data"], r["size"], r["method"]) for r in runs))
    rows = []
    for data, size, method in keys:
        of = [r for r in runs if (r["data"], r["size"], r["method"]) == (data, size, method)]
        row = {"data": data, "size": size, "method": method, "runs": len(of)}
        for name in ("accuracy", "exact_match", "f1"):
            values = [r[name] for r in of if name in r]
            if values:
                row[name] = round(statistics.mean(values), 4)
                row[f"{name}_range"] = [round(min(values), 4), round(max(values), 4)]
        rows.append(row)
    return rows


def write(found: dict[str, Any]) -> None:
    found["summary"] = summary(found["runs"])
    results.path("text").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Text: which layers should train?",
        "",
        f"all-MiniLM-L6-v2 on one CPU thread; `{found['command']}`; {found['versions']}.",
        "SST-2: test accuracy on all 1,821 test sentences. Messages: 180 test messages. Mean over the",
        "seeds (lowest to highest); each seed draws other training texts of SST-2, another head and order.",
        "",
        "| data | training texts | method | runs | test accuracy |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in found["summary"]:
        if "accuracy" in r:
            low, high = r["accuracy_range"]
            score = f"{100 * r['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            lines.append(f"| {r['data']} | {r['size']:,} | {r['method']} | {r['runs']} | {score} |")
    lines += [
        "",
        "| questions | training questions | runs | exact match | F1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for r in found["summary"]:
        if "f1" in r:
            lines.append(
                f"| {r['method']} | {r['size'] if r['method'] != 'untrained' else 0} | {r['runs']} "
                f"| {100 * r['exact_match']:.1f} % | {100 * r['f1']:.1f} % |"
            )
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sst2", type=Path, metavar="ZIP")
    parser.add_argument("--messages", action="store_true")
    parser.add_argument("--questions", action="store_true")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after so many")
    a = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    file = results.path("text")
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"runs": []}
    found["command"] = "python benchmarks/text.py --messages --questions --sst2 sst2.zip"
    found["seeds"] = "0, 1, 2 at most: as many as the table has runs"
    found["versions"] = {
        "python": platform.python_version(), "torch": torch.__version__,
        "transformers": transformers.__version__, "ftcourse": ft.__version__,
    }  # fmt: skip
    done = [{k: r[k] for k in ("data", "size", "seed", "method")} for r in found["runs"]]
    for job in wanted(a):
        if job in done or time.perf_counter() - begin > 60 * a.minutes:
            continue
        got = measure(job, a.sst2)
        row = job | {k: round(v, 5) if isinstance(v, float) else v for k, v in got.items()}
        found["runs"].append(row)
        write(found)
        print(found["runs"][-1], flush=True)


if __name__ == "__main__":
    main()
