"""An epoch by itself, and what `finetune` says and does around its epochs."""

from __future__ import annotations

import inspect
import random
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.tasks.task import Classification
from ftcourse.training import loop
from ftcourse.training.feature_cache import KeptFeatures
from tests.conftest import BlobData, Blobs, tiny_resnet

QUIET = {"progress": False, "preflight": False, "device": "cpu"}


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))


def some_photos(n: int = 10) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(n, 3, 2, 2, generator=generator), torch.arange(n) % 3)


def still(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-12)  # so that each batch sees the same network


@pytest.mark.parametrize("batch_size", [3, 4, 10])
def test_an_epoch_is_averaged_over_samples_also_where_batches_differ_in_size(batch_size):
    model, photos = linear(), some_photos()
    x, y = photos.tensors
    found = ft.train_one_epoch(model, DataLoader(photos, batch_size), still(model))
    assert list(found) == ["loss", "accuracy"]
    assert found["loss"] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((model(x).argmax(1) == y).float().mean().item())
    assert found["accuracy"] != pytest.approx(found["loss"])


def test_another_loss_is_taken_and_the_model_trains_in_train_mode():
    model = nn.Sequential(linear(), nn.Dropout(0.0)).eval()
    found = ft.train_one_epoch(
        model,
        DataLoader(some_photos(), 5),
        still(model),
        lambda outputs, goals: outputs.sum() * 0 + 7,
    )
    assert found["loss"] == pytest.approx(7) and all(m.training for m in model.modules())


class Called:
    """Counts its calls, as a scheduler's step, an average's update and a callback after each batch."""

    def __init__(self) -> None:
        self.steps = self.updates = self.calls = 0

    def step(self) -> None:
        self.steps += 1

    def update_parameters(self, model: nn.Module) -> None:
        assert self.updates < self.steps  # after the step of the optimizer and of the scheduler
        self.updates += 1

    def __call__(self) -> None:
        self.calls += 1
        assert self.calls == self.updates


def test_after_each_batch_the_rate_moves_then_the_average_then_the_callback_is_called():
    model, seen = linear(), Called()
    loader = DataLoader(some_photos(), 3)
    ft.train_one_epoch(model, loader, still(model), scheduler=seen, ema=seen, on_batch=seen)
    assert seen.steps == seen.updates == seen.calls == 4


