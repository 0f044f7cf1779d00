"""What a run is asked for: nonsense is refused, another run is not resumed, chance is seeded wherever it is."""

from __future__ import annotations

import inspect
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData
from torchvision.transforms import v2

import ftcourse as ft
from ftcourse.data.splits import Data, Split
from ftcourse.tasks import Classification
from ftcourse.training.checkpoints import load_checkpoint, save_checkpoint
from ftcourse.training.settings import NO_SETTINGS, difference, labels_of
from tests.conftest import BlobData, Blobs, tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "preflight": False, "device": "cpu"}
HEAD = ft.Stage("head", epochs=2, lr=1e-2)


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(model: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


# -- however a run ends ------------------------------------------------------------------------


def at_the_third_batch(what):
    seen = []

    def call():
        seen.append(1)
        if len(seen) == 3:
            raise what

    return call


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_run_that_ends_in_its_first_epoch_gives_back_the_weights_it_began_with(blobs, ema):
    everything = ft.Stage("all", epochs=3, lr=1e-2)
    model = tiny_resnet()
    begun = state_of(model)
    history = ft.finetune(
        model, blobs, everything, on_batch=at_the_third_batch(KeyboardInterrupt), ema=ema, **QUIET
    )
    assert same(model, begun) and not history.best
    assert history.stopped == "interrupted in epoch 1: the model has the weights that it began with"
    with pytest.raises(OSError, match="disk"):
        ft.finetune(
            model, blobs, everything, on_batch=at_the_third_batch(OSError("disk")), ema=ema, **QUIET
        )
    assert same(model, begun)
    wild = ft.Stage("all", lr=1e9, optimizer="sgd")
    with pytest.raises(
        FloatingPointError,
        match="lower the learning rate; the model has the weights that it began with",
    ):
        ft.finetune(model, blobs, wild, ema=ema, **QUIET)
    assert same(model, begun)


def test_a_loss_that_becomes_nan_later_leaves_the_best_weights_and_says_of_which_epoch(blobs):
    model, kept = tiny_resnet(), {}

    def spoil(history):
        kept.update(state_of(model))
        blobs.train.images[3] = torch.nan

    with pytest.raises(
        FloatingPointError,
        match=r"photo 3 of data\.train has values that are not finite.*of epoch 1",
    ):
        ft.finetune(model, blobs, replace(HEAD, augment=True), on_epoch=spoil, **QUIET)
    assert same(model, kept)


def test_weights_that_were_nan_before_are_blamed_and_not_the_learning_rate(blobs):
    model = tiny_resnet()
    nn.init.constant_(model.layer3[0].conv1.weight, math.nan)
    with pytest.raises(
        FloatingPointError, match=r"not finite before \(layer3\.0\.conv1\.weight\), so load"
    ):
        ft.finetune(model, blobs, HEAD, **QUIET)


def test_why_a_run_was_stopped_is_in_its_file(blobs, tmp_path):
    seen = []
    stop = lambda: seen.append(1) or len(seen) == 8  # noqa: E731
    ft.finetune(tiny_resnet(), blobs, HEAD, out_dir=tmp_path, on_batch=stop, **QUIET)
    assert ft.History.load(tmp_path / "history.json").stopped == "interrupted after epoch 1"


# -- another run is not resumed ----------------------------------------------------------------

OTHER = {
    "batch_size": 4,
    "seed": 1,
    "label_smoothing": 0.1,
    "class_weights": torch.tensor([1.0, 3.0]),
    "mix": "mixup",
    "ema": 0.9,
    "early_stopping": 3,
    "bf16": True,
    "views": 2,
    "num_workers": 1,
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """The folder of a run of one epoch of two."""
    folder = tmp_path_factory.mktemp("run")
    data = BlobData(Blobs(16, 1, flip=True), Blobs(8, 2), Blobs(8, 3))
    ft.finetune(tiny_resnet(), data, HEAD, out_dir=folder, on_epoch=lambda h: True, **QUIET)
    return folder


def resume(folder: Path, stages=HEAD, train=None, val=None, classes=Blobs.classes, **more):
    data = BlobData(train or Blobs(16, 1, flip=True), val or Blobs(8, 2), Blobs(8, 3), classes)
    return ft.finetune(tiny_resnet(), data, stages, out_dir=folder, resume=True, **(QUIET | more))


def test_every_argument_that_may_change_a_number_is_tried_here():
    assert set(OTHER) == set(inspect.signature(ft.finetune).parameters) - NO_SETTINGS


@pytest.mark.parametrize("name", OTHER)
def test_a_run_is_not_resumed_with_another_setting(begun, name):
    with pytest.raises(
        ValueError, match=rf"trained with {name}=.*, not .*resume with the same settings, or"
    ):
        resume(begun, **{name: OTHER[name]})


def test_a_run_is_not_resumed_with_other_photos_classes_or_stages(begun):
    turned = Blobs(16, 1, flip=True)
    turned.targets = turned.targets[::-1]
    for other, message in (
        ({"train": Blobs(32, 1)}, r"data\.train\.samples=16, not 32"),
        ({"train": turned}, r"data\.train\.labels="),
        ({"val": Blobs(10, 2)}, r"data\.val\.samples=8, not 10"),
        ({"classes": ("right", "left")}, r"classes=\['left', 'right'\], not \['right', 'left'\]"),
        ({"stages": [HEAD, HEAD]}, r"other stages \(1 stages, not 2\)"),
        ({"stages": replace(HEAD, lr=1e-3)}, r"other stages \(lr=0\.01 in stage 1, not 0\.001\)"),
        ({"stages": replace(HEAD, augment=False)}, r"augment=True in stage 1, not False"),
        ({"stages": ft.Stage(("head",), epochs=2, lr=1e-2)}, r"train='head' in stage 1, not \['head'\]"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            resume(begun, **other)


def test_the_same_run_is_resumed_and_what_changes_no_number_may_differ(begun, tmp_path):
    history = resume(begun, preflight=True, cache=False, on_epoch=lambda h: None)
    assert len(history.epochs) == 2 and not any("earlier version" in note for note in history.notes)


def test_a_checkpoint_of_an_earlier_version_is_resumed_with_a_note(begun, tmp_path):
    saved = load_checkpoint(begun / "checkpoint.pt")
    settings = saved["history"]["settings"]
    saved["history"]["settings"] = {k: settings[k] for k in ("batch_size", "seed", "mix")}
    save_checkpoint(tmp_path / "checkpoint.pt", saved)
    history = resume(tmp_path)
    note = next(note for note in history.notes if "earlier version" in note)
    assert "class_weights" in note and "data.train.samples" in note and "batch_size" not in note
    with pytest.raises(ValueError, match="batch_size=8, not 4"):
        resume(tmp_path, batch_size=4)


def test_settings_are_the_same_after_json(begun, blobs, tmp_path):
    weights = torch.tensor([0.1, 3.0])
    history = ft.finetune(
        tiny_resnet(), blobs, HEAD, out_dir=tmp_path, class_weights=weights, **QUIET
    )
    again = json.loads((tmp_path / "history.json").read_text())["settings"]
    assert again == history.settings
    assert difference(again, history.settings) == ("", [])


@given(
    then=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
    now=st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
)
def test_a_difference_is_told_if_and_only_if_both_tell_the_setting_and_it_differs(then, now):
    other, untold = difference(then, now)
    differing = [k for k in now if k in then and then[k] != now[k]]
    assert bool(other) == bool(differing)
    assert set(untold) <= set(now) - set(then)
    assert other or set(untold) == set(now) - set(then)


# -- metrics -----------------------------------------------------------------------------------


class Scored(Classification):
    """Its scores are what it is told, in a type of another library."""

    name, score, columns = "scored", "s", ("loss", "s")

    def __init__(self, scores, kind) -> None:
        super().__init__()
        self.scores, self.kind = iter(scores), kind

    def metrics(self, batches):
        return {**super().metrics(batches), "s": self.kind(next(self.scores))}


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, torch.tensor, np.array, np.int64])
def test_metrics_of_any_library_are_saved_and_read_back(blobs, tmp_path, kind):
    scores, stage = [1, 3, 2], ft.Stage("head", epochs=3)
    ft.finetune(
        tiny_resnet(), blobs, stage, task=Scored(scores, kind),
        out_dir=tmp_path, on_epoch=lambda h: len(h.epochs) == 2, **QUIET,
    )  # fmt: skip
    history = ft.finetune(
        tiny_resnet(), blobs, stage, task=Scored(scores[2:], kind), out_dir=tmp_path, resume=True, **QUIET
    )  # fmt: skip
    again = ft.History.load(tmp_path / "history.json")
    assert again.column("val_s") == history.column("val_s") == scores
    assert again.best["epoch"] == 2


def test_a_metric_that_is_no_number_is_named(blobs):
    with pytest.raises(ValueError, match=r"metric val_s is no number, but tensor\(\[1, 1\]\)"):
        ft.finetune(
            tiny_resnet(), blobs, HEAD, task=Scored([1], lambda s: torch.tensor([s, s])), **QUIET
        )


@pytest.mark.parametrize(
    "scores", [[math.nan, 1, 1, 1], [1, math.nan, 2], [1, math.nan, 0], [-1.0, math.nan]]
)
def test_a_score_that_is_nan_is_below_any_other(blobs, scores):
    stage = ft.Stage("head", epochs=len(scores))
    history = ft.finetune(tiny_resnet(), blobs, stage, task=Scored(scores, float), **QUIET)
    assert history.best["val_s"] == np.nanmax(scores)


# -- nonsense ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stages": []}, "give at least one ft.Stage"),
        ({"stages": ["head"]}, r"stages=\['head'\]: give at least one ft.Stage"),
        ({"batch_size": 0}, "batch_size=0: give a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"batch_size": True}, "batch_size=True"),
        ({"seed": 0.5}, "seed=0.5: give a whole number"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"early_stopping": 0}, "early_stopping=0: give a whole number of at least 1; None is without"),
        ({"early_stopping": -1}, "early_stopping=-1"),
        ({"views": 0}, "views=0"),
        ({"views": -1}, "views=-1"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: a share of the target, 0 to below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ({"label_smoothing": math.nan}, "label_smoothing=nan"),
        ({"ema": 1.0}, "ema=1.0: a decay between 0 and 1"),
        ({"ema": 0.0}, "ema=0.0"),
        ({"class_weights": torch.ones(3)}, r"class_weights has shape \(3,\), expected \(2,\)"),
        ({"class_weights": [1.0, -1.0]}, r"class_weights=\[1.0, -1.0\]"),
        ({"class_weights": [1.0, math.nan]}, "class_weights"),
        ({"class_weights": [0.0, 0.0]}, "not all 0"),
        ({"train": Blobs(0, 1)}, "data.train has no samples; to train on, give at least 2"),
        ({"train": Blobs(1, 1)}, "data.train has 1 samples"),
        ({"val": Blobs(0, 1)}, "data.val has no samples; to validate on, give at least 1"),
        ({"val": None}, "data.val is missing"),
        ({"train": DataLoader(Blobs(8, 1))}, r"data.train is a DataLoader; give its data set \(.dataset\)"),
    ],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused_with_its_value_and_what_to_do(wrong, message):
    more = dict(wrong)
    stages, val = more.pop("stages", HEAD), more.pop("val", Blobs(8, 2))
    data = BlobData(more.pop("train", Blobs(16, 1)), val, Blobs(8, 3))
    with pytest.raises(ValueError, match=message):
        ft.finetune(tiny_resnet(), data, stages, **(QUIET | {"preflight": True} | more))


@pytest.mark.parametrize("data", [(Blobs(8, 1), Blobs(8, 2)), {"train": Blobs(8, 1)}, Blobs(8, 1)])
def test_data_sets_without_splits_are_told_what_makes_them(data):
    with pytest.raises(
        ValueError, match=rf"data is a {type(data).__name__}, .*ft\.load_data\(\(train, val\)\)"
    ):
        ft.finetune(tiny_resnet(), data, HEAD, **QUIET)


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(3, 32, 32), 0


def test_a_stream_of_photos_is_refused_with_what_to_give_instead(blobs):
    blobs.train = Stream()
    with pytest.raises(
        ValueError, match=r"data\.train is a Stream, which has no length; give a data set with"
    ):
        ft.finetune(tiny_resnet(), blobs, HEAD, **QUIET)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(["epochs", "lr", "head_lr", "layer_decay", "weight_decay", "warmup"]),
    value=st.one_of(
        st.floats(), st.integers(-3, 3), st.booleans(), st.text(max_size=2), st.none(),
        st.floats().map(np.float64), st.integers(-3, 3).map(np.int64),
    ),
)  # fmt: skip
def test_a_stage_takes_numbers_that_make_sense_and_refuses_all_others_by_name(name, value):
    number = isinstance(value, (float, int, np.number)) and not isinstance(value, bool)
    finite = number and math.isfinite(value)
    good = {
        "epochs": finite and isinstance(value, (int, np.integer)) and value >= 1,
        "lr": finite and value > 0,
        "head_lr": value is None or (finite and value > 0),
        "layer_decay": finite and 0 < value <= 1,
        "weight_decay": finite and value >= 0,
        "warmup": finite and 0 <= value < 1,
    }[name]
    if good:
        assert getattr(ft.Stage(**{name: value}), name) == value
    else:
        with pytest.raises(ValueError, match=f"Stage: {name}="):
            ft.Stage(**{name: value})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train": ()}, "train="),
        ({"train": ""}, "train="),
        ({"train": ("head", 3)}, "train="),
        ({"only": "("}, "no regular expression"),
    ],
)
def test_a_stage_that_trains_nothing_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ft.Stage(**wrong)


