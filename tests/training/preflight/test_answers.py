"""What `finetune` sees in the answers of its own validation: classes that change places, and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

import ftcourse as ft
from ftcourse.tasks.task import Classification
from ftcourse.training.preflight import Answers, Evidence, before_training, while_training
from tests.conftest import BlobData, tiny_resnet

OTHERWISE = "classes numbered differently"
QUIET = {"device": "cpu", "progress": False}


def told(table, train=0.9):
    """What is told of an epoch with this table; the accuracy is well above that of guessing."""
    answers = Answers()
    answers.table = torch.tensor(table)
    row = {"epoch": 2, "train": "head", "train_loss": 0.4} | {
        "train_accuracy": train,
        "val_accuracy": 0.9,
    }
    data = BlobData(None, range(100), None, tuple(range(len(table))))
    return while_training(ft.History(epochs=[row]), data, answers)


def test_two_of_four_classes_that_change_places_are_told_with_the_count():
    (found,) = told([[30, 0, 2, 0], [0, 2, 25, 0], [1, 27, 1, 0], [0, 1, 2, 30]])
    assert found.name == OTHERWISE and "63 of 121" in found.evidence
    assert "112 with 2 -> 1, 1 -> 2" in found.evidence


@pytest.mark.parametrize(
    "table",
    [
        [[30, 1, 2], [0, 28, 3], [1, 1, 25]],  # right
        [[0, 0, 0], [30, 8, 30], [0, 0, 0]],  # everything taken for one class
        [[3, 0, 0], [27, 9, 20], [0, 21, 10]],  # 0 is taken for 1 and 1 for 2, but 2 not for 0
        [[14, 16, 0], [16, 14, 0], [0, 0, 30]],  # two classes that look alike
        [[1, 3, 0], [3, 1, 0], [0, 0, 4]],  # few photos
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
    ],
)
def test_other_mistakes_are_not_taken_for_exchanged_classes(table):
    assert told(table) == []


def test_a_network_that_does_not_know_its_training_photos_tells_nothing():
    table = [[2, 28, 0], [28, 2, 0], [0, 0, 30]]
    assert len(told(table, train=0.6)) == 1 and told(table, train=0.45) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 8).flatmap(lambda n: st.permutations(range(n))), st.integers(0, 2**31))
def test_any_exchange_is_told_and_a_network_that_guesses_never(order, seed):
    n, g = len(order), torch.Generator().manual_seed(seed)
    clear = torch.randint(0, 4, (n, n), generator=g)
    for label, answer in enumerate(order):
        clear[answer, label] = 40
    assert len(told(clear.tolist())) == (list(order) != list(range(n)))
    guesses = torch.randint(0, n, (2, 40 * n), generator=g)
    table = torch.bincount(guesses[0] * n + guesses[1], minlength=n * n).view(n, n)
    assert told(table.tolist()) == []


def test_the_table_counts_answers_by_label_and_the_task_is_left_as_it_was():
    outputs, targets = torch.randn(50, 4), torch.randint(0, 4, (50,))
    answers, task = Answers(), Classification()
    with answers.noted(task):
        noted = task.metrics([(outputs[:30], targets[:30]), (outputs[30:], targets[30:])])
    assert noted == Classification().metrics([(outputs, targets)]) and vars(task).keys() == {
        "criterion",
        "smoothing",
    }
    said = outputs.argmax(1)
    for i in range(4):
        for j in range(4):
            assert answers.table[i, j] == ((said == i) & (targets == j)).sum()
    task.metrics([(outputs, (targets + 1) % 4)])
    assert answers.table.sum() == 50 and answers.table.trace() == (said == targets).sum()


def places(n: int, seed: int) -> TensorDataset:
    """Noise with a bright patch in one of three places, whose number is the label."""
    g = torch.Generator().manual_seed(seed)
    x, y = 0.3 * torch.randn(n, 3, 32, 32, generator=g), torch.arange(n) % 3
    for i, label in enumerate(y.tolist()):
        x[i, label, 10 * label : 10 * label + 10] += 2.0
    return TensorDataset(x, y)


@pytest.mark.parametrize("swapped", [False, True])
def test_finetune_tells_once_that_two_of_three_classes_change_places_and_else_nothing(swapped):
    train, val = places(60, 1), places(60, 2)
    if swapped:
        x, y = val.tensors
        val = TensorDataset(x, torch.where(y == 2, 2, 1 - y))
    data = BlobData(train, val, None, ("a", "b", "c"))
    stage = ft.Stage("all", epochs=4, lr=1e-2)
    history = ft.finetune(tiny_resnet(3), data, stage, batch_size=12, **QUIET)
    assert [f["name"] for f in history.findings] == [OTHERWISE] * swapped


@pytest.mark.parametrize(
    ("classes", "photos", "val", "is_told"),
    [
        *((3, 30, 0.33, True), (3, 30, 0.9, False), (3, 30, 0.55, False)),
        (3, 29, 0.33, False),  # too few to tell it from bad luck
        (2, 400, 0.5, False),  # a network of two classes may be as bad as that
    ],
)
def test_a_network_that_knows_its_training_photos_and_guesses_all_others_is_told(
    classes, photos, val, is_told
):
    row = {"epoch": 1, "train": "head", "train_loss": 0.4, "train_accuracy": 0.9}
    data = BlobData(None, range(photos), None, tuple(range(classes)))
    found = while_training(ft.History(epochs=[row | {"val_accuracy": val}]), data)
    assert [f.name for f in found] == ["validation no better than guessing"] * is_told


# -- before a run -------------------------------------------------------------------------------


class Counted(TensorDataset):
    """Counts how often a photo is read."""

    reads = 0

    def __getitem__(self, i):
        self.reads += 1
        return super().__getitem__(i)


def test_before_a_run_few_photos_are_read_and_by_preflight_itself_more():
    train, val = (Counted(*places(300, seed).tensors) for seed in (1, 2))
    data, stages = BlobData(train, val, None, ("a", "b", "c")), [ft.Stage("head")]
    assert before_training(tiny_resnet(3), data, stages, batch_size=8, task=Classification()) == []
    assert train.reads == 8 and val.reads == 8 + 8  # a batch of each; those of val once more
    ft.preflight(tiny_resnet(3), data, stages, batch_size=8)
    assert min(train.reads, val.reads) >= 60


@pytest.mark.parametrize(("classes", "rows"), [(2, 64), (10, 200), (40, 320)])
def test_twenty_photos_a_class_are_probed_within_bounds(classes, rows):
    split = TensorDataset(torch.randn(400, 3, 8, 8), torch.arange(400) % classes)
    data = BlobData(split, split, None, tuple(range(classes)))
    features, labels = Evidence(tiny_resnet(classes), data).probed("train")
    assert len(features) == len(labels) == rows


def test_what_is_dear_is_asked_by_preflight_alone():
    train, val = places(90, 1), places(90, 2)
    data = BlobData(train, TensorDataset(val.tensors[0], (val.tensors[1] + 1) % 3), None, "abc")
    stages = [ft.Stage("head")]
    assert [f.name for f in ft.preflight(tiny_resnet(3), data, stages)] == [OTHERWISE]
    assert before_training(tiny_resnet(3), data, stages, batch_size=32, task=Classification()) == []
