"""What a run keeps: the best weights by score, then by loss; where it is; how long ago the best was."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ftcourse as ft
from ftcourse.training.history import History
from ftcourse.training.runs import Run

quick = settings(max_examples=60, deadline=None)
STAGE = ft.Stage("layer4", lr=0.5)


class Counter(nn.Module):
    """A network of one weight, which tells what epoch its weights are of."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(0.0))


def a_history(**more) -> History:
    return History(stages=[STAGE.to_dict()] * 3, **more)


def a_run(tmp_path=None, ema=None, score="accuracy") -> Run:
    run = Run(Counter(), a_history(score=score), ema, tmp_path)
    run.start()
    return run


def epoch(run: Run, score: float, loss: float | None = 1.0, train_loss=1.0, **extra) -> None:
    """Train an epoch, which sets the weight to its number."""
    with torch.no_grad():
        run.model.at.fill_(len(run.history.epochs) + 1)
    losses = {} if loss is None else {"val_loss": loss}
    row = {"train_loss": train_loss, **losses, f"val_{run.history.score}": score}
    run.record(STAGE, row, **extra)


scores = st.sampled_from([0.0, 0.25, 0.5, math.nan])
results = st.lists(st.tuples(scores, st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=8)


@quick
@given(results)
def test_the_weights_of_the_first_best_epoch_are_kept(rows):
    run = a_run()
    for score, loss in rows:
        epoch(run, score, loss)

    def key(i: int) -> tuple[float, float]:
        score, loss = rows[i]
        return (-1.0 if math.isnan(score) else score), -loss

    best = max(range(len(rows)), key=lambda i: (*key(i), -i))
    assert run.history.best["epoch"] == best + 1 == run.best["at"].item()
    assert run.stale == len(rows) - 1 - best
    run.finish()
    assert run.model.at.item() == best + 1 and not run.model.training


@quick
@given(results, st.integers(0, 8))
def test_a_new_stage_is_as_stale_as_it_is_old_at_most(rows, first):
    run = a_run()
    for k, (score, loss) in enumerate(rows):
        if k == first:
            run.next_stage()
        epoch(run, score, loss)
    new = first < len(rows)
    assert (run.stage, run.epoch) == ((1, len(rows) - first) if new else (0, len(rows)))
    assert run.stale == min(run.epoch, len(rows) - run.history.best["epoch"])
    assert {row["stage"] for row in run.history.epochs[first:]} <= {2}
    assert {row["stage"] for row in run.history.epochs[:first]} <= {1}


def test_an_epoch_is_told_with_its_number_stage_what_trained_and_what_else_there_is():
    run = a_run(score="map")
    epoch(run, 0.5, None, lr=0.1, seconds=2.0)
    assert run.history.epochs == [
        {"epoch": 1, "stage": 1, "train": "layer4", "train_loss": 1.0, "val_map": 0.5,
         "lr": 0.1, "seconds": 2.0}
    ]  # fmt: skip
    epoch(run, 0.5, None)  # without a loss the first of equals stays
    assert run.history.best["epoch"] == 1


@pytest.mark.parametrize(
    ("train_loss", "loss"), [(math.inf, 1.0), (1.0, math.nan), (math.nan, 1.0)]
)
def test_a_loss_that_is_not_finite_ends_the_run_and_the_epoch_is_not_told(train_loss, loss):
    run = a_run()
    with pytest.raises(
        FloatingPointError, match=r"in epoch 1 \(training layer4, lr=0.5\).*began with"
    ):
        epoch(run, 0.5, loss, train_loss)
    epoch(run, 0.5)
    with pytest.raises(
        FloatingPointError, match=r"lower the learning rate.*of epoch 1, the best before"
    ):
        epoch(run, 0.9, loss, train_loss)
    assert len(run.history.epochs) == run.epoch == 1
    run.finish()
    assert run.model.at.item() == 1


def test_with_an_average_that_is_what_is_judged_and_kept():
    run = a_run(ema=0.75)
    assert run.judged is not run.model and a_run().judged.at.item() == 0
    with torch.no_grad():
        run.model.at.fill_(8.0)
    run.average.update_parameters(run.model)  # the first update copies
    with torch.no_grad():
        run.model.at.fill_(4.0)
    run.average.update_parameters(run.model)
    assert run.judged.at.item() == pytest.approx(0.75 * 8 + 0.25 * 4)
    run.record(STAGE, {"train_loss": 1.0, "val_accuracy": 0.5})
    run.finish()
    assert run.model.at.item() == pytest.approx(7.0)


def test_the_average_is_one_of_statistics_too():
    run = Run(nn.BatchNorm1d(1), History(), 0.5, None)
    for mean in (8.0, 4.0):
        run.model.running_mean.fill_(mean)
        run.average.update_parameters(run.model)
    assert run.judged.running_mean.item() == pytest.approx(6.0)


def optimizer_of(run: Run):
    optimizer = torch.optim.SGD(run.model.parameters(), lr=1.0, momentum=0.9)
    return optimizer, ft.make_scheduler(optimizer, ft.Stage(epochs=4, warmup=0), 1)


def a_step(run: Run, optimizer, scheduler) -> None:
    run.model.at.grad = torch.tensor(1.0)
    optimizer.step(), scheduler.step()


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("done", [1, 2])
def test_a_run_goes_on_where_it_was_saved_with_all_it_had(tmp_path, ema, done):
    run = a_run(tmp_path, ema)
    run.next_stage()
    optimizer, scheduler = optimizer_of(run)
    run.begin(optimizer, scheduler)
    for score in (0.5, 0.25)[:done]:
        a_step(run, optimizer, scheduler)
        run.record(STAGE, {"train_loss": 1.0, "val_accuracy": score})
        if ema:
            run.average.update_parameters(run.model)
    run.history.findings.append({"name": "x"})
    run.save(optimizer, scheduler)
    on_disk = json.loads((tmp_path / "history.json").read_text())
    assert on_disk == run.history.to_dict()

    again = Run(Counter(), a_history(), ema, tmp_path)
    again.resume()
    assert (again.stage, again.epoch, again.stale) == (1, done, done - 1)
    assert again.history.epochs == run.history.epochs and again.history.best == run.history.best
    assert again.history.findings == [{"name": "x"}]
    assert torch.equal(again.best["at"], run.best["at"])
    others = optimizer_of(again)
    again.begin(*others)
    for one, pair in ((run, (optimizer, scheduler)), (again, others)):
        a_step(one, *pair)
    assert torch.equal(again.model.at, run.model.at)
    assert torch.equal(again.judged.at, run.judged.at)
    assert others[0].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    # only once: the next stage begins anew
    again.next_stage()
    fresh = optimizer_of(again)
    again.begin(*fresh)
    assert fresh[0].state == {} and fresh[0].param_groups[0]["lr"] == 1.0


def test_between_two_stages_nothing_of_the_old_optimizer_is_taken(tmp_path):
    run = a_run(tmp_path)
    pair = optimizer_of(run)
    a_step(run, *pair)
    run.record(STAGE, {"train_loss": 1.0, "val_accuracy": 0.5})
    run.next_stage()
    run.save(*pair)
    again = Run(Counter(), a_history(), None, tmp_path)
    again.resume()
    fresh = optimizer_of(again)
    again.begin(*fresh)
    assert fresh[0].state == {} and fresh[0].param_groups[0]["lr"] == 1.0


def test_a_run_without_a_folder_writes_nothing_and_one_with_a_folder_ends_with_its_history(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = a_run()
    run.save(*optimizer_of(run))
    run.finish()
    assert list(tmp_path.iterdir()) == []
    run = a_run(tmp_path / "out")
    epoch(run, 0.5)
    run.history.stopped = "asked to"
    run.finish()
    assert History.load(tmp_path / "out" / "history.json").stopped == "asked to"


def test_other_settings_or_stages_are_told_with_the_file(tmp_path):
    run = a_run(tmp_path)
    run.history.settings, run.history.stages = {"seed": 0}, [STAGE.to_dict()]
    run.save(*optimizer_of(run))
    for history, said in (
        (History(settings={"seed": 1}, stages=[STAGE.to_dict()]), "seed=0, not 1"),
        (
            History(settings={"seed": 0}, stages=[ft.Stage("head").to_dict()]),
            "other stages .train='layer4' in stage 1, not 'head'",
        ),
    ):
        with pytest.raises(ValueError, match=said) as err:
            Run(Counter(), history, None, tmp_path).resume()
        assert str(tmp_path / "checkpoint.pt") in str(err.value)


def test_what_an_earlier_version_did_not_tell_is_taken_to_be_the_same_and_noted(tmp_path):
    run = a_run(tmp_path)
    run.history.settings = {"seed": 0}
    run.save(*optimizer_of(run))
    again = Run(Counter(), a_history(settings={"seed": 0, "views": 3}), None, tmp_path)
    again.resume()
    (note,) = again.history.notes
    assert "earlier version and does not tell views" in note
    with pytest.raises(FileNotFoundError):
        Run(Counter(), a_history(), None, tmp_path / "nowhere").resume()


def test_a_learning_rate_is_to_blame_if_neither_the_weights_before_nor_a_photo_are():
    bad = {"train_loss": math.nan, "val_loss": 1.0, "val_accuracy": 0.5}
    run = a_run()
    with pytest.raises(FloatingPointError, match=r"a\.jpg has values that are not finite"):
        run.record(STAGE, bad, blame=lambda: "a.jpg")
    with torch.no_grad():
        run.model.at.fill_(math.inf)
    run.start()
    with pytest.raises(FloatingPointError, match=r"weights were not finite before \(at\)"):
        run.record(STAGE, bad, blame=lambda: "a.jpg")


@pytest.mark.parametrize("three", [3, np.int64(3), torch.tensor(3)])
def test_a_count_stays_a_whole_number_and_a_measure_a_fraction(three):
    run = a_run()
    metrics = {"train_loss": torch.tensor(0.5), "val_accuracy": np.float32(0.5), "photos": three}
    run.record(STAGE, metrics | {"share": np.float64(0.25)})
    row = run.history.epochs[0]
    assert row["photos"] == 3 and type(row["photos"]) is int
    assert type(row["train_loss"]) is type(row["val_accuracy"]) is type(row["share"]) is float
    with pytest.raises(ValueError, match="metric val_accuracy is no number, but 'high'"):
        run.record(STAGE, metrics | {"val_accuracy": "high"})
