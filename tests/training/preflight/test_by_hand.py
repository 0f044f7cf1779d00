"""Mistakes in loops by hand, on a network small enough for each to take a moment; the bench has larger ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import Subset

import ftcourse as ft
from ftcourse.tasks.task import Classification
from tests.conftest import BlobData, Blobs, tiny_resnet
from tests.training.preflight.programs import Changed, Program, adamw, sgd


def program(**parts) -> Program:
    """A sound program, but for these parts."""
    model = parts.pop("model", None) or tiny_resnet()
    data = BlobData(Blobs(64, 1), Blobs(40, 2), Blobs(8, 3))
    changes = {"model": ft.train_mode(model), "data": data, "optimizer": adamw(model, 1e-3)}
    return Program(**changes | parts)


def told(**parts) -> set[str]:
    return {finding.name for finding in program(**parts).findings()}


def watched(**parts) -> set[str]:
    """What is told of the training function alone."""
    p = program(**parts)
    found = ft.preflight(p.model, optimizer=p.optimizer, train=p.train, epochs=p.epochs)
    return {finding.name for finding in found}


def test_the_program_is_sound_as_it_stands():
    assert told() == watched() == set()


@pytest.mark.parametrize(
    ("order", "name"),
    [
        ("fbs", "gradients not cleared"),
        ("fbzs", "gradients cleared before the step"),
        ("zfs", "no gradient"),
        ("zfb", "no step"),
        ("zfbss", "step without a gradient of its own"),
        ("f|bs", "one step an epoch"),
    ],
)
def test_steps_of_a_batch_that_are_missing_or_in_another_order(order, name):
    assert watched(order=order) == {name}


def test_a_step_before_the_backward_pass_of_its_batch():
    found = watched(order="zfsb")
    assert "gradients cleared before the step" in found or "step before backward" in found


def test_batches_are_counted_where_a_loop_calls_the_model_in_two_ways():
    def tried_first(model):
        model.eval()(torch.zeros(2, 3, 32, 32))
        ft.train_mode(model)

    parts = {"mode": tried_first, "forward": lambda model, x: model.forward(x)}
    assert watched(**parts) == set()
    assert watched(order="f|bs", **parts) == {"one step an epoch"}


def detached(model, x):
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    x = model.layer3(model.layer2(model.layer1(x))).detach()
    return model.fc(model.avgpool(model.layer4(x)).flatten(1))


def test_layers_whose_gradient_is_lost_on_the_way():
    assert watched(forward=detached) == {"gradient lost on the way"}
    frozen = ft.unfreeze(ft.freeze(tiny_resnet()), "layer4", "head")
    assert watched(model=frozen, forward=detached) == set()


def test_weights_that_do_not_move():
    model = tiny_resnet()
    assert watched(model=model, optimizer=sgd(model, 1e-12)) == {"nothing moves"}
    assert watched(
        after_backward=lambda m: nn.utils.clip_grad_norm_(m.parameters(), 1e-9),
        model=model,
        optimizer=sgd(model),
    ) == {"nothing moves"}


def test_frozen_weights_that_an_old_optimizer_moves():
    model = tiny_resnet()
    optimizer = sgd(model, momentum=0.9)
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    ft.train_mode(ft.freeze(model, "layer3"))
    keep = optimizer.zero_grad
    optimizer.zero_grad = lambda: keep(set_to_none=False)
    assert "frozen weights move" in watched(model=model, optimizer=optimizer)


@pytest.mark.parametrize(
    ("kind", "options", "order", "inside", "epochs"),
    [
        (lr_scheduler.StepLR, {"step_size": 1, "gamma": 0.1}, "zfbsc", 1, 10),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 3}, "zfbsc", 1, 3),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 50}, "zfbs|c", 1, 5),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 50}, "czfbs", 1, 50),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 5}, "zfbs", 3, 5),
        (lr_scheduler.OneCycleLR, {"max_lr": 1e-3, "total_steps": 35}, "zfbs|c", 1, None),
    ],
)
def test_a_schedule_that_is_stepped_at_the_wrong_time(kind, options, order, inside, epochs):
    model = tiny_resnet()
    optimizer = adamw(model, 1e-3)
    scheduler = kind(optimizer, **options)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "inside": inside}
    assert watched(order=order, epochs=epochs, **parts) == {"schedule stepped wrongly"}


@pytest.mark.parametrize(
    ("kind", "options", "order"),
    [
        (lr_scheduler.CosineAnnealingLR, {"T_max": 35}, "zfbsc"),
        (lr_scheduler.CosineAnnealingLR, {"T_max": 5}, "zfbs|c"),
        (lr_scheduler.OneCycleLR, {"max_lr": 1e-3, "total_steps": 35}, "zfbsc"),
        (lr_scheduler.LambdaLR, {"lr_lambda": lambda i: min(1.0, i / 20)}, "zfbsc"),
    ],
)
def test_a_schedule_that_is_stepped_as_it_was_made(kind, options, order):
    model = tiny_resnet()
    optimizer = adamw(model, 1e-3)
    parts = {"model": model, "optimizer": optimizer, "scheduler": kind(optimizer, **options)}
    assert watched(order=order, epochs=5, **parts) == set()


def by_class(split):
    return Subset(split, sorted(range(len(split)), key=lambda i: split.targets[i]))


def test_batches_in_the_order_of_the_classes():
    data = BlobData(by_class(Blobs(64, 1)), Blobs(40, 2), None)
    assert told(data=data, shuffle=False) == {"batches sorted by class"}
    assert told(data=data) == set()


@pytest.mark.parametrize(
    ("batch", "name"),
    [
        (lambda x, y: (x.roll(1, 0), y), "labels do not belong to the photos"),
        (lambda x, y: (x.flip(1), y), "channels in another order"),
        (lambda x, y: (40 * x + 100, y), "inputs not normalised as the weights expect"),
    ],
)
def test_what_a_loop_does_to_its_batches(batch, name):
    assert name in told(batch=batch)


def test_photos_and_labels_that_are_shuffled_by_one_permutation_belong_together():
    assert told(batch=lambda x, y: (x.roll(1, 0), y.roll(1, 0))) == set()


def reshaped(x):
    """The same numbers, by all operations that change nothing else."""
    return x.unsqueeze(1).squeeze(1).clone().double().reshape(-1).view(x.shape)


@pytest.mark.parametrize(
    ("forward", "loss", "name"),
    [
        (lambda m, x: m(x).softmax(1), F.cross_entropy, "softmax before cross-entropy"),
        (lambda m, x: reshaped(m(x).softmax(1)), F.cross_entropy, "softmax before cross-entropy"),
        (lambda m, x: m(x).relu(), F.cross_entropy, "activation before the loss"),
        (lambda m, x: m(x) + 1, F.nll_loss, "logits where log-probabilities belong"),
    ],
)
def test_outputs_that_the_loss_does_not_expect(forward, loss, name):
    assert watched(forward=forward, loss=loss) == {name}


def test_log_probabilities_belong_to_nll_loss():
    assert watched(loss=lambda o, y: F.nll_loss(o.log_softmax(1), y)) == set()


OUTWEIGHED = "label smoothing outweighs the labels"


def test_class_weights_that_label_smoothing_turns_round():
    def loss(ratio):
        weight = torch.tensor([1.0, ratio])
        return lambda o, y: F.cross_entropy(o, y, weight, label_smoothing=0.1)

    assert watched(loss=loss(40.0)) == {OUTWEIGHED} and watched(loss=loss(10.0)) == set()


def test_a_task_with_such_a_loss_is_told_and_classification_which_weighs_otherwise_is_not(
    tiny, blobs
):
    weight, task = torch.tensor([1.0, 40.0]), Classification()
    assert ft.preflight(tiny, blobs, ft.Stage("head"), task=Classification(0.1, weight)) == []
    task.criterion = nn.CrossEntropyLoss(weight, label_smoothing=0.1)
    (found,) = ft.preflight(tiny, blobs, ft.Stage("head"), task=task)
    assert found.name == OUTWEIGHED


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"drop_last": True}, "validation leaves photos out"),
        ({"judged_split": "train"}, "validation on the training photos"),
        (
            {"judged": lambda x: F.interpolate(x, scale_factor=2)},
            "validation photos of another size",
        ),
        ({"judged": lambda x: x.flip(1)}, "channels in another order"),
        ({"judged_mode": lambda model: model.train()}, "validation in train mode"),
    ],
)
def test_what_a_validation_does(parts, name):
    data = BlobData(Blobs(64, 1), Blobs(40, 2), None)
    if "judged_split" in parts:
        parts = {"judged_split": data.train}
    assert name in told(data=data, **parts)


@pytest.mark.parametrize("photos", [33, 64])
def test_the_mean_of_batches_that_are_not_of_one_size(photos):
    val = Blobs(photos, 2)
    val.targets = [0] * 32 + [1] * (photos - 32)  # as different as batches can be
    data = BlobData(Blobs(64, 1), val, None)
    name = "mean of unequal batches"
    assert (name in told(data=data, average="batches")) is (photos == 33)
    assert name not in told(data=data)


def test_classes_of_which_training_has_no_photo():
    train = Blobs(64, 1)
    one = Subset(train, [i for i in range(64) if train.targets[i] == 0])
    data = BlobData(one, Blobs(40, 2), None)
    assert told(data=data) >= {"classes without training photos"}


def test_validation_that_is_another_one_each_time():
    wild = Changed(Blobs(40, 2), lambda x, y, i: (x + 0.1 * torch.randn(()), y))
    assert told(data=BlobData(Blobs(64, 1), wild, None)) == {"validation is random"}
    late = Changed(Blobs(40, 2), lambda x, y, i: (x.flip(2) if torch.rand(()) < 0.5 else x, y))
    assert told(data=BlobData(Blobs(64, 1), late, None)) == {"validation is random"}
