"""The options of `ftcourse train`: each reaches what it is for, and is kept with the run and by --resume."""

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811

from __future__ import annotations

import builtins
import importlib
import json
import re
import sys
from dataclasses import fields
from types import ModuleType, SimpleNamespace

import pytest
import torch
import typer

from ftcourse.cli import app
from ftcourse.data.transforms import AUGMENTATIONS, train_transforms
from ftcourse.reporting import report
from ftcourse.reporting.config import KNOWN, read_settings
from ftcourse.reporting.report import Settings, train_and_report
from ftcourse.training import run_logs, timing
from ftcourse.training.recipes import recipe
from ftcourse.training.stages import Stage
from tests.conftest import BlobData, Blobs, tiny_resnet
from tests.shapes import draw_photos, photos
from tests.test_cli import QUICK, ftcourse, told

PARAMS = {p.name: p for p in typer.main.get_command(app).commands["train"].params}
OTHER = {
    "--lr": "0.005", "--augment": "light", "--class-weights": "balanced", "--early-stopping": "3",
    "--label-smoothing": "0.1", "--mix": "mixup", "--ema": "0.9", "--device": "cpu",
}  # fmt: skip
WORDS = [word for pair in OTHER.items() for word in pair] + ["--bf16", "--keep-placeholders"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Photos and a finished run with each option set to another value than its default."""
    root = tmp_path_factory.mktemp("odd")
    draw_photos(root / "photos")
    ftcourse("train", root / "photos", "--out", root / "run", *QUICK, *WORDS)
    return root


def reached(monkeypatch, *words):
    """What `finetune` is called with by a command; nothing is trained."""
    found = {}

    def called(model, data, stages, **options):
        found.update(options, stages=stages)
        raise RuntimeError("reached")

    monkeypatch.setattr(report, "finetune", called)
    result = ftcourse(*words, code=2)
    assert "RuntimeError: reached" in result.stderr
    return found | {"stdout": result.stdout}


def test_each_setting_is_an_option_with_the_same_default_and_a_key_of_a_config():
    chosen = {
        "weights": "auto",
        "backbone": None,
    }  # by `starting_weights`, before there are settings
    for field in fields(Settings):
        default = PARAMS[field.name].default
        expected = chosen.get(field.name, field.default)
        assert getattr(default, "value", default) == expected, field.name
        assert field.name in KNOWN


def test_options_are_kept_with_the_run_and_told_in_its_report(odd):
    kept = json.loads((odd / "run" / "settings.json").read_text())
    assert kept["lr"] == 0.005 and kept["augment"] == "light" and kept["bf16"] is True
    found = json.loads((odd / "run" / "report.json").read_text())
    assert found["finetune"] == {
        "class_weights": "balanced", "label_smoothing": 0.1, "mix": "mixup", "ema": 0.9, "bf16": True,
        "device": "cpu", "early_stopping": 3, "num_workers": 0,
    }  # fmt: skip
    assert found["stages"][-1]["lr"] == 0.005
    history = json.loads((odd / "run" / "history.json").read_text())["settings"]
    assert history["mix"] == "mixup" and history["early_stopping"] == 3 and history["ema"] == 0.9
    page = (odd / "run" / "report.md").read_text()
    for word in [*OTHER, "--bf16", "--keep-placeholders"]:
        assert word in page and word in found["command"]


def test_a_changed_option_is_refused_when_the_run_goes_on_but_the_device_may_be_another(
    odd, monkeypatch
):
    words = ["train", odd / "photos", "--out", odd / "run", *QUICK, "--resume"]
    for option in ("--lr", "--augment", "--class-weights", "--early-stopping", "--mix", "--ema"):
        at = WORDS.index(option)
        line = told(*words, *WORDS[:at], *WORDS[at + 2 :])
        assert f"was started with {option} {OTHER[option]}, not" in line
    at = WORDS.index("--device")
    assert reached(monkeypatch, *words, *WORDS[:at], *WORDS[at + 2 :])["device"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "0"], "--lr"),
        (["--ema", "1"], "--ema 1"),
        (["--label-smoothing", "1"], "--label-smoothing 1"),
        (["--time-budget", "0"], "--time-budget 0"),
        (["--device", "cuda:77"], "this machine has cpu"),
    ],
)
def test_a_value_that_makes_no_sense_is_told_before_anything_is_written(
    photos, tmp_path, words, said
):
    line = told("train", photos, "--out", tmp_path / "run", *QUICK, *words)
    assert said in line or (said == "--lr" and "a learning rate of 0" in line)
    assert not (tmp_path / "run").exists()


def test_the_learning_rate_is_that_of_the_last_stage_and_the_others_keep_their_proportion():
    usual, asked = recipe("full", 300, 3), recipe("full", 300, 3, lr=1e-4)
    assert asked[-1].lr == 1e-4 and [s.epochs for s in asked] == [s.epochs for s in usual]
    for old, new in zip(usual, asked, strict=True):
        assert new.lr / old.lr == pytest.approx(1 / 3)
        assert (new.head_lr or 0) == pytest.approx((old.head_lr or 0) / 3)


# -- augmentation ------------------------------------------------------------------------------


def looks(augment, times=24):
    """In which share of its draws a photo is mirrored, and how many of them differ."""
    photo = torch.zeros(3, 48, 48, dtype=torch.uint8)
    photo[:, :, :24] = 200
    photo[:, :, 24:] = 60
    torch.manual_seed(0)
    made = [train_transforms(32, augment=augment)(photo) for _ in range(times)]
    assert all(x.shape == (3, 32, 32) and x.dtype == torch.float32 for x in made)
    mirrored = [bool(x[:, :, 20:].mean() > x[:, :, :12].mean()) for x in made]
    return sum(mirrored) / times, len({x.sum().item() for x in made})


def test_light_and_none_never_mirror_a_photo_and_none_never_changes_it():
    assert looks("none") == (0, 1)
    mirrored, different = looks("light")
    assert mirrored == 0 and different > 12
    for augment in ("standard", "strong"):
        mirrored, different = looks(augment)
        assert 0.2 < mirrored < 0.8 and different > 12
    with pytest.raises(ValueError, match="use one of none, light, standard, strong"):
        train_transforms(32, augment="flips")


# -- a file of settings ------------------------------------------------------------------------


def test_a_run_is_made_again_from_its_settings_and_the_command_line_wins(
    odd, tmp_path, monkeypatch
):
    file = odd / "run" / "settings.json"
    assert Settings(**read_settings(file, {})) == Settings(
        strategy="head", epochs=1, size=32, lr=0.005, augment="light", class_weights="balanced",
        early_stopping=3, label_smoothing=0.1, mix="mixup", ema=0.9, device="cpu", bf16=True,
        keep_placeholders=True,
    )  # fmt: skip
    words = ["--config", file, "--augment", "standard", "--mix", "cutmix"]
    options = reached(monkeypatch, "train", odd / "photos", "--out", tmp_path / "run", *words)
    assert options["mix"] == "cutmix" and options["ema"] == 0.9
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert kept == json.loads(file.read_text()) | {"augment": "standard", "mix": "cutmix"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"epoch": 3}', "there is no setting 'epoch'; did you mean 'epochs'?"),
        ('{"zzzz": 3}', "there is no setting 'zzzz'; there are strategy, epochs"),
        ('{"epochs": "three"}', 'epochs must be a whole number from 1 to 1e+09, and is "three"'),
        ('{"bf16": 1}', "bf16 must be true or false, and is 1"),
        ('{"mix": "blend"}', "--mix blend: use one of mixup, cutmix"),
        ('{"batch-size": 1}', "batch-size must be a whole number from 2"),
        ("[1]", "must be an object"),
        ("{", "is no JSON"),
    ],
)
def test_a_fault_in_a_file_of_settings_is_told_with_the_file_and_the_key(
    photos, tmp_path, text, said
):
    file = tmp_path / "mine.json"
    file.write_text(text)
    line = told("train", photos, "--out", tmp_path / "run", "--config", file)
    assert str(file) in line and said in line and not (tmp_path / "run").exists()


# -- time --------------------------------------------------------------------------------------


def test_the_most_epochs_that_fit_are_taken_and_none_if_not_even_one_does():
    cost = lambda stages: sum(s.epochs for s in stages) * 10.0  # noqa: E731
    plan = lambda n: [Stage("head", epochs=n)]  # noqa: E731
    assert timing.epochs_that_fit(plan, 8, 35, cost) == 3
    assert timing.epochs_that_fit(plan, 8, 1000, cost) == 8
    assert timing.epochs_that_fit(plan, 8, 9.9, cost) == 0


def test_a_pace_counts_the_first_epoch_of_a_stage_by_itself():
    pace = timing.Pace({"head": 5.0, "all": 9.0}, {"head": 1.0, "all": 8.0}, 0.1)
    assert pace.seconds([Stage("head", epochs=3), Stage("all", epochs=2)]) == 5 + 2 + 9 + 8


def test_timing_leaves_model_and_random_numbers_as_they_were_and_scales_to_the_whole(monkeypatch):
    class Cut(Blobs):
        def subset(self, indices):
            return Blobs(len(indices), 1)

    seen = []

    def trained(model, data, stage, **options):
        seen.append((len(data.train), len(data.val), stage.epochs))
        torch.rand(3)
        torch.nn.init.zeros_(model.fc.weight)
        return SimpleNamespace(column=lambda name: [3.0, 2.0])

    monkeypatch.setattr(timing, "finetune", trained)
    model, data = tiny_resnet(), BlobData(Cut(120, 1), Cut(40, 2), Cut(40, 3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    found = timing.pace(model, data, [Stage("head"), Stage("all")], batch_size=4)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert seen == [(12, 4, 2), (12, 4, 2)]
    assert found.first == {"head": 30.0, "all": 30.0} and found.later["all"] == 20.0


@pytest.fixture
def slow(monkeypatch):
    """A machine on which an epoch takes a minute, and all the rest next to nothing."""
    minute = timing.Pace({"head": 60.0}, {"head": 60.0}, 0.0)
    monkeypatch.setattr(report, "pace", lambda *args, **options: minute)


def test_a_run_takes_the_epochs_that_fit_also_when_it_goes_on(photos, tmp_path, slow, monkeypatch):
    words = ["train", photos, "--out", tmp_path / "run", "--strategy", "head", "--size", 32]
    text = ftcourse(*words, "--time-budget", 2.9).stdout
    assert "2 of 8 epochs fit into the time budget of 2.9 minutes. The run takes about 2" in text
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    assert found["epochs"] == 2 and "--epochs 2" in found["command"]
    assert "2 of 8 epochs fit" in (tmp_path / "run" / "report.md").read_text()
    monkeypatch.setattr(report, "pace", None)  # not timed again
    again = reached(monkeypatch, *words, "--time-budget", 2.9, "--resume")
    assert [stage.epochs for stage in again["stages"]] == [2]
    assert "--time-budget 2.9, not 5" in told(*words, "--time-budget", 5, "--resume")


def test_a_run_for_which_there_is_no_time_is_not_begun(photos, tmp_path, slow):
    words = ["train", photos, "--out", tmp_path / "run", *QUICK, "--time-budget", 0.9]
    assert "--time-budget 0.9: with a single epoch the run takes about 1" in told(*words)
    assert not (tmp_path / "run").exists()


def test_a_real_pace_is_that_of_real_batches(photos, tmp_path, monkeypatch):
    words = ["train", photos, "--out", tmp_path / "run", *QUICK, "--time-budget", 60]
    text = reached(monkeypatch, *words)["stdout"]
    (minutes,) = re.findall(
        r"All 1 epochs fit into the time budget of 60 minutes\..* about (\S+) ", text
    )
    assert 0 < float(minutes) < 60


# -- logs --------------------------------------------------------------------------------------


def test_a_log_gets_each_epoch_and_is_closed(photos, tmp_path, monkeypatch):
    heard = []
    mlflow = ModuleType("mlflow")
    mlflow.set_experiment = lambda name: heard.append(("experiment", name))
    mlflow.start_run = lambda run_name: heard.append(("start", run_name))
    mlflow.log_params = lambda values: heard.append(("params", values))
    mlflow.log_metrics = lambda values, step: heard.append((step, values))
    mlflow.end_run = lambda: heard.append(("end",))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setattr(report, "write_report", lambda *args: None)  # its pictures take long
    words = [*QUICK[:2], "--epochs", 2, "--size", 32, "--log", "mlflow"]
    ftcourse("train", photos, "--out", tmp_path / "run", *words)
    assert heard[:2] == [("experiment", "ftcourse"), ("start", "run")]
    assert heard[2][1]["epochs"] == 2 and heard[-1] == ("end",)
    rows = json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]
    assert [step for step, _ in heard[3:-1]] == [1, 2]
    for (_, values), row in zip(heard[3:-1], rows, strict=True):
        assert values["val_accuracy"] == row["val_accuracy"] and values["lr"] == row["lr"]
        assert "train" not in values and "stage" not in values


def test_weights_and_biases_gets_the_numbers_of_its_own_run(tmp_path, monkeypatch):
    heard = []
    run = SimpleNamespace(
        log=lambda values, step: heard.append((step, values)), finish=lambda: heard.append("end")
    )
    wandb = ModuleType("wandb")
    wandb.init = lambda **options: heard.append(options) or run
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    log = run_logs.open_log("wandb", tmp_path / "mine", {"seed": 3})
    log.numbers(1, {"val_loss": 0.5})
    log.close()
    assert heard[0]["config"] == {"seed": 3} and heard[0]["name"] == "mine"
    assert heard[1:] == [(1, {"val_loss": 0.5}), "end"]


def test_tensorboard_reads_what_its_log_wrote(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = run_logs.open_log("tensorboard", tmp_path, {"seed": 3})
    for step in (1, 2):
        log.numbers(step, {"val_accuracy": step / 4})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("val_accuracy")] == [(1, 0.25), (2, 0.5)]


@pytest.mark.parametrize("name", run_logs.LOGS)
def test_a_log_whose_package_is_missing_is_told_before_anything_is_written(
    photos, tmp_path, monkeypatch, name
):
    for module in (name, "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)  # an import of it fails
    line = told("train", photos, "--out", tmp_path / "run", *QUICK, "--log", name)
    assert f"--log {name} needs the package {name}" in line and f"pip install {name}" in line
    assert not (tmp_path / "run").exists()


def test_a_log_is_closed_when_training_fails(photos, tmp_path, monkeypatch):
    closed = []
    log = SimpleNamespace(numbers=lambda step, values: 1 / 0, close=lambda: closed.append(1))
    monkeypatch.setattr(report, "open_log", lambda *args: log)
    monkeypatch.setattr(report, "check_log", lambda name: None)
    settings = Settings(strategy="head", epochs=1, size=32, log="wandb")
    with pytest.raises(ZeroDivisionError):
        train_and_report(photos, tmp_path / "run", settings, progress=False)
    assert closed == [1]


# -- what is printed ---------------------------------------------------------------------------


def test_what_the_audit_advises_is_an_option(tmp_path):
    draw_photos(tmp_path / "photos")
    for file in sorted((tmp_path / "photos" / "circle").iterdir())[1:]:
        file.unlink()
    (tmp_path / "photos" / "square" / "broken.png").write_bytes(b"no photo")
    text = ftcourse("audit", tmp_path / "photos").stdout
    assert "--on-error skip" in text and "on_error" not in text
    assert "--class-weights balanced" in text and "class_weights" not in text
