"""What a reader of each lesson meets: words, the first thing to do, what the reader writes, what is claimed.

    python authoring/reading.py            a table, one row a lesson, and what is wrong below it
    python authoring/reading.py --claims   writes authoring/claims.md from authoring/claims.d/

A lesson is held to four rules here (tests/lessons/test_reading.py runs them): no printed line says "claim: True"
where a number belongs; the reader does something within 250 words; the cells draw with `ft.plot_*`;
each claim of authoring/claims.d/ names a heading that the lesson has and files that exist.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOST_WORDS_BEFORE_ACTION = 250
BARE = re.compile(r"[^'\"]:\s+(?:True|False)\b")
PLUMBING = re.compile(r"plt\.subplots|rcParams|# fmt: skip")
DRAWS = re.compile(r"(?:\w+ = )?ft\.(?:plot_\w+|show_images)\(")
ROW = re.compile(r"^\| (?!---|sentence|claim)(.+?) \| (.+?) \| (.+?) \| (.+?) \|$")


@dataclass(frozen=True)
class Claim:
    """One row of authoring/claims.d/NN.md."""

    lesson: str
    sentence: str
    heading: str
    shown: str
    seeds: str


def cells(notebook: Path) -> list[dict[str, Any]]:
    return list(json.loads(notebook.read_text(encoding="utf-8"))["cells"])


def text_of(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def printed(cell: dict[str, Any]) -> list[str]:
    """The lines of a code cell's stored output, as text."""
    lines = []
    for out in cell.get("outputs", ()):
        lines += text_of(out.get("text", "")).splitlines()
        lines += text_of(out.get("data", {}).get("text/plain", "")).splitlines()
    return lines


def bare_truths(notebook: Path) -> list[str]:
    """Printed lines that say only that something is so."""
    return [line for cell in cells(notebook) for line in printed(cell) if BARE.search(line)]


def words(text: str) -> int:
    """Of prose: tables' bars, code blocks, formulas and list marks are not read as words."""
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", text, flags=re.S)
    return len(re.findall(r"[^\W_]+(?:['’.-][^\W_]+)*", text))


def before_action(notebook: Path) -> int:
    """Words of prose before the first cell that answers: with an output of its own, or with an exercise.

    The cell that imports and says which tier runs is not yet an action.
    """
    count = 0
    for cell in cells(notebook):
        source = text_of(cell["source"])
        if cell["cell_type"] == "markdown":
            count += words(source)
        elif "opening.show(" in source or "import ftcourse\nexcept" in source:
            continue
        elif cell.get("outputs") or "exercise" in cell.get("metadata", {}).get("tags", ()):
            break
    return count


def plumbing(notebook: Path) -> list[str]:
    """Lines of the learner's cells that lay out a figure by hand."""
    return [
        line
        for cell in cells(notebook)
        if cell["cell_type"] == "code"
        for line in text_of(cell["source"]).splitlines()
        if PLUMBING.search(line)
    ]


def without_picture(notebook: Path) -> list[str]:
    """Lines that draw, in cells that show no picture."""
    return [
        line
        for cell in cells(notebook)
        if cell["cell_type"] == "code"
        and not any("image/png" in output.get("data", {}) for output in cell["outputs"])
        for line in text_of(cell["source"]).splitlines()
        if DRAWS.match(line)
    ]


def written_by_the_reader(lesson: str) -> tuple[int, int]:
    """Exercises, and how many of them are a function or a class that the reader writes."""
    module = importlib.import_module(f"ftcourse.exercises.lesson{lesson}")
    from ftcourse.exercises.engine import Exercise, Function

    found = [e for e in vars(module).values() if isinstance(e, Exercise)]
    return len(found), sum(isinstance(e, Function) for e in found)


def claims(root: Path, lesson: str) -> list[Claim]:
    file = root / "authoring" / "claims.d" / f"{lesson}.md"
    if not file.exists():
        return []
    rows = (ROW.match(line) for line in file.read_text(encoding="utf-8").splitlines())
    return [Claim(lesson, *(part.strip() for part in m.groups())) for m in rows if m]


def wrong_claims(root: Path, notebook: Path) -> Iterator[str]:
    """Claims that point to a heading or a file that is not there."""
    headings = {
        re.sub(r"^#+\s*|\W+", " ", line).strip().lower()
        for cell in cells(notebook)
        if cell["cell_type"] == "markdown"
        for line in text_of(cell["source"]).splitlines()
        if line.startswith("#")
    }
    for claim in claims(root, notebook.name[:2]):
        parts = (re.sub(r"\W+", " ", part).strip().lower() for part in claim.heading.split(";"))
        if not any(part in heading for part in parts for heading in headings):
            yield f"{claim.sentence!r}: no heading {claim.heading!r}"
        for path in re.findall(
            r"\b(?:benchmarks|ftcourse|tests)/[\w./-]+\.(?:py|json|md)\b", claim.shown
        ):
            if not (root / path).exists():
                yield f"{claim.sentence!r}: no file {path}"


def wrong(root: Path, notebook: Path) -> list[str]:
    """All that breaks a rule, one line each."""
    found = [f"prints {line.strip()!r}: print the number" for line in bare_truths(notebook)]
    count = before_action(notebook)
    if count > MOST_WORDS_BEFORE_ACTION:
        found.append(f"{count} words before the first action, at most {MOST_WORDS_BEFORE_ACTION}")
    found += [f"lays out a figure by hand: {line.strip()!r}" for line in plumbing(notebook)]
    found += [f"draws, and shows no picture: {line!r}" for line in without_picture(notebook)]
    if not claims(root, notebook.name[:2]):
        found.append(f"lists no claim: authoring/claims.d/{notebook.name[:2]}.md")
    return [f"{notebook.name}: {line}" for line in (*found, *wrong_claims(root, notebook))]


def notebooks(root: Path) -> list[Path]:
    return sorted((root / "lessons").glob("[0-9][0-9]_*.ipynb"))


def table(root: Path) -> str:
    head = "| lesson | words | before the first action | exercises | written by the reader | bare True | claims |"
    lines = [head, "| --- " * 7 + "|"]
    for file in notebooks(root):
        count = sum(
            words(text_of(c["source"])) for c in cells(file) if c["cell_type"] == "markdown"
        )
        asked, functions = written_by_the_reader(file.name[:2])
        lines.append(
            f"| {file.stem} | {count} | {before_action(file)} | {asked} | {functions} | "
            f"{len(bare_truths(file))} | {len(claims(root, file.name[:2]))} |"
        )
    return "\n".join(lines)


def claims_page(root: Path) -> str:
    """All claims on one page."""
    lines = [
        "# What the lessons claim, and what shows it",
        "",
        "Made by `python authoring/reading.py --claims` from the tables of [claims.d](claims.d).",
    ]
    for file in notebooks(root):
        found = claims(root, file.name[:2])
        lines += ["", f"## {file.stem}", "", "| sentence | under | shown by | seeds |"]
        lines += ["| --- | --- | --- | --- |"]
        lines += [f"| {c.sentence} | {c.heading} | {c.shown} | {c.seeds} |" for c in found]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--claims", action="store_true", help="write authoring/claims.md")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.claims:
        (a.root / "authoring" / "claims.md").write_text(claims_page(a.root), encoding="utf-8")
        return 0
    print(table(a.root))
    found = [line for file in notebooks(a.root) for line in wrong(a.root, file)]
    print(*found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
