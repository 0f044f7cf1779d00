"""Files that others may have written: whatever is in them, only a ValueError that names the file comes out."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import copy
import json
import os
import socket
import struct
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import ftcourse as ft
from ftcourse.models.states import check_input, open_state
from ftcourse.reporting import report
from ftcourse.reporting.model_card import write_card
from ftcourse.shipping.inference import load_run
from ftcourse.training.checkpoints import check_network, load_checkpoint, load_model
from ftcourse.training.history import History
from ftcourse.training.records import SETTINGS, parse
from tests.shapes import QUICK, photos, run

ODD = [
    None, True, False, -1, 0, 1, 1.5, 10**9, 10**25, -(10**25), 1e308, "", "x", "\n# x", [], [[]], {}, {"a": 1},
    [None], "a" * 5000, ["a", "a"], [1, 2, 3], [0, 0, 0], float("inf"), float("-inf"), float("nan"),
]  # fmt: skip
GONE = object()


def places(value, at=()):
    """Each place in a JSON value, as a path of keys; of a long list the first two."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:2] if isinstance(value, list) else ())
    )
    for key, one in inner:
        yield (*at, key)
        yield from places(one, (*at, key))


def changed(value, path, new):
    value = copy.deepcopy(value)
    inside = value
    for key in path[:-1]:
        inside = inside[key]
    if new is GONE:
        del inside[path[-1]]
    else:
        inside[path[-1]] = new
    return value


def works_or_names(file, do) -> str:
    """What is said against the file; "" where it was taken."""
    try:
        do()
    except ValueError as err:
        assert str(file) in str(err), err
        assert len(str(err).splitlines()) == 1 and len(str(err)) < 700, err
        return str(err)
    return ""


TEXTS = [
    b"", b"null", b"[]", b"{", b"[" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"\xff\xfe", b"1" * 10_000,
    b"NaN", b"{}", b'"text"', b"\x00", b"[1e999]", b'{"classes": 1}', b"[" * 500 + b"]" * 500,
]  # fmt: skip


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("somebody opened a connection")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


