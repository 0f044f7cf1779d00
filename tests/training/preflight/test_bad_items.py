"""What cannot be trained on is told in plain words, and a nan is traced to where it comes from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import ftcourse as ft
from ftcourse.tasks.task import Task
from tests.conftest import BlobData, Blobs, tiny_resnet

STAGE = ft.Stage("all", epochs=1)


def only(findings):
    (found,) = findings
    assert "lower" not in found.fix and "divide" not in found.fix
    return found


class Spoilt(Blobs):
    """Blobs, of which some items are not as they should be."""

    def __init__(self, change, n=16):
        super().__init__(n, 1)
        self.change = change

    def __getitem__(self, i):
        return self.change(*super().__getitem__(i), i)


def preflight(change, model=None):
    return ft.preflight(model or tiny_resnet(), BlobData(Spoilt(change), Blobs(8, 2), None), STAGE)


def test_photos_of_two_sizes_are_told_with_an_item_of_each():
    found = only(preflight(lambda x, y, i: (x[:, : 32 - 8 * (i == 5)], y)))
    assert (
        found.name == "no batch" and "(3, 24, 32)" in found.evidence and "item 5" in found.evidence
    )


@pytest.mark.parametrize(
    ("label", "seen"),
    [(lambda y: float(y), "float64 (16,)"), (lambda y: torch.tensor([y]), "int64 (16, 1)")],
)
def test_labels_that_are_no_whole_numbers_are_told(label, seen):
    found = only(preflight(lambda x, y, i: (x, label(y))))
    assert found.name == "labels of the wrong kind" and seen in found.evidence


def test_an_item_that_cannot_be_read_is_told_by_its_number():
    def broken(x, y, i):
        if i == 7:
            raise OSError("truncated file")
        return x, y

    with pytest.raises(OSError):  # a fault of the data set's own code is its own to tell
        BlobData(Spoilt(broken), None, None).train[7]
    (found,) = preflight(broken)
    assert found.name == "no batch" and "item 7" in found.what and "truncated" in found.evidence


@pytest.mark.parametrize("n", [0, 1])
def test_a_split_of_no_photo_or_of_one(n):
    names = [
        f.name for f in ft.preflight(tiny_resnet(), BlobData(Blobs(n, 1), Blobs(8, 2), None), STAGE)
    ]
    assert names == [["empty split"], ["a batch of one"]][n]


def test_a_model_of_another_dtype_is_told():
    data = BlobData(Blobs(16, 1), Blobs(8, 2), None)
    found = ft.preflight(tiny_resnet().double(), data, STAGE)
    assert {f.name for f in found} == {"stops with an error"}


def test_a_nan_is_traced_to_the_weight():
    model = tiny_resnet()
    with torch.no_grad():
        model.layer2[0].conv1.weight[0, 0] = math.nan
    found = only(ft.preflight(model, BlobData(Blobs(16, 1), Blobs(8, 2), None), STAGE))
    assert found.name == "not finite" and found.what.startswith("layer2.0.conv1.weight")


def test_a_nan_is_traced_to_the_photo():
    found = only(preflight(lambda x, y, i: (x * (math.nan if i == 11 else 1), y)))
    assert found.name == "not finite" and "item 11" in found.what


@pytest.mark.parametrize("nest", [lambda v: {"scores": v}, lambda v: [{"a": {"b": [1, v]}}, "x"]])
def test_a_nan_is_traced_to_the_target_however_it_is_nested(nest):
    class Nested(Task):
        name, collate = "nested", staticmethod(lambda items: tuple(zip(*items, strict=True)))

    def item(x, y, i):
        return x, nest(torch.tensor(math.nan if i == 3 else 0.5))

    data = BlobData(Spoilt(item), Spoilt(lambda x, y, i: (x, nest(torch.zeros(2)))), None)
    found = {f.name: f for f in ft.preflight(tiny_resnet(), data, STAGE, task=Nested())}
    assert "the target of item 3 in train" in found["not finite"].what


def test_a_nan_is_traced_to_its_row_also_where_no_batch_has_it():
    images, labels = torch.rand(200, 3, 32, 32) * 4 - 2, torch.arange(200) % 2
    images[131, 0, 0, 0] = math.inf
    data = BlobData(TensorDataset(images, labels), Blobs(8, 2), None)
    found = [f for f in ft.preflight(tiny_resnet(), data, STAGE) if f.name == "not finite"]
    assert "131" in found[0].what


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_a_nan_is_traced_to_the_optimizers_setting(key, blobs):
    model = tiny_resnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.param_groups[0][key] = math.nan
    found = only(ft.preflight(model, blobs, optimizer=optimizer))
    assert found.name == "not finite" and key in found.what


def test_a_nan_is_traced_to_the_optimizers_state(blobs):
    model = tiny_resnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    optimizer.state[model.fc.weight]["momentum_buffer"][0, 0] = math.nan
    found = only(ft.preflight(model, blobs, optimizer=optimizer))
    assert "fc.weight" in found.what and "momentum_buffer" in found.evidence


def test_a_nan_is_traced_to_the_layer_that_makes_it(blobs):
    class Root(nn.Module):
        def forward(self, x):
            return (x - 100).sqrt()

    model = tiny_resnet()
    model.layer3.add_module("root", Root())
    found = only(ft.preflight(model, blobs, STAGE))
    assert found.name == "not finite" and "layer3.root (Root)" in found.what