# -- labels ------------------------------------------------------------------------------------


def test_labels_are_known_of_parts_and_sums_of_data_sets_too():
    split = Blobs(10, 1)
    assert labels_of(Subset(split, [1, 3, 4])) == [1, 1, 0]
    assert labels_of(ConcatDataset([split, Subset(split, [1])])) == [*split.targets, 1]
    assert labels_of(TensorDataset(torch.zeros(3, 2), torch.tensor([2, 0, 1]))) == [2, 0, 1]
    numbered = TensorDataset(torch.zeros(3, 2), torch.arange(3), torch.tensor([2, 0, 1]))
    assert labels_of(numbered) == [2, 0, 1]  # what an item ends with
    assert labels_of(TensorDataset(torch.zeros(3, 2), torch.zeros(3, 4, 4))) is None
    assert labels_of([(torch.zeros(3), 1)]) is None


@pytest.mark.parametrize("kind", ["subset", "tensors", "pairs"])
def test_balanced_class_weights_work_for_data_sets_of_any_kind(kind):
    split = Blobs(20, 1)
    split.targets = [0] * 15 + [1] * 5
    train = {
        "subset": Subset(split, range(20)),
        "tensors": TensorDataset(split.images, torch.tensor(split.targets)),
        "pairs": [split[i] for i in range(20)],
    }[kind]
    runs = []
    for some in (train, split):
        model = tiny_resnet()
        ft.finetune(
            model, BlobData(some, Blobs(8, 2), Blobs(8, 3)), HEAD, class_weights="balanced", **QUIET
        )
        runs.append(state_of(model))
    assert all(torch.allclose(runs[0][k], runs[1][k], atol=1e-6) for k in runs[0])


