"""Ctrl-C while the packages are still being imported, which takes seconds: one line, no traceback."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from itertools import pairwise
from typing import Any

__all__ = ["answer_interrupts", "started"]


def answer_interrupts() -> None:
    """From now until `started`, for the command line alone: a program that imports ftcourse has its own ways."""
    if not _is_the_command() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    with suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGINT, _stop)


def started() -> None:
    """The command line answers by itself."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(number: int, frame: Any) -> None:
    # an exception could be taken for a failed import by whichever module is being read now
    with suppress(OSError, ValueError):
        os.write(2, b"ftcourse: interrupted\n")
    os._exit(130)


def _is_the_command() -> bool:
    words = getattr(sys, "orig_argv", [])
    module = any(pair == ("-m", "ftcourse") for pair in pairwise(words))
    name = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return name in ("ftcourse", "ftcourse.exe") or (name == "-m" and module)