def test_each_step_is_taken_on_the_gradient_of_its_batch_alone():
    model, twin, photos = linear(), linear(), some_photos()
    ft.train_one_epoch(model, DataLoader(photos, 4), torch.optim.SGD(model.parameters(), lr=0.5))
    for x, y in DataLoader(photos, 4):
        grads = torch.autograd.grad(F.cross_entropy(twin(x), y), list(twin.parameters()))
        with torch.no_grad():
            for p, g in zip(twin.parameters(), grads, strict=True):
                p -= 0.5 * g
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_mixed_photos_are_learnt_with_mixed_targets_and_judged_by_the_targets_themselves():
    model, photos = linear(), some_photos()
    x, y = photos.tensors

    def backwards(images, targets):
        return images.flip(0), F.one_hot(targets.flip(0), 3).float()

    found = ft.train_one_epoch(model, DataLoader(photos, 10), still(model), mix=backwards)
    assert found["loss"] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)
    right = (model(x.flip(0)).argmax(1) == y).float().mean().item()
    assert found["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize(("bf16", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_in_bfloat16_the_forward_pass_is_and_nothing_else(bf16, dtype):
    model, seen = linear(), set()
    model[1].register_forward_hook(lambda module, args, output: seen.add(output.dtype))
    ft.train_one_epoch(model, DataLoader(some_photos(), 5), still(model), bf16=bf16)
    assert seen == {dtype} and {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_predictions_come_in_the_order_of_the_data_whatever_the_batches(batch_size):
    model, photos = linear().train(), some_photos()
    x, y = photos.tensors
    logits, targets = ft.predict(model, photos, batch_size=batch_size)
    assert torch.allclose(logits, model(x), atol=1e-6) and torch.equal(targets, y)
    assert not logits.requires_grad and model.training
    found = ft.evaluate(model, DataLoader(photos, batch_size))
    assert found["loss"] == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-5)
    assert found["samples"] == 10


# -- around the epochs -------------------------------------------------------------------------


def blob_data() -> BlobData:
    return BlobData(Blobs(16, 1), Blobs(8, 2), Blobs(8, 3))


def test_without_settings_a_run_looks_for_mistakes_shows_a_bar_and_keeps_what_it_can(capsys):
    data = blob_data()
    data.train.images = data.train.images * 60  # a mistake that is told
    history = ft.finetune(tiny_resnet(), data, ft.Stage("head", epochs=2), device="cpu")
    told = capsys.readouterr()
    assert history.findings and history.findings[0]["what"] in told.out
    assert (
        "2/2" in told.err
        and f"head: val accuracy {history.epochs[1]['val_accuracy']:.3f}" in told.err
    )
    silent = ft.finetune(tiny_resnet(), data, ft.Stage("head", epochs=2), **QUIET)
    assert silent.findings == [] and capsys.readouterr() == ("", "")
    for one in (history, silent):
        assert (one.settings["batch_size"], one.settings["seed"]) == (32, 0)


def test_what_finetune_does_unless_it_is_told_otherwise():
    defaults = {
        name: p.default
        for name, p in inspect.signature(ft.finetune).parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }
    for name in ("resume", "bf16"):
        assert defaults.pop(name) is False
    for name in ("cache", "preflight", "progress"):
        assert defaults.pop(name) is True
    numbers = {"batch_size": 32, "seed": 0, "label_smoothing": 0.0, "num_workers": 0}
    assert numbers == {name: defaults.pop(name) for name in numbers}
    assert set(defaults.values()) == {None}


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_true_answer_after_an_epoch_ends_the_run_and_any_other_does_not(answer):
    seen = []

    def on_epoch(history):
        seen.append(len(history.epochs))
        return answer

    stages = [ft.Stage("head", epochs=2), ft.Stage("head", epochs=1)]
    history = ft.finetune(tiny_resnet(), blob_data(), stages, on_epoch=on_epoch, **QUIET)
    assert seen == ([1] if answer else [1, 2, 3])
    assert history.stopped == ("stopped on request after epoch 1" if answer else "")


@pytest.mark.parametrize(
    ("after", "said"),
    [(1, "interrupted in epoch 1: .* began with"), (3, "interrupted after epoch 1")],
)
def test_a_true_answer_after_a_batch_ends_the_run_at_once(after, said):
    calls = []

    def on_batch():
        calls.append(1)
        return len(calls) == after

    model = tiny_resnet()
    before = model.fc.weight.clone()
    stage = ft.Stage("head", epochs=3)
    history = ft.finetune(model, blob_data(), stage, batch_size=8, on_batch=on_batch, **QUIET)
    assert len(calls) == after and len(history.epochs) == after // 2
    assert re.match(said, history.stopped)
    assert torch.equal(model.fc.weight, before) is (after == 1)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_stage_ends_after_so_many_epochs_without_a_better_one(patience, monkeypatch):
    scores = iter([0.5, 0.6, 0.4, 0.4, 0.4, 0.4, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1])
    real = loop.evaluate
    monkeypatch.setattr(
        loop, "evaluate", lambda *a, **k: real(*a, **k) | {"accuracy": next(scores)}
    )
    stages = [ft.Stage("head", epochs=6), ft.Stage("head", epochs=2)]
    history = ft.finetune(tiny_resnet(), blob_data(), stages, early_stopping=patience, **QUIET)
    in_first = sum(row["stage"] == 1 for row in history.epochs)
    assert in_first == 2 + patience  # the second was the best
    assert history.epochs[-1]["stage"] == 2


def test_weights_come_back_in_the_layout_they_had():
    model = tiny_resnet()
    ft.finetune(model, blob_data(), ft.Stage("all", epochs=1), **QUIET)
    assert all(p.is_contiguous() for p in model.parameters())
    assert not model.training


# -- its helpers -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_balanced_weights_give_each_class_that_is_there_the_same_say(targets):
    data = BlobData(
        TensorDataset(torch.zeros(len(targets), 1), torch.tensor(targets)), None, None, "abcd"
    )
    weights = loop._class_weights("balanced", data)
    counts = np.bincount(targets, minlength=4)
    for weight, n in zip(weights.tolist(), counts, strict=True):
        assert weight == pytest.approx(len(targets) / (4 * max(1, n)))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("even", "use 'balanced', a tensor, or None"),
        ([1.0, 2.0], r"shape \(2,\), expected \(4,\)"),
        ([1.0, -1.0, 1.0, 1.0], "at least 0, and not all 0"),
        ([0.0] * 4, "at least 0, and not all 0"),
        ([float("nan"), 1.0, 1.0, 1.0], "weights are finite"),
    ],
)
def test_class_weights_that_make_no_sense_are_refused(choice, said):
    with pytest.raises(ValueError, match=said):
        loop._class_weights(choice, BlobData(None, None, None, "abcd"))


def test_class_weights_may_be_none_or_zero_for_some():
    data = BlobData(None, None, None, "ab")
    assert loop._class_weights(None, data) is None
    assert loop._class_weights([0, 2], data).tolist() == [0.0, 2.0]


