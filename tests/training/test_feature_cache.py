"""Kept features: the run ends with the weights of the plain loop, and the photos are read once."""

from __future__ import annotations

import errno
import gc
import os
import random
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.training import feature_cache, frozen_prefix
from ftcourse.training.feature_cache import FeatureCache, _batches, _folder_on_disk, _in_memory
from tests.conftest import BlobData, Blobs, tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "preflight": False, "device": "cpu"}
HEAD = ft.Stage("head", epochs=3, lr=1e-2)


class Counted(Dataset):
    """Blobs that count how often each photo is read."""

    def __init__(self, inner: Dataset) -> None:
        self.inner, self.targets, self.reads = inner, inner.targets, 0
        self.repeats = inner.repeats

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
    plan += [ft.Stage(train, 1, augment=False) for train in ("layer4", ("layer3", "head"))]
    data, plain = blobs(), tiny_resnet()
    kept = tiny_resnet()
    history = ft.finetune(kept, data, plan, **QUIET)
    assert data.train.reads <= 41 + 4 * 6  # no second pass: looks whether the photos repeat
    assert data.val.reads <= 20 + 4 * 6
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
    assert data.train.reads == 3 * 41  # no BatchNorm trains, so all are used; nobody else reads
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
    assert data.train.reads == 2 * 41 + 3
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


def test_views_are_drawn_by_the_seed_of_the_run_alone():
    model, train = ft.apply_stage(tiny_resnet(), HEAD), Blobs(12, 1, flip=True)

    def drawn(seed: int, drawn_before: int) -> torch.Tensor:
        torch.manual_seed(drawn_before)
        short, _ = FeatureCache().shortcuts(model, train, Blobs(4, 2), views=2, seed=seed)
        return short.data.features

    assert torch.equal(drawn(1, 0), drawn(1, 5))
    assert not torch.equal(drawn(1, 0), drawn(2, 0))


def test_views_kept_on_the_way_for_a_later_stage_give_the_same_features():
    plan = [ft.Stage("head", augment=False), ft.Stage("layer4", augment=False)]
    model, train = ft.apply_stage(tiny_resnet(), plan[0]), Blobs(12, 1, flip=True)
    before, kept = dict(vars(train)), []
    for stages in (plan, plan[:1]):
        cache = FeatureCache()
        later = cache.look_ahead(model, stages)
        short, _ = cache.shortcuts(model, train, Blobs(4, 2), views=2, later=later)
        kept.append(short.data.features)
    torch.testing.assert_close(*kept)
    assert vars(train) == before


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

    history = ft.finetune(tiny_resnet(), blobs(), HEAD, task=LooksAtImages(), **QUIET)
    assert ["in its own way" in note for note in history.notes] == [True]


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


def test_bf16_is_for_what_trains_and_not_for_what_is_judged():
    model = ft.apply_stage(tiny_resnet(), HEAD)
    splits = Blobs(12, 1), Blobs(8, 2)
    plain = [short.data.features for short in FeatureCache().shortcuts(model, *splits)]
    learn, judge = FeatureCache().shortcuts(model, *splits, bf16=True)
    assert learn.data.features.dtype is torch.bfloat16
    torch.testing.assert_close(learn.data.features.float(), plain[0], atol=0.05, rtol=0.05)
    assert torch.equal(judge.data.features, plain[1])


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x.float() / 255


scaled.repeats = True  # a transform of our own says so


def split_of(n: int, size: int = 32, transform=scaled) -> ft.Split:
    g = torch.Generator().manual_seed(n)
    photos = torch.randint(0, 256, (n, 3, size, size), generator=g, dtype=torch.uint8)
    return ft.Split(photos, [i % 2 for i in range(n)], ["a", "b"], transform=transform)


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


@pytest.mark.parametrize(
    ("device", "any_thread", "beside"),
    [("cpu", True, False), ("cuda", True, True), ("cuda", False, False)],
)
def test_another_thread_reads_photos_for_a_gpu_where_the_data_allows_it(device, any_thread, beside):
    def noting(x: torch.Tensor) -> torch.Tensor:
        readers.add(threading.get_ident())
        return scaled(x)

    readers: set[int] = set()
    split = split_of(8, transform=noting)
    split.any_thread = any_thread
    list(_batches(split, 4, torch.device(device)))
    assert len(readers) == 1 and (threading.get_ident() not in readers) is beside


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


# -- data that does not say that it repeats itself, or says it wrongly -----------------------------