# -- chance ------------------------------------------------------------------------------------


class Dice(Blobs):
    """Draws from Python, NumPy and PyTorch, each for a pixel of its own."""

    def __getitem__(self, i: int):
        x, y = super().__getitem__(i)
        x = x.clone()
        x[0, 0, 0], x[0, 0, 1], x[0, 0, 2] = random.random(), np.random.rand(), torch.rand(())
        x[0, 0, :3] *= 30
        return x, y


def dice(**more):
    model = tiny_resnet()
    data = BlobData(Dice(24, 1), Blobs(8, 2), Blobs(8, 3))
    stages = [ft.Stage("head", epochs=2, lr=1e-2), ft.Stage("all", epochs=2)]
    history = ft.finetune(model, data, stages, **(QUIET | more))
    return state_of(model), history


@pytest.mark.parametrize("more", [{}, {"num_workers": 2}, {"views": 2}])
def test_one_seed_gives_one_run_whatever_library_a_transform_draws_from(more):
    random.seed(5), np.random.seed(5)
    one, _ = dice(**more)
    random.seed(77), np.random.seed(77)
    two, _ = dice(**more)
    assert all(torch.equal(one[k], two[k]) for k in one)
    other, _ = dice(seed=1, **more)
    assert not torch.equal(one["fc.weight"], other["fc.weight"])