def test_mixing_is_torchvisions_with_as_many_classes():
    assert loop._mixer(None, 3) is None
    for name, kind in (("mixup", v2.MixUp), ("cutmix", v2.CutMix)):
        mixer = loop._mixer(name, 3)
        assert type(mixer) is kind and mixer.num_classes == 3
    with pytest.raises(ValueError, match="use 'mixup', 'cutmix' or None"):
        loop._mixer("mix", 3)


def draws(seed: int, epoch: int) -> tuple:
    loader = DataLoader(some_photos(), generator=torch.Generator())
    loop._seed(seed, epoch, loader)
    shuffled = torch.randperm(50, generator=loader.generator).tolist()
    return random.random(), np.random.random(), torch.rand(()).item(), *shuffled[:5]


def test_each_epoch_of_each_seed_draws_numbers_of_its_own_in_every_library():
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        assert draws(1, 2) == draws(1, 2)
        others = [draws(seed, epoch) for seed in (0, 1, 2**31) for epoch in (0, 1, 2)]
        for column in zip(*(other[:4] for other in others), strict=True):
            assert len(set(column[:3])) == 3
        assert len(set(others)) == 9
    finally:
        random.setstate(kept[0]), np.random.set_state(kept[1]), torch.set_rng_state(kept[2])


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [(None, None, ""), (3, None, "photo 3 of data.train"), (None, 0, "photo 0 of data.val"),
     (0, 0, "photo 0 of data.train")],
)  # fmt: skip
def test_the_first_photo_that_is_not_finite_is_named(train, val, said):
    splits = []
    for bad in (train, val):
        x = torch.zeros(5, 2)
        if bad is not None:
            x[bad:, 1] = torch.nan if bad else torch.inf
        splits.append(TensorDataset(x, torch.zeros(5)))
    assert loop._first_bad(*splits) == said


def test_the_search_for_it_ends_after_its_time(monkeypatch):
    monkeypatch.setattr(loop, "PATIENCE", -1)
    bad = TensorDataset(torch.full((2, 1), torch.nan), torch.zeros(2))
    assert loop._first_bad(bad, bad) == ""


class Changes:
    """Item k of it is another one each time."""

    def __init__(self, k: int, n: int = 9) -> None:
        self.k, self.n = k, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int):
        return (torch.rand(3) if i == self.k else torch.ones(3)), 0


def test_of_the_first_four_items_the_first_that_changes_is_found():
    assert [loop._changing(Changes(k)) for k in range(6)] == [0, 1, 2, 3, None, None]
    assert loop._changing(Changes(9)) is None and loop._changing(Changes(0, n=1)) == 0


@pytest.mark.parametrize(
    ("n", "batch_size", "pairs", "batches"),
    [(9, 4, True, [4, 4]), (9, 4, False, [4, 4, 1]), (1, 4, True, [1]), (8, 4, True, [4, 4]),
     (10, 4, True, [4, 4, 2]), (4, 4, True, [4]), (5, 4, True, [4])],
)  # fmt: skip
def test_a_last_batch_of_one_is_left_out_where_pairs_are_needed(n, batch_size, pairs, batches):
    task = Classification()
    loader = loop._loader(some_photos(n), batch_size, task, pairs=pairs)
    assert [len(y) for _, y in loader] == batches
    assert loader.generator is None  # in order
    shuffled = loop._loader(some_photos(n), batch_size, task, shuffle=True)
    assert isinstance(shuffled.generator, torch.Generator)


def test_a_task_makes_its_batches_itself_and_kept_features_are_given_out_as_they_lie():
    class Listed(Classification):
        collate = staticmethod(list)

    assert next(iter(loop._loader(some_photos(3), 2, Listed())))[1][1] == 1
    features = torch.zeros(4, 6, 5, 5).contiguous(memory_format=torch.channels_last)
    kept = KeptFeatures(features, [0, 1, 2, 0])
    for batch, _ in loop._loader(kept, 2, Classification()):
        assert batch.is_contiguous(memory_format=torch.channels_last)


class OnAnotherDevice(TensorDataset):
    """Says that it can move to a device; what comes out there is given."""

    def on(self, device: torch.device) -> list:
        return [(self.there, 0)] if isinstance(self.there, Tensor) else self.there


@pytest.mark.parametrize("there", [[], torch.zeros(3, 2, 2)], ids=["an error", "on the CPU"])
def test_photos_stay_where_a_transform_cannot_be_computed_on_a_gpu(there):
    split = OnAnotherDevice(*some_photos().tensors)
    split.there = there
    for device in ("cpu", "cuda"):
        assert loop._transformed_on(split, torch.device(device)) is split


def test_a_data_set_that_knows_no_devices_stays_as_it_is():
    photos = some_photos()
    assert loop._transformed_on(photos, torch.device("cuda")) is photos