# -- the header of a model ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def tensors():
    return ft.load_backbone("resnet18", weights=None, num_classes=2).state_dict()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A writer of model files with a header of its own."""
    file = tmp_path_factory.mktemp("model") / "m.safetensors"
    small = ft.load_backbone("shufflenet_v2_x0_5", weights=None, num_classes=2)
    save_file(small.state_dict(), file, metadata={"ftcourse": "{}"})
    blob = file.read_bytes()
    (length,) = struct.unpack("<Q", blob[:8])
    own = json.loads(blob[8 : 8 + length])

    def write(header: str):
        text = json.dumps({**own, "__metadata__": {"ftcourse": header}}).encode()
        file.write_bytes(struct.pack("<Q", len(text)) + text + blob[8 + length :])
        return file

    return write


HEADER = {
    "format": "ftcourse-1", "architecture": "shufflenet_v2_x0_5", "classes": ["a", "b"], "crop_size": 32,
    "resize_size": 37, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "working_size": 160, "weights": "pocket",
    "seed": 0,
}  # fmt: skip
PLACES = list(places(HEADER))


def test_the_header_itself_is_taken(model_file):
    assert load_run(model_file(json.dumps(HEADER))).classes == ["a", "b"]


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(PLACES), new=st.sampled_from([GONE, *ODD]))
def test_a_header_with_any_value_changed_loads_or_is_refused_by_name(model_file, path, new):
    file = model_file(json.dumps(changed(HEADER, path, new)))
    works_or_names(file, lambda: load_run(file))


@pytest.mark.parametrize("text", TEXTS[1:])
def test_a_header_that_is_no_header_is_refused_by_name(model_file, text):
    file = model_file(text.decode("latin1"))
    assert works_or_names(file, lambda: load_run(file))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"architecture": "resnet19"}, "none of torchvision's classifiers"),
        ({"architecture": "fasterrcnn_resnet50_fpn"}, "none of torchvision's classifiers"),
        ({"architecture": "deeplabv3_resnet50"}, "none of torchvision's classifiers"),
        ({"architecture": "r3d_18"}, "none of torchvision's classifiers"),
        ({"architecture": ["resnet18"]}, "architecture must be a text"),
        ({"architecture": "resnet50"}, "do not fit this ResNet"),
        ({"architecture": "vgg16"}, "do not fit this VGG"),
        ({"classes": ["a", "b", "c"]}, "fc.weight is 2x1024, not 3x1024"),
        ({"classes": []}, "classes must be a list of at least 1"),
        ({"classes": ["a", "a"]}, "names a class twice"),
        ({"classes": "ab"}, "classes must be a list"),
        ({"crop_size": 0}, "crop_size must be a whole number from 1 to 4096"),
        ({"crop_size": 10**6}, "crop_size must be a whole number from 1 to 4096"),
        ({"crop_size": "128"}, "crop_size must be a whole number"),
        ({"crop_size": True}, "crop_size must be a whole number"),
        ({"mean": [0.5]}, "mean must be a list of 3"),
        ({"std": [0, 0, 0]}, "std[0] must be a number from 1e-06"),
        ({"std": None}, "std must be a list of 3"),
        ({"seed": 10**30}, "seed must be a whole number"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_header_is_said(model_file, no_network, header, said):
    file = model_file(json.dumps(HEADER | header))
    assert said in works_or_names(file, lambda: load_run(file))


def test_a_million_classes_are_refused_before_a_network_for_them_is_built(model_file, monkeypatch):
    file = model_file(json.dumps(HEADER | {"classes": [str(i) for i in range(10**6)]}))
    made = []
    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda self: made.append(self.weight))
    assert "fc.weight is 2x1024, not 1000000x1024" in works_or_names(file, lambda: load_model(file))
    assert made and all(weight.is_meta for weight in made)


def test_a_network_that_cannot_take_the_size_in_the_header_is_refused(tmp_path):
    network = ft.load_backbone("alexnet", weights=None, num_classes=2)
    file = ft.save_model(
        network,
        tmp_path / "a.safetensors",
        architecture="alexnet",
        classes=["a", "b"],
        crop_size=32,
    )
    assert "cannot take images of 32x32" in works_or_names(file, lambda: load_run(file))
    check_input("alexnet", 64)


def test_a_model_that_nobody_could_load_is_not_written(tmp_path, tiny):
    with pytest.raises(ValueError, match="not written"):
        ft.save_model(tiny, tmp_path / "m.safetensors", architecture="tiny", classes=["a", "b"])
    assert list(tmp_path.iterdir()) == []


# -- weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "model.", "net.backbone."]
)
def test_weights_saved_around_the_network_load(tmp_path, tensors, prefix):
    beside = {} if prefix == "_orig_mod." else {"loss.weight": torch.ones(2)}
    torch.save({prefix + k: v for k, v in tensors.items()} | beside, tmp_path / "w.pth")
    again = ft.load_backbone("resnet18", tmp_path / "w.pth").state_dict()
    assert all(torch.equal(again[k], v) for k, v in tensors.items())


def test_weights_of_a_network_compiled_in_parts_load(tmp_path, tensors):
    torch.save(
        {k.replace("layer1.", "layer1._orig_mod."): v for k, v in tensors.items()},
        tmp_path / "w.pth",
    )
    again = ft.load_backbone("resnet18", tmp_path / "w.pth").state_dict()
    assert all(torch.equal(again[k], v) for k, v in tensors.items())


def test_a_file_with_the_network_twice_is_refused_because_nobody_knows_which(tmp_path, tensors):
    twice = {f"{p}.{k}": v for p in ("student", "teacher") for k, v in tensors.items()}
    torch.save(twice, tmp_path / "w.pth")
    with pytest.raises(
        ValueError, match=r"w\.pth: has the network under 'student\.' and 'teacher\.'"
    ):
        ft.load_backbone("resnet18", tmp_path / "w.pth")


def test_a_wrapped_network_is_saved_under_its_own_names(tmp_path):
    model = ft.load_backbone("resnet18", num_classes=2)
    for wrapped in (torch.nn.DataParallel(model), torch.compile(model)):
        ft.save_model(
            wrapped, tmp_path / "m.safetensors", architecture="resnet18", classes=["a", "b"]
        )
        again, _ = ft.load_model(tmp_path / "m.safetensors")
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def hostile(tensors):
    head, many = tensors["fc.weight"], 10**6
    bias = {"fc.bias": torch.zeros(1).expand(many)}
    return {
        "numbers as names": (
            {i: v for i, v in enumerate(tensors.values())},
            "expected a state dict",
        ),
        "a head that repeats one number": (
            tensors | bias | {"fc.weight": torch.zeros(1, 1).expand(many, 512)},
            "claims to have",
        ),
        "a sparse head": (
            tensors | {"fc.weight": torch.zeros(10**5, 512).to_sparse()},
            "no plain tensor",
        ),
        "a head without memory": (
            tensors | {"fc.weight": torch.empty(many, 512, device="meta")},
            "no plain tensor",
        ),
        "complex numbers": (tensors | {"fc.weight": head.to(torch.complex64)}, "no plain tensor"),
        "whole numbers": (tensors | {"fc.weight": head.to(torch.int32)}, "has whole numbers"),
        "nan": (
            tensors | {"fc.weight": head * float("nan")},
            "fc.weight has values that are no numbers",
        ),
        "infinity": (
            tensors | {"fc.bias": torch.full((2,), float("inf"))},
            "fc.bias has values that are no numbers",
        ),
        "no tensors": ({"fc.weight": [1.0, 2.0]}, "expected a state dict"),
        "a list": (list(tensors.values()), "expected a state dict"),
        "nothing": ({}, "it lacks conv1.weight"),
        "another head": (
            tensors | {"fc.weight": torch.zeros(2, 100)},
            "fc.weight is 2x100, not 2x512",
        ),
        "a tensor without a place": (tensors | {"fc.more": torch.zeros(2)}, "it has also fc.more"),
        "text": ("weights", "expected a state dict"),
    }


@pytest.mark.parametrize("kind", hostile({"fc.weight": torch.zeros(2, 512)}))
def test_hostile_weights_are_refused_by_name(tmp_path, tensors, kind, no_network):
    file, (content, said) = tmp_path / "w.pth", hostile(tensors)[kind]
    torch.save(content, file)
    assert said in works_or_names(file, lambda: ft.load_backbone("resnet18", file))


def test_weights_that_unpack_to_more_than_the_file_are_refused_unread(tmp_path):
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "plain.pth")
    packed = zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with pytest.raises(ValueError, match=r"packed\.pth: unpacks to more than it is"):
        open_state(tmp_path / "packed.pth")


def test_folders_and_pipes_are_no_weights(tmp_path):
    (tmp_path / "w.pth").mkdir()
    with pytest.raises(ValueError, match="is no file"):
        ft.load_backbone("resnet18", tmp_path / "w.pth")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "p.safetensors")
        for load in (ft.load_model, lambda file: ft.load_backbone("resnet18", file)):
            with pytest.raises(ValueError, match="is no file"):
                load(tmp_path / "p.safetensors")


# -- checkpoints and histories -----------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, tiny, blobs):
    ft.finetune(tiny, blobs, ft.Stage("head", epochs=1), out_dir=tmp_path, progress=False)
    return torch.load(tmp_path / "checkpoint.pt", weights_only=True)


def test_a_checkpoint_with_any_part_changed_goes_on_or_is_refused_by_name(
    tmp_path, trained, tiny, blobs
):
    file = tmp_path / "checkpoint.pt"
    parts = [(key,) for key in trained] + [("history", key) for key in trained["history"]]
    parts += [
        ("optimizer", "state"),
        ("optimizer", "param_groups"),
        ("model", "fc.weight"),
        ("best", "fc.weight"),
    ]
    stage, alike = ft.Stage("head", epochs=1), tiny.state_dict()

    def resume():
        ft.finetune(tiny, blobs, stage, out_dir=tmp_path, resume=True, progress=False)

    for path in parts:
        for new in (GONE, None, -1, 7, 100, "x", [], {}, torch.zeros(3)):
            torch.save(changed(trained, path, new), file)
            works_or_names(file, lambda: check_network(file, load_checkpoint(file), alike))
        works_or_names(file, resume)


@pytest.mark.parametrize(("stage", "epoch"), [(7, 0), (0, 100), (1, 1), (-1, 0)])
def test_a_checkpoint_from_behind_the_last_epoch_is_refused(tmp_path, trained, stage, epoch):
    torch.save(trained | {"stage": stage, "epoch": epoch}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize("place", [{"stage": 0.5}, {"epoch": 0.5}, {"stage": True}])
def test_a_checkpoint_between_two_epochs_is_refused(tmp_path, trained, place):
    torch.save(trained | place, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: not a checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_the_first_epoch_of_the_first_stage_is_one(tmp_path, trained):
    torch.save(trained | {"stage": 0, "epoch": 0}, tmp_path / "checkpoint.pt")
    assert load_checkpoint(tmp_path / "checkpoint.pt")["stage"] == 0


def test_one_flipped_bit_of_a_weight_is_noticed(tmp_path, trained):
    file = tmp_path / "checkpoint.pt"
    torch.save(trained, file)
    blob = bytearray(file.read_bytes())
    at = blob.index(trained["model"]["fc.weight"].numpy().tobytes())
    blob[at + 5] ^= 1
    file.write_bytes(blob)
    with pytest.raises(ValueError, match=r"checkpoint\.pt: .*the checksum of"):
        load_checkpoint(file)


def test_a_run_that_is_resumed_keeps_the_notes_of_its_first_epochs(tmp_path, trained, tiny, blobs):
    trained["history"]["notes"].append("a note of an epoch that is over")
    torch.save(trained, tmp_path / "checkpoint.pt")
    stage = ft.Stage("head", epochs=1)
    again = ft.finetune(tiny, blobs, stage, out_dir=tmp_path, resume=True, progress=False)
    assert again.notes == trained["history"]["notes"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_is_no_history_is_refused_by_name(tmp_path, text):
    (tmp_path / "history.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"history\.json: "):
        History.load(tmp_path / "history.json")


# -- settings and reports ----------------------------------------------------------------------


def test_a_report_with_any_value_changed_makes_a_card_or_is_refused_by_name(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda file: None)  # hundreds of cards
    good = json.loads((run / "report.json").read_text())
    file, refused, tried = tmp_path / "report.json", 0, 0
    for path in places(good):
        for new in (GONE, None, -1, {}):
            file.write_text(json.dumps(changed(good, path, new)))
            refused += bool(
                works_or_names(file, lambda: write_card(tmp_path, tmp_path / "card.md"))
            )
            tried += 1
            (tmp_path / "card.md").unlink(missing_ok=True)
    assert tried > 500 and refused > 150


@pytest.mark.parametrize("text", TEXTS)
def test_a_report_that_is_none_is_refused_by_name(tmp_path, text):
    (tmp_path / "report.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"report\.json: "):
        write_card(tmp_path)


@pytest.fixture
def begun(tmp_path, photos):
    """A run's folder with settings alone, and how to resume it up to the training."""
    data, out = ft.load_data(photos, size=32, audit=False), tmp_path / "run"
    assert report._begin(out, QUICK, data, photos, resume=False, force=False) is False
    return out, lambda: report._begin(out, QUICK, data, photos, resume=True, force=False)


def test_settings_with_any_value_changed_are_refused_by_name(begun):
    out, resume = begun
    file = out / "settings.json"
    good = json.loads(file.read_text())
    resume()
    for key in good:
        older = f"{key}?" in SETTINGS  # runs of earlier versions have none
        for new in ([], {}, True, 1e308, 10**25) + (GONE,) * (not older):
            file.write_text(json.dumps(changed(good, (key,), new)))
            assert works_or_names(file if new is GONE else out, resume), (key, new)


@pytest.mark.parametrize("text", TEXTS)
def test_settings_that_are_none_are_refused_by_name(begun, text):
    out, resume = begun
    (out / "settings.json").write_bytes(text)
    assert "settings.json" in works_or_names(out, resume)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_refused_by_name(text):
    works_or_names("some.json", lambda: parse(text, "some.json"))
