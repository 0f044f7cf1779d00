"""Measured results that lessons read: one small JSON file each, written by a script in `benchmarks/`.

They are in the package so that a notebook finds them wherever it is opened, with the repository or
without. Each file says which command, seeds and versions made it::

    from ftcourse import results

    found = results.load("overfitting")      # written by `python benchmarks/overfitting.py`
    found["command"], found["versions"], found["summary"]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["available", "load", "path"]

HERE = Path(__file__).parent
NEEDED = ("command", "seeds", "versions")


def path(name: str) -> Path:
    """Where the results file `name` is, or is to be written."""
    return HERE / f"{name}.json"


def available() -> list[str]:
    """The names of the results files there are."""
    return sorted(file.stem for file in HERE.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """The results file `name`, with at least its `command`, `seeds` and `versions`.

    Raises:
        FileNotFoundError: there is no such file; the message has the command that makes it.
        ValueError: the file is no JSON, or does not say how it was made.
    """
    file, command = path(name), f"python benchmarks/{name}.py"
    if not file.exists():
        known = ", ".join(available()) or "none"
        raise FileNotFoundError(
            f"ftcourse/results/{name}.json: no such results file (there are: {known}); "
            f"in the repository `{command}` makes it"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as err:
        raise ValueError(
            f"ftcourse/results/{name}.json: is no JSON ({err}); make it again with `{command}`"
        ) from err
    missing = [key for key in NEEDED if not isinstance(found, dict) or key not in found]
    if missing:
        raise ValueError(
            f"ftcourse/results/{name}.json: lacks {', '.join(missing)}, so nobody can tell how it "
            f"was made; make it again with `{command}`"
        )
    return found