@pytest.mark.parametrize("more", [{}, {"num_workers": 1}, {"views": 2}])
@pytest.mark.parametrize("after", [1, 3])
def test_and_it_is_resumed_to_the_same_bits(tmp_path, more, after):
    random.seed(77), np.random.seed(77)
    whole, _ = dice(**more)
    dice(out_dir=tmp_path, on_epoch=lambda h: len(h.epochs) == after, **more)
    random.seed(5), np.random.seed(5)
    resumed, _ = dice(out_dir=tmp_path, resume=True, **more)
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_python_and_numpy_draw_on_afterwards_as_if_there_had_been_no_run():
    before = random.getstate(), np.random.get_state()[1].tolist()
    dice()
    ft.lr_finder(
        tiny_resnet(), BlobData(Dice(24, 1), Blobs(8, 2), Blobs(8, 3)), steps=12, batch_size=4
    )
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


# -- without augmentation ----------------------------------------------------------------------


def photos(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 32), generator=torch.Generator().manual_seed(seed)).to(
        torch.uint8
    )


EVAL = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
TRAIN = v2.Compose([v2.RandomHorizontalFlip(), EVAL])


def split(n: int, seed: int, transform) -> Split:
    return Split(photos(n, seed), [i % 2 for i in range(n)], ["a", "b"], transform=transform)


def fake(n: int, transform) -> FakeData:
    return FakeData(n, (3, 32, 32), 2, transform)


