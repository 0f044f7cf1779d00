"""Kept features: the run ends with the weights of the plain loop, and the photos are read once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import ftcourse as ft
from ftcourse.training.feature_cache import FeatureCache, _batches
from tests.conftest import BlobData, Blobs, tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "preflight": False, "device": "cpu"}
HEAD = ft.Stage("head", epochs=3, lr=1e-2)


class Counted(Dataset):
    """Blobs that count how often each photo is read."""

    def __init__(self, inner: Dataset) -> None:
        self.inner, self.targets, self.reads = inner, inner.targets, 0

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, i: int):
        self.reads += 1
        return self.inner[i]


def blobs(flip: bool = False) -> BlobData:
    return BlobData(Counted(Blobs(41, 1, flip=flip)), Counted(Blobs(20, 2)), Blobs(20, 3))


def distance(a: nn.Module, b: nn.Module) -> float:
    """The largest relative distance of two models' tensors."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(
        ((x.double() - y.double()).norm() / y.double().norm().clamp(min=1e-6)).item()
        for x, y in pairs
    )


def both(stages, flip: bool = False, **settings) -> tuple[nn.Module, nn.Module, list, list]:
    """The same run with and without the cache: models and histories."""
    kept, plain = tiny_resnet(), tiny_resnet()
    one = ft.finetune(kept, blobs(flip), stages, **{**QUIET, **settings})
    two = ft.finetune(plain, blobs(flip), stages, cache=False, **{**QUIET, **settings})
    return kept, plain, one.epochs, two.epochs


SPLITS = ["head", "layer4", ("layer4", "head"), ("layer3", "head"), ("layer1", "layer4"), "all"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("flip", [False, True], ids=["fixed", "augmented"])
@pytest.mark.parametrize("train", SPLITS, ids=str)
def test_the_weights_are_those_of_the_plain_loop(train, flip, optimizer):
    stage = ft.Stage(train, epochs=3, lr=1e-2, optimizer=optimizer)
    kept, plain, one, two = both(stage, flip)
    assert distance(kept, plain) < 2e-4
    for name in ("train_loss", "val_loss"):
        assert [r[name] for r in one] == pytest.approx([r[name] for r in two], rel=1e-4)
    assert [r["val_accuracy"] for r in one] == [r["val_accuracy"] for r in two]


def test_features_and_photos_come_in_the_same_batches_with_the_same_random_numbers():
    """Dropout behind the cut draws as in the plain loop, so the losses agree in each epoch."""

    def with_dropout() -> nn.Module:
        model = tiny_resnet()
        model.avgpool = nn.Sequential(model.avgpool, nn.Dropout(0.5))
        return model

    kept, plain = with_dropout(), with_dropout()
    one = ft.finetune(kept, blobs(), HEAD, **QUIET)
    two = ft.finetune(plain, blobs(), HEAD, cache=False, **QUIET)
    assert "avgpool.0" in one.notes[0]
    assert one.column("train_loss") == pytest.approx(two.column("train_loss"), rel=1e-5)
    assert distance(kept, plain) < 1e-5


@pytest.mark.parametrize(
    "settings", [{"ema": 0.8}, {"mix": "mixup"}, {"ema": 0.8, "mix": "cutmix"}]
)
def test_averaged_weights_and_mixed_images_give_what_the_plain_loop_gives(settings):
    stages = [ft.Stage("all", epochs=1, lr=1e-3), ft.Stage("head", epochs=2, lr=1e-2)]
    kept, plain, one, two = both(stages, **settings)
    assert distance(kept, plain) < 2e-4
    assert [r["val_loss"] for r in one] == pytest.approx([r["val_loss"] for r in two], rel=1e-4)


def test_the_average_is_judged_by_its_own_frozen_part():
    """After a stage that trained all, the average still moves where the model is frozen."""
    data = blobs()
    stages = [ft.Stage("all", epochs=1, lr=1e-2), ft.Stage("head", epochs=3, lr=1e-2)]
    ft.finetune(tiny_resnet(), data, stages, ema=0.8, **QUIET)
    assert data.val.reads == 4 * 20


@pytest.mark.parametrize("broken_after", [1, 3])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, broken_after):
    stages = [ft.Stage("head", epochs=2, lr=1e-2), ft.Stage("layer4", epochs=2, lr=1e-3)]
    unbroken, broken, fresh = tiny_resnet(), tiny_resnet(), tiny_resnet(seed=9)
    ft.finetune(unbroken, blobs(), stages, **QUIET)

    def pull_the_plug(history):
        if len(history.epochs) == broken_after + 1:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        ft.finetune(broken, blobs(), stages, out_dir=tmp_path, on_epoch=pull_the_plug, **QUIET)
    assert "forward" not in vars(broken)
    ft.finetune(fresh, blobs(), stages, out_dir=tmp_path, resume=True, **QUIET)
    assert distance(fresh, unbroken) == 0


