"""What was seen is remembered: a known file is not opened again, a changed one is, and no index is no harm."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ftcourse.data import index as room
from ftcourse.data import inspection
from ftcourse.data.audit import audit
from ftcourse.data.folders import scan
from ftcourse.data.index import index_file
from ftcourse.data.inspection import inspect_photos
from ftcourse.data.loading import load_data


def save(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((40, 40)).save(path)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Two classes of eight photos, in a world with an index of its own, where nothing is too fresh."""
    monkeypatch.setenv("FTCOURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FTCOURSE_INDEX", "on")
    monkeypatch.setattr(room, "SETTLED", -1e9)
    for k in range(16):
        save(tmp_path / "photos" / "ab"[k % 2] / f"{k:02d}.png", k)
    return tmp_path / "photos"


@pytest.fixture
def looked_into(monkeypatch) -> list[str]:
    """The names of the files that were inspected, not remembered."""
    names: list[str] = []
    inspect = inspection._inspect

    def spy(photo, *args):
        names.append(photo.path.name)
        return inspect(photo, *args)

    monkeypatch.setattr(inspection, "_inspect", spy)
    return names


def as_told(found) -> list[tuple]:
    """Everything that was found, comparable."""
    return [
        tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in vars(one).values())
        for one in found
    ]


def test_a_second_look_opens_no_file_and_finds_the_same(photos, looked_into):
    first = inspect_photos(scan(photos).photos, keep_bytes=2**20)
    assert len(looked_into) == 16
    second = inspect_photos(scan(photos).photos, keep_bytes=2**20)
    assert len(looked_into) == 16 and as_told(first) == as_told(second)
    assert audit(photos).summary() == audit(photos).summary() and len(looked_into) == 16


def test_the_same_splits_and_pixels_come_from_the_index(photos, looked_into, monkeypatch):
    first, second = load_data(photos, size=16), load_data(photos, size=16)
    assert len(looked_into) == 16
    monkeypatch.setenv("FTCOURSE_INDEX", "off")
    without = load_data(photos, size=16)
    assert len(looked_into) == 32
    for data in (second, without):
        for split in ("train", "val", "test"):
            mine, theirs = getattr(first, split), getattr(data, split)
            assert mine.paths == theirs.paths
            assert all((mine.image(i) == theirs.image(i)).all() for i in range(len(mine)))


@pytest.mark.skipif(sys.platform == "win32", reason="there the second time is that of creation")
def test_a_changed_file_is_looked_into_again_even_with_its_old_time_and_size(photos, looked_into):
    file = photos / "a" / "00.png"
    before = inspect_photos(scan(photos).photos)
    kept = file.stat()
    data = bytearray(file.read_bytes())
    other = save(photos.parent / "other.png", 99).read_bytes()
    data[:] = other[: len(data)].ljust(len(data), b"\0")  # the same size
    file.write_bytes(data)
    os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    looked_into.clear()
    after = inspect_photos(scan(photos).photos)
    assert looked_into == ["00.png"]
    assert after[0].sha256 != before[0].sha256 and as_told(after[1:]) == as_told(before[1:])


def test_a_file_changed_a_moment_ago_is_not_remembered(photos, looked_into, monkeypatch):
    monkeypatch.setattr(room, "SETTLED", 60)
    inspect_photos(scan(photos).photos)
    inspect_photos(scan(photos).photos)
    assert len(looked_into) == 32


def test_another_size_or_another_version_of_the_code_looks_again(photos, looked_into, monkeypatch):
    inspect_photos(scan(photos).photos, short_side=32)
    inspect_photos(scan(photos).photos, short_side=64)
    assert len(looked_into) == 32
    monkeypatch.setattr(inspection, "VERSION", "another")
    inspect_photos(scan(photos).photos, short_side=32)
    assert len(looked_into) == 48


def test_hashes_that_were_not_made_are_made_when_they_are_needed(photos, looked_into):
    inspect_photos(scan(photos).photos, hashes=False)
    found = inspect_photos(scan(photos).photos)
    assert len(looked_into) == 32 and all(one.hashes is not None for one in found)
    inspect_photos(scan(photos).photos, hashes=False)
    assert len(looked_into) == 32


