"""Ctrl-C while the packages are still being imported, which takes seconds: one line, no traceback.

For the command line alone: a program that imports ftcourse has ways of its own. The package imports this first of
all, and with it as little as can be.
"""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["started"]


def started() -> None:
    """The command line answers by itself from now on."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(number: int, frame: object) -> None:
    # an exception could be taken for a failed import by whichever module is being read now
    try:
        os.write(2, b"ftcourse: interrupted\n")
    finally:
        os._exit(130)


def _is_the_command() -> bool:
    words = getattr(sys, "orig_argv", [])
    module = "-m" in words and words[words.index("-m") + 1 :][:1] == ["ftcourse"]
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return name in ("ftcourse", "ftcourse.exe") or (name == "-m" and module)


if _is_the_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    try:  # noqa: SIM105  contextlib takes as long as all of this
        signal.signal(signal.SIGINT, _stop)
    except ValueError:  # only the main thread may
        pass