def test_each_photo_is_read_once_but_for_the_look_whether_it_repeats():
    data = blobs()
    history = ft.finetune(tiny_resnet(), data, ft.Stage("head", epochs=6), **QUIET)
    assert data.train.reads == 41 + 6
    assert data.val.reads == 20 + 6
    assert [note.split(",")[0] for note in history.notes] == ["computed once: up to flatten"] * 2


def test_stages_with_the_same_frozen_part_share_its_output():
    data = blobs()
    stages = [ft.Stage("head", epochs=2, lr=1e-3), ft.Stage("head", epochs=2, lr=1e-4)]
    ft.finetune(tiny_resnet(), data, stages, **QUIET)
    assert data.train.reads < 2 * 41
    assert data.val.reads < 2 * 20


def test_a_later_stage_goes_on_from_features_that_an_earlier_one_kept_on_its_way():
    plan = [ft.Stage("head", 2, augment=False), ft.Stage("layer4", 2, lr=1e-3, augment=False)]
    plan += [ft.Stage(("layer3", "head"), 1, augment=False)]
    data, plain = blobs(), tiny_resnet()
    kept = tiny_resnet()
    history = ft.finetune(kept, data, plan, **QUIET)
    assert data.train.reads <= 41 + 3 * 3 * 6  # no second pass: looks whether the photos repeat
    assert data.val.reads <= 20 + 3 * 3 * 6
    places = [note.split(",")[0].split()[-1] for note in history.notes if "41 photos" in note]
    assert places == ["flatten", "layer3.0.relu", "layer2.0.relu"]
    other = ft.finetune(plain, blobs(), plan, cache=False, **QUIET)
    assert distance(kept, plain) < 2e-4
    assert history.column("val_loss") == pytest.approx(other.column("val_loss"), rel=1e-4)


@pytest.mark.parametrize("second", ["head", "all", ("layer3", "head")], ids=str)
def test_stages_that_share_nothing_ahead_train_as_in_the_plain_loop(second):
    """After layer4 has trained, what was before the cut of a stage behind it is no longer what it was."""
    plan = [ft.Stage("layer4", 2, lr=1e-2, augment=False), ft.Stage(second, 2, augment=False)]
    kept, plain, one, two = both([*plan, ft.Stage("head", 1, augment=False)])
    assert distance(kept, plain) < 2e-4
    assert [r["val_loss"] for r in one] == pytest.approx([r["val_loss"] for r in two], rel=1e-4)


def test_runs_that_share_a_cache_compute_the_frozen_part_once():
    data, cache = blobs(), FeatureCache()
    ft.finetune(tiny_resnet(), data, HEAD, cache=cache, **QUIET)
    reads = data.train.reads
    ft.finetune(tiny_resnet(), data, ft.Stage("head", lr=1e-1), cache=cache, seed=3, **QUIET)
    assert data.train.reads - reads <= 6
    ft.finetune(tiny_resnet(seed=4), data, HEAD, cache=cache, **QUIET)  # other weights
    assert data.train.reads - reads > 41


def test_augmented_photos_are_read_and_computed_in_each_epoch():
    data = blobs(flip=True)
    history = ft.finetune(tiny_resnet(), data, HEAD, **QUIET)
    assert data.train.reads >= 3 * 41
    assert history.notes[0].startswith("computed each epoch, without a graph: up to flatten")


class Noisy(Blobs):
    """Draws from a generator that nobody else sees."""

    def __getitem__(self, i: int):
        x, y = super().__getitem__(i)
        return x + random.Random().random(), y