def test_a_broken_file_is_never_remembered(photos, looked_into):
    (photos / "a" / "broken.png").write_bytes(b"no photo")
    inspect_photos(scan(photos).photos)
    looked_into.clear()
    found = inspect_photos(scan(photos).photos)
    assert looked_into == ["broken.png"] and sum(one.error is not None for one in found) == 1


def damage_bytes(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[100:] = os.urandom(len(data) - 100)
    file.write_bytes(data)


def damage_rows(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("UPDATE photos SET facts = '{', hashes = x'00'")


def foreign_table(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE photos (a, b)")


DAMAGE = {
    "random bytes": damage_bytes,
    "no database": lambda file: file.write_bytes(b"hello " * 1000),
    "empty": lambda file: file.write_bytes(b""),
    "half of it": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "damaged rows": damage_rows,
    "another table": foreign_table,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_begun_anew(photos, looked_into, damage):
    expected = as_told(inspect_photos(scan(photos).photos))
    DAMAGE[damage](index_file())
    looked_into.clear()
    assert as_told(inspect_photos(scan(photos).photos)) == expected and len(looked_into) == 16
    assert as_told(inspect_photos(scan(photos).photos)) == expected and len(looked_into) == 16


def test_turned_off_it_writes_nothing(photos, looked_into, monkeypatch):
    monkeypatch.setenv("FTCOURSE_INDEX", "off")
    inspect_photos(scan(photos).photos)
    inspect_photos(scan(photos).photos)
    assert len(looked_into) == 32 and not (photos.parent / "cache").exists()


@pytest.mark.parametrize("place", ["/dev/null/cache", "file/cache"])
def test_where_it_cannot_be_written_everything_works_without(
    photos, looked_into, place, monkeypatch
):
    (photos.parent / "file").write_text("")
    monkeypatch.setenv("FTCOURSE_CACHE", str(photos.parent / place))
    assert len(inspect_photos(scan(photos).photos)) == 16
    assert len(inspect_photos(scan(photos).photos)) == 16 and len(looked_into) == 32


def test_an_index_that_another_process_holds_is_waited_for_and_then_left(photos, monkeypatch):
    inspect_photos(scan(photos).photos)
    connect = sqlite3.connect
    monkeypatch.setattr(room.sqlite3, "connect", lambda file, timeout: connect(file, timeout=0.1))
    with connect(index_file()) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert len(inspect_photos(scan(photos).photos)) == 16


def test_an_account_without_a_home_has_none(photos, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(room, "cache_dir", no_home)
    assert index_file() is None and len(inspect_photos(scan(photos).photos)) == 16


def test_what_was_not_used_for_long_is_forgotten(photos):
    inspect_photos(scan(photos).photos)
    with sqlite3.connect(index_file()) as db:
        db.execute("UPDATE photos SET used = used - 1000")
    inspect_photos(scan(photos).photos[:4])
    with sqlite3.connect(index_file()) as db:
        assert db.execute("SELECT count(*) FROM photos").fetchone() == (4,)


# imports take the time: where a process can be parted, they are made once
PROCESS = """
import os, sys
from ftcourse.data import index
index.SETTLED = -1e9
from ftcourse.data.folders import scan
from ftcourse.data.inspection import inspect_photos
def look():
    for _ in range(5):
        assert len(inspect_photos(scan(sys.argv[1]).photos)) == 16
others = []
for _ in range(int(sys.argv[2]) - 1):
    if (child := os.fork()) == 0:
        look()
        os._exit(0)
    others.append(child)
look()
assert [os.waitpid(child, 0)[1] for child in others] == [0] * len(others)
"""


def test_several_processes_at_once_leave_a_whole_index(photos, looked_into):
    parts = 3 if hasattr(os, "fork") else 1
    command = [sys.executable, "-c", PROCESS, str(photos), str(parts)]
    running = [subprocess.Popen(command) for _ in range(3 // parts)]
    assert not any([process.wait() for process in running])
    inspect_photos(scan(photos).photos)
    assert looked_into == []
