"""`--weights auto` takes the best weights on this machine, says which, and downloads nothing."""

from __future__ import annotations

# ruff: noqa: F401, F811
import json

import pytest
import torch

from ftcourse.models import backbones
from ftcourse.reporting import starting_weights
from ftcourse.reporting.starting_weights import Start, choose
from tests.shapes import photos
from tests.test_cli import QUICK, ftcourse, told

HUBS = "hf-hub:owner/net@" + 40 * "0"


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine with neither the extra `imagenet` nor anything downloaded; a download fails the test."""

    def download(*args, **kwargs):
        raise AssertionError("downloads")

    monkeypatch.setattr(starting_weights, "imagenet_file", lambda: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(backbones, "_download", download)
    return tmp_path


def downloaded(folder, name):
    file = folder / "hub" / "checkpoints" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"weights")


def test_on_a_bare_machine_it_is_pocket_and_the_note_says_what_would_be_better(bare):
    start = choose("auto", None)
    assert (start.weights, start.backbone) == ("pocket", "resnet18")
    assert "ftcourse[imagenet]" in start.note and "--weights DEFAULT" in start.note


def test_what_was_downloaded_before_is_taken(bare):
    downloaded(bare, "resnet50-11ad3fa6.pth")
    assert choose("auto", None).weights == "pocket"  # that of another network is no use
    assert choose("auto", "resnet50").weights == "DEFAULT"
    downloaded(bare, "resnet18-f37072fd.pth")
    start = choose("auto", None)
    assert (start.weights, start.backbone) == ("DEFAULT", "resnet18")


def test_the_extra_comes_first_unless_another_network_is_named(bare, monkeypatch):
    monkeypatch.setattr(starting_weights, "imagenet_file", lambda: bare / "there.pth")
    monkeypatch.setattr(starting_weights, "timm_is_installed", lambda: True)
    downloaded(bare, "resnet18-f37072fd.pth")
    start = choose("auto", None)
    assert (start.weights, start.backbone) == ("imagenet", "efficientnet_lite0")
    assert choose("auto", "efficientnet_lite0").weights == "imagenet"
    assert choose("auto", "resnet18").weights == "DEFAULT"
    monkeypatch.setattr(starting_weights, "timm_is_installed", lambda: False)
    assert choose("auto", None).weights == "DEFAULT"  # the weights alone build no network


@pytest.mark.parametrize("backbone", ["resnet50", "efficientnet_lite0"])
def test_a_network_without_weights_here_is_refused_with_what_to_do(bare, backbone):
    with pytest.raises(
        ValueError, match=rf"^--backbone {backbone}: .* not on this machine.*--weights none"
    ):
        choose("auto", backbone)


def test_what_is_asked_for_is_taken_as_it_is():
    assert choose("pocket", None) == Start("pocket", "resnet18")
    assert choose("imagenet", None) == Start("imagenet", "efficientnet_lite0")
    assert choose("none", "vit_b_16") == Start("none", "vit_b_16")
    assert choose("auto", HUBS).weights == "DEFAULT"  # it is named for its own


def test_a_run_keeps_the_weights_it_resolved_also_where_the_machine_has_better_ones_later(
    bare, photos, monkeypatch
):
    out = bare / "run"
    words = ["train", photos, "--out", out, *QUICK[:-2]]
    assert "--weights" not in words
    first = ftcourse(*words)
    assert "weights: pocket" in first.stdout.splitlines()[0]
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["weights"], settings["backbone"]) == ("pocket", "resnet18")
    assert "--weights pocket --backbone resnet18" in (out / "report.md").read_text()
    downloaded(bare, "resnet18-f37072fd.pth")
    ftcourse(*words, "--resume")
    assert "--weights pocket, not none" in told(*words, "--weights", "none", "--resume")


def test_a_refused_command_says_nothing_of_weights(bare, tmp_path):
    told("train", tmp_path / "nothing", "--out", tmp_path / "run")
