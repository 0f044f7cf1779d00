"""What a learner has done so far, kept in one local JSON file; `ftcourse progress` prints it.

`export` writes it into a file of one's own, to hand in or to take to another machine, and `merge` adds such a file
to what is there: on Colab, where the machine forgets, `progress.export("progress.json")` at the end and
`progress.merge("progress.json")` at the next start.

The file lies in the user's data folder; FTCOURSE_PROGRESS names another, or is "off". Under pytest
and CI nothing is written unless FTCOURSE_PROGRESS says where. A file that cannot be read or written
never stops a lesson.

A file of format 1 was written when the course had 16 lessons: two of them have been parted in two since, and their
exercises are found under their numbers of today.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["export", "location", "merge", "record", "reset", "state", "summary"]

WAIT = 5.0  # seconds for another notebook to finish writing
FORMAT = 2

# Exercises of format 1 that went into another lesson than those around them.
_PARTED = {
    "5.3": "6.1",
    "5.4": "6.2",
    "5.5": "6.3",
    "6.1": "7.1",
    "6.2": "8.1",
    "6.3": "7.2",
    "6.4": "8.2",
    "6.5": "8.3",
}

_here: dict[str, dict[str, Any]] = {}  # what this process has seen, should the file be unwritable


def location() -> Path | None:
    """The progress file, or None where none is kept."""
    chosen = os.environ.get("FTCOURSE_PROGRESS")
    if chosen is not None:
        return None if chosen.strip().lower() in ("", "off", "0", "none") else Path(chosen)
    if any(name in os.environ for name in ("CI", "PYTEST_VERSION", "PYTEST_CURRENT_TEST")):
        return None
    try:
        return _user_data() / "ftcourse" / "progress.json"
    except RuntimeError:  # an account without a home
        return None


def _user_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def state() -> dict[str, dict[str, Any]]:
    """By exercise number: `right` (bool), `tries`, `hints` (how many shown), `solution` (bool)."""
    file = location()
    return _read(file) if file is not None and file.exists() else dict(_here)


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """The records of a file; none where it cannot be read."""
    try:
        return _entries(file) or {}
    except OSError:
        return {}


def _entries(file: Path) -> dict[str, dict[str, Any]] | None:
    """The records of a file, or None where it holds something else."""
    text = file.read_bytes()
    try:
        found = json.loads(text.decode("utf-8"))
        entries = {str(k): _entry(dict(v)) for k, v in found["exercises"].items()}
        old = found.get("format", 1) == 1
        return {_of_today(k): v for k, v in entries.items()} if old else entries
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _of_today(number: str) -> str:
    """The number that an exercise of format 1 has now: what was 9.2 is 11.2."""
    if number in _PARTED:
        return _PARTED[number]
    lesson, _, place = number.partition(".")
    later = lesson.isdecimal() and int(lesson) >= 7
    return f"{int(lesson) + 2}.{place}" if later and place else number


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    """What a file says of one exercise, without what has another type than `record` writes."""
    kinds = {"right": bool, "tries": int, "hints": int, "solution": bool}
    return {k: found[k] for k, kind in kinds.items() if type(found.get(k)) is kind}


def record(number: str, event: str) -> None:
    """Note an event of one exercise: "right", "wrong", "hint" or "solution". Never raises."""
    try:
        file = location()
        with _alone(file):
            # The file is read again each time: two notebooks may be open at once.
            entries = _read(file) if file is not None else _here
            entry = entries.setdefault(number, {})
            _note(entry, event)
            _here[number] = entry
            if file is not None:
                _write(file, entries)
    except Exception:  # a full disk or a read-only home must not stop a lesson
        return


def export(file: str | Path) -> int:
    """Write what has been done into `file` (JSON); returns of how many exercises there is a record.

    Raises:
        FileExistsError: there is such a file, and it holds no progress: it is not overwritten.
        OSError: the file cannot be written; the message names it.
    """
    file, done = Path(file), state()
    if file.exists() and _entries(file) is None:
        raise FileExistsError(f"{file} is there already and holds no progress; take another name")
    _write(file, done)
    return len(done)


def merge(file: str | Path) -> int:
    """Add what `export` wrote to what is there; returns how many exercises have changed.

    What either knows as right stays right; of tries and hints the larger count stays, so that the same file may be
    added twice.

    Raises:
        ValueError: the file holds no progress; the message names it.
        OSError: it cannot be read, or the progress file cannot be written.
    """
    added, own = _entries(Path(file)), location()
    if added is None:
        raise ValueError(f"{file} holds no progress; `ftcourse progress --export FILE` writes one")
    with _alone(own):
        entries = dict(_here) if own is None else _read(own)
        changed = 0
        for number, entry in added.items():
            before = entries.get(number, {})
            entries[number] = {**before, **{k: max(v, before.get(k, v)) for k, v in entry.items()}}
            changed += entries[number] != before
        _here.update(entries)
        if own is not None and changed:
            _write(own, entries)
    return changed


def _note(entry: dict[str, Any], event: str) -> None:
    if event in ("right", "wrong"):
        if not entry.get("right"):
            entry["tries"] = entry.get("tries", 0) + 1
        entry["right"] = entry.get("right", False) or event == "right"
    elif event == "hint":
        entry["hints"] = entry.get("hints", 0) + 1
    elif event == "solution":
        entry["solution"] = True


@contextlib.contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """Between reading the file and writing it no other notebook writes, where locks are to be had."""
    with contextlib.ExitStack() as stack:
        if file is not None:
            from ftcourse.training.locks import locked

            with contextlib.suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(file.with_name(f".{file.name}.lock"), wait=WAIT))
        yield


def _write(file: Path, entries: dict[str, dict[str, Any]]) -> None:
    from ftcourse.training.checkpoints import write_atomic  # torch, only when something is written

    if file.exists() and not _read(file):  # damaged: keep it, for whoever wants to look
        os.replace(file, file.with_name(file.name + ".damaged"))
    text = json.dumps({"format": FORMAT, "exercises": entries}, indent=1, sort_keys=True)
    write_atomic(file, text.encode("utf-8"))


def reset() -> None:
    """Forget everything, on disk too."""
    _here.clear()
    file = location()
    if file is not None:
        file.unlink(missing_ok=True)


def exercises() -> dict[str, list[str]]:
    """The exercise numbers of each lesson, by the module's name: {"lesson01": ["1.1", ...]}."""
    found = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if info.name.startswith("lesson"):
            try:
                module = importlib.import_module(f"{__package__}.{info.name}")
            except ImportError:  # a lesson's extra is not installed
                continue
            found[info.name] = sorted(
                (e.number for e in vars(module).values() if hasattr(e, "worked")),  # an Exercise
                key=lambda number: [int(part) for part in number.split(".")],
            )
    return found


def summary(lesson: str | None = None) -> str:
    """One line a lesson: how many are right, with which help; `lesson="01"` for one only."""
    known, done = exercises(), state()
    lines = []
    for module, numbers in known.items():
        if lesson is not None and module != f"lesson{lesson}":
            continue
        entries = [done.get(number, {}) for number in numbers]
        right = sum(bool(e.get("right")) for e in entries)
        marks = "".join("●" if e.get("right") else "◐" if e else "○" for e in entries)
        line = f"lesson {module.removeprefix('lesson')}  {marks:<6} {right} of {len(numbers)} right"
        hints = sum(e.get("hints", 0) for e in entries)
        shown = sum(bool(e.get("solution")) for e in entries)
        extra = [f"{hints} hint{'s' * (hints != 1)}"] * bool(hints)
        extra += [f"{shown} solution{'s' * (shown != 1)} read"] * bool(shown)
        lines.append(line + (f" ({', '.join(extra)})" if extra else ""))
    return "\n".join(lines) if lines else "no exercises found"
