"""One writer at a time: a lock on a file, which the system takes back when its process ends, however it ends."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    with suppress(ImportError):
        import msvcrt

__all__ = ["Held", "holder", "locked"]

# what a file system says that knows no locks: some network shares, some sandboxes
UNKNOWN = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class Held(OSError):
    """Another process has the lock."""


@contextmanager
def locked(path: str | os.PathLike, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock `path`, a small file that is there as long as it is held.

    Where the file system knows no locks, nothing is locked.

    Args:
        wait: seconds to wait for another process to let go.

    Raises:
        Held: another process has it.
        OSError: the file cannot be written.
    """
    path, end = Path(path), time.monotonic() + wait
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            taken = _take(file)
            # whoever held it may have removed the file since: then this is a lock on nothing
            if taken and _same(file, path):
                break
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        if not taken and time.monotonic() >= end:
            raise Held(f"{path}: another process{_pid(path)} holds it")
        time.sleep(0 if taken else 0.01)
    try:
        with suppress(OSError):
            os.truncate(path, 0)
            os.write(file, str(os.getpid()).encode())
        yield
    finally:
        if fcntl is not None:  # removed while it is held: nobody can have taken it in between
            path.unlink(missing_ok=True)
        os.close(file)
        with suppress(OSError):  # Windows removes no open file
            if fcntl is None:
                path.unlink(missing_ok=True)


def holder(path: str | os.PathLike) -> str | None:
    """ " (process 123)" if a process has the lock now, None if nobody has; nothing is left behind."""
    path = Path(path)
    if not path.exists():
        return None
    try:
        with locked(path):
            return None
    except Held:
        return _pid(path)
    except OSError:
        return None


def _take(file: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the number, which others may read
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            os.lseek(file, 0, os.SEEK_SET)
    except OSError as err:
        return err.errno in UNKNOWN
    return True


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _pid(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return f" (process {text})" if text.isdigit() else ""
