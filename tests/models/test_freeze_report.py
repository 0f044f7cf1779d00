"""Freezing in any order, and how its report reads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ftcourse as ft
from ftcourse.models.freezing import FreezeReport, freeze_report, is_frozen
from tests.conftest import tiny_resnet

GROUPS = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
orders = st.tuples(
    st.sampled_from(["freeze", "unfreeze"]), st.lists(st.sampled_from(GROUPS), max_size=3)
)


def group_of(name: str) -> str:
    first = name.split(".")[0]
    return {"conv1": "stem", "bn1": "stem", "fc": "head"}.get(first, first)


@settings(max_examples=25, deadline=None)
@given(st.lists(orders, max_size=5), st.booleans())
def test_a_group_is_as_the_last_order_that_named_it_left_it(sequence, training):
    model = tiny_resnet().train(training)
    trains = dict.fromkeys(GROUPS, True)
    for order, named in sequence:
        assert getattr(ft, order)(model, *named) is model
        trains |= dict.fromkeys(named or GROUPS, order == "unfreeze")
    assert all(p.requires_grad is trains[group_of(n)] for n, p in model.named_parameters())
    if not sequence:
        return
    rests: set[str] = set()  # what is frozen, with all that is in it; a model in eval mode stays so
    for name, module in model.named_modules():
        frozen = name and list(module.parameters()) and not trains[group_of(name)]
        if frozen or name.rpartition(".")[0] in rests:
            rests.add(name)
        assert module.training is (training and name not in rests), name


def test_an_unknown_name_among_known_ones_switches_nothing():
    model = tiny_resnet()
    with pytest.raises(ValueError, match="no layer group 'neck'"):
        ft.freeze(model, "stem", "neck")
    assert all(p.requires_grad for p in model.parameters())


def a_row(group: str, **more) -> dict:
    row = {"group": group, "parameters": 1234, "trainable": 0, "in_optimizer": None}
    return row | {"batchnorm": "-", "moved": None, "stats_moved": None} | more


TABLE = """\
group   parameters  trainable  in optimizer  BatchNorm  weights moved  statistics moved
---------------------------------------------------------------------------------------
stem         1,234          0             -  eval                   -                 0
layer1       1,000      1,000         1,000  train              0.012               1.5
head            12         12             0  -                    new                 -
---------------------------------------------------------------------------------------
all          2,246      1,012         1,000                                            """


def test_the_report_reads_as_a_table_with_a_row_a_group_and_their_sums():
    report = FreezeReport(
        [
            a_row("stem", batchnorm="eval", stats_moved=0.0),
            a_row("layer1", parameters=1000, trainable=1000, in_optimizer=1000, batchnorm="train",
                  moved=0.0123, stats_moved=1.5),
            a_row("head", parameters=12, trainable=12, in_optimizer=0, moved="new"),
        ]
    )  # fmt: skip
    assert str(report) == repr(report) == TABLE
    assert report.trainable == 1012
    assert report.to_dict() == {"rows": report.rows}


def test_without_an_optimizer_there_is_no_count_of_what_it_holds():
    report = freeze_report(tiny_resnet())
    assert {row["in_optimizer"] for row in report.rows} == {None}
    assert str(report).splitlines()[-1].split()[3:] == ["-"]
    empty = freeze_report(tiny_resnet(), torch.optim.SGD([torch.zeros(1)], lr=1))
    assert {row["in_optimizer"] for row in empty.rows} == {0}


def test_the_modes_of_batchnorm_are_told_also_where_they_are_mixed():
    model = tiny_resnet().eval()
    model.layer1.train()
    model.layer2[0].bn1.train()
    modes = {row["group"]: row["batchnorm"] for row in freeze_report(model).rows}
    assert modes == dict.fromkeys(GROUPS, "eval") | {
        "layer1": "train", "layer2": "mixed", "head": "-"
    }  # fmt: skip


def test_how_far_weights_and_statistics_moved_is_relative_to_those_loaded():
    model = ft.load_backbone("resnet18", weights=None, num_classes=2)
    rows = {row["group"]: row for row in freeze_report(model).rows}
    assert {row["moved"] for row in rows.values()} == {0, "new"} and rows["head"]["moved"] == "new"
    assert {row["stats_moved"] for row in rows.values()} == {0, None}  # the head has none
    with torch.no_grad():
        for p in model.layer3.parameters():
            p.mul_(-1)  # twice its own length away
        for name, b in model.layer2.named_buffers():
            if name.endswith("running_var"):
                b.add_(1)  # from 1 to 2, and the means from 0 to 0: all of the length there was
            if name.endswith("num_batches_tracked"):
                b.add_(1000)  # a counter is no statistic
    rows = {row["group"]: row for row in freeze_report(model).rows}
    assert rows["layer3"]["moved"] == pytest.approx(2) and rows["layer3"]["stats_moved"] == 0
    assert rows["layer2"]["stats_moved"] == pytest.approx(1) and rows["layer2"]["moved"] == 0


def test_in_a_wrapper_it_is_the_network_inside_that_was_loaded():
    model = ft.load_backbone("resnet18", weights=None, num_classes=2)
    with torch.no_grad():
        model.conv1.weight.mul_(2)
    assert freeze_report(torch.nn.DataParallel(model)).rows == freeze_report(model).rows
    assert freeze_report(model).rows[0]["moved"] > 0.1


def test_of_a_network_that_this_package_did_not_load_nobody_knows_where_it_began():
    assert {row["moved"] for row in freeze_report(tiny_resnet()).rows} == {None}


def test_a_module_is_frozen_if_it_has_weights_of_its_own_and_none_of_them_trains():
    layer = torch.nn.Linear(2, 2)
    assert not is_frozen(layer)
    layer.bias.requires_grad = False
    assert not is_frozen(layer)
    layer.weight.requires_grad = False
    assert is_frozen(layer)
    assert not is_frozen(torch.nn.Sequential(layer)) and not is_frozen(torch.nn.ReLU())
