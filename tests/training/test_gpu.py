"""What only a GPU can show. Skipped without one; the other tests run on the CPU, where bits can be compared."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.data.transforms import STD
from tests.training.test_feature_cache import distance

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
QUIET = {"progress": False, "preflight": False, "device": "cuda"}
CLASSES = ("ants", "bees")


@pytest.fixture
def exact():
    """The GPU computes in float32, and in the same order each time."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32, cudnn.deterministic = False, True
    yield
    cudnn.allow_tf32, cudnn.deterministic = before


@pytest.fixture(scope="module")
def insects():
    return ft.load_data("pocket-insects", classes=CLASSES, size=64, progress=False)


def network():
    torch.manual_seed(0)
    return ft.replace_head(ft.load_backbone("resnet18"), len(CLASSES))


@pytest.mark.parametrize("augment", [False, True], ids=["fixed", "augmented"])
@pytest.mark.parametrize("train", ["head", "layer4", ("layer1", "layer4"), "all"], ids=str)
def test_kept_features_give_the_weights_of_the_plain_loop(exact, insects, train, augment):
    kept, plain = network(), network()
    stage = ft.Stage(train, epochs=2, lr=1e-2, optimizer="sgd", augment=augment)
    one = ft.finetune(kept, insects, stage, **QUIET)
    two = ft.finetune(plain, insects, stage, cache=False, **QUIET)
    assert distance(kept, plain) < 1e-3
    for name in ("train_loss", "val_loss"):
        assert one.column(name) == pytest.approx(two.column(name), rel=1e-3)


def test_a_gpu_and_the_cpu_train_alike(exact, insects):
    on_gpu, on_cpu = network(), network()
    stage = ft.Stage("head", epochs=3, lr=1e-2, optimizer="sgd")
    one = ft.finetune(on_gpu, insects, stage, **QUIET)
    two = ft.finetune(on_cpu, insects, stage, **{**QUIET, "device": "cpu"})
    assert distance(on_gpu.cpu(), on_cpu) < 0.02  # photos are rounded to uint8 by two resizers
    assert one.column("train_loss") == pytest.approx(two.column("train_loss"), rel=0.02)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("train", ["head", "layer4", "all"])
def test_an_epoch_waits_for_the_gpu_at_its_end_and_not_in_each_step(
    insects, train, optimizer, monkeypatch
):
    epoch = ft.training.loop.train_one_epoch

    def watched(*args, **settings):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            return epoch(*args, **settings)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(ft.loop, "train_one_epoch", watched)
    # a photo that the GPU transforms does wait, in a queue of its own
    monkeypatch.setattr(ft.loop, "_transformed_on", lambda split, device: split)
    stage = ft.Stage(train, epochs=1, optimizer=optimizer)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ft.finetune(network(), insects, stage, batch_size=8, **QUIET)  # 15 steps
    waits = [w for w in seen if "called a synchronizing" in str(w.message)]
    assert len(waits) <= 2  # loss and accuracy of the epoch


def test_a_gpu_transforms_the_photos_itself_with_the_same_random_numbers(insects):
    there = ft.training.loop._transformed_on(insects.train, torch.device("cuda"))
    assert there[0][0].device.type == "cuda"
    for i in range(8):
        torch.manual_seed(i)
        here, label = insects.train[i]
        torch.manual_seed(i)
        moved, same = there[i]
        assert label == same
        apart = (moved.cpu() - here).abs() * torch.tensor(STD).view(3, 1, 1) * 255
        assert apart.max() < 6 and apart.mean() < 1  # steps of uint8, rounded by two resizers


def test_photos_whose_transform_knows_no_gpu_are_transformed_by_the_cpu(insects):
    pillow = v2.Compose([v2.ToPILImage(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    split = insects.train.with_transform(pillow)
    found = ft.training.loop._transformed_on(split, torch.device("cuda"))
    assert found[0][0].device.type == "cpu"
    data = ft.load_data("pocket-insects", classes=CLASSES, size=64, progress=False)
    data.train = split
    history = ft.finetune(network(), data, ft.Stage("head", epochs=1), **QUIET)
    assert len(history.epochs) == 1


def test_processes_that_load_photos_keep_them_on_the_cpu(insects):
    history = ft.finetune(network(), insects, ft.Stage("all", epochs=1), num_workers=2, **QUIET)
    assert len(history.epochs) == 1


def test_bfloat16_learns_what_float32_does(insects):
    one, two = network(), network()
    stage = ft.Stage("layer4", epochs=3, lr=1e-3)
    single = ft.finetune(one, insects, stage, **QUIET)
    half = ft.finetune(two, insects, stage, bf16=True, **QUIET)
    assert half.column("train_loss") == pytest.approx(single.column("train_loss"), rel=0.1)


def test_weights_stay_on_the_gpu_in_the_layout_they_had(insects):
    model = network()
    before = {n: p.stride() for n, p in model.named_parameters()}
    ft.finetune(model, insects, ft.Stage("all", epochs=1), **QUIET)
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    assert {n: p.stride() for n, p in model.named_parameters()} == before


def test_a_run_goes_on_on_the_gpu(insects, tmp_path, exact):
    stages = [ft.Stage("head", epochs=1), ft.Stage("layer4", epochs=2)]
    unbroken, broken, fresh = network(), network(), network()
    ft.finetune(unbroken, insects, stages, **QUIET)

    def pull_the_plug(history):
        if len(history.epochs) == 2:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        ft.finetune(broken, insects, stages, out_dir=tmp_path, on_epoch=pull_the_plug, **QUIET)
    history = ft.finetune(fresh, insects, stages, out_dir=tmp_path, resume=True, **QUIET)
    assert len(history.epochs) == 3
    assert distance(fresh, unbroken) < 1e-3


def test_a_landscape_takes_states_of_the_cpu_and_of_the_gpu(insects):
    model = network()
    start = copy.deepcopy(model.state_dict())
    ft.finetune(model, insects, ft.Stage("head", epochs=1, lr=1e-2), **QUIET)
    trained = ft.evaluate(model, insects.val)["loss"]
    found = ft.loss_landscape(model, insects.val, [start, model.state_dict()], steps=3)
    at = dict(zip(found.x, found.loss, strict=True))
    assert at[1.0] == pytest.approx(trained, abs=1e-3) and at[1.0] < at[0.0]