def test_chance_that_leaves_no_trace_in_the_random_state_is_seen_too():
    data = BlobData(Noisy(16, 1), Blobs(8, 2), Blobs(8, 3))
    history = ft.finetune(tiny_resnet(), data, HEAD, **QUIET)
    assert history.notes[0].startswith("computed each epoch")


def test_views_are_drawn_once_and_used_in_turn():
    data = blobs(flip=True)
    history = ft.finetune(tiny_resnet(), data, ft.Stage("head", epochs=6), views=2, **QUIET)
    assert data.train.reads == 2 * 41 + 2
    model = ft.unfreeze(ft.freeze(tiny_resnet()), "head")
    short, _ = FeatureCache().shortcuts(model, data.train, data.val, views=2)
    seen = []
    for epoch in range(4):
        with short.taken(model, epoch):
            seen.append(torch.stack([short.data[i][0] for i in range(41)]))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    changed = (seen[0] != seen[1]).any(1).float().mean()
    assert 0.2 < changed < 0.8  # a half of the photos is flipped in one view and not in the other
    assert history.settings["views"] == 2


def test_what_does_not_fit_into_memory_goes_into_a_file_that_leaves_nothing_behind(tmp_path):
    in_memory, in_file = tiny_resnet(), tiny_resnet()
    stage = ft.Stage("layer4", epochs=2, lr=1e-2)
    ft.finetune(in_memory, blobs(), stage, **QUIET)
    cache = FeatureCache(budget=0, folder=tmp_path)
    history = ft.finetune(in_file, blobs(), stage, cache=cache, **QUIET)
    assert all(note.endswith("in a file") for note in history.notes)
    assert distance(in_file, in_memory) == 0
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_can_be_given(tmp_path):
    folder = tmp_path / "features"
    ft.finetune(tiny_resnet(), blobs(), HEAD, cache=folder, **QUIET)
    assert list(Path(folder).iterdir()) == []


def test_without_room_for_a_file_it_computes_in_each_epoch(monkeypatch):
    kept, plain = tiny_resnet(), tiny_resnet()
    cache = FeatureCache(budget=0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0}))
    history = ft.finetune(kept, blobs(), HEAD, cache=cache, **QUIET)
    assert history.notes[0].startswith("computed each epoch")
    ft.finetune(plain, blobs(), HEAD, cache=False, **QUIET)
    assert distance(kept, plain) < 2e-4


def test_a_model_that_cannot_be_cut_trains_as_it_is_and_the_reason_is_kept():
    hooked, plain = tiny_resnet(), tiny_resnet()
    calls = []
    hooked.layer2.register_forward_hook(lambda *_: calls.append(1))
    history = ft.finetune(hooked, blobs(), HEAD, **QUIET)
    ft.finetune(plain, blobs(), HEAD, cache=False, **QUIET)
    assert history.notes == ["nothing is kept: layer2 has hooks, which expect to see each step"]
    assert distance(hooked, plain) == 0
    assert len(calls) == 3 * (6 + 2)  # the head alone trains: a last batch of one does no harm


def test_a_task_that_looks_at_the_images_itself_gets_images():
    class LooksAtImages(ft.tasks.Classification):
        def forward(self, model, inputs, targets=None):
            assert inputs.shape[1:] == (3, 32, 32)
            return super().forward(model, inputs, targets)

    ft.finetune(tiny_resnet(), blobs(), HEAD, task=LooksAtImages(), **QUIET)


def test_in_between_the_model_takes_images_as_ever():
    model, data = tiny_resnet(), blobs()
    scores = []
    ft.finetune(
        model, data, HEAD, on_epoch=lambda _: scores.append(ft.evaluate(model, data.test)), **QUIET
    )
    assert len(scores) == 3
    assert "forward" not in vars(model)


def test_the_weights_come_back_in_the_layout_they_had():
    model = tiny_resnet()
    strides = {k: v.stride() for k, v in model.state_dict().items()}
    ft.finetune(model, blobs(), ft.Stage("all", epochs=1), **QUIET)
    assert {k: v.stride() for k, v in model.state_dict().items()} == strides


