"""Files: whole or not there, and loading anywhere."""

from __future__ import annotations

import contextlib
import errno

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import models

import ftcourse as ft
from ftcourse.training.checkpoints import (
    _first_failure,
    check_network,
    remove_leftovers,
    write_atomic,
)
from ftcourse.training.history import History


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    path = write_atomic(tmp_path / "a.bin", b"old")

    def fail(file):
        file.write(b"half of the new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_saved_model_loads_with_torchvision_alone(tmp_path):
    model = ft.load_backbone("resnet18", weights=None, num_classes=3)
    path = ft.save_model(
        model,
        tmp_path / "m.safetensors",
        architecture="resnet18",
        classes=["a", "b", "ü"],
        crop_size=96,
    )
    plain = models.resnet18(num_classes=3).eval()
    plain.load_state_dict(load_file(path))
    again, meta = ft.load_model(path)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(x), model(x))
        assert torch.equal(again(x), model(x))
    assert meta["classes"] == ["a", "b", "ü"]
    assert meta["crop_size"] == 96


def test_files_that_are_no_model_of_ours_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        ft.load_model(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        ft.load_model(tmp_path / "bad.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"foreign\.safetensors: has no ftcourse header"):
        ft.load_model(tmp_path / "foreign.safetensors")


def test_a_history_comes_back_as_it_was_and_reads_as_a_table(tmp_path, tiny, blobs):
    history = ft.finetune(tiny, blobs, ft.Stage("head", epochs=2), progress=False)
    again = History.load(history.save(tmp_path / "history.json"))
    assert again.to_dict() == history.to_dict()
    assert str(history).splitlines()[0].startswith("epoch")
    figure = history.plot(tmp_path / "curves.png")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Loss", "Accuracy", "Learning rate"]
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path):
    left = [tmp_path / f".{name}.x1.part" for name in ("model.safetensors", "report.json")]
    others = [tmp_path / name for name in ("model.safetensors", ".other.bin.x1.part", "a.part")]
    for file in (*left, *others):
        file.write_bytes(b"half")
    removed = remove_leftovers(tmp_path, ("model.safetensors", "report.json"))
    assert sorted(removed) == sorted(left)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_leftover_that_somebody_else_has_removed_is_no_error(tmp_path, monkeypatch):
    left = tmp_path / ".a.bin.x1.part"
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: [left])
    assert remove_leftovers(tmp_path, ("a.bin",)) == [left]


def test_of_several_failures_of_one_write_the_first_is_told(tmp_path):
    class Full:
        errors = [errno.ENOSPC, errno.EIO]

        def write(self, data):
            raise OSError(self.errors.pop(0), "no")

    with pytest.raises(OSError) as told, _first_failure(Full(), tmp_path / "a.bin") as file:
        with contextlib.suppress(OSError):
            file.write(b"1")
        file.write(b"2")
    assert told.value.errno == errno.ENOSPC and str(tmp_path / "a.bin") in str(told.value)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"a": torch.zeros(2), "b": torch.zeros(1)}, "more tensors for one"),
        ({"a": torch.zeros(3)}, "another network, a for one"),
        ({}, "another network, a for one"),
        ({"a": 3}, "something else than tensors"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_by_what_differs(weights, words, tmp_path):
    state = {"model": weights, "best": None}
    with pytest.raises(ValueError, match=words):
        check_network(tmp_path / "c.pt", state, {"a": torch.zeros(2)})
