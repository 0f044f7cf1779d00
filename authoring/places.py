"""Every place that must know of a lesson, and what is missing there.

    python authoring/places.py           one entry for each: the file, what is wrong, the line to add

The rest is derived: the site's lists of lessons, its page of questions and its counts from lessons/, the progress
board from ftcourse/exercises/, `ftcourse doctor` from both.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPENING = re.compile(r'^opening\.show\(lesson="(\d\d)", seconds=(\d+), minutes=(\d+)\)$', re.M)
TEENS = (
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty "
    "twenty-one twenty-two twenty-three twenty-four twenty-five"
)
WORDS = {word: 10 + i for i, word in enumerate(TEENS.split(" "))}


@dataclass(frozen=True)
class Lesson:
    """What a source in authoring/ says of itself."""

    number: int
    name: str  # my_topic
    text: str

    @property
    def stem(self) -> str:
        return f"{self.number:02}_{self.name}"

    @property
    def title(self) -> str:
        """Of its first heading, "# # 16. My topic", without the number."""
        found = re.search(r"^# # (?:\d+\. )?(.+)$", self.text, re.M)
        return found[1] if found else self.name

    @property
    def opening(self) -> tuple[str, int, int] | None:
        """Number, seconds and minutes that its first output names."""
        found = OPENING.search(self.text)
        return (found[1], int(found[2]), int(found[3])) if found else None

    @property
    def minutes(self) -> int:
        return self.opening[2] if self.opening else 0


@dataclass(frozen=True)
class Missing:
    """A place that does not know of a lesson as it is: the file, what is wrong, and what cures it."""

    file: str
    what: str
    add: str = ""  # this line,
    after: str = ""  # below this one

    def __str__(self) -> str:
        where = f"\n    below   {self.after}" if self.after else ""
        return f"{self.file}: {self.what}{where}" + (
            f"\n    add     {self.add}" if self.add else ""
        )


def lessons(root: Path) -> list[Lesson]:
    """The lessons in order, from authoring/NN_name.py."""
    found = []
    for file in sorted((root / "authoring").glob("[0-9][0-9]_*.py")):
        number, _, name = file.stem.partition("_")
        found.append(Lesson(int(number), name, file.read_text(encoding="utf-8")))
    return found


def missing(root: Path) -> list[Missing]:
    """What is wrong in all places, in the order in which one would mend it."""
    known = lessons(root)
    return [one for look in PLACES for one in look(root, known)]


def _read(root: Path, file: str) -> str:
    path = root / file
    return path.read_text(encoding="utf-8") if path.exists() else ""


# ------------------------------------------------------------------------------- the lesson itself


def of_sources(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """Numbers without a gap, the lesson's own number in its text, and the sections each lesson has."""
    for i, lesson in enumerate(known):
        file, number = f"authoring/{lesson.stem}.py", f"{lesson.number:02}"
        if lesson.number != i:
            yield Missing(file, f"its number is {number}, and the next one would be {i:02}")
        if lesson.opening is None:
            call = f'opening.show(lesson="{number}", seconds=10, minutes=30)'
            yield Missing(file, "says nowhere how long it takes", add=call)
        elif lesson.opening[0] != number:
            yield Missing(file, f'says opening.show(lesson="{lesson.opening[0]}"), and is {number}')
        for line in (
            f"# # {lesson.number}. {lesson.title}",
            f"from ftcourse.exercises import lesson{number} as check",
            f'print(progress.summary("{number}"))',
            "# ## What you can now do",
            "# ## Common questions",
        ):
            if line not in lesson.text.splitlines():
                yield Missing(file, "lacks a line that each lesson has", add=line)