class Flips:
    """As albumentations does: a transform with a generator of its own, seeded from the system's chance."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(2) if self.rng.random() < 0.2 else x


class Album(Dataset):
    """A data set of somebody else, who knows nothing of this package."""

    def __init__(self, n: int, seed: int, transform=None) -> None:
        self.blobs, self.transform = Blobs(n, seed), transform
        self.targets = self.blobs.targets

    def __len__(self) -> int:
        return len(self.blobs)

    def __getitem__(self, i: int):
        x, y = self.blobs[i]
        return (self.transform(x) if self.transform else x), y


def test_augmentation_with_a_generator_of_its_own_is_never_frozen():
    """Three items out of which none is flipped prove nothing; so nothing is concluded from items."""
    for _ in range(20):
        data = BlobData(Album(16, 1, Flips()), Album(8, 2), Blobs(8, 3))
        cache = FeatureCache()
        model = ft.apply_stage(tiny_resnet(), ft.Stage("head"))
        learn, judge = cache.shortcuts(model, data.train, data.val)
        assert learn.data is data.train
        assert judge.data is data.val
    assert all("computed each epoch" in note for note in cache.notes)


def test_the_note_tells_how_foreign_data_says_that_it_repeats_itself():
    data = BlobData(Album(16, 1), Album(8, 2), Blobs(8, 3))
    history = ft.finetune(tiny_resnet(), data, HEAD, **QUIET)
    assert "Album does not say" in history.notes[0]
    assert "set its attribute: repeats = True" in history.notes[0]
    data.train.repeats = data.val.repeats = True
    history = ft.finetune(tiny_resnet(), data, HEAD, **QUIET)
    assert [note.split(",")[0] for note in history.notes] == ["computed once: up to flatten"] * 2


class DrawsLate(Blobs):
    """Says that it repeats itself, but draws a number for one item that nobody looks at first."""

    def __getitem__(self, i: int):
        x, y = super().__getitem__(i)
        return (x + torch.rand(()) if i == 5 else x), y


def test_chance_in_any_item_is_seen_when_all_have_been_read():
    kept, plain = tiny_resnet(), tiny_resnet()
    history = ft.finetune(kept, BlobData(DrawsLate(16, 1), Blobs(8, 2), Blobs(8, 3)), HEAD, **QUIET)
    assert "computed each epoch" in history.notes[0]
    assert "draws random numbers" in history.notes[0]
    data = BlobData(DrawsLate(16, 1), Blobs(8, 2), Blobs(8, 3))
    ft.finetune(plain, data, HEAD, cache=False, **QUIET)
    assert distance(kept, plain) < 2e-4


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_looking_at_data_leaves_everybody_s_random_numbers_alone(draw):
    class Draws(Blobs):
        def __getitem__(self, i: int):
            draw()
            return super().__getitem__(i)

    def number(cache: bool) -> float:
        random.seed(0)
        np.random.seed(0)
        data = BlobData(Draws(16, 1), Blobs(8, 2), Blobs(8, 3))
        ft.finetune(tiny_resnet(), data, HEAD, cache=cache, **QUIET)
        return draw()

    assert number(True) == number(False)


# -- nothing stale -----------------------------------------------------------------------------


def with_leaky_relu(model, data):
    model.relu = nn.LeakyReLU(0.3)


def with_another_eps(model, data):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps = 0.1


def with_pixels_changed(model, data):
    data.train.inner.images.mul_(0.5)
    data.val.inner.images.mul_(0.5)


def turned(labels: list) -> None:
    labels[:] = [1 - label for label in labels]


def with_targets_changed(model, data):
    turned(data.train.inner.targets)


@pytest.mark.parametrize(
    "change",
    [with_leaky_relu, with_another_eps, with_pixels_changed, with_targets_changed],
)
def test_a_shared_cache_gives_nothing_of_before_a_change(change):
    cache, data = FeatureCache(), blobs()
    ft.finetune(tiny_resnet(), data, HEAD, cache=cache, **QUIET)
    kept, plain = tiny_resnet(), tiny_resnet()
    change(kept, data)
    one = ft.finetune(kept, data, HEAD, cache=cache, **QUIET)
    other = blobs()
    change(plain, other)
    two = ft.finetune(plain, other, HEAD, cache=False, **QUIET)
    assert one.notes[0].startswith("computed once")
    assert one.column("val_loss") == pytest.approx(two.column("val_loss"), rel=1e-4)
    assert distance(kept, plain) < 2e-4


def test_a_transform_that_is_replaced_again_and_again_never_gives_another_one_s_features():
    """Its address in memory may be that of one before it; it is not what it is known by."""
    photos = split_of(3, transform=None)
    model, cache = ft.apply_stage(tiny_resnet(), ft.Stage("head")), FeatureCache()
    for shift in range(60):
        transform = v2.Compose(
            [v2.ToDtype(torch.float32, scale=True), v2.Normalize([shift / 60] * 3, [1.0] * 3)]
        )
        photos = photos.with_transform(transform)
        learn, _ = cache.shortcuts(model, photos, photos)
        x = torch.stack([photos[i][0] for i in range(3)])
        torch.testing.assert_close(learn.data.features, learn.cut.prefix(model)(x))
        del transform
    assert len(cache._kept) <= 2  # of what is gone nothing is held


CHANGES = {
    "labels": lambda model, data: turned(data.train.inner.targets),
    "pixels": lambda model, data: data.train.inner.images.mul_(0.5),
    "validation": lambda model, data: data.val.inner.images.mul_(0.5),
    "frozen weights": lambda model, data: model.layer1[0].conv1.weight.data.mul_(1.5),
    "statistics": lambda model, data: model.layer1[0].bn1.running_mean.add_(0.3),
    "a module": lambda model, data: setattr(model, "relu", nn.LeakyReLU(0.3)),
    "a setting": lambda model, data: setattr(model.layer2[0].bn1, "eps", 0.3),
    "what trains": lambda model, data: model.layer1.requires_grad_(True),
}


@pytest.mark.parametrize("flip", [False, True], ids=["fixed", "augmented"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_callback_changes_between_epochs_has_its_effect(change, flip):
    def run(cache: bool) -> tuple[nn.Module, ft.History]:
        model, data = tiny_resnet(), blobs(flip)

        def callback(history) -> None:
            if len(history.epochs) == 1:
                change(model, data)

        settings = {**QUIET, "cache": cache, "on_epoch": callback}
        return model, ft.finetune(model, data, HEAD, **settings)

    (kept, one), (plain, two) = run(True), run(False)
    assert one.column("train_loss") == pytest.approx(two.column("train_loss"), rel=1e-4)
    assert one.column("val_loss") == pytest.approx(two.column("val_loss"), rel=1e-4)
    assert distance(kept, plain) < 2e-4
    if not (flip and change is CHANGES["labels"]) and not (flip and change is CHANGES["pixels"]):
        assert any("changed" in note for note in one.notes)


def test_labels_of_a_split_that_a_callback_corrects_are_learnt():
    def run(cache: bool) -> list[float]:
        data = ft.Data(["a", "b"], train=split_of(21), val=split_of(11), test=split_of(5))

        def callback(history) -> None:
            turned(data.train.targets)

        settings = {**QUIET, "cache": cache, "on_epoch": callback}
        return ft.finetune(tiny_resnet(), data, HEAD, **settings).column("train_loss")

    assert run(True) == pytest.approx(run(False), rel=1e-4)


# -- compared with the model -------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True], ids=["fixed", "augmented"])
def test_a_wrong_fusion_is_found_by_the_first_batch_and_training_goes_on_right(monkeypatch, flip):
    def careless(conv, norm, layout):  # forgets the shift
        fused = right(conv, norm, layout)
        fused.bias = nn.Parameter(torch.full_like(fused.bias, 0.5))
        return fused

    right = frozen_prefix._fused
    monkeypatch.setattr(frozen_prefix, "_fused", careless)
    kept, plain, *_ = both(HEAD, flip)
    assert distance(kept, plain) < 1e-6
    history = ft.finetune(tiny_resnet(), blobs(flip), HEAD, **QUIET)
    assert any("do not compute what the whole does" in note for note in history.notes)
    assert {f["name"] for f in history.findings} == {"shortcut refused"}
    assert "features differ" in history.findings[0]["evidence"]


def test_a_right_shortcut_leaves_no_finding():
    for flip in (False, True):
        assert ft.finetune(tiny_resnet(), blobs(flip), HEAD, **QUIET).findings == []


class MixesRows(nn.Module):
    """What it says of an image depends on the others in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = self.body(x).mean((2, 3))
        return self.fc(x - x.mean(0))


