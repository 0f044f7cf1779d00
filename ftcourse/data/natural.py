"""The order of names as people sort them: c1, c2, c10."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["natural"]


def natural(name: str) -> tuple[list[str | int], str]:
    """A key for `sorted`: digits count as the number that they are, letters as Unicode's NFC."""
    parts = re.split("([0-9]+)", unicodedata.normalize("NFC", name))
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
