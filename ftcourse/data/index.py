"""What was seen in photo files, remembered on disk, so that a folder is looked through once.

An SQLite file in the cache folder. A file is known again by its path, its size and its times of change;
one that was changed within the last seconds is not remembered, since a clock may not tell a second
change from the first. A damaged index is begun anew, and where none can be kept, or
`FTCOURSE_INDEX=off`, each file is looked into each time. Files that could not be read are never
remembered.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ftcourse.data.downloads import cache_dir
from ftcourse.data.items import Item

__all__ = ["Index", "index_file"]

SCHEMA = 1  # of the table; another one is begun anew
SETTLED = 2.0  # seconds; some file systems keep times no finer
KEPT_DAYS = 180  # after the last use
AT_ONCE = 500  # rows read by one query, or written at a time
_COLUMNS = "path, side, version, size, changed, facts, hashes, used"


def index_file() -> Path | None:
    """Where the index is, None if it is turned off or this account has no folder for it."""
    if os.environ.get("FTCOURSE_INDEX", "").lower() in {"off", "0", "no", "false"}:
        return None
    try:
        return cache_dir() / "photos.sqlite"
    except RuntimeError:  # an account without a home
        return None


class Index:
    """Facts about photo files, looked at with a short side of `side` pixels by a `version` of the code.

    Reads what is known of `paths` at once; `get` and `put` may be called by several threads, `save`
    writes. Nothing here raises: without an index everything is merely slower.
    """

    def __init__(self, paths: Iterable[Path], side: int, version: str) -> None:
        self.side, self.version = side, version
        self.file = index_file()
        self.today = int(time.time() // 86400)
        self._new: dict[bytes, tuple] = {}
        self._seen: dict[Path, tuple] = {}  # size and times before the file was read
        self._lock = Lock()
        self._known: dict[bytes, tuple] = {}
        if self.file is not None and self.file.exists():
            self._known = self._tried(lambda db: self._read(db, [_key(p) for p in paths])) or {}

    def get(self, path: Path) -> dict[str, Any] | None:
        """What `put` was given for this file, if it has not changed since.

        Call it before the file is read: its times are noted for `put`.
        """
        state = self._state(path)
        row = self._known.get(_key(path))
        if state is None or row is None or row[:2] != state[:2]:
            return None
        try:
            facts = json.loads(row[2])
            facts["size"] = tuple(facts["size"])
            hashes = None if row[3] is None else np.frombuffer(row[3], np.uint64).reshape(-1, 2)
        except (ValueError, TypeError, KeyError):  # a damaged row is none
            return None
        if row[4] != self.today:
            self._note(path, row[:4])
        return {**facts, "hashes": hashes}

    def put(self, path: Path, facts: dict[str, Any]) -> None:
        """Remember what was found, `facts["hashes"]` (uint64, or None) among it."""
        state = self._seen.get(path)
        if self.file is None or state is None or time.time() - state[2] < SETTLED:
            return
        plain = {name: value for name, value in facts.items() if name != "hashes"}
        hashes = facts["hashes"]
        blob = None if hashes is None else np.ascontiguousarray(hashes, np.uint64).tobytes()
        self._note(path, (*state[:2], json.dumps(plain), blob))
        if len(self._new) >= 10 * AT_ONCE:  # so that an interrupt does not lose everything
            self.save()

    def save(self) -> None:
        """Write what is new."""
        with self._lock:
            rows, self._new = self._new, {}
        if rows and self.file is not None:
            self._tried(lambda db: self._write(db, rows))

    # -- inside ---------------------------------------------------------------------------------

    def _state(self, path: Path) -> tuple[int, str, float] | None:
        """Size, times as written in the index, and the newer of the times in seconds."""
        if self.file is None or isinstance(path, Item):
            return None
        try:
            found = os.stat(path)
        except OSError:
            return None
        newest = max(found.st_mtime, found.st_ctime)
        state = found.st_size, f"{found.st_mtime_ns}/{found.st_ctime_ns}", newest
        self._seen[path] = state
        return state

    def _note(self, path: Path, row: tuple) -> None:
        with self._lock:
            self._new[_key(path)] = row

    def _tried(self, work: Any) -> Any:
        """What `work` does with the open index; a damaged one is removed and tried once more."""
        for _ in range(2):
            try:
                with closing(self._open()) as db, db:
                    return work(db)
            except sqlite3.OperationalError:  # locked for long, read-only, no space, no folder
                return None
            except sqlite3.DatabaseError:  # damaged, or no index at all
                assert self.file is not None
                with suppress(OSError):
                    self.file.unlink()
            except OSError:
                return None
        return None

    def _open(self) -> sqlite3.Connection:
        assert self.file is not None
        self.file.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.file, timeout=10)
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
                with db:
                    db.execute("BEGIN IMMEDIATE")  # another process may be just as far
                    if db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
                        db.execute("DROP TABLE IF EXISTS photos")
                        db.execute(f"CREATE TABLE photos ({_COLUMNS}, PRIMARY KEY (path, side))")
                        db.execute(f"PRAGMA user_version = {SCHEMA}")
        except BaseException:
            db.close()
            raise
        return db

    def _read(self, db: sqlite3.Connection, keys: list[bytes]) -> dict[bytes, tuple]:
        known: dict[bytes, tuple] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            places = ", ".join("?" * len(some))  # all that is put into the text; names are bound
            rows = db.execute(
                "SELECT path, size, changed, facts, hashes, used FROM photos "  # nosec B608
                f"WHERE side = ? AND version = ? AND path IN ({places})",
                [self.side, self.version, *some],
            )
            known |= {row[0]: row[1:] for row in rows}
        return known

    def _write(self, db: sqlite3.Connection, rows: dict[bytes, tuple]) -> None:
        db.executemany(
            f"INSERT OR REPLACE INTO photos ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(key, self.side, self.version, *row, self.today) for key, row in rows.items()],
        )
        db.execute("DELETE FROM photos WHERE used < ?", [self.today - KEPT_DAYS])


def _key(path: Path) -> bytes:
    return os.fsencode(os.path.abspath(path))  # names need not be valid text
