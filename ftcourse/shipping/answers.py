"""Answers for many photos: lists of files to read, a table to write."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

__all__ = ["as_csv", "counted", "names_in"]

MANY = 64  # photos from which on a bar is shown


def names_in(words: Iterable[str], lists: Iterable[Path] = ()) -> list[str]:
    """Names of photos: `@FILE` and `lists` stand for the names in a file, `-` for those on the standard input.

    One name a line, or, where there is a zero byte (`find -print0`), between zero bytes. `./@name` is a photo.

    Raises:
        OSError: a list cannot be read.
        ValueError: a list is no text.
    """
    found: list[str] = []
    for word in words:
        if word == "-":
            found += _split(sys.stdin.buffer.read(), "standard input")
        elif word.startswith("@"):
            found += _listed(Path(word[1:]))
        else:
            found.append(word)
    for file in lists:
        found += _listed(file)
    return found


def _listed(file: Path) -> list[str]:
    return _split(file.expanduser().read_bytes(), file)


def _split(content: bytes, source: Any) -> list[str]:
    try:  # names as the system has them: of any bytes
        text = content.decode(
            "utf-8-sig", "strict" if sys.platform == "win32" else "surrogateescape"
        )
    except UnicodeDecodeError as err:
        raise ValueError(f"{source}: a list of files must be UTF-8 text") from err
    if content.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        raise ValueError(f"{source}: is a photo, not a list of names; give it without @ and --list")
    lines = text.split("\0") if "\0" in text else [line.rstrip("\r") for line in text.split("\n")]
    return [line for line in lines if line]


def counted(answers: Iterable[dict], total: int, quiet: bool = False) -> Iterator[dict]:
    """The same answers, with a bar on stderr where there are many."""
    return iter(
        tqdm(answers, total=total, unit="photo", file=sys.stderr, disable=quiet or total < MANY)
    )


def as_csv(answers: Iterable[Mapping[str, Any]], top: int) -> str:
    """Answers of `predict_files` as a table: file, class, probability, class_2, probability_2, ..., error."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ranks = ["", *(f"_{k}" for k in range(2, top + 1))]
    writer.writerow(
        ["file", *(n + rank for rank in ranks for n in ("class", "probability")), "error"]
    )
    for answer in answers:
        likeliest = answer.get("top", [])
        cells = [cell for one in likeliest for cell in (one["class"], f"{one['probability']:.6f}")]
        cells += [""] * (2 * top - len(cells))
        writer.writerow([answer["file"], *cells, answer.get("error", "")])
    return file.getvalue()
