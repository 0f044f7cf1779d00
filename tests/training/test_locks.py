"""A lock is held by one process at a time, and ends with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from ftcourse.training import locks
from ftcourse.training.locks import Held, holder, locked

HOLD = """
import sys, time
from ftcourse.training.locks import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "l")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_which_is_the_first(tmp_path, other):
    with pytest.raises(Held, match=f"process {other.pid}"), locked(tmp_path / "l"):
        raise AssertionError
    assert holder(tmp_path / "l") == f" (process {other.pid})"


def test_the_lock_of_a_killed_process_is_nobodys(tmp_path, other):
    other.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    other.wait()
    assert (tmp_path / "l").exists() and holder(tmp_path / "l") is None
    with locked(tmp_path / "l"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    take, times = locks._take, []

    def take_after_another_let_go(file):
        times.append(file)
        if len(times) == 1:  # whoever held it removes it between our opening and our locking
            (tmp_path / "l").unlink()
        return take(file)

    monkeypatch.setattr(locks, "_take", take_after_another_let_go)
    with locked(tmp_path / "l"):
        assert len(times) == 2 and (tmp_path / "l").exists()


def test_of_threads_that_come_at_once_one_at_a_time_is_inside(tmp_path):
    inside, most, done = [], [], []

    def work():
        for _ in range(20):
            with locked(tmp_path / "l", wait=60):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
                done.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 120 and max(most) == 1 and list(tmp_path.iterdir()) == []
