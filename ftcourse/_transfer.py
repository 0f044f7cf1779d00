"""Bytes from a network, bounded: no source sends more than is known to come, or for ever."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException, HTTPMessage
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["LEAST_SPEED", "Incoming", "receive"]

CHUNK = 1 << 18  # bytes read at a time
LEAST_SPEED = (
    1000  # bytes a second, over `patience` seconds; a telephone's modem does six times that
)


class Incoming:
    """An answer that has begun: `status`, `headers`, and `blocks`, its bytes as they come. To be closed."""

    def __init__(
        self, status: int, headers: HTTPMessage, blocks: Iterator[bytes], gone: threading.Event
    ) -> None:
        self.status, self.headers, self.blocks, self._gone = status, headers, blocks, gone

    def close(self) -> None:
        """Let the reading thread end."""
        self._gone.set()


def receive(
    url: str, headers: dict[str, str], *, patience: float, most: int | None = None
) -> Incoming:
    """Ask for an address.

    Another thread reads, so that not even a source that sends its answer's first line letter by letter is waited
    for longer than `patience`.

    Args:
        patience: seconds to wait for an answer, and over which its speed is measured.
        most: bytes that come at the most; more is an error.

    Raises:
        OSError: no answer, or one that is slower than `LEAST_SPEED`; `HTTPError` where the source refuses.
        ValueError: there is more to come than `most`.
    """
    got: queue.Queue[Any] = queue.Queue(maxsize=8)
    gone = threading.Event()
    threading.Thread(target=_read, args=(url, headers, patience, got, gone), daemon=True).start()
    try:
        first = _next(got, patience, "no answer")
    except BaseException:
        gone.set()
        raise
    return Incoming(first.status, first.headers, _blocks(got, patience, most), gone)


def _read(url: str, headers: dict[str, str], patience: float, got: queue.Queue, gone: Any) -> None:
    def put(value: Any) -> bool:
        while not gone.is_set():
            with suppress(queue.Full):
                got.put(value, timeout=0.1)
                return True
        return False

    try:
        # an address of ours, or what the caller named; urllib refuses a redirect to file:
        with urlopen(Request(url, headers=headers), timeout=patience) as response:  # nosec B310
            going = put(response)
            while going and (block := response.read1(CHUNK)):
                going = put(block)
            put(b"")
    except (OSError, HTTPException, ValueError) as err:
        put(err)


def _blocks(got: queue.Queue, patience: float, most: int | None) -> Iterator[bytes]:
    total = recent = 0
    since = time.monotonic()
    while block := _next(got, patience, "nothing more"):
        total, recent = total + len(block), recent + len(block)
        if most is not None and total > most:
            raise ValueError(f"sends more than the {most} bytes that it should")
        if (seconds := time.monotonic() - since) >= patience:
            if recent < LEAST_SPEED * seconds:
                raise OSError(f"too slow: {recent} bytes in {seconds:.0f} s")
            since, recent = time.monotonic(), 0
        yield block


def _next(got: queue.Queue, patience: float, what: str) -> Any:
    try:
        value = got.get(timeout=patience)
    except queue.Empty:
        raise OSError(f"{what} within {patience:.0f} s") from None
    if isinstance(value, Exception):
        raise value
    return value
