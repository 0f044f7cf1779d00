"""Preflight: each mistake that raises no error is planted and found; a sound set-up draws no finding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import models

import ftcourse as ft
from ftcourse.tasks.task import Classification
from ftcourse.training.preflight.inputs import IMAGENET
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


def test_a_frozen_transformer_whose_norms_nobody_has_taught():
    model = models.VisionTransformer(32, 8, 3, 2, 64, 256, num_classes=2)
    assert names(model, stages=ft.Stage("head")) == {"weights not loaded"}
    for m in model.modules():
        if isinstance(m, nn.LayerNorm):
            nn.init.uniform_(m.weight, 0.5, 1.5)
    assert names(model, stages=ft.Stage("head")) == set()


def test_a_frozen_layer_of_zeros_has_learnt_nothing_either():
    body = nn.Sequential(nn.Flatten(), nn.Linear(3072, 40), nn.ReLU(), nn.Linear(40, 400))
    model = nn.Sequential(body, nn.Linear(400, 2))
    nn.init.zeros_(body[1].weight)
    assert names(model, stages=ft.Stage("head")) == {"weights not loaded"}


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
        (lambda s: s.pixels / 0.225, "another mean and std"),  # the mean was forgotten
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_inputs_normalised_otherwise_than_the_weights_expect(tiny, blobs, spoil, guess, split):
    bad = getattr(blobs, split)
    bad.images = spoil(bad)
    findings = [f for f in ft.preflight(tiny, blobs, SOUND) if f.name == WRONG]
    assert len(findings) == 1
    assert findings[0].what.startswith(split) and guess in findings[0].what


@pytest.mark.parametrize(("side", "is_told"), [(16, True), (32, False), (40, False), (64, True)])
def test_validation_photos_of_another_size(tiny, blobs, side, is_told):
    blobs.val.images = nn.functional.interpolate(blobs.val.images, side)
    found = [f for f in ft.preflight(tiny, blobs, SOUND) if "size" in f.name]
    assert [f.name for f in found] == ["validation photos of another size"] * is_told
    assert all("32 x 32 pixels in training" in f.evidence for f in found)


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
    blobs.train.paths = [tmp_path / f"{i % 2}.jpg" for i in range(40)]
    blobs.val.paths = [tmp_path / f"{2 + i % 2}.jpg" for i in range(20)]
    (finding,) = ft.preflight(tiny, blobs, SOUND)
    assert finding.name == "train and validation overlap"
    assert "10 of 20" in finding.evidence and "3.jpg" in finding.evidence


def test_validation_in_train_mode(tiny):
    loader = DataLoader(Blobs(8, 1), 4)
    assert names(tiny, evaluate=lambda m: ft.evaluate(m, loader)) == set()

    def careless(model):
        model.train()
        with torch.no_grad():
            return [model(x) for x, _ in loader]

    assert names(tiny, evaluate=careless) == {"validation in train mode"}


def test_validation_is_watched_as_an_epoch_of_training_leaves_the_model(tiny):
    ft.freeze(tiny, "stem").eval()  # as it was loaded; the loop's train mode is what matters

    def forgets_eval(model):
        with torch.no_grad():
            return [model(x) for x, _ in DataLoader(Blobs(8, 1), 4)]

    assert names(tiny, evaluate=forgets_eval) == {"validation in train mode"}
    assert not tiny.training


# -- a hand-written loop is watched ---------------------------------------------------------------


def loop(optimizer, *, mode=ft.train_mode, clear=True, every=1, after_backward=lambda model: None):
    """A training function, sound as it stands."""

    def train(model):
        mode(model)
        for i, (x, y) in enumerate(DataLoader(Blobs(40, 1), 4)):
            nn.functional.cross_entropy(model(x), y).backward()
            after_backward(model)
            if i % every == every - 1:
                optimizer.step()
                if clear:
                    optimizer.zero_grad()

    return train


def half_frozen(tiny):
    ft.unfreeze(ft.freeze(tiny), "layer4", "head")
    return sgd(tiny, lr=0.05)


@pytest.mark.parametrize("every", [1, 2])
def test_a_sound_training_function_draws_no_finding(tiny, blobs, every):
    optimizer = half_frozen(tiny)
    train = loop(optimizer, every=every)  # a step every two batches: accumulation on purpose
    found = names(
        tiny, blobs, optimizer=optimizer, train=train, evaluate=lambda m: ft.evaluate(m, blobs.val)
    )
    assert found == set()


@pytest.mark.parametrize(
    "clip",
    [
        lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.01),
        lambda m: nn.utils.clip_grad_value_(m.parameters(), 1e-3),
    ],
)
def test_clipped_gradients_are_not_taken_for_old_ones(tiny, clip):
    optimizer = half_frozen(tiny)
    assert names(tiny, optimizer=optimizer, train=loop(optimizer, after_backward=clip)) == set()


def test_gradients_that_are_never_cleared(tiny):
    optimizer = half_frozen(tiny)
    (found,) = ft.preflight(tiny, optimizer=optimizer, train=loop(optimizer, clear=False))
    assert found.name == "gradients not cleared" and "of the first 4 steps" in found.evidence


def test_training_that_wakes_frozen_batchnorm(tiny):
    optimizer = half_frozen(tiny)
    train = loop(optimizer, mode=lambda model: model.train())
    (found,) = ft.preflight(tiny, optimizer=optimizer, train=train)
    assert found.name == "frozen BatchNorm in train mode" and "bn1" in found.evidence


def test_watching_a_training_function_leaves_no_trace(tiny):
    optimizer = torch.optim.AdamW(tiny.parameters(), lr=0.1)
    before = {k: v.clone() for k, v in tiny.state_dict().items()}
    ft.preflight(tiny, optimizer=optimizer, train=loop(optimizer, mode=lambda m: m.train()))
    assert all(torch.equal(v, before[k]) for k, v in tiny.state_dict().items())
    assert not optimizer.state_dict()["state"]
    assert all(p.grad is None for p in tiny.parameters())
    assert not tiny.training


def test_a_training_function_needs_its_optimizer(tiny):
    with pytest.raises(ValueError, match="needs optimizer="):
        ft.preflight(tiny, train=lambda model: None)


# -- the learning rate, judged by how far pre-trained weights go ----------------------------------


@pytest.fixture(scope="module")
def pocket():
    """A pre-trained network whose head is new, and photos that fit it."""
    photos = BlobData(Blobs(16, 1), Blobs(8, 2), Blobs(8, 3))
    return ft.load_backbone("resnet18", num_classes=2), photos


def adam(model, lr):
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)


@pytest.mark.parametrize(("lr", "found"), [(5e-4, set()), (1e-2, {"learning rate too high"})])
def test_a_rate_that_throws_pretrained_weights_away(pocket, lr, found):
    model, photos = pocket
    ft.unfreeze(ft.freeze(model), "layer4", "head")
    assert names(model, photos, optimizer=adam(model, lr), batch_size=8) == found
    stage = ft.Stage("layer4", lr=lr, head_lr=1e-2)
    assert names(model, photos, stage, batch_size=8) == found


def test_a_head_may_learn_fast_and_random_weights_may_go_far(pocket, blobs):
    model, photos = pocket
    assert names(model, photos, ft.Stage("head", lr=1e-2), batch_size=8) == set()
    scratch = ft.load_backbone("resnet18", weights=None, num_classes=2)
    assert "learning rate too high" not in names(scratch, photos, ft.Stage("all", lr=1e-2))


# -- classes that train and val number differently ------------------------------------------------

OTHERWISE = "classes numbered differently"


def many():
    """Photos whose brightness tells the class, also to random features."""
    data = BlobData(Blobs(64, 1), Blobs(40, 2), Blobs(8, 3))
    for split in (data.train, data.val):
        dark = 1 - 0.5 * torch.tensor(split.targets).view(-1, 1, 1, 1)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in IMAGENET)
        split.images = (split.pixels * dark - mean) / std
    return data


def test_classes_that_are_numbered_in_another_order(tiny):
    data = many()
    assert names(tiny, data) == set()
    data.val.targets = [1 - t for t in data.val.targets]
    (found,) = ft.preflight(tiny, data)
    assert found.name == OTHERWISE and "0 -> 1, 1 -> 0" in found.evidence


def test_labels_that_mean_nothing_and_few_photos_are_not_called_swapped(tiny):
    for seed in range(10):
        data = many()
        g = torch.Generator().manual_seed(seed)
        data.val.targets = torch.randint(2, (40,), generator=g).tolist()
        assert names(tiny, data) <= {"labels do not belong to the photos"}
    data.val = Blobs(8, 2)
    data.val.targets = [1 - t for t in data.val.targets]
    assert names(tiny, data) == set()


def test_an_accuracy_far_below_that_of_guessing_is_told_while_training():
    from ftcourse.training.preflight import while_training

    def row(val):
        return {"epoch": 1, "train": "head", "train_loss": 0.4, "train_accuracy": 0.9} | {
            "val_accuracy": val
        }

    data = many()
    (found,) = while_training(ft.History(epochs=[row(0.15)]), data)
    assert found.name == OTHERWISE and "0.15 on 40" in found.evidence
    for luck in (0.35, 0.5, 0.9):
        assert while_training(ft.History(epochs=[row(luck)]), data) == []


def test_finetune_tells_of_swapped_classes_once(tiny, capsys):
    data = many()
    data.val.targets = [1 - t for t in data.val.targets]
    history = ft.finetune(tiny, data, ft.Stage("all", epochs=4, lr=1e-2), progress=False)
    assert [f["name"] for f in history.findings] == [OTHERWISE]
    assert capsys.readouterr().out.count("preflight:") == 1


def test_subsets_of_an_image_folder_that_share_files(tiny, tmp_path):
    from torch.utils.data import Subset
    from torchvision.datasets import FakeData, ImageFolder

    from ftcourse.data.transforms import eval_transforms

    for i, (image, _) in enumerate(FakeData(8, (3, 40, 40), 2)):
        (tmp_path / str(i % 2)).mkdir(exist_ok=True)
        image.save(tmp_path / str(i % 2) / f"{i}.png")
    folder = ImageFolder(str(tmp_path), transform=eval_transforms(32))
    apart = BlobData(Subset(folder, range(5)), Subset(folder, range(5, 8)), folder)
    assert "train and validation overlap" not in names(tiny, apart)
    shared = BlobData(Subset(folder, range(6)), Subset(folder, range(5, 8)), folder)
    (found,) = [f for f in ft.preflight(tiny, shared) if f.name == "train and validation overlap"]
    assert "1 of 3" in found.evidence


def test_a_batch_has_both_classes_where_they_take_turns():
    from ftcourse.tasks.task import Classification
    from ftcourse.training.preflight.check import batch_of

    data = Blobs(127, 1)  # every second of 127 would be of one class
    assert len(batch_of(data, 64, Classification())[1].unique()) == 2


def test_finetune_prints_findings_and_keeps_them(tiny, capsys):
    data = BlobData(Blobs(16, 1), Blobs(8, 2), Blobs(8, 3))
    data.train.images = data.train.pixels
    history = ft.finetune(tiny, data, ft.Stage("head", epochs=1), progress=False)
    assert [f["name"] for f in history.findings] == [WRONG]
    printed = capsys.readouterr().out
    assert "train inputs are not normalised" in printed
    assert "do:" in printed


def test_a_loss_that_rises_between_epochs_is_told_while_training():
    from ftcourse.training.preflight import while_training

    rows = [
        {"epoch": 1, "train": "all", "train_loss": 0.5},
        {"epoch": 2, "train": "all", "train_loss": 1.4},
    ]
    (finding,) = while_training(ft.History(epochs=rows))
    assert finding.name == "learning rate too high"
    assert while_training(ft.History(epochs=rows[::-1])) == []


# -- no false alarms on what the package itself does ----------------------------------------------


@pytest.mark.parametrize("from_scratch", [False, True])
def test_the_default_recipes_draw_no_finding(from_scratch):
    from ftcourse.training.preflight import before_training
    from ftcourse.training.recipes import recipe

    model = ft.load_backbone("resnet18", weights=None if from_scratch else "pocket")
    preset = ft.ResNet18_Pocket_Weights.DEFAULT.transforms(crop_size=64, resize_size=73)
    photos = ft.load_data("pocket-insects", transform=preset, progress=False)
    ft.replace_head(model, len(photos.classes))
    shape = len(photos.train), len(photos.classes)
    plans = {s: recipe(s, *shape, from_scratch=from_scratch) for s in ("head", "layer4", "full")}
    stages = {repr(replace(s, epochs=1)): s for plan in plans.values() for s in plan}
    for (
        stage
    ) in stages.values():  # also those that preflight does not try: each as if it came first
        found = before_training(model, photos, [stage], batch_size=16, task=Classification())
        told = {f.name for f in found} - {"head frozen"}
        # what nobody has taught anything must not be frozen
        assert told == ({"weights not loaded"} if from_scratch and stage.train != "all" else set())
    if not from_scratch:
        assert ft.preflight(model, photos, plans["full"], batch_size=16) == []
