"""The loop: what trains moves, what is frozen does not, and a resumed run gives the same bits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import ftcourse as ft
from ftcourse.training.loop import _class_weights
from tests.conftest import Blobs, tiny_resnet

QUIET = {"progress": False, "batch_size": 8, "preflight": False, "device": "cpu"}


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items()}


def moved(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}


def test_head_training_moves_the_head_and_nothing_else(tiny, blobs):
    before = state_of(tiny)
    ft.finetune(tiny, blobs, ft.Stage("head", epochs=1, lr=1e-2), **QUIET)
    assert moved(tiny, before) == {"fc.weight", "fc.bias"}


def test_training_the_last_block_leaves_frozen_batchnorm_statistics_alone(tiny, blobs):
    before = state_of(tiny)
    ft.finetune(tiny, blobs, ft.Stage("layer4", epochs=1), **QUIET)
    names = moved(tiny, before)
    assert {n.split(".")[0] for n in names} == {"layer4", "fc"}
    assert any("running_mean" in n for n in names)


def test_training_all_moves_every_weight(tiny, blobs):
    before = state_of(tiny)
    ft.finetune(tiny, blobs, ft.Stage("all", epochs=1), **QUIET)
    assert moved(tiny, before) == set(before)


def test_it_learns_and_keeps_the_epoch_best_on_validation(tiny, blobs):
    history = ft.finetune(tiny, blobs, ft.Stage("all", epochs=8, lr=1e-2), **QUIET)
    best = max(history.epochs, key=lambda r: (r["val_accuracy"], -r["val_loss"]))
    assert history.best == best
    kept = ft.evaluate(tiny, blobs.val)
    assert kept["accuracy"] == pytest.approx(best["val_accuracy"])
    assert kept["loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    assert kept["accuracy"] >= 0.9


STAGES = [ft.Stage("head", epochs=2, lr=1e-2), ft.Stage("all", epochs=3, lr=1e-3)]


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("broken_after", [1, 2, 4])
def test_a_resumed_run_ends_with_the_same_bits(blobs, tmp_path, broken_after, ema):
    unbroken, broken = tiny_resnet(), tiny_resnet()
    one = ft.finetune(unbroken, blobs, STAGES, ema=ema, **QUIET)

    def pull_the_plug(history):
        if len(history.epochs) == broken_after + 1:  # the next epoch's work is lost
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        ft.finetune(
            broken, blobs, STAGES, out_dir=tmp_path, ema=ema, on_epoch=pull_the_plug, **QUIET
        )
    fresh = tiny_resnet(seed=9)
    two = ft.finetune(fresh, blobs, STAGES, out_dir=tmp_path, resume=True, ema=ema, **QUIET)
    assert moved(fresh, state_of(unbroken)) == set()
    columns = ("train_loss", "val_loss", "val_accuracy", "lr", "stage")
    assert [[r[c] for c in columns] for r in one.epochs] == [
        [r[c] for c in columns] for r in two.epochs
    ]


def test_resuming_with_other_settings_is_refused_with_the_setting_named(tiny, blobs, tmp_path):
    ft.finetune(tiny, blobs, STAGES[0], out_dir=tmp_path, **QUIET)
    with pytest.raises(ValueError, match="batch_size=8, not 4"):
        ft.finetune(
            tiny, blobs, STAGES[0], out_dir=tmp_path, resume=True, **{**QUIET, "batch_size": 4}
        )
    with pytest.raises(ValueError, match="other stages"):
        ft.finetune(tiny, blobs, STAGES, out_dir=tmp_path, resume=True, **QUIET)


def test_a_damaged_checkpoint_is_named(tiny, blobs, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"checkpoint\.pt"):
        ft.finetune(tiny, blobs, STAGES, out_dir=tmp_path, resume=True, **QUIET)


def test_an_interrupt_keeps_the_best_weights(tiny, blobs):
    kept = {}

    def press_stop(history):
        if len(history.epochs) == 1:
            kept.update(state_of(tiny))
        if len(history.epochs) == 2:
            history.best["val_accuracy"] = 2.0
            raise KeyboardInterrupt

    history = ft.finetune(tiny, blobs, ft.Stage("head", epochs=4), on_epoch=press_stop, **QUIET)
    assert history.stopped == "interrupted after epoch 2"
    assert len(history.epochs) == 2


def test_a_run_that_is_stopped_between_batches_has_the_weights_of_its_best_epoch(tiny, blobs):
    batches, kept = [], {}

    def third_batch_of_the_second_epoch():
        batches.append(1)
        return len(batches) == 5 + 3  # 40 photos, 8 a batch

    def keep(history):
        kept.update(state_of(tiny))

    history = ft.finetune(
        tiny, blobs, ft.Stage("head", epochs=9),
        on_batch=third_batch_of_the_second_epoch, on_epoch=keep, **QUIET,
    )  # fmt: skip
    assert len(batches) == 8 and len(history.epochs) == 1
    assert history.stopped == "interrupted after epoch 1"
    assert all(torch.equal(v, kept[k]) for k, v in tiny.state_dict().items())


def test_early_stopping_ends_a_stage_and_goes_on_with_the_next(tiny, blobs):
    stages = [ft.Stage("head", epochs=9, lr=1e-9), ft.Stage("head", epochs=1)]
    history = ft.finetune(tiny, blobs, stages, early_stopping=2, **QUIET)
    first = [r for r in history.epochs if r["stage"] == 1]
    assert len(first) < 9
    assert history.epochs[-1]["stage"] == 2


def test_a_loss_that_is_not_finite_stops_the_run_with_good_weights(tiny, blobs):
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        ft.finetune(tiny, blobs, ft.Stage("all", epochs=5, lr=1e9, optimizer="sgd"), **QUIET)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixing_label_smoothing_and_class_weights_train(tiny, blobs, mix):
    history = ft.finetune(
        tiny, blobs, ft.Stage("head", epochs=1),
        mix=mix, label_smoothing=0.1, class_weights="balanced", **QUIET,
    )  # fmt: skip
    assert math.isfinite(history.epochs[0]["train_loss"])


def test_balanced_class_weights_are_inverse_to_the_share(blobs):
    blobs.train.targets = [0] * 30 + [1] * 10
    assert _class_weights("balanced", blobs).tolist() == pytest.approx([2 / 3, 2.0])


def test_metrics_are_averaged_over_samples_not_over_batches(tiny):
    split = Blobs(10, 5)
    whole = ft.evaluate(tiny, split, batch_size=10)
    uneven = ft.evaluate(tiny, split, batch_size=7)
    assert uneven["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert uneven["samples"] == 10


def test_evaluate_leaves_each_module_in_the_mode_it_was_in(tiny):
    ft.train_mode(ft.freeze(tiny, "stem"))
    before = [m.training for m in tiny.modules()]
    ft.evaluate(tiny, Blobs(4, 0))
    assert [m.training for m in tiny.modules()] == before


def test_macro_f1_agrees_with_scikit_learn(tiny):
    from sklearn.metrics import f1_score

    split = Blobs(16, 4)
    logits, y = ft.predict(tiny, split)
    assert ft.evaluate(tiny, split)["macro_f1"] == pytest.approx(
        f1_score(y, logits.argmax(1), average="macro"), abs=1e-6
    )


def test_an_empty_split_is_told(tiny):
    with pytest.raises(ValueError, match="no samples"):
        ft.evaluate(tiny, Blobs(0, 0))


def test_the_hand_written_loop_and_finetune_give_the_same_weights(blobs):
    packaged, by_hand = tiny_resnet(), tiny_resnet()
    stage = ft.Stage("head", epochs=1, lr=1e-2, schedule="constant", warmup=0, optimizer="sgd")
    ft.finetune(packaged, blobs, stage, **QUIET)

    for p in by_hand.parameters():
        p.requires_grad = False
    for p in by_hand.fc.parameters():
        p.requires_grad = True
    groups = [{"params": [by_hand.fc.weight], "weight_decay": 1e-2}, {"params": [by_hand.fc.bias]}]
    optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=0.9, nesterov=True)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    by_hand.eval()  # all of its BatchNorm layers are frozen
    for images, targets in DataLoader(blobs.train, 8, shuffle=True, generator=generator):
        loss = nn.functional.cross_entropy(by_hand(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    theirs = by_hand.state_dict()
    for name, tensor in packaged.state_dict().items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_last_batch_of_one_photo_does_not_stop_training(tiny):
    from tests.conftest import BlobData

    data = BlobData(Blobs(9, 1), Blobs(4, 2), Blobs(4, 3))
    ft.finetune(tiny, data, ft.Stage("all", epochs=1), **QUIET)


def test_unknown_choices_are_refused_with_the_choices(tiny, blobs):
    with pytest.raises(ValueError, match="'mixup', 'cutmix'"):
        ft.finetune(tiny, blobs, STAGES, mix="blend", **QUIET)
    with pytest.raises(ValueError, match="layer4, head, and 'all'"):
        ft.finetune(tiny, blobs, ft.Stage("layer9"), **QUIET)
    with pytest.raises(ValueError, match="needs out_dir"):
        ft.finetune(tiny, blobs, STAGES, resume=True, **QUIET)
