"""A file is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftcourse.training import checkpoints
from ftcourse.training.checkpoints import save_checkpoint, write_atomic


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_what_is_written_is_what_is_there_also_over_another_file(tmp_path_factory, old, new):
    path = tmp_path_factory.mktemp("write") / "deeper" / "and deeper" / "ü.bin"
    assert write_atomic(str(path), old) == path and path.read_bytes() == old
    assert write_atomic(path, lambda file: file.write(new)) == path and path.read_bytes() == new
    assert [p.name for p in path.parent.iterdir()] == ["ü.bin"]


class Steps:
    """Names what the system is asked to do, and fails at one of the steps."""

    def __init__(self, monkeypatch, path: Path, fails_at: str = "") -> None:
        self.seen: list[tuple[str, bytes]] = []
        for name in ("fsync", "replace"):
            monkeypatch.setattr(checkpoints.os, name, self.watched(name, path, fails_at))

    def watched(self, name: str, path: Path, fails_at: str):
        real = getattr(os, name)

        def call(*args):
            (part,) = [p for p in path.parent.iterdir() if p.name.endswith(".part")]
            self.seen.append((name, part.read_bytes()))
            if name == fails_at:
                raise OSError(28, "No space left on device")
            return real(*args)

        return call


def test_all_bytes_are_on_the_disk_before_the_file_takes_its_name(tmp_path, monkeypatch):
    """Otherwise a power cut may leave an empty file under the right name."""
    steps = Steps(monkeypatch, tmp_path / "a.bin")
    write_atomic(tmp_path / "a.bin", b"new")
    assert steps.seen == [("fsync", b"new"), ("replace", b"new")]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_step_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path, monkeypatch, step, before
):
    path = tmp_path / "a.bin"
    if before is not None:
        write_atomic(path, before)
    Steps(monkeypatch, path, fails_at=step)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ([] if before is None else ["a.bin"])
    assert before is None or path.read_bytes() == before


def test_two_processes_writing_one_file_do_not_write_into_each_other(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"

    def meanwhile(file):
        file.write(b"mi")
        monkeypatch.setattr(checkpoints.os, "getpid", lambda: -1)
        write_atomic(path, b"theirs")
        assert path.read_bytes() == b"theirs"
        file.write(b"ne")

    write_atomic(path, meanwhile)
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_checkpoint_is_written_so_and_comes_back(tmp_path, monkeypatch):
    import torch

    path = tmp_path / "checkpoint.pt"
    steps = Steps(monkeypatch, path)
    state = {"weights": {"a": torch.arange(3)}, "epoch": 3, "names": ["x"], "lr": 0.5}
    assert save_checkpoint(path, state) == path
    assert [name for name, _ in steps.seen] == ["fsync", "replace"]
    again = torch.load(path, weights_only=True)
    assert torch.equal(again["weights"].pop("a"), state["weights"].pop("a"))
    assert again == state
