"""Count what the checks of the exercises were tried with: right answers, wrong ones, small mistakes in ours.

    python benchmarks/exercise_answers.py        # writes results/exercise_answers.{json,md}; a few minutes

The answers are those of tests/lessons/answers, which tests/lessons/test_answers.py holds the checks to.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "lessons")]
os.environ["FTCOURSE_PROGRESS"] = "off"

from mutated import defined, mutants  # noqa: E402

from ftcourse.exercises import Exercise, Function, progress  # noqa: E402


def verdict(exercise: Exercise, answer: Any) -> str:
    """ "✅", "❌", or whatever else the check's line begins with."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exercise(answer)
    marks = [line[0] for line in printed.getvalue().splitlines() if line[:1] in "✅❌⏳❔"]
    return marks[0] if marks else "?"


def of_mutants(exercise: Exercise, names: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(how it is told, verdict) of each small mistake that can be defined."""
    for told, code in mutants(exercise.worked):
        with contextlib.suppress(Exception):
            yield told, verdict(exercise, defined(code, names))


def counted(lesson: str) -> dict[str, Any]:
    module = importlib.import_module(f"ftcourse.exercises.{lesson}")
    given = importlib.import_module(f"answers.{lesson}")
    row: dict[str, Any] = dict.fromkeys(
        ("exercises", "right", "taken", "wrong", "refused", "mutants", "noticed"), 0
    )
    row["left"] = {}
    for e in [e for e in vars(module).values() if isinstance(e, Exercise)]:
        right = [verdict(e, answer) for answer in given.RIGHT[e.name]]
        wrong = [verdict(e, answer) for answer, _ in given.WRONG[e.name]]
        tried = isinstance(e, Function) and e.name not in getattr(given, "BY_OUTCOME", ())
        small = list(of_mutants(e, given.NAMES)) if tried else []
        row["exercises"] += 1
        row["right"] += len(right)
        row["taken"] += right.count("✅")
        row["wrong"] += len(wrong)
        row["refused"] += wrong.count("❌")
        row["mutants"] += len(small)
        row["noticed"] += sum(mark != "✅" for _, mark in small)
        reasons = given.EQUIVALENT.get(e.name, {})
        for told in (told for told, mark in small if mark == "✅"):
            row["left"][f"{e.number} {told}"] = reasons.get(told, "")
    return row


def table(found: dict[str, Any]) -> str:
    columns = ("exercises", "right", "taken", "wrong", "refused", "mutants", "noticed")
    lines = [
        "# What the exercises' checks were tried with\n",
        f"`{found['command']}`: right answers in different styles, wrong ones, and small mistakes planted in the",
        "worked answers (another operator, constant, sign, order, a line dropped).\n",
        f"| lesson | {' | '.join(columns)} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    rows = found["lessons"]
    for lesson, row in rows.items():
        lines.append(f"| {lesson[-2:]} | {' | '.join(str(row[c]) for c in columns)} |")
    total = [sum(row[c] for row in rows.values()) for c in columns]
    lines.append(f"| all | {' | '.join(map(str, total))} |")
    lines += ["\nSmall mistakes that are right as well, and why:\n"]
    for row in rows.values():
        lines += [
            f"- {told.replace('|', chr(92) + '|')}: {why}" for told, why in row["left"].items()
        ]
    return "\n".join([*lines, f"\ntorch {found['torch']}.", ""])


def main() -> None:
    found: dict[str, Any] = {
        "command": "python benchmarks/exercise_answers.py",
        "torch": version("torch"),
    }
    found["lessons"] = {}
    for lesson in sorted(progress.exercises()):
        found["lessons"][lesson] = counted(lesson)
        print(
            lesson, {k: v for k, v in found["lessons"][lesson].items() if k != "left"}, flush=True
        )
    (RESULTS / "exercise_answers.json").write_text(
        json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (RESULTS / "exercise_answers.md").write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
