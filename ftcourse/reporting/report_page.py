"""`report.json` as a page in Markdown: the result first, then why to believe it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ftcourse.reporting.escaping import escaped, fenced
from ftcourse.reporting.options import in_options
from ftcourse.reporting.origins import inherited
from ftcourse.shipping.train_photos import FILE as TRAIN_PHOTOS

__all__ = ["calibration", "command_of", "confusions", "headline", "page"]


def headline(report: dict[str, Any]) -> str:
    """The result in one sentence, with its interval and the two baselines."""
    test, base = report["test"], report["baselines"]
    low, high = test["accuracy_interval"]
    return (
        f"{test['accuracy']:.1%} of {test['samples']} test photos are right "
        f"(95 % interval {low:.1%} to {high:.1%}; macro F1 {test['macro_f1']:.3f}), "
        f"against {base['linear_probe']:.1%} for a linear probe and "
        f'{base["majority"]:.1%} for always saying "{report["baseline_details"]["majority_class"]}".'
        + _without_near_copies(test, "test photos")
    )


def _without_near_copies(result: dict[str, Any], what: str) -> str:
    """What the accuracy is worth where photos have near copies in train; nothing where none has."""
    rest = result.get("without_near_copies")
    if not rest:
        return ""
    if rest["accuracy"] is None:
        return f" Each of the {rest['left_out']} {what} has a near copy in train: nothing is known of new photos."
    low, high = rest["accuracy_interval"]
    which = f"the {rest['left_out']} {what} that have a near copy in train"
    if rest["left_out"] == 1:
        which = f"the one of the {what} that has a near copy in train"
    return f" Without {which}: {rest['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})."


def command_of(source: Any, out: Any, settings: dict[str, Any]) -> str:
    """The command that makes this run again."""
    return shlex.join(["ftcourse", "train", str(source), "--out", str(out), *_words(settings)])


def _words(settings: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in settings.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] * value
        elif value is not None:
            words += [option, str(value)]
    return words


def page(report: dict[str, Any]) -> str:
    """The whole page; whatever names the report has, they are shown and do nothing else."""
    report = escaped(report, keep=("command",))
    parts = [
        f"# {report['name'].rstrip('/')}: {len(report['classes'])} classes",
        headline(report),
        *_bullets(report["notes"]),
        *_classes(report),
        "![Confusion on the test split](confusion.png)",
        *_confusions(report),
        *_coverage(report["test"]),
        *_worst(report),
        *_training(report),
        *_photos(report),
        *_remade(report),
    ]
    return "\n\n".join(parts) + "\n"


def _classes(report: dict[str, Any]) -> list[str]:
    rows = [
        [r["class"], _number(r["precision"]), _number(r["recall"]), _number(r["f1"]), r["support"]]
        for r in report["test"]["per_class"]
    ]
    test = report["test"]
    return [
        "## Each class",
        _table(["class", "precision", "recall", "F1", "test photos"], rows),
        "Precision: how many of the photos called so are so. Recall: how many of those that are so were called "
        "so. "
        f"Expected calibration error {test['ece']:.3f}: confidence and accuracy lie that far apart on average."
        + calibration(test),
    ]


def calibration(test: dict[str, Any]) -> str:
    """What was done so that probabilities mean what they say; nothing for runs that know of none."""
    done = test.get("calibration")
    if not done:
        return ""
    before = (
        "" if done["temperature"] == 1 else f" (before that the error was {done['ece_at_1']:.3f})"
    )
    return f" {done['note']}{before}."


def confusions(report: dict[str, Any], most: int) -> list[str]:
    """The most frequent mistakes of the test split, each in a sentence, the most frequent first."""
    confusion, classes = report["test"]["confusion"], report["classes"]
    pairs = [
        (n, -i, -j) for i, row in enumerate(confusion) for j, n in enumerate(row) if i != j and n
    ]
    return [
        f"{n} of {sum(confusion[-i])} {classes[-i]} {'was' if n == 1 else 'were'} taken for {classes[-j]}"
        for n, i, j in sorted(pairs, reverse=True)[:most]
    ]


def _confusions(report: dict[str, Any]) -> list[str]:
    told = confusions(report, 10)
    return ["The most frequent confusions:", *_bullets([f"{one}." for one in told])] if told else []


def _coverage(test: dict[str, Any]) -> list[str]:
    if not test.get("coverage"):
        return []
    rows = [
        [f"{r['threshold']:.0%}", r["answered"], f"{r['coverage']:.1%}", *_right(r)]
        for r in test["coverage"]
    ]
    return [
        "## When it is not sure",
        "Answers with a smaller probability left out, as `ftcourse predict --abstain` does:",
        _table(["least probability", "answered", "coverage", "right", "95 % interval"], rows),
    ]


def _right(row: dict[str, Any]) -> tuple[str, str]:
    if row["accuracy"] is None:
        return "-", "-"
    low, high = row["accuracy_interval"]
    return f"{row['accuracy']:.1%}", f"{low:.1%} to {high:.1%}"


def _worst(report: dict[str, Any]) -> list[str]:
    if not report["worst"]:
        return ["## The worst photos", "No test photo was wrong."]
    rows = [
        [k, w["file"], w["true"], w["predicted"], f"{w['probability']:.1%}"]
        for k, w in enumerate(report["worst"], 1)
    ]
    where = report.get("where", {"picture": None, "note": ""})
    return [
        "## The worst photos",
        "The most confident mistakes. Look at them: a wrong label or an odd photo shows here first.",
        "![The worst photos](worst.png)",
        _table(["", "file", "true", "predicted", "probability"], rows),
        *([where["note"]] if where["note"] else []),
        *(["![Where the network looked](where.png)"] if where["picture"] else []),
    ]


def _training(report: dict[str, Any]) -> list[str]:
    best, planned = report["best"], sum(s["epochs"] for s in report["stages"])
    rows = []
    for stage in report["stages"]:
        trains = stage["train"] if isinstance(stage["train"], str) else "+".join(stage["train"])
        head = stage["head_lr"] or stage["lr"]
        rows.append([trains, stage["epochs"], f"{stage['lr']:g}", f"{head:g}"])
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report["times"].items())
    start = "random weights" if report["weights"] == "none" else f'weights "{report["weights"]}"'
    return [
        "## What was trained",
        f'{report["backbone"]} from {start}, strategy "{report["strategy"]}", '
        f"input {report['size']}x{report['size']} "
        f"pixels, seed {report['seed']}. Kept: the weights of epoch {best['epoch']} of {planned}, the best on the "
        f"validation split ({best['val_accuracy']:.1%}).",
        _table(["trains", "epochs", "learning rate", "of the head"], rows),
        "![Loss and accuracy over the epochs](curves.png)",
        *inherited(report.get("origins", [])),
        f"It took {report['seconds']:.1f} s on {report['device']} ({times}).",
        *_asked(report),
        *_bullets(
            [in_options(f"{f['what']}: {f['evidence']}. {f['fix']}.") for f in report["findings"]]
        ),
    ]


def _asked(report: dict[str, Any]) -> list[str]:
    """Which options differ from the defaults, and how many epochs they left out."""
    found = []
    if words := _words(report.get("options", {})):
        found.append(f"Options that are not the defaults: {' '.join(words)}.")
    if "time_budget" in report:
        found.append(report["time_budget"])
    planned, done = sum(s["epochs"] for s in report["stages"]), report["epochs"]
    if done < planned and report.get("options", {}).get("early_stopping"):
        found.append(f"Early stopping left out {planned - done} of {planned} epochs.")
    return _bullets(found)


def _photos(report: dict[str, Any]) -> list[str]:
    splits = list(report["counts"])
    rows: list[list[Any]] = [
        [name, *(report["counts_per_class"][s][name] for s in splits)] for name in report["classes"]
    ]
    rows.append(["all", *report["counts"].values()])
    parts = ["## The photos", _table(["class", *splits], rows)]
    parts += _bullets([in_options(note) for note in report["data_notes"]])
    if report["audit"] is None:
        return parts
    findings = report["audit"]["findings"]
    told = [in_options(_finding(f)) for f in findings] or ["The audit found nothing."]
    return [*parts, "### Audit", *_bullets(told)]


def _finding(finding: dict[str, Any]) -> str:
    files = finding["files"]
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    return f"{finding['severity']}, {finding['kind']}: {finding['message']}" + (
        f" ({shown})" if shown else ""
    )


def _remade(report: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {value}" for name, value in report["versions"].items())
    return [
        "## To make this again",
        fenced(report["command"]),
        f"With {versions}. The test split was looked at once, after training; the linear probe is logistic "
        "regression on the pooled features of the backbone before training, its penalty chosen on the validation "
        "split. Intervals: Wilson's for accuracies; a percentile bootstrap over the test photos, 2000 resamples, "
        "for macro F1 and gains. `splits.csv` says which photo was in which split, `predictions.csv` has the "
        "answer to each photo of val and test.",
    ]


def _bullets(sentences: Sequence[str]) -> list[str]:
    return ["\n".join(f"- {sentence}" for sentence in sentences)] if sentences else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _trained_on(rest: dict[str, Any] | None) -> str:
    """How many of the evaluated photos are no new ones, and what is right among the others."""
    if rest is None:
        return (
            f"Whether the run was trained on some of these photos is not known: {TRAIN_PHOTOS} is not beside its "
            f"model."
        )
    seen, new = rest["left_out"], rest["samples"]
    if not seen:
        return "The run was trained on none of them, nor on a near copy."
    as_copy = f", {rest['near_copy']} of them as a near copy" if rest["near_copy"] else ""
    told = f"The run was trained on {seen} of these {seen + new} photos{as_copy}"
    if rest["accuracy"] is None:
        return f"{told}: nothing is known of new photos."
    low, high = rest["accuracy_interval"]
    return (
        f"{told}. Without them: {rest['accuracy']:.1%} of {new} are right "
        f"(95 % interval {low:.1%} to {high:.1%})."
    )


def _abstained(row: dict[str, Any], samples: int) -> str:
    told = f"Answers below {row['threshold']:.1%} left out: {row['answered']} of {samples} photos are answered"
    if row["accuracy"] is None:
        return f"{told}."
    right, interval = _right(row)
    return f"{told} ({row['coverage']:.1%}), and {right} of these are right (95 % interval {interval})."


def evaluation(result: dict[str, Any]) -> str:
    """What `ftcourse evaluate` prints."""
    low, high = result["accuracy_interval"]
    lines = [
        f"{result['accuracy']:.1%} of {result['samples']} photos are right ({result['source']}, split "
        f"{result['split']}; 95 % interval {low:.1%} to {high:.1%}), macro F1 {result['macro_f1']:.3f}, "
        f"loss {result['loss']:.3f}"
    ]
    if "abstain" in result:
        lines.append(_abstained(result["abstain"], result["samples"]))
    if rest := _without_near_copies(result, "photos").strip():
        lines.append(rest)
    if "trained_on" in result:
        lines.append(_trained_on(result["trained_on"]))
    for r in result["per_class"]:
        recall, precision = _number(r["recall"]), _number(r["precision"])
        lines.append(
            f"  {r['class']}: recall {recall}, precision {precision}, {r['support']} photos"
        )
    return "\n".join(lines)
