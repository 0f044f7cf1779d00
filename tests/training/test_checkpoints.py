"""Files: whole or not there, and loading anywhere."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import models

import ftcourse as ft
from ftcourse.training.checkpoints import write_atomic
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