@pytest.mark.parametrize("flip", [False, True], ids=["fixed", "augmented"])
def test_features_that_depend_on_the_batch_are_not_kept(flip):
    torch.manual_seed(0)
    kept = MixesRows()
    plain = MixesRows()
    plain.load_state_dict(kept.state_dict())
    ft.finetune(kept, blobs(flip), HEAD, **QUIET)
    ft.finetune(plain, blobs(flip), HEAD, cache=False, **QUIET)
    assert distance(kept, plain) < 1e-6


@pytest.mark.parametrize("train", ["head", "all"])
def test_a_network_with_more_heads_in_training_trains_as_in_the_plain_loop(train):
    def run(cache: bool) -> nn.Module:
        torch.manual_seed(0)
        model = models.googlenet(weights=None, init_weights=False, num_classes=2)
        stage = ft.Stage(train, epochs=1, lr=1e-3, augment=False)
        ft.finetune(
            model, BlobData(Blobs(6, 1), Blobs(3, 2), Blobs(3, 3)), stage, cache=cache, **QUIET
        )
        return model

    if train == "all":
        run(True)
    else:
        assert distance(run(True), run(False)) < 2e-4


@pytest.mark.parametrize("augment", [False, True])
def test_a_vision_transformer_trains_its_head_as_in_the_plain_loop(augment):
    def run(cache: bool) -> tuple[nn.Module, list[str]]:
        torch.manual_seed(0)
        model = models.VisionTransformer(32, 8, 2, 2, 16, 32, dropout=0.1, num_classes=2)
        stage = ft.Stage("head", epochs=3, lr=1e-2, augment=augment)
        history = ft.finetune(model, blobs(flip=augment), stage, cache=cache, **QUIET)
        return model, history.notes

    (kept, notes), (plain, _) = run(True), run(False)
    assert any("up to getitem" in note for note in notes)
    assert distance(kept, plain) < 2e-4


