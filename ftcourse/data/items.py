"""A photo that a data set gives as an image: it stands where a file's path stands otherwise."""

from __future__ import annotations

import io
import os
from threading import Lock
from typing import Any

from PIL import Image

__all__ = ["Item"]

_reading = Lock()  # of data sets, which need not bear several threads


class Item(os.PathLike):
    """Photo `index` of a map-style data set; its path is a name, and no file has it.

    `read_bytes` gives the image as a TIFF, uncompressed, so that it is decoded as any other file.
    """

    def __init__(self, data: Any, index: int, name: str) -> None:
        self.data, self.index, self.name = data, index, name

    def __fspath__(self) -> str:
        return self.name

    __str__ = __fspath__

    def __repr__(self) -> str:
        return f"Item({self.name!r})"

    def read_bytes(self) -> bytes:
        """Raises ValueError if the data set gives no PIL image here."""
        with _reading:
            image = self.data[self.index][0]
        if not isinstance(image, Image.Image):
            raise ValueError(f"the data set gives {type(image).__name__}, not a PIL image")
        file = io.BytesIO()
        image.save(file, format="TIFF")
        return file.getvalue()
