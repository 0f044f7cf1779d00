"""Preflight: each mistake that raises no error is planted and found; a sound set-up draws no finding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import ftcourse as ft
from tests.conftest import BlobData, Blobs, tiny_resnet


def names(*args, **kwargs) -> set[str]:
    return {finding.name for finding in ft.preflight(*args, **kwargs)}


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=lr)


SOUND = [ft.Stage("head", epochs=1, lr=1e-2), ft.Stage("all", epochs=1)]


def test_a_sound_setup_draws_no_finding(tiny, blobs):
    assert names(tiny, blobs, SOUND) == set()
    ft.train_mode(ft.unfreeze(ft.freeze(tiny), "layer4", "head"))
    assert names(tiny, blobs, optimizer=sgd(tiny)) == set()


def test_preflight_leaves_the_model_and_the_random_numbers_as_they_were(tiny, blobs):
    ft.train_mode(tiny)
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    grads = [p.requires_grad for p in tiny.parameters()]
    rng = torch.get_rng_state()
    ft.preflight(tiny, blobs, SOUND, evaluate=lambda m: m.train()(torch.randn(2, 3, 32, 32)))
    assert all(torch.equal(v, before[k]) for k, v in tiny.state_dict().items())
    assert [p.requires_grad for p in tiny.parameters()] == grads
    assert torch.equal(torch.get_rng_state(), rng)
    assert tiny.training


def test_stages_that_leave_the_head_frozen(tiny):
    assert names(tiny, stages=ft.Stage(("layer4",))) == {"head frozen"}


def test_a_frozen_head(tiny):
    assert names(ft.freeze(tiny, "head")) == {"head frozen"}


def test_freezing_after_the_head_is_replaced_and_thawing_the_module_trains_nothing(tiny):
    ft.freeze(tiny)
    tiny.fc.requires_grad = True  # sets an attribute of the module, not of its parameters
    (finding,) = ft.preflight(tiny)
    assert finding.name == "nothing trainable"
    assert "module 'fc'" in finding.evidence


def test_trainable_parameters_that_the_optimizer_lacks(tiny):
    optimizer = torch.optim.SGD(tiny.fc.parameters(), lr=0.1)
    assert names(tiny, optimizer=optimizer) == {"parameters missing from the optimizer"}


def test_an_optimizer_made_before_the_head_was_replaced(tiny):
    optimizer = sgd(tiny)
    ft.replace_head(tiny, 2)
    found = names(tiny, optimizer=optimizer)
    assert found == {"stale optimizer", "parameters missing from the optimizer"}


def test_a_learning_rate_of_zero(tiny):
    assert names(tiny, optimizer=sgd(tiny, lr=0.0)) == {"learning rate zero"}


def test_frozen_batchnorm_in_train_mode(tiny):
    ft.unfreeze(ft.freeze(tiny), "head").train()
    assert names(tiny) == {"frozen BatchNorm in train mode"}


WRONG = "inputs not normalised as the weights expect"


@pytest.mark.parametrize(
    ("spoil", "guess"),
    [
        (lambda s: s.pixels, "0 to 1, not normalised"),
        (lambda s: s.pixels * 255, "0 to 255"),
        (lambda s: (s.pixels - 0.5) / 0.5, "another mean and std"),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_inputs_normalised_otherwise_than_the_weights_expect(tiny, blobs, spoil, guess, split):
    bad = getattr(blobs, split)
    bad.images = spoil(bad)
    findings = [f for f in ft.preflight(tiny, blobs, SOUND) if f.name == WRONG]
    assert len(findings) == 1
    assert findings[0].what.startswith(split) and guess in findings[0].what


def test_a_softmax_before_cross_entropy(blobs):
    class Soft(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_resnet()

        def forward(self, x):
            return self.net(x).softmax(1)

    assert names(Soft(), blobs) == {"softmax before cross-entropy"}


def test_a_label_out_of_range(tiny, blobs):
    blobs.train.targets[3] = 2
    assert "label out of range" in names(tiny, blobs, SOUND)


def test_a_head_with_another_number_of_classes(blobs):
    assert names(tiny_resnet(5), blobs, SOUND) == {"wrong number of classes"}


def test_a_loss_far_above_log_c(tiny, blobs):
    with torch.no_grad():
        tiny.fc.bias += torch.tensor([0.0, 40.0])
    assert "loss far from log C at step 0" in names(tiny, blobs)


def test_a_learning_rate_that_is_too_high(tiny, blobs):
    assert names(tiny, blobs, ft.Stage("head", lr=50.0, optimizer="sgd")) == {
        "learning rate too high"
    }


def test_photos_that_are_in_train_and_validation(tiny, blobs, tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(bytes([i % 3]))  # 0 and 3 are copies
    blobs.train.paths = [tmp_path / "0.jpg", tmp_path / "1.jpg"]
    blobs.val.paths = [tmp_path / "2.jpg", tmp_path / "3.jpg"]
    (finding,) = ft.preflight(tiny, blobs, SOUND)
    assert finding.name == "train and validation overlap"
    assert "1 of 2" in finding.evidence and "3.jpg" in finding.evidence


def test_validation_in_train_mode(tiny):
    loader = DataLoader(Blobs(8, 1), 4)
    assert names(tiny, evaluate=lambda m: ft.evaluate(m, loader)) == set()

    def careless(model):
        model.train()
        with torch.no_grad():
            return [model(x) for x, _ in loader]

    assert names(tiny, evaluate=careless) == {"validation in train mode"}


def test_finetune_prints_findings_and_keeps_them(tiny, capsys):
    data = BlobData(Blobs(16, 1), Blobs(8, 2), Blobs(8, 3))
    data.train.images = data.train.pixels
    history = ft.finetune(tiny, data, ft.Stage("head", epochs=1), progress=False)
    assert [f["name"] for f in history.findings] == [WRONG]
    printed = capsys.readouterr().out
    assert "train inputs are not normalised" in printed
    assert "do:" in printed


def test_a_loss_that_rises_between_epochs_is_told_while_training():
    from ftcourse.preflight import while_training

    rows = [
        {"epoch": 1, "train": "all", "train_loss": 0.5},
        {"epoch": 2, "train": "all", "train_loss": 1.4},
    ]
    (finding,) = while_training(ft.History(epochs=rows))
    assert finding.name == "learning rate too high"
    assert while_training(ft.History(epochs=rows[::-1])) == []
