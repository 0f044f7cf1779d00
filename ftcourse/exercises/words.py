"""How the checks talk: lines broken at words, values and errors in few words."""

from __future__ import annotations

import contextlib
import textwrap
import traceback
from typing import Any

from torch import Tensor

__all__ = ["article", "in_words", "say", "short", "stops_with"]


def say(text: str, indent: str = "   ") -> None:
    """Print, broken at words: a notebook breaks long output anywhere."""
    print(textwrap.fill(text, 96, subsequent_indent=indent, break_on_hyphens=False))


def short(value: Any, limit: int = 120, quote: bool = True) -> str:
    """The value's repr (or str, without quotes) on one line, cut; never raises."""
    try:
        text = repr(value) if quote else str(value)
        text = str(text)
    except (Exception, SystemExit):  # a learner's own class may have a broken __repr__
        text = f"{article(type(value).__name__)} that cannot be shown"
    text = " ".join(text.split()) if quote else text.strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."


def in_words(value: Any) -> str:
    """As `short`, with tensors as lists where they are small, and floats of four digits."""
    if isinstance(value, Tensor):
        if value.numel() > 8:
            return f"a tensor of shape {tuple(value.shape)}"
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple) and len(value) <= 8:
        inside = ", ".join(in_words(v) for v in value)
        one = "," if len(value) == 1 else ""
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{one})"
    return short(value)


def article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def stops_with(err: BaseException, attempt: Any) -> str:
    """The learner's error in one line: what, and in which line of their function."""
    words = short(err, quote=False, limit=10_000)
    text = next((line for line in words.splitlines() if line.strip()), "").strip()
    code: Any = None
    with contextlib.suppress(Exception):  # a learner's own object may fail at any touch
        code = attempt.__code__
    where = ""
    for frame in traceback.extract_tb(err.__traceback__):
        if code is not None and frame.filename == code.co_filename and frame.lineno:
            where = f", in line {frame.lineno - code.co_firstlineno + 1} of your function"
    return f"it stops with {type(err).__name__}: {short(text, quote=False)}{where}"
