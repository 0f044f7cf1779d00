"""Which place answers for which box: torchvision's rule, checked by the paper's own words."""

from __future__ import annotations

import pytest
import torch

import ftcourse as ft
from ftcourse.tasks.detection import fcos
from ftcourse.tasks.places import answering_places

BOXES = torch.tensor([[8.0, 12, 44, 40], [20, 20, 60, 70], [24, 24, 40, 36], [2, 2, 94, 94]])
TARGET = {"boxes": BOXES, "labels": torch.tensor([1, 2, 1, 2])}


@pytest.fixture(scope="module")
def model():
    return fcos(ft.load_backbone("resnet18", weights="none"), num_classes=3, size=96)


def by_the_rule(points, strides, boxes):
    """Inside of the box, within 1.5 strides of its centre, of a size for this map; of several the smallest."""
    found = []
    for (x, y), stride in zip(points.tolist(), strides.tolist(), strict=True):
        mine = []
        for k, (left, top, right, bottom) in enumerate(boxes.tolist()):
            edges = (x - left, y - top, right - x, bottom - y)
            centre = max(abs(x - (left + right) / 2), abs(y - (top + bottom) / 2))
            low = 0 if stride == 8 else 4 * stride
            high = float("inf") if stride == 64 else 8 * stride
            if min(edges) > 0 and centre < 1.5 * stride and low < max(edges) < high:
                mine.append(((right - left) * (bottom - top), k))
        found.append(min(mine)[1] if mine else -1)
    return torch.tensor(found)


def test_the_places_are_those_of_the_rule(model):
    places = answering_places(model, torch.rand(3, 96, 96), TARGET)
    strides = torch.tensor([8, 16, 32, 64])[places.maps]
    assert places.sizes == [(12, 12), (6, 6), (3, 3), (2, 2)] and len(places.points) == 193
    assert torch.equal(places.box, by_the_rule(places.points, strides, BOXES))
    assert set(places.box.tolist()) == {-1, 0, 1, 2, 3}


def test_distances_and_centreness_are_those_of_the_box(model):
    places = answering_places(model, torch.rand(3, 96, 96), TARGET)
    i = int((places.box == 1).nonzero()[0])
    x, y = places.points[i].tolist()
    left, top, right, bottom = BOXES[1].tolist()
    a, b, c, d = x - left, y - top, right - x, bottom - y
    assert places.distances[i].tolist() == pytest.approx([a, b, c, d])
    share = min(a, c) / max(a, c) * min(b, d) / max(b, d)
    assert float(places.centreness[i]) == pytest.approx(share**0.5)
    assert places.centreness[places.box < 0].isnan().all()


def test_places_of_a_photo_that_is_resized_are_told_in_its_own_pixels(model):
    large = {"boxes": 2 * BOXES, "labels": TARGET["labels"]}
    small = answering_places(model, torch.rand(3, 96, 96), TARGET)
    places = answering_places(model, torch.rand(3, 192, 192), large)
    assert torch.equal(places.box, small.box)
    assert torch.allclose(places.points, 2 * small.points)


def test_a_photo_without_a_box_has_no_place_that_answers_and_the_model_stays_as_it_was(model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert (answering_places(model, torch.rand(3, 96, 96), empty).box == -1).all()
    assert all(m.training for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.eval()