def of_template_words(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """Words of the template that wait for the author's."""
    for lesson in known:
        for file in (
            f"authoring/{lesson.stem}.py",
            _exercises(lesson),
            _tests(lesson),
            _claims(lesson),
        ):
            text = _read(root, file)
            marks = [text.count("\n", 0, m.start()) + 1 for m in re.finditer("«", text)]
            if marks:
                where = ", ".join(str(line) for line in dict.fromkeys(marks))
                yield Missing(file, f"still has words of the template, in «», in lines {where}")


def of_next(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """Each lesson but the last names the one that follows, and no other says that it is the last."""
    for lesson, following in pairwise(known):
        file = f"authoring/{lesson.stem}.py"
        for said in re.findall(r"^# (\*\*This was the last lesson\.\*\*)", lesson.text, re.M):
            yield Missing(file, f"says {said!r}, and {following.number:02} follows: take it out")
        if not re.search(rf"\*\*Next:\*\* \[?{following.number}\. ", lesson.text):
            yield Missing(
                file,
                f"does not end with the lesson that follows it, {following.number:02}",
                add=f"# **Next:** [{following.number}. {following.title}]({following.stem}.ipynb).",
            )


def _exercises(lesson: Lesson) -> str:
    return f"ftcourse/exercises/lesson{lesson.number:02}.py"


def _claims(lesson: Lesson) -> str:
    return f"authoring/claims.d/{lesson.number:02}.md"


def _tests(lesson: Lesson) -> str:
    return f"tests/lessons/answers/lesson{lesson.number:02}.py"


def of_exercises(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """Each lesson has a module of questions, which names it (for the progress board), and their tests."""
    for lesson in known:
        if not (root / _exercises(lesson)).exists():
            yield Missing(_exercises(lesson), "is not there; authoring/template/lesson99.py is one")
            continue
        doc = (ast.get_docstring(ast.parse(_read(root, _exercises(lesson)))) or "").split("\n")[0]
        named = re.match(rf"Questions of lesson {lesson.number:02}, ([\w ]+)", doc)
        if named is None or named[1].replace(" ", "_") != lesson.name:
            first = f'"""Questions of lesson {lesson.number:02}, {lesson.name}."""'
            yield Missing(_exercises(lesson), "does not begin with the lesson's name", add=first)
        if not (root / _tests(lesson)).exists():
            missed = "is not there; authoring/template/answers99.py is one"
            yield Missing(_tests(lesson), missed)
    for file in sorted((root / "ftcourse" / "exercises").glob("lesson[0-9][0-9].py")):
        relative = file.relative_to(root).as_posix()
        if relative not in map(_exercises, known):
            yield Missing(relative, "belongs to no source in authoring/, and the board shows it")


# ------------------------------------------------------------------------------------ the documents


def of_readme(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    yield from _rows(
        root, "README.md", known, r"^\| (\d\d) \| \[[^\]]+\]\(lessons/(\w+)\.ipynb\) \| \S.*\|$",
        lambda one: one.stem,
        lambda one: f"| {one.number:02} | [{one.title}](lessons/{one.stem}.ipynb) | what one can do afterwards |",
    )  # fmt: skip


def of_instructors(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    def says(one: Lesson) -> str:
        return f"{one.minutes} | {one.opening[1] if one.opening else 0} s"

    yield from _rows(
        root, "docs/instructors.md", known, r"^\| (\d\d) [^|]+\| (\d+ \| \d+ s) \|.*\|$", says,
        lambda one: f"| {one.number:02} {one.title} | {says(one)} | 04 | what to show, if one thing |",
    )  # fmt: skip


def _rows(
    root: Path,
    file: str,
    known: list[Lesson],
    pattern: str,
    fact: Callable[[Lesson], str],
    row: Callable[[Lesson], str],
) -> Iterator[Missing]:
    """A table with one row a lesson; `pattern` finds the number and the fact that the lesson must agree with."""
    rows = {int(m[1]): m for m in re.finditer(pattern, _read(root, file), re.M)}
    for lesson in known:
        if lesson.number not in rows:
            earlier = [rows[n][0] for n in sorted(rows) if n < lesson.number]
            what = f"its table of lessons has no row for {lesson.number:02}"
            yield Missing(file, what, add=row(lesson), after=earlier[-1] if earlier else "")
        elif (said := rows[lesson.number][2]) != fact(lesson):
            what = f"its table of lessons says {said} of lesson {lesson.number:02}"
            yield Missing(file, f"{what}; the lesson says {fact(lesson)}")
    for number in sorted(set(rows) - {lesson.number for lesson in known}):
        yield Missing(
            file, f"has a row for {number:02}, and authoring/ has no such lesson: remove it"
        )


def of_plans(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """The minutes of the plans for instructors are the sums of their lessons'."""
    file, minutes = "docs/instructors.md", {one.number: one.minutes for one in known}
    for plan, listed, said in re.findall(
        r"^\| ([^|]+?) \| (all\b[^|]*|\d\d[^|]*?) \| (\d+) \|", _read(root, file), re.M
    ):
        total = sum(minutes.values()) if listed.startswith("all") else _minutes(listed, minutes)
        if total != int(said):
            yield Missing(
                file, f"its plan for {plan} says {said} minutes of lessons; it is {total:g}"
            )


def _minutes(listed: str, minutes: dict[int, int]) -> float:
    """Of "00, 01 (first half), 02 to 04"."""
    total = 0.0
    for first, last, half in re.findall(r"(\d\d)(?: to (\d\d))?( \(first half\))?", listed):
        some = [minutes.get(n, 0) for n in range(int(first), int(last or first) + 1)]
        total += sum(some) / (2 if half else 1)
    return total


def of_extras(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """The sentences that say which lessons need an extra."""
    needing: dict[str, list[str]] = {}
    for lesson in known:
        for extra in set(re.findall(r'^opening\.need\(.*extra="(\w+)"\)$', lesson.text, re.M)):
            needing.setdefault(extra, []).append(f"{lesson.number:02}")
    for file in ("README.md", "docs/instructors.md"):
        text = " ".join(_read(root, file).split())
        said = re.findall(r"((?:\d\d(?:, | and )?)+) needs? the extra `(\w+)`", text)
        told = {extra: re.findall(r"\d\d", numbers) for numbers, extra in said}
        for extra in sorted({*needing, *told}):
            if needing.get(extra, []) != told.get(extra, []):
                right = needing.get(extra, ["no lesson"])
                verb = "needs" if len(right) == 1 else "need"
                what = f"is wrong about which lessons need the extra `{extra}`"
                yield Missing(file, what, add=f"{' and '.join(right)} {verb} the extra `{extra}`")


def of_counts(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """Prose that counts the lessons; the site's own pages say {{ lessons }}, which is derived."""
    pattern = rf"\b({'|'.join(WORDS)}|\d\d)\s+(?:lessons|notebooks)\b"
    for file in sorted(f for g in ("*.md", "docs/*.md", "docs/site/**/*.md") for f in root.glob(g)):
        text = file.read_text(encoding="utf-8")
        for found in re.finditer(pattern, text, re.I):
            count = found[1].lower()
            if WORDS.get(count, count) not in (len(known), str(len(known))):
                line = text.count("\n", 0, found.start()) + 1
                what = f"says {found[0]!r} in line {line}; there are {len(known)}"
                yield Missing(file.relative_to(root).as_posix(), what)


# ------------------------------------------------------------------------------------ what is built


def of_notebooks(root: Path, known: list[Lesson]) -> Iterator[Missing]:
    """Both notebooks are there, and the board of all lessons, stored in lesson 00, has a line for each."""
    for lesson in known:
        built = [root / d / f"{lesson.stem}.ipynb" for d in ("lessons", "solutions")]
        if not all(file.exists() for file in built):
            yield Missing(f"lessons/{lesson.stem}.ipynb", "is not built yet: make lessons")
    for folder in ("lessons", "solutions"):
        for file in sorted((root / folder).glob("00_*.ipynb")):
            shown = set(re.findall(r"^(\d\d) .*[●◐○]", _stored_text(file), re.M))
            absent = [f"{one.number:02}" for one in known if f"{one.number:02}" not in shown]
            if absent:
                what = f"the board that is stored there lacks {', '.join(absent)}"
                rebuild = ".venv/bin/python authoring/build.py --force --only 00"
                yield Missing(f"{folder}/{file.name}", f"{what}: {rebuild}")


def _stored_text(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", ())]
    return "\n".join("".join(out.get("data", {}).get("text/plain", "")) for out in outputs)


PLACES: tuple[Callable[[Path, list[Lesson]], Iterator[Missing]], ...] = (
    of_sources,
    of_template_words,
    of_exercises,
    of_next,
    of_readme,
    of_instructors,
    of_plans,
    of_extras,
    of_counts,
    of_notebooks,
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    found = missing(parser.parse_args(argv).root)
    print(*found, sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
