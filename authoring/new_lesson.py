"""Begin a lesson: four files that work at once, and the list of what is still to be said about it.

    make lesson NAME=my_topic            or: python authoring/new_lesson.py my_topic

The files are those of authoring/template/, with the next free number in place of 99 and the name in place of
`my_topic`. Words in «these marks» are to be replaced; authoring/places.py names those that are left.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import places

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "authoring" / "template"
FILES = {  # template -> where it goes
    "99_my_topic.py": "authoring/{number:02}_{name}.py",
    "lesson99.py": "ftcourse/exercises/lesson{number:02}.py",
    "answers99.py": "tests/lessons/answers/lesson{number:02}.py",
    "claims99.md": "authoring/claims.d/{number:02}.md",
}


def begin(root: Path, name: str) -> list[Path]:
    """Write the lesson's source, its questions and their tests; returns the four files.

    Args:
        root: the repository.
        name: "my_topic" or, with the number that is next anyway, "18_my_topic".

    Raises:
        ValueError: a name that cannot be a file's, or a number that is not the next one.
        FileExistsError: one of the files is there already; nothing was written.
    """
    number = max((lesson.number for lesson in places.lessons(root)), default=-1) + 1
    asked, name = re.fullmatch(r"(?:(\d+)_)?(.*)", name, re.S).groups()  # type: ignore[union-attr]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(
            f"NAME={name!r}: write it in small letters, digits and underscores, as in NAME=my_topic"
        )
    if asked is not None and int(asked) != number:
        raise ValueError(
            f"NAME={asked}_{name}: the next lesson is {number:02}; NAME={name} is enough"
        )
    written = {
        root / place.format(number=number, name=name): TEMPLATE / file
        for file, place in FILES.items()
    }
    for target in written:
        if target.exists():
            raise FileExistsError(
                f"{target.relative_to(root)} is there already; move it away first"
            )
    for target, template in written.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(template.read_text("utf-8"), number, name), encoding="utf-8")
    return list(written)


def _filled(text: str, number: int, name: str) -> str:
    """The template's text with this number and name; an exercise of lesson 09 is 9.1, not 09.1."""
    text = re.sub(r"99(?=[._ ]?\d|\. )", str(number), text)
    text = text.replace("99", f"{number:02}").replace("my_topic", name)
    return text.replace("My topic", name.replace("_", " ").capitalize())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="my_topic, in small letters")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    try:
        files = begin(a.root, a.name)
    except (ValueError, FileExistsError) as err:
        parser.error(str(err))
    for file in files:
        print(f"wrote {file.relative_to(a.root)}")
    print("Build it with `make lessons`. Then these places are to know of it:\n")
    places.main(["--root", str(a.root)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
