"""The command line: what it prints, what it writes, its exit codes; errors are one sentence."""

from __future__ import annotations

# fixtures are imported, and then named as arguments
# ruff: noqa: F401, F811
import importlib.util
import inspect
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ftcourse import __version__, doctor
from ftcourse.cli import app
from ftcourse.exercises import progress
from tests.shapes import draw_photos, interrupt_after, own_photos, photos, run

# older versions of click mix stdout and stderr unless told not to
SEPARATE = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
QUICK = ["--strategy", "head", "--epochs", "1", "--size", "32", "--weights", "pocket"]


def ftcourse(*words, code=0):
    """Run the command and check its exit code; the result has `stdout` and `stderr`."""
    result = CliRunner(**SEPARATE).invoke(app, [str(word) for word in words])
    assert result.exit_code == code, f"{result.exit_code}\n{result.stdout}\n{result.stderr}"
    return result


def told(*words):
    """What the command says of a user's error: one line on stderr, exit code 2."""
    result = ftcourse(*words, code=2)
    assert result.stdout == "" and result.stderr.startswith("ftcourse: ")
    assert "Traceback" not in result.stderr and len(result.stderr.splitlines()) == 1
    return result.stderr


def test_help_names_each_command_and_version_the_version():
    commands = "doctor audit train predict evaluate compare export card prefetch progress"
    text = ftcourse("--help").stdout
    assert all(name in text for name in commands.split())
    assert __version__ in ftcourse("--version").stdout


# -- train -------------------------------------------------------------------------------------


def test_train_with_json_prints_the_report_alone_on_stdout(photos, tmp_path):
    result = ftcourse("train", photos, "--out", tmp_path / "run", *QUICK, "--seed", 3, "--json")
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["seed"] == 3 and report["strategy"] == "head" and report["size"] == 32
    assert "test photos are right" in result.stderr


def test_a_missing_folder_is_named(tmp_path):
    assert f"{tmp_path / 'nothing'}: no such folder" in told(
        "train", tmp_path / "nothing", "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()
    assert "no such folder" in told("audit", tmp_path / "nothing")


def test_a_run_that_exists_is_refused_and_left_as_it_is(photos, run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    message = told("train", photos, "--out", run)
    assert "not empty" in message and "--resume" in message and "--force" in message
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_a_broken_photo_stops_training_with_the_option_that_skips_it(own_photos, tmp_path):
    broken = own_photos / "circle" / "03.png"
    broken.write_bytes(broken.read_bytes()[:200])
    message = told("train", own_photos, "--out", tmp_path / "run", *QUICK)
    assert str(broken) in message and "--on-error skip" in message
    text = ftcourse(
        "train", own_photos, "--out", tmp_path / "run", *QUICK, "--on-error", "skip"
    ).stdout
    assert "circle/03.png" in text  # told, then the result in a sentence and where the rest is
    assert "test photos are right" in text and "linear probe" in text
    assert str(tmp_path / "run" / "report.md") in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "missing.safetensors"], "no such weights file"),
        (["--weights", "imagenet1k"], "use 'pocket'"),
        (["--backbone", "resnet19"], "'resnet19' is not a torchvision model"),
        (["--resume"], "no run to resume"),
        (["--resume", "--force"], "choose one"),
    ],
)
def test_a_wrong_option_is_told_in_a_sentence(photos, tmp_path, options, said):
    assert said in told("train", photos, "--out", tmp_path / "run", *options)


def test_groups_that_fit_no_photo_are_told_as_an_option(photos, tmp_path):
    message = told("train", photos, "--out", tmp_path / "run", *QUICK, "--groups", r"^(patient\d+)")
    assert "--groups " in message and "fits none of" in message