def test_bf16_trains_on_kept_features():
    kept = tiny_resnet()
    history = ft.finetune(kept, blobs(), HEAD, bf16=True, **QUIET)
    assert history.notes[0].startswith("computed once")
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]


def split_of(n: int, size: int = 32) -> ft.Split:
    g = torch.Generator().manual_seed(n)
    photos = torch.randint(0, 256, (n, 3, size, size), generator=g, dtype=torch.uint8)
    return ft.Split(
        photos, [i % 2 for i in range(n)], ["a", "b"], transform=lambda x: x.float() / 255
    )


def test_the_course_s_own_splits_train_alike():
    data = ft.Data(["a", "b"], train=split_of(21), val=split_of(11), test=split_of(5))
    kept, plain = tiny_resnet(), tiny_resnet()
    stages = [ft.Stage("layer4", epochs=2, augment=False), ft.Stage("head", 2, augment=False)]
    one = ft.finetune(kept, data, stages, **QUIET)
    two = ft.finetune(plain, data, stages, cache=False, **QUIET)
    assert one.notes[0].startswith("computed once")
    assert one.column("val_loss") == pytest.approx(two.column("val_loss"), rel=1e-4)
    assert distance(kept, plain) < 2e-4


@pytest.mark.parametrize(
    "device", ["cpu", "cuda"]
)  # no GPU is touched: for it a thread reads ahead
@pytest.mark.parametrize("n", [1, 8, 21])
def test_batches_have_all_photos_in_order(device, n):
    split, told = split_of(n), []
    batches = list(_batches(split, 8, torch.device(device), told.append))
    assert torch.equal(
        torch.cat([images for images, _ in batches]), torch.stack([x for x, _ in split])
    )
    assert [t for _, targets in batches for t in targets] == split.targets
    assert told == list(range(n))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in batches)


def test_batches_of_kept_features_are_channels_last_in_memory_and_from_a_file(tmp_path):
    data = ft.Data(["a", "b"], train=split_of(21, 64), val=split_of(11, 64), test=split_of(5))
    model = ft.apply_stage(tiny_resnet(), ft.Stage("layer4"))
    for cache in (FeatureCache(), FeatureCache(budget=0, folder=tmp_path)):
        learn, _ = cache.shortcuts(model, data.train, data.val)
        loader = DataLoader(learn.data, 8, collate_fn=learn.data.collate)
        features = [x for x, _ in loader]
        assert features[0].shape[1:] == learn.data.features.shape[1:] and features[0].ndim == 4
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x in features)
        assert torch.equal(torch.cat(features), learn.data.features)


def test_photos_whose_features_are_kept_are_let_go_and_read_again_when_needed(tmp_path):
    g = torch.Generator().manual_seed(0)
    for i in range(40):
        pixels = torch.randint(0, 256, (40, 48, 3), generator=g, dtype=torch.uint8)
        file = tmp_path / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(file)
    data = ft.load_data(tmp_path, size=32, audit=False)
    before = torch.stack([data.val[i][0] for i in range(len(data.val))])
    everything = data.train.images._used
    ft.finetune(
        tiny_resnet(), data, ft.Stage("head", epochs=1), **QUIET
    )  # augmented: train is needed
    without_val = data.train.images._used
    assert 0.5 * everything < without_val < everything
    history = ft.finetune(tiny_resnet(), data, ft.Stage("head", 1, augment=False), **QUIET)
    assert history.notes[0].startswith("computed once")
    assert data.train.images._used == pytest.approx(everything * len(data.test) / 40)
    assert torch.equal(torch.stack([x for x, _ in data.val]), before)


def test_an_error_while_reading_names_the_photo():
    def broken(x):
        raise ValueError("photos/7.jpg: cannot be decoded")

    data = ft.Data(["a", "b"], train=split_of(21), val=split_of(11), test=split_of(5))
    data.train.transform = broken
    with pytest.raises(ValueError, match=r"7\.jpg"):
        ft.finetune(tiny_resnet(), data, HEAD, **QUIET)


def test_a_validation_split_without_photos_is_told_as_ever():
    data = BlobData(Blobs(16, 1), Blobs(0, 2), Blobs(4, 3))
    with pytest.raises(ValueError, match="no samples"):
        ft.finetune(tiny_resnet(), data, HEAD, **QUIET)