@pytest.mark.parametrize("part", [False, True], ids=["whole", "part"])
@pytest.mark.parametrize("make", [lambda n, t: split(n, 1, t), fake], ids=["split", "torchvision"])
def test_a_stage_without_augmentation_trains_on_the_validation_transform(make, part):
    runs = []
    for transform in (TRAIN, EVAL):
        train, val = make(20, transform), make(8, EVAL)
        if part:
            train, val = Subset(train, range(16)), Subset(val, range(6))
        model = tiny_resnet()
        stage = replace(HEAD, augment=False)
        history = ft.finetune(model, BlobData(train, val, val), stage, **QUIET)
        assert not any("augment" in note for note in history.notes)
        runs.append(state_of(model))
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])


def test_a_data_set_that_cannot_leave_its_augmentation_out_is_told(blobs, capsys):
    stage = replace(HEAD, augment=False)
    history = ft.finetune(tiny_resnet(), blobs, [stage, stage], **(QUIET | {"preflight": True}))
    assert [f["name"] for f in history.findings].count("augmentation stays on") == 1
    assert "augmentation stays on" not in capsys.readouterr().err
    assert sum("has no with_transform" in note for note in history.notes) == 1
    quiet = BlobData(Blobs(16, 1), Blobs(8, 2), Blobs(8, 3))
    history = ft.finetune(tiny_resnet(), quiet, stage, **(QUIET | {"preflight": True}))
    assert history.findings == [] and any("has no with_transform" in note for note in history.notes)


# -- a last batch of one photo -----------------------------------------------------------------


class Counted(Blobs):
    def __init__(self, n: int) -> None:
        super().__init__(n, 1, flip=True)
        self.read: list[int] = []

    def __getitem__(self, i: int):
        self.read.append(i)
        return super().__getitem__(i)


def norm_in_the_head(model):
    model.fc = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 2))
    return model


@pytest.mark.parametrize(
    ("stage", "change", "trained"),
    [("head", None, 9), ("layer4", None, 8), ("head", norm_in_the_head, 8), ("all", None, 8)],
)
def test_a_last_batch_of_one_is_left_out_only_where_a_batchnorm_trains(stage, change, trained):
    data = BlobData(Counted(9), Blobs(4, 2), Blobs(4, 3))
    model = change(tiny_resnet()) if change else tiny_resnet()
    ft.finetune(model, data, ft.Stage(stage, epochs=1), cache=False, **QUIET)
    assert len(data.train.read) == trained


# -- class weights and label smoothing ---------------------------------------------------------


@pytest.mark.parametrize("ratio", [1.0, 19.0, 100.0])
def test_with_smoothing_a_photo_weighs_as_its_class_says(ratio):
    weights, smoothing = torch.tensor([1.0, ratio]), 0.1
    logits, y = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 2
    each = nn.functional.cross_entropy(logits, y, reduction="none", label_smoothing=smoothing)
    expected = (weights[y] * each).sum() / weights[y].sum()
    task = Classification(smoothing, weights)
    assert task.loss(logits, y).item() == pytest.approx(expected.item(), rel=1e-5)
    hard = nn.functional.one_hot(y, 2).float()
    mixed = (weights[y] * each).mean()
    assert task.loss(logits, hard).item() == pytest.approx(mixed.item(), rel=1e-5)


def test_weights_or_smoothing_alone_are_those_of_pytorch():
    weights = torch.tensor([1.0, 5.0])
    logits, y = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 2
    for smoothing, w in ((0.1, None), (0.0, weights), (0.0, None)):
        torch_says = nn.CrossEntropyLoss(w, label_smoothing=smoothing)(logits, y)
        assert torch.equal(Classification(smoothing, w).loss(logits, y), torch_says)


def test_a_rare_class_with_a_large_weight_and_smoothing_does_not_swallow_the_common_one():
    """Forty dark photos to one bright one, told apart by anyone: https://github.com/pytorch/pytorch/issues/104776"""

    def tones(dark: int, bright: int) -> Split:
        x = torch.cat([photos(dark, 1) // 4, 191 + photos(bright, 2) // 4])
        return Split(
            x, [0] * dark + [1] * bright, ["dark", "bright"], transform=lambda t: t / 127.5 - 1
        )

    torch.manual_seed(0)
    model = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3, 2))
    data = Data(["dark", "bright"], tones(160, 4), tones(10, 10), tones(10, 10))
    stage = ft.Stage("all", epochs=20, lr=0.1, weight_decay=0.0)
    history = ft.finetune(
        model, data, stage, class_weights="balanced", label_smoothing=0.1, **QUIET
    )
    assert history.epochs[-1]["train_accuracy"] == 1.0