def test_top_folders_that_look_like_splits_are_classes_where_the_user_says_so(tmp_path):
    draw_photos(tmp_path / "draw")
    for name in ("part one", "part two"):  # the same folders in both: as splits have
        shutil.copytree(tmp_path / "draw", tmp_path / "photos" / name)
    for k, file in enumerate(sorted((tmp_path / "photos").rglob("*.png"))):
        noise = np.random.default_rng(k).integers(0, 256, (36, 36, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file)
    photos, run = tmp_path / "photos", tmp_path / "run"
    assert "use --layout classes" in told("train", photos, "--out", run, *QUICK)
    ftcourse("train", photos, "--out", run, *QUICK, "--layout", "classes")
    report = json.loads((run / "report.json").read_text())
    assert report["classes"] == ["part one", "part two"]
    assert "--layout classes" in report["command"]
    assert "part two: recall" in ftcourse("evaluate", run, photos).stdout  # as in training
    assert "of 60 photos" in ftcourse("evaluate", run, photos, "--split", "all").stdout
    assert "part one" in ftcourse("audit", photos, "--layout", "classes").stdout
    assert "--layout" in told("train", photos, "--out", run, *QUICK, "--resume")


def test_debugging_shows_the_error_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("FTCOURSE_DEBUG", "1")
    result = ftcourse("audit", tmp_path / "nothing", code=1)
    assert isinstance(result.exception, FileNotFoundError)


def test_an_interrupt_says_how_to_go_on_and_going_on_works(photos, tmp_path, monkeypatch):
    words = ["train", photos, "--out", tmp_path / "run", *QUICK, "--epochs", 2]
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        result = ftcourse(*words, code=130)
    assert "epoch 1 of 2" in result.stderr and "--resume" in result.stderr
    assert "test photos are right" in ftcourse(*words, "--resume").stdout


# -- predict, evaluate, export -----------------------------------------------------------------


def test_doubtful_answers_are_marked_by_predict_and_left_out_by_evaluate(run, photos):
    lines = ftcourse("predict", run, photos / "square", "--abstain", 1).stdout.splitlines()
    assert len(lines) == 10 and all(": not sure: " in line for line in lines)
    assert "not sure" not in ftcourse("predict", run, photos / "square", "--abstain", 0).stdout
    answers = json.loads(
        ftcourse("predict", run, photos / "square", "--abstain", 1, "--json").stdout
    )
    assert all(answer["abstained"] for answer in answers)
    words = ["evaluate", run, photos, "--split", "all", "--abstain"]
    assert "30 of 30 photos are answered" in ftcourse(*words, 0).stdout
    assert "0 of 30 photos are answered" in ftcourse(*words, 1).stdout
    ftcourse(*words, 1.5, code=2)


def test_predict_takes_files_folders_and_globs_once_each(run, photos):
    words = [photos / "circle" / "00.png", photos / "square", str(photos / "*" / "0[01].png")]
    answers = json.loads(ftcourse("predict", run, *words, "--json", "--top", 2).stdout)
    files = [answer["file"] for answer in answers]
    assert len(files) == len(set(files)) == 1 + 10 + 3
    assert files[0].endswith("circle/00.png")
    for answer in answers:
        (first, second) = answer["top"]
        assert answer["class"] == first["class"] and answer["probability"] == first["probability"]
        assert first["probability"] >= second["probability"] > 0


def test_a_broken_file_is_told_and_does_not_stop_the_others(run, photos, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_text("not a photo")
    words = [broken, photos / "circle" / "00.png", tmp_path / "missing.jpg"]
    result = ftcourse("predict", run, *words, code=1)
    assert "circle/00.png: " in result.stdout and "%" in result.stdout
    assert "broken.jpg: cannot be decoded" in result.stderr
    assert "missing.jpg: no such file" in result.stderr
    answers = json.loads(ftcourse("predict", run, *words, "--json", code=1).stdout)
    assert ["error" in answer for answer in answers] == [True, False, True]


def test_predicting_with_no_run_or_no_photos_is_told(run, photos, tmp_path):
    assert "no trained model" in told("predict", tmp_path, photos)
    assert "no photos there" in told("predict", run, tmp_path)


def test_evaluate_prints_the_accuracy_with_its_interval(run, photos):
    text = ftcourse("evaluate", run, photos).stdout
    assert "of 6 photos are right" in text and "95 % interval" in text and "circle: recall" in text
    result = json.loads(ftcourse("evaluate", run, photos, "--split", "val", "--json").stdout)
    assert result["split"] == "val" and result["samples"] == 6


def test_export_prints_the_file_and_the_largest_difference(run, tmp_path):
    out = tmp_path / "mine.safetensors"
    text = ftcourse("export", run, "--format", "safetensors", "--out", out).stdout
    assert out.exists() and str(out) in text and "largest difference from PyTorch 0.0e+00" in text


# -- the rest ----------------------------------------------------------------------------------


def test_audit_reports_a_copy_as_text_and_as_json(own_photos):
    (own_photos / "square" / "copy.png").write_bytes(
        (own_photos / "circle" / "00.png").read_bytes()
    )
    assert "two labels" in ftcourse("audit", own_photos).stdout
    found = json.loads(ftcourse("audit", own_photos, "--json").stdout)
    assert "two labels" in [finding["kind"] for finding in found["findings"]]


def test_the_doctor_says_what_there_is_and_how_long_lessons_take():
    found = json.loads(ftcourse("doctor", "--json").stdout)
    assert found["ok"] and found["problems"] == []
    assert found["cpus"] >= 1 and found["disk_free_gb"] > 0 and found["minutes"]["lesson"] > 0
    assert found["versions"]["torch"] and found["device"]["type"] in ("cpu", "cuda", "mps")


def without(monkeypatch, *names):
    find = importlib.util.find_spec
    hide = lambda name, *more: None if name in names else find(name, *more)  # noqa: E731
    monkeypatch.setattr(doctor.importlib.util, "find_spec", hide)


def test_the_doctor_fails_with_the_command_that_installs_what_lessons_need(monkeypatch):
    without(monkeypatch, "ipykernel", "sklearn")
    text = ftcourse("doctor", code=1).stdout
    assert "pip install scikit-learn" in text and 'pip install "ftcourse[lab]"' in text
    assert "lessons cannot run yet" in text


def test_the_doctor_only_mentions_what_is_optional(monkeypatch):
    without(monkeypatch, "onnxruntime", "peft")
    found = doctor.examine(measure=False)
    assert found["ok"] and found["missing"]["onnx"] == ["onnxruntime"]
    assert any('"ftcourse[text]"' in text for text in found["warnings"])


def test_the_doctor_finds_a_full_disk(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e8}))
    found = doctor.examine(measure=False)
    assert not found["ok"] and "0.1 GB of disk are free" in found["problems"][0]


def test_prefetch_lists_what_there_is_and_names_it_when_a_name_is_wrong():
    assert "hymenoptera" in ftcourse("prefetch").stdout
    assert "hymenoptera" in told("prefetch", "cats")


def test_progress_prints_the_summary_of_the_exercises(monkeypatch):
    monkeypatch.setattr(progress, "summary", lambda: "lesson 01: 2 of 5")
    assert "lesson 01: 2 of 5" in ftcourse("progress").stdout