def test_why_nothing_is_kept_of_a_network_is_told():
    class Unknown(nn.Module):
        def forward(self, x):
            return x

    model = nn.Sequential(Unknown(), tiny_resnet())
    body = [f"1.{name}" for name, _ in model[1].named_children() if name != "fc"]
    model.ftcourse_groups = {"body": body, "head": ["1.fc"]}
    history = ft.finetune(model, blobs(), HEAD, **QUIET)
    assert history.notes == ["nothing is kept: 0 (Unknown) is not known to repeat itself"]
    history = ft.finetune(tiny_resnet(), blobs(), ft.Stage("all", epochs=1), **QUIET)
    assert history.notes == []  # nothing is frozen


# -- room --------------------------------------------------------------------------------------


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def no_folder(monkeypatch, tmp_path):
    (tmp_path / "a_file").write_text("")
    return tmp_path / "a_file" / "inside"


def on_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "posix_fallocate", full_disk, raising=False)
    return tmp_path


def on_a_full_disk_of_another_system(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(feature_cache.os, "write", full_disk)
    return tmp_path


def with_all_folders_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(feature_cache, "_in_memory", lambda folder: True)


ROOMS = [no_folder, on_a_full_disk, on_a_full_disk_of_another_system, with_all_folders_in_memory]


@pytest.mark.parametrize("room", ROOMS)
def test_without_room_for_features_it_computes_in_each_epoch_and_says_why(
    room, monkeypatch, tmp_path
):
    folder = room(monkeypatch, tmp_path)
    kept, plain = tiny_resnet(), tiny_resnet()
    cache = FeatureCache(budget=0, folder=folder)
    history = ft.finetune(kept, blobs(), HEAD, cache=cache, **QUIET)
    assert all(note.startswith("computed each epoch") for note in history.notes)
    assert all("file" in n or "room" in n or "memory" in n for n in history.notes)
    monkeypatch.undo()
    ft.finetune(plain, blobs(), HEAD, cache=False, **QUIET)
    assert distance(kept, plain) < 2e-4
    assert [f.name for f in tmp_path.iterdir() if f.suffix == ".bin"] == []


def test_features_take_a_gib_of_memory_and_a_folder_that_may_have_to_be_made(tmp_path):
    assert FeatureCache().budget == 2**30  # as docs/speed.md says
    cache = FeatureCache(budget=0, folder=tmp_path / "not" / "there")
    cache.shortcuts(ft.apply_stage(tiny_resnet(), HEAD), Blobs(12, 1), Blobs(8, 2))
    assert [note.split()[-1] for note in cache.notes] == ["file"] * 2


def test_a_file_that_cannot_be_removed_while_it_is_used_is_removed_with_the_cache(
    monkeypatch, tmp_path
):
    def in_use(*_):
        raise PermissionError("used by another process")

    cache = FeatureCache(budget=0, folder=tmp_path)
    with monkeypatch.context() as windows:
        windows.setattr(feature_cache.os, "unlink", in_use)
        cache.shortcuts(ft.apply_stage(tiny_resnet(), HEAD), Blobs(12, 1), Blobs(8, 2))
    assert len(list(tmp_path.iterdir())) == 2
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_files_of_earlier_runs_are_let_go_where_the_disk_has_no_room(monkeypatch, tmp_path):
    cache, data = FeatureCache(budget=0, folder=tmp_path), [blobs(), blobs()]
    size = (41 + 20) * 64 * 4

    def disk(_) -> SimpleNamespace:
        return SimpleNamespace(free=1.5 * size - sum(e.features.nbytes for e in cache._kept))

    monkeypatch.setattr("shutil.disk_usage", disk)
    for one in data:
        history = ft.finetune(tiny_resnet(), one, HEAD, cache=cache, **QUIET)
        assert all(note.endswith("in a file") for note in history.notes)


@pytest.mark.parametrize("reserved", [True, False], ids=["at once", "by writing zeros"])
def test_a_mapped_file_has_its_room_on_the_disk_before_anything_is_written(
    monkeypatch, tmp_path, reserved
):
    """A sparse file would end the process, without a word, once another program has filled the disk."""
    if not reserved:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    taken = []
    from_file = torch.from_file

    def look(name, **settings):
        taken.append((os.stat(name).st_blocks * 512, os.stat(name).st_size))
        return from_file(name, **settings)

    monkeypatch.setattr(torch, "from_file", look)
    model = ft.apply_stage(tiny_resnet(), ft.Stage("layer4"))
    learn, _ = FeatureCache(budget=0, folder=tmp_path).shortcuts(model, Blobs(40, 1), Blobs(8, 2))
    assert len(taken) == 2
    assert all(blocks >= size > 0 for blocks, size in taken)
    assert taken[0][1] == learn.data.features.numel() * 4


def test_a_folder_in_memory_is_not_taken_for_a_disk(monkeypatch, tmp_path):
    mounts = f"/dev/sda / ext4 rw 0 0\ntmpfs {tmp_path}/in\\040memory tmpfs rw 0 0\n"
    mounts += f"/dev/sdb {tmp_path}/in\\040memory/disk xfs rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda self, *_: mounts)
    assert _in_memory(tmp_path / "in memory" / "deep")
    assert not _in_memory(tmp_path / "in memory" / "disk" / "deep")
    assert not _in_memory(tmp_path / "in memory, not")
    (tmp_path / "in memory").mkdir()
    monkeypatch.setattr(feature_cache.tempfile, "gettempdir", lambda: f"{tmp_path}/in memory")
    assert _folder_on_disk() != tmp_path / "in memory"


def test_where_the_system_does_not_tell_a_folder_is_taken_for_one_on_a_disk(monkeypatch, tmp_path):
    def missing(*_):
        raise FileNotFoundError("/proc/self/mounts")

    monkeypatch.setattr(Path, "read_text", missing)
    assert not _in_memory(tmp_path)


def test_what_earlier_runs_kept_is_let_go_where_there_is_no_room_the_oldest_first():
    one = FeatureCache()
    ft.finetune(tiny_resnet(), blobs(), HEAD, cache=one, **QUIET)
    cache = FeatureCache(budget=2 * one.used)  # what both take, to the byte
    seen, data = [], [blobs() for _ in range(3)]
    for i in (0, 1, 0, 2, 0, 1):  # the first is used most recently when the third comes
        before = data[i].train.reads
        history = ft.finetune(tiny_resnet(), data[i], HEAD, cache=cache, **QUIET)
        seen.append(data[i].train.reads - before > 41)
        assert all(note.endswith("in memory") for note in history.notes)
        assert cache.used <= cache.budget
    assert seen == [True, True, False, True, False, True]


def test_features_of_data_that_is_gone_are_let_go():
    cache = FeatureCache()
    for _ in range(5):
        ft.finetune(tiny_resnet(), blobs(), HEAD, cache=cache, **QUIET)
    gc.collect()
    ft.finetune(tiny_resnet(), blobs(), HEAD, cache=cache, **QUIET)
    assert len(cache._kept) <= 4


def test_what_this_run_kept_is_not_let_go_for_more_of_it(tmp_path):
    cache = FeatureCache(folder=tmp_path)
    ft.finetune(tiny_resnet(), blobs(), HEAD, cache=cache, **QUIET)
    cache = FeatureCache(
        budget=cache.used - 1, folder=tmp_path
    )  # train has room, val beside it has not
    history = ft.finetune(tiny_resnet(), blobs(), HEAD, cache=cache, **QUIET)
    assert [note.split()[-1] for note in history.notes] == ["memory", "file"]
